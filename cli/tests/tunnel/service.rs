//! Plain services and their clients.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::PATIENCE;

/// A stream of either kind.
pub trait Stream: Read + Write + Send {
    fn another(&self) -> Box<dyn Stream>;
    fn end(&self);
    fn wait_at_most(&self, time: Duration);
}

macro_rules! stream {
    ($($stream:ty),*) => {$(
        impl Stream for $stream {
            fn another(&self) -> Box<dyn Stream> {
                Box::new(self.try_clone().unwrap())
            }

            fn end(&self) {
                self.shutdown(Shutdown::Write).unwrap();
            }

            fn wait_at_most(&self, time: Duration) {
                self.set_read_timeout(Some(time)).unwrap();
                self.set_write_timeout(Some(time)).unwrap();
            }
        }
    )*};
}

stream!(TcpStream, UnixStream);

/// Connects to `host:port` or `unix:PATH`.
pub fn connect(address: &str) -> Box<dyn Stream> {
    let stream: Box<dyn Stream> = match address.strip_prefix("unix:") {
        Some(path) => Box::new(UnixStream::connect(path).unwrap()),
        None => Box::new(TcpStream::connect(address).unwrap()),
    };
    stream.wait_at_most(PATIENCE);
    stream
}

/// A service that a test accepts the connections of.
pub enum Service {
    Tcp(TcpListener),
    Unix(UnixListener, String),
}

impl Service {
    pub fn tcp() -> Self {
        Self::Tcp(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn unix(path: &str) -> Self {
        Self::Unix(UnixListener::bind(path).unwrap(), format!("unix:{path}"))
    }

    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().unwrap().to_string(),
            Self::Unix(_, address) => address.clone(),
        }
    }

    pub fn accept(&self) -> Box<dyn Stream> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.try_accept() {
                Ok(stream) => {
                    stream.wait_at_most(PATIENCE);
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            assert!(Instant::now() < end, "no connection comes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Accepts a connection that is there.
    pub fn try_accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                Box::new(stream)
            }
            Self::Unix(listener, _) => {
                listener.set_nonblocking(true)?;
                let stream = listener.accept()?.0;
                stream.set_nonblocking(false)?;
                Box::new(stream)
            }
        })
    }

    /// Accepts for ever, and sends back what comes.
    pub fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || echo(&stream.unwrap()));
            }
        });
        address
    }
}

/// Sends back what comes, until the end.
fn echo(stream: &dyn Stream) {
    let (mut from, mut to) = (stream.another(), stream.another());
    // A client that is cut is no error of the service.
    if io::copy(&mut from, &mut to).is_ok() {
        to.end();
    }
}

/// Sends a line to an echo and reads it back.
pub fn echoes(stream: &mut dyn Stream) -> io::Result<()> {
    stream.write_all(b"hello\n")?;
    let mut line = [0; 6];
    stream.read_exact(&mut line)?;
    assert_eq!(&line, b"hello\n");
    Ok(())
}

/// Bytes that differ wherever they are shifted or exchanged.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 32).to_be_bytes()
    });
    words.flatten().take(len).collect()
}

/// Writes to one direction while it reads the other, and returns what came until the end.
pub fn exchange(mut stream: Box<dyn Stream>, sent: Vec<u8>) -> Vec<u8> {
    let mut to = stream.another();
    let writing = thread::spawn(move || {
        to.write_all(&sent).unwrap();
        to.end();
    });
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    writing.join().unwrap();
    received
}
