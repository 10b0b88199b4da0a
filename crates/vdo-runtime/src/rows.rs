//! What is kept of the objects that operators watch: of our own ones, of the workloads and their pods, and of
//! Leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource, ResourceExt};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::Value;
use vdo_api::condition::clip;
use vdo_api::names::{DRIVER_LABEL, REVISION_ANNOTATION};
use vdo_plan::ObjectRef;

use crate::clock::{Monotonic, monotonic};
use crate::slim::{metadata, slim_resource};
use crate::watch::{Rows, Selector, View, Watches, lock};

/// What is kept of an object that an operator made, or may have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Which one it is.
    pub reference: ObjectRef,
    /// Its UID, so that nothing else of this name is ever deleted.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// The revision that it says it belongs to.
    pub revision: Option<String>,
    /// The driver that it says it belongs to; `None` on an object that is not ours.
    pub driver: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Since when it is being deleted, if it is.
    pub deleted: Option<Timestamp>,
    /// A digest of the fields that the API server counts as ours; `None` if none is. A foreign edit takes
    /// fields away, and so changes it.
    pub owned_fields: Option<String>,
}

impl ObjectRow {
    /// The row of an object, seen by its metadata.
    pub fn of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta, manager: &str) -> Self {
        ObjectRow {
            reference: ObjectRef {
                api_version: K::api_version(&()).into_owned(),
                kind: K::kind(&()).into_owned(),
                namespace: meta.namespace.clone(),
                name: meta.name.clone().unwrap_or_default(),
            },
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            revision: meta.annotations.as_ref().and_then(|all| all.get(REVISION_ANNOTATION)).cloned(),
            driver: meta.labels.as_ref().and_then(|all| all.get(DRIVER_LABEL)).cloned(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleted: meta.deletion_timestamp.as_ref().map(|time| time.0),
            owned_fields: owned_fields(meta.managed_fields.as_deref().unwrap_or_default(), manager),
        }
    }
}

impl Watches {
    /// The metadata of objects of one kind, as seen by the field manager that made ours.
    pub fn objects<K>(
        &self,
        name: &'static str,
        api: Api<PartialObjectMeta<K>>,
        selector: Selector,
        manager: &'static str,
    ) -> Rows<ObjectRow>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        self.watch(name, api, selector, move |object: &PartialObjectMeta<K>| {
            Some(ObjectRow::of::<K>(&object.metadata, manager))
        })
    }

    /// Leases, with the time at which we saw each change. One that runs out wakes nobody: see [`Rows::lease_left`].
    pub fn leases(&self, name: &'static str, api: Api<Lease>, selector: Selector) -> Rows<LeaseRow> {
        self.watch(name, api, selector, lease_rows())
    }
}

/// A digest of the fields that this manager applied; `None` if it owns none.
pub(crate) fn owned_fields(entries: &[ManagedFieldsEntry], manager: &str) -> Option<String> {
    let mut context = Context::new(&SHA256);
    let mut any = false;
    for entry in entries {
        let applied = entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().is_none_or(str::is_empty);
        if applied && entry.manager.as_deref() == Some(manager) {
            any = true;
            if let Some(fields) = &entry.fields_v1 {
                digest_into(&mut context, &fields.0);
            }
        }
    }
    any.then(|| context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Feeds a value in an order that does not depend on how it was sent.
fn digest_into(context: &mut Context, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            context.update(b"{");
            for (key, value) in entries {
                context.update(key.as_bytes());
                context.update(b"\0");
                digest_into(context, value);
            }
            context.update(b"}");
        }
        other => context.update(other.to_string().as_bytes()),
    }
}

/// How far a Deployment or DaemonSet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRow {
    /// Its UID.
    pub uid: String,
    /// How many pods there should be.
    pub desired: i32,
    /// How many are of the latest template.
    pub updated: i32,
    /// How many are available.
    pub available: i32,
    /// Whether its controller has seen the latest spec: until then the numbers are of an older one.
    pub current: bool,
    /// The revision that it says it belongs to.
    pub revision: Option<String>,
    /// Whether its controller gave up on the roll-out (`ProgressDeadlineExceeded`).
    pub stuck: bool,
}

impl WorkloadRow {
    /// The row of a Deployment.
    pub fn of_deployment(it: &Deployment) -> Self {
        let status = it.status.clone().unwrap_or_default();
        let stuck = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing"
                && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
        });
        WorkloadRow {
            uid: it.uid().unwrap_or_default(),
            desired: it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
            updated: status.updated_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            current: is_current(&it.metadata, status.observed_generation),
            revision: it.annotations().get(REVISION_ANNOTATION).cloned(),
            stuck,
        }
    }

    /// The row of a DaemonSet.
    pub fn of_daemon_set(it: &DaemonSet) -> Self {
        let status = it.status.clone().unwrap_or_default();
        WorkloadRow {
            uid: it.uid().unwrap_or_default(),
            desired: status.desired_number_scheduled,
            updated: status.updated_number_scheduled.unwrap_or_default(),
            available: status.number_available.unwrap_or_default(),
            current: is_current(&it.metadata, status.observed_generation),
            revision: it.annotations().get(REVISION_ANNOTATION).cloned(),
            stuck: false,
        }
    }

    /// Whether its numbers say how this revision is doing. Those of an older spec say nothing of a roll-out. Of what was
    /// seen working they say who serves until its controller has looked: an edit that is put back at once stops no pod.
    pub fn counts_for(&self, revision: &str, seen_working: bool) -> bool {
        let counted = self.current || seen_working && self.available > 0;
        counted && self.revision.as_deref() == Some(revision)
    }

    /// Whether every pod is of the latest template and available, by the numbers.
    pub fn is_whole(&self) -> bool {
        self.updated >= self.desired && self.available >= self.desired
    }
}

fn is_current(meta: &ObjectMeta, observed: Option<i64>) -> bool {
    meta.generation.is_some() && observed >= meta.generation
}

/// A Pod of which only the used fields are decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimPod {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: Option<Box<str>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Box<str>,
    reason: Option<String>,
    message: Option<String>,
    conditions: Option<Vec<PodCondition>>,
    init_container_statuses: Option<Vec<Container>>,
    container_statuses: Option<Vec<Container>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    type_: Box<str>,
    status: Box<str>,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    name: Box<str>,
    restart_count: i32,
    state: ContainerState,
    last_state: ContainerState,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    waiting: Option<Said>,
    terminated: Option<Said>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Said {
    reason: Option<String>,
    message: Option<String>,
    exit_code: i32,
}

slim_resource!(SlimPod, Pod, kube::core::NamespaceResourceScope);

/// What is kept of a Pod. Its texts are shared, because a pass looks at a copy of all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRow {
    /// Its name.
    pub name: Arc<str>,
    /// Its node, once it has one.
    pub node: Option<Arc<str>>,
    /// Its phase.
    pub phase: Arc<str>,
    /// Whether it is ready.
    pub ready: bool,
    /// The revision that it says it belongs to.
    pub revision: Option<Arc<str>>,
    /// How often its containers were started again.
    pub restarts: i32,
    /// Why it does not run, in the words of the kubelet or the scheduler.
    pub trouble: Option<Trouble>,
}

/// What keeps a Pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The container, if it is one.
    pub container: Option<Box<str>>,
    /// One word, as in `ImagePullBackOff`, `Error` or `Unschedulable`.
    pub reason: String,
    /// More words; bounded.
    pub message: String,
}

/// The row of a Pod.
pub fn pod_row(pod: &SlimPod) -> PodRow {
    let status = &pod.status;
    let containers = || status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let condition = |type_: &str| status.conditions.iter().flatten().find(|it| &*it.type_ == type_);
    let ready = condition("Ready").is_some_and(|it| &*it.status == "True");
    PodRow {
        name: pod.metadata.name.as_deref().unwrap_or_default().into(),
        node: pod.spec.node_name.as_deref().map(Into::into),
        phase: (&*status.phase).into(),
        ready,
        revision: pod.annotations().get(REVISION_ANNOTATION).map(|id| id.as_str().into()),
        restarts: containers().fold(0i32, |sum, container| sum.saturating_add(container.restart_count)),
        trouble: (!ready).then(|| containers().find_map(of_container).or_else(|| of_pod(status))).flatten(),
    }
}

fn of_container(container: &Container) -> Option<Trouble> {
    let (said, ended) = match (&container.state.waiting, &container.state.terminated) {
        // In a back-off the interesting words are those of the last end.
        (Some(waiting), _) if waiting.reason.as_deref() == Some("CrashLoopBackOff") => {
            (container.last_state.terminated.as_ref().unwrap_or(waiting), true)
        }
        (Some(waiting), _)
            if waiting.reason.as_deref() == Some("ContainerCreating") && waiting.message.is_none() =>
        {
            return None;
        }
        (Some(waiting), _) if waiting.reason.as_deref() == Some("PodInitializing") => return None,
        (Some(waiting), _) => (waiting, false),
        (None, Some(ended)) if ended.exit_code != 0 => (ended, true),
        (None, _) => return None,
    };
    let mut message = said.message.clone().unwrap_or_default();
    if message.is_empty() && ended {
        message = format!("exit code {}", said.exit_code);
    }
    Some(Trouble {
        container: Some(container.name.clone()),
        reason: clip(said.reason.as_deref().unwrap_or("Waiting"), 64),
        message: clip(message.trim(), 256),
    })
}

fn of_pod(status: &PodStatus) -> Option<Trouble> {
    let unscheduled =
        status.conditions.iter().flatten().find(|it| &*it.type_ == "PodScheduled" && &*it.status == "False");
    let (reason, message) = match unscheduled {
        Some(condition) => (condition.reason.as_deref(), condition.message.as_deref()),
        None => (status.reason.as_deref(), status.message.as_deref()),
    };
    Some(Trouble {
        container: None,
        reason: clip(reason?, 64),
        message: clip(message.unwrap_or_default(), 256),
    })
}

/// Who holds a Lease, and when we saw it change.
///
/// Two observations are equal if the holder is the same and no longer than one term lies between them: a
/// Lease that is renewed as it should be wakes nobody, one that comes back to life does.
#[derive(Clone, Debug)]
pub struct LeaseRow {
    /// Who holds it; empty if nobody does.
    pub holder: String,
    /// When it was renewed, by the clock of the holder; for people only.
    pub renew_time: Option<Timestamp>,
    /// How long it holds.
    pub duration: Duration,
    /// When we saw it change, by our own clock.
    pub observed_at: Monotonic,
}

/// In how many of its terms a Lease that was given up or ran out has a new holder, if there is one: whoever waits looks
/// more often than once in a term, here and in client-go, which refuses any other setting.
const TERMS: u32 = 2;

/// Whether somebody renews a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Renewal {
    /// It is held, and was renewed within its term.
    InTime,
    /// It was given up or ran out, so short a time ago that another may be about to take it.
    Between,
    /// Nobody renews it.
    Missed,
}

impl LeaseRow {
    /// Whether somebody renews it, as we saw it.
    pub fn renewal(&self, now: Monotonic) -> Renewal {
        let age = now.saturating_duration_since(self.observed_at);
        match self.holder.is_empty() {
            false if age < self.duration => Renewal::InTime,
            _ if age < self.duration * TERMS => Renewal::Between,
            _ => Renewal::Missed,
        }
    }

    /// How long until it is missed, unless it is renewed.
    fn left(&self, now: Monotonic) -> Duration {
        (self.duration * TERMS).saturating_sub(now.saturating_duration_since(self.observed_at))
    }
}

impl PartialEq for LeaseRow {
    fn eq(&self, other: &Self) -> bool {
        let (earlier, later) =
            (self.observed_at.min(other.observed_at), self.observed_at.max(other.observed_at));
        self.holder == other.holder && self.duration == other.duration && later - earlier < self.duration
    }
}

impl View<'_, LeaseRow> {
    /// Whether somebody renews one of them. One that is not there is missed.
    pub fn renewal(&self, now: Monotonic) -> Renewal {
        self.rows().map(|row| row.renewal(now)).min().unwrap_or(Renewal::Missed)
    }
}

impl Rows<LeaseRow> {
    /// How long until one of them is missed unless it is renewed. `None` if there is none that is not missed yet.
    pub fn lease_left(&self, now: Monotonic) -> Option<Duration> {
        self.last_seen(|view| view.rows().map(|row| row.left(now)).filter(|left| !left.is_zero()).min())
    }
}

/// Gives the rows of Leases. A Lease that is only listed again keeps the time of its last change.
fn lease_rows() -> impl Fn(&Lease) -> Option<LeaseRow> + Send + 'static {
    let seen = Mutex::new(HashMap::<String, (String, Monotonic)>::new());
    move |lease| {
        let version = lease.resource_version().unwrap_or_default();
        let mut seen = lock(&seen);
        let entry =
            seen.entry(lease.uid().unwrap_or_default()).or_insert_with(|| (String::new(), monotonic()));
        if entry.0 != version {
            *entry = (version, monotonic());
        }
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        Some(LeaseRow {
            holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            renew_time: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
            observed_at: entry.1,
        })
    }
}
