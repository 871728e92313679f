//! Fail-over, effect by effect: two workers, three subtasks, two restarts in a row.

use super::*;
use crate::ids::{CheckpointId, OperatorId};

const DELAY: Duration = Duration::from_secs(1);

const SOURCE: SubtaskId = SubtaskId { operator: OperatorId(0), index: 0 };
const COUNT_0: SubtaskId = SubtaskId { operator: OperatorId(1), index: 0 };
const COUNT_1: SubtaskId = SubtaskId { operator: OperatorId(1), index: 1 };

fn attempt(number: u32) -> Attempt {
    Attempt { generation: Generation(1), number }
}

fn at_ms(ms: u64) -> Time {
    Time(0) + Duration::from_millis(ms)
}

fn placement() -> Vec<(SubtaskId, WorkerId)> {
    vec![(SOURCE, WorkerId(0)), (COUNT_0, WorkerId(0)), (COUNT_1, WorkerId(1))]
}

fn restore() -> Option<RestoreFrom> {
    Some(RestoreFrom { checkpoint: CheckpointId(4), snapshots: vec![] })
}

fn cancel(number: u32, cause: &str) -> Effect {
    Effect::Cancel { attempt: attempt(number), cause: cause.into() }
}

fn draw(number: u32) -> Effect {
    Effect::Draw { attempt: attempt(number) }
}

struct Bench {
    core: Failover,
    out: Vec<Effect>,
}

impl Bench {
    fn new() -> Self {
        let strategy = RestartStrategy::FixedDelay { attempts: 2, delay: DELAY };
        let core = Failover::new(Generation(1), 2, strategy, vec![SOURCE, COUNT_0, COUNT_1]);
        Self { core, out: Vec::new() }
    }

    fn register(&mut self, ms: u64, worker: u16, connection: u64) -> Registration {
        self.core.on_registered(at_ms(ms), WorkerId(worker), ConnectionId(connection), &mut self.out)
    }

    fn lose(&mut self, ms: u64, connection: u64) -> Option<WorkerId> {
        self.core.on_disconnected(at_ms(ms), ConnectionId(connection), "it broke", &mut self.out)
    }

    fn run(&mut self, ms: u64, number: u32) {
        self.core.on_restore_read(at_ms(ms), attempt(number), Ok(None), &mut self.out);
        for subtask in [SOURCE, COUNT_0, COUNT_1] {
            self.core.on_restored(attempt(number), subtask, &mut self.out);
        }
        assert_eq!(self.out.pop(), Some(Effect::Run { attempt: attempt(number) }));
        self.out.clear();
    }

    /// Both workers are there and the first attempt runs.
    fn running() -> Self {
        let mut bench = Self::new();
        bench.register(0, 0, 1);
        bench.register(0, 1, 2);
        bench.expect(&[Effect::ReadRestore { attempt: attempt(1) }]);
        bench.run(0, 1);
        bench
    }

    fn fail(&mut self, ms: u64, number: u32, error: Error) {
        self.core.on_failed(at_ms(ms), attempt(number), "count[1] on worker-1", error, &mut self.out);
    }

    fn expect(&mut self, effects: &[Effect]) {
        assert_eq!(self.out, effects);
        self.out.clear();
    }
}

#[test]
fn the_job_is_deployed_once_every_worker_is_there_and_runs_once_every_subtask_has_restored() {
    let mut bench = Bench::new();
    bench.register(0, 1, 1);
    bench.expect(&[]);
    bench.register(5, 0, 2);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(1) }]);
    bench.core.on_restore_read(at_ms(9), attempt(1), Ok(restore()), &mut bench.out);
    bench.expect(&[Effect::Deploy { attempt: attempt(1), placement: placement(), restore: restore() }]);
    bench.core.on_restored(attempt(1), SOURCE, &mut bench.out);
    bench.core.on_restored(attempt(1), COUNT_1, &mut bench.out);
    bench.core.on_restored(attempt(1), COUNT_1, &mut bench.out);
    bench.expect(&[]);
    bench.core.on_restored(attempt(1), COUNT_0, &mut bench.out);
    bench.expect(&[Effect::Run { attempt: attempt(1) }]);
    assert_eq!(bench.core.hosted(WorkerId(0)), [SOURCE, COUNT_0]);
}

#[test]
fn a_failed_attempt_is_followed_by_the_next_after_the_delay() {
    let mut bench = Bench::running();
    bench.fail(100, 1, Error::restart("out of luck"));
    bench.expect(&[draw(1), cancel(1, "count[1] on worker-1: out of luck")]);
    assert_eq!(bench.core.deadline(), None, "first every completion must be decided");
    bench.core.on_settled(at_ms(101), &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(1100)));
    bench.core.on_alarm(at_ms(1099), &mut bench.out);
    bench.expect(&[]);
    bench.core.on_alarm(at_ms(1100), &mut bench.out);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
}

#[test]
fn nothing_is_restored_while_a_completion_is_undecided() {
    let mut bench = Bench::running();
    bench.fail(100, 1, Error::restart("out of luck"));
    bench.out.clear();
    bench.core.on_alarm(at_ms(5000), &mut bench.out);
    bench.expect(&[]);
    bench.core.on_settled(at_ms(6000), &mut bench.out);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
}

#[test]
fn two_failures_of_one_attempt_restart_once() {
    let mut bench = Bench::running();
    bench.fail(100, 1, Error::restart("out of luck"));
    bench.fail(101, 1, Error::restart("again"));
    bench.expect(&[draw(1), cancel(1, "count[1] on worker-1: out of luck")]);
    bench.core.on_settled(at_ms(102), &mut bench.out);
    bench.core.on_alarm(at_ms(1100), &mut bench.out);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
    bench.run(1100, 2);
    bench.fail(1200, 1, Error::restart("late news of the first attempt"));
    bench.expect(&[]);
    assert!(bench.core.is_live(attempt(2)));
}

#[test]
fn a_job_that_keeps_failing_is_given_up() {
    let mut bench = Bench::running();
    for number in 1..=2 {
        bench.fail(10_000 * u64::from(number), number, Error::restart("out of luck"));
        bench.out.clear();
        bench.core.on_settled(at_ms(10_000 * u64::from(number)), &mut bench.out);
        bench.core.on_alarm(at_ms(10_000 * u64::from(number) + 1000), &mut bench.out);
        bench.expect(&[Effect::ReadRestore { attempt: attempt(number + 1) }]);
        bench.run(10_000 * u64::from(number) + 1000, number + 1);
    }
    bench.fail(40_000, 3, Error::restart("out of luck"));
    let message = "gave up after 2 restarts in a row; the last failure: count[1] on worker-1: out of luck";
    bench.expect(&[cancel(3, "count[1] on worker-1: out of luck")]);
    bench.core.on_settled(at_ms(40_001), &mut bench.out);
    bench.expect(&[Effect::Record { end: End::Failed(Error::give_up(message)) }]);
}

#[test]
fn a_completed_checkpoint_starts_the_count_of_restarts_afresh() {
    let mut bench = Bench::running();
    for number in 1..=20 {
        let ms = 10_000 * u64::from(number);
        bench.core.on_completed(attempt(number));
        bench.fail(ms, number, Error::restart("out of luck"));
        bench.core.on_settled(at_ms(ms), &mut bench.out);
        bench.out.clear();
        bench.core.on_alarm(at_ms(ms + 1000), &mut bench.out);
        bench.expect(&[Effect::ReadRestore { attempt: attempt(number + 1) }]);
        bench.run(ms + 1000, number + 1);
    }
}

#[test]
fn an_error_that_no_restart_can_cure_ends_the_job() {
    for error in [Error::give_up("no input"), Error::corrupt("bad blob")] {
        let mut bench = Bench::running();
        bench.fail(100, 1, error.clone());
        let told = error.while_doing("count[1] on worker-1");
        bench.expect(&[cancel(1, &told.message)]);
        bench.core.on_settled(at_ms(100), &mut bench.out);
        bench.expect(&[Effect::Record { end: End::Failed(told) }]);
        bench.core.on_alarm(at_ms(100_000), &mut bench.out);
        bench.expect(&[]);
    }
}

#[test]
fn a_fenced_coordinator_stops_and_ends_nothing() {
    let mut bench = Bench::running();
    let error = Error::fenced("somebody newer");
    bench.fail(100, 1, error.clone());
    bench.expect(&[Effect::Stop { error: error.while_doing("count[1] on worker-1") }]);
}

#[test]
fn a_job_is_cancelled_once_what_was_completing_is_decided() {
    let mut bench = Bench::running();
    bench.core.on_cancel(&mut bench.out);
    bench.core.on_cancel(&mut bench.out);
    bench.expect(&[cancel(1, "the job is cancelled")]);
    bench.fail(100, 1, Error::restart("late news"));
    bench.expect(&[]);
    bench.core.on_settled(at_ms(200), &mut bench.out);
    bench.expect(&[Effect::Record { end: End::Cancelled }]);
    bench.core.on_alarm(at_ms(100_000), &mut bench.out);
    bench.expect(&[]);
}

#[test]
fn a_job_that_waits_for_workers_is_cancelled_at_once() {
    let mut bench = Bench::new();
    bench.core.on_cancel(&mut bench.out);
    bench.expect(&[Effect::Record { end: End::Cancelled }]);
    bench.register(0, 0, 1);
    bench.register(0, 1, 2);
    bench.expect(&[]);
}

#[test]
fn a_delay_with_jitter_is_drawn_from_outside_and_counts_from_the_failure() {
    let strategy = RestartStrategy::ExponentialDelay {
        initial: Duration::from_secs(10),
        max: Duration::from_secs(60),
        multiplier_percent: 200,
        jitter_percent: 10,
        reset_after: Duration::from_secs(3600),
        attempts: None,
    };
    let core = Failover::new(Generation(1), 2, strategy, vec![SOURCE, COUNT_0, COUNT_1]);
    let mut bench = Bench { core, out: Vec::new() };
    bench.register(0, 0, 1);
    bench.register(0, 1, 2);
    bench.run(0, 1);
    bench.fail(100, 1, Error::restart("out of luck"));
    bench.expect(&[draw(1), cancel(1, "count[1] on worker-1: out of luck")]);
    bench.core.on_drawn(0);
    bench.core.on_settled(at_ms(200), &mut bench.out);
    assert_eq!(bench.core.deadline(), Some(at_ms(9100)));
}

#[test]
fn the_loss_of_a_worker_that_hosts_subtasks_fails_the_attempt_and_its_return_starts_the_next() {
    let mut bench = Bench::running();
    assert_eq!(bench.lose(100, 2), Some(WorkerId(1)));
    bench.expect(&[draw(1), cancel(1, "worker-1 is lost: it broke")]);
    bench.core.on_settled(at_ms(100), &mut bench.out);
    bench.core.on_alarm(at_ms(5000), &mut bench.out);
    bench.expect(&[]);
    assert_eq!(bench.core.deadline(), None);
    bench.register(6000, 1, 3);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
}

#[test]
fn a_worker_that_registers_anew_replaces_its_older_connection_and_fails_the_attempt() {
    let mut bench = Bench::running();
    assert_eq!(bench.register(100, 1, 3), Registration::Replacing);
    let older = Effect::Disconnect { connection: ConnectionId(2) };
    bench.expect(&[older, draw(1), cancel(1, "worker-1 registered anew")]);
    assert_eq!(bench.lose(101, 2), None, "the older connection is nobody's any more");
    bench.expect(&[]);
}

#[test]
fn a_registration_that_a_later_connection_overtook_changes_nothing() {
    let mut bench = Bench::new();
    bench.register(0, 0, 1);
    assert_eq!(bench.register(0, 1, 3), Registration::New);
    bench.run(0, 1);
    assert_eq!(bench.register(100, 1, 2), Registration::Superseded);
    bench.expect(&[Effect::Disconnect { connection: ConnectionId(2) }]);
    assert_eq!(bench.lose(200, 2), None);
    assert!(bench.core.is_live(attempt(1)));
    assert_eq!(bench.lose(300, 3), Some(WorkerId(1)));
}

#[test]
fn a_spare_worker_may_come_and_go() {
    let mut bench = Bench::running();
    bench.register(100, 7, 3);
    assert_eq!(bench.lose(200, 3), Some(WorkerId(7)));
    bench.expect(&[]);
    assert!(bench.core.is_live(attempt(1)));
}

#[test]
fn a_worker_lost_while_the_checkpoint_is_read_is_waited_for() {
    let mut bench = Bench::new();
    bench.register(0, 0, 1);
    bench.register(0, 1, 2);
    bench.lose(1, 1);
    bench.out.clear();
    bench.core.on_restore_read(at_ms(2), attempt(1), Ok(restore()), &mut bench.out);
    bench.expect(&[]);
    bench.register(3, 0, 3);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
    bench.core.on_restore_read(at_ms(4), attempt(1), Ok(None), &mut bench.out);
    bench.expect(&[]);
}

#[test]
fn a_checkpoint_that_cannot_be_restored_ends_the_job_and_one_that_cannot_be_read_yet_does_not() {
    let mut bench = Bench::new();
    bench.register(0, 0, 1);
    bench.register(0, 1, 2);
    bench.out.clear();
    bench.core.on_restore_read(at_ms(2), attempt(1), Err(Error::restart("storage is away")), &mut bench.out);
    bench.expect(&[draw(1)]);
    bench.core.on_alarm(at_ms(1002), &mut bench.out);
    bench.expect(&[Effect::ReadRestore { attempt: attempt(2) }]);
    let corrupt = Error::corrupt("the manifest is gone");
    bench.core.on_restore_read(at_ms(1003), attempt(2), Err(corrupt.clone()), &mut bench.out);
    bench.expect(&[Effect::Record { end: End::Failed(corrupt) }]);
}

#[test]
fn a_program_that_does_not_fit_the_checkpoint_stops_and_ends_no_job() {
    let mut bench = Bench::new();
    bench.register(0, 0, 1);
    bench.register(0, 1, 2);
    bench.out.clear();
    let error = Error::give_up("cannot restore chk-7: it holds no operator \"sum\", which the job has");
    bench.core.on_restore_read(at_ms(2), attempt(1), Err(error.clone()), &mut bench.out);
    bench.expect(&[Effect::Stop { error }]);
}

#[test]
fn subtasks_finish_one_by_one_and_the_job_is_recorded_once_all_have() {
    let mut bench = Bench::running();
    bench.core.on_finished(attempt(1), SOURCE, &mut bench.out);
    bench.core.on_completed(attempt(1));
    for subtask in [COUNT_0, SOURCE] {
        bench.core.on_finished(attempt(1), subtask, &mut bench.out);
    }
    bench.expect(&[]);
    bench.core.on_finished(attempt(1), COUNT_1, &mut bench.out);
    bench.expect(&[Effect::Record { end: End::Finished }]);
    bench.lose(500, 1);
    bench.expect(&[]);
    bench.core.on_recorded();
}

#[test]
fn a_worker_lost_after_its_subtasks_have_finished_is_not_needed_any_more() {
    let mut bench = Bench::running();
    bench.core.on_finished(attempt(1), COUNT_1, &mut bench.out);
    bench.lose(100, 2);
    bench.expect(&[]);
    bench.lose(200, 1);
    bench.expect(&[draw(1), cancel(1, "worker-0 is lost: it broke")]);
}
