//! Configuration -> [`Policy`]: every word checked, every problem reported.
//!
//! Owns: [`compile`], [`RuleError`]. Never knows: requests.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::base::limits;
use crate::command::{Categories, Dictionary};
use crate::config::{KeyMode, LimitRule, Rules};

use super::acl::{self, Problem, Word};
use super::command_set::CommandSet;
use super::guard;
use super::judge::RoleRules;
use super::limit::Limit;
use super::preset::{DEFAULT, PRESETS, Preset};
use super::role::{Role, Selector, WordNumber};
use super::{Policy, RuleSet, RuleWord};

/// One word that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The setting, as `acl` or `limit.0.commands`.
    pub setting: Cow<'static, str>,
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
/// server does; with one, the preset's words come first. All keys and all channels are then allowed,
/// or with `keys.prefix` those that begin with it, unless `acl` has rules about
/// them. Neither: the safe default.
///
/// # Errors
///
/// Every word that cannot be applied.
pub fn compile(rules: &Rules) -> Result<Policy, Vec<RuleError>> {
    compile_with(rules, &Arc::default())
}

/// Like [`compile`], for the commands of the table and those of `dictionary`.
pub(crate) fn compile_with(
    rules: &Rules,
    dictionary: &Arc<Dictionary>,
) -> Result<Policy, Vec<RuleError>> {
    let mut builder = Builder { dictionary: Arc::clone(dictionary), ..Builder::default() };
    for (setting, text) in pieces(rules).map_err(|error| vec![error])? {
        builder.add(setting, &text);
    }
    let observed = builder.observed(rules);
    let limits = rules.limits.iter().enumerate();
    let limits = limits.map(|(index, rule)| builder.limit(index, rule)).collect();
    if let Some(rule) = guard::unguardable(rules, &builder.role, !observed.is_empty()) {
        let word = Word { at: 0, text: "guarded" };
        builder.refuse("scripts.mode", word, Problem::Unguardable(rule));
    }
    if builder.errors.is_empty() {
        let Builder { role, words, dictionary, .. } = builder;
        let policy = Policy::new(RoleRules { role: role.merged(), dictionary, words, observed });
        let policy = policy.with_keys(&rules.keys).with_content(rules).with_source(rules);
        Ok(Policy { limits, ..policy.with_scripts(rules) })
    } else {
        Err(builder.errors)
    }
}

/// The commands that words of the ACL language about commands name: `config`, `@dangerous`, `-config|get`.
///
/// # Errors
///
/// Every word that cannot be applied, at its place in `setting`.
pub(crate) fn commands(
    setting: &str,
    words: &[String],
    dictionary: &Arc<Dictionary>,
) -> Result<CommandSet, Vec<RuleError>> {
    let mut builder = Builder { dictionary: Arc::clone(dictionary), ..Builder::default() };
    let commands = builder.commands(setting, &words.join(" "));
    if builder.errors.is_empty() { Ok(CommandSet::new(commands)) } else { Err(builder.errors) }
}

/// The rules in the ACL language, in their order, each with the setting it comes from.
pub(super) fn pieces(rules: &Rules) -> Result<Vec<(&'static str, String)>, RuleError> {
    let acl = rules.acl.as_deref().unwrap_or_default();
    let preset = match (&rules.preset, &rules.acl) {
        (Some(name), _) => find_preset(name)?,
        (None, None) => Some(&DEFAULT),
        (None, Some(_)) => None,
    };
    let about = |starts: &[char], words: [&str; 2]| {
        acl::words(acl).into_iter().flatten().any(|word| {
            word.text.starts_with(starts)
                || words.iter().any(|known| word.text.eq_ignore_ascii_case(known))
        })
    };
    let prefix = rules.keys.prefix.as_ref().filter(|_| rules.keys.mode == KeyMode::Enforce);
    let otherwise = |all: &str, sign: char| match (prefix, preset) {
        (Some(prefix), _) => Some(("keys.prefix", format!("{sign}{prefix}*"))),
        (None, Some(_)) => Some(("preset", all.to_owned())),
        (None, None) => None,
    };
    let mut pieces = Vec::new();
    pieces.extend(preset.map(|preset| ("preset", preset.rules.to_owned())));
    if let Some(preset) = preset
        && bounds_keys(rules)
    {
        pieces.push(("preset", preset.where_keys_are_bound.to_owned()));
    }
    if !about(&['~', '%'], ["allkeys", "resetkeys"]) {
        pieces.extend(otherwise("allkeys", '~'));
    }
    if !about(&['&'], ["allchannels", "resetchannels"]) {
        pieces.extend(otherwise("allchannels", '&'));
    }
    pieces.push(("acl", acl.to_owned()));
    if rules.keys.mode == KeyMode::Rewrite {
        // Earlier words about the command meant all keys.
        let scans = [("keys.flushdb", rules.keys.flushdb), ("keys.dbsize", rules.keys.dbsize)];
        let asked = scans.into_iter().filter(|(_, asked)| *asked);
        pieces.extend(asked.map(|(setting, _)| (setting, setting.replace("keys.", "+"))));
    }
    Ok(pieces)
}

/// Whether keys are bounded: by a prefix, or by patterns of which none is `*`.
fn bounds_keys(rules: &Rules) -> bool {
    let words = acl::words(rules.acl.as_deref().unwrap_or_default());
    let mut patterns = words.into_iter().flatten().filter_map(|word| {
        if word.text.eq_ignore_ascii_case("allkeys") {
            return Some("*");
        }
        let (access, pattern) = word.text.split_once('~')?;
        (access.is_empty() || access.starts_with('%')).then_some(pattern)
    });
    let rewrites = rules.keys.mode == KeyMode::Rewrite && rules.keys.prefix.is_some();
    match patterns.next() {
        _ if rewrites => true,
        Some(first) => first != "*" && patterns.all(|pattern| pattern != "*"),
        None => rules.keys.prefix.is_some(),
    }
}

fn find_preset(name: &str) -> Result<Option<&'static Preset>, RuleError> {
    let found = PRESETS.iter().find(|preset| preset.name == name);
    if found.is_some() {
        return Ok(found);
    }
    Err(RuleError {
        setting: "preset".into(),
        at: 0,
        word: name.to_owned(),
        problem: Problem::UnknownPreset,
        nearest: nearest(name, PRESETS.iter().map(|preset| preset.name)),
    })
}

/// Applies words in order and keeps on after a problem.
#[derive(Debug, Default)]
struct Builder {
    dictionary: Arc<Dictionary>,
    role: Role,
    words: Vec<RuleWord>,
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

    fn observed(&mut self, rules: &Rules) -> RuleSet {
        if rules.observe_all {
            return RuleSet::OBSERVABLE;
        }
        RuleSet::named(rules.observe.iter().map(String::as_str)).unwrap_or_else(|name| {
            let word = Word { at: 0, text: name };
            self.refuse("observe", word, Problem::UnknownRule);
            RuleSet::default()
        })
    }

    /// The commands of a limit: a word without a sign adds.
    fn limit(&mut self, index: usize, rule: &LimitRule) -> Limit {
        Limit::new(self.commands(&format!("limit.{index}.commands"), &rule.commands), rule)
    }

    /// The commands that some words of the ACL language name.
    fn commands(&mut self, setting: &str, words: &str) -> Selector {
        let mut commands = Selector::default();
        for word in acl::words(words) {
            let word = word.unwrap_or_else(|open| open);
            let sign = if word.text.starts_with(['+', '-']) { "" } else { "+" };
            let signed = format!("{sign}{}", word.text);
            let applied = acl::step_of_commands(&signed, &self.dictionary)
                .and_then(|step| commands.apply(step, 0));
            if let Err(problem) = applied {
                self.refuse(setting.to_owned(), Word { at: word.at, text: &signed }, problem);
            }
        }
        commands
    }

    fn add_word(&mut self, setting: &'static str, word: Word<'_>) {
        if let Some(inner) = acl::selector_words(word) {
            if self.role.selectors.len() >= limits::SELECTORS_MAX {
                return self.refuse(setting, word, Problem::TooManySelectors);
            }
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
        let number = self.number(setting, word.text);
        let applied = acl::step(word.text, &self.dictionary);
        let applied = applied.and_then(|step| selector.apply(step, number));
        if let Err(problem) = applied {
            self.refuse(setting, word, problem);
        }
    }

    /// Words are counted from 1; 0 means that none decided.
    fn number(&mut self, setting: &'static str, word: &str) -> WordNumber {
        self.words.push(RuleWord { setting, text: word.into() });
        WordNumber::try_from(self.words.len()).unwrap_or(WordNumber::MAX)
    }

    fn refuse(&mut self, setting: impl Into<Cow<'static, str>>, word: Word<'_>, problem: Problem) {
        if self.errors.len() >= limits::RULE_ERRORS_MAX {
            return;
        }
        let setting = setting.into();
        let nearest = if problem == Problem::UnknownCategory {
            nearest_category(word.text)
        } else if matches!(problem, Problem::UnknownCommand | Problem::UnknownSubcommand) {
            nearest_name(word.text, &self.dictionary)
        } else {
            None
        };
        let unknown = matches!(
            problem,
            Problem::UnknownCommand | Problem::UnknownCategory | Problem::UnknownPreset
        );
        let may_be_secret = matches!(problem, Problem::UnknownWord | Problem::NoDatabases)
            || unknown && nearest.is_none() && !is_like_a_name(word.text);
        let shown = if acl::is_secret(word.text) || may_be_secret {
            word.text.chars().take(1).chain(['…']).collect()
        } else {
            acl::shortened(word.text)
        };
        self.errors.push(RuleError { setting, at: word.at, word: shown, problem, nearest });
    }
}

/// Whether a word that is not known looks like the name of a command or category: a password in the
/// wrong place seldom does.
fn is_like_a_name(word: &str) -> bool {
    const BYTES_MAX: usize = 24;
    let fits = |byte: u8| byte.is_ascii_lowercase() || b"+-@._|~&%".contains(&byte);
    word.len() <= BYTES_MAX && word.bytes().all(fits)
}

fn nearest_name(word: &str, dictionary: &Dictionary) -> Option<String> {
    let name = word.get(1..)?.to_ascii_lowercase();
    nearest(&name, dictionary.all().map(|spec| spec.name))
}

fn nearest_category(word: &str) -> Option<String> {
    let name = word.get(2..)?.to_ascii_lowercase();
    nearest(&name, Categories::NAMES.iter().map(|(name, _)| *name).chain(["all"]))
}

/// The known name that differs least, unless more than a third of the word would have to change.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let limit = (word.len() / 3).clamp(1, 4);
    known
        .filter(|name| name.len().abs_diff(word.len()) <= limit)
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
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may crash")]
    use super::*;
    use crate::config::KeyRules;

    fn errors(acl: &str) -> Vec<String> {
        let rules = Rules { acl: Some(acl.to_owned()), ..Rules::default() };
        compile(&rules).unwrap_err().iter().map(RuleError::to_string).collect()
    }

    #[test]
    fn problems_of_an_acl_have_their_word_and_place() {
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
    fn problems_of_single_words() {
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
            ("db=", Problem::NoDatabases),
            ("db=1,x", Problem::NoDatabases),
            ("db", Problem::UnknownWord),
            ("on", Problem::BelongsToUser),
            ("nopass", Problem::BelongsToUser),
            ("((+get))", Problem::NestedSelector),
            ("(reset)", Problem::NestedSelector),
            ("(~\"a\")", Problem::Quotes),
        ] {
            let rules = Rules { acl: Some(word.to_owned()), ..Rules::default() };
            let errors = compile(&rules).unwrap_err();
            assert_eq!(errors.first().unwrap().problem, problem, "{word}");
        }
    }

    #[test]
    fn commands_of_a_limit() {
        let limits = |commands: &str| {
            let limit = |commands: &str| LimitRule {
                commands: commands.to_owned(),
                ..LimitRule::default()
            };
            compile(&Rules { limits: vec![limit(commands), limit("ping")], ..Rules::default() })
        };
        let policy = limits("@write -incr ping auth").unwrap();
        let covered = |name| policy.limits()[0].covers(crate::command::by_name(name).unwrap());
        assert!(covered("set") && covered("ping"));
        // AUTH and similar commands are never limited.
        assert!(!covered("incr") && !covered("get") && !covered("auth"));
        for (commands, expected) in [
            ("gett", "limit.0.commands: '+gett' at byte 0: unknown command; nearest: get"),
            ("get @wite", "limit.0.commands: '+@wite' at byte 4: unknown category; nearest: write"),
            ("+get ~a", "limit.0.commands: '+~a' at byte 5: unknown command"),
            (
                "+select|0",
                "limit.0.commands: '+select|0' at byte 0: a limit is about whole commands and categories",
            ),
        ] {
            let errors = limits(commands).unwrap_err();
            assert_eq!(errors.first().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn passwords_are_never_repeated() {
        for word in [">hunter2", "<hunter2", "#hunter2", "!hunter2", "(>hunter2)"] {
            let rules = Rules { acl: Some(word.to_owned()), ..Rules::default() };
            let error = format!("{:?}", compile(&rules).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn sorting_where_keys_are_bound() {
        let allows = |rules: &Rules| {
            let policy = compile(rules).unwrap();
            ["sort", "sort_ro"].map(|name| {
                let id = crate::command::by_name(name).unwrap().id;
                policy.roles.role.iter().any(|selector| selector.allows(id))
            })
        };
        let rules = |preset: &str, acl: &str| {
            let acl = (!acl.is_empty()).then(|| acl.to_owned());
            Rules { preset: Some(preset.to_owned()), acl, ..Rules::default() }
        };
        let prefixed = |mode, acl: &str| {
            let keys = KeyRules { mode, prefix: Some("a:".to_owned()), ..KeyRules::default() };
            Rules { keys, ..rules("default", acl) }
        };
        for (rules, expected) in [
            (Rules::default(), [false, false]),
            (rules("default", ""), [false, false]),
            (rules("default", "~a:* %R~b"), [true, true]),
            (rules("default", "~a:* -sort"), [false, true]),
            (rules("default", "~*"), [false, false]),
            (rules("default", "%R~* ~a:*"), [false, false]),
            (rules("default", "allkeys"), [false, false]),
            (rules("cache", "~a:*"), [true, true]),
            (rules("readwrite", "~a:*"), [true, true]),
            (rules("readonly", "~a:*"), [false, true]),
            (prefixed(KeyMode::Enforce, ""), [true, true]),
            (prefixed(KeyMode::Enforce, "~*"), [false, false]),
            (prefixed(KeyMode::Rewrite, ""), [true, true]),
            (prefixed(KeyMode::Rewrite, "~*"), [true, true]),
        ] {
            assert_eq!(allows(&rules), expected, "{rules:?}");
        }
    }

    #[test]
    fn presets() {
        for preset in PRESETS {
            let rules = Rules { preset: Some(preset.name.to_owned()), ..Rules::default() };
            assert!(compile(&rules).is_ok(), "{}", preset.name);
        }
        let rules = Rules { preset: Some("cach".to_owned()), ..Rules::default() };
        let error = compile(&rules).unwrap_err();
        assert_eq!(error.first().unwrap().nearest.as_deref(), Some("cache"));
    }

    proptest::proptest! {
        /// Any configuration is compiled or rejected, with a position within it.
        #[test]
        fn any_text_has_an_answer(acl in "([-+~%&@()|a-z*\"é ]|get|config\\||RW~){0,40}") {
            let rules = Rules { acl: Some(acl.clone()), ..Rules::default() };
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
