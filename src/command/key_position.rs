//! A key's place in a request, and how arguments are read on the way there.
//!
//! Owns: [`KeyPosition`] and its words. Never knows: any command.

use crate::resp::Request;

/// What a command does with a key, as the server's ACL checks it: reading is `%R~`, writing is
/// `%W~`. With neither (`EXISTS`, `TYPE`) any permission on the key is enough (acl.c,
/// `ACLSelectorCheckKey`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    pub read: bool,
    pub write: bool,
}

impl Access {
    pub const NONE: Self = Self { read: false, write: false };
    pub const READ: Self = Self { read: true, write: false };
    pub const WRITE: Self = Self { read: false, write: true };
    pub const READ_WRITE: Self = Self { read: true, write: true };
}

/// What the text at a position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    Key,
    /// Any key that `*` in this text, replaced by an element of the sorted value, may become
    /// (`SORT … BY`, `SORT … GET`): the data choose, so only the text before `*` is certain.
    KeyPattern,
    /// Every key that begins with this text, no byte of which is special (`CLIENT TRACKING …
    /// PREFIX`). `BCAST` without a prefix is one empty text behind the last argument.
    KeyPrefix,
    Channel,
    ChannelPattern,
    ShardChannel,
}

/// One position. Access of a channel: publishing writes, subscribing reads, and unsubscribing or
/// listing does neither (the server's ACL does not ask there).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyPosition {
    /// The number of the argument; the command's name is 0.
    pub arg: u32,
    /// Bytes of the argument before the name.
    pub start: u32,
    /// Bytes of the name: all of the argument, but for a pattern only the part before `->`.
    pub len: u32,
    pub kind: KeyKind,
    pub access: Access,
}

impl KeyPosition {
    /// The name itself.
    #[must_use]
    pub fn name<'a>(&self, request: &Request<'a>) -> &'a [u8] {
        let (start, len) = (self.start as usize, self.len as usize);
        let arg = request.arg(self.arg as usize).unwrap_or_default();
        arg.get(start..start + len).unwrap_or(arg)
    }
}

/// Why the positions are not known. Unless every server refuses it, the caller must not forward the
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyError {
    /// The arguments do not fit the command: the server refuses them too, or would touch keys that
    /// the position is unknown.
    Syntax,
    /// Every server refuses the request before it looks at a key, each in its own words.
    Refused,
    /// The request is not all there, and what is missing decides.
    NotYetKnown,
}

/// An argument that must be there.
pub(super) fn present<'a>(request: &Request<'a>, arg: usize) -> Result<&'a [u8], KeyError> {
    match request.arg(arg) {
        Some(bytes) => Ok(bytes),
        None if arg < request.len() => Err(KeyError::NotYetKnown),
        None => Err(KeyError::Syntax),
    }
}

/// Whether the server takes an argument for this word (in lower case): it compares C strings, so a
/// NUL ends the argument and what follows does not count.
#[must_use]
pub(crate) fn is_word(arg: &[u8], word: &[u8]) -> bool {
    arg.split_at_checked(word.len()).is_some_and(|(start, rest)| {
        start.eq_ignore_ascii_case(word) && rest.first().is_none_or(|byte| *byte == 0)
    })
}

/// Numbers and lengths of arguments are far below 4 G (`limits::REQUEST_ARGS_MAX`,
/// `limits::BULK_BYTES_MAX`).
pub(super) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Adds an argument that is a name as a whole.
pub(super) fn push(
    request: &Request<'_>,
    arg: usize,
    kind: KeyKind,
    access: Access,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    let len = narrow(present(request, arg)?.len());
    out.push(KeyPosition { arg: narrow(arg), start: 0, len, kind, access });
    Ok(())
}
