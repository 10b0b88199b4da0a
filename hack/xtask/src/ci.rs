//! The stages of CI, cheapest first. Stops at the first failure; prints what each stage took, and fails when that
//! is too much.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::compile::Profile;
use crate::logged::{self, Logged};
use crate::{bench, claims, demo, e2e, fuzz, sweep, tidy, unit};

/// Minutes that all stages may take together when no program of the bed had to be built, and when one had to.
const WARM_LIMIT: u64 = 25;
const COLD_LIMIT: u64 = 75;
/// Minutes that the stories may take, always: what they run is built in the stage before.
const STORIES_LIMIT: u64 = 12;
const STORIES: &str = "e2e";
/// How many stages a run that took too long names.
const SHOWN: usize = 3;

/// One stage: a name for the table, and what it does.
struct Stage {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage {
        name: "fetch",
        run: |root| {
            cargo(root, "fetch", "fetch --locked")?;
            cargo(root, "fetch-fuzz", "fetch --locked --manifest-path fuzz/Cargo.toml")
        },
    },
    Stage {
        name: "format",
        run: |root| {
            cargo(root, "format", "fmt --all --check")?;
            cargo(root, "format-fuzz", "fmt --manifest-path fuzz/Cargo.toml --check")
        },
    },
    Stage { name: "tidy", run: tidy::run },
    Stage {
        name: "evidence",
        run: |root| {
            bench::check(root)?;
            sweep::evidence_stage(root)
        },
    },
    Stage {
        name: "deny",
        run: |root| cargo(root, "deny", "deny --all-features check licenses sources bans"),
    },
    Stage {
        name: "lint",
        run: |root| {
            cargo(root, "lint", "clippy --workspace --all-targets --quiet -- -D warnings")?;
            // To cargo, "all targets" are not those that `cargo test` leaves out: the stories.
            cargo(root, "lint-stories", "clippy --package e2e --test * --quiet -- -D warnings")
        },
    },
    // Stories are left out by the manifests of their packages; the model has a profile of its own.
    Stage {
        name: "unit",
        run: |root| {
            cargo(root, "unit-xtask", "test --package xtask --no-fail-fast")?;
            unit::stage(root)
        },
    },
    Stage {
        name: "model",
        run: |root| {
            cargo(root, "model", "test --profile model --package order-model --no-fail-fast -- --nocapture")
        },
    },
    Stage { name: "mutants", run: sweep::mutants_stage },
    Stage { name: "fuzz", run: fuzz::stage },
    Stage { name: "bed", run: e2e::build },
    Stage { name: "api", run: e2e::run_api },
    Stage { name: STORIES, run: e2e::run_full },
    Stage { name: "sweep", run: sweep::crash_stage },
    Stage { name: "demo", run: demo::stage },
];

/// Runs cargo with these words.
fn cargo(root: &Path, log: &str, words: &str) -> Result<()> {
    let words: Vec<_> = words.split_whitespace().collect();
    Logged::new(root, log).run("cargo", &words)
}

/// Runs the stages, or only the one named.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    if only.is_some_and(|name| STAGES.iter().all(|stage| stage.name != name)) {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!("there is no such stage; there are {}", names.join(", "));
    }
    let logs = root.join(logged::FOLDER);
    if only.is_none() && logs.exists() {
        fs::remove_dir_all(&logs).context("cannot clear the logs of the last run")?;
    }
    let begin = Instant::now();
    let mut taken: Vec<Taken> = Vec::new();
    for stage in STAGES.iter().filter(|stage| only.is_none_or(|name| name == stage.name)) {
        println!("== {} ==", stage.name);
        let start = Instant::now();
        let outcome = (stage.run)(root);
        taken.push((stage.name, start.elapsed()));
        if let Err(error) = outcome {
            print!("{}", table(&taken));
            return Err(error.context(format!("the stage `{}` failed", stage.name)));
        }
    }
    print!("{}", table(&taken));
    if only.is_some() {
        return Ok(());
    }
    claims::run(root, &logs)?;
    let youngest = e2e::programs(root, Profile::Dev, e2e::Tools::All)?;
    let bed = if youngest > begin.elapsed() { Bed::Cached } else { Bed::Built };
    println!("{}", judge(&taken, bed)?);
    Ok(())
}

/// A stage and what it took.
type Taken = (&'static str, Duration);

/// Where the bed's programs came from. It decides what a run may take: they are most of a cold one.
#[derive(Clone, Copy)]
enum Bed {
    /// All of them were in the cache.
    Cached,
    /// At least one was built in this run.
    Built,
}

/// Says which limits applied. Fails when one was reached, and names where the time went.
fn judge(taken: &[Taken], bed: Bed) -> Result<String> {
    let (limit, because) = match bed {
        Bed::Cached => (WARM_LIMIT, "the bed's programs were all in the cache"),
        Bed::Built => (COLD_LIMIT, "programs of the bed had to be built"),
    };
    let total: Duration = taken.iter().map(|(_, time)| *time).sum();
    let mut reached = Vec::new();
    if total >= Duration::from_secs(limit * 60) {
        let mut slowest = taken.to_vec();
        slowest.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        let slowest = slowest.iter().take(SHOWN).map(|(name, time)| format!("{name} {:.1}", minutes(*time)));
        reached.push(format!(
            "the stages took {:.1} minutes; less than {limit} are allowed, because {because}; slowest: {}",
            minutes(total),
            slowest.collect::<Vec<_>>().join(", ")
        ));
    }
    for (name, time) in taken.iter().filter(|(name, _)| *name == STORIES) {
        if *time >= Duration::from_secs(STORIES_LIMIT * 60) {
            let took = minutes(*time);
            reached.push(format!(
                "the stage `{name}` took {took:.1} minutes; less than {STORIES_LIMIT} are allowed"
            ));
        }
    }
    if !reached.is_empty() {
        bail!("CI is too slow:\n  {}", reached.join("\n  "));
    }
    Ok(format!(
        "limits kept: less than {limit} minutes in all, because {because}; less than {STORIES_LIMIT} for `{STORIES}`"
    ))
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

/// The minutes of each stage and of all.
fn table(taken: &[Taken]) -> String {
    let total: Duration = taken.iter().map(|(_, time)| *time).sum();
    let all = ("all", total);
    let row = |(name, time): &Taken| format!("  {name:<10} {:>6.1}\n", minutes(*time));
    format!("minutes per stage:\n{}", taken.iter().chain([&all]).map(row).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run whose stories took so many minutes, and everything else so many.
    fn run_of(stories: u64, rest: u64) -> Vec<Taken> {
        let of = |minutes: u64| Duration::from_secs(minutes * 60);
        vec![
            ("tidy", of(0)),
            ("lint", of(1)),
            ("unit", of(rest - 1)),
            (STORIES, of(stories)),
            ("demo", of(0)),
        ]
    }

    #[test]
    fn a_warm_run_of_25_minutes_fails_and_names_its_slowest_stages() {
        let why = judge(&run_of(11, 14), Bed::Cached).unwrap_err().to_string();

        assert!(why.contains("took 25.0 minutes; less than 25 are allowed"), "{why}");
        assert!(why.ends_with("slowest: unit 13.0, e2e 11.0, lint 1.0"), "{why}");
    }

    #[test]
    fn a_run_within_its_limits_says_which_applied() {
        let said = judge(&run_of(11, 13), Bed::Cached).unwrap();

        assert!(said.contains("less than 25 minutes in all"), "{said}");
        assert!(said.contains("less than 12 for `e2e`"), "{said}");
    }

    #[test]
    fn a_run_that_had_to_build_the_bed_has_75_minutes() {
        let said = judge(&run_of(11, 63), Bed::Built).unwrap();
        let why = judge(&run_of(11, 64), Bed::Built).unwrap_err().to_string();

        assert!(said.contains("less than 75 minutes in all"), "{said}");
        assert!(why.contains("took 75.0 minutes; less than 75 are allowed"), "{why}");
    }

    #[test]
    fn stories_of_12_minutes_fail_a_run_that_is_short_enough() {
        for bed in [Bed::Cached, Bed::Built] {
            let why = judge(&run_of(12, 2), bed).unwrap_err().to_string();

            assert!(why.contains("`e2e` took 12.0 minutes; less than 12 are allowed"), "{why}");
            assert!(!why.contains("the stages took"), "{why}");
        }
    }

    #[test]
    fn the_minutes_of_each_stage_and_of_all_are_printed() {
        let taken = [("lint", Duration::from_secs(90)), (STORIES, Duration::from_secs(600))];

        assert_eq!(
            table(&taken),
            "minutes per stage:\n  lint          1.5\n  e2e          10.0\n  all          11.5\n"
        );
    }
}
