//! Reload: validate, probe, publish; any fault keeps what is in force.
//!
//! Owns: [`Reloader`]. Never knows: how connections move over, the rules of a policy.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::access::{self, AccessSources};
use super::admin_state::InForce;
use super::attempt::{Attempt, Rejection};
use super::command_sources::{Answer, CommandSources};
use super::components::{self, Components};
use super::descriptors;
use super::error::StartError;
use super::levels::Levels;
use super::open_secrets::OpenSecrets;
use super::retry::{Hindrance, Retry};
use crate::audit::{Event, Kind};
use crate::base::aside::{self, aside};
use crate::base::clock;
use crate::base::limits;
use crate::base::live::Live;
use crate::config::{self, Config, Drain, Problem};
use crate::downstream::AuditRules;
use crate::telemetry::{Label, Reload, ReloadRejection, ReloadResult, Telemetry};
use crate::tls::watch::Watch;

/// Where a reload finds the next configuration.
pub(crate) struct ConfigReloader {
    /// The file it is read from, to be watched.
    pub file: Option<std::path::PathBuf>,
    pub load: Arc<dyn Fn() -> Result<Config, Vec<Problem>> + Send + Sync>,
}

impl std::fmt::Debug for ConfigReloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reread").field("file", &self.file).finish_non_exhaustive()
    }
}

/// What the data plane must apply after a reload.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub rotate: bool,
    pub limits: bool,
    pub access: bool,
    /// Certificates of applications that were accepted may not be any more.
    pub client_trust: bool,
    /// The configuration names other files.
    pub watch: Option<Watch>,
    pub drain: Option<Drain>,
    /// What came of each part.
    pub attempts: Vec<Attempt>,
}

impl Outcome {
    /// What may pass although no file changes, and is to be looked at first.
    fn hindrance(&self) -> Option<Hindrance> {
        let rejections = self.attempts.iter().filter_map(|attempt| attempt.rejection.as_ref());
        rejections.filter_map(|rejection| rejection.hindrance).max()
    }
}

/// A file that the configuration names, or its own, is on a file system that is gone.
const NEVER_READ: &str = "a file is not read in time; is its file system gone?";

/// Holds what is in force and replaces it.
#[derive(Debug)]
pub(super) struct Reloader {
    config: Config,
    components: Components,
    /// Where verbs see both.
    in_force: Live<InForce>,
    command_sources: CommandSources,
    telemetry: Telemetry,
    levels: Arc<Levels>,
    retry: Retry,
    /// The credentials that the data plane applied last.
    applied_generation: u64,
    open: OpenSecrets,
}

impl Reloader {
    pub(super) fn new(
        in_force: Live<InForce>,
        command_sources: CommandSources,
        telemetry: Telemetry,
        levels: Arc<Levels>,
    ) -> Self {
        let now = clock::wall();
        for what in [Reload::TlsIdentity, Reload::Listener, Reload::Auth, Reload::Config] {
            telemetry.metrics.reload_last_attempt_timestamp_seconds[what].set(now);
            telemetry.metrics.reload_last_success_timestamp_seconds[what].set(now);
        }
        let InForce { config, components } = in_force.get().as_ref().clone();
        components::note_config(&config, &telemetry.metrics);
        let applied_generation = components.credentials.current().generation;
        Self {
            config,
            components,
            in_force,
            command_sources,
            telemetry,
            levels,
            retry: Retry::default(),
            applied_generation,
            open: OpenSecrets::default(),
        }
    }

    /// Shows verbs what is in force now.
    fn publish(&self) {
        let (config, components) = (self.config.clone(), self.components.clone());
        self.in_force.set(InForce { config, components }.into());
    }

    /// When the client certificate in force ends, if there is one.
    pub(super) fn certificate_end(&self) -> Option<SystemTime> {
        let identity = self.components.tls.as_ref()?.current();
        identity.client.as_ref().map(|client| client.chain_not_after)
    }

    /// When to try again although nothing has changed: the server could not be asked.
    pub(super) const fn retry_at(&self) -> Option<Instant> {
        self.retry.at()
    }

    /// Replaces what has changed. Each part is all or nothing: the configuration, the identity, that of
    /// each listener, the password.
    pub(super) async fn reload(&mut self, reread: &ConfigReloader) -> Outcome {
        let mut outcome = Outcome::default();
        let given_up = aside::given_up();
        let result = Box::pin(self.reload_config(reread, &mut outcome)).await;
        let result =
            result.map_err(|rejection| rejection.of_slow_files(aside::given_up() != given_up));
        outcome.attempts.push(self.report(Reload::Config, result));
        let result = self.reload_identity().await;
        outcome.rotate |= matches!(result, Ok(true));
        outcome.attempts.push(self.report(Reload::TlsIdentity, result));
        let result = self.components.listeners.reload(&self.telemetry.metrics).await;
        // Of several listeners one may have failed.
        outcome.client_trust = !matches!(result, Ok(false));
        outcome.attempts.push(self.report(Reload::Listener, result));
        let result = self.reload_credentials().await;
        outcome.rotate |= matches!(result, Ok(true));
        outcome.attempts.push(self.report(Reload::Auth, result));
        match outcome.hindrance() {
            Some(hindrance) => self.retry.failed(hindrance, clock::now()),
            None => self.retry.succeeded(),
        }
        self.publish();
        self.look_at_secrets().await;
        outcome
    }

    /// Reports files with secrets that others may read.
    pub(super) async fn look_at_secrets(&mut self) {
        self.open.warn(&self.config).await;
    }

    /// When to look whether the password is to be replaced ahead of its end.
    pub(super) fn credentials_look_at(&self) -> Option<Instant> {
        self.components.credentials.look_at()
    }

    /// Whether it is to be.
    pub(super) fn credentials_are_due(&self) -> bool {
        self.components.credentials.is_refresh_due()
    }

    /// Replaces the password alone.
    pub(super) async fn refresh_credentials(&mut self) -> Outcome {
        let result = self.reload_credentials().await;
        let rotate = matches!(result, Ok(true));
        if result.is_err() && self.credentials_have_ended() {
            tracing::error!(
                code = "CRD-E007",
                "the password in force has expired and there is no other one; new connections are refused"
            );
        }
        let attempts = vec![self.report(Reload::Auth, result)];
        let outcome = Outcome { rotate, attempts, ..Outcome::default() };
        if let Some(hindrance) = outcome.hindrance() {
            self.retry.failed(hindrance, clock::now());
        }
        self.publish();
        outcome
    }

    fn credentials_have_ended(&self) -> bool {
        let end = self.components.credentials.current().expires_at;
        end.is_some_and(|end| end <= clock::wall())
    }

    async fn access(&mut self, config: &Config) -> Result<AccessSources, StartError> {
        let dictionary = self.command_sources.dictionary(&config.commands, false)?;
        let (config, before) = (config.clone(), self.components.policies.clone());
        let built = aside(move || AccessSources::build(&config, &dictionary, Some(&before))).await;
        built.unwrap_or_else(|| Err(StartError::new(NEVER_READ.to_owned())))
    }

    /// The access of listeners, once the files it is read from do not change.
    async fn settled_access(&mut self, config: &Config) -> Result<AccessSources, StartError> {
        let old = self.components.access_hash;
        let is_old =
            |read: &Result<AccessSources, _>| read.as_ref().is_ok_and(|access| access.hash == old);
        let content = |read: &Result<AccessSources, StartError>| match read {
            Ok(access) => Ok(access.hash),
            Err(error) => Err(error.to_string()),
        };
        settled(async || self.access(config).await, is_old, |a, b| content(a) == content(b)).await
    }

    /// Reads the server's commands, and puts policies in force that know them. `None`: it could
    /// not be asked.
    pub(super) async fn ask_for_commands(&mut self) -> Option<Outcome> {
        let mut outcome = Outcome::default();
        let (dialer, commands) = (&self.components.dialer, &self.config.commands);
        match self.command_sources.ask(dialer, commands, &self.telemetry.metrics).await {
            Answer::Unreachable => return None,
            Answer::News if commands.learn => {}
            Answer::News | Answer::Nothing => return Some(outcome),
        }
        let config = self.config.clone();
        match self.access(&config).await {
            Ok(access) => {
                self.components.replace_access(access);
                self.publish();
                outcome.access = true;
            }
            Err(error) => {
                tracing::warn!(code = "CMD-W002", %error, "commands reported by the server were not applied");
            }
        }
        let known = self.command_sources.dictionary(&config.commands, true);
        for word in known.map(|known| access::unapplied(&config, &known)).unwrap_or_default() {
            tracing::warn!(code = "CMD-W003", %word, "rule has no effect: the server does not know the command");
        }
        Some(outcome)
    }

    async fn reload_config(
        &mut self,
        reread: &ConfigReloader,
        outcome: &mut Outcome,
    ) -> Result<bool, Rejection> {
        let invalid = |text: String| Rejection::new(ReloadRejection::InvalidConfig, text);
        let load = async || {
            let load = Arc::clone(&reread.load);
            match aside(move || load()).await {
                Some(loaded) => loaded.map_err(|problems| {
                    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    all.join("; ")
                }),
                None => Err(NEVER_READ.to_owned()),
            }
        };
        let is_old = |read: &Result<Config, String>| read.as_ref() == Ok(&self.config);
        let new = settled(load, is_old, PartialEq::eq).await.map_err(invalid)?;
        let changes = config::diff(&self.config, &new);
        let rules = components::audit_rules(&new, &mut self.command_sources);
        let rules = rules.map_err(|error| invalid(error.to_string()))?;
        if changes.is_empty() {
            // Settings may be written in other lines.
            self.replace_audit_rules(rules);
            return self.reread_access(&new, outcome).await;
        }
        if !changes.restart.is_empty() {
            return Err(invalid(format!(
                "only a restart can change {}",
                changes.restart.join(", ")
            )));
        }
        // Before the files are read: no change falls between.
        let (watched, sandbox) = (new.clone(), self.components.sandbox.clone());
        let file = reread.file.clone();
        let look = move || {
            let files = components::files(&watched, file.as_ref());
            let lacking = sandbox.and_then(|sandbox| sandbox.lacks(&watched, &files).pop());
            (lacking, components::watch(&watched, file.as_ref()))
        };
        let looked = aside(look).await.ok_or_else(|| invalid(NEVER_READ.to_owned()))?;
        let (lacking, watch) = looked;
        if let Some(path) = lacking {
            let path = path.display();
            return Err(invalid(format!(
                "{path} is out of reach of the sandbox, which was set at the start; restart respgate, or keep the file \
                 where others are"
            )));
        }
        let access = self.settled_access(&new).await.map_err(|error| invalid(error.to_string()))?;
        self.levels
            .configure(&new.telemetry.log_level)
            .map_err(|error| invalid(error.to_string()))?;
        self.telemetry.metrics.profile.set(new.telemetry.metrics);
        self.components.replace_access(access);
        let limits = descriptors::within(self.components.files, &new);
        self.components.limits.set(limits.into());
        self.components.insight.set(new.insight.clone().into());
        self.replace_audit_rules(rules);
        outcome.access = true;
        outcome.watch = Some(watch);
        outcome.limits = true;
        outcome.drain = Some(new.drain.clone());
        tracing::info!(changed = %changes.live.join(", "), "new configuration in force");
        access::warn(&new);
        access::announce(&self.components.policies, &self.telemetry.metrics);
        components::note_config(&new, &self.telemetry.metrics);
        self.config = new;
        Ok(true)
    }

    fn replace_audit_rules(&self, rules: AuditRules) {
        if let Some(audit) = &self.components.audit {
            audit.rules.set(rules.into());
        }
    }

    /// The configuration is the same, but the files it names may not be.
    async fn reread_access(
        &mut self,
        config: &Config,
        outcome: &mut Outcome,
    ) -> Result<bool, Rejection> {
        let access = self.settled_access(config).await;
        let access =
            access.map_err(|error| Rejection::new(ReloadRejection::InvalidConfig, error))?;
        if access.hash == self.components.access_hash {
            return Ok(false);
        }
        self.components.replace_access(access);
        outcome.access = true;
        tracing::info!("new users, passwords of clients and lists of scripts in force");
        Ok(true)
    }

    async fn reload_identity(&mut self) -> Result<bool, Rejection> {
        let Some(store) = &self.components.tls else { return Ok(false) };
        let candidate = store.candidate_settled().await.map_err(|error| {
            let text = format!("{error}; {}", error.hint());
            Rejection::of_files(error.fault, text)
        })?;
        let Some(candidate) = candidate else { return Ok(false) };
        if let Err(error) = self.components.dialer.probe(Some(&candidate), None).await {
            return Err(Rejection::of_probe(error));
        }
        let identity = store.publish(candidate);
        components::note_identity(&identity, &self.telemetry.metrics);
        tracing::info!(
            generation = identity.generation,
            fingerprint = identity.client.as_ref().map(|client| client.fingerprint.as_str()),
            "new identity in force; connections move over to it"
        );
        Ok(true)
    }

    async fn reload_credentials(&mut self) -> Result<bool, Rejection> {
        let read = self.components.credentials.read_again().await;
        let candidate = read.map_err(|error| Rejection::of_login(&error))?;
        let Some(candidate) = candidate else {
            // A connection whose login was refused may have taken it up before.
            let generation = self.components.credentials.current().generation;
            components::note_credentials(&self.components.credentials, &self.telemetry.metrics);
            return Ok(std::mem::replace(&mut self.applied_generation, generation) != generation);
        };
        if let Err(error) = self.components.dialer.probe(None, Some(&candidate)).await {
            return Err(Rejection::of_probe(error));
        }
        let generation = self.components.credentials.publish(candidate);
        self.applied_generation = generation;
        components::note_credentials(&self.components.credentials, &self.telemetry.metrics);
        tracing::info!(generation, "new password in force; connections move over to it");
        Ok(true)
    }

    fn report(&self, what: Reload, result: Result<bool, Rejection>) -> Attempt {
        let metrics = &self.telemetry.metrics;
        let now: SystemTime = clock::wall();
        metrics.reload_last_attempt_timestamp_seconds[what].set(now);
        let counted = match &result {
            Ok(true) => ReloadResult::Applied,
            Ok(false) => ReloadResult::Unchanged,
            Err(rejection) => {
                metrics.shard().reload_rejections_total[what][rejection.reason].inc();
                let label = what.label();
                tracing::warn!(code = "REL-E001", what = label, cause = %rejection.text, "reload rejected; the version in force stays");
                ReloadResult::Rejected
            }
        };
        if counted != ReloadResult::Rejected {
            metrics.reload_last_success_timestamp_seconds[what].set(now);
        }
        metrics.shard().reload_attempts_total[what][counted].inc();
        if let Some(components) =
            self.components.audit.as_ref().filter(|_| counted != ReloadResult::Unchanged)
        {
            let mut event = Event::new(Kind::Reload);
            event.result = Some(counted.label());
            event.detail = Some(what.label());
            components.audit.record(&event);
        }
        Attempt { what, result: counted, rejection: result.err() }
    }

    /// The process ends: what waits is written.
    pub(super) fn stop_audit(&self) {
        if let Some(components) = &self.components.audit {
            components.audit.record(&Event::new(Kind::Stopped));
            components.audit.stop();
        }
    }
}

/// Reads until two readings in a row are the same; what is old is not read again.
async fn settled<T>(
    mut read: impl AsyncFnMut() -> T,
    is_old: impl Fn(&T) -> bool,
    same: impl Fn(&T, &T) -> bool,
) -> T {
    let mut last = read().await;
    for _ in 1..limits::FILE_SETTLE_READS_MAX {
        if is_old(&last) {
            break;
        }
        tokio::time::sleep(limits::FILE_SETTLE_INTERVAL).await;
        let next = read().await;
        let settled = same(&last, &next);
        last = next;
        if settled {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn file_is_read_when_it_is_written() {
        for (text, whole, reads) in [
            ("old, half, more, whole", "old", 1),
            ("half, more, whole, whole, other", "whole", 4),
            ("half, old, other, other", "old", 2),
            ("whole, whole", "whole", 2),
        ] {
            let count = Cell::new(0);
            let read = async || {
                count.set(count.get() + 1);
                text.split(", ").nth(count.get() - 1)
            };
            let last = settled(read, |read| *read == Some("old"), PartialEq::eq).await;
            assert_eq!((last, count.get()), (Some(whole), reads), "{text}");
        }
    }

    #[tokio::test]
    async fn file_that_is_always_written_is_read() {
        let mut count = 0;
        let read = async || {
            count += 1;
            count
        };
        assert_eq!(settled(read, |_| false, PartialEq::eq).await, limits::FILE_SETTLE_READS_MAX);
    }
}
