//! The databases that a request reaches, and whether a role may reach them (Valkey 9.1: `db=…`, acl.c).
//!
//! Owns: [`Databases`]. Never knows: which one a session has selected, keys.

use crate::command::{Categories, Does, Effect, Flags, KeyError, Reach, Spec, is_word};
use crate::resp::{Request, number};

/// The databases of a role.
#[derive(Clone, Debug)]
pub(super) enum Databases {
    All,
    /// In order, each once.
    Only(Vec<u32>),
}

impl Databases {
    /// Reads `0,2`.
    pub(super) fn parse(text: &str) -> Option<Vec<u32>> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse::<u32>().ok().filter(|_| digits);
            number.filter(|number| i32::try_from(*number).is_ok())
        };
        let mut known = text.split(',').map(number).collect::<Option<Vec<u32>>>()?;
        known.sort_unstable();
        known.dedup();
        Some(known)
    }

    /// The databases as a word of the ACL language; none where all are allowed.
    pub(super) fn word(&self) -> Option<String> {
        let Self::Only(known) = self else { return None };
        if known.is_empty() {
            return Some("resetdbs".to_owned());
        }
        let numbers: Vec<String> = known.iter().map(u32::to_string).collect();
        Some(format!("db={}", numbers.join(",")))
    }

    /// Whether all of them are allowed.
    pub(super) const fn are_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether every one of `other` is among these.
    pub(super) fn cover(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(own), Self::Only(other)) => other.iter().all(|one| own.contains(one)),
        }
    }

    /// Whether a channel of the server's own, or every one that such a pattern matches, reports keys in these
    /// databases alone: `__keyspace@0__:…`, the number written out.
    pub(super) fn hold_channel(&self, name: &[u8]) -> bool {
        let Self::Only(known) = self else { return true };
        let mut parts = name.splitn(2, |byte| *byte == b'@');
        let kind = parts.next().and_then(|kind| kind.strip_prefix(b"__"));
        let is_kind = kind.is_some_and(|kind| kind.iter().all(u8::is_ascii_lowercase));
        let rest = parts.next().filter(|_| is_kind).unwrap_or_default();
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, behind) = rest.split_at_checked(digits).unwrap_or_default();
        let number = number::parse_length(digits).and_then(|number| u32::try_from(number).ok());
        behind.starts_with(b"__:") && number.is_some_and(|number| known.contains(&number))
    }

    /// Whether all databases that a request reaches are among these. A number that the server would
    /// not read is none of them.
    ///
    /// # Errors
    ///
    /// When the request is not complete enough to show which.
    pub(super) fn hold(
        &self,
        spec: &Spec,
        request: &Request<'_>,
        own: u32,
    ) -> Result<bool, KeyError> {
        let Self::Only(known) = self else { return Ok(true) };
        let holds = |database: u32| known.contains(&database);
        let named = |at: usize| {
            let number = request.arg(at).and_then(number::parse_length);
            number.and_then(|number| u32::try_from(number).ok()).is_some_and(holds)
        };
        Ok(match (spec.effect, spec.reach) {
            (Effect::Select, _) => named(1),
            (_, Reach::Server(Does::ExchangesDatabases)) => named(1) && named(2),
            (_, Reach::Move) => holds(own) && named(2),
            (_, Reach::Copy) if request.available() < request.len() => {
                return Err(KeyError::NotYetKnown);
            }
            (_, Reach::Copy) => {
                let mut words = 3..request.len();
                let is_option =
                    |at: usize| request.arg(at).is_some_and(|word| is_word(word, b"db"));
                holds(own) && words.all(|at| !is_option(at) || named(at + 1))
            }
            (_, Reach::Server(Does::RemovesKeys | Does::MovesKeys)) => false,
            _ => !has_data(spec) || holds(own),
        })
    }
}

/// Whether a command is about the data of a database.
fn has_data(spec: &Spec) -> bool {
    let about = [Categories::KEYSPACE, Categories::READ, Categories::WRITE];
    let names_keys = !spec.keys.is_empty() && !spec.flags.has(Flags::PUBSUB);
    about.iter().any(|one| spec.categories.intersects(*one))
        || spec.flags.has(Flags::READONLY)
        || spec.flags.has(Flags::WRITE)
        || spec.flags.has(Flags::MODULE)
        || (names_keys && !matches!(spec.effect, Effect::Tracking | Effect::Caching))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::config::{Rules, ScriptMode, ScriptRules};
    use crate::policy::{Policy, Scratch, compile};
    use crate::resp::RequestBuf;

    #[test]
    fn databases_that_a_command_reaches() {
        let mode = Some(ScriptMode::DeclaredKeys);
        let rules = |acl: &str| {
            let scripts = ScriptRules { mode, ..ScriptRules::default() };
            compile(&Rules { acl: Some(acl.to_owned()), scripts, ..Rules::default() }).unwrap()
        };
        let some = rules("+@all ~* &* db=0,2 (+get ~* alldbs)");
        let none = rules("+@all ~* &* db=1 resetdbs");
        let another = rules("+@all ~* &* db=0 db=1");
        let text = "NOPERM No permissions to access database";
        for (line, database, passes) in [
            ("SET k v", 0, [true, false, false]),
            ("SET k v", 1, [false, false, true]),
            ("GET k", 1, [true, false, true]),
            ("SELECT 2", 1, [true, false, false]),
            ("SELECT 1", 0, [false, false, true]),
            ("SELECT 02", 0, [false, false, false]),
            ("SWAPDB 0 2", 1, [true, false, false]),
            ("SWAPDB 0 1", 0, [false, false, false]),
            ("MOVE k 2", 0, [true, false, false]),
            ("MOVE k 2", 1, [false, false, false]),
            ("MOVE k 1", 0, [false, false, false]),
            ("COPY a b", 0, [true, false, false]),
            ("COPY a b REPLACE DB 2", 0, [true, false, false]),
            ("COPY a b DB 2 DB 1", 0, [false, false, false]),
            ("COPY a b DB 1", 1, [false, false, true]),
            ("EVAL s 0", 1, [false, false, true]),
            ("SCAN 0", 1, [false, false, true]),
            ("FLUSHALL", 0, [false, false, false]),
            ("PUBLISH c m", 1, [true, true, true]),
            ("PING", 1, [true, true, true]),
        ] {
            for (policy, passes) in [&some, &none, &another].into_iter().zip(passes) {
                let request = RequestBuf::from_args(line.split(' '));
                let request = request.as_request();
                let lookup = policy.lookup(&request);
                let decision = policy.decide(lookup, &request, database, &mut Scratch::default());
                assert_eq!(decision.is_ok(), passes, "{line} in {database}");
                if let Err(refusal) = decision {
                    let mut words = bytes::BytesMut::new();
                    refusal.write_text(&request, &mut words);
                    let is_get = line.starts_with("GET");
                    assert!(
                        is_get
                            || words == text.as_bytes()
                            || policy.roles.role.selectors.len() == 1
                    );
                }
            }
        }
    }

    #[test]
    fn channels_that_report_other_databases() {
        let rules =
            |acl: &str| compile(&Rules { acl: Some(acl.to_owned()), ..Rules::default() }).unwrap();
        let some = rules("+@all ~* &* db=0,12");
        let named = rules("+@all ~* &news &__key* &__keyspace@*__:* db=0,12");
        for (line, passes) in [
            ("SUBSCRIBE news", true),
            ("PSUBSCRIBE news*", true),
            ("SUBSCRIBE __keyevent@0__:set", true),
            ("SUBSCRIBE __keyspace@12__:k", true),
            ("PSUBSCRIBE __keyspace@12__:*", true),
            ("SUBSCRIBE __keyevent@1__:set", false),
            ("SUBSCRIBE __keyevent@01__:set", false),
            ("PSUBSCRIBE __keyevent@1__:*", false),
            ("PSUBSCRIBE __keyevent@1*", false),
            ("PSUBSCRIBE __keyspace@*__:*", false),
            ("PSUBSCRIBE __key*__:*", false),
            ("PSUBSCRIBE __keyspace@[0]__:k", false),
            ("PSUBSCRIBE *", false),
            ("PSUBSCRIBE [_]*", false),
            ("SUBSCRIBE __redis__:invalidate", false),
            ("PUBLISH __keyevent@1__:set k", false),
            ("PUBLISH __keyevent@0__:set k", true),
            ("PUNSUBSCRIBE *", true),
            ("CLIENT TRACKING ON", false),
            ("CLIENT TRACKING ON BCAST PREFIX a", false),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            let request = request.as_request();
            let admits = |policy: &Policy| {
                let lookup = policy.lookup(&request);
                policy.decide(lookup, &request, 0, &mut Scratch::default()).is_ok()
            };
            assert_eq!(admits(&some), passes, "{line}");
            assert!(passes || !admits(&named), "{line}");
        }
    }

    #[test]
    fn lists() {
        for (text, expected) in [
            ("0", Some("db=0")),
            ("2,1,02", Some("db=1,2")),
            ("2147483647", Some("db=2147483647")),
            ("", None),
            ("1,", None),
            ("1,,2", None),
            ("+1", None),
            ("-1", None),
            ("2147483648", None),
        ] {
            let word = Databases::parse(text).and_then(|known| Databases::Only(known).word());
            assert_eq!(word.as_deref(), expected, "{text}");
        }
    }
}
