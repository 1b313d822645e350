//! Clients and listeners of every verb, over one type of stream.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use countersign::{Client, Error, KeyId};

use super::events::Events;
use crate::sockets::LONG;

/// A stream of any verb.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

#[derive(Clone, Copy, Debug)]
pub enum Verb {
    Authenticate,
    Protect,
    #[cfg(feature = "encrypt")]
    Encrypt,
}

impl Verb {
    pub const ALL: &[Self] = &[
        Self::Authenticate,
        Self::Protect,
        #[cfg(feature = "encrypt")]
        Self::Encrypt,
    ];

    /// Runs a client over a socket that is connected.
    pub fn log_in(self, client: &Client, stream: TcpStream) -> Result<Box<dyn Stream>, Error> {
        Ok(match self {
            Self::Authenticate => {
                client.authenticate_timeout(&stream, LONG)?;
                Box::new(stream)
            }
            Self::Protect => Box::new(client.protect_timeout(stream, LONG)?),
            #[cfg(feature = "encrypt")]
            Self::Encrypt => Box::new(client.encrypt_timeout(stream, LONG)?),
        })
    }
}

const PING: [u8; 4] = *b"ping";
const PONG: [u8; 4] = *b"pong";

/// Sends a word to [`Serving::serve`], and reads its answer.
pub fn ping(stream: &mut dyn Stream) {
    stream.write_all(&PING).unwrap();
    stream.flush().unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(word, PONG);
}

pub fn pong(mut stream: impl Read + Write) {
    let mut word = [0; 4];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(word, PING);
    stream.write_all(&PONG).unwrap();
    stream.flush().unwrap();
}

#[cfg(feature = "tokio")]
pub async fn pong_over_tokio(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(word, PING);
    stream.write_all(&PONG).await.unwrap();
    stream.flush().await.unwrap();
}

/// Accepts a stream, answers one [`ping`] on it, and returns its key id.
pub type Serve = Box<dyn Fn() -> io::Result<KeyId> + Send>;

/// A listener of any verb, which ends when this is dropped.
pub struct Serving {
    pub address: SocketAddr,
    pub events: Arc<Events>,
    pub serve: Serve,
}

/// Starts a listener of a verb with its constructor, over tokio on the shared runtime.
#[cfg(feature = "tokio")]
macro_rules! serve_over_tokio {
    ($verb:expr, [$authenticate:ident, $protect:ident, $encrypt:ident] $arguments:tt) => {{
        use countersign::tokio::Listener;

        use crate::listener::running::runtime;
        use crate::listener::verbs::{Serve, Verb, pong_over_tokio};

        let _runtime = runtime().enter();
        macro_rules! secured {
            ($listener:expr) => {{
                let listener = $listener.unwrap();
                Box::new(move || {
                    runtime().block_on(async {
                        let mut stream = listener.accept().await?;
                        pong_over_tokio(&mut stream).await;
                        Ok(*stream.session().key_id())
                    })
                })
            }};
        }
        let serve: Serve = match $verb {
            Verb::Authenticate => {
                let listener = Listener::$authenticate $arguments.unwrap();
                Box::new(move || {
                    runtime().block_on(async {
                        let (stream, session) = listener.accept().await?;
                        pong_over_tokio(stream).await;
                        Ok(*session.key_id())
                    })
                })
            }
            Verb::Protect => secured!(Listener::$protect $arguments),
            #[cfg(feature = "encrypt")]
            Verb::Encrypt => secured!(Listener::$encrypt $arguments),
        };
        serve
    }};
}
#[cfg(feature = "tokio")]
pub(super) use serve_over_tokio;
