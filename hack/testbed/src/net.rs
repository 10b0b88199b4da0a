//! The bed's network: one bridge that holds the addresses of control plane and vCenters. The pod runner plugs the
//! namespaces of nodes and pods into it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt::Write as _, fs};

use anyhow::{Context, Result, bail};

use crate::addresses::{self, NETWORKS};

/// The bridge's name.
pub const BRIDGE: &str = "bed0";

/// Builds loopback, bridge and addresses in the network namespace of this process.
pub fn build(vcenters: usize) -> Result<()> {
    let mut script = format!("link set lo up\nlink add {BRIDGE} type bridge\n");
    for network in NETWORKS {
        writeln!(script, "addr add {}/{} dev {BRIDGE}", network.gateway, network.prefix)?;
    }
    writeln!(script, "addr add {}/32 dev {BRIDGE}", addresses::API_SERVER)?;
    for number in 1..=vcenters {
        writeln!(script, "addr add {}/32 dev {BRIDGE}", addresses::vcenter(number))?;
    }
    writeln!(script, "link set {BRIDGE} up")?;
    ip_batch(&script)?;
    // An address that nobody has is answered at once (network unreachable) instead of never.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("failed to switch forwarding on")?;
    Ok(())
}

/// Makes the bed's DNS server the one that every program asks.
pub fn bind_resolv_conf(folder: &Path) -> Result<PathBuf> {
    let ours = folder.join("resolv.conf");
    fs::write(&ours, format!("nameserver {}\noptions timeout:1 attempts:2\n", addresses::DNS))?;
    let target = Path::new("/etc/resolv.conf");
    if let Ok(link) = fs::read_link(target) {
        // The link points below /run on many systems, which is empty in a bed.
        let file = Path::new("/etc").join(link);
        if !file.exists() {
            let parent = file.parent().context("/etc/resolv.conf links to nothing")?;
            fs::create_dir_all(parent)?;
            fs::write(&file, "").with_context(|| format!("failed to make {}", file.display()))?;
        }
    }
    run(Command::new("mount").arg("--bind").arg(&ours).arg(target))?;
    Ok(ours)
}

/// Runs a program to its end and fails with what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{command:?} failed ({}): {said}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ip_batch(script: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start ip")?;
    child.stdin.take().context("ip has no input")?.write_all(script.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("ip failed: {}\nwhile it was told:\n{script}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
