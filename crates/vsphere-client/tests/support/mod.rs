//! A TLS server on loopback that answers from a script and keeps a record.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod canned;
pub mod certificates;

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use vsphere_client::{Endpoint, Limits, Target, Trust};

pub const USER_AGENT: &str = "vdo-core/0.1.0";

/// What the server does with one request.
#[derive(Clone)]
pub enum Say {
    /// An answer with this status, extra header lines and body.
    Http(u16, String, String),
    /// Bytes as they are, then the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Nothing,
    /// The head of an answer, then a body that never ends, one byte at a time.
    Drip,
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub head: String,
    pub body: String,
}

#[derive(Default)]
pub struct Record {
    pub connections: usize,
    pub handshakes: usize,
    /// Bytes that arrived inside of TLS.
    pub application_bytes: usize,
    /// Records of application data that arrived on TCP. Exact for TLS 1.2; under 1.3 a handshake's end looks
    /// the same from outside.
    pub application_records: usize,
    pub requests: Vec<Seen>,
    closed: usize,
}

pub struct Server {
    pub port: u16,
    record: Arc<Mutex<Record>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves on a free port of `127.0.0.1`.
    pub async fn start(tls: ServerConfig, script: impl FnMut(&Seen) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Record::default()));
        let changed = Arc::new(Notify::new());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let script = Arc::new(Mutex::new(script));
        let (kept, notify) = (record.clone(), changed.clone());
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                kept.lock().unwrap().connections += 1;
                let (acceptor, script, kept, notify) =
                    (acceptor.clone(), script.clone(), kept.clone(), notify.clone());
                tokio::spawn(async move {
                    serve(tcp, acceptor, script, &kept, &notify).await;
                    kept.lock().unwrap().closed += 1;
                    notify.notify_waiters();
                });
            }
        });
        Self { port, record, changed, task }
    }

    pub fn target(&self, host: &str, trust: Trust) -> Target {
        let limits =
            Limits { connect: Duration::from_secs(5), call: Duration::from_secs(5), ..Limits::default() };
        Target { limits, ..Target::new(Endpoint::new(host, self.port).unwrap(), trust, USER_AGENT) }
    }

    /// Looks at the record once every connection has ended.
    pub async fn quiet<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        self.until(|record| record.closed == record.connections, look).await
    }

    /// Looks at the record once a condition holds.
    pub async fn until<T>(&self, holds: impl Fn(&Record) -> bool, look: impl FnOnce(&Record) -> T) -> T {
        let wait = async {
            loop {
                let change = self.changed.notified();
                if holds(&self.record.lock().unwrap()) {
                    return;
                }
                change.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the server never got there");
        look(&self.record.lock().unwrap())
    }

    /// The methods that were called so far, in order.
    pub fn methods(&self) -> Vec<String> {
        self.record.lock().unwrap().requests.iter().map(|seen| seen.method.clone()).collect()
    }

    pub fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|called| *called == method).count()
    }

    pub fn seen(&self, method: &str) -> Seen {
        let record = self.record.lock().unwrap();
        record.requests.iter().find(|seen| seen.method == method).expect("called").clone()
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    script: Arc<Mutex<impl FnMut(&Seen) -> Say>>,
    record: &Arc<Mutex<Record>>,
    changed: &Notify,
) {
    let tap = Tap { tcp, records: Records::default(), record: record.clone() };
    let Ok(mut tls) = acceptor.accept(tap).await else { return };
    record.lock().unwrap().handshakes += 1;
    changed.notify_waiters();
    while let Some(seen) = receive(&mut tls, record).await {
        record.lock().unwrap().requests.push(seen.clone());
        changed.notify_waiters();
        let say = (script.lock().unwrap())(&seen);
        match say {
            Say::Http(status, head, body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n{head}\r\n{body}");
                if tls.write_all(answer.as_bytes()).await.is_err() || tls.flush().await.is_err() {
                    return;
                }
            }
            Say::Raw(bytes) => {
                let _ = tls.write_all(&bytes).await;
                let _ = tls.shutdown().await;
                return;
            }
            Say::Nothing => {
                // Ends when the client has waited long enough.
                let mut rest = Vec::new();
                let _ = tls.read_to_end(&mut rest).await;
                return;
            }
            Say::Drip => {
                let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
                let mut pace = tokio::time::interval(Duration::from_millis(20));
                loop {
                    pace.tick().await;
                    if tls.write_all(b" ").await.is_err() || tls.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Reads one request; nothing if the client is gone.
async fn receive(stream: &mut (impl AsyncRead + Unpin), record: &Mutex<Record>) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let length: usize = header(&head, "content-length").map_or(0, |value| value.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
                let method =
                    soap_method(&body).unwrap_or_else(|| head.lines().next().unwrap_or_default().to_string());
                return Some(Seen { method, head, body });
            }
        }
        let mut piece = [0; 4096];
        let taken = stream.read(&mut piece).await.unwrap_or(0);
        record.lock().unwrap().application_bytes += taken;
        if taken == 0 {
            return None;
        }
        bytes.extend_from_slice(&piece[..taken]);
    }
}

fn soap_method(body: &str) -> Option<String> {
    let rest = body.split_once("<Body><")?.1;
    Some(rest.split([' ', '>', '/']).next()?.to_string())
}

/// The value of a header, whatever its case.
pub fn header(head: &str, name: &str) -> Option<String> {
    head.lines().skip(1).find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
    })
}

/// A connection that counts the TLS records which arrive on it.
struct Tap {
    tcp: TcpStream,
    records: Records,
    record: Arc<Mutex<Record>>,
}

/// Follows the five-byte heads of TLS records.
#[derive(Default)]
struct Records {
    head: Vec<u8>,
    left: usize,
}

impl Records {
    fn application(&mut self, mut bytes: &[u8]) -> usize {
        let mut found = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            if let [kind, _, _, high, low] = self.head[..] {
                found += usize::from(kind == 23);
                self.left = usize::from(high) << 8 | usize::from(low);
                self.head.clear();
            }
        }
        found
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let found = self.records.application(&buf.filled()[before..]);
        self.record.lock().unwrap().application_records += found;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
