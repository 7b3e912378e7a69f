//! The verbs of a running respgate that are subcommands by their table alone.
//!
//! Owns: a type for each. Never knows: flags, how one is asked.

use super::args::OfTable;
use crate::admin::Verb;
use crate::proxy::AdminState;
use crate::proxy::verbs as table;

macro_rules! of_table {
    ($($name:ident = $verb:ident,)*) => {
        $(
            #[derive(Debug)]
            pub(super) struct $name;

            impl OfTable for $name {
                const VERB: &'static Verb<AdminState> = &table::$verb;
            }
        )*
    };
}

of_table! {
    Status = STATUS,
    Health = HEALTH,
    Clients = CLIENTS,
    Reload = RELOAD,
    LogLevel = LOG_LEVEL,
    Block = BLOCK,
    Unblock = UNBLOCK,
    Disconnect = DISCONNECT,
    Drain = DRAIN,
    Shutdown = SHUTDOWN,
    Metrics = METRICS,
    LogsRecent = LOGS_RECENT,
    Learn = LEARN,
    Slowlog = SLOWLOG,
    SlowlogReset = SLOWLOG_RESET,
    Hotkeys = HOTKEYS,
    HotkeysReset = HOTKEYS_RESET,
}
