//! From start to exit: what a process answers while its server is away, while it drains, and what it
//! reports to the programs that watch it.
//!
//! Owns: the life of the process as seen from outside. Never knows: how it is assembled.
use crate::support;
mod faults;
mod process;
mod sandbox;
mod sessions;
mod systemd;

use support::client::{Client, Got, PATIENCE, encode, show};
use support::proxy::Proxy;
use support::real_server::{Brand, Server, signal};

/// Sends the bytes in one write and compares everything that comes back.
fn exchange(client: &mut Client, sent: &[u8], expected: &[u8]) {
    client.send_raw(sent);
    let got = client.bytes(expected.len(), PATIENCE);
    assert!(got == expected, "{}\n  instead of\n{}", show(&got), show(expected));
}
