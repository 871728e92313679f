//! Faults: what strikes a run, and when. All of it is data: printable, serialisable, shrinkable.
//!
//! A fault waits for its *trigger*: a virtual time, or a *point*, the n-th matching event that the engine
//! announces. A point fault strikes inside the announcement, so "after it sent its ack" is exact.
//! *Triggered* says that the trigger matched, *struck* counts what was really hit. [`Fact::FaultFired`] is recorded
//! when a window opens, and otherwise at the first strike.
//!
//! [`Fact::FaultFired`]: cofferdam_properties::history::Fact::FaultFired

use super::rogue::Forgery;
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::{CheckpointId, SubtaskId};
use cofferdam_properties::history::Process;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One fault of a plan.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When.
    pub at: Trigger,
    /// What.
    pub what: FaultKind,
}

/// When a fault strikes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "when", rename_all = "snake_case")]
pub enum Trigger {
    /// At a virtual time.
    Time {
        /// Milliseconds since the run began.
        ms: u64,
    },
    /// When the engine announces something.
    Point(Point),
}

/// A coordinate of the protocol: the `occurrence`-th event that matches everything given.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// [`Event::name`], e.g. `ack_sent`.
    pub event: String,
    /// Announced by this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// About this checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointAt>,
    /// About this subtask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtask: Option<SubtaskId>,
    /// How many matching events to let pass; 0 is the first match.
    #[serde(default)]
    pub occurrence: u32,
}

/// Which checkpoint. Ids jump when the coordinator restarts, so plans count them instead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointAt {
    /// By its id.
    Id(CheckpointId),
    /// The n-th checkpoint that the run announces, from 0.
    Ordinal(u32),
}

/// Whom a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The process that announced the point. Not with [`Trigger::Time`].
    Announcer,
    /// A named one.
    Process(Process),
    /// The coordinator that took leadership last, whatever became of it. Nobody before there was one.
    Leader,
}

/// Which storage requests a fault hits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requests {
    /// Writes.
    Writes,
    /// Reads and listings.
    Reads,
    /// Deletes.
    Deletes,
    /// All of them.
    All,
    /// Parts of uploads, which are writes as well.
    Parts,
    /// Completions of uploads in parts, which are writes as well.
    Completions,
}

impl Requests {
    /// Whether a request of this kind is one of them.
    pub fn cover(self, kind: Self) -> bool {
        self == Self::All || self == kind || self == kind.at_large()
    }

    /// The kind that this one is part of.
    pub fn at_large(self) -> Self {
        match self {
            Self::Parts | Self::Completions => Self::Writes,
            Self::Writes | Self::Reads | Self::Deletes | Self::All => self,
        }
    }
}

/// What strikes. All windows end, all counts are forgotten, and what is on a slow way goes on at its ordinary pace when
/// the run heals.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum FaultKind {
    /// The process dies: at once, everywhere, losing what it had in flight. A later incarnation comes up.
    Crash {
        /// Who.
        process: Target,
        /// How long it stays down.
        restart_after_ms: u64,
    },
    /// The process does nothing for a while, and then goes on as if nothing had been (a long GC).
    Pause {
        /// Who.
        process: Target,
        /// How long.
        for_ms: u64,
    },
    /// Every connection of the process breaks.
    ResetConnections {
        /// Whose.
        process: Target,
    },
    /// Frames from and to the process take `factor` times as long.
    SlowLinks {
        /// Whose.
        process: Target,
        /// How much slower.
        factor: u32,
        /// How long.
        for_ms: u64,
    },
    /// Nothing reaches the process and nothing leaves it; what was sent meanwhile arrives afterwards.
    Partition {
        /// Who is cut off.
        process: Target,
        /// How long.
        for_ms: u64,
    },
    /// One direction is cut: nothing leaves the process, or nothing reaches it. What was sent meanwhile arrives
    /// afterwards.
    OneWay {
        /// Who is half cut off.
        process: Target,
        /// Nothing reaches it; otherwise, nothing leaves it.
        inbound: bool,
        /// How long.
        for_ms: u64,
    },
    /// Every connection between two processes breaks; those with others stay.
    Disconnect {
        /// One of them.
        process: Target,
        /// The other.
        from: Process,
    },
    /// Connections of the process die while it lives: what is sent on them arrives nowhere. One end is told soon, the
    /// other believes in it for a while, or for ever.
    HalfOpen {
        /// Whose.
        process: Target,
        /// How long the other end believes in it; `None`: for ever.
        believed_ms: Option<u64>,
    },
    /// The ports of the process refuse connections.
    Refuse {
        /// Whose.
        process: Target,
        /// How long.
        for_ms: u64,
    },
    /// The process does nothing for a while, its supervisor takes it for dead and starts another one, and then it goes
    /// on beside its successor until it is taken down at last.
    Zombie {
        /// Who.
        process: Target,
        /// How long it does nothing.
        for_ms: u64,
        /// When its successor starts, from the beginning of the pause.
        replaced_after_ms: u64,
        /// How long it goes on.
        lives_ms: u64,
    },
    /// Several processes die at the same instant.
    CrashTogether {
        /// Who.
        processes: Vec<Process>,
        /// How long they stay down.
        restart_after_ms: u64,
    },
    /// A registered worker says to its coordinator what no right worker says, once: beside the next report that it fits. Of a
    /// coordinator the next one that any worker sends to it.
    Rogue {
        /// Which worker, or which coordinator.
        process: Target,
        /// What.
        forgery: Forgery,
        /// The right report is lost. One that is [repeated](Forgery::Repeated) is not.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        instead: bool,
    },
    /// The process cannot reach storage: its requests and their replies are held up.
    StallStorage {
        /// Whose.
        process: Target,
        /// How long.
        for_ms: u64,
    },
    /// The wall clock of the process jumps.
    JumpWallClock {
        /// Whose.
        process: Target,
        /// By how much; negative: back.
        by_ms: i64,
    },
    /// Storage requests take `factor` times as long.
    SlowStorage {
        /// Paths that start with this.
        prefix: String,
        /// How much slower.
        factor: u32,
        /// How long.
        for_ms: u64,
    },
    /// The next `count` matching requests fail, definitely without effect.
    FailStorage {
        /// Paths that start with this.
        prefix: String,
        /// Of this kind.
        requests: Requests,
        /// How many.
        count: u32,
    },
    /// The next `count` matching writes and deletes take effect, but their outcome is reported as unknown.
    LoseReplies {
        /// Paths that start with this.
        prefix: String,
        /// Of this kind.
        #[serde(default = "all")]
        requests: Requests,
        /// How many.
        count: u32,
        /// The effect comes this long after the report; 0: before it.
        #[serde(default)]
        late_ms: u64,
    },
    /// The next `count` matching requests are never answered. They may have taken effect.
    HangStorage {
        /// Paths that start with this.
        prefix: String,
        /// Of this kind.
        requests: Requests,
        /// How many.
        count: u32,
    },
    /// The next `count` writes stay on their way until the job is over: they take effect this long after its end was announced.
    DelayPastTheEnd {
        /// Paths that start with this.
        prefix: String,
        /// How many.
        count: u32,
        /// How long after the end of the job.
        after_ms: u64,
    },
    /// Every request fails, definitely without effect: too many of them.
    ThrottleStorage {
        /// Paths that start with this.
        prefix: String,
        /// How long.
        for_ms: u64,
    },
    /// What is read and written shares a pipe: requests wait for those before them.
    LimitBandwidth {
        /// Paths that start with this.
        prefix: String,
        /// Bytes a millisecond.
        bytes_per_ms: u32,
        /// How long.
        for_ms: u64,
    },
    /// Reads return fewer bytes than asked for, mostly far fewer.
    ShortReads {
        /// Paths that start with this.
        prefix: String,
        /// How long.
        for_ms: u64,
    },
    /// Somebody changes an object of the input.
    ChangeInput {
        /// Which of the objects that are there, by path; their number is taken off until it is one of them.
        object: u32,
        /// How.
        change: InputChange,
    },
    /// Listings show the objects as they were a while ago.
    StaleListings {
        /// Prefixes that start with this.
        prefix: String,
        /// How long ago.
        behind_ms: u64,
        /// How long.
        for_ms: u64,
    },
}

/// Of plans that do not say which.
fn all() -> Requests {
    Requests::All
}

/// How an object of the input changes. Every change gives it another version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputChange {
    /// The same bytes are written into it.
    Touch,
    /// Another file with the same bytes takes its place.
    Replace,
    /// Its own first line is appended. Not to one that was cut off before.
    Append,
    /// Only the lines in its first half stay.
    Truncate,
    /// It is removed.
    Delete,
    /// It stays as it is, and another one appears beside it.
    Add,
}

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Its trigger matched.
    pub triggered: bool,
    /// How many things it hit: processes, connections, frames, requests.
    pub struck: u32,
}

impl Fault {
    /// Whether the fault makes sense, and if not why, in one line.
    pub fn validate(&self) -> Result<(), String> {
        if let Trigger::Point(point) = &self.at
            && !Event::NAMES.contains(&point.event.as_str())
        {
            return Err(format!("no event is called {:?}", point.event));
        }
        if matches!(self.at, Trigger::Time { .. }) && self.what.target() == Some(Target::Announcer) {
            return Err("a fault at a time has no announcer: name a process".to_owned());
        }
        match &self.what {
            FaultKind::SlowLinks { factor: 0, .. } | FaultKind::SlowStorage { factor: 0, .. } => {
                Err("a slowdown by a factor of 0 is none".to_owned())
            }
            FaultKind::FailStorage { count: 0, .. }
            | FaultKind::LoseReplies { count: 0, .. }
            | FaultKind::HangStorage { count: 0, .. }
            | FaultKind::DelayPastTheEnd { count: 0, .. } => Err("a storage fault of no requests is none".to_owned()),
            FaultKind::LimitBandwidth { bytes_per_ms: 0, .. } => Err("a pipe of no bytes is none".to_owned()),
            FaultKind::LoseReplies { requests: Requests::Reads, .. } => {
                Err("a read whose reply is lost has failed".to_owned())
            }
            FaultKind::CrashTogether { processes, .. } if processes.is_empty() => {
                Err("a crash of nobody is none".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl FaultKind {
    /// Every process it names.
    pub fn names(&self) -> Vec<Process> {
        let mut names = match self {
            Self::CrashTogether { processes, .. } => processes.clone(),
            Self::Disconnect { from, .. } => vec![*from],
            _ => Vec::new(),
        };
        if let Some(Target::Process(process)) = self.target() {
            names.push(process);
        }
        names
    }

    /// The one process it hits, unless it hits several or the storage.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Crash { process, .. }
            | Self::Pause { process, .. }
            | Self::ResetConnections { process }
            | Self::SlowLinks { process, .. }
            | Self::Partition { process, .. }
            | Self::OneWay { process, .. }
            | Self::Disconnect { process, .. }
            | Self::HalfOpen { process, .. }
            | Self::Refuse { process, .. }
            | Self::Zombie { process, .. }
            | Self::Rogue { process, .. }
            | Self::StallStorage { process, .. }
            | Self::JumpWallClock { process, .. } => Some(*process),
            Self::CrashTogether { .. }
            | Self::SlowStorage { .. }
            | Self::FailStorage { .. }
            | Self::LoseReplies { .. }
            | Self::HangStorage { .. }
            | Self::DelayPastTheEnd { .. }
            | Self::ThrottleStorage { .. }
            | Self::LimitBandwidth { .. }
            | Self::ShortReads { .. }
            | Self::ChangeInput { .. }
            | Self::StaleListings { .. } => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time { ms } => write!(f, "at {ms} ms"),
            Self::Point(point) => point.fmt(f),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.event)?;
        if let Some(process) = self.process {
            write!(f, " by {process}")?;
        }
        match self.checkpoint {
            Some(CheckpointAt::Id(id)) => write!(f, " of {id}")?,
            Some(CheckpointAt::Ordinal(n)) => write!(f, " of checkpoint no. {}", n + 1)?,
            None => {}
        }
        if let Some(subtask) = self.subtask {
            write!(f, " of {subtask}")?;
        }
        if self.occurrence > 0 {
            write!(f, ", time no. {}", self.occurrence + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announcer => f.write_str("the announcing process"),
            Self::Process(process) => process.fmt(f),
            Self::Leader => f.write_str("the leader"),
        }
    }
}

impl fmt::Display for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Writes => "writes",
            Self::Reads => "reads",
            Self::Deletes => "deletes",
            Self::All => "requests",
            Self::Parts => "parts of uploads",
            Self::Completions => "completions of uploads",
        })
    }
}

fn rogue(f: &mut fmt::Formatter<'_>, process: &Target, forgery: Forgery, instead: bool) -> fmt::Result {
    write!(f, "{process} sends or gets {forgery}{}", if instead { ", and the right report is lost" } else { "" })
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { process, restart_after_ms } => write!(f, "crash {process}, back after {restart_after_ms} ms"),
            Self::Pause { process, for_ms } => write!(f, "pause {process} for {for_ms} ms"),
            Self::Rogue { process, forgery, instead } => rogue(f, process, *forgery, *instead),
            Self::ResetConnections { process } => write!(f, "reset the connections of {process}"),
            Self::SlowLinks { process, factor, for_ms } => {
                write!(f, "links of {process} {factor} times slower for {for_ms} ms")
            }
            Self::Partition { process, for_ms } => write!(f, "cut {process} off for {for_ms} ms"),
            Self::OneWay { process, inbound, for_ms } => {
                let way = if *inbound { "reaches" } else { "leaves" };
                write!(f, "nothing {way} {process} for {for_ms} ms")
            }
            Self::Disconnect { process, from } => write!(f, "break the connections of {process} and {from}"),
            Self::HalfOpen { process, believed_ms } => {
                write!(f, "the connections of {process} are dead and one end believes in them ")?;
                match believed_ms {
                    Some(ms) => write!(f, "for {ms} ms"),
                    None => f.write_str("for ever"),
                }
            }
            Self::Refuse { process, for_ms } => write!(f, "the ports of {process} refuse for {for_ms} ms"),
            Self::Zombie { process, for_ms, replaced_after_ms, lives_ms } => write!(
                f,
                "pause {process} for {for_ms} ms, start another after {replaced_after_ms} ms, and kill the old one \
                 {lives_ms} ms after it goes on"
            ),
            Self::CrashTogether { processes, restart_after_ms } => {
                let names: Vec<String> = processes.iter().map(Process::to_string).collect();
                write!(f, "crash {} together, back after {restart_after_ms} ms", names.join(", "))
            }
            Self::StallStorage { process, for_ms } => write!(f, "hold up the storage of {process} for {for_ms} ms"),
            Self::JumpWallClock { process, by_ms } => write!(f, "the wall clock of {process} jumps by {by_ms} ms"),
            Self::SlowStorage { prefix, factor, for_ms } => {
                write!(f, "storage under {prefix:?} {factor} times slower for {for_ms} ms")
            }
            Self::FailStorage { prefix, requests, count } => write!(f, "fail {count} {requests} under {prefix:?}"),
            Self::LoseReplies { prefix, requests, count, late_ms: 0 } => {
                write!(f, "lose the replies of {count} {requests} under {prefix:?}")
            }
            Self::LoseReplies { prefix, requests, count, late_ms } => {
                write!(f, "lose the replies of {count} {requests} under {prefix:?} and delay them by {late_ms} ms")
            }
            Self::HangStorage { prefix, requests, count } => {
                write!(f, "never answer {count} {requests} under {prefix:?}")
            }
            Self::DelayPastTheEnd { prefix, count, after_ms } => {
                write!(f, "delay {count} writes under {prefix:?} until {after_ms} ms after the end of the job")
            }
            Self::ThrottleStorage { prefix, for_ms } => {
                write!(f, "refuse every request under {prefix:?} for {for_ms} ms")
            }
            Self::LimitBandwidth { prefix, bytes_per_ms, for_ms } => {
                write!(f, "storage under {prefix:?} takes {bytes_per_ms} bytes a millisecond for {for_ms} ms")
            }
            Self::ShortReads { prefix, for_ms } => write!(f, "short reads under {prefix:?} for {for_ms} ms"),
            Self::ChangeInput { object, change } => change.of_object(*object, f),
            Self::StaleListings { prefix, behind_ms, for_ms } => {
                write!(f, "listings under {prefix:?} are {behind_ms} ms old for {for_ms} ms")
            }
        }
    }
}

impl InputChange {
    /// The change of object `object`, in words.
    fn of_object(self, object: u32, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Touch => write!(f, "write the same bytes into object no. {object} of the input"),
            Self::Replace => {
                write!(f, "replace object no. {object} of the input by one with the same bytes")
            }
            Self::Append => write!(f, "append to object no. {object} of the input"),
            Self::Truncate => write!(f, "cut object no. {object} of the input in half"),
            Self::Delete => write!(f, "delete object no. {object} of the input"),
            Self::Add => write!(f, "add an object beside no. {object} of the input"),
        }
    }
}
