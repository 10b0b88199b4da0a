//! `docs/bad-input.md`: what a user can get wrong and how it is answered, from `e2e/bad-input.toml`. The story `admission`
//! sends the same table to a real API server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::docs;

/// Where the page goes.
const FILE: &str = "docs/bad-input.md";
/// The table, as it is in the checkout.
const TABLE: &str = include_str!("../../../e2e/bad-input.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// How many rows there are; ids count from B1.
    rows: usize,
    row: Vec<Row>,
}

/// One thing that a user can get wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    kind: Kind,
    field: String,
    /// The mistake, in words.
    input: String,
    answer: Answer,
    /// What the API server says.
    #[serde(default)]
    says: String,
    #[serde(default)]
    case: Vec<Case>,
    #[serde(default)]
    fine: Vec<Case>,
    /// Conditions, as `Type=Status Reason` or, where the status depends on what is installed, `Type Reason`.
    #[serde(default)]
    shown: Vec<String>,
    /// Tests that hold what the story does not, as `binary::test`.
    #[serde(default)]
    tests: Vec<String>,
    #[serde(default)]
    note: String,
}

/// A value. The story knows more of it.
#[derive(Deserialize)]
struct Case {
    value: Option<Value>,
    long: Option<Value>,
    items: Option<usize>,
    says: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
enum Kind {
    VsphereCloudConfig,
    Secret,
    #[serde(rename = "VDOConfig")]
    VdoConfig,
    CompatibilityConfig,
    Matrix,
}

/// How a row is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Refused,
    Condition,
    Accepted,
    Absent,
    Open,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::VsphereCloudConfig, Kind::Secret, Kind::VdoConfig, Kind::CompatibilityConfig, Kind::Matrix];

    fn is_of_matrices(self) -> bool {
        match self {
            Kind::CompatibilityConfig | Kind::Matrix => true,
            Kind::VsphereCloudConfig | Kind::Secret | Kind::VdoConfig => false,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Kind::VsphereCloudConfig => "VsphereCloudConfig",
            Kind::Secret => "The Secret that it names",
            Kind::VdoConfig => "VDOConfig",
            Kind::CompatibilityConfig => "CompatibilityConfig",
            Kind::Matrix => "The compatibility matrix",
        }
    }
}

impl Answer {
    const ALL: [Answer; 5] =
        [Answer::Refused, Answer::Condition, Answer::Accepted, Answer::Absent, Answer::Open];

    /// How a sentence about their number ends.
    fn counted(self) -> &'static str {
        match self {
            Answer::Refused => "are refused by the API server",
            Answer::Condition => "are accepted and shown as a condition",
            Answer::Accepted => "are accepted and meant so",
            Answer::Absent => "are about fields that VDO does not have",
            Answer::Open => "are not answered as they should be yet",
        }
    }
}

/// The page, by its path.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    Ok([(PathBuf::from(FILE), page(&table()?))].into())
}

fn table() -> Result<Table> {
    let table: Table = toml::from_str(TABLE).context("e2e/bad-input.toml")?;
    ensure!(table.row.len() == table.rows, "e2e/bad-input.toml has {} rows", table.row.len());
    Ok(table)
}

/// The story that sends every value that is refused.
const STORY: &str =
    "admission::bad_input_is_refused_with_its_field_and_the_same_object_without_the_fault_is_accepted";

/// One mistake in a matrix or in what names it, for the page of its faults.
pub struct Input {
    /// Its id.
    pub id: String,
    /// Where it is made.
    pub field: String,
    /// The mistake, in words.
    pub input: String,
    /// How it is answered, in words.
    pub answer: String,
    /// The tests that show it.
    pub tests: Vec<String>,
    /// Why there is none.
    pub note: String,
}

/// Every mistake in a matrix or in what names it.
pub fn of_matrices() -> Result<Vec<Input>> {
    let rows = table()?.row.into_iter().filter(|row| row.kind.is_of_matrices());
    Ok(rows
        .map(|row| {
            let answer = match row.answer {
                Answer::Refused => format!("Refused: {}", words(&row)),
                Answer::Condition => format!("Shown as {}", conditions(&row)),
                Answer::Accepted => row.note.clone(),
                Answer::Absent => "Does not apply".to_owned(),
                Answer::Open => "Open".to_owned(),
            };
            let mut tests = row.tests;
            if row.answer == Answer::Refused {
                tests.insert(0, STORY.to_owned());
            }
            Input { id: row.id, field: row.field, input: row.input, answer, tests, note: row.note }
        })
        .collect())
}

const OPENING: &str = "<!-- Generated by `make generate` from e2e/bad-input.toml; edits are lost. -->

# Bad input

What happens when a VsphereCloudConfig, its Secret, a VDOConfig or a compatibility matrix says what cannot be meant.

A mistake that shows in the object itself is refused by the API server, in a new object as well as in a change of an old
one. Nothing is stored and nothing that runs is touched; the answer names the field and says what it may hold. An object
that was stored before there was a rule can still be changed elsewhere.

A mistake that only the vCenter, the Secret or the cluster can show is accepted, and told in a condition.
What is installed keeps running as it is until the mistake is mended; [conditions.md](conditions.md) says for each reason
what it means, what VDO does meanwhile, and what you do. To see all of them:

<!-- run: see-conditions -->
```console
$ kubectl -n vmware-system-vdo describe vdo,vcc
```

";

fn page(table: &Table) -> String {
    let of = |answer| table.row.iter().filter(move |row| row.answer == answer);
    let all = counted(table, |_| true);
    let matrices = counted(table, Kind::is_of_matrices);
    let mut text = format!(
        "{OPENING}The ids are those of the tests. Of {all}.\n\nAbout a compatibility matrix and what names it: of {matrices}. \
         [matrix-faults.md](matrix-faults.md) has the test of each.\n"
    );
    text.push_str("\n## Refused by the API server\n");
    for kind in Kind::ALL {
        let mut rows = of(Answer::Refused).filter(|row| row.kind == kind).peekable();
        if rows.peek().is_none() {
            continue;
        }
        text.push_str(&format!(
            "\n### {}\n\n| Id | Field | Mistake | Such as | The answer says |\n|---|---|---|---|---|\n",
            kind.title()
        ));
        for row in rows {
            text.push_str(&docs::row(&[
                row.id.clone(),
                format!("`{}`", row.field),
                row.input.clone(),
                examples(&row.case),
                words(row),
            ]));
        }
    }
    text.push_str("\n## Accepted, and shown in a condition\n");
    for kind in Kind::ALL {
        text.push_str(&format!(
            "\n### {}\n\n| Id | Field | Mistake | Shown as | And then |\n|---|---|---|---|---|\n",
            kind.title()
        ));
        for row in of(Answer::Condition).filter(|row| row.kind == kind) {
            text.push_str(&docs::row(&[
                row.id.clone(),
                format!("`{}`", row.field),
                row.input.clone(),
                conditions(row),
                row.note.clone(),
            ]));
        }
    }
    for (answer, title, last) in [
        (Answer::Accepted, "Accepted, and meant so", "What it means"),
        (Answer::Absent, "About fields that VDO does not have", "Instead"),
        (Answer::Open, "Not answered as they should be yet", "What is missing"),
    ] {
        if of(answer).next().is_none() {
            continue;
        }
        text.push_str(&format!(
            "\n## {title}\n\n| Id | Kind | Field | Input | {last} |\n|---|---|---|---|---|\n"
        ));
        for row in of(answer) {
            let kind = match row.kind {
                Kind::Secret => "Secret",
                Kind::Matrix => "Matrix",
                Kind::VsphereCloudConfig | Kind::VdoConfig | Kind::CompatibilityConfig => row.kind.title(),
            };
            text.push_str(&docs::row(&[
                row.id.clone(),
                kind.to_owned(),
                format!("`{}`", row.field),
                row.input.clone(),
                row.note.clone(),
            ]));
        }
    }
    text.push_str("\n## Close to what is refused\n\n");
    for row in of(Answer::Refused) {
        let fine = examples(&row.fine);
        let fine = (!fine.is_empty()).then(|| format!("Accepted: {fine}."));
        let said: Vec<&str> = [fine.as_deref(), Some(row.note.as_str())].into_iter().flatten().collect();
        let said = said.join(" ");
        if !said.is_empty() {
            text.push_str(&format!("- {} (`{}`): {}\n", row.id, row.field, said.trim_end()));
        }
    }
    text
}

/// How many mistakes of these kinds there are, and how many of them have which answer.
fn counted(table: &Table, counts: impl Fn(Kind) -> bool) -> String {
    let rows = || table.row.iter().filter(|row| counts(row.kind));
    let counts: Vec<String> = Answer::ALL
        .into_iter()
        .map(|answer| (rows().filter(|row| row.answer == answer).count(), answer))
        .filter(|(count, _)| *count > 0)
        .map(|(count, answer)| format!("{count} {}", answer.counted()))
        .collect();
    format!("{} mistakes, {}", rows().count(), counts.join(", "))
}

/// Those values that a reader can make something of.
fn examples(cases: &[Case]) -> String {
    let shown = cases.iter().filter_map(|case| match (&case.value, case.items) {
        (Some(Value::String(text)), _) if text.is_empty() => None,
        // As JSON, so that a line break is seen.
        (Some(value), _) => Some(format!("`{}`", value.to_string().replace('`', "'"))),
        (None, Some(items)) => Some(format!("{items} items")),
        (None, None) => case.long.as_ref().map(|_| "a long text".to_owned()),
    });
    let mut shown: Vec<String> = shown.collect();
    shown.dedup();
    shown.join(", ")
}

/// Everything that the API server says to the cases of a row.
fn words(row: &Row) -> String {
    let mut words = vec![row.says.as_str()];
    words.extend(row.case.iter().filter_map(|case| case.says.as_deref()));
    let mut seen = Vec::new();
    words.retain(|said| {
        let new = !seen.contains(said);
        seen.push(*said);
        new
    });
    words.join("; ")
}

/// The conditions of a row, each reason with its explanation behind it.
fn conditions(row: &Row) -> String {
    let shown = row.shown.iter().map(|shown| match shown.split_once(' ') {
        Some((condition, reason)) => {
            format!("`{condition}` [{reason}](conditions.md#{})", reason.to_ascii_lowercase())
        }
        None => shown.clone(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    #[test]
    fn every_id_is_there_once_and_the_rows_of_all_answers_make_the_sum() {
        let table = table().unwrap();
        let ids: Vec<&str> = table.row.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(ids, sources::ids('B', table.rows));
        let count = |answer| table.row.iter().filter(|row| row.answer == answer).count();
        let counts = Answer::ALL.map(|answer| (answer, count(answer)));
        println!("{} rows: {counts:?}", table.rows);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), table.rows);
    }

    #[test]
    fn what_we_say_of_the_number_of_mistakes_is_the_number() {
        let table = table().unwrap();
        for (file, before, after) in [
            ("docs/claims.toml", "Each of ", " mistakes has its answer"),
            ("CHANGELOG.md", "bad-input.md lists ", " mistakes"),
        ] {
            let text = std::fs::read_to_string(crate::root().unwrap().join(file)).unwrap();
            let said = format!("{before}{}{after}", table.rows);
            assert!(text.contains(&said), "{file} does not say {said:?}");
        }
        let matrices = table.row.iter().filter(|row| row.kind.is_of_matrices()).count();
        println!("{matrices} of them in a matrix");
        assert!(page(&table).contains(&format!("of {matrices} mistakes, ")));
    }

    #[test]
    fn every_row_has_what_its_answer_needs() {
        for row in table().unwrap().row {
            let id = &row.id;
            let tested = !row.tests.is_empty();
            assert!(!row.input.is_empty() && !row.field.is_empty(), "{id}");
            assert_eq!(row.answer == Answer::Refused, !row.says.is_empty() && !row.case.is_empty(), "{id}");
            assert!(
                !matches!(row.kind, Kind::Secret | Kind::Matrix)
                    || (row.case.is_empty() && row.fine.is_empty()),
                "{id}"
            );
            match row.answer {
                Answer::Refused => {}
                Answer::Condition => assert!(tested && !row.shown.is_empty(), "{id}"),
                Answer::Accepted => assert!(tested, "{id}"),
                // A reason in the place of a test.
                Answer::Absent | Answer::Open => assert!(!tested && !row.note.is_empty(), "{id}"),
            }
        }
    }

    #[test]
    fn every_condition_of_the_table_is_one_that_an_operator_writes() {
        for row in table().unwrap().row {
            for shown in &row.shown {
                let (condition, reason) = shown.split_once(' ').unwrap_or_else(|| panic!("{}", row.id));
                let (condition, status) = condition.split_once('=').unwrap_or((condition, "Unknown"));
                assert!(["True", "False", "Unknown"].contains(&status), "{}: {shown}", row.id);
                assert!(docs::is_condition(condition), "{}: no operator writes {condition}", row.id);
                assert!(docs::is_reason(reason), "{}: {reason} is no reason", row.id);
            }
        }
    }

    #[test]
    fn every_test_that_the_table_names_is_in_the_source() {
        let table = table().unwrap();
        let missing = sources::missing(table.row.iter().map(|row| (&row.id, &row.tests)));
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
