//! Models: state machines that stand for systems outside. The simulated world has one instance of each on a node of its own,
//! the witness another in a world where nothing fails; at the end both must show the same.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A system outside. A pure state machine: what it answers depends on its requests, their order and their times alone.
pub trait Model: Send {
    /// A request takes effect, so many nanoseconds after the run began.
    fn apply(&mut self, now_ns: u64, request: &[u8]) -> Bytes;

    /// Everything that readers outside can see, each record once, in any order.
    fn visible(&self) -> Vec<Bytes>;
}

/// Makes a fresh model.
pub type MakeModel = Arc<dyn Fn() -> Box<dyn Model> + Send + Sync>;

/// Models by the name of the system they stand for.
#[derive(Clone, Default)]
pub struct Models(BTreeMap<String, MakeModel>);

impl Models {
    /// With one more.
    pub fn with<M: Model + 'static>(mut self, system: &str, make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        self.0.insert(system.to_owned(), Arc::new(move || Box::new(make())));
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A fresh one of each.
    pub fn fresh(&self) -> Systems {
        Systems(self.0.iter().map(|(name, make)| (name.clone(), System::of(make()))).collect())
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Records, each as often as it is there.
pub type Bag = BTreeMap<Bytes, u64>;

/// How what is visible of a system has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Hash)]
pub struct Change {
    /// Records that have appeared, in order, with repetitions.
    pub appeared: Vec<Bytes>,
    /// Records that have vanished.
    pub vanished: Vec<Bytes>,
}

impl Change {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.vanished.is_empty()
    }

    fn between(before: &Bag, after: &Bag) -> Self {
        let more = |one: &Bag, other: &Bag| {
            let of = |(record, count): (&Bytes, &u64)| {
                let more = count.saturating_sub(other.get(record).copied().unwrap_or(0));
                std::iter::repeat_n(record.clone(), more as usize)
            };
            one.iter().flat_map(of).collect::<Vec<_>>()
        };
        Self { appeared: more(after, before), vanished: more(before, after) }
    }
}

/// Running models by name, with what of them has been seen.
#[derive(Default)]
pub struct Systems(BTreeMap<String, System>);

struct System {
    model: Box<dyn Model>,
    seen: Bag,
}

impl System {
    fn of(model: Box<dyn Model>) -> Self {
        let seen = bag(model.visible());
        Self { model, seen }
    }
}

impl Systems {
    /// A request takes effect; `None` if there is no such system.
    pub fn apply(&mut self, system: &str, now_ns: u64, request: &[u8]) -> Option<(Bytes, Change)> {
        let system = self.0.get_mut(system)?;
        let reply = system.model.apply(now_ns, request);
        let after = bag(system.model.visible());
        let change = Change::between(&system.seen, &after);
        system.seen = after;
        Some((reply, change))
    }
}

fn bag(records: Vec<Bytes>) -> Bag {
    let mut bag = Bag::new();
    records.into_iter().for_each(|record| *bag.entry(record).or_default() += 1);
    bag
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows what it was told last, twice.
    #[derive(Default)]
    struct Echo(Bytes);

    impl Model for Echo {
        fn apply(&mut self, _: u64, request: &[u8]) -> Bytes {
            self.0 = Bytes::copy_from_slice(request);
            Bytes::new()
        }

        fn visible(&self) -> Vec<Bytes> {
            vec![self.0.clone(), self.0.clone()]
        }
    }

    #[test]
    fn a_change_is_what_appeared_and_what_vanished() {
        let mut systems = Models::default().with("echo", Echo::default).fresh();
        assert!(systems.apply("nobody", 0, b"a").is_none());
        let (_, change) = systems.apply("echo", 0, b"a").expect("it is there");
        assert_eq!(change.appeared, ["a", "a"].map(Bytes::from));
        assert_eq!(change.vanished, [Bytes::new(), Bytes::new()]);
        let (_, change) = systems.apply("echo", 0, b"a").expect("it is there");
        assert!(change.is_empty());
    }
}
