//! A connection that serves, as others see it, how its replies are handed out and what is noted of them, and what its end
//! means for requests in line.
//!
//! Owns: [`Serving`], [`Arrival`], [`remark`], how losses are reported. Never knows: how a connection is read and
//! written, why it ends.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::traffic::{Loss, Ticket};
use crate::upstream::carrier::{Carrier, Served};
use crate::upstream::context::UpstreamContext;
use crate::upstream::dial::ServerConnection;
use crate::upstream::mailbox::Mailbox;
use crate::upstream::owner::Owner;
use crate::upstream::pipeline::{Answered, Delivery};
use crate::upstream::remarks::{Notable, Remark};
use crate::upstream::shared::Shared;

/// A connection while it serves; however that ends, it is not counted any more.
pub(super) struct Serving<'a> {
    shared: &'a Shared,
    context: &'a UpstreamContext,
    silent: bool,
}

impl<'a> Serving<'a> {
    pub(super) fn begin(shared: &'a Shared, context: &'a UpstreamContext) -> Self {
        shared.note_serving(true);
        Self { shared, context, silent: false }
    }

    pub(super) fn note_silence(&mut self, silent: bool) {
        debug_assert_ne!(self.silent, silent, "each change is noted once");
        self.silent = silent;
        self.context.note_silence(silent);
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if self.silent {
            self.context.note_silence(false);
        }
        self.shared.note_serving(false);
        self.shared.note_stalled(false);
    }
}

/// What was read at one time, while it is handed out to sessions.
pub(super) struct Arrival<'a> {
    context: &'a UpstreamContext,
    now: Instant,
    /// So many replies in a row have taken this time each: those are counted together.
    took: Duration,
    count: u64,
}

impl<'a> Arrival<'a> {
    pub(super) const fn begin(context: &'a UpstreamContext, now: Instant) -> Self {
        Self { context, now, took: Duration::ZERO, count: 0 }
    }

    /// Hands out a piece of a reply, which took so long if it is whole.
    #[inline(always)]
    pub(super) fn hand_out(
        &mut self,
        mailbox: &Mailbox,
        delivery: &Delivery<'_, Owner<Rc<Mailbox>>>,
        took: Duration,
    ) {
        if let Some(line) = delivery.error {
            self.context.metrics.error_line(line);
        }
        if delivery.skipped {
            return mailbox.deliver_refusal(delivery.ticket, delivery.bytes, self.now);
        }
        if delivery.is_large(self.context.large_bytes) {
            mailbox.note_large();
        }
        if delivery.done {
            if took != self.took {
                self.count_replies();
                self.took = took;
            }
            self.count += 1;
            if delivery.again {
                self.context.metrics.retried();
            }
        }
        if delivery.refused {
            if delivery.done {
                mailbox.lose(delivery.ticket, Loss::MultiRefused);
            }
            return;
        }
        let Delivery { ticket, bytes, kind, done, .. } = *delivery;
        mailbox.deliver(ticket, bytes, kind, done, self.now);
    }

    fn count_replies(&mut self) {
        let count = std::mem::take(&mut self.count);
        self.context.metrics.answered(self.took, count);
    }

    /// All of it is handed out.
    pub(super) fn end(mut self) {
        self.count_replies();
    }
}

/// The connection has ended: what may be sent on the next one waits for it.
pub(super) fn end(
    shared: &Shared,
    context: &UpstreamContext,
    carrier: Carrier<ServerConnection>,
) -> Served<ServerConnection> {
    context.note_change();
    let (aside, now) = (shared.is_aside(), clock::now());
    let may_repeat = |attempts| context.may_repeat(attempts, now);
    let mut losses = VecDeque::new();
    let mut inner = shared.inner.borrow_mut();
    let report = |owner: &Owner<Rc<Mailbox>>, ticket, loss, request: &[u8]| {
        if owner.is_completion() {
            context.note_not_completed("sent as often as it may be");
        }
        let Some(mailbox) = owner.session() else { return };
        context.remark_lost(mailbox, ticket, request);
        losses.push_back((Rc::clone(mailbox), ticket, loss));
    };
    let served = carrier.into_end(&mut inner.line, aside, may_repeat, now, report);
    if !inner.line.is_up() {
        inner.down();
        // A client that has left does not know yet that it waits for nothing.
        inner.line.pipeline.owners().filter_map(Owner::session).for_each(|mailbox| mailbox.wake());
    }
    shared.settle_charge(&mut inner);
    drop(inner);
    context.metrics.exhausted(served.exhausted);
    report_lost(losses);
    served
}

/// Reports to sessions the requests that will get no reply.
pub(in crate::upstream) fn report_lost(losses: VecDeque<(Rc<Mailbox>, Ticket, Loss)>) {
    for (mailbox, ticket, loss) in losses {
        mailbox.lose(ticket, loss);
    }
}

/// Notes for a session what is known of a request that was slow, or has a large reply.
pub(super) fn remark(notable: &Notable, answered: &Answered<'_, Owner<Rc<Mailbox>>>, now: Instant) {
    let took = now.saturating_duration_since(answered.at);
    if let Some(mailbox) = answered.owner.session().filter(|_| notable.is_met(took, answered.size))
    {
        let remark =
            Remark { took: Some(took), key: notable.key_of(answered.request), ..Remark::default() };
        mailbox.remark(answered.ticket, remark);
    }
}
