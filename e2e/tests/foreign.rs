//! Somebody else's drivers are found before our first write, named, and not touched; once they are gone, ours come.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{
    CONFIG, VCENTER, apply_secret, apply_vcenter, await_condition, await_said, both_drivers, install_chart,
    matrix,
};
use serde_json::{Value, json};
use testbed::audit::AuditLog;
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

const SOON: Duration = Duration::from_secs(120);
/// Nothing watches what is not ours: an operator looks again every half a minute, and then it installs.
const AFTERWARDS: Duration = Duration::from_secs(120);

/// What somebody else has put there, and what is to be said of it.
struct Foreign<'a> {
    kind: &'a str,
    object: Value,
    reason: &'a str,
    named: &'a str,
    /// The conditions that say so, each with the operator that must not write.
    held: &'a [(&'a str, &'a str)],
}

/// Everything that an operator wrote after the first `before` requests, but status, leases and events.
fn written(bed: &Bed, operator: &str, before: usize) -> AuditLog {
    let audit = bed.audit().unwrap();
    let later = AuditLog { requests: audit.requests[before..].to_vec() };
    later.accepted_writes().by_account(NAMESPACE, operator).filter(|r| {
        let status = r.resource == "vdoconfigs" && r.subresource == "status";
        !status && !matches!(r.resource.as_str(), "leases" | "events")
    })
}

/// Asks for both drivers beside what somebody else has put there, and sees it left alone. Gives how many requests the
/// audit log held before.
fn left_alone(bed: &Bed, foreign: &Foreign) -> usize {
    let Foreign { kind, object, .. } = foreign;
    install_chart(bed, &[]);
    bed.kubectl_with(&["apply", "-f", "-"], &object.to_string()).unwrap();
    // What makes a platform was there for long: the API server serves a new CRD a moment after it took it.
    if let Some(group) = object["spec"]["group"].as_str() {
        eventually(SOON, "its group is served", || {
            match bed.kubectl(&["get", "--raw", "/apis"])?.contains(group) {
                true => Ok(()),
                false => anyhow::bail!("{group} is not among the groups"),
            }
        });
    }
    let name = object["metadata"]["name"].as_str().unwrap();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    // Its own controller may still write its status.
    let theirs = || {
        let object = bed.get(&[kind, name, "-n", namespace]).unwrap();
        let meta = &object["metadata"];
        json!([object["spec"], meta["uid"], meta["labels"], meta["annotations"], meta["finalizers"]])
    };
    let found = theirs();
    let before = bed.audit().unwrap().requests.len();
    let vcenter = bed.vcenter(1).clone();
    apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(bed);
    apply(bed, &matrix()).unwrap();
    apply(bed, &both_drivers()).unwrap();
    await_condition(bed, "vcc", VCENTER, "Ready", "True", SOON);
    for (condition, _) in foreign.held {
        let said = await_said(bed, "vdo", CONFIG, condition, SOON, |said| said.reason == foreign.reason);
        assert_eq!(said.status, "False", "{said:?}");
        assert!(said.message.contains(foreign.named), "{said:?}");
    }
    throughout(Duration::from_secs(10), "no object is written", || {
        let rows = foreign.held.iter().map(|(_, operator)| written(bed, operator, before));
        match rows.into_iter().find(|rows| !rows.is_empty()) {
            None => Ok(()),
            Some(rows) => Err(format!("{rows:#?}")),
        }
    });
    assert_eq!(theirs(), found);
    before
}

/// Takes it away, and sees the installation go on by itself.
fn then_installed(bed: &Bed, foreign: &Foreign, before: usize) {
    taken_away(bed, foreign);
    for (condition, operator) in foreign.held {
        await_condition(bed, "vdo", CONFIG, condition, "True", AFTERWARDS);
        assert!(!written(bed, operator, before).is_empty(), "{operator} installed and was not seen writing");
    }
}

fn taken_away(bed: &Bed, Foreign { kind, object, .. }: &Foreign) {
    let name = object["metadata"]["name"].as_str().unwrap();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    bed.kubectl(&["delete", kind, name, "-n", namespace, "--timeout=60s"]).unwrap();
}

/// Leaves the bed as the next story wants it.
fn clear(bed: &Bed) {
    bed.kubectl(&["delete", "vdo", CONFIG, "-n", NAMESPACE, "--timeout=90s"]).unwrap();
    bed.kubectl(&["delete", "vcc", VCENTER, "-n", NAMESPACE]).unwrap();
}

const CPI: (&str, &str) = ("CPIReady", "cpi-operator");
const CSI: (&str, &str) = ("CSIReady", "csi-operator");

#[test]
fn a_foreign_cloud_provider_is_named_and_not_touched() {
    let object = json!({
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
    let foreign = Foreign {
        kind: "daemonset",
        object,
        reason: "ForeignInstallation",
        named: "DaemonSet kube-system/rancher-vsphere-cpi",
        held: &[CPI],
    };
    let bed = Bed::from_env();
    let before = left_alone(&bed, &foreign);
    then_installed(&bed, &foreign, before);
    clear(&bed);
}

#[test]
fn a_foreign_csi_driver_is_named_and_not_touched() {
    let object = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "csi.vsphere.vmware.com"},
        "spec": {"attachRequired": true, "podInfoOnMount": false},
    });
    let foreign = Foreign {
        kind: "csidriver",
        object,
        reason: "ForeignInstallation",
        named: "CSIDriver csi.vsphere.vmware.com",
        held: &[CSI],
    };
    let bed = Bed::from_env();
    let before = left_alone(&bed, &foreign);
    then_installed(&bed, &foreign, before);
    clear(&bed);
}

#[test]
fn a_supervisor_cluster_is_left_alone() {
    let object = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "virtualmachines.vmoperator.vmware.com"},
        "spec": {
            "group": "vmoperator.vmware.com", "scope": "Namespaced",
            "names": {"kind": "VirtualMachine", "plural": "virtualmachines"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    let foreign = Foreign {
        kind: "crd",
        object,
        reason: "PlatformManagesDrivers",
        named: "Supervisor",
        held: &[CPI, CSI],
    };
    let bed = Bed::from_env();
    left_alone(&bed, &foreign);
    // No cluster stops being a Supervisor: nothing is told of afterwards.
    clear(&bed);
    taken_away(&bed, &foreign);
}
