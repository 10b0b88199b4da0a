//! What the chart renders, for value sets that real clusters have. A golden file holds what a set changes: the default's holds
//! everything but CRDs and roles, which are generated and checked elsewhere.

use std::collections::BTreeSet;

use e2e::stand::{OPERATORS, built_chart, helm, rendered_objects};
use serde_json::{Value, json};
use testbed::bed::Bed;

use super::{Objects, render};

/// The value sets: a name, and the values.
fn sets() -> Vec<(&'static str, Value)> {
    vec![
        (
            "mirror",
            json!({
                "global": {"imageRegistry": "mirror.example.com:5000/vdo", "imagePullSecrets": ["mirror"]},
                "vdo-core": {"image": {"digest": format!("sha256:{}", "a".repeat(64))}},
                "cpi-operator": {"image": {"tag": "0.2.0"}}}),
        ),
        ("host-network", json!({"global": {"bootstrap": {"hostNetwork": true}, "listenAddress": "[::]"}})),
        (
            "monitoring",
            json!({
                "global": {"metrics": {"serviceMonitor": {
                    "enabled": true, "interval": "15s", "labels": {"release": "prometheus"}}}},
                "alerts": {"enabled": true, "labels": {"release": "prometheus"}},
                "dashboard": {"enabled": true}}),
        ),
        (
            "locked-down",
            json!({
                "global": {
                    "networkPolicy": {"enabled": true, "metricsFrom": ["monitoring"]},
                    "credentials": {"kubeSystemSecrets": []},
                    "extraLabels": {"example.com/team": "storage"}},
                "vdo-core": {"log": {"format": "json", "level": "debug"}}}),
        ),
        (
            "placement",
            json!({"vdo-core": {
                "replicas": 1, "nodeSelector": {"example.com/pool": "infra"}, "priorityClassName": "high",
                "affinity": {"nodeAffinity": {}}, "tolerations": [{"key": "infra", "operator": "Exists"}],
                "podAnnotations": {"example.com/note": "x"}, "podDisruptionBudget": {"enabled": true},
                "resources": {"limits": {"memory": "96Mi"}}}}),
        ),
        (
            "parts",
            json!({
                "vdo-crds": {"enabled": false}, "csi-operator": {"enabled": false}, "namespaces": {"create": false}}),
        ),
        (
            "no-metrics",
            json!({
                "global": {"metrics": {"enabled": false}},
                "cpi-operator": {"rolloutDeadlineSeconds": 900, "rolloutSoakSeconds": 0}}),
        ),
        (
            "proxy",
            json!({"vdo-core": {
                "proxy": {
                    "https": "http://proxy.example.com:3128",
                    "noProxy": [".example.org", "matrix.example.com", "10.0.0.0/8"]},
                "caBundle": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"}}),
        ),
        ("config", super::lifecycle::with_config("DC0")),
    ]
}

fn is_told_elsewhere(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    kind == "CustomResourceDefinition" || kind.starts_with("Role") || kind.starts_with("ClusterRole")
}

fn check(name: &str, text: &str) {
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "golden"}, {
        insta::assert_snapshot!(name, text);
    });
}

/// Objects as a person reads them. A file within an object is told by its length: it has a test of its own.
fn told(objects: &Objects) -> String {
    let mut text = String::new();
    for (key, object) in objects {
        let mut object = object.clone();
        if object["kind"] == "PrometheusRule" {
            let rules = object["spec"]["groups"][0]["rules"].as_array().map_or(0, Vec::len);
            object["spec"]["groups"] = format!("({rules} rules)").into();
        }
        if key.ends_with("/vdo-dashboard") {
            let panels: Value = serde_json::from_str(object["data"]["vdo.json"].as_str().unwrap()).unwrap();
            let panels = panels["panels"].as_array().map_or(0, Vec::len);
            object["data"]["vdo.json"] = format!("({panels} panels)").into();
        }
        let body = serde_json::to_string_pretty(&object).unwrap();
        text.push_str(&format!("# {key}\n{body}\n"));
    }
    text
}

#[test]
fn helm_has_nothing_to_say_against_the_charts() {
    let bed = Bed::from_env();
    let charts = built_chart(&bed).unwrap();
    for part in OPERATORS.iter().chain(&["vdo", "vdo-crds"]) {
        let chart = charts.with_file_name(part).display().to_string();
        let said =
            helm(&bed, &["lint", "--strict", &chart]).unwrap_or_else(|error| panic!("{part}: {error:#}"));
        assert!(said.contains("0 chart(s) failed"), "{part}: {said}");
    }
}

#[test]
fn what_value_sets_render_is_as_it_was_reviewed() {
    let bed = Bed::from_env();
    let default = render(&bed, &json!({})).unwrap();
    let mut plain = default.clone();
    plain.retain(|_, object| !is_told_elsewhere(object));
    assert!(plain.len() >= 11, "{:?}", plain.keys());
    check("default", &told(&plain));
    for (name, values) in sets() {
        let rendered = render(&bed, &values).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let gone: BTreeSet<&String> = default.keys().filter(|key| !rendered.contains_key(*key)).collect();
        let mut text: String = gone.into_iter().map(|key| format!("# gone: {key}\n")).collect();
        let mut changed = rendered.clone();
        changed.retain(|key, object| default.get(key) != Some(object) && !is_told_elsewhere(object));
        text.push_str(&told(&changed));
        assert!(!text.is_empty(), "{name} changes nothing");
        check(name, &text);
    }
}

#[test]
fn the_values_that_the_page_shows_bring_the_objects_along() {
    let bed = Bed::from_env();
    let page = std::fs::read_to_string(e2e::checkout("docs/configure.md")).unwrap();
    let block = page.split("```yaml\nconfig:").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let values: Value = serde_saphyr::from_str(&format!("config:{block}")).unwrap();
    let objects = render(&bed, &values).unwrap_or_else(|error| panic!("{error:#}"));
    for kind in ["VDOConfig", "VsphereCloudConfig"] {
        assert!(objects.values().any(|object| object["kind"] == kind), "no {kind}");
    }
}

#[test]
fn every_part_alone_renders_what_it_renders_in_the_whole() {
    let bed = Bed::from_env();
    let whole = render(&bed, &json!({})).unwrap();
    for part in OPERATORS {
        let alone = rendered_objects(&bed, part, &[]).unwrap();
        assert!(alone.len() > 4, "{part}");
        for object in alone {
            assert!(whole.values().any(|there| *there == object), "{part}: {object}");
        }
    }
}
