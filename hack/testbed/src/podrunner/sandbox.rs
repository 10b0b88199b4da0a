//! The namespaces that the containers of one pod share: network, host name, IPC.
//!
//! A small process of ours holds them, as the pause container does on a node. It ends when its standard input does, that
//! is with the runner at the latest, and the kernel removes the interface with it.

use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::Runner;

/// Hands out pod addresses; none is used twice in the life of a runner.
pub(super) struct Addresses {
    base: u32,
    count: u32,
    next: AtomicU32,
}

impl Addresses {
    pub(super) fn new(cidr: &str) -> anyhow::Result<Self> {
        let (base, bits) = cidr.split_once('/').context("--pod-cidr needs ADDRESS/BITS")?;
        let base: Ipv4Addr = base.parse().context("--pod-cidr")?;
        let bits: u32 = bits.parse().context("--pod-cidr")?;
        ensure!((8..=24).contains(&bits), "--pod-cidr needs 8 to 24 bits");
        // The first ones stay free for the bridge and for what the bed adds.
        Ok(Self { base: base.to_bits(), count: 1 << (32 - bits), next: AtomicU32::new(16) })
    }

    fn take(&self) -> anyhow::Result<Ipv4Addr> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        ensure!(next < self.count - 1, "no pod address is left");
        Ok(Ipv4Addr::from_bits(self.base + next))
    }
}

/// Namespaces of one pod, or of one Node for its pods with hostNetwork.
pub(super) struct Sandbox {
    pub(super) address: Ipv4Addr,
    pub(super) host_name: String,
    /// Holds the namespaces; killed when this is dropped.
    process: Child,
    number: u32,
}

impl Sandbox {
    /// A network namespace on the bridge. Without an address, the next free one is taken.
    pub(super) async fn start(
        runner: &Runner,
        host_name: &str,
        address: Option<Ipv4Addr>,
    ) -> anyhow::Result<Self> {
        let address = address.map_or_else(|| runner.addresses.take(), Ok)?;
        let mut process = Command::new("unshare")
            .args(["--net", "--uts", "--ipc", "--"])
            .arg(&runner.program)
            .args(["kubelet-pause", host_name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start unshare")?;
        let mut lines =
            BufReader::new(process.stdout.take().context("no output of the pause process")?).lines();
        let line = lines.next_line().await.context("read from the pause process")?;
        ensure!(line.as_deref() == Some("ready"), "the pause process did not start");
        let number = process.id().context("the pause process ended")?;
        let sandbox = Self { address, host_name: host_name.to_owned(), process, number };
        sandbox.plug(&runner.settings.bridge).await?;
        Ok(sandbox)
    }

    /// The process whose /proc entry names the namespaces.
    pub(super) fn holder(&self) -> anyhow::Result<u32> {
        self.process.id().context("the pause process ended")
    }

    async fn plug(&self, bridge: &str) -> anyhow::Result<()> {
        let (holder, address) = (self.holder()?, self.address);
        let outside = format!("pod{}", self.number);
        // Everything is on link from inside: the bed's own addresses answer on the bridge, whatever subnet they are of.
        ip(
            None,
            &format!(
                "link add {outside} type veth peer name eth0 netns {holder}\n\
                 link set {outside} master {bridge}\n\
                 link set {outside} up\n\
                 route replace {address}/32 dev {bridge}\n"
            ),
        )
        .await?;
        ip(
            Some(holder),
            &format!("address add {address}/32 dev eth0\nlink set eth0 up\nroute add default dev eth0\n"),
        )
        .await
    }
}

/// Where all pods send what is for the bed.
const BRIDGE_ADDRESS: &str = "02:00:00:00:00:01";

/// Makes the bridge, unless the bed has made it, and pins its hardware address.
pub(super) async fn make_bridge(bridge: &str) -> anyhow::Result<()> {
    if ip(None, &format!("link show {bridge}\n")).await.is_err() {
        ip(None, &format!("link add {bridge} type bridge\n")).await?;
    }
    // By itself a bridge takes the lowest address of its ports, so a pod that comes or goes may change it. All others
    // would send into the void for 15 s, until their neighbour entries expire.
    ip(None, &format!("link set {bridge} address {BRIDGE_ADDRESS}\nlink set {bridge} up\n")).await
}

/// Runs commands of `ip`, in the network namespace of a process if one is named.
async fn ip(inside: Option<u32>, commands: &str) -> anyhow::Result<()> {
    let mut command = match inside {
        Some(holder) => {
            let mut command = Command::new("nsenter");
            command.args(["--target", &holder.to_string(), "--net", "--", "ip"]);
            command
        }
        None => Command::new("ip"),
    };
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start ip")?;
    let mut input = child.stdin.take().context("no input of ip")?;
    input.write_all(commands.as_bytes()).await.context("write to ip")?;
    drop(input);
    let output = child.wait_with_output().await.context("wait for ip")?;
    if !output.status.success() {
        bail!("ip {commands:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// `kubelet-pause HOST_NAME`: sets up what only the inside can, says "ready", and stays until its input ends.
pub(super) fn pause(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let host_name = arguments.first().context("no host name")?;
    nix::unistd::sethostname(host_name).context("set the host name")?;
    let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).stdin(Stdio::null()).status();
    ensure!(up.context("start ip")?.success(), "lo does not come up");
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_given_twice_and_the_range_ends() {
        let addresses = Addresses::new("10.244.7.0/24").unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| addresses.take().ok()).collect();
        assert_eq!(taken.first().copied(), Some(Ipv4Addr::new(10, 244, 7, 16)));
        assert_eq!(taken.last().copied(), Some(Ipv4Addr::new(10, 244, 7, 254)));
        assert_eq!(taken.len(), 239);
    }

    #[test]
    fn a_range_that_makes_no_sense_is_refused() {
        assert!(Addresses::new("10.244.0.0").is_err());
        assert!(Addresses::new("10.244.0.0/31").is_err());
    }
}
