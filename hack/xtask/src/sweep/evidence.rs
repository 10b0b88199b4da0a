//! `docs/evidence/crash.json`: what the sweep found, and of which sources.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::{Crash, Line, Report};
use crate::shell;

/// What the result depends on. Of the charts that is what the operators meet in a lane: the kinds, the rights and the drivers'
/// namespaces. How their pods are made is no part of it, since no pod runs there.
const INPUTS: [&str; 15] = [
    "crates/vdo-api/src",
    "crates/vdo-compat/src",
    "crates/vdo-plan/src",
    "crates/vsphere-client/src",
    "crates/vdo-runtime/src",
    "crates/vdo-core/src",
    "crates/cpi-operator/src",
    "crates/csi-operator/src",
    "charts/vdo-crds/templates",
    "charts/vdo-core/templates/rbac.yaml",
    "charts/cpi-operator/templates/rbac.yaml",
    "charts/csi-operator/templates/rbac.yaml",
    "charts/vdo/templates/namespaces.yaml",
    "e2e/src/sweep",
    "hack/testbed/src/faultproxy",
];
const EVIDENCE: &str = "docs/evidence/crash.json";
/// The rows of a whole sweep.
const WORKLOADS: [&str; 6] = ["install", "upgrade", "rollback", "rotation", "drift", "teardown"];
const OPERATORS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];
/// How the row of an undisturbed run ends; it has one only if it failed.
const UNDISTURBED: &str = "/undisturbed";
const PLACES: [&str; 3] = ["before", "after", "lost"];

/// The git trees of what a result depends on, and what of it is not committed.
pub type Inputs = (Map<String, Value>, Vec<String>);

/// The git trees of what the result depends on, and what of it is not committed.
pub fn inputs(root: &Path) -> Result<Inputs> {
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
pub fn write(
    root: &Path,
    wanted: &Crash,
    (trees, uncommitted): Inputs,
    lines: &[Line],
    report: &Report,
) -> Result<()> {
    let path = root.join(EVIDENCE);
    let earlier = if path.exists() { read(root)? } else { Value::Null };
    let mut results = match &earlier["results"] {
        Value::Object(rows) if earlier["trees"] == Value::Object(trees.clone()) => rows.clone(),
        _ => Map::new(),
    };
    let named = if wanted.case.is_empty() { "all" } else { "named cases" };
    let sample = wanted.sample.as_deref().unwrap_or(named);
    if sample == "all" {
        forget_undisturbed(&mut results, report);
    }
    for (name, row) in report {
        // A sample that found nothing says less than the whole sweep that is there.
        if sample != "all"
            && row.failures.is_empty()
            && results.get(name).is_some_and(|row| row["sample"] == "all")
        {
            continue;
        }
        let row = json!({
            "sample": sample, "writes": row.writes, "plans": row.plans, "seconds": row.seconds.round(), "failures": row.failures,
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

/// A workload that is swept again for every operator makes its undisturbed runs again; those that failed before count no
/// more.
fn forget_undisturbed(results: &mut Map<String, Value>, report: &Report) {
    let is_whole =
        |workload: &str| OPERATORS.iter().all(|it| report.contains_key(&format!("{workload}/{it}")));
    for workload in WORKLOADS.into_iter().filter(|workload| is_whole(workload)) {
        results.retain(|name, _| !(name.starts_with(workload) && name.ends_with(UNDISTURBED)));
    }
}

/// The evidence of the last sweep.
pub fn read(root: &Path) -> Result<Value> {
    let text = fs::read(root.join(EVIDENCE)).context(EVIDENCE)?;
    serde_json::from_slice(&text).context(EVIDENCE)
}

/// Fails unless every write was struck in every way, of these very sources, and nothing was wrong.
pub fn check(root: &Path) -> Result<()> {
    let missing = missing(&read(root)?, &inputs(root)?.0);
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{EVIDENCE} needs `cargo xtask sweep crash --evidence`:\n  {}", missing.join("\n  "))
}

/// What keeps the evidence from being one of a whole sweep of these trees.
fn missing(evidence: &Value, trees: &Map<String, Value>) -> Vec<String> {
    let is_other = |input: &str| evidence["trees"][input] != trees.get(input).cloned().unwrap_or_default();
    let mut missing: Vec<String> = INPUTS
        .into_iter()
        .filter(|input| is_other(input))
        .map(|input| format!("{input} has changed since"))
        .collect();
    if evidence["uncommitted"].as_array().is_none_or(|all| !all.is_empty()) {
        missing.push("it was made of sources that were not committed".to_owned());
    }
    if evidence["builtForIt"] != true {
        missing.push("it was made with programs that were not built for it".to_owned());
    }
    for name in WORKLOADS.iter().flat_map(|it| OPERATORS.map(|operator| format!("{it}/{operator}"))) {
        let row = &evidence["results"][&name];
        if row["sample"] != "all" {
            missing.push(format!("{name} was not swept as a whole"));
        }
        for fault in ["failures", "notReached"] {
            if row[fault].as_array().is_none_or(|all| !all.is_empty()) {
                missing.push(format!("{name} has {fault}"));
            }
        }
    }
    let rows = evidence["results"].as_object().into_iter().flatten();
    let failed = rows.filter(|(name, _)| name.ends_with(UNDISTURBED));
    missing.extend(failed.map(|(name, _)| format!("{name} has failures")));
    missing
}

/// So many cases of the sweep, chosen by the commit.
pub fn chosen(evidence: &Value, commit: &str, count: usize) -> Result<Vec<String>> {
    let rows = evidence["results"].as_object().context("the evidence has no results")?;
    let mut cases = Vec::new();
    for (name, row) in rows {
        let writes = row["writes"].as_u64().with_context(|| format!("no count of writes in {name}"))?;
        cases.extend((1..=writes).flat_map(|write| PLACES.map(|place| format!("{name}/{write}/{place}"))));
    }
    ensure!(cases.len() >= count, "the sweep has only {} cases", cases.len());
    let digits: Vec<char> = commit.chars().collect();
    // Each part of the commit takes one of those that are left.
    let mut taken = Vec::new();
    for part in digits.chunks(digits.len().div_ceil(count).max(1)).take(count) {
        let number: String = part.iter().collect();
        let number = u64::from_str_radix(&number, 16).with_context(|| format!("no commit: {commit}"))?;
        taken.push(cases.swap_remove((number % cases.len() as u64) as usize));
    }
    ensure!(taken.len() == count, "{commit} is too short to choose {count} cases");
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::*;

    fn trees() -> Map<String, Value> {
        INPUTS.iter().map(|input| ((*input).to_owned(), json!("1234"))).collect()
    }

    fn whole() -> Value {
        let row = json!({"sample": "all", "writes": 9, "failures": [], "notReached": []});
        let names = WORKLOADS.iter().flat_map(|it| OPERATORS.map(|operator| format!("{it}/{operator}")));
        let results: Map<String, Value> = names.map(|name| (name, row.clone())).collect();
        json!({"trees": trees(), "uncommitted": [], "builtForIt": true, "results": results})
    }

    #[test]
    fn the_evidence_of_a_whole_sweep_of_the_same_sources_is_enough() {
        assert_eq!(missing(&whole(), &trees()), Vec::<String>::new());
    }

    #[test]
    fn evidence_of_other_sources_or_of_a_part_is_not_enough() {
        let faults: [(&str, Value); 6] = [
            ("/trees/charts~1vdo-crds~1templates", json!("5678")),
            ("/uncommitted", json!(["M charts/vdo-crds/templates/vdoconfigs.yaml"])),
            ("/builtForIt", json!(false)),
            ("/results/drift~1vdo-core/sample", json!("first-middle-last")),
            ("/results/drift~1vdo-core/failures", json!([{"case": "drift/vdo-core/1/lost"}])),
            ("/results/drift~1vdo-core/notReached", json!(["drift/vdo-core/2/lost"])),
        ];
        for (place, value) in faults {
            let mut evidence = whole();
            *evidence.pointer_mut(place).unwrap() = value;
            assert_eq!(missing(&evidence, &trees()).len(), 1, "{place}");
        }
    }

    #[test]
    fn an_undisturbed_run_that_failed_counts_until_its_workload_is_swept_again_for_every_operator() {
        let mut evidence = whole();
        evidence["results"]["drift/undisturbed"] = json!({"sample": "all", "writes": 0, "failures": [{}]});
        assert_eq!(missing(&evidence, &trees()), ["drift/undisturbed has failures"]);

        let rows = |workload: &str, operators: &[&str]| -> Report {
            operators.iter().map(|it| (format!("{workload}/{it}"), Row::default())).collect()
        };
        let Some(results) = evidence["results"].as_object_mut() else { panic!("no results") };
        for (workload, operators) in [("drift", &OPERATORS[1..]), ("upgrade", &OPERATORS[..])] {
            forget_undisturbed(results, &rows(workload, operators));
            assert!(results.contains_key("drift/undisturbed"));
        }
        forget_undisturbed(results, &rows("drift", &OPERATORS));
        assert_eq!(missing(&evidence, &trees()), Vec::<String>::new());
    }

    #[test]
    fn a_commit_chooses_the_same_cases_again_and_another_commit_others() {
        let of = |commit: &str| chosen(&whole(), commit, 3).unwrap();
        let commit = "b1074de9c1a2f0e3d4c5b6a7988776655443322f";
        let mut different = of(commit);
        different.dedup();

        assert_eq!(different.len(), 3);
        assert_eq!(of(commit), of(commit));
        assert_ne!(of(commit), of("c1074de9c1a2f0e3d4c5b6a7988776655443322f"));
        assert!(chosen(&whole(), "ab", 3).is_err());
    }
}
