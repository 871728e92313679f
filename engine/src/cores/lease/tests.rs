//! The lease, sentence by sentence.

use super::*;

const LEASE: Duration = Duration::from_secs(9);
const THIRD: Duration = Duration::from_secs(3);

fn at(seconds: u64) -> Time {
    Time::default() + Duration::from_secs(seconds)
}

fn sign(generation: u64, beat: u64) -> Result<Seen, StorageError> {
    Ok(Seen::Sign { generation: Generation(generation), beat, resigned: false })
}

/// A standby, and every effect of its last step.
struct Standby {
    watch: Watch,
    out: Vec<Effect>,
}

impl Standby {
    fn new() -> Self {
        Self::knowing(None)
    }

    /// It begins at second 0.
    fn knowing(leader: Option<Generation>) -> Self {
        let mut out = Vec::new();
        let watch = Watch::new(at(0), LEASE, leader, &mut out);
        assert_eq!(out, [Effect::Read { delay: Duration::ZERO }]);
        Self { watch, out }
    }

    /// A read that takes no time.
    fn sees(&mut self, seconds: u64, reply: Result<Seen, StorageError>) -> &[Effect] {
        self.sees_late(seconds, seconds, reply)
    }

    fn sees_late(&mut self, asked: u64, now: u64, reply: Result<Seen, StorageError>) -> &[Effect] {
        self.out.clear();
        self.watch.on_observed(at(asked), at(now), reply, &mut self.out);
        &self.out
    }
}

const AGAIN: [Effect; 1] = [Effect::Read { delay: THIRD }];
const TAKE_OVER: [Effect; 1] = [Effect::TakeOver];

#[test]
fn a_leader_that_shows_signs_is_left_alone() {
    let mut standby = Standby::new();
    for beat in 1..40 {
        assert_eq!(standby.sees(3 * beat, sign(1, beat)), AGAIN);
    }
    assert_eq!(standby.watch.leader(), Some(Generation(1)));
}

#[test]
fn a_sign_that_stands_for_a_lease_lets_the_standby_take_over() {
    let mut standby = Standby::new();
    assert_eq!(standby.sees(1, sign(1, 5)), AGAIN);
    assert_eq!(standby.sees(4, sign(1, 5)), AGAIN);
    assert_eq!(standby.sees(8, sign(1, 5)), [Effect::Read { delay: Duration::from_secs(2) }]);
    assert_eq!(standby.sees(10, sign(1, 5)), TAKE_OVER);
}

#[test]
fn a_read_that_began_before_the_lease_was_over_proves_nothing() {
    let mut standby = Standby::new();
    standby.sees(1, sign(1, 5));
    // The standby itself stood still for a minute; the leader may have written ten signs since it asked.
    assert_eq!(standby.sees_late(4, 64, sign(1, 5)), [Effect::Read { delay: Duration::ZERO }]);
    assert_eq!(standby.sees(64, sign(1, 25)), AGAIN);
}

#[test]
fn failed_reads_prove_nothing() {
    let mut standby = Standby::new();
    standby.sees(1, sign(1, 5));
    for seconds in 2..60 {
        assert_eq!(standby.sees(seconds, Err(StorageError::Failed("down".into()))), AGAIN);
    }
    assert_eq!(standby.sees(60, sign(1, 6)), AGAIN);
    standby.sees(62, Err(StorageError::Failed("down".into())));
    assert_eq!(standby.sees(69, sign(1, 6)), TAKE_OVER);
}

#[test]
fn the_last_signs_of_a_deposed_leader_do_not_count() {
    let mut standby = Standby::new();
    standby.sees(0, sign(1, 50));
    standby.sees(1, sign(2, 1));
    assert_eq!(standby.sees(4, sign(1, 51)), AGAIN);
    standby.sees(7, sign(1, 52));
    assert_eq!(standby.sees(10, sign(1, 53)), TAKE_OVER);
    assert_eq!(standby.watch.leader(), Some(Generation(2)));
}

#[test]
fn a_sign_that_lands_late_does_not_count() {
    let mut standby = Standby::new();
    standby.sees(0, sign(1, 6));
    standby.sees(3, sign(1, 5));
    assert_eq!(standby.sees(9, sign(1, 5)), TAKE_OVER);
}

#[test]
fn where_nobody_ever_led_a_third_of_the_lease_is_enough() {
    let mut standby = Standby::new();
    assert_eq!(standby.sees(0, Ok(Seen::Nothing)), AGAIN);
    assert_eq!(standby.sees(3, Ok(Seen::Nothing)), TAKE_OVER);
    let mut late = Standby::new();
    late.sees(0, Ok(Seen::Nothing));
    assert_eq!(late.sees(3, sign(1, 1)), AGAIN);
}

#[test]
fn a_leader_known_from_the_log_has_a_lease_for_its_first_sign() {
    let mut standby = Standby::knowing(Some(Generation(2)));
    assert_eq!(standby.sees(3, sign(1, 5)), AGAIN, "the last sign of its predecessor");
    assert_eq!(standby.sees(6, Ok(Seen::Nothing)), AGAIN);
    assert_eq!(standby.sees(8, sign(2, 1)), AGAIN);
    assert_eq!(standby.sees(17, sign(2, 1)), TAKE_OVER);
    let mut of_nobody = Standby::knowing(Some(Generation(2)));
    assert_eq!(of_nobody.sees(9, sign(1, 5)), TAKE_OVER);
    assert_eq!(of_nobody.watch.leader(), Some(Generation(2)));
}

fn garbled(digest: u64) -> Result<Seen, StorageError> {
    Ok(Seen::Garbled { digest })
}

#[test]
fn what_is_no_sign_is_given_a_lease_to_become_one() {
    let mut standby = Standby::new();
    standby.sees(0, garbled(1));
    assert_eq!(standby.sees(3, garbled(1)), AGAIN);
    assert_eq!(standby.sees(9, garbled(1)), TAKE_OVER);
}

#[test]
fn signs_that_are_overwritten_whenever_they_are_read_are_signs_of_life() {
    let mut standby = Standby::new();
    standby.sees(0, sign(1, 1));
    for beat in 1..9 {
        assert_eq!(standby.sees(3 * beat, garbled(beat)), AGAIN);
    }
    assert_eq!(standby.watch.leader(), Some(Generation(1)), "whose signs they were");
    assert_eq!(standby.sees(27, garbled(8)), AGAIN);
    assert_eq!(standby.sees(33, garbled(8)), TAKE_OVER, "nobody has written for a lease");
    assert_eq!(standby.watch.leader(), Some(Generation(1)));
}

#[test]
fn nobody_waits_for_a_leader_that_resigned() {
    let mut standby = Standby::new();
    standby.sees(0, sign(1, 1));
    let resigned = Seen::Sign { generation: Generation(1), beat: 2, resigned: true };
    assert_eq!(standby.sees(3, Ok(resigned)), TAKE_OVER);
}

#[test]
fn a_fenced_standby_stops() {
    let mut standby = Standby::new();
    assert_eq!(standby.sees(0, Err(StorageError::Fenced)), [Effect::Fail { error: StorageError::Fenced.into() }]);
}

#[test]
fn a_leader_shows_its_first_sign_at_once_and_three_a_lease() {
    let mut beat = Beat::new(at(1), LEASE);
    let mut out = Vec::new();
    for (number, seconds) in [(1, 1), (2, 4), (3, 7)] {
        assert_eq!(beat.deadline(), Some(at(seconds)));
        beat.on_alarm(at(seconds), &mut out);
        assert_eq!(std::mem::take(&mut out), [Effect::Write { beat: number, standing: Standing::Leads }]);
        assert_eq!(beat.deadline(), None, "one write at a time");
        beat.on_alarm(at(seconds + 2), &mut out);
        assert_eq!(out, []);
        beat.on_written();
    }
}

#[test]
fn a_leader_whose_writes_are_slow_shows_fewer_signs_and_never_two_at_once() {
    let mut beat = Beat::new(at(0), LEASE);
    let mut out = Vec::new();
    beat.on_alarm(at(0), &mut out);
    beat.on_alarm(at(20), &mut out);
    assert_eq!(out.len(), 1);
    beat.on_written();
    assert_eq!(beat.deadline(), Some(at(3)));
    beat.on_alarm(at(20), &mut out);
    assert_eq!(out[1..], [Effect::Write { beat: 2, standing: Standing::Leads }]);
}

#[test]
fn a_leader_that_resigns_says_so_at_once() {
    let mut beat = Beat::new(at(0), LEASE);
    let mut out = Vec::new();
    beat.on_alarm(at(0), &mut out);
    beat.on_written();
    beat.resign(at(1));
    beat.on_alarm(at(1), &mut out);
    assert_eq!(out[1..], [Effect::Write { beat: 2, standing: Standing::Resigned }]);
}
