//! Servers and a proxy on loopback, good ones and hostile ones.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An authority that issues the certificates of a test.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        Self::named("an authority")
    }

    pub fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// TLS of a server with these names, which is valid from one year to another.
    pub fn server(&self, names: &[&str], years: (i32, i32)) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}

/// Valid now and for as long as these tests will be.
pub const VALID: (i32, i32) = (2020, 4000);

/// What a server does with a request.
#[derive(Clone)]
pub enum Say {
    /// These bytes, then an orderly end of TLS.
    Answer(Vec<u8>),
    /// These bytes, then the end of TCP without one of TLS.
    Cut(Vec<u8>),
    /// These bytes, then others again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// These bytes, then one byte after the other, slowly.
    Trickle(Vec<u8>),
    /// Nothing, for as long as the client waits.
    Silence,
}

/// An answer with a length and a body.
pub fn answer(status: u16, headers: &str, body: &[u8]) -> Say {
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    Say::Answer([head.as_bytes(), body].concat())
}

pub fn redirect(location: &str) -> Say {
    answer(302, &format!("Location: {location}\r\n"), b"")
}

#[derive(Clone, Default)]
struct Ends {
    begun: usize,
    ended: usize,
}

/// A server on a free port of loopback.
pub struct Server {
    pub at: SocketAddr,
    /// The heads of all requests, in order.
    pub requests: Arc<Mutex<Vec<String>>>,
    /// Bytes that were handed to TCP, before encryption.
    pub sent: Arc<AtomicUsize>,
    ends: watch::Receiver<Ends>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Speaks TLS and answers each request as `script` says.
    pub async fn start(tls: ServerConfig, script: impl Fn(&str) -> Say + Send + Sync + 'static) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let script = Arc::new(script);
        Self::listen(move |tcp, requests, sent| {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                talk(tls, &*script, &requests, &sent).await;
            }
        })
        .await
    }

    /// Speaks no TLS: does the same with every connection as soon as it is there, or has said something.
    pub async fn plain(say: Say) -> Self {
        Self::listen(move |mut tcp: TcpStream, _, sent| {
            let say = say.clone();
            async move {
                let _ = tcp.read(&mut [0; 4096]).await;
                speak(&mut tcp, &say, &sent).await;
            }
        })
        .await
    }

    /// Ends every connection at once.
    pub async fn closing() -> Self {
        Self::listen(|tcp, _, _| async move { drop(tcp) }).await
    }

    /// A proxy: what is asked for is connected to `target`, if `script` returns nothing to say instead.
    pub async fn proxy(
        target: SocketAddr,
        script: impl Fn(&str) -> Option<Say> + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(script);
        Self::listen(move |mut tcp: TcpStream, requests, sent| {
            let script = script.clone();
            async move {
                let Some(head) = receive(&mut tcp).await else { return };
                requests.lock().unwrap().push(head.clone());
                match script(&head) {
                    Some(say) => speak(&mut tcp, &say, &sent).await,
                    None => {
                        let mut server = TcpStream::connect(target).await.unwrap();
                        tcp.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut tcp, &mut server).await;
                    }
                }
            }
        })
        .await
    }

    async fn listen<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(TcpStream, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicUsize::new(0));
        let (tell, ends) = watch::channel(Ends::default());
        let (heads, bytes, tell) = (requests.clone(), sent.clone(), Arc::new(tell));
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tell.send_modify(|ends| ends.begun += 1);
                let (serving, tell) = (serve(tcp, heads.clone(), bytes.clone()), tell.clone());
                tokio::spawn(async move {
                    serving.await;
                    tell.send_modify(|ends| ends.ended += 1);
                });
            }
        });
        Self { at, requests, sent, ends, task }
    }

    /// Waits until there was a connection and every connection has ended; fails if one is held open.
    pub async fn quiet(&self) {
        let mut ends = self.ends.clone();
        let wait = ends.wait_for(|ends| ends.begun > 0 && ends.begun == ends.ended);
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("a connection was held open")
            .unwrap();
    }

    /// Waits until so many connections have begun.
    pub async fn begun(&self, count: usize) {
        let mut ends = self.ends.clone();
        let wait = ends.wait_for(|ends| ends.begun >= count);
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("nobody connected").unwrap();
    }

    pub fn heads(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    script: &impl Fn(&str) -> Say,
    requests: &Mutex<Vec<String>>,
    sent: &AtomicUsize,
) {
    let Some(head) = receive(&mut stream).await else { return };
    requests.lock().unwrap().push(head.clone());
    speak(&mut stream, &script(&head), sent).await;
}

/// Reads the head of one request; nothing if the client is gone.
async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(bytes).unwrap())
}

async fn speak(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), say: &Say, sent: &AtomicUsize) {
    match say {
        Say::Answer(bytes) => {
            send(stream, bytes, sent).await;
            let _ = stream.shutdown().await;
            drain(stream).await;
        }
        Say::Cut(bytes) => {
            send(stream, bytes, sent).await;
        }
        Say::Endless(start, again) => {
            let mut open = send(stream, start, sent).await;
            while open {
                open = send(stream, again, sent).await;
            }
        }
        Say::Trickle(start) => {
            let mut open = send(stream, start, sent).await;
            let mut pace = tokio::time::interval(Duration::from_millis(10));
            while open {
                pace.tick().await;
                open = send(stream, b" ", sent).await;
            }
        }
        Say::Silence => drain(stream).await,
    }
}

/// Reads until the client is gone.
async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

/// Whether the client still took it.
async fn send(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8], sent: &AtomicUsize) -> bool {
    let taken = stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok();
    if taken {
        sent.fetch_add(bytes.len(), Ordering::Relaxed);
    }
    taken
}
