//! Random bytes, or an error.

use core::fmt;

use rand::TryCryptoRng;

/// The generator failed. Nothing was sent that depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRandomness;

impl core::error::Error for NoRandomness {}

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random number generator failed; this process can authenticate nobody")
    }
}

/// Returns `N` bytes that are unpredictable, and not only unique.
pub(crate) fn random<const N: usize, R>(rng: &mut R) -> Result<[u8; N], NoRandomness>
where
    R: TryCryptoRng + ?Sized,
{
    let mut bytes = [0; N];
    fill(rng, &mut bytes)?;
    Ok(bytes)
}

/// Like [`random`], in place, so that no copy of a secret is left behind.
pub(crate) fn fill<R>(rng: &mut R, bytes: &mut [u8]) -> Result<(), NoRandomness>
where
    R: TryCryptoRng + ?Sized,
{
    rng.try_fill_bytes(bytes).map_err(|_| NoRandomness)
}
