//! The verbs of the admin server, each in a file of its own.
//!
//! Owns: [`VERBS`], the one table. Never knows: HTTP, the command line, how a verb is answered.
//!
//! A new verb is a file here with its [`Verb`], a line in this table, and as a subcommand a line in
//! `cli/verbs.rs` and in the table of `cli/command_line.rs`.

mod explain;
mod learn;
mod reload;

pub use explain::EXPLAIN;
pub use learn::LEARN;
pub use reload::RELOAD;

use std::time::Duration;

use super::house::House;
use crate::admin::Verb;

/// How long an answer from memory may take.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Every verb, in the order in which the documentation lists them.
pub const VERBS: &[&Verb<House>] = &[&RELOAD, &EXPLAIN, &LEARN];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_verb_has_one_name_and_paths_of_its_own() {
        let (mut names, mut paths) = (HashSet::new(), HashSet::new());
        for verb in VERBS {
            assert!(names.insert(verb.name), "{}", verb.name);
            for path in [&[verb.path], verb.also].concat() {
                assert!(paths.insert(path) && path.starts_with('/'), "{path}");
            }
            assert!(!verb.about.ends_with('.') && !verb.examples.is_empty(), "{}", verb.name);
        }
    }
}
