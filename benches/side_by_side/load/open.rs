//! Requests at a fixed rate, however late the replies are: the load of a service that is not at its limit.
//!
//! Owns: the pace. Never knows: which requests are sent.
//!
//! Each connection is a thread that waits in the system: the clock of an event loop is too coarse for
//! this. A request that is late because the one before was not answered counts from when it was due.

use std::io;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use respgate::internals::base::clock::now;

use super::closed::expect;
use super::connect::{BlockingDuplex, Dialer};
use super::script::{Script, Step};
use super::spec::{Report, Spec};
use super::{AclUser, Mark, milliseconds, report};

const WARM_UP: u8 = 0;
const WINDOW: u8 = 1;
const DONE: u8 = 2;

pub(super) fn run(spec: &Spec, connections: usize, per_second: u32) -> Report {
    let dialer = Dialer::new(spec.target.clone());
    let phase = AtomicU8::new(WARM_UP);
    let interval = Duration::from_secs(1) * u32::try_from(connections).unwrap() / per_second;
    let ready = Barrier::new(connections + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                let (dialer, phase, ready) = (&dialer, &phase, &ready);
                let offset = interval * u32::try_from(number).unwrap() / (connections as u32);
                scope.spawn(move || {
                    let mut account = AclUser::default();
                    let script = Script::new(spec.talk, number);
                    let stream = open(dialer, &script);
                    ready.wait();
                    let pace = Pace { due: now() + offset, interval };
                    let talk = |mut stream| talk(&mut stream, &script, pace, phase, &mut account);
                    if let Err(error) = stream.and_then(talk) {
                        account.fail(&error.to_string());
                    }
                    account
                })
            })
            .collect();
        ready.wait();
        std::thread::sleep(milliseconds(spec.warm_up_ms));
        let begin = Mark::new(&spec.watch);
        phase.store(WINDOW, Ordering::Relaxed);
        std::thread::sleep(milliseconds(spec.window_ms));
        phase.store(DONE, Ordering::Relaxed);
        let end = Mark::new(&spec.watch);
        let mut account = AclUser::default();
        for thread in threads {
            account.merge(&thread.join().unwrap());
        }
        report(&account, &begin, &end)
    })
}

struct Pace {
    due: Instant,
    interval: Duration,
}

impl Pace {
    /// Waits for the next turn; returns when its latency begins to count.
    fn next(&mut self) -> Instant {
        let early = self.due.saturating_duration_since(now());
        let counts_from = if early.is_zero() {
            self.due
        } else {
            std::thread::sleep(early);
            now()
        };
        self.due += self.interval;
        counts_from
    }
}

/// A connection that has been answered once.
fn open(dialer: &Dialer, script: &Script) -> io::Result<Box<dyn BlockingDuplex>> {
    let mut stream = dialer.dial_blocking()?;
    for step in script.prelude.iter().chain(&script.cycle) {
        ask(&mut *stream, step, &mut [0; 4096])?;
    }
    Ok(stream)
}

fn talk(
    stream: &mut Box<dyn BlockingDuplex>,
    script: &Script,
    mut pace: Pace,
    phase: &AtomicU8,
    account: &mut AclUser,
) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    for step in script.cycle.iter().cycle() {
        let begin = pace.next();
        if phase.load(Ordering::Relaxed) == DONE {
            break;
        }
        ask(&mut **stream, step, &mut buffer)?;
        if phase.load(Ordering::Relaxed) == WINDOW {
            account.operations += step.operations;
            account.latency.add(now() - begin);
        }
    }
    Ok(())
}

fn ask(stream: &mut dyn BlockingDuplex, step: &Step, buffer: &mut [u8]) -> io::Result<()> {
    stream.write_all(&step.request)?;
    stream.flush()?;
    let mut rest = step.reply.as_slice();
    while !rest.is_empty() {
        let read = stream.read(buffer)?;
        if read == 0 {
            return Err(io::Error::other("the connection was closed"));
        }
        rest = expect(rest, &buffer[..read])?;
    }
    Ok(())
}
