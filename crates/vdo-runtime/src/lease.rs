//! Leadership: one Lease per operator, held by one pod.
//!
//! Two leaders would break the order protocol, so this is safety and not comfort. Expiry is judged by what
//! *we* saw change on our own monotonic clock, never by comparing wall clocks. Every write carries the
//! resourceVersion that it was decided on. A holder gives up well before anybody may take over.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use kube::{Resource, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vdo_api::names;

use crate::client::{Cluster, WRITE_DEADLINE, built};
use crate::clock::{Monotonic, jittered, monotonic, wall};
use crate::fault::KubeFault;

/// A Lease that did not change for so long, as we saw it, is free.
pub const DURATION: Duration = Duration::from_secs(30);
/// How often a holder renews it.
const RENEW: Duration = Duration::from_secs(10);
/// A holder that could not renew it for so long stops. Until others may take over, everything that it had
/// under way has run out.
const GIVE_UP: Duration = Duration::from_secs(20);
/// How often one who waits looks at it.
const LOOK: Duration = Duration::from_secs(2);
/// How soon a renewal that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one request may take.
const DEADLINE: Duration = WRITE_DEADLINE;

/// Set when a holder gave the Lease up after all its requests had ended; the value is its identity. Without
/// it a successor cannot know, and waits.
const RELEASED_ANNOTATION: &str = "vdo.vmware.com/released-by";

/// Which Lease, and who wants it.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// The namespace of the operators.
    pub namespace: String,
    /// The name of the Lease; one per operator.
    pub name: String,
    /// Who we are: the UID of the pod.
    pub identity: String,
}

/// How we stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Somebody else leads, or nobody could be asked.
    Waiting,
    /// We lead.
    Leading,
    /// We led, and cannot prove any more that we do. The process has to end.
    Lost,
}

/// The task that gets the Lease and keeps it.
pub struct LeaseKeeper {
    cluster: Cluster,
    settings: LeaseSettings,
    leadership: watch::Receiver<Leadership>,
    held: watch::Receiver<Option<Lease>>,
    task: JoinHandle<()>,
}

impl LeaseKeeper {
    /// Begins to wait for the Lease.
    pub fn start(cluster: &Cluster, settings: LeaseSettings) -> Self {
        let (leadership_out, leadership) = watch::channel(Leadership::Waiting);
        let (held_out, held) = watch::channel(None);
        let keeping = Keeping { cluster: cluster.clone(), settings: settings.clone(), held: held_out };
        let task = tokio::spawn(async move {
            let renewed = keeping.wait_for_it().await;
            let _ = leadership_out.send(Leadership::Leading);
            keeping.keep_it(renewed).await;
            let _ = leadership_out.send(Leadership::Lost);
        });
        LeaseKeeper { cluster: cluster.clone(), settings, leadership, held, task }
    }

    /// How we stand now.
    pub fn leadership(&self) -> Leadership {
        *self.leadership.borrow()
    }

    /// A view of how we stand that can be waited on.
    pub fn subscribe(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Gives the Lease up. `Clean` promises that no request of ours is under way any more.
    pub async fn release(self, parting: Parting) -> Result<(), KubeFault> {
        self.task.abort();
        // Aborting takes effect at the next await of the task; a renewal may have been sent.
        let was_leading = *self.leadership.borrow() == Leadership::Leading;
        let held = self.held.borrow().clone();
        let Some(lease) = held.filter(|_| was_leading) else { return Ok(()) };
        match put(&self.cluster, &self.settings, &self.released(lease, parting)).await {
            Err(KubeFault::Conflict { .. }) => {}
            outcome => return outcome.map(drop),
        }
        let seen = fetch(&self.cluster, &self.settings).await?;
        if holder(&seen) != self.settings.identity {
            return Ok(());
        }
        put(&self.cluster, &self.settings, &self.released(seen, parting)).await.map(drop)
    }

    fn released(&self, mut lease: Lease, parting: Parting) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.renew_time = Some(now());
        if parting == Parting::Clean {
            lease.annotations_mut().insert(RELEASED_ANNOTATION.into(), self.settings.identity.clone());
        }
        lease
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// In what state a Lease is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// No request of ours is under way: the successor need not wait.
    Clean,
    /// One may be.
    Unclean,
}

struct Keeping {
    cluster: Cluster,
    settings: LeaseSettings,
    held: watch::Sender<Option<Lease>>,
}

/// What the Lease looked like, and since when it has looked like this to us.
struct Sight {
    version: String,
    since: Monotonic,
}

impl Keeping {
    /// Waits until we hold the Lease; gives the time up to which that is certain to count from.
    async fn wait_for_it(&self) -> Monotonic {
        let mut sight: Option<Sight> = None;
        loop {
            match self.try_once(&mut sight).await {
                Ok(Some(at)) => return at,
                Ok(None) => {}
                Err(fault) => tracing::debug!(lease = self.settings.name, %fault, "lease not taken"),
            }
            tokio::time::sleep(jittered(LOOK)).await;
        }
    }

    async fn try_once(&self, sight: &mut Option<Sight>) -> Result<Option<Monotonic>, KubeFault> {
        let mine = &self.settings.identity;
        let seen = match fetch(&self.cluster, &self.settings).await {
            Ok(lease) => lease,
            Err(KubeFault::NotFound { .. }) => {
                // Its holder may not have noticed yet that somebody deleted it.
                if sight.as_ref().is_some_and(|sight| monotonic().duration_since(sight.since) < DURATION) {
                    return Ok(None);
                }
                let at = monotonic();
                let fresh = self.claimed(Lease::default());
                self.taken(create(&self.cluster, &self.settings, &fresh).await?, Parting::Unclean);
                return Ok(Some(at));
            }
            Err(fault) => return Err(fault),
        };
        let version = seen.resource_version().unwrap_or_default();
        let first_look = sight.is_none();
        if sight.as_ref().is_none_or(|sight| sight.version != version) {
            *sight = Some(Sight { version, since: monotonic() });
        }
        let since = sight.as_ref().map_or_else(monotonic, |sight| sight.since);
        let parting = match holder(&seen) {
            "" if seen.annotations().contains_key(RELEASED_ANNOTATION) => Parting::Clean,
            "" => Parting::Unclean,
            // A container of this pod ran before us and was not able to say good-bye.
            holder if holder == mine => Parting::Unclean,
            _ if monotonic().duration_since(since) >= term(&seen) => Parting::Unclean,
            holder => {
                if first_look {
                    tracing::info!(lease = self.settings.name, holder, "another replica leads");
                }
                return Ok(None);
            }
        };
        let at = monotonic();
        match put(&self.cluster, &self.settings, &self.claimed(seen)).await {
            Ok(lease) => {
                self.taken(lease, parting);
                Ok(Some(at))
            }
            // Another one was faster.
            Err(KubeFault::Conflict { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    fn taken(&self, lease: Lease, parting: Parting) {
        if parting == Parting::Unclean {
            self.cluster.quarantine();
        }
        tracing::info!(lease = self.settings.name, ?parting, "leading");
        let _ = self.held.send(Some(lease));
    }

    /// Renews the Lease until that fails for too long, or until somebody else has it.
    async fn keep_it(&self, mut renewed: Monotonic) {
        let mut pause = RENEW;
        loop {
            let end = renewed + GIVE_UP;
            tokio::time::sleep_until((monotonic() + pause).min(end)).await;
            if monotonic() >= end {
                tracing::error!(lease = self.settings.name, "lease could not be renewed in time");
                return;
            }
            let at = monotonic();
            // A renewal that is answered after the end is worth nothing.
            match tokio::time::timeout_at(end, self.renew()).await {
                Ok(Ok(Renewal::Done)) => (renewed, pause) = (at, RENEW),
                Ok(Ok(Renewal::TakenOver)) => {
                    tracing::error!(lease = self.settings.name, "lease was taken over");
                    return;
                }
                Ok(Err(fault)) => {
                    tracing::warn!(lease = self.settings.name, %fault, "lease not renewed");
                    pause = AGAIN;
                }
                Err(_) => pause = AGAIN,
            }
        }
    }

    async fn renew(&self) -> Result<Renewal, KubeFault> {
        let held = self.held.borrow().clone().unwrap_or_default();
        match put(&self.cluster, &self.settings, &self.renewed(held)).await {
            Ok(lease) => {
                let _ = self.held.send(Some(lease));
                Ok(Renewal::Done)
            }
            // Our own renewal whose answer was lost, or an edit by a person: whose it is decides.
            Err(KubeFault::Conflict { .. }) => {
                let seen = fetch(&self.cluster, &self.settings).await?;
                if holder(&seen) != self.settings.identity {
                    return Ok(Renewal::TakenOver);
                }
                let lease = put(&self.cluster, &self.settings, &self.renewed(seen)).await?;
                let _ = self.held.send(Some(lease));
                Ok(Renewal::Done)
            }
            Err(KubeFault::NotFound { .. }) => Ok(Renewal::TakenOver),
            Err(fault) => Err(fault),
        }
    }

    /// The Lease with us as its holder.
    fn claimed(&self, lease: Lease) -> Lease {
        let mut lease = self.renewed(lease);
        let spec = lease.spec.get_or_insert_default();
        let new_holder = spec.holder_identity.as_deref() != Some(&self.settings.identity);
        spec.holder_identity = Some(self.settings.identity.clone());
        spec.acquire_time = Some(now());
        if new_holder {
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
        lease.annotations_mut().remove(RELEASED_ANNOTATION);
        lease
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(now());
        spec.lease_duration_seconds = i32::try_from(DURATION.as_secs()).ok();
        lease
    }
}

enum Renewal {
    Done,
    TakenOver,
}

/// How long a Lease holds, as its holder wrote it; never less than ours, never endless.
fn term(lease: &Lease) -> Duration {
    let written =
        lease.spec.as_ref().and_then(|spec: &LeaseSpec| spec.lease_duration_seconds).unwrap_or_default();
    Duration::from_secs(u64::try_from(written).unwrap_or_default()).clamp(DURATION, DURATION * 4)
}

/// Who holds it; empty if nobody does.
fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn now() -> MicroTime {
    MicroTime(wall())
}

fn path(settings: &LeaseSettings) -> Request {
    Request::new(Lease::url_path(&(), Some(&settings.namespace)))
}

async fn fetch(cluster: &Cluster, settings: &LeaseSettings) -> Result<Lease, KubeFault> {
    let request = built(path(settings).get(&settings.name, &GetParams::default()))?;
    cluster.send(DEADLINE, request).await
}

async fn create(cluster: &Cluster, settings: &LeaseSettings, lease: &Lease) -> Result<Lease, KubeFault> {
    let labels = [(names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned())].into();
    let metadata = ObjectMeta {
        name: Some(settings.name.clone()),
        namespace: Some(settings.namespace.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    };
    let lease = Lease { metadata, ..lease.clone() };
    let body = serde_json::to_vec(&lease).map_err(|error| KubeFault::malformed(&error))?;
    cluster.send(DEADLINE, built(path(settings).create(&PostParams::default(), body))?).await
}

/// Replaces the Lease, if it is still the one that we saw.
async fn put(cluster: &Cluster, settings: &LeaseSettings, lease: &Lease) -> Result<Lease, KubeFault> {
    let mut lease = lease.clone();
    lease.metadata.managed_fields = None;
    let body = serde_json::to_vec(&lease).map_err(|error| KubeFault::malformed(&error))?;
    cluster.send(DEADLINE, built(path(settings).replace(&settings.name, &PostParams::default(), body))?).await
}
