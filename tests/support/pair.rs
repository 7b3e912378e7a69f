//! Two servers of one version: one asked straight, one asked through respgate.
//!
//! Owns: [`Pair`]. Never knows: what is compared.

use super::client::{Client, Target};
use super::proxy::{OPEN_POLICY, Proxy};
use super::real_server::{Brand, Server};

/// Both sides of a comparison.
#[derive(Debug)]
pub struct Pair {
    pub straight: Server,
    pub behind: Server,
    /// Keys have a prefix behind respgate.
    pub has_prefix: bool,
    proxy: Option<Proxy>,
    version: String,
}

/// How respgate is connected to its client and its server.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// TCP, shared connections.
    Shared,
    /// Unix socket, shared connections.
    Unix,
    /// TCP, one upstream connection for each session.
    Session,
    /// TCP, shared connections, and a prefix before every key and channel.
    Prefixed,
}

/// The prefix of [`Shape::Prefixed`], with characters that mean something in patterns.
pub const PREFIX_TEXT: &str = "a[1]?:";

/// Configuration with it.
pub const PREFIX: &str = "[policy.keys]\nmode = \"rewrite\"\nprefix = \"a[1]?:\"\nflushdb = true\ndbsize = true\n\
     [policy.scripts]\nmode = \"declared-keys\"\n";

/// Everything, and by name what reaches more than the keys under the prefix.
const PREFIXED_RULES: &str = "+@all ~* &* +config +pubsub +script +function +lastsave +latency +memory \
     +client|pause +client|unpause +slowlog +acl +module +failover";

impl Pair {
    /// With `RESPGATE_TEST_STRAIGHT` set both sides are asked straight: what differs then is the
    /// servers' own doing and belongs into the written list.
    pub fn new(brand: Brand, tls: bool, shape: Shape) -> Self {
        Self::with_rules(brand, tls, shape, OPEN_POLICY)
    }

    /// With these rules, where there is no prefix.
    pub fn with_rules(brand: Brand, tls: bool, shape: Shape, rules: &str) -> Self {
        let straight_only = std::env::var_os("RESPGATE_TEST_STRAIGHT").is_some();
        let straight = Server::plain(brand);
        let behind = Server::new(brand, tls && !straight_only, &[]);
        let proxy = (!straight_only).then(|| match shape {
            Shape::Shared => Proxy::with_policy(&behind, rules, ""),
            Shape::Unix => Proxy::on_unix_socket(&behind, ""),
            Shape::Prefixed => Proxy::with_policy(&behind, PREFIXED_RULES, PREFIX),
            Shape::Session => {
                Proxy::with_policy(&behind, rules, "[upstream.pool]\nmode = \"session\"\n")
            }
        });
        let text = straight.observer().ask_text(&["INFO", "server"]);
        let mark = format!("{}_version:", brand.name());
        let number = text.lines().find_map(|line| line.strip_prefix(&mark)).unwrap_or("?");
        let version = format!("{} {}, {shape:?}", brand.name(), number.trim());
        let has_prefix = !straight_only && matches!(shape, Shape::Prefixed);
        Self { straight, behind, has_prefix, proxy, version }
    }

    pub fn brand(&self) -> Brand {
        self.straight.brand
    }

    /// For messages: brand, version, shape.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn through(&self) -> Target {
        self.proxy.as_ref().map_or_else(|| self.behind.target(), |proxy| proxy.target().clone())
    }

    /// A client of each side: straight, through.
    pub fn clients(&self) -> (Client, Client) {
        let straight = Client::connect(&self.straight.target()).unwrap();
        (straight, Client::connect(&self.through()).unwrap())
    }

    /// Empties both servers of data, scripts and functions.
    pub fn reset(&self) {
        for server in [&self.straight, &self.behind] {
            let mut observer = server.observer();
            for words in [&["FLUSHALL"][..], &["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]] {
                assert_eq!(observer.ask(words), b"+OK\r\n");
            }
        }
    }
}
