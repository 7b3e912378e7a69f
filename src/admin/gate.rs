//! Whether a request to the admin server may be looked at: by its Host header, its origin and its token.
//!
//! Owns: [`Gate`], [`Barred`], [`HEADER`]. Never knows: verbs, sockets, where the token is kept.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{StatusCode, Uri};

use super::verb::Effect;
use crate::base::secret::Secret;

/// A header that neither a form of a web page nor a request smuggled through another program has.
pub(crate) const HEADER: &str = "x-respgate-admin";

/// What the way of a request demands of it.
#[derive(Debug)]
pub(super) enum Gate {
    /// The mode of the socket decides which users can open it.
    Unix,
    /// Any program of this machine can connect, so it must have the token.
    Loopback(Option<Secret>),
}

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Barred {
    Host,
    Header,
    NoToken,
    WrongToken,
    TokenUnreadable,
}

impl Barred {
    #[must_use]
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Header => StatusCode::FORBIDDEN,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::TokenUnreadable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    #[must_use]
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Host => "the Host header names another machine",
            Self::Header => "the header X-Respgate-Admin: 1 is missing",
            Self::NoToken => "the header Authorization: Bearer TOKEN is missing",
            Self::WrongToken => {
                "the token is wrong; give the file that [admin] token_file names, as it is now"
            }
            Self::TokenUnreadable => {
                "respgate cannot read its [admin] token_file, or the token in it is too short; respgate check reports why"
            }
        }
    }
}

impl Gate {
    /// Whether a request with these headers passes.
    ///
    /// # Errors
    ///
    /// What is wrong with it; that of the token last, so that a page in a browser learns nothing of it.
    pub(crate) fn check(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        effect: Effect,
    ) -> Result<(), Barred> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let named = uri.authority().is_none_or(|authority| is_own(authority.as_str()));
        if hosts.next().is_some() || !host.is_some_and(is_own) || !named {
            return Err(Barred::Host);
        }
        let marked = headers.get(HEADER).is_some_and(|value| value == "1");
        if !marked && (effect == Effect::Changes || !matches!(self, Self::Unix)) {
            return Err(Barred::Header);
        }
        let Self::Loopback(token) = self else { return Ok(()) };
        let Some(token) = token else { return Err(Barred::TokenUnreadable) };
        let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let given = given.and_then(|value| value.split_at_checked(7));
        match given {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(b"bearer ") => {
                if token.matches(given) { Ok(()) } else { Err(Barred::WrongToken) }
            }
            Some(_) | None => Err(Barred::NoToken),
        }
    }
}

/// Whether a host is this one, however the port is forwarded: names that a foreign domain cannot be
/// made to look like.
fn is_own(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((ip, port)) if port.is_empty() || is_port(port) => ip,
            Some(_) | None => return false,
        },
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let ip = name.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    ip || name.eq_ignore_ascii_case("localhost") || name.eq_ignore_ascii_case("respgate")
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    fn check(gate: &Gate, effect: Effect, headers: &[(&str, &str)]) -> Result<(), Barred> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        gate.check(&Uri::from_static("/status"), &map, effect)
    }

    #[test]
    fn host_is_this_machine() {
        for (host, own) in [
            ("localhost", true),
            ("LOCALHOST:80", true),
            ("respgate", true),
            ("127.0.0.1:9466", true),
            ("127.8.9.1", true),
            ("[::1]:1", true),
            ("[::1]", true),
            ("[::1]x", false),
            ("[::1", false),
            ("", false),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("respgate.example.com:80", false),
        ] {
            let checked = check(&Gate::Unix, Effect::Shows, &[("host", host)]);
            assert_eq!(checked.is_ok(), own, "{host}");
        }
        assert_eq!(check(&Gate::Unix, Effect::Shows, &[]), Err(Barred::Host));
        let two = [("host", "localhost"), ("host", "example.com")];
        assert_eq!(check(&Gate::Unix, Effect::Shows, &two), Err(Barred::Host));
    }

    #[test]
    fn changes_need_the_header_and_tcp_needs_the_token() {
        let token = Gate::Loopback(Some(Secret::new(b"0123456789abcdef".to_vec())));
        let host = ("host", "localhost");
        let header = ("X-Respgate-Admin", "1");
        let bearer = |word| ("authorization", word);
        let good = bearer("Bearer 0123456789abcdef");
        let unix = |effect, headers: &[_]| check(&Gate::Unix, effect, headers);
        assert_eq!(unix(Effect::Shows, &[host]), Ok(()));
        assert_eq!(unix(Effect::Judges, &[host]), Ok(()));
        assert_eq!(unix(Effect::Changes, &[host]), Err(Barred::Header));
        assert_eq!(unix(Effect::Changes, &[host, header]), Ok(()));
        let tcp = |headers: &[_]| check(&token, Effect::Shows, headers);
        assert_eq!(tcp(&[host, good]), Err(Barred::Header));
        assert_eq!(tcp(&[host, header]), Err(Barred::NoToken));
        assert_eq!(tcp(&[host, header, good]), Ok(()));
        assert_eq!(tcp(&[host, header, bearer("bearer 0123456789abcdef")]), Ok(()));
        for wrong in ["Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef "] {
            let checked = tcp(&[host, header, bearer(wrong)]);
            assert_eq!(checked, Err(Barred::WrongToken), "{wrong}");
        }
        assert_eq!(tcp(&[host, header, bearer("Basic 0123456789abcdef")]), Err(Barred::NoToken));
        let lost = Gate::Loopback(None);
        let checked = check(&lost, Effect::Shows, &[host, header, good]);
        assert_eq!(checked, Err(Barred::TokenUnreadable));
    }
}
