//! What a connection decides, case by case; `tests/core/upstream_sim.rs` has the histories.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn timing() -> Timing {
    Timing {
        idle_timeout: 5 * SECOND,
        health_check_interval: 2 * SECOND,
        ..Timing::of(&crate::config::Pool::default())
    }
}

/// A connection for another database than the first, with nothing in line, and its beginning.
fn connection() -> (Connection, Pipeline<Option<u32>>, Instant) {
    let now = crate::base::clock::now();
    let key = PoolKey { database: 3, ..HOME };
    (Connection::new(timing(), key, now), Pipeline::new(Protocol::Resp2), now)
}

const AROUND: Around = Around { aside: false, room: true, standing: Standing::Current };

/// Lets time pass to `until`; the server answers whatever is written after `trip`. Returns the end.
fn pass(
    connection: &mut Connection,
    pipeline: &mut Pipeline<Option<u32>>,
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
        pipeline.push(Some(session), Ticket(1), b"write", 0, false, at);
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
    pipeline: &mut Pipeline<Option<u32>>,
    reply: &[u8],
    now: Instant,
) -> Vec<Action> {
    pipeline.wrote(connection.due(pipeline).len());
    connection.handle_bytes(pipeline, reply, now, None, |_, _, _| {}).unwrap();
    std::iter::from_fn(|| connection.poll_action()).collect()
}

#[test]
fn new_password_is_said_on_the_open_connection() {
    let (mut connection, mut pipeline, now) = connection();
    let standing = Around { standing: Standing::NewPassword, ..AROUND };
    connection.handle_timeout(&mut pipeline, standing, now, |_, _, _, _| {});
    connection.handle_timeout(&mut pipeline, standing, now, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), Some(Action::LogIn));
    assert_eq!(connection.poll_action(), None, "it is said once");
    pipeline.push_secret(None, RELOGIN, b"secret", now);
    pipeline.push(Some(7), Ticket(9), b"request", 0, false, now);
    let actions = answer(&mut connection, &mut pipeline, b"+OK\r\n", now);
    assert!(actions.contains(&Action::LoggedIn(true)) && !actions.contains(&Action::DialSuccessor));
    assert_eq!(pipeline.len(), 1, "the session's own request is not answered by it");
    answer(&mut connection, &mut pipeline, b"+OK\r\n", now);
    connection.handle_timeout(&mut pipeline, AROUND, now + SECOND, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), None);
    // Another one later.
    let mut retire = true;
    let (standing, now) = (|| Standing::NewPassword, now + SECOND);
    connection.handle_turn(&pipeline, false, &mut retire, standing, || now);
    assert_eq!((connection.poll_action(), retire), (Some(Action::LogIn), false));
}

#[test]
fn refused_or_unanswered_login_replaces_the_connection() {
    let standing = Around { standing: Standing::NewPassword, ..AROUND };
    let asked = || {
        let (mut connection, mut pipeline, now) = connection();
        connection.handle_timeout(&mut pipeline, standing, now, |_, _, _, _| {});
        assert_eq!(connection.poll_action(), Some(Action::LogIn));
        pipeline.push_secret(None, RELOGIN, b"secret", now);
        (connection, pipeline, now)
    };
    let (mut connection, mut pipeline, now) = asked();
    let refusal = b"-WRONGPASS invalid username-password pair\r\n";
    let actions = answer(&mut connection, &mut pipeline, refusal, now);
    assert!(actions.contains(&Action::LoggedIn(false)), "{actions:?}");
    connection.handle_timeout(&mut pipeline, standing, now, |_, _, _, _| {});
    assert_eq!(connection.poll_action(), Some(Action::DialSuccessor));
    let (mut connection, mut pipeline, now) = asked();
    connection.handle_timeout(&mut pipeline, standing, now + 31 * SECOND, |_, _, _, _| {});
    let mut actions = std::iter::from_fn(|| connection.poll_action());
    assert!(actions.any(|action| action == Action::DialSuccessor));
}
