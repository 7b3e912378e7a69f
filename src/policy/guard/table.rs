//! The command table as guarded scripts carry it: the commands that may run in a script, with where
//! their keys are.
//!
//! Owns: the form of a row. Never knows: Lua, names of keys.
//!
//! A row is ` name:arity,letters,keys…`; a container is ` name:@`. Letters: `w` writes, `t` may leave a
//! key without a time to live, `s` selects a database, `m` and `d` name one (`MOVE`, `COPY`), `M` was
//! declared, `R` may ask for one element many times, and of the names in replies `K`, `C`, `F`, `Z`.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::command::{
    Access, Cost, Dictionary, Effect, Flags, KeyKind, KeySpec, PatternAt, Reach, ReplyNames, Spec,
    TtlEffect,
};
use crate::config::{OnMissing, Rules};
use crate::policy::role::Selector;

/// Commands that a proxy answers itself, and a server in a script.
const LOCAL: [&str; 3] = ["echo", "ping", "time"];

/// All rows as the text of a Lua literal; and by name the commands that need nothing but the prefix
/// before their one key (1 to 4, as they use it), or before the only one they are given (5 to 8).
pub(super) fn rows(
    rules: &Rules,
    root: &Selector,
    dictionary: &Dictionary,
    reports_access: bool,
) -> (String, HashMap<&'static str, u8>) {
    let mut rows = String::from(" ");
    let mut simple = HashMap::new();
    let limits_values = rules.values.max_bytes.is_some() || rules.values.max_args.is_some();
    let limits_ttl = rules.ttl.max.is_some() || rules.ttl.on_missing == OnMissing::Inject;
    for spec in dictionary.all() {
        if !is_plain(spec.name) {
            continue;
        }
        if spec.container {
            let _ = write!(rows, "{}:@ ", spec.name);
            continue;
        }
        if !root.allows(spec.id) {
            continue;
        }
        let Some(keys) = row(spec) else { continue };
        let letters = letters(spec);
        let _ = write!(rows, "{}:{},{letters}{keys} ", spec.name, spec.arity);
        let governed = (limits_values && letters.contains('w'))
            || (limits_ttl && letters.contains('t'))
            || letters.contains(|letter: char| "smdMRKCFZEA".contains(letter));
        if !governed && let Some(code) = code(spec, reports_access) {
            simple.insert(spec.name, code);
        }
    }
    (rows, simple)
}

fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.|".contains(&byte))
}

/// Whether a script may run such a command at all, whatever its keys; then where they are.
fn row(spec: &Spec) -> Option<String> {
    let in_scripts = matches!(spec.effect, Effect::Shared | Effect::Block(_) | Effect::Select)
        || LOCAL.contains(&spec.name);
    let stays = matches!(spec.reach, Reach::Named | Reach::Scan(_) | Reach::Copy | Reach::Move);
    // The second argument is always the number of repetitions.
    let counted = matches!(spec.cost, Cost::Linear | Cost::Repeats { arg: 2 });
    if !counted || !in_scripts || !stays || spec.flags.has(Flags::NOSCRIPT) || spec.script.is_some()
    {
        return None;
    }
    let mut keys = String::new();
    for place in spec.keys {
        let written = match *place {
            KeySpec::At { arg, kind: KeyKind::Key, access } => {
                write!(keys, ",{arg}{}", letter(access))
            }
            KeySpec::At { arg, kind: KeyKind::Channel | KeyKind::ShardChannel, .. } => {
                write!(keys, ",p{arg}")
            }
            KeySpec::Span { first, step, spare, least, kind: KeyKind::Key, access } => {
                write!(keys, ",s{first}.{step}.{spare}.{least}{}", letter(access))
            }
            KeySpec::Counted { count, step, least, access } => {
                write!(keys, ",c{count}.{step}.{least}{}", letter(access))
            }
            KeySpec::Set => write!(keys, ",S"),
            KeySpec::Bitfield => write!(keys, ",B"),
            KeySpec::Sort { store: true } => write!(keys, ",O"),
            KeySpec::Sort { store: false } => write!(keys, ",o"),
            KeySpec::GeoStore { options } => write!(keys, ",G{options}"),
            KeySpec::Streams => write!(keys, ",X"),
            KeySpec::At { .. }
            | KeySpec::Span { .. }
            | KeySpec::Migrate
            | KeySpec::Debug
            | KeySpec::Tracking
            | KeySpec::Unknown => return None,
        };
        written.ok()?;
    }
    Some(keys)
}

const fn letter(access: Access) -> char {
    match (access.read, access.write) {
        (false, false) => 'n',
        (true, false) => 'r',
        (false, true) => 'w',
        (true, true) => 'b',
    }
}

fn letters(spec: &Spec) -> String {
    let mut letters = String::new();
    let mut when = |holds: bool, letter: char| {
        if holds {
            letters.push(letter);
        }
    };
    when(spec.flags.has(Flags::WRITE), 'w');
    when(spec.lifetime != TtlEffect::Untouched, 't');
    when(spec.effect == Effect::Select, 's');
    when(spec.reach == Reach::Move, 'm');
    when(spec.reach == Reach::Copy, 'd');
    when(spec.flags.has(Flags::MODULE), 'M');
    when(matches!(spec.cost, Cost::Repeats { .. }), 'R');
    // Its reach decides whether its patterns are names.
    let names = match (spec.reach, spec.names) {
        (Reach::Scan(PatternAt::Argument), _) => "K",
        (Reach::Scan(PatternAt::Option), _) => "C",
        (_, ReplyNames::Names | ReplyNames::Scan) => "A",
        (_, ReplyNames::First) => "F",
        (_, ReplyNames::Streams) => "Z",
        (_, ReplyNames::KeyAtEnd) => "E",
        (
            _,
            ReplyNames::Errors
            | ReplyNames::Channels
            | ReplyNames::Pairs
            | ReplyNames::Tracking
            | ReplyNames::Acknowledged
            | ReplyNames::Report,
        ) => "",
    };
    letters.push_str(names);
    if letters.is_empty() { "-".to_owned() } else { letters }
}

/// How the fast way may treat a command, if it may.
fn code(spec: &Spec, reports_access: bool) -> Option<u8> {
    let number = |access: Access| match (access.read, access.write) {
        (false, false) => 1,
        (true, false) => 2,
        (false, true) => 3,
        (true, true) => 4,
    };
    match spec.keys {
        [KeySpec::At { arg: 1, kind: KeyKind::Key, access }] if spec.arity.unsigned_abs() > 1 => {
            Some(number(*access))
        }
        [KeySpec::Set | KeySpec::Bitfield] if !reports_access => Some(4),
        [KeySpec::Span { first: 1, step: 1, spare: 0, least: 1, kind: KeyKind::Key, access }] => {
            Some(number(*access) + 4)
        }
        _ => None,
    }
}
