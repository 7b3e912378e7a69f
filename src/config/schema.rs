//! The shape of a configuration: every key, its type, and the setting it becomes.
//!
//! Owns: the names of all keys. Never knows: how settings relate to each other, their use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::password::{PasswordHash, Passwords};

use super::algorithms::TlsVersion;
use super::error::{Place, ValueError};
use super::insight::Insight;
use super::listener::{ClientAuth, ClientLimits, Drain, ListenAddress, Listener, Startup};
use super::rules::Rules;
use super::section::{
    Section, boolean, choice, count, counts, duration, mode, number, path, size, string, strings,
    text,
};
use super::source::secret;
use super::telemetry::{Admin, Health, LogFormat, MetricsProfile, Readiness, Telemetry};
use super::tree::Node;
use super::upstream::{
    Authorities, Breaker, CertificateFiles, HostPort, OUTAGE_WAIT, OnOutage, Pool, PoolMode, Retry,
    ServerEndpoint, Tls, Upstream, Verify,
};
use super::user::User;
use super::{
    Config, Places, address, algorithms, audit, commands, listener_tls, policy, revocation,
    sandbox, server_auth,
};

/// Other spellings of keys, taken over from neighbouring products: section, spelling, key.
pub(super) const ALIASES: [(&str, &str, &str); 4] = [
    ("upstream.tls", "cert_file", "cert"),
    ("upstream.tls", "key_file", "key"),
    ("upstream.tls", "ca_file", "ca"),
    ("upstream.retry", "retry_backoff", "multiplier"),
];

/// Default permission bits of a Unix socket: owner and group.
const MODE: u32 = 0o660;

/// The settings in `root`. Where the log has a problem, the settings are not to be used.
pub(super) fn read(root: &Section<'_>) -> Config {
    Config {
        listeners: root.list("listener").iter().map(listener).collect(),
        upstream: upstream(&root.section("upstream")),
        policy: policy::read(&root.section("policy")),
        commands: commands::read(&root.section("commands")),
        policies: root.named("policies").iter().map(named_policy).collect(),
        users: root.list("user").iter().map(user).collect(),
        acl_file: root.section("users").get("acl_file", path),
        limits: limits(&root.section("limits")),
        telemetry: telemetry(&root.section("telemetry")),
        insight: insight(root),
        admin: admin(&root.section("admin")),
        audit: audit::read(&root.section("audit")),
        health: health(&root.section("health")),
        drain: drain(&root.section("drain")),
        startup: startup(&root.section("startup")),
        sandbox: sandbox::read(&root.section("sandbox")),
        places: Places::default(),
    }
}

/// Every key and section there is; true for one that holds a value.
pub(super) fn known() -> BTreeMap<String, bool> {
    let log = RefCell::default();
    // Parts that are read only where they are present.
    let parts = "[[listener]]\n[listener.tls]\n[[user]]\n[[audit.sink]]\n[upstream.tls]\n[[policy.limit]]\n[[policies.NAME.limit]]";
    let parts = Node::parse(parts, &Arc::from(""));
    let nothing = Place::Text { name: Arc::from(""), position: None };
    let parts = parts.unwrap_or_else(|_| Node::empty(nothing));
    read(&Section::root(&parts, &log));
    log.into_inner().known
}

fn listener(at: &Section<'_>) -> Listener {
    let hint = "write address = \"127.0.0.1:6379\" or address = \"unix:/run/respgate.sock\"";
    let address = at.need("address", hint, |node| address::listen(text(node)?));
    let words =
        [("off", ClientAuth::Off), ("ignore", ClientAuth::Ignore), ("users", ClientAuth::Users)];
    let word = at.get("auth", choice(&words));
    let auth = match (word, secret(at)) {
        (None, Some(password)) => ClientAuth::Password(password),
        (Some(_), Some(_)) => {
            let hint = "remove auth: with a password set, clients must give it";
            at.report("auth", ValueError::new("contradicts the password").hint(hint));
            ClientAuth::Off
        }
        (word, None) => word.unwrap_or_default(),
    };
    let unspecified = ListenAddress::Unix(PathBuf::new());
    Listener {
        address: address.unwrap_or(unspecified),
        allow_remote: at.get("allow_remote", boolean).unwrap_or(false),
        mode: at.get("mode", mode).unwrap_or(MODE),
        group: at.get("group", string),
        auth,
        policy: at.get("policy", string),
        tls: at.has("tls").then(|| listener_tls::read(&at.section("tls"))).flatten(),
    }
}

fn named_policy((name, at): &(String, Section<'_>)) -> (String, Rules) {
    (name.clone(), policy::read(at))
}

fn user(at: &Section<'_>) -> User {
    let name = at.need("name", "write name = \"app1\", as clients send it in AUTH", user_name);
    let hashes = at.get("passwords", password_hashes).unwrap_or_default();
    let nopass = at.get("nopass", boolean).unwrap_or(false);
    let password = secret(at);
    if nopass && (!hashes.is_empty() || password.is_some()) {
        let hint = "remove nopass: with it, any password would be right";
        at.report("nopass", ValueError::new("contradicts the passwords").hint(hint));
    }
    User {
        name: name.unwrap_or_default(),
        enabled: at.get("enabled", boolean).unwrap_or(true),
        passwords: if nopass { Passwords::Any } else { Passwords::OneOf(hashes) },
        password,
        policy: at.get("policy", string),
        uids: at.get("uids", counts).unwrap_or_default(),
        certificates: at.get("certificates", listener_tls::patterns).unwrap_or_default(),
    }
}

/// Redis acl.c `ACLStringHasSpaces`.
fn user_name(node: &Node) -> Result<String, ValueError> {
    let name = string(node)?;
    if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(ValueError::new("a user name has no spaces and no control characters"));
    }
    Ok(name)
}

/// Hashes as `ACL SETUSER` takes them. An error repeats none: it may be the password itself.
fn password_hashes(node: &Node) -> Result<Vec<PasswordHash>, ValueError> {
    let words = strings(node)?;
    let hashes =
        words.iter().map(|word| word.strip_prefix('#').and_then(PasswordHash::parse)).collect();
    let hashes: Option<_> = hashes;
    hashes.ok_or_else(|| {
        ValueError::new(
            "one is not # and 64 lower-case hexadecimal digits, the SHA-256 of a password",
        )
        .hint("printf %s \"$PASSWORD\" | sha256sum prints it; password_file takes the password")
    })
}

fn upstream(at: &Section<'_>) -> Upstream {
    let hint = "write address = \"redis.example.com:6380\" under [upstream]";
    let server = at.need("address", hint, |node| address::server(text(node)?));
    let plaintext = at.get("insecure_plaintext", boolean).unwrap_or(false);
    let tls = at.has("tls").then(|| tls(&at.section("tls")));
    let (place, username, secure) = server.map_or_else(
        || (ServerEndpoint::Tcp(HostPort { host: String::new(), port: 0 }), None, None),
        |server| (server.place, server.username, server.tls),
    );
    let on_socket = matches!(place, ServerEndpoint::Unix(_));
    match (&tls, plaintext, secure) {
        (Some(_), _, _) if on_socket => {
            let hint = "remove tls: the permissions of the file bound which users connect";
            at.report("tls", ValueError::new("a Unix socket has no TLS").hint(hint));
        }
        (None, true, _) if on_socket => {
            let why = "without effect: a Unix socket leads to this machine";
            at.report("insecure_plaintext", ValueError::new(why).hint("remove it"));
        }
        (None, false, _) if on_socket => {}
        (None, false, _) => {
            let hint = "add tls = { ca = \"FILE\" } under [upstream], or ca = \"system\" for public \
                        authorities, with cert and key if the server requires a client certificate; \
                        or insecure_plaintext = true to do without TLS";
            at.report("tls", ValueError::new("missing").hint(hint));
        }
        (Some(_), true, _) => {
            let hint = "remove one of tls and insecure_plaintext";
            at.report("insecure_plaintext", ValueError::new("contradicts tls").hint(hint));
        }
        (Some(_), false, Some(false)) => {
            let hint = "write rediss://, or host:port alone";
            at.report("address", ValueError::new("redis:// contradicts tls").hint(hint));
        }
        (None, true, Some(true)) => {
            let hint = "set tls instead, or write host:port alone";
            at.report("insecure_plaintext", ValueError::new("contradicts rediss://").hint(hint));
        }
        (Some(_), false, None | Some(true)) | (None, true, None | Some(false)) => {}
    }
    let auth = server_auth::read(at, username);
    if auth.certificate.is_some() && tls.as_ref().is_none_or(|tls| tls.client.is_none()) {
        let hint = "set upstream.tls.cert and upstream.tls.key, or log in with a password";
        at.report("auth", ValueError::new("there is no client certificate").hint(hint));
    }
    let on_outage = choice(&[("close", OnOutage::Close), ("error", OnOutage::Error)]);
    Upstream {
        address: place,
        tls,
        auth,
        pool: pool(&at.section("pool")),
        retry: retry(&at.section("retry")),
        breaker: breaker(&at.section("breaker")),
        on_outage: at.get("on_outage", on_outage).unwrap_or_default(),
        outage_wait: at.get("outage_wait", duration).unwrap_or(OUTAGE_WAIT),
    }
}

fn tls(at: &Section<'_>) -> Tls {
    let verify = [("full", Verify::Full), ("ca", Verify::Ca), ("pin", Verify::Pin)];
    let verify = at.get("verify", choice(&verify)).unwrap_or_default();
    let client = client_certificate(at);
    let ca = match verify {
        Verify::Pin => at.get("ca", authorities),
        Verify::Full | Verify::Ca => {
            let hint = "name the PEM file with the authorities that may sign the server's \
                        certificate, or write ca = \"system\" for the public ones";
            at.need("ca", hint, authorities)
        }
    };
    let min_version = at
        .get("min_version", choice(&[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]))
        .unwrap_or_default();
    Tls {
        client,
        ca,
        server_name: at.get("server_name", string),
        verify,
        pins: at.get("pins", strings).unwrap_or_default(),
        allowed_sans: at.get("allowed_sans", listener_tls::patterns).unwrap_or_default(),
        revocation: revocation::read(at),
        min_version,
        algorithms: algorithms::read(at, min_version),
    }
}

/// Both files or none: many servers ask for no certificate.
fn client_certificate(at: &Section<'_>) -> Option<CertificateFiles> {
    let (cert, key) = (at.get("cert", path), at.get("key", path));
    let without =
        |other: &str| format!("or remove {other}, if the server requires no client certificate");
    if at.has("cert") && !at.has("key") {
        let hint = format!("name the PEM file with the private key of cert, {}", without("cert"));
        at.report("key", ValueError::new("missing").hint(hint));
    }
    if at.has("key") && !at.has("cert") {
        let hint = format!("name the PEM file with the certificate of key, {}", without("key"));
        at.report("cert", ValueError::new("missing").hint(hint));
    }
    Some(CertificateFiles { cert: cert?, key: key? })
}

fn authorities(node: &Node) -> Result<Authorities, ValueError> {
    Ok(match text(node)? {
        "system" => Authorities::System,
        _ => Authorities::File(path(node)?),
    })
}

fn pool(at: &Section<'_>) -> Pool {
    let mut pool = Pool::default();
    let modes = [("shared", PoolMode::Shared), ("session", PoolMode::Session)];
    at.set("mode", &mut pool.mode, choice(&modes));
    at.set("connections", &mut pool.connections, count);
    at.set("max_connections", &mut pool.max_connections, count);
    at.set("min_idle", &mut pool.min_idle, count);
    at.set("max_idle", &mut pool.max_idle, count);
    at.set("idle_timeout", &mut pool.idle_timeout, duration);
    at.set("health_check_interval", &mut pool.health_check_interval, duration);
    at.set("acquire_timeout", &mut pool.acquire_timeout, duration);
    at.set("connect_timeout", &mut pool.connect_timeout, duration);
    at.set("command_timeout", &mut pool.command_timeout, duration);
    at.set("stall_timeout", &mut pool.stall_timeout, duration);
    at.set("max_handshakes", &mut pool.max_handshakes, count);
    at.set("max_age", &mut pool.max_age, duration);
    at.set("pinned_grace", &mut pool.pinned_grace, duration);
    at.set("tcp_keepalive", &mut pool.tcp_keepalive, duration);
    pool
}

fn retry(at: &Section<'_>) -> Retry {
    let mut retry = Retry::default();
    at.set("max_retries", &mut retry.max_retries, count);
    at.set("budget", &mut retry.budget, number);
    at.set("initial", &mut retry.initial, duration);
    at.set("multiplier", &mut retry.multiplier, number);
    at.set("max", &mut retry.max, duration);
    retry
}

fn breaker(at: &Section<'_>) -> Breaker {
    let mut breaker = Breaker::default();
    at.set("failures", &mut breaker.failures, count);
    at.set("open_time", &mut breaker.open_time, duration);
    breaker
}

fn limits(at: &Section<'_>) -> ClientLimits {
    let mut limits = ClientLimits::default();
    at.set("max_clients", &mut limits.max_clients, count);
    at.set("idle_timeout", &mut limits.idle_timeout, duration);
    at.set("login_timeout", &mut limits.login_timeout, duration);
    at.set("transfer_timeout", &mut limits.transfer_timeout, duration);
    at.set("max_args", &mut limits.max_args, count);
    at.set("max_bulk", &mut limits.max_bulk_bytes, size);
    at.set("max_inline", &mut limits.max_inline_bytes, size);
    at.set("large", &mut limits.large_bytes, size);
    at.set("max_in_flight", &mut limits.max_in_flight, count);
    at.set("max_in_flight_bytes", &mut limits.max_in_flight_bytes, size);
    at.set("max_transaction", &mut limits.max_transaction_bytes, size);
    at.set("max_watched", &mut limits.max_watched, count);
    at.set("max_patterns", &mut limits.max_patterns, count);
    at.set("max_repeated", &mut limits.max_repeated, count);
    at.set("output_hard", &mut limits.output_hard_bytes, size);
    at.set("output_soft", &mut limits.output_soft_bytes, size);
    at.set("output_soft_time", &mut limits.output_soft_time, duration);
    at.set("memory_budget", &mut limits.memory_budget_bytes, size);
    limits
}

fn telemetry(at: &Section<'_>) -> Telemetry {
    let mut telemetry = Telemetry::default();
    at.set("address", &mut telemetry.address, |node| match string(node) {
        Ok(text) if text != "off" => address::socket(&text).map(Some),
        Ok(_) => Ok(None),
        Err(_) if node.is_empty_text() => Ok(None),
        Err(mistake) => Err(mistake),
    });
    let profiles = [("full", MetricsProfile::Full), ("lean", MetricsProfile::Lean)];
    at.set("metrics", &mut telemetry.metrics, choice(&profiles));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    at.set("log_format", &mut telemetry.log_format, choice(&formats));
    at.set("log_level", &mut telemetry.log_level, string);
    telemetry
}

/// What operators use: `[admin]` and `[telemetry]`.
pub(super) fn operators(root: &Section<'_>) -> (Admin, Telemetry) {
    (admin(&root.section("admin")), telemetry(&root.section("telemetry")))
}

fn admin(at: &Section<'_>) -> Admin {
    Admin {
        socket: at.get("socket", path),
        address: at.get("address", |node| address::socket(text(node)?)),
        token_file: at.get("token_file", path),
    }
}

fn insight(root: &Section<'_>) -> Insight {
    let mut insight = Insight::default();
    let at = root.section("slowlog");
    at.set("threshold", &mut insight.slow.threshold, duration);
    at.set("max_entries", &mut insight.slow.max_entries, count);
    let at = root.section("hotkeys");
    at.set("sample", &mut insight.hot.sample, count);
    at.set("big", &mut insight.hot.big, size);
    at.set("max_keys", &mut insight.hot.max_keys, count);
    insight
}

fn health(at: &Section<'_>) -> Health {
    let mut health = Health::default();
    let words = [("self", Readiness::Process), ("upstream", Readiness::Upstream)];
    at.set("readiness", &mut health.readiness, choice(&words));
    at.set("unready_after", &mut health.unready_after, duration);
    health
}

fn startup(at: &Section<'_>) -> Startup {
    let require_upstream = at.get("require_upstream", boolean).unwrap_or(false);
    Startup { require_upstream }
}

fn drain(at: &Section<'_>) -> Drain {
    let mut drain = Drain::default();
    at.set("min", &mut drain.min, duration);
    at.set("max", &mut drain.max, duration);
    at.set("quiet", &mut drain.quiet, duration);
    at.set("native_sidecar", &mut drain.native_sidecar, boolean);
    drain
}
