//! Commands that show or touch keys without naming them, where not every key is allowed.
//!
//! A key pattern of the server's ACL speaks only of keys that a request names; `DBSIZE`, `SCAN` or
//! a subscription to keyspace events tell about all others. Here such a command passes only when
//! it can be seen to stay inside the patterns, or when the selector allows every key.
//!
//! Owns: [`Hazard`] and the table of them. Never knows: how a command was allowed.

use crate::command::{self, Access, COMMANDS, CommandId, KeyError, Spec, is_word, scan_match};
use crate::resp::{Request, number};

use super::pattern::{Pattern, literal_prefix};
use super::role::{Scope, Selector};

/// One command of that kind.
#[derive(Debug)]
pub(super) struct Hazard {
    pub name: &'static str,
    /// A selector that may do this to every key may run the command as it likes.
    access: Access,
    check: Check,
    /// What it does, for the refusal: "'dbsize' counts all keys".
    pub does: &'static str,
    /// What to do instead; `None`: only a selector with `allkeys` permits it.
    pub instead: Option<&'static str>,
}

/// When it stays inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Never,
    /// `KEYS SCAN`: every pattern of names is covered by an allowed one.
    Walk,
    /// `COPY`: no database other than the session's own.
    Database,
    /// `PUBSUB CHANNELS`: the pattern is covered by an allowed channel pattern.
    ChannelWalk,
    /// `PUBSUB NUMSUB`: every channel is allowed.
    ChannelNames,
}

const READ: Access = Access::READ;
const WRITE: Access = Access::WRITE;
const BOTH: Access = Access::READ_WRITE;

const fn never(name: &'static str, access: Access, does: &'static str) -> Hazard {
    Hazard { name, access, check: Check::Never, does, instead: None }
}

const fn unless(
    name: &'static str,
    check: Check,
    does: &'static str,
    instead: &'static str,
) -> Hazard {
    let access = if matches!(check, Check::Database) { BOTH } else { READ };
    Hazard { name, access, check, does, instead: Some(instead) }
}

const WALK: &str = "shows keys outside the allowed patterns";
const WALK_INSTEAD: &str = "begin every pattern with an allowed prefix";
const OTHERS: &str = "shows arguments of other clients";
const CHANNELS: &str = "shows channels outside the allowed patterns";

/// `INFO` is not among them: drivers need it, and it tells of other keys only how many there are. Nor is
/// `CLIENT LIST`: respgate answers it with the asking client alone.
static HAZARDS: &[Hazard] = &[
    unless("keys", Check::Walk, WALK, WALK_INSTEAD),
    unless("scan", Check::Walk, WALK, "begin every MATCH with an allowed prefix"),
    unless("clusterscan", Check::Walk, WALK, "begin every MATCH with an allowed prefix"),
    unless("copy", Check::Database, "writes into another database", "leave DB out"),
    unless("pubsub|channels", Check::ChannelWalk, CHANNELS, "give an allowed pattern"),
    unless("pubsub|shardchannels", Check::ChannelWalk, CHANNELS, "give an allowed pattern"),
    unless("pubsub|numsub", Check::ChannelNames, CHANNELS, "give allowed channels"),
    unless("pubsub|shardnumsub", Check::ChannelNames, CHANNELS, "give allowed channels"),
    never("move", BOTH, "writes into another database"),
    never("randomkey", READ, WALK),
    never("dbsize", READ, "counts all keys"),
    never("memory|stats", READ, "counts all keys"),
    never("cluster|countkeysinslot", READ, "counts keys outside the allowed patterns"),
    never("cluster|slot-stats", READ, "counts keys outside the allowed patterns"),
    never("cluster|getkeysinslot", READ, WALK),
    never("hotkeys|get", READ, WALK),
    never("flushall", WRITE, "removes all keys"),
    never("flushdb", WRITE, "removes all keys"),
    never("cluster|flushslot", WRITE, "removes all keys of a slot"),
    never("cluster|migrateslots", BOTH, "moves all keys of some slots"),
    never("cluster|migration", BOTH, "moves all keys of some slots"),
    never("cluster|replicate", BOTH, "replaces the whole data set"),
    never("cluster|reset", WRITE, "removes all keys"),
    never("trimslots", WRITE, "removes all keys of some slots"),
    never("swapdb", BOTH, "exchanges whole databases"),
    never("monitor", READ, OTHERS),
    never("slowlog|get", READ, OTHERS),
    never("commandlog|get", READ, OTHERS),
    never("acl|log", READ, OTHERS),
    never("function|stats", READ, OTHERS),
    never("debug", BOTH, "reaches any key"),
    never("sync", READ, "sends the whole data set"),
    never("psync", READ, "sends the whole data set"),
    never("replicaof", BOTH, "replaces the whole data set"),
    never("slaveof", BOTH, "replaces the whole data set"),
];

/// With a prefix before the keys: the other server would get them under their whole names.
static MIGRATE: Hazard = never("migrate", BOTH, "sends keys to another server");

/// The table by command.
#[derive(Debug)]
pub(super) struct Hazards(Box<[Option<&'static Hazard>]>);

impl Hazards {
    pub fn new() -> Self {
        let mut by_id = vec![None; COMMANDS];
        for hazard in HAZARDS {
            let id = command::by_name(hazard.name).map(|spec| usize::from(spec.id.0));
            if let Some(place) = id.and_then(|id| by_id.get_mut(id)) {
                *place = Some(hazard);
            }
        }
        Self(by_id.into())
    }

    pub fn get(&self, id: CommandId) -> Option<&'static Hazard> {
        self.0.get(usize::from(id.0)).copied().flatten()
    }

    /// The hazard of a command that reaches other keys although every name in it has a prefix.
    pub fn of_prefixed_keys(&self, spec: &Spec) -> Option<&'static Hazard> {
        if spec.name == MIGRATE.name {
            return Some(&MIGRATE);
        }
        let stays = matches!(spec.name, "move" | "client|list");
        self.get(spec.id).filter(|hazard| hazard.check == Check::Never && !stays)
    }
}

impl Hazard {
    /// Whether a selector may do this to every key.
    pub fn is_open_to(&self, selector: &Selector) -> bool {
        selector.keys.is_unrestricted(self.access)
    }

    /// Whether this request stays inside what the selector allows.
    ///
    /// # Errors
    ///
    /// When its options do not parse or are not all there; where the selector allows every key they
    /// are not looked at.
    pub fn stays_inside(
        &self,
        selector: &Selector,
        request: &Request<'_>,
        database: u32,
        patterns: &mut Vec<u32>,
    ) -> Result<bool, KeyError> {
        if let Check::ChannelWalk | Check::ChannelNames = self.check {
            let Scope::Only(channels) = &selector.channels else { return Ok(true) };
            return Ok(self.check.channels_inside(channels, request));
        }
        if selector.keys.is_unrestricted(self.access) {
            return Ok(true);
        }
        match self.check {
            Check::Never | Check::ChannelWalk | Check::ChannelNames => Ok(false),
            Check::Walk => {
                scan_match(request, patterns)?;
                let inside = |at: &u32| {
                    let pattern = usize::try_from(*at).ok().and_then(|at| request.arg(at));
                    pattern.is_some_and(|text| selector.keys.any(READ, |known| known.covers(text)))
                };
                Ok(!patterns.is_empty() && patterns.iter().all(inside))
            }
            Check::Database => copies_within(request, database),
        }
    }
}

impl Check {
    fn channels_inside(self, known: &[Pattern], request: &Request<'_>) -> bool {
        let mut names = (2..request.len()).map(|index| request.arg(index));
        let inside = |name: Option<&[u8]>| {
            name.is_some_and(|name| {
                known.iter().any(|known| {
                    if self == Self::ChannelWalk { known.covers(name) } else { known.matches(name) }
                })
            })
        };
        // Without a pattern PUBSUB CHANNELS shows all; without a name PUBSUB NUMSUB shows nothing.
        (self == Self::ChannelNames || request.len() > 2) && names.all(inside)
    }
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

/// What the channels on which the server tells about keys begin with.
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

/// Whether an allowed channel pattern speaks of the server's own channels by name.
pub(super) fn names_reserved(known: &Pattern) -> bool {
    RESERVED.iter().any(|reserved| literal_prefix(known.text()).starts_with(reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hazard_is_a_command() {
        for hazard in HAZARDS {
            assert!(command::by_name(hazard.name).is_some(), "{}", hazard.name);
        }
    }

    #[test]
    fn what_may_be_reserved() {
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
