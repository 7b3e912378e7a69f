//! The few metrics whose label values are not an enum, each with a bound on how many there can be.
//!
//! Owns: [`Certificates`], [`Policies`], [`StateSet`], [`BuildInfo`]. Never knows: policy, certificates.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::label::{CertificateRole, Label};
use super::number::{Series, gauge, pair};
use crate::base::limits;

/// Fingerprints of the certificates in use, by role; those of a former certificate disappear.
#[derive(Debug, Default)]
pub struct Certificates(Mutex<Vec<(CertificateRole, Vec<String>)>>);

impl Certificates {
    /// Replaces what is shown for `role`; of many only the first four.
    pub fn set(&self, role: CertificateRole, mut fingerprints: Vec<String>) {
        fingerprints.truncate(limits::FINGERPRINTS_MAX);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(other, _)| *other != role);
        all.push((role, fingerprints));
    }
}

impl Series for Certificates {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let lock = |own: &Self| own.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (role, fingerprints) in all.iter().flat_map(|own| lock(own)) {
            for fingerprint in &fingerprints {
                labels.push(pair(CertificateRole::NAME, role.label()));
                labels.push(pair("fingerprint", fingerprint));
                out.push(gauge(labels, 1.0));
                labels.truncate(labels.len() - 2);
            }
        }
    }
}

/// The present one of several states: 1 for it, 0 for the others.
pub struct StateSet<L>(AtomicUsize, PhantomData<fn(L)>);

impl<L: Label> StateSet<L> {
    pub fn set(&self, state: L) {
        self.0.store(state.index(), Relaxed);
    }
}

/// The first value of the enum.
impl<L> Default for StateSet<L> {
    fn default() -> Self {
        Self(AtomicUsize::new(0), PhantomData)
    }
}

impl<L: Label> Series for StateSet<L> {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        for (place, state) in L::ALL.iter().enumerate() {
            let is_present = all.iter().any(|own| own.0.load(Relaxed) == place);
            labels.push(pair(L::NAME, state.label()));
            out.push(gauge(labels, f64::from(u8::from(is_present))));
            labels.pop();
        }
    }
}

impl<L: Label> fmt::Debug for StateSet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        L::ALL.get(self.0.load(Relaxed)).fmt(f)
    }
}

/// The policies in force, each with its mode; those of a former configuration disappear.
#[derive(Debug, Default)]
pub struct Policies(Mutex<Vec<(String, &'static str)>>);

impl Policies {
    /// Replaces what is shown: the section of each policy in the configuration, and its mode; of many only
    /// the first 16.
    pub fn set(&self, mut policies: Vec<(String, &'static str)>) {
        policies.truncate(limits::SHOWN_POLICIES_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}

impl Series for Policies {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let lock = |own: &Self| own.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (policy, mode) in all.iter().flat_map(|own| lock(own)) {
            labels.push(pair("policy", &policy));
            labels.push(pair("mode", mode));
            out.push(gauge(labels, 1.0));
            labels.truncate(labels.len() - 2);
        }
    }
}

/// What was built, as labels; fixed at compile time.
#[derive(Debug, Default)]
pub struct BuildInfo;

impl Series for BuildInfo {
    const KIND: MetricType = MetricType::GAUGE;

    fn collect(_: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let held = labels.len();
        labels.push(pair("version", env!("CARGO_PKG_VERSION")));
        labels.push(pair("revision", option_env!("RESPGATE_REVISION").unwrap_or("unknown")));
        labels.push(pair("tls_provider", "aws-lc-rs"));
        out.push(gauge(labels, 1.0));
        labels.truncate(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(series: &impl Series) -> Vec<String> {
        let mut out = Vec::new();
        Series::collect(&[series], &mut Vec::new(), &mut out);
        let line = |m: &Metric| {
            let labels: Vec<&str> = m.get_label().iter().map(LabelPair::value).collect();
            let value = m.get_counter().get_value() + m.get_gauge().get_value();
            format!("{} {value}", labels.join(" "))
        };
        out.iter().map(line).collect()
    }

    #[test]
    fn new_certificate_replaces_the_old_one_of_its_role_only() {
        let certificates = Certificates::default();
        certificates.set(CertificateRole::TrustAnchor, vec!["root".to_owned(); 9]);
        certificates.set(CertificateRole::Client, vec!["old".to_owned()]);
        certificates.set(CertificateRole::Client, vec!["new".to_owned()]);
        let lines = lines(&certificates);
        assert_eq!(lines.len(), limits::FINGERPRINTS_MAX + 1);
        assert_eq!(lines.last().map(String::as_str), Some("client new 1"));
    }

    #[test]
    fn policies_of_a_former_configuration_disappear() {
        let policies = Policies::default();
        policies.set(vec![("policy".to_owned(), "observe"), ("policies.a".to_owned(), "enforce")]);
        assert_eq!(lines(&policies), ["policy observe 1", "policies.a enforce 1"]);
        policies.set(vec![("policy".to_owned(), "enforce")]);
        assert_eq!(lines(&policies), ["policy enforce 1"]);
    }

    #[test]
    fn state_set_has_one_state_at_a_time() {
        let state = StateSet::<super::super::label::State>::default();
        assert_eq!(lines(&state), ["starting 1", "ready 0", "degraded 0", "draining 0"]);
        state.set(super::super::label::State::Draining);
        assert_eq!(lines(&state), ["starting 0", "ready 0", "degraded 0", "draining 1"]);
    }
}
