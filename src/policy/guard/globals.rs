//! What a server's Lua has of global names, asked of the server itself, and whether it can be trusted
//! to keep scripts behind what is written before them.
//!
//! Owns: [`Globals`], [`GlobalsSource`], the questions and how the answers are judged. Never knows: connections.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::lua;

/// Kinds of servers that word their errors differently.
pub(super) const DIALECTS: usize = 3;
/// Names of the table through which scripts call commands.
pub(super) const APIS: [&str; 2] = ["redis", "server"];
/// What replaces globals that reach further than a script needs.
pub(super) const REPLACED: &[(&str, &str)] = &[
    // The metatable of texts would be shared with every script of the server.
    ("getmetatable", "function(o) if type(o)==\"table\" then return getmetatable(o) end end"),
    ("collectgarbage", "function(o) return o==\"count\" and collectgarbage(o) or 0 end"),
    ("cjson", "cjson.new()"),
    ("os", "{clock=os.clock}"),
];
/// Globals that give a script nothing but values of its own.
const HARMLESS: [&str; 30] = [
    "ARGV",
    "KEYS",
    "_VERSION",
    "assert",
    "bit",
    "cmsgpack",
    "coroutine",
    "error",
    "ipairs",
    "math",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "struct",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "cjson",
    "os",
    "getmetatable",
    "collectgarbage",
];
/// Hidden whether or not the server lists them.
const HIDDEN: [&str; 17] = [
    "_ENV",
    "_G",
    "debug",
    "dofile",
    "gcinfo",
    "getfenv",
    "load",
    "loadfile",
    "loadstring",
    "module",
    "newproxy",
    "package",
    "print",
    "require",
    "setfenv",
    "io",
    "valkey",
];

/// Returns every global name; `!` behind it: the table can be changed, by any script for all others.
const QUESTION: &str = "local t={} for k,v in pairs(_G) do local s=tostring(k) \
     if type(v)=='table' and k~='KEYS' and k~='ARGV' and pcall(rawset,v,'respgate',nil) then s=s..'!' end \
     t[#t+1]=s end return t";

/// Where it is known what the server's Lua has.
pub trait GlobalsSource: fmt::Debug {
    /// `None`: the server has not been asked yet.
    fn globals(&self) -> Option<Result<Arc<Globals>, GuardFailure>>;
}

/// The global names of one server's Lua.
#[derive(Debug, PartialEq, Eq)]
pub struct Globals {
    names: BTreeSet<Box<str>>,
    valkey: bool,
    /// The server words the ACL's refusals as Redis 7.0 does.
    older: bool,
    id: u64,
}

/// Why no script can be kept inside its namespace on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardFailure {
    /// The server does not list the globals of its Lua.
    Unlisted,
    /// Scripts can change what others use.
    Unprotected,
    /// A script got past the prologue.
    Escaped,
}

impl GuardFailure {
    pub const ALL: [Self; 3] = [Self::Unlisted, Self::Unprotected, Self::Escaped];

    /// For metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unlisted => "globals_unknown",
            Self::Unprotected => "globals_unprotected",
            Self::Escaped => "escape",
        }
    }

    /// For the client and the log.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unlisted => "the server does not list the globals of its Lua",
            Self::Unprotected => "on this server a script can change the globals of all others",
            Self::Escaped => "a script of respgate's own got past the guard on this server",
        }
    }
}

/// What is known of the server's Lua. One for all sessions of a thread; its owner keeps the cell.
#[derive(Debug, Default)]
pub(crate) struct Guarding {
    found: Option<Result<Arc<Globals>, GuardFailure>>,
    wanted: bool,
    epoch: u64,
}

impl Guarding {
    /// What was found out last; `None`: the server has not been asked yet.
    #[must_use]
    pub(crate) fn get(&self) -> Option<Result<Arc<Globals>, GuardFailure>> {
        self.found.clone()
    }

    pub(crate) fn set(&mut self, found: Result<Arc<Globals>, GuardFailure>) {
        debug_assert!(self.wanted, "nothing had asked for it");
        self.found = Some(found);
    }

    /// Scripts are to be guarded. Returns whether that is new.
    pub(crate) const fn want(&mut self) -> bool {
        !std::mem::replace(&mut self.wanted, true)
    }

    /// The server may be another one. Returns whether it must be asked.
    pub(crate) fn doubt(&mut self) -> bool {
        self.epoch = self.epoch.wrapping_add(1);
        self.found = None;
        self.wanted
    }

    /// Another number after each [`Self::doubt`].
    #[must_use]
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the server must be asked.
    #[must_use]
    pub(crate) const fn is_due(&self) -> bool {
        self.wanted && self.found.is_none()
    }
}

/// The script that returns the globals.
#[must_use]
pub const fn question() -> &'static str {
    QUESTION
}

impl Globals {
    /// From the names in the answer to [`question`].
    ///
    /// # Errors
    ///
    /// When they are no list of Lua's globals, or a table is open to every script.
    pub fn new(
        names: &[&[u8]],
        valkey: bool,
        (major, minor): (u16, u16),
    ) -> Result<Self, GuardFailure> {
        let names: Vec<&str> =
            names.iter().filter_map(|name| std::str::from_utf8(name).ok()).collect();
        if !["redis", "_G", "pcall"]
            .iter()
            .all(|known| names.iter().any(|name| name.trim_end_matches('!') == *known))
        {
            return Err(GuardFailure::Unlisted);
        }
        if names.iter().any(|name| name.ends_with('!')) {
            return Err(GuardFailure::Unprotected);
        }
        let names: BTreeSet<Box<str>> = names.into_iter().map(Box::from).collect();
        let older = !valkey && (major, minor) < (7, 2) && major > 0;
        let texts = names.iter().map(|name| name.as_bytes());
        let id = lua::fingerprint(texts).wrapping_add(u64::from(valkey) + 2 * u64::from(older));
        Ok(Self { names, valkey, older, id })
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// The kind of server, of those that word their errors differently; below [`DIALECTS`].
    pub(super) const fn dialect(&self) -> usize {
        match (self.valkey, self.older) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a script must not see this global.
    pub(super) fn hides(&self, name: &str) -> bool {
        let known = || HARMLESS.contains(&name) || APIS.contains(&name);
        HIDDEN.contains(&name) || (self.has(name) && !known())
    }

    /// The server's own words in the places that are marked.
    pub(super) fn worded(&self, text: &str) -> String {
        let (lib, command, brand) = if self.valkey {
            ("Command arguments must be strings or integers", "command", "Valkey")
        } else {
            let lib = "Lua redis lib command arguments must be strings or integers";
            (lib, "Redis command", "Redis")
        };
        let unknown = format!("ERR Unknown {command} called from script");
        let arity = format!("ERR Wrong number of args calling {command} from script");
        let noscript = format!("ERR This {brand} command is not allowed from script");
        let (run, key, channel) = if self.older {
            let start = "ERR The user executing the script can't ";
            (
                format!("\"{start}run this command or subcommand\""),
                format!(
                    "\"{start}access at least one of the keys mentioned in the command arguments\""
                ),
                format!("\"{start}publish to the channel mentioned in the command\""),
            )
        } else {
            let start = "ERR ACL failure in script: ";
            (
                format!(
                    "\"{start}User default has no permissions to run the '\"..w..\"' command\""
                ),
                format!("\"{start}No permissions to access a key\""),
                format!("\"{start}No permissions to access a channel\""),
            )
        };
        text.replace("@ARGS@", &format!("ERR {lib}"))
            .replace("@ARITY@", &arity)
            .replace("@UNKNOWN@", &unknown)
            .replace("@NOSCRIPT@", &noscript)
            .replace("@RUN@", &run)
            .replace("@KEY@", &key)
            .replace("@CHANNEL@", &channel)
    }
}
