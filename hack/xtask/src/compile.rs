//! How our own programs and tests are compiled.
//!
//! **Invariant:** every build is of one selection of packages and includes a test, so cargo unites the features of
//! the dependencies in one way only, and no build compiles again what another one did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::shell;

/// All but the model, which has a profile of its own, and what runs this.
pub const SELECTION: [&str; 5] = ["--workspace", "--exclude", "order-model", "--exclude", "xtask"];
/// The smallest test there is, for a build that needs none.
const ANY_TEST: &str = "bed_proof";

/// How much is optimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing: it is compiled soonest.
    Dev,
    /// Enough that many beds share two cores.
    Sweep,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Dev => "dev",
            Profile::Sweep => "sweep",
        }
    }

    /// Where its programs are.
    pub fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "target/debug",
            Profile::Sweep => "target/sweep",
        }
    }

    /// The path of a program of ours that was built.
    pub fn program(self, root: &Path, name: &str) -> Result<String> {
        let path = root.join(self.folder()).join(name);
        Ok(path.to_str().context("a path that is not UTF-8")?.to_owned())
    }
}

/// Builds every program of ours: what runs in pods, the CLI, and what runs in a bed.
pub fn programs(root: &Path, profile: Profile) -> Result<()> {
    build(root, profile, &[]).map(drop)
}

/// Builds every program of ours and these tests, and gives the binaries of tests by `package/target`.
pub fn tests(root: &Path, names: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    build(root, Profile::Dev, names)
}

fn build(root: &Path, profile: Profile, names: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut args = vec!["build", "--profile", profile.name(), "--bins"];
    args.extend(["--message-format=json-render-diagnostics", "--test", ANY_TEST]);
    args.extend(SELECTION);
    args.extend(names.iter().flat_map(|name| ["--test", name]));
    let said = shell::output(root, "cargo", &args).context("our programs do not build")?;
    let mut found = BTreeMap::new();
    for line in said.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed what is not JSON")?;
        let binary = message["executable"].as_str().filter(|_| message["profile"]["test"] == true);
        let manifest = message["manifest_path"].as_str().map(Path::new);
        let package = manifest.and_then(|file| file.parent()?.file_name()?.to_str());
        if let (Some(binary), Some(package), Some(target)) =
            (binary, package, message["target"]["name"].as_str())
        {
            found.insert(format!("{package}/{target}"), PathBuf::from(binary));
        }
    }
    Ok(found)
}

/// The path of a program of ours that was built as CI does.
pub fn program(root: &Path, name: &str) -> Result<String> {
    Profile::Dev.program(root, name)
}
