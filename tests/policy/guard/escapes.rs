//! Scripts that try to leave the namespace, each in the words of an attacker.
//!
//! Owns: the list of attacks and the server that they are tried on. Never knows: the guard.

use super::super::sha;
use super::super::support::client::{Client, Got, PATIENCE};
use super::super::support::proxy::Proxy;
use super::super::support::real_server::{Brand, Server};
use super::{POLICIES, server};

/// One attack a line; `\n`, `\r` and `\t` are written out.
const ATTACKS: &str = include_str!("attacks.txt");
/// The same, by what is handed to commands and what they answer.
const ATTACKS_BY_VALUES: &str = include_str!("attacks_values.txt");
/// What other applications' keys hold: no reply may show it.
pub(super) const CANARY: &str = "CANARY-7f3a";
/// Ways to have a function run, around `BODY`.
const WRAPPERS: [&str; 8] = [
    "BODY",
    "return (function() BODY end)()",
    "local ok,v = pcall(function() BODY end) return v",
    "local ok,v = xpcall(function() BODY end, function(e) return tostring(e) end) return v",
    "return coroutine.wrap(function() BODY end)()",
    "local _,v = xpcall(function() error('x') end, function() BODY end) return v",
    "return (string.gsub('x','x',function() local v=(function() BODY end)() return tostring(v) end))",
    "return setmetatable({},{__index=function() BODY end}).x",
];
/// What `BODY` may be.
const BODIES: [&str; 18] = [
    "return redis.call('GET','secret')",
    "return server.call('GET','secret')",
    "return _G.redis.call('GET','secret')",
    "return _G['server'].call('GET','secret')",
    "return getfenv(0).redis.call('GET','secret')",
    "return getfenv(2).server.call('GET','secret')",
    "return loadstring(\"return redis.call('GET','secret')\")()",
    "return load(loadstring('return nil'))",
    "return debug.getregistry()",
    "return getmetatable('').__index.redis",
    "return rawget(_G,'redis').call('GET','secret')",
    "redis.call('SET','stolen','1') return 1",
    "redis.pcall('RENAME','mine','stolen') return 1",
    "return redis.pcall('SORT','mylist','BY','nosort','GET','secret*')",
    "return redis.call('EVAL',\"return redis.call('GET','secret')\",0)",
    "local f=redis.call redis.call=nil return redis.call('GET','secret') or f('GET','secret')",
    "return setfenv(function() return redis end,{})().call('GET','secret')",
    "return require('redis').call('GET','secret')",
];

/// Keys of other applications, and some of the attacker's own.
pub(super) fn furnish(observer: &mut Client) {
    for line in [
        "SET secret CANARY-7f3a",
        "SET other:k CANARY-7f3a",
        "SADD secretset CANARY-7f3a",
        "RPUSH secretlist CANARY-7f3a",
        "ZADD secretzset 1 CANARY-7f3a",
        "HSET secrethash f CANARY-7f3a",
        "XADD secretstream 1-1 f CANARY-7f3a",
        "RPUSH app1:mylist 1 2",
        "SET secret1 CANARY-7f3a",
        "SET app1:mine x",
        "GEOADD app1:mygeo 0 0 a 0 0 STORE",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let reply = observer.ask_text(&words);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

/// The state of everything that is not the attacker's.
fn outside(observer: &mut Client) -> String {
    let script = "local t={} for d=0,1 do redis.call('SELECT',d) local k=redis.call('KEYS','*') \
                  table.sort(k) for _,n in ipairs(k) do if string.sub(n,1,5)~='app1:' or d==1 then \
                  t[#t+1]=n..redis.sha1hex(redis.call('DUMP',n))..redis.call('PTTL',n) end end end \
                  redis.call('SELECT',0) return redis.sha1hex(table.concat(t,' '))..#t";
    observer.ask_text(&["EVAL", script, "0"])
}

fn attacks() -> Vec<String> {
    let listed = ATTACKS.lines().chain(ATTACKS_BY_VALUES.lines()).filter(|line| !line.is_empty());
    let listed =
        listed.map(|line| line.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t"));
    let built =
        WRAPPERS.iter().flat_map(|wrapper| BODIES.iter().map(|body| wrapper.replace("BODY", body)));
    let mut all: Vec<String> = listed.chain(built).collect();
    // Local variables up to Lua's limit, and past it.
    for count in [150, 190, 198, 200, 201] {
        let names: Vec<String> = (0..count).map(|n| format!("l{n}")).collect();
        all.push(format!("local {}=1 return server.call('GET','secret')", names.join(",")));
        all.push(format!("local {}=1 return _G.redis.call('GET','secret')", names.join(",")));
    }
    all.push(format!("{} return redis.call('GET','secret')", "--[[x]] ".repeat(50_000)));
    all.push(format!("return redis.call('GET','secret') --{}", "x".repeat(300_000)));
    all
}

fn try_all(brand: Brand, (acl, sections): (&str, &str)) {
    if !brand.available() {
        return;
    }
    let server: Server = server(brand);
    let library = "#!lua name=l\nredis.register_function('leak', function() return redis.call('GET','secret') end)";
    let mut observer = server.observer();
    observer.ask(&["FUNCTION", "LOAD", library]);
    furnish(&mut observer);
    let proxy = Proxy::with_policy(&server, acl, sections);
    assail(&mut proxy.client(), &mut observer, sections);
}

/// Tries all attacks: none may show or change what is not the attacker's.
pub(super) fn assail(client: &mut Client, observer: &mut Client, sections: &str) {
    let before = outside(observer);
    let attacks = attacks();
    assert!(attacks.len() > 850, "{}", attacks.len());
    for (number, attack) in attacks.iter().enumerate() {
        let mut replies =
            vec![answer(client, &["EVAL", attack, "1", "app1:mine", "secret", "GET"])];
        match number % 3 {
            0 => replies.push(answer(client, &["EVAL", attack, "0", "secret", "GET"])),
            1 => {
                answer(client, &["SCRIPT", "LOAD", attack]);
                replies.push(answer(client, &["EVALSHA", &sha(attack), "0", "secret", "GET"]));
            }
            _ => {
                for words in [&["MULTI"][..], &["EVAL", attack, "0", "secret", "GET"], &["EXEC"]] {
                    replies.push(answer(client, words));
                }
            }
        }
        for reply in &replies {
            assert!(!reply.contains(CANARY), "{sections}{attack}: {reply}");
        }
        let now = outside(observer);
        assert_eq!(now, before, "{sections}{attack}: {replies:?}");
    }
}

fn answer(client: &mut Client, words: &[&str]) -> String {
    client.send(words);
    let Got::Reply(reply) = client.next(PATIENCE) else { panic!("no reply: {words:?}") };
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn no_script_escapes_on_redis() {
    POLICIES.into_iter().for_each(|policy| try_all(Brand::Redis, policy));
}

#[test]
fn no_script_escapes_on_valkey() {
    POLICIES.into_iter().for_each(|policy| try_all(Brand::Valkey, policy));
}
