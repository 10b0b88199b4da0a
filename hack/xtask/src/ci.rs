//! The stages of CI, cheapest first. Stops at the first failure; prints what each stage took.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{claims, e2e, generate, tidy};

/// One stage: a name for the table, and what it does.
struct Stage {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

const STAGES: &[Stage] = &[
    Stage { name: "fetch", run: |root| cargo(root, "fetch", "fetch --locked") },
    Stage { name: "format", run: |root| cargo(root, "format", "fmt --all --check") },
    Stage { name: "tidy", run: tidy::run },
    Stage { name: "generated", run: generate::fresh },
    Stage {
        name: "deny",
        run: |root| cargo(root, "deny", "deny --all-features check licenses sources bans"),
    },
    Stage {
        name: "lint",
        run: |root| cargo(root, "lint", "clippy --workspace --all-targets --quiet -- -D warnings"),
    },
    // What needs a bed is a story of the last stage; the model has a profile of its own.
    Stage {
        name: "unit",
        run: |root| {
            cargo(
                root,
                "unit",
                "test --workspace --exclude order-model --exclude e2e --exclude testbed --no-fail-fast",
            )?;
            cargo(root, "unit-bed", "test --package testbed --package e2e --lib --no-fail-fast")
        },
    },
    Stage {
        name: "model",
        run: |root| {
            cargo(root, "model", "test --profile model --package order-model --no-fail-fast -- --nocapture")
        },
    },
    Stage { name: "e2e", run: |root| e2e::run(root, None) },
];

/// Runs cargo with these words.
fn cargo(root: &Path, log: &str, words: &str) -> Result<()> {
    logged(root, log, None, "cargo", &words.split_whitespace().collect::<Vec<_>>())
}

/// Runs the stages, or only the one named.
pub fn run(root: &Path, only: Option<&str>) -> Result<()> {
    if only.is_some_and(|name| STAGES.iter().all(|stage| stage.name != name)) {
        let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
        bail!("there is no such stage; there are {}", names.join(", "));
    }
    let logs = root.join("target/ci");
    if only.is_none() && logs.exists() {
        fs::remove_dir_all(&logs).context("cannot clear the logs of the last run")?;
    }
    fs::create_dir_all(&logs)?;
    let mut taken: Vec<(&str, Duration)> = Vec::new();
    for stage in STAGES.iter().filter(|stage| only.is_none_or(|name| name == stage.name)) {
        println!("== {} ==", stage.name);
        let start = Instant::now();
        let outcome = (stage.run)(root);
        taken.push((stage.name, start.elapsed()));
        if let Err(error) = outcome {
            table(&taken);
            return Err(error.context(format!("the stage `{}` failed", stage.name)));
        }
    }
    if only.is_none() {
        claims::run(root, &logs)?;
    }
    table(&taken);
    Ok(())
}

fn table(taken: &[(&str, Duration)]) {
    println!("minutes per stage:");
    for (name, time) in taken {
        println!("  {name:<10} {:>6.1}", time.as_secs_f64() / 60.0);
    }
    let total: Duration = taken.iter().map(|(_, time)| *time).sum();
    println!("  {:<10} {:>6.1}", "all", total.as_secs_f64() / 60.0);
}

/// Runs a program, showing what it prints and keeping it for the check of the claims.
///
/// `tests` names the test binary that the program runs, if cargo does not name it.
pub fn logged(root: &Path, name: &str, tests: Option<&str>, program: &str, args: &[&str]) -> Result<()> {
    let path = root.join("target/ci").join(format!("{name}.log"));
    let mut log = fs::File::create(&path).with_context(|| path.display().to_string())?;
    if let Some(binary) = tests {
        writeln!(log, "     Running {name} ({binary})")?;
    }
    let (reader, writer) = std::io::pipe()?;
    let mut child = Command::new(program)
        .args(args)
        .current_dir(root)
        // A failed assertion says where it stands; the frames below it only hide what it says.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .with_context(|| format!("cannot start {program}; is it installed?"))?;
    for line in BufReader::new(reader).split(b'\n') {
        let mut line = line?;
        line.push(b'\n');
        log.write_all(&line)?;
        std::io::stdout().write_all(&line)?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{program} {}` failed: {status}", args.join(" "));
    }
    Ok(())
}
