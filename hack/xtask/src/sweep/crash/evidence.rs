//! `docs/evidence/crash.json`: what the sweep found, and of which sources.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{Crash, Line, Report};
use crate::sweep::evidence::{self, Inputs, read};

/// What the result depends on. Of the charts that is what the operators meet in a lane: the kinds, the rights and the drivers'
/// namespaces. How their pods are made is no part of it, since no pod runs there.
const INPUTS: [&str; 18] = [
    "crates/vdo-api/src",
    "crates/vdo-compat/src",
    "crates/vdo-fetch/src",
    "crates/vdo-matrix/src",
    "crates/vdo-peer/src",
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
pub const FILE: &str = "docs/evidence/crash.json";
/// The rows of a whole sweep.
const WORKLOADS: [&str; 6] = ["install", "upgrade", "rollback", "rotation", "drift", "teardown"];
const OPERATORS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];
/// How the row of an undisturbed run ends; it has one only if it failed.
const UNDISTURBED: &str = "/undisturbed";
const PLACES: [&str; 3] = ["before", "after", "lost"];

/// What the result depends on, as it is now.
pub fn inputs(root: &Path) -> Result<Inputs> {
    Inputs::of_programs(root, &INPUTS)
}

/// Rows of earlier sweeps stay if nothing changed since that they depend on.
pub fn write(
    root: &Path,
    wanted: &Crash,
    Inputs { trees, uncommitted }: Inputs,
    lines: &[Line],
    report: &Report,
) -> Result<()> {
    let earlier = if root.join(FILE).exists() { read(root, FILE)? } else { Value::Null };
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
    evidence::write(root, FILE, &evidence)
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

/// Fails unless every write was struck in every way, of these very sources, and nothing was wrong.
pub fn check(root: &Path) -> Result<()> {
    let missing = missing(&read(root, FILE)?, &inputs(root)?.trees);
    evidence::judge(FILE, &missing, "cargo xtask sweep crash --evidence")
}

/// What keeps the evidence from being one of a whole sweep of these trees.
fn missing(evidence: &Value, trees: &Map<String, Value>) -> Vec<String> {
    let mut missing = evidence::outdated(evidence, trees);
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
    evidence::chosen(cases, commit, count)
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
    fn the_cases_of_the_sweep_are_each_write_of_each_row_at_each_place() {
        let of = |count: usize| chosen(&whole(), "b1074de9", count);
        let every = WORKLOADS.len() * OPERATORS.len() * 9 * PLACES.len();
        assert!(of(every + 1).unwrap_err().to_string().ends_with(&format!("only {every} cases")));
        let [case] = &of(1).unwrap()[..] else { panic!("not one case") };
        let parts: Vec<&str> = case.split('/').collect();
        let [workload, operator, write, place] = parts[..] else { panic!("{case}") };
        assert!(WORKLOADS.contains(&workload) && OPERATORS.contains(&operator), "{case}");
        assert!(PLACES.contains(&place) && (1..=9).contains(&write.parse::<u32>().unwrap()), "{case}");
    }
}
