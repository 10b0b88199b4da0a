//! The life of one container: prepared, started, probed, ended, started again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::Instant;

use super::env::{Sources, environment, expand};
use super::images::{Image, Table};
use super::pod::PodContext;
use super::probes::{Probed, watch_health};
use super::root::{DEFAULT_CAPABILITIES, Mount, START_FAILED, Start};
use super::volumes;

/// Shorter than a kubelet's, for tests: 1 s, doubled up to this.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
/// A container that ran this long starts from the shortest back-off again.
const LONG_ENOUGH: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);
/// As much of a log as a kubelet takes for a last message.
const LAST_LOG: u64 = 2048;
const LONGEST_MESSAGE: usize = 4096;

/// Which rules of restarting a container follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Init,
    Sidecar,
    App,
}

/// How the life of a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Succeeded,
    Failed,
    Stopped,
}

/// `Some(seconds)` once the container has to go.
pub(super) type Stop = watch::Receiver<Option<i64>>;

/// Waits for the order to stop; gives the grace period.
pub(super) async fn stopped(stop: &mut Stop) -> i64 {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => 0, // whoever gave orders is gone
    }
}

/// A reason to wait, in the kubelet's words.
struct Obstacle {
    reason: &'static str,
    message: String,
}

fn obstacle(reason: &'static str, message: impl Into<String>) -> Obstacle {
    Obstacle { reason, message: message.into() }
}

struct Prepared {
    start: Start,
    image: Image,
    message_file: PathBuf,
}

/// Runs a container until it will not run again.
pub(super) async fn run(pod: Arc<PodContext>, container: Container, role: Role, mut stop: Stop) -> Ended {
    let name = container.name.clone();
    let mut back_off = Duration::from_secs(1);
    let mut run = 0;
    loop {
        if stop.borrow().is_some() {
            return Ended::Stopped;
        }
        let prepared = match prepare(&pod, &container, run) {
            Ok(prepared) => prepared,
            Err(Obstacle { reason, message }) => {
                pod.report.wait(&name, reason, message);
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => continue,
                    _ = stopped(&mut stop) => return Ended::Stopped,
                }
            }
        };
        let began = Instant::now();
        let end = match once(&pod, &container, &prepared, run, &mut stop).await {
            Ok(end) => end,
            Err(fault) => failed_start(&format!("{fault:#}")),
        };
        let code = end.exit_code;
        super::note(format!(
            "{} {name}: ended with {code} {} {}",
            pod.full_name(),
            end.reason.as_deref().unwrap_or_default(),
            end.message.as_deref().unwrap_or_default().lines().last().unwrap_or_default()
        ));
        let started = pod.report.snapshot().rows.get(&name).is_some_and(|row| row.started);
        pod.report.row(&name, |row| {
            row.ready = false;
            row.started = false;
            row.state = ContainerState { terminated: Some(end.clone()), ..ContainerState::default() };
        });
        if stop.borrow().is_some() {
            return Ended::Stopped;
        }
        let policy = pod.spec().restart_policy.as_deref().unwrap_or("Always");
        match (role, policy) {
            (Role::Init, _) | (Role::App, "OnFailure" | "Never") if code == 0 => return Ended::Succeeded,
            (Role::Init | Role::App, "Never") => return Ended::Failed,
            _ => {}
        }
        if started && began.elapsed() >= LONG_ENOUGH {
            back_off = Duration::from_secs(1);
        }
        pod.report.row(&name, |row| {
            let text =
                format!("back-off {back_off:?} restarting failed container={name} pod={}", pod.full_name());
            let waiting =
                ContainerStateWaiting { reason: Some("CrashLoopBackOff".to_owned()), message: Some(text) };
            row.state = ContainerState { waiting: Some(waiting), ..ContainerState::default() };
            row.last = Some(end);
        });
        tokio::select! {
            () = tokio::time::sleep(back_off) => {}
            _ = stopped(&mut stop) => return Ended::Stopped,
        }
        back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        run += 1;
        pod.report.row(&name, |row| row.restarts += 1);
    }
}

fn prepare(pod: &PodContext, container: &Container, run: u32) -> Result<Prepared, Obstacle> {
    const CONFIG: &str = "CreateContainerConfigError";
    let runner = &pod.runner;
    let live = pod.live_pod();
    let (pod_ip, host_ip) = pod.addresses();
    let (host, port) = pod.apiserver();
    let from = Sources {
        objects: &runner.objects,
        pod: &live,
        pod_ip: &pod_ip,
        host_ip: &host_ip,
        apiserver: (&host, &port),
    };
    let image_name = container.image.as_deref().unwrap_or_default();
    let table = Table::load(&runner.settings.image_table)
        .map_err(|fault| obstacle("ErrImagePull", format!("{fault:#}")))?;
    let plain: BTreeMap<String, String> = container
        .env
        .iter()
        .flatten()
        .filter_map(|one| Some((one.name.clone(), one.value.clone()?)))
        .collect();
    let image = table.find(image_name, &plain, &runner.program).ok_or_else(|| {
        obstacle("ErrImagePull", format!("failed to pull image \"{image_name}\": not in the image table"))
    })?;
    let env = environment(container, &from).map_err(|message| obstacle(CONFIG, message))?;
    let words = |words: &Option<Vec<String>>| {
        words.iter().flatten().map(|word| expand(word, &env)).collect::<Vec<_>>()
    };
    let command = image.command_line(&words(&container.command), &words(&container.args));
    let (user, group) = ids(pod, container, &image).map_err(|message| obstacle(CONFIG, message))?;
    let folder = pod.folder.join("containers").join(&container.name).join(run.to_string());
    let message_file = folder.join("termination-log");
    let root = folder.join("root");
    let made = (|| {
        fs::create_dir_all(&root)?;
        fs::write(&message_file, "")?;
        fs::set_permissions(&message_file, fs::Permissions::from_mode(0o666))
    })();
    made.map_err(|fault: std::io::Error| obstacle("CreateContainerError", fault.to_string()))?;
    let mut mounts = mounts(pod, container).map_err(|message| obstacle(CONFIG, message))?;
    let message_path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
    mounts.push(Mount { source: message_file.clone(), target: message_path.to_owned(), read_only: false });
    let context = container.security_context.as_ref();
    let pod_context = pod.spec().security_context.as_ref();
    let more_groups = pod_context.and_then(|context| context.supplemental_groups.clone()).unwrap_or_default();
    let fs_group = pod_context.and_then(|context| context.fs_group);
    let groups: BTreeSet<u32> = more_groups
        .into_iter()
        .chain(fs_group)
        .filter_map(|id| u32::try_from(id).ok())
        .chain([group])
        .collect();
    let mut files = image.files.clone();
    files.insert(image.entrypoint(), image.binary.clone());
    let start = Start {
        root,
        files,
        libraries: image.needs_libs,
        texts: pod.texts(),
        mounts,
        root_is_read_only: context.and_then(|context| context.read_only_root_filesystem) == Some(true),
        command,
        working_dir: container
            .working_dir
            .clone()
            .filter(|dir| !dir.is_empty())
            .unwrap_or_else(|| "/".to_owned()),
        env,
        user,
        group,
        groups: groups.into_iter().collect(),
        no_new_privileges: context.and_then(|context| context.allow_privilege_escalation) == Some(false),
        capabilities: capabilities(container),
    };
    Ok(Prepared { start, image, message_file })
}

fn mounts(pod: &PodContext, container: &Container) -> Result<Vec<Mount>, String> {
    let spec = pod.spec();
    container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| {
            let volume = spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| format!("no volume is named {}", mount.name))?;
            let whole = volumes::place(pod, volume);
            let source = match mount.sub_path.as_deref().filter(|path| !path.is_empty()) {
                None => whole,
                Some(path) => {
                    // What the link leads to now: a sub-path is not updated, as on a node.
                    let place = whole.join(path);
                    place
                        .canonicalize()
                        .map_err(|fault| format!("subPath {path} of volume {}: {fault}", mount.name))?
                }
            };
            let writable = volume.empty_dir.is_some() || volume.host_path.is_some();
            let read_only = mount.read_only == Some(true) || !writable;
            Ok(Mount { source, target: mount.mount_path.clone(), read_only })
        })
        .collect()
}

/// The user and group that the container runs as.
fn ids(pod: &PodContext, container: &Container, image: &Image) -> Result<(u32, u32), String> {
    let context = container.security_context.as_ref();
    let pod_context = pod.spec().security_context.as_ref();
    let user = context.and_then(|c| c.run_as_user).or_else(|| pod_context.and_then(|c| c.run_as_user));
    let group = context.and_then(|c| c.run_as_group).or_else(|| pod_context.and_then(|c| c.run_as_group));
    let non_root =
        context.and_then(|c| c.run_as_non_root).or_else(|| pod_context.and_then(|c| c.run_as_non_root));
    let number = |id: i64| u32::try_from(id).map_err(|_| format!("{id} is no user"));
    let (user, group) = match (user, group) {
        (Some(user), Some(group)) => (number(user)?, number(group)?),
        (user, group) => {
            // A name in the image matters only where the pod does not say the number.
            let (image_user, image_group) = if user.is_some() { (0, 0) } else { image.ids()? };
            (user.map_or(Ok(image_user), number)?, group.map_or(Ok(image_group), number)?)
        }
    };
    if non_root == Some(true) && user == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    Ok((user, group))
}

/// The capabilities that are left; `None` for all of them.
fn capabilities(container: &Container) -> Option<Vec<String>> {
    let context = container.security_context.as_ref();
    if context.and_then(|context| context.privileged) == Some(true) {
        return None;
    }
    let asked = context.and_then(|context| context.capabilities.as_ref());
    let plain = |names: Option<&Vec<String>>| -> BTreeSet<String> {
        names.into_iter().flatten().map(|name| name.trim_start_matches("CAP_").to_ascii_uppercase()).collect()
    };
    let (add, dropped) =
        (plain(asked.and_then(|c| c.add.as_ref())), plain(asked.and_then(|c| c.drop.as_ref())));
    if add.contains("ALL") && !dropped.contains("ALL") {
        return None;
    }
    let default = DEFAULT_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let left = default.filter(|name| !dropped.contains("ALL") && !dropped.contains(name));
    Some(left.chain(add).filter(|name| name != "ALL").collect::<BTreeSet<_>>().into_iter().collect())
}

/// One run of the container, from start to end.
async fn once(
    pod: &Arc<PodContext>,
    container: &Container,
    prepared: &Prepared,
    run: u32,
    stop: &mut Stop,
) -> anyhow::Result<ContainerStateTerminated> {
    let name = &container.name;
    let id = format!("testbed://{}-{name}-{run}", pod.uid);
    let log_path = pod.log_path(name);
    let mut log = fs::OpenOptions::new().create(true).append(true).open(&log_path).context("open the log")?;
    let log_from = log.seek(SeekFrom::End(0))?;
    let start_file = prepared.start.root.with_extension("json");
    fs::write(&start_file, serde_json::to_vec(&prepared.start)?).context("write the start file")?;
    let (from_container, to_runner) = std::io::pipe()?;
    let holder = pod.sandbox().holder()?.to_string();
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "nsenter", "--target", &holder, "--net", "--uts", "--ipc", "--"])
        .args(["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--"])
        .arg(&pod.runner.program)
        .arg("kubelet-exec")
        .arg(&start_file)
        .stdin(to_runner)
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("start setpriv")?;
    let pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(from_container.into())
        .context("read from the container")?;
    let mut lines = BufReader::new(pipe).lines();
    let began = Timestamp::now();
    let first = lines.next_line().await.context("read from the container")?;
    if first.as_deref() != Some("ready") {
        child.wait().await?;
        return Ok(failed_start(&first.unwrap_or_default()));
    }
    let process = first_process(&child);
    pod.report.row(name, |row| {
        row.id.clone_from(&id);
        let running = ContainerStateRunning { started_at: Some(Time(began)) };
        row.state = ContainerState { running: Some(running), ..ContainerState::default() };
    });
    let (status, why) = match process {
        Some(process) => until_end(pod, container, prepared, &mut child, process, stop).await?,
        None => (child.wait().await?, None),
    };
    // The program did not take over after all.
    if status.code() == Some(i32::from(START_FAILED))
        && let Ok(Some(fault)) = lines.next_line().await
    {
        return Ok(failed_start(&fault));
    }
    let code = exit_code(status);
    let message = last_message(container, &prepared.message_file, &log_path, log_from, code);
    if let Some(why) = why {
        super::note(format!("{} {name}: {why}", pod.full_name()));
    }
    let _ = fs::remove_dir_all(prepared.start.root.parent().unwrap_or(&prepared.start.root));
    Ok(ContainerStateTerminated {
        exit_code: code,
        reason: Some(if code == 0 { "Completed" } else { "Error" }.to_owned()),
        message: (!message.is_empty()).then_some(message),
        started_at: Some(Time(began)),
        finished_at: Some(Time(Timestamp::now())),
        container_id: Some(id),
        signal: None,
    })
}

fn failed_start(fault: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: i32::from(START_FAILED),
        reason: Some("StartError".to_owned()),
        message: Some(format!("failed to start container: {fault}")),
        finished_at: Some(Time(Timestamp::now())),
        ..ContainerStateTerminated::default()
    }
}

/// The container's first process, a child of `unshare`; a short one has ended already.
fn first_process(child: &Child) -> Option<u32> {
    let parent = child.id()?;
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Probes the container until it ends, by itself or by order; also says what its probes found wrong.
async fn until_end(
    pod: &Arc<PodContext>,
    container: &Container,
    prepared: &Prepared,
    child: &mut Child,
    process: u32,
    stop: &mut Stop,
) -> anyhow::Result<(ExitStatus, Option<String>)> {
    let start = &prepared.start;
    let ids = (start.user, start.group);
    let probed = Probed { pod, container, process, env: &start.env, ids, image: &prepared.image };
    tokio::select! {
        status = child.wait() => Ok((status?, None)),
        _ = stopped(stop) => Ok((terminate(child, process, None, stop).await?, None)),
        unhealthy = watch_health(&probed) => {
            pod.report.row(&container.name, |row| row.ready = false);
            let grace = unhealthy.grace.or(pod.spec().termination_grace_period_seconds).unwrap_or(30);
            Ok((terminate(child, process, Some(grace), stop).await?, Some(unhealthy.message)))
        }
    }
}

/// SIGTERM, the grace period, SIGKILL. A stop order may shorten the time.
async fn terminate(
    child: &mut Child,
    process: u32,
    grace: Option<i64>,
    stop: &mut Stop,
) -> anyhow::Result<ExitStatus> {
    let process = Pid::from_raw(i32::try_from(process)?);
    let began = Instant::now();
    // It may have ended by itself.
    let _ = kill(process, Signal::SIGTERM);
    loop {
        let ordered = *stop.borrow_and_update();
        let seconds = grace.into_iter().chain(ordered).min().unwrap_or(0);
        let until = began + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        tokio::select! {
            status = child.wait() => return Ok(status?),
            () = tokio::time::sleep_until(until) => break,
            Ok(()) = stop.changed() => {}
        }
    }
    let _ = kill(process, Signal::SIGKILL);
    Ok(child.wait().await?)
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// What the container left as its last words.
fn last_message(container: &Container, file: &Path, log: &Path, log_from: u64, code: i32) -> String {
    let written = fs::read(file).unwrap_or_default();
    let written: String = String::from_utf8_lossy(&written).chars().take(LONGEST_MESSAGE).collect();
    let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !written.is_empty() || code == 0 || !from_log {
        return written;
    }
    tail(log, log_from).unwrap_or_default()
}

fn tail(log: &Path, from: u64) -> std::io::Result<String> {
    let mut log = fs::File::open(log)?;
    let end = log.seek(SeekFrom::End(0))?;
    log.seek(SeekFrom::Start(from.max(end.saturating_sub(LAST_LOG))))?;
    let mut text = Vec::new();
    log.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(context: serde_json::Value) -> Container {
        serde_json::from_value(json!({"name": "c", "securityContext": context})).unwrap()
    }

    #[test]
    fn dropping_all_leaves_only_what_is_added() {
        let all = json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}});
        assert_eq!(capabilities(&container(all)), Some(vec!["NET_BIND_SERVICE".to_owned()]));
        let one = capabilities(&container(json!({"capabilities": {"drop": ["KILL"]}}))).unwrap();
        assert_eq!(one.len(), DEFAULT_CAPABILITIES.len() - 1);
        assert_eq!(capabilities(&container(json!({"privileged": true}))), None);
    }

    #[test]
    fn a_signal_is_an_exit_code_above_128() {
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
    }
}
