//! Random scripts under many policies: whatever they call, the server executes nothing that names a key,
//! a channel, a command or a database outside the policy.
//!
//! Owns: the policies, and what each permits. Never knows: the guard.

use respgate::internals::command::{self, KeySpec, Lookup};
use respgate::internals::resp::RequestBuf;

use super::super::support::choices::Choices;
use super::super::support::client::{Client, encode};
use super::super::support::forms::{escapes, forms};
use super::super::support::proxy::Proxy;
use super::super::support::real_server::Brand;
use super::super::support::seeds;
use super::calls::script;
use super::monitor::{Executed, Monitor, Named};
use super::server;

/// What keys of others hold.
const CANARY: &str = "CANARY-19ce";
/// A prefix of everything that Lua's patterns, globs and the guard's own template might take for more
/// than a text.
const ODD: &str = "a*b[c]?\\^%d-@PREFIX@\"':";

struct Bounds {
    acl: &'static str,
    sections: String,
    may: fn(&Named) -> bool,
    denied: &'static [&'static str],
    databases: &'static [u32],
    /// Milliseconds that every key written has to live at most; 0: it may live for ever.
    lives: i64,
}

impl Bounds {
    /// What the names of keys and channels at the server begin with.
    fn prefix(&self) -> &'static str {
        if self.sections.contains("@PREFIX@") { ODD } else { "app1:" }
    }
}

fn begins(named: &Named, prefix: &str) -> bool {
    named.name.starts_with(prefix.as_bytes())
}

fn in_app1(named: &Named) -> bool {
    begins(named, "app1:")
}

fn rewrite(prefix: &str, more: &str) -> String {
    format!("[policy.keys]\nmode = \"rewrite\"\nprefix = {prefix:?}\n{more}\n")
}

/// Everything within `app1:`.
fn usual(acl: &'static str, sections: &str) -> Bounds {
    let sections = sections.to_owned();
    Bounds { acl, sections, may: in_app1, denied: &[], databases: &[0], lives: 0 }
}

fn all_bounds() -> Vec<Bounds> {
    let mut all = bounds_of_keys();
    all.extend(other_bounds());
    all
}

fn bounds_of_keys() -> Vec<Bounds> {
    vec![
        usual("+@all ~* &*", &rewrite("app1:", "")),
        usual("+@all ~app1:* &app1:*", ""),
        Bounds {
            may: |named| {
                (!named.reads || begins(named, "app1:r"))
                    && (!named.writes || begins(named, "app1:w") || named.name == b"app1:c")
            },
            ..usual("+@all %R~app1:r* %W~app1:w* %W~app1:c &app1:c", "")
        },
        Bounds {
            may: |named| {
                in_app1(named)
                    && !begins(named, "app1:l")
                    && named.name.iter().all(u8::is_ascii_graphic)
            },
            ..usual(
                "+@all ~app1:* &app1:*",
                "[policy.keys]\ndeny = [\"app1:l*\"]\ncharset = \"printable\"\n",
            )
        },
        Bounds {
            may: |named| in_app1(named) && !begins(named, "app1:s") && named.name.len() <= 12,
            ..usual("+@all ~* &*", &rewrite("app1:", "deny = [\"s*\", \"secret\"]\nmax_bytes = 7"))
        },
        Bounds {
            may: |named| {
                ["app1:l", "app1:x", "app1:y", "app1:z", "app1:mine"]
                    .iter()
                    .any(|head| begins(named, head))
            },
            ..usual("+@all ~l* ~[xyz]* ~?ine &l*", &rewrite("app1:", ""))
        },
        Bounds {
            may: |named| {
                // Scans have the prefix's own glob characters escaped.
                let escaped = b"a\\*b\\[c\\]\\?\\\\\\^%d-@PREFIX@\"':";
                begins(named, ODD) || (named.is_pattern && named.name.starts_with(escaped))
            },
            ..usual("+@all ~* &*", &rewrite(ODD, ""))
        },
    ]
}

fn other_bounds() -> Vec<Bounds> {
    vec![
        Bounds {
            denied: &[
                "get",
                "mget",
                "sort",
                "sort_ro",
                "del",
                "hset",
                "hget",
                "object|encoding",
                "restore",
            ],
            ..usual(
                "+@all -@hash -get -mget -sort -sort_ro -del -object|encoding -restore ~app1:* &app1:*",
                "",
            )
        },
        Bounds { databases: &[0, 2], ..usual("+@all ~* &* db=0,2", &rewrite("app1:", "")) },
        Bounds {
            lives: 200_000,
            ..usual(
                "+@all ~* &*",
                &format!(
                    "{}[policy.ttl]\ndefault = \"100s\"\nmax = \"200s\"\non_missing = \"inject\"\n\
                     [policy.values]\nmax_bytes = 64\n",
                    rewrite("app1:", "")
                ),
            )
        },
    ]
}

/// Keys of every type, under each of these prefixes, in each database.
fn furnish(monitor: &mut Client, prefix: &str, value: &str, lives: i64) {
    for line in [
        "SET Pmine V",
        "SET Psecret V",
        "SET Pro V",
        "SET Pwo V",
        "RPUSH Plist 1 2 V",
        "ZADD Pzset 1 V 2 b",
        "HSET Phash f V",
        "SADD Psset V m",
        "XADD Pxstream 1-1 f V",
        "GEOADD Pgeo 0 0 V 0 0 STORE",
        "PFADD Pyhll V",
        "SET P V",
        "SET P1 V",
    ] {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| match word.strip_prefix('P') {
                Some(rest) if word != "PFADD" => format!("{prefix}{rest}"),
                _ => word.replace('V', value),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        monitor.ask(&words);
        if lives > 0 && !words[1].is_empty() {
            monitor.ask(&["PEXPIRE", words[1], &lives.to_string()]);
        }
    }
}

/// Names that scripts use: their own and those of others.
fn names(prefix: &str) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for name in [
        "mine", "secret", "ro", "wo", "list", "zset", "hash", "sset", "xstream", "geo", "yhll",
        "1", "c", "new", "",
    ] {
        names.push(name.into());
        names.push(format!("app1:{name}").into());
        names.push(format!("{prefix}{name}").into());
        names.push(format!("other:{name}").into());
    }
    names.extend(
        [
            &b"app1"[..],
            b"app1:\0x",
            b"\0app1:x",
            b"APP1:x",
            b"__keyevent@0__:set",
            b"__redis__:invalidate",
        ]
        .map(<[u8]>::to_vec),
    );
    names
}

/// A digest of everything that is not the application's, and how many of its own keys live for too long.
fn state(observer: &mut Client, bounds: &Bounds, prefix: &str) -> String {
    let script = "local t,old={},0 for d=0,2 do redis.call('SELECT',d) local k=redis.call('KEYS','*') \
                  table.sort(k) for _,n in ipairs(k) do \
                  local own=string.sub(n,1,#ARGV[1])==ARGV[1] and (d==0 or d==ARGV[2]+0) \
                  if not own then t[#t+1]=d..n..redis.sha1hex(redis.call('DUMP',n))..redis.call('PEXPIRETIME',n) \
                  elseif ARGV[3]+0>0 then local l=redis.call('PTTL',n) \
                  if l==-1 or l>ARGV[3]+0 then old=old+1 end end end end \
                  redis.call('SELECT',0) return redis.sha1hex(table.concat(t,' '))..#t..'/'..old";
    let second = bounds.databases.get(1).copied().unwrap_or(0).to_string();
    observer.ask_text(&["EVAL", script, "0", prefix, &second, &bounds.lives.to_string()])
}

fn judge(bounds: &Bounds, monitor: &mut Monitor, executed: &Executed) -> Result<(), String> {
    let Executed { database, words } = executed;
    let name = String::from_utf8_lossy(&words[0]).to_ascii_lowercase();
    let sub = words.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
    let whole = format!("{name}|{}", sub.unwrap_or_default());
    if bounds.denied.iter().any(|denied| *denied == name || *denied == whole) {
        return Err("the command".to_owned());
    }
    let known = |database: &[u8]| {
        std::str::from_utf8(database)
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|number| bounds.databases.contains(&number))
    };
    if !bounds.databases.contains(database) {
        return Err("the database".to_owned());
    }
    let other = match &*name {
        "select" => words.get(1),
        "move" => words.get(2),
        "copy" => words
            .windows(2)
            .skip(3)
            .rev()
            .find(|pair| pair[0].eq_ignore_ascii_case(b"db"))
            .map(|pair| &pair[1]),
        _ => None,
    };
    if other.is_some_and(|other| !known(other)) {
        return Err("another database".to_owned());
    }
    for named in monitor.names(words) {
        if named.name.is_empty() && counts_wrongly(words) {
            continue;
        }
        let may = if named.is_channel {
            named.name.starts_with(bounds.prefix().as_bytes())
        } else {
            (bounds.may)(&named)
        };
        if !may {
            return Err(format!("{named:?}"));
        }
    }
    Ok(())
}

/// Whether the server refuses the command for its number of keys, whatever they are.
fn counts_wrongly(words: &[Vec<u8>]) -> bool {
    let request = RequestBuf::from_args(words);
    let Lookup::Command(spec) = command::lookup(&request.as_request()) else { return false };
    let wrong = |spec: &KeySpec| {
        let KeySpec::Counted { count, step, .. } = spec else { return false };
        let numkeys = words.get(*count).and_then(|word| std::str::from_utf8(word).ok());
        let numkeys = numkeys.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let room = words.len().saturating_sub(*count + 1) / *step;
        numkeys
            .and_then(|text| text.parse().ok())
            .is_none_or(|keys: usize| keys == 0 || keys > room)
    };
    spec.keys.iter().any(wrong)
}

fn play(brand: Brand, bounds: &Bounds, seed: u64, scripts: usize) -> usize {
    let server = server(brand);
    let mut observer = server.observer();
    let prefix = bounds.prefix();
    for database in ["2", "1", "0"] {
        observer.ask(&["SELECT", database]);
        furnish(&mut observer, "", CANARY, 0);
        furnish(&mut observer, "other:", CANARY, 0);
        furnish(&mut observer, prefix, "v", bounds.lives / 2);
    }
    let proxy = Proxy::with_policy(&server, bounds.acl, &bounds.sections);
    let mut client = proxy.client();
    let before = state(&mut observer, bounds, prefix);
    let mut monitor = Monitor::of(&server);
    let mut random = Choices::from_seed(seed);
    let names = names(prefix);
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let mut count = 0;
    for number in 0..scripts {
        let (text, arguments) = script(&names, &mut random);
        let mut words = vec![b"EVAL".to_vec(), text.clone().into(), b"0".to_vec()];
        words.extend(arguments.iter().cloned());
        let shown = || {
            format!("{brand:?} {} {}\n{number}: {text}\n{arguments:?}", bounds.acl, bounds.sections)
        };
        let within = number % 7 == 3;
        let reply = if within {
            client.ask(&["MULTI"]);
            client.send_raw(&encode(&words));
            client.reply();
            client.ask(&["EXEC"])
        } else {
            client.send_raw(&encode(&words));
            client.reply()
        };
        let reply = String::from_utf8_lossy(&reply).into_owned();
        assert!(reply.starts_with('*'), "{}\n{reply}", shown());
        assert!(!reply.contains(CANARY), "{}\n{reply}", shown());
        for executed in monitor.executed() {
            count += 1;
            if let Err(what) = judge(bounds, &mut monitor, &executed) {
                let words: Vec<_> =
                    executed.words.iter().map(|word| word.escape_ascii().to_string()).collect();
                panic!("{}\n{what}: {words:?}", shown());
            }
        }
        let now = state(&mut observer, bounds, prefix);
        assert_eq!(now, before, "{}\n{reply}", shown());
        // Its own commands are no script's of the client.
        monitor.executed();
    }
    count
}

#[test]
fn random_scripts_stay_inside_under_every_policy() {
    let brands = [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available());
    for brand in brands {
        seeds::play(1, |seed, _| {
            for bounds in all_bounds()
                .iter()
                .filter(|bounds| brand == Brand::Valkey || !bounds.acl.contains("db="))
            {
                let count = play(brand, bounds, seed, 80);
                assert!(count > 30, "{} {}: {count}", bounds.acl, bounds.sections);
            }
        });
    }
}

/// Each place of each form of each command, with a name of others there: refused, or the name is made the
/// application's own.
#[test]
fn every_place_of_every_command_is_kept_inside() {
    for brand in [Brand::Redis, Brand::Valkey].into_iter().filter(|brand| brand.available()) {
        for bounds in all_bounds().iter().take(2) {
            let server = server(brand);
            let proxy = Proxy::with_policy(&server, bounds.acl, &bounds.sections);
            let (mut client, mut monitor) = (proxy.client(), Monitor::of(&server));
            let mut tried = 0;
            for spec in command::all().iter().filter(|spec| !spec.container) {
                for form in forms(spec, "app1:") {
                    let mut all = escapes(&form, "other:");
                    all.push(form.words);
                    for words in all {
                        tried += 1;
                        let quoted: Vec<String> = words
                            .iter()
                            .map(|word| format!("{:?}", String::from_utf8_lossy(word)))
                            .collect();
                        let direct = format!("return redis.call({})", quoted.join(","));
                        for text in ["return redis.pcall(unpack(ARGV))", &direct] {
                            let mut request = vec![b"EVAL".to_vec(), text.into(), b"0".to_vec()];
                            request.extend(words.iter().cloned());
                            client.send_raw(&encode(&request));
                            let reply = client.reply();
                            for executed in monitor.executed() {
                                if let Err(what) = judge(bounds, &mut monitor, &executed) {
                                    panic!(
                                        "{brand:?} {} {quoted:?}: {what} {}",
                                        bounds.acl,
                                        String::from_utf8_lossy(&reply)
                                    );
                                }
                            }
                        }
                    }
                }
            }
            assert!(tried > 500, "{tried}");
        }
    }
}
