//! Values that are right alone and wrong together, or beyond what there is.

use super::*;

#[test]
fn listeners() {
    check(
        "[[listener]]\naddress = \"127.0.0.1:6379\"",
        &["f:7:11: listener.1.address: another listener has this address"],
    );
    check("[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"", &[]);
    check(
        "[[listener]]\naddress = \"[::1]:6379\"\n[[listener]]\naddress = \"[::ffff:127.0.0.1]:1\"",
        &[],
    );
    check(
        "[[listener]]\naddress = \"10.0.0.1:6379\"",
        &["f:7:11: listener.1.address: other machines could connect"],
    );
    check(
        "[[listener]]\naddress = \"[::]:6379\"",
        &["f:7:11: listener.1.address: other machines could connect"],
    );
    check(
        "[[listener]]\naddress = \"127.0.0.1:1\"\nmode = \"0600\"",
        &["f:8:8: listener.1.mode: only a Unix socket has it"],
    );
    check(
        "[[listener]]\naddress = \"unix:x\"\nmode = \"0999\"",
        &["f:8:8: listener.1.mode: not permission bits"],
    );
    check(
        "[[listener]]\naddress = \"unix:x\"\nmode = 660",
        &["f:8:8: listener.1.mode: not permission bits"],
    );
    check(
        "[[listener]]\naddress = \"unix:x\"\nauth = \"off\"\npassword_env = \"X\"",
        &["f:8:8: listener.1.auth: contradicts the password"],
    );
    check(
        "[[listener]]\naddress = \"unix:x\"\npassword_file = \"x\"\npassword_env = \"X\"",
        &["f:9:16: listener.1.password_env: there are two sources of one password"],
    );
}

#[test]
fn secrets_and_names() {
    check(
        "[upstream.auth]\npassword_env = \"hunter-2\"",
        &["f:7:16: upstream.auth.password_env: not the name of an environment variable"],
    );
    check(
        "[upstream.auth]\nusername = \"a b\"",
        &["f:7:12: upstream.auth.username: a user name has no spaces and no control characters"],
    );
    check(
        "[upstream.auth]\npassword = \"hunter2\"",
        &["f:7:1: upstream.auth.password: a password does not belong in a configuration"],
    );
}

#[test]
fn pool_and_retry() {
    check(
        "[upstream.pool]\nmin_idle = 20",
        &["f:7:12: upstream.pool.min_idle: min_idle is 20, more than max_idle, which is 16"],
    );
    check(
        "[upstream.pool]\nmax_idle = 0",
        &["f:7:12: upstream.pool.max_idle: min_idle is 1, more than max_idle, which is 0"],
    );
    check(
        "[upstream.pool]\nmin_idle = 5\nmax_connections = 4",
        &["f:7:12: upstream.pool.min_idle: min_idle is 5, more than max_connections, which is 4"],
    );
    check("[upstream.pool]\nmax_connections = 5", &[]);
    check(
        "[upstream.pool]\nconnect_timeout = \"0\"",
        &["f:7:19: upstream.pool.connect_timeout: must be more than 0"],
    );
    check(
        "[upstream.retry]\nmultiplier = 0.5",
        &["f:7:14: upstream.retry.multiplier: not between 1 and 100"],
    );
    check(
        "[upstream.retry]\ninitial = \"3s\"",
        &["f:7:11: upstream.retry.initial: initial is 3s, more than max, which is 2s"],
    );
}

#[test]
fn limits_telemetry_and_drain() {
    check(
        "[limits]\nmax_bulk = \"513MiB\"",
        &["f:7:12: limits.max_bulk: 513MiB is more than 512MiB, the most there is"],
    );
    check(
        "[limits]\nmax_args = 1048577",
        &["f:7:12: limits.max_args: 1048577 is more than 1048576, the most there is"],
    );
    check(
        "[limits]\nmax_inline = \"65KiB\"",
        &["f:7:14: limits.max_inline: 65KiB is more than 64KiB, the most there is"],
    );
    check(
        "[limits]\noutput_soft = \"65MiB\"",
        &[
            "f:7:15: limits.output_soft: output_soft is 65MiB, more than output_hard, which is 64MiB",
        ],
    );
    check(
        "[limits]\noutput_soft = \"a\"\noutput_hard = \"1MiB\"",
        &["f:7:15: limits.output_soft: \"a\" is not a size"],
    );
    check("[limits]\nmax_clients = 0", &["f:7:15: limits.max_clients: must be more than 0"]);
    check(
        "[telemetry]\naddress = \"127.0.0.1:6379\"",
        &["f:7:11: telemetry.address: a listener has this address"],
    );
    check("[telemetry]\naddress = \"0.0.0.0:9465\"", &[]);
    check("[drain]\nmin = \"30s\"", &["f:7:7: drain.min: min is 30s, more than max, which is 20s"]);
}

#[test]
fn the_way_to_the_server() {
    let check = |upstream: &str, expected: &[&str]| {
        let text = format!("listener = [{{ address = \"unix:x\" }}]\n[upstream]\n{upstream}");
        let problems = parse(&text, "f", none()).err().unwrap_or_default();
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| Problem { hint: None, ..problem.clone() }.to_string())
            .collect();
        assert_eq!(lines, expected, "{upstream}");
    };
    let tls = "tls = { cert = 'c', key = 'k', ca = 'a' }";
    check("address = 'h:1'", &["f:2:1: upstream.tls: missing"]);
    check("address = 'h:1'\ninsecure_plaintext = true", &[]);
    check("address = 'redis://h:1'\ninsecure_plaintext = true", &[]);
    check(&format!("address = 'rediss://u@h:1'\n{tls}"), &[]);
    check(
        &format!("address = 'h:1'\ninsecure_plaintext = true\n{tls}"),
        &["f:4:22: upstream.insecure_plaintext: contradicts tls"],
    );
    check(
        &format!("address = 'rediss://h:1'\ninsecure_plaintext = true\n{tls}"),
        &["f:4:22: upstream.insecure_plaintext: contradicts tls"],
    );
    check(
        &format!("address = 'redis://h:1'\n{tls}"),
        &["f:3:11: upstream.address: redis:// contradicts tls"],
    );
    check(
        "address = 'rediss://h:1'\ninsecure_plaintext = true",
        &["f:4:22: upstream.insecure_plaintext: contradicts rediss://"],
    );
    check(
        &format!("address = 'rediss://u@h:1'\nauth = {{ username = 'v' }}\n{tls}"),
        &["f:4:21: upstream.auth.username: contradicts the address"],
    );
    check(
        "address = 'h:1'\ntls = { cert = 'c', cert_file = 'c', ca = 'a' }",
        &[
            "f:4:7: upstream.tls.key: missing",
            "f:4:21: upstream.tls.cert: given twice, as cert and as cert_file",
        ],
    );
    check(
        "address = 'h:1'\ntls = { cert = 'c', ca = '' }",
        &["f:4:7: upstream.tls.key: missing", "f:4:26: upstream.tls.ca: empty"],
    );
    check("address = 'h:1'\ntls = true", &["f:4:7: upstream.tls: expected a table"]);
    check(
        "address = 'h:1'\n[upstream.tls]\ncert='c'\nkey='k'\nca='a'\nverify='pin'",
        &["f:8:8: upstream.tls.verify: \"pin\" needs pins"],
    );
    check(
        "address = 'h:1'\n[upstream.tls]\ncert='c'\nkey='k'\nca='a'\npins=['00']",
        &["f:8:6: upstream.tls.pins: without effect"],
    );
    check(
        "address = 'h:1'\n[upstream.tls]\ncert='c'\nkey='k'\nca='a'\nverify='pin'\npins=['00']",
        &["f:9:6: upstream.tls.pins: a pin is the SHA-256 of a public key: 64 hexadecimal digits"],
    );
    let problems = parse("", "f", none()).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["upstream.address", "upstream.tls", "listener"]);
}
