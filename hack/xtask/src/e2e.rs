//! End-to-end tests: each story is a test binary that runs inside a bed of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::compile::{self, Profile};
use crate::lanes::side_by_side;
use crate::logged::Logged;
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

/// Beds at once: most of a story is waiting.
const LANES: usize = 3;

/// A story and the bed that it needs.
struct Story {
    /// The package and the name of the test target.
    target: (&'static str, &'static str),
    /// What it needs.
    layer: Layer,
    /// How many nodes its bed has.
    nodes: &'static str,
}

/// The longest of a layer come first, so that none is left over at the end.
const STORIES: &[Story] = &[
    Story { target: ("e2e", "render"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "replicas"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "admission"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "chart"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "crds"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "threats"), layer: Layer::Api, nodes: "0" },
    Story { target: ("e2e", "faults"), layer: Layer::Full, nodes: "3" },
    Story { target: ("e2e", "foreign"), layer: Layer::Full, nodes: "3" },
    Story { target: ("e2e", "install"), layer: Layer::Full, nodes: "3" },
    Story { target: ("e2e", "password"), layer: Layer::Full, nodes: "3" },
    Story { target: ("testbed", "podrunner_proof"), layer: Layer::Full, nodes: "3" },
    Story { target: ("testbed", "bed_proof"), layer: Layer::Full, nodes: "5" },
    Story { target: ("e2e", "daytwo"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "pages"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "canary"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "observe"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "quiet"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "mishaps"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "rollback"), layer: Layer::Long, nodes: "3" },
    Story { target: ("e2e", "nodes"), layer: Layer::Long, nodes: "3" },
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
    let names: Vec<&str> = chosen.iter().map(|story| story.target.1).collect();
    let binaries = compile::tests(root, &names)?;
    programs(root, Profile::Dev)?;
    side_by_side(LANES, &chosen, |story| run_story(root, story, &binaries))
}

fn run_story(root: &Path, story: &Story, binaries: &BTreeMap<String, PathBuf>) -> Result<()> {
    let (package, name) = story.target;
    let key = format!("{package}/{name}");
    let binary = binaries.get(&key).with_context(|| format!("cargo built no test {key}"))?;
    let binary = binary.to_str().context("a path that is not UTF-8")?;
    let mut args = vec!["run"];
    match story.layer {
        Layer::Api => args.extend(["--profile", "api"]),
        Layer::Full | Layer::Long => args.extend(["--nodes", story.nodes]),
    }
    args.extend(["--", binary, "--test-threads=1"]);
    let log = format!("e2e-{name}");
    let logged = Logged { tests: Some(binary), label: Some(name), ..Logged::new(root, &log) };
    logged.run(&compile::program(root, "testbed")?, &args)
}

/// Builds everything that the stories of CI run, so that their time is their own.
pub fn build(root: &Path) -> Result<()> {
    let stories = STORIES.iter().filter(|story| story.layer != Layer::Long);
    compile::tests(root, &stories.map(|story| story.target.1).collect::<Vec<_>>())?;
    programs(root, Profile::Dev).map(drop)
}

/// Builds the programs of the bed that the cache does not have, and gives the age of the youngest of all.
pub fn programs(root: &Path, profile: Profile) -> Result<Duration> {
    let testbed = profile.program(root, "testbed")?;
    let mut youngest = None;
    // One line for each tool: its name and the folder of its programs.
    for line in shell::output(root, &testbed, &["build"])?.lines() {
        let (name, folder) = line.split_once('\t').with_context(|| format!("no folder in {line:?}"))?;
        let built = std::fs::metadata(folder).and_then(|folder| folder.modified());
        let built = built.with_context(|| format!("cannot tell when {name} was built"))?;
        // One from the future, after a clock was set back, counts as new.
        let age = built.elapsed().unwrap_or_default();
        youngest = Some(youngest.map_or(age, |other: Duration| other.min(age)));
    }
    youngest.context("the test bed has no programs")
}
