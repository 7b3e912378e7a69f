//! The name of a test begins with its subject, so that it is found by what it is about.
//!
//! Owns: the rule. Never knows: what a test does.

use super::source::Source;

/// Articles, pronouns, prepositions, and verbs or conjunctions in front of a subject.
const FIRST_WORDS: &[&str] = &[
    "a",
    "agrees",
    "among",
    "an",
    "announces",
    "another",
    "anybody",
    "anything",
    "are",
    "around",
    "as",
    "behind",
    "beyond",
    "by",
    "can",
    "cannot",
    "decodes",
    "does",
    "everybody",
    "everything",
    "examines",
    "finds",
    "forget",
    "from",
    "grows",
    "has",
    "have",
    "he",
    "here",
    "if",
    "ignores",
    "is",
    "it",
    "knows",
    "later",
    "leaving",
    "may",
    "must",
    "never",
    "nobody",
    "not",
    "nothing",
    "once",
    "one",
    "only",
    "other",
    "others",
    "prints",
    "refuses",
    "removes",
    "she",
    "so",
    "somebody",
    "something",
    "spells",
    "splits",
    "than",
    "that",
    "the",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "told",
    "too",
    "was",
    "we",
    "what",
    "whatever",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whoever",
    "will",
    "without",
];

/// Tests whose names begin with another word than their subject.
pub fn without_subject(source: &Source) -> Vec<(usize, String)> {
    let tests = source.all.windows(3).enumerate().filter(|(_, at)| {
        let [before, test, after] = at else { return false };
        test.text == "test"
            && matches!(before.text.as_str(), "[" | "::")
            && matches!(after.text.as_str(), "]" | "(")
    });
    let name = |at: usize| {
        let rest = source.all.get(at..).unwrap_or_default();
        rest.windows(2).find(|pair| pair[0].text == "fn").map(|pair| &pair[1])
    };
    tests
        .filter_map(|(at, _)| name(at))
        .filter(|name| {
            let first = name.text.split('_').next().unwrap_or_default();
            FIRST_WORDS.contains(&first)
        })
        .map(|name| (name.line, format!("{}: a test's name begins with its subject", name.text)))
        .collect()
}
