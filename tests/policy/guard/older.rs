//! The same attacks on a Redis whose Lua still has `getfenv`, `setfenv`, `newproxy` and `loadstring`: 6.2.
//!
//! Owns: that server. Never knows: the attacks, the guard.

use std::process::{Child, Command, Stdio};

use super::super::support::client::{Client, Target};
use super::super::support::proxy::{Proxy, directory, listener};
use super::super::support::real_server::{free_port, wait_until};
use super::POLICIES;
use super::escapes::{CANARY, assail, furnish};

struct Older {
    child: Child,
    port: u16,
    socket: Target,
    _directory: tempfile::TempDir,
}

impl Older {
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("RESPGATE_TEST_OLDER_REDIS") else {
            eprintln!("skipped: RESPGATE_TEST_OLDER_REDIS names no Redis 6.2");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("respgate-").tempdir().unwrap();
        let path = directory.path().join("socket");
        let port = free_port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--save", "", "--unixsocket"])
            .arg(&path)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let older = Self { child, port, socket: Target::Unix(path), _directory: directory };
        wait_until("the older server serves", || Client::connect(&older.socket).is_ok());
        Some(older)
    }

    fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }

    fn before(&self, acl: &str, sections: &str) -> Proxy {
        let (directory, target, telemetry) = (directory(), Target::Tcp(free_port()), free_port());
        let text = format!(
            "{}\n[upstream]\naddress = \"localhost:{}\"\ninsecure_plaintext = true\n\
             [policy]\nacl = {acl:?}\n[telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n{sections}",
            listener(&target, ""),
            self.port
        );
        Proxy::configured(directory, target, telemetry, &text)
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn no_script_escapes_where_lua_still_has_environments() {
    let Some(older) = Older::start() else { return };
    let (mut observer, mut plain) = (older.client(), older.client());
    furnish(&mut observer);
    // Without a guard they do escape.
    for attack in [
        "return getfenv(0).redis.call('GET','secret')",
        "return loadstring(\"return redis.call('GET','secret')\")()",
        "return setfenv(function() return redis end,{redis=redis})().call('GET','secret')",
        "return newproxy(true) and redis.call('GET','secret')",
    ] {
        let reply = plain.ask_text(&["EVAL", attack, "0"]);
        assert!(reply.contains(CANARY), "{attack}: {reply}");
    }
    for (acl, sections) in POLICIES {
        let proxy = older.before(acl, sections);
        let mut client = proxy.client();
        let own = client.ask_text(&["EVAL", "return redis.call('GET',ARGV[1])", "0", "app1:mine"]);
        assert!(own.starts_with('$'), "scripts run: {own}");
        assail(&mut client, &mut observer, sections);
    }
}
