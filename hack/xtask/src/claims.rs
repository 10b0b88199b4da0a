//! `docs/claims.toml`: what we promise, each with the tests that prove it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    claim: Vec<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    /// The promise, in a user's words.
    promise: String,
    /// The tests that prove it, as `binary::path::of::test`.
    #[serde(default)]
    tests: Vec<String>,
    /// Why it is not proven yet; such a claim is printed, and counted as open.
    open: Option<String>,
}

/// Fails when a promise is without a proof, or a proof did not run and pass.
pub fn run(root: &Path, logs: &Path) -> Result<()> {
    let file = root.join("docs/claims.toml");
    let claims: Claims = toml::from_str(&fs::read_to_string(&file).context("docs/claims.toml")?)?;
    let passed = passed(logs)?;
    let mut missing = Vec::new();
    let mut open = 0;
    for claim in &claims.claim {
        if let Some(why) = &claim.open {
            println!("open: {} ({why})", claim.promise);
            open += 1;
        } else if claim.tests.is_empty() {
            missing.push(format!("{}: names no test", claim.promise));
        }
        for test in claim.tests.iter().filter(|test| !passed.contains(*test)) {
            missing.push(format!("{}: {test} did not run and pass", claim.promise));
        }
    }
    if !missing.is_empty() {
        bail!("{} proofs are missing:\n  {}", missing.len(), missing.join("\n  "));
    }
    println!("claims: {} proven, {open} open, {} tests passed", claims.claim.len() - open, passed.len());
    Ok(())
}

/// Every test that the logs show as passed, as `binary::path`.
pub fn passed(logs: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(logs).with_context(|| format!("no logs in {}", logs.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "log") {
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            found.extend(passed_in(&text));
        }
    }
    Ok(found)
}

fn passed_in(log: &str) -> Vec<String> {
    let mut binary = String::new();
    let mut found = Vec::new();
    for line in log.lines() {
        if let Some(path) = line.trim_start().strip_prefix("Running ").and_then(|l| l.rsplit_once('(')) {
            let file = path.1.trim_end_matches(')').rsplit('/').next().unwrap_or_default();
            binary = file.rsplit_once('-').map_or(file, |(name, _)| name).to_owned();
        }
        let test = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... ok"));
        found.extend(test.map(|test| format!("{binary}::{test}")));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_passed_counts_under_the_name_of_its_binary() {
        let log = "     Running unittests src/lib.rs (target/debug/deps/vdo_api-75209cbf)\n\
                   test crd::a ... ok\ntest crd::b ... FAILED\ntest crd::c ... ignored\n";
        assert_eq!(passed_in(log), ["vdo_api::crd::a"]);
    }

    #[test]
    fn the_line_of_the_demos_stage_counts_like_one_of_cargo() {
        let log = "     Running demo (demo)\n[  11 s] Installing the chart ...\n\
                   test a_warm_demo_takes_less_than_90_seconds ... ok\n";
        assert_eq!(passed_in(log), ["demo::a_warm_demo_takes_less_than_90_seconds"]);
    }
}
