//! From observed traffic to the smallest policy that would pass it.
//!
//! Owns: [`Lesson`]. Never knows: values, whole keys where a prefix says enough, sockets.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Refusal;
use super::pattern::escape;
use crate::command::{Access, Flags, KeyAt, KeyKind, Spec, find_keys, scan_match};
use crate::resp::Request;

/// Different prefixes, or names without one, that are told apart; beyond, all names are one.
const PREFIXES_MAX: usize = 256;
const LITERALS_MAX: usize = 32;
/// Names end their prefix at the first of these.
const SEPARATORS: &[u8] = b":/|.";
/// A name without a separator that is longer is no name but data.
const LITERAL_BYTES_MAX: usize = 64;

/// What was seen, without values: commands, prefixes of names, what was or would be refused.
#[derive(Debug, Default)]
pub struct Lesson {
    commands: BTreeMap<&'static str, u64>,
    keys: Names,
    channels: Names,
    refused: BTreeMap<(&'static str, &'static str), u64>,
    total: u64,
    /// Room for positions, kept between requests.
    found: Vec<KeyAt>,
    patterns: Vec<u32>,
}

/// How often the names of one prefix were used, and for what.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    count: u64,
    access: Access,
}

#[derive(Debug, Default)]
struct Names {
    /// Text before `*`.
    prefixes: BTreeMap<Vec<u8>, Use>,
    /// Whole names.
    literals: BTreeMap<Vec<u8>, Use>,
}

impl Lesson {
    /// A request that passed, if only because a rule is observed.
    pub fn note(&mut self, spec: &'static Spec, request: &Request<'_>, observed: Option<&Refusal>) {
        self.total += 1;
        if let Some(refusal) = observed {
            *self.refused.entry((refusal.rule.label(), spec.name)).or_default() += 1;
        }
        *self.commands.entry(spec.name).or_default() += 1;
        let mut found = std::mem::take(&mut self.found);
        if find_keys(spec, request, &mut found).is_err() {
            found.clear();
        }
        for at in &found {
            let name = request.arg(at.arg as usize).unwrap_or_default();
            let name = name.get(at.start as usize..).unwrap_or_default();
            let name = name.get(..at.len as usize).unwrap_or(name);
            match at.kind {
                KeyKind::Key => self.keys.note(name, at.access),
                KeyKind::KeyPattern => self.keys.note_pattern(name, at.access),
                KeyKind::KeyPrefix => self.keys.note_prefix(name, at.access),
                KeyKind::Channel | KeyKind::ShardChannel => self.channels.note(name, at.access),
                // The server compares a pattern with the allowed ones letter by letter.
                KeyKind::ChannelPattern => self.channels.note_literal(name, at.access),
            }
        }
        self.found = found;
        if scan_match(request, &mut self.patterns).is_ok() {
            for arg in &self.patterns {
                let pattern = request.arg(*arg as usize).unwrap_or_default();
                self.keys.note_pattern(pattern, Access::READ);
            }
        }
    }

    /// The rules, as `acl` of a policy and `ACL SETUSER` of a server take them.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        let commands = self.commands.keys().filter(|name| !is_free(name));
        words.extend(commands.map(|name| format!("+{name}")));
        self.keys.write_words("~", true, &mut words);
        self.channels.write_words("&", false, &mut words);
        words.join(" ")
    }

    /// A policy in TOML, with the counts behind it as comments; `user` is the one at the server.
    #[must_use]
    pub fn to_toml(&self, user: &str) -> String {
        let mut text = format!("# Learned from {} commands.\n", self.total);
        comment(&mut text, "commands", self.commands.iter().map(|(name, n)| format!("{name} {n}")));
        comment(&mut text, "keys", self.keys.counts());
        comment(&mut text, "channels", self.channels.counts());
        let refused = self.refused.iter().map(|((rule, name), n)| format!("{rule}: {name} {n}"));
        comment(&mut text, "against the policy in force", refused);
        let words = self.words();
        let quoted = words.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(text, "\n[policy]\nacl = \"{quoted}\"\n");
        let reset = "clearselectors resetkeys resetchannels -@all";
        let _ = write!(text, "\n# On the server:\n# ACL SETUSER {user} on {reset} {words}\n");
        text
    }
}

/// Whether every role may run it.
fn is_free(name: &str) -> bool {
    crate::command::by_name(name).is_some_and(|spec| spec.flags.has(Flags::NO_AUTH))
}

fn comment(text: &mut String, what: &str, entries: impl Iterator<Item = String>) {
    let entries: Vec<String> = entries.collect();
    if !entries.is_empty() {
        let _ = writeln!(text, "# {what}: {}", entries.join(", "));
    }
}

impl Names {
    fn note(&mut self, name: &[u8], access: Access) {
        match name.iter().position(|byte| SEPARATORS.contains(byte)) {
            Some(at) => self.note_prefix(name.get(..=at).unwrap_or_default(), access),
            None if name.len() > LITERAL_BYTES_MAX => self.note_prefix(b"", access),
            None => self.note_literal(name, access),
        }
    }

    /// Only what stands before the first special character is certain.
    fn note_pattern(&mut self, pattern: &[u8], access: Access) {
        let literal = super::pattern::literal_prefix(pattern);
        let end = literal.iter().position(|byte| SEPARATORS.contains(byte));
        self.note_prefix(
            literal.get(..end.map_or(literal.len(), |at| at + 1)).unwrap_or_default(),
            access,
        );
    }

    fn note_prefix(&mut self, prefix: &[u8], access: Access) {
        // What cannot stand in a word of the ACL language ends the prefix.
        let fits = |byte: &u8| byte.is_ascii_graphic() && !b"()\"'".contains(byte);
        let end = prefix.iter().position(|byte| !fits(byte)).unwrap_or(prefix.len());
        let mut prefix = prefix.get(..end).unwrap_or_default();
        if self.prefixes.len() >= PREFIXES_MAX && !self.prefixes.contains_key(prefix) {
            prefix = b"";
        }
        add(&mut self.prefixes, prefix, access);
    }

    fn note_literal(&mut self, name: &[u8], access: Access) {
        let fits = |byte: &u8| byte.is_ascii_graphic() && !b"()\"'".contains(byte);
        let full = self.literals.len() >= LITERALS_MAX && !self.literals.contains_key(name);
        if full || name.is_empty() || !name.iter().all(fits) {
            return self.note_prefix(b"", access);
        }
        add(&mut self.literals, name, access);
    }

    fn counts(&self) -> impl Iterator<Item = String> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let prefixes =
            self.prefixes.iter().map(move |(name, use_)| format!("{}* {}", text(name), use_.count));
        prefixes.chain(
            self.literals.iter().map(move |(name, use_)| format!("{} {}", text(name), use_.count)),
        )
    }

    /// One word for each name; those that `*` covers are left out.
    fn write_words(&self, sign: &str, with_access: bool, words: &mut Vec<String>) {
        let everything = |use_: &&Use| !with_access || (use_.access.read && use_.access.write);
        if self.prefixes.get(b"".as_slice()).filter(everything).is_some() {
            return words.push(format!("{sign}*"));
        }
        let word = |pattern: Vec<u8>, access: Access| {
            let access = match (access.read, access.write) {
                (_, false) if with_access => "%R",
                (false, true) if with_access => "%W",
                _ => "",
            };
            format!("{access}{sign}{}", String::from_utf8_lossy(&pattern))
        };
        for (prefix, use_) in &self.prefixes {
            words.push(word([escape(prefix), b"*".to_vec()].concat(), use_.access));
        }
        for (name, use_) in &self.literals {
            let pattern = if with_access { escape(name) } else { name.clone() };
            words.push(word(pattern, use_.access));
        }
    }
}

fn add(names: &mut BTreeMap<Vec<u8>, Use>, name: &[u8], access: Access) {
    if !names.contains_key(name) {
        names.insert(name.to_vec(), Use::default());
    }
    if let Some(known) = names.get_mut(name) {
        known.count += 1;
        known.access.read |= access.read;
        known.access.write |= access.write;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::config::Rules;
    use crate::policy::{Scratch, compile};
    use crate::resp::RequestBuf;

    const TRAFFIC: &str = "GET app:1|GET app:2|SET app:1 v|MGET app:1 log:3|HSET h f v|\
        EXISTS tmp:x|SUBSCRIBE news|PSUBSCRIBE n*|PUBLISH ev:1 x|KEYS app:*|SCAN 0 MATCH log:*|\
        CLIENT SETNAME x|HELLO 3|EVAL s 1 q[1]|SORT h BY w_*|XREAD STREAMS st:1 0|\
        BITOP AND app:d app:a log:b";

    fn learned(traffic: &str) -> Lesson {
        let mut lesson = Lesson::default();
        for line in traffic.split('|') {
            let request = RequestBuf::from_args(line.split(' '));
            let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{line}") };
            lesson.note(spec, &request.as_request(), None);
        }
        lesson
    }

    #[test]
    fn what_was_seen_passes_and_nothing_else() {
        let words = learned(TRAFFIC).words();
        let policy = compile(&Rules { acl: Some(words.clone()), ..Rules::default() }).unwrap();
        let passes = |line: &str| {
            let request = RequestBuf::from_args(line.split(' '));
            let request = request.as_request();
            policy.decide(lookup(&request), &request, 0, &mut Scratch::default()).is_ok()
        };
        for line in TRAFFIC.split('|') {
            assert!(passes(line), "{line}: {words}");
        }
        for line in ["DEL app:1", "GET other:1", "SET log:1 v", "SUBSCRIBE other", "KEYS *"] {
            assert!(!passes(line), "{line}: {words}");
        }
    }

    #[test]
    fn neither_values_nor_whole_keys_are_told() {
        let text = learned("SET user:4711:mail secret EX 5|APPEND user:4712 hidden").to_toml("app");
        for word in ["secret", "hidden", "4711", "4712", "mail"] {
            assert!(!text.contains(word), "{text}");
        }
        assert!(text.contains("acl = \"+append +set %W~user:*\""), "{text}");
        assert!(text.contains("# commands: append 1, set 1\n"), "{text}");
    }

    #[test]
    fn many_names_are_one() {
        let mut lesson = Lesson::default();
        for i in 0..1000 {
            let request = RequestBuf::from_args(["GET".to_owned(), format!("k{i}")]);
            let spec = crate::command::by_name("get").unwrap();
            lesson.note(spec, &request.as_request(), None);
            let request = RequestBuf::from_args(["GET".to_owned(), format!("k{i}:x")]);
            lesson.note(spec, &request.as_request(), None);
        }
        assert!(lesson.words().contains("%R~*"));
        let request = RequestBuf::from_args(["GETSET", &"k".repeat(65), "v"]);
        let spec = crate::command::by_name("getset").unwrap();
        lesson.note(spec, &request.as_request(), None);
        assert_eq!(lesson.words(), "+get +getset ~*");
        assert!(lesson.keys.prefixes.len() <= PREFIXES_MAX + 1);
        assert!(lesson.keys.literals.len() <= LITERALS_MAX);
    }
}
