//! A configuration as a tree of values, each with the place where it was written.
//!
//! Owns: [`Node`], reading TOML into it, laying single settings over it. Never knows: which keys exist.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem, ValueError};
use crate::base::limits;

/// One value of one key, from an environment variable or a flag; overrides the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    place: Place,
    key: Vec<String>,
    value: String,
}

impl Setting {
    /// `key` as in `listener.0.address`.
    #[must_use]
    pub fn new(place: Place, key: &str, value: impl Into<String>) -> Self {
        let key = key.split('.').map(str::to_owned).collect();
        Self { place, key, value: value.into() }
    }

    /// Whether it sets `key`, as in `listener.0.address`.
    #[must_use]
    pub fn is_for(&self, key: &str) -> bool {
        self.key.iter().map(String::as_str).eq(key.split('.'))
    }

    /// Tables before what they hold, list positions by number, one and the same key by its place.
    pub(super) fn order(&self) -> (Vec<(usize, String)>, Place) {
        let parts = self.key.iter().map(|part| (part.len(), part.clone()));
        (parts.collect(), self.place.clone())
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Setting({}: {} = ..)", self.place, self.key.join("."))
    }
}

pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

pub(super) struct Scalar {
    pub kind: Kind,
    pub text: String,
}

/// The type that a value is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Boolean,
    Date,
    /// From a variable or a flag: any type that the key accepts.
    Untyped,
}

pub(super) struct Entry {
    pub name: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    pub(crate) fn empty(place: Place) -> Self {
        Self { place, value: Value::Table(Vec::new()) }
    }

    /// Reads a TOML document.
    ///
    /// # Errors
    ///
    /// Everything that is not TOML.
    pub(crate) fn parse(text: &str, name: &Arc<str>) -> Result<Self, Vec<Problem>> {
        let newlines = text.match_indices('\n').map(|(at, _)| at).collect();
        let origin = Origin::Text { text, name, newlines };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            let place = Place::Text { name: Arc::clone(name), position: None };
            return Ok(Self { place, value: origin.table(table.into_inner()) });
        }
        let mut problems: Vec<Problem> = errors
            .iter()
            .map(|error| {
                let at = error.span().map_or(0, |span| span.start);
                ValueError::new(error.message()).at(origin.place(at), "")
            })
            .collect();
        // The first error of a line causes the others.
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup_by_key(|problem| line(&problem.place));
        Err(problems)
    }

    /// The value of `key`, as `upstream.pool` or `listener.0.address`. A name in quotes may hold dots,
    /// and is found in any letter case: `commands.custom."json.get"`.
    pub(crate) fn find(&self, key: &str) -> Option<&Self> {
        names(key).try_fold(self, |node, name| match &node.value {
            Value::Table(entries) => {
                let quoted = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
                let is_meant = |entry: &&Entry| match quoted {
                    Some(name) => entry.name.eq_ignore_ascii_case(name),
                    None => entry.name == name,
                };
                entries.iter().find(is_meant).map(|entry| &entry.node)
            }
            Value::List(nodes) => nodes.get(name.parse::<usize>().ok()?),
            Value::Scalar(_) => None,
        })
    }

    /// Gives the key `spelling` of a section its proper name; a problem when it has that too.
    pub(crate) fn rename(&mut self, section: &str, spelling: &str, key: &str) -> Option<Problem> {
        let node = section.split('.').try_fold(self, |node, name| match &mut node.value {
            Value::Table(entries) => {
                entries.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.node)
            }
            Value::List(_) | Value::Scalar(_) => None,
        })?;
        let Value::Table(entries) = &mut node.value else { return None };
        let twice = entries.iter().any(|entry| entry.name == key);
        let entry = entries.iter_mut().find(|entry| entry.name == spelling)?;
        key.clone_into(&mut entry.name);
        twice.then(|| {
            ValueError::new(format!("given twice, as {key} and as {spelling}"))
                .at(entry.place.clone(), format!("{section}.{key}"))
        })
    }

    /// Whether the writer wrote no text at all.
    pub(crate) fn is_empty_text(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar)
            if matches!(scalar.kind, Kind::Text | Kind::Untyped) && scalar.text.trim().is_empty())
    }

    /// Where `key` is written, or else the part of the text that should hold it.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        if let Some(node) = self.find(key) {
            return node.place.clone();
        }
        let mut key = key;
        while let Some((parent, _)) = key.rsplit_once('.') {
            match self.find(parent) {
                Some(Self { place: place @ Place::Text { .. }, .. }) => return place.clone(),
                Some(_) | None => key = parent,
            }
        }
        self.place.clone()
    }

    /// Lays `setting` over the tree.
    ///
    /// # Errors
    ///
    /// When the tree has no place for the key.
    pub(crate) fn put(&mut self, setting: &Setting) -> Result<(), Problem> {
        let fail = |mistake: ValueError| mistake.at(setting.place.clone(), setting.key.join("."));
        if setting.key.len() > limits::CONFIG_DEPTH_MAX {
            return Err(fail(ValueError::new("unknown key")));
        }
        let mut node = self;
        let mut names = setting.key.iter().peekable();
        while let Some(name) = names.next() {
            let listed = names.peek().is_some_and(|next| is_index(next));
            node = node.child(name, listed, &setting.place).map_err(fail)?;
        }
        *node = Self { place: setting.place.clone(), value: untyped(setting) };
        Ok(())
    }

    /// The child called `name`, made when absent: a list when its own children are numbered.
    fn child(&mut self, name: &str, listed: bool, place: &Place) -> Result<&mut Self, ValueError> {
        let fresh = || Self {
            place: place.clone(),
            value: if listed { Value::List(Vec::new()) } else { Value::Table(Vec::new()) },
        };
        match &mut self.value {
            Value::Scalar(_) => Err(ValueError::new("there is a plain value where keys should be")),
            Value::List(nodes) => {
                let length = nodes.len();
                let index = name.parse::<usize>().ok().filter(|index| *index <= length);
                let index = index.ok_or_else(|| {
                    ValueError::new(format!("no entry {name:?}; the next is {length}"))
                })?;
                if index == length {
                    nodes.push(fresh());
                }
                nodes.get_mut(index).ok_or_else(|| ValueError::new("no such entry"))
            }
            Value::Table(entries) => {
                let index = entries.iter().position(|entry| entry.name == name);
                let index = index.unwrap_or(entries.len());
                if index == entries.len() {
                    let name = name.to_owned();
                    entries.push(Entry { name, place: place.clone(), node: fresh() });
                }
                let entry = entries.get_mut(index);
                entry.map(|entry| &mut entry.node).ok_or_else(|| ValueError::new("no such entry"))
            }
        }
    }
}

/// The value of a setting: TOML where it begins like a table, a list or a quoted text, else as it is.
fn untyped(setting: &Setting) -> Value {
    let text = setting.value.trim();
    if text.starts_with(['{', '[', '"', '\''])
        && let Ok(value) = DeValue::parse(text)
    {
        return Origin::Setting(&setting.place).value(value.into_inner());
    }
    Value::Scalar(Scalar { kind: Kind::Untyped, text: setting.value.clone() })
}

/// The parts of a key between its dots.
fn names(key: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    key.split(move |c| {
        inside ^= c == '"';
        c == '.' && !inside
    })
}

pub(super) fn is_index(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn line(place: &Place) -> Option<usize> {
    match place {
        Place::Text { position, .. } => position.map(|(line, _)| line),
        Place::Variable(_) | Place::Flag(_) => None,
    }
}

/// Where TOML came from, to name the position of each value.
enum Origin<'a> {
    Text { text: &'a str, name: &'a Arc<str>, newlines: Vec<usize> },
    Setting(&'a Place),
}

impl Origin<'_> {
    fn place(&self, offset: usize) -> Place {
        match self {
            Self::Setting(place) => (*place).clone(),
            Self::Text { text, name, newlines } => {
                let above = newlines.partition_point(|newline| *newline < offset);
                let start = above.checked_sub(1).and_then(|last| newlines.get(last));
                let start = start.map_or(0, |newline| newline + 1);
                let column = text.get(start..offset).map_or(0, |before| before.chars().count());
                Place::Text { name: Arc::clone(name), position: Some((above + 1, column + 1)) }
            }
        }
    }

    // The depth of the recursion is that of the TOML, which its parser limits.
    fn value(&self, value: DeValue<'_>) -> Value {
        let (kind, text) = match value {
            DeValue::Table(table) => return self.table(table),
            DeValue::Array(values) => {
                let nodes = values.into_iter().map(|value| {
                    let place = self.place(value.span().start);
                    Node { place, value: self.value(value.into_inner()) }
                });
                return Value::List(nodes.collect());
            }
            DeValue::String(text) => (Kind::Text, text.into_owned()),
            DeValue::Integer(number) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                (Kind::Integer, decimal.map_or_else(|_| number.to_string(), |n| n.to_string()))
            }
            DeValue::Float(number) => (Kind::Float, number.as_str().to_owned()),
            DeValue::Boolean(yes) => (Kind::Boolean, yes.to_string()),
            DeValue::Datetime(date) => (Kind::Date, date.to_string()),
        };
        Value::Scalar(Scalar { kind, text })
    }

    fn table(&self, table: DeTable<'_>) -> Value {
        let entries = table.into_iter().map(|(name, value)| {
            let place = self.place(name.span().start);
            let node = Node {
                place: self.place(value.span().start),
                value: self.value(value.into_inner()),
            };
            Entry { name: name.into_inner().into_owned(), place, node }
        });
        Value::Table(entries.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Node {
        Node::parse(text, &Arc::from("f")).map_err(|p| p[0].to_string()).unwrap()
    }

    #[test]
    fn places() {
        let tree = tree(
            "a = 1\n[[listener]]\n  address = \"é\" # x\n[upstream]\ntls = { cert = \"é\", x = 2 }\n[p.q]\nr=[1,\n 2]",
        );
        for (key, place) in [
            ("a", "f:1:5"),
            ("listener.0", "f:2:1"),
            ("listener.0.address", "f:3:13"),
            ("listener.0.mode", "f:2:1"),
            ("listener.1.mode", "f:2:1"),
            ("upstream", "f:4:1"),
            ("upstream.pool.mode", "f:4:1"),
            ("upstream.tls.cert", "f:5:16"),
            ("upstream.tls.x", "f:5:25"),
            ("p.q.r.1", "f:8:2"),
            ("nothing.here", "f"),
        ] {
            assert_eq!(tree.place_of(key).to_string(), place, "{key}");
        }
    }

    #[test]
    fn settings_lie_over_the_text() {
        let mut tree = tree("[[listener]]\naddress = \"a\"\n[upstream]\naddress = \"b\"");
        let mut put = |key: &str, value: &str| {
            tree.put(&Setting::new(Place::Variable("V".to_owned()), key, value))
                .map_err(|problem| problem.to_string())
        };
        assert_eq!(put("upstream.address", "c"), Ok(()));
        assert_eq!(put("upstream.pool.mode", "shared"), Ok(()));
        assert_eq!(put("listener.0.mode", "\"0660\""), Ok(()));
        assert_eq!(put("listener.1.address", "d"), Ok(()));
        assert_eq!(put("other.0.address", "[::1]:6379"), Ok(()));
        assert_eq!(put("upstream.tls", "{ cert = 'x' }"), Ok(()));
        assert!(put("listener.3.address", "d").unwrap_err().contains("the next is 2"));
        assert!(put("upstream.address.x", "d").unwrap_err().contains("plain value"));
        assert!(put(&"a.".repeat(1000), "d").unwrap_err().contains("unknown key"));
        for (key, text) in [
            ("upstream.address", "c"),
            ("upstream.pool.mode", "shared"),
            ("listener.0.address", "a"),
            ("listener.0.mode", "0660"),
            ("listener.1.address", "d"),
            ("other.0.address", "[::1]:6379"),
            ("upstream.tls.cert", "x"),
        ] {
            let Some(Node { value: Value::Scalar(scalar), .. }) = tree.find(key) else {
                panic!("{key}");
            };
            assert_eq!(scalar.text, text);
        }
    }

    #[test]
    fn invalid_toml_is_reported_with_its_position_and_without_the_line() {
        let text = "a = 1\nb = \"secret\nc = ]\nd = 1\nd = 2\n";
        let problems = Node::parse(text, &Arc::from("f")).err().unwrap();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines[0].starts_with("f:2:"), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("f:3:")), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("secret")), "{lines:?}");
    }
}
