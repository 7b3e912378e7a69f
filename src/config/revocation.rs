//! Lists of revoked certificates: where they are, and what an expired one means.
//!
//! Owns: [`Revocation`], how it is read. Never knows: what is in a list.

use std::path::PathBuf;

use super::error::ValueError;
use super::section::{Section, choice, path};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// PEM; a list of each authority of a chain, the root included.
    pub crl: PathBuf,
    pub expired: ExpiredCrl,
}

/// What becomes of peers once the authority should have published the next list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ExpiredCrl {
    /// None is accepted: an attacker with a revoked certificate may have kept the newer list from arriving.
    #[default]
    Reject,
    /// The last list goes on to be used.
    Accept,
}

pub(super) fn read(at: &Section<'_>) -> Option<Revocation> {
    let words = [("reject", ExpiredCrl::Reject), ("accept", ExpiredCrl::Accept)];
    let expired = at.get("crl_expired", choice(&words)).unwrap_or_default();
    let crl = at.get("crl", path);
    // A default that is written means the same as its absence.
    if crl.is_none() && expired == ExpiredCrl::Accept {
        let hint = "name the list with crl, or remove it";
        at.report("crl_expired", ValueError::new("without effect: there is no crl").hint(hint));
    }
    crl.map(|crl| Revocation { crl, expired })
}
