//! Checkpointing against a reference that only counts: whatever happens, and in whatever order, every checkpoint has one
//! outcome, the log's ids rise, every request is answered once, failures are tolerated exactly as often as they may be, and
//! the next checkpoint always comes.

use super::*;
use crate::reason::Counting;
use proptest::prelude::*;

const MIDDLE: SubtaskId = SubtaskId { operator: OperatorId(2), index: 0 };
const ALL: [SubtaskId; 3] = [SOURCE, SINK, MIDDLE];

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Id,
    NoId,
    /// A subtask acknowledges a checkpoint that was triggered lately, perhaps not for the first time.
    Ack(usize, usize),
    Decline(usize, usize),
    Manifest(bool),
    Slot(bool),
    Request,
    Backlog(usize),
    EndInput(usize),
    Finish(usize),
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..900_u64).prop_map(Step::Wait),
        6 => Just(Step::Id),
        1 => Just(Step::NoId),
        20 => (0..3_usize, 0..4_usize).prop_map(|(subtask, back)| Step::Ack(subtask, back)),
        1 => (0..3_usize, 0..4_usize).prop_map(|(subtask, back)| Step::Decline(subtask, back)),
        6 => prop::bool::weighted(0.8).prop_map(Step::Manifest),
        6 => prop::bool::weighted(0.8).prop_map(Step::Slot),
        2 => Just(Step::Request),
        1 => (0..4_usize).prop_map(Step::Backlog),
        1 => (0..3_usize).prop_map(Step::EndInput),
        2 => (0..3_usize).prop_map(Step::Finish),
        1 => Just(Step::Fail),
    ];
    proptest::collection::vec(step, 1..300)
}

fn policies() -> impl Strategy<Value = CheckpointConfig> {
    (1..4_usize, prop_oneof![Just(0_u64), 100..2000_u64], 0..4_u32).prop_map(
        |(max_concurrent, pause_ms, tolerable_failures)| CheckpointConfig {
            max_concurrent,
            min_pause: Duration::from_millis(pause_ms),
            tolerable_failures,
            ..config()
        },
    )
}

/// What the coordinator around the core would know, and the reference.
struct World {
    core: Checkpointing,
    config: CheckpointConfig,
    now: Time,
    attempt: u32,
    live: bool,
    next_id: u64,
    wants_id: bool,
    writing: Option<u64>,
    adding: Option<u64>,
    /// Ids triggered, with their attempt; oldest first.
    triggered: Vec<(u64, u32)>,
    pending: BTreeSet<u64>,
    completed: Vec<u64>,
    completed_at: Option<Time>,
    ended: BTreeSet<SubtaskId>,
    /// The newest checkpoint that each has acknowledged without its end: no older one holds it, whenever its ack comes.
    open: BTreeMap<SubtaskId, CheckpointId>,
    /// Whose end the last completed checkpoint holds.
    held: BTreeSet<SubtaskId>,
    /// Whether it completed while the present attempt ran: before that nobody exits.
    told: bool,
    finished: BTreeSet<SubtaskId>,
    over: bool,
    asked: u64,
    unanswered: BTreeSet<RequestId>,
    failures: u32,
    backlog: usize,
}

impl World {
    fn new(config: CheckpointConfig) -> Self {
        let topology = BTreeMap::from([
            (SOURCE, BTreeSet::new()),
            (SINK, BTreeSet::from([MIDDLE])),
            (MIDDLE, BTreeSet::from([SOURCE])),
        ]);
        let mut world = Self {
            core: Checkpointing::new(&config, Topology::new(topology)),
            config,
            now: at_ms(1),
            attempt: 0,
            live: false,
            next_id: 1,
            wants_id: false,
            writing: None,
            adding: None,
            triggered: Vec::new(),
            pending: BTreeSet::new(),
            completed: Vec::new(),
            completed_at: None,
            ended: BTreeSet::new(),
            open: BTreeMap::new(),
            held: BTreeSet::new(),
            told: false,
            finished: BTreeSet::new(),
            over: false,
            asked: 0,
            unanswered: BTreeSet::new(),
            failures: 0,
            backlog: 0,
        };
        world.deploy();
        world
    }

    fn deploy(&mut self) {
        self.attempt += 1;
        (self.live, self.wants_id, self.over, self.told) = (true, false, false, false);
        self.finished.clear();
        self.ended.clear();
        let restore = self.completed.last().map(|checkpoint| RestoreFrom {
            checkpoint: id(*checkpoint),
            snapshots: ALL.map(|one| (one, handle(*checkpoint, one, self.held.contains(&one)))).into(),
        });
        self.core.on_deployed(attempt(self.attempt), restore.as_ref());
        let mut out = Vec::new();
        self.core.on_running(self.now, attempt(self.attempt), &mut out);
        self.perform(out);
        // Whoever had ended says so again.
        for subtask in self.held.clone() {
            self.end_input(subtask);
        }
    }

    fn end_input(&mut self, subtask: SubtaskId) {
        let mut out = Vec::new();
        if self.live && self.ended.insert(subtask) {
            self.core.on_input_ended(self.now, attempt(self.attempt), subtask, &mut out);
        }
        self.perform(out);
    }

    fn fail(&mut self) {
        if !std::mem::replace(&mut self.live, false) {
            return;
        }
        let mut out = Vec::new();
        let settlement = self.core.on_attempt_over(self.now, attempt(self.attempt), "crash", &mut out);
        self.perform(out);
        assert!(self.unanswered.iter().all(|request| self.asks_for_completing(*request)), "nobody waits for nothing");
        if settlement == Settlement::Settled {
            self.deploy();
        }
    }

    fn asks_for_completing(&self, request: RequestId) -> bool {
        self.core.pending.values().any(|pending| pending.is_completing() && pending.request == Some(request))
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Allocate => {
                    assert!(!std::mem::replace(&mut self.wants_id, true), "one id is asked for at a time");
                    let max = if self.config.min_pause.is_zero() { self.config.max_concurrent } else { 1 };
                    assert!(self.pending.len() < max && self.backlog <= max, "there is room");
                }
                Effect::Trigger { barrier, wait, .. } => {
                    assert!(wait.is_disjoint(&self.finished), "nobody waits for whoever has finished");
                    self.triggered.push((barrier.checkpoint.0, self.attempt));
                    self.pending.insert(barrier.checkpoint.0);
                }
                Effect::WriteManifest { checkpoint, contributions, .. } => {
                    assert!(self.writing.replace(checkpoint.0).is_none() && self.adding.is_none(), "one at a time");
                    assert!(contributions.keys().eq(BTreeSet::from(ALL).iter()), "all of them");
                }
                Effect::AddToStore { checkpoint, .. } => {
                    assert!(self.adding.replace(checkpoint.0).is_none(), "one at a time");
                }
                Effect::Complete(completion) => self.complete(&completion),
                Effect::Abort { checkpoint, reason, .. } => self.abort(checkpoint.0, &reason),
                Effect::Answer { request, .. } => {
                    assert!(self.unanswered.remove(&request), "{request} is answered once");
                }
                Effect::Settle => self.deploy(),
                Effect::FailAttempt { .. } => {
                    assert!(self.failures > self.config.tolerable_failures, "{} failures", self.failures);
                    self.failures = 0;
                    self.fail();
                }
                Effect::Notify { .. } | Effect::Discard { .. } => {}
            }
        }
    }

    fn complete(&mut self, completion: &CompletionReport) {
        let checkpoint = completion.checkpoint.0;
        assert!(self.pending.remove(&checkpoint), "it was pending");
        assert!(self.completed.last() < Some(&checkpoint), "{checkpoint} after {:?}", self.completed);
        self.completed.push(checkpoint);
        self.completed_at = Some(self.now);
        self.failures = 0;
        let ended = self.core.latest.iter().filter(|(_, handle)| handle.ended);
        self.held = ended.map(|(subtask, _)| *subtask).collect();
        assert_eq!(completion.last, self.held.len() == ALL.len());
        (self.over, self.told) = (completion.last, self.live);
    }

    fn abort(&mut self, checkpoint: u64, reason: &FailureReason) {
        assert!(self.pending.remove(&checkpoint), "it was pending");
        let live = self.live && self.triggered.contains(&(checkpoint, self.attempt));
        let subsumed = matches!(reason, FailureReason::Subsumed { .. });
        assert!(subsumed || self.completed.last() < Some(&checkpoint), "what is overtaken is subsumed");
        if live && reason.counting() == Counting::Counted {
            self.failures += 1;
        }
    }

    fn recent(&self, back: usize) -> Option<(CheckpointId, Attempt)> {
        let (checkpoint, number) = self.triggered.iter().rev().nth(back)?;
        Some((id(*checkpoint), attempt(*number)))
    }

    fn step(&mut self, step: &Step) {
        let mut out = Vec::new();
        match *step {
            Step::Wait(ms) => {
                self.now = self.now + Duration::from_millis(ms);
                self.core.on_alarm(self.now, &mut out);
            }
            Step::Id if std::mem::take(&mut self.wants_id) => {
                self.core.on_id(self.now, 0, id(self.next_id), &mut out);
                self.next_id += 1;
            }
            Step::NoId if std::mem::take(&mut self.wants_id) => self.core.on_no_id(self.now, "no space", &mut out),
            Step::Ack(subtask, back) => {
                if let Some((checkpoint, attempt)) = self.recent(back) {
                    let subtask = ALL[subtask];
                    let open = self.open.entry(subtask).or_default();
                    let ended = self.ended.contains(&subtask) && *open < checkpoint;
                    if !ended {
                        *open = checkpoint.max(*open);
                    }
                    let contribution = contribution(checkpoint.0, subtask, ended);
                    self.core.on_ack(self.now, attempt, checkpoint, subtask, contribution, &mut out);
                }
            }
            Step::Decline(subtask, back) => {
                if let Some((checkpoint, attempt)) = self.recent(back) {
                    let reason = FailureReason::UploadFailed("no space".into());
                    self.core.on_decline(self.now, attempt, checkpoint, ALL[subtask], reason, &mut out);
                }
            }
            Step::Manifest(well) => {
                if let Some(checkpoint) = self.writing.take() {
                    let reply = if well { Ok(()) } else { Err(Error::restart("no space")) };
                    self.core.on_manifest_written(self.now, id(checkpoint), reply, &mut out);
                }
            }
            Step::Slot(well) => match (self.adding.take(), well) {
                (Some(checkpoint), true) => self.core.on_added(self.now, id(checkpoint), 1, &mut out),
                (Some(checkpoint), false) => self.core.on_not_added(self.now, id(checkpoint), "no space", &mut out),
                (None, _) => {}
            },
            Step::Request => {
                self.asked += 1;
                self.unanswered.insert(RequestId(self.asked));
                self.core.on_request(self.now, RequestId(self.asked), &mut out);
            }
            Step::Backlog(backlog) => {
                self.backlog = backlog;
                self.core.on_backlog(self.now, backlog, &mut out);
            }
            Step::EndInput(subtask) => return self.end_input(ALL[subtask]),
            // Only whoever's end is part of a completed checkpoint of this attempt may exit.
            Step::Finish(subtask) => {
                let subtask = ALL[subtask];
                if self.live && self.told && self.ended.contains(&subtask) && self.held.contains(&subtask) {
                    self.finished.insert(subtask);
                    self.core.on_finished(self.now, attempt(self.attempt), subtask, &mut out);
                }
            }
            Step::Fail => return self.fail(),
            Step::Id | Step::NoId => {}
        }
        self.perform(out);
    }

    /// From here on everything goes well: sooner or later the next checkpoint completes.
    fn expect_progress(&mut self) {
        let before = self.completed.len();
        self.step(&Step::Backlog(0));
        for _ in 0..200 {
            if self.over || self.completed.len() > before {
                return;
            }
            self.step(&Step::Id);
            (0..3).for_each(|back| (0..3).for_each(|subtask| self.step(&Step::Ack(subtask, back))));
            self.step(&Step::Manifest(true));
            self.step(&Step::Slot(true));
            self.step(&Step::Wait(500));
        }
        panic!("no checkpoint completes any more: {:?}", self.core);
    }
}

proptest! {
    #[test]
    fn whatever_happens_checkpoints_have_one_outcome_and_the_next_one_comes(policy in policies(), steps in steps()) {
        let mut world = World::new(policy);
        for step in &steps {
            world.step(step);
        }
        world.expect_progress();
    }
}
