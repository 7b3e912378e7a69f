//! The words of Redis's ACL language: text -> steps that build a role (Redis: `ACL SETUSER`, acl.c).
//!
//! Owns: [`Word`], [`Step`], [`Problem`]. Never knows: what the steps add up to, configuration.

use std::fmt;

use crate::base::limits;
use crate::command::{Access, Categories, CommandId, Dictionary, Spec};

use super::database::Databases;
use super::pattern::Pattern;

/// One rule as it is written; a selector is one word with its parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    /// Bytes of the text before the word.
    pub at: usize,
    pub text: &'a str,
}

/// One thing that a word does to a selector.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `+name -name +@category -@category`; a container is listed with its subcommands.
    Commands {
        allow: bool,
        category: bool,
        ids: Vec<CommandId>,
    },
    /// `+@all -@all` and their other names.
    AllCommands {
        allow: bool,
    },
    /// `+name|argument` of a command without subcommands.
    FirstArgument {
        id: CommandId,
        argument: Box<[u8]>,
    },
    AllKeys,
    ResetKeys,
    Keys {
        pattern: Pattern,
        access: Access,
    },
    AllChannels,
    ResetChannels,
    Channels {
        pattern: Pattern,
    },
    /// `alldbs`, `resetdbs` and `db=0,2`: each in place of what was before (Valkey 9.1).
    Databases(Databases),
}

/// What is wrong with a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No command of that name, in any server of the table.
    UnknownCommand,
    /// The command has subcommands, and this is none of them.
    UnknownSubcommand,
    /// No category of that name.
    UnknownCategory,
    /// Not a word of the language.
    UnknownWord,
    /// No rule of that name, or none that can be observed.
    UnknownRule,
    /// Not about commands, in a limit.
    NotCommands,
    /// No preset of that name.
    UnknownPreset,
    /// `-name|argument` where the name has no subcommands.
    FirstArgumentDenied,
    /// `+name|subcommand|argument`.
    FirstArgumentOfSubcommand,
    /// `+name|` without anything behind.
    EmptySubcommand,
    /// `%` without `R` or `W`, with another letter, or without `~`.
    KeyAccess,
    /// `db=` without numbers of databases.
    NoDatabases,
    /// A key pattern after all keys were allowed.
    KeysAlreadyAll,
    /// A channel pattern after all channels were allowed.
    ChannelsAlreadyAll,
    /// A selector without its closing parenthesis.
    UnclosedSelector,
    /// A selector, or a word about selectors, within a selector.
    NestedSelector,
    /// The server would take the quotes away; nothing here needs them.
    Quotes,
    /// One selector more than there may be.
    TooManySelectors,
    /// The word makes or unmakes a user.
    BelongsToUser,
    /// Scripts cannot be held to this part of the policy.
    Unguardable(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Unguardable(rule) = self {
            return write!(
                f,
                "inside a script {rule} cannot be kept; remove it, or choose another mode"
            );
        }
        f.write_str(match self {
            Self::Unguardable(rule) => rule,
            Self::UnknownCommand => "unknown command",
            Self::UnknownSubcommand => "unknown subcommand",
            Self::UnknownCategory => "unknown category",
            Self::UnknownWord => "not a word of the ACL language",
            Self::NotCommands => "a limit is about whole commands and categories",
            Self::UnknownRule => "no rule of that name can be observed",
            Self::UnknownPreset => "unknown preset",
            Self::FirstArgumentDenied => {
                "a first argument can only be allowed, and the command has no subcommands"
            }
            Self::FirstArgumentOfSubcommand => "a subcommand has no first-argument rules",
            Self::EmptySubcommand => "the | has no subcommand behind it",
            Self::KeyAccess => "a key pattern begins with ~, %R~, %W~ or %RW~",
            Self::NoDatabases => "numbers with commas between make a list of databases: db=0,2",
            Self::KeysAlreadyAll => {
                "all keys are allowed already, so the pattern has no effect; put resetkeys before it"
            }
            Self::ChannelsAlreadyAll => {
                "all channels are allowed already, so the pattern has no effect; put resetchannels \
                 before it"
            }
            Self::UnclosedSelector => "the selector has no closing parenthesis",
            Self::NestedSelector => "a selector holds only commands, keys and channels",
            Self::Quotes => "quotes do not belong into a rule",
            Self::TooManySelectors => "there are 1024 selectors before it, as many as there may be",
            Self::BelongsToUser => {
                "passwords and the state of a user belong to the server's user, not to a policy"
            }
        })
    }
}

/// A word as it is shown, which may be as long as a file.
pub(super) fn shortened(word: &str) -> String {
    match word.char_indices().nth(limits::RULE_WORD_SHOWN_MAX) {
        Some((end, _)) => format!("{}…", word.get(..end).unwrap_or_default()),
        None => word.to_owned(),
    }
}

/// Splits a text at white space; the words of a selector stay together.
pub(super) fn words(text: &str) -> Vec<Result<Word<'_>, Word<'_>>> {
    let mut found = Vec::new();
    let mut open: Option<Word<'_>> = None;
    for word in plain_words(text, 0) {
        let closes = word.text.ends_with(')');
        match open {
            Some(start) => {
                let end = word.at + word.text.len();
                let whole = text.get(start.at..end).unwrap_or(start.text);
                open = (!closes).then_some(start);
                if closes {
                    found.push(Ok(Word { at: start.at, text: whole }));
                }
            }
            None if word.text.starts_with('(') && !closes => open = Some(word),
            None => found.push(Ok(word)),
        }
    }
    found.extend(open.map(Err));
    found
}

/// The words within a selector's parentheses; `None` when the word is not a selector.
pub(super) fn selector_words(word: Word<'_>) -> Option<impl Iterator<Item = Word<'_>>> {
    let inner = word.text.strip_prefix('(')?.strip_suffix(')')?;
    Some(plain_words(inner, word.at + 1))
}

fn plain_words(text: &str, at: usize) -> impl Iterator<Item = Word<'_>> {
    text.split_ascii_whitespace().map(move |word| {
        let offset = word.as_ptr().addr() - text.as_ptr().addr();
        Word { at: at + offset, text: word }
    })
}

/// What a word does that names commands and nothing else.
///
/// # Errors
///
/// With what is wrong with any other.
pub(super) fn step_of_commands(word: &str, dictionary: &Dictionary) -> Result<Step, Problem> {
    let step = step(word, dictionary)?;
    match step {
        Step::Commands { .. } | Step::AllCommands { .. } => Ok(step),
        Step::FirstArgument { .. }
        | Step::AllKeys
        | Step::ResetKeys
        | Step::Keys { .. }
        | Step::AllChannels
        | Step::ResetChannels
        | Step::Channels { .. }
        | Step::Databases(_) => Err(Problem::NotCommands),
    }
}

/// The effect of one word of a root or of a selector on the commands of `dictionary`.
///
/// # Errors
///
/// When the word means nothing that a policy can do.
pub(super) fn step(word: &str, dictionary: &Dictionary) -> Result<Step, Problem> {
    if let Some(step) = keyword(word) {
        return step;
    }
    if let Some(name) = word.strip_prefix("+@") {
        return category(name, true, dictionary);
    }
    if let Some(name) = word.strip_prefix("-@") {
        return category(name, false, dictionary);
    }
    if let Some(name) = word.strip_prefix('+') {
        return command(name, true, dictionary);
    }
    if let Some(name) = word.strip_prefix('-') {
        return command(name, false, dictionary);
    }
    if let Some(pattern) = word.strip_prefix('~') {
        let pattern = Pattern::new(pattern.as_bytes());
        return Ok(Step::Keys { pattern, access: Access { read: true, write: true } });
    }
    if let Some(rest) = word.strip_prefix('%') {
        return keys_with_access(rest);
    }
    if let Some(pattern) = word.strip_prefix('&') {
        return Ok(Step::Channels { pattern: Pattern::new(pattern.as_bytes()) });
    }
    if let Some(("db", list)) = word.to_ascii_lowercase().split_once('=') {
        let known = Databases::parse(list).ok_or(Problem::NoDatabases)?;
        return Ok(Step::Databases(Databases::Only(known)));
    }
    Err(Problem::UnknownWord)
}

/// The words that are whole in themselves.
fn keyword(word: &str) -> Option<Result<Step, Problem>> {
    if is_secret(word) {
        return Some(Err(Problem::BelongsToUser));
    }
    if word.starts_with('(') {
        return Some(Err(Problem::NestedSelector));
    }
    Some(Ok(match word.to_ascii_lowercase().as_str() {
        "allkeys" | "~*" => Step::AllKeys,
        "resetkeys" => Step::ResetKeys,
        "allchannels" | "&*" => Step::AllChannels,
        "resetchannels" => Step::ResetChannels,
        "allcommands" | "+@all" => Step::AllCommands { allow: true },
        "nocommands" | "-@all" => Step::AllCommands { allow: false },
        "alldbs" => Step::Databases(Databases::All),
        "resetdbs" => Step::Databases(Databases::Only(Vec::new())),
        "reset" | "clearselectors" => return Some(Err(Problem::NestedSelector)),
        "on" | "off" | "nopass" | "resetpass" | "skip-sanitize-payload" | "sanitize-payload" => {
            return Some(Err(Problem::BelongsToUser));
        }
        _ => return None,
    }))
}

/// Whether the word holds a password or its hash, which no message may repeat.
pub(super) fn is_secret(word: &str) -> bool {
    word.trim_start_matches('(').starts_with(['>', '<', '#', '!'])
}

fn category(name: &str, allow: bool, dictionary: &Dictionary) -> Result<Step, Problem> {
    let wanted = Categories::from_name(&name.to_ascii_lowercase());
    let wanted = wanted.ok_or(Problem::UnknownCategory)?;
    let members = dictionary.all().filter(|spec| spec.categories.intersects(wanted));
    // The server applies a container's category to all its subcommands.
    let ids = members.flat_map(|spec| family(spec, dictionary)).collect();
    Ok(Step::Commands { allow, category: true, ids })
}

fn command(name: &str, allow: bool, dictionary: &Dictionary) -> Result<Step, Problem> {
    if let Some(spec) = dictionary.by_name(name) {
        let ids = family(spec, dictionary).collect();
        return Ok(Step::Commands { allow, category: false, ids });
    }
    let unknown = || {
        // Until the server describes it, it is refused whatever the rule is.
        let later = Step::Commands { allow, category: false, ids: Vec::new() };
        if dictionary.grows() && !name.is_empty() {
            Ok(later)
        } else {
            Err(Problem::UnknownCommand)
        }
    };
    let Some((container, last)) = name.rsplit_once('|') else { return unknown() };
    let Some(spec) = dictionary.by_name(container) else { return unknown() };
    if spec.parent.is_some() {
        return Err(Problem::FirstArgumentOfSubcommand);
    }
    if last.is_empty() {
        return Err(Problem::EmptySubcommand);
    }
    if spec.container {
        return Err(Problem::UnknownSubcommand);
    }
    if !allow {
        return Err(Problem::FirstArgumentDenied);
    }
    Ok(Step::FirstArgument { id: spec.id, argument: last.as_bytes().into() })
}

/// A command and, when it has some, its subcommands.
fn family(spec: &'static Spec, dictionary: &Dictionary) -> impl Iterator<Item = CommandId> {
    let subcommands = dictionary.all().filter(|other| other.parent == Some(spec.id));
    std::iter::once(spec.id).chain(subcommands.map(|spec| spec.id))
}

fn keys_with_access(rest: &str) -> Result<Step, Problem> {
    let (letters, pattern) = rest.split_once('~').ok_or(Problem::KeyAccess)?;
    let mut access = Access { read: false, write: false };
    for letter in letters.bytes() {
        let once = match letter {
            b'R' | b'r' => &mut access.read,
            b'W' | b'w' => &mut access.write,
            _ => return Err(Problem::KeyAccess),
        };
        if std::mem::replace(once, true) {
            return Err(Problem::KeyAccess);
        }
    }
    if !access.read && !access.write {
        return Err(Problem::KeyAccess);
    }
    Ok(Step::Keys { pattern: Pattern::new(pattern.as_bytes()), access })
}
