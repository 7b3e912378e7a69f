//! What a program prints as its password: one JSON object with `password`, and perhaps `username` and
//! `expires_at`.
//!
//! Owns: [`Answer`]. Never knows: programs, clocks. Errors quote nothing: any of it may be the password.

use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use crate::base::limits;
use crate::base::secret::Secret;
use crate::base::utc::parse_utc;

#[derive(Debug)]
pub(super) struct Answer {
    pub username: Option<String>,
    pub password: Secret,
    pub expires_at: Option<SystemTime>,
}

/// What is wrong with the output.
type Fault = &'static str;

impl Answer {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader { bytes, at: 0 };
        let (mut username, mut password, mut expires_at) = (None, None, None);
        reader.require(b'{', "it is not a JSON object")?;
        if !reader.accept(b'}') {
            loop {
                let name = reader.text().ok_or("a member of the object has no name")?;
                reader.require(b':', "a member of the object has no value")?;
                match name.as_slice() {
                    b"username" => username = reader.username()?,
                    b"password" => password = Some(reader.password()?),
                    b"expires_at" => expires_at = reader.moment()?,
                    _ => reader.pass_over().ok_or("a value is not JSON")?,
                }
                if reader.accept(b'}') {
                    break;
                }
                reader.require(b',', "the object does not end")?;
            }
        }
        reader.skip_blanks();
        if reader.at < bytes.len() {
            return Err("something follows the object");
        }
        let password = password.ok_or("it has no member \"password\"")?;
        Ok(Self { username, password, expires_at })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, byte: u8, fault: Fault) -> Result<(), Fault> {
        if self.accept(byte) { Ok(()) } else { Err(fault) }
    }

    fn is_null(&mut self) -> bool {
        self.skip_blanks();
        let null = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"null"));
        self.at += if null { 4 } else { 0 };
        null
    }

    fn username(&mut self) -> Result<Option<String>, Fault> {
        if self.is_null() {
            return Ok(None);
        }
        let name = self.text().ok_or("\"username\" is not text")?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| "\"username\" is not UTF-8")?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("\"username\" is empty, or has spaces or control characters");
        }
        Ok(Some(name))
    }

    fn password(&mut self) -> Result<Secret, Fault> {
        let mut text = self.text().ok_or("\"password\" is not text")?;
        if text.is_empty() {
            return Err("\"password\" is empty");
        }
        Ok(Secret::new(std::mem::take(&mut text)))
    }

    /// Seconds since 1970, or a text in RFC 3339.
    fn moment(&mut self) -> Result<Option<SystemTime>, Fault> {
        const FAULT: Fault =
            "\"expires_at\" is neither seconds since 1970 nor a time as 2026-11-29T05:27:00Z";
        if self.is_null() {
            return Ok(None);
        }
        if self.peek() == Some(b'"') {
            let text = self.text().ok_or(FAULT)?;
            let text = str::from_utf8(&text).map_err(|_| FAULT)?;
            return parse_utc(text).map(Some).ok_or(FAULT);
        }
        let word = self.word();
        let seconds: f64 = str::from_utf8(word).ok().and_then(|n| n.parse().ok()).ok_or(FAULT)?;
        let since = Duration::try_from_secs_f64(seconds).map_err(|_| FAULT)?;
        // With milliseconds read as seconds, a password that expires soon would never be replaced before it expires.
        if since >= limits::PASSWORD_END_MAX {
            return Err(
                "\"expires_at\" is after the year 9999; it is in seconds since 1970, not in milliseconds",
            );
        }
        SystemTime::UNIX_EPOCH.checked_add(since).map(Some).ok_or(FAULT)
    }

    /// A number, or one of the words `true`, `false`, `null`.
    fn word(&mut self) -> &[u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            self.at += 1;
        }
        self.bytes.get(start..self.at).unwrap_or_default()
    }

    /// A text, without its escapes.
    fn text(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        if !self.accept(b'"') {
            return None;
        }
        let rest = self.bytes.get(self.at..)?;
        // Never shorter than the text: a buffer that grows keeps copies of a secret in freed memory.
        let mut text = Zeroizing::new(Vec::with_capacity(rest.len()));
        loop {
            match self.take()? {
                b'"' => break,
                b'\\' => self.escape(&mut text)?,
                0..0x20 => return None,
                byte => text.push(byte),
            }
        }
        str::from_utf8(&text).is_ok().then_some(text)
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let byte = match self.take()? {
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.hexadecimal()?;
                if (0xD800..0xDC00).contains(&code) {
                    let low = (self.take()? == b'\\' && self.take()? == b'u')
                        .then(|| self.hexadecimal())??;
                    let low = low.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                    code = 0x10000 + ((code - 0xD800) << 10) + low;
                }
                let mut room = [0; 4];
                text.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut room).as_bytes());
                return Some(());
            }
            _ => return None,
        };
        text.push(byte);
        Some(())
    }

    fn hexadecimal(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code << 4 | char::from(self.take()?).to_digit(16)?;
        }
        Some(code)
    }

    /// Passes over a value of any kind.
    fn pass_over(&mut self) -> Option<()> {
        let mut closers = Vec::new();
        loop {
            self.skip_blanks();
            match self.peek()? {
                b'"' => drop(self.text()?),
                b'{' | b'[' if closers.len() == limits::PASSWORD_COMMAND_JSON_DEPTH_MAX => {
                    return None;
                }
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    closers.push(if open == b'{' { b'}' } else { b']' });
                }
                close @ (b'}' | b']') => {
                    self.at += 1;
                    if closers.pop()? != close {
                        return None;
                    }
                }
                b',' | b':' if !closers.is_empty() => self.at += 1,
                _ if self.word().is_empty() => return None,
                _ => {}
            }
            if closers.is_empty() {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let long = r#" { "Version": 1, "more": {"a": [1, "}]", {}], "b": null},
            "username": "app1", "password": "a\"b\\\/\u0026\u00e4\ud83d\ude00\n",
            "expires_at": "2026-11-29T05:27:00Z", "ok": true } "#;
        let answer = Answer::read(long.as_bytes()).unwrap();
        assert_eq!(answer.username.as_deref(), Some("app1"));
        assert!(answer.password.matches("a\"b\\/&ä😀\n".as_bytes()));
        assert_eq!(answer.expires_at, parse_utc("2026-11-29T05:27:00Z"));
        for (end, seconds) in [
            ("1764393000", 1_764_393_000),
            ("1.764393e9", 1_764_393_000),
            ("253402300799", 253_402_300_799),
        ] {
            let text = format!("{{\"expires_at\":{end},\"password\":\"x\",\"username\":null}}");
            let answer = Answer::read(text.as_bytes()).unwrap();
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!((answer.expires_at, answer.username), (Some(moment), None));
        }
    }

    #[test]
    fn output_that_is_no_answer_is_refused_without_being_quoted() {
        for text in [
            "",
            "hunter2",
            "\"hunter2\"",
            "[\"password\"]",
            "{}",
            "{\"password\":\"hunter2\"",
            "{\"password\":\"hunter2\"} x",
            "{\"password\":\"hunter2\",}",
            "{\"password\":7}",
            "{\"password\":\"\"}",
            "{\"password\":\"a\nb\"}",
            "{\"password\":\"\\ud83d\"}",
            "{\"password\":\"\\ud83d\\u0041\"}",
            "{\"password\":\"\\x\"}",
            "{\"password\":\"x\",\"username\":\"\"}",
            "{\"password\":\"x\",\"username\":\"a b\"}",
            "{\"password\":\"x\",\"expires_at\":\"soon\"}",
            "{\"password\":\"x\",\"expires_at\":-1}",
            "{\"password\":\"x\",\"expires_at\":1e300}",
            "{\"password\":\"x\",\"expires_at\":1764393000000}",
            "{\"password\":\"x\",\"expires_at\":253402300800}",
            "{\"password\":\"x\",\"other\":}",
            "{\"password\":\"x\",\"other\":[}",
            "{password:\"x\"}",
        ] {
            let fault = Answer::read(text.as_bytes()).unwrap_err();
            assert!(!fault.contains("hunter2"), "{text}");
        }
        let deep = format!("{{\"password\":\"x\",\"a\":{}", "[".repeat(100_000));
        assert!(Answer::read(deep.as_bytes()).is_err());
        assert!(Answer::read(b"{\"password\":\"\xff\"}").is_err());
    }

    proptest::proptest! {
        #[test]
        fn texts_are_read_as_serde_json_reads_them(name in ".*", password in ".+") {
            let text = serde_json::json!({ "password": password, "other": [name] }).to_string();
            let answer = Answer::read(text.as_bytes()).unwrap();
            proptest::prop_assert!(answer.password.matches(password.as_bytes()));
        }

        #[test]
        fn no_output_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let _ = Answer::read(&bytes);
            let _ = Answer::read(&[b"{\"password\":\"x\",\"a\":", bytes.as_slice()].concat());
        }
    }
}
