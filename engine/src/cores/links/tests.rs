//! What may come on a link.

use super::*;
use crate::cores::alignment;
use proptest::prelude::*;
use std::collections::VecDeque;

fn barrier(id: u64) -> Barrier {
    Barrier { checkpoint: CheckpointId(id), alignment: Guarantee::ExactlyOnce, triggered_ms: 7 }
}

fn lane(elements: &[Arrival]) -> Result<Lane, Violation> {
    let mut lane = Lane::default();
    for (number, element) in (0..).zip(elements) {
        lane.on_element(number, *element)?;
    }
    Ok(lane)
}

const BATCH: Arrival = Arrival::Batch { has_credit: true };

#[test]
fn records_barriers_the_end_and_the_close_are_a_channel() {
    let whole = [BATCH, Arrival::Barrier(barrier(1)), BATCH, Arrival::EndOfInput, Arrival::Barrier(barrier(2))];
    assert!(!lane(&whole).expect("it is right").is_closed());
    let closed = [Arrival::EndOfInput, Arrival::Cancel(CheckpointId(1)), Arrival::Closed];
    assert!(lane(&closed).expect("it is right").is_closed());
}

#[test]
fn what_is_out_of_order_on_a_channel_is_rejected() {
    let violation = |elements: &[Arrival]| lane(elements).expect_err("out of order");
    assert_eq!(violation(&[Arrival::Batch { has_credit: false }]), Violation::NoCredit);
    assert_eq!(violation(&[Arrival::EndOfInput, BATCH]), Violation::BehindEnd);
    assert_eq!(violation(&[Arrival::EndOfInput, Arrival::EndOfInput]), Violation::BehindEnd);
    assert_eq!(violation(&[BATCH, Arrival::Closed]), Violation::ClosedBeforeEnd);
    let twice = [Arrival::Barrier(barrier(2)), Arrival::Barrier(barrier(2))];
    assert_eq!(violation(&twice), Violation::Id(CheckpointId(2)));
    assert_eq!(violation(&[Arrival::Cancel(CheckpointId(u64::MAX))]), Violation::Id(CheckpointId(u64::MAX)));
    assert_eq!(Lane::default().on_element(1, BATCH), Err(Violation::Jump { due: 0, came: 1 }));
}

#[test]
fn a_checkpoint_has_one_barrier_on_all_channels() {
    let mut barriers = Barriers::new(Some(CheckpointId(4)));
    assert_eq!(barriers.on_barrier(barrier(5)), Ok(()));
    assert_eq!(barriers.on_barrier(barrier(5)), Ok(()));
    let other = Barrier { triggered_ms: 8, ..barrier(5) };
    assert_eq!(barriers.on_barrier(other), Err(Violation::OtherBarrier(CheckpointId(5))));
    let counted = Barrier { alignment: Guarantee::AtLeastOnce, ..barrier(6) };
    assert_eq!(barriers.on_barrier(counted), Err(Violation::OtherBarrier(CheckpointId(6))));
    assert_eq!(barriers.on_barrier(barrier(4)), Err(Violation::Id(CheckpointId(4))), "it was restored");
}

#[test]
fn barriers_are_forgotten_in_time() {
    let mut barriers = Barriers::new(None);
    assert!((1..=1_000).all(|id| barriers.on_barrier(barrier(id)).is_ok()));
    assert_eq!(barriers.seen.len(), REMEMBERED);
    assert_eq!(barriers.on_barrier(barrier(1)), Ok(()), "late on a slow channel");
}

#[test]
fn no_more_credit_comes_back_than_batches_were_sent() {
    let mut window = Window::new(2);
    window.on_sent();
    window.on_sent();
    assert!(!window.is_open());
    assert_eq!(window.on_credit(2), Ok(()));
    window.on_sent();
    assert_eq!(window.on_credit(u32::MAX), Err(Violation::TooMuchCredit { sent: 1, credit: u32::MAX }));
}

/// What two peers and a coordinator send, right or not.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Element { channel: usize, arrival: Arrival },
    Abort(CheckpointId),
}

fn ids() -> impl Strategy<Value = CheckpointId> {
    prop_oneof![9 => 0..12_u64, 1 => any::<u64>()].prop_map(CheckpointId)
}

fn sent() -> impl Strategy<Value = Sent> {
    let alignment = prop_oneof![4 => Just(Guarantee::ExactlyOnce), 3 => Just(Guarantee::AtLeastOnce)];
    let barrier = (ids(), alignment, prop_oneof![9 => Just(7_u64), 1 => any::<u64>()])
        .prop_map(|(checkpoint, alignment, triggered_ms)| Barrier { checkpoint, alignment, triggered_ms });
    let arrival = prop_oneof![
        2 => any::<bool>().prop_map(|has_credit| Arrival::Batch { has_credit }),
        8 => barrier.prop_map(Arrival::Barrier),
        2 => ids().prop_map(Arrival::Cancel),
        2 => Just(Arrival::EndOfInput),
        2 => Just(Arrival::Closed),
    ];
    prop_oneof![
        8 => (0..2_usize, arrival).prop_map(|(channel, arrival)| Sent::Element { channel, arrival }),
        1 => ids().prop_map(Sent::Abort),
    ]
}

/// Takes what an alignment lets be taken.
fn take_all(queues: &mut [VecDeque<Arrival>; 2], alignment: &mut alignment::Alignment) {
    let mut out = Vec::new();
    while let Some(channel) = (0..2).find(|&channel| !queues[channel].is_empty() && !alignment.is_blocked(channel)) {
        match queues[channel].pop_front().expect("it is not empty") {
            Arrival::Batch { .. } => {}
            Arrival::Barrier(barrier) => alignment.on_barrier(channel, barrier, &mut out),
            Arrival::Cancel(checkpoint) => alignment.on_cancel(channel, checkpoint, &mut out),
            Arrival::EndOfInput => alignment.on_end(channel, &mut out),
            Arrival::Closed => alignment.on_closed(channel, &mut out),
        }
    }
}

proptest! {
    /// Whatever peers send: what is let through breaks nothing that the alignment asserts.
    #[test]
    fn what_links_let_through_reaches_no_assertion(all in proptest::collection::vec(sent(), 0..120)) {
        let (mut lanes, mut barriers) = ([Lane::default(), Lane::default()], Barriers::new(Some(CheckpointId(1))));
        let (mut queues, mut alignment) = (<[VecDeque<Arrival>; 2]>::default(), alignment::Alignment::new(2));
        for sent in all {
            match sent {
                Sent::Element { channel, .. } if lanes[channel].is_closed() => {}
                Sent::Element { channel, arrival } => {
                    let number = lanes[channel].arrived;
                    let judged = lanes[channel].on_element(number, arrival).and_then(|()| match arrival {
                        Arrival::Barrier(barrier) => barriers.on_barrier(barrier),
                        _ => Ok(()),
                    });
                    if judged.is_err() {
                        // The link is over, and with it the attempt.
                        break;
                    }
                    queues[channel].push_back(arrival);
                }
                Sent::Abort(checkpoint) if checkpoint.is_possible() => alignment.on_abort(checkpoint, &mut Vec::new()),
                Sent::Abort(_) => {}
            }
            take_all(&mut queues, &mut alignment);
        }
    }
}
