//! What the runner says about a pod: collected while it lives, written to its status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, Pod,
};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::pod::PodContext;

/// What is known of one container.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) state: ContainerState,
    pub(super) last: Option<ContainerStateTerminated>,
    pub(super) restarts: i32,
    pub(super) ready: bool,
    pub(super) started: bool,
    pub(super) id: String,
}

/// What is known of one pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) start_time: Option<Timestamp>,
    /// Fields that the runner does not implement; the pod never starts.
    pub(super) refusal: Option<String>,
    /// What the whole pod waits for before any container is made.
    pub(super) waiting: Option<String>,
    pub(super) pod_ip: String,
    pub(super) host_ip: String,
    pub(super) initialized: bool,
    /// No container will run again.
    pub(super) over: bool,
    pub(super) rows: BTreeMap<String, Row>,
}

/// The place where the tasks of one pod leave what they know.
pub(super) struct Report {
    progress: Mutex<Progress>,
    changed: watch::Sender<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self { progress: Mutex::default(), changed: watch::channel(0).0 }
    }
}

impl Report {
    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_modify(|version| *version += 1);
    }

    pub(super) fn row(&self, name: &str, change: impl FnOnce(&mut Row)) {
        self.update(|progress| change(progress.rows.entry(name.to_owned()).or_default()));
    }

    pub(super) fn snapshot(&self) -> Progress {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A container that is not running and why.
    pub(super) fn wait(&self, name: &str, reason: &str, message: String) {
        self.row(name, |row| {
            row.ready = false;
            row.started = false;
            let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message: Some(message) };
            row.state = ContainerState { waiting: Some(waiting), ..ContainerState::default() };
        });
    }

    /// Waits until the row of a container meets a condition.
    pub(super) async fn until(&self, name: &str, condition: impl Fn(&Row) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if self.snapshot().rows.get(name).is_some_and(&condition) {
                return;
            }
            // The sender is part of `self`, so it cannot be gone.
            let _ = changed.changed().await;
        }
    }
}

/// Writes the status whenever it changes, until the task is dropped.
pub(super) async fn keep_written(pod: Arc<PodContext>) {
    let mut changed = pod.report.changed.subscribe();
    let mut written = Value::Null;
    loop {
        changed.borrow_and_update();
        let pause = match write_if_changed(&pod, &mut written).await {
            Ok(()) => Duration::from_millis(20),
            Err(kube::Error::Api(answer)) if answer.is_not_found() => return,
            Err(fault) => {
                super::note(format!("status of {}: {fault}", pod.full_name()));
                changed.mark_changed();
                Duration::from_secs(1)
            }
        };
        // Changes come in bursts.
        tokio::time::sleep(pause).await;
        let _ = changed.changed().await;
    }
}

/// Writes the status once more, if it is not what was written last.
pub(super) async fn write_if_changed(pod: &PodContext, written: &mut Value) -> kube::Result<()> {
    let status = status(&pod.live_pod(), &pod.report.snapshot(), Timestamp::now());
    if without_times(&status) == *written {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": pod.uid}, "status": status});
    let api = Api::<Pod>::namespaced(pod.runner.client.clone(), &pod.namespace);
    api.patch_status(&pod.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    *written = without_times(&status);
    Ok(())
}

fn without_times(status: &Value) -> Value {
    let mut status = status.clone();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = Value::Null;
    }
    status
}

/// The status as a kubelet would have it.
fn status(pod: &Pod, progress: &Progress, now: Timestamp) -> Value {
    let Some(spec) = &pod.spec else { return Value::Null };
    let inits: Vec<&Container> = spec.init_containers.iter().flatten().collect();
    let apps: Vec<&Container> = spec.containers.iter().collect();
    let phase = phase(pod, progress);
    let sidecars = inits.iter().filter(|one| one.restart_policy.is_some());
    let needed = apps.iter().chain(sidecars);
    let unready: Vec<&str> =
        needed.filter(|one| !row(progress, one).ready).map(|one| one.name.as_str()).collect();
    let incomplete: Vec<&str> =
        inits.iter().filter(|one| !complete(progress, one)).map(|one| one.name.as_str()).collect();
    let done = phase == "Succeeded";
    let not_ready = if done { "PodCompleted" } else { "ContainersNotReady" };
    let unready_text = format!("containers with unready status: [{}]", unready.join(" "));
    let ready = if unready.is_empty() && progress.initialized {
        ("True", None)
    } else {
        ("False", Some((not_ready, unready_text)))
    };
    let initialized = if progress.initialized {
        ("True", None)
    } else {
        (
            "False",
            Some((
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{}]", incomplete.join(" ")),
            )),
        )
    };
    let sandbox = if progress.pod_ip.is_empty() { "False" } else { "True" };
    let conditions = [
        ("PodReadyToStartContainers", (sandbox, None)),
        ("Initialized", initialized),
        ("Ready", ready.clone()),
        ("ContainersReady", ready),
        ("PodScheduled", ("True", None)),
    ];
    let addresses = |ip: &str| if ip.is_empty() { Value::Null } else { json!([{"ip": ip}]) };
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "phase": phase,
        "reason": progress.refusal.as_ref().map(|_| "UnimplementedField"),
        "message": progress.refusal,
        "startTime": progress.start_time.map(seconds),
        "hostIP": text(&progress.host_ip),
        "hostIPs": addresses(&progress.host_ip),
        "podIP": text(&progress.pod_ip),
        "podIPs": addresses(&progress.pod_ip),
        "conditions": merged(pod, conditions, now),
        "initContainerStatuses": inits.iter().map(|one| container_status(progress, one, true)).collect::<Vec<_>>(),
        "containerStatuses": apps.iter().map(|one| container_status(progress, one, false)).collect::<Vec<_>>(),
    })
}

fn row(progress: &Progress, container: &Container) -> Row {
    progress.rows.get(&container.name).cloned().unwrap_or_default()
}

fn complete(progress: &Progress, init: &Container) -> bool {
    let row = row(progress, init);
    if init.restart_policy.is_some() {
        row.started
    } else {
        row.state.terminated.is_some_and(|end| end.exit_code == 0)
    }
}

fn phase(pod: &Pod, progress: &Progress) -> &'static str {
    let Some(spec) = &pod.spec else { return "Pending" };
    if !progress.initialized {
        return if progress.over && progress.refusal.is_none() { "Failed" } else { "Pending" };
    }
    let rows: Vec<Row> = spec.containers.iter().map(|one| row(progress, one)).collect();
    let running = rows.iter().any(|row| row.state.running.is_some());
    let never_ran = rows
        .iter()
        .any(|row| row.state.running.is_none() && row.state.terminated.is_none() && row.last.is_none());
    let failed = rows.iter().any(|row| row.state.terminated.as_ref().is_none_or(|end| end.exit_code != 0));
    match spec.restart_policy.as_deref() {
        _ if never_ran => "Pending",
        _ if running => "Running",
        Some("Never") if failed => "Failed",
        Some("Never" | "OnFailure") if !failed => "Succeeded",
        _ => "Running",
    }
}

fn container_status(progress: &Progress, container: &Container, init: bool) -> Value {
    let mut row = row(progress, container);
    let none = row.state.running.is_none() && row.state.terminated.is_none() && row.state.waiting.is_none();
    if none {
        let reason = match (&progress.refusal, init || progress.initialized) {
            (Some(_), _) => "UnimplementedField",
            (None, false) if has_started(progress) => "PodInitializing",
            (None, _) => "ContainerCreating",
        };
        let message = progress.refusal.clone().or_else(|| progress.waiting.clone());
        row.state.waiting = Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message });
    }
    let running = row.state.running.is_some();
    json!({
        "name": container.name,
        "image": container.image,
        "imageID": if row.id.is_empty() { "" } else { container.image.as_deref().unwrap_or_default() },
        "containerID": (!row.id.is_empty()).then(|| row.id.clone()),
        "ready": row.ready || (init && row.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0)),
        "started": running && row.started,
        "restartCount": row.restarts,
        "state": row.state,
        "lastState": ContainerState { terminated: row.last, ..ContainerState::default() },
    })
}

/// Whether any container was made, so that the others wait for it and not for the pod's volumes.
fn has_started(progress: &Progress) -> bool {
    progress.rows.values().any(|row| !row.id.is_empty())
}

type Condition<'a> = (&'a str, (&'a str, Option<(&'a str, String)>));

/// Our conditions with the times of those that did not change, and the conditions of others.
fn merged<const N: usize>(pod: &Pod, ours: [Condition<'_>; N], now: Timestamp) -> Vec<Value> {
    let before: Vec<_> = pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).collect();
    let foreign = before.iter().filter(|old| ours.iter().all(|(kind, _)| *kind != old.type_));
    let foreign: Vec<Value> = foreign.map(|old| json!(old)).collect();
    let own = ours.iter().map(|(kind, (status, why))| {
        let same = before.iter().find(|old| old.type_ == *kind && old.status == *status);
        let since = same.and_then(|old| old.last_transition_time.as_ref()).map_or(now, |time| time.0);
        let mut one = json!({"type": kind, "status": status, "lastTransitionTime": seconds(since), "lastProbeTime": null});
        if let Some((reason, message)) = why {
            one["reason"] = json!(reason);
            one["message"] = json!(message);
        }
        one
    });
    own.chain(foreign).collect()
}

/// A time as the API has it.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ContainerStateRunning;

    use super::*;

    fn pod(policy: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"restartPolicy": policy, "initContainers": [{"name": "i", "image": "x:1"}],
                "containers": [{"name": "a", "image": "x:1"}, {"name": "b", "image": "x:1"}]},
            "status": {"conditions": [
                {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
        }))
        .unwrap()
    }

    fn running(ready: bool) -> Row {
        let state =
            ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() };
        Row { state, ready, started: true, id: "testbed://1".to_owned(), ..Row::default() }
    }

    fn ended(code: i32) -> Row {
        let end = ContainerStateTerminated { exit_code: code, ..ContainerStateTerminated::default() };
        Row { state: ContainerState { terminated: Some(end), ..ContainerState::default() }, ..Row::default() }
    }

    fn progress(a: Row, b: Row) -> Progress {
        let rows = BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
        Progress { initialized: true, rows, ..Progress::default() }
    }

    fn condition(status: &Value, kind: &str) -> Value {
        status["conditions"].as_array().unwrap().iter().find(|one| one["type"] == kind).unwrap().clone()
    }

    #[test]
    fn a_pod_is_ready_only_when_every_container_is() {
        let half = status(&pod("Always"), &progress(running(true), running(false)), Timestamp::UNIX_EPOCH);
        assert_eq!(half["phase"], "Running");
        assert_eq!(condition(&half, "Ready")["status"], "False");
        assert_eq!(condition(&half, "Ready")["message"], "containers with unready status: [b]");
        let whole = status(&pod("Always"), &progress(running(true), running(true)), Timestamp::UNIX_EPOCH);
        assert_eq!(condition(&whole, "Ready")["status"], "True");
    }

    #[test]
    fn a_condition_keeps_its_time_and_those_of_others_stay() {
        let now = status(&pod("Always"), &progress(running(true), running(false)), Timestamp::UNIX_EPOCH);
        assert_eq!(condition(&now, "Ready")["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert_eq!(condition(&now, "Initialized")["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(condition(&now, "DisruptionTarget")["status"], "True");
    }

    #[test]
    fn the_phase_follows_exit_codes_and_the_restart_policy() {
        let of = |policy: &str, a: i32, b: i32| phase(&pod(policy), &progress(ended(a), ended(b)));
        assert_eq!(of("Never", 0, 0), "Succeeded");
        assert_eq!(of("Never", 0, 1), "Failed");
        assert_eq!(of("OnFailure", 0, 0), "Succeeded");
        assert_eq!(of("OnFailure", 0, 1), "Running");
        assert_eq!(of("Always", 0, 0), "Running");
        assert_eq!(phase(&pod("Always"), &Progress::default()), "Pending");
    }

    #[test]
    fn a_refused_pod_names_the_field_in_status_and_in_each_container() {
        let refused = Progress { refusal: Some("spec.hostPID".to_owned()), ..Progress::default() };
        let status = status(&pod("Always"), &refused, Timestamp::UNIX_EPOCH);
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Pending"), &json!("UnimplementedField")));
        assert_eq!(status["containerStatuses"][0]["state"]["waiting"]["message"], "spec.hostPID");
    }

    #[test]
    fn a_container_that_crashed_before_counts_as_one_that_ran() {
        let crashed = Row { last: Some(ContainerStateTerminated::default()), ..Row::default() };
        assert_eq!(phase(&pod("Always"), &progress(crashed, running(true))), "Running");
        assert_eq!(phase(&pod("Always"), &progress(Row::default(), running(true))), "Pending");
    }
}
