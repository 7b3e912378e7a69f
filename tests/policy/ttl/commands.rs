//! Every write command of the table, on keys of every type, in and outside MULTI.
//!
//! Owns: the requests and the keys they find. Never knows: what is asked afterwards.

use respgate::internals::command::{self, Effect, Flags};

use super::support::client::{Client, encode, show};
use super::support::forms::forms;
use super::support::proxy::Proxy;
use super::support::real_server::{Brand, Server};
use super::{inject, offenders};

type Words = Vec<Vec<u8>>;

/// One request and the keys that it names.
struct Way {
    words: Words,
    keys: Words,
}

/// Forms besides the general ones: `{0}`, `{1}` are keys, `{d}` is what `DUMP` made.
const WAYS: &[&str] = &[
    "SET {0} v",
    "SET {0} v NX",
    "SET {0} v XX GET",
    "SET {0} v KEEPTTL",
    "SET {0} v XX KEEPTTL",
    "SET {0} v EX 100",
    "SET {0} v EX 100000",
    "set {0} v nx px 100000000",
    "SET {0} v EXAT 1",
    "SET {0} v EXAT 9000000000",
    "SET {0} v PXAT 9000000000000 GET",
    "SET {0} v EX 0",
    "SET {0} v EX -5",
    "SET {0} v EX 05",
    "SET {0} v EX many",
    "SET {0} v EX 9223372036854775807",
    "SET {0} v PX 9223372036854775807",
    "SET {0} v EX 10 PX 10000",
    "SET {0} v EX 100000 KEEPTTL",
    "SET {0} v FOO",
    "SET {0} v EX",
    "SET {0} v IFEQ v",
    "SET {0} v IFEQ v EX 100000",
    "SETEX {0} 100000 v",
    "SETEX {0} 0 v",
    "PSETEX {0} 100000000 v",
    "GETEX {0}",
    "GETEX {0} EX 100000",
    "GETEX {0} PXAT 9000000000000",
    "GETEX {0} PERSIST",
    "GETEX {0} FOO",
    "EXPIRE {0} 100000",
    "EXPIRE {0} 100000 NX",
    "EXPIRE {0} 100000 XX",
    "EXPIRE {0} 100000 GT",
    "EXPIRE {0} 100000 LT",
    "EXPIRE {0} -1",
    "EXPIRE {0} many",
    "EXPIRE {0} 9223372036854775807",
    "PEXPIRE {0} 100000000",
    "EXPIREAT {0} 9000000000",
    "PEXPIREAT {0} 9000000000000 XX",
    "PERSIST {0}",
    "RESTORE {0} 0 {d}",
    "RESTORE {0} 0 {d} REPLACE",
    "RESTORE {0} 0 {d} REPLACE ABSTTL",
    "RESTORE {0} 100000000 {d} REPLACE",
    "RESTORE {0} 9000000000000 {d} REPLACE ABSTTL IDLETIME 5",
    "RESTORE {0} -1 {d} REPLACE",
    "RESTORE {0} 9223372036854775807 {d} REPLACE",
    "MSETEX 2 {0} 1 {1} 2",
    "MSETEX 2 {0} 1 {1} 2 KEEPTTL",
    "MSETEX 2 {0} 1 {1} 2 PX 100000000",
    "HSETEX {0} EX 100000 FIELDS 1 f v",
    "HSETEX {0} FIELDS 1 f v",
    "HGETEX {0} PERSIST FIELDS 1 1",
    "HEXPIRE {0} 100000 FIELDS 1 1",
    "HPERSIST {0} FIELDS 1 1",
    "INCREX {0}",
    "INCREX {0} BYINT 2 EX 100000",
    "LINSERT {0} BEFORE 1 x",
    "LMOVE {0} {1} LEFT RIGHT",
    "LSET {0} 0 x",
    "XADD {0} 5-1 f v",
    "XADD {0} NOMKSTREAM 5-1 f v",
    "XGROUP CREATE {0} new $ MKSTREAM",
    "XGROUP CREATECONSUMER {0} g c",
    "XGROUP SETID {0} g 0",
    "XCLAIM {0} g c 0 1-1 FORCE JUSTID",
    "XAUTOCLAIM {0} g c 0 0",
    "XREADGROUP GROUP g c STREAMS {0} >",
    "XSETID {0} 9-9",
    "XTRIM {0} MAXLEN 0",
    "ZADD {0} XX INCR 1 1",
    "ZADD {0} GT CH 5 new",
    "ZRANGESTORE {0} {1} 0 -1",
    "GEOSEARCHSTORE {0} {1} FROMLONLAT 0 0 BYRADIUS 9000 km",
    "GEOADD {0} 1 1 m",
    "SORT {0} BY nosort STORE {1}",
    "SORT {0} ALPHA STORE {0}",
    "COPY {0} {1} REPLACE",
    "COPY {0} {1} DB 0",
    "RENAME {0} {0}",
    "BITOP NOT {1} {0}",
    "BITFIELD {0} INCRBY u8 0 1 GET u8 0",
    "SETRANGE {0} 5 x",
    "EVAL redis.call('set',KEYS[1],'x') 1 {0}",
    "EVAL redis.call('set',KEYS[1],'x','EX','100000') 1 {0}",
    "EVAL redis.call('persist',KEYS[1]) 1 {0}",
    "EVAL redis.call('lpush',KEYS[2],'x') 2 {0} {1}",
    "FCALL make 2 {0} {1}",
];

const FUNCTION: &str = "#!lua name=ttl
redis.register_function('make', function(keys)
    for _, key in ipairs(keys) do redis.call('SET', key, 'x') end
    return 'made'
end)";

/// Every key given becomes of the type of the first argument, with a time to live.
const PREPARE: &str = "
    local kind = ARGV[1]
    redis.call('FLUSHALL')
    for _, key in ipairs(KEYS) do
        if redis.call('EXISTS', key) == 1 then
        elseif kind == 'string' then redis.call('SET', key, '1')
        elseif kind == 'hll' then redis.call('PFADD', key, '1')
        elseif kind == 'list' then redis.call('RPUSH', key, '1', '2')
        elseif kind == 'set' then redis.call('SADD', key, '1')
        elseif kind == 'zset' then redis.call('ZADD', key, '1', '1')
        elseif kind == 'geo' then redis.call('GEOADD', key, '0', '0', 'STORE')
        elseif kind == 'hash' then redis.call('HSET', key, '1', '1')
        elseif kind == 'stream' then
            redis.call('XADD', key, '1-1', 'f', 'v')
            redis.call('XGROUP', 'CREATE', key, 'g', '0')
        end
        redis.call('EXPIRE', key, '500')
    end
    return #KEYS";

const KINDS: [&str; 9] = ["none", "string", "hll", "list", "set", "zset", "geo", "hash", "stream"];

#[derive(Clone, Copy, Debug)]
enum How {
    Alone,
    InMulti,
}

fn ways(dump: &[u8]) -> Vec<Way> {
    let writes = command::all().iter().filter(|spec| {
        spec.effect != Effect::Never
            && !spec.flags.has(Flags::READONLY)
            && spec.keys.iter().any(|keys| keys.may_write())
    });
    let general = writes.flat_map(|spec| forms(spec, "t:")).map(|form| {
        let keys = form.places.iter().map(|(place, _)| form.words[*place].clone()).collect();
        Way { words: form.words, keys }
    });
    let special = WAYS.iter().map(|line| {
        let word = |word: &str| match word {
            "{0}" => b"t:0".to_vec(),
            "{1}" => b"t:1".to_vec(),
            "{d}" => dump.to_vec(),
            word => word.into(),
        };
        Way {
            words: line.split(' ').map(word).collect(),
            keys: vec![b"t:0".to_vec(), b"t:1".to_vec()],
        }
    });
    general.chain(special).collect()
}

/// Whether the server knows the command: others have nothing to show.
fn is_known(observer: &mut Client, words: &Words) -> bool {
    let name = String::from_utf8_lossy(&words[0]).into_owned();
    observer.ask_text(&["COMMAND", "INFO", &name]).lines().count() > 2
}

fn prepare(observer: &mut Client, kind: &str, keys: &Words) {
    let mut request: Words = vec![b"EVAL".to_vec(), PREPARE.into(), keys.len().to_string().into()];
    request.extend(keys.iter().cloned());
    request.push(kind.into());
    observer.send_raw(&encode(&request));
    let reply = observer.reply();
    assert!(reply.starts_with(b":"), "{kind}: {}", show(&reply));
}

fn ask(client: &mut Client, words: &Words, how: How) -> Vec<Vec<u8>> {
    let wire = encode(words);
    match how {
        How::Alone => {
            client.send_raw(&wire);
            vec![client.reply()]
        }
        How::InMulti => {
            let wire = [encode(&["MULTI"]), wire, encode(&["EXEC"])].concat();
            client.send_raw(&wire);
            (0..3).map(|_| client.reply()).collect()
        }
    }
}

/// Runs every write command; `prefix` precedes every key on the server.
fn run_all(brand: Brand, protocol: &str, how: How, prefix: &str, sections: &str) {
    let straight = Server::plain(brand);
    let behind = Server::new(brand, brand == Brand::Redis, &[]);
    let proxy = Proxy::before(&behind, &(inject() + sections));
    let (mut plain, mut observer) = (straight.observer(), behind.observer());
    for server in [&mut plain, &mut observer] {
        server.ask(&["SET", "d", "v"]);
        let loaded = server.ask_text(&["FUNCTION", "LOAD", FUNCTION]);
        assert!(loaded.ends_with("ttl"), "{loaded}");
    }
    let dump = plain.ask(&["DUMP", "d"]);
    let begin = dump.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    let ways = ways(&dump[begin..dump.len() - 2]);
    let mut clients = [Client::connect(&straight.target()).unwrap(), proxy.client()];
    for client in &mut clients {
        client.ask(&["HELLO", protocol]);
    }
    let (mut tried, mut wrong) = (0, Vec::new());
    for way in ways.iter().filter(|way| is_known(&mut straight.observer(), &way.words)) {
        for kind in KINDS {
            prepare(&mut plain, kind, &way.keys);
            let keys: Words =
                way.keys.iter().map(|key| [prefix.as_bytes(), key].concat()).collect();
            prepare(&mut observer, kind, &keys);
            let [expected, got] = [0, 1].map(|side| ask(&mut clients[side], &way.words, how));
            let what = || format!("{} on {kind}", show(&way.words.join(&b' ')));
            let forbidden =
                |reply: &[u8]| !prefix.is_empty() && reply.starts_with(b"-NOPERM respgate: ");
            if expected != got && !got.iter().any(|reply| forbidden(reply)) {
                let texts = [&expected, &got].map(|replies| show(&replies.concat()));
                wrong.push(format!("{}: {} became {}", what(), texts[0], texts[1]));
            }
            let found = offenders(&mut observer);
            if !found.is_empty() {
                wrong.push(format!("{}: {found}", what()));
            }
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 1500, "{tried}");
}

#[test]
fn redis() {
    run_all(Brand::Redis, "2", How::Alone, "", "");
}

#[test]
fn redis_in_transactions() {
    run_all(Brand::Redis, "3", How::InMulti, "", "");
}

#[test]
fn redis_with_a_prefix_before_keys() {
    let sections = "[policy.keys]\nmode = 'rewrite'\nprefix = 'app1:'\n";
    run_all(Brand::Redis, "2", How::Alone, "app1:", sections);
    run_all(Brand::Redis, "3", How::InMulti, "app1:", sections);
}

#[test]
fn redis_with_a_connection_for_each_session() {
    run_all(Brand::Redis, "3", How::Alone, "", "[upstream.pool]\nmode = 'session'\n");
}

#[test]
fn valkey() {
    if Brand::Valkey.available() {
        run_all(Brand::Valkey, "3", How::Alone, "", "");
    }
}

#[test]
fn valkey_in_transactions() {
    if Brand::Valkey.available() {
        run_all(Brand::Valkey, "2", How::InMulti, "", "");
    }
}
