//! The two things that are asked of the network: what a name stands for, and a connection to an address.
//!
//! Whether an address may be connected to is decided between the two, by `fetch.rs`.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection, whatever it is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Who is asked. Only tests of this crate can name another than the system's.
pub(crate) enum Network {
    /// The system's resolver and TCP.
    System,
    /// Names, addresses and servers of a test. The rule about addresses sees the addresses of the script, the
    /// connections end at servers on loopback.
    #[cfg(test)]
    Scripted(std::sync::Arc<tests::Script>),
}

impl Network {
    /// All addresses of a host, or the host itself if it is one.
    pub(crate) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Scripted(script) => script.look_up(host, port),
        }
    }

    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::System => Ok(Box::new(TcpStream::connect(to).await?)),
            #[cfg(test)]
            Self::Scripted(script) => script.connect(to).await,
        }
    }
}

/// More came on a connection than it may carry.
#[derive(Debug, thiserror::Error)]
#[error("the connection carried more than its bound")]
pub(crate) struct Flood;

/// A connection that breaks once it has carried more than its bound. It counts what the network brings, so
/// that an endless handshake or endless interim answers end as well.
pub(crate) struct Bounded<S> {
    stream: S,
    left: usize,
}

impl<S> Bounded<S> {
    pub(crate) fn new(stream: S, bound: usize) -> Self {
        Self { stream, left: bound }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        match self.left.checked_sub(buf.filled().len() - before) {
            Some(left) => {
                self.left = left;
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(io::Error::other(Flood))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
pub(crate) mod tests;
