//! What a command that reads answers when there is nothing: the reply of a server without data.
//!
//! Owns: [`Miss`], [`EmptyReply`]. Never knows: which command answers which (a column of the table), servers, when a
//! miss is answered.

use bytes::BytesMut;

use crate::resp::{Protocol, Request, encode};

/// How the reply of a server without data depends on the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// The command writes, or answers an error, or something that depends on more.
    No,
    Always(EmptyReply),
    /// One of them for each argument from `first` on, in steps.
    Each {
        of: Item,
        first: u8,
        step: u8,
    },
    /// With this option the second, else the first.
    With {
        option: &'static str,
        without: EmptyReply,
        with: EmptyReply,
    },
    /// A null for the key alone, and a list where more is asked.
    Bare,
    /// The position of a bit: `BITPOS`.
    BitPosition,
    /// The common part of two values: `LCS`.
    CommonPart,
}

/// An element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    Null,
    NullArray,
    Integer(i8),
}

/// The reply of a server that has none of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyReply {
    Null,
    /// In RESP2 a null of its own kind.
    NullArray,
    Array,
    Set,
    Map,
    /// An empty value.
    Value,
    Integer(i8),
    /// The type of a key that is not there.
    NoType,
    /// A number of empty items in an array.
    Items(Item, u32),
    /// The last page of a scan, without elements.
    Cursor,
}

impl Miss {
    /// The reply to this request, if there is one.
    #[must_use]
    pub fn reply(self, request: &Request<'_>) -> Option<EmptyReply> {
        let has = |word: &str| {
            (2..request.len()).any(|at| {
                request.arg(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
            })
        };
        Some(match self {
            Self::No => return None,
            Self::Always(reply) => reply,
            Self::Each { of, first, step } => {
                let arguments = request.len().saturating_sub(usize::from(first));
                let count = arguments / usize::from(step.max(1));
                EmptyReply::Items(of, u32::try_from(count).ok()?)
            }
            Self::With { option, without, with } => {
                if has(option) {
                    with
                } else {
                    without
                }
            }
            Self::Bare if request.len() == 2 => EmptyReply::Null,
            Self::Bare => EmptyReply::Array,
            Self::BitPosition => EmptyReply::Integer(if request.arg(2)? == b"0" { 0 } else { -1 }),
            Self::CommonPart if has("idx") => return None,
            Self::CommonPart if has("len") => EmptyReply::Integer(0),
            Self::CommonPart => EmptyReply::Value,
        })
    }
}

impl Item {
    fn write(self, out: &mut BytesMut, protocol: Protocol) {
        match self {
            Self::Null => encode::null(out, protocol),
            Self::NullArray => encode::null_array(out, protocol),
            Self::Integer(number) => encode::integer(out, i64::from(number)),
        }
    }
}

impl EmptyReply {
    pub fn write(self, out: &mut BytesMut, protocol: Protocol) {
        match self {
            Self::Null => encode::null(out, protocol),
            Self::NullArray => encode::null_array(out, protocol),
            Self::Array => encode::array(out, 0),
            Self::Set => encode::set(out, 0, protocol),
            Self::Map => encode::map(out, 0, protocol),
            Self::Value => encode::bulk(out, b""),
            Self::Integer(number) => encode::integer(out, i64::from(number)),
            Self::NoType => encode::simple(out, b"none"),
            Self::Items(item, count) => {
                encode::array(out, usize::try_from(count).unwrap_or(usize::MAX));
                (0..count).for_each(|_| item.write(out, protocol));
            }
            Self::Cursor => {
                encode::array(out, 2);
                encode::bulk(out, b"0");
                encode::array(out, 0);
            }
        }
    }
}
