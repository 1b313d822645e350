//! The recipe's protocol over tokio. [`compat::cookbook`](crate::compat::cookbook) says what it does
//! not prevent.

use ::tokio::io::{AsyncRead, AsyncWrite};

use super::{Timeout, receive, send};
use crate::error::Error;
use crate::wire::cookbook::{Answered, CHALLENGE, DIGEST, KnowsSecret, await_challenge, challenge};

/// [`compat::cookbook::client_authenticate`](crate::compat::cookbook::client_authenticate) with
/// `await`.
///
/// # Errors
///
/// Returns the same errors.
pub async fn client_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<Answered, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let timeout = Timeout::NEVER;
    let (digest, answered) = receive(stream, await_challenge(secret)?, timeout).await?;
    send(stream, DIGEST, &digest, timeout).await?;
    Ok(answered)
}

/// [`compat::cookbook::server_authenticate`](crate::compat::cookbook::server_authenticate) with
/// `await`.
///
/// # Errors
///
/// Returns the same errors.
pub async fn server_authenticate<S>(stream: &mut S, secret: &[u8]) -> Result<KnowsSecret, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let timeout = Timeout::NEVER;
    let (challenge, await_digest) = challenge::<Error>(secret)?;
    send(stream, CHALLENGE, &challenge, timeout).await?;
    receive(stream, await_digest, timeout).await
}
