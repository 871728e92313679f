//! Several candidates and leaders over one storage that loses replies, fails, applies late, lists the past, and deletes
//! what the floor allows, the lowest first: whatever happens, a slot has one owner, and a checkpoint that was added stays added.

use super::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use std::collections::BTreeSet;

/// One proposal in so many is the end of the job.
const TOKENS_PER_END: u64 = 31;

/// What storage does with a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Served,
    Failed,
    AppliedReplyLost,
    Late,
    Lost,
}

#[derive(Clone, Debug)]
enum Step {
    /// Storage answers the outstanding request of a process; a listing is so many changes old.
    Answer { process: usize, fate: Fate, age: usize },
    /// Storage fails a process several times in a row.
    Outage(usize),
    /// The n-th delayed request takes effect.
    Land(usize),
    /// A process crashes and starts anew; its outstanding request may still land.
    Restart(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        8 => Just(Fate::Served),
        1 => Just(Fate::Failed),
        1 => Just(Fate::AppliedReplyLost),
        1 => Just(Fate::Late),
        1 => Just(Fate::Lost),
    ];
    let step = prop_oneof![
        30 => (0..3_usize, fate, prop_oneof![2 => Just(0), 1 => 0..12_usize])
            .prop_map(|(process, fate, age)| Step::Answer { process, fate, age }),
        1 => (0..3_usize).prop_map(Step::Outage),
        3 => (0..8_usize).prop_map(Step::Land),
        1 => (0..3_usize).prop_map(Step::Restart),
    ];
    proptest::collection::vec(step, 1..400)
}

/// A request whose effect is still on its way.
enum Delayed {
    Create(u64, Slot),
    Delete(u64),
}

#[derive(Default)]
struct World {
    objects: BTreeMap<u64, Slot>,
    /// The first slot ever created at each number: that one decided it.
    decided: BTreeMap<u64, Slot>,
    delayed: Vec<Delayed>,
    /// The slots that there were after each change.
    past: Vec<Vec<u64>>,
    /// Every slot up to this one has been freed.
    freed: u64,
    /// How old the next listing is, in changes.
    age: usize,
    stale: usize,
    rejected: BTreeSet<u64>,
    generations: BTreeSet<Generation>,
    tokens: u64,
    accepted: usize,
    ghosts: usize,
    /// Processes that were told that the job is over.
    told_over: usize,
}

struct Process {
    store: Completed,
    request: Option<Effect>,
    /// Changes that there had been when it was made.
    made: usize,
}

impl World {
    fn token(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    fn process(&mut self) -> Process {
        let store = Completed::new(self.token(), super::mark(), Start::Submit);
        let mut process = Process { store, request: None, made: 0 };
        let mut out = Vec::new();
        process.store.start(&mut out);
        self.perform(&mut process, out);
        process
    }

    fn create(&mut self, number: u64, slot: Slot) -> Result<(), StorageError> {
        if self.objects.contains_key(&number) {
            return exists();
        }
        self.ghosts += usize::from(self.decided.contains_key(&number));
        self.decided.entry(number).or_insert_with(|| slot.clone());
        self.objects.insert(number, slot);
        self.changed();
        Ok(())
    }

    fn changed(&mut self) {
        self.past.push(self.objects.keys().copied().collect());
    }

    /// A listing that was waited for is not older than its request.
    fn listed(&mut self, delay: Duration, made: usize) -> Vec<u64> {
        let oldest = if delay >= LISTING_AGE_MAX { made } else { 0 };
        let then = self.past.len().saturating_sub(self.age).max(oldest);
        let listed = then.checked_sub(1).map(|then| self.past[then].clone()).unwrap_or_default();
        self.stale += usize::from(!listed.iter().eq(self.objects.keys()));
        listed
    }

    /// Nobody deletes a slot before all below it are gone for certain.
    fn free(&mut self, number: u64) {
        if number > self.freed + 1 {
            return self.delayed.push(Delayed::Delete(number));
        }
        self.freed = self.freed.max(number);
        if self.objects.remove(&number).is_some() {
            self.changed();
        }
    }

    fn land(&mut self, index: usize) {
        if index >= self.delayed.len() {
            return;
        }
        match self.delayed.remove(index) {
            Delayed::Create(number, slot) => drop(self.create(number, slot)),
            Delayed::Delete(number) => self.free(number),
        }
    }

    fn answer(&mut self, process: &mut Process, fate: Fate) {
        let mut out = Vec::new();
        match process.request.take().expect("a process waits for storage or is over") {
            Effect::List { delay } => {
                let reply = if let Fate::Served = fate { Ok(self.listed(delay, process.made)) } else { failed() };
                process.store.on_listed(reply, &mut out);
            }
            Effect::Read { number, .. } => {
                let found = || self.objects.get(&number).map_or_else(absent, |slot| Ok(slot.encode()));
                process.store.on_read(number, if let Fate::Served = fate { found() } else { unknown() }, &mut out);
            }
            Effect::Create { number, slot, .. } => {
                let reply = match fate {
                    Fate::Served => self.create(number, slot),
                    Fate::Failed => failed(),
                    Fate::AppliedReplyLost => self.create(number, slot).and_then(|()| unknown()),
                    Fate::Late => {
                        self.delayed.push(Delayed::Create(number, slot));
                        unknown()
                    }
                    Fate::Lost => unknown(),
                };
                process.store.on_created(number, reply, &mut out);
            }
            other => panic!("{other:?} is not a request"),
        }
        self.perform(process, out);
    }

    fn perform(&mut self, process: &mut Process, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::List { .. } | Effect::Read { .. } | Effect::Create { .. } => {
                    assert!(process.request.replace(effect).is_none(), "one request at a time");
                    process.made = self.past.len();
                }
                Effect::Lead { generation, number } => self.led(process, generation, number),
                Effect::Accept { number, record } => {
                    self.accepted += 1;
                    assert_eq!(self.decided[&number].record, record, "an accepted record decided its slot");
                    if let SlotRecord::Ended { .. } = record {
                        continue;
                    }
                    if let SlotRecord::Completed { floor, .. } = record {
                        let below: Vec<u64> = self.objects.range(..floor).map(|(number, _)| *number).collect();
                        self.delayed.extend(below.into_iter().map(Delayed::Delete));
                    }
                    self.propose(process);
                }
                Effect::Reject { .. } => self.propose(process),
                Effect::StepDown => {
                    let own = process.store.generation();
                    let top = self.decided.values().next_back().expect("the leader's own slot");
                    assert!(top.generation > own, "whoever steps down has a successor");
                }
                Effect::Fail { error } => panic!("nothing here is corrupt: {error}"),
                Effect::Over { how } => {
                    let top = self.decided.values().next_back().expect("the end of the job");
                    assert!(matches!(&top.record, SlotRecord::Ended { how: end, .. } if *end == how), "{how}: not yet");
                    self.told_over += 1;
                }
                Effect::StillLeads | Effect::Doubt | Effect::GiveWay { .. } => panic!("nobody asked"),
            }
        }
    }

    fn led(&mut self, process: &mut Process, generation: Generation, number: u64) {
        let slot = &self.decided[&number];
        assert_eq!((slot.token, slot.generation), (process.store.token, generation), "the claim decided its slot");
        assert!(self.generations.insert(generation), "{generation} is led once");
        let before = self.decided.range(..number).rev();
        let newest = before.clone().find_map(|(_, slot)| match &slot.record {
            SlotRecord::Completed { checkpoint, .. } => Some(*checkpoint),
            SlotRecord::NewGeneration | SlotRecord::IdsReserved | SlotRecord::Ended { .. } => None,
        });
        let latest = process.store.latest().map(|latest| latest.checkpoint);
        assert_eq!(latest, newest, "no added checkpoint is lost to a new leader");
        let reserved = before.map(|(_, slot)| slot.ids_reserved).max().unwrap_or_default();
        assert!(process.store.next_id() > reserved, "no id is used twice");
        self.propose(process);
    }

    /// A leader always has a next checkpoint, and keeps two; now and then the job finishes with the newest.
    fn propose(&mut self, process: &mut Process) {
        let number = process.store.next_number();
        let retained = process.store.retained();
        let token = self.token();
        let record = match process.store.allocate() {
            Some(checkpoint) => {
                let floor = retained.last().map_or(number, |newest| newest.number);
                completed(checkpoint.0, floor)
            }
            None => SlotRecord::IdsReserved,
        };
        let how = retained.last().map(|newest| Ended::Finished { checkpoint: newest.checkpoint });
        let record = match how {
            Some(how) if token.is_multiple_of(TOKENS_PER_END) => {
                SlotRecord::Ended { how, floor: process.store.floor() }
            }
            _ => record,
        };
        let mut out = Vec::new();
        process.store.propose(token, record, &mut out);
        self.perform(process, out);
    }

    fn check(&self) {
        let tops = (self.decided.keys().next_back(), self.objects.keys().next_back());
        assert_eq!(tops.0, tops.1, "the top of the log is never deleted");
        assert!(self.decided.keys().copied().eq(1..=self.decided.len() as u64), "the log has no holes");
        let rejected = self.decided.values().find(|slot| self.rejected.contains(&slot.token));
        assert!(rejected.is_none(), "what was rejected never appears: {rejected:?}");
    }
}

fn play(steps: Vec<Step>) -> World {
    let mut world = World::default();
    let mut processes: Vec<Process> = (0..3).map(|_| world.process()).collect();
    for step in steps {
        match step {
            Step::Answer { process, fate, age } => {
                world.age = age;
                world.answer_and_note(&mut processes[process], fate);
            }
            Step::Outage(process) => {
                (0..CREATE_TRIES).for_each(|_| world.answer_and_note(&mut processes[process], Fate::Failed));
            }
            Step::Land(index) => world.land(index),
            Step::Restart(process) => {
                if let Some(Effect::Create { number, slot, .. }) = processes[process].request.take() {
                    world.delayed.push(Delayed::Create(number, slot));
                }
                processes[process] = world.process();
            }
        }
        world.check();
    }
    world
}

/// The token of the slot that a leader proposes.
fn proposal_token(process: &Process) -> Option<u64> {
    match &process.store.stage {
        Stage::Proposing(proposal) => Some(proposal.slot.token),
        Stage::New
        | Stage::Reading(_)
        | Stage::Claiming(_)
        | Stage::Leading
        | Stage::Confirming { .. }
        | Stage::Over => None,
    }
}

impl World {
    fn answer_and_note(&mut self, process: &mut Process, fate: Fate) {
        if process.request.is_none() {
            return;
        }
        let proposed = proposal_token(process);
        self.answer(process, fate);
        if let (Some(token), true) = (proposed, proposal_token(process) != proposed) {
            self.note_rejection(process, token);
        }
    }

    /// The proposal with `token` is no more: if it is not in the leader's log it was rejected, unless the leader
    /// stepped down without an opinion.
    fn note_rejection(&mut self, process: &Process, token: u64) {
        let added = process.store.log.values().any(|slot| slot.token == token);
        if !added && !matches!(process.store.stage, Stage::Over) {
            self.rejected.insert(token);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_has_one_owner_and_an_added_checkpoint_is_never_lost(steps in steps()) {
        let mut world = play(steps);
        world.age = 0;
        // Whatever still travels lands, and a last candidate finds every checkpoint that was added.
        world.delayed.sort_by_key(|delayed| match delayed {
            Delayed::Create(number, _) | Delayed::Delete(number) => *number,
        });
        while !world.delayed.is_empty() {
            world.land(0);
        }
        let told_over = world.told_over;
        let mut last = world.process();
        while !last.store.leads() && world.told_over == told_over {
            world.answer(&mut last, Fate::Served);
        }
        world.check();
    }
}

/// Steps in short: `1` process 1 is served, `1~` late, `L0` the first delayed request lands, `R1` process 1 restarts.
fn written(steps: &str) -> Vec<Step> {
    let step = |word: &str| {
        let digits: String = word.chars().filter(char::is_ascii_digit).collect();
        let index = digits.parse().expect("every step has its number");
        match word.trim_matches(|c: char| c.is_ascii_digit()) {
            "" => Step::Answer { process: index, fate: Fate::Served, age: 0 },
            "~" => Step::Answer { process: index, fate: Fate::Late, age: 0 },
            "L" => Step::Land(index),
            "R" => Step::Restart(index),
            other => panic!("{other} is no step"),
        }
    };
    steps.split_whitespace().map(step).collect()
}

/// Process 2 lists the log before slot 1 is deleted, and reads on when late creates of g1 and g2 have landed on 1 to 3.
#[test]
fn late_creates_on_deleted_slots_are_no_damage() {
    let early = "0 1 0 0~ 1 L0 2 0 R1 2 2 0 0 0 2~ 1 1 2 0 L0 0 0~ 2 L0 2 0 0 0 L3 L0 2 2";
    assert!(play(written(early)).ghosts > 0, "they landed where slots had been deleted");
}

#[test]
fn the_model_meets_what_it_is_for() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut accepted, mut rejected, mut ghosts, mut leaders, mut stale, mut over) = (0, 0, 0, 0, 0, 0);
    for _ in 0..300 {
        let steps = steps().new_tree(&mut runner).expect("steps are drawn").current();
        let world = play(steps);
        accepted += world.accepted;
        rejected += world.rejected.len();
        ghosts += world.ghosts;
        leaders += world.generations.len();
        stale += world.stale;
        over += world.told_over;
    }
    assert!(over > 50, "{over} processes were told that the job is over");
    assert!(stale > 100, "{stale} listings were out of date");
    assert!(accepted > 1000, "{accepted} proposals accepted");
    assert!(leaders > 1000, "{leaders} leaderships");
    assert!(ghosts > 10, "{ghosts} delayed creates on the number of a deleted slot");
    assert!(rejected > 0, "{rejected} proposals rejected");
}
