//! Limits on how often, and how many at once, as applications meet them.
//!
//! Owns: those cases. Never knows: how a bucket is kept.
use crate::support;
use std::time::Duration;

use respgate::internals::base::clock::now;
use sha2::{Digest, Sha256};
use support::client::{Client, Got, Target, encode};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, free_port, wait_until};

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
fn commands_above_the_rate_are_refused() {
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
fn reload_fills_no_bucket_of_a_policy_that_stays() {
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
fn rate_limits_are_shared_within_a_listener_as_configured() {
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
        let (mut first, mut other) = (proxy.client(), proxy.client());
        assert_eq!(passing(&mut first, &set, 4, "rate"), 2);
        assert_eq!(passing(&mut other, &set, 4, "rate"), others, "{per}");
        let mut second = Client::connect(&Target::Unix(path.clone())).unwrap();
        assert_eq!(passing(&mut second, &set, 4, "rate"), 2, "each listener has its own");
        // Commands that every client may send are free.
        assert_eq!(second.ask(&["RESET"]), b"+RESET\r\n");
        assert!(second.ask(&["HELLO", "3"]).starts_with(b"%"));
    }
}

#[test]
fn commands_above_the_rate_wait_in_their_order() {
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
fn waiter_holds_up_no_other_client() {
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
fn wait_beyond_max_delay_is_refused_at_once() {
    let server = Server::mutual_tls(Brand::Redis);
    let limits = "@limit = \"incr\"\nrate = \"1/d\"\nburst = 2\nmax_delay = \"1h\"\n";
    let proxy = before(&server, limits);
    assert_eq!(passing(&mut proxy.client(), &["INCR", "app:n"], 5, "rate"), 2);
}

/// One BLPOP or INCR runs at once; a second one is refused.
fn with_one_slot(server: &Server, mode: &str) -> Proxy {
    let limits = "@limit = \"blpop incr\"\nconcurrency = 1\non_exceed = \"error\"\n";
    before(server, &format!("{limits}[upstream.pool]\nmode = {mode:?}\n"))
}

#[test]
fn commands_beyond_the_concurrency_are_refused() {
    let server = Server::mutual_tls(Brand::Redis);
    for mode in ["shared", "session"] {
        let proxy = with_one_slot(&server, mode);
        let (mut client, mut other) = (proxy.client(), proxy.client());
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 5);
        client.send(&["BLPOP", "app:l", "0"]);
        server.await_blocked(1);
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 0);
        assert_eq!(passing(&mut other, &["GET", "app:n"], 5, "concurrency"), 5);
        server.observer().ask(&["RPUSH", "app:l", "x"]);
        assert!(client.reply().starts_with(b"*2"));
        assert_eq!(passing(&mut other, &["INCR", "app:n"], 5, "concurrency"), 5);
        // A client that disconnects makes room.
        client.send(&["BLPOP", "app:l", "0"]);
        server.await_blocked(1);
        drop(client);
        wait_until("there is room", || other.ask(&["INCR", "app:n"]).starts_with(b":"));
    }
}

#[test]
fn commands_beyond_the_concurrency_wait_for_room() {
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
    // A client that disconnects while it waits is not waited for.
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
fn waiter_beyond_max_delay_is_refused() {
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
    // The same peer once more: its bucket is as empty as its last connection left it.
    assert_eq!(passing(&mut proxy.client(), &["INCR", "app:n"], 5, "rate"), 5);
    let more = proxy.metric(series) - before;
    assert!((2.9..=5.1).contains(&more), "{more}");
}

/// A new connection does not bring a new bucket, nor does a login as another user and back.
#[test]
fn limit_per_client_holds_over_connections() {
    let server = Server::mutual_tls(Brand::Redis);
    let home = support::proxy::directory();
    let path = home.path().join("second.sock");
    let user = |name: &str| {
        format!("[[user]]\nname = {name:?}\npasswords = [{:?}]\npolicy = {name:?}\n", hash("pw"))
    };
    let policy = |name: &str| {
        format!(
            "[policies.{name}]\nacl = \"+@all ~* &*\"\n[[policies.{name}.limit]]\ncommands = \"set\"\n\
             rate = \"5/d\"\non_exceed = \"error\"\nper = \"client\"\n"
        )
    };
    let sections = format!(
        "{}{}{}{}[[listener]]\naddress = \"unix:{}\"\nauth = \"users\"\n",
        policy("one"),
        policy("two"),
        user("one"),
        user("two"),
        path.display()
    );
    let proxy = Proxy::before(&server, &sections);
    let set = ["SET", "k", "v"];
    let connect = || {
        let mut client = Client::connect(&Target::Unix(path.clone())).unwrap();
        assert_eq!(client.ask(&["AUTH", "one", "pw"]), b"+OK\r\n");
        client
    };
    let (mut first, mut second) = (connect(), connect());
    assert_eq!(passing(&mut first, &set, 9, "rate"), 5, "one connection");
    assert_eq!(passing(&mut second, &set, 2, "rate"), 2, "another at the same time");
    for _ in 0..3 {
        assert_eq!(first.ask(&["AUTH", "two", "pw"]), b"+OK\r\n");
        assert_eq!(first.ask(&["AUTH", "one", "pw"]), b"+OK\r\n");
        assert_eq!(passing(&mut first, &set, 3, "rate"), 0, "the same user again");
    }
    drop((first, second));
    let open = "respgate_client_connections{listener=\"unix\"}";
    wait_until("both have ended", || proxy.metric(open) < 0.5);
    let mut passed = 0;
    for _ in 0..20 {
        passed += passing(&mut connect(), &set, 3, "rate");
        wait_until("it has ended", || proxy.metric(open) < 0.5);
    }
    assert!((0..=3).contains(&passed), "{passed} of 3 that the two had left");
}

/// A command that is at work at the server counts although its client is gone, on whatever connection
/// it travels; the server is held meanwhile, so that nothing is answered.
#[test]
fn slot_of_a_client_that_left_is_taken_while_its_command_runs() {
    let server = Server::mutual_tls(Brand::Redis);
    let short = ["EVAL", "return 1", "1", "app:k"];
    let none: &[&str] = &["GET", "app:k"];
    let transaction = [&["MULTI"][..], &short, &["EXEC"]].map(encode).concat();
    for (mode, per, first, sent) in [
        ("shared", "policy", none, encode(&short)),
        ("shared", "client", none, encode(&short)),
        ("shared", "policy", &["WATCH", "app:w"], encode(&short)),
        ("shared", "policy", none, transaction.clone()),
        ("session", "client", none, encode(&short)),
        ("session", "policy", none, transaction),
    ] {
        let limits = format!(
            "[policy.scripts]\nmode = \"declared-keys\"\n@limit = \"eval\"\nconcurrency = 1\n\
             on_exceed = \"error\"\nper = {per:?}\n[upstream.pool]\nmode = {mode:?}\n"
        );
        let proxy = before(&server, &limits);
        let (mut client, mut other) = (proxy.client(), proxy.client());
        for client in [&mut client, &mut other] {
            assert_eq!(client.ask(none), b"$-1\r\n");
        }
        assert!(!client.ask(first).starts_with(b"-"));
        // So that it is known that the server takes transactions.
        assert_eq!(other.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(other.ask(&["EXEC"]), b"*0\r\n");
        let in_flight = || proxy.metric("respgate_commands_in_flight");
        server.hold();
        client.send_raw(&sent);
        wait_until("it is in flight", || in_flight() > 0.5);
        client.reset();
        wait_until("its client is gone", || in_flight() < 0.5);
        if per == "client" {
            other = proxy.client();
        }
        let reply = other.ask_text(&short);
        assert!(reply.contains("(rule concurrency)"), "{mode} {per} {first:?}: {reply}");
        server.release();
        wait_until("there is room", || other.ask_text(&short) == ":1");
    }
}

/// The commands that run at once are as many as are permitted, those of transactions among them.
#[test]
fn transaction_takes_the_slots_of_its_commands() {
    let server = Server::mutual_tls(Brand::Redis);
    for mode in ["shared", "session"] {
        let proxy = with_one_slot(&server, mode);
        let (mut client, mut other) = (proxy.client(), proxy.client());
        client.send(&["BLPOP", "app:l", "0"]);
        server.await_blocked(1);
        assert_eq!(other.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(other.ask(&["INCR", "app:n"]), b"+QUEUED\r\n", "it does not run yet");
        let reply = other.ask_text(&["EXEC"]);
        assert!(reply.starts_with("-EXECABORT") && reply.contains("(rule concurrency)"), "{reply}");
        // One of other commands goes.
        assert_eq!(other.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(other.ask(&["GET", "app:n"]), b"+QUEUED\r\n");
        assert_eq!(other.ask(&["EXEC"]), b"*1\r\n$-1\r\n");
        server.observer().ask(&["RPUSH", "app:l", "x"]);
        assert!(client.reply().starts_with(b"*2"));
        for _ in 0..2 {
            assert_eq!(other.ask(&["MULTI"]), b"+OK\r\n");
            assert_eq!(other.ask(&["INCR", "app:n"]), b"+QUEUED\r\n");
            assert!(other.ask(&["EXEC"]).starts_with(b"*1\r\n:"));
        }
        server.observer().ask(&["FLUSHALL"]);
    }
}

/// The hash of a password, as a configuration has it.
fn hash(password: &str) -> String {
    let digits: String =
        Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("#{digits}")
}

/// Wrong passwords are answered at a rate that no new connection escapes; right ones, and clients that
/// are logged in, wait for nothing.
#[test]
fn wrong_logins_are_slowed_down_logged_and_counted_once() {
    let server = Server::plain(Brand::Redis);
    let home = support::proxy::directory();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let listener = support::proxy::listener(&target, "auth = \"users\"");
    let text = support::proxy::configuration(&server, &listener, "+@all ~* &*", telemetry);
    let audit = home.path().join("audit.log");
    let text = format!(
        "{text}[[user]]\nname = \"app\"\npasswords = [{:?}]\n[[audit.sink]]\ntype = \"file\"\npath = {:?}\n",
        hash("right"),
        audit
    );
    let proxy = Proxy::configured(home, target, telemetry, &text);
    let wrong = |client: &mut Client, words: &[&str]| {
        let reply = client.ask_text(words);
        assert!(reply.starts_with("-WRONGPASS"), "{reply}");
    };
    let mut inside = proxy.client();
    assert_eq!(inside.ask(&["AUTH", "app", "right"]), b"+OK\r\n");
    let first = now();
    for _ in 0..10 {
        wrong(&mut proxy.client(), &["AUTH", "app", "secret-1"]);
    }
    let forms: [&[&str]; 5] = [
        &["AUTH", "app", "secret-2"],
        &["AUTH", "stranger-3", "secret-3"],
        &["AUTH", "secret-4"],
        &["HELLO", "3", "AUTH", "app", "secret-5"],
        &["HELLO", "2", "SETNAME", "x", "AUTH", "app", "secret-6"],
    ];
    for words in forms {
        wrong(&mut proxy.client(), words);
    }
    assert!(first.elapsed() >= Duration::from_millis(450), "{:?}", first.elapsed());
    // While others wait, right ones go at once.
    let mut waiting: Vec<Client> = (0..15).map(|_| proxy.client()).collect();
    for client in &mut waiting {
        client.send(&["AUTH", "app", "secret-7"]);
    }
    assert!(is_quiet(&mut waiting[14]));
    let begin = now();
    assert_eq!(proxy.client().ask(&["AUTH", "app", "right"]), b"+OK\r\n");
    assert_eq!(inside.ask(&["PING"]), b"+PONG\r\n");
    assert!(begin.elapsed() < Duration::from_millis(900), "{:?}", begin.elapsed());
    // The attempt of a client that disconnects counts all the same.
    drop(waiting.pop());
    for client in &mut waiting {
        assert!(client.reply().starts_with(b"-WRONGPASS"));
    }
    // An application that is logged in cannot try faster within a transaction.
    for _ in 0..14 {
        assert_eq!(inside.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(inside.ask(&["AUTH", "app", "secret-8"]), b"+QUEUED\r\n");
        assert!(inside.ask(&["EXEC"]).starts_with(b"*1\r\n-WRONGPASS"));
    }
    // Of those that waited together, ten at least have taken their turn: 10 + 5 + 10 + 14.
    assert!(first.elapsed() >= Duration::from_millis(2850), "{:?}", first.elapsed());
    let count = |result| proxy.metric(&format!("respgate_client_auth_total{{result={result:?}}}"));
    wait_until("all are counted", || count("failed") > 43.5);
    assert!((count("failed") - 44.0).abs() < 0.1 && (count("ok") - 2.0).abs() < 0.1);
    let events = || std::fs::read_to_string(&audit).unwrap();
    let failed = || events().matches("\"failed\"").count();
    wait_until("all are in the audit log", || failed() >= 44);
    assert_eq!(failed(), 44);
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("CLI-W001")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("app") && lines[1].contains("unknown user"), "{lines:?}");
    for text in [&log, &events()] {
        assert!(!text.contains("secret-") && !text.contains("stranger-3"), "{text}");
    }
}

/// Where the server judges logins, wrong ones are logged and counted, and those that follow wait, on any
/// connection.
#[test]
fn wrong_logins_that_the_server_judges_are_slowed_down_logged_and_counted() {
    let server = Server::plain(Brand::Redis);
    let user = ["ACL", "SETUSER", "app", "on", ">right", "~*", "+@all"];
    assert_eq!(server.observer().ask(&user), b"+OK\r\n");
    let proxy = Proxy::with_policy(&server, "+@all ~* &*", "[upstream.pool]\nmode = \"session\"\n");
    let wrong = |words: &[&str]| {
        let reply = proxy.client().ask_text(words);
        assert!(reply.starts_with("-WRONGPASS"), "{reply}");
    };
    let first = now();
    (0..10).for_each(|_| wrong(&["AUTH", "app", "secret-1"]));
    for words in [&["AUTH", "app", "secret-2"][..], &["HELLO", "3", "AUTH", "app", "secret-3"]] {
        (0..3).for_each(|_| wrong(words));
    }
    assert!(first.elapsed() >= Duration::from_millis(550), "{:?}", first.elapsed());
    let mut client = proxy.client();
    assert_eq!(client.ask(&["AUTH", "app", "right"]), b"+OK\r\n", "it may wait, and is right");
    assert_eq!(client.ask_text(&["ACL", "WHOAMI"]), "$3\r\napp");
    let failed = "respgate_client_auth_total{result=\"failed\"}";
    wait_until("all are counted", || (proxy.metric(failed) - 16.0).abs() < 0.1);
    let log = proxy.log();
    assert!(log.contains("CLI-W001") && !log.contains("secret-"), "{log}");
}
