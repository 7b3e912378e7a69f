//! The audit log, as facts: what it records, whether its files are whole.
//!
//! Owns: [`look`]. Never knows: the server; how a running respgate is asked.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::facts::{AuditFacts, DANGEROUS, Known};
use super::own::used_rules;
use crate::audit::{self, verify::Verifier};
use crate::base::clock;
use crate::command::Dictionary;
use crate::config::{self, AuditSink, Config};
use crate::policy::{self, EvalContext, Explanation, Verdict};
use crate::resp::RequestBuf;

/// `None`: there is no audit log. `sinks`: what the sinks of a running respgate fail with.
pub(super) fn look(
    config: &Config,
    dictionary: &Arc<Dictionary>,
    sinks: Known<Vec<String>>,
) -> Option<AuditFacts> {
    let settings = config.audit.as_ref()?;
    let unrecorded = unrecorded(config, settings, dictionary);
    Some(AuditFacts { unrecorded, sinks, broken: broken(settings) })
}

/// Dangerous commands that a policy in use permits, and the log does not record.
fn unrecorded(
    config: &Config,
    settings: &config::Audit,
    dictionary: &Arc<Dictionary>,
) -> Known<Vec<String>> {
    let sensitive = policy::commands("audit.sensitive", &settings.sensitive, dictionary);
    let sensitive = sensitive.map_err(|_| "audit.sensitive is not valid".to_owned())?;
    let moment = EvalContext { database: 0, unix_ms: clock::unix_ms() };
    let mut found = Vec::new();
    for (section, rules) in used_rules(config) {
        let Ok(policy) = policy::compile_with(rules, dictionary) else { continue };
        for (command, _) in DANGEROUS {
            let request = RequestBuf::from_args(command.split(' '));
            let explained = Explanation::of(&policy, &request.as_request(), &moment);
            let passes = matches!(explained.verdict, Verdict::Passes);
            if passes && explained.spec.is_some_and(|spec| !sensitive.has(spec)) {
                found.push(format!("{command} ({section})"));
            }
        }
    }
    Ok(found)
}

/// The first line of each sink's files that breaks the chain.
fn broken(settings: &config::Audit) -> Known<Vec<String>> {
    let key = settings.key_file.as_deref().map(audit::read_key).transpose()?;
    let files = settings.sinks.iter().filter_map(|sink| match sink {
        AuditSink::File(file) => Some(&file.path),
        AuditSink::Stdout | AuditSink::Syslog(_) => None,
    });
    let files: Vec<&PathBuf> = files.collect();
    if files.is_empty() {
        return Err("no sink is a file".to_owned());
    }
    let mut broken = Vec::new();
    for path in files {
        let mut verifier = Verifier::new(key.clone());
        let before = PathBuf::from(format!("{}.1", path.display()));
        for file in [before.exists().then_some(&before), Some(path)].into_iter().flatten() {
            if let Some((line, why)) = read(&mut verifier, file)? {
                broken.push(format!("{}:{line}: {why}", file.display()));
            }
        }
    }
    Ok(broken)
}

/// A line without an end is being written.
fn read(verifier: &mut Verifier, path: &Path) -> Known<Option<(u64, &'static str)>> {
    let fault = |error: std::io::Error| format!("{}: {}", path.display(), error.kind());
    let mut file = BufReader::new(File::open(path).map_err(fault)?);
    if !file.get_ref().metadata().map_err(fault)?.is_file() {
        return Ok(None);
    }
    let (mut line, mut failed) = (Vec::new(), None);
    let lines = std::iter::from_fn(|| {
        line.clear();
        match file.read_until(b'\n', &mut line) {
            Ok(_) => Some(String::from_utf8_lossy(line.strip_suffix(b"\n")?).into_owned()),
            Err(error) => {
                failed = Some(fault(error));
                None
            }
        }
    });
    let report = verifier.read(lines);
    failed.map_or(Ok(report.broken), Err)
}
