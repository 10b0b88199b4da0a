//! Live looks for volumes of a storage driver: what holds its removal.

use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use vdo_plan::Reading;

use crate::client::Cluster;
use crate::fault::KubeFault;

/// Everything that needs the driver of this name, each as `kind name`: volumes, attachments and, where their API is
/// served, snapshot contents. Read page by page, never from a watch.
pub async fn needing(cluster: &Cluster, driver: &str) -> Reading<Vec<String>> {
    match look(cluster, driver).await {
        Ok(found) => Reading::Present(found),
        Err(fault) => Reading::Unreadable(fault.to_string()),
    }
}

/// The attachments of volumes of the driver of this name, each as `kind name`.
pub async fn attached(cluster: &Cluster, driver: &str) -> Reading<Vec<String>> {
    match attachments(cluster, driver).await {
        Ok(found) => Reading::Present(found),
        Err(fault) => Reading::Unreadable(fault.to_string()),
    }
}

async fn attachments(cluster: &Cluster, driver: &str) -> Result<Vec<String>, KubeFault> {
    let of_attacher = |attachment: &VolumeAttachment| attachment.spec.attacher == driver;
    let api = Api::<VolumeAttachment>::all(cluster.client().clone());
    named(cluster, api, "VolumeAttachment", of_attacher).await
}

async fn look(cluster: &Cluster, driver: &str) -> Result<Vec<String>, KubeFault> {
    let client = || cluster.client().clone();
    let of_driver = |volume: &PersistentVolume| {
        let csi = volume.spec.as_ref().and_then(|spec| spec.csi.as_ref());
        csi.is_some_and(|csi| csi.driver == driver)
    };
    let mut found =
        named(cluster, Api::<PersistentVolume>::all(client()), "PersistentVolume", of_driver).await?;
    found.extend(attachments(cluster, driver).await?);
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent");
    let snapshots = Api::<DynamicObject>::all_with(
        client(),
        &ApiResource::from_gvk_with_plural(&kind, "volumesnapshotcontents"),
    );
    let of_snapshotter = |content: &DynamicObject| {
        content.data.pointer("/spec/driver").and_then(serde_json::Value::as_str) == Some(driver)
    };
    match named(cluster, snapshots, "VolumeSnapshotContent", of_snapshotter).await {
        Ok(contents) => found.extend(contents),
        // Nobody serves this kind, so there is none.
        Err(KubeFault::NotFound { .. }) => {}
        Err(fault) => return Err(fault),
    }
    Ok(found)
}

async fn named<K>(
    cluster: &Cluster,
    api: Api<K>,
    kind: &str,
    wanted: impl Fn(&K) -> bool,
) -> Result<Vec<String>, KubeFault>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned,
{
    let name = |it: &K| wanted(it).then(|| format!("{kind} {}", it.name_any()));
    cluster.read_pages(&api, ListParams::default().limit(250), |_| (), name).await
}
