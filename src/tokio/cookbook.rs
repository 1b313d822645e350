//! The recipe's wire over tokio; [`compat::cookbook`](crate::compat::cookbook) says what it does
//! not stop.

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::{Time, receive, send};
use crate::compat::cookbook::{Answered, AwaitChallenge, AwaitDigest, KnowsSecret};
use crate::error::Error;
use crate::handshake::Flight;

/// [`compat::cookbook::client_authenticate`](crate::compat::cookbook::client_authenticate) with
/// `await`.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// use countersign::tokio::cookbook;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), countersign::Error> {
/// let (mut near, mut far) = tokio::io::duplex(64);
/// let (answered, knows_secret) = tokio::try_join!(
///     cookbook::client_authenticate(&mut near, b"peekaboo"),
///     cookbook::server_authenticate(&mut far, b"peekaboo"),
/// )?;
/// # Ok(())
/// # }
/// ```
pub async fn client_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<Answered, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let time = Time::unlimited();
    let (digest, answered) = receive(stream, AwaitChallenge::new(secret)?, time).await?;
    send(stream, Flight::CompatDigest, &digest, time).await?;
    Ok(answered)
}

/// [`compat::cookbook::server_authenticate`](crate::compat::cookbook::server_authenticate) with
/// `await`.
///
/// # Errors
///
/// Those of the function above.
///
/// ```
/// # use countersign::tokio::cookbook;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut silent = tokio::io::empty();
/// assert!(cookbook::server_authenticate(&mut silent, b"peekaboo").await.is_err());
/// # }
/// ```
pub async fn server_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<KnowsSecret, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let time = Time::unlimited();
    let (challenge, await_digest) = AwaitDigest::start(secret)?;
    send(stream, Flight::CompatChallenge, &challenge, time).await?;
    receive(stream, await_digest, time).await
}
