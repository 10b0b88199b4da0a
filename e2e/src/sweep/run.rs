//! What a lane does: the undisturbed runs, then its share of the cases. Lanes share a folder and nothing else.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::case::{Case, OPERATORS, Sample, Workload};
use super::lane::{Lane, Run};
use super::oracle::{Breach, breach, same_end, same_history};
use super::workload::Story;

/// How often a case is tried whose write did not come: passes may fall together, so that there are fewer writes.
const TRIES: usize = 3;

/// What a lane is told.
#[derive(Clone, Debug)]
pub struct Orders {
    /// Where lanes meet: plans, claims, results.
    pub folder: PathBuf,
    /// Which workloads; all if none is named.
    pub workloads: Vec<Workload>,
    /// Whose writes; all if none is named.
    pub operators: Vec<&'static str>,
    /// Only these cases.
    pub cases: Vec<Case>,
    /// Which cases.
    pub sample: Sample,
    /// Which lane this is of how many: each begins elsewhere, so that they seldom need the same undisturbed runs.
    pub lane: (usize, usize),
    /// One undisturbed run has to do, so nothing is said about how equal two of them are.
    pub once: bool,
}

/// One line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The case, or `WORKLOAD/OPERATOR/undisturbed`.
    pub case: String,
    /// What it took.
    pub seconds: f64,
    /// Whether the write came at which it was to be struck.
    pub reached: bool,
    /// Whether an undisturbed run does without that write too: passes may fall together. Then it need not come.
    #[serde(default)]
    pub optional: bool,
    /// What was wrong.
    pub breaches: Vec<Breach>,
    /// The operators' last words, if something was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Of an undisturbed run: the writes of the operator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// Of an undisturbed run: the share of leaves that the mask hides, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_percent: Option<f64>,
    /// Of an undisturbed run: all leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<usize>,
}

/// Runs this lane's share.
pub fn run(orders: &Orders) -> Result<()> {
    let mut lane = Lane::open()?;
    let mut references: BTreeMap<String, Run> = BTreeMap::new();
    for (workload, operator) in parts(orders) {
        if is_claimed(orders, workload, operator)? {
            continue;
        }
        let story = Story::of(workload, operator);
        if let Entry::Vacant(place) = references.entry(story.key()) {
            match undisturbed(&mut lane, orders, &story) {
                Ok(run) => {
                    place.insert(run);
                }
                Err(fault) => {
                    let lost = breach("undisturbed", format!("{fault:#}"));
                    write(orders, &failed(format!("{}/{operator}/undisturbed", workload.name()), lost))?;
                    continue;
                }
            }
        }
        let Some(reference) = references.get(&story.key()) else { continue };
        for case in planned(&lane, orders, workload, operator, reference)? {
            if claim(&orders.folder, &case.to_string())? {
                let line = judged(&mut lane, &story, &case, reference);
                write(orders, &line)?;
            }
        }
    }
    Ok(())
}

/// The workloads and operators that are wanted, from where this lane begins.
fn parts(orders: &Orders) -> Vec<(Workload, &'static str)> {
    let is_wanted = |workload: &Workload, operator: &&'static str| {
        let among = |case: &Case| case.workload == *workload && case.operator == *operator;
        (orders.workloads.is_empty() || orders.workloads.contains(workload))
            && (orders.operators.is_empty() || orders.operators.contains(operator))
            && (orders.cases.is_empty() || orders.cases.iter().any(among))
    };
    let all = Workload::ALL.into_iter().flat_map(|it| OPERATORS.map(|operator| (it, operator)));
    let mut parts: Vec<_> = all.filter(|(workload, operator)| is_wanted(workload, operator)).collect();
    let (lane, lanes) = orders.lane;
    let count = parts.len();
    parts.rotate_left((count * lane / lanes.max(1)).min(count));
    parts
}

/// Whether other lanes have taken every case of it.
fn is_claimed(orders: &Orders, workload: Workload, operator: &'static str) -> Result<bool> {
    let path = plan_file(orders, workload, operator);
    if !orders.cases.is_empty() || !path.exists() {
        return Ok(false);
    }
    let cases = cases(orders, workload, operator, &fs::read(&path)?)?;
    Ok(cases.iter().all(|case| claim_file(&orders.folder, &case.to_string()).exists()))
}

fn plan_file(orders: &Orders, workload: Workload, operator: &str) -> PathBuf {
    orders.folder.join(format!("plan-{}-{operator}.json", workload.name()))
}

/// The cases of a plan.
fn cases(orders: &Orders, workload: Workload, operator: &'static str, plan: &[u8]) -> Result<Vec<Case>> {
    let writes: Vec<String> = serde_json::from_slice(plan)?;
    Ok(orders.sample.of(Case::all(workload, operator, u64::try_from(writes.len())?)))
}

/// Two undisturbed runs that have to be equal: what differs between them could hide anything.
fn undisturbed(lane: &mut Lane, orders: &Orders, story: &Story) -> Result<Run> {
    let start = Instant::now();
    let mut first = lane.run(story, None)?;
    let second = if orders.once { None } else { Some(lane.run(story, None)?) };
    let seconds = start.elapsed().as_secs_f64() / if orders.once { 1.0 } else { 2.0 };
    let mut breaches = first.breaches.clone();
    if let Some(second) = &second {
        breaches.extend(second.breaches.clone());
        breaches.extend(same_end(&first.leaves, &second.leaves, &lane.mask));
        breaches.extend(same_history(&first.counts, &second.counts));
    }
    let percent = lane.mask.percent(&first.widest);
    if let Err(fault) = lane.mask.check(&first.widest) {
        breaches.push(breach("mask", format!("{fault:#}")));
    }
    let last = second.as_ref().unwrap_or(&first);
    let log = if breaches.is_empty() { String::new() } else { last.tail.clone() };
    let line = Line {
        case: format!("{}/undisturbed", story.key()),
        seconds,
        reached: true,
        optional: false,
        breaches,
        log,
        writes: Vec::new(),
        masked_percent: Some(percent),
        leaves: Some(first.widest.len()),
    };
    write(orders, &line)?;
    for (operator, writes) in second.iter().flat_map(|run| &run.writes) {
        let fewest = first.fewest.entry(operator).or_default();
        *fewest = writes.len().min(*fewest);
    }
    Ok(first)
}

/// The plan of the first lane that has one is that of all.
fn planned(
    lane: &Lane,
    orders: &Orders,
    workload: Workload,
    operator: &'static str,
    reference: &Run,
) -> Result<Vec<Case>> {
    if !orders.cases.is_empty() {
        let is_here = |case: &&Case| case.workload == workload && case.operator == operator;
        return Ok(orders.cases.iter().filter(is_here).cloned().collect());
    }
    let path = plan_file(orders, workload, operator);
    let name = format!("plan-{}-{operator}.json", workload.name());
    let mine = reference.writes.get(operator).cloned().unwrap_or_default();
    lane.note(&name, &serde_json::to_string_pretty(&mine)?)?;
    // A link appears whole, and only the first one does.
    let draft = orders.folder.join(format!("{name}.{}", orders.lane.0));
    fs::write(&draft, serde_json::to_vec(&mine)?)?;
    match fs::hard_link(&draft, &path) {
        Err(fault) if fault.kind() != ErrorKind::AlreadyExists => {
            return Err(fault).with_context(|| path.display().to_string());
        }
        Ok(()) | Err(_) => fs::remove_file(&draft)?,
    }
    cases(orders, workload, operator, &fs::read(&path).with_context(|| path.display().to_string())?)
}

fn judged(lane: &mut Lane, story: &Story, case: &Case, reference: &Run) -> Line {
    let start = Instant::now();
    let mut line = failed(case.to_string(), breach("none", ""));
    let mut fewest = reference.fewest.get(case.operator).copied().unwrap_or_default();
    for _ in 0..TRIES {
        match lane.run(story, Some(case)) {
            Ok(run) => {
                if !run.reached {
                    // Nobody disturbed this one either.
                    fewest = fewest.min(run.writes.get(case.operator).map_or(0, Vec::len));
                }
                line.reached = run.reached;
                line.breaches = run.breaches;
                line.breaches.extend(same_end(&reference.leaves, &run.leaves, &lane.mask));
                line.breaches.extend(same_history(&reference.counts, &run.counts));
                line.log = if line.breaches.is_empty() { String::new() } else { run.tail };
            }
            Err(fault) => {
                line = failed(case.to_string(), breach("converges", format!("{fault:#}")));
            }
        }
        if line.reached || !line.breaches.is_empty() {
            break;
        }
    }
    line.optional = !line.reached && case.write > fewest as u64;
    line.seconds = start.elapsed().as_secs_f64();
    line
}

fn failed(case: String, breach: Breach) -> Line {
    Line {
        case,
        seconds: 0.0,
        reached: true,
        optional: false,
        breaches: vec![breach],
        log: String::new(),
        writes: Vec::new(),
        masked_percent: None,
        leaves: None,
    }
}

fn claim_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("claim-{}", name.replace('/', "-")))
}

/// Takes something that only one lane does.
fn claim(folder: &Path, name: &str) -> Result<bool> {
    let path = claim_file(folder, name);
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(_) => Ok(true),
        Err(fault) if fault.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(fault) => Err(fault).with_context(|| path.display().to_string()),
    }
}

fn write(orders: &Orders, line: &Line) -> Result<()> {
    let verdicts: BTreeSet<&str> = line.breaches.iter().map(|it| it.oracle.as_str()).collect();
    let verdict = match (line.breaches.is_empty(), line.reached) {
        (true, true) => "ok".to_owned(),
        (true, false) if line.optional => "this write does not always come".to_owned(),
        (true, false) => "not reached".to_owned(),
        (false, _) => format!("FAILED {}", verdicts.into_iter().collect::<Vec<_>>().join(" ")),
    };
    println!("{:<44} {:>5.1} s  {verdict}", line.case, line.seconds);
    for breach in &line.breaches {
        println!("    {}: {}", breach.oracle, breach.said);
    }
    // One short write: lanes do not cut into each other's lines.
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut file = OpenOptions::new().create(true).append(true).open(orders.folder.join("results.jsonl"))?;
    Ok(file.write_all(text.as_bytes())?)
}
