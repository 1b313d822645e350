//! Much data over protected streams.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use countersign::record::Protection;
use countersign::{ReadHalf, WriteHalf};
#[cfg(feature = "tokio")]
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[cfg(feature = "tokio")]
use super::pair::duplex_protected;
use super::pair::{protected, sockets};
use crate::sockets::LONG;
#[cfg(feature = "tokio")]
use crate::support::block_on;

/// A generator of bytes that depend on all before them, and a checksum.
struct Bytes {
    state: u64,
    sum: u64,
}

impl Bytes {
    fn new() -> Self {
        Self { state: 1, sum: 0 }
    }

    /// Fills the buffer with the next bytes. Its length has to be a multiple of eight.
    fn fill(&mut self, buf: &mut [u8]) {
        for word in buf.as_chunks_mut::<8>().0 {
            self.state = (self.state)
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *word = self.state.to_ne_bytes();
        }
        self.add(buf);
    }

    /// Adds bytes to the checksum. Bytes in another order give another sum.
    fn add(&mut self, buf: &[u8]) {
        for word in buf.as_chunks::<8>().0 {
            self.sum = self.sum.rotate_left(5) ^ u64::from_ne_bytes(*word);
        }
    }
}

/// Far more than the buffers on the way can hold, and quick enough without optimisation. The bench
/// `records` does the same with a gigabyte in one direction.
const EACH_WAY: usize = 32 << 20;

/// How much is written and read at a time. Neither is a multiple of a record's payload.
const WRITTEN: usize = 40_000;
const READ: usize = 65_536;

#[test]
fn thirty_two_mebibytes_arrive_unaltered_in_each_direction_at_once() {
    fn send<P: Protection>(mut writer: WriteHalf<TcpStream, P>) -> u64 {
        let mut bytes = Bytes::new();
        let mut buf = vec![0; WRITTEN];
        let mut left = EACH_WAY;
        while left > 0 {
            let piece = left.min(WRITTEN);
            bytes.fill(&mut buf[..piece]);
            writer.write_all(&buf[..piece]).unwrap();
            left -= piece;
        }
        writer.close().unwrap();
        bytes.sum
    }

    fn receive<P: Protection>(mut reader: ReadHalf<TcpStream, P>) -> (usize, u64) {
        let mut bytes = Bytes::new();
        let mut buf = vec![0; READ];
        let mut len = 0;
        loop {
            // Fills the buffer, so that the sum is over the same words as at the sender.
            let mut filled = 0;
            while filled < READ {
                match reader.read(&mut buf[filled..]).unwrap() {
                    0 => break,
                    n => filled += n,
                }
            }
            if filled == 0 {
                return (len, bytes.sum);
            }
            bytes.add(&buf[..filled]);
            len += filled;
        }
    }

    let (near, far) = protected(sockets(), LONG);
    let ((near_reader, near_writer), (far_reader, far_writer)) =
        (near.into_split(), far.into_split());
    thread::scope(|scope| {
        let sent = [near_writer, far_writer].map(|writer| scope.spawn(|| send(writer)));
        let received = [far_reader, near_reader].map(|reader| scope.spawn(|| receive(reader)));
        for (sent, received) in sent.into_iter().zip(received) {
            let sum = sent.join().unwrap();
            assert_eq!(received.join().unwrap(), (EACH_WAY, sum));
        }
    });
}

#[cfg(feature = "tokio")]
#[test]
fn eight_mebibytes_arrive_unaltered_over_tokio() {
    const LEN: usize = 8 << 20;

    block_on(async {
        // Less room than a record needs, so that each record waits for the reader.
        let (mut near, mut far) = duplex_protected(10_000).await;
        let sending = async {
            let mut bytes = Bytes::new();
            let mut buf = vec![0; LEN / 128];
            for _ in 0..128 {
                bytes.fill(&mut buf);
                near.write_all(&buf).await.unwrap();
            }
            near.close().await.unwrap();
            bytes.sum
        };
        let receiving = async {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            received
        };
        let (sum, received) = tokio::join!(sending, receiving);
        let mut bytes = Bytes::new();
        bytes.add(&received);
        assert_eq!((received.len(), bytes.sum), (LEN, sum));
    });
}
