//! `run`: serves until it is stopped.
//!
//! Owns: the way from settings to a running proxy. Never knows: what a proxy is made of.

use std::process::ExitCode;
use std::sync::Arc;

use super::args::Run;
use super::output::Output;
use super::verb::Verb;
use super::{examine, exit, void};
use crate::base::{limits, program};
use crate::config::{Config, ConfigSource, Place, Problem, Setting, environment};
use crate::proxy::{ConfigReloader, DataPlaneEnded, Proxy, Sandbox, Signal, confine};
use crate::telemetry::Telemetry;
use crate::tls::calendar;

impl Verb for Run {
    fn run(self, output: Output) -> ExitCode {
        let mut source = self.inputs.source();
        let global = output.global();
        source.flags.extend(global.log_level().map(|level| {
            let place = Place::Flag(global.log_flag().to_owned());
            Setting::new(place, "telemetry.log_level", level.to_owned())
        }));
        match examine::examine(&source, true) {
            Ok(config) => run(output, config, source),
            Err(problems) => output.complain(&source, problems),
        }
    }
}

/// Serves with `config`; `source` is where a reload finds the next configuration.
fn run(output: Output, config: Config, source: ConfigSource) -> ExitCode {
    let fail = |text: &str| output.fail(exit::FAILURE, text);
    // Before there are other threads.
    let sandbox = match confine(&config, source.path.as_ref()) {
        Ok(sandbox) => sandbox,
        Err(error) => return fail(&error.to_string()),
    };
    let telemetry = match Telemetry::start(&config.telemetry) {
        Ok(telemetry) => telemetry,
        Err(error) => return fail(&error.to_string()),
    };
    let log = telemetry.log.clone();
    report_panics();
    let code = match serve(config, source, telemetry, sandbox) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(ended)) => output.fail(exit::BROKEN, &ended.to_string()),
        Err(text) => fail(&text),
    };
    log.flush(limits::LOG_FLUSH_TIMEOUT);
    code
}

/// Panics are written to the log, with their place and without their words, which may quote a client.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(tracing::field::display);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        tracing::error!(code = "RUN-E002", thread, place, "an internal error occurred");
    }));
}

/// Serves until the process is to exit; the inner result is whether that was requested.
fn serve(
    config: Config,
    source: ConfigSource,
    telemetry: Telemetry,
    sandbox: Sandbox,
) -> Result<Result<(), DataPlaneEnded>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop: {error}"))?;
    let served = runtime.block_on(async {
        let mut signals = Signal::listen().map_err(|error| format!("no signals: {error}"))?;
        for problem in void::problems(&source, &config) {
            let Problem { place, key, problem, .. } = problem;
            tracing::warn!(code = "CFG-W001", %place, setting = %key, "{problem}");
        }
        let start = Start::of(&config);
        let reread = ConfigReloader {
            file: source.path.clone(),
            load: Arc::new(move || source.load(environment())),
        };
        let mut reload = false;
        let proxy = tokio::select! {
            proxy = Box::pin(Proxy::start(config, reread, telemetry, sandbox)) => proxy,
            () = Signal::stop(&mut signals, &mut reload) => {
                tracing::info!("stopped before any client was served");
                return Ok(Ok(()));
            }
        };
        let proxy = proxy.map_err(|error| error.to_string())?;
        start.log(&proxy);
        Ok(Box::pin(proxy.run(signals, reload)).await)
    });
    program::kill_all();
    // A file that cannot be read to its end holds up nothing.
    runtime.shutdown_background();
    served
}

/// What the start line shows of the configuration: the policies have lines of their own.
struct Start {
    listen: String,
    server: String,
    tls: &'static str,
    user: String,
}

impl Start {
    fn of(config: &Config) -> Self {
        let upstream = &config.upstream;
        let listen: Vec<String> =
            config.listeners.iter().map(|listener| listener.address.to_string()).collect();
        Self {
            listen: listen.join(" "),
            server: upstream.address.to_string(),
            tls: match &upstream.tls {
                None => "none",
                Some(tls) if tls.client.is_some() => "mutual",
                Some(_) => "server only",
            },
            user: upstream.auth.username.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }

    fn log(&self, proxy: &Proxy) {
        let Self { listen, server, tls, user } = self;
        let telemetry = proxy.telemetry_address().map(tracing::field::display);
        let end = proxy.certificate_end().map(calendar);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            %listen,
            %server,
            tls,
            %user,
            certificate_ends = end,
            telemetry,
            "serving"
        );
    }
}
