//! Reads from a running respgate again and again: its metrics, and over its admin server for events.
//!
//! Owns: [`Source`], the threads that ask. Never knows: what metrics and events mean.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;

use super::events::Round;
use super::exposition::Exposition;
use crate::admin::{Verb, query};
use crate::base::clock;
use crate::base::limits;
use crate::cli::ask::{Content, Question, Response, Way, ask};
use crate::proxy::AdminState;
use crate::proxy::verbs::{AUDIT_RECENT, HOTKEYS, LOGS_RECENT, METRICS};

/// What was read, and when; or why nothing could be read.
pub(super) type Look = Result<(Instant, Exposition), String>;

/// Where metrics are read.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// The telemetry server.
    Telemetry(SocketAddr),
    /// The admin server.
    Admin(Way),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Telemetry(address) => write!(f, "{address}"),
            Self::Admin(way) => write!(f, "{way}"),
        }
    }
}

/// Something new.
#[derive(Debug)]
pub(super) enum News {
    Figures(Look),
    Events(Round),
}

/// Reads at once and then at each interval, until it is dropped.
#[derive(Debug)]
pub(super) struct Source {
    news: Receiver<News>,
    /// Each ends a thread.
    _ends: Vec<Sender<()>>,
}

impl Source {
    /// Reads metrics at `place`, and events by `way`.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(
        place: Place,
        way: Option<Way>,
        interval: Duration,
    ) -> Result<Self, String> {
        let (give, news) = channel();
        let mut ends = Vec::new();
        let own = give.clone();
        ends.push(repeat(interval, move || own.send(News::Figures(read(&place))).is_ok())?);
        if let Some(way) = way {
            let mut cursor = None;
            let asked = move || {
                let round = round(&way, &mut cursor);
                give.send(News::Events(round)).is_ok()
            };
            ends.push(repeat(interval.max(limits::TOP_EVENTS_INTERVAL_MIN), asked)?);
        }
        Ok(Self { news, _ends: ends })
    }

    /// What is new already.
    pub(super) fn try_next(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

/// Does something at once and at each interval on a thread of its own, until it returns false or the
/// sender is dropped.
fn repeat(
    interval: Duration,
    mut act: impl FnMut() -> bool + Send + 'static,
) -> Result<Sender<()>, String> {
    let (end, ended) = channel::<()>();
    let thread = std::thread::Builder::new().name("respgate-top".to_owned());
    let repeated =
        move || while act() && ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {};
    thread.spawn(repeated).map_err(|error| format!("no thread: {error}"))?;
    Ok(end)
}

/// One answer of each verb. The log is read on from the cursor of the round before.
fn round(way: &Way, cursor: &mut Option<u64>) -> Round {
    let most = limits::TOP_AUDIT_ENTRIES_MAX.to_string();
    let hot = verb(way, &HOTKEYS, &[]);
    let audit = verb(way, &AUDIT_RECENT, &[("most", &most)]);
    let after = cursor.map(|cursor| cursor.to_string());
    let after: Vec<(&str, &str)> = after.iter().map(|cursor| ("after", cursor.as_str())).collect();
    let log = verb(way, &LOGS_RECENT, &after);
    let read = |(answer, _): &(Value, bool)| answer.get("cursor").and_then(Value::as_u64);
    *cursor = log.as_ref().ok().and_then(read);
    Round {
        hot: hot.map(|(answer, _)| answer),
        // Without an audit log the answer is no.
        audit: audit.map(|(answer, good)| if good { answer } else { Value::Null }),
        log: log.map(|(answer, _)| answer),
    }
}

/// The answer of a verb for programs, and whether it is yes.
fn verb(
    way: &Way,
    verb: &Verb<AdminState>,
    pairs: &[(&str, &str)],
) -> Result<(Value, bool), String> {
    match ask(way, question(verb, pairs, true)) {
        Response::Answer { answer: Content::Json(answer), exit } => Ok((answer, exit == 0)),
        Response::Answer { .. } => Err("the answer is not JSON".to_owned()),
        Response::Refused { problem, .. } | Response::Nothing(problem) => Err(problem),
    }
}

fn question(verb: &Verb<AdminState>, pairs: &[(&str, &str)], json: bool) -> Question {
    Question {
        method: verb.effect.method(),
        target: format!("{}{}", verb.path, query::write(pairs.iter().copied())),
        body: Bytes::new(),
        json,
        patience: limits::TOP_TIMEOUT,
    }
}

/// The metrics of this moment.
fn read(place: &Place) -> Look {
    let asked = clock::now();
    let metrics = match place {
        Place::Telemetry(address) => {
            let hint = "is respgate running, and telemetry.address this one?";
            let answer =
                get(*address).map_err(|error| format!("{address}: {}; {hint}", error.kind()))?;
            metrics(&answer).map_err(|problem| format!("{address}: {problem}; {hint}"))?
        }
        Place::Admin(way) => match ask(way, question(&METRICS, &[], false)) {
            Response::Answer { answer: Content::Text(text), .. } => text,
            Response::Answer { .. } => return Err(format!("{way}: the answer is not text")),
            Response::Refused { problem, .. } | Response::Nothing(problem) => return Err(problem),
        },
    };
    // The numbers are of some moment between question and answer.
    let moment = asked + clock::now().saturating_duration_since(asked) / 2;
    Ok((moment, Exposition::parse(&metrics)))
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limits::TOP_TIMEOUT)?;
    stream.set_read_timeout(Some(limits::TOP_TIMEOUT))?;
    stream.set_write_timeout(Some(limits::TOP_TIMEOUT))?;
    // Of version 1.0 no answer comes in chunks.
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(limits::TOP_ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an answer that is one of respgate's metrics server.
fn metrics(answer: &str) -> Result<String, &'static str> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
    let status = head.split(' ').nth(1);
    if status != Some("200") {
        return Err("the answer to GET /metrics is an error");
    }
    if !body.contains("respgate_build_info") {
        return Err("the metrics there are not respgate's");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_respgate_alone_are_read() {
        let body = "respgate_build_info{version=\"1\"} 1\n";
        let answer = |status: &str| format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}");
        assert_eq!(metrics(&answer("200 OK")).as_deref(), Ok(body));
        assert!(metrics(&answer("503 Unavailable")).is_err());
        for other in ["", "-ERR unknown command\r\n", "HTTP/1.1 200 OK\r\n\r\nup 1\n"] {
            assert!(metrics(other).is_err(), "{other}");
        }
    }
}
