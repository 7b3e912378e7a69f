//! Patterns over key names in the commands that iterate over the keyspace.
//!
//! Owns: where `KEYS` and `SCAN` hold a pattern. Never knows: what a pattern matches.

use super::Spec;
use super::key_position::{KeyError, is_word, narrow, present};
use super::reach::{PatternAt, Reach};
use crate::resp::Request;

/// The arguments of a `KEYS`, `SCAN` or `CLUSTERSCAN` request that are patterns of key names, in
/// order. A server uses the last `MATCH`; a check must look at all. Other commands have
/// none. Clears `out` first.
///
/// # Errors
///
/// When the options do not parse (the server refuses the request) or are not all there yet.
pub(crate) fn scan_match(
    spec: &Spec,
    request: &Request<'_>,
    out: &mut Vec<u32>,
) -> Result<(), KeyError> {
    out.clear();
    let Reach::Scan(at) = spec.reach else { return Ok(()) };
    if at == PatternAt::Argument {
        present(request, 1)?;
        out.push(1);
        return Ok(());
    }
    let mut i = 2;
    while i < request.len() {
        let option = present(request, i)?;
        // Every option of SCAN has one value (db.c, parseScanOptionsOrReply).
        present(request, i + 1)?;
        if is_word(option, b"match") {
            out.push(narrow(i + 1));
        } else if ![&b"count"[..], b"type", b"slot"].iter().any(|word| is_word(option, word)) {
            return Err(KeyError::Syntax);
        }
        i += 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::RequestBuf;

    fn check(line: &str, expected: Result<&[u32], KeyError>) {
        let request = RequestBuf::from_args(line.split(' '));
        let mut out = vec![9];
        let Lookup::Command(spec) = lookup(&request.as_request()) else { unreachable!() };
        let found = scan_match(spec, &request.as_request(), &mut out).map(|()| &out[..]);
        assert_eq!(found, expected, "{line:?}");
    }

    #[test]
    fn every_pattern_is_found_by_position() {
        check("KEYS a*", Ok(&[1]));
        check("SCAN 0", Ok(&[]));
        check("scan 0 match a* COUNT 5 MATCH *", Ok(&[3, 7]));
        check("SCAN 0 COUNT 5 TYPE string", Ok(&[]));
        check("SCAN 0 MATCH MATCH", Ok(&[3]));
        check("SCAN 0 MATCH\0x a*", Ok(&[3]));
        check("CLUSTERSCAN 0 SLOT 5 MATCH a*", Ok(&[5]));
        check("SCAN 0 COUNT MATCH a*", Err(KeyError::Syntax));
        check("SCAN 0 MATCH", Err(KeyError::Syntax));
        check("SCAN 0 NEW a*", Err(KeyError::Syntax));
        check("HSCAN k 0 MATCH f*", Ok(&[]));
        check("KEYS", Err(KeyError::Syntax));
    }
}
