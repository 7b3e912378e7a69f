//! The names of a refused request and the patterns that they do not match, for people.
//!
//! Owns: the comparison in words, and how a name is written in them. Never knows: where it is shown, how a
//! decision was made.

use super::pattern::Pattern;
use super::refusal::Refusal;
use super::role::{KeyPattern, Scope, Selector};
use super::{Policy, Rule};
use crate::command::{Access, Flags, KeyKind, KeyPosition, Spec, find_keys, scan_match};
use crate::resp::Request;

/// A line for each name that does not fit, under each selector that permits the command.
pub(super) fn misfits(
    policy: &Policy,
    refusal: &Refusal,
    spec: &'static Spec,
    request: &Request<'_>,
) -> Vec<String> {
    let mut keys = Vec::new();
    if find_keys(spec, request, &mut keys).is_err() {
        keys.clear();
    }
    let by_role = [Rule::Namespace, Rule::Channel].contains(&refusal.rule);
    let mut lines = if by_role { of_roles(policy, spec, request, &keys) } else { Vec::new() };
    if refusal.rule == Rule::Key {
        lines = of_key_rules(policy, request, &keys);
    }
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}

fn of_roles(
    policy: &Policy,
    spec: &'static Spec,
    request: &Request<'_>,
    keys: &[KeyPosition],
) -> Vec<String> {
    let permits = |one: &&Selector| {
        one.allows(spec.id)
            || spec.flags.has(Flags::NO_AUTH)
            || one.allows_first(spec.id, request.arg(1))
    };
    let mut walked = Vec::new();
    if scan_match(spec, request, &mut walked).is_err() {
        walked.clear();
    }
    let mut lines = Vec::new();
    for selector in policy.roles.role.iter().filter(permits) {
        lines.extend(keys.iter().filter_map(|at| misfit(selector, at, at.name(request))));
        let patterns = walked.iter().filter_map(|arg| request.arg(*arg as usize));
        lines.extend(patterns.filter_map(|name| {
            of_keys(&selector.keys, name, Access::READ, |known| known.covers(name))
        }));
    }
    lines
}

/// `keys.pattern` and `keys.deny`.
fn of_key_rules(policy: &Policy, request: &Request<'_>, keys: &[KeyPosition]) -> Vec<String> {
    let Some(rules) = policy.source.as_deref().map(|rules| &rules.keys) else {
        return Vec::new();
    };
    let fits = |glob: &String, name: &[u8]| Pattern::new(glob.as_bytes()).matches(name);
    let mut lines = Vec::new();
    for at in keys.iter().filter(|at| at.kind == KeyKind::Key) {
        let name = at.name(request);
        let missed = rules.pattern.iter().filter(|glob| !fits(glob, name));
        lines.extend(
            missed.map(|glob| format!("{} does not match {glob} (keys.pattern)", quoted(name))),
        );
        let denied = rules.deny.iter().filter(|glob| fits(glob, name));
        lines.extend(denied.map(|glob| format!("{} matches {glob} (keys.deny)", quoted(name))));
    }
    lines
}

fn misfit(selector: &Selector, at: &KeyPosition, name: &[u8]) -> Option<String> {
    match at.kind {
        KeyKind::Key => of_keys(&selector.keys, name, at.access, |known| known.matches(name)),
        KeyKind::KeyPattern | KeyKind::KeyPrefix => {
            of_keys(&selector.keys, name, at.access, |known| known.covers_prefix(name))
        }
        // Unsubscribing is always allowed.
        _ if at.access == Access::NONE => None,
        KeyKind::Channel | KeyKind::ShardChannel => {
            of_channels(&selector.channels, name, |known| known.matches(name))
        }
        KeyKind::ChannelPattern => {
            of_channels(&selector.channels, name, |known| known.text() == name)
        }
    }
}

fn of_keys(
    scope: &Scope<KeyPattern>,
    name: &[u8],
    access: Access,
    fits: impl Fn(&Pattern) -> bool,
) -> Option<String> {
    let Scope::Only(known) = scope else { return None };
    if scope.any(access, &fits) {
        return None;
    }
    let text = |known: &Pattern| String::from_utf8_lossy(known.text()).into_owned();
    let word = |known: &KeyPattern| known.word(&text(&known.pattern));
    if let Some(near) = known.iter().find(|known| fits(&known.pattern)) {
        let done = if near.access.read { "written" } else { "read" };
        return Some(format!("{} matches {}, but is {done}", quoted(name), word(near)));
    }
    let words: Vec<String> = known.iter().map(word).collect();
    Some(none_of(name, &words))
}

fn of_channels(
    scope: &Scope<Pattern>,
    name: &[u8],
    fits: impl Fn(&Pattern) -> bool,
) -> Option<String> {
    let Scope::Only(known) = scope else { return None };
    let word = |known: &Pattern| format!("&{}", String::from_utf8_lossy(known.text()));
    let words: Vec<String> = known.iter().map(word).collect();
    (!known.iter().any(fits)).then(|| none_of(name, &words))
}

fn none_of(name: &[u8], words: &[String]) -> String {
    match words {
        [] => format!("{}: no name is allowed", quoted(name)),
        [word] => format!("{} does not match {word}", quoted(name)),
        words => format!("{} matches none of {}", quoted(name), words.join(" ")),
    }
}

/// An argument as a person would type it.
pub(super) fn quoted(arg: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    if !arg.is_empty() && arg.iter().all(plain) {
        return String::from_utf8_lossy(arg).into_owned();
    }
    format!("\"{}\"", arg.escape_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use crate::config::{KeyRules, Rules};
    use crate::policy::{EvalContext, Explanation, compile};
    use crate::resp::RequestBuf;

    #[test]
    fn names_that_do_not_fit_are_listed() {
        let keys = KeyRules {
            pattern: Some("user:*".to_owned()),
            deny: vec!["*:secret".to_owned()],
            ..KeyRules::default()
        };
        let acl = |acl: &str| Rules { acl: Some(acl.to_owned()), ..Rules::default() };
        let named = Rules { keys, ..acl("+@all ~*") };
        let one = acl("+@all ~app1:*");
        let two = acl("+@all -get ~a:* %R~b:* &n:* (+mget ~c:*) (+get ~*)");
        for (rules, line, expected) in [
            (&one, "GET app2:x", &["app2:x does not match ~app1:*"][..]),
            (&one, "MSET app1:x 1 y 2 y 3", &["y does not match ~app1:*"]),
            (&one, "SCAN 0 MATCH *", &["* does not match ~app1:*"]),
            (&one, "SORT app1:l BY w_*", &["w_* does not match ~app1:*"]),
            (&one, "PUBLISH n x", &["n: no name is allowed"]),
            (&two, "SET b:x 1", &["b:x matches %R~b:*, but is written"]),
            (
                &two,
                "MGET a:1 d",
                &[
                    "d matches none of ~a:* %R~b:*",
                    "a:1 does not match ~c:*",
                    "d does not match ~c:*",
                ],
            ),
            (&two, "SUBSCRIBE other", &["other does not match &n:*"]),
            (&two, "FLUSHALL", &[]),
            (&named, "GET x", &["x does not match user:* (keys.pattern)"]),
            (&named, "GET user:secret", &["user:secret matches *:secret (keys.deny)"]),
            (&one, "GET app1:x", &[]),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            let policy = compile(rules).unwrap();
            let request = request.as_request();
            let misfits = Explanation::of(&policy, &request, &EvalContext::default()).misfits;
            assert_eq!(misfits, expected, "{line}");
        }
    }
}
