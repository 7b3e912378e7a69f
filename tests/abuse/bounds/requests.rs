//! Requests that are too large, large, or just not large.
//!
//! Owns: the cases. Never knows: replies of a size of their own.

use super::*;

const SMALL_BULKS: &str = "max_bulk = \"1MiB\"";

/// The error is in the request's place; requests before and behind it in the same write are served.
#[test]
fn oversize_argument_is_answered_in_its_place() {
    let (server, proxy) = stage(SMALL_BULKS);
    let big = filler(2 * MIB);
    let mut client = proxy.client();
    let pipeline = [
        encode(&["SET", "a", "1"]),
        words(&["SET", "big"], &big),
        encode(&["INCR", "a"]),
        // Two in one request, and a good argument between them.
        encode(&[&b"MSET"[..], b"b", &big, b"c", b"1", b"d", &big]),
        encode(&["GET", "a"]),
        encode(&[&big[..], b"x"]),
        encode(&["PING"]),
    ];
    client.send_raw(&pipeline.concat());
    expect(&mut client, b"+OK\r\n");
    expect_error(&mut client, &["2097152 bytes", "limits.max_bulk (1048576 bytes)"]);
    expect(&mut client, b":2\r\n");
    expect_error(&mut client, &["limits.max_bulk", "not executed"]);
    expect(&mut client, b"$1\r\n2\r\n");
    expect_error(&mut client, &["limits.max_bulk"]);
    expect(&mut client, b"+PONG\r\n");
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":1\r\n");
    assert!(proxy.metric("respgate_client_protocol_errors_total{kind=\"too_large\"}") >= 3.0);
}

/// The first part of the request has been sent to the server when the oversize argument shows.
#[test]
fn oversize_argument_inside_a_streamed_request() {
    let (server, proxy) = stage(SMALL_BULKS);
    let (large, big) = (filler(100 * KIB), filler(2 * MIB));
    let mut client = proxy.client();
    let pipeline = [
        encode(&["SET", "a", "1"]),
        encode(&[&b"RPUSH"[..], b"list", &large, &big, &large]),
        encode(&["INCR", "a"]),
        words(&["SET", "b"], &large),
    ];
    client.send_raw(&pipeline.concat());
    expect(&mut client, b"+OK\r\n");
    expect_error(&mut client, &["limits.max_bulk", "not executed"]);
    expect(&mut client, b":2\r\n");
    expect(&mut client, b"+OK\r\n");
    assert_eq!(server.observer().ask(&["EXISTS", "list"]), b":0\r\n");
    assert_eq!(server.observer().ask(&["STRLEN", "b"]), b":102400\r\n");
}

#[test]
fn oversize_argument_spoils_a_transaction() {
    let (server, proxy) = stage(SMALL_BULKS);
    let mut client = proxy.client();
    let pipeline = [
        encode(&["MULTI"]),
        encode(&["SET", "a", "1"]),
        words(&["SET", "b"], &filler(2 * MIB)),
        encode(&["EXEC"]),
        encode(&["PING"]),
    ];
    client.send_raw(&pipeline.concat());
    expect(&mut client, b"+OK\r\n");
    expect(&mut client, b"+QUEUED\r\n");
    expect_error(&mut client, &["limits.max_bulk"]);
    expect(&mut client, b"-EXECABORT Transaction discarded because of previous errors.\r\n");
    expect(&mut client, b"+PONG\r\n");
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":0\r\n");
}

/// On both sides of the border where requests and replies begin to be streamed.
#[test]
fn requests_and_replies_around_the_border_of_large_are_whole() {
    let (server, proxy) = stage("");
    for hello in ["2", "3"] {
        let mut client = proxy.client();
        client.ask(&["HELLO", hello]);
        for length in [65_534, 65_535, 65_536, 65_537, 70_000, 131_071, 131_072] {
            let value = filler(length);
            let pipeline = [
                encode(&["SET", "n", "1"]),
                words(&["SET", "k"], &value),
                encode(&["INCR", "n"]),
                encode(&["GET", "k"]),
                words(&["ECHO"], &value),
                words(&["GETSET", "k"], &value[1..]),
                encode(&["STRLEN", "k"]),
                encode(&["INCR", "n"]),
            ];
            client.send_raw(&pipeline.concat());
            expect(&mut client, b"+OK\r\n");
            expect(&mut client, b"+OK\r\n");
            expect(&mut client, b":2\r\n");
            for _ in 0..3 {
                expect(&mut client, &bulk(&value));
            }
            expect(&mut client, format!(":{}\r\n", length - 1).as_bytes());
            expect(&mut client, b":3\r\n");
        }
    }
    assert_eq!(server.observer().ask(&["GET", "k"]), bulk(&filler(131_072)[1..]));
}

#[test]
fn five_megabytes_cut_anywhere() {
    let (server, proxy) = stage("");
    let value = filler(5 * MIB);
    let request = words(&["SET", "k"], &value);
    for step in [1460, 65_536, 1_000_003] {
        let mut client = proxy.client();
        for piece in request.chunks(step) {
            client.send_raw(piece);
        }
        expect(&mut client, b"+OK\r\n");
        client.send(&["GET", "k"]);
        expect(&mut client, &bulk(&value));
    }
    assert_eq!(server.observer().ask(&["STRLEN", "k"]), b":5242880\r\n");
}

/// Where keys come behind the first large value, the request is read whole before it is judged.
#[test]
fn keys_behind_a_large_value_are_judged() {
    let server = Server::mutual_tls(Brand::Redis);
    let scripts = "[policy.scripts]\nmode = \"declared-keys\"\n";
    let proxy = Proxy::with_policy(&server, "+@all ~app1:*", scripts);
    let value = filler(5 * MIB);
    let mut client = proxy.client();
    let mset = |second: &str| encode(&[&b"MSET"[..], b"app1:a", &value, second.as_bytes(), b"1"]);
    client.send_raw(&mset("app2:b"));
    expect_error(&mut client, &["NOPERM"]);
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":0\r\n");
    client.send_raw(&[mset("app1:b"), encode(&["GET", "app1:b"])].concat());
    expect(&mut client, b"+OK\r\n");
    expect(&mut client, b"$1\r\n1\r\n");
    assert_eq!(server.observer().ask(&["STRLEN", "app1:a"]), b":5242880\r\n");

    let script = [b"--".to_vec(), filler(300 * KIB), b"\nreturn KEYS[1]".to_vec()].concat();
    let eval = |key: &str| encode(&[&b"EVAL"[..], &script, b"1", key.as_bytes()]);
    client.send_raw(&[eval("app1:a"), eval("app2:a"), encode(&["PING"])].concat());
    expect(&mut client, b"$6\r\napp1:a\r\n");
    expect_error(&mut client, &["NOPERM"]);
    expect(&mut client, b"+PONG\r\n");
}

#[test]
fn large_commands_in_a_transaction() {
    let (server, proxy) = stage("max_transaction = \"1MiB\"");
    let value = filler(200 * KIB);
    let mut client = proxy.client();
    let set = |key: &str| words(&["SET", key], &value);
    let some =
        [encode(&["MULTI"]), set("a"), set("b"), encode(&["STRLEN", "a"]), encode(&["EXEC"])];
    client.send_raw(&some.concat());
    expect(&mut client, b"+OK\r\n");
    for _ in 0..3 {
        expect(&mut client, b"+QUEUED\r\n");
    }
    expect(&mut client, b"*3\r\n+OK\r\n+OK\r\n:204800\r\n");
    server.observer().ask(&["FLUSHALL"]);

    let sets = ["a", "b", "c", "d", "e", "f", "g"].map(set).concat();
    client.send_raw(&[encode(&["MULTI"]), sets, encode(&["EXEC"]), encode(&["PING"])].concat());
    expect(&mut client, b"+OK\r\n");
    let answers: Vec<Vec<u8>> = (0..7).map(|_| client.reply()).collect();
    // Behind the error the transaction is lost, and its commands are answered with QUEUED as Redis does.
    assert_eq!(answers.iter().filter(|answer| **answer == b"+QUEUED\r\n").count(), 6);
    assert!(answers[5].starts_with(b"-ERR") && show(&answers[5]).contains("max_transaction"));
    expect_error(&mut client, &["EXECABORT"]);
    expect(&mut client, b"+PONG\r\n");
    assert_eq!(server.observer().ask(&["DBSIZE"]), b":0\r\n");
}

/// What one client holds on its connection is counted over its commands, and released with them.
#[test]
fn keys_that_one_client_watches_are_bounded() {
    for mode in ["", "[upstream.pool]\nmode = \"session\""] {
        watch_beyond_the_bound(&format!("max_watched = 10\n{mode}"));
    }
}

fn watch_beyond_the_bound(limits: &str) {
    let (_server, proxy) = stage(limits);
    let watch = |keys: std::ops::Range<usize>| {
        let names = keys.map(|n| format!("k{n}"));
        encode(&std::iter::once("WATCH".to_owned()).chain(names).collect::<Vec<_>>())
    };
    let mut client = proxy.client();
    client.send_raw(&[watch(0..11), watch(0..6), watch(6..11), watch(6..10)].concat());
    expect_error(&mut client, &["would watch 11 keys", "limits.max_watched is 10"]);
    expect(&mut client, b"+OK\r\n");
    expect_error(&mut client, &["would watch 11 keys"]);
    expect(&mut client, b"+OK\r\n");
    for ends in [&["UNWATCH"][..], &["MULTI", "EXEC"], &["MULTI", "DISCARD"]] {
        for word in ends {
            client.send(&[*word]);
            assert!(!client.reply().starts_with(b"-"), "{word}");
        }
        client.send_raw(&watch(0..10));
        expect(&mut client, b"+OK\r\n");
        client.send_raw(&watch(10..11));
        expect_error(&mut client, &["would watch 11 keys"]);
    }
}

#[test]
fn patterns_that_one_client_subscribes_to_are_bounded() {
    let (_server, proxy) = stage("max_patterns = 10");
    let words = |command: &str, patterns: std::ops::Range<usize>| {
        let names = patterns.map(|n| format!("p{n}*"));
        encode(&std::iter::once(command.to_owned()).chain(names).collect::<Vec<_>>())
    };
    let mut client = proxy.client();
    // The second is judged before the first is acknowledged.
    client.send_raw(&[words("PSUBSCRIBE", 0..6), words("PSUBSCRIBE", 6..11)].concat());
    for _ in 0..6 {
        assert!(client.reply().starts_with(b"*3\r\n$10\r\npsubscribe"));
    }
    expect_error(&mut client, &["would have 11 patterns", "limits.max_patterns is 10"]);
    client.send_raw(&words("PUNSUBSCRIBE", 0..17));
    expect_error(&mut client, &["each of 17 patterns with 6 of", "limits.max_patterns (10)"]);
    client.send_raw(&words("PUNSUBSCRIBE", 0..3));
    for _ in 0..3 {
        assert!(client.reply().starts_with(b"*3\r\n$12\r\npunsubscribe"));
    }
    // The same pattern twice is one, once it is acknowledged.
    for patterns in [3..6, 3..6, 6..13] {
        client.send_raw(&words("PSUBSCRIBE", patterns.clone()));
        for _ in patterns {
            assert!(client.reply().starts_with(b"*3\r\n$10\r\npsubscribe"));
        }
    }
    client.send_raw(&words("PSUBSCRIBE", 13..14));
    expect_error(&mut client, &["would have 11 patterns"]);

    let mut client = proxy.client();
    client.send_raw(&encode(&["MULTI"]));
    expect(&mut client, b"+OK\r\n");
    for pattern in 0..10 {
        client.send_raw(&words("PSUBSCRIBE", pattern..pattern + 1));
        expect(&mut client, b"+QUEUED\r\n");
    }
    client.send_raw(&[words("PSUBSCRIBE", 10..11), encode(&["EXEC"])].concat());
    expect_error(&mut client, &["would have 11 patterns"]);
    expect_error(&mut client, &["EXECABORT"]);
}

/// There is nothing that the server compares them with.
#[test]
fn names_to_unsubscribe_from_are_not_bounded_where_the_client_has_no_pattern() {
    let (_server, proxy) = stage("max_patterns = 10");
    for (command, hello) in [("UNSUBSCRIBE", "2"), ("PUNSUBSCRIBE", "2"), ("PUNSUBSCRIBE", "3")] {
        let mut client = proxy.client();
        client.send(&["HELLO", hello]);
        client.reply();
        let names = (0..20_000).map(|number| format!("name:{number}"));
        let words: Vec<String> = std::iter::once(command.to_owned()).chain(names).collect();
        client.send_raw(&encode(&words));
        for name in &words[1..] {
            let reply = show(&client.reply());
            assert!(reply.contains(name.as_str()), "{command}: {reply}");
        }
        client.send(&["PING"]);
        expect(&mut client, b"+PONG\r\n");
    }
}

/// All of a client's patterns end with one PUNSUBSCRIBE that names none, each with an acknowledgement.
#[test]
fn patterns_however_many_end_with_one_request() {
    let count = 20_000;
    let pool = "[upstream.pool]\ncommand_timeout = \"10m\"\nstall_timeout = \"10m\"";
    let (_server, proxy) = stage(&format!("max_patterns = {count}\n{pool}"));
    // The server compares each name with all others before it answers the first.
    let reply = |client: &mut Client| {
        let got = client.next(support::client::PATIENCE * 4);
        let Got::Reply(reply) = got else { panic!("a reply was due: {got:?}") };
        reply
    };
    for hello in ["2", "3"] {
        let mut client = proxy.client();
        client.send(&["HELLO", hello]);
        client.reply();
        let names = (0..count).map(|number| format!("name:{number}"));
        let words: Vec<String> = std::iter::once("PSUBSCRIBE".to_owned()).chain(names).collect();
        client.send_raw(&encode(&words));
        for number in 1..=count {
            assert!(reply(&mut client).ends_with(format!(":{number}\r\n").as_bytes()));
        }
        client.send_raw(&[encode(&["PUNSUBSCRIBE"]), encode(&["PING"])].concat());
        let mut names = std::collections::HashSet::new();
        for left in (0..count).rev() {
            let reply = show(&reply(&mut client));
            assert!(
                reply.contains("punsubscribe") && reply.contains(&format!(":{left}")),
                "{reply}"
            );
            assert!(names.insert(reply));
        }
        expect(&mut client, b"+PONG\r\n");
        client.send(&["ECHO", "a"]);
        expect(&mut client, b"$1\r\na\r\n");
    }
}

#[test]
fn prefixes_that_one_client_tracks_are_bounded() {
    let (_server, proxy) = stage("max_patterns = 10");
    let track = |prefixes: std::ops::Range<usize>| {
        let start = ["CLIENT", "TRACKING", "ON", "BCAST"].map(str::to_owned);
        let words = prefixes.flat_map(|n| ["PREFIX".to_owned(), format!("p{n:02}:")]);
        encode(&start.into_iter().chain(words).collect::<Vec<_>>())
    };
    let mut client = proxy.client();
    client.send(&["HELLO", "3"]);
    assert!(client.reply().starts_with(b"%"));
    client.send_raw(&[track(0..11), track(0..6), track(6..11)].concat());
    expect_error(&mut client, &["would have 11 prefixes", "limits.max_patterns is 10"]);
    expect(&mut client, b"+OK\r\n");
    expect_error(&mut client, &["would have 11 prefixes"]);
    client.send(&["CLIENT", "TRACKING", "OFF"]);
    expect(&mut client, b"+OK\r\n");
    client.send_raw(&track(0..10));
    expect(&mut client, b"+OK\r\n");
}

#[test]
fn elements_that_repeat_are_bounded() {
    let (server, proxy) = stage("max_repeated = 1000");
    let mut observer = server.observer();
    observer.ask(&["SADD", "s", "a"]);
    observer.ask(&["HSET", "h", "a", "1"]);
    observer.ask(&["ZADD", "z", "1", "a"]);
    let mut client = proxy.client();
    for (command, key) in [("SRANDMEMBER", "s"), ("HRANDFIELD", "h"), ("ZRANDMEMBER", "z")] {
        client.send(&[command, key, "-1000"]);
        assert!(client.reply().starts_with(b"*1000\r\n"));
        for count in ["-1001", "-4611686018427387904", "-9223372036854775807"] {
            client.send(&[command, key, count]);
            expect_error(&mut client, &["elements that may repeat", "limits.max_repeated is 1000"]);
        }
        client.send(&[command, key, "-9223372036854775808"]);
        assert!(show(&client.reply()).contains("is out of range"));
        client.send(&[command, key, "9223372036854775807"]);
        assert!(!show(&client.reply()).contains("respgate"));
        client.send(&[command, key, "-x"]);
        expect_error(&mut client, &["ERR value is not an integer"]);
    }
}

#[test]
fn arguments_and_lines_beyond_the_limits() {
    let (_server, proxy) = stage("max_args = 10\nmax_inline = \"1KiB\"");
    let mut client = proxy.client();
    client.send_raw(b"PING\r\n*11\r\n");
    expect(&mut client, b"+PONG\r\n");
    expect(
        &mut client,
        b"-ERR Protocol error: invalid multibulk length: limits.max_args is 10\r\n",
    );
    assert_eq!(client.next(support::client::PATIENCE), Got::End);
    let mut client = proxy.client();
    client.send_raw(&[b"PING ".to_vec(), vec![b'x'; 2 * KIB]].concat());
    expect(&mut client, b"-ERR Protocol error: too big inline request\r\n");
    assert_eq!(client.next(support::client::PATIENCE), Got::End);
}
