//! What differs between two configurations, and what of it a running process can take up.
//!
//! Owns: [`Changes`] and which key is which. Never knows: how a change is applied.

use super::{Config, listener::Listener};

/// Names of keys or sections that differ.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// Applied by a running process.
    pub live: Vec<&'static str>,
    /// Applied by the next start only.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Whether the two configurations mean the same.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// What `new` changes over `old`.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Changes {
    let (o, n) = (&old.upstream, &new.upstream);
    let listeners = |differ: fn(&Listener, &Listener) -> bool| {
        same_listeners(old, new)
            && old.listeners.iter().zip(&new.listeners).any(|(old, new)| differ(old, new))
    };
    let live = [
        ("listener.auth", listeners(|old, new| old.auth != new.auth)),
        ("listener.policy", listeners(|old, new| old.policy != new.policy)),
        ("policy", old.policy != new.policy),
        ("commands", old.commands != new.commands),
        ("policies", old.policies != new.policies),
        ("user", old.users != new.users),
        ("users.acl_file", old.acl_file != new.acl_file),
        ("limits", old.limits != new.limits),
        ("slowlog", old.insight.slow != new.insight.slow),
        ("hotkeys", old.insight.hot != new.insight.hot),
        ("telemetry.metrics", old.telemetry.metrics != new.telemetry.metrics),
        ("telemetry.log_level", old.telemetry.log_level != new.telemetry.log_level),
        ("drain", old.drain != new.drain),
    ];
    let restart = [
        ("listener", !same_listeners(old, new)),
        ("upstream.address", o.address != n.address),
        ("upstream.insecure_plaintext", o.tls.is_some() != n.tls.is_some()),
        ("upstream.tls", o.tls.is_some() && n.tls.is_some() && o.tls != n.tls),
        ("upstream.auth", o.auth != n.auth),
        ("upstream.pool", o.pool != n.pool),
        ("upstream.retry", o.retry != n.retry),
        ("upstream.breaker", o.breaker != n.breaker),
        ("upstream.on_outage", o.on_outage != n.on_outage),
        ("upstream.outage_wait", o.outage_wait != n.outage_wait),
        ("telemetry.address", old.telemetry.address != new.telemetry.address),
        ("admin", old.admin != new.admin),
        ("audit", old.audit != new.audit),
        ("startup", old.startup != new.startup),
        ("health", old.health != new.health),
        ("sandbox", old.sandbox != new.sandbox),
        ("telemetry.log_format", old.telemetry.log_format != new.telemetry.log_format),
    ];
    Changes { live: names(&live), restart: names(&restart) }
}

fn names(rows: &[(&'static str, bool)]) -> Vec<&'static str> {
    rows.iter().filter(|(_, changed)| *changed).map(|(name, _)| *name).collect()
}

/// Whether both listen at the same places in the same way; access and policy are compared apart.
fn same_listeners(old: &Config, new: &Config) -> bool {
    let place = |listener: &Listener| Listener {
        auth: super::ClientAuth::Off,
        policy: None,
        ..listener.clone()
    };
    old.listeners.iter().map(place).eq(new.listeners.iter().map(place))
}
