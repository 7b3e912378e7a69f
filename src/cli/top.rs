//! `top`: what a running respgate does, live in a terminal.
//!
//! Owns: the order of looking and drawing. Never knows: metrics, layout.

mod draw;
mod draw_events;
mod events;
mod exposition;
mod figures;
mod number;
mod paint;
mod screen;
mod source;
#[cfg(test)]
mod tests;
mod trouble;
mod window;

use std::io::IsTerminal;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::terminal::size;
use ratatui::text::Line;

use super::args::Top;
use super::ask::{Lost, Way};
use super::exit;
use super::interrupt::Interrupt;
use super::output::Output;
use super::verb::Verb;
use crate::base::clock;
use crate::base::limits;
use crate::base::terminal::wants_colours;
use crate::config::{ConfigSource, environment};
use draw::{Page, View, draw};
use events::Events;
use exposition::Exposition;
use figures::Figures;
use screen::{Screen, Wish};
use source::{Look, News, Place, Source};
use window::Window;

/// The picture of `--once` where there is no terminal.
const SIZE: (u16, u16) = (80, 24);
/// The height of the picture of `--once` with events: all of it, on whatever terminal.
const WHOLE_ROWS: u16 = 42;
/// Where a respgate serves its metrics unless its configuration sets another address.
const TELEMETRY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9465);

impl Verb for Top {
    fn run(self, output: Output) -> ExitCode {
        let (place, way) = match self.places(output) {
            Ok(places) => places,
            Err(code) => return code,
        };
        let has_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        if !self.once && !has_terminal {
            let problem = "top needs a terminal; or add --once, which prints one picture as text";
            return output.fail(exit::USAGE, problem);
        }
        let name = place.to_string();
        let mut watch = Watch::new(&name, self.interval, way.is_some());
        let started = Interrupt::listen()
            .and_then(|interrupt| Ok((interrupt, Source::start(place, way, self.interval)?)));
        let (interrupt, source) = match started {
            Ok(started) => started,
            Err(problem) => return output.fail(exit::FAILURE, &problem),
        };
        if self.once {
            return once(output, &mut watch, &source, &interrupt);
        }
        match live(&mut watch, &source, &interrupt) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => output.fail(exit::FAILURE, &format!("the terminal: {error}")),
        }
    }
}

impl Top {
    /// Where metrics and events are read: from the flags, the configuration or the environment.
    fn places(&self, output: Output) -> Result<(Place, Option<Way>), ExitCode> {
        let way = match self.target.way() {
            Ok(way) => Some(way),
            Err(Lost::Unnamed(_)) => None,
            Err(Lost::Config(source, problems)) => return Err(output.complain(&source, problems)),
        };
        let own = match (self.telemetry, &self.target.config) {
            (Some(address), _) => Some(address),
            (None, None) => None,
            (None, Some(path)) => {
                let source = ConfigSource { path: Some(path.clone()), flags: Vec::new() };
                let read = source.operators(environment());
                let (_, telemetry) = read.map_err(|problems| output.complain(&source, problems))?;
                telemetry.address
            }
        };
        let place = match (own, &way, &self.target.config) {
            (Some(address), ..) => Place::Telemetry(address),
            (None, Some(way), _) => Place::Admin(way.clone()),
            (None, None, None) => Place::Telemetry(TELEMETRY),
            (None, None, Some(path)) => {
                let path = path.display();
                let problem =
                    format!("{path}: telemetry.address is off, and [admin] names no socket");
                return Err(output.fail(exit::FAILURE, &problem));
            }
        };
        Ok((place, way))
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
    /// `None`: no admin server is asked.
    events: Option<Events>,
    /// Whether events were asked for once.
    has_events: bool,
    page: Page,
    paused: bool,
}

impl<'a> Watch<'a> {
    fn new(place: &'a str, interval: Duration, events: bool) -> Self {
        Self {
            place,
            interval,
            last: None,
            figures: None,
            complete: false,
            fault: None,
            history: Vec::new(),
            events: events.then(Events::default),
            has_events: false,
            page: Page::default(),
            paused: false,
        }
    }

    /// Takes in what is new; `now` is the time of day in seconds since 1970.
    fn note(&mut self, news: News, now: f64) {
        match news {
            News::Figures(look) => self.take(look, now),
            News::Events(round) => {
                self.has_events = true;
                if let Some(events) = &mut self.events {
                    events.take(&round);
                }
            }
        }
    }

    /// Takes a look in.
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
            if self.history.len() == limits::TOP_HISTORY_MAX {
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
            events: self.events.as_ref(),
            page: self.page,
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
        while let Some(news) = source.try_next() {
            if !watch.paused {
                watch.note(news, unix_seconds());
                stale = true;
            }
        }
        if stale {
            let view = watch.view(unix_seconds(), colours);
            screen.draw(|frame| draw(frame, &view))?;
        }
        let wish = Screen::wish(limits::TOP_TICK)?;
        stale = wish.is_some();
        match wish {
            Some(Wish::Quit) => return Ok(()),
            Some(Wish::Pause) => watch.paused = !watch.paused,
            Some(Wish::Turn) => watch.page = watch.page.other(),
            Some(Wish::Redraw) | None => {}
        }
    }
    Ok(())
}

/// Prints one picture as soon as two moments are known.
fn once(output: Output, watch: &mut Watch<'_>, source: &Source, interrupt: &Interrupt) -> ExitCode {
    let progress = output.progress("looking twice");
    while !watch.complete || (watch.events.is_some() && !watch.has_events) {
        if interrupt.within(limits::TOP_TICK) {
            return ExitCode::FAILURE;
        }
        if let Some(news) = source.try_next() {
            watch.note(news, unix_seconds());
        }
        if let Some(fault) = watch.fault.take() {
            drop(progress);
            return output.fail(exit::NO_ANSWER, &fault);
        }
    }
    drop(progress);
    let terminal = std::io::stdout().is_terminal().then(|| size().ok()).flatten();
    let (width, height) = terminal.unwrap_or(SIZE);
    let height = if watch.events.is_some() { height.max(WHOLE_ROWS) } else { height };
    output.print(&picture(&watch.view(unix_seconds(), false), (width, height)));
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
