//! A cluster with a node that is no machine of the vCenter, as an edge node of k3s: it is never deleted.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use e2e::crd::{NAMESPACE, apply, vdo};
use e2e::stand::{
    CONFIG, SECRET, VCENTER, apply_secret, apply_vcenter, await_condition, await_said, install_chart, matrix,
    programs, vcenter_config,
};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

const EDGE: &str = "edge-1";
/// Longer than the cloud provider takes to look at every node that is not ready; it looks each five seconds.
const LOOKED: Duration = Duration::from_secs(20);

fn cloud_provider_only() -> Value {
    vdo(CONFIG, &json!({"cloudProvider": {"vsphereCloudConfigs": [VCENTER]}}))
}

/// A node of another kind of machine, whose kubelet does not answer.
fn add_edge_node(bed: &Bed) -> String {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": EDGE, "labels": {"kubernetes.io/os": "linux"},
            // Neither the bed's kubelet nor its KWOK takes it for its own: it stays NotReady.
            "annotations": {"kwok.x-k8s.io/node": "nobody"},
        },
        "spec": {"providerID": "k3s://edge-1"},
    });
    bed.kubectl_with(&["apply", "-f", "-"], &node.to_string()).unwrap();
    let status = json!({
        "status": {
            "conditions": [{
                "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "it is unplugged",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
            "nodeInfo": {
                "systemUUID": "4c4c4544-0044-4810-8031-b2c04f4d5631", "machineID": "m", "bootID": "b",
                "kernelVersion": "6", "osImage": "edge", "containerRuntimeVersion": "containerd://2", "architecture": "amd64",
                "kubeletVersion": "v1.36.3", "kubeProxyVersion": "", "operatingSystem": "linux",
            },
        },
    });
    bed.kubectl(&["patch", "node", EDGE, "--subresource=status", "--type=merge", "-p", &status.to_string()])
        .unwrap();
    uid(bed).unwrap()
}

fn uid(bed: &Bed) -> Option<String> {
    let node = bed.get(&["node", EDGE]).ok()?;
    node["metadata"]["uid"].as_str().map(str::to_owned)
}

/// What an admin without VDO would apply: the same driver, with what deletes nodes left on.
fn plain_cloud_provider(bed: &Bed) -> String {
    let vcenter = bed.vcenter(1);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"username": vcenter.user, "password": vcenter.password().unwrap()},
    });
    let ca = std::fs::read_to_string(&vcenter.ca).unwrap();
    let authority = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vcenter-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": ca},
    });
    let config = vcenter_config(bed, &json!({"caRef": {"name": "vcenter-ca"}}));
    let input = [cloud_provider_only(), config, secret, authority];
    let input: Vec<String> = input.iter().map(Value::to_string).collect();
    let mut child = Command::new(programs().join("vdoctl"))
        .args(["render", "cpi", "--release", "1.36.0", "--show-secrets", "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.join("\n---\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_node_outside_vsphere_is_never_deleted_and_without_the_switch_it_would_be() {
    let bed = &Bed::from_env();
    let edge = add_edge_node(bed);
    install_chart(bed, &[]);
    let vcenter = bed.vcenter(1).clone();
    apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(bed);
    apply(bed, &matrix()).unwrap();
    apply(bed, &cloud_provider_only()).unwrap();
    let said = await_condition(bed, "vdo", CONFIG, "CPIReady", "True", Duration::from_secs(90));
    assert!(said.message.contains("never deletes a node"), "{said:?}");
    // Its own nodes are initialised all the same.
    await_said(bed, "vdo", CONFIG, "NodesInitialised", Duration::from_secs(30), |said| {
        said.message.contains(EDGE) || said.status == "True"
    });
    throughout(LOOKED, "the edge node stays", || match uid(bed) {
        Some(uid) if uid == edge => Ok(()),
        other => Err(format!("{other:?}")),
    });

    bed.kubectl(&["delete", "vdo", CONFIG, "-n", NAMESPACE, "--timeout=60s"]).unwrap();
    let manifest = plain_cloud_provider(bed);
    bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifest).unwrap();
    eventually(Duration::from_secs(60), "the plain cloud provider deletes it", || match uid(bed) {
        None => Ok(()),
        Some(_) => Err("it is there"),
    });
}
