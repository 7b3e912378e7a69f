//! How the same words can be written.
//!
//! Owns: [`Way`]. Never knows: what the words are for.

use super::support::client::{Client, encode};
use super::world::Words;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Array,
    Resp3,
    Inline,
    MixedCase,
    /// One byte at a time.
    Bytes,
    /// Pieces of seven bytes.
    Pieces,
    /// In one piece with what is right.
    Pipelined,
    Transaction,
    Resp3Transaction,
}

pub const WAYS: [Way; 9] = [
    Way::Array,
    Way::Resp3,
    Way::Inline,
    Way::MixedCase,
    Way::Bytes,
    Way::Pieces,
    Way::Pipelined,
    Way::Transaction,
    Way::Resp3Transaction,
];

/// Above this size a request is not cut into small pieces and not written inline.
const SMALL_BYTES: usize = 8 << 10;

impl Way {
    pub fn is_resp3(self) -> bool {
        matches!(self, Self::Resp3 | Self::Resp3Transaction)
    }

    pub fn is_transaction(self) -> bool {
        matches!(self, Self::Transaction | Self::Resp3Transaction)
    }

    /// The bytes of one request in this way.
    fn bytes(self, words: &Words) -> Vec<u8> {
        let small = words.iter().map(Vec::len).sum::<usize>() < SMALL_BYTES;
        match self {
            Self::Inline if small => {
                let quoted = words.iter().map(|word| format!("\"{}\"", word.escape_ascii()));
                format!("{}\r\n", quoted.collect::<Vec<_>>().join(" ")).into_bytes()
            }
            Self::MixedCase => {
                let mut words = words.clone();
                words.iter_mut().for_each(|word| mix(word));
                encode(&words)
            }
            _ => encode(words),
        }
    }

    pub fn send(self, client: &mut Client, requests: &[Words]) {
        if self == Self::Pipelined {
            let all: Vec<u8> = requests.iter().flat_map(|words| self.bytes(words)).collect();
            return client.send_raw(&all);
        }
        for words in requests {
            let bytes = self.bytes(words);
            let piece = match self {
                Self::Bytes if bytes.len() < 400 => 1,
                Self::Pieces if bytes.len() < SMALL_BYTES => 7,
                _ => bytes.len(),
            };
            bytes.chunks(piece).for_each(|piece| client.send_raw(piece));
        }
    }
}

/// Changes the case of a command, a subcommand, an option up to its NUL; names have a digit or colon.
fn mix(word: &mut [u8]) {
    let end = word.iter().position(|byte| *byte == 0).unwrap_or(word.len());
    let word = &mut word[..end];
    if !word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
        return;
    }
    for (at, byte) in word.iter_mut().enumerate() {
        if at % 2 == 0 {
            byte.make_ascii_lowercase();
        } else {
            byte.make_ascii_uppercase();
        }
    }
}
