//! The identity in use: validated first, published second, kept when its successor is no good.
//!
//! Owns: [`TlsStore`], [`Candidate`]. Never knows: sockets, how a candidate is probed.

use std::sync::Arc;
use std::time::SystemTime;

use super::error::{Fault, TlsError};
use super::files::{FileSet, Paths};
use super::identity::Identity;
use super::material::Material;
use super::provider;
use crate::base::aside::aside;
use crate::base::clock;
use crate::base::limits;
use crate::base::live::Live;
use crate::config;

/// Where dials find the identity of the moment; cheap to clone, all clones see the same.
#[derive(Clone, Debug)]
pub struct TlsStore {
    settings: Arc<config::Tls>,
    live: Live<Identity>,
}

/// An identity that passed every check but the server's: probe it, then publish it.
#[derive(Debug)]
pub struct Candidate(Arc<Identity>);

impl Candidate {
    /// For the probe. Its generation is the one it gets if it is published next.
    #[must_use]
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.0
    }
}

impl TlsStore {
    /// Reads and checks the files and publishes them as generation 1. Blocks on files.
    ///
    /// # Errors
    ///
    /// When the files cannot be an identity; there is nothing to fall back to.
    pub fn open(settings: &config::Tls) -> Result<Self, TlsError> {
        let files = FileSet::read(Paths::of(settings))?;
        let identity = build(settings, &files, clock::wall(), 1)?;
        Ok(Self { settings: Arc::new(settings.clone()), live: Live::new(identity) })
    }

    /// The identity that connections are opened with.
    #[must_use]
    pub fn current(&self) -> Arc<Identity> {
        self.live.get()
    }

    /// Reads and checks the files again; `None` when they hold what is in use. Blocks on files.
    ///
    /// # Errors
    ///
    /// When the files cannot be an identity; the one in use stays.
    pub fn candidate(&self) -> Result<Option<Candidate>, TlsError> {
        let current = self.current();
        let files = FileSet::read(Paths::of(&self.settings))?;
        if files.hash == current.content_hash {
            return Ok(None);
        }
        let generation = current.generation + 1;
        let identity = build(&self.settings, &files, clock::wall(), generation)?;
        Ok(Some(Candidate(Arc::new(identity))))
    }

    /// Like [`Self::candidate`], and waits two seconds for files that a writer may not have
    /// finished: some replace certificate and key one after the other.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::candidate`].
    pub async fn candidate_settled(&self) -> Result<Option<Candidate>, TlsError> {
        let store = self.clone();
        settled("upstream.tls", move || store.candidate()).await
    }

    /// Makes a candidate the identity of every connection opened from here on, as a generation of
    /// its own, and returns it. The caller retires connections of earlier generations.
    #[must_use = "connections of earlier generations are to be retired"]
    pub fn publish(&self, candidate: Candidate) -> Arc<Identity> {
        let mut identity = candidate.0;
        let generation = self.current().generation + 1;
        if identity.generation != generation {
            identity = Arc::new(Identity { generation, ..Identity::clone(&identity) });
        }
        self.live.set(Arc::clone(&identity));
        identity
    }
}

/// Reads again, for two seconds, while what is read may be half of a write. Blocks nothing.
pub(super) async fn settled<T: Send + 'static>(
    what: &str,
    read: impl Fn() -> Result<T, TlsError> + Clone + Send + 'static,
) -> Result<T, TlsError> {
    let mut tries = 1;
    loop {
        let Some(done) = aside(read.clone()).await else { return Err(never_read(what)) };
        match done {
            Err(error)
                if error.fault.is_transient() && tries < limits::CERTIFICATE_SETTLE_READS_MAX =>
            {
                tokio::time::sleep(
                    limits::CERTIFICATE_SETTLE_TIME / (limits::CERTIFICATE_SETTLE_READS_MAX - 1),
                )
                .await;
                tries += 1;
            }
            settled => return settled,
        }
    }
}

fn never_read(what: &str) -> TlsError {
    let detail = "reading the files does not end; is their file system gone?";
    TlsError::new(Fault::Unreadable, what, detail)
}

fn build(
    settings: &config::Tls,
    files: &FileSet<'_>,
    now: SystemTime,
    generation: u64,
) -> Result<Identity, TlsError> {
    let provider = provider::provider_of(&settings.algorithms);
    let material = Material::from_files(files, &provider, now)?;
    Identity::build(settings, material, provider, generation)
}
