//! Fuzzing: versions, ranges and matrices out of texts that nobody thought of. The targets are in `fuzz/`, which is a
//! workspace of its own.
//!
//! libFuzzer needs a program that counts where it has been. The pinned compiler can do that, so no other is needed; whoever
//! has `cargo fuzz` and a nightly compiler may use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::lanes::side_by_side;
use crate::logged::{self, Logged, prove};
use crate::shell;

const MANIFEST: &str = "fuzz/Cargo.toml";
/// What is compiled, and what breaks something.
const FOLDER: &str = "target/fuzz";
/// Texts that lead further than the committed ones, kept from one run by hand to the next.
const KEPT: &str = "target/fuzz/corpus";
/// The same of the last run of CI, which begins with the committed ones.
const FORGOTTEN: &str = "target/fuzz/ci";
/// The targets, each with the test that it stands for.
const TARGETS: [(&str, &str); 3] = [
    ("version", "every_text_that_was_tried_as_a_version_is_refused_or_shown_and_ordered_as_it_was_read"),
    ("range", "every_text_that_was_tried_as_a_range_holds_what_its_bounds_say"),
    ("matrix", "every_text_that_was_tried_as_a_matrix_is_refused_or_reads_back_as_it_was_written"),
];
/// How long CI tries each.
const SECONDS: u64 = 10;
/// Every edge between two parts of a function is counted, and every comparison shown.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// What is tried, and how long.
#[derive(Args)]
pub struct Fuzz {
    /// Only this target: version, range or matrix.
    target: Option<String>,
    /// For so many seconds each, side by side.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// Fuzzes by hand.
pub fn run(root: &Path, wanted: &Fuzz) -> Result<()> {
    let named = |(target, _): &&(&str, &str)| wanted.target.as_deref().is_none_or(|name| name == *target);
    let targets: Vec<&str> = TARGETS.iter().filter(named).map(|(target, _)| *target).collect();
    ensure!(!targets.is_empty(), "there is no such target; there are {}", TARGETS.map(|it| it.0).join(", "));
    let folder = build(root)?;
    all(root, &Programs { folder, found: KEPT }, &targets, wanted.seconds)
}

/// The stage of CI: each target for a while, from the committed corpus on.
pub fn stage(root: &Path) -> Result<()> {
    let folder = build(root)?;
    let found = root.join(FORGOTTEN);
    if found.exists() {
        fs::remove_dir_all(&found).context("failed to clear what the last run found")?;
    }
    all(root, &Programs { folder, found: FORGOTTEN }, &TARGETS.map(|(target, _)| target), SECONDS)?;
    prove(root, "fuzz", "fuzz", &TARGETS.map(|(_, test)| test))
}

/// Builds the targets, and gives the folder of the programs.
fn build(root: &Path) -> Result<PathBuf> {
    let host = host(&shell::output(root, "rustc", &["-vV"])?)?;
    let mut words = vec!["build", "--release", "--locked", "--quiet", "--manifest-path", MANIFEST];
    // With a target, what runs while it is compiled is compiled without these flags.
    words.extend(["--target", &host, "--target-dir", FOLDER]);
    let status = Command::new("cargo")
        .args(&words)
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .stdin(Stdio::null())
        .status()
        .context("failed to start cargo; is it installed?")?;
    ensure!(status.success(), "`cargo {}` failed: {status}", words.join(" "));
    Ok(root.join(FOLDER).join(host).join("release"))
}

/// The machine that the compiler says it runs on.
fn host(said: &str) -> Result<String> {
    let line = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(line.context("rustc does not say what it runs on")?.to_owned())
}

/// The targets that were built.
struct Programs {
    folder: PathBuf,
    /// Where the texts go that lead further.
    found: &'static str,
}

/// Runs these targets side by side.
fn all(root: &Path, programs: &Programs, targets: &[&str], seconds: u64) -> Result<()> {
    side_by_side(targets.len(), targets, |target| one(root, programs, target, seconds))
}

fn one(root: &Path, programs: &Programs, target: &str, seconds: u64) -> Result<()> {
    let corpus = format!("fuzz/corpus/{target}");
    let found = format!("{}/{target}", programs.found);
    let crashes = format!("{FOLDER}/crashes/{target}-");
    fs::create_dir_all(root.join(&found))?;
    fs::create_dir_all(root.join(FOLDER).join("crashes"))?;
    let mut words: Vec<String> = [
        // What is new is kept in the first folder; the others are only read.
        &*found,
        &corpus,
        &format!("-max_total_time={seconds}"),
        &format!("-artifact_prefix={crashes}"),
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=512",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    .map(str::to_owned)
    .to_vec();
    let words_of_the_form = format!("fuzz/{target}.dict");
    if root.join(&words_of_the_form).is_file() {
        words.push(format!("-dict={words_of_the_form}"));
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let program = programs.folder.join(target);
    let log = format!("fuzz-{target}");
    Logged { label: Some(target), ..Logged::new(root, &log) }
        .run(program.to_str().context("a path that is not UTF-8")?, &words)
        .with_context(|| {
            format!("what `{target}` failed with is in {crashes}*; run it with that file alone")
        })?;
    let log = logged::file(root, &log)?;
    let said = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let seeds = fs::read_dir(root.join(&corpus)).with_context(|| corpus.clone())?.count();
    judge(&said, seeds).with_context(|| log.display().to_string())
}

/// Fails if no text led further than those to begin with, as where the program does not count; and if little was tried.
fn judge(said: &str, seeds: usize) -> Result<()> {
    let stat = |name: &str| -> Result<usize> {
        let line =
            said.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.with_context(|| format!("libFuzzer does not say {name}"))?.trim().parse()?)
    };
    let (tried, added) = (stat("number_of_executed_units")?, stat("new_units_added")?);
    ensure!(seeds > 0 && tried >= 10 * seeds, "only {tried} texts were tried, with {seeds} to begin with");
    ensure!(added > 0, "none of {tried} texts led further than the {seeds} to begin with");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SAID: &str = "stat::number_of_executed_units: 300\nstat::new_units_added:          7\n";

    #[test]
    fn a_run_that_tried_little_or_learned_nothing_is_no_proof() {
        judge(SAID, 30).unwrap();
        for (said, seeds) in [
            (SAID.replace("300", "299"), 30),
            (SAID.replace('7', "0"), 30),
            (SAID.replace("stat::new", "new"), 30),
            (SAID.to_owned(), 0),
        ] {
            assert!(judge(&said, seeds).is_err(), "{said}");
        }
    }

    #[test]
    fn the_machine_is_the_one_that_the_compiler_names() {
        assert_eq!(
            host("rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\n").unwrap(),
            "x86_64-unknown-linux-gnu"
        );
        assert!(host("rustc 1.95.0\n").is_err());
    }

    /// The versions of each package in a lock file.
    fn locked(file: &str) -> BTreeMap<String, BTreeSet<String>> {
        let path = shell::root().unwrap().join(file);
        let table: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in table["package"].as_array().unwrap() {
            let text = |key: &str| package[key].as_str().unwrap().to_owned();
            found.entry(text("name")).or_default().insert(text("version"));
        }
        found
    }

    #[test]
    fn what_is_fuzzed_is_built_with_the_dependencies_of_the_product() {
        let (ours, product) = (locked("fuzz/Cargo.lock"), locked("Cargo.lock"));
        for (name, versions) in ours {
            match product.get(&name) {
                Some(others) => assert!(versions.is_subset(others), "{name}: {versions:?} and {others:?}"),
                None => assert!(
                    ["arbitrary", "jobserver", "libfuzzer-sys", "vdo-fuzz"].contains(&&*name),
                    "{name} is new"
                ),
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_a_corpus() {
        let root = shell::root().unwrap();
        let manifest: toml::Table = fs::read_to_string(root.join(MANIFEST)).unwrap().parse().unwrap();
        let programs: BTreeSet<&str> =
            manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap()).collect();
        assert_eq!(programs, TARGETS.iter().map(|(target, _)| *target).collect());
        for (target, _) in TARGETS {
            assert!(fs::read_dir(root.join("fuzz/corpus").join(target)).unwrap().count() >= 10, "{target}");
        }
    }
}
