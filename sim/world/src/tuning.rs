//! How long things take in the world, and how much of it a run may use.

use serde::{Deserialize, Serialize};

/// A keyed delay in nanoseconds: mostly `base..base + spread`, one in `tail_one_in` times `tail_factor` as long.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Delay {
    /// At least this.
    pub base_ns: u64,
    /// Plus up to this.
    pub spread_ns: u64,
    /// How rare a slow one is; 0: never.
    pub tail_one_in: u32,
    /// How slow a slow one is.
    pub tail_factor: u32,
}

impl Delay {
    /// A delay without slow ones.
    pub const fn new(base_ns: u64, spread_ns: u64) -> Self {
        Self { base_ns, spread_ns, tail_one_in: 0, tail_factor: 1 }
    }

    /// The same, but one in `one_in` takes `factor` times as long.
    pub const fn with_tail(self, one_in: u32, factor: u32) -> Self {
        Self { tail_one_in: one_in, tail_factor: factor, ..self }
    }

    /// The delay that the draw `word` stands for.
    pub fn from_draw(self, word: u64) -> u64 {
        // The high half decides the amount, the low half whether it is a slow one: independent bits of one draw.
        let amount = self.base_ns + ((u128::from(self.spread_ns) * u128::from(word >> 32)) >> 32) as u64;
        let slow = self.tail_one_in > 0 && (word as u32).is_multiple_of(self.tail_one_in);
        if slow { amount.saturating_mul(u64::from(self.tail_factor)) } else { amount }
    }
}

/// How long things take.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Tuning {
    /// How late a timer fires.
    pub timer: Delay,
    /// From the ring to its arrival at another task of the process.
    pub bell: Delay,
    /// From spawning to the first poll, and from aborting to the drop.
    pub spawn: Delay,
    /// From sending a frame to its arrival.
    pub link: Delay,
    /// More for each kilobyte of the frame.
    pub link_per_kb_ns: u64,
    /// One in four directions of connections is up to this many times slower than the others; 1: none.
    pub unfair_links: u32,
    /// From a crash to the moment when a peer notices it, unless it never does.
    pub break_notice: Delay,
    /// One in so many connections of a crashed process is half-open: the peer is told nothing. 0: none.
    pub half_open_one_in: u32,
    /// Frames that may be on their way or unread per direction before `send` waits.
    pub window: u32,
    /// From request to effect, and from effect to reply, of each storage request.
    pub storage: Delay,
    /// More for each kilobyte written or read.
    pub storage_per_kb_ns: u64,
    /// How late an effect can come that its requester no longer waits for.
    pub late_effect: Delay,
    /// Processing of one record.
    pub work_per_record: Delay,
    /// Encoding of one kilobyte of a snapshot.
    pub encode_per_kb_ns: u64,
    /// Processing or encoding, however little.
    pub work: Delay,
    /// For `favour_for` picks at a time, a site favours one of its choices, and picks it in so many per cent of the
    /// cases; otherwise it picks evenly. Below 100, so that every choice comes up.
    pub favour_percent: u32,
    /// How long a favour lasts.
    pub favour_for: u32,
    /// Clocks run wrong by up to this many parts per million, each its own way.
    pub drift_ppm: u32,
    /// Processes are up to this many per cent slower than given, each its own way.
    pub slowness_percent: u32,
}

impl Tuning {
    /// How many times slower than others a direction of a connection is, by its draw.
    pub fn unfairness(&self, word: u64) -> u64 {
        if word.is_multiple_of(4) { 1 + (word >> 2) % u64::from(self.unfair_links.max(1)) } else { 1 }
    }
}

impl Tuning {
    /// The same pace without anything that is unkind: no tails, no favours, no half-open connections, no drift.
    pub fn steady(self) -> Self {
        let steady = |delay: Delay| Delay::new(delay.base_ns, delay.spread_ns);
        Self {
            timer: steady(self.timer),
            bell: steady(self.bell),
            spawn: steady(self.spawn),
            link: steady(self.link),
            unfair_links: 1,
            break_notice: steady(self.break_notice),
            half_open_one_in: 0,
            storage: steady(self.storage),
            late_effect: steady(self.late_effect),
            work_per_record: steady(self.work_per_record),
            work: steady(self.work),
            favour_percent: 0,
            drift_ppm: 0,
            slowness_percent: 0,
            ..self
        }
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            timer: Delay::new(0, 50_000),
            bell: Delay::new(1_000, 20_000).with_tail(16, 20),
            spawn: Delay::new(1_000, 20_000).with_tail(16, 20),
            link: Delay::new(100_000, 400_000).with_tail(24, 12),
            link_per_kb_ns: 1_000,
            unfair_links: 1,
            break_notice: Delay::new(1_000_000, 20_000_000).with_tail(8, 10),
            half_open_one_in: 8,
            window: 16,
            storage: Delay::new(500_000, 3_000_000).with_tail(16, 15),
            storage_per_kb_ns: 10_000,
            late_effect: Delay::new(1_000_000, 200_000_000).with_tail(8, 5),
            encode_per_kb_ns: 200_000,
            work_per_record: Delay::new(5_000, 10_000).with_tail(64, 10),
            work: Delay::new(2_000, 4_000),
            favour_percent: 30,
            favour_for: 16,
            drift_ppm: 200,
            slowness_percent: 100,
        }
    }
}

/// How much a run may use.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Budget {
    /// Deliveries.
    pub events: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { events: 200_000, virtual_ms: 600_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_their_bounds_and_reach_them() {
        let delay = Delay::new(100, 50);
        assert_eq!(delay.from_draw(0), 100);
        assert_eq!(delay.from_draw(u64::MAX), 149);
        let tailed = delay.with_tail(4, 10);
        assert_eq!(tailed.from_draw(4), 1_000);
        assert_eq!(tailed.from_draw(5), 100);
    }
}
