//! Somebody else's drivers are found before our first write, named, and not touched.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{
    CONFIG, VCENTER, apply_secret, apply_vcenter, await_condition, await_said, both_drivers, install_chart,
    matrix,
};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::throughout;

const SOON: Duration = Duration::from_secs(60);

/// Asks for both drivers beside what somebody else has put there, and expects hands off `condition`.
fn untouched(bed: &Bed, kind: &str, foreign: &Value, condition: &str, named: &str, reason: &str) {
    install_chart(bed, &[]);
    bed.kubectl_with(&["apply", "-f", "-"], &foreign.to_string()).unwrap();
    let name = foreign["metadata"]["name"].as_str().unwrap();
    let namespace = foreign["metadata"]["namespace"].as_str().unwrap_or("default");
    let before = bed.get(&[kind, name, "-n", namespace]).unwrap();
    let vcenter = bed.vcenter(1).clone();
    apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(bed);
    apply(bed, &matrix()).unwrap();
    apply(bed, &both_drivers()).unwrap();
    await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
    let said = await_said(bed, "vdo", CONFIG, condition, SOON, |said| said.reason == reason);
    assert!(said.message.contains(named), "{said:?}");
    let operator = if condition == "CPIReady" { "cpi-operator" } else { "csi-operator" };
    throughout(Duration::from_secs(10), "no object is written", || {
        let written = bed.audit()?.accepted_writes().by_account(NAMESPACE, operator).filter(|r| {
            !matches!(r.resource.as_str(), "leases" | "events" | "vdoconfigs") && !r.is_dry_run()
        });
        if written.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{written:#?}")) }
    });
    let after = bed.get(&[kind, name, "-n", namespace]).unwrap();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"]);
    bed.kubectl(&["delete", "vdo", CONFIG, "-n", NAMESPACE, "--timeout=60s"]).unwrap();
    bed.kubectl(&["delete", "vcc", VCENTER, "-n", NAMESPACE]).unwrap();
    bed.kubectl(&["delete", kind, name, "-n", namespace]).unwrap();
}

#[test]
fn a_foreign_cloud_provider_is_named_and_not_touched() {
    let foreign = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "rancher-vsphere-cpi", "namespace": "kube-system"},
        "spec": {
            "selector": {"matchLabels": {"app": "cpi"}},
            "template": {
                "metadata": {"labels": {"app": "cpi"}},
                "spec": {
                    "nodeSelector": {"no-such-node": "here"},
                    "containers": [{"name": "cpi",
                        "image": "rancher/mirrored-cloud-provider-vsphere-cpi-release-manager:v1.30.1"}],
                },
            },
        },
    });
    let named = "DaemonSet kube-system/rancher-vsphere-cpi";
    untouched(&Bed::from_env(), "daemonset", &foreign, "CPIReady", named, "ForeignInstallation");
}

#[test]
fn a_foreign_csi_driver_is_named_and_not_touched() {
    let foreign = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.vsphere.vmware.com"},
        "spec": {"attachRequired": true, "podInfoOnMount": false},
    });
    let named = "CSIDriver csi.vsphere.vmware.com";
    untouched(&Bed::from_env(), "csidriver", &foreign, "CSIReady", named, "ForeignInstallation");
}

#[test]
fn a_supervisor_cluster_is_left_alone() {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "virtualmachines.vmoperator.vmware.com"},
        "spec": {
            "group": "vmoperator.vmware.com", "scope": "Namespaced",
            "names": {"kind": "VirtualMachine", "plural": "virtualmachines"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    untouched(&Bed::from_env(), "crd", &crd, "CPIReady", "Supervisor", "PlatformManagesDrivers");
}
