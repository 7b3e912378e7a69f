//! Nothing of a secret is written anywhere, in whatever way the file that holds it is damaged.
//!
//! Owns: keys, passwords, tokens, users' files and configurations damaged in many ways, and the search
//! through all that is written. Never knows: the texts themselves.
use crate::support;
mod damage;
mod memory;
mod misplaced;
mod outputs;
mod program;
mod search;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use damage::{KEYS, PASSWORDS, USERS};
use search::Search;
use support::client::Target;
use support::proxy::{self, Proxy};
use support::real_server::{Brand, Server, free_port, wait_until};

const PASSWORD: &str = "correct-horse-battery-staple-9431";

/// A server, and a directory with everything that a configuration names, whole.
struct Stage {
    server: Server,
    home: tempfile::TempDir,
    key: String,
}

impl Stage {
    fn new() -> Self {
        let server = Server::mutual_tls(Brand::Redis);
        let own = format!(">{PASSWORD}");
        server.observer().ask(&["ACL", "SETUSER", "app", "on", &own, "~*", "&*", "+@all"]);
        let home = proxy::directory();
        let pki = server.pki.as_ref().unwrap();
        for name in ["tls.crt", "tls.key", "ca.crt"] {
            std::fs::copy(pki.client(name), home.path().join(name)).unwrap();
        }
        let key = std::fs::read_to_string(home.path().join("tls.key")).unwrap();
        let stage = Self { server, home, key };
        stage.write("password", PASSWORD);
        stage.write("users.acl", format!("user u on >{PASSWORD} ~* +get\n"));
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Beside, and renamed: what watches the directory sees one change.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path("next"), text).unwrap();
        std::fs::rename(self.path("next"), self.path(name)).unwrap();
    }

    fn configuration(&self, port: u16, telemetry: u16) -> String {
        let [cert, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|name| self.path(name));
        format!(
            "[[listener]]\naddress = \"127.0.0.1:{port}\"\nauth = \"users\"\n\
             [users]\nacl_file = {:?}\n\
             [upstream]\naddress = \"localhost:{}\"\n\
             tls = {{ cert = {cert:?}, key = {key:?}, ca = {ca:?} }}\n\
             auth = {{ username = \"app\", password_file = {:?} }}\n\
             [policy]\nacl = \"+@all ~* &*\"\n[admin]\nsocket = {:?}\n\
             [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\nlog_level = \"trace\"\n",
            self.path("users.acl"),
            self.server.port,
            self.path("password"),
            self.path("admin.sock"),
        )
    }

    fn search(&self) -> Search {
        Search::new(&[self.key.as_bytes(), PASSWORD.as_bytes()])
    }
}

/// Everything that one run of the program writes.
fn printed(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("timeout");
    command.args(["5", env!("CARGO_BIN_EXE_respgate")]).args(arguments).current_dir(directory);
    let out = command.env_clear().env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
    let out = out.output().unwrap();
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// Asserts that the program refuses to run, and that its output has no secret.
fn refused(stage: &Stage, what: &str) {
    let configuration = stage.configuration(free_port(), free_port());
    stage.write("respgate.toml", configuration);
    for verb in ["check", "run"] {
        let text = printed(stage.home.path(), &[verb, "--config", "respgate.toml"], &[]);
        assert!(!text.contains("serving") && !text.contains("no problems"), "{what}: {text}");
        stage.search().assert_absent(&text, &format!("{what}, {verb}"));
    }
}

#[test]
fn damaged_key_is_not_repeated_at_check_and_start() {
    let stage = Stage::new();
    for (what, damage) in KEYS {
        stage.write("tls.key", damage(&stage.key));
        refused(&stage, what);
    }
    stage.write("tls.key", &stage.key);
    let certificate = std::fs::read_to_string(stage.path("tls.crt")).unwrap();
    for (what, damage) in KEYS {
        // A key where a certificate or an authority should be, damaged on top of that.
        for name in ["tls.crt", "ca.crt"] {
            let whole = std::fs::read(stage.path(name)).unwrap();
            stage.write(name, damage(&stage.key));
            refused(&stage, &format!("{name} {what}"));
            stage.write(name, whole);
        }
    }
    assert_eq!(std::fs::read_to_string(stage.path("tls.crt")).unwrap(), certificate);
}

#[test]
fn damaged_password_or_user_is_not_repeated_at_check_and_start() {
    let stage = Stage::new();
    for (what, text) in USERS {
        stage.write("users.acl", text.replace("SECRET", PASSWORD));
        refused(&stage, what);
    }
    std::fs::remove_file(stage.path("users.acl")).unwrap();
    symlink(format!("/dev/null/{}", stage.path("none").display()), stage.path("users.acl"))
        .unwrap();
    refused(&stage, "users nowhere");
}

/// Reading a pipe would wait for a writer.
#[test]
fn pipe_is_not_waited_for() {
    let stage = Stage::new();
    stage.write("respgate.toml", stage.configuration(free_port(), free_port()));
    for name in ["password", "users.acl", "tls.key"] {
        let whole = std::fs::read(stage.path(name)).unwrap();
        std::fs::remove_file(stage.path(name)).unwrap();
        assert!(Command::new("mkfifo").arg(stage.path(name)).status().unwrap().success());
        for verb in ["check", "run"] {
            let text = printed(stage.home.path(), &[verb, "--config", "respgate.toml"], &[]);
            assert!(text.contains("not a regular file"), "{name}, {verb}: {text}");
        }
        stage.write(name, whole);
    }
}

/// The configuration may come from a pipe, as a shell makes one, but nothing waits for a writer that does not come.
#[test]
fn configuration_from_a_pipe_is_read_or_given_up() {
    let stage = Stage::new();
    let text = stage.configuration(free_port(), free_port());
    stage.write("respgate.toml", &text);
    assert!(Command::new("mkfifo").arg(stage.path("pipe")).status().unwrap().success());
    for verb in ["check", "run"] {
        let text = printed(stage.home.path(), &[verb, "--config", "pipe"], &[]);
        assert!(text.contains("pipe: not read within 3 s"), "{verb}: {text}");
    }
    let (to, written) = (stage.path("pipe"), text);
    let writer = std::thread::spawn(move || std::fs::write(to, written).unwrap());
    let text = printed(stage.home.path(), &["check", "--config", "pipe"], &[]);
    assert!(text.contains("no problems"), "{text}");
    writer.join().unwrap();
}

/// A reload that cannot read its files goes on with those in force, and delays nothing: no client, no exit.
#[test]
fn reload_that_reads_a_pipe_holds_nothing_up() {
    let server = Server::mutual_tls(Brand::Redis);
    let configured = || Proxy::before(&server, "[drain]\nquiet = \"50ms\"\n");
    let (mut proxy, mut other) = (configured(), configured());
    let mut client = proxy.client();
    let file = proxy.configuration_file();
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    proxy.hang_up();
    assert_eq!(client.ask(&["SET", "k", "v"]), b"+OK\r\n");
    proxy.await_log(&["REL-E001", "not read within"]);
    assert_eq!(client.ask(&["GET", "k"]), b"$1\r\nv\r\n");
    drop(client);
    proxy.hang_up();
    let exit = |proxy: &mut Proxy| {
        let begin = respgate::internals::base::clock::now();
        assert!(proxy.terminate().success());
        begin.elapsed()
    };
    // A machine that is slow delays both; the pipe is given up after three seconds.
    let (reads_nothing, reads) = std::thread::scope(|scope| {
        let reads = scope.spawn(|| exit(&mut proxy));
        (exit(&mut other), reads.join().unwrap())
    });
    assert!(reads < reads_nothing + Duration::from_millis(2500), "{reads:?}, {reads_nothing:?}");
}

/// Each file is reported once, with what repairs it, and again only when it has changed.
#[test]
fn secret_that_others_may_read_is_reported() {
    let stage = Stage::new();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(stage.path(name), PermissionsExt::from_mode(mode)).unwrap();
    };
    let (port, telemetry) = (free_port(), free_port());
    let text = stage.configuration(port, telemetry);
    for (name, bits) in [("tls.key", 0o604), ("password", 0o440), ("users.acl", 0o644)] {
        mode(name, bits);
    }
    stage.write("respgate.toml", &text);
    let shown = printed(stage.home.path(), &["check", "--config", "respgate.toml"], &[]);
    let path = |name: &str| stage.path(name).display().to_string();
    let lines = |text: &str| text.lines().filter(|line| line.contains("FIL-W001")).count();
    let key = format!(
        "upstream.tls.key {0} has mode 0604: every user can read it; chmod 0600 {0}",
        path("tls.key")
    );
    let users = format!(
        "users.acl_file {0} has mode 0644: every user can read it; chmod 0640 {0}",
        path("users.acl")
    );
    assert!(shown.contains(&key) && shown.contains(&users), "{shown}");
    assert_eq!(lines(&shown), 2, "{shown}");
    let home = proxy::directory();
    let proxy = Proxy::configured(home, Target::Tcp(port), telemetry, &text);
    wait_until("both are reported", || lines(&proxy.log()) == 2);
    proxy.await_log(&["FIL-W001", "chmod 0600", "tls.key"]);
    // Another reload reports nothing of the same, but what is open now.
    mode("tls.key", 0o600);
    mode("password", 0o444);
    proxy.hang_up();
    proxy.await_log(&["FIL-W001", "upstream.auth.password_file", "chmod 0440"]);
    mode("tls.key", 0o606);
    proxy.hang_up();
    proxy.await_log(&["FIL-W001", "has mode 0606"]);
    assert_eq!(lines(&proxy.log()), 4, "{}", proxy.log());
}

/// The server refuses these passwords; everything that respgate prints about it is searched.
#[test]
fn wrong_password_is_not_repeated() {
    let stage = Stage::new();
    for (what, damage) in PASSWORDS {
        stage.write("password", damage(PASSWORD));
        let configuration = stage.configuration(free_port(), free_port());
        stage.write("respgate.toml", configuration);
        for arguments in [
            &["check", "--config", "respgate.toml"][..],
            &["acl", "--diff", "--config", "respgate.toml"],
        ] {
            let text = printed(stage.home.path(), arguments, &[]);
            stage.search().assert_absent(&text, &format!("{what}, {arguments:?}"));
        }
    }
}

#[test]
fn secret_in_the_configuration_or_a_variable_is_not_repeated() {
    let stage = Stage::new();
    let whole = stage.configuration(free_port(), free_port());
    for (what, old, new) in damage::INLINE {
        let new = new.replace("SECRET", PASSWORD).replace("KEY", &stage.key);
        let changed = whole.replace(old, &new);
        assert_ne!(changed, whole, "{what}");
        stage.write("respgate.toml", changed);
        for verb in ["check", "run"] {
            let text = printed(stage.home.path(), &[verb, "--config", "respgate.toml"], &[]);
            assert!(!text.contains("no problems") && !text.contains("serving"), "{what}: {text}");
            stage.search().assert_absent(&text, what);
        }
    }
    stage.write("respgate.toml", whole);
    for name in damage::VARIABLES {
        let colon = format!("app:{PASSWORD}");
        for value in [&colon, &stage.key, &stage.key.replace('\n', " "), PASSWORD] {
            // A server or a file may have such a name.
            let names = ["KEY", "CERT", "CA", "ACL_FILE", "SOCKET", "ADDRESS"];
            let is_name = names.iter().any(|end| name.ends_with(end));
            if is_name && (value == PASSWORD || value == colon && !name.ends_with("ADDRESS")) {
                continue;
            }
            let text = printed(
                stage.home.path(),
                &["check", "--config", "respgate.toml"],
                &[(name, value)],
            );
            stage.search().assert_absent(&text, name);
        }
    }
    let address = format!("rediss://app:{PASSWORD}@localhost:1");
    for arguments in [
        &["run", "--upstream", &address][..],
        &[
            "run",
            "--upstream",
            "h:1",
            "--key",
            &stage.key,
            "--cert",
            &stage.key,
            "--ca",
            &stage.key,
        ],
        &["run", "--upstream", "h:1", "--ca", "a", "--password-file", PASSWORD],
        &["run", "--upstream", "h:1", "--ca", "a", "--password-env", PASSWORD],
    ] {
        let text = printed(stage.home.path(), arguments, &[]);
        stage.search().assert_absent(&text, "a flag");
    }
}

/// Each change is waited for by the count of reloads: a third of them in each of three processes.
#[test]
fn damaged_file_is_not_repeated_at_reload() {
    let [keys, passwords, users] =
        [KEYS.len(), PASSWORDS.len(), USERS.len()].map(|all| all.div_ceil(3));
    let parts = KEYS.chunks(keys).zip(PASSWORDS.chunks(passwords)).zip(USERS.chunks(users));
    assert_eq!(parts.len(), 3);
    std::thread::scope(|scope| {
        for ((keys, passwords), users) in parts {
            scope.spawn(move || reload(keys, passwords, users));
        }
    });
}

fn reload(keys: &[damage::Damage], passwords: &[damage::Damage], users: &[(&str, &str)]) {
    let stage = Stage::new();
    let (port, telemetry) = (free_port(), free_port());
    let configuration = stage.configuration(port, telemetry);
    let directory = proxy::directory();
    let proxy = Proxy::configured(directory, Target::Tcp(port), telemetry, &configuration);
    let attempts = |what: &str| {
        ["applied", "unchanged", "rejected"]
            .iter()
            .map(|result| {
                let series = "respgate_reload_attempts_total";
                proxy.metric(&format!("{series}{{what={what:?},result={result:?}}}"))
            })
            .sum::<f64>()
    };
    let change = |name: &str, text: &[u8]| {
        let before = attempts("auth");
        stage.write(name, text);
        wait_until("the change is looked at", || attempts("auth") > before);
    };
    for (_, damage) in keys {
        change("tls.key", damage(&stage.key).as_ref());
    }
    change("tls.key", stage.key.as_bytes());
    for (_, damage) in passwords {
        change("password", damage(PASSWORD).as_ref());
    }
    change("password", PASSWORD.as_bytes());
    for (_, text) in users {
        change("users.acl", text.replace("SECRET", PASSWORD).as_bytes());
    }
    let log = proxy.log();
    assert!(log.contains("reload rejected"), "{log}");
    let socket = stage.path("admin.sock");
    let learned = printed(stage.home.path(), &["learn", "--socket", socket.to_str().unwrap()], &[]);
    for (text, place) in
        [(log, "the log"), (proxy.get("/metrics").1, "metrics"), (learned, "learn")]
    {
        stage.search().assert_absent(&text, place);
    }
}
