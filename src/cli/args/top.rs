//! Flags of the live view.
//!
//! Owns: [`Top`]. Never knows: what is shown.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{Help, Target};
use crate::base::limits;
use crate::cli::exit;
use crate::config::read_duration;

/// Show what a running respgate does, live
#[derive(Debug, Args)]
pub(in crate::cli) struct Top {
    /// Where that respgate serves its metrics; without this flag telemetry.address of --config, else
    /// the admin socket, else 127.0.0.1:9465
    #[arg(long, value_name = "ADDRESS")]
    pub telemetry: Option<SocketAddr>,
    /// Time between two readings: 100ms to 1h
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Print one picture as text after one interval, and exit
    #[arg(long)]
    pub once: bool,
    #[command(flatten)]
    pub target: Target,
}

impl Help for Top {
    const EXAMPLES: &'static [(&'static str, &'static str)] = &[
        (
            "Watch hot keys, audit entries and the log too; q quits, p pauses, Tab turns the page",
            "respgate top --config /etc/respgate/respgate.toml",
        ),
        (
            "Look once, in a container for example",
            "kubectl exec pod -c respgate -- respgate top --once --socket /run/respgate/control.sock",
        ),
        (
            "Watch the respgate of another address, every five seconds",
            "respgate top --telemetry 127.0.0.1:9466 --interval 5s",
        ),
    ];
    const EXIT_CODES: &'static [(u8, &'static str)] = &[
        (exit::SUCCESS, "ended by q or a signal; with --once: the picture was printed"),
        (exit::FAILURE, "the configuration is invalid, or the terminal failed"),
        (exit::USAGE, "the command line is invalid, or there is no terminal and no --once"),
        (exit::NO_ANSWER, "with --once: no respgate answers"),
    ];
}

/// A time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = read_duration(text)?;
    let allowed = limits::TOP_INTERVAL_MIN..=limits::TOP_INTERVAL_MAX;
    if allowed.contains(&interval) { Ok(interval) } else { Err("not from 100ms to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_has_bounds() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "0", "99ms", "61m", "1", "soon"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
