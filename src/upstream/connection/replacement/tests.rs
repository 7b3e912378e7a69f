//! What a connection decides about successors and relief, case by case.
//!
//! Owns: its tests. Never knows: sockets.

use std::time::Duration;

use super::*;
use crate::resp::Protocol;
use crate::traffic::Skips;
use crate::upstream::connection::{HOME, Timing};
use crate::upstream::ended::Ended;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);
const AROUND: Around = Around { aside: false, room: true, freshness: Freshness::Current };
const OUTDATED: Around = Around { freshness: Freshness::Outdated, ..AROUND };

type Line = Pipeline<Owner<u32>>;

/// A connection without `command_timeout`, with one request that was written if there are `outstanding_writes`.
fn connection(outstanding_writes: bool) -> (Connection, Line, Instant) {
    let pool = crate::config::Pool::default();
    let timing = Timing { command_timeout: Duration::ZERO, ..Timing::of(&pool) };
    let now = crate::base::clock::now();
    let (connection, mut line) =
        (Connection::new(timing, HOME, now), Pipeline::new(Protocol::Resp2));
    if outstanding_writes {
        ask(&mut line, now);
    }
    (connection, line, now)
}

fn ask(line: &mut Line, now: Instant) {
    line.push(Owner::Session(1), Ticket(1), b"write", Skips::NONE, false, now);
    line.wrote(b"write".len());
}

fn actions(connection: &mut Connection) -> Vec<Action> {
    std::iter::from_fn(|| connection.poll_action()).collect()
}

/// What is to be done at `now`.
fn look(connection: &mut Connection, line: &mut Line, around: Around, now: Instant) -> Vec<Action> {
    connection.handle_timeout(line, around, now, |_, _, _, _| {});
    actions(connection)
}

fn receive(
    connection: &mut Connection,
    line: &mut Line,
    reply: &[u8],
    now: Instant,
) -> Vec<Action> {
    connection.handle_bytes(line, reply, now, None, |_, _, _| {}).unwrap();
    actions(connection)
}

/// The head of the line has held it up for so long that another connection is dialed.
fn held() -> (Connection, Line, Instant) {
    let (mut connection, mut line, begin) = connection(true);
    let now = begin + limits::STALL_RELIEF_MIN;
    let dialed = look(&mut connection, &mut line, AROUND, now);
    assert!(dialed.contains(&Action::DialRelief), "{dialed:?}");
    (connection, line, now)
}

#[test]
fn successor_that_failed_is_dialed_again_after_a_pause() {
    let (mut connection, mut line, now) = connection(false);
    let dials = |connection: &mut _, line: &mut _, now| {
        look(connection, line, OUTDATED, now).contains(&Action::DialSuccessor)
    };
    assert!(dials(&mut connection, &mut line, now));
    assert!(!dials(&mut connection, &mut line, now), "one is in flight");
    assert!(!connection.handle_successor(Successor::Failed, now));
    let again = now + limits::REPLACEMENT_RETRY_INTERVAL;
    assert!(!dials(&mut connection, &mut line, again - MOMENT));
    assert!(dials(&mut connection, &mut line, again));
}

#[test]
fn connection_that_was_set_aside_is_not_replaced() {
    let (mut connection, mut line, now) = connection(false);
    connection.timing.max_age = SECOND;
    for around in [Around { aside: true, ..OUTDATED }, Around { aside: true, ..AROUND }] {
        assert_eq!(look(&mut connection, &mut line, around, now + SECOND), []);
    }
    let young = look(&mut connection, &mut line, AROUND, now + SECOND - MOMENT);
    assert_eq!(young, []);
    let old = look(&mut connection, &mut line, AROUND, now + SECOND);
    assert_eq!(old, [Action::DialSuccessor]);
}

#[test]
fn replaced_connection_waits_for_its_replies_up_to_a_bound() {
    let (mut connection, mut line, now) = connection(true);
    assert!(look(&mut connection, &mut line, OUTDATED, now).contains(&Action::DialSuccessor));
    assert!(connection.handle_successor(Successor::Primary, now));
    let lost = Action::End(Ended::Lost(UpstreamDisconnect::Rotation));
    let last = now + limits::REPLACED_CONNECTION_TIMEOUT;
    assert!(!look(&mut connection, &mut line, OUTDATED, last).contains(&lost));
    assert!(look(&mut connection, &mut line, OUTDATED, last + MOMENT).contains(&lost));
}

#[test]
fn primary_is_looked_for_ever_more_rarely_while_only_replicas_are_found() {
    let refusal = b"-READONLY You can't write against a read only replica.\r\n";
    let replica = b"*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";
    let (mut connection, mut line, begin) = connection(true);
    let now = begin + limits::PRIMARY_CHECK_INTERVAL_MIN;
    receive(&mut connection, &mut line, refusal, now);
    line.wrote(connection.due(&line).len());
    let moved = receive(&mut connection, &mut line, replica, now);
    assert!(moved.contains(&Action::DialSuccessor), "{moved:?}");
    assert!(!connection.handle_successor(Successor::Replica, now), "it is no better");
    ask(&mut line, now);
    receive(&mut connection, &mut line, refusal, now);
    let again = now + limits::PRIMARY_CHECK_INTERVAL_MIN * 2;
    look(&mut connection, &mut line, AROUND, again - MOMENT);
    assert!(line.is_empty(), "it is not asked yet");
    look(&mut connection, &mut line, AROUND, again);
    assert_eq!(line.len(), 1, "it is asked again");
    // Any other successor serves, a replica or not.
    let (mut connection, mut line, now) = self::connection(false);
    look(&mut connection, &mut line, OUTDATED, now);
    assert!(connection.handle_successor(Successor::Replica, now));
}

#[test]
fn requests_move_to_a_relief_where_there_is_room_and_nothing_else_has_taken_over() {
    for (aside, room, moves) in [(false, true, true), (false, false, false), (true, true, false)] {
        let (mut connection, _line, now) = held();
        assert_eq!(connection.handle_relief(Relief::Up, false, (aside, room), now), moves);
        assert_eq!(actions(&mut connection).contains(&Action::Stalled(true)), moves);
    }
    let (mut connection, mut line, now) = connection(true);
    let full = Around { room: false, ..AROUND };
    assert_eq!(look(&mut connection, &mut line, full, now + SECOND / 2), []);
}

#[test]
fn relief_is_not_dialed_beside_a_successor() {
    let (mut connection, mut line, now) = connection(true);
    look(&mut connection, &mut line, OUTDATED, now);
    assert!(connection.handle_successor(Successor::Primary, now));
    let late = look(&mut connection, &mut line, OUTDATED, now + SECOND);
    assert!(!late.contains(&Action::DialRelief), "{late:?}");
}

#[test]
fn relief_is_dropped_when_the_server_goes_on() {
    let (mut connection, mut line, now) = held();
    receive(&mut connection, &mut line, b"+OK\r\n", now);
    assert_eq!(look(&mut connection, &mut line, AROUND, now), [Action::DropRelief]);
    assert_eq!(look(&mut connection, &mut line, AROUND, now), [], "once");
}

#[test]
fn busy_server_counts_as_busy_for_a_while() {
    let (mut connection, _line, now) = held();
    assert!(!connection.handle_relief(Relief::Busy, false, (false, true), now));
    let last = now + limits::BUSY_SCRIPT_TIME;
    assert!(connection.is_busy(last - MOMENT) && !connection.is_busy(last));
}

#[test]
fn new_requests_go_elsewhere_when_the_server_is_silent() {
    for (around, steps) in [
        (AROUND, true),
        (Around { room: false, ..AROUND }, false),
        (Around { aside: true, ..AROUND }, false),
    ] {
        let (mut connection, mut line, now) = connection(true);
        connection.timing.command_timeout = 60 * SECOND;
        let probed = now + connection.timing.stall_timeout;
        look(&mut connection, &mut line, around, probed);
        line.wrote(connection.due(&line).len());
        let silent = probed + connection.timing.connect_timeout;
        let before = look(&mut connection, &mut line, around, silent - MOMENT);
        assert!(!before.contains(&Action::Silent(true)), "{before:?}");
        let after = look(&mut connection, &mut line, around, silent);
        assert!(after.contains(&Action::Silent(true)), "{after:?}");
        assert_eq!(after.contains(&Action::StepAside), steps, "{after:?}");
    }
}
