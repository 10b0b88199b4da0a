//! The sweep of mutants: cargo-mutants plants every small fault that it knows in what decides about versions, one at a time,
//! and a test of the crate has to fail.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shell;
use crate::sweep::AGAIN;
use crate::sweep::evidence::{commit, read};

mod evidence;

pub use self::evidence::check;

const PACKAGE: &str = "vdo-compat";
/// Ranges, selection, the advice that is made of them, and the order of versions.
const FILES: [&str; 6] = [
    "crates/vdo-compat/src/answer.rs",
    "crates/vdo-compat/src/cluster.rs",
    "crates/vdo-compat/src/range.rs",
    "crates/vdo-compat/src/select.rs",
    "crates/vdo-compat/src/upgrade.rs",
    "crates/vdo-compat/src/version.rs",
];
/// Where cargo-mutants leaves what it found.
const FOLDER: &str = "target/mutants";
/// Seconds that the tests of one mutant may take. They take one; without an end they have noticed the fault, too.
const LONGEST: u64 = 60;
/// The same few random cases each time: a mutant that is caught is caught again, and not by the luck of one run. Only
/// whether they fail is asked.
const CASES: [(&str, &str); 4] = [
    ("PROPTEST_CASES", "64"),
    ("PROPTEST_RNG_SEED", "1"),
    ("PROPTEST_MAX_SHRINK_ITERS", "0"),
    ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true"),
];

/// The test that a whole sweep stands for.
pub const WHOLE: &str = "no_mutant_of_selection_ranges_and_version_order_is_left_alive";
/// The test that the mutants which the commit chooses stand for.
pub const SMALL: &str = "three_mutants_that_the_commit_chooses_are_caught_again";

/// Which mutants, and how.
#[derive(Args)]
pub struct Mutants {
    /// Only mutants with a name that this regular expression matches, such as `range.rs` or `in misfit$`; several may be
    /// given.
    #[arg(long, value_name = "REGEX")]
    matching: Vec<String>,
    /// Writes what came of it to `docs/evidence/mutants.json`.
    #[arg(long, conflicts_with = "matching")]
    evidence: bool,
}

/// What came of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// A test failed.
    Caught,
    /// The tests came to no end.
    Timeout,
    /// It does not compile.
    Unviable,
    /// All tests passed.
    Survived,
}

/// What came of each mutant, by its name: `FILE:LINE:COLUMN: WHAT`.
type Outcomes = BTreeMap<String, Outcome>;

/// Plants the mutants that are wanted.
pub fn run(root: &Path, wanted: &Mutants) -> Result<()> {
    let start = Instant::now();
    // As they are now: others may go on working while this runs.
    let (inputs, sources) = (evidence::inputs(root)?, sources(root)?);
    let outcomes = plant(root, &wanted.matching)?;
    let seconds = start.elapsed().as_secs();
    print(&outcomes, seconds);
    let survivors = evidence::survivors(&sources, &outcomes)?;
    if wanted.evidence {
        evidence::write(root, inputs, &outcomes, &survivors, seconds)?;
    }
    let mut faults = evidence::compare(&survivors, &evidence::reasons(root)?);
    if !wanted.matching.is_empty() {
        // A reason may be for a mutant that was not planted.
        faults.stale.clear();
    }
    let faults = [faults.unexplained, faults.stale].concat();
    ensure!(faults.is_empty(), "mutants are alive, or said to be:\n  {}", faults.join("\n  "));
    Ok(())
}

/// The files in which mutants are planted.
fn sources(root: &Path) -> Result<BTreeMap<&'static str, String>> {
    let read = |file| Ok((file, fs::read_to_string(root.join(file)).context(file)?));
    FILES.into_iter().map(read).collect()
}

/// Plants some of those again that were caught, chosen by the commit.
pub fn again(root: &Path) -> Result<()> {
    let commit = commit(root)?;
    let names = evidence::chosen(&read(root, evidence::FILE)?, &commit, AGAIN)?;
    println!("of the mutants again, as {commit} chooses:\n  {}", names.join("\n  "));
    let exactly: Vec<String> = names.iter().map(|name| format!("^{}$", literal(name))).collect();
    let outcomes = plant(root, &exactly)?;
    let missed: Vec<&str> = names
        .iter()
        .filter(|name| outcomes.get(*name) != Some(&Outcome::Caught))
        .map(String::as_str)
        .collect();
    ensure!(missed.is_empty(), "no longer caught, or no longer there:\n  {}", missed.join("\n  "));
    Ok(())
}

/// A regular expression of this text and nothing else.
fn literal(text: &str) -> String {
    const SPECIAL: &str = r"\.+*?()|[]{}^$#&-~";
    text.chars().fold(String::new(), |mut escaped, char| {
        if SPECIAL.contains(char) {
            escaped.push('\\');
        }
        escaped.push(char);
        escaped
    })
}

/// What cargo-mutants is asked about.
fn subject() -> Vec<&'static str> {
    let mut words = vec!["mutants", "--no-config", "--colors", "never", "--package", PACKAGE];
    words.extend(FILES.iter().flat_map(|file| ["--file", file]));
    words
}

/// The names of all mutants that there are.
fn list(root: &Path) -> Result<Vec<String>> {
    let words = [&subject()[..], &["--list"]].concat();
    Ok(shell::output(root, "cargo", &words)?.lines().map(str::to_owned).collect())
}

/// The tool and its version.
fn tool(root: &Path) -> Result<String> {
    let said = shell::output(root, "cargo", &["mutants", "--version"])
        .context("cargo-mutants does not run; `hack/prerequisites` says how it is installed")?;
    Ok(said.trim().to_owned())
}

/// Plants the mutants with these names, or all, after the tests have passed without any.
fn plant(root: &Path, matching: &[String]) -> Result<Outcomes> {
    println!("{}", tool(root)?);
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut command = Command::new("cargo");
    command.args(subject()).args(["--test-package", PACKAGE, "--timeout", &LONGEST.to_string()]);
    command.args(matching.iter().flat_map(|regex| ["--re", regex]));
    command.arg("--output").arg(&folder).args(["--", "--lib", "--tests"]);
    // They are compiled one after the other, each from what the last one left.
    command.env("CARGO_TARGET_DIR", folder.join("build"));
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "1").envs(CASES);
    let status = command
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .context("failed to start cargo; is it installed?")?;
    // It has codes of its own for mutants that were missed and for tests without an end: what came of each is in its file.
    let found = folder.join("mutants.out/outcomes.json");
    match status.code() {
        Some(0 | 2 | 3) => outcomes(&fs::read(&found).with_context(|| found.display().to_string())?),
        _ => bail!("`cargo mutants` failed: {status}; see {FOLDER}/mutants.out/log"),
    }
}

/// What cargo-mutants says in its file of each mutant.
fn outcomes(file: &[u8]) -> Result<Outcomes> {
    #[derive(Deserialize)]
    struct File {
        outcomes: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        scenario: Value,
        summary: String,
    }
    let File { outcomes } = serde_json::from_slice(file).context("what cargo-mutants left")?;
    let mut found = Outcomes::new();
    for Row { scenario, summary } in outcomes {
        // The run without a mutant has no name.
        let Some(name) = scenario["Mutant"]["name"].as_str() else { continue };
        let outcome = match summary.as_str() {
            "CaughtMutant" => Outcome::Caught,
            "Timeout" => Outcome::Timeout,
            "Unviable" => Outcome::Unviable,
            "MissedMutant" => Outcome::Survived,
            other => bail!("{name}: cargo-mutants says {other}"),
        };
        found.insert(name.to_owned(), outcome);
    }
    ensure!(!found.is_empty(), "no mutant was planted");
    Ok(found)
}

/// How many of the mutants ended so.
fn count(outcomes: &Outcomes, wanted: Outcome) -> usize {
    outcomes.values().filter(|outcome| **outcome == wanted).count()
}

fn print(outcomes: &Outcomes, seconds: u64) {
    println!(
        "{} mutants: {} caught, {} without an end, {} do not compile, {} survived, in {seconds} s",
        outcomes.len(),
        count(outcomes, Outcome::Caught),
        count(outcomes, Outcome::Timeout),
        count(outcomes, Outcome::Unviable),
        count(outcomes, Outcome::Survived),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(rows: &[(&str, &str)]) -> Vec<u8> {
        let baseline = json!({"scenario": "Baseline", "summary": "Success"});
        let row = |(name, summary): &(&str, &str)| json!({"scenario": {"Mutant": {"name": name}}, "summary": summary});
        let rows: Vec<_> = std::iter::once(baseline).chain(rows.iter().map(row)).collect();
        serde_json::to_vec(&json!({"outcomes": rows, "total_mutants": rows.len()})).unwrap()
    }

    #[test]
    fn each_mutant_has_the_outcome_that_the_tool_gives_it() {
        let file = said(&[("a", "CaughtMutant"), ("b", "MissedMutant"), ("c", "Timeout"), ("d", "Unviable")]);
        let found: Vec<_> = outcomes(&file).unwrap().into_values().collect();
        assert_eq!(found, [Outcome::Caught, Outcome::Survived, Outcome::Timeout, Outcome::Unviable]);
    }

    #[test]
    fn a_run_without_mutants_and_an_outcome_that_nobody_knows_are_failures() {
        assert!(outcomes(&said(&[])).is_err());
        assert!(outcomes(&said(&[("a", "Failure")])).is_err());
    }

    #[test]
    fn a_name_is_searched_for_as_it_is() {
        assert_eq!(
            literal("a.rs:1:2: replace && with || in <impl X for Y>::z -> (u32)"),
            r"a\.rs:1:2: replace \&\& with \|\| in <impl X for Y>::z \-> \(u32\)"
        );
    }

    #[test]
    fn the_version_that_the_evidence_names_is_the_one_that_is_installed() {
        let root = shell::root().unwrap();
        let evidence = read(&root, evidence::FILE).unwrap();
        let version = evidence["tool"].as_str().and_then(|tool| tool.strip_prefix("cargo-mutants ")).unwrap();
        let prerequisites = fs::read_to_string(root.join("hack/prerequisites")).unwrap();
        let line = format!("cargo install cargo-mutants --quiet --version {version} --locked");
        assert!(prerequisites.contains(&line), "{line}");
    }
}
