//! A guarded script in its request: the changes that were prepared become edits.
//!
//! Owns: [`apply`]. Never knows: which scripts are known.

use std::sync::Arc;

use super::edits::Edits;
use super::guard::Shaped;
use super::names::{Prefix, Strip};

/// A script that no server has: it answers `NOSCRIPT`, and `0` to `SCRIPT EXISTS`.
const NONE: &[u8; 40] = b"0000000000000000000000000000000000000000";

/// Notes the changes; what is to be done with the reply.
pub(super) fn apply(
    shaped: &Shaped,
    strip: Option<Strip>,
    prefix: Option<&Arc<Prefix>>,
    edits: &mut Edits,
) -> Option<Strip> {
    let (digests, loads) = match shaped {
        Shaped::No => return strip,
        Shaped::Text { arg, text, digests, loads } => {
            edits.replace(*arg, text);
            (digests, *loads)
        }
        Shaped::Called { digests, read_only } => {
            edits.replace(0, if *read_only { b"EVALSHA_RO" } else { b"EVALSHA" });
            edits.replace(1, &digests.server);
            (digests, false)
        }
        Shaped::Spelled { text, digests, read_only } => {
            edits.replace(0, if *read_only { b"EVAL_RO" } else { b"EVAL" });
            edits.replace(1, text);
            (digests, false)
        }
        Shaped::Named(None) => {
            edits.replace(1, NONE);
            return strip;
        }
        Shaped::Named(Some(digests)) => {
            edits.replace(1, &digests.server);
            (digests, false)
        }
        Shaped::Asked(names) => {
            for (arg, name) in (2..).zip(names) {
                match name {
                    Some(digests) => edits.replace(arg, &digests.server),
                    None => edits.replace(arg, NONE),
                }
            }
            return strip;
        }
    };
    let own = || Arc::new(Prefix::new(b""));
    let strip = strip.unwrap_or_else(|| Strip::of_errors(prefix.map_or_else(own, Arc::clone)));
    Some(strip.with_digests(Arc::clone(digests), loads))
}
