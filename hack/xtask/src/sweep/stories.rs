//! The stories that take too long for CI: all are told by hand, and CI tells the one that the commit chooses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::e2e;
use crate::logged::prove;
use crate::sweep::evidence::{self, Inputs, commit, read};

/// What every story depends on: the programs, how they are installed, and the bed. What the bench and the crash sweep have of
/// their own is no part of it.
const INPUTS: [&str; 25] = [
    "charts",
    "crates/cpi-operator/src",
    "crates/csi-operator/src",
    "crates/vdo-api/src",
    "crates/vdo-compat/src",
    "crates/vdo-core/src",
    "crates/vdo-fetch/src",
    "crates/vdo-matrix/src",
    "crates/vdo-peer/src",
    "crates/vdo-plan/src",
    "crates/vdo-runtime/src",
    "crates/vdoctl/src",
    "crates/vsphere-client/src",
    "e2e/src/crd.rs",
    "e2e/src/http.rs",
    "e2e/src/lib.rs",
    "e2e/src/operator.rs",
    "e2e/src/scan.rs",
    "e2e/src/stand.rs",
    "e2e/src/vcenter.rs",
    "e2e/src/web.rs",
    "hack/deploy",
    "hack/testbed/src",
    "hack/testbed/tools",
    "hack/xtask/src/drivers.rs",
];
const FILE: &str = "docs/evidence/stories.json";
/// Where the stories are.
const TESTS: &str = "e2e/tests";

/// Which stories, and how.
#[derive(Args)]
pub struct Stories {
    /// Only these.
    #[arg(long, value_name = "NAME")]
    story: Vec<String>,
    /// Writes which of their tests passed to `docs/evidence/stories.json`.
    #[arg(long)]
    evidence: bool,
}

/// Tells the stories that are wanted.
pub fn run(root: &Path, wanted: &Stories) -> Result<()> {
    let start = Instant::now();
    let all = e2e::long();
    for name in &wanted.story {
        ensure!(all.contains(&&**name), "no long story is called {name}; there are {}", all.join(", "));
    }
    let is_wanted = |name: &&&str| wanted.story.is_empty() || wanted.story.iter().any(|it| it == **name);
    let chosen: Vec<&str> = all.iter().filter(is_wanted).copied().collect();
    // As they are now: others may go on working while this runs.
    let inputs = Inputs::of_programs(root, &INPUTS)?;
    let files =
        chosen.iter().map(|name| Ok((*name, own(root, name)?))).collect::<Result<BTreeMap<_, _>>>()?;
    let mut evidence = begun(read(root, FILE).ok().as_ref(), inputs);
    let mut failed = Vec::new();
    for (name, outcome) in e2e::tell(root, &chosen)? {
        let own = files.get(&*name).context("a story that was not wanted")?;
        match outcome {
            Ok(tests) => add(&mut evidence, &name, own, &tests),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    println!("{} stories in {} s, {} failed", chosen.len(), start.elapsed().as_secs(), failed.len());
    if wanted.evidence {
        evidence::write(root, FILE, &evidence)?;
    }
    ensure!(failed.is_empty(), "{} stories failed:\n{}", failed.len(), failed.join("\n"));
    Ok(())
}

/// The files of a story: its own, and the chapters that it names.
fn own(root: &Path, story: &str) -> Result<Inputs> {
    let file = format!("{TESTS}/{story}.rs");
    let text = fs::read_to_string(root.join(&file)).with_context(|| file.clone())?;
    let mut files = vec![file];
    files.extend(chapters(&text).map(|chapter| format!("{TESTS}/{chapter}")));
    Inputs::of(root, &files.iter().map(String::as_str).collect::<Vec<_>>())
}

fn chapters(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"))
}

/// The evidence with the stories that were told before, if nothing changed since that all of them depend on.
fn begun(earlier: Option<&Value>, Inputs { trees, uncommitted }: Inputs) -> Value {
    let stories = match earlier {
        Some(earlier) if evidence::outdated(earlier, &trees).is_empty() => earlier["stories"].clone(),
        Some(_) | None => json!({}),
    };
    json!({"trees": trees, "uncommitted": uncommitted, "stories": stories})
}

/// Adds a story whose tests passed.
fn add(evidence: &mut Value, story: &str, own: &Inputs, tests: &[String]) {
    evidence["stories"][story] = json!({"trees": own.trees, "uncommitted": own.uncommitted, "tests": tests});
}

/// Leaves the tests of each story that was told with these very sources where the check of the claims looks, and names the
/// others: a claim without a proof fails there. Fails if something was told of other sources.
pub fn check(root: &Path) -> Result<()> {
    let evidence = read(root, FILE)?;
    let now = e2e::long().into_iter().map(|name| Ok((name, own(root, name)?.trees)));
    let now = now.collect::<Result<BTreeMap<_, _>>>()?;
    let outdated = outdated(&evidence, &Inputs::of_programs(root, &INPUTS)?.trees, &now);
    evidence::judge(FILE, &outdated, "cargo xtask sweep stories --evidence")?;
    for name in now.keys() {
        let tests = tests(&evidence["stories"][name]);
        if tests.is_empty() {
            println!("{name} was not told with these sources");
        }
        let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
        prove(root, &format!("evidence-{name}"), name, &tests)?;
    }
    Ok(())
}

/// What of the evidence is of other trees than these.
fn outdated(
    evidence: &Value,
    trees: &Map<String, Value>,
    stories: &BTreeMap<&str, Map<String, Value>>,
) -> Vec<String> {
    let mut outdated = evidence::outdated(evidence, trees);
    for (name, story) in evidence["stories"].as_object().into_iter().flatten() {
        let why = match stories.get(&**name) {
            Some(own) => evidence::outdated(story, own),
            None => vec!["it is no long story".to_owned()],
        };
        outdated.extend(why.into_iter().map(|why| format!("{name}: {why}")));
    }
    outdated
}

fn tests(story: &Value) -> Vec<String> {
    serde_json::from_value(story["tests"].clone()).unwrap_or_default()
}

/// The long story that CI tells with this commit: one of those that were told.
pub fn again(root: &Path) -> Result<&'static str> {
    let (commit, evidence) = (commit(root)?, read(root, FILE)?);
    let is_told = |name: &&str| !tests(&evidence["stories"][name]).is_empty();
    let told: Vec<&'static str> = e2e::told_again().into_iter().filter(is_told).collect();
    evidence::chosen(told, &commit, 1)?.pop().context("no long story was told")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees(id: &str) -> Map<String, Value> {
        Map::from_iter([("a".to_owned(), json!(id))])
    }

    fn inputs(id: &str) -> Inputs {
        Inputs { trees: trees(id), uncommitted: Vec::new() }
    }

    fn told(earlier: Option<&Value>, all: &str, story: &str, own: &str) -> Value {
        let mut evidence = begun(earlier, inputs(all));
        add(&mut evidence, story, &inputs(own), &["it_works".to_owned()]);
        evidence
    }

    fn both(nodes: &str) -> BTreeMap<&'static str, Map<String, Value>> {
        BTreeMap::from([("nodes", trees(nodes)), ("quiet", trees("q"))])
    }

    #[test]
    fn every_input_is_there_and_every_story_has_its_files() {
        let root = crate::shell::root().unwrap();
        assert_eq!(Inputs::of_programs(&root, &INPUTS).unwrap().trees.len(), INPUTS.len());
        for name in e2e::long() {
            own(&root, name).unwrap();
        }
        let text = "#[path = \"daytwo/house.rs\"]\nmod house;\n";
        assert_eq!(chapters(text).collect::<Vec<_>>(), ["daytwo/house.rs"]);
    }

    #[test]
    fn stories_that_were_told_with_the_same_sources_stay_and_others_are_told_anew() {
        let first = told(None, "1", "nodes", "n");
        assert_eq!(outdated(&first, &trees("1"), &both("n")), [""; 0]);
        assert!(tests(&first["stories"]["quiet"]).is_empty());
        let second = told(Some(&first), "1", "quiet", "q");
        assert_eq!(outdated(&second, &trees("1"), &both("n")), [""; 0]);
        assert!(["nodes", "quiet"].iter().all(|name| !tests(&second["stories"][name]).is_empty()));
        // Its own files make it another story, and what all depend on makes all of them others.
        assert_eq!(outdated(&second, &trees("1"), &both("m")), ["nodes: a has changed since"]);
        assert_eq!(outdated(&second, &trees("2"), &both("n")), ["a has changed since"]);
        let third = told(Some(&second), "2", "quiet", "q");
        assert!(tests(&third["stories"]["nodes"]).is_empty());
    }

    #[test]
    fn what_was_told_of_uncommitted_sources_or_is_no_story_any_more_does_not_count() {
        let mut evidence = told(None, "1", "quiet", "q");
        let dirty = Inputs { uncommitted: vec!["M a".to_owned()], ..inputs("n") };
        add(&mut evidence, "nodes", &dirty, &["it_works".to_owned()]);
        add(&mut evidence, "gone", &inputs("g"), &["it_works".to_owned()]);
        let why = ["gone: it is no long story", "nodes: it was made of sources that were not committed"];
        assert_eq!(outdated(&evidence, &trees("1"), &both("n")), why);
    }
}
