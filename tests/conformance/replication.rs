//! Replicas and backups through respgate: SYNC, PSYNC and REPLCONF, with programs that use them.
//!
//! Owns: what passes, for which clients, and what it may cost. Never knows: how the stream is carried.
use crate::support;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::client::{Client, PATIENCE, Target, encode};
use support::fake_server::{FakeServer, Order};
use support::proxy::{self, Proxy};
use support::real_server::{Brand, Server, free_port, wait_until};

const NAMED: &str = "+@all +sync +psync +replconf ~* &*";
const TRANSMITTED: &str = "respgate_client_transmit_bytes_total";
const RECEIVED: &str = "respgate_upstream_receive_bytes_total";
const STREAMS: &str = "respgate_client_pinned_connections{cause=\"replication\"}";

/// Ends a program with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn port(proxy: &Proxy) -> String {
    match proxy.target() {
        Target::Tcp(port) => port.to_string(),
        Target::Unix(_) => panic!("these tests use TCP"),
    }
}

/// A server with some keys that sends its data at once when it is asked to.
fn stage(acl: &str, sections: &str) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let mut observer = server.observer();
    observer.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    observer.ask(&["CONFIG", "SET", "repl-ping-replica-period", "1"]);
    for number in 0..100 {
        observer.ask(&["SET", &format!("key:{number}"), "value"]);
    }
    let proxy = Proxy::with_policy(&server, acl, sections);
    (server, proxy)
}

#[test]
fn redis_cli_copies_the_data_set() {
    for mode in ["shared", "session"] {
        let (_server, proxy) = stage(NAMED, &format!("[upstream.pool]\nmode = {mode:?}"));
        let file = proxy.directory().join("dump.rdb");
        let copied = Command::new("redis-cli")
            .args(["-p", &port(&proxy), "--rdb"])
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let checked = Command::new("redis-check-rdb").arg(&file).output().unwrap();
        let output = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success() && output.contains("100 keys read"), "{output}");
        proxy.await_metric(STREAMS, |streams| streams < 0.5);
        assert_eq!(proxy.client().ask(&["PING"]), b"+PONG\r\n");
    }
}

/// A client that reads a copy of the data set more slowly than the server sends it gets all of it.
#[test]
fn copy_that_is_read_slowly_is_whole() {
    let (server, proxy) = stage(NAMED, "");
    let mut observer = server.observer();
    observer.ask(&["CONFIG", "SET", "rdbcompression", "no"]);
    let value = "v".repeat(1 << 20);
    for number in 0..16 {
        observer.ask(&["SET", &format!("large:{number}"), &value]);
    }
    let mut stream = TcpStream::connect(format!("127.0.0.1:{}", port(&proxy))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"REPLCONF rdb-only 1\r\nSYNC\r\n").unwrap();
    let (mut all, mut chunk) = (Vec::new(), vec![0; 4096]);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        if count == 0 {
            break;
        }
        all.extend_from_slice(&chunk[..count]);
        std::thread::sleep(Duration::from_micros(500));
    }
    let at = all.iter().position(|byte| *byte == b'$').unwrap();
    let end = at + all[at..].iter().position(|byte| *byte == b'\r').unwrap();
    let length: usize = std::str::from_utf8(&all[at + 1..end]).unwrap().parse().unwrap();
    assert!(length > 16 << 20, "{length}");
    assert_eq!(all.len(), end + 2 + length, "the copy is cut");
}

/// The server ends the connection when it has sent the copy; a client that pauses before it has read all
/// of it gets the rest.
#[test]
fn copy_whose_reader_pauses_at_its_end_is_whole() {
    let server = FakeServer::start();
    server.order("SYNC", Order::Instead(Vec::new()), 1);
    let (own, telemetry) = (free_port(), free_port());
    let configuration = format!(
        "[[listener]]\naddress = \"127.0.0.1:{own}\"\n[upstream]\naddress = \"127.0.0.1:{}\"\n\
         insecure_plaintext = true\n[policy]\nacl = {NAMED:?}\n[telemetry]\n\
         address = \"127.0.0.1:{telemetry}\"\n",
        server.port
    );
    let proxy = Proxy::configured(proxy::directory(), Target::Tcp(own), telemetry, &configuration);
    let mut client = proxy.client();
    client.send(&["SYNC"]);
    let connection = server.connection_of("SYNC");
    let piece = [b'x'; 32 << 10];
    let (mut sent, mut kept) = (0, -1.0);
    // What the systems between respgate and its client keep, and then some.
    while proxy.metric(TRANSMITTED) > kept {
        kept = proxy.metric(TRANSMITTED);
        for _ in 0..4 {
            server.push_bytes(connection, &piece);
            sent += piece.len();
        }
        #[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
        proxy.await_metric(RECEIVED, |received| received >= sent as f64);
    }
    server.close_all();
    proxy.await_metric(STREAMS, |streams| streams < 0.5);
    std::thread::sleep(Duration::from_millis(5500));
    let (copy, ended) = client.drain(PATIENCE);
    assert_eq!((copy.len(), ended), (sent, true), "the copy is cut");
}

#[test]
fn redis_cli_shows_the_replication_stream() {
    let (server, proxy) = stage(NAMED, "");
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port(&proxy), "--replica"]).stdin(Stdio::null());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = Running(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let written = std::thread::spawn(move || {
        lines.find(|line| line.contains("news")).expect("the write is shown")
    });
    proxy.await_metric(STREAMS, |streams| streams > 0.5);
    let mut observer = server.observer();
    wait_until("the write is shown", || {
        observer.ask(&["SET", "news", "1"]);
        written.is_finished()
    });
    assert!(written.join().unwrap().contains("SET"));
    drop(child);
    proxy.await_metric(STREAMS, |streams| streams < 0.5);
}

#[test]
fn server_is_a_replica_through_respgate() {
    let (server, proxy) = stage(NAMED, "");
    let (own, home) = (free_port(), proxy::directory());
    let child = Command::new("redis-server")
        .args(["--port", &own.to_string(), "--replicaof", "127.0.0.1", &port(&proxy)])
        .args(["--save", "", "--dir"])
        .arg(home.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _child = Running(child);
    let mut replica = None;
    wait_until("the replica answers", || {
        replica = Client::connect(&Target::Tcp(own)).ok();
        replica.is_some()
    });
    let mut replica = replica.unwrap();
    let mut observer = server.observer();
    wait_until("it is in step", || {
        replica.ask_text(&["INFO", "replication"]).contains("master_link_status:up")
    });
    assert_eq!(replica.ask(&["DBSIZE"]), b":100\r\n");
    // REPLCONF ACK goes the other way: the server counts this replica.
    observer.ask(&["SET", "more", "1"]);
    assert_eq!(observer.ask(&["WAIT", "1", "50000"]), b":1\r\n");
    assert_eq!(replica.ask(&["GET", "more"]), b"$1\r\n1\r\n");
    // Cut off, it goes on from where it was.
    let mut operator = proxy.client();
    assert!(operator.ask_text(&["CLIENT", "LIST", "TYPE", "replica"]).contains("flags=S"));
    assert_eq!(operator.ask(&["CLIENT", "KILL", "TYPE", "replica"]), b":1\r\n");
    observer.ask(&["SET", "later", "1"]);
    wait_until("it has caught up", || replica.ask(&["GET", "later"]) == b"$1\r\n1\r\n");
    assert!(server.info("stats", "sync_partial_ok") >= 1);
}

#[test]
fn replication_is_refused_unless_it_is_named_and_nothing_is_bounded() {
    let server = Server::mutual_tls(Brand::Redis);
    for (acl, keys) in [
        ("+@all ~* &*", ""),
        ("+@all +@admin ~* &*", ""),
        ("+@all +sync +psync +replconf ~app1:* &*", ""),
        ("+@all +sync +psync +replconf %R~* &*", ""),
        ("+@all +sync +psync +replconf ~* &* db=0", ""),
        ("+@all +sync +psync +replconf ~* &*", "mode = \"rewrite\"\nprefix = \"app1:\""),
        ("+@all +sync +psync +replconf &*", "prefix = \"app1:\""),
        ("+@all -@dangerous ~* &* (+sync +psync +replconf ~app1:*)", ""),
    ] {
        let proxy = Proxy::with_policy(&server, acl, &format!("[policy.keys]\n{keys}"));
        for words in [&["SYNC"][..], &["PSYNC", "?", "-1"], &["REPLCONF", "capa", "eof"]] {
            let mut client = proxy.client();
            let reply = client.ask_text(words);
            assert!(reply.starts_with("-NOPERM"), "{acl} {keys} {words:?}: {reply}");
            assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
        }
    }
    assert_eq!(server.info("stats", "sync_full"), 0);
}

/// The server would execute whatever a replica sends.
#[test]
fn stream_is_no_way_around_the_rules() {
    let (server, proxy) = stage("+ping +get +sync +psync +replconf ~* &*", "");
    let forged: [&[u8]; 6] = [
        &encode(&["FLUSHALL"]),
        &encode(&["GET", "key:1"]),
        b"FLUSHALL\r\n",
        b"*1\r\n$8\r\nFLUSHALX\r\n",
        b"*1\r\n:8\r\n",
        b"*2\r\n$8\r\nREPLCONF\r\n$999999999\r\n",
    ];
    for bytes in forged {
        let mut replica = proxy.client();
        replica.send(&["SYNC"]);
        assert!(replica.bytes(1, PATIENCE).starts_with(b"$"));
        replica.send_raw(bytes);
        let (streamed, ended) = replica.drain(PATIENCE);
        assert!(ended && !streamed.windows(4).any(|word| word == b"-ERR"), "{bytes:?}");
    }
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":100\r\n");
    proxy.await_metric(STREAMS, |streams| streams < 0.5);
}

#[test]
fn acknowledgements_before_the_stream_have_no_reply() {
    let (_server, proxy) = stage(NAMED, "");
    let mut client = proxy.client();
    for words in [&["REPLCONF", "ACK", "0"][..], &["REPLCONF", "capa", "eof", "getack", "*"]] {
        client.send(words);
        assert_eq!(client.ask(&["PING"]), b"+PONG\r\n");
    }
    assert_eq!(client.ask(&["REPLCONF", "capa", "eof"]), b"+OK\r\n");
    assert_eq!(client.ask(&["REPLCONF", "capa"]), b"-ERR syntax error\r\n");
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    assert_eq!(client.ask(&["RESET"]), b"+RESET\r\n");
    proxy.await_metric(STREAMS, |streams| streams < 0.5);
}

/// What a replica does not read stays at the server.
#[test]
fn stream_that_is_not_read_costs_little() {
    let (server, proxy) = stage(NAMED, "");
    let mut observer = server.observer();
    observer.ask(&["CONFIG", "SET", "rdbcompression", "no"]);
    for number in 0..100 {
        observer.ask(&["SETRANGE", &format!("large:{number}"), "999999", "x"]);
    }
    proxy.client().ask(&["PING"]);
    let before = proxy.memory("VmHWM");
    let mut replica = proxy.client();
    replica.send(&["SYNC"]);
    assert!(!replica.bytes(1, PATIENCE).is_empty());
    std::thread::sleep(Duration::from_millis(700));
    let after = proxy.memory("VmHWM");
    assert!(after - before < 8 << 20, "{before} {after}");
    let mut taken = 0;
    while taken < 100_000_000 {
        let piece = replica.bytes((1 << 20).min(100_000_000 - taken), PATIENCE);
        assert!(!piece.is_empty(), "the stream ended after {taken} bytes");
        taken += piece.len();
    }
    assert!(proxy.memory("VmHWM") - before < 8 << 20);
}

#[test]
fn stream_ends_when_the_server_closes_it() {
    let (server, proxy) = stage(NAMED, "");
    let mut replica = proxy.client();
    replica.send(&["SYNC"]);
    assert!(!replica.bytes(1, PATIENCE).is_empty());
    wait_until("it is a replica", || server.observer().ask_text(&["ROLE"]).contains("127.0.0.1"));
    server.observer().ask(&["CLIENT", "KILL", "TYPE", "replica"]);
    assert!(replica.drain(PATIENCE).1, "the stream does not end");
}
