//! What a kubelet and the registrar sidecar do for the CSI driver on each node: the entry in the CSINode object.
//!
//! For every node on which a pod of the driver's node DaemonSet runs, the CSINode of that name lists the driver, with
//! the machine's UUID as its id there; without such a pod it does not. Node names in the file [`WITHHOLD`] of the
//! bed's folder, one per line, are left out, as if their registrar had never spoken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

/// The driver's name.
pub const DRIVER: &str = "csi.vsphere.vmware.com";
/// The file with the nodes to leave out, below the bed's folder.
pub const WITHHOLD: &str = "withhold-csinodes";

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Keeps CSINode objects true until the bed ends.
pub async fn follow(client: Client, folder: &Path) -> Result<()> {
    let withhold = folder.join(WITHHOLD);
    let (pods, pod_writer) = reflector::store();
    let (nodes, node_writer) = reflector::store();
    let pod_api: Api<Pod> = Api::all(client.clone());
    let node_api: Api<Node> = Api::all(client.clone());
    let mut pod_events = watcher(pod_api, watcher::Config::default())
        .default_backoff()
        .modify(forget_what_we_never_read)
        .reflect(pod_writer)
        .boxed();
    let mut node_events =
        watcher(node_api, watcher::Config::default()).default_backoff().reflect(node_writer).boxed();
    let mut look = tokio::time::interval(LOOK);
    let mut written = BTreeMap::new();
    let mut last_seen = None;
    loop {
        let mut changed = false;
        tokio::select! {
            event = pod_events.next() => changed |= note(event)?,
            event = node_events.next() => changed |= note(event)?,
            _ = look.tick() => {}
        }
        let held = withheld(&withhold);
        if !changed && last_seen.as_ref() == Some(&held) {
            continue;
        }
        let wanted = registrations(&pods.state(), &nodes.state(), &held);
        match converge(&client, &wanted, &mut written).await {
            Ok(()) => last_seen = Some(held),
            // Tried again at the next tick: `last_seen` still differs.
            Err(error) => {
                last_seen = None;
                eprintln!("{error:#}");
            }
        }
    }
}

/// What a node's CSINode should say.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Registration {
    /// UID of the Node, the object's owner.
    owner: String,
    /// The driver's id for the node; `None` where no registrar would have spoken.
    id: Option<String>,
}

/// One registration for each node.
fn registrations(
    pods: &[impl AsRef<Pod>],
    nodes: &[impl AsRef<Node>],
    withheld: &BTreeSet<String>,
) -> BTreeMap<String, Registration> {
    let with_plugin: BTreeSet<&str> = pods.iter().filter_map(|pod| node_of_plugin(pod.as_ref())).collect();
    nodes
        .iter()
        .map(AsRef::as_ref)
        .filter_map(|node| {
            let name = node.metadata.name.as_deref()?;
            let owner = node.metadata.uid.clone()?;
            let speaks = with_plugin.contains(name) && !withheld.contains(name);
            let uuid = node.status.as_ref()?.node_info.as_ref()?.system_uuid.clone();
            Some((name.to_owned(), Registration { owner, id: speaks.then_some(uuid) }))
        })
        .collect()
}

/// The node of a pod that is the node plug-in with its registrar, once both run.
fn node_of_plugin(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() || !owners.iter().any(|owner| owner.kind == "DaemonSet") {
        return None;
    }
    let spec = pod.spec.as_ref()?;
    let registrar = |name: &str, image: &str| {
        name.contains("node-driver-registrar") || image.contains("csi-node-driver-registrar")
    };
    let registers = spec
        .containers
        .iter()
        .any(|container| registrar(&container.name, container.image.as_deref().unwrap_or_default()));
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.as_deref().unwrap_or_default();
    let all_run = !containers.is_empty()
        && containers
            .iter()
            .all(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    (registers && all_run).then_some(spec.node_name.as_deref()).flatten()
}

async fn converge(
    client: &Client,
    wanted: &BTreeMap<String, Registration>,
    written: &mut BTreeMap<String, Registration>,
) -> Result<()> {
    let api: Api<CSINode> = Api::all(client.clone());
    // The object of a deleted Node is collected with its owner.
    written.retain(|name, _| wanted.contains_key(name));
    for (name, registration) in wanted {
        let before = written.get(name);
        let silent = before.is_none() && registration.id.is_none();
        if silent || before == Some(registration) {
            continue;
        }
        let drivers = registration.id.as_ref().map(|id| json!({"name": DRIVER, "nodeID": id}));
        let object = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": name, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": name, "uid": registration.owner}]},
            "spec": {"drivers": drivers.into_iter().collect::<Vec<_>>()},
        });
        api.patch(name, &PatchParams::apply("testbed-csinode").force(), &Patch::Apply(&object))
            .await
            .with_context(|| format!("failed to write CSINode {name}"))?;
        println!("{name}: {}", registration.id.as_deref().unwrap_or("unregistered"));
        written.insert(name.clone(), registration.clone());
    }
    Ok(())
}

fn note<K>(event: Option<Result<watcher::Event<K>, watcher::Error>>) -> Result<bool> {
    match event {
        Some(Ok(_)) => Ok(true),
        Some(Err(error)) => {
            eprintln!("watch: {error}");
            Ok(false)
        }
        None => bail!("a watch ended"),
    }
}

fn withheld(file: &PathBuf) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn forget_what_we_never_read(pod: &mut Pod) {
    pod.managed_fields_mut().clear();
    pod.annotations_mut().clear();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pod(owner: &str, state: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "p", "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": owner, "name": "d", "uid": "u"}]},
                "spec": {"nodeName": "node-0", "containers": [
                    {"name": "node-driver-registrar"}, {"name": "vsphere-csi-node"}]},
                "status": {"containerStatuses": [
                    {"name": "node-driver-registrar", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                     "state": {state: {}}}]},
            }))
            .unwrap(),
        )
    }

    fn node() -> Arc<Node> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": "node-0", "uid": "node-uid"},
                "status": {"nodeInfo": {
                    "systemUUID": "uuid-0", "machineID": "", "bootID": "", "architecture": "", "operatingSystem": "",
                    "osImage": "", "kernelVersion": "", "containerRuntimeVersion": "", "kubeletVersion": "",
                    "kubeProxyVersion": ""}},
            }))
            .unwrap(),
        )
    }

    fn seen(pod: Arc<Pod>, withheld: &[&str]) -> Option<String> {
        let withheld = withheld.iter().map(|name| (*name).to_owned()).collect();
        registrations(&[pod], &[node()], &withheld)["node-0"].id.clone()
    }

    #[test]
    fn a_running_node_plugin_registers_its_machine() {
        assert_eq!(seen(pod("DaemonSet", "running"), &[]).as_deref(), Some("uuid-0"));
    }

    #[test]
    fn a_registrar_that_does_not_run_registers_nothing() {
        assert_eq!(seen(pod("DaemonSet", "waiting"), &[]), None);
    }

    #[test]
    fn the_controller_registers_nothing() {
        assert_eq!(seen(pod("ReplicaSet", "running"), &[]), None);
    }

    #[test]
    fn a_withheld_node_stays_out() {
        assert_eq!(seen(pod("DaemonSet", "running"), &["node-0"]), None);
    }
}
