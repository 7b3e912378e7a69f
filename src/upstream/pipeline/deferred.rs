//! Requests that complete others and that the server has refused for a reason that passes, until they are sent again.
//!
//! Owns: [`Deferred`], [`passes`]. Never knows: clocks, what the requests are.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

use super::entry::Entry;
use crate::base::backoff::Backoff;
use crate::base::limits;

const PAUSE: Backoff = Backoff {
    initial: limits::COMPLETION_RETRY_MIN,
    multiplier: 2.0,
    cap: limits::COMPLETION_RETRY_MAX,
};

/// Whether an error is about the state of the server or of its cluster, which passes, and not about the command.
pub(super) fn passes(error: &[u8]) -> bool {
    const CODES: [&[u8]; 9] = [
        b"-BUSY",
        b"-LOADING",
        b"-MASTERDOWN",
        b"-CLUSTERDOWN",
        b"-TRYAGAIN",
        b"-READONLY",
        b"-OOM",
        b"-NOREPLICAS",
        b"-MISCONF",
    ];
    let code = error.split(|byte| matches!(byte, b' ' | b'\r')).next();
    code.is_some_and(|code| CODES.contains(&code))
}

/// They are sent again together, after a pause that grows while the server refuses them.
#[derive(Debug)]
pub(super) struct Deferred<W> {
    pub line: VecDeque<Entry<W>>,
    pub bytes: BytesMut,
    /// When they are sent; `None` until the time was looked at behind the first of them.
    until: Option<Instant>,
    /// When requests were sent again last, and how often in a row.
    last: Option<Instant>,
    repeated: u32,
}

/// How many requests are deferred.
pub(super) fn len<W>(deferred: Option<&Deferred<W>>) -> usize {
    deferred.map_or(0, |it| it.line.len())
}

/// The server has refused what completes another request, which is at the front of `bytes`: `owner`, if there is one,
/// has it sent again.
#[cold]
pub(super) fn put<W>(
    deferred: &mut Option<Box<Deferred<W>>>,
    owner: Option<W>,
    entry: &Entry<W>,
    bytes: &[u8],
) {
    debug_assert!(entry.late && !entry.secret, "a session waits for it");
    if let Some(owner) = owner {
        let request = bytes.get(..entry.len).unwrap_or_default();
        deferred.get_or_insert_default().put(entry.completing(owner), request);
    }
}

impl<W> Default for Deferred<W> {
    fn default() -> Self {
        let (line, bytes) = (VecDeque::new(), BytesMut::new());
        Self { line, bytes, until: None, last: None, repeated: 0 }
    }
}

impl<W> Deferred<W> {
    pub(super) fn put(&mut self, entry: Entry<W>, request: &[u8]) {
        debug_assert_eq!(entry.len, request.len(), "each byte is a request's");
        self.bytes.extend_from_slice(request);
        self.line.push_back(entry);
    }

    /// Whether they are to be sent now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.line.is_empty() {
            return false;
        }
        let Some(until) = self.until else {
            let recent = |last| now < last + limits::COMPLETION_RETRY_MAX;
            self.repeated = if self.last.is_some_and(recent) { self.repeated + 1 } else { 0 };
            self.until = Some(now + PAUSE.delay(self.repeated, u64::MAX));
            return false;
        };
        if now >= until {
            (self.until, self.last) = (None, Some(now));
        }
        now >= until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resp::Protocol;
    use crate::traffic::{Skips, Ticket};
    use crate::upstream::pipeline::Pipeline;

    #[test]
    fn request_that_is_refused_for_a_while_waits_ever_longer_and_is_written_again() {
        let mut now = crate::base::clock::now();
        let mut line: Pipeline<u32> = Pipeline::completing(Protocol::Resp2, || Some(7));
        line.push(7, Ticket(0), b"EXPIRE", Skips::NONE, true, now);
        line.note_completes();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert_eq!(line.unwritten(), b"EXPIRE");
            line.wrote(6);
            line.handle_bytes(b"-BUSY a script runs\r\n", None, |it| assert!(!it.refuses()))
                .unwrap();
            assert!(!line.is_empty() && line.unwritten().is_empty(), "it is kept");
            assert!(line.request_bytes() == 6 && line.held_bytes() > 6, "it is counted");
            let refused_at = now;
            while line.unwritten().is_empty() {
                line.put_deferred(now);
                now += Duration::from_millis(5);
            }
            pauses.push(now - refused_at);
        }
        assert!(pauses[0] < limits::COMPLETION_RETRY_MIN * 2 && pauses[1] > pauses[0]);
        assert!(pauses[6] < limits::COMPLETION_RETRY_MAX + Duration::from_millis(20));
        line.wrote(6);
        line.handle_bytes(b"-NOPERM no\r\n", None, |it| assert!(it.refuses())).unwrap();
        assert!(line.is_empty(), "it is given up");
    }

    #[test]
    fn deferred_request_stays_when_the_others_are_answered_and_moves_to_their_next_connection() {
        let now = crate::base::clock::now();
        let mut line: Pipeline<u32> = Pipeline::completing(Protocol::Resp2, || Some(7));
        line.push(7, Ticket(0), b"EXPIRE", Skips::NONE, true, now);
        line.note_completes();
        line.push(1, Ticket(1), b"GET", Skips::NONE, true, now);
        line.wrote(6);
        line.handle_bytes(b"-BUSY a script runs\r\n", None, |_| {}).unwrap();
        let mut moved = line.move_over(|owner| Some(*owner as usize));
        assert_eq!((line.request_bytes(), moved.request_bytes()), (6, 3), "only GET is answered");
        line.pass_deferred(&mut moved);
        assert!(line.is_empty() && moved.request_bytes() == 9);
    }

    #[test]
    fn requests_that_complete_others_stay_when_the_others_are_answered() {
        let now = crate::base::clock::now();
        let mut line: Pipeline<u32> = Pipeline::completing(Protocol::Resp2, || Some(7));
        line.push(1, Ticket(0), b"GET", Skips::NONE, true, now);
        line.push(7, Ticket(0), b"EXPIRE", Skips::NONE, true, now);
        line.note_completes();
        let taken: Vec<_> = line.take_waiting().into_requests().collect();
        assert_eq!(taken, [(1, Ticket(0), false)]);
        assert_eq!((line.unwritten(), line.len()), (&b"EXPIRE"[..], 1));
    }

    #[test]
    fn errors_that_pass_are_those_of_the_state_of_the_server() {
        for line in ["-BUSY Redis is busy\r\n", "-READONLY\r\n", "-OOM command not allowed\r\n"] {
            assert!(passes(line.as_bytes()), "{line}");
        }
        for line in ["-WRONGTYPE Operation\r\n", "-NOPERM\r\n", "-ERR BUSY\r\n", "-BUSYGROUP a\r\n"]
        {
            assert!(!passes(line.as_bytes()), "{line}");
        }
    }
}
