//! What a network promises, while nothing fails.

use crate::door::{BoxFuture, Connection, Env, Listener, NetworkError};
use crate::runtime::mailbox::{Either, race};
use bytes::Bytes;
use futures_util::future::join;
use std::time::Duration;

/// Everything a network promises. `address` is one that can be listened on with a free port of the network's choice,
/// such as `"127.0.0.1:0"`.
pub async fn check(env: &Env, address: &str) {
    frames_arrive_whole_and_in_order(env, address).await;
    both_directions_are_independent(env, address).await;
    large_frames_pass(env, address).await;
    a_frame_over_the_bound_is_malformed(env, address).await;
    a_slow_receiver_holds_up_the_sender_and_loses_nothing(env, address).await;
    a_receive_that_was_given_up_has_lost_nothing(env, address).await;
    dropping_a_connection_breaks_the_other_end(env, address).await;
    connections_are_independent(env, address).await;
    a_port_has_one_listener(env, address).await;
    nobody_answers_where_nobody_listens(env, address).await;
}

async fn listen(env: &Env, address: &str) -> Box<dyn Listener> {
    env.network.listen(address.to_owned()).await.expect("the address can be listened on")
}

/// Both ends of a new connection: the one that connected, and the one that accepted.
async fn pair(env: &Env, listener: &mut Box<dyn Listener>) -> (Connection, Connection) {
    let (connected, accepted) = join(env.network.connect(listener.address()), listener.accept()).await;
    (connected.expect("somebody listens"), accepted.expect("a connection arrives"))
}

async fn fresh_pair(env: &Env, address: &str) -> (Connection, Connection) {
    pair(env, &mut listen(env, address).await).await
}

/// A frame that tells its number and whose every byte depends on it.
fn frame(number: usize) -> Bytes {
    let length = [0, 1, 3, 4, 5, 100, 1_500, 70_000][number % 8];
    (0..length).map(|at| (number * 31 + at * 7) as u8).collect()
}

async fn frames_arrive_whole_and_in_order(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    let count = 400;
    let send = async move {
        for number in 0..count {
            near.sender.send(frame(number)).await.expect("the connection stands");
        }
        near
    };
    let receive = async move {
        for number in 0..count {
            let arrived = far.receiver.receive().await.expect("the connection stands");
            assert_eq!(arrived, frame(number), "frame {number} was changed, lost or overtaken");
        }
    };
    both(env, send, receive).await;
}

async fn both_directions_are_independent(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    for number in 0..50 {
        near.sender.send(frame(number)).await.expect("the connection stands");
        far.sender.send(frame(number + 1)).await.expect("the connection stands");
        assert_eq!(far.receiver.receive().await, Ok(frame(number)));
        assert_eq!(near.receiver.receive().await, Ok(frame(number + 1)));
    }
}

async fn large_frames_pass(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    let large = Bytes::from(vec![7; 5 << 20]);
    let sent = large.clone();
    let send = async move {
        near.sender.send(sent).await.expect("the connection stands");
        near
    };
    let receive = async move {
        assert_eq!(far.receiver.receive().await, Ok(large));
    };
    both(env, send, receive).await;
}

async fn a_frame_over_the_bound_is_malformed(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    far.receiver.bound(100);
    for bytes in [100, 101, 5, 70_000] {
        near.sender.send(Bytes::from(vec![7; bytes])).await.expect("the connection stands");
        let received = far.receiver.receive().await;
        if bytes <= 100 {
            assert_eq!(received.map(|frame| frame.len()), Ok(bytes), "a frame within the bound was changed or refused");
            far.receiver.bound(if bytes == 5 { 70_000 } else { 100 });
        } else if bytes == 101 {
            assert!(
                matches!(received, Err(NetworkError::Malformed(..))),
                "101 bytes passed a bound of 100: {received:?}"
            );
            (near, far) = fresh_pair(env, address).await;
            far.receiver.bound(100);
        } else {
            assert_eq!(received.map(|frame| frame.len()), Ok(bytes), "the bound was raised before this frame");
        }
    }
}

async fn a_slow_receiver_holds_up_the_sender_and_loses_nothing(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    let (count, bytes) = (200, 100_000);
    let send = async move {
        for number in 0..count {
            near.sender.send(Bytes::from(vec![number as u8; bytes])).await.expect("the connection stands");
        }
        near
    };
    let clock = env.clone();
    let receive = async move {
        for number in 0..count {
            if number % 50 == 0 {
                clock.sleep(Duration::from_millis(10)).await;
            }
            let arrived = far.receiver.receive().await.expect("the connection stands");
            assert!(arrived.len() == bytes && arrived.iter().all(|&b| b == number as u8), "frame {number}");
        }
    };
    both(env, send, receive).await;
}

async fn a_receive_that_was_given_up_has_lost_nothing(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    let count = 60;
    let clock = env.clone();
    let send = async move {
        for number in 0..count {
            near.sender.send(Bytes::from(vec![number as u8; 300_000])).await.expect("the connection stands");
            clock.sleep(Duration::from_millis(5)).await;
        }
        near
    };
    let clock = env.clone();
    let receive = async move {
        let mut given_up = 0;
        for number in 0..count {
            let arrived = loop {
                match race(far.receiver.receive(), clock.sleep(Duration::from_micros(200))).await {
                    Either::First(arrived) => break arrived.expect("the connection stands"),
                    Either::Second(()) => given_up += 1,
                }
            };
            assert!(arrived.len() == 300_000 && arrived.iter().all(|&b| b == number as u8), "frame {number}");
        }
        assert!(given_up > 0, "no receive was ever given up, so nothing was tried");
    };
    both(env, send, receive).await;
}

async fn dropping_a_connection_breaks_the_other_end(env: &Env, address: &str) {
    let (mut near, mut far) = fresh_pair(env, address).await;
    near.sender.send(frame(5)).await.expect("the connection stands");
    assert_eq!(far.receiver.receive().await, Ok(frame(5)));
    drop(near);
    for _ in 0..3 {
        let end = far.receiver.receive().await;
        assert!(matches!(end, Err(NetworkError::Broken(..))), "after the break there is nothing: {end:?}");
    }
    // The first sends may still go out of the door; the break is noticed late, but here it is noticed.
    for _ in 0..1_000 {
        if let Err(error) = far.sender.send(frame(6)).await {
            assert!(matches!(error, NetworkError::Broken(..)), "a break is called one: {error}");
            return;
        }
        env.sleep(Duration::from_millis(1)).await;
    }
    panic!("sending into a closed connection never failed");
}

async fn connections_are_independent(env: &Env, address: &str) {
    let mut listener = listen(env, address).await;
    let (first, mut first_far) = pair(env, &mut listener).await;
    let (mut second, mut second_far) = pair(env, &mut listener).await;
    drop(listener);
    drop(first);
    assert!(first_far.receiver.receive().await.is_err(), "a dropped connection still delivers");
    second.sender.send(frame(7)).await.expect("another connection's end is not this one's");
    assert_eq!(second_far.receiver.receive().await, Ok(frame(7)));
}

async fn a_port_has_one_listener(env: &Env, address: &str) {
    let first = listen(env, address).await;
    let taken = first.address();
    match env.network.listen(taken.clone()).await {
        Err(NetworkError::CannotListen(named, _)) => assert_eq!(named, taken, "the error names another address"),
        Err(other) => panic!("a port in use is reported as: {other}"),
        Ok(_) => panic!("two listeners at {taken}"),
    }
    drop(first);
    drop(listen(env, &taken).await);
}

async fn nobody_answers_where_nobody_listens(env: &Env, address: &str) {
    let listener = listen(env, address).await;
    let free = listener.address();
    drop(listener);
    match env.network.connect(free.clone()).await {
        Err(NetworkError::Refused(named, _)) => assert_eq!(named, free, "the error names another address"),
        Err(other) => panic!("nobody listening is reported as: {other}"),
        Ok(_) => panic!("somebody answers at {free}, where nobody listens"),
    }
}

/// Runs a sender and a receiver side by side. What the sender returns is kept until both are done, so that its
/// connection is not closed under the receiver.
async fn both<T: Send + 'static>(
    env: &Env,
    sender: impl Future<Output = T> + Send + 'static,
    receiver: impl Future<Output = ()> + Send + 'static,
) {
    let sender: BoxFuture<'static, Option<T>> = Box::pin(async move { Some(sender.await) });
    let receiver: BoxFuture<'static, Option<T>> = Box::pin(async move {
        receiver.await;
        None
    });
    super::all(env, vec![sender, receiver]).await;
}
