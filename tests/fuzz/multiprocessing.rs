//! Both ends of the protocol of Python's `multiprocessing`, and the messages after its handshake,
//! whose peer sends arbitrary bytes.

use std::io::{self, ErrorKind};

use allocation_counter::measure;
use countersign::compat::multiprocessing::{
    Connection, KnowsAuthkey, client_authenticate, client_authenticate_md5, server_authenticate,
    server_authenticate_md5,
};

use super::harness::{Options, Wire, without_allocating};

const AUTHKEY: &[u8] = b"secret password";

/// Options: bit 3 is the side, bit 4 selects HMAC-MD5, bit 5 the messages after the handshake. The
/// messages begin with the cap on their length.
pub fn body(input: &[u8]) {
    let Some((options, says)) = Options::split(input) else {
        return;
    };
    if options.bit(5) {
        if let Some((max, says)) = says.split_first_chunk() {
            messages(options, usize::from(u16::from_be_bytes(*max)), says);
        }
        return;
    }
    let is_server = options.bit(3);
    let mut wire = Wire::new(says, options);
    without_allocating(|| match (is_server, options.bit(4)) {
        (true, true) => server_authenticate_md5(&mut wire, AUTHKEY),
        (true, false) => server_authenticate(&mut wire, AUTHKEY),
        (false, true) => client_authenticate_md5(&mut wire, AUTHKEY),
        (false, false) => client_authenticate(&mut wire, AUTHKEY),
    })
    .expect_err("no success without the authkey");
    assert_written(wire.written(), is_server);
}

/// Asserts that this end sent a challenge and then a failure, a client after its answer to the
/// peer's challenge. It never welcomes the peer.
fn assert_written(mut written: &[u8], is_server: bool) {
    if !is_server {
        match next(&mut written, 256).unwrap() {
            None => return,
            Some(answer) => match answer.len() {
                40 => assert!(answer.starts_with(b"{sha256}")),
                56 => assert!(answer.starts_with(b"{sha384}")),
                len => assert_eq!(len, 16),
            },
        }
    }
    let challenge = next(&mut written, 256).unwrap();
    assert!(
        match challenge {
            None => !is_server,
            Some(challenge) if challenge.len() == 31 => challenge.starts_with(b"#CHALLENGE#"),
            Some(challenge) =>
                challenge.len() == 59 && challenge.starts_with(b"#CHALLENGE#{sha256}"),
        },
        "{challenge:?}"
    );
    match next(&mut written, 256).unwrap() {
        None => {}
        Some(verdict) => assert_eq!(verdict, b"#FAILURE#"),
    }
    assert_eq!(written, b"");
}

fn messages(options: Options, max: usize, mut says: &[u8]) {
    // Memory that does not depend on what arrives: for the start of a message, and for an error and
    // its wrapper.
    const FIXED: u64 = 8192 + 1024;

    let most = FIXED + 4 * u64::try_from(max.min(says.len())).unwrap();
    let knows = knows_authkey();
    let mut connection = Connection::new(Says { says, options }, knows);
    loop {
        let expected = next(&mut says, max);
        let mut received = None;
        let info = measure(|| received = Some(connection.recv_bytes(max)));
        assert!(info.bytes_max <= most, "{} bytes of memory", info.bytes_max);
        match (received.unwrap(), expected) {
            (Ok(Some(received)), Ok(Some(expected))) => assert_eq!(received, expected),
            (Ok(None), Ok(None)) => return,
            (Err(error), Err(expected)) => {
                assert_eq!(error.kind(), expected);
                return;
            }
            (received, expected) => panic!("{received:?} instead of {expected:?}"),
        }
    }
}

/// Returns the next message, framed as in CPython.
fn next<'s>(stream: &mut &'s [u8], max: usize) -> Result<Option<&'s [u8]>, ErrorKind> {
    if stream.is_empty() {
        return Ok(None);
    }
    let (header, rest) = stream.split_first_chunk().ok_or(ErrorKind::UnexpectedEof)?;
    *stream = rest;
    let len = match i32::from_be_bytes(*header) {
        -1 => {
            let (header, rest) = stream.split_first_chunk().ok_or(ErrorKind::UnexpectedEof)?;
            *stream = rest;
            usize::try_from(u64::from_be_bytes(*header)).map_err(|_| ErrorKind::InvalidData)?
        }
        len => usize::try_from(len).map_err(|_| ErrorKind::InvalidData)?,
    };
    if len > max {
        return Err(ErrorKind::InvalidData);
    }
    let (message, rest) = stream
        .split_at_checked(len)
        .ok_or(ErrorKind::UnexpectedEof)?;
    *stream = rest;
    Ok(Some(message))
}

/// Returns the result of a successful handshake. Another client answers the challenge: in this
/// protocol one client can be made to answer for another.
fn knows_authkey() -> KnowsAuthkey {
    client_authenticate(&mut Relay::default(), AUTHKEY).unwrap()
}

/// A listener without the authkey, which relays the challenge to another client.
#[derive(Default)]
struct Relay {
    says: io::Cursor<Vec<u8>>,
    read: bool,
}

impl Relay {
    fn say(&mut self, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap();
        let said = self.says.get_mut();
        said.extend(len.to_be_bytes());
        said.extend(payload);
    }
}

impl io::Read for Relay {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.read {
            self.read = true;
            self.say(b"#CHALLENGE#{sha256}0123456789abcdef");
            self.say(b"#WELCOME#");
        }
        self.says.read(buf)
    }
}

impl io::Write for Relay {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut written = buf;
        let message = next(&mut written, 256).unwrap().unwrap();
        if message.starts_with(b"#CHALLENGE#") {
            let mut asked = Wire::new(buf, Options::split(&[0]).unwrap().0);
            client_authenticate(&mut asked, AUTHKEY).expect_err("it waits for a welcome");
            let answer = next(&mut asked.written(), 256).unwrap().unwrap();
            self.say(answer);
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream with these bytes, in pieces.
struct Says<'a> {
    says: &'a [u8],
    options: Options,
}

impl io::Read for Says<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = buf.len().min(self.options.piece());
        self.says.read(&mut buf[..room])
    }
}

impl io::Write for Says<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("a receiver writes nothing")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
