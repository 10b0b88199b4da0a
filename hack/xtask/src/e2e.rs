//! End-to-end tests: each story is a test binary that runs inside a bed of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::ci::logged;
use crate::shell;

/// A story and the bed that it needs.
struct Story {
    /// The package and the name of the test target.
    target: (&'static str, &'static str),
    /// The bed: flags of `testbed run`.
    bed: &'static [&'static str],
    /// Whether it needs the operators' programs.
    operators: bool,
}

const STORIES: &[Story] = &[
    Story { target: ("e2e", "admission"), bed: &["--profile", "api"], operators: false },
    Story { target: ("e2e", "render"), bed: &["--profile", "api"], operators: true },
    Story { target: ("e2e", "install"), bed: &["--nodes", "3"], operators: true },
    Story { target: ("e2e", "faults"), bed: &["--nodes", "3"], operators: true },
    Story { target: ("e2e", "foreign"), bed: &["--nodes", "3"], operators: true },
    Story { target: ("e2e", "password"), bed: &["--nodes", "3"], operators: true },
    Story { target: ("testbed", "bed_proof"), bed: &["--nodes", "5"], operators: false },
    Story { target: ("testbed", "podrunner_proof"), bed: &["--nodes", "3"], operators: false },
];

/// Runs all stories, or the one with this name.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    let chosen: Vec<&Story> =
        STORIES.iter().filter(|story| only.is_none_or(|name| story.target.1 == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = STORIES.iter().map(|story| story.target.1).collect();
        bail!("there is no such story; there are {}", names.join(", "));
    }
    std::fs::create_dir_all(root.join("target/ci"))?;
    if chosen.iter().any(|story| story.operators) {
        operators(root)?;
    }
    let testbed = testbed(root)?;
    shell::run(root, &testbed, &["build"])?;
    let binaries = binaries(root)?;
    for story in chosen {
        let (package, name) = story.target;
        let key = format!("{package}/{name}");
        let binary = binaries.get(&key).with_context(|| format!("cargo built no test {key}"))?;
        let binary = binary.to_str().context("a path that is not UTF-8")?;
        println!("-- {key} --");
        let mut args = vec!["run"];
        args.extend(story.bed);
        args.extend(["--", binary, "--test-threads=1"]);
        // The line that names the binary, as cargo prints it: the check of the claims reads it.
        println!("     Running {key} ({binary})");
        logged(root, &format!("e2e-{name}"), Some(binary), &testbed, &args)?;
    }
    Ok(())
}

/// Builds the programs that run in pods, and the CLI.
pub fn operators(root: &Path) -> Result<()> {
    let packages = ["vdo-core", "cpi-operator", "csi-operator", "vdoctl"];
    let flags = packages.iter().flat_map(|package| ["--package", package]);
    shell::run(root, "cargo", &["build", "--quiet", "--bins"].into_iter().chain(flags).collect::<Vec<_>>())
}

/// Builds the `testbed` program and gives its path.
pub fn testbed(root: &Path) -> Result<String> {
    shell::run(root, "cargo", &["build", "--quiet", "--package", "testbed"])?;
    let path = root.join("target/debug/testbed");
    Ok(path.to_str().context("a path that is not UTF-8")?.to_owned())
}

/// The test binaries of the stories, by `package/target`.
fn binaries(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut args =
        vec!["test", "--no-run", "--message-format=json", "--package", "e2e", "--package", "testbed"];
    args.extend(STORIES.iter().flat_map(|story| ["--test", story.target.1]));
    let out = Command::new("cargo")
        .args(&args)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !out.status.success() {
        bail!("the end-to-end tests do not build");
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&out.stdout).lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed what is not JSON")?;
        let Some(binary) = message["executable"].as_str().filter(|_| message["profile"]["test"] == true)
        else {
            continue;
        };
        let package = message["package_id"].as_str().unwrap_or_default();
        let package = if package.contains("testbed") { "testbed" } else { "e2e" };
        let target = message["target"]["name"].as_str().unwrap_or_default();
        found.insert(format!("{package}/{target}"), PathBuf::from(binary));
    }
    Ok(found)
}
