//! Writing objects: server-side apply with strict validation, and deletion of exactly the object that was
//! seen. Knows kinds, never drivers.

use std::collections::BTreeMap;

use futures::StreamExt;
use futures::stream;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::params::{DeleteParams, GetParams, Preconditions, PropagationPolicy, ValidationDirective};
use kube::core::{ApiResource, GroupVersionKind, Request};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use vdo_api::names;
use vdo_plan::{Object, ObjectRef};

use crate::client::{Cluster, Licence, READ_DEADLINE, built};
use crate::fault::KubeFault;
use crate::rows::owned_fields;

/// How many writes of one stage are under way at once. The client has no limiter of its own.
const AT_ONCE: usize = 8;

/// One thing to do to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Make the object as it is here.
    Apply(Object),
    /// Delete the object that was seen, and no other of its name.
    Delete {
        /// Which one.
        reference: ObjectRef,
        /// The UID that was seen.
        uid: String,
    },
}

impl Write {
    /// The object that it is about.
    pub fn reference(&self) -> &ObjectRef {
        match self {
            Write::Apply(object) => object.reference(),
            Write::Delete { reference, .. } => reference,
        }
    }
}

/// What an apply left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The object's UID.
    pub uid: String,
    /// The object's version.
    pub resource_version: String,
    /// The digest of the fields that are ours now, as in [`crate::rows::ObjectRow`].
    pub owned_fields: Option<String>,
}

/// What became of a list of writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Applied.
    pub applied: BTreeMap<ObjectRef, Applied>,
    /// Deleted, being deleted, or gone already.
    pub deleted: Vec<ObjectRef>,
    /// Refused or not answered.
    pub failed: Vec<(ObjectRef, KubeFault)>,
    /// Not tried: no object may be written now, because of a quarantine or because the process ends.
    pub withheld: Vec<ObjectRef>,
}

impl Outcome {
    /// Whether everything was done.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.withheld.is_empty()
    }

    /// Adds what became of more writes.
    pub fn absorb(&mut self, other: Outcome) {
        self.applied.extend(other.applied);
        self.deleted.extend(other.deleted);
        self.failed.extend(other.failed);
        self.withheld.extend(other.withheld);
    }
}

/// Does all writes, a few at once, and says what became of each.
///
/// Each is withheld if no object may be written when its turn comes; so one that times out stops the rest.
pub async fn execute(cluster: &Cluster, manager: &str, writes: &[Write]) -> Outcome {
    let done = stream::iter(writes).map(|write| async move {
        let reference = write.reference().clone();
        if cluster.licence() != Licence::Granted {
            return (reference, Done::Withheld);
        }
        let done = match write {
            Write::Apply(object) => {
                apply(cluster, manager, object).await.map_or_else(Done::Failed, Done::Applied)
            }
            Write::Delete { reference, uid } => {
                delete(cluster, reference, uid).await.map_or_else(Done::Failed, |()| Done::Deleted)
            }
        };
        (reference, done)
    });
    let mut done = done.buffer_unordered(AT_ONCE);
    let mut outcome = Outcome::default();
    while let Some((reference, done)) = done.next().await {
        match done {
            Done::Applied(applied) => drop(outcome.applied.insert(reference, applied)),
            Done::Deleted => outcome.deleted.push(reference),
            Done::Failed(fault) => {
                tracing::warn!(object = %reference, %fault, "write failed");
                outcome.failed.push((reference, fault));
            }
            Done::Withheld => outcome.withheld.push(reference),
        }
    }
    outcome.deleted.sort();
    outcome.failed.sort_by(|(one, _), (other, _)| one.cmp(other));
    outcome.withheld.sort();
    outcome
}

enum Done {
    Applied(Applied),
    Deleted,
    Failed(KubeFault),
    Withheld,
}

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

/// Applies one object with force: every field that it has becomes ours. One of ours that stands in the way with a field
/// that cannot be changed is made anew.
pub async fn apply(cluster: &Cluster, manager: &str, object: &Object) -> Result<Applied, KubeFault> {
    let outcome = match patch(cluster, manager, object).await {
        Err(fault) if fault.is_about_an_immutable_field() => replace(cluster, manager, object, fault).await,
        outcome => outcome,
    };
    outcome.map_err(|fault| if object.reference().kind == "Secret" { fault.without_content() } else { fault })
}

async fn patch(cluster: &Cluster, manager: &str, object: &Object) -> Result<Applied, KubeFault> {
    let reference = object.reference();
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        force: true,
        field_validation: Some(ValidationDirective::Strict),
        dry_run: false,
    };
    let path = Request::new(path_of(reference)?);
    let request = built(path.patch(&reference.name, &params, &Patch::Apply(object.value())))?;
    let answer: Answer = cluster.write(request).await?;
    let meta = answer.metadata;
    Ok(Applied {
        uid: meta.uid.unwrap_or_default(),
        resource_version: meta.resource_version.unwrap_or_default(),
        owned_fields: owned_fields(meta.managed_fields.as_deref().unwrap_or_default(), manager),
    })
}

/// The object as it is stored, if it is there.
pub async fn fetch(cluster: &Cluster, reference: &ObjectRef) -> Result<Option<Value>, KubeFault> {
    let request = built(Request::new(path_of(reference)?).get(&reference.name, &GetParams::default()))?;
    match cluster.send(READ_DEADLINE, request).await {
        Ok(object) => Ok(Some(object)),
        Err(KubeFault::NotFound { .. }) => Ok(None),
        Err(fault) if reference.kind == "Secret" => Err(fault.without_content()),
        Err(fault) => Err(fault),
    }
}

async fn replace(
    cluster: &Cluster,
    manager: &str,
    object: &Object,
    fault: KubeFault,
) -> Result<Applied, KubeFault> {
    let reference = object.reference();
    let Some(there) = fetch(cluster, reference).await? else { return Err(fault) };
    let label = |value: &Value| value["metadata"]["labels"][names::DRIVER_LABEL].as_str().map(str::to_owned);
    let uid = there["metadata"]["uid"].as_str().unwrap_or_default();
    // Somebody else's object of this name is never taken away.
    if label(&there).is_none() || label(&there) != label(object.value()) || uid.is_empty() {
        return Err(fault);
    }
    tracing::info!(object = %reference, "made anew: a field of it cannot be changed");
    delete_with(cluster, reference, uid, PropagationPolicy::Background).await?;
    patch(cluster, manager, object).await
}

/// Deletes the object of this UID. One that is gone already counts as deleted; another one of the same name
/// is a conflict. A workload stays visible until its pods are gone.
pub async fn delete(cluster: &Cluster, reference: &ObjectRef, uid: &str) -> Result<(), KubeFault> {
    let propagation = match reference.kind.as_str() {
        "Deployment" | "DaemonSet" => PropagationPolicy::Foreground,
        _ => PropagationPolicy::Background,
    };
    delete_with(cluster, reference, uid, propagation).await
}

async fn delete_with(
    cluster: &Cluster,
    reference: &ObjectRef,
    uid: &str,
    propagation: PropagationPolicy,
) -> Result<(), KubeFault> {
    let params = DeleteParams {
        propagation_policy: Some(propagation),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    let request = built(Request::new(path_of(reference)?).delete(&reference.name, &params))?;
    match cluster.write::<IgnoredAny>(request).await {
        Ok(_) | Err(KubeFault::NotFound { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Creates an immutable ConfigMap, unless there is one: then that one counts.
pub async fn create_immutable(
    cluster: &Cluster,
    manager: &str,
    namespace: &str,
    name: &str,
    data: BTreeMap<String, String>,
) -> Result<(), KubeFault> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some([(names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some(data),
        immutable: Some(true),
        ..ConfigMap::default()
    };
    let body = serde_json::to_vec(&map).map_err(|error| KubeFault::malformed(&error))?;
    let params = PostParams { field_manager: Some(manager.to_owned()), dry_run: false };
    let path = Request::new(ConfigMap::url_path(&(), Some(namespace)));
    match cluster.write::<IgnoredAny>(built(path.create(&params, body))?).await {
        Ok(_) | Err(KubeFault::Conflict { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

/// Whether objects of a kind live in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Namespaced,
    ClusterWide,
}

/// Every kind that an operator writes. A kind that is not here is a mistake of ours, not a thing to discover.
const KINDS: &[(&str, &str, &str, Scope)] = &[
    ("v1", "ServiceAccount", "serviceaccounts", Scope::Namespaced),
    ("v1", "Secret", "secrets", Scope::Namespaced),
    ("v1", "ConfigMap", "configmaps", Scope::Namespaced),
    ("v1", "Service", "services", Scope::Namespaced),
    ("v1", "Namespace", "namespaces", Scope::ClusterWide),
    ("apps/v1", "Deployment", "deployments", Scope::Namespaced),
    ("apps/v1", "DaemonSet", "daemonsets", Scope::Namespaced),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", Scope::Namespaced),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", Scope::Namespaced),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", Scope::Namespaced),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", Scope::Namespaced),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", Scope::ClusterWide),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", Scope::ClusterWide),
    ("storage.k8s.io/v1", "CSIDriver", "csidrivers", Scope::ClusterWide),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", Scope::ClusterWide),
    ("snapshot.storage.k8s.io/v1", "VolumeSnapshotClass", "volumesnapshotclasses", Scope::ClusterWide),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", Scope::ClusterWide),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        Scope::ClusterWide,
    ),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", Scope::ClusterWide),
];

/// How the API server knows the kind of this object.
pub(crate) fn resource_of(reference: &ObjectRef) -> Result<ApiResource, KubeFault> {
    // Also checks that we write this kind at all.
    let path = path_of(reference)?;
    let (group, version) = reference.api_version.rsplit_once('/').unwrap_or(("", &reference.api_version));
    let kind = GroupVersionKind::gvk(group, version, &reference.kind);
    Ok(ApiResource::from_gvk_with_plural(&kind, path.rsplit('/').next().unwrap_or_default()))
}

/// The path of the collection that the object belongs to.
fn path_of(reference: &ObjectRef) -> Result<String, KubeFault> {
    let known =
        KINDS.iter().find(|(api, kind, _, _)| *api == reference.api_version && *kind == reference.kind);
    let refuse = |why: &str| Err(KubeFault::Invalid { message: format!("{reference}: {why}") });
    let Some((api_version, _, plural, scope)) = known else {
        return refuse(&format!("{} {} is not a kind that we write", reference.api_version, reference.kind));
    };
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    match (scope, &reference.namespace) {
        (Scope::Namespaced, Some(namespace)) => {
            Ok(format!("{root}/{api_version}/namespaces/{namespace}/{plural}"))
        }
        (Scope::ClusterWide, None) => Ok(format!("{root}/{api_version}/{plural}")),
        (Scope::Namespaced, None) => refuse("it needs a namespace"),
        (Scope::ClusterWide, Some(_)) => refuse("it lives in no namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(api_version: &str, kind: &str, namespace: Option<&str>) -> ObjectRef {
        ObjectRef {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: namespace.map(str::to_owned),
            name: "x".into(),
        }
    }

    #[test]
    fn paths_follow_kind_and_scope() {
        let path = |api, kind, namespace| path_of(&reference(api, kind, namespace));
        assert_eq!(path("v1", "Secret", Some("a")).unwrap(), "/api/v1/namespaces/a/secrets");
        assert_eq!(
            path("storage.k8s.io/v1", "CSIDriver", None).unwrap(),
            "/apis/storage.k8s.io/v1/csidrivers"
        );
        for wrong in
            [path("v1", "Secret", None), path("v1", "Namespace", Some("a")), path("v1", "Pod", Some("a"))]
        {
            assert!(matches!(wrong, Err(KubeFault::Invalid { .. })), "{wrong:?}");
        }
    }
}
