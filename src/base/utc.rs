//! A moment of the calendar as RFC 3339 writes it.
//!
//! Owns: [`utc`], [`utc_micros`], [`parse_utc`]. Never knows: clocks.

use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The last second that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// `2026-11-28T22:10:00Z` for seconds since 1970.
#[must_use]
pub(crate) fn utc(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(LAST_SECOND).min(LAST_SECOND);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
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
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.replace_nanosecond(0).ok()?;
    (moment >= OffsetDateTime::UNIX_EPOCH).then(|| moment.into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
