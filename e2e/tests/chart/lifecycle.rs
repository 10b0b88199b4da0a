//! What becomes of objects while the chart is installed, upgraded, uninstalled and installed again.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::crd::NAMESPACE;
use e2e::stand::{OPERATORS, rendered_chart};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use super::{install, uninstall};

/// Values that bring a vCenter with this datacenter and a VDOConfig along.
pub fn with_config(datacenter: &str) -> Value {
    json!({"config": {
        "create": true,
        "vsphereCloudConfigs": {"vcenter": {
            "vcIp": "vcenter.example.com", "credentials": "vcenter-credentials", "datacenters": [datacenter]}},
        "vdoConfig": {
            "cloudProvider": {"vsphereCloudConfigs": ["vcenter"]},
            "storageProvider": {"vsphereCloudConfig": "vcenter"}},
        "matrix": "{\"CSI\": {}}"}})
}

fn ours(bed: &Bed, kind: &str, name: &str) -> Value {
    bed.get(&[kind, name, "-n", NAMESPACE]).unwrap_or_else(|error| panic!("{error:#}"))
}

/// The UIDs of what has to outlive the chart.
fn uids(bed: &Bed) -> BTreeMap<String, String> {
    let mut uids = BTreeMap::new();
    let mut note = |object: Value| {
        let key = format!("{} {}", object["kind"], object["metadata"]["name"]);
        uids.insert(key, object["metadata"]["uid"].as_str().unwrap().to_owned());
    };
    note(ours(bed, "vcc", "vcenter"));
    note(ours(bed, "vdo", "vdo"));
    note(ours(bed, "configmap", "comp-matrix-config"));
    for plural in ["vdoconfigs", "vspherecloudconfigs", "compatibilityconfigs"] {
        note(bed.get(&["crd", &format!("{plural}.vdo.vmware.com")]).unwrap());
    }
    for namespace in ["vmware-system-cpi", "vmware-system-csi"] {
        note(bed.get(&["namespace", namespace]).unwrap());
    }
    uids
}

/// Nothing of the release is left but what is kept.
fn clean(bed: &Bed) {
    if bed.get(&["deployment", "vdo-core", "-n", NAMESPACE]).is_ok() {
        uninstall(bed).unwrap();
    }
    for kind in ["vdo", "vcc", "configmap/comp-matrix-config"] {
        let all = if kind.contains('/') { "" } else { "--all" };
        let arguments = ["delete", kind, all, "-n", NAMESPACE, "--ignore-not-found"];
        let arguments: Vec<&str> = arguments.into_iter().filter(|it| !it.is_empty()).collect();
        // Before the first installation nobody knows the kinds.
        bed.kubectl(&arguments).ok();
    }
}

#[test]
fn a_configuration_that_comes_with_the_chart_is_changed_by_it_and_outlives_it() {
    let bed = Bed::from_env();
    clean(&bed);
    // helm knows no kind that the API server does not know: the very first time, the chart comes alone.
    if bed.get(&["crd", "vdoconfigs.vdo.vmware.com"]).is_err() {
        let said = format!("{:#}", install(&bed, &with_config("DC0")).unwrap_err());
        assert!(
            said.contains("without config.create first") && said.contains("config.create=true"),
            "{said}"
        );
    }
    install(&bed, &json!({})).unwrap_or_else(|error| panic!("{error:#}"));
    install(&bed, &with_config("DC0")).unwrap_or_else(|error| panic!("{error:#}"));
    let first = uids(&bed);
    assert_eq!(ours(&bed, "vcc", "vcenter")["spec"]["datacenters"], json!(["DC0"]));

    install(&bed, &with_config("DC1")).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(ours(&bed, "vcc", "vcenter")["spec"]["datacenters"], json!(["DC1"]));
    assert_eq!(uids(&bed), first);

    // Switched off again, it is left as it is.
    install(&bed, &json!({})).unwrap();
    assert_eq!(uids(&bed), first);
    install(&bed, &with_config("DC1")).unwrap_or_else(|error| panic!("{error:#}"));

    uninstall(&bed).unwrap();
    assert!(bed.get(&["deployment", "vdo-core", "-n", NAMESPACE]).is_err());
    assert_eq!(uids(&bed), first);
    let vdo = ours(&bed, "vdo", "vdo");
    assert!(vdo["metadata"]["deletionTimestamp"].is_null());

    // helm takes what is there into a release as it is, and the chart says so.
    let said = install(&bed, &with_config("DC2")).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(said.contains("there was a VDOConfig before"), "{said}");
    assert_eq!(uids(&bed), first);
    assert_eq!(ours(&bed, "vcc", "vcenter")["spec"]["datacenters"], json!(["DC1"]));
    install(&bed, &with_config("DC3")).unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(uids(&bed), first);
    assert_eq!(ours(&bed, "vcc", "vcenter")["spec"]["datacenters"], json!(["DC3"]));
    clean(&bed);
}

/// The versions of all objects of one part.
fn versions(bed: &Bed, part: &str) -> BTreeMap<String, String> {
    let label = format!("app.kubernetes.io/name={part}");
    let list = bed
        .get(&[
            "deployments,services,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings",
            "-A",
            "-l",
            &label,
        ])
        .unwrap();
    let items = list["items"].as_array().unwrap();
    let version = |it: &Value| {
        let key = format!("{} {}", it["kind"], it["metadata"]["name"]);
        (key, it["metadata"]["resourceVersion"].as_str().unwrap().to_owned())
    };
    items.iter().map(version).collect()
}

#[test]
fn an_upgrade_of_one_part_writes_nothing_of_the_others() {
    let bed = Bed::from_env();
    install(&bed, &json!({})).unwrap();
    let before = OPERATORS.map(|part| versions(&bed, part));
    assert!(before.iter().all(|objects| objects.len() >= 6), "{before:?}");

    install(&bed, &json!({"cpi-operator": {"image": {"tag": "0.2.0"}}})).unwrap();
    let [core, cpi, csi] = OPERATORS.map(|part| versions(&bed, part));
    assert_eq!((&core, &csi), (&before[0], &before[2]));
    let changed: Vec<&String> =
        cpi.iter().filter(|(key, it)| before[1].get(*key) != Some(it)).map(|(key, _)| key).collect();
    assert_eq!(changed, ["\"Deployment\" \"cpi-operator\""]);

    // One that is switched off goes, and takes nothing of the others along.
    install(&bed, &json!({"csi-operator": {"enabled": false}})).unwrap();
    assert_eq!(versions(&bed, "vdo-core"), before[0]);
    assert!(versions(&bed, "csi-operator").is_empty());
    uninstall(&bed).unwrap();
}

/// A CRD that takes anything, in the place of the Prometheus operator's.
fn monitoring_crd(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_ascii_lowercase(), "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

#[test]
fn monitors_rules_policies_and_the_dashboard_are_accepted_where_their_kinds_are_known() {
    let bed = Bed::from_env();
    let values = json!({
        "global": {
            "metrics": {"serviceMonitor": {"enabled": true, "labels": {"release": "prometheus"}}},
            "networkPolicy": {"enabled": true, "metricsFrom": ["monitoring"]}},
        "alerts": {"enabled": true}, "dashboard": {"enabled": true}});
    // Without the kinds, helm names the one that is missing and makes nothing.
    let said = format!("{:#}", install(&bed, &values).unwrap_err());
    assert!(said.contains("ServiceMonitor") || said.contains("PrometheusRule"), "{said}");
    for (kind, plural) in [("ServiceMonitor", "servicemonitors"), ("PrometheusRule", "prometheusrules")] {
        bed.kubectl_with(&["apply", "-f", "-"], &monitoring_crd(kind, plural).to_string()).unwrap();
        let crd = format!("crd/{plural}.monitoring.coreos.com");
        eventually(Duration::from_secs(30), "the kind is served", || {
            bed.kubectl(&["wait", "--for=condition=Established", "--timeout=1s", &crd])
        });
    }
    install(&bed, &values).unwrap_or_else(|error| panic!("{error:#}"));
    for name in OPERATORS {
        let monitor = ours(&bed, "servicemonitor", name);
        let service = ours(&bed, "service", name);
        for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
            assert_eq!(&service["metadata"]["labels"][label], value, "{name}: {label}");
        }
        assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
        ours(&bed, "networkpolicy", name);
    }
    let rules = ours(&bed, "prometheusrule", "vdo");
    let first = &rules["spec"]["groups"][0]["rules"][0];
    let link = first["annotations"]["runbook_url"].as_str().unwrap();
    assert!(link.starts_with("https://") && link.ends_with("#vdodegraded"), "{link}");
    assert!(first["annotations"]["description"].as_str().unwrap().contains("{{ $labels.name }}"));
    uninstall(&bed).unwrap();
}

#[test]
fn one_file_is_enough_for_those_who_have_no_helm() {
    let bed = Bed::from_env();
    let text = rendered_chart(&bed, "vdo", &[]).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &namespace.to_string()).unwrap();
    let apply = || bed.kubectl_with(&["apply", "--server-side", "--validate=strict", "-f", "-"], &text);
    apply().unwrap_or_else(|error| panic!("{error:#}"));
    let before = OPERATORS.map(|part| versions(&bed, part));
    apply().unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(OPERATORS.map(|part| versions(&bed, part)), before);
    bed.kubectl_with(&["delete", "--ignore-not-found", "--wait=false", "-f", "-"], &text).unwrap();
}
