//! What a cluster runs, and which matrix counts there. Nothing here writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use vdo_api::status::{Gates, VDOConfigStatus};
use vdo_api::{VDOConfig, VsphereCloudConfig};
use vdo_compat::{Driver, Matrix, Source, builtin};
use vdo_core::order::choose::{Wish, last_known, last_known_hosts};
use vdo_plan::driver::records;
use vdo_runtime::Cluster;
use vdo_runtime::clock::wall;
use vdo_runtime::configs::fetch_active;
use vdo_runtime::status::fetch_all;

use super::upgrade::{Installed, Versions};

/// The key of a ConfigMap that holds a matrix.
const CONTENT: &str = "versionConfigContent";

/// What a cluster runs.
pub struct Running {
    /// What is installed.
    pub installed: BTreeMap<Driver, Installed>,
    /// The versions.
    pub now: Versions,
    /// What vdo-core said about its matrix.
    gates: Gates,
}

/// Reads the VDOConfig that counts and its VsphereCloudConfigs.
pub async fn observe(cluster: &Cluster, namespace: &str) -> Result<Running> {
    let config = fetch_active(cluster, namespace).await.context("cannot read the VDOConfig")?;
    let config = config.with_context(|| format!("there is no VDOConfig in namespace {namespace}"))?;
    let status = config.status.clone().unwrap_or_default();
    let gates = status.gates.clone().context("vdo-core has said nothing about this VDOConfig yet")?;
    let vcenters = fetch_all::<VsphereCloudConfig>(cluster, namespace)
        .await
        .context("cannot read the VsphereCloudConfigs")?;
    let mut names = config.spec.cpi_vcenters();
    names.extend(config.spec.csi_vcenters());
    names.sort_unstable();
    names.dedup();
    let version = |name: &str| {
        let found = vcenters.objects.iter().find(|it| it.metadata.name.as_deref() == Some(name));
        let known = found.and_then(last_known);
        known.with_context(|| {
            format!("the version of VsphereCloudConfig {name} is not known yet; see its conditions")
        })
    };
    let hosts = |name: &&str| {
        let found = vcenters.objects.iter().find(|it| it.metadata.name.as_deref() == Some(*name));
        found.and_then(last_known_hosts).unwrap_or_default()
    };
    let esxi = names.iter().map(hosts).collect();
    let vsphere = names.into_iter().map(version).collect::<Result<_>>()?;
    let kubernetes = gates.kubernetes.parse()?;
    let now = Versions { kubernetes, vsphere, esxi };
    Ok(Running { installed: installed(&config, &status)?, now, gates })
}

fn installed(config: &VDOConfig, status: &VDOConfigStatus) -> Result<BTreeMap<Driver, Installed>> {
    let records = records(config, wall());
    let cpi = status.cpi.as_ref().and_then(|it| it.record.installed.as_ref());
    let csi = status.csi.as_ref().and_then(|it| it.record.installed.as_ref());
    let cpi_wish = config.spec.cloud_provider.as_ref().map(Wish::from).unwrap_or_default();
    let csi_wish = config.spec.storage_provider.as_ref().map(Wish::from).unwrap_or_default();
    let mut installed = BTreeMap::new();
    for (driver, record, wish) in [(Driver::Cpi, cpi, cpi_wish), (Driver::Csi, csi, csi_wish)] {
        if let Some(record) = record {
            let refused = records.of(driver).refused_release.as_ref().map(|it| it.key.release);
            let release = record.release.parse()?;
            installed.insert(driver, Installed { release, channel: wish.channel, refused });
        }
    }
    if installed.is_empty() {
        bail!("no driver is installed yet, so nothing stands in the way of an upgrade");
    }
    Ok(installed)
}

impl Running {
    /// The matrix that counts in this cluster, and what it is called.
    pub async fn matrix(&self, cluster: &Cluster, namespace: &str) -> Result<(String, Matrix)> {
        let source = self.gates.matrix.source.as_str();
        if source == Source::BuiltIn.name() {
            return Ok(("built in".to_owned(), builtin::matrix().clone()));
        }
        let Some(name) = source.strip_prefix("ConfigMap/") else {
            bail!("the matrix of this cluster is that of {source}; give its address with --matrix");
        };
        let api = Api::<ConfigMap>::namespaced(cluster.client().clone(), namespace);
        let map = cluster.read(api.get(name)).await.with_context(|| format!("cannot read {source}"))?;
        let content = map.data.unwrap_or_default().remove(CONTENT);
        let content = content.with_context(|| {
            format!("{source} has no {CONTENT}; if it has an address, give that with --matrix")
        })?;
        let parsed =
            vdo_matrix::parse(Source::ConfigMap, &content).with_context(|| format!("cannot use {source}"))?;
        Ok((source.to_owned(), parsed.matrix))
    }
}
