//! Denials by rule and command, in a bounded number of series that hides no command that matters.
//!
//! Owns: [`Denied`], [`Refused`]. Never knows: policy, the command table.

use std::sync::{Arc, OnceLock};

use prometheus::proto::{LabelPair, Metric, MetricType};

use super::label::{By, Label};
use super::number::{Counter, Lazy, Series, Sharded, pair, parts};
use crate::base::limits;
use crate::base::rule::Rule;

/// The refused command, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A command that is never shown as another one.
    Kept(&'static str),
    Named(&'static str),
    /// The command table does not have it.
    Unknown,
}

#[derive(Debug)]
struct Entry {
    command: &'static str,
    rule: Rule,
    /// The pair takes one of the places that are kept.
    kept: bool,
}

/// One series per pair of command and rule. A command that is kept gets its series when the policy
/// refuses it as a command or a category; the first `SHARED` other pairs get theirs as they come, and
/// the rest are `other`.
#[derive(Debug)]
pub struct Denied<const SHARED: usize> {
    /// The places of pairs, for all writers; filled from the front.
    entries: Arc<[OnceLock<Entry>]>,
    /// By place.
    counts: Box<[Counter]>,
    other: By<Rule, Lazy<Counter>>,
}

impl<const SHARED: usize> Denied<SHARED> {
    fn of(entries: Arc<[OnceLock<Entry>]>) -> Self {
        let counts = entries.iter().map(|_| Counter::default()).collect();
        Self { entries, counts, other: By::default() }
    }
}

impl<const SHARED: usize> Default for Denied<SHARED> {
    fn default() -> Self {
        let places = limits::DENIED_COMMANDS_MAX + SHARED;
        Self::of((0..places).map(|_| OnceLock::new()).collect())
    }
}

impl<const SHARED: usize> Sharded for Denied<SHARED> {
    fn sibling(&self) -> Self {
        Self::of(Arc::clone(&self.entries))
    }
}

impl<const SHARED: usize> Denied<SHARED> {
    /// Counts a refusal; single writer. Names are those of the command table, never what a client
    /// sent.
    pub fn inc(&self, rule: Rule, command: Refused) {
        let (name, keeps) = match command {
            Refused::Unknown => return self.other[rule].inc(),
            Refused::Named(name) => (name, false),
            Refused::Kept(name) => (name, matches!(rule, Rule::Command | Rule::Category)),
        };
        let (mut shared, mut kept, mut has_own) = (0, 0, false);
        for (place, count) in self.entries.iter().zip(&self.counts) {
            let own = keeps && !has_own && kept < limits::DENIED_COMMANDS_MAX;
            if place.get().is_none() && !own && shared >= SHARED {
                break;
            }
            // Another writer may take the place first: then the entry is its.
            let entry = place.get_or_init(|| Entry { command: name, rule, kept: own });
            if entry.command == name {
                if entry.rule == rule {
                    return count.inc();
                }
                has_own |= entry.kept;
            }
            kept += usize::from(entry.kept);
            shared += usize::from(!entry.kept);
        }
        self.other[rule].inc();
    }
}

impl<const SHARED: usize> Series for Denied<SHARED> {
    const KIND: MetricType = MetricType::COUNTER;

    fn collect(all: &[&Self], labels: &mut Vec<LabelPair>, out: &mut Vec<Metric>) {
        let entries = all.first().into_iter().flat_map(|own| own.entries.iter());
        for (place, entry) in entries.map_while(OnceLock::get).enumerate() {
            let held = labels.len();
            labels.push(pair("command", entry.command));
            labels.push(pair(<Rule as Label>::NAME, entry.rule.label()));
            let counts: Vec<_> = all.iter().filter_map(|own| own.counts.get(place)).collect();
            Series::collect(&counts, labels, out);
            labels.truncate(held);
        }
        labels.push(pair("command", "other"));
        Series::collect(&parts(all, |own| &own.other), labels, out);
        labels.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<const SHARED: usize>(denied: &Denied<SHARED>) -> Vec<String> {
        let mut out = Vec::new();
        Series::collect(&[denied], &mut Vec::new(), &mut out);
        let line = |m: &Metric| {
            let labels: Vec<&str> = m.get_label().iter().map(LabelPair::value).collect();
            format!("{} {}", labels.join(" "), m.get_counter().get_value())
        };
        out.iter().map(line).collect()
    }

    fn leaked(prefix: &str, count: usize) -> Vec<&'static str> {
        (0..count).map(|n| &*Box::leak(format!("{prefix}{n}").into_boxed_str())).collect()
    }

    #[test]
    fn denial_is_counted_by_command_and_rule() {
        let denied = Denied::<4>::default();
        assert!(lines(&denied).is_empty());
        denied.inc(Rule::Command, Refused::Kept("flushall"));
        denied.inc(Rule::Command, Refused::Kept("flushall"));
        denied.inc(Rule::Arity, Refused::Named("get"));
        denied.inc(Rule::Unknown, Refused::Unknown);
        assert_eq!(lines(&denied), ["flushall command 2", "get arity 1", "other unknown 1"]);
    }

    #[test]
    fn dangerous_command_is_named_after_any_number_of_others() {
        let denied = Denied::<4>::default();
        for name in leaked("junk", 100) {
            denied.inc(Rule::Command, Refused::Named(name));
            denied.inc(Rule::Arity, Refused::Kept("config|set"));
        }
        denied.inc(Rule::Category, Refused::Kept("config|set"));
        denied.inc(Rule::Command, Refused::Kept("flushall"));
        let lines = lines(&denied);
        assert_eq!(lines.len(), 4 + 2 + 1, "{lines:?}");
        for line in ["flushall command 1", "config|set category 1", "config|set arity 100"] {
            assert!(lines.contains(&line.to_owned()), "{line} {lines:?}");
        }
        assert!(lines.contains(&"other command 97".to_owned()), "{lines:?}");
    }

    #[test]
    fn series_stay_within_the_cap_and_no_denial_is_lost() {
        let denied = Denied::<4>::default();
        let (kept, named) = (leaked("kept", 300), leaked("named", 300));
        for rule in &Rule::ALL {
            for (kept, named) in kept.iter().zip(&named) {
                denied.inc(*rule, Refused::Kept(kept));
                denied.inc(*rule, Refused::Named(named));
                denied.inc(*rule, Refused::Unknown);
            }
        }
        let lines = lines(&denied);
        assert!(
            lines.len() <= limits::DENIED_COMMANDS_MAX + 4 + Rule::ALL.len(),
            "{}",
            lines.len()
        );
        let total: usize =
            lines.iter().map(|l| l.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(total, 900 * Rule::ALL.len());
    }
}
