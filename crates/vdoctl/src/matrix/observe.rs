//! What a cluster runs, and which matrix counts there. Nothing here writes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use vdo_api::names::MATRIX_COPY;
use vdo_api::status::{Gates, VDOConfigStatus};
use vdo_api::{CompatibilityConfig, VDOConfig, VsphereCloudConfig};
use vdo_compat::{Driver, Matrix, Source, builtin};
use vdo_core::order::choose::{Wish, last_known, last_known_hosts};
use vdo_core::order::matrix::{Origin, Place, Sources, wanted};
use vdo_core::sources::copy::Copy;
use vdo_plan::Reading;
use vdo_plan::driver::records;
use vdo_runtime::Cluster;
use vdo_runtime::clock::wall;
use vdo_runtime::configs::fetch_active;
use vdo_runtime::status::fetch_all;

use super::upgrade::{Installed, Versions};

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
    /// The matrix that counts in this cluster, and what it is called. Of a matrix at an address it is the copy that vdo-core
    /// keeps, and its name says of when.
    pub async fn matrix(&self, cluster: &Cluster, namespace: &str) -> Result<(String, Matrix)> {
        let source = self.gates.matrix.source.as_str();
        match origin(cluster, namespace, source).await? {
            Origin::BuiltIn => Ok(("built in".to_owned(), builtin::matrix().clone())),
            Origin::Content(content) => Ok((source.to_owned(), rows(source, Source::ConfigMap, &content)?)),
            Origin::Place(place) => copy(cluster, namespace, source, &place).await,
        }
    }
}

/// Where the rows of this source are, as vdo-core reads it.
async fn origin(cluster: &Cluster, namespace: &str, source: &str) -> Result<Origin> {
    let mut sources =
        Sources { config_maps: Reading::Present(BTreeMap::new()), objects: Reading::Present(Vec::new()) };
    match source.split_once('/') {
        None if source == Source::BuiltIn.name() => return Ok(Origin::BuiltIn),
        Some(("ConfigMap", name)) => {
            let data = config_map(cluster, namespace, name).await?.data.unwrap_or_default();
            sources.config_maps = Reading::Present(BTreeMap::from([(name, data)]));
        }
        Some(("CompatibilityConfig", name)) => {
            let api = Api::<CompatibilityConfig>::namespaced(cluster.client().clone(), namespace);
            let object =
                cluster.read(api.get(name)).await.with_context(|| format!("cannot read {source}"))?;
            sources.objects = Reading::Present(vec![(name.to_owned(), Ok(object.spec))]);
        }
        Some(_) | None => bail!(
            "vdo-core has no matrix for this VDOConfig; see CompatibilityResolved, or name a matrix with --matrix"
        ),
    }
    let wanted = wanted(&sources).map_err(|finding| anyhow!("cannot use {source}: {}", finding.message))?;
    Ok(wanted.origin)
}

async fn config_map(cluster: &Cluster, namespace: &str, name: &str) -> Result<ConfigMap> {
    let api = Api::<ConfigMap>::namespaced(cluster.client().clone(), namespace);
    cluster.read(api.get(name)).await.with_context(|| format!("cannot read ConfigMap/{name}"))
}

/// The copy of what is at this address.
async fn copy(cluster: &Cluster, namespace: &str, source: &str, place: &Place) -> Result<(String, Matrix)> {
    let address = &place.address;
    let advice = || format!("{source} names {address}; give that with --matrix");
    let map = config_map(cluster, namespace, MATRIX_COPY).await.with_context(advice)?;
    let copy = Copy::from_config_map(map)
        .with_context(|| format!("ConfigMap/{MATRIX_COPY} holds no copy as vdo-core writes it"))
        .with_context(advice)?;
    ensure!(
        copy.url == address.as_str(),
        "ConfigMap/{MATRIX_COPY} is the copy of another address; {}, or wait until vdo-core has fetched it",
        advice()
    );
    let name = format!("{source}, the copy of {address} of {}", copy.fetched);
    place.check(&copy.bytes, copy.signature.as_deref()).with_context(|| format!("cannot trust {name}"))?;
    let text = String::from_utf8(copy.bytes).with_context(|| format!("cannot use {name}"))?;
    let matrix = rows(&name, Source::Url, &text)?;
    Ok((name, matrix))
}

fn rows(name: &str, source: Source, text: &str) -> Result<Matrix> {
    let parsed = vdo_matrix::parse(source, text).with_context(|| format!("cannot use {name}"))?;
    Ok(parsed.matrix)
}
