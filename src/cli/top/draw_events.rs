//! The part of the picture about events: hot keys, audit entries, the log.
//!
//! Owns: [`event_panels`], [`event_rows`]. Never knows: where events come from, the rest of the picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::events::{Entry, Events, HotKey, Line as Logged};
use super::number::per_second;
use super::paint::Paint;

/// Rows of hot keys and audit entries, without the border.
const UPPER_ROWS: u16 = 4;
const BORDER: u16 = 2;

/// Draws all three.
pub(super) fn event_panels(frame: &mut Frame<'_>, area: Rect, events: &Events, paint: Paint) {
    // A panel that only shows why it is empty needs one row.
    let is_short = events.hot.is_err() && events.audit.is_err();
    let upper = BORDER + if is_short { 1 } else { UPPER_ROWS.max(area.height / 2 - BORDER) };
    let [upper, lower] =
        Layout::vertical([Constraint::Length(upper), Constraint::Min(0)]).areas(area);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(42), Constraint::Percentage(58)]).areas(upper);
    let mut panel = |area: Rect, title: &str, lines: Vec<Line<'static>>| {
        let block = Block::bordered().title(Line::styled(format!(" {title} "), paint.strong()));
        frame.render_widget(Paragraph::new(lines).block(block), area);
    };
    panel(left, "Hot keys", hot_lines(&events.hot, paint));
    panel(right, "Audit", entry_lines(&events.audit, rows(right), paint));
    panel(lower, "Log", log_lines(events, rows(lower), paint));
}

/// Hot keys, audit entries and log without borders, for a small terminal.
pub(super) fn event_rows(events: &Events, paint: Paint) -> Vec<Line<'static>> {
    let mut lines = match &events.hot {
        Ok(_) => hot_lines(&events.hot, paint),
        Err(_) => Vec::new(),
    };
    lines.truncate(3);
    lines.extend(log_lines(events, 5, paint));
    lines
}

fn rows(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(BORDER))
}

/// Why there is nothing to show, or that there is nothing.
fn instead<T>(of: &Result<Vec<T>, String>, nothing: &str, paint: Paint) -> Option<Line<'static>> {
    match of {
        Err(problem) => Some(Line::styled(problem.clone(), paint.faint())),
        Ok(none) if none.is_empty() => Some(Line::styled(nothing.to_owned(), paint.faint())),
        Ok(_) => None,
    }
}

fn hot_lines(hot: &Result<Vec<HotKey>, String>, paint: Paint) -> Vec<Line<'static>> {
    if let Some(instead) = instead(hot, "none found yet", paint) {
        return vec![instead];
    }
    let line = |key: &HotKey| {
        let policy = key.policy.as_ref().map_or_else(String::new, |name| format!("  ({name})"));
        Line::raw(format!("{:>8}  {}{policy}", per_second(Some(key.per_second)), key.key))
    };
    hot.iter().flatten().map(line).collect()
}

/// The newest come last, as many as there is room for.
fn entry_lines(
    audit: &Result<Vec<Entry>, String>,
    rows: usize,
    paint: Paint,
) -> Vec<Line<'static>> {
    if let Some(instead) = instead(audit, "no entry yet", paint) {
        return vec![instead];
    }
    let entries = audit.as_ref().map(Vec::as_slice).unwrap_or_default();
    let newest = entries.get(entries.len().saturating_sub(rows)..).unwrap_or_default();
    let line = |entry: &Entry| {
        let colour = match entry.event.as_str() {
            "denied" => paint.colour(Color::Red),
            _ => Style::new(),
        };
        Line::from(vec![
            Span::styled(format!("{} ", entry.time), paint.faint()),
            Span::styled(format!("{} ", entry.event), colour),
            Span::raw(entry.words.clone()),
        ])
    };
    newest.iter().map(line).collect()
}

fn log_lines(events: &Events, rows: usize, paint: Paint) -> Vec<Line<'static>> {
    let lines = match &events.log {
        Err(problem) => return vec![Line::styled(problem.clone(), paint.faint())],
        Ok(lines) if lines.is_empty() => {
            return vec![Line::styled("nothing was logged yet", paint.faint())];
        }
        Ok(lines) => lines,
    };
    let line = |line: &Logged| {
        let style = match line.level.as_str() {
            "ERROR" => paint.trouble(true),
            "WARN" => paint.trouble(false),
            _ => Style::new(),
        };
        Line::from(vec![
            Span::styled(format!("{} ", line.time), paint.faint()),
            Span::styled(format!("{:<5} ", line.level), style),
            Span::raw(line.words.clone()),
        ])
    };
    lines.iter().skip(lines.len().saturating_sub(rows)).map(line).collect()
}
