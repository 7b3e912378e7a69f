//! What reaches the control thread while it waits or works, and what it has to do therefore.
//!
//! Owns: [`Sources`], [`Agenda`], [`End`]. Never knows: how a job is done, in which order jobs run.

use tokio::sync::{mpsc, oneshot};

use super::admin_state::ProcessRequest;
use super::attempt::Attempt;
use super::schedule::{Job, Schedule};
use super::signals::Signal;
use crate::tls::watch::Watch;

/// Why the control thread does nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process is to exit; with `now` without a drain.
    Stop { now: bool },
    /// An internal error has ended the thread that serves clients.
    DataPlane,
}

/// Something that has come.
pub(super) enum Event {
    Reload(Option<oneshot::Sender<Vec<Attempt>>>),
    FileChanged,
    OtherServer,
    End(End),
}

/// Where events come from.
pub(super) struct Sources<'a> {
    pub signals: &'a mut mpsc::Receiver<Signal>,
    pub orders: &'a mut mpsc::Receiver<ProcessRequest>,
    pub watch: &'a mut Watch,
    pub other_server: &'a mut mpsc::UnboundedReceiver<()>,
}

impl Sources<'_> {
    /// Waits for the next one; cancelling loses none.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            Some(order) = self.orders.recv() => match order {
                ProcessRequest::Reload(answer) => Event::Reload(Some(answer)),
                ProcessRequest::Stop { now, answer } => {
                    // The sender may have disconnected.
                    let _ = answer.send(());
                    Event::End(End::Stop { now })
                }
            },
            signal = self.signals.recv() => match signal {
                Some(Signal::Reload) => Event::Reload(None),
                Some(Signal::Stop) | None => Event::End(End::Stop { now: false }),
            },
            () = self.watch.changed() => Event::FileChanged,
            other = self.other_server.recv() => match other {
                Some(()) => Event::OtherServer,
                None => Event::End(End::DataPlane),
            },
        }
    }

    /// Does the work, and notes what comes meanwhile.
    ///
    /// # Errors
    ///
    /// When it is given up, because the control thread ends.
    pub(super) async fn run<T>(
        &mut self,
        work: impl Future<Output = T>,
        agenda: &mut Agenda,
    ) -> Result<T, End> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                event = self.next() => agenda.note(event)?,
            }
        }
    }
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    pub schedule: Schedule,
    /// Each receives the result of the next reload that begins.
    answers: Vec<oneshot::Sender<Vec<Attempt>>>,
}

impl Agenda {
    /// # Errors
    ///
    /// When the control thread is to end.
    pub(super) fn note(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Reload(answer) => {
                // Of those that wait no longer nothing is kept.
                self.answers.retain(|answer| !answer.is_closed());
                self.answers.extend(answer);
                self.schedule.request(Job::Reload);
                self.schedule.request(Job::Commands);
            }
            Event::FileChanged => self.schedule.request(Job::Reload),
            Event::OtherServer => self.schedule.request(Job::Commands),
            Event::End(end) => return Err(end),
        }
        Ok(())
    }

    /// A reload begins: those that receive its result.
    pub(super) fn take_answers(&mut self) -> Vec<oneshot::Sender<Vec<Attempt>>> {
        std::mem::take(&mut self.answers)
    }
}
