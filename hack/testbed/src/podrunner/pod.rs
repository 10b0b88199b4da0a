//! The life of one pod, from the moment it is bound to a Node of ours to the deletion of its object.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::sync::watch;

use super::Runner;
use super::container::{self, Ended, Role, Stop, stopped};
use super::node::OwnNode;
use super::sandbox::Sandbox;
use super::status::{Report, keep_written, write_if_changed};
use super::volumes::Volumes;

const RETRY: Duration = Duration::from_secs(1);
const LOOK_AT_HOLD: Duration = Duration::from_millis(250);

/// What all tasks of one pod share.
pub(super) struct PodContext {
    pub(super) runner: Arc<Runner>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    /// The pod as first seen. What a node acts on does not change afterwards.
    pod: Arc<Pod>,
    /// The pod as it is now; `None` when the object is gone.
    pub(super) live: watch::Receiver<Option<Arc<Pod>>>,
    pub(super) report: Report,
    pub(super) folder: PathBuf,
    spec: PodSpec,
    sandbox: OnceLock<Arc<Sandbox>>,
}

impl PodContext {
    pub(super) fn spec(&self) -> &PodSpec {
        &self.spec
    }

    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The pod as it is now, or as it last was.
    pub(super) fn live_pod(&self) -> Arc<Pod> {
        self.live.borrow().clone().unwrap_or_else(|| self.pod.clone())
    }

    fn node(&self) -> &str {
        self.spec.node_name.as_deref().unwrap_or_default()
    }

    /// The folder that hostPath volumes see as `/`.
    pub(super) fn node_root(&self) -> PathBuf {
        self.runner.settings.dir.join("nodes").join(self.node()).join("root")
    }

    pub(super) fn log_path(&self, container: &str) -> PathBuf {
        let file = format!("{}_{}_{container}.log", self.namespace, self.name);
        self.runner.settings.dir.join("logs").join(file)
    }

    /// # Panics
    /// Containers and probes exist only after the sandbox.
    pub(super) fn sandbox(&self) -> &Sandbox {
        self.sandbox.get().expect("the sandbox is made before any container")
    }

    /// The pod's address and its Node's; empty before they are known.
    pub(super) fn addresses(&self) -> (String, String) {
        let pod = self.sandbox.get().map(|sandbox| sandbox.address.to_string()).unwrap_or_default();
        let node = match self.runner.node(self.node()) {
            Some(OwnNode::Ours { internal_ip: Some(ip), .. }) => ip.to_string(),
            _ => String::new(),
        };
        (pod, node)
    }

    /// User and group that files of volumes belong to: fsGroup, or the one user that all containers run as.
    pub(super) fn file_owner(&self) -> (Option<u32>, Option<u32>) {
        let pod = self.spec.security_context.as_ref();
        if let Some(group) = pod.and_then(|context| context.fs_group) {
            return (None, u32::try_from(group).ok());
        }
        let of = |container: &Container| {
            container
                .security_context
                .as_ref()
                .and_then(|c| c.run_as_user)
                .or_else(|| pod.and_then(|c| c.run_as_user))
        };
        let mut users = self.spec.init_containers.iter().flatten().chain(&self.spec.containers).map(of);
        let first = users.next().flatten();
        if users.all(|user| user == first) {
            (first.and_then(|user| u32::try_from(user).ok()), None)
        } else {
            (None, None)
        }
    }

    /// Host and port of the API server as this pod is told them.
    pub(super) fn apiserver(&self) -> (String, String) {
        let path = self.runner.settings.dir.join("api-override.json");
        let overrides: BTreeMap<String, String> = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|fault| {
                super::note(format!("{}: {fault}", path.display()));
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        let labels = self.pod.metadata.labels.iter().flatten();
        let apps: Vec<&str> = labels
            .filter(|(name, _)| {
                matches!(name.as_str(), "app" | "app.kubernetes.io/name" | "component" | "k8s-app" | "name")
            })
            .map(|(_, value)| value.as_str())
            .collect();
        let ours = |key: &str| match key.split_once('/') {
            Some((namespace, app)) => {
                namespace == self.namespace
                    && (apps.contains(&app)
                        || self.name.strip_prefix(app).is_some_and(|rest| rest.starts_with('-')))
            }
            None => false,
        };
        let chosen =
            overrides.iter().find(|(key, _)| ours(key)).and_then(|(_, address)| address.rsplit_once(':'));
        chosen
            .map_or_else(|| self.runner.apiserver.clone(), |(host, port)| (host.to_owned(), port.to_owned()))
    }

    /// The small files that a node puts into each container.
    pub(super) fn texts(&self) -> BTreeMap<String, String> {
        let sandbox = self.sandbox();
        let mut hosts = format!("127.0.0.1\tlocalhost\n{}\t{}\n", sandbox.address, sandbox.host_name);
        for alias in self.spec.host_aliases.iter().flatten() {
            hosts.push_str(&format!(
                "{}\t{}\n",
                alias.ip,
                alias.hostnames.iter().flatten().cloned().collect::<Vec<_>>().join("\t")
            ));
        }
        let policy = self.spec.dns_policy.as_deref();
        let host_network = self.spec.host_network == Some(true);
        let of_the_node =
            policy == Some("Default") || (host_network && policy != Some("ClusterFirstWithHostNet"));
        let resolver = if of_the_node {
            fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
        } else {
            let (dns, namespace) = (self.runner.settings.cluster_dns, &self.namespace);
            let search = format!("{namespace}.svc.cluster.local svc.cluster.local cluster.local");
            format!("search {search}\nnameserver {dns}\noptions ndots:5\n")
        };
        BTreeMap::from([
            ("/etc/hosts".to_owned(), hosts),
            ("/etc/hostname".to_owned(), format!("{}\n", sandbox.host_name)),
            ("/etc/resolv.conf".to_owned(), resolver),
        ])
    }

    fn is_held(&self) -> bool {
        let text = fs::read_to_string(self.runner.settings.dir.join("hold")).unwrap_or_default();
        text.lines().map(str::trim).any(|prefix| !prefix.is_empty() && self.name.starts_with(prefix))
    }
}

/// Runs every pod that is bound to a Node of ours; ends only with an error.
pub(super) async fn follow_pods(runner: &Arc<Runner>) -> anyhow::Result<()> {
    runner.objects.until_listed().await;
    let kind = ApiResource::erase::<Pod>(&());
    let api = Api::<DynamicObject>::all_with(runner.client.clone(), &kind);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut pods = Pods { runner: runner.clone(), known: HashMap::new(), unplaced: HashMap::new() };
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = runner.nodes_changed.notified() => {
                for (_, pod) in std::mem::take(&mut pods.unplaced) {
                    pods.see(pod);
                }
                continue;
            }
        };
        match event {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(pod))) => {
                listed.push(pod.metadata.uid.clone().unwrap_or_default());
                pods.see(pod);
            }
            Ok(Some(watcher::Event::InitDone)) => {
                let gone: Vec<String> =
                    pods.known.keys().filter(|uid| !listed.contains(uid)).cloned().collect();
                gone.iter().for_each(|uid| pods.lose(uid));
            }
            Ok(Some(watcher::Event::Apply(pod))) => pods.see(pod),
            Ok(Some(watcher::Event::Delete(pod))) => pods.lose(&pod.metadata.uid.unwrap_or_default()),
            Ok(None) => anyhow::bail!("the watch of pods ended"),
            Err(fault) => super::note(format!("watch of pods: {fault}")),
        }
    }
}

struct Pods {
    runner: Arc<Runner>,
    known: HashMap<String, watch::Sender<Option<Arc<Pod>>>>,
    /// Bound to a Node that was not seen yet.
    unplaced: HashMap<String, DynamicObject>,
}

impl Pods {
    fn see(&mut self, object: DynamicObject) {
        let uid = object.metadata.uid.clone().unwrap_or_default();
        if let Some(known) = self.known.get(&uid) {
            // Whatever became of its Node: the pod is ours to the end.
            known.send_replace(Some(Arc::new(decode(&object).0)));
            return;
        }
        let Some(node) = object.data["spec"]["nodeName"].as_str() else { return };
        match self.runner.node(node) {
            None => drop(self.unplaced.insert(uid, object)),
            Some(OwnNode::Foreign) => {}
            Some(OwnNode::Ours { .. }) => {
                let (pod, refused) = decode(&object);
                let pod = Arc::new(pod);
                let (sender, live) = watch::channel(Some(pod.clone()));
                self.known.insert(uid, sender);
                tokio::spawn(follow(Arc::new(context(&self.runner, pod, live)), refused));
            }
        }
    }

    fn lose(&mut self, uid: &str) {
        self.unplaced.remove(uid);
        if let Some(known) = self.known.remove(uid) {
            known.send_replace(None);
        }
    }
}

/// The pod, and why it cannot run if it cannot.
fn decode(object: &DynamicObject) -> (Pod, Option<String>) {
    let refused = super::spec::refusals(&object.data["spec"]);
    let refusal = (!refused.is_empty())
        .then(|| format!("the pod runner does not implement spec.{}", refused.join(", spec.")));
    let decoded = serde_json::to_value(object).and_then(serde_json::from_value::<Pod>);
    match decoded {
        Ok(pod) => (pod, refusal),
        Err(fault) => {
            let bare = Pod { metadata: object.metadata.clone(), ..Pod::default() };
            (bare, refusal.or_else(|| Some(format!("the pod runner cannot read the spec: {fault}"))))
        }
    }
}

fn context(runner: &Arc<Runner>, pod: Arc<Pod>, live: watch::Receiver<Option<Arc<Pod>>>) -> PodContext {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    PodContext {
        folder: runner.settings.dir.join("pods").join(&uid),
        runner: runner.clone(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid,
        spec: pod.spec.clone().unwrap_or_default(),
        pod,
        live,
        report: Report::default(),
        sandbox: OnceLock::new(),
    }
}

/// The whole life of the pod: its work, its status, its end.
async fn follow(pod: Arc<PodContext>, refused: Option<String>) {
    let (give_stop, stop) = watch::channel(None);
    let over = pod.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let finished_before = matches!(over, Some("Succeeded" | "Failed"));
    let work = {
        let (pod, stop) = (pod.clone(), stop);
        async move {
            if !finished_before {
                run(&pod, refused, stop).await;
            }
        }
    };
    let mut work = tokio::spawn(work);
    let writer = (!finished_before).then(|| tokio::spawn(keep_written(pod.clone())));
    let mut live = pod.live.clone();
    let mut working = true;
    let exists = loop {
        let (exists, grace) = match &*live.borrow_and_update() {
            None => (false, Some(0)),
            Some(now) if now.metadata.deletion_timestamp.is_some() => {
                (true, Some(now.metadata.deletion_grace_period_seconds.unwrap_or(0)))
            }
            Some(_) => (true, None),
        };
        if grace.is_some() {
            give_stop.send_replace(grace);
            if !working {
                break exists;
            }
        }
        tokio::select! {
            _ = &mut work, if working => {
                working = false;
                live.mark_changed();
            }
            _ = live.changed() => {}
        }
    };
    if let Some(writer) = writer {
        writer.abort();
    }
    if exists {
        if !finished_before && let Err(fault) = write_if_changed(&pod, &mut Value::Null).await {
            super::note(format!("last status of {}: {fault}", pod.full_name()));
        }
        delete(&pod).await;
    }
    if pod.folder.exists()
        && let Err(fault) = fs::remove_dir_all(&pod.folder)
    {
        super::note(format!("remove {}: {fault}", pod.folder.display()));
    }
}

async fn delete(pod: &PodContext) {
    let api = Api::<Pod>::namespaced(pod.runner.client.clone(), &pod.namespace);
    let only_this = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(only_this),
        ..DeleteParams::default()
    };
    loop {
        match api.delete(&pod.name, &now).await {
            Ok(_) => return,
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => return,
            Err(fault) => {
                super::note(format!("delete {}: {fault}", pod.full_name()));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Everything up to the last container's end. On return nothing of the pod runs any more.
async fn run(pod: &Arc<PodContext>, refused: Option<String>, mut stop: Stop) {
    pod.report.update(|progress| progress.start_time = Some(jiff::Timestamp::now()));
    if refused.is_some() {
        super::note(format!("{}: {}", pod.full_name(), refused.as_deref().unwrap_or_default()));
        pod.report.update(|progress| progress.refusal = refused);
        stopped(&mut stop).await;
        return;
    }
    let mut volumes = Volumes::default();
    let prepared = tokio::select! {
        () = prepare(pod, &mut volumes) => true,
        _ = stopped(&mut stop) => false,
    };
    if prepared {
        tokio::select! {
            () = run_containers(pod, &stop) => {}
            () = volumes.keep_fresh(pod) => {}
        }
    }
    pod.report.update(|progress| progress.over = true);
    volumes.release();
}

/// Waits for everything that keeps a pod in ContainerCreating.
async fn prepare(pod: &Arc<PodContext>, volumes: &mut Volumes) {
    while pod.is_held() {
        pod.report.update(|progress| progress.waiting = Some("held back by the test".to_owned()));
        tokio::time::sleep(LOOK_AT_HOLD).await;
    }
    let sandbox = loop {
        let made = if pod.spec().host_network == Some(true) {
            pod.runner.node_sandbox(pod.node()).await
        } else {
            Sandbox::start(&pod.runner, &super::env::host_name(&pod.pod), None).await.map(Arc::new)
        };
        match made {
            Ok(sandbox) => break sandbox,
            Err(fault) => {
                let message = format!("failed to create pod sandbox: {fault:#}");
                pod.report.update(|progress| progress.waiting = Some(message));
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    // Set once: a pod is prepared once.
    let _ = pod.sandbox.set(sandbox);
    let mut changes = pod.runner.objects.changes();
    while let Err(message) = volumes.refresh(pod).await {
        pod.report.update(|progress| progress.waiting = Some(message));
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            _ = changes.changed() => {}
        }
    }
    let (pod_ip, host_ip) = pod.addresses();
    pod.report.update(|progress| {
        progress.waiting = None;
        (progress.pod_ip, progress.host_ip) = (pod_ip, host_ip);
    });
}

async fn run_containers(pod: &Arc<PodContext>, stop: &Stop) {
    let (stop_sidecars, sidecars_stop) = watch::channel(None);
    let mut sidecars = tokio::task::JoinSet::new();
    let mut usable = true;
    for init in pod.spec().init_containers.clone().unwrap_or_default() {
        let name = init.name.clone();
        if init.restart_policy.is_some() {
            sidecars.spawn(container::run(pod.clone(), init, Role::Sidecar, sidecars_stop.clone()));
            let mut stop = stop.clone();
            tokio::select! {
                () = pod.report.until(&name, |row| row.started) => {}
                _ = stopped(&mut stop) => usable = false,
            }
        } else {
            usable = container::run(pod.clone(), init, Role::Init, stop.clone()).await == Ended::Succeeded;
        }
        if !usable {
            break;
        }
    }
    if usable {
        pod.report.update(|progress| progress.initialized = true);
        let apps = pod.spec().containers.iter().cloned();
        futures::future::join_all(apps.map(|app| container::run(pod.clone(), app, Role::App, stop.clone())))
            .await;
    }
    let grace = stop.borrow().or(pod.spec().termination_grace_period_seconds).unwrap_or(30);
    stop_sidecars.send_replace(Some(grace));
    while sidecars.join_next().await.is_some() {}
}
