//! `doctor`: each step between respgate and the server, for people and for programs.
//!
//! Owns: both forms of the report, the exit code. Never knows: how a step is judged.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::args::Doctor;
use super::output::{Output, Paint};
use super::verb::Verb;
use super::{acl, examine, exit};
use crate::config::{Config, ConfigSource, environment};
use crate::doctor::{Facts, Outcome, Step, collect, judge};

impl Verb for Doctor {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        let source = self.inputs.source();
        // What is wrong with the files is a step of the report.
        let config = match examine::examine(&source, true) {
            Ok(config) => config,
            Err(problems) => return output.complain(&source, problems),
        };
        let progress = output.progress("trying the server");
        let facts = match look(&source, &config) {
            Ok(facts) => facts,
            Err(problem) => return output.fail(exit::FAILURE, &problem),
        };
        drop(progress);
        let steps = judge(&facts);
        output.print(&to_text(output, &facts, &steps));
        output.json(|| to_json(&facts, &steps));
        let failed = steps.iter().any(|step| step.outcome == Outcome::Fail);
        ExitCode::from(if failed { exit::UNUSABLE } else { exit::SUCCESS })
    }
}

fn look(source: &ConfigSource, config: &Config) -> Result<Facts, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {}", error.kind()))?;
    let mut facts = runtime.block_on(collect(config));
    drop(runtime);
    if matches!(facts.dialed, Some(Ok(_))) {
        facts.rules = Some(rules(source, config));
    }
    Ok(facts)
}

fn rules(source: &ConfigSource, config: &Config) -> Result<Vec<String>, String> {
    let changed = |_| "the configuration has changed".to_owned();
    let document = source.document(environment()).map_err(changed)?;
    let dictionary = examine::dictionary(&document, config).map_err(changed)?;
    acl::server_differences(&document, config, &dictionary)
}

fn to_text(output: Output, facts: &Facts, steps: &[Step]) -> String {
    let mut lines = vec![format!("server {}", facts.server)];
    for step in steps {
        let code = step.code.map_or_else(String::new, |code| format!(" ({code})"));
        let paint = match step.outcome {
            Outcome::Ok => Paint::Good,
            Outcome::Skipped => Paint::Faint,
            Outcome::Warn => Paint::Warning,
            Outcome::Fail => Paint::Bad,
        };
        let name = output.paint(paint, &format!("{:<8}", step.outcome.name()));
        let took = step.took.map_or_else(String::new, |took| format!(", {:.2} ms", ms(took)));
        lines.push(format!("  {name} {:<12} {}{took}{code}", step.name, step.what));
        lines.extend(step.fix.iter().map(|fix| format!("           {:<12} fix: {fix}", "")));
    }
    let count = |outcome| steps.iter().filter(|step| step.outcome == outcome).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (failed, warned) = (count(Outcome::Fail), count(Outcome::Warn));
    lines.push(match (failed, warned) {
        (0, 0) => "no problems".to_owned(),
        (0, warned) => format!("the server can be used; {warned} warning{}", plural(warned)),
        (failed, _) => {
            format!("the server cannot be used: {failed} step{} failed", plural(failed))
        }
    });
    lines.join("\n")
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

fn to_json(facts: &Facts, steps: &[Step]) -> serde_json::Value {
    let worst = steps.iter().map(|step| step.outcome).max().unwrap_or(Outcome::Ok);
    let rows = steps.iter().map(|step| {
        json!({
            "step": step.name,
            "result": step.outcome.name(),
            "what": step.what,
            "code": step.code,
            "fix": step.fix,
            "milliseconds": step.took.map(|took| (ms(took) * 1e3).round() / 1e3),
        })
    });
    let rows: Vec<_> = rows.collect();
    let usable = worst != Outcome::Fail;
    json!({"server": facts.server, "usable": usable, "steps": rows})
}
