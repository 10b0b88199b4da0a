//! What a lane does: the undisturbed runs, then its share of the cases. Lanes share a folder and nothing else.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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
    /// Only this case.
    pub case: Option<Case>,
    /// Which cases.
    pub sample: Sample,
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
    let workloads =
        if orders.workloads.is_empty() { Workload::ALL.to_vec() } else { orders.workloads.clone() };
    for workload in
        workloads.into_iter().filter(|it| orders.case.as_ref().is_none_or(|case| case.workload == *it))
    {
        for operator in OPERATORS {
            let is_wanted = orders.operators.is_empty() || orders.operators.contains(&operator);
            if !is_wanted || orders.case.as_ref().is_some_and(|case| case.operator != operator) {
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
            let plan = planned(&lane, orders, workload, operator, reference)?;
            for case in plan {
                if claim(&orders.folder, &case.to_string())? {
                    let line = judged(&mut lane, &story, &case, reference);
                    write(orders, &line)?;
                }
            }
        }
    }
    Ok(())
}

/// Two undisturbed runs that have to be equal: what differs between them could hide anything.
fn undisturbed(lane: &mut Lane, orders: &Orders, story: &Story) -> Result<Run> {
    let start = Instant::now();
    let mut first = lane.run(story, None)?;
    let second = lane.run(story, None)?;
    let mut breaches = [first.breaches.clone(), second.breaches.clone()].concat();
    breaches.extend(same_end(&first.leaves, &second.leaves, &lane.mask));
    breaches.extend(same_history(&first.counts, &second.counts));
    let percent = lane.mask.percent(&first.leaves);
    if let Err(fault) = lane.mask.check(&first.leaves) {
        breaches.push(breach("mask", format!("{fault:#}")));
    }
    let log = if breaches.is_empty() { String::new() } else { second.tail };
    let line = Line {
        case: format!("{}/undisturbed", story.key()),
        seconds: start.elapsed().as_secs_f64() / 2.0,
        reached: true,
        optional: false,
        breaches,
        log,
        writes: Vec::new(),
        masked_percent: Some(percent),
        leaves: Some(first.leaves.len()),
    };
    write(orders, &line)?;
    for (operator, writes) in &second.writes {
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
    if let Some(case) = &orders.case {
        return Ok(vec![case.clone()]);
    }
    let name = format!("plan-{}-{operator}.json", workload.name());
    let path = orders.folder.join(&name);
    let mine = reference.writes.get(operator).cloned().unwrap_or_default();
    lane.note(&name, &serde_json::to_string_pretty(&mine)?)?;
    if claim(&orders.folder, &name)? {
        let half = path.with_extension("half");
        fs::write(&half, serde_json::to_vec(&mine)?)?;
        fs::rename(&half, &path)?;
    }
    let start = Instant::now();
    while !path.exists() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let writes: Vec<String> = serde_json::from_slice(&text)?;
    let count = u64::try_from(writes.len())?;
    Ok(orders.sample.of(Case::all(workload, operator, count)))
}

fn judged(lane: &mut Lane, story: &Story, case: &Case, reference: &Run) -> Line {
    let start = Instant::now();
    let mut line = failed(case.to_string(), breach("none", ""));
    for _ in 0..TRIES {
        match lane.run(story, Some(case)) {
            Ok(run) => {
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
    let fewest = reference.fewest.get(case.operator).copied().unwrap_or_default();
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

/// Takes something that only one lane does.
fn claim(folder: &Path, name: &str) -> Result<bool> {
    let path = folder.join(format!("claim-{}", name.replace('/', "-")));
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(_) => Ok(true),
        Err(fault) if fault.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
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
