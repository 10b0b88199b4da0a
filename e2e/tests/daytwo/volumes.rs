//! What holds a removal, and what only looks like ours.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::bed::Bed;

use crate::house::{CPI, CSI, condition, until};

const VOLUMES: &str = "story=daytwo";

/// Volumes of the driver, as the API server knows them. Each is claimed: the driver 3.7.0 crashes when one goes that
/// nobody has claimed.
pub fn make_volumes(bed: &Bed, numbers: std::ops::Range<usize>) {
    let volume = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": format!("pv-{number:03}"), "labels": {"story": "daytwo"}},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": "default", "name": format!("pvc-{number:03}")},
                "csi": {"driver": "csi.vsphere.vmware.com", "volumeHandle": format!("00000000-0000-0000-0000-{number:012}")},
            },
        })
    };
    let items: Vec<Value> = numbers.map(volume).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    bed.kubectl_with(&["create", "-f", "-"], &list).unwrap();
}

pub fn delete_volumes(bed: &Bed) {
    bed.kubectl(&["delete", "pv", "-l", VOLUMES, "--wait=false"]).unwrap();
}

/// Waits until the removal is held by so many volumes, and gives what is said.
pub fn held_by(bed: &Bed, volumes: usize) -> String {
    let config = until(bed, &format!("{volumes} volumes hold it"), |config| {
        let said = condition(config, "CSIReady");
        let text = said["message"].as_str().unwrap_or_default();
        ensure!(said["reason"] == "VolumesExist" && text.contains(&format!("{volumes} volume")), "{said}");
        Ok(())
    });
    condition(&config, "CSIReady")["message"].as_str().unwrap().to_owned()
}

/// Objects of somebody else that look like ours: names of upstream, the label of whatever is managed by VDO, our namespaces.
pub fn lookalikes() -> Vec<(&'static str, Value)> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let managed = json!({"app.kubernetes.io/managed-by": "vdo"});
    vec![
        (
            "default",
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "vdo-cpi", "labels": managed}}),
        ),
        (
            CSI,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vsphere-config", "labels": managed}}),
        ),
        (CPI, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}})),
        (
            "",
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": {"name": "vsphere-csi-controller-role"}}),
        ),
        (
            "",
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "mine"},
            "provisioner": "csi.vsphere.vmware.com"}),
        ),
    ]
}

/// Each by its identity, its generation and version.
pub fn identities(bed: &Bed, of: &[(&str, Value)]) -> Result<Vec<Value>> {
    let of_one = |(namespace, object): &(&str, Value)| {
        let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        let meta = &bed.get(&[kind, name, "-n", namespace])?["metadata"];
        Ok(json!([kind, name, meta["uid"], meta["generation"], meta["resourceVersion"]]))
    };
    of.iter().map(of_one).collect()
}
