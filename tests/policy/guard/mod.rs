//! Guarded scripts: every known way out, what harmless scripts answer, and where keys stand.
//!
//! Owns: `scripts.mode = "guarded"` as applications, attackers and the server see it. Never knows: how
//! the guard is written.

mod behaviour;
mod by_name;
mod calls;
mod escapes;
mod inside;
mod monitor;
mod neighbours;
mod older;
mod positions;
mod transactions;
mod trust;

use super::support::real_server::{Brand, Server};

/// The policies under which a script must stay inside: rules of the ACL, and further sections.
const POLICIES: [(&str, &str); 3] = [
    ("+@all ~* &*", "[policy.keys]\nmode = \"rewrite\"\nprefix = \"app1:\"\n"),
    ("+@all ~app1:* &app1:*", ""),
    // Each client has a connection of its own, and the server queues its transactions.
    ("+@all ~app1:* &app1:*", "[upstream.pool]\nmode = \"session\"\n"),
];

fn server(brand: Brand) -> Server {
    match brand {
        Brand::Redis => Server::mutual_tls(brand),
        // The one that the tests come by has no TLS.
        Brand::Valkey => Server::plain(brand),
    }
}
