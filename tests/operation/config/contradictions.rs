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
fn policies() {
    check("[policies.a]\npreset = \"cache\"\n[policies.b-1_X.keys]\nmax_bytes = 5", &[]);
    check(
        "[[listener]]\naddress = \"unix:x\"\npolicy = \"reprots\"\n[policies.reports]",
        &["f:8:10: listener.1.policy: there is no policy \"reprots\""],
    );
    check(
        "[[user]]\nname = \"a\"\npolicy = \"x\"",
        &["f:8:10: user.0.policy: there is no policy \"x\""],
    );
    let named = "[[user]]\nname = \"a\"\npolicy = ";
    for (more, expected) in [
        ("\"reprots\"\n[policies.reports]\n[policies.cache]", "did you mean reports?"),
        ("\"x\"\n[policies.reports]\n[policies.cache]", "there are: cache, reports"),
        ("\"x\"", "write [policies.x]"),
    ] {
        assert_eq!(hint(&format!("{named}{more}")), expected);
    }
    check(
        "[policies.a]\nacl = 1\nrules = 1\nkeys = { prefix = \"\" }\n[policies.b.ttl]\nmaxx = 1",
        &[
            "f:7:7: policies.a.acl: expected text in quotes, found a number",
            "f:8:1: policies.a.rules: unknown key",
            "f:9:19: policies.a.keys.prefix: empty",
            "f:11:1: policies.b.ttl.maxx: unknown key",
        ],
    );
    check(
        "[policies]\n\"a.b\" = {}\n\"\" = {}\n12 = {}\nx = 1",
        &[
            "f:7:1: policies: \"a.b\" is not a name",
            "f:7:1: policies.a.b: unknown key",
            "f:8:1: policies: \"\" is not a name",
            "f:9:1: policies: \"12\" is not a name",
            "f:10:5: policies.x: expected a table with a name of your own",
        ],
    );
}

#[test]
fn users() {
    let hash = format!("#{}", "0f".repeat(32));
    let user = "[[user]]\nname = \"a\"\n";
    check(&format!("{user}passwords = [{hash:?}, {hash:?}]\nuids = [0, 4294967295]"), &[]);
    check(&format!("{user}passwords = []\nnopass = true\n[users]\nacl_file = \"x\""), &[]);
    check(
        "[[listener]]\naddress = \"unix:x\"\nauth = \"users\"",
        &["f:8:8: listener.1.auth: there are no users"],
    );
    check("[[listener]]\naddress = \"unix:x\"\nauth = \"users\"\n[users]\nacl_file = \"x\"", &[]);
    check(
        "[[listener]]\naddress = \"unix:x\"\nauth = \"users\"\npassword_env = \"X\"\n[[user]]\nname = \"a\"",
        &["f:8:8: listener.1.auth: contradicts the password"],
    );
    check("[[user]]", &["f:6:1: user.0.name: missing"]);
    check(
        "[[user]]\nname = \"a b\"",
        &["f:7:8: user.0.name: a user name has no spaces and no control characters"],
    );
    check(&format!("{user}{user}"), &["f:9:8: user.1.name: another user has this name"]);
    check(
        &format!("{user}uids = [1]\n[[user]]\nname = \"b\"\nuids = [2, 1]"),
        &["f:11:8: user.1.uids: one is listed twice"],
    );
    check(
        &format!("{user}uids = [-1]"),
        &["f:8:8: user.0.uids: \"-1\" is not a whole number in range"],
    );
    check(
        &format!("{user}nopass = true\npassword_env = \"X\""),
        &["f:8:10: user.0.nopass: contradicts the passwords"],
    );
    check(
        &format!("{user}password = \"hunter2\""),
        &["f:8:1: user.0.password: a password does not belong in a configuration"],
    );
    for word in [">hunter2", "hunter2", "#hunter2", &hash[1..], &hash.to_uppercase(), "#"] {
        check(
            &format!("{user}passwords = [{hash:?}, {word:?}]"),
            &[
                "f:8:13: user.0.passwords: one is not # and 64 lower-case hexadecimal digits, the SHA-256 of a password",
            ],
        );
    }
    let config = good(&format!("{MINIMAL}{user}passwords = [{hash:?}]"));
    assert!(!format!("{config:?}").contains("0f0f"), "{config:?}");
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
        &["f:7:11: upstream.retry.initial: initial is 3s, more than max, which is 1s"],
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

/// The problems of a configuration whose `[upstream]` is this.
fn check_upstream(upstream: &str, expected: &[&str]) {
    let text = format!("listener = [{{ address = \"unix:x\" }}]\n[upstream]\n{upstream}");
    let problems = parse(&text, "f", none()).err().unwrap_or_default();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| Problem { hint: None, ..problem.clone() }.to_string())
        .collect();
    assert_eq!(lines, expected, "{upstream}");
}

#[test]
fn contradictions_about_the_server() {
    let check = check_upstream;
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
    let problems = parse("", "f", none()).unwrap_err();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["upstream.address", "upstream.tls", "listener"]);
}

#[test]
fn sections_of_similar_names() {
    check(
        "[policies]\npreset = \"cache\"",
        &["f:7:10: policies.preset: expected a table with a name of your own"],
    );
    let problems = parse("[policies]\npreset = 'cache'\n[[users]]\nname = 'a'", "f", none());
    let text: Vec<String> = problems.unwrap_err().iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for hint in ["write preset under [policy]", "write [[user]] for each user"] {
        assert!(text.contains(hint), "{hint}: {text}");
    }
}

#[test]
fn files_pins_and_authorities() {
    let check = check_upstream;
    check(
        "address = 'h:1'\n[upstream.tls]\ncert='c'\nkey='k'\nverify='pin'",
        &["f:7:8: upstream.tls.verify: \"pin\" needs pins"],
    );
    check(
        "address = 'h:1'\n[upstream.tls]\ncert='c'\nkey='k'\nca='a'\npins=['00']",
        &["f:8:6: upstream.tls.pins: without effect"],
    );
    check(
        "address = 'h:1'\n[upstream.tls]\nca='a'\nverify='pin'\npins=['00']",
        &[
            "f:5:4: upstream.tls.ca: without effect: verify = \"pin\" trusts the pins alone",
            "f:7:6: upstream.tls.pins: a pin is the SHA-256 of a public key: 64 hexadecimal digits",
        ],
    );
    check(
        "address = 'h:1'\n[upstream.tls]\nkey='k'\nca='system'",
        &["f:4:1: upstream.tls.cert: missing"],
    );
    check("address = 'h:1'\n[upstream.tls]\nverify='ca'", &["f:4:1: upstream.tls.ca: missing"]);
    let pem = "-----BEGIN PRIVATE KEY-----\\nhunter2";
    check(
        &format!("address = 'h:1'\n[upstream.tls]\ncert='c'\nkey=\"{pem}\"\nca='a'"),
        &["f:6:5: upstream.tls.key: the text of a file where its path should be"],
    );
}

#[test]
fn scripts() {
    check(
        "[policy.scripts]\nallow = [\"e0e1f9\"]",
        &["f:7:9: policy.scripts.allow: \"e0e1f9\" is no SHA-1 of a script"],
    );
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    check(
        &format!("[policy.scripts]\nallow = [\"{sha}\"]\nallow_functions = [\"f\"]"),
        &[
            "f:7:9: policy.scripts.allow: without effect",
            "f:8:19: policy.scripts.allow_functions: without effect",
        ],
    );
    check(
        "[policy.scripts]\nmode = \"deny\"\ndirectory = \"x\"",
        &["f:8:13: policy.scripts.directory: without effect"],
    );
    check(
        &format!("[policy.scripts]\nmode = \"allowlist\"\nallow = [\"{sha}\"]\ndirectory = \"x\""),
        &[],
    );
}

#[test]
fn limits_of_the_policy() {
    check("[[policy.limit]]", &["f:6:1: policy.limit.0.commands: missing"]);
    check(
        "[[policy.limit]]\ncommands = \"@all\"\nburst = 3",
        &["f:8:9: policy.limit.0.burst: without effect"],
    );
    check(
        "[[policy.limit]]\ncommands = \"@all\"\nrate = \"fast\"\nburst = 3",
        &["f:8:8: policy.limit.0.rate: \"fast\" is not a rate"],
    );
    check(
        "[[policy.limit]]\ncommands = \"@all\"\nconcurrency = 0",
        &["f:8:15: policy.limit.0.concurrency: must be more than 0"],
    );
}

#[test]
fn times_to_live() {
    let ttl = |text: &str, expected: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|line| format!("f:{line}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&format!("[policy.ttl]\n{text}"), &expected);
    };
    ttl("on_missing = \"inject\"\ndefault = \"1h\"\nmax = \"1h\"\nexempt = [\"lock:*\"]", &[]);
    ttl("on_missing = \"reject\"\napply_to = [\"cache:*\"]", &[]);
    ttl("on_missing = \"inject\"", &["7:14: policy.ttl.on_missing: \"inject\" needs a default"]);
    ttl(
        "on_missing = \"inject\"\ndefault = \"2h\"\nmax = \"1h\"",
        &["8:11: policy.ttl.default: default is 2h, more than max, which is 1h"],
    );
    ttl("max = \"0\"", &["7:7: policy.ttl.max: must be at least 1s"]);
    ttl("default = \"999ms\"", &["7:11: policy.ttl.default: must be at least 1s"]);
    ttl("exempt = [\"a*\"]", &["7:10: policy.ttl.exempt: without effect"]);
    ttl(
        "max = \"1h\"\napply_to = [\"a[b\", \"a[b]\", \"a\\\\\"]",
        &[
            "8:12: policy.ttl.apply_to: \"a[b\" has a bracket that is not closed",
            "8:12: policy.ttl.apply_to: \"a\\\\\" ends with a backslash",
        ],
    );
}

#[test]
fn keys_and_values() {
    check("[policy.keys]\nmax_bytes = 0", &["f:7:13: policy.keys.max_bytes: must be more than 0"]);
    check(
        "[policy.values]\nmax_bytes = 0",
        &["f:7:13: policy.values.max_bytes: must be more than 0"],
    );
    check(
        "[policy.values]\nmax_args = 0",
        &["f:7:12: policy.values.max_args: must be more than 0"],
    );
    check(
        "[policy.keys]\npattern = \"[a\"",
        &["f:7:11: policy.keys.pattern: \"[a\" has a bracket that is not closed"],
    );
    check("[policy.keys]\npattern = \"\\\\[a\"\ndeny = [\"x\", \"[]\"]", &[]);
}
