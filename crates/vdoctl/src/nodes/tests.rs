use serde_json::{Value, json};

use super::*;

const UUID: &str = "4230a8f3-1c4e-7d21-9f60-0123456789ab";

fn row(name: &str, provider_id: Option<&str>) -> NodeRow {
    NodeRow {
        name: name.into(),
        uid: name.into(),
        provider_id: provider_id.map(Into::into),
        uninitialized: false,
        ready: true,
        network_unavailable: false,
        control_plane: false,
        system_uuid: UUID.into(),
        internal_ips: Vec::new(),
        taints: Vec::new(),
    }
}

fn waits(name: &str) -> NodeRow {
    NodeRow { uninitialized: true, ..row(name, None) }
}

fn config(findings: Value) -> Reading<VDOConfig> {
    Reading::Present(
        serde_json::from_value(json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig", "metadata": {"name": "vdo"},
            "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc1"]}, "storageProvider": {"vsphereCloudConfig": "vc1"}},
            "status": {
                "nodes": {"expected": 9, "initialised": 1, "findings": findings},
                "cpi": {"installed": {"release": "1.36.0", "revision": "1", "since": "2026-03-01T11:57:00Z"}},
                "csi": {"installed": {"release": "3.7.0", "revision": "1", "since": "2026-03-01T11:57:00Z"}},
            },
        }))
        .unwrap(),
    )
}

fn seen(nodes: Vec<NodeRow>, registered: &[&str], findings: Value) -> SeenNodes {
    let registered = Reading::Present(registered.iter().map(|name| (*name).to_owned()).collect());
    SeenNodes { nodes, registered, config: config(findings) }
}

fn findings(report: &NodesReport) -> Vec<(&str, i64, i64)> {
    report.findings.iter().map(|it| (it.reason.as_str(), it.count, it.unnamed)).collect()
}

#[test]
fn the_kind_of_a_provider_id_is_told_as_vdo_core_tells_it() {
    let id = format!("vsphere://{UUID}");
    for (id, expected) in [
        (Some(id.as_str()), Provider::Vsphere),
        (Some("vsphere://"), Provider::Malformed),
        (Some("vsphere://somewhere"), Provider::Malformed),
        (Some("aws:///eu-west-1/i-0123"), Provider::Foreign),
        (Some("k3s://cp-1"), Provider::Foreign),
        (None, Provider::None),
    ] {
        assert_eq!(provider(&row("n", id)), expected, "{id:?}");
    }
}

#[test]
fn a_node_as_it_should_be_has_no_finding() {
    let report =
        NodesReport::of(&seen(vec![row("w-1", Some(&format!("vsphere://{UUID}")))], &["w-1"], json!([])));
    assert!(report.ok && report.nodes[0].initialised, "{report:?}");
    assert_eq!(report.nodes[0].csi_registered, Some(true));
}

#[test]
fn what_a_node_says_itself_counts_before_what_the_status_said() {
    let told = json!([{"reason": "WaitsForCloudProvider", "count": 7, "names": ["w-1"]}]);
    let nodes = vec![row("w-1", Some(&format!("vsphere://{UUID}"))), waits("w-2")];
    let report = NodesReport::of(&seen(nodes, &["w-1", "w-2"], told));
    assert_eq!(findings(&report), [("WaitsForCloudProvider", 1, 0)]);
    assert_eq!(report.nodes[1].findings, ["WaitsForCloudProvider"]);
}

#[test]
fn what_only_the_operators_know_is_taken_from_the_status_and_the_rest_is_counted() {
    let told = json!([{"reason": "VMNotFound", "count": 7, "names": ["w-1", "w-2", "w-3", "w-4", "w-5"]}]);
    let nodes = ["w-1", "w-2", "w-3", "w-4", "w-5", "w-6", "w-7"].map(waits).to_vec();
    let all: Vec<&str> = vec!["w-1", "w-2", "w-3", "w-4", "w-5", "w-6", "w-7"];
    let report = NodesReport::of(&seen(nodes, &all, told));
    assert_eq!(findings(&report), [("VMNotFound", 7, 2), ("WaitsForCloudProvider", 7, 0)]);
    assert_eq!(report.nodes[0].findings, ["VMNotFound", "WaitsForCloudProvider"]);
    assert!(report.findings[0].remedy.starts_with("Name the vCenter and datacenter"));
}

#[test]
fn a_node_that_was_never_tainted_and_one_that_csi_is_not_registered_on_are_found() {
    let nodes = vec![row("w-1", None), row("w-2", Some(&format!("vsphere://{UUID}")))];
    let report = NodesReport::of(&seen(nodes, &[], json!([])));
    assert_eq!(report.nodes[0].findings, ["ProviderIDMissing"], "CSI waits for it");
    assert_eq!(report.nodes[1].findings, ["CSINotRegistered"]);
    assert_eq!(findings(&report), [("CSINotRegistered", 1, 0), ("ProviderIDMissing", 1, 0)]);
}

#[test]
fn what_is_not_installed_is_missed_on_no_node() {
    for config in [Reading::Absent, Reading::Unreadable("forbidden".to_owned())] {
        let report = NodesReport::of(&SeenNodes { config, ..seen(vec![row("w-1", None)], &[], json!([])) });
        assert!(report.ok, "{report:?}");
    }
}

#[test]
fn what_could_not_be_read_is_not_taken_for_an_answer() {
    let registered = Reading::Unreadable("not allowed".to_owned());
    let nodes = vec![row("w-1", Some(&format!("vsphere://{UUID}")))];
    let report = NodesReport::of(&SeenNodes { registered, ..seen(nodes, &[], json!([])) });
    assert!(report.ok && report.nodes[0].csi_registered.is_none());
    assert_eq!(report.unread, ["the CSINodes cannot be read: not allowed"]);
}

#[test]
fn nodes_come_by_name() {
    let nodes = ["w-2", "cp-1", "w-1"].map(|name| row(name, Some("k3s://n"))).to_vec();
    let report = NodesReport::of(&seen(nodes, &["w-1", "w-2", "cp-1"], json!([])));
    assert_eq!(report.nodes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["cp-1", "w-1", "w-2"]);
}
