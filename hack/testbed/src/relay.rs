//! Ways into a bed for callers outside: a port on the host's loopback leads to a socket in the bed's folder, which
//! leads to a port inside. A path is the one thing that two network namespaces share.

use std::future::Future;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Socket of a relay, below the bed's folder.
fn socket(name: &str) -> PathBuf {
    PathBuf::from("relay").join(format!("{name}.sock"))
}

/// Inside the bed, whose folder is the current one: connections to the socket go on to `target`.
pub fn serve_socket(name: &str, target: String) -> Result<()> {
    let listener =
        UnixListener::bind(socket(name)).with_context(|| format!("failed to bind the relay {name}"))?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => join(stream, TcpStream::connect(target.clone())),
                Err(error) => eprintln!("relay: {error}"),
            }
        }
    });
    Ok(())
}

/// Outside, with the bed's folder as the current one: a port on loopback leads to the socket. Returns the port.
pub async fn serve_port(name: &str) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to bind a port for a relay")?;
    let port = listener.local_addr()?.port();
    let socket = socket(name);
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => join(stream, UnixStream::connect(socket.clone())),
                Err(error) => eprintln!("relay: {error}"),
            }
        }
    });
    Ok(port)
}

fn join<A, B>(mut near: A, far: impl Future<Output = std::io::Result<B>> + Send + 'static)
where
    A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        match far.await {
            // An end that goes away ends both; that is no news.
            Ok(mut far) => drop(copy_bidirectional(&mut near, &mut far).await),
            Err(error) => eprintln!("relay: {error}"),
        }
    });
}
