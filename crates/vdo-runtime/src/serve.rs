//! The probes and the metrics, over plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::client::Cluster;
use crate::clock::{Monotonic, monotonic};
use crate::metrics::Metrics;
use crate::run::PassError;
use crate::watch::{Pulses, lock};

/// A watch that is silent for so long while the API server answers is dead.
const WATCH_SILENCE: Duration = Duration::from_secs(600);
/// A pass that was due for so long and did not end hangs.
const PASS_SILENCE: Duration = Duration::from_secs(300);
/// The API server answers if it did so within this time; the Lease alone asks it more often.
const ANSWERS: Duration = Duration::from_secs(30);
/// How many connections are served at once.
const CONNECTIONS: usize = 32;

/// Whether this process still does its work.
#[derive(Clone)]
pub struct Health {
    cluster: Cluster,
    pulses: Pulses,
    metrics: Metrics,
    /// Whether they are served too.
    shows_metrics: bool,
    due_since: Arc<Mutex<Option<Monotonic>>>,
}

impl Health {
    /// The health of a process that has begun nothing yet.
    pub fn new(cluster: &Cluster, pulses: Pulses, metrics: Metrics, shows_metrics: bool) -> Self {
        Health { cluster: cluster.clone(), pulses, metrics, shows_metrics, due_since: Arc::default() }
    }

    pub(crate) fn set_leading(&self, leading: bool) {
        self.metrics.leading.set(f64::from(u8::from(leading)));
    }

    pub(crate) fn pass_begins(&self) {
        *lock(&self.due_since) = Some(monotonic());
    }

    pub(crate) fn pass_ends(&self, began: Monotonic, error: Option<&PassError>) {
        *lock(&self.due_since) = None;
        let outcome = error.map_or("ok", |error| error.fault().cause());
        self.metrics.passes.with_label_values(&[outcome]).inc();
        let took = monotonic().duration_since(began).as_secs_f64();
        self.metrics.pass_seconds.with_label_values(&[outcome]).observe(took);
    }

    /// `Err` says what hangs. An API server that is down is never our fault.
    pub fn liveness(&self) -> Result<(), String> {
        let now = monotonic();
        if let Some(since) = *lock(&self.due_since)
            && now.duration_since(since) >= PASS_SILENCE
        {
            return Err(format!(
                "a pass was due {} s ago and did not end",
                now.duration_since(since).as_secs()
            ));
        }
        if self.cluster.answered().is_some_and(|at| now.duration_since(at) < ANSWERS) {
            for (watch, age) in self.pulses.ages() {
                if age >= WATCH_SILENCE {
                    return Err(format!("the watch of {watch} has been silent for {} s", age.as_secs()));
                }
            }
        }
        Ok(())
    }

    /// `Err` until the API server has answered once. One who waits for the Lease is as ready as one who leads.
    pub fn readiness(&self) -> Result<(), String> {
        match self.cluster.answered() {
            Some(_) => Ok(()),
            None => Err("the API server has not answered yet".into()),
        }
    }

    fn answer(&self, path: &str) -> (StatusCode, &'static str, String) {
        let verdict = |verdict: Result<(), String>| match verdict {
            Ok(()) => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{why}\n")),
        };
        match path {
            "/healthz" => verdict(self.liveness()),
            "/readyz" => verdict(self.readiness()),
            "/metrics" if self.shows_metrics => {
                self.metrics.crd_fields_missing.set(self.cluster.lacking().len() as f64);
                (StatusCode::OK, "text/plain; version=0.0.4", self.metrics.render(&self.pulses))
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", "not found\n".to_owned()),
        }
    }
}

/// Serves `/healthz`, `/readyz` and `/metrics` in a task of its own; gives the address that it listens on.
pub async fn serve(address: SocketAddr, health: Health) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(accept(listener, health));
    Ok(bound)
}

async fn accept(listener: TcpListener, health: Health) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (status, kind, text) = health.answer(request.uri().path());
                let mut response = Response::new(Full::new(Bytes::from(text)));
                *response.status_mut() = status;
                response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
                std::future::ready(Ok::<_, Infallible>(response))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            // A client that keeps its connection open for ever must not take a place for ever.
            if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(300), connection).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(permit);
        });
    }
}
