//! A key that was written has its time to live although the connection is lost before the server has that.
//!
//! Owns: a connection that ends between a write and the EXPIRE behind it. Never knows: how the policy decides.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::support::client::{Client, Target};
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};
use super::{has_default, inject};

const EXPIRE: &[u8] = b"*4\r\n$6\r\nEXPIRE\r\n";

/// Passes bytes on to a server. Armed, it ends the next connection on which an EXPIRE comes with the reply to what
/// is before that: the EXPIRE vanishes.
struct Cut {
    port: u16,
    armed: Arc<AtomicBool>,
    /// New connections end at once, and the others with what comes next once an EXPIRE has vanished.
    refuses: Arc<AtomicBool>,
}

impl Cut {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let armed = Arc::new(AtomicBool::new(false));
        let refuses = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&armed), Arc::clone(&refuses));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, (armed, refuses)) = (near.unwrap(), shared.clone());
                if refuses.load(SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let replies = (far.try_clone().unwrap(), near.try_clone().unwrap());
                std::thread::spawn(move || pass_replies(replies));
                std::thread::spawn(move || pass_requests(near, far, &armed, &refuses));
            }
        });
        Self { port, armed, refuses }
    }
}

fn pass_replies((mut far, mut near): (TcpStream, TcpStream)) {
    let _ = std::io::copy(&mut far, &mut near);
    let _ = near.shutdown(Shutdown::Both);
}

fn pass_requests(
    mut near: TcpStream,
    mut far: TcpStream,
    armed: &AtomicBool,
    refuses: &AtomicBool,
) {
    let mut chunk = [0; 64 * 1024];
    while let Ok(count @ 1..) = near.read(&mut chunk) {
        let bytes = &chunk[..count];
        let at = bytes.windows(EXPIRE.len()).position(|window| window == EXPIRE);
        let cut = at.filter(|_| armed.swap(false, SeqCst));
        if cut.is_none() && refuses.load(SeqCst) && !armed.load(SeqCst) {
            break;
        }
        if far.write_all(&bytes[..cut.unwrap_or(count)]).is_err() {
            break;
        }
        if cut.is_some() {
            // The server answers what it has, and closes.
            let _ = far.shutdown(Shutdown::Write);
            return;
        }
    }
    let _ = far.shutdown(Shutdown::Both);
}

/// A proxy, with these lines in `[upstream]`, whose way to the server can be cut.
fn start(upstream: &str) -> (Server, Cut, Proxy) {
    let server = Server::new(Brand::Redis, false, &["--busy-reply-threshold", "50"]);
    let cut = Cut::before(server.port);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let head = configuration(&server, &listener(&target, ""), "+@all ~* &*", telemetry);
    let (direct, way) = (format!("localhost:{}", server.port), format!("127.0.0.1:{}", cut.port));
    let head = head.replace(&direct, &way);
    let head = head.replacen("[upstream]\n", &format!("[upstream]\n{upstream}"), 1);
    let proxy = Proxy::configured(directory(), target, telemetry, &format!("{head}\n{}", inject()));
    (server, cut, proxy)
}

#[test]
fn key_that_was_written_lives_as_long_as_it_may_although_the_connection_is_lost() {
    let (server, cut, proxy) = start("");
    for (watches, leaves) in [(false, false), (true, false), (false, true), (true, true)] {
        let key = format!("list:{watches}:{leaves}");
        let mut client = proxy.client();
        if watches {
            assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        }
        cut.armed.store(true, SeqCst);
        assert_eq!(client.ask_text(&["RPUSH", &key, "1"]), ":1", "it is acknowledged");
        if leaves {
            drop(client);
        }
        wait_until(&format!("{key} has a time to live"), || has_default(&server, &key));
        assert!(!cut.armed.load(SeqCst), "{key}: no EXPIRE came");
    }
}

/// The outage lasts for longer than requests wait for its end.
#[test]
fn key_that_was_written_lives_as_long_as_it_may_although_the_server_is_unreachable_for_long() {
    let (server, cut, proxy) = start("on_outage = \"error\"\noutage_wait = \"300ms\"\n");
    for (watches, leaves) in [(false, false), (true, false), (false, true), (true, true)] {
        let key = format!("list:{watches}:{leaves}");
        let mut client = proxy.client();
        if watches {
            assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        }
        cut.refuses.store(true, SeqCst);
        cut.armed.store(true, SeqCst);
        assert_eq!(client.ask_text(&["RPUSH", &key, "1"]), ":1", "it is acknowledged");
        if leaves {
            drop(client);
        }
        let mut other = proxy.client();
        wait_until("requests are refused", || other.ask_text(&["GET", "k"]).starts_with('-'));
        std::thread::sleep(Duration::from_millis(900));
        assert!(other.ask_text(&["GET", "k"]).starts_with('-'), "there is still an outage");
        assert!(!has_default(&server, &key), "{key}: the EXPIRE has come");
        cut.refuses.store(false, SeqCst);
        wait_until(&format!("{key} has a time to live"), || has_default(&server, &key));
    }
}

/// Writes a list, whose EXPIRE vanishes with its connection and is sent again to a server in another state.
fn write_before(state: &[&str], database: &str, watches: bool) -> (Server, Proxy, Client) {
    let (server, cut, proxy) = start("");
    let mut client = proxy.client();
    if watches {
        assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
    }
    assert_eq!(client.ask_text(&["SELECT", database]), "+OK");
    cut.refuses.store(true, SeqCst);
    cut.armed.store(true, SeqCst);
    assert_eq!(client.ask_text(&["RPUSH", "list", "1"]), ":1", "it is acknowledged");
    wait_until("the EXPIRE has vanished", || !cut.armed.load(SeqCst));
    let mut operator = server.observer();
    operator.send(state);
    let mut other = server.observer();
    if state[0] == "EVAL" {
        wait_until("it is busy", || other.ask_text(&["PING"]).starts_with("-BUSY "));
    } else {
        assert_eq!(other.ask_text(&["PING"]), "+PONG");
    }
    cut.refuses.store(false, SeqCst);
    (server, proxy, other)
}

#[test]
fn key_that_was_written_lives_as_long_as_it_may_although_the_server_refuses_that_for_a_while() {
    let busy: (&[&str], &[&str]) = (&["EVAL", "while true do end", "0"], &["SCRIPT", "KILL"]);
    let without_replicas: (&[&str], &[&str]) = (
        &["CONFIG", "SET", "min-replicas-to-write", "1"],
        &["CONFIG", "SET", "min-replicas-to-write", "0"],
    );
    let replica: (&[&str], &[&str]) =
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]);
    for (begin, end) in [busy, without_replicas, replica] {
        for (database, watches) in [("0", false), ("0", true), ("9", false), ("9", true)] {
            let (server, proxy, mut operator) = write_before(begin, database, watches);
            std::thread::sleep(Duration::from_millis(1500));
            assert_eq!(operator.ask_text(end), "+OK");
            let mut observer = server.observer();
            wait_until("it serves", || observer.ask_text(&["SELECT", database]) == "+OK");
            wait_until(&format!("{begin:?} {database}: it has a time to live"), || {
                !observer.ask_text(&["TTL", "list"]).starts_with(":-")
            });
            assert!(!proxy.log().contains("POL-W006"), "nothing is given up");
        }
    }
}

/// The server refuses the EXPIRE alone, at once; where it refuses the write, too, there is nothing to report.
#[test]
fn time_to_live_that_the_server_refuses_at_once_is_given_up_with_a_warning() {
    for watches in [false, true] {
        let (server, _, proxy) = start("");
        let mut client = proxy.client();
        if watches {
            assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        }
        let mut operator = server.observer();
        let denied = ["ACL", "SETUSER", "default", "-expire", "-lpush"];
        assert_eq!(operator.ask_text(&denied), "+OK");
        let refused = client.ask_text(&["LPUSH", "list", "1"]);
        assert!(refused.starts_with("-NOPERM "), "{refused}");
        assert_eq!(client.ask_text(&["PING"]), "+PONG");
        assert!(!proxy.log().contains("POL-W006"), "nothing was written");
        assert_eq!(client.ask_text(&["RPUSH", "list", "1"]), ":1");
        wait_until("it is given up", || proxy.log().contains("POL-W006"));
        assert!(!has_default(&server, "list"));
    }
}

/// Several keys are written at once, and the server refuses the EXPIRE for the first one alone.
#[test]
fn time_to_live_of_one_of_several_keys_that_the_server_refuses_is_given_up_with_a_warning() {
    for watches in [false, true] {
        let (server, _, proxy) = start("");
        let mut client = proxy.client();
        if watches {
            assert_eq!(client.ask_text(&["WATCH", "k"]), "+OK");
        }
        let mut operator = server.observer();
        let only_mset =
            ["ACL", "SETUSER", "default", "resetkeys", "~second", "-mset", "(+mset ~*)"];
        assert_eq!(operator.ask_text(&only_mset), "+OK");
        assert_eq!(client.ask_text(&["MSET", "second", "1"]), "+OK");
        assert_eq!(client.ask_text(&["PING"]), "+PONG");
        assert!(!proxy.log().contains("POL-W006"), "nothing is refused");
        assert_eq!(client.ask_text(&["MSET", "first", "1", "second", "2"]), "+OK");
        wait_until("it is given up", || proxy.log().contains("POL-W006"));
        assert!(has_default(&server, "second"));
    }
}

#[test]
fn time_to_live_that_the_server_refuses_for_good_is_given_up_with_a_warning() {
    let (server, proxy, _) = write_before(&["ACL", "SETUSER", "default", "-expire"], "0", true);
    wait_until("it is given up", || proxy.log().contains("POL-W006"));
    assert!(!has_default(&server, "list"));
}
