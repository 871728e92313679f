//! The end of a leadership: the end of the job is recorded and sent to workers and clients, and storage is swept for
//! the last time.
//!
//! ```text
//! No ── Recording ── Lingering ── Now
//!  └────────┴────────────────────┘  stopped: deposed, or it cannot go on
//! ```
//!
//! 1. *Recording*. The end of the job is a slot of the log like any other. So a deposed coordinator does not get that
//!    slot, and steps down. Nothing is announced before the slot is durable (order rule O12), and files are deleted
//!    after it (O8).
//! 2. *Lingering*. Workers get `JobDone`, clients get their answers, and both get time to hang up. A worker of this
//!    leadership that is not connected dials again, and gets `JobDone` then.
//! 3. The last sweep ([`crate::cores::sweeping`]).

use super::{Effect, Leading, Proposal, announce};
use crate::cores::completed::Retained;
use crate::cores::failover::{ConnectionId, End, Standing};
use crate::cores::retention::Retention;
use crate::cores::sweeping::{self, LastSweep, SWEEP_TIME_MAX, staging};
use crate::door::Time;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::{CheckpointId, WorkerId};
use crate::messages::ToWorker;
use crate::messages::client::{Answer, Wish};
use crate::persist::slot::SlotRecord;
use crate::reason::Ended;
use std::collections::BTreeSet;

/// Definite failures to record that the job failed or was cancelled. After them this process stops with an error.
const RECORD_TRIES: u32 = 5;

/// How a job ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// It finished, under this coordinator.
    Finished {
        /// The last checkpoint.
        checkpoint: CheckpointId,
    },
    /// It had finished before this coordinator looked.
    AlreadyFinished {
        /// The last checkpoint.
        checkpoint: CheckpointId,
    },
    /// It was cancelled, under this coordinator or before.
    Cancelled,
}

/// The durable end of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Over {
    /// How it ended.
    pub how: Ended,
    /// The newest checkpoint that stays.
    pub kept: Option<CheckpointId>,
}

impl Over {
    /// The event that announces it.
    pub fn announcement(&self) -> Event {
        match &self.how {
            Ended::Finished { checkpoint } => Event::JobFinished { checkpoint: *checkpoint },
            Ended::Failed { cause } => Event::JobFailed { cause: cause.clone() },
            Ended::Cancelled => Event::JobCancelled { checkpoint: self.kept },
        }
    }

    /// The answer that clients get.
    pub fn answer(&self) -> Answer {
        Answer::Over { how: self.how.clone(), kept: self.kept }
    }
}

/// How near the end is.
#[derive(Debug)]
pub(super) enum Ending {
    /// Not in sight.
    No,
    /// How the job ended is being recorded, which has failed `tries` times.
    Recording { end: End, tries: u32 },
    /// The job is over. Workers and clients get the end of the job and time to hang up; then storage is swept for the
    /// last time. `absent`: the workers that were not connected when the job ended and have not come back. `unheard`:
    /// the workers that have been silent since. They may be draining what they have under way.
    Lingering {
        end: Result<JobEnd>,
        over: Over,
        until: Time,
        absent: BTreeSet<WorkerId>,
        unheard: BTreeSet<WorkerId>,
        sweep: LastSweep,
    },
    /// Nothing more to do.
    Now(Result<JobEnd>),
}

impl Leading {
    /// Answers [`Effect::Drain`].
    pub fn on_drained(&mut self) {
        self.last_sweep().on_drained();
    }

    /// Answers [`Effect::SweepStaging`].
    pub fn on_staging_swept(&mut self) {
        self.last_sweep().on_staging_swept();
    }

    fn last_sweep(&mut self) -> &mut LastSweep {
        let Ending::Lingering { sweep, .. } = &mut self.ending else { panic!("only the last sweep asks for it") };
        sweep
    }

    /// How the leadership has ended, once it has.
    pub(super) fn ended(&self, now: Time) -> Option<Result<JobEnd>> {
        match &self.ending {
            Ending::No | Ending::Recording { .. } => None,
            Ending::Lingering { end, until, sweep, .. } => {
                let longest = self.job.config.storage_timeout + SWEEP_TIME_MAX;
                let over = (sweep.is_over() && self.have_left(now) && self.is_clean()) || now >= *until + longest;
                over.then(|| end.clone())
            }
            Ending::Now(end) => Some(end.clone()),
        }
    }

    /// Whether workers and clients have hung up, or have had the time for it. A worker that stays or is silent may have
    /// requests under way: it gets the time that a request may take on top.
    fn have_left(&self, now: Time) -> bool {
        match &self.ending {
            Ending::Lingering { until, absent, unheard, .. } => {
                let gone = unheard.is_empty() && !self.connections.has_workers();
                (gone && self.connections.is_empty() && absent.is_empty())
                    || (gone && now >= *until)
                    || now >= *until + self.job.config.storage_timeout
            }
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => false,
        }
    }

    /// Whether everything is deleted that was to be, and nothing is being stored or looked at.
    fn is_clean(&self) -> bool {
        self.retention.is_idle() && self.discards == 0 && self.run_input.is_idle()
    }

    /// The sweep at the end of the job may have had an old listing, and no later sweep follows it.
    pub(super) fn sweep_for_good(&mut self, now: Time, drained: bool, out: &mut Vec<Effect>) {
        let (have_left, is_clean) = (self.have_left(now), self.is_clean());
        let Ending::Lingering { over, sweep, .. } = &mut self.ending else { return };
        if !have_left {
            return sweep.on_company();
        }
        if !is_clean {
            return;
        }
        match sweep.advance(drained) {
            sweeping::Next::Wait => {}
            sweeping::Next::Drain => out.push(Effect::Drain { limit: self.job.config.storage_timeout }),
            sweeping::Next::Sweep => {
                let folders = staging(&self.job.graph, &over.how);
                self.clean(out, Retention::sweep_for_good);
                out.push(Effect::SweepStaging { folders });
            }
        }
    }

    /// The record of the end, made when no other slot is being decided.
    pub(super) fn ending_record(&mut self) -> SlotRecord {
        assert_eq!(self.unpublished, None, "a completion under way is decided before the end is recorded");
        let Ending::Recording { end, .. } = &self.ending else { panic!("the end is being recorded") };
        let latest = self.store.latest().map(|latest| latest.checkpoint);
        let how = match end {
            End::Finished => Ended::Finished { checkpoint: latest.expect("the last checkpoint is retained") },
            End::Failed(error) => Ended::Failed { cause: error.message.clone() },
            End::Cancelled => Ended::Cancelled,
        };
        let keeps = self.job.config.checkpoints.retention.keeps(&how);
        let floor = if keeps { self.store.floor() } else { self.store.next_number() };
        assert!(floor >= self.store.floor(), "the floor never sinks");
        let below = |retained: &Retained| retained.number < floor;
        self.falling = self.store.retained().into_iter().filter(below).collect();
        SlotRecord::Ended { how, floor }
    }

    /// The end of the job is durable. Now it is announced, and files below the floor are deleted.
    pub(super) fn ended_durably(&mut self, how: &Ended, floor: u64, out: &mut Vec<Effect>) {
        assert_eq!(self.store.floor(), floor, "the floor is durable before anything below it is deleted");
        assert!(self.checkpoints.all_pending().is_empty(), "the end follows every checkpoint");
        self.failover.on_recorded();
        let kept = self.store.latest().map(|latest| latest.checkpoint);
        let over = Over { how: how.clone(), kept };
        announce(over.announcement(), out);
        let Ending::Recording { end, .. } = std::mem::replace(&mut self.ending, Ending::No) else {
            panic!("the end was being recorded")
        };
        let end = match (end, how) {
            (End::Finished, Ended::Finished { checkpoint }) => Ok(JobEnd::Finished { checkpoint: *checkpoint }),
            (End::Failed(error), Ended::Failed { .. }) => Err(error),
            (End::Cancelled, Ended::Cancelled) => Ok(JobEnd::Cancelled),
            (end, how) => panic!("{how:?} was recorded for {end:?}"),
        };
        self.finish(end, over, out);
        let fallen = std::mem::take(&mut self.falling);
        self.clean(out, |retention, effects| retention.on_fallen(&fallen, floor, effects));
    }

    /// The end of a job that has finished is proposed until it is durable: nothing else is left to do. Any other end is
    /// proposed `RECORD_TRIES` times; then this process stops with an error that names the end. The coordinator
    /// that starts next finds the job as it was.
    pub(super) fn not_recorded(&mut self, cause: &str, out: &mut Vec<Effect>) {
        self.falling.clear();
        let Ending::Recording { end, tries } = &mut self.ending else { panic!("the end was being recorded") };
        *tries += 1;
        let why = match end {
            End::Failed(error) if *tries >= RECORD_TRIES => error.message.clone(),
            End::Cancelled if *tries >= RECORD_TRIES => "it was cancelled".to_owned(),
            End::Finished | End::Failed(_) | End::Cancelled => return self.enqueue(Proposal::End, out),
        };
        self.stop(Error::restart(format!("the end of the job ({why}) could not be recorded: {cause}")));
    }

    /// Ends this leadership at once. An end of the job that is durable stays the result.
    pub(super) fn stop(&mut self, error: Error) {
        self.ending = match std::mem::replace(&mut self.ending, Ending::No) {
            Ending::Lingering { end, .. } => Ending::Now(end),
            Ending::No | Ending::Recording { .. } | Ending::Now(_) => Ending::Now(Err(error)),
        };
    }

    /// The job is over: sends `JobDone` to workers and answers to clients, and gives both time to hang up.
    fn finish(&mut self, end: Result<JobEnd>, over: Over, out: &mut Vec<Effect>) {
        assert!(matches!(self.ending, Ending::No), "a job ends once");
        self.connect(out, |connections, effects| connections.broadcast(ToWorker::JobDone, effects));
        self.answer_cancellations(&over, out);
        self.beat.resign(self.now);
        let until = self.now + self.connections.timeout();
        // A worker whose connection is lost dials again, and would dial without end if it got no `JobDone`: a host of
        // the last attempt, one that another worker has replaced, or a spare one.
        let is_absent = |worker: &WorkerId| !self.connections.has(*worker);
        let absent = self.seen.iter().copied().filter(is_absent).collect();
        let (unheard, sweep) = (BTreeSet::new(), LastSweep::Waiting);
        self.ending = Ending::Lingering { end, over, until, absent, unheard, sweep };
    }

    /// A worker that registers after the end of the job gets `JobDone`.
    pub(super) fn dismiss_if_over(&mut self, connection: ConnectionId, worker: WorkerId, out: &mut Vec<Effect>) {
        if let Ending::Lingering { absent, unheard, .. } = &mut self.ending {
            absent.remove(&worker);
            unheard.remove(&worker);
            self.connect(out, |connections, effects| connections.send(connection, ToWorker::JobDone, effects));
        }
    }

    /// A connection is silent. If it is that of a worker which got `JobDone`, the worker may still run and drain.
    pub(super) fn miss_if_over(&mut self, connection: ConnectionId) {
        let worker = self.failover.workers().iter().find(|(_, at)| **at == connection).map(|(worker, _)| *worker);
        if let (Ending::Lingering { unheard, .. }, Some(worker)) = (&mut self.ending, worker) {
            unheard.insert(worker);
        }
    }

    pub(super) fn validate_ending(&self) {
        match &self.ending {
            Ending::Now(_) => {}
            Ending::No => assert!(!self.proposals.contains(&Proposal::End), "an end is decided before it is proposed"),
            Ending::Recording { .. } => {
                let under_way = self.proposals.contains(&Proposal::End) || !self.store.accepts_proposals();
                assert!(under_way, "an end is proposed until it is durable");
                assert!(self.failover.hosts().is_empty(), "no attempt runs while the end is recorded");
                assert_eq!(self.failover.standing(), Standing::Ends, "an end is recorded that was decided");
                assert_eq!(self.unpublished, None, "the end follows the last completion");
            }
            Ending::Lingering { over, absent, .. } => {
                assert!(absent.is_subset(&self.seen), "only workers that were there are waited for");
                assert!(self.store.accepts_proposals(), "the end is the last slot of a leadership");
                assert!(self.falling.is_empty() && self.unpublished.is_none(), "nothing is left of a completion");
                assert_eq!(self.failover.standing(), Standing::Ends, "no attempt follows the end");
                let kept = self.store.latest().map(|latest| latest.checkpoint);
                assert_eq!(over.kept, kept, "what is said to be kept is retained");
                assert_eq!(self.retention.known_floor(), self.store.floor(), "files have followed their pointers");
                assert!(self.checkpoints.all_pending().is_empty(), "nothing is pending behind the end");
                assert!(self.connections.waiting_for(Wish::Cancel).is_empty(), "every request to cancel is answered");
            }
        }
    }
}
