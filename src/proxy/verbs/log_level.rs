//! `log-level`: logs more or less, at once and for a while.
//!
//! Owns: [`LOG_LEVEL`]. Never knows: how a log is filtered.

use std::sync::Arc;

use serde_json::json;

use super::{AdminState, span};
use crate::admin::{Answer, Argument, Call, Effect, Kind, Refused, Verb};
use crate::base::clock;
use crate::base::limits;
use crate::base::utc::utc;

pub(crate) const LOG_LEVEL: Verb<AdminState> = Verb {
    name: "log-level",
    path: "/log-level",
    also: &[],
    effect: Effect::Changes,
    about: "Log more or less from now on, without a reload",
    arguments: &[
        Argument {
            name: "level",
            kind: Kind::Word("LEVEL"),
            help: "error, warn, info, debug, trace, a filter such as info,respgate::tls=debug, or default: as configured",
        },
        Argument {
            name: "target",
            kind: Kind::Option("PART"),
            help: "Only this part of the program, as respgate::upstream; the others as before",
        },
        Argument {
            name: "for",
            kind: Kind::Option("TIME"),
            help: "How long, as 10m; then as configured",
        },
    ],
    examples: &[
        ("Log in detail for ten minutes", "respgate log-level debug --for 10m"),
        (
            "Only what concerns the server",
            "respgate log-level debug --target respgate::upstream --for 10m",
        ),
        ("As configured", "respgate log-level default"),
    ],
    done: "the level is in force",
    failed: "respgate is shutting down",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, call| Box::pin(std::future::ready(answer(&admin_state, &call))),
};

fn answer(admin_state: &Arc<AdminState>, call: &Call) -> Result<Answer, Refused> {
    let usage = |error: crate::telemetry::LogError| Refused::Usage(error.to_string());
    let (configured, wanted) = admin_state.levels.now();
    let word = call.value("level").unwrap_or_default();
    if word == "default" {
        admin_state.levels.end(None).map_err(usage)?;
        let json = json!({ "level": configured, "until": null });
        return Ok(Answer::new(json, format!("log level: {configured}, as configured")));
    }
    let level = match call.value("target") {
        None => word.to_owned(),
        Some(target) => {
            let others = wanted.map_or(configured, |wanted| wanted.level);
            format!("{others},{target}={word}")
        }
    };
    let span = span(call, "for")?;
    let until = span.map(|span| clock::unix_ms() / 1000 + span.as_secs());
    let number = admin_state.levels.want(&level, until).map_err(usage)?;
    if let Some(span) = span {
        let admin_state = Arc::clone(admin_state);
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            let _ = admin_state.levels.end(Some(number));
        });
    }
    let until = until.map(utc);
    let end = until.as_ref().map_or_else(String::new, |until| format!(" until {until}"));
    Ok(Answer::new(json!({ "level": level, "until": until }), format!("log level: {level}{end}")))
}
