//! A small server, a proxy in front of it, and a client with one connection.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use testbed::faultproxy::{FaultProxy, Kind, Outcome, Record, Rule, Settings, Verb};
use testbed::pki::Authority;
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub const SOON: Duration = Duration::from_secs(30);
pub const TOKEN: &str = "Bearer a-token-that-nobody-may-see";
pub const PASSWORD: &str = "a-password-that-nobody-may-see";
pub const MAPS: &str = "/api/v1/namespaces/vdo/configmaps";
pub const WATCH: &str = "/api/v1/namespaces/vdo/configmaps?watch=1&resourceVersion=1";
pub const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/vdo/leases/vdo-core";

/// A request as the server saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub method: Method,
    pub path: String,
    pub authorization: String,
}

/// As much of an API server as a proxy can tell from one.
pub struct Upstream {
    pub address: SocketAddr,
    pub inner: Arc<Inner>,
}

#[derive(Default)]
pub struct Inner {
    pub seen: Mutex<Vec<Seen>>,
    pub version: AtomicU64,
    pub watchers: Mutex<Vec<tokio::sync::mpsc::UnboundedSender<Bytes>>>,
}

type Answered = Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible>;

impl Upstream {
    pub fn start(folder: &Path) -> Upstream {
        let certificate = CertificateDer::from_pem_file(folder.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner::default());
        let shared = inner.clone();
        thread::spawn(move || {
            runtime().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, inner) = (acceptor.clone(), shared.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let service = hyper::service::service_fn(|request| answer(inner.clone(), request));
                        let connection = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service);
                        connection.await.ok();
                    });
                }
            });
        });
        Upstream { address, inner }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// How many requests with this method it saw.
    pub fn saw(&self, method: Method) -> usize {
        self.seen().iter().filter(|seen| seen.method == method).count()
    }

    pub fn send(&self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.inner.watchers.lock().unwrap().retain(|watcher| watcher.send(bytes.clone()).is_ok());
    }

    pub fn event(&self, kind: &str, name: &str) {
        self.send(event(kind, name) + "\n");
    }

    pub fn end_watches(&self) {
        self.inner.watchers.lock().unwrap().clear();
    }
}

pub fn event(kind: &str, name: &str) -> String {
    json!({"type": kind, "object": {"kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "vdo", "resourceVersion": "7"}}})
    .to_string()
}

pub async fn answer(inner: Arc<Inner>, request: hyper::Request<Incoming>) -> Answered {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    inner.seen.lock().unwrap().push(Seen {
        method: parts.method.clone(),
        path: parts.uri.to_string(),
        authorization: authorization.unwrap_or_default(),
    });
    let response = Response::builder().header("content-type", "application/json");
    if parts.uri.query().is_some_and(|query| query.contains("watch=")) {
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
        inner.watchers.lock().unwrap().push(sender);
        let lines = futures::stream::poll_fn(move |context| lines.poll_recv(context));
        let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync();
        return Ok(response.body(body).unwrap());
    }
    let text = if parts.method == Method::GET && parts.uri.path().contains("/secrets/") {
        json!({"kind": "Secret", "data": {"password": PASSWORD}}).to_string().into()
    } else if parts.method == Method::GET {
        let version = inner.version.load(Ordering::SeqCst).to_string();
        let list = json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {"resourceVersion": version},
            "items": []});
        list.to_string().into()
    } else {
        inner.version.fetch_add(1, Ordering::SeqCst);
        body
    };
    let status = if parts.method == Method::POST { 201 } else { 200 };
    Ok(response.status(status).body(Full::new(text).boxed_unsync()).unwrap())
}

/// A server, a proxy in front of it, and a folder.
pub struct Place {
    pub folder: PathBuf,
    pub upstream: Upstream,
    pub proxy: FaultProxy,
}

impl Place {
    pub fn new(name: &str, rules: Vec<Rule>) -> Place {
        Place::with(name, |settings| settings.rules = rules)
    }

    pub fn with(name: &str, change: impl FnOnce(&mut Settings)) -> Place {
        let folder = std::env::temp_dir().join(format!("faultproxy-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let authority = Authority::new("an authority").unwrap();
        std::fs::write(folder.join("ca.crt"), &authority.pem).unwrap();
        for server in ["server", "proxy"] {
            let pair = authority.sign(server, None, &["127.0.0.1".to_owned()]).unwrap();
            std::fs::write(folder.join(format!("{server}.crt")), pair.certificate).unwrap();
            std::fs::write(folder.join(format!("{server}.key")), pair.key).unwrap();
        }
        let upstream = Upstream::start(&folder);
        let mut settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            upstream: upstream.address.to_string(),
            authority: folder.join("ca.crt"),
            certificate: folder.join("proxy.crt"),
            key: folder.join("proxy.key"),
            rules: Vec::new(),
            log: Some(folder.join("log")),
            kill: None,
        };
        change(&mut settings);
        Place { proxy: FaultProxy::start(settings).unwrap(), folder, upstream }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.proxy.address(), &self.folder.join("ca.crt")).unwrap()
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, path: &str) -> Result<Answer, Broken> {
        self.client().send(method, path)
    }

    /// A request that is under way while the test goes on.
    pub fn sending(
        &self,
        method: &'static str,
        path: &'static str,
    ) -> thread::JoinHandle<Result<Answer, Broken>> {
        let mut client = self.client();
        thread::spawn(move || client.send(method, path))
    }

    pub fn watch(&self) -> Watch {
        let watch = Watch::open(self.client());
        // The server must know of it before the test sends events.
        testbed::wait::eventually(SOON, "the server has a watch", || {
            if self.upstream.inner.watchers.lock().unwrap().is_empty() { Err("none") } else { Ok(()) }
        });
        watch
    }

    /// The records with this verb.
    pub fn records(&self, verb: Verb) -> Vec<Record> {
        self.proxy.records().into_iter().filter(|record| record.request.verb == verb).collect()
    }

    /// A rule that holds nothing back any more, and the end of its request.
    pub fn outcome_of_write(&self, number: u64) -> Record {
        let it = |record: &&Record| record.number == Some(number) && record.request.kind == Kind::Write;
        self.proxy.wait_for(SOON, &format!("write {number} ends"), |records| {
            records.iter().find(it).filter(|record| record.outcome != Outcome::Open).cloned()
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// One connection.
pub struct Client {
    pub runtime: Runtime,
    pub sender: SendRequest<Full<Bytes>>,
    pub protocol: Option<Vec<u8>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// There was no answer, or not the whole of it.
#[derive(Debug)]
pub struct Broken {
    /// The connection was reset, not only closed.
    pub reset: bool,
}

impl Client {
    pub fn connect(address: SocketAddr, ca: &Path) -> std::io::Result<Client> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let runtime = runtime();
        let (sender, protocol) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(address).await?;
            let name = ServerName::from(address.ip());
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            Ok::<_, std::io::Error>((sender, protocol))
        })?;
        Ok(Client { runtime, sender, protocol })
    }

    pub fn send(&mut self, method: &str, path: &str) -> Result<Answer, Broken> {
        let request = request(method, path);
        let sent = self.sender.send_request(request);
        let answer = async {
            let (head, body) = sent.await.map_err(broken)?.into_parts();
            let body = body.collect().await.map_err(broken)?.to_bytes();
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        let answer = self.runtime.block_on(async { tokio::time::timeout(SOON, answer).await });
        answer.expect("nothing answers and nothing closes the connection")
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub fn request(method: &str, path: &str) -> hyper::Request<Full<Bytes>> {
    let body = match method {
        "GET" | "DELETE" => String::new(),
        _ => json!({"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"password": PASSWORD}})
            .to_string(),
    };
    let kind = if method == "PATCH" { "application/apply-patch+yaml" } else { "application/json" };
    hyper::Request::builder()
        .method(method)
        .uri(path)
        .header("host", "the-api-server")
        .header("authorization", TOKEN)
        .header("user-agent", "vdo-core/1.2.3")
        .header("content-type", kind)
        .body(Full::new(body.into()))
        .unwrap()
}

pub fn broken(fault: hyper::Error) -> Broken {
    let causes = std::iter::successors(Some(&fault as &dyn std::error::Error), |fault| fault.source());
    let reset = causes
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::ConnectionReset);
    Broken { reset }
}

/// An open watch, read by a thread of its own.
pub struct Watch {
    pub lines: mpsc::Receiver<Arrived>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// Type and name of an event.
    Event(String, String),
    /// It ended as a watch ends.
    End,
    /// It broke off.
    Broke,
}

impl Watch {
    pub fn open(mut client: Client) -> Watch {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let sent = client.sender.send_request(request("GET", WATCH));
            client.runtime.block_on(async {
                let Ok(answer) = sent.await else {
                    return sender.send(Arrived::Broke).ok();
                };
                let mut body = answer.into_body();
                let mut begun = Vec::new();
                loop {
                    match body.frame().await {
                        Some(Ok(frame)) => begun.extend(frame.into_data().unwrap()),
                        Some(Err(_)) => return sender.send(Arrived::Broke).ok(),
                        None => return sender.send(Arrived::End).ok(),
                    }
                    while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                        let line: Value =
                            serde_json::from_slice(&begun.drain(..=end).collect::<Vec<_>>()).unwrap();
                        let text = |pointer: &str| {
                            line.pointer(pointer)
                                .map_or(String::new(), |value| value.to_string().replace('"', ""))
                        };
                        let name = match text("/object/metadata/name") {
                            none if none.is_empty() => text("/object/code"),
                            name => name,
                        };
                        if sender.send(Arrived::Event(text("/type"), name)).is_err() {
                            return None;
                        }
                    }
                }
            })
        });
        Watch { lines }
    }

    #[track_caller]
    pub fn next(&self) -> Arrived {
        self.lines.recv_timeout(SOON).expect("nothing arrives")
    }

    /// Names of the next events.
    #[track_caller]
    pub fn names<const COUNT: usize>(&self) -> [String; COUNT] {
        std::array::from_fn(|_| match self.next() {
            Arrived::Event(_, name) => name,
            other => panic!("no event but {other:?}"),
        })
    }

    pub fn is_quiet(&self) -> bool {
        matches!(self.lines.try_recv(), Err(mpsc::TryRecvError::Empty))
    }
}
