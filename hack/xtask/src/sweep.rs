//! The crash sweep: lanes in beds of their own, each running cases, and the evidence that comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{compile, e2e, shell};

/// What the result depends on.
const INPUTS: [&str; 4] = ["crates", "charts", "e2e/src/sweep", "hack/testbed"];
const EVIDENCE: &str = "docs/evidence/crash.json";

/// Which sweep.
#[derive(Subcommand)]
pub enum Sweep {
    /// Every write of every operator is struck: killed before it, killed after it, its reply lost.
    Crash(Crash),
}

/// Which cases, and how.
#[derive(Args)]
pub struct Crash {
    /// Only these workloads: install, upgrade, rollback, rotation, drift, teardown.
    #[arg(long)]
    workload: Vec<String>,
    /// Only writes of these operators.
    #[arg(long)]
    operator: Vec<String>,
    /// Only this case, as a failure names it.
    #[arg(long)]
    case: Option<String>,
    /// `first-middle-last`, or SEED:N for so many of each workload and operator.
    #[arg(long)]
    sample: Option<String>,
    /// Beds at once. Most of a case is waiting, so there may be more than cores.
    #[arg(long, default_value_t = 4)]
    lanes: usize,
    /// Takes the programs as they are, and builds nothing.
    #[arg(long)]
    as_built: bool,
    /// Writes what came of it to `docs/evidence/crash.json`.
    #[arg(long)]
    evidence: bool,
}

/// A line of the lanes' results.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    case: String,
    seconds: f64,
    reached: bool,
    #[serde(default)]
    optional: bool,
    breaches: Vec<Value>,
    #[serde(default)]
    masked_percent: Option<f64>,
    #[serde(default)]
    leaves: Option<usize>,
}

/// Runs the sweep.
pub fn run(root: &Path, Sweep::Crash(wanted): &Sweep) -> Result<()> {
    let start = Instant::now();
    // As they are now: others may go on working while this runs.
    let inputs = inputs(root)?;
    if !wanted.as_built {
        compile::programs(root)?;
    }
    let testbed = compile::program(root, "testbed")?;
    e2e::programs(root)?;
    let folder = root.join("target/sweep");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to clear the folder of the last sweep")?;
    }
    fs::create_dir_all(&folder)?;
    let lanes = if wanted.case.is_some() { 1 } else { wanted.lanes.max(1) };
    let mut children = (1..=lanes)
        .map(|lane| start_lane(root, &testbed, &folder, lane, wanted))
        .collect::<Result<Vec<_>>>()?;
    let mut broken = Vec::new();
    for (lane, child) in children.iter_mut().enumerate() {
        let status = child.wait()?;
        if !status.success() {
            broken.push(format!(
                "lane {} ended with {status}: see target/sweep/lane-{}.log",
                lane + 1,
                lane + 1
            ));
        }
    }
    let text = fs::read_to_string(folder.join("results.jsonl")).context("no lane has told anything")?;
    let lines: Vec<Line> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the results")?;
    let report = report(&lines);
    print(&report, start.elapsed().as_secs());
    if wanted.evidence {
        write_evidence(root, wanted, inputs, &lines, &report)?;
    }
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    let cases = lines.iter().filter(|line| !line.case.ends_with("/undisturbed")).count();
    ensure!(cases > 0, "no case was run");
    let failures =
        lines.iter().filter(|line| !line.breaches.is_empty() || !(line.reached || line.optional)).count();
    ensure!(failures == 0, "{failures} failures; each is replayed with: cargo xtask sweep crash --case ID");
    Ok(())
}

fn start_lane(root: &Path, testbed: &str, folder: &Path, lane: usize, wanted: &Crash) -> Result<Child> {
    let bed = folder.join(format!("lane-{lane}"));
    fs::create_dir_all(&bed)?;
    let mut command = Command::new(testbed);
    command.args(["run", "--nodes", "3", "--control-plane", "0", "--dir"]).arg(bed).arg("--");
    command.arg(root.join("target/debug/sweep")).arg("--folder").arg(folder);
    for (flag, values) in [("--workload", &wanted.workload), ("--operator", &wanted.operator)] {
        values.iter().for_each(|value| {
            command.args([flag, value]);
        });
    }
    for (flag, value) in [("--case", &wanted.case), ("--sample", &wanted.sample)] {
        if let Some(value) = value {
            command.args([flag, value]);
        }
    }
    let log = fs::File::create(folder.join(format!("lane-{lane}.log")))?;
    command.current_dir(root).stdin(Stdio::null()).stderr(log);
    command.spawn().context("failed to start a lane")
}

/// What came of each workload and operator, by `WORKLOAD/OPERATOR`.
type Report = BTreeMap<String, Row>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    plans: usize,
    seconds: f64,
    failures: Vec<Value>,
    not_reached: Vec<String>,
    /// Of a write that an undisturbed run does without, too.
    optional: Vec<String>,
}

fn report(lines: &[Line]) -> Report {
    let mut report = Report::new();
    for line in lines {
        let mut parts = line.case.splitn(3, '/');
        let (workload, operator) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let undisturbed = line.case.ends_with("/undisturbed");
        if undisturbed && line.breaches.is_empty() {
            continue;
        }
        let row = report
            .entry(if undisturbed { line.case.clone() } else { format!("{workload}/{operator}") })
            .or_default();
        row.plans += 1;
        row.seconds += line.seconds;
        if !line.breaches.is_empty() {
            row.failures.push(json!({"case": line.case, "breaches": line.breaches}));
        } else if line.optional {
            row.optional.push(line.case.clone());
        } else if !line.reached {
            row.not_reached.push(line.case.clone());
        }
    }
    report
}

fn print(report: &Report, seconds: u64) {
    println!(
        "\n{:<34} {:>6} {:>9} {:>9} {:>12}",
        "workload/operator", "plans", "seconds", "failures", "not reached"
    );
    for (name, row) in report {
        let Row { plans, seconds, failures, not_reached, .. } = row;
        println!("{name:<34} {plans:>6} {seconds:>9.0} {:>9} {:>12}", failures.len(), not_reached.len());
    }
    let (plans, failures) =
        report.values().fold((0, 0), |sum, row| (sum.0 + row.plans, sum.1 + row.failures.len()));
    println!("{plans} plans, {failures} failures, in {seconds} s");
}

/// The git trees of what the result depends on, and what of it is not committed.
fn inputs(root: &Path) -> Result<(Map<String, Value>, Vec<String>)> {
    let mut trees = Map::new();
    for input in INPUTS {
        let tree = shell::output(root, "git", &["rev-parse", &format!("HEAD:{input}")])?;
        trees.insert(input.to_owned(), tree.trim().into());
    }
    let mut status = vec!["status", "--porcelain", "--"];
    status.extend(INPUTS);
    let uncommitted: Vec<String> =
        shell::output(root, "git", &status)?.lines().map(|line| line.trim().to_owned()).collect();
    Ok((trees, uncommitted))
}

/// Rows of earlier sweeps stay if nothing changed since that they depend on.
fn write_evidence(
    root: &Path,
    wanted: &Crash,
    (trees, uncommitted): (Map<String, Value>, Vec<String>),
    lines: &[Line],
    report: &Report,
) -> Result<()> {
    let path = root.join(EVIDENCE);
    let earlier: Value =
        fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let mut results = match &earlier["results"] {
        Value::Object(rows) if earlier["trees"] == Value::Object(trees.clone()) => rows.clone(),
        _ => Map::new(),
    };
    for (name, row) in report {
        let sample =
            wanted.sample.as_deref().unwrap_or(if wanted.case.is_some() { "one case" } else { "all" });
        // A sample that found nothing says less than the whole sweep that is there.
        if sample != "all"
            && row.failures.is_empty()
            && results.get(name).is_some_and(|row| row["sample"] == "all")
        {
            continue;
        }
        let row = json!({
            "sample": sample, "plans": row.plans, "seconds": row.seconds.round(), "failures": row.failures,
            "notReached": row.not_reached, "writeDidNotCome": row.optional});
        results.insert(name.clone(), row);
    }
    let most = lines.iter().filter_map(|line| line.masked_percent).fold(0.0, f64::max);
    let leaves = lines.iter().filter_map(|line| line.leaves).min();
    let evidence = json!({
        "trees": trees,
        "uncommitted": uncommitted,
        // Programs that were not built for it may be of other sources than these.
        "builtForIt": !wanted.as_built,
        "mask": {"mostPercentOfLeaves": (most * 100.0).round() / 100.0, "fewestLeaves": leaves},
        "results": results,
    });
    fs::create_dir_all(path.parent().context("a folder")?)?;
    let mut text = serde_json::to_string_pretty(&evidence)?;
    text.push('\n');
    fs::write(&path, text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(case: &str, breaches: usize, reached: bool) -> Line {
        Line {
            case: case.to_owned(),
            seconds: 2.0,
            reached,
            optional: false,
            breaches: vec![json!({}); breaches],
            masked_percent: None,
            leaves: None,
        }
    }

    #[test]
    fn each_workload_and_operator_has_a_row_and_a_failure_its_case() {
        let report = report(&[
            line("install/undisturbed", 0, true),
            line("install/vdo-core/1/before", 0, true),
            line("install/vdo-core/1/after", 2, true),
            line("install/vdo-core/9/lost", 0, false),
        ]);
        assert_eq!(report.keys().collect::<Vec<_>>(), ["install/vdo-core"]);
        let row = &report["install/vdo-core"];
        assert_eq!((row.plans, row.failures.len(), row.not_reached.len()), (3, 1, 1));
        assert_eq!(row.failures[0]["case"], "install/vdo-core/1/after");
    }

    #[test]
    fn a_write_that_does_not_always_come_is_told_and_is_no_failure() {
        let row = Line { optional: true, ..line("install/vdo-core/9/lost", 0, false) };
        let report = report(&[row]);
        assert_eq!(report["install/vdo-core"].optional, ["install/vdo-core/9/lost"]);
        assert_eq!(report["install/vdo-core"].not_reached.len(), 0);
    }

    #[test]
    fn an_undisturbed_run_that_fails_is_a_failure() {
        let report = report(&[line("drift/undisturbed", 1, true)]);
        assert_eq!(report["drift/undisturbed"].failures.len(), 1);
    }
}
