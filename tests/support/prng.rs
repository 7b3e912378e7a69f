//! A small generator whose numbers follow from its seed alone (SplitMix64).
//!
//! Owns: [`Prng`]. Never knows: what is chosen with it.

use respgate::internals::base::entropy::Entropy;

/// The same seed gives the same choices on every machine.
#[derive(Debug, Clone)]
pub struct Prng(Entropy);

impl Prng {
    pub fn new(seed: u64) -> Self {
        Self(Entropy::from_seed(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; `bound` is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
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
        unreachable!("the draw is below the sum")
    }
}
