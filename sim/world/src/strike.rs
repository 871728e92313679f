//! The faults of a run: armed, matched, and what they change while their windows are open.

use super::Shared;
use super::fault::{CheckpointAt, Fault, FaultKind, FaultRecord, Requests, Target, Trigger};
use super::links::{Links, Way};
use super::queue::Arrival;
use super::rogue::Rogue;
use super::state::State;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::CheckpointId;
use cofferdam_properties::history::{Fact, Process, What};

const MS: u64 = 1_000_000;

/// All faults of a run.
pub(crate) struct Faults {
    plan: Vec<Fault>,
    records: Vec<FaultRecord>,
    /// Armed at points: the fault, and how many matches are still to pass.
    points: Vec<(usize, u32)>,
    windows: Vec<Window>,
    counted: Vec<Counted>,
    /// Reports that are to be forged.
    pub(super) rogues: Vec<Rogue>,
    /// Checkpoints in the order in which they were first announced.
    checkpoints: Vec<CheckpointId>,
    counts_checkpoints: bool,
    /// Who took leadership last.
    leader: Option<Process>,
    links: Links,
    heal_at: u64,
}

struct Window {
    fault: usize,
    until: u64,
    what: Effect,
}

enum Effect {
    SlowStorage(String, u64),
    ThrottleStorage(String),
    /// Until when the pipe is busy.
    LimitBandwidth {
        prefix: String,
        bytes_per_ms: u64,
        busy_until: u64,
    },
    ShortReads(String),
    StaleListings(String, u64),
}

struct Counted {
    fault: usize,
    prefix: String,
    requests: Requests,
    left: u32,
    verdict: Verdict,
}

/// What becomes of a storage request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// What it deserves.
    Fair,
    /// It fails without effect.
    Fail,
    /// Nobody ever hears of it again.
    Hang,
    /// It takes effect this long after the end of the job.
    Hold {
        /// How long.
        after_ms: u64,
    },
    /// It takes effect, which its requester does not learn.
    LoseReply {
        /// The effect comes this much later than the report.
        late_ms: u64,
    },
}

impl Faults {
    /// Arms the point faults of a plan; timed ones are on the queue.
    pub fn new(plan: Vec<Fault>, heal_at: u64) -> Self {
        let points = plan.iter().enumerate().filter_map(|(number, fault)| match &fault.at {
            Trigger::Point(point) => Some((number, point.occurrence)),
            Trigger::Time { .. } => None,
        });
        let by_ordinal = |fault: &Fault| matches!(&fault.at, Trigger::Point(point) if matches!(point.checkpoint, Some(CheckpointAt::Ordinal(_))));
        Self {
            points: points.collect(),
            records: vec![FaultRecord::default(); plan.len()],
            windows: Vec::new(),
            counted: Vec::new(),
            rogues: Vec::new(),
            checkpoints: Vec::new(),
            counts_checkpoints: plan.iter().any(by_ordinal),
            leader: None,
            links: Links::default(),
            plan,
            heal_at,
        }
    }

    /// A further incarnation, of this process.
    pub fn incarnation_added(&mut self, process: Process) {
        self.links.incarnation_added(process);
    }

    /// What became of each fault.
    pub fn records(&self) -> &[FaultRecord] {
        &self.records
    }

    /// The faults whose point is this event. Each matches once.
    pub fn matching(&mut self, event: &Event, process: Process) -> Vec<usize> {
        let mut matched = Vec::new();
        if let Event::LeadershipTaken { .. } = event {
            self.leader = Some(process);
        }
        if self.points.is_empty() {
            return matched;
        }
        if self.counts_checkpoints
            && let Some(checkpoint) = event.checkpoint()
            && !self.checkpoints.iter().rev().any(|known| *known == checkpoint)
        {
            self.checkpoints.push(checkpoint);
        }
        let Self { points, plan, checkpoints, .. } = self;
        points.retain_mut(|(number, to_pass)| {
            if !matches_point(&plan[*number].at, event, process, checkpoints) {
                return true;
            }
            if *to_pass > 0 {
                *to_pass -= 1;
                return true;
            }
            matched.push(*number);
            false
        });
        matched
    }

    /// When something arrives that takes `latency` from one incarnation to another, which may not be known yet.
    #[inline]
    pub fn arrival(&mut self, now: u64, latency: u64, from: u32, to: Option<u32>) -> u64 {
        if self.links.is_empty() {
            return now.saturating_add(latency);
        }
        let (leaves, factor) = self.links.leaves(now, from, to, &mut self.records);
        leaves.saturating_add(self.healed_by(leaves, latency, latency.saturating_mul(factor)))
    }

    /// Whether the ports of an incarnation refuse.
    pub fn refuses(&mut self, now: u64, at: u32) -> bool {
        self.links.refuses(now, at, &mut self.records)
    }

    /// When a storage request of an incarnation, or the reply to it, sets out that would do so now.
    #[inline]
    pub fn storage_leaves(&mut self, now: u64, by: u32) -> u64 {
        self.links.storage_leaves(now, by, &mut self.records)
    }

    /// How long a storage request of `bytes` under `path` takes that would take `ordinary`.
    pub fn storage_latency(&mut self, now: u64, ordinary: u64, path: &str, bytes: u64) -> u64 {
        let mut latency = ordinary;
        for window in self.windows.iter_mut().filter(|window| window.until > now) {
            match &mut window.what {
                Effect::SlowStorage(prefix, factor) if path.starts_with(prefix.as_str()) => {
                    latency = latency.saturating_mul(*factor);
                }
                Effect::LimitBandwidth { prefix, bytes_per_ms, busy_until }
                    if bytes > 0 && path.starts_with(prefix.as_str()) =>
                {
                    *busy_until = (*busy_until).max(now) + bytes * MS / *bytes_per_ms;
                    latency = latency.saturating_add(*busy_until - now);
                }
                Effect::SlowStorage(..)
                | Effect::ThrottleStorage(_)
                | Effect::LimitBandwidth { .. }
                | Effect::ShortReads(_)
                | Effect::StaleListings(..) => continue,
            }
            self.records[window.fault].struck += 1;
        }
        self.healed_by(now, ordinary, latency)
    }

    /// How many of `length` bytes a read under `path` returns: at least one of any.
    pub fn read_length(&mut self, now: u64, path: &str, length: usize, word: u64) -> usize {
        let mut windows = self.windows.iter().filter(|window| window.until > now);
        let short =
            windows.find(|w| matches!(&w.what, Effect::ShortReads(prefix) if path.starts_with(prefix.as_str())));
        match short {
            Some(window) if length > 1 => {
                self.records[window.fault].struck += 1;
                // A few bytes, or anything up to all but one.
                let most = if word.is_multiple_of(4) { length - 1 } else { length.div_ceil(3) };
                1 + (word >> 2) as usize % most
            }
            Some(_) | None => length,
        }
    }

    /// How old listings of `prefix` are.
    pub fn listings_behind(&mut self, now: u64, prefix: &str) -> u64 {
        for window in self.windows.iter().filter(|window| window.until > now) {
            if let Effect::StaleListings(below, behind) = &window.what
                && prefix.starts_with(below.as_str())
            {
                self.records[window.fault].struck += 1;
                return *behind;
            }
        }
        0
    }

    /// What was slowed down is on its ordinary way again from the healing on.
    fn healed_by(&self, from: u64, ordinary: u64, slowed: u64) -> u64 {
        let until_healed = self.heal_at.saturating_sub(from);
        slowed.min(until_healed.saturating_add(ordinary))
    }

    /// What becomes of a storage request at its effect, and which fault says so.
    pub fn judge_request(&mut self, now: u64, path: &str, kind: Requests) -> (Verdict, Option<usize>) {
        let throttles = |window: &&Window| {
            window.until > now
                && matches!(&window.what, Effect::ThrottleStorage(prefix) if path.starts_with(prefix.as_str()))
        };
        if let Some(window) = self.windows.iter().find(throttles) {
            return (Verdict::Fail, Some(window.fault));
        }
        let hit = self.counted.iter_mut().find(|counted| {
            counted.requests.cover(kind)
                && !(kind == Requests::Reads && matches!(counted.verdict, Verdict::LoseReply { .. }))
                && path.starts_with(counted.prefix.as_str())
        });
        let Some(counted) = hit else { return (Verdict::Fair, None) };
        assert!(counted.left > 0, "a fault that is used up is not kept");
        counted.left -= 1;
        let answer = (counted.verdict, Some(counted.fault));
        self.counted.retain(|counted| counted.left > 0);
        answer
    }

    /// The next requests get this verdict.
    fn count(&mut self, fault: usize, prefix: String, requests: Requests, left: u32, verdict: Verdict) {
        self.counted.push(Counted { fault, prefix, requests, left, verdict });
    }

    /// Nothing strikes any more.
    pub fn heal(&mut self) {
        self.points.clear();
        self.windows.clear();
        self.links.heal();
        self.counted.clear();
        self.rogues.clear();
    }
}

fn matches_point(at: &Trigger, event: &Event, process: Process, checkpoints: &[CheckpointId]) -> bool {
    let Trigger::Point(point) = at else { return false };
    let checkpoint = |wanted: CheckpointAt| match wanted {
        CheckpointAt::Id(id) => event.checkpoint() == Some(id),
        CheckpointAt::Ordinal(n) => {
            checkpoints.get(n as usize).is_some_and(|checkpoint| event.checkpoint() == Some(*checkpoint))
        }
    };
    point.event == event.name()
        && point.process.is_none_or(|wanted| wanted == process)
        && point.subtask.is_none_or(|wanted| event.subtask() == Some(wanted))
        && point.checkpoint.is_none_or(checkpoint)
}

impl State {
    /// Something was hit by a fault; `at` names the incarnation, for the history.
    pub fn count_strike(&mut self, world: &Shared, fault: usize, at: u32) {
        self.faults.records[fault].struck += 1;
        if self.faults.records[fault].struck == 1 {
            self.fault_fired(world, fault, Some(at));
        }
    }

    /// The fault has hit something outside of every process.
    pub fn strike_once(&mut self, world: &Shared, fault: usize) {
        self.faults.records[fault].struck += 1;
        self.fault_fired(world, fault, None);
    }

    fn fault_fired(&mut self, world: &Shared, fault: usize, at: Option<u32>) {
        let by = self.witness(at);
        self.record(world.now(), by, What::Fact(Fact::FaultFired(fault)));
    }

    /// The trigger of a fault has matched; `announcer` is the incarnation that announced its point.
    pub fn strike(&mut self, world: &Shared, fault: usize, announcer: Option<u32>) {
        if world.now() >= self.faults.heal_at {
            return;
        }
        self.faults.records[fault].triggered = true;
        let what = self.faults.plan[fault].what.clone();
        if let FaultKind::CrashTogether { processes, restart_after_ms } = what {
            for process in processes {
                let place = self.process_named(process);
                self.strike_dead(world, fault, place, restart_after_ms);
            }
            return;
        }
        let place = match what.target() {
            None => return self.strike_storage(world, fault, what),
            Some(Target::Announcer) => self.process_of(announcer.expect("validated: only points have announcers")),
            Some(Target::Process(process)) => self.process_named(process),
            Some(Target::Leader) => match self.faults.leader {
                Some(leader) => self.process_named(leader),
                None => return,
            },
        };
        self.strike_process(world, fault, what, place);
    }

    fn strike_process(&mut self, world: &Shared, fault: usize, what: FaultKind, place: usize) {
        let until = self.strikes_until(world);
        let alive = self.alive(place);
        let (way, for_ms) = match what {
            FaultKind::Crash { restart_after_ms, .. } => {
                return self.strike_dead(world, fault, place, restart_after_ms);
            }
            FaultKind::Pause { for_ms, .. } => {
                if let Some(index) = alive {
                    self.count_strike(world, fault, index);
                    self.pause(index, until(for_ms));
                }
                return;
            }
            FaultKind::Zombie { for_ms, replaced_after_ms, lives_ms, .. } => {
                if let Some(index) = alive {
                    self.count_strike(world, fault, index);
                    let until = until(for_ms);
                    self.pause(index, until);
                    self.replace(world, index, replaced_after_ms.saturating_mul(MS));
                    self.queue.push(until.saturating_add(lives_ms * MS), u64::from(index), Arrival::TakeDown(index));
                }
                return;
            }
            FaultKind::JumpWallClock { by_ms, .. } => {
                if let Some(index) = alive {
                    self.count_strike(world, fault, index);
                    self.incarnation(index).jump_wall_clock(by_ms);
                }
                return;
            }
            FaultKind::ResetConnections { .. } => return self.strike_connections(world, fault, alive, |_| true, None),
            FaultKind::Rogue { forgery, instead, .. } => {
                self.faults.rogues.extend(alive.map(|of| Rogue { fault, of, forgery, instead }));
                return;
            }
            FaultKind::Disconnect { from, .. } => {
                return self.strike_connections(world, fault, alive, |peer| peer == from, None);
            }
            FaultKind::HalfOpen { believed_ms, .. } => {
                let believed = believed_ms.map_or(u64::MAX, &until);
                return self.strike_connections(world, fault, alive, |_| true, Some(believed));
            }
            FaultKind::SlowLinks { factor, for_ms, .. } => (Way::Slow(u64::from(factor)), for_ms),
            FaultKind::Partition { for_ms, .. } => (Way::Cut, for_ms),
            FaultKind::OneWay { inbound: true, for_ms, .. } => (Way::CutIn, for_ms),
            FaultKind::OneWay { inbound: false, for_ms, .. } => (Way::CutOut, for_ms),
            FaultKind::Refuse { for_ms, .. } => (Way::Refuse, for_ms),
            FaultKind::StallStorage { for_ms, .. } => (Way::StorageStalled, for_ms),
            _ => unreachable!("it hits no single process"),
        };
        self.fault_fired(world, fault, alive);
        let process = self.process_at(place);
        self.faults.links.open(world.now(), fault, until(for_ms), process, way);
    }

    /// When something ends that strikes for so many milliseconds from now.
    fn strikes_until(&self, world: &Shared) -> impl Fn(u64) -> u64 + use<> {
        let (now, heal_at) = (world.now(), self.faults.heal_at);
        move |for_ms| now.saturating_add(for_ms.saturating_mul(MS)).min(heal_at)
    }

    fn strike_dead(&mut self, world: &Shared, fault: usize, place: usize, restart_after_ms: u64) {
        if let Some(index) = self.alive(place) {
            self.count_strike(world, fault, index);
            self.crash(world, index, restart_after_ms.saturating_mul(MS));
        }
    }

    /// Breaks the connections with these peers; with `believed`, one end of each learns it only then.
    fn strike_connections(
        &mut self,
        world: &Shared,
        fault: usize,
        alive: Option<u32>,
        with: impl Fn(Process) -> bool,
        believed: Option<u64>,
    ) {
        let broken = alive.map_or(0, |index| self.break_connections(world, index, with, believed));
        if broken > 0 {
            self.fault_fired(world, fault, alive);
            self.faults.records[fault].struck += broken;
        }
    }

    fn strike_storage(&mut self, world: &Shared, fault: usize, what: FaultKind) {
        let (effect, for_ms) = match what {
            FaultKind::SlowStorage { prefix, factor, for_ms } => {
                (Effect::SlowStorage(prefix, u64::from(factor)), for_ms)
            }
            FaultKind::ThrottleStorage { prefix, for_ms } => (Effect::ThrottleStorage(prefix), for_ms),
            FaultKind::LimitBandwidth { prefix, bytes_per_ms, for_ms } => {
                let effect = Effect::LimitBandwidth { prefix, bytes_per_ms: u64::from(bytes_per_ms), busy_until: 0 };
                (effect, for_ms)
            }
            FaultKind::ShortReads { prefix, for_ms } => (Effect::ShortReads(prefix), for_ms),
            FaultKind::StaleListings { prefix, behind_ms, for_ms } => {
                (Effect::StaleListings(prefix, behind_ms.saturating_mul(MS)), for_ms)
            }
            FaultKind::FailStorage { prefix, requests, count } => {
                return self.faults.count(fault, prefix, requests, count, Verdict::Fail);
            }
            FaultKind::LoseReplies { prefix, requests, count, late_ms } => {
                return self.faults.count(fault, prefix, requests, count, Verdict::LoseReply { late_ms });
            }
            FaultKind::HangStorage { prefix, requests, count } => {
                return self.faults.count(fault, prefix, requests, count, Verdict::Hang);
            }
            FaultKind::DelayPastTheEnd { prefix, count, after_ms } => {
                return self.faults.count(fault, prefix, Requests::Writes, count, Verdict::Hold { after_ms });
            }
            FaultKind::ChangeInput { object, change } => return self.change_input(world, fault, object, change),
            _ => unreachable!("faults of processes are struck elsewhere"),
        };
        let until = self.strikes_until(world)(for_ms);
        self.open_window(world, Window { fault, until, what: effect }, None);
    }

    fn open_window(&mut self, world: &Shared, window: Window, at: Option<u32>) {
        self.fault_fired(world, window.fault, at);
        self.faults.windows.retain(|window| window.until > world.now());
        self.faults.windows.push(window);
    }

    /// Puts the timed faults and the healing on the queue.
    pub fn arm_timers(&mut self) {
        for (number, fault) in self.faults.plan.iter().enumerate() {
            if let Trigger::Time { ms } = fault.at {
                // Before everything else of their instant, in the order of the plan.
                self.queue.push_ranked(ms.saturating_mul(MS), number as u64 + 1, Arrival::Fault(number));
            }
        }
        self.queue.push_ranked(self.faults.heal_at, 0, Arrival::Heal);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::Point;
    use super::*;
    use cofferdam_engine::ids::{Attempt, WorkerId};

    fn sent(checkpoint: u64, worker: u16) -> Event {
        Event::TriggerSent {
            attempt: Attempt::default(),
            checkpoint: CheckpointId(checkpoint),
            worker: WorkerId(worker),
        }
    }

    fn armed(point: Point) -> Faults {
        let what = FaultKind::ResetConnections { process: Target::Announcer };
        Faults::new(vec![Fault { at: Trigger::Point(point), what }], u64::MAX)
    }

    #[test]
    fn a_point_matches_once_after_letting_its_occurrences_pass() {
        let mut faults = armed(Point { event: "trigger_sent".into(), occurrence: 1, ..Point::default() });
        assert!(faults.matching(&sent(1, 0), Process::COORDINATOR).is_empty());
        assert!(faults.matching(&Event::JobFinished { checkpoint: CheckpointId(1) }, Process::COORDINATOR).is_empty());
        assert_eq!(faults.matching(&sent(1, 1), Process::COORDINATOR), [0]);
        assert!(faults.matching(&sent(1, 2), Process::COORDINATOR).is_empty());
    }

    #[test]
    fn checkpoints_are_counted_as_they_are_announced_whatever_their_ids() {
        let checkpoint = Some(CheckpointAt::Ordinal(1));
        let mut faults = armed(Point { event: "trigger_sent".into(), checkpoint, ..Point::default() });
        assert!(faults.matching(&sent(7, 0), Process::COORDINATOR).is_empty());
        assert!(faults.matching(&sent(7, 1), Process::COORDINATOR).is_empty());
        assert_eq!(faults.matching(&sent(107, 0), Process::COORDINATOR), [0]);
    }

    #[test]
    fn a_point_of_another_process_does_not_match() {
        let process = Some(Process::Worker(WorkerId(1)));
        let mut faults = armed(Point { event: "trigger_sent".into(), process, ..Point::default() });
        assert!(faults.matching(&sent(1, 1), Process::COORDINATOR).is_empty());
        assert_eq!(faults.matching(&sent(1, 1), Process::Worker(WorkerId(1))), [0]);
    }

    #[test]
    fn storage_faults_hit_their_count_of_matching_requests() {
        let what = FaultKind::FailStorage { prefix: "a/".into(), requests: Requests::Writes, count: 2 };
        let mut faults = Faults::new(vec![Fault { at: Trigger::Time { ms: 0 }, what }], u64::MAX);
        let (fault, prefix) = (0, "a/".to_owned());
        faults.counted.push(Counted { fault, prefix, requests: Requests::Writes, left: 2, verdict: Verdict::Fail });
        assert_eq!(faults.judge_request(0, "b/1", Requests::Writes), (Verdict::Fair, None));
        assert_eq!(faults.judge_request(0, "a/1", Requests::Reads), (Verdict::Fair, None));
        assert_eq!(faults.judge_request(0, "a/1", Requests::Writes), (Verdict::Fail, Some(0)));
        assert_eq!(faults.judge_request(0, "a/1", Requests::Writes), (Verdict::Fail, Some(0)));
        assert_eq!(faults.judge_request(0, "a/1", Requests::Writes), (Verdict::Fair, None));
    }

    #[test]
    fn parts_and_completions_are_writes_and_not_every_write_is_one() {
        let mut faults = Faults::new(Vec::new(), u64::MAX);
        let hang = |requests| Counted { fault: 0, prefix: String::new(), requests, left: 1, verdict: Verdict::Hang };
        faults.counted.push(hang(Requests::Completions));
        assert_eq!(faults.judge_request(0, "a", Requests::Writes), (Verdict::Fair, None));
        assert_eq!(faults.judge_request(0, "a", Requests::Completions), (Verdict::Hang, Some(0)));
        faults.counted.push(hang(Requests::Writes));
        assert_eq!(faults.judge_request(0, "a", Requests::Completions), (Verdict::Hang, Some(0)));
        faults.counted.push(hang(Requests::Parts));
        assert_eq!(faults.judge_request(0, "a", Requests::Completions), (Verdict::Fair, None));
        assert_eq!(faults.judge_request(0, "a", Requests::Parts), (Verdict::Hang, Some(0)));
    }
}
