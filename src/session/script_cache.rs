//! Scripts that the server has lost: `EVALSHA` that finds none is sent again as `EVAL`; and guarded ones
//! that it has: `EVAL` goes there as `EVALSHA`, without the text.
//!
//! The client sees the second reply alone. That must not change the order in which its commands are
//! executed: while it is unknown whether the server has the script, the session's further requests are
//! held; and a script that was believed to be there is sent again only when nothing came behind it.
//!
//! Owns: [`Scripts`], [`NoscriptRetry`]. Never knows: which scripts may run, connections, the threads that
//! share what is known.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use crate::base::limits;
use crate::base::sha1::Sha1;
use crate::policy::guard::{Digests, digests};
use crate::policy::{Guarded, Strip};
use crate::resp::{encode, number};
use crate::traffic::Ticket;

/// The server has no script of that name, and has executed nothing (redis server.c,
/// `shared.noscripterr`). A script may answer errors of its own that begin with `NOSCRIPT`.
const LOST: &[u8] = b"-NOSCRIPT No matching script.";

/// The scripts that clients have sent, those used least recently given up first. One for all sessions
/// of a thread.
#[derive(Debug, Default)]
pub struct Scripts {
    /// Where each is in `entries`.
    places: HashMap<Sha1, usize>,
    entries: Vec<Option<Entry>>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    script: Rc<Script>,
    used: u64,
    /// How often the server had lost it.
    losses: u64,
    /// What the server calls it behind a guard; those asked for last.
    names: Vec<Behind>,
    /// The script is always sent with its text: the server permits no `EVALSHA`, or the script itself could answer like
    /// a server that does not have it.
    needs_text: bool,
}

/// A script that a client has sent.
pub(super) struct Script {
    /// Another one for the same text that was given up and sent again.
    id: u64,
    /// The place of its entry, until it is given up.
    place: usize,
    sha: Sha1,
    text: Box<[u8]>,
}

/// A script behind one guard.
#[derive(Debug)]
struct Behind {
    /// [`Guarded::id`].
    guard: u64,
    digests: Arc<Digests>,
    /// The last epoch in which the server has run it.
    ran: Option<u64>,
    /// The last epoch in which its text was on the way to the server.
    sent: Option<u64>,
}

/// A script that a session has seen run: valid as long as no session finds it lost and the server is the same
/// ([`super::Context::epoch`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SeenScript {
    id: u64,
    losses: u64,
    epoch: u64,
}

/// The scripts that one session has seen run last.
#[derive(Debug, Default)]
pub(super) struct SeenScripts(Vec<SeenScript>);

/// What a reply shows of a script, for all sessions.
#[derive(Debug)]
pub(super) struct ScriptNews {
    script: Rc<Script>,
    /// [`Guarded::id`] of what went before it.
    guard: Option<u64>,
    outcome: ScriptOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScriptOutcome {
    /// The server has run it in this epoch.
    Ran { epoch: u64 },
    /// The server does not have it, or does not run it by its name.
    Lost { needs_text: bool },
}

/// What is to be sent at once, in the place of a request that stays in line.
#[derive(Debug)]
pub(super) struct Resend {
    pub ticket: Ticket,
    pub retry: bool,
    pub wire: BytesMut,
}

impl SeenScripts {
    pub(super) fn holds(&self, script: &Script, scripts: &Scripts, epoch: u64) -> bool {
        let sighting = |losses| SeenScript { id: script.id, losses, epoch };
        scripts.losses(script).is_some_and(|losses| self.0.contains(&sighting(losses)))
    }

    fn note(&mut self, new: SeenScript) {
        self.0.retain(|old| old.id != new.id);
        if self.0.len() >= limits::SEEN_SCRIPTS_MAX {
            self.0.remove(0);
        }
        self.0.push(new);
        debug_assert!(self.0.len() <= limits::SEEN_SCRIPTS_MAX, "too many are remembered");
        let same = |seen: &&SeenScript| seen.id == new.id;
        debug_assert_eq!(self.0.iter().filter(same).count(), 1, "a script is remembered twice");
    }
}

/// Shows no byte of the text, which may hold a secret.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("id", &self.id)
            .field("sha", &self.sha)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// What goes to the server behind this guard.
    pub(super) fn written(&self, guarded: &Guarded) -> Vec<u8> {
        guarded.write(&self.text)
    }
}

impl Entry {
    fn behind(&mut self, guard: u64) -> Option<&mut Behind> {
        self.names.iter_mut().find(|known| known.guard == guard)
    }
}

impl Scripts {
    /// A client has sent this script. `None`: it is too long to be kept.
    pub(super) fn remember(&mut self, text: &[u8]) -> Option<Rc<Script>> {
        if text.len() > limits::CACHED_SCRIPT_BYTES_MAX {
            return None;
        }
        let sha = Sha1::of(text);
        if let Some(script) = self.find(sha) {
            return Some(script);
        }
        while self.places.len() >= limits::CACHED_SCRIPTS_MAX
            || self.bytes + text.len() > limits::CACHED_SCRIPT_BYTES_MAX
        {
            let all = self.entries.iter().flatten();
            let Some(oldest) = all.min_by_key(|entry| entry.used) else { break };
            let oldest = Rc::clone(&oldest.script);
            self.give_up(&oldest);
        }
        let shows = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        let needs_text = shows(b"NOSCRIPT") || shows(b"evalsha");
        let free = self.entries.iter().position(Option::is_none);
        let place = free.unwrap_or(self.entries.len());
        let script = Rc::new(Script { id: self.uses, place, sha, text: text.into() });
        self.bytes += text.len();
        let entry = Entry {
            script: Rc::clone(&script),
            used: self.uses,
            losses: 0,
            names: Vec::new(),
            needs_text,
        };
        match self.entries.get_mut(place) {
            Some(free) => *free = Some(entry),
            None => self.entries.push(Some(entry)),
        }
        let before = self.places.insert(sha, place);
        debug_assert!(before.is_none(), "a script that is known is remembered again");
        debug_assert!(self.places.len() <= limits::CACHED_SCRIPTS_MAX, "too many scripts");
        debug_assert!(self.entries.len() <= limits::CACHED_SCRIPTS_MAX, "too many places");
        debug_assert!(self.bytes <= limits::CACHED_SCRIPT_BYTES_MAX, "scripts are too long");
        Some(script)
    }

    pub(super) fn find(&mut self, sha: Sha1) -> Option<Rc<Script>> {
        self.uses += 1;
        let entry = self.entries.get_mut(*self.places.get(&sha)?)?.as_mut()?;
        debug_assert!(entry.used < self.uses, "it was used after this");
        debug_assert!(entry.script.sha == sha, "a script under another's name");
        entry.used = self.uses;
        Some(Rc::clone(&entry.script))
    }

    /// Clients want the server to forget, and to confirm it.
    pub(super) fn forget(&mut self) {
        (self.places, self.entries, self.bytes) = (HashMap::new(), Vec::new(), 0);
    }

    fn give_up(&mut self, script: &Script) {
        let gone = self.places.remove(&script.sha);
        debug_assert_eq!(gone, Some(script.place), "a script is in another's place");
        self.bytes -= script.text.len();
        self.entries.get_mut(script.place).into_iter().for_each(|place| *place = None);
    }

    /// What is known of a script, unless it was given up since.
    fn entry(&mut self, script: &Script) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(script.place)?.as_mut();
        entry.filter(|entry| entry.script.id == script.id)
    }

    fn losses(&self, script: &Script) -> Option<u64> {
        let entry = self.entries.get(script.place)?.as_ref();
        entry.filter(|entry| entry.script.id == script.id).map(|entry| entry.losses)
    }

    /// A script's two names behind this guard.
    pub(super) fn digests(&mut self, script: &Script, guarded: &Guarded) -> Arc<Digests> {
        let guard = guarded.id();
        let new = || digests(script.sha, Sha1::of(&guarded.write(&script.text)));
        let Some(entry) = self.entry(script) else { return new() };
        if let Some(known) = entry.behind(guard) {
            return Arc::clone(&known.digests);
        }
        let new = new();
        entry.names.truncate(limits::CACHED_SCRIPT_NAMES_MAX - 1);
        entry.names.insert(0, Behind { guard, digests: Arc::clone(&new), ran: None, sent: None });
        let same = |known: &&Behind| known.guard == guard;
        debug_assert_eq!(entry.names.iter().filter(same).count(), 1, "a guard is known twice");
        debug_assert!(entry.names.len() <= limits::CACHED_SCRIPT_NAMES_MAX, "too many names");
        new
    }

    /// Whether the server has run a script behind this guard, and still has it as far as is known.
    pub(super) fn has_run(&mut self, script: &Script, guarded: &Guarded, epoch: u64) -> bool {
        let Some(entry) = self.entry(script).filter(|entry| !entry.needs_text) else {
            return false;
        };
        entry.behind(guarded.id()).is_some_and(|known| known.ran == Some(epoch))
    }

    /// A script's text goes to the server behind this guard. Returns whether it has before in this epoch.
    pub(super) fn note_sent(&mut self, script: &Script, guarded: &Guarded, epoch: u64) -> bool {
        let known = self.entry(script).and_then(|entry| entry.behind(guarded.id()));
        known.is_some_and(|known| known.sent.replace(epoch) == Some(epoch))
    }

    /// A session has learned this from a reply; what it has seen run itself is noted in `seen`.
    pub(super) fn learn(&mut self, news: &ScriptNews, seen: &mut SeenScripts) {
        let Some(entry) = self.entry(&news.script) else { return };
        let epoch = match news.outcome {
            ScriptOutcome::Ran { epoch } => {
                seen.note(SeenScript { id: news.script.id, losses: entry.losses, epoch });
                Some(epoch)
            }
            ScriptOutcome::Lost { needs_text } => {
                entry.losses += 1;
                entry.needs_text |= needs_text;
                None
            }
        };
        if let Some(known) = news.guard.and_then(|guard| entry.behind(guard)) {
            (known.ran, known.sent) = (epoch, epoch);
        }
    }
}

/// What is needed to send a request again with the script's text instead of its name.
#[derive(Debug)]
pub(super) struct NoscriptRetry {
    script: Rc<Script>,
    guarded: Option<Guarded>,
    epoch: u64,
    /// Nothing of the session is sent before the answer.
    pub held: bool,
    read_only: bool,
    /// Arguments of the request, all together.
    count: usize,
    /// The request's bytes behind the script's name; `None`: not all of them are here, or the text went
    /// with it.
    rest: Option<Box<[u8]>>,
    /// The client has sent the text.
    pub called: bool,
    /// What to take off the names in the reply.
    pub strip: Option<Strip>,
}

impl NoscriptRetry {
    /// `wire` is the request as it is sent, if all of it is here; `count` its arguments. `guarded`:
    /// what goes before the script's text.
    pub(super) fn new(
        (script, guarded): (Rc<Script>, Option<Guarded>),
        epoch: u64,
        held: bool,
        read_only: bool,
        count: usize,
        wire: Option<&[u8]>,
    ) -> Self {
        let rest = wire.and_then(behind_two).map(Box::from);
        debug_assert!(rest.is_none() || count >= 2, "a script without a name");
        let called = false;
        Self { script, guarded, epoch, held, read_only, count, rest, called, strip: None }
    }

    /// A script that goes with its text: that the server has run it is to be known.
    pub(super) fn of_text(script: Rc<Script>, guarded: Guarded, epoch: u64) -> Self {
        Self::new((script, Some(guarded)), epoch, false, false, 0, None)
    }

    /// Bytes kept for it.
    pub(super) fn kept_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// The script answers.
    pub(super) fn ran(&self) -> ScriptNews {
        self.news(ScriptOutcome::Ran { epoch: self.epoch })
    }

    /// The script answers the error `line`: what that shows of it, if it was not executed.
    pub(super) fn lost(&self, line: &[u8]) -> Option<ScriptNews> {
        if line.starts_with(LOST) {
            return Some(self.news(ScriptOutcome::Lost { needs_text: false }));
        }
        let about = |word: &[u8]| memchr::memmem::find(line, word).is_some();
        let barred = (line.starts_with(b"-NOPERM") && about(b"'evalsha"))
            || (line.starts_with(b"-ERR unknown command") && about(b"'EVALSHA"));
        let needs_text = self.called && barred;
        needs_text.then(|| self.news(ScriptOutcome::Lost { needs_text }))
    }

    fn news(&self, outcome: ScriptOutcome) -> ScriptNews {
        let guard = self.guarded.as_ref().map(Guarded::id);
        ScriptNews { script: Rc::clone(&self.script), guard, outcome }
    }

    /// The request to send again, as the script was not executed; `None`: its error is the answer. `alone`:
    /// nothing of the session is in flight behind it.
    pub(super) fn again(&mut self, alone: bool) -> Option<BytesMut> {
        let rest = self.rest.take().filter(|_| alone)?;
        debug_assert!(self.count >= 2, "a script without a name is sent again");
        self.held = true;
        let written = self.guarded.as_ref().map(|guarded| guarded.write(&self.script.text));
        let text = written.as_deref().unwrap_or(&self.script.text);
        let mut wire = BytesMut::with_capacity(rest.len() + text.len() + 64);
        encode::array(&mut wire, self.count);
        encode::bulk(&mut wire, if self.read_only { b"EVAL_RO".as_slice() } else { b"EVAL" });
        encode::bulk(&mut wire, text);
        wire.extend_from_slice(&rest);
        Some(wire)
    }
}

/// The bytes of a request in canonical form behind its first two arguments.
fn behind_two(wire: &[u8]) -> Option<&[u8]> {
    let (_, mut rest) = number::leading_line(wire)?;
    for _ in 0..2 {
        let (length, behind) = number::leading_line(rest)?;
        rest = behind.get(usize::try_from(length).ok()?.checked_add(2)?..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn keeps(scripts: &mut Scripts, text: &[u8]) -> bool {
        scripts.find(Sha1::of(text)).is_some()
    }

    #[test]
    fn least_recently_used_goes_first() {
        let mut scripts = Scripts::default();
        for n in 0..limits::CACHED_SCRIPTS_MAX {
            scripts.remember(format!("return {n}").as_bytes());
        }
        assert!(keeps(&mut scripts, b"return 0"));
        scripts.remember(b"one more");
        assert!(keeps(&mut scripts, b"return 0") && keeps(&mut scripts, b"one more"));
        assert!(!keeps(&mut scripts, b"return 1") && keeps(&mut scripts, b"return 2"));
        assert_eq!(scripts.places.len(), limits::CACHED_SCRIPTS_MAX);
    }

    #[test]
    fn bytes_are_bounded() {
        let mut scripts = Scripts::default();
        let text = |letter: u8, len| vec![letter; len];
        scripts.remember(&text(b'a', limits::CACHED_SCRIPT_BYTES_MAX / 2));
        scripts.remember(&text(b'b', limits::CACHED_SCRIPT_BYTES_MAX / 2));
        assert_eq!(scripts.bytes, limits::CACHED_SCRIPT_BYTES_MAX);
        scripts.remember(b"c");
        assert!(
            !keeps(&mut scripts, &text(b'a', limits::CACHED_SCRIPT_BYTES_MAX / 2))
                && keeps(&mut scripts, b"c")
        );
        scripts.remember(&text(b'd', limits::CACHED_SCRIPT_BYTES_MAX + 1));
        assert!(
            !keeps(&mut scripts, &text(b'd', limits::CACHED_SCRIPT_BYTES_MAX + 1))
                && keeps(&mut scripts, b"c")
        );
        let bytes: usize = scripts.entries.iter().flatten().map(|e| e.script.text.len()).sum();
        assert_eq!(scripts.bytes, bytes);
        scripts.forget();
        assert!(!keeps(&mut scripts, b"c"));
    }

    #[test]
    fn scripts_that_are_forgotten_are_no_others_that_come_after_them() {
        let (mut scripts, mut seen) = (Scripts::default(), SeenScripts::default());
        let script = scripts.remember(b"return 1").unwrap();
        let ran = NoscriptRetry::new((Rc::clone(&script), None), 7, true, false, 3, None).ran();
        scripts.learn(&ran, &mut seen);
        assert!(seen.holds(&script, &scripts, 7) && !seen.holds(&script, &scripts, 8));
        scripts.forget();
        let other = scripts.remember(b"return 2").unwrap();
        assert!(!seen.holds(&other, &scripts, 7), "it was never seen to run");
        scripts.learn(&ran, &mut seen);
        assert!(!seen.holds(&script, &scripts, 7), "nothing is known of it any more");
    }

    #[test]
    fn script_found_lost_by_one_session_is_lost_for_all() {
        let (mut scripts, mut seen) = (Scripts::default(), SeenScripts::default());
        let script = scripts.remember(b"return 1").unwrap();
        let retry = NoscriptRetry::new((Rc::clone(&script), None), 7, true, false, 3, None);
        scripts.learn(&retry.ran(), &mut seen);
        let lost = retry.lost(b"-NOSCRIPT No matching script. Please use EVAL.\r\n").unwrap();
        scripts.learn(&lost, &mut SeenScripts::default());
        assert!(!seen.holds(&script, &scripts, 7));
        assert!(retry.lost(b"-NOPERM no permissions to run the 'evalsha' command").is_none());
    }

    #[test]
    fn cached_text_behind_a_name() {
        let request = b"*4\r\n$7\r\nEVALSHA\r\n$3\r\n\r\n$\r\n$1\r\n1\r\n$1\r\nk\r\n";
        assert_eq!(behind_two(request), Some(b"$1\r\n1\r\n$1\r\nk\r\n".as_slice()));
        assert_eq!(behind_two(b"*4\r\n$7\r\nEVALSHA\r\n"), None);
        assert_eq!(behind_two(b"*4\r\n$7\r\nEVALSHA\r\n$-1\r\n"), None);
    }
}
