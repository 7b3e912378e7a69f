//! What settings must hold together and each alone, beyond their types.
//!
//! Owns: the rules between keys. Never knows: how settings are used, how they were written.

use std::collections::HashSet;

use crate::base::limits;

use super::Config;
use super::audit::AuditSink;
use super::error::{Problem, ValueError};
use super::listener::{ClientAuth, ListenAddress, Listener};
use super::nearest::nearest;
use super::quoting::{is_telling, quoted};
use super::tree::Node;
use super::units::{show_duration, show_size};
use super::upstream::{Tls, Verify};

/// A SHA-256 in hexadecimal.
const PIN_DIGITS: usize = 64;

/// Reports what is wrong with `config`, which was read from `root`, unless one of the keys
/// concerned is reported already.
pub(super) fn check(config: &Config, root: &Node, problems: &mut Vec<Problem>) {
    let mut check = Check { root, problems };
    check.listeners(config);
    check.policies(config);
    check.users(config);
    check.upstream(config);
    check.pool(config);
    check.limits(config);
    check.times(config);
    check.insight(config);
    check.admin(config);
    check.audit(config);
}

struct Check<'a> {
    root: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    /// Reports `mistake` unless `fine`. The keys are those that it concerns, the one to change
    /// first; it is reported at the first of them that is written somewhere.
    fn hold(&mut self, fine: bool, keys: &[&str], mistake: impl FnOnce() -> ValueError) {
        let reported = |key: &&str| self.problems.iter().any(|problem| problem.key == **key);
        if fine || keys.iter().any(reported) {
            return;
        }
        let written = keys.iter().find(|key| self.root.find(key).is_some());
        let Some(key) = written.or_else(|| keys.first()) else { return };
        self.problems.push(mistake().at(self.root.place_of(key), *key));
    }

    fn audit(&mut self, config: &Config) {
        let Some(audit) = &config.audit else { return };
        let mut files = HashSet::new();
        for (index, sink) in audit.sinks.iter().enumerate() {
            let AuditSink::File(file) = sink else { continue };
            self.hold(files.insert(&file.path), &[&format!("audit.sink.{index}.path")], || {
                ValueError::new("another sink writes to this file")
                    .hint("give it a file of its own")
            });
        }
        let queues = audit.queue_bytes.saturating_mul(audit.sinks.len());
        let budget = config.limits.memory_budget_bytes;
        self.hold(queues <= budget / 2, &["audit.queue", "limits.memory_budget"], || {
            ValueError::new(format!(
                "the queues of {} sinks together exceed half of limits.memory_budget",
                audit.sinks.len()
            ))
            .hint("make it smaller, or limits.memory_budget larger")
        });
    }

    fn listeners(&mut self, config: &Config) {
        self.hold(!config.listeners.is_empty(), &["listener"], || {
            ValueError::new("missing").hint("add [[listener]] with address = \"127.0.0.1:6379\"")
        });
        let mut taken = HashSet::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let key = |name: &str| format!("listener.{index}.{name}");
            let address = key("address");
            let (tcp, loopback, shared) = match &listener.address {
                ListenAddress::Tcp(address) => {
                    let loopback = address.ip().to_canonical().is_loopback();
                    // The system chooses another port 0 each time.
                    (true, loopback, address.port() == 0)
                }
                ListenAddress::Unix(_) => (false, true, false),
            };
            let open = listener.allow_remote || listener.requires_certificate();
            self.hold(loopback || open, &[&address], || {
                ValueError::new("other machines could connect").hint(
                    "listen on 127.0.0.1, add [listener.tls] with client_auth = \"require\", or add \
                     allow_remote = true if that is what you want",
                )
            });
            self.listener_tls(listener, tcp, index);
            let fresh = taken.insert(&listener.address) || shared;
            self.hold(fresh, &[&address], || ValueError::new("another listener has this address"));
            for name in ["mode", "group"] {
                let key = key(name);
                self.hold(!tcp || self.root.find(&key).is_none(), &[&key], || {
                    ValueError::new("only a Unix socket has it").hint("remove it")
                });
            }
        }
        let own = config.telemetry.address.filter(|address| address.port() != 0);
        let free = own.is_none_or(|address| !taken.contains(&ListenAddress::Tcp(address)));
        self.hold(free, &["telemetry.address"], || ValueError::new("a listener has this address"));
    }

    fn listener_tls(&mut self, listener: &Listener, tcp: bool, index: usize) {
        let key = |name: &str| format!("listener.{index}.tls{name}");
        let Some(tls) = &listener.tls else { return };
        self.hold(tcp, &[&key("")], || {
            ValueError::new("a Unix socket has no TLS")
                .hint("remove it: mode and group bound which processes connect, and uids of a user identify them")
        });
        self.positive(&key(".handshake_timeout"), tls.handshake_timeout);
        self.positive(&key(".max_handshakes"), tls.max_handshakes);
    }

    fn admin(&mut self, config: &Config) {
        let Some(address) = config.admin.address else { return };
        let loopback = address.ip().to_canonical().is_loopback();
        self.hold(loopback, &["admin.address"], || {
            ValueError::new("other machines could connect")
                .hint("listen on 127.0.0.1; from elsewhere, go through ssh or kubectl")
        });
        let taken = |other: &ListenAddress| *other == ListenAddress::Tcp(address);
        let free = address.port() == 0
            || (config.telemetry.address != Some(address)
                && !config.listeners.iter().any(|listener| taken(&listener.address)));
        self.hold(free, &["admin.address"], || {
            ValueError::new("a listener or the telemetry server has this address")
        });
        self.hold(config.admin.token_file.is_some(), &["admin.token_file"], || {
            ValueError::new("missing: any program of this machine could connect to admin.address")
                .hint("write one with: openssl rand -hex 32 > FILE; chmod 600 FILE")
        });
    }

    /// Every selected policy exists.
    fn policies(&mut self, config: &Config) {
        let listeners = config.listeners.iter().map(|listener| &listener.policy);
        let users = config.users.iter().map(|user| &user.policy);
        let at = |list: &'static str| move |(index, policy)| (list, index, policy);
        let all =
            listeners.enumerate().map(at("listener")).chain(users.enumerate().map(at("user")));
        for (list, index, selected) in all {
            let Some(name) = selected else { continue };
            let key = format!("{list}.{index}.policy");
            self.hold(config.policies.contains_key(name), &[&key], || {
                let shown = if is_telling(name) { quoted(name) } else { "of this name".to_owned() };
                let mistake = ValueError::new(format!("there is no policy {shown}"));
                let known = || config.policies.keys().map(String::as_str);
                mistake.hint(match nearest(name, known()) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None if config.policies.is_empty() && is_telling(name) => {
                        format!("write [policies.{name}]")
                    }
                    None if config.policies.is_empty() => "write [policies.NAME]".to_owned(),
                    None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
                })
            });
        }
    }

    fn users(&mut self, config: &Config) {
        let (mut names, mut uids) = (HashSet::new(), HashSet::new());
        let mut certificates = HashSet::new();
        for (index, user) in config.users.iter().enumerate() {
            let key = |name: &str| format!("user.{index}.{name}");
            let fresh = names.insert(&user.name);
            self.hold(fresh, &[&key("name")], || ValueError::new("another user has this name"));
            let fresh = user.uids.iter().all(|uid| uids.insert(uid));
            self.hold(fresh, &[&key("uids")], || ValueError::new("one is listed twice"));
            let fresh = user.certificates.iter().all(|name| certificates.insert(name));
            self.hold(fresh, &[&key("certificates")], || {
                ValueError::new("one is listed twice").hint("a certificate belongs to one user")
            });
        }
        let any = !config.users.is_empty() || config.acl_file.is_some();
        for (index, listener) in config.listeners.iter().enumerate() {
            let fine = any || listener.auth != ClientAuth::Users;
            self.hold(fine, &[&format!("listener.{index}.auth")], || {
                ValueError::new("there are no users")
                    .hint("add [[user]] with a name, or acl_file under [users]")
            });
        }
    }

    fn upstream(&mut self, config: &Config) {
        if let Some(tls) = &config.upstream.tls {
            self.tls(tls);
        }
        let username = config.upstream.auth.username.as_deref().unwrap_or("x");
        let plain = !username.contains(|c: char| c.is_whitespace() || c.is_control());
        self.hold(plain, &["upstream.auth.username", "upstream.address"], || {
            ValueError::new("a user name has no spaces and no control characters")
        });
        let retry = &config.upstream.retry;
        let grows = (1.0..=100.0).contains(&retry.multiplier);
        self.hold(grows, &["upstream.retry.multiplier"], || {
            ValueError::new("not between 1 and 100")
        });
        self.order(
            ("upstream.retry.initial", retry.initial),
            ("upstream.retry.max", retry.max),
            show_duration,
        );
    }

    fn tls(&mut self, tls: &Tls) {
        let pin = tls.verify == Verify::Pin;
        self.hold(!pin || !tls.pins.is_empty(), &["upstream.tls.verify"], || {
            ValueError::new("\"pin\" needs pins").hint(
                "add pins = [\"…\"]: the SHA-256 of the server's public key, 64 hexadecimal digits",
            )
        });
        self.hold(pin || tls.pins.is_empty(), &["upstream.tls.pins"], || {
            ValueError::new("without effect").hint("add verify = \"pin\", or remove pins")
        });
        self.hold(!pin || tls.ca.is_none(), &["upstream.tls.ca"], || {
            ValueError::new("without effect: verify = \"pin\" trusts the pins alone")
                .hint("remove ca; or remove verify and pins, to trust the authorities of ca")
        });
        for (is_there, key) in [
            (!tls.allowed_sans.is_empty(), "upstream.tls.allowed_sans"),
            (tls.revocation.is_some(), "upstream.tls.crl"),
        ] {
            self.hold(!pin || !is_there, &[key], || {
                ValueError::new("without effect: verify = \"pin\" trusts the pins alone")
                    .hint("remove it, or trust authorities: ca = \"FILE\" with verify = \"ca\"")
            });
        }
        let hexadecimal = |pin: &String| {
            pin.len() == PIN_DIGITS && pin.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        self.hold(tls.pins.iter().all(hexadecimal), &["upstream.tls.pins"], || {
            ValueError::new("a pin is the SHA-256 of a public key: 64 hexadecimal digits")
        });
        let name = tls.server_name.as_deref().unwrap_or("x");
        let plain =
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
        self.hold(plain, &["upstream.tls.server_name"], || ValueError::new("not a host name"));
    }

    fn pool(&mut self, config: &Config) {
        let pool = &config.upstream.pool;
        let count = |number: usize| number.to_string();
        self.order(
            ("upstream.pool.min_idle", pool.min_idle),
            ("upstream.pool.max_idle", pool.max_idle),
            count,
        );
        self.order(
            ("upstream.pool.min_idle", pool.min_idle),
            ("upstream.pool.max_connections", pool.max_connections),
            count,
        );
        self.positive("upstream.pool.max_connections", pool.max_connections);
        self.positive("upstream.pool.connections", pool.connections);
        let most = limits::SHARED_CONNECTIONS_MAX;
        self.at_most("upstream.pool.connections", pool.connections, most, count);
        self.positive("upstream.pool.max_handshakes", pool.max_handshakes);
        let most = limits::UPSTREAM_HANDSHAKES_MAX;
        self.at_most("upstream.pool.max_handshakes", pool.max_handshakes, most, count);
        let breaker = &config.upstream.breaker;
        self.positive("upstream.breaker.failures", breaker.failures);
        let most = limits::BREAKER_FAILURES_MAX;
        self.at_most("upstream.breaker.failures", breaker.failures, most, |n| n.to_string());
        let part = (0.0..=10.0).contains(&config.upstream.retry.budget);
        self.hold(part, &["upstream.retry.budget"], || ValueError::new("not between 0 and 10"));
    }

    fn limits(&mut self, config: &Config) {
        let own = &config.limits;
        let size = |bytes: usize| show_size(bytes as u64);
        self.at_most(
            "limits.max_args",
            u64::from(own.max_args),
            u64::from(limits::REQUEST_ARGS_MAX),
            |n| n.to_string(),
        );
        self.at_most("limits.max_bulk", own.max_bulk_bytes, limits::BULK_BYTES_MAX, show_size);
        self.at_most("limits.max_inline", own.max_inline_bytes, limits::INLINE_BYTES_MAX, size);
        self.at_most(
            "limits.max_transaction",
            own.max_transaction_bytes,
            limits::REQUEST_BYTES_MAX,
            size,
        );
        self.order(
            ("limits.output_soft", own.output_soft_bytes),
            ("limits.output_hard", own.output_hard_bytes),
            size,
        );
        self.positive("limits.max_clients", own.max_clients);
        self.positive("limits.max_args", own.max_args);
        self.positive("limits.max_bulk", own.max_bulk_bytes);
        self.positive("limits.max_inline", own.max_inline_bytes);
        self.positive("limits.large", own.large_bytes);
        self.positive("limits.max_in_flight", own.max_in_flight);
        self.positive("limits.max_in_flight_bytes", own.max_in_flight_bytes);
        self.positive("limits.max_transaction", own.max_transaction_bytes);
        self.positive("limits.max_watched", own.max_watched);
        self.positive("limits.max_patterns", own.max_patterns);
        self.positive("limits.max_repeated", own.max_repeated);
        self.positive("limits.output_hard", own.output_hard_bytes);
        self.positive("limits.output_soft", own.output_soft_bytes);
        self.positive("limits.memory_budget", own.memory_budget_bytes);
    }

    fn insight(&mut self, config: &Config) {
        let (slow, hot) = (&config.insight.slow, &config.insight.hot);
        let number = |count: usize| count.to_string();
        self.positive("slowlog.max_entries", slow.max_entries);
        self.at_most("slowlog.max_entries", slow.max_entries, limits::SLOW_ENTRIES_MAX, number);
        self.positive("hotkeys.max_keys", hot.max_keys);
        self.at_most("hotkeys.max_keys", hot.max_keys, limits::HOT_KEYS_MAX, number);
        self.at_most("hotkeys.sample", hot.sample, limits::HOT_KEYS_SAMPLE_MAX, |n| n.to_string());
    }

    fn times(&mut self, config: &Config) {
        let pool = &config.upstream.pool;
        self.positive("upstream.pool.idle_timeout", pool.idle_timeout);
        self.positive("upstream.pool.health_check_interval", pool.health_check_interval);
        self.positive("upstream.pool.acquire_timeout", pool.acquire_timeout);
        self.positive("upstream.pool.connect_timeout", pool.connect_timeout);
        self.positive("upstream.pool.stall_timeout", pool.stall_timeout);
        self.positive("upstream.pool.tcp_keepalive", pool.tcp_keepalive);
        self.positive("upstream.retry.initial", config.upstream.retry.initial);
        self.positive("upstream.outage_wait", config.upstream.outage_wait);
        self.positive("health.unready_after", config.health.unready_after);
        let drain = &config.drain;
        self.order(("drain.min", drain.min), ("drain.max", drain.max), show_duration);
    }

    fn positive<T: Default + PartialEq>(&mut self, key: &str, value: T) {
        self.hold(value != T::default(), &[key], || ValueError::new("must be more than 0"));
    }

    fn at_most<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        value: T,
        limit: T,
        show: impl Fn(T) -> String,
    ) {
        self.hold(value <= limit, &[key], || {
            ValueError::new(format!(
                "{} is more than {}, the most there is",
                show(value),
                show(limit)
            ))
        });
    }

    fn order<T: PartialOrd + Copy>(
        &mut self,
        low: (&str, T),
        high: (&str, T),
        show: impl Fn(T) -> String,
    ) {
        self.hold(low.1 <= high.1, &[low.0, high.0], || {
            ValueError::new(format!(
                "{} is {}, more than {}, which is {}",
                leaf(low.0),
                show(low.1),
                leaf(high.0),
                show(high.1)
            ))
        });
    }
}

/// The last part of a key.
fn leaf(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}
