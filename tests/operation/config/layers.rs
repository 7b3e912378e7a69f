//! Configurations out of several layers: environment over file, flags over both.

use super::*;

#[test]
fn environment_overrides_the_file() {
    let config = parse(
        MINIMAL,
        "f",
        env(&[
            ("RESPGATE__UPSTREAM__ADDRESS", "other:1"),
            ("RESPGATE__UPSTREAM__POOL__MAX_CONNECTIONS", "5"),
            ("RESPGATE__UPSTREAM__POOL__IDLE_TIMEOUT", "\"10s\""),
            ("RESPGATE__UPSTREAM__AUTH__USERNAME", "123"),
            ("RESPGATE__UPSTREAM__TLS__CERT_FILE", "other.crt"),
            ("RESPGATE__UPSTREAM__RETRY", "{ retry_backoff = 3 }"),
            ("RESPGATE__LISTENER__1__ADDRESS", "unix:/x"),
            ("RESPGATE__LISTENER__1__MODE", "0600"),
            ("RESPGATE__LISTENER__0__ADDRESS", "[::1]:6380"),
            ("RESPGATE__POLICY__ACL", "+@all ~app1:*"),
            ("RESPGATE__TELEMETRY__ADDRESS", ""),
            ("RESPGATE_SERVICE_HOST", "ignored"),
            ("PATH", "ignored"),
        ]),
    )
    .unwrap_or_else(|problems| panic!("{}", show(&problems)));
    assert_eq!(config.upstream.retry.multiplier, 3.0);
    assert_eq!(config.upstream.address.to_string(), "other:1");
    assert_eq!(config.upstream.pool.max_connections, 5);
    assert_eq!(config.upstream.pool.idle_timeout, Duration::from_secs(10));
    assert_eq!(config.upstream.auth.username.as_deref(), Some("123"));
    let tls = config.upstream.tls.unwrap();
    assert_eq!(tls.client.unwrap().cert, PathBuf::from("other.crt"));
    assert_eq!(config.listeners[0].address.to_string(), "[::1]:6380");
    assert_eq!(config.listeners[1].address.to_string(), "unix:/x");
    assert_eq!(config.listeners[1].mode, 0o600);
    assert_eq!(config.policy.acl.as_deref(), Some("+@all ~app1:*"));
    assert_eq!(config.telemetry.address, None);
}

#[test]
fn listeners_of_the_environment_need_no_order() {
    let upstream = MINIMAL.split_once("[upstream]").unwrap().1;
    let count = 12;
    let variables = (0..count).rev().flat_map(|index| {
        let name = |key: &str| format!("RESPGATE__LISTENER__{index}__{key}");
        [(name("ADDRESS"), format!("unix:{index}")), (name("MODE"), "0600".to_owned())]
    });
    let config = parse(&format!("[upstream]{upstream}"), "f", variables)
        .unwrap_or_else(|problems| panic!("{}", show(&problems)));
    let addresses: Vec<String> =
        config.listeners.iter().map(|listener| listener.address.to_string()).collect();
    let expected: Vec<String> = (0..count).map(|index| format!("unix:{index}")).collect();
    assert_eq!(addresses, expected);
}

#[test]
fn problems_of_the_environment_name_the_variable() {
    for (name, value, expected) in [
        (
            "RESPGATE__UPSTREAM__POOL__MAX_CONECTIONS",
            "5",
            "RESPGATE__UPSTREAM__POOL__MAX_CONECTIONS: upstream.pool.max_conections: unknown key\n  \
             hint: did you mean RESPGATE__UPSTREAM__POOL__MAX_CONNECTIONS?",
        ),
        (
            "RESPGATE__LISTENER__0__ADRESS",
            "x",
            "RESPGATE__LISTENER__0__ADRESS: listener.0.adress: unknown key\n  \
             hint: did you mean RESPGATE__LISTENER__0__ADDRESS?",
        ),
        (
            "RESPGATE__UPSTREAM__POOL__MAX_IDLE",
            "many",
            "RESPGATE__UPSTREAM__POOL__MAX_IDLE: upstream.pool.max_idle: \"many\" is not a whole number in range",
        ),
        (
            "RESPGATE__UPSTREAM__POOL__MAX_IDLE",
            "0",
            "RESPGATE__UPSTREAM__POOL__MAX_IDLE: upstream.pool.max_idle: min_idle is 1, more than max_idle, which is 0",
        ),
        (
            "RESPGATE__LISTENER__5__ADDRESS",
            "unix:x",
            "RESPGATE__LISTENER__5__ADDRESS: listener.5.address: no entry \"5\"; the next is 1",
        ),
        (
            "RESPGATE__UPSTREAM__ADDRESS__X",
            "x",
            "RESPGATE__UPSTREAM__ADDRESS__X: upstream.address.x: there is a plain value where keys should be",
        ),
    ] {
        let problems = parse(MINIMAL, "f", env(&[(name, value)])).unwrap_err();
        assert_eq!(show(&problems), expected);
    }
    let secret = env(&[("RESPGATE__UPSTREAM__AUTH__PASSWORD", "hunter2")]);
    let problems = parse(MINIMAL, "f", secret).unwrap_err();
    assert!(show(&problems).contains("password_file"));
    assert!(!show(&problems).contains("hunter2"));
}

#[test]
fn flags_describe_a_whole_configuration() {
    let flag =
        |name: &str, key: &str, value: &str| Setting::new(Place::Flag(name.to_owned()), key, value);
    let mut source = ConfigSource {
        path: None,
        flags: vec![
            flag("--upstream", "upstream.address", "rediss://app1@redis:6380"),
            flag("--cert", "upstream.tls.cert", "c"),
            flag("--key", "upstream.tls.key", "k"),
            flag("--ca", "upstream.tls.ca", "a"),
        ],
    };
    let config = source.load(none()).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:6379");
    assert_eq!(config.upstream.auth.username.as_deref(), Some("app1"));
    let config = source.load(env(&[("RESPGATE__LISTENER__0__ADDRESS", "unix:x")])).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "unix:x");

    source.flags.push(flag("--listen", "listener.0.address", "unix:y"));
    let config = source.load(env(&[("RESPGATE__LISTENER__0__ADDRESS", "unix:x")])).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "unix:y");

    source.flags.truncate(2);
    source.flags.push(flag("--listen", "listener.0.address", "0.0.0.0:1"));
    let problems = source.load(none()).unwrap_err();
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| Problem { hint: None, ..problem.clone() }.to_string())
        .collect();
    assert_eq!(
        lines,
        [
            "command line: upstream.tls.key: missing",
            "command line: upstream.tls.ca: missing",
            "--listen: listener.0.address: other machines could connect"
        ]
    );
}
