//! What a command does to the time to live of its keys, and where a request has it.
//!
//! Owns: [`TtlEffect`], [`time_options`], [`restore_time`]. Never knows: how long keys should live.

use super::key_position::{KeyError, is_word, narrow, present};
use super::{Flags, KeySpec};
use crate::resp::{Request, number};

/// What becomes of the time to live of the keys that a command writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlEffect {
    /// The command writes no key that it names, or only removes keys, or moves a key with its time to live.
    Untouched,
    /// The command changes existing keys and makes none.
    Kept,
    /// The command may make a key, which then lives for ever.
    NoTtl,
    /// The key takes over what another has, that of argument 1.
    Inherited,
    /// A script: anything.
    Unknowable,
    /// `PERSIST`.
    Ended,
    /// Argument 2 is the time to live.
    Argument { unit: Unit, absolute: bool },
    /// `RESTORE`: argument 2 and the options set the time to live.
    Restore,
    /// Options set the time to live, or nothing does.
    Options { first: OptionsStart, otherwise: WithoutOption },
}

/// Where the options begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionsStart {
    At(usize),
    /// Behind argument 1, a number, and as many keys with their values.
    BehindPairs,
}

/// What becomes of the keys when no option is about their time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutOption {
    /// They live for ever.
    Lost,
    /// A key that is there keeps what it has, a new one lives for ever.
    NoTtl,
    /// A key that is there keeps what it has, none is made.
    Kept,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Milliseconds,
}

/// A time in a request: argument `arg`, since 1970 if it is absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeAt {
    pub arg: u32,
    pub unit: Unit,
    pub absolute: bool,
}

/// The meaning of one option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeOption {
    At(TimeAt),
    Keep,
    Persist,
}

impl TtlEffect {
    /// A command that nothing else is known about may make every key that it writes.
    pub(super) fn undeclared(flags: Flags, keys: &[KeySpec]) -> Self {
        let writes = keys.iter().any(KeySpec::may_write);
        if writes && !flags.has(Flags::READONLY) { Self::NoTtl } else { Self::Untouched }
    }
}

/// The options of [`TtlEffect::Options`] that are about a time to live, in the order of the request.
///
/// Every word has the same number of values in each command that knows it (t_string.c,
/// `parseExtendedStringArgumentsOrReply`; `increxCommand`). Where the server would refuse two
/// together, both are returned. An unknown word ends the reading with [`KeyError::Syntax`].
pub(crate) fn time_options<'a>(
    request: &'a Request<'a>,
    first: OptionsStart,
) -> impl Iterator<Item = Result<TimeOption, KeyError>> {
    let mut arg = match first {
        OptionsStart::At(arg) => arg,
        OptionsStart::BehindPairs => {
            let pairs = request.arg(1).and_then(number::parse_length);
            let pairs = pairs.and_then(|pairs| usize::try_from(pairs).ok());
            pairs.map_or(usize::MAX, |pairs| pairs.saturating_mul(2).saturating_add(2))
        }
    };
    std::iter::from_fn(move || {
        while arg < request.len() {
            let word = match present(request, arg) {
                Ok(word) => word,
                Err(error) => {
                    arg = usize::MAX;
                    return Some(Err(error));
                }
            };
            let option = read_option(request, arg, word);
            arg = option.as_ref().map_or(usize::MAX, |(_, next)| *next);
            match option {
                Ok((None, _)) => {}
                Ok((Some(option), _)) => return Some(Ok(option)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    })
}

/// One option, if it sets a time, and the position of the next one.
fn read_option(
    request: &Request<'_>,
    arg: usize,
    word: &[u8],
) -> Result<(Option<TimeOption>, usize), KeyError> {
    use Unit::{Milliseconds, Seconds};
    let times: [(&[u8], Unit, bool); 4] = [
        (b"ex", Seconds, false),
        (b"px", Milliseconds, false),
        (b"exat", Seconds, true),
        (b"pxat", Milliseconds, true),
    ];
    let is = |known: &[u8]| is_word(word, known);
    if let Some((_, unit, absolute)) = times.into_iter().find(|(known, ..)| is(known)) {
        present(request, arg + 1)?;
        let at = TimeAt { arg: narrow(arg + 1), unit, absolute };
        return Ok((Some(TimeOption::At(at)), arg + 2));
    }
    let with_value: [&[u8]; 8] =
        [b"ifeq", b"ifne", b"ifdeq", b"ifdne", b"byint", b"byfloat", b"lbound", b"ubound"];
    let alone: [&[u8]; 5] = [b"nx", b"xx", b"get", b"enx", b"saturate"];
    if is(b"keepttl") {
        Ok((Some(TimeOption::Keep), arg + 1))
    } else if is(b"persist") {
        Ok((Some(TimeOption::Persist), arg + 1))
    } else if alone.into_iter().any(is) {
        Ok((None, arg + 1))
    } else if with_value.into_iter().any(is) {
        Ok((None, arg + 2))
    } else {
        Err(KeyError::Syntax)
    }
}

/// The time of [`TtlEffect::Restore`] (cluster.c, `restoreCommand`).
///
/// # Errors
///
/// When its options are not known, or not all there.
pub(crate) fn restore_time(request: &Request<'_>) -> Result<TimeAt, KeyError> {
    let mut absolute = false;
    let mut arg = 4;
    while arg < request.len() {
        let word = present(request, arg)?;
        if is_word(word, b"absttl") {
            absolute = true;
            arg += 1;
        } else if is_word(word, b"replace") {
            arg += 1;
        } else if is_word(word, b"idletime") || is_word(word, b"freq") {
            arg += 2;
        } else {
            return Err(KeyError::Syntax);
        }
    }
    Ok(TimeAt { arg: 2, unit: Unit::Milliseconds, absolute })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;
    use crate::command::testing::with_head;
    use crate::command::{all, by_name};
    use crate::resp::RequestBuf;

    /// A command that writes a key has an effect on its time to live, and no other one has.
    #[test]
    fn command_that_writes_keys_has_an_effect_on_their_time_to_live() {
        let mut covered = 0;
        for spec in all() {
            let writes = spec.keys.iter().any(KeySpec::may_write);
            let undeclared = TtlEffect::undeclared(spec.flags, spec.keys);
            if undeclared == TtlEffect::Untouched {
                assert_eq!(spec.lifetime, TtlEffect::Untouched, "{}", spec.name);
            } else if matches!(spec.lifetime, TtlEffect::Untouched | TtlEffect::Kept) {
                assert!(spec.flags.has(Flags::WRITE), "{}", spec.name);
            } else {
                covered += 1;
            }
            if spec.flags.has(Flags::WRITE) && !writes {
                let keyless =
                    ["flush", "function|", "swapdb", "trimslots", "pfdebug", "xreadgroup"];
                let known = keyless.iter().any(|name| spec.name.contains(name));
                assert!(known, "{} writes no key that it names", spec.name);
            }
        }
        assert!(covered > 70, "{covered}");
    }

    fn options(request: &Request<'_>, first: OptionsStart) -> String {
        let show = |option| match option {
            Ok(TimeOption::At(TimeAt { arg, unit, absolute })) => {
                let unit = if unit == Unit::Seconds { "s" } else { "ms" };
                format!("{arg}{unit}{}", if absolute { "@" } else { "" })
            }
            Ok(TimeOption::Keep) => "keep".to_owned(),
            Ok(TimeOption::Persist) => "persist".to_owned(),
            Err(KeyError::Syntax | KeyError::Refused) => "syntax".to_owned(),
            Err(KeyError::NotYetKnown) => "unknown".to_owned(),
        };
        time_options(request, first).map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_are_read_in_order() {
        let check = |line: &str, expected: &str| {
            let request = RequestBuf::from_args(line.split(' '));
            let TtlEffect::Options { first, .. } =
                by_name(line.split(' ').next().unwrap()).unwrap().lifetime
            else {
                unreachable!()
            };
            assert_eq!(options(&request.as_request(), first), expected, "{line}");
        };
        check("set k v", "");
        check("set EX EX", "");
        check("set k v EX 5", "4s");
        check("set k v nx Get px 5", "6ms");
        check("set k v EXAT 5 PXAT 6", "4s@ 6ms@");
        check("set k v KEEPTTL", "keep");
        check("set k v EX\0x 5", "4s");
        check("set k v IFEQ EX EX 5", "6s");
        check("set k v IFEQ KEEPTTL", "");
        check("set k v EX", "syntax");
        check("set k v FOO EX 5", "syntax");
        check("set k v EX 5 FOO", "4s syntax");
        check("getex k PERSIST", "persist");
        check("getex k EX 5", "3s");
        check("msetex 2 EX 1 PX 2 PXAT 9", "7ms@");
        check("msetex 1 k v NX KEEPTTL", "keep");
        check("msetex x k v EX 5", "");
        check("increx k BYINT 5 LBOUND 0 UBOUND 9 SATURATE EX 60 ENX", "10s");
    }

    #[test]
    fn options_behind_a_large_value_are_not_known() {
        let first = OptionsStart::At(3);
        assert_eq!(with_head("SET k", 3, |request| options(request, first)), "");
        assert_eq!(with_head("SET k", 5, |request| options(request, first)), "unknown");
        assert_eq!(with_head("SET k v EX", 5, |request| options(request, first)), "unknown");
        assert_eq!(with_head("SET k v EX 5 IFEQ", 7, |request| options(request, first)), "4s");
        assert_eq!(with_head("RESTORE k 5", 5, restore_time), Err(KeyError::NotYetKnown));
        assert!(with_head("RESTORE k 5", 4, restore_time).is_ok());
    }

    #[test]
    fn restore_has_its_time_to_live_in_an_argument() {
        for (line, expected) in [
            ("RESTORE k 5 x", Ok(false)),
            ("RESTORE k 5 x REPLACE absttl", Ok(true)),
            ("RESTORE k 5 x IDLETIME ABSTTL FREQ 1", Ok(false)),
            ("RESTORE k 5 x NEW", Err(KeyError::Syntax)),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            let found = restore_time(&request.as_request()).map(|at| at.absolute);
            assert_eq!(found, expected, "{line}");
        }
    }
}
