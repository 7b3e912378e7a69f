//! The settings of a permitted HELLO.
//!
//! Owns: [`Greeted`]. Never knows: how it is granted.

use bytes::BytesMut;

use super::users::Name;
use crate::resp::{Protocol, encode};

#[derive(Debug)]
pub(super) struct Greeted {
    pub protocol: Protocol,
    pub name: Option<Vec<u8>>,
    pub user: Option<Name>,
    /// The client's number is that of the connection at the server.
    pub is_numbered: bool,
}

impl Greeted {
    /// Writes the HELLO for the server, without the password.
    pub(super) fn request(&self, wire: &mut BytesMut) {
        let version: &[u8] = if self.protocol == Protocol::Resp3 { b"3" } else { b"2" };
        encode::request(wire, [b"HELLO".as_slice(), version]);
    }

    /// The request for the server, with the client's name.
    pub(super) fn request_named(&self, wire: &mut BytesMut) {
        let version: &[u8] = if self.protocol == Protocol::Resp3 { b"3" } else { b"2" };
        match &self.name {
            Some(name) => encode::request(wire, [b"HELLO".as_slice(), version, b"SETNAME", name]),
            None => self.request(wire),
        }
    }
}
