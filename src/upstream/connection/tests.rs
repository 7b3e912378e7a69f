//! What a connection decides, case by case; `tests/core/upstream_sim.rs` has the histories.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;
use crate::traffic::Skips;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> Timing {
    Timing {
        idle_timeout: 5 * SECOND,
        health_check_interval: 2 * SECOND,
        ..Timing::of(&crate::config::Pool::default())
    }
}

/// A connection for another database than the first, with nothing in line, and its beginning.
fn connection() -> (Connection, Pipeline<Owner<u32>>, Instant) {
    let now = crate::base::clock::now();
    let key = PoolKey { database: 3, ..HOME };
    (Connection::new(timing(), key, now), Pipeline::new(Protocol::Resp2), now)
}

const AROUND: Around = Around { aside: false, room: true, freshness: Freshness::Current };

/// Lets time pass to `until`; the server answers whatever is written after `trip`. Returns the end.
fn pass(
    connection: &mut Connection,
    pipeline: &mut Pipeline<Owner<u32>>,
    until: Instant,
    trip: Duration,
) -> Option<(Ended, Instant)> {
    let mut answer_at = None;
    loop {
        let now = connection.poll_timeout().min(answer_at.unwrap_or(until)).min(until);
        if answer_at.is_some_and(|at| at <= now) {
            answer_at = None;
            connection.handle_bytes(pipeline, b"+PONG\r\n", now, None, |_, _, _| {}).unwrap();
        }
        if connection.poll_timeout() <= now {
            connection.handle_timeout(pipeline, AROUND, now, |_, _, _, _| {});
        }
        let due = connection.due(pipeline).len();
        if due > 0 {
            pipeline.wrote(due);
            answer_at = Some(now + trip);
            if !connection.is_ticking() {
                connection.handle_written(now);
            }
        }
        while let Some(action) = connection.poll_action() {
            if let Action::End(ended) = action {
                return Some((ended, now));
            }
        }
        if now >= until {
            return None;
        }
    }
}

#[test]
fn connection_that_no_session_uses_ends_whatever_its_own_probes_take() {
    for trip in [1, 20, 40, 400] {
        let (mut connection, mut pipeline, begin) = connection();
        let trip = Duration::from_millis(trip);
        let (ended, at) =
            pass(&mut connection, &mut pipeline, begin + 60 * SECOND, trip).expect("it ends");
        assert_eq!(ended, Ended::Idle);
        let lasted = at - begin;
        assert!((5 * SECOND..8 * SECOND).contains(&lasted), "{trip:?}: {lasted:?}");
    }
}

#[test]
fn first_connection_is_never_idle() {
    let now = crate::base::clock::now();
    let mut connection = Connection::new(timing(), HOME, now);
    let mut pipeline = Pipeline::new(Protocol::Resp2);
    assert_eq!(pass(&mut connection, &mut pipeline, now + 60 * SECOND, SECOND / 10), None);
}

/// Otherwise it would be executed behind what its session has asked since, when the path heals.
#[test]
fn silent_connection_is_given_up_with_the_first_write_whose_outcome_is_unknown() {
    let (mut connection, mut pipeline, begin) = connection();
    let (mut lost, mut ended) = (Vec::new(), None);
    // Two sessions write, one after the other; nothing is answered.
    for (session, at) in [(1, begin), (2, begin + BUSY_TICK)] {
        pipeline.push(Owner::Session(session), Ticket(1), b"write", Skips::NONE, false, at);
        pipeline.wrote(connection.due(&pipeline).len());
    }
    while ended.is_none() {
        let now = connection.poll_timeout();
        assert!(now < begin + 60 * SECOND, "it is never given up");
        connection.handle_timeout(&mut pipeline, AROUND, now, |owner, _, loss, _| {
            lost.push((*owner, loss));
        });
        pipeline.wrote(connection.due(&pipeline).len());
        while let Some(action) = connection.poll_action() {
            if let Action::End(how) = action {
                ended = Some((how, now - begin));
            }
        }
    }
    let (how, lasted) = ended.unwrap();
    assert_eq!(how, Ended::Lost(UpstreamDisconnect::Health));
    assert!((30 * SECOND..31 * SECOND).contains(&lasted), "{lasted:?}");
    assert_eq!(lost, [(1, Loss::OutcomeUnknown)], "the other one is lost with the connection");
}

/// Answers what is written, and returns what is to be done.
fn answer(
    connection: &mut Connection,
    pipeline: &mut Pipeline<Owner<u32>>,
    reply: &[u8],
    now: Instant,
) -> Vec<Action> {
    pipeline.wrote(connection.due(pipeline).len());
    connection.handle_bytes(pipeline, reply, now, None, |_, _, _| {}).unwrap();
    std::iter::from_fn(|| connection.poll_action()).collect()
}

#[test]
fn new_password_is_sent_on_the_open_connection() {
    let (mut connection, mut pipeline, now) = connection();
    let around = Around { freshness: Freshness::NewPassword, ..AROUND };
    connection.handle_timeout(&mut pipeline, around, now, |_, _, _, _| {});
    connection.handle_timeout(&mut pipeline, around, now, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), Some(Action::LogIn));
    assert_eq!(connection.poll_action(), None, "it is sent once");
    pipeline.push_secret(Owner::Relogin, Ticket::default(), b"secret", now);
    pipeline.push(Owner::Session(7), Ticket(9), b"request", Skips::NONE, false, now);
    let actions = answer(&mut connection, &mut pipeline, b"+OK\r\n", now);
    assert!(actions.contains(&Action::LoggedIn(true)) && !actions.contains(&Action::DialSuccessor));
    assert_eq!(pipeline.len(), 1, "the session's own request is not answered by it");
    answer(&mut connection, &mut pipeline, b"+OK\r\n", now);
    connection.handle_timeout(&mut pipeline, AROUND, now + SECOND, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), None);
    // Another one later.
    let mut retire = true;
    let (freshness, now) = (|| Freshness::NewPassword, now + SECOND);
    connection.handle_turn(&pipeline, false, &mut retire, freshness, || now);
    assert_eq!((connection.poll_action(), retire), (Some(Action::LogIn), false));
}

#[test]
fn refused_or_unanswered_login_replaces_the_connection() {
    let around = Around { freshness: Freshness::NewPassword, ..AROUND };
    let asked = || {
        let (mut connection, mut pipeline, now) = connection();
        connection.handle_timeout(&mut pipeline, around, now, |_, _, _, _| {});
        assert_eq!(connection.poll_action(), Some(Action::LogIn));
        pipeline.push_secret(Owner::Relogin, Ticket::default(), b"secret", now);
        (connection, pipeline, now)
    };
    let (mut connection, mut pipeline, now) = asked();
    let actions = answer(&mut connection, &mut pipeline, REFUSAL, now);
    assert!(actions.contains(&Action::LoggedIn(false)), "{actions:?}");
    connection.handle_timeout(&mut pipeline, around, now, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), Some(Action::DialSuccessor));
    let (mut connection, mut pipeline, now) = asked();
    connection.handle_timeout(&mut pipeline, around, now + 31 * SECOND, |_, _, _, _| {});
    let mut actions = std::iter::from_fn(|| connection.poll_action());
    assert!(actions.any(|action| action == Action::DialSuccessor));
}

/// A probe and a login are in line, in this order or the other.
fn probed_and_asked(login_first: bool) -> (Connection, Pipeline<Owner<u32>>, Instant) {
    let (mut connection, mut pipeline, begin) = connection();
    let push = |pipeline: &mut Pipeline<_>, now| {
        pipeline.push_secret(Owner::Relogin, Ticket::default(), b"secret", now);
        pipeline.wrote(b"secret".len());
    };
    if login_first {
        assert!(connection.relogin.is_due(begin));
        push(&mut pipeline, begin);
    }
    let timing = connection.timing;
    let wait = if login_first { timing.stall_timeout } else { timing.health_check_interval };
    let now = begin + wait;
    let around = Around { freshness: Freshness::NewPassword, ..AROUND };
    connection.handle_timeout(&mut pipeline, around, now, |_, _, _, _| {});
    if !login_first {
        pipeline.wrote(connection.due(&pipeline).len());
        push(&mut pipeline, now);
    }
    while connection.poll_action().is_some() {}
    assert_eq!(pipeline.len(), 2);
    (connection, pipeline, now)
}

const REFUSAL: &[u8] = b"-WRONGPASS invalid username-password pair\r\n";
/// A server may forbid PING: it lives all the same.
const FORBIDDEN: &[u8] = b"-NOPERM this user has no permissions to run the 'ping' command\r\n";

#[test]
fn replies_to_probe_and_login_are_each_judged_by_their_own_rule() {
    let alive = Action::HealthCheck(true);
    for pong in [&b"+PONG\r\n"[..], FORBIDDEN] {
        for (verdict, accepted) in [(&b"+OK\r\n"[..], true), (REFUSAL, false)] {
            let (mut connection, mut pipeline, now) = probed_and_asked(false);
            let first = answer(&mut connection, &mut pipeline, pong, now);
            assert!(first.contains(&alive), "{first:?}");
            assert!(!first.iter().any(|action| matches!(action, Action::LoggedIn(_))), "{first:?}");
            let second = answer(&mut connection, &mut pipeline, verdict, now);
            assert_eq!(second, [Action::LoggedIn(accepted)]);
        }
    }
    let (mut connection, mut pipeline, now) = probed_and_asked(true);
    let first = answer(&mut connection, &mut pipeline, REFUSAL, now);
    assert!(first.contains(&Action::LoggedIn(false)) && !first.contains(&alive), "{first:?}");
    let second = answer(&mut connection, &mut pipeline, FORBIDDEN, now);
    assert_eq!(second, [alive]);
}

#[test]
fn reply_to_a_login_counts_when_it_is_later_than_a_session_would_wait() {
    let (mut connection, mut pipeline, begin) = connection();
    connection.timing.command_timeout = SECOND;
    pipeline.push(Owner::Session(7), Ticket(9), b"request", Skips::NONE, false, begin);
    assert!(connection.relogin.is_due(begin));
    pipeline.push_secret(Owner::Relogin, Ticket::default(), b"secret", begin);
    pipeline.wrote(connection.due(&pipeline).len());
    let (mut lost, now) = (Vec::new(), begin + 2 * SECOND);
    connection.handle_timeout(&mut pipeline, AROUND, now, |owner, _, loss, _| {
        lost.push((*owner, loss));
    });
    assert_eq!(lost, [(7, Loss::TimedOut)]);
    connection.handle_bytes(&mut pipeline, b"+OK\r\n", now, None, |_, _, _| {}).unwrap();
    let actions = answer(&mut connection, &mut pipeline, REFUSAL, now);
    assert!(actions.contains(&Action::LoggedIn(false)), "{actions:?}");
}

#[test]
fn answer_that_the_server_is_no_primary_counts_however_late_it_is() {
    let (mut connection, mut pipeline, begin) = connection();
    connection.timing.command_timeout = SECOND;
    let now = begin + 3 * SECOND;
    pipeline.push(Owner::Session(7), Ticket(9), b"request", Skips::NONE, false, now);
    let refusal = b"-READONLY You can't write against a read only replica.\r\n";
    assert_eq!(answer(&mut connection, &mut pipeline, refusal, now), [Action::Proven]);
    pipeline.wrote(connection.due(&pipeline).len());
    let later = now + 2 * SECOND;
    connection.handle_timeout(&mut pipeline, AROUND, later, |_, _, _, _| {});
    let role = b"*2\r\n$4\r\nrole\r\n$7\r\nreplica\r\n";
    let actions = answer(&mut connection, &mut pipeline, role, later);
    assert!(actions.contains(&Action::Misplaced), "{actions:?}");
}
