//! How the words of the picture look.
//!
//! Owns: [`Paint`]. Never knows: what is drawn, where.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

const LABEL_COLUMNS: usize = 10;

/// How words look, with colours or without.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    colours: bool,
}

impl Paint {
    pub(super) const fn new(colours: bool) -> Self {
        Self { colours }
    }

    pub(super) fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    pub(super) fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn trouble(self, critical: bool) -> Style {
        self.colour(if critical { Color::Red } else { Color::Yellow }).add_modifier(Modifier::BOLD)
    }

    /// A label and what it is of.
    pub(super) fn row(self, label: &str, words: impl Into<String>) -> Line<'static> {
        let label = Span::styled(format!("{label:<LABEL_COLUMNS$}"), self.faint());
        Line::from(vec![label, Span::raw(words.into())])
    }
}
