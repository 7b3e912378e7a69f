//! Two applications with the same names and different prefixes share one server and never meet.
//!
//! Owns: [`app`], what both parts share. Never knows: how a name is rewritten.
use crate::support;
mod apart;
mod key_scan;
mod messages;

use support::proxy::Proxy;
use support::real_server::Server;

/// A respgate for the application whose names begin with `prefix` on the server; `keys` is further
/// TOML of `[policy.keys]` and what follows it.
fn app(server: &Server, prefix: &str, keys: &str) -> Proxy {
    let keys = format!("[policy.keys]\nmode = \"rewrite\"\nprefix = {prefix:?}\n{keys}\n");
    Proxy::before(server, &keys)
}

const KEY_SCANS: &str = "flushdb = true\ndbsize = true";

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
