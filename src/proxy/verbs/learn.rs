//! `learn`: the policy that observed traffic needs.
//!
//! Owns: [`LEARN`]. Never knows: what was observed.

use std::sync::Arc;

use serde_json::json;

use super::AdminState;
use crate::admin::{Answer, Call, Effect, Refused, Verb};
use crate::base::limits;

pub(crate) const LEARN: Verb<AdminState> = Verb {
    name: "learn",
    path: "/learned",
    also: &[],
    effect: Effect::Shows,
    about: "Print the smallest policy that would pass what a running respgate has observed",
    arguments: &[],
    examples: &[(
        "Write the policy for the commands that an application has sent so far",
        "respgate learn --socket /run/respgate/control.sock > policy.toml",
    )],
    done: "the policy was printed",
    failed: "nothing was observed yet",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(answer(admin_state, call)),
};

const NOTHING: &str = "# Nothing observed yet: requests are noted under a policy with mode = \"observe\" or with\n\
    # observed rules, and none has come.\n";

async fn answer(admin_state: Arc<AdminState>, _: Call) -> Result<Answer, Refused> {
    let user = admin_state.in_force.get().config.upstream.auth.username.clone();
    let user = user.unwrap_or_else(|| "default".to_owned());
    let learned = admin_state.ask_data_plane(move |plane| plane.worker.learned(&user)).await?;
    let json = json!({ "policy": learned });
    Ok(match learned {
        Some(policy) => Answer::new(json, policy),
        None => Answer::new(json, NOTHING).no(),
    })
}
