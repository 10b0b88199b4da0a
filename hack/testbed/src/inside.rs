//! The inner half of a bed: process 1, and the process that starts everything and then runs the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::wait::{WaitStatus, waitpid};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::addresses::{self, API_SERVER, API_SERVER_PORT, DNS, PODS};
use crate::cache::Built;
use crate::pki::Pki;
use crate::process::Components;
use crate::spec::{BedSpec, Profile};
use crate::vcenter::{self, VCenter};
use crate::{cache, control_plane, images, net, nodes, relay};

/// Where a bed without `--dir` keeps its files: on a file system that vanishes with it.
const OWN_FOLDER: &str = "/run/bed";
/// How often the bed's programs are looked after while the command runs.
const WATCH: Duration = Duration::from_millis(250);
/// The file with the environment of commands in the bed, below its folder.
pub const ENVIRONMENT: &str = "environment.json";

/// What the outer half tells the inner one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    /// What bed is wanted.
    pub spec: BedSpec,
    /// The tools' folders, by name.
    pub tools: Vec<(String, PathBuf)>,
    /// The network namespace outside, by which a test can tell that it is not in a bed.
    pub host_network: String,
    /// Serve relays and wait to be killed, instead of running a command.
    pub hold: bool,
}

/// Process 1 of a bed: starts the real one, collects the processes that lost their parent, and ends with the real
/// one, whereupon the kernel ends all others.
pub fn init(arguments: &[OsString]) -> Result<i32> {
    let child =
        Command::new(std::env::current_exe()?).args(arguments).spawn().context("failed to start the bed")?;
    let child = i32::try_from(child.id())?;
    loop {
        match waitpid(None, None).context("failed to wait for the bed")? {
            WaitStatus::Exited(pid, code) if pid.as_raw() == child => return Ok(code),
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == child => return Ok(128 + signal as i32),
            _ => {}
        }
    }
}

/// Starts the bed, runs `command` in it, and returns the command's exit code.
pub fn run(orders: &Orders, command: &[OsString]) -> Result<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let start = Instant::now();
        let mut bed = tokio::select! {
            bed = Running::start(orders) => bed?,
            _ = interrupt() => return Ok(130),
        };
        eprintln!("testbed: {} ready after {:.1} s", bed.description, start.elapsed().as_secs_f32());
        if orders.hold {
            return bed.hold().await;
        }
        bed.run(command).await
    })
}

async fn interrupt() {
    match signal(SignalKind::interrupt()) {
        Ok(mut interrupts) => {
            interrupts.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

struct Running {
    components: Components,
    environment: BTreeMap<String, String>,
    description: String,
    folder: PathBuf,
    relays: Vec<(String, String)>,
}

impl Running {
    async fn start(orders: &Orders) -> Result<Running> {
        let spec = &orders.spec;
        let folder = furnish(spec)?;
        let bin = folder.join("bin");
        link_tools(orders, &bin)?;
        net::build(spec.vcenters_in_it())?;
        let pki = Pki::write(&folder.join("pki"))?;
        let mut components = Components::new(&folder)?;
        let mut vcenters = Vec::new();
        if spec.profile == Profile::Full {
            start_dns(&folder, &bin, &mut components, spec.vcenters)?;
            for number in 1..=spec.vcenters {
                let wanted = vcenter::Wanted {
                    machines: spec.machines(number),
                    version: &spec.vsphere,
                    password: &spec.password,
                    datacenters: &spec.datacenters,
                };
                vcenters.push(vcenter::start(&folder, &bin, &pki, &mut components, number, &wanted)?);
            }
        }
        let plane = control_plane::start_api(&folder, &bin, &pki, &mut components).await?;
        let table = folder.join("images.json");
        let mut description = "bed".to_owned();
        if spec.profile == Profile::Full {
            control_plane::start_controllers(&folder, &bin, &pki, &mut components, spec.nodes)?;
            let machines = all_machines(&folder, &mut components, &vcenters).await?;
            nodes::create(&plane.client, &machines, spec.control_plane, spec.kubernetes).await?;
            write_image_table(&table, &bin, spec)?;
            control_plane::start_kwok(&folder, &bin, &plane.kubeconfig, &mut components, spec.nodes)?;
            start_own(&folder, &plane.kubeconfig, &table, &mut components)?;
            nodes::are_ready(&plane.client, &mut components, machines.len()).await?;
            control_plane::accounts_are_there(&plane, &mut components).await?;
            description = format!("bed (nodes: {}, vCenters: {})", machines.len(), vcenters.len());
        }
        let environment = environment(orders, &folder, &bin, &vcenters);
        fs::write(folder.join(ENVIRONMENT), serde_json::to_string_pretty(&environment)?)?;
        let relays = relays(&vcenters);
        Ok(Running { components, environment, description, folder, relays })
    }

    async fn run(&mut self, command: &[OsString]) -> Result<i32> {
        let (program, arguments) = command.split_first().context("no command to run in the bed")?;
        // The interrupt key is for the command; we go on until it ends.
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .envs(&self.environment)
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        loop {
            tokio::select! {
                status = child.wait() => {
                    // What died under the command explains how it ended.
                    self.report_ended();
                    return Ok(exit_code(status?));
                }
                _ = interrupts.recv() => {}
                () = tokio::time::sleep(WATCH) => self.report_ended(),
            }
        }
    }

    async fn hold(&mut self) -> Result<i32> {
        // A socket's path has little room, so it is relative.
        std::env::set_current_dir(&self.folder)?;
        for (name, target) in &self.relays {
            relay::serve_socket(name, target.clone())?;
        }
        fs::write("ready", "")?;
        loop {
            tokio::time::sleep(WATCH).await;
            self.report_ended();
        }
    }

    fn report_ended(&mut self) {
        for report in self.components.newly_ended() {
            eprintln!("testbed: {report}");
        }
    }
}

/// The code that a shell would give.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// An empty /run (names of network namespaces, sockets of the host's daemons), a host name, and the bed's folder.
fn furnish(spec: &BedSpec) -> Result<PathBuf> {
    net::run(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "testbed", "/run"]))?;
    nix::unistd::sethostname("testbed").context("failed to name the bed")?;
    let folder = spec.dir.clone().unwrap_or_else(|| PathBuf::from(OWN_FOLDER));
    for name in ["tmp", "relay", "kubelet"] {
        fs::create_dir_all(folder.join(name))
            .with_context(|| format!("failed to make {}", folder.display()))?;
    }
    Ok(folder)
}

fn link_tools(orders: &Orders, bin: &Path) -> Result<()> {
    let built: Vec<Built> =
        orders.tools.iter().map(|(name, bin)| Built { name: name.clone(), bin: bin.clone() }).collect();
    cache::link(&built, bin)?;
    let own = bin.join("testbed");
    if own.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(std::env::current_exe()?, own)?;
    }
    Ok(())
}

fn start_dns(folder: &Path, bin: &Path, components: &mut Components, vcenters: usize) -> Result<()> {
    let hosts = folder.join("hosts");
    let lines = (1..=vcenters)
        .map(|number| format!("{} {}\n", addresses::vcenter(number), vcenter::host_name(number)));
    fs::write(&hosts, lines.collect::<String>())?;
    components.start(
        "dns",
        &bin.join("dns"),
        &[format!("-listen={DNS}:53"), format!("-hosts={}", hosts.display())],
    )?;
    net::bind_resolv_conf(folder)?;
    Ok(())
}

/// Starts the parts of the bed that are in this binary.
fn start_own(folder: &Path, kubeconfig: &Path, table: &Path, components: &mut Components) -> Result<()> {
    let own = std::env::current_exe()?;
    let kubelet = [
        "kubelet".to_owned(),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--image-table={}", table.display()),
        format!("--dir={}", folder.join("kubelet").display()),
        format!("--bridge={}", net::BRIDGE),
        format!("--pod-cidr={PODS}"),
    ];
    components.start("kubelet", &own, &kubelet)?;
    let csinodes = ["csinodes".to_owned(), kubeconfig.display().to_string(), folder.display().to_string()];
    components.start("csinodes", &own, &csinodes)
}

/// The machines of all vCenters in turn, so that control-plane nodes are spread over them.
async fn all_machines(
    folder: &Path,
    components: &mut Components,
    vcenters: &[VCenter],
) -> Result<Vec<vcenter::Machine>> {
    let mut rows = Vec::new();
    for (index, vcenter) in vcenters.iter().enumerate() {
        let machines = vcenter::machines(folder, components, index + 1, vcenter).await?;
        rows.extend(machines.into_iter().enumerate().map(|(place, machine)| ((place, index), machine)));
    }
    rows.sort_by_key(|(place, _)| *place);
    Ok(rows.into_iter().map(|(_, machine)| machine).collect())
}

fn write_image_table(table: &Path, bin: &Path, spec: &BedSpec) -> Result<()> {
    images::add(table, &images::drivers(bin))?;
    if let Some(file) = &spec.images {
        let text = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        let rows = images::rows_of(&text).with_context(|| format!("the image table {}", file.display()))?;
        images::add(table, &rows)?;
    }
    Ok(())
}

fn relays(vcenters: &[VCenter]) -> Vec<(String, String)> {
    let mut relays = vec![("apiserver".to_owned(), format!("{API_SERVER}:{API_SERVER_PORT}"))];
    for (index, vcenter) in vcenters.iter().enumerate() {
        let admin = vcenter.admin.trim_start_matches("http://").to_owned();
        relays.push((format!("vcenter-{}-admin", index + 1), admin));
    }
    relays
}

/// The variables that commands in the bed see, besides their own.
fn environment(orders: &Orders, folder: &Path, bin: &Path, vcenters: &[VCenter]) -> BTreeMap<String, String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut all = BTreeMap::from(
        [
            ("BED_DIR", folder.display().to_string()),
            ("BED_BIN", bin.display().to_string()),
            ("BED_HOST_NETWORK", orders.host_network.clone()),
            ("BED_IMAGE_TABLE", file("images.json")),
            ("BED_VCENTERS", vcenters.len().to_string()),
            ("APISERVER", format!("https://{API_SERVER}:{API_SERVER_PORT}")),
            ("AUDIT_LOG", file("audit.log")),
            ("KUBECONFIG", file("admin.kubeconfig")),
            ("KUBE_CA", file("pki/ca.crt")),
            ("PATH", format!("{}:{path}", bin.display())),
            ("TMPDIR", file("tmp")),
            // Every bed has its API server at the same address: what kubectl remembers of another one is wrong.
            ("KUBECACHEDIR", file("tmp/kube-cache")),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for (index, vcenter) in vcenters.iter().enumerate() {
        all.extend(vcenter.variables(index + 1));
    }
    all
}
