//! The thread of one sink: numbers and seals entries, writes them, and tries again what failed.
//!
//! Owns: [`Worker`], [`Health`]. Never knows: what an event is about.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::chain::Chain;
use super::pace::{Pace, Retry};
use super::queue::{Batch, Item, Queue};
use super::sink::Output;
use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc_micros;
use crate::telemetry::{AuditResult, AuditSinkKind, Counted, Metrics, Shard};

/// How a sink is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// What it failed with last, and since when it fails; `None`: it takes entries.
    pub failing: Option<(String, Instant)>,
    pub written: u64,
    pub lost: u64,
}

pub(super) struct Worker {
    pub name: String,
    pub kind: AuditSinkKind,
    pub queue: Arc<Queue>,
    pub output: Box<dyn Output>,
    pub chain: Chain,
    pub counted: Shard<Counted>,
    pub metrics: Arc<Metrics>,
    pub health: Arc<Mutex<Health>>,
    /// The number of the last entry.
    pub number: u64,
    pub pace: Pace,
}

impl Worker {
    /// Until the queue is closed and empty, or the sink takes nothing any more while the process stops.
    pub(super) fn run(mut self) {
        loop {
            let patience = self.pace.patience(self.output.due(), clock::now());
            let batch = self.queue.take(patience);
            if batch.last {
                self.pace.handle_stop(clock::now());
            }
            if let Err(left) = self.write_all(&batch) {
                return self.give_up(left);
            }
            if batch.last {
                return self.output.close();
            }
        }
    }

    /// # Errors
    ///
    /// With the number of events that are not written when the process stops.
    fn write_all(&mut self, batch: &Batch) -> Result<(), u64> {
        let (mut written, mut bytes) = (0, 0);
        for (at, item) in batch.items.iter().enumerate() {
            let sent = match item {
                Item::Event(draft) => self.insist(|own| own.write(&draft.members)),
                Item::Gap(lost) => {
                    let gap = format!("\"event\":\"gap\",\"lost\":{lost}");
                    self.insist(|own| own.write(&own.timed(&gap)))
                }
            };
            if !sent {
                let rest = batch.items.iter().skip(at);
                let unsent = rest.filter(|item| matches!(item, Item::Event(_))).count() as u64;
                return Err(unsent + self.output.held());
            }
            if let Item::Event(draft) = item {
                written += 1;
                bytes += draft.bytes();
            }
        }
        // A batch that is empty is the moment to see that the file is still in its place.
        if !self.insist(Self::flush) {
            return Err(self.output.held());
        }
        self.queue.written(bytes);
        if written > 0 {
            self.counted.audit_events_total[self.kind][AuditResult::Written].add(written);
            self.metrics.audit_last_write_timestamp_seconds.set(clock::wall());
            self.update(|health| health.written += written);
        }
        Ok(())
    }

    /// Writes one entry, and before it how the chain goes on where a file or connection has to be opened.
    fn write(&mut self, members: &str) -> io::Result<()> {
        self.open(members.len() + limits::AUDIT_FRAME_BYTES)?;
        self.send(members)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.output.flush();
        // The place may be another one by now, which has room.
        if flushed.is_err() && self.output.needs_open(0) {
            self.open(0)?;
            return self.output.flush();
        }
        flushed
    }

    fn open(&mut self, bytes: usize) -> io::Result<()> {
        if !self.output.needs_open(bytes) {
            return Ok(());
        }
        let resume = self.output.open()?;
        self.counted.audit_rotations_total.add(self.output.rotations());
        // What another process has written goes on by its own numbers.
        if let Some((number, value)) = &resume.last
            && self.number == 0
            && self.chain.resume(value)
        {
            self.number = *number;
        }
        let mut begin = format!("\"event\":\"begin\",\"previous\":\"{}\"", self.chain.value());
        if resume.cut > 0 {
            begin.push_str(&format!(",\"removed_bytes\":{}", resume.cut));
        }
        if resume.resent > 0 {
            let (sink, entries) = (&self.name, resume.resent);
            tracing::info!(code = "AUD-I002", %sink, entries, "entries that the connection before may have lost were sent again");
            begin.push_str(&format!(",\"resent\":{entries}"));
        }
        self.send(&self.timed(&begin))
    }

    /// The number and the chain go on only when the line is taken.
    fn send(&mut self, members: &str) -> io::Result<()> {
        let number = self.number + 1;
        let (line, value) = self.chain.seal(format!("{{\"seq\":{number},{members}"));
        self.output.send(&line)?;
        self.number = number;
        self.chain.advance(value);
        Ok(())
    }

    fn timed(&self, members: &str) -> String {
        format!("\"time\":\"{}\",{members}", utc_micros(clock::wall()))
    }

    /// Tries until it succeeds; `false`: the process stops meanwhile.
    fn insist(&mut self, mut act: impl FnMut(&mut Self) -> io::Result<()>) -> bool {
        loop {
            match act(self) {
                Ok(()) => {
                    self.note_success();
                    return true;
                }
                Err(error) => self.note_failure(&error),
            }
            let now = clock::now();
            if self.queue.is_closed() {
                self.pace.handle_stop(now);
            }
            match self.pace.handle_failure(now) {
                Retry::At(at) => std::thread::sleep(at.saturating_duration_since(now)),
                Retry::GiveUp => return false,
            }
        }
    }

    fn note_success(&self) {
        if let Some((_, since)) = self.update(|health| health.failing.take()) {
            let seconds = clock::now().saturating_duration_since(since).as_secs();
            tracing::info!(code = "AUD-I001", sink = %self.name, seconds, "audit entries are written again");
        }
    }

    fn note_failure(&self, error: &io::Error) {
        self.counted.audit_events_total[self.kind][AuditResult::Failed].inc();
        let text = error.to_string();
        let first = self.update(|health| {
            let since = health.failing.as_ref().map(|(_, since)| *since);
            health.failing = Some((text.clone(), since.unwrap_or_else(clock::now)));
            since.is_none()
        });
        if first {
            tracing::error!(code = "AUD-E001", sink = %self.name, error = %text, "audit entries cannot be written; they wait, as far as audit.queue permits");
        }
    }

    fn give_up(&self, left: u64) {
        let rest = self.queue.take(Duration::ZERO).items;
        let events = rest.iter().filter(|item| matches!(item, Item::Event(_))).count() as u64;
        let lost = left + events;
        self.counted.audit_events_total[self.kind][AuditResult::Dropped].add(lost);
        tracing::error!(code = "AUD-E002", sink = %self.name, lost, "audit entries are lost: the sink did not take them before the process stopped");
    }

    fn update<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        change(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
