//! The user and password that connections log in with, and when a program is asked for them again.
//!
//! Owns: [`Credentials`], [`Login`]. Never knows: connections, when they log in.

mod answer;
mod error;
mod refresh;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::base::aside::aside_for;
use crate::base::clock;
use crate::base::entropy::Entropy;
use crate::base::limits;
use crate::base::live::Live;
use crate::base::program::Run;
use crate::base::secret::Secret;
use crate::config::{CertificateLogin, PasswordCommand, ServerAuth};
use answer::Answer;
pub(crate) use error::LoginError;
use refresh::Refresh;

/// One generation of credentials.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: Option<String>,
    /// Without one the client certificate alone must do.
    pub password: Option<Secret>,
    /// The server takes the user from the client certificate.
    pub certificate: Option<CertificateLogin>,
    /// Why there is no password yet, where a program is to print one: nothing can log in.
    pub missing: Option<Arc<LoginError>>,
    /// When the password ends, if its source gives a time.
    pub expires_at: Option<SystemTime>,
    /// Counts published credentials from 1.
    pub generation: u64,
}

impl Login {
    /// Reads what `auth` refers to. Blocks on files and programs.
    fn read(auth: &ServerAuth, generation: u64) -> Result<Self, LoginError> {
        let username = auth.username.clone();
        if let Some(command) = &auth.command {
            let answer = ask(command)?;
            return Ok(Self {
                username: answer.username.or(username),
                password: Some(answer.password),
                certificate: None,
                missing: None,
                expires_at: answer.expires_at,
                generation,
            });
        }
        let password = auth.password.as_ref().map(crate::config::SecretSource::read).transpose()?;
        let certificate = auth.certificate;
        Ok(Self { username, password, certificate, missing: None, expires_at: None, generation })
    }

    fn same_login(&self, other: &Self) -> bool {
        let same = match (&self.password, &other.password) {
            (Some(own), Some(other)) => own.matches(other.expose()),
            (None, None) => true,
            _ => false,
        };
        same && self.username == other.username
    }
}

/// Runs the program.
fn ask(command: &PasswordCommand) -> Result<Answer, LoginError> {
    let named = |name: &String| Some((name.into(), std::env::var_os(name)?));
    let run = Run {
        program: &command.program,
        arguments: &command.arguments,
        environment: command.environment.iter().filter_map(named).collect(),
        timeout: command.timeout,
        output_max: limits::PASSWORD_COMMAND_OUTPUT_BYTES_MAX,
    };
    let name = || command.program.display().to_string();
    let output = run.output().map_err(|error| LoginError::Program(name(), error))?;
    let answer = Answer::read(&output).map_err(|fault| LoginError::Answer(name(), fault))?;
    if answer.expires_at.is_some_and(|end| end <= clock::wall()) {
        return Err(LoginError::Expired(name()));
    }
    Ok(answer)
}

/// Where dials find the credentials of the moment; cheap to clone, all clones see the same.
#[derive(Clone, Debug)]
pub struct Credentials {
    auth: Arc<ServerAuth>,
    live: Live<Login>,
    /// One publication at a time: each counts from the one before.
    publishing: Arc<Mutex<()>>,
    /// One run of the program at a time.
    running: Arc<Mutex<()>>,
    refresh: Arc<Mutex<(Refresh, Entropy)>>,
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
    /// Reads the password and publishes it as generation 1. Blocks on files and programs.
    ///
    /// # Errors
    ///
    /// When there is none where one should be.
    pub fn open(auth: &ServerAuth) -> Result<Self, LoginError> {
        Ok(Self::with(auth, Login::read(auth, 1)?))
    }

    /// Like [`Self::open`], but a program that fails is run again later: until then nothing can log in.
    ///
    /// # Errors
    ///
    /// When there is none where one should be, and no program prints it.
    pub fn open_patient(auth: &ServerAuth) -> Result<Self, LoginError> {
        let login = match Login::read(auth, 1) {
            Err(error) if auth.command.is_some() => Login {
                username: auth.username.clone(),
                password: None,
                certificate: None,
                missing: Some(Arc::new(error)),
                expires_at: None,
                generation: 1,
            },
            read => read?,
        };
        Ok(Self::with(auth, login))
    }

    fn with(auth: &ServerAuth, login: Login) -> Self {
        let chance = RandomState::new().hash_one(std::process::id());
        let mut refresh = Refresh::default();
        refresh.handle_run(clock::now());
        let credentials = Self {
            auth: Arc::new(auth.clone()),
            live: Live::new(login),
            publishing: Arc::default(),
            running: Arc::default(),
            refresh: Arc::new(Mutex::new((refresh, Entropy::from_seed(chance)))),
        };
        let current = credentials.current();
        let read = if current.missing.is_some() { Err(()) } else { Ok(&*current) };
        credentials.note_read(read, true);
        credentials
    }

    /// The credentials that connections log in with.
    #[must_use]
    pub fn current(&self) -> Arc<Login> {
        self.live.get()
    }

    /// Whether a program prints the password.
    #[must_use]
    pub fn has_program(&self) -> bool {
        self.auth.command.is_some()
    }

    /// When to look whether the program is to be run again.
    #[must_use]
    pub fn look_at(&self) -> Option<Instant> {
        self.refresh().0.look_at(clock::now(), clock::wall())
    }

    /// Whether the program is to be run again now.
    #[must_use]
    pub fn is_refresh_due(&self) -> bool {
        self.refresh().0.is_due(clock::now(), clock::wall())
    }

    fn refresh(&self) -> MutexGuard<'_, (Refresh, Entropy)> {
        self.refresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a run of the program has brought.
    fn note_read(&self, read: Result<&Login, ()>, new: bool) {
        let Some(command) = &self.auth.command else { return };
        let (now, wall) = (clock::now(), clock::wall());
        let (refresh, entropy) = &mut *self.refresh();
        let chance = entropy.next_u64();
        match read {
            Ok(login) => {
                let left = login.expires_at.map(|end| end.duration_since(wall).unwrap_or_default());
                refresh.handle_password(left, command.refresh, new, (now, wall), chance);
            }
            Err(()) => refresh.handle_failure((now, wall), chance),
        }
    }

    /// Reads the password again; `None` when it is the one in use. Blocks on files and programs.
    ///
    /// # Errors
    ///
    /// When there is none where one should be; the one in use stays.
    pub fn candidate(&self) -> Result<Option<LoginCandidate>, LoginError> {
        let _one = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.read()
    }

    /// Like [`Self::candidate`], when the server has refused the credentials of a generation. `None` also when others
    /// are in force by now, or a program was run a moment ago.
    fn candidate_after(&self, refused: u64) -> Result<Option<LoginCandidate>, LoginError> {
        let _one = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let may = !self.has_program() || self.refresh().0.may_run_after_refusal(clock::now());
        if !may || self.current().generation != refused {
            return Ok(None);
        }
        self.read()
    }

    fn read(&self) -> Result<Option<LoginCandidate>, LoginError> {
        let current = self.current();
        self.refresh().0.handle_run(clock::now());
        let read = Login::read(&self.auth, current.generation + 1);
        let new = read.as_ref().is_ok_and(|login| !login.same_login(&current));
        self.note_read(read.as_ref().map_err(|_| ()), new);
        let login = read?;
        if new {
            return Ok(Some(LoginCandidate(Arc::new(login))));
        }
        self.note_end(login.expires_at, current.generation);
        Ok(None)
    }

    /// The password in use ends at another time than was known.
    fn note_end(&self, expires_at: Option<SystemTime>, generation: u64) {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if current.generation == generation && current.expires_at != expires_at {
            self.live.set(Arc::new(Login { expires_at, ..Login::clone(&current) }));
        }
    }

    /// How long reading may take: another run may be under way.
    fn patience(&self) -> Duration {
        let run = self.auth.command.as_ref().map_or(Duration::ZERO, |command| command.timeout);
        limits::FILE_WORK_TIMEOUT + run * 2
    }

    /// Like [`Self::candidate`], on another thread.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::candidate`], and when reading does not end.
    pub async fn read_again(&self) -> Result<Option<LoginCandidate>, LoginError> {
        let (own, patience) = (self.clone(), self.patience());
        let read = aside_for(patience, move || own.candidate()).await;
        read.unwrap_or(Err(LoginError::Stuck(patience)))
    }

    /// Other credentials than those of a generation that the server has refused, if there are any.
    ///
    /// # Errors
    ///
    /// The errors of [`Self::read_again`].
    pub async fn read_after(&self, refused: u64) -> Result<Option<LoginCandidate>, LoginError> {
        let (own, patience) = (self.clone(), self.patience());
        let read = aside_for(patience, move || own.candidate_after(refused)).await;
        read.unwrap_or(Err(LoginError::Stuck(patience)))
    }

    /// Makes a candidate what every connection logs in with from here on, and returns its generation.
    pub fn publish(&self, candidate: LoginCandidate) -> u64 {
        let _one = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        self.replace(candidate)
    }

    /// Like [`Self::publish`], unless what is in use is not of this generation any more.
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
    /// The errors of [`Self::candidate`].
    pub fn reload(&self) -> Result<Reload, LoginError> {
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
    fn new_password_is_a_new_generation_and_a_missing_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let auth = ServerAuth {
            username: Some("app".to_owned()),
            password: Some(SecretSource::File(file.clone())),
            ..ServerAuth::default()
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

    fn by_program(script: &str, directory: &std::path::Path) -> ServerAuth {
        let file = directory.join("script");
        std::fs::write(&file, script).unwrap();
        let command = PasswordCommand {
            program: "/bin/sh".into(),
            arguments: vec![file.display().to_string()],
            environment: Vec::new(),
            timeout: Duration::from_secs(30),
            refresh: Duration::from_secs(900),
        };
        let username = Some("configured".to_owned());
        ServerAuth { username, command: Some(command), ..ServerAuth::default() }
    }

    #[test]
    fn program_names_user_and_password_and_their_end() {
        let directory = tempfile::tempdir().unwrap();
        let auth = by_program("echo '{\"password\":\"one\"}'", directory.path());
        let credentials = Credentials::open(&auth).unwrap();
        let current = credentials.current();
        assert_eq!((current.username.as_deref(), current.expires_at), (Some("configured"), None));
        assert!(current.password.as_ref().unwrap().matches(b"one") && credentials.has_program());
        let look = credentials.look_at().unwrap();
        assert!(look > clock::now() && !credentials.is_refresh_due());
        by_program(
            "echo '{\"password\":\"one\",\"expires_at\":\"2100-01-01T00:00:00Z\",\"username\":\"configured\"}'",
            directory.path(),
        );
        assert_eq!(credentials.reload().unwrap(), Reload::Unchanged);
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
        assert_eq!(credentials.current().expires_at, Some(end), "the same password holds longer");
        by_program("echo '{\"password\":\"one\",\"username\":\"other\"}'", directory.path());
        assert_eq!(credentials.reload().unwrap(), Reload::Changed(2));
        assert_eq!(credentials.current().username.as_deref(), Some("other"));
    }

    #[test]
    fn failed_program_changes_nothing_and_has_a_code() {
        let directory = tempfile::tempdir().unwrap();
        let auth = by_program("echo '{\"password\":\"hunter2\"}'", directory.path());
        let credentials = Credentials::open(&auth).unwrap();
        for (script, code) in [
            ("exit 3", "CRD-E002"),
            ("head -c 100000 /dev/zero", "CRD-E004"),
            ("echo hunter2", "CRD-E005"),
            ("echo '{\"password\":\"hunter2\",\"expires_at\":1}'", "CRD-E006"),
        ] {
            by_program(script, directory.path());
            let error = credentials.candidate().unwrap_err();
            assert_eq!(error.code(), Some(code), "{script}");
            let text = format!("{error} {error:?}");
            assert!(text.contains(code) || !text.contains("hunter2"), "{text}");
            assert!(!text.contains("hunter2") && error.to_string().contains(code), "{text}");
        }
        assert_eq!(credentials.current().generation, 1);
        let missing = PasswordCommand { program: "/nowhere/x".into(), ..auth.command.unwrap() };
        let auth = ServerAuth { command: Some(missing), ..ServerAuth::default() };
        assert_eq!(Credentials::open(&auth).unwrap_err().code(), Some("CRD-E001"));
    }

    #[test]
    fn program_that_fails_at_the_start_is_run_again() {
        let directory = tempfile::tempdir().unwrap();
        let auth = by_program("exit 3", directory.path());
        assert_eq!(Credentials::open(&auth).unwrap_err().code(), Some("CRD-E002"));
        let credentials = Credentials::open_patient(&auth).unwrap();
        let missing = credentials.current().missing.clone();
        assert_eq!(missing.and_then(|error| error.code()), Some("CRD-E002"));
        let look = credentials.look_at().unwrap();
        assert!(look <= clock::now() + Duration::from_secs(2) && !credentials.is_refresh_due());
        assert_eq!(credentials.candidate().unwrap_err().code(), Some("CRD-E002"));
        by_program("echo '{\"password\":\"one\"}'", directory.path());
        assert_eq!(credentials.reload().unwrap(), Reload::Changed(2));
        assert!(credentials.current().missing.is_none());
        let file = ServerAuth {
            password: Some(SecretSource::File("/nowhere".into())),
            ..ServerAuth::default()
        };
        assert!(Credentials::open_patient(&file).is_err(), "a file that is missing is a mistake");
    }

    #[test]
    fn refused_password_runs_the_program_once() {
        let directory = tempfile::tempdir().unwrap();
        let script = "echo x >> \"$(dirname \"$0\")/runs\"; echo '{\"password\":\"one\"}'";
        let credentials = Credentials::open(&by_program(script, directory.path())).unwrap();
        for _ in 0..5 {
            assert!(credentials.candidate_after(1).unwrap().is_none());
        }
        assert!(credentials.candidate_after(7).unwrap().is_none(), "others are in force");
        let runs = std::fs::read_to_string(directory.path().join("runs")).unwrap();
        assert_eq!(runs, "x\n", "the one at the start was a moment ago");
    }
}
