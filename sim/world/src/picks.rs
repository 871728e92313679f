//! The free choices of the engine: which ready channel next, which lane of a link.
//!
//! A world either draws them (keyed, so that every choice comes up somewhere), or takes the *default* of each, as in
//! production (in turns), except for those that are listed. What was drawn can be listed: then the run is the same, and
//! every choice that does not matter can be taken off the list.

use super::keyed::identity;
use cofferdam_engine::door::Site;
use cofferdam_properties::history::{Incarnation, Process};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Every site has a favourite and keeps to it; at a change, the site that is choosing gets another one.
    Priorities {
        /// Decides the favourites.
        salt: u32,
        /// Which choices of the run, counted over all sites from 0, are changes. Counted together on purpose: a schedule is
        /// of the run as a whole, and a run is the same in every process.
        changes: Vec<u64>,
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

    /// How many choices are listed, or none if they are not decided by a list.
    pub fn listed(&self) -> Option<usize> {
        match self {
            Self::Seed | Self::Priorities { .. } => None,
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
            Self::Priorities { changes, .. } => write!(f, "by favourites, with changes at choices {changes:?}"),
        }
    }
}

/// The default of the `nth` choice of a site: in turns.
pub(crate) fn in_turns(nth: u64, choices: usize) -> usize {
    (nth % choices as u64) as usize
}

/// A choice as it was made, and what else there was to choose from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// The choice.
    pub pick: Pick,
    /// How many there were.
    pub choices: usize,
    /// Entries of the history before it.
    pub entries: usize,
}

/// Looks up the choices of a run, and writes them down if asked to.
pub(crate) struct Chooser {
    decides: Decides,
    offers: Option<Vec<Offer>>,
}

enum Decides {
    Seed,
    List { listed: BTreeMap<u64, usize>, written: usize, mattered: BTreeSet<u64> },
    Favourites { salt: u32, changes: BTreeSet<u64>, made: u64, changed: BTreeMap<u64, u32> },
}

impl Chooser {
    pub fn new(picks: &Picks, record: bool) -> Self {
        let decides = match picks {
            Picks::Seed => Decides::Seed,
            Picks::Turns { but } => Decides::List {
                listed: but.iter().map(|pick| (pick.key(), pick.choice)).collect(),
                written: but.len(),
                mattered: BTreeSet::new(),
            },
            Picks::Priorities { salt, changes } => Decides::Favourites {
                salt: *salt,
                changes: changes.iter().copied().collect(),
                made: 0,
                changed: BTreeMap::new(),
            },
        };
        Self { decides, offers: record.then(Vec::new) }
    }

    /// The choice, if the seed has nothing to say about it.
    pub fn decided(&mut self, by: Incarnation, site: Site, nth: u64, choices: usize) -> Option<usize> {
        match &mut self.decides {
            Decides::Seed => None,
            Decides::List { listed, mattered, .. } => {
                let default = in_turns(nth, choices);
                let key = if listed.is_empty() { None } else { Some(key(by, site.what, site.lane, nth)) };
                let listed = key.and_then(|key| listed.get(&key).map(|choice| (key, choice % choices)));
                let Some((key, choice)) = listed else { return Some(default) };
                if choice != default {
                    mattered.insert(key);
                }
                Some(choice)
            }
            Decides::Favourites { salt, changes, made, changed } => {
                // Not the incarnation: whoever comes up again is as stubborn as before.
                let whose = identity((by.process, site));
                let minds = changed.entry(whose).or_default();
                *minds += u32::from(changes.contains(made));
                *made += 1;
                let favourite = identity((*salt, whose, *minds));
                // The first and the last of those that are ready are mostly the same from choice to choice; others are not.
                Some(match favourite % 5 {
                    0 | 1 => 0,
                    2 | 3 => choices - 1,
                    _ => (favourite / 5 % choices as u64) as usize,
                })
            }
        }
    }

    /// A choice has been made after so many entries of the history.
    pub fn made(&mut self, by: Incarnation, site: Site, nth: u64, choices: usize, choice: usize, entries: usize) {
        if let Some(offers) = &mut self.offers {
            let (name, lane) = (site.what.to_owned(), site.lane);
            let pick = Pick { process: by.process, life: by.number, site: name, lane, nth, choice };
            offers.push(Offer { pick, choices, entries });
        }
    }

    /// Choices of the list that made no difference: they never came up, or there they are the default.
    pub fn idle(&self) -> usize {
        match &self.decides {
            Decides::List { written, mattered, .. } => written - mattered.len(),
            Decides::Seed | Decides::Favourites { .. } => 0,
        }
    }

    /// What was written down.
    pub fn take(&mut self) -> Vec<Offer> {
        self.offers.take().unwrap_or_default()
    }
}

impl Offer {
    /// Whether the choice is the one that nobody has to write down.
    pub fn is_default(&self) -> bool {
        self.pick.choice == in_turns(self.pick.nth, self.choices)
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
        let mut chooser = Chooser::new(&Picks::Turns { but: vec![pick] }, false);
        let site = Site::new("input", 7);
        assert_eq!(chooser.decided(by, site, 4, 3), Some(2));
        assert_eq!(chooser.decided(by, site, 5, 3), Some(2), "in turns");
        assert_eq!(chooser.decided(by, site, 3, 3), Some(0), "in turns");
        assert_eq!(chooser.decided(by, Site::new("input", 8), 4, 3), Some(1), "another lane");
        assert_eq!(chooser.decided(Incarnation { number: 1, ..by }, site, 4, 3), Some(1), "another life");
        assert_eq!(Chooser::new(&Picks::Seed, false).decided(by, site, 4, 3), None);
    }

    #[test]
    fn a_listed_choice_is_idle_until_it_is_taken_against_the_default() {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let pick = |nth, choice| Pick { process: by.process, life: 1, site: "input".into(), lane: 7, nth, choice };
        let mut chooser = Chooser::new(&Picks::Turns { but: vec![pick(0, 1), pick(1, 3), pick(2, 1)] }, false);
        assert_eq!(chooser.idle(), 3);
        assert_eq!(chooser.decided(by, Site::new("input", 7), 0, 2), Some(1));
        assert_eq!(chooser.decided(by, Site::new("input", 7), 1, 2), Some(1), "three of two is the default there");
        assert_eq!(chooser.idle(), 2);
    }

    #[test]
    fn what_was_chosen_is_written_down_with_what_it_was_chosen_from() {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let mut chooser = Chooser::new(&Picks::Seed, true);
        chooser.made(by, Site::new("input", 1), 0, 2, 0, 7);
        chooser.made(by, Site::new("input", 1), 1, 2, 0, 9);
        let taken = chooser.take();
        assert_eq!(
            taken.iter().map(|offer| (offer.pick.nth, offer.is_default())).collect::<Vec<_>>(),
            [(0, true), (1, false)]
        );
    }

    #[test]
    fn a_favourite_is_kept_until_a_change() {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let made = |salt, changes| {
            let mut chooser = Chooser::new(&Picks::Priorities { salt, changes }, false);
            (0..10).filter_map(|nth| chooser.decided(by, Site::new("input", 1), nth, 2)).collect::<Vec<_>>()
        };
        assert!((0..20).all(|salt| made(salt, vec![]).windows(2).all(|pair| pair[0] == pair[1])));
        let changing = (0..20).map(|salt| made(salt, vec![4]));
        let changed: Vec<_> = changing.filter(|choices| choices[0] != choices[9]).collect();
        assert!(
            !changed.is_empty() && changed.iter().all(|choices| choices[3] == choices[0] && choices[4] == choices[9])
        );
    }
}
