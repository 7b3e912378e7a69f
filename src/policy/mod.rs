//! May this command pass: rules compiled once, one answer for each request.
//!
//! Owns: [`Policy`] and the order of its checks. Never knows: sockets, sessions, whether a command
//! travels at all.
//!
//! The language and every answer are Redis's own (acl.c of Redis 7.0). Four things are stricter,
//! each only where a policy does not allow every key, because a key pattern of the server protects
//! nothing there:
//!
//! * commands that show or touch keys without naming them (the table in `keyspace.rs`);
//! * a request whose keys cannot be told is refused, where the server checks none of them;
//! * every `STORE` of `SORT` and `GEORADIUS` counts, where the server checks one;
//! * the server's own channels about keys (`__keyspace@…`) must be named by a channel pattern; `&*`
//!   and `PSUBSCRIBE *` do not reach them.
//!
//! One thing is more lenient: `SORT … BY p*` and `GET p*` pass when `p` lies within an allowed
//! prefix; the server wants every key to be readable.
//!
//! What nobody but the server can see: scripts and functions may build key names. Their declared
//! keys are checked; only an ACL of the server's own user holds the others back.

mod acl;
mod compile;
mod keyspace;
mod pattern;
mod preset;
mod role;
mod verdict;

pub use acl::Problem;
pub use compile::{RuleError, compile};
pub use pattern::Pattern;
pub use verdict::{Refusal, Rule};

use crate::command::{Access, Effect, Flags, KeyAt, KeyError, KeyKind, Lookup, Spec, find_keys};
use crate::resp::Request;

use keyspace::{Hazards, may_be_reserved, names_reserved};
use role::{Role, Scope, Selector};
use verdict::Cause;

/// What one application may do. Built once by [`compile`], then only read.
#[derive(Debug)]
pub struct Policy {
    role: Role,
    /// The words it was built from, numbered from 1.
    words: Vec<Box<str>>,
    hazards: Hazards,
}

/// Room for key positions, kept between requests so that deciding allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    keys: Vec<KeyAt>,
    patterns: Vec<u32>,
}

/// A request under judgement, and what was found out about it so far.
struct Case<'a, 's> {
    spec: &'static Spec,
    request: &'a Request<'a>,
    database: u32,
    scratch: &'s mut Scratch,
    /// Whether the keys were looked for, and with what result: once for all selectors.
    found: Option<Result<(), KeyError>>,
}

impl Policy {
    fn new(role: Role, words: Vec<Box<str>>) -> Self {
        Self { role, words, hazards: Hazards::new() }
    }

    /// Everything that a proxy can carry, on all keys and channels.
    #[must_use]
    pub fn open() -> Self {
        let mut root = Selector::default();
        root.keys = Scope::All;
        root.channels = Scope::All;
        // A step that allows all commands cannot fail.
        let _ = root.apply(acl::Step::AllCommands { allow: true }, 1);
        Self::new(Role { root, selectors: Vec::new() }, vec!["+@all".into()])
    }

    /// The order of all checks, as the server has it (server.c, `processCommand`). The parts stand
    /// alone for the session, which asks for authentication between the second and the third.
    ///
    /// # Errors
    ///
    /// When the request may not pass. [`Rule::Incomplete`] is no verdict yet: what is missing of
    /// the request decides.
    pub fn decide(
        &self,
        lookup: Lookup,
        request: &Request<'_>,
        database: u32,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let spec = known(lookup)?;
        arity(spec, request)?;
        self.permit(spec, request, database, scratch)
    }

    /// Whether the role lets a known command with a fitting number of arguments pass.
    ///
    /// # Errors
    ///
    /// As [`Self::decide`].
    pub fn permit(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        database: u32,
        scratch: &mut Scratch,
    ) -> Result<(), Refusal> {
        let mut case = Case { spec, request, database, scratch, found: None };
        let mut worst: Option<Refusal> = None;
        for selector in self.role.iter() {
            match self.judge(selector, &mut case) {
                // What no role can permit is told apart from what this one forbids.
                Ok(()) if spec.effect == Effect::Never => {
                    return Err(case.refuse(Rule::Command, Cause::NotCarried));
                }
                Ok(()) => return Ok(()),
                Err(refusal) if worst.is_none_or(|known| weight(&refusal) > weight(&known)) => {
                    worst = Some(refusal);
                }
                Err(_) => {}
            }
        }
        worst.map_or(Ok(()), Err)
    }

    /// The word that allowed or denied the command of a refusal, if one did.
    #[must_use]
    pub fn word_of(&self, refusal: &Refusal) -> Option<&str> {
        let Cause::Command(number) = refusal.cause else { return None };
        usize::from(number).checked_sub(1).and_then(|at| self.words.get(at)).map(|word| &**word)
    }

    /// One selector's answer: the command, its keys, its channels, and what it reaches without
    /// naming it.
    fn judge(&self, selector: &Selector, case: &mut Case<'_, '_>) -> Result<(), Refusal> {
        let spec = case.spec;
        let allowed = selector.allows(spec.id)
            || spec.flags.has(Flags::NO_AUTH)
            || selector.allows_first(spec.id, case.request.arg(1));
        if !allowed {
            let decision = selector.decision(spec.id);
            let rule = if decision.category { Rule::Category } else { Rule::Command };
            return Err(case.refuse(rule, Cause::Command(decision.word)));
        }
        let keys_are_open = matches!(selector.keys, Scope::All);
        let channels_are_open = matches!(selector.channels, Scope::All);
        if keys_are_open && (channels_are_open || !spec.flags.has(Flags::PUBSUB)) {
            return Ok(());
        }
        if !spec.keys.is_empty() {
            case.find_keys(keys_are_open)?;
            case.check_keys(selector)?;
            case.check_channels(selector)?;
        }
        case.check_hazard(selector, &self.hazards)
    }
}

/// The command that was found.
///
/// # Errors
///
/// With the server's words when there is none.
pub fn known(lookup: Lookup) -> Result<&'static Spec, Refusal> {
    match lookup {
        Lookup::Command(spec) => Ok(spec),
        Lookup::UnknownSubcommand(container) => {
            Err(Refusal::new(Rule::Unknown, Some(container), Cause::UnknownSubcommand))
        }
        Lookup::Unknown => Err(Refusal::new(Rule::Unknown, None, Cause::UnknownCommand)),
    }
}

/// Whether the number of arguments fits.
///
/// # Errors
///
/// With the server's words when it does not.
pub fn arity(spec: &'static Spec, request: &Request<'_>) -> Result<(), Refusal> {
    if spec.accepts(request.len()) {
        return Ok(());
    }
    Err(Refusal::new(Rule::Arity, Some(spec), Cause::Arity))
}

impl Case<'_, '_> {
    const fn refuse(&self, rule: Rule, cause: Cause) -> Refusal {
        Refusal::new(rule, Some(self.spec), cause)
    }

    /// Looks for the keys once. Where every key is allowed the server may say what is wrong with
    /// the request.
    fn find_keys(&mut self, keys_are_open: bool) -> Result<(), Refusal> {
        let scratch = &mut *self.scratch;
        let found = *self
            .found
            .get_or_insert_with(|| find_keys(self.spec, self.request, &mut scratch.keys));
        match found {
            Ok(()) => Ok(()),
            Err(KeyError::NotYetKnown) => Err(self.refuse(Rule::Incomplete, Cause::Incomplete)),
            Err(KeyError::Syntax) if keys_are_open => {
                self.scratch.keys.clear();
                Ok(())
            }
            Err(KeyError::Syntax) => Err(self.refuse(Rule::Syntax, Cause::Syntax)),
        }
    }

    fn name(&self, at: &KeyAt) -> &[u8] {
        let (start, len) = (at.start as usize, at.len as usize);
        let arg = self.request.arg(at.arg as usize).unwrap_or_default();
        arg.get(start..start + len).unwrap_or(arg)
    }

    fn check_keys(&self, selector: &Selector) -> Result<(), Refusal> {
        let mut indirect = None;
        for at in &self.scratch.keys {
            let name = self.name(at);
            match at.kind {
                KeyKind::Key => {
                    if !selector.keys.any(at.access, |known| known.matches(name)) {
                        return Err(self.refuse(Rule::Namespace, Cause::Key));
                    }
                }
                KeyKind::KeyPattern => {
                    // The data stand for `*`, so only a literal beginning is certain.
                    if !selector.keys.any(at.access, |known| known.covers_prefix(name)) {
                        indirect =
                            indirect.or_else(|| Some(Cause::SortPattern(self.option_before(at))));
                    }
                }
                KeyKind::KeyPrefix => {
                    if !selector.keys.any(at.access, |known| known.covers_prefix(name)) {
                        indirect = indirect.or(Some(Cause::Broadcast));
                    }
                }
                KeyKind::Channel | KeyKind::ChannelPattern | KeyKind::ShardChannel => {}
            }
        }
        indirect.map_or(Ok(()), |cause| Err(self.refuse(Rule::Namespace, cause)))
    }

    fn option_before(&self, at: &KeyAt) -> &'static str {
        let option = (at.arg as usize).checked_sub(1).and_then(|arg| self.request.arg(arg));
        if option.is_some_and(|option| option.eq_ignore_ascii_case(b"get")) { "GET" } else { "BY" }
    }

    fn check_channels(&self, selector: &Selector) -> Result<(), Refusal> {
        let mut reserved = false;
        for at in &self.scratch.keys {
            let is_pattern = match at.kind {
                KeyKind::Key | KeyKind::KeyPattern | KeyKind::KeyPrefix => continue,
                KeyKind::ChannelPattern => true,
                KeyKind::Channel | KeyKind::ShardChannel => false,
            };
            // Leaving a channel is free.
            if at.access == Access::NONE {
                continue;
            }
            let name = self.name(at);
            // The server compares a pattern with the allowed ones letter by letter.
            let fits = |known: &Pattern| {
                if is_pattern { known.text() == name } else { known.matches(name) }
            };
            let known: &[Pattern] = match &selector.channels {
                Scope::All => &[],
                Scope::Only(known) if known.iter().any(fits) => known,
                Scope::Only(_) => return Err(self.refuse(Rule::Channel, Cause::Channel)),
            };
            reserved |= may_be_reserved(name, is_pattern)
                && !selector.keys.is_unrestricted(at.access)
                && !known.iter().any(|known| fits(known) && names_reserved(known));
        }
        if reserved { Err(self.refuse(Rule::Namespace, Cause::ReservedChannel)) } else { Ok(()) }
    }

    fn check_hazard(&mut self, selector: &Selector, hazards: &Hazards) -> Result<(), Refusal> {
        let Some(hazard) = hazards.get(self.spec.id) else { return Ok(()) };
        let patterns = &mut self.scratch.patterns;
        match hazard.stays_inside(selector, self.request, self.database, patterns) {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refuse(Rule::Namespace, Cause::Hazard(hazard))),
            Err(KeyError::Syntax) => Err(self.refuse(Rule::Syntax, Cause::Syntax)),
            Err(KeyError::NotYetKnown) => Err(self.refuse(Rule::Incomplete, Cause::Incomplete)),
        }
    }
}

/// Of several selectors' refusals the server tells one: that of a channel before that of a key
/// before that of the command (acl.c, `ACLCheckAllUserCommandPerm`). Its commands check the rest
/// themselves, later.
fn weight(refusal: &Refusal) -> u8 {
    match refusal.cause {
        Cause::UnknownCommand | Cause::UnknownSubcommand | Cause::Arity => 0,
        Cause::Command(_) => 1,
        Cause::Key | Cause::Syntax => 2,
        Cause::Channel => 3,
        Cause::SortPattern(_) | Cause::Hazard(_) | Cause::ReservedChannel | Cause::Broadcast => 4,
        Cause::NotCarried => 5,
        Cause::Incomplete => 6,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]
    use super::*;
    use crate::command::lookup;
    use crate::config::Rules;
    use crate::resp::{RequestBuf, RequestLimits, RequestScanner, Scan};

    fn policy(acl: &str) -> Policy {
        compile(&Rules { preset: None, acl: Some(acl.to_owned()) }).unwrap()
    }

    fn verdict(policy: &Policy, request: &Request<'_>) -> Option<Rule> {
        let decided = policy.decide(lookup(request), request, 0, &mut Scratch::default());
        decided.err().map(|refusal| refusal.rule)
    }

    /// The verdict about a request of `len` arguments, of which only those of `line` are here.
    fn of_head(policy: &Policy, line: &str, len: usize) -> Option<Rule> {
        let limits = RequestLimits {
            max_args: 100,
            max_bulk_bytes: 1 << 20,
            max_inline_bytes: 100,
            large_bytes: 1 << 16,
            authenticated: true,
        };
        let args = line.split(' ').map(|arg| format!("${}\r\n{arg}\r\n", arg.len()));
        let frame = format!("*{len}\r\n{}$65536\r\n", args.collect::<String>());
        let mut scanner = RequestScanner::default();
        let scan = scanner.scan(frame.as_bytes(), &limits);
        assert!(matches!(scan, Ok(Scan::Head { .. })), "{scan:?}");
        verdict(policy, &scanner.request(frame.as_bytes()))
    }

    #[test]
    fn what_is_missing_is_asked_for_only_where_it_decides() {
        let prefix = policy("+@all ~app1:* &*");
        assert_eq!(of_head(&prefix, "SET app1:a", 3), None);
        assert_eq!(of_head(&prefix, "SET app2:a", 3), Some(Rule::Namespace));
        assert_eq!(of_head(&prefix, "MSET app1:a", 5), Some(Rule::Incomplete));
        assert_eq!(of_head(&prefix, "SCAN 0 MATCH", 4), Some(Rule::Incomplete));
        assert_eq!(of_head(&prefix, "GET", 3), Some(Rule::Arity));
        assert_eq!(of_head(&prefix, "PUBLISH news", 3), None);
        assert_eq!(of_head(&policy("+get ~app1:*"), "MSET app1:a", 5), Some(Rule::Command));
        assert_eq!(of_head(&policy("+@all allkeys &*"), "MSET app1:a", 5), None);
        assert_eq!(of_head(&Policy::open(), "MSET app1:a", 5), None);
    }

    #[test]
    fn the_word_that_decided() {
        let policy = policy("+@all -@dangerous -get allkeys (+ping)");
        let mut scratch = Scratch::default();
        for (line, rule, word) in [
            ("FLUSHALL", Rule::Category, Some("-@dangerous")),
            ("GET a", Rule::Command, Some("-get")),
            ("GET", Rule::Arity, None),
            ("NONE", Rule::Unknown, None),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            let request = request.as_request();
            let refusal = policy.decide(lookup(&request), &request, 0, &mut scratch).unwrap_err();
            assert_eq!((refusal.rule, policy.word_of(&refusal)), (rule, word), "{line}");
        }
    }

    #[test]
    fn a_rule_has_one_label() {
        let mut labels: Vec<_> = Rule::ALL.iter().map(|rule| rule.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Rule::ALL.len());
    }
}
