//! What was seen, as the outcome of each check.
//!
//! Owns: [`Finding`], [`judge`]. Never knows: files, sockets, clocks.

use std::time::{Duration, SystemTime};

use super::facts::{AuditFacts, Facts, Known, PasswordFact, PolicyFacts, TlsFacts};
use super::revoked::revoked;
use super::table::{CHECKS, Check, Severity};
use crate::config::{Verify, is_open};
use crate::probe::Exchange;
use crate::tls::expiry::{Expiry, assess};
use crate::tls::inspect::{CertificateFacts, Inspection, Purpose, verdict};
use crate::tls::{Fault, calendar};

/// The longest lifetime of a certificate that public authorities give.
const LIFETIME_MAX: Duration = Duration::from_secs(398 * 86_400);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Pass,
    /// The check could not be done; the detail has the reason.
    Skip,
    Warn,
    Fail,
}

impl Outcome {
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// A check and its outcome.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub check: &'static Check,
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
}

/// Yes or no with what was seen, or why it is not known.
type Answer = Known<(bool, String)>;

/// Judges these checks.
#[must_use]
pub(crate) fn judge(facts: &Facts, wanted: impl Fn(&Check) -> bool) -> Vec<Finding> {
    let finding = |check: &'static Check| {
        let (outcome, detail) = match answer(check.id, facts) {
            Ok((true, detail)) => (Outcome::Pass, detail),
            Ok((false, detail)) => match check.severity {
                Severity::Fail => (Outcome::Fail, detail),
                Severity::Warn => (Outcome::Warn, detail),
            },
            Err(why) => (Outcome::Skip, why),
        };
        Finding { check, outcome, detail }
    };
    CHECKS.iter().filter(|check| wanted(check)).map(finding).collect()
}

fn answer(id: &str, facts: &Facts) -> Answer {
    let (area, _) = id.split_once('-').unwrap_or((id, ""));
    match area {
        "TLS" => tls(id, facts),
        "CERT" => certificates(id, facts),
        "AUTH" => auth(id, facts),
        "ACL" => acl(id, facts),
        "CMD" | "NS" | "TTL" => policies(id, facts),
        "AUDIT" => audit(id, facts),
        _ => own(id, facts),
    }
}

/// A list of what is wrong: passes when it is empty.
fn none_of<T: AsRef<str>>(wrong: &[T], fine: &str) -> (bool, String) {
    if wrong.is_empty() {
        return (true, fine.to_owned());
    }
    let wrong: Vec<&str> = wrong.iter().map(AsRef::as_ref).collect();
    (false, wrong.join(", "))
}

fn not_checked(id: &str) -> Answer {
    Err(format!("there is no check {id}"))
}

fn tls(id: &str, facts: &Facts) -> Answer {
    if id == "TLS-01" {
        let ports = facts.server.plaintext.as_ref().map_err(Clone::clone)?;
        let open: Vec<String> = ports
            .iter()
            .filter(|(_, open)| *open)
            .map(|(port, _)| format!("port {port} answers in plaintext"))
            .collect();
        let asked: Vec<String> = ports.iter().map(|(port, _)| port.to_string()).collect();
        return Ok(none_of(&open, &format!("no answer in plaintext on {}", asked.join(", "))));
    }
    if id == "TLS-08" {
        return match facts.own.verify {
            None if facts.own.is_behind_socket => {
                Err("the server is reached by a Unix socket: its file is what it is known by"
                    .to_owned())
            }
            None => Ok((false, "upstream.tls is not set: there is nothing to check".to_owned())),
            Some(Verify::Ca) => Ok((
                false,
                "upstream.tls.verify = \"ca\": any certificate of the CA will do".to_owned(),
            )),
            Some(Verify::Full) => Ok((true, "chain and name are checked".to_owned())),
            Some(Verify::Pin) => Ok((true, "the server's key is checked".to_owned())),
        };
    }
    let seen = facts.server.tls.as_ref().map_err(Clone::clone)?;
    match id {
        "TLS-02" => old_versions(seen),
        "TLS-03" => refused(&seen.without_certificate, "a connection without a certificate"),
        "TLS-04" => refused(&seen.stranger, "a certificate of an unknown CA"),
        "TLS-05" => {
            let (place, certificate) =
                seen.shown.certificates().next().ok_or("the server showed no certificate")?;
            let host = Some(facts.own.server_name.as_str());
            let place = place.path.display().to_string();
            let judged = verdict(certificate, Purpose::Server, &place, host, facts.now);
            let names = [Fault::ServerName, Fault::ServerNameless, Fault::ServerVersion1];
            let wrong = judged.problems.iter().find(|problem| names.contains(&problem.fault));
            Ok(match wrong {
                Some(problem) => (false, format!("{} ({})", problem.detail, problem.fault.code())),
                None => (true, format!("it is for {}", facts.own.server_name)),
            })
        }
        "TLS-06" => agreed(&seen.own, |_, group| (group.contains("MLKEM"), group.to_owned())),
        "TLS-07" => agreed(&seen.own, |version, _| (version == "TLSv1_3", version.to_owned())),
        _ => not_checked(id),
    }
}

fn old_versions(seen: &TlsFacts) -> Answer {
    let known: Option<Vec<_>> =
        seen.old.iter().map(|(version, accepted)| Some((version.name(), (*accepted)?))).collect();
    let known = known.ok_or("the server did not answer the hello of an old version")?;
    let accepted: Vec<String> = known
        .into_iter()
        .filter(|(_, accepted)| *accepted)
        .map(|(version, _)| format!("{version} is accepted"))
        .collect();
    Ok(none_of(&accepted, "both are refused"))
}

fn refused(exchange: &Exchange, what: &str) -> Answer {
    match exchange {
        Exchange::Refused => Ok((true, format!("{what} is refused"))),
        Exchange::Answered { line, .. } => {
            Ok((false, format!("{what} is accepted: PING is answered {line}")))
        }
        Exchange::Unreachable | Exchange::Silent => Err("the server did not answer".to_owned()),
    }
}

fn agreed(exchange: &Exchange, judge: impl Fn(&str, &str) -> (bool, String)) -> Answer {
    match exchange {
        Exchange::Answered { version, group, .. } => Ok(judge(version, group)),
        Exchange::Unreachable | Exchange::Refused | Exchange::Silent => {
            Err("no handshake with respgate's own certificate succeeded; respgate doctor shows why"
                .to_owned())
        }
    }
}

fn certificates(id: &str, facts: &Facts) -> Answer {
    if id == "CERT-06" {
        let mode =
            facts.own.key_mode.ok_or("no private key is configured, or it cannot be read")?;
        return Ok(private(mode, "upstream.tls.key"));
    }
    let client = first(facts.own.client.as_ref());
    let shown = facts.server.tls.as_ref().ok().and_then(|seen| first(Some(&seen.shown)));
    match id {
        "CERT-01" => lasts(
            client.ok_or("no client certificate is configured, or it cannot be read")?,
            facts.now,
        ),
        "CERT-02" => lasts(shown.ok_or("the server showed no certificate")?, facts.now),
        "CERT-07" => {
            let both = [("client", client), ("server", shown)];
            let both = both.into_iter().filter_map(|(whose, own)| Some((whose, own?)));
            revoked(facts, &both.collect::<Vec<_>>())
        }
        _ => {
            let both = [("client", client, "clientAuth"), ("server", shown, "serverAuth")];
            let mut wrong = Vec::new();
            let mut seen = 0;
            for (whose, certificate, purpose) in both {
                let Some(certificate) = certificate else { continue };
                seen += 1;
                wrong.extend(
                    faults_of(id, certificate, purpose)
                        .into_iter()
                        .map(|w| format!("{whose}: {w}")),
                );
            }
            if seen == 0 {
                return Err("there is no certificate to look at".to_owned());
            }
            Ok(none_of(&wrong, &format!("{seen} certificates looked at")))
        }
    }
}

fn first(inspection: Option<&Inspection>) -> Option<&CertificateFacts> {
    Some(&inspection?.certificates().next()?.1.facts)
}

fn lasts(certificate: &CertificateFacts, now: SystemTime) -> Answer {
    let (begin, end) = (certificate.not_before, certificate.not_after);
    let until = calendar(end);
    Ok(match assess(begin, end, now) {
        Expiry::Fresh(_) => (true, format!("valid until {until}")),
        Expiry::Expiring(left) => {
            (false, format!("valid until {until}: {} days left", left.as_secs() / 86_400))
        }
        Expiry::Expired(_) => (false, format!("expired on {until}")),
        Expiry::NotYet(_) => (false, format!("not valid before {}", calendar(begin))),
    })
}

/// What one check finds wrong with a certificate that is used for `purpose`.
fn faults_of(id: &str, certificate: &CertificateFacts, purpose: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    match id {
        "CERT-03" => {
            wrong.extend(certificate.weak_key.then(|| format!("key {}", certificate.key)));
            let weak = certificate.weak_signature;
            wrong.extend(weak.then(|| format!("signed with {}", certificate.signature)));
        }
        "CERT-04" => {
            let usage = certificate.extended_key_usage.clone().unwrap_or_default();
            if usage != [purpose] {
                let usage =
                    if usage.is_empty() { "not restricted".to_owned() } else { usage.join(", ") };
                wrong.push(format!("extended key usage {usage}"));
            }
            wrong.extend(certificate.is_ca().then(|| "CA:TRUE".to_owned()));
        }
        _ => {
            let lifetime = certificate.not_after.duration_since(certificate.not_before);
            let lifetime = lifetime.unwrap_or_default();
            let long = lifetime > LIFETIME_MAX;
            wrong.extend(long.then(|| format!("{} days", lifetime.as_secs() / 86_400)));
        }
    }
    wrong
}

/// Whether other users cannot read a file of this mode.
fn private(mode: u32, what: &str) -> (bool, String) {
    (!is_open(mode), format!("{what} has mode {mode:04o}"))
}

fn auth(id: &str, facts: &Facts) -> Answer {
    match id {
        "AUTH-01" => {
            let line = facts.server.anonymous.as_ref().map_err(Clone::clone)?;
            Ok((!line.starts_with('+'), format!("PING without a login is answered {line}")))
        }
        "AUTH-02" => {
            let rules = user_line(facts, "default")?;
            let off = rules.contains(&"off");
            Ok((off, format!("user default is {}", if off { "off" } else { "on" })))
        }
        "AUTH-03" => {
            let lines = facts.login.acl.as_ref().map_err(Clone::clone)?;
            let open = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
            let open = open.filter(|words| words.contains(&"on") && words.contains(&"nopass"));
            let open: Vec<String> = open
                .map(|words| format!("user {} needs no password", words.get(1).unwrap_or(&"?")))
                .collect();
            Ok(none_of(&open, "every user that is on needs a password"))
        }
        "AUTH-04" => Ok(match facts.own.username.as_deref() {
            None if matches!(facts.own.password, PasswordFact::Certificate) => {
                (true, "the client certificate names the user".to_owned())
            }
            None | Some("default") => (false, "the user is default".to_owned()),
            Some(name) => (true, format!("the user is {name}")),
        }),
        _ => match facts.own.password {
            PasswordFact::None => Err("no password is configured".to_owned()),
            PasswordFact::Environment => {
                Ok((false, "the password is in the environment".to_owned()))
            }
            PasswordFact::Certificate => {
                Ok((true, "the client certificate names the user; there is no password".to_owned()))
            }
            PasswordFact::Program => Ok((true, "the password is printed by a program".to_owned())),
            PasswordFact::File(None) => Err("the password file cannot be read".to_owned()),
            PasswordFact::File(Some(mode)) => Ok(private(mode, "upstream.auth.password_file")),
        },
    }
}

/// The words of a user's line in ACL LIST.
fn user_line<'a>(facts: &'a Facts, user: &str) -> Known<Vec<&'a str>> {
    let lines = facts.login.acl.as_ref().map_err(Clone::clone)?;
    let mut words = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .find(|words| words.get(1) == Some(&user))
        .ok_or_else(|| format!("ACL LIST has no user {user}"))
}

fn acl(id: &str, facts: &Facts) -> Answer {
    let login = &facts.login;
    let user = &login.user;
    let allowed = |known: &Known<bool>, what: &str| -> Answer {
        let allowed = *known.as_ref().map_err(Clone::clone)?;
        Ok((
            !allowed,
            format!("user {user}: {what} {}", if allowed { "is allowed" } else { "is refused" }),
        ))
    };
    match id {
        "ACL-01" => {
            let permitted = login.dangerous.as_ref().map_err(Clone::clone)?;
            Ok(match none_of(permitted, "each is refused") {
                (false, list) => (false, format!("user {user} may run: {list}")),
                fine => fine,
            })
        }
        "ACL-02" => allowed(&login.foreign_key, "GET of a key of others"),
        "ACL-03" => {
            let words = user_line(facts, user)?;
            // What follows +@all may take some away again.
            let all = |word: &&str| matches!(*word, "+@all" | "allcommands");
            let last = words.iter().rposition(all);
            let all = last.and_then(|last| words.get(last..));
            let all = all.is_some_and(|rest| !rest.iter().any(|word| word.starts_with('-')));
            Ok((!all, format!("user {user} has {}", if all { "+@all" } else { "chosen commands" })))
        }
        "ACL-04" => allowed(&login.foreign_channel, "PUBLISH to a channel of others"),
        _ => {
            let differences = login.rules.as_ref().map_err(Clone::clone)?;
            Ok(none_of(differences, "the rules are the same"))
        }
    }
}

fn policies(id: &str, facts: &Facts) -> Answer {
    let each = |wrong: &dyn Fn(&PolicyFacts) -> Option<String>, fine: &str| {
        let wrong: Vec<String> = facts
            .policies
            .iter()
            .filter_map(|policy| Some(format!("{}: {}", policy.section, wrong(policy)?)))
            .collect();
        Ok(none_of(&wrong, fine))
    };
    match id {
        "CMD-01" => each(
            &|p| (!p.dangerous.is_empty()).then(|| format!("permits {}", p.dangerous.join(", "))),
            "each is refused",
        ),
        "CMD-03" => each(
            &|p| (p.mode != "enforce").then(|| format!("mode {}", p.mode)),
            "every policy is enforced",
        ),
        "CMD-04" => each(&|p| p.scripts.clone(), "no script goes beyond its policy"),
        "NS-01" => each(
            &|p| p.reaches_all_keys.then(|| "a key of others may be read".to_owned()),
            "every policy bounds its keys",
        ),
        "NS-02" => Ok(none_of(&facts.overlaps, "no prefix begins another")),
        "TTL-01" => each(
            &|p| (!p.ttl_enforced).then(|| "keys may live for ever".to_owned()),
            "every policy has a rule about times to live",
        ),
        "TTL-02" => {
            each(&|p| (!p.ttl_max).then(|| "no ttl.max".to_owned()), "every policy has ttl.max")
        }
        _ => path(id, facts),
    }
}

fn path(id: &str, facts: &Facts) -> Answer {
    let seen = facts.path.as_ref().map_err(Clone::clone)?;
    let at = &seen.address;
    match id {
        "CMD-02" => Ok(match none_of(&seen.dangerous, "each is refused") {
            (false, list) => (false, format!("{at} would run: {list}")),
            (true, fine) => (true, format!("{at}: {fine}")),
        }),
        "NS-03" if seen.rewrites => Ok((true, format!("{at} adds the prefix to every key"))),
        "NS-03" => {
            let how = if seen.foreign_key { "is answered" } else { "is refused" };
            Ok((!seen.foreign_key, format!("{at}: EXISTS of a key of others {how}")))
        }
        "NS-04" if seen.rewrites => Ok((true, format!("{at} answers about the prefix alone"))),
        "NS-04" => Ok(match none_of(&seen.keyless, "each is refused") {
            (false, list) => (false, format!("{at} answers {list}")),
            (true, fine) => (true, format!("{at}: {fine}")),
        }),
        _ => not_checked(id),
    }
}

fn own(id: &str, facts: &Facts) -> Answer {
    let own = &facts.own;
    match id {
        "NET-01" => Ok(none_of(&own.open_addresses, "loopback addresses and Unix sockets alone")),
        "NET-02" => Ok(none_of(&own.open_sockets, "no socket is open to every user")),
        "NET-03" => {
            let mode = facts.login.protected_mode.as_ref().map_err(Clone::clone)?;
            Ok((mode == "yes", format!("protected-mode {mode}")))
        }
        "ROT-01" => {
            let watched = own.watched.ok_or("there are no files to watch")?;
            let how = if watched { "are noticed at once" } else { "are looked for every 60 s" };
            Ok((watched, format!("changes {how}")))
        }
        "ROT-02" => Ok(judge_reload(&own.reload, &facts.copies)),
        "ROT-03" => {
            let (client, ca) = own.ends.ok_or("there is no client certificate, or no CA file")?;
            let detail =
                format!("the CA ends {}, the certificate {}", calendar(ca), calendar(client));
            Ok((ca >= client, detail))
        }
        "ROT-04" => Ok((
            !own.pinned_grace_is_zero,
            if own.pinned_grace_is_zero { "pinned_grace is zero: never" } else { "they end" }
                .to_owned(),
        )),
        _ => not_checked(id),
    }
}

fn audit(id: &str, facts: &Facts) -> Answer {
    let (own, log) = (&facts.own, facts.audit.as_ref());
    let known = |of: fn(&AuditFacts) -> &Known<Vec<String>>| {
        let log = log.ok_or("there is no audit log")?;
        of(log).as_deref().map_err(Clone::clone)
    };
    match id {
        "AUDIT-01" => {
            // POL-I002 is a line of level info.
            let quiet = ["error", "warn", "off"].contains(&own.log_level.as_str());
            Ok((!quiet, format!("log level {}", own.log_level)))
        }
        "AUDIT-02" => {
            let how = if own.telemetry { "metrics are served" } else { "telemetry.address is off" };
            Ok((own.telemetry, how.to_owned()))
        }
        "AUDIT-03" => {
            let how = if log.is_some() { "it has a sink" } else { "audit.sink is empty" };
            Ok((log.is_some(), how.to_owned()))
        }
        "AUDIT-04" => Ok(none_of(known(|log| &log.unrecorded)?, "all that pass are recorded")),
        "AUDIT-05" => Ok(none_of(known(|log| &log.sinks)?, "every sink takes entries")),
        "AUDIT-06" => Ok(none_of(known(|log| &log.broken)?, "the chain is whole")),
        _ => not_checked(id),
    }
}

/// Good files are to be accepted by a reload, and bad ones refused.
fn judge_reload(good: &Known<()>, accepted: &Known<Vec<&'static str>>) -> (bool, String) {
    match (good, accepted) {
        (Err(why), _) => (false, why.clone()),
        (Ok(()), Err(why)) => (true, format!("the files are good; bad ones were not tried: {why}")),
        (Ok(()), Ok(accepted)) if accepted.is_empty() => {
            let refused = "copies that are cut off, mixed up, expired or of another CA are refused";
            (true, format!("the files are good; {refused}"))
        }
        (Ok(()), Ok(accepted)) => (false, format!("accepted is {}", accepted.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reload_check_fails_for_bad_files_and_for_accepted_copies() {
        let none = || Ok(Vec::new());
        assert!(judge_reload(&Ok(()), &none()).0);
        assert!(judge_reload(&Ok(()), &Err("no directory".to_owned())).1.contains("no directory"));
        let (passed, detail) = judge_reload(&Err("torn".to_owned()), &none());
        assert!(!passed && detail == "torn");
        let (passed, detail) = judge_reload(&Ok(()), &Ok(vec!["an expired certificate"]));
        assert!(!passed && detail.contains("an expired certificate"), "{detail}");
    }
}
