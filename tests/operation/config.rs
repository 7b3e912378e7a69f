//! Configurations right and wrong, and the words for each mistake.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use respgate::internals::config::*;

mod commands;
mod contradictions;
mod layers;
mod void;

/// SPEC section 7: the smallest useful file.
const MINIMAL: &str = r#"[[listener]]
address = "127.0.0.1:6379"
[upstream]
address = "redis.example.com:6380"
tls = { cert = "tls.crt", key = "tls.key", ca = "ca.crt" }
"#;

fn none() -> Vec<(String, String)> {
    Vec::new()
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn good(text: &str) -> Config {
    parse(text, "f", none()).unwrap_or_else(|problems| panic!("{}", show(&problems)))
}

fn show(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The minimal file with `more` after its five lines has exactly these problems, hints apart.
fn check(more: &str, expected: &[&str]) {
    let text = format!("{MINIMAL}{more}");
    let found = match parse(&text, "f", none()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems,
    };
    let lines: Vec<String> =
        found.iter().map(|problem| Problem { hint: None, ..problem.clone() }.to_string()).collect();
    assert_eq!(lines, expected, "{more}");
}

/// The hint of the only problem that the minimal file with `more` has.
fn hint(more: &str) -> String {
    let problems = parse(&format!("{MINIMAL}{more}"), "f", none()).unwrap_err();
    assert_eq!(problems.len(), 1, "{}", show(&problems));
    problems[0].hint.clone().unwrap_or_default()
}

#[test]
fn smallest_file_means_the_defaults() {
    let config = good(MINIMAL);
    let expected = Config {
        listeners: vec![Listener {
            address: ListenAddress::Tcp("127.0.0.1:6379".parse().unwrap()),
            allow_remote: false,
            mode: 0o660,
            group: None,
            auth: ClientAuth::Off,
            policy: None,
            tls: None,
        }],
        upstream: Upstream {
            on_outage: OnOutage::Close,
            outage_wait: OUTAGE_WAIT,
            address: ServerEndpoint::Tcp(HostPort {
                host: "redis.example.com".to_owned(),
                port: 6380,
            }),
            tls: Some(Tls {
                client: Some(CertificateFiles { cert: "tls.crt".into(), key: "tls.key".into() }),
                ca: Some(Authorities::File("ca.crt".into())),
                server_name: None,
                verify: Verify::Full,
                pins: Vec::new(),
                allowed_sans: Vec::new(),
                revocation: None,
                algorithms: Algorithms::default(),
                min_version: TlsVersion::V1_2,
            }),
            auth: ServerAuth::default(),
            pool: Pool::default(),
            retry: Retry::default(),
            breaker: Breaker::default(),
        },
        policy: Rules::default(),
        commands: Commands::default(),
        policies: BTreeMap::new(),
        users: Vec::new(),
        acl_file: None,
        limits: ClientLimits::default(),
        telemetry: Telemetry::default(),
        insight: Insight::default(),
        admin: Admin::default(),
        audit: None,
        places: Places::default(),
        drain: Drain::default(),
        startup: Startup::default(),
        health: Health::default(),
        sandbox: Sandbox::default(),
    };
    assert_eq!(config, expected);
}

#[test]
fn values_of_every_kind_are_read() {
    let config = good(
        r#"
[[listener]]
address = "unix:/run/respgate.sock"
mode = "0600"
group = "app"
auth = "ignore"
[[listener]]
address = "0.0.0.0:6379"
allow_remote = true
password_file = "pw"
[upstream]
address = "rediss://app1@redis:6380"
[upstream.tls]
cert_file = "c"
key_file = "k"
ca_file = "a"
server_name = "redis.internal"
verify = "ca"
min_version = "1.3"
[upstream.auth]
password_env = "REDIS_PASSWORD"
[upstream.pool]
mode = "session"
max_connections = 5
idle_timeout = "250ms"
max_age = "0"
[upstream.retry]
max_retries = 0
retry_backoff = 2
[policy]
preset = "cache"
acl = """
~app1:*
&app1:*
"""
[limits]
max_bulk = "1MiB"
large = 4096
[telemetry]
address = "off"
log_format = "json"
[drain]
max = "1m"
"#,
    );
    assert_eq!(config.listeners[0].mode, 0o600);
    assert_eq!(config.listeners[0].group.as_deref(), Some("app"));
    assert_eq!(config.listeners[0].auth, ClientAuth::Ignore);
    assert_eq!(config.listeners[1].auth, ClientAuth::Password(SecretSource::File("pw".into())));
    let upstream = config.upstream;
    let tls = upstream.tls.unwrap();
    let files: Vec<_> = tls.files().collect();
    assert_eq!(files, ["c", "k", "a"].map(std::path::Path::new));
    assert_eq!((tls.verify, tls.min_version), (Verify::Ca, TlsVersion::V1_3));
    assert_eq!(upstream.auth.username.as_deref(), Some("app1"));
    assert_eq!(upstream.auth.password, Some(SecretSource::Env("REDIS_PASSWORD".to_owned())));
    assert_eq!((upstream.pool.mode, upstream.pool.max_connections), (PoolMode::Session, 5));
    assert_eq!(upstream.pool.idle_timeout, Duration::from_millis(250));
    assert_eq!((upstream.retry.max_retries, upstream.retry.multiplier), (0, 2.0));
    assert_eq!(config.policy.preset.as_deref(), Some("cache"));
    assert_eq!((config.limits.max_bulk_bytes, config.limits.large_bytes), (1 << 20, 4096));
    assert_eq!((config.telemetry.address, config.telemetry.log_format), (None, LogFormat::Json));
    assert_eq!(config.drain.max, Duration::from_secs(60));
    assert_eq!(good(&format!("{MINIMAL}[telemetry]\naddress = \"\"")).telemetry.address, None);
    let lean = good(&format!("{MINIMAL}[telemetry]\nmetrics = \"lean\""));
    assert_eq!(lean.telemetry.metrics, MetricsProfile::Lean);
}

#[test]
fn problems_are_at_their_place_and_in_their_order() {
    let text = r#"[[listener]]
adress = "127.0.0.1:6379"
[upstream]
  address = "redis"
[upstream.pool]
idel_timeout = "5m"
max_idle = "three"
[drain]
max = 5
min = "1w"
[colour]
red = 1
"#;
    let problems = parse(text, "respgate.toml", none()).unwrap_err();
    assert_eq!(
        show(&problems),
        r#"respgate.toml:1:1: listener.0.address: missing
  hint: write address = "127.0.0.1:6379" or address = "unix:/run/respgate.sock"
respgate.toml:2:1: listener.0.adress: unknown key
  hint: did you mean address?
respgate.toml:3:1: upstream.tls: missing
  hint: add tls = { ca = "FILE" } under [upstream], or ca = "system" for public authorities, with cert and key if the server requires a client certificate; or insecure_plaintext = true to do without TLS
respgate.toml:4:13: upstream.address: "redis" has no port
  hint: write "redis:6379", or the server's port
respgate.toml:6:1: upstream.pool.idel_timeout: unknown key
  hint: did you mean idle_timeout?
respgate.toml:7:12: upstream.pool.max_idle: expected a whole number, found text
respgate.toml:9:7: drain.max: a duration needs a unit
  hint: write "5s" for seconds or "5ms" for milliseconds
respgate.toml:10:7: drain.min: "1w" is not a duration
  hint: the units are ms, s, m, h and d, as in "300s"
respgate.toml:11:2: colour: unknown key
  hint: known here: admin, audit, commands, drain, health, hotkeys, limits, listener, policies, policy, sandbox, slowlog, startup, telemetry, upstream, user, users"#
    );
}

/// Each key that is meant exists.
#[test]
fn names_of_other_programs_lead_to_the_key_of_the_same_meaning() {
    for (section, name, meant) in [
        ("upstream.pool", "pool_timeout", "upstream.pool.acquire_timeout"),
        ("upstream.pool", "socket_timeout", "upstream.pool.command_timeout"),
        ("upstream.pool", "max_lifetime", "upstream.pool.max_age"),
        ("upstream", "circuit_breaker", "upstream.breaker"),
        ("upstream.breaker", "failure_threshold", "upstream.breaker.failures"),
        ("upstream.breaker", "recovery_timeout", "upstream.breaker.open_time"),
        ("upstream", "retry_budget", "upstream.retry.budget"),
    ] {
        let text = format!("{MINIMAL}[{section}]\n{name} = \"1s\"\n");
        let text = if section == "upstream" { format!("{MINIMAL}{name} = \"1s\"\n") } else { text };
        let shown = show(&parse(&text, "f", none()).unwrap_err());
        assert!(shown.contains(&format!("did you mean {meant}?")), "{name}: {shown}");
        let (parent, leaf) = meant.rsplit_once('.').unwrap();
        let known = parse(&format!("{MINIMAL}[{parent}]\n{leaf} = \"x y\"\n"), "f", none());
        let shown = show(&known.unwrap_err());
        assert!(!shown.contains("unknown key"), "{meant}: {shown}");
    }
}

#[test]
fn values_of_the_wrong_type() {
    check(
        "[upstream.pool]\nmode = \"both\"",
        &["f:7:8: upstream.pool.mode: \"both\" is not one of the known words"],
    );
    check(
        "[upstream.pool]\nmode = 1",
        &["f:7:8: upstream.pool.mode: expected text in quotes, found a number"],
    );
    check(
        "[upstream.pool]\nmax_idle = -1",
        &["f:7:12: upstream.pool.max_idle: \"-1\" is not a whole number in range"],
    );
    check(
        "[upstream.retry]\nmax_retries = 256",
        &["f:7:15: upstream.retry.max_retries: \"256\" is not a whole number in range"],
    );
    check(
        "[upstream.retry]\nmultiplier = inf",
        &["f:7:14: upstream.retry.multiplier: \"inf\" is not a number"],
    );
    check("[limits]\nmax_bulk = \"64MB\"", &["f:7:12: limits.max_bulk: \"64MB\" is not a size"]);
    check(
        "[limits]\nmax_bulk = 2020-01-01",
        &["f:7:12: limits.max_bulk: expected a size such as \"64MiB\", found a date"],
    );
    check(
        "[policy]\npreset = \"cash\"",
        &["f:7:10: policy.preset: \"cash\" is not one of the known words"],
    );
    check(
        "[policy]\nacl = [\"+@all\"]",
        &["f:7:7: policy.acl: expected text in quotes, found a list"],
    );
    check("[policy]\nacl = \" \"", &["f:7:7: policy.acl: empty"]);
    check("[[limits]]", &["f:6:1: limits: expected a table"]);
    check(
        "[upstream.auth.username]",
        &["f:6:1: upstream.auth.username: expected text in quotes, found a table"],
    );
    check("\"upstream.address\" = 1", &["f:6:1: upstream.upstream.address: unknown key"]);
    let problems = parse(&format!("\"upstream.address\" = 1\n{MINIMAL}"), "f", none()).unwrap_err();
    assert!(show(&problems).starts_with("f:1:1: upstream.address: unknown key"));
    let text = MINIMAL.replace("[[listener]]", "[listener]");
    let problems = parse(&text, "f", none()).unwrap_err();
    assert!(
        show(&problems)
            .starts_with("f:1:1: listener: expected a list of tables\n  hint: write [[listener]]")
    );
    let problems = parse("listener = [1]\nupstream = 2", "f", none()).unwrap_err();
    assert!(
        show(&problems)
            .contains("f:1:13: listener.0: expected a table\nf:2:12: upstream: expected a table"),
        "{}",
        show(&problems)
    );
}

#[test]
fn hints() {
    assert_eq!(hint("[upstream.pool]\nidel_timeout = 1"), "did you mean idle_timeout?");
    assert_eq!(hint("[limit]\nx = 1"), "did you mean limits?");
    assert_eq!(hint("[upstream.pool]\nmax_clients = 1"), "did you mean limits.max_clients?");
    assert_eq!(
        hint("[policy]\nrules = 1"),
        "known here: acl, degraded, keys, limit, mode, observe, preset, scripts, ttl, values"
    );
    assert_eq!(hint("[limits]\nmax_bulk = \"64MB\""), "write \"64MiB\"");
    assert!(hint("[upstream.auth]\npassword = \"hunter2\"").contains("password_file"));
}

#[test]
fn file_that_cannot_be_read_or_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    let missing = show(&load(&path, none()).unwrap_err());
    assert!(missing.starts_with(&format!("{}: No such file", path.display())), "{missing}");
    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    assert!(show(&load(&path, none()).unwrap_err()).contains("larger than"));
    std::fs::write(&path, MINIMAL).unwrap();
    assert_eq!(load(&path, none()).unwrap(), good(MINIMAL));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(load(&path, none()).is_err());
    let twice = parse("a = = 1\nb = 1 1 ]\n", "f", none()).unwrap_err();
    let places: Vec<String> = twice.iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(places, ["f:1:5", "f:2:5"]);
}

#[test]
fn problem_found_later_is_at_the_place_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, format!("{MINIMAL}[policy]\nacl = '+nothing'")).unwrap();
    let source = ConfigSource { path: Some(path.clone()), flags: Vec::new() };
    let document = source.document(none()).unwrap();
    let problem = document.problem("policy.acl", "unknown command", None);
    assert_eq!(problem.to_string(), format!("{}:7:7: policy.acl: unknown command", path.display()));
}

fn good_user() -> User {
    good(&format!("{MINIMAL}[[user]]\nname = \"a\"")).users.remove(0)
}

#[test]
fn settings_that_a_reload_applies() {
    let old = good(MINIMAL);
    assert!(diff(&old, &old.clone()).is_empty());
    let check = |change: &dyn Fn(&mut Config), live: &[&str], restart: &[&str]| {
        let mut new = old.clone();
        change(&mut new);
        let changes = diff(&old, &new);
        assert_eq!((changes.live.as_slice(), changes.restart.as_slice()), (live, restart));
    };
    check(&|c| c.policy.preset = Some("cache".to_owned()), &["policy"], &[]);
    check(&|c| c.limits.max_clients = 1, &["limits"], &[]);
    check(&|c| c.telemetry.metrics = MetricsProfile::Lean, &["telemetry.metrics"], &[]);
    check(&|c| c.telemetry.log_level = "debug".to_owned(), &["telemetry.log_level"], &[]);
    check(&|c| c.drain.max = Duration::ZERO, &["drain"], &[]);
    check(&|c| c.upstream.auth.username = Some("x".to_owned()), &[], &["upstream.auth"]);
    check(&|c| c.upstream.tls.as_mut().unwrap().client = None, &[], &["upstream.tls"]);
    check(&|c| c.upstream.tls = None, &[], &["upstream.insecure_plaintext"]);
    check(&|c| c.listeners[0].auth = ClientAuth::Ignore, &["listener.auth"], &[]);
    check(&|c| c.listeners[0].policy = Some("x".to_owned()), &["listener.policy"], &[]);
    check(&|c| drop(c.policies.insert("x".to_owned(), Rules::default())), &["policies"], &[]);
    check(&|c| c.users.push(good_user()), &["user"], &[]);
    check(&|c| c.acl_file = Some("x".into()), &["users.acl_file"], &[]);
    check(&|c| c.listeners[0].mode = 0, &[], &["listener"]);
    check(&|c| c.listeners.clear(), &[], &["listener"]);
    check(&|c| c.upstream.address = ServerEndpoint::Unix("x".into()), &[], &["upstream.address"]);
    check(&|c| c.upstream.pool.mode = PoolMode::Session, &[], &["upstream.pool"]);
    check(&|c| c.telemetry.address = None, &[], &["telemetry.address"]);
    check(
        &|c| (c.upstream.retry.max_retries, c.drain.min) = (0, Duration::from_secs(1)),
        &["drain"],
        &["upstream.retry"],
    );
}
