//! The bed's own programs: started with a log file and a bare environment, watched until the bed ends.
//!
//! Nothing here stops them at the end: they die with the process namespace.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// How many lines of a failed program's log are shown.
const TAIL: usize = 25;
/// How often a condition of the start is looked at.
const POLL: Duration = Duration::from_millis(50);

/// One running program.
struct Component {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// All programs of a bed.
pub struct Components {
    folder: PathBuf,
    all: Vec<Component>,
}

impl Components {
    /// Keeps logs and process ids in `folder`.
    pub fn new(folder: &Path) -> Result<Components> {
        for name in ["log", "pid"] {
            fs::create_dir_all(folder.join(name))?;
        }
        Ok(Components { folder: folder.to_owned(), all: Vec::new() })
    }

    /// Starts a program. Its environment holds `PATH`, `HOME` and `TMPDIR` only: a proxy or a kubeconfig of the caller must
    /// not reach into the bed.
    pub fn start(&mut self, name: &str, program: &Path, arguments: &[String]) -> Result<()> {
        self.start_with(name, program, arguments, &[])
    }

    /// Starts a program with some variables more.
    pub fn start_with(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> Result<()> {
        let log = self.folder.join("log").join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("failed to open {}", log.display()))?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.folder)
            // What a program would clean up itself if it were ended gently.
            .env("TMPDIR", self.folder.join("tmp"))
            .envs(environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // An interrupt typed at the terminal is for the command that runs in the bed.
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {name} ({})", program.display()))?;
        fs::write(self.folder.join("pid").join(name), child.id().to_string())?;
        self.all.push(Component { name: name.to_owned(), child, log, ended: None });
        Ok(())
    }

    /// The programs that ended since the last question, each with the end of its log.
    pub fn newly_ended(&mut self) -> Vec<String> {
        let mut reports = Vec::new();
        for component in self.all.iter_mut().filter(|component| component.ended.is_none()) {
            if let Ok(Some(status)) = component.child.try_wait() {
                component.ended = Some(status);
                reports.push(component.report());
            }
        }
        reports
    }

    /// Waits for a condition of the start; fails at once when a program ends, and at `within` with the log of
    /// `name`, which the condition is about.
    pub async fn wait_for<T>(
        &mut self,
        name: &str,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            let last = match look().await {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            let ended = self.newly_ended();
            if !ended.is_empty() {
                bail!("while waiting for {what}:\n{}", ended.join("\n"));
            }
            if start.elapsed() > within {
                let log = self.all.iter().find(|component| component.name == name);
                let log = log.map(|component| tail(&component.log)).unwrap_or_default();
                return Err(anyhow!("{last:#}").context(format!(
                    "{what}: not after {} s; the end of {name}'s log:\n{log}",
                    within.as_secs()
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Component {
    fn report(&self) -> String {
        let end = self.ended.map(|status| status.to_string()).unwrap_or_default();
        format!("{} ended ({end}); the end of its log:\n{}", self.name, tail(&self.log))
    }
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TAIL);
    lines[first..]
        .iter()
        .map(|line| format!("    {}\n", line.chars().take(400).collect::<String>()))
        .collect()
}
