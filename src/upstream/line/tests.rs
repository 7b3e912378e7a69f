//! What becomes of a line, case by case; `tests/core/upstream_sim.rs` has the histories.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;
use crate::config::OnOutage;
use crate::traffic::Skips;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Patience = Patience { on_outage: OnOutage::Error, wait: SECOND };

fn line(keep: bool) -> (Line<u32>, Instant) {
    (Line::new(Protocol::Resp2, keep), crate::base::clock::now())
}

fn up(line: &mut Line<u32>, now: Instant) {
    line.handle_up(now, |_| false, |_, _, _, _| {});
}

/// The connection is lost; what follows.
fn lose(line: &mut Line<u32>, aside: bool, now: Instant) -> Next {
    let reset = Ended::Lost(UpstreamDisconnect::Reset);
    line.handle_ended(reset, aside, |_| true, now, |_, _, _, _| {}).0
}

#[test]
fn outage_of_a_line_begins_at_the_loss_of_the_last_connection_that_worked() {
    let (mut line, begin) = line(true);
    up(&mut line, begin);
    lose(&mut line, false, begin);
    // One that has not proven itself does not end it.
    up(&mut line, begin + SECOND / 2);
    lose(&mut line, false, begin + SECOND / 2);
    assert_eq!(line.overdue(PATIENCE, begin + SECOND), Overdue::All);
    up(&mut line, begin + SECOND);
    line.handle_proven();
    lose(&mut line, false, begin + 5 * SECOND);
    assert_eq!(line.overdue(PATIENCE, begin + 6 * SECOND - SECOND / 10), Overdue::Nothing);
    assert_eq!(line.overdue(PATIENCE, begin + 6 * SECOND), Overdue::All);
}

#[test]
fn line_at_rest_refuses_only_while_the_server_may_not_be_dialed() {
    let (line, now) = line(false);
    let since = Some(now - 2 * SECOND);
    assert!(line.refuses(PATIENCE, since, false, now));
    assert!(!line.refuses(PATIENCE, since, true, now), "it may be there again");
    assert!(!line.refuses(PATIENCE, None, false, now));
}

#[test]
fn end_of_a_connection_is_a_failure_of_the_server_where_something_needs_it() {
    for (keep, waits, aside, next) in [
        (true, false, false, Next::Fail(UpstreamDisconnect::Reset)),
        (false, true, false, Next::Fail(UpstreamDisconnect::Reset)),
        (false, false, false, Next::Unneeded),
        (true, true, true, Next::Idle),
    ] {
        let (mut line, now) = line(keep);
        up(&mut line, now);
        if waits {
            line.pipeline.push(Owner::Session(1), Ticket(1), b"read", Skips::NONE, true, now);
        }
        assert_eq!(lose(&mut line, aside, now), next, "{keep} {waits} {aside}");
    }
}

#[test]
fn line_that_is_to_end_needs_no_connection_without_outstanding_requests() {
    let (mut line, now) = line(true);
    assert_eq!(line.poll_need(false), Need::Connection);
    line.closing = true;
    assert!(!line.is_wanted(true) && line.poll_need(true) == Need::Done);
    line.pipeline.push(Owner::Session(1), Ticket(1), b"read", Skips::NONE, true, now);
    assert_eq!(line.poll_need(false), Need::Connection, "it has outstanding requests");
}

#[test]
fn new_connection_is_not_replaced_for_what_was_asked_before() {
    let (mut line, now) = line(true);
    line.retire = true;
    up(&mut line, now);
    assert!(!line.retire);
}
