//! Commands beside the table: those that a configuration declares or the server describes.
//!
//! Owns: [`Dictionary`], [`CommandInterner`]. Never knows: where a definition comes from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::definition::{Definition, DefinitionError, define_all};
use super::lookup::{COMMANDS, Lookup, all, by_name, last_word};
use super::{CommandId, Cost, Flags, Miss, Reach, ReplyNames, Spec, Stores, TtlEffect};
use crate::base::limits;
use crate::config::Commands;
use crate::resp::Request;

/// Ids are below this, those of the table and those behind it.
pub(crate) const IDS: usize = COMMANDS + limits::LEARNED_DEFINITIONS_MAX;
/// A command's name, or its subcommand's, is not longer.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// Every definition this process has met, each once and with an id of its own, so that a request
/// under way keeps its command whatever is declared meanwhile.
#[derive(Debug, Default)]
pub struct CommandInterner(Vec<&'static Spec>);

/// The limit of definitions is reached: no other is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternerFull;

impl fmt::Display for InternerFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "more than {} different commands since the start of the process",
            limits::LEARNED_DEFINITIONS_MAX
        )
    }
}

impl std::error::Error for InternerFull {}

impl CommandInterner {
    fn intern(
        &mut self,
        definition: &Definition,
        container: bool,
        parent: Option<CommandId>,
    ) -> Result<&'static Spec, InternerFull> {
        let is_same = |spec: &&&Spec| {
            spec.name == definition.name
                && spec.arity == definition.arity
                && spec.flags == definition.flags
                && spec.categories == definition.categories
                && spec.keys == definition.keys
                && spec.effect == definition.effect
                && spec.names == ReplyNames::declared(definition.reply_keys)
                && (spec.container, spec.parent) == (container, parent)
        };
        if let Some(known) = self.0.iter().find(is_same) {
            return Ok(known);
        }
        let id = u16::try_from(COMMANDS + self.0.len()).map_err(|_| InternerFull)?;
        if self.0.len() >= limits::LEARNED_DEFINITIONS_MAX {
            return Err(InternerFull);
        }
        // Never freed, and therefore counted.
        let spec: &'static Spec = Box::leak(Box::new(Spec {
            id: CommandId(id),
            name: definition.name.clone().leak(),
            arity: definition.arity,
            flags: definition.flags,
            categories: definition.categories,
            keys: definition.keys.clone().leak(),
            effect: definition.effect,
            reach: Reach::Named,
            stores: if definition.flags.has(Flags::WRITE) {
                Stores::Unknown
            } else {
                Stores::Nothing
            },
            lifetime: TtlEffect::undeclared(definition.flags, &definition.keys),
            names: ReplyNames::declared(definition.reply_keys),
            script: None,
            cost: Cost::Linear,
            miss: Miss::No,
            everywhere: false,
            parent,
            container,
        }));
        self.0.push(spec);
        Ok(spec)
    }
}

/// The commands that are known besides the table's.
#[derive(Debug, Default)]
pub struct Dictionary {
    /// By the container's id and the name, in lower case and without that of the container.
    by_name: HashMap<(Option<CommandId>, &'static [u8]), &'static Spec>,
    grows: bool,
}

/// Within one process, where a definition has one id.
impl PartialEq for Dictionary {
    fn eq(&self, other: &Self) -> bool {
        let has = |(name, spec): (_, &&Spec)| {
            other.by_name.get(name).is_some_and(|known| known.id == spec.id)
        };
        self.grows == other.grows
            && self.by_name.len() == other.by_name.len()
            && self.by_name.iter().all(has)
    }
}

impl Dictionary {
    /// The commands of these definitions; of what is declared nothing is learned. `grows`: more may
    /// be learned later.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn new(
        declared: &[Definition],
        learned: &[Definition],
        grows: bool,
        interner: &mut CommandInterner,
    ) -> Result<Self, InternerFull> {
        let is_declared =
            |learned: &&Definition| declared.iter().any(|own| own.head() == learned.head());
        let learned = learned.iter().filter(|learned| !is_declared(learned));
        let mut families: BTreeMap<&str, (Option<&Definition>, Vec<&Definition>)> = BTreeMap::new();
        for definition in declared.iter().chain(learned) {
            let (own, subcommands) = families.entry(definition.head()).or_default();
            if definition.head() == definition.name {
                *own = Some(definition);
            } else {
                subcommands.push(definition);
            }
        }
        let mut by_name = HashMap::new();
        let mut add =
            |spec: &'static Spec| by_name.insert((spec.parent, last_word(spec.name)), spec);
        for (name, (own, subcommands)) in families {
            let implied = Definition::container(name);
            let head = interner.intern(own.unwrap_or(&implied), !subcommands.is_empty(), None)?;
            add(head);
            for subcommand in subcommands {
                add(interner.intern(subcommand, false, Some(head.id))?);
            }
        }
        Ok(Self { by_name, grows })
    }

    /// The commands that a configuration declares, for callers that need no others.
    ///
    /// # Errors
    ///
    /// Every command that cannot be declared so.
    pub fn of(commands: &Commands) -> Result<Self, Vec<DefinitionError>> {
        let declared = define_all(commands)?;
        Self::new(&declared, &[], commands.learn, &mut CommandInterner::default()).map_err(
            |error| {
                let (key, problem) = ("commands.custom".to_owned(), error.to_string());
                vec![DefinitionError { key, problem, hint: "declare fewer" }]
            },
        )
    }

    /// Whether a name that is unknown may become known.
    #[must_use]
    pub const fn grows(&self) -> bool {
        self.grows
    }

    /// Like [`super::lookup()`], with these commands behind the table.
    #[must_use]
    pub fn lookup(&self, request: &Request<'_>) -> Lookup {
        let found = super::lookup::lookup(request);
        if matches!(found, Lookup::Unknown) && !self.by_name.is_empty() {
            return self.lookup_own(request);
        }
        found
    }

    fn lookup_own(&self, request: &Request<'_>) -> Lookup {
        let Some(spec) = request.arg(0).and_then(|name| self.find(None, name)) else {
            return Lookup::Unknown;
        };
        if !spec.container || request.len() < 2 {
            return Lookup::Command(spec);
        }
        match request.arg(1).and_then(|name| self.find(Some(spec.id), name)) {
            Some(subcommand) => Lookup::Command(subcommand),
            None => Lookup::UnknownSubcommand(spec),
        }
    }

    fn find(&self, parent: Option<CommandId>, word: &[u8]) -> Option<&'static Spec> {
        let mut letters = [0; NAME_BYTES_MAX];
        let letters = letters.get_mut(..word.len())?;
        letters.copy_from_slice(word);
        letters.make_ascii_lowercase();
        self.by_name.get(&(parent, &*letters)).copied()
    }

    /// Like [`super::by_name`], with these commands behind the table.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&'static Spec> {
        by_name(name).or_else(|| match name.split_once('|') {
            None => self.find(None, name.as_bytes()),
            Some((container, word)) => {
                let container = self.find(None, container.as_bytes())?;
                self.find(Some(container.id), word.as_bytes())
            }
        })
    }

    /// Every command of the table and of these.
    pub fn all(&self) -> impl Iterator<Item = &'static Spec> {
        all().iter().chain(self.by_name.values().copied())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::command::{Categories, Effect, Flags, KeySpec};
    use crate::config::ReplyKeys;
    use crate::resp::RequestBuf;

    fn definition(name: &str, arity: i16) -> Definition {
        Definition {
            name: name.to_owned(),
            arity,
            flags: Flags::MODULE,
            categories: Categories::SLOW,
            keys: vec![KeySpec::Unknown],
            effect: Effect::Shared,
            reply_keys: ReplyKeys::None,
        }
    }

    fn found(dictionary: &Dictionary, line: &str) -> String {
        let request = RequestBuf::from_args(line.split(' '));
        match dictionary.lookup(&request.as_request()) {
            Lookup::Command(spec) => format!("{} {}", spec.name, spec.arity),
            Lookup::UnknownSubcommand(spec) => format!("{} without it", spec.name),
            Lookup::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn dictionary_is_behind_the_table_and_has_the_declared_first() {
        let declared = ["json.get", "ft.config|get", "ts.x"].map(|name| definition(name, -3));
        let learned = ["json.get", "json.set", "ft.config", "ft.config|set", "ts.x|y", "get"]
            .map(|name| definition(name, -4));
        let mut interner = CommandInterner::default();
        let dictionary = Dictionary::new(&declared, &learned, false, &mut interner).unwrap();
        for (line, expected) in [
            ("JSON.get k", "json.get -3"),
            ("json.set", "json.set -4"),
            ("json.se", "unknown"),
            ("json.set\0", "unknown"),
            ("FT.CONFIG", "ft.config -2"),
            ("Ft.Config gEt x", "ft.config|get -3"),
            ("ft.config set x", "ft.config without it"),
            ("ft.config|get x", "unknown"),
            ("ts.x y", "ts.x -3"),
            ("GET k", "get 2"),
            ("config nothing", "config without it"),
            (&"x".repeat(NAME_BYTES_MAX + 1), "unknown"),
        ] {
            assert_eq!(found(&dictionary, line), expected, "{line}");
        }
        let parent = dictionary.by_name("FT.config").unwrap();
        assert!(parent.container);
        assert_eq!(dictionary.by_name("ft.config|GET").unwrap().parent, Some(parent.id));
        assert_eq!(dictionary.by_name("config|get").unwrap().name, "config|get");
        let mut ids: Vec<_> = dictionary.all().map(|spec| spec.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), COMMANDS + 6);
        assert!(ids.iter().all(|id| usize::from(id.0) < IDS));
    }

    #[test]
    fn definition_is_kept_once_and_there_is_an_end() {
        let mut interner = CommandInterner::default();
        let mut one = |definition| {
            let dictionary = Dictionary::new(&[definition], &[], false, &mut interner);
            dictionary.map(|dictionary| dictionary.by_name("x.y").unwrap().id)
        };
        let first = one(definition("x.y", 1)).unwrap();
        assert_ne!(one(definition("x.y", 2)).unwrap(), first);
        for _ in 0..2 * limits::LEARNED_DEFINITIONS_MAX {
            assert_eq!(one(definition("x.y", 1)), Ok(first));
        }
        for arity in 3..=i16::try_from(limits::LEARNED_DEFINITIONS_MAX).unwrap() {
            one(definition("x.y", arity)).unwrap();
        }
        assert_eq!(one(definition("x.y", 0)), Err(InternerFull));
        assert_eq!(one(definition("x.y", 1)), Ok(first));
    }
}
