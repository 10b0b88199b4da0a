//! End-to-end tests: each story is a test binary that runs inside a bed of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::ci::logged;
use crate::shell;

/// What a story needs of a bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An API server only.
    Api,
    /// Everything, with the real drivers.
    Full,
    /// As `Full`, and too long for CI: run when it is named.
    Long,
}

/// A story and the bed that it needs.
struct Story {
    /// The package and the name of the test target.
    target: (&'static str, &'static str),
    /// What it needs.
    layer: Layer,
    /// How many nodes its bed has.
    nodes: u32,
    /// Whether it needs the operators' programs.
    operators: bool,
}

const STORIES: &[Story] = &[
    Story { target: ("e2e", "admission"), layer: Layer::Api, nodes: 0, operators: false },
    Story { target: ("e2e", "render"), layer: Layer::Api, nodes: 0, operators: true },
    Story { target: ("e2e", "replicas"), layer: Layer::Api, nodes: 0, operators: true },
    Story { target: ("e2e", "install"), layer: Layer::Full, nodes: 3, operators: true },
    Story { target: ("e2e", "faults"), layer: Layer::Full, nodes: 3, operators: true },
    Story { target: ("e2e", "foreign"), layer: Layer::Full, nodes: 3, operators: true },
    Story { target: ("e2e", "password"), layer: Layer::Full, nodes: 3, operators: true },
    Story { target: ("e2e", "nodes"), layer: Layer::Long, nodes: 3, operators: true },
    Story { target: ("e2e", "daytwo"), layer: Layer::Long, nodes: 3, operators: true },
    Story { target: ("testbed", "bed_proof"), layer: Layer::Full, nodes: 5, operators: false },
    Story { target: ("testbed", "podrunner_proof"), layer: Layer::Full, nodes: 3, operators: false },
];

/// Runs all stories of a layer.
pub fn run_layer(root: &Path, layer: Layer) -> Result<()> {
    run_stories(root, |story| story.layer == layer)
}

/// Runs all stories, or the one with this name.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    run_stories(root, |story| only.is_none_or(|name| story.target.1 == name))
}

fn run_stories(root: &Path, wanted: impl Fn(&Story) -> bool) -> Result<()> {
    let chosen: Vec<&Story> = STORIES.iter().filter(|story| wanted(story)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = STORIES.iter().map(|story| story.target.1).collect();
        bail!("there is no such story; there are {}", names.join(", "));
    }
    std::fs::create_dir_all(root.join("target/ci"))?;
    if chosen.iter().any(|story| story.operators) {
        operators(root)?;
    }
    let testbed = testbed(root)?;
    programs(root, &testbed)?;
    let binaries = binaries(root)?;
    for story in chosen {
        let (package, name) = story.target;
        let key = format!("{package}/{name}");
        let binary = binaries.get(&key).with_context(|| format!("cargo built no test {key}"))?;
        let binary = binary.to_str().context("a path that is not UTF-8")?;
        println!("-- {key} --");
        let nodes = story.nodes.to_string();
        let mut args = vec!["run"];
        match story.layer {
            Layer::Api => args.extend(["--profile", "api"]),
            Layer::Full | Layer::Long => args.extend(["--nodes", &nodes]),
        }
        args.extend(["--", binary, "--test-threads=1"]);
        // The line that names the binary, as cargo prints it: the check of the claims reads it.
        println!("     Running {key} ({binary})");
        logged(root, &format!("e2e-{name}"), Some(binary), &testbed, &args)?;
    }
    Ok(())
}

/// Builds everything that the stories run, so that their time is their own.
pub fn build(root: &Path) -> Result<()> {
    operators(root)?;
    binaries(root)?;
    programs(root, &testbed(root)?)?;
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

/// Builds the programs of the bed that the cache does not have, and gives the age of the youngest of all.
pub fn programs(root: &Path, testbed: &str) -> Result<Duration> {
    let mut youngest = None;
    // One line for each tool: its name and the folder of its programs.
    for line in shell::output(root, testbed, &["build"])?.lines() {
        let (name, folder) = line.split_once('\t').with_context(|| format!("no folder in {line:?}"))?;
        let built = std::fs::metadata(folder).and_then(|folder| folder.modified());
        let built = built.with_context(|| format!("cannot tell when {name} was built"))?;
        // One from the future, after a clock was set back, counts as new.
        let age = built.elapsed().unwrap_or_default();
        youngest = Some(youngest.map_or(age, |other: Duration| other.min(age)));
    }
    youngest.context("the test bed has no programs")
}

/// The test binaries of the stories, by `package/target`.
fn binaries(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut args =
        vec!["test", "--no-run", "--message-format=json", "--package", "e2e", "--package", "testbed"];
    args.extend(STORIES.iter().flat_map(|story| ["--test", story.target.1]));
    let said = shell::output(root, "cargo", &args).context("the end-to-end tests do not build")?;
    let mut found = BTreeMap::new();
    for line in said.lines() {
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
