//! The state of a world behind its one lock, and the step from one delivery to the next.
//!
//! A step takes the earliest delivery, sets the virtual time to it and performs it. Deliveries that concern nobody
//! who could be woken follow each other at once. Otherwise that one task is woken, and the next step comes when everything is
//! quiet again. So between two quiet moments exactly one task of the engine runs.

use super::incarnation::Door;
use super::keyed::Domain;
use super::network::Network;
use super::picks::Chooser;
use super::queue::{Arrival, Delivery, Queue};
use super::storage::Store;
use super::straggler::Straggler;
use super::strike::Faults;
use super::wait::Waits;
use super::{Budget, Counters, Main, OnError, ProcessSpec, RunEnd, Shared, WorldSpec};
use cofferdam_engine::door::BoxFuture;
use cofferdam_engine::hash::StableHasher;
use cofferdam_properties::external::Systems;
use cofferdam_properties::history::{Entry, Fact, History, Incarnation, Process, What};
use hashbrown::HashTable;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

/// Room for the history of a usual run, so that it need not be moved as it grows.
const USUAL_ENTRIES: usize = 4096;

/// The state of a world.
pub(crate) struct State {
    pub queue: Queue,
    pub waits: Waits,
    pub network: Network,
    pub store: Store,
    pub systems: Systems,
    pub faults: Faults,
    pub chooser: Chooser,
    pub counters: Counters,
    /// By incarnation: the objects of which it was told an unknown outcome, and nothing since.
    pub doubts: BTreeSet<(u32, String)>,
    /// Objects of the input that a fault has shortened.
    pub cut_off: BTreeSet<String>,
    /// Writes that are held until the job is over.
    pub stragglers: Vec<Straggler>,
    pub history: History,
    digest: StableHasher,
    lives: Vec<Life>,
    processes: Vec<ProcessState>,
    /// So many workers host subtasks.
    pub hosts: u16,
    tasks: Vec<Task>,
    /// Fenced incarnations whose node is still to be killed.
    to_kill: Vec<u32>,
    paused: bool,
    budget: Budget,
    events: u64,
    /// A step that only the driver can take.
    handed_over: Option<Step>,
    ended: Option<RunEnd>,
}

/// An incarnation.
struct Life {
    door: Arc<Door>,
    process: usize,
    /// Occurrences so far, by a hash of domain and site. Their order never shows.
    counts: HashTable<(u64, u64)>,
    paused_until: u64,
}

struct ProcessState {
    spec: ProcessSpec,
    incarnations: u32,
    alive: Option<u32>,
    starting: bool,
}

/// A task of the engine.
pub(crate) struct Task {
    key: u64,
    incarnation: u32,
    /// Until its first poll.
    future: Option<BoxFuture<'static, ()>>,
    aborted: Arc<AtomicBool>,
    waker: Option<Waker>,
    timers: u64,
}

impl Task {
    /// A task that was not polled yet.
    pub fn new(key: u64, incarnation: u32, future: Option<BoxFuture<'static, ()>>, aborted: Arc<AtomicBool>) -> Self {
        Self { key, incarnation, future, aborted, waker: None, timers: 0 }
    }
}

/// What is to be done for a delivery. [`Step::Wake`] is done by the driver or behind the turn of a task, all else by the driver.
pub(crate) enum Step {
    /// Wake whoever this wakes.
    Wake(Waker),
    /// Poll this task for the first time.
    Run { incarnation: u32, task: u32, future: BoxFuture<'static, ()>, aborted: Arc<AtomicBool> },
    /// Bring up this incarnation.
    Start { door: Arc<Door>, task: u32, main: Main, aborted: Arc<AtomicBool> },
    /// Drop this task, which was aborted before its first poll.
    Drop(BoxFuture<'static, ()>),
    /// Kill nodes first.
    Kill,
    /// The run is over.
    Over,
}

impl State {
    /// The state before the first delivery.
    pub fn new(spec: &mut WorldSpec) -> Self {
        let heal_at = spec.heal_at_ms.saturating_mul(1_000_000);
        let initial = std::mem::take(&mut spec.initial);
        let start = |spec: ProcessSpec| ProcessState { spec, incarnations: 0, alive: None, starting: true };
        Self {
            queue: Queue::default(),
            waits: Waits::default(),
            network: Network::default(),
            store: Store::new(initial.clone()),
            systems: spec.models.fresh(),
            faults: Faults::new(std::mem::take(&mut spec.faults), heal_at),
            chooser: Chooser::new(&spec.picks, spec.record_picks),
            counters: Counters::default(),
            doubts: BTreeSet::new(),
            cut_off: BTreeSet::new(),
            stragglers: Vec::new(),
            history: History { entries: Vec::with_capacity(USUAL_ENTRIES), initial },
            digest: StableHasher::default(),
            lives: Vec::new(),
            processes: std::mem::take(&mut spec.processes).into_iter().map(start).collect(),
            hosts: spec.hosts,
            tasks: Vec::new(),
            to_kill: Vec::new(),
            paused: false,
            budget: spec.budget,
            events: 0,
            handed_over: None,
            ended: None,
        }
    }

    /// Puts the first starts and all timed faults on the queue.
    pub fn begin(&mut self, world: &Shared) {
        for place in 0..self.processes.len() {
            self.schedule_start(world, place, 0);
        }
        self.arm_timers();
    }

    /// Adds to the history.
    pub fn record(&mut self, time: u64, by: Incarnation, what: What) {
        self.digest.write_u64(time);
        by.hash(&mut self.digest);
        what.hash(&mut self.digest);
        self.history.entries.push(Entry { time, by, what });
    }

    /// The digest of the history so far.
    pub fn fingerprint(&self) -> u64 {
        self.digest.finish()
    }

    /// Deliveries so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How often `site` has come up in `domain` for an incarnation; counts this time.
    pub fn count(&mut self, incarnation: u32, domain: Domain, site: u64) -> u64 {
        let key = site.rotate_left(domain as u32);
        let counts = &mut self.lives[incarnation as usize].counts;
        let (_, counter) =
            counts.entry(key, |(known, _)| *known == key, |(known, _)| *known).or_insert((key, 0)).into_mut();
        *counter += 1;
        *counter - 1
    }

    /// A draw that belongs to the task being polled.
    pub fn draw_for_task(&mut self, world: &Shared, domain: Domain, door: &Door) -> u64 {
        match self.tasks.get_mut(world.current_task() as usize) {
            Some(task) => {
                task.timers += 1;
                world.keyed.draw(domain, task.key, task.timers)
            }
            // Polled by no task of ours; the incarnation is all there is to go by.
            None => world.keyed.draw(domain, door.key, self.count(door.index, domain, 0)),
        }
    }

    /// An incarnation's door.
    pub fn incarnation(&self, index: u32) -> &Arc<Door> {
        &self.lives[index as usize].door
    }

    /// Which of the processes an incarnation is of.
    pub fn process_of(&self, index: u32) -> usize {
        self.lives[index as usize].process
    }

    /// The process at a place.
    pub fn process_at(&self, place: usize) -> Process {
        self.processes[place].spec.process
    }

    /// The place of a process.
    pub fn process_named(&self, process: Process) -> usize {
        let place = self.processes.iter().position(|candidate| candidate.spec.process == process);
        place.unwrap_or_else(|| panic!("validated: {process} is one of the world's processes"))
    }

    /// The living incarnation of a process.
    pub fn alive(&self, place: usize) -> Option<u32> {
        self.processes[place].alive
    }

    /// By whom something is recorded that happened to `index`, or to the world as a whole.
    pub fn witness(&self, index: Option<u32>) -> Incarnation {
        match index {
            Some(index) => self.incarnation(index).who,
            None => {
                let process = &self.processes[0];
                Incarnation { process: process.spec.process, number: process.incarnations.max(1) }
            }
        }
    }

    /// Adds a task; says its number.
    pub fn add_task(&mut self, task: Task) -> u32 {
        self.counters.tasks += 1;
        self.tasks.push(task);
        u32::try_from(self.tasks.len() - 1).expect("fewer than 2^32 tasks")
    }

    /// A task's logical identity.
    pub fn task_key(&self, task: u32) -> u64 {
        self.tasks[task as usize].key
    }

    /// A task is about to be polled for the first time.
    pub fn task_started(&mut self, task: u32, waker: Waker) {
        self.tasks[task as usize].waker = Some(waker);
    }

    /// A task will not be polled again.
    pub fn task_over(&mut self, task: u32) -> Option<Waker> {
        self.tasks[task as usize].waker.take()
    }

    /// A task of the engine panicked: the run is over.
    pub fn panicked(&mut self, incarnation: u32, message: String) {
        let process = self.incarnation(incarnation).who.process;
        self.ended.get_or_insert(RunEnd::Panicked { process, message });
    }

    fn schedule_start(&mut self, world: &Shared, place: usize, delay: u64) {
        let process = &mut self.processes[place];
        process.starting = true;
        let word = world.keyed.draw(Domain::Start, process.spec.process, u64::from(process.incarnations));
        let starts = world.now().saturating_add(delay).saturating_add(world.tuning.link.from_draw(word));
        self.queue.push(starts, word, Arrival::Start(place));
    }

    fn start(&mut self, world: &Arc<Shared>, place: usize) -> Step {
        let process = &mut self.processes[place];
        assert!(process.starting && process.alive.is_none(), "a process comes up when it is down");
        process.starting = false;
        process.incarnations += 1;
        let who = Incarnation { process: process.spec.process, number: process.incarnations };
        let index = u32::try_from(self.lives.len()).expect("fewer than 2^32 incarnations");
        process.alive = Some(index);
        let main = process.spec.main.clone();
        let door = Arc::new(Door::new(world.clone(), who, index));
        self.lives.push(Life { door: door.clone(), process: place, counts: HashTable::new(), paused_until: 0 });
        self.faults.incarnation_added(who.process);
        self.counters.starts += 1;
        self.record(world.now(), who, What::Fact(Fact::Started));
        let aborted = Arc::new(AtomicBool::new(false));
        let task = self.add_task(Task::new(door.key, index, None, aborted.clone()));
        Step::Start { door, task, main, aborted }
    }

    /// An incarnation dies: fenced at once, its node killed at the next quiet moment.
    fn fence(&mut self, world: &Shared, index: u32, crashed: bool) {
        let life = &self.lives[index as usize];
        assert!(!life.door.is_fenced(), "an incarnation dies once");
        life.door.fence();
        let alive = &mut self.processes[life.process].alive;
        if *alive == Some(index) {
            *alive = None;
        }
        self.disconnect(world, index, crashed);
        self.to_kill.push(index);
    }

    /// An incarnation crashes; the next one comes up after `restart_after` nanoseconds.
    pub fn crash(&mut self, world: &Shared, index: u32, restart_after: u64) {
        self.fence(world, index, true);
        self.counters.crashes += 1;
        let who = self.incarnation(index).who;
        self.record(world.now(), who, What::Fact(Fact::Crashed));
        self.schedule_start(world, self.process_of(index), restart_after);
    }

    /// The supervisor takes an incarnation for dead: another one comes up, and it lives on beside it.
    pub fn replace(&mut self, world: &Shared, index: u32, after: u64) {
        let place = self.process_of(index);
        assert_eq!(self.processes[place].alive.take(), Some(index), "the newest one is replaced");
        self.network.moved_away(index);
        self.schedule_start(world, place, after);
    }

    /// An incarnation that was replaced dies at last.
    fn take_down(&mut self, world: &Shared, index: u32) {
        if self.incarnation(index).is_fenced() {
            return;
        }
        self.fence(world, index, true);
        let who = self.incarnation(index).who;
        self.record(world.now(), who, What::Fact(Fact::Crashed));
        self.end_if_all_are_over();
    }

    fn end_if_all_are_over(&mut self) {
        if self.processes.iter().all(|process| !process.starting) && self.lives.iter().all(|life| life.door.is_fenced())
        {
            self.ended.get_or_insert(RunEnd::AllEnded);
        }
    }

    /// Nothing reaches an incarnation until then.
    pub fn pause(&mut self, index: u32, until: u64) {
        self.paused = true;
        self.lives[index as usize].paused_until = until;
    }

    /// The main function of an incarnation has returned.
    pub fn process_ended(&mut self, world: &Shared, index: u32, result: Result<String, String>) {
        let who = self.incarnation(index).who;
        let place = self.process_of(index);
        // One that was replaced has a successor already.
        let newest = self.alive(place) == Some(index);
        self.fence(world, index, false);
        self.record(world.now(), who, What::Fact(Fact::Ended(result.clone())));
        if let Err(message) = result
            && newest
        {
            match self.processes[place].spec.on_error {
                OnError::StayDown => {}
                OnError::Restart { after_ms } => self.schedule_start(world, place, after_ms.saturating_mul(1_000_000)),
                OnError::EndRun => {
                    self.ended.get_or_insert(RunEnd::Failed { process: who.process, message });
                }
            }
        }
        self.end_if_all_are_over();
    }

    /// A task has met a step that only the driver can take.
    pub fn hand_over(&mut self, step: Step) {
        assert!(self.handed_over.is_none(), "the driver takes one step at a time");
        self.handed_over = Some(step);
    }

    /// The driver's next step: what was handed over to it, or the next delivery's.
    pub fn next_step(&mut self, world: &Arc<Shared>) -> Step {
        self.handed_over.take().unwrap_or_else(|| self.step(world))
    }

    /// Makes deliveries up to the first that wakes a task or that the driver has a part in.
    pub fn step(&mut self, world: &Arc<Shared>) -> Step {
        loop {
            if !self.to_kill.is_empty() {
                return Step::Kill;
            }
            if self.ended.is_some() {
                return Step::Over;
            }
            let Some(delivery) = self.queue.pop() else {
                self.ended = Some(RunEnd::Deadlock);
                continue;
            };
            if let Some(over) = self.over_budget(&delivery) {
                self.ended = Some(over);
                continue;
            }
            if self.paused
                && let Some(until) = self.paused_until(world.now(), &delivery)
            {
                self.queue.put_off(delivery, until);
                continue;
            }
            self.events += 1;
            world.set_now(delivery.time);
            if let Some(step) = self.perform(world, delivery.what) {
                return step;
            }
        }
    }

    fn over_budget(&self, delivery: &Delivery) -> Option<RunEnd> {
        if self.events >= self.budget.events {
            return Some(RunEnd::EventBudget);
        }
        (delivery.time > self.budget.virtual_ms.saturating_mul(1_000_000)).then_some(RunEnd::TimeBudget)
    }

    /// Until when a delivery has to wait because its receiver is paused.
    fn paused_until(&mut self, now: u64, delivery: &Delivery) -> Option<u64> {
        let index = match &delivery.what {
            Arrival::Wait(id) => self.waits.incarnation(*id)?,
            Arrival::Ring(cell) => cell.incarnation,
            Arrival::Spawn(task) | Arrival::Abort(task) => self.tasks[*task as usize].incarnation,
            Arrival::Frame(lane) | Arrival::Break(lane, _) => self.network.incarnation(lane.connection, lane.to),
            Arrival::Credit(lane) => self.network.incarnation(lane.connection, 1 - lane.to),
            Arrival::Connect(request) => self.network.listener(&request.address)?.1,
            Arrival::Effect(_) | Arrival::Start(_) | Arrival::TakeDown(_) | Arrival::Fault(_) | Arrival::Heal => {
                return None;
            }
        };
        assert!(delivery.time >= now, "time does not go back");
        let until = self.lives[index as usize].paused_until;
        (until > delivery.time).then_some(until)
    }

    fn perform(&mut self, world: &Arc<Shared>, what: Arrival) -> Option<Step> {
        let waiter = match what {
            Arrival::Wait(id) => self.waits.arrive(id),
            Arrival::Ring(cell) => {
                self.counters.rings += 1;
                cell.arrive()
            }
            Arrival::Frame(lane) => self.frame_arrives(lane),
            Arrival::Credit(lane) => self.credit_arrives(lane),
            Arrival::Break(lane, half) => self.break_arrives(lane, half),
            Arrival::Connect(request) => self.connect_arrives(world, *request),
            Arrival::Effect(operation) => {
                self.effect(world, operation);
                None
            }
            Arrival::Abort(task) => {
                let entry = &mut self.tasks[task as usize];
                if let Some(future) = entry.future.take() {
                    return Some(Step::Drop(future));
                }
                entry.waker.clone()
            }
            Arrival::Spawn(task) => return self.first_poll(task),
            Arrival::Start(place) => return Some(self.start(world, place)),
            Arrival::TakeDown(index) => {
                self.take_down(world, index);
                None
            }
            Arrival::Fault(fault) => {
                self.strike(world, fault, None);
                None
            }
            Arrival::Heal => {
                self.faults.heal();
                let by = self.witness(None);
                self.record(world.now(), by, What::Fact(Fact::Healed));
                None
            }
        };
        waiter.map(Step::Wake)
    }

    fn first_poll(&mut self, task: u32) -> Option<Step> {
        let entry = &mut self.tasks[task as usize];
        // None: aborted before, or its process is dead.
        let future = entry.future.take()?;
        let (incarnation, aborted) = (entry.incarnation, entry.aborted.clone());
        assert!(!self.incarnation(incarnation).is_fenced(), "the tasks of a dead incarnation are taken from it");
        Some(Step::Run { incarnation, task, future, aborted })
    }

    /// The incarnations to kill, and their tasks that were never polled, to be dropped without the lock.
    pub fn take_kills(&mut self) -> (Vec<u32>, Vec<BoxFuture<'static, ()>>) {
        let kills = std::mem::take(&mut self.to_kill);
        let doomed = self.tasks.iter_mut().filter(|task| kills.contains(&task.incarnation));
        let futures = doomed.filter_map(|task| task.future.take()).collect();
        (kills, futures)
    }

    /// The run is over: fences everybody, and lets what is still on its way to storage get there. The other
    /// deliveries are given back, to be dropped without the lock.
    pub fn finish(&mut self, world: &Arc<Shared>) -> (RunEnd, Vec<Delivery>) {
        let ended = self.ended.clone().expect("a run that is over has an end");
        for life in &self.lives {
            life.door.fence();
        }
        let mut void = Vec::new();
        while ended == RunEnd::AllEnded
            && let Some(delivery) = self.queue.pop()
        {
            if let Arrival::Effect(operation) = delivery.what {
                self.events += 1;
                world.set_now(delivery.time);
                self.effect(world, operation);
            } else {
                void.push(delivery);
            }
        }
        void.extend(self.queue.take());
        (ended, void)
    }

    /// Everything that could keep engine code alive, to be dropped without the lock.
    pub fn take_remains(&mut self) -> impl Sized + use<> {
        let waiters = (self.waits.take_waiters(), self.network.take_waiters());
        let processes = std::mem::take(&mut self.processes);
        (waiters, processes, std::mem::take(&mut self.tasks), std::mem::take(&mut self.lives), self.queue.take())
    }
}
