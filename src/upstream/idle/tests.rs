//! Idle connections that are lent, kept and closed, case by case; `tests/core/upstream_sim.rs` has the histories.
//!
//! Owns: its tests. Never knows: sockets.

use super::*;
use crate::upstream::connection::HOME;

const SECOND: Duration = Duration::from_secs(1);
const OTHER: PoolKey = PoolKey { database: 7, ..HOME };

#[derive(Clone, Copy, Debug)]
struct Fake {
    number: u32,
    key: PoolKey,
    opened_at: Instant,
    current: bool,
    silent: bool,
}

impl Pooled for Fake {
    fn key(&self) -> PoolKey {
        self.key
    }

    fn opened_at(&self) -> Instant {
        self.opened_at
    }

    fn is_current(&self) -> bool {
        self.current
    }

    fn is_silent(&mut self) -> bool {
        self.silent
    }
}

fn fake(number: u32, opened_at: Instant) -> Fake {
    Fake { number, key: HOME, opened_at, current: true, silent: true }
}

fn idle(max_age: Duration) -> (IdleConnections<Fake>, Closed, Instant) {
    let now = crate::base::clock::now();
    let timing = IdleTiming {
        min_idle: 2,
        max_idle: 4,
        idle_timeout: 10 * SECOND,
        health_check_interval: SECOND,
        max_age,
    };
    (IdleConnections::new(timing, now), Vec::new(), now)
}

#[test]
fn connection_that_was_used_last_is_lent_unless_it_has_ended() {
    let (mut idle, mut closed, now) = idle(Duration::ZERO);
    let ended = Fake { silent: false, ..fake(3, now) };
    let outdated = Fake { current: false, ..fake(4, now) };
    for one in [fake(1, now), fake(2, now), ended] {
        idle.put(one, now, &mut closed);
    }
    idle.put(outdated, now, &mut closed);
    assert_eq!(std::mem::take(&mut closed), [UpstreamDisconnect::Rotation], "it is not kept");
    assert_eq!(idle.take(HOME, &mut closed).map(|one| one.number), Some(2));
    assert_eq!(closed, [UpstreamDisconnect::Eof]);
    assert!(idle.take(OTHER, &mut closed).is_none());
}

#[test]
fn check_does_not_count_as_use() {
    let (mut idle, mut closed, now) = idle(Duration::ZERO);
    for number in 1..=3 {
        idle.put(fake(number, now), now + number * SECOND / 10, &mut closed);
    }
    let asked_at = now + SECOND + SECOND / 10;
    let checked = idle.take_unchecked(asked_at).unwrap();
    assert_eq!(checked.connection.number, 1);
    idle.put_checked(checked, asked_at, &mut closed);
    idle.close_old(now + 20 * SECOND, &mut closed);
    assert_eq!(closed, [UpstreamDisconnect::Idle], "two stay");
    let lent = [(); 2].map(|()| idle.take(HOME, &mut closed).map(|one| one.number));
    assert_eq!(lent, [Some(3), Some(2)], "the one that was used last comes first");
}

#[test]
fn connections_not_used_for_their_time_are_closed_and_a_few_stay() {
    let (mut idle, mut closed, now) = idle(Duration::ZERO);
    (0..4).for_each(|number| idle.put(fake(number, now), now, &mut closed));
    idle.close_old(now + 10 * SECOND - SECOND / 1000, &mut closed);
    assert_eq!(idle.len(), 4);
    idle.close_old(now + 10 * SECOND, &mut closed);
    assert_eq!((idle.len(), closed.len()), (2, 2));
}

#[test]
fn connection_that_is_too_old_is_not_put_back_and_those_made_together_do_not_end_together() {
    let (mut idle, mut closed, begin) = idle(10 * SECOND);
    idle.put(fake(1, begin), begin + 11 * SECOND, &mut closed);
    assert_eq!(std::mem::take(&mut closed), [UpstreamDisconnect::MaxAge]);
    let opened_at = |number: u32| begin + Duration::from_micros(100 * u64::from(number));
    (0..4)
        .for_each(|number| idle.put(fake(number, opened_at(number)), begin + SECOND, &mut closed));
    let mut left = Vec::new();
    for tenth in [89, 99, 101] {
        idle.close_aged(begin + SECOND / 10 * tenth, &mut closed);
        left.push(idle.len());
    }
    // By chance, which is the moment of birth.
    assert!(left[0] == 4 && (1..4).contains(&left[1]) && left[2] == 0, "{left:?}");
}

#[test]
fn connections_made_since_a_failover_was_noticed_stay() {
    let (mut idle, mut closed, now) = idle(Duration::ZERO);
    let then = now + SECOND;
    for (number, opened_at) in [now, then, then + SECOND].into_iter().enumerate() {
        idle.put(fake(u32::try_from(number).unwrap(), opened_at), then + SECOND, &mut closed);
    }
    idle.close_older(then, &mut closed);
    assert_eq!(closed, [UpstreamDisconnect::Failover; 2]);
    assert_eq!(idle.take(HOME, &mut closed).map(|one| one.number), Some(2));
}

#[test]
fn connection_of_another_key_that_waited_longest_makes_room() {
    let (mut idle, mut closed, now) = idle(Duration::ZERO);
    for number in 0..3 {
        idle.put(fake(number, now), now + SECOND * number, &mut closed);
    }
    idle.make_room(OTHER, &mut closed);
    assert_eq!((idle.len(), closed.len()), (3, 0), "there is room");
    idle.put(Fake { key: OTHER, ..fake(3, now) }, now + 3 * SECOND, &mut closed);
    idle.make_room(OTHER, &mut closed);
    let left: Vec<u32> = idle.idle.iter().map(|idle| idle.connection.number).collect();
    assert_eq!((left, closed), (vec![1, 2, 3], vec![UpstreamDisconnect::Idle]));
}
