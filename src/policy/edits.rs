//! Changes to a request, collected before any byte is written.
//!
//! Owns: [`Edits`], [`Scratch`]. Never knows: why a request is changed, sessions.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use crate::command::KeyAt;
use crate::resp::{Request, encode, number};

/// Room for key positions, kept between requests so that deciding allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) keys: Vec<KeyAt>,
    pub(super) patterns: Vec<u32>,
    pub(super) edits: Edits,
    pub(super) wire: BytesMut,
}

/// A wire buffer above this size is not kept for the next request.
const WIRE_BYTES_KEPT: usize = 64 * 1024;

impl Scratch {
    /// What is sent instead of the request just permitted, if [`Grant::changed`](super::Grant::changed).
    pub fn take_wire(&mut self) -> BytesMut {
        std::mem::take(&mut self.wire)
    }

    /// Where that is written.
    pub const fn wire(&mut self) -> &mut BytesMut {
        &mut self.wire
    }

    /// Takes the buffer back for the next request.
    pub fn reuse(&mut self, mut wire: BytesMut) {
        wire.clear();
        if wire.capacity() <= WIRE_BYTES_KEPT {
            self.wire = wire;
        }
    }
}

/// One change of one argument. Texts lie together in [`Edits`].
#[derive(Clone, Debug)]
struct Edit {
    arg: u32,
    /// Where the text goes in the argument; `None`: the argument is replaced by the text.
    at: Option<u32>,
    text: Range<usize>,
}

/// Changes to one request, collected before any byte is written.
#[derive(Debug, Default)]
pub(super) struct Edits {
    list: Vec<Edit>,
    appended: Vec<Range<usize>>,
    text: BytesMut,
    /// Whole requests that follow.
    behind: BytesMut,
    companions: u32,
}

impl Edits {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.appended.clear();
        self.text.clear();
        self.behind.clear();
        self.companions = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.appended.is_empty() && self.companions == 0
    }

    pub(super) const fn companions(&self) -> u32 {
        self.companions
    }

    /// Puts `text` into argument `arg` before its byte `at`; what is there twice stays in the order
    /// of the calls.
    pub(super) fn insert(&mut self, arg: u32, at: u32, text: &[u8]) {
        let text = self.note(text);
        self.list.push(Edit { arg, at: Some(at), text });
    }

    /// Replaces argument `arg` by a number. Not together with [`Self::insert`] in the same argument.
    pub(super) fn replace_number(&mut self, arg: u32, value: u64) {
        let start = self.text.len();
        number::write_u64(&mut self.text, value);
        self.list.push(Edit { arg, at: None, text: start..self.text.len() });
    }

    /// Adds one argument at the end.
    pub(super) fn append(&mut self, text: &[u8]) {
        let text = self.note(text);
        self.appended.push(text);
    }

    /// Adds one argument of several pieces at the end.
    pub(super) fn append_pieces(&mut self, pieces: &[&[u8]]) {
        let start = self.text.len();
        for piece in pieces {
            self.text.extend_from_slice(piece);
        }
        self.appended.push(start..self.text.len());
    }

    /// Adds a request of the proxy's own behind this one: a command about the key whose name is
    /// `prefix` and `name`, and further arguments.
    pub(super) fn follow(&mut self, command: &[u8], [prefix, name]: [&[u8]; 2], more: &[&[u8]]) {
        let out = &mut self.behind;
        encode::array(out, 2 + more.len());
        encode::bulk(out, command);
        out.put_u8(b'$');
        number::write_u64(out, (prefix.len() + name.len()) as u64);
        out.put_slice(b"\r\n");
        out.put_slice(prefix);
        out.put_slice(name);
        out.put_slice(b"\r\n");
        for arg in more {
            encode::bulk(out, arg);
        }
        self.companions += 1;
    }

    fn note(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        start..self.text.len()
    }

    /// Writes the changed request and what follows it; returns how many bytes are the request
    /// itself, or of a head the head (its appended arguments then belong to what follows).
    pub(super) fn write(&mut self, request: &Request<'_>, out: &mut BytesMut) -> usize {
        let order = |edit: &Edit| (edit.arg, edit.at);
        if !self.list.is_sorted_by_key(order) {
            self.list.sort_by_key(order);
        }
        let mut edits = self.list.iter().peekable();
        encode::array(out, request.len() + self.appended.len());
        // What stays as it is between two edits is copied at once.
        let mut done = 0;
        while let Some(edit) = edits.next() {
            let at = edit.arg as usize;
            let Some(bytes) = request.arg(at).filter(|_| at >= done) else { continue };
            out.extend_from_slice(request.raw_args(done..at));
            done = at + 1;
            if edit.at.is_none() {
                encode::bulk(out, self.text(&edit.text));
                continue;
            }
            let more = std::iter::from_fn(|| {
                edits.next_if(|more| more.arg == edit.arg && more.at.is_some())
            });
            self.write_inserted(bytes, std::iter::once(edit).chain(more), out);
        }
        out.extend_from_slice(request.raw_args(done..request.available()));
        let mut split = None;
        if let Some(length) = request.announced() {
            out.put_u8(b'$');
            number::write_u64(out, length);
            out.put_slice(b"\r\n");
            split = Some(out.len());
        }
        for text in &self.appended {
            encode::bulk(out, self.text(text));
        }
        let split = split.unwrap_or(out.len());
        out.extend_from_slice(&self.behind);
        split
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }

    fn write_inserted<'a>(
        &'a self,
        bytes: &[u8],
        edits: impl Iterator<Item = &'a Edit>,
        out: &mut BytesMut,
    ) {
        // The bulk's length is known only when all its pieces are: nearly always there is one.
        let mut pieces: Option<(u32, &[u8])> = None;
        let mut many = Vec::new();
        for edit in edits {
            let piece = (edit.at.unwrap_or(0), self.text(&edit.text));
            match pieces {
                None => pieces = Some(piece),
                Some(_) => many.push(piece),
            }
        }
        let Some(first) = pieces else { return encode::bulk(out, bytes) };
        let added = first.1.len() + many.iter().map(|(_, text)| text.len()).sum::<usize>();
        out.put_u8(b'$');
        number::write_u64(out, (bytes.len() + added) as u64);
        out.put_slice(b"\r\n");
        let mut done = 0;
        for (at, text) in std::iter::once(first).chain(many) {
            let at = (at as usize).clamp(done, bytes.len());
            out.put_slice(bytes.get(done..at).unwrap_or_default());
            out.put_slice(text);
            done = at;
        }
        out.put_slice(bytes.get(done..).unwrap_or_default());
        out.put_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::RequestBuf;

    fn written(line: &str, change: impl Fn(&mut Edits)) -> (String, usize) {
        let request = RequestBuf::from_args(line.split(' '));
        let mut edits = Edits::default();
        change(&mut edits);
        let mut out = BytesMut::new();
        let split = edits.write(&request.as_request(), &mut out);
        (String::from_utf8_lossy(&out).replace("\r\n", " "), split)
    }

    #[test]
    fn inserted_replaced_appended_followed() {
        let (text, split) = written("SET k v", |edits| {
            edits.insert(1, 0, b"a:");
            edits.append(b"PX");
            edits.replace_number(2, 77);
            edits.follow(b"EXPIRE", [b"a:", b"k"], &[b"9", b"NX"]);
        });
        assert_eq!(text, "*4 $3 SET $3 a:k $2 77 $2 PX *4 $6 EXPIRE $3 a:k $1 9 $2 NX ");
        let own = "*4\r\n$3\r\nSET\r\n$3\r\na:k\r\n$2\r\n77\r\n$2\r\nPX\r\n";
        assert_eq!(split, own.len());
    }

    #[test]
    fn several_texts_in_one_argument() {
        let (text, _) = written("X abc", |edits| {
            edits.insert(1, 3, b"3");
            edits.insert(1, 0, b"0");
            edits.insert(1, 1, b"1");
        });
        assert_eq!(text, "*2 $1 X $6 0a1bc3 ");
    }
}
