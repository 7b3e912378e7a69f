//! Turns events into log lines on standard error, as text or JSON, with a level that can be changed
//! while running.
//!
//! Owns: [`LogHandle`], [`LogError`]. Never knows: events.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tracing::Dispatch;
use tracing::field::Field;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt as lines, reload};

use super::log_limiter::LogLimiter;
use super::metrics::Metrics;
use super::recent::{Batch, Recent};
use super::sink::Sink;
use crate::base::terminal::{escape_json, is_deceptive, wants_colours};
use crate::config::{self, LogFormat};

/// Changes what is logged; cheap to clone.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    sink: Sink,
    recent: Recent,
}

impl LogHandle {
    /// Replaces the filter at once, for every thread.
    ///
    /// # Errors
    ///
    /// When `level` is no filter, or the log has ended. The old filter stays.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.filter.reload(parse(level)?).map_err(|_| LogError::Ended)
    }

    /// What was logged after the event of this number, as far as it is kept in memory.
    #[must_use]
    pub fn recent(&self, after: u64) -> Batch {
        self.recent.after(after)
    }

    /// Waits until everything logged before is written, at most for `patience`: the last act of a
    /// process.
    pub fn flush(&self, patience: Duration) {
        self.sink.flush(patience);
    }
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle(..)")
    }
}

/// Why the log could not be set up or changed.
#[derive(Debug)]
pub enum LogError {
    /// The text, and what is wrong with it.
    Level(String, String),
    Thread(io::Error),
    /// Another log is installed in this process already.
    Installed,
    Ended,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level, problem) => write!(f, "log level `{level}`: {problem}"),
            Self::Thread(e) => write!(f, "no thread for the log: {e}"),
            Self::Installed => f.write_str("a log is installed already"),
            Self::Ended => f.write_str("the log has ended"),
        }
    }
}

impl std::error::Error for LogError {}

/// Installs the log of the process, to standard error. Colours only for people: on a terminal, and
/// unless `NO_COLOR` is set.
pub(super) fn install(
    settings: &config::Telemetry,
    metrics: &Arc<Metrics>,
) -> Result<LogHandle, LogError> {
    let colours = wants_colours(&io::stderr());
    let (dispatch, handle) = build(settings, colours, Box::new(io::stderr()), metrics)?;
    tracing::dispatcher::set_global_default(dispatch).map_err(|_| LogError::Installed)?;
    Ok(handle)
}

/// A log of its own that writes to `output`.
pub(super) fn build(
    settings: &config::Telemetry,
    colours: bool,
    output: Box<dyn Write + Send>,
    metrics: &Arc<Metrics>,
) -> Result<(Dispatch, LogHandle), LogError> {
    let (filter, handle) = reload::Layer::new(parse(&settings.log_level)?);
    let sink = Sink::start(output, Arc::clone(metrics)).map_err(LogError::Thread)?;
    let (lines, output) = (lines::layer().with_ansi(colours), sink.clone());
    let lines = match settings.log_format {
        LogFormat::Text => {
            lines.with_writer(output).fmt_fields(debug_fn(text_field).delimited(" ")).boxed()
        }
        LogFormat::Json => {
            lines.with_writer(EscapedJson(output)).json().flatten_event(true).boxed()
        }
    };
    let limiter = LogLimiter::new(Arc::clone(metrics));
    let recent = Recent::default();
    let layers = Registry::default().with(filter).with(limiter).with(lines).with(recent.clone());
    Ok((Dispatch::new(layers), LogHandle { filter: handle, sink, recent }))
}

/// Prints one field of a text line. Text from clients and servers may contain line ends and terminal escapes; they
/// are escaped, so that a line cannot be forged.
fn text_field(out: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() == "message" {
        write!(Escaped(out), "{value:?}")
    } else {
        write!(Escaped(out), "{field}={value:?}")
    }
}

struct Escaped<'a, 'b>(&'a mut Writer<'b>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match is_deceptive(c) {
            true => write!(self.0, "{}", c.escape_default()),
            false => self.0.write_char(c),
        })
    }
}

/// Lines of JSON, in which text from clients and servers cannot change how a terminal shows a line.
struct EscapedJson(Sink);

impl<'a> MakeWriter<'a> for EscapedJson {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &EscapedJson {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let escaped = std::str::from_utf8(line).map(escape_json);
        (&self.0).write_all(escaped.as_ref().map_or(line, |line| line.as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A level, or levels for parts of the program: `info,respgate::upstream=debug`.
fn parse(level: &str) -> Result<Targets, LogError> {
    let wrong = |problem: String| LogError::Level(level.to_owned(), problem);
    // A word alone would be taken for a part of the program, and all others would be silent.
    let stray = level.split(',').map(str::trim).find(|part| {
        !part.is_empty() && !part.contains('=') && part.parse::<LevelFilter>().is_err()
    });
    if let Some(word) = stray {
        return Err(wrong(format!(
            "`{word}` is none of off, error, warn, info, debug, trace, nor PART=LEVEL"
        )));
    }
    level.parse().map_err(|error: tracing_subscriber::filter::ParseError| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use tracing::{debug, dispatcher, info, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `events` runs, and the metrics of that log.
    fn page(
        format: LogFormat,
        level: &str,
        events: impl FnOnce(&LogHandle),
    ) -> (String, Arc<Metrics>) {
        let (page, metrics) = (Page::default(), Arc::new(Metrics::default()));
        let settings = config::Telemetry {
            log_format: format,
            log_level: level.to_owned(),
            ..config::Telemetry::default()
        };
        let (dispatch, handle) = build(&settings, false, Box::new(page.clone()), &metrics).unwrap();
        dispatcher::with_default(&dispatch, || events(&handle));
        handle.flush(Duration::from_secs(10));
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        (text, metrics)
    }

    #[test]
    fn json_has_one_object_per_line_with_a_time() {
        let (text, _) = page(LogFormat::Json, "info", |_| {
            info!(node = "a:1\u{202e}\u{2028}", generation = 2, "certificate \"published\"\n");
            debug!("dropped");
        });
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["message"], "certificate \"published\"\n");
        assert_eq!(event["node"], "a:1\u{202e}\u{2028}");
        assert!(text.contains(r"a:1\u202e\u2028"), "{text}");
        assert_eq!((&event["generation"], &event["level"]), (&2.into(), &"INFO".into()));
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn text_has_no_colours_and_no_control_characters() {
        let (text, _) = page(LogFormat::Text, "info", |_| {
            warn!(name = %"\u{1b}[31mred\nforged\u{202e}\u{2028}", n = 1, quoted = "a\nb", "from a \u{1b}[2J{}", "b\nc");
        });
        let printed =
            r#"from a \u{1b}[2Jb\nc name=\u{1b}[31mred\nforged\u{202e}\u{2028} n=1 quoted="a\nb""#;
        assert!(text.contains("WARN") && text.trim_end().ends_with(printed), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn level_changes_while_running() {
        let (text, _) = page(LogFormat::Text, "warn", |log| {
            info!("one");
            log.set_level("debug").unwrap();
            debug!("two");
            for unfit in ["respgate=loud", "inof", "warn,loud"] {
                let error = log.set_level(unfit).unwrap_err().to_string();
                assert!(error.starts_with(&format!("log level `{unfit}`: ")), "{error}");
            }
            debug!("three");
            log.set_level("off,respgate::telemetry=error").unwrap();
            warn!("four");
        });
        let printed: Vec<&str> =
            text.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert_eq!(printed, ["two", "three"]);
    }

    #[test]
    fn log_place_cannot_flood_the_others() {
        let (text, metrics) = page(LogFormat::Text, "trace", |_| {
            (0..200).for_each(|_| warn!("again"));
            (0..200).for_each(|_| trace!("each"));
            info!("once");
        });
        let count = |word| text.lines().filter(|line| line.ends_with(word)).count();
        let again = count("again");
        assert!((50..60).contains(&again), "{again}");
        assert_eq!((count("each"), count("once")), (200, 1));
        assert_eq!(metrics.shard().log_events_dropped_total.get(), 200 - again as u64);
    }

    #[test]
    fn recent_events_are_those_that_are_written() {
        let (text, _) = page(LogFormat::Text, "info", |log| {
            (0..200).for_each(|_| warn!("again"));
            debug!("not logged");
            log.set_level("debug").unwrap();
            debug!("logged");
            let batch = log.recent(0);
            assert_eq!(batch.missed, 0);
            let count = |word: &str| batch.events.iter().filter(|(_, e)| e.contains(word)).count();
            assert!((50..60).contains(&count("again")), "{batch:?}");
            assert_eq!(count("logged"), 1, "{batch:?}");
        });
        assert!(text.lines().count() < 62, "{text}");
    }
}
