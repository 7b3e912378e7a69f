//! What is known about each command of Redis 7.0 to 8.x and Valkey 7.2 to 9.x.
//!
//! Owns: [`Spec`] and the way from a request to it. Never knows: policy, sessions, sockets.

mod cost;
mod definition;
mod dictionary;
mod effect;
mod flags;
mod key_position;
mod keys;
mod local;
mod lookup;
mod miss;
mod names;
mod options;
mod reach;
mod row;
mod scan;
mod script;
mod server_command;
mod stores;
mod table;
mod ttl_effect;

pub(crate) use cost::Cost;
pub(crate) use definition::{Definition, DefinitionError, define_all};
pub(crate) use dictionary::{CommandInterner, Dictionary, IDS};
pub use effect::Effect;
pub(crate) use effect::{Blocking, Timeout, blocking};
pub use flags::{Categories, Flags};
pub use key_position::{Access, KeyError, KeyKind};
pub(crate) use key_position::{KeyPosition, is_word};
pub use keys::{KeySpec, find_keys};
pub(crate) use local::Local;
pub use lookup::lookup;
pub use lookup::{Lookup, all, by_name};
pub(crate) use miss::{EmptyReply, Miss};
pub(crate) use names::ReplyNames;
pub(crate) use options::streams_begin;
pub use reach::Reach;
pub(crate) use reach::{Does, PatternAt};
pub(crate) use scan::scan_match;
pub(crate) use script::Script;
pub(crate) use server_command::{ServerCommand, describe, differences, learn};
pub(crate) use stores::Stores;
pub(crate) use ttl_effect::{
    OptionsStart, TimeAt, TimeOption, TtlEffect, Unit, WithoutOption, restore_time, time_options,
};

/// A command's place in the table, or behind it in a [`CommandInterner`]: dense from 0, so that a set of
/// commands is a bit set. It holds for one process only; files and messages name commands by
/// [`Spec::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// One command or subcommand, as the servers' own `COMMAND` describes it.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub id: CommandId,
    /// Lower case; a subcommand is `container|subcommand`.
    pub name: &'static str,
    /// How many arguments a request has, the names included (two for a subcommand): exactly this
    /// many, or at least as many when negative.
    pub arity: i16,
    pub flags: Flags,
    pub categories: Categories,
    /// Where the keys and channels are; [`find_keys`] reads it. Empty: there are none.
    pub keys: &'static [KeySpec],
    pub effect: Effect,
    /// What it reaches beyond them.
    pub reach: Reach,
    /// The arguments that become values.
    pub stores: Stores,
    /// What becomes of the time to live of the keys that it writes.
    pub lifetime: TtlEffect,
    /// Where its replies have names.
    pub names: ReplyNames,
    /// What it has to do with scripts and functions, if anything.
    pub script: Option<Script>,
    /// What the server's work for it grows with.
    pub cost: Cost,
    /// What it answers where there is no data.
    pub miss: Miss,
    /// Whether every server of Redis and Valkey from 7.0 on has it.
    pub everywhere: bool,
    /// The container of a subcommand.
    pub parent: Option<CommandId>,
    /// Whether the command has subcommands: its second argument then names one of them.
    pub container: bool,
}

impl Spec {
    /// Whether a request of `len` arguments is neither too short nor too long.
    #[must_use]
    pub const fn accepts(&self, len: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { len >= arity } else { len == arity }
    }

    /// Whether the server may hold it while it serves reads (`CLIENT PAUSE WRITE`; redis server.c
    /// `is_may_replicate_command`): it writes, publishes, runs a script or counts with HyperLogLogs.
    #[must_use]
    pub fn may_write(&self) -> bool {
        let writes = Flags::WRITE.with(Flags::MAY_REPLICATE).with(Flags::PUBSUB);
        let script = self.categories.has(Categories::SCRIPTING) && !self.keys.is_empty();
        let unknown = script || self.flags.has(Flags::MODULE);
        self.flags.intersects(writes)
            || self.categories.has(Categories::HYPERLOGLOG)
            || (unknown && !self.flags.has(Flags::READONLY))
    }

    /// Whether it may be executed twice without harm: it reads, or reports something about the server.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        let harmful = Flags::WRITE
            .with(Flags::ADMIN)
            .with(Flags::PUBSUB)
            .with(Flags::NOSCRIPT)
            .with(Flags::MODULE)
            .with(Flags::BLOCKING)
            .with(Flags::MAY_REPLICATE);
        self.flags.has(Flags::READONLY)
            || (self.effect.leaves_nothing() && !self.flags.intersects(harmful))
    }

    /// Whether its key positions are unknown.
    #[must_use]
    pub fn hides_keys(&self) -> bool {
        self.keys.contains(&KeySpec::Unknown)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::resp::{Request, RequestLimits, RequestScanner, Scan};

    /// Calls `look` with the head of a request of `len` arguments: those of `line`, and a large one
    /// that is announced alone.
    pub(crate) fn with_head<T>(line: &str, len: usize, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let limits = RequestLimits { large_bytes: 1 << 16, ..RequestLimits::NONE };
        let mut bytes = format!("*{len}\r\n");
        for arg in line.split(' ') {
            bytes += &format!("${}\r\n{arg}\r\n", arg.len());
        }
        bytes += "$65536\r\n";
        let mut scanner = RequestScanner::default();
        let scan = scanner.scan(bytes.as_bytes(), &limits);
        assert!(matches!(scan, Ok(Scan::Head { .. })), "{line}: {scan:?}");
        look(&scanner.request(bytes.as_bytes()))
    }
}
