//! Reads the metrics of a running respgate again and again.
//!
//! Owns: [`Source`], the thread that asks. Never knows: what metrics mean.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::exposition::Exposition;
use crate::base::clock;

/// Connecting, and each part of an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// A longer answer is not read.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// What was read, and when; or why nothing could be read.
pub(super) type Look = Result<(Instant, Exposition), String>;

/// Asks at once and then at each interval, until it is dropped.
#[derive(Debug)]
pub(super) struct Source {
    looks: Receiver<Look>,
    /// Ends the thread.
    _end: Sender<()>,
}

impl Source {
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(address: SocketAddr, interval: Duration) -> Result<Self, String> {
        let (look, looks) = channel();
        let (end, ended) = channel::<()>();
        let thread = std::thread::Builder::new().name("respgate-top".to_owned());
        let asked = move || {
            while look.send(read(address)).is_ok()
                && ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
            {}
        };
        thread.spawn(asked).map_err(|error| format!("no thread: {error}"))?;
        Ok(Self { looks, _end: end })
    }

    /// The next look, if there is one already.
    pub(super) fn try_next(&self) -> Option<Look> {
        self.looks.try_recv().ok()
    }
}

/// The metrics of this moment.
fn read(address: SocketAddr) -> Look {
    let hint = "is respgate running, and telemetry.address this one?";
    let asked = clock::now();
    let answer = get(address).map_err(|error| format!("{address}: {error}; {hint}"))?;
    let metrics = metrics(&answer).map_err(|problem| format!("{address}: {problem}; {hint}"))?;
    // The numbers are of some moment between question and answer.
    let moment = asked + clock::now().saturating_duration_since(asked) / 2;
    Ok((moment, Exposition::parse(&metrics)))
}

fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // Of version 1.0 no answer comes in chunks.
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
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
    fn only_metrics_of_respgate_are_read() {
        let body = "respgate_build_info{version=\"1\"} 1\n";
        let answer = |status: &str| format!("HTTP/1.0 {status}\r\nA: b\r\n\r\n{body}");
        assert_eq!(metrics(&answer("200 OK")).as_deref(), Ok(body));
        assert!(metrics(&answer("503 Unavailable")).is_err());
        for other in ["", "-ERR unknown command\r\n", "HTTP/1.1 200 OK\r\n\r\nup 1\n"] {
            assert!(metrics(other).is_err(), "{other}");
        }
    }
}
