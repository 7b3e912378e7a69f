//! Configuration -> [`Policy`]: every word checked, every problem told.
//!
//! Owns: [`compile`], [`RuleError`]. Never knows: requests.

use std::fmt;

use crate::command;
use crate::command::Categories;
use crate::config::Rules;

use super::Policy;
use super::acl::{self, Problem, Word};
use super::preset::{DEFAULT, PRESETS, Preset};
use super::role::{Role, Selector, WordNumber};

/// One word that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The setting: `acl` or `preset`.
    pub setting: &'static str,
    /// Bytes of the setting's text before the word.
    pub at: usize,
    /// The word; of a password only its first character.
    pub word: String,
    pub problem: Problem,
    /// What may have been meant.
    pub nearest: Option<String>,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: '{}' at byte {}: {}", self.setting, self.word, self.at, self.problem)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; nearest: {nearest}"))
    }
}

impl std::error::Error for RuleError {}

/// Builds the table that decides. Without a preset `acl` begins from nothing, as a new user of the
/// server does; with one, the preset's words come first, and all keys and all channels are allowed
/// unless `acl` says something about them. Neither: the safe default.
///
/// # Errors
///
/// Every word that cannot be applied.
pub fn compile(rules: &Rules) -> Result<Policy, Vec<RuleError>> {
    let mut builder = Builder::default();
    let acl = rules.acl.as_deref().unwrap_or_default();
    let preset = match (&rules.preset, &rules.acl) {
        (Some(name), _) => find_preset(name).map_err(|error| vec![error])?,
        (None, None) => Some(&DEFAULT),
        (None, Some(_)) => None,
    };
    if let Some(preset) = preset {
        builder.add("preset", preset.rules);
        let about = |starts: &[char], words: [&str; 2]| {
            acl::words(acl).into_iter().flatten().any(|word| {
                word.text.starts_with(starts)
                    || words.iter().any(|known| word.text.eq_ignore_ascii_case(known))
            })
        };
        if !about(&['~', '%'], ["allkeys", "resetkeys"]) {
            builder.add("preset", "allkeys");
        }
        if !about(&['&'], ["allchannels", "resetchannels"]) {
            builder.add("preset", "allchannels");
        }
    }
    builder.add("acl", acl);
    if builder.errors.is_empty() {
        Ok(Policy::new(builder.role, builder.words))
    } else {
        Err(builder.errors)
    }
}

fn find_preset(name: &str) -> Result<Option<&'static Preset>, RuleError> {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    if found.is_some() {
        return Ok(found);
    }
    Err(RuleError {
        setting: "preset",
        at: 0,
        word: name.to_owned(),
        problem: Problem::UnknownPreset,
        nearest: nearest(name, PRESETS.iter().map(|preset| preset.name)),
    })
}

/// Applies words in order and keeps on after a problem.
#[derive(Debug, Default)]
struct Builder {
    role: Role,
    words: Vec<Box<str>>,
    errors: Vec<RuleError>,
}

impl Builder {
    fn add(&mut self, setting: &'static str, text: &str) {
        for word in acl::words(text) {
            match word {
                Ok(word) => self.add_word(setting, word),
                Err(open) => self.refuse(setting, open, Problem::UnclosedSelector),
            }
        }
    }

    fn add_word(&mut self, setting: &'static str, word: Word<'_>) {
        if let Some(inner) = acl::selector_words(word) {
            let mut selector = Selector::default();
            for word in inner {
                if word.text.contains(['"', '\'']) {
                    self.refuse(setting, word, Problem::Quotes);
                    continue;
                }
                self.apply(setting, word, &mut selector);
            }
            self.role.selectors.push(selector);
        } else if word.text.eq_ignore_ascii_case("reset") {
            self.role = Role::default();
        } else if word.text.eq_ignore_ascii_case("clearselectors") {
            self.role.selectors.clear();
        } else {
            let mut root = std::mem::take(&mut self.role.root);
            self.apply(setting, word, &mut root);
            self.role.root = root;
        }
    }

    fn apply(&mut self, setting: &'static str, word: Word<'_>, selector: &mut Selector) {
        let number = self.number(word.text);
        let applied = acl::step(word.text).and_then(|step| selector.apply(step, number));
        if let Err(problem) = applied {
            self.refuse(setting, word, problem);
        }
    }

    /// Words are counted from 1; 0 means that none decided.
    fn number(&mut self, word: &str) -> WordNumber {
        self.words.push(word.into());
        WordNumber::try_from(self.words.len()).unwrap_or(WordNumber::MAX)
    }

    fn refuse(&mut self, setting: &'static str, word: Word<'_>, problem: Problem) {
        let nearest = if problem == Problem::UnknownCategory {
            nearest_category(word.text)
        } else if matches!(problem, Problem::UnknownCommand | Problem::UnknownSubcommand) {
            nearest_name(word.text)
        } else {
            None
        };
        let shown = if acl::is_secret(word.text) {
            word.text.chars().take(1).chain(['…']).collect()
        } else {
            word.text.to_owned()
        };
        self.errors.push(RuleError { setting, at: word.at, word: shown, problem, nearest });
    }
}

fn nearest_name(word: &str) -> Option<String> {
    let name = word.get(1..)?.to_ascii_lowercase();
    nearest(&name, command::all().iter().map(|spec| spec.name))
}

fn nearest_category(word: &str) -> Option<String> {
    let name = word.get(2..)?.to_ascii_lowercase();
    nearest(&name, Categories::NAMES.iter().map(|(name, _)| *name).chain(["all"]))
}

/// The known name that differs least, unless more than a third of the word would have to change.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (word.len() / 3).clamp(1, 4);
    known
        .map(|name| (distance(word.as_bytes(), name.as_bytes()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Letters to add, drop or replace (Levenshtein).
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, x) in a.iter().enumerate() {
        let (mut diagonal, mut left) = (above, above + 1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn errors(acl: &str) -> Vec<String> {
        let rules = Rules { preset: None, acl: Some(acl.to_owned()) };
        compile(&rules).unwrap_err().iter().map(RuleError::to_string).collect()
    }

    #[test]
    fn every_problem_with_its_word_and_place() {
        assert_eq!(
            errors("+gett  -@dangrous ~* ~a:* &* &x (+get ~a:* foo"),
            [
                "acl: '+gett' at byte 0: unknown command; nearest: get",
                "acl: '-@dangrous' at byte 7: unknown category; nearest: dangerous",
                "acl: '~a:*' at byte 21: all keys are allowed already, so the pattern has no \
                 effect; put resetkeys before it",
                "acl: '&x' at byte 29: all channels are allowed already, so the pattern has no \
                 effect; put resetchannels before it",
                "acl: '(+get' at byte 32: the selector has no closing parenthesis",
            ]
        );
    }

    #[test]
    fn each_problem() {
        for (word, problem) in [
            ("+config|gets", Problem::UnknownSubcommand),
            ("-select|0", Problem::FirstArgumentDenied),
            ("+config|get|x", Problem::FirstArgumentOfSubcommand),
            ("+select|", Problem::EmptySubcommand),
            ("+", Problem::UnknownCommand),
            ("-", Problem::UnknownCommand),
            ("+@", Problem::UnknownCategory),
            ("-get|", Problem::EmptySubcommand),
            ("get", Problem::UnknownWord),
            ("%~a", Problem::KeyAccess),
            ("%RR~a", Problem::KeyAccess),
            ("%X~a", Problem::KeyAccess),
            ("%R", Problem::KeyAccess),
            ("on", Problem::BelongsToUser),
            ("nopass", Problem::BelongsToUser),
            ("((+get))", Problem::NestedSelector),
            ("(reset)", Problem::NestedSelector),
            ("(~\"a\")", Problem::Quotes),
        ] {
            let rules = Rules { preset: None, acl: Some(word.to_owned()) };
            let errors = compile(&rules).unwrap_err();
            assert_eq!(errors.first().unwrap().problem, problem, "{word}");
        }
    }

    #[test]
    fn passwords_are_never_repeated() {
        for word in [">hunter2", "<hunter2", "#hunter2", "!hunter2", "(>hunter2)"] {
            let rules = Rules { preset: None, acl: Some(word.to_owned()) };
            let error = format!("{:?}", compile(&rules).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn presets() {
        for preset in PRESETS {
            let rules = Rules { preset: Some(preset.name.to_owned()), acl: None };
            assert!(compile(&rules).is_ok(), "{}", preset.name);
        }
        let rules = Rules { preset: Some("cach".to_owned()), acl: None };
        let error = compile(&rules).unwrap_err();
        assert_eq!(error.first().unwrap().nearest.as_deref(), Some("cache"));
    }

    proptest::proptest! {
        /// Whatever stands in a configuration is compiled or complained about, at a place within it.
        #[test]
        fn any_text_is_told(acl in "([-+~%&@()|a-z*\"é ]|get|config\\||RW~){0,40}") {
            let rules = Rules { preset: None, acl: Some(acl.clone()) };
            for error in compile(&rules).err().unwrap_or_default() {
                assert!(acl.get(error.at..).unwrap().starts_with(&error.word) || error.word.ends_with('…'));
            }
        }
    }

    #[test]
    fn distances() {
        for (a, b, expected) in [("", "", 0), ("get", "get", 0), ("get", "gett", 1), ("a", "", 1)] {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
        assert_eq!(distance(b"kitten", b"sitting"), 3);
    }
}
