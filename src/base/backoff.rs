//! How long to wait before the next attempt: exponential, capped, fully jittered, pure.
//!
//! Owns: [`Backoff`]. Never knows: timers, sockets, what is attempted.

use std::time::Duration;

/// The parameters of one kind of retry.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Ceiling of the first delay.
    pub initial: Duration,
    /// Growth of the ceiling per attempt.
    pub multiplier: f64,
    /// The ceiling never grows past this.
    pub cap: Duration,
}

impl Backoff {
    /// The delay before attempt number `attempt` (0 is the first retry): a uniform draw between a
    /// tenth of the ceiling and the ceiling, so that many proxies never return in step.
    #[must_use]
    pub fn delay(&self, attempt: u32, entropy: u64) -> Duration {
        let exponent = i32::try_from(attempt.min(64)).unwrap_or(64);
        let ceiling = self.initial.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let ceiling = ceiling.min(self.cap.as_secs_f64());
        #[allow(clippy::cast_precision_loss, reason = "53 bits of a draw are plenty")]
        let share = (entropy >> 11) as f64 / (1_u64 << 53) as f64;
        Duration::from_secs_f64(ceiling * 0.9f64.mul_add(share, 0.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_grows_to_the_cap_and_never_past_it() {
        let b = Backoff {
            initial: Duration::from_millis(100),
            multiplier: 1.5,
            cap: Duration::from_secs(2),
        };
        assert_eq!(b.delay(0, u64::MAX >> 1), b.delay(0, u64::MAX >> 1));
        assert!(b.delay(0, u64::MAX) <= Duration::from_millis(100));
        assert!(b.delay(0, 0) >= Duration::from_millis(9));
        assert!(b.delay(1, u64::MAX) > Duration::from_millis(140));
        assert!(b.delay(u32::MAX, u64::MAX) <= Duration::from_secs(2));
    }
}
