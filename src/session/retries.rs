//! What one session knows of its scripts: which have run, and which may have to be sent again.
//!
//! Owns: [`Retries`]. Never knows: the scripts of all sessions, EVAL and EVALSHA, connections.

use std::time::Instant;

use super::script_cache::{NoscriptRetry, Resend, Script, ScriptNews, Scripts, SeenScripts};
use crate::base::limits;

/// How many scripts of a client that does not wait for their answers go with their texts.
const TEXTS: u8 = 200;

#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Once there was a script.
    known: Option<Box<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    seen: SeenScripts,
    /// At most so many bytes are kept for those that may have to be sent again.
    kept_bytes: usize,
    resend: Option<Resend>,
    /// What replies have reported about scripts, until it is shared with all sessions.
    news: Vec<ScriptNews>,
    /// `EVAL` is in flight as `EVALSHA`: later requests wait.
    calls: bool,
    /// Number of further `EVAL` that are sent with their texts, since a request had to wait.
    texts: u8,
    /// Since when a script waits for the server's reply about its Lua.
    waits_since: Option<Instant>,
}

impl Retries {
    /// Whether [`Self::held_bytes`] may be more than 0.
    pub(super) const fn keep_texts(&self) -> bool {
        self.known.is_some()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.known.as_ref().map_or(0, |known| known.kept_bytes)
    }

    /// When a script that waits for the server's reply about its Lua is judged again; `None`: it has waited too long.
    pub(super) fn await_server(&mut self, now: Instant) -> Option<Instant> {
        let known = self.known.get_or_insert_default();
        let since = *known.waits_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= limits::LUA_FACTS_TIMEOUT {
            known.waits_since = None;
            return None;
        }
        debug_assert!(since <= now, "it waits from a later time on");
        Some(now + limits::LUA_FACTS_CHECK_INTERVAL)
    }

    /// No script waits for the server.
    #[inline(always)]
    pub(super) fn end_wait(&mut self) {
        if let Some(known) = &mut self.known {
            known.waits_since = None;
        }
    }

    /// Whether the client does not wait for the answers of its scripts, so that they go with their texts.
    pub(super) fn pipelines(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.texts > 0)
    }

    /// A request waits for a script: those behind it better come with their texts.
    pub(super) fn note_waiting(&mut self) {
        if let Some(known) = self.known.as_mut().filter(|known| known.calls) {
            known.texts = TEXTS;
        }
    }

    /// A script went with its text.
    pub(super) fn note_text(&mut self) {
        if let Some(known) = &mut self.known {
            known.texts = known.texts.saturating_sub(1);
        }
    }

    /// Whether the session has seen a script run that the server has not lost since.
    pub(super) fn has_seen(&self, script: &Script, scripts: &Scripts, epoch: u64) -> bool {
        self.known.as_ref().is_some_and(|known| known.seen.holds(script, scripts, epoch))
    }

    /// A script went by its name; so many bytes are kept to send it again. `called`: the client sent the text.
    pub(super) fn note_name(&mut self, kept_bytes: usize, called: bool) {
        let known = self.known.get_or_insert_default();
        known.kept_bytes += kept_bytes;
        known.calls = called;
    }

    /// A script answers, and no error.
    pub(super) fn note_run(&mut self, retry: &NoscriptRetry) {
        let known = self.known.get_or_insert_default();
        known.calls &= !retry.held;
        known.news.push(retry.ran());
    }

    /// A script was not executed.
    pub(super) fn note_lost(&mut self, news: ScriptNews) {
        self.known.get_or_insert_default().news.push(news);
    }

    /// Whether there was a script, so that replies may have reported something about one.
    #[inline(always)]
    pub(super) const fn has_any(&self) -> bool {
        self.known.is_some()
    }

    /// Shares with all sessions what replies have reported about scripts.
    fn share(&mut self, scripts: &mut Scripts) {
        let Some(known) = &mut self.known else { return };
        for news in known.news.drain(..) {
            scripts.learn(&news, &mut known.seen);
        }
    }

    /// A script answers an error.
    pub(super) fn note_error(&mut self, retry: &NoscriptRetry) {
        if let Some(known) = self.known.as_mut().filter(|_| retry.held) {
            known.calls = false;
        }
    }

    /// A script is to be sent again, in its place.
    pub(super) fn resend(&mut self, resend: Resend) {
        let known = self.known.get_or_insert_default();
        debug_assert!(known.resend.is_none(), "two scripts are to be sent at once");
        debug_assert!(!resend.wire.is_empty(), "nothing of it is sent again");
        known.resend = Some(resend);
    }

    /// What must be sent at once, in the place of a request that stays in line. Shares with all sessions what
    /// replies have reported about scripts.
    pub(super) fn take_resend(&mut self, scripts: &mut Scripts) -> Option<Resend> {
        self.share(scripts);
        self.known.as_mut()?.resend.take()
    }

    /// The last request in flight is answered: nothing is kept to be sent again.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        if let Some(known) = &mut self.known {
            debug_assert!(known.resend.is_none(), "a script is to be sent again for no request");
            known.kept_bytes = 0;
        }
    }
}
