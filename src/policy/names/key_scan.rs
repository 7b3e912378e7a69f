//! `DBSIZE` and `FLUSHDB` over one application's keys: page by page, each a short request.
//!
//! Owns: [`KeyScan`], what is asked and what is made of each page. Never knows: sessions, connections.

use std::sync::Arc;

use bytes::BytesMut;

use super::prefix::Prefix;
use super::push::{next, text};
use crate::base::client_text;
use crate::resp::encode;

/// Keys that the server looks at for one page.
const PAGE: &str = "512";

/// What is done to every key of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanAction {
    /// `DBSIZE`
    Count,
    /// `FLUSHDB`
    Remove,
}

/// One scan over the database. A key that is there all the time is met, one that comes meanwhile
/// may be; while the server's table shrinks a key may be counted twice (as `SCAN` has it).
#[derive(Debug)]
pub struct KeyScan {
    prefix: Arc<Prefix>,
    action: ScanAction,
    cursor: Box<[u8]>,
    found: u64,
    asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Page,
    Removal,
}

/// What follows a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The request that was written.
    Ask,
    /// The scan is complete, and found so many keys.
    Done(u64),
    /// The error line for the client, from its `-` to its line end.
    Failed(Box<[u8]>),
}

impl KeyScan {
    pub(super) fn new(prefix: Arc<Prefix>, action: ScanAction) -> Self {
        Self { prefix, action, cursor: (*b"0").into(), found: 0, asked: Asked::Page }
    }

    #[must_use]
    pub const fn action(&self) -> ScanAction {
        self.action
    }

    /// Writes the request for the next page.
    pub fn ask(&mut self, out: &mut BytesMut) {
        self.asked = Asked::Page;
        let pattern = [self.prefix.glob(), b"*"].concat();
        let words = [b"SCAN", &*self.cursor, b"MATCH", &pattern, b"COUNT", PAGE.as_bytes()];
        encode::request(out, words);
    }

    /// The whole reply to what was asked; writes the next request.
    pub fn take(&mut self, frame: &[u8], out: &mut BytesMut) -> Next {
        if frame.starts_with(b"-") {
            return Next::Failed(frame.into());
        }
        if self.asked == Asked::Page {
            let Some((cursor, names)) = self.page(frame) else {
                let mut line = BytesMut::new();
                encode::error(&mut line, client_text::NO_PAGE);
                return Next::Failed((*line).into());
            };
            self.cursor = cursor.into();
            self.found += names.len() as u64;
            if self.action == ScanAction::Remove && !names.is_empty() {
                self.asked = Asked::Removal;
                let mut words: Vec<&[u8]> = vec![b"UNLINK"];
                words.extend(names);
                encode::request(out, words);
                return Next::Ask;
            }
        }
        if *self.cursor == *b"0" {
            return Next::Done(self.found);
        }
        self.ask(out);
        Next::Ask
    }

    /// Cursor and names of a reply to `SCAN`; `None` when one of them is not this application's.
    fn page<'a>(&self, frame: &'a [u8]) -> Option<(&'a [u8], Vec<&'a [u8]>)> {
        let (cursor, list) = next(frame.strip_prefix(b"*2\r\n")?)?;
        let (header, mut rest) = list.split_at_checked(memchr::memchr(b'\n', list)? + 1)?;
        let mut names = Vec::new();
        while let Some((name, after)) = next(rest) {
            let name = text(name)?;
            if !name.starts_with(self.prefix.text()) {
                return None;
            }
            names.push(name);
            rest = after;
        }
        header.starts_with(b"*").then_some((text(cursor)?, names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(scan: &mut KeyScan, frame: &str) -> (Next, String) {
        let mut out = BytesMut::new();
        let next = scan.take(frame.replace(' ', "\r\n").as_bytes(), &mut out);
        (next, String::from_utf8_lossy(&out).replace("\r\n", " "))
    }

    fn scan(action: ScanAction) -> KeyScan {
        KeyScan::new(Arc::new(Prefix::new(b"a*:")), action)
    }

    const ASK: &str = "*6 $4 SCAN $1 7 $5 MATCH $5 a\\*:* $5 COUNT $3 512 ";

    #[test]
    fn key_scan_counts() {
        let mut scan = scan(ScanAction::Count);
        let page = take(&mut scan, "*2 $1 7 *2 $4 a*:k $4 a*:l ");
        assert_eq!(page, (Next::Ask, ASK.to_owned()));
        let page = take(&mut scan, "*2 $1 7 *0 ");
        assert_eq!(page, (Next::Ask, ASK.to_owned()));
        assert_eq!(take(&mut scan, "*2 $1 0 *1 $3 a*: ").0, Next::Done(3));
    }

    #[test]
    fn key_scan_removes() {
        let mut scan = scan(ScanAction::Remove);
        let page = take(&mut scan, "*2 $1 7 *2 $4 a*:k $4 a*:l ");
        assert_eq!(page, (Next::Ask, "*3 $6 UNLINK $4 a*:k $4 a*:l ".to_owned()));
        assert_eq!(take(&mut scan, ":2 "), (Next::Ask, ASK.to_owned()));
        assert_eq!(take(&mut scan, "*2 $1 0 *0 ").0, Next::Done(2));
    }

    #[test]
    fn key_scan_fails_with_the_error_of_the_server() {
        let error = Next::Failed((*b"-READONLY\r\n").into());
        assert_eq!(take(&mut scan(ScanAction::Remove), "-READONLY ").0, error);
        for wrong in ["*2 $1 0 *1 $3 b:k ", ":1 ", "*2 $1 0 $1 x ", "*2 :0 *0 "] {
            let next = take(&mut scan(ScanAction::Remove), wrong);
            assert!(matches!(next, (Next::Failed(_), text) if text.is_empty()), "{wrong}");
        }
    }
}
