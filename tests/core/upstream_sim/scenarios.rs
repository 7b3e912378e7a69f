//! Single accidents, each with its exact consequence: what is noticed when, and what becomes of requests.
//!
//! Owns: these scenarios. Never knows: how respgate decides.

use std::time::{Duration, Instant};

use respgate::internals::base::clock;
use respgate::internals::config::OnOutage;
use respgate::internals::traffic::Loss;
use respgate::internals::upstream::decisions::{Patience, Registry, Timing};

use super::model::{End, Kind};
use super::world::World;
use super::{FULL_BYTES, ms, pass};
use crate::support::choices::Choices;

/// On the first connection, and on the second.
const SESSION: usize = 1;
const OTHER: usize = 2;
const THIRD: usize = 4;
const ELSEWHERE: usize = 0;

/// Everything is well and at rest.
fn world() -> World {
    let timing = Timing {
        command_timeout: ms(4000),
        stall_timeout: ms(600),
        connect_timeout: ms(400),
        health_check_interval: ms(1000),
        idle_timeout: ms(3000),
        max_age: Duration::ZERO,
    };
    world_with(timing)
}

fn world_with(timing: Timing) -> World {
    let patience = Patience { on_outage: OnOutage::Error, wait: ms(1500) };
    let (registry, chance) = (Registry::new(1, 8), Choices::from_seed(1));
    let mut world = World::new(clock::now(), timing, patience, 6, registry, chance);
    pass(&mut world, ms(200));
    world
}

fn ask(world: &mut World, session: usize, kind: Kind) -> usize {
    world.ask(session, kind);
    world.model.sessions[session].len() - 1
}

/// How a request has ended, and after how many milliseconds.
fn end(world: &World, session: usize, ticket: usize) -> Option<(u128, End)> {
    let asked = &world.model.sessions[session][ticket];
    asked.end.map(|(at, how)| ((at - asked.at).as_millis(), how))
}

fn wire(world: &World, key: usize) -> usize {
    world.current(key).live.as_ref().expect("there is a connection").wire
}

fn check_answered(world: &World, session: usize, ticket: usize, within: std::ops::Range<u128>) {
    let (after, how) = end(world, session, ticket).expect("it has ended");
    assert!(how == End::Answered && within.contains(&after), "{how:?} after {after} ms");
}

#[test]
fn silence_is_noticed_while_nothing_can_be_written() {
    let mut world = world();
    let first = wire(&world, 0);
    world.server.wires[first].window = 0;
    let ticket = ask(&mut world, SESSION, Kind::Write);
    pass(&mut world, ms(1500));
    check_answered(&world, SESSION, ticket, 1000..1200);
    assert!(!world.server.wires[first].open, "it is given up");
    world.check_executions();
}

#[test]
fn half_a_request_is_awaited_for_its_own_time_while_others_pass() {
    let mut world = world();
    let first = wire(&world, 0);
    world.server.wires[first].window = 3;
    let half = ask(&mut world, SESSION, Kind::Write);
    let other = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(4500));
    check_answered(&world, OTHER, other, 200..300);
    assert_eq!(end(&world, SESSION, half).map(|(_, how)| how), Some(End::Lost(Loss::TimedOut)));
    assert!(!world.server.wires[first].open, "it is given up");
    world.check_executions();
}

#[test]
fn silence_of_a_server_that_is_written_to_again_and_again_is_noticed() {
    let mut world = world();
    let first = wire(&world, 0);
    world.server.path_is_dead = true;
    let asked = ask(&mut world, SESSION, Kind::Read);
    for _ in 0..30 {
        pass(&mut world, ms(50));
        ask(&mut world, OTHER, Kind::Read);
    }
    assert!(!world.server.wires[first].open, "it is given up");
    assert!(end(&world, SESSION, asked).is_none(), "what may be sent again waits");
}

#[test]
fn write_to_a_silent_server_is_awaited_for_its_own_time_and_nothing_follows_it() {
    let mut world = world();
    let first = wire(&world, 0);
    world.server.path_is_dead = true;
    let write = ask(&mut world, SESSION, Kind::Write);
    pass(&mut world, ms(1100));
    assert!(world.server.wires[first].open && world.silent == 1);
    let later = ask(&mut world, SESSION, Kind::Read);
    pass(&mut world, ms(3100));
    let unknown = End::Lost(Loss::OutcomeUnknown);
    assert!(matches!(end(&world, SESSION, write), Some((4000..4100, how)) if how == unknown));
    assert!(!world.server.wires[first].open && world.silent == 0);
    assert!(!matches!(end(&world, SESSION, later), Some((_, End::Answered))));
}

#[test]
fn silence_of_an_idle_connection_is_noticed_by_a_probe() {
    let mut world = world();
    let first = wire(&world, 0);
    pass(&mut world, ms(1500));
    world.server.path_is_dead = true;
    pass(&mut world, ms(300));
    assert!(world.server.wires[first].open);
    // Two intervals and the time of a probe.
    pass(&mut world, ms(2200));
    assert!(!world.server.wires[first].open, "it is given up");
    world.server.heal(world.now, || ms(0));
    pass(&mut world, ms(2000));
    assert_ne!(wire(&world, 0), first);
}

#[test]
fn idle_connection_is_closed_at_its_time_and_the_first_one_never() {
    let mut world = world();
    let ticket = ask(&mut world, ELSEWHERE, Kind::Read);
    pass(&mut world, ms(2900));
    check_answered(&world, ELSEWHERE, ticket, 0..100);
    assert!(world.current(1).line.is_up());
    pass(&mut world, ms(1200));
    assert!(!world.current(1).line.is_up(), "its own probes are no use");
    assert!(world.current(0).line.is_up());
    assert_eq!(world.node.outage_since(), None);
}

#[test]
fn connection_in_use_is_not_idle() {
    let mut world = world();
    ask(&mut world, ELSEWHERE, Kind::Read);
    pass(&mut world, ms(50));
    let first = wire(&world, 1);
    for _ in 0..8 {
        pass(&mut world, ms(1000));
        ask(&mut world, ELSEWHERE, Kind::Read);
    }
    pass(&mut world, ms(50));
    assert_eq!(wire(&world, 1), first);
}

#[test]
fn connection_is_replaced_at_its_age_and_not_before() {
    let timing = Timing { max_age: ms(5000), ..world().timing };
    let mut world = world_with(timing);
    let first = wire(&world, 0);
    pass(&mut world, ms(4600));
    assert_eq!(wire(&world, 0), first);
    pass(&mut world, ms(1300));
    assert_ne!(wire(&world, 0), first);
    assert!(!world.server.wires[first].open);
}

#[test]
fn retired_connection_answers_its_outstanding_requests_and_takes_no_new_ones() {
    let mut world = world();
    let first = wire(&world, 0);
    let slow = ask(&mut world, SESSION, Kind::Slow(200));
    pass(&mut world, ms(10));
    world.rotate();
    pass(&mut world, ms(20));
    let new = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(100));
    assert_eq!(wire(&world, 0), first, "a reply is outstanding");
    assert_eq!(end(&world, OTHER, new), None, "it waits for the successor");
    pass(&mut world, ms(200));
    check_answered(&world, SESSION, slow, 200..220);
    check_answered(&world, OTHER, new, 150..220);
    assert_ne!(wire(&world, 0), first);
    world.check_freshness();
}

#[test]
fn closing_line_answers_what_is_in_it_and_ends() {
    let mut world = world();
    let slow = ask(&mut world, SESSION, Kind::Slow(300));
    let last = ask(&mut world, OTHER, Kind::Read);
    pass(&mut world, ms(5));
    world.lives.iter_mut().flatten().for_each(|life| life.line.closing = true);
    pass(&mut world, ms(200));
    assert_eq!(end(&world, SESSION, slow), None);
    pass(&mut world, ms(300));
    check_answered(&world, SESSION, slow, 300..320);
    assert!(end(&world, OTHER, last).is_some());
    assert!(world.server.wires.iter().all(|wire| !wire.open), "none is left");
}

#[test]
fn slow_command_delays_no_other_session() {
    let mut world = world();
    let slow = ask(&mut world, SESSION, Kind::Slow(2000));
    pass(&mut world, ms(50));
    let other = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(2200));
    check_answered(&world, OTHER, other, 200..300);
    check_answered(&world, SESSION, slow, 2000..2010);
    assert_eq!(world.asides(), 0, "what was set aside has ended");
}

/// One connection is dialed, and is both.
#[test]
fn successor_relieves_a_connection_that_is_held_up() {
    let mut world = world();
    let before = world.server.wires.len();
    let slow = ask(&mut world, SESSION, Kind::Slow(2000));
    pass(&mut world, ms(10));
    world.rotate();
    pass(&mut world, ms(20));
    let other = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(2200));
    check_answered(&world, OTHER, other, 200..400);
    check_answered(&world, SESSION, slow, 2000..2010);
    assert_eq!(world.server.wires.len(), before + 1, "one connection is enough");
    assert_eq!(world.asides(), 0, "what was set aside has ended");
    world.check_freshness();
}

/// A large reply that its session does not read, of a connection on which nothing else is in line.
#[test]
fn slow_reader_is_awaited_and_delays_no_other_session() {
    let mut world = world();
    world.model.stop_reading(SESSION);
    let large = ask(&mut world, SESSION, Kind::Large);
    pass(&mut world, ms(50));
    assert_eq!(end(&world, SESSION, large), None, "it is not read to its end");
    assert_eq!(world.asides(), 1, "what is new goes elsewhere");
    let other = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(2000));
    check_answered(&world, OTHER, other, 0..20);
    assert_eq!(end(&world, SESSION, large), None, "the server is not silent");
    world.model.read_all();
    pass(&mut world, ms(50));
    check_answered(&world, SESSION, large, 2000..2200);
    assert_eq!(world.asides(), 0, "what was set aside has ended");
}

/// Others are in line behind a large reply that is not read: they are answered.
#[test]
fn slow_reader_is_not_awaited_while_others_are_in_line_behind_it() {
    let mut world = world();
    world.model.stop_reading(SESSION);
    let large = ask(&mut world, SESSION, Kind::Large);
    let other = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(50));
    check_answered(&world, SESSION, large, 0..20);
    check_answered(&world, OTHER, other, 0..20);
}

/// Others are in line behind a reply that is too large for its session: they wait for it, but not for long, and what can
/// be sent again is.
#[test]
fn full_slow_reader_is_awaited_for_some_time_by_those_in_line_behind_it() {
    for reads_again in [true, false] {
        let mut world = world();
        world.full_bytes = FULL_BYTES;
        world.model.stop_reading(SESSION);
        let large = ask(&mut world, SESSION, Kind::Large);
        let write = ask(&mut world, OTHER, Kind::Write);
        let read = ask(&mut world, OTHER, Kind::Read);
        pass(&mut world, ms(50));
        let later = ask(&mut world, THIRD, Kind::Write);
        pass(&mut world, ms(1000));
        assert_eq!(end(&world, SESSION, large), None, "it is full");
        assert_eq!(end(&world, OTHER, write), None, "it waits");
        check_answered(&world, THIRD, later, 0..20);
        if reads_again {
            world.model.read_all();
            pass(&mut world, ms(50));
            check_answered(&world, SESSION, large, 1050..1100);
            check_answered(&world, OTHER, write, 1050..1100);
        } else {
            pass(&mut world, ms(3000));
            check_answered(&world, SESSION, large, 3000..3100);
            check_answered(&world, OTHER, write, 3000..3100);
        }
        pass(&mut world, ms(50));
        assert!(end(&world, OTHER, read).is_some(), "it is not lost");
        world.check_executions();
    }
}

/// Several large replies to one session that reads slowly: those that have not begun come on a connection of its own,
/// which waits for it, and others are answered at once.
#[test]
fn slow_reader_gets_its_next_replies_on_a_connection_of_its_own() {
    let mut world = world();
    world.model.stop_reading(SESSION);
    let write = ask(&mut world, SESSION, Kind::Write);
    let large = [(); 3].map(|()| ask(&mut world, SESSION, Kind::Large));
    let other = ask(&mut world, OTHER, Kind::Large);
    pass(&mut world, ms(50));
    check_answered(&world, SESSION, write, 0..20);
    check_answered(&world, SESSION, large[0], 0..20);
    check_answered(&world, OTHER, other, 0..20);
    assert_eq!(end(&world, SESSION, large[1]), None, "it is not read to its end");
    pass(&mut world, ms(1000));
    assert_eq!(end(&world, SESSION, large[1]), None, "the server is not silent");
    world.model.read_all();
    pass(&mut world, ms(50));
    check_answered(&world, SESSION, large[2], 1000..1200);
    assert_eq!(world.asides(), 0, "what was set aside has ended");
    world.check_executions();
}

/// A write is in line between two replies to a session that reads slowly: what was requested behind it is executed
/// behind it.
#[test]
fn replies_to_a_slow_reader_do_not_overtake_its_writes() {
    let mut world = world();
    world.model.stop_reading(SESSION);
    let kinds = [Kind::Large, Kind::Large, Kind::Write, Kind::Large, Kind::Read];
    let asked = kinds.map(|kind| ask(&mut world, SESSION, kind));
    ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(50));
    for ticket in &asked[..3] {
        check_answered(&world, SESSION, *ticket, 0..20);
    }
    assert_eq!(end(&world, SESSION, asked[3]), None, "it is not read to its end");
    world.model.read_all();
    pass(&mut world, ms(50));
    check_answered(&world, SESSION, asked[4], 50..200);
    world.check_executions();
}

/// Sessions are spread over several connections, each of which is replaced by itself.
#[test]
fn several_connections_of_a_key_carry_sessions_in_turn() {
    let registry = Registry::new(2, 8);
    let patience = Patience { on_outage: OnOutage::Error, wait: ms(1500) };
    let (timing, chance) = (world().timing, Choices::from_seed(1));
    let mut world = World::new(clock::now(), timing, patience, 6, registry, chance);
    for session in [1, 2, 4, 5] {
        ask(&mut world, session, Kind::Read);
        pass(&mut world, ms(20));
    }
    assert_eq!(world.up_of(0), 2);
    let slow = ask(&mut world, 1, Kind::Slow(500));
    let others = [2, 4, 5].map(|session| (session, ask(&mut world, session, Kind::Write)));
    pass(&mut world, ms(100));
    let answered = others.iter().filter(|(of, ticket)| end(&world, *of, *ticket).is_some()).count();
    assert_eq!(answered, 2, "those on the other connection");
    pass(&mut world, ms(1000));
    check_answered(&world, 1, slow, 500..510);
    // Unused, the second one is closed; the first one is kept.
    pass(&mut world, ms(5000));
    assert!(world.up_of(0) >= 1 && world.current(0).line.is_up());
}

#[test]
fn request_is_sent_again_as_often_as_it_may_be() {
    let mut world = world();
    world.server.hangs_up = true;
    world.server.wires.iter_mut().for_each(|wire| wire.hangs_up = true);
    let before = world.server.wires.len();
    let read = ask(&mut world, SESSION, Kind::Read);
    let write = ask(&mut world, OTHER, Kind::Write);
    pass(&mut world, ms(1400));
    let unknown = End::Lost(Loss::OutcomeUnknown);
    assert!(matches!(end(&world, SESSION, read), Some((_, how)) if how == unknown));
    assert!(matches!(end(&world, OTHER, write), Some((0..20, how)) if how == unknown));
    let used = world.server.wires.len() - before;
    assert!((2..=3).contains(&used), "{used} connections for two further attempts");
}

/// Two databases are asked for all the time while a script runs; behind its end both are served soon.
#[test]
fn server_that_is_busy_is_dialed_ever_more_rarely_by_one_driver() {
    let mut world = world();
    world.server.busy_with_script = true;
    let (begin, mut before) = (world.now, world.attempts.len());
    let mut asked = Vec::new();
    for second in 0..10 {
        for _ in 0..100 {
            world.open(1);
            world.open(2);
            asked.push(ask(&mut world, ELSEWHERE, Kind::Read));
            pass(&mut world, ms(10));
        }
        let attempts = world.attempts.len() - std::mem::replace(&mut before, world.attempts.len());
        let most = if second == 0 { 20 } else { 10 };
        assert!(attempts > 0 && attempts <= most, "{attempts} in second {second}");
    }
    assert!(world.now >= begin + ms(10_000));
    world.server.busy_with_script = false;
    let last = ask(&mut world, ELSEWHERE, Kind::Read);
    pass(&mut world, ms(1010));
    check_answered(&world, ELSEWHERE, last, 0..1005);
    assert_eq!((world.up_of(1), world.up_of(2)), (1, 1));
    // Each waits for the next answer of the server, which is that to all.
    let ends = asked.iter().map(|ticket| end(&world, ELSEWHERE, *ticket).expect("it has ended"));
    assert!(ends.clone().all(|(after, _)| after <= 1005));
    assert!(ends.filter(|(_, how)| *how == End::Error).count() > 800);
}

/// What completes a write is in line behind a probe when everything that can be is answered BUSY, and its connection is
/// lost then.
/// Sessions select, again and again, databases that the server does not have.
#[test]
fn server_is_dialed_rarely_for_databases_that_it_does_not_have() {
    let mut world = world();
    world.server.lacks_database = true;
    for key in [2, 1].repeat(100) {
        world.open(key);
        pass(&mut world, ms(10));
    }
    assert!((2..=8).contains(&world.refused), "{} attempts", world.refused);
    world.server.lacks_database = false;
    pass(&mut world, ms(1000));
    let opened = world.opened;
    world.open(1);
    pass(&mut world, ms(50));
    assert_eq!(world.opened, opened + 1, "the server has it now");
}

#[test]
fn request_that_completes_a_write_is_executed_although_the_others_are_answered_busy() {
    let mut world = world();
    world.completes = 1;
    let first = wire(&world, 0);
    world.server.wires[first].window = b"W 1 0\n".len();
    let write = ask(&mut world, SESSION, Kind::Write) - 1;
    pass(&mut world, ms(10));
    check_answered(&world, SESSION, write, 0..10);
    world.server.busy_with_script = true;
    world.server.paused = true;
    pass(&mut world, ms(700));
    world.server.wires[first].window = usize::MAX;
    pass(&mut world, ms(200));
    assert_eq!(end(&world, SESSION, write + 1).map(|(_, how)| how), Some(End::Error));
    world.server.hang_up(first);
    world.server.busy_with_script = false;
    world.server.paused = false;
    pass(&mut world, ms(3000));
    assert_ne!(wire(&world, 0), first);
    world.check_executions();
    assert_eq!(world.server.executed.len(), 2);
}

/// The name server gives no answer: what is open serves on, although another connection is wanted in its place.
#[test]
fn open_connection_serves_while_its_name_cannot_be_looked_up() {
    let mut world = world();
    world.name.answers_after = None;
    world.rotate();
    let (first, begin) = (wire(&world, 0), world.now);
    for _ in 0..100 {
        let ticket = ask(&mut world, SESSION, Kind::Write);
        pass(&mut world, ms(100));
        check_answered(&world, SESSION, ticket, 0..10);
    }
    assert_eq!(wire(&world, 0), first);
    let attempts = world.attempts.iter().filter(|at| **at >= begin).count();
    assert!((2..=25).contains(&attempts), "{attempts} in ten seconds");
    world.name.heal();
    pass(&mut world, ms(4000));
    assert_ne!(wire(&world, 0), first, "it is replaced");
    world.check_freshness();
}

/// The server has another address, which the name server gives when it answers again.
#[test]
fn server_is_found_behind_another_address_soon_after_the_name_server_is_back() {
    let mut world = world();
    (0..world.server.wires.len()).for_each(|wire| world.server.hang_up(wire));
    world.name.answers_after = None;
    world.name.renumber(&mut Choices::from_seed(1));
    let begin = world.now;
    for _ in 0..100 {
        ask(&mut world, SESSION, Kind::Read);
        pass(&mut world, ms(100));
    }
    let attempts = world.attempts.iter().filter(|at| **at >= begin).count();
    assert!((5..=25).contains(&attempts), "{attempts} in ten seconds");
    assert!(world.node.outage_since().is_some());
    world.name.heal();
    pass(&mut world, super::RECOVERY);
    assert!(world.current(0).line.is_up() && world.node.outage_since().is_none());
}

#[test]
fn server_that_refuses_is_dialed_with_backoff_by_one_driver() {
    let mut world = world();
    world.server.refuses = true;
    (0..world.server.wires.len()).for_each(|wire| world.server.hang_up(wire));
    let begin = world.now;
    for _ in 0..100 {
        pass(&mut world, ms(100));
        ask(&mut world, SESSION, Kind::Read);
        ask(&mut world, ELSEWHERE, Kind::Read);
    }
    let attempts: Vec<Instant> =
        world.attempts.iter().filter(|at| **at >= begin).copied().collect();
    let late = attempts.iter().filter(|at| **at > begin + ms(5000)).count();
    assert!((4..=20).contains(&late), "{late} in the second half");
    assert!(attempts.len() < 50, "{} attempts", attempts.len());
    world.server.refuses = false;
    pass(&mut world, ms(2500));
    assert_eq!(world.node.outage_since(), None);
    assert!(world.current(0).line.is_up());
}
