//! Clients as an operator sees them, chooses them and disconnects them.
//!
//! Owns: [`Listed`], [`Choice`]. Never knows: policies, CLIENT LIST.

use std::time::{Duration, Instant};

use super::client_info::shown;
use super::figures::Marks;
use super::roster::{ClientEntry, Roster};
use crate::config::CertificatePattern;

/// One client.
#[derive(Clone, Debug)]
pub struct Listed {
    pub id: u64,
    pub user: String,
    pub uid: Option<u32>,
    /// What its certificate is called.
    pub certificate: Option<String>,
    pub address: String,
    pub listener: String,
    pub name: String,
    pub library: String,
    pub age: Duration,
    pub idle: Duration,
    pub database: u32,
    pub commands: u64,
    pub received: u64,
    pub sent: u64,
    pub state: &'static str,
    /// Everything is denied to it, or some commands are.
    pub blocked: bool,
}

/// A choice of clients: those that meet every condition.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub id: Option<u64>,
    pub user: Option<String>,
    pub uid: Option<u32>,
    /// With its port or without.
    pub address: Option<String>,
    pub listener: Option<String>,
    pub name: Option<String>,
    pub certificate: Option<CertificatePattern>,
}

impl Choice {
    /// Whether every client is meant.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        let Self { id, user, uid, address, listener, name, certificate } = self;
        id.is_none()
            && user.is_none()
            && uid.is_none()
            && address.is_none()
            && listener.is_none()
            && name.is_none()
            && certificate.is_none()
    }

    fn fits(&self, entry: &ClientEntry) -> bool {
        let text = |wanted: &Option<String>, own: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == own)
        };
        let address = entry.peer.address();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(host);
        self.id.is_none_or(|id| id == entry.id)
            && self.uid.is_none_or(|uid| entry.peer.uid() == Some(uid))
            && text(&self.user, entry.user().as_str())
            && (text(&self.address, address) || text(&self.address, host))
            && text(&self.listener, &entry.peer.listener)
            && self.name.as_deref().is_none_or(|name| entry.is_named(name))
            && self.certificate.as_ref().is_none_or(|wanted| {
                let own = entry.peer.certificate();
                own.is_some_and(|own| wanted.fits(&own.names, &own.fingerprint))
            })
    }
}

/// The name of a client, and its library.
fn display_names(entry: &ClientEntry) -> (String, String) {
    let client_info = entry.client_info();
    client_info.as_deref().map_or_else(Default::default, |client_info| {
        let version = if client_info.lib_ver.is_empty() { "" } else { " " };
        let library =
            format!("{}{version}{}", shown(&client_info.lib_name), shown(&client_info.lib_ver));
        (shown(&client_info.name), library)
    })
}

fn state(marks: Marks) -> &'static str {
    let words = [
        (Marks::CLOSING, "closing"),
        (Marks::REPLICA, "replica"),
        (Marks::MONITOR, "monitor"),
        (Marks::BLOCKED, "blocked"),
        (Marks::PUBSUB, "pubsub"),
        (Marks::MULTI, "multi"),
        (Marks::TRACKING, "tracking"),
    ];
    words.iter().find(|(mark, _)| marks.has(*mark)).map_or("normal", |(_, word)| word)
}

impl Roster {
    /// The clients that are meant, in the order in which they came, at most `most`; and how many there
    /// are.
    #[must_use]
    pub fn list(&self, choice: &Choice, most: usize, now: Instant) -> (Vec<Listed>, usize) {
        let mut listed = Vec::new();
        let mut count = 0;
        for entry in self.chosen(choice) {
            count += 1;
            if listed.len() >= most {
                continue;
            }
            let figures = entry.figures();
            let (name, library) = display_names(&entry);
            listed.push(Listed {
                id: entry.id,
                user: entry.user().as_str().to_owned(),
                uid: entry.peer.uid(),
                certificate: entry.peer.certificate().map(|own| own.name.to_string()),
                address: entry.peer.address().to_owned(),
                listener: entry.peer.listener.to_string(),
                name,
                library,
                age: now.saturating_duration_since(entry.since),
                idle: now.saturating_duration_since(figures.active),
                database: figures.database,
                commands: entry.commands(),
                received: entry.received(),
                sent: entry.sent(),
                state: state(figures.marks),
                blocked: entry.is_blocked(),
            });
        }
        (listed, count)
    }

    /// Disconnects the clients that are meant; returns how many.
    pub fn disconnect(&self, choice: &Choice) -> usize {
        let chosen = self.chosen(choice);
        chosen.iter().for_each(|entry| self.kill(entry));
        chosen.len()
    }

    fn chosen(&self, choice: &Choice) -> Vec<std::rc::Rc<ClientEntry>> {
        self.entries()
            .into_iter()
            .filter(|entry| !entry.is_killed() && choice.fits(entry))
            .collect()
    }
}
