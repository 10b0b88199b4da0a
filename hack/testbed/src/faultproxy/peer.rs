//! Who is at the other end of a connection, asked of the kernel, and killing it.
//!
//! **Invariant:** only a process of the bed is killed. In a bed every process that can be seen is one, since a bed has process
//! numbers of its own. Elsewhere it must descend from this process. Never this process itself, and none that it descends from.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::enter::network_namespace;

/// A killed process is gone in no time; a busy machine may take longer to notice.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// One connection, by both of its ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) ours: SocketAddr,
    pub(super) theirs: SocketAddr,
}

/// Kills whoever holds the other end, and returns when it is dead.
pub(super) fn kill_peer(peer: Peer) -> Result<()> {
    let holders = holders(peer)?;
    ensure!(!holders.is_empty(), "no process holds the other end of the connection from {}", peer.theirs);
    for pid in &holders {
        may_be_killed(*pid)?;
    }
    for pid in holders {
        kill(Pid::from_raw(pid), Signal::SIGKILL).with_context(|| format!("failed to kill process {pid}"))?;
        let end = Instant::now() + PATIENCE;
        while is_alive(pid) {
            ensure!(Instant::now() < end, "process {pid} does not die");
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    Ok(())
}

/// The processes that hold the other end. It may lie in any network namespace whose processes we see: a pod has its own.
fn holders(peer: Peer) -> Result<Vec<i32>> {
    let mut spaces: BTreeMap<PathBuf, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("failed to read /proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Processes come and go, and some are not ours to look into.
        if let Ok(space) = fs::read_link(entry.path().join("ns/net")) {
            spaces.entry(space).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    for pids in spaces.values() {
        // All processes of a namespace see the same table; the first may be gone by now.
        let inode = pids.iter().find_map(|pid| {
            let tables = ["tcp", "tcp6"]
                .map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
            tables.iter().find_map(|table| socket_of(table, peer.theirs, peer.ours))
        });
        if let Some(inode) = inode {
            let socket = PathBuf::from(format!("socket:[{inode}]"));
            found.extend(pids.iter().filter(|pid| holds(**pid, &socket)));
        }
    }
    Ok(found)
}

fn holds(pid: i32, socket: &Path) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == socket))
}

/// The number of the socket between these two ends, from a table as /proc/net/tcp shows it.
fn socket_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is = |column: usize, wanted: SocketAddr| {
            columns
                .get(column)
                .and_then(|text| address(text))
                .is_some_and(|(ip, port)| ip == wanted.ip().to_canonical() && port == wanted.port())
        };
        let inode = columns.get(9)?.parse().ok()?;
        (is(1, local) && is(2, remote) && inode != 0).then_some(inode)
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: words of four bytes in the machine's order.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|word| Some(u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip = match words.as_slice() {
        [word] => IpAddr::V4(Ipv4Addr::from(*word)),
        [_, _, _, _] => {
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// Whether the process belongs to the bed, or to us.
fn may_be_killed(pid: i32) -> Result<()> {
    let own = i32::try_from(std::process::id()).context("our process number")?;
    ensure!(pid != own, "the other end is this process itself");
    ensure!(!ancestors(own).contains(&pid), "process {pid} is one that this process descends from");
    if !in_bed() && !ancestors(pid).contains(&own) {
        bail!("process {pid} does not belong to us: there is no bed, and this process did not start it");
    }
    Ok(())
}

fn in_bed() -> bool {
    match (std::env::var("BED_HOST_NETWORK"), network_namespace()) {
        (Ok(host), Ok(ours)) => host != ours,
        _ => false,
    }
}

/// The process's parent, that one's parent, and so on.
fn ancestors(pid: i32) -> Vec<i32> {
    std::iter::successors(stat(pid), |(_, parent)| stat(*parent)).map(|(_, parent)| parent).collect()
}

/// A dead process whose parent did not look at it yet counts as gone: it acts no more.
fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// State and parent.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets included.
    let mut columns = text.rsplit_once(')')?.1.split_whitespace();
    Some((columns.next()?.chars().next()?, columns.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_names_the_process_at_the_other_end() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let peer = Peer { ours: server.local_addr().unwrap(), theirs: client.local_addr().unwrap() };

        assert_eq!(holders(peer).unwrap(), [i32::try_from(std::process::id()).unwrap()]);
        let refused = kill_peer(peer).unwrap_err().to_string();
        assert!(refused.contains("this process itself"), "{refused}");
    }

    #[test]
    fn a_process_that_we_descend_from_is_not_killed() {
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();

        assert!(may_be_killed(parent).unwrap_err().to_string().contains("descends from"));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn both_tables_are_read() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let four = "   0: 0100007F:1F90 0200007F:C350 01 00000000:00000000 00:00000000 00000000  0  0 77 1 0 20 4 30 10 -1\n";
        let mapped = "   0: 0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000200007F:C350 01 00000000:00000000 00:00000000 00000000  0  0 78 1 0\n";
        let ends: [SocketAddr; 2] = ["127.0.0.1:8080".parse().unwrap(), "127.0.0.2:50000".parse().unwrap()];

        assert_eq!(socket_of(&format!("{head}{four}"), ends[0], ends[1]), Some(77));
        assert_eq!(socket_of(&format!("{head}{mapped}"), ends[0], ends[1]), Some(78));
        assert_eq!(socket_of(&format!("{head}{four}"), ends[1], ends[0]), None);
    }
}
