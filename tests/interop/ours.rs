//! This crate's end of a connection to a peer, over either driver.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use countersign::record::Protection;
use countersign::{Client, Error, Key, KeyId, Matched, Secured, Server, Session, WriteHalf};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Ours, TIME};
use crate::support::Driver;
#[cfg(feature = "tokio")]
use crate::support::block_on;

/// What follows the handshake, by its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    pub fn mode(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        ["authenticate", "protect", "encrypt"][usize::from(self.mode())]
    }
}

pub enum End {
    Client(Client),
    Server(Server<Key>),
}

/// What our end does after the handshake. In the end it reads until the peer closes.
pub enum Talk<'a> {
    /// Sends this and closes, while it reads.
    Send(&'a [u8]),
    /// Sends everything back once the peer has closed, and closes.
    Echo,
    /// Sends these bytes past the records, and ends its direction of the socket.
    Raw(&'a [u8]),
    /// Calls this, and sends nothing.
    Call(&'a mut dyn FnMut()),
}

#[derive(Debug)]
pub struct Got {
    pub key_id: KeyId,
    pub matched: Matched,
    pub received: Vec<u8>,
}

#[derive(Debug)]
pub enum Failure {
    Handshake(Error),
    Later(io::Error),
}

impl Failure {
    /// Returns the error of the handshake.
    pub fn handshake(self) -> Error {
        match self {
            Self::Handshake(error) => error,
            Self::Later(error) => panic!("the handshake succeeded, and then: {error:?}"),
        }
    }
}

impl Ours<'_> {
    pub fn run(&self, socket: TcpStream, talk: Talk) -> Result<Got, Failure> {
        let below = socket.try_clone().unwrap();
        let (who, received) = match self.driver {
            Driver::Blocking => self.blocking(socket, &below, talk),
            #[cfg(feature = "tokio")]
            Driver::Tokio => block_on(async {
                let talked = self.tokio(socket, &below, talk);
                tokio::time::timeout(TIME, talked).await.unwrap()
            }),
        }
        .map_err(Failure::Handshake)?;
        Ok(Got {
            key_id: who.0,
            matched: who.1,
            received: received.map_err(Failure::Later)?,
        })
    }

    fn blocking(&self, socket: TcpStream, below: &TcpStream, talk: Talk) -> Outcome {
        socket.set_read_timeout(Some(TIME)).unwrap();
        socket.set_write_timeout(Some(TIME)).unwrap();
        macro_rules! run {
            ($end:expr) => {
                match self.verb {
                    Verb::Authenticate => {
                        let session = $end.authenticate_timeout(&socket, TIME)?;
                        let close = |socket: &mut &TcpStream| socket.shutdown(Shutdown::Write);
                        (
                            who(&session),
                            converse(&socket, &socket, close, below, talk),
                        )
                    }
                    Verb::Protect => secured($end.protect_timeout(socket, TIME)?, below, talk),
                    #[cfg(feature = "encrypt")]
                    Verb::Encrypt => secured($end.encrypt_timeout(socket, TIME)?, below, talk),
                }
            };
        }
        Ok(match self.end {
            End::Client(client) => run!(client),
            End::Server(server) => run!(server),
        })
    }

    #[cfg(feature = "tokio")]
    async fn tokio(&self, socket: TcpStream, below: &TcpStream, talk: Talk<'_>) -> Outcome {
        socket.set_nonblocking(true).unwrap();
        let mut socket = tokio::net::TcpStream::from_std(socket).unwrap();
        macro_rules! secured {
            ($stream:expr) => {{
                let stream = $stream;
                let who = who(stream.session());
                let (reader, writer) = stream.into_split();
                (who, converse_tokio(reader, writer, below, talk).await)
            }};
        }
        macro_rules! run {
            ($end:expr) => {
                match self.verb {
                    Verb::Authenticate => {
                        let session = $end.authenticate(&mut socket).await?;
                        let (reader, writer) = socket.into_split();
                        (
                            who(&session),
                            converse_tokio(reader, writer, below, talk).await,
                        )
                    }
                    Verb::Protect => secured!($end.protect(socket).await?),
                    #[cfg(feature = "encrypt")]
                    Verb::Encrypt => secured!($end.encrypt(socket).await?),
                }
            };
        }
        Ok(match self.end {
            End::Client(client) => run!(countersign::tokio::Client::from(client.clone())),
            End::Server(server) => run!(countersign::tokio::Server::from(server.clone())),
        })
    }
}

/// Who was authenticated, and what was received then.
type Talked = ((KeyId, Matched), io::Result<Vec<u8>>);
type Outcome = Result<Talked, Error>;

fn who(session: &Session) -> (KeyId, Matched) {
    (*session.key_id(), session.matched())
}

fn secured<P: Protection>(stream: Secured<TcpStream, P>, below: &TcpStream, talk: Talk) -> Talked {
    let who = who(stream.session());
    let (reader, writer) = stream.into_split();
    let received = converse(reader, writer, WriteHalf::close, below, talk);
    (who, received)
}

fn converse<W: Write + Send>(
    mut reader: impl Read,
    mut writer: W,
    close: impl FnOnce(&mut W) -> io::Result<()> + Send,
    below: &TcpStream,
    talk: Talk,
) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    match talk {
        Talk::Send(message) => thread::scope(|scope| {
            let sending = scope.spawn(move || {
                writer.write_all(message)?;
                close(&mut writer)
            });
            reader.read_to_end(&mut received)?;
            sending.join().unwrap()
        })?,
        Talk::Echo => {
            reader.read_to_end(&mut received)?;
            writer.write_all(&received)?;
            close(&mut writer)?;
        }
        Talk::Raw(bytes) => {
            send_raw(below, bytes)?;
            reader.read_to_end(&mut received)?;
        }
        Talk::Call(call) => {
            call();
            reader.read_to_end(&mut received)?;
        }
    }
    Ok(received)
}

#[cfg(feature = "tokio")]
async fn converse_tokio(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    below: &TcpStream,
    talk: Talk<'_>,
) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    match talk {
        Talk::Send(message) => {
            let sending = async {
                writer.write_all(message).await?;
                writer.shutdown().await
            };
            let (read, sent) = tokio::join!(reader.read_to_end(&mut received), sending);
            read?;
            sent?;
        }
        Talk::Echo => {
            reader.read_to_end(&mut received).await?;
            writer.write_all(&received).await?;
            writer.shutdown().await?;
        }
        Talk::Raw(bytes) => {
            send_raw(below, bytes)?;
            reader.read_to_end(&mut received).await?;
        }
        Talk::Call(call) => {
            call();
            reader.read_to_end(&mut received).await?;
        }
    }
    Ok(received)
}

fn send_raw(mut below: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    below.write_all(bytes)?;
    below.shutdown(Shutdown::Write)
}
