//! What tests do with a story that is told: have it judged, and falsify it.

use super::Story;
use crate::case::{Case, Reference, Violation};
use crate::history::{Entry, Process, What};
use cofferdam_engine::event::Event;

impl Story {
    /// What every property says.
    pub fn judge(&self) -> Vec<Violation> {
        crate::judge_all(&Case::new(&self.history, &self.job, None))
    }

    /// What every property says, given a reference.
    pub fn judge_against(&self, reference: &Reference) -> Vec<Violation> {
        crate::judge_all(&Case::new(&self.history, &self.job, Some(reference)))
    }

    /// What one property says.
    pub fn judge_by(&self, property: &str) -> Option<Violation> {
        let property = crate::PROPERTIES.iter().find(|p| p.name == property).expect("a property");
        (property.judge)(&Case::new(&self.history, &self.job, None))
    }

    /// The first entry that `which` selects.
    pub fn find(&self, which: impl Fn(&What) -> bool) -> usize {
        self.history.entries.iter().position(|entry| which(&entry.what)).expect("such an entry")
    }

    /// Changes the last claim that `change` agrees to change.
    pub fn falsify(&mut self, change: impl FnMut(&mut Event) -> bool) {
        let claims = self.history.entries.iter_mut().rev().filter_map(|entry| match &mut entry.what {
            What::Claim(event) => Some(event),
            What::Fact(_) => None,
        });
        assert!(claims.into_iter().any(change), "there is nothing to falsify");
    }

    /// Removes the first entry that `which` selects.
    pub fn drop_first(&mut self, which: impl Fn(&What) -> bool) -> Entry {
        let at = self.find(which);
        self.history.entries.remove(at)
    }

    /// Moves the first entry that `which` selects in front of the first that `target` selects.
    pub fn move_before(&mut self, which: impl Fn(&What) -> bool, target: impl Fn(&What) -> bool) {
        let entry = self.drop_first(which);
        let at = self.find(target);
        self.history.entries.insert(at, entry);
    }

    /// Inserts an entry before another.
    pub fn insert_before(&mut self, at: usize, process: Process, what: What) {
        self.record(process, what);
        let entry = self.history.entries.pop().expect("just recorded");
        self.history.entries.insert(at, entry);
    }
}
