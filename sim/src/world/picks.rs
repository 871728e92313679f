//! The free choices of the engine: which ready channel next, which lane of a link.
//!
//! A world either draws them (keyed, so that every choice comes up somewhere), or takes the *default* of each, as in
//! production (in turns), except for those that are listed. What was drawn can be listed: then the run is the same, and
//! every choice that does not matter can be taken off the list.

use super::keyed::identity;
use cofferdam_engine::door::Site;
use cofferdam_properties::history::{Incarnation, Process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Who decides the free choices of a run.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Picks {
    /// The seed.
    #[default]
    Seed,
    /// Each choice is the default, but for these.
    Turns {
        /// In any order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        but: Vec<Pick>,
    },
}

/// One choice, by its coordinate.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pick {
    /// Who chose.
    pub process: Process,
    /// In which of its incarnations, from 1.
    pub life: u32,
    /// [`Site::what`].
    pub site: String,
    /// [`Site::lane`].
    pub lane: u64,
    /// Which choice at this site, from 0.
    pub nth: u64,
    /// What was chosen; taken modulo the number of choices.
    pub choice: usize,
}

impl Picks {
    /// Whether the seed decides.
    pub fn is_seed(&self) -> bool {
        *self == Self::Seed
    }

    /// All defaults.
    pub fn turns() -> Self {
        Self::Turns { but: Vec::new() }
    }

    /// How many choices are listed, or none if the seed decides them.
    pub fn listed(&self) -> Option<usize> {
        match self {
            Self::Seed => None,
            Self::Turns { but } => Some(but.len()),
        }
    }
}

impl fmt::Display for Picks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed => f.write_str("by the seed"),
            Self::Turns { but } if but.is_empty() => f.write_str("in turns"),
            Self::Turns { but } => write!(f, "in turns, but for {} of them", but.len()),
        }
    }
}

/// The default of the `nth` choice of a site: in turns.
pub(crate) fn in_turns(nth: u64, choices: usize) -> usize {
    (nth % choices as u64) as usize
}

/// Looks up the choices of a run, and writes them down if asked to.
pub(crate) struct Chooser {
    listed: Option<BTreeMap<u64, usize>>,
    taken: Option<Vec<Pick>>,
}

impl Chooser {
    pub fn new(picks: &Picks, record: bool) -> Self {
        let listed = match picks {
            Picks::Seed => None,
            Picks::Turns { but } => Some(but.iter().map(|pick| (pick.key(), pick.choice)).collect()),
        };
        Self { listed, taken: record.then(Vec::new) }
    }

    /// The choice, if the seed has nothing to say about it.
    pub fn decided(&self, by: Incarnation, site: Site, nth: u64, choices: usize) -> Option<usize> {
        let listed = self.listed.as_ref()?;
        let choice = if listed.is_empty() { None } else { listed.get(&key(by, site.what, site.lane, nth)) };
        Some(choice.map_or_else(|| in_turns(nth, choices), |choice| choice % choices))
    }

    /// A choice has been made.
    pub fn made(&mut self, by: Incarnation, site: Site, nth: u64, choices: usize, choice: usize) {
        if let Some(taken) = &mut self.taken
            && choice != in_turns(nth, choices)
        {
            let (site, lane) = (site.what.to_owned(), site.lane);
            taken.push(Pick { process: by.process, life: by.number, site, lane, nth, choice });
        }
    }

    /// What was written down: every choice that is not the default.
    pub fn take(&mut self) -> Vec<Pick> {
        self.taken.take().unwrap_or_default()
    }
}

impl Pick {
    fn key(&self) -> u64 {
        key(Incarnation { process: self.process, number: self.life }, &self.site, self.lane, self.nth)
    }
}

fn key(by: Incarnation, site: &str, lane: u64, nth: u64) -> u64 {
    identity((by, site, lane, nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_choice_is_taken_where_it_belongs_and_nowhere_else() {
        let by = Incarnation { process: Process::COORDINATOR, number: 2 };
        let pick = Pick { process: by.process, life: 2, site: "input".into(), lane: 7, nth: 4, choice: 2 };
        let chooser = Chooser::new(&Picks::Turns { but: vec![pick] }, false);
        let site = Site::new("input", 7);
        assert_eq!(chooser.decided(by, site, 4, 3), Some(2));
        assert_eq!(chooser.decided(by, site, 5, 3), Some(2), "in turns");
        assert_eq!(chooser.decided(by, site, 3, 3), Some(0), "in turns");
        assert_eq!(chooser.decided(by, Site::new("input", 8), 4, 3), Some(1), "another lane");
        assert_eq!(chooser.decided(Incarnation { number: 1, ..by }, site, 4, 3), Some(1), "another life");
        assert_eq!(Chooser::new(&Picks::Seed, false).decided(by, site, 4, 3), None);
    }

    #[test]
    fn only_what_is_not_the_default_is_written_down() {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let mut chooser = Chooser::new(&Picks::Seed, true);
        chooser.made(by, Site::new("input", 1), 0, 2, 0);
        chooser.made(by, Site::new("input", 1), 1, 2, 0);
        let taken = chooser.take();
        assert_eq!(taken.iter().map(|pick| (pick.nth, pick.choice)).collect::<Vec<_>>(), [(1, 0)]);
    }
}
