//! What of a history is on a page: everything, unless it is so long that nobody would want to load it.
//!
//! Of a long one the entries about elements are left out, but for those near the first bad step and the parting of the
//! runs; of one that goes in circles until its budget is used up most of what lies between is left out as well.

use super::kinds::Kind;
use cofferdam_properties::history::History;
use std::borrow::Cow;

/// Entries on a page, for each run.
pub const ENTRIES_MAX: usize = 25_000;

/// Entries before and behind a focus that are always there.
const NEAR: usize = 4_000;

/// Entries at the end, and half as many at the beginning, of a run that goes in circles.
const EDGE: usize = 5_000;

/// Part of a history.
pub struct Excerpt<'a> {
    /// The entries that are shown.
    pub history: Cow<'a, History>,
    /// Their numbers in the whole history, if they are not all of it.
    pub numbers: Option<Vec<usize>>,
}

impl<'a> Excerpt<'a> {
    /// The excerpt of `history` with everything near each `focus`.
    pub fn of(history: &'a History, focus: &[usize], max: usize) -> Self {
        let size = history.entries.len();
        if size <= max {
            return Self { history: Cow::Borrowed(history), numbers: None };
        }
        let near = |at: usize| focus.iter().any(|focus| focus.abs_diff(at) <= NEAR);
        let protocol = |at: usize| Kind::of(&history.entries[at]) != Kind::Elements;
        let mut numbers: Vec<usize> = (0..size).filter(|at| near(*at) || protocol(*at)).collect();
        if numbers.len() > max {
            numbers = (0..size).filter(|at| near(*at) || *at < EDGE / 2 || *at + EDGE >= size).collect();
        }
        let entries = numbers.iter().map(|at| history.entries[*at].clone()).collect();
        Self { history: Cow::Owned(History { entries, ..History::default() }), numbers: Some(numbers) }
    }

    /// Where an entry of the whole history stands here, or the next one that does.
    pub fn place(&self, at: usize) -> usize {
        self.numbers.as_ref().map_or(at, |numbers| numbers.partition_point(|number| *number < at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, SubtaskId};
    use cofferdam_properties::history::{Entry, Fact, Incarnation, Process, What};

    /// Every tenth entry is a fact, the others are about elements.
    fn history(size: usize) -> History {
        let by = Incarnation { process: Process::COORDINATOR, number: 1 };
        let emitted = Event::SourceEmitted { attempt: Attempt::default(), subtask: SubtaskId::default(), records: 1 };
        let what =
            |at: usize| if at.is_multiple_of(10) { What::Fact(Fact::Started) } else { What::Claim(emitted.clone()) };
        let entries = (0..size).map(|at| Entry { time: at as u64, by, what: what(at) }).collect();
        History { entries, ..History::default() }
    }

    #[test]
    fn a_history_that_is_not_long_is_all_there() {
        let history = history(1_000);
        let excerpt = Excerpt::of(&history, &[17], 1_000);
        assert_eq!((excerpt.numbers.as_ref(), excerpt.place(17)), (None, 17));
    }

    #[test]
    fn elements_are_left_out_far_from_the_focus_first() {
        let history = history(30_000);
        let excerpt = Excerpt::of(&history, &[20_000], 25_000);
        let numbers = excerpt.numbers.as_ref().expect("an excerpt");
        assert_eq!(numbers.len(), 8_001 + (30_000 - 8_001) / 10);
        assert_eq!(numbers[excerpt.place(20_000)], 20_000);
        assert_eq!(excerpt.history.entries.len(), numbers.len());
    }

    #[test]
    fn no_history_is_too_long() {
        let history = history(400_000);
        let excerpt = Excerpt::of(&history, &[200_000, 399_999], ENTRIES_MAX);
        let size = excerpt.history.entries.len();
        assert!((2 * NEAR..=ENTRIES_MAX).contains(&size), "{size}");
        assert_eq!(excerpt.numbers.as_ref().and_then(|numbers| numbers.last()), Some(&399_999));
    }
}
