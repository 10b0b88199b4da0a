//! One operator as a child process, with its fault proxy between it and the API server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;
use testbed::bed::Bed;
use testbed::faultproxy::{FaultProxy, Kind, Outcome, Record, Rule, Server, Settings};

use super::case::{Case, Place};

/// What a process that led before its restart waits for before it writes objects.
const QUARANTINE: Duration = Duration::from_secs(5);
/// Within this a process is back at its work once it may write again.
const A_MOMENT: Duration = Duration::from_millis(600);

/// How an operator is started.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name, which is also that of its ServiceAccount.
    pub name: &'static str,
    /// The program.
    pub path: PathBuf,
    /// Where it serves its probes.
    pub port: u16,
    /// The token of its ServiceAccount.
    pub token: String,
    /// Flags about patience.
    pub flags: Vec<String>,
}

/// A running operator.
pub struct Operator {
    /// Its name.
    pub name: &'static str,
    proxy: FaultProxy,
    process: Arc<Mutex<Process>>,
    log: PathBuf,
}

struct Process {
    command: Command,
    child: Option<Child>,
    killed: bool,
    back: Option<Timestamp>,
    unasked: Option<String>,
}

impl Process {
    fn start(&mut self) -> Result<()> {
        self.child = Some(self.command.spawn().context("failed to start an operator")?);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Operator {
    /// Starts it behind a proxy with these rules.
    pub fn start(bed: &Bed, program: &Program, rules: Vec<Rule>) -> Result<Operator> {
        let name = program.name;
        let log = bed.path(format!("log/sweep-{name}.log"));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let config = bed.path(format!("tmp/{name}.kubeconfig"));
        let mut command = Command::new(&program.path);
        command
            .args(&program.flags)
            .env_clear()
            .env("KUBECONFIG", &config)
            .env("POD_UID", format!("00000000-0000-4000-8000-{:012}", program.port))
            .env("POD_NAME", format!("{name}-0"))
            .env("VDO_LISTEN", format!("127.0.0.1:{}", program.port))
            .env("VDO_LOG", "info,vdo_runtime=debug")
            .env("RUST_BACKTRACE", "0")
            .current_dir(bed.path("tmp"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process =
            Arc::new(Mutex::new(Process { command, child: None, killed: false, back: None, unasked: None }));
        let to_kill = process.clone();
        let kill = move || {
            let mut process = lock(&to_kill);
            process.kill();
            process.killed = true;
        };
        let settings =
            Settings { rules, kill: Some(Arc::new(kill)), log: None, ..Settings::in_bed(bed, name) };
        let proxy = FaultProxy::start(settings)?;
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "sweep",
            "clusters": [{"name": "sweep", "cluster": {
                "server": format!("https://{}", proxy.address()), "certificate-authority": bed.path("pki/ca.crt")}}],
            "users": [{"name": "sweep", "user": {"token": program.token}}],
            "contexts": [{"name": "sweep", "context": {"cluster": "sweep", "user": "sweep"}}]});
        fs::write(&config, text.to_string())?;
        lock(&process).start()?;
        Ok(Operator { name, proxy, process, log })
    }

    /// Starts it again if it was killed. One that ends by itself is started again too, and remembered.
    pub fn tend(&self) -> Result<()> {
        let mut process = lock(&self.process);
        if let Some(child) = &mut process.child
            && let Some(status) = child.try_wait()?
        {
            process.unasked = Some(format!("{} ended by itself: {status}", self.name));
            process.child = None;
        }
        // The killer lets go of the process before the proxy has noted the death, so the rule is waited for.
        if process.child.is_none() && (process.unasked.is_some() || self.fired()) {
            process.killed = false;
            process.back = Some(Timestamp::now());
            process.start()?;
        }
        Ok(())
    }

    /// How it ended without having been killed, if it did.
    pub fn unasked_end(&self) -> Option<String> {
        lock(&self.process).unasked.clone()
    }

    /// Whether every rule acted.
    pub fn fired(&self) -> bool {
        self.proxy.rules().iter().all(|fate| fate.fired > 0)
    }

    /// Replaces the rules by that of the case, which counts writes from here on.
    pub fn plan(&self, case: &Case) -> Result<()> {
        self.proxy.set_rules(vec![case.rule(self.count())])
    }

    /// How many writes it has made.
    pub fn count(&self) -> u64 {
        self.proxy.writes().iter().filter_map(|write| write.number).max().unwrap_or_default()
    }

    /// Its writes after so many, in words.
    pub fn writes_after(&self, count: u64) -> Vec<String> {
        let writes = self.proxy.writes();
        writes
            .iter()
            .filter(|it| it.number > Some(count))
            .map(|it| format!("{} {}", self.name, it.request))
            .collect()
    }

    /// When its last write came.
    pub fn last_write(&self) -> Option<Timestamp> {
        let numbered = |it: &&Record| it.request.kind == Kind::Write && it.number.is_some();
        self.proxy.look(|records| records.iter().rfind(numbered).map(|write| write.at))
    }

    /// Whether it may write whatever it wants to: it runs, leads, and waits for no request of its own past.
    pub fn is_free(&self, place: Option<Place>) -> bool {
        let Some(place) = place else { return self.leads_since(None).is_some() };
        let since = match place {
            Place::Before | Place::After => {
                let back = lock(&self.process).back;
                back.and_then(|back| self.leads_since(Some(back)))
            }
            Place::Lost => self
                .proxy
                .look(|records| records.iter().rfind(|it| it.outcome == Outcome::Dropped).map(|it| it.at)),
        };
        let passed =
            |since: Timestamp| Duration::try_from(Timestamp::now().duration_since(since)).unwrap_or_default();
        since.is_some_and(|since| passed(since) > QUARANTINE + A_MOMENT)
    }

    /// When it got its Lease, after this time.
    fn leads_since(&self, after: Option<Timestamp>) -> Option<Timestamp> {
        let is_lease = |it: &&Record| {
            it.request.kind == Kind::Timed
                && it.request.resource == "leases"
                && matches!(it.server, Server::Answered(200 | 201))
                && after.is_none_or(|after| it.at > after)
        };
        self.proxy.look(|records| records.iter().find(is_lease).map(|it| it.at))
    }

    /// The end of what it has printed.
    pub fn tail(&self, lines: usize) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(lines).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        lock(&self.process).kill();
    }
}
