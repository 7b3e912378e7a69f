//! `test`: the security test, its four forms of report, its exit code.
//!
//! Owns: the verb, the table for people. Never knows: how a check is done.

use std::fmt::Write;
use std::process::ExitCode;

use bytes::Bytes;
use serde_json::Value;

use super::args::{FailOn, Format, Suite, Test, Wanted};
use super::ask::{Content, Question, Response, Way, ask};
use super::output::{Output, Paint};
use super::verb::Verb;
use super::{acl, examine, exit, security_report};
use crate::config::{Config, ConfigSource, environment};
use crate::proxy::verbs as table_of_verbs;
use crate::security::{Check, Finding, Outcome, Target, collect, judge};

impl Verb for Test {
    fn run(self, output: Output) -> ExitCode {
        let Self { suite: Suite::RedisSecurity, inputs, wanted } = self;
        let output = output.with_json(wanted.format == Format::Json);
        let source = inputs.source();
        // Files that cannot be used are findings of their own.
        let config = match examine::examine(&source, true) {
            Ok(config) => config,
            Err(problems) => {
                let _ = output.complain(&source, problems);
                return ExitCode::from(exit::USAGE);
            }
        };
        let findings = match findings(output, &source, &config, &wanted) {
            Ok(findings) => findings,
            Err(problem) => return output.fail(exit::USAGE, &problem),
        };
        match wanted.format {
            Format::Table => output.print(&table(output, &findings)),
            Format::Json => output.json(|| security_report::json(&findings)),
            Format::Junit => output.print(&security_report::junit(&findings)),
            Format::Sarif => output.print(&security_report::sarif(&findings)),
        }
        let worst = match wanted.fail_on {
            FailOn::Warn => Outcome::Warn,
            FailOn::Fail => Outcome::Fail,
        };
        let failed = findings.iter().any(|finding| finding.outcome >= worst);
        ExitCode::from(if failed { exit::FAILURE } else { exit::SUCCESS })
    }
}

fn findings(
    output: Output,
    source: &ConfigSource,
    config: &Config,
    wanted: &Wanted,
) -> Result<Vec<Finding>, String> {
    let changed = |_| "the configuration has changed".to_owned();
    let document = source.document(environment()).map_err(changed)?;
    let dictionary = examine::dictionary(&document, config).map_err(changed)?;
    let _progress = output.progress("testing the server");
    let rules = acl::server_differences(&document, config, &dictionary);
    let target = Target {
        config,
        dictionary: &dictionary,
        plaintext_ports: &wanted.plaintext_port,
        revocations: &wanted.crl,
        rules,
        sinks: failing_sinks(config),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {}", error.kind()))?;
    let facts = runtime.block_on(collect(target))?;
    let is_wanted = |check: &Check| {
        let mut about = check.features.iter();
        let about = wanted.feature.is_empty() || about.any(|f| wanted.feature.contains(f));
        about && check.profile <= wanted.profile
    };
    Ok(judge(&facts, is_wanted))
}

/// The sinks of the audit log of a running respgate that take no entries.
fn failing_sinks(config: &Config) -> Result<Vec<String>, String> {
    let socket = config.admin.socket.as_ref();
    let socket =
        socket.ok_or("admin.socket is not set, so that a running respgate cannot be asked")?;
    let verb = &table_of_verbs::STATUS;
    let question = Question {
        method: verb.effect.method(),
        target: verb.path.to_owned(),
        body: Bytes::new(),
        json: true,
        patience: verb.patience,
    };
    let status = match ask(&Way::Unix(socket.clone()), question) {
        Response::Answer { answer: Content::Json(status), .. } => status,
        Response::Answer { .. } => return Err("the answer of respgate is not JSON".to_owned()),
        Response::Refused { problem, .. } | Response::Nothing(problem) => return Err(problem),
    };
    let Some(sinks) = status.get("audit").and_then(Value::as_array) else {
        let text = "the running respgate has no audit log; a change of [audit] needs a restart";
        return Ok(vec![text.to_owned()]);
    };
    let text = |sink: &Value, name: &str| Some(sink.get(name)?.as_str()?.to_owned());
    let failing = sinks
        .iter()
        .filter_map(|sink| Some(format!("{}: {}", text(sink, "sink")?, text(sink, "error")?)));
    Ok(failing.collect())
}

/// What failed is first.
fn table(output: Output, findings: &[Finding]) -> String {
    let mut text = String::new();
    for wanted in [Outcome::Fail, Outcome::Warn, Outcome::Skip, Outcome::Pass] {
        for finding in findings.iter().filter(|finding| finding.outcome == wanted) {
            let paint = match finding.outcome {
                Outcome::Pass => Paint::Good,
                Outcome::Skip => Paint::Faint,
                Outcome::Warn => Paint::Warning,
                Outcome::Fail => Paint::Bad,
            };
            let name = output.paint(paint, &format!("{:<4}", finding.outcome.name()));
            let check = finding.check;
            let _ = writeln!(text, "{name}  {:<8}  {}", check.id, check.title);
            if wanted != Outcome::Pass {
                let _ = writeln!(text, "{:16}{}", "", finding.detail);
            }
            if wanted >= Outcome::Warn {
                let _ = writeln!(text, "{:16}fix: {}", "", check.remedy);
            }
        }
    }
    let count = |outcome| findings.iter().filter(|finding| finding.outcome == outcome).count();
    let _ = write!(
        text,
        "{} passed, {} failed, {} warned, {} skipped",
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Warn),
        count(Outcome::Skip)
    );
    text
}
