//! Numbers as a person reads them, in few columns.
//!
//! Owns: the units and how much is rounded. Never knows: what is counted.

use super::window::Quantile;

/// What is shown for a number that is not known, or none.
pub(super) const UNKNOWN: &str = "-";

/// `0`, `3.2`, `321`, `12.3k`, `4.0M`.
pub(super) fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T"])
}

/// A number of things that are there: `3`, `999`, `1.2k`.
pub(super) fn whole(value: f64) -> String {
    if (0.0..999.5).contains(&value) { format!("{value:.0}") } else { count(value) }
}

/// How often in each second: `12.3k/s`.
pub(super) fn per_second(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{}/s", count(value)))
}

/// `512 B`, `1.5 MiB`.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// `85 µs`, `1.2 ms`, `3.4 s`.
pub(super) fn seconds(value: f64) -> String {
    match value {
        value if !value.is_finite() || value < 0.0 => UNKNOWN.to_owned(),
        0.0 => "0".to_owned(),
        value if value < 1e-3 => format!("{} µs", three(value * 1e6)),
        value if value < 1.0 => format!("{} ms", three(value * 1e3)),
        value => format!("{} s", three(value.min(99_999.0))),
    }
}

pub(super) fn quantile(value: Option<Quantile>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(Quantile::ClientInfo(value)) => seconds(value),
        Some(Quantile::Beyond(value)) => format!(">{}", seconds(value)),
    }
}

/// A long time by its two largest units: `23d 4h`, `2h 13m`, `45s`.
pub(super) fn span(value: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("d", 86_400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    if !value.is_finite() || value < 0.0 {
        return UNKNOWN.to_owned();
    }
    let (mut rest, mut words) = (value.min(1e9).floor(), Vec::new());
    for (unit, length) in UNITS {
        let whole = (rest / length).floor();
        if (whole > 0.0 || !words.is_empty()) && words.len() < 2 {
            words.push(format!("{whole:.0}{unit}"));
            rest -= whole * length;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// The time of the day (UTC) of a moment in seconds since 1970: `14:03:22`.
pub(super) fn time_of_day(unix_seconds: f64) -> String {
    if !unix_seconds.is_finite() || unix_seconds < 0.0 {
        return UNKNOWN.to_owned();
    }
    let seconds = unix_seconds % 86_400.0;
    let (hour, minute) = ((seconds / 3600.0).floor(), ((seconds % 3600.0) / 60.0).floor());
    format!("{hour:02.0}:{minute:02.0}:{:02.0}", (seconds % 60.0).floor())
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    if !value.is_finite() || value < 0.0 {
        return UNKNOWN.to_owned();
    }
    let (mut value, mut unit) = (value, units.first());
    for next in units.iter().skip(1) {
        // What would be rounded up to the next unit is shown in it.
        if value < step - 0.5 {
            break;
        }
        (value, unit) = (value / step, Some(next));
    }
    let shown = if value >= step - 0.5 { format!(">{:.0}", step - 1.0) } else { three(value) };
    format!("{shown}{}", unit.copied().unwrap_or_default())
}

/// With a decimal where there is room for it, and none if it would be 0 alone.
fn three(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if value < 0.095 {
        "0.1".to_owned()
    } else if value < 99.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [0.0, 0.01, 3.24, 99.9, 321.4, 999.6, 12_345.0, 4e6, 7e9, 1e12, 1e300];
        let shown: Vec<String> = counts.into_iter().map(count).collect();
        let expected =
            ["0", "0.1", "3.2", "99.9", "321", "1.0k", "12.3k", "4.0M", "7.0G", "1.0T", ">999T"];
        assert_eq!(shown, expected);
        assert_eq!([f64::NAN, f64::INFINITY, -1.0].map(count), ["-", "-", "-"]);
        assert_eq!(
            [0.0, 1023.0, 1024.0, 1.5e6].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.4 MiB"]
        );
        assert_eq!(
            [0.0, 85e-6, 0.0012, 0.25, 3.44, 120.0, 1e9].map(seconds),
            ["0", "85.0 µs", "1.2 ms", "250 ms", "3.4 s", "120 s", "99999 s"]
        );
        assert_eq!([f64::NAN, -1.0].map(seconds), ["-", "-"]);
        assert_eq!(
            [0.0, 3.0, 999.0, 12_000.0, f64::NAN].map(whole),
            ["0", "3", "999", "12.0k", "-"]
        );
        assert_eq!(per_second(None), "-");
        assert_eq!(per_second(Some(1500.0)), "1.5k/s");
        assert_eq!(quantile(Some(Quantile::Beyond(5.0))), ">5.0 s");
    }

    #[test]
    fn spans_have_two_units() {
        assert_eq!(
            [0.0, 45.9, 60.0, 8000.0, 86_400.0, 2e6, 1e300].map(span),
            ["0s", "45s", "1m 0s", "2h 13m", "1d 0h", "23d 3h", "11574d 1h"]
        );
        assert_eq!([f64::NAN, -5.0].map(span), ["-", "-"]);
        assert_eq!([50_602.9, 1_700_000_000.0].map(time_of_day), ["14:03:22", "22:13:20"]);
        assert_eq!(time_of_day(f64::NAN), "-");
    }
}
