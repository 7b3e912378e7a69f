//! The last events of the log, in memory, for operators without access to the output.
//!
//! Owns: [`Recent`], [`Batch`], the numbers of events. Never knows: which events are logged, its readers.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc_micros;

/// The layer, and the way to what it keeps; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    /// The number of the newest event; the first one is 1.
    newest: u64,
    bytes: usize,
    /// Each event as a JSON object, the oldest first.
    events: VecDeque<Box<str>>,
}

/// Events after a number, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The number and the JSON object of each.
    pub events: Vec<(u64, String)>,
    /// How many after that number are no longer kept.
    pub missed: u64,
    /// The number of the newest event there is.
    pub newest: u64,
}

impl Recent {
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept after the event of this number. A number that was never given out is that of another
    /// process: everything is new.
    pub(super) fn after(&self, number: u64) -> Batch {
        let ring = self.ring();
        let number = if number > ring.newest { 0 } else { number };
        let kept = u64::try_from(ring.events.len()).unwrap_or(u64::MAX);
        let before = ring.newest - kept;
        let events = (before + 1..).zip(&ring.events).filter(|(own, _)| *own > number);
        let events = events.map(|(own, event)| (own, event.to_string())).collect();
        Batch { events, missed: before.saturating_sub(number), newest: ring.newest }
    }
}

impl Ring {
    fn push(&mut self, event: Box<str>) {
        self.newest += 1;
        self.bytes += event.len();
        self.events.push_back(event);
        while self.events.len() > limits::LOG_EVENTS_MAX
            || self.bytes > limits::LOG_EVENTS_BYTES_MAX
        {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.len();
        }
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut members = Members { map: Map::new(), room: limits::LOG_EVENT_BYTES_MAX };
        members.put("time", utc_micros(clock::wall()).into());
        members.put("level", metadata.level().as_str().into());
        members.put("target", metadata.target().into());
        event.record(&mut members);
        let event = Value::Object(members.map).to_string();
        self.ring().push(event.into_boxed_str());
    }
}

/// The fields of an event as members of an object.
struct Members {
    map: Map<String, Value>,
    room: usize,
}

impl Members {
    fn put(&mut self, name: &str, value: Value) {
        self.map.insert(name.to_owned(), value);
    }

    fn put_text(&mut self, name: &str, text: &dyn fmt::Display) {
        let mut short =
            Short { text: String::new(), room: self.room.min(limits::LOG_TEXT_BYTES_MAX) };
        // What has no room is cut off.
        let _ = write!(short, "{text}");
        self.room -= short.text.len().min(self.room);
        self.put(name, short.text.into());
    }
}

impl Visit for Members {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field.name(), &format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }
}

/// A text that ends where there is no room.
struct Short {
    text: String,
    room: usize,
}

impl fmt::Write for Short {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        for letter in more.chars() {
            if letter.len_utf8() > self.room {
                self.room = 0;
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.room -= letter.len_utf8();
            self.text.push(letter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, dispatcher, info, warn};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, filter::LevelFilter};

    use super::*;

    fn kept(events: impl FnOnce()) -> Recent {
        let recent = Recent::default();
        let layers = Registry::default().with(LevelFilter::INFO).with(recent.clone());
        dispatcher::with_default(&layers.into(), events);
        recent
    }

    #[test]
    fn recent_events_are_objects_with_the_fields_of_the_log() {
        let recent = kept(|| {
            warn!(code = "UPS-E102", n = 7, on = true, by = %"uid 0", "quoted \"so\"\n");
            debug!("not logged");
        });
        let Batch { events, missed, newest } = recent.after(0);
        assert_eq!((events.len(), missed, newest), (1, 0, 1));
        let event: Value = serde_json::from_str(&events[0].1).unwrap();
        for (name, value) in [
            ("level", Value::from("WARN")),
            ("message", "quoted \"so\"\n".into()),
            ("code", "UPS-E102".into()),
            ("n", 7.into()),
            ("on", true.into()),
            ("by", "uid 0".into()),
        ] {
            assert_eq!(event[name], value, "{event}");
        }
        assert!(event["target"].as_str().unwrap().ends_with("recent::tests"), "{event}");
        assert!(event["time"].as_str().unwrap().ends_with('Z'), "{event}");
    }

    #[test]
    fn recent_events_are_bounded_in_number_and_size_and_none_is_lost_silently() {
        let recent = kept(|| (0..2 * limits::LOG_EVENTS_MAX).for_each(|n| info!(n, "again")));
        let batch = recent.after(0);
        assert_eq!(
            (batch.events.len(), batch.missed),
            (limits::LOG_EVENTS_MAX, limits::LOG_EVENTS_MAX as u64)
        );
        let last = batch.newest;
        assert_eq!(recent.after(last - 1).events, batch.events[limits::LOG_EVENTS_MAX - 1..]);
        assert_eq!(recent.after(last), Batch { newest: last, ..Batch::default() });
        assert_eq!(recent.after(u64::MAX), batch, "a number of another process");
        let long = "é".repeat(10_000);
        let recent = kept(|| {
            (0..limits::LOG_EVENTS_MAX)
                .for_each(|_| info!(a = long, b = %long, c = ?long, d = long, e = long, "{long}"));
        });
        let ring = recent.ring();
        assert!(
            ring.bytes <= limits::LOG_EVENTS_BYTES_MAX && ring.events.len() > 10,
            "{}",
            ring.events.len()
        );
        assert_eq!(ring.bytes, ring.events.iter().map(|event| event.len()).sum::<usize>());
        assert!(ring.events.iter().all(|event| event.len() < limits::LOG_EVENT_BYTES_MAX + 512));
    }
}
