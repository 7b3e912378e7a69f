//! Where the keys and channels of a request are.
//!
//! Owns: [`KeySpec`] and its reading. Never knows: which keys are allowed.
//!
//! Every position that the server may touch is found; arguments that fit no specification are an
//! error, for the server's own ACL lets some of them through (`PFMERGE` with one argument).

use super::key_position::{Access, KeyError, KeyKind, KeyPosition, present, push};
use super::options::{
    bitfield, debug, geo_store, migrate, set, sort, streams, streams_begin, tracking,
};
use super::{Flags, Spec};
use crate::resp::{Request, number};

/// Where a command's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// One argument.
    At { arg: usize, kind: KeyKind, access: Access },
    /// Every `step`-th argument from `first` on, but the last `spare` arguments; at least `least`.
    Span { first: usize, step: usize, spare: usize, least: usize, kind: KeyKind, access: Access },
    /// The argument `count` is how many follow it, each with `step - 1` values; at least `least`.
    Counted { count: usize, step: usize, least: usize, access: Access },
    /// `SET`: read too when `GET` is among the options.
    Set,
    /// `BITFIELD`: only read when `GET` is its only operation.
    Bitfield,
    /// `SORT`, `SORT_RO`: the patterns of `BY` and `GET`, and `STORE` if it is allowed.
    Sort { store: bool },
    /// `GEORADIUS`, `GEORADIUSBYMEMBER`: `STORE` and `STOREDIST` among the options from `options` on.
    GeoStore { options: usize },
    /// `XREAD`, `XREADGROUP`: the first half of what follows `STREAMS`.
    Streams,
    /// `MIGRATE`: its third argument, or those after `KEYS`.
    Migrate,
    /// `DEBUG`: the subcommands that look at keys (debug.c).
    Debug,
    /// `CLIENT TRACKING`: what follows each `PREFIX`.
    Tracking,
    /// The positions are unknown: no request is proven to stay inside any pattern.
    Unknown,
}

/// Finds every key and channel of a request for the command `spec`, into `out` (cleared first), in
/// the order of the specifications.
///
/// # Errors
///
/// When they are unknown; `out` is then without meaning, but with [`KeyError::Refused`] what the
/// server's ACL looks at.
pub fn find_keys(
    spec: &Spec,
    request: &Request<'_>,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    out.clear();
    for key_spec in spec.keys {
        let mut found = key_spec.find(request, out);
        if found == Err(KeyError::Syntax) && key_spec.is_counted_before_use(spec, request) {
            found = Err(KeyError::Refused);
        }
        found?;
    }
    Ok(())
}

impl KeySpec {
    fn find(&self, request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
        match *self {
            Self::At { arg, kind, access } => push(request, arg, kind, access, out),
            Self::Span { first, step, spare, least, kind, access } => {
                span(request, (first, step, spare, least), kind, access, out)
            }
            Self::Counted { count, step, least, access } => {
                counted(request, (count, step, least), access, out)
            }
            Self::Set => set(request, out),
            Self::Bitfield => bitfield(request, out),
            Self::Sort { store } => sort(request, store, out),
            Self::GeoStore { options } => geo_store(request, options, out),
            Self::Streams => streams(request, out),
            Self::Migrate => migrate(request, out),
            Self::Debug => debug(request, out),
            Self::Tracking => tracking(request, out),
            Self::Unknown => Err(KeyError::Syntax),
        }
    }
}

impl KeySpec {
    /// Whether the server's own commands look at the number of keys before they look at a key, so that
    /// a wrong one is all that they answer. A command that a configuration declares may do otherwise.
    fn is_counted_before_use(&self, spec: &Spec, request: &Request<'_>) -> bool {
        if spec.flags.has(Flags::MODULE) {
            return false;
        }
        // STREAMS is there, and what follows it is not as many keys as ids.
        let unbalanced = || *self == Self::Streams && streams_begin(request, |_| ()).is_ok();
        matches!(self, Self::Counted { .. }) || unbalanced()
    }

    /// Whether the command may write a key of these.
    #[must_use]
    pub fn may_write(&self) -> bool {
        match *self {
            Self::At { kind, access, .. } | Self::Span { kind, access, .. } => {
                kind == KeyKind::Key && access.write
            }
            Self::Counted { access, .. } => access.write,
            Self::Set | Self::Bitfield | Self::GeoStore { .. } | Self::Migrate | Self::Unknown => {
                true
            }
            Self::Sort { store } => store,
            Self::Streams | Self::Debug | Self::Tracking => false,
        }
    }

    /// What the names are, where a specification locates them.
    #[must_use]
    pub const fn kind(&self) -> Option<KeyKind> {
        match *self {
            Self::At { kind, .. } | Self::Span { kind, .. } => Some(kind),
            Self::Counted { .. }
            | Self::Set
            | Self::Bitfield
            | Self::Sort { .. }
            | Self::GeoStore { .. }
            | Self::Streams
            | Self::Migrate
            | Self::Debug
            | Self::Tracking
            | Self::Unknown => None,
        }
    }

    /// Whether argument `arg`, of which perhaps no byte is here, names a key; `None` when that takes
    /// a reading of the arguments before and behind it.
    #[must_use]
    pub fn names(&self, request: &Request<'_>, arg: usize) -> Option<bool> {
        match *self {
            Self::At { arg: at, kind, .. } => Some(kind == KeyKind::Key && arg == at),
            Self::Span { first, step, spare, kind, .. } => {
                let within = (first..request.len().saturating_sub(spare)).contains(&arg);
                Some(kind == KeyKind::Key && within && (arg - first).is_multiple_of(step))
            }
            Self::Counted { count, step, .. } => {
                let Some(place) = arg.checked_sub(count + 1) else { return Some(false) };
                let number = number::parse_length(request.arg(count)?)?;
                let within = u64::try_from(place / step).is_ok_and(|pair| pair < number);
                Some(within && place.is_multiple_of(step))
            }
            Self::Set | Self::Bitfield => Some(arg == 1),
            Self::Tracking => Some(false),
            Self::Sort { .. }
            | Self::GeoStore { .. }
            | Self::Streams
            | Self::Migrate
            | Self::Debug
            | Self::Unknown => None,
        }
    }
}

fn span(
    request: &Request<'_>,
    (first, step, spare, least): (usize, usize, usize, usize),
    kind: KeyKind,
    access: Access,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    let end = request.len().saturating_sub(spare);
    if end < first + least {
        return Err(KeyError::Syntax);
    }
    (first..end).step_by(step).try_for_each(|arg| push(request, arg, kind, access, out))
}

fn counted(
    request: &Request<'_>,
    (count, step, least): (usize, usize, usize),
    access: Access,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    let first = count + 1;
    let room = request.len().saturating_sub(first) / step;
    let mut push_all = |number: usize| {
        let mut args = (first..).step_by(step).take(number);
        args.try_for_each(|arg| push(request, arg, KeyKind::Key, access, out))
    };
    let text = present(request, count)?;
    match number::parse_i64(text) {
        Some(number) => match usize::try_from(number) {
            Ok(number) if (least..=room).contains(&number) => push_all(number),
            Ok(_) | Err(_) => {
                out.clear();
                Err(KeyError::Syntax)
            }
        },
        // Only the server's canonical numbers: it refuses `01` and `+1` as we do, but only after its
        // ACL has looked at so many keys (db.c, `genericGetKeys`).
        None => {
            match usize::try_from(leading_number(text)) {
                Ok(number) if (1..=room).contains(&number) => push_all(number)?,
                Ok(_) | Err(_) => out.clear(),
            }
            Err(KeyError::Syntax)
        }
    }
}

/// C's `atoi`.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_i64, |number, digit| {
        number.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    if text.starts_with(b"-") { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::testing::with_head;
    use crate::command::{Lookup, lookup};
    use crate::resp::RequestBuf;

    /// One position as text: its kind, what it names, and how it is used.
    fn show(request: &Request<'_>, at: &KeyPosition) -> String {
        let kind = match at.kind {
            KeyKind::Key => "",
            KeyKind::KeyPattern => "~",
            KeyKind::KeyPrefix => "^",
            KeyKind::Channel => "#",
            KeyKind::ChannelPattern => "#~",
            KeyKind::ShardChannel => "##",
        };
        let arg = request.arg(at.arg as usize).unwrap_or_default();
        let name = &arg[at.start as usize..][..at.len as usize];
        let access = match (at.access.read, at.access.write) {
            (false, false) => "",
            (true, false) => ":r",
            (false, true) => ":w",
            (true, true) => ":rw",
        };
        format!("{}{kind}{}{access}", at.arg, name.escape_ascii())
    }

    fn found(request: &Request<'_>) -> String {
        let Lookup::Command(spec) = lookup(request) else { return "unknown".into() };
        let mut out = vec![];
        match find_keys(spec, request, &mut out) {
            Ok(()) => out.iter().map(|at| show(request, at)).collect::<Vec<_>>().join(" "),
            Err(KeyError::Syntax) => "syntax".into(),
            Err(KeyError::Refused) => "refused".into(),
            Err(KeyError::NotYetKnown) => "not yet known".into(),
        }
    }

    /// `''` means an empty argument.
    fn check(line: &str, expected: &str) {
        let args = line.split(' ').map(|arg| if arg == "''" { "" } else { arg });
        assert_eq!(found(&RequestBuf::from_args(args).as_request()), expected, "{line:?}");
    }

    #[test]
    fn plain_positions() {
        check("GET a", "1a:r");
        check("EXISTS a b", "1a 2b");
        check("DEL a b", "1a:w 2b:w");
        check("MGET a b a", "1a:r 2b:r 3a:r");
        check("MSET a 1 b 2", "1a:w 3b:w");
        check("MSET a 1 b", "1a:w 3b:w");
        check("BLPOP a b 0", "1a:rw 2b:rw");
        check("BITOP AND d a b", "2d:w 3a:r 4b:r");
        check("RENAME a b", "1a:rw 2b:w");
        check("LCS a b LEN", "1a:r 2b:r");
        check("COPY a b DB 1", "1a:r 2b:w");
        check("SDIFFSTORE d a b", "1d:w 2a:r 3b:r");
        check("OBJECT ENCODING a", "2a");
        check("memory Usage a", "2a");
        check("XINFO STREAM a", "2a:r");
        check("XGROUP CREATE a g $", "2a:w");
        check("PFMERGE d", "1d:rw");
        check("PFMERGE d a", "1d:rw 2a:r");
        check("PING", "");
        check("OBJECT HELP", "");
        check("KEYS *", "");
        check("COMMAND GETKEYS GET a", "");
        check("GET", "syntax");
        check("BLPOP 0", "syntax");
    }

    #[test]
    fn place_that_is_not_here_yet() {
        let names = |line: &str, len: usize| {
            with_head(line, len, |request| {
                let Lookup::Command(spec) = lookup(request) else { panic!("{line}") };
                let found = spec.keys.iter().map(|keys| keys.names(request, request.available()));
                found.collect::<Vec<_>>()
            })
        };
        assert_eq!(names("SET k", 3), [Some(false)]);
        assert_eq!(names("SET", 3), [Some(true)]);
        assert_eq!(names("MSET k", 5), [Some(false)]);
        assert_eq!(names("MSET k v", 5), [Some(true)]);
        assert_eq!(names("BLPOP a b", 4), [Some(false)]);
        assert_eq!(names("EVAL", 4), [Some(false)]);
        assert_eq!(names("EVAL s 1", 5), [Some(true)]);
        assert_eq!(names("EVAL s 1 k", 5), [Some(false)]);
        assert_eq!(names("EVAL s x", 5), [None]);
        assert_eq!(names("MSETEX 2 a", 6), [Some(false)]);
        assert_eq!(names("MSETEX 2 a 1", 6), [Some(true)]);
        assert_eq!(names("SORT k BY", 4), [None]);
        assert_eq!(names("RENAME a", 3), [Some(false), Some(true)]);
        assert_eq!(names("PUBLISH", 3), [Some(false)]);
    }

    #[test]
    fn keys_are_found_by_their_count() {
        check("EVAL s 2 a b c", "3a:rw 4b:rw");
        check("EVAL_RO s 1 a", "3a:r");
        check("FCALL f 0 a", "");
        check("SINTERCARD 2 a b", "2a:r 3b:r");
        check("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "1d:w 3a:r 4b:r");
        check("BLMPOP 0 1 a LEFT", "3a:rw");
        check("MSETEX 2 a 1 b 2 EX 5", "2a:w 4b:w");
        for number in ["01", "+1", "-1", "0", "0x1", "1.0", "3", "''", "99999999999999999999"] {
            check(&format!("ZUNION {number} a b"), "refused");
        }
        check("EVAL s -1 a", "refused");
        check("EVAL s 01 a", "refused");
        check("EVAL s 2 a", "refused");
        check("MSETEX 2 a 1 b", "refused");
        check("EVAL s 9223372036854775807 a", "refused");
    }

    #[test]
    fn access_that_options_decide() {
        check("SET a 1", "1a:w");
        check("SET a 1 EX 5 get", "1a:rw");
        check("SET GET GET", "1GET:w");
        check("SET a 1 GET\0x", "1a:rw");
        check("BITFIELD a GET u8 0", "1a:r");
        check("BITFIELD a OVERFLOW SAT GET u8 0", "1a:r");
        check("BITFIELD a GET u8 0 SET u8 0 1", "1a:rw");
        check("BITFIELD a SET u8 0 GET", "1a:rw");
    }

    #[test]
    fn sort() {
        check("SORT l", "1l:r");
        check("SORT l BY STORE STORE k", "1l:r 5k:w");
        check("SORT l STORE a STORE b", "1l:r 3a:w 5b:w");
        check("SORT l STORE STORE", "1l:r 3STORE:w");
        check("SORT l LIMIT 0 STORE STORE k", "1l:r 6k:w");
        check("SORT l BY w_* GET # GET o_*->f GET p*", "1l:r 3~w_*:r 7~o_*:r 9~p*:r");
        check("SORT l BY nosort GET plain", "1l:r");
        check("SORT l BY * GET *->", "1l:r 3~*:r 5~*->:r");
        check("SORT l GET a->b*", "1l:r 3~a->b*:r");
        check("SORT l GET a\0*->f", "1l:r");
        check("SORT l GET a*\0->f", "1l:r 3~a*\\x00->f:r");
        check("SORT l STORE\0x k", "1l:r 3k:w");
        check("SORT l STORE", "syntax");
        check("SORT l LIMIT 0", "syntax");
        check("SORT l nonsense", "syntax");
        check("SORT_RO l GET p*", "1l:r 3~p*:r");
        check("SORT_RO l STORE k", "syntax");
    }

    #[test]
    fn geo() {
        check("GEORADIUS g 1 2 3 km", "1g:r");
        check("GEORADIUS g 1 2 3 km STORE a STORE b", "1g:r 7a:w 9b:w");
        check("GEORADIUS g 1 2 3 km STORE a STOREDIST b", "1g:r 7a:w 9b:w");
        check("GEORADIUSBYMEMBER g STORE 200 km STORE k", "1g:r 6k:w");
        check("GEORADIUSBYMEMBER g m 200 km COUNT 1 ANY ASC WITHDIST", "1g:r");
        check("GEORADIUS g 1 2 3 km STORE", "syntax");
        check("GEORADIUS g 1 2 3 STORE k", "syntax");
        check("GEORADIUS_RO g 1 2 3 km STORE k", "1g:r");
        check("GEOSEARCHSTORE d g FROMMEMBER m BYRADIUS 1 m", "1d:w 2g:r");
    }

    #[test]
    fn streams() {
        check("XREAD STREAMS a b 0 0", "2a:r 3b:r");
        check("XREAD COUNT 1 BLOCK 0 STREAMS STREAMS 0", "6STREAMS:r");
        check("XREADGROUP GROUP STREAMS STREAMS STREAMS k >", "5k:r");
        check("XREADGROUP GROUP g c NOACK CLAIM 1 STREAMS k >", "8k:r");
        check("XREAD STREAMS a b 0", "refused");
        check("XREAD STREAMS", "refused");
        check("XREAD COUNT 1 a 0", "syntax");
        check("XREAD BLOCK", "syntax");
        check("XREADGROUP GROUP g", "syntax");
        check("XREAD MAXCOUNT 1 MAXSIZE STREAMS STREAMS k 0", "6k:r");
    }

    #[test]
    fn migrate() {
        check("MIGRATE h 1 k 0 9", "3k:rw");
        check("MIGRATE h 1 '' 0 9", "3:rw");
        check("MIGRATE h 1 '' 0 9 COPY KEYS a b", "8a:rw 9b:rw");
        check("MIGRATE h 1 '' 0 9 AUTH KEYS KEYS a", "9a:rw");
        check("MIGRATE h 1 '' 0 9 AUTH2 KEYS KEYS KEYS KEYS", "10KEYS:rw");
        check("MIGRATE h 1 k 0 9 AUTH KEYS", "3k:rw");
        check("MIGRATE h 1 k 0 9 KEYS a", "syntax");
        check("MIGRATE h 1 '' 0 9 KEYS", "syntax");
        check("MIGRATE h 1 k 0 9 AUTH", "syntax");
        check("MIGRATE h 1 k 0 9 AUTH2 u", "syntax");
    }

    #[test]
    fn debug_and_tracking() {
        check("DEBUG OBJECT k", "2k:r");
        check("DEBUG digest-value a b", "2a:r 3b:r");
        check("DEBUG SLEEP 0", "");
        check("PFDEBUG GETREG k", "2k:r");
        check("CLIENT TRACKING ON", "");
        check("CLIENT TRACKING ON BCAST PREFIX a PREFIX PREFIX NOLOOP", "5^a:r 7^PREFIX:r");
        check("CLIENT TRACKING ON BCAST", "4^:r");
        check("CLIENT TRACKING ON REDIRECT PREFIX BCAST", "6^:r");
        check("CLIENT TRACKING ON PREFIX", "syntax");
    }

    #[test]
    fn channels() {
        check("SUBSCRIBE a b", "1#a:r 2#b:r");
        check("PSUBSCRIBE a*", "1#~a*:r");
        check("SSUBSCRIBE a", "1##a:r");
        check("UNSUBSCRIBE", "");
        check("PUNSUBSCRIBE a*", "1#~a*");
        check("PUBLISH a m", "1#a:w");
        check("SPUBLISH a m", "1##a:w");
        check("PUBSUB CHANNELS", "");
        check("PUBSUB CHANNELS a*", "2#~a*");
        check("PUBSUB NUMSUB a b", "2#a 3#b");
    }

    #[test]
    fn head_has_its_keys_when_nothing_missing_decides() {
        let head = |line, len| with_head(line, len, found);
        assert_eq!(head("SET k", 3), "1k:w");
        assert_eq!(head("SET k", 4), "not yet known");
        assert_eq!(head("LPUSH k a", 4), "1k:w");
        assert_eq!(head("MSET a", 3), "1a:w");
        assert_eq!(head("MSET a", 5), "not yet known");
        assert_eq!(head("EVAL", 3), "not yet known");
        assert_eq!(head("EVAL s 1 k", 5), "3k:rw");
        assert_eq!(head("SORT l", 4), "not yet known");
    }
}
