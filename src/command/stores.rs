//! The arguments that a command stores as values.
//!
//! Owns: [`Stores`] and its reading. Never knows: what values may look like.
//!
//! Values are strings, elements of lists, sets, sorted sets and arrays, and what fields of hashes and
//! streams hold. Names within a key (fields, groups, consumers) are none.

use super::key_position::is_word;
use crate::resp::{Request, number};

/// Where the values are that a command stores as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stores {
    /// Nothing of the client's, or numbers alone.
    Nothing,
    /// This argument.
    At(usize),
    /// Every `step`-th argument from `first` on.
    Each { first: usize, step: usize },
    /// `MSETEX`: behind each of so many keys as argument 1 is.
    CountedPairs,
    /// `HSETEX`: each second argument behind `FIELDS` and a number.
    Fields,
    /// `ZADD`, `GEOADD`: the last of every `step` arguments behind the options.
    Members { step: usize },
    /// `XADD`: each second argument behind the id.
    Entry,
    /// `VADD`: behind `SETATTR`.
    Attribute,
    /// `APPEND`: argument 2 goes behind what is there.
    Appended,
    /// `SETRANGE`: argument 3 goes into what is there, from the byte of argument 2 on.
    Overwritten,
    /// `SETBIT`: one bit, the number of which is argument 2.
    Bit,
    /// `BITFIELD`: bits at the offsets of its operations.
    Bits,
    /// `BITOP`: bits of other keys.
    Combined,
    /// `RESTORE`: any value, in a form that only the server reads.
    Serialized,
    /// Not known: a command of a module.
    Unknown,
}

impl Stores {
    /// The arguments that are values as a whole or of which a value is made, in order, those included
    /// that are not here yet.
    pub fn places(self, request: &Request<'_>) -> impl Iterator<Item = usize> {
        let len = request.len();
        let (first, step, count) = match self {
            Self::Nothing
            | Self::Bit
            | Self::Bits
            | Self::Combined
            | Self::Serialized
            | Self::Unknown => (len, 1, 0),
            Self::At(arg) => (arg, 1, 1),
            Self::Appended => (2, 1, 1),
            Self::Overwritten => (3, 1, 1),
            Self::Each { first, step } => (first, step, len),
            Self::CountedPairs => {
                let pairs = request.arg(1).and_then(number::parse_length);
                let pairs = pairs.and_then(|pairs| usize::try_from(pairs).ok()).unwrap_or(0);
                (3, 2, pairs)
            }
            Self::Fields => (fields_begin(request).map_or(len, |first| first + 1), 2, len),
            Self::Members { step } => (members_begin(request) + step - 1, step, len),
            Self::Entry => (entry_begin(request) + 1, 2, len),
            Self::Attribute => (behind(request, b"setattr").unwrap_or(len), 1, 1),
        };
        (first..len).step_by(step).take(count)
    }

    /// How many bytes the value at its key has afterwards at least, where the request needs bytes
    /// that it does not bring; 0: no more than it brings.
    #[must_use]
    pub fn reaches(self, request: &Request<'_>) -> u64 {
        let number = |arg: usize| request.arg(arg).and_then(number::parse_length).unwrap_or(0);
        match self {
            Self::Overwritten => {
                let value = request.arg(3).map(<[u8]>::len).map(|bytes| bytes as u64);
                let value = value.or_else(|| request.announced()).unwrap_or(0);
                if value == 0 { 0 } else { number(2).saturating_add(value) }
            }
            Self::Bit => number(2) / 8 + 1,
            Self::Bits => bits_reach(request),
            Self::Nothing
            | Self::At(_)
            | Self::Each { .. }
            | Self::CountedPairs
            | Self::Fields
            | Self::Members { .. }
            | Self::Entry
            | Self::Attribute
            | Self::Appended
            | Self::Combined
            | Self::Serialized
            | Self::Unknown => 0,
        }
    }
}

/// The last byte that an operation of `BITFIELD` writes, counted from 1 (bitops.c,
/// `bitfieldGeneric`).
fn bits_reach(request: &Request<'_>) -> u64 {
    let mut reach = 0;
    let mut arg = 2;
    while arg < request.len() {
        let Some(word) = request.arg(arg) else { break };
        let writes = is_word(word, b"set") || is_word(word, b"incrby");
        if is_word(word, b"overflow") {
            arg += 2;
            continue;
        }
        let width =
            request.arg(arg + 1).and_then(|kind| kind.get(1..)).and_then(number::parse_length);
        let width = width.unwrap_or(0);
        let offset = request.arg(arg + 2).unwrap_or_default();
        let first = match offset.strip_prefix(b"#") {
            Some(index) => number::parse_length(index).unwrap_or(0).saturating_mul(width),
            None => number::parse_length(offset).unwrap_or(0),
        };
        if writes {
            reach = reach.max(first.saturating_add(width).div_ceil(8));
        }
        arg += if writes { 4 } else { 3 };
    }
    reach
}

/// Behind `FIELDS` and its number.
fn fields_begin(request: &Request<'_>) -> Option<usize> {
    let mut arg = 2;
    loop {
        let option = request.arg(arg)?;
        if is_word(option, b"fields") {
            return Some(arg + 2);
        }
        let has_value =
            [&b"ex"[..], b"px", b"exat", b"pxat"].iter().any(|word| is_word(option, word));
        arg += if has_value { 2 } else { 1 };
    }
}

/// Behind the options of `ZADD` or `GEOADD`.
fn members_begin(request: &Request<'_>) -> usize {
    let is_option = |arg: &usize| {
        request.arg(*arg).is_some_and(|option| {
            [&b"nx"[..], b"xx", b"gt", b"lt", b"ch", b"incr"].iter().any(|w| is_word(option, w))
        })
    };
    (2..request.len()).find(|arg| !is_option(arg)).unwrap_or(request.len())
}

/// Behind the id of `XADD` (t_stream.c, `streamParseAddOrTrimArgsOrReply`).
fn entry_begin(request: &Request<'_>) -> usize {
    let is_one = |arg: usize, words: &[&[u8]]| {
        request.arg(arg).is_some_and(|option| words.iter().any(|word| is_word(option, word)))
    };
    let mut arg = 2;
    while arg < request.len() {
        if is_one(arg, &[b"nomkstream", b"keepref", b"delref", b"acked"]) {
            arg += 1;
        } else if is_one(arg, &[b"maxlen", b"minid"]) {
            arg += if is_one(arg + 1, &[b"=", b"~"]) { 3 } else { 2 };
        } else if is_one(arg, &[b"limit", b"idmpauto"]) {
            arg += 2;
        } else if is_one(arg, &[b"idmp"]) {
            arg += 3;
        } else {
            break;
        }
    }
    arg + 1
}

/// The argument behind the first that is this word.
fn behind(request: &Request<'_>, word: &[u8]) -> Option<usize> {
    (0..request.len())
        .find(|arg| request.arg(*arg).is_some_and(|a| is_word(a, word)))
        .map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::RequestBuf;

    fn stores(line: &str) -> Stores {
        let request = RequestBuf::from_args(line.split(' '));
        let Lookup::Command(spec) = lookup(&request.as_request()) else { panic!("{line}") };
        spec.stores
    }

    #[test]
    fn values_are_found_by_position() {
        for (line, values) in [
            ("SET k v EX 9", "v"),
            ("SETEX k 9 v", "v"),
            ("MSET k v k v", "v v"),
            ("MSETEX 2 k v k w EX 9", "v w"),
            ("MSETEX x k v", ""),
            ("APPEND k v", "v"),
            ("SETRANGE k 3 v", "v"),
            ("HSET k f v f w", "v w"),
            ("HSETNX k f v", "v"),
            ("HSETEX k FNX EX FIELDS FIELDS 2 f v f w", "v w"),
            ("LPUSH k v w", "v w"),
            ("LINSERT k BEFORE p v", "v"),
            ("LSET k 0 v", "v"),
            ("SADD k v w", "v w"),
            ("ZADD k NX CH 1 v 2 w", "v w"),
            ("ZINCRBY k 1 v", "v"),
            ("GEOADD k XX CH 1 2 v 3 4 w", "v w"),
            ("XADD k NOMKSTREAM MAXLEN ~ 9 LIMIT 5 * f v g w", "v w"),
            ("XADD k MINID 9 1-1 f v", "v"),
            ("ARSET k 5 v w", "v w"),
            ("ARMSET k 5 v 6 w", "v w"),
            ("VADD k VALUES 1 1 e SETATTR v", "v"),
            ("INCRBY k 5", ""),
            ("PFADD k x", ""),
            ("GET k", ""),
            ("PUBLISH c x", ""),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            let request = request.as_request();
            let found: Vec<_> = stores(line)
                .places(&request)
                .map(|arg| {
                    String::from_utf8_lossy(request.arg(arg).unwrap_or_default()).into_owned()
                })
                .collect();
            assert_eq!(found.join(" "), values, "{line}");
        }
    }

    #[test]
    fn bytes_that_the_server_adds_itself_are_counted() {
        for (line, bytes) in [
            ("SETRANGE k 100 ab", 102),
            ("SETRANGE k x ab", 2),
            ("SETBIT k 800 1", 101),
            ("BITFIELD k SET u8 80 1", 11),
            ("BITFIELD k OVERFLOW SAT INCRBY i16 #10 1 GET u8 9999", 22),
            ("BITFIELD k GET u8 8000", 0),
            ("SET k v", 0),
        ] {
            let request = RequestBuf::from_args(line.split(' '));
            assert_eq!(stores(line).reaches(&request.as_request()), bytes, "{line}");
        }
    }
}
