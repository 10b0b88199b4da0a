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
/// Cargo tells what it built, and shows what is wrong as always.
const MESSAGES: &str = "--message-format=json-render-diagnostics";
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
    let built = build(root, Profile::Dev, names)?;
    Ok(built.into_iter().map(|test| (test.name, test.binary)).collect())
}

/// Builds every test that needs no bed, as the manifests of the packages say.
pub fn unit_tests(root: &Path) -> Result<Vec<Test>> {
    let mut args = vec!["test", "--no-run", MESSAGES];
    args.extend(SELECTION);
    test_binaries(&shell::output(root, "cargo", &args).context("the tests do not build")?)
}

fn build(root: &Path, profile: Profile, names: &[&str]) -> Result<Vec<Test>> {
    let mut args = vec!["build", "--profile", profile.name(), "--bins", MESSAGES, "--test", ANY_TEST];
    args.extend(SELECTION);
    args.extend(names.iter().flat_map(|name| ["--test", name]));
    test_binaries(&shell::output(root, "cargo", &args).context("our programs do not build")?)
}

/// A binary of tests.
#[derive(Debug, PartialEq, Eq)]
pub struct Test {
    /// `package/target`.
    pub name: String,
    /// Where it is.
    pub binary: PathBuf,
    /// The folder of its package.
    pub package: PathBuf,
}

/// The binaries of tests of which cargo's messages tell.
fn test_binaries(messages: &str) -> Result<Vec<Test>> {
    let mut found = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("cargo printed what is not JSON")?;
        let binary = message["executable"].as_str().filter(|_| message["profile"]["test"] == true);
        let package = message["manifest_path"].as_str().and_then(|file| Path::new(file).parent());
        if let (Some(binary), Some(package), Some(target)) =
            (binary, package, message["target"]["name"].as_str())
        {
            let folder = package.file_name().and_then(|name| name.to_str()).context("a nameless package")?;
            found.push(Test {
                name: format!("{folder}/{target}"),
                binary: PathBuf::from(binary),
                package: package.to_owned(),
            });
        }
    }
    Ok(found)
}

/// The path of a program of ours that was built as CI does.
pub fn program(root: &Path, name: &str) -> Result<String> {
    Profile::Dev.program(root, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_cargo_built_only_binaries_of_tests_are_run() {
        let test = r#"{"executable":"/t/deps/driver-1","profile":{"test":true},"manifest_path":"/w/crates/vdo-runtime/Cargo.toml","target":{"name":"driver"}}"#;
        let program = test.replace("true", "false");
        let library = test.replace(r#""/t/deps/driver-1""#, "null");
        let found = test_binaries(&[test, &program, &library, r#"{"reason":"build-finished"}"#].join("\n"));
        let wanted = Test {
            name: "vdo-runtime/driver".into(),
            binary: "/t/deps/driver-1".into(),
            package: "/w/crates/vdo-runtime".into(),
        };
        assert_eq!(found.unwrap(), [wanted]);
    }
}
