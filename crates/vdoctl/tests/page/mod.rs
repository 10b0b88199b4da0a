//! docs/vdoctl.md, which shows what tests print.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vdoctl.md")
}

/// The page must list the fields of these answers, each of them, and no other.
pub fn lists_the_fields_of(table: &str, answers: &[Value]) {
    let page = std::fs::read_to_string(path()).unwrap();
    let (_, rest) = page.split_once(&format!("<!-- fields: {table} -->")).unwrap();
    let (rows, _) = rest.split_once("<!-- end -->").unwrap();
    let listed: BTreeSet<String> = rows
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split_once('`'))
        .map(|(field, _)| field.replace('?', ""))
        .collect();
    let mut given = BTreeSet::new();
    answers.iter().for_each(|answer| fields(answer, "", &mut given));
    assert_eq!(listed, given, "docs/vdoctl.md, table {table}");

    // What is left out of some answer is marked.
    let always: Vec<BTreeSet<String>> =
        answers.iter().map(|answer| answer.as_object().unwrap().keys().cloned().collect()).collect();
    for row in rows.lines().filter_map(|row| row.strip_prefix("| `")) {
        let top = row.split(['.', '[', '`']).next().unwrap();
        let marked = row.split(['.', '`']).next().unwrap().ends_with('?');
        let missing = always.iter().any(|fields| !fields.contains(top.trim_end_matches('?')));
        assert_eq!(marked, missing, "{table}: {row}");
    }
}

fn fields(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let dot = if at.is_empty() { "" } else { "." };
            map.iter().for_each(|(key, value)| fields(value, &format!("{at}{dot}{key}"), into));
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, &format!("{at}[]"), into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.insert(at.to_owned());
        }
    }
}
