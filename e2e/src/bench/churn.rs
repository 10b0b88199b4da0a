//! Nodes that come and go while both drivers are installed: what the operators make of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::api::{ApiResource, DeleteParams, DynamicObject, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client};
use testbed::bed::Bed;
use testbed::control_plane;
use testbed::nodes::{Role, node};
use testbed::spec::Kubernetes;
use testbed::vcenter::Machine;
use tokio::time::{Instant, sleep_until};

use super::install::say;
use super::{between, by_kind, count, ours, process, rounded};
use crate::crd::NAMESPACE;
use crate::stand::CONFIG;

/// How long a node is away.
const AWAY: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// The conditions that must not change.
const STEADY: [&str; 4] = ["Ready", "CPIReady", "CSIReady", "Degraded"];

/// What was seen.
pub struct Seen {
    /// The figures by name.
    pub figures: BTreeMap<String, f64>,
    /// The operators' writes by kind.
    pub writes: BTreeMap<String, f64>,
}

/// Takes so many nodes away each minute and brings each back a minute later, and watches for so long.
pub fn measure(bed: &Bed, minutes: u64, each_minute: u32) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(bed, minutes, each_minute))
}

async fn run(bed: &Bed, minutes: u64, each_minute: u32) -> Result<Seen> {
    let client = control_plane::client(&bed.kubeconfig(), "bench").await?;
    let conditions = Arc::new(Mutex::new(Conditions::default()));
    let watch = tokio::spawn(follow(client.clone(), Arc::clone(&conditions)));
    say(&format!("{each_minute} nodes a minute go, and come back after a minute; for {minutes} minutes"));
    let begin = Timestamp::now();
    let moved = move_nodes(bed, &client, minutes, each_minute).await?;
    let end = Timestamp::now();
    ensure!(!watch.is_finished(), "the watch of the VDOConfig ended");
    watch.abort();
    let writes = between(&ours(bed)?, begin, end).accepted_writes();
    let flaps = conditions.lock().unwrap_or_else(PoisonError::into_inner).flaps.clone();
    ensure!(moved.changes > 0, "no node came or went");
    for flap in &flaps {
        say(flap);
    }
    let figures = BTreeMap::from([
        ("churnReadyFlaps".to_owned(), f64::from(u32::try_from(flaps.len())?)),
        ("churnWritesPerNodeChange".to_owned(), rounded(count(&writes)? / f64::from(moved.changes), 3)),
        ("churnResidentMiB".to_owned(), moved.resident),
    ]);
    Ok(Seen { figures, writes: by_kind(&writes) })
}

/// What was done, and the most memory that was seen meanwhile.
#[derive(Default)]
struct Moved {
    changes: u32,
    resident: f64,
}

async fn move_nodes(bed: &Bed, client: &Client, minutes: u64, each_minute: u32) -> Result<Moved> {
    let nodes: Api<Node> = Api::all(client.clone());
    let machines = bed.vcenter(1).machines()?;
    // The first ones run pods of their own.
    let workers: Vec<&Machine> = machines.iter().skip(3).collect();
    let most = usize::try_from(each_minute)? * 2;
    ensure!(workers.len() >= most, "{} workers are too few for {each_minute} a minute", workers.len());
    let (start, pause) = (Instant::now(), Duration::from_secs(60) / each_minute);
    let end = start + Duration::from_secs(minutes * 60);
    let mut away: VecDeque<(Instant, &Machine)> = VecDeque::new();
    let mut going = workers.iter().cycle();
    let (mut moved, mut next, mut look) = (Moved::default(), start, start);
    while next < end {
        sleep_until(next).await;
        let machine = going.next().context("no workers")?;
        nodes.delete(&machine.name, &DeleteParams::default()).await.context(machine.name.clone())?;
        moved.changes += 1;
        away.push_back((next + AWAY, machine));
        while let Some((_, machine)) = away.pop_front_if(|(back, _)| *back <= next) {
            come_back(&nodes, machine).await?;
            moved.changes += 1;
        }
        if look <= next {
            let resident = process::resident()?;
            moved.resident = moved.resident.max(process::largest(&resident));
            look = next + LOOK;
        }
        // One that is late does not hurry the others.
        next = (next + pause).max(Instant::now());
    }
    for (_, machine) in away {
        come_back(&nodes, machine).await?;
    }
    Ok(moved)
}

async fn come_back(nodes: &Api<Node>, machine: &Machine) -> Result<()> {
    let node = node(machine, Role::Worker, Kubernetes::Newest)?;
    nodes.create(&PostParams::default(), &node).await.with_context(|| machine.name.clone())?;
    Ok(())
}

/// What the conditions of the VDOConfig said, one after the other.
#[derive(Default)]
struct Conditions {
    last: BTreeMap<String, String>,
    flaps: Vec<String>,
}

impl Conditions {
    fn note(&mut self, object: &DynamicObject) {
        let said = object.data["status"]["conditions"].as_array().into_iter().flatten();
        let mut present = BTreeSet::new();
        for condition in said {
            let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
            if !STEADY.contains(&text("type").as_str()) {
                continue;
            }
            present.insert(text("type"));
            let before = self.last.insert(text("type"), text("status"));
            if before.is_some_and(|before| before != text("status")) {
                let [kind, status, message] = ["type", "status", "message"].map(text);
                self.flaps.push(format!("{kind} became {status}: {message}"));
            }
        }
        let gone: Vec<String> = self.last.keys().filter(|kind| !present.contains(*kind)).cloned().collect();
        for kind in gone {
            self.last.remove(&kind);
            self.flaps.push(format!("{kind} vanished"));
        }
    }
}

async fn follow(client: Client, conditions: Arc<Mutex<Conditions>>) {
    let resource = ApiResource {
        group: "vdo.vmware.com".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "vdo.vmware.com/v1alpha1".to_owned(),
        kind: "VDOConfig".to_owned(),
        plural: "vdoconfigs".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
    let only = watcher::Config::default().fields(&format!("metadata.name={CONFIG}"));
    let mut objects = watcher(api, only).default_backoff().applied_objects().boxed();
    while let Some(object) = objects.next().await {
        // An error is tried again by the stream.
        if let Ok(object) = object {
            conditions.lock().unwrap_or_else(PoisonError::into_inner).note(&object);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(conditions: &serde_json::Value) -> DynamicObject {
        let object = json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "vdo"}, "status": {"conditions": conditions}});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_condition_that_changes_or_vanishes_is_a_flap_and_a_new_message_is_none() {
        let ready =
            |status: &str, message: &str| json!([{"type": "Ready", "status": status, "message": message}]);
        let mut seen = Conditions::default();
        for (status, message) in [("True", "a"), ("True", "b"), ("False", "node-7"), ("True", "c")] {
            seen.note(&said(&ready(status, message)));
        }
        seen.note(&said(&json!([])));
        assert_eq!(seen.flaps, ["Ready became False: node-7", "Ready became True: c", "Ready vanished"]);
    }
}
