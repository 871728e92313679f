//! Free choices in production: spread evenly, without a lock.

use crate::door::{Schedule, Site};
use rand::TryRng;
use rand::rngs::SysRng;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws choices from a counter, mixed with the site. A plain round-robin on a shared counter would starve: two
/// sites that take turns would each see only every second number.
#[derive(Debug, Default)]
pub struct SpreadSchedule {
    drawn: AtomicU64,
}

impl Schedule for SpreadSchedule {
    fn pick(&self, site: Site, choices: usize) -> usize {
        assert!(choices >= 1, "a choice among nothing at {site:?}");
        if choices == 1 {
            return 0;
        }
        let mut x = self.drawn.fetch_add(1, Ordering::Relaxed) ^ site.lane.rotate_left(32);
        // SplitMix64: neighbouring counters give unrelated words.
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        ((u128::from(x) * choices as u128) >> 64) as usize
    }

    fn token(&self, _: Site) -> u64 {
        rand::random()
    }

    fn nonce(&self, site: Site) -> [u8; 32] {
        let mut bits = [0; 32];
        SysRng.try_fill_bytes(&mut bits).unwrap_or_else(|e| panic!("no randomness for {site:?}: {e}"));
        bits
    }
}
