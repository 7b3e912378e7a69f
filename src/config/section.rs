//! Takes typed values out of a tree, key by key, and remembers which keys were asked for.
//!
//! Owns: [`Section`], [`ReadLog`], what each type of value looks like. Never knows: which keys exist.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::error::{Problem, ValueError};
use super::quoting::quoted;
use super::tree::{Entry, Kind, Node, Scalar, Value, is_index};
use super::units;

/// What reading brought to light.
#[derive(Default)]
pub(super) struct ReadLog {
    pub problems: Vec<Problem>,
    /// Every key and section asked for, without list positions; true for one that holds a value.
    pub known: BTreeMap<String, bool>,
}

/// One table of the tree, present or not.
pub(super) struct Section<'a> {
    root: &'a Node,
    log: &'a RefCell<ReadLog>,
    name: String,
    /// The path without list positions, and with [`ANY_NAME`] for names of the writer's own.
    plain: String,
}

/// A placeholder for every name in a table whose names the operator chooses: `policies.NAME.acl`.
pub(super) const ANY_NAME: &str = "NAME";

/// The longest path of the system (Linux: `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4096;

/// Longer than any word that a key takes.
const WORD_BYTES_MAX: usize = 16;

type Read<T> = Result<T, ValueError>;

impl<'a> Section<'a> {
    pub(crate) fn root(root: &'a Node, log: &'a RefCell<ReadLog>) -> Self {
        Self { root, log, name: String::new(), plain: String::new() }
    }

    /// The full name of a key of this section.
    fn full(&self, key: &str) -> String {
        join(&self.name, key)
    }

    fn note(&self, key: &str, leaf: bool) {
        self.log.borrow_mut().known.insert(join(&self.plain, key), leaf);
    }

    fn inner(&self, name: String, plain: String) -> Self {
        Section { root: self.root, log: self.log, name, plain }
    }

    pub(crate) fn report(&self, key: &str, mistake: ValueError) {
        let name = self.full(key);
        self.log.borrow_mut().problems.push(mistake.at(self.root.place_of(&name), name));
    }

    /// Reports what a reader of a whole value has found in it.
    pub(crate) fn report_all(&self, problems: Vec<Problem>) {
        self.log.borrow_mut().problems.extend(problems);
    }

    /// The value of `key`, when it is there and right; a wrong one is reported.
    pub(crate) fn get<T>(&self, key: &str, read: impl Fn(&Node) -> Read<T>) -> Option<T> {
        self.note(key, true);
        match read(self.root.find(&self.full(key))?) {
            Ok(value) => Some(value),
            Err(mistake) => {
                self.report(key, mistake);
                None
            }
        }
    }

    /// Replaces `into` by the value of `key`, when it is there and right.
    pub(crate) fn set<T>(&self, key: &str, into: &mut T, read: impl Fn(&Node) -> Read<T>) {
        if let Some(value) = self.get(key, read) {
            *into = value;
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn need<T>(
        &self,
        key: &str,
        hint: &str,
        read: impl Fn(&Node) -> Read<T>,
    ) -> Option<T> {
        let whole = !self.log.borrow().problems.iter().any(|problem| problem.key == self.name);
        if whole && !self.has(key) {
            self.report(key, ValueError::new("missing").hint(hint));
        }
        self.get(key, read)
    }

    /// Whether `key` is one value, where a table may be as well.
    pub(crate) fn has_value(&self, key: &str) -> bool {
        let node = self.root.find(&self.full(key));
        node.is_some_and(|node| matches!(node.value, Value::Scalar(_)))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.root.find(&self.full(key)).is_some()
    }

    /// A table of this section; an absent one is as an empty one.
    pub(crate) fn section(&self, key: &str) -> Self {
        self.note(key, false);
        let name = self.full(key);
        if let Some(Node { value: Value::Scalar(_) | Value::List(_), .. }) = self.root.find(&name) {
            let hint = match name.as_str() {
                "users" => "write [[user]] for each user; [users] holds acl_file".to_owned(),
                _ => format!("write [{name}]"),
            };
            self.report(key, ValueError::new("expected a table").hint(hint));
        }
        self.inner(name, join(&self.plain, key))
    }

    /// A table of tables whose names are the writer's own.
    pub(crate) fn named(&self, key: &str) -> Vec<(String, Self)> {
        let table = self.section(key);
        table.note(ANY_NAME, false);
        let Some(Node { value: Value::Table(entries), .. }) = self.root.find(&table.name) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for Entry { name, place, node } in entries {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if name.is_empty() || is_index(name) || !name.bytes().all(fits) {
                let hint = "letters, digits, - and _ make a name, at least one of them no digit";
                let mistake = ValueError::new(format!("{} is not a name", quoted(name))).hint(hint);
                self.log.borrow_mut().problems.push(mistake.at(place.clone(), &*table.name));
                continue;
            }
            if !matches!(node.value, Value::Table(_)) {
                let hint = format!(
                    "for the policy of all, write {name} under [policy]; [{}.NAME] is for others, \
                     with names of your own",
                    table.name
                );
                let mistake =
                    ValueError::new("expected a table with a name of your own").hint(hint);
                let key = join(&table.name, name);
                self.log.borrow_mut().problems.push(mistake.at(node.place.clone(), key));
                continue;
            }
            let section = table.section(name);
            let plain = join(&table.plain, ANY_NAME);
            found.push((name.clone(), self.inner(section.name, plain)));
        }
        found
    }

    /// A list of tables.
    pub(crate) fn list(&self, key: &str) -> Vec<Self> {
        self.note(key, false);
        let name = self.full(key);
        let length = match self.root.find(&name).map(|node| &node.value) {
            None => 0,
            Some(Value::List(nodes)) => nodes.len(),
            Some(Value::Table(_) | Value::Scalar(_)) => {
                let hint = format!("write [[{name}]], in double brackets");
                self.report(key, ValueError::new("expected a list of tables").hint(hint));
                0
            }
        };
        (0..length).map(|index| self.section_at(&name, key, index)).collect()
    }

    fn section_at(&self, list: &str, key: &str, index: usize) -> Self {
        let entry = self.inner(format!("{list}.{index}"), join(&self.plain, key));
        if let Some(Node { value: Value::Scalar(_), place }) = self.root.find(&entry.name) {
            let problem = ValueError::new("expected a table").at(place.clone(), entry.name.clone());
            self.log.borrow_mut().problems.push(problem);
        }
        entry
    }
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// The value at `node`, for a person.
fn found(node: &Node) -> &'static str {
    match &node.value {
        Value::Table(_) => "a table",
        Value::List(_) => "a list",
        Value::Scalar(Scalar { kind, .. }) => match kind {
            Kind::Text | Kind::Untyped => "text",
            Kind::Integer => "a number",
            Kind::Float => "a fraction",
            Kind::Boolean => "true or false",
            Kind::Date => "a date",
        },
    }
}

fn expected(what: &str, node: &Node) -> ValueError {
    ValueError::new(format!("expected {what}, found {}", found(node)))
}

fn scalar<'a>(node: &'a Node, kinds: &[Kind], what: &str) -> Read<&'a str> {
    match &node.value {
        Value::Scalar(Scalar { kind, text }) if *kind == Kind::Untyped || kinds.contains(kind) => {
            Ok(text)
        }
        Value::Scalar(_) | Value::List(_) | Value::Table(_) => Err(expected(what, node)),
    }
}

pub(super) fn text(node: &Node) -> Read<&str> {
    let text = scalar(node, &[Kind::Text], "text in quotes")?;
    if text.trim().is_empty() { Err(ValueError::new("empty")) } else { Ok(text) }
}

pub(super) fn string(node: &Node) -> Read<String> {
    text(node).map(str::to_owned)
}

pub(super) fn path(node: &Node) -> Read<PathBuf> {
    let text = text(node)?;
    // The text of a key may be where its path should: no error repeats it.
    if text.contains("-----BEGIN") || text.contains(['\n', '\r']) {
        return Err(ValueError::new("the text of a file where its path should be")
            .hint("write the text into a file, and the path of that file here"));
    }
    if text.contains('\0') || text.len() > PATH_BYTES_MAX {
        return Err(ValueError::new("not a path"));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn count<T: TryFrom<u64>>(node: &Node) -> Read<T> {
    let text = scalar(node, &[Kind::Integer], "a whole number")?;
    let number: Option<u64> = text.trim().parse().ok();
    number
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| ValueError::new(format!("{} is not a whole number in range", quoted(text))))
}

pub(super) fn size<T: TryFrom<u64>>(node: &Node) -> Read<T> {
    let text = scalar(node, &[Kind::Text, Kind::Integer], "a size such as \"64MiB\"")?;
    let too_large = |_| ValueError::new(format!("{} is too large", quoted(text)));
    T::try_from(units::size(text.trim())?).map_err(too_large)
}

pub(super) fn duration(node: &Node) -> Read<Duration> {
    let text = scalar(node, &[Kind::Text, Kind::Integer], "a duration such as \"300s\"")?;
    units::duration(text.trim())
}

pub(super) fn number(node: &Node) -> Read<f64> {
    let text = scalar(node, &[Kind::Float, Kind::Integer], "a number")?;
    let number: Option<f64> = text.trim().parse().ok();
    number
        .filter(|number| number.is_finite())
        .ok_or_else(|| ValueError::new(format!("{} is not a number", quoted(text))))
}

/// Several whole numbers: a list, or (from a variable or a flag) one text with commas.
pub(super) fn counts<T: TryFrom<u64>>(node: &Node) -> Read<Vec<T>> {
    match &node.value {
        Value::List(nodes) => nodes.iter().map(count).collect(),
        Value::Scalar(Scalar { kind: Kind::Untyped, text }) => text
            .split(',')
            .map(|part| part.trim().parse().ok().and_then(|number: u64| T::try_from(number).ok()))
            .collect::<Option<_>>()
            .ok_or_else(|| ValueError::new(format!("{} are not whole numbers", quoted(text)))),
        Value::Scalar(_) | Value::Table(_) => Err(expected("a list of whole numbers", node)),
    }
}

pub(super) fn boolean(node: &Node) -> Read<bool> {
    match scalar(node, &[Kind::Boolean], "true or false")?.trim() {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(ValueError::new(format!("{} is not true or false", quoted(other)))),
    }
}

/// Permission bits of a file.
pub(super) fn mode(node: &Node) -> Read<u32> {
    let wrong =
        || ValueError::new("not permission bits").hint("write three octal digits: \"0660\"");
    let text = text(node).map_err(|_| wrong())?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_index(text));
    mode.filter(|mode| *mode <= 0o777).ok_or_else(wrong)
}

/// Several texts: a list, or (from a variable or a flag) one text with commas.
pub(super) fn strings(node: &Node) -> Read<Vec<String>> {
    match &node.value {
        Value::List(nodes) => nodes.iter().map(string).collect(),
        Value::Scalar(Scalar { kind: Kind::Untyped, text }) => {
            Ok(text.split(',').map(|part| part.trim().to_owned()).collect())
        }
        Value::Scalar(_) | Value::Table(_) => Err(expected("a list of texts", node)),
    }
}

/// One of a few words.
pub(super) fn choice<T: Clone>(words: &[(&str, T)]) -> impl Fn(&Node) -> Read<T> {
    move |node| {
        let text = text(node)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            // A password may be in the wrong place.
            let plain = |byte: u8| byte.is_ascii_lowercase() || b"-.".contains(&byte);
            let shown = if text.len() <= WORD_BYTES_MAX && text.bytes().all(plain) {
                quoted(text)
            } else {
                "this".to_owned()
            };
            ValueError::new(format!("{shown} is not one of the known words"))
                .hint(format!("write {}", known.join(" or ")))
        })
    }
}
