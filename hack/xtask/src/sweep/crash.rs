//! The crash sweep: lanes in beds of their own, each running cases, and the evidence that comes of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compile::{self, Profile};
use crate::e2e;
use crate::sweep::AGAIN;
use crate::sweep::evidence::{commit, read};

mod evidence;

pub use self::evidence::check;

const FOLDER: &str = "target/sweep-lanes";
/// The test that a whole sweep stands for.
pub const WHOLE: &str = "every_write_was_struck_in_every_way_with_these_sources_and_nothing_was_wrong";
/// The test that the small one stands for.
pub const SMALL: &str = "three_cases_of_the_sweep_that_the_commit_chooses_are_struck_again";

/// Which cases, and how.
#[derive(Args)]
pub struct Crash {
    /// Only these workloads: install, upgrade, rollback, rotation, drift, teardown.
    #[arg(long)]
    workload: Vec<String>,
    /// Only writes of these operators.
    #[arg(long)]
    operator: Vec<String>,
    /// Only this case, as a failure names it; several may be named.
    #[arg(long)]
    case: Vec<String>,
    /// `first-middle-last`, the same with `:SEED` for one place each, or SEED:N for so many of each workload and
    /// operator.
    #[arg(long)]
    sample: Option<String>,
    /// Beds at once. Most of a case is waiting, so there may be more than cores.
    #[arg(long, default_value_t = 12)]
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

/// Strikes the writes that are wanted.
pub fn run(root: &Path, wanted: &Crash) -> Result<()> {
    let start = Instant::now();
    // As they are now: others may go on working while this runs.
    let inputs = evidence::inputs(root)?;
    if !wanted.as_built {
        compile::programs(root, Profile::Sweep)?;
    }
    e2e::programs(root, Profile::Sweep, e2e::Tools::Usual)?;
    let mut orders = Vec::new();
    for (flag, values) in
        [("--workload", &wanted.workload), ("--operator", &wanted.operator), ("--case", &wanted.case)]
    {
        orders.extend(values.iter().flat_map(|value| [flag.to_owned(), value.clone()]));
    }
    orders.extend(wanted.sample.iter().flat_map(|value| ["--sample".to_owned(), value.clone()]));
    let count = if wanted.case.is_empty() { wanted.lanes.max(1) } else { 1 };
    let of = |lane: usize| [&orders[..], &place(lane, count)[..]].concat();
    let outcome = lanes(root, Profile::Sweep, (0..count).map(of).collect())?;
    let report = report(&outcome);
    print(&report, start.elapsed().as_secs());
    if wanted.evidence {
        evidence::write(root, wanted, inputs, &outcome.lines, &report)?;
    }
    outcome.judge().map(drop)
}

/// Which of its kind a lane is.
fn place(lane: usize, lanes: usize) -> [String; 4] {
    ["--lane".to_owned(), lane.to_string(), "--lanes".to_owned(), lanes.to_string()]
}

/// Some cases of the whole sweep again, chosen by the commit.
pub fn small(root: &Path) -> Result<usize> {
    let start = Instant::now();
    // What the other stages of CI have compiled already.
    compile::programs(root, Profile::Dev)?;
    e2e::programs(root, Profile::Dev, e2e::Tools::Usual)?;
    let commit = commit(root)?;
    let again = evidence::chosen(&read(root, evidence::FILE)?, &commit, AGAIN)?;
    println!("of the sweep again, as {commit} chooses: {}", again.join(", "));
    let order = |case: &String| vec!["--case".to_owned(), case.clone(), "--once".to_owned()];
    let outcome = lanes(root, Profile::Dev, again.iter().map(order).collect())?;
    print(&report(&outcome), start.elapsed().as_secs());
    let cases = outcome.judge()?;
    ensure!(cases == AGAIN, "{cases} cases were run, and not {AGAIN}");
    Ok(cases)
}

/// What all lanes told.
#[derive(Default)]
struct Told {
    lines: Vec<Line>,
    /// How many writes there are to strike, by `WORKLOAD/OPERATOR`.
    plans: BTreeMap<String, usize>,
    broken: Vec<String>,
}

impl Told {
    /// How many cases there were. Fails if any did, and if a lane broke.
    fn judge(&self) -> Result<usize> {
        ensure!(self.broken.is_empty(), "{}", self.broken.join("\n"));
        let cases = self.lines.iter().filter(|line| !line.case.ends_with("/undisturbed")).count();
        ensure!(cases > 0, "no case was run");
        let has_failed = |line: &&Line| !line.breaches.is_empty() || !(line.reached || line.optional);
        let failures = self.lines.iter().filter(has_failed).count();
        ensure!(
            failures == 0,
            "{failures} failures; each is replayed with: cargo xtask sweep crash --case ID"
        );
        Ok(cases)
    }
}

/// Runs a lane for each of these orders, and waits for all.
fn lanes(root: &Path, profile: Profile, orders: Vec<Vec<String>>) -> Result<Told> {
    let folder = root.join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).context("failed to clear the folder of the last sweep")?;
    }
    fs::create_dir_all(&folder)?;
    let start = |(lane, orders): (usize, &Vec<String>)| start_lane(root, profile, &folder, lane + 1, orders);
    let mut children = orders.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let mut broken = Vec::new();
    for (lane, child) in children.iter_mut().enumerate() {
        let status = child.wait()?;
        if !status.success() {
            let lane = lane + 1;
            broken.push(format!("lane {lane} ended with {status}: see {FOLDER}/lane-{lane}.log"));
        }
    }
    let text = fs::read_to_string(folder.join("results.jsonl"))
        .with_context(|| format!("no lane has told anything; {}", broken.join("\n")))?;
    let lines = text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("the results")?;
    Ok(Told { lines, plans: plans(&folder)?, broken })
}

/// Reads the plans that the lanes have made.
fn plans(folder: &Path) -> Result<BTreeMap<String, usize>> {
    let mut plans = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_prefix("plan-").and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        let writes: Vec<String> = serde_json::from_slice(&fs::read(&path)?).context("a plan")?;
        plans.insert(name.replacen('-', "/", 1), writes.len());
    }
    Ok(plans)
}

fn start_lane(root: &Path, profile: Profile, folder: &Path, lane: usize, orders: &[String]) -> Result<Child> {
    let bed = folder.join(format!("lane-{lane}"));
    fs::create_dir_all(&bed)?;
    let mut command = Command::new(profile.program(root, "testbed")?);
    command.args(["run", "--nodes", "3", "--control-plane", "0", "--dir"]).arg(bed).arg("--");
    command.arg(profile.program(root, "sweep")?).arg("--folder").arg(folder).args(orders);
    command.env("VDO_BIN", root.join(profile.folder()));
    let log = fs::File::create(folder.join(format!("lane-{lane}.log")))?;
    command.current_dir(root).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stderr(log);
    command.spawn().context("failed to start a lane")
}

/// What came of each workload and operator, by `WORKLOAD/OPERATOR`.
type Report = BTreeMap<String, Row>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Row {
    plans: usize,
    /// How often the operator writes in the undisturbed run that made the plan.
    writes: usize,
    seconds: f64,
    failures: Vec<Value>,
    not_reached: Vec<String>,
    /// Of a write that an undisturbed run does without, too.
    optional: Vec<String>,
}

fn report(Told { lines, plans, .. }: &Told) -> Report {
    let planned =
        |(name, writes): (&String, &usize)| (name.clone(), Row { writes: *writes, ..Row::default() });
    let mut report: Report = plans.iter().map(planned).collect();
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
        let lines = vec![
            line("install/undisturbed", 0, true),
            line("install/vdo-core/1/before", 0, true),
            line("install/vdo-core/1/after", 2, true),
            line("install/vdo-core/9/lost", 0, false),
        ];
        let report = report(&Told { lines, ..Told::default() });
        assert_eq!(report.keys().collect::<Vec<_>>(), ["install/vdo-core"]);
        let row = &report["install/vdo-core"];
        assert_eq!((row.plans, row.failures.len(), row.not_reached.len()), (3, 1, 1));
        assert_eq!(row.failures[0]["case"], "install/vdo-core/1/after");
    }

    #[test]
    fn a_write_that_does_not_always_come_is_told_and_is_no_failure() {
        let row = Line { optional: true, ..line("install/vdo-core/9/lost", 0, false) };
        let report = report(&Told { lines: vec![row], ..Told::default() });
        assert_eq!(report["install/vdo-core"].optional, ["install/vdo-core/9/lost"]);
        assert_eq!(report["install/vdo-core"].not_reached.len(), 0);
    }

    #[test]
    fn an_operator_that_writes_nothing_has_a_row_too() {
        let plans = BTreeMap::from([("rotation/cpi-operator".to_owned(), 0)]);
        let report = report(&Told { plans, ..Told::default() });
        assert_eq!(report["rotation/cpi-operator"], Row::default());
    }

    #[test]
    fn an_undisturbed_run_that_fails_is_a_failure() {
        let report = report(&Told { lines: vec![line("drift/undisturbed", 1, true)], ..Told::default() });
        assert_eq!(report["drift/undisturbed"].failures.len(), 1);
    }
}
