//! Names in certificates, and the patterns of the configuration that they are compared with.
//!
//! Owns: [`San`], [`SanPattern`], their spelling. Never knows: certificates, their owners.

use std::fmt;
use std::net::IpAddr;

use super::error::ValueError;
use super::quoting::quoted;
use crate::base::limits;

/// Matches one or more characters of one part of a name.
const ANY: char = '*';

/// One name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    Dns(String),
    Ip(IpAddr),
    Uri(String),
    /// No subjectAltName: the common name of the subject.
    CommonName(String),
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Ip(address) => write!(f, "ip:{address}"),
            Self::Uri(uri) => f.write_str(uri),
            Self::CommonName(name) => write!(f, "cn:{name}"),
        }
    }
}

/// Names of one kind: `dns:*.example.com`, `ip:10.0.0.1`, `spiffe://prod/ns/*/sa/app1`, `cn:app1`. A `*`
/// matches at least one character, never the `.` between parts of a DNS name or the `/` of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SanPattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// Lower-case.
    Dns(String),
    Ip(IpAddr),
    Uri(String),
    CommonName(String),
}

impl SanPattern {
    pub(super) fn parse(text: &str) -> Result<Self, ValueError> {
        let wrong = |what: &str| {
            ValueError::new(format!("{} {what}", quoted(text))).hint(
                "write dns:app1.example.com, spiffe://DOMAIN/PATH or another URI, ip:10.0.0.1 or cn:NAME; \
                 * matches one part of a DNS name or of a URI's path",
            )
        };
        let plain = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
        if text.len() > limits::NAME_PATTERN_BYTES_MAX {
            return Err(ValueError::new("longer than any name of a certificate"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let host = rest.split('/').next().unwrap_or_default();
            let letters = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
            if !plain(text) || scheme.is_empty() || !scheme.bytes().all(letters) {
                return Err(wrong("is not a URI"));
            }
            if host.is_empty() || host == "*" {
                return Err(wrong("names no host or trust domain, so any could be meant"));
            }
            return Ok(Self(Kind::Uri(text.to_owned())));
        }
        let Some((kind, name)) = text.split_once(':') else {
            return Err(wrong("does not show which kind of name it is"));
        };
        match kind {
            "dns" if plain(name) && !name.contains(['/', ':']) => {
                if name.split('.').all(|part| part == "*") {
                    return Err(wrong("would be every name"));
                }
                Ok(Self(Kind::Dns(name.to_ascii_lowercase())))
            }
            "ip" => match name.parse::<IpAddr>() {
                Ok(address) => Ok(Self(Kind::Ip(address.to_canonical()))),
                Err(_) => Err(wrong("is not an IP address")),
            },
            "cn" if name.contains(ANY) => {
                Err(wrong("has a *, and common names are compared whole"))
            }
            "cn" if !name.is_empty() && !name.contains(char::is_control) => {
                Ok(Self(Kind::CommonName(name.to_owned())))
            }
            _ => Err(wrong("is not a name of a certificate")),
        }
    }

    /// Whether `name` is one of those meant.
    #[must_use]
    pub fn fits(&self, name: &San) -> bool {
        match (&self.0, name) {
            (Kind::Dns(pattern), San::Dns(name)) => {
                matches(pattern, &name.to_ascii_lowercase(), '.')
            }
            (Kind::Uri(pattern), San::Uri(name)) => matches(pattern, name, '/'),
            (Kind::Ip(wanted), San::Ip(address)) => *wanted == address.to_canonical(),
            (Kind::CommonName(wanted), San::CommonName(name)) => wanted == name,
            _ => false,
        }
    }
}

impl std::str::FromStr for SanPattern {
    /// What is wrong, in words.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|error| error.problem)
    }
}

impl fmt::Display for SanPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Dns(name) => write!(f, "dns:{name}"),
            Kind::Ip(address) => write!(f, "ip:{address}"),
            Kind::Uri(uri) => f.write_str(uri),
            Kind::CommonName(name) => write!(f, "cn:{name}"),
        }
    }
}

/// Part by part: there are as many, and each `*` covers at least one character of its part.
fn matches(pattern: &str, name: &str, between: char) -> bool {
    let (mut patterns, mut names) = (pattern.split(between), name.split(between));
    loop {
        match (patterns.next(), names.next()) {
            (None, None) => return true,
            (Some(pattern), Some(part)) if part_matches(pattern.as_bytes(), part.as_bytes()) => {}
            _ => return false,
        }
    }
}

/// Goes back to the last `*` only: never more steps than the product of both lengths.
fn part_matches(pattern: &[u8], part: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while let Some(byte) = part.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n + 1));
                (p, n) = (p + 1, n + 1);
            }
            Some(own) if own == byte => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((after, covered)) if covered < part.len() => {
                    star = Some((after, covered + 1));
                    (p, n) = (after, covered + 1);
                }
                _ => return false,
            },
        }
    }
    p == pattern.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> SanPattern {
        SanPattern::parse(text).map_err(|mistake| mistake.problem).unwrap()
    }

    #[test]
    fn patterns_fit_names_part_by_part() {
        let dns = |name: &str| San::Dns(name.to_owned());
        let uri = |name: &str| San::Uri(name.to_owned());
        let cn = |name: &str| San::CommonName(name.to_owned());
        let ip = |name: &str| San::Ip(name.parse().unwrap());
        for (text, name, fits) in [
            ("dns:app1.example.com", dns("APP1.example.com"), true),
            ("dns:App1.example.com", dns("app1.example.com"), true),
            ("dns:app1.example.com", dns("app2.example.com"), false),
            ("dns:app1.example.com", cn("app1.example.com"), false),
            ("dns:*.example.com", dns("a.example.com"), true),
            ("dns:*.example.com", dns("a.b.example.com"), false),
            ("dns:*.example.com", dns("example.com"), false),
            ("dns:*.example.com", dns(".example.com"), false),
            ("dns:app-*.example.com", dns("app-1.example.com"), true),
            ("dns:app-*.example.com", dns("app-.example.com"), false),
            ("dns:app*a.x", dns("appaa.x"), true),
            ("dns:app*a.x", dns("appbaca.x"), true),
            ("dns:app*a.x", dns("appbacb.x"), false),
            ("dns:*a*.x", dns("aab.x"), true),
            ("dns:*a*.x", dns("ab.x"), false),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://prod/ns/a/sa/app1"), true),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://prod/ns/a/b/sa/app1"), false),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://prod/ns//sa/app1"), false),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://prod/ns/a/sa/app1/more"), false),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://Prod/ns/a/sa/app1"), false),
            ("spiffe://prod/ns/*/sa/app1", uri("spiffe://prod.evil/ns/a/sa/app1"), false),
            ("ip:10.0.0.1", ip("10.0.0.1"), true),
            ("ip:10.0.0.1", ip("::ffff:10.0.0.1"), true),
            ("ip:10.0.0.1", ip("10.0.0.2"), false),
            ("cn:app one", cn("app one"), true),
            ("cn:app", cn("App"), false),
        ] {
            assert_eq!(pattern(text).fits(&name), fits, "{text} {name}");
            assert!(
                matches!(SanPattern::parse(&pattern(text).to_string()), Ok(again) if again == pattern(text))
            );
        }
    }

    #[test]
    fn patterns_that_mean_everything_or_nothing_are_mistakes() {
        for text in [
            "",
            "app1",
            "dns:",
            "dns:*",
            "dns:*.*",
            "dns:a b",
            "dns:https://x",
            "ip:10.0.0.0/8",
            "ip:*",
            "cn:",
            "cn:*",
            "spiffe:prod",
            "spiffe://",
            "spiffe://*/a",
            "*://prod/a",
            "email:a@b",
        ] {
            assert!(SanPattern::parse(text).is_err(), "{text}");
        }
    }
}
