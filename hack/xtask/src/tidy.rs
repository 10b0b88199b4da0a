//! Rules of the house that a machine can hold.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The longest a source file may be; tests and files without a function are exempt.
const LONGEST: usize = 600;

/// Which of our crates each of them may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("vdo-api", &[]),
    ("vdo-compat", &[]),
    ("vdo-matrix", &["vdo-compat"]),
    ("vdo-peer", &[]),
    ("vsphere-client", &["vdo-peer"]),
    ("vdo-fetch", &["vdo-peer"]),
    ("vdo-plan", &["vdo-api", "vdo-compat"]),
    ("vdo-runtime", &["vdo-api", "vdo-compat", "vdo-plan"]),
    (
        "vdo-core",
        &["vdo-api", "vdo-compat", "vdo-fetch", "vdo-matrix", "vdo-plan", "vdo-runtime", "vsphere-client"],
    ),
    ("cpi-operator", &["vdo-api", "vdo-compat", "vdo-plan", "vdo-runtime"]),
    ("csi-operator", &["vdo-api", "vdo-compat", "vdo-plan", "vdo-runtime"]),
    (
        "vdoctl",
        &[
            "vdo-api",
            "vdo-compat",
            "vdo-fetch",
            "vdo-matrix",
            "vdo-plan",
            "vdo-runtime",
            "vdo-core",
            "cpi-operator",
            "csi-operator",
            "vsphere-client",
        ],
    ),
    ("e2e", &["vdo-api", "testbed"]),
    ("testbed", &[]),
    ("order-model", &["vdo-plan", "vdo-compat"]),
    (
        "generate",
        &[
            "vdo-api",
            "vdo-compat",
            "vdo-matrix",
            "vdo-plan",
            "vdo-runtime",
            "vdo-core",
            "vdoctl",
            "cpi-operator",
            "csi-operator",
        ],
    ),
    ("xtask", &[]),
];

/// Code that only decides: no waiting, no clock, no environment, no files.
const PURE: &[&str] = &[
    "crates/vdo-api/src/",
    "crates/vdo-compat/src/",
    "crates/vdo-matrix/src/",
    "crates/vdo-peer/src/",
    "crates/vdo-plan/src/",
    "crates/cpi-operator/src/render/",
    "crates/cpi-operator/src/inputs",
    "crates/cpi-operator/src/plan",
    "crates/cpi-operator/src/checks",
    "crates/cpi-operator/src/stages",
    "crates/cpi-operator/src/status",
    "crates/cpi-operator/src/releases",
    "crates/csi-operator/src/render/",
    "crates/csi-operator/src/inputs",
    "crates/csi-operator/src/plan",
    "crates/csi-operator/src/checks",
    "crates/csi-operator/src/stages",
    "crates/csi-operator/src/status",
    "crates/csi-operator/src/releases",
    "crates/csi-operator/src/gcfg",
    "crates/vdo-core/src/order/",
];
const IMPURE_WORDS: &[&str] =
    &["async fn", ".await", "std::env", "env::var", "std::fs", "::now()", "std::net"];

/// Prefixes that say nothing about what a function does.
const EMPTY_VERBS: &[&str] = &["get_", "handle_", "process_", "do_", "manage_", "ensure_"];

/// Runs every rule and reports all breaches at once.
pub fn run(root: &Path) -> Result<()> {
    let mut breaches = Vec::new();
    arrows(root, &mut breaches)?;
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for file in shell::files(root)? {
        let name = file.to_string_lossy().into_owned();
        if !name.ends_with(".rs") {
            continue;
        }
        let text = fs::read_to_string(root.join(&file)).with_context(|| name.clone())?;
        source(&name, &text, &mut breaches);
        for (word, line) in declared_reasons(&text) {
            let here = format!("{name}:{line}");
            if let Some(other) = reasons.insert(word.clone(), here.clone()) {
                breaches.push(format!("{here}: the reason {word} is declared in {other} too"));
            }
        }
    }
    if breaches.is_empty() {
        println!("tidy: every rule holds ({} reasons)", reasons.len());
        return Ok(());
    }
    bail!("{} breaches of the house rules:\n  {}", breaches.len(), breaches.join("\n  "))
}

fn arrows(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let ours: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    for (name, allowed) in ARROWS {
        let folder = ["crates", "hack", ""].map(|top| root.join(top).join(name));
        let manifest = folder.iter().map(|at| at.join("Cargo.toml")).find(|at| at.is_file());
        let manifest = manifest.with_context(|| format!("no manifest for {name}"))?;
        let table: toml::Table = fs::read_to_string(&manifest)?.parse()?;
        let imports = table.get("dependencies").and_then(toml::Value::as_table);
        for import in imports.into_iter().flat_map(toml::Table::keys) {
            if ours.contains(&import.as_str()) && !allowed.contains(&import.as_str()) {
                breaches.push(format!("{name} may not import {import} (docs/architecture.md, arrows)"));
            }
        }
    }
    Ok(())
}

fn source(name: &str, text: &str, breaches: &mut Vec<String>) {
    let is_test = name.contains("/tests/") || name.ends_with("tests.rs") || name.starts_with("e2e/tests");
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = text.lines().count();
    if !is_test && lines > LONGEST && text.contains("fn ") {
        breaches.push(format!("{name}: {lines} lines; {LONGEST} is the limit"));
    }
    if (name.ends_with("/lib.rs") || name.ends_with("/main.rs")) && !name.contains("/tests/") {
        if !text.starts_with("//!") {
            breaches.push(format!("{name}: opens without saying what it is (`//!`)"));
        } else if name.ends_with("/lib.rs") && !text.contains("**Invariant:**") {
            breaches.push(format!("{name}: names no invariant (`**Invariant:**`)"));
        }
    }
    let pure = !is_test && PURE.iter().any(|prefix| name.starts_with(prefix));
    for (number, line) in code.lines().enumerate() {
        let at = || format!("{name}:{}", number + 1);
        let trimmed = line.trim_start();
        if trimmed.starts_with("//") {
            let mark = ["TO", "DO"].concat();
            if trimmed.contains(&mark) && !trimmed.contains('#') {
                breaches.push(format!("{}: a {mark} without an issue number", at()));
            }
            continue;
        }
        if pure {
            for word in IMPURE_WORDS.iter().filter(|word| line.contains(**word)) {
                breaches.push(format!("{}: `{word}` in code that only decides", at()));
            }
        }
        let declared = trimmed.split("fn ").nth(1).filter(|_| is_function(trimmed));
        if let Some(verb) = declared.and_then(|rest| EMPTY_VERBS.iter().find(|verb| rest.starts_with(**verb)))
        {
            breaches.push(format!("{}: a function named `{verb}…` does not say what it does", at()));
        }
    }
}

fn is_function(line: &str) -> bool {
    let before = line.split("fn ").next().unwrap_or_default();
    before
        .split_whitespace()
        .all(|word| word.starts_with("pub") || ["async", "const", "unsafe"].contains(&word))
}

/// The words of all `NAME = "Word" {` lines of a `reasons!` block, with their line numbers.
fn declared_reasons(text: &str) -> Vec<(String, usize)> {
    if !text.contains("reasons! {") {
        return Vec::new();
    }
    let word = |line: &str| {
        let (name, rest) = line.trim().split_once(" = \"")?;
        let (word, tail) = rest.split_once('"')?;
        let constant = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        (constant && tail.trim_start().starts_with('{')).then(|| word.to_owned())
    };
    text.lines().enumerate().filter_map(|(n, line)| Some((word(line)?, n + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(name: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        source(name, text, &mut found);
        found
    }

    #[test]
    fn a_clock_in_pure_code_is_a_breach() {
        let text = "fn plan() { let at = Timestamp::now(); }";
        assert_eq!(breaches("crates/vdo-plan/src/driver.rs", text).len(), 1);
        assert!(breaches("crates/vdo-runtime/src/run.rs", text).is_empty());
    }

    #[test]
    fn a_verb_that_says_nothing_is_a_breach() {
        assert_eq!(breaches("a.rs", "pub async fn get_node() {}").len(), 1);
        assert!(breaches("a.rs", "pub fn fetch_node() {}").is_empty());
    }

    #[test]
    fn a_long_file_is_a_breach_unless_it_is_a_test() {
        let text = "fn a() {}\n".repeat(601);
        assert_eq!(breaches("crates/x/src/a.rs", &text).len(), 1);
        assert!(breaches("crates/x/tests/a.rs", &text).is_empty());
    }

    #[test]
    fn reasons_are_read_from_their_block() {
        let text = "vdo_api::reasons! {\n    CPI_NOT_READY = \"CPINotReady\" {\n";
        assert_eq!(declared_reasons(text), [("CPINotReady".to_owned(), 2)]);
    }
}
