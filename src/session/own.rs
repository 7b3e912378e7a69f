//! What is known of a session's own connection besides what every session has.
//!
//! Owns: [`Own`], [`OwnReply`]. Never knows: the commands that change it.

use super::exec_reply::ExecReply;
use super::greeted::Greeted;
use super::transaction::ExecFixup;

/// Whether commands are queued at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Multi {
    #[default]
    No,
    /// MULTI is not answered yet.
    Asked,
    Open,
}

/// What is known of a session's own connection besides what every session has.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// The connection carries what cannot be made again on another one.
    bound: bool,
    multi: Multi,
    /// MULTI that are not answered yet.
    asked: u32,
    /// What was sent since MULTI.
    sent: Sent,
    /// Commands that the server has queued in the transaction whose replies are arriving, and those of
    /// them that change what is known here.
    queued: u32,
    specials: Vec<(u32, ExecFixup)>,
    /// Bytes that those keep elsewhere.
    heap: usize,
    /// Queued commands that only read.
    reads: Vec<u32>,
    /// A new connection does not know the client's name yet.
    nameless: bool,
}

/// What was sent of a transaction that is queued at the server.
#[derive(Debug, Default)]
struct Sent {
    /// Something was refused here: EXEC must not run what the server has queued.
    aborted: bool,
    /// A queued command changes what is known here.
    special: bool,
    /// The database that a queued SELECT goes to: what follows it in the transaction runs there.
    database: Option<u32>,
    /// A queued command subscribes: what comes behind it may bring messages.
    receives_messages: bool,
    /// Patterns that EXEC will subscribe to.
    patterns: usize,
    /// Bytes of the commands queued.
    bytes: u64,
}

/// A command of such a transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentCommand {
    pub bytes: u64,
    /// The command changes what is known here.
    pub special: bool,
    /// Where it goes, if it is a SELECT.
    pub database: Option<u32>,
    /// The command subscribes, to so many patterns.
    pub subscribes: bool,
    pub patterns: usize,
}

/// The reply to a command that went to the session's own connection.
#[derive(Debug)]
pub(super) enum OwnReply {
    Multi,
    /// `+QUEUED`, or why not.
    Queued {
        special: Option<Box<ExecFixup>>,
        /// The command only reads, behind one that subscribes.
        reads: bool,
    },
    /// EXEC's, when a queued command changes what is known here.
    Exec,
    /// DISCARD's, in place of EXEC; what the client is answered.
    Abort(Box<[u8]>),
    Hello(Box<Greeted>),
    /// AUTH's, where the server judges it.
    Login,
}

impl Own {
    /// Whether commands are queued, or about to be.
    pub(super) fn transacts(&self) -> bool {
        self.multi != Multi::No
    }

    /// Whether MULTI is not answered yet.
    pub(super) fn awaits_multi(&self) -> bool {
        self.multi == Multi::Asked
    }

    /// Whether another connection would not do.
    pub(super) fn is_bound(&self) -> bool {
        self.bound || self.transacts()
    }

    /// State is on it that cannot be made again.
    pub(super) const fn bind(&mut self) {
        self.bound = true;
    }

    pub(super) const fn is_aborted(&self) -> bool {
        self.sent.aborted
    }

    pub(super) const fn changes_session(&self) -> bool {
        self.sent.special
    }

    /// The database in which the next command of the transaction runs, if it is another.
    pub(super) const fn database(&self) -> Option<u32> {
        self.sent.database
    }

    pub(super) const fn patterns(&self) -> usize {
        self.sent.patterns
    }

    /// Whether messages may come between the replies to what is queued next.
    pub(super) const fn receives_messages(&self) -> bool {
        self.sent.receives_messages
    }

    /// Bytes of the commands queued.
    pub(super) const fn bytes(&self) -> u64 {
        self.sent.bytes
    }

    /// Whether it does not know the client's name yet.
    pub(super) const fn is_nameless(&self) -> bool {
        self.nameless
    }

    /// The client's name was sent on it, if there is one.
    pub(super) const fn note_named(&mut self) {
        self.nameless = false;
    }

    /// A command was refused here.
    pub(super) fn mark_aborted(&mut self) {
        self.sent.aborted |= self.transacts();
    }

    /// Another connection takes the place of this one.
    pub(super) fn move_on(&mut self) {
        *self = Self { nameless: true, ..Self::default() };
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.heap
            + self.specials.capacity() * size_of::<(u32, ExecFixup)>()
            + self.reads.capacity() * size_of::<u32>()
    }

    /// MULTI was sent.
    pub(super) fn begin_transaction(&mut self) {
        debug_assert!(!self.transacts(), "MULTI within MULTI");
        self.sent = Sent::default();
        self.multi = Multi::Asked;
        self.asked += 1;
        self.check_invariants();
    }

    /// A command of the transaction was sent.
    pub(super) fn note_sent(&mut self, command: SentCommand) {
        debug_assert!(self.transacts(), "a command of no transaction");
        debug_assert!(command.patterns == 0 || command.subscribes, "patterns of no subscription");
        debug_assert!(command.database.is_none() || command.special, "SELECT changes nothing");
        let sent = &mut self.sent;
        sent.bytes = sent.bytes.saturating_add(command.bytes);
        sent.special |= command.special;
        sent.database = command.database.or(sent.database);
        sent.receives_messages |= command.subscribes;
        sent.patterns = sent.patterns.saturating_add(command.patterns);
    }

    /// EXEC or DISCARD has ended it.
    pub(super) fn end_transaction(&mut self) {
        self.multi = Multi::No;
        self.sent = Sent::default();
    }

    /// The server has answered MULTI.
    pub(super) fn take_multi(&mut self, ok: bool) {
        debug_assert!(self.asked > 0, "MULTI was not sent");
        self.asked = self.asked.saturating_sub(1);
        (self.queued, self.heap, self.specials, self.reads) = (0, 0, Vec::new(), Vec::new());
        if self.asked == 0 && self.awaits_multi() {
            if ok {
                self.multi = Multi::Open;
            } else {
                self.end_transaction();
            }
        }
        self.check_invariants();
    }

    pub(super) fn check_invariants(&self) {
        debug_assert!(!self.awaits_multi() || self.asked > 0, "MULTI waits for no reply");
        debug_assert!(!self.is_aborted() || self.transacts(), "no transaction is aborted");
        let sent = &self.sent;
        debug_assert!(self.transacts() || sent.bytes == 0, "bytes of no transaction");
        debug_assert!(sent.database.is_none() || sent.special, "SELECT changes nothing");
        debug_assert!(self.specials.len() <= self.queued as usize, "more than were queued");
        debug_assert!(self.reads.len() <= self.queued as usize, "more than were queued");
    }

    /// The transaction whose replies are arriving.
    pub(super) fn executed(&mut self) -> ExecReply {
        self.heap = 0;
        ExecReply::new(std::mem::take(&mut self.specials), std::mem::take(&mut self.reads), true)
    }

    /// The server has queued one more command.
    pub(super) fn note_queued(&mut self, special: Option<Box<ExecFixup>>, reads: bool) {
        self.heap += special.as_ref().map_or(0, |special| special.heap_bytes());
        self.specials.extend(special.map(|special| (self.queued, *special)));
        self.reads.extend(reads.then_some(self.queued));
        self.queued += 1;
        let before = |at: u32| at < self.queued;
        debug_assert!(self.specials.iter().all(|(at, _)| before(*at)), "of another transaction");
        debug_assert!(self.reads.iter().all(|at| before(*at)), "of another transaction");
    }
}
