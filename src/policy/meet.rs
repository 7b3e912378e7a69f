//! Whether one name can fit two patterns.
//!
//! Owns: [`Glob`]. Never knows: what the patterns are for.

use super::pattern::class_ranges;
use crate::base::limits;

/// A pattern taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Vec<Element>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// `*`
    Any,
    /// One byte of these.
    One(Bytes),
}

/// Bytes: a bit for each.
type Bytes = [u64; 4];

impl Glob {
    pub(super) fn new(pattern: &[u8]) -> Self {
        let mut elements = Vec::new();
        let mut rest = pattern;
        if pattern.len() > limits::COMPARED_PATTERN_BYTES_MAX {
            elements.push(Element::Any);
            rest = &[];
        }
        while let Some(first) = rest.first() {
            if *first == b'*' {
                elements.push(Element::Any);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let (set, behind) = one_byte(rest);
            elements.push(Element::One(set));
            rest = behind;
        }
        Self(elements)
    }

    /// Whether some name fits both. In doubt: `*` counts as fitting the empty name, too.
    pub(super) fn meets(&self, other: &Self) -> bool {
        // By how much of `other` is used up: whether the elements of `self` so far can be, too.
        let mut row = vec![false; other.0.len() + 1];
        if let Some(first) = row.first_mut() {
            *first = true;
        }
        for own in self.0.iter().map(Some).chain([None]) {
            let mut next = vec![false; row.len()];
            for (at, their) in other.0.iter().map(Some).chain([None]).enumerate() {
                if !row.get(at).is_some_and(|reached| *reached) {
                    continue;
                }
                let reach = |row: &mut Vec<bool>, at: usize| {
                    if let Some(place) = row.get_mut(at) {
                        *place = true;
                    }
                };
                match (own, their) {
                    (Some(Element::One(a)), Some(Element::One(b))) => {
                        if a.iter().zip(b).any(|(a, b)| a & b != 0) {
                            reach(&mut next, at + 1);
                        }
                    }
                    (Some(Element::Any), Some(_)) => {
                        reach(&mut next, at);
                        reach(&mut row, at + 1);
                    }
                    (Some(Element::One(_)), Some(Element::Any)) => {
                        reach(&mut next, at);
                        reach(&mut row, at + 1);
                    }
                    (None, Some(Element::Any)) => reach(&mut row, at + 1),
                    (Some(Element::Any), None) => reach(&mut next, at),
                    (Some(Element::One(_)), None) | (None, Some(Element::One(_)) | None) => {}
                }
            }
            if own.is_none() {
                return row.last().is_some_and(|reached| *reached);
            }
            row = next;
        }
        false
    }
}

/// The bytes that fit the first element of a pattern that does not begin with `*`, and what follows it.
fn one_byte(pattern: &[u8]) -> (Bytes, &[u8]) {
    let mut set = Bytes::default();
    let rest = match pattern {
        [b'?', rest @ ..] => {
            set = [u64::MAX; 4];
            rest
        }
        [b'[', class @ ..] => {
            // How many ranges are open: one more where one begins, one fewer behind its end.
            let mut steps = [0_i32; 257];
            let (negated, rest) = class_ranges(class, |from, to| {
                add(&mut steps, from, 0, 1);
                add(&mut steps, to, 1, -1);
            });
            let mut open = 0;
            for (byte, step) in (i8::MIN..=i8::MAX).zip(steps) {
                open += step;
                if (open > 0) != negated {
                    insert(&mut set, byte.cast_unsigned());
                }
            }
            rest
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            insert(&mut set, *literal);
            rest
        }
        [] => pattern,
    };
    (set, rest)
}

fn add(steps: &mut [i32; 257], byte: i8, behind: usize, step: i32) {
    let at = usize::from(byte.cast_unsigned().wrapping_add(128)) + behind;
    if let Some(place) = steps.get_mut(at) {
        *place += step;
    }
}

fn insert(set: &mut Bytes, byte: u8) {
    if let Some(word) = set.get_mut(usize::from(byte / 64)) {
        *word |= 1 << (byte % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pattern::{matches, one};

    fn meet(a: &str, b: &str) -> bool {
        Glob::new(a.as_bytes()).meets(&Glob::new(b.as_bytes()))
    }

    #[test]
    fn patterns_that_share_a_name() {
        for (a, b, expected) in [
            ("secret:*", "*", true),
            ("secret:*", "user:*", false),
            ("secret:*", "s*", true),
            ("secret:*", "*:x", true),
            ("*:secret", "user:*", true),
            ("*:secret", "user:*:name", false),
            ("a?c", "a[bd]c", true),
            ("a[^b]c", "abc", false),
            ("k", "k", true),
            ("k", "kk", false),
            ("a*b*c", "*x*", true),
        ] {
            assert_eq!((meet(a, b), meet(b, a)), (expected, expected), "{a} {b}");
        }
        let long = "a".repeat(limits::COMPARED_PATTERN_BYTES_MAX + 1);
        assert!(meet(&long, "b"));
    }

    proptest::proptest! {
        /// The bytes of an element are those that fit it one by one.
        #[test]
        fn element_has_the_bytes_that_fit_it(
            pattern in proptest::collection::vec(
                proptest::prop_oneof![proptest::sample::select(b"[]^-?\\".to_vec()), 0..=u8::MAX],
                1..9,
            ),
        ) {
            proptest::prop_assume!(pattern[0] != b'*');
            let (set, behind) = one_byte(&pattern);
            for byte in 0..=u8::MAX {
                let fits = set[usize::from(byte / 64)] >> (byte % 64) & 1 == 1;
                let rest = one(&pattern, Some(byte));
                assert_eq!(rest.is_some(), fits, "{byte}");
                assert!(rest.is_none_or(|rest| rest == behind), "{byte}");
            }
        }

        /// A name that fits both is never overlooked.
        #[test]
        fn no_name_is_overlooked(
            a in "[ab*?\\[\\]^\\\\-]{0,7}",
            b in "[ab*?\\[\\]^\\\\-]{0,7}",
            name in "[ab\\-*\\\\]{0,6}",
        ) {
            let fits = |pattern: &str| matches(pattern.as_bytes(), name.as_bytes());
            if fits(&a) && fits(&b) {
                assert!(meet(&a, &b), "{a} {b} {name}");
            }
        }
    }
}
