//! Halves in two threads or tasks, and how one ends the other.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use countersign::record;
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[cfg(feature = "tokio")]
use super::pair::protected_over_tokio;
use super::pair::{protected, sockets, tcp_ends};
use crate::records::ends::failed;
use crate::records::via::Via;
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::sockets::over_tokio;
#[cfg(feature = "tokio")]
use crate::support::block_on;

#[test]
fn a_shutdown_ends_both_directions_at_both_ends_without_a_close() {
    for via in Via::streams() {
        let (mut near, mut far) = tcp_ends(via, LONG);
        far.write_all(b"unread").unwrap();
        near.write_all(b"sent before").unwrap();
        near.shutdown().unwrap();
        near.shutdown().unwrap();
        let (received, ended) = far.read_to_end(100);
        assert_eq!(received, b"sent before", "{via:?}");
        assert_eq!(failed(ended), record::Error::Truncated, "{via:?}");
        near.write(b"x").unwrap_err();
        near.write(b"x").unwrap_err();
    }
}

#[test]
fn a_shutdown_ends_a_reader_that_waits_in_another_thread() {
    let (near, _far) = protected(sockets(), LONG);
    let (mut reader, writer) = near.into_split();
    // The reader has to be blocked, and nothing tells that it is. Whether it is or not, it ends.
    let reading = thread::spawn(move || reader.read(&mut [0; 10]));
    thread::yield_now();
    writer.shutdown().unwrap();
    assert_eq!(failed(reading.join().unwrap()), record::Error::Truncated);
}

#[test]
fn a_shutdown_ends_a_writer_that_waits_in_another_thread() {
    let (near, _far) = protected(sockets(), LONG);
    let (reader, mut writer) = near.into_split();
    let writing = thread::spawn(move || {
        let bytes = vec![7; 100_000];
        // Nobody reads, so this waits until the shutdown, however much the sockets can hold.
        loop {
            if let Err(error) = writer.write_all(&bytes) {
                return error;
            }
        }
    });
    thread::yield_now();
    reader.shutdown().unwrap();
    let error = writing.join().unwrap();
    // Windows has a number of its own for it, which the standard library does not name.
    let shut_down = error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(10_058);
    assert!(shut_down, "{error:?}");
}

#[cfg(feature = "tokio")]
#[test]
fn an_abort_ends_a_reader_that_waits_in_another_task() {
    block_on(async {
        let (near, far) = sockets();
        let sockets = (over_tokio(near), over_tokio(far));
        let (near, _far) = protected_over_tokio(sockets, LONG).await;
        let (mut reader, mut writer) = near.into_split();
        let reading = tokio::spawn(async move { reader.read(&mut [0; 10]).await });
        // The runtime has one thread, so the reader waits after this.
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        writer.abort().unwrap();
        assert_eq!(failed(reading.await.unwrap()), record::Error::Truncated);
        writer.write_all(b"x").await.unwrap_err();
    });
}

#[test]
fn halves_that_are_put_together_again_go_on_with_the_timeouts_of_both() {
    let (mut near, mut far) = protected(sockets(), LONG);
    let (read_timeout, write_timeout) = (Some(LONG), Some(2 * LONG));
    near.set_write_timeout(write_timeout).unwrap();
    let (mut reader, mut writer) = near.into_split();
    reader.set_read_timeout(read_timeout).unwrap();
    writer.write_all(b"one").unwrap();
    far.write_all(b"one of two").unwrap();
    let mut received = [0; 10];
    reader.read_exact(&mut received[..3]).unwrap();

    assert_eq!(reader.session().key_id(), writer.session().key_id());
    assert_eq!(reader.peer_addr().unwrap(), far.local_addr().unwrap());
    assert_eq!(writer.local_addr().unwrap(), far.peer_addr().unwrap());
    let mut near = reader.reunite(writer).unwrap();
    assert_eq!(near.read_timeout(), read_timeout);
    assert_eq!(near.write_timeout(), write_timeout);
    near.read_exact(&mut received[3..]).unwrap();
    assert_eq!(&received, b"one of two");
    near.write_all(b" two").unwrap();
    let mut received = [0; 7];
    far.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"one two");
}

#[cfg(feature = "tokio")]
#[test]
fn halves_over_tokio_that_are_put_together_again_go_on() {
    block_on(async {
        let (near, far) = sockets();
        let sockets = (over_tokio(near), over_tokio(far));
        let (near, mut far) = protected_over_tokio(sockets, LONG).await;
        let (mut reader, mut writer) = near.into_split();
        writer.write_all(b"one").await.unwrap();
        far.write_all(b"one of two").await.unwrap();
        let mut received = [0; 10];
        reader.read_exact(&mut received[..3]).await.unwrap();

        assert_eq!(reader.session().key_id(), writer.session().key_id());
        assert_eq!(reader.peer_addr().unwrap(), far.local_addr().unwrap());
        assert_eq!(writer.local_addr().unwrap(), far.peer_addr().unwrap());
        let mut near = reader.reunite(writer).unwrap();
        near.read_exact(&mut received[3..]).await.unwrap();
        assert_eq!(&received, b"one of two");
        near.write_all(b" two").await.unwrap();
        let mut received = [0; 7];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"one two");
    });
}

#[test]
fn halves_of_two_streams_are_not_put_together() {
    let (near, far) = protected(sockets(), LONG);
    let (reader, _writer) = near.into_split();
    let (_reader, writer) = far.into_split();
    let error = reader.reunite(writer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);

    #[cfg(feature = "tokio")]
    block_on(async {
        let (near, far) = sockets();
        let sockets = (over_tokio(near), over_tokio(far));
        let (near, far) = protected_over_tokio(sockets, LONG).await;
        let (reader, _writer) = near.into_split();
        let (_reader, writer) = far.into_split();
        let error = reader.reunite(writer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
