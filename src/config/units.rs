//! Sizes and durations between text and numbers: `64MiB`, `250ms`, `0`.
//!
//! Owns: the units and their spelling. Never knows: settings.

use std::time::Duration;

use super::error::ValueError;
use super::quoting::quoted;
use crate::base::limits;

/// Largest first, so that printing takes the first that divides.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a number of bytes: digits and one of `B`, `KiB`, `MiB`, `GiB`, or digits alone.
pub(super) fn size(text: &str) -> Result<u64, ValueError> {
    let (number, unit) = split(text);
    let factor = if unit.is_empty() { Some(1) } else { factor(&SIZES, unit) };
    match (number, factor) {
        (Some(number), Some(factor)) => number
            .checked_mul(factor)
            .ok_or_else(|| ValueError::new(format!("{} is too large", quoted(text)))),
        (number, _) => Err(ValueError::new(format!("{} is not a size", quoted(text)))
            .hint(size_hint(number, unit))),
    }
}

fn size_hint(number: Option<u64>, unit: &str) -> String {
    let letter = unit.get(..1).map(str::to_ascii_uppercase);
    let meant = SIZES.iter().find(|(name, _)| Some(&name[..1]) == letter.as_deref());
    match (number, meant) {
        (Some(number), Some((name, _))) => format!("write \"{number}{name}\""),
        _ => "write a number with B, KiB, MiB or GiB, as in \"64MiB\"".to_owned(),
    }
}

/// Reads a time: digits and one of `ms`, `s`, `m`, `h`, `d`, or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::new(format!("{} is not a duration", quoted(text)));
    let (number, unit) = split(text);
    let Some(number) = number else {
        return Err(
            wrong().hint("write a number with ms, s, m, h or d, as in \"250ms\" or \"300s\"")
        );
    };
    let millis = match factor(&TIMES, unit) {
        Some(factor) => number.checked_mul(factor),
        None if number == 0 && unit.is_empty() => Some(0),
        None if unit.is_empty() => {
            return Err(ValueError::new("a duration needs a unit").hint(format!(
                "write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
            )));
        }
        None => return Err(wrong().hint("the units are ms, s, m, h and d, as in \"300s\"")),
    };
    millis
        .map(Duration::from_millis)
        .filter(|duration| *duration <= limits::CONFIG_DURATION_MAX)
        .ok_or_else(|| ValueError::new(format!("{} is longer than ten years", quoted(text))))
}

/// Reads a time as a setting takes it: `250ms`, `30s`.
///
/// # Errors
///
/// What is wrong, and what to write instead.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    duration(text).map_err(|ValueError { problem, hint }| match hint {
        Some(hint) => format!("{problem}; {hint}"),
        None => problem,
    })
}

/// A number of bytes as a person would write it.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    show(&SIZES, bytes)
}

/// A duration, to the millisecond, as a person would write it.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    show(&TIMES, u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn show(units: &[(&str, u64)], value: u64) -> String {
    let unit = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    unit.map_or_else(|| value.to_string(), |(name, factor)| format!("{}{name}", value / factor))
}

fn factor(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// The digits in front and what follows them.
fn split(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits.parse().ok(), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("64KiB", 65_536),
            ("64MiB", 64 << 20),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for (text, hint) in [
            ("64MB", "write \"64MiB\""),
            ("64mib", "write \"64MiB\""),
            ("1k", "write \"1KiB\""),
            ("lots", "write a number"),
            ("", "write a number"),
            ("1.5MiB", "write a number"),
            ("-1", "write a number"),
            ("1é", "write a number"),
        ] {
            let mistake = size(text).unwrap_err();
            assert!(mistake.hint.unwrap().starts_with(hint), "{text}");
        }
        assert!(size("99999999999GiB").unwrap_err().problem.ends_with("is too large"));
        assert!(size("99999999999999999999").is_err());
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("300s", 300_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in
            ["", "5", "s", "5 s", "1h30m", "1.5s", "-1s", "5S", "99999d", "99999999999999999999s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration("5").unwrap_err().hint.unwrap().contains("\"5s\""));
    }

    #[test]
    fn printed_as_written() {
        for text in ["0", "64KiB", "64MiB", "1GiB", "100B"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
        for text in ["0", "250ms", "90s", "5m", "20s", "1d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        assert_eq!(show_duration(Duration::from_secs(300)), "5m");
    }
}
