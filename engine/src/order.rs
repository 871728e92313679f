//! The order rules: the dozen orders that everything else hangs on, each with the interleaving that breaks it.
//!
//! They are Flink's, learned from its bugs; code, judges and planted bugs cite them by number. Time runs to the right, `✗` marks
//! where it goes wrong.
//!
//! # O1. Checkpoint ids strictly increase for the life of the job
//! Across every fail-over, of the coordinator too. Subsumption, late messages and file names compare ids.
//! ```text
//! leader 1: trigger 5 ── crash          leader 2: trigger 5 again ── ack of the first 5 arrives ✗
//! ```
//! Here: ids are reserved in blocks in durable slots ([`crate::persist::slot`]); a leader starts above its predecessor's block.
//!
//! # O2. A trigger looks again after every wait
//! Allocate an id, make the plan, send: whatever happened meanwhile (stop, failure) must be seen before the next step.
//! ```text
//! ask for an id ── attempt fails ── id arrives ── trigger into the dead attempt ✗ (never completes, blocks the next)
//! ```
//!
//! # O3. Records, barrier, snapshot: one step
//! A subtask sends what it has produced, then the barrier, then takes the snapshot; no record is processed in between. Ids that are
//! not newer than the newest seen are ignored, and an abort goes downstream in-band.
//! ```text
//! barrier sent ── buffered record sent behind it ── snapshot has it as sent, the receiver's does not have it ✗ (lost)
//! ```
//!
//! # O4. An upload is either acknowledged or discarded
//! Never both: one place decides ([`crate::runtime::decision`]).
//! ```text
//! upload fails ── ack sent all the same ── checkpoint completes without the data ✗
//! ```
//!
//! # O5. A late acknowledgement still names files
//! An ack that cannot be added to its checkpoint must not leak what it stored, nor delete what another checkpoint may use.
//! ```text
//! 5 expires ── its last ack arrives, is dropped ── its blob stays for ever ✗
//! ```
//!
//! # O6. All acks, manifest, slot, and only then the rest
//! Durably adding to the completed store is the commit point. Notification, statistics and subsumption come behind it.
//! ```text
//! all acks ── notify: sinks commit ── crash before the slot ── restore the one before ── same output again ✗
//! ```
//!
//! # O7. An unknown outcome is neither success nor failure
//! A write whose reply was lost may have happened, or may still happen. It is settled by reading back a token; nothing is deleted.
//! ```text
//! create slot: applied, reply lost ── "failed": blobs deleted ── crash ── the slot points to nothing ✗
//! ```
//!
//! # O8. Pointers go before data
//! The floor that frees a checkpoint is durable before its files are deleted, manifest first.
//! ```text
//! delete blobs of 4 ── crash before 5 is added ── restore 4 ✗
//! ```
//!
//! # O9. Notifications may be lost, late or repeated
//! A higher id covers the lower ones: a sink commits everything up to the id it hears of, and everything restored.
//! ```text
//! staged for 5, notice lost ── notice of 6: commit 6 alone ── 5 is never visible ✗
//! ```
//!
//! # O10. What is restored is known before anything is subsumed
//! The log is read back completely before this leadership adds to it, so a floor is never raised past what was not yet read.
//!
//! # O11. The store is recovered once per leadership, all of it or not at all
//! ```text
//! 8 is durable and committed ── new leader cannot read slot 8, goes on with 7 ── 7→8 is output again ✗
//! ```
//!
//! # O12. Losing leadership is not the end of the job
//! A deposed coordinator stops and touches nothing. Only a leader may say that the job is over.
//! ```text
//! leadership lost ── "terminal state": clean up ── the next leader starts from nothing ✗
//! ```
