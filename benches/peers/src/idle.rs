//! Measures what a secured stream holds while no bytes are under way, beyond the stream below.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use ::tokio::io::{AsyncReadExt, AsyncWriteExt};
use ::tokio::net::TcpStream as AsyncTcpStream;
use ::tokio::runtime::Builder;
use ::tokio::try_join;
use anyhow::{Result, anyhow, ensure};
use countersign::record::Protection;
use countersign::{Client, Error, Key, Secured, Server, tokio};

use crate::allocations::{COUNTED, in_use};

/// The bytes of a stream, with its heap.
pub type Idle = (&'static str, Result<f64>);

pub fn measure() -> Vec<Idle> {
    let Ok(key) = Key::new("what both ends of this one share") else {
        return Vec::new();
    };
    let (client, server) = (Client::new(key.clone()), Server::new(key.clone()));
    let (near, far) = (tokio::Client::new(key.clone()), tokio::Server::new(key));
    vec![
        (
            "`protect`, blocking",
            blocking(
                |stream| client.protect(stream),
                |stream| server.protect(stream),
            ),
        ),
        (
            "`encrypt`, blocking",
            blocking(
                |stream| client.encrypt(stream),
                |stream| server.encrypt(stream),
            ),
        ),
        (
            "`protect`, tokio",
            polled(
                async |stream| near.protect(stream).await,
                async |stream| far.protect(stream).await,
            ),
        ),
        (
            "`encrypt`, tokio",
            polled(
                async |stream| near.encrypt(stream).await,
                async |stream| far.encrypt(stream).await,
            ),
        ),
    ]
}

/// The number of connections, of which both ends are measured.
const PAIRS: usize = 256;

fn blocking<P: Protection>(
    near: impl Fn(TcpStream) -> Result<Secured<TcpStream, P>, Error> + Sync,
    far: impl Fn(TcpStream) -> Result<Secured<TcpStream, P>, Error>,
) -> Result<f64> {
    mean(pairs()?, |(near_socket, far_socket)| {
        let (near, far) = thread::scope(|scope| {
            let near = scope.spawn(|| near(near_socket));
            let far = far(far_socket);
            (near.join(), far)
        });
        let near = near.map_err(|_| anyhow!("a thread has panicked"))?;
        let (mut near, mut far) = (near?, far?);
        let mut bytes = [7; 64];
        near.write_all(&bytes)?;
        far.read_exact(&mut bytes)?;
        far.write_all(&bytes)?;
        near.read_exact(&mut bytes)?;
        Ok((near, far))
    })
}

fn polled<P: Protection>(
    near: impl AsyncFn(AsyncTcpStream) -> Result<tokio::Secured<AsyncTcpStream, P>, Error>,
    far: impl AsyncFn(AsyncTcpStream) -> Result<tokio::Secured<AsyncTcpStream, P>, Error>,
) -> Result<f64> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let registered = |socket: TcpStream| {
        socket.set_nonblocking(true)?;
        AsyncTcpStream::from_std(socket)
    };
    let pairs: Vec<_> = (pairs()?.into_iter())
        .map(|(near, far)| Ok((registered(near)?, registered(far)?)))
        .collect::<Result<_>>()?;
    mean(pairs, |(near_socket, far_socket)| {
        runtime.block_on(async {
            let (mut near, mut far) = try_join!(near(near_socket), far(far_socket))?;
            let mut bytes = [7; 64];
            near.write_all(&bytes).await?;
            far.read_exact(&mut bytes).await?;
            far.write_all(&bytes).await?;
            near.read_exact(&mut bytes).await?;
            Ok((near, far))
        })
    })
}

/// Returns the bytes of each end that `secure` makes, with its heap, beyond those of the socket.
#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn mean<S, E>(pairs: Vec<(S, S)>, mut secure: impl FnMut((S, S)) -> Result<(E, E)>) -> Result<f64> {
    ensure!(COUNTED, "only glibc says how much heap is in use");
    let mut ends = Vec::with_capacity(pairs.len());
    let mut before = 0;
    // Kept to the end, with its memory.
    let mut pairs = pairs.into_iter();
    for pair in &mut pairs {
        ends.push(secure(pair)?);
        if ends.len() == 1 {
            // From here on this thread has its buffers.
            before = in_use();
        }
    }
    let heap = in_use().saturating_sub(before) as f64;
    let own = size_of::<E>() - size_of::<S>();
    Ok((heap / (2 * (ends.len() - 1)) as f64 + own as f64).ceil())
}

fn pairs() -> Result<Vec<(TcpStream, TcpStream)>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let pair = |_| {
        let near = TcpStream::connect(listener.local_addr()?)?;
        Ok((near, listener.accept()?.0))
    };
    (0..PAIRS).map(pair).collect()
}
