//! The written list of what a client with a prefix before its keys may see that an empty server of
//! its own would not show, each with its reason.
//!
//! Owns: [`NOT_PLAYED`], [`PLAYED_AS`], [`SCENARIOS`], [`NOT_SAID`]. Never knows: where replies come from.

/// Commands that reach keys of others, so that with a prefix no client may send them.
pub const NOT_PLAYED: &[(&str, &str)] = &[
    ("RANDOMKEY", "refused: shows any key"),
    ("SWAPDB", "refused: exchanges the keys of all"),
    ("SLOWLOG GET", "refused: shows arguments of others"),
    ("ACL LOG", "refused: shows names of others"),
    ("FUNCTION STATS", "refused: shows arguments of others"),
    ("MEMORY STATS", "refused: counts the keys of all"),
    ("DEBUG", "refused: reaches any key"),
    ("REPLICAOF", "refused: replaces the keys of all"),
    ("PSYNC", "refused: sends the keys of all"),
    ("MEMORY USAGE", "counts the bytes of the prefix, too"),
    ("EVAL return {KEYS[1],", "a script sees the names that the server has"),
    ("EVAL return redis.call('BLPOP', KEYS[1], 0) 1 l", "a script returns them, too"),
];

/// Refused because it removes the keys of all; this does for one application what is meant.
pub const PLAYED_AS: &[(&str, &str)] = &[("FLUSHALL", "FLUSHDB")];

/// Scenarios that are not played, by their names.
pub const SCENARIOS: &[(&str, &str)] = &[
    ("tracking and flush", "FLUSHDB removes key by key, so it invalidates key by key"),
    ("publish from a script", "only the names in KEYS get the prefix"),
];

/// What is different besides, and no script sends.
pub const NOT_SAID: &[(&str, &str)] = &[
    ("MONITOR, MIGRATE, CLUSTER GETKEYSINSLOT and the like", "refused: they reach keys of others"),
    ("DBSIZE, FLUSHDB within MULTI", "refused: they are many requests"),
    ("DBSIZE while the server's table shrinks", "a key may be counted twice, as SCAN has it"),
    ("PSUBSCRIBE *", "receives the application's channels, not the server's own about keys"),
    ("PSUBSCRIBE __key*, __*, __redis__:*", "refused: where the prefix goes is not clear"),
    ("PUBLISH __keyspace@0__:k", "the server alone publishes events about keys"),
    ("PUBSUB CHANNELS", "lists the application's channels, not the server's own about keys"),
    ("PUBSUB NUMPAT, INFO keyspace", "count for the whole server"),
    ("CLIENT TRACKING ON BCAST twice", "the second is an overlap: the prefix with itself"),
    ("SORT BY, SORT GET where the prefix has a *", "refused: the server would put the data there"),
    ("more than 128 bytes of arguments of an unknown command", "the server cuts behind the prefix"),
    ("keys and channels that a script makes up", "only KEYS get the prefix"),
];

/// The words that are sent with a prefix instead of these, on both sides; `None`: nothing is sent.
pub fn translate(words: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let sent = words.join(&b' ');
    let begins = |line: &str| {
        sent.get(..line.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(line.as_bytes()))
    };
    // Without the sections about all clients of the server it has fewer names.
    if sent.eq_ignore_ascii_case(b"INFO") || NOT_PLAYED.iter().any(|(line, _)| begins(line)) {
        return None;
    }
    let mut words = words.to_vec();
    if let Some((_, other)) = PLAYED_AS.iter().find(|(line, _)| begins(line)) {
        words[0] = other.as_bytes().to_vec();
    }
    Some(words)
}
