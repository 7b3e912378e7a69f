//! Settings that are right alone and that another setting makes void.

use super::*;

/// The minimal file with `more` after its five lines is right, and these of its settings are void.
fn void(more: &str, expected: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    std::fs::write(&path, format!("{MINIMAL}{more}")).unwrap();
    let source = ConfigSource { path: Some(path.clone()), flags: Vec::new() };
    let document = source.document(none()).unwrap();
    let config = document.config().unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let begin = format!("{}:", path.display());
    let found = document.void(&config);
    assert!(found.iter().all(|problem| problem.hint.is_some()), "{}", show(&found));
    let lines = found.iter().map(|problem| Problem { hint: None, ..problem.clone() }.to_string());
    let lines: Vec<String> = lines.map(|line| line.replace(&begin, "")).collect();
    assert_eq!(lines, expected, "{more}");
}

#[test]
fn listeners_and_users() {
    void("", &[]);
    void(
        "[[listener]]\naddress = \"127.0.0.1:1\"\nallow_remote = true",
        &[
            "8:16: listener.1.allow_remote: without effect: other machines cannot reach this address",
        ],
    );
    void(
        "[[listener]]\naddress = \"unix:x\"\nallow_remote = true",
        &[
            "8:16: listener.1.allow_remote: without effect: other machines cannot reach this address",
        ],
    );
    void("[[listener]]\naddress = \"0.0.0.0:1\"\nallow_remote = true", &[]);
    let unused = "without effect: no listener has auth = \"users\"";
    void("[[user]]\nname = \"a\"", &[&format!("7:8: user.0.name: {unused}")]);
    void("[users]\nacl_file = \"x\"", &[&format!("7:12: users.acl_file: {unused}")]);
    let tcp = "[[listener]]\naddress = \"127.0.0.1:1\"\nauth = \"users\"\n";
    let unix = "[[listener]]\naddress = \"unix:x\"\nauth = \"users\"\n";
    let user = "[[user]]\nname = \"a\"\nuids = [1]\n";
    void(
        &format!("{tcp}{user}"),
        &[
            "11:8: user.0.uids: without effect: no Unix socket has auth = \"users\", and only there a \
           process is known by its uid",
        ],
    );
    void(&format!("{unix}{user}"), &[]);
    let own = "policy = \"p\"\n[policies.p]\n";
    void(
        &format!("{unix}policy = \"q\"\n[policies.q]\n{user}{own}"),
        &["9:10: listener.1.policy: without effect: every user has a policy of its own"],
    );
    void("[[listener]]\naddress = \"unix:x\"\n[admin]\nsocket = \"y\"", &[]);
    void(
        "[[listener]]\naddress = \"unix:x\"\n[admin]\nsocket = \"x\"",
        &["9:10: admin.socket: a listener has this address"],
    );
}

#[test]
fn policies_that_no_client_has() {
    let unused = "without effect: no listener and no user has this policy";
    void("[policies.a]\npreset = \"cache\"", &[&format!("6:1: policies.a: {unused}")]);
    let listener = "[[listener]]\naddress = \"unix:x\"\npolicy = \"a\"\n[policies.a]\n";
    void(listener, &[]);
    let user = "[[listener]]\naddress = \"unix:x\"\nauth = \"users\"\n[[user]]\nname = \"u\"\n";
    void(&format!("{user}policy = \"a\"\n[policies.a]\n"), &[]);
    void(&format!("{user}[policy]\npreset = \"cache\""), &[]);
    let text = "listener = [{ address = \"unix:x\", policy = \"a\" }]\n[upstream]\naddress = \"h:1\"\n\
                insecure_plaintext = true\n[policies.a]\n[policy]\npreset = \"cache\"\n";
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    std::fs::write(&path, text).unwrap();
    let document = ConfigSource { path: Some(path), flags: Vec::new() }.document(none()).unwrap();
    let found = document.void(&document.config().unwrap());
    let keys: Vec<&str> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["policy"]);
}

#[test]
fn rules_of_a_policy() {
    let ttl = |text: &str, expected: &[&str]| void(&format!("[policy.ttl]\n{text}"), expected);
    let given =
        "7:11: policy.ttl.default: without effect: only on_missing = \"inject\" gives it to keys";
    ttl("default = \"1h\"", &[given]);
    ttl("default = \"1h\"\non_missing = \"reject\"", &[given]);
    ttl("default = \"1h\"\non_missing = \"inject\"", &[]);
    let exceed = "7:13: policy.ttl.on_exceed: without effect: there is no max";
    ttl("on_exceed = \"reject\"", &[exceed]);
    ttl("on_exceed = \"clamp\"", &[exceed]);
    ttl("on_exceed = \"reject\"\nmax = \"1h\"", &[]);
    void(
        "[policy]\nmode = \"observe\"\nobserve = [\"ttl\"]",
        &["8:11: policy.observe: without effect: mode = \"observe\" is about every rule"],
    );
    void(
        "[limits]\nmax_bulk = \"1KiB\"\nmax_args = 10\n[policy]\nkeys = { max_bytes = \"2KiB\" }\n\
         values = { max_bytes = \"1025\", max_args = 11 }",
        &[
            "10:22: policy.keys.max_bytes: without effect: no argument is longer than limits.max_bulk, \
             which is 1KiB",
            "11:24: policy.values.max_bytes: without effect: no argument is longer than \
             limits.max_bulk, which is 1KiB",
            "11:43: policy.values.max_args: without effect: no command has more arguments than \
             limits.max_args, which is 10",
        ],
    );
    let limit = "[[policy.limit]]\ncommands = \"@all\"\n";
    void(
        limit,
        &[
            "7:12: policy.limit.0.commands: without effect: neither rate nor concurrency limits them",
        ],
    );
    void(&format!("{limit}concurrency = 5\nmax_delay = \"2s\""), &[]);
    void(
        &format!("{limit}rate = \"5/s\"\non_exceed = \"error\"\nmax_delay = \"2s\""),
        &[
            "10:13: policy.limit.0.max_delay: without effect: with on_exceed = \"error\" nothing waits",
        ],
    );
    let named = "[[listener]]\naddress = \"unix:x\"\npolicy = \"a\"\n[policies.a.ttl]\n";
    void(
        &format!("{named}on_exceed = \"clamp\""),
        &["10:13: policies.a.ttl.on_exceed: without effect: there is no max"],
    );
}

#[test]
fn pool_retry_and_breaker() {
    void(
        "[upstream.pool]\nmax_connections = 8\nmax_idle = 9",
        &[
            "8:12: upstream.pool.max_idle: without effect: there are at most max_connections, which is 8",
        ],
    );
    void("[upstream.pool]\nmax_connections = 8", &[]);
    void(
        "[upstream.pool]\nmode = \"session\"\nconnections = 2\n",
        &[
            "8:15: upstream.pool.connections: without effect: with pool.mode = \"session\" no session shares a \
             connection",
        ],
    );
    let session = "[upstream.pool]\nmode = \"session\"\nstall_timeout = \"9s\"\n[upstream.retry]\n\
                   max_retries = 2\n";
    let alone = "without effect: with pool.mode = \"session\" no session shares a connection";
    void(
        session,
        &[
            &format!("8:17: upstream.pool.stall_timeout: {alone}"),
            &format!("10:15: upstream.retry.max_retries: {alone}"),
        ],
    );
    void(&session.replace("\"session\"", "\"shared\""), &[]);
    void(
        "[upstream.retry]\nmax_retries = 0\nbudget = 0.5\n",
        &[
            "8:10: upstream.retry.budget: without effect: with max_retries = 0 nothing is sent again",
        ],
    );
    let open = "[upstream.breaker]\nopen_time = \"3s\"\n[upstream.retry]\ninitial = \"1s\"\n";
    let why = "without effect: each attempt waits for upstream.breaker.open_time, which is 3s";
    void(open, &[&format!("9:11: upstream.retry.initial: {why}")]);
    void(&format!("{open}max = \"4s\"\n"), &[]);
    void(&open.replace("open_time", "failures = 2\nopen_time"), &[]);
}

#[test]
fn health_limits_and_drain() {
    void(
        "[health]\nunready_after = \"1s\"\n",
        &["7:17: health.unready_after: without effect: readiness does not follow the server"],
    );
    void("[health]\nreadiness = \"upstream\"\nunready_after = \"1s\"\n", &[]);
    let limits = |text: &str, expected: &[&str]| void(&format!("[limits]\n{text}"), expected);
    limits(
        "large = \"65MiB\"",
        &["7:9: limits.large: without effect: no argument is longer than max_bulk, which is 64MiB"],
    );
    limits("max_bulk = \"1KiB\"", &[]);
    limits(
        "output_soft = \"64MiB\"",
        &[
            "7:15: limits.output_soft: without effect: a client is disconnected at output_hard, which is \
           the same",
        ],
    );
    let budget = "without effect: all clients together have memory_budget, which is 1MiB";
    limits("memory_budget = \"1MiB\"", &[]);
    limits(
        "memory_budget = \"1MiB\"\noutput_hard = \"9MiB\"\nmax_transaction = \"2MiB\"",
        &[
            &format!("8:15: limits.output_hard: {budget}"),
            &format!("9:19: limits.max_transaction: {budget}"),
        ],
    );
    void(
        "[drain]\nmax = \"1s\"\nquiet = \"2s\"",
        &["8:9: drain.quiet: without effect: the drain ends after max, which is 1s"],
    );
    void("[drain]\nmax = \"500ms\"", &[]);
    void(
        "[telemetry]\naddress = \"off\"\nmetrics = \"lean\"",
        &["8:11: telemetry.metrics: without effect: with address = \"off\" there is no /metrics"],
    );
    void("[telemetry]\nmetrics = \"lean\"", &[]);
}

#[test]
fn slow_commands_and_hot_keys() {
    let admin = "[admin]\nsocket = \"y\"\n";
    void(
        "[slowlog]\nmax_entries = 9\n[hotkeys]\nmax_keys = 9\n",
        &[
            "7:15: slowlog.max_entries: without effect: no command is slow while slowlog.threshold is 0",
            "9:12: hotkeys.max_keys: without effect: no keys are looked at while hotkeys.sample and \
             hotkeys.big are 0",
        ],
    );
    let on = "[slowlog]\nthreshold = \"1s\"\n[hotkeys]\nsample = 8\nbig = \"1MiB\"\n";
    let unused = "without effect: without [admin] socket, nothing can ask for what is found";
    void(
        on,
        &[
            &format!("7:13: slowlog.threshold: {unused}"),
            &format!("9:10: hotkeys.sample: {unused}"),
            &format!("10:7: hotkeys.big: {unused}"),
        ],
    );
    void(&format!("{on}{admin}"), &[]);
}

#[test]
fn audit() {
    let stdout = "[[audit.sink]]\ntype = \"stdout\"\n";
    void(
        &format!("[audit]\nwait = \"1s\"\n{stdout}"),
        &["7:8: audit.wait: without effect: commands wait only with audit.on_overflow = \"block\""],
    );
    void(&format!("[audit]\nwait = \"1s\"\non_overflow = \"block\"\n{stdout}"), &[]);
    let problems = |more: &str| show(&parse(&format!("{MINIMAL}{more}"), "f", none()).unwrap_err());
    let file = "[[audit.sink]]\ntype = \"file\"\npath = \"a\"\n";
    let twice = problems(&format!("{file}{file}"));
    assert!(twice.contains("audit.sink.1.path: another sink writes to this file"), "{twice}");
    let large = problems(&format!("[audit]\nqueue = \"200MiB\"\n{stdout}"));
    assert!(large.contains("audit.queue: the queues of 1 sinks together exceed half"), "{large}");
    let none = problems("[audit]\nreference = true\n");
    assert!(none.contains("audit.reference: without effect: the audit log has no sink"), "{none}");
    let other = problems("[[audit.sink]]\ntype = \"stdout\"\npath = \"a\"\n");
    assert!(other.contains("a sink of this type does not have it"), "{other}");
}
