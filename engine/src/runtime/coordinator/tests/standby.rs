//! Coordinators that watch each other.

use super::*;
use crate::messages::ToWorker::Standby;

/// Long enough for a standby to see several signs.
const LEASES: u64 = 30_000;

fn led(room: &Room) -> Vec<u64> {
    let generations = room.events().into_iter().filter_map(|event| match event {
        Event::LeadershipTaken { generation, .. } => Some(generation.0),
        _ => None,
    });
    generations.collect()
}

#[test]
fn a_standby_leaves_a_living_leader_alone_and_takes_over_from_a_dead_one() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let _second = Coordinator::start_as(&room, 2, Rivalry::Await);
        let checkpoint = crew.checkpoint().await;
        let waiting = crew.triggered().await;
        let expired = |room: &Room| room.events().iter().any(|e| matches!(e, Event::LeaseExpired { .. }));
        assert!(!expired(&room));
        room.crash(1);
        drop(crew);
        pause(&room, LEASES).await;
        position(&room, |e| matches!(e, Event::LeaseExpired { generation: Some(Generation(1)), .. }));
        let mut crew = Crew::join(&room, 2).await;
        let deployment = crew.run().await;
        assert_eq!(deployment.attempt, attempt(2, 1));
        assert_eq!(deployment.restore.map(|restore| restore.checkpoint), Some(checkpoint));
        assert!(crew.checkpoint().await > waiting);
    });
}

#[test]
fn whoever_connects_to_a_standby_is_told_so_and_turned_away() {
    play(async |room| {
        let _first = Coordinator::start(&room, 1);
        Crew::running(&room, 1).await;
        let _second = Coordinator::start_as(&room, 2, Rivalry::Await);
        let mut lost = Worker::connect(&room, 2, 0, job().graph.fingerprint()).await;
        assert_eq!(lost.hear().await, Standby);
        assert_eq!(lost.try_hear().await, None);
    });
}

#[test]
fn a_deposed_coordinator_becomes_a_standby_and_leads_again_when_its_successor_dies() {
    play(async |room| {
        let _first = Coordinator::start_as(&room, 1, Rivalry::Standby);
        let mut crew = Crew::join_when_led(&room, 1).await;
        crew.run().await;
        let _second = Coordinator::start(&room, 2);
        let second_crew = Crew::running(&room, 2).await;
        drop(crew);
        pause(&room, LEASES).await;
        position(&room, |e| *e == Event::Deposed { generation: Generation(1) });
        assert_eq!(led(&room), [1, 2], "a leader that shows signs of life is left alone");
        room.crash(2);
        drop(second_crew);
        let mut crew = Crew::join_when_led(&room, 1).await;
        assert_eq!(crew.run().await.attempt, attempt(3, 1));
    });
}

#[test]
fn a_standby_ends_with_the_job_without_waiting_for_the_lease() {
    play(async |room| {
        let mut first = Coordinator::start(&room, 1);
        let mut crew = Crew::running(&room, 1).await;
        let mut second = Coordinator::start_as(&room, 2, Rivalry::Standby);
        let checkpoint = crew.finish().await;
        drop(crew);
        let before = room.env(TEST).clock.now();
        assert_eq!(first.end().await, Ok(JobEnd::Finished { checkpoint }));
        assert_eq!(second.end().await, Ok(JobEnd::AlreadyFinished { checkpoint }));
        // It stays for workers that still look for a coordinator.
        let farewell = job().config.heartbeat_timeout * 2;
        assert!(room.env(TEST).clock.now().since(before) < LEASE / 2 + farewell);
        assert_eq!(led(&room), [1]);
    });
}

#[test]
fn where_nobody_leads_a_standby_does_soon() {
    play(async |room| {
        let _first = Coordinator::start_as(&room, 1, Rivalry::Standby);
        let mut crew = Crew::join_when_led(&room, 1).await;
        crew.run().await;
        position(&room, |e| matches!(e, Event::LeaseExpired { generation: None, .. }));
    });
}

#[test]
fn of_two_that_begin_together_one_leads_and_the_other_leaves_it_alone() {
    play(async |room| {
        let _first = Coordinator::start_as(&room, 1, Rivalry::Standby);
        let _second = Coordinator::start_as(&room, 2, Rivalry::Standby);
        pause(&room, LEASES).await;
        assert_eq!(led(&room), [1]);
    });
}

impl Crew {
    /// Joins as real workers would: again and again until the coordinator leads.
    async fn join_when_led(room: &Room, coordinator: u32) -> Self {
        loop {
            let mut worker = Worker::connect(room, coordinator, 0, job().graph.fingerprint()).await;
            match worker.try_hear().await {
                Some(ToWorker::Welcome { generation }) => {
                    worker.see_output_of(generation).await;
                    return Self { first: worker, second: Worker::join(room, coordinator, 1).await };
                }
                Some(Standby) | None => pause(room, 100).await,
                Some(other) => panic!("{other:?} instead of a welcome"),
            }
        }
    }
}
