//! Where guarded scripts find keys, held against where respgate itself finds them.
//!
//! Owns: the comparison over the whole table. Never knows: how either finds them.

use std::sync::Arc;

use respgate::internals::command::{self, Effect, Flags, Reach, Spec};
use respgate::internals::config::{KeyMode, KeyRules, Rules, ValueRules};
use respgate::internals::policy::guard::{Globals, question};
use respgate::internals::policy::{EvalContext, Guarded, Policy, Scratch, compile};
use respgate::internals::resp::{RequestBuf, Value};

use super::super::support::choices::Choices;
use super::super::support::client::Client;
use super::super::support::forms::{forms, plain};
use super::super::support::real_server::Brand;
use super::server;

const WORDS: [&str; 24] = [
    "STORE",
    "BY",
    "GET",
    "STREAMS",
    "COUNT",
    "LIMIT",
    "GROUP",
    "MATCH",
    "DB",
    "1",
    "2",
    "01",
    "-1",
    "0",
    "x*",
    "*",
    "#",
    "a->b*",
    "",
    "KEYS",
    "STOREDIST",
    "NOACK",
    "BLOCK",
    "get\0x",
];

fn policy(keys: KeyRules, acl: &str) -> Policy {
    compile(&Rules { acl: Some(acl.to_owned()), keys, ..Rules::default() }).unwrap()
}

fn globals(observer: &mut Client, brand: Brand) -> Arc<Globals> {
    let reply = observer.ask(&["EVAL", question(), "0"]);
    let value = Value::decode(&reply, respgate::internals::resp::Protocol::Resp2).unwrap();
    let names: Vec<&[u8]> = value.elements().unwrap().iter().filter_map(Value::as_bytes).collect();
    Arc::new(Globals::new(&names, brand == Brand::Valkey, (7, 0)).unwrap())
}

/// A script that shows what would be sent, instead of sending it.
fn shown(guarded: &Guarded, text: &str) -> String {
    let written = String::from_utf8(guarded.write(text.as_bytes())).unwrap();
    let real = "local rp,type,C,W=redis.pcall,type ";
    assert_eq!(written.matches(real).count(), 1);
    written.replace(
        real,
        "local type,C,W=type local rp=function(...) local t={} for i=1,select('#',...) do \
         t[i]=string.gsub(tostring((select(i,...))),'.',function(c) return string.format('%02x',string.byte(c)) end) \
         end return table.concat(t,' ') end ",
    )
}

/// The arguments in a request on the wire.
fn arguments(wire: &[u8]) -> Vec<Vec<u8>> {
    let value = Value::decode(wire, respgate::internals::resp::Protocol::Resp2).unwrap();
    value.elements().unwrap().iter().map(|arg| arg.as_bytes().unwrap().to_vec()).collect()
}

/// What respgate sends of a request; `None`: it refuses.
fn sent(policy: &Policy, words: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let request = RequestBuf::from_args(words);
    let request = request.as_request();
    let mut scratch = Scratch::default();
    let spec = respgate::internals::policy::known(policy.lookup(&request)).ok()?;
    respgate::internals::policy::arity(spec, &request).ok()?;
    let moment = EvalContext { database: 0, unix_ms: 0 };
    let grant = policy.permit(spec, &request, &moment, &mut scratch).ok()?;
    if grant.changed { Some(arguments(&scratch.take_wire())) } else { Some(words.to_vec()) }
}

/// What a guarded script sends of it; `None`: it refuses.
fn sent_by_script(observer: &mut Client, text: &str, words: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut request: Vec<Vec<u8>> = vec![b"EVAL".to_vec(), text.into(), b"0".to_vec()];
    request.extend(words.iter().cloned());
    observer.send_raw(&super::super::support::client::encode(&request));
    let reply = observer.reply();
    if reply.starts_with(b"-") {
        let line = String::from_utf8_lossy(&reply);
        assert!(!line.contains("attempt to") && !line.contains("compiling"), "{words:?}: {line}");
        return None;
    }
    let value = Value::decode(&reply, respgate::internals::resp::Protocol::Resp2).unwrap();
    let text = String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap();
    let byte = |at: usize, word: &str| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
    let word = |word: &str| (0..word.len()).step_by(2).map(|at| byte(at, word)).collect();
    Some(text.split(' ').map(word).collect())
}

/// Commands that a script may not use although the client may: none of them is about the
/// application's keys alone.
fn is_kept_out(spec: &Spec) -> bool {
    let inside = matches!(spec.reach, Reach::Named | Reach::Scan(_) | Reach::Copy | Reach::Move);
    let carried = matches!(spec.effect, Effect::Shared | Effect::Block(_));
    spec.flags.has(Flags::NOSCRIPT)
        || spec.script.is_some()
        || !inside
        || !carried
        || spec.reach == Reach::Move
        || matches!(spec.name, "debug")
}

fn compare(policy: &Policy, brand: Brand, seed: u64) -> usize {
    if !brand.available() {
        return usize::MAX;
    }
    let server = server(brand);
    let mut observer = server.observer();
    let guarded =
        Guarded::new(Arc::clone(policy.guard().unwrap()), globals(&mut observer, brand), 100_000);
    let dynamic = shown(&guarded, "return redis.call(unpack(ARGV))");
    let mut random = Choices::from_seed(seed);
    let mut compared = 0;
    for spec in command::all().iter().filter(|spec| !spec.container) {
        let mut all = forms(spec, "app1:").into_iter().map(|form| form.words).collect::<Vec<_>>();
        if all.is_empty() {
            all.push(plain(spec).words);
        }
        let name = String::from_utf8(all[0][0].clone()).unwrap();
        let fast = shown(&guarded, &format!("return redis.call('{name}',unpack(ARGV,2))"));
        for words in all.clone() {
            for _ in 0..6 {
                let mut other = words.clone();
                match random.below(4) {
                    0 => {
                        other.pop();
                    }
                    1 => other.push(random.pick(&WORDS).as_bytes().to_vec()),
                    _ => {
                        let at = 1 + random.below(other.len().max(2) - 1);
                        if let Some(word) = other.get_mut(at) {
                            *word = random.pick(&WORDS).as_bytes().to_vec();
                        }
                    }
                }
                all.push(other);
            }
        }
        for (number, words) in all.iter().enumerate().filter(|(_, words)| !words.is_empty()) {
            let own = sent(policy, words);
            for text in [&dynamic, &fast] {
                let script = sent_by_script(&mut observer, text, words);
                let shown: Vec<_> = words.iter().map(|w| w.escape_ascii().to_string()).collect();
                match (&own, script) {
                    (Some(own), Some(script)) => {
                        assert_eq!(&script, own, "{shown:?}");
                        compared += 1;
                    }
                    // The server refuses what has too few or too many arguments.
                    (None, Some(_)) if !spec.accepts(words.len()) => {}
                    (None, Some(script)) => panic!("{shown:?}: only the script sends {script:?}"),
                    (Some(_), None) if number > 0 || is_kept_out(spec) => {}
                    (Some(own), None) => panic!("{shown:?}: the script refuses {own:?}"),
                    (None, None) => {}
                }
            }
        }
    }
    compared
}

/// Whether a value is too long, or would grow too long: the same in a script as outside.
#[test]
fn values_are_measured_as_respgate_measures_them() {
    let values = ValueRules { max_bytes: Some(16), max_args: Some(9), ..ValueRules::default() };
    let acl = Some("+@all ~p:* &*".to_owned());
    let policy = compile(&Rules { acl, values, ..Rules::default() }).unwrap();
    let server = server(Brand::Redis);
    let mut observer = server.observer();
    let globals = globals(&mut observer, Brand::Redis);
    let guarded = Guarded::new(Arc::clone(policy.guard().unwrap()), globals, 100_000);
    let text = shown(&guarded, "return redis.call(unpack(ARGV))");
    let forms = [
        "SETRANGE p:k N V",
        "SETBIT p:k N 1",
        "BITFIELD p:k SET u8 N 1",
        "BITFIELD p:k GET u8 N SET u16 #N 1",
        "BITFIELD p:k OVERFLOW SAT INCRBY i64 N 1 GET u8 N",
        "BITFIELD p:k OVERFLOW SET SET i5 #N 1",
        "APPEND p:k V",
        "SET p:k V EX N",
        "HSET p:k V V V V",
        "LPUSH p:k V V V V V V V V",
        "MSET p:k V p:kkkkkkkkkkkkkkkkkkkkkkkkkk V",
        "GETRANGE p:k N N",
        "XADD p:k * V V",
    ];
    let numbers = [
        "0",
        "1",
        "3",
        "14",
        "15",
        "16",
        "17",
        "100",
        "118",
        "119",
        "120",
        "127",
        "128",
        "129",
        "4294967295",
        "01",
        "-1",
        "x",
    ];
    let mut random = Choices::from_seed(7);
    let mut refused = 0;
    for form in forms.iter().cycle().take(700) {
        let words: Vec<Vec<u8>> = form
            .split(' ')
            .map(|word| match word {
                "V" => vec![b'v'; random.below(20)],
                "N" => random.pick::<&str>(&numbers).as_bytes().to_vec(),
                "#N" => format!("#{}", random.pick::<&str>(&numbers)).into_bytes(),
                _ => word.into(),
            })
            .collect();
        let own = sent(&policy, &words);
        assert_eq!(sent_by_script(&mut observer, &text, &words), own, "{words:?}");
        refused += usize::from(own.is_none());
    }
    assert!((100..600).contains(&refused), "{refused}");
}

#[test]
fn keys_stand_where_respgate_finds_them() {
    let keys =
        KeyRules { mode: KeyMode::Rewrite, prefix: Some("p:".to_owned()), ..KeyRules::default() };
    let compared = compare(&policy(keys, "+@all ~* &*"), Brand::Redis, 1);
    assert!(compared > 1500, "{compared}");
    for acl in ["+@all ~app1:* &app1:*", "+@all %R~app1:* %W~app1:1* %W~a[pq]p1:?* &app1:*"] {
        let compared = compare(&policy(KeyRules::default(), acl), Brand::Valkey, 2);
        assert!(compared > 500, "{acl}: {compared}");
    }
}
