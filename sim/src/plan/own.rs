//! The shape of a job of one's own: nothing of it is drawn. What a plan has to know of it is measured once, in a run without
//! faults ([`mod@crate::check`]), because everything in time is made to fit it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is known of a job that somebody else wrote.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnShape {
    /// How many operators it has.
    pub operators: usize,
    /// By parallelism, from 1 on.
    pub by_parallelism: Vec<Measured>,
}

/// What a run without faults was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// All of them, of every operator.
    pub subtasks: u32,
    /// Records of the sources.
    pub records: u64,
    /// Records of the busiest subtask.
    pub records_each: u64,
    /// How long the job takes when its records take no time: what its sources wait for.
    pub lasts_ms: u64,
    /// Deliveries of the world.
    pub deliveries: u64,
}

impl OwnShape {
    /// What is known of this parallelism, or of the widest that was measured.
    pub fn at(&self, parallelism: u16) -> Measured {
        let nth = usize::from(parallelism).saturating_sub(1);
        self.by_parallelism.get(nth).or(self.by_parallelism.last()).copied().unwrap_or_default()
    }

    /// The nearest parallelism that was measured.
    pub fn nearest(&self, parallelism: u16) -> u16 {
        parallelism.min(u16::try_from(self.by_parallelism.len()).unwrap_or(u16::MAX))
    }

    /// Whether it makes sense, and if not why, in one line.
    pub fn validate(&self) -> Result<(), String> {
        let measured = !self.by_parallelism.is_empty() && self.by_parallelism.iter().all(|at| at.subtasks > 0);
        if measured { Ok(()) } else { Err("nothing was measured of the job".to_owned()) }
    }
}

impl fmt::Display for OwnShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { records, records_each, deliveries, .. } = self.at(1);
        if deliveries == 0 {
            return write!(f, "your own, still to be measured: {} operators", self.operators);
        }
        write!(
            f,
            "your own: {records} record(s), {records_each} of them in the busiest of {} operators",
            self.operators
        )
    }
}
