//! The times that bound a shared connection.
//!
//! Owns: [`Timing`]. Never knows: what follows when one is over.

use std::time::Duration;

use crate::config;

/// As they are configured; zero means never where that is allowed.
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
}
