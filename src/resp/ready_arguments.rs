//! Steps over the arguments of a request that are here as a whole and spelled as nearly all are.
//!
//! Owns: [`step_over`]. Never knows: limits, what is wrong with an argument that is not stepped over.

use super::number::short_line;
use super::request::Span;

const LINE_END: [u8; 2] = *b"\r\n";

/// Steps over at most `most` arguments, the first of which begins at `position`. Each is here as a whole, canonical and
/// shorter than `common` bytes; where it is comes to `spans`. Returns where the next one begins, and how many of
/// `most` are left.
#[inline(always)]
pub(super) fn step_over(
    buf: &[u8],
    mut position: usize,
    most: u32,
    common: usize,
    spans: &mut Vec<Span>,
) -> (usize, u32) {
    let mut left = most;
    let mut rest = buf.get(position..).unwrap_or_default();
    while left > 0
        && let Some((start, end)) = argument(rest, common)
        && let Some((_, behind)) = rest.split_at_checked(end + LINE_END.len())
    {
        spans.push(Span::new(position + start, position + end));
        position += end + LINE_END.len();
        rest = behind;
        left -= 1;
    }
    debug_assert!(position <= buf.len(), "an argument ends behind what is here");
    (position, left)
}

/// Where the argument begins and ends whose header is at the front of `rest`.
#[inline(always)]
fn argument(rest: &[u8], common: usize) -> Option<(usize, usize)> {
    let [b'$', line @ ..] = rest else { return None };
    let (length, used) = short_line(line)?;
    let start = 1 + used;
    let end = start + length;
    let is_whole = length < common && rest.get(end..end + LINE_END.len()) == Some(&LINE_END);
    is_whole.then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stepped(buf: &[u8], most: u32) -> (usize, u32, Vec<&[u8]>) {
        let mut spans = Vec::new();
        let (position, left) = step_over(buf, 0, most, 1000, &mut spans);
        (position, left, spans.iter().map(|span| span.of(buf)).collect())
    }

    #[test]
    fn common_arguments_are_stepped_over() {
        let long = [b'x'; 999];
        let buf =
            [&b"$3\r\nGET\r\n$0\r\n\r\n$12\r\nabcdefghijkl\r\n$999\r\n"[..], &long, b"\r\n*1"]
                .concat();
        let all = [&b"GET"[..], b"", b"abcdefghijkl", &long];
        assert_eq!(stepped(&buf, 4), (buf.len() - 2, 0, all.to_vec()));
        assert_eq!(stepped(&buf, 2), (15, 0, all[..2].to_vec()));
        assert_eq!(stepped(&buf, 9), (buf.len() - 2, 5, all.to_vec()), "the next frame is none");
    }

    #[test]
    fn argument_that_is_uncommon_or_incomplete_is_not_stepped_over() {
        let long = [&b"$1000\r\n"[..], &[b'x'; 1000], b"\r\n"].concat();
        let spelled: [&[u8]; 14] = [
            b"",
            b"$",
            b"$3",
            b"$3\r",
            b"$3\r\n",
            b"$3\r\nGET",
            b"$3\r\nGET\r",
            b"$3\r\nGET\n\n",
            b"$03\r\nGET\r\n",
            b"$-1\r\n",
            b"$3\n\nGET\r\n",
            b":3\r\nGET\r\n",
            b"$3 \r\nGET\r\n",
            &long,
        ];
        for uncommon in spelled {
            let shown = uncommon.escape_ascii();
            assert_eq!(stepped(uncommon, 2), (0, 2, Vec::new()), "{shown}");
            let behind = [b"$1\r\na\r\n", uncommon].concat();
            assert_eq!(stepped(&behind, 2), (7, 1, vec![&b"a"[..]]), "{shown}");
        }
    }
}
