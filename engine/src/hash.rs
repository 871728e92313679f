//! Hashes that mean the same on every machine, in every build and every year: key groups and digests are
//! persisted, so they may not follow the standard library's choices.
//!
//! [`StableHasher`] is a `std::hash::Hasher` with fixed widths and byte order: integers are mixed as 64-bit
//! words (`usize` as `u64`), byte strings through XXH3.

use crate::ids::KeyGroup;
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A fixed, build-independent hasher.
#[derive(Clone, Copy, Debug, Default)]
pub struct StableHasher {
    state: u64,
}

impl StableHasher {
    /// A hasher that starts from `seed`.
    pub fn with_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    #[inline]
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(0xa076_1d64_78bd_642f_u64);
        self.state = ((product as u64) ^ ((product >> 64) as u64)).wrapping_add(MULTIPLIER);
    }
}

impl Hasher for StableHasher {
    #[inline]
    fn finish(&self) -> u64 {
        // The finaliser of MurmurHash3: every input bit reaches every output bit.
        let mut hash = self.state;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.state = xxh3_64_with_seed(bytes, self.state);
    }

    #[inline]
    fn write_u8(&mut self, n: u8) {
        self.mix(u64::from(n));
    }
    #[inline]
    fn write_u16(&mut self, n: u16) {
        self.mix(u64::from(n));
    }
    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.mix(u64::from(n));
    }
    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }
    #[inline]
    fn write_u128(&mut self, n: u128) {
        self.mix(n as u64);
        self.mix((n >> 64) as u64);
    }
    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    #[inline]
    fn write_i8(&mut self, n: i8) {
        self.mix(n as u64);
    }
    #[inline]
    fn write_i16(&mut self, n: i16) {
        self.mix(n as u64);
    }
    #[inline]
    fn write_i32(&mut self, n: i32) {
        self.mix(n as u64);
    }
    #[inline]
    fn write_i64(&mut self, n: i64) {
        self.mix(n as u64);
    }
    #[inline]
    fn write_isize(&mut self, n: isize) {
        self.mix(n as u64);
    }
}

/// The stable hash of a value.
#[inline]
pub fn stable_hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = StableHasher::default();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The key group of a key whose stable hash is `hash`.
#[inline]
pub fn key_group(hash: u64, max_parallelism: u16) -> KeyGroup {
    // The high bits: the low ones place the key inside its group's table.
    KeyGroup(((hash >> 32) % u64::from(max_parallelism)) as u16)
}

/// The subtask that owns `group` when `parallelism` subtasks share `max_parallelism` groups: contiguous,
/// as even as possible (Flink's assignment).
#[inline]
pub fn owner_of(group: KeyGroup, parallelism: u16, max_parallelism: u16) -> u16 {
    debug_assert!(parallelism >= 1 && parallelism <= max_parallelism);
    (u32::from(group.0) * u32::from(parallelism) / u32::from(max_parallelism)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_ones_that_were_persisted() {
        // Changing any of these numbers loses every checkpoint ever taken.
        assert_eq!(stable_hash(&7_u64), stable_hash(&7_usize));
        assert_eq!(key_group(u64::MAX, 128), KeyGroup((u64::from(u32::MAX) % 128) as u16));
    }

    #[test]
    fn every_group_has_one_owner_and_owners_are_contiguous() {
        for parallelism in 1..=128 {
            let owners: Vec<u16> = (0..128).map(|g| owner_of(KeyGroup(g), parallelism, 128)).collect();
            assert!(owners.windows(2).all(|w| w[1] == w[0] || w[1] == w[0] + 1));
            assert_eq!(owners[0], 0);
            assert_eq!(owners[127], parallelism - 1);
        }
    }

    #[test]
    fn small_integers_spread_over_groups() {
        let mut seen = [0_u32; 128];
        for n in 0..12_800_u64 {
            seen[usize::from(key_group(stable_hash(&n), 128).0)] += 1;
        }
        assert!(seen.iter().all(|&n| n > 50 && n < 200), "{seen:?}");
    }
}
