//! What of a request about a guarded script goes to the server instead of what the client sent.
//!
//! Owns: [`Shaped`], [`Digests`]. Never knows: which scripts are known, sessions.

use std::sync::Arc;

use crate::base::sha1::Sha1;

/// The changes to one request.
#[derive(Debug, Default)]
pub enum Shaped {
    /// None: it is about no guarded script.
    #[default]
    No,
    /// `EVAL`, `SCRIPT LOAD` (`loads`): the text is argument `arg`.
    Text { arg: u32, text: Vec<u8>, digests: Arc<Digests>, loads: bool },
    /// `EVAL`, `EVAL_RO` (`read_only`): by the name that the server has it by, without the text.
    Called { digests: Arc<Digests>, read_only: bool },
    /// `EVALSHA`: by its name; `None`: one that is not known here.
    Named(Option<Arc<Digests>>),
    /// `EVALSHA`, `EVALSHA_RO` (`read_only`): with its text, since the server may not have it.
    Spelled { text: Vec<u8>, digests: Arc<Digests>, read_only: bool },
    /// `SCRIPT EXISTS`: the names from argument 2 on.
    Asked(Vec<Option<Arc<Digests>>>),
}

impl Shaped {
    /// Whether the request is about a guarded script.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(self, Self::No)
    }
}

/// The two names of a script.
#[must_use]
pub(crate) fn digests(client: Sha1, server: Sha1) -> Arc<Digests> {
    let text = |sha: Sha1| sha.to_string().into_bytes().into_boxed_slice();
    Arc::new(Digests { server: text(server), client: text(client) })
}

/// A guarded script by its two names, 40 hexadecimal digits each.
#[derive(Debug, PartialEq, Eq)]
pub struct Digests {
    pub server: Box<[u8]>,
    pub client: Box<[u8]>,
}
