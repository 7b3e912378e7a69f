//! Many clients while the server's side breaks: no reply goes astray, no acknowledged write is lost.
//!
//! Owns: the disturbances and what must hold under each. Never knows: how respgate recovers.
use crate::support;
mod worker;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use respgate::internals::base::clock::now;
use support::proxy::Proxy;
use support::real_server::{Brand, Server};
use worker::{Tally, Worker};

const WORKERS: usize = 24;

/// Writes reach the disk before they are acknowledged, so that a crash loses none.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Runs the workers during `disturb`, and checks what the server holds afterwards.
fn under(server: &mut Server, proxy: &Proxy, disturb: impl FnOnce(&mut Server)) -> Tally {
    let stop = AtomicBool::new(false);
    server.observer().ask(&["FLUSHALL"]);
    let tally = std::thread::scope(|scope| {
        let start = |name| {
            let target = proxy.target().clone();
            let stop = &stop;
            scope.spawn(move || Worker::new(name, target).run(stop))
        };
        let workers: Vec<_> = (0..WORKERS).map(start).collect();
        disturb(server);
        stop.store(true, Relaxed);
        let tallies = workers.into_iter().map(|worker| worker.join().unwrap());
        tallies.fold(Tally::default(), Tally::add)
    });
    let mut observer = server.observer();
    for (list, acknowledged, unknown) in &tally.written {
        worker::check_list(&mut observer, list, acknowledged, unknown);
    }
    eprintln!("{tally}");
    tally
}

/// Does something again and again for a while.
fn repeat(total: Duration, pause: Duration, mut action: impl FnMut()) {
    let end = now() + total;
    while now() < end {
        action();
        sleep(pause);
    }
}

#[test]
fn quiet_run() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let tally = under(&mut server, &proxy, |_| sleep(Duration::from_secs(2)));
    assert_eq!((tally.errors, tally.ends), (0, 0), "{tally}");
}

#[test]
fn upstream_connections_are_killed() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    under(&mut server, &proxy, |server| {
        let mut observer = server.observer();
        repeat(Duration::from_secs(4), Duration::from_millis(40), || {
            observer.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            observer.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        });
    });
    let tally = under(&mut server, &proxy, |_| sleep(Duration::from_secs(1)));
    assert_eq!((tally.errors, tally.ends), (0, 0), "afterwards all is well: {tally}");
}

#[test]
fn server_stalls() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let tally = under(&mut server, &proxy, |server| {
        repeat(Duration::from_secs(3), Duration::from_millis(100), || {
            server.hold();
            sleep(Duration::from_millis(400));
            server.release();
        });
    });
    assert_eq!((tally.errors, tally.ends), (0, 0), "slow is no error: {tally}");
}

#[test]
fn commands_time_out_and_late_replies_go_nowhere() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\ncommand_timeout = \"1s\"\n");
    let tally = under(&mut server, &proxy, |server| {
        repeat(Duration::from_secs(3), Duration::from_millis(150), || {
            server.hold();
            sleep(Duration::from_millis(1400));
            server.release();
        });
    });
    assert!(tally.errors > 0, "no command timed out: {tally}");
    let tally = under(&mut server, &proxy, |_| sleep(Duration::from_secs(1)));
    assert_eq!((tally.errors, tally.ends), (0, 0), "afterwards all is well: {tally}");
}

#[test]
fn server_is_restarted() {
    let mut server = Server::new(Brand::Redis, true, &DURABLE);
    let proxy = Proxy::before(&server, "");
    let tally = under(&mut server, &proxy, |server| {
        for crash in [true, false, true] {
            sleep(Duration::from_millis(700));
            if crash {
                server.crash()
            } else {
                server.stop()
            }
            sleep(Duration::from_millis(300));
            server.start();
        }
        sleep(Duration::from_millis(1500));
    });
    assert!(tally.ends > 0, "no request was in flight at a crash: {tally}");
    assert_eq!(tally.errors, 0, "a restart is no error of the application: {tally}");
    let tally = under(&mut server, &proxy, |_| sleep(Duration::from_secs(1)));
    assert_eq!((tally.errors, tally.ends), (0, 0), "afterwards all is well: {tally}");
}

#[test]
fn certificates_are_rotated() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let tally = under(&mut server, &proxy, |server| {
        let pki = server.pki.as_mut().unwrap();
        repeat(Duration::from_secs(4), Duration::from_millis(500), || {
            pki.rotate();
            proxy.hang_up();
        });
    });
    assert_eq!((tally.errors, tally.ends), (0, 0), "a rotation loses nothing: {tally}");
}

/// Rotations, killed connections, stalls and connections that reach their age, with several shared connections.
#[test]
fn rotations_meet_connections_that_die() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let pool = "[upstream.pool]\nconnections = 3\nmin_idle = 4\nmax_age = \"700ms\"\n";
    let proxy = Proxy::before(&server, pool);
    under(&mut server, &proxy, |server| {
        let mut round = 0;
        repeat(Duration::from_secs(5), Duration::from_millis(60), || {
            round += 1;
            if round % 5 == 0 {
                server.pki.as_mut().unwrap().rotate();
                proxy.hang_up();
            }
            if round % 3 == 0 {
                server.observer().ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            }
            if round % 11 == 0 {
                server.hold();
                sleep(Duration::from_millis(300));
                server.release();
            }
        });
    });
    let tally = under(&mut server, &proxy, |_| sleep(Duration::from_secs(2)));
    assert_eq!((tally.errors, tally.ends), (0, 0), "afterwards all is well: {tally}");
    assert!(proxy.metric("respgate_upstream_disconnects_total{reason=\"max_age\"}") > 0.5);
}
