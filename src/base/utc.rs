//! A moment of the calendar as RFC 3339 writes it.
//!
//! Owns: [`utc`], [`utc_micros`], [`parse_utc`]. Never knows: clocks.

use std::time::{Duration, SystemTime};

/// `2026-11-28T22:10:00Z` for seconds since 1970.
#[must_use]
pub(crate) fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days from 0000-03-01, in eras of 400 years (Howard Hinnant, "chrono-compatible date algorithms").
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2026-11-28T22:10:00.000001Z`: the same with microseconds.
#[must_use]
pub(crate) fn utc_micros(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let text = utc(since.as_secs());
    format!("{}.{:06}Z", text.trim_end_matches('Z'), since.subsec_micros())
}

/// The moment that a text in RFC 3339 names, with `Z` or an offset, from 1970 on. A fraction of a second is
/// dropped.
#[must_use]
pub(crate) fn parse_utc(text: &str) -> Option<SystemTime> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let bytes = text.as_bytes();
    let signs = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    let fits = |(at, known): (usize, &str)| {
        bytes.get(at).is_some_and(|byte| known.as_bytes().contains(byte))
    };
    if !signs.into_iter().all(fits) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let of_calendar = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !of_calendar || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = offset(text.get(19..)?)?;
    // The inverse of what `utc` does.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = i64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()? - offset;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

/// Seconds east of Greenwich, from what follows the second.
fn offset(rest: &str) -> Option<i64> {
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(rest) => rest.trim_start_matches(|digit: char| digit.is_ascii_digit()),
    };
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, zone) = match zone.strip_prefix('+') {
        Some(zone) => (1, zone),
        None => (-1, zone.strip_prefix('-')?),
    };
    let (hours, minutes) = zone.split_once(':')?;
    let number = |part: &str| -> Option<i64> {
        let fits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse().ok())?
    };
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_back() {
        for seconds in [0, 59, 951_782_399, 951_782_400, 951_868_800, 1_735_689_599, 4_107_542_400]
        {
            let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let text = utc(seconds);
            assert_eq!(parse_utc(&text), Some(moment), "{text}");
            let stem = text.trim_end_matches('Z');
            for zone in ["z", ".5Z", ".123456789+00:00", "-00:00"] {
                assert_eq!(parse_utc(&format!("{stem}{zone}")), Some(moment), "{stem}{zone}");
            }
        }
        let east = parse_utc("2026-11-29T07:27:00+02:00").unwrap();
        assert_eq!(Some(east), parse_utc("2026-11-29T05:27:00Z"));
        assert_eq!(Some(east), parse_utc("2026-11-28 23:57:00-05:30"));
        for text in [
            "",
            "2026-11-29",
            "2026-11-29T05:27:00",
            "2026-11-29T05:27Z",
            "2026-13-29T05:27:00Z",
            "2026-11-29T05:27:00+0200",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-29T05:27:00\u{e9}",
            "+026-11-29T05:27:00Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }

    #[test]
    fn moments_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
        let late = SystemTime::UNIX_EPOCH + Duration::new(951_782_399, 1_999);
        assert_eq!(utc_micros(late), "2000-02-28T23:59:59.000001Z");
    }
}
