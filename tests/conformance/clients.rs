//! What clients of one respgate see of each other, and do to each other: CLIENT LIST, KILL, UNBLOCK.
//!
//! Owns: the cases. Never knows: how a session is made.
use crate::support;
mod redirect;

use support::client::{Client, Got, PATIENCE, Target};
use support::proxy::{OPEN_POLICY, Proxy, configuration, directory, listener};
use support::real_server::{Brand, Server, free_port, wait_until};

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split_whitespace().find_map(|field| {
        field.split_once('=').filter(|(own, _)| *own == name).map(|(_, value)| value)
    });
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// The text of a bulk string.
fn reply_text(client: &mut Client, words: &[&str]) -> String {
    let reply = client.ask_text(words);
    assert!(reply.starts_with('$'), "{reply}");
    reply.split_once("\r\n").map_or("", |(_, body)| body).to_owned()
}

fn names(line: &str) -> Vec<&str> {
    line.split_whitespace().map(|field| field.split('=').next().unwrap()).collect()
}

fn brands() -> impl Iterator<Item = Brand> {
    [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available())
}

fn id(client: &mut Client) -> String {
    let reply = String::from_utf8(client.ask(&["CLIENT", "ID"])).unwrap();
    reply.trim_start_matches(':').trim_end().to_owned()
}

/// The line of a client, as another one sees it.
fn line_of(client: &mut Client, id: &str) -> String {
    let list = reply_text(client, &["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.starts_with(&format!("id={id} ")));
    line.unwrap_or_else(|| panic!("no {id} in {list}")).to_owned()
}

#[test]
fn client_info_has_the_fields_of_the_server() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let straight = reply_text(&mut server.observer(), &["CLIENT", "INFO"]);
        let mut client = proxy.client();
        let through = reply_text(&mut client, &["CLIENT", "INFO"]);
        assert_eq!(names(&straight), names(&through));
        assert_eq!(field(&through, "cmd"), "client|info");
        assert_eq!(field(&through, "qbuf"), "26");
        let list = reply_text(&mut client, &["CLIENT", "LIST"]);
        assert_eq!(names(&straight), names(&list));
    }
}

#[test]
fn client_list_shows_state_and_real_addresses() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "");
    let (mut asking, mut other) = (proxy.client(), proxy.client());
    let other_id = id(&mut other);
    assert_eq!(other.ask(&["CLIENT", "SETNAME", "worker"]), b"+OK\r\n");
    assert_eq!(other.ask(&["SELECT", "3"]), b"+OK\r\n");
    assert_eq!(other.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(other.ask(&["GET", "k"]), b"+QUEUED\r\n");
    let line = line_of(&mut asking, &other_id);
    let shown =
        ["name", "db", "flags", "multi", "cmd", "user", "sub"].map(|name| field(&line, name));
    assert_eq!(shown, ["worker", "3", "x", "1", "get", "default", "0"], "{line}");
    let Target::Tcp(port) = proxy.target() else { panic!("a TCP port") };
    assert_eq!(field(&line, "laddr"), format!("127.0.0.1:{port}"));
    assert!(field(&line, "addr").starts_with("127.0.0.1:"), "{line}");
    assert_eq!(other.ask(&["CLIENT", "INFO"]), b"+QUEUED\r\n");
    let inside = other.ask_text(&["EXEC"]);
    let shown = ["flags", "multi", "cmd"].map(|name| field(&inside, name));
    assert_eq!(shown, ["x", "2", "exec"], "{inside}");
    let after = reply_text(&mut other, &["CLIENT", "INFO"]);
    assert_eq!((field(&after, "flags"), field(&after, "multi")), ("N", "-1"), "{after}");
    assert!(other.ask(&["SUBSCRIBE", "a"]).starts_with(b"*3"));
    let line = line_of(&mut asking, &other_id);
    assert_eq!((field(&line, "flags"), field(&line, "sub")), ("P", "1"), "{line}");
    let pubsub = reply_text(&mut asking, &["CLIENT", "LIST", "TYPE", "pubsub"]);
    assert_eq!(pubsub.lines().count(), 1, "{pubsub}");
    let by_id = reply_text(&mut asking, &["CLIENT", "LIST", "ID", &other_id, "99999", &other_id]);
    assert_eq!(by_id.lines().count(), 2, "{by_id}");
    drop(other);
    wait_until("the client is gone from the list", || {
        reply_text(&mut asking, &["CLIENT", "LIST"]).lines().count() == 1
    });
}

#[test]
fn client_list_of_a_unix_socket_names_its_path() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::on_unix_socket(&server, "");
    let Target::Unix(path) = proxy.target().clone() else { panic!("a socket") };
    let line = reply_text(&mut proxy.client(), &["CLIENT", "INFO"]);
    assert_eq!(field(&line, "addr"), format!("{}:0", path.display()));
    assert_eq!(field(&line, "flags"), "U");
}

/// Two listeners with a policy each: nothing of the one is seen or reached from the other.
#[test]
fn clients_of_another_policy_are_out_of_sight_and_reach() {
    let server = Server::plain(Brand::Redis);
    let (one, two) = (Target::Tcp(free_port()), Target::Tcp(free_port()));
    let telemetry = free_port();
    let listeners = [listener(&one, ""), listener(&two, "policy = \"other\"")].concat();
    let text = configuration(&server, &listeners, OPEN_POLICY, telemetry);
    let text = format!("{text}\n[policies.other]\nacl = {OPEN_POLICY:?}\n");
    let proxy = Proxy::configured(directory(), one, telemetry, &text);
    let (mut own, mut twin) = (proxy.client(), proxy.client());
    let mut foreign = Client::connect(&two).unwrap();
    let foreign_id = id(&mut foreign);
    let address = reply_text(&mut foreign, &["CLIENT", "INFO"]);
    let address = field(&address, "addr").to_owned();
    assert_eq!(twin.ask(&["PING"]), b"+PONG\r\n");
    foreign.send(&["BLPOP", "list", "0"]);
    server.await_blocked(1);
    let list = reply_text(&mut own, &["CLIENT", "LIST"]);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(own.ask(&["CLIENT", "LIST", "ID", &foreign_id]), b"$0\r\n\r\n");
    assert_eq!(own.ask(&["CLIENT", "KILL", "ID", &foreign_id]), b":0\r\n");
    assert_eq!(own.ask(&["CLIENT", "KILL", &address]), b"-ERR No such client\r\n");
    assert_eq!(own.ask(&["CLIENT", "UNBLOCK", &foreign_id]), b":0\r\n");
    assert_eq!(own.ask(&["CLIENT", "KILL", "TYPE", "normal"]), b":1\r\n");
    assert_eq!(twin.next(PATIENCE), Got::End);
    assert_eq!(own.ask(&["RPUSH", "list", "x"]), b":1\r\n");
    assert_eq!(foreign.reply(), b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
}

#[test]
fn client_kill_ends_clients_and_answers_before_it_ends_itself() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut own, mut other, mut blocked) = (proxy.client(), proxy.client(), proxy.client());
        let other_id = id(&mut other);
        assert_eq!(own.ask(&["CLIENT", "KILL", "ID", &other_id]), b":1\r\n");
        assert_eq!(other.next(PATIENCE), Got::End);
        assert_eq!(own.ask(&["CLIENT", "KILL", "ID", &other_id]), b":0\r\n");
        blocked.send(&["BLPOP", "list", "0"]);
        server.await_blocked(1);
        assert_eq!(own.ask(&["CLIENT", "KILL", "TYPE", "normal"]), b":1\r\n");
        assert_eq!(blocked.next(PATIENCE), Got::End);
        server.await_blocked(0);
        assert_eq!(own.ask(&["RPUSH", "list", "x"]), b":1\r\n");
        assert_eq!(own.ask(&["LLEN", "list"]), b":1\r\n");
        let line = reply_text(&mut own, &["CLIENT", "INFO"]);
        own.send(&["CLIENT", "KILL", field(&line, "addr")]);
        own.send(&["INCR", "never"]);
        assert_eq!(own.reply(), b"+OK\r\n");
        assert_eq!(own.next(PATIENCE), Got::End);
        let mut last = proxy.client();
        assert_eq!(last.ask(&["EXISTS", "never"]), b":0\r\n");
        assert_eq!(last.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(last.ask(&["CLIENT", "KILL", "SKIPME", "no"]), b"+QUEUED\r\n");
        assert_eq!(last.ask(&["EXEC"]), b"*1\r\n:1\r\n");
        assert_eq!(last.next(PATIENCE), Got::End);
    }
}

/// The server itself ends the wait: what it gives at that moment is not lost, and the answer is its own.
#[test]
fn client_unblock_is_the_servers_own() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut own, mut blocked) = (proxy.client(), proxy.client());
        let blocked_id = id(&mut blocked);
        for (reason, reply) in [
            (None, &b"*-1\r\n"[..]),
            (Some("timeout"), b"*-1\r\n"),
            (Some("ERROR"), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
        ] {
            blocked.send(&["BLPOP", "list", "0"]);
            server.await_blocked(1);
            assert_eq!(field(&line_of(&mut own, &blocked_id), "flags"), "b");
            let words: Vec<&str> =
                ["CLIENT", "UNBLOCK", &blocked_id].into_iter().chain(reason).collect();
            assert_eq!(own.ask(&words), b":1\r\n");
            assert_eq!(blocked.reply(), reply);
            assert_eq!(blocked.ask(&["PING"]), b"+PONG\r\n");
        }
        assert_eq!(own.ask(&["CLIENT", "UNBLOCK", &blocked_id]), b":0\r\n");
        assert_eq!(own.ask(&["CLIENT", "UNBLOCK", "99999"]), b":0\r\n");
        let text = b"-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n";
        assert_eq!(own.ask(&["CLIENT", "UNBLOCK", &blocked_id, "why"]), text);
        let text = b"-ERR value is not an integer or out of range\r\n";
        assert_eq!(own.ask(&["CLIENT", "UNBLOCK", "x"]), text);
    }
}

/// The default policy lets job queues find their workers, and no client end them.
#[test]
fn default_policy_shows_clients_and_spares_them() {
    let server = Server::plain(Brand::Redis);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(&server, &listener(&target, ""), "ACL", telemetry);
    let text = text.replace("acl = \"ACL\"", "preset = \"default\"");
    let proxy = Proxy::configured(directory(), target, telemetry, &text);
    let mut client = proxy.client();
    assert!(reply_text(&mut client, &["CLIENT", "LIST"]).starts_with("id="));
    for words in [&["CLIENT", "KILL", "ID", "1"][..], &["CLIENT", "UNBLOCK", "1"]] {
        assert!(client.ask(words).starts_with(b"-NOPERM"), "{words:?}");
    }
}

#[test]
fn reset_keeps_name_and_version_of_the_library() {
    if !Brand::Valkey.available() {
        return;
    }
    let server = Server::plain(Brand::Valkey);
    let proxy = Proxy::before(&server, "");
    let (mut straight, mut through) = (server.observer(), proxy.client());
    for client in [&mut straight, &mut through] {
        client.ask(&["CLIENT", "SETINFO", "lib-name", "mine"]);
        client.ask(&["CLIENT", "SETNAME", "me"]);
        assert_eq!(client.ask(&["RESET"]), b"+RESET\r\n");
        let line = reply_text(client, &["CLIENT", "INFO"]);
        assert_eq!((field(&line, "lib-name"), field(&line, "name")), ("mine", ""), "{line}");
    }
}

/// What current drivers ask at the beginning of a connection is no denial.
#[test]
fn drivers_question_about_the_server_is_no_denial() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::with_policy(&server, "+@all -@admin -@dangerous ~* &*", "");
        let (mut straight, mut through) = (server.observer(), proxy.client());
        let words = ["CLIENT", "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "internal-ip"];
        let denied = || proxy.metric("respgate_replies_total{result=\"denied\"}");
        for words in [&words[..], &["SENTINEL", "MASTERS"]] {
            assert_eq!(straight.ask(words), through.ask(words));
        }
        for setting in ["timeout", "slave-read-only", "replica-read-only", "databases"] {
            assert!(through.ask(&["CONFIG", "GET", setting]).starts_with(b"-NOPERM"));
        }
        assert!(denied() < 0.5, "{}", denied());
        assert_eq!(straight.ask(&["NOSUCH", "a"]), through.ask(&["NOSUCH", "a"]));
        assert!(denied() > 0.5);
        through.ask(&["CONFIG", "GET", "requirepass"]);
        through.ask(&["CONFIG", "GET", "timeout", "requirepass"]);
        assert!(denied() > 2.5, "{}", denied());
    }
}

/// Respgate sends the server a PING from time to time; a client in MONITOR mode does not see it.
#[test]
fn monitor_shows_no_health_checks() {
    for mode in ["shared", "session"] {
        let server = Server::mutual_tls(Brand::Redis);
        let sections = format!(
            "[upstream.pool]\nmode = \"{mode}\"\nhealth_check_interval = \"1s\"\nmin_idle = 3\n"
        );
        let proxy = Proxy::before(&server, &sections);
        let (mut monitor, mut client) = (proxy.client(), proxy.client());
        assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
        let before = proxy.metric("respgate_upstream_health_checks_total{result=\"ok\"}");
        proxy.await_metric("respgate_upstream_health_checks_total{result=\"ok\"}", |checks| {
            checks > before + 4.5
        });
        client.ask(&["ECHO", "end"]);
        let line = String::from_utf8_lossy(&monitor.reply()).into_owned();
        assert!(line.contains("\"ECHO\" \"end\""), "{mode}: {line}");
    }
}

/// Respgate sends the server requests of its own; a client in MONITOR mode does not see them.
#[test]
fn monitor_shows_the_requests_of_clients_alone() {
    for mode in ["shared", "session"] {
        let server = Server::mutual_tls(Brand::Redis);
        let sections = format!("[upstream.pool]\nmode = \"{mode}\"\n");
        let proxy = Proxy::before(&server, &sections);
        let (mut monitor, mut client) = (proxy.client(), proxy.client());
        assert_eq!(monitor.ask(&["MONITOR"]), b"+OK\r\n");
        for words in [
            &["MULTI"][..],
            &["SET", "k", "1"],
            &["EXEC"],
            &["WATCH", "k"],
            &["MULTI"],
            &["DISCARD"],
            &["SELECT", "5"],
            &["WAIT", "0", "0"],
            &["GET", "k"],
            &["PING", "end"],
        ] {
            client.ask(words);
        }
        let mut seen = Vec::new();
        while !seen.iter().any(|line: &String| line.contains("\"end\"")) {
            let line = String::from_utf8_lossy(&monitor.reply()).into_owned();
            let words = line.split_once("] ").unwrap().1.trim_end().to_owned();
            seen.push(words);
        }
        let own = ["\"SELECT\" \"5\"", "\"DISCARD\"", "\"MULTI\""];
        if mode == "shared" {
            // What respgate answers itself does not reach the server.
            let reached = [
                "\"MULTI\"",
                "\"SET\" \"k\" \"1\"",
                "\"EXEC\"",
                "\"WATCH\" \"k\"",
                "\"WAIT\" \"0\" \"0\"",
                "\"GET\" \"k\"",
                "\"PING\" \"end\"",
            ];
            assert_eq!(seen, reached);
        } else {
            assert!(own.iter().all(|line| seen.iter().any(|seen| seen == line)), "{seen:?}");
            assert_eq!(seen.len(), 10, "{seen:?}");
        }
    }
}

/// A code, what makes the server answer it to a write, and what ends that.
type Refusal<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

/// The server reports why it refuses a queued command, and EXEC repeats it where respgate holds the queue.
#[test]
fn exec_reports_why_the_server_refuses() {
    let place = directory();
    let data = place.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let server = Server::new(Brand::Redis, false, &["--enable-protected-configs", "yes"]);
    let shared = Proxy::before(&server, "");
    let session = Proxy::before(&server, "[upstream.pool]\nmode = \"session\"\n");
    let mut observer = server.observer();
    // A background save fails when its directory is gone.
    let data_path = data.to_str().unwrap();
    assert_eq!(observer.ask(&["CONFIG", "SET", "dir", data_path, "save", "3600 1"]), b"+OK\r\n");
    let cases: [Refusal<'_>; 5] = [
        ("MISCONF", &["BGSAVE"], &["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
        ("OOM", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (
            "NOREPLICAS",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        ("NOPERM", &["ACL", "SETUSER", "default", "-set"], &["ACL", "SETUSER", "default", "+set"]),
    ];
    for (code, begin, end) in cases {
        // Each client knows its server before it is changed.
        let mut clients = [server.observer(), session.client(), shared.client()];
        clients.iter_mut().for_each(|client| _ = client.ask(&["MULTI"]));
        clients.iter_mut().for_each(|client| _ = client.ask(&["DISCARD"]));
        if code == "MISCONF" {
            std::fs::remove_dir_all(&data).unwrap();
        }
        observer.ask(begin);
        if code == "MISCONF" {
            wait_until("the save has failed", || {
                reply_text(&mut observer, &["INFO", "persistence"]).contains("bgsave_status:err")
            });
        }
        let replies = clients.each_mut().map(|client| {
            [&["MULTI"][..], &["SET", "k", "1"], &["EXEC"]].map(|words| client.ask_text(words))
        });
        let [straight, own, queued] = &replies;
        assert!(straight[1].starts_with(&format!("-{code} ")), "{straight:?}");
        assert_eq!(straight, own, "{code}");
        assert_eq!(queued[1], "+QUEUED");
        let why = format!("-EXECABORT Transaction discarded because of: {}", &straight[1][1..]);
        assert_eq!(queued[2], why);
        assert_eq!(observer.ask(end), b"+OK\r\n", "{code}");
    }
}
