//! What a line of a pinned connection does with requests, replies and losses.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;

fn line() -> (PinnedLine, Instant) {
    let now = crate::base::clock::now();
    (PinnedLine::new(now), now)
}

fn write(line: &mut PinnedLine) -> Vec<u8> {
    let bytes = line.unwritten().to_vec();
    line.wrote(bytes.len());
    bytes
}

/// What each piece of a reply in `bytes` is to the session.
fn receive(line: &mut PinnedLine, mut bytes: &[u8], now: Instant) -> Vec<String> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let received = line.frame(bytes).unwrap();
        let (piece, rest) = bytes.split_at(received.used);
        bytes = rest;
        let reply = line.match_reply((piece, received.kind, received.done), 1 << 16, now, |_| ());
        replies.push(format!("{reply:?}"));
    }
    replies
}

#[test]
fn pinned_requests_are_kept_until_they_are_written_and_answered_in_their_order() {
    let (mut line, now) = line();
    assert!(line.is_clean());
    line.push(Ticket(1), b"GET", Skips::NONE, now);
    line.push(Ticket(2), b"PING WAIT", Skips::ahead(1), now);
    assert_eq!(write(&mut line), b"GETPING WAIT");
    assert!(line.unwritten().is_empty() && !line.is_quiet());
    let wanted = |ticket: u64| format!("Wanted {{ ticket: Ticket({ticket}), large: false }}");
    assert_eq!(
        receive(&mut line, b"$-1\r\n+PONG\r\n:1", now),
        [wanted(1), "Unwanted".to_owned(), wanted(2)]
    );
    assert!(line.has_begun());
    assert_eq!(receive(&mut line, b"\r\n", now), [wanted(2)]);
    assert!(line.is_clean());
    assert_eq!(receive(&mut line, b"+more\r\n", now), ["Unexpected"]);
}

#[test]
fn refused_transaction_is_reported_once_it_is_over() {
    let (mut line, now) = line();
    line.push(Ticket(1), b"MULTI GET EXEC", Skips::of_transaction(2), now);
    line.push(Ticket(2), b"MULTI GET EXEC", Skips::of_transaction(2), now);
    write(&mut line);
    let received = receive(&mut line, b"-NOPERM a\r\n+OK\r\n-ERR EXEC with", now);
    assert_eq!(received, ["Unwanted", "Unwanted", "Unwanted"]);
    assert_eq!(receive(&mut line, b"out MULTI\r\n", now), ["MultiRefused(Ticket(1))"]);
    let received = receive(&mut line, b"+OK\r\n-OOM a\r\n-EXECABORT\r\n", now);
    assert_eq!(received.len(), 3);
    assert!(received[1].starts_with("Refusal(Ticket(2), ["), "{received:?}");
    assert!(received[2].starts_with("Wanted { ticket: Ticket(2)"), "{received:?}");
}

#[test]
fn body_that_is_refused_early_is_written_to_its_end_and_not_answered_again() {
    let (mut line, now) = line();
    line.push(Ticket(1), b"*3 SET k $9", Skips::NONE, now);
    line.begin_body();
    write(&mut line);
    line.append(b"12345");
    assert_eq!(write(&mut line), b"12345");
    assert!(receive(&mut line, b"-ERR too long\r\n", now)[0].starts_with("Wanted"));
    assert!(!line.is_quiet(), "its rest is to come");
    assert_eq!(receive(&mut line, b"+OK\r\n", now), ["Unexpected"]);
    line.append(b"6789");
    line.end_body();
    assert!(!line.is_quiet());
    assert_eq!(write(&mut line), b"6789");
    assert!(line.is_quiet());
}

#[test]
fn losses_are_unknown_only_of_what_was_sent_whole() {
    let unsent = Loss::OutcomeUnknown.of_unsent();
    for (wrote, begun, expected) in [
        (0, false, [unsent, unsent, unsent]),
        (2, false, [unsent, unsent, unsent]),
        (3, false, [Loss::OutcomeUnknown, unsent, unsent]),
        (3, true, [Loss::Truncated, unsent, unsent]),
        (20, true, [Loss::Truncated, unsent, unsent]),
        (21, false, [Loss::OutcomeUnknown, Loss::OutcomeUnknown, unsent]),
        (30, false, [Loss::OutcomeUnknown, Loss::OutcomeUnknown, unsent]),
    ] {
        let (mut line, now) = line();
        line.push(Ticket(1), b"GET", Skips::NONE, now);
        line.push(Ticket(2), b"MULTI INCR k EXEC\n", Skips::of_transaction(2), now);
        line.push(Ticket(3), b"*3 SET k ", Skips::NONE, now);
        line.begin_body();
        if wrote > 0 {
            line.wrote(wrote);
        }
        if begun {
            receive(&mut line, b"$9\r\nhal", now);
        }
        let lost = line.take_losses(Loss::OutcomeUnknown);
        let tickets = (1..).map(Ticket);
        assert_eq!(lost, tickets.zip(expected).collect::<Vec<_>>(), "{wrote} bytes were sent");
        assert!(line.unwritten().is_empty() && !line.is_clean());
    }
}

#[test]
fn companion_is_outstanding_once_what_it_completes_is_answered() {
    let key = PoolKey { protocol: Protocol::Resp2, database: 3 };
    for (wrote, replies, outstanding) in [
        (9, "", None),
        (9, "+OK\r\n", Some(&b"EXPIRE"[..])),
        (3, "+OK\r\n", Some(b"EXPIRE")),
        (9, "+OK\r\n:1\r\n", None),
        (2, "", None),
        // It was not executed, or perhaps in part.
        (9, "-READONLY no\r\n", None),
        (9, "-ERR script: half\r\n", Some(b"EXPIRE")),
    ] {
        let (mut line, now) = line();
        line.push(Ticket(1), b"SET", Skips::NONE, now);
        line.push_companion(key, Ticket(2), b"EXPIRE", Skips::NONE, now);
        assert!(line.held_bytes() > 2 * b"EXPIRE".len());
        line.wrote(wrote);
        receive(&mut line, replies.as_bytes(), now);
        line.take_losses(Loss::OutcomeUnknown);
        let taken = line.take_outstanding();
        assert_eq!(taken.as_ref().map(|taken| &*taken.bytes), outstanding, "{wrote} {replies:?}");
        assert!(taken.is_none_or(|taken| taken.key == key) && line.take_outstanding().is_none());
    }
}

#[test]
fn companion_is_outstanding_when_only_it_is_refused() {
    let key = PoolKey { protocol: Protocol::Resp2, database: 3 };
    for (written, completed, outstanding) in [
        ("+OK", ":1", false),
        ("+OK", "-BUSY a script runs", true),
        ("+OK", "-NOPERM no", true),
        ("-ERR script: half", "-OOM no", true),
        ("-NOPERM no", "-NOPERM no", false),
        ("-READONLY no", "-READONLY no", false),
    ] {
        let (mut line, now) = line();
        line.push(Ticket(1), b"SET", Skips::NONE, now);
        line.push_companion(key, Ticket(2), b"EXPIRE", Skips::NONE, now);
        line.wrote(9);
        receive(&mut line, format!("{written}\r\n{completed}\r\n").as_bytes(), now);
        assert_eq!(line.take_outstanding().is_some(), outstanding, "{written}, {completed}");
        assert!(line.is_clean() || written.starts_with("-READONLY"), "{written}");
    }
}

/// A write is completed by three requests, one for each of its keys: each reply is judged, and they are sent elsewhere
/// once.
#[test]
fn companion_is_outstanding_once_when_a_part_of_it_is_refused() {
    let key = PoolKey { protocol: Protocol::Resp2, database: 3 };
    for (replies, outstanding) in [
        (["+OK", ":1", ":1", ":1"], 0),
        (["+OK", "-BUSY a script runs", ":1", ":1"], 1),
        (["+OK", ":1", "-NOPERM no", "-NOPERM no"], 1),
        (["+OK", ":1", "-NOPERM no", "-OOM no"], 1),
        (["+OK", ":1", ":1", "-NOPERM no"], 1),
        (["-NOPERM no", "-NOPERM no", "-NOPERM no", "-NOPERM no"], 0),
        (["-READONLY no", "-READONLY no", "-READONLY no", "-READONLY no"], 0),
    ] {
        let (mut line, now) = line();
        line.push(Ticket(1), b"SET", Skips::NONE, now);
        line.push_companion(key, Ticket(2), b"EXPIRE*3", Skips::ahead(2), now);
        line.push(Ticket(3), b"GET", Skips::NONE, now);
        line.wrote(14);
        let mut count = 0;
        for reply in replies {
            receive(&mut line, format!("{reply}\r\n").as_bytes(), now);
            count += usize::from(line.take_outstanding().is_some());
        }
        line.take_losses(Loss::OutcomeUnknown);
        count += usize::from(line.take_outstanding().is_some());
        assert_eq!(count, outstanding, "{replies:?}");
    }
}

#[test]
fn losses_by_time_leave_out_what_was_not_sent_and_what_is_answered() {
    let (mut line, now) = line();
    line.push(Ticket(1), b"GET", Skips::NONE, now);
    line.push(Ticket(2), b"*3 SET k $9", Skips::NONE, now);
    line.begin_body();
    write(&mut line);
    line.append(b"12345");
    receive(&mut line, b"$-1\r\n-ERR too long\r\n", now);
    assert_eq!(line.take_losses(Loss::TimedOut), [], "both are answered");
    for at in 3..5 {
        line.push(Ticket(at), b"GET", Skips::NONE, now);
    }
    line.wrote(5);
    let lost = line.take_losses(Loss::TimedOut);
    assert_eq!(lost, [(Ticket(3), Loss::TimedOut), (Ticket(4), Loss::Abandoned)]);
}

#[test]
fn stream_is_gone_once_it_is_written() {
    let (mut line, now) = line();
    line.pass_on(b"REPLCONF ACK 1", now);
    line.pass_on(b"REPLCONF ACK 2", now);
    assert_eq!(line.pipeline.len(), 1, "it takes one place");
    line.wrote(20);
    assert!(!line.is_quiet());
    assert_eq!(write(&mut line), b"NF ACK 2");
    assert!(line.is_quiet());
}

#[test]
fn acknowledged_request_makes_room_for_the_reply_to_the_next() {
    let (mut line, now) = line();
    line.push(Ticket(1), b"SUBSCRIBE a b", Skips::NONE, now);
    line.push(Ticket(2), b"PING", Skips::NONE, now);
    write(&mut line);
    assert!(line.acknowledge());
    assert!(receive(&mut line, b"+PONG\r\n", now)[0].contains("Ticket(2)"));
    assert!(!line.acknowledge(), "nothing is asked");
}

#[test]
fn request_is_acknowledged_once_although_not_all_of_it_is_written() {
    let (mut line, now) = line();
    line.push(Ticket(1), b"SUBSCRIBE a", Skips::NONE, now);
    line.push(Ticket(2), b"SUBSCRIBE b", Skips::NONE, now);
    assert!(line.acknowledge(), "the server may end a subscription by itself");
    line.wrote(4);
    assert!(!line.acknowledge(), "the other one is not asked yet");
    write(&mut line);
    assert!(line.acknowledge() && line.is_clean());
}

#[test]
fn replica_is_doubted_once_the_connection_is_old_enough() {
    let (mut line, now) = line();
    let later = now + limits::POOLED_CONNECTION_AGE_MIN;
    for (at, doubted) in [(now, false), (later, true)] {
        line.push(Ticket(1), b"SET", Skips::NONE, at);
        write(&mut line);
        receive(&mut line, b"-READONLY no\r\n", at);
        assert_eq!((line.sign().is_some(), line.is_clean()), (doubted, !doubted));
    }
}
