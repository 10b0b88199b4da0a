//! The outer half of a bed: into namespaces of its own, and the ways to look after a bed that stays.
//!
//! The chain is: this process, `unshare` (which the kernel kills when this process ends), process 1 of the bed (which
//! it kills when `unshare` ends), everything else (which it kills when process 1 ends). So no way of ending leaves
//! anything behind, and nothing here cleans up.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::cache::Cache;
use crate::inside::{self, ENVIRONMENT, Orders};
use crate::spec::BedSpec;
use crate::{control_plane, relay};

const NAMESPACES: &[&str] = &[
    "--net",
    "--mount",
    "--pid",
    "--uts",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--propagation",
    "private",
];
/// The file that says which processes are a bed that stays, below its folder.
const PROCESSES: &str = "bed.json";
/// What a caller outside may source, below the bed's folder.
pub const OUTSIDE: &str = "env";
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// Programs that a bed needs besides its own, each with the line that installs it.
const PREREQUISITES: &[(&str, &str)] = &[
    ("unshare", "apt-get install util-linux"),
    ("nsenter", "apt-get install util-linux"),
    ("setpriv", "apt-get install util-linux"),
    ("mount", "apt-get install mount"),
    ("ip", "apt-get install iproute2"),
];

/// The processes of a bed that stays, as the host counts them.
#[derive(Debug, Serialize, Deserialize)]
struct Processes {
    /// Holds the relays; the bed dies with it.
    holder: i32,
    /// When the holder started, so that a reused number is not taken for it.
    started: String,
    /// Process 1 of the bed.
    init: i32,
}

/// Runs a command in a bed of its own and returns the command's exit code.
pub fn run(spec: BedSpec, command: &[OsString]) -> Result<i32> {
    let spec = spec.checked()?;
    if let Some(dir) = &spec.dir {
        clear_folder(dir)?;
    }
    let orders = orders(spec, false)?;
    single_threaded()?.block_on(async {
        // The interrupt key reaches the whole group; the command decides what it means.
        let mut interrupts = signal(SignalKind::interrupt())?;
        let bed = bed_command(&orders, command)?;
        let mut child = tokio::process::Command::from(bed).spawn().context("failed to enter the bed")?;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(inside::exit_code(status?)),
                _ = interrupts.recv() => {}
            }
        }
    })
}

/// Starts a bed that stays, and returns when it is ready and its relays serve.
pub fn up(spec: BedSpec) -> Result<()> {
    let spec = spec.checked()?;
    let dir = spec.dir.clone().context("a bed that stays needs --dir")?;
    clear_folder(&dir)?;
    let orders = orders(spec, true)?;
    let log = File::create(dir.join("bed.log")).context("failed to open the bed's log")?;
    let mut holder = Command::new(std::env::current_exe()?)
        .arg("hold")
        .arg(serde_json::to_string(&orders)?)
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("failed to start the bed's holder")?;
    let mut word = String::new();
    BufReader::new(holder.stdout.take().context("the holder has no output")?).read_line(&mut word)?;
    if word.trim() != "ready" {
        let status = holder.wait()?;
        let log = fs::read_to_string(dir.join("bed.log")).unwrap_or_default();
        bail!("the bed did not start ({status}):\n{log}");
    }
    // Until it reads this, the holder ends when we do.
    holder.stdin.take().context("the holder has no input")?.write_all(b"stay\n")?;
    eprintln!("testbed: ready; variables in {}", dir.join(OUTSIDE).display());
    Ok(())
}

/// What `up` leaves behind: keeps the bed alive and relays into it.
pub fn hold(orders: &str) -> Result<i32> {
    let orders: Orders = serde_json::from_str(orders).context("failed to read the orders")?;
    let dir = std::env::current_dir()?;
    single_threaded()?.block_on(async {
        let bed = bed_command(&orders, &[])?;
        let mut child = tokio::process::Command::from(bed)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("failed to enter the bed")?;
        let unshare = i32::try_from(child.id().context("the bed is gone")?)?;
        while !dir.join("ready").exists() {
            tokio::select! {
                status = child.wait() => bail!("the bed ended while it started ({})", status?),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
        }
        let init = child_of(unshare)?;
        let holder = i32::try_from(std::process::id())?;
        let processes = Processes { holder, started: start_time(holder)?, init };
        fs::write(dir.join(PROCESSES), serde_json::to_string(&processes)?)?;
        write_outside(&dir, orders.spec.vcenters_in_it()).await?;
        writeln!(std::io::stdout(), "ready").context("the caller ended before the bed was ready")?;
        let mut word = String::new();
        std::io::stdin().read_line(&mut word)?;
        if word.trim() != "stay" {
            bail!("the caller ended before the bed was ready");
        }
        Ok(inside::exit_code(child.wait().await?))
    })
}

/// Runs a command in a bed that stays.
pub fn exec(dir: &Path, command: &[OsString]) -> Result<i32> {
    let processes = running(dir)?.with_context(|| format!("no bed runs in {}", dir.display()))?;
    let text = fs::read(dir.join(ENVIRONMENT)).context("failed to read the bed's environment")?;
    let environment: std::collections::BTreeMap<String, String> = serde_json::from_slice(&text)?;
    let mut enter = Command::new("nsenter");
    enter.arg(format!("--target={}", processes.init)).args(["--mount", "--uts", "--net", "--pid"]);
    if !Uid::effective().is_root() {
        enter.args(["--user", "--preserve-credentials"]);
    }
    // Entering a mount namespace leaves its root as the current folder.
    enter.args(["--", "sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(std::env::current_dir()?).args(command);
    single_threaded()?.block_on(async {
        let mut interrupts = signal(SignalKind::interrupt())?;
        enter.envs(environment);
        let mut child = tokio::process::Command::from(enter).spawn().context("failed to start nsenter")?;
        loop {
            tokio::select! {
                status = child.wait() => return Ok(inside::exit_code(status?)),
                _ = interrupts.recv() => {}
            }
        }
    })
}

/// Ends a bed that stays; its files remain for whoever asks what happened.
pub fn down(dir: &Path) -> Result<()> {
    let Some(processes) = running(dir)? else {
        eprintln!("testbed: no bed runs in {}", dir.display());
        return Ok(());
    };
    kill(Pid::from_raw(processes.holder), Signal::SIGKILL).context("failed to end the bed")?;
    let start = Instant::now();
    while stat_field(processes.init, 0).is_ok_and(|state| state != "Z") {
        if start.elapsed() > GONE_WITHIN {
            bail!("the bed's first process {} is still there", processes.init);
        }
        thread::sleep(Duration::from_millis(20));
    }
    for name in [PROCESSES, OUTSIDE, "ready"] {
        fs::remove_file(dir.join(name)).ok();
    }
    Ok(())
}

fn single_threaded() -> Result<tokio::runtime::Runtime> {
    // The bed's life hangs on the thread that starts it, so there is only one.
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the runtime")
}

/// Checks what a bed needs and gathers what its inner half must know.
fn orders(spec: BedSpec, hold: bool) -> Result<Orders> {
    check_prerequisites()?;
    check_namespaces()?;
    let tools = Cache::from_env()?.provide(&spec.tools())?;
    Ok(Orders {
        spec,
        tools: tools.into_iter().map(|built| (built.name, built.bin)).collect(),
        host_network: network_namespace()?,
        hold,
    })
}

/// The network namespace of this process.
pub fn network_namespace() -> Result<String> {
    let link = fs::read_link("/proc/self/ns/net").context("failed to read our network namespace")?;
    Ok(link.display().to_string())
}

fn check_prerequisites() -> Result<()> {
    let mut missing = Vec::new();
    for (program, remedy) in PREREQUISITES {
        let found =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() && Command::new(program).arg("-V").stdout(Stdio::null()).status().is_err() {
            missing.push(format!("`{program}` is missing: {remedy}"));
        }
    }
    if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("\n")) }
}

/// Tries to enter, so that a refusal is told with its reason instead of failing halfway.
fn check_namespaces() -> Result<()> {
    let output = unshare().args(["--", "true"]).output().context("failed to start unshare")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let remedies = remedies();
    let remedies = if remedies.is_empty() {
        "run it as root with CAP_SYS_ADMIN (in a container: --privileged)".to_owned()
    } else {
        remedies.join("\n")
    };
    bail!("a test bed needs namespaces of its own, and this machine refuses them: {said}\n{remedies}")
}

/// The kernel settings that stand in the way, each with the line that changes it.
fn remedies() -> Vec<String> {
    let setting = |name: &str| fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok();
    [
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "15000"),
        ("user.max_net_namespaces", "0", "15000"),
        ("user.max_pid_namespaces", "0", "15000"),
        ("user.max_mnt_namespaces", "0", "15000"),
    ]
    .iter()
    .filter(|(name, bad, _)| setting(name).is_some_and(|value| value.trim() == *bad))
    .map(|(name, bad, good)| format!("{name} is {bad}; allow them with: sysctl -w {name}={good}"))
    .collect()
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(NAMESPACES);
    if !Uid::effective().is_root() {
        // Best effort: with one mapped user, pods cannot run as another one.
        command.arg("--map-root-user");
    }
    command
}

/// The command that enters and becomes the bed's first process.
fn bed_command(orders: &Orders, command: &[OsString]) -> Result<Command> {
    let inner = unshare();
    let mut bed = Command::new("setpriv");
    bed.args(["--pdeathsig", "KILL"]).arg(inner.get_program()).args(inner.get_args());
    bed.arg("--").arg(std::env::current_exe()?).args(["init", "inside"]).arg(serde_json::to_string(orders)?);
    bed.arg("--").args(command);
    Ok(bed)
}

fn clear_folder(dir: &Path) -> Result<()> {
    if running(dir)?.is_some() {
        bail!("a bed runs in {}: end it with `testbed down --dir {}`", dir.display(), dir.display());
    }
    let marker = dir.join(".testbed");
    if dir.is_dir() && fs::read_dir(dir)?.next().is_some() {
        if !marker.exists() {
            bail!("{} holds files that are not a bed's: choose another --dir", dir.display());
        }
        fs::remove_dir_all(dir).with_context(|| format!("failed to clear {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    fs::write(marker, "")?;
    Ok(())
}

fn running(dir: &Path) -> Result<Option<Processes>> {
    let Ok(text) = fs::read(dir.join(PROCESSES)) else { return Ok(None) };
    let processes: Processes =
        serde_json::from_slice(&text).context("failed to read the bed's process file")?;
    let alive = start_time(processes.holder).is_ok_and(|started| started == processes.started);
    Ok(alive.then_some(processes))
}

/// When a process started, in the kernel's own count.
fn start_time(process: i32) -> Result<String> {
    stat_field(process, 19)
}

/// A field of `/proc/PID/stat` after the name, which may itself hold blanks and brackets.
fn stat_field(process: i32, field: usize) -> Result<String> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after = text.rsplit_once(')').map(|(_, after)| after).unwrap_or_default();
    after.split_whitespace().nth(field).map(str::to_owned).context("the kernel's process table has changed")
}

fn child_of(parent: i32) -> Result<i32> {
    for entry in fs::read_dir("/proc")? {
        let Ok(process) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        if stat_field(process, 1).is_ok_and(|field| field == parent.to_string()) {
            return Ok(process);
        }
    }
    bail!("the bed has no first process")
}

/// Writes the variables for callers outside: relayed ports where they need them.
async fn write_outside(dir: &Path, vcenters: usize) -> Result<()> {
    let text = fs::read(dir.join(ENVIRONMENT)).context("failed to read the bed's environment")?;
    let mut all: std::collections::BTreeMap<String, String> = serde_json::from_slice(&text)?;
    for inner in ["PATH", "TMPDIR"] {
        all.remove(inner);
    }
    let server = format!("https://127.0.0.1:{}", relay::serve_port("apiserver").await?);
    let kubeconfig = dir.join("outside.kubeconfig");
    fs::write(&kubeconfig, control_plane::rewrite_server(&dir.join("admin.kubeconfig"), &server)?)?;
    all.insert("APISERVER".to_owned(), server);
    all.insert("KUBECONFIG".to_owned(), kubeconfig.display().to_string());
    for number in 1..=vcenters {
        let port = relay::serve_port(&format!("vcenter-{number}-admin")).await?;
        all.insert(format!("VCENTER_{number}_ADMIN"), format!("http://127.0.0.1:{port}"));
    }
    let lines: String =
        all.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    fs::write(dir.join("env.new"), lines)?;
    fs::rename(dir.join("env.new"), dir.join(OUTSIDE)).map_err(|error| anyhow!(error))
}

/// A value as a shell reads it back.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "'\\''"))
}

/// The folder that a command line names, independent of the current one.
pub fn absolute(dir: &Path) -> Result<PathBuf> {
    std::path::absolute(dir).context("failed to resolve --dir")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_the_shell() {
        let value = "it's $HOME `x` \"y\"";
        let output =
            Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(value))).output().unwrap();

        assert_eq!(String::from_utf8_lossy(&output.stdout), value);
    }

    #[test]
    fn a_folder_with_foreign_files_is_not_cleared() {
        let dir = std::env::temp_dir().join(format!("testbed-foreign-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("thesis.txt"), "years of work").unwrap();

        let refused = clear_folder(&dir);
        let kept = dir.join("thesis.txt").exists();
        fs::remove_dir_all(&dir).unwrap();

        assert!(refused.is_err() && kept);
    }

    #[test]
    fn our_own_start_time_can_be_read() {
        let own = i32::try_from(std::process::id()).unwrap();

        assert!(start_time(own).unwrap().parse::<u64>().unwrap() > 0);
    }
}
