//! `pool.mode = "session"`: what a client sets on its connection is set on the server's connection.
//!
//! Owns: what is the server's answer there, and what the rules still hold. Never knows: sessions that
//! share connections.
use crate::support;

use support::client::{Client, Got, PATIENCE, encode};
use support::proxy::{OPEN_POLICY, Proxy};
use support::real_server::{Brand, Server, wait_until};

const MODE: &str = "[upstream.pool]\nmode = \"session\"\n";

fn stage(acl: &str, sections: &str) -> (Server, Proxy) {
    let server = Server::mutual_tls(Brand::Redis);
    let proxy = Proxy::with_policy(&server, acl, &format!("{MODE}{sections}"));
    (server, proxy)
}

fn id(client: &mut Client) -> String {
    client.ask_text(&["CLIENT", "ID"]).trim_start_matches(':').to_owned()
}

/// Sends all at once and gives the replies.
fn pipeline(client: &mut Client, requests: &[&[&str]]) -> Vec<String> {
    let bytes: Vec<u8> = requests
        .iter()
        .flat_map(|words| encode(&words.iter().map(|w| w.as_bytes()).collect::<Vec<_>>()))
        .collect();
    client.send_raw(&bytes);
    let reply = |_| String::from_utf8_lossy(&client.reply()).trim_end().to_owned();
    requests.iter().map(reply).collect()
}

#[test]
fn connection_is_the_servers_own() {
    let (server, proxy) = stage(OPEN_POLICY, "");
    let (mut one, mut two) = (proxy.client(), proxy.client());
    assert_eq!(one.ask(&["CLIENT", "SETNAME", "worker"]), b"+OK\r\n");
    assert_eq!(one.ask(&["CLIENT", "NO-EVICT", "on"]), b"+OK\r\n");
    let number = id(&mut one);
    let seen = server.observer().ask_text(&["CLIENT", "LIST", "ID", &number]);
    assert!(seen.contains("name=worker") && seen.contains("flags=e"), "{seen}");
    assert!(two.ask_text(&["CLIENT", "LIST"]).contains("name=worker"));
    assert!(two.ask_text(&["CLIENT", "GETNAME"]).starts_with("$-1"), "no name of respgate's");

    one.send(&["BLPOP", "q", "0"]);
    server.await_blocked(1);
    assert_eq!(two.ask(&["CLIENT", "UNBLOCK", &number, "ERROR"]), b":1\r\n");
    assert!(one.reply().starts_with(b"-UNBLOCKED"));
    assert_eq!(two.ask(&["CLIENT", "KILL", "ID", &number]), b":1\r\n");
    assert_eq!(one.next(PATIENCE), Got::End);
}

#[test]
fn invalidations_go_to_another_session() {
    let (server, proxy) = stage(OPEN_POLICY, "");
    let (mut hearer, mut tracker) = (proxy.client(), proxy.client());
    let number = id(&mut hearer);
    hearer.ask(&["SUBSCRIBE", "__redis__:invalidate"]);
    let on = &["CLIENT", "TRACKING", "on", "REDIRECT", &number];
    assert_eq!(tracker.ask(on), b"+OK\r\n");
    assert_eq!(tracker.ask_text(&["CLIENT", "GETREDIR"]), format!(":{number}"));
    tracker.ask(&["GET", "k"]);
    server.observer().ask(&["SET", "k", "1"]);
    assert!(hearer.reply().ends_with(b"$1\r\nk\r\n"));
}

/// The rules hold between MULTI and EXEC; what they refuse is not run, in whatever pieces it comes.
#[test]
fn refusal_aborts_the_transaction_at_the_server() {
    let (server, proxy) = stage("+@all -flushall ~app:* &*", "");
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    for refused in [&["FLUSHALL"][..], &["SET", "other", "1"], &["GET"], &["NOSUCH"]] {
        let requests: [&[&str]; 5] =
            [&["MULTI"], &["INCR", "app:n"], refused, &["EXEC"], &["EXISTS", "app:n"]];
        let mut client = proxy.client();
        let together = pipeline(&mut client, &requests);
        assert!(together[2].starts_with('-'), "{together:?}");
        assert_eq!((&*together[3], &*together[4]), (aborted, ":0"), "{refused:?}");
        let apart: Vec<String> = requests.iter().map(|words| client.ask_text(words)).collect();
        assert_eq!(apart, together, "{refused:?}");
        let after = pipeline(&mut client, &[&["MULTI"], &["ECHO", "a"], &["EXEC"]]);
        assert_eq!(after, ["+OK", "+QUEUED", "*1\r\n$1\r\na"]);
    }
    let mut client = proxy.client();
    let discarded = pipeline(
        &mut client,
        &[&["MULTI"], &["FLUSHALL"], &["DISCARD"], &["MULTI"], &["ECHO", "a"], &["EXEC"]],
    );
    assert_eq!(discarded[2..], ["+OK", "+OK", "+QUEUED", "*1\r\n$1\r\na"]);
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":0\r\n");
}

#[test]
fn exec_that_the_rules_refuse_runs_nothing() {
    let (server, proxy) = stage("+@all -exec ~* &*", "");
    let mut client = proxy.client();
    let replies =
        pipeline(&mut client, &[&["MULTI"], &["SET", "k", "1"], &["EXEC"], &["GET", "k"]]);
    assert!(replies[2].starts_with("-EXECABORT Transaction discarded because of: NOPERM"));
    assert_eq!(replies[3], "$-1");
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":0\r\n");
}

/// What a queued command changes is known here when EXEC is answered.
#[test]
fn transaction_changes_the_session() {
    let (_server, proxy) = stage("+@all ~* &*", "");
    let mut client = proxy.client();
    client.ask(&["HELLO", "3"]);
    let replies = pipeline(
        &mut client,
        &[
            &["MULTI"],
            &["SELECT", "3"],
            &["CLIENT", "TRACKING", "on"],
            &["SET", "k", "1"],
            &["EXEC"],
            &["GET", "k"],
            &["CLIENT", "REPLY", "on"],
        ],
    );
    assert_eq!(replies[4..], ["*3\r\n+OK\r\n+OK\r\n+OK", "$1\r\n1", "+OK"]);
    proxy.client().ask(&["SELECT", "0"]);
    let mut other = proxy.client();
    other.ask(&["SELECT", "3"]);
    other.ask(&["SET", "k", "2"]);
    assert!(client.reply().starts_with(b">2\r\n$10\r\ninvalidate"));
}

#[test]
fn silence_holds_in_a_transaction() {
    let (_server, proxy) = stage(OPEN_POLICY, "");
    let mut client = proxy.client();
    let mut send = |words: &[&str]| client.send(words);
    for words in [
        &["CLIENT", "REPLY", "OFF"][..],
        &["MULTI"],
        &["SELECT", "2"],
        &["SET", "k", "1"],
        &["EXEC"],
        &["CLIENT", "REPLY", "ON"],
    ] {
        send(words);
    }
    assert_eq!(client.reply(), b"+OK\r\n");
    assert_eq!(client.ask(&["GET", "k"]), b"$1\r\n1\r\n");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["MULTI"]);
    assert_eq!(client.ask(&["GET", "k"]), b"+QUEUED\r\n");
    assert_eq!(client.ask(&["EXEC"]), b"*1\r\n$1\r\n1\r\n");
}

/// Where rules bound the keys, connections of others stay unseen.
#[test]
fn connections_of_others_are_out_of_reach_of_bounded_keys() {
    let (server, proxy) = stage("+@all ~app:* &*", "");
    let (mut one, mut observer) = (proxy.client(), server.observer());
    observer.ask(&["CLIENT", "SETNAME", "stranger"]);
    let stranger = id(&mut observer);
    assert!(!one.ask_text(&["CLIENT", "LIST"]).contains("stranger"));
    one.ask(&["CLIENT", "KILL", "ID", &stranger]);
    one.ask(&["CLIENT", "UNBLOCK", &stranger]);
    let redirect = one.ask(&["CLIENT", "TRACKING", "on", "REDIRECT", &stranger]);
    assert!(redirect.starts_with(b"-"), "{redirect:?}");
    assert_eq!(observer.ask(&["PING"]), b"+PONG\r\n");
}

/// Rules that change requests need the transaction to be queued here.
#[test]
fn rules_that_change_requests_hold_in_a_transaction() {
    let (server, proxy) =
        stage(OPEN_POLICY, "[policy.ttl]\ndefault = \"1h\"\non_missing = \"inject\"");
    let mut client = proxy.client();
    let replies = pipeline(&mut client, &[&["MULTI"], &["LPUSH", "l", "a"], &["EXEC"]]);
    assert_eq!(replies, ["+OK", "+QUEUED", "*1\r\n:1"]);
    assert_eq!(server.observer().ask(&["TTL", "l"]), b":3600\r\n");
}

#[test]
fn password_for_respgate_is_not_shown_to_the_server() {
    let directory = support::proxy::directory();
    let server = Server::mutual_tls(Brand::Redis);
    let port = support::real_server::free_port();
    let telemetry = support::real_server::free_port();
    std::fs::write(directory.path().join("password"), "open sesame").unwrap();
    let target = support::client::Target::Tcp(port);
    let listener = support::proxy::listener(&target, "password_file = \"password\"");
    let text = support::proxy::configuration(&server, &listener, OPEN_POLICY, telemetry);
    let proxy = Proxy::configured(directory, target, telemetry, &format!("{text}{MODE}"));
    let mut client = proxy.client();
    assert!(client.ask_text(&["HELLO", "3"]).starts_with("-NOAUTH"));
    assert!(client.ask_text(&["HELLO", "3", "AUTH", "default", "x"]).starts_with("-WRONGPASS"));
    let hello = ["HELLO", "3", "AUTH", "default", "open sesame", "SETNAME", "me"];
    assert!(client.ask_text(&hello).starts_with("%7"));
    assert_eq!(client.ask(&["CLIENT", "GETNAME"]), b"$2\r\nme\r\n");
    assert!(server.observer().ask_text(&["ACL", "LOG"]).starts_with("*0"), "no failed login there");
}

/// Names are set again on a connection of the new identity; sessions whose state cannot be set again are closed.
#[test]
fn rotation_moves_the_session_with_its_names() {
    let (mut server, proxy) = stage(OPEN_POLICY, "pinned_grace = \"1s\"\n");
    let (mut named, mut bound) = (proxy.client(), proxy.client());
    named.ask(&["HELLO", "3", "SETNAME", "worker"]);
    named.ask(&["SELECT", "2"]);
    id(&mut bound);
    let number = |server: &Server| {
        let list = server.observer().ask_text(&["CLIENT", "LIST"]);
        let line = list.lines().find(|line| line.contains("name=worker")).map(str::to_owned);
        line.and_then(|line| line.split_whitespace().next().map(str::to_owned))
    };
    let old = number(&server).unwrap();
    server.pki.as_mut().unwrap().rotate();
    assert_eq!(bound.next(PATIENCE), Got::End);
    assert_eq!(named.ask(&["SET", "k", "1"]), b"+OK\r\n");
    assert_eq!(named.ask(&["CLIENT", "GETNAME"]), b"$6\r\nworker\r\n");
    wait_until("it is another connection", || number(&server).is_some_and(|new| new != old));
    let list = server.observer().ask_text(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.contains("name=worker")).unwrap();
    assert!(line.contains("db=2") && line.contains("resp=3"), "{line}");
}
