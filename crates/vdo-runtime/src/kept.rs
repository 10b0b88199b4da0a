//! What an operator keeps for itself in a ConfigMap.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Resource, ResourceExt};

use crate::client::{Cluster, built};
use crate::fault::KubeFault;

/// Writes a ConfigMap whole, whoever wrote it before: it is the operator's own.
pub async fn apply(cluster: &Cluster, manager: &str, map: &ConfigMap) -> Result<(), KubeFault> {
    let path = Request::new(ConfigMap::url_path(&(), map.namespace().as_deref()));
    let params = PatchParams::apply(manager).force();
    let request = built(path.patch(&map.name_any(), &params, &Patch::Apply(map)))?;
    cluster.write::<serde::de::IgnoredAny>(request).await.map(drop)
}
