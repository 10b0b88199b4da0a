//! Reads a cluster. Nothing here writes.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use vdo_api::{VDOConfig, VsphereCloudConfig};
use vdo_plan::Reading;
use vdo_runtime::status::{Listed, fetch_all};
use vdo_runtime::{Cluster, KubeFault};

use crate::seen::{Operator, Seen};

/// The label that everything of the chart bears.
const PART_OF: &str = "app.kubernetes.io/part-of=vdo";

/// Everything that a status is made of.
pub async fn observe(cluster: &Cluster, namespace: &str, now: Timestamp) -> Result<Seen> {
    let configs =
        listed(fetch_all::<VDOConfig>(cluster, namespace).await).context("cannot read the VDOConfigs")?;
    let vcenters = listed(fetch_all::<VsphereCloudConfig>(cluster, namespace).await)
        .context("cannot read the VsphereCloudConfigs")?;
    let mut seen = Seen {
        namespace: namespace.to_owned(),
        now,
        configs: Reading::Absent,
        vcenters: Vec::new(),
        broken: Vec::new(),
        operators: operators(cluster, namespace).await,
    };
    let mut broken = |kind: &str, rows: &[vdo_runtime::watch::Broken]| {
        seen.broken.extend(rows.iter().map(|it| (format!("{kind} {}", it.name), it.why.clone())));
    };
    if let Some(configs) = configs {
        broken("VDOConfig", &configs.broken);
        seen.configs = Reading::Present(configs.objects);
    }
    if let Some(vcenters) = vcenters {
        broken("VsphereCloudConfig", &vcenters.broken);
        seen.vcenters = vcenters.objects;
    }
    Ok(seen)
}

/// `None` if the kind itself is not there.
fn listed<K>(answer: Result<Listed<K>, KubeFault>) -> Result<Option<Listed<K>>, KubeFault> {
    match answer {
        Err(KubeFault::NotFound { .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

/// The operators of the chart. Who may not see them still gets the rest.
pub async fn operators(cluster: &Cluster, namespace: &str) -> Reading<Vec<Operator>> {
    let api = Api::<Deployment>::namespaced(cluster.client().clone(), namespace);
    let params = ListParams::default().labels(PART_OF);
    match cluster.read(api.list(&params)).await {
        Ok(list) => Reading::Present(list.items.iter().map(operator).collect()),
        Err(fault) => Reading::Unreadable(fault.to_string()),
    }
}

fn operator(deployment: &Deployment) -> Operator {
    let pod = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    Operator {
        name: deployment.metadata.name.clone().unwrap_or_default(),
        image: pod.and_then(|pod| pod.containers.first()?.image.clone()).unwrap_or_default(),
        wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        available: deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0),
    }
}
