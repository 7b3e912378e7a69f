//! The times that bound a shared connection.
//!
//! Owns: [`Timing`]. Never knows: what follows when one is over.

use std::time::Duration;

use crate::config;

/// The times of the configuration; zero means never where that is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub command_timeout: Duration,
    pub stall_timeout: Duration,
    pub connect_timeout: Duration,
    pub health_check_interval: Duration,
    pub idle_timeout: Duration,
    pub max_age: Duration,
}

impl Timing {
    #[must_use]
    pub const fn of(pool: &config::Pool) -> Self {
        Self {
            command_timeout: pool.command_timeout,
            stall_timeout: pool.stall_timeout,
            connect_timeout: pool.connect_timeout,
            health_check_interval: pool.health_check_interval,
            idle_timeout: pool.idle_timeout,
            max_age: pool.max_age,
        }
    }

    /// The same, with an age that is up to a tenth lower by chance: connections that were made together are not
    /// replaced together.
    #[must_use]
    pub fn jittered(self, chance: u64) -> Self {
        Self { max_age: jittered(self.max_age, chance), ..self }
    }
}

/// An age that is up to a tenth lower by chance.
pub(crate) fn jittered(max_age: Duration, chance: u64) -> Duration {
    let part = u32::try_from(chance % 1024).unwrap_or(0);
    let age = max_age - max_age / 10_240 * part;
    debug_assert!(age <= max_age && age >= max_age - max_age / 10, "more than a tenth lower");
    age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_lowered_by_chance_and_never_stays_or_becomes_forever() {
        let max_age = Duration::from_secs(3600);
        let timing = Timing::of(&config::Pool { max_age, ..config::Pool::default() });
        assert_eq!(timing.jittered(0).max_age, max_age);
        for chance in [1, 7, 512, 1023, u64::MAX] {
            let age = timing.jittered(chance).max_age;
            assert!(age < max_age && age >= Duration::from_secs(3240), "{age:?}");
        }
        let never = Timing { max_age: Duration::ZERO, ..timing };
        assert_eq!(never.jittered(9).max_age, Duration::ZERO, "zero is never");
    }
}
