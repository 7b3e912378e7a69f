//! What is known of a session's own connection besides what every session has.
//!
//! Owns: [`Own`], [`OwnReply`]. Never knows: the commands that change it.

use super::exec_reply::ExecReply;
use super::greeted::Greeted;
use super::transaction::ExecFixup;

/// Whether commands are queued at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Multi {
    #[default]
    No,
    /// MULTI is not answered yet.
    Asked,
    Open,
}

/// What is known of a session's own connection besides what every session has.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// It carries what cannot be made again on another connection.
    pub bound: bool,
    pub multi: Multi,
    /// MULTI that are not answered yet.
    pub asked: u32,
    /// Something was refused here: EXEC must not run what the server has queued.
    pub spoiled: bool,
    /// A queued command changes what is known here.
    pub special: bool,
    /// The database that a queued SELECT goes to: what follows it in the transaction runs there.
    pub database: Option<u32>,
    /// A queued command subscribes: what comes behind it may bring messages.
    pub hears: bool,
    /// Patterns that EXEC will subscribe to.
    pub patterns: usize,
    /// Bytes of the commands queued.
    pub bytes: u64,
    /// Commands that the server has queued in the transaction whose replies are arriving, and those of
    /// them that change what is known here.
    pub queued: u32,
    pub specials: Vec<(u32, ExecFixup)>,
    /// Those that only read.
    pub reads: Vec<u32>,
    /// A new connection does not know the client's name yet.
    pub nameless: bool,
}

/// The reply to a command that went to the session's own connection.
#[derive(Debug)]
pub(super) enum OwnReply {
    Multi,
    /// `+QUEUED`, or why not.
    Queued {
        special: Option<Box<ExecFixup>>,
        /// It only reads, behind a command that subscribes.
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
    pub(super) fn multi_permission(&self) -> bool {
        self.multi != Multi::No
    }

    /// Whether another connection would not do.
    pub(super) fn is_bound(&self) -> bool {
        self.bound || self.multi_permission()
    }

    /// A command was refused here.
    pub(super) fn spoil(&mut self) {
        self.spoiled |= self.multi_permission();
    }

    /// Another connection takes the place of this one.
    pub(super) fn move_on(&mut self) {
        *self = Self { nameless: true, ..Self::default() };
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.specials.capacity() * size_of::<(u32, ExecFixup)>()
            + self.reads.capacity() * size_of::<u32>()
    }

    /// EXEC or DISCARD has ended it.
    pub(super) fn end_transaction(&mut self) {
        (self.multi, self.spoiled, self.special, self.bytes) = (Multi::No, false, false, 0);
        (self.database, self.hears, self.patterns) = (None, false, 0);
    }

    /// The transaction whose replies are arriving.
    pub(super) fn executed(&mut self) -> ExecReply {
        ExecReply::new(std::mem::take(&mut self.specials), std::mem::take(&mut self.reads), true)
    }

    /// The server has queued one more command.
    pub(super) fn note_queued(&mut self, special: Option<Box<ExecFixup>>, reads: bool) {
        self.specials.extend(special.map(|special| (self.queued, *special)));
        self.reads.extend(reads.then_some(self.queued));
        self.queued += 1;
    }
}
