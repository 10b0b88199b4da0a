//! What `make` calls: checks, generated files, the test bed, end-to-end tests and the demo.
//!
//! Start with [`ci`], which runs the others in order, cheapest first.
//!
//! **Invariant:** a step that could not run fails; nothing is skipped silently.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod claims;
mod compile;
mod demo;
mod drivers;
mod e2e;
mod fuzz;
mod lanes;
mod logged;
mod release;
mod shell;
mod sweep;
mod tidy;
mod unit;

#[derive(Parser)]
#[command(about = "Tasks of the VDO workspace", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything CI runs, cheapest first, with the minutes of each stage.
    Ci {
        /// Only the stage of this name.
        #[arg(long)]
        only: Option<String>,
    },
    /// Arrows between crates, purity, file sizes, names and reasons.
    Tidy,
    /// Writes all generated files.
    Generate,
    /// Fails if a generated file differs from what would be generated now.
    Fresh,
    /// The real thing on this machine, in words.
    Demo,
    /// The stories that run in a test bed.
    E2e {
        /// Only this one.
        story: Option<String>,
    },
    /// What VDO costs, and whether that is within `docs/bench/budgets.json`.
    Bench(bench::Bench),
    /// The images of the operators, as archives in `target/images`; needs buildah.
    Images,
    /// Breaks everything of a kind on purpose, and looks whether it is noticed.
    #[command(subcommand)]
    Sweep(sweep::Sweep),
    /// Reads versions, ranges and matrices out of texts that nobody thought of.
    Fuzz(fuzz::Fuzz),
    /// Checks that every promise of `docs/claims.toml` was proven by a test that ran and passed.
    Claims {
        /// The folder with the logs of the test runs.
        #[arg(long, default_value = logged::FOLDER)]
        logs: std::path::PathBuf,
    },
    /// The test bed: `build`, `run`, `up`, `exec`, `down`.
    Testbed {
        /// Passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        // The causes and no frames, which would be all that is left of them in the last lines of a CI log.
        Err(error) => {
            eprintln!(
                "error: {}",
                error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because ")
            );
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = shell::root()?;
    match task {
        Task::Ci { only } => ci::run(&root, only.as_deref()),
        Task::Tidy => tidy::run(&root),
        Task::Generate => shell::run(&root, "cargo", &["run", "--quiet", "--package", "generate"]),
        Task::Fresh => {
            shell::run(&root, "cargo", &["run", "--quiet", "--package", "generate", "--", "--check"])
        }
        Task::Demo => demo::run(&root),
        Task::E2e { story } => e2e::run(&root, story.as_deref()),
        Task::Bench(wanted) => bench::run(&root, &wanted),
        Task::Images => release::images(&root, &release::programs(&root)?).map(drop),
        Task::Sweep(sweep) => sweep::run(&root, &sweep),
        Task::Fuzz(wanted) => fuzz::run(&root, &wanted),
        Task::Claims { logs } => claims::run(&root, &root.join(logs)),
        Task::Testbed { args } => {
            compile::programs(&root, compile::Profile::Dev)?;
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            shell::run(&root, &compile::program(&root, "testbed")?, &args)
        }
    }
}
