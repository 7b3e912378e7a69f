//! The terminal while the view is shown, and as it was before afterwards.
//!
//! Owns: [`Screen`], the keys. Never knows: what is shown.

use std::io;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A terminal in raw mode on its other screen; restored when dropped, and before a panic is reported.
#[derive(Debug)]
pub(super) struct Screen(DefaultTerminal);

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Pause,
    /// The other page, where not everything has room.
    Turn,
    /// The terminal has another size, or what it shows was disturbed.
    Redraw,
}

impl Screen {
    /// # Errors
    ///
    /// When there is no terminal, or it cannot be controlled.
    pub(super) fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self)
    }

    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(picture).map(|_| ())
    }

    /// The next wish within this time; to quit, once the terminal is gone: crossterm would read from it without end.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be read.
    pub(super) fn wish(patience: Duration) -> io::Result<Option<Wish>> {
        let stdin = io::stdin();
        let mut input = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut input, Timespec::try_from(patience).ok().as_ref()) {
            // The signal of another size interrupts the wait, and is an event.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = PollFlags::HUP | PollFlags::ERR;
        if input.iter().any(|input| input.revents().intersects(gone)) {
            return Ok(Some(Wish::Quit));
        }
        let any = event::poll(Duration::ZERO)?;
        if any { event::read().map(|event| wish(&event)) } else { Ok(None) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "of many keys, these mean something")]
fn wish(event: &Event) -> Option<Wish> {
    let key = match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key,
        Event::Resize(..) | Event::FocusGained => return Some(Wish::Redraw),
        _ => return None,
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c' | 'd') if control => Some(Wish::Quit),
        KeyCode::Char('l') if control => Some(Wish::Redraw),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Char('p' | 'P' | ' ') => Some(Wish::Pause),
        KeyCode::Tab | KeyCode::BackTab => Some(Wish::Turn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyEvent;

    use super::*;

    #[test]
    fn keys() {
        let key = |code, modifiers| wish(&Event::Key(KeyEvent::new(code, modifiers)));
        let (none, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        assert_eq!(key(KeyCode::Char('q'), none), Some(Wish::Quit));
        assert_eq!(key(KeyCode::Char('c'), control), Some(Wish::Quit));
        assert_eq!(key(KeyCode::Char('p'), none), Some(Wish::Pause));
        assert_eq!(key(KeyCode::Char('l'), control), Some(Wish::Redraw));
        assert_eq!(key(KeyCode::Tab, none), Some(Wish::Turn));
        assert_eq!(key(KeyCode::Char('c'), none), None);
        assert_eq!(wish(&Event::Resize(1, 1)), Some(Wish::Redraw));
        assert_eq!(wish(&Event::FocusLost), None);
    }
}
