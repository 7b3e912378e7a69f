//! Attacks that need more than words: what is cut, watched, held, or sent by another client meanwhile.
//!
//! Owns: these conversations. Never knows: the list of attacks.

use std::time::Duration;

use super::support::client::{Client, Got, PATIENCE, encode};
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server, wait_until};
use super::world::{Mode, SECRET, policy};

fn before(server: &Server, mode: Mode, sections: &str) -> Proxy {
    let (acl, keys) = match mode {
        Mode::Enforce => ("+@all -@scripting ~app1:* &app1:*", ""),
        Mode::Rewrite => ("+@all ~* &*", "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n"),
    };
    Proxy::with_policy(server, acl, &format!("{keys}{sections}"))
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// EXEC's nil shows that a watched key has changed, of an application's own keys alone.
#[test]
fn watch_discloses_nothing_of_others_keys() {
    let server = Server::plain(Brand::Redis);
    for mode in [Mode::Enforce, Mode::Rewrite] {
        let proxy = before(&server, mode, "");
        let mut client = proxy.client();
        let watched = client.ask(&["WATCH", "app2:str"]);
        assert_eq!(watched.starts_with(b"-"), mode == Mode::Enforce);
        server.observer().ask(&["SET", "app2:str", SECRET]);
        assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
        assert_eq!(client.ask(&["GET", "app1:1"]), b"+QUEUED\r\n");
        assert_eq!(client.ask(&["EXEC"]), b"*1\r\n$-1\r\n");
    }
}

/// Half a large value is not the beginning of the next client's request.
#[test]
fn cut_request_is_no_request_of_another_client() {
    let server = Server::mutual_tls(Brand::Redis);
    server.observer().ask(&["SET", "app2:str", SECRET]);
    for mode in [Mode::Enforce, Mode::Rewrite] {
        let proxy = before(&server, mode, "");
        let inner = encode(&["DEL", "app2:str"]);
        let value = [inner.repeat(8000), vec![b'x'; 1000]].concat();
        let whole = encode(&[b"SET".as_slice(), b"app1:cut", &value]);
        let ends = ["\r", "\rX", "XX", "\n\r", "\r\n*2\r\n", "\r\n$3\r\nabcXX"];
        for cut in [whole.len() - 300, whole.len() - 2, whole.len() - 1, 70_000, 66_000] {
            let mut client = proxy.client();
            client.send_raw(&whole[..cut]);
            std::thread::sleep(Duration::from_millis(2));
            drop(client);
            let mut next = proxy.client();
            assert_eq!(next.ask(&["SET", "app1:n", "1"]), b"+OK\r\n");
            assert_eq!(next.ask(&["GET", "app1:cut"]), b"$-1\r\n", "{cut}");
        }
        for end in ends {
            let mut client = proxy.client();
            let body = &whole[..whole.len() - 2];
            client.send_raw(&[body, end.as_bytes(), &inner, &inner].concat());
            let (received, _) = client.drain(Duration::from_millis(40));
            // As Redis reads it, any two bytes end a bulk: what follows is out of step, and no command.
            assert!(!has(&received, ":1"), "{end:?}: {}", received.escape_ascii());
            proxy.client().ask(&["DEL", "app1:cut"]);
        }
    }
    assert_eq!(server.observer().ask_text(&["GET", "app2:str"]), format!("$9\r\n{SECRET}"));
}

/// After a list of three elements a subscription; the list looks like a message.
#[test]
fn value_that_looks_like_a_message_is_a_value() {
    let server = Server::plain(Brand::Redis);
    for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
        for mode in [Mode::Enforce, Mode::Rewrite] {
            let proxy = before(&server, mode, sections);
            let mut client = proxy.client();
            for kind in ["message", "subscribe", "invalidate", "smessage", "pmessage"] {
                client.ask(&["DEL", "app1:l"]);
                client.ask(&["RPUSH", "app1:l", kind, "app2:news", "x"]);
                let mut bytes = encode(&["LRANGE", "app1:l", "0", "-1"]);
                bytes.extend(encode(&["SUBSCRIBE", "app1:ch"]));
                bytes.extend(encode(&["UNSUBSCRIBE"]));
                bytes.extend(encode(&["ECHO", "end"]));
                client.send_raw(&bytes);
                assert!(has(&client.reply(), "app2:news"), "{kind}");
                assert!(has(&client.reply(), "$9\r\nsubscribe"), "{kind}");
                assert!(has(&client.reply(), "$11\r\nunsubscribe"), "{kind}");
                assert_eq!(client.reply(), b"$3\r\nend\r\n", "{kind}");
            }
        }
    }
}

/// A session that has sent RESET receives nothing more, in whatever state it was.
#[test]
fn reset_ends_all_messages() {
    let server = Server::new(Brand::Redis, false, &["--notify-keyspace-events", "KEA"]);
    let proxy = before(&server, Mode::Rewrite, "");
    let mut observer = server.observer();
    for round in 0..30 {
        let mut client = proxy.client();
        assert!(client.ask(&["HELLO", "3"]).starts_with(b"%"));
        client.ask(&["SUBSCRIBE", "__keyevent@0__:set"]);
        client.ask(&["CLIENT", "TRACKING", "ON", "BCAST"]);
        let noise = encode(&["SET", "app2:hidden9", SECRET]).repeat(50);
        observer.send_raw(&noise);
        client.send_raw(b"RESET\r\nECHO over\r\n");
        (0..50).for_each(|_| drop(observer.reply()));
        let mut received = Vec::new();
        loop {
            let Got::Reply(reply) = client.next(PATIENCE) else { panic!("{round}") };
            if reply == b"$4\r\nover\r\n" {
                break;
            }
            received.extend(reply);
        }
        received.extend(client.drain(Duration::from_millis(5)).0);
        assert!(
            !has(&received, "hidden9") && received.ends_with(b"+RESET\r\n"),
            "{}",
            received.escape_ascii()
        );
    }
}

/// A timeout a little below zero is rounded to zero, which is for ever.
#[test]
fn rounded_timeout_keeps_no_other_waiting() {
    let server = Server::plain(Brand::Redis);
    let proxy = before(&server, Mode::Enforce, "");
    let mut held = Vec::new();
    for timeout in ["-0.0005", "-0.0009", "-0", "-1e-9", "-0.001"] {
        for request in
            [vec!["BLPOP", "app1:none", timeout], vec!["BLMPOP", timeout, "1", "app1:none", "LEFT"]]
        {
            let mut client = proxy.client();
            client.send(&request);
            held.push(client);
            wait_until("others are served", || {
                let mut other = proxy.client();
                other.ask(&["GET", "app1:1"]) == b"$-1\r\n"
            });
        }
    }
    assert!(server.info("clients", "blocked_clients") > 0);
}

/// What an operator takes away is away at the next command, and what is queued does not run.
#[test]
fn new_policy_holds_at_the_next_command() {
    let server = Server::plain(Brand::Redis);
    server.observer().ask(&["SET", "app2:str", SECRET]);
    let proxy = Proxy::with_policy(&server, "+@all ~app1:* ~app2:* &app1:* &app2:*", "");
    let mut client = proxy.client();
    assert!(has(&client.ask(&["GET", "app2:str"]), SECRET));
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    assert_eq!(client.ask(&["GET", "app2:str"]), b"+QUEUED\r\n");
    proxy.reconfigure("~app1:* ~app2:* &app1:* &app2:*", "~app1:* &app1:*");
    proxy.hang_up();
    wait_until("the policy is in force", || {
        proxy.client().ask(&["GET", "app2:str"]).starts_with(b"-NOPERM")
    });
    let executed = client.ask(&["EXEC"]);
    assert!(executed.starts_with(b"-EXECABORT"), "{}", executed.escape_ascii());
    assert!(client.ask(&["GET", "app2:str"]).starts_with(b"-NOPERM"));
    assert_eq!(client.ask(&["GET", "app1:1"]), b"$-1\r\n");
}

/// A prefix of characters that mean something in patterns is nothing but itself.
#[test]
fn prefix_is_no_pattern() {
    let server = Server::new(Brand::Redis, false, &["--notify-keyspace-events", "KEA"]);
    for prefix in ["a*:", "?", "[^x]", "a\\*", "*", "a[b", "^-]*"] {
        let mut observer = server.observer();
        assert_eq!(observer.ask(&["FLUSHALL"]), b"+OK\r\n");
        for name in ["ab:1", "b1", "x1", "a1", "a\\1", "ab1", "\\", "a", "hidden9", "^-]"] {
            observer.ask(&["SET", name, SECRET]);
        }
        let keys = format!(
            "[policy.keys]\nmode = \"rewrite\"\nprefix = {prefix:?}\nflushdb = true\ndbsize = true\n"
        );
        let proxy = Proxy::with_policy(&server, "+@all ~* &*", &keys);
        let (mut client, mut listener) = (proxy.client(), proxy.client());
        assert!(listener.ask(&["HELLO", "3"]).starts_with(b"%"));
        listener.ask(&["PSUBSCRIBE", "*"]);
        listener.ask(&["PSUBSCRIBE", "__keyspace@*__:*"]);
        listener.ask(&["CLIENT", "TRACKING", "ON", "BCAST"]);
        let mut foreign = server.observer();
        for channel in ["ab:c", "x", "hidden9", "a"] {
            foreign.ask(&["SUBSCRIBE", channel]);
            observer.ask(&["PUBLISH", channel, SECRET]);
            observer.ask(&["SET", "hidden9", SECRET]);
        }
        assert_eq!(client.ask(&["KEYS", "*"]), b"*0\r\n", "{prefix}");
        assert_eq!(client.ask(&["DBSIZE"]), b":0\r\n", "{prefix}");
        assert_eq!(client.ask(&["PUBSUB", "CHANNELS"]), b"*0\r\n", "{prefix}");
        let page = client.ask(&["SCAN", "0", "COUNT", "1000"]);
        assert_eq!(page, b"*2\r\n$1\r\n0\r\n*0\r\n", "{prefix}");
        assert_eq!(client.ask(&["FLUSHDB"]), b"+OK\r\n");
        assert_eq!(observer.ask(&["DBSIZE"]), b":10\r\n", "{prefix}");
        client.ask(&["SET", "k1", "v"]);
        assert_eq!(client.ask(&["KEYS", "*"]), b"*1\r\n$2\r\nk1\r\n", "{prefix}");
        assert_eq!(client.ask(&["PUBLISH", "c1", "m1"]), b":1\r\n", "{prefix}");
        assert_eq!(client.ask(&["FLUSHDB"]), b"+OK\r\n");
        assert_eq!(client.ask(&["DBSIZE"]), b":0\r\n");
        assert_eq!(observer.ask(&["DBSIZE"]), b":10\r\n", "{prefix}");
        listener.send(&["ECHO", "end"]);
        let mut received = Vec::new();
        while !received.ends_with(b"$3\r\nend\r\n") {
            let Got::Reply(frame) = listener.next(PATIENCE) else { panic!("{prefix}") };
            received.extend(frame);
        }
        assert!(
            has(&received, "m1") && has(&received, "__keyspace@0__:k1"),
            "{}",
            received.escape_ascii()
        );
        assert!(
            !has(&received, SECRET) && !has(&received, "hidden9"),
            "{}",
            received.escape_ascii()
        );
    }
}

/// What follows SELECT at once is judged by the database that it selects.
#[test]
fn commands_behind_select_are_judged_after_its_answer() {
    let server = Server::plain(Brand::Redis);
    for sections in ["", "[upstream.pool]\nmode = \"session\"\n"] {
        let proxy = before(&server, Mode::Enforce, sections);
        for transaction in [false, true] {
            let mut lines = vec!["SELECT 1", "SET app1:s v", "COPY app1:s app1:c DB 0", "SELECT 0"];
            if transaction {
                lines.insert(0, "MULTI");
                lines.push("EXEC");
            }
            let words = |line: &&str| encode(&line.split(' ').collect::<Vec<_>>());
            let mut client = proxy.client();
            client.send_raw(&lines.iter().flat_map(words).collect::<Vec<_>>());
            let replies: Vec<_> = lines.iter().map(|_| client.reply()).collect();
            assert!(replies.iter().any(|reply| reply.starts_with(b"-NOPERM respgate: 'copy'")));
            assert_eq!(server.observer().ask(&["EXISTS", "app1:c"]), b":0\r\n", "{sections}");
        }
    }
}

/// Every reply comes once and in its place, whatever is refused between them.
#[test]
fn replies_stay_in_their_order() {
    let server = Server::mutual_tls(Brand::Redis);
    for mode in [Mode::Enforce, Mode::Rewrite] {
        let proxy = before(&server, mode, "");
        let mut client = proxy.client();
        let mut bytes = Vec::new();
        let refused: [&[&str]; 7] = [
            &["FLUSHALL"],
            &["NO\r\n+1\r\n"],
            &["SORT", "app1:l", "NONSENSE"],
            &["RANDOMKEY"],
            &["PSUBSCRIBE", "__*"],
            &["OBJECT", "a\r\n$1\r\n"],
            &["CLIENT", "TRACKING", "ON", "REDIRECT", "1"],
        ];
        for round in 0..200_usize {
            bytes.extend(encode(&["ECHO", &format!("e{round}")]));
            bytes.extend(encode(refused[round % refused.len()]));
        }
        client.send_raw(&bytes);
        for round in 0..200_usize {
            let echo = client.reply();
            assert!(
                echo.ends_with(format!("\r\ne{round}\r\n").as_bytes()),
                "{}",
                echo.escape_ascii()
            );
            let error = client.reply();
            assert!(error.starts_with(b"-"), "{round}: {}", error.escape_ascii());
        }
    }
}

/// Refused requests of a client that has turned replies off leave no reply behind.
#[test]
fn silence_hides_refusals_too() {
    let server = Server::plain(Brand::Redis);
    let proxy = before(&server, Mode::Enforce, "");
    let mut client: Client = proxy.client();
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["GET", "app2:str"]);
    client.send(&["SUBSCRIBE", "app2:news"]);
    client.send(&["MGET", "app1:1", "app2:str"]);
    assert_eq!(client.ask(&["CLIENT", "REPLY", "ON"]), b"+OK\r\n");
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["GET", "app2:str"]);
    assert_eq!(client.ask(&["ECHO", "1"]), b"$1\r\n1\r\n");
}

/// Rules that are only observed do not unlock what a prefix holds.
#[test]
fn observing_does_not_take_the_prefix_away() {
    let server = Server::plain(Brand::Redis);
    server.observer().ask(&["SET", "app2:str", SECRET]);
    let text = policy(Mode::Rewrite, "");
    let keys = text.split_once("[policy.keys]").unwrap().1;
    let sections = format!("[policy.keys]{keys}");
    let proxy = Proxy::with_policy(&server, "+get +ping ~own* &*", &sections);
    proxy.reconfigure("[policy]\n", "[policy]\nmode = \"observe\"\n");
    proxy.hang_up();
    wait_until("the policy is in force", || proxy.client().ask(&["SET", "k", "1"]) == b"+OK\r\n");
    let mut client = proxy.client();
    for line in [
        "KEYS *",
        "SCAN 0 COUNT 1000",
        "MGET app2:str k",
        "EVAL x 9 app2:str",
        "SORT k GET NO STORE",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = client.ask(&words);
        assert!(!has(&reply, SECRET) && !has(&reply, "app2"), "{line}: {}", reply.escape_ascii());
    }
    for line in
        ["FLUSHALL", "RANDOMKEY", "MIGRATE h 1 k 0 1", "DEBUG OBJECT k", "SWAPDB 0 1", "MONITOR"]
    {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(client.ask(&words).starts_with(b"-NOPERM"), "{line}");
    }
    assert!(has(&server.observer().ask(&["GET", "app2:str"]), SECRET));
}

/// What respgate answers itself takes room too, while it must wait or is queued.
#[test]
fn own_answers_do_not_fill_the_memory() {
    const GROWTH_MAX: u64 = 18 << 20;
    let server = Server::plain(Brand::Redis);
    let limits = "[limits]\nmax_transaction = \"1MiB\"\noutput_soft = \"1MiB\"\n";
    let proxy = before(&server, Mode::Enforce, limits);
    let begin = proxy.memory("VmRSS");
    let mut queued = proxy.client();
    assert_eq!(queued.ask(&["MULTI"]), b"+OK\r\n");
    let name = "x".repeat(60_000);
    for _ in 0..1000 {
        queued.ask(&["CLIENT", "SETNAME", &name]);
    }
    assert!(queued.ask(&["EXEC"]).starts_with(b"-EXECABORT"));
    let mut waiting = proxy.client();
    waiting.send(&["BLPOP", "app1:none", "0"]);
    let refused = encode(&["GET", "app2:x"]);
    waiting.send_raw(&refused.repeat(250_000));
    std::thread::sleep(Duration::from_millis(1500));
    let grown = proxy.memory("VmRSS").saturating_sub(begin);
    assert!(grown < GROWTH_MAX, "{grown}");
    assert_eq!(proxy.client().ask(&["RPUSH", "app1:none", "e1"]), b":1\r\n");
    assert!(has(&waiting.reply(), "e1"));
    for round in 0..250_000 {
        assert!(waiting.reply().starts_with(b"-NOPERM"), "{round}");
    }
}

/// A request with many arguments costs its own client time, and no other.
#[test]
fn many_arguments_delay_no_other_client() {
    let server = Server::plain(Brand::Redis);
    for mode in [Mode::Enforce, Mode::Rewrite] {
        let proxy = before(&server, mode, "");
        let many = |begin: &[&str], each: &str| {
            let mut words: Vec<&str> = begin.to_vec();
            words.resize(200_000, each);
            encode(&words)
        };
        let requests = [
            many(&["ZUNIONSTORE", "app1:d", "01"], "app2:k"),
            many(&["EVAL", "return 1", "01"], "app1:k"),
            many(&["XREAD", "COUNT", "1", "STREAMS", "app1:x"], "0"),
            many(&["MGET"], "app1:k"),
            many(&["SCAN", "0", "MATCH", "app1:*"], "MATCH"),
            many(&["SORT", "app1:l"], "GET"),
            many(&["CLIENT", "TRACKING", "ON"], "PREFIX"),
            many(&["COPY", "app1:a", "app1:b"], "DB"),
            many(&["PUBSUB", "NUMSUB"], "app1:c"),
            many(&["CLIENT", "LIST", "ID"], "1"),
            many(&["NOSUCH"], "app2:k"),
            many(&["MIGRATE", "h", "1", "", "0", "1"], "KEYS"),
        ];
        let mut client = proxy.client();
        for request in requests {
            client.send_raw(&request);
            let mut other = proxy.client();
            assert_eq!(other.ask(&["GET", "app1:n"]), b"$-1\r\n");
            client.reply();
        }
    }
}
