//! Reads the nodes, page by page. Nothing here writes.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anyhow::{Context, Result};
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{Api, ListParams};
use serde::de::DeserializeOwned;
use vdo_api::names::CSI_DRIVER_NAME;
use vdo_plan::Reading;
use vdo_runtime::configs::fetch_active;
use vdo_runtime::node::{SlimNode, node_row};
use vdo_runtime::{Cluster, KubeFault};

use crate::nodes::SeenNodes;
use crate::progress::Progress;

/// How many objects are asked for at once.
const PAGE: u32 = 500;

/// Everything that the list of nodes is made of.
pub async fn observe(cluster: &Cluster, namespace: &str, progress: &Progress) -> Result<SeenNodes> {
    progress.say("reading the VDOConfig");
    let config = match fetch_active(cluster, namespace).await {
        Ok(config) => Reading::from(config),
        // Without the kind there is none.
        Err(KubeFault::NotFound { .. }) => Reading::Absent,
        Err(fault) => Reading::Unreadable(fault.to_string()),
    };
    let nodes = Api::<SlimNode>::all(cluster.client().clone());
    let nodes = paged(cluster, &nodes, "nodes", progress, |node: &SlimNode| Some(node_row(node)));
    let nodes = nodes.await.context("cannot read the nodes")?;
    let registered = Api::<CSINode>::all(cluster.client().clone());
    let registered = paged(cluster, &registered, "CSINodes", progress, |node: &CSINode| {
        let ours = node.spec.drivers.iter().any(|driver| driver.name == CSI_DRIVER_NAME);
        node.metadata.name.clone().filter(|_| ours)
    });
    let registered = match registered.await {
        Ok(names) => Reading::Present(names.into_iter().collect::<BTreeSet<String>>()),
        Err(fault) => Reading::Unreadable(fault.to_string()),
    };
    Ok(SeenNodes { nodes, registered, config })
}

/// What is kept of each object of a list, with the progress of it.
async fn paged<K, R>(
    cluster: &Cluster,
    api: &Api<K>,
    what: &str,
    progress: &Progress,
    keep: impl Fn(&K) -> Option<R>,
) -> Result<Vec<R>, KubeFault>
where
    K: Clone + Debug + DeserializeOwned,
{
    let at = |seen| {
        progress.say(match seen {
            0 => format!("reading the {what}"),
            seen => format!("reading the {what}, {seen} so far"),
        });
    };
    cluster.read_pages(api, ListParams::default().limit(PAGE), at, keep).await
}
