//! What a permitted HELLO asks for.
//!
//! Owns: [`Greeted`]. Never knows: how it is granted.

use super::users::Name;
use crate::resp::Protocol;

#[derive(Debug)]
pub(super) struct Greeted {
    pub protocol: Protocol,
    pub name: Option<Vec<u8>>,
    pub user: Option<Name>,
}
