//! Named starting points, each a line of the ACL language.
//!
//! Owns: the table of presets and the safe default. Never knows: how rules are applied.

/// Rules under a name. They are about commands alone: keys and channels are all allowed unless the
/// rules that follow name some.
#[derive(Debug)]
pub(super) struct Preset {
    pub name: &'static str,
    pub rules: &'static str,
    /// What follows them where keys are bounded. SORT is dangerous for the keys that its patterns build,
    /// which are then looked at.
    pub where_keys_are_bound: &'static str,
}

const SORTS: &str = "+sort +sort_ro";

/// What holds when the configuration names no rule at all: everything that hurts neither others
/// nor the server.
pub(super) const DEFAULT: Preset = Preset {
    name: "default",
    // Taken away beyond the categories: what stops or empties all clients' scripts and functions,
    // and SCRIPT DEBUG, which can stop the server. SORT, KEYS, RESTORE, FLUSHALL, FLUSHDB, SWAPDB,
    // MIGRATE, CONFIG, CLIENT KILL and UNBLOCK go with @dangerous, replication and cluster
    // administration with @admin.
    // Given back: INFO, which clients ask for when they connect, and CLIENT LIST, by which job
    // queues find their workers and which shows no other policy's clients. All else that drivers send on
    // their own is in neither category: HELLO, AUTH, PING, ECHO, SELECT, RESET, QUIT, COMMAND,
    // CLIENT (ID, INFO, SETNAME, GETNAME, SETINFO, REPLY, TRACKING, CACHING), CLUSTER SLOTS,
    // SHARDS, NODES and MYID, ACL WHOAMI, READONLY, READWRITE.
    rules: "+@all -@admin -@dangerous -script|debug -script|kill -script|flush -function|kill \
            -function|flush -function|restore +info +client|list",
    where_keys_are_bound: SORTS,
};

/// What drivers send on their own, for the presets that build up from nothing.
macro_rules! with_drivers {
    ($rules:literal) => {
        concat!($rules, " +@connection +@transaction -@admin -@dangerous +info +client|list +time +command \
                         +acl|whoami +cluster|slots +cluster|shards +cluster|nodes +cluster|myid")
    };
}

pub(super) const PRESETS: [Preset; 5] = [
    // Reading and writing values; no scripts, streams, messages or waiting.
    Preset {
        name: "cache",
        rules: with_drivers!("+@read +@write -@scripting -@stream -@pubsub -@blocking"),
        where_keys_are_bound: SORTS,
    },
    // All data types, messages and waiting; no scripts.
    Preset {
        name: "readwrite",
        rules: with_drivers!("+@read +@write +@pubsub +@blocking -@scripting"),
        where_keys_are_bound: SORTS,
    },
    // Reading and listening.
    Preset {
        name: "readonly",
        rules: with_drivers!(
            "+@read +subscribe +psubscribe +ssubscribe +unsubscribe +punsubscribe +sunsubscribe \
             -@scripting -@write"
        ),
        where_keys_are_bound: "+sort_ro",
    },
    // Everything that a proxy can carry.
    Preset { name: "full", rules: "+@all", where_keys_are_bound: "" },
    DEFAULT,
];
