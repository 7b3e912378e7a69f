//! Traffic that moves metrics, before a server that is well.
//!
//! Owns: the scenes. Never knows: which metrics there are besides.
#![allow(clippy::too_many_lines, reason = "a scene is one sequence from its begin to its end")]

use std::process::Command;

use super::moves::Moved;
use super::support::client::{Client, PATIENCE, Target, encode};
use super::support::proxy::{Proxy, configuration, directory, listener};
use super::support::real_server::{Brand, Server, free_port, signal, wait_until};

/// Commands of every family, on a shared connection, a connection of their own, and none.
pub fn ordinary_traffic(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let directory = directory();
    std::fs::write(directory.path().join("secret"), "secret").unwrap();
    let targets = [Target::Tcp(free_port()), Target::Unix(directory.path().join("socket"))];
    let watched = Target::Tcp(free_port());
    let listeners = [
        listener(&targets[0], &format!("password_file = {:?}", directory.path().join("secret"))),
        listener(&targets[1], ""),
        listener(&watched, "policy = \"watched\""),
    ];
    let telemetry = free_port();
    let head = configuration(&server, &listeners.concat(), "+@all -flushall ~* &*", telemetry);
    let text = format!(
        "{head}\n[policies.watched]\nacl = \"+@read ~*\"\nmode = \"observe\"\n\
         [limits]\nmax_clients = 10\nmax_bulk = \"2MiB\"\n\
         output_hard = \"4MiB\"\noutput_soft = \"2MiB\"\n"
    );
    let proxy = Proxy::configured(directory, targets[0].clone(), telemetry, &text);
    moved.until(
        &proxy,
        &["state{state=\"ready\"}", "config_hash", "reload_watch_up", "upstream_up"],
    );

    let mut client = proxy.client();
    assert!(client.ask_text(&["AUTH", "wrong"]).starts_with("-WRONGPASS"));
    assert_eq!(client.ask_text(&["AUTH", "secret"]), "+OK");
    for words in [
        &["SET", "s", "v"][..],
        &["HSET", "h", "f", "v"],
        &["RPUSH", "l", "v"],
        &["SADD", "set", "v"],
        &["ZADD", "z", "1", "v"],
        &["XADD", "x", "*", "f", "v"],
        &["SETBIT", "b", "1", "1"],
        &["GEOADD", "g", "1", "1", "v"],
        &["PFADD", "p", "v"],
        &["DEL", "none"],
        &["PUBLISH", "c", "m"],
        &["EVAL", "return 1", "0"],
        &["MULTI"],
        &["EXEC"],
        &["PING"],
        &["INFO", "server"],
        &["CLUSTER", "INFO"],
        &["NONSENSE"],
        &["FLUSHALL"],
        &["GET", "s"],
        &["INCR", "l"],
        &["CLIENT", "ID"],
    ] {
        client.ask(words);
    }
    let large = "x".repeat(300_000);
    client.ask(&["SET", "large", &large]);
    client.ask(&["GET", "large"]);

    let mut other = Client::connect(&targets[1]).unwrap();
    other.ask(&["MULTI"]);
    other.ask(&["SET", "queued", &"q".repeat(60_000)]);
    moved.until(&proxy, &["buffer_bytes"]);
    other.ask(&["EXEC"]);
    for (words, cause) in [(&["WATCH", "k"][..], "watch"), (&["SUBSCRIBE", "c"], "subscribe")] {
        other.ask(words);
        moved.until(&proxy, &[&format!("client_pinned_connections{{cause={cause:?}}}")]);
        other.ask(&["RESET"]);
    }
    other.send(&["BLPOP", "nothing", "0"]);
    moved.until(
        &proxy,
        &[
            "client_pinned_connections{cause=\"blocking\"}",
            "commands_in_flight",
            "upstream_connections{state=\"pinned_leased\"}",
        ],
    );
    drop(other);
    moved.until(&proxy, &["replies_total{result=\"canceled\"}"]);

    let mut watched = Client::connect(&watched).unwrap();
    moved.repeat(&proxy, "log_events_dropped_total", || {
        watched.send_raw(&encode(&["SET", "k", "v"]).repeat(120));
        (0..120).for_each(|_| drop(watched.reply()));
    });
    for (bytes, kind) in [
        (&b"*1\r\n!\r\n"[..], "resp"),
        (b"POST / HTTP/1.1\r\n", "http_smuggling"),
        (b"SET \"a\r\n", "inline"),
    ] {
        let mut bad = Client::connect(&targets[1]).unwrap();
        bad.send_raw(bytes);
        moved.until(&proxy, &[&format!("client_protocol_errors_total{{kind={kind:?}}}")]);
    }
    let mut bad = Client::connect(&targets[1]).unwrap();
    bad.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9000000\r\n");
    moved.until(&proxy, &["client_protocol_errors_total{kind=\"too_large\"}"]);
    // It is gone before it has read its replies.
    moved.repeat(&proxy, "client_disconnects_total{reason=\"reset\"}", || {
        let mut hasty = Client::connect(&targets[1]).unwrap();
        hasty.send_raw(&encode(&["GET", "large"]).repeat(8));
        hasty.bytes(1, PATIENCE);
    });
    let crowd: Vec<Client> = (0..12).map(|_| Client::connect(&targets[1]).unwrap()).collect();
    moved.until(
        &proxy,
        &[
            "client_connections_rejected_total{reason=\"max_clients\"}",
            "client_connections{listener=\"unix\"}",
            "client_disconnects_total{reason=\"client\"}",
            "client_disconnects_total{reason=\"protocol_error\"}",
            "upstream_disconnects_total{reason=\"client_left\"}",
        ],
    );
    drop(crowd);
    for path in ["/livez", "/readyz", "/startupz", "/healthz/upstream", "/nothing"] {
        proxy.get(path);
    }
}

/// Drains that wait for a client. The last moment of a process may be missed: then another one drains.
pub fn drain(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    wait_until("a drain is seen to its end", || {
        let proxy = Proxy::before(&server, "[drain]\nmin = \"1s\"\nmax = \"1s\"\n");
        let mut idle = proxy.client();
        idle.ask(&["PING"]);
        let mut blocked = proxy.client();
        blocked.send(&["BLPOP", "nothing", "0"]);
        server.await_blocked(1);
        signal("TERM", proxy.pid());
        while moved.try_note(&proxy).is_some() {}
        [
            "state{state=\"draining\"}",
            "drain_remaining_connections",
            "drain_started_timestamp_seconds",
            "client_disconnects_total{reason=\"drain\"}",
        ]
        .iter()
        .all(|series| moved.has_seen(series))
    });
}

/// Clients that hang, do not log in, or keep more than all may.
pub fn limits_of_clients(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "secret").unwrap();
    let locked = Target::Tcp(free_port());
    let listeners =
        [listener(&target, ""), listener(&locked, &format!("password_file = {secret:?}"))];
    let head = configuration(&server, &listeners.concat(), "+@all ~* &*", telemetry);
    let limits = "login_timeout = \"2s\"\ntransfer_timeout = \"1s\"\nidle_timeout = \"3s\"";
    let proxy =
        Proxy::configured(directory, target, telemetry, &format!("{head}\n[limits]\n{limits}\n"));
    let ended = |reason: &str| format!("client_disconnects_total{{reason={reason:?}}}");
    let _silent = Client::connect(&locked).unwrap();
    let mut idle = proxy.client();
    idle.send(&["PING"]);
    let mut half = proxy.client();
    half.send_raw(b"*2\r\n$3\r\nGE");
    moved.until(&proxy, &[&ended("login_timeout"), &ended("idle"), &ended("stalled")]);
    let proxy = Proxy::before(&server, "[limits]\nmemory_budget = \"1MiB\"\n");
    let mut named = proxy.client();
    named.send(&["CLIENT", "SETNAME", &"n".repeat(1_500_000)]);
    moved.until(&proxy, &[&ended("memory_budget")]);
}

/// What needs a connection of its own for longer, and a client that others disconnect.
pub fn pinned_traffic(moved: &Moved) {
    let server = Server::new(Brand::Redis, false, &["--enable-debug-command", "yes"]);
    let proxy = Proxy::with_policy(
        &server,
        "+@all +sync +psync ~* &*",
        "[upstream.pool]\ncommand_timeout = \"10m\"\n",
    );
    let mut client = proxy.client();
    let pinned = |cause: &str| format!("client_pinned_connections{{cause={cause:?}}}");
    client.send(&["MONITOR"]);
    moved.until(&proxy, &[&pinned("monitor")]);
    client.send(&["RESET"]);
    moved.until(&proxy, &["upstream_disconnects_total{reason=\"dirty\"}"]);
    let mut client = proxy.client();
    client.ask(&["HELLO", "3"]);
    client.ask(&["CLIENT", "TRACKING", "ON"]);
    moved.until(&proxy, &[&pinned("tracking")]);
    let mut client = proxy.client();
    client.send(&["SYNC"]);
    moved.until(&proxy, &[&pinned("replication")]);
    drop(client);
    // Half a large value, in flight.
    let mut client = proxy.client();
    client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$900000\r\nxxxx");
    moved.until(&proxy, &[&pinned("large")]);
    client.send_raw(&vec![b'x'; 900_000 - 4]);
    client.send_raw(b"\r\n");
    client.reply();
    // A transaction of one large command.
    let mut clients = Vec::new();
    moved.repeat(&proxy, &pinned("multi"), || {
        let mut client = proxy.client();
        client.ask(&["MULTI"]);
        client.ask(&["DEBUG", "SLEEP", "0.5"]);
        client.send(&["EXEC"]);
        clients.push(client);
    });
    clients.iter_mut().for_each(|client| drop(client.reply()));
    // Others kill it.
    let mut victim = proxy.client();
    let id = victim.ask_text(&["CLIENT", "ID"]);
    proxy.client().ask(&["CLIENT", "KILL", "ID", &id[1..]]);
    moved.until(&proxy, &["client_disconnects_total{reason=\"killed\"}"]);
}

/// A client that reads none of its replies.
pub fn greedy_client(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(
        &server,
        "[upstream.pool]\ncommand_timeout = \"10m\"\n\
         [limits]\noutput_hard = \"2MiB\"\noutput_soft = \"1MiB\"\noutput_soft_time = \"1s\"\n",
    );
    server.observer().ask(&["SETRANGE", "k", "899999", "x"]);
    let mut greedy = proxy.client();
    greedy.keep_little_unread();
    greedy.send_raw(&encode(&["GET", "k"]).repeat(40));
    moved.until(&proxy, &["client_disconnects_total{reason=\"output_limit\"}"]);
}

/// A server that is slower than it may be, on a shared connection and on a pinned one.
pub fn slow_server(moved: &Moved) {
    let server = Server::new(Brand::Redis, false, &["--enable-debug-command", "yes"]);
    let proxy = Proxy::before(&server, "[upstream.pool]\ncommand_timeout = \"1s\"\n");
    let mut clients = Vec::new();
    for series in [
        "replies_total{result=\"timeout\"}",
        "upstream_timeouts_total",
        "upstream_tombstones",
        "upstream_disconnects_total{reason=\"timeout\"}",
    ] {
        moved.repeat(&proxy, series, || {
            let (mut slow, mut late) = (proxy.client(), proxy.client());
            slow.send(&["DEBUG", "SLEEP", "1.6"]);
            late.send(&["GET", "k"]);
            clients.extend([slow, late]);
        });
    }
}

/// Connections that are too many, too old, or looked after.
pub fn aging_connections(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let pool = |keys: &str| Proxy::before(&server, &format!("[upstream.pool]\n{keys}\n"));
    let checked = pool("health_check_interval = \"1s\"");
    let proxy = pool("max_idle = 1\nidle_timeout = \"700ms\"\nmax_age = \"1500ms\"");
    let mut blocked: Vec<Client> = (0..6).map(|_| proxy.client()).collect();
    for reason in ["idle", "max_age"] {
        moved.repeat(&proxy, &format!("upstream_disconnects_total{{reason={reason:?}}}"), || {
            blocked.iter_mut().for_each(|client| client.send(&["BLPOP", "nothing", "0.01"]));
            blocked.iter_mut().for_each(|client| drop(client.reply()));
        });
    }
    moved.until(&checked, &["upstream_health_checks_total{result=\"ok\"}"]);
}

/// A server that is busy with a script, whose operator ends it.
pub fn busy_server(moved: &Moved) {
    let server = Server::new(Brand::Redis, false, &["--lua-time-limit", "100"]);
    let proxy = Proxy::before(&server, "");
    proxy.client().ask(&["SET", "k", "v"]);
    // A server that is busy lets none log in.
    moved.until(&proxy, &["upstream_connections{state=\"pinned_idle\"}"]);
    let mut endless = proxy.client();
    endless.send(&["EVAL", "while true do end", "0"]);
    let mut reader = proxy.client();
    reader.send(&["GET", "k"]);
    moved.until(
        &proxy,
        &["upstream_connections{state=\"draining\"}", "upstream_errors_total{code=\"BUSY\"}"],
    );
    let mut operator = proxy.client();
    server.hold();
    operator.send(&["SCRIPT", "KILL"]);
    moved.until(&proxy, &["client_pinned_connections{cause=\"release\"}"]);
    server.release();
}

pub fn session_mode(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\nmode = \"session\"\n");
    proxy.client().ask(&["SET", "k", "v"]);
    let mut client = proxy.client();
    client.ask(&["GET", "k"]);
    moved.until(&proxy, &["client_pinned_connections{cause=\"session\"}"]);
}

/// What an operator blocks, one after the other.
pub fn blocks(moved: &Moved) {
    let server = Server::plain(Brand::Redis);
    let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
    let socket = directory.path().join("control");
    let place = Target::Unix(directory.path().join("place"));
    let listeners = [listener(&target, ""), listener(&place, "")].concat();
    let head = configuration(&server, &listeners, "+@all ~* &*", telemetry);
    let text = format!("{head}\n[admin]\nsocket = {socket:?}\n");
    let proxy = Proxy::configured(directory, target, telemetry, &text);
    let Target::Unix(path) = &place else { return };
    let mut client = Client::connect(&place).unwrap();
    client.ask(&["SUBSCRIBE", "c"]);
    let listener = format!("unix:{}", path.display());
    for (what, value) in
        [("command", "flushall"), ("user", "stranger"), ("uid", "54321"), ("listener", &*listener)]
    {
        let mut ask = Command::new(env!("CARGO_BIN_EXE_respgate"));
        ask.args(["block", &format!("--{what}"), value, "--for", "10m", "--socket"]).arg(&socket);
        let output = ask.output().unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
        moved.until(&proxy, &[&format!("blocked{{what={what:?}}}")]);
    }
    moved.until(&proxy, &["client_disconnects_total{reason=\"blocked\"}"]);
}

/// The audit log: one sink that takes entries, and one that does not.
pub fn audit(moved: &Moved) {
    let (server, directory) = (Server::plain(Brand::Redis), directory());
    let (file, syslog) = (directory.path().join("audit.log"), directory.path().join("none"));
    let sections = format!(
        "[audit]\nqueue = \"64KiB\"\n\
         [[audit.sink]]\ntype = \"file\"\npath = {file:?}\nmax_bytes = \"4KiB\"\n\
         [[audit.sink]]\ntype = \"stdout\"\n\
         [[audit.sink]]\ntype = \"syslog\"\naddress = \"unix:{}\"\n",
        syslog.display()
    );
    let proxy = Proxy::with_policy(&server, "+@all -flushall ~* &*", &sections);
    let mut client = proxy.client();
    for _ in 0..400 {
        client.ask(&["FLUSHALL"]);
    }
    moved.until(
        &proxy,
        &[
            "audit_events_total{sink=\"file\",result=\"written\"}",
            "audit_events_total{sink=\"stdout\",result=\"written\"}",
            "audit_events_total{sink=\"syslog\",result=\"failed\"}",
            "audit_events_total{sink=\"syslog\",result=\"dropped\"}",
            "audit_last_write_timestamp_seconds",
            "audit_rotations_total",
            "audit_queue_bytes",
        ],
    );
}
