//! What secured streams allocate, and what an idle one holds.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;

use allocation_counter::measure;
use countersign::record::{PAYLOAD_MAX, Protection};
use countersign::{Client, Secured, Server};

use super::{LENS, without_allocating};
use crate::support::{key, tcp_pair};

/// Two ends of a connection, of which this thread makes the second.
macro_rules! ends {
    ($verb:ident) => {{
        let (near, far) = tcp_pair();
        let near = thread::spawn(|| Client::new(key("ours")).$verb(near).unwrap());
        let far = Server::new(key("ours")).$verb(far).unwrap();
        (near.join().unwrap(), far)
    }};
}

/// Sends some records. The socket has room for a whole record, so one thread is enough.
fn pass(from: &mut impl Write, to: &mut impl Read, bytes: &mut [u8]) {
    for len in LENS {
        from.write_all(&bytes[..len]).unwrap();
        from.flush().unwrap();
        to.read_exact(&mut bytes[..len]).unwrap();
    }
}

/// Sends a record each way, and another while both are read in part.
fn cross(near: &mut (impl Read + Write), far: &mut (impl Read + Write), bytes: &mut [u8]) {
    near.write_all(&bytes[..2_000]).unwrap();
    far.write_all(&bytes[..2_000]).unwrap();
    far.read_exact(&mut bytes[..1_000]).unwrap();
    near.read_exact(&mut bytes[..1_000]).unwrap();
    near.write_all(&bytes[..2_000]).unwrap();
    far.read_exact(&mut bytes[..3_000]).unwrap();
    near.read_exact(&mut bytes[..1_000]).unwrap();
}

fn allocates_nothing_more<P: Protection>(
    (mut near, mut far): (Secured<TcpStream, P>, Secured<TcpStream, P>),
) {
    let mut bytes = vec![7; PAYLOAD_MAX];
    let mut exchange = || {
        pass(&mut near, &mut far, &mut bytes);
        pass(&mut far, &mut near, &mut bytes);
        cross(&mut near, &mut far, &mut bytes);
    };
    exchange();
    without_allocating(|| {
        for _ in 0..10 {
            exchange();
        }
    });

    let ((mut reader, _writer), (_reader, mut writer)) = (near.into_split(), far.into_split());
    pass(&mut writer, &mut reader, &mut bytes[..]);
    without_allocating(|| {
        pass(&mut writer, &mut reader, &mut bytes[..]);
        writer.close().unwrap();
        assert_eq!(reader.read(&mut bytes).unwrap(), 0);
    });
}

#[test]
fn a_secured_stream_allocates_nothing_after_its_first_records() {
    allocates_nothing_more(ends!(protect));
    #[cfg(feature = "encrypt")]
    allocates_nothing_more(ends!(encrypt));
}

/// The most that an idle stream may hold, on the heap and itself.
const IDLE_MAX: usize = 4096;

/// Measures what is still allocated of what `routine` allocates, and what it returns takes itself.
fn held<T>(routine: impl FnOnce() -> T) -> (T, usize) {
    let mut made = None;
    let on_the_heap = measure(|| made = Some(routine())).bytes_current;
    let held = usize::try_from(on_the_heap).unwrap() + size_of::<T>();
    (made.unwrap(), held)
}

#[test]
fn the_measure_sees_what_is_held_and_not_what_is_freed() {
    let (kept, held) = held(|| {
        drop(vec![1; 50]);
        vec![1_u8; 100]
    });
    assert_eq!(held, 100 + size_of_val(&kept));
}

fn holds_little_when_idle<P: Protection>(
    ends: impl Fn() -> (Secured<TcpStream, P>, Secured<TcpStream, P>),
) {
    let mut bytes = vec![7; PAYLOAD_MAX];
    // From here on this thread has its buffers.
    let (mut near, mut far) = ends();
    pass(&mut near, &mut far, &mut bytes);
    pass(&mut far, &mut near, &mut bytes);

    // The threads that make the near end count for themselves, so this measures the far end.
    let ((near, far), holds) = held(|| {
        let (mut near, mut far) = ends();
        pass(&mut near, &mut far, &mut bytes);
        pass(&mut far, &mut near, &mut bytes);
        // A read that finds nothing leaves nothing behind.
        far.get_ref().set_nonblocking(true).unwrap();
        let error = far.read(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        (near, far)
    });
    let of_near = size_of_val(&near);
    assert!(holds - of_near <= IDLE_MAX, "{} bytes", holds - of_near);
    drop((near, far));

    let ((_near, halves), holds) = held(|| {
        let (near, far) = ends();
        (near, far.into_split())
    });
    assert!(holds - of_near <= IDLE_MAX, "{} bytes", holds - of_near);
    drop(halves);
}

#[test]
fn an_idle_secured_stream_holds_at_most_4_kib() {
    holds_little_when_idle(|| ends!(protect));
    #[cfg(feature = "encrypt")]
    holds_little_when_idle(|| ends!(encrypt));
}

#[test]
fn a_stream_holds_a_buffer_while_a_part_of_a_record_is_in_it() {
    let mut bytes = vec![7; PAYLOAD_MAX];
    let ((near, far), holds) = held(|| {
        let (mut near, mut far) = ends!(protect);
        near.write_all(&bytes).unwrap();
        far.read_exact(&mut bytes[1..]).unwrap();
        (near, far)
    });
    // The control of the test above: the buffer would be seen there.
    assert!(holds > 32 * 1024, "{holds} bytes");
    drop((near, far));
}

#[cfg(feature = "tokio")]
mod over_tokio {
    use std::io::{self, Read, Write};
    use std::net::TcpStream;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use countersign::record::{PAYLOAD_MAX, Protection};
    use countersign::tokio::{Client, Secured, Server};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

    use super::{IDLE_MAX, held};
    use crate::allocations::{LENS, without_allocating};
    use crate::support::{key, tcp_pair};

    /// A socket without a runtime. Each of its futures is polled until it is done.
    struct Polled(TcpStream);

    fn polled<T>(answer: io::Result<T>) -> Poll<io::Result<T>> {
        match answer {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            answer => Poll::Ready(answer),
        }
    }

    impl AsyncRead for Polled {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let read = self.0.read(buf.initialize_unfilled());
            polled(read.map(|n| buf.advance(n)))
        }
    }

    impl AsyncWrite for Polled {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            polled(self.0.write(buf))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            polled(self.0.flush())
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn run<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
        }
    }

    async fn pass<W, R>(from: &mut W, to: &mut R, bytes: &mut [u8])
    where
        W: AsyncWrite + Unpin,
        R: AsyncRead + Unpin,
    {
        for len in LENS {
            from.write_all(&bytes[..len]).await.unwrap();
            from.flush().await.unwrap();
            to.read_exact(&mut bytes[..len]).await.unwrap();
        }
    }

    macro_rules! ends {
        ($verb:ident) => {{
            let (near, far) = tcp_pair();
            for socket in [&near, &far] {
                socket.set_nonblocking(true).unwrap();
            }
            let client = Client::new(key("ours"));
            let server = Server::new(key("ours"));
            run(async {
                tokio::try_join!(client.$verb(Polled(near)), server.$verb(Polled(far))).unwrap()
            })
        }};
    }

    fn allocates_nothing_more<P: Protection>(
        (mut near, mut far): (Secured<Polled, P>, Secured<Polled, P>),
    ) {
        let mut bytes = vec![7; PAYLOAD_MAX];
        run(pass(&mut near, &mut far, &mut bytes));
        run(pass(&mut far, &mut near, &mut bytes));
        without_allocating(|| {
            for _ in 0..10 {
                run(pass(&mut near, &mut far, &mut bytes));
                run(pass(&mut far, &mut near, &mut bytes));
            }
        });

        let ((mut reader, _writer), (_reader, mut writer)) = (near.into_split(), far.into_split());
        run(pass(&mut writer, &mut reader, &mut bytes));
        without_allocating(|| {
            run(pass(&mut writer, &mut reader, &mut bytes));
            run(writer.close()).unwrap();
            assert_eq!(run(reader.read(&mut bytes)).unwrap(), 0);
        });
    }

    #[test]
    fn a_secured_stream_over_tokio_allocates_nothing_after_its_first_records() {
        allocates_nothing_more(ends!(protect));
        #[cfg(feature = "encrypt")]
        allocates_nothing_more(ends!(encrypt));
    }

    fn holds_little_when_idle<P: Protection>(
        ends: impl Fn() -> (Secured<Polled, P>, Secured<Polled, P>),
    ) {
        let mut bytes = vec![7; PAYLOAD_MAX];
        // From here on this thread has its buffers.
        let (mut near, mut far) = ends();
        run(pass(&mut near, &mut far, &mut bytes));
        run(pass(&mut far, &mut near, &mut bytes));

        let ((near, far), holds) = held(|| {
            let (mut near, mut far) = ends();
            run(pass(&mut near, &mut far, &mut bytes));
            run(pass(&mut far, &mut near, &mut bytes));
            // A task that waits for data holds no buffer.
            let mut cx = Context::from_waker(Waker::noop());
            let mut buf = ReadBuf::new(&mut bytes);
            assert!(Pin::new(&mut far).poll_read(&mut cx, &mut buf).is_pending());
            (near, far)
        });
        assert!(holds / 2 <= IDLE_MAX, "{} bytes", holds / 2);
        drop((near, far));

        let (halves, holds) = held(|| {
            let (near, far) = ends();
            (near.into_split(), far.into_split())
        });
        assert!(holds / 2 <= IDLE_MAX, "{} bytes", holds / 2);
        drop(halves);
    }

    #[test]
    fn an_idle_secured_stream_over_tokio_holds_at_most_4_kib() {
        holds_little_when_idle(|| ends!(protect));
        #[cfg(feature = "encrypt")]
        holds_little_when_idle(|| ends!(encrypt));
    }
}
