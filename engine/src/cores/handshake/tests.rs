//! Handshakes: the one that succeeds, and every way in which a stranger tries.

use super::*;
use crate::ids::{Attempt, Generation};
use proptest::prelude::*;

fn secret(byte: u8) -> Secret {
    Secret::new(vec![byte; 32]).expect("long enough")
}

fn nonce(byte: u8) -> Nonce {
    Nonce([byte; 32])
}

const WORKER: Claim = Claim::Worker(WorkerId(3));

fn link(number: u32, from: u16, to: u16) -> Claim {
    let attempt = Attempt { generation: Generation(1), number };
    Claim::Link { attempt, from: WorkerId(from), to: WorkerId(to) }
}

/// What an accepting end of this entrance does about frames.
fn accept(end: &mut Accepting, frame: &[u8]) -> Effect {
    let mut out = Vec::new();
    end.on_frame(frame, &mut out);
    out.remove(0)
}

fn open(secret: Secret, claim: Claim, nonce: Nonce) -> (Dialling, Bytes) {
    let mut out = Vec::new();
    let end = Dialling::open(secret, claim, nonce, &mut out);
    (end, sent(&out[0]))
}

fn sent(effect: &Effect) -> Bytes {
    match effect {
        Effect::Send(frame) => frame.clone(),
        other => panic!("{other:?} instead of a frame"),
    }
}

/// A whole handshake: what each end decides at last.
fn shake(dials: Secret, claim: Claim, accepts: Secret, entrance: Entrance) -> (Effect, Option<Effect>) {
    let (mut dialling, opening) = open(dials, claim, nonce(1));
    let mut accepting = Accepting::new(accepts, entrance, nonce(2));
    let challenge = match accept(&mut accepting, &opening) {
        Effect::Send(challenge) => challenge,
        refused => return (refused, None),
    };
    let mut out = Vec::new();
    dialling.on_frame(&challenge, &mut out);
    match &out[..] {
        [Effect::Send(response), decided] => (accept(&mut accepting, response), Some(decided.clone())),
        [decided] => (decided.clone(), None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn members_trust_each_other_for_what_they_claim() {
    let claims = [
        (WORKER, Entrance::Coordinator),
        (Claim::Client, Entrance::Coordinator),
        (link(1, 0, 7), Entrance::Worker(WorkerId(7))),
    ];
    for (claim, entrance) in claims {
        let trust = Effect::Trust(claim);
        assert_eq!(shake(secret(9), claim, secret(9), entrance), (trust.clone(), Some(trust)), "{claim}");
    }
}

#[test]
fn with_another_secret_the_dialling_end_hangs_up_and_proves_nothing() {
    let decided = shake(secret(8), WORKER, secret(9), Entrance::Coordinator);
    assert_eq!(decided, (Effect::Distrust(Distrust::Unproven), None));
}

#[test]
fn claims_that_have_no_business_at_an_entrance_are_not_even_challenged() {
    let misplaced = [
        (link(1, 0, 1), Entrance::Coordinator),
        (WORKER, Entrance::Worker(WorkerId(3))),
        (Claim::Client, Entrance::Worker(WorkerId(3))),
        (link(1, 0, 4), Entrance::Worker(WorkerId(3))),
        (link(1, 3, 3), Entrance::Worker(WorkerId(3))),
    ];
    for (claim, entrance) in misplaced {
        let decided = shake(secret(9), claim, secret(9), entrance);
        assert_eq!(decided, (Effect::Distrust(Distrust::Misplaced(claim)), None), "{claim}");
    }
}

/// What a stranger has recorded of a member that dialled as `claim`: its opening and its response.
fn recorded(claim: Claim, entrance: Entrance) -> (Bytes, Bytes) {
    let (mut dialling, opening) = open(secret(9), claim, nonce(1));
    let challenge = sent(&accept(&mut Accepting::new(secret(9), entrance, nonce(2)), &opening));
    let mut out = Vec::new();
    dialling.on_frame(&challenge, &mut out);
    (opening, sent(&out[0]))
}

#[test]
fn what_was_recorded_of_a_member_is_worth_nothing_in_another_handshake() {
    let (opening, response) = recorded(WORKER, Entrance::Coordinator);
    let mut again = Accepting::new(secret(9), Entrance::Coordinator, nonce(3));
    sent(&accept(&mut again, &opening));
    assert_eq!(accept(&mut again, &response), Effect::Distrust(Distrust::Unproven));
}

#[test]
fn a_proof_holds_for_its_role_its_id_and_its_attempt_alone() {
    let here = Entrance::Worker(WorkerId(7));
    let others = [
        (WORKER, Claim::Client, Entrance::Coordinator),
        (WORKER, Claim::Worker(WorkerId(4)), Entrance::Coordinator),
        (Claim::Client, WORKER, Entrance::Coordinator),
        (link(1, 0, 7), link(2, 0, 7), here),
        (link(1, 0, 7), link(1, 1, 7), here),
    ];
    for (claim, other, entrance) in others {
        let (_, response) = recorded(claim, entrance);
        // The same nonces even: only the claim differs.
        let (_, opening) = open(secret(9), other, nonce(1));
        let mut accepting = Accepting::new(secret(9), entrance, nonce(2));
        sent(&accept(&mut accepting, &opening));
        assert_eq!(accept(&mut accepting, &response), Effect::Distrust(Distrust::Unproven), "{claim} as {other}");
    }
}

#[test]
fn a_challenge_that_is_sent_back_proves_nothing() {
    // A stranger answers a challenge with the proof that is in it …
    let (_, opening) = open(secret(8), WORKER, nonce(1));
    let mut accepting = Accepting::new(secret(9), Entrance::Coordinator, nonce(2));
    let challenge: Challenge = decode(&sent(&accept(&mut accepting, &opening))).expect("a challenge");
    let response = encode(&Response { proof: challenge.proof });
    assert_eq!(accept(&mut accepting, &response), Effect::Distrust(Distrust::Unproven));
    // … opens with a nonce that it was sent …
    let (_, mirrored) = open(secret(8), WORKER, nonce(2));
    let mut accepting = Accepting::new(secret(9), Entrance::Coordinator, nonce(2));
    assert_eq!(accept(&mut accepting, &mirrored), Effect::Distrust(Distrust::Reflected));
    // … or challenges with the nonce of the opening.
    let (mut dialling, _) = open(secret(9), WORKER, nonce(1));
    let mut out = Vec::new();
    dialling.on_frame(&encode(&Challenge { nonce: nonce(1), proof: challenge.proof }), &mut out);
    assert_eq!(out, [Effect::Distrust(Distrust::Reflected)]);
}

#[test]
fn no_two_handshakes_share_a_text() {
    let directions = [Direction::Dialling, Direction::Accepting];
    let claims = [WORKER, Claim::Client, link(1, 0, 7), link(7, 0, 1)];
    let mut texts = std::collections::BTreeSet::new();
    for direction in directions {
        for claim in claims {
            for (dials, accepts) in [(1, 2), (2, 1), (1, 3)] {
                assert!(texts.insert(text(direction, claim, nonce(dials), nonce(accepts))), "{claim} {direction:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_stranger_sends_it_is_not_trusted(
        first in proptest::collection::vec(any::<u8>(), 0..200),
        second in proptest::collection::vec(any::<u8>(), 0..200),
        opens in any::<bool>(),
        framed in any::<bool>(),
    ) {
        let mut accepting = Accepting::new(secret(9), Entrance::Coordinator, nonce(2));
        let (_, opening) = open(secret(8), WORKER, nonce(1));
        let first = if opens { opening.to_vec() } else { first };
        if let Effect::Send(_) = accept(&mut accepting, &first) {
            let second = if framed { [&b"CFH\x01"[..], &second].concat() } else { second };
            let decided = accept(&mut accepting, &second);
            prop_assert!(matches!(decided, Effect::Distrust(_)), "{decided:?}");
        }
        let (mut dialling, _) = open(secret(9), WORKER, nonce(1));
        let mut out = Vec::new();
        dialling.on_frame(&first, &mut out);
        prop_assert!(matches!(out[..], [Effect::Distrust(_)]), "{out:?}");
    }
}
