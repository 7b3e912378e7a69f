//! `reload`: reads the configuration, certificates, passwords and users again.
//!
//! Owns: [`RELOAD`]. Never knows: how a reload is done.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::json;

use super::AdminState;
use crate::admin::{Answer, Call, Effect, Refused, Verb};
use crate::base::limits;
use crate::proxy::admin_state::ProcessRequest;

pub(crate) const RELOAD: Verb<AdminState> = Verb {
    name: "reload",
    path: "/reload",
    also: &[],
    effect: Effect::Changes,
    about: "Read the configuration and every file that it names again, and print the result",
    arguments: &[],
    examples: &[(
        "Put a changed configuration in force",
        "respgate reload --config /etc/respgate/respgate.toml",
    )],
    done: "what has changed is in force; or nothing has",
    failed: "a part was rejected, and the version before stays in force",
    patience: limits::RELOAD_ANSWER_TIMEOUT,
    answer: |admin_state, call| Box::pin(answer(admin_state, call)),
};

async fn answer(admin_state: Arc<AdminState>, _: Call) -> Result<Answer, Refused> {
    let attempts = admin_state.order(ProcessRequest::Reload).await?;
    let mut text = String::new();
    for attempt in &attempts {
        // A String takes every text.
        let _ = write!(text, "{:<13} {}", attempt.part(), attempt.result());
        let _ = match attempt.cause() {
            Some(cause) => writeln!(text, ": {cause}"),
            None => writeln!(text),
        };
    }
    let components: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "part": attempt.part(),
                "result": attempt.result(),
                "reason": attempt.reason(),
                "cause": attempt.cause(),
            })
        })
        .collect();
    let rejected = attempts.iter().any(|attempt| attempt.cause().is_some());
    let answer = Answer::new(json!({ "ok": !rejected, "parts": components }), text);
    Ok(if rejected { answer.no() } else { answer })
}
