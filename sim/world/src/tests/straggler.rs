//! Writes that are held until the job is over.

use super::*;
use cofferdam_engine::ids::CheckpointId;
use futures_util::future::join;

#[test]
fn a_straggling_write_takes_effect_a_while_behind_the_end_of_the_job_and_the_next_as_ever() {
    let writer = process(W0, |env| async move {
        env.sleep(Duration::from_millis(10)).await;
        let end = async {
            env.sleep(Duration::from_millis(1_000)).await;
            assert!(whole::read(&env.storage, "out/1").await.is_err(), "the job is not over");
            env.emit(Event::JobFinished { checkpoint: CheckpointId(1) });
        };
        let held = env.storage.write("out/1", Bytes::new(), WriteMode::Create);
        let (written, ()) = join(held, end).await;
        written.expect("it was late, and nothing else");
        env.storage.write("out/2", Bytes::new(), WriteMode::Create).await.expect("one was to be held");
        Ok(String::new())
    });
    let mut spec = world(1, vec![writer]);
    let what = FaultKind::DelayPastTheEnd { prefix: "out/".to_owned(), count: 1, after_ms: 300 };
    spec.faults = vec![Fault { at: Trigger::Time { ms: 1 }, what }];
    let recording = run(spec);
    assert_eq!(recording.ended, RunEnd::AllEnded, "{:?}", facts(&recording));
    assert_eq!(recording.faults[0].struck, 1);
    let entries = &recording.history.entries;
    let at = |what: &dyn Fn(&What) -> bool| entries.iter().find(|entry| what(&entry.what)).map(|entry| entry.time);
    let over = at(&|what| matches!(what, What::Claim(Event::JobFinished { .. }))).expect("it said so");
    let landed = at(&|what| matches!(what, What::Fact(Fact::Written { path, .. }) if path == "out/1"));
    assert_eq!(landed, Some(over + 300_000_000));
}
