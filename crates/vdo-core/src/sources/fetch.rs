//! Fetches the matrix that counts, beside the passes, and keeps its copy in the cluster.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use tokio::task::JoinHandle;
use vdo_api::names::{CORE_MANAGER, MATRIX_COPY};
use vdo_fetch::{Address, FetchError, Fetched as Answer, Fetcher, Known, TrustError};
use vdo_plan::Finding;
use vdo_runtime::clock::{jittered, monotonic, wall};
use vdo_runtime::{Cluster, KubeFault, Wake, kept};

use super::copy::Copy;
use super::poll::{Outcome, Pace, Poll, Said};
use crate::order::matrix::{Fetched, Place};
use crate::reasons;

/// What the address of a signature ends in.
pub const SIGNATURE: &str = ".sig";

/// How soon the kept copy is read again if it could not be.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The matrix of the place that counts.
pub struct Fetching {
    fetcher: Arc<Fetcher>,
    wake: Wake,
    namespace: String,
    pace: Pace,
    poll: Option<Poll>,
    task: Option<JoinHandle<Result<Outcome, FetchError>>>,
    /// A copy that the cluster does not have yet.
    unsaved: Option<Copy>,
    /// Why the kept copy could not be read: nothing is fetched before it was, or what is older would replace it.
    unread: Option<Finding>,
    said: Said,
}

impl Fetching {
    /// Fetches nothing yet.
    pub fn new(fetcher: Fetcher, wake: &Wake, namespace: &str, pace: Pace) -> Self {
        Fetching {
            fetcher: Arc::new(fetcher),
            wake: wake.clone(),
            namespace: namespace.to_owned(),
            pace,
            poll: None,
            task: None,
            unsaved: None,
            unread: None,
            said: Said::default(),
        }
    }

    /// Keeps up with the place that counts now, if one does. Gives when to look again.
    pub async fn follow(&mut self, cluster: &Cluster, place: Option<&Place>) -> Option<Duration> {
        if self.poll.as_ref().map(Poll::place) != place {
            self.leave();
            if let Some(place) = place {
                match self.kept(cluster).await {
                    Ok(kept) => {
                        self.poll = Some(Poll::new(place.clone(), self.pace, kept, (monotonic(), wall())));
                    }
                    Err(fault) => {
                        self.unread = Some(unread(place, &fault));
                        self.warn();
                        return Some(READ_AGAIN);
                    }
                }
            }
        }
        self.collect().await;
        self.save(cluster).await;
        let poll = self.poll.as_ref()?;
        if self.task.is_some() {
            // It raises the wake-up itself.
            return None;
        }
        let wait = poll.wait(monotonic());
        if wait > Duration::ZERO {
            return Some(wait);
        }
        let (fetcher, wake) = (self.fetcher.clone(), self.wake.clone());
        let (place, known) = (poll.place().clone(), poll.known());
        self.task = Some(tokio::spawn(async move {
            let outcome = fetch(&fetcher, &place, &known).await;
            wake.raise();
            outcome
        }));
        None
    }

    /// The matrix of this place, if it is the one that is followed.
    pub fn matrix(&self, place: &Place) -> Result<Fetched, Finding> {
        match self.poll.as_ref().filter(|poll| poll.place() == place) {
            Some(poll) => poll.matrix(),
            None => Err(self.unread.clone().unwrap_or_else(|| {
                Finding::hold(
                    &reasons::MATRIX_NOT_FETCHED,
                    format!("the matrix at {} is being fetched", place.address),
                )
            })),
        }
    }

    /// Takes what the fetch under way gave, if it has ended.
    async fn collect(&mut self) {
        let Some(task) = self.task.take_if(|task| task.is_finished()) else { return };
        let Some(poll) = &mut self.poll else { return };
        match task.await {
            Ok(outcome) => {
                self.unsaved = poll.take(outcome, (monotonic(), wall()), jittered).or(self.unsaved.take());
                self.warn();
            }
            Err(error) => tracing::error!(%error, "the fetch of the matrix broke off"),
        }
    }

    /// Says what stands in the way, if that is new.
    fn warn(&mut self) {
        let fault = self.poll.as_ref().map_or(self.unread.as_ref(), Poll::fault);
        if let Some(fault) = self.said.news(fault) {
            tracing::warn!(reason = fault.reason.name, "{}", fault.message);
        }
    }

    async fn save(&mut self, cluster: &Cluster) {
        let Some(copy) = self.unsaved.take() else { return };
        if let Err(fault) = kept::apply(cluster, CORE_MANAGER, &copy.to_config_map(&self.namespace)).await {
            tracing::warn!(%fault, "the copy of the matrix could not be written to ConfigMap {MATRIX_COPY}");
            self.unsaved = Some(copy);
        }
    }

    async fn kept(&self, cluster: &Cluster) -> Result<Option<Copy>, KubeFault> {
        let api = Api::<ConfigMap>::namespaced(cluster.client().clone(), &self.namespace);
        let map = cluster.read(api.get_opt(MATRIX_COPY)).await?;
        Ok(map.and_then(Copy::from_config_map))
    }

    /// Leaves the place. What is under way for it is dropped.
    fn leave(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.unsaved = None;
        self.unread = None;
        self.poll = None;
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.leave();
    }
}

fn unread(place: &Place, fault: &KubeFault) -> Finding {
    Finding::hold(
        &reasons::MATRIX_NOT_FETCHED,
        format!(
            "the copy of the matrix in ConfigMap {MATRIX_COPY} cannot be read: {fault}; VDO tries again every few \
             seconds, and fetches the matrix at {} after that",
            place.address
        ),
    )
}

/// The document of a place as it is now, judged as the place asks for. For whoever looks once, as vdoctl does.
pub async fn fetch_once(fetcher: &Fetcher, place: &Place) -> Result<Vec<u8>, FetchError> {
    match fetch(fetcher, place, &Known::default()).await? {
        Outcome::Document { bytes, signature, .. } => {
            place.check(&bytes, signature.as_deref())?;
            Ok(bytes)
        }
        // No marks were sent, so that no server can say this.
        Outcome::Unchanged => Ok(Vec::new()),
    }
}

/// The document, and its signature if there has to be one.
async fn fetch(fetcher: &Fetcher, place: &Place, known: &Known) -> Result<Outcome, FetchError> {
    let answer = fetcher.fetch(&place.address, known).await?;
    let signature = match (&answer, &place.key) {
        (Answer::Document { .. }, Some(_)) => Some(fetch_signature(fetcher, &place.address).await?),
        (Answer::Document { .. }, None) | (Answer::Unchanged, _) => None,
    };
    Ok(Outcome::new(answer, signature))
}

async fn fetch_signature(fetcher: &Fetcher, address: &Address) -> Result<Vec<u8>, FetchError> {
    // Without an address it is taken as no signature, which no key accepts.
    let Some(address) = address.beside(SIGNATURE) else { return Ok(Vec::new()) };
    match fetcher.fetch(&address, &Known::default()).await {
        Ok(Answer::Document { bytes, .. }) => Ok(bytes),
        Ok(Answer::Unchanged) => Ok(Vec::new()),
        Err(FetchError::Status { at, status: status @ (404 | 410) }) => {
            Err(TrustError::Missing { at, status }.into())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use vdo_fetch::{Proxy, Roots, Settings};

    use super::*;
    use crate::args::LIMITS;

    const PACE: Pace = Pace { every: Duration::from_secs(600), settle: Duration::from_secs(120) };
    const MATRIX: &str = "schemaVersion: 1\nserial: 7\nrows:\n- {driver: CSI, release: 3.7.0, kubernetes: {min: \"1.30\"}, vsphere: {min: \"7.0\"}}\n";

    /// An API server that answers the n-th request, counted from 0, with this status and object.
    fn cluster(
        answer: impl Fn(usize, &Request<Body>) -> (u16, serde_json::Value) + Clone + Send + 'static,
    ) -> Cluster {
        let asked = Arc::new(AtomicUsize::new(0));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (status, object) = answer(asked.fetch_add(1, Ordering::Relaxed), &request);
            let body = Body::from(object.to_string().into_bytes());
            let answer = Response::builder().status(status).body(body).unwrap();
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        });
        Cluster::over(kube::Client::new(service, "default"))
    }

    fn failure(code: u16, reason: &str) -> (u16, serde_json::Value) {
        (
            code,
            json!({"kind": "Status", "status": "Failure", "code": code, "message": "scripted", "reason": reason}),
        )
    }

    /// Nothing gets past the proxy, which does not listen.
    fn fetching(wake: &Wake) -> Fetching {
        let proxy = Proxy::from_values("http://127.0.0.1:1", "").unwrap();
        let fetcher = Fetcher::new(Settings { roots: Roots::public(), proxy, limits: LIMITS });
        Fetching::new(fetcher, wake, "vdo", PACE)
    }

    fn place() -> Place {
        Place { address: "https://matrix.example.com/m".parse().unwrap(), pin: None, key: None }
    }

    #[tokio::test]
    async fn a_kept_copy_that_could_not_be_read_is_read_again_before_anything_is_fetched() {
        let kept = Copy {
            url: place().address.as_str().to_owned(),
            known: Known::default(),
            fetched: "2026-01-02T03:04:05Z".to_owned(),
            is_settled: true,
            bytes: MATRIX.as_bytes().to_vec(),
            signature: None,
        };
        let kept = serde_json::to_value(kept.to_config_map("vdo")).unwrap();
        let cluster = cluster(move |count, request| {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/vdo/configmaps/vdo-matrix-copy");
            if count == 0 { failure(503, "ServiceUnavailable") } else { (200, kept.clone()) }
        });
        let mut fetching = fetching(&Wake::new());

        assert_eq!(fetching.follow(&cluster, Some(&place())).await, Some(READ_AGAIN));
        assert!(fetching.task.is_none(), "what a server sends now could replace a copy that nobody has read");
        let held = fetching.matrix(&place()).unwrap_err();
        assert_eq!(held.reason.name, "MatrixNotFetched");
        assert!(held.message.contains("ConfigMap vdo-matrix-copy cannot be read"), "{}", held.message);

        assert_eq!(fetching.follow(&cluster, Some(&place())).await, None);
        assert!(fetching.task.is_some());
        let counts = fetching.matrix(&place()).unwrap();
        assert_eq!((counts.document.matrix.serial, counts.settles), (Some(7), None));
    }

    #[tokio::test]
    async fn clusters_do_not_fetch_in_step() {
        let cluster = cluster(|_, _| failure(404, "NotFound"));
        let mut waits = Vec::new();
        for _ in 0..8 {
            let wake = Wake::new();
            let mut fetching = fetching(&wake);
            assert_eq!(fetching.follow(&cluster, Some(&place())).await, None);
            wake.raised().await;
            waits.extend(fetching.follow(&cluster, Some(&place())).await);
        }
        assert_eq!(waits.len(), 8);
        // The pause after a first fault is 15 seconds, and up to a quarter longer.
        let longest = Duration::from_millis(18_750);
        assert!(waits.iter().all(|wait| *wait <= longest), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait > Duration::from_secs(15)), "{waits:?}");
    }
}
