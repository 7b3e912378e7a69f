//! Whatever happens to the server and the way to it, no reply goes astray, no acknowledged write is lost or
//! done twice, everything ends in time, and all is well again when the accidents are over.
//!
//! Owns: which seeds are run, which accidents happen, what a run ends in. Never knows: how respgate
//! decides.
//!
//! `RESPGATE_SEEDS=10000` or `RESPGATE_SEEDS=5000..9000` runs other seeds, `RESPGATE_SEED=7` one, and prints what happens
//! in it.

#![allow(clippy::too_many_lines, reason = "a test may crash")]

mod dials;
mod model;
mod name;
mod pinned;
mod pool;
mod scenarios;
use crate::support::seeds;
mod server;
mod world;

use std::time::{Duration, Instant};

use crate::support::choices::Choices;
use crate::support::shrink::{Kept, Replay, explain, fewest};
use model::{End, Kind};
use respgate::internals::base::clock;
use respgate::internals::config::OnOutage;
use respgate::internals::upstream::decisions::{Patience, Registry, Timing};
use server::{DENIED, PASSING};
use world::{KEYS, World};

const SEEDS: u64 = 200;
const PINNED_SEEDS: u64 = 100;
/// Unread bytes with which a session is full, in runs where it can be: less than one large reply.
const FULL_BYTES: usize = 4 * 1024 * 1024;
/// Of accidents, in a run.
const TROUBLED: Duration = Duration::from_secs(15);
/// After the last one.
const QUIET: Duration = Duration::from_secs(20);
/// A connection is there so long after the last accident: an attempt that was under way has ended, the longest wait behind it
/// is over, and another attempt has ended.
const RECOVERY: Duration = Duration::from_secs(4);
const SESSIONS: usize = 6;
/// By up to two dozen lines, whatever the server answers but that it has no such database.
const DIALS_MAX: [(usize, Duration); 2] =
    [(120, Duration::from_secs(1)), (200, Duration::from_secs(5))];

#[test]
fn seeds_are_so_many_or_a_range() {
    assert_eq!((seeds::parse("7"), seeds::parse("5000..9000")), (0..7, 5000..9000));
    let command = seeds::command(5003);
    assert!(command.starts_with("RESPGATE_SEED=5003 cargo test --locked --test core"), "{command}");
}

#[test]
fn shrinking_leaves_the_steps_that_a_failure_needs() {
    let failing = |kept: &Kept| assert!(!(kept.has(17) && kept.has(40) && !kept.has(200)));
    assert_eq!(fewest(100, failing), Some(vec![17, 40]));
    assert_eq!(fewest(100, |_| {}), None, "it does not fail");
    assert_eq!(fewest(100, |_| panic!("always")), Some(vec![]));
}

#[test]
fn upstream_half_survives_every_accident() {
    let now = clock::now();
    seeds::play_and_explain(
        SEEDS,
        |seed, loud| run(seed, now, loud, &mut Replay::default()),
        |seed| explain(|replay| run(seed, now, false, replay)),
    );
}

#[test]
fn pinned_connections_survive_every_accident() {
    let now = clock::now();
    let run = |seed, replay: &mut Replay<Choices>| {
        let mut world = pool::World::new(now, 14, Choices::from_seed(seed));
        for _ in 0..3 {
            world.pass(ms(3000), true, replay);
            world.heal();
            world.pass(ms(1000), false, replay);
        }
        world.quiet();
    };
    seeds::play_and_explain(
        PINNED_SEEDS,
        |seed, _| run(seed, &mut Replay::default()),
        |seed| explain(|replay| run(seed, replay)),
    );
}

/// Each reply reaches the request it answers, whatever is skipped, refused, cut in pieces or still being written.
#[test]
fn pinned_requests_are_answered_in_their_order_through_every_accident() {
    let now = clock::now();
    let (mut answered, mut lost, mut unsent) = (0, 0, 0);
    let run = |seed, replay: &mut Replay<Choices>| {
        let mut world = pinned::World::new(now, 5, Choices::from_seed(seed));
        for _ in 0..3 {
            world.pass(ms(2000), true, true, replay);
            world.heal();
            world.pass(ms(500), false, true, replay);
        }
        world.settle();
        world
    };
    seeds::play_and_explain(
        PINNED_SEEDS,
        |seed, _| {
            let world = run(seed, &mut Replay::default());
            answered += world.answered;
            lost += world.lost;
            unsent += world.unsent;
        },
        |seed| explain(|replay| drop(run(seed, replay))),
    );
    assert!(answered > lost && lost > unsent, "{answered} are answered and {lost} lost");
    assert!(unsent > 0, "all that is lost was sent");
}

#[test]
fn pinned_connections_are_replaced_at_their_age() {
    let now = clock::now();
    for seed in 0..20 {
        let age = Duration::from_secs(2);
        let mut world = pool::World::aging(now, 6, age, Choices::from_seed(seed));
        world.pass(ms(3000), true, &mut Replay::default());
        world.heal();
        world.pass(ms(3000), false, &mut Replay::default());
        world.check_ages();
    }
}

/// Sessions that ask for pinned connections all get their answer in time, and those that have left cost
/// nothing.
#[test]
fn silent_path_keeps_no_session_waiting_for_a_pinned_connection() {
    let now = clock::now();
    for seed in 0..40 {
        let mut world = pool::World::new(now, 100, Choices::from_seed(seed));
        world.silence();
        world.ask_all();
        world.pass(world.silent_bound() + ms(20), false, &mut Replay::default());
        assert_eq!(world.waiting().0, 0, "{seed}: a session still waits");
        world.ask_all();
        world.pass(ms(20), false, &mut Replay::default());
        world.leave_all();
        world.pass(ms(20), false, &mut Replay::default());
        assert!(
            world.waiting().0 == 0 && world.waiting().1 <= 2,
            "{seed}: a connection is still being made"
        );
    }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn number_of(choices: &mut Choices, least: usize, most: usize) -> u64 {
    (least + choices.below(most - least)) as u64
}

/// Plays a seed.
fn run(seed: u64, begin: Instant, loud: bool, replay: &mut Replay<Choices>) {
    let mut choices = Choices::from_seed(seed);
    let timing = Timing {
        command_timeout: ms(*choices.pick(&[400, 2000, 4000])),
        stall_timeout: ms(600),
        connect_timeout: ms(400),
        health_check_interval: ms(1000),
        idle_timeout: ms(3000),
        max_age: ms(*choices.pick(&[0, 0, 7000])),
    };
    let on_outage = *choices.pick(&[OnOutage::Close, OnOutage::Error]);
    let patience = Patience { on_outage, wait: ms(1500) };
    let chance = Choices::from_seed(seed ^ 0xABCD);
    let (width, max) = (*choices.pick(&[1, 1, 2, 3]), *choices.pick(&[4, 6, 64]));
    let registry = Registry::new(width, max);
    let mut world = World::new(begin, timing, patience, SESSIONS, registry, chance);
    world.loud = loud;
    (world.wanders, world.completes) = (true, 4);
    world.full_bytes = *choices.pick(&[usize::MAX, FULL_BYTES]);
    if choices.chance(50) {
        world.name.change(&mut choices);
    }
    let mut script = Script::draw(&mut choices, begin);
    let end = begin + TROUBLED;
    while world.now < end {
        world.settle();
        world.now = world.next().min(script.next()).min(end);
        while script.next() <= world.now {
            let at = script.next().saturating_duration_since(begin);
            let happens = replay.step(&mut choices);
            let event = script.step(&mut choices, &mut world, happens);
            replay.note(|| {
                let what = match event {
                    Event::Ask(session) => format!("session {session} sends requests"),
                    Event::Accident(accident) => format!("{accident:?}"),
                    Event::Heal(accident) => format!("{accident:?} is over"),
                };
                format!("{at:?} {what}")
            });
        }
    }
    script.heal_all(&mut choices, &mut world);
    pass(&mut world, RECOVERY);
    assert!(world.current(0).line.is_up(), "there is no connection {RECOVERY:?} later");
    pass(&mut world, QUIET.saturating_sub(RECOVERY));
    finish(&mut world);
}

fn pass(world: &mut World, time: Duration) {
    let end = world.now + time;
    while world.now < end {
        world.settle();
        world.now = world.next().min(end);
    }
    world.settle();
}

/// Asserts that everything is served again.
fn finish(world: &mut World) {
    for session in 0..SESSIONS {
        assert_eq!(world.model.in_flight(session), 0, "session {session} still waits");
    }
    assert_eq!(world.asides(), 0, "something is still set aside");
    let before = (world.asked, world.opened);
    (0..KEYS.len()).for_each(|key| world.open(key));
    pass(world, Duration::from_secs(1));
    let [asked, opened] = [world.asked - before.0, world.opened - before.1];
    assert!(asked > 0 && opened == asked, "{opened} of {asked} sessions get a connection");
    // Nothing uses them but that.
    pass(world, Duration::from_secs(5));
    assert_eq!(world.silent, 0, "a server is still silent");
    assert_eq!(world.node.outage_since(), None, "there is still an outage");
    world.check_freshness();
    assert!(world.current(0).line.is_up(), "the first connection is kept");
    assert_eq!(world.up_of(1) + world.up_of(2), 0, "an unused one is closed");
    for session in 0..SESSIONS {
        for kind in [Kind::Read, Kind::Write] {
            // A server that turns out to be a replica is left after its first refusal.
            let answered = (0..4).any(|_| {
                world.ask(session, kind);
                let asked_at = world.now;
                pass(world, Duration::from_secs(2));
                let (ended, how) = world.model.sessions[session].last().unwrap().end.unwrap();
                assert!(ended < asked_at + ms(1000), "session {session} waited");
                how == End::Answered
            });
            assert!(answered, "session {session} is not served: {kind:?}");
        }
    }
    world.check_executions();
    // Each line may dial once when the backoff is over: without one it would be thousands.
    for (most, time) in DIALS_MAX {
        let often = world.attempts.windows(most + 1).any(|all| all[most] - all[0] < time);
        assert!(!often, "the server is dialed more than {most} times within {time:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A session sends requests; which one is drawn then.
    Ask(usize),
    /// One begins; which one is drawn then.
    Accident(Accident),
    Heal(Accident),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accident {
    Down,
    Reset,
    ResetOne,
    Silence,
    Loading,
    Demoted,
    Failover,
    WrongPassword,
    Rotation,
    NewPassword,
    Pause,
    Halves,
    UnexpectedReply,
    HangUp,
    SlowReader,
    HalfWrite,
    BusyScript,
    NoDatabase,
    PausedWrites,
    /// The server refuses what completes writes, or these, too.
    Refusal,
    Panic,
    /// The name has other addresses besides, in another order.
    OtherAddresses,
    /// The primary is behind another address.
    PrimaryMoves,
    /// The name has no address.
    UnknownName,
    /// The name server does not answer, or answers late.
    SlowName,
    /// The primary is behind an address that the name server gives later.
    Renumbered,
}

const ACCIDENTS: [Accident; 26] = [
    Accident::Down,
    Accident::Reset,
    Accident::ResetOne,
    Accident::Silence,
    Accident::Loading,
    Accident::Demoted,
    Accident::Failover,
    Accident::WrongPassword,
    Accident::Rotation,
    Accident::NewPassword,
    Accident::Pause,
    Accident::Halves,
    Accident::UnexpectedReply,
    Accident::HangUp,
    Accident::SlowReader,
    Accident::HalfWrite,
    Accident::BusyScript,
    Accident::NoDatabase,
    Accident::PausedWrites,
    Accident::Refusal,
    Accident::Panic,
    Accident::OtherAddresses,
    Accident::PrimaryMoves,
    Accident::UnknownName,
    Accident::SlowName,
    Accident::Renumbered,
];

/// What happens when.
struct Script {
    events: Vec<(Instant, Event)>,
    weights: Vec<usize>,
    /// Milliseconds between two requests, and between two accidents, at most.
    gap: usize,
    pause: usize,
    slow: usize,
    large: usize,
}

impl Script {
    fn draw(choices: &mut Choices, now: Instant) -> Self {
        // A few kinds at a time find more than all at once.
        let weights = ACCIDENTS.iter().map(|_| *choices.pick(&[0, 0, 1, 4])).collect::<Vec<_>>();
        let none = weights.iter().all(|weight| *weight == 0);
        let weights = if none { vec![1; ACCIDENTS.len()] } else { weights };
        Self {
            events: vec![
                (now + ms(50), Event::Ask(0)),
                (now + ms(500), Event::Accident(Accident::Down)),
            ],
            weights,
            gap: *choices.pick(&[30, 150, 800]),
            pause: *choices.pick(&[300, 1500, 4000]),
            slow: *choices.pick(&[0, 5, 20]),
            large: *choices.pick(&[0, 0, 0, 2]),
        }
    }

    fn next(&self) -> Instant {
        self.events.iter().map(|(at, _)| *at).min().unwrap()
    }

    /// The next step; unless it `happens` only its place in time is taken, so that the others stay as they are.
    fn step(&mut self, choices: &mut Choices, world: &mut World, happens: bool) -> Event {
        let first = (0..self.events.len()).min_by_key(|at| self.events[*at].0).unwrap();
        let (_, event) = self.events.remove(first);
        match event {
            Event::Ask(_) => {
                let session = choices.below(SESSIONS);
                for _ in 0..=choices.below(4) {
                    let kind = self.kind(choices);
                    if happens && world.model.in_flight(session) < 16 {
                        world.ask(session, kind);
                    }
                }
                let opens = choices.below(KEYS.len() * 4);
                if happens && opens < KEYS.len() {
                    world.open(opens);
                }
                let gap = ms(number_of(choices, 1, self.gap));
                self.events.push((world.now + gap, Event::Ask(0)));
                Event::Ask(session)
            }
            Event::Accident(_) => {
                let accident = ACCIDENTS[choices.weighted(&self.weights)];
                if world.loud && happens {
                    eprintln!("{:?} ---- {accident:?}", world.now);
                }
                // Whatever it draws, those behind it draw the same.
                let mut own = Choices::from_seed(choices.below(1 << 30) as u64);
                if happens {
                    begin(accident, &mut own, world);
                }
                let most = *choices.pick(&[100, 900, 6000]);
                let lasts = ms(number_of(choices, 20, most));
                self.events.push((world.now + lasts, Event::Heal(accident)));
                let pause = ms(number_of(choices, 50, self.pause));
                self.events.push((world.now + pause, Event::Accident(Accident::Down)));
                Event::Accident(accident)
            }
            Event::Heal(accident) => {
                let mut own = Choices::from_seed(choices.below(1 << 30) as u64);
                // What has not begun has nothing to end.
                heal(accident, &mut own, world);
                event
            }
        }
    }

    fn kind(&self, choices: &mut Choices) -> Kind {
        match choices.weighted(&[30, 40, self.slow, 10, 15, self.large]) {
            0 => Kind::Read,
            1 => Kind::Write,
            2 => Kind::Slow(number_of(choices, 5, 1500)),
            3 => Kind::Error,
            4 => Kind::Block,
            _ => Kind::Large,
        }
    }

    fn heal_all(&mut self, choices: &mut Choices, world: &mut World) {
        self.events.clear();
        ACCIDENTS.iter().for_each(|accident| heal(*accident, choices, world));
        world.server.replica = false;
        world.calm_since = Some(world.now);
    }
}

fn begin(accident: Accident, choices: &mut Choices, world: &mut World) {
    let wires = world.server.wires.len();
    let hang_up_all = |world: &mut World| (0..wires).for_each(|wire| world.server.hang_up(wire));
    match accident {
        Accident::Down => {
            world.server.refuses = true;
            hang_up_all(world);
        }
        Accident::Reset => hang_up_all(world),
        Accident::ResetOne if wires > 0 => world.server.hang_up(wires - 1),
        Accident::Silence => world.server.path_is_dead = true,
        Accident::Loading => {
            world.server.loading = true;
            if choices.chance(50) {
                hang_up_all(world);
            }
        }
        Accident::Demoted | Accident::Failover => {
            world.server.wires.iter_mut().for_each(|wire| wire.replica = true);
            world.server.replica = accident == Accident::Demoted;
        }
        Accident::WrongPassword => {
            world.server.password_is_wrong = true;
            if choices.chance(50) { world.rotate() } else { world.change_password() }
        }
        Accident::Rotation => world.rotate(),
        Accident::NewPassword => world.change_password(),
        Accident::Pause => world.server.paused = true,
        Accident::Halves => {
            world.server.halves += 5;
            // Behind the longest, a connection is held up.
            world.server.half_pause = ms(*choices.pick(&[40, 300, 2000]));
        }
        Accident::UnexpectedReply => surplus(world),
        Accident::HangUp => {
            world.server.hangs_up = true;
            hang_up_all(world);
        }
        Accident::SlowReader => {
            let session = choices.below(SESSIONS);
            world.model.stop_reading(session);
            if world.model.in_flight(session) < 16 {
                world.ask(session, Kind::Large);
            }
        }
        Accident::PausedWrites => world.server.writes_are_paused = true,
        Accident::Refusal => {
            let [first, second, third, fourth] = PASSING;
            let error = *choices.pick(&[first, second, third, fourth, DENIED]);
            world.server.refusal = Some((error, choices.chance(30)));
        }
        Accident::Panic => world.crash(choices.below(64)),
        Accident::OtherAddresses => world.name.change(choices),
        Accident::PrimaryMoves => {
            if world.name.move_primary(choices) {
                world.server.wires.iter_mut().for_each(|wire| wire.replica = true);
            }
        }
        Accident::UnknownName => world.name.is_unknown = true,
        Accident::SlowName => {
            world.name.answers_after = *choices.pick(&[None, Some(ms(100)), Some(ms(600))]);
        }
        Accident::Renumbered => {
            world.name.renumber(choices);
            world.server.wires.iter_mut().for_each(|wire| wire.replica = true);
        }
        Accident::HalfWrite if wires > 0 => {
            world.server.wires[wires - 1].window = choices.below(30)
        }
        Accident::BusyScript => {
            world.server.busy_with_script = true;
            world.server.paused = true;
        }
        Accident::NoDatabase => {
            world.server.lacks_database = true;
            hang_up_all(world);
        }
        Accident::ResetOne | Accident::HalfWrite => {}
    }
}

/// Only where nothing is outstanding, and it arrives at once: an unrequested reply cannot be distinguished from one
/// that is due otherwise.
fn surplus(world: &mut World) {
    let now = world.now;
    if world.server.path_is_dead {
        return;
    }
    for life in world.lives.iter().flatten() {
        if let Some(live) = life.live.as_ref().filter(|_| life.line.pipeline.is_empty())
            && world.server.has_nothing_outstanding(live.wire)
        {
            return world.server.push_bytes(live.wire, b"+surplus\r\n", now);
        }
    }
}

fn heal(accident: Accident, choices: &mut Choices, world: &mut World) {
    let now = world.now;
    match accident {
        Accident::Down => world.server.refuses = false,
        Accident::Silence => world.server.heal(now, || ms(choices.below(1500) as u64)),
        Accident::Loading => world.server.loading = false,
        Accident::Demoted => world.server.replica = false,
        Accident::WrongPassword => world.server.password_is_wrong = false,
        Accident::Pause => world.server.paused = false,
        Accident::HangUp => {
            world.server.hangs_up = false;
            world.server.wires.iter_mut().for_each(|wire| wire.hangs_up = false);
        }
        Accident::HalfWrite => {
            world.server.wires.iter_mut().for_each(|wire| wire.window = usize::MAX);
        }
        Accident::BusyScript => {
            world.server.busy_with_script = false;
            world.server.paused = false;
        }
        Accident::Halves => world.server.halves = 0,
        Accident::NoDatabase => world.server.lacks_database = false,
        Accident::PausedWrites => world.server.writes_are_paused = false,
        Accident::Refusal => world.server.refusal = None,
        Accident::SlowReader => world.model.read_all(),
        Accident::UnknownName | Accident::SlowName | Accident::Renumbered => world.name.heal(),
        Accident::Reset
        | Accident::ResetOne
        | Accident::Failover
        | Accident::OtherAddresses
        | Accident::PrimaryMoves
        | Accident::Rotation
        | Accident::NewPassword
        | Accident::UnexpectedReply
        | Accident::Panic => {}
    }
}
