//! What operators have blocked, until when, and by which operator.
//!
//! Owns: [`Blocking`], [`Entry`], when an entry ends. Never knows: clocks, connections, how a command is
//! refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::limits;
use crate::command::Dictionary;
use crate::config::CertificatePattern;
use crate::policy::Blocks;
use crate::telemetry::{self, Metrics};

/// The entries of this process; they end with it.
#[derive(Debug, Default)]
pub(super) struct Blocking(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    last: u64,
    entries: Vec<Entry>,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: u64,
    pub what: What,
    /// Seconds since 1970.
    pub since: u64,
    pub until: Option<u64>,
    pub by: String,
}

/// What is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Words of the ACL language.
    Commands(String),
    User(String),
    Listener(String),
    Uid(u32),
    Certificate(CertificatePattern),
}

impl What {
    /// The kind, as the metric and the JSON name it, and the value.
    pub(super) fn components(&self) -> (&'static str, String) {
        match self {
            Self::Commands(words) => ("command", words.clone()),
            Self::User(name) => ("user", name.clone()),
            Self::Listener(address) => ("listener", address.clone()),
            Self::Uid(uid) => ("uid", uid.to_string()),
            Self::Certificate(pattern) => ("certificate", pattern.to_string()),
        }
    }

    const fn label(&self) -> telemetry::Blocked {
        match self {
            Self::Commands(_) => telemetry::Blocked::Command,
            Self::User(_) => telemetry::Blocked::User,
            Self::Listener(_) => telemetry::Blocked::Listener,
            Self::Uid(_) => telemetry::Blocked::Uid,
            Self::Certificate(_) => telemetry::Blocked::Certificate,
        }
    }
}

impl Entry {
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

impl Blocking {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a block. One with the same meaning for the same subject is replaced.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub(super) fn add(
        &self,
        what: What,
        until: Option<u64>,
        by: String,
        now: u64,
    ) -> Result<Entry, String> {
        let mut list = self.list();
        list.entries.retain(|entry| entry.what != what && !entry.is_over(now));
        if list.entries.len() >= limits::BLOCKS_MAX {
            return Err(format!(
                "there are {} blocks already; remove some with unblock",
                limits::BLOCKS_MAX
            ));
        }
        list.last += 1;
        let entry = Entry { id: list.last, what, since: now, until, by };
        list.entries.push(entry.clone());
        Ok(entry)
    }

    /// Removes the block of this number, or all; returns those removed.
    pub(super) fn remove(&self, id: Option<u64>, now: u64) -> Vec<Entry> {
        let mut list = self.list();
        list.entries.retain(|entry| !entry.is_over(now));
        let (gone, stay) =
            list.entries.drain(..).partition(|entry| id.is_none_or(|id| id == entry.id));
        list.entries = stay;
        gone
    }

    /// The entries in force at `now`.
    pub(super) fn all(&self, now: u64) -> Vec<Entry> {
        let mut list = self.list();
        list.entries.retain(|entry| !entry.is_over(now));
        list.entries.clone()
    }

    /// The blocks in force at `now` for the data plane, and in the metric. A word that this dictionary
    /// does not know any more blocks nothing.
    pub(super) fn compile(
        &self,
        dictionary: &Dictionary,
        now: u64,
        metrics: &Metrics,
    ) -> Arc<Blocks> {
        use telemetry::Label;
        let entries = self.all(now);
        for label in telemetry::Blocked::ALL {
            let count = entries.iter().filter(|entry| entry.what.label() == *label).count();
            metrics.blocked[*label].set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let mut blocks = Blocks::default();
        for Entry { what, until, .. } in entries {
            let until = until.unwrap_or_default();
            match what {
                What::Commands(words) => {
                    drop(blocks.add_commands(&words, dictionary, until));
                }
                What::User(name) => blocks.add_user(&name, until),
                What::Listener(address) => blocks.add_listener(&address, until),
                What::Uid(uid) => blocks.add_uid(uid, until),
                What::Certificate(pattern) => blocks.add_certificate(pattern, until),
            }
        }
        Arc::new(blocks)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn block_ends_by_its_time() {
        let blocking = Blocking::default();
        let user = |name: &str| What::User(name.to_owned());
        let add = |what, until| blocking.add(what, until, "uid 0".to_owned(), 100).unwrap().id;
        let (first, second, third) =
            (add(user("a"), Some(110)), add(user("b"), None), add(What::Uid(7), Some(200)));
        assert_eq!((first, second, third), (1, 2, 3));
        let ids = |now| blocking.all(now).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(109), [1, 2, 3]);
        assert_eq!(ids(110), [2, 3]);
        assert_eq!(add(user("b"), Some(300)), 4, "the same again replaces the one before");
        assert_eq!(ids(110), [3, 4]);
        assert_eq!(blocking.remove(Some(3), 150).len(), 1);
        assert_eq!(blocking.remove(Some(3), 150), []);
        assert_eq!(blocking.remove(None, 300), [], "it had ended");
    }

    #[test]
    fn number_of_blocks_is_bounded() {
        let blocking = Blocking::default();
        for uid in 0..limits::BLOCKS_MAX {
            let uid = u32::try_from(uid).unwrap();
            blocking.add(What::Uid(uid), None, String::new(), 0).unwrap();
        }
        assert!(blocking.add(What::Uid(1000), None, String::new(), 0).is_err());
        let metrics = Metrics::default();
        blocking.compile(&Dictionary::default(), 0, &metrics);
        assert_eq!(metrics.blocked[telemetry::Blocked::Uid].get(), 64);
    }
}
