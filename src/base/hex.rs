//! Bytes as hexadecimal digits.
//!
//! Owns: [`hex`], [`unhex`]. Never knows: what the bytes are.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// Two lower-case digits a byte.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Exactly `N` bytes, from digits of either case.
#[must_use]
pub(crate) fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_digits_each() {
        assert_eq!(hex(&[0, 0x0a, 0xff]), "000aff");
        assert_eq!(hex(&[]), "");
        assert_eq!(unhex(b"000aff"), Some([0, 0x0a, 0xff]));
        assert_eq!(unhex(b"000AfF"), Some([0, 0x0a, 0xff]));
        for wrong in ["", "000af", "000aff0", "000aff00", "000ag0", "000a\u{e9}"] {
            assert_eq!(unhex::<3>(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
