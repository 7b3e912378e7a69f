//! Where every decision of a test comes from: a seed, or the bytes of a fuzzer.
//!
//! Owns: [`Choices`]. Never knows: what is decided.

use std::collections::VecDeque;

use respgate::internals::base::entropy::Entropy;

/// The same seed, or the same bytes, make the same decisions.
#[derive(Clone, Debug)]
pub struct Choices {
    entropy: Entropy,
    /// Taken from the front before chance decides.
    bytes: Option<VecDeque<u8>>,
}

#[allow(dead_code, reason = "a seed for tests, bytes for the fuzzer")]
impl Choices {
    pub fn from_seed(seed: u64) -> Self {
        Self { entropy: Entropy::from_seed(seed), bytes: None }
    }

    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { entropy: Entropy::from_seed(0), bytes: Some(bytes.iter().copied().collect()) }
    }

    /// Whether the bytes are used up; a seed never is.
    pub fn exhausted(&self) -> bool {
        self.bytes.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        match self.bytes.as_mut().map(VecDeque::pop_front) {
            Some(Some(byte)) => usize::from(byte) % bound.max(1),
            Some(None) => 0,
            None => usize::try_from(self.entropy.below(bound as u64)).unwrap(),
        }
    }

    /// True in `percent` of 100 calls.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// An index, drawn in proportion to the weights.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        0
    }
}
