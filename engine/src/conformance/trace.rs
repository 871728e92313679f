//! What a trace promises: every event that was announced is in the record once, and those of one task are in the order in
//! which it announced them.
//!
//! A trace says nothing back, so the body comes in two halves: [`announce`] runs inside, [`check`] reads the record
//! afterwards, each event as its `Debug` text.

use crate::door::{BoxFuture, Env};
use crate::event::Event;
use crate::ids::{Attempt, CheckpointId, OperatorId, SubtaskId};
use std::time::Duration;

const TASKS: u16 = 4;
const EVENTS: u64 = 100;

fn event(task: u16, number: u64) -> Event {
    Event::AckSent {
        attempt: Attempt::default(),
        subtask: SubtaskId { operator: OperatorId(0), index: task },
        checkpoint: CheckpointId(number),
        digest: number.wrapping_mul(u64::from(task) + 7),
    }
}

/// Several tasks announce side by side.
pub async fn announce(env: &Env) {
    let announcers = (0..TASKS).map(|task| {
        let env = env.clone();
        Box::pin(async move {
            for number in 0..EVENTS {
                env.emit(event(task, number));
                if number % 10 == 9 {
                    env.sleep(Duration::from_micros(100)).await;
                }
            }
        }) as BoxFuture<'static, ()>
    });
    super::all(env, announcers.collect()).await;
}

/// Whether the record of [`announce`] is what it should be. Other events may lie between.
pub fn check(record: &[String]) {
    for task in 0..TASKS {
        let announced: Vec<String> = (0..EVENTS).map(|number| format!("{:?}", event(task, number))).collect();
        let recorded: Vec<&String> = record.iter().filter(|line| announced.contains(line)).collect();
        let lost = announced.iter().find(|line| !recorded.contains(line));
        assert!(lost.is_none(), "an event was announced and is not in the record: {lost:?}");
        assert_eq!(recorded.len(), announced.len(), "an event is in the record more than once");
        assert!(recorded.iter().zip(&announced).all(|(one, other)| *one == other), "events of one task were reordered");
    }
}
