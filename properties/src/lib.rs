//! Cofferdam's properties: pure judges over the recorded history of a run.
//!
//! Reading order: [`history`] (what is recorded) → [`case`](mod@case) (what is judged) → [`ledger`] (what the world saw) →
//! [`witness`] (the run, re-executed) → [`judges`], one file per property. [`PROPERTIES`] is the table.
//!
//! | property | promises | source |
//! |---|---|---|
//! | `exactly-once-state` | after every restore the live, the stored and the re-executed state are the same | Flink: Fault Tolerance via State Snapshots |
//! | `barrier-alignment` | snapshots and barriers wait for the barrier on every channel, and blocked channels are left alone | order rule O3 |
//! | `aborts-are-final` | a subtask has no part in a checkpoint that it knows to be aborted, and says so downstream once | order rules O3, O4 |
//! | `consistent-cut` | a checkpoint cuts both ends of every channel behind the same record | Chandy and Lamport 1985; Carbone et al. 2015 |
//! | `at-least-once` | with barriers that block nothing, no record is lost across a cut or from the output | Flink: Exactly Once vs. At Least Once |
//! | `one-live-owner` | only the newest leader, its newest attempt and one process per subtask act | order rule O12 |
//! | `ids-monotonic` | checkpoint ids and generations strictly increase for the life of the job | order rule O1 |
//! | `checkpoint-policy` | checkpoints are triggered, and their failures put up with, as configured | Flink: Checkpointing; CheckpointFailureManager |
//! | `bounded-statistics` | statistics count what happened, and remember a bounded part of it | Flink: Monitoring Checkpointing |
//! | `rogue-reports` | what a coordinator counts was sent by the subtask, and what no right worker sends costs its connection alone | order rules O2, O6; Flink: JobMaster, TaskExecutor gateways |
//! | `announced-implies-stored` | what is announced as durable or visible had been stored before | order rules O4, O6 |
//! | `unknown-outcome` | what may or may not have happened is neither announced nor undone before it was read back | order rule O7; FLINK-22494 |
//! | `one-outcome` | a triggered checkpoint completes or is aborted, once, and only what happened is notified | order rules O6, O9; FLINK-22494 |
//! | `completed-is-restorable` | a retained completed checkpoint can be read back from storage at every instant | order rules O6, O7, O8 |
//! | `retention` | as many checkpoints count as shall be retained, and the others go pointer first | order rule O8; FLINK-22014 |
//! | `members-only` | only processes that know the secret of a job change what it does | Flink: SSL Setup (internal connectivity) |
//! | `client-answers` | whoever asks something of a running job is answered once, and with what is durable | Flink: Checkpoints; order rule O6 |
//! | `clean-failure` | a job fails only once its restarts are used up, durably, and then nothing follows | order rule O12; FLINK-31041, FLINK-25486 |
//! | `restart-policy` | attempts follow failures as often, and as long after them, as the restart strategy says | Flink: Task Failure Recovery |
//! | `restore-uses-latest` | an attempt restores the newest durable completed checkpoint | order rules O9, O11 |
//! | `input-as-listed` | a run reads one listing of its input, which is what was there when it was made | FLIP-27 |
//! | `exactly-once-output` | visible output is the effect of every record once, and never ahead of a durable checkpoint | Flink: End-to-End Exactly-Once Processing |
//! | `external-output` | systems outside show the effect of every record once, and never ahead of a durable checkpoint | Flink: End-to-End Exactly-Once Processing; Kafka: KIP-98 |
//! | `visible-belongs-to-log` | what becomes visible belongs to the log that owns the output, and is never ahead of it | Flink: Two-phase commit; a second job, an old copy and two copies at one output |
//! | `no-orphans` | a finished job leaves its retained checkpoints behind, and nothing else that is not output | order rules O5, O8; FLINK-5063 |
//! | `progress-after-healing` | once no fault strikes any more, the job finishes | FLIP-147 |
//!
//! *Invariant:* a judge is a pure function of the case; it decides nothing by chance, and by time only the one thing that is
//! promised in time: the pause between checkpoints.
//! *Invariant:* a judge shares no code with the protocol it judges: of the engine it uses the vocabulary, the
//! persisted formats, the offline reader and the operators, never cores or runtime.

pub mod case;
pub mod external;
pub mod history;
pub mod judges;
pub mod ledger;
#[cfg(test)]
mod story;
pub mod tally;
pub mod unstable;
pub mod witness;

pub use case::{Case, HARNESS, Property, Reference, Violation};
pub use judges::PROPERTIES;
pub use tally::Tally;

/// Every property's first violation, in the order of [`PROPERTIES`]: exactly-once state first.
pub fn judge_all(case: &Case<'_>) -> Vec<Violation> {
    PROPERTIES.iter().filter_map(|property| (property.judge)(case)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_the_crate_head_is_the_table() {
        let head = include_str!("lib.rs");
        let mut rows = head.lines().filter_map(|line| line.strip_prefix("//! | `"));
        for property in PROPERTIES {
            let row = rows.next().expect("a row for each property");
            assert!(row.starts_with(&format!("{}` | {} |", property.name, property.about)), "{row}");
        }
        assert_eq!(rows.next(), None);
    }
}
