//! Over tokio, a task is woken whatever the other task of its stream does.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use countersign::tokio::Client;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, split};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::pair::duplex_protected;
use crate::records::ends::pattern;
use crate::records::line::{Line, far};
use crate::records::stream::at_once;
use crate::records::via::Kind;
use crate::side::Side;
use crate::sockets::LONG;
use crate::support::{Act, block_on, key};

/// Far less than a record needs.
const ROOM: usize = 500;

/// One record, of which most finds no room.
const REQUEST: usize = 10_000;

/// Reads a request, and then answers.
async fn serve(mut far: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = vec![0; REQUEST];
    far.read_exact(&mut request).await.unwrap();
    assert!(request == pattern(REQUEST));
    far.write_all(b"answer").await.unwrap();
    // The answer has to come while this end is open.
    assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
}

async fn read_answer(mut reader: impl AsyncRead + Unpin) {
    let mut answer = [0; 6];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
}

#[test]
fn a_task_that_writes_and_then_only_reads_is_answered() {
    block_on(async {
        let (mut near, far) = duplex_protected(ROOM).await;
        let talk = async {
            // The record is made, and counts as written, before the peer reads.
            let n = near.write(&pattern(REQUEST)).await.unwrap();
            assert_eq!(n, REQUEST);
            read_answer(&mut near).await;
            near.close().await.unwrap();
        };
        let both = async { tokio::join!(talk, serve(far)) };
        timeout(LONG, both).await.unwrap();
    });
}

/// The reader waits before the writer writes, and the writer does nothing after it has written.
async fn write_beside<R, W>(mut reader: R, mut writer: W, far: impl AsyncRead + AsyncWrite + Unpin)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin,
{
    let (answered, wait) = oneshot::channel();
    let reading = tokio::spawn(async move {
        read_answer(&mut reader).await;
        answered.send(()).unwrap();
        reader
    });
    yield_now().await;
    let writing = async {
        let n = writer.write(&pattern(REQUEST)).await.unwrap();
        assert_eq!(n, REQUEST);
        wait.await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let both = async { tokio::join!(writing, serve(far)) };
    timeout(LONG, both).await.unwrap();
    reading.await.unwrap();
}

#[test]
fn a_writer_that_waits_for_nothing_is_helped_by_a_reader_that_already_waits() {
    block_on(async {
        let (near, far) = duplex_protected(ROOM).await;
        let (reader, writer) = near.into_split();
        write_beside(reader, writer, far).await;

        // The halves of tokio poll the whole stream from two tasks.
        let (near, far) = duplex_protected(ROOM).await;
        let (reader, writer) = split(near);
        write_beside(reader, writer, far).await;
    });
}

#[test]
fn much_data_in_both_directions_at_once_arrives_with_little_room() {
    const LEN: usize = 1 << 20;

    async fn send(mut writer: impl AsyncWrite + Unpin) {
        for piece in pattern(LEN).chunks(30_000) {
            writer.write_all(piece).await.unwrap();
            writer.flush().await.unwrap();
        }
        writer.shutdown().await.unwrap();
    }
    async fn receive(mut reader: impl AsyncRead + Unpin) {
        let mut received = Vec::new();
        reader.read_to_end(&mut received).await.unwrap();
        assert!(received == pattern(LEN));
    }

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (near, far) = duplex_protected(ROOM).await;
        let (near, far) = (near.into_split(), split(far));
        let tasks = [
            tokio::spawn(send(near.1)),
            tokio::spawn(receive(near.0)),
            tokio::spawn(send(far.1)),
            tokio::spawn(receive(far.0)),
        ];
        for task in tasks {
            timeout(LONG, task).await.unwrap().unwrap();
        }
    });
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_writer_that_waits_is_woken_when_the_reader_has_sent_what_was_left() {
    let (line, _records) = far(Kind::Protected, Side::Client);
    let client = Client::new(key("ours"));
    let mut near = at_once(client.protect(line.clone())).unwrap();
    let woken = Arc::<Woken>::default();
    let writer = Waker::from(Arc::clone(&woken));
    let mut writing = Context::from_waker(&writer);
    let mut reading = Context::from_waker(Waker::noop());
    let full = |line: &Line| line.wire().on_write = Box::new(|_| Act::Fail(ErrorKind::WouldBlock));

    full(&line);
    let written = Pin::new(&mut near).poll_write(&mut writing, b"hello");
    assert!(matches!(written, Poll::Ready(Ok(5))));
    assert!(Pin::new(&mut near).poll_flush(&mut writing).is_pending());
    // The stream below wakes nobody, as one may that has just had room for somebody else.
    line.wire().on_write = Box::new(|_| Act::Move(usize::MAX));
    assert!(!woken.0.load(Ordering::Relaxed));
    let mut buf = [0; 10];
    let read = Pin::new(&mut near).poll_read(&mut reading, &mut ReadBuf::new(&mut buf));
    assert!(read.is_pending());
    assert!(woken.0.load(Ordering::Relaxed));
}
