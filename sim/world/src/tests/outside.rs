//! What strikes requests to systems outside.

use super::*;
use cofferdam_engine::door::ExternalError;
use cofferdam_properties::external::Model;

/// Answers with the number of requests before, and shows them.
#[derive(Default)]
struct Counter(u64);

impl Model for Counter {
    fn apply(&mut self, _: u64, _: &[u8]) -> Bytes {
        self.0 += 1;
        Bytes::copy_from_slice(&(self.0 - 1).to_le_bytes())
    }

    fn visible(&self) -> Vec<Bytes> {
        (0..self.0).map(|n| Bytes::from(n.to_string())).collect()
    }
}

/// Asks `asked` times under a fault: what came of each, a number or the error's name.
async fn ask(env: Env, asked: usize) -> Ended {
    let mut answers = Vec::new();
    // Behind the fault, and far enough apart for late effects.
    env.sleep(Duration::from_millis(10)).await;
    for _ in 0..asked {
        answers.push(match env.externals.call("counter", Bytes::new()).await {
            Ok(reply) => u64::from_le_bytes(reply[..].try_into().expect("eight bytes")).to_string(),
            Err(ExternalError::Failed(_)) => "failed".to_owned(),
            Err(ExternalError::Unknown(_)) => "unknown".to_owned(),
            Err(ExternalError::Fenced) => "fenced".to_owned(),
        });
        env.sleep(Duration::from_millis(500)).await;
    }
    Ok(answers.join(" "))
}

fn told(what: FaultKind) -> (String, usize) {
    let mut spec = world(3, vec![process(W0, |env| ask(env, 3))]);
    spec.models = Models::default().with("counter", Counter::default);
    spec.faults = vec![Fault { at: Trigger::Time { ms: 1 }, what }];
    let recording = run(spec);
    let facts = recording.history.entries.iter().filter_map(|entry| match &entry.what {
        What::Fact(fact) => Some(fact),
        What::Claim(_) => None,
    });
    let shown = facts.clone().filter(|fact| matches!(fact, Fact::ShownOutside { .. })).count();
    let ended = facts.clone().find_map(|fact| match fact {
        Fact::Ended(Ok(how)) => Some(how.clone()),
        _ => None,
    });
    (ended.expect("it ends"), shown)
}

fn requests(make: fn(String, Requests, u32) -> FaultKind) -> FaultKind {
    make("external/counter".to_owned(), Requests::All, 1)
}

#[test]
fn a_request_fails_for_certain_is_lost_behind_its_effect_or_comes_late() {
    let fails = requests(|prefix, requests, count| FaultKind::FailStorage { prefix, requests, count });
    assert_eq!(told(fails), ("failed 0 1".to_owned(), 2));
    let lost = requests(|prefix, requests, count| FaultKind::LoseReplies { prefix, requests, count, late_ms: 0 });
    assert_eq!(told(lost), ("unknown 1 2".to_owned(), 3));
    let late = requests(|prefix, requests, count| FaultKind::LoseReplies { prefix, requests, count, late_ms: 700 });
    assert_eq!(told(late), ("unknown 0 2".to_owned(), 3));
}
