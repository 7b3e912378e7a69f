//! Verdicts of whole policies: what is asked of a head, which word decided, labels.
//!
//! Owns: the cases. Never knows: sessions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may crash")]
use super::*;
use crate::command::lookup;
use crate::command::testing::with_head;
use crate::config::Rules;
use crate::resp::RequestBuf;

fn policy(acl: &str) -> Policy {
    compile(&Rules { acl: Some(acl.to_owned()), ..Rules::default() }).unwrap()
}

fn verdict(policy: &Policy, request: &Request<'_>) -> Option<Rule> {
    let decided = policy.decide(lookup(request), request, 0, &mut Scratch::default());
    decided.err().map(|refusal| refusal.rule)
}

fn of_head(policy: &Policy, line: &str, len: usize) -> Option<Rule> {
    with_head(line, len, |request| verdict(policy, request))
}

#[test]
fn missing_arguments_are_asked_for_only_where_they_decide() {
    let prefix = policy("+@all ~app1:* &*");
    assert_eq!(of_head(&prefix, "SET app1:a", 3), None);
    assert_eq!(of_head(&prefix, "SET app2:a", 3), Some(Rule::Namespace));
    assert_eq!(of_head(&prefix, "MSET app1:a", 5), Some(Rule::Incomplete));
    assert_eq!(of_head(&prefix, "SCAN 0 MATCH", 4), Some(Rule::Incomplete));
    assert_eq!(of_head(&prefix, "COPY app1:a app1:b", 5), Some(Rule::Incomplete));
    assert_eq!(of_head(&prefix, "GET", 3), Some(Rule::Arity));
    assert_eq!(of_head(&prefix, "PUBLISH news", 3), None);
    assert_eq!(of_head(&policy("+get ~app1:*"), "MSET app1:a", 5), Some(Rule::Command));
    assert_eq!(of_head(&policy("+@all allkeys &*"), "MSET app1:a", 5), None);
    assert_eq!(of_head(&Policy::open(), "MSET app1:a", 5), None);
}

#[test]
fn lost_scripts_are_sent_again_where_their_text_could_be() {
    for (acl, heals) in
        [("+@all", true), ("+evalsha", false), ("+@all -eval", false), ("+evalsha (+eval)", true)]
    {
        assert_eq!(policy(acl).retries_noscript(), heals, "{acl}");
    }
}

#[test]
fn word_that_decided() {
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
        let found = policy.word_of(&refusal).map(|word| &*word.text);
        assert_eq!((refusal.rule, found), (rule, word), "{line}");
    }
}

#[test]
fn rule_has_one_label() {
    let mut labels: Vec<_> = Rule::ALL.iter().map(|rule| rule.label()).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), Rule::ALL.len());
}
