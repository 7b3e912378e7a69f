//! Slow commands, hot keys and big keys of a running respgate, as its verbs show them.
//!
//! Owns: what they find and what they never show. Never knows: how it is found.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::support::client::{Client, Target, encode};
use super::support::fake_server::FakeServer;
use super::support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, wait_until};

const VALUE: &str = "a-secret-value";

/// A respgate before `server` that is asked over its socket.
fn start(server: &Server, sections: &str) -> Proxy {
    let (directory, telemetry) = (directory(), free_port());
    let socket = directory.path().join("control");
    let (open, other) = (Target::Tcp(free_port()), Target::Unix(directory.path().join("other")));
    let listeners = [listener(&open, ""), listener(&other, "policy = \"other\"")].concat();
    let head = configuration(server, &listeners, OPEN_POLICY, telemetry);
    let text = format!(
        "{head}\n[policies.other]\nacl = \"+@all ~* &*\"\n[admin]\nsocket = {socket:?}\n{sections}\n"
    );
    Proxy::configured(directory, open, telemetry, &text)
}

fn ask(proxy: &Proxy, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respgate"));
    command.args(words).arg("--socket").arg(proxy.directory().join("control"));
    command.output().unwrap()
}

fn text(proxy: &Proxy, words: &[&str]) -> String {
    let output = ask(proxy, words);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains(VALUE), "{text}");
    text
}

fn json(proxy: &Proxy, words: &[&str]) -> Value {
    let text = text(proxy, &[words, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn slow_of<'a>(list: &'a Value, command: &str) -> &'a Value {
    let entries = list["entries"].as_array().unwrap();
    let found = entries.iter().find(|entry| entry["command"] == command);
    found.unwrap_or_else(|| panic!("no {command} in {list:#}"))
}

fn micros(entry: &Value, part: &str) -> u64 {
    entry[format!("{part}_us")].as_u64().unwrap()
}

#[test]
fn slow_commands_are_kept_with_where_their_time_went() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::new(Brand::Redis, false, &["--enable-debug-command", "yes"]);
    let proxy = start(
        &server,
        "[slowlog]\nthreshold = \"300ms\"\nmax_entries = 3\n\
         [[policies.other.limit]]\ncommands = \"get\"\nrate = \"1/s\"\nburst = 1\non_exceed = \"delay\"\n",
    );
    let mut client = proxy.client();
    client.ask(&["SET", "k", VALUE]);
    // At the server: shared, and on a connection of its own.
    client.ask(&[
        "EVAL",
        "local t = redis.call('TIME') repeat local n = redis.call('TIME') \
        until (n[1] - t[1]) * 1000000 + n[2] - t[2] > 400000 return redis.call('GET', KEYS[1])",
        "1",
        "k",
    ]);
    let list = json(&proxy, &["slowlog"]);
    let slow = slow_of(&list, "eval");
    assert!(micros(slow, "upstream") >= 380_000, "{slow:#}");
    assert!(micros(slow, "waiting") == 0 && micros(slow, "proxy") < 300_000, "{slow:#}");
    assert!(slow["key"].as_str().unwrap().starts_with("key:"), "{slow:#}");
    assert_eq!((&slow["policy"], &slow["error"]), (&"policy".into(), &false.into()));
    let parts = ["waiting", "upstream", "proxy"].map(|part| micros(slow, part));
    assert_eq!(parts.iter().sum::<u64>(), micros(slow, "total"));
    client.ask(&["WATCH", "k"]);
    client.ask(&["DEBUG", "SLEEP", "0.4"]);
    let list = json(&proxy, &["slowlog"]);
    assert!(micros(slow_of(&list, "debug"), "upstream") >= 380_000, "{list:#}");
    // What waits for others' writes is not slow.
    client.ask(&["UNWATCH"]);
    client.ask(&["BLPOP", "nothing", "0.4"]);
    // Under a limit.
    let mut limited = Client::connect(&Target::Unix(proxy.directory().join("other"))).unwrap();
    (0..2).for_each(|_| drop(limited.ask(&["GET", "k"])));
    let list = json(&proxy, &["slowlog"]);
    let slow = slow_of(&list, "get");
    assert!(micros(slow, "waiting") >= 300_000 && micros(slow, "upstream") < 300_000, "{slow:#}");
    assert_eq!(slow["policy"], "policies.other");
    let commands: Vec<&Value> =
        list["entries"].as_array().unwrap().iter().map(|entry| &entry["command"]).collect();
    assert_eq!(commands, ["get", "debug", "eval"]);
    let shown = text(&proxy, &["slowlog", "--count", "1"]);
    assert!(shown.contains("get key:") && !shown.contains("debug"), "{shown}");
    assert!(shown.lines().all(|line| line.len() <= 100), "{shown}");
    assert_eq!(json(&proxy, &["slowlog", "reset"])["forgotten"], 3);
    assert_eq!(text(&proxy, &["slowlog"]), "No slow commands.\n");
}

/// Without a connection to the server: the time is waiting.
#[test]
fn outage_is_waiting_and_not_the_servers_time() {
    let server = FakeServer::start();
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let socket = directory.path().join("control");
    let text = format!(
        "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n[policy]\nacl = {OPEN_POLICY:?}\n\
         [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n[admin]\nsocket = {socket:?}\n\
         [slowlog]\nthreshold = \"100ms\"\n",
        listener(&target, ""),
        server.port
    );
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let mut client = proxy.client();
    client.ask(&["SET", "k", VALUE]);
    server.go_down();
    proxy.await_metric("respgate_upstream_up", |up| up < 0.5);
    client.send(&["GET", "k"]);
    wait_until("it waits", || proxy.metric("respgate_commands_in_flight") > 0.5);
    std::thread::sleep(Duration::from_millis(1200));
    server.come_up();
    client.reply();
    let list = json(&proxy, &["slowlog"]);
    let slow = slow_of(&list, "get");
    assert!(
        micros(slow, "waiting") >= 1_100_000 && micros(slow, "upstream") < 1_100_000,
        "{slow:#}"
    );
}

#[test]
fn hot_and_big_keys_are_found_by_policy_and_never_shown_plain() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = start(&server, "[hotkeys]\nsample = 4\nbig = \"50KiB\"\nmax_keys = 16\n");
    let traffic = |mut client: Client, hot: &str| {
        // A pipeline in which every fourth key is the same, and so many others as to fill all places.
        for round in 0..40 {
            let mut batch = Vec::new();
            for number in 0..64 {
                let rare = format!("rare:{round}:{number}");
                let key = if number % 4 == 0 { hot } else { &rare };
                batch.extend(encode(&["SET", key, VALUE]));
            }
            client.send_raw(&batch);
            (0..64).for_each(|_| drop(client.reply()));
        }
        client
    };
    let mut one = traffic(proxy.client(), "hot:one");
    let other = Client::connect(&Target::Unix(proxy.directory().join("other"))).unwrap();
    traffic(other, "hot:two");
    one.ask(&["SET", "big:value", &"v".repeat(60_000)]);
    server.observer().ask(&["SETRANGE", "big:reply", "199999", "x"]);
    one.ask(&["GET", "big:reply"]);
    one.ask(&["GET", "hot:one"]);

    let found = json(&proxy, &["hotkeys"]);
    let policies = found["policies"].as_array().unwrap();
    let sections: Vec<&Value> = policies.iter().map(|of| &of["policy"]).collect();
    assert_eq!(sections, ["policy", "policies.other"]);
    let first = |at: usize| policies[at]["keys"][0].clone();
    for at in [0, 1] {
        // A quarter of 2560 commands, of which every fourth was looked at.
        let count = first(at)["count"].as_u64().unwrap();
        let error = first(at)["error"].as_u64().unwrap();
        assert!((80..=240).contains(&count) && error <= 64, "{:#}", first(at));
    }
    assert_ne!(first(0)["key"], first(1)["key"], "each has its own");
    let big = json(&proxy, &["hotkeys", "--big"]);
    let sizes: Vec<u64> = big["policies"][0]["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes.len(), 2, "{big:#}");
    assert!(
        (200_000..200_100).contains(&sizes[0]) && (60_000..60_100).contains(&sizes[1]),
        "{big:#}"
    );
    for words in [&["hotkeys"][..], &["hotkeys", "--big"]] {
        let shown = text(&proxy, words);
        for secret in ["hot:", "rare:", "big:"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("key:"), "{shown}");
    }
    json(&proxy, &["hotkeys", "reset"]);
    assert_eq!(json(&proxy, &["hotkeys"])["policies"], Value::Array(Vec::new()));
}

#[test]
fn disabled_insight_names_its_setting_and_a_reload_enables_it() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let proxy = start(&server, "");
    for (words, key) in [
        (&["slowlog"][..], "[slowlog] threshold"),
        (&["hotkeys"], "[hotkeys] sample"),
        (&["hotkeys", "--big"], "[hotkeys] big"),
    ] {
        let output = ask(&proxy, words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(key), "{words:?} {output:?}");
    }
    proxy.reconfigure("[admin]", "[slowlog]\nthreshold = \"1ms\"\n[hotkeys]\nsample = 1\n[admin]");
    proxy.hang_up();
    wait_until("both are on", || ask(&proxy, &["hotkeys"]).status.success());
    proxy.client().ask(&["SET", "k", VALUE]);
    assert_eq!(json(&proxy, &["slowlog"])["enabled"], true);
    assert_eq!(json(&proxy, &["hotkeys"])["policies"][0]["keys"][0]["count"], 1);
}

/// A shared connection keeps what was asked; what is listed is what the client asked.
#[test]
fn slow_commands_of_a_pipeline_are_listed_with_their_own_keys() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let (directory, telemetry) = (directory(), free_port());
    let (socket, log) = (directory.path().join("control"), directory.path().join("audit.log"));
    let (open, other) = (Target::Tcp(free_port()), Target::Unix(directory.path().join("other")));
    let listeners = [listener(&open, ""), listener(&other, "policy = \"other\"")].concat();
    let head = configuration(&server, &listeners, OPEN_POLICY, telemetry);
    let head = head.replace("[policy]", "pool.command_timeout = \"800ms\"\n[policy]");
    let text = format!(
        "{head}\n[policies.other]\nacl = \"+@all ~* &*\"\nkeys = {{ mode = \"rewrite\", prefix = \"app:\" }}\n\
         scripts = {{ mode = \"declared-keys\" }}\n[admin]\nsocket = {socket:?}\n[slowlog]\nthreshold = \"40ms\"\n\
         [hotkeys]\nbig = \"150KiB\"\nsample = 0\n\
         [audit]\nkeys = \"plain\"\n[[audit.sink]]\ntype = \"file\"\npath = {log:?}\n"
    );
    let proxy = Proxy::configured(directory, open.clone(), telemetry, &text);
    server.observer().ask(&["SETRANGE", "app:big", "199999", "x"]);
    let spin = "local t = redis.call('TIME') repeat local n = redis.call('TIME') \
                until (n[1] - t[1]) * 1000000 + n[2] - t[2] > tonumber(ARGV[1])";
    let batch = [
        encode(&["EVAL", spin, "1", "spun", "60000"]),
        encode(&["SET", "app:two", VALUE]),
        encode(&["GET", "big"]),
        encode(&["PING"]),
        encode(&["MGET", "three", "four"]),
    ]
    .concat();
    for target in [open, other] {
        json(&proxy, &["slowlog", "reset"]);
        let mut client = Client::connect(&target).unwrap();
        client.send_raw(&batch);
        (0..5).for_each(|_| drop(client.reply()));
        let list = json(&proxy, &["slowlog"]);
        let listed: Vec<(String, Value)> = list["entries"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .map(|entry| (entry["command"].as_str().unwrap().to_owned(), entry["key"].clone()))
            .collect();
        let expected = [
            ("eval", Value::from("spun")),
            ("set", "app:two".into()),
            ("get", "big".into()),
            ("ping", Value::Null),
            ("mget", "three".into()),
        ];
        assert_eq!(listed, expected.map(|(command, key)| (command.to_owned(), key)), "{list:#}");
        // One that is given up is slow, too.
        json(&proxy, &["slowlog", "reset"]);
        let reply = client.ask(&["EVAL", spin, "1", "lost", "1200000"]);
        let list = json(&proxy, &["slowlog"]);
        let slow = slow_of(&list, "eval");
        assert_eq!(
            (&slow["key"], &slow["error"]),
            (&"lost".into(), &true.into()),
            "{reply:?} {list:#}"
        );
        wait_until("the server is free", || server.observer().ask(&["PING"]).starts_with(b"+PONG"));
    }
    let big = json(&proxy, &["hotkeys", "--big"]);
    assert_eq!(big["policies"][0]["policy"], "policies.other", "{big:#}");
    assert_eq!(big["policies"][0]["keys"][0]["key"], "big", "{big:#}");
}

/// With an audit log its rule for keys holds in all three lists.
#[test]
fn keys_are_shown_as_the_audit_log_shows_them() {
    if !Brand::Redis.available() {
        return;
    }
    let server = Server::plain(Brand::Redis);
    let insight = "[slowlog]\nthreshold = \"30ms\"\n[hotkeys]\nsample = 1\nbig = \"1KiB\"\n";
    for (form, expected) in [
        ("plain", Some("user:alice")),
        ("prefix", Some("user:*")),
        ("hmac", Some("hmac:")),
        ("drop", None),
    ] {
        let directory = directory();
        let (key, log) = (directory.path().join("key"), directory.path().join("audit.log"));
        std::fs::write(&key, [7; 32]).unwrap();
        let key = if form == "hmac" { format!("key_file = {key:?}\n") } else { String::new() };
        let audit = format!(
            "[audit]\nkeys = {form:?}\n{key}[[audit.sink]]\ntype = \"file\"\npath = {log:?}\n"
        );
        let proxy = start(&server, &format!("{insight}{audit}"));
        let mut client = proxy.client();
        client.ask(&["SET", "user:alice", &"v".repeat(2000)]);
        let spin = "local t = redis.call('TIME') repeat local n = redis.call('TIME') \
                    until (n[1] - t[1]) * 1000000 + n[2] - t[2] > 50000";
        client.ask(&["EVAL", spin, "1", "user:alice"]);
        let hidden = "(not shown)";
        for (words, without) in
            [(&["slowlog"][..], "eval"), (&["hotkeys"], hidden), (&["hotkeys", "--big"], hidden)]
        {
            let shown = text(&proxy, words);
            assert!(shown.contains(expected.unwrap_or(without)), "{form} {words:?}: {shown}");
            assert_eq!(shown.contains("alice"), form == "plain", "{form} {words:?}: {shown}");
        }
    }
}
