//! Links over loopback: what is too large, what is over, and what is silent.

use super::*;
use crate::cores::links::Barriers;
use crate::door::{Network, Site, Trace};
use crate::element::{Batch, Element, RecordCodec};
use crate::event::Event;
use crate::ids::EdgeId;
use crate::messages::encode;
use crate::os::{self, network::TcpNetwork};
use crate::runtime::channel::{ChannelReceiver, ChannelSender, Upstream, channel};
use crate::runtime::mailbox::Mailbox;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};

const SITE: Site = Site { what: "link", lane: 0 };
const CHANNEL: ChannelId = ChannelId { edge: EdgeId(0), from: 0, to: 0 };
/// Long enough for any machine.
const PATIENT: Pace = Pace { beat: Duration::from_secs(20), patience: Duration::from_secs(60) };
/// As much as ten numbers take, and the length in front of them.
const TEN_NUMBERS: usize = 88;

struct Untold;

impl Trace for Untold {
    fn emit(&self, _: Event) {}
}

fn run(body: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(body);
}

fn env() -> Env {
    os::env(os::mount::Mounts::default(), Arc::new(Untold))
}

/// Both ends of a connection.
async fn connection() -> (Connection, Connection) {
    let mut listener = TcpNetwork.listen("127.0.0.1:0".to_owned()).await.expect("a free port");
    let near = TcpNetwork.connect(listener.address()).await.expect("somebody listens");
    (near, listener.accept().await.expect("a connection arrives"))
}

/// A channel that crosses a link: the producer's end, the lane, the far lane and the consumer's end.
struct Crossing {
    producer: ChannelSender,
    outgoing: OutgoingLane,
    incoming: BTreeMap<ChannelId, IncomingLane>,
    taken: Mailbox<ChannelId>,
    consumer: ChannelReceiver,
}

fn crossing(env: &Env, credits: u32) -> Crossing {
    let codec = RecordCodec::of::<u64>();
    let bell = env.spawner.bell(SITE);
    let (producer, drained) = channel(env, SITE, CHANNEL, 100, Upstream::Local(bell));
    let (post, taken) = Mailbox::new(env, SITE);
    let (queue, consumer) = channel(env, SITE, CHANNEL, credits, Upstream::Link(post));
    let outgoing = OutgoingLane::new(drained, codec, "numbers".to_owned(), credits);
    Crossing {
        producer,
        outgoing,
        incoming: BTreeMap::from([(CHANNEL, IncomingLane { queue, codec })]),
        taken,
        consumer,
    }
}

fn barriers() -> SharedBarriers {
    Arc::new(Mutex::new(Barriers::new(None)))
}

async fn next(consumer: &mut ChannelReceiver) -> Element {
    poll_fn(|context| consumer.poll_arrived(context)).await;
    consumer.take().1
}

#[test]
fn a_batch_too_large_for_a_frame_arrives_in_parts_in_order_and_a_closed_lane_ends_the_link() {
    run(async {
        let env = env();
        // One credit: each part waits until the one before it was taken.
        let Crossing { producer, outgoing, incoming, taken, mut consumer } = crossing(&env, 1);
        let numbers: Vec<u64> = (0..1000).collect();
        producer.push(Element::Batch(Batch::new(numbers.clone())));
        producer.push(Element::EndOfInput);
        producer.push(Element::Closed);
        let (near, far) = connection().await;
        let out = carry(&env, SITE, near, vec![outgoing], PATIENT, TEN_NUMBERS);
        let read = read_elements(env.clone(), far.receiver, incoming, barriers(), PATIENT);
        let credits = env.spawner.spawn(
            SITE,
            Box::pin({
                let env = env.clone();
                async move {
                    write_credits(env, far.sender, taken, PATIENT).await;
                }
            }),
        );
        let take = async {
            let mut received = Vec::new();
            loop {
                match next(&mut consumer).await {
                    Element::Batch(batch) => {
                        assert!(batch.len() <= 10, "{batch:?} is too large");
                        received.extend(batch.into_records::<u64>());
                    }
                    Element::EndOfInput => assert_eq!(received, numbers),
                    Element::Closed => break,
                    other => panic!("{other:?} was never sent"),
                }
            }
        };
        let incoming = async {
            let read = read.await;
            credits.abort();
            read
        };
        let (out, read, ()) = futures_util::join!(out, incoming, take);
        assert_eq!((out, read), (Ok(()), Ok(())), "nobody needs the link any more");
    });
}

#[test]
fn a_record_too_large_for_a_frame_fails_the_job_by_name() {
    run(async {
        let env = env();
        let Crossing { producer, outgoing, .. } = crossing(&env, 4);
        producer.push(Element::Batch(Batch::new(vec![7_u64])));
        let (near, mut far) = connection().await;
        far.sender.send(encode(&Frame::Ready)).await.expect("the connection stands");
        let error = carry(&env, SITE, near, vec![outgoing], PATIENT, 12).await.expect_err("it does not fit");
        let message = "operator \"numbers\" emitted a record of 16 bytes; one that goes to another worker may have 12";
        assert_eq!(error, Error::give_up(message));
    });
}

#[test]
fn a_connection_that_breaks_before_the_lane_is_closed_is_a_failure() {
    run(async {
        let env = env();
        let Crossing { outgoing, incoming, .. } = crossing(&env, 4);
        let (near, far) = connection().await;
        drop(far);
        assert!(carry(&env, SITE, near, vec![outgoing], PATIENT, TEN_NUMBERS).await.is_err());
        let (near, far) = connection().await;
        drop(near);
        assert!(read_elements(env.clone(), far.receiver, incoming, barriers(), PATIENT).await.is_err());
    });
}

#[test]
fn a_silent_link_is_noticed_and_one_that_beats_is_not() {
    run(async {
        let env = env();
        let pace = Pace { beat: Duration::from_millis(1), patience: Duration::from_millis(100) };
        let (_near, far) = connection().await;
        let error = read_elements(env.clone(), far.receiver, crossing(&env, 4).incoming, barriers(), pace).await;
        assert_eq!(error, Err(Error::restart("silent for 100ms")));
        // A credit writer has nothing to say but that it is there.
        let (near, far) = connection().await;
        let beats = write_credits(env.clone(), far.sender, crossing(&env, 4).taken, pace);
        let mut listening = near.receiver;
        let heard = async {
            let ready = listening.receive().await.expect("the connection stands");
            assert!(matches!(decode(&ready), Ok(Frame::Ready)));
            for _ in 0..3 {
                let frame = listening.receive().await.expect("the connection stands");
                assert!(matches!(decode(&frame), Ok(Frame::KeepAlive)));
            }
        };
        match crate::runtime::mailbox::race(Box::pin(heard), Box::pin(beats)).await {
            crate::runtime::mailbox::Either::First(()) => {}
            crate::runtime::mailbox::Either::Second(error) => panic!("{error}"),
        }
    });
}

#[test]
fn nothing_is_sent_to_a_consumer_that_is_not_ready() {
    run(async {
        let env = env();
        let pace = Pace { beat: Duration::from_millis(1), patience: Duration::from_millis(50) };
        let Crossing { producer, outgoing, .. } = crossing(&env, 4);
        producer.push(Element::Batch(Batch::new(vec![7_u64])));
        let (near, mut far) = connection().await;
        let error = carry(&env, SITE, near, vec![outgoing], pace, TEN_NUMBERS).await;
        assert_eq!(error, Err(Error::restart("silent for 50ms")), "it waits, but not for ever");
        assert!(far.receiver.receive().await.is_err(), "the connection is over, and nothing was on it");
    });
}

#[test]
fn the_frame_around_records_takes_no_more_than_is_left_for_it() {
    let bytes = vec![0; 1000];
    let frame = Frame::Element { channel: CHANNEL, seq: u64::MAX, element: WireElement::Batch(bytes) };
    assert!(encode(&frame).len() - 1000 <= FRAME_BYTES_MAX - RECORDS_BYTES_MAX);
}
