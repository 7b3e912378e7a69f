//! `explain`: what becomes of a command under the policy in force.
//!
//! Owns: [`EXPLAIN`]. Never knows: how a policy decides.

use std::sync::Arc;

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::clock;
use crate::base::limits;
use crate::policy::{EvalContext, Explanation, Shown, Verdict};
use crate::resp::{RequestBuf, RequestLimits, RequestScanner, Scan};

pub(crate) const EXPLAIN: Verb<AdminState> = Verb {
    name: "explain",
    path: "/explain",
    also: &[],
    effect: Effect::Judges,
    about: "Show what happens to a command, which the body holds as RESP, and which rule decides",
    arguments: &[
        Argument {
            name: "policy",
            kind: Kind::Option("NAME"),
            help: "One of [policies]; without it, [policy]",
        },
        Argument {
            name: "database",
            kind: Kind::Option("NUMBER"),
            help: "The database that the client has selected",
        },
    ],
    examples: &[(
        "Ask which rule decides about a command",
        "respgate explain --socket /run/respgate/control.sock KEYS '*'",
    )],
    done: "the command passes",
    failed: "the command is refused",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(std::future::ready(answer(&admin_state, &call))),
};

fn answer(admin_state: &Arc<AdminState>, call: &Call) -> Result<Answer, Refused> {
    let command = parse(&call.body);
    let command =
        command.ok_or_else(|| Refused::Usage("the body is not one request in RESP".to_owned()))?;
    let database = call.parsed("database")?.unwrap_or_default();
    let (in_force, name) = (admin_state.in_force.get(), call.value("policy"));
    let (section, _) = in_force.config.rules(name).map_err(Refused::NotFound)?;
    let policy = in_force.components.policies.get(name);
    let request = command.as_request();
    let moment = EvalContext { database, unix_ms: clock::unix_ms() };
    let explanation = Explanation::of(&policy, &request, &moment);
    let refused = matches!(explanation.verdict, Verdict::Refused(..));
    let places = &in_force.config.places;
    let place = |setting: &str| places.get(&format!("{section}.{setting}")).map(str::to_owned);
    let shown = Shown::new(&request, &explanation, &section, place);
    let answer = Answer::new(shown.json(), shown.text(str::to_owned));
    Ok(if refused { answer.no() } else { answer })
}

fn parse(bytes: &[u8]) -> Option<RequestBuf> {
    let mut scanner = RequestScanner::default();
    match scanner.scan(bytes, &RequestLimits::NONE) {
        Ok(Scan::Request { used }) if used == bytes.len() => {
            Some(RequestBuf::from_args(scanner.request(bytes).args()))
        }
        Ok(_) | Err(_) => None,
    }
}
