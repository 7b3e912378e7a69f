//! The user and password that connections log in with.
//!
//! Owns: [`Credentials`], [`Login`]. Never knows: files, when to read again.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::live::Live;
use crate::base::secret::Secret;
use crate::config::{ServerAuth, SourceError};

/// One generation of credentials.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: Option<String>,
    /// Without one the client certificate alone must do.
    pub password: Option<Secret>,
    /// Counts published credentials from 1.
    pub generation: u64,
}

impl Login {
    /// Reads what `auth` refers to.
    fn read(auth: &ServerAuth, generation: u64) -> Result<Self, SourceError> {
        let password = auth.password.as_ref().map(crate::config::SecretSource::read).transpose()?;
        Ok(Self { username: auth.username.clone(), password, generation })
    }

    fn same_password(&self, other: &Self) -> bool {
        match (&self.password, &other.password) {
            (Some(own), Some(other)) => own.matches(other.expose()),
            (None, None) => true,
            _ => false,
        }
    }
}

/// Where dials find the credentials of the moment; cheap to clone, all clones see the same.
#[derive(Clone, Debug)]
pub struct Credentials {
    auth: Arc<ServerAuth>,
    live: Live<Login>,
    /// One publication at a time: each counts from the one before.
    publishing: Arc<Mutex<()>>,
}

/// Credentials read again and not yet in use: probe them, then publish them.
#[derive(Debug)]
pub struct LoginCandidate(Arc<Login>);

impl LoginCandidate {
    /// For the probe.
    #[must_use]
    pub const fn login(&self) -> &Arc<Login> {
        &self.0
    }
}

/// What reading again brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    Unchanged,
    /// Published, as this generation.
    Changed(u64),
}

impl Credentials {
    /// Reads the password and publishes it as generation 1.
    ///
    /// # Errors
    ///
    /// When there is none where one should be.
    pub fn open(auth: &ServerAuth) -> Result<Self, SourceError> {
        let login = Login::read(auth, 1)?;
        let (auth, publishing) = (Arc::new(auth.clone()), Arc::default());
        Ok(Self { auth, live: Live::new(login), publishing })
    }

    /// The credentials that connections log in with.
    #[must_use]
    pub fn current(&self) -> Arc<Login> {
        self.live.get()
    }

    /// Reads the password again; `None` when it is the one in use.
    ///
    /// # Errors
    ///
    /// When there is none where one should be; the one in use stays.
    pub fn candidate(&self) -> Result<Option<LoginCandidate>, SourceError> {
        let current = self.current();
        let login = Login::read(&self.auth, current.generation + 1)?;
        if login.same_password(&current) {
            return Ok(None);
        }
        Ok(Some(LoginCandidate(Arc::new(login))))
    }

    /// Makes a candidate what every connection logs in with from here on, and says its generation.
    pub fn publish(&self, candidate: LoginCandidate) -> u64 {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(candidate)
    }

    /// As [`Self::publish`], unless what is in use is not of this generation any more.
    pub fn publish_after(&self, generation: u64, candidate: LoginCandidate) -> Option<u64> {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        (self.current().generation == generation).then(|| self.replace(candidate))
    }

    fn replace(&self, candidate: LoginCandidate) -> u64 {
        let mut login = candidate.0;
        let generation = self.current().generation + 1;
        if login.generation != generation {
            login = Arc::new(Login { generation, ..Login::clone(&login) });
        }
        self.live.set(login);
        generation
    }

    /// Reads again and publishes without a probe.
    ///
    /// # Errors
    ///
    /// As [`Self::candidate`].
    pub fn reload(&self) -> Result<Reload, SourceError> {
        Ok(match self.candidate()? {
            None => Reload::Unchanged,
            Some(candidate) => Reload::Changed(self.publish(candidate)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretSource;

    #[test]
    fn a_new_password_is_a_new_generation_and_a_missing_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let auth = ServerAuth {
            username: Some("app".to_owned()),
            password: Some(SecretSource::File(file.clone())),
        };
        assert!(Credentials::open(&auth).is_err());
        std::fs::write(&file, "one\n").unwrap();
        let credentials = Credentials::open(&auth).unwrap();
        assert_eq!(credentials.current().generation, 1);
        std::fs::write(&file, "one").unwrap();
        assert_eq!(credentials.reload().unwrap(), Reload::Unchanged, "a line break is no password");
        std::fs::write(&file, "two").unwrap();
        let other = credentials.clone();
        assert_eq!(credentials.reload().unwrap(), Reload::Changed(2));
        assert!(other.current().password.as_ref().unwrap().matches(b"two"), "clones see the same");
        std::fs::write(&file, "three").unwrap();
        let candidate = || credentials.candidate().unwrap().unwrap();
        assert_eq!(credentials.publish_after(1, candidate()), None, "that was replaced before");
        assert_eq!(credentials.publish_after(2, candidate()), Some(3));
        std::fs::write(&file, "").unwrap();
        assert!(credentials.reload().is_err());
        assert_eq!(credentials.current().generation, 3);
        assert!(!format!("{credentials:?}").contains("three"));
    }
}
