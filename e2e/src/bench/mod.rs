//! `make bench`: what VDO costs, measured from outside by the audit log of the API server, the counters of the vCenter
//! simulator and /proc.
//!
//! Start with [`install::measure`]; [`churn::measure`] goes on with the installed cluster, [`report`] writes the page.
//!
//! **Invariant:** nothing is taken from what an operator says about itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use testbed::audit::{AuditLog, Request};
use testbed::bed::Bed;

use crate::crd::NAMESPACE;
use crate::stand::OPERATORS;

pub mod budgets;
pub mod churn;
pub mod install;
pub mod process;
pub mod report;

/// Where the figures and their budgets are kept, below the checkout.
pub const FOLDER: &str = "docs/bench";

/// A figure that is measured.
#[derive(Debug)]
pub struct Figure {
    /// Its name in the files.
    pub name: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// Its unit; empty for a plain count.
    pub unit: &'static str,
}

/// The figures of an installation, in the order of the page.
pub const INSTALL: &[Figure] = &[
    Figure { name: "cpiAppliedSeconds", title: "VDOConfig created to all of CPI applied", unit: "s" },
    Figure {
        name: "csiAppliedSeconds",
        title: "CPI reported Ready to CSI applied, up to what waits for its controller",
        unit: "s",
    },
    Figure { name: "vcenterCalls", title: "Calls to the vCenter for an installation", unit: "" },
    Figure { name: "vcenterLogins", title: "… of them logins", unit: "" },
    Figure { name: "vcenterLogouts", title: "Logouts when the operators end", unit: "" },
    Figure { name: "installRequests", title: "API requests for an installation, all operators", unit: "" },
    Figure {
        name: "waitingRequestsPerMinute",
        title: "API requests a minute while a driver is waited for",
        unit: "",
    },
    Figure { name: "steadyWrites", title: "API writes in the steady state", unit: "" },
    Figure { name: "residentMiB", title: "Resident memory of the largest operator", unit: "MiB" },
];

/// The figures of nodes that come and go.
pub const CHURN: &[Figure] = &[
    Figure { name: "churnReadyFlaps", title: "Times that a Ready condition changed", unit: "" },
    Figure {
        name: "churnWritesPerNodeChange",
        title: "API writes for each node that came or went",
        unit: "",
    },
    Figure { name: "churnResidentMiB", title: "Resident memory of the largest operator", unit: "MiB" },
];

/// The figures of the compatibility matrix, which criterion measures without a cluster.
pub const CHOICE: &[Figure] = &[
    Figure {
        name: "chooseFirstMicroseconds",
        title: "The first release, of 200 rows for 5 vCenters",
        unit: "µs",
    },
    Figure {
        name: "chooseNewerMicroseconds",
        title: "A newer release than the installed one, of these",
        unit: "µs",
    },
    Figure { name: "refuseMicroseconds", title: "That none of these fits, and why", unit: "µs" },
    Figure { name: "parseJsonMicroseconds", title: "Reading the built-in matrix as JSON", unit: "µs" },
    Figure { name: "parseYamlMicroseconds", title: "Reading the built-in matrix as YAML", unit: "µs" },
];

/// What criterion measured, as `cargo xtask bench --choice` leaves it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// The commit that was measured.
    pub commit: String,
    /// The day.
    pub day: String,
    /// The figures by name.
    pub figures: BTreeMap<String, f64>,
}

/// What was measured at one number of nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// How many nodes there were.
    pub nodes: usize,
    /// The commit whose programs were measured.
    pub commit: String,
    /// The day.
    pub day: String,
    /// How nodes came and went, if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub churn: Option<Churn>,
    /// The figures by name.
    pub figures: BTreeMap<String, f64>,
    /// What explains them: requests by kind, memory by operator.
    pub details: BTreeMap<String, BTreeMap<String, f64>>,
}

/// Nodes that come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Churn {
    /// For how long.
    pub minutes: u64,
    /// How many went each minute.
    pub nodes_per_minute: u32,
}

impl Measured {
    /// How such a file is called, after the number.
    const ENDING: &str = "-nodes.json";

    /// The file of the figures with these nodes.
    pub fn file(nodes: usize) -> String {
        format!("{nodes}{}", Self::ENDING)
    }

    /// Reads one from a file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Writes it to a file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}

/// Accepted and refused requests of the operators so far, leases apart.
fn ours(bed: &Bed) -> Result<AuditLog> {
    let log = AuditLog::read_lines(&bed.path("audit.log"), &format!("system:serviceaccount:{NAMESPACE}:"))?;
    let is_ours =
        |user: &str| OPERATORS.iter().any(|name| user == format!("system:serviceaccount:{NAMESPACE}:{name}"));
    Ok(log.filter(|request| is_ours(&request.user) && request.resource != "leases"))
}

/// The requests that arrived from a moment on and before another.
fn between(log: &AuditLog, from: Timestamp, to: Timestamp) -> AuditLog {
    log.filter(|request| request.received >= from && request.received < to)
}

/// The requests without watches and the lists from which watches begin.
fn asked(log: &AuditLog) -> AuditLog {
    let path = |request: &Request| request.uri.split('?').next().unwrap_or_default().to_owned();
    let watches = log.requests.iter().filter(|request| request.verb == "watch");
    let watched: Vec<(String, String)> =
        watches.map(|request| (request.user.clone(), path(request))).collect();
    log.filter(|request| {
        request.verb != "watch"
            && !(request.verb == "list" && watched.contains(&(request.user.clone(), path(request))))
    })
}

/// How many requests there were.
fn count(log: &AuditLog) -> Result<f64> {
    Ok(f64::from(u32::try_from(log.requests.len())?))
}

/// How many requests there were by operator, verb and resource.
fn by_kind(log: &AuditLog) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for request in &log.requests {
        let operator = request.user.rsplit(':').next().unwrap_or_default();
        let mut what = format!("{operator} {} {}", request.verb, request.resource);
        if !request.subresource.is_empty() {
            what = format!("{what}/{}", request.subresource);
        }
        if request.is_dry_run() {
            what += " (dry run)";
        }
        *counts.entry(what).or_insert(0.0) += 1.0;
    }
    counts
}

/// Seconds between two moments, to the millisecond.
fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    let span = Duration::try_from(to.duration_since(from)).unwrap_or_default();
    rounded(span.as_secs_f64(), 3)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (value * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, uri: &str) -> String {
        format!(
            r#"{{"stage":"ResponseComplete","requestURI":"{uri}","verb":"{verb}","user":{{"username":"{}"}},"objectRef":{{"resource":"nodes"}},"responseStatus":{{"code":200}},"requestReceivedTimestamp":"2026-01-02T03:04:05.000000Z","stageTimestamp":"2026-01-02T03:04:05.100000Z"}}"#,
            format_args!("system:serviceaccount:{NAMESPACE}:vdo-core")
        )
    }

    #[test]
    fn the_list_of_a_watch_is_no_request_of_an_installation_and_any_other_list_is() {
        let lines = [
            request("list", "/api/v1/nodes?limit=250"),
            request("watch", "/api/v1/nodes?watch=1"),
            request("list", "/api/v1/pods?limit=250"),
            request("get", "/api/v1/nodes/a"),
        ];
        let log = AuditLog::parse(&lines.join("\n")).unwrap();
        let counts = by_kind(&asked(&log));
        let kinds: Vec<&str> = counts.keys().map(String::as_str).collect();
        assert_eq!(kinds, ["vdo-core get nodes", "vdo-core list nodes"]);
        assert_eq!(counts["vdo-core list nodes"], 1.0);
    }
}
