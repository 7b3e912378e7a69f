//! What one application may do: a set of commands, patterns of keys and of channels, databases.
//!
//! Owns: [`Role`], [`Selector`], [`RuleWord`]. Never knows: the source of the words, passwords, requests.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use crate::command::{Access, CommandId, IDS};

use super::acl::{Problem, Step};
use super::database::Databases;
use super::pattern::Pattern;

/// The number of the word that decided about a command; 0 when none did.
pub(super) type WordNumber = u16;

/// A word of the rules and the setting it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleWord {
    /// `preset`, `acl` or `keys.prefix`.
    pub setting: &'static str,
    pub text: Box<str>,
}

/// A root and any number of selectors: a request passes when one of them lets it pass whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Role {
    pub root: Selector,
    pub selectors: Vec<Selector>,
}

impl Role {
    /// The root first, in the order in which the server checks them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// A key pattern that is there several times becomes one, with the access of all of them.
    pub(super) fn merged(mut self) -> Self {
        let selectors = std::iter::once(&mut self.root).chain(&mut self.selectors);
        selectors.for_each(Selector::merge_key_patterns);
        self
    }
}

/// One set of permissions that are in force together.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    allowed: Box<[u64]>,
    /// For each command the word that decides.
    decided: Box<[Decision]>,
    /// By the number of the command.
    first_arguments: BTreeMap<u16, Vec<Box<[u8]>>>,
    pub keys: Scope<KeyPattern>,
    pub channels: Scope<Pattern>,
    pub databases: Databases,
}

/// The word that allowed or denied a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    pub word: WordNumber,
    /// Whether the word named a category (`-@dangerous`), not the command.
    pub category: bool,
    /// Whether the word, or one before it, named the command or its container, not a category or all
    /// commands.
    pub named: bool,
}

/// All names, or those that fit a pattern.
#[derive(Clone, Debug)]
pub(super) enum Scope<P> {
    All,
    Only(Vec<P>),
}

/// A pattern of keys and what may be done to them.
#[derive(Clone, Debug)]
pub(super) struct KeyPattern {
    pub pattern: Pattern,
    pub access: Access,
}

/// Nothing at all, as a new user of the server.
impl Default for Selector {
    fn default() -> Self {
        Self {
            allowed: vec![0; IDS.div_ceil(64)].into(),
            decided: vec![Decision::default(); IDS].into(),
            first_arguments: BTreeMap::new(),
            keys: Scope::Only(Vec::new()),
            channels: Scope::Only(Vec::new()),
            databases: Databases::All,
        }
    }
}

impl Selector {
    /// Applies one word; later words win.
    ///
    /// # Errors
    ///
    /// When the word would have no effect after those before it, as the server sees it.
    pub(crate) fn apply(&mut self, step: Step, word: WordNumber) -> Result<(), Problem> {
        match step {
            Step::Commands { allow, category, ids } => {
                for id in ids {
                    self.set(id, allow, Decision { word, category, named: !category });
                }
            }
            Step::AllCommands { allow } => {
                for id in (0..=u16::MAX).take(IDS).map(CommandId) {
                    self.set(id, allow, Decision { word, category: false, named: false });
                }
            }
            Step::FirstArgument { id, argument } => {
                self.first_arguments.entry(id.0).or_default().push(argument);
            }
            Step::AllKeys => self.keys = Scope::All,
            Step::ResetKeys => self.keys = Scope::Only(Vec::new()),
            Step::Keys { pattern, access } => match &mut self.keys {
                Scope::All => return Err(Problem::KeysAlreadyAll),
                Scope::Only(patterns) => patterns.push(KeyPattern { pattern, access }),
            },
            Step::AllChannels => self.channels = Scope::All,
            Step::ResetChannels => self.channels = Scope::Only(Vec::new()),
            Step::Channels { pattern } => match &mut self.channels {
                Scope::All => return Err(Problem::ChannelsAlreadyAll),
                Scope::Only(patterns) => patterns.push(pattern),
            },
            Step::Databases(databases) => self.databases = databases,
        }
        Ok(())
    }

    fn merge_key_patterns(&mut self) {
        let Scope::Only(patterns) = &mut self.keys else { return };
        let mut places = HashMap::new();
        let mut merged: Vec<KeyPattern> = Vec::new();
        for known in std::mem::take(patterns) {
            match places.entry(known.pattern.text().to_owned()) {
                Entry::Vacant(place) => {
                    place.insert(merged.len());
                    merged.push(known);
                }
                Entry::Occupied(place) => {
                    if let Some(first) = merged.get_mut(*place.get()) {
                        first.access.read |= known.access.read;
                        first.access.write |= known.access.write;
                    }
                }
            }
        }
        *patterns = merged;
    }

    fn set(&mut self, id: CommandId, allow: bool, mut decision: Decision) {
        decision.named |= allow && self.names(id);
        let (word, bit) = place(id);
        if let Some(word) = self.allowed.get_mut(word) {
            *word = if allow { *word | bit } else { *word & !bit };
        }
        if let Some(known) = self.decided.get_mut(usize::from(id.0)) {
            *known = decision;
        }
        self.first_arguments.remove(&id.0);
    }

    /// Whether the command may run with any first argument.
    pub(crate) fn allows(&self, id: CommandId) -> bool {
        let (word, bit) = place(id);
        self.allowed.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether a word permits the command by its name.
    pub(crate) fn names(&self, id: CommandId) -> bool {
        self.allows(id) && self.decision(id).named
    }

    /// Whether the command may run with this first argument, although not with any.
    pub(crate) fn allows_first(&self, id: CommandId, argument: Option<&[u8]>) -> bool {
        self.first_arguments.get(&id.0).zip(argument).is_some_and(|(known, argument)| {
            known.iter().any(|known| known.eq_ignore_ascii_case(argument))
        })
    }

    /// Whether `other` permits exactly the same, of these commands.
    pub(crate) fn permits_as(&self, other: &Self, commands: &[CommandId]) -> bool {
        let sorted = |selector: &Self| {
            let (mut words, mut first) = (selector.words(), selector.first_arguments.clone());
            words.sort();
            first.values_mut().for_each(|arguments| arguments.sort());
            (words, first)
        };
        commands.iter().all(|id| self.allows(*id) == other.allows(*id))
            && sorted(self) == sorted(other)
    }

    /// Its keys, channels and databases, as words of the ACL language.
    pub(crate) fn words(&self) -> Vec<String> {
        let text = |pattern: &Pattern| String::from_utf8_lossy(pattern.text()).into_owned();
        let keys = match &self.keys {
            Scope::All => vec!["~*".to_owned()],
            Scope::Only(known) => known.iter().map(|key| key.word(&text(&key.pattern))).collect(),
        };
        let channels = match &self.channels {
            Scope::All => vec!["&*".to_owned()],
            Scope::Only(known) => known.iter().map(|known| format!("&{}", text(known))).collect(),
        };
        let databases = self.databases.word().into_iter().collect();
        [keys, channels, databases].concat()
    }

    pub(crate) fn decision(&self, id: CommandId) -> Decision {
        self.decided.get(usize::from(id.0)).copied().unwrap_or_default()
    }
}

impl KeyPattern {
    pub(crate) fn word(&self, pattern: &str) -> String {
        let access = match (self.access.read, self.access.write) {
            (true, false) => "%R",
            (false, true) => "%W",
            (true, true) | (false, false) => "",
        };
        format!("{access}~{pattern}")
    }
}

impl Scope<KeyPattern> {
    /// Whether one pattern allows all of `access` and makes `fits` true. As the server has it, one
    /// pattern must allow the whole: `%R~a %W~a` is not `%RW~a` where the texts differ.
    pub(crate) fn any(&self, access: Access, fits: impl Fn(&Pattern) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => {
                patterns.iter().any(|known| covers(known.access, access) && fits(&known.pattern))
            }
        }
    }

    /// Whether every key there is may be used this way (Redis:
    /// `ACLSelectorHasUnrestrictedKeyAccess`).
    pub(crate) fn is_unrestricted(&self, access: Access) -> bool {
        self.any(access, Pattern::is_everything)
    }
}

fn covers(has: Access, wants: Access) -> bool {
    (has.read || !wants.read) && (has.write || !wants.write)
}

fn place(id: CommandId) -> (usize, u64) {
    (usize::from(id.0 / 64), 1 << (id.0 % 64))
}
