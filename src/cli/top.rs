//! `top`: what a running respgate does, live in a terminal.
//!
//! Owns: the order of looking and drawing. Never knows: metrics, layout.

mod draw;
mod exposition;
mod figures;
mod number;
mod screen;
mod source;
#[cfg(test)]
mod tests;
mod trouble;
mod window;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::terminal::size;
use ratatui::text::Line;

use super::args::Top;
use super::exit;
use super::interrupt::Interrupt;
use super::output::Output;
use super::verb::Verb;
use crate::base::clock;
use crate::base::terminal::wants_colours;
use crate::config::{ConfigSource, environment};
use draw::{View, draw};
use exposition::Exposition;
use figures::Figures;
use screen::{Screen, Wish};
use source::{Look, Source};
use window::Window;

/// Between two looks at keys, signals and news.
const BEAT: Duration = Duration::from_millis(50);
/// Seconds, or whatever the interval is, that the small curve can show.
const HISTORY_MAX: usize = 512;
/// The picture of `--once` where there is no terminal.
const SIZE: (u16, u16) = (80, 24);

impl Verb for Top {
    fn run(self, output: Output) -> ExitCode {
        let address = match self.address(output) {
            Ok(address) => address,
            Err(code) => return code,
        };
        let started = Interrupt::listen()
            .and_then(|interrupt| Ok((interrupt, Source::start(address, self.interval)?)));
        let (interrupt, source) = match started {
            Ok(started) => started,
            Err(problem) => return output.fail(exit::FAILURE, &problem),
        };
        let place = address.to_string();
        let mut watch = Watch::new(&place, self.interval);
        if self.once {
            return once(output, &mut watch, &source, &interrupt);
        }
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return output.fail(exit::USAGE, "top needs a terminal; or add --once");
        }
        match live(&mut watch, &source, &interrupt) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => output.fail(exit::FAILURE, &format!("the terminal: {error}")),
        }
    }
}

impl Top {
    /// Where metrics are served, as the flag says or the configuration.
    fn address(&self, output: Output) -> Result<SocketAddr, ExitCode> {
        let Some(path) = &self.config else { return Ok(self.telemetry) };
        let source = ConfigSource { path: Some(path.clone()), flags: Vec::new() };
        let config =
            source.load(environment()).map_err(|problems| output.complain(&source, problems))?;
        config.telemetry.address.ok_or_else(|| {
            let problem = format!("{}: telemetry.address is off", path.display());
            output.fail(exit::FAILURE, &problem)
        })
    }
}

/// What was seen so far.
struct Watch<'a> {
    place: &'a str,
    interval: Duration,
    last: Option<(Instant, Exposition)>,
    figures: Option<Figures>,
    /// Whether the figures are of two moments, so that rates are known.
    complete: bool,
    fault: Option<String>,
    history: Vec<u64>,
    paused: bool,
}

impl<'a> Watch<'a> {
    fn new(place: &'a str, interval: Duration) -> Self {
        Self {
            place,
            interval,
            last: None,
            figures: None,
            complete: false,
            fault: None,
            history: Vec::new(),
            paused: false,
        }
    }

    /// Takes a look in; `now` is the time of day in seconds since 1970.
    fn take(&mut self, look: Look, now: f64) {
        let (at, after) = match look {
            Ok(look) => look,
            Err(fault) => {
                self.fault = Some(fault);
                return;
            }
        };
        self.fault = None;
        let (before, seconds) = match &self.last {
            Some((then, before)) => (before, at.saturating_duration_since(*then).as_secs_f64()),
            None => (&after, 0.0),
        };
        let figures = Figures::new(Window { before, after: &after, seconds }, now);
        if let Some(rate) = figures.commands {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(0);
            }
            self.history.push(saturated(rate));
        }
        self.complete = self.last.is_some();
        self.figures = Some(figures);
        self.last = Some((at, after));
    }

    fn view(&self, now: f64, colours: bool) -> View<'_> {
        View {
            figures: self.figures.as_ref(),
            place: self.place,
            interval: self.interval,
            now,
            fault: self.fault.as_deref(),
            paused: self.paused,
            history: &self.history,
            colours,
        }
    }
}

/// A rate as a whole number, for a curve.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "both saturate")]
fn saturated(rate: f64) -> u64 {
    rate.round() as u64
}

fn unix_seconds() -> f64 {
    clock::wall().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Draws whenever there is something new, until a key or a signal ends it.
fn live(watch: &mut Watch<'_>, source: &Source, interrupt: &Interrupt) -> std::io::Result<()> {
    let colours = wants_colours(&std::io::stdout());
    let mut screen = Screen::open()?;
    let mut stale = true;
    while !interrupt.within(Duration::ZERO) {
        while let Some(look) = source.try_next() {
            if !watch.paused {
                watch.take(look, unix_seconds());
                stale = true;
            }
        }
        if stale {
            let view = watch.view(unix_seconds(), colours);
            screen.draw(|frame| draw(frame, &view))?;
        }
        let wish = Screen::wish(BEAT)?;
        stale = wish.is_some();
        match wish {
            Some(Wish::Quit) => return Ok(()),
            Some(Wish::Pause) => watch.paused = !watch.paused,
            Some(Wish::Redraw) | None => {}
        }
    }
    Ok(())
}

/// Prints one picture as soon as two moments are known.
fn once(output: Output, watch: &mut Watch<'_>, source: &Source, interrupt: &Interrupt) -> ExitCode {
    let progress = output.progress("looking twice");
    while !watch.complete {
        if interrupt.within(BEAT) {
            return ExitCode::FAILURE;
        }
        if let Some(look) = source.try_next() {
            watch.take(look, unix_seconds());
        }
        if let Some(fault) = watch.fault.take() {
            drop(progress);
            return output.fail(exit::NO_ANSWER, &fault);
        }
    }
    drop(progress);
    let terminal = std::io::stdout().is_terminal().then(|| size().ok()).flatten();
    output.print(&picture(&watch.view(unix_seconds(), false), terminal.unwrap_or(SIZE)));
    ExitCode::SUCCESS
}

/// The picture as lines of text, without blanks at their ends.
fn picture(view: &View<'_>, (width, height): (u16, u16)) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, view));
    let cells = terminal.backend().buffer();
    let rows = cells.content().chunks(usize::from(width.max(1)));
    let lines = rows.map(|row| {
        let (mut line, mut covered) = (String::new(), 0);
        for symbol in row.iter().map(|cell| cell.symbol()) {
            // A wide letter covers the cell behind it too.
            if covered == 0 {
                line.push_str(symbol);
                covered = Line::raw(symbol).width();
            }
            covered = covered.saturating_sub(1);
        }
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
