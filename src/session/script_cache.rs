//! Scripts that the server has lost: `EVALSHA` that finds none is sent again as `EVAL`; and guarded ones
//! that it has: `EVAL` goes there as `EVALSHA`, without the text.
//!
//! The client sees the second reply alone. That must not change the order in which its commands are
//! executed: while it is unknown whether the server has the script, the session's further requests are
//! held; and a script that was believed to be there is sent again only when nothing came behind it.
//!
//! Owns: [`Scripts`], [`NoscriptRetry`]. Never knows: which scripts may run, connections.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;

use crate::base::limits;
use crate::base::sha1::Sha1;
use crate::policy::guard::{Digests, Distrust, Globals, digests};
use crate::policy::{Guarded, Guarding, Strip};
use crate::resp::{encode, number};
use crate::traffic::Ticket;

/// The server has no script of that name, and has executed nothing (redis server.c,
/// `shared.noscripterr`). A script may answer errors of its own that begin with `NOSCRIPT`.
const LOST: &[u8] = b"-NOSCRIPT No matching script.";

/// The scripts that clients have sent, those used least recently given up first. One for all sessions
/// of a thread.
#[derive(Debug, Default)]
pub struct Scripts {
    cache: RefCell<Cache>,
    /// What is known of the server's Lua.
    guarding: Rc<Guarding>,
}

#[derive(Debug, Default)]
struct Cache {
    known: HashMap<Sha1, Entry>,
    bytes: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    script: Rc<Script>,
    used: u64,
}

#[derive(Debug)]
pub(super) struct Script {
    id: u64,
    text: Box<[u8]>,
    /// How often the server had lost it.
    losses: Cell<u64>,
    /// What the server calls it behind a guard; those asked for last.
    names: RefCell<Vec<Behind>>,
    /// It always goes with its text: the server permits no `EVALSHA`, or the script itself could answer
    /// what a server does that does not have it.
    needs_text: Cell<bool>,
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

/// That a session has seen a script run: true as long as no session finds it lost and the server is the
/// same ([`super::Context::epoch`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SeenScript {
    id: u64,
    losses: u64,
    epoch: u64,
}

/// The scripts that one session has seen run last.
#[derive(Debug, Default)]
pub(super) struct SeenScripts(Vec<SeenScript>);

/// What is to be sent at once, in the place of a request that stays in line.
#[derive(Debug)]
pub(super) struct Resend {
    pub ticket: Ticket,
    pub retry: bool,
    pub wire: BytesMut,
}

impl SeenScripts {
    pub(super) fn holds(&self, script: &Script, epoch: u64) -> bool {
        self.0.contains(&script.sighting(epoch))
    }

    fn note(&mut self, new: SeenScript) {
        self.0.retain(|old| old.id != new.id);
        if self.0.len() >= limits::SEEN_SCRIPTS_MAX {
            self.0.remove(0);
        }
        self.0.push(new);
        debug_assert!(self.0.len() <= limits::SEEN_SCRIPTS_MAX, "too many are remembered");
    }
}

impl Script {
    /// Its two names behind this guard.
    pub(super) fn digests(&self, guarded: &Guarded) -> Arc<Digests> {
        let names = &mut *self.names.borrow_mut();
        let id = guarded.id();
        if let Some(known) = names.iter().find(|known| known.guard == id) {
            return Arc::clone(&known.digests);
        }
        let new = digests(Sha1::of(&self.text), Sha1::of(&guarded.write(&self.text)));
        names.truncate(limits::CACHED_SCRIPT_NAMES_MAX - 1);
        debug_assert!(names.iter().all(|known| known.guard != id), "a guard is known twice");
        names.insert(0, Behind { guard: id, digests: Arc::clone(&new), ran: None, sent: None });
        new
    }

    /// Whether the server has run it behind this guard, and still has it as far as is known.
    pub(super) fn is_at_server(&self, guarded: &Guarded, epoch: u64) -> bool {
        let ran = |known: &Behind| known.guard == guarded.id() && known.ran == Some(epoch);
        !self.needs_text.get() && self.names.borrow().iter().any(ran)
    }

    /// Its text goes to the server behind this guard. Returns whether it has before in this epoch.
    pub(super) fn note_sent(&self, guarded: &Guarded, epoch: u64) -> bool {
        let names = &mut *self.names.borrow_mut();
        let known = names.iter_mut().find(|known| known.guard == guarded.id());
        known.is_some_and(|known| known.sent.replace(epoch) == Some(epoch))
    }

    /// What goes to the server behind this guard.
    pub(super) fn written(&self, guarded: &Guarded) -> Vec<u8> {
        guarded.write(&self.text)
    }

    fn note_ran(&self, guarded: &Guarded, ran: Option<u64>) {
        let names = &mut *self.names.borrow_mut();
        if let Some(known) = names.iter_mut().find(|known| known.guard == guarded.id()) {
            known.ran = ran;
            known.sent = ran;
        }
    }

    const fn sighting(&self, epoch: u64) -> SeenScript {
        SeenScript { id: self.id, losses: self.losses.get(), epoch }
    }
}

impl Scripts {
    #[must_use]
    pub fn new(guarding: Rc<Guarding>) -> Self {
        Self { guarding, ..Self::default() }
    }

    /// What is known of the server's Lua; `None`: it has not been asked yet.
    pub(super) fn globals(&self) -> Option<Result<Arc<Globals>, Distrust>> {
        self.guarding.get()
    }

    /// A client has sent this script. `None`: it is too long to be kept.
    pub(super) fn remember(&self, text: &[u8]) -> Option<Rc<Script>> {
        if text.len() > limits::CACHED_SCRIPT_BYTES_MAX {
            return None;
        }
        let sha = Sha1::of(text);
        if let Some(script) = self.find(sha) {
            return Some(script);
        }
        let cache = &mut *self.cache.borrow_mut();
        while cache.known.len() >= limits::CACHED_SCRIPTS_MAX
            || cache.bytes + text.len() > limits::CACHED_SCRIPT_BYTES_MAX
        {
            let oldest = cache.known.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(sha, _)| *sha) else { break };
            let gone = cache.known.remove(&oldest);
            cache.bytes -= gone.map_or(0, |entry| entry.script.text.len());
        }
        let losses = Cell::new(0);
        let names = RefCell::default();
        let tells = |word: &[u8]| memchr::memmem::find(text, word).is_some();
        let needs_text = Cell::new(tells(b"NOSCRIPT") || tells(b"evalsha"));
        let script = Script { id: cache.uses, text: text.into(), losses, names, needs_text };
        let script = Rc::new(script);
        cache.bytes += text.len();
        let entry = Entry { script: Rc::clone(&script), used: cache.uses };
        cache.known.insert(sha, entry);
        debug_assert!(cache.known.len() <= limits::CACHED_SCRIPTS_MAX, "too many scripts");
        debug_assert!(cache.bytes <= limits::CACHED_SCRIPT_BYTES_MAX, "scripts are too long");
        Some(script)
    }

    pub(super) fn find(&self, sha: Sha1) -> Option<Rc<Script>> {
        let cache = &mut *self.cache.borrow_mut();
        cache.uses += 1;
        let entry = cache.known.get_mut(&sha)?;
        entry.used = cache.uses;
        Some(Rc::clone(&entry.script))
    }

    /// Clients want the server to forget, and to confirm it.
    pub(super) fn forget(&self) {
        *self.cache.borrow_mut() = Cache::default();
    }
}

/// What is needed to send a request again with the script's text instead of its name.
#[derive(Debug)]
pub(super) struct NoscriptRetry {
    script: Rc<Script>,
    guarded: Option<Guarded>,
    sighting: SeenScript,
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
        let sighting = script.sighting(epoch);
        let rest = wire.and_then(behind_two).map(Box::from);
        debug_assert!(rest.is_none() || count >= 2, "a script without a name");
        let called = false;
        Self { script, guarded, sighting, held, read_only, count, rest, called, strip: None }
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
    pub(super) fn note_run(&self, seen: &mut SeenScripts) {
        seen.note(SeenScript { losses: self.script.losses.get(), ..self.sighting });
        if let Some(guarded) = &self.guarded {
            self.script.note_ran(guarded, Some(self.sighting.epoch));
        }
    }

    /// Whether the error `line` says that nothing was executed, since the server does not have the script
    /// or does not run it by its name.
    fn is_unexecuted(&self, line: &[u8]) -> bool {
        if line.starts_with(LOST) {
            return true;
        }
        let about = |word: &[u8]| memchr::memmem::find(line, word).is_some();
        let barred = (line.starts_with(b"-NOPERM") && about(b"'evalsha"))
            || (line.starts_with(b"-ERR unknown command") && about(b"'EVALSHA"));
        if self.called && barred {
            self.script.needs_text.set(true);
        }
        self.called && barred
    }

    /// The request to send after the error `line`; `None`: the error is the answer. `alone`: nothing
    /// of the session is on its way behind it.
    pub(super) fn again(&mut self, line: &[u8], alone: bool) -> Option<BytesMut> {
        if !self.is_unexecuted(line) {
            return None;
        }
        self.script.losses.set(self.script.losses.get() + 1);
        if let Some(guarded) = &self.guarded {
            self.script.note_ran(guarded, None);
        }
        let rest = self.rest.take().filter(|_| alone)?;
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
    let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    let mut rest = wire.get(line(wire)?..)?;
    for _ in 0..2 {
        let header = line(rest)?;
        let length = number::parse_i64(rest.get(1..header.checked_sub(2)?)?)?;
        rest = rest.get(header + usize::try_from(length).ok()? + 2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeps(scripts: &Scripts, text: &[u8]) -> bool {
        scripts.find(Sha1::of(text)).is_some()
    }

    #[test]
    fn least_recently_used_goes_first() {
        let scripts = Scripts::default();
        for n in 0..limits::CACHED_SCRIPTS_MAX {
            scripts.remember(format!("return {n}").as_bytes());
        }
        assert!(keeps(&scripts, b"return 0"));
        scripts.remember(b"one more");
        assert!(keeps(&scripts, b"return 0") && keeps(&scripts, b"one more"));
        assert!(!keeps(&scripts, b"return 1") && keeps(&scripts, b"return 2"));
        assert_eq!(scripts.cache.borrow().known.len(), limits::CACHED_SCRIPTS_MAX);
    }

    #[test]
    fn bytes_are_bounded() {
        let scripts = Scripts::default();
        let text = |letter: u8, len| vec![letter; len];
        scripts.remember(&text(b'a', limits::CACHED_SCRIPT_BYTES_MAX / 2));
        scripts.remember(&text(b'b', limits::CACHED_SCRIPT_BYTES_MAX / 2));
        assert_eq!(scripts.cache.borrow().bytes, limits::CACHED_SCRIPT_BYTES_MAX);
        scripts.remember(b"c");
        assert!(
            !keeps(&scripts, &text(b'a', limits::CACHED_SCRIPT_BYTES_MAX / 2))
                && keeps(&scripts, b"c")
        );
        scripts.remember(&text(b'd', limits::CACHED_SCRIPT_BYTES_MAX + 1));
        assert!(
            !keeps(&scripts, &text(b'd', limits::CACHED_SCRIPT_BYTES_MAX + 1))
                && keeps(&scripts, b"c")
        );
        let bytes: usize = scripts.cache.borrow().known.values().map(|e| e.script.text.len()).sum();
        assert_eq!(scripts.cache.borrow().bytes, bytes);
        scripts.forget();
        assert!(!keeps(&scripts, b"c"));
    }

    #[test]
    fn cached_text_behind_a_name() {
        let request = b"*4\r\n$7\r\nEVALSHA\r\n$3\r\n\r\n$\r\n$1\r\n1\r\n$1\r\nk\r\n";
        assert_eq!(behind_two(request), Some(b"$1\r\n1\r\n$1\r\nk\r\n".as_slice()));
        assert_eq!(behind_two(b"*4\r\n$7\r\nEVALSHA\r\n"), None);
        assert_eq!(behind_two(b"*4\r\n$7\r\nEVALSHA\r\n$-1\r\n"), None);
    }
}
