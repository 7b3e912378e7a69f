//! `drain` and `shutdown`: end the process as SIGTERM does, or at once.
//!
//! Owns: [`DRAIN`], [`SHUTDOWN`]. Never knows: when a drain is over.

use std::sync::Arc;

use serde_json::json;

use super::AdminState;
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::limits;
use crate::config::show_duration;
use crate::proxy::admin_state::ProcessRequest;

const FORCE: Argument = Argument {
    name: "force",
    kind: Kind::Flag,
    help: "Exit although this is a native sidecar (drain.native_sidecar), which is started again",
};

pub(crate) const DRAIN: Verb<AdminState> = Verb {
    name: "drain",
    path: "/drain",
    also: &[],
    effect: Effect::Changes,
    about: "Shut down as after SIGTERM: not ready at once, exit when no client is left, or after drain.max",
    arguments: &[FORCE],
    examples: &[("Shut down when the application is gone", "respgate drain")],
    done: "the drain has begun",
    failed: "respgate is shutting down already, or is a native sidecar, which is started again",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call: Call| Box::pin(shut_down(admin_state, false, call.flag("force"))),
};

pub(crate) const SHUTDOWN: Verb<AdminState> = Verb {
    name: "shutdown",
    path: "/shutdown",
    also: &["/quitquitquit"],
    effect: Effect::Changes,
    about: "Shut down: drain as after SIGTERM, or with --now at once",
    arguments: &[
        Argument {
            name: "now",
            kind: Kind::Flag,
            help: "Do not wait for clients; ends a drain that is under way, too",
        },
        FORCE,
    ],
    examples: &[
        ("At the end of a job, beside its container", "respgate shutdown"),
        ("End a drain", "respgate shutdown --now"),
    ],
    done: "the shutdown has begun",
    failed: "respgate is shutting down already, or is a native sidecar, which is started again",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call: Call| {
        Box::pin(shut_down(admin_state, call.flag("now"), call.flag("force")))
    },
};

async fn shut_down(
    admin_state: Arc<AdminState>,
    now: bool,
    force: bool,
) -> Result<Answer, Refused> {
    if admin_state.in_force.get().config.drain.native_sidecar && !force {
        let text = "this is a native sidecar (drain.native_sidecar): Kubernetes starts it again after \
                    each exit, and ends it when the pod ends; delete the pod, or exit all the same \
                    with --force (force=true)";
        return Err(Refused::Conflict(text.to_owned()));
    }
    admin_state.order(|answer| ProcessRequest::Stop { now, answer }).await?;
    let max = show_duration(admin_state.in_force.get().config.drain.max);
    let text = if now {
        "shutting down".to_owned()
    } else {
        format!("draining; the process exits when no client is left, or after {max}")
    };
    Ok(Answer::new(json!({ "draining": !now, "now": now }), text))
}
