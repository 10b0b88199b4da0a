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
const LANES: usize = 4;

/// A story and the bed that it needs.
struct Story {
    /// The package and the name of the test target.
    target: (&'static str, &'static str),
    /// What it needs.
    layer: Layer,
    /// How many nodes its bed has.
    nodes: &'static str,
    /// Whether its control plane is the oldest Kubernetes.
    oldest: bool,
    /// In how many beds it is told at once, each with its part of the tests.
    beds: usize,
}

const fn story(target: (&'static str, &'static str), layer: Layer, nodes: &'static str) -> Story {
    Story { target, layer, nodes, oldest: false, beds: 1 }
}

/// The longest of a layer come first, so that none is left over at the end.
const STORIES: &[Story] = &[
    story(("e2e", "render"), Layer::Api, "0"),
    story(("e2e", "replicas"), Layer::Api, "0"),
    story(("e2e", "admission"), Layer::Api, "0"),
    story(("e2e", "chart"), Layer::Api, "0"),
    story(("e2e", "crds"), Layer::Api, "0"),
    story(("e2e", "threats"), Layer::Api, "0"),
    story(("e2e", "pages"), Layer::Full, "3"),
    story(("e2e", "foreign"), Layer::Full, "3"),
    Story { beds: 3, ..story(("e2e", "faults"), Layer::Full, "3") },
    story(("e2e", "observe"), Layer::Full, "3"),
    story(("testbed", "podrunner_proof"), Layer::Full, "3"),
    story(("e2e", "install"), Layer::Full, "3"),
    Story { oldest: true, ..story(("e2e", "oldest"), Layer::Full, "3") },
    story(("e2e", "password"), Layer::Full, "3"),
    story(("testbed", "bed_proof"), Layer::Full, "5"),
    story(("e2e", "daytwo"), Layer::Long, "3"),
    story(("e2e", "canary"), Layer::Long, "3"),
    story(("e2e", "quiet"), Layer::Long, "3"),
    story(("e2e", "mishaps"), Layer::Long, "3"),
    story(("e2e", "rollback"), Layer::Long, "3"),
    story(("e2e", "nodes"), Layer::Long, "3"),
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
    programs(root, Profile::Dev, Tools::All)?;
    let parts: Vec<Part> = chosen.iter().flat_map(|story| story.parts()).collect();
    side_by_side(LANES, &parts, |part| part.run(root, &binaries))
}

/// What one bed tells of a story.
struct Part<'a> {
    story: &'a Story,
    /// Which of its beds this is, from 0.
    bed: usize,
}

impl Story {
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        (0..self.beds).map(|bed| Part { story: self, bed })
    }
}

impl Part<'_> {
    fn run(&self, root: &Path, binaries: &BTreeMap<String, PathBuf>) -> Result<()> {
        let Story { target: (package, name), layer, nodes, oldest, beds } = *self.story;
        let key = format!("{package}/{name}");
        let binary = binaries.get(&key).with_context(|| format!("cargo built no test {key}"))?;
        let binary = binary.to_str().context("a path that is not UTF-8")?;
        let mut args = vec!["run"];
        match layer {
            Layer::Api => args.extend(["--profile", "api"]),
            Layer::Full | Layer::Long => args.extend(["--nodes", nodes]),
        }
        if oldest {
            args.extend(["--kubernetes", "oldest"]);
        }
        args.extend(["--", binary, "--test-threads=1"]);
        let mut label = name.to_owned();
        let list;
        if beds > 1 {
            label = format!("{name}-{}", self.bed + 1);
            list = shell::output(root, binary, &["--list", "--format", "terse"])?;
            args.push("--exact");
            args.extend(share(&list, beds, self.bed)?);
        }
        let log = format!("e2e-{label}");
        let logged = Logged { tests: Some(binary), label: Some(&label), ..Logged::new(root, &log) };
        logged.run(&compile::program(root, "testbed")?, &args)
    }
}

/// The tests that one of so many beds runs, of those that a binary lists.
fn share(list: &str, beds: usize, bed: usize) -> Result<Vec<&str>> {
    let tests = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let share: Vec<&str> = tests.skip(bed).step_by(beds).collect();
    if share.is_empty() {
        // Without a name all tests would run.
        bail!("there is no test for bed {} of {beds}", bed + 1);
    }
    Ok(share)
}

/// Builds everything that the stories of CI run, so that their time is their own.
pub fn build(root: &Path) -> Result<()> {
    let stories = STORIES.iter().filter(|story| story.layer != Layer::Long);
    compile::tests(root, &stories.map(|story| story.target.1).collect::<Vec<_>>())?;
    programs(root, Profile::Dev, Tools::All).map(drop)
}

/// Which programs of the bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tools {
    /// Those of a bed of the newest Kubernetes.
    Usual,
    /// The oldest Kubernetes too.
    All,
}

/// Builds the programs of the bed that the cache does not have, and gives the age of the youngest of all.
pub fn programs(root: &Path, profile: Profile, tools: Tools) -> Result<Duration> {
    let testbed = profile.program(root, "testbed")?;
    let args: &[&str] = match tools {
        Tools::Usual => &["build"],
        Tools::All => &["build", "--all"],
    };
    let mut youngest = None;
    // One line for each tool: its name and the folder of its programs.
    for line in shell::output(root, &testbed, args)?.lines() {
        let (name, folder) = line.split_once('\t').with_context(|| format!("no folder in {line:?}"))?;
        let built = std::fs::metadata(folder).and_then(|folder| folder.modified());
        let built = built.with_context(|| format!("cannot tell when {name} was built"))?;
        // One from the future, after a clock was set back, counts as new.
        let age = built.elapsed().unwrap_or_default();
        youngest = Some(youngest.map_or(age, |other: Duration| other.min(age)));
    }
    youngest.context("the test bed has no programs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beds_share_all_tests_of_a_story_and_none_runs_twice() {
        let list = "a: test\nb::c: test\nd: test\n\n3 tests, 0 benchmarks\n";
        assert_eq!(share(list, 2, 0).unwrap(), ["a", "d"]);
        assert_eq!(share(list, 2, 1).unwrap(), ["b::c"]);
        assert_eq!(share(list, 4, 3).unwrap_err().to_string(), "there is no test for bed 4 of 4");
    }
}
