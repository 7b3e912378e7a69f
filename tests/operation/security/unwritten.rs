//! An audit log that leaves out what matters, with a sink that takes nothing and a file that was changed.
//!
//! Owns: the scenario. Never knows: checks.

use super::certs::Lab;
use super::support::client::{Client, Target};
use super::support::real_server::{free_port, wait_until};
use super::{Results, redis, results, run, write};

pub fn unwritten() -> Results {
    let lab = Lab::new();
    let (port, listen) = (free_port(), free_port());
    let _redis = redis(&lab, &["--port", &port.to_string()]);
    let sink = |path: &str| {
        format!("[[audit.sink]]\ntype = \"file\"\npath = \"{path}\"\nmax_bytes = \"0\"\n")
    };
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:{listen}\"\n\
         [upstream]\naddress = \"localhost:{port}\"\ninsecure_plaintext = true\n\
         [policy]\nacl = \"+@all ~* &*\"\n\
         [telemetry]\naddress = \"off\"\n[admin]\nsocket = \"control.sock\"\n\
         [audit]\nsensitive = [\"get\"]\n{}{}",
        sink("/dev/full"),
        sink("changed.log")
    );
    write(&lab, "test.toml", &config, 0o600);
    let _respgate = run(&lab, "test.toml", listen);
    Client::connect(&Target::Tcp(listen)).unwrap().ask(&["GET", "key"]);
    let entries = || std::fs::read_to_string(lab.path("changed.log")).unwrap_or_default();
    wait_until("the entry is written", || entries().contains("\"get\""));
    std::fs::write(lab.path("changed.log"), entries().replace("\"get\"", "\"set\"")).unwrap();
    let log = || std::fs::read_to_string(lab.path("respgate.log")).unwrap_or_default();
    wait_until("the full disk is noticed", || log().contains("AUD-E001"));
    wait_until("respgate can be asked", || lab.path("control.sock").exists());
    results(&lab, &["--config", "test.toml"])
}
