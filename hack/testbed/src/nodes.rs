//! Node objects for the virtual machines, as kubelets with an external cloud provider would make them.
//!
//! The first ones are control-plane nodes and belong to the pod runner, which runs their pods for real. The rest are
//! workers and belong to KWOK, which only says that pods run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::process::Components;
use crate::spec::Kubernetes;
use crate::vcenter::Machine;

/// The annotation, as KEY=VALUE, of the nodes that KWOK manages.
pub const KWOK_ANNOTATION: &str = "kwok.x-k8s.io/node=fake";
/// The label and taint key of control-plane nodes.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// What a kubelet with `--cloud-provider external` taints its node with; the CPI takes it off.
pub const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Heartbeats that two cores can bear: how long a lease lasts is chosen so that there are no more in a second. It is
/// renewed four times in its life.
const RENEWALS_PER_SECOND: usize = 25;
/// How long a kubelet's lease lasts.
const LEASE_SECONDS: usize = 40;
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(240);

/// Which nodes a machine becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Run by the pod runner.
    ControlPlane,
    /// Simulated by KWOK.
    Worker,
}

/// How long the leases of so many simulated nodes last.
pub fn lease_seconds(nodes: usize) -> usize {
    LEASE_SECONDS.max(nodes * 4 / RENEWALS_PER_SECOND)
}

/// The Node of a machine.
pub fn node(machine: &Machine, role: Role, kubernetes: Kubernetes) -> Result<Node> {
    let mut value = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.name, "labels": {
            "kubernetes.io/hostname": machine.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
        "spec": {"taints": [{"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}]},
        "status": {
            "nodeInfo": {
                "systemUUID": machine.uuid, "machineID": machine.uuid.replace('-', ""), "bootID": machine.uuid,
                "architecture": "amd64", "operatingSystem": "linux", "osImage": "testbed", "kernelVersion": "testbed",
                "containerRuntimeVersion": "testbed://1", "kubeletVersion": kubernetes.release(), "kubeProxyVersion": ""},
            "capacity": {"cpu": "32", "memory": "256Gi", "pods": "110"},
            "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": machine.ip}, {"type": "Hostname", "address": machine.name}],
        },
    });
    match role {
        Role::ControlPlane => {
            value["metadata"]["labels"][CONTROL_PLANE] = json!("");
            let taints = value["spec"]["taints"].as_array_mut().context("the node has taints")?;
            taints.push(json!({"key": CONTROL_PLANE, "effect": "NoSchedule"}));
        }
        Role::Worker => {
            let (key, word) = KWOK_ANNOTATION.split_once('=').context("the annotation has a value")?;
            value["metadata"]["annotations"] = json!({ key: word });
            // As KWOK would report a moment later; it needs minutes for thousands of new nodes.
            value["status"]["conditions"] = conditions();
        }
    }
    serde_json::from_value(value).context("the node does not fit its own type")
}

/// What a healthy node reports about itself.
fn conditions() -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    json!([
        condition("Ready", "True", "KubeletReady"),
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("NetworkUnavailable", "False", "RouteCreated"),
    ])
}

/// Creates the nodes; the first `control_plane` of them are control-plane nodes.
pub async fn create(
    client: &Client,
    machines: &[Machine],
    control_plane: usize,
    kubernetes: Kubernetes,
) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let parameters = PostParams::default();
    stream::iter(machines.iter().enumerate())
        .map(|(index, machine)| {
            let role = if index < control_plane { Role::ControlPlane } else { Role::Worker };
            let (nodes, parameters) = (&nodes, &parameters);
            async move {
                let made = nodes.create(parameters, &node(machine, role, kubernetes)?).await;
                made.with_context(|| format!("failed to create node {}", machine.name))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// Waits until every node is Ready. Follows a watch: listing thousands of nodes again and again would slow down
/// what it waits for.
pub async fn are_ready(client: &Client, components: &mut Components, expected: usize) -> Result<()> {
    let seen: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
    let follower = tokio::spawn(follow(Api::all(client.clone()), Arc::clone(&seen)));
    let outcome = components
        .wait_for("kwok", "every node is Ready", PATIENCE, async || {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let missing: Vec<&str> =
                seen.iter().filter(|(_, ready)| !**ready).map(|(name, _)| name.as_str()).collect();
            if seen.len() == expected && missing.is_empty() {
                return Ok(());
            }
            let some = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            bail!(
                "{} of {expected} nodes are seen, {} of them are not Ready: {some}",
                seen.len(),
                missing.len()
            )
        })
        .await;
    follower.abort();
    outcome
}

async fn follow(nodes: Api<Node>, seen: Arc<Mutex<BTreeMap<String, bool>>>) {
    let mut events = watcher(nodes, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::Init) => seen.clear(),
            Ok(watcher::Event::InitDone) => {}
            Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                seen.insert(node.name_any(), is_ready(&node));
            }
            Ok(watcher::Event::Delete(node)) => {
                seen.remove(&node.name_any());
            }
            Err(error) => eprintln!("testbed: watching nodes: {error}"),
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "node-0".to_owned(),
            uuid: "420f0d47-6f3d-5b1c-9a57-0d2a5a5a1c11".to_owned(),
            ip: "198.18.0.11".to_owned(),
        }
    }

    fn taints(node: &Node) -> Vec<String> {
        let taints = node.spec.clone().and_then(|spec| spec.taints).unwrap_or_default();
        taints.into_iter().map(|taint| taint.key).collect()
    }

    #[test]
    fn a_control_plane_node_is_not_for_kwok() {
        let node = node(&machine(), Role::ControlPlane, Kubernetes::Newest).unwrap();

        assert_eq!(taints(&node), [UNINITIALIZED, CONTROL_PLANE]);
        assert_eq!(node.metadata.annotations, None);
    }

    #[test]
    fn a_worker_is_for_kwok_and_waits_for_a_cloud_provider() {
        let node = node(&machine(), Role::Worker, Kubernetes::Newest).unwrap();

        assert_eq!(taints(&node), [UNINITIALIZED]);
        assert_eq!(node.metadata.annotations.unwrap()["kwok.x-k8s.io/node"], "fake");
    }
}
