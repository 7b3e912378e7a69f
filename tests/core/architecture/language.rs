//! Sentences name the thing and what it does: words that name a person where a thing is meant, and pictures, are
//! refused, in what users read and in the comments, texts and names of the code.
//!
//! Owns: the words and their exceptions. Never knows: grammar.

use super::source::Source;

/// A word, or several that follow each other, and what is written instead.
const BANNED: &[(&str, &str)] = &[
    ("anybody", "the client, the program, the file that is meant"),
    ("asks", "sends, needs, requires, checks"),
    ("everybody", "every client, all clients"),
    ("nobody", "no client, no request, unused"),
    ("somebody", "the client, the program, the file that is meant"),
    ("whoever", "a client that, a program that"),
    ("whomever", "a client that, a program that"),
    ("goodbye", "closes, sends close_notify"),
    ("hear", "receive, notice"),
    ("heard", "received, noticed"),
    ("hearing", "receiving, noticing"),
    ("hears", "receives, notices"),
    ("unheard", "not received"),
    ("lies", "is"),
    ("lying", "being"),
    ("owe", "outstanding replies"),
    ("owed", "outstanding"),
    ("owes", "has outstanding replies"),
    ("polite", "graceful, or what is done"),
    ("politely", "gracefully, or what is done"),
    ("stands", "is, precedes, matches"),
    ("standing", "being, stalled"),
    ("stood", "was"),
    ("tell", "send, report, show, distinguish"),
    ("telling", "sending, reporting"),
    ("tells", "sends, reports, shows, distinguishes"),
    ("told", "sent, reported, shown, distinguished"),
    ("walk", "scan, skip, path"),
    ("walked", "scanned, skipped"),
    ("walking", "scanning, skipping"),
    ("walks", "scans, skips, paths"),
    ("mend", "fix, repair"),
    ("mended", "fixed, repaired"),
    ("mending", "fixing, repairing"),
    ("mends", "fixes, repairs"),
    ("say", "send, reply, report, state, show, list, set"),
    ("said", "sent, replied, reported, stated, shown, listed"),
    ("saying", "sending, reporting, stating"),
    ("says", "sends, replies, reports, states, shows, lists, sets"),
    ("unsaid", "not sent, not reported, not set"),
    ("speaks", "uses, supports, answers, is about"),
    ("converse", "serve"),
    ("converses", "serves"),
    ("distrust", "reject, a failure"),
    ("leaving", "closing, draining, ending"),
    ("rests", "is idle, pauses"),
    ("takes leave", "closes, disconnects, shuts down"),
    ("take leave", "close, disconnect, shut down"),
    ("client leaves", "the client disconnects, closes"),
    ("client has left", "the client has disconnected"),
    ("clients leave", "clients disconnect"),
    ("clients have left", "clients have disconnected"),
    ("process leaves", "the process drains, exits"),
    ("on its way", "in flight, arriving"),
    ("on their way", "in flight, arriving"),
    ("taken up", "loaded, applied, used"),
    ("takes it up", "loads it, applies it"),
];

/// Words that name a person, where code writes of things.
const PERSONS: &[(&str, &str)] = &[
    ("who", "which client, the process that; in `Never knows:` its callers, its readers"),
    ("whom", "the client, the user"),
];

/// A doc comment that begins so has its subject in the name behind it, and makes no sense alone.
const OPENINGS: &[&str] = &["As", "It", "That", "Those", "Which"];

/// Banned as a part of a name.
const NAMES: &[&str] = &[
    "anybody",
    "asks",
    "born",
    "converse",
    "distrust",
    "everybody",
    "goodbye",
    "hear",
    "heard",
    "hears",
    "leaving",
    "nobody",
    "owed",
    "owes",
    "politely",
    "rests",
    "said",
    "say",
    "saying",
    "says",
    "seat",
    "seats",
    "somebody",
    "speaks",
    "standing",
    "tell",
    "tells",
    "told",
    "unheard",
    "unsaid",
    "walk",
    "walks",
    "whoever",
];

/// Lines with a banned word: in comments and literals of code, or anywhere in another text.
pub fn stray(source: &Source) -> Vec<(usize, String)> {
    let code = source.path.ends_with(".rs");
    let lines: Vec<(usize, String)> = if code {
        source.prose.iter().map(|token| (token.line, prose(&token.text))).collect()
    } else {
        source.text.lines().zip(1..).map(|(text, line)| (line, prose(text))).collect()
    };
    let persons = if code { PERSONS } else { &[] };
    let banned = BANNED.iter().chain(persons);
    let mut found: Vec<(usize, String)> = banned
        .flat_map(|(banned, instead)| {
            let hits = lines.iter().filter(|(_, text)| has(text, banned));
            hits.map(move |(line, _)| {
                (*line, format!("\"{banned}\"; write for example: {instead}"))
            })
        })
        .collect();
    for token in &source.all {
        let mut parts = token.text.split('_').filter(|part| NAMES.contains(part));
        if let Some(part) = parts.next() {
            found.push((token.line, format!("{}: a name with \"{part}\"", token.text)));
        }
    }
    found
}

/// Doc comments of Rust whose first word, or that of a paragraph, is one of [`OPENINGS`].
pub fn openings(source: &Source) -> Vec<(usize, String)> {
    let lines = source.text.lines().map(|line| {
        let line = line.trim_start();
        line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
    });
    let mut found = Vec::new();
    let mut begins = true;
    for (doc, line) in lines.zip(1..) {
        let first = doc.and_then(|text| text.split_whitespace().next());
        if let Some(word) = first.filter(|word| begins && OPENINGS.contains(word)) {
            let what = format!("a doc comment begins with \"{word}\"; begin with the thing");
            found.push((line, what));
        }
        begins = first.is_none();
    }
    found
}

/// A line in small letters, without names in back quotes.
fn prose(line: &str) -> String {
    let parts: Vec<&str> = line.split('`').step_by(2).collect();
    parts.join("`").to_lowercase()
}

/// Whether the words of `banned` follow each other in what [`prose`] has made of a line.
fn has(lower: &str, banned: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    lower.match_indices(banned).any(|(at, _)| {
        let (before, after) = (&lower[..at], &lower[at + banned.len()..]);
        !letter(before.chars().next_back()) && !letter(after.chars().next())
    })
}
