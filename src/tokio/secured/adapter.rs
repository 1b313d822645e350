//! Blocking code over polls. An `Err` after a `Pending` is that `Pending`, because the code returns
//! the first error it meets.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, Read, Write};

use ::tokio::io::AsyncWrite;

/// Runs code that reads what `poll` reads.
pub(super) fn poll_reading<F, T>(
    poll: F,
    code: impl FnOnce(&mut Reading<F>) -> io::Result<T>,
) -> Poll<io::Result<T>>
where
    F: FnMut(&mut [u8]) -> Poll<io::Result<usize>>,
{
    let mut reading = Reading {
        poll,
        pending: false,
    };
    match code(&mut reading) {
        Err(_) if reading.pending => Poll::Pending,
        done => Poll::Ready(done),
    }
}

/// Runs code that writes to a stream of tokio.
pub(super) fn poll_writing<S, T>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    code: impl FnOnce(&mut Writing<'_, '_, S>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    let mut writing = Writing {
        stream,
        cx,
        pending: false,
    };
    match code(&mut writing) {
        Err(_) if writing.pending => Poll::Pending,
        done => Poll::Ready(done),
    }
}

pub(super) struct Reading<F> {
    poll: F,
    pending: bool,
}

pub(super) struct Writing<'a, 'c, S> {
    stream: Pin<&'a mut S>,
    cx: &'a mut Context<'c>,
    pending: bool,
}

impl<F: FnMut(&mut [u8]) -> Poll<io::Result<usize>>> Read for Reading<F> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = (self.poll)(buf);
        wait(read, &mut self.pending)
    }
}

impl<S: AsyncWrite> Write for Writing<'_, '_, S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.stream.as_mut().poll_write(self.cx, buf);
        wait(written, &mut self.pending)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.stream.as_mut().poll_flush(self.cx);
        wait(flushed, &mut self.pending)
    }
}

fn wait<T>(poll: Poll<io::Result<T>>, pending: &mut bool) -> io::Result<T> {
    match poll {
        Poll::Ready(done) => done,
        Poll::Pending => {
            *pending = true;
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
}
