//! `run`: serves until told to stop.
//!
//! Owns: the way from settings to a running proxy. Never knows: what a proxy is made of.

use std::process::ExitCode;

use super::output;
use std::time::Duration;

use crate::config::{Config, ConfigSource, environment};
use crate::proxy::{Proxy, Reread, Signal};
use crate::telemetry::Telemetry;

/// How long the last lines of the log may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Serves as `config` says; `source` is where a reload finds the next configuration.
pub(super) fn run(config: Config, source: ConfigSource) -> ExitCode {
    let telemetry = match Telemetry::start(&config.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error.to_string()),
    };
    let log = telemetry.log.clone();
    let code = match serve(config, source, telemetry) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(&text),
    };
    log.flush(LAST_LINES);
    code
}

fn serve(config: Config, source: ConfigSource, telemetry: Telemetry) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {error}"))?;
    runtime.block_on(async {
        let signals = Signal::listen().map_err(|error| format!("no signals: {error}"))?;
        let listeners = config.listeners.len();
        let reread = Reread {
            file: source.path.clone(),
            load: Box::new(move || source.load(environment())),
        };
        let proxy = Proxy::start(config, reread, telemetry).await;
        let proxy = proxy.map_err(|error| error.to_string())?;
        tracing::info!(listeners, telemetry = ?proxy.telemetry_address(), "serving");
        proxy.run(signals).await;
        Ok(())
    })
}

fn fail(text: &str) -> ExitCode {
    output::print_error(&format!("respgate: {text}"));
    ExitCode::FAILURE
}
