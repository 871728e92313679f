//! What begins and ends: lives of processes, attempts, and the stages of a checkpoint.
//!
//! A span that never ends because its process or its attempt did is *open*: it is drawn up to there.
//!
//! Spans of a lane lie on tracks, so that what overlaps is seen side by side. Lives and attempts lie behind everything.

use super::lanes::Lanes;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::Attempt;
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, What};
use std::collections::BTreeMap;

/// What a span is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// A process lives.
    Life,
    /// A subtask acts in an attempt, or a coordinator runs one.
    Attempt,
    /// A checkpoint is pending.
    Pending,
    /// Some barriers are here, others not.
    Alignment,
    /// From the last barrier to the snapshot.
    Sync,
    /// From the snapshot to its bytes.
    Async,
    /// The bytes are on their way to storage.
    Upload,
    /// The manifest is.
    Manifest,
    /// The slot is.
    Completion,
    /// Output becomes visible.
    Commit,
    /// A subtask restores.
    Restore,
}

impl Sort {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Life,
        Self::Attempt,
        Self::Pending,
        Self::Alignment,
        Self::Sync,
        Self::Async,
        Self::Upload,
        Self::Manifest,
        Self::Completion,
        Self::Commit,
        Self::Restore,
    ];

    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Life => "life",
            Self::Attempt => "attempt",
            Self::Pending => "pending checkpoint",
            Self::Alignment => "alignment",
            Self::Sync => "snapshot, synchronous",
            Self::Async => "snapshot, encoding",
            Self::Upload => "upload",
            Self::Manifest => "manifest",
            Self::Completion => "completion",
            Self::Commit => "commit",
            Self::Restore => "restore",
        }
    }

    fn is_background(self) -> bool {
        matches!(self, Self::Life | Self::Attempt)
    }
}

/// A span between two entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// On which lane.
    pub lane: usize,
    /// The entry that begins it.
    pub from: usize,
    /// The entry that ends it.
    pub to: usize,
    /// What it is about.
    pub sort: Sort,
    /// Which checkpoint, or 0.
    pub checkpoint: u64,
    /// Whether it was cut off.
    pub open: bool,
    /// Which track of its lane.
    pub track: usize,
}

/// Most tracks of a lane; more overlap.
const TRACKS: usize = 5;

/// Every span of a history, by lane and beginning.
pub fn of(history: &History, lanes: &Lanes) -> Vec<Span> {
    let mut open = Open::default();
    for (at, entry) in history.entries.iter().enumerate() {
        let lane = lanes.of_entry(entry);
        match &entry.what {
            What::Claim(event) => open.on_claim(at, lane, entry, event),
            What::Fact(Fact::Started) => open.begin((lane, entry.by, Sort::Life, 0), at, None),
            What::Fact(Fact::Crashed | Fact::Ended(_)) => {
                open.end((lane, entry.by, Sort::Life, 0), at);
                open.cut_off(at, |key, _| key.1 == entry.by);
            }
            What::Fact(_) => {}
        }
    }
    open.cut_off(history.entries.len().saturating_sub(1), |_, _| true);
    let mut spans = open.spans;
    spans.sort_by_key(|span| (span.lane, span.from, span.sort));
    lay(&mut spans);
    spans
}

/// Whose span, of which sort, about which checkpoint.
type Key = (usize, Incarnation, Sort, u64);

#[derive(Default)]
struct Open {
    begun: BTreeMap<Key, (usize, Option<Attempt>)>,
    /// The last thing that each subtask did in its attempt.
    acting: BTreeMap<(usize, Incarnation, Attempt), (usize, usize)>,
    spans: Vec<Span>,
}

impl Open {
    fn begin(&mut self, key: Key, at: usize, attempt: Option<Attempt>) {
        self.begun.entry(key).or_insert((at, attempt));
    }

    fn end(&mut self, key: Key, at: usize) {
        if let Some((from, _)) = self.begun.remove(&key) {
            self.push(key, (from, at), false);
        }
    }

    fn push(&mut self, (lane, _, sort, checkpoint): Key, (from, to): (usize, usize), open: bool) {
        self.spans.push(Span { lane, from, to, sort, checkpoint, open, track: 0 });
    }

    /// Ends what will not end by itself any more.
    fn cut_off(&mut self, at: usize, which: impl Fn(&Key, Option<Attempt>) -> bool) {
        let over: Vec<Key> =
            self.begun.iter().filter(|(key, (_, attempt))| which(key, *attempt)).map(|(key, _)| *key).collect();
        for key in over {
            if let Some((from, _)) = self.begun.remove(&key) {
                self.push(key, (from, at), key.2 != Sort::Life && key.2 != Sort::Attempt);
            }
        }
    }

    fn on_claim(&mut self, at: usize, lane: usize, entry: &Entry, event: &Event) {
        let (by, attempt) = (entry.by, event.attempt());
        let checkpoint = event.checkpoint().map_or(0, |checkpoint| checkpoint.0);
        let mut begin = |sort| self.begin((lane, by, sort, checkpoint), at, attempt);
        match event.name() {
            "checkpoint_triggered" => begin(Sort::Pending),
            "alignment_started" => begin(Sort::Alignment),
            "trigger_received" => begin(Sort::Sync),
            "upload_started" => begin(Sort::Upload),
            "manifest_started" => begin(Sort::Manifest),
            "completion_started" => begin(Sort::Completion),
            "commit_started" => begin(Sort::Commit),
            "restore_started" => begin(Sort::Restore),
            _ => {}
        }
        let sorts: &[Sort] = match event.name() {
            "alignment_ended" | "alignment_aborted" => &[Sort::Alignment],
            "snapshot_taken" | "prepare_failed" => &[Sort::Sync],
            "upload_started" => &[Sort::Async],
            "upload_ended" => &[Sort::Upload],
            "upload_failed" => &[Sort::Async, Sort::Upload],
            "manifest_written" => &[Sort::Manifest],
            "completion_durable" | "checkpoint_aborted" => &[Sort::Completion, Sort::Pending],
            "commit_ended" => &[Sort::Commit],
            "restored" => &[Sort::Restore],
            _ => &[],
        };
        for sort in sorts {
            self.end((lane, by, *sort, checkpoint), at);
        }
        match event.name() {
            "alignment_ended" => self.begin((lane, by, Sort::Sync, checkpoint), at, attempt),
            "snapshot_taken" => self.begin((lane, by, Sort::Async, checkpoint), at, attempt),
            "attempt_deployed" => self.begin((lane, by, Sort::Attempt, 0), at, attempt),
            "attempt_failed" => self.end((lane, by, Sort::Attempt, 0), at),
            // An abort stops what is still stored for it, and a completion whatever is older.
            "abort_received" => self.cut_off(at, |key, _| (key.0, key.1) == (lane, by) && key.3 == checkpoint),
            "notify_received" => {
                self.cut_off(at, |key, _| (key.0, key.1) == (lane, by) && (1..checkpoint).contains(&key.3));
            }
            "attempt_cancelled" => self.cut_off(at, |key, of| key.1 == by && of == attempt),
            "subtask_failed" => self.cut_off(at, |key, _| (key.0, key.1) == (lane, by)),
            _ => {}
        }
        if let (Some(_), Some(attempt)) = (event.subtask(), attempt) {
            self.on_action((lane, by, attempt), at);
        }
    }

    /// A subtask acts: its attempt reaches as far as that.
    fn on_action(&mut self, (lane, by, attempt): (usize, Incarnation, Attempt), at: usize) {
        let is_worker = matches!(by.process, cofferdam_properties::history::Process::Worker(_));
        if !is_worker {
            return;
        }
        let place = match self.acting.get(&(lane, by, attempt)) {
            Some((_, place)) => *place,
            None => {
                self.push((lane, by, Sort::Attempt, 0), (at, at), false);
                self.spans.len() - 1
            }
        };
        self.spans[place].to = at;
        self.acting.insert((lane, by, attempt), (at, place));
    }
}

/// Gives every span the first track that is free, background aside.
fn lay(spans: &mut [Span]) {
    let mut lane = usize::MAX;
    let mut free: Vec<usize> = Vec::new();
    for span in spans {
        if span.lane != lane {
            (lane, free) = (span.lane, Vec::new());
        }
        if span.sort.is_background() {
            continue;
        }
        let track = free.iter().position(|until| *until <= span.from).unwrap_or(free.len()).min(TRACKS - 1);
        if track == free.len() {
            free.push(0);
        }
        span.track = track;
        free[track] = free[track].max(span.to);
    }
}
