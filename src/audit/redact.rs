//! What of a key an audit entry shows.
//!
//! Owns: [`Redaction`]. Never knows: which command names the key. There is no function for values.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base::hex::hex;
use crate::base::limits;
use crate::base::secret::Secret;
use crate::config::KeyForm;

/// Bytes that end the first part of a key's name, as `respgate learn` has them.
const SEPARATORS: &[u8] = b":/.|";

/// How keys are written.
#[derive(Clone, Debug)]
pub(crate) struct Redaction {
    form: KeyForm,
    key: Option<Secret>,
}

impl Redaction {
    #[must_use]
    pub(crate) const fn new(form: KeyForm, key: Option<Secret>) -> Self {
        Self { form, key }
    }

    /// The text for a key; `None`: it is left out.
    #[must_use]
    pub(crate) fn show(&self, name: &[u8]) -> Option<String> {
        match self.form {
            KeyForm::Drop => None,
            KeyForm::Plain => Some(plain(name)),
            KeyForm::Prefix => Some(prefix(name)),
            KeyForm::Hmac => Some(self.hash(name)),
        }
    }

    /// `hmac:` and 32 hexadecimal digits: the same for the same key and key file.
    #[must_use]
    pub(crate) fn hash(&self, name: &[u8]) -> String {
        let key = self.key.as_ref().map_or(&b""[..], Secret::expose);
        let digest: [u8; 32] = Hmac::<Sha256>::new_from_slice(key)
            .map_or([0; 32], |hmac| hmac.chain_update(name).finalize().into_bytes().into());
        let short = digest.get(..16).unwrap_or_default();
        format!("hmac:{}", hex(short))
    }
}

/// Bytes that are not printable ASCII are escaped.
fn plain(name: &[u8]) -> String {
    let shown = name.get(..limits::AUDIT_NAME_BYTES_MAX).unwrap_or(name).escape_ascii().to_string();
    if name.len() > limits::AUDIT_NAME_BYTES_MAX { format!("{shown}…") } else { shown }
}

fn prefix(name: &[u8]) -> String {
    match name.iter().position(|byte| SEPARATORS.contains(byte)) {
        Some(at) if at < limits::AUDIT_NAME_BYTES_MAX => {
            format!("{}*", name.get(..=at).unwrap_or_default().escape_ascii())
        }
        Some(_) | None => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_in_the_configured_form() {
        let key = || Some(Secret::new(vec![7; 32]));
        let show = |form, name: &[u8]| Redaction::new(form, key()).show(name);
        assert_eq!(show(KeyForm::Drop, b"user:1"), None);
        assert_eq!(show(KeyForm::Plain, b"user:\n1").as_deref(), Some("user:\\n1"));
        assert_eq!(show(KeyForm::Prefix, b"user:alice:1").as_deref(), Some("user:*"));
        assert_eq!(show(KeyForm::Prefix, b"secret-without-parts").as_deref(), Some("*"));
        let (one, two) = (show(KeyForm::Hmac, b"user:1"), show(KeyForm::Hmac, b"user:2"));
        assert!(one != two && one == show(KeyForm::Hmac, b"user:1"));
        assert!(one.is_some_and(|text| text.len() == 37 && !text.contains("user")));
        let long = show(KeyForm::Plain, &[b'a'; 4096]).unwrap_or_default();
        assert!(long.len() < 200 && long.ends_with('…'));
    }
}
