//! CLIENT TRACKING with REDIRECT: invalidations of one client's keys go to another one's connection.
//!
//! Owns: the cases. Never knows: which clients are listed.

use super::*;

fn listener_of(proxy: &Proxy) -> (Client, String) {
    let mut client = proxy.client();
    let id = id(&mut client);
    assert!(client.ask(&["SUBSCRIBE", "__redis__:invalidate"]).starts_with(b"*3"));
    (client, id)
}

#[test]
fn invalidations_arrive_at_the_other_client() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut subscriber, subscriber_id) = listener_of(&proxy);
        let mut client = proxy.client();
        let reply = client.ask(&["CLIENT", "TRACKING", "ON", "REDIRECT", &subscriber_id]);
        assert_eq!(reply, b"+OK\r\n");
        let number = format!(":{subscriber_id}\r\n");
        assert_eq!(client.ask_text(&["CLIENT", "GETREDIR"]), number.trim_end());
        let info = client.ask_text(&["CLIENT", "TRACKINGINFO"]);
        assert!(info.contains(&format!("redirect\r\n{number}")), "{info}");
        let line = reply_text(&mut client, &["CLIENT", "INFO"]);
        assert_eq!((field(&line, "redir"), field(&line, "flags")), (&*subscriber_id, "t"));
        assert_eq!(client.ask(&["GET", "k"]), b"$-1\r\n");
        assert_eq!(proxy.client().ask(&["SET", "k", "1"]), b"+OK\r\n");
        let message = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(subscriber.reply(), message);
        assert_eq!(client.ask(&["CLIENT", "TRACKING", "OFF"]), b"+OK\r\n");
        assert_eq!(client.ask(&["CLIENT", "GETREDIR"]), b":-1\r\n");
    }
}

#[test]
fn client_is_notified_when_the_target_of_its_redirect_is_gone() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (subscriber, subscriber_id) = listener_of(&proxy);
        let mut client = proxy.client();
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"));
        let reply = client.ask(&["CLIENT", "TRACKING", "ON", "REDIRECT", &subscriber_id]);
        assert_eq!(reply, b"+OK\r\n");
        assert_eq!(client.ask(&["GET", "k"]), b"_\r\n");
        drop(subscriber);
        wait_until("the other client is gone", || {
            reply_text_resp3(&mut client, &["CLIENT", "LIST"]).matches("id=").count() == 1
        });
        // The server has to notice it, too.
        let mut push = None;
        wait_until("the server has noticed it", || {
            assert_eq!(proxy.client().ask(&["SET", "k", "1"]), b"+OK\r\n");
            client.send(&["GET", "k"]);
            let first = client.reply();
            if first.starts_with(b">") {
                push = Some(first);
                client.reply();
            }
            push.is_some()
        });
        let broken = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{subscriber_id}\r\n");
        assert_eq!(push.unwrap(), broken.as_bytes());
    }
}

#[test]
fn redirect_to_no_client_is_refused_in_the_servers_words() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut straight, mut through) = (server.observer(), proxy.client());
        for words in [
            &["CLIENT", "TRACKING", "ON", "REDIRECT", "99999"][..],
            &["CLIENT", "TRACKING", "ON", "REDIRECT", "0"],
            &["CLIENT", "TRACKING", "ON", "REDIRECT", "-1"],
            &["CLIENT", "TRACKING", "ON", "REDIRECT", "x"],
            &["CLIENT", "TRACKING", "ON", "REDIRECT"],
            &["CLIENT", "TRACKING", "ON", "NOSUCH", "REDIRECT", "1"],
            &["CLIENT", "TRACKING", "MAYBE", "REDIRECT", "99999"],
            &["CLIENT", "TRACKING", "OFF", "NOSUCH"],
            &["CLIENT", "TRACKING", "OFF", "REDIRECT", "99999"],
            &["CLIENT", "TRACKINGINFO"],
        ] {
            assert_eq!(straight.ask(words), through.ask(words), "{words:?}");
        }
        let own = id(&mut through);
        assert_eq!(through.ask(&["CLIENT", "TRACKING", "ON", "REDIRECT", &own]), b"+OK\r\n");
        assert_eq!(through.ask_text(&["CLIENT", "GETREDIR"]), format!(":{own}"));
    }
}

/// A client of RESP3 receives invalidations without a subscription, on a pinned connection.
#[test]
fn client_without_subscription_can_receive_invalidations() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        let (mut subscriber, mut client) = (proxy.client(), proxy.client());
        assert!(subscriber.ask(&["HELLO", "3"]).starts_with(b"%"));
        let subscriber_id = id(&mut subscriber);
        // On a slow machine its pinned connection may take longer than this command waits for it.
        wait_until("the subscriber has a pinned connection", || {
            client.ask(&["CLIENT", "TRACKING", "ON", "REDIRECT", &subscriber_id]) == b"+OK\r\n"
        });
        assert_eq!(client.ask(&["GET", "k"]), b"$-1\r\n");
        assert_eq!(client.ask(&["SET", "k", "1"]), b"+OK\r\n");
        assert_eq!(subscriber.reply(), b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(subscriber.ask(&["GET", "k"]), b"$1\r\n1\r\n");
    }
}

/// The other client's next request needs no pinned connection, and is not answered with the error that none is free.
#[test]
fn request_of_the_other_client_that_waits_for_a_reply_is_answered() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "[upstream.pool]\nmax_connections = 2");
        let (_subscriber, _) = listener_of(&proxy);
        let (mut waiting, mut client) = (proxy.client(), proxy.client());
        let waiting_id = id(&mut waiting);
        assert_eq!(client.ask(&["WATCH", "x"]), b"+OK\r\n", "it has a connection of its own");
        let mut observer = server.observer();
        assert_eq!(observer.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]), b"+OK\r\n");
        waiting.send(&["SET", "k", "1"]);
        waiting.send(&["HELLO", "3"]);
        client.send(&["CLIENT", "TRACKING", "ON", "REDIRECT", &waiting_id]);
        let mut third = proxy.client();
        wait_until("the request to redirect is judged", || {
            reply_text(&mut third, &["CLIENT", "LIST"]).contains("cmd=client|tracking")
        });
        assert_eq!(observer.ask(&["CLIENT", "UNPAUSE"]), b"+OK\r\n");
        assert_eq!(waiting.reply(), b"+OK\r\n");
        let hello = waiting.reply();
        assert!(hello.starts_with(b"%"), "{brand:?}: {}", hello.escape_ascii());
        assert!(client.reply().starts_with(b"-ERR "), "no connection is left");
    }
}

/// With a prefix before the keys, both see their own names alone.
#[test]
fn redirected_invalidations_have_the_clients_own_names() {
    let server = Server::plain(Brand::Redis);
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let text = configuration(&server, &listener(&target, ""), "+@all ~* &*", telemetry);
    let text =
        text.replace("[policy]", "[policy]\nkeys = { prefix = \"app1:\", mode = \"rewrite\" }");
    let proxy = Proxy::configured(directory(), target, telemetry, &text);
    let (mut subscriber, subscriber_id) = listener_of(&proxy);
    let mut third = proxy.client();
    assert!(third.ask(&["HELLO", "3"]).starts_with(b"%"));
    let third_id = id(&mut third);
    let mut client = proxy.client();
    let message = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n";
    let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    for (subscriber, id, expected) in
        [(&mut subscriber, subscriber_id, &message[..]), (&mut third, third_id, push)]
    {
        let reply = client.ask(&["CLIENT", "TRACKING", "ON", "REDIRECT", &id]);
        assert_eq!(reply, b"+OK\r\n");
        client.ask(&["GET", "k"]);
        assert_eq!(client.ask(&["SET", "k", "1"]), b"+OK\r\n");
        assert_eq!(subscriber.reply(), expected);
    }
}

fn reply_text_resp3(client: &mut Client, words: &[&str]) -> String {
    client.send(words);
    loop {
        let reply = client.reply();
        if !reply.starts_with(b">") {
            return String::from_utf8_lossy(&reply).trim_end().to_owned();
        }
    }
}

/// One that has a connection does not begin anew the time that is left for one that gets none.
#[test]
fn transaction_waits_no_longer_for_one_client_because_another_is_ready() {
    let server = Server::plain(Brand::Redis);
    let proxy = Proxy::before(&server, "[upstream.pool]\nmax_connections = 2");
    let (_subscriber, subscriber_id) = listener_of(&proxy);
    let (mut other, mut client) = (proxy.client(), proxy.client());
    let other_id = id(&mut other);
    let redirect = |id| ["CLIENT", "TRACKING", "ON", "REDIRECT", id];
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    for id in [&subscriber_id, &other_id] {
        assert_eq!(client.ask(&redirect(id)), b"+QUEUED\r\n");
    }
    let answer = client.ask(&["EXEC"]);
    assert!(answer.starts_with(b"*2\r\n+OK\r\n-ERR "), "{}", answer.escape_ascii());
}

/// What Redis permits between MULTI and EXEC, and what comes of it.
#[test]
fn transaction_may_change_the_connection() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "");
        for conversation in [
            &["MULTI", "HELLO 3", "GET none", "HGETALL none", "EXEC", "GET none", "PING"][..],
            &["MULTI", "HELLO 4", "HELLO 3 BOGUS", "EXEC", "GET none"],
            &["MULTI", "AUTH default x", "AUTH x", "PING", "EXEC", "ACL WHOAMI"],
            &["MULTI", "MONITOR", "PING", "EXEC", "PING"],
            &["MULTI", "CLIENT CACHING YES", "EXEC"],
            &["MULTI", "CLIENT TRACKINGINFO", "CLIENT GETREDIR", "EXEC"],
            &["HELLO 3", "MULTI", "CLIENT TRACKING ON", "GET a", "EXEC", "CLIENT TRACKINGINFO"],
            &[
                "HELLO 3",
                "CLIENT TRACKING ON OPTIN",
                "MULTI",
                "CLIENT CACHING YES",
                "GET a",
                "EXEC",
            ],
            &["MULTI", "SUBSCRIBE a", "GET none", "EXEC", "PING", "UNSUBSCRIBE", "PING"],
            &["MULTI", "CLIENT NO-EVICT ON", "CLIENT NO-EVICT MAYBE", "EXEC", "PING"],
            &["MULTI", "CLIENT HELP", "EXEC"],
            &["MULTI", "READONLY", "EXEC"],
            &["WATCH k", "HELLO 3", "MULTI", "EXEC", "HELLO 2"],
            &["HELLO 3", "SUBSCRIBE a", "HELLO 2", "HELLO 3", "PING", "UNSUBSCRIBE", "HELLO 3"],
            &["HELLO 3", "CLIENT TRACKING ON", "HELLO 2", "GET k", "HELLO 3", "GET k"],
            &["HELLO 3", "CLIENT TRACKING ON", "HELLO 2 SETNAME me", "CLIENT GETNAME"],
        ] {
            let (mut straight, mut through) = (server.observer(), proxy.client());
            for line in conversation {
                let words: Vec<&str> = line.split(' ').collect();
                let (expected, got) = (straight.ask(&words), through.ask(&words));
                let place = format!("{brand:?} {line} of {conversation:?}");
                assert_eq!(without_id(&expected), without_id(&got), "{place}");
            }
        }
    }
}

/// The reply to HELLO without the id of the connection.
fn without_id(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply).into_owned();
    let Some((head, tail)) = text.split_once("$2\r\nid\r\n:") else { return text };
    format!("{head}ID{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// The server decides what these do: they are made on a connection that then stays.
#[test]
fn client_that_is_not_to_touch_keys_does_not() {
    if !Brand::Valkey.available() {
        return;
    }
    let server = Server::new(Brand::Valkey, false, &["--maxmemory-policy", "allkeys-lru"]);
    let proxy = Proxy::before(&server, "");
    let (mut own, mut client) = (proxy.client(), proxy.client());
    assert_eq!(client.ask(&["CLIENT", "NO-TOUCH", "ON"]), b"+OK\r\n");
    let line = reply_text(&mut client, &["CLIENT", "INFO"]);
    assert_eq!(field(&line, "flags"), "T");
    let at_server = server.observer().ask_text(&["CLIENT", "LIST"]);
    assert_eq!(at_server.lines().filter(|line| line.contains("flags=T")).count(), 1, "{at_server}");
    assert_eq!(client.ask(&["CLIENT", "NO-TOUCH", "OFF"]), b"+OK\r\n");
    assert_eq!(client.ask(&["CLIENT", "NO-EVICT", "ON"]), b"+OK\r\n");
    assert_eq!(field(&reply_text(&mut client, &["CLIENT", "INFO"]), "flags"), "e");
    let at_server = server.observer().ask_text(&["CLIENT", "LIST"]);
    assert!(!at_server.lines().any(|line| line.contains("flags=T")), "{at_server}");
    assert_eq!(client.ask(&["CLIENT", "NO-EVICT", "OFF"]), b"+OK\r\n");
    assert_eq!(own.ask(&["PING"]), b"+PONG\r\n");
    let text = "-ERR Server is not in import mode";
    assert_eq!(own.ask_text(&["CLIENT", "IMPORT-SOURCE", "ON"]), text);
    assert_eq!(own.ask_text(&["CLIENT", "IMPORT-SOURCE", "OFF"]), "+OK");
}

/// The clients that a transaction names are waited for together: each would begin anew what the one before it ended.
#[test]
fn transaction_that_names_two_clients_without_connections_is_answered() {
    for brand in brands() {
        let server = Server::plain(brand);
        let proxy = Proxy::before(&server, "[upstream.pool]\nmax_connections = 2");
        let (_subscriber, _) = listener_of(&proxy);
        let mut client = proxy.client();
        assert_eq!(client.ask(&["WATCH", "x"]), b"+OK\r\n", "it has a connection of its own");
        let mut targets = [proxy.client(), proxy.client()];
        assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
        for target in &mut targets {
            assert!(target.ask(&["HELLO", "3"]).starts_with(b"%"));
            let redirect = ["CLIENT", "TRACKING", "ON", "REDIRECT", &id(target)];
            assert_eq!(client.ask(&redirect), b"+QUEUED\r\n");
        }
        let reply = client.ask_text(&["EXEC"]);
        assert!(reply.starts_with("*2\r\n-ERR "), "{brand:?}: {reply}");
    }
}
