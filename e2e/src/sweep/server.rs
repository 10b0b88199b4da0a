//! The API server as the sweep uses it: as administrator, without the operators' proxies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use futures::StreamExt as _;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::sync::Notify;

use super::history::{Event, History, Id, What};

/// A kind that is watched: where it is served, its plural, its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub &'static str, pub &'static str, pub &'static str);

/// Every kind that the operators write, and the nodes, which the stand-in initialises.
pub const KINDS: &[Kind] = &[
    Kind("apis/vdo.vmware.com/v1alpha1", "vdoconfigs", "VDOConfig"),
    Kind("apis/vdo.vmware.com/v1alpha1", "vspherecloudconfigs", "VsphereCloudConfig"),
    Kind("apis/vdo.vmware.com/v1alpha1", "compatibilityconfigs", "CompatibilityConfig"),
    Kind("api/v1", "serviceaccounts", "ServiceAccount"),
    Kind("api/v1", "secrets", "Secret"),
    Kind("api/v1", "configmaps", "ConfigMap"),
    Kind("api/v1", "services", "Service"),
    Kind("api/v1", "nodes", "Node"),
    Kind("apis/apps/v1", "deployments", "Deployment"),
    Kind("apis/apps/v1", "daemonsets", "DaemonSet"),
    Kind("apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Kind("apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy"),
    Kind("apis/rbac.authorization.k8s.io/v1", "roles", "Role"),
    Kind("apis/rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding"),
    Kind("apis/rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole"),
    Kind("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding"),
    Kind("apis/storage.k8s.io/v1", "csidrivers", "CSIDriver"),
    Kind("apis/storage.k8s.io/v1", "csinodes", "CSINode"),
    Kind("apis/storage.k8s.io/v1", "storageclasses", "StorageClass"),
    Kind("apis/scheduling.k8s.io/v1", "priorityclasses", "PriorityClass"),
    Kind("apis/coordination.k8s.io/v1", "leases", "Lease"),
];

/// The path of a collection.
pub fn collection(kind: &str, namespace: &str) -> Result<String> {
    let known = KINDS.iter().find(|it| it.2 == kind);
    let Kind(api, plural, _) = known.with_context(|| format!("{kind} is no kind that is watched"))?;
    Ok(if namespace.is_empty() {
        format!("/{api}/{plural}")
    } else {
        format!("/{api}/namespaces/{namespace}/{plural}")
    })
}

/// The path of an object.
pub fn path(id: &Id) -> Result<String> {
    Ok(format!("{}/{}", collection(&id.kind, &id.namespace)?, id.name))
}

/// One request; the answer as JSON. Not found is `None`, for whatever was asked.
pub async fn ask(
    client: &Client,
    method: &str,
    path: &str,
    kind: &str,
    body: &Value,
) -> Result<Option<Value>> {
    let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", kind).body(body)?;
    match client.request::<Value>(request).await {
        Ok(answer) => Ok(Some(answer)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(fault) => Err(fault).with_context(|| format!("{method} {path}")),
    }
}

/// Creates or replaces fields by a merge patch.
pub async fn merge(client: &Client, path: &str, patch: &Value) -> Result<Option<Value>> {
    ask(client, "PATCH", path, "application/merge-patch+json", patch).await
}

/// Applies an object under the name of the stand-in.
pub async fn apply(client: &Client, path: &str, object: &Value) -> Result<()> {
    let path = format!("{path}?fieldManager=stand-in&force=true");
    ask(client, "PATCH", &path, "application/apply-patch+yaml", object).await?.context(path)?;
    Ok(())
}

/// What is known of the cluster, kept up to date by watches.
#[derive(Default)]
pub struct Recording {
    history: Mutex<History>,
    broken: Mutex<Option<String>>,
    listed: AtomicUsize,
    /// Told of every change.
    pub changed: Notify,
}

impl Recording {
    /// Everything so far.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing that is shown may be believed, if a watch was interrupted.
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether every kind was listed once.
    pub fn has_begun(&self) -> bool {
        self.listed.load(Ordering::Acquire) == KINDS.len()
    }

    /// Forgets the changes so far, and keeps the objects.
    pub fn forget(&self) {
        self.history().events.clear();
    }
}

/// Follows all kinds for ever.
pub async fn record(client: Client, recording: Arc<Recording>) {
    let each = KINDS.iter().map(|kind| {
        let (client, recording) = (client.clone(), recording.clone());
        async move {
            if let Err(fault) = follow(&client, kind, &recording).await {
                *recording.broken.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(format!("{}: {fault:#}", kind.1));
            }
        }
    });
    futures::future::join_all(each).await;
}

async fn follow(client: &Client, Kind(api, plural, kind): &Kind, recording: &Recording) -> Result<()> {
    let path = format!("/{api}/{plural}");
    let list = ask(client, "GET", &path, "application/json", &Value::Null).await?.context("is not served")?;
    for object in list["items"].as_array().into_iter().flatten() {
        recording.history().objects.insert(id_of(kind, object), object.clone());
    }
    recording.listed.fetch_add(1, Ordering::Release);
    let mut version =
        list["metadata"]["resourceVersion"].as_str().context("a list without version")?.to_owned();
    loop {
        let uri = format!(
            "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion={version}"
        );
        let request = http::Request::get(uri).body(Vec::new())?;
        let mut events = client.request_events::<Value>(request).await?.boxed();
        while let Some(event) = events.next().await {
            let (what, object) = match event? {
                WatchEvent::Added(object) => (What::Created, object),
                WatchEvent::Modified(object) => (What::Changed, object),
                WatchEvent::Deleted(object) => (What::Deleted, object),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
            };
            version = object["metadata"]["resourceVersion"].as_str().context("no version")?.to_owned();
            let event = Event { version: version.parse()?, what, id: id_of(kind, &object), object };
            recording.history().note(event);
            recording.changed.notify_one();
        }
    }
}

fn id_of(kind: &str, object: &Value) -> Id {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
    Id { kind: kind.to_owned(), namespace: text("namespace"), name: text("name") }
}
