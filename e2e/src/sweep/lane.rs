//! A lane: one bed in which cases run one after the other.
//!
//! Of the bed only etcd, the API server and the vCenter work; controllers, scheduler and the nodes' programs are stopped in
//! their tracks, and the stand-in plays them. The operators are child processes under the rights of the chart.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::Client;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::control_plane;
use testbed::wait::eventually;
use tokio::runtime::Runtime;

use super::case::{Case, OPERATORS};
use super::history::{History, Id, is_ours};
use super::mask::Mask;
use super::operator::{Operator, Program};
use super::oracle::{Breach, Counts, breach, counts, never, quiet};
use super::server::{self, Recording, ask, merge};
use super::standin::{self, Orders};
use super::state::{Leaves, Names, leaves};
use super::workload::{Act, Objects, Story};
use crate::crd::NAMESPACE;
use crate::stand::{install_chart, programs};

/// The programs of the bed that the stand-in replaces.
const REPLACED: [&str; 5] = ["kube-controller-manager", "kube-scheduler", "kwok", "kubelet", "csinodes"];
/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long nobody may have written before a run counts as converged.
const CALM: Duration = Duration::from_millis(4000);
/// How long it is then watched for writes.
const WATCHED: Duration = Duration::from_millis(1500);
const POLL: Duration = Duration::from_millis(100);
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// One bed at work.
pub struct Lane {
    bed: Bed,
    runtime: Runtime,
    client: Client,
    recording: Arc<Recording>,
    orders: Arc<Mutex<Orders>>,
    nodes: Vec<Value>,
    tokens: BTreeMap<&'static str, String>,
    /// The mask of all comparisons.
    pub mask: Mask,
}

/// What came of one run.
pub struct Run {
    /// The end state.
    pub leaves: Leaves,
    /// The state that had the most to compare: a removal ends with next to nothing.
    pub widest: Leaves,
    /// Creates and deletes.
    pub counts: Counts,
    /// What each operator wrote after the beginning, in words.
    pub writes: BTreeMap<&'static str, Vec<String>>,
    /// How many writes of each operator do; other undisturbed runs may lower it.
    pub fewest: BTreeMap<&'static str, usize>,
    /// What was wrong with it in itself.
    pub breaches: Vec<Breach>,
    /// Whether the write of the case came.
    pub reached: bool,
    /// The operators' last words.
    pub tail: String,
}

impl Lane {
    /// Makes the bed around us ready.
    pub fn open() -> Result<Lane> {
        let bed = Bed::from_env();
        install_chart(&bed, &OPERATORS.map(|it| format!("{it}.replicas=0")).each_ref().map(String::as_str));
        for name in REPLACED {
            bed.freeze(name)?;
        }
        bed.kubectl(&["label", "nodes", "--all", "node-role.kubernetes.io/control-plane="])?;
        bed.kubectl_with(&["apply", "-f", "-"], &topology_crd().to_string())?;
        let list = bed.get(&["nodes"])?;
        let nodes = list["items"].as_array().context("no nodes")?.iter().map(fresh).collect();
        let mut tokens = BTreeMap::new();
        for name in OPERATORS {
            let token = bed.kubectl(&["create", "token", name, "-n", NAMESPACE, "--duration=24h"])?;
            tokens.insert(name, token.trim().to_owned());
        }
        let recording = Arc::<Recording>::default();
        let orders = Arc::<Mutex<Orders>>::default();
        play(&bed, recording.clone(), orders.clone())?;
        eventually(LIMIT, "every kind is watched", || {
            if recording.has_begun() { Ok(()) } else { Err(recording.broken().unwrap_or_default()) }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(control_plane::client(&bed.kubeconfig(), "sweep"))?;
        let mask = Mask::reviewed()?;
        Ok(Lane { bed, runtime, client, recording, orders, nodes, tokens, mask })
    }

    /// Runs a story, undisturbed or with the case's fault in it.
    pub fn run(&mut self, story: &Story, case: Option<&Case>) -> Result<Run> {
        self.reset().context("failed to clear the cluster")?;
        for (id, object) in story.objects(&self.bed)? {
            self.runtime.block_on(server::apply(&self.client, &server::path(&id)?, &object))?;
        }
        let is_install = story.acts(&Objects::new()).is_ok_and(|acts| acts.is_empty());
        let operators = self.operators(story, case.filter(|_| is_install))?;
        let outcome = self.tell(story, case, is_install, &operators);
        if let Err(fault) = &outcome {
            return Err(anyhow::anyhow!("{fault:#}\n{}", tails(&operators, 25)));
        }
        outcome
    }

    fn tell(
        &self,
        story: &Story,
        case: Option<&Case>,
        is_install: bool,
        operators: &[Operator],
    ) -> Result<Run> {
        let mut begun = vec![0; operators.len()];
        let mut before = Objects::new();
        let mut acts = Vec::new();
        let mut first_event = 0;
        if !is_install {
            self.converge(operators, None, ("the beginning", CALM), |objects| story.has_begun(objects))?;
            begun = operators.iter().map(Operator::count).collect();
            let history = self.recording.history().clone();
            first_event = history.events.len();
            before = history.objects;
            acts = story.acts(&before)?;
            self.orders.lock().unwrap_or_else(PoisonError::into_inner).broken.clone_from(&story.broken);
            if let Some(case) = case {
                let target = operators.iter().find(|it| it.name == case.operator);
                target.context("the operator of the case")?.plan(case)?;
            }
            acts.iter().try_for_each(|act| self.act(act))?;
        }
        self.converge(operators, case, (story.workload.name(), CALM), |objects| {
            story.is_done(&before, objects)
        })?;
        let calm: Vec<u64> = operators.iter().map(Operator::count).collect();
        let end = Instant::now() + WATCHED;
        while Instant::now() < end {
            std::thread::sleep(POLL);
            operators.iter().try_for_each(Operator::tend)?;
        }
        let late: Vec<String> =
            operators.iter().zip(&calm).flat_map(|(it, count)| it.writes_after(*count)).collect();
        if let Some(why) = self.recording.broken() {
            bail!("the recording was interrupted: {why}");
        }
        let history: History = self.recording.history().clone();
        let (events, new) = (history.ordered(), ordered_from(&history, first_event));
        let names = Names::of(&events);
        let mut breaches = quiet(&late);
        breaches.extend(never(&Objects::new(), &events, &story.planned(&acts)));
        breaches.extend(operators.iter().filter_map(Operator::unasked_end).map(|said| breach("alive", said)));
        let writes: BTreeMap<&'static str, Vec<String>> =
            operators.iter().zip(&begun).map(|(it, count)| (it.name, it.writes_after(*count))).collect();
        let (first, end) = (leaves(&before, &names), leaves(&history.objects, &names));
        Ok(Run {
            widest: if first.len() > end.len() { first } else { end.clone() },
            leaves: end,
            counts: counts(&new, &names),
            fewest: writes.iter().map(|(name, writes)| (*name, writes.len())).collect(),
            writes,
            breaches,
            reached: case
                .is_none_or(|case| operators.iter().any(|it| it.name == case.operator && it.fired())),
            tail: tails(operators, 12),
        })
    }

    /// Waits until it is done and nobody has written for a while.
    fn converge(
        &self,
        operators: &[Operator],
        case: Option<&Case>,
        (what, silence): (&str, Duration),
        done: impl Fn(&Objects) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        let mut free_since = None;
        loop {
            operators.iter().try_for_each(Operator::tend)?;
            let state = done(&self.recording.history().objects);
            let free = operators.iter().all(|it| {
                let struck = case.filter(|case| case.operator == it.name && it.fired());
                it.is_free(struck.map(|case| case.place))
            });
            // One that could not write until now is listened to as long as one that has just written.
            free_since = free_since.filter(|_| free);
            let at_liberty = free.then(|| *free_since.get_or_insert_with(Timestamp::now));
            let since = operators.iter().filter_map(Operator::last_write).chain(at_liberty).max();
            let calm = since.is_none_or(|at| {
                Duration::try_from(Timestamp::now().duration_since(at)).unwrap_or_default() > silence
            });
            if state.is_ok() && free && calm {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                let why =
                    state.err().map_or_else(|| format!("free {free}, calm {calm}"), |why| format!("{why:#}"));
                bail!("{what}: not converged after {LIMIT:?}: {why}");
            }
            std::thread::sleep(POLL);
        }
    }

    fn operators(&self, story: &Story, case: Option<&Case>) -> Result<Vec<Operator>> {
        let start = |(place, name): (u16, &'static str)| {
            let flags = if name == "vdo-core" {
                // Words that wait for their turn would come when the run counts as converged.
                vec!["--status-interval-seconds=1".to_owned()]
            } else {
                vec![
                    format!("--rollout-deadline-seconds={}", story.deadline),
                    "--rollout-soak-seconds=1".to_owned(),
                ]
            };
            let token = self.tokens.get(name).cloned().unwrap_or_default();
            let program = Program { name, path: programs().join(name), port: 18080 + place, token, flags };
            let rules = case.filter(|case| case.operator == name).map(|case| case.rule(0));
            Operator::start(&self.bed, &program, rules.into_iter().collect())
        };
        (0u16..).zip(OPERATORS).map(start).collect()
    }

    fn act(&self, act: &Act) -> Result<()> {
        match act {
            Act::Merge(id, patch) => {
                self.runtime
                    .block_on(merge(&self.client, &server::path(id)?, patch))?
                    .with_context(|| format!("{id} is gone"))?;
                Ok(())
            }
            Act::Delete(id) => self.delete(id),
            Act::Password(password) => self.password(password),
        }
    }

    fn password(&self, password: &str) -> Result<()> {
        let vcenter = self.bed.vcenter(1);
        vcenter.admin_put("/users", &json!({&vcenter.user: password}))?;
        Ok(())
    }

    fn delete(&self, id: &Id) -> Result<()> {
        let path = server::path(id)?;
        let request = ask(&self.client, "DELETE", &path, "application/json", &Value::Null);
        self.runtime.block_on(request).map(drop)
    }

    /// Takes everything away that a run made, and makes the nodes anew.
    fn reset(&self) -> Result<()> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).broken.clear();
        self.password(&self.bed.vcenter(1).password()?)?;
        let mine = |id: &Id, object: &Value| {
            let mine = object.pointer("/metadata/managedFields").and_then(Value::as_array);
            let by_stand_in = mine.is_some_and(|all| all.iter().any(|entry| entry["manager"] == "stand-in"));
            id.kind != "CSINode" && (is_ours(object) || by_stand_in || id.kind == "Node")
        };
        let start = Instant::now();
        loop {
            let left: Vec<(Id, Value)> = self
                .recording
                .history()
                .objects
                .iter()
                .filter(|(id, it)| mine(id, it))
                .map(|(id, it)| (id.clone(), it.clone()))
                .collect();
            if left.is_empty() {
                break;
            }
            if start.elapsed() > LIMIT {
                bail!("{} is still there", left[0].0);
            }
            for (id, object) in left {
                if object["metadata"]["finalizers"].is_array() {
                    let path = server::path(&id)?;
                    self.runtime.block_on(merge(
                        &self.client,
                        &path,
                        &json!({"metadata": {"finalizers": null}}),
                    ))?;
                }
                self.delete(&id)?;
            }
            std::thread::sleep(POLL);
        }
        for node in &self.nodes {
            self.create("Node", "", node)?;
        }
        for name in OPERATORS {
            // As if the last leader had stopped in good order: nobody has to wait.
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": NAMESPACE,
                    "annotations": {"vdo.vmware.com/released-by": "sweep"},
                    "labels": {"app.kubernetes.io/managed-by": "vdo"}},
                "spec": {}});
            self.create("Lease", NAMESPACE, &lease)?;
        }
        loop {
            let is_fresh = |objects: &Objects| {
                let nodes = objects.iter().filter(|(id, _)| id.kind == "Node").count();
                let leases =
                    objects.keys().filter(|id| id.kind == "Lease" && id.namespace == NAMESPACE).count();
                let registered = objects.iter().any(|(id, it)| {
                    id.kind == "CSINode"
                        && it
                            .pointer("/spec/drivers")
                            .and_then(Value::as_array)
                            .is_some_and(|all| !all.is_empty())
                });
                nodes == self.nodes.len() && leases == OPERATORS.len() && !registered
            };
            if is_fresh(&self.recording.history().objects) {
                break;
            }
            if start.elapsed() > LIMIT {
                bail!("nodes or leases are not fresh");
            }
            std::thread::sleep(POLL);
        }
        self.recording.forget();
        Ok(())
    }

    fn create(&self, kind: &str, namespace: &str, object: &Value) -> Result<()> {
        let path = server::collection(kind, namespace)?;
        let request = ask(&self.client, "POST", &path, "application/json", object);
        self.runtime.block_on(request)?.with_context(|| format!("failed to create a {kind}"))?;
        Ok(())
    }

    /// A file of the bed's folder.
    pub fn note(&self, name: &str, text: &str) -> Result<()> {
        Ok(fs::write(self.bed.path(format!("log/{name}")), text)?)
    }
}

fn ordered_from(history: &History, first: usize) -> Vec<super::history::Event> {
    let mut events = history.events[first..].to_vec();
    events.sort_by_key(|event| event.version);
    events
}

/// Records and plays on a thread of its own, until the process ends.
fn play(bed: &Bed, recording: Arc<Recording>, orders: Arc<Mutex<Orders>>) -> Result<()> {
    let config = bed.kubeconfig();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
        let work = async {
            let client = control_plane::client(&config, "stand-in").await?;
            tokio::join!(
                server::record(client.clone(), recording.clone()),
                standin::play(client, recording, orders)
            );
            anyhow::Ok(())
        };
        if let Err(fault) = runtime.block_on(work) {
            eprintln!("stand-in: {fault:#}");
        }
    })?;
    Ok(())
}

/// A node as it was before any cloud provider and any run.
fn fresh(node: &Value) -> Value {
    let meta = &node["metadata"];
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": meta["name"], "labels": meta["labels"]},
        "spec": {"taints": [{"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}]},
        "status": node["status"],
    })
}

/// The CRD that the syncer makes. It is the driver's and outlives every case, as it outlives the driver.
fn topology_crd() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "csinodetopologies.cns.vmware.com"},
        "spec": {
            "group": "cns.vmware.com", "scope": "Cluster",
            "names": {"kind": "CSINodeTopology", "listKind": "CSINodeTopologyList",
                "plural": "csinodetopologies", "singular": "csinodetopology"},
            "versions": [{"name": "v1alpha1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
}

fn tails(operators: &[Operator], lines: usize) -> String {
    operators.iter().map(|it| format!("--- {}\n{}\n", it.name, it.tail(lines))).collect()
}
