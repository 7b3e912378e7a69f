//! What a client told of itself.
//!
//! Owns: [`About`]. Never knows: the commands that tell it.

/// What the client told of itself.
#[derive(Debug, Default)]
pub(super) struct About {
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
}

/// Redis networking.c `validateClientAttr`: printable, without space.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}
