//! Members only: what changes a job comes from a process that knows its secret.
//!
//! Source: Flink, *SSL Setup* ("internal connectivity": the processes of a job authenticate each other before they talk).
//!
//! 1. A coordinator receives no more requests of a kind than clients of the job have sent by then. A stranger sends none as an
//!    announced wish, so a request that was its own is one too many.
//! 2. A coordinator registers no worker of which no process has ever come up.
//! 3. A process that proves to be a worker, to a coordinator or on a link to another worker, is that worker. In a history a peer
//!    is known by the name of its process.
//! 4. A worker is never taken for one that looks for another worker: the address that it dials is that of the worker it
//!    means.
//!
//! Does not judge who reads along, nor what a member may do once it is trusted.

use crate::case::{Case, Property, Violation};
use crate::history::{Process, What};
use cofferdam_engine::event::Event;
use cofferdam_engine::ids::WorkerId;
use cofferdam_engine::messages::client::Wish;
use std::collections::BTreeSet;

const NAME: &str = "members-only";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "only processes that know the secret of a job change what it does",
    source: "Flink: SSL Setup (internal connectivity)",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    let mut seen = Seen::default();
    case.ledger().protocol.iter().find_map(|&at| {
        let entry = &case.history.entries[at];
        if let Process::Worker(worker) = entry.by.process {
            seen.workers.insert(worker.0);
        }
        let What::Claim(event) = &entry.what else { return None };
        let message = seen.on_claim(event)?;
        Some(Violation::new(NAME, at, entry.by.process, message))
    })
}

/// What the members of the job have done so far.
#[derive(Default)]
struct Seen {
    workers: BTreeSet<u16>,
    checkpoints: Wishes,
    cancellations: Wishes,
}

#[derive(Default)]
struct Wishes {
    sent: u64,
    received: u64,
}

impl Seen {
    fn on_claim(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::WishSent { wish } => {
                self.wishes(*wish)?.sent += 1;
                None
            }
            Event::RequestReceived { request, wish } => {
                let wishes = self.wishes(*wish)?;
                wishes.received += 1;
                let (received, sent) = (wishes.received, wishes.sent);
                (received > sent).then(|| {
                    format!("receives request {request} for {wish}, one more than the {sent} that clients sent")
                })
            }
            Event::PeerTrusted { peer, worker: Some(worker) } => {
                (*peer != worker.to_string()).then(|| format!("takes {peer} for {worker}"))
            }
            Event::PeerDistrusted { peer, cause } => {
                let member = self.workers.iter().any(|number| *peer == WorkerId(*number).to_string());
                (member && cause.ends_with("which has no business here"))
                    .then(|| format!("is dialled by {peer}, which looks for another: {cause}"))
            }
            Event::WorkerRegistered { worker } => {
                let known = self.workers.contains(&worker.0);
                (!known).then(|| format!("registers {worker}, and there is no such process"))
            }
            _ => None,
        }
    }

    fn wishes(&mut self, wish: Wish) -> Option<&mut Wishes> {
        match wish {
            Wish::Checkpoint => Some(&mut self.checkpoints),
            Wish::Cancel => Some(&mut self.cancellations),
            Wish::Status => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::history::{Fact, Process};
    use crate::story::Story;
    use cofferdam_engine::cores::handshake::Distrust;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::ids::{Attempt, ClientId, WorkerId};
    use cofferdam_engine::messages::client::Wish;
    use cofferdam_engine::messages::handshake::Claim;

    const CLIENT: Process = Process::Client(ClientId(0));

    fn receives(story: &mut Story, wish: Wish) {
        story.claim(Process::COORDINATOR, Event::RequestReceived { request: 5, wish });
    }

    #[test]
    fn wishes_that_clients_have_sent_pass_also_if_they_are_lost() {
        let mut story = Story::begun();
        for wish in [Wish::Cancel, Wish::Checkpoint, Wish::Checkpoint] {
            story.claim(CLIENT, Event::WishSent { wish });
        }
        receives(&mut story, Wish::Checkpoint);
        receives(&mut story, Wish::Cancel);
        assert_eq!(story.judge_by(NAME), None);
    }

    #[test]
    fn a_wish_that_nobody_sent_convicts() {
        let mut story = Story::begun();
        story.claim(CLIENT, Event::WishSent { wish: Wish::Checkpoint });
        receives(&mut story, Wish::Cancel);
        let violation = story.judge_by(NAME).expect("a conviction");
        assert!(violation.message.contains("for the end of the job, one more than the 0"), "{}", violation.message);
    }

    #[test]
    fn a_wish_that_is_received_twice_convicts() {
        let mut story = Story::begun();
        story.claim(CLIENT, Event::WishSent { wish: Wish::Checkpoint });
        receives(&mut story, Wish::Checkpoint);
        receives(&mut story, Wish::Checkpoint);
        assert!(story.judge_by(NAME).is_some());
    }

    #[test]
    fn a_worker_without_a_process_convicts() {
        let mut story = Story::begun();
        let worker = WorkerId(700);
        story.fact(Process::Worker(worker), Fact::Started);
        story.claim(Process::COORDINATOR, Event::WorkerRegistered { worker });
        assert_eq!(story.judge_by(NAME), None);
        story.claim(Process::COORDINATOR, Event::WorkerRegistered { worker: WorkerId(701) });
        let violation = story.judge_by(NAME).expect("a conviction");
        assert_eq!(violation.message, "registers worker-701, and there is no such process");
    }

    #[test]
    fn a_worker_that_looks_for_another_one_convicts_and_a_stranger_does_not() {
        let mut story = Story::begun();
        let distrusted = |peer: &str, from| {
            let claim = Claim::Link { attempt: Attempt::default(), from: WorkerId(from), to: WorkerId(0) };
            Event::PeerDistrusted { peer: peer.to_owned(), cause: Distrust::Misplaced(claim).to_string() }
        };
        story.claim(Process::Worker(WorkerId(1)), distrusted("client-0", 0));
        assert_eq!(story.judge_by(NAME), None);
        story.claim(Process::Worker(WorkerId(1)), distrusted("worker-0", 0));
        let violation = story.judge_by(NAME).expect("a conviction");
        assert!(violation.message.starts_with("is dialled by worker-0, which looks for another"), "{violation}");
    }

    #[test]
    fn a_process_that_is_taken_for_a_worker_convicts() {
        let mut story = Story::begun();
        let trusted = |peer: &str, worker| Event::PeerTrusted { peer: peer.to_owned(), worker };
        story.claim(Process::COORDINATOR, trusted("worker-1", Some(WorkerId(1))));
        story.claim(Process::COORDINATOR, trusted("client-0", None));
        assert_eq!(story.judge_by(NAME), None);
        story.claim(Process::Worker(WorkerId(0)), trusted("client-0", Some(WorkerId(1))));
        assert_eq!(story.judge_by(NAME).expect("a conviction").message, "takes client-0 for worker-1");
    }
}
