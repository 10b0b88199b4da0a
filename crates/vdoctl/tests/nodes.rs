//! `vdoctl nodes` against the scripted API server, and transcripts of its list as golden files.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-runtime/tests/support/mod.rs"]
mod support;

mod page;

use serde_json::{Value, json};
use support::{Api, Reply};
use vdoctl::look::{Look, Paint};
use vdoctl::nodes::list::{Columns, draw};
use vdoctl::nodes::{NodesReport, observe::observe};
use vdoctl::progress::Progress;

const NAMESPACE: &str = "vmware-system-vdo";
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vdoconfigs/vdo";

/// A node, by what makes it differ from the others.
fn node(api: &Api, name: &str, number: usize, provider: Option<&str>, ready: bool, tainted: bool) {
    let role = if name.starts_with("cp-") { "node-role.kubernetes.io/control-plane" } else { "other" };
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {role: ""}}, "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "addresses": [{"type": "InternalIP", "address": format!("10.1.{}.{}", number / 250, number % 250 + 1)}],
            "nodeInfo": {"systemUUID": uuid(number)},
        },
    });
    if let Some(provider) = provider {
        node["spec"]["providerID"] = provider.into();
    }
    if tainted {
        let key = "node.cloudprovider.kubernetes.io/uninitialized";
        node["spec"]["taints"] = json!([{"key": key, "value": "true", "effect": "NoSchedule"}]);
    }
    api.put(&format!("/api/v1/nodes/{name}"), node);
}

fn uuid(number: usize) -> String {
    format!("4230a8f3-1c4e-7d21-9f60-{number:012}")
}

/// A node as it should be.
fn good(api: &Api, name: &str, number: usize) {
    node(api, name, number, Some(&format!("vsphere://{}", uuid(number))), true, false);
    registered(api, name);
}

fn registered(api: &Api, name: &str) {
    let drivers = json!([{"name": "csi.vsphere.vmware.com", "nodeID": name, "topologyKeys": null}]);
    let node = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": name},
        "spec": {"drivers": drivers}});
    api.put(&format!("/apis/storage.k8s.io/v1/csinodes/{name}"), node);
}

fn config(api: &Api, findings: &Value) {
    let installed = |release: &str| json!({"installed": {"release": release, "revision": "1", "since": "2026-03-01T11:57:00Z"}});
    api.put(
        CONFIG,
        json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "vdo", "namespace": NAMESPACE},
            "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc1"]}, "storageProvider": {"vsphereCloudConfig": "vc1"}},
            "status": {"nodes": {"expected": 6, "initialised": 3, "findings": findings},
                "cpi": installed("1.36.0"), "csi": installed("3.7.0")},
        }),
    );
}

/// One node of each kind that a person meets.
fn mixed() -> Api {
    let api = Api::new();
    good(&api, "cp-1", 1);
    good(&api, "w-1", 2);
    node(&api, "edge-1", 3, Some("k3s://edge-1"), true, false);
    node(&api, "w-2", 4, Some(&format!("vsphere://{}", uuid(4))), false, false);
    node(&api, "w-17", 5, None, true, true);
    node(&api, "w-31", 6, None, true, false);
    for name in ["edge-1", "w-31"] {
        registered(&api, name);
    }
    config(
        &api,
        &json!([
            {"reason": "VMNotFound", "count": 1, "names": ["w-17"]},
            {"reason": "WaitsForCloudProvider", "count": 1, "names": ["w-17"]},
        ]),
    );
    api
}

async fn report(api: &Api) -> NodesReport {
    NodesReport::of(&observe(&api.cluster(), NAMESPACE, &Progress::default()).await.unwrap())
}

fn check(name: &str, text: &str) {
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "golden"}, {
        insta::assert_snapshot!(format!("nodes-{name}"), text);
    });
}

#[tokio::test]
async fn a_list_has_a_row_for_each_node_and_says_below_what_to_do() {
    let report = report(&mixed()).await;
    assert!(!report.ok);
    for width in [80, 200] {
        let text = draw(&report, Columns::Usual, Look::plain(width));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width, "{longest} of {width}");
        check(&format!("mixed-{width}"), &text);
    }
    check("mixed-wide-200", &draw(&report, Columns::Wide, Look::plain(200)));
}

#[tokio::test]
async fn healthy_nodes_are_a_table_and_nothing_else() {
    let api = Api::new();
    ["cp-1", "w-1", "w-2"].iter().enumerate().for_each(|(number, name)| good(&api, name, number));
    config(&api, &json!([]));
    let report = report(&api).await;
    assert!(report.ok);
    check("healthy-80", &draw(&report, Columns::Usual, Look::plain(80)));
}

#[tokio::test]
async fn colours_do_not_move_a_column() {
    let report = report(&mixed()).await;
    let mut painted = draw(&report, Columns::Wide, Look { width: 200, paint: Paint::Coloured });
    let plain = draw(&report, Columns::Wide, Look::plain(200));
    assert!(painted.len() > plain.len());
    for code in ["0", "1", "31", "32", "33"] {
        painted = painted.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(painted, plain);
}

#[tokio::test]
async fn five_thousand_nodes_come_in_pages() {
    let api = Api::new();
    for number in 0..5_000 {
        good(&api, &format!("w-{number:04}"), number);
    }
    config(&api, &json!([]));
    api.page(500);
    let report = report(&api).await;
    assert!(report.ok && report.nodes.len() == 5_000, "{}", report.nodes.len());
    let log = api.log();
    let lists: Vec<_> = log.iter().filter(|seen| seen.path == "/api/v1/nodes").collect();
    assert_eq!(lists.len(), 10);
    assert!(
        log.iter()
            .all(|seen| seen.path == "/api/v1/version" || seen.query["limit"].parse::<u32>().unwrap() <= 500)
    );
}

#[tokio::test]
async fn a_list_whose_version_is_gone_is_begun_again() {
    let api = Api::new();
    ["w-1", "w-2", "w-3"].iter().enumerate().for_each(|(number, name)| good(&api, name, number));
    api.page(2);
    let mut once = Some(Reply::Refuse(410, "too old"));
    api.script(move |seen| {
        once.take_if(|_| seen.path == "/api/v1/nodes" && seen.query.contains_key("continue"))
    });
    let report = report(&api).await;
    assert_eq!(report.nodes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["w-1", "w-2", "w-3"]);
    assert_eq!(api.log().iter().filter(|seen| seen.path == "/api/v1/nodes").count(), 4);
}

#[tokio::test]
async fn who_may_not_see_csinodes_still_sees_the_nodes() {
    let api = mixed();
    api.script(|seen| seen.path.ends_with("/csinodes").then_some(Reply::Refuse(403, "not allowed")));
    let report = report(&api).await;
    assert_eq!(report.nodes.len(), 6);
    assert!(report.nodes.iter().all(|node| node.csi_registered.is_none()));
    let text = draw(&report, Columns::Usual, Look::plain(80));
    assert!(text.contains("Not known: the CSINodes cannot be read: not allowed"), "{text}");
}

#[tokio::test]
async fn nodes_that_cannot_be_read_are_no_empty_list() {
    let api = mixed();
    api.script(|seen| (seen.path == "/api/v1/nodes").then_some(Reply::Refuse(403, "not allowed")));
    let error = observe(&api.cluster(), NAMESPACE, &Progress::default()).await.unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot read the nodes: not allowed"), "{error:#}");
}

#[tokio::test]
async fn a_server_does_not_steer_the_terminal() {
    let api = Api::new();
    node(&api, "w-1", 1, Some("x://\u{1b}[31m"), true, false);
    let text = draw(&report(&api).await, Columns::Wide, Look::plain(200));
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[tokio::test]
async fn programs_get_every_node_in_json() {
    let value = serde_json::to_value(report(&mixed()).await).unwrap();
    assert_eq!(value["ok"], false);
    let node = value["nodes"].as_array().unwrap().iter().find(|it| it["name"] == "w-17").unwrap();
    assert_eq!(node["provider"], "none");
    assert_eq!(node["findings"], json!(["VMNotFound", "WaitsForCloudProvider"]));
    assert_eq!(value["nodes"][0]["providerId"], format!("vsphere://{}", uuid(1)));
}

#[tokio::test]
async fn the_page_lists_the_fields_of_a_list() {
    let api = mixed();
    let whole = report(&api).await;
    api.script(|seen| seen.path.ends_with("/csinodes").then_some(Reply::Refuse(403, "not allowed")));
    let answers = [whole, report(&api).await];
    page::lists_the_fields_of("nodes", &answers.map(|it| serde_json::to_value(it).unwrap()));
}
