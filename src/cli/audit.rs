//! `audit`: files of the audit log, looked at without the process that writes them.
//!
//! Owns: the answers of `audit verify` and `audit hash`. Never knows: the chain.

use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::args::{Audit, AuditCommand, Hash, Verify};
use super::exit;
use super::output::Output;
use super::verb::Verb;
use crate::audit;
use crate::audit::verify::{Report, Verifier};
use crate::config::io_cause;

impl Verb for Audit {
    fn run(self, output: Output) -> ExitCode {
        match self.command {
            AuditCommand::Verify(verb) => verb.run(output),
            AuditCommand::Hash(verb) => verb.run(output),
            AuditCommand::Recent(verb) => verb.run(output),
        }
    }
}

impl Verb for Verify {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.json);
        let key = match self.key_file.as_deref().map(audit::read_key).transpose() {
            Ok(key) => key,
            Err(problem) => return output.fail(exit::FAILURE, &problem),
        };
        let mut verifier = Verifier::new(key);
        let mut reports = Vec::new();
        for file in &self.files {
            let progress = output.progress(&format!("reading {}", file.display()));
            let report = read(&mut verifier, file);
            drop(progress);
            match report {
                Ok(report) => {
                    show(output, file, &report);
                    reports.push((file.display().to_string(), report));
                }
                Err(error) => {
                    let cause = io_cause(&error);
                    return output.fail(exit::FAILURE, &format!("{}: {cause}", file.display()));
                }
            }
        }
        let whole = reports.iter().all(|(_, report)| report.broken.is_none());
        output.json(|| {
            let file = |(name, report): &(String, Report)| {
                let broken = report.broken.map(|(line, why)| json!({ "line": line, "why": why }));
                json!({ "file": name, "entries": report.entries, "lost": report.lost, "repeated": report.repeated, "broken": broken })
            };
            json!({ "whole": whole, "files": reports.iter().map(file).collect::<Vec<_>>() })
        });
        if whole { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILURE) }
    }
}

fn read(verifier: &mut Verifier, file: &Path) -> std::io::Result<Report> {
    let mut failed = None;
    let lines = BufReader::new(std::fs::File::open(file)?).split(b'\n');
    let lines = lines.map_while(|line| match line {
        Ok(line) => Some(String::from_utf8_lossy(&line).into_owned()),
        Err(error) => {
            failed = Some(error);
            None
        }
    });
    let report = verifier.read(lines);
    failed.map_or(Ok(report), Err)
}

fn show(output: Output, file: &Path, report: &Report) {
    let (place, Report { entries, lost, repeated, broken, begins_within }) =
        (file.display(), report);
    match broken {
        None => output.print(&format!("{place}: {entries} entries, the chain is whole")),
        Some((line, why)) => output.print(&format!("{place}:{line}: {why}")),
    }
    if *begins_within {
        output.print(&format!(
            "{place}: the chain begins before this file; verify older files with it if they exist"
        ));
    }
    if *repeated > 0 {
        output.print(&format!("{place}: {repeated} entries are there twice: they were sent again"));
    }
    if *lost > 0 {
        output.print(&format!("{place}: {lost} events were lost for want of room"));
    }
}

impl Verb for Hash {
    fn run(self, output: Output) -> ExitCode {
        match audit::hash_key(&self.key_file, self.key.as_bytes()) {
            Ok(hash) => {
                output.print(&hash);
                ExitCode::SUCCESS
            }
            Err(problem) => output.fail(exit::FAILURE, &problem),
        }
    }
}
