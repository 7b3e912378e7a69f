//! The picture: figures laid out in the cells of a terminal of any size.
//!
//! Owns: [`View`], [`draw`]. Never knows: terminals, clocks, where figures come from.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline};

use super::draw_events::{event_panels, event_rows};
use super::events::Events;
use super::figures::{Class, End, Figures};
use super::number::{
    UNKNOWN, bytes, count, per_second, quantile, seconds, span, time_of_day, whole,
};
use super::paint::Paint;
use super::trouble::{Trouble, troubles};
use super::window::Rate;
use crate::config::show_duration;

/// A smaller terminal shows a list instead of panels.
const PANELS: (u16, u16) = (72, 22);
/// From this height on, more than one trouble is shown.
const TALL: u16 = 28;
/// Rows of the panels of figures, and of events at least; where both have room, both are shown.
const FIGURE_ROWS: u16 = 21;
const EVENT_ROWS: u16 = 13;
/// Two of these fit into the narrow half of 80 columns.
const CELL_COLUMNS: usize = 16;

/// One moment, as it is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// `None`: nothing was read yet.
    pub figures: Option<&'a Figures>,
    /// The address or socket that is read.
    pub place: &'a str,
    pub interval: Duration,
    /// Seconds since 1970.
    pub now: f64,
    /// Why there are no newer figures.
    pub fault: Option<&'a str>,
    pub paused: bool,
    /// Commands in a second, the oldest first.
    pub history: &'a [u64],
    /// `None`: no admin server is asked.
    pub events: Option<&'a Events>,
    pub page: Page,
    pub colours: bool,
}

/// What is shown below commands and clients where not everything has room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Page {
    #[default]
    Figures,
    Events,
}

impl Page {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Figures => Self::Events,
            Self::Events => Self::Figures,
        }
    }
}

/// Draws all of it; what has no room is left out.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let Rect { width, height, .. } = frame.area();
    let paint = Paint::new(view.colours);
    let mut found = view.figures.map(troubles).unwrap_or_default();
    if let Some(fault) = view.fault {
        found.insert(0, Trouble { critical: true, text: fault.to_owned() });
    }
    let shown = if height >= TALL { found.len().clamp(1, 3) } else { 1 };
    let rows = u16::try_from(shown).unwrap_or(1);
    let (one, rows) = (Constraint::Length(1), Constraint::Length(rows));
    let [title, trouble, body, footer] =
        Layout::vertical([one, rows, Constraint::Min(0), one]).areas(frame.area());
    frame.render_widget(Paragraph::new(heading(view, paint)), title);
    frame.render_widget(Paragraph::new(trouble_lines(&found, shown, view, paint)), trouble);
    if let Some(figures) = view.figures {
        if width < PANELS.0 || height < PANELS.1 {
            let mut lines = list(figures, paint);
            lines.extend(view.events.iter().flat_map(|events| event_rows(events, paint)));
            frame.render_widget(Paragraph::new(lines), body);
        } else {
            panels(frame, body, figures, view, paint);
        }
    }
    let interval = show_duration(view.interval);
    let pause = if view.paused { "go on" } else { "pause" };
    let turn = match (view.events, view.page) {
        (None, _) => "  (with --socket or --config: hot keys, audit entries, the log)",
        (Some(_), _) if body.height >= FIGURE_ROWS + EVENT_ROWS => "",
        (Some(_), Page::Figures) => "  Tab keys, audit, log",
        (Some(_), Page::Events) => "  Tab server, denials",
    };
    let keys = format!("q quit  p {pause}  every {interval}{turn}");
    frame.render_widget(Paragraph::new(Line::styled(keys, paint.faint())), footer);
}

fn heading(view: &View<'_>, paint: Paint) -> Line<'static> {
    let mut words = vec![Span::styled("respgate", paint.strong())];
    let mut add = |word: String, style: Style| {
        words.push(Span::raw("  "));
        words.push(Span::styled(word, style));
    };
    if let Some(figures) = view.figures {
        add(figures.version.clone(), Style::new());
        let good = figures.state == "ready";
        let colour = paint.colour(if good { Color::Green } else { Color::Yellow });
        add(figures.state.clone(), colour.add_modifier(Modifier::BOLD));
        add(format!("up {}", known(figures.uptime, span)), Style::new());
        add(known(figures.memory, bytes), Style::new());
    }
    add(format!("{} UTC", time_of_day(view.now)), Style::new());
    add(view.place.to_owned(), paint.faint());
    if view.paused {
        add("PAUSED".to_owned(), paint.trouble(false));
    }
    Line::from(words)
}

fn trouble_lines(
    found: &[Trouble],
    shown: usize,
    view: &View<'_>,
    paint: Paint,
) -> Vec<Line<'static>> {
    if found.is_empty() {
        let (text, colour) = match view.figures {
            Some(_) => ("nothing is wrong", Color::Green),
            None => ("reading the metrics", Color::Reset),
        };
        return vec![Line::styled(text, paint.colour(colour))];
    }
    let mut lines: Vec<Line<'static>> = Vec::new();
    for trouble in found.iter().take(shown) {
        lines.push(Line::styled(format!("! {}", trouble.text), paint.trouble(trouble.critical)));
    }
    let more = found.len().saturating_sub(lines.len());
    if let Some(last) = lines.last_mut().filter(|_| more > 0) {
        last.spans.insert(0, Span::styled(format!("(+{more}) "), paint.strong()));
    }
    lines
}

fn panels(frame: &mut Frame<'_>, area: Rect, figures: &Figures, view: &View<'_>, paint: Paint) {
    let [first, rest] = Layout::vertical([Constraint::Length(8), Constraint::Min(0)]).areas(area);
    let [left, right] = halves(first);
    let title = format!("Commands {}", per_second(figures.commands));
    let inner = panel(frame, left, &title, class_lines(&figures.classes, paint), paint);
    sparkline(frame, inner, view, paint);
    panel(frame, right, "Clients", client_lines(figures, paint), paint);
    let Some(events) = view.events else { return figure_panels(frame, rest, figures, paint) };
    if area.height >= FIGURE_ROWS + EVENT_ROWS {
        let free = area.height - FIGURE_ROWS - EVENT_ROWS;
        let events_rows = Constraint::Length(EVENT_ROWS + free / 2);
        let [upper, lower] = Layout::vertical([Constraint::Min(0), events_rows]).areas(rest);
        figure_panels(frame, upper, figures, paint);
        event_panels(frame, lower, events, paint);
    } else if view.page == Page::Events {
        event_panels(frame, rest, events, paint);
    } else {
        figure_panels(frame, rest, figures, paint);
    }
}

fn figure_panels(frame: &mut Frame<'_>, area: Rect, figures: &Figures, paint: Paint) {
    let [second, third] = Layout::vertical([Constraint::Length(8), Constraint::Min(0)]).areas(area);
    let [left, right] = halves(second);
    panel(frame, left, "Server", server_lines(figures, paint), paint);
    panel(frame, right, "Certificates and reloads", certificate_lines(figures, paint), paint);
    let [left, right] = halves(third);
    let title = format!("Denied {}", per_second(sum(&figures.denied)));
    panel(frame, left, &title, denied_lines(&figures.denied, paint), paint);
    panel(frame, right, "Replies and families", reply_lines(figures, paint), paint);
}

fn halves(area: Rect) -> [Rect; 2] {
    Layout::horizontal([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(area)
}

/// Draws a panel; returns what is within its border.
fn panel(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: Vec<Line<'static>>,
    paint: Paint,
) -> Rect {
    let block = Block::bordered().title(Line::styled(format!(" {title} "), paint.strong()));
    let inner = block.inner(area);
    frame.render_widget(Paragraph::new(lines).block(block), area);
    inner
}

/// The commands of the last moments, in the last row of a panel.
fn sparkline(frame: &mut Frame<'_>, inner: Rect, view: &View<'_>, paint: Paint) {
    let [_, last] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(inner);
    let skipped = view.history.len().saturating_sub(usize::from(last.width));
    let recent = view.history.get(skipped..).unwrap_or_default();
    let line = Sparkline::default().data(recent).style(paint.colour(Color::Cyan));
    frame.render_widget(line, last);
}

fn class_lines(classes: &[Class], paint: Paint) -> Vec<Line<'static>> {
    let heading = format!("{:<9}{:>8}{:>8}{:>9}{:>8}", "class", "rate", "median", "p99", "mean");
    let mut lines = vec![Line::styled(heading, paint.faint())];
    lines.extend(classes.iter().map(|class| {
        let rate = per_second(class.rate);
        let (median, p99) = (quantile(class.median), quantile(class.p99));
        let mean = known(class.mean, seconds);
        Line::raw(format!("{:<9}{rate:>8}{median:>8}{p99:>9}{mean:>8}", class.name))
    }));
    lines
}

fn client_lines(figures: &Figures, paint: Paint) -> Vec<Line<'static>> {
    let clients = &figures.clients;
    let open: f64 = clients.open.iter().map(|(_, open)| open).sum();
    let flow = |value| format!("{}/s", known(value, bytes));
    vec![
        paint.row("open", format!("{} ({})", whole(open), named(&clients.open))),
        paint.row("new", per_second(clients.opened)),
        paint.row("in, out", format!("{}, {}", flow(clients.received), flow(clients.sent))),
        paint.row(
            "in flight",
            format!(
                "{}, {} a read",
                known(clients.in_flight, whole),
                known(clients.pipeline, count)
            ),
        ),
        paint.row("buffers", known(clients.buffers, bytes)),
        paint.row("pinned", named(&clients.pinned)),
    ]
}

fn server_lines(figures: &Figures, paint: Paint) -> Vec<Line<'static>> {
    let server = &figures.server;
    let up = match server.up {
        None => UNKNOWN,
        Some(true) => "reachable",
        Some(false) => "NOT REACHABLE",
    };
    let breaker = match (&server.breaker, server.backoff) {
        (breaker, Some(wait)) => {
            let breaker = breaker.as_deref().unwrap_or("open");
            format!("; breaker {breaker}, waits {}", seconds(wait))
        }
        (Some(breaker), None) => format!("; breaker {}", breaker.replace('_', " ")),
        (None, None) => String::new(),
    };
    let flow = |value| format!("{}/s", known(value, bytes));
    let (median, p99) = (quantile(server.median), quantile(server.p99));
    vec![
        paint.row("state", format!("{up}{breaker}")),
        paint.row("links", named(&server.connections)),
        paint.row("latency", format!("median {median}, p99 {p99}")),
        paint.row(
            "batching",
            format!(
                "{} a write, {} queued",
                known(server.batch, count),
                known(server.queue, whole)
            ),
        ),
        paint.row("in, out", format!("{}, {}", flow(server.received), flow(server.sent))),
        paint.row("failed", named(&server.failures)),
    ]
}

fn certificate_lines(figures: &Figures, paint: Paint) -> Vec<Line<'static>> {
    let certificates = &figures.certificates;
    let mut lines: Vec<Line<'static>> = certificates
        .ends
        .iter()
        .take(3)
        .map(|End { role, left, .. }| {
            let words = match *left <= 0.0 {
                true => format!("EXPIRED {} ago", span(-left)),
                false => format!("{} left", span(*left)),
            };
            Line::from(vec![Span::styled(format!("{role:<15}"), paint.faint()), Span::raw(words)])
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::raw("no certificates"));
    }
    let handshakes = named(&certificates.handshakes);
    lines.push(
        paint.row("identity", format!("generation {}", known(certificates.generation, whole))),
    );
    lines.push(paint.row("TLS", handshakes));
    let reloads = &figures.reloads;
    let (applied, rejected) = (known(reloads.applied, whole), known(reloads.rejected, whole));
    lines.push(paint.row("reloads", format!("{applied} applied, {rejected} rejected")));
    lines
}

fn denied_lines(denied: &[Rate], paint: Paint) -> Vec<Line<'static>> {
    if denied.is_empty() {
        return vec![Line::styled("nothing since the start", paint.faint())];
    }
    let line = |rate: &Rate| {
        let (per_second, total) = (per_second(Some(rate.per_second)), whole(rate.total));
        Line::raw(format!("{per_second:>8}{total:>8}  {}", rate.name))
    };
    let heading = format!("{:>8}{:>8}  rule and command", "rate", "total");
    [Line::styled(heading, paint.faint())].into_iter().chain(denied.iter().map(line)).collect()
}

/// Answers by how they went, two in a row, and then the families that are used.
fn reply_lines(figures: &Figures, paint: Paint) -> Vec<Line<'static>> {
    let cell = |rate: &Rate| {
        let per_second = per_second(Some(rate.per_second));
        let room = CELL_COLUMNS.saturating_sub(per_second.len());
        let name: String = rate.name.replace('_', " ").chars().take(room).collect();
        vec![
            Span::styled(format!("{name:<room$}"), paint.faint()),
            Span::raw(format!("{per_second} ")),
        ]
    };
    let rows = |rates: &[Rate]| -> Vec<Line<'static>> {
        let pairs = rates.chunks(2);
        pairs.map(|pair| Line::from(pair.iter().flat_map(cell).collect::<Vec<_>>())).collect()
    };
    let seen = |rates: &[Rate]| {
        let seen = rates.iter().filter(|rate| rate.total > 0.0);
        seen.cloned().collect::<Vec<_>>()
    };
    let mut lines = rows(&seen(&figures.replies));
    lines.extend(rows(&seen(&figures.families)));
    lines
}

/// The figures in a line each, for a small terminal.
fn list(figures: &Figures, paint: Paint) -> Vec<Line<'static>> {
    let clients: f64 = figures.clients.open.iter().map(|(_, open)| open).sum();
    let server = &figures.server;
    let up = match server.up {
        None => UNKNOWN,
        Some(true) => "reachable",
        Some(false) => "NOT REACHABLE",
    };
    let mut lines = vec![paint.row("commands", per_second(figures.commands))];
    for class in figures.classes.iter().filter(|class| class.mean.is_some()) {
        let (rate, p99) = (per_second(class.rate), quantile(class.p99));
        lines.push(paint.row(class.name, format!("{rate}, p99 {p99}")));
    }
    lines.push(
        paint.row(
            "clients",
            format!("{}, {} new", whole(clients), per_second(figures.clients.opened)),
        ),
    );
    lines.push(paint.row("server", format!("{up}, p99 {}", quantile(server.p99))));
    lines.push(paint.row("batching", format!("{} a write", known(server.batch, count))));
    lines.push(paint.row("denied", per_second(sum(&figures.denied))));
    let ends = figures.certificates.ends.iter().take(2);
    lines.extend(ends.map(|End { role, left, .. }| paint.row(&format!("{role} "), span(*left))));
    lines.extend(figures.denied.iter().map(|rate| {
        let words = format!("{} {}", per_second(Some(rate.per_second)), rate.name);
        paint.row("", words)
    }));
    lines
}

fn known(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), show)
}

/// `tcp 50, unix 2`, without what is 0.
fn named(values: &[(String, f64)]) -> String {
    if values.is_empty() {
        return UNKNOWN.to_owned();
    }
    let values: Vec<_> = values.iter().filter(|(_, value)| *value != 0.0).collect();
    if values.is_empty() {
        return "none".to_owned();
    }
    let named =
        |(name, value): &&(String, f64)| format!("{} {}", name.replace('_', " "), whole(*value));
    values.iter().map(named).collect::<Vec<_>>().join(", ")
}

fn sum(rates: &[Rate]) -> Option<f64> {
    Some(rates.iter().map(|rate| rate.per_second).sum())
}
