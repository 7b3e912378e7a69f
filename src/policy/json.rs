//! Whether bytes are one JSON text (RFC 8259).
//!
//! Owns: [`is_json`]. Never knows: the meaning of the text.

use crate::base::limits;

/// Whether `text` is one JSON value in UTF-8, with blanks around it. Without recursion and without
/// memory of its own.
#[must_use]
pub(super) fn is_json(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok() && Reader { rest: text, depth: 0, objects: 0 }.read().is_some()
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
    /// The lowest bit: whether the innermost level is an object.
    objects: u128,
}

impl Reader<'_> {
    fn read(&mut self) -> Option<()> {
        loop {
            self.blanks();
            let (first, rest) = self.rest.split_first()?;
            let begins = matches!(first, b'{' | b'[');
            match first {
                b'{' | b'[' => {
                    self.rest = rest;
                    self.open(*first == b'{')?;
                    self.blanks();
                }
                b'"' => self.string()?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            if self.ends(begins)? {
                return Some(());
            }
        }
    }

    /// Behind a value, or the `begin` of an object or array: closes what closes here. `true`: the
    /// text is over; `false`: a value follows.
    fn ends(&mut self, mut begin: bool) -> Option<bool> {
        loop {
            self.blanks();
            if self.depth == 0 {
                return self.rest.is_empty().then_some(true);
            }
            let object = self.objects & 1 == 1;
            if self.takes(if object { b'}' } else { b']' }) {
                self.depth -= 1;
                self.objects >>= 1;
                begin = false;
                continue;
            }
            if !begin && !self.takes(b',') {
                return None;
            }
            if object {
                self.blanks();
                self.string()?;
                self.blanks();
                self.takes(b':').then_some(())?;
            }
            return Some(false);
        }
    }

    fn open(&mut self, object: bool) -> Option<()> {
        if self.depth == limits::JSON_DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        Some(())
    }

    fn blanks(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let rest = self.rest.split_first().filter(|(first, _)| **first == byte);
        rest.is_some_and(|(_, rest)| {
            self.rest = rest;
            true
        })
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        self.takes(b'"').then_some(())?;
        loop {
            let plain = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
            let (special, rest) = self.rest.get(plain..)?.split_first()?;
            self.rest = rest;
            match special {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let (letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        match letter {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = rest.split_at_checked(4)?;
                self.rest = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        self.takes(b'-');
        if !self.takes(b'0') {
            self.digits()?;
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _sign = self.takes(b'+') || self.takes(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = self.rest.get(count..)?;
        (count > 0).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for text in [
            "0",
            "-0.5e+10",
            " null ",
            "true",
            "\"\"",
            "\"é\\u00e9\\\"\\\\/\\n\"",
            "[]",
            "{}",
            "[[],{},[{}]]",
            "{\"a\":1,\"b\":[1,2,{\"c\":null}]}",
            "\t[ 1 , 2 ]\r\n",
            "{ \"a\" : { } }",
        ] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "nul",
            "truex",
            "NaN",
            "'a'",
            "\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[}",
            "{]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "1 2",
            "[] []",
        ] {
            assert!(!is_json(text.as_bytes()), "{text}");
        }
        assert!(!is_json(b"\"\xff\""));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(is_json(nested(128).as_bytes()));
        assert!(!is_json(nested(129).as_bytes()));
        assert!(!is_json("[".repeat(1_000_000).as_bytes()));
        assert!(is_json(["{\"a\":[".repeat(64), "]}".repeat(64)].concat().as_bytes()));
        assert!(!is_json(["{\"a\":[".repeat(64), "}]".repeat(64)].concat().as_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn json_is_judged_as_by_another_reader(text in "([\\[\\]{}:, ]|\"a\"|\"\\\\[nux\"]|1|-|0|\\.|e|true|null|\"){0,12}") {
            let other = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            proptest::prop_assert_eq!(is_json(text.as_bytes()), other);
        }
    }
}
