//! How a validity period looks at a moment, and how a moment is written.
//!
//! Owns: [`Expiry`], [`calendar`]. Never knows: certificates, metrics, clocks.

use std::time::{Duration, SystemTime};

use x509_parser::time::ASN1Time;

/// The share of a lifetime that is left when an operator should look: renewers act at a third, so at a
/// fifth they have not.
const EXPIRING_SHARE: u32 = 5;

/// The state of a validity period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// The period begins after this time.
    NotYet(Duration),
    /// Most of it is left.
    Fresh(Duration),
    /// Less than a fifth of it is left, and how much.
    Expiring(Duration),
    /// The period ended this long ago.
    Expired(Duration),
}

/// Judges the period `not_before ..= not_after` at `now`.
#[must_use]
pub(crate) fn assess(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> Expiry {
    if let Ok(wait) = not_before.duration_since(now)
        && !wait.is_zero()
    {
        return Expiry::NotYet(wait);
    }
    match not_after.duration_since(now) {
        Err(past) => Expiry::Expired(past.duration()),
        Ok(left) => {
            let lifetime = not_after.duration_since(not_before).unwrap_or_default();
            if left < lifetime / EXPIRING_SHARE {
                Expiry::Expiring(left)
            } else {
                Expiry::Fresh(left)
            }
        }
    }
}

/// A moment as people write it, in UTC.
#[must_use]
pub(crate) fn calendar(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds).ok().and_then(|s| ASN1Time::from_timestamp(s).ok());
    let Some(time) = time.map(|time| time.to_datetime()) else {
        return "a distant day".to_owned();
    };
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_of_a_hundred_seconds() {
        let at = |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s);
        let check = |now, expected| assert_eq!(assess(at(1000), at(1100), at(now)), expected);
        let secs = Duration::from_secs;
        check(990, Expiry::NotYet(secs(10)));
        check(1000, Expiry::Fresh(secs(100)));
        check(1080, Expiry::Fresh(secs(20)));
        check(1081, Expiry::Expiring(secs(19)));
        check(1100, Expiry::Expiring(secs(0)));
        check(1101, Expiry::Expired(secs(1)));
    }
}
