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
use vdo_runtime::{Cluster, Wake, kept};

use super::copy::Copy;
use super::poll::{Outcome, Pace, Poll};
use crate::order::matrix::{Fetched, Place};
use crate::reasons;

/// What the address of a signature ends in.
pub const SIGNATURE: &str = ".sig";

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
        }
    }

    /// Keeps up with the place that counts now, if one does. Gives when to look again.
    pub async fn follow(&mut self, cluster: &Cluster, place: Option<&Place>) -> Option<Duration> {
        if self.poll.as_ref().map(Poll::place) != place {
            self.leave();
            self.poll = match place {
                Some(place) => Some(Poll::new(place.clone(), self.pace, self.kept(cluster).await)),
                None => None,
            };
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
            None => Err(Finding::hold(
                &reasons::MATRIX_NOT_FETCHED,
                format!("the matrix at {} is being fetched", place.address),
            )),
        }
    }

    /// Takes what the fetch under way gave, if it has ended.
    async fn collect(&mut self) {
        let Some(task) = self.task.take_if(|task| task.is_finished()) else { return };
        let Some(poll) = &mut self.poll else { return };
        match task.await {
            Ok(outcome) => {
                if let Err(error) = &outcome {
                    tracing::warn!(address = %poll.place().address, error = %error, "the matrix was not fetched");
                }
                self.unsaved = poll.take(outcome, (monotonic(), wall()), jittered).or(self.unsaved.take());
            }
            Err(error) => tracing::error!(%error, "the fetch of the matrix broke off"),
        }
    }

    async fn save(&mut self, cluster: &Cluster) {
        let Some(copy) = self.unsaved.take() else { return };
        if let Err(fault) = kept::apply(cluster, CORE_MANAGER, &copy.to_config_map(&self.namespace)).await {
            tracing::warn!(%fault, "the copy of the matrix could not be written to ConfigMap {MATRIX_COPY}");
            self.unsaved = Some(copy);
        }
    }

    async fn kept(&self, cluster: &Cluster) -> Option<Copy> {
        let api = Api::<ConfigMap>::namespaced(cluster.client().clone(), &self.namespace);
        match cluster.read(api.get_opt(MATRIX_COPY)).await {
            Ok(map) => map.and_then(Copy::from_config_map),
            Err(fault) => {
                tracing::warn!(%fault, "the copy of the matrix in ConfigMap {MATRIX_COPY} cannot be read");
                None
            }
        }
    }

    /// Leaves the place. What is under way for it is dropped.
    fn leave(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.unsaved = None;
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.leave();
    }
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
