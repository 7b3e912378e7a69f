//! Whether a role lets a request pass: databases, commands, keys, channels, and what is reached without a name.
//!
//! Owns: [`RoleRules`], [`Evaluation`], the order of a selector's checks. Never knows: rules that change requests.

use std::sync::Arc;

use crate::command::{
    Access, Dictionary, Effect, Flags, KeyError, KeyKind, KeyPosition, Lookup, Reach, Spec,
    find_keys,
};
use crate::resp::Request;

use super::database::Databases;
use super::keyspace::{may_be_reserved, names_reserved};
use super::pattern::Pattern;
use super::refusal::Cause;
use super::role::{Role, RuleWord, Scope, Selector, WordNumber};
use super::{Refusal, Rule, RuleSet, Scratch};

/// A request under judgement, and what was found out about it so far.
pub(super) struct Evaluation<'a, 's> {
    pub spec: &'static Spec,
    pub request: &'a Request<'a>,
    pub database: u32,
    pub scratch: &'s mut Scratch,
    /// Whether the keys were looked for, and with what result: once for all selectors.
    pub found: Option<Result<(), KeyError>>,
    /// Rules that do not refuse.
    pub lenient: RuleSet,
    /// Every name carries a prefix at the server.
    pub prefixed: bool,
}

/// What the role permits, and where that comes from.
#[derive(Debug)]
pub(super) struct RoleRules {
    pub role: Role,
    /// The commands that its words are about.
    pub dictionary: Arc<Dictionary>,
    /// The words it was built from, numbered from 1.
    pub words: Vec<RuleWord>,
    /// Rules that report and do not refuse.
    pub observed: RuleSet,
}

impl RoleRules {
    /// Whether the role lets it pass; if only because rules are observed, which would refuse it.
    pub(super) fn judge(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        database: u32,
        prefixed: bool,
        scratch: &mut Scratch,
    ) -> Result<Option<Refusal>, Refusal> {
        scratch.nameless = false;
        let lenient = RuleSet::default();
        let mut case =
            Evaluation { spec, request, database, scratch, found: None, lenient, prefixed };
        let refusal = match self.judge_all(&mut case) {
            Ok(()) => return Ok(None),
            Err(refusal) if !self.observed.has(refusal.rule) => return Err(refusal),
            Err(refusal) => refusal,
        };
        case.lenient = self.observed;
        self.judge_all(&mut case).map(|()| Some(refusal))
    }

    /// One selector that lets it pass is enough.
    fn judge_all(&self, case: &mut Evaluation<'_, '_>) -> Result<(), Refusal> {
        let mut worst: Option<Refusal> = None;
        for selector in self.role.iter() {
            match judge_by(selector, case) {
                // What no role can permit is distinguished from what this one forbids.
                Ok(()) if case.spec.effect == Effect::Never => {
                    return Err(Refusal::new(Rule::Command, Some(case.spec), Cause::NotCarried));
                }
                Ok(()) if !lets_replicate(selector, case) => {
                    worst = Some(Refusal::new(Rule::Command, Some(case.spec), Cause::NotNamed));
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

    /// Whether a rule permits the command by its name, not as one of many.
    pub(super) fn names(&self, spec: &Spec) -> bool {
        self.role.iter().any(|selector| selector.names(spec.id))
    }

    /// The word of this number; none has 0.
    pub(super) fn word(&self, number: WordNumber) -> Option<&RuleWord> {
        usize::from(number).checked_sub(1).and_then(|at| self.words.get(at))
    }
}

/// Replication sends everything that the server has: only where it is named among the commands, and
/// nothing else bounds what may be read.
fn lets_replicate(selector: &Selector, case: &Evaluation<'_, '_>) -> bool {
    let spec = case.spec;
    !matches!(spec.effect, Effect::Replicate { .. })
        || (selector.decision(spec.id).named
            && matches!(selector.keys, Scope::All)
            && matches!(selector.databases, Databases::All)
            && !case.prefixed)
}

/// One selector's answer: the databases, the command, its keys, its channels, and what it reaches without
/// naming it.
pub(super) fn judge_by(selector: &Selector, case: &mut Evaluation<'_, '_>) -> Result<(), Refusal> {
    let spec = case.spec;
    match selector.databases.hold(spec, case.request, case.database) {
        Ok(true) => {}
        Ok(false) => case.refuse(Rule::Namespace, Cause::Database)?,
        Err(_) => case.refuse(Rule::Incomplete, Cause::Incomplete)?,
    }
    let allowed = selector.allows(spec.id)
        || spec.flags.has(Flags::NO_AUTH)
        || selector.allows_first(spec.id, case.request.arg(1));
    if !allowed {
        let decision = selector.decision(spec.id);
        let rule = if decision.category { Rule::Category } else { Rule::Command };
        case.refuse(rule, Cause::Command(decision.word))?;
    }
    let keys_are_open = matches!(selector.keys, Scope::All);
    let names_are_open = keys_are_open
        && (!spec.flags.has(Flags::PUBSUB)
            || (matches!(selector.channels, Scope::All) && selector.databases.are_all()));
    if !names_are_open && !spec.keys.is_empty() {
        case.find_keys(keys_are_open)?;
        case.check_keys(selector)?;
        case.check_channels(selector)?;
    }
    if spec.reach == Reach::Named { Ok(()) } else { case.check_reach(selector) }
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

impl Evaluation<'_, '_> {
    /// A rule is broken: refused, unless that rule is lenient.
    const fn refuse(&self, rule: Rule, cause: Cause) -> Result<(), Refusal> {
        if self.lenient.has(rule) {
            return Ok(());
        }
        Err(Refusal::new(rule, Some(self.spec), cause))
    }

    /// Looks for the keys once. Where every key is allowed, the server may report what is wrong with
    /// the request.
    fn find_keys(&mut self, keys_are_open: bool) -> Result<(), Refusal> {
        let scratch = &mut *self.scratch;
        let found = *self
            .found
            .get_or_insert_with(|| find_keys(self.spec, self.request, &mut scratch.keys));
        match found {
            Ok(()) => Ok(()),
            Err(KeyError::NotYetKnown) => self.refuse(Rule::Incomplete, Cause::Incomplete),
            // The server reports what is wrong, and its commands look at no key.
            Err(KeyError::Refused) => {
                self.scratch.nameless |= !keys_are_open;
                Ok(())
            }
            Err(KeyError::Syntax) if self.spec.hides_keys() => {
                self.scratch.keys.clear();
                self.refuse(Rule::Namespace, Cause::HiddenKeys)
            }
            Err(KeyError::Syntax) if keys_are_open => {
                self.scratch.keys.clear();
                Ok(())
            }
            Err(KeyError::Syntax) => {
                self.scratch.keys.clear();
                self.refuse(Rule::Syntax, Cause::Syntax)
            }
        }
    }

    fn name(&self, at: &KeyPosition) -> &[u8] {
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
                        self.refuse(Rule::Namespace, Cause::Key)?;
                    }
                }
                KeyKind::KeyPattern => {
                    // Data replace `*`, so only a literal beginning is certain.
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
        indirect.map_or(Ok(()), |cause| self.refuse(Rule::Namespace, cause))
    }

    fn option_before(&self, at: &KeyPosition) -> &'static str {
        let option = (at.arg as usize).checked_sub(1).and_then(|arg| self.request.arg(arg));
        if option.is_some_and(|option| option.eq_ignore_ascii_case(b"get")) { "GET" } else { "BY" }
    }

    fn check_channels(&self, selector: &Selector) -> Result<(), Refusal> {
        let (mut reserved, mut elsewhere) = (false, false);
        for at in &self.scratch.keys {
            let is_pattern = match at.kind {
                KeyKind::Key | KeyKind::KeyPattern | KeyKind::KeyPrefix => continue,
                KeyKind::ChannelPattern => true,
                KeyKind::Channel | KeyKind::ShardChannel => false,
            };
            // Unsubscribing is always allowed.
            if at.access == Access::NONE {
                continue;
            }
            let name = self.name(at);
            // The server compares a pattern with the allowed ones letter by letter; here one passes too
            // whose every match is within an allowed prefix.
            let fits = |known: &Pattern| {
                if is_pattern { known.covers(name) } else { known.matches(name) }
            };
            let known: &[Pattern] = match &selector.channels {
                Scope::All => &[],
                Scope::Only(known) if known.iter().any(fits) => known,
                Scope::Only(known) => {
                    self.refuse(Rule::Channel, Cause::Channel)?;
                    known
                }
            };
            if !may_be_reserved(name, is_pattern) {
                continue;
            }
            elsewhere |= !selector.databases.hold_channel(name);
            reserved |= !selector.keys.is_unrestricted(at.access)
                && !known.iter().any(|known| fits(known) && names_reserved(known));
        }
        if reserved {
            self.refuse(Rule::Namespace, Cause::ReservedChannel)?;
        }
        if elsewhere { self.refuse(Rule::Namespace, Cause::OthersEvents) } else { Ok(()) }
    }

    fn check_reach(&mut self, selector: &Selector) -> Result<(), Refusal> {
        let patterns = &mut self.scratch.patterns;
        match selector.holds(self.spec, self.request, self.database, patterns) {
            Ok(true) => Ok(()),
            Ok(false) => self.refuse(Rule::Namespace, Cause::Reach(self.spec.reach)),
            Err(KeyError::Syntax | KeyError::Refused) => self.refuse(Rule::Syntax, Cause::Syntax),
            Err(KeyError::NotYetKnown) => self.refuse(Rule::Incomplete, Cause::Incomplete),
        }
    }
}

/// Of several selectors' refusals the server reports one: that of a channel before that of a key
/// before that of the command before that of a database (acl.c, `ACLCheckAllUserCommandPerm`). Its commands
/// check the rest themselves, later.
fn weight(refusal: &Refusal) -> u8 {
    match refusal.cause {
        Cause::UnknownCommand | Cause::UnknownSubcommand | Cause::Arity | Cause::Database => 0,
        Cause::Command(_) => 1,
        Cause::Key | Cause::Syntax => 2,
        Cause::Channel => 3,
        Cause::SortPattern(_)
        | Cause::Reach(_)
        | Cause::OthersEvents
        | Cause::OthersKeys(_)
        | Cause::StarInPrefix
        | Cause::ServerChannels
        | Cause::ReservedChannel
        | Cause::Broadcast
        | Cause::HiddenKeys => 4,
        Cause::NotCarried
        | Cause::NotNamed
        | Cause::Content(_)
        | Cause::Ttl(_)
        | Cause::Blocked { .. }
        | Cause::Script(_)
        | Cause::Rate { .. }
        | Cause::Concurrency => 5,
        Cause::Incomplete => 6,
    }
}
