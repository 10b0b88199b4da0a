use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Names and servers that exist for one test.
#[derive(Default)]
pub(crate) struct Script {
    /// What a name stands for, one answer for each time that it is asked about; the last one stays.
    names: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    /// Where on loopback a connection to an address ends.
    servers: HashMap<SocketAddr, SocketAddr>,
    /// Every name that was asked about, and every address that was connected to, in order.
    pub(crate) asked: Mutex<Vec<String>>,
    pub(crate) connected: Mutex<Vec<SocketAddr>>,
    /// Bytes that the code under test has taken from all connections.
    pub(crate) taken: Arc<AtomicUsize>,
}

impl Script {
    /// Another answer to the question about a name.
    pub(crate) fn with_name(mut self, name: &str, addresses: &[&str]) -> Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.names.get_mut().unwrap().entry(name.to_owned()).or_default().push_back(addresses);
        self
    }

    /// A server at an address.
    pub(crate) fn with_server(mut self, address: &str, server: SocketAddr) -> Self {
        self.servers.insert(address.parse().unwrap(), server);
        self
    }

    pub(crate) fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut names = self.names.lock().unwrap();
        let answers = names.get_mut(host).ok_or_else(|| io::Error::other("no such\tname"))?;
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Ok(answer.unwrap().into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    pub(crate) async fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Stream>> {
        self.connected.lock().unwrap().push(to);
        let server = *self.servers.get(&to).ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(Counted { stream: TcpStream::connect(server).await?, taken: self.taken.clone() }))
    }
}

/// A connection that counts what is taken from it.
struct Counted {
    stream: TcpStream,
    taken: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.taken.fetch_add(buf.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
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

#[tokio::test]
async fn the_system_connects_to_what_it_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let found = Network::System.look_up("127.0.0.1", here.port()).await.unwrap();
    assert_eq!(found, [here]);
    let mut stream = Network::System.connect(found[0]).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    stream.write_all(b"to").await.unwrap();
    server.write_all(b"fro").await.unwrap();
    let (mut to, mut fro) = ([0; 2], [0; 3]);
    server.read_exact(&mut to).await.unwrap();
    stream.read_exact(&mut fro).await.unwrap();
    assert_eq!((&to, &fro), (b"to", b"fro"));
}

#[tokio::test]
async fn a_connection_carries_its_bound_and_not_a_byte_more() {
    let (mut server, client) = tokio::io::duplex(64);
    let mut client = Bounded::new(client, 5);
    server.write_all(b"12345").await.unwrap();
    let mut five = [0; 5];
    client.read_exact(&mut five).await.unwrap();
    assert_eq!(&five, b"12345");
    server.write_all(b"6").await.unwrap();
    let error = client.read_u8().await.unwrap_err();
    assert!(error.get_ref().is_some_and(|inner| inner.is::<Flood>()), "{error:?}");
}

#[tokio::test]
async fn a_connection_within_its_bound_may_end() {
    let (server, client) = tokio::io::duplex(64);
    drop(server);
    let mut rest = Vec::new();
    Bounded::new(client, 0).read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}
