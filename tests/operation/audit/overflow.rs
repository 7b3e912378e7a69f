//! Sinks that take nothing for a while: what waits, for how long, and what is written afterwards.
//!
//! Owns: the cases. Never knows: how entries are made.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use respgate::internals::base::clock::now;
use serde_json::Value;

use super::support::client::{Client, Got, PATIENCE, Target, encode};
use super::support::proxy::{Proxy, directory};
use super::support::real_server::{Brand, Server, wait_until};
use super::{file_sink, lines, of, proxy, verify};

fn is_refused(got: &Got) -> bool {
    matches!(got, Got::Reply(reply) if String::from_utf8_lossy(reply).contains("AUD-E003"))
}

/// A proxy whose file is on a full disk until it is removed; the queue is full.
fn full(server: &Server, path: &Path, settings: &str) -> (Proxy, Client) {
    symlink("/dev/full", path).unwrap();
    let sink = file_sink(path).replace("fsync", "max_bytes = \"0\"\nfsync");
    let proxy = proxy(server, &format!("[audit]\nqueue = \"64KiB\"\n{settings}\n{sink}"));
    let mut client = proxy.client();
    // Far more than fits: what comes behind the last room is refused, or waits.
    for _ in 0..300 {
        client.send(&["FLUSHALL"]);
    }
    wait_until("the queue is full", || {
        let answered = client.next(Duration::from_millis(300));
        let is_full = proxy.metric("respgate_audit_queue_bytes") > 48_000.0;
        (answered == Got::Silence || is_refused(&answered)) && is_full
    });
    (proxy, client)
}

#[test]
fn commands_of_a_pipeline_wait_together_no_longer_than_one() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), directory());
    let path = directory.path().join("audit.log");
    let (proxy, _client) = full(&server, &path, "on_overflow = \"block\"\nwait = \"500ms\"");
    let (mut client, began) = (proxy.client(), now());
    client.send_raw(&encode(&["GET", "app1:k"]).repeat(100));
    for _ in 0..100 {
        assert!(is_refused(&client.next(PATIENCE)));
    }
    let took = now() - began;
    // One after the other they would wait for 50 s.
    assert!((Duration::from_millis(500)..Duration::from_secs(25)).contains(&took), "{took:?}");
}

/// Clients come and go while nothing can be written; a command waits, and passes once something can.
#[test]
fn connections_that_open_and_close_while_there_is_no_room_are_all_written() {
    for settings in
        ["on_overflow = \"block\"\nwait = \"60s\"", "on_overflow = \"fail_closed\"\nwait = \"60s\""]
    {
        let (server, directory) = (Server::mutual_tls(Brand::Redis), directory());
        let path = directory.path().join("audit.log");
        let (mut proxy, first) = full(&server, &path, settings);
        let blocks = settings.contains("block");
        for _ in 0..200 {
            let mut client = proxy.client();
            if !blocks {
                client.send(&["PING"]);
                assert!(is_refused(&client.next(PATIENCE)));
            }
        }
        let mut waiting = proxy.client();
        waiting.send(&["SET", "app1:k", "v"]);
        std::fs::remove_file(&path).unwrap();
        if blocks {
            assert_eq!(waiting.next(PATIENCE), Got::Reply(b"+OK\r\n".to_vec()));
        } else {
            wait_until("commands pass", || waiting.ask_text(&["SET", "app1:k", "v"]) == "+OK");
        }
        drop((waiting, first));
        wait_until("every end is written", || of(&lines(&path), "connection-closed").len() >= 202);
        assert!(proxy.terminate().success());
        let entries = lines(&path);
        let (opened, closed) =
            (of(&entries, "connection-opened"), of(&entries, "connection-closed"));
        assert_eq!(opened.len(), closed.len(), "{settings}");
        assert!(of(&entries, "gap").is_empty(), "nothing is lost");
        let (whole, printed) = verify(&[], &[&path]);
        assert!(whole, "{printed}");
    }
}

/// The entries of messages with octet counting.
pub fn counted(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut entries = Vec::new();
    while let Some((length, more)) = rest.split_once(' ') {
        let Some((message, more)) = more.split_at_checked(length.parse().unwrap()) else { break };
        entries.push(message.split_once(" audit - ").unwrap().1.to_owned());
        rest = more;
    }
    entries
}

#[test]
fn entries_that_a_broken_connection_took_are_sent_again_on_the_next() {
    let (server, directory) = (Server::mutual_tls(Brand::Redis), directory());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut proxy = proxy(
        &server,
        &format!(
            "[audit]\nconnections = false\n[[audit.sink]]\ntype = \"syslog\"\naddress = \"tcp://{address}\"\n"
        ),
    );
    let (mut dies, _) = listener.accept().unwrap();
    let mut client = proxy.client();
    let mut part = [0; 5000];
    for _ in 0..100 {
        client.ask(&["FLUSHALL"]);
    }
    dies.read_exact(&mut part).unwrap();
    // It ends with much unread: the sender's system had given all of it away.
    drop(dies);
    wait_until("the sender has noticed", || {
        client.ask(&["FLUSHALL"]);
        proxy.log().contains("AUD-I002")
    });
    let (mut next, _) = listener.accept().unwrap();
    drop(client);
    assert!(proxy.terminate().success());
    let mut text = String::new();
    next.read_to_string(&mut text).unwrap();
    let mut entries = counted(&String::from_utf8_lossy(&part));
    entries.extend(counted(&text));
    let path = directory.path().join("received");
    std::fs::write(&path, entries.join("\n")).unwrap();
    let (whole, printed) = verify(&[], &[&path]);
    assert!(whole && printed.contains("are there twice"), "{printed}");
    let read: Vec<Value> = entries.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let resent: u64 = of(&read, "begin").iter().filter_map(|one| one["resent"].as_u64()).sum();
    assert!(resent > 0, "{resent}");
}

/// Sends so many commands that are refused, in pipelines, and reads their answers.
pub fn deny(proxy: &Proxy, count: usize) {
    let Target::Tcp(port) = proxy.target() else { panic!("not TCP") };
    let mut stream = TcpStream::connect(("127.0.0.1", *port)).unwrap();
    let mut answers = [0; 64 << 10];
    let mut left = count;
    while left > 0 {
        let some = left.min(500);
        stream.write_all("FLUSHALL\r\n".repeat(some).as_bytes()).unwrap();
        let mut ends = 0;
        while ends < some {
            let length = stream.read(&mut answers).unwrap();
            assert!(length > 0, "the connection ended");
            ends += answers[..length].iter().filter(|byte| **byte == b'\n').count();
        }
        left -= some;
    }
}
