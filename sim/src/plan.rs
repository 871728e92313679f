//! A plan: everything a run is made of that a person may want to read, change or shrink. Plain data.
//!
//! Drawn from a seed by [`draw`] and completed into a world by [`crate::run`]; what is too large to print (the input
//! text) is described by its shape and drawn from the seed by [`input`].
//!
//! Invariant: a plan is a pure function of the seed and [`crate::seed::GENERATOR`].

mod bounds;
mod client;
pub mod draw;
pub mod graph;
pub mod input;
mod own;
mod policy;
mod second;

pub use client::{Ask, Client, Trick};
pub use input::InputShape;
pub use own::{Measured, OwnShape};
pub use policy::Policy;
pub use second::SecondStart;

use crate::seed::Seed;
use crate::world::{Budget, Fault, FaultKind, InputChange, Picks, Requests, Tuning};
use cofferdam_engine::config::JobConfig;
use cofferdam_properties::history::Process;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Which job runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Counts words: one input, one keyed state.
    WordCount,
    /// Joins two inputs by key: two keyed states in one operator.
    Join,
    /// A random graph of operators over one record type.
    Graph,
    /// Somebody's own: see [`mod@crate::check`].
    #[value(skip)]
    Own,
}

impl JobKind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::WordCount => "word-count",
            Self::Join => "join",
            Self::Graph => "graph",
            Self::Own => "own",
        }
    }
}

/// See the head of the file. Times are virtual milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is named after the knob it sets")]
pub struct Plan {
    pub job: JobKind,
    pub workers: u16,
    /// So many of the workers are more than the job needs.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spare_workers: u16,
    pub parallelism: u16,
    pub batch_records: usize,
    pub credits: u32,
    pub policy: Policy,
    pub heartbeat_interval_ms: u64,
    pub heartbeat_timeout_ms: u64,
    /// A supervisor starts the coordinator again this long after it gave up its leadership.
    pub supervisor_delay_ms: u64,
    /// There is a second coordinator, which takes over when the first shows no sign of life for so long, and so on.
    #[serde(default)]
    pub standby_lease_ms: Option<u64>,
    pub input: InputShape,
    pub tuning: Tuning,
    pub heal_at_ms: u64,
    /// Virtual time that the job has after healing to finish.
    pub liveness_ms: u64,
    /// Who makes the free choices.
    #[serde(default, skip_serializing_if = "Picks::is_seed")]
    pub picks: Picks,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Client>,
    /// The job is started once more when it is over, with checkpoints that do not belong to its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_start: Option<SecondStart>,
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Much longer than an ordinary request takes, much shorter than what is left of a run after healing.
const STORAGE_TIMEOUT: Duration = Duration::from_secs(4);

/// Deliveries that a run may use: an ordinary one needs a few thousand.
const EVENTS: u64 = 400_000;

impl Plan {
    /// The plan that `seed` stands for.
    pub fn of(seed: Seed) -> Self {
        draw::plan(seed)
    }

    /// The job that `seed` runs, without drawing the rest.
    pub fn job_of(seed: Seed) -> JobKind {
        draw::job(seed)
    }

    /// The plan that `seed` stands for where a job of this shape is checked.
    pub fn of_own(seed: Seed, shape: &OwnShape) -> Self {
        draw::own(seed, shape)
    }

    /// How the job is configured.
    pub fn config(&self) -> JobConfig {
        JobConfig {
            batch_records: self.batch_records,
            credits: self.credits,
            checkpoints: self.policy.checkpoints(),
            restart: self.policy.restart,
            heartbeat_interval: Duration::from_millis(self.heartbeat_interval_ms),
            heartbeat_timeout: Duration::from_millis(self.heartbeat_timeout_ms),
            storage_timeout: STORAGE_TIMEOUT,
        }
    }

    /// Whether it makes sense, and if not why, in one line: plans are also written by people.
    pub fn validate(&self) -> Result<(), String> {
        if self.workers <= self.spare_workers || self.parallelism == 0 {
            return Err("a job needs a worker that is not spare, and a subtask".to_owned());
        }
        bounds::check(self)?;
        self.config().validate()?;
        let tuning = &self.tuning;
        if tuning.favour_percent >= 100 || tuning.drift_ppm >= 1_000_000 || tuning.window == 0 {
            return Err("favour_percent is below 100, drift_ppm below 1000000, and a window holds a frame".to_owned());
        }
        self.input.validate()?;
        if self.input.job() != self.job {
            return Err(format!("{} has no such input", self.job.name()));
        }
        for fault in &self.faults {
            fault.validate().map_err(|cause| format!("{fault}: {cause}"))?;
            if let Some(process) = fault.what.names().into_iter().find(|process| !self.has(*process)) {
                return Err(format!("{fault}: there is no {process}"));
            }
        }
        Ok(())
    }

    /// Whether it has such a process.
    pub fn has(&self, process: Process) -> bool {
        match process {
            Process::Coordinator(id) => id.0 < self.coordinators(),
            Process::Worker(id) => id.0 < self.workers,
            Process::Client(id) => usize::from(id.0) < self.clients.len(),
        }
    }

    /// How many workers the job needs.
    pub fn needed_workers(&self) -> u16 {
        self.workers - self.spare_workers
    }

    /// How many coordinators there are.
    pub fn coordinators(&self) -> u16 {
        1 + u16::from(self.standby_lease_ms.is_some())
    }

    /// How much the run may use.
    pub fn budget(&self) -> Budget {
        Budget { events: self.input.deliveries(EVENTS), virtual_ms: self.heal_at_ms + self.liveness_ms }
    }
}

/// A pause that is longer than every timeout of a drawn plan.
pub const LONG_PAUSE_MS: u64 = 1_000;

/// Every kind of fault.
pub const KINDS: [&str; 31] = [
    "crash",
    "crash together",
    "zombie",
    "pause",
    "long pause",
    "partition",
    "one-way partition",
    "disconnect",
    "half-open connections",
    "refused connections",
    "reset connections",
    "rogue report",
    "slow links",
    "wall clock jump",
    "stalled storage",
    "slow storage",
    "failing storage",
    "lost replies",
    "late effects",
    "late deletes",
    "hanging storage",
    "straggling writes",
    "throttled storage",
    "narrow storage",
    "short reads",
    "stale listings",
    "touched input",
    "grown input",
    "shortened input",
    "deleted input",
    "added input",
];

/// The kind of a fault, for tables: one of [`KINDS`].
pub fn kind_of(fault: &FaultKind) -> &'static str {
    match fault {
        FaultKind::Crash { .. } => "crash",
        FaultKind::Pause { for_ms: LONG_PAUSE_MS.., .. } => "long pause",
        FaultKind::Pause { .. } => "pause",
        FaultKind::OneWay { .. } => "one-way partition",
        FaultKind::Disconnect { .. } => "disconnect",
        FaultKind::HalfOpen { .. } => "half-open connections",
        FaultKind::Refuse { .. } => "refused connections",
        FaultKind::Zombie { .. } => "zombie",
        FaultKind::CrashTogether { .. } => "crash together",
        FaultKind::StallStorage { .. } => "stalled storage",
        FaultKind::JumpWallClock { .. } => "wall clock jump",
        FaultKind::ResetConnections { .. } => "reset connections",
        FaultKind::Rogue { .. } => "rogue report",
        FaultKind::SlowLinks { .. } => "slow links",
        FaultKind::Partition { .. } => "partition",
        FaultKind::SlowStorage { .. } => "slow storage",
        FaultKind::FailStorage { .. } => "failing storage",
        FaultKind::LoseReplies { late_ms: 0, .. } => "lost replies",
        FaultKind::LoseReplies { requests: Requests::Deletes, .. } => "late deletes",
        FaultKind::LoseReplies { .. } => "late effects",
        FaultKind::HangStorage { .. } => "hanging storage",
        FaultKind::DelayPastTheEnd { .. } => "straggling writes",
        FaultKind::ThrottleStorage { .. } => "throttled storage",
        FaultKind::LimitBandwidth { .. } => "narrow storage",
        FaultKind::ShortReads { .. } => "short reads",
        FaultKind::StaleListings { .. } => "stale listings",
        FaultKind::ChangeInput { change, .. } => match change {
            InputChange::Touch | InputChange::Replace => "touched input",
            InputChange::Append => "grown input",
            InputChange::Truncate => "shortened input",
            InputChange::Delete => "deleted input",
            InputChange::Add => "added input",
        },
    }
}

/// Whether it takes a process down.
pub fn is_crash(fault: &FaultKind) -> bool {
    matches!(fault, FaultKind::Crash { .. } | FaultKind::CrashTogether { .. })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "job         {}, parallelism {}, on {} worker(s)",
            self.job.name(),
            self.parallelism,
            self.needed_workers()
        )?;
        if self.spare_workers > 0 {
            writeln!(f, "spare       {} worker(s) more", self.spare_workers)?;
        }
        writeln!(f, "input       {}", self.input)?;
        writeln!(f, "channels    batches of {}, {} credit(s)", self.batch_records, self.credits)?;
        writeln!(f, "{}", self.policy)?;
        writeln!(
            f,
            "failover    heartbeat {}/{} ms, coordinator back after {} ms",
            self.heartbeat_interval_ms, self.heartbeat_timeout_ms, self.supervisor_delay_ms
        )?;
        if let Some(lease_ms) = self.standby_lease_ms {
            writeln!(f, "standby     a second coordinator, with a lease of {lease_ms} ms")?;
        }
        writeln!(f, "phases      faults until {} ms, then {} ms to finish", self.heal_at_ms, self.liveness_ms)?;
        writeln!(f, "choices     {}", self.picks)?;
        for (n, client) in self.clients.iter().enumerate() {
            writeln!(f, "client {n}    {client}")?;
        }
        if let Some(start) = self.second_start {
            writeln!(f, "started     once more, {start}")?;
        }
        if self.faults.is_empty() {
            write!(f, "faults      none")?;
        }
        for (n, fault) in self.faults.iter().enumerate() {
            let end = if n + 1 < self.faults.len() { "\n" } else { "" };
            write!(f, "fault {n}     {fault}{end}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::messages::client::Wish;
    use std::sync::LazyLock;

    /// Plans of the first seeds. Drawing them costs more than what most tests do with them, so they are drawn once for all.
    pub(super) static SAMPLE: LazyLock<Vec<Plan>> = LazyLock::new(|| (0..2_000).map(Seed).map(Plan::of).collect());

    #[test]
    fn a_plan_is_a_pure_function_of_its_seed() {
        for seed in (0..200).map(Seed) {
            assert_eq!(Plan::of(seed), Plan::of(seed));
            assert_eq!(Plan::of(seed).job, Plan::job_of(seed));
        }
        assert_ne!(Plan::of(Seed(1)), Plan::of(Seed(2)));
    }

    #[test]
    fn a_plan_survives_being_written_down() {
        for plan in (0..100).map(Seed).map(Plan::of) {
            let text = serde_json::to_string(&plan).expect("plans serialise");
            assert_eq!(serde_json::from_str::<Plan>(&text).expect("and back"), plan);
        }
    }

    #[test]
    fn drawn_faults_make_sense() {
        for plan in &*SAMPLE {
            for fault in &plan.faults {
                assert_eq!(fault.validate(), Ok(()), "{fault}");
            }
        }
    }

    #[test]
    fn enough_plans_ask_for_checkpoints_and_some_cancel() {
        let plans = &*SAMPLE;
        let members = |plan: &Plan| {
            let members = plan.clients.iter().filter(|client| client.stranger.is_none());
            members.flat_map(|client| client.asks.clone()).collect::<Vec<_>>()
        };
        let wishing = |wish| plans.iter().filter(|plan| members(plan).iter().any(|ask| ask.wish == wish)).count();
        let strangers = plans.iter().filter(|plan| plan.clients.iter().any(|client| client.stranger.is_some())).count();
        assert!((plans.len() / 20..plans.len() / 7).contains(&strangers), "{strangers}");
        assert!(wishing(Wish::Checkpoint) * 5 > plans.len() && wishing(Wish::Cancel) * 33 > plans.len());
        assert!(wishing(Wish::Status) > 0);
    }

    #[test]
    fn plans_that_upload_in_parts_often_doubt_an_upload_and_no_others_do() {
        let doubts = |plan: &Plan| {
            let of_upload = |what: &FaultKind| {
                let requests = match what {
                    FaultKind::FailStorage { requests, .. }
                    | FaultKind::LoseReplies { requests, .. }
                    | FaultKind::HangStorage { requests, .. } => *requests,
                    _ => return false,
                };
                matches!(requests, Requests::Parts | Requests::Completions)
            };
            plan.faults.iter().any(|fault| of_upload(&fault.what))
        };
        let (parts, whole): (Vec<&Plan>, Vec<&Plan>) = SAMPLE.iter().partition(|plan| plan.policy.uploads_in_parts());
        assert_eq!(whole.iter().filter(|plan| doubts(plan)).count(), 0);
        assert!(parts.iter().filter(|plan| doubts(plan)).count() * 3 > parts.len());
    }

    #[test]
    fn every_third_plan_or_so_has_a_second_coordinator() {
        let plans = &*SAMPLE;
        let leases: Vec<u64> = plans.iter().filter_map(|plan| plan.standby_lease_ms).collect();
        assert!((plans.len() / 4..plans.len() / 2).contains(&leases.len()), "{}", leases.len());
        assert!(leases.iter().all(|lease| *lease >= 300), "{leases:?}");
    }

    #[test]
    fn enough_plans_are_started_once_more_and_none_that_writes_outside() {
        let plans = &*SAMPLE;
        let again = || plans.iter().filter(|plan| plan.second_start.is_some());
        assert!(again().count() * 30 > plans.len() && again().count() * 8 < plans.len(), "{}", again().count());
        assert!(again().all(|plan| !plan.input.writes_outside()));
        assert!(again().any(|plan| plan.second_start == Some(SecondStart::OtherLog)));
    }

    #[test]
    fn most_plans_crash_and_every_kind_of_fault_is_drawn() {
        let plans = &*SAMPLE;
        let crashing = plans.iter().filter(|plan| plan.faults.iter().any(|fault| is_crash(&fault.what))).count();
        assert!(crashing * 10 > plans.len() * 7, "{crashing} of {}", plans.len());
        let kinds: std::collections::BTreeSet<&str> =
            plans.iter().flat_map(|plan| &plan.faults).map(|fault| kind_of(&fault.what)).collect();
        assert_eq!(kinds, KINDS.into_iter().collect());
    }
}
