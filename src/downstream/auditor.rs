//! Audit events: what of the application's side becomes one.
//!
//! Owns: [`Auditor`], what an event contains of a client and a command. Never knows: sinks, values: no argument but
//! the names of keys is ever read here.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::conversation::Hold;
use crate::audit::{Audit, Event, Kind};
use crate::base::clock;
use crate::base::limits;
use crate::base::live::{Cached, Live};
use crate::command::{self, KeyPosition, Spec};
use crate::config::{OnOverflow, Places};
use crate::policy::{CommandSet, Policy, Refusal, Rule};
use crate::resp::Request;
use crate::session::{ClientEntry, Judged, RequestScratch, Session};

/// The audit log as the data plane uses it, and what of it a reload replaces.
#[derive(Clone, Debug)]
pub(crate) struct AuditParts {
    pub audit: Arc<Audit>,
    pub rules: Live<AuditRules>,
}

/// What of the audit log depends on the rest of the configuration.
#[derive(Debug)]
pub(crate) struct AuditRules {
    /// Commands that are written although they pass.
    pub sensitive: CommandSet,
    pub places: Places,
}

#[derive(Debug)]
pub(super) struct Auditor {
    audit: Arc<Audit>,
    rules: RefCell<Cached<AuditRules>>,
    keys: RefCell<Vec<KeyPosition>>,
    /// The id of the event at hand, when the client's error has it already.
    announced: Cell<Option<u64>>,
    /// Clients that had a command while there was no room, each since when.
    held: RefCell<HashMap<u64, Instant>>,
    /// Clients that connected while there was no room, each when: no event of them is written yet.
    unwritten: RefCell<HashMap<u64, SystemTime>>,
    /// Commands are refused for want of room.
    refusing: Cell<bool>,
}

impl Auditor {
    pub(super) fn new(parts: AuditParts) -> Self {
        Self {
            rules: RefCell::new(parts.rules.cache()),
            audit: parts.audit,
            keys: RefCell::default(),
            announced: Cell::new(None),
            held: RefCell::default(),
            unwritten: RefCell::default(),
            refusing: Cell::new(false),
        }
    }

    /// Whether the command that a client presents may be judged now.
    pub(super) fn hold(&self, client: &ClientEntry, now: Instant) -> Hold {
        let settings = self.audit.settings();
        if !self.audit.holds_commands() {
            self.refusing.set(false);
            let mut held = self.held.borrow_mut();
            if !held.is_empty() {
                held.clear();
            }
            self.write_opened(client);
            return Hold::No;
        }
        let since = *self.held.borrow_mut().entry(client.id).or_insert(now);
        let hold = hold(settings.on_overflow, since, now, settings.wait);
        if hold == Hold::Refuse && !self.refusing.replace(true) {
            tracing::error!(
                code = "AUD-E003",
                "commands are refused: the audit log has no room for their entries"
            );
        }
        hold
    }

    /// Whether there is room; if not, wakes the client when there may be.
    pub(super) fn poll_room(&self, client: u64, waker: &Waker) -> bool {
        self.audit.poll_room(client, waker)
    }

    /// Before a command is judged: its error may name the event.
    pub(super) fn announce(&self, request_scratch: &mut RequestScratch) {
        if self.audit.settings().reference {
            let id = self.audit.next_id();
            request_scratch.refer_to(Some(id));
            self.announced.set(Some(id));
        }
    }

    /// After a command is judged.
    pub(super) fn judged(
        &self,
        client: &ClientEntry,
        policy: &Policy,
        session: &Session,
        request: &Request<'_>,
        judged: &Judged,
        began: Instant,
    ) {
        let (refused, observed) = (judged.refused(), judged.observed());
        let spec = judged.command;
        let kind = if refused.is_some() {
            Kind::Denied
        } else if observed.is_some() {
            Kind::WouldBeDenied
        } else if spec.is_some_and(|spec| self.is_sensitive(spec)) {
            Kind::Sensitive
        } else if self.audit.samples() {
            Kind::Sampled
        } else {
            return;
        };
        let refusal = refused.or(observed);
        let mut event = of(kind, client);
        let spec = refusal.and_then(|refusal| refusal.spec).or(spec);
        event.command = spec.map(|spec| spec.name).or(Some("unknown"));
        event.arguments = Some(request.len().saturating_sub(1));
        event.keys = spec.map(|spec| self.keys(spec, request)).unwrap_or_default();
        event.database = Some(session.key().database);
        event.policy = Some(policy.section());
        let rules = self.rules.borrow();
        if let Some(refusal) = refusal {
            event.rule = Some(refusal.rule.label());
            let found = word(policy, refusal, &rules.places);
            (event.setting, event.word, event.place) = found;
        }
        if kind == Kind::Sensitive {
            event.result = Some(if judged.answered == Some(true) { "rejected" } else { "passed" });
        }
        let took = clock::now().saturating_duration_since(began);
        event.latency_us = Some(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.record(&event);
    }

    pub(super) fn authenticated(&self, client: &ClientEntry, ok: bool) {
        let mut event = of(Kind::Authentication, client);
        event.result = Some(if ok { "ok" } else { "failed" });
        self.record(&event);
    }

    /// A TLS handshake failed, so that there is no client yet.
    pub(super) fn handshake_failed(&self, listener: &str, address: &str, code: &'static str) {
        let mut event = Event::new(Kind::Authentication);
        event.result = Some("failed");
        event.listener = Some(listener);
        event.address = Some(address);
        event.detail = Some(code);
        self.audit.record_as(&event, self.audit.next_id());
    }

    /// The first answer to a client that an outage has made another.
    pub(super) fn degraded(&self, client: &ClientEntry) {
        self.record(&of(Kind::Degraded, client));
    }

    /// While there is no room the event waits: the client's commands are held as well.
    pub(super) fn opened(&self, client: &ClientEntry) {
        if self.audit.settings().connections {
            self.unwritten.borrow_mut().insert(client.id, clock::wall());
            if !self.audit.holds_commands() {
                self.write_opened(client);
            }
        }
    }

    fn write_opened(&self, client: &ClientEntry) {
        let mut unwritten = self.unwritten.borrow_mut();
        if !unwritten.is_empty()
            && let Some(at) = unwritten.remove(&client.id)
        {
            self.audit.record_at(&of(Kind::ConnectionOpened, client), self.audit.next_id(), at);
        }
    }

    /// The client has disconnected: its event waits for room as a command does. Without room in time it is one of those
    /// that are counted as lost.
    pub(super) async fn await_room(&self, client: u64) {
        let settings = self.audit.settings();
        if settings.connections && self.audit.holds_commands() {
            let room = poll_fn(|cx| match self.audit.poll_room(client, cx.waker()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            });
            let _ = tokio::time::timeout(settings.wait, room).await;
        }
    }

    pub(super) fn closed(&self, client: &ClientEntry, why: &str) {
        self.held.borrow_mut().remove(&client.id);
        self.audit.forget_wait(client.id);
        if self.audit.settings().connections {
            self.write_opened(client);
            let mut event = of(Kind::ConnectionClosed, client);
            event.detail = Some(why);
            self.record(&event);
        }
    }

    /// The rules may have been replaced.
    pub(super) fn refresh(&self) {
        self.rules.borrow_mut().refresh();
    }

    pub(super) fn note_figures(&self) {
        self.refresh();
        self.audit.note_figures();
    }

    fn is_sensitive(&self, spec: &Spec) -> bool {
        self.rules.borrow().sensitive.has(spec)
    }

    fn record(&self, event: &Event<'_>) {
        match self.announced.take() {
            Some(id) if event.event == Kind::Denied => self.audit.record_as(event, id),
            Some(_) | None => self.audit.record_as(event, self.audit.next_id()),
        }
    }

    fn keys(&self, spec: &Spec, request: &Request<'_>) -> Vec<String> {
        let mut keys = self.keys.borrow_mut();
        if command::find_keys(spec, request, &mut keys).is_err() {
            return Vec::new();
        }
        let redaction = self.audit.redaction();
        keys.iter()
            .take(limits::AUDIT_KEYS_MAX)
            .filter_map(|at| redaction.show(at.name(request)))
            .collect()
    }
}

/// What becomes of a command while there is no room, the first of its client having met that at `since`: all
/// commands of a client together wait no longer than one.
fn hold(on_overflow: OnOverflow, since: Instant, now: Instant, wait: Duration) -> Hold {
    let until = since + wait;
    match on_overflow {
        OnOverflow::Drop => Hold::No,
        OnOverflow::Block if now < until => Hold::Wait(until),
        OnOverflow::Block | OnOverflow::FailClosed => Hold::Refuse,
    }
}

fn of<'a>(kind: Kind, client: &'a ClientEntry) -> Event<'a> {
    let mut event = Event::new(kind);
    let peer = client.peer();
    event.listener = Some(&client.peer().listener);
    event.client = Some(client.id);
    event.address = (!peer.is_unix).then_some(peer.address());
    event.user = Some(client.user().as_str().to_owned());
    event.uid = peer.uid();
    if let Some(certificate) = peer.certificate() {
        event.certificate = Some(&certificate.name);
        event.fingerprint = (kind == Kind::ConnectionOpened).then_some(&*certificate.fingerprint);
    }
    event.name = client.name();
    event
}

/// The setting that decided, its word, and where it is written.
fn word<'a>(
    policy: &'a Policy,
    refusal: &Refusal,
    places: &Places,
) -> (Option<String>, Option<&'a str>, Option<String>) {
    let section = policy.section();
    let word = policy.word_of(refusal);
    let named = word.map(|word| format!("{section}.{}", word.setting));
    let candidates = || settings(refusal.rule).iter().map(|key| format!("{section}.{key}"));
    // Without a word the rule is about several settings: the first one that is written.
    let setting = named.or_else(|| candidates().find(|setting| places.get(setting).is_some()));
    let place = setting.as_ref().and_then(|setting| places.get(setting)).map(str::to_owned);
    (setting, word.map(|word| &*word.text), place)
}

/// The settings by which a rule refuses, the most particular first.
const fn settings(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::Command | Rule::Category | Rule::Channel => &["acl", "preset"],
        Rule::Namespace => &["keys.prefix", "acl", "preset"],
        Rule::Script => &["scripts.mode", "keys.prefix", "acl"],
        Rule::Key => &["keys.max_bytes", "keys.pattern", "keys.charset", "keys.deny"],
        Rule::Value => &["values.max_bytes", "values.max_args", "values.encoding"],
        Rule::Ttl => &["ttl.on_missing", "ttl.max", "ttl.default", "ttl.on_exceed"],
        Rule::Rate
        | Rule::Blocked
        | Rule::Concurrency
        | Rule::Unknown
        | Rule::Arity
        | Rule::Syntax
        | Rule::Incomplete => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_a_client_wait_no_longer_together_than_one() {
        let (start, second) = (clock::now(), Duration::from_secs(1));
        let block = |now| hold(OnOverflow::Block, start, now, 5 * second);
        assert_eq!(block(start), Hold::Wait(start + 5 * second));
        assert_eq!(block(start + 4 * second), Hold::Wait(start + 5 * second));
        assert_eq!(block(start + 5 * second), Hold::Refuse);
        assert_eq!(block(start + 99 * second), Hold::Refuse, "the next one of the pipeline");
        assert_eq!(hold(OnOverflow::FailClosed, start, start, second), Hold::Refuse);
        assert_eq!(hold(OnOverflow::Drop, start, start, second), Hold::No);
    }
}
