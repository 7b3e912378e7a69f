//! What harmless scripts answer: the same as on a server without a guard.
//!
//! Owns: the comparison, and the names that scripts go by. Never knows: the guard.

use super::super::support::client::Client;
use super::super::support::proxy::Proxy;
use super::super::support::real_server::{Brand, wait_until};
use super::super::{flush_scripts, sha};
use super::{POLICIES, server};

const HARMLESS: &str = include_str!("harmless.txt");

/// Replies that are different in their words alone: the line of an error that a tail call raises is not
/// known, and a server that prints no digest prints none.
fn in_common_words(reply: &str) -> String {
    reply
        .split(", on @user_script")
        .next()
        .unwrap_or_default()
        .split(" script: ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn compare(brand: Brand, (acl, sections): (&str, &str)) {
    let (plain, behind) = (server(brand), server(brand));
    let proxy = Proxy::with_policy(&behind, acl, sections);
    let (mut plain, mut guarded) = (plain.observer(), proxy.client());
    let mut different = Vec::new();
    for script in HARMLESS.lines().filter(|line| !line.is_empty()) {
        let script = script.replace("\\n", "\n");
        let words = ["EVAL", &script, "2", "k", "k", "v", "w"];
        let (one, two) = (plain.ask_text(&words), guarded.ask_text(&words));
        let tail_call = script.contains('\n') || !two.contains("@user_script");
        let equal = one == two
            || (tail_call
                && one.starts_with('-')
                && in_common_words(&one) == in_common_words(&two));
        if !equal {
            different.push(format!("{script:?}\n  plain   {one:?}\n  guarded {two:?}"));
        }
    }
    assert!(different.is_empty(), "{brand:?} {sections}\n{}", different.join("\n"));
}

#[test]
fn harmless_scripts_answer_as_without_a_guard() {
    let brands = [Brand::Redis, Brand::Valkey].into_iter();
    for brand in brands.filter(|brand| brand.available()) {
        compare(brand, POLICIES[0]);
    }
}

fn asked(client: &mut Client, words: &[&str]) -> String {
    client.ask_text(words)
}

#[test]
fn client_sees_its_own_names_of_scripts() {
    let server = server(Brand::Redis);
    let proxy = Proxy::with_policy(&server, POLICIES[0].0, POLICIES[0].1);
    let mut client = proxy.client();
    let text = "return redis.call('INCRBY',KEYS[1],ARGV[1])";
    let name = sha(text);
    let other = sha("return 'never sent'");
    assert_eq!(client.ask(&["EVALSHA", &name, "1", "n", "1"]), super::super::NOSCRIPT);
    assert_eq!(client.ask(&["SCRIPT", "EXISTS", &name, &other]), b"*2\r\n:0\r\n:0\r\n");
    assert_eq!(
        asked(&mut client, &["SCRIPT", "LOAD", text]),
        format!("$40\r\n{name}\r\n").trim_end()
    );
    assert_eq!(client.ask(&["SCRIPT", "EXISTS", &name, &other]), b"*2\r\n:1\r\n:0\r\n");
    assert_eq!(client.ask(&["EVALSHA", &name, "1", "n", "1"]), b":1\r\n");
    assert_eq!(client.ask(&["EVALSHA", &name.to_uppercase(), "1", "n", "1"]), b":2\r\n");
    // What the server has lost is sent again, guarded.
    flush_scripts(&server);
    assert_eq!(client.ask(&["EVALSHA", &name, "1", "n", "1"]), b":3\r\n");
    // A script of the operator's own is not there for the application.
    let leak = "return redis.call('GET','secret')";
    let mut observer = server.observer();
    observer.ask(&["SCRIPT", "LOAD", leak]);
    observer.ask(&["SET", "secret", "x"]);
    assert_eq!(client.ask(&["EVALSHA", &sha(leak), "0"]), super::super::NOSCRIPT);
    assert_eq!(client.ask(&["SCRIPT", "EXISTS", &sha(leak)]), b"*1\r\n:0\r\n");
    // In a transaction.
    assert_eq!(client.ask(&["MULTI"]), b"+OK\r\n");
    for words in [
        &["EVALSHA", &name, "1", "n", "1"][..],
        &["EVAL", "return KEYS", "1", "n"],
        &["SCRIPT", "LOAD", "return 5"],
        &["SCRIPT", "EXISTS", &name],
        &["EVALSHA", &other, "0"],
        &["EVAL", "\nreturn nil..1", "0"],
        &["GET", "n"],
    ] {
        assert_eq!(client.ask(words), b"+QUEUED\r\n");
    }
    let replies = asked(&mut client, &["EXEC"]);
    let expected = format!(
        "*7\r\n:4\r\n*1\r\n$1\r\nn\r\n$40\r\n{}\r\n*1\r\n:1\r\n-NOSCRIPT No matching script. Please use EVAL.\r\n\
         -ERR user_script:2: attempt to concatenate a nil value script: {}, on @user_script:2.\r\n$1\r\n4",
        sha("return 5"),
        sha("\nreturn nil..1"),
    );
    assert_eq!(replies, expected);
    // In errors.
    let wrong = "local x = 1\nlocal y = redis.call('LPOP','n')\nreturn y";
    let reply = asked(&mut client, &["EVAL", wrong, "0"]);
    let line = format!("script: {}, on @user_script:2.", sha(wrong));
    assert!(reply.starts_with("-WRONGTYPE") && reply.ends_with(&line), "{reply}");
    let reply = asked(&mut client, &["EVALSHA", &sha(wrong), "0"]);
    assert!(reply.starts_with("-WRONGTYPE") && reply.ends_with(&line), "{reply}");
    assert_eq!(server.observer().ask(&["GET", "app1:n"]), b"$1\r\n4\r\n");
}

/// `limits.max_repeated` of the moment when the client came holds inside scripts.
#[test]
fn elements_that_may_repeat_are_counted() {
    let server = server(Brand::Redis);
    let sections = format!("{}[limits]\nmax_repeated = 1000\n", POLICIES[0].1);
    let proxy = Proxy::with_policy(&server, POLICIES[0].0, &sections);
    let mut client = proxy.client();
    client.ask(&["SADD", "s", "m"]);
    client.ask(&["ZADD", "z", "1", "m"]);
    client.ask(&["HSET", "h", "f", "v"]);
    for (command, key) in [("SRANDMEMBER", "s"), ("ZRANDMEMBER", "z"), ("HRANDFIELD", "h")] {
        for text in [
            format!("return #redis.call('{command}',KEYS[1],ARGV[1])"),
            format!("return #redis.call('{}',KEYS[1],ARGV[1]+0)", command.to_lowercase()),
            format!("return #redis.pcall(unpack({{'{command}','{key}',ARGV[1]}}))"),
        ] {
            let mut ask = |count: &str| client.ask_text(&["EVAL", &text, "1", key, count]);
            assert_eq!(ask("-1000"), ":1000", "{text}");
            assert_eq!(ask("5000"), ":1", "{text}");
            let refused = ask("-1001");
            assert!(!refused.starts_with(':') || refused == ":0", "{text}: {refused}");
        }
        let text = format!("return redis.call('{command}',KEYS[1],'-100001')");
        let refused = client.ask_text(&["EVAL", &text, "1", key]);
        assert!(refused.contains("limits.max_repeated"), "{refused}");
    }
    proxy.reconfigure("max_repeated = 1000", "max_repeated = 2000");
    proxy.hang_up();
    let text = "return #redis.call('SRANDMEMBER',KEYS[1],-2000)";
    wait_until("the new limit is in force", || {
        proxy.client().ask(&["EVAL", text, "1", "s"]) == b":2000\r\n"
    });
}
