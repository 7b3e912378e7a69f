//! Requests that hold a secret: no copy of one is left in memory that is given back.
//!
//! Owns: [`Secrets`]: how their bytes are wiped. Never knows: what the secret is, the line.

use bytes::BytesMut;
use zeroize::Zeroize;

/// How many requests in line hold a secret.
#[derive(Debug, Default)]
pub(super) struct Secrets(usize);

impl Secrets {
    pub(super) const fn count(&self) -> usize {
        self.0
    }

    /// A request with a secret is put in line.
    pub(super) const fn note_pushed(&mut self) {
        self.0 += 1;
    }

    /// Makes room in `bytes`. A buffer that grows by itself leaves a copy behind.
    #[inline]
    pub(super) fn grow(&self, bytes: &mut BytesMut, more: usize) {
        if self.0 == 0 || bytes.capacity() - bytes.len() >= more {
            return;
        }
        let mut larger = BytesMut::with_capacity((bytes.len() + more) * 2);
        larger.extend_from_slice(bytes);
        self.wipe(std::mem::replace(bytes, larger));
        debug_assert!(bytes.capacity() - bytes.len() >= more, "it would grow by itself");
    }

    /// Wipes bytes that were copied, if any of them may be secret.
    pub(super) fn wipe(&self, mut old: BytesMut) {
        if self.0 > 0 {
            old.zeroize();
        }
    }

    /// The first `len` of `bytes`, a request with a secret, are needed no longer.
    pub(super) fn wipe_front(&mut self, bytes: &mut BytesMut, len: usize) {
        debug_assert!(self.0 > 0, "it was counted");
        debug_assert!(len <= bytes.len(), "it is there as a whole");
        self.0 = self.0.saturating_sub(1);
        if let Some(bytes) = bytes.get_mut(..len) {
            bytes.zeroize();
        }
    }

    /// No request with a secret outlives its connection.
    pub(super) fn clear(&mut self) {
        self.0 = 0;
    }
}
