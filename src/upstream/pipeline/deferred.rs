//! Requests that complete others and that the server has refused for a reason that passes, until they are sent again.
//!
//! Owns: [`Deferred`], [`handle_refusal`], [`passes`]. Never knows: clocks, what the requests are.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::BytesMut;

use super::Pipeline;
use super::delivery::{Refusal, SkippedRefusals};
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
    /// The server has refused some for good since that was last asked.
    refused: bool,
    /// When requests were sent again last, and how often in a row.
    last: Option<Instant>,
    repeated: u32,
}

/// How many requests are deferred.
pub(super) fn len<W>(deferred: Option<&Deferred<W>>) -> usize {
    deferred.map_or(0, |it| it.line.len())
}

/// The server has refused `entry`, whose bytes are the first of `pipeline`, and which is not in line any more: by the
/// reply that counts, or by some that are skipped. If it completes a request that was executed, it is sent again later,
/// or is to be reported.
#[cold]
pub(super) fn handle_refusal<W>(
    refusal: Option<Refusal>,
    skipped: SkippedRefusals,
    entry: &Entry<W>,
    pipeline: &mut Pipeline<W>,
) {
    debug_assert!(pipeline.bytes.len() >= entry.len, "its bytes are gone");
    let deferred = &mut pipeline.deferred;
    if !entry.is_completing() {
        let next = pipeline.line.iter_mut().find(|next| !next.own);
        next.zip(refusal).into_iter().for_each(|(next, it)| next.note_refused_before(it));
        return;
    }
    let all = skipped.and(refusal);
    if all.include(Refusal::ForGood) {
        deferred.get_or_insert_default().refused |= !entry.failed;
    }
    if let Some(owner) = (pipeline.completion)().filter(|_| all.include(Refusal::ForNow)) {
        let request = pipeline.bytes.get(..entry.len).unwrap_or_default();
        deferred.get_or_insert_default().put(entry.completing(owner), request);
    }
}

impl<W> Default for Deferred<W> {
    fn default() -> Self {
        let (line, bytes) = (VecDeque::new(), BytesMut::new());
        Self { line, bytes, until: None, refused: false, last: None, repeated: 0 }
    }
}

impl<W> Deferred<W> {
    /// Whether the server has refused some for good since that was last asked.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    /// The bytes of each.
    pub(super) fn requests(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.bytes;
        self.line.iter().map_while(move |entry| rest.split_off(..entry.len))
    }

    pub(super) fn put(&mut self, entry: Entry<W>, request: &[u8]) {
        debug_assert_eq!(entry.len, request.len(), "each byte is a request's");
        self.bytes.extend_from_slice(request);
        self.line.push_back(entry);
    }

    /// Takes them out, with their bytes, when they are to be sent now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(BytesMut, VecDeque<Entry<W>>)> {
        if self.line.is_empty() {
            return None;
        }
        let Some(until) = self.until else {
            let recent = |last| now < last + limits::COMPLETION_RETRY_MAX;
            self.repeated = if self.last.is_some_and(recent) { self.repeated + 1 } else { 0 };
            self.until = Some(now + PAUSE.delay(self.repeated, u64::MAX));
            return None;
        };
        if now < until {
            return None;
        }
        (self.until, self.last) = (None, Some(now));
        Some((std::mem::take(&mut self.bytes), std::mem::take(&mut self.line)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::resp::Protocol;
    use crate::traffic::{Loss, Skips, Ticket};
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
            line.handle_bytes(b"-BUSY a script runs\r\n", None, |_| {}).unwrap();
            assert!(!line.take_refused(), "it is given up");
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
        line.handle_bytes(b"-NOPERM no\r\n", None, |_| {}).unwrap();
        assert!(line.is_empty() && line.take_refused() && !line.take_refused(), "it is given up");
    }

    /// A write of a session and what completes it, with a question of the proxy between them.
    fn write(now: Instant) -> Pipeline<u32> {
        let mut line = Pipeline::completing(Protocol::Resp2, || Some(7));
        line.push(1, Ticket(0), b"write", Skips::NONE, false, now);
        line.push(1, Ticket(1), b"EXPIRE", Skips::NONE, true, now);
        line.note_companion();
        line.wrote(5);
        line.push_next(9, Ticket(0), b"PING", now);
        line
    }

    #[test]
    fn request_that_a_session_waits_for_is_kept_or_reported_when_only_it_is_refused() {
        for (written, completed, is_kept, is_reported) in [
            ("+OK", ":1", false, false),
            ("+OK", "-BUSY a script runs", true, false),
            ("+OK", "-NOPERM no", false, true),
            ("-ERR script: half", "-OOM no", true, false),
            ("-NOPERM no", "-NOPERM no", false, false),
            ("-READONLY no", "-READONLY no", false, false),
            ("-READONLY no", "-NOPERM no", false, false),
        ] {
            let mut line = write(crate::base::clock::now());
            line.wrote(10);
            let replies = format!("{written}\r\n+PONG\r\n{completed}\r\n");
            let mut owners = Vec::new();
            let taken = line.handle_bytes(replies.as_bytes(), None, |it| owners.push(*it.owner));
            assert_eq!((taken, owners), (Ok(()), vec![1, 9, 1]));
            assert_eq!(!line.is_empty(), is_kept, "{written}, {completed}");
            assert_eq!(line.take_refused(), is_reported, "{written}, {completed}");
        }
    }

    /// A write is completed by three requests, one for each of its keys: each reply is judged.
    #[test]
    fn each_of_several_requests_that_complete_a_write_is_kept_or_reported() {
        for (replies, is_kept, is_reported) in [
            (["+OK", ":1", ":1", ":1"], false, false),
            (["+OK", "-BUSY a script runs", ":1", ":1"], true, false),
            (["+OK", ":1", "-NOPERM no", ":1"], false, true),
            (["+OK", "-OOM no", "-NOPERM no", ":1"], true, true),
            (["+OK", "-NOPERM no", ":1", "-BUSY a script runs"], true, true),
            (["-NOPERM no", "-NOPERM no", "-NOPERM no", "-NOPERM no"], false, false),
            (["-READONLY no", "-READONLY no", "-READONLY no", "-READONLY no"], false, false),
        ] {
            for size in [1, 1000] {
                let now = crate::base::clock::now();
                let mut line = Pipeline::completing(Protocol::Resp2, || Some(7));
                line.push(1, Ticket(0), b"write", Skips::NONE, false, now);
                line.push(1, Ticket(1), b"EXPIRE*3", Skips::ahead(2), true, now);
                line.note_companion();
                line.push(1, Ticket(2), b"GET", Skips::NONE, true, now);
                line.wrote(16);
                let bytes = [&replies[..], &["$-1", ""]].concat().join("\r\n").into_bytes();
                for piece in bytes.chunks(size) {
                    line.handle_bytes(piece, None, |_| {}).unwrap();
                }
                let kept = if is_kept { 8 } else { 0 };
                assert_eq!(line.request_bytes(), kept, "{replies:?}");
                assert_eq!(line.take_refused(), is_reported, "{replies:?}");
            }
        }
    }

    #[test]
    fn request_that_was_given_up_before_its_write_was_answered_is_sent_on_the_next_connection() {
        let now = crate::base::clock::now();
        let mut line = write(now);
        line.handle_bytes(b"+O", None, |_| {}).unwrap();
        let mut late = Vec::new();
        line.expire(now + Duration::from_secs(1), || Some(7), |_, it, _| late.push(it));
        assert_eq!(late, [Ticket(1)], "half a reply cannot be taken back");
        line.handle_bytes(b"K\r\n", None, |_| {}).unwrap();
        line.handle_loss(|_| true, |_, _, loss, _| panic!("{loss:?}"));
        assert_eq!(line.unwritten(), b"EXPIRE");
    }

    #[test]
    fn request_whose_reply_is_cut_is_sent_again() {
        let now = crate::base::clock::now();
        let mut line = write(now);
        line.wrote(10);
        line.handle_bytes(b"+OK\r\n+PONG\r\n-NO", None, |_| {}).unwrap();
        let mut lost = Vec::new();
        line.handle_loss(|_| true, |owner, it, loss, _| lost.push((*owner, it, loss)));
        assert_eq!(lost, [(1, Ticket(1), Loss::Truncated)], "the session has a part of it");
        line.wrote(6);
        line.handle_bytes(b"-NO", None, |_| {}).unwrap();
        line.handle_loss(|_| true, |_, _, loss, _| panic!("{loss:?}"));
        assert_eq!(line.unwritten(), b"EXPIRE");
    }

    #[test]
    fn defect_loses_what_completes_requests_that_may_have_been_answered() {
        let now = crate::base::clock::now();
        let completions = |line: &Pipeline<u32>| line.completions().count();
        let mut line = write(now);
        assert_eq!(completions(&line), 1, "the answer may have been handed out");
        line.handle_bytes(b"+OK\r\n", None, |_| {}).unwrap();
        assert_eq!(line.completions().collect::<Vec<_>>(), [b"EXPIRE"]);
        line.push(1, Ticket(2), b"write", Skips::NONE, false, now);
        line.push(1, Ticket(3), b"EXPIRE", Skips::NONE, true, now);
        line.note_companion();
        line.wrote(10);
        assert_eq!(completions(&line), 1, "the second one is not answered");
        line.handle_bytes(b"+PONG\r\n-OOM no\r\n", None, |_| {}).unwrap();
        line.push(7, Ticket(0), b"EXPIRE", Skips::NONE, true, now);
        line.note_completes();
        assert_eq!(completions(&line), 2, "one is deferred");
        line.put_deferred(now);
        line.put_deferred(now + Duration::from_secs(9));
        assert_eq!(completions(&line), 2);
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
