//! Ownership, effect by effect; and two copies of one log at one output, in every order.

use super::*;
use crate::error::Reaction;
use crate::ids::LogId;
use crate::persist::slot::Lineage;
use std::collections::BTreeMap;

const LOG: LogId = LogId(0xa7);
const OTHER: LogId = LogId(0xb8);
const NOW: Duration = Duration::ZERO;

fn claimant(generation: u64, held: Option<(u64, u64)>) -> Claimant {
    let held = held.map(|(generation, checkpoint)| (Generation(generation), CheckpointId(checkpoint)));
    Claimant { log: LOG, lineage: None, generation: Generation(generation), token: 70 + generation, held }
}

fn generation(number: u64) -> Mark {
    Mark::Generation { log: LOG, generation: Generation(number), token: 70 + number }
}

fn completed(generation: u64, checkpoint: u64) -> Mark {
    Mark::Completed { log: LOG, generation: Generation(generation), checkpoint: CheckpointId(checkpoint) }
}

fn log() -> Mark {
    Mark::Log { log: LOG }
}

fn absent<T>() -> Result<T, StorageError> {
    Err(StorageError::NotFound("the mark".into()))
}

fn unknown<T>() -> Result<T, StorageError> {
    Err(StorageError::Unknown("the reply was lost".into()))
}

/// An output: answers what is asked of it at once.
#[derive(Clone, Debug, Default)]
struct Output(BTreeMap<Name, Bytes>);

impl Output {
    fn with(marks: &[Mark]) -> Self {
        Self(marks.iter().map(|mark| (mark.name(), mark.encode())).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().map(Name::to_string).collect()
    }

    /// Answers one request; `None` if it was none.
    fn answer(&mut self, leader: &mut Ownership, effect: &Effect) -> Option<Vec<Effect>> {
        let mut out = Vec::new();
        match effect {
            Effect::List { .. } => leader.on_listed(Ok(self.0.keys().copied().collect()), &mut out),
            Effect::Read { name, .. } => {
                let found = self.0.get(name).cloned();
                leader.on_read(*name, found.ok_or(StorageError::NotFound(name.path())), &mut out);
            }
            Effect::Create { mark, .. } => {
                let exists = self.0.contains_key(&mark.name());
                self.0.entry(mark.name()).or_insert_with(|| mark.encode());
                let reply = if exists { Err(StorageError::Exists(mark.name().path())) } else { Ok(()) };
                leader.on_created(mark.name(), reply, &mut out);
            }
            Effect::Delete { names } => {
                names.iter().for_each(|name| drop(self.0.remove(name)));
                leader.on_deleted(names);
            }
            Effect::AskLog => leader.on_confirmed(&mut out),
            Effect::Own | Effect::Publish { .. } | Effect::StepDown { .. } | Effect::Fail { .. } => return None,
        }
        Some(out)
    }

    /// Answers everything, and says what else was asked for.
    fn play(&mut self, leader: &mut Ownership, mut asked: Vec<Effect>) -> Vec<Effect> {
        let mut said = Vec::new();
        while !asked.is_empty() {
            let effect = asked.remove(0);
            match self.answer(leader, &effect) {
                Some(more) => asked.extend(more),
                None => said.push(effect),
            }
        }
        said
    }

    /// A leader starts here.
    fn start(&mut self, claimant: Claimant) -> (Ownership, Vec<Effect>) {
        let (mut leader, mut out) = (Ownership::new(claimant), Vec::new());
        leader.start(&mut out);
        let said = self.play(&mut leader, out);
        (leader, said)
    }

    #[track_caller]
    fn refuses(&mut self, claimant: Claimant) -> String {
        let before = self.names();
        let (leader, said) = self.start(claimant);
        assert!(!leader.is_owned());
        assert_eq!(self.names(), before, "what is refused leaves no trace");
        match &said[..] {
            [Effect::Fail { error }] => {
                assert_eq!(error.reaction, Reaction::GiveUp);
                error.message.clone()
            }
            said => panic!("{said:?} instead of a refusal"),
        }
    }

    fn commit(&mut self, leader: &mut Ownership, checkpoint: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        leader.on_durable(CheckpointId(checkpoint), &mut out);
        self.play(leader, out)
    }
}

fn publish(checkpoint: u64) -> Effect {
    Effect::Publish { checkpoint: CheckpointId(checkpoint) }
}

#[test]
fn a_first_leader_marks_an_empty_output_and_owns_it() {
    let mut out = Vec::new();
    let mut leader = Ownership::new(claimant(1, None));
    leader.start(&mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::List { delay: NOW }]);
    leader.on_listed(Ok(vec![]), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Create { mark: generation(1), delay: NOW }]);
    leader.on_created(generation(1).name(), Ok(()), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Create { mark: log(), delay: NOW }]);
    leader.on_created(log().name(), Ok(()), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::List { delay: LISTING_AGE_MAX }], "an older one would not do");
    assert!(!leader.is_owned());
    leader.on_listed(Ok(vec![log().name(), generation(1).name()]), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Own]);
    assert!(leader.is_owned());
}

#[test]
fn a_checkpoint_is_marked_then_a_newer_leader_looked_for_and_then_it_is_published() {
    let mut output = Output::default();
    let (mut leader, said) = output.start(claimant(1, None));
    assert_eq!(said, [Effect::Own]);
    let mut out = Vec::new();
    leader.on_durable(CheckpointId(1), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Create { mark: completed(1, 1), delay: NOW }]);
    leader.on_created(completed(1, 1).name(), Ok(()), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Read { name: generation(2).name(), delay: NOW }]);
    leader.on_read(generation(2).name(), absent(), &mut out);
    assert_eq!(std::mem::take(&mut out), [publish(1)]);
    assert_eq!(output.commit(&mut leader, 2), [publish(2)]);
}

#[test]
fn only_the_newest_completed_mark_stays_and_the_others_do() {
    let mut output = Output::default();
    let (mut leader, _) = output.start(claimant(1, None));
    for checkpoint in 1..=3 {
        assert_eq!(output.commit(&mut leader, checkpoint), [publish(checkpoint)]);
    }
    let (_, said) = output.start(claimant(2, Some((1, 3))));
    assert_eq!(said, [Effect::Own]);
    assert_eq!(output.names(), ["log-00000000000000a7", "generation-1", "generation-2", "completed-3"]);
}

#[test]
fn a_leader_that_starts_marks_what_its_log_holds_before_it_owns_the_output() {
    let mut output = Output::with(&[log(), generation(1), completed(1, 3)]);
    let (mut leader, said) = output.start(claimant(2, Some((1, 4))));
    assert_eq!(said, [Effect::Own]);
    assert_eq!(output.names(), ["log-00000000000000a7", "generation-1", "generation-2", "completed-4"]);
    assert_eq!(output.commit(&mut leader, 101), [publish(101)]);
}

#[test]
fn a_leader_whose_successor_has_marked_the_output_steps_down_and_publishes_nothing() {
    let mut output = Output::default();
    let (mut leader, _) = output.start(claimant(1, None));
    assert_eq!(output.start(claimant(2, None)).1, [Effect::Own]);
    let said = output.commit(&mut leader, 1);
    assert!(matches!(&said[..], [Effect::StepDown { cause }] if cause.starts_with("output/generation-2 ")), "{said:?}");
    assert_eq!(output.start(claimant(3, Some((1, 1)))).1, [Effect::Own]);
    let (_, said) = output.start(claimant(2, Some((1, 1))));
    assert!(matches!(&said[..], [Effect::StepDown { cause }] if cause.starts_with("output/generation-3 ")), "{said:?}");
}

#[test]
fn the_mark_of_another_claimant_fences() {
    let mut output = Output::default();
    output.start(claimant(1, None));
    let (_, said) = output.start(Claimant { token: 9, ..claimant(1, None) });
    let [Effect::StepDown { cause }] = &said[..] else { panic!("{said:?}") };
    assert!(cause.starts_with("output/generation-1 was created by the leader of another copy"), "{cause}");
}

#[test]
fn the_output_of_another_log_is_refused_and_named() {
    let mut output = Output::with(&[Mark::Log { log: OTHER }, generation(9)]);
    let message = output.refuses(claimant(1, None));
    assert!(message.starts_with("output/log-00000000000000b8 says that this output belongs to"), "{message}");
}

#[test]
fn checkpoints_whose_output_is_elsewhere_are_refused() {
    let message = Output::default().refuses(claimant(3, Some((2, 38))));
    assert!(message.contains("end with chk-38") && message.contains("output/log-00000000000000a7"), "{message}");
}

#[test]
fn a_log_that_completed_nothing_may_begin_on_another_output() {
    assert_eq!(Output::default().start(claimant(3, None)).1, [Effect::Own]);
}

#[test]
fn an_old_copy_is_refused_and_both_checkpoints_are_named() {
    let mut output = Output::with(&[log(), generation(1), completed(1, 57)]);
    let message = output.refuses(claimant(2, Some((1, 38))));
    assert!(message.contains("up to chk-57") && message.contains("end with chk-38"), "{message}");
    let message = output.refuses(claimant(2, None));
    assert!(message.contains("up to chk-57") && message.contains("were not to be retained"), "{message}");
}

#[test]
fn a_copy_that_used_higher_ids_under_an_older_leadership_is_an_old_copy_too() {
    // Copy A reached chk-350 as leader 3. Copy B took over as leader 4, and published chk-301, which A knows nothing of.
    let mut output = Output::with(&[log(), generation(3), generation(4), completed(3, 350), completed(4, 301)]);
    let message = output.refuses(claimant(5, Some((3, 350))));
    assert!(message.contains("up to chk-301") && message.contains("end with chk-350"), "{message}");
    assert_eq!(output.start(claimant(5, Some((4, 301)))).1, [Effect::Own]);
}

#[test]
fn output_of_an_ancestor_counts_up_to_the_checkpoint_of_the_lineage() {
    let of_parent =
        |checkpoint| Mark::Completed { log: OTHER, generation: Generation(1), checkpoint: CheckpointId(checkpoint) };
    let lineage = Some(Lineage { parent: OTHER, checkpoint: CheckpointId(7) });
    let started = Claimant { lineage, ..claimant(2, None) };
    let parent = Mark::Log { log: OTHER };
    assert_eq!(Output::with(&[parent, of_parent(7)]).start(started).1, [Effect::Own]);
    let message = Output::with(&[parent, of_parent(8)]).refuses(started);
    assert!(message.contains("chk-8") && message.contains("started from chk-7"), "{message}");
    let message = Output::with(&[parent, of_parent(7)]).refuses(claimant(2, None));
    assert!(message.contains("log-00000000000000b8"), "{message}");
}

#[test]
fn a_leader_that_was_deposed_meanwhile_learns_that_from_its_log_and_refuses_nothing() {
    let mut output = Output::with(&[log(), generation(1), completed(1, 57)]);
    let (mut leader, mut out) = (Ownership::new(claimant(2, Some((1, 38)))), Vec::new());
    leader.start(&mut out);
    let asked: Vec<Effect> = std::mem::take(&mut out);
    let asked = output.answer(&mut leader, &asked[0]).expect("a request");
    let asked = output.answer(&mut leader, &asked[0]).expect("a request");
    assert_eq!(asked, [Effect::AskLog], "nothing is said before the log has been asked");
    leader.on_doubt(&mut out);
    assert_eq!(out, [Effect::AskLog], "doubt is no answer");
}

#[test]
fn an_unknown_outcome_is_read_back_and_created_again() {
    let mut out = Vec::new();
    let mut leader = Ownership::new(claimant(1, None));
    leader.start(&mut out);
    leader.on_listed(Ok(vec![]), &mut out);
    let name = generation(1).name();
    out.clear();
    leader.on_created(name, unknown(), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Read { name, delay: NOW }]);
    leader.on_read(name, absent(), &mut out);
    let delay = backoff(1);
    assert_eq!(std::mem::take(&mut out), [Effect::Create { mark: generation(1), delay }], "it may still land");
    leader.on_created(name, Err(StorageError::Exists(name.path())), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Read { name, delay: NOW }]);
    leader.on_read(name, Ok(generation(1).encode()), &mut out);
    assert_eq!(std::mem::take(&mut out), [Effect::Create { mark: log(), delay: NOW }], "it is our own");
}

#[test]
fn an_unreadable_mark_is_corrupt_and_named() {
    for name in [generation(1).name(), log().name(), completed(1, 1).name()] {
        let mut output = Output::with(&[]);
        output.0.insert(name, Bytes::new());
        let (_, said) = output.start(claimant(1, None));
        let [Effect::Fail { error }] = &said[..] else { panic!("{said:?} for {name}") };
        assert_eq!(error.reaction, Reaction::Corrupt);
        assert!(error.message.contains(&name.path()), "{error}");
    }
}

#[test]
fn storage_that_never_answers_is_given_up() {
    let (mut leader, mut out) = (Ownership::new(claimant(1, None)), Vec::new());
    leader.start(&mut out);
    for _ in 0..TRIES_MAX {
        assert!(matches!(out.pop(), Some(Effect::List { .. })));
        leader.on_listed(Err(StorageError::Failed("on fire".into())), &mut out);
    }
    assert!(matches!(&out[..], [Effect::Fail { error }] if error.reaction == Reaction::Restart), "{out:?}");
}

#[test]
fn numbers_that_a_dead_claim_has_skipped_are_marked_and_the_output_is_looked_at_again() {
    let mut output = Output::default();
    let (mut first, _) = output.start(claimant(1, None));
    output.commit(&mut first, 1);
    // A copy of the log claimed 2 and 3 and died both times before it made a mark.
    let (mut second, mut out) = (Ownership::new(claimant(4, Some((1, 1)))), Vec::new());
    second.start(&mut out);
    let mut asked = Vec::new();
    while let Some(effect) = out.pop() {
        match &effect {
            Effect::Create { mark, .. } => asked.push(format!("create {}", mark.name())),
            Effect::List { .. } => asked.push("list".to_owned()),
            _ => {}
        }
        out.extend(output.answer(&mut second, &effect).unwrap_or_default());
    }
    let marks = ["list", "create generation-4", "create log-00000000000000a7", "list"];
    let gap = ["create generation-2", "create generation-3", "list"];
    assert_eq!(asked, [&marks[..], &gap[..]].concat());
    assert!(second.is_owned());
    let mut late = Ownership::new(Claimant { token: 9, ..claimant(3, Some((1, 1))) });
    late.start(&mut out);
    // It had looked before the gap was closed.
    late.on_listed(Ok(vec![log().name(), generation(1).name()]), &mut out);
    out.drain(..1);
    let said = output.play(&mut late, out);
    let [Effect::StepDown { cause }] = &said[..] else { panic!("{said:?}") };
    assert!(cause.starts_with("output/generation-3 was created by the leader of another copy"), "{cause}");
    let said = output.commit(&mut first, 2);
    assert!(matches!(&said[..], [Effect::StepDown { cause }] if cause.starts_with("output/generation-2 ")), "{said:?}");
}

#[test]
fn an_output_that_the_leadership_of_the_newest_checkpoint_never_marked_is_refused() {
    // The log began here, went on elsewhere as its second leader, and comes back.
    let mut output = Output::with(&[log(), generation(1)]);
    let message = output.refuses(claimant(3, Some((2, 105))));
    assert!(
        message.contains("end with chk-105") && message.contains("output/generation-2 does not exist"),
        "{message}"
    );
    // An old copy of the output of leader 2 is the same, unless leader 2 had marked it.
    let mut output = Output::with(&[log(), generation(1), completed(1, 3)]);
    assert!(output.refuses(claimant(3, Some((2, 10)))).contains("generation-2"));
}

/// One of two leaders of copies of one log, and what it asks for.
#[derive(Debug)]
struct Copy {
    leader: Ownership,
    asked: Vec<Effect>,
    published: bool,
    owns: bool,
}

/// Of two copies, one about to publish a checkpoint and one about to take over with what was completed before: in every
/// order of their requests, never both.
#[test]
fn of_two_copies_in_every_order_one_never_publishes_what_the_other_does_not_hold() {
    for skipped in 0..3 {
        two_copies_in_every_order(skipped, false);
        two_copies_in_every_order(skipped, true);
    }
}

/// The second copy has claimed `skipped` leaderships before, of which there is no mark. If `marked`, it has claimed one more, whose
/// leader died between its own mark and those of the missing numbers.
fn two_copies_in_every_order(skipped: u64, marked: bool) {
    let mut ways = [0; 4];
    for order in 0..1_u32 << 12 {
        let mut output = Output::default();
        let (mut first, _) = output.start(claimant(1, None));
        output.commit(&mut first, 1);
        let (mut asked_first, mut asked_second) = (Vec::new(), Vec::new());
        first.on_durable(CheckpointId(2), &mut asked_first);
        let mut own = 2 + skipped;
        if marked {
            output.0.insert(generation(own).name(), generation(own).encode());
            own += 1;
        }
        let mut second = Ownership::new(claimant(own, Some((1, 1))));
        second.start(&mut asked_second);
        let mut copies = [(first, asked_first), (second, asked_second)].map(|(leader, asked)| Copy {
            leader,
            asked,
            published: false,
            owns: false,
        });
        for step in 0.. {
            let turn = (order >> step.min(31) & 1) as usize;
            let turn = if copies[turn].asked.is_empty() { 1 - turn } else { turn };
            let Copy { leader, asked, published, owns } = &mut copies[turn];
            if asked.is_empty() {
                break;
            }
            let effect = asked.remove(0);
            match output.answer(leader, &effect) {
                Some(more) => asked.extend(more),
                None => {
                    *published |= effect == publish(2);
                    *owns |= effect == Effect::Own;
                }
            }
        }
        let [first, second] = &copies;
        assert!(!(first.published && second.owns), "order {order:b}: {output:?}");
        ways[usize::from(first.published) + 2 * usize::from(second.owns)] += 1;
    }
    // A mark of number 2 is there from the beginning if its leader died with it: then the first can only step down.
    let both_may_win = !(marked && skipped == 0);
    assert!(ways[2] > 0 && (ways[1] > 0) == both_may_win, "{skipped} skipped, marked: {marked}: {ways:?}");
}
