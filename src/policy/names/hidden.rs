//! Names that are left out of what `KEYS` and `SCAN` show.
//!
//! Owns: [`Hidden`]. Never knows: which policy hides them, requests.

use bytes::{BufMut, BytesMut};

use super::super::pattern::Pattern;
use super::push::{next, text};
use crate::command::ReplyNames;
use crate::resp::number;

/// Names of keys that no list shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hidden(Vec<Pattern>);

impl Hidden {
    pub(in super::super) const fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    pub(in super::super) fn matches(&self, name: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// A list without the names that are hidden, each with `prefix` before it. `None`: it has another
    /// form.
    pub(super) fn visible(
        &self,
        names: ReplyNames,
        prefix: &[u8],
        frame: &[u8],
    ) -> Option<BytesMut> {
        let begin = if names == ReplyNames::Scan {
            let (cursor, _) = next(frame.strip_prefix(b"*2\r\n")?)?;
            b"*2\r\n".len() + cursor.len()
        } else {
            0
        };
        let (before, list) = frame.split_at_checked(begin)?;
        let (header, mut rest) = list.split_at_checked(memchr::memchr(b'\n', list)? + 1)?;
        let kind = header.first().copied().filter(|kind| b"*~".contains(kind))?;
        let (mut kept, mut count) = (BytesMut::with_capacity(rest.len()), 0);
        while let Some((value, after)) = next(rest) {
            let name = text(value)?;
            if !self.matches(name.strip_prefix(prefix).unwrap_or(name)) {
                kept.put_slice(value);
                count += 1;
            }
            rest = after;
        }
        let mut out = BytesMut::with_capacity(before.len() + header.len() + kept.len());
        out.put_slice(before);
        number::write_line(&mut out, kind, count);
        out.put_slice(&kept);
        rest.is_empty().then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blanks end lines.
    fn check(names: ReplyNames, frame: &str, expected: Option<&str>) {
        let hidden = Hidden::new(vec![Pattern::new(b"secret*"), Pattern::new(b"?")]);
        let frame = frame.replace(' ', "\r\n");
        let seen = hidden.visible(names, b"a:", frame.as_bytes());
        let seen = seen.map(|seen| String::from_utf8_lossy(&seen).replace("\r\n", " "));
        assert_eq!(seen.as_deref(), expected, "{frame}");
    }

    #[test]
    fn names_that_are_denied_are_left_out() {
        let scan = ReplyNames::Scan;
        check(scan, "*2 $1 0 *0 ", Some("*2 $1 0 *0 "));
        check(scan, "*2 $2 17 *2 $8 a:secret $4 a:ok ", Some("*2 $2 17 *1 $4 a:ok "));
        check(scan, "*2 $1 5 *2 $3 a:x $10 a:secret:y ", Some("*2 $1 5 *0 "));
        check(ReplyNames::Names, "*3 $3 a:x $5 a:two $3 a:y ", Some("*1 $5 a:two "));
        check(ReplyNames::Names, "~1 $3 a:x ", Some("~0 "));
        for other in
            ["*2 $1 0 *1 :5 ", "*2 $1 0 $2 xx ", "*3 $1 0 *0 *0 ", "*2 $1 0 *1 $-1 ", ":1 "]
        {
            check(scan, other, None);
        }
    }
}
