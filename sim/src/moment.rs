//! A moment of a run, as `replay --trace --until` is given it, and what is known of everybody then ([`standstill`]).
//!
//! An entry by its number, as the story shows it; a virtual time (`1234ms`, `1.5s`), which means the last entry until then; or an
//! event by its name (`ack_sent`), from the second on with its occurrence (`ack_sent#3`).

pub mod standstill;

use cofferdam_engine::event::Event;
use cofferdam_properties::history::{Fact, History, What};
use std::str::FromStr;

/// See the head of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Moment {
    /// An entry.
    Entry(usize),
    /// Virtual nanoseconds.
    Time(u64),
    /// An event, and which of those of its name, from 1.
    Event(String, usize),
}

/// What the world saw, by names like those of events.
const FACTS: [&str; 12] = [
    "started",
    "crashed",
    "ended",
    "written",
    "deleted",
    "outcome_unknown",
    "outcome_known",
    "rogue_sent",
    "rogue_received",
    "shown_outside",
    "fault_fired",
    "healed",
];

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(entry) = text.parse() {
            return Ok(Self::Entry(entry));
        }
        let in_unit = |unit, ns: f64| text.strip_suffix(unit)?.trim().parse::<f64>().ok().map(|number| number * ns);
        if let Some(ns) = in_unit("ms", 1e6).or_else(|| in_unit("s", 1e9)) {
            if !(0.0..1e18).contains(&ns) {
                return Err(format!("`{text}` is no time of a run"));
            }
            return Ok(Self::Time(ns.round() as u64));
        }
        let (name, occurrence) = match text.split_once('#') {
            None => (text, 1),
            Some((name, number)) => {
                let number = number.parse().ok().filter(|number| *number > 0);
                (name, number.ok_or_else(|| format!("`{text}`: occurrences of {name} count from 1"))?)
            }
        };
        if Event::NAMES.contains(&name) || FACTS.contains(&name) {
            return Ok(Self::Event(name.to_owned(), occurrence));
        }
        let similar = Event::NAMES.iter().chain(&FACTS).filter(|known| alike(known, name));
        let similar: Vec<&str> = similar.copied().take(4).collect();
        let hint = match similar.is_empty() {
            true => "events are written as the story tells them, with _ for spaces".to_owned(),
            false => format!("there is {}", similar.join(", ")),
        };
        Err(format!("`{text}` is no entry (17), no time (1234ms) and no event (ack_sent#3); {hint}"))
    }
}

/// Whether one of the words of two names begins alike.
fn alike(known: &str, given: &str) -> bool {
    let stem = |word: &str| word.get(..3).map(str::to_lowercase);
    given
        .split(['_', ' ', '-'])
        .filter_map(stem)
        .any(|of| known.split('_').any(|part| stem(part).is_some_and(|p| p == of)))
}

impl Moment {
    /// The entry that is meant, or why there is none.
    pub fn find(&self, history: &History) -> Result<usize, String> {
        let last = history.entries.len().checked_sub(1).ok_or("nothing happened in this run")?;
        match self {
            Self::Entry(entry) if *entry <= last => Ok(*entry),
            Self::Entry(entry) => Err(format!("there is no entry {entry}: the last one of this run is {last}")),
            Self::Time(time) => {
                let until = history.entries.partition_point(|entry| entry.time <= *time);
                until.checked_sub(1).ok_or_else(|| {
                    let first = history.entries[0].time as f64 / 1e6;
                    format!("nothing had happened yet: the first entry of this run is at {first:.3} ms")
                })
            }
            Self::Event(name, occurrence) => {
                let mut all = history.entries.iter().enumerate().filter(|(_, entry)| name_of(&entry.what) == name);
                let count = all.clone().count();
                all.nth(occurrence - 1).map(|(at, _)| at).ok_or_else(|| match count {
                    0 => format!("{name} never happens in this run"),
                    n => format!("{name} happens {n} time(s) in this run, so there is no {name}#{occurrence}"),
                })
            }
        }
    }
}

fn name_of(what: &What) -> &'static str {
    match what {
        What::Claim(event) => event.name(),
        What::Fact(fact) => match fact {
            Fact::Started => "started",
            Fact::Crashed => "crashed",
            Fact::Ended(_) => "ended",
            Fact::Written { .. } => "written",
            Fact::Deleted { .. } => "deleted",
            Fact::OutcomeUnknown { .. } => "outcome_unknown",
            Fact::OutcomeKnown { .. } => "outcome_known",
            Fact::InputChanged { .. } => "input_changed",
            Fact::FaultFired(_) => "fault_fired",
            Fact::RogueSent { .. } => "rogue_sent",
            Fact::RogueReceived { .. } => "rogue_received",
            Fact::Healed => "healed",
            Fact::ShownOutside { .. } => "shown_outside",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_properties::history::{Entry, Incarnation, Process};

    fn history() -> History {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let facts = [Fact::Started, Fact::Crashed, Fact::Started, Fact::Healed];
        let entry = |(n, fact): (u64, Fact)| Entry { time: (n + 1) * 1_000_000, by, what: What::Fact(fact) };
        History { entries: (0..).zip(facts).map(entry).collect(), ..History::default() }
    }

    fn find(text: &str) -> Result<usize, String> {
        text.parse::<Moment>()?.find(&history())
    }

    #[test]
    fn a_moment_is_an_entry_a_time_or_an_event() {
        assert_eq!(find("3"), Ok(3));
        assert_eq!(find("2ms"), Ok(1));
        assert_eq!(find("2.5ms"), Ok(1));
        assert_eq!(find("900ms"), Ok(3));
        assert_eq!(find("0.0025 s"), Ok(1));
        assert_eq!(find("started"), Ok(0));
        assert_eq!(find("started#2"), Ok(2));
    }

    #[test]
    fn a_moment_that_never_comes_is_refused_in_one_line() {
        for bad in ["4", "0.5ms", "-1ms", "nanms", "started#3", "started#0", "ack_sent", "ack", "x", "", "1e400ms"] {
            let message = find(bad).expect_err(bad);
            assert!(!message.is_empty() && !message.contains('\n'), "{bad}: {message}");
        }
        assert!(find("send_ack").expect_err("unknown").contains("ack_sent"));
        assert!(find("Barriers").expect_err("unknown").contains("barrier_received"));
    }
}
