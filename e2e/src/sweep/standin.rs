//! Plays drivers and controllers: what a workload controller, a cloud provider, a syncer and the nodes' registrars would
//! write, at once and always the same.
//!
//! What to write follows from the objects alone ([`deeds`]), so it needs no memory, and a case can be told from another only
//! by what the operators did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};

use super::history::Id;
use super::server::{Recording, apply, merge, path};

const CPI: &str = "vmware-system-cpi";
const CSI: &str = "vmware-system-csi";
const TAINT: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// How often leases are renewed. They last for [`TERM`] seconds.
const RENEW: Duration = Duration::from_secs(2);
const TERM: u32 = 15;

/// What the stand-in is told besides.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Pods never start of images that contain one of these.
    pub broken: Vec<String>,
}

/// Something to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// A merge patch at a path.
    Merge(String, Value),
    /// An apply at a path.
    Apply(String, Value),
}

/// Who is alive in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// The cloud provider.
    pub cpi: bool,
    /// The CSI controller with its syncer.
    pub controller: bool,
    /// The node plug-ins.
    pub node: bool,
}

/// Plays for ever.
pub async fn play(client: Client, recording: Arc<Recording>, orders: Arc<Mutex<Orders>>) {
    let mut renewed: Option<tokio::time::Instant> = None;
    loop {
        let now = orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut todo, alive) = deeds(&recording.history().objects, &now);
        let due = renewed.is_none_or(|at| at.elapsed() >= RENEW);
        if due || !todo.is_empty() {
            todo.extend(leases(alive));
            renewed = Some(tokio::time::Instant::now());
        }
        for deed in todo {
            // What is gone by now needs nothing any more, and what failed is still to do at the next look.
            if let Err(fault) = make(&client, &deed).await {
                eprintln!("stand-in: {fault:#}");
            }
        }
        // A change that came meanwhile is noted, and wakes at once.
        tokio::time::timeout(RENEW, recording.changed.notified()).await.ok();
    }
}

async fn make(client: &Client, deed: &Deed) -> Result<()> {
    match deed {
        Deed::Merge(path, patch) => merge(client, path, patch).await.map(drop),
        Deed::Apply(path, object) => apply(client, path, object).await,
    }
}

/// What is to write for these objects, and who is alive.
pub fn deeds(objects: &BTreeMap<Id, Value>, orders: &Orders) -> (Vec<Deed>, Alive) {
    let nodes: Vec<(&Id, &Value)> = objects.iter().filter(|(id, _)| id.kind == "Node").collect();
    let mut todo = Vec::new();
    let mut alive = Alive::default();
    for (id, object) in objects {
        if !matches!(id.kind.as_str(), "DaemonSet" | "Deployment")
            || ![CPI, CSI].contains(&id.namespace.as_str())
        {
            continue;
        }
        if !object["metadata"]["deletionTimestamp"].is_null() {
            todo.extend(merge_at(id, "", json!({"metadata": {"finalizers": null}})));
            continue;
        }
        let status = status(id, object, nodes.len(), orders);
        // The API server leaves out some numbers that are 0.
        let is_zero = |value: &Value| value.is_null() || *value == json!(0);
        let there = |(key, value): (&String, &Value)| {
            let is = &object["status"][key];
            is == value || (is_zero(is) && is_zero(value))
        };
        if !status.as_object().is_some_and(|wanted| wanted.iter().all(there)) {
            todo.extend(merge_at(id, "/status", json!({"status": status})));
        }
        let works =
            status["numberAvailable"].as_i64().or(status["availableReplicas"].as_i64()).unwrap_or_default()
                > 0;
        match (id.namespace.as_str(), id.kind.as_str()) {
            (CPI, "DaemonSet") => alive.cpi = works,
            (CSI, "Deployment") => alive.controller = works,
            (CSI, "DaemonSet") => alive.node = works,
            _ => {}
        }
    }
    if alive.cpi {
        todo.extend(nodes.iter().filter_map(|(id, node)| initialised(id, node)));
    }
    todo.extend(registrations(objects, &nodes, alive.node));
    (todo, alive)
}

fn merge_at(id: &Id, more: &str, patch: Value) -> Option<Deed> {
    Some(Deed::Merge(format!("{}{more}", path(id).ok()?), patch))
}

/// What the workload's controller would say once it has done its work.
fn status(id: &Id, object: &Value, nodes: usize, orders: &Orders) -> Value {
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let images: BTreeSet<&str> =
        containers.into_iter().flatten().filter_map(|it| it["image"].as_str()).collect();
    let broken = images.iter().any(|image| orders.broken.iter().any(|part| image.contains(part.as_str())));
    let generation = &object["metadata"]["generation"];
    if id.kind == "DaemonSet" {
        let works = if broken { 0 } else { nodes };
        return json!({
            "observedGeneration": generation, "desiredNumberScheduled": nodes, "currentNumberScheduled": nodes,
            "updatedNumberScheduled": nodes, "numberReady": works, "numberAvailable": works, "numberMisscheduled": 0});
    }
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let works = if broken { 0 } else { replicas };
    json!({"observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": works, "availableReplicas": works})
}

/// What a cloud provider does to a new node.
fn initialised(id: &Id, node: &Value) -> Option<Deed> {
    let taints = node["spec"]["taints"].as_array()?;
    if !taints.iter().any(|taint| taint["key"] == TAINT) {
        return None;
    }
    let left: Vec<&Value> = taints.iter().filter(|taint| taint["key"] != TAINT).collect();
    let uuid = node.pointer("/status/nodeInfo/systemUUID")?.as_str()?;
    merge_at(id, "", json!({"spec": {"taints": left, "providerID": format!("vsphere://{uuid}")}}))
}

/// The nodes' entries for the driver, while its plug-in runs there.
fn registrations(objects: &BTreeMap<Id, Value>, nodes: &[(&Id, &Value)], runs: bool) -> Vec<Deed> {
    let mut todo = Vec::new();
    for (id, node) in nodes {
        let entry = Id::new("CSINode", "", &id.name);
        let drivers =
            objects.get(&entry).and_then(|it| it.pointer("/spec/drivers")).and_then(Value::as_array);
        let registered = drivers.is_some_and(|drivers| !drivers.is_empty());
        if registered == runs {
            continue;
        }
        let uuid = node.pointer("/status/nodeInfo/systemUUID").cloned().unwrap_or_default();
        let drivers =
            if runs { json!([{"name": "csi.vsphere.vmware.com", "nodeID": uuid}]) } else { json!([]) };
        if let Ok(path) = path(&entry) {
            todo.push(Deed::Apply(
                path,
                json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": id.name},
                "spec": {"drivers": drivers}}),
            ));
        }
    }
    todo
}

/// The leases of those who are alive.
fn leases(alive: Alive) -> Vec<Deed> {
    let lease = |namespace: &str, name: &str| {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}");
        Deed::Apply(
            path,
            json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "namespace": namespace},
            "spec": {"holderIdentity": "stand-in", "leaseDurationSeconds": TERM, "renewTime": now}}),
        )
    };
    let mut all = Vec::new();
    if alive.cpi {
        all.push(lease("kube-system", "cloud-controller-manager"));
    }
    if alive.controller {
        all.push(lease(CSI, "vsphere-syncer"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daemon_set(image: &str) -> (Id, Value) {
        let object = json!({
            "metadata": {"generation": 3},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
        (Id::new("DaemonSet", CPI, "ccm"), object)
    }

    fn node() -> (Id, Value) {
        let object = json!({
            "metadata": {"name": "n"}, "spec": {"taints": [{"key": TAINT}, {"key": "other"}]},
            "status": {"nodeInfo": {"systemUUID": "u"}}});
        (Id::new("Node", "", "n"), object)
    }

    #[test]
    fn a_new_cloud_provider_runs_and_initialises_nodes() {
        let (todo, alive) = deeds(&[daemon_set("cpi:v1"), node()].into(), &Orders::default());

        assert!(alive.cpi && !alive.controller);
        assert_eq!(todo.len(), 2, "{todo:?}");
        let Deed::Merge(_, patch) = &todo[1] else { panic!("{todo:?}") };
        assert_eq!(patch["spec"], json!({"taints": [{"key": "other"}], "providerID": "vsphere://u"}));
    }

    #[test]
    fn a_broken_image_never_works() {
        let orders = Orders { broken: vec![":v1".to_owned()] };
        let (todo, alive) = deeds(&[daemon_set("cpi:v1"), node()].into(), &orders);

        assert!(!alive.cpi);
        let Deed::Merge(path, patch) = &todo[0] else { panic!("{todo:?}") };
        assert!(path.ends_with("/status"));
        assert_eq!(patch["status"]["numberAvailable"], 0);
        assert_eq!(patch["status"]["updatedNumberScheduled"], 1);
    }

    #[test]
    fn nothing_is_to_do_for_what_is_as_it_should_be() {
        let (id, mut set) = daemon_set("cpi:v1");
        set["status"] = status(&id, &set, 0, &Orders::default());
        assert_eq!(deeds(&[(id.clone(), set.clone())].into(), &Orders::default()).0, []);

        // As the API server gives it back.
        set["status"].as_object_mut().unwrap().retain(|_, value| *value != 0);
        assert_eq!(deeds(&[(id, set)].into(), &Orders::default()).0, []);
    }

    #[test]
    fn a_workload_that_waits_for_its_pods_is_let_go() {
        let (id, mut set) = daemon_set("cpi:v1");
        set["metadata"]["deletionTimestamp"] = json!("now");
        let (todo, alive) = deeds(&[(id, set)].into(), &Orders::default());

        assert!(!alive.cpi);
        assert!(matches!(&todo[..], [Deed::Merge(_, patch)] if patch["metadata"]["finalizers"].is_null()));
    }
}
