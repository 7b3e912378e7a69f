//! Settings that another setting makes void: each is written, and changes nothing.
//!
//! Owns: the rules between keys by which one has no effect. Never knows: what a policy permits.
//!
//! Only what is written is reported, at its place, with what to change. A setting that is right for
//! another value of its neighbour is a mistake that no other message would find.

use std::collections::HashSet;
use std::path::Path;

use super::audit::OnOverflow;
use super::error::{Problem, ValueError};
use super::listener::{ClientAuth, ListenAddress, Listener};
use super::rate::{LimitRule, OnLimit};
use super::rules::{OnMissing, Rules};
use super::tree::Node;
use super::units::{show_duration, show_size};
use super::{Config, PoolMode, Readiness, User};

/// Reports what has no effect in `config`, which was read from `root`, unless the key is reported
/// already.
pub(super) fn check(config: &Config, root: &Node, problems: &mut Vec<Problem>) {
    let mut void = Void { root, problems };
    void.listeners(config);
    void.users(config);
    void.policies_in_use(config);
    for (section, rules) in config.sections() {
        void.policy(&section, rules, config);
    }
    void.server_auth(config);
    void.pool_and_limits(config);
    void.insight(config);
    void.sandbox(config);
    void.others(config);
}

struct Void<'a> {
    root: &'a Node,
    problems: &'a mut Vec<Problem>,
}

impl Void<'_> {
    fn is_written(&self, key: &str) -> bool {
        self.root.find(key).is_some()
    }

    /// `key` is written and has no effect when `is_void`: why, and what to do.
    fn report(&mut self, is_void: bool, key: &str, why: &str, hint: &str) {
        if !is_void || !self.is_written(key) || self.problems.iter().any(|one| one.key == key) {
            return;
        }
        let mistake = ValueError::new(format!("without effect: {why}")).hint(hint);
        self.problems.push(mistake.at(self.root.place_of(key), key));
    }

    fn listeners(&mut self, config: &Config) {
        for (index, listener) in config.listeners.iter().enumerate() {
            let open = match &listener.address {
                ListenAddress::Tcp(address) => !address.ip().to_canonical().is_loopback(),
                ListenAddress::Unix(_) => false,
            };
            self.report(
                listener.allow_remote && open && listener.requires_certificate(),
                &format!("listener.{index}.allow_remote"),
                "with tls.client_auth = \"require\" the listener may have any address",
                "remove it",
            );
            self.report(
                listener.allow_remote && !open,
                &format!("listener.{index}.allow_remote"),
                "other machines cannot reach this address",
                "remove it",
            );
            let by_user = config.acl_file.is_some() || config.users.iter().all(has_policy);
            self.report(
                listener.auth == ClientAuth::Users
                    && by_user
                    && !config.users.iter().any(needs_policy),
                &format!("listener.{index}.policy"),
                "every user has a policy of its own",
                "remove it",
            );
        }
    }

    fn users(&mut self, config: &Config) {
        let asking = || config.listeners.iter().filter(|one| one.auth == ClientAuth::Users);
        let asked = asking().next().is_some();
        let on_socket = asking().any(|one| matches!(one.address, ListenAddress::Unix(_)));
        let on_tls = asking().any(Listener::requests_certificate);
        let hint = "add auth = \"users\" to a listener, or remove it";
        self.report(!asked, "users.acl_file", "no listener has auth = \"users\"", hint);
        for (index, user) in config.users.iter().enumerate() {
            let key = |name: &str| format!("user.{index}.{name}");
            self.report(!asked, &key("name"), "no listener has auth = \"users\"", hint);
            self.report(
                asked && !on_socket && !user.uids.is_empty(),
                &key("uids"),
                "no Unix socket has auth = \"users\", and only there a process is known by its uid",
                "add auth = \"users\" to a listener with address = \"unix:…\", or remove it",
            );
            self.report(
                asked && !on_tls && !user.certificates.is_empty(),
                &key("certificates"),
                "no listener with auth = \"users\" uses client certificates",
                "add [listener.tls] with client_ca to a listener with auth = \"users\", or remove it",
            );
        }
    }

    /// What is about a program that there is not.
    fn server_auth(&mut self, config: &Config) {
        let without = config.upstream.auth.command.is_none();
        for key in ["env", "timeout", "refresh"] {
            let key = format!("upstream.auth.password_command_{key}");
            self.report(without, &key, "no password_command is set", "set it, or remove this");
        }
        let without = config.upstream.auth.certificate.is_none();
        let hint = "set certificate = true, or remove this";
        self.report(without, "upstream.auth.allow_default", "certificate is not set", hint);
    }

    fn sandbox(&mut self, config: &Config) {
        for key in ["sandbox.read", "sandbox.connect"] {
            let (why, hint) = ("sandbox.enabled is false", "remove it, or enable the sandbox");
            self.report(!config.sandbox.enabled, key, why, hint);
        }
        let hint = "remove it: with password_command any port may be connected to";
        let why = "a program prints the password";
        self.report(config.upstream.auth.command.is_some(), "sandbox.connect", why, hint);
    }

    /// A policy that no client can have.
    fn policies_in_use(&mut self, config: &Config) {
        let asking = |auth: &ClientAuth| *auth == ClientAuth::Users;
        let mut names: HashSet<Option<&str>> = HashSet::new();
        for listener in &config.listeners {
            let by_users = asking(&listener.auth) && !config.users.iter().any(needs_policy);
            if !by_users {
                names.insert(listener.policy.as_deref());
            } else if config.acl_file.is_some() {
                // Rules that an ACL file cannot express come from [policy].
                names.insert(None);
            }
            if listener.policy.is_some() {
                names.insert(listener.policy.as_deref());
            }
        }
        names.extend(config.users.iter().filter_map(|user| user.policy.as_deref()).map(Some));
        let hint = "name it in a listener or a user (policy = \"NAME\"), or remove it";
        for name in config.policies.keys() {
            let unused = !names.contains(&Some(name.as_str()));
            let key = format!("policies.{name}");
            self.report(unused, &key, "no listener and no user has this policy", hint);
        }
        let unused = !names.contains(&None);
        let hint = "remove it, or remove policy = \"NAME\" where [policy] is meant";
        self.report(unused, "policy", "every listener and user has another policy", hint);
    }

    fn policy(&mut self, section: &str, rules: &Rules, config: &Config) {
        let key = |name: &str| format!("{section}.{name}");
        let ttl = &rules.ttl;
        self.report(
            ttl.default.is_some() && ttl.on_missing != OnMissing::Inject,
            &key("ttl.default"),
            "only on_missing = \"inject\" gives it to keys",
            "add on_missing = \"inject\", or remove it",
        );
        let hint = "add max, or remove it";
        self.report(ttl.max.is_none(), &key("ttl.on_exceed"), "there is no max", hint);
        let both = rules.observe_all && !rules.observe.is_empty();
        let hint = "remove it, or mode = \"observe\" to observe these alone";
        self.report(both, &key("observe"), "mode = \"observe\" is about every rule", hint);
        self.beyond_limits(section, rules, config);
        for (index, limit) in rules.limits.iter().enumerate() {
            self.limit(&format!("{section}.limit.{index}"), limit);
        }
    }

    /// What no request can exceed, because `[limits]` are narrower.
    fn beyond_limits(&mut self, section: &str, rules: &Rules, config: &Config) {
        let bulk = config.limits.max_bulk_bytes;
        let why =
            format!("no argument is longer than limits.max_bulk, which is {}", show_size(bulk));
        let hint = "make it smaller, or remove it";
        for (name, bytes) in [
            ("keys.max_bytes", rules.keys.max_bytes.map(|bytes| bytes as u64)),
            ("values.max_bytes", rules.values.max_bytes),
        ] {
            let over = bytes.is_some_and(|bytes| bytes > bulk);
            self.report(over, &format!("{section}.{name}"), &why, hint);
        }
        let most = config.limits.max_args;
        let over = rules.values.max_args.is_some_and(|count| count > most);
        let why = format!("no command has more arguments than limits.max_args, which is {most}");
        self.report(over, &format!("{section}.values.max_args"), &why, hint);
    }

    fn limit(&mut self, at: &str, limit: &LimitRule) {
        let nothing = limit.rate.is_none() && limit.concurrency.is_none();
        self.report(
            nothing && !self.is_written(&format!("{at}.burst")),
            &format!("{at}.commands"),
            "neither rate nor concurrency limits them",
            "add rate = \"1000/s\" or concurrency = 50, or remove this [[limit]]",
        );
        self.report(
            limit.on_exceed == OnLimit::Error,
            &format!("{at}.max_delay"),
            "with on_exceed = \"error\" nothing waits",
            "remove it, or on_exceed",
        );
    }

    fn pool_and_limits(&mut self, config: &Config) {
        let pool = &config.upstream.pool;
        self.report(
            pool.max_idle > pool.max_connections,
            "upstream.pool.max_idle",
            &format!("there are at most max_connections, which is {}", pool.max_connections),
            "make it smaller, or max_connections larger",
        );
        let alone = pool.mode == PoolMode::Session;
        let why = "with pool.mode = \"session\" no session shares a connection";
        self.report(alone, "upstream.pool.stall_timeout", why, "remove it, or the mode");
        self.report(alone, "upstream.pool.connections", why, "remove it, or the mode");
        self.report(alone, "upstream.retry.max_retries", why, "remove it, or the mode");
        self.report(alone, "upstream.retry.budget", why, "remove it, or the mode");
        self.recovery(config);
        let own = &config.limits;
        self.report(
            own.large_bytes > own.max_bulk_bytes,
            "limits.large",
            &format!(
                "no argument is longer than max_bulk, which is {}",
                show_size(own.max_bulk_bytes)
            ),
            "make it smaller, or max_bulk larger",
        );
        self.report(
            own.output_soft_bytes == own.output_hard_bytes,
            "limits.output_soft",
            "a client is disconnected at output_hard, which is the same",
            "make it smaller, or output_hard larger",
        );
        let budget = own.memory_budget_bytes;
        for (key, bytes) in [
            ("limits.output_hard", own.output_hard_bytes),
            ("limits.max_transaction", own.max_transaction_bytes),
            ("limits.max_in_flight_bytes", own.max_in_flight_bytes),
        ] {
            let why = format!(
                "all clients together have memory_budget, which is {}",
                show_size(budget as u64)
            );
            self.report(bytes > budget, key, &why, "make it smaller, or memory_budget larger");
        }
    }

    fn recovery(&mut self, config: &Config) {
        let (retry, breaker) = (&config.upstream.retry, &config.upstream.breaker);
        self.report(
            retry.max_retries == 0,
            "upstream.retry.budget",
            "with max_retries = 0 nothing is sent again",
            "remove it, or max_retries",
        );
        let open = breaker.open_time;
        let why = format!(
            "each attempt waits for upstream.breaker.open_time, which is {}",
            show_duration(open)
        );
        let hint = "remove it, or make open_time shorter than retry.max";
        for key in ["initial", "multiplier", "max"] {
            let never = breaker.failures == 1 && open >= retry.max;
            self.report(never, &format!("upstream.retry.{key}"), &why, hint);
        }
        self.report(
            config.health.readiness == Readiness::Process,
            "health.unready_after",
            "readiness does not follow the server",
            "add readiness = \"upstream\", or remove it",
        );
    }

    fn insight(&mut self, config: &Config) {
        let (slow, hot) = (&config.insight.slow, &config.insight.hot);
        let (no_slow, no_hot) = (slow.threshold.is_zero(), hot.sample == 0 && hot.big == 0);
        self.report(
            no_slow,
            "slowlog.max_entries",
            "no command is slow while slowlog.threshold is 0",
            "set slowlog.threshold, or remove it",
        );
        self.report(
            no_hot,
            "hotkeys.max_keys",
            "no keys are looked at while hotkeys.sample and hotkeys.big are 0",
            "set hotkeys.sample or hotkeys.big, or remove it",
        );
        let unused = config.admin.socket.is_none() && config.admin.address.is_none();
        let why = "without [admin] socket, nothing can ask for what is found";
        for (is_on, key) in [
            (!no_slow, "slowlog.threshold"),
            (hot.sample > 0, "hotkeys.sample"),
            (hot.big > 0, "hotkeys.big"),
        ] {
            self.report(is_on && unused, key, why, "add [admin] socket, or remove it");
        }
    }

    fn others(&mut self, config: &Config) {
        let drain = &config.drain;
        self.report(
            drain.quiet > drain.max,
            "drain.quiet",
            &format!("the drain ends after max, which is {}", show_duration(drain.max)),
            "make it shorter, or max longer",
        );
        self.report(
            config.admin.address.is_none() && config.admin.token_file.is_some(),
            "admin.token_file",
            "without admin.address no request has a token",
            "remove it, or set admin.address",
        );
        self.report(
            config.telemetry.address.is_none(),
            "telemetry.metrics",
            "with address = \"off\" there is no /metrics",
            "remove it, or set telemetry.address",
        );
        let waits = config.audit.as_ref().is_none_or(|one| one.on_overflow == OnOverflow::Block);
        self.report(
            !waits,
            "audit.wait",
            "commands wait only with audit.on_overflow = \"block\"",
            "remove it, or set on_overflow",
        );
        let socket = config.admin.socket.as_deref();
        let taken = |path: &Path| {
            let same = |address: &ListenAddress| matches!(address, ListenAddress::Unix(one) if one == path);
            config.listeners.iter().any(|listener| same(&listener.address))
        };
        if socket.is_some_and(taken) {
            let mistake =
                ValueError::new("a listener has this address").hint("give it a file of its own");
            let key = "admin.socket";
            self.problems.push(mistake.at(self.root.place_of(key), key));
        }
    }
}

const fn has_policy(user: &User) -> bool {
    user.policy.is_some()
}

const fn needs_policy(user: &User) -> bool {
    user.policy.is_none()
}
