//! Requests to ask a server about: written by hand, and generated.
//!
//! Owns: what is easily got wrong. Never knows: the right answers.

use respgate::internals::command::Spec;

use crate::command_table::server::Args;

/// Requests whose keys are easily got wrong. `''` means an empty argument.
pub(crate) const TRICKY: &[&str] = &[
    "SORT l BY STORE STORE k",
    "SORT l STORE a STORE b",
    "SORT l LIMIT 0 1 STORE STORE",
    "SORT l GET STORE GET # DESC STORE d",
    "GEORADIUS g 1 2 3 km STORE a STORE b",
    "GEORADIUS g 1 2 3 km STORE a STOREDIST b",
    "GEORADIUSBYMEMBER g STORE 200 km STORE k",
    "GEORADIUSBYMEMBER g m 200 km COUNT 1 ANY STOREDIST k",
    "XREADGROUP GROUP STREAMS STREAMS STREAMS k >",
    "XREADGROUP GROUP g c COUNT 1 BLOCK 1 NOACK STREAMS a b > >",
    "XREAD COUNT 1 STREAMS STREAMS 0",
    "MIGRATE h 1 '' 0 9 AUTH KEYS KEYS a",
    "MIGRATE h 1 '' 0 9 COPY REPLACE AUTH2 KEYS KEYS KEYS a b",
    "MIGRATE h 1 k 0 9 AUTH KEYS",
    "EVAL s 0",
    "EVAL s 0 a",
    "EVAL s 2 a b c",
    "EVALSHA s 01 a",
    "EVAL s -1 a",
    "FCALL_RO f 1 a",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZUNIONSTORE d 0 a",
    "ZUNIONSTORE d 3 a b",
    "SINTERCARD 2 a b LIMIT 2",
    "LMPOP 2 a b LEFT COUNT 1",
    "BZMPOP 1 2 a b MIN",
    "SET k v GET",
    "SET k v EX 1 get",
    "SET k v",
    "BITFIELD k GET u8 0",
    "BITFIELD k GET u8 0 SET u8 0 1",
    "BITFIELD k OVERFLOW SAT GET u8 0",
    "PFMERGE d",
    "PFMERGE d a b",
    "BITOP AND d a b",
    "COPY a b DB 1 REPLACE",
    "MSET a 1 b",
    "OBJECT encoding k",
    "MEMORY USAGE k SAMPLES 5",
    "XGROUP CREATECONSUMER k g c",
    "XINFO STREAM k FULL",
    "PFDEBUG GETREG k",
    "RESTORE-ASKING k 0 v",
    "SUBSTR k 0 1",
    "LCS a b IDX",
    "SUBSCRIBE a",
    "SPUBLISH c m",
    "KEYS *",
    "SCAN 0 MATCH a",
    "CLIENT TRACKING ON BCAST PREFIX a",
    "COMMAND GETKEYS GET a",
    "DEBUG OBJECT k",
];

/// Commands whose options name keys or hide them: how a request begins, the options that may
/// follow in any number and order, and how it ends. `K` means a name, often one that looks
/// like an option; `N` for one that does not (the server's own answer takes the value of `STORE`
/// for the next option).
pub(crate) const OPTIONS: &[(&str, &[&str], &[&str])] = &[
    (
        "SORT K",
        &["ASC", "alpha", "LIMIT 0 1", "STORE N", "BY K", "GET K", "GET #", "get K*->f", "BY K*"],
        &[""],
    ),
    ("SORT_RO K", &["ASC", "ALPHA", "LIMIT 0 1", "BY K", "GET K", "GET #", "GET K*->f"], &[""]),
    (
        "GEORADIUS K 1 2 3 km",
        &[
            "WITHDIST",
            "withhash",
            "WITHCOORD",
            "COUNT 1",
            "COUNT 1 ANY",
            "ASC",
            "STORE N",
            "STOREDIST N",
        ],
        &[""],
    ),
    (
        "GEORADIUSBYMEMBER K K 3 km",
        &[
            "WITHDIST",
            "WITHHASH",
            "withcoord",
            "COUNT 1",
            "COUNT 1 ANY",
            "DESC",
            "STORE N",
            "STOREDIST N",
        ],
        &[""],
    ),
    ("XREAD", &["COUNT 1", "BLOCK 1"], &["STREAMS K 0", "streams K K 0 0"]),
    (
        "XREADGROUP GROUP K K",
        &["COUNT 1", "BLOCK 1", "NOACK", "GROUP K K"],
        &["STREAMS K >", "STREAMS K K > >"],
    ),
    (
        "MIGRATE h 1 '' 0 9",
        &["COPY", "replace", "AUTH K", "AUTH2 K K"],
        &["", "KEYS K", "KEYS K K K"],
    ),
    ("MIGRATE h 1 K 0 9", &["COPY", "REPLACE", "AUTH K", "AUTH2 K K"], &[""]),
    ("SET K K", &["NX", "GET", "get", "EX 5", "KEEPTTL"], &[""]),
    (
        "BITFIELD K",
        &["GET u8 0", "get u8 0", "OVERFLOW SAT", "SET u8 0 1", "INCRBY u8 0 1"],
        &["", "GET u8 0"],
    ),
];

pub(crate) fn form_of(begin: &str, options: &[&str], ends: &[&str], chance: &mut Chance) -> Args {
    let mut words: Vec<&str> = begin.split(' ').collect();
    for _ in 0..chance.below(5) {
        words.extend(options[chance.below(options.len())].split(' '));
    }
    words.extend(ends[chance.below(ends.len())].split(' ').filter(|word| !word.is_empty()));
    words
        .into_iter()
        .map(|word| match word.strip_prefix('K') {
            Some(rest) if rest.is_empty() || rest.starts_with('*') => {
                let names = ["a", "b", "store", "STREAMS", "keys", "by", "get", "group", "auth"];
                (names[chance.below(names.len())].to_owned() + rest).into_bytes()
            }
            _ if word == "''" => Vec::new(),
            _ if word == "N" => vec![b'c' + u8::try_from(chance.below(3)).unwrap()],
            _ => word.into(),
        })
        .collect()
}

/// Values that mean something somewhere, in any case.
const WORDS: &[&str] = &[
    "store",
    "storedist",
    "by",
    "get",
    "limit",
    "streams",
    "block",
    "count",
    "group",
    "noack",
    "keys",
    "auth",
    "auth2",
    "copy",
    "replace",
    "match",
    "asc",
    "desc",
    "alpha",
    "any",
    "withdist",
    "withcoord",
    "withhash",
    "km",
    "set",
    "incrby",
    "overflow",
    "sat",
    "u8",
    "weights",
    "aggregate",
    "ex",
    "nx",
    "left",
    "min",
    "on",
    "bcast",
    "prefix",
    "store\0x",
    "*",
    "#",
    "w_*->f",
    "",
    "-1",
    "01",
    "+1",
    " 1",
    "1.5",
    ">",
    "$",
];

/// Requests of every length that the command takes, up to a few more than the least.
pub(crate) fn forms(spec: &Spec, chance: &mut Chance) -> Vec<Args> {
    let least = usize::from(spec.arity.unsigned_abs());
    let most = if spec.arity < 0 { least + 7 } else { least };
    let mut forms = Vec::new();
    for len in least..=most {
        for _ in 0..60 {
            let mut args: Args =
                spec.name.split('|').map(|word| word.as_bytes().to_vec()).collect();
            for place in args.len()..len {
                args.push(match chance.below(10) {
                    0..6 => format!("key{place}").into_bytes(),
                    6..8 => chance.below(4).to_string().into_bytes(),
                    _ => {
                        let word = WORDS[chance.below(WORDS.len())];
                        if chance.below(2) == 0 { word.into() } else { word.to_uppercase().into() }
                    }
                });
            }
            forms.push(args);
        }
    }
    forms
}

/// A generator of numbers that are the same in every run (xorshift).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}
