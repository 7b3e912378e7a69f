//! Settings of the policy about how often, and how many at once.
//!
//! Owns: [`LimitRule`] and how its rate is written. Never knows: how a limit is held.

use std::time::Duration;

use super::error::ValueError;
use super::quoting::quoted;
use super::section::{Section, choice, count, duration, string, text};

/// How long a command waits at most where `max_delay` is not set.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A limit on some commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Words of the ACL language about commands.
    pub commands: String,
    pub rate: Option<Rate>,
    /// Commands in flight at once.
    pub concurrency: Option<u32>,
    pub per: Per,
    pub on_exceed: OnLimit,
    /// The longest wait with [`OnLimit::Delay`]; whatever would wait longer is refused.
    pub max_delay: Duration,
}

impl Default for LimitRule {
    fn default() -> Self {
        Self {
            commands: String::new(),
            rate: None,
            concurrency: None,
            per: Per::default(),
            on_exceed: OnLimit::default(),
            max_delay: MAX_DELAY,
        }
    }
}

/// A token bucket: `count` tokens come back in each `period`, `burst` fit in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub period: Duration,
    pub burst: u32,
}

/// Whose commands are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Per {
    /// The commands of all clients that have the policy on one listener.
    #[default]
    Policy,
    Client,
}

/// What becomes of a command over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnLimit {
    /// The command waits, and its client behind it.
    #[default]
    Delay,
    Error,
}

pub(super) fn read(at: &Section<'_>) -> LimitRule {
    let hint = "write commands = \"@write\", or names and categories with blanks between";
    let commands = at.need("commands", hint, string).unwrap_or_default();
    let rate = at.get("rate", |node| rate(text(node)?));
    let burst = at.get("burst", count);
    if rate.is_none() && burst.is_some() && !at.has("rate") {
        let hint = "write rate = \"1000/s\" beside it";
        at.report("burst", ValueError::new("without effect").hint(hint));
    }
    for (key, number) in [("burst", burst), ("concurrency", at.get("concurrency", count))] {
        if number == Some(0) {
            let hint = "to keep commands away altogether, deny them in acl";
            at.report(key, ValueError::new("must be more than 0").hint(hint));
        }
    }
    let per = [("policy", Per::Policy), ("client", Per::Client)];
    let exceed = [("delay", OnLimit::Delay), ("error", OnLimit::Error)];
    LimitRule {
        commands,
        rate: rate.map(|(count, period)| Rate { count, period, burst: burst.unwrap_or(count) }),
        concurrency: at.get("concurrency", count),
        per: at.get("per", choice(&per)).unwrap_or_default(),
        on_exceed: at.get("on_exceed", choice(&exceed)).unwrap_or_default(),
        max_delay: at.get("max_delay", duration).unwrap_or(MAX_DELAY),
    }
}

/// Reads `1000/s`: a number, and `s`, `m`, `h` or `d`.
fn rate(text: &str) -> Result<(u32, Duration), ValueError> {
    let seconds = |unit| match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(60 * 60),
        "d" => Some(24 * 60 * 60),
        _ => None,
    };
    let parts = text.split_once('/');
    let count = parts.and_then(|(count, _)| count.trim().parse().ok()).filter(|count| *count > 0);
    let period = parts.and_then(|(_, unit)| seconds(unit.trim()));
    count.zip(period.map(Duration::from_secs)).ok_or_else(|| {
        ValueError::new(format!("{} is not a rate", quoted(text)))
            .hint("write a number for each second, minute, hour or day: \"1000/s\", \"5/m\"")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    #[test]
    fn rates() {
        for (text, expected) in [
            ("1000/s", Some((1000, 1))),
            ("5 / m", Some((5, 60))),
            ("1/h", Some((1, 3600))),
            ("4294967295/d", Some((u32::MAX, 86400))),
            ("0/s", None),
            ("4294967296/s", None),
            ("1000", None),
            ("1000/", None),
            ("/s", None),
            ("1.5/s", None),
            ("1/ms", None),
            ("-1/s", None),
        ] {
            let read = rate(text).ok().map(|(count, period)| (count, period.as_secs()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
