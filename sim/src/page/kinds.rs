//! Of what kind an entry is: what a reader of the page filters by, and what it is drawn as.

use cofferdam_properties::history::{Entry, Fact, What};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $name:literal, $about:literal);* $(;)?) => {
        /// See the head of the file.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Kind { $($(#[$doc])* $kind),* }

        impl Kind {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// Its name on the page.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),* }
            }

            /// What it covers, for the page.
            pub fn about(self) -> &'static str {
                match self { $(Self::$kind => $about),* }
            }
        }
    };
}

kinds! {
    /// Records move.
    Elements, "elements", "records emitted and consumed, ends of channels";
    /// Barriers and cancellation markers.
    Barriers, "barriers", "triggers, barriers and cancellation markers on their way";
    /// Waiting for barriers.
    Alignment, "alignment", "waiting for the barrier on every channel";
    /// Snapshots and their way into storage.
    Snapshots, "snapshots", "staging, snapshots, uploads, acks and declines";
    /// What the coordinator does about checkpoints.
    Checkpoints, "checkpoints", "the coordinator's side: triggered, acked, manifest, aborted, statistics";
    /// The instant at which a checkpoint counts.
    CommitPoint, "commit point", "the slot of a checkpoint is durable";
    /// What follows from it.
    Commits, "commits", "notifications, and output that becomes visible";
    /// Attempts of the job.
    Attempts, "attempts", "leadership, deployments, restores, failures and ends";
    /// Objects come, go and are in doubt.
    Storage, "storage", "objects written, deleted and in doubt";
    /// Processes come and go.
    Processes, "processes", "processes that come up, crash and end";
    /// What the plan does to them.
    Faults, "faults", "faults that strike, and the healing";
}

impl Kind {
    /// The kind of an entry. What is not known by name is the coordinator's doing.
    pub fn of(entry: &Entry) -> Self {
        match &entry.what {
            What::Claim(event) => Self::of_event(event.name()),
            What::Fact(Fact::Started | Fact::Crashed | Fact::Ended(_)) => Self::Processes,
            What::Fact(Fact::FaultFired(_) | Fact::RogueSent { .. } | Fact::RogueReceived { .. } | Fact::Healed) => {
                Self::Faults
            }
            What::Fact(_) => Self::Storage,
        }
    }

    fn of_event(name: &str) -> Self {
        match name {
            "source_emitted" | "consumed" | "end_received" | "closed_received" | "input_ended" => Self::Elements,
            "trigger_sent" | "trigger_received" | "barrier_received" | "barrier_emitted" | "cancel_received"
            | "cancel_emitted" => Self::Barriers,
            "alignment_started" | "alignment_ended" | "alignment_aborted" => Self::Alignment,
            "prepared" | "prepare_failed" | "snapshot_taken" | "upload_started" | "upload_ended" | "upload_failed"
            | "ack_sent" | "decline_sent" => Self::Snapshots,
            "completion_durable" => Self::CommitPoint,
            "notify_sent" | "notify_received" | "abort_received" | "commit_started" | "commit_ended" => Self::Commits,
            "leadership_taken" | "lease_expired" | "deposed" | "worker_registered" | "worker_waits"
            | "worker_refused" | "peer_trusted" | "peer_distrusted" | "report_rejected" | "command_rejected"
            | "worker_lost" | "coordinator_lost" | "restore_read" | "input_listed" | "attempt_deployed"
            | "attempt_running" | "attempt_failed" | "restore_started" | "restored" | "attempt_cancelled"
            | "subtask_finished" | "subtask_failed" | "job_finished" | "job_failed" | "job_cancelled" => Self::Attempts,
            _ => Self::Checkpoints,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::event::Event;

    #[test]
    fn numbers_are_positions() {
        for (number, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number, "{}", kind.name());
        }
    }

    #[test]
    fn every_kind_that_the_engine_announces_has_events() {
        let announced = |kind: &Kind| Event::NAMES.iter().any(|name| Kind::of_event(name) == *kind);
        let silent: Vec<&str> = Kind::ALL.iter().filter(|kind| !announced(kind)).map(|kind| kind.name()).collect();
        assert_eq!(silent, ["storage", "processes", "faults"]);
    }
}
