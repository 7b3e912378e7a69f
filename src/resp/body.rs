//! Skips the body of a bulk without keeping it, and checks the CRLF behind it.
//!
//! Owns: [`BulkBody`]. Never knows: headers, what the bytes mean.

/// The CRLF is missing behind a bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoLineEnd;

/// What is still to come of one bulk: its bytes and the CRLF behind them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BulkBody {
    left: u64,
}

impl BulkBody {
    /// A body of `length` bytes; `length` is at most [`i64::MAX`].
    #[inline]
    pub(super) fn new(length: u64) -> Self {
        debug_assert!(i64::try_from(length).is_ok(), "no length is so large");
        Self { left: length.saturating_add(2) }
    }

    /// The CRLF alone.
    #[inline]
    pub(super) fn line_end() -> Self {
        Self { left: 2 }
    }

    #[inline]
    pub(super) fn done(self) -> bool {
        self.left == 0
    }

    /// Takes bytes from the front of `buf` and returns how many.
    #[inline]
    pub(super) fn feed(&mut self, buf: &[u8]) -> Result<usize, NoLineEnd> {
        let before = self.left;
        let inside = usize::try_from(self.left.saturating_sub(2)).unwrap_or(usize::MAX);
        let mut used = inside.min(buf.len());
        self.left -= used as u64;
        while self.left == 2 || self.left == 1 {
            let expected = if self.left == 2 { b'\r' } else { b'\n' };
            match buf.get(used) {
                None => break,
                Some(&byte) if byte == expected => {
                    used += 1;
                    self.left -= 1;
                }
                Some(_) => return Err(NoLineEnd),
            }
        }
        debug_assert_eq!(before - self.left, used as u64, "bytes are miscounted");
        Ok(used)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn body_ends_where_the_line_ends_however_it_is_cut() {
        let text = b"ab\r\nc\r\nrest";
        for size in 1..=text.len() {
            let mut body = BulkBody::new(5);
            let mut used = 0;
            for piece in text.chunks(size) {
                used += body.feed(piece).unwrap();
            }
            assert!(body.done());
            assert_eq!(used, 7);
        }
    }

    #[test]
    fn body_with_another_end_is_refused() {
        assert_eq!(BulkBody::new(1).feed(b"a\n\r"), Err(NoLineEnd));
        assert_eq!(BulkBody::new(1).feed(b"a\rX"), Err(NoLineEnd));
        assert_eq!(BulkBody::new(0).feed(b"X"), Err(NoLineEnd));
        assert_eq!(BulkBody::line_end().feed(b"\r"), Ok(1));
    }
}
