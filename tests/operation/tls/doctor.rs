//! `doctor`: every fault of its page, shown by a server or a file that has it.
//!
//! Owns: the cases, the comparison with the page. Never knows: how a fault is found.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use respgate::internals::doctor::{codes, page};
use respgate::internals::tls::dev_certs::{Authority, CertRequest};

use super::certs::DAY;
use super::{Lab, Pair, Server};
use crate::support::real_server::{free_port, note_skipped};

/// Faults that no server or file shows whenever it is asked, and where they are shown instead.
const ELSEWHERE: [(&str, &str); 14] = [
    ("TLS-E002", "src/tls/files.rs"),
    ("TLS-E004", "tests/operation/tls/files.rs"),
    ("TLS-E008", "tests/operation/tls/files.rs"),
    ("TLS-E010", "tests/operation/tls/files.rs"),
    ("TLS-E018", "src/tls/identity.rs"),
    ("TLS-E113", "src/tls/explain.rs"),
    ("TLS-E115", "src/tls/explain.rs"),
    ("TLS-E116", "src/tls/explain.rs"),
    ("TLS-E117", "src/tls/explain.rs"),
    ("TLS-E118", "src/tls/explain.rs"),
    ("UPS-E103", "src/upstream/failure.rs"),
    ("UPS-E104", "src/upstream/failure.rs"),
    ("UPS-E105", "src/upstream/failure.rs"),
    ("UPS-E122", "tests/operation/tls/login.rs; doctor selects no database"),
];

/// What a case leaves running, and the flags for doctor.
struct Case {
    flags: Vec<String>,
    /// Run as this user of the system.
    uid: Option<u32>,
    variables: Vec<(&'static str, String)>,
    /// Run in namespaces of its own (flags of unshare), after commands of a shell; doctor is "$@".
    inside: Option<(&'static str, String)>,
    _alive: Vec<Box<dyn Any + Send>>,
}

impl Case {
    fn new(flags: &str) -> Self {
        let flags = flags.split(' ').filter(|flag| !flag.is_empty()).map(str::to_owned).collect();
        Self { flags, uid: None, variables: Vec::new(), inside: None, _alive: Vec::new() }
    }

    fn alive(mut self, what: impl Any + Send) -> Self {
        self._alive.push(Box::new(what));
        self
    }

    fn run(&self, lab: &Lab) -> (i32, serde_json::Value) {
        let program = env!("CARGO_BIN_EXE_respgate");
        let mut command = match &self.inside {
            None => Command::new(program),
            Some((namespaces, script)) => {
                let mut command = Command::new("unshare");
                command.args([*namespaces, "sh", "-ec", script, "sh", program]);
                command
            }
        };
        command.args(["doctor", "--json"]).args(&self.flags).current_dir(lab.dir.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("RESPGATE__UPSTREAM__POOL__CONNECT_TIMEOUT", "1500ms");
        if let Some(uid) = self.uid {
            command.uid(uid);
        }
        let out = command.output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let error = String::from_utf8_lossy(&out.stderr).into_owned();
        let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
        (out.status.code().unwrap(), value)
    }
}

const HELLO: &str = "*10\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:2\r\n\
     $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
const TLS: &str = "--cert client.crt --key client.key --ca ca.crt";

/// A server with this certificate, and flags that fit it.
fn secure(lab: &Lab, pair: &Pair, more: &[&str]) -> Case {
    let server = Server::tls(lab, pair, more);
    Case::new(&format!("--upstream localhost:{} {TLS}", server.port)).alive(server)
}

fn plain(lab: &Lab, more: &[&str]) -> Case {
    let server = Server::plain(lab, more);
    Case::new(&format!("--upstream localhost:{} --insecure-plaintext", server.port)).alive(server)
}

/// Files alone: nothing is listened to.
fn files(flags: &str) -> Case {
    Case::new(&format!("--upstream localhost:1 {flags}"))
}

/// Something that listens and does with each connection what a test wants.
fn fake(serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = std::sync::Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = std::sync::Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Answers every command by its first words; `None`: sends nothing.
fn answering(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Case {
    let port = fake(move |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            for command in text.split('*').skip(1) {
                let words: Vec<&str> =
                    command.split("\r\n").skip(2).step_by(2).filter(|w| !w.is_empty()).collect();
                if let Some(bytes) = answer(&words.join(" ")) {
                    let _ = stream.write_all(bytes.as_bytes());
                }
            }
        }
    });
    Case::new(&format!("--upstream 127.0.0.1:{port} --insecure-plaintext"))
}

fn always(line: &'static str) -> Case {
    answering(move |_| Some(format!("{line}\r\n")))
}

/// A server that accepts the login and answers no request: it sends nothing, or closes the connection.
fn after_login(hangs_up: bool) -> Case {
    let port = fake(move |mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            // respgate's own commands have letters of both cases.
            let text = String::from_utf8_lossy(&buffer[..count]).to_uppercase();
            if !text.contains("HELLO") {
                if hangs_up {
                    return;
                }
                continue;
            }
            for command in text.split('*').skip(1) {
                let answer = match () {
                    () if command.contains("HELLO") => HELLO,
                    () if command.contains("PING") => "+PONG\r\n",
                    () => "-NOPERM no\r\n",
                };
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    Case::new(&format!("--upstream 127.0.0.1:{port} --insecure-plaintext"))
}

/// The name of the server is looked up at a DNS server that does not answer.
fn silent_dns(lab: &Lab) -> Case {
    std::fs::write(lab.path("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:9\n").unwrap();
    let python = "import socket, subprocess, sys; s = socket.socket(2, 2); \
                  s.bind((\"127.0.0.1\", 53)); sys.exit(subprocess.call(sys.argv[1:]))";
    let script = format!(
        "ip link set lo up; mount --bind resolv.conf /etc/resolv.conf; exec python3 -c '{python}' \"$@\""
    );
    let case = Case::new("--upstream redis.example.com:6379 --insecure-plaintext");
    Case { inside: Some(("-rmn", script)), ..case }
}

fn odd_server(lab: &Lab, order: &CertRequest) -> Case {
    let pair = lab.issue("odd", order);
    secure(lab, &pair, &[])
}

fn with_password(lab: &Lab, mut case: Case, word: &str) -> Case {
    std::fs::write(lab.path("password"), word).unwrap();
    std::fs::set_permissions(lab.path("password"), PermissionsExt::from_mode(0o600)).unwrap();
    case.flags.extend(["--password-file".to_owned(), "password".to_owned()]);
    case
}

fn of_files(lab: &Lab) -> Vec<(&'static str, Case)> {
    let client = |name: &str, change: &dyn Fn(&mut CertRequest)| {
        let mut order = lab.client_order("app");
        change(&mut order);
        lab.issue(name, &order);
        files(&format!("--cert {name}.crt --key {name}.key --ca ca.crt"))
    };
    std::fs::write(lab.path("note"), "none").unwrap();
    std::fs::write(lab.path("torn.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let encrypt = Command::new("openssl")
        .args(["pkey", "-in", "client.key", "-aes256", "-passout", "pass:x", "-out", "locked.key"])
        .current_dir(lab.dir.path())
        .status();
    assert!(encrypt.unwrap().success());
    let mut closed = files(TLS);
    closed.uid = Some(65_534);
    let mut system = files("--ca system");
    system.variables = vec![
        ("SSL_CERT_FILE", "/nonexistent".to_owned()),
        ("SSL_CERT_DIR", "/nonexistent".to_owned()),
    ];
    vec![
        ("TLS-E001", files("--cert nosuch.crt --key client.key --ca ca.crt")),
        ("TLS-E001", closed),
        ("TLS-E003", files("--cert note --key client.key --ca ca.crt")),
        ("TLS-E005", files("--cert client.key --key client.crt --ca ca.crt")),
        ("TLS-E006", files("--cert client.crt --key locked.key --ca ca.crt")),
        ("TLS-E007", files("--cert torn.crt --key client.key --ca ca.crt")),
        ("TLS-E009", files("--cert client.crt --key server.key --ca ca.crt")),
        ("TLS-E011", client("old", &|order| order.not_after = order.not_before)),
        ("TLS-E012", client("new", &|order| order.not_before = order.not_after - DAY / 2)),
        ("TLS-E014", files("--cert server.crt --key server.key --ca ca.crt")),
        ("TLS-E019", system),
        ("FIL-E001", files("--insecure-plaintext --password-file nosuch/password")),
    ]
}

fn of_handshakes(lab: &Lab) -> Vec<(&'static str, Case)> {
    let server = lab.server_order();
    let stranger = Authority::new("another CA", lab.now, DAY).unwrap();
    let foreign = stranger.issue(&server).unwrap().write(lab.dir.path(), "foreign").unwrap();
    stranger.issue(&lab.client_order("x")).unwrap().write(lab.dir.path(), "stranger").unwrap();
    let good = lab.pair("server");
    let with = |flags: &str, server: Server| {
        Case::new(&format!("--upstream localhost:{} {flags}", server.port)).alive(server)
    };
    let v1 = lab.issue_version_1("v1");
    let plain = Server::plain(lab, &[]);
    let late =
        CertRequest { not_before: lab.now - 2 * DAY, not_after: lab.now - DAY, ..server.clone() };
    let early = CertRequest { not_before: lab.now + DAY / 2, ..server.clone() };
    let closing = fake(drop);
    let garbling = fake(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(&[0x16, 3, 3, 0, 8, 2, 0, 0, 4, 1, 2, 3, 4]);
        let _ = stream.read(&mut [0; 4096]);
    });
    let silent = fake(|mut stream| while matches!(stream.read(&mut [0; 64]), Ok(1..)) {});
    let old = ["--tls-protocols", "TLSv1.1", "--tls-ciphers", "DEFAULT@SECLEVEL=0"];
    vec![
        ("TLS-E101", odd_server(lab, &late)),
        ("TLS-E102", odd_server(lab, &early)),
        ("TLS-E103", secure(lab, &foreign, &[])),
        (
            "TLS-E104",
            with(&format!("{TLS} --server-name other.example"), Server::tls(lab, &good, &[])),
        ),
        ("TLS-E105", odd_server(lab, &CertRequest { names: vec![], ..server.clone() })),
        ("TLS-E106", secure(lab, &v1, &[])),
        ("TLS-E107", odd_server(lab, &CertRequest { as_authority: true, ..server.clone() })),
        (
            "TLS-E108",
            odd_server(
                lab,
                &CertRequest { role: respgate::internals::tls::dev_certs::Role::Client, ..server },
            ),
        ),
        ("TLS-E111", with(TLS, plain)),
        ("TLS-E112", secure(lab, &good, &old)),
        (
            "TLS-E114",
            with(
                "--cert stranger.crt --key stranger.key --ca ca.crt",
                Server::tls(lab, &good, &[]),
            ),
        ),
        ("TLS-E119", Case::new(&format!("--upstream localhost:{closing} {TLS}"))),
        ("TLS-E120", Case::new(&format!("--upstream localhost:{garbling} {TLS}"))),
        ("TLS-E121", with("--ca ca.crt", Server::tls(lab, &good, &[]))),
        ("UPS-E108", Case::new(&format!("--upstream localhost:{silent} {TLS}"))),
    ]
}

/// A port whose queue of connections is full: what connects waits.
fn crowded() -> Case {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let short = Duration::from_millis(100);
    let waiting: Vec<_> =
        (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, short)).collect();
    let port = address.port();
    Case::new(&format!("--upstream 127.0.0.1:{port} --insecure-plaintext")).alive((socket, waiting))
}

fn of_logins(lab: &Lab) -> Vec<(&'static str, Case)> {
    let (dead, no) = (free_port().to_string(), "no");
    let down = ["--replicaof", "127.0.0.1", &dead, "--replica-serve-stale-data", no];
    let full = plain(lab, &["--maxclients", "1"]);
    let port: u16 = full.flags[1].rsplit(':').next().unwrap().parse().unwrap();
    let held = loop {
        // The connection that waited for the server's start may still be counted.
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = stream.write_all(b"PING\r\n");
        let mut first = [0; 1];
        if stream.read_exact(&mut first).is_ok() && first == *b"+" {
            break stream;
        }
    };
    let secure_server = Server::tls(lab, &lab.pair("server"), &[]);
    let wants_tls =
        Case::new(&format!("--upstream localhost:{} --insecure-plaintext", secure_server.port));
    let closing = fake(|mut stream| drop(stream.read(&mut [0; 64])));
    vec![
        ("UPS-E101", Case::new("--upstream nosuch.invalid:6379 --insecure-plaintext")),
        ("UPS-E102", Case::new(&format!("--upstream 127.0.0.1:{dead} --insecure-plaintext"))),
        ("UPS-E106", silent_dns(lab)),
        ("UPS-E107", crowded()),
        ("UPS-E109", answering(|_| None)),
        ("UPS-E110", after_login(false)),
        ("UPS-E111", with_password(lab, plain(lab, &["--requirepass", "right"]), "wrong-word")),
        ("UPS-E112", plain(lab, &["--requirepass", "right"])),
        ("UPS-E113", with_password(lab, always("-NOPERM no"), "wrong-word")),
        ("UPS-E114", with_password(lab, always("-ERR Client sent AUTH"), "wrong-word")),
        ("UPS-E115", always("-LOADING Redis is loading the dataset in memory")),
        ("UPS-E116", plain(lab, &down)),
        ("UPS-E117", always("-DENIED Redis is running in protected mode")),
        ("UPS-E118", full.alive(held)),
        ("UPS-E119", wants_tls.alive(secure_server)),
        ("UPS-E120", always("HTTP/1.1 400 Bad Request")),
        ("UPS-E121", always("-NOPROTO unsupported protocol version")),
        ("UPS-E123", Case::new(&format!("--upstream 127.0.0.1:{closing} --insecure-plaintext"))),
        ("UPS-E124", after_login(true)),
        ("UPS-E129", always("-CLUSTERDOWN The cluster is down")),
        ("UPS-E130", always("-IDONTKNOW wrong-word")),
    ]
}

fn of_warnings(lab: &Lab) -> Vec<(&'static str, Case)> {
    let ending = |order: CertRequest| CertRequest {
        not_before: lab.now - 10 * DAY,
        not_after: lab.now + DAY,
        ..order
    };
    lab.issue("ending", &ending(lab.client_order("app")));
    let good = std::sync::Arc::new(Server::tls(lab, &lab.pair("server"), &[]));
    let upstream = format!("--upstream localhost:{}", good.port);
    let old = Case::new(&format!("{upstream} --cert ending.crt --key ending.key --ca ca.crt"));
    let open = lab.pair("client");
    std::fs::copy(&open.1, lab.path("open.key")).unwrap();
    std::fs::set_permissions(lab.path("open.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let readable = Case::new(&format!("{upstream} --cert client.crt --key open.key --ca ca.crt"));
    // Files may be read, their directory may not: no watch can be set.
    let hidden = lab.path("hidden");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::copy(lab.path("ca.crt"), hidden.join("ca.crt")).unwrap();
    for (path, mode) in [(lab.dir.path(), 0o755), (&hidden, 0o711)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let server = Server::tls(lab, &lab.pair("server"), &["--tls-auth-clients", "no"]);
    let flags = format!("--upstream localhost:{} --ca hidden/ca.crt", server.port);
    let mut unwatched = Case::new(&flags).alive(server);
    unwatched.uid = Some(65_534);
    let clock = answering(|line| {
        Some(match line.split(' ').next().unwrap_or_default() {
            "HELLO" => HELLO.to_owned(),
            "TIME" => "*2\r\n$9\r\n978307200\r\n$1\r\n0\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            _ => "-NOPERM no\r\n".to_owned(),
        })
    });
    let dead = free_port().to_string();
    let besides = {
        let mut case = plain(lab, &[]);
        case.flags.extend(["--prefix".to_owned(), "app1:".to_owned()]);
        case
    };
    // As a volume with subPath is mounted.
    let mount = "mount --bind client.key client.key; exec \"$@\"".to_owned();
    let case = secure(lab, &lab.pair("server"), &[]);
    let mounted = Case { inside: Some(("-rm", mount)), ..case };
    let missing = with_user(lab, "on >word ~app1:* &app1:* -@all +get +acl");
    let unknown = with_user(lab, "on >word ~* +@all -acl");
    vec![
        ("TLS-W001", old.alive(std::sync::Arc::clone(&good))),
        ("TLS-W002", odd_server(lab, &ending(lab.server_order()))),
        ("TLS-W003", plain(lab, &[])),
        ("FIL-W001", readable.alive(good)),
        ("FIL-W002", unwatched),
        ("FIL-W003", mounted),
        ("UPS-W001", clock),
        ("UPS-W002", plain(lab, &["--replicaof", "127.0.0.1", &dead])),
        ("UPS-W003", missing),
        ("UPS-W004", besides),
        ("UPS-W005", unknown),
    ]
}

/// A server whose user app has these rules, and a login as that user.
fn with_user(lab: &Lab, rules: &str) -> Case {
    let mut options = vec!["--user", "app"];
    options.extend(rules.split(' '));
    let mut case = with_password(lab, plain(lab, &options), "word");
    case.flags.extend(["--username", "app", "--prefix", "app1:"].map(str::to_owned));
    case
}

/// Runs doctor and looks for a step with this code, a cause and a fix.
fn check(lab: &Lab, cases: Vec<(&'static str, Case)>) -> BTreeSet<&'static str> {
    let (mut shown, mut wrong) = (BTreeSet::new(), Vec::new());
    for (code, case) in cases {
        let alone = case.inside.is_some() && !may_unshare();
        if alone || (case.uid.is_some() && !is_root()) {
            let lacks = if alone { "namespaces of its own" } else { "the rights of root" };
            note_skipped(&format!("doctor and {code}: the test needs {lacks}"));
            continue;
        }
        let (status, report) = case.run(lab);
        let steps = report["steps"].as_array().unwrap();
        let Some(step) = steps.iter().find(|step| step["code"] == code) else {
            wrong.push(format!("{code} is not in {report:#}"));
            continue;
        };
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        assert!(!text("what").is_empty() && !text("fix").is_empty(), "{step:#}");
        let failed = code.contains("-E");
        // What is not to be compared is neither well nor wrong.
        let expected = if failed { &["fail"][..] } else { &["warn", "skipped"] };
        let right = expected.contains(&&*text("result")) && status == if failed { 3 } else { 0 };
        if !right || report.to_string().contains("wrong-word") {
            wrong.push(format!("{code}, exit code {status}: {report:#}"));
        }
        shown.insert(code);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    shown
}

/// Whether this machine lets a process have namespaces of its own.
fn may_unshare() -> bool {
    Command::new("unshare").args(["-rmn", "true"]).output().is_ok_and(|out| out.status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.starts_with(b"0\n"))
}

#[test]
fn each_fault_is_found_with_its_code() {
    // A directory that other users can enter; its keys are closed to them all the same.
    let lab = Lab::new();
    std::fs::set_permissions(lab.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut shown = BTreeSet::new();
    let cases = [of_files(&lab), of_handshakes(&lab), of_logins(&lab), of_warnings(&lab)];
    let mut parts: [Vec<_>; 6] = std::array::from_fn(|_| Vec::new());
    for (number, case) in cases.into_iter().flatten().enumerate() {
        parts[number % 6].push(case);
    }
    // Beside each other, as most of them wait.
    std::thread::scope(|scope| {
        for codes in parts.map(|cases| scope.spawn(|| check(&lab, cases))) {
            shown.extend(codes.join().unwrap());
        }
    });
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, _)| *code).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let others = [
        "tests/operation/tls/files.rs",
        "tests/operation/tls/handshake.rs",
        "tests/operation/tls/inspect.rs",
        "tests/operation/tls/login.rs",
        "tests/operation/listener_tls/handshake.rs",
        "tests/operation/listener_tls/recheck.rs",
        "src/tls/refusal.rs",
        "tests/operation/tls/verification.rs",
        "tests/operation/listener_tls/revocation.rs",
    ];
    let others = others.map(|name| std::fs::read_to_string(root.join(name)).unwrap()).concat();
    let missing: Vec<&str> = codes()
        .into_iter()
        .filter(|code| !shown.contains(code) && !elsewhere.contains(code) && !others.contains(code))
        .collect();
    let all = is_root() && may_unshare();
    assert!(missing.is_empty() || !all, "shown nowhere: {missing:?}");
    let twice: Vec<&&str> = elsewhere.intersection(&shown).collect();
    assert!(twice.is_empty(), "shown here: {twice:?}");
}

#[test]
fn server_is_connected_to_although_files_are_wrong() {
    let lab = Lab::new();
    let wrong = "--cert client.crt --key server.key --ca ca.crt";
    let server = Server::tls(&lab, &lab.pair("server"), &[]);
    let closed = free_port();
    for (port, connect) in [(server.port, "ok"), (closed, "fail")] {
        let case = Case::new(&format!("--upstream localhost:{port} {wrong}"));
        let (code, report) = case.run(&lab);
        let steps = report["steps"].as_array().unwrap();
        let result = |name| {
            let step = steps.iter().find(|step| step["step"] == name).unwrap();
            step["result"].as_str().unwrap().to_owned()
        };
        assert_eq!(code, 3, "{report:#}");
        let results = ["identity", "resolve", "connect", "tls", "login"].map(result);
        assert_eq!(results, ["fail", "ok", connect, "skipped", "skipped"], "{report:#}");
    }
}

#[test]
fn recipe_of_the_servers_certificate_is_named() {
    let lab = Lab::new();
    let v1 = lab.issue_version_1("v1");
    let none = lab.issue("odd", &CertRequest { names: vec![], ..lab.server_order() });
    for (pair, code, recipe) in
        [(&v1, "TLS-E106", "version-1-certificate"), (&none, "TLS-E105", "common-name-only")]
    {
        let (_, report) = secure(&lab, pair, &[]).run(&lab);
        let steps = report["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["code"] == code).unwrap();
        assert!(step["what"].as_str().unwrap().contains(recipe), "{step:#}");
        assert!(step["fix"].as_str().unwrap().contains("certs dev"), "{step:#}");
    }
    // openssl req -x509: one certificate as CA and server.
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=redis -addext subjectAltName=DNS:localhost -keyout ss.key -out ss.crt".split(' '))
        .current_dir(lab.dir.path())
        .output();
    assert!(made.unwrap().status.success());
    let server = Server::tls(&lab, &lab.pair("ss"), &["--tls-auth-clients", "no"]);
    let case = Case::new(&format!("--upstream localhost:{} --ca ss.crt", server.port));
    let (code, report) = case.run(&lab);
    assert_eq!(code, 3, "{report:#}");
    assert!(report.to_string().contains("ca-as-leaf"), "{report:#}");
}

#[test]
fn troubleshooting_page_is_made_from_the_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/troubleshooting.md");
    if std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page(),
        "write it anew: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation tls::troubleshooting_page"
    );
}

#[test]
fn server_that_is_well_has_no_problem() {
    let lab = Lab::new();
    let case = secure(&lab, &lab.pair("server"), &[]);
    let (code, report) = case.run(&lab);
    assert_eq!((code, &report["usable"]), (0, &true.into()), "{report:#}");
    let steps = report["steps"].as_array().unwrap();
    for name in [
        "file",
        "watch",
        "identity",
        "resolve",
        "connect",
        "tls",
        "login",
        "certificate",
        "ping",
        "clock",
        "role",
    ] {
        let step = steps.iter().find(|step| step["step"] == name).unwrap();
        assert_eq!(step["result"], "ok", "{step:#}");
    }
}
