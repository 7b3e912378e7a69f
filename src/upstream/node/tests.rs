//! What is concluded about a server, case by case; `tests/core/upstream_sim.rs` has the histories.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;
use crate::base::backoff::Backoff;
use crate::telemetry::UpstreamDisconnect;

const SECOND: Duration = Duration::from_secs(1);

fn node() -> (Node, Instant) {
    let backoff = Backoff { initial: SECOND, multiplier: 1.0, cap: SECOND };
    let rules = BreakerRules { backoff, failures: 1, open_time: Duration::ZERO };
    (Node::new(rules, 1), crate::base::clock::now())
}

/// An attempt that ends at once.
fn dial(node: &mut Node, attempt: Attempt, now: Instant) -> Option<Notice> {
    let Ask::Dial(begun) = node.ask(&mut Waiter::default(), now) else {
        panic!("it may not be dialed")
    };
    node.handle_dialed(begun, attempt, now, u64::MAX)
}

#[test]
fn probe_that_is_answered_ends_no_outage_while_attempts_fail() {
    let (mut node, begin) = node();
    let failure = Attempt::Failed(Unavailable::Tls);
    assert_eq!(dial(&mut node, failure, begin), Some(Notice::Failed));
    assert_eq!(node.last_failure(), Unavailable::Tls);
    assert!(!node.is_passable(begin) && node.is_passable(begin + SECOND));
    // The time of the next attempt, and the time after which none seems to be wanted.
    let proven_at = begin + SECOND + limits::CONNECTION_PROOF;
    assert_eq!(node.handle_alive(begin + SECOND), None);
    assert_eq!(node.handle_alive(proven_at - Duration::from_millis(1)), None);
    assert!(matches!(node.handle_alive(proven_at), Some(Notice::Over { .. })));
    assert_eq!(node.outage_since(), None);
}

#[test]
fn missing_database_and_the_end_of_an_unneeded_connection_are_no_outage() {
    let (mut node, now) = node();
    assert_eq!(dial(&mut node, Attempt::Up, now), None);
    assert_eq!(dial(&mut node, Attempt::NoDatabase, now), None);
    for next in [Next::Serve, Next::Idle, Next::Unneeded, Next::Done] {
        assert_eq!(node.handle_ended(next, true, now, now, 0), None);
    }
    assert_eq!(node.outage_since(), None);
    let fail = Next::Fail(UpstreamDisconnect::Eof);
    assert_eq!(node.handle_ended(fail, true, now, now, 0), Some(Notice::Lost));
    assert_eq!(node.outage_since(), Some(now));
}

#[test]
fn server_is_silent_until_each_silent_connection_answers_again() {
    let (mut node, _) = node();
    node.handle_silence(true);
    node.handle_silence(true);
    node.handle_silence(false);
    assert!(node.is_silent());
    node.handle_silence(false);
    assert!(!node.is_silent());
}

#[test]
fn connection_that_proved_itself_ends_the_suspicion_of_those_that_follow() {
    let (mut node, now) = node();
    assert_eq!(dial(&mut node, Attempt::Up, now), None);
    let fail = Next::Fail(UpstreamDisconnect::Eof);
    assert_eq!(node.handle_ended(fail, false, now, now, 0), Some(Notice::Lost));
    let later = now + SECOND;
    assert_eq!(dial(&mut node, Attempt::Up, later), None, "it has proved nothing yet");
    assert!(matches!(node.handle_proven(later), Some(Notice::Over { .. })));
    assert_eq!(dial(&mut node, Attempt::Failed(Unavailable::Connect), later), Some(Notice::Failed));
    let last = later + SECOND * 2;
    assert!(matches!(dial(&mut node, Attempt::Up, last), Some(Notice::Over { .. })));
}
