//! The keys that are used most, and those that hold the most, by policy.
//!
//! Owns: [`HotKeys`]: what is sampled, for how long it counts. Never knows: clocks, how keys are shown.

use std::time::{Duration, Instant};

use super::heavy::{Counted, Frequent, Largest};
use crate::base::entropy::Entropy;
use crate::base::limits;
use crate::config;

/// The counters of one thread.
#[derive(Debug)]
pub(crate) struct HotKeys {
    settings: config::HotKeys,
    policies: Vec<OfPolicy>,
    entropy: Entropy,
}

#[derive(Debug)]
struct OfPolicy {
    section: Box<str>,
    now: Frequent,
    since: Instant,
    before: Option<(Frequent, Instant)>,
    big: Largest,
}

/// What was found under one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub section: Box<str>,
    /// How long it was counted.
    pub over: Duration,
    /// Commands that were looked at in this time.
    pub looked_at: u64,
    /// The most frequent first; counts are of commands that were looked at.
    pub hot: Vec<Counted>,
    /// The largest first, in bytes of one value or reply.
    pub big: Vec<(Box<[u8]>, u64)>,
}

impl HotKeys {
    #[must_use]
    pub(crate) fn new(settings: config::HotKeys, seed: u64) -> Self {
        Self { settings, policies: Vec::new(), entropy: Entropy::from_seed(seed) }
    }

    #[must_use]
    pub(crate) const fn settings(&self) -> &config::HotKeys {
        &self.settings
    }

    /// How many commands on the next one is to be looked at: `sample` on the average, at random, so
    /// that traffic with a period shows as it is.
    pub(crate) fn distance(&mut self) -> u64 {
        match self.settings.sample {
            0 => u64::MAX,
            n => 1 + self.entropy.below(2 * n - 1),
        }
    }

    /// A command that was drawn uses this key.
    pub(crate) fn note(&mut self, section: &str, key: &[u8], now: Instant) {
        let places = self.settings.max_keys;
        let Some(of) = self.of(section, now) else { return };
        if now.saturating_duration_since(of.since) >= limits::HOT_KEYS_WINDOW {
            let counted = std::mem::replace(&mut of.now, Frequent::new(places));
            of.before = Some((counted, of.since));
            of.since = now;
        }
        of.now.note(cut(key));
    }

    /// Whether a value or reply of so many bytes is one of interest.
    #[inline]
    #[must_use]
    pub(crate) const fn is_big(&self, bytes: u64) -> bool {
        self.settings.big > 0 && bytes >= self.settings.big
    }

    /// A value or reply of this size belongs to this key.
    pub(crate) fn note_size(&mut self, section: &str, key: &[u8], bytes: u64, now: Instant) {
        if let Some(of) = self.of(section, now) {
            of.big.note(cut(key), bytes);
        }
    }

    fn of(&mut self, section: &str, now: Instant) -> Option<&mut OfPolicy> {
        let section = match self.policies.iter().any(|of| *of.section == *section) {
            false if self.policies.len() >= limits::HOT_KEYS_POLICIES_MAX => "other",
            _ => section,
        };
        let known = self.policies.iter().position(|of| *of.section == *section);
        let at = known.unwrap_or(self.policies.len());
        if known.is_none() {
            let places = self.settings.max_keys;
            self.policies.push(OfPolicy {
                section: section.into(),
                now: Frequent::new(places),
                since: now,
                before: None,
                big: Largest::new(places),
            });
        }
        self.policies.get_mut(at)
    }

    /// Everything that was found and has not ended yet.
    #[must_use]
    pub(crate) fn found(&self, now: Instant) -> Vec<Found> {
        self.policies.iter().map(|of| of.found(now)).collect()
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        self.policies.clear();
    }
}

impl OfPolicy {
    fn found(&self, now: Instant) -> Found {
        // A window that was not ended, because nothing was noted since, is outdated.
        let age = |since| now.saturating_duration_since(since);
        let fresh = age(self.since) < 2 * limits::HOT_KEYS_WINDOW;
        let before = self
            .before
            .as_ref()
            .filter(|(_, since)| fresh && age(*since) < 3 * limits::HOT_KEYS_WINDOW);
        let empty = Frequent::new(1);
        let current = if fresh { &self.now } else { &empty };
        let (counted, since) = before.map_or((&empty, self.since), |(it, since)| (it, *since));
        Found {
            section: self.section.clone(),
            over: if fresh { age(since) } else { Duration::ZERO },
            looked_at: current.noted() + counted.noted(),
            hot: current.merged(counted),
            big: self.big.sorted(),
        }
    }
}

fn cut(key: &[u8]) -> &[u8] {
    key.get(..limits::HOT_KEY_BYTES_MAX).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn hot(sample: u64, big: u64) -> HotKeys {
        HotKeys::new(config::HotKeys { sample, big, max_keys: 4 }, 7)
    }

    fn keys(found: &Found) -> Vec<(&[u8], u64)> {
        found.hot.iter().map(|key| (&*key.item, key.count)).collect()
    }

    #[test]
    fn samples_are_drawn_at_random_distances() {
        for sample in [1, 2, 64] {
            let mut hot = hot(sample, 0);
            let distances: Vec<u64> = (0..1000).map(|_| hot.distance()).collect();
            let (sum, most) = (distances.iter().sum::<u64>(), 2 * sample - 1);
            assert!((sample * 900..=sample * 1100).contains(&sum), "{sample}: {sum}");
            assert!(distances.iter().all(|one| (1..=most).contains(one)), "{sample}");
            assert_eq!(sample > 1, distances.iter().any(|one| *one != distances[0]), "{sample}");
        }
        assert_eq!(hot(0, 9).distance(), u64::MAX);
    }

    #[test]
    fn counts_end_after_a_window_and_policies_do_not_mix() {
        let (mut hot, start) = (hot(1, 0), clock::now());
        hot.note("a", b"old", start);
        hot.note("b", b"other", start);
        hot.note("a", b"new", start + limits::HOT_KEYS_WINDOW);
        let of = |hot: &HotKeys, section: &str, now| {
            hot.found(now).into_iter().find(|of| *of.section == *section).unwrap()
        };
        let found = of(&hot, "a", start + limits::HOT_KEYS_WINDOW);
        assert_eq!(keys(&found), [(&b"new"[..], 1), (b"old", 1)]);
        assert_eq!((found.over, found.looked_at), (limits::HOT_KEYS_WINDOW, 2));
        hot.note("a", b"new", start + 2 * limits::HOT_KEYS_WINDOW);
        assert_eq!(keys(&of(&hot, "a", start + 2 * limits::HOT_KEYS_WINDOW)), [(&b"new"[..], 2)]);
        assert_eq!(keys(&of(&hot, "b", start + limits::HOT_KEYS_WINDOW)), [(&b"other"[..], 1)]);
        assert!(
            of(&hot, "a", start + 9 * limits::HOT_KEYS_WINDOW).hot.is_empty(),
            "nothing of late"
        );
        hot.reset();
        assert!(hot.found(start).is_empty());
    }

    #[test]
    fn policies_beyond_the_cap_share_counters_and_big_keys_are_kept() {
        let (mut hot, now) = (hot(1, 100), clock::now());
        for number in 0..100 {
            hot.note(&format!("p{number}"), b"k", now);
        }
        let found = hot.found(now);
        assert_eq!(found.len(), limits::HOT_KEYS_POLICIES_MAX + 1);
        let other = found.iter().find(|of| &*of.section == "other").unwrap();
        assert_eq!(keys(other), [(&b"k"[..], 100 - limits::HOT_KEYS_POLICIES_MAX as u64)]);
        assert!(hot.is_big(100) && !hot.is_big(99));
        hot.note_size("p0", &[b'x'; 1000], 500, now);
        let big = &hot.found(now)[0].big;
        assert_eq!((big[0].0.len(), big[0].1), (limits::HOT_KEY_BYTES_MAX, 500));
    }
}
