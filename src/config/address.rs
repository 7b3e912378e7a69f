//! Addresses between text and types: `127.0.0.1:6379`, `unix:/path`, `rediss://user@host:port`.
//!
//! Owns: their spelling. Never knows: listening, connecting.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::error::ValueError;
use super::listener::ListenAddress;
use super::quoting::{is_telling, quoted};
use super::upstream::{HostPort, ServerEndpoint};

/// The longest path that fits a socket address (Linux: `sun_path` without its final NUL).
const UNIX_PATH_BYTES_MAX: usize = 107;
const HOST_BYTES_MAX: usize = 253;
/// The longest part of a host name between two dots.
const LABEL_BYTES_MAX: usize = 63;

/// Where the server is, and what a URL contains beyond that.
pub(super) struct ServerAddress {
    pub place: ServerEndpoint,
    pub username: Option<String>,
    /// True with `rediss`, false with `redis`, nothing without a scheme.
    pub tls: Option<bool>,
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

pub(super) fn listen(text: &str) -> Result<ListenAddress, ValueError> {
    match unix(text)? {
        Some(path) => Ok(ListenAddress::Unix(path)),
        None => socket(text).map(ListenAddress::Tcp),
    }
}

/// The path of `unix:/path`; `None`: it is another kind of address.
fn unix(text: &str) -> Result<Option<PathBuf>, ValueError> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.is_empty() || path.contains('\0') || path.len() > UNIX_PATH_BYTES_MAX {
            return Err(ValueError::new(format!("not a path of 1 to {UNIX_PATH_BYTES_MAX} bytes")));
        }
        return Ok(Some(PathBuf::from(path)));
    }
    if text.starts_with('/') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._".contains(&byte);
        let is_path = text.len() <= UNIX_PATH_BYTES_MAX && text.bytes().all(fits);
        return Err(if is_path {
            let hint = format!("write \"unix:{text}\" for a Unix socket");
            ValueError::new(format!("{} is not an address", quoted(text))).hint(hint)
        } else {
            // It may be a key: it is not repeated.
            ValueError::new("not an address").hint("write \"unix:/path\" for a Unix socket")
        });
    }
    Ok(None)
}

/// An IP address and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| {
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let hint = match port {
            Some(port) => format!("write an IP address, as in \"127.0.0.1:{port}\""),
            None => "write an IP address and a port, as in \"127.0.0.1:6379\"".to_owned(),
        };
        let what = "is not an IP address with a port";
        if may_be_repeated(text) {
            ValueError::new(format!("{} {what}", quoted(text))).hint(hint)
        } else {
            ValueError::new(format!("the value {what}")).hint(hint)
        }
    })
}

/// `host:port`, `unix:/path`, or a URL of the scheme `redis` or `rediss` with at most a user name.
pub(super) fn server(text: &str) -> Result<ServerAddress, ValueError> {
    if let Some(path) = unix(text)? {
        return Ok(ServerAddress { place: ServerEndpoint::Unix(path), username: None, tls: None });
    }
    let (tls, rest) = if let Some(rest) = text.strip_prefix("rediss://") {
        (Some(true), rest)
    } else if let Some(rest) = text.strip_prefix("redis://") {
        (Some(false), rest)
    } else if text.contains("://") {
        return Err(ValueError::new("the scheme is not one of redis and rediss"));
    } else {
        (None, text)
    };
    // The part before the @ may hold a password: no error repeats it.
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) if tls.is_some() => (Some(user), place),
        Some(_) => {
            return Err(ValueError::new("a user name needs rediss:// in front, or auth.username"));
        }
        None => (None, rest),
    };
    let username = user.map(username).transpose()?;
    let place = if tls.is_some() { place.strip_suffix('/').unwrap_or(place) } else { place };
    if place.contains(['/', '?', '#']) {
        return Err(ValueError::new("something follows the port")
            .hint("clients choose the database themselves, with SELECT"));
    }
    Ok(ServerAddress { place: ServerEndpoint::Tcp(host_port(place)?), username, tls })
}

fn username(user: &str) -> Result<String, ValueError> {
    if user.contains(':') {
        return Err(ValueError::new("a password does not belong in an address").hint(
            "put it into a file and name that with auth.password_file, or use auth.password_env",
        ));
    }
    if user.is_empty() || user.contains('%') {
        return Err(ValueError::new("not a plain user name").hint("set auth.username instead"));
    }
    Ok(user.to_owned())
}

/// Whether it looks like a host with a port or without; else it may be a key, which no error repeats.
fn may_be_repeated(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    text.bytes().all(fits) && text.split(['.', ':']).all(|label| label.len() <= LABEL_BYTES_MAX)
}

fn host_port(text: &str) -> Result<HostPort, ValueError> {
    if !may_be_repeated(text) {
        return Err(ValueError::new("no host with a port").hint(
            "write host:port; a key belongs into the file of tls.key, a password into that of \
             auth.password_file",
        ));
    }
    let wrong = |what: &str| ValueError::new(format!("{} {what}", quoted(text)));
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        let name = if is_telling(text) { text } else { "host" };
        return Err(
            wrong("has no port").hint(format!("write \"{name}:6379\", or the server's port"))
        );
    };
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        // It may be a password: it is not repeated.
        return Err(ValueError::new("no port between 1 and 65535 follows the last colon")
            .hint("write host:port; a password belongs into the file of auth.password_file"));
    }
    let port: u16 = port.parse().unwrap_or(0);
    if port == 0 {
        return Err(wrong("has no port between 1 and 65535"));
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = inner.parse().map_err(|_| wrong("holds no IPv6 address"))?;
        return Ok(HostPort { host: address.to_string(), port });
    }
    if host.contains(':') {
        // More than an IPv6 address can hold may be a user's password: it is not repeated.
        let digits = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '.';
        return Err(if host.chars().all(digits) {
            wrong("is ambiguous").hint(format!("write \"[{host}]:{port}\" for an IPv6 address"))
        } else {
            ValueError::new("there is more than one colon").hint(
                "write host:port alone; user name and password belong into auth.username and \
                 auth.password_file",
            )
        });
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(fits) {
        return Err(wrong("has no host name"));
    }
    Ok(HostPort { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_that_may_be_a_key_is_not_repeated() {
        for key in
            ["/9j4AAQSkZJRgABAQ+AAAQ==", "MC4CAQAwBQYDK2VwBCIEIO+Z/abc==", "a key with\nlines"]
        {
            for error in [listen(key).unwrap_err(), server(key).err().unwrap()] {
                assert!(!format!("{error:?}").contains(&key[..8]), "{error:?}");
            }
        }
        let path = format!("{:?}", listen("/run/redis.sock").unwrap_err());
        assert!(path.contains("unix:/run/redis.sock"), "{path}");
    }

    #[test]
    fn listen_addresses() {
        for text in ["127.0.0.1:6379", "[::1]:6379", "0.0.0.0:0", "unix:/run/a b.sock", "unix:x"] {
            assert_eq!(listen(text).unwrap().to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, hint) in [
            ("localhost:6379", Some("127.0.0.1:6379")),
            (":6380", Some("127.0.0.1:6380")),
            ("6379", Some("127.0.0.1:6379")),
            ("/run/x", Some("unix:/run/x")),
            ("unix:", None),
            (long.as_str(), None),
        ] {
            let mistake = listen(text).unwrap_err();
            assert_eq!(mistake.hint.is_some(), hint.is_some(), "{text}");
            assert!(mistake.hint.unwrap_or_default().contains(hint.unwrap_or("")), "{text}");
        }
    }

    #[test]
    fn server_addresses() {
        for (text, place, username, tls) in [
            ("redis:6380", "redis:6380", None, None),
            ("rediss://redis:6380", "redis:6380", None, Some(true)),
            (
                "rediss://app1@redis.example.com:6380/",
                "redis.example.com:6380",
                Some("app1"),
                Some(true),
            ),
            ("redis://10.0.0.1:6379", "10.0.0.1:6379", None, Some(false)),
            ("[0::1]:6379", "[::1]:6379", None, None),
            ("unix:/run/redis.sock", "unix:/run/redis.sock", None, None),
        ] {
            let server = server(text).map_err(|mistake| mistake.problem).unwrap();
            assert_eq!(server.place.to_string(), place);
            assert_eq!(server.username.as_deref(), username);
            assert_eq!(server.tls, tls);
        }
        for (text, problem) in [
            ("redis", "has no port"),
            ("unix:", "not a path"),
            ("/run/redis.sock", "not an address"),
            ("redis:", "no port between"),
            ("redis:0", "no port between"),
            ("redis:65536", "no port between"),
            (":6379", "no host"),
            ("a b:6379", "no host"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2\n", "no host with a port"),
            (&format!("hunter2{}", "M".repeat(60)), "no host with a port"),
            ("[::1]", "has no port"),
            ("::1:6379", "ambiguous"),
            ("[x]:1", "IPv6"),
            ("app@redis:1", "rediss://"),
            ("http://redis:1", "scheme"),
            ("rediss://redis:1/3", "follows the port"),
            ("rediss://u:hunter2@redis:1", "password"),
            ("rediss://u:hunter2@x@redis:1", "password"),
            ("rediss://a%3a@redis:1", "plain user name"),
        ] {
            let mistake = server(text).err().unwrap();
            assert!(mistake.problem.contains(problem), "{text}: {}", mistake.problem);
            assert!(!mistake.problem.contains("hunter2"));
        }
    }
}
