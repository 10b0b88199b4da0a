//! Node objects for the virtual machines, as kubelets with an external cloud provider would make them.
//!
//! The first ones are control-plane nodes and belong to the pod runner, which runs their pods for real. The rest are
//! workers and belong to KWOK, which only says that pods run.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::process::Components;
use crate::tools::KUBERNETES;
use crate::vcenter::Machine;

/// The annotation, as KEY=VALUE, of the nodes that KWOK manages.
pub const KWOK_ANNOTATION: &str = "kwok.x-k8s.io/node=fake";
/// The label and taint key of control-plane nodes.
pub const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// What a kubelet with `--cloud-provider external` taints its node with; the CPI takes it off.
pub const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

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

/// The Node of a machine.
pub fn node(machine: &Machine, role: Role) -> Result<Node> {
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
                "containerRuntimeVersion": "testbed://1", "kubeletVersion": KUBERNETES, "kubeProxyVersion": ""},
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
        }
    }
    serde_json::from_value(value).context("the node does not fit its own type")
}

/// Creates the nodes; the first `control_plane` of them are control-plane nodes.
pub async fn create(client: &Client, machines: &[Machine], control_plane: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let parameters = PostParams::default();
    stream::iter(machines.iter().enumerate())
        .map(|(index, machine)| {
            let role = if index < control_plane { Role::ControlPlane } else { Role::Worker };
            let (nodes, parameters) = (&nodes, &parameters);
            async move {
                let made = nodes.create(parameters, &node(machine, role)?).await;
                made.with_context(|| format!("failed to create node {}", machine.name))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

/// Waits until every node is Ready.
pub async fn are_ready(client: &Client, components: &mut Components, expected: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    components
        .wait_for("kwok", "every node is Ready", PATIENCE, async || {
            // From the API server's cache: thousands of nodes are looked at many times.
            let list = nodes.list(&ListParams::default().match_any()).await?;
            let missing: Vec<&str> =
                list.items.iter().filter(|node| !is_ready(node)).filter_map(name).collect();
            if list.items.len() == expected && missing.is_empty() {
                return Ok(());
            }
            let some = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            bail!("{} of {expected} nodes exist, {} are not Ready: {some}", list.items.len(), missing.len())
        })
        .await
}

fn name(node: &Node) -> Option<&str> {
    node.metadata.name.as_deref()
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
        let node = node(&machine(), Role::ControlPlane).unwrap();

        assert_eq!(taints(&node), [UNINITIALIZED, CONTROL_PLANE]);
        assert_eq!(node.metadata.annotations, None);
    }

    #[test]
    fn a_worker_is_for_kwok_and_waits_for_a_cloud_provider() {
        let node = node(&machine(), Role::Worker).unwrap();

        assert_eq!(taints(&node), [UNINITIALIZED]);
        assert_eq!(node.metadata.annotations.unwrap()["kwok.x-k8s.io/node"], "fake");
    }
}
