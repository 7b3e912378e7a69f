//! What clients receive, and what they do not, when the server or the network misbehaves.
//!
//! Owns: the list of its parts and what they share. Never knows: how a fault is made.

use crate::support;
mod addresses;
mod broken;
mod death;
mod degraded;
mod listening;
mod misplaced;
mod outage;
mod pinned;
mod recovery;
mod silence;
mod stalled;
mod types;
mod unreachable;
mod unsent;

use std::time::Duration;

use support::client::{Client, Got, PATIENCE, Target};
use support::fake_server::FakeServer;
use support::proxy::Proxy;
use support::real_server::{free_port, wait_until};

/// The reply to a command of which it is unknown whether it was executed.
const UNKNOWN: &str =
    "-ERR respgate: upstream connection lost, outcome unknown; the command may have been executed";
const LATE: &str =
    "-ERR respgate: no reply within upstream.pool.command_timeout; the command may still run";

/// Lines of `[upstream.retry]` for a short backoff.
const QUICK: &str = "initial = \"5ms\"\nmax = \"20ms\"\n";

/// Long enough for whatever would come anyway to have come.
const QUIET: Duration = Duration::from_millis(60);

/// respgate before a fake server, with `on_outage = "error"`; `pool` and `retry` are lines of these
/// sections.
fn before(server: &FakeServer, pool: &str, retry: &str) -> Proxy {
    let retry = format!("{QUICK}{retry}");
    with_outage(server, "on_outage = \"error\"\noutage_wait = \"1s\"", pool, &retry)
}

/// The same, as it is by default: an outage closes connections. `outage` is lines of `[upstream]`.
fn with_outage(server: &FakeServer, outage: &str, pool: &str, retry: &str) -> Proxy {
    at_port(server.port, outage, pool, retry)
}

fn at_port(server: u16, outage: &str, pool: &str, retry: &str) -> Proxy {
    let directory = tempfile::Builder::new().prefix("respgate-").tempdir().unwrap();
    let (port, telemetry) = (free_port(), free_port());
    let configuration = format!(
        "[[listener]]\naddress = \"127.0.0.1:{port}\"\n\n\
         [upstream]\naddress = \"127.0.0.1:{server}\"\ninsecure_plaintext = true\n{outage}\n\n\
         [upstream.pool]\nmin_idle = 0\n{pool}\n\n[upstream.retry]\n{retry}\n\n\
         [policy]\nacl = \"+@all ~* &*\"\n\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n"
    );
    Proxy::configured(directory, Target::Tcp(port), telemetry, &configuration)
}

/// Begins where respgate knows that the server takes MULTI: it has sent a transaction of its own.
fn client_that_transacts(proxy: &Proxy) -> Client {
    let mut client = proxy.client();
    assert_eq!(client.ask_text(&["MULTI"]), "+OK");
    assert_eq!(client.ask_text(&["DISCARD"]), "+OK");
    client
}

/// Closes every connection of the server, and waits until respgate has noticed it.
fn close_noticed(server: &FakeServer, proxy: &Proxy) {
    let lost = || proxy.sum("respgate_upstream_disconnects_total");
    let before = lost();
    server.close_all();
    wait_until("the loss is noticed", || lost() > before);
}

/// Nothing more comes, and the connection stays.
fn stays_silent(client: &mut Client) {
    assert_eq!(client.next(QUIET), Got::Silence);
}

fn ends(client: &mut Client) {
    match client.next(PATIENCE) {
        Got::End => {}
        other @ (Got::Reply(_) | Got::Silence) => {
            panic!("the connection should have ended: {other:?}")
        }
    }
}

/// The next reply as a line.
fn line(client: &mut Client) -> String {
    String::from_utf8_lossy(&client.reply()).trim_end().to_owned()
}
