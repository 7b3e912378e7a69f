//! The reasons behind one decision, for people.
//!
//! Owns: [`Explanation`]. Never knows: where it is shown, connections.

use bytes::BytesMut;

use super::judge::{Evaluation, judge_by};
use super::misfit::misfits;
use super::role::RuleWord;
use super::{EvalContext, Policy, Refusal, RuleSet, Scratch, arity, known};
use crate::command::{self, KeyKind, KeyPosition, Spec, scan_match};
use crate::resp::Request;

/// What becomes of one request, and why.
#[derive(Debug)]
pub(crate) struct Explanation {
    /// `None`: no server of the table knows the command.
    pub spec: Option<&'static Spec>,
    pub verdict: Verdict,
    /// The word of a rule that decided about the command.
    pub word: Option<RuleWord>,
    /// Keys and channels, in the order of the arguments.
    pub names: Vec<Name>,
    /// Of a refused request: the names that do not fit, and what they were held against.
    pub misfits: Vec<String>,
    /// What is sent instead of the request, if it is changed: the request and what follows it.
    pub sent: Option<BytesMut>,
}

/// Whether the request passes.
#[derive(Debug)]
pub(crate) enum Verdict {
    Passes,
    /// The request passes, but the rule of that name would refuse it with these words.
    Observed(&'static str, String),
    /// The rule of that name refuses the request with these words.
    Refused(&'static str, String),
}

/// One key or channel of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The number of the argument; the command is 0.
    pub arg: u32,
    pub text: Vec<u8>,
    /// What it is and what is done with it: "key, read and written".
    pub role: String,
}

impl Explanation {
    /// Decides about a request as [`Policy::decide`] does, and returns the reasons.
    #[must_use]
    pub(crate) fn of(policy: &Policy, request: &Request<'_>, moment: &EvalContext) -> Self {
        let mut scratch = Scratch::default();
        let spec = known(policy.lookup(request));
        let checked = spec.and_then(|spec| arity(spec, request).map(|()| spec));
        let decided = checked.and_then(|spec| policy.permit(spec, request, moment, &mut scratch));
        let spec = spec.ok();
        let (verdict, word) = match &decided {
            Ok(grant) => (
                grant
                    .observed
                    .as_deref()
                    .map_or(Verdict::Passes, |refusal| observed(refusal, request)),
                spec.and_then(|spec| word_that_allows(policy, spec, request, moment)),
            ),
            Err(refusal) => (
                Verdict::Refused(refusal.rule.label(), text(refusal, request)),
                policy.word_of(refusal).cloned(),
            ),
        };
        let refusal = match &decided {
            Ok(grant) => grant.observed.as_deref().copied(),
            Err(refusal) => Some(*refusal),
        };
        let misfits = refusal.zip(spec).map(|(no, spec)| misfits(policy, &no, spec, request));
        let misfits = misfits.unwrap_or_default();
        let changed = decided.is_ok_and(|grant| grant.changed);
        let sent = changed.then(|| scratch.take_wire());
        let names = spec.map(|spec| names(spec, request)).unwrap_or_default();
        Self { spec, verdict, word, names, misfits, sent }
    }
}

/// The word by which the first selector that lets a request pass allows its command.
fn word_that_allows(
    policy: &Policy,
    spec: &'static Spec,
    request: &Request<'_>,
    moment: &EvalContext,
) -> Option<RuleWord> {
    let (mut scratch, lenient) = (Scratch::default(), RuleSet::default());
    let (database, scratch) = (moment.database, &mut scratch);
    let prefixed = policy.namespace.is_some();
    let mut case = Evaluation { spec, request, database, scratch, found: None, lenient, prefixed };
    let mut selectors = policy.roles.role.iter();
    let selector = selectors.find(|selector| judge_by(selector, &mut case).is_ok())?;
    policy.roles.word(selector.decision(spec.id).word).cloned()
}

fn text(refusal: &Refusal, request: &Request<'_>) -> String {
    let mut text = BytesMut::new();
    refusal.write_text(request, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn observed(refusal: &Refusal, request: &Request<'_>) -> Verdict {
    Verdict::Observed(refusal.rule.label(), text(refusal, request))
}

fn names(spec: &Spec, request: &Request<'_>) -> Vec<Name> {
    let (mut keys, mut patterns) = (Vec::new(), Vec::new());
    if command::find_keys(spec, request, &mut keys).is_err() {
        keys.clear();
    }
    if scan_match(spec, request, &mut patterns).is_err() {
        patterns.clear();
    }
    let argument = |arg: u32| request.arg(arg as usize).unwrap_or_default();
    let named = keys.iter().map(|at| {
        let text = argument(at.arg).get(at.start as usize..).unwrap_or_default();
        let text = text.get(..at.len as usize).unwrap_or(text).to_vec();
        Name { arg: at.arg, text, role: role(at) }
    });
    let walked = patterns.iter().map(|arg| Name {
        arg: *arg,
        text: argument(*arg).to_vec(),
        role: "pattern of keys".to_owned(),
    });
    let mut names: Vec<Name> = named.chain(walked).collect();
    names.sort_by_key(|name| name.arg);
    names
}

fn role(at: &KeyPosition) -> String {
    let what = match at.kind {
        KeyKind::Key => "key",
        KeyKind::KeyPattern => "pattern of keys that the data complete",
        KeyKind::KeyPrefix => "prefix of keys",
        KeyKind::Channel => "channel",
        KeyKind::ChannelPattern => "pattern of channels",
        KeyKind::ShardChannel => "shard channel",
    };
    let done = match (at.access.read, at.access.write) {
        (false, false) => return what.to_owned(),
        (true, false) => "read",
        (false, true) => "written",
        (true, true) => "read and written",
    };
    format!("{what}, {done}")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test may crash"
    )]
    use super::*;
    use crate::config::Rules;
    use crate::policy::compile;
    use crate::resp::RequestBuf;

    fn explained(rules: &Rules, line: &str) -> Explanation {
        let request = RequestBuf::from_args(line.split(' '));
        Explanation::of(&compile(rules).unwrap(), &request.as_request(), &EvalContext::default())
    }

    fn acl(acl: &str) -> Rules {
        Rules { acl: Some(acl.to_owned()), ..Rules::default() }
    }

    #[test]
    fn verdict_rule_word_and_names() {
        let rules = acl("+@read -sort ~a:* (+sort ~b:*)");
        let explanation = explained(&rules, "GET a:1");
        assert!(matches!(explanation.verdict, Verdict::Passes), "{explanation:?}");
        assert_eq!(&*explanation.word.unwrap().text, "+@read");
        let [name] = &explanation.names[..] else { panic!("{:?}", explanation.names) };
        assert_eq!((name.arg, &name.text[..], &name.role[..]), (1, &b"a:1"[..], "key, read"));

        let explanation = explained(&rules, "SORT b:1 BY b:* STORE b:2");
        assert!(matches!(explanation.verdict, Verdict::Passes), "{explanation:?}");
        assert_eq!(&*explanation.word.unwrap().text, "+sort");
        assert_eq!(explanation.names.len(), 3);

        let explanation = explained(&rules, "SORT a:1");
        assert!(matches!(explanation.verdict, Verdict::Refused("namespace", _)), "{explanation:?}");
        let explanation = explained(&acl("+@all -sort"), "SORT a:1");
        assert!(matches!(explanation.verdict, Verdict::Refused("command", _)), "{explanation:?}");
        assert_eq!(explanation.word.unwrap(), RuleWord { setting: "acl", text: "-sort".into() });
        let explanation = explained(&rules, "NOSUCH a:1");
        assert!(
            explanation.spec.is_none()
                && matches!(explanation.verdict, Verdict::Refused("unknown", _))
        );
    }

    #[test]
    fn observed_rules_are_explained() {
        let rules = Rules { observe: vec!["namespace".to_owned()], ..acl("+@read ~a:*") };
        let explanation = explained(&rules, "GET b:1");
        assert!(
            matches!(explanation.verdict, Verdict::Observed("namespace", _)),
            "{explanation:?}"
        );
        let explanation = explained(&rules, "SET b:1 x");
        assert!(matches!(explanation.verdict, Verdict::Refused("command", _)), "{explanation:?}");
        let rules = Rules { observe_all: true, ..acl("+@read ~a:*") };
        let explanation = explained(&rules, "SET b:1 x");
        assert!(matches!(explanation.verdict, Verdict::Observed("command", _)), "{explanation:?}");
        let explanation = explained(&rules, "PSYNC ? -1");
        assert!(
            matches!(explanation.verdict, Verdict::Refused("command", _)),
            "never carried: {explanation:?}"
        );
    }
}
