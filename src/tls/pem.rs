//! In which way a PEM file is not what it should be, in words that hold nothing of the file.
//!
//! Owns: [`Block`], [`blocks`], [`parts`], [`is_whole`], [`damage`]. Never knows: what the blocks are used for.
//!
//! Every text here is a constant, but for the path: what a file holds may be a private key.

use std::path::Path;

use super::error::{Fault, TlsError};

/// The kinds of block that files in circulation hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Certificate,
    TrustedCertificate,
    Request,
    RevocationList,
    Key,
    EncryptedKey,
    PublicKey,
    OpenSsh,
    Parameters,
    Pkcs7,
    Other,
}

impl Block {
    fn of(label: &[u8]) -> Self {
        match label {
            b"CERTIFICATE" => Self::Certificate,
            b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" => Self::TrustedCertificate,
            b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST" => Self::Request,
            b"X509 CRL" => Self::RevocationList,
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => Self::Key,
            b"ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            b"PUBLIC KEY" | b"RSA PUBLIC KEY" => Self::PublicKey,
            b"OPENSSH PRIVATE KEY" => Self::OpenSsh,
            b"EC PARAMETERS" | b"DH PARAMETERS" => Self::Parameters,
            b"PKCS7" | b"CMS" => Self::Pkcs7,
            _ => Self::Other,
        }
    }

    /// What the block is, for a person.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "a certificate",
            Self::TrustedCertificate => "a certificate in OpenSSL's own form (TRUSTED CERTIFICATE)",
            Self::Request => "a certificate request (CSR)",
            Self::RevocationList => "a list of revoked certificates (CRL)",
            Self::Key => "a private key",
            Self::EncryptedKey => "an encrypted private key",
            Self::PublicKey => "a public key",
            Self::OpenSsh => "a key in the form of OpenSSH",
            Self::Parameters => "key parameters",
            Self::Pkcs7 => "certificates in a PKCS #7 block",
            Self::Other => "a block of another kind",
        }
    }

    /// How to come from this block to the one that is wanted.
    pub(super) const fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::TrustedCertificate => "convert it with: openssl x509 -in FILE -out FILE.pem",
            Self::Request => {
                "have the request signed by the CA, and name the certificate that comes back"
            }
            Self::PublicKey => {
                "name the file with -----BEGIN PRIVATE KEY-----; it was written when the key was made"
            }
            Self::OpenSsh => "convert a copy of it with: ssh-keygen -p -N '' -m PEM -f COPY",
            Self::Parameters => {
                "the file lacks the key itself; make one with: openssl ecparam -name prime256v1 -genkey -noout"
            }
            Self::Pkcs7 => "convert it with: openssl pkcs7 -in FILE -print_certs -out FILE.pem",
            Self::Certificate
            | Self::RevocationList
            | Self::Key
            | Self::EncryptedKey
            | Self::Other => return None,
        })
    }
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// The blocks that begin on a line of their own, in their order.
pub(super) fn blocks(pem: &[u8]) -> Vec<Block> {
    lines(pem).filter_map(|line| label(line, BEGIN)).map(Block::of).collect()
}

/// Each block with its bytes, from its line BEGIN to its line END (or to the next BEGIN, where that is
/// missing).
pub(super) fn parts(pem: &[u8]) -> Vec<(Block, &[u8])> {
    let mut parts: Vec<(Block, usize, usize)> = Vec::new();
    let (mut at, mut open) = (0, false);
    for line in pem.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let bare = line.trim_ascii_end();
        if let Some(name) = label(bare, BEGIN) {
            parts.push((Block::of(name), at, at));
            open = true;
        }
        at += line.len();
        if let Some((_, _, end)) = parts.last_mut().filter(|_| open) {
            *end = at;
        }
        open &= label(bare, END).is_none();
    }
    parts.into_iter().filter_map(|(block, from, to)| Some((block, pem.get(from..to)?))).collect()
}

/// Whether a part ends with its line END.
pub(super) fn is_whole(part: &[u8]) -> bool {
    lines(part.trim_ascii_end()).last().is_some_and(|line| label(line, END).is_some())
}

fn lines(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    pem.split(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The name in a line that is nothing but a mark.
fn label<'a>(line: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let label = line.trim_ascii_end().strip_prefix(mark)?.strip_suffix(DASHES)?;
    (!find(label, b"--")).then_some(label)
}

fn find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// What is wrong, and what to do.
pub(super) type Damage = (&'static str, &'static str);

const AGAIN: &str = "copy the file again from where it was issued, as a whole";

/// Why no block can be read from `pem`: in the order in which one fault hides the next.
pub(super) fn damage(pem: &[u8]) -> Damage {
    binary(pem).or_else(|| wrapped(pem)).or_else(|| armor(pem)).unwrap_or_else(|| body(pem))
}

/// Not a text at all, or not a plain one.
fn binary(pem: &[u8]) -> Option<Damage> {
    Some(match pem {
        [] => ("it is empty", "write the PEM text into it"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            ("it is UTF-16 text", "save it as plain text: iconv -f UTF-16 -t ASCII FILE > FILE.pem")
        }
        [0xef, 0xbb, 0xbf, ..] => (
            "it begins with a byte order mark",
            "save it without the mark: tail -c +4 FILE > FILE.pem",
        ),
        [0xfe, 0xed, 0xfe, 0xed, ..] => (
            "it is a Java keystore, not PEM",
            "convert it with: keytool -importkeystore -srckeystore FILE -destkeystore FILE.p12 -deststoretype PKCS12; openssl pkcs12 -in FILE.p12 -nodes",
        ),
        [0x30, 0x80..=0x84, ..] if pem.get(4..7) == Some(&[2, 1, 3]) => (
            "it is PKCS #12 (.p12, .pfx), not PEM",
            "convert it with: openssl pkcs12 -in FILE -nodes -out FILE.pem",
        ),
        [0x30, 0x80..=0x84, ..] | [0x30, _, 2 | 0x30, ..] => (
            "it is DER, not PEM",
            "convert a certificate with: openssl x509 -inform der -in FILE -out FILE.pem, a key with: openssl pkey -inform der -in FILE -out FILE.pem",
        ),
        _ if pem.trim_ascii().is_empty() => ("it is empty", "write the PEM text into it"),
        _ if pem.contains(&0) => ("it is not text", AGAIN),
        _ => return None,
    })
}

/// PEM within something else.
fn wrapped(pem: &[u8]) -> Option<Damage> {
    let text = pem.trim_ascii_start();
    if text.starts_with(b"{") || text.starts_with(b"[") {
        let fix = "write the PEM text alone: jq -r .FIELD FILE > FILE.pem";
        return Some(("it is JSON around the PEM text", fix));
    }
    // The base64 of five dashes.
    if text.starts_with(b"LS0tLS1CRUdJT") {
        let fix = "decode it: base64 -d FILE > FILE.pem; in a Kubernetes Secret, encode it once under data or write it as it is under stringData";
        return Some(("it is PEM that was encoded in base64 once more", fix));
    }
    if find(pem, b"\\n") {
        let fix = "write real line ends: printf '%b' \"$TEXT\" > FILE";
        return Some(("its line ends are the two characters \\n instead of line ends", fix));
    }
    if text.starts_with(b"\"") || text.starts_with(b"'") {
        return Some(("there are quotes around the PEM text", "remove the quotes"));
    }
    None
}

/// The lines that begin and end a block.
fn armor(pem: &[u8]) -> Option<Damage> {
    if !find(pem, b"BEGIN ") {
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n \t".contains(byte);
        return Some(if pem.iter().all(base64) && pem.len() >= 64 {
            (
                "it is base64 without the lines that begin and end it",
                "put -----BEGIN CERTIFICATE----- (or PRIVATE KEY) before it and the END line behind it",
            )
        } else if find(pem, b"ssh-") || find(pem, b"ecdsa-sha2-") {
            ("it is a public key in the form of OpenSSH", "name a PEM file")
        } else if find(pem, b"-----END ") {
            ("the line -----BEGIN …----- is missing", AGAIN)
        } else {
            ("it is not PEM", "name a file with -----BEGIN …-----")
        });
    }
    for line in lines(pem).filter(|line| find(line, b"BEGIN ")) {
        let begin = line.trim_ascii();
        let tail = begin.strip_prefix(BEGIN);
        let Some(tail) = tail else {
            return Some(if begin.starts_with(BEGIN.trim_ascii_end()) || !find(begin, BEGIN) {
                ("a line BEGIN has not five dashes on both sides", AGAIN)
            } else {
                ("other text is before -----BEGIN on its line", "begin the line with -----BEGIN")
            });
        };
        if label(begin, BEGIN).is_none() {
            return Some(if find(tail, DASHES) {
                (
                    "its line ends are missing or became blanks",
                    "keep them: quote the variable when you write it (printf '%s\\n' \"$TEXT\" > FILE), or use a block (|) in YAML",
                )
            } else {
                ("a line BEGIN has not five dashes on both sides", AGAIN)
            });
        }
        if line.first() != begin.first() {
            let fix = "remove the blanks at the beginning of each line: sed 's/^[[:blank:]]*//' FILE > FILE.pem";
            return Some(("its lines are indented", fix));
        }
    }
    None
}

/// What is between those lines.
fn body(pem: &[u8]) -> Damage {
    let mut open: Option<&[u8]> = None;
    for line in lines(pem) {
        match (open, label(line, BEGIN), label(line.trim_ascii_start(), END)) {
            (Some(_), Some(_), _) => {
                return ("a block is cut off: its line -----END …----- is missing", AGAIN);
            }
            (_, Some(name), _) => open = Some(name),
            (Some(name), _, Some(other)) if name != other => {
                return ("a block begins with one name and ends with another", AGAIN);
            }
            (_, _, Some(_)) => open = None,
            (Some(_), None, None) if line.iter().any(|byte| !is_body(*byte)) => {
                return ("a block holds characters that are not base64", AGAIN);
            }
            _ => {}
        }
    }
    if open.is_some() {
        return ("it is cut off: the line -----END …----- is missing", AGAIN);
    }
    ("a block is damaged: its base64 does not end where it should", AGAIN)
}

/// Base64, blanks, and the headers of old encrypted keys.
fn is_body(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/= \t:,-".contains(&byte)
}

/// What is wrong with a file of which a part cannot be read; of the file itself nothing is repeated.
pub(super) fn damaged(fault: Fault, pem: &[u8], path: &Path) -> TlsError {
    let (what, fix) = damage(pem);
    TlsError::new(fault, path.display(), format!("damaged PEM: {what}")).advise(fix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAA\n\
        AAAAAAAAAAAAAAAAAAAAAAAAAAE=\n-----END PRIVATE KEY-----\n";

    #[test]
    fn damaged_text_is_named_by_its_kind() {
        let body = KEY.lines().nth(1).unwrap_or_default();
        for (text, expected) in [
            (String::new(), "it is empty"),
            (" \n\n".to_owned(), "it is empty"),
            (format!("\u{feff}{KEY}"), "byte order mark"),
            (KEY.replace('\n', " "), "became blanks"),
            (KEY.replace('\n', ""), "became blanks"),
            (KEY.replace('\n', "\\n"), "two characters \\n"),
            (format!("{{\"key\": {KEY:?}}}"), "JSON"),
            (format!("\"{KEY}\""), "quotes around"),
            (KEY.replace("-----BEGIN", "  -----BEGIN"), "indented"),
            (format!("key: {KEY}"), "before -----BEGIN"),
            (KEY.replace("-----BEGIN", "---BEGIN"), "five dashes"),
            (KEY.replace("KEY-----\nM", "KEY---\nM"), "five dashes"),
            (KEY.replace("-----BEGIN PRIVATE KEY-----\n", ""), "BEGIN …----- is missing"),
            (KEY.replace("-----END PRIVATE KEY-----\n", ""), "cut off"),
            (KEY.replace("END PRIVATE", "END PUBLIC"), "ends with another"),
            (KEY.replace("MIGH", "M!GH"), "not base64"),
            (KEY.replace("AAE=", "AAAE="), "base64 does not end"),
            (body.repeat(2), "base64 without the lines"),
            ("LS0tLS1CRUdJTiBQUklWQVRF".to_owned(), "base64 once more"),
            ("ssh-ed25519 AAAA".to_owned(), "OpenSSH"),
            ("hello".to_owned(), "not PEM"),
        ] {
            let (what, fix) = damage(text.as_bytes());
            assert!(what.contains(expected), "{text}: {what}");
            assert!(!fix.is_empty());
        }
        for (bytes, expected) in [
            (&[0xff, 0xfe, b'-', 0][..], "UTF-16"),
            (&[0x30, 0x82, 1, 2, 0x30, 0x82], "DER"),
            (&[0x30, 0x82, 1, 2, 2, 1, 3, 0x30], "PKCS #12"),
            (&[0xfe, 0xed, 0xfe, 0xed], "Java"),
            (&[b'a', 0, b'b'], "not text"),
        ] {
            assert!(damage(bytes).0.contains(expected), "{bytes:?}");
        }
    }

    #[test]
    fn parts_are_whole_blocks_without_what_is_between() {
        let text = format!("Subject: x\n{KEY}\r\nBag\n{KEY}");
        let parts = parts(text.as_bytes());
        assert_eq!(parts, [(Block::Key, KEY.as_bytes()); 2]);
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        let text = format!("{cut}{KEY}");
        let expected = [(Block::Certificate, cut.as_bytes()), (Block::Key, KEY.as_bytes())];
        assert_eq!(super::parts(text.as_bytes()), expected);
    }

    #[test]
    fn names_of_blocks_are_taken_from_whole_lines_alone() {
        assert_eq!(blocks(KEY.as_bytes()), [Block::Key]);
        assert_eq!(blocks(KEY.replace('\n', "\r\n").as_bytes()), [Block::Key]);
        assert_eq!(blocks(KEY.replace('\n', " ").as_bytes()), []);
    }
}
