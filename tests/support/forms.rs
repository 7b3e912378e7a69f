//! Requests of every command that has keys or channels, and where these stand.
//!
//! Owns: [`Form`], [`forms`], [`escapes`]. Never knows: policies, servers.
//!
//! The positions come from the text of the templates, not from the table's key specifications, so
//! that the two can be held against each other.

use respgate::internals::command::{KeyKind, KeySpec, Lookup, Spec, lookup};
use respgate::internals::resp::RequestBuf;

/// A request whose every key and channel begins with a prefix.
#[derive(Clone, Debug)]
pub struct Form {
    pub spec: &'static Spec,
    pub words: Vec<Vec<u8>>,
    /// The arguments that name keys or channels.
    pub places: Vec<(usize, KeyKind)>,
}

/// Requests that a general rule cannot build: `{k}` key, `{g}` glob of keys (`KEYS`, `SCAN`), `{p}`
/// pattern of `SORT`, `{f}` prefix; `\e` is an empty argument.
const TEMPLATES: &[&str] = &[
    "BITFIELD {k} GET u8 0",
    "BITFIELD {k} OVERFLOW SAT SET u8 0 1",
    "BITOP AND {k} {k} {k}",
    "BLMPOP 0.01 2 {k} {k} LEFT",
    "BLPOP {k} {k} 0.01",
    "BRPOP {k} {k} 0.01",
    "BZPOPMAX {k} {k} 0.01",
    "BZPOPMIN {k} {k} 0.01",
    "BZMPOP 0.01 2 {k} {k} MIN",
    "BLMOVE {k} {k} LEFT RIGHT 0.01",
    "BRPOPLPUSH {k} {k} 0.01",
    "CLIENT TRACKING ON BCAST PREFIX {f} PREFIX {f}",
    "COPY {k} {k} REPLACE",
    "DEBUG OBJECT {k}",
    "EVAL return 2 {k} {k} x",
    "EVAL_RO return 1 {k}",
    "EVALSHA sha 2 {k} {k} x",
    "EVALSHA_RO sha 1 {k}",
    "FCALL f 2 {k} {k} x",
    "FCALL_RO f 1 {k}",
    "GEORADIUS {k} 0 0 1 km COUNT 1 ANY",
    "GEORADIUS {k} 0 0 1 km STORE {k}",
    "GEORADIUS {k} 0 0 1 km ASC STOREDIST {k}",
    "GEORADIUSBYMEMBER {k} STORE 1 km STORE {k}",
    "GEORADIUSBYMEMBER {k} m 1 km STOREDIST {k}",
    "KEYS {g}",
    "LMPOP 2 {k} {k} LEFT COUNT 1",
    "MIGRATE 127.0.0.1 1 {k} 0 1 COPY",
    "MIGRATE 127.0.0.1 1 \\e 0 1 AUTH KEYS KEYS {k} {k}",
    "MSET {k} 1 {k} 2",
    "MSETEX 2 {k} 1 {k} 2 EX 10",
    "MSETNX {k} 1 {k} 2",
    "SCAN 0 MATCH {g} COUNT 10",
    "CLUSTERSCAN 0 MATCH {g}",
    "SDIFFCARD 2 {k} {k}",
    "SET {k} 1",
    "SET {k} 1 EX 10 GET",
    "SINTERCARD 2 {k} {k} LIMIT 1",
    "SORT {k} BY {p} GET # GET {p} LIMIT 0 1 ALPHA STORE {k}",
    "SORT {k} BY STORE DESC STORE {k}",
    "SORT_RO {k} BY {p} GET {p}",
    "SUNIONCARD 2 {k} {k}",
    "XREAD COUNT 1 STREAMS {k} {k} 0 0",
    "XREADGROUP GROUP STREAMS STREAMS NOACK STREAMS {k} {k} > >",
    "ZDIFF 2 {k} {k} WITHSCORES",
    "ZDIFFSTORE {k} 2 {k} {k}",
    "ZINTER 2 {k} {k} WEIGHTS 1 2",
    "ZINTERCARD 2 {k} {k} LIMIT 1",
    "ZINTERSTORE {k} 2 {k} {k} AGGREGATE MAX",
    "ZMPOP 2 {k} {k} MIN",
    "ZUNION 2 {k} {k}",
    "ZUNIONSTORE {k} 2 {k} {k} WEIGHTS 1 2",
];

/// Every form of a command, with names that begin with `prefix`. None when the command has neither
/// keys nor channels, or only such as a template must give.
pub fn forms(spec: &'static Spec, prefix: &str) -> Vec<Form> {
    let written: Vec<Form> = TEMPLATES
        .iter()
        .map(|text| template(text, prefix))
        .filter(|f| f.spec.id == spec.id)
        .collect();
    if written.is_empty() { general(spec, prefix).into_iter().collect() } else { written }
}

/// A request of a command without keys.
pub fn plain(spec: &'static Spec) -> Form {
    let mut words: Vec<Vec<u8>> = spec.name.split('|').map(Into::into).collect();
    let shortest = usize::from(spec.arity.unsigned_abs());
    words.resize_with(words.len().max(shortest), || b"1".to_vec());
    Form { spec, words, places: Vec::new() }
}

/// The form once for each place, with a name outside the prefix at that place.
pub fn escapes(form: &Form, outside: &str) -> Vec<Vec<Vec<u8>>> {
    let escape = |(place, kind): &(usize, KeyKind)| {
        let mut words = form.words.clone();
        words[*place] = name(*kind, outside, 0);
        words
    };
    form.places.iter().map(escape).collect()
}

/// A name of the kind that begins with `prefix`.
fn name(kind: KeyKind, prefix: &str, number: usize) -> Vec<u8> {
    match kind {
        KeyKind::Key | KeyKind::Channel | KeyKind::ShardChannel => format!("{prefix}{number}"),
        KeyKind::KeyPattern | KeyKind::ChannelPattern => format!("{prefix}*"),
        KeyKind::KeyPrefix => format!("{prefix}{number}:"),
    }
    .into_bytes()
}

fn template(text: &str, prefix: &str) -> Form {
    let mut places = Vec::new();
    let mut words = Vec::new();
    for (place, word) in text.split(' ').enumerate() {
        let kind = match word {
            "{k}" => KeyKind::Key,
            "{g}" | "{p}" => KeyKind::KeyPattern,
            "{f}" => KeyKind::KeyPrefix,
            "\\e" => {
                words.push(Vec::new());
                continue;
            }
            _ => {
                words.push(word.into());
                continue;
            }
        };
        words.push(name(kind, prefix, places.len()));
        places.push((place, kind));
    }
    let request = RequestBuf::from_args(&words);
    let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{text}") };
    Form { spec, words, places }
}

/// The shortest request with at least two names in every list of them.
fn general(spec: &'static Spec, prefix: &str) -> Option<Form> {
    let mut words: Vec<Vec<u8>> = spec.name.split('|').map(Into::into).collect();
    let mut places: Vec<(usize, KeyKind)> = Vec::new();
    let mut put = |place: usize, kind, spare: usize| {
        let number = places.len();
        words.resize_with(words.len().max(place + 1 + spare), || b"1".to_vec());
        words[place] = name(kind, prefix, number);
        places.push((place, kind));
    };
    for keys in spec.keys {
        match *keys {
            KeySpec::At { arg, kind, .. } => put(arg, kind, 0),
            KeySpec::Span { first, step, spare, kind, .. } => {
                put(first, kind, spare + step - 1);
                put(first + step, kind, spare + step - 1);
            }
            KeySpec::Counted { .. }
            | KeySpec::Set
            | KeySpec::Bitfield
            | KeySpec::Sort { .. }
            | KeySpec::GeoStore { .. }
            | KeySpec::Streams
            | KeySpec::Migrate
            | KeySpec::Debug
            | KeySpec::Tracking
            | KeySpec::Unknown => return None,
        }
    }
    if places.is_empty() {
        return None;
    }
    let shortest = usize::from(spec.arity.unsigned_abs());
    words.resize_with(words.len().max(shortest), || b"1".to_vec());
    Some(Form { spec, words, places })
}
