//! Changes to a request, collected before any byte is written.
//!
//! Owns: [`Edits`], [`Scratch`]. Never knows: why a request is changed, sessions.

use std::ops::Range;

use bytes::BytesMut;

use super::guard::Shaped;
use crate::base::limits;
use crate::command::KeyPosition;
use crate::resp::{Request, encode, number};

/// Room for key positions, kept between requests so that deciding allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) keys: Vec<KeyPosition>,
    pub(super) patterns: Vec<u32>,
    pub(super) edits: Edits,
    pub(super) wire: BytesMut,
    /// Its number of keys is wrong, so that the server refuses it whatever its names are: it goes
    /// there without them.
    pub(super) nameless: bool,
    /// What goes to the server instead of the script, or its name, of the request at hand.
    pub guarded: Shaped,
}

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
        self.wire = wire;
        self.trim();
    }

    /// Gives memory back that only a large request needed.
    #[inline]
    pub fn trim(&mut self) {
        if self.guarded.changes() {
            self.guarded = Shaped::No;
        }
        if self.wire.capacity() > limits::EDITED_REQUEST_BYTES_KEPT {
            self.wire = BytesMut::new();
        }
    }
}

/// One change of one argument. Texts are together in [`Edits`].
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
    text: BytesMut,
    /// Further arguments, with their headers.
    appended: BytesMut,
    added: usize,
    /// Whole requests that follow.
    behind: BytesMut,
    companions: u32,
}

impl Edits {
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.text.clear();
        self.appended.clear();
        self.added = 0;
        self.behind.clear();
        self.companions = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.added == 0 && self.companions == 0
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

    /// Replaces argument `arg` by nothing. Not together with [`Self::insert`] in the same argument.
    pub(super) fn blank(&mut self, arg: u32) {
        self.list.push(Edit { arg, at: None, text: 0..0 });
    }

    /// Replaces argument `arg` by a text. Not together with [`Self::insert`] in the same argument.
    pub(super) fn replace(&mut self, arg: u32, text: &[u8]) {
        let text = self.note(text);
        self.list.push(Edit { arg, at: None, text });
    }

    /// Adds one argument at the end.
    pub(super) fn append(&mut self, text: &[u8]) {
        self.append_pieces(&[text]);
    }

    /// Adds one argument of several pieces at the end.
    pub(super) fn append_pieces(&mut self, pieces: &[&[u8]]) {
        write_bulk(&mut self.appended, pieces);
        self.added += 1;
    }

    /// Adds arguments at the end that have their headers already.
    pub(super) fn append_written(&mut self, count: usize, written: &[u8]) {
        self.appended.extend_from_slice(written);
        self.added += count;
    }

    /// Adds a request of the proxy's own behind this one: a command about the key whose name is
    /// `prefix` and `name`, and further arguments.
    pub(super) fn follow(&mut self, command: &[u8], [prefix, name]: [&[u8]; 2], more: &[&[u8]]) {
        let out = &mut self.behind;
        encode::array(out, 2 + more.len());
        encode::bulk(out, command);
        write_bulk(out, &[prefix, name]);
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

    /// How much of what is written behind a head are the request's appended arguments; the others are further
    /// requests. 0 for a whole request.
    pub(super) fn rest_of(&self, request: &Request<'_>) -> u32 {
        debug_assert!(self.added > 0 || self.appended.is_empty(), "what is appended is counted");
        let appended = if request.announced().is_some() { self.appended.len() } else { 0 };
        u32::try_from(appended).unwrap_or(u32::MAX)
    }

    /// Writes the changed request and what follows it; returns how many bytes are the request
    /// itself, or of a head the head (its appended arguments then belong to what follows).
    pub(super) fn write(&mut self, request: &Request<'_>, out: &mut BytesMut) -> usize {
        let order = |edit: &Edit| (edit.arg, edit.at);
        if !self.list.is_sorted_by_key(order) {
            self.list.sort_by_key(order);
        }
        let raw = request.raw();
        let part = |range: Range<usize>| raw.get(range).unwrap_or_default();
        // Up to here everything is written: what stays as it is between two edits is copied at once.
        let mut done = 0;
        if self.added > 0 {
            encode::array(out, request.len() + self.added);
            done = request.begin(0);
        }
        for edits in self.list.chunk_by(|one, next| one.arg == next.arg) {
            let Some(first) = edits.first() else { continue };
            let Some(place) = request.place(first.arg as usize) else { continue };
            out.extend_from_slice(part(done..request.begin(first.arg as usize)));
            if first.at.is_none() {
                encode::bulk(out, self.text(&first.text));
                done = place.end + 2;
                continue;
            }
            let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
            number::write_line(out, b'$', (place.len() + added) as u64);
            done = place.start;
            for edit in edits {
                let at = place.start + (edit.at.unwrap_or(0) as usize).min(place.len());
                out.extend_from_slice(part(done..at));
                out.extend_from_slice(self.text(&edit.text));
                done = at;
            }
        }
        out.extend_from_slice(part(done..request.begin(request.available())));
        let mut split = None;
        if let Some(length) = request.announced() {
            number::write_line(out, b'$', length);
            split = Some(out.len());
        }
        out.extend_from_slice(&self.appended);
        let split = split.unwrap_or(out.len());
        out.extend_from_slice(&self.behind);
        split
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        self.text.get(range.clone()).unwrap_or_default()
    }
}

/// One argument of several pieces.
fn write_bulk(out: &mut BytesMut, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    number::write_line(out, b'$', length as u64);
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
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
    fn edits_of_one_argument_are_several() {
        let (text, _) = written("X abc", |edits| {
            edits.insert(1, 3, b"3");
            edits.insert(1, 0, b"0");
            edits.insert(1, 1, b"1");
        });
        assert_eq!(text, "*2 $1 X $6 0a1bc3 ");
    }
}
