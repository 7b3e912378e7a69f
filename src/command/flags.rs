//! Flags and ACL categories of commands, and their names.
//!
//! Owns: [`Flags`], [`Categories`]. Never knows: which clients may use which.

/// A set of names as bits: the type, a constant for each member and its name.
macro_rules! bit_set {
    ($(#[$doc:meta])* $set:ident, $bits:ident: $repr:ty, $count:literal { $($constant:ident = $place:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $set($repr);

        /// The members of the set as plain numbers, for the table.
        pub(super) mod $bits {
            $(pub(in crate::command) const $constant: $repr = 1 << $place;)*
        }

        impl $set {
            $(pub const $constant: Self = Self($bits::$constant);)*
            /// Every member with its name, in the servers' order.
            pub const NAMES: [(&'static str, Self); $count] = [$(($name, Self::$constant)),*];

            #[must_use]
            pub(super) const fn from_bits(bits: $repr) -> Self {
                Self(bits)
            }

            /// The set with the one member of that name (lower case, without `@`).
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, member)| *member)
            }

            /// The name of the first member; nothing when the set is empty.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                self.names().next()
            }

            /// The names of all members.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.into_iter().filter(move |(_, member)| self.has(*member)).map(|(name, _)| name)
            }

            /// Whether every member of `other` is in this set.
            #[must_use]
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether the two sets share a member.
            #[must_use]
            pub const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            #[must_use]
            pub const fn with(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }
    };
}

bit_set! {
    /// The flags of a command, as `COMMAND` replies them.
    Flags, flag: u32, 23 {
        WRITE = 0 "write",
        READONLY = 1 "readonly",
        DENYOOM = 2 "denyoom",
        MODULE = 3 "module",
        ADMIN = 4 "admin",
        PUBSUB = 5 "pubsub",
        NOSCRIPT = 6 "noscript",
        BLOCKING = 7 "blocking",
        LOADING = 8 "loading",
        STALE = 9 "stale",
        SKIP_MONITOR = 10 "skip_monitor",
        SKIP_SLOWLOG = 11 "skip_slowlog",
        ASKING = 12 "asking",
        FAST = 13 "fast",
        NO_AUTH = 14 "no_auth",
        MAY_REPLICATE = 15 "may_replicate",
        NO_MANDATORY_KEYS = 16 "no_mandatory_keys",
        NO_ASYNC_LOADING = 17 "no_async_loading",
        NO_MULTI = 18 "no_multi",
        MOVABLEKEYS = 19 "movablekeys",
        ALLOW_BUSY = 20 "allow_busy",
        SENTINEL = 21 "sentinel",
        ONLY_SENTINEL = 22 "only_sentinel",
    }
}

bit_set! {
    /// The ACL categories of a command. The last eight are those of Redis 8's modules: no command
    /// of the table has them, but rules may name them.
    Categories, category: u32, 30 {
        KEYSPACE = 0 "keyspace",
        READ = 1 "read",
        WRITE = 2 "write",
        SET = 3 "set",
        SORTEDSET = 4 "sortedset",
        LIST = 5 "list",
        HASH = 6 "hash",
        STRING = 7 "string",
        BITMAP = 8 "bitmap",
        HYPERLOGLOG = 9 "hyperloglog",
        GEO = 10 "geo",
        STREAM = 11 "stream",
        PUBSUB = 12 "pubsub",
        ADMIN = 13 "admin",
        FAST = 14 "fast",
        SLOW = 15 "slow",
        BLOCKING = 16 "blocking",
        DANGEROUS = 17 "dangerous",
        CONNECTION = 18 "connection",
        TRANSACTION = 19 "transaction",
        SCRIPTING = 20 "scripting",
        ARRAY = 21 "array",
        SEARCH = 22 "search",
        JSON = 23 "json",
        TIMESERIES = 24 "timeseries",
        BLOOM = 25 "bloom",
        CUCKOO = 26 "cuckoo",
        TOPK = 27 "topk",
        CMS = 28 "cms",
        TDIGEST = 29 "tdigest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_members_answer_each_other() {
        for (name, member) in Flags::NAMES {
            assert_eq!(Flags::from_name(name), Some(member));
            assert_eq!(member.name(), Some(name));
        }
        for (name, member) in Categories::NAMES {
            assert_eq!(Categories::from_name(name), Some(member));
            assert_eq!(member.name(), Some(name));
        }
        assert_eq!(Categories::from_name("READ"), None);
        assert_eq!(Categories::default().name(), None);
    }

    #[test]
    fn sets_join_and_part() {
        let set = Categories::READ.with(Categories::FAST);
        assert_eq!(set.names().collect::<Vec<_>>(), ["read", "fast"]);
        assert!(set.has(Categories::READ) && !set.has(Categories::READ.with(Categories::SLOW)));
        assert!(set.intersects(Categories::READ.with(Categories::SLOW)));
        assert_eq!(set.without(Categories::READ), Categories::FAST);
        assert!(set.without(set).is_empty());
    }
}
