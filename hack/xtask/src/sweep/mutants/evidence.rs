//! `docs/evidence/mutants.json`: what came of each mutant, and of which sources; `docs/evidence/mutants.toml`: why some of
//! them cannot be found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Outcome, Outcomes, count};
use crate::sweep::evidence::{self, Inputs, read};

/// What the result depends on, beside the tool.
const INPUTS: [&str; 2] = ["crates/vdo-compat/src", "crates/vdo-compat/tests"];
pub const FILE: &str = "docs/evidence/mutants.json";
/// The mutants with which the program does the same, each with the reason.
const REASONS: &str = "docs/evidence/mutants.toml";
/// How many names a message repeats.
const SHOWN: usize = 5;

/// A mutant that no test has noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survivor {
    /// Without the place, which every edit of the file moves: `FILE: WHAT`.
    mutant: String,
    /// The line of code where it is planted.
    code: String,
}

/// Why a mutant cannot be noticed.
#[derive(Clone, Debug, Deserialize)]
pub struct Reason {
    #[serde(flatten)]
    survivor: Survivor,
    /// Why the program does the same.
    reason: String,
}

/// What the result depends on, as it is now.
pub fn inputs(root: &Path) -> Result<Inputs> {
    Inputs::of(root, &INPUTS)
}

/// The mutants that nothing has noticed, in these files.
pub fn survivors(files: &BTreeMap<&str, String>, outcomes: &Outcomes) -> Result<Vec<Survivor>> {
    let alive = outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::Survived);
    let survivor = |name: &String| {
        let (file, line, what) = parts(name)?;
        let code = files.get(file)?.lines().nth(line.checked_sub(1)?)?;
        Some(Survivor { mutant: format!("{file}: {what}"), code: code.trim().to_owned() })
    };
    alive.map(|(name, _)| survivor(name).with_context(|| format!("no line of code for {name}"))).collect()
}

/// File, line and what is done, of `FILE:LINE:COLUMN: WHAT`.
fn parts(name: &str) -> Option<(&str, usize, &str)> {
    let (place, what) = name.split_once(": ")?;
    let mut place = place.split(':');
    let (file, line) = (place.next()?, place.next()?.parse().ok()?);
    place.next()?;
    Some((file, line, what))
}

/// The reasons that are written down.
pub fn reasons(root: &Path) -> Result<Vec<Reason>> {
    listed(&fs::read_to_string(root.join(REASONS)).context(REASONS)?).context(REASONS)
}

fn listed(text: &str) -> Result<Vec<Reason>> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        equivalent: Vec<Reason>,
    }
    let File { equivalent } = toml::from_str(text)?;
    for Reason { survivor, reason } in &equivalent {
        ensure!(!reason.trim().is_empty(), "no reason is given for {}", survivor.mutant);
    }
    Ok(equivalent)
}

/// What is wrong with the reasons that are written down.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Survivors without a reason.
    pub unexplained: Vec<String>,
    /// Reasons without a survivor.
    pub stale: Vec<String>,
}

/// Each survivor needs a reason of its own.
pub fn compare(survivors: &[Survivor], reasons: &[Reason]) -> Faults {
    let mut left: Vec<&Reason> = reasons.iter().collect();
    let mut faults = Faults::default();
    for survivor in survivors {
        match left.iter().position(|reason| reason.survivor == *survivor) {
            Some(at) => {
                left.swap_remove(at);
            }
            None => {
                let Survivor { mutant, code } = survivor;
                faults.unexplained.push(format!("no test notices {mutant}, in `{code}`"));
            }
        }
    }
    let stale = left.iter().map(|Reason { survivor: Survivor { mutant, code }, .. }| {
        format!("{REASONS} explains what did not survive: {mutant}, in `{code}`")
    });
    faults.stale.extend(stale);
    faults
}

/// Writes down what came of a whole sweep.
pub fn write(
    root: &Path,
    Inputs { trees, uncommitted }: Inputs,
    outcomes: &Outcomes,
    survivors: &[Survivor],
    seconds: u64,
) -> Result<()> {
    let evidence = json!({
        "trees": trees,
        "uncommitted": uncommitted,
        "tool": super::tool(root)?,
        "seconds": seconds,
        "counts": {
            "mutants": outcomes.len(),
            "caught": count(outcomes, Outcome::Caught),
            "timeouts": count(outcomes, Outcome::Timeout),
            "unviable": count(outcomes, Outcome::Unviable),
            "survivors": count(outcomes, Outcome::Survived),
        },
        "outcomes": outcomes,
        "survivors": survivors,
    });
    evidence::write(root, FILE, &evidence)
}

/// Fails unless every mutant of these very sources was planted, and each was noticed or cannot be.
pub fn check(root: &Path) -> Result<()> {
    let now = Now {
        trees: inputs(root)?.trees,
        tool: super::tool(root)?,
        mutants: super::list(root)?,
        reasons: reasons(root)?,
    };
    evidence::judge(FILE, &missing(&read(root, FILE)?, &now), "cargo xtask sweep mutants --evidence")
}

/// What the evidence has to be of.
struct Now {
    trees: Map<String, Value>,
    tool: String,
    mutants: Vec<String>,
    reasons: Vec<Reason>,
}

/// What keeps the evidence from being one of a whole sweep that found nothing.
fn missing(evidence: &Value, now: &Now) -> Vec<String> {
    let mut missing = evidence::outdated(evidence, &now.trees);
    if evidence["tool"] != now.tool.as_str() {
        missing.push(format!("it was made with {}, and {} is installed", evidence["tool"], now.tool));
    }
    let (outcomes, survivors) = match told(evidence) {
        Ok(told) => told,
        Err(fault) => {
            missing.push(format!("it cannot be read: {fault}"));
            return missing;
        }
    };
    let others: Vec<&str> =
        now.mutants.iter().map(String::as_str).filter(|name| !outcomes.contains_key(*name)).collect();
    if !others.is_empty() {
        let shown = others.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        missing.push(format!("{} mutants were not planted, such as {shown}", others.len()));
    }
    if survivors.len() != count(&outcomes, Outcome::Survived) {
        missing.push("it does not name every mutant that survived".to_owned());
    }
    let Faults { unexplained, stale } = compare(&survivors, &now.reasons);
    [missing, unexplained, stale].concat()
}

fn told(evidence: &Value) -> Result<(Outcomes, Vec<Survivor>), serde_json::Error> {
    let outcomes = serde_json::from_value(evidence["outcomes"].clone())?;
    Ok((outcomes, serde_json::from_value(evidence["survivors"].clone())?))
}

/// So many mutants of those that were caught, chosen by the commit.
pub fn chosen(evidence: &Value, commit: &str, count: usize) -> Result<Vec<String>> {
    let (outcomes, _) = told(evidence).context("the evidence has no outcomes")?;
    let caught = outcomes.into_iter().filter(|(_, outcome)| *outcome == Outcome::Caught);
    evidence::chosen(caught.map(|(name, _)| name).collect(), commit, count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell;

    const SURVIVOR: &str = "a.rs:7:9: replace < with <= in b";

    fn now(reasons: &str) -> Now {
        Now {
            trees: INPUTS.iter().map(|input| ((*input).to_owned(), json!("1234"))).collect(),
            tool: "cargo-mutants 1.2.3".to_owned(),
            mutants: vec!["a.rs:1:1: replace a with b".to_owned(), SURVIVOR.to_owned()],
            reasons: listed(reasons).unwrap(),
        }
    }

    const EXPLAINED: &str = "[[equivalent]]\nmutant = \"a.rs: replace < with <= in b\"\n\
        code = \"x < y\"\nreason = \"x is never y\"\n";

    fn whole() -> Value {
        json!({
            "trees": now(EXPLAINED).trees,
            "uncommitted": [],
            "tool": "cargo-mutants 1.2.3",
            "outcomes": {"a.rs:1:1: replace a with b": "caught", SURVIVOR: "survived"},
            "survivors": [{"mutant": "a.rs: replace < with <= in b", "code": "x < y"}],
        })
    }

    #[test]
    fn the_evidence_of_every_mutant_is_enough_if_each_survivor_is_explained() {
        assert_eq!(missing(&whole(), &now(EXPLAINED)), Vec::<String>::new());
    }

    #[test]
    fn evidence_of_other_sources_of_a_part_or_by_another_tool_is_not_enough() {
        for (place, value) in [
            ("/trees/crates~1vdo-compat~1tests", json!("5678")),
            ("/uncommitted", json!(["M crates/vdo-compat/src/range.rs"])),
            ("/tool", json!("cargo-mutants 1.2.4")),
            ("/outcomes", json!({SURVIVOR: "survived"})),
            ("/outcomes/a.rs:1:1: replace a with b", json!("survived")),
            ("/survivors/0/code", json!("x < z")),
            ("/survivors", json!([])),
            ("/outcomes", json!({SURVIVOR: "forgotten"})),
            ("/survivors", json!("none")),
        ] {
            let mut evidence = whole();
            *evidence.pointer_mut(place).unwrap() = value;
            assert!(!missing(&evidence, &now(EXPLAINED)).is_empty(), "{place}");
        }
    }

    #[test]
    fn a_survivor_without_a_reason_and_a_reason_without_a_survivor_are_told() {
        let with = |text: &str| missing(&whole(), &now(text));
        let unexplained = "no test notices a.rs: replace < with <= in b, in `x < y`";
        assert_eq!(with(""), [unexplained]);
        assert_eq!(
            with(&EXPLAINED.repeat(2)),
            [format!("{REASONS} explains what did not survive: a.rs: replace < with <= in b, in `x < y`")]
        );
        assert!(listed(&EXPLAINED.replace("x is never y", " ")).is_err());
    }

    #[test]
    fn a_survivor_is_known_by_its_line_wherever_it_stands() {
        let found = |code: &str| {
            let files = BTreeMap::from([("a.rs", code.to_owned())]);
            let outcomes = [(SURVIVOR.to_owned(), Outcome::Survived), ("c".to_owned(), Outcome::Caught)];
            survivors(&files, &outcomes.into())
        };
        let known = found("\n\n\n\n\n\n  x < y\n").unwrap();
        assert_eq!(compare(&known, &now(EXPLAINED).reasons), Faults::default());
        assert!(found("x < y\n").is_err());
        assert_eq!(parts("a.rs: replace < with <= in b"), None);
    }

    #[test]
    fn only_what_was_caught_is_chosen_to_be_caught_again() {
        assert_eq!(chosen(&whole(), "b1074de9", 1).unwrap(), ["a.rs:1:1: replace a with b"]);
        assert!(chosen(&whole(), "b1074de9", 2).is_err());
    }

    #[test]
    fn each_reason_that_is_written_down_is_for_a_mutant_that_survived() {
        let root = shell::root().unwrap();
        let (_, survivors) = told(&read(&root, FILE).unwrap()).unwrap();
        assert_eq!(compare(&survivors, &reasons(&root).unwrap()), Faults::default());
    }
}
