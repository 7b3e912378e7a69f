//! Whether a client gets invalidations of keys, and which other client receives them instead.
//!
//! Owns: [`Tracking`]. Never knows: the commands that begin and end it, connections.

use std::time::Instant;

use bytes::BytesMut;

use crate::base::limits;
use crate::resp::number;

/// The text before the number in a reply to CLIENT TRACKINGINFO.
const REDIRECT: &[u8] = b"$8\r\nredirect\r\n:";
/// Redis tracking.c `sendTrackingMessage`, when the other client has disconnected.
const BROKEN: &[u8] = b">2\r\n$21\r\ntracking-redir-broken\r\n:";

/// CLIENT TRACKING, as the server has confirmed it.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    mode: Mode,
    /// How many prefixes at most.
    prefixes: usize,
    /// Since when it waits for the other client's pinned connection.
    awaits_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    #[default]
    Off,
    On {
        /// The client receives invalidations of all keys, read or not.
        broadcast: bool,
        /// The client that receives its invalidations; 0 is itself.
        redirect: i64,
        /// The client that receives the invalidations has disconnected.
        is_broken: bool,
    },
}

impl Tracking {
    pub(super) const OFF: Self = Self { mode: Mode::Off, prefixes: 0, awaits_since: None };

    pub(super) const fn is_on(&self) -> bool {
        matches!(self.mode, Mode::On { .. })
    }

    pub(super) const fn is_broadcast(&self) -> bool {
        matches!(self.mode, Mode::On { broadcast: true, .. })
    }

    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.mode, Mode::On { is_broken: true, .. })
    }

    /// The client that receives its invalidations, 0 for itself; `None` without tracking.
    pub(super) const fn redirect(&self) -> Option<i64> {
        match self.mode {
            Mode::Off => None,
            Mode::On { redirect, .. } => Some(redirect),
        }
    }

    pub(super) const fn prefixes(&self) -> usize {
        self.prefixes
    }

    /// The server has done it.
    pub(super) const fn note(&mut self, on: bool, broadcast: bool, redirect: i64) {
        debug_assert!(redirect >= 0, "no client has such a number");
        self.mode = if on { Mode::On { broadcast, redirect, is_broken: false } } else { Mode::Off };
    }

    /// A CLIENT TRACKING with so many prefixes was sent.
    pub(super) const fn note_prefixes(&mut self, on: bool, prefixes: usize) {
        self.prefixes = if on { self.prefixes.saturating_add(prefixes) } else { 0 };
    }

    /// When the other client is to be looked at again, which gets a pinned connection first; `None`: it has
    /// got none in time.
    pub(super) fn await_target(&mut self, now: Instant) -> Option<Instant> {
        let since = *self.awaits_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= limits::TRACKING_TARGET_TIMEOUT {
            self.awaits_since = None;
            return None;
        }
        debug_assert!(since <= now, "it waits from a later time on");
        Some(now + limits::TRACKING_TARGET_CHECK_INTERVAL)
    }

    /// The other client has one.
    pub(super) const fn end_wait(&mut self) {
        self.awaits_since = None;
    }

    /// A reply that may name another client, with its number here.
    pub(super) fn rename(&self, frame: &[u8], out: &mut BytesMut) {
        let begin = match frame.first() {
            Some(b':') => Some(1),
            _ => frame
                .windows(REDIRECT.len())
                .position(|part| part == REDIRECT)
                .map(|at| at + REDIRECT.len()),
        };
        let Some((head, tail)) = begin.and_then(|begin| frame.split_at_checked(begin)) else {
            return out.extend_from_slice(frame);
        };
        let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = tail.split_at_checked(digits).unwrap_or((tail, &[]));
        out.extend_from_slice(head);
        match number::parse_i64(number) {
            Some(1..) => number::write_u64(out, self.redirect().unwrap_or_default().unsigned_abs()),
            _ => out.extend_from_slice(number),
        }
        out.extend_from_slice(rest);
    }

    /// Takes a push that reports that the client which received the invalidations is gone.
    pub(super) fn take_broken(&mut self, frame: &[u8], out: &mut BytesMut) -> bool {
        if !frame.starts_with(BROKEN) {
            return false;
        }
        if let Mode::On { is_broken, .. } = &mut self.mode {
            *is_broken = true;
        }
        out.extend_from_slice(BROKEN);
        number::write_u64(out, self.redirect().unwrap_or_default().unsigned_abs());
        out.extend_from_slice(b"\r\n");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracking_forgets_with_off_what_on_had_chosen() {
        let mut tracking = Tracking::default();
        assert_eq!(tracking.redirect(), None);
        tracking.note(true, true, 7);
        assert!(tracking.is_on() && tracking.is_broadcast() && !tracking.is_broken());
        let mut out = BytesMut::new();
        let broken = [BROKEN, b"4242\r\n".as_slice()].concat();
        assert!(tracking.take_broken(&broken, &mut out) && tracking.is_broken());
        assert_eq!(out, [BROKEN, b"7\r\n".as_slice()].concat(), "the client's number here");
        tracking.note(false, true, 7);
        assert!(!tracking.is_on() && !tracking.is_broadcast() && !tracking.is_broken());
    }

    #[test]
    fn tracking_waits_for_another_client_for_a_second_at_most() {
        let (mut tracking, now) = (Tracking::default(), crate::base::clock::now());
        assert_eq!(tracking.await_target(now), Some(now + limits::TRACKING_TARGET_CHECK_INTERVAL));
        assert!(
            tracking
                .await_target(
                    now + limits::TRACKING_TARGET_TIMEOUT - limits::TRACKING_TARGET_CHECK_INTERVAL
                )
                .is_some()
        );
        assert_eq!(tracking.await_target(now + limits::TRACKING_TARGET_TIMEOUT), None);
        assert!(
            tracking.await_target(now + limits::TRACKING_TARGET_TIMEOUT).is_some(),
            "the next one waits anew"
        );
    }
}
