//! `respgate test`: every check passes on a server that is right and fails on one that is wrong, and none
//! changes anything.
//!
//! Owns: the scenarios, the table of checks. Never knows: how a check is done.
#[allow(dead_code, reason = "each test uses the part it needs")]
use crate::support;
use crate::support::certs;
mod hybrid;
mod revoked;
mod unwritten;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use certs::{DAY, Lab, Pair};
use respgate::internals::security::{CHECKS, page};
use respgate::internals::tls::dev_certs::{Authority, CertRequest};
use serde_json::Value;
use support::client::{Client, Target};
use support::real_server::{free_port, note_skipped, wait_until};

/// Ends a process with its value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A redis-server in the directory of a lab, with its Unix socket for an administrator.
fn redis(lab: &Lab, arguments: &[&str]) -> Process {
    let child = Command::new("redis-server")
        .args(arguments)
        .args(["--bind", "127.0.0.1", "--save", "", "--unixsocket", "redis.sock"])
        .current_dir(lab.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    let socket = Target::Unix(lab.path("redis.sock"));
    wait_until("redis-server answers", || Client::connect(&socket).is_ok());
    process
}

fn tls_arguments<'a>(port: &'a str, pair: &'a Pair, more: &[&'a str]) -> Vec<&'a str> {
    let path = |path: &'a Path| path.to_str().unwrap();
    let mut arguments = vec!["--port", "0", "--tls-port", port, "--tls-ca-cert-file", "ca.crt"];
    arguments.extend(["--tls-cert-file", path(&pair.0), "--tls-key-file", path(&pair.1)]);
    arguments.extend(more);
    arguments
}

/// Exit code, standard output, standard error.
fn respgate(lab: &Lab, arguments: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(arguments)
        .current_dir(lab.dir.path())
        .env("PASSWORD", "word")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
}

/// respgate, serving on this port.
fn run(lab: &Lab, config: &str, port: u16) -> Process {
    let log = std::fs::File::create(lab.path("respgate.log")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_respgate"))
        .args(["run", "--config", config])
        .current_dir(lab.dir.path())
        .env("PASSWORD", "word")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let process = Process(child);
    wait_until("respgate answers", || {
        Client::connect(&Target::Tcp(port)).is_ok_and(|mut c| c.ask(&["PING"]) == b"+PONG\r\n")
    });
    process
}

fn write(lab: &Lab, name: &str, text: &str, mode: u32) {
    std::fs::write(lab.path(name), text).unwrap();
    std::fs::set_permissions(lab.path(name), PermissionsExt::from_mode(mode)).unwrap();
}

/// Results by id, as the JSON report has them.
fn results(lab: &Lab, arguments: &[&str]) -> BTreeMap<String, (String, String)> {
    let all = [&["test", "--format", "json"], arguments].concat();
    read_results(respgate(lab, &all))
}

fn read_results((code, text, error): (i32, String, String)) -> BTreeMap<String, (String, String)> {
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
    let checks = report["checks"].as_array().unwrap_or_else(|| panic!("{report:#}{error}"));
    let failed = checks.iter().any(|check| check["result"] == "fail");
    assert_eq!(code, i32::from(failed), "{report:#}");
    let word = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let row = |check: &Value| (word(check, "id"), (word(check, "result"), word(check, "detail")));
    checks.iter().map(row).collect()
}

/// A server and a configuration as they should be.
struct Good {
    lab: Lab,
    port: u16,
    _redis: Process,
    _respgate: Process,
}

const RULES: &str = "~app1:* &app1:* +acl|list +acl|dryrun";

fn good_config(upstream: u16, listen: u16) -> String {
    format!(
        "[[listener]]\naddress = \"127.0.0.1:{listen}\"\n\
         [upstream]\naddress = \"localhost:{upstream}\"\n\
         tls = {{ cert = \"client.crt\", key = \"client.key\", ca = \"ca.crt\" }}\n\
         auth = {{ username = \"app1\", password_file = \"password\" }}\n\
         [policy]\npreset = \"default\"\nacl = \"{RULES}\"\n\
         ttl = {{ on_missing = \"inject\", default = \"1h\", max = \"24h\" }}\n\
         [telemetry]\naddress = \"127.0.0.1:{}\"\n[admin]\nsocket = \"control.sock\"\n\
         [[audit.sink]]\ntype = \"file\"\npath = \"audit.log\"\n",
        free_port()
    )
}

impl Good {
    fn new() -> Self {
        let lab = Lab::new();
        let (port, listen) = (free_port(), free_port());
        write(&lab, "password", "word", 0o600);
        write(&lab, "good.toml", &good_config(port, listen), 0o600);
        let (code, rules, error) = respgate(&lab, &["acl", "--config", "good.toml"]);
        assert_eq!(code, 0, "{error}");
        let rules = rules.trim().strip_prefix("ACL SETUSER app1 on ").unwrap();
        let users = format!(
            "user default off\nuser admin on >secret ~* &* +@all\nuser app1 on >word {rules}\n"
        );
        write(&lab, "users.acl", &users, 0o600);
        let (text, pair) = (port.to_string(), lab.pair("server"));
        let redis = redis(&lab, &tls_arguments(&text, &pair, &["--aclfile", "users.acl"]));
        let respgate = run(&lab, "good.toml", listen);
        Self { lab, port, _redis: redis, _respgate: respgate }
    }

    fn administrator(&self) -> Client {
        let mut client = Client::connect(&Target::Unix(self.lab.path("redis.sock"))).unwrap();
        assert_eq!(client.ask(&["AUTH", "admin", "secret"]), b"+OK\r\n");
        client
    }
}

type Results = BTreeMap<String, (String, String)>;

/// The checks of `good` run by an administrator: what an application's user cannot request.
fn administrator(good: &Good) -> Results {
    write(&good.lab, "admin-password", "secret", 0o600);
    let config = good_config(good.port, free_port())
        .replace("\"app1\"", "\"admin\"")
        .replace("\"password\"", "\"admin-password\"");
    write(&good.lab, "admin.toml", &config, 0o600);
    results(&good.lab, &["--config", "admin.toml"])
}

/// A server without TLS and without users, and a configuration that refuses nothing.
fn open() -> Results {
    let lab = Lab::new();
    let (port, listen) = (free_port(), free_port());
    let text = port.to_string();
    let _redis = redis(&lab, &["--port", &text, "--protected-mode", "no"]);
    let config = |more: &str| {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:{listen}\"\n{more}\
             [upstream]\naddress = \"localhost:{port}\"\ninsecure_plaintext = true\n\
             [upstream.pool]\npinned_grace = \"0\"\n\
             [policy]\nacl = \"+@all ~* &*\"\nmode = \"observe\"\n\
             [telemetry]\naddress = \"off\"\nlog_level = \"error\"\n"
        )
    };
    write(&lab, "run.toml", &config(""), 0o600);
    let more = "[[listener]]\naddress = \"unix:open.sock\"\nmode = \"0666\"\n\
                [[listener]]\naddress = \"0.0.0.0:1\"\nallow_remote = true\n";
    write(&lab, "test.toml", &config(more), 0o600);
    let _respgate = run(&lab, "run.toml", listen);
    let mut observer = Client::connect(&Target::Unix(lab.path("redis.sock"))).unwrap();
    assert_eq!(observer.ask(&["SET", "kept", "value"]), b"+OK\r\n");
    let results = results(&lab, &["--config", "test.toml"]);
    // FLUSHALL and the others would have passed.
    assert_eq!(observer.ask(&["GET", "kept"]), b"$5\r\nvalue\r\n");
    assert_eq!(
        observer.ask(&["CONFIG", "GET", "maxmemory"]),
        b"*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"
    );
    results
}

/// A TLS server that takes everything, with odd certificates.
fn loose() -> Results {
    let lab = Lab::new();
    let (port, listen) = (free_port(), free_port());
    let text = port.to_string();
    let pair = lab.issue(
        "odd",
        &CertRequest {
            names: vec!["other.example".to_owned()],
            not_before: lab.now - 10 * DAY,
            not_after: lab.now + DAY,
            ..lab.server_order()
        },
    );
    let old = ["--tls-auth-clients", "no", "--tls-protocols", "TLSv1 TLSv1.1 TLSv1.2"];
    let old = [&old[..], &["--tls-ciphers", "DEFAULT@SECLEVEL=0"]].concat();
    let _redis = redis(&lab, &tls_arguments(&text, &pair, &old));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:1024", "-sha1", "-nodes", "-subj", "/CN=app"])
        .args(["-days", "3650", "-keyout", "weak.key", "-out", "weak.crt"])
        .current_dir(lab.dir.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    let key = std::fs::read_to_string(lab.path("weak.key")).unwrap();
    write(&lab, "weak.key", &key, 0o644);
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:{listen}\"\n\
         [upstream]\naddress = \"localhost:{port}\"\n\
         tls = {{ cert = \"weak.crt\", key = \"weak.key\", ca = \"ca.crt\", verify = \"ca\" }}\n\
         auth = {{ username = \"app1\", password_env = \"PASSWORD\" }}\n\
         [policy]\nacl = \"+@read +@scripting\"\nkeys = {{ prefix = \"app1\" }}\n\
         scripts = {{ mode = \"declared-keys\" }}\n\
         [policies.other]\npreset = \"cache\"\nkeys = {{ prefix = \"app1x\" }}\n"
    );
    write(&lab, "test.toml", &config, 0o600);
    results(&lab, &["--config", "test.toml"])
}

/// The checks of `good` where the system gives no watch; `None` where a process may have no user namespace.
fn unwatched(good: &Good) -> Option<Results> {
    let none = "echo 0 > /proc/sys/user/max_inotify_instances; exec \"$@\"";
    let unshare = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-r", "sh", "-ec", none, "sh"]).args(words);
        command.current_dir(good.lab.dir.path()).output().unwrap()
    };
    if !unshare(&["true"]).status.success() {
        note_skipped("a system without a watch: a process may have no user namespace here");
        return None;
    }
    let program = env!("CARGO_BIN_EXE_respgate");
    let out = unshare(&[program, "test", "--format", "json", "--config", "good.toml"]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some(read_results((out.status.code().unwrap(), text(out.stdout), text(out.stderr))))
}

/// A list of the lab's CA on which this certificate is, or none.
fn crl(lab: &Lab, name: &str, revoked: &str) -> String {
    let ca = lab.authority.issued();
    write(lab, "crl-ca.crt", &ca.cert, 0o644);
    write(lab, "crl-ca.key", &ca.key, 0o600);
    let config = "[ca]\ndefault_ca = d\n[d]\ndatabase = index.txt\ndefault_md = sha256\n";
    write(lab, "crl.cnf", config, 0o644);
    write(lab, "index.txt", "", 0o644);
    let openssl = |words: &[&str]| {
        let own = ["-config", "crl.cnf", "-cert", "crl-ca.crt", "-keyfile", "crl-ca.key"];
        let mut command = Command::new("openssl");
        let made = command.arg("ca").args(own).args(words).current_dir(lab.dir.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    if !revoked.is_empty() {
        openssl(&["-revoke", revoked]);
    }
    let file = format!("{name}.crl");
    openssl(&["-gencrl", "-crldays", "1", "-out", &file]);
    file
}

/// A client certificate that ends soon and after its CA, and a password that is not there.
fn ending(good: &Good) -> Results {
    let lab = &good.lab;
    let authority = Authority::new("short CA", lab.now, DAY / 2).unwrap();
    write(lab, "short.crt", &authority.cert(), 0o644);
    let order = CertRequest {
        not_before: lab.now - 10 * DAY,
        not_after: lab.now + DAY,
        ..lab.client_order("app")
    };
    lab.issue("ending", &order);
    let config = good_config(good.port, free_port())
        .replace("client.", "ending.")
        .replace("\"ca.crt\"", "\"short.crt\"")
        .replace("\"password\"", "\"nosuch/password\"");
    write(lab, "ending.toml", &config, 0o600);
    results(lab, &["--config", "ending.toml", "--crl", &crl(lab, "ending", "ending.crt")])
}

/// Where each check passes, and where it does not.
const PROOFS: [(&str, &str, &str); 48] = [
    ("TLS-01", "good", "open"),
    ("TLS-02", "good", "loose"),
    ("TLS-03", "good", "loose"),
    ("TLS-04", "good", "loose"),
    ("TLS-05", "good", "loose"),
    ("TLS-06", "hybrid", "good"),
    ("TLS-07", "good", "loose"),
    ("TLS-08", "good", "loose"),
    ("CERT-01", "good", "ending"),
    ("CERT-02", "good", "loose"),
    ("CERT-03", "good", "loose"),
    ("CERT-04", "good", "loose"),
    ("CERT-05", "good", "loose"),
    ("CERT-06", "good", "loose"),
    ("CERT-07", "good", "ending"),
    ("AUTH-01", "good", "open"),
    ("AUTH-02", "good", "open"),
    ("AUTH-03", "good", "open"),
    ("AUTH-04", "good", "open"),
    ("AUTH-05", "good", "loose"),
    ("ACL-01", "good", "open"),
    ("ACL-02", "good", "open"),
    ("ACL-03", "good", "open"),
    ("ACL-04", "good", "open"),
    ("ACL-05", "good", "administrator"),
    ("CMD-01", "good", "open"),
    ("CMD-02", "good", "open"),
    ("CMD-03", "good", "open"),
    ("CMD-04", "good", "loose"),
    ("NS-01", "good", "open"),
    ("NS-02", "good", "loose"),
    ("NS-03", "good", "open"),
    ("NS-04", "good", "open"),
    ("TTL-01", "good", "open"),
    ("TTL-02", "good", "open"),
    ("NET-01", "good", "open"),
    ("NET-02", "good", "open"),
    ("NET-03", "administrator", "open"),
    ("ROT-01", "good", "unwatched"),
    ("ROT-02", "good", "ending"),
    ("ROT-03", "good", "ending"),
    ("ROT-04", "good", "open"),
    ("AUDIT-01", "good", "open"),
    ("AUDIT-02", "good", "open"),
    ("AUDIT-03", "good", "open"),
    ("AUDIT-04", "good", "unwritten"),
    ("AUDIT-05", "good", "unwritten"),
    ("AUDIT-06", "good", "unwritten"),
];

#[test]
fn each_check_passes_and_fails_on_a_server_that_shows_it() {
    let good = Good::new();
    let unwatched = unwatched(&good);
    // Without namespaces of its own a process cannot be denied a watch.
    let is_shown = |scenario: &str| scenario != "unwatched" || unwatched.is_some();
    let seen: BTreeMap<&str, Results> = [
        (
            "good",
            results(&good.lab, &["--config", "good.toml", "--crl", &crl(&good.lab, "none", "")]),
        ),
        ("administrator", administrator(&good)),
        ("ending", ending(&good)),
        ("open", open()),
        ("loose", loose()),
        ("hybrid", hybrid::hybrid()),
        ("unwritten", unwritten::unwritten()),
        ("unwatched", unwatched.clone().unwrap_or_default()),
    ]
    .into();
    let mut wrong = Vec::new();
    for (id, right, bad) in &PROOFS {
        for (scenario, expected) in [(right, &["pass"][..]), (bad, &["fail", "warn"])] {
            if !is_shown(scenario) {
                continue;
            }
            match seen[scenario].get(*id) {
                Some((result, _)) if expected.contains(&result.as_str()) => {}
                other => wrong.push(format!("{id} in {scenario}: {other:?}, not {expected:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let proved: Vec<&str> = PROOFS.iter().map(|(id, ..)| *id).collect();
    let ids: Vec<&str> = CHECKS.iter().map(|check| check.id).collect();
    assert_eq!(ids, proved, "every check is proved both ways");
    // What the good server does not pass is what its OpenSSL or its user cannot do.
    let left: Vec<&String> =
        seen["good"].iter().filter(|(_, (result, _))| result != "pass").map(|(id, _)| id).collect();
    assert_eq!(left, ["NET-03", "TLS-06"], "{:#?}", seen["good"]);
}

#[test]
fn test_changes_nothing_on_the_server() {
    let good = Good::new();
    let mut administrator = good.administrator();
    assert_eq!(administrator.ask(&["SET", "app1:kept", "value"]), b"+OK\r\n");
    // The respgate that runs examines the server's Lua with three scripts.
    wait_until("respgate knows the server's Lua", || {
        administrator.ask_text(&["INFO", "commandstats"]).contains("cmdstat_eval:calls=3")
    });
    let mut watcher = good.administrator();
    assert_eq!(watcher.ask(&["MONITOR"]), b"+OK\r\n");
    write(&good.lab, "admin-password", "secret", 0o600);
    let (code, ..) = respgate(&good.lab, &["test", "--config", "good.toml"]);
    assert_eq!(code, 0);
    let config = std::fs::read_to_string(good.lab.path("good.toml")).unwrap();
    // The same with every right: nothing holds the test back but itself.
    let config =
        config.replace("\"app1\"", "\"admin\"").replace("\"password\"", "\"admin-password\"");
    write(&good.lab, "admin.toml", &config, 0o600);
    let (code, ..) = respgate(&good.lab, &["test", "--config", "admin.toml"]);
    assert_eq!(code, 1, "an administrator may do too much");
    administrator.ask(&["ECHO", "end-of-the-test"]);
    let reads = [
        "acl dryrun",
        "acl list",
        "acl whoami",
        "client setinfo",
        "client setname",
        "client info",
        "command",
        "config get",
        "dbsize",
        "echo",
        "exists",
        "hello",
        "info",
        "auth",
        "multi",
        "exec",
        "ping",
        "randomkey",
        "scan",
        "select",
        "time",
    ];
    let mut seen = Vec::new();
    loop {
        let line = String::from_utf8_lossy(&watcher.reply()).to_lowercase();
        if line.contains("end-of-the-test") {
            break;
        }
        // +1700000000.000000 [0 127.0.0.1:1] "acl" "dryrun" "app1" …
        let words: Vec<&str> = line.split('"').skip(1).step_by(2).take(2).collect();
        let line = words.join(" ");
        let known = reads.iter().any(|read| line.starts_with(read));
        assert!(known, "the test sent: {line}");
        seen.push(line);
    }
    assert!(seen.iter().any(|line| line.starts_with("ping")), "{seen:?}");
    // MONITOR shows no administrative commands; the server counts them all the same.
    let own = ["set", "get", "monitor"];
    let counted = administrator.ask_text(&["INFO", "commandstats"]);
    let mut names = Vec::new();
    for line in counted.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
        let (name, figures) = line.split_once(':').unwrap();
        let name = name.replace('|', " ");
        let known = own.contains(&name.as_str()) || reads.iter().any(|read| name.starts_with(read));
        assert!(known || figures.contains("calls=0,"), "the test sent: {line}");
        names.push(name);
    }
    assert!(names.iter().any(|name| name == "acl dryrun"), "{names:?}");
    assert!(names.iter().any(|name| name == "config get"), "{names:?}");
    assert_eq!(administrator.ask(&["GET", "app1:kept"]), b"$5\r\nvalue\r\n");
    assert_eq!(administrator.ask(&["DBSIZE"]), b":1\r\n");
}

#[test]
fn features_profiles_and_formats_choose_what_is_printed() {
    let good = Good::new();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let all = [&["redis-security", "--config", "good.toml"], arguments].concat();
        results(&good.lab, &all).into_keys().collect()
    };
    let audit: Vec<String> = (1..=6).map(|number| format!("AUDIT-0{number}")).collect();
    assert_eq!(ids(&["--feature", "audit"]), audit);
    assert_eq!(ids(&["--feature", "mtls,ttl"]), ["TLS-03", "TLS-04", "TTL-01", "TTL-02"]);
    let [daily, weekly, all] = ["daily", "weekly", "monthly"].map(|p| ids(&["--profile", p]));
    assert!(daily.len() < weekly.len() && weekly.len() < all.len());
    assert!(daily.iter().all(|id| weekly.contains(id)) && all.len() == CHECKS.len());

    let printed = |arguments: &[&str]| {
        respgate(&good.lab, &[&["test", "--config", "good.toml"], arguments].concat())
    };
    let (code, table, _) = printed(&[]);
    assert_eq!(code, 0, "{table}");
    assert!(table.starts_with("warn  TLS-06"), "{table}");
    assert!(table.contains("fix: run the server with OpenSSL 3.5"), "{table}");
    assert!(table.contains("45 passed, 0 failed, 1 warned, 2 skipped"), "{table}");
    assert_eq!(printed(&["--fail-on", "warn"]).0, 1);
    let (_, junit, _) = printed(&["--format", "junit"]);
    assert!(junit.contains("tests=\"48\" failures=\"0\" errors=\"0\" skipped=\"2\""), "{junit}");
    assert_eq!(junit.matches("<testcase ").count(), CHECKS.len());
    let (_, sarif, _) = printed(&["--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "TLS-06");
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap().len(), CHECKS.len());

    let (code, _, error) = printed(&["--feature", "nosuch"]);
    assert_eq!(code, 2, "{error}");
    let unreachable = ["test", "--upstream", "127.0.0.1:1", "--insecure-plaintext"];
    let (code, _, error) = respgate(&good.lab, &unreachable);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("respgate doctor"), "{error}");
}

#[test]
fn security_page_is_made_from_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/docs/security-test.md");
    if std::env::var_os("RESPGATE_WRITE_DOCUMENTS").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        kept == page(),
        "write it anew: RESPGATE_WRITE_DOCUMENTS=1 cargo test --test operation security::security_page"
    );
}

/// Another machine cannot reach such a server: there is nothing to ask of TLS, and everything else is asked.
#[test]
fn server_behind_a_unix_socket_is_looked_at() {
    let lab = Lab::new();
    let _redis = redis(&lab, &["--port", "0"]);
    let (listen, telemetry) = (free_port(), free_port());
    let config = format!(
        "[[listener]]\naddress = \"127.0.0.1:{listen}\"\n\
         [upstream]\naddress = \"unix:{}\"\n[policy]\npreset = \"default\"\nacl = \"{RULES}\"\n\
         [telemetry]\naddress = \"127.0.0.1:{telemetry}\"\n[admin]\nsocket = \"control.sock\"\n",
        lab.path("redis.sock").display()
    );
    write(&lab, "unix.toml", &config, 0o600);
    let _respgate = run(&lab, "unix.toml", listen);
    let results = results(&lab, &["--config", "unix.toml"]);
    let result = |id: &str| results[id].0.as_str();
    for id in ["TLS-02", "TLS-03", "TLS-04", "TLS-08"] {
        assert!(
            result(id) == "skip" && results[id].1.contains("Unix socket"),
            "{id}: {results:#?}"
        );
    }
    // No port answers in plaintext, and every process that may open the socket is served.
    assert_eq!(result("TLS-01"), "pass", "{results:#?}");
    assert_eq!(result("AUTH-01"), "fail", "{results:#?}");
    let (code, text, error) = respgate(&lab, &["doctor", "--json", "--config", "unix.toml"]);
    assert_eq!(code, 0, "{text}{error}");
    std::fs::rename(lab.path("redis.sock"), lab.path("moved.sock")).unwrap();
    let (code, _, error) = respgate(&lab, &["test", "--config", "unix.toml"]);
    assert!(code != 0 && error.contains("does not answer"), "{code}: {error}");
}
