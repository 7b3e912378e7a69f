//! Glob patterns exactly as the server matches them (Redis: `stringmatchlen`, util.c).
//!
//! Owns: [`Pattern`] and [`matches()`]. Never knows: what is matched, a key or a channel.

/// A pattern prepared for many comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<[u8]>,
    form: Form,
}

/// The two forms that need no search, and all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// No character has a meaning of its own.
    Literal,
    /// A literal and then only `*`; the number is the literal's length.
    Prefix(usize),
    Glob,
}

impl Pattern {
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let literal = literal_prefix(text).len();
        let rest = text.get(literal..).unwrap_or_default();
        let form = if rest.is_empty() {
            Form::Literal
        } else if rest.iter().all(|byte| *byte == b'*') {
            Form::Prefix(literal)
        } else {
            Form::Glob
        };
        Self { text: text.into(), form }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Whether the pattern would match `subject` on the server.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        match self.form {
            Form::Literal => *self.text == *subject,
            // The server never enters its loop for an empty subject: `*` does not fit "".
            Form::Prefix(0) => !subject.is_empty(),
            Form::Prefix(length) => subject.get(..length) == self.text.get(..length),
            Form::Glob => matches(&self.text, subject),
        }
    }

    /// Whether everything that the pattern `inner` fits certainly fits this one too.
    ///
    /// Certain are the same text, a pattern without special characters, and a literal prefix of
    /// `inner` that is within `literal*`. A relation that only a closer look would prove
    /// (`app[1]:*` within `app1:*`) does not count.
    #[must_use]
    pub fn covers(&self, inner: &[u8]) -> bool {
        let literal = literal_prefix(inner);
        if literal.len() == inner.len() {
            return self.matches(inner);
        }
        match self.form {
            Form::Prefix(length) => {
                literal.get(..length).is_some_and(|start| Some(start) == self.text.get(..length))
            }
            Form::Literal | Form::Glob => *self.text == *inner,
        }
    }

    /// Whether every name that begins with `start` fits.
    #[must_use]
    pub fn covers_prefix(&self, start: &[u8]) -> bool {
        match self.form {
            Form::Prefix(0) => true,
            Form::Prefix(length) => {
                start.get(..length).is_some_and(|start| Some(start) == self.text.get(..length))
            }
            Form::Literal | Form::Glob => false,
        }
    }

    /// Whether the pattern is `*` alone.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self.text == *b"*"
    }
}

/// The bytes before the first one that may have a meaning of its own.
#[must_use]
pub(crate) fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    pattern.get(..end.unwrap_or(pattern.len())).unwrap_or(pattern)
}

/// The pattern that only `literal` itself fits.
#[must_use]
pub(crate) fn escape(literal: &[u8]) -> Vec<u8> {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^');
    let escaped =
        literal.iter().flat_map(|byte| special(byte).then_some(b'\\').into_iter().chain([*byte]));
    escaped.collect()
}

/// Whether `subject` fits `pattern`, letter by letter as the server decides it.
///
/// Where the server tries every `*` anew by recursion, only the last `*` is tried here: a later
/// match of an earlier `*` cannot help. The work is at most the product of the lengths.
#[must_use]
pub(crate) fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    if subject.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut subject) = (pattern, subject);
    // Where to go on when the present try fails: behind the last `*`, one byte later.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let Some(rest) = pattern.strip_prefix(b"*") {
            if rest.iter().all(|byte| *byte == b'*') {
                return true;
            }
            retry = Some((rest, subject));
            pattern = rest;
            continue;
        }
        match (subject.split_first(), one(pattern, subject.first().copied())) {
            (None, _) if pattern.is_empty() => return true,
            (Some((_, left)), Some(rest)) => (pattern, subject) = (rest, left),
            _ => {
                let Some((behind, from)) = retry else { return false };
                let Some((_, left)) = from.split_first() else { return false };
                retry = Some((behind, left));
                (pattern, subject) = (behind, left);
            }
        }
    }
}

/// Compares one byte with the first element of a pattern that does not begin with `*`; the rest of
/// the pattern when it fits.
pub(super) fn one(pattern: &[u8], byte: Option<u8>) -> Option<&[u8]> {
    let byte = byte?;
    let (first, rest) = pattern.split_first()?;
    match (first, rest.split_first()) {
        (b'?', _) => Some(rest),
        (b'[', _) => class(rest, byte),
        (b'\\', Some((escaped, rest))) => (*escaped == byte).then_some(rest),
        (literal, _) => (*literal == byte).then_some(rest),
    }
}

/// A class `[...]`, entered behind its bracket.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let mut found = false;
    let (negated, rest) = class_ranges(pattern, |from, to| {
        found |= (from..=to).contains(&byte.cast_signed());
    });
    (found != negated).then_some(rest)
}

/// The ranges of a class `[...]`, entered behind its bracket; whether it is negated, and what follows it. A missing
/// end is the end of the pattern; a range may be the wrong way round, may swallow the closing bracket, and compares
/// signed bytes.
pub(super) fn class_ranges(pattern: &[u8], mut range: impl FnMut(i8, i8)) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    loop {
        match rest {
            [b'\\', member, tail @ ..] => {
                range(member.cast_signed(), member.cast_signed());
                rest = tail;
            }
            [b']', tail @ ..] => return (negated, tail),
            [] => return (negated, rest),
            [from, b'-', to, tail @ ..] => {
                let (from, to) = (from.cast_signed(), to.cast_signed());
                range(from.min(to), from.max(to));
                rest = tail;
            }
            [member, tail @ ..] => {
                range(member.cast_signed(), member.cast_signed());
                rest = tail;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_at_the_server() {
        for (pattern, subject, expected) in [
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("*", "a", true),
            ("**", "ab", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("a?", "a", false),
            ("a*b", "axxb", true),
            ("a*b*c", "abxbc", true),
            ("*a*b", "aab", true),
            ("app1:*", "app1:", true),
            ("app1:*", "app1", false),
            ("h[ae]llo", "hello", true),
            ("h[^ae]llo", "hello", false),
            ("h[c-a]llo", "hbllo", true),
            ("h[a", "ha", true),
            ("h[^", "hx", true),
            ("h[", "hx", false),
            ("h[]x", "hx", false),
            ("h[a-]", "ha", true),
            ("h[a-]x", "hx", true),
            ("h[\\]]x", "h]x", true),
            ("h\\*x", "h*x", true),
            ("h\\*x", "hax", false),
            ("h\\", "h\\", true),
            ("[a-\u{e9}]", "b", false),
        ] {
            let (p, s) = (pattern.as_bytes(), subject.as_bytes());
            assert_eq!(matches(p, s), expected, "{pattern} {subject}");
            assert_eq!(Pattern::new(p).matches(s), expected, "prepared {pattern} {subject}");
        }
    }

    #[test]
    fn stars_without_end_stay_cheap() {
        let pattern = [b"a*".repeat(200), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(20_000)));
    }

    #[test]
    fn literal_prefix_alone_covers() {
        let prefix = Pattern::new(b"app1:*");
        for inside in ["app1:*", "app1:x*y", "app1:", "app1:[a-z]", "app1:\\*", "app1:x"] {
            assert!(prefix.covers(inside.as_bytes()), "{inside}");
        }
        for outside in
            ["*", "", "a*", "app?:*", "[a]pp1:*", "\\app1:*", "app1*", "app1[:-z]*", "app2:*"]
        {
            assert!(!prefix.covers(outside.as_bytes()), "{outside}");
        }
        assert!(Pattern::new(b"app?:*").covers(b"app?:*"));
        assert!(!Pattern::new(b"app?:*").covers(b"app1:*"));
        assert!(!prefix.covers_prefix(b"app1"));
        assert!(prefix.covers_prefix(b"app1:"));
    }

    proptest::proptest! {
        /// What is covered is never wider than what covers it.
        #[test]
        fn covered_is_inside(
            outer in "[ab*?\\[\\]^\\\\-]{0,5}",
            inner in "[ab*?\\[\\]^\\\\-]{0,6}",
            subject in "[ab\\-*\\\\]{0,6}",
        ) {
            let pattern = Pattern::new(outer.as_bytes());
            let (inner, subject) = (inner.as_bytes(), subject.as_bytes());
            if pattern.covers(inner) && matches(inner, subject) {
                assert!(pattern.matches(subject));
            }
            if pattern.covers_prefix(inner) && !(inner.is_empty() && subject.is_empty()) {
                assert!(pattern.matches(&[inner, subject].concat()));
            }
            assert_eq!(pattern.matches(subject), matches(outer.as_bytes(), subject));
        }
    }
}
