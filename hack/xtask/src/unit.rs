//! All tests that need no bed. Cargo runs their binaries one after the other, and most of the longer ones wait; here some
//! run side by side.

use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::compile::{self, Test};
use crate::lanes::side_by_side;
use crate::logged::Logged;

/// Binaries at once. Each has threads of its own.
const LANES: usize = 3;

/// One thing to run.
enum Unit {
    /// A binary of tests.
    Binary(Test),
    /// The examples in the documentation, which cargo compiles and runs itself.
    Examples,
}

/// Runs all, also after a failure.
pub fn stage(root: &Path) -> Result<()> {
    let mut units = vec![Unit::Examples];
    units.extend(compile::unit_tests(root)?.into_iter().map(Unit::Binary));
    let failed = Mutex::new(Vec::new());
    side_by_side(LANES, &units, |unit| {
        if let Err(error) = run(root, unit) {
            failed.lock().map_err(|_| anyhow::anyhow!("a lane panicked"))?.push(format!("{error:#}"));
        }
        Ok(())
    })?;
    let failed = failed.into_inner().unwrap_or_default();
    if !failed.is_empty() {
        bail!("{} of {} binaries of tests failed:\n  {}", failed.len(), units.len(), failed.join("\n  "));
    }
    Ok(())
}

fn run(root: &Path, unit: &Unit) -> Result<()> {
    match unit {
        Unit::Binary(Test { name, binary, package }) => {
            let binary = binary.to_str().context("a path that is not UTF-8")?;
            let log = format!("unit-{}", name.replace('/', "-"));
            Logged { tests: Some(binary), label: Some(name), folder: package, ..Logged::new(root, &log) }
                .run(binary, &[])
        }
        Unit::Examples => {
            let mut args = vec!["test", "--doc", "--no-fail-fast"];
            args.extend(compile::SELECTION);
            Logged { label: Some("examples"), ..Logged::new(root, "unit-examples") }.run("cargo", &args)
        }
    }
}
