//! The user a client is logged in as, what came of its logins, and the policy that follows; looked up again
//! after a reload.
//!
//! Owns: [`ClientUser`]. Never knows: passwords, AUTH and HELLO, how a policy decides.

use std::sync::Arc;
use std::time::Instant;

use super::access::{Auth, ListenerAccess, Login};
use super::client_text;
use super::roster::{ClientEntry, Roster};
use super::users::Name;
use crate::base::lazy_box::{Initial, LazyBox};
use crate::policy::Policy;

/// The user of a client.
#[derive(Debug, Default)]
pub(super) struct ClientUser {
    name: Name,
    authenticated: bool,
    /// The user may have changed since [`Self::take_is_new`] was last called.
    is_new: bool,
    attempt: LazyBox<Attempt>,
}

/// What came of the last attempt to log in.
#[derive(Debug, Default)]
struct Attempt {
    /// Its outcome, until it is read.
    login: Option<Login>,
    /// The login at hand is wrong, and may be answered then.
    wrong_until: Option<Instant>,
}

impl Initial for Attempt {
    const INITIAL: &'static Self = &Self { login: None, wrong_until: None };
}

impl ClientUser {
    /// The first user of a client.
    pub(super) fn enter(auth: &Auth, roster: &Roster, entry: &ClientEntry) -> Self {
        let (name, authenticated) = auth.enter(&entry.peer.identity);
        roster.note_user(entry, &name);
        Self { name, authenticated, is_new: false, attempt: LazyBox::default() }
    }

    pub(super) const fn name(&self) -> &Name {
        &self.name
    }

    pub(super) const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// The client has this user from here on.
    pub(super) fn become_user(
        &mut self,
        (name, authenticated): (Name, bool),
        roster: &Roster,
        entry: &ClientEntry,
    ) {
        roster.note_user(entry, &name);
        (self.name, self.authenticated, self.is_new) = (name, authenticated, true);
    }

    /// The client has sent the right password of this user.
    pub(super) fn log_in(&mut self, name: Name, roster: &Roster, entry: &ClientEntry) {
        self.become_user((name, true), roster, entry);
        self.attempt.login = Some(Login::Right);
    }

    /// A login was refused with this text. One that was not held had no password compared: there is no user but
    /// `default`.
    pub(super) fn note_refused(&mut self, text: &str) {
        if self.attempt.wrong_until.is_none() && text == client_text::WRONGPASS {
            self.attempt.login = Some(Login::Wrong(None));
        }
    }

    /// The login at hand is wrong, and answered at `until`; `user` was named, if there is one.
    pub(super) fn hold_wrong(&mut self, user: Option<Name>, until: Instant) {
        debug_assert!(self.attempt.wrong_until.is_none(), "a login is judged once");
        self.attempt.login = Some(Login::Wrong(user));
        self.attempt.wrong_until = Some(until);
    }

    /// When the login at hand may be sent to the server, which judges it; decided once.
    pub(super) fn hold_unjudged(&mut self, until: impl FnOnce() -> Instant) -> Instant {
        *self.attempt.wrong_until.get_or_insert_with(until)
    }

    /// The server has judged a login.
    pub(super) fn note_server_answer(&mut self, reply: &[u8]) {
        if reply.starts_with(b"-WRONGPASS") {
            self.attempt.login = Some(Login::WrongAtServer);
        }
    }

    /// When the login at hand may be answered, if it is wrong.
    pub(super) fn wrong_until(&self) -> Option<Instant> {
        self.attempt.wrong_until
    }

    /// The request at hand is dealt with.
    #[inline(always)]
    pub(super) fn end_request(&mut self) {
        if let Some(attempt) = self.attempt.allocated_mut() {
            attempt.wrong_until = None;
        }
    }

    /// Whether the user may be another since this was asked last.
    pub(super) const fn take_is_new(&mut self) -> bool {
        std::mem::replace(&mut self.is_new, false)
    }

    /// Whether there was an attempt to log in.
    #[inline(always)]
    pub(super) fn has_login(&self) -> bool {
        self.attempt.allocated().is_some_and(|attempt| attempt.login.is_some())
    }

    /// What came of an attempt to log in, once.
    pub(super) fn take_login(&mut self) -> Option<Login> {
        self.attempt.allocated_mut()?.login.take()
    }

    /// The policy of this user at `access`; `None`: there is no such user any more. Access without users
    /// knows `default` alone.
    pub(super) fn policy(
        &mut self,
        access: &ListenerAccess,
        roster: &Roster,
        entry: &ClientEntry,
    ) -> Option<Arc<Policy>> {
        let Auth::Users(users) = &access.auth else {
            self.name = Name::default();
            roster.note_user(entry, &self.name);
            return Some(Arc::clone(&access.policy));
        };
        match users.get(&self.name) {
            Some(user) => Some(Arc::clone(user.policy.as_ref().unwrap_or(&access.policy))),
            None if self.authenticated => None,
            // No policy applies to it: the session may only log in.
            None => Some(Arc::clone(&access.policy)),
        }
    }
}
