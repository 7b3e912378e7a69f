//! Commands that show or touch more than they name, where a policy is bounded: to some keys, or to some
//! databases.
//!
//! A key pattern of the server's ACL covers only keys that a request names; `DBSIZE`, `SCAN` or
//! a subscription to keyspace events reach all others. Here such a command passes only when
//! it can be seen to stay inside, when the selector allows every key of every database, or, where it
//! is about the server and not about keys, when a rule permits it by its name.
//!
//! Owns: what [`Reach`] means for a selector. Never knows: how a command was allowed, any command's name.

use crate::command::{Access, Does, KeyError, Reach, Spec, is_word, scan_match};
use crate::resp::{Request, number};

use super::pattern::{Pattern, literal_prefix};
use super::role::{Scope, Selector};

const READ: Access = Access::READ;
const BOTH: Access = Access::READ_WRITE;

impl Selector {
    /// Whether every key of every database is allowed: nothing is beyond it.
    pub(crate) fn is_boundless(&self) -> bool {
        self.keys.is_unrestricted(BOTH) && self.databases.are_all()
    }

    /// Whether the server's own channels about keys need not be named.
    pub(crate) fn reports_keys(&self) -> bool {
        self.keys.is_unrestricted(READ)
    }

    /// Whether what a command reaches is all allowed, whatever the request.
    pub(crate) fn is_open_to(&self, reach: Reach) -> bool {
        match reach {
            Reach::Named
            | Reach::Migrate
            | Reach::Report
            | Reach::ChannelScan
            | Reach::ChannelCount => true,
            Reach::Scan(_) => self.keys.is_unrestricted(READ),
            Reach::Copy | Reach::Move => self.keys.is_unrestricted(BOTH),
            Reach::Invalidations => self.databases.are_all(),
            // The databases are named: they are looked at by themselves.
            Reach::Server(does @ Does::ExchangesDatabases) | Reach::Database(does) => {
                self.keys.is_unrestricted(does.access().unwrap_or(BOTH))
            }
            Reach::Server(does) => {
                self.databases.are_all() && self.keys.is_unrestricted(does.access().unwrap_or(BOTH))
            }
        }
    }

    /// Whether this request stays inside what the selector allows.
    ///
    /// # Errors
    ///
    /// When its options do not parse or are not all there; where the selector allows every key they
    /// are not looked at.
    pub(crate) fn holds(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        database: u32,
        patterns: &mut Vec<u32>,
    ) -> Result<bool, KeyError> {
        if let Reach::ChannelScan | Reach::ChannelCount = spec.reach {
            let Scope::Only(channels) = &self.channels else { return Ok(true) };
            return Ok(channels_inside(spec.reach, channels, request));
        }
        if self.is_open_to(spec.reach) {
            return Ok(true);
        }
        match spec.reach {
            Reach::Scan(_) => {
                scan_match(spec, request, patterns)?;
                let inside = |at: &u32| {
                    let pattern = usize::try_from(*at).ok().and_then(|at| request.arg(at));
                    pattern.is_some_and(|text| self.keys.any(READ, |known| known.covers(text)))
                };
                Ok(!patterns.is_empty() && patterns.iter().all(inside))
            }
            Reach::Copy => copies_within(request, database),
            Reach::Server(does) => Ok(does.access().is_none() && self.names(spec.id)),
            Reach::Named
            | Reach::Move
            | Reach::Migrate
            | Reach::ChannelScan
            | Reach::ChannelCount
            | Reach::Invalidations
            | Reach::Report
            | Reach::Database(_) => Ok(false),
        }
    }
}

/// Why a command is refused whatever the role where every key carries a prefix, although each name
/// in it would carry it too. `named`: a rule permits it by its name.
pub(super) fn leaves_prefix(reach: Reach, named: bool) -> bool {
    match reach {
        Reach::Migrate | Reach::Database(_) => true,
        Reach::Server(does) => does.access().is_some() || !named,
        Reach::Named
        | Reach::Scan(_)
        | Reach::Copy
        | Reach::Move
        | Reach::ChannelScan
        | Reach::ChannelCount
        | Reach::Invalidations
        | Reach::Report => false,
    }
}

/// What a command does, for the refusal: "'dbsize' counts all keys".
pub(super) const fn does(reach: Reach) -> &'static str {
    match reach {
        Reach::Scan(_) => "shows keys outside the allowed patterns",
        Reach::Copy | Reach::Move => "writes into another database",
        Reach::Migrate => "sends keys to another server",
        Reach::ChannelScan | Reach::ChannelCount => "shows channels outside the allowed patterns",
        Reach::Invalidations => "reports keys in all databases",
        Reach::Database(does) | Reach::Server(does) => match does {
            Does::ShowsKeys => "shows keys outside the allowed patterns",
            Does::CountsKeys => "counts all keys",
            Does::RemovesKeys => "removes all keys",
            Does::MovesKeys => "moves all keys of some slots",
            Does::ReachesKeys => "reaches any key",
            Does::ShowsRequests => "shows arguments of other clients",
            Does::SendsData => "sends the whole data set",
            Does::ReplacesData => "replaces the whole data set",
            Does::ExchangesDatabases => "exchanges whole databases",
            Does::ShowsServer => "shows what all clients of the server do or may do",
            Does::ChangesServer => "changes the server for all its clients",
            Does::ShowsScripts => "shows scripts and functions of all clients of the server",
            Does::ChangesScripts => "changes scripts and functions of all clients of the server",
        },
        // These are never refused for what they reach.
        Reach::Named | Reach::Report => "",
    }
}

fn channels_inside(reach: Reach, known: &[Pattern], request: &Request<'_>) -> bool {
    let scans = reach == Reach::ChannelScan;
    let mut names = (2..request.len()).map(|index| request.arg(index));
    let inside = |name: Option<&[u8]>| {
        name.is_some_and(|name| {
            known.iter().any(|known| if scans { known.covers(name) } else { known.matches(name) })
        })
    };
    // Without a pattern PUBSUB CHANNELS shows all; without a name PUBSUB NUMSUB shows nothing.
    (!scans || request.len() > 2) && names.all(inside)
}

/// Whether no `DB` of a `COPY` leads elsewhere. A number that the server would read differently
/// (`+1`, `01`) is elsewhere.
///
/// # Errors
///
/// When not all of it is there: an option may be long, for a NUL ends it.
fn copies_within(request: &Request<'_>, database: u32) -> Result<bool, KeyError> {
    if request.available() < request.len() {
        return Err(KeyError::NotYetKnown);
    }
    let own = i64::from(database);
    Ok((3..request.len()).all(|index| {
        let is_option = request.arg(index).is_some_and(|word| is_word(word, b"db"));
        !is_option || request.arg(index + 1).and_then(number::parse_i64) == Some(own)
    }))
}

/// The beginnings of the channels on which the server reports keys.
const RESERVED: [&[u8]; 5] =
    [b"__keyspace@", b"__keyevent@", b"__subkey", b"__redis__:", b"__sentinel__:"];

/// Whether a channel, or what a pattern may fit, can be one of the server's own. Of a pattern only
/// the literal beginning counts, so that `*` and `_[_]k*` can.
pub(super) fn may_be_reserved(channel: &[u8], is_pattern: bool) -> bool {
    let literal = if is_pattern { literal_prefix(channel) } else { channel };
    RESERVED.iter().any(|reserved| {
        literal.starts_with(reserved)
            || (literal.len() < channel.len() && reserved.starts_with(literal))
    })
}

/// Whether an allowed channel pattern names the server's own channels.
pub(super) fn names_reserved(known: &Pattern) -> bool {
    RESERVED.iter().any(|reserved| literal_prefix(known.text()).starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyspace_that_may_be_reserved() {
        for (channel, is_pattern, expected) in [
            ("__keyspace@0__:a", false, true),
            ("__redis__:invalidate", false, true),
            ("__key", false, false),
            ("news", false, false),
            ("*", false, false),
            ("*", true, true),
            ("?*", true, true),
            ("[_]_key*", true, true),
            ("__key*", true, true),
            ("__keyspace@0__:app1:*", true, true),
            ("\\__key*", true, true),
            ("news*", true, false),
            ("__key", true, false),
            ("_x*", true, false),
        ] {
            assert_eq!(may_be_reserved(channel.as_bytes(), is_pattern), expected, "{channel}");
        }
    }
}
