//! Random number generators whose output a test knows, and one that fails.

use std::convert::Infallible;
use std::fmt;

use rand::{TryCryptoRng, TryRng};

/// A generator of known nonces. Each nonce has 1 added to every byte of the one before.
#[derive(Clone, Debug)]
pub struct Draws {
    first: [u8; 32],
    /// How many nonces were taken.
    pub count: usize,
}

impl Draws {
    /// Begins with the nonce that repeats this byte.
    pub fn from(byte: u8) -> Self {
        Self::of([byte; 32])
    }

    /// Begins with this nonce.
    pub fn of(first: [u8; 32]) -> Self {
        Self { first, count: 0 }
    }
}

impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a nonce is taken in one piece")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a nonce is taken in one piece")
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        let count = u8::try_from(self.count).unwrap();
        dst.copy_from_slice(&self.first.map(|byte| byte.wrapping_add(count)));
        self.count += 1;
        Ok(())
    }
}

impl TryCryptoRng for Draws {}

/// A generator that fails, as the operating system's may.
#[derive(Debug)]
pub struct NoEntropy;

impl TryRng for NoEntropy {
    type Error = fmt::Error;

    fn try_next_u32(&mut self) -> Result<u32, fmt::Error> {
        Err(fmt::Error)
    }

    fn try_next_u64(&mut self) -> Result<u64, fmt::Error> {
        Err(fmt::Error)
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), fmt::Error> {
        dst.fill(0x55);
        Err(fmt::Error)
    }
}

impl TryCryptoRng for NoEntropy {}
