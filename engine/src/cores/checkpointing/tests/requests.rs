//! Checkpoints that somebody asks for, and what they are told.

use super::*;
use crate::reason::Refusal;

impl Bench {
    fn ask(&mut self, ms: u64, request: u64) {
        self.core.on_request(at_ms(ms), RequestId(request), &mut self.out);
    }
}

fn answer(request: u64, result: Result<u64, Refusal>) -> Effect {
    Effect::Answer { request: RequestId(request), result: result.map(id) }
}

#[test]
fn a_request_is_triggered_at_once_and_answered_when_it_is_durable() {
    let mut bench = Bench::running();
    bench.ask(300, 7);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_id(at_ms(300), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.adding(1, false);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    bench.expect(&[complete(1, 2, 1200, false), answer(7, Ok(1)), notify(1), Effect::Allocate]);
}

#[test]
fn the_periodic_one_keeps_its_time() {
    let mut bench = Bench::with(CheckpointConfig { max_concurrent: 2, ..config() });
    bench.ask(300, 7);
    bench.core.on_id(at_ms(300), 77, id(1), &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(1000)));
}

#[test]
fn a_request_does_not_wait_for_the_pause_to_be_over() {
    let mut bench = Bench::with(CheckpointConfig { min_pause: Duration::from_secs(60), ..config() });
    bench.triggered(1000, 1);
    bench.adding(1, false);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    bench.out.clear();
    bench.ask(1600, 7);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn requests_wait_for_room_and_go_before_the_periodic_one_in_their_order() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    bench.ask(1100, 7);
    bench.ask(1200, 8);
    bench.core.on_alarm(at_ms(2500), &mut bench.out);
    bench.expect(&[]);
    for (checkpoint, request) in [(2, 7), (3, 8)] {
        let reason = || FailureReason::UploadFailed("no space".into());
        let number = attempt(1);
        bench.core.on_decline(at_ms(2600), number, id(checkpoint - 1), SINK, reason(), &mut bench.out);
        let effects = std::mem::take(&mut bench.out);
        assert_eq!(effects.last(), Some(&Effect::Allocate));
        bench.core.on_id(at_ms(2600), 77, id(checkpoint), &mut bench.out);
        bench.out.clear();
        let asked = bench.core.pending.values().next().and_then(|pending| pending.request);
        assert_eq!(asked, Some(RequestId(request)));
    }
}

#[test]
fn a_request_whose_checkpoint_fails_is_told_why() {
    let mut bench = Bench::running();
    bench.ask(300, 7);
    bench.core.on_id(at_ms(300), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.core.on_alarm(at_ms(10_300), &mut bench.out);
    let failed = Refusal::Failed { checkpoint: id(1), reason: FailureReason::Expired };
    bench.expect(&[abort(1, FailureReason::Expired), answer(7, Err(failed)), Effect::Allocate]);
}

#[test]
fn nobody_waits_for_an_attempt_that_is_over() {
    let mut bench = Bench::running();
    bench.ask(300, 7);
    bench.ask(300, 8);
    bench.expect(&[Effect::Allocate]);
    bench.core.on_attempt_over(at_ms(400), attempt(1), "worker-1 is lost", &mut bench.out);
    let over = || Err(Refusal::AttemptOver("worker-1 is lost".into()));
    bench.expect(&[answer(7, over()), answer(8, over())]);
    bench.ask(500, 9);
    bench.expect(&[answer(9, Err(Refusal::NotRunning))]);
}

#[test]
fn a_request_for_which_there_is_no_id_is_refused_and_the_next_is_tried() {
    let mut bench = Bench::running();
    bench.ask(300, 7);
    bench.core.on_no_id(at_ms(400), "no space", &mut bench.out);
    bench.expect(&[Effect::Allocate, answer(7, Err(Refusal::NoId("no space".into())))]);
    bench.ask(500, 8);
    bench.expect(&[Effect::Allocate]);
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::running();
    bench.triggered(1000, 1);
    for request in 0..REQUESTS_MAX as u64 {
        bench.ask(1100, request);
    }
    bench.expect(&[]);
    bench.ask(1100, 5000);
    bench.expect(&[answer(5000, Err(Refusal::QueueFull))]);
}

#[test]
fn once_the_last_checkpoint_is_durable_there_is_nothing_to_ask_for() {
    let mut bench = Bench::running();
    bench.end_input(100, SOURCE);
    bench.end_input(100, SINK);
    bench.core.on_id(at_ms(100), 77, id(1), &mut bench.out);
    bench.out.clear();
    bench.ask(200, 7);
    bench.adding(1, true);
    bench.core.on_added(at_ms(1500), id(1), 2, &mut bench.out);
    let ending = || Err(Refusal::Ending);
    bench.expect(&[complete(1, 2, 1400, true), notify(1), answer(7, ending())]);
    bench.ask(1600, 8);
    bench.expect(&[answer(8, ending())]);
}
