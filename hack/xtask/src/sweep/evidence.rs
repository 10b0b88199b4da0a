//! What the evidence of every sweep has: of which sources it is, and how a commit chooses some of its cases.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::shell;

/// Hexadecimal digits that fit into a number.
const DIGITS: usize = 16;

/// The sources that a result depends on.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The id of each: its git tree, or that of its programs.
    pub trees: Map<String, Value>,
    /// What of them is not committed.
    pub uncommitted: Vec<String>,
}

impl Inputs {
    /// The files and folders as they are now, with their tests.
    pub fn of(root: &Path, paths: &[&str]) -> Result<Self> {
        Self::with(root, paths, |path| {
            Ok(shell::output(root, "git", &["rev-parse", &format!("HEAD:{path}")])?.trim().to_owned())
        })
    }

    /// The same without the tests beside the code: what a program does in a bed does not depend on them.
    pub fn of_programs(root: &Path, paths: &[&str]) -> Result<Self> {
        Self::with(root, paths, |path| {
            let files = shell::output(root, "git", &["ls-files", "-z", "--", path])?;
            let mut programs = Vec::new();
            for file in files.split('\0').filter(|file| !file.is_empty() && !is_test(file)) {
                let content = fs::read(root.join(file)).with_context(|| file.to_owned())?;
                let content = match String::from_utf8(content) {
                    Ok(text) if file.ends_with(".rs") => without_tests(&text).as_bytes().to_vec(),
                    Ok(text) => text.into_bytes(),
                    Err(binary) => binary.into_bytes(),
                };
                programs.extend(format!("{file}\0{}\0", content.len()).bytes());
                programs.extend(content);
            }
            ensure!(!programs.is_empty(), "{path} has no files");
            hashed(root, &programs)
        })
    }

    fn with(root: &Path, paths: &[&str], id: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let mut trees = Map::new();
        for path in paths {
            trees.insert((*path).to_owned(), id(path)?.into());
        }
        let mut status = vec!["status", "--porcelain", "--"];
        status.extend(paths);
        let uncommitted =
            shell::output(root, "git", &status)?.lines().map(|line| line.trim().to_owned()).collect();
        Ok(Inputs { trees, uncommitted })
    }
}

/// Whether a file has nothing but tests.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs")
        || file.ends_with("_tests.rs")
        || file.contains("/src/") && file.contains("/tests/")
}

/// What comes before the tests of a file, which are the last of it. If anything follows them, or if that cannot be told,
/// it is the whole file.
fn without_tests(text: &str) -> &str {
    const TESTS: &str = "\n#[cfg(test)]\nmod tests {\n";
    let Some((program, tests)) = text.split_once(TESTS) else { return text };
    match tests.split_once("\n}\n") {
        Some((_, "")) => program,
        Some(_) | None => text,
    }
}

/// The id that git gives to this content.
fn hashed(root: &Path, content: &[u8]) -> Result<String> {
    let mut git = Command::new("git")
        .args(["hash-object", "--stdin"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start git")?;
    git.stdin.take().context("git takes no input")?.write_all(content)?;
    let out = git.wait_with_output()?;
    ensure!(out.status.success(), "`git hash-object` failed: {}", out.status);
    Ok(String::from_utf8(out.stdout)?.trim().to_owned())
}

/// Reads the evidence in this file.
pub fn read(root: &Path, file: &'static str) -> Result<Value> {
    let text = fs::read(root.join(file)).context(file)?;
    serde_json::from_slice(&text).context(file)
}

/// Writes the evidence into this file.
pub fn write(root: &Path, file: &'static str, evidence: &Value) -> Result<()> {
    let path = root.join(file);
    fs::create_dir_all(path.parent().context("a folder")?)?;
    let mut text = serde_json::to_string_pretty(evidence)?;
    text.push('\n');
    fs::write(&path, text).context(file)
}

/// What keeps the evidence from being of these trees.
pub fn outdated(evidence: &Value, trees: &Map<String, Value>) -> Vec<String> {
    let is_other = |(input, tree): &(&String, &Value)| evidence["trees"][input.as_str()] != **tree;
    let mut missing: Vec<String> =
        trees.iter().filter(is_other).map(|(input, _)| format!("{input} has changed since")).collect();
    if evidence["uncommitted"].as_array().is_none_or(|all| !all.is_empty()) {
        missing.push("it was made of sources that were not committed".to_owned());
    }
    missing
}

/// Fails if anything is missing, and says how to get it.
pub fn judge(file: &str, missing: &[String], remedy: &str) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{file} needs `{remedy}`:\n  {}", missing.join("\n  "))
}

/// So many cases, chosen by the commit.
pub fn chosen<T>(mut cases: Vec<T>, commit: &str, count: usize) -> Result<Vec<T>> {
    ensure!(cases.len() >= count, "the sweep has only {} cases", cases.len());
    let digits: Vec<char> = commit.chars().collect();
    // Each part of the commit takes one of those that are left.
    let mut taken = Vec::new();
    for part in digits.chunks(digits.len().div_ceil(count).max(1)).take(count) {
        // As many of its last digits as a number has room for.
        let number: String = part.iter().skip(part.len().saturating_sub(DIGITS)).collect();
        let number = u64::from_str_radix(&number, 16).with_context(|| format!("no commit: {commit}"))?;
        taken.push(cases.swap_remove((number % cases.len() as u64) as usize));
    }
    ensure!(taken.len() == count, "{commit} is too short to choose {count} cases");
    Ok(taken)
}

/// The commit that chooses.
pub fn commit(root: &Path) -> Result<String> {
    Ok(shell::output(root, "git", &["rev-parse", "HEAD"])?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_commit_chooses_the_same_cases_again_and_another_commit_others() {
        let cases = || (0..500).map(|case| case.to_string()).collect::<Vec<_>>();
        let of = |commit: &str| chosen(cases(), commit, 3).unwrap();
        let commit = "b1074de9c1a2f0e3d4c5b6a7988776655443322f";
        let mut different = of(commit);
        different.sort();
        different.dedup();

        assert_eq!(different.len(), 3);
        assert_eq!(of(commit), of(commit));
        assert_ne!(of(commit), of("c1074de9c1a2f0e3d4c5b6a7988776655443322f"));
        assert_eq!(chosen(cases(), commit, 1).unwrap().len(), 1);
        assert!(chosen(cases(), "ab", 3).is_err());
        assert!(chosen(vec!["one".to_owned()], commit, 3).is_err());
    }

    #[test]
    fn tests_beside_the_code_are_no_part_of_a_program_and_all_else_is() {
        let code = "fn a() {}\n";
        let with = |rest: &str| format!("{code}\n#[cfg(test)]\nmod tests {{\n    fn b() {{}}\n}}\n{rest}");
        assert_eq!(without_tests(code), code);
        assert_eq!(without_tests(&with("")), code);
        // Nothing that runs is lost.
        for rest in ["fn c() {}\n", "\nmod d {\n}\n"] {
            assert_eq!(without_tests(&with(rest)), with(rest));
        }
        for (file, expected) in [
            ("crates/a/src/b/tests.rs", true),
            ("crates/a/src/tests/b.rs", true),
            ("e2e/src/sweep/oracle_tests.rs", true),
            ("crates/a/src/b.rs", false),
            ("crates/a/src/attests.rs", false),
            ("e2e/tests/daytwo/hold.rs", false),
            ("charts/a/templates/tests/b.yaml", false),
        ] {
            assert_eq!(is_test(file), expected, "{file}");
        }
    }

    #[test]
    fn another_program_has_another_id_and_another_test_has_not() {
        let root = shell::root().unwrap();
        let id = |path: &str| Inputs::of_programs(&root, &[path]).unwrap().trees[path].clone();
        assert_eq!(id("hack/xtask/src"), id("hack/xtask/src"));
        assert_ne!(id("hack/xtask/src"), id("hack/xtask/src/sweep"));
        assert!(Inputs::of_programs(&root, &["no/such/folder"]).is_err());
    }

    #[test]
    fn evidence_is_of_the_trees_that_it_names_and_of_nothing_uncommitted() {
        let trees = || Map::from_iter([("a/src".to_owned(), json!("12")), ("b/src".to_owned(), json!("34"))]);
        let of = |named: Value, uncommitted: Value| {
            outdated(&json!({"trees": named, "uncommitted": uncommitted}), &trees())
        };
        assert_eq!(of(json!(trees()), json!([])), Vec::<String>::new());
        assert_eq!(of(json!({"a/src": "12"}), json!([])), ["b/src has changed since"]);
        assert_eq!(
            of(json!(trees()), json!(["M a/src/lib.rs"])),
            ["it was made of sources that were not committed"]
        );
        assert_eq!(outdated(&Value::Null, &trees()).len(), 3);
    }
}
