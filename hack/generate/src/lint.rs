//! The catalogue of `vdoctl matrix lint`, and the form of a matrix.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use vdo_matrix::{Rule, known, schema};

use crate::docs::row;

/// The JSON Schema of a matrix, for editors.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    let text = serde_json::to_string_pretty(&schema())? + "\n";
    Ok(BTreeMap::from([(PathBuf::from("docs/compatibility-matrix.schema.json"), text)]))
}

/// Every rule with its level, its meaning and what to do.
pub fn rules() -> String {
    let mut text = String::from("| Id | Level | Meaning | What to do |\n|---|---|---|---|\n");
    for rule in Rule::ALL {
        let about = rule.about();
        let (id, level) = (format!("`{}`", about.id), about.level.to_string());
        text.push_str(&row(&[id.as_str(), &level, about.meaning, about.remedy]));
    }
    text + "\n"
}

/// The releases that their makers still list as current, with the source of that.
pub fn current() -> String {
    let mut text = String::from("| Driver | From | Source |\n|---|---|---|\n");
    for current in known::CURRENT {
        let source = format!("<{}>", current.source);
        text.push_str(&row(&[current.driver.to_string(), current.from.to_string(), source]));
    }
    text + "\n"
}

/// The registries that are gone, with the source of that.
pub fn retired() -> String {
    let mut text = String::from("| Images that begin with | | Source |\n|---|---|---|\n");
    for registry in known::RETIRED {
        let (prefix, source) = (format!("`{}`", registry.prefix), format!("<{}>", registry.source));
        text.push_str(&row(&[prefix.as_str(), registry.fate, &source]));
    }
    text + "\n"
}
