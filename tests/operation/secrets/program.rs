//! What a program of `upstream.auth.password_command` prints is repeated nowhere when it fails.
//!
//! Owns: programs that fail after they have printed a secret. Never knows: how a program is run.

use super::support::client::Target;
use super::support::proxy::{self, Proxy};
use super::support::real_server::free_port;
use super::*;

/// Each writes SECRET to its standard error before.
const PROGRAMS: &[(&str, &str)] = &[
    ("an exit status", "echo SECRET; exit 3"),
    ("a signal", "echo SECRET; kill -9 $$"),
    ("no JSON", "echo SECRET"),
    ("a text", "echo '\"SECRET\"'"),
    ("another member", "echo '{\"token\":\"SECRET\"}'"),
    ("a member of that name", "echo '{\"SECRET\":7,\"password\":}'"),
    ("no end", "echo '{\"password\":\"SECRET\"'"),
    ("a line break", "printf '{\"password\":\"SECRET\\nSECRET\"}'"),
    ("a user of two words", "echo '{\"username\":\"a SECRET\",\"password\":\"SECRET\"}'"),
    ("no time", "echo '{\"password\":\"SECRET\",\"expires_at\":\"SECRET\"}'"),
    ("a time that is over", "echo '{\"password\":\"SECRET\",\"expires_at\":1}'"),
    ("another after it", "echo '{\"password\":\"SECRET\"} SECRET'"),
    ("too much", "while echo SECRETSECRETSECRETSECRETSECRETSECRETSECRETSECRET; do :; done"),
    ("too slow", "echo SECRET; sleep 30"),
    ("one that the server refuses", "echo '{\"password\":\"x-SECRET\"}'"),
];

/// The configuration with a program, and the file whose commands this program runs.
fn configure(stage: &Stage, port: u16, telemetry: u16) -> String {
    let program = stage.path("program");
    stage.write("program", "#!/bin/sh\n. \"$1\"\n");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let old = format!("password_file = {:?}", stage.path("password"));
    let new = format!(
        "password_command = [{program:?}, {:?}], password_command_timeout = \"500ms\"",
        stage.path("commands")
    );
    let whole = stage.configuration(port, telemetry);
    let audit = format!("[[audit.sink]]\ntype = \"file\"\npath = {:?}\n", stage.path("audit.log"));
    assert!(whole.contains(&old));
    whole.replace(&old, &new) + &audit
}

fn commands(stage: &Stage, text: &str) {
    stage.write("commands", format!("echo SECRET >&2\n{text}\n").replace("SECRET", PASSWORD));
}

#[test]
fn output_of_a_failing_program_is_not_repeated_at_check_and_start() {
    let parts = PROGRAMS.len().div_ceil(8);
    std::thread::scope(|scope| {
        for part in PROGRAMS.chunks(parts) {
            scope.spawn(move || {
                let stage = Stage::new();
                stage.write("respgate.toml", configure(&stage, free_port(), free_port()));
                for (what, text) in part {
                    commands(&stage, text);
                    for words in [
                        &["check", "--connect"][..],
                        &["check", "--connect", "--json"],
                        &["run"],
                        &["doctor", "-v"],
                    ] {
                        let words = [words, &["--config", "respgate.toml"]].concat();
                        let text = printed(stage.home.path(), &words, &[]);
                        assert!(!text.is_empty(), "{what}, {words:?}");
                        stage.search().assert_absent(&text, &format!("{what}, {words:?}"));
                    }
                }
            });
        }
    });
}

#[test]
fn output_of_a_failing_program_is_not_repeated_at_reload() {
    let stage = Stage::new();
    let (port, telemetry) = (free_port(), free_port());
    let configuration = configure(&stage, port, telemetry);
    commands(&stage, "echo '{\"password\":\"SECRET\"}'");
    let directory = proxy::directory();
    let proxy = Proxy::configured(directory, Target::Tcp(port), telemetry, &configuration);
    let socket = stage.path("admin.sock");
    let ask = |words: &[&str]| {
        let words = [words, &["--socket", socket.to_str().unwrap()]].concat();
        let text = printed(stage.home.path(), &words, &[]);
        stage.search().assert_absent(&text, &format!("{words:?}"));
        text
    };
    for (what, text) in PROGRAMS {
        commands(&stage, text);
        let text = ask(&["reload", "--json"]);
        assert!(text.contains("rejected"), "{what}: {text}");
    }
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["metrics"],
        &["metrics", "--json"],
        &["logs", "recent"],
        &["audit", "recent"],
        &["audit", "recent", "--json"],
    ] {
        assert!(!ask(words).is_empty(), "{words:?}");
    }
    let log = proxy.log();
    for code in 2..=6 {
        assert!(log.contains(&format!("CRD-E00{code}")), "{code}: {log}");
    }
    let audit = std::fs::read_to_string(stage.path("audit.log")).unwrap();
    assert!(audit.contains("\"reload\""), "{audit}");
    for (text, place) in [(log, "the log"), (audit, "the audit log")] {
        stage.search().assert_absent(&text, place);
    }
}
