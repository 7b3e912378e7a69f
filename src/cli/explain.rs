//! `explain`: what becomes of one command, and which rule decides.
//!
//! Owns: the way from the command line to a decision. Never knows: how one is made.

use std::path::Path;
use std::process::ExitCode;

use super::args::Explain;
use super::output::{Output, Paint};
use super::verb::Verb;
use super::{ask, examine, exit};
use crate::base::clock;
use crate::config::{ConfigSource, Document, Place, Problem, Setting, environment};
use crate::policy::{self, EvalContext, Explanation, Policy, Shown, Verdict};
use crate::resp::{RequestBuf, RequestLimits, RequestScanner, Scan};

impl Verb for Explain {
    fn run(self, output: Output) -> ExitCode {
        let output = output.with_json(self.answer.json);
        let source = self.inputs.source();
        let (socket, policy) = (self.socket.as_deref(), self.policy.as_deref());
        explain(output, source, socket, policy, &self.command, self.database)
    }
}

/// Explains one command under the policy of a configuration: 0 when it passes, 1 when it is refused.
fn explain(
    output: Output,
    mut source: ConfigSource,
    socket: Option<&Path>,
    section: Option<&str>,
    words: &[String],
    database: u32,
) -> ExitCode {
    let Some(request) = parse(words) else {
        let problem = "not a command: a quote is open, or there is no word";
        return output.fail(exit::USAGE, problem);
    };
    if let Some(socket) = socket {
        let command = request.as_request();
        return ask::explain(output, socket, command.raw(), database, section);
    }
    without_upstream(&mut source);
    match load(&source, section) {
        Ok((document, section, policy)) => {
            let unix_ms = clock::unix_ms();
            let moment = EvalContext { database, unix_ms };
            let request = request.as_request();
            let explanation = Explanation::of(&policy, &request, &moment);
            let place =
                |setting: &str| Some(document.place(&format!("{section}.{setting}")).to_string());
            let shown = Shown::new(&request, &explanation, &section, place);
            let paint = match explanation.verdict {
                Verdict::Refused(..) => Paint::Bad,
                Verdict::Observed(..) => Paint::Warning,
                Verdict::Passes => Paint::Good,
            };
            output.print(&shown.text(|verdict| output.paint(paint, verdict)));
            output.json(|| shown.json());
            match explanation.verdict {
                Verdict::Refused(..) => ExitCode::FAILURE,
                Verdict::Passes | Verdict::Observed(..) => ExitCode::SUCCESS,
            }
        }
        Err(problems) => output.complain(&source, problems),
    }
}

/// Where flags alone describe a policy, no server needs to be named.
fn without_upstream(source: &mut ConfigSource) {
    let named = source.flags.iter().any(|setting| setting.is_for("upstream.address"));
    if source.path.is_some() || named {
        return;
    }
    for (key, value) in
        [("upstream.address", "localhost:6379"), ("upstream.insecure_plaintext", "true")]
    {
        source.flags.push(Setting::new(Place::Flag(String::new()), key, value.to_owned()));
    }
}

/// The policy, and the name of its section.
fn load(
    source: &ConfigSource,
    name: Option<&str>,
) -> Result<(Document, String, Policy), Vec<Problem>> {
    let document = source.document(environment())?;
    let config = document.config()?;
    let dictionary = examine::dictionary(&document, &config)?;
    let (section, rules) =
        config.rules(name).map_err(|problem| vec![document.problem("policies", problem, None)])?;
    let policy = policy::compile_with(rules, &dictionary)
        .map_err(|_| examine::rule_problems(&document, &section, rules, &dictionary))?;
    Ok((document, section, policy))
}

/// The words of a command: one text as `redis-cli` takes it at its prompt, or each word by itself.
fn parse(words: &[String]) -> Option<RequestBuf> {
    let [line] = words else { return Some(RequestBuf::from_args(words)) };
    let line = format!("{line}\r\n");
    let mut scanner = RequestScanner::default();
    match scanner.scan(line.as_bytes(), &RequestLimits::NONE) {
        Ok(Scan::Request { .. }) => {
            Some(RequestBuf::from_args(scanner.request(line.as_bytes()).args()))
        }
        Ok(_) | Err(_) => None,
    }
}
