//! Settings of commands beyond the table: declared one by one, or taken from the server.
//!
//! Owns: [`Commands`] and the shape of its section. Never knows: which commands, flags and categories
//! there are.

use std::cell::RefCell;

use crate::base::limits;
use crate::base::limits::REQUEST_ARGS_MAX;

use super::error::{Problem, ValueError};
use super::nearest::nearest;
use super::quoting::quoted;
use super::section::{Section, boolean, choice, count, strings};
use super::tree::{Entry, Kind, Node, Scalar, Value};

/// Letters of a command's name, or of its subcommand's.
const NAME_BYTES_MAX: usize = 64;

/// What is known of commands that respgate's own table does not have.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Commands {
    /// Adds the commands that the server's `COMMAND` reply describes.
    pub learn: bool,
    pub custom: Vec<CustomCommand>,
}

/// A command as its writer declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomCommand {
    /// Lower case; a subcommand is `container|subcommand`.
    pub name: String,
    /// The number of arguments as in the reply to `COMMAND`: negative when more may follow.
    pub arity: i16,
    pub flags: Vec<String>,
    pub categories: Vec<String>,
    /// None: its key positions are unknown. Empty: it has none.
    pub keys: Option<Vec<KeyPlace>>,
    /// The command may block: a connection is leased for it until it is answered.
    pub pinned: bool,
    pub reply_keys: ReplyKeys,
}

/// The parts of a reply that are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyKeys {
    #[default]
    None,
    /// Every element, as of `KEYS`.
    All,
    /// The first element, as of `BLPOP`.
    First,
    /// The first of each element, or the keys of a map, as of `XREAD`.
    Each,
}

/// Where some of its keys are; the command's name is argument 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    pub span: KeySpan,
    pub access: KeyAccess,
    /// They are channels, not keys.
    pub channel: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpan {
    At(usize),
    /// Every `step`-th argument from `first` on, but the last `spare` ones.
    From {
        first: usize,
        step: usize,
        spare: usize,
    },
    /// The argument `count` is how many follow it, each with `step - 1` values.
    Counted {
        count: usize,
        step: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAccess {
    Read,
    Write,
    ReadWrite,
}

impl CustomCommand {
    /// The full name of one of its settings, or of all of it.
    #[must_use]
    pub fn key(&self, field: Option<&str>) -> String {
        let field = field.map_or_else(String::new, |field| format!(".{field}"));
        format!("commands.custom.\"{}\"{field}", self.name)
    }
}

/// The section `[commands]`.
pub(super) fn read(at: &Section<'_>) -> Commands {
    let problems = RefCell::default();
    let custom = at.get("custom", |node| Ok(all(node, &problems))).unwrap_or_default();
    at.report_all(problems.into_inner());
    Commands { learn: at.get("learn", boolean).unwrap_or(false), custom }
}

type Problems = RefCell<Vec<Problem>>;

fn all(node: &Node, problems: &Problems) -> Vec<CustomCommand> {
    let key = "commands.custom".to_owned();
    let Some(table) = Table::new(node, key, "write [commands.custom.\"JSON.GET\"]", problems)
    else {
        return Vec::new();
    };
    if table.entries.len() > limits::CUSTOM_COMMANDS_MAX {
        let mistake =
            ValueError::new(format!("more than {} commands", limits::CUSTOM_COMMANDS_MAX));
        problems.borrow_mut().push(mistake.at(node.place.clone(), table.key));
        return Vec::new();
    }
    let mut found: Vec<CustomCommand> = Vec::new();
    for entry in table.entries {
        let name = entry.name.to_ascii_lowercase();
        let key = format!("commands.custom.{}", quoted(&entry.name));
        let mistake = if found.iter().any(|other| other.name == name) {
            Some(ValueError::new(
                "given twice: letter case does not count in the name of a command",
            ))
        } else {
            wrong_name(&name)
        };
        match mistake {
            Some(mistake) => problems.borrow_mut().push(mistake.at(entry.place.clone(), key)),
            None => found.extend(command(entry, name, key, problems)),
        }
    }
    found
}

fn wrong_name(name: &str) -> Option<ValueError> {
    let mut parts = name.split('|');
    let fits = |part: Option<&str>| {
        part.is_some_and(|part| {
            let plain = part.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(&b));
            (1..=NAME_BYTES_MAX).contains(&part.len()) && plain
        })
    };
    let first = fits(parts.next());
    let second = parts.next().is_none_or(|part| fits(Some(part)));
    if first && second && parts.next().is_none() {
        return None;
    }
    let hint = "write \"JSON.GET\", or \"FT.CONFIG|GET\" for a subcommand";
    Some(ValueError::new("not the name of a command").hint(hint))
}

fn command(entry: &Entry, name: String, key: String, problems: &Problems) -> Option<CustomCommand> {
    let hint = "write { arity = -2, flags = [\"readonly\"], keys = [{ at = 1 }] }";
    let table = Table::new(&entry.node, key, hint, problems)?;
    table.only(&["arity", "flags", "categories", "keys", "connection", "reply_keys"]);
    let keys = table.entry("keys").map(|keys| places(keys, &table));
    if table.entry("arity").is_none() {
        let hint = "write arity = -2, as in the server's COMMAND INFO";
        let key = format!("{}.arity", table.key);
        problems
            .borrow_mut()
            .push(ValueError::new("missing").hint(hint).at(entry.place.clone(), key));
    }
    let subcommand = name.contains('|');
    let replies = [("all", ReplyKeys::All), ("first", ReplyKeys::First), ("each", ReplyKeys::Each)];
    Some(CustomCommand {
        arity: table.get("arity", |node| arity(node, subcommand))?,
        flags: lower(table.get("flags", strings)),
        categories: lower(table.get("categories", strings)),
        keys,
        pinned: table
            .get("connection", choice(&[("shared", false), ("pinned", true)]))
            .unwrap_or_default(),
        reply_keys: table.get("reply_keys", choice(&replies)).unwrap_or_default(),
        name,
    })
}

fn lower(words: Option<Vec<String>>) -> Vec<String> {
    words.unwrap_or_default().iter().map(|word| word.to_ascii_lowercase()).collect()
}

fn arity(node: &Node, subcommand: bool) -> Result<i16, ValueError> {
    let hint = "3: name and two arguments; -2: name, one argument or more";
    let number = match &node.value {
        Value::Scalar(Scalar { kind: Kind::Integer | Kind::Untyped, text }) => text.parse().ok(),
        Value::Scalar(_) | Value::List(_) | Value::Table(_) => None,
    };
    let least = if subcommand { 2 } else { 1 };
    number
        .filter(|arity: &i16| arity.unsigned_abs() >= least)
        .ok_or_else(|| ValueError::new("not a number of arguments, the name included").hint(hint))
}

fn places(entry: &Entry, table: &Table<'_>) -> Vec<KeyPlace> {
    let key = format!("{}.keys", table.key);
    let mistake = match &entry.node.value {
        Value::List(nodes) if nodes.len() <= limits::CUSTOM_COMMAND_KEYS_MAX => {
            let all = nodes.iter().zip(0..);
            return all
                .filter_map(|(node, at)| place(node, format!("{key}.{at}"), table.problems))
                .collect();
        }
        Value::List(_) => {
            ValueError::new(format!("more than {} specifications", limits::CUSTOM_COMMAND_KEYS_MAX))
        }
        Value::Scalar(_) | Value::Table(_) => ValueError::new("expected a list of tables")
            .hint("write keys = [{ at = 1, access = \"read\" }]; keys = [] when it has none"),
    };
    table.problems.borrow_mut().push(mistake.at(entry.node.place.clone(), key));
    Vec::new()
}

fn place(node: &Node, key: String, problems: &Problems) -> Option<KeyPlace> {
    let hint = "write { at = 1 }, { first = 1, step = 2 } or { count = 2 }";
    let table = Table::new(node, key, hint, problems)?;
    table.only(&["at", "first", "count", "step", "spare", "access", "channel"]);
    let accesses = [
        ("read", KeyAccess::Read),
        ("write", KeyAccess::Write),
        ("readwrite", KeyAccess::ReadWrite),
    ];
    let access = table.get("access", choice(&accesses)).unwrap_or(KeyAccess::ReadWrite);
    let channel = table.get("channel", boolean).unwrap_or(false);
    let [at, first, counted] = ["at", "first", "count"].map(|name| table.entry(name).is_some());
    let number = |name| table.get(name, argument);
    let steps = if table.entry("step").is_some() { number("step")? } else { 1 };
    let refuse = |problem: &str, hint: &str| {
        let mistake = ValueError::new(problem).hint(hint);
        problems.borrow_mut().push(mistake.at(node.place.clone(), table.key.clone()));
        None
    };
    let span = match (at, first, counted) {
        (true, false, false) if table.entry("step").is_none() && table.entry("spare").is_none() => {
            KeySpan::At(number("at")?)
        }
        (false, true, false) => {
            let spare = table.get("spare", count).unwrap_or(0);
            KeySpan::From { first: number("first")?, step: steps, spare }
        }
        (false, false, true) if table.entry("spare").is_none() && !channel => {
            KeySpan::Counted { count: number("count")?, step: steps }
        }
        (false, false, false) => return refuse("neither at, first nor count", hint),
        (true, false, false) | (false, false, true) => {
            return refuse(
                "keys that do not go together",
                "spare goes with first, step with first or count",
            );
        }
        _ => return refuse("more than one of at, first and count", hint),
    };
    Some(KeyPlace { span, access, channel })
}

/// The number of an argument, or of arguments.
fn argument(node: &Node) -> Result<usize, ValueError> {
    let number: u32 = count(node)?;
    if (1..REQUEST_ARGS_MAX).contains(&number) {
        return Ok(number as usize);
    }
    Err(ValueError::new("not the number of an argument")
        .hint("the command's name is 0, its first argument 1"))
}

/// A table whose names the schema does not list, because the name of a command precedes them.
struct Table<'a> {
    entries: &'a [Entry],
    key: String,
    problems: &'a Problems,
}

impl<'a> Table<'a> {
    fn new(node: &'a Node, key: String, hint: &str, problems: &'a Problems) -> Option<Self> {
        if let Value::Table(entries) = &node.value {
            return Some(Self { entries, key, problems });
        }
        let mistake = ValueError::new("expected a table").hint(hint);
        problems.borrow_mut().push(mistake.at(node.place.clone(), key));
        None
    }

    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The value of a key, when it is there and right; a wrong one is reported.
    fn get<T>(&self, name: &str, read: impl Fn(&Node) -> Result<T, ValueError>) -> Option<T> {
        let node = &self.entry(name)?.node;
        read(node).map_err(|mistake| self.refuse(name, node, mistake)).ok()
    }

    fn refuse(&self, name: &str, node: &Node, mistake: ValueError) {
        let key = format!("{}.{name}", self.key);
        self.problems.borrow_mut().push(mistake.at(node.place.clone(), key));
    }

    /// Reports every other key.
    fn only(&self, known: &[&str]) {
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.name.as_str())) {
            let hint = match nearest(&entry.name, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let key = format!("{}.{}", self.key, entry.name);
            let mistake = ValueError::new("unknown key").hint(hint);
            self.problems.borrow_mut().push(mistake.at(entry.place.clone(), key));
        }
    }
}
