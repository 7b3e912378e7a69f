//! May this command pass: rules compiled once, one answer for each request.
//!
//! Owns: [`Policy`] and the order of its checks. Never knows: sockets, sessions, whether a command
//! travels at all.
//!
//! The language and every answer are Redis's own (acl.c of Redis 7.0). Four things are stricter,
//! each only where a policy does not allow every key, because a key pattern of the server protects
//! nothing there:
//!
//! * commands that show or touch keys, or the server, without naming them (`command::Reach`);
//! * a request whose keys are unknown is refused, where the server checks none of them;
//! * every `STORE` of `SORT` and `GEORADIUS` counts, where the server checks one;
//! * the server's own channels about keys (`__keyspace@…`) must be named by a channel pattern; `&*`
//!   and `PSUBSCRIBE *` do not reach them.
//!
//! One thing is more lenient: `SORT … BY p*` and `GET p*` pass when `p` is within an allowed
//! prefix; the server wants every key to be readable.
//!
//! Scripts and functions may build key names and run any command, which no proxy sees in a request. So
//! where keys or databases are bound scripts are guarded ([`guard`]): the same rules hold inside. Where
//! the configuration sets `declared-keys` instead, only an ACL of the server's own user holds them
//! back.

mod acl;
mod acl_file;
mod block;
mod command_set;
mod compile;
mod content;
mod database;
mod edits;
mod explain;
mod explain_text;
mod fault;
mod grant;
pub(crate) mod guard;
mod json;
mod judge;
mod keyspace;
mod limit;
mod meet;
mod misfit;
mod names;
mod overlap;
mod overview;
mod pattern;
mod preset;
mod rate;
mod reach;
mod refusal;
mod report;
mod request_facts;
mod role;
mod rule_set;
mod script;
mod server;
mod shaping;
mod subscriptions;
mod traffic_profile;
mod traffic_profiles;
mod ttl;
mod void;

pub use crate::base::rule::Rule;
pub(crate) use acl_file::AccountError;
pub use acl_file::{AclUser, read_accounts};
pub(crate) use block::{Blocked, Blocks, Subject};
pub(crate) use command_set::CommandSet;
pub use compile::compile;
pub(crate) use compile::{RuleError, commands, compile_with};
pub use edits::Scratch;
pub(crate) use explain::{Explanation, Verdict};
pub(crate) use explain_text::Shown;
pub(crate) use grant::Grant;
pub use guard::Guarded;
pub(crate) use guard::{Guarding, Shaped};
pub use judge::{arity, known};
pub(crate) use limit::Limit;
pub(crate) use names::{KeyScan, Next, Prefix, ScanAction};
pub use names::{Strip, Stripper};
pub(crate) use overlap::overlaps;
pub(crate) use overview::{Mode, Overview};
pub use pattern::Pattern;
pub(crate) use rate::{Bucket, Rate};
pub(crate) use refusal::Refusal;
pub use request_facts::EvalContext;
pub(crate) use role::RuleWord;
pub(crate) use rule_set::RuleSet;
pub(crate) use server::{ServerRole, differences, server_rules};
pub(crate) use subscriptions::keeps_subscriptions;
pub(crate) use traffic_profiles::TrafficProfiles;
pub(crate) use void::Void;

use std::sync::{Arc, OnceLock};

use crate::command::{self, Dictionary, Lookup, Reach, Script, Spec};
use crate::config::{Degraded, KeyRules, Rules, ScriptMode};
use crate::resp::Request;

use content::Content;
use edits::Edits;
use guard::Guard;
use judge::RoleRules;
use names::{Namespace, Outcome, everything_behind};
use refusal::Cause;
use request_facts::{ObservedDenials, RequestFacts};
use role::{Role, Scope, Selector};
use script::Scripts;
use ttl::Ttl;

/// What one application may do. Built once by [`compile()`], then only read.
#[derive(Debug)]
pub struct Policy {
    /// Its section in the configuration.
    section: Box<str>,
    /// What it was built from; without it, nothing.
    source: Option<Box<Rules>>,
    roles: RoleRules,
    namespace: Option<Namespace>,
    scripts: Scripts,
    /// A script that the server has lost is sent to it again.
    retries_noscript: bool,
    /// Something goes before scripts.
    guards: bool,
    /// What that is, once a script has come.
    guard: OnceLock<Arc<Guard>>,
    limits: Box<[Limit]>,
    content: Option<Content>,
    ttl: Option<Ttl>,
    /// While the server cannot be reached, reads are answered as by a server without data.
    answers_misses: bool,
    /// No rule looks further into permitted requests, or changes them.
    passes_unchanged: bool,
}

impl Policy {
    fn new(roles: RoleRules) -> Self {
        Self {
            section: "policy".into(),
            source: None,
            roles,
            namespace: None,
            scripts: Scripts::default(),
            retries_noscript: false,
            answers_misses: false,
            guards: false,
            guard: OnceLock::new(),
            limits: Box::default(),
            content: None,
            ttl: None,
            passes_unchanged: true,
        }
    }

    /// This policy with its keys bound to the application's own.
    fn with_keys(mut self, rules: &KeyRules) -> Self {
        self.namespace = Namespace::new(rules);
        self.passes_unchanged &= self.namespace.is_none();
        self
    }

    /// This policy with rules about values and times to live.
    fn with_content(mut self, rules: &Rules) -> Self {
        self.content = Content::new(&rules.keys, &rules.values);
        self.ttl = Ttl::new(&rules.ttl);
        self.passes_unchanged &= self.content.is_none() && self.ttl.is_none();
        self
    }

    /// This policy with rules about scripts; called after those about keys.
    fn with_scripts(mut self, rules: &Rules) -> Self {
        let bound = script::are_bound(&self.roles.role, &rules.keys);
        let guardable = guard::obstacle(rules, &self.roles.role, self.is_observing()).is_ok();
        self.scripts = Scripts::new(&rules.scripts, bound, guardable);
        let runs = self.roles.role.iter().any(script::may_run);
        self.guards = self.scripts.mode() == ScriptMode::Guarded && guardable && runs;
        let eval = command::by_name("eval").map(|eval| eval.id);
        let may_eval =
            eval.is_some_and(|id| self.roles.role.iter().any(|selector| selector.allows(id)));
        self.answers_misses = rules.degraded == Degraded::Miss;
        self.retries_noscript = rules.scripts.heal.unwrap_or(true) && may_eval;
        self
    }

    /// Whether reads are answered as by a server without data while the server cannot be reached.
    #[inline]
    #[must_use]
    pub const fn answers_misses(&self) -> bool {
        self.answers_misses
    }

    fn prefix_of_strip(&self) -> Option<&Arc<Prefix>> {
        self.namespace.as_ref().map(Namespace::prefix)
    }

    /// This policy with the rules that it is built from, however their words are spaced.
    fn with_source(mut self, rules: &Rules) -> Self {
        let acl = rules
            .acl
            .as_deref()
            .map(|acl| acl.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
        self.source = Some(Box::new(Rules { acl, ..rules.clone() }));
        self
    }

    /// This policy with the name of its section in the configuration.
    #[must_use]
    pub fn named(mut self, section: &str) -> Self {
        self.section = section.into();
        self
    }

    /// The name of its section in the configuration.
    #[must_use]
    pub fn section(&self) -> &str {
        &self.section
    }

    /// Whether both decide the same for every request: the same rules about the same commands.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.source == other.source && self.roles.dictionary == other.roles.dictionary
    }

    /// The text before every key and channel of the application, if there is one.
    #[must_use]
    pub fn prefix(&self) -> Option<&Prefix> {
        self.namespace.as_ref().map(|namespace| &**namespace.prefix())
    }

    /// Everything that a proxy can carry, on all keys and channels.
    #[must_use]
    pub fn open() -> Self {
        let mut root = Selector::default();
        root.keys = Scope::All;
        root.channels = Scope::All;
        // A step that allows all commands cannot fail.
        let _ = root.apply(acl::Step::AllCommands { allow: true }, 1);
        let role = Role { root, selectors: Vec::new() };
        let (dictionary, words, observed) = (Arc::default(), Vec::new(), RuleSet::default());
        Self::new(RoleRules { role, dictionary, words, observed })
    }

    /// The commands that words of this policy are about.
    #[must_use]
    pub const fn dictionary(&self) -> &Arc<Dictionary> {
        &self.roles.dictionary
    }

    /// The command that a request names, among those that this policy knows.
    #[must_use]
    pub fn lookup(&self, request: &Request<'_>) -> Lookup {
        self.roles.dictionary.lookup(request)
    }

    /// Whether any rule is only observed.
    #[must_use]
    pub const fn is_observing(&self) -> bool {
        !self.roles.observed.is_empty()
    }

    /// How often, and how many at once.
    #[must_use]
    pub const fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Whether this rule reports and does not refuse.
    #[must_use]
    pub const fn observes(&self, rule: Rule) -> bool {
        self.roles.observed.has(rule)
    }

    /// Whether a script that the server has lost is sent to it again: only for a client that could have sent its text.
    #[must_use]
    pub const fn retries_noscript(&self) -> bool {
        self.retries_noscript
    }

    /// Whether something goes before scripts.
    #[must_use]
    #[inline]
    pub const fn guards(&self) -> bool {
        self.guards
    }

    /// What goes before scripts, if something does. It is built for the first script: most processes get none.
    #[must_use]
    pub fn guard(&self) -> Option<&Arc<Guard>> {
        let rules = self.source.as_deref().filter(|_| self.guards);
        debug_assert_eq!(rules.is_some(), self.guards, "the rules are not known any more");
        let RoleRules { role, dictionary, .. } = &self.roles;
        rules.map(|it| self.guard.get_or_init(|| Arc::new(Guard::new(it, role, dictionary))))
    }

    /// Whether [`EvalContext::unix_ms`] must be given.
    #[must_use]
    pub fn needs_wall_clock(&self) -> bool {
        self.ttl.as_ref().is_some_and(Ttl::needs_wall_clock)
    }

    /// The longest argument of such a command, bytes, for those that [`Self::permit`] did not see.
    #[must_use]
    pub fn argument_max(&self, spec: &Spec) -> Option<u64> {
        self.content.as_ref().filter(|_| !self.roles.observed.has(Rule::Value))?.value_bytes(spec)
    }

    /// The order of all checks, as the server has it (server.c, `processCommand`). The parts are
    /// alone for the session, which checks authentication between the second and the third.
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
    ) -> Result<Grant, Refusal> {
        let spec = known(lookup)?;
        arity(spec, request)?;
        self.permit(spec, request, &EvalContext { database, unix_ms: 0 }, scratch)
    }

    /// Whether a known command with a fitting number of arguments may pass, and as what.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::decide`].
    pub fn permit(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        moment: &EvalContext,
        scratch: &mut Scratch,
    ) -> Result<Grant, Refusal> {
        let observed = self.admit(spec, request, moment, scratch)?;
        self.grant(observed, spec, request, moment, scratch)
    }

    /// Whether such a request may pass, judged by its command, its names and the rules about scripts alone. Returns the
    /// refusal of a rule that is only observed, if there is one.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::decide`].
    #[inline(always)]
    pub fn admit(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        moment: &EvalContext,
        scratch: &mut Scratch,
    ) -> Result<Option<Refusal>, Refusal> {
        let prefixed = self.namespace.is_some();
        let observed = self.roles.judge(spec, request, moment.database, prefixed, scratch)?;
        Ok(self.lenient(self.judge_script(spec, request))?.or(observed))
    }

    /// How a request may pass that [`Self::admit`] has just admitted, with what that returned.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::decide`].
    #[inline(always)]
    pub fn grant(
        &self,
        observed: Option<Refusal>,
        spec: &'static Spec,
        request: &Request<'_>,
        moment: &EvalContext,
        scratch: &mut Scratch,
    ) -> Result<Grant, Refusal> {
        let observed = observed.map(Box::new);
        let strip = if spec.reach == Reach::Report { self.own_report(spec) } else { None };
        if self.passes_unchanged && !scratch.nameless && !scratch.guarded.changes() {
            return Ok(Grant { observed, strip, ..Grant::default() });
        }
        let grant = self.shape(spec, request, moment, scratch)?;
        Ok(Grant { observed: observed.or(grant.observed), strip: strip.or(grant.strip), ..grant })
    }

    /// The decision of the rules about scripts; they do not apply to what a rule permits by name.
    fn judge_script(&self, spec: &'static Spec, request: &Request<'_>) -> Result<(), Refusal> {
        let Some(script) = spec.script else { return Ok(()) };
        if matches!(script, Script::Shows | Script::Change { .. }) && self.roles.names(spec) {
            return Ok(());
        }
        self.scripts.judge(script, spec, request)
    }

    /// Where the policy is bounded, what to remove from a report about the server.
    fn own_report(&self, spec: &Spec) -> Option<Strip> {
        let sees_all = |one: &Selector| one.allows(spec.id) && one.is_boundless();
        let namespace = self.namespace.as_ref().map(|namespace| Arc::clone(namespace.prefix()));
        if namespace.is_none()
            && (self.observes(Rule::Namespace) || self.roles.role.iter().any(sees_all))
        {
            return None;
        }
        Some(Strip::of_report(namespace.unwrap_or_else(|| Arc::new(Prefix::new(b"")))))
    }

    /// A refusal by a rule that is only observed refuses nothing.
    const fn lenient(&self, verdict: Result<(), Refusal>) -> Result<Option<Refusal>, Refusal> {
        match verdict {
            Ok(()) => Ok(None),
            Err(refusal) if self.observes(refusal.rule) => Ok(Some(refusal)),
            Err(refusal) => Err(refusal),
        }
    }

    /// The rules that look into a permitted request and change it, in their order: the wire is
    /// written once, at the end.
    fn shape(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        moment: &EvalContext,
        scratch: &mut Scratch,
    ) -> Result<Grant, Refusal> {
        scratch.edits.clear();
        let prefix = self.prefix().map_or(&b""[..], Prefix::text);
        let subject = RequestFacts { spec, request, moment, prefix };
        let mut witness = ObservedDenials::new(self.roles.observed);
        if let Some(content) = &self.content {
            content.check(&subject, &mut scratch.keys, &mut witness)?;
        }
        let Outcome { strip, key_scan } = self.name(spec, request, scratch)?;
        let strip = self.without_denied(strip, spec, request);
        // Inside a guarded script the rule applies to each write and its own key.
        if let Some(ttl) = self.ttl.as_ref().filter(|_| !scratch.guarded.changes()) {
            if self.roles.observed.has(Rule::Ttl) {
                // Nothing is changed either: what would be is thrown away.
                let judged = ttl.shape(&subject, &mut scratch.keys, &mut Edits::default());
                judged.or_else(|refusal| witness.hold(refusal))?;
            } else {
                ttl.shape(&subject, &mut scratch.keys, &mut scratch.edits)?;
            }
        }
        let strip =
            shaping::apply(&scratch.guarded, strip, self.prefix_of_strip(), &mut scratch.edits);
        let grant = Grant {
            strip,
            scan: key_scan,
            observed: witness.first().map(Box::new),
            ..Grant::default()
        };
        if scratch.edits.is_empty() {
            return Ok(grant);
        }
        scratch.wire.clear();
        let split = scratch.edits.write(request, &mut scratch.wire);
        let (rest, companions) = (scratch.edits.rest_of(request), scratch.edits.companions());
        Ok(Grant { changed: true, split, rest, companions, ..grant })
    }

    /// Keeps the names of a request among the application's own.
    fn name(
        &self,
        spec: &'static Spec,
        request: &Request<'_>,
        scratch: &mut Scratch,
    ) -> Result<Outcome, Refusal> {
        let Scratch { keys, patterns, edits, nameless, .. } = scratch;
        let named = match &self.namespace {
            Some(namespace) => {
                namespace.apply(spec, request, self.roles.names(spec), (keys, patterns), edits)
            }
            None if *nameless => {
                let found = everything_behind(spec, request, keys);
                keys.iter().for_each(|at| edits.blank(at.arg));
                found.map(|()| Outcome::default())
            }
            None => return Ok(Outcome::default()),
        };
        named.map_err(|cause| {
            let rule = if matches!(cause, Cause::Syntax) {
                Rule::Syntax
            } else if matches!(cause, Cause::Incomplete) {
                Rule::Incomplete
            } else {
                Rule::Namespace
            };
            Refusal::new(rule, Some(spec), cause)
        })
    }

    /// The word that allowed or denied the command of a refusal, if one did.
    #[must_use]
    pub fn word_of(&self, refusal: &Refusal) -> Option<&RuleWord> {
        let Cause::Command(number) = refusal.cause else { return None };
        self.roles.word(number)
    }
}

#[cfg(test)]
mod tests;
