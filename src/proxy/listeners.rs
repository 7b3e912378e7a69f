//! What listeners show to applications, and whose certificates they accept: read, read again, shown in metrics.
//!
//! Owns: [`ListenerStores`]. Never knows: sockets, when it is read again.

use super::attempt::Rejection;
use super::error::StartError;
use crate::config::Config;
use crate::telemetry::{CertificateRole, Metrics, TlsSide};
use crate::tls::{ListenerIdentity, ListenerStore, TlsError};

/// One for each listener, in their order; `None` for those without TLS.
#[derive(Clone, Debug)]
pub(super) struct ListenerStores {
    pub all: Vec<Option<ListenerStore>>,
    addresses: Vec<String>,
}

impl ListenerStores {
    pub(super) fn open(config: &Config, metrics: &Metrics) -> Result<Self, StartError> {
        let open = |listener: &crate::config::Listener| {
            let opened = listener.tls.as_ref().map(ListenerStore::open).transpose();
            opened.map_err(|error| StartError {
                hint: Some(error.hint().to_owned()),
                ..StartError::new(format!("listener {}: {error}", listener.address))
            })
        };
        let all = config.listeners.iter().map(open).collect::<Result<_, _>>()?;
        let addresses = config.listeners.iter().map(|one| one.address.to_string()).collect();
        let stores = Self { all, addresses };
        stores.note(metrics);
        Ok(stores)
    }

    /// Puts in force what is new in files that are good; those of other listeners keep what they have. Whether
    /// anything is new.
    pub(super) async fn reload(&self, metrics: &Metrics) -> Result<bool, Rejection> {
        let (mut applied, mut rejected) = (false, None);
        for (store, address) in self.all.iter().zip(&self.addresses) {
            let Some(store) = store else { continue };
            match store.reload().await {
                Ok(None) => {}
                Ok(Some(identity)) => {
                    announce(&identity, address);
                    applied = true;
                }
                Err(error) => rejected = rejected.or_else(|| Some(refused(&error, address))),
            }
        }
        self.note(metrics);
        rejected.map_or(Ok(applied), Err)
    }

    fn note(&self, metrics: &Metrics) {
        let current: Vec<_> = self.all.iter().flatten().map(ListenerStore::current).collect();
        let (begin, end) = (
            &metrics.tls_certificate_not_before_timestamp_seconds,
            &metrics.tls_certificate_not_after_timestamp_seconds,
        );
        if let Some(first) = current.iter().map(|identity| identity.own.not_after).min() {
            end[CertificateRole::Listener].set(first);
        }
        if let Some(last) = current.iter().map(|identity| identity.own.not_before).max() {
            begin[CertificateRole::Listener].set(last);
        }
        if let Some(first) = current.iter().filter_map(|identity| identity.ca_not_after).min() {
            end[CertificateRole::ClientCa].set(first);
        }
        if let Some(first) = current.iter().filter_map(|identity| identity.next_update).min() {
            metrics.tls_crl_next_update_timestamp_seconds[TlsSide::Listener].set(first);
        }
        let fingerprints = current.iter().map(|identity| identity.own.fingerprint.clone());
        metrics.tls_certificate_info.set(CertificateRole::Listener, fingerprints.collect());
    }
}

fn announce(identity: &ListenerIdentity, listener: &str) {
    tracing::info!(
        listener,
        generation = identity.generation,
        fingerprint = %identity.own.fingerprint,
        "new certificate and authorities of a listener in force; connections whose certificate is not accepted any more are closed"
    );
}

fn refused(error: &TlsError, listener: &str) -> Rejection {
    let text = format!("listener {listener}: {error}; {}", error.hint());
    Rejection::of_files(error.fault, text)
}
