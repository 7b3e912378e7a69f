//! Looks for any eight bytes of a secret in a text: as they are, in hexadecimal, in decimal, in base64.
//!
//! Owns: [`Search`]. Never knows: where the text is from.

use std::collections::HashSet;

const WINDOW: usize = 8;

pub struct Search {
    windows: HashSet<Vec<u8>>,
}

impl Search {
    /// What is between the lines that begin and end a PEM block is secret, and what it decodes to.
    pub fn new(secrets: &[&[u8]]) -> Self {
        let mut windows = HashSet::new();
        for secret in secrets {
            let text = String::from_utf8_lossy(secret);
            let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
            for form in [body.clone().into_bytes(), decode(body.as_bytes())] {
                windows.extend(form.windows(WINDOW).map(<[u8]>::to_vec));
            }
        }
        Self { windows }
    }

    pub fn assert_absent(&self, text: &str, place: &str) {
        for (form, bytes) in [
            ("as it is", text.as_bytes().to_vec()),
            ("in hexadecimal", pairs(text, 0)),
            ("in hexadecimal", pairs(text, 1)),
            ("in decimal", numbers(text)),
        ] {
            self.assert_none(&bytes, text, form, place);
        }
        let base64 = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
        for run in text.split(|c| !base64(c)).filter(|run| run.len() >= 12) {
            for start in 0..4 {
                self.assert_none(&decode(&run.as_bytes()[start..]), text, "in base64", place);
            }
        }
    }

    fn assert_none(&self, bytes: &[u8], text: &str, form: &str, place: &str) {
        let found = bytes.windows(WINDOW).any(|window| self.windows.contains(window));
        assert!(!found, "{place}: a part of a secret {form}:\n{text}");
    }
}

/// The bytes behind digits in pairs, wherever they are; what is none is a byte that no secret has.
fn pairs(text: &str, from: usize) -> Vec<u8> {
    let digits = &text.as_bytes()[from.min(text.len())..];
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(u8::try_from(digit(*high)? * 16 + digit(*low)?).unwrap()),
        _ => None,
    };
    digits.chunks(2).map(|pair| byte(pair).unwrap_or(0xff)).collect()
}

/// The bytes behind numbers with commas or blanks between them.
fn numbers(text: &str) -> Vec<u8> {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// What base64 decodes to, as far as it goes.
fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.iter().map_while(digit).collect();
    let mut bytes = Vec::new();
    for four in digits.chunks_exact(4) {
        let number = four.iter().fold(0_u32, |number, digit| number << 6 | u32::from(*digit));
        bytes.extend_from_slice(&number.to_be_bytes()[1..]);
    }
    bytes
}

#[test]
fn search_finds_every_form() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n";
    let search = Search::new(&[key.as_bytes(), b"correct-horse-battery"]);
    let hidden = |text: &str| {
        let caught = std::panic::catch_unwind(|| search.assert_absent(text, "here"));
        caught.is_err()
    };
    assert!(!hidden("nothing -----BEGIN PRIVATE KEY----- here"));
    for text in [
        "x MIGHAgEAMBMG y",
        "x correct-horse",
        "636f72726563742d686f727365",
        "x 636f72726563742d68 y",
        "[99, 111, 114, 114, 101, 99, 116, 45, 104]",
        "x xY29ycmVjdC1ob3JzZQ y",
        "30818702010030130607",
    ] {
        assert!(hidden(text), "{text}");
    }
}
