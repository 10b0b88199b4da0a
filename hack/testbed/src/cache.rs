//! Builds the tools once and keeps them outside the checkout.
//!
//! Layout: `<cache>/<tool>/<key>/bin/…`. The key covers the module's files, the flags and the Go toolchain, so a
//! folder never changes once it is there and any number of checkouts share it. A build writes to a folder of its
//! own and renames it at the end: what has its final name is complete.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use ring::digest;

use crate::tools::{TOOLS, Tool};

/// How often a long build says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// A download that fails is tried this often in all.
const ATTEMPTS: u32 = 3;
/// A key that no bed used for this long is removed when its tool is built anew.
const FORGET_AFTER: Duration = Duration::from_secs(14 * 24 * 3600);

/// A folder of built tools.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// One tool in the cache.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its name.
    pub name: String,
    /// The folder that holds its programs.
    pub bin: PathBuf,
}

impl Cache {
    /// The cache that the environment names: `VDO_TESTBED_CACHE`, else below the user's cache folder.
    pub fn from_env() -> Result<Cache> {
        let root =
            match (env::var_os("VDO_TESTBED_CACHE"), env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
                (Some(own), _, _) => PathBuf::from(own),
                (None, Some(xdg), _) => PathBuf::from(xdg).join("vdo-testbed"),
                (None, None, Some(home)) => PathBuf::from(home).join(".cache/vdo-testbed"),
                (None, None, None) => bail!("no folder for the built tools: set VDO_TESTBED_CACHE"),
            };
        Ok(Cache { root: std::path::absolute(root)? })
    }

    /// The named tools, built where the cache does not have them; an empty list means all.
    pub fn provide(&self, names: &[&str]) -> Result<Vec<Built>> {
        let wanted = select_tools(names)?;
        let mut built = Vec::new();
        let mut missing = Vec::new();
        for tool in &wanted {
            let target = self.target(tool)?;
            if target.is_dir() {
                touch(&target);
            } else {
                missing.push((*tool, target.clone()));
            }
            built.push(Built { name: tool.name.to_owned(), bin: target.join("bin") });
        }
        if missing.is_empty() {
            return Ok(built);
        }
        check_compilers()?;
        fs::create_dir_all(&self.root).with_context(|| format!("failed to make {}", self.root.display()))?;
        let lock = File::create(self.root.join("lock")).context("failed to open the cache's lock")?;
        if lock.try_lock().is_err() {
            say("waiting for another build of the same cache");
            lock.lock().context("failed to lock the cache")?;
        }
        // Another build may have made them meanwhile.
        missing.retain(|(_, target)| !target.is_dir());
        let whole: u32 = missing.iter().map(|(tool, _)| tool.cold_seconds).sum();
        say(&format!(
            "{} of {} tools to build into {}; about {} min if Go has none of it yet",
            missing.len(),
            wanted.len(),
            self.root.display(),
            whole.div_ceil(60)
        ));
        let begin = Instant::now();
        for (number, (tool, target)) in missing.iter().enumerate() {
            say(&format!(
                "[{} of {}] {} … expected {} s cold",
                number + 1,
                missing.len(),
                tool.name,
                tool.cold_seconds
            ));
            let start = Instant::now();
            self.build(tool, target)?;
            say(&format!(
                "[{} of {}] {} built in {} s",
                number + 1,
                missing.len(),
                tool.name,
                start.elapsed().as_secs()
            ));
        }
        say(&format!("all tools built in {} s", begin.elapsed().as_secs()));
        Ok(built)
    }

    /// Where a tool with its present sources belongs.
    fn target(&self, tool: &Tool) -> Result<PathBuf> {
        Ok(self.root.join(tool.name).join(key(tool)?))
    }

    fn build(&self, tool: &Tool, target: &Path) -> Result<()> {
        let work = target.with_extension("building");
        if work.exists() {
            fs::remove_dir_all(&work).context("failed to clear an unfinished build")?;
        }
        fs::create_dir_all(work.join("bin"))?;
        for attempt in 1..=ATTEMPTS {
            let output = compile(tool, &work.join("bin"))?;
            match output {
                Compiled::Fine => break,
                Compiled::Failed { log } if attempt < ATTEMPTS && looks_like_the_network(&log) => {
                    say(&format!("{}: a download failed, attempt {} of {ATTEMPTS}", tool.name, attempt + 1));
                }
                Compiled::Failed { log } => bail!("failed to build {}:\n{log}", tool.name),
            }
        }
        for program in tool.programs {
            if !work.join("bin").join(program).is_file() {
                bail!("the build of {} made no {program}", tool.name);
            }
        }
        fs::rename(&work, target).with_context(|| format!("failed to keep {}", tool.name))?;
        touch(target);
        forget_old_keys(target);
        Ok(())
    }
}

/// Puts a link to every built program into one folder: a bed's `PATH`, and the names that the image table uses.
pub fn link(built: &[Built], into: &Path) -> Result<()> {
    fs::create_dir_all(into)?;
    for tool in built {
        for entry in fs::read_dir(&tool.bin).with_context(|| format!("{} is not built", tool.name))? {
            let entry = entry?;
            let link = into.join(entry.file_name());
            if link.symlink_metadata().is_ok() {
                fs::remove_file(&link)?;
            }
            std::os::unix::fs::symlink(entry.path(), &link)?;
        }
    }
    Ok(())
}

fn say(line: &str) {
    eprintln!("testbed: {line}");
}

fn select_tools(names: &[&str]) -> Result<Vec<Tool>> {
    if names.is_empty() {
        return Ok(TOOLS.to_vec());
    }
    names
        .iter()
        .map(|name| {
            TOOLS.iter().find(|tool| tool.name == *name).copied().with_context(|| {
                let known: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
                format!("no tool is called {name}; there are {}", known.join(", "))
            })
        })
        .collect()
}

/// What a build needs (two of the programs use cgo), each with the line that installs it.
fn check_compilers() -> Result<()> {
    for (program, argument, remedy) in [
        ("go", "version", "install Go 1.24 or newer from https://go.dev/dl/ and put its bin folder on PATH"),
        ("cc", "--version", "apt-get install gcc libc6-dev"),
        ("setpriv", "--version", "apt-get install util-linux"),
    ] {
        let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            bail!("`{program}` is needed to build the test bed and does not run here: {remedy}");
        }
    }
    Ok(())
}

/// A hash over everything that decides what the build makes.
fn key(tool: &Tool) -> Result<String> {
    let folder = tool.folder();
    let mut files = Vec::new();
    collect_sources(&folder, &mut files)?;
    files.sort();
    let mut hash = digest::Context::new(&digest::SHA256);
    for file in &files {
        let bytes = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        let name = file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().into_owned();
        hash.update(format!("{name} {}\n", bytes.len()).as_bytes());
        hash.update(&bytes);
    }
    hash.update(format!("{:?} {:?} {:?} {}", tool.packages, tool.output, tool.env, tool.ldflags).as_bytes());
    hash.update(toolchain(&folder).as_bytes());
    Ok(hash.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect_sources(&path, files)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = name == "go.mod" || name == "go.sum" || name.ends_with(".go") || name.ends_with(".json");
        if source && !name.ends_with("_test.go") {
            files.push(path);
        }
    }
    Ok(())
}

/// Version and platform of the Go that builds this module, or a fixed word where there is none: a machine that
/// only runs a copied cache needs no Go.
fn toolchain(folder: &Path) -> String {
    if let Some(pinned) = env::var_os("VDO_TESTBED_TOOLCHAIN") {
        return pinned.to_string_lossy().into_owned();
    }
    let output = Command::new("go").args(["env", "GOVERSION", "GOOS", "GOARCH"]).current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into_owned(),
        Ok(_) | Err(_) => "no toolchain".to_owned(),
    }
}

enum Compiled {
    Fine,
    Failed { log: String },
}

fn compile(tool: &Tool, bin: &Path) -> Result<Compiled> {
    let output = bin.join(tool.output);
    if tool.output.is_empty() || tool.output.ends_with('/') {
        fs::create_dir_all(&output)?;
    }
    // However hard we are interrupted, go ends after the step it is at and removes its temporary files.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "INT", "go", "build", "-trimpath", "-ldflags", tool.ldflags, "-o"])
        .arg(output)
        .args(tool.packages)
        .current_dir(tool.folder())
        .env("GOWORK", "off")
        .envs(tool.env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start go")?;
    let errors = child.stderr.take().context("go has no error output")?;
    let (lines, heard) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                break;
            }
        }
    });
    let start = Instant::now();
    let (mut log, mut downloads, mut last) = (Vec::new(), 0_u32, Instant::now());
    loop {
        match heard.recv_timeout(HEARTBEAT.saturating_sub(last.elapsed())) {
            Ok(line) if line.starts_with("go: downloading") => downloads += 1,
            Ok(line) => log.push(line),
            Err(RecvTimeoutError::Timeout) => {
                last = Instant::now();
                let seconds = start.elapsed().as_secs();
                say(&format!("      {} … {seconds} s, {downloads} modules downloaded", tool.name));
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.wait().context("failed to wait for go")?;
    reader.join().ok();
    if status.success() {
        return Ok(Compiled::Fine);
    }
    let tail = log.len().saturating_sub(40);
    Ok(Compiled::Failed { log: log[tail..].join("\n") })
}

fn looks_like_the_network(log: &str) -> bool {
    ["dial tcp", "i/o timeout", "connection reset", "unexpected EOF", "TLS handshake", "502 ", "503 ", "504 "]
        .iter()
        .any(|sign| log.contains(sign))
}

/// Notes that the key is in use.
fn touch(target: &Path) {
    // A cache on a read-only file system still serves.
    File::create(target.join("used")).ok();
}

fn forget_old_keys(kept: &Path) {
    let Some(folder) = kept.parent() else { return };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path != kept) {
        let used = fs::metadata(path.join("used")).and_then(|meta| meta.modified());
        let age = used.ok().and_then(|used| SystemTime::now().duration_since(used).ok());
        if age.is_some_and(|age| age > FORGET_AFTER) {
            fs::remove_dir_all(&path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_module_folder_and_a_program() {
        for tool in TOOLS {
            assert!(tool.folder().join("go.mod").is_file(), "{} has no go.mod", tool.name);
            assert!(!tool.programs.is_empty(), "{} names no program", tool.name);
        }
    }

    #[test]
    fn a_key_depends_on_the_flags_of_its_own_tool() {
        let etcd = TOOLS[0];
        let other = Tool { ldflags: "-w", ..etcd };

        assert_eq!(key(&etcd).unwrap(), key(&etcd).unwrap());
        assert_ne!(key(&etcd).unwrap(), key(&other).unwrap());
    }

    #[test]
    fn only_a_failed_download_is_tried_again() {
        assert!(looks_like_the_network("Get \"https://example.invalid/x.zip\": dial tcp: i/o timeout"));
        assert!(!looks_like_the_network("./main.go:3:1: syntax error"));
    }
}
