//! `DBSIZE` and `FLUSHDB` of one application among many keys of others.
//!
//! Owns: what they answer, and what may happen meanwhile. Never knows: pages.

use std::time::Duration;

use super::support::client::{Got, PATIENCE, encode, show};
use super::support::real_server::{Brand, Server};
use super::*;

/// So many keys of a prefix, made on the server itself.
fn populate(server: &Server, prefix: &str, count: usize) {
    let script = "for i=1,tonumber(ARGV[2]) do redis.call('SET',ARGV[1]..i,i) end";
    let reply = server.observer().ask(&["EVAL", script, "0", prefix, &count.to_string()]);
    assert_eq!(reply, b"$-1\r\n");
}

fn count(server: &Server) -> Vec<u8> {
    server.observer().ask(&["DBSIZE"])
}

#[test]
fn scan_finds_own_keys_among_many_of_others() {
    for (brand, pool) in [
        (Brand::Redis, ""),
        (Brand::Redis, "[upstream.pool]\nmode = \"session\""),
        (Brand::Valkey, ""),
    ] {
        if !brand.available() {
            continue;
        }
        let server = Server::new(brand, brand == Brand::Redis, &[]);
        let own = app(&server, "q*:", &format!("{KEY_SCANS}\n{pool}"));
        populate(&server, "q*:", 7000);
        populate(&server, "qx:", 9000);
        populate(&server, "", 100);
        let mut client = own.client();
        assert_eq!(client.ask(&["DBSIZE"]), b":7000\r\n");
        for words in
            [&["DBSIZE"][..], &["SET", "more", "1"], &["FLUSHDB"], &["DBSIZE"], &["GET", "1"]]
        {
            client.send(words);
        }
        for expected in [&b":7000\r\n"[..], b"+OK\r\n", b"+OK\r\n", b":0\r\n", b"$-1\r\n"] {
            assert_eq!(client.reply(), expected);
        }
        assert_eq!(count(&server), b":9100\r\n");
    }
}

/// Each request of a scan is short, and others pass between them.
#[test]
fn clients_are_served_during_a_scan() {
    let server = Server::mutual_tls(Brand::Redis);
    let own = app(&server, "qa:", KEY_SCANS);
    populate(&server, "qa:", 100_000);
    assert_eq!(server.observer().ask(&["CONFIG", "RESETSTAT"]), b"+OK\r\n");
    let (mut walker, mut other) = (own.client(), own.client());
    walker.send(&["FLUSHDB"]);
    let mut served = 0;
    while walker.next(Duration::ZERO) == Got::Silence {
        assert_eq!(other.ask(&["PING"]), b"+PONG\r\n");
        served += 1;
    }
    assert!(served > 20, "{served}");
    assert_eq!(count(&server), b":0\r\n");
    let stats = server.observer().ask_text(&["INFO", "commandstats"]);
    let calls = |name: &str| {
        let mark = format!("cmdstat_{name}:calls=");
        let line = stats.lines().find_map(|line| line.strip_prefix(&mark));
        line.map_or(0, |line| line.split(',').next().unwrap().parse::<u32>().unwrap())
    };
    assert!(calls("scan") >= 100_000 / 1024, "{stats}");
    assert!(calls("unlink") >= 100_000 / 1024, "{stats}");
    assert_eq!((calls("flushdb"), calls("keys")), (0, 0), "{stats}");
}

#[test]
fn refused() {
    let server = Server::mutual_tls(Brand::Redis);
    let with = app(&server, "qa:", KEY_SCANS);
    let mut client = with.client();
    for name in ["DBSIZE", "FLUSHDB"] {
        assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
        assert!(client.ask(&[name]).starts_with(b"-ERR respgate: this command inside MULTI"));
        assert!(client.ask(&["EXEC"]).starts_with(b"-EXECABORT"));
    }
    assert_eq!(client.ask(&["FLUSHDB", "NOW"]), b"-ERR syntax error\r\n");
    let without = app(&server, "qa:", "");
    let mut client = without.client();
    for name in ["DBSIZE", "FLUSHDB"] {
        let reply = client.ask_text(&[name]);
        let hint = format!("keys.{} = true", name.to_lowercase());
        assert!(reply.starts_with("-NOPERM") && reply.contains(&hint), "{reply}");
    }
}

/// The server's refusal of a page or of a removal is the client's answer.
#[test]
fn scan_that_the_server_refuses_is_an_error() {
    let server = Server::mutual_tls(Brand::Redis);
    let own = app(&server, "qa:", KEY_SCANS);
    populate(&server, "qa:", 2000);
    let mut client = own.client();
    assert_eq!(server.observer().ask(&["ACL", "SETUSER", "default", "-unlink"]), b"+OK\r\n");
    assert!(client.ask(&["FLUSHDB"]).starts_with(b"-NOPERM"));
    assert_eq!(client.ask(&["DBSIZE"]), b":2000\r\n");
    assert_eq!(server.observer().ask(&["ACL", "SETUSER", "default", "-scan"]), b"+OK\r\n");
    assert!(client.ask(&["DBSIZE"]).starts_with(b"-NOPERM"));
    assert_eq!(client.ask(&["GET", "1"]), b"$1\r\n1\r\n");
}

/// A client that disconnects, and a server that crashes, in the middle of a scan.
#[test]
fn broken_off() {
    let mut server = Server::mutual_tls(Brand::Redis);
    let own = app(&server, "qa:", KEY_SCANS);
    populate(&server, "qa:", 100_000);
    let mut leaver = own.client();
    leaver.send(&["FLUSHDB"]);
    assert_eq!(leaver.next(Duration::from_millis(3)), Got::Silence);
    drop(leaver);
    let mut client = own.client();
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    populate(&server, "qa:", 100_000);
    // So many that the crash meets one of them.
    client.send_raw(&encode(&["DBSIZE"]).repeat(100));
    server.crash();
    // As the server's own connection would, the client's ends in the middle of the scan.
    loop {
        match client.next(PATIENCE) {
            Got::Reply(reply) => assert!(reply.starts_with(b":"), "{}", show(&reply)),
            other => break assert_eq!(other, Got::End),
        }
    }
    server.start();
    let mut client = own.client();
    assert_eq!(client.ask(&["DBSIZE"]), b":0\r\n");
}
