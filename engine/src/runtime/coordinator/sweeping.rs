//! The last sweep: behind the end of a job, once the workers are gone, everything that nothing points to is deleted.
//!
//! ```text
//! Waiting ── Draining ── Drained ──┬─ Sweeping ── over
//!    └────────────────────────────┘  checkpoints: retention, by a listing that is young enough
//!                                    staging: what sinks staged, if the job has finished
//! ```
//!
//! A worker drains what it has under way before it hangs up, and so does the coordinator here: what lands late is there when
//! it is looked for. A request of a process that died may land behind the last look, and nobody can know.
//!
//! Reason for the condition on staging: whatever is not committed belongs to a checkpoint, from which the job may go on as
//! long as it has not finished.
//!
//! Owns: the order. Does not own: what a sweep deletes ([`crate::cores::retention`]).

use super::requests::Requests;
use crate::cores::retention::Retention;
use crate::graph::Job;
use crate::persist::slot::Ended;

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LastSweep {
    /// Workers have not left, or something is being deleted.
    Waiting,
    /// A write of this process is not decided.
    Draining,
    /// Every one is.
    Drained,
    /// Both sweeps are under way, or only retention's if the other is over.
    Sweeping { staging: bool },
}

impl LastSweep {
    /// Goes on once the workers have left and nothing is being deleted.
    pub fn advance(&mut self, retention: &mut Retention, requests: &mut Requests, job: &Job, how: &Ended) {
        match self {
            Self::Waiting if !requests.is_drained() => {
                *self = Self::Draining;
                requests.drain(job.config.storage_timeout);
            }
            Self::Waiting | Self::Drained => {
                *self = Self::Sweeping { staging: true };
                let mut out = Vec::new();
                retention.sweep_for_good(&mut out);
                requests.perform_retention(out);
                requests.sweep_staging(staging(job, how));
            }
            Self::Draining | Self::Sweeping { .. } => {}
        }
    }

    /// Every write of this process is decided, or that took too long.
    pub fn on_drained(&mut self) {
        assert_eq!(*self, Self::Draining, "that was asked for");
        *self = Self::Drained;
    }

    /// What sinks had staged is gone.
    pub fn on_staging_swept(&mut self) {
        assert_eq!(*self, Self::Sweeping { staging: true }, "that was asked for");
        *self = Self::Sweeping { staging: false };
    }

    /// Whether nothing is left but what retention is deleting.
    pub fn is_over(self) -> bool {
        self == Self::Sweeping { staging: false }
    }
}

/// The folders in which nothing is needed any more.
fn staging(job: &Job, how: &Ended) -> Vec<String> {
    match how {
        Ended::Finished { .. } => job.graph.operators.iter().filter_map(|operator| operator.staging.clone()).collect(),
        Ended::Failed { .. } | Ended::Cancelled => Vec::new(),
    }
}
