//! Keyed randomness: every free choice is a pure function of (seed, domain, logical key, occurrence).
//!
//! There is no stream to shift: one more draw somewhere moves no other draw anywhere. Keys are logical (process,
//! incarnation, site, path, …), never a position in some global order.

use cofferdam_engine::hash::StableHasher;
use std::hash::{Hash, Hasher};

/// What a draw is for. Domains are independent of each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each is named after what it decides")]
pub enum Domain {
    Schedule = 1,
    Token,
    Timer,
    Bell,
    Spawn,
    Network,
    Loss,
    Storage,
    LateEffect,
    Work,
    Clock,
    Start,
    Favour,
    ShortRead,
    Nonce,
}

/// The source of all randomness of a world.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    seed: u64,
}

impl Keyed {
    /// Keyed by `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The draw for the `occurrence`-th time that `key` comes up in `domain`.
    #[inline]
    pub fn draw(self, domain: Domain, key: impl Hash, occurrence: u64) -> u64 {
        let mut hasher = StableHasher::with_seed(self.seed);
        hasher.write_u8(domain as u8);
        key.hash(&mut hasher);
        hasher.write_u64(occurrence);
        hasher.finish()
    }
}

/// A logical identity, seed-independent: the key under which something draws from now on.
#[inline]
pub fn identity(parts: impl Hash) -> u64 {
    let mut hasher = StableHasher::default();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_each_of_their_coordinates_and_on_nothing_else() {
        let draw = |seed, domain, key: u64, occurrence| Keyed::new(seed).draw(domain, key, occurrence);
        let base = draw(1, Domain::Network, 5, 0);
        assert_eq!(base, draw(1, Domain::Network, 5, 0));
        assert_ne!(base, draw(2, Domain::Network, 5, 0));
        assert_ne!(base, draw(1, Domain::Storage, 5, 0));
        assert_ne!(base, draw(1, Domain::Network, 6, 0));
        assert_ne!(base, draw(1, Domain::Network, 5, 1));
    }

    #[test]
    fn draws_are_even_in_every_bit() {
        for bit in 0..64 {
            let ones = (0..4_000_u64)
                .filter(|&n| Keyed::new(7).draw(Domain::Schedule, n % 40, n / 40) >> bit & 1 == 1)
                .count();
            assert!((1_800..2_200).contains(&ones), "bit {bit} was set {ones} times of 4,000");
        }
    }
}
