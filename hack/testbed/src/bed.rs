//! A bed as a test sees it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value};

use crate::audit::AuditLog;
use crate::csinode::WITHHOLD;
use crate::enter::network_namespace;
use crate::images;
use crate::vcenter::VCenter;

/// The bed that this process runs in.
#[derive(Debug, Clone)]
pub struct Bed {
    folder: PathBuf,
    vcenters: Vec<VCenter>,
}

impl Bed {
    /// The bed around this process.
    ///
    /// Panics when there is none: a test that talks to the host's network would test, and change, something else.
    #[track_caller]
    pub fn from_env() -> Bed {
        match Bed::find() {
            Ok(bed) => bed,
            Err(reason) => panic!(
                "this test needs a test bed ({reason:#}); run its binary in one: testbed run -- TEST-BINARY"
            ),
        }
    }

    fn find() -> Result<Bed> {
        let host = variable("BED_HOST_NETWORK")?;
        if network_namespace()? == host {
            bail!("the network is still the host's");
        }
        let count: usize = variable("BED_VCENTERS")?.parse().context("BED_VCENTERS")?;
        let vcenters =
            (1..=count).map(|number| VCenter::from_variables(number, variable)).collect::<Result<_>>()?;
        Ok(Bed { folder: PathBuf::from(variable("BED_DIR")?), vcenters })
    }

    /// A file of the bed: logs, certificates, kubeconfigs.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    /// A program of the bed, such as `helm` or `csi-3.7.0/syncer`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.path("bin").join(name)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("admin.kubeconfig")
    }

    /// The vCenters; none in the profile without them.
    pub fn vcenters(&self) -> &[VCenter] {
        &self.vcenters
    }

    /// The vCenter with this number; the first is 1.
    #[track_caller]
    pub fn vcenter(&self, number: usize) -> &VCenter {
        &self.vcenters[number - 1]
    }

    /// Everything that the API server answered so far.
    pub fn audit(&self) -> Result<AuditLog> {
        AuditLog::read(&self.path("audit.log"))
    }

    /// The log of one of the bed's programs: kube-apiserver, kubelet, vcenter-1, …
    pub fn log(&self, name: &str) -> Result<String> {
        let path = self.path("log").join(format!("{name}.log"));
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Runs kubectl as administrator and returns what it printed; fails with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with something to read, as for `apply -f -`.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = Command::new(self.program("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        output_of(&mut command, input)
    }

    /// An object, or a list, as JSON.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&text).context("kubectl printed what is not JSON")
    }

    /// Adds rows to the image table; the pod runner uses them from the next container on.
    pub fn add_images(&self, rows: &Map<String, Value>) -> Result<()> {
        images::add(&self.path("images.json"), rows)
    }

    /// Keeps pods whose names begin so in ContainerCreating until the list no longer names them.
    pub fn hold_pods(&self, prefixes: &[&str]) -> Result<()> {
        fs::write(self.path("kubelet/hold"), prefixes.join("\n")).context("failed to hold pods")
    }

    /// What all runs of a container that the pod runner ran have printed.
    pub fn container_log(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        let path = self.path("kubelet/logs").join(format!("{namespace}_{pod}_{container}.log"));
        fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))
    }

    /// Leaves these nodes without a CSINode entry, as if their registrar had never spoken; an empty list ends it.
    pub fn withhold_csinodes(&self, nodes: &[&str]) -> Result<()> {
        fs::write(self.path(WITHHOLD), nodes.join("\n")).context("failed to withhold CSINodes")
    }

    /// Stops one of the bed's programs in its tracks: it keeps its connections and answers nothing.
    pub fn freeze(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGSTOP)
    }

    /// Lets it go on.
    pub fn thaw(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::SIGCONT)
    }

    fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        let text =
            fs::read_to_string(self.path("pid").join(name)).with_context(|| format!("no program {name}"))?;
        kill(Pid::from_raw(text.trim().parse()?), signal).with_context(|| format!("failed to signal {name}"))
    }
}

/// Runs a command to its end, returns what it printed, and fails with what it said.
pub fn output_of(command: &mut Command, input: &str) -> Result<String> {
    use std::io::Write as _;

    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {shown}"))?;
    let mut writer = child.stdin.take().context("the command has no input")?;
    let input = input.to_owned();
    // A command that ends without reading all of it says itself what was wrong.
    let feeder = std::thread::spawn(move || writer.write_all(input.as_bytes()).ok());
    let output = child.wait_with_output()?;
    feeder.join().ok();
    if !output.status.success() {
        bail!("{shown} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} printed what is not text"))
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set"))
}
