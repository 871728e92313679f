//! Peers that do not speak our frames harm nobody but their own connection.

use bytes::Bytes;
use cofferdam_engine::door::{Connection, FRAME_BYTES_MAX, Listener, Network, NetworkError};
use cofferdam_engine::os::network::TcpNetwork;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn run(body: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(body);
}

async fn listen() -> Box<dyn Listener> {
    TcpNetwork.listen("127.0.0.1:0".to_owned()).await.expect("a free port")
}

/// A raw socket and our end of it.
async fn stranger(listener: &mut Box<dyn Listener>) -> (TcpStream, Connection) {
    let raw = TcpStream::connect(listener.address()).await.expect("somebody listens");
    (raw, listener.accept().await.expect("a connection arrives"))
}

#[test]
fn garbage_is_malformed_and_ends_its_connection_only() {
    run(async {
        let mut listener = listen().await;
        let mut friend = TcpNetwork.connect(listener.address()).await.expect("somebody listens");
        let mut ours = listener.accept().await.expect("a connection arrives");
        let too_long = u32::try_from(FRAME_BYTES_MAX + 1).expect("it fits").to_le_bytes();
        for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &too_long] {
            let (mut raw, mut connection) = stranger(&mut listener).await;
            raw.write_all(garbage).await.expect("written");
            for _ in 0..2 {
                let received = connection.receiver.receive().await;
                assert!(matches!(received, Err(NetworkError::Malformed(..))), "{garbage:?}: {received:?}");
            }
        }
        friend.sender.send(Bytes::from("still here")).await.expect("the connection stands");
        assert_eq!(ours.receiver.receive().await, Ok(Bytes::from("still here")));
    });
}

#[test]
fn a_frame_that_is_cut_off_is_a_break_after_the_whole_ones() {
    run(async {
        let mut listener = listen().await;
        let (mut raw, mut connection) = stranger(&mut listener).await;
        raw.write_all(b"\x03\0\0\0one\0\0\0\0\x05\0\0\0cut").await.expect("written");
        drop(raw);
        assert_eq!(connection.receiver.receive().await, Ok(Bytes::from("one")));
        assert_eq!(connection.receiver.receive().await, Ok(Bytes::new()));
        match connection.receiver.receive().await {
            Err(NetworkError::Broken(_, why)) => assert!(why.contains("in the middle of a frame"), "{why}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_frame_may_arrive_byte_by_byte() {
    run(async {
        let mut listener = listen().await;
        let (mut raw, mut connection) = stranger(&mut listener).await;
        raw.set_nodelay(true).expect("a socket option");
        let trickle = async {
            for byte in b"\x04\0\0\0slow\x04\0\0\0drip" {
                raw.write_all(&[*byte]).await.expect("written");
                tokio::task::yield_now().await;
            }
        };
        let receive = async {
            assert_eq!(connection.receiver.receive().await, Ok(Bytes::from("slow")));
            assert_eq!(connection.receiver.receive().await, Ok(Bytes::from("drip")));
        };
        futures_util::future::join(trickle, receive).await;
    });
}

#[test]
fn a_send_that_was_dropped_half_way_breaks_the_connection() {
    run(async {
        let mut listener = listen().await;
        let (raw, mut connection) = stranger(&mut listener).await;
        // Nobody reads at the other end, so a large frame gets stuck in the socket.
        let stuck = connection.sender.send(Bytes::from(vec![0; FRAME_BYTES_MAX]));
        let stuck = futures_util::future::poll_immediate(stuck).await;
        assert_eq!(stuck, None, "a socket took the largest frame at once");
        let next = connection.sender.send(Bytes::from("next")).await;
        assert!(matches!(next, Err(NetworkError::Broken(..))), "a frame was put behind half of another: {next:?}");
        drop(raw);
    });
}

#[test]
fn a_frame_over_the_limit_is_refused_and_leaves_the_connection_standing() {
    run(async {
        let mut listener = listen().await;
        let mut near = TcpNetwork.connect(listener.address()).await.expect("somebody listens");
        let mut far = listener.accept().await.expect("a connection arrives");
        let refused = near.sender.send(Bytes::from(vec![0; FRAME_BYTES_MAX + 1])).await;
        assert!(matches!(refused, Err(NetworkError::Malformed(..))), "{refused:?}");
        near.sender.send(Bytes::from("short")).await.expect("the connection stands");
        assert_eq!(far.receiver.receive().await, Ok(Bytes::from("short")), "a part of the refused frame arrived");
    });
}

#[test]
fn an_address_that_is_none_cannot_be_used() {
    run(async {
        for address in ["", "nonsense", "127.0.0.1", "127.0.0.1:99999", "300.1.2.3:1"] {
            match TcpNetwork.listen(address.to_owned()).await {
                Err(NetworkError::CannotListen(named, _)) => assert_eq!(named, address),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("listening on {address:?}"),
            }
            match TcpNetwork.connect(address.to_owned()).await {
                Err(NetworkError::Refused(named, _)) => assert_eq!(named, address),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("connected to {address:?}"),
            }
        }
    });
}
