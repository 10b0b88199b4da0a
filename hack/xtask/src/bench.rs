//! `make bench`: what VDO costs at some numbers of nodes, with the programs as they are released.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::compile::{self, Profile};
use crate::{e2e, release, shell};

/// Where the figures are kept.
const FOLDER: &str = "docs/bench";

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
    /// Only writes the page anew, from the figures that are there.
    #[arg(long)]
    report: bool,
}

/// Measures, writes the page, and fails if a budget is exceeded.
pub fn run(root: &Path, wanted: &Bench) -> Result<()> {
    // The bed's own programs share two cores with what is measured.
    let own = Profile::Sweep;
    compile::programs(root, own)?;
    let bench = own.program(root, "bench")?;
    if wanted.report {
        return shell::run(root, &bench, &["report"]);
    }
    e2e::programs(root, own, e2e::Tools::Usual)?;
    let released = release::programs(root)?;
    let images = serde_json::to_string_pretty(&release::images(root, &released)?)? + "\n";
    fs::write(root.join(FOLDER).join("images.json"), images)?;
    let programs = format!("VDO_BIN={}", released.display());
    let commit = shell::output(root, "git", &["describe", "--always", "--dirty"])?;
    let largest = wanted.nodes.iter().max().context("no number of nodes")?;
    let testbed = own.program(root, "testbed")?;
    let (minutes, churn_nodes) = (wanted.churn.to_string(), wanted.churn_nodes.to_string());
    let mut over = Vec::new();
    for nodes in &wanted.nodes {
        let count = nodes.to_string();
        let mut words = vec![&*programs, &testbed, "run", "--nodes", &count, "--", &bench, "measure"];
        words.extend(["--folder", FOLDER, "--commit", commit.trim()]);
        if nodes == largest {
            words.extend(["--churn-minutes", &minutes, "--churn-nodes", &churn_nodes]);
        }
        if let Err(error) = shell::run(root, "env", &words) {
            eprintln!("{error:#}");
            over.push(count);
        }
    }
    ensure!(over.is_empty(), "not as promised at {} nodes", over.join(", "));
    shell::run(root, &bench, &["report"])
}
