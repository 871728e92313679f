//! The last sweep: behind the end of a job, once the workers are gone, everything that nothing points to is deleted.
//!
//! ```text
//! Waiting ── Draining ── Drained ──┬─ Sweeping ── over
//!    └────────────────────────────┘  checkpoints: retention, by a listing that is young enough
//!                                    staging: what sinks staged, if the job has finished
//! ```
//!
//! A worker drains what it has under way before it hangs up, and so does the coordinator here: a write that lands late
//! is there when storage is listed. A request of a process that died may land behind the last listing, and no process
//! can know of it. Nor is a worker that has got `JobDone`, and whose connection breaks while it drains, told from one
//! that has left: what it stores behind the last listing stays. A worker that lost its connection may come back during
//! the sweep, with a write under way: then a sweep that has begun is not the last one, and another follows once that
//! worker is gone.
//!
//! Reason for the condition on staging: what is not committed belongs to a checkpoint, from which the job may go on as
//! long as it has not finished.
//!
//! Owns: the order. Does not own: what a sweep deletes ([`super::retention`]), when the workers are gone.

use crate::graph::JobGraph;
use crate::reason::Ended;
use std::time::Duration;

/// How long the end of the job waits for the last sweeps: much longer than their tries take, unless storage hangs.
pub const SWEEP_TIME_MAX: Duration = Duration::from_secs(60);

/// How far the last sweep is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastSweep {
    /// Workers have not left, or something is being deleted.
    Waiting,
    /// The outcome of a write of this process is not known.
    Draining,
    /// The outcome of every write is known, or the wait for it took too long.
    Drained,
    /// Both sweeps are under way, or only retention's if the other is over.
    Sweeping {
        /// Whether staged files are still being deleted.
        staging: bool,
    },
    /// Staged files are still being deleted, but a worker came back meanwhile: this sweep was not the last one.
    Outdated,
}

/// What is to be done for the last sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// Nothing: it waits for a reply.
    Wait,
    /// Wait until the outcome of every write of this process is known; then [`LastSweep::on_drained`].
    Drain,
    /// Sweep checkpoints for good, and what sinks have staged; then [`LastSweep::on_staging_swept`].
    Sweep,
}

impl LastSweep {
    /// The workers have left and nothing is being deleted. `drained`: the outcome of every
    /// write of this process is known.
    pub fn advance(&mut self, drained: bool) -> Next {
        match self {
            Self::Waiting if !drained => {
                *self = Self::Draining;
                Next::Drain
            }
            Self::Waiting | Self::Drained => {
                *self = Self::Sweeping { staging: true };
                Next::Sweep
            }
            Self::Draining | Self::Sweeping { .. } | Self::Outdated => Next::Wait,
        }
    }

    /// The outcome of every write of this process is known, or the wait for it took too long.
    pub fn on_drained(&mut self) {
        assert_eq!(*self, Self::Draining, "that was asked for");
        *self = Self::Drained;
    }

    /// What sinks had staged is gone.
    pub fn on_staging_swept(&mut self) {
        *self = match self {
            Self::Sweeping { staging: true } => Self::Sweeping { staging: false },
            Self::Outdated => Self::Waiting,
            Self::Waiting | Self::Draining | Self::Drained | Self::Sweeping { staging: false } => {
                panic!("nothing was to be swept: {self:?}")
            }
        };
    }

    /// Workers or clients are still there, or there again; a worker may store something yet.
    pub fn on_company(&mut self) {
        *self = match *self {
            Self::Sweeping { staging: true } | Self::Outdated => Self::Outdated,
            Self::Sweeping { staging: false } => Self::Waiting,
            stage @ (Self::Waiting | Self::Draining | Self::Drained) => stage,
        };
        assert!(!self.is_over(), "it is swept once the workers have left");
    }

    /// Whether nothing is left but what retention is deleting.
    pub fn is_over(self) -> bool {
        self == Self::Sweeping { staging: false }
    }
}

/// The folders in which nothing is needed any more once the job has ended like this.
pub fn staging(graph: &JobGraph, how: &Ended) -> Vec<String> {
    match how {
        Ended::Finished { .. } => graph.operators.iter().filter_map(|operator| operator.staging.clone()).collect(),
        Ended::Failed { .. } | Ended::Cancelled => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_every_write_is_known_before_storage_is_listed_for_the_last_time() {
        let mut sweep = LastSweep::Waiting;
        assert_eq!(sweep.advance(false), Next::Drain);
        assert_eq!(sweep.advance(true), Next::Wait, "the reply is still under way");
        sweep.on_drained();
        assert_eq!(sweep.advance(false), Next::Sweep, "it took too long, and is waited for no longer");
        assert_eq!(sweep.advance(true), Next::Wait);
        assert!(!sweep.is_over());
        sweep.on_staging_swept();
        assert!(sweep.is_over());
    }

    #[test]
    fn a_sweep_that_a_worker_came_back_to_is_followed_by_another() {
        for swept_before in [true, false] {
            let mut sweep = LastSweep::Waiting;
            assert_eq!(sweep.advance(true), Next::Sweep);
            if swept_before {
                sweep.on_staging_swept();
            }
            sweep.on_company();
            if !swept_before {
                assert_eq!(sweep.advance(true), Next::Wait, "one sweep at a time");
                sweep.on_staging_swept();
            }
            assert!(!sweep.is_over());
            assert_eq!(sweep.advance(true), Next::Sweep, "what the worker stored is found");
            sweep.on_staging_swept();
            assert!(sweep.is_over());
        }
    }

    #[test]
    fn a_process_with_nothing_under_way_sweeps_at_once() {
        assert_eq!(LastSweep::Waiting.advance(true), Next::Sweep);
    }
}
