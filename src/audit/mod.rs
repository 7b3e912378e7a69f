//! The audit log: events as JSON lines, chained by hashes, in files, on standard output and to syslog.
//!
//! Owns: [`Audit`]. Never knows: sessions, commands, which events a caller has.

pub(crate) mod chain;
pub(crate) mod event;
mod pace;
mod queue;
mod rank;
mod recent;
pub(crate) mod redact;
mod room;
mod sink;
pub(crate) mod verify;
mod worker;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::SystemTime;

pub(crate) use event::{Draft, Event, Kind};
pub(crate) use recent::Since;
pub(crate) use redact::Redaction;
pub(crate) use worker::Health;

use crate::base::clock;
use crate::base::limits;
use crate::base::secret::Secret;
use crate::config::{self, AuditSink, KeyForm, OnOverflow, SecretSource};
use crate::telemetry::{AuditResult, AuditSinkKind, Metrics};
use event::Ids;
use pace::Pace;
use queue::Queue;
use recent::Recent;
use room::Room;
use worker::Worker;

/// Bytes of a key file.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 32..=4096;

/// The audit log of a process.
#[derive(Debug)]
pub(crate) struct Audit {
    settings: config::Audit,
    redaction: Redaction,
    seed: u64,
    ids: Ids,
    sinks: Vec<Sink>,
    recent: Mutex<Recent>,
    room: Arc<Room>,
    /// Commands since the start, for sampling.
    commands: AtomicU64,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Sink {
    name: String,
    kind: AuditSinkKind,
    queue: Arc<Queue>,
    health: Arc<Mutex<Health>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Audit {
    /// Starts a thread for each sink. `seed` makes the ids of this process differ from others'.
    ///
    /// # Errors
    ///
    /// When the key file or an authority's file cannot be used, or the system gives no thread.
    pub(crate) fn start(
        settings: &config::Audit,
        metrics: &Arc<Metrics>,
        seed: u64,
    ) -> Result<Arc<Self>, String> {
        let key = settings.key_file.as_deref().map(read_key).transpose()?;
        let room = Arc::new(Room::default());
        let start = |sink: &AuditSink| {
            let queue = Arc::new(Queue::new(settings.queue_bytes, Arc::clone(&room)));
            let health = Arc::default();
            let worker = Worker {
                name: sink::name(sink),
                kind: match sink {
                    AuditSink::File(_) => AuditSinkKind::File,
                    AuditSink::Stdout => AuditSinkKind::Stdout,
                    AuditSink::Syslog(_) => AuditSinkKind::Syslog,
                },
                queue: Arc::clone(&queue),
                output: sink::output(sink)?,
                chain: chain::Chain::new(key.clone()),
                counted: metrics.shard(),
                metrics: Arc::clone(metrics),
                health: Arc::clone(&health),
                number: 0,
                pace: Pace::default(),
            };
            let (name, kind) = (worker.name.clone(), worker.kind);
            let builder = std::thread::Builder::new().name("respgate-audit".to_owned());
            let thread = builder.spawn(move || worker.run());
            let thread = thread.map_err(|error| format!("audit: no thread: {error}"))?;
            Ok::<_, String>(Sink { name, kind, queue, health, thread: Mutex::new(Some(thread)) })
        };
        let sinks = settings.sinks.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self {
            redaction: Redaction::new(settings.keys, key),
            seed,
            ids: Ids::new(seed),
            sinks,
            recent: Mutex::default(),
            room,
            commands: AtomicU64::new(0),
            metrics: Arc::clone(metrics),
            settings: settings.clone(),
        }))
    }

    /// An id that no other event has.
    #[must_use]
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.next()
    }

    /// Gives the event to every sink. A sink without room loses it, and counts that.
    pub(crate) fn record(&self, event: &Event<'_>) {
        self.record_as(event, self.next_id());
    }

    /// Like [`Self::record`], for an event whose id is known already.
    pub(crate) fn record_as(&self, event: &Event<'_>, id: u64) {
        self.record_at(event, id, clock::wall());
    }

    /// Like [`Self::record_as`], for an event that happened before.
    pub(crate) fn record_at(&self, event: &Event<'_>, id: u64, at: SystemTime) {
        let draft = Arc::new(Draft::new(event, id, at));
        for sink in &self.sinks {
            if !sink.queue.push(&draft, event.event.rank()) {
                self.metrics.shard().audit_events_total[sink.kind][AuditResult::Dropped].inc();
            }
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push(draft);
    }

    /// Whether a sink has no room, so that commands wait or are refused.
    #[must_use]
    pub(crate) fn holds_commands(&self) -> bool {
        self.settings.on_overflow != OnOverflow::Drop
            && self.sinks.iter().any(|sink| sink.queue.is_full())
    }

    /// Whether commands are not held; if they are, wakes the client when they may not be any more.
    #[must_use]
    pub(crate) fn poll_room(&self, client: u64, waker: &Waker) -> bool {
        if !self.holds_commands() {
            return true;
        }
        self.room.wait(client, waker);
        // A sink may have written meanwhile, before there was a client to wake.
        !self.holds_commands()
    }

    /// The client does not wait for room any more.
    pub(crate) fn forget_wait(&self, client: u64) {
        self.room.forget(client);
    }

    /// What all queues may hold together, what sinks may hold to send again, and the last entries.
    #[must_use]
    pub(crate) fn room_bytes(&self) -> usize {
        let kept: usize = self.settings.sinks.iter().map(sink::kept_bytes).sum();
        self.settings.queue_bytes.saturating_mul(self.sinks.len())
            + kept
            + limits::AUDIT_RECENT_BYTES_MAX
    }

    #[must_use]
    pub(crate) const fn settings(&self) -> &config::Audit {
        &self.settings
    }

    #[must_use]
    pub(crate) const fn redaction(&self) -> &Redaction {
        &self.redaction
    }

    /// Whether the command that is counted by this call is one of those that are sampled.
    #[must_use]
    pub(crate) fn samples(&self) -> bool {
        let every = self.settings.sample_every;
        every > 0 && self.commands.fetch_add(1, Relaxed).is_multiple_of(every)
    }

    /// The last entries behind the one with this number, the oldest first, without what each sink adds.
    #[must_use]
    pub(crate) fn recent(&self, since: u64) -> Since {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).since(since)
    }

    /// What the log of this process is called: another process has another name.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        format!("{:016x}", self.seed)
    }

    /// Each sink by its name.
    #[must_use]
    pub(crate) fn health(&self) -> Vec<(String, Health)> {
        let health = |sink: &Sink| {
            let health = sink.health.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Health { lost: sink.queue.lost(), ..health }
        };
        self.sinks.iter().map(|sink| (sink.name.clone(), health(sink))).collect()
    }

    /// Brings the figures up to date.
    pub(crate) fn note_figures(&self) {
        let waiting: usize = self.sinks.iter().map(|sink| sink.queue.bytes()).sum();
        self.metrics.audit_queue_bytes.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Writes what waits, and waits for the threads at most [`limits::AUDIT_STOP_TIMEOUT`]: one that
    /// hangs in a write ends with the process.
    pub(crate) fn stop(&self) {
        self.sinks.iter().for_each(|sink| sink.queue.close());
        let until = clock::now() + limits::AUDIT_STOP_TIMEOUT;
        for sink in &self.sinks {
            let thread = sink.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(thread) = thread else { continue };
            while !thread.is_finished() && clock::now() < until {
                std::thread::sleep(limits::AUDIT_STOP_CHECK_INTERVAL);
            }
            if !thread.is_finished() {
                let waiting = sink.queue.bytes();
                tracing::error!(code = "AUD-E002", sink = %sink.name, waiting, "audit entries are lost: the sink did not take them before the process stopped");
            } else if thread.join().is_err() {
                tracing::error!(code = "AUD-E002", sink = %sink.name, "the thread of an audit sink ended by a panic");
            }
        }
    }
}

/// Reads the key of keys and chain; one trailing line break is not part of it.
///
/// # Errors
///
/// When it cannot be read, or is too short or too long.
pub(crate) fn read_key(path: &Path) -> Result<Secret, String> {
    let key = SecretSource::File(path.to_owned()).read_key();
    let key = key.map_err(|error| format!("audit.key_file: {error}"))?;
    let bytes = key.expose().len();
    if !KEY_BYTES.contains(&bytes) {
        return Err(format!(
            "audit.key_file {}: {bytes} bytes, and a key has 32 to 4096; head -c 32 /dev/urandom > FILE makes one",
            path.display()
        ));
    }
    Ok(key)
}

/// The text for a key, as the log of these settings has it.
///
/// # Errors
///
/// The errors of [`read_key`].
pub(crate) fn hash_key(path: &Path, name: &[u8]) -> Result<String, String> {
    Ok(Redaction::new(KeyForm::Hmac, Some(read_key(path)?)).hash(name))
}
