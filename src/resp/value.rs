//! Decodes a small reply whose content is needed: `HELLO`, `SENTINEL`, acknowledgements.
//!
//! Owns: [`Value`]. Never knows: the hot path, requests.

use std::error::Error;
use std::fmt;

use redis_protocol::resp2::{decode as resp2, types::OwnedFrame as Frame2};
use redis_protocol::resp3::{decode::complete as resp3, types::OwnedFrame as Frame3};

use super::depth::depth;
use super::{Protocol, ReplyScanner, number};
use crate::base::limits;
use crate::base::limits::DECODED_REPLY_BYTES_MAX;

/// One decoded reply. Attributes are dropped; maps and sets come sorted by their text, since the
/// decoder does not keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Self>),
    Map(Vec<(Self, Self)>),
    Set(Vec<Self>),
    Double(f64),
    Boolean(bool),
    BigNumber(Vec<u8>),
    Verbatim(Vec<u8>),
    Push(Vec<Self>),
}

/// Why a reply was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// Over [`DECODED_REPLY_BYTES_MAX`].
    TooLarge,
    TooDeep,
    /// Not exactly one reply.
    Malformed,
    /// A reply of a form that is never decoded: a streamed one, text that is not UTF-8 in an
    /// error, an aggregate as the key of a map.
    Unsupported,
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "reply too large to be decoded",
            Self::TooDeep => "reply nested too deep to be decoded",
            Self::Malformed => "not exactly one reply",
            Self::Unsupported => "reply of an unsupported form",
        })
    }
}

impl Error for ValueError {}

impl Value {
    /// Decodes `bytes`, which must be exactly one reply.
    ///
    /// # Errors
    ///
    /// See [`ValueError`]. Size and depth are checked before anything is built.
    pub fn decode(bytes: &[u8], protocol: Protocol) -> Result<Self, ValueError> {
        if bytes.len() > DECODED_REPLY_BYTES_MAX {
            return Err(ValueError::TooLarge);
        }
        let mut scanner = ReplyScanner::default();
        let seen = scanner.advance(bytes).map_err(|_| ValueError::Malformed)?;
        if !seen.done || seen.used != bytes.len() {
            return Err(ValueError::Malformed);
        }
        if depth(bytes, limits::DECODED_REPLY_DEPTH_MAX).ok_or(ValueError::Unsupported)?
            > limits::DECODED_REPLY_DEPTH_MAX
        {
            return Err(ValueError::TooDeep);
        }
        let value = match protocol {
            Protocol::Resp2 => {
                resp2::decode(bytes).ok().flatten().map(|(frame, _)| from_resp2(frame))
            }
            Protocol::Resp3 => {
                resp3::decode(bytes).ok().flatten().and_then(|(frame, _)| from_resp3(frame))
            }
        };
        value.ok_or(ValueError::Unsupported)
    }

    /// The text of a string of any form, or of an error.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Simple(text)
            | Self::Error(text)
            | Self::Bulk(text)
            | Self::BigNumber(text)
            | Self::Verbatim(text) => Some(text),
            Self::Integer(_)
            | Self::Null
            | Self::Array(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::Push(_) => None,
        }
    }

    /// The number, also one that is sent as text.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Simple(text) | Self::Bulk(text) => number::parse_i64(text),
            Self::Error(_)
            | Self::Null
            | Self::Array(_)
            | Self::Map(_)
            | Self::Set(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::BigNumber(_)
            | Self::Verbatim(_)
            | Self::Push(_) => None,
        }
    }

    /// The elements of an array, a set or a push.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            Self::Simple(_)
            | Self::Error(_)
            | Self::Integer(_)
            | Self::Bulk(_)
            | Self::Null
            | Self::Map(_)
            | Self::Double(_)
            | Self::Boolean(_)
            | Self::BigNumber(_)
            | Self::Verbatim(_) => None,
        }
    }

    /// What is behind `key`, in a map or in the flat array that RESP2 has instead.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<&Self> {
        let key = Some(key.as_ref());
        if let Self::Map(pairs) = self {
            return pairs.iter().find(|(k, _)| k.as_bytes() == key).map(|(_, v)| v);
        }
        let Self::Array(flat) = self else { return None };
        flat.chunks_exact(2).find_map(|pair| match pair {
            [k, v] if k.as_bytes() == key => Some(v),
            _ => None,
        })
    }
}

fn from_resp2(frame: Frame2) -> Value {
    match frame {
        Frame2::SimpleString(text) => Value::Simple(text),
        Frame2::Error(text) => Value::Error(text.into_bytes()),
        Frame2::Integer(value) => Value::Integer(value),
        Frame2::BulkString(text) => Value::Bulk(text),
        Frame2::Array(elements) => Value::Array(elements.into_iter().map(from_resp2).collect()),
        Frame2::Null => Value::Null,
    }
}

/// `None` for what belongs to streams.
fn from_resp3(frame: Frame3) -> Option<Value> {
    Some(match frame {
        Frame3::BlobString { data, .. } => Value::Bulk(data),
        Frame3::BlobError { data, .. } => Value::Error(data),
        Frame3::SimpleString { data, .. } => Value::Simple(data),
        Frame3::SimpleError { data, .. } => Value::Error(data.into_bytes()),
        Frame3::Boolean { data, .. } => Value::Boolean(data),
        Frame3::Null => Value::Null,
        Frame3::Number { data, .. } => Value::Integer(data),
        Frame3::Double { data, .. } => Value::Double(data),
        Frame3::BigNumber { data, .. } => Value::BigNumber(data),
        Frame3::VerbatimString { data, .. } => Value::Verbatim(data),
        Frame3::Array { data, .. } => Value::Array(all(data)?),
        Frame3::Push { data, .. } => Value::Push(all(data)?),
        Frame3::Set { data, .. } => {
            let mut elements = all(data)?;
            elements.sort_by(|a, b| order(a).cmp(&order(b)));
            Value::Set(elements)
        }
        Frame3::Map { data, .. } => {
            let (keys, values): (Vec<_>, Vec<_>) = data.into_iter().unzip();
            let mut pairs: Vec<_> = all(keys)?.into_iter().zip(all(values)?).collect();
            pairs.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
            Value::Map(pairs)
        }
        Frame3::Hello { .. } | Frame3::ChunkedString(_) => return None,
    })
}

fn all(frames: impl IntoIterator<Item = Frame3>) -> Option<Vec<Value>> {
    frames.into_iter().map(from_resp3).collect()
}

fn order(value: &Value) -> (Option<&[u8]>, Option<i64>) {
    (value.as_bytes(), value.as_i64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn value_decodes_both_protocols() {
        let resp2 = b"*4\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n$2\r\n12\r\n";
        let hello = Value::decode(resp2, Protocol::Resp2).unwrap();
        assert_eq!(hello.get("proto"), Some(&Value::Integer(2)));
        assert_eq!(hello.get("id").and_then(Value::as_i64), Some(12));
        assert_eq!(hello.get("role"), None);
        let resp3 = b"%2\r\n$5\r\nproto\r\n:3\r\n$4\r\nrole\r\n+master\r\n";
        let hello = Value::decode(resp3, Protocol::Resp3).unwrap();
        assert_eq!(hello.get("proto").and_then(Value::as_i64), Some(3));
        assert_eq!(hello.get("role").and_then(Value::as_bytes), Some(&b"master"[..]));
        assert!(matches!(hello, Value::Map(pairs) if pairs[0].0.as_bytes() == Some(b"proto")));
        assert_eq!(Value::decode(b"$-1\r\n", Protocol::Resp2), Ok(Value::Null));
        assert_eq!(Value::decode(b"*-1\r\n", Protocol::Resp2), Ok(Value::Null));
        let all =
            b">9\r\n_\r\n#t\r\n,1.5\r\n(12\r\n=5\r\ntxt:a\r\n-E\r\n!1\r\nE\r\n~1\r\n:1\r\n*0\r\n";
        let expected = vec![
            Value::Null,
            Value::Boolean(true),
            Value::Double(1.5),
            Value::BigNumber(b"12".to_vec()),
            Value::Verbatim(b"a".to_vec()),
            Value::Error(b"E".to_vec()),
            Value::Error(b"E".to_vec()),
            Value::Set(vec![Value::Integer(1)]),
            Value::Array(vec![]),
        ];
        assert_eq!(Value::decode(all, Protocol::Resp3), Ok(Value::Push(expected)));
        let attributed = b"|1\r\n+k\r\n+v\r\n:1\r\n";
        assert_eq!(Value::decode(attributed, Protocol::Resp3), Ok(Value::Integer(1)));
    }

    #[test]
    fn value_is_refused_before_it_is_built() {
        let decode = |text: &[u8]| Value::decode(text, Protocol::Resp3);
        assert_eq!(decode(b":1\r\n:2\r\n"), Err(ValueError::Malformed));
        assert_eq!(decode(b":1\r"), Err(ValueError::Malformed));
        assert_eq!(decode(b"HELLO 3\r\n"), Err(ValueError::Malformed));
        assert_eq!(decode(b"*?\r\n.\r\n"), Err(ValueError::Unsupported));
        assert_eq!(decode(b"%1\r\n*0\r\n:1\r\n"), Err(ValueError::Unsupported));
        let nested = |depth| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(decode(&nested(limits::DECODED_REPLY_DEPTH_MAX)).is_ok());
        assert_eq!(decode(&nested(limits::DECODED_REPLY_DEPTH_MAX + 1)), Err(ValueError::TooDeep));
        assert_eq!(decode(&nested(100_000)), Err(ValueError::TooDeep));
        let large = format!("+{}\r\n", "x".repeat(DECODED_REPLY_BYTES_MAX));
        assert_eq!(decode(large.as_bytes()), Err(ValueError::TooLarge));
    }
}
