//! Limits on how often, and how many at once, as applications meet them.
//!
//! Owns: those cases. Never knows: how a bucket is kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test may crash"
)]

mod support;

use std::time::Duration;

use respgate::base::clock::now;
use support::client::{Client, Got, Target, encode};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, wait_until};

/// Long enough to see that nothing comes.
const QUIET: Duration = Duration::from_millis(60);

fn is_quiet(client: &mut Client) -> bool {
    client.next(QUIET) == Got::Silence
}

/// How many of `count` commands pass; the others are refused in the words of `rule`.
fn passing(client: &mut Client, words: &[&str], count: usize, rule: &str) -> usize {
    let replies: Vec<String> = (0..count).map(|_| client.ask_text(words)).collect();
    let refused = replies.iter().filter(|reply| reply.starts_with("-ERR respgate: "));
    let mut passed = count;
    for reply in refused {
        assert!(reply.contains(&format!("(rule {rule})")), "{reply}");
        passed -= 1;
    }
    passed
}

fn before(server: &Server, limits: &str) -> Proxy {
    let limits = limits.replace("@limit", "[[policy.limit]]\ncommands");
    Proxy::with_policy(server, "+@all -flushall ~app:* &*", &limits)
}

#[test]
fn what_comes_too_often_is_refused() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"@write -incr\"\nrate = \"1/d\"\nburst = 5\non_exceed = \"error\"\n";
    let proxy = before(&server, limits);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    // Neither what other rules refuse, nor what is no command, nor others' commands take a token.
    for words in [&["FLUSHALL"][..], &["SET", "k", "v"], &["SET", "app:k"], &["SETT", "app:k", "v"]]
    {
        for _ in 0..4 {
            assert!(client.ask(words).starts_with(b"-"));
        }
    }
    assert_eq!(passing(&mut client, &["SET", "app:k", "v"], 3, "rate"), 3);
    assert_eq!(passing(&mut other, &["APPEND", "app:k", "v"], 4, "rate"), 2);
    assert_eq!(passing(&mut client, &["SET", "app:k", "v"], 4, "rate"), 0);
    assert_eq!(passing(&mut client, &["GET", "app:k"], 4, "rate"), 4);
    assert_eq!(passing(&mut client, &["INCR", "app:n"], 4, "rate"), 4);
    let reply = client.ask_text(&["DEL", "app:k"]);
    let (words, wait) = reply.rsplit_once(" in ").unwrap();
    assert_eq!(words, "-ERR respgate: rate limit exceeded for 'del' (rule rate); retry");
    let wait: u64 = wait.strip_suffix(" ms").unwrap().parse().unwrap();
    assert!((86_000_000..=86_400_000).contains(&wait), "{wait}");
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert!(client.ask(&["DEL", "app:k"]).starts_with(b"-ERR respgate"));
    assert!(client.ask(&["EXEC"]).starts_with(b"-EXECABORT"));
    let denied = proxy.metric("respgate_commands_denied_total{command=\"set\",rule=\"rate\"}");
    assert!((denied - 4.0).abs() < 0.1, "{denied}");
}

/// What is used of a limit is forgotten when its policy is another, and not before.
#[test]
fn a_reload_fills_no_bucket_of_a_policy_that_stays() {
    let server = Server::mutual_tls(Brand::Redis);
    for per in ["policy", "client"] {
        let limits = format!(
            "@limit = \"set\"\nrate = \"1/d\"\nburst = 3\non_exceed = \"error\"\nper = {per:?}\n\
             [limits]\nmax_clients = 100\n"
        );
        let proxy = before(&server, &limits);
        let (mut client, set) = (proxy.client(), ["SET", "app:k", "v"]);
        assert_eq!(passing(&mut client, &set, 5, "rate"), 3);
        proxy.reconfigure("max_clients = 100", "max_clients = 1");
        wait_until("it is in force", || !proxy.client().ask(&["PING"]).starts_with(b"+PONG"));
        assert_eq!(passing(&mut client, &set, 5, "rate"), 0);
        proxy.reconfigure("burst = 3", "burst = 4");
        wait_until("it is another", || client.ask(&set) == b"+OK\r\n");
        assert_eq!(passing(&mut client, &set, 5, "rate"), 3);
    }
}

#[test]
fn who_shares_a_bucket() {
    let server = Server::mutual_tls(Brand::Redis);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("second.sock");
    for (per, others) in [("policy", 0), ("client", 2)] {
        let limits = format!(
            "@limit = \"@all -ping\"\nrate = \"2/d\"\non_exceed = \"error\"\nper = {per:?}\n\
             [[listener]]\naddress = \"unix:{}\"\n",
            path.display()
        );
        let proxy = before(&server, &limits);
        let set = ["SET", "app:k", "v"];
        assert_eq!(passing(&mut proxy.client(), &set, 4, "rate"), 2);
        assert_eq!(passing(&mut proxy.client(), &set, 4, "rate"), others, "{per}");
        let mut second = Client::connect(&Target::Unix(path.clone())).unwrap();
        assert_eq!(passing(&mut second, &set, 4, "rate"), 2, "each listener has its own");
        // What every client may say is free.
        assert_eq!(second.ask(&["RESET"]), b"+RESET\r\n");
        assert!(second.ask(&["HELLO", "3"]).starts_with(b"%"));
    }
}

#[test]
fn what_comes_too_often_waits_in_its_order() {
    let server = Server::mutual_tls(Brand::Redis);
    for mode in ["shared", "session"] {
        let limits = format!(
            "@limit = \"incr\"\nrate = \"200/s\"\nburst = 1\nmax_delay = \"1m\"\n\
             [upstream.pool]\nmode = {mode:?}\n"
        );
        let proxy = before(&server, &limits);
        server.observer().ask(&["FLUSHALL"]);
        let mut client = proxy.client();
        let begin = now();
        let commands = [encode(&["INCR", "app:n"]), encode(&["GET", "app:n"])].concat();
        client.send_raw(&commands.repeat(20));
        for n in 1..=20 {
            assert_eq!(client.reply(), format!(":{n}\r\n").as_bytes());
            let text = n.to_string();
            assert_eq!(client.reply(), format!("${}\r\n{text}\r\n", text.len()).as_bytes());
        }
        assert!(begin.elapsed() >= Duration::from_millis(19 * 5), "{:?}", begin.elapsed());
    }
}

#[test]
fn who_waits_holds_up_nobody_else() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"incr\"\nrate = \"1/d\"\nmax_delay = \"10d\"\n";
    let proxy = before(&server, limits);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    assert_eq!(client.ask(&["INCR", "app:n"]), b":1\r\n");
    // What was sent before the one that waits is answered, what comes behind it is not.
    let bytes = [encode(&["GET", "app:n"]), encode(&["INCR", "app:n"]), encode(&["GET", "app:n"])];
    client.send_raw(&bytes.concat());
    assert_eq!(client.reply(), b"$1\r\n1\r\n");
    assert!(is_quiet(&mut client));
    for _ in 0..100 {
        assert_eq!(other.ask(&["GET", "app:n"]), b"$1\r\n1\r\n");
    }
    assert!(is_quiet(&mut client));
    // What waits is judged by the rules that are in force.
    proxy.reconfigure("rate = \"1/d\"", "rate = \"100/d\"");
    wait_until("they are in force", || {
        let mut another = proxy.client();
        another.send(&["INCR", "app:m"]);
        another.next(QUIET) != Got::Silence
    });
    client.send(&["PING"]);
    assert_eq!(client.reply(), b":2\r\n");
    assert_eq!(client.reply(), b"$1\r\n2\r\n");
    assert_eq!(client.reply(), b"+PONG\r\n");
}

#[test]
fn too_long_a_wait_is_refused_at_once() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"incr\"\nrate = \"1/d\"\nburst = 2\nmax_delay = \"1h\"\n";
    let proxy = before(&server, limits);
    assert_eq!(passing(&mut proxy.client(), &["INCR", "app:n"], 5, "rate"), 2);
}

#[test]
fn too_many_at_once_are_refused() {
    let server = Server::mutual_tls(Brand::Redis);
    for mode in ["shared", "session"] {
        let limits = format!(
            "@limit = \"blpop incr\"\nconcurrency = 1\non_exceed = \"error\"\n\
             [upstream.pool]\nmode = {mode:?}\n"
        );
        let proxy = before(&server, &limits);
        let (mut client, mut other) = (proxy.client(), proxy.client());
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 5);
        client.send(&["BLPOP", "app:l", "0"]);
        server.await_blocked(1);
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 0);
        assert_eq!(passing(&mut other, &["GET", "app:n"], 5, "concurrency"), 5);
        server.observer().ask(&["RPUSH", "app:l", "x"]);
        assert!(client.reply().starts_with(b"*2"));
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 5);
        // Who leaves makes room.
        client.send(&["BLPOP", "app:l", "0"]);
        server.await_blocked(1);
        drop(client);
        wait_until("there is room", || other.ask(&["INCR", "app:n"]).starts_with(b":"));
    }
}

#[test]
fn too_many_at_once_wait_for_room() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"blpop incr\"\nconcurrency = 1\nmax_delay = \"1h\"\n";
    let proxy = before(&server, limits);
    let (mut client, mut other, mut third) = (proxy.client(), proxy.client(), proxy.client());
    client.send_raw(&[encode(&["BLPOP", "app:l", "0"]), encode(&["INCR", "app:n"])].concat());
    server.await_blocked(1);
    other.send_raw(&encode(&["INCR", "app:n"]).repeat(3));
    third.send(&["INCR", "app:n"]);
    assert!(is_quiet(&mut other) && is_quiet(&mut third));
    assert_eq!(proxy.client().ask(&["GET", "app:n"]), b"$-1\r\n");
    // One who waits and leaves is not waited for.
    drop(third);
    server.observer().ask(&["RPUSH", "app:l", "x"]);
    assert!(client.reply().starts_with(b"*2"));
    let mut numbers = vec![client.reply()];
    numbers.extend((0..3).map(|_| other.reply()));
    assert!(numbers[1..].is_sorted(), "{numbers:?}");
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 4, "{numbers:?}");
}

#[test]
fn who_waits_too_long_for_room_is_refused() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"blpop incr\"\nconcurrency = 1\nmax_delay = \"20ms\"\n";
    let proxy = before(&server, limits);
    let (mut client, mut other) = (proxy.client(), proxy.client());
    client.send(&["BLPOP", "app:l", "0"]);
    server.await_blocked(1);
    let reply = other.ask_text(&["INCR", "app:n"]);
    assert!(reply.starts_with("-ERR respgate: concurrency limit reached for 'incr'"), "{reply}");
    assert_eq!(other.ask(&["GET", "app:n"]), b"$-1\r\n");
    server.observer().ask(&["RPUSH", "app:l", "x"]);
    assert!(client.reply().starts_with(b"*2"));
    assert_eq!(other.ask(&["INCR", "app:n"]), b":1\r\n");
}

/// Several limits on one command: what one refuses costs nothing of the others.
#[test]
fn limits_hold_each_by_itself() {
    let server = Server::mutual_tls(Brand::Redis);
    let error = "on_exceed = \"error\"\n";
    let limits = format!(
        "@limit = \"@write\"\nrate = \"10/d\"\n{error}@limit = \"incr\"\nrate = \"3/d\"\n{error}\
         @limit = \"set\"\nconcurrency = 5\n{error}"
    );
    let proxy = before(&server, &limits);
    let mut client = proxy.client();
    assert_eq!(passing(&mut client, &["INCR", "app:n"], 20, "rate"), 3);
    assert_eq!(passing(&mut client, &["SET", "app:n", "1"], 20, "rate"), 7);
}

/// Nothing waits and nothing is refused, what would be is counted.
#[test]
fn limits_that_are_only_observed() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"incr\"\nrate = \"2/d\"\nmax_delay = \"1s\"\nper = \"client\"\n";
    let proxy = before(&server, limits);
    proxy.reconfigure("[policy]\n", "[policy]\nobserve = [\"rate\"]\n");
    wait_until("it is in force", || {
        passing(&mut proxy.client(), &["INCR", "app:n"], 5, "rate") == 5
    });
    let series = "respgate_policy_would_deny_total{command=\"incr\",rule=\"rate\"}";
    let before = proxy.metric(series);
    assert_eq!(passing(&mut proxy.client(), &["INCR", "app:n"], 5, "rate"), 5);
    assert!((proxy.metric(series) - before - 3.0).abs() < 0.1);
}
