//! What `status` shows: sections for people, the same for programs, and what is wrong.
//!
//! Owns: [`Screen`]. Never knows: where the figures come from.

use std::time::SystemTime;

use serde_json::Value;

/// A certificate that ends earlier is reported as wrong.
pub(super) const WARN_DAYS: u64 = 7;
pub(super) const DAY: u64 = 86_400;

/// Something that is wrong.
pub(super) struct Problem {
    pub code: &'static str,
    pub what: String,
    pub remedy: String,
}

/// A label, and lines beside it.
pub(super) type Section = (&'static str, Vec<String>);

/// What is known, for people and for programs.
#[derive(Default)]
pub(super) struct Screen {
    pub problems: Vec<Problem>,
    pub sections: Vec<Section>,
    pub json: serde_json::Map<String, Value>,
}

impl Screen {
    pub(super) fn wrong(
        &mut self,
        code: &'static str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem { code, what: what.into(), remedy: remedy.into() });
    }

    pub(super) fn add(&mut self, label: &'static str, lines: Vec<String>, json: Value) {
        self.sections.push((label, lines));
        self.json.insert(label.replace(' ', "_"), json);
    }
}

pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
