//! `metrics`: every metric, also where `/metrics` of the telemetry server shows the lean profile.
//!
//! Owns: [`METRICS`]. Never knows: which metrics there are.

use serde_json::{Map, Value};

use super::AdminState;
use crate::admin::{Answer, Effect, Refused, Verb};
use crate::base::limits;

pub(crate) const METRICS: Verb<AdminState> = Verb {
    name: "metrics",
    path: "/metrics",
    also: &[],
    effect: Effect::Shows,
    about: "Print every metric in the format of Prometheus",
    arguments: &[],
    examples: &[
        ("See what was denied", "respgate metrics | grep denied"),
        ("For a program: an object with a member for each series", "respgate metrics --json"),
    ],
    done: "the metrics were printed",
    failed: "respgate is shutting down",
    patience: limits::ADMIN_WORK_TIMEOUT,
    answer: |admin_state, _| Box::pin(std::future::ready(answer(&admin_state))),
};

fn answer(admin_state: &AdminState) -> Result<Answer, Refused> {
    let text = admin_state.telemetry.metrics.render();
    let text = text.map_err(|error| Refused::Conflict(format!("the metrics: {error}")))?;
    Ok(Answer::new(Value::Object(series(&text)), text))
}

/// Each series with its value.
fn series(text: &str) -> Map<String, Value> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let split = lines.filter_map(|line| line.rsplit_once(' '));
    let read = split.filter_map(|(name, value)| Some((name, value.parse::<f64>().ok()?)));
    read.map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_a_member() {
        let text = "# HELP a what\n# TYPE a counter\na{x=\"1 2\"} 3\nb 0.5\n";
        let series = Value::Object(series(text));
        assert_eq!(series, serde_json::json!({ "a{x=\"1 2\"}": 3.0, "b": 0.5 }));
    }
}
