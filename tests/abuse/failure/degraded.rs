//! `degraded = "miss"`: reads of a cache while the server is down.
//!
//! Owns: the cases; what a miss is, the server itself shows. Never knows: how outages are noticed.

use std::time::Duration;

use respgate::internals::base::clock::now;

use super::support::client::{Client, show};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};

/// Reads of keys that are not there. What one server does not know is left out with it.
const READS: &str = "\
    GET k|MGET a b c|STRLEN k|GETRANGE k 0 -1|SUBSTR k 0 -1|GETBIT k 7|BITCOUNT k|BITCOUNT k 0 -1|\
    BITPOS k 1|BITPOS k 0|BITPOS k 1 0 -1|BITFIELD_RO k GET u8 0 GET u8 8|LCS a b|LCS a b LEN|EXISTS a b|TOUCH a b|TTL k|PTTL k|\
    EXPIRETIME k|PEXPIRETIME k|TYPE k|DUMP k|OBJECT ENCODING k|OBJECT REFCOUNT k|OBJECT IDLETIME k|\
    MEMORY USAGE k|RANDOMKEY|KEYS *|SCAN 0|SCAN 0 MATCH a* COUNT 10|DBSIZE|PFCOUNT a b|\
    LLEN k|LRANGE k 0 -1|LINDEX k 0|LPOS k a|LPOS k a COUNT 2|\
    HGET k f|HMGET k a b|HGETALL k|HKEYS k|HVALS k|HLEN k|HEXISTS k f|HSTRLEN k f|HSCAN k 0|\
    HRANDFIELD k|HRANDFIELD k 2|HRANDFIELD k 2 WITHVALUES|\
    HTTL k FIELDS 2 a b|HPTTL k FIELDS 1 a|HEXPIRETIME k FIELDS 1 a|HPEXPIRETIME k FIELDS 2 a b|\
    SCARD k|SISMEMBER k a|SMISMEMBER k a b|SMEMBERS k|SRANDMEMBER k|SRANDMEMBER k 2|SINTER a b|\
    SUNION a b|SDIFF a b|SINTERCARD 2 a b|SSCAN k 0|\
    ZCARD k|ZCOUNT k -inf +inf|ZLEXCOUNT k - +|ZSCORE k a|ZMSCORE k a b|ZRANK k a|\
    ZRANK k a WITHSCORE|ZREVRANK k a|ZREVRANK k a WITHSCORE|ZRANGE k 0 -1|ZRANGE k 0 -1 WITHSCORES|\
    ZRANGE k - + BYLEX|ZREVRANGE k 0 -1|ZRANGEBYSCORE k 1 2|ZREVRANGEBYSCORE k 2 1|ZRANGEBYLEX k - +|\
    ZREVRANGEBYLEX k + -|ZRANDMEMBER k|ZRANDMEMBER k 2|ZINTER 2 a b|ZUNION 2 a b WITHSCORES|\
    ZDIFF 2 a b|ZINTERCARD 2 a b|ZSCAN k 0|\
    GEOPOS k a b|GEOHASH k a b|GEODIST k a b|GEOSEARCH k FROMLONLAT 1 1 BYRADIUS 1 km ASC|\
    GEORADIUS_RO k 1 1 1 km|SORT_RO k|XLEN k|XRANGE k - +|XREVRANGE k + -|XREAD STREAMS k 0";

fn degraded(server: &Server, acl: &str) -> Proxy {
    degraded_after("100ms", server, acl, "")
}

fn degraded_after(outage_wait: &str, server: &Server, acl: &str, sections: &str) -> Proxy {
    use super::support::proxy::{configuration, directory, listener};
    let (home, telemetry) = (directory(), super::support::real_server::free_port());
    let target = super::support::client::Target::Tcp(super::support::real_server::free_port());
    let text = configuration(server, &listener(&target, ""), acl, telemetry);
    let outage = format!("outage_wait = {outage_wait:?}\n{sections}");
    let text = text.replace("[policy]", &format!("{outage}\n[policy]\ndegraded = \"miss\""));
    let proxy = Proxy::configured(home, target, telemetry, &text);
    // On a slow machine the first connection takes longer than `outage_wait`.
    wait_until("the server is reached", || proxy.metric("respgate_upstream_up") > 0.5);
    proxy
}

fn clients(of: impl Fn() -> Client) -> [Client; 2] {
    let (two, mut three) = (of(), of());
    assert!(three.ask(&["HELLO", "3"]).starts_with(b"%"));
    [two, three]
}

#[test]
fn misses_are_what_a_server_without_data_answers() {
    for brand in [Brand::Redis, Brand::Valkey] {
        if !brand.available() {
            continue;
        }
        let mut server = Server::plain(brand);
        let reads: Vec<Vec<&str>> = READS.split('|').map(|one| one.split(' ').collect()).collect();
        let mut direct = clients(|| server.observer());
        let expected = direct
            .each_mut()
            .map(|client| reads.iter().map(|read| client.ask(read)).collect::<Vec<_>>());
        let proxy = degraded(&server, "+@all ~* &*");
        let mut through = clients(|| proxy.client());
        through.iter_mut().for_each(|client| drop(client.ask(&["GET", "k"])));
        server.crash();
        let mut compared = 0;
        for (client, expected) in through.iter_mut().zip(&expected) {
            for (read, expected) in reads.iter().zip(expected) {
                if expected.starts_with(b"-") {
                    let text = show(expected);
                    let old = text.contains("unknown") || text.contains("wrong number");
                    assert!(old, "{read:?}: {text}");
                    continue;
                }
                let reply = client.ask(read);
                assert_eq!(show(&reply), show(expected), "{brand:?} {read:?}");
                compared += 1;
            }
        }
        assert!(compared > 160, "{brand:?}: {compared}");
    }
}

#[test]
fn writes_are_errors_and_clients_stay_until_the_server_is_back() {
    let mut server = Server::plain(Brand::Redis);
    let proxy = degraded(&server, "+@all ~* &*");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    server.crash();
    // In one pipeline, in order, and the same connection throughout.
    for words in
        [&["SET", "k", "w"][..], &["GET", "k"], &["INCR", "n"], &["ECHO", "x"], &["GET", "k"]]
    {
        client.send(words);
    }
    let replies: Vec<Vec<u8>> = (0..5).map(|_| client.reply()).collect();
    let texts = replies.iter().map(|reply| show(reply)).collect::<Vec<_>>();
    for (at, expected) in
        ["-LOADING respgate", "$-1", "-LOADING respgate", "-LOADING respgate", "$-1"]
            .iter()
            .enumerate()
    {
        assert!(replies[at].starts_with(expected.as_bytes()), "{at}: {texts:?}");
    }
    // A transaction is not a read.
    client.ask(&["MULTI"]);
    client.ask(&["GET", "k"]);
    assert!(client.ask(&["EXEC"]).starts_with(b"-"), "EXEC");
    assert!(client.ask(&["EVAL", "return 1", "0"]).starts_with(b"-"), "EVAL");
    let missed = proxy.metric("respgate_degraded_replies_total{mode=\"miss\"}");
    assert!(missed > 1.5, "{missed}");
    assert!(proxy.metric("respgate_degraded_replies_total{mode=\"error\"}") > 1.5);
    server.start();
    wait_until("it is served again", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert_eq!(client.ask(&["GET", "k"]), b"$1\r\nv\r\n");
}

/// Reads that are in flight on a connection of the client's own when it is lost.
#[test]
fn reads_on_a_pinned_connection_that_dies_are_misses() {
    let mut server = Server::plain(Brand::Redis);
    let proxy = degraded(&server, "+@all ~* &*");
    for hello in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&["HELLO", hello]);
        assert_eq!(client.ask(&["WATCH", "k"]), b"+OK\r\n");
        server.hold();
        client.send(&["GET", "k"]);
        client.send(&["SET", "k", "v"]);
        client.send(&["HGETALL", "k"]);
        client.send(&["GET", "k"]);
        std::thread::sleep(Duration::from_millis(50));
        server.crash();
        let replies: Vec<String> = (0..4).map(|_| show(&client.reply())).collect();
        let (nil, map) = if hello == "2" { ("$-1", "*0") } else { ("_", "%0") };
        assert!(replies[0].starts_with(nil) && replies[3].starts_with(nil), "{replies:?}");
        assert!(replies[1].starts_with('-') && replies[2].starts_with(map), "{replies:?}");
        assert_eq!(show(&client.ask(&["MULTI"])), "+OK\\r\\n");
        client.ask(&["GET", "k"]);
        let exec = show(&client.ask(&["EXEC"]));
        assert!(
            exec.starts_with('-') || exec.starts_with("*-1") || exec.starts_with('_'),
            "{exec}"
        );
        server.start();
        wait_until("it is served again", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    }
}

/// In an outage that is older than `outage_wait` they wait for nothing, like those on shared connections.
#[test]
fn reads_that_need_a_connection_of_their_own_are_misses_at_once() {
    let mut server = Server::plain(Brand::Redis);
    let proxy =
        degraded_after("1s", &server, "+@all ~* &*", "[upstream.pool]\nmode = \"session\"\n");
    assert_eq!(proxy.client().ask(&["SET", "k", "v"]), b"+OK\r\n");
    server.crash();
    wait_until("the loss is noticed", || proxy.metric("respgate_upstream_up") < 0.5);
    let begun = now();
    let mut client = proxy.client();
    for _ in 0..100 {
        assert_eq!(client.ask(&["GET", "k"]), b"$-1\r\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(1) * 100 / 2, "{:?}", begun.elapsed());
    let mut other = proxy.client();
    for words in [&["MGET", "a", "b"][..], &["SET", "k", "w"], &["HGETALL", "k"], &["DBSIZE"]] {
        other.send(words);
    }
    assert_eq!(other.reply(), b"*2\r\n$-1\r\n$-1\r\n");
    assert!(other.reply().starts_with(b"-LOADING respgate"));
    assert_eq!(other.reply(), b"*0\r\n");
    assert_eq!(other.reply(), b":0\r\n");
    // What would block would come again at once.
    let blocking = ["XREAD", "BLOCK", "1000", "STREAMS", "s", "0"];
    assert!(other.ask(&blocking).starts_with(b"-LOADING respgate"));
    let missed = proxy.metric("respgate_degraded_replies_total{mode=\"miss\"}");
    assert!((missed - 103.0).abs() < 0.1, "{missed}");
    assert!(proxy.metric("respgate_degraded_replies_total{mode=\"error\"}") > 1.5);
    server.start();
    wait_until("it is served again", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert_eq!(other.ask(&["GET", "k"]), b"$1\r\nv\r\n");
}

/// They travel on a connection of the client's own, and are answered when all of them has come.
#[test]
fn large_reads_are_misses() {
    let mut server = Server::plain(Brand::Redis);
    let proxy = degraded(&server, "+@all ~* &*");
    let mut client = proxy.client();
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    server.crash();
    wait_until("the loss is noticed", || proxy.metric("respgate_upstream_up") < 0.5);
    let long = "k".repeat(3 << 20);
    for _ in 0..2 {
        client.send(&["MGET", "a", &long, "b"]);
        client.send(&["SET", "k", &long]);
        client.send(&["GET", "k"]);
        assert_eq!(client.reply(), b"*3\r\n$-1\r\n$-1\r\n$-1\r\n");
        assert!(client.reply().starts_with(b"-LOADING respgate"));
        assert_eq!(client.reply(), b"$-1\r\n");
    }
    server.start();
    wait_until("it is served again", || client.ask(&["SET", "k", "v"]) == b"+OK\r\n");
    assert_eq!(client.ask(&["MGET", "k", &long]), b"*2\r\n$1\r\nv\r\n$-1\r\n");
}

/// A policy without `degraded` follows `upstream.on_outage`.
#[test]
fn policies_without_degraded_are_not_degraded() {
    let mut server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let mut client = proxy.client();
    client.ask(&["GET", "k"]);
    server.crash();
    client.send(&["GET", "k"]);
    assert!(matches!(
        client.next(super::support::client::PATIENCE),
        super::support::client::Got::End
    ));
}
