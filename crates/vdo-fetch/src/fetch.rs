//! The shell: connects, asks, follows redirects, and stops at every limit.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT,
};
use hyper::http::uri::Authority;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::address::Address;
use crate::allowed::forbidden;
use crate::answer::{Fetched, Known, Next, judge};
use crate::error::{FetchError, Part, Phase, broken, peer_text};
use crate::network::{Bounded, Network, Stream};
use crate::proxy::Proxy;
use crate::tls::Roots;
use crate::trust::Pin;

/// Bound on status line and headers; servers send one or two KiB.
const HEAD: usize = 16 << 10;
/// Bound on the number of headers.
const HEADERS: usize = 100;
/// What a connection may carry besides the document: handshake, heads, what chunks and TLS add.
const AROUND: usize = 256 << 10;
/// How many addresses of a name are tried.
const TRIED: usize = 4;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("vdo-fetch/", env!("CARGO_PKG_VERSION")));

/// Whom to believe, which way to go, and how far.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The authorities that servers are verified by.
    pub roots: Roots,
    /// The way out, if there is no direct one.
    pub proxy: Option<Proxy>,
    /// How long and how much.
    pub limits: Limits,
}

/// How long we wait and how much we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bound on the bytes of the document. A connection carries at most twice that and 256 KiB.
    pub body: usize,
    /// Deadline for one connection: name, TCP, proxy and TLS together.
    pub connect: Duration,
    /// Deadline for everything. Nothing that a server does moves it.
    pub total: Duration,
    /// How many redirects are followed.
    pub redirects: usize,
}

impl Default for Limits {
    /// 1 MiB, 10 seconds to connect, 30 seconds in all, 3 redirects.
    fn default() -> Self {
        Self { body: 1 << 20, connect: Duration::from_secs(10), total: Duration::from_secs(30), redirects: 3 }
    }
}

/// What one server said.
enum Hop {
    Done(Fetched),
    Elsewhere(Address),
}

/// Fetches documents. Keeps no connection and no state between two fetches.
pub struct Fetcher {
    tls: TlsConnector,
    proxy: Option<Proxy>,
    limits: Limits,
    network: Network,
}

impl Fetcher {
    /// Connects to nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self::over(Network::System, settings)
    }

    fn over(network: Network, settings: Settings) -> Self {
        let Settings { roots, proxy, limits } = settings;
        Self { tls: roots.connector(), proxy, limits, network }
    }

    /// Fetches the document of an address, or learns that it is still the one whose marks are known.
    ///
    /// Dropping the future ends the fetch and its connection.
    pub async fn fetch(&self, address: &Address, known: &Known) -> Result<Fetched, FetchError> {
        let after = self.limits.total;
        let late = |_| FetchError::TimedOut { at: address.to_string(), phase: Phase::All, after };
        timeout(after, self.fetch_along(address, known)).await.map_err(late)?
    }

    async fn fetch_along(&self, address: &Address, known: &Known) -> Result<Fetched, FetchError> {
        let limit = self.limits.redirects;
        let mut at = address.clone();
        for _ in 0..limit {
            match self.fetch_once(&at, known).await? {
                Hop::Done(fetched) => return Ok(fetched),
                Hop::Elsewhere(address) => at = address,
            }
        }
        match self.fetch_once(&at, known).await? {
            Hop::Done(fetched) => Ok(fetched),
            Hop::Elsewhere(_) => Err(FetchError::TooManyRedirects { at: at.to_string(), limit }),
        }
    }

    /// Asks one server.
    async fn fetch_once(&self, at: &Address, known: &Known) -> Result<Hop, FetchError> {
        // Ends with this function, and with it everything that was started for this connection.
        let mut tasks = JoinSet::new();
        let after = self.limits.connect;
        let late = |_| FetchError::TimedOut { at: at.to_string(), phase: Phase::Connect, after };
        let stream = timeout(after, self.connect(at, &mut tasks)).await.map_err(late)??;
        let response = exchange(stream, request(at, known), &mut tasks).await;
        let (head, body) = response.map_err(|error| self.broken(at.to_string(), &error))?.into_parts();
        match judge(at, &head, known, self.limits.body)? {
            Next::Follow(elsewhere) => Ok(Hop::Elsewhere(elsewhere)),
            Next::Keep => Ok(Hop::Done(Fetched::Unchanged)),
            Next::Read(known) => {
                let bytes = self.read(at, body).await?;
                let sha256 = Pin::of(&bytes);
                Ok(Hop::Done(Fetched::Document { bytes, known, sha256 }))
            }
        }
    }

    /// Reads a document, and not a byte more than it may have.
    async fn read(&self, at: &Address, mut body: Incoming) -> Result<Vec<u8>, FetchError> {
        let limit = self.limits.body;
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken(at.to_string(), &error))?;
            // Trailers say nothing to us.
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > limit - bytes.len() {
                return Err(FetchError::TooLarge { at: at.to_string(), part: Part::Body, limit });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// A connection to the server of an address, which has proven who it is.
    async fn connect(
        &self,
        at: &Address,
        tasks: &mut JoinSet<()>,
    ) -> Result<TlsStream<Box<dyn Stream>>, FetchError> {
        let stream = match self.proxy.as_ref().filter(|proxy| proxy.serves(at)) {
            None => self.dial(at).await?,
            Some(proxy) => self.tunnel(proxy, at, tasks).await?,
        };
        let connected = self.tls.connect(at.server(), stream).await;
        connected.map_err(|error| self.broken(at.to_string(), &error))
    }

    /// Looks a host up once, judges what was found, and connects to that and to nothing else.
    async fn dial(&self, at: &Address) -> Result<Box<dyn Stream>, FetchError> {
        let found = self.look_up(at.to_string(), &at.host(), at.port()).await?;
        // One that is not allowed spoils them all: whoever answers for the name is not to be believed.
        let refused = found.iter().find_map(|address| Some((address.ip(), forbidden(address.ip())?)));
        match refused {
            Some((address, why)) => Err(FetchError::AddressNotAllowed { at: at.to_string(), address, why }),
            None => self.connect_to_one(at.to_string(), &found).await,
        }
    }

    /// A way through the proxy. Where the proxy itself is may be any address: the administrator named it.
    async fn tunnel(
        &self,
        proxy: &Proxy,
        at: &Address,
        tasks: &mut JoinSet<()>,
    ) -> Result<Box<dyn Stream>, FetchError> {
        let found = self.look_up(proxy.to_string(), proxy.host(), proxy.port()).await?;
        let stream = self.connect_to_one(proxy.to_string(), &found).await?;
        let response = exchange(stream, connect_request(proxy, at), tasks).await;
        let response = response.map_err(|error| self.broken(proxy.to_string(), &error))?;
        let status = response.status();
        if !status.is_success() {
            let (at, proxy) = (at.to_string(), proxy.to_string());
            return Err(FetchError::ProxyRefused { at, proxy, status: status.as_u16() });
        }
        let through = hyper::upgrade::on(response).await;
        let through = through.map_err(|error| self.broken(proxy.to_string(), &error))?;
        Ok(Box::new(TokioIo::new(through)))
    }

    async fn look_up(&self, at: String, host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        match self.network.look_up(host, port).await {
            Ok(found) if found.is_empty() => {
                Err(FetchError::NameNotResolved { at, why: "it has no address".to_owned() })
            }
            Ok(found) => Ok(found),
            Err(error) => Err(FetchError::NameNotResolved { at, why: peer_text(&error.to_string()) }),
        }
    }

    /// Tries addresses in turn, each for its share of the time.
    async fn connect_to_one(&self, at: String, found: &[SocketAddr]) -> Result<Box<dyn Stream>, FetchError> {
        let after = self.limits.connect;
        let tried = &found[..found.len().min(TRIED)];
        let share = after / u32::try_from(tried.len()).unwrap_or(1).max(1);
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for address in tried {
            match timeout(share, self.network.connect(*address)).await {
                Ok(Ok(stream)) => return Ok(Box::new(Bounded::new(stream, self.connection()))),
                Ok(Err(error)) => last = error,
                Err(_) => last = io::Error::from(io::ErrorKind::TimedOut),
            }
        }
        if last.kind() == io::ErrorKind::TimedOut {
            return Err(FetchError::TimedOut { at, phase: Phase::Connect, after });
        }
        Err(FetchError::Unreachable { at, why: peer_text(&last.to_string()) })
    }

    /// Bound on what one connection carries.
    fn connection(&self) -> usize {
        self.limits.body.saturating_mul(2).saturating_add(AROUND)
    }

    fn broken(&self, at: String, error: &(dyn std::error::Error + 'static)) -> FetchError {
        broken(at, error, HEAD, self.connection())
    }
}

/// Sends one request and reads the head of its answer. A task moves the bytes, and lives as long as `tasks`.
async fn exchange(
    stream: impl Stream + 'static,
    request: Request<Empty<Bytes>>,
    tasks: &mut JoinSet<()>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD)
        .max_header_size(HEAD)
        .max_headers(HEADERS)
        .handshake(TokioIo::new(stream))
        .await?;
    tasks.spawn(async move {
        // What breaks here is told to whoever waits for the answer.
        let _ = connection.with_upgrades().await;
    });
    sender.send_request(request).await
}

fn request(at: &Address, known: &Known) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = Uri::from(at.target());
    let host = HeaderValue::from_str(at.authority()).expect("a judged host is ASCII");
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.extend(known.conditions());
    request
}

fn connect_request(proxy: &Proxy, at: &Address) -> Request<Empty<Bytes>> {
    let to = at.host_and_port();
    let host = HeaderValue::from_str(&to).expect("a judged host is ASCII");
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() =
        Uri::from(Authority::try_from(to).expect("a judged host and its port are an authority"));
    let headers = request.headers_mut();
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, AGENT);
    if let Some(authorization) = proxy.authorization() {
        let mut value = HeaderValue::from_str(authorization).expect("base64 is ASCII");
        value.set_sensitive(true);
        headers.insert(PROXY_AUTHORIZATION, value);
    }
    request
}

#[cfg(test)]
mod tests;
