//! What is wrong with a matrix, for people and for programs. Pure, but for [`manifests`].

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use vdo_compat::Matrix;
use vdo_matrix::lint::{Linted, Manifest, Manifests};
use vdo_matrix::{Finding, Level};

use crate::input;
use crate::look::{Look, Mark};
use crate::page::Page;

/// The longest manifest that is read.
const LONGEST: u64 = 4 * 1024 * 1024;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The file.
    pub matrix: String,
    /// How many errors there are.
    pub errors: usize,
    /// How many warnings.
    pub warnings: usize,
    /// How many notes.
    pub notes: usize,
    /// All of them, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Of this file.
    pub fn new(matrix: &str, linted: Linted) -> Verdict {
        Verdict {
            matrix: matrix.to_owned(),
            errors: linted.count(Level::Error),
            warnings: linted.count(Level::Warning),
            notes: linted.count(Level::Note),
            findings: linted.findings,
        }
    }

    /// Nothing but notes.
    pub fn is_clean(&self) -> bool {
        self.errors + self.warnings == 0
    }
}

/// The manifests of a folder that a matrix names: each path is looked for by as much of its end as the folder has. A
/// folder without any of them is a mistake.
pub fn manifests(matrix: &Matrix, folder: &Path) -> Result<Manifests> {
    let mut found = Manifests::new();
    for path in matrix.rows.iter().flat_map(|row| &row.deployment_path) {
        let Some(file) = place(path, folder) else { continue };
        let name = file.display().to_string();
        let bytes = input::bytes(&file, LONGEST).with_context(|| format!("cannot read {name}"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        found.insert(path.clone(), Manifest { file: name, text });
    }
    anyhow::ensure!(
        !found.is_empty(),
        "{} has none of the manifests that the matrix names",
        folder.display()
    );
    Ok(found)
}

fn place(path: &str, folder: &Path) -> Option<PathBuf> {
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    (0..parts.len()).find_map(|from| {
        let end: PathBuf = parts[from..].iter().collect();
        let is_below = end.components().all(|part| matches!(part, Component::Normal(_)));
        let file = folder.join(end);
        (is_below && file.is_file()).then_some(file)
    })
}

/// Draws the findings, each with its place, and what to do about the first of each kind.
pub fn draw(verdict: &Verdict, look: Look) -> String {
    let mut page = Page::new(look);
    let mut said = BTreeSet::new();
    for finding in &verdict.findings {
        let mark = match finding.level {
            Level::Error => Mark::Bad,
            Level::Warning => Mark::Waiting,
            Level::Note => Mark::None,
        };
        let file = finding.manifest.as_ref().unwrap_or(&verdict.matrix);
        let place = finding.position.map_or_else(|| file.clone(), |position| format!("{file}:{position}"));
        page.head(mark, &format!("{}: {} at {place}", finding.level, finding.rule.id()));
        page.row(Mark::None, "", &finding.message);
        if said.insert(finding.rule) {
            let about = finding.rule.about();
            page.row(Mark::None, "", &format!("{} {}.", about.meaning, about.remedy));
        }
    }
    page.gap();
    let (mark, sum) = match verdict.is_clean() {
        true => (Mark::Good, "nothing is wrong"),
        false => (Mark::Bad, "something is wrong"),
    };
    let count = |number: usize, name: &str| match number {
        1 => format!("1 {name}"),
        _ => format!("{number} {name}s"),
    };
    page.head(
        mark,
        &format!(
            "{}: {sum}; {}, {}, {}",
            verdict.matrix,
            count(verdict.errors, "error"),
            count(verdict.warnings, "warning"),
            count(verdict.notes, "note")
        ),
    );
    page.text()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use vdo_matrix::lint::lint;

    use super::*;

    const TEXT: &str = r#"{"CPI": {
  "1.26.0": {"vSphere": {"min": "6.7.3", "max": "8.0"}, "k8s": {"skewVersion": "1.26"}, "deploymentPath": ["file:///a/b/x.yaml"]},
  "1.27.0": {"vSphere": {"min": "6.7.3", "max": "8.0"}, "k8s": {"skewVersion": "1.27"}, "deploymentPath": ["../x.yaml"]}
}}"#;

    fn verdict() -> Verdict {
        Verdict::new("my.json", lint(TEXT, &Manifests::new(), None))
    }

    #[test]
    fn each_finding_has_its_place_and_each_rule_is_explained_once() {
        let text = draw(&verdict(), Look::plain(80));
        assert!(
            text.contains("error: no-image at my.json:2:3\n          CPI 1.26.0 has no official image"),
            "{text}"
        );
        assert_eq!(text.matches("error: no-image").count(), 2, "{text}");
        assert_eq!(text.matches("was never").count(), 1, "{text}");
        assert!(text.ends_with("\nmy.json: something is wrong; 2 errors, 5 warnings, 0 notes\n"), "{text}");
        assert!(!verdict().is_clean());
    }

    #[test]
    fn a_manifest_is_looked_for_by_the_end_of_its_path_and_never_outside_of_the_folder() {
        let folder = std::env::temp_dir().join(format!("vdoctl-lint-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner/b")).unwrap();
        fs::write(folder.join("inner/b/x.yaml"), "kind: A").unwrap();
        fs::write(folder.join("x.yaml"), "kind: B").unwrap();
        let matrix = lint(TEXT, &Manifests::new(), None).matrix.unwrap();
        let of = |folder: &Path| {
            let found = manifests(&matrix, folder).unwrap();
            found.into_iter().map(|(path, it)| (path, it.text)).collect::<Vec<_>>()
        };
        let pair = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        // The longest end that is there; and one step up is not taken.
        assert_eq!(of(&folder.join("inner")), [pair("file:///a/b/x.yaml", "kind: A")]);
        assert_eq!(of(&folder), [pair("../x.yaml", "kind: B"), pair("file:///a/b/x.yaml", "kind: B")]);
        assert!(
            manifests(&matrix, &folder.join("nowhere"))
                .unwrap_err()
                .to_string()
                .ends_with("that the matrix names")
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_manifest_that_is_too_long_is_named() {
        let folder = std::env::temp_dir().join(format!("vdoctl-lint-long-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::File::create(folder.join("x.yaml")).unwrap().set_len(LONGEST + 1).unwrap();
        let matrix = lint(TEXT, &Manifests::new(), None).matrix.unwrap();
        let said = format!("{:#}", manifests(&matrix, &folder).unwrap_err());
        let name = folder.join("x.yaml").display().to_string();
        assert_eq!(said, format!("cannot read {name}: it is longer than 4194304 bytes"));
        fs::remove_dir_all(folder).unwrap();
    }
}
