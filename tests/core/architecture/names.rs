//! The name of a test begins with its subject, so that it is found by what it is about.
//!
//! Owns: the rule. Never knows: what a test does.

use super::source::Source;

/// Articles, pronouns, and verbs or conjunctions in front of a subject.
const FIRST_WORDS: &[&str] = &[
    "a",
    "an",
    "another",
    "anybody",
    "anything",
    "are",
    "as",
    "can",
    "cannot",
    "does",
    "everybody",
    "everything",
    "has",
    "have",
    "he",
    "here",
    "if",
    "is",
    "it",
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
    "she",
    "so",
    "somebody",
    "something",
    "than",
    "that",
    "the",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
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
