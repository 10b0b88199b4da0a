//! `make bench`: what VDO costs at some numbers of nodes, with the programs as they are released.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::compile::{self, Profile};
use crate::sweep::evidence::{self, Inputs};
use crate::{e2e, release, shell};

/// Where the figures are kept.
const FOLDER: &str = "docs/bench";
/// What a choice costs.
const CHOICE: &str = "docs/bench/choice.json";
/// The sources that decide what it costs, and those that measure it.
const SOURCES: [&str; 5] = [
    "crates/vdo-compat/src",
    "crates/vdo-compat/benches",
    "crates/vdo-compat/tests/large",
    "crates/vdo-matrix/src",
    "crates/vdo-matrix/benches",
];
/// Where criterion leaves what it measured.
const CRITERION: &str = "target/criterion";
/// How the name of a benchmark ends whose figure is kept.
const UNIT: &str = "Microseconds";

/// What is measured.
#[derive(Args)]
pub struct Bench {
    /// At how many nodes; several may be given.
    #[arg(long, value_name = "N", default_values_t = [100, 1000, 5000])]
    nodes: Vec<usize>,
    /// For so many minutes nodes come and go at the largest of these numbers.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    churn: u64,
    /// How many go each minute.
    #[arg(long, value_name = "N", default_value_t = 100)]
    churn_nodes: u32,
    /// Only what choosing a release costs, which needs no bed.
    #[arg(long)]
    choice: bool,
    /// Only writes the page anew, from the figures that are there, and compares them with their budgets.
    #[arg(long)]
    report: bool,
}

/// Measures, writes the page, and fails if a budget is exceeded.
pub fn run(root: &Path, wanted: &Bench) -> Result<()> {
    // Before anything is written here: what a bench writes is no change of what it measures.
    let commit = shell::output(root, "git", &["describe", "--always", "--dirty"])?;
    let commit = commit.trim();
    if !wanted.report {
        choice(root, commit)?;
    }
    if wanted.report || wanted.choice {
        let report = ["run", "--quiet", "--package", "e2e", "--bin", "bench", "--", "report"];
        return shell::run(root, "cargo", &report);
    }
    // The bed's own programs share two cores with what is measured.
    let own = Profile::Sweep;
    compile::programs(root, own)?;
    let bench = own.program(root, "bench")?;
    e2e::programs(root, own, e2e::Tools::Usual)?;
    let released = release::programs(root)?;
    let images = serde_json::to_string_pretty(&release::images(root, &released)?)? + "\n";
    fs::write(root.join(FOLDER).join("images.json"), images)?;
    let programs = format!("VDO_BIN={}", released.display());
    let largest = wanted.nodes.iter().max().context("no number of nodes")?;
    let testbed = own.program(root, "testbed")?;
    let (minutes, churn_nodes) = (wanted.churn.to_string(), wanted.churn_nodes.to_string());
    let mut over = Vec::new();
    for nodes in &wanted.nodes {
        let count = nodes.to_string();
        let mut words = vec![&*programs, &testbed, "run", "--nodes", &count, "--", &bench, "measure"];
        words.extend(["--folder", FOLDER, "--commit", commit]);
        if nodes == largest {
            words.extend(["--churn-minutes", &minutes, "--churn-nodes", &churn_nodes]);
        }
        if let Err(error) = shell::run(root, "env", &words) {
            eprintln!("{error:#}");
            over.push(count);
        }
    }
    // Also where something is over its budget, the page says what was measured; and all figures are looked at.
    let report = shell::run(root, &bench, &["report"]);
    ensure!(over.is_empty(), "not as promised at {} nodes", over.join(", "));
    report
}

/// Fails unless what a choice costs was measured with the sources as they are.
pub fn check(root: &Path) -> Result<()> {
    let trees = Inputs::of_programs(root, &SOURCES)?.trees;
    let missing = evidence::outdated(&evidence::read(root, CHOICE)?, &trees);
    evidence::judge(CHOICE, &missing, "cargo xtask bench --choice")
}

/// Measures what a choice costs. The report compares it with the budgets.
fn choice(root: &Path, commit: &str) -> Result<()> {
    let inputs = Inputs::of_programs(root, &SOURCES)?;
    // What an earlier run left is not what is measured now.
    let folder = root.join(CRITERION);
    if folder.exists() {
        fs::remove_dir_all(&folder).context(CRITERION)?;
    }
    let packages = ["bench", "--package", "vdo-compat", "--package", "vdo-matrix"];
    shell::run(root, "cargo", &[&packages[..], &["--bench", "select", "--bench", "parse"]].concat())?;
    let mut figures = Map::new();
    for entry in fs::read_dir(&folder).context(CRITERION)? {
        let new = entry?.path().join("new");
        let read = |name: &str| -> Result<Value> {
            let path = new.join(name);
            let text = fs::read(&path).with_context(|| path.display().to_string())?;
            Ok(serde_json::from_slice(&text)?)
        };
        let name =
            read("benchmark.json")?["full_id"].as_str().context("a benchmark without a name")?.to_owned();
        let nanoseconds = read("estimates.json")?["median"]["point_estimate"].as_f64();
        let nanoseconds = nanoseconds.with_context(|| format!("{name} has no median"))?;
        if name.ends_with(UNIT) {
            figures.insert(name, ((nanoseconds / 10.0).round() / 100.0).into());
        }
    }
    ensure!(!figures.is_empty(), "criterion left no figure in {CRITERION}");
    let day = shell::output(root, "date", &["-u", "+%F"])?;
    evidence::write(root, CHOICE, &measured(commit, day.trim(), figures, inputs))
}

/// The figures with what they are of.
fn measured(commit: &str, day: &str, figures: Map<String, Value>, inputs: Inputs) -> Value {
    let Inputs { trees, uncommitted } = inputs;
    json!({"commit": commit, "day": day, "figures": figures, "trees": trees, "uncommitted": uncommitted})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_a_choice_are_those_of_the_sources_that_they_name_and_of_no_others() {
        let root = shell::root().unwrap();
        let now = Inputs::of_programs(&root, &SOURCES).unwrap().trees;
        let missing = |inputs| evidence::outdated(&measured("abc", "2026-01-02", Map::new(), inputs), &now);
        let of = |trees: &Map<String, Value>| Inputs { trees: trees.clone(), uncommitted: Vec::new() };
        assert_eq!(now.len(), SOURCES.len());
        assert_eq!(missing(of(&now)), Vec::<String>::new());
        for source in SOURCES {
            let mut others = now.clone();
            others[source] = "1234".into();
            assert_eq!(missing(of(&others)), [format!("{source} has changed since")]);
        }
        let dirty = Inputs { uncommitted: vec!["M crates/vdo-matrix/src/parse.rs".to_owned()], ..of(&now) };
        assert_eq!(missing(dirty), ["it was made of sources that were not committed"]);
    }
}
