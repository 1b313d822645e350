//! What the messages of a mode exchange beside nonces and proofs: nothing, or key shares.

use rand::TryCryptoRng;

use super::message::NONCE_LEN;
#[cfg(feature = "encrypt")]
use crate::exchange::{PrivateKey, SHARE_LEN, Shared};
use crate::random::NoRandomness;
#[cfg(feature = "encrypt")]
use crate::random::random;

/// The key exchange of a mode. The client's share has the place of its nonce in F2, and the server's
/// stands in F3 between the verdict and the proof.
pub trait Exchange: Sized + Send + Sync {
    /// The size of the server's share, in bytes.
    const SHARE_LEN: usize;

    /// The server's share.
    type Share: AsRef<[u8]> + Default;

    /// What both ends hold after the exchange.
    type Agreed;

    /// Returns what the client keeps, and what it sends in the place of its nonce.
    fn client(random: [u8; NONCE_LEN]) -> (Self, [u8; NONCE_LEN]);

    /// Returns what the client agrees on with the server's share, or `None` if that is all zeros.
    fn agree(self, share: &[u8]) -> Option<Self::Agreed>;

    /// Returns what the server sends, and what it agrees on with what the client sent in the place of
    /// its nonce: `None` if that is all zeros.
    fn server<R>(
        nonce: &[u8; NONCE_LEN],
        rng: &mut R,
    ) -> Result<(Self::Share, Option<Self::Agreed>), NoRandomness>
    where
        R: TryCryptoRng + ?Sized;
}

/// Of modes 0 and 1: the client's nonce is a nonce.
#[derive(Debug)]
pub struct NoExchange;

impl Exchange for NoExchange {
    const SHARE_LEN: usize = 0;
    type Share = [u8; 0];
    type Agreed = ();

    #[inline]
    fn client(random: [u8; NONCE_LEN]) -> (Self, [u8; NONCE_LEN]) {
        (Self, random)
    }

    #[inline]
    fn agree(self, _: &[u8]) -> Option<()> {
        Some(())
    }

    #[inline]
    fn server<R>(
        _: &[u8; NONCE_LEN],
        _: &mut R,
    ) -> Result<(Self::Share, Option<Self::Agreed>), NoRandomness>
    where
        R: TryCryptoRng + ?Sized,
    {
        Ok(([], Some(())))
    }
}

/// Of mode 2: X25519.
#[cfg(feature = "encrypt")]
pub struct KeyExchange(PrivateKey);

#[cfg(feature = "encrypt")]
impl Exchange for KeyExchange {
    const SHARE_LEN: usize = SHARE_LEN;
    type Share = [u8; SHARE_LEN];
    type Agreed = Shared;

    fn client(mut random: [u8; NONCE_LEN]) -> (Self, [u8; NONCE_LEN]) {
        let key = PrivateKey::take(&mut random);
        let share = key.share();
        (Self(key), share)
    }

    fn agree(self, share: &[u8]) -> Option<Shared> {
        let Self(key) = self;
        key.agree(*share.first_chunk()?)
    }

    fn server<R>(
        nonce: &[u8; NONCE_LEN],
        rng: &mut R,
    ) -> Result<(Self::Share, Option<Self::Agreed>), NoRandomness>
    where
        R: TryCryptoRng + ?Sized,
    {
        let key = PrivateKey::take(&mut random(rng)?);
        Ok((key.share(), key.agree(*nonce)))
    }
}

#[cfg(feature = "encrypt")]
opaque_debug!(KeyExchange {});
