//! The sweeps: everything of a kind is broken on purpose, and has to be noticed. Each is run as a whole by hand and leaves
//! evidence; CI looks whether the evidence is of the sources as they are, and runs three cases again.

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

use self::crash::Crash;
use self::mutants::Mutants;
use self::stories::Stories;
use crate::logged::prove;

mod crash;
pub mod evidence;
mod mutants;
pub mod stories;

/// How many cases of a whole sweep CI runs again.
const AGAIN: usize = 3;

/// Which sweep.
#[derive(Subcommand)]
pub enum Sweep {
    /// Every write of every operator is struck: killed before it, killed after it, its reply lost.
    Crash(Crash),
    /// Three cases of the crash sweep that the commit chooses.
    Small,
    /// Every small fault in what decides about versions: cargo-mutants plants it, and a test of the crate has to fail.
    Mutants(Mutants),
    /// The stories that take too long for CI.
    Stories(Stories),
    /// Fails unless the evidence is of whole sweeps of the sources as they are.
    Check,
}

/// Runs the sweep, or looks at what came of the last ones.
pub fn run(root: &Path, wanted: &Sweep) -> Result<()> {
    match wanted {
        Sweep::Crash(wanted) => crash::run(root, wanted),
        Sweep::Small => crash::small(root).map(drop),
        Sweep::Mutants(wanted) => mutants::run(root, wanted),
        Sweep::Stories(wanted) => stories::run(root, wanted),
        Sweep::Check => check(root),
    }
}

fn check(root: &Path) -> Result<()> {
    crash::check(root)?;
    mutants::check(root)?;
    stories::check(root)
}

/// The stage of CI that looks whether the whole sweeps were run with the sources as they are.
pub fn evidence_stage(root: &Path) -> Result<()> {
    check(root)?;
    prove(root, "evidence", "sweep", &[crash::WHOLE, mutants::WHOLE])
}

/// The stage of CI that strikes the writes which the commit chooses.
pub fn crash_stage(root: &Path) -> Result<()> {
    println!("{} cases", crash::small(root)?);
    prove(root, "sweep", "sweep", &[crash::SMALL])
}

/// The stage of CI that plants the faults which the commit chooses.
pub fn mutants_stage(root: &Path) -> Result<()> {
    mutants::again(root)?;
    prove(root, "mutants", "sweep", &[mutants::SMALL])
}
