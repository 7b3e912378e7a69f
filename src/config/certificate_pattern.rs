//! A pattern of certificates: a name that they carry, or the fingerprint of one.
//!
//! Owns: [`CertificatePattern`], its spelling. Never knows: certificates' bytes, why they are meant.

use std::fmt;
use std::str::FromStr;

use super::san::{San, SanPattern};

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// `spiffe://prod/ns/*/sa/app1`, `dns:app1.example.com` and the other spellings of [`SanPattern`], or the SHA-256 of
/// a certificate in hexadecimal, with or without `sha256:` before it and colons between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificatePattern {
    Name(SanPattern),
    /// Lower-case, without colons.
    Fingerprint(Box<str>),
}

impl CertificatePattern {
    /// Whether a certificate is meant that has these names and this fingerprint, in lower-case hexadecimal.
    #[must_use]
    pub fn fits(&self, names: &[San], fingerprint: &str) -> bool {
        match self {
            Self::Name(pattern) => names.iter().any(|name| pattern.fits(name)),
            Self::Fingerprint(wanted) => **wanted == *fingerprint,
        }
    }
}

impl FromStr for CertificatePattern {
    /// What is wrong, in words.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.strip_prefix("sha256:");
        let mut digits = named.unwrap_or(text).replace(':', "");
        digits.make_ascii_lowercase();
        if digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self::Fingerprint(digits.into()));
        }
        if named.is_some() {
            return Err("a SHA-256 has 64 hexadecimal digits, with or without colons".to_owned());
        }
        text.parse().map(Self::Name).map_err(|problem| {
            format!(
                "{problem}; write dns:app1.example.com, spiffe://DOMAIN/PATH, ip:10.0.0.1, cn:NAME, or the \
                 certificate's SHA-256 in hexadecimal"
            )
        })
    }
}

impl fmt::Display for CertificatePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(pattern) => pattern.fmt(f),
            Self::Fingerprint(digits) => write!(f, "sha256:{digits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn certificates_are_meant_by_name_or_by_fingerprint() {
        let digits = "0123456789abcdef".repeat(4);
        let colons = digits.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two));
        let colons = colons.collect::<Vec<_>>().join(":").to_uppercase();
        let names = [San::Dns("a.x".to_owned()), San::Uri("spiffe://p/ns/b".to_owned())];
        for (text, fits) in [
            (digits.as_str(), true),
            (&colons, true),
            (&format!("sha256:{digits}"), true),
            (&"0".repeat(64), false),
            ("dns:a.x", true),
            ("spiffe://p/ns/*", true),
            ("dns:b.x", false),
        ] {
            let pattern: CertificatePattern = text.parse().unwrap();
            assert_eq!(pattern.fits(&names, &digits), fits, "{text}");
            assert_eq!(pattern.to_string().parse(), Ok(pattern), "{text}");
        }
        for text in ["", "a.x", "dns:*", "sha256:12", &digits[1..], "spiffe://*/x"] {
            assert!(text.parse::<CertificatePattern>().is_err(), "{text}");
        }
    }
}
