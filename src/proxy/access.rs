//! Builds the access of each listener from settings: its users, and their policies.
//!
//! Owns: [`AccessSources`], the files it is read from. Never knows: sessions, when it is read again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::error::StartError;
use crate::base::password::PasswordHash;
use crate::base::secret::Secret;
use crate::command::Dictionary;
use crate::config::{self, ClientAuth, Config, Listener, Rules, SecretSource, SourceError};
use crate::policy::{self, AclUser, Overview, Policy};
use crate::session::{Auth, ListenerAccess, User, Users};
use crate::telemetry::Metrics;

/// Everything about clients that a reload replaces.
#[derive(Debug)]
pub(super) struct AccessSources {
    /// One per listener, in their order.
    pub all: Vec<ListenerAccess>,
    pub policies: Policies,
    /// SHA-256 over the secrets and files that were read.
    pub hash: [u8; 32],
}

impl AccessSources {
    /// Compiles all policies and reads all passwords and users. A policy with the same name and rules as
    /// one in `before` is reused: clients under it are not disturbed.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the policies; or else the first file that is.
    pub(super) fn build(
        config: &Config,
        dictionary: &Arc<Dictionary>,
        before: Option<&Policies>,
    ) -> Result<Self, StartError> {
        let mut read = Read(Sha256::new());
        let config = &read.scripts(config)?;
        let mut policies = Policies::compile(config, dictionary, before)?;
        let accounts = read.accounts(config, dictionary)?;
        let accounts = policies.take(accounts, before);
        let users = Arc::new(read.users(config, &policies, accounts)?);
        let access = |listener: &Listener| {
            let auth = read.auth(listener, &users)?;
            let policy = policies.get(listener.policy.as_deref());
            Ok(ListenerAccess { auth, policy })
        };
        let all = config.listeners.iter().map(access).collect::<Result<_, StartError>>()?;
        Ok(Self { all, policies, hash: read.0.finalize().into() })
    }
}

/// Every rule that cannot be applied where no other commands are known.
pub(super) fn unapplied(config: &Config, dictionary: &Arc<Dictionary>) -> Vec<String> {
    let errors = Policies::compile(config, dictionary, None).err();
    errors.map_or_else(Vec::new, |error| error.what.lines().map(str::to_owned).collect())
}

/// Logs policies that are valid and perhaps not what the operator expects.
pub(super) fn warn(config: &Config) {
    for overlap in policy::overlaps(config.sections()) {
        tracing::warn!(code = "POL-W001", %overlap, "two policies are not kept apart by their prefixes");
    }
}

/// Shows what each policy in force is: in the metrics, and in the log.
pub(super) fn announce(policies: &Policies, metrics: &Metrics) {
    let mut modes = Vec::new();
    for (section, policy) in policies.sections() {
        let Overview { mode, refuses, keys, scripts, warnings } = Overview::of(policy);
        let scripts = scripts.unwrap_or_else(|| "no command runs any".to_owned());
        tracing::info!(policy = %section, mode = %refuses, %keys, %scripts, "policy in force");
        warn_of(&section, &warnings);
        modes.push((section, mode.label()));
    }
    for (name, policy) in &policies.accounts {
        let warnings = Overview::of(policy).warnings;
        // The warning that it refuses nothing is logged for [policy], which decides that for all of them.
        let own: Vec<_> = warnings.into_iter().filter(|(code, _)| *code == "POL-W003").collect();
        warn_of(&format!("user {name} of users.acl_file"), &own);
    }
    metrics.policy_info.set(modes);
}

fn warn_of(policy: &str, warnings: &[(&'static str, String)]) {
    for (code, text) in warnings {
        tracing::warn!(code, %policy, "{text}");
    }
}

/// The files that [`AccessSources::build`] reads.
pub(super) fn files(config: &Config) -> impl Iterator<Item = PathBuf> {
    let listeners = config.listeners.iter().filter_map(|listener| match &listener.auth {
        ClientAuth::Password(source) => Some(source),
        ClientAuth::Off | ClientAuth::Ignore | ClientAuth::Users => None,
    });
    let users = config.users.iter().filter_map(|user| user.password.as_ref());
    let passwords = listeners.chain(users).filter_map(|source| match source {
        SecretSource::File(path) => Some(path.clone()),
        SecretSource::Env(_) => None,
    });
    let policies = std::iter::once(&config.policy).chain(config.policies.values());
    let scripts = policies.filter_map(|rules| rules.scripts.directory.clone());
    passwords.chain(scripts).chain(config.acl_file.clone())
}

/// All policies by name, and the one for all other clients.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    own: Arc<Policy>,
    named: BTreeMap<String, Arc<Policy>>,
    /// By the users of the ACL file.
    accounts: BTreeMap<String, Arc<Policy>>,
}

impl Policies {
    fn compile(
        config: &Config,
        dictionary: &Arc<Dictionary>,
        before: Option<&Self>,
    ) -> Result<Self, StartError> {
        let mut errors = Vec::new();
        let mut compile = |section: &str, rules: &Rules, before: Option<&Arc<Policy>>| {
            match policy::compile_with(rules, dictionary) {
                Ok(policy) => Some(kept(policy.named(section), before)),
                Err(found) => {
                    errors.extend(found.iter().map(|error| format!("{section}: {error}")));
                    None
                }
            }
        };
        let own = compile("policy", &config.policy, before.map(|before| &before.own));
        let named = config.policies.iter().filter_map(|(name, rules)| {
            let before = before.and_then(|before| before.named.get(name));
            Some((name.clone(), compile(&format!("policies.{name}"), rules, before)?))
        });
        let named = named.collect();
        match own {
            Some(own) if errors.is_empty() => Ok(Self { own, named, accounts: BTreeMap::new() }),
            _ => Err(StartError::new(errors.join("\n"))),
        }
    }

    /// `[policy]` first, each with the name of its section.
    pub(super) fn sections(&self) -> impl Iterator<Item = (String, &Policy)> {
        let named = self.named.iter().map(|(name, policy)| (format!("policies.{name}"), &**policy));
        std::iter::once(("policy".to_owned(), &*self.own)).chain(named)
    }

    /// The users of the ACL file, each with its policy.
    fn take(&mut self, accounts: Vec<AclUser>, before: Option<&Self>) -> Vec<User> {
        let mut user = |account: AclUser| {
            let before = before.and_then(|before| before.accounts.get(&account.name));
            let section = format!("users.acl_file user {}", account.name);
            let policy = kept(account.policy.named(&section), before);
            self.accounts.insert(account.name.clone(), Arc::clone(&policy));
            User {
                name: account.name.into(),
                enabled: account.enabled,
                passwords: account.passwords,
                policy: Some(policy),
                uids: Vec::new(),
                certificates: Vec::new(),
            }
        };
        accounts.into_iter().map(&mut user).collect()
    }

    /// `[policy]`, or the one of that name.
    pub(super) fn get(&self, name: Option<&str>) -> Arc<Policy> {
        // A name that is not there is refused by the configuration.
        Arc::clone(name.and_then(|name| self.named.get(name)).unwrap_or(&self.own))
    }
}

/// The policy that was there before, if it is the same.
fn kept(policy: Policy, before: Option<&Arc<Policy>>) -> Arc<Policy> {
    let same = before.filter(|before| before.is_same_as(&policy));
    same.map_or_else(|| Arc::new(policy), Arc::clone)
}

/// Reads, and remembers what was read by its hash.
struct Read(Sha256);

impl Read {
    fn note(&mut self, secret: &Secret) {
        self.0.update((secret.expose().len() as u64).to_le_bytes());
        self.0.update(secret.expose());
    }

    /// The configuration with the scripts from files on its lists.
    fn scripts(&mut self, config: &Config) -> Result<Config, StartError> {
        let mut config = config.clone();
        let own = std::iter::once(("policy".to_owned(), &mut config.policy));
        let others = config.policies.iter_mut();
        let others = others.map(|(name, rules)| (format!("policies.{name}"), rules));
        for (section, rules) in own.chain(others) {
            let scripts = rules.scripts.with_files();
            rules.scripts =
                scripts.map_err(|error| StartError::new(format!("{section}.scripts: {error}")))?;
            for script in &rules.scripts.allow {
                self.0.update(script.to_string());
            }
        }
        Ok(config)
    }

    fn secret(
        &mut self,
        source: &SecretSource,
        of: impl Fn(SourceError) -> StartError,
    ) -> Result<Secret, StartError> {
        let secret = source.read().map_err(of)?;
        self.note(&secret);
        Ok(secret)
    }

    /// The login that clients of a listener must send.
    fn auth(&mut self, listener: &Listener, users: &Arc<Users>) -> Result<Auth, StartError> {
        Ok(match &listener.auth {
            ClientAuth::Off => Auth::Off,
            ClientAuth::Ignore => Auth::Ignore,
            ClientAuth::Users => Auth::Users(Arc::clone(users)),
            ClientAuth::Password(source) => {
                let wrong = |error| StartError::new(format!("listener: {error}"));
                Auth::Password(self.secret(source, wrong)?)
            }
        })
    }

    fn users(
        &mut self,
        config: &Config,
        policies: &Policies,
        accounts: Vec<User>,
    ) -> Result<Users, StartError> {
        let own = config.users.iter().map(|user| {
            let mut passwords = user.passwords.clone();
            if let Some(source) = &user.password {
                let wrong = |error| StartError::new(format!("user {}: {error}", user.name));
                passwords.add(PasswordHash::of(self.secret(source, wrong)?.expose()));
            }
            Ok(User {
                name: user.name.as_str().into(),
                enabled: user.enabled,
                passwords,
                policy: user.policy.as_deref().map(|name| policies.get(Some(name))),
                uids: user.uids.clone(),
                certificates: user.certificates.clone(),
            })
        });
        let mut users = own.collect::<Result<Vec<_>, StartError>>()?;
        for account in accounts {
            if users.iter().any(|user| *user.name == *account.name) {
                let what =
                    format!("user {} is in the configuration and in users.acl_file", account.name);
                return Err(StartError::new(what));
            }
            users.push(account);
        }
        Ok(users.into_iter().collect())
    }

    /// The users of the ACL file, if there is one.
    fn accounts(
        &mut self,
        config: &Config,
        dictionary: &Arc<Dictionary>,
    ) -> Result<Vec<AclUser>, StartError> {
        let Some(path) = &config.acl_file else { return Ok(Vec::new()) };
        let text = config::read_acl_file(path)
            .map_err(|error| StartError::new(format!("users.acl_file: {error}")))?;
        self.note(&text);
        policy::read_accounts(text.expose(), &config.policy, dictionary).map_err(|errors| {
            let path = path.display();
            let all: Vec<String> = errors.iter().map(|error| format!("{path}:{error}")).collect();
            StartError::new(all.join("\n"))
        })
    }
}
