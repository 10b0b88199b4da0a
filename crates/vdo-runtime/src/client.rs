//! The one way to the API server: a client without retries, a deadline on every call, and a record of our
//! own writes that may still be under way.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Uri, header};
use kube::{Client, Config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Notify;
use tower::util::{MapRequestLayer, ThenLayer};

use crate::clock::{Monotonic, monotonic};
use crate::fault::{KubeFault, Retry};
use crate::metrics::Traffic;
use crate::served::Served;
use crate::transport;
use crate::wire::{TokenFile, spelled_out};

/// How long a read may take.
pub const READ_DEADLINE: Duration = Duration::from_secs(10);
/// How long a write may take, for us and for the server. After this nothing of it can come any more, which
/// is what makes the quarantine as short as it is.
pub const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Waits for a call no longer than the deadline.
pub async fn call<T, E: Into<KubeFault>>(
    deadline: Duration,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, KubeFault> {
    match tokio::time::timeout(deadline, future).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(KubeFault::Timeout(deadline)),
    }
}

/// The API server, as one operator sees it. Cheap to clone; all clones share the record of writes.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    record: Arc<Record>,
    served: Arc<Served>,
    traffic: Traffic,
}

/// What is known of our own requests.
#[derive(Default)]
struct Record {
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Default)]
struct State {
    under_way: usize,
    quarantine_until: Option<Monotonic>,
    /// The server asked us to write no more for a while.
    hushed_until: Option<Monotonic>,
    closed: bool,
    answered: Option<Monotonic>,
}

/// Whether objects may be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Licence {
    /// They may.
    Granted,
    /// A request of a predecessor, or one of ours that timed out, may still be under way; or the API server asked us to
    /// slow down.
    Quarantined {
        /// Until then.
        until: Monotonic,
    },
    /// The process is about to end.
    Closing,
}

impl Cluster {
    /// The cluster that KUBECONFIG names, or the one that this pod runs in.
    pub async fn connect(operator: &str, version: &str) -> Result<Self, KubeFault> {
        let config =
            Config::infer().await.map_err(|error| KubeFault::from(kube::Error::InferConfig(error)))?;
        Cluster::with_config(config, operator, version)
    }

    /// The cluster of this configuration. The user agent is `operator/version`.
    pub fn with_config(mut config: Config, operator: &str, version: &str) -> Result<Self, KubeFault> {
        // Another crate may have brought a second provider; the first one installed wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = HeaderValue::from_str(&format!("{operator}/{version}"))
            .map_err(|error| KubeFault::Other { message: error.to_string() })?;
        config.headers.push((header::USER_AGENT, agent));
        // A replayed write could land after the deadline that the quarantine relies on.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(5));
        config.read_timeout = None;
        let token = TokenFile::taken_from(&mut config)?;
        let traffic = traffic()?;
        let client = transport::builder(config)?
            .with_layer(&ThenLayer::new(spelled_out))
            .with_layer(&MapRequestLayer::new(move |request| match &token {
                Some(token) => token.on(request),
                None => request,
            }))
            .with_layer(&traffic)
            .build();
        Ok(Cluster { traffic, ..Cluster::over(client) })
    }

    /// The cluster behind a client that was made elsewhere, as over a transport without sockets. The client
    /// must not retry.
    pub fn over(client: Client) -> Self {
        let traffic = traffic().expect("the names of our metrics are constants");
        Cluster { client, record: Arc::default(), served: Arc::default(), traffic }
    }

    /// What went to the API server and came back.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The client, for typed reads through `kube::Api`; go through [`Cluster::read`].
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What this build knows of our kinds and their CRDs do not, as in `VDOConfig.status.nodes`; as it was when a status
    /// was about to be written, or when it was fetched.
    pub fn lacking(&self) -> BTreeSet<String> {
        self.served.lacking()
    }

    /// The same, not older than a few minutes.
    pub async fn fetch_lacking(&self) -> BTreeSet<String> {
        self.served.fetch(self).await;
        self.served.lacking()
    }

    pub(crate) async fn outdated(&self, kind: &str) -> Option<Value> {
        self.served.outdated(self, kind).await
    }

    /// What is known of our kinds is read anew before the next status is written.
    pub(crate) fn doubt_crds(&self) {
        self.served.doubt();
    }

    /// Waits for a read, no longer than [`READ_DEADLINE`].
    pub async fn read<T>(
        &self,
        future: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, KubeFault> {
        self.noted(call(READ_DEADLINE, future).await)
    }

    /// Sends a request and reads the answer ourselves, so that no library logs a body that it cannot decode.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        deadline: Duration,
        request: Request<Vec<u8>>,
    ) -> Result<T, KubeFault> {
        let text = self.noted(call(deadline, self.client.request_text(request)).await)?;
        serde_json::from_str(&text).map_err(|error| KubeFault::malformed(&error))
    }

    /// Sends a write. If it ends without an answer, or is dropped under way, the quarantine begins anew.
    pub(crate) async fn write<T: DeserializeOwned>(&self, request: Request<Vec<u8>>) -> Result<T, KubeFault> {
        let request = with_server_deadline(request)?;
        let mut mark = UnderWay::new(&self.record);
        let answer = self.send(WRITE_DEADLINE, request).await;
        // A malformed answer is an answer: the write is over.
        mark.open = answer.as_ref().is_err_and(KubeFault::leaves_open);
        // A stage is many writes, and each of them would be one too many.
        if let Err(Retry::After(pause)) = answer.as_ref().map_err(KubeFault::retry) {
            self.record.lock().hushed_until = Some(monotonic() + pause);
        }
        answer
    }

    fn noted<T>(&self, answer: Result<T, KubeFault>) -> Result<T, KubeFault> {
        if answer.as_ref().err().is_none_or(KubeFault::is_answer) {
            self.record.lock().answered = Some(monotonic());
        }
        answer
    }

    /// When the API server last gave any answer.
    pub fn answered(&self) -> Option<Monotonic> {
        self.record.lock().answered
    }

    /// Whether objects may be written now.
    pub fn licence(&self) -> Licence {
        let state = self.record.lock();
        match state.quarantine_until.max(state.hushed_until) {
            _ if state.closed => Licence::Closing,
            Some(until) if until > monotonic() => Licence::Quarantined { until },
            _ => Licence::Granted,
        }
    }

    /// No object is written until every request that may be under way has run out.
    pub fn quarantine(&self) {
        self.record.quarantine();
    }

    /// From now on no object is written; status may still be.
    pub(crate) fn close(&self) {
        self.record.lock().closed = true;
    }

    /// Waits until none of our writes is under way, at most so long. False if one still is, or if one ended
    /// so recently without an answer that it may still be carried out.
    pub(crate) async fn settle(&self, at_most: Duration) -> bool {
        let calm = async {
            loop {
                let settled = self.record.settled.notified();
                if self.record.lock().under_way == 0 {
                    break;
                }
                settled.await;
            }
        };
        tokio::time::timeout(at_most, calm).await.is_ok()
            && self.record.lock().quarantine_until.is_none_or(|until| until <= monotonic())
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn quarantine(&self) {
        self.lock().quarantine_until = Some(monotonic() + WRITE_DEADLINE);
    }
}

/// One write under way. Dropping it before its answer came counts as no answer.
struct UnderWay<'a> {
    record: &'a Record,
    open: bool,
}

impl<'a> UnderWay<'a> {
    fn new(record: &'a Record) -> Self {
        record.lock().under_way += 1;
        UnderWay { record, open: true }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if self.open {
            self.record.quarantine();
        }
        self.record.lock().under_way -= 1;
        self.record.settled.notify_waiters();
    }
}

fn traffic() -> Result<Traffic, KubeFault> {
    Traffic::new().map_err(|error| KubeFault::Other { message: error.to_string() })
}

fn with_server_deadline(mut request: Request<Vec<u8>>) -> Result<Request<Vec<u8>>, KubeFault> {
    let joint = if request.uri().query().is_none_or(str::is_empty) { "?" } else { "&" };
    let path = request.uri().to_string();
    let path = path.trim_end_matches(['?', '&']);
    *request.uri_mut() = format!("{path}{joint}timeout={}s", WRITE_DEADLINE.as_secs())
        .parse::<Uri>()
        .map_err(|error| KubeFault::Other { message: error.to_string() })?;
    Ok(request)
}

/// A request that the client library put together.
pub(crate) fn built(
    request: Result<Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<Request<Vec<u8>>, KubeFault> {
    request.map_err(|error| KubeFault::Other { message: error.to_string() })
}
