//! Something else in the place of a file: each file that a configuration names, with everything that is no
//! certificate, no list and no password. What is in force stays, the cause names the file, and the right file is
//! taken again.
//!
//! Owns: the files, what replaces them, what is reported. Never knows: how files are read.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use respgate::internals::base::clock::now;

use super::support::certs::Lab;
use super::support::client::Target;
use super::support::proxy;
use super::support::real_server::free_port;
use super::*;

/// What is where a file should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Empty,
    Zeros,
    Directory,
    Pipe,
    Huge,
    Unreadable,
    Nothing,
    DanglingLink,
}

impl Instead {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Zeros,
        Self::Directory,
        Self::Pipe,
        Self::Huge,
        Self::Unreadable,
        Self::Nothing,
        Self::DanglingLink,
    ];

    /// One of these words is in the cause, besides the name of the file.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Empty => &["holds no", "empty", "no certificate", "no private key"],
            Self::Zeros => {
                &["NUL", "holds no", "no certificate", "no private key", "has the word user"]
            }
            Self::Directory => &["directory", "regular file"],
            Self::Pipe => &["regular file", "pipe", "not read within"],
            Self::Huge => &["larger than"],
            Self::Unreadable => &["Permission denied"],
            Self::Nothing | Self::DanglingLink => &["No such file"],
        }
    }

    fn put(self, path: &Path) {
        let beside = path.with_extension("beside");
        match self {
            Self::Empty => std::fs::write(&beside, "").unwrap(),
            Self::Zeros => std::fs::write(&beside, [0; 512]).unwrap(),
            Self::Directory => std::fs::create_dir(&beside).unwrap(),
            Self::Pipe => {
                assert!(Command::new("mkfifo").arg(&beside).status().unwrap().success());
            }
            Self::Huge => std::fs::File::create(&beside).unwrap().set_len(100 << 20).unwrap(),
            Self::Unreadable => {
                std::fs::copy(path, &beside).unwrap();
                std::fs::set_permissions(&beside, PermissionsExt::from_mode(0o000)).unwrap();
            }
            Self::Nothing => {}
            Self::DanglingLink => symlink("/nonexistent/file", &beside).unwrap(),
        }
        std::fs::remove_file(path).unwrap();
        if self != Self::Nothing {
            std::fs::rename(beside, path).unwrap();
        }
    }

    /// The right file is there again.
    fn withdraw(self, path: &Path, right: &[u8]) {
        let beside = path.with_extension("beside");
        std::fs::write(&beside, right).unwrap();
        if self == Self::Directory {
            std::fs::remove_dir(path).unwrap();
        }
        std::fs::rename(beside, path).unwrap();
    }
}

/// Each file, and the part of a reload that it belongs to.
const FILES: [(&str, &str); 10] = [
    ("up.crt", "tls_identity"),
    ("up.key", "tls_identity"),
    ("up-ca.crt", "tls_identity"),
    ("up.crl", "tls_identity"),
    ("down.crt", "tls_listener"),
    ("down.key", "tls_listener"),
    ("down-ca.crt", "tls_listener"),
    ("down.crl", "tls_listener"),
    ("password", "auth"),
    ("users.acl", "config"),
];

const USER: [&str; 7] = ["--user", "app", "on", ">hidden-secret", "~*", "&*", "+@all"];

/// A server that takes mutual TLS, and the authority of everything.
fn stage() -> (Lab, Server, u16) {
    let lab = Lab::new();
    lab.crl("list", None, "20990101000000Z");
    let (cert, key) = lab.pair("server");
    let tls_port = free_port();
    let (ca, port) = (lab.path("ca.crt"), tls_port.to_string());
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key, ca) = (text(&cert), text(&key), text(&ca));
    let arguments = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let arguments = [&arguments[..], &["--tls-ca-cert-file", &ca], &USER].concat();
    let server = Server::new(Brand::Redis, false, &arguments);
    (lab, server, tls_port)
}

/// A respgate with files of its own, and where they are.
fn start(lab: &Lab, port: u16) -> (Proxy, PathBuf) {
    let home = proxy::directory();
    let files = home.path().join("files");
    std::fs::create_dir(&files).unwrap();
    let copies = [
        ("client.crt", "up.crt"),
        ("client.key", "up.key"),
        ("ca.crt", "up-ca.crt"),
        ("list.crl", "up.crl"),
        ("server.crt", "down.crt"),
        ("server.key", "down.key"),
        ("ca.crt", "down-ca.crt"),
        ("list.crl", "down.crl"),
    ];
    for (from, to) in copies {
        std::fs::copy(lab.path(from), files.join(to)).unwrap();
    }
    std::fs::write(files.join("password"), "hidden-secret\n").unwrap();
    std::fs::write(files.join("users.acl"), "user app on >own ~* &* +@all\n").unwrap();
    let (target, telemetry) = (Target::Tcp(free_port()), free_port());
    let at = |name: &str| files.join(name);
    let listeners = format!(
        "{}{}[listener.tls]\ncert = {:?}\nkey = {:?}\nclient_ca = {:?}\ncrl = {:?}\n",
        proxy::listener(&target, ""),
        proxy::listener(&Target::Tcp(free_port()), ""),
        at("down.crt"),
        at("down.key"),
        at("down-ca.crt"),
        at("down.crl")
    );
    let text = format!(
        "{listeners}[upstream]\naddress = \"localhost:{port}\"\n\
         tls = {{ cert = {:?}, key = {:?}, ca = {:?}, crl = {:?} }}\nauth = {{ username = \"app\", password_file = {:?} }}\n\
         [users]\nacl_file = {:?}\n[policy]\nacl = \"+@all ~* &*\"\n\
         [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n[admin]\nsocket = {:?}\n",
        at("up.crt"),
        at("up.key"),
        at("up-ca.crt"),
        at("up.crl"),
        at("password"),
        at("users.acl"),
        home.path().join("admin.sock")
    );
    // As root, respgate may read what no user may, unless that is taken from it.
    let drop = ["--bounding-set=-dac_override,-dac_read_search"];
    let may = Command::new("setpriv").args(drop).arg("true").stderr(Stdio::null()).status();
    let program = env!("CARGO_BIN_EXE_respgate");
    let mut command = Command::new(program);
    if may.is_ok_and(|status| status.success()) {
        command = Command::new("setpriv");
        command.args(drop).arg(program);
    }
    (Proxy::run_by(command, home, target, telemetry, &text), files)
}

/// What `respgate status` reports of a part of the last reload: its result and the cause.
fn last(proxy: &Proxy, part: &str) -> (String, String) {
    let socket = proxy.directory().join("admin.sock");
    let output = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(["status", "--json", "--socket", socket.to_str().unwrap()])
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = status["last_reload"]["parts"].as_array().cloned().unwrap_or_default();
    let own = parts.into_iter().find(|one| one["part"] == part).unwrap_or_default();
    let text = |name: &str| own[name].as_str().unwrap_or_default().to_owned();
    (text("result"), text("cause"))
}

fn check(lab: &Lab, port: u16, (name, part): (&str, &str)) {
    let (proxy, files) = start(lab, port);
    let path = files.join(name);
    let right = std::fs::read(&path).unwrap();
    for instead in Instead::ALL {
        if instead == Instead::Empty && part == "config" {
            // A file without users.
            continue;
        }
        let what = format!("{instead:?} in the place of {name}");
        instead.put(&path);
        let is_named = |(result, cause): (String, String)| {
            let named = instead.words().iter().any(|word| cause.contains(word));
            result == "rejected" && cause.contains(name) && named
        };
        let until = now() + Duration::from_secs(20);
        while !is_named(last(&proxy, part)) {
            assert!(now() < until, "{what}: {:?}", last(&proxy, part));
            std::thread::sleep(Duration::from_millis(50));
        }
        serves(&proxy);
        instead.withdraw(&path, &right);
        wait_until(&format!("{what}: the right file is taken"), || {
            ["unchanged", "applied"].contains(&last(&proxy, part).0.as_str())
        });
    }
    serves(&proxy);
    let log = proxy.log();
    assert!(!log.contains("PRIVATE KEY") && !log.contains("hidden-secret"), "{log}");
    assert!(proxy.memory("VmHWM") < 100 << 20, "{} bytes", proxy.memory("VmHWM"));
}

#[test]
fn file_that_is_none_changes_nothing_and_is_named() {
    let (lab, server, port) = stage();
    std::thread::scope(|scope| {
        for file in FILES {
            let lab = &lab;
            scope.spawn(move || check(lab, port, file));
        }
    });
    drop(server);
}
