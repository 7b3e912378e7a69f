//! An application's own work among all of this: every form of every command with its own names.
//!
//! Owns: what is compared with a server that has no respgate before it. Never knows: attacks.

use super::support::client::{Client, Target, encode};
use super::support::forms::forms;
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server};
use super::world::{Mode, Words, policy};
use respgate::internals::command::{self, Effect};

/// Replies that are not the same twice, or describe the server itself; a second that may pass meanwhile.
const VARY: &[&str] = &[
    "srandmember",
    "spop",
    "hrandfield",
    "zrandmember",
    "object|idletime",
    "object|freq",
    "debug",
    "move",
    "migrate",
    "pttl",
    "ttl",
    "client|tracking",
    "memory|usage",
    "wait",
    "scan",
    "keys",
    "dump",
    "pfdebug",
    "xadd",
    "xinfo|stream",
    "cluster|getkeysinslot",
    "restore",
    "expire",
    "pexpire",
    "setex",
    "psetex",
    "hexpire",
    "hpexpire",
    "restore-asking",
];

/// What makes keys of every type, values that begin with the prefix among them.
const BEFORE: &[&str] = &[
    "SET {a}0 app1:v",
    "SET {a}1 app1:app1:",
    "RPUSH {a}list1 app1:e1 app1: app1",
    "HSET {a}h1 app1:f app1:v",
    "SADD {a}set1 app1:m",
    "ZADD {a}z1 1 app1:m",
    "XADD {a}x1 1-1 app1:f app1:v",
    "XGROUP CREATE {a}x1 g1 0",
    "SET {a}app1: inside",
    "SET {a} empty",
    "SET {a}\0\u{1}\r\n binary",
];

/// Sent after that; names in the replies are those of the application itself.
const AFTER: &[&str] = &[
    "GET {a}0",
    "GET {a}1",
    "MGET {a}0 {a}1 {a}app1:",
    "LRANGE {a}list1 0 -1",
    "HGETALL {a}h1",
    "GET {a}",
    "SMEMBERS {a}set1",
    "ZRANGE {a}z1 0 -1 WITHSCORES",
    "XRANGE {a}x1 - +",
    "GET {a}\0\u{1}\r\n",
    "XREAD STREAMS {a}x1 0",
    "XREADGROUP GROUP g1 c1 STREAMS {a}x1 >",
    "XREADGROUP GROUP g9 c1 STREAMS {a}x1 >",
    "XPENDING {a}x1 g1",
    "XPENDING {a}x1 none1",
    "XINFO GROUPS {a}x1",
    "XGROUP DELCONSUMER {a}x1 none1 c1",
    "BLPOP {a}list1 0.01",
    "LMPOP 1 {a}list1 LEFT",
    "BLMPOP 0.01 1 {a}list1 LEFT",
    "BRPOP {a}none1 0.01",
    "ZMPOP 1 {a}z1 MIN",
    "BZPOPMIN {a}z1 0.01",
    "PUBSUB CHANNELS {a}*",
    "PUBSUB NUMSUB {a}c1",
    "PUBLISH {a}c1 app1:m",
    "COPY {a}0 {a}c0 DB 0 REPLACE",
    "OBJECT HELP",
    "MEMORY USAGE {a}none1",
    "SORT {a}list1 BY {a}w* GET {a}w* ALPHA",
    "GETRANGE {a}1 0 4",
    "LCS {a}0 {a}1",
    "APPEND {a}0 app1:",
    "SET {a}0 app1:w GET",
    "COMMAND GETKEYS GET {a}0",
    "MULTI",
    "GET {a}1",
    "XREAD STREAMS {a}x1 0",
    "LPOP {a}none1",
    "EXEC",
    "CLIENT TRACKINGINFO",
    "SUBSCRIBE {a}c1 {a}c2",
    "PSUBSCRIBE {a}*",
    "PING x1",
    "UNSUBSCRIBE {a}c1 {a}c2",
    "PUNSUBSCRIBE",
    "WATCH {a}0",
    "UNWATCH",
];

fn words(line: &str, own: &str) -> Words {
    line.split(' ').map(|word| word.replace("{a}", own).into_bytes()).collect()
}

fn send_words(client: &mut Client, words: &Words) -> Vec<u8> {
    client.send_raw(&encode(words));
    let mut all = client.reply();
    let first = words[0].to_ascii_lowercase();
    if first.ends_with(b"subscribe") {
        let acks = (words.len() - 1).max(1);
        (1..acks).for_each(|_| all.extend(client.reply()));
    }
    all
}

/// Both sides receive the same requests: in the prefixed mode the plain server receives them without a prefix.
fn compare(brand: Brand, mode: Mode, resp3: bool) {
    let (plain, behind) = (Server::plain(brand), Server::plain(brand));
    let text = policy(mode, "+@all");
    let (acl, sections) = text.split_once('\n').unwrap();
    let acl = acl.split('"').nth(1).unwrap();
    let proxy = Proxy::with_policy(&behind, acl, sections);
    let mut straight = Client::connect(&plain.target()).unwrap();
    if mode == Mode::Enforce {
        let user: Vec<&str> =
            ["ACL", "SETUSER", "app", "on", "nopass"].into_iter().chain(acl.split(' ')).collect();
        assert_eq!(plain.observer().ask(&user), b"+OK\r\n");
        assert_eq!(straight.ask(&["AUTH", "app", "x"]), b"+OK\r\n");
    }
    let mut through = Client::connect(&target(&proxy)).unwrap();
    if resp3 {
        assert!(straight.ask(&["HELLO", "3"]).starts_with(b"%"));
        assert!(through.ask(&["HELLO", "3"]).starts_with(b"%"));
    }
    let own = if mode == Mode::Enforce { "app1:" } else { "" };
    let mut both = |words: &Words| {
        let (expected, got) = (send_words(&mut straight, words), send_words(&mut through, words));
        let shown = words.join(&b' ').escape_ascii().to_string();
        // Words that only another version knows are refused in respgate's own way.
        if expected.starts_with(b"-ERR unknown") || expected.starts_with(b"-ERR syntax") {
            assert!(got.starts_with(b"-ERR"), "{shown}: {}", got.escape_ascii());
            return;
        }
        // The server's own rule about BY and GET is stricter.
        if words[0].starts_with(b"SORT") && expected.starts_with(b"-ERR BY option") {
            return;
        }
        let (expected, got) = (expected.escape_ascii(), got.escape_ascii());
        assert_eq!(got.to_string(), expected.to_string(), "{shown} {brand:?} {mode:?}");
    };
    for line in BEFORE.iter().chain(AFTER) {
        both(&words(line, own));
    }
    for spec in command::all().iter().filter(|spec| {
        !VARY.contains(&spec.name)
            && !matches!(spec.effect, Effect::Never | Effect::Subscribe | Effect::Unsubscribe)
    }) {
        for form in forms(spec, "app1:") {
            both(&form.words);
        }
    }
}

fn target(proxy: &Proxy) -> Target {
    proxy.target().clone()
}

#[test]
fn no_work_of_ones_own_is_refused() {
    for mode in [Mode::Enforce, Mode::Rewrite] {
        for resp3 in [false, true] {
            compare(Brand::Redis, mode, resp3);
            if Brand::Valkey.available() {
                compare(Brand::Valkey, mode, resp3);
            }
        }
    }
}
