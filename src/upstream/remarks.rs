//! What is known of some requests of one session besides their replies: how long they waited for a
//! connection, how long the server took, which key they name.
//!
//! Owns: [`Notable`], [`Remark`], [`Remarks`]. Never knows: the meaning of a request, the use of remarks.

use std::ops::Range;
use std::time::Duration;

use crate::base::limits;
use crate::traffic::Ticket;

/// Of which requests anything is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notable {
    /// Requests that took at least so long,
    pub slow: Duration,
    /// and those whose replies have at least so many bytes.
    pub large: usize,
    /// Where in a request the key is that is kept.
    pub key: fn(&[u8]) -> Option<Range<usize>>,
}

impl Notable {
    /// Nothing is kept of any.
    pub(crate) const NONE: Self = Self { slow: Duration::MAX, large: usize::MAX, key: |_| None };

    /// Whether something is kept of a request that took so long and has so large a reply.
    pub(super) fn is_met(&self, took: Duration, size: usize) -> bool {
        took >= self.slow || size >= self.large
    }

    /// Whether anything is kept of those that waited for a connection, or are lost.
    pub(super) fn is_on(&self) -> bool {
        self.slow < Duration::MAX || self.large < usize::MAX
    }

    pub(super) fn key_of(&self, request: &[u8]) -> Option<Box<[u8]>> {
        let range = (self.key)(request)?;
        debug_assert!(range.end <= request.len(), "a key is behind the end of its request");
        Some(request.get(range)?.into())
    }
}

/// What is known of one request.
#[derive(Debug, Default)]
pub struct Remark {
    /// How long it waited for a connection.
    pub waited: Duration,
    /// How long the server took.
    pub took: Option<Duration>,
    /// A key of it, as it was sent.
    pub key: Option<Box<[u8]>>,
}

/// In the order of the tickets, but for requests that moved to another connection.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    list: Vec<(Ticket, Remark)>,
    key_bytes: usize,
}

impl Remarks {
    pub(super) fn add(&mut self, ticket: Ticket, remark: Remark) {
        if self.list.len() < limits::REMARKS_MAX {
            self.key_bytes += remark.key.as_ref().map_or(0, |key| key.len());
            self.list.push((ticket, remark));
        }
        debug_assert!(self.list.len() <= limits::REMARKS_MAX, "it is bounded");
        self.check_counts();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What is known of `ticket`. What is known of earlier ones is forgotten: they are answered.
    pub(super) fn take(&mut self, ticket: Ticket) -> Remark {
        let mut all = Remark::default();
        for (of, remark) in self.list.extract_if(.., |(of, _)| *of <= ticket) {
            self.key_bytes -= remark.key.as_ref().map_or(0, |key| key.len());
            if of < ticket {
                continue;
            }
            all = Remark {
                waited: all.waited + remark.waited,
                took: remark.took.or(all.took),
                key: remark.key.or(all.key),
            };
        }
        if self.list.is_empty() {
            self.list = Vec::new();
        }
        self.check_counts();
        let earlier = |(of, _): &(Ticket, Remark)| *of <= ticket;
        debug_assert!(!self.list.first().is_some_and(earlier), "an answered one is known");
        all
    }

    /// What holds whenever something was added or taken.
    fn check_counts(&self) {
        let keys = self.list.iter().filter_map(|(_, remark)| remark.key.as_ref());
        let bytes = keys.map(|key| key.len()).sum::<usize>();
        debug_assert_eq!(self.key_bytes, bytes, "keys are miscounted");
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.list.capacity() * size_of::<(Ticket, Remark)>() + self.key_bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may crash")]
    use super::*;

    fn of_key(key: &[u8]) -> Remark {
        Remark { key: Some(key.into()), ..Remark::default() }
    }

    #[test]
    fn remarks_of_one_request_are_put_together_and_earlier_ones_are_forgotten() {
        let (mut remarks, second) = (Remarks::default(), Duration::from_secs(1));
        remarks.add(Ticket(1), of_key(b"one"));
        remarks.add(Ticket(2), Remark { waited: second, ..of_key(b"two") });
        remarks.add(Ticket(4), of_key(b"four"));
        remarks.add(Ticket(2), Remark { waited: second, took: Some(second), key: None });
        let two = remarks.take(Ticket(2));
        assert_eq!(
            (two.waited, two.took, two.key),
            (2 * second, Some(second), Some((*b"two").into()))
        );
        assert!(remarks.take(Ticket(3)).key.is_none() && !remarks.is_empty());
        assert_eq!(remarks.take(Ticket(4)).key, Some((*b"four").into()));
        assert!(remarks.is_empty());
        assert_eq!(remarks.held_bytes(), 0);
    }

    #[test]
    fn remarks_are_bounded_and_count_the_bytes_of_their_keys() {
        let mut remarks = Remarks::default();
        for number in 0..2 * limits::REMARKS_MAX as u64 {
            remarks.add(Ticket(number), of_key(&[b'k'; 100]));
        }
        let held = remarks.held_bytes();
        assert!((limits::REMARKS_MAX * 100..limits::REMARKS_MAX * 300).contains(&held), "{held}");
    }
}
