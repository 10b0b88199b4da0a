//! Takes VDO's finalizers off the VDOConfigs of a namespace in which no operator is left to do it. The drivers stay.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use vdo_api::VDOConfig;
use vdo_api::names::{CPI_FINALIZER, CPI_MANAGER, CSI_FINALIZER, CSI_MANAGER};
use vdo_runtime::Cluster;
use vdo_runtime::status::release_finalizer;

/// Longer than an operator takes to renew its Lease.
pub const WATCHED: Duration = Duration::from_secs(12);
const OPERATORS: [&str; 2] = [CPI_MANAGER, CSI_MANAGER];
const FINALIZERS: [&str; 2] = [CSI_FINALIZER, CPI_FINALIZER];

/// A VDOConfig, known by its metadata only, so that one that does not decode is released too.
pub type Held = PartialObjectMeta<VDOConfig>;

/// Whether it is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Only what would be done is said.
    Look,
    /// It is done.
    LetGo,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// No VDOConfig bears a finalizer of VDO.
    Nothing,
    /// These operators are at work, and nothing was done.
    AtWork(Vec<&'static str>),
    /// VDOConfigs that nobody is left to finish; each was said when its turn came.
    Abandoned,
}

/// Looks whether an operator is at work, and lets go of every VDOConfig if none is and it is meant.
pub async fn let_go(
    cluster: &Cluster,
    namespace: &str,
    intent: Intent,
    out: &mut impl Write,
) -> Result<Found> {
    if held(cluster, namespace).await?.is_empty() {
        return Ok(Found::Nothing);
    }
    let alive = alive(cluster, namespace).await?;
    if !alive.is_empty() {
        return Ok(Found::AtWork(alive));
    }
    // Read again: while the Leases were watched somebody may have deleted or changed one, as its deletion does when the
    // namespace goes, and a write over the version from before would be refused.
    for config in held(cluster, namespace).await? {
        let (name, finalizers) = (config.name_any(), finalizers(&config).join(" and "));
        let said = match intent {
            Intent::Look => "would be taken off",
            Intent::LetGo => {
                release(cluster, config).await?;
                "taken off; the drivers stay as they are"
            }
        };
        // It is done, whoever reads it.
        let _ = writeln!(out, "VDOConfig {namespace}/{name}: {finalizers} {said}");
    }
    Ok(Found::Abandoned)
}

/// The VDOConfigs that bear a finalizer of VDO.
async fn held(cluster: &Cluster, namespace: &str) -> Result<Vec<Held>> {
    let api = Api::<VDOConfig>::namespaced(cluster.client().clone(), namespace);
    let list = cluster
        .read(api.list_metadata(&ListParams::default()))
        .await
        .with_context(|| format!("cannot read the VDOConfigs of {namespace}"))?;
    Ok(list.items.into_iter().filter(|config| !finalizers(config).is_empty()).collect())
}

/// Which finalizers of VDO it bears.
fn finalizers(config: &Held) -> Vec<&'static str> {
    FINALIZERS.into_iter().filter(|ours| config.finalizers().iter().any(|it| it == ours)).collect()
}

/// The driver operators that renew their Lease. Their clocks are not asked: a Lease that changes while we look is renewed.
async fn alive(cluster: &Cluster, namespace: &str) -> Result<Vec<&'static str>> {
    let before = leases(cluster, namespace).await?;
    tokio::time::sleep(WATCHED).await;
    let after = leases(cluster, namespace).await?;
    let renewed = OPERATORS.into_iter().zip(before.iter().zip(&after));
    Ok(renewed
        .filter(|(_, (before, after))| after.is_some() && before != after)
        .map(|(name, _)| name)
        .collect())
}

/// The versions of the operators' Leases.
async fn leases(cluster: &Cluster, namespace: &str) -> Result<Vec<Option<String>>> {
    let api = Api::<Lease>::namespaced(cluster.client().clone(), namespace);
    let mut versions = Vec::new();
    for name in OPERATORS {
        let lease = cluster.read(api.get_metadata_opt(name)).await;
        let lease = lease.with_context(|| format!("cannot read the Lease {namespace}/{name}"))?;
        versions.push(lease.and_then(|lease| lease.meta().resource_version.clone()));
    }
    Ok(versions)
}

/// Takes them off, each over the version that was seen.
async fn release(cluster: &Cluster, config: Held) -> Result<()> {
    let name = config.name_any();
    let mut seen = Some(config);
    while let Some(config) = seen.take() {
        let Some(finalizer) = finalizers(&config).first().copied() else { break };
        seen = release_finalizer(cluster, "vdoctl", &config, finalizer)
            .await
            .with_context(|| format!("cannot take {finalizer} off VDOConfig {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finalizers_of_vdo_are_taken_off_storage_first() {
        let config: Held = serde_json::from_value(serde_json::json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "vdo", "finalizers": ["mine", "vdo.vmware.com/cpi", "vdo.vmware.com/csi"]},
        }))
        .unwrap();
        assert_eq!(finalizers(&config), ["vdo.vmware.com/csi", "vdo.vmware.com/cpi"]);
    }
}
