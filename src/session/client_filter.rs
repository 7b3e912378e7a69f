//! The options of CLIENT LIST and CLIENT KILL: which clients are meant.
//!
//! Owns: [`Filter`], its errors in the words of the servers. Never knows: what becomes of those found.

use std::time::Instant;

use super::access::Auth;
use super::client_info::ClientInfo;
use super::client_text;
use super::figures::{Figures, Marks};
use super::roster::ClientEntry;
use crate::resp::{Request, encode, number};
use crate::traffic::Server;

/// What CLIENT KILL and CLIENT LIST call the kinds of clients; respgate has all but one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Pubsub,
    Replica,
    Primary,
}

#[derive(Debug)]
enum Condition {
    /// In ascending order.
    Ids(Vec<i64>),
    Kind(Kind),
    Address(Vec<u8>),
    LocalAddress(Vec<u8>),
    User(Vec<u8>),
    Name(Vec<u8>),
    LibName(Vec<u8>),
    LibVer(Vec<u8>),
    Ip(Vec<u8>),
    Marks(Vec<u8>),
    Capa(Vec<u8>),
    Database(i64),
    Age(i64),
    Idle(i64),
}

/// A filter of clients: those that meet every condition.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Each with whether it must not be met.
    conditions: Vec<(Condition, bool)>,
    pub skip_me: bool,
}

/// The line of an error, without `-` and CRLF.
type Line = Vec<u8>;

fn line(text: &str) -> Line {
    text.as_bytes().to_vec()
}

/// Valkey 8.1 brought the options of KILL to LIST, 9.0 more of them and their opposites.
const FILTERS: u16 = 8;
const MORE_FILTERS: u16 = 9;

impl Filter {
    /// Redis networking.c `clientCommand`, LIST without, with TYPE or with ID: the clients of these
    /// numbers in this order, or all that a filter fits.
    ///
    /// # Errors
    ///
    /// With the server's words.
    pub(super) fn of_list(
        request: &Request<'_>,
        server: Server,
        auth: Option<&Auth>,
    ) -> Result<Result<Self, Vec<i64>>, Line> {
        let option = request.arg(2).unwrap_or_default();
        if server.valkey && (server.major, server.minor) >= (FILTERS, 1) {
            return match request.len() {
                2 => Ok(Ok(Self::default())),
                3 => Err(line(client_text::SYNTAX)),
                _ => Self::of_options(request, server, auth, false).map(Ok),
            };
        }
        match (request.len(), request.arg(3)) {
            (2, _) => Ok(Ok(Self::default())),
            (4, Some(kind)) if option.eq_ignore_ascii_case(b"type") => {
                let kind = Condition::Kind(kind_named(kind, server)?);
                Ok(Ok(Self { conditions: vec![(kind, false)], skip_me: false }))
            }
            (4.., Some(_)) if option.eq_ignore_ascii_case(b"id") => {
                let ids: Option<Vec<i64>> = request.args().skip(3).map(number::parse_i64).collect();
                ids.map(Err).ok_or_else(|| line(client_text::INVALID_CLIENT_ID))
            }
            _ => Err(line(client_text::SYNTAX)),
        }
    }

    /// CLIENT KILL, in its old form or the new one.
    ///
    /// # Errors
    ///
    /// With the server's words.
    pub(super) fn of_kill(
        request: &Request<'_>,
        server: Server,
        auth: Option<&Auth>,
    ) -> Result<Self, Line> {
        if request.len() == 3 {
            let address = request.arg(2).unwrap_or_default().to_vec();
            return Ok(Self {
                conditions: vec![(Condition::Address(address), false)],
                skip_me: false,
            });
        }
        Self::of_options(request, server, auth, true)
    }

    fn of_options(
        request: &Request<'_>,
        server: Server,
        auth: Option<&Auth>,
        skip_me: bool,
    ) -> Result<Self, Line> {
        let mut filter = Self { conditions: Vec::new(), skip_me };
        let mut at = 2;
        while let Some(option) = request.arg(at) {
            let word = option.to_ascii_lowercase();
            let (word, not) = match word.strip_prefix(b"not-") {
                Some(word) if server.valkey && server.major >= MORE_FILTERS => (word, true),
                _ => (&*word, false),
            };
            let many = word == b"id" && server.valkey && server.major >= FILTERS;
            if many {
                at = filter.take_ids(request, at + 1, not)?;
                continue;
            }
            let value = request.arg(at + 1).ok_or_else(|| line(client_text::SYNTAX))?;
            filter.take(word, not, value, server, auth)?;
            at += 2;
        }
        // They are looked up once for each client.
        for (condition, _) in &mut filter.conditions {
            if let Condition::Ids(ids) = condition {
                ids.sort_unstable();
                ids.dedup();
                debug_assert!(ids.first().is_none_or(|id| *id > 0), "no client has such a number");
            }
        }
        Ok(filter)
    }

    /// Numbers up to the first word that is none.
    fn take_ids(&mut self, request: &Request<'_>, first: usize, not: bool) -> Result<usize, Line> {
        let ids: Vec<i64> = request.args().skip(first).map_while(number::parse_i64).collect();
        if ids.iter().any(|id| *id < 1) {
            return Err(line(client_text::CLIENT_ID_POSITIVE));
        }
        let end = first + ids.len();
        match self.conditions.iter_mut().find(|(known, n)| is_ids(known) && *n == not) {
            Some((Condition::Ids(known), _)) => known.extend(ids),
            _ => self.conditions.push((Condition::Ids(ids), not)),
        }
        Ok(end)
    }

    fn take(
        &mut self,
        word: &[u8],
        not: bool,
        value: &[u8],
        server: Server,
        auth: Option<&Auth>,
    ) -> Result<(), Line> {
        let more = server.valkey && server.major >= MORE_FILTERS;
        let aged = server.has((7, 4), (8, 0));
        let condition = match word {
            b"skipme" if !not => {
                self.skip_me = match value {
                    yes if yes.eq_ignore_ascii_case(b"yes") => true,
                    no if no.eq_ignore_ascii_case(b"no") => false,
                    _ => return Err(line(client_text::SYNTAX)),
                };
                return Ok(());
            }
            b"id" => match number::parse_i64(value).filter(|id| *id >= 1) {
                Some(id) => Condition::Ids(vec![id]),
                None => return Err(line(client_text::CLIENT_ID_POSITIVE)),
            },
            b"type" => Condition::Kind(kind_named(value, server)?),
            b"addr" => Condition::Address(value.to_vec()),
            b"laddr" => Condition::LocalAddress(value.to_vec()),
            b"user" => match auth.is_none_or(|auth| auth.has_user(value)) {
                true => Condition::User(value.to_vec()),
                false => return Err(client_text::no_such_user(encode::echo(value)).into()),
            },
            b"maxage" if aged && !not => Condition::Age(positive("maxage", value)?),
            b"idle" if more && !not => Condition::Idle(positive("idle", value)?),
            b"name" if more => Condition::Name(value.to_vec()),
            b"lib-name" if more => Condition::LibName(value.to_vec()),
            b"lib-ver" if more => Condition::LibVer(value.to_vec()),
            b"ip" if more => Condition::Ip(value.to_vec()),
            b"flags" if more => {
                Condition::Marks(letters("flags", not, value, b"OSMPxbtRBdcuAUreTIN")?)
            }
            b"capa" if more => Condition::Capa(letters("capa", not, value, b"r")?),
            b"db" if more => Condition::Database(database(not, value)?),
            _ => return Err(line(client_text::SYNTAX)),
        };
        // Of an option that comes again the last one counts.
        let same =
            |known: &Condition| std::mem::discriminant(known) == std::mem::discriminant(&condition);
        self.conditions.retain(|(known, n)| *n != not || !same(known));
        self.conditions.push((condition, not));
        Ok(())
    }

    /// The numbers that a client must have one of, in ascending order.
    pub(super) fn ids(&self) -> Option<&[i64]> {
        self.conditions.iter().find_map(|condition| match condition {
            (Condition::Ids(ids), false) => Some(&**ids),
            _ => None,
        })
    }

    /// `figures` are computed where there is a condition.
    pub(super) fn fits(
        &self,
        entry: &ClientEntry,
        figures: impl FnOnce() -> Figures,
        now: Instant,
    ) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let figures = figures();
        self.conditions
            .iter()
            .all(|(condition, not)| condition.is_met(entry, &figures, now) != *not)
    }
}

impl Condition {
    fn is_met(&self, entry: &ClientEntry, figures: &Figures, now: Instant) -> bool {
        let client_info = entry.client_info();
        let equals = |what: fn(&ClientInfo) -> &Vec<u8>, wanted: &[u8]| {
            client_info.as_deref().map(what).is_some_and(|own| !own.is_empty() && own == wanted)
        };
        let seconds = |since: Instant| {
            i64::try_from(now.saturating_duration_since(since).as_secs()).unwrap_or(i64::MAX)
        };
        match self {
            Self::Ids(ids) => {
                i64::try_from(entry.id).is_ok_and(|id| ids.binary_search(&id).is_ok())
            }
            Self::Kind(kind) => *kind == kind_of(figures.marks),
            Self::Address(address) => entry.peer.address().as_bytes() == address,
            Self::LocalAddress(address) => entry.peer.local().as_bytes() == address,
            Self::User(user) => entry.user().as_str().as_bytes() == user,
            Self::Name(name) => equals(|client_info| &client_info.name, name),
            Self::LibName(name) => equals(|client_info| &client_info.lib_name, name),
            Self::LibVer(version) => equals(|client_info| &client_info.lib_ver, version),
            Self::Ip(ip) => has_ip(entry.peer.address(), ip),
            Self::Marks(wanted) => {
                let own: Vec<u8> = figures.marks.letters().collect();
                wanted.iter().all(|letter| own.contains(letter))
            }
            Self::Capa(wanted) => {
                let own = client_info.as_deref().map_or("", |client_info| client_info.capa);
                wanted.iter().all(|letter| own.as_bytes().contains(letter))
            }
            Self::Database(database) => i64::from(figures.database) == *database,
            Self::Age(least) => seconds(entry.since) >= *least,
            Self::Idle(least) => seconds(figures.active) >= *least,
        }
    }
}

const fn is_ids(condition: &Condition) -> bool {
    matches!(condition, Condition::Ids(_))
}

/// Redis networking.c `getClientTypeByName`.
fn kind_named(word: &[u8], server: Server) -> Result<Kind, Line> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"normal") {
        Ok(Kind::Normal)
    } else if is(b"pubsub") {
        Ok(Kind::Pubsub)
    } else if is(b"replica") || is(b"slave") {
        Ok(Kind::Replica)
    } else if is(b"master") || (server.valkey && is(b"primary")) {
        Ok(Kind::Primary)
    } else {
        Err(client_text::unknown_client_type(encode::echo(word)).into())
    }
}

/// Redis networking.c `getClientType`.
const fn kind_of(marks: Marks) -> Kind {
    if marks.has(Marks::REPLICA) {
        Kind::Replica
    } else if marks.has(Marks::PUBSUB) {
        Kind::Pubsub
    } else {
        Kind::Normal
    }
}

fn positive(word: &str, value: &[u8]) -> Result<i64, Line> {
    match number::parse_i64(value) {
        None => Err(client_text::filter_not_integer(word).into()),
        Some(number) if number <= 0 => Err(client_text::filter_not_positive(word).into()),
        Some(number) => Ok(number),
    }
}

fn letters(word: &str, not: bool, value: &[u8], known: &[u8]) -> Result<Vec<u8>, Line> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value.to_vec());
    }
    let own = if not { format!("NOT-{}", word.to_uppercase()) } else { "provided".to_owned() };
    Err(client_text::unknown_in_filter(word, own, encode::echo(value)).into())
}

/// How many databases there are is the server's to know.
fn database(not: bool, value: &[u8]) -> Result<i64, Line> {
    let word = if not { "NOT-DB" } else { "DB" };
    let number = number::parse_i64(value).filter(|number| i32::try_from(*number).is_ok());
    number.ok_or_else(|| client_text::filter_not_integer(word).into())
}

/// Valkey networking.c `clientMatchesIpFilter`.
fn has_ip(address: &str, ip: &[u8]) -> bool {
    let address = address.strip_prefix('[').unwrap_or(address).as_bytes();
    let Some(rest) = address.strip_prefix(ip) else { return false };
    let rest = rest.strip_prefix(b"]").unwrap_or(rest);
    matches!(rest, [b':', first, ..] if *first != b'0')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::resp::RequestBuf;

    const REDIS: Server = Server { valkey: false, major: 7, minor: 0 };
    const VALKEY: Server = Server { valkey: true, major: 9, minor: 1 };

    fn refused(words: &str, server: Server) -> String {
        let request = RequestBuf::from_args(words.split(' '));
        let request = request.as_request();
        let found = if words.starts_with("CLIENT LIST") {
            Filter::of_list(&request, server, None).err()
        } else {
            Filter::of_kill(&request, server, None).err()
        };
        found.map_or_else(String::new, |line| String::from_utf8_lossy(&line).into_owned())
    }

    #[test]
    fn options_are_those_of_the_server() {
        for (words, redis, valkey) in [
            ("CLIENT LIST", "", ""),
            ("CLIENT LIST FOO", "ERR syntax error", "ERR syntax error"),
            ("CLIENT LIST TYPE pubsub", "", ""),
            ("CLIENT LIST TYPE primary", "ERR Unknown client type 'primary'", ""),
            ("CLIENT LIST ID x", "ERR Invalid client ID", "ERR syntax error"),
            ("CLIENT LIST ID 0", "", "ERR client-id should be greater than 0"),
            ("CLIENT LIST ID 1 2 x", "ERR Invalid client ID", "ERR syntax error"),
            ("CLIENT LIST NOT-ID 3", "ERR syntax error", ""),
            ("CLIENT LIST ID 1 2 SKIPME yes", "ERR Invalid client ID", ""),
            ("CLIENT LIST NOT-SKIPME no", "ERR syntax error", "ERR syntax error"),
            (
                "CLIENT LIST NOT-FLAGS z",
                "ERR syntax error",
                "ERR Unknown flags found in the NOT-FLAGS filter: z",
            ),
            (
                "CLIENT LIST CAPA z",
                "ERR syntax error",
                "ERR Unknown capa found in the provided filter: z",
            ),
            (
                "CLIENT LIST NOT-DB x",
                "ERR syntax error",
                "ERR NOT-DB is not an integer or out of range",
            ),
            ("CLIENT LIST IDLE 0", "ERR syntax error", "ERR idle should be greater than 0"),
            ("CLIENT KILL 127.0.0.1:1", "", ""),
            (
                "CLIENT KILL ID 0",
                "ERR client-id should be greater than 0",
                "ERR client-id should be greater than 0",
            ),
            ("CLIENT KILL ID 1 2", "ERR syntax error", ""),
            ("CLIENT KILL ID 1 SKIPME maybe", "ERR syntax error", "ERR syntax error"),
            ("CLIENT KILL ID 1 SKIPME", "ERR syntax error", "ERR syntax error"),
            (
                "CLIENT KILL MAXAGE x",
                "ERR syntax error",
                "ERR maxage is not an integer or out of range",
            ),
            (
                "CLIENT KILL TYPE wrong",
                "ERR Unknown client type 'wrong'",
                "ERR Unknown client type 'wrong'",
            ),
        ] {
            assert_eq!(refused(words, REDIS), redis, "Redis: {words}");
            assert_eq!(refused(words, VALKEY), valkey, "Valkey: {words}");
        }
    }

    /// They are looked up by halves, once for each client.
    #[test]
    fn numbers_are_kept_in_order_and_once() {
        for (words, expected) in [
            ("CLIENT KILL ID 9 3 3 7 TYPE normal ID 1 3", Some(&[1, 3, 7, 9][..])),
            ("CLIENT KILL ID 2", Some(&[2])),
            ("CLIENT KILL NOT-ID 9 3", None),
            ("CLIENT KILL NOT-ID 9 ID 5 4", Some(&[4, 5])),
            ("CLIENT KILL TYPE normal", None),
        ] {
            let request = RequestBuf::from_args(words.split(' '));
            let filter = Filter::of_kill(&request.as_request(), VALKEY, None).unwrap();
            assert_eq!(filter.ids(), expected, "{words}");
        }
    }

    #[test]
    fn addresses_are_compared_as_valkey_does() {
        assert!(has_ip("127.0.0.1:99", b"127.0.0.1"));
        assert!(has_ip("[::1]:99", b"::1"));
        assert!(!has_ip("127.0.0.1:0", b"127.0.0.1"));
        assert!(!has_ip("127.0.0.11:99", b"127.0.0.1"));
    }
}
