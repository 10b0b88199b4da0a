//! Which tests there are, by name: tables that name one are checked against the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every test of the workspace, as `binary::test`.
fn tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    read_below(&["crates", "e2e", "hack"], &mut |path, text| {
        found.extend(tests_in(text).map(|name| format!("{}::{name}", binary(path))));
    });
    found
}

/// The ids that a table of so many rows has, in order.
pub fn ids(letter: char, rows: usize) -> Vec<String> {
    (1..=rows).map(|number| format!("{letter}{number}")).collect()
}

/// Those of these tests that are nowhere, each with the id of the row that names it.
pub fn missing<'a>(named: impl Iterator<Item = (&'a String, &'a Vec<String>)>) -> Vec<(&'a str, &'a str)> {
    let found = tests();
    let all = named.flat_map(|(id, tests)| tests.iter().map(move |test| (id.as_str(), test.as_str())));
    all.filter(|(_, test)| !found.contains(*test)).collect()
}

/// Every word of the code of tests.
pub fn words_of_tests() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    read_below(&["crates", "e2e/tests"], &mut |path, text| {
        let is_all_tests = path.iter().any(|part| part == "tests") || path.ends_with("tests.rs");
        let begin = if is_all_tests { Some(0) } else { text.find("#[cfg(test)]\nmod tests {") };
        found.extend(begin.into_iter().flat_map(|begin| words(&text[begin..])).map(str::to_owned));
    });
    found
}

/// The names in a text of code or of queries.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
}

/// Reads every source file below these folders of the checkout.
fn read_below(folders: &[&str], read: &mut dyn FnMut(&Path, &str)) {
    let root = crate::root().unwrap();
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                read(&path, &fs::read_to_string(&path).unwrap());
            }
        }
    }
}

/// The test binary that a source file is part of.
fn binary(path: &Path) -> String {
    let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
    let at = parts.iter().rposition(|part| ["src", "tests"].contains(part)).unwrap_or_default();
    match parts[at] {
        "tests" => parts[at + 1].trim_end_matches(".rs").to_owned(),
        _ => parts[at.saturating_sub(1)].replace('-', "_"),
    }
}

fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let mut marked = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        marked |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        let name = name.filter(|_| marked)?.split('(').next();
        marked = false;
        name
    })
}

#[test]
fn a_source_file_is_told_which_test_binary_it_is_part_of() {
    for (path, name) in [
        ("/w/crates/vdo-plan/src/order/tests.rs", "vdo_plan"),
        ("/w/crates/vdo-plan/tests/driver.rs", "driver"),
        ("/w/e2e/tests/daytwo/house.rs", "daytwo"),
    ] {
        assert_eq!(binary(Path::new(path)), name);
    }
    let text =
        "#[test]\nfn one() {}\nfn helper() {}\n  #[tokio::test(start_paused = true)]\n  async fn two() {";
    assert_eq!(tests_in(text).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn every_test_that_the_page_about_the_api_server_names_is_in_the_source() {
    let found: BTreeSet<String> =
        tests().iter().filter_map(|test| test.split_once("::")).map(|(_, name)| name.to_owned()).collect();
    let text = fs::read_to_string(crate::root().unwrap().join("docs/api-faults.md")).unwrap();
    let is_name = |word: &&str| {
        // A metric begins with our name.
        let long = word.matches('_').count() >= 3 && !word.starts_with("vdo_");
        long && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 30, "{}", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
