//! TLS towards applications: respgate's certificate and the authorities that it accepts, replaced while in use.
//!
//! Owns: [`ListenerStore`], [`ListenerIdentity`]. Never knows: sockets, users.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;
use rustls::{RootCertStore, ServerConfig};

use super::error::{Fault, TlsError};
use super::files::{AuthorityFiles, FileSet, Paths};
use super::material::{self, OwnCertificate, Purpose};
use super::peer::{ClientVerifier, Peer, has_ended};
use super::provider;
use super::refusal::refused;
use super::revocation::Revocations;
use super::store::settled;
use crate::base::clock;
use crate::base::limits;
use crate::base::live::Live;
use crate::config::{AskClient, ListenerTls};

/// Tickets after a handshake: an application that opens a connection uses one.
const TICKETS: usize = 1;

/// One generation: certificate, key, accepted authorities and the sessions begun with them.
#[derive(Clone, Debug)]
pub(crate) struct ListenerIdentity {
    pub server_config: Arc<ServerConfig>,
    /// Counts published identities from 1.
    pub generation: u64,
    pub own: OwnCertificate,
    /// The latest end among the authorities of applications; `None` where no certificate is asked for.
    pub ca_not_after: Option<SystemTime>,
    /// When the first list of revoked certificates should be replaced.
    pub next_update: Option<SystemTime>,
    /// The verifier of applications' certificates.
    verifier: Arc<dyn ClientCertVerifier>,
    content_hash: [u8; 32],
}

impl ListenerIdentity {
    /// What is known of an application by the certificate that it has shown, if any.
    ///
    /// # Errors
    ///
    /// When the certificate has expired since the session began that was resumed.
    pub(crate) fn peer(
        &self,
        shown: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Peer>, TlsError> {
        let Some(leaf) = shown.and_then(|chain| chain.first()) else { return Ok(None) };
        let unread = || TlsError::new(Fault::PeerCertificate, "", "the certificate cannot be read");
        let peer = Peer::of(leaf).ok_or_else(unread)?;
        if has_ended(&peer, clock::wall()) {
            let detail = "the application's certificate has expired since its session began";
            return Err(TlsError::new(Fault::PeerExpired, "", detail));
        }
        Ok(Some(peer))
    }

    /// Whether a handshake with this chain would succeed now.
    ///
    /// # Errors
    ///
    /// With the reason, when it would not.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        let Some((leaf, rest)) = chain.split_first() else { return Ok(()) };
        let verified = self.verifier.verify_client_cert(leaf, rest, UnixTime::now());
        verified.map(drop).map_err(|error| refused(&error, ""))
    }
}

/// Where a listener finds its identity of the moment; cheap to clone, all clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct ListenerStore {
    settings: Arc<ListenerTls>,
    live: Live<ListenerIdentity>,
}

impl ListenerStore {
    /// Reads and checks the files and publishes them as generation 1. Blocks on files.
    ///
    /// # Errors
    ///
    /// When the files cannot be an identity; there is nothing to fall back to.
    pub(crate) fn open(settings: &ListenerTls) -> Result<Self, TlsError> {
        let files = FileSet::read(Paths::of_listener(settings))?;
        let identity = build(settings, &files, 1)?;
        Ok(Self { settings: Arc::new(settings.clone()), live: Live::new(identity) })
    }

    #[must_use]
    pub(crate) fn settings(&self) -> &ListenerTls {
        &self.settings
    }

    /// The identity that handshakes begin with.
    #[must_use]
    pub(crate) fn current(&self) -> Arc<ListenerIdentity> {
        self.live.get()
    }

    /// Reads and checks the files again, and publishes what they hold, if that is another identity. Waits two
    /// seconds for a writer that may not have finished.
    ///
    /// # Errors
    ///
    /// When the files cannot be an identity; the one in use stays.
    pub(crate) async fn reload(&self) -> Result<Option<Arc<ListenerIdentity>>, TlsError> {
        let store = self.clone();
        let Some(next) = settled("listener.tls", move || store.candidate()).await? else {
            return Ok(None);
        };
        let next = Arc::new(next);
        self.live.set(Arc::clone(&next));
        Ok(Some(next))
    }

    fn candidate(&self) -> Result<Option<ListenerIdentity>, TlsError> {
        let current = self.current();
        let files = FileSet::read(Paths::of_listener(&self.settings))?;
        if files.hash == current.content_hash {
            return Ok(None);
        }
        build(&self.settings, &files, current.generation + 1).map(Some)
    }
}

fn build(
    settings: &ListenerTls,
    files: &FileSet<'_>,
    generation: u64,
) -> Result<ListenerIdentity, TlsError> {
    let provider = provider::provider_of(&settings.algorithms);
    let missing = || TlsError::new(Fault::NoCertificate, "listener.tls", "no file is named");
    let own = files.own.as_ref().ok_or_else(missing)?;
    let own = material::own(own, Purpose::Server, &provider, clock::wall())?;
    let trusted = match &files.ca {
        Some(AuthorityFiles::File { path, pem }) => Some(material::authorities(pem, path)?),
        Some(AuthorityFiles::System(_)) | None => None,
    };
    let ca_not_after = trusted.as_ref().map(|trusted| trusted.not_after);
    let lists = material::lists(files, clock::wall())?;
    if let (Some(lists), Some(trusted), Some(file)) = (&lists, &trusted, &files.lists) {
        let algorithms = &provider.signature_verification_algorithms;
        lists.require_authority(&trusted.certificates, &file.settings.crl, algorithms)?;
    }
    let next_update = lists.as_ref().and_then(|lists| lists.next_update);
    let roots = trusted.map_or_else(RootCertStore::empty, |trusted| trusted.roots);
    let resolver = Arc::new(SingleCertAndKey::from(own.certified));
    let verifier = verifier(settings, roots, lists, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(provider::versions(settings.min_version))
        .map_err(|_| TlsError::new(Fault::Refused, "", "no TLS version is left to use"))?
        .with_client_cert_verifier(Arc::clone(&verifier))
        .with_cert_resolver(resolver);
    // Of this generation only: what the one before has accepted is asked for anew.
    config.session_storage = ServerSessionMemoryCache::new(limits::CLIENT_TLS_SESSIONS_MAX);
    config.send_tls13_tickets = TICKETS;
    Ok(ListenerIdentity {
        server_config: Arc::new(config),
        generation,
        own: own.facts,
        ca_not_after,
        next_update,
        verifier,
        content_hash: files.hash,
    })
}

fn verifier(
    settings: &ListenerTls,
    roots: RootCertStore,
    lists: Option<Revocations>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    Ok(match settings.client_auth {
        AskClient::Off => Arc::new(NoClientAuth),
        AskClient::Require | AskClient::Request => {
            Arc::new(ClientVerifier::new(settings, roots, lists, provider)?)
        }
    })
}
