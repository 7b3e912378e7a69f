//! Keys that options name: each command's options are read one by one, as the server reads them.
//!
//! Owns: the options of eleven commands. Never knows: the table.
//!
//! Words are never searched for: `SORT l BY STORE STORE k` has one `STORE`. Where the server heeds
//! the last of two options, both count here.

use super::key_position::{Access, KeyError, KeyKind, KeyPosition, is_word, narrow, present, push};
use crate::resp::Request;

pub(super) fn set(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let mut access = Access::WRITE;
    for arg in 3..request.len() {
        if is_word(present(request, arg)?, b"get") {
            access = Access::READ_WRITE;
        }
    }
    push(request, 1, KeyKind::Key, access, out)
}

pub(super) fn bitfield(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let mut access = Access::READ;
    let mut arg = 2;
    while arg < request.len() {
        let operation = present(request, arg)?;
        if is_word(operation, b"get") && arg + 2 < request.len() {
            arg += 3;
        } else if is_word(operation, b"overflow") && arg + 1 < request.len() {
            arg += 2;
        } else {
            access = Access::READ_WRITE;
            break;
        }
    }
    push(request, 1, KeyKind::Key, access, out)
}

/// sort.c, `sortCommandGeneric`. Every `STORE` counts, although the server heeds the last.
pub(super) fn sort(
    request: &Request<'_>,
    store: bool,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    push(request, 1, KeyKind::Key, Access::READ, out)?;
    let mut arg = 2;
    while arg < request.len() {
        let option = present(request, arg)?;
        if is_word(option, b"asc") || is_word(option, b"desc") || is_word(option, b"alpha") {
            arg += 1;
        } else if is_word(option, b"limit") {
            present(request, arg + 2)?;
            arg += 3;
        } else if is_word(option, b"store") && store {
            push(request, arg + 1, KeyKind::Key, Access::WRITE, out)?;
            arg += 2;
        } else if is_word(option, b"by") || is_word(option, b"get") {
            let pattern = present(request, arg + 1)?;
            if let Some(len) = key_part(pattern) {
                let (arg, len) = (narrow(arg + 1), narrow(len));
                let (kind, access) = (KeyKind::KeyPattern, Access::READ);
                out.push(KeyPosition { arg, start: 0, len, kind, access });
            }
            arg += 2;
        } else {
            return Err(KeyError::Syntax);
        }
    }
    Ok(())
}

/// How much of a pattern of `SORT` becomes a key: nothing when it has no `*` (`#`, `nosort`), else
/// what is before `->field` (sort.c, `lookupKeyByPattern`, on C strings).
fn key_part(pattern: &[u8]) -> Option<usize> {
    let text = pattern.split(|byte| *byte == 0).next().unwrap_or_default();
    let star = text.iter().position(|byte| *byte == b'*')?;
    let rest = text.get(star + 1..).unwrap_or_default();
    let arrow = rest.windows(2).position(|pair| pair == b"->");
    match arrow {
        Some(at) if at + 2 < rest.len() => Some(star + 1 + at),
        Some(_) | None => Some(pattern.len()),
    }
}

/// geo.c, `georadiusGeneric`. Every `STORE` and `STOREDIST` counts, although the server heeds the
/// last.
pub(super) fn geo_store(
    request: &Request<'_>,
    options: usize,
    out: &mut Vec<KeyPosition>,
) -> Result<(), KeyError> {
    push(request, 1, KeyKind::Key, Access::READ, out)?;
    let mut arg = options;
    while arg < request.len() {
        let option = present(request, arg)?;
        if is_word(option, b"count") {
            present(request, arg + 1)?;
            arg += 2;
        } else if is_word(option, b"store") || is_word(option, b"storedist") {
            push(request, arg + 1, KeyKind::Key, Access::WRITE, out)?;
            arg += 2;
        } else if [&b"withdist"[..], b"withhash", b"withcoord", b"any", b"asc", b"desc"]
            .iter()
            .any(|word| is_word(option, word))
        {
            arg += 1;
        } else {
            return Err(KeyError::Syntax);
        }
    }
    Ok(())
}

/// Where the keys of `XREAD` and `XREADGROUP` begin: the argument after `STREAMS`. Passes each
/// `BLOCK` value on the way (t_stream.c, `xreadCommand`).
///
/// # Errors
///
/// When an option is not known, or what decides is not there.
pub(crate) fn streams_begin<'a>(
    request: &Request<'a>,
    mut block: impl FnMut(&'a [u8]),
) -> Result<usize, KeyError> {
    let mut arg = 1;
    loop {
        let option = present(request, arg)?;
        if is_word(option, b"streams") {
            return Ok(arg + 1);
        } else if is_word(option, b"block") {
            block(present(request, arg + 1)?);
            arg += 2;
        } else if [&b"count"[..], b"claim", b"maxcount", b"maxsize"]
            .iter()
            .any(|word| is_word(option, word))
        {
            present(request, arg + 1)?;
            arg += 2;
        } else if is_word(option, b"group") {
            present(request, arg + 2)?;
            arg += 3;
        } else if is_word(option, b"noack") {
            arg += 1;
        } else {
            return Err(KeyError::Syntax);
        }
    }
}

pub(super) fn streams(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let first = streams_begin(request, |_| ())?;
    let rest = request.len().saturating_sub(first);
    // The server's ACL looks at half of them, whether or not there are as many ids.
    (first..first + rest / 2)
        .try_for_each(|arg| push(request, arg, KeyKind::Key, Access::READ, out))?;
    if rest == 0 || rest % 2 != 0 { Err(KeyError::Syntax) } else { Ok(()) }
}

/// cluster.c, `migrateCommand`: `MIGRATE host port key|"" db timeout [options] [KEYS key …]`.
pub(super) fn migrate(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let (kind, access) = (KeyKind::Key, Access::READ_WRITE);
    let single = present(request, 3)?;
    let mut arg = 6;
    while arg < request.len() {
        let option = present(request, arg)?;
        if is_word(option, b"copy") || is_word(option, b"replace") {
            arg += 1;
        } else if is_word(option, b"auth") {
            present(request, arg + 1)?;
            arg += 2;
        } else if is_word(option, b"auth2") {
            present(request, arg + 2)?;
            arg += 3;
        } else if is_word(option, b"keys") && single.is_empty() {
            present(request, arg + 1)?;
            return (arg + 1..request.len())
                .try_for_each(|arg| push(request, arg, kind, access, out));
        } else {
            return Err(KeyError::Syntax);
        }
    }
    push(request, 3, kind, access, out)
}

/// debug.c: subcommands are not in the servers' own table.
pub(super) fn debug(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let subcommand = present(request, 1)?;
    let one = [&b"object"[..], b"sdslen", b"ziplist", b"listpack", b"quicklist", b"htstats-key"];
    if is_word(subcommand, b"digest-value") {
        (2..request.len()).try_for_each(|arg| push(request, arg, KeyKind::Key, Access::READ, out))
    } else if one.iter().any(|word| is_word(subcommand, word)) && request.len() > 2 {
        push(request, 2, KeyKind::Key, Access::READ, out)
    } else {
        Ok(())
    }
}

/// networking.c, `clientCommand`: `CLIENT TRACKING ON|OFF [options]`.
pub(super) fn tracking(request: &Request<'_>, out: &mut Vec<KeyPosition>) -> Result<(), KeyError> {
    let mut broadcast = None;
    let mut arg = 3;
    while arg < request.len() {
        let option = present(request, arg)?;
        if is_word(option, b"prefix") {
            push(request, arg + 1, KeyKind::KeyPrefix, Access::READ, out)?;
            arg += 2;
        } else if is_word(option, b"redirect") {
            present(request, arg + 1)?;
            arg += 2;
        } else {
            if is_word(option, b"bcast") {
                broadcast = Some(narrow(request.len()));
            } else if ![&b"optin"[..], b"optout", b"noloop"]
                .iter()
                .any(|word| is_word(option, word))
            {
                return Err(KeyError::Syntax);
            }
            arg += 1;
        }
    }
    if let Some(arg) = broadcast
        && out.is_empty()
    {
        let (kind, access) = (KeyKind::KeyPrefix, Access::READ);
        out.push(KeyPosition { arg, start: 0, len: 0, kind, access });
    }
    Ok(())
}
