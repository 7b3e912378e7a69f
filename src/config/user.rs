//! Settings of local users: how they log in to respgate, and their policy.
//!
//! Owns: [`User`]. Never knows: AUTH, the rules of a policy.

use super::{SanPattern, SecretSource};
use crate::base::password::Passwords;

/// One user of listeners with `auth = "users"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// A disabled user cannot log in; sessions that are in stay, as in Redis.
    pub enabled: bool,
    pub passwords: Passwords,
    /// One more password, in a file or a variable.
    pub password: Option<SecretSource>,
    /// One of `[policies]`; without it, the listener's.
    pub policy: Option<String>,
    /// Processes of these users of the system are this user on a Unix socket, without a word.
    pub uids: Vec<u32>,
    /// Applications whose certificate carries one of these names are this user over TLS, without a word.
    pub certificates: Vec<SanPattern>,
}
