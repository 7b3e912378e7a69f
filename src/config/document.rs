//! Where a configuration comes from, and the way from there to settings or problems.
//!
//! Owns: [`ConfigSource`], [`Document`], the order of the layers. Never knows: which keys exist.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Place, Problem, VARIABLE_PREFIX, ValueError};
use super::section::Section;
use super::source::{io_cause, read_cause};
use super::telemetry::{Admin, Telemetry};
use super::tree::{Node, Setting};
use super::unknown::unknown;
use super::{Config, Places, check, schema, void};
use crate::base::limits;
use crate::base::small_file::{self, Kind, ReadError};

/// Where applications connect when flags describe everything else.
const LISTEN: &str = "127.0.0.1:6379";

/// What a process was started with, to be read at the start and at every reload.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file; without one, all settings come from flags and environment.
    pub path: Option<PathBuf>,
    /// The flags of the command line, which override everything else.
    pub flags: Vec<Setting>,
}

impl ConfigSource {
    /// The settings of this moment.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order in which it is written.
    pub fn load(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, Vec<Problem>> {
        self.document(environment)?.config()
    }

    /// How operators talk to the process that these settings describe, whatever else is wrong with them:
    /// the admin server, and telemetry.
    ///
    /// # Errors
    ///
    /// When there is no file or it is not TOML.
    pub fn operators(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Admin, Telemetry), Vec<Problem>> {
        let root = match &self.path {
            Some(path) => read(path)?,
            None => Node::empty(Place::Text { name: Arc::from("command line"), position: None }),
        };
        let document = Document::new(root, environment, &self.flags);
        let log = RefCell::default();
        Ok(schema::operators(&Section::root(&document.root, &log)))
    }

    /// Like [`ConfigSource::load`], for callers that report further problems of their own.
    ///
    /// # Errors
    ///
    /// When there is no file or it is not TOML.
    pub fn document(
        &self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Document, Vec<Problem>> {
        let root = match &self.path {
            Some(path) => read(path)?,
            None => {
                let place = Place::Text { name: Arc::from("command line"), position: None };
                let mut root = Node::empty(place.clone());
                let listen = Setting::new(place, "listener.0.address", LISTEN);
                root.put(&listen).map_err(|problem| vec![problem])?;
                root
            }
        };
        Ok(Document::new(root, environment, &self.flags))
    }
}

fn read(path: &Path) -> Result<Node, Vec<Problem>> {
    let name: Arc<str> = Arc::from(path.display().to_string());
    let fail = |problem: String| {
        let place = Place::Text { name: Arc::clone(&name), position: None };
        vec![ValueError::new(problem).at(place, "")]
    };
    let bytes =
        small_file::read(path, limits::CONFIG_BYTES_MAX, Kind::Stream).map_err(|error| {
            fail(match error {
                ReadError::TooLarge(_) => "larger than a configuration can be".to_owned(),
                ReadError::Io(_) | ReadError::NotAFile | ReadError::TooSlow(_) => {
                    read_cause(&error)
                }
            })
        })?;
    let not_text = || fail(io_cause(&std::io::ErrorKind::InvalidData.into()).to_owned());
    let text = std::str::from_utf8(&bytes).map_err(|_| not_text())?;
    Node::parse(text, &name)
}

/// The settings in a file.
///
/// # Errors
///
/// Everything that is wrong, in the order in which it is written.
pub fn load(
    path: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Vec<Problem>> {
    ConfigSource { path: Some(path.to_owned()), flags: Vec::new() }.load(environment)
}

/// The settings in `text`, which is called `name` in problems.
///
/// # Errors
///
/// Everything that is wrong, in the order in which it is written.
pub fn parse(
    text: &str,
    name: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Vec<Problem>> {
    let root = Node::parse(text, &Arc::from(name))?;
    Document::new(root, environment, &[]).config()
}

/// The names of all keys, without list positions: `listener.address`, `upstream.pool.mode`.
#[must_use]
pub fn keys() -> Vec<String> {
    schema::known().into_iter().filter(|(_, leaf)| *leaf).map(|(key, _)| key).collect()
}

/// File, environment and flags as one tree.
pub struct Document {
    root: Node,
    /// Settings that fit nowhere.
    problems: Vec<Problem>,
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({})", self.root.place)
    }
}

impl Document {
    fn new(
        mut root: Node,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &[Setting],
    ) -> Self {
        let mut settings = variables(environment);
        settings.extend_from_slice(flags);
        // Before, so that settings meet the keys they override; after, for whole tables among them.
        let mut problems = proper_names(&mut root);
        problems.extend(settings.iter().filter_map(|setting| root.put(setting).err()));
        problems.extend(proper_names(&mut root));
        Self { root, problems }
    }

    /// The settings.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in the order in which it is written.
    pub fn config(&self) -> Result<Config, Vec<Problem>> {
        let log = RefCell::default();
        let mut config = schema::read(&Section::root(&self.root, &log));
        let mut problems = log.into_inner().problems;
        problems.extend_from_slice(&self.problems);
        check::check(&config, &self.root, &mut problems);
        problems.extend(unknown(&self.root, &schema::known()));
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        config.places = self.places(&config);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Where each setting of a policy is written.
    fn places(&self, config: &Config) -> Places {
        let known = schema::known();
        let keys = || known.keys().filter_map(|key| key.strip_prefix("policy."));
        let names = config.sections().flat_map(|(section, _)| {
            keys().map(move |key| format!("{section}.{key}")).collect::<Vec<_>>()
        });
        let written = names.filter(|name| self.root.find(name).is_some());
        let placed = written.map(|name| {
            let place = self.root.place_of(&name).to_string();
            (name, place)
        });
        Places(placed.collect())
    }

    /// What of these settings, which are right, another of them makes void.
    #[must_use]
    pub fn void(&self, config: &Config) -> Vec<Problem> {
        let mut problems = Vec::new();
        void::check(config, &self.root, &mut problems);
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems
    }

    /// Where the value of `key` was written, or should have been.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        self.root.place_of(key)
    }

    /// A problem that another part found with the value of `key`, as `policy.acl`.
    #[must_use]
    pub fn problem(&self, key: &str, problem: impl Into<String>, hint: Option<String>) -> Problem {
        ValueError { problem: problem.into(), hint }.at(self.root.place_of(key), key)
    }
}

/// The variables of this process that override keys.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        })
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect()
}

/// The settings in `environment`, in an order in which lists grow from their beginning.
fn variables(environment: impl IntoIterator<Item = (String, String)>) -> Vec<Setting> {
    let mut settings: Vec<Setting> = environment
        .into_iter()
        .filter_map(|(name, value)| {
            let key = name.strip_prefix(VARIABLE_PREFIX)?.to_ascii_lowercase().replace("__", ".");
            let key = canonical(&key);
            Some(Setting::new(Place::Variable(name), &key, value))
        })
        .collect();
    settings.sort_by_cached_key(Setting::order);
    settings
}

/// Gives all keys of the tree the spelling of the schema.
fn proper_names(root: &mut Node) -> Vec<Problem> {
    let names = schema::ALIASES.iter();
    names.filter_map(|(section, spelling, key)| root.rename(section, spelling, key)).collect()
}

/// `key` in the spelling of the schema.
fn canonical(key: &str) -> String {
    let alias = schema::ALIASES.iter().find(|(section, spelling, _)| {
        key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')) == Some(spelling)
    });
    alias.map_or_else(|| key.to_owned(), |(section, _, name)| format!("{section}.{name}"))
}
