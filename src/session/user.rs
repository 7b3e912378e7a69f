//! The user a client is logged in as, and the policy that follows; looked up again after a reload.
//!
//! Owns: changes of the session's user. Never knows: passwords, how a policy decides.

use std::sync::Arc;

use super::access::{Auth, ListenerAccess};
use super::client_text;
use super::state::Session;
use super::users::Name;
use crate::policy::Policy;

impl Session {
    /// The name of its user.
    #[must_use]
    pub fn user_name(&self) -> &str {
        self.user.as_str()
    }

    #[must_use]
    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    /// What a subscription brings carries the prefix of the policy it was made under, and only that
    /// can be taken off.
    ///
    /// # Errors
    ///
    /// With the words for the client.
    pub(super) fn may_become(&self, user: &Name) -> Result<(), &'static str> {
        let brings = self.subscribes() || self.tracking;
        if self.names.is_some() && brings && *user != self.user {
            Err(client_text::USER_STAYS)
        } else {
            Ok(())
        }
    }

    pub(super) fn become_user(&mut self, user: Name, authenticated: bool) {
        self.roster.note_user(&self.seat, &user);
        self.user = user;
        self.authenticated = authenticated;
        self.user_is_new = true;
    }

    /// Whether the user may be another since this was asked last.
    pub const fn take_user_is_new(&mut self) -> bool {
        std::mem::replace(&mut self.user_is_new, false)
    }

    /// The policy of this session's user at `access`; `None`: there is no such user any more. Access
    /// without users knows `default` alone.
    pub fn policy(&mut self, access: &ListenerAccess) -> Option<Arc<Policy>> {
        let Auth::Users(users) = &access.auth else {
            self.user = Name::default();
            self.roster.note_user(&self.seat, &self.user);
            return Some(Arc::clone(&access.policy));
        };
        match users.get(&self.user) {
            Some(user) => Some(Arc::clone(user.policy.as_ref().unwrap_or(&access.policy))),
            None if self.authenticated => None,
            // Nothing is judged by it: the session may only say who it is.
            None => Some(Arc::clone(&access.policy)),
        }
    }
}
