//! End-to-end tests: each story is a test binary that runs inside a bed of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::compile::{self, Profile};
use crate::drivers::{CPI_1_31, CPI_1_32, Driver, image_table};
use crate::lanes::side_by_side;
use crate::logged::{self, Logged};
use crate::sweep::stories;
use crate::{claims, shell};

/// What a story needs of a bed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An API server only.
    Api,
    /// Everything, with the real drivers.
    Full,
    /// As `Full`, and too long for CI to tell them all: `sweep stories` does, and CI tells one.
    Long,
    /// As `Long`, of more than five minutes, or with drivers of its own: CI never tells it.
    Longest,
}

impl Layer {
    /// Whether CI does not tell it each time.
    fn is_long(self) -> bool {
        matches!(self, Layer::Long | Layer::Longest)
    }
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
    /// Drivers that its beds have besides their own.
    drivers: &'static [Driver],
}

const fn story(target: (&'static str, &'static str), layer: Layer, nodes: &'static str) -> Story {
    Story { target, layer, nodes, oldest: false, beds: 1, drivers: &[] }
}

/// The long ones and the longest of a layer come first, so that none is left over at the end.
const STORIES: &[Story] = &[
    story(("e2e", "quiet"), Layer::Longest, "3"),
    story(("e2e", "mishaps"), Layer::Longest, "3"),
    story(("e2e", "canary"), Layer::Longest, "3"),
    story(("e2e", "rollback"), Layer::Longest, "3"),
    Story { drivers: &[CPI_1_31, CPI_1_32], ..story(("e2e", "credentials"), Layer::Longest, "3") },
    story(("e2e", "daytwo"), Layer::Long, "3"),
    story(("e2e", "nodes"), Layer::Long, "3"),
    story(("e2e", "render"), Layer::Api, "0"),
    story(("e2e", "replicas"), Layer::Api, "0"),
    story(("e2e", "admission"), Layer::Api, "0"),
    story(("e2e", "chart"), Layer::Api, "0"),
    story(("e2e", "crds"), Layer::Api, "0"),
    story(("e2e", "matrix"), Layer::Api, "0"),
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
];

/// The names of the stories that CI does not tell each time.
pub fn long() -> Vec<&'static str> {
    names(Layer::is_long)
}

/// The names of those of which CI tells one.
pub fn told_again() -> Vec<&'static str> {
    names(|layer| layer == Layer::Long)
}

fn names(wanted: impl Fn(Layer) -> bool) -> Vec<&'static str> {
    STORIES.iter().filter(|story| wanted(story.layer)).map(|story| story.target.1).collect()
}

/// Runs all stories that need no more than an API server.
pub fn run_api(root: &Path) -> Result<()> {
    run_stories(root, |story| story.layer == Layer::Api)
}

/// Runs what CI tells on whole beds: all stories but the long ones, and of those the one that the commit chooses.
pub fn run_full(root: &Path) -> Result<()> {
    let again = stories::again(root)?;
    println!("of the long stories again, as the commit chooses: {again}");
    run_stories(root, |story| story.layer == Layer::Full || story.target.1 == again)
}

/// Runs all stories, or the one with this name.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    run_stories(root, |story| only.is_none_or(|name| story.target.1 == name))
}

/// What came of a story: its tests, all of which passed, or why not.
pub type Told = BTreeMap<String, Result<Vec<String>>>;

/// Runs stories with these names, all of them, also after a failure.
pub fn tell(root: &Path, wanted: &[&str]) -> Result<Told> {
    let (parts, binaries) = prepare(root, |story| wanted.contains(&story.target.1))?;
    let told = Mutex::new(Told::new());
    side_by_side(LANES, &parts, |part| {
        let (_, name) = part.story.target;
        let outcome = part.run(root, &binaries).and_then(|()| passed(root, part.story, &binaries));
        told.lock().map_err(|_| anyhow!("a lane panicked"))?.insert(name.to_owned(), outcome);
        Ok(())
    })?;
    told.into_inner().map_err(|_| anyhow!("a lane panicked"))
}

/// The tests of a story that was told. Fails if one of them did not run and pass.
fn passed(root: &Path, story: &Story, binaries: &BTreeMap<String, PathBuf>) -> Result<Vec<String>> {
    let name = story.target.1;
    let binary = story.binary(binaries)?;
    let list = shell::output(root, binary, &["--list", "--format", "terse"])?;
    let passed = claims::passed(&root.join(logged::FOLDER))?;
    let tests: Vec<String> = tests_of(&list).map(str::to_owned).collect();
    for test in &tests {
        ensure!(passed.contains(&format!("{name}::{test}")), "{name}::{test} did not run and pass");
    }
    Ok(tests)
}

fn run_stories(root: &Path, wanted: impl Fn(&Story) -> bool) -> Result<()> {
    let (parts, binaries) = prepare(root, wanted)?;
    side_by_side(LANES, &parts, |part| part.run(root, &binaries))
}

/// Builds what these stories run, and gives what each bed tells: the longest first.
fn prepare(
    root: &Path,
    wanted: impl Fn(&Story) -> bool,
) -> Result<(Vec<Part<'static>>, BTreeMap<String, PathBuf>)> {
    let chosen: Vec<&'static Story> = STORIES.iter().filter(|story| wanted(story)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = STORIES.iter().map(|story| story.target.1).collect();
        bail!("there is no such story; there are {}", names.join(", "));
    }
    let names: Vec<&str> = chosen.iter().map(|story| story.target.1).collect();
    let binaries = compile::tests(root, &names)?;
    programs(root, Profile::Dev, Tools::All)?;
    chosen.iter().flat_map(|story| story.drivers).try_for_each(|driver| driver.build(root))?;
    Ok((chosen.into_iter().flat_map(Story::parts).collect(), binaries))
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

    fn binary<'a>(&self, binaries: &'a BTreeMap<String, PathBuf>) -> Result<&'a str> {
        let (package, name) = self.target;
        let key = format!("{package}/{name}");
        let binary = binaries.get(&key).with_context(|| format!("cargo built no test {key}"))?;
        binary.to_str().context("a path that is not UTF-8")
    }
}

impl Part<'_> {
    fn run(&self, root: &Path, binaries: &BTreeMap<String, PathBuf>) -> Result<()> {
        let Story { target: (_, name), layer, nodes, oldest, beds, drivers } = *self.story;
        let binary = self.story.binary(binaries)?;
        let mut args = vec!["run"];
        match layer {
            Layer::Api => args.extend(["--profile", "api"]),
            Layer::Full | Layer::Long | Layer::Longest => args.extend(["--nodes", nodes]),
        }
        if oldest {
            args.extend(["--kubernetes", "oldest"]);
        }
        let table;
        if !drivers.is_empty() {
            table = image_table(root, name, drivers)?;
            args.extend(["--images", &table]);
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

/// The tests of a binary, as it lists them.
fn tests_of(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.strip_suffix(": test"))
}

/// The tests that one of so many beds runs, of those that a binary lists.
fn share(list: &str, beds: usize, bed: usize) -> Result<Vec<&str>> {
    let share: Vec<&str> = tests_of(list).skip(bed).step_by(beds).collect();
    if share.is_empty() {
        // Without a name all tests would run.
        bail!("there is no test for bed {} of {beds}", bed + 1);
    }
    Ok(share)
}

/// Builds everything that the stories of CI run, so that their time is their own.
pub fn build(root: &Path) -> Result<()> {
    let again = stories::again(root)?;
    let stories = STORIES.iter().filter(|story| !story.layer.is_long() || story.target.1 == again);
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
