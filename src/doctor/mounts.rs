//! The files that are mounts of their own, according to `/proc/self/mountinfo`.
//!
//! Owns: [`mount_points`]. Never knows: files, what follows from a mount.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Where something is mounted.
pub(super) fn mount_points(mountinfo: &str) -> BTreeSet<PathBuf> {
    let fields = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(|field| PathBuf::from(unescaped(field))).collect()
}

/// Blanks, tabs, line ends and backslashes are written as a backslash with three octal digits.
fn unescaped(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| first == b'\\');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_the_fifth_field_unescaped() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 22 8:1 /lib/kubelet/x /etc/tls/tls.crt ro,relatime - ext4 /dev/sda1 rw\n\
            41 22 0:5 / /mnt/a\\040b\\134c rw - tmpfs tmpfs rw\nodd\n";
        let expected = ["/", "/etc/tls/tls.crt", "/mnt/a b\\c"].map(PathBuf::from);
        assert_eq!(mount_points(text), BTreeSet::from(expected));
        assert!(mount_points("").is_empty());
    }
}
