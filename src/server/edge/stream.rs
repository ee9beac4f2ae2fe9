//! The two layers around TLS. Under it [`Bounded`]: a TCP stream that gives up on a peer that takes nothing or sends too
//! much, and leaves nothing in the kernel when it ends out of order. Over it [`Replay`]: bytes that were read ahead, then the
//! rest.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

use super::Stats;

pub struct Bounded {
    tcp: TcpStream,
    stats: Arc<Stats>,
    write_stall: Duration,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What the peer may still send; no bound if `None`.
    allowance: Option<u64>,
    /// We have said all we had to say.
    finished: bool,
}

impl Bounded {
    pub fn new(tcp: TcpStream, write_stall: Duration, stats: Arc<Stats>) -> Self {
        Self { tcp, stats, write_stall, stalled: None, allowance: None, finished: false }
    }

    pub fn allow(&mut self, bytes: u64) {
        self.allowance = Some(bytes);
    }

    /// Passes on what a write came to; one that does not come to anything for `write_stall` has failed.
    fn progress(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_stall)));
        ready!(stalled.as_mut().poll(cx));
        self.stats.write_stalls.add(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        match self.allowance.map(|left| left.checked_sub(read)) {
            Some(None) => {
                self.stats.over_allowance.add(1);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::QuotaExceeded, "the peer sent more than a stranger may")))
            }
            left => {
                self.allowance = left.flatten();
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.finished = true;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Drop for Bounded {
    /// A stream cut short is reset: closed in the usual way, what the peer never took would stay in the kernel for minutes.
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.tcp.set_zero_linger(); // fails only on a socket that is gone, which is as good
        }
    }
}

/// `head`, then what `rest` reads.
pub struct Replay<T> {
    head: Bytes,
    rest: T,
}

impl<T> Replay<T> {
    pub fn new(head: Bytes, rest: T) -> Self {
        Self { head, rest }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Replay<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.rest).poll_read(cx, buf);
        }
        let fits = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replay<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.rest).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.rest.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.rest).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn replay_gives_the_head_then_the_rest_at_every_split() {
        for split in 0..=6 {
            for size in 1..=7 {
                let (head, rest) = b"abcdef".split_at(split);
                let mut replay = Replay::new(Bytes::from_static(head), rest);
                let (mut all, mut piece) = (vec![], vec![0; size]);
                loop {
                    match replay.read(&mut piece).await.unwrap() {
                        0 => break,
                        n => all.extend_from_slice(&piece[..n]),
                    }
                }
                assert_eq!(all, b"abcdef", "split {split}, reads of {size}");
            }
        }
    }
}
