//! Whether VDO's own kinds or namespace are being deleted. Then a VDOConfig that is deleted with them is nobody's wish to
//! lose the drivers.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use vdo_api::names::VDOCONFIG_CRD;
use vdo_plan::order::Look;

use crate::client::Cluster;
use crate::fault::KubeFault;

/// Looks live. What cannot be read is no proof of either.
pub async fn look(cluster: &Cluster, namespace: &str) -> Look {
    match is_ending(cluster, namespace).await {
        Ok(true) => Look::Something,
        Ok(false) => Look::Nothing,
        Err(fault) => {
            tracing::warn!(%fault, "whether VDO itself is being deleted could not be read");
            Look::Unreadable
        }
    }
}

async fn is_ending(cluster: &Cluster, namespace: &str) -> Result<bool, KubeFault> {
    let client = || cluster.client().clone();
    let crds = Api::<CustomResourceDefinition>::all(client());
    let crd = cluster.read(crds.get_metadata_opt(VDOCONFIG_CRD)).await?;
    if crd.is_none_or(|crd| crd.metadata.deletion_timestamp.is_some()) {
        return Ok(true);
    }
    let namespaces = Api::<Namespace>::all(client());
    let namespace = cluster.read(namespaces.get_metadata_opt(namespace)).await?;
    Ok(namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}
