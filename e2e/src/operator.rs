//! An operator as a process of ours, without a pod, against the API server of a bed.

use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::crd::NAMESPACE;
use crate::stand::programs;

/// One replica, ended with the test.
pub struct Replica<'a> {
    /// Its name in the Lease.
    pub identity: &'static str,
    bed: &'a Bed,
    operator: &'static str,
    child: Child,
}

impl<'a> Replica<'a> {
    /// Starts it as the administrator of the cluster.
    pub fn start(bed: &'a Bed, operator: &'static str, identity: &'static str) -> Self {
        Self::start_with(bed, operator, identity, &[])
    }

    /// The same, with these settings in its environment.
    pub fn start_with(
        bed: &'a Bed,
        operator: &'static str,
        identity: &'static str,
        settings: &[(&str, &str)],
    ) -> Self {
        let log = File::create(bed.path(log_file(operator, identity))).expect("the folder of logs is there");
        let child = Command::new(programs().join(operator))
            .args(["--namespace", NAMESPACE, "--pod-uid", identity, "--pod-name", identity])
            .args(["--listen", "127.0.0.1:0"])
            .env("KUBECONFIG", bed.kubeconfig())
            .envs(settings.iter().copied())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("the operator is built");
        Replica { identity, bed, operator, child }
    }

    /// Sends a signal by its name, as `KILL`.
    pub fn signal(&self, signal: &str) {
        let args = [format!("-{signal}"), self.child.id().to_string()];
        let sent = Command::new("kill").args(args).status().expect("kill is there");
        assert!(sent.success(), "{signal} was not sent to {}", self.identity);
    }

    /// Waits for its end.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        eventually(within, "the process ends", || {
            self.child.try_wait().expect("it is a child of ours").ok_or("it still runs")
        })
    }

    /// Fails if it has ended.
    pub fn still_runs(&mut self) {
        let ended = self.child.try_wait().expect("it is a child of ours");
        assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", self.operator, self.log());
    }

    /// Begins anew to note the most that it has in memory.
    pub fn forget_peak(&self) {
        // What 5 means here: proc_pid_clear_refs(5).
        let file = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&file, "5").unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// The most that it had in memory, in KiB, since it began or [`Self::forget_peak`].
    pub fn peak_kib(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|size| size.trim().trim_end_matches("kB").trim().parse().ok())
            .unwrap_or_else(|| panic!("{file} says nothing of VmHWM:\n{status}"))
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.bed.path(log_file(self.operator, self.identity))).unwrap_or_default()
    }

    /// Waits until it has said this.
    pub fn says(&self, words: &str, within: Duration) {
        eventually(within, &format!("it says {words:?}"), || {
            let log = self.log();
            if log.contains(words) { Ok(()) } else { Err(log) }
        });
    }
}

impl Drop for Replica<'_> {
    fn drop(&mut self) {
        // One that was stopped takes no other signal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(operator: &str, identity: &str) -> String {
    format!("log/{operator}-{identity}.log")
}
