//! What a worker does, as lists of effects: its sessions, the fence of attempts, and the order in which both end.

mod worker;

use super::*;
use crate::cores::early_links::LinkId;
use crate::cores::links::Violation;
use crate::ids::{Attempt, CheckpointId};
use worker::{OTHER, SINKS, SOURCES, Worker, attempt, deployment, finished, trigger};

/// What a session leaves when it ends while an attempt runs.
const LOST: [&str; 4] =
    ["announce CoordinatorLost", "close the session", "cancel the attempt", "announce AttemptCancelled"];

#[test]
fn a_worker_registers_and_says_what_it_sees_once_it_is_welcome() {
    let mut worker = Worker::new();
    assert_eq!(worker.next(), ["dial first"]);
    assert_eq!(worker.connected(), ["open session 1", "send Register"]);
    assert_eq!(worker.next(), ["wait until 1s"]);
    let told = worker.message(ToWorker::Welcome { generation: Generation(1) });
    assert_eq!(told, ["look for g1", "announce that it waits for a deployment by generation g1"]);
    assert_eq!(worker.seen(Ok(Sight { token: Some(7), log: None })), ["send Sees"]);
}

#[test]
fn coordinators_are_dialled_in_turn_and_each_cause_is_announced_once() {
    let mut worker = Worker::new();
    let told = worker.unreachable("first refused");
    assert_eq!(told, ["announce that it waits for a coordinator that leads: first refused"]);
    assert_eq!(worker.next(), ["pause for 100ms"]);
    worker.core.on_paused();
    assert_eq!(worker.next(), ["dial second"]);
    worker.connected();
    let expected =
        ["announce that it waits for a coordinator that leads: first refused; second stands by", "close the session"];
    assert_eq!(worker.message(ToWorker::Standby), expected);
    worker.core.on_paused();
    assert_eq!(worker.next(), ["dial first"]);
    assert_eq!(worker.unreachable("first refused"), [""; 0], "that was announced");
    assert_eq!(worker.dial_again(), ["open session 2", "send Register"]);
    worker.message(ToWorker::Welcome { generation: Generation(1) });
    worker.disconnected(Error::restart("reset"));
    worker.core.on_paused();
    let told = worker.unreachable("first refused");
    assert_eq!(told, ["announce that it waits for a coordinator that leads: first refused"], "a leader was between");
}

#[test]
fn a_beat_is_sent_each_interval_and_a_silent_coordinator_ends_the_attempt() {
    let mut worker = Worker::running();
    assert_eq!(worker.alarm(1), ["send Heartbeat"]);
    assert_eq!(worker.next(), ["wait until 2s"]);
    worker.now = Duration::from_millis(1500);
    assert_eq!(worker.message(ToWorker::Heartbeat), [""; 0]);
    assert_eq!(worker.next(), ["wait until 2s"], "what is heard moves no beat");
    assert_eq!(worker.alarm(2), ["send Heartbeat"]);
    assert_eq!(worker.alarm(4), ["send Heartbeat"], "heard 2.5 s ago");
    assert_eq!(worker.alarm(5), LOST[1..], "heard 3.5 s ago");
    assert_eq!(worker.next(), ["pause for 100ms"]);
    worker.core.on_paused();
    assert_eq!(worker.next(), ["dial second"]);
}

#[test]
fn inputs_of_a_former_session_are_ignored() {
    let mut worker = Worker::running();
    assert_eq!(worker.disconnected(Error::restart("reset")), LOST);
    worker.dial_again();
    worker.now = Duration::from_secs(2);
    let late = |worker: &mut Worker, message| worker.step(|core, now, out| core.on_message(now, 1, message, out));
    assert_eq!(late(&mut worker, ToWorker::Welcome { generation: Generation(9) }), [""; 0]);
    assert_eq!(late(&mut worker, ToWorker::JobDone), [""; 0]);
    assert_eq!(worker.step(|core, _, out| core.on_disconnected(1, Error::give_up("another build"), out)), [""; 0]);
    assert_eq!(worker.step(|core, _, out| core.on_seen(1, Err(Error::corrupt("torn")), out)), [""; 0]);
    assert_eq!(worker.alarm(4), LOST[1..2], "a late frame of another session is no sign of life of this one");
}

#[test]
fn a_newer_attempt_starts_once_the_older_one_is_cancelled_and_an_older_one_never() {
    let mut worker = Worker::welcome();
    assert_eq!(worker.deploy(attempt(1, 2)), ["start a1.2"]);
    assert_eq!(worker.deploy(attempt(1, 1)), [""; 0], "it was overtaken");
    assert_eq!(worker.deploy(attempt(1, 2)), [""; 0], "it runs");
    let expected = ["cancel the attempt", "announce AttemptCancelled", "start a1.3"];
    assert_eq!(worker.deploy(attempt(1, 3)), expected);
}

#[test]
fn a_cancelled_attempt_is_not_started_again() {
    let mut worker = Worker::running();
    let cancelled = worker.message(ToWorker::Cancel { attempt: attempt(1, 1) });
    assert_eq!(cancelled, ["cancel the attempt", "announce AttemptCancelled"]);
    assert_eq!(worker.message(ToWorker::Cancel { attempt: attempt(1, 1) }), [""; 0], "nothing runs");
    assert_eq!(worker.deploy(attempt(1, 1)), [""; 0]);
}

#[test]
fn a_cancellation_ends_attempts_up_to_its_own() {
    for (upto, ends) in [(1, false), (2, true), (3, true)] {
        let mut worker = Worker::welcome();
        worker.deploy(attempt(1, 2));
        let told = worker.message(ToWorker::Cancel { attempt: attempt(1, upto) });
        assert_eq!(!told.is_empty(), ends, "up to {upto}: {told:?}");
    }
}

#[test]
fn an_attempt_ends_with_its_session_and_the_next_leader_deploys_a_newer_one() {
    let mut worker = Worker::running();
    assert_eq!(worker.disconnected(Error::restart("reset")), LOST);
    assert_eq!(worker.dial_again(), ["open session 2", "send Register"]);
    worker.message(ToWorker::Welcome { generation: Generation(2) });
    assert_eq!(worker.deploy(attempt(2, 1)), ["start a2.1"]);
}

#[test]
fn a_deposed_leader_cannot_deploy_in_the_session_of_its_successor() {
    let mut worker = Worker::registered();
    worker.message(ToWorker::Welcome { generation: Generation(2) });
    let expected = [
        "announce CommandRejected: it deployed an attempt of g1, which has not welcomed this worker",
        "announce CoordinatorLost",
        "close the session",
    ];
    assert_eq!(worker.deploy(attempt(1, 9)), expected);
}

#[test]
fn a_trigger_enters_before_any_subtask_starts_the_checkpoint() {
    let mut worker = Worker::running();
    let told = worker.message(trigger(attempt(1, 1), 1, &SOURCES));
    assert_eq!(told, ["compare the barrier of chk-1", "trigger chk-1 at op-0[0]", "trigger chk-1 at op-0[1]"]);
}

#[test]
fn a_trigger_for_a_subtask_that_has_finished_is_declined_behind_what_was_reported() {
    let mut worker = Worker::running();
    assert_eq!(worker.report(finished(attempt(1, 1), SOURCES[0])), ["send Finished"]);
    let expected =
        ["compare the barrier of chk-1", "announce DeclineSent", "report Decline", "trigger chk-1 at op-0[1]"];
    assert_eq!(worker.message(trigger(attempt(1, 1), 1, &SOURCES)), expected);
    let told = worker.message(ToWorker::Aborted { attempt: attempt(1, 1), checkpoint: CheckpointId(1) });
    assert_eq!(told, ["abort chk-1 at op-0[1], op-2[0]"], "not at the one that has finished");
    let told = worker.message(ToWorker::Completed { attempt: attempt(1, 1), checkpoint: CheckpointId(2) });
    assert_eq!(told, ["complete chk-2 at op-0[1], op-2[0]"]);
    for subtask in [SOURCES[1], SINKS[0]] {
        worker.report(finished(attempt(1, 1), subtask));
    }
    let told = worker.message(ToWorker::Completed { attempt: attempt(1, 1), checkpoint: CheckpointId(3) });
    assert_eq!(told, [""; 0], "all have finished");
}

#[test]
fn a_trigger_whose_barrier_is_not_the_one_of_the_links_ends_the_session() {
    let mut worker = Worker::running();
    worker.compared = Err(Violation::OtherBarrier(CheckpointId(1)));
    let rejected = "announce CommandRejected: its trigger brought another barrier of chk-1 than came before";
    let expected = [&["compare the barrier of chk-1", rejected][..], &LOST].concat();
    assert_eq!(worker.message(trigger(attempt(1, 1), 1, &SOURCES)), expected, "no subtask is triggered");
}

#[test]
fn what_comes_for_an_attempt_that_is_over_reaches_no_subtask() {
    let mut worker = Worker::running();
    worker.deploy(attempt(1, 2));
    for (which, checkpoint) in [(1, 1), (1, 2)] {
        let (attempt, checkpoint) = (attempt(1, which), CheckpointId(checkpoint));
        assert_eq!(worker.message(trigger(attempt, checkpoint.0, &SOURCES)), [""; 0]);
        assert_eq!(worker.message(ToWorker::Completed { attempt, checkpoint }), [""; 0]);
        assert_eq!(worker.message(ToWorker::Aborted { attempt, checkpoint }), [""; 0]);
    }
    worker.message(ToWorker::Cancel { attempt: attempt(1, 2) });
    assert_eq!(worker.message(trigger(attempt(1, 2), 1, &SOURCES)), [""; 0], "it was cancelled");
}

#[test]
fn the_end_of_a_subtask_of_an_older_attempt_is_passed_on_and_changes_nothing_here() {
    let mut worker = Worker::running();
    worker.deploy(attempt(1, 2));
    assert_eq!(worker.report(finished(attempt(1, 1), SOURCES[0])), ["send Finished"], "the coordinator judges it");
    let told = worker.message(trigger(attempt(1, 2), 1, &SOURCES[..1]));
    assert_eq!(told, ["compare the barrier of chk-1", "trigger chk-1 at op-0[0]"]);
}

#[test]
fn a_report_about_another_leadership_is_withheld() {
    let mut worker = Worker::running();
    worker.disconnected(Error::restart("reset"));
    worker.dial_again();
    assert_eq!(worker.report(finished(attempt(1, 1), SOURCES[0])), [""; 0], "no leadership has welcomed the worker");
    worker.message(ToWorker::Welcome { generation: Generation(2) });
    assert_eq!(worker.report(finished(attempt(1, 1), SOURCES[1])), [""; 0]);
}

#[test]
fn a_broken_link_is_reported_behind_what_the_subtasks_have_reported() {
    let mut worker = Worker::running();
    assert_eq!(worker.link_broken(attempt(1, 1)), ["announce LinkFailed", "report Failed"]);
    let failed = ToCoordinator::Failed { attempt: attempt(1, 1), subtask: None, error: Error::restart("reset") };
    assert_eq!(worker.report(failed), ["send Failed"]);
    worker.deploy(attempt(1, 2));
    assert_eq!(worker.link_broken(attempt(1, 1)), [""; 0], "it ended with its attempt");
}

#[test]
fn an_early_link_is_held_and_called_once_its_attempt_runs() {
    let mut worker = Worker::welcome();
    assert_eq!(worker.link(attempt(1, 1)), ["hold link 1 for a1.1, 6s"]);
    assert_eq!(worker.deploy(attempt(1, 1)), ["start a1.1", "call link 1"]);
    assert_eq!(worker.link_called(1, attempt(1, 1)), [format!("attach link 1 from {OTHER}")]);
}

#[test]
fn a_called_link_whose_attempt_is_over_again_is_hung_up_on() {
    let mut worker = Worker::welcome();
    worker.link(attempt(1, 1));
    worker.deploy(attempt(1, 1));
    worker.deploy(attempt(1, 2));
    assert_eq!(worker.link_called(1, attempt(1, 1)), ["refuse link 1"], "another attempt runs");
    worker.message(ToWorker::Cancel { attempt: attempt(1, 2) });
    assert_eq!(worker.link(attempt(1, 2)), ["refuse link 2"], "none runs");
}

#[test]
fn an_attempt_reads_one_link_of_each_producing_worker() {
    let mut worker = Worker::running();
    assert_eq!(worker.link(attempt(1, 1)), [format!("attach link 1 from {OTHER}")]);
    assert_eq!(worker.link(attempt(1, 1)), ["refuse link 2"]);
}

#[test]
fn a_newer_link_takes_the_place_of_the_one_that_is_held() {
    let mut worker = Worker::welcome();
    worker.link(attempt(1, 1));
    assert_eq!(worker.link(attempt(1, 2)), ["release link 1", "hold link 2 for a1.2, 6s"]);
    worker.core.on_link_gone(LinkId(2));
    assert_eq!(worker.deploy(attempt(1, 2)), ["start a1.2"], "its peer has hung up");
}

#[test]
fn links_of_another_leadership_are_released_by_a_welcome() {
    let mut worker = Worker::welcome();
    worker.link(attempt(1, 1));
    worker.disconnected(Error::restart("reset"));
    worker.dial_again();
    let told = worker.message(ToWorker::Welcome { generation: Generation(2) });
    assert_eq!(told[..2], ["look for g2", "release link 1"]);
}

#[test]
fn a_look_that_fails_for_a_while_ends_the_session_and_one_that_fails_for_good_ends_the_worker() {
    let mut worker = Worker::welcome();
    assert_eq!(worker.seen(Err(Error::restart("no answer"))), LOST[..2]);
    assert_eq!(worker.next(), ["pause for 100ms"]);
    let mut worker = Worker::welcome();
    assert_eq!(worker.seen(Err(Error::corrupt("a torn mark"))), LOST[1..2]);
    assert_eq!(worker.next(), ["end: a torn mark"]);
}

#[test]
fn a_worker_that_does_not_fit_ends_and_so_does_what_runs() {
    let mut worker = Worker::running();
    let told = worker.message(ToWorker::Refused { reason: "another graph".into() });
    assert_eq!(told, LOST[1..]);
    assert_eq!(worker.next(), ["end: another graph"]);
    let mut worker = Worker::running();
    assert_eq!(worker.disconnected(Error::give_up("another build")), LOST[1..]);
    assert_eq!(worker.next(), ["end: another build"]);
}

#[test]
fn a_worker_whose_place_is_taken_says_so_and_stays() {
    let mut worker = Worker::registered();
    let expected = ["announce that it waits for another process that is worker-1 already", "announce WorkerWaits"];
    assert_eq!(worker.message(ToWorker::Occupied), expected);
    assert_eq!(worker.next(), ["wait until 1s"]);
}

#[test]
fn at_the_end_of_the_job_a_worker_hangs_up_once_the_outcome_of_its_changes_is_known() {
    let mut worker = Worker::running();
    worker.now = Duration::from_secs(1);
    assert_eq!(worker.message(ToWorker::JobDone), LOST[2..]);
    assert_eq!(worker.next(), ["drain until 2s"]);
    assert_eq!(worker.alarm(2), ["send Heartbeat"], "the coordinator waits for it");
    assert_eq!(worker.next(), ["drain until 3s"]);
    assert_eq!(worker.alarm(3), ["send Heartbeat"]);
    assert_eq!(worker.next_if(true), ["close the session", "end"]);
}

#[test]
fn storage_that_answers_nothing_holds_up_the_end_for_its_timeout_only() {
    let mut worker = Worker::welcome();
    assert_eq!(worker.message(ToWorker::JobDone), [""; 0]);
    for second in 1..=5 {
        assert_eq!(worker.next(), [format!("drain until {second}s")]);
        assert_eq!(worker.alarm(second), ["send Heartbeat"]);
    }
    assert_eq!(worker.next(), ["close the session", "end"]);
}

#[test]
fn a_leader_that_welcomes_twice_is_rejected() {
    let mut worker = Worker::running();
    let rejected = "announce CommandRejected: it welcomed this worker twice";
    let told = worker.message(ToWorker::Welcome { generation: Generation(1) });
    assert_eq!(told, [&[rejected][..], &LOST].concat());
}

/// Whatever comes in whichever order: at most one attempt runs, attempts start in order, and nothing is sent or passed on
/// outside of a session or an attempt.
mod any_order {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Moment {
        Welcome(u64),
        Deploy(u64, u32),
        Cancel(u64, u32),
        Trigger(u64, u32),
        Finish(u64, u32, bool),
        Link(u64, u32),
        Break(u64, u32),
        Lose,
        Alarm,
    }

    fn moments() -> impl Strategy<Value = Vec<Moment>> {
        let which = || (1..4_u64, 1..5_u32);
        let moment = prop_oneof![
            2 => (1..4_u64).prop_map(Moment::Welcome),
            4 => which().prop_map(|(generation, number)| Moment::Deploy(generation, number)),
            1 => which().prop_map(|(generation, number)| Moment::Cancel(generation, number)),
            2 => which().prop_map(|(generation, number)| Moment::Trigger(generation, number)),
            2 => (which(), any::<bool>()).prop_map(|((g, n), first)| Moment::Finish(g, n, first)),
            2 => which().prop_map(|(generation, number)| Moment::Link(generation, number)),
            1 => which().prop_map(|(generation, number)| Moment::Break(generation, number)),
            1 => Just(Moment::Lose),
            1 => Just(Moment::Alarm),
        ];
        prop::collection::vec(moment, 1..60)
    }

    /// What the shell would hold.
    #[derive(Default)]
    struct Shell {
        newest: Option<String>,
        runs: bool,
        is_open: bool,
        finished: Vec<(Attempt, SubtaskId)>,
    }

    impl Shell {
        fn perform(&mut self, line: &str, current: Attempt) {
            let gone = |of: &SubtaskId| self.finished.contains(&(current, *of)) && line.ends_with(&format!("at {of}"));
            match line.split(' ').next().unwrap_or_default() {
                "open" => assert!(!std::mem::replace(&mut self.is_open, true), "one session at a time"),
                "close" => assert!(std::mem::replace(&mut self.is_open, false), "a session ends once"),
                "send" => assert!(self.is_open, "{line} without a session"),
                "start" => {
                    assert!(!std::mem::replace(&mut self.runs, true), "{line} beside another attempt");
                    assert!(self.newest.replace(line.to_owned()).is_none_or(|older| older.as_str() < line), "{line}");
                }
                "cancel" => assert!(std::mem::replace(&mut self.runs, false), "an attempt is cancelled once"),
                "trigger" => assert!(self.runs && !SOURCES.iter().any(gone), "{line} at a subtask that is gone"),
                "attach" | "enter" => assert!(self.runs, "{line} without an attempt"),
                _ => {}
            }
        }
    }

    proptest! {
        #[test]
        fn one_attempt_at_a_time_and_each_in_a_session(moments in moments()) {
            let (mut worker, mut checkpoint) = (Worker::registered(), 0);
            let mut shell = Shell { is_open: true, ..Shell::default() };
            for moment in moments {
                let current = worker.core.running.as_ref().map(|running| running.attempt).unwrap_or_default();
                checkpoint += 1;
                let mut lines = match moment {
                    Moment::Welcome(generation) => {
                        worker.message(ToWorker::Welcome { generation: Generation(generation) })
                    }
                    Moment::Deploy(generation, number) => worker.deploy(attempt(generation, number)),
                    Moment::Cancel(generation, number) => {
                        worker.message(ToWorker::Cancel { attempt: attempt(generation, number) })
                    }
                    Moment::Trigger(generation, number) => {
                        worker.message(trigger(attempt(generation, number), checkpoint, &SOURCES))
                    }
                    Moment::Finish(generation, number, first) => {
                        let end = (attempt(generation, number), SOURCES[usize::from(first)]);
                        if end.0 > worker.core.early.newest() || shell.finished.contains(&end) {
                            continue;
                        }
                        shell.finished.push(end);
                        worker.report(finished(end.0, end.1))
                    }
                    Moment::Link(generation, number) => worker.link(attempt(generation, number)),
                    Moment::Break(generation, number) => {
                        let of = attempt(generation, number);
                        if of > worker.core.early.newest() {
                            continue;
                        }
                        worker.link_broken(of)
                    }
                    Moment::Lose => worker.disconnected(Error::restart("reset")),
                    Moment::Alarm => {
                        let seconds = worker.now.as_secs() + 1;
                        worker.alarm(seconds)
                    }
                };
                if worker.core.stage == Stage::Pausing {
                    lines.extend(worker.dial_again());
                }
                lines.iter().for_each(|line| shell.perform(line, current));
            }
        }
    }
}

#[test]
fn a_deployment_is_wired_for_this_worker() {
    let mut worker = Worker::welcome();
    let (mut out, session) = (Vec::new(), worker.core.session);
    worker.core.on_message(Time(0), session, deployment(attempt(1, 1)), &mut out);
    let [Effect::StartAttempt(wiring)] = &out[..] else { panic!("{out:?}") };
    let tasks: Vec<SubtaskId> = wiring.subtasks.iter().map(|task| task.subtask).collect();
    assert_eq!(tasks, [SOURCES[0], SOURCES[1], SINKS[0]]);
    assert_eq!(wiring.links, [(OTHER, "there:1".to_owned())]);
}
