//! `kubelet-exec FILE`: becomes the container's program.
//!
//! Runs as the first process of a new mount and pid namespace, inside the namespaces of the pod's sandbox. It builds a
//! private root of what the image and the pod give and nothing else, moves into it, drops what the pod gives up, and
//! executes the program. Its standard input is a pipe to the runner: "ready" just before the program takes over, or why not.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid};
use serde::{Deserialize, Serialize};

/// Exit code of a container that could not be started, as container runtimes have it.
pub(super) const START_FAILED: u8 = 128;

/// Everything about one start of one container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    /// An empty folder to build the root on.
    pub(super) root: PathBuf,
    /// Files of the image: path inside to path on this machine.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// Whether the program gets this machine's libraries, read-only, and nothing else of it.
    pub(super) libraries: bool,
    /// Small files with their text.
    pub(super) texts: BTreeMap<String, String>,
    pub(super) mounts: Vec<Mount>,
    pub(super) root_is_read_only: bool,
    pub(super) command: Vec<String>,
    pub(super) working_dir: String,
    pub(super) env: BTreeMap<String, String>,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
    pub(super) no_new_privileges: bool,
    /// Names without the prefix CAP_; `None` keeps all.
    pub(super) capabilities: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: String,
    pub(super) read_only: bool,
}

/// What a container runtime leaves a container by default.
pub(super) const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

const CA_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Returns only if the program could not be started.
pub(super) fn exec(arguments: &[String]) -> ExitCode {
    let Ok(pipe) = std::io::stdin().as_fd().try_clone_to_owned() else { return ExitCode::from(START_FAILED) };
    let mut pipe = fs::File::from(pipe);
    let fault = match started(arguments, &mut pipe) {
        Ok(never) => never,
        Err(fault) => fault,
    };
    // If the runner is gone, there is nobody to tell.
    let _ = writeln!(pipe, "{fault:#}");
    ExitCode::from(START_FAILED)
}

fn started(arguments: &[String], pipe: &mut fs::File) -> anyhow::Result<anyhow::Error> {
    let file = arguments.first().context("no start file")?;
    let start: Start = serde_json::from_slice(&fs::read(file).context("read the start file")?)?;
    let (program, rest) = start.command.split_first().context("no command specified")?;
    build_root(&start)?;
    move_into(&start.root)?;
    if start.root_is_read_only {
        bind_again(Path::new("/"), MsFlags::MS_RDONLY)?;
    }
    std::env::set_current_dir(&start.working_dir)
        .with_context(|| format!("chdir to {}", start.working_dir))?;
    drop_rights(&start)?;
    let mut command = Command::new(program);
    command.args(rest).env_clear().envs(&start.env).stdin(Stdio::null());
    writeln!(pipe, "ready").context("tell the runner")?;
    Ok(anyhow::Error::new(command.exec()).context(format!("exec {program:?}")))
}

fn build_root(start: &Start) -> anyhow::Result<()> {
    let root = &start.root;
    let nothing: Option<&str> = None;
    mount(Some("root"), root, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).context("mount the root")?;
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    for folder in ["proc", "dev", "etc/ssl/certs", "run", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    // Relative: while the root is built, an absolute link would lead out of it.
    symlink("../run", root.join("var/run"))?;
    mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, nothing)
        .context("mount /proc")?;
    mount(Some("dev"), &root.join("dev"), Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=755"))?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, root.join("dev").join(name))?;
    }
    fs::create_dir_all(root.join("dev/shm"))?;
    mount(
        Some("shm"),
        &root.join("dev/shm"),
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=1777"),
    )?;
    if !start.root_is_read_only {
        fs::create_dir_all(root.join("tmp"))?;
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    }
    if start.libraries {
        for folder in ["usr/lib", "lib", "lib64", "usr/lib64"] {
            let here = Path::new("/").join(folder);
            match fs::read_link(&here) {
                Ok(link) => symlink(link, root.join(folder))?,
                Err(_) if here.is_dir() => {
                    fs::create_dir_all(root.join(folder))?;
                    bind(&here, &root.join(folder), MsFlags::MS_RDONLY)?;
                }
                Err(_) => {}
            }
        }
    }
    if Path::new(CA_BUNDLE).is_file() {
        bind(Path::new(CA_BUNDLE), &inside(CA_BUNDLE), MsFlags::MS_RDONLY)?;
    }
    for (path, source) in &start.files {
        bind(source, &inside(path), MsFlags::MS_RDONLY)
            .with_context(|| format!("put {path} into the root"))?;
    }
    for (path, text) in &start.texts {
        fs::write(inside(path), text).with_context(|| format!("write {path}"))?;
    }
    let mut mounts: Vec<&Mount> = start.mounts.iter().collect();
    mounts.sort_by_key(|mount| Path::new(&mount.target).components().count());
    for mount in mounts {
        let flags = if mount.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        bind(&mount.source, &inside(&mount.target), flags)
            .with_context(|| format!("mount {}", mount.target))?;
    }
    // Last, for a container that mounts the node's /dev: there is a folder, but nothing in it.
    for device in ["null", "zero", "full", "random", "urandom", "tty"] {
        bind(&Path::new("/dev").join(device), &root.join("dev").join(device), MsFlags::empty())?;
    }
    Ok(())
}

/// Binds a file or a folder; the place is made if it is not there.
fn bind(source: &Path, target: &Path, flags: MsFlags) -> anyhow::Result<()> {
    let nothing: Option<&str> = None;
    let is_folder = fs::metadata(source).with_context(|| format!("look at {}", source.display()))?.is_dir();
    if is_folder {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        fs::create_dir_all(target.parent().context("the root cannot be a file")?)?;
        fs::write(target, "")?;
    }
    mount(Some(source), target, nothing, MsFlags::MS_BIND | MsFlags::MS_REC, nothing)
        .with_context(|| format!("bind {}", source.display()))?;
    if flags.is_empty() { Ok(()) } else { bind_again(target, flags) }
}

fn bind_again(target: &Path, flags: MsFlags) -> anyhow::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, target, nothing, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, nothing)
        .with_context(|| format!("remount {}", target.display()))
}

/// Makes `root` the only file system that this namespace has.
fn move_into(root: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(root)?;
    nix::unistd::pivot_root(".", ".").context("move into the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("leave the old root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn drop_rights(start: &Start) -> anyhow::Result<()> {
    if let Some(kept) = &start.capabilities {
        let kept: caps::CapsHashSet = kept
            .iter()
            .map(|name| format!("CAP_{name}").parse())
            .collect::<Result<_, _>>()
            .context("capability")?;
        for capability in caps::runtime::thread_all_supported() {
            if !kept.contains(&capability) {
                caps::drop(None, caps::CapSet::Bounding, capability).context("drop a capability")?;
            }
        }
        caps::clear(None, caps::CapSet::Inheritable).context("clear inheritable capabilities")?;
    }
    let groups: Vec<Gid> = start.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).context("set groups")?;
    nix::unistd::setgid(Gid::from_raw(start.group)).context("set the group")?;
    nix::unistd::setuid(Uid::from_raw(start.user)).context("set the user")?;
    if start.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().context("give up new privileges")?;
    }
    Ok(())
}
