//! Nodes, as little of each as decisions need: a cluster may have thousands, and each kubelet reports every
//! few seconds what nobody here looks at.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, ResourceExt};
use serde::Deserialize;
use vdo_api::names::UNINITIALIZED_TAINT;

use crate::client::Cluster;
use crate::slim::{metadata, slim_resource};
use crate::watch::{Rows, Selector, Watches};

/// Labels that say that a node is part of the control plane; the second is the older name.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// A Node of which only the used fields are decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimNode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "providerID")]
    provider_id: Option<Box<str>>,
    taints: Option<Vec<Taint>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: Box<str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    addresses: Option<Vec<Address>>,
    conditions: Option<Vec<Condition>>,
    node_info: NodeInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    #[serde(rename = "type")]
    type_: Box<str>,
    address: Box<str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: Box<str>,
    status: Box<str>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeInfo {
    #[serde(rename = "systemUUID")]
    system_uuid: Box<str>,
}

slim_resource!(SlimNode, Node, kube::core::ClusterResourceScope);

/// A CSINode of which only the names of the drivers are decoded.
#[derive(Clone, Debug, Deserialize)]
pub struct SlimCsiNode {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: CsiNodeSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct CsiNodeSpec {
    drivers: Option<Vec<NodeDriver>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NodeDriver {
    name: Box<str>,
}

slim_resource!(SlimCsiNode, CSINode, kube::core::ClusterResourceScope);

impl SlimCsiNode {
    /// Whether a driver of this name is registered on the node.
    pub fn has(&self, driver: &str) -> bool {
        self.spec.drivers.iter().flatten().any(|it| &*it.name == driver)
    }
}

/// What is kept of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Its name.
    pub name: Box<str>,
    /// Its UID.
    pub uid: Box<str>,
    /// What the cloud provider wrote; `None` until then.
    pub provider_id: Option<Box<str>>,
    /// Whether it still waits for a cloud provider.
    pub uninitialized: bool,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
    /// Whether its pod network is reported as missing.
    pub network_unavailable: bool,
    /// Whether it is part of the control plane.
    pub control_plane: bool,
    /// The UUID that its firmware reports; empty if its kubelet has not said so yet.
    pub system_uuid: Box<str>,
    /// Its internal addresses.
    pub internal_ips: Vec<IpAddr>,
    /// The keys of its taints.
    pub taints: Vec<Box<str>>,
}

/// The row of a Node.
pub fn node_row(node: &SlimNode) -> NodeRow {
    let condition = |type_: &str| {
        let conditions = node.status.conditions.iter().flatten();
        conditions.clone().any(|condition| &*condition.type_ == type_ && &*condition.status == "True")
    };
    let addresses = node.status.addresses.iter().flatten();
    let internal = addresses.filter(|address| &*address.type_ == "InternalIP");
    let taints: Vec<Box<str>> = node.spec.taints.iter().flatten().map(|taint| taint.key.clone()).collect();
    NodeRow {
        name: node.metadata.name.as_deref().unwrap_or_default().into(),
        uid: node.metadata.uid.as_deref().unwrap_or_default().into(),
        provider_id: node.spec.provider_id.clone().filter(|id| !id.is_empty()),
        uninitialized: taints.iter().any(|key| &**key == UNINITIALIZED_TAINT),
        ready: condition("Ready"),
        network_unavailable: condition("NetworkUnavailable"),
        control_plane: CONTROL_PLANE.iter().any(|label| node.labels().contains_key(*label)),
        system_uuid: node.status.node_info.system_uuid.clone(),
        internal_ips: internal.filter_map(|address| address.address.parse().ok()).collect(),
        taints,
    }
}

impl Watches {
    /// All Nodes.
    pub fn nodes(&self, cluster: &Cluster) -> Rows<NodeRow> {
        let api = Api::<SlimNode>::all(cluster.client().clone());
        self.watch("nodes", api, Selector::all(), |node| Some(node_row(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_gives_its_row_and_nothing_else_of_it_matters() {
        let mut full = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {
                "name": "w-1", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/hostname": "w-1"},
                "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
            },
            "spec": {"providerID": "vsphere://4200", "podCIDR": "10.0.0.0/24", "taints": [
                {"key": "node.cloudprovider.kubernetes.io/uninitialized", "effect": "NoSchedule", "value": "true"},
            ]},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": "10.1.2.3"}, {"type": "InternalIP", "address": "fd00::1"},
                    {"type": "Hostname", "address": "w-1"},
                ],
                "conditions": [
                    {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
                    {"type": "NetworkUnavailable", "status": "Unknown"},
                ],
                "nodeInfo": {"systemUUID": "4200-AB", "kernelVersion": "6"},
            },
        });
        let row = |value: &serde_json::Value| node_row(&serde_json::from_value(value.clone()).unwrap());
        let seen = row(&full);
        assert_eq!(
            seen,
            NodeRow {
                name: "w-1".into(),
                uid: "u".into(),
                provider_id: Some("vsphere://4200".into()),
                uninitialized: true,
                ready: true,
                network_unavailable: false,
                control_plane: true,
                system_uuid: "4200-AB".into(),
                internal_ips: vec!["10.1.2.3".parse().unwrap(), "fd00::1".parse().unwrap()],
                taints: vec!["node.cloudprovider.kubernetes.io/uninitialized".into()],
            }
        );
        full["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-01-01T00:05:00Z".into();
        assert_eq!(row(&full), seen, "a heartbeat wakes nobody");
    }

    #[test]
    fn a_csi_node_has_the_drivers_that_are_registered_on_it() {
        let has = |drivers: serde_json::Value| {
            let object = json!({"metadata": {"name": "w-1"}, "spec": {"drivers": drivers}});
            serde_json::from_value::<SlimCsiNode>(object).unwrap().has("csi.example.com")
        };
        let driver = |name: &str| json!({"name": name, "nodeID": "42", "topologyKeys": ["zone"]});
        assert!(has(json!([driver("other"), driver("csi.example.com")])));
        assert!(!has(json!([driver("other")])) && !has(json!([])) && !has(json!(null)));
    }

    #[test]
    fn a_bare_node_is_a_row_too() {
        let bare =
            json!({"metadata": {"name": "n"}, "spec": {"taints": null}, "status": {"addresses": null}});
        let row = node_row(&serde_json::from_value(bare).unwrap());
        assert!(!row.ready && !row.uninitialized && row.provider_id.is_none() && row.system_uuid.is_empty());
    }
}
