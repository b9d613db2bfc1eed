//! What is stored: the same for every contender, made from numbers alone.
//!
//! The peers' program is built from this file too.

#![allow(dead_code, reason = "each program uses its part")]

/// A small generator of numbers (SplitMix64), so that every run is the same.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// The key of an item.
pub(crate) fn key(number: u64) -> String {
    format!("item/{number:08}")
}

/// The key of an item that is written while the clock runs.
pub(crate) fn written_key(round: &str, task: u64, number: u64) -> String {
    format!("written/{round}/{task:03}/{number:06}")
}

/// The body of an item: bytes that no compression makes smaller.
pub(crate) fn body(number: u64, size: usize) -> Vec<u8> {
    let mut numbers = Numbers::from_seed(number);
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// `count` places below `length`, in random order with repeats.
pub(crate) fn order(length: usize, count: u64, seed: u64) -> Vec<usize> {
    let mut numbers = Numbers::from_seed(seed);
    let bound = u64::try_from(length).unwrap_or(u64::MAX);
    (0..count)
        .filter_map(|_| usize::try_from(numbers.below(bound)).ok())
        .collect()
}
