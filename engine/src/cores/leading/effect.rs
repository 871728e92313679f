//! What the leading coordinator asks for, what its shell does next, and what an attempt begins with.

use super::ending::JobEnd;
use crate::cores::completed::Retained;
use crate::cores::{connections, retention};
use crate::door::Time;
use crate::error::Result;
use crate::event::Event;
use crate::ids::Attempt;
use crate::messages::ListingHandle;
use crate::persist::manifest::Manifest;
use crate::persist::mark::{Mark, Name};
use crate::persist::sign::Sign;
use crate::persist::slot::Slot;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a leading coordinator asks for. Effects are performed in their order: an event that starts something stands
/// before it, and one that ends something behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Announce this.
    Announce(Event),
    /// Send, read on or close.
    Connection(connections::Effect),
    /// Draw a writer's token for slot `number`; then [`on_token`](super::Leading::on_token), at once. Always the last
    /// effect of a step: the core has paused.
    DrawToken {
        /// The slot that is about to be proposed.
        number: u64,
    },
    /// Draw one of [`DRAWS`](crate::cores::restarting::DRAWS); then [`on_delay`](super::Leading::on_delay), at once.
    /// Always the last effect of a step: the core has paused.
    DrawDelay {
        /// The attempt that failed.
        attempt: Attempt,
    },
    /// Read the wall clock; then [`on_wall_clock`](super::Leading::on_wall_clock), at once. Always the last effect of a
    /// step: the core has paused.
    ReadWallClock,
    /// List the numbers of the slots that exist; then [`on_log_listed`](super::Leading::on_log_listed).
    ListLog {
        /// How long to wait first.
        delay: Duration,
    },
    /// Read a slot; then [`on_slot_read`](super::Leading::on_slot_read).
    ReadSlot {
        /// Which one.
        number: u64,
        /// How long to wait first.
        delay: Duration,
    },
    /// Create a slot if there is none of its number; then [`on_slot_created`](super::Leading::on_slot_created).
    CreateSlot {
        /// Which one.
        number: u64,
        /// What it shall say.
        slot: Slot,
        /// How long to wait first.
        delay: Duration,
    },
    /// Write a manifest; then [`on_manifest_written`](super::Leading::on_manifest_written).
    WriteManifest {
        /// Where.
        path: String,
        /// The manifest.
        manifest: Manifest,
        /// How long to wait first.
        delay: Duration,
    },
    /// Delete what an aborted checkpoint stored; then [`on_discarded`](super::Leading::on_discarded).
    Discard {
        /// Paths.
        paths: Vec<String>,
    },
    /// List the marks of the output; then [`on_marks_listed`](super::Leading::on_marks_listed).
    ListMarks {
        /// How long to wait first.
        delay: Duration,
    },
    /// Read a mark; then [`on_mark_read`](super::Leading::on_mark_read).
    ReadMark {
        /// Which one.
        name: Name,
        /// How long to wait first.
        delay: Duration,
    },
    /// Create a mark if there is none of its name; then [`on_mark_created`](super::Leading::on_mark_created).
    CreateMark {
        /// The mark.
        mark: Mark,
        /// How long to wait first.
        delay: Duration,
    },
    /// Delete marks; then [`on_marks_deleted`](super::Leading::on_marks_deleted).
    DeleteMarks {
        /// Which ones.
        names: Vec<Name>,
    },
    /// Read the latest completed checkpoint; then [`on_restore_read`](super::Leading::on_restore_read).
    ReadRestore {
        /// The attempt that restores it.
        attempt: Attempt,
        /// The checkpoint.
        latest: Retained,
    },
    /// List the input and store the listing; then [`on_input_listed`](super::Leading::on_input_listed).
    ListInput {
        /// The attempt that starts from nothing.
        attempt: Attempt,
        /// Where the listing is stored.
        path: String,
        /// What is listed.
        inputs: Vec<String>,
    },
    /// Look what came to the input since it was listed; then [`on_input_compared`](super::Leading::on_input_compared).
    CompareInput {
        /// The listing.
        listing: ListingHandle,
    },
    /// Overwrite the sign of life; then [`on_sign_written`](super::Leading::on_sign_written).
    WriteSign(Sign),
    /// Clear away what processes other than these incarnations have begun to write and not finished. Nothing answers.
    ClearUnfinished {
        /// The incarnations that may still finish what they write.
        living: BTreeSet<u64>,
    },
    /// What retention asks for; then [`on_manifest_read`](super::Leading::on_manifest_read),
    /// [`on_probed`](super::Leading::on_probed), [`on_sweep_listed`](super::Leading::on_sweep_listed),
    /// [`on_deleted`](super::Leading::on_deleted) or [`on_freed`](super::Leading::on_freed).
    Clean(retention::Effect),
    /// Wait until the outcome of every write of this process is known, but not longer than `limit`; then
    /// [`on_drained`](super::Leading::on_drained).
    Drain {
        /// For how long at most.
        limit: Duration,
    },
    /// Ask storage for nothing more. What is under way goes on, and begins nothing else.
    Cease,
    /// Delete what sinks have staged in these folders; then [`on_staging_swept`](super::Leading::on_staging_swept).
    SweepStaging {
        /// The folders.
        folders: Vec<String>,
    },
}

/// What the shell does once nothing is left of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Next {
    /// Wait for an input, but not longer than this; then [`on_alarm`](super::Leading::on_alarm).
    WaitUntil(Time),
    /// The leadership is over.
    End(Result<JobEnd>),
}

/// What an attempt begins with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// The checkpoint; `None` starts from nothing.
    pub restore: Option<crate::messages::RestoreFrom>,
    /// The listing of the input, if the job reads objects.
    pub listing: Option<ListingHandle>,
}
