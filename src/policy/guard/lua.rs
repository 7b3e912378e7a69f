//! Writing Lua: texts as literals, patterns of the server as patterns of Lua.
//!
//! Owns: the forms of the language. Never knows: what is written.

use std::fmt::Write as _;

use crate::base::sha1::Sha1;
use crate::policy::pattern::{Pattern, literal_prefix, one};

/// A text as a Lua literal on one line. An `@` is escaped, too: templates mark what is filled in by it.
pub(super) fn quote(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b' '..=b'?' | b'A'..=b'~' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\{byte:03}");
            }
        }
    }
    out.push('"');
    out
}

/// Lua source without comments and on one line. Its texts hold no line break and no `--`.
pub(super) fn compact(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let lines: Vec<&str> =
        lines.filter(|line| !line.is_empty() && !line.starts_with("--")).collect();
    lines.join(" ")
}

/// A number for some texts.
pub(super) fn fingerprint<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let digest = Sha1::of(&texts.into_iter().collect::<Vec<_>>().join(&b"\0"[..])).to_string();
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// A condition that holds when the variable `name` fits the pattern.
pub(super) fn fits(pattern: &Pattern, name: &str) -> String {
    let text = pattern.text();
    let literal = literal_prefix(text);
    let rest = text.get(literal.len()..).unwrap_or_default();
    if rest.is_empty() {
        return format!("{name}=={}", quote(text));
    }
    if rest.iter().all(|byte| *byte == b'*') {
        return match literal.len() {
            0 => format!("{name}~=\"\""),
            length => format!("string.sub({name},1,{length})=={}", quote(literal)),
        };
    }
    format!("({name}~=\"\" and string.find({name},{})~=nil)", quote(&pattern_of(text)))
}

/// A condition that holds when every name that begins with the variable `name` fits the pattern.
pub(super) fn fits_all_behind(pattern: &Pattern, name: &str) -> Option<String> {
    let literal = literal_prefix(pattern.text());
    let rest = pattern.text().get(literal.len()..).unwrap_or_default();
    let is_prefix = !rest.is_empty() && rest.iter().all(|byte| *byte == b'*');
    is_prefix.then(|| match literal.len() {
        0 => "true".to_owned(),
        length => format!("string.sub({name},1,{length})=={}", quote(literal)),
    })
}

/// A glob of the server as a pattern of Lua, anchored at both ends. What one element of the glob fits
/// is asked byte by byte of the glob's own reading.
fn pattern_of(glob: &[u8]) -> Vec<u8> {
    let mut out = vec![b'^'];
    let mut rest = glob;
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(b"*") {
            if !out.ends_with(b".*") {
                out.extend_from_slice(b".*");
            }
            rest = behind;
            continue;
        }
        let fitting: Vec<u8> =
            (0..=u8::MAX).filter(|byte| one(rest, Some(*byte)).is_some()).collect();
        let behind = fitting.first().and_then(|byte| one(rest, Some(*byte)));
        let Some(behind) = behind else {
            // A class without members: nothing fits.
            return b"^[^%z\x01-\xff]$".to_vec();
        };
        write_class(&fitting, &mut out);
        rest = behind;
    }
    out.push(b'$');
    out
}

fn write_class(members: &[u8], out: &mut Vec<u8>) {
    match members {
        [byte] => write_byte(*byte, out),
        _ if members.len() == 256 => out.push(b'.'),
        _ => {
            out.push(b'[');
            members.iter().for_each(|byte| write_byte(*byte, out));
            out.push(b']');
        }
    }
}

fn write_byte(byte: u8, out: &mut Vec<u8>) {
    if byte == 0 {
        return out.extend_from_slice(b"%z");
    }
    if byte.is_ascii_punctuation() {
        out.push(b'%');
    }
    out.push(byte);
}
