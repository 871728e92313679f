//! Links that arrive at a worker before the attempt that they belong to: which are held, and for how long.
//!
//! The producing worker may receive an attempt first, and dial before this worker receives it. Such a link is held until the
//! attempt is deployed here, if the attempt is *near*:
//! 1. It is of the leadership that has welcomed this worker. Reason: a worker is placed only after it was welcomed.
//! 2. It is at most [`AHEAD_MAX`] attempts ahead of the one deployed in this session. Reason: a leader sends an attempt
//!    to all its hosts at once; one that was spare for longer costs the attempt that it joins. Exception: a worker that
//!    was away may have missed any number, so before the first deployment of a session only rule 1 holds.
//!
//! At most one link is held of each worker, that of its newest attempt, and at most [`HELD_MAX`] in all. A link is forgotten when
//! its peer hangs up, and released when a newer attempt is deployed or another leadership welcomes this worker.
//!
//! Owns: who is held. Does not own: the connections ([`crate::runtime::worker`]), nor whether the peer is a member
//! ([`crate::cores::handshake`]).

use crate::ids::{Attempt, Generation, WorkerId};
use std::collections::BTreeMap;

/// Links that are held at a time.
pub const HELD_MAX: usize = 64;

/// Attempts between the one that is deployed here and one that a link may be held for.
pub const AHEAD_MAX: u32 = 64;

/// A link that has arrived, counted by this worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// What becomes of links.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The link that has just arrived belongs to the newest attempt: use it, if that attempt still runs.
    Attach,
    /// The link that has just arrived is early: keep it until it is called or released.
    Hold {
        /// Which one.
        link: LinkId,
    },
    /// The link that has just arrived is of no use: hang up.
    Refuse,
    /// The attempt of a held link has been deployed: use it.
    Call {
        /// Which one.
        link: LinkId,
    },
    /// A held link is of no use any more: hang up.
    Release {
        /// Which one.
        link: LinkId,
    },
}

/// The links that are held.
#[derive(Clone, Debug, Default)]
pub struct EarlyLinks {
    /// The newest attempt that was deployed here; older ones are history.
    newest: Attempt,
    /// The leadership that has welcomed this worker last.
    welcomed: Option<Generation>,
    /// Whether an attempt was deployed here since that welcome.
    deployed: bool,
    held: BTreeMap<WorkerId, Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    attempt: Attempt,
    link: LinkId,
}

impl EarlyLinks {
    /// The newest attempt that was deployed here.
    pub fn newest(&self) -> Attempt {
        self.newest
    }

    /// A link of `attempt` has arrived from another worker.
    pub fn on_arrived(&mut self, link: LinkId, attempt: Attempt, from: WorkerId, out: &mut Vec<Effect>) {
        if attempt == self.newest {
            return out.push(Effect::Attach);
        }
        let present = self.held.get(&from).copied();
        let full = self.held.len() == HELD_MAX && present.is_none();
        // A worker that dials again for the same attempt has given the earlier link up.
        let overtaken = present.is_some_and(|held| held.attempt > attempt);
        if attempt < self.newest || !self.is_near(attempt) || full || overtaken {
            return out.push(Effect::Refuse);
        }
        if let Some(older) = self.held.insert(from, Held { attempt, link }) {
            assert!(older.link < link, "links are counted");
            out.push(Effect::Release { link: older.link });
        }
        out.push(Effect::Hold { link });
        self.validate();
    }

    /// A leadership welcomes this worker.
    pub fn on_welcomed(&mut self, generation: Generation, out: &mut Vec<Effect>) {
        (self.welcomed, self.deployed) = (Some(generation), false);
        self.held.retain(|_, held| {
            let stays = held.attempt.generation == generation;
            if !stays {
                out.push(Effect::Release { link: held.link });
            }
            stays
        });
        self.validate();
    }

    /// A newer attempt was deployed here.
    pub fn on_deployed(&mut self, attempt: Attempt, out: &mut Vec<Effect>) {
        assert!(attempt > self.newest, "attempts are deployed in order");
        assert_eq!(self.welcomed, Some(attempt.generation), "the leadership of this session deploys");
        (self.newest, self.deployed) = (attempt, true);
        self.held.retain(|_, held| {
            if held.attempt == attempt {
                out.push(Effect::Call { link: held.link });
            } else if held.attempt < attempt {
                out.push(Effect::Release { link: held.link });
            }
            held.attempt > attempt
        });
        self.validate();
    }

    /// The peer of a link has hung up, or the attempt of the link did not come in time.
    pub fn on_gone(&mut self, link: LinkId) {
        self.held.retain(|_, held| held.link != link);
        self.validate();
    }

    /// Whether a right worker can have received this coming attempt already.
    fn is_near(&self, attempt: Attempt) -> bool {
        let ahead = attempt.number.saturating_sub(self.newest.number);
        self.welcomed == Some(attempt.generation) && (!self.deployed || ahead <= AHEAD_MAX)
    }

    fn validate(&self) {
        assert!(!self.deployed || self.welcomed == Some(self.newest.generation), "what is deployed is of this session");
        assert!(self.held.values().all(|held| self.is_near(held.attempt)), "only links of near attempts are held");
        assert!(self.held.len() <= HELD_MAX, "{} links are held", self.held.len());
        assert!(self.held.values().all(|held| held.attempt > self.newest), "only links of coming attempts are held");
        let mut links: Vec<LinkId> = self.held.values().map(|held| held.link).collect();
        links.sort_unstable();
        assert!(links.windows(2).all(|pair| pair[0] < pair[1]), "a link is held once");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leadership of [`attempt`] has welcomed this worker.
    fn welcomed() -> EarlyLinks {
        let mut links = EarlyLinks::default();
        links.on_welcomed(Generation(1), &mut Vec::new());
        links
    }

    fn attempt(number: u32) -> Attempt {
        Attempt { generation: Generation(1), number }
    }

    fn arrive(links: &mut EarlyLinks, link: u64, number: u32, from: u16) -> Vec<Effect> {
        let mut out = Vec::new();
        links.on_arrived(LinkId(link), attempt(number), WorkerId(from), &mut out);
        out
    }

    fn deploy(links: &mut EarlyLinks, number: u32) -> Vec<Effect> {
        let mut out = Vec::new();
        links.on_deployed(attempt(number), &mut out);
        out
    }

    #[test]
    fn an_early_link_is_held_until_its_attempt_is_deployed() {
        let mut links = welcomed();
        assert_eq!(arrive(&mut links, 1, 1, 0), [Effect::Hold { link: LinkId(1) }]);
        assert_eq!(arrive(&mut links, 2, 3, 5), [Effect::Hold { link: LinkId(2) }]);
        assert_eq!(deploy(&mut links, 1), [Effect::Call { link: LinkId(1) }]);
        assert_eq!(arrive(&mut links, 3, 1, 7), [Effect::Attach]);
        assert_eq!(deploy(&mut links, 2), []);
        assert_eq!(arrive(&mut links, 4, 1, 7), [Effect::Refuse], "history");
        assert_eq!(deploy(&mut links, 4), [Effect::Release { link: LinkId(2) }]);
    }

    #[test]
    fn of_a_worker_the_newest_attempt_and_its_latest_link_are_held() {
        let mut links = welcomed();
        arrive(&mut links, 1, 2, 0);
        let replaced = [Effect::Release { link: LinkId(1) }, Effect::Hold { link: LinkId(2) }];
        assert_eq!(arrive(&mut links, 2, 2, 0), replaced, "it has dialled again");
        let replaced = [Effect::Release { link: LinkId(2) }, Effect::Hold { link: LinkId(3) }];
        assert_eq!(arrive(&mut links, 3, 3, 0), replaced, "it has heard of a newer attempt");
        assert_eq!(arrive(&mut links, 4, 2, 0), [Effect::Refuse]);
    }

    #[test]
    fn no_more_are_held_than_there_is_room_for_and_those_who_leave_make_room() {
        let mut links = welcomed();
        for worker in 0..HELD_MAX as u16 {
            arrive(&mut links, u64::from(worker), 1, worker);
        }
        assert_eq!(arrive(&mut links, 1000, 1, 999), [Effect::Refuse]);
        links.on_gone(LinkId(5));
        assert_eq!(arrive(&mut links, 1001, 1, 999), [Effect::Hold { link: LinkId(1001) }]);
        links.on_gone(LinkId(5));
        assert_eq!(deploy(&mut links, 1).len(), HELD_MAX, "all are called, once each");
    }

    #[test]
    fn a_link_far_ahead_of_what_is_deployed_is_refused() {
        let mut links = welcomed();
        deploy(&mut links, 7);
        assert_eq!(arrive(&mut links, 1, 7 + AHEAD_MAX, 0), [Effect::Hold { link: LinkId(1) }]);
        assert_eq!(arrive(&mut links, 2, 8 + AHEAD_MAX, 1), [Effect::Refuse]);
        assert_eq!(arrive(&mut links, 3, u32::MAX, 2), [Effect::Refuse]);
        links.on_welcomed(Generation(1), &mut Vec::new());
        assert_eq!(arrive(&mut links, 4, 900, 1), [Effect::Hold { link: LinkId(4) }], "this worker was away");
    }

    #[test]
    fn a_link_of_a_leadership_that_has_not_welcomed_this_worker_is_refused_or_released() {
        let mut links = EarlyLinks::default();
        assert_eq!(arrive(&mut links, 1, 1, 0), [Effect::Refuse], "no leadership has");
        links.on_welcomed(Generation(1), &mut Vec::new());
        assert_eq!(arrive(&mut links, 2, 1, 0), [Effect::Hold { link: LinkId(2) }]);
        let later = Attempt { generation: Generation(2), number: 1 };
        let mut out = Vec::new();
        links.on_arrived(LinkId(3), later, WorkerId(1), &mut out);
        assert_eq!(std::mem::take(&mut out), [Effect::Refuse]);
        links.on_welcomed(Generation(2), &mut out);
        assert_eq!(std::mem::take(&mut out), [Effect::Release { link: LinkId(2) }]);
        links.on_arrived(LinkId(4), later, WorkerId(1), &mut out);
        assert_eq!(out, [Effect::Hold { link: LinkId(4) }]);
    }
}
