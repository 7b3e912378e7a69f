//! Measures how deep a reply is nested, for code that would recurse into it.
//!
//! Owns: [`depth`]. Never knows: what is done with the reply.

use super::{ReplyScanner, number};

/// An aggregate under way.
struct Level {
    left: u64,
    /// Describes the value behind it and is none itself.
    attribute: bool,
}

/// How deep one whole reply is nested, or one more than `limit`; `None` when a part of it is streamed.
pub(super) fn depth(reply: &[u8], limit: usize) -> Option<usize> {
    let mut levels: Vec<Level> = Vec::new();
    let mut deepest = 0;
    let mut rest = reply;
    while let Some(&kind) = rest.first() {
        let mut value_ends = true;
        if let Some(each) = elements_of(kind) {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let digits = rest.get(1..line.saturating_sub(2)).unwrap_or_default();
            let count = number::parse_i64(digits)?;
            let left = u64::try_from(count).unwrap_or(0).saturating_mul(each);
            rest = rest.get(line..).unwrap_or_default();
            if left > 0 {
                levels.push(Level { left, attribute: kind == b'|' });
                deepest = deepest.max(levels.len());
                if deepest > limit {
                    return Some(deepest);
                }
            }
            value_ends = left == 0 && kind != b'|';
        } else {
            let used = ReplyScanner::default().advance(rest).map_or(rest.len(), |seen| seen.used);
            rest = rest.get(used..).unwrap_or_default();
        }
        while value_ends && let Some(level) = levels.last_mut() {
            debug_assert!(level.left > 0, "more elements than were announced");
            level.left -= 1;
            if level.left > 0 {
                break;
            }
            value_ends = !level.attribute;
            levels.pop();
        }
    }
    Some(deepest)
}

/// How many elements of an aggregate of this kind are counted as one.
fn elements_of(kind: u8) -> Option<u64> {
    match kind {
        b'*' | b'~' | b'>' => Some(1),
        b'%' | b'|' => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_open_aggregates() {
        let cases: &[(&[u8], usize)] = &[
            (b":1\r\n", 0),
            (b"+*1\n*1\r\n", 0),
            (b"$8\r\n*1\r\n*1\r\n\r\n", 0),
            (b"*0\r\n", 0),
            (b"*-1\r\n", 0),
            (b"*2\r\n:1\r\n:2\r\n", 1),
            (b"*3\r\n*1\r\n:1\r\n*0\r\n~1\r\n:1\r\n", 2),
            (b"%1\r\n:1\r\n*1\r\n%1\r\n:1\r\n:2\r\n", 3),
            (b"|1\r\n:1\r\n*1\r\n:1\r\n:2\r\n", 2),
            (b"*2\r\n|1\r\n:1\r\n:1\r\n:2\r\n*1\r\n:1\r\n", 2),
        ];
        for (reply, deepest) in cases {
            assert_eq!(depth(reply, 9), Some(*deepest), "{}", reply.escape_ascii());
            assert_eq!(depth(reply, 1), Some(*deepest.min(&2)), "{}", reply.escape_ascii());
        }
        assert_eq!(depth(b"*1\r\n*?\r\n.\r\n", 9), None);
        assert_eq!(depth(b"$?\r\n;0\r\n", 9), Some(0));
    }
}
