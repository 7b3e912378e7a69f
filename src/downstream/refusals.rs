//! Refused commands and logins in the log: every one at debug, and of each kind one a minute.
//!
//! Owns: [`Refusals`]. Never knows: keys, values, passwords, how a command is judged.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use crate::base::limits;
use crate::policy::{Policy, Refusal};
use crate::resp::Request;
use crate::session::{Name, Peer, PeerIdentity};
use crate::tls::{Fault, TlsError};

/// The refusals of one thread.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By the hash of policy, rule and command; of a login by that of listener, peer and user.
    kinds: HashMap<u64, Sample>,
}

#[derive(Debug)]
struct Sample {
    since: Instant,
    /// Refused since, without a line.
    more: u64,
}

impl Refusals {
    pub(super) fn log(
        &mut self,
        now: Instant,
        policy: &Policy,
        listener: &str,
        refusal: &Refusal,
        request: &Request<'_>,
    ) {
        let (section, rule) = (policy.section(), refusal.rule.label());
        let command = refusal.command(request);
        tracing::debug!(policy = section, listener, rule, %command, "command refused");
        if let Some(more) = self.sample(now, kind(section, rule, &command)) {
            let words = "command refused; the same again within a minute is only counted";
            tracing::info!(code = "POL-I002", policy = section, listener, rule, %command, more, "{words}");
        }
    }

    /// A wrong login. Only users that exist are named: a client may have sent a password in the place of a
    /// name.
    pub(super) fn log_login(&mut self, now: Instant, peer: &Peer, user: Option<&Name>) {
        let listener = &*peer.listener;
        let user = user.map_or("unknown user", Name::as_str);
        let from = match &peer.identity {
            PeerIdentity::Uid(uid) => format!("uid {uid}"),
            PeerIdentity::Anonymous | PeerIdentity::Certificate(_) => peer.address().to_owned(),
        };
        tracing::debug!(listener, peer = %from, user, "login refused");
        // Each connection of a host has another port.
        let host = from.rsplit_once(':').map_or(&*from, |(host, _)| host);
        if let Some(more) = self.sample(now, kind(listener, host, user)) {
            let words = "login refused; the same again within a minute is only counted";
            tracing::warn!(code = "CLI-W001", listener, peer = %from, user, more, "{words}");
        }
    }

    /// A handshake that failed. One that the client ended by closing the connection is logged at debug alone.
    pub(super) fn log_handshake(
        &mut self,
        now: Instant,
        listener: &str,
        address: &str,
        error: &TlsError,
    ) {
        let (code, hint) = (error.fault.code(), error.hint());
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        if error.fault == Fault::PeerClosed {
            tracing::debug!(code, listener, peer = %address, cause = %error.detail, "TLS handshake failed");
        } else if let Some(more) = self.sample(now, kind(listener, host, &error.detail)) {
            let words = "TLS handshake failed; the same again within a minute is only counted";
            tracing::warn!(code, listener, peer = %address, cause = %error.detail, hint, more, "{words}");
        }
    }

    /// Whether a line is due, and how many of the kind had none since the last one.
    fn sample(&mut self, now: Instant, kind: u64) -> Option<u64> {
        let over = |sample: &Sample| {
            now.saturating_duration_since(sample.since) >= limits::REFUSAL_LOG_INTERVAL
        };
        match self.kinds.get_mut(&kind) {
            Some(sample) if over(sample) => {
                sample.since = now;
                return Some(std::mem::take(&mut sample.more));
            }
            Some(sample) => {
                sample.more += 1;
                return None;
            }
            None => {}
        }
        if self.kinds.len() >= limits::REFUSAL_LOG_KINDS_MAX {
            self.kinds.retain(|_, sample| !over(sample));
        }
        if self.kinds.len() >= limits::REFUSAL_LOG_KINDS_MAX {
            return None;
        }
        self.kinds.insert(kind, Sample { since: now, more: 0 });
        Some(0)
    }
}

fn kind(section: &str, rule: &str, command: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (section, rule, command).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock;

    #[test]
    fn kind_has_one_line_a_minute() {
        let (mut refusals, start) = (Refusals::default(), clock::now());
        let get = kind("policy", "command", "get");
        let other = kind("policy", "command", "set");
        assert_eq!(refusals.sample(start, get), Some(0));
        assert_eq!(refusals.sample(start, other), Some(0));
        for _ in 0..7 {
            assert_eq!(
                refusals
                    .sample(start + limits::REFUSAL_LOG_INTERVAL - Duration::from_nanos(1), get),
                None
            );
        }
        assert_eq!(refusals.sample(start + limits::REFUSAL_LOG_INTERVAL, get), Some(7));
        assert_eq!(refusals.sample(start + limits::REFUSAL_LOG_INTERVAL, get), None);
    }

    #[test]
    fn many_kinds_take_no_more_room_and_make_no_more_lines() {
        let (mut refusals, start) = (Refusals::default(), clock::now());
        let lines = |refusals: &mut Refusals, at, from| {
            (from..from + 1000).filter(|kind| refusals.sample(at, *kind).is_some()).count()
        };
        assert_eq!(lines(&mut refusals, start, 0), limits::REFUSAL_LOG_KINDS_MAX);
        assert_eq!(lines(&mut refusals, start, 5000), 0);
        assert_eq!(
            lines(&mut refusals, start + limits::REFUSAL_LOG_INTERVAL, 5000),
            limits::REFUSAL_LOG_KINDS_MAX
        );
        assert_eq!(refusals.kinds.len(), limits::REFUSAL_LOG_KINDS_MAX);
    }
}
