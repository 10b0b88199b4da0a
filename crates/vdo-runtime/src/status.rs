//! Our own kinds: live reads, status and finalizers. Every write carries the version that it was decided on.

use kube::api::{ListParams, Patch, PatchParams};
use kube::core::params::{GetParams, ValidationDirective};
use kube::core::{DeserializeGuard, NamespaceResourceScope, ObjectList, Request};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::{Cluster, READ_DEADLINE, built};
use crate::fault::KubeFault;
use crate::served::{known, says};
use crate::watch::Broken;

/// The objects of one kind in one namespace, with those that do not decode kept apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<K> {
    /// Those that decode.
    pub objects: Vec<K>,
    /// Those that do not.
    pub broken: Vec<Broken>,
}

/// Reads one object, not older than any write that was answered.
pub async fn fetch<K>(cluster: &Cluster, namespace: &str, name: &str) -> Result<Result<K, Broken>, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let path = Request::new(K::url_path(&(), Some(namespace)));
    let guard: DeserializeGuard<K> =
        cluster.send(READ_DEADLINE, built(path.get(name, &GetParams::default()))?).await?;
    Ok(guard.0.map_err(|invalid| Broken::new(&invalid.metadata, &invalid.error)))
}

/// Reads all objects of a kind in a namespace, page by page.
pub async fn fetch_all<K>(cluster: &Cluster, namespace: &str) -> Result<Listed<K>, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned,
{
    let path = Request::new(K::url_path(&(), Some(namespace)));
    let mut params = ListParams::default().limit(100);
    let mut listed = Listed { objects: Vec::new(), broken: Vec::new() };
    loop {
        let page: ObjectList<DeserializeGuard<K>> =
            cluster.send(READ_DEADLINE, built(path.list(&params))?).await?;
        for guard in page.items {
            match guard.0 {
                Ok(object) => listed.objects.push(object),
                Err(invalid) => listed.broken.push(Broken::new(&invalid.metadata, &invalid.error)),
            }
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            return Ok(listed);
        }
    }
}

/// Writes an operator's whole part of a status. What it leaves out of its part is removed; what others wrote
/// stays. `status` is the value of the field `status`.
///
/// What the CRD does not know is left out; then nothing is written if `seen` says the rest already. The caller cannot know
/// that, for what it wants to say is never stored.
///
/// The part is written only if `seen` is still the version that is stored; else the answer is `Conflict`, and
/// the caller reads and decides again.
pub async fn apply_status<K>(
    cluster: &Cluster,
    manager: &str,
    seen: &K,
    status: &Value,
) -> Result<K, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Serialize,
{
    let mut status = status.clone();
    if let Some(schema) = cluster.outdated(&K::kind(&())).await {
        let schema = &schema["properties"]["status"];
        status = known(schema, &status);
        let stored = serde_json::to_value(seen).map_err(|error| KubeFault::malformed(&error))?;
        if says(&known(schema, &stored["status"]), &status) {
            return serde_json::from_value(stored).map_err(|error| KubeFault::malformed(&error));
        }
    }
    let (path, name) = place_of(seen);
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": name,
            "namespace": seen.namespace(),
            "resourceVersion": version_of(seen)?,
        },
        "status": status,
    });
    let params = PatchParams {
        field_manager: Some(manager.to_owned()),
        force: true,
        field_validation: Some(ValidationDirective::Strict),
        dry_run: false,
    };
    let written =
        cluster.write(built(path.patch_subresource("status", &name, &params, &Patch::Apply(&body)))?).await;
    // A field that is not known is refused as a failure of the server without a reason.
    written.inspect_err(|fault| {
        if matches!(fault, KubeFault::Invalid { .. } | KubeFault::Other { .. }) {
            cluster.doubt_crds();
        }
    })
}

/// Puts a finalizer on an object, or answers `Conflict` if `seen` is not the version that is stored.
pub async fn apply_finalizer<K>(
    cluster: &Cluster,
    manager: &str,
    seen: &K,
    finalizer: &str,
) -> Result<K, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let mut finalizers = seen.finalizers().to_vec();
    if !finalizers.iter().any(|it| it == finalizer) {
        finalizers.push(finalizer.to_owned());
    }
    write_finalizers(cluster, manager, seen, &finalizers).await
}

/// Takes a finalizer off an object, or answers `Conflict` if `seen` is not the version that is stored.
///
/// Gives `None` if the object is gone with its last finalizer.
pub async fn release_finalizer<K>(
    cluster: &Cluster,
    manager: &str,
    seen: &K,
    finalizer: &str,
) -> Result<Option<K>, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let rest: Vec<String> = seen.finalizers().iter().filter(|it| *it != finalizer).cloned().collect();
    match write_finalizers(cluster, manager, seen, &rest).await {
        Ok(object) if rest.is_empty() && object.meta().deletion_timestamp.is_some() => Ok(None),
        Ok(object) => Ok(Some(object)),
        Err(KubeFault::NotFound { .. }) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A merge patch that names the version is refused with 409 if another one is stored; a JSON patch with a
/// failed test gives 422, which cannot be told from an invalid object.
async fn write_finalizers<K>(
    cluster: &Cluster,
    manager: &str,
    seen: &K,
    finalizers: &[String],
) -> Result<K, KubeFault>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let (path, name) = place_of(seen);
    let body = json!({"metadata": {"resourceVersion": version_of(seen)?, "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    cluster.write(built(path.patch(&name, &params, &Patch::Merge(&body)))?).await
}

fn place_of<K: Resource<DynamicType = ()>>(seen: &K) -> (Request, String) {
    (Request::new(K::url_path(&(), seen.namespace().as_deref())), seen.name_any())
}

/// A write without a version would be one that nothing can refuse.
fn version_of<K: Resource>(seen: &K) -> Result<String, KubeFault> {
    seen.resource_version()
        .filter(|version| !version.is_empty())
        .ok_or_else(|| KubeFault::Invalid { message: "the object was not read from the API server".into() })
}
