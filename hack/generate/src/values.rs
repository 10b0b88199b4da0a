//! The values of the chart, as tables from `values.yaml` (defaults, and what the comments say) and `values.schema.json`
//! (what is accepted).

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::docs;

const UMBRELLA: &str = include_str!("../../../charts/vdo/values.yaml");
const UMBRELLA_SCHEMA: &str = include_str!("../../../charts/vdo/values.schema.json");

/// A chart of an operator: its name, values and schema.
type Part = (&'static str, &'static str, &'static str);
pub(crate) const PARTS: [Part; 3] = [
    (
        "vdo-core",
        include_str!("../../../charts/vdo-core/values.yaml"),
        include_str!("../../../charts/vdo-core/values.schema.json"),
    ),
    (
        "cpi-operator",
        include_str!("../../../charts/cpi-operator/values.yaml"),
        include_str!("../../../charts/cpi-operator/values.schema.json"),
    ),
    (
        "csi-operator",
        include_str!("../../../charts/csi-operator/values.yaml"),
        include_str!("../../../charts/csi-operator/values.schema.json"),
    ),
];

/// What the comments of `values.yaml` leave to the names.
const BESIDES: &[(&str, &str)] = &[
    ("image.registry", "The registry of the operator's image; `global.imageRegistry` wins over it."),
    ("image.repository", "Its path below the registry."),
    ("image.pullPolicy", "When a node asks the registry for it."),
    ("resources.requests.cpu", "What the scheduler sets aside for each replica."),
    ("resources.requests.memory", "What the scheduler sets aside for each replica."),
    ("resources.limits.memory", "What a replica may use before it is killed; it starts again and goes on."),
];

/// Values whose inside the API server knows, and the schema of the chart does not.
const SPECS: &[(&str, &str)] = &[
    ("config.vsphereCloudConfigs", "names, each with the spec of a VsphereCloudConfig"),
    ("config.vdoConfig", "the spec of a VDOConfig"),
];

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its path, with dots.
    pub path: String,
    /// As it stands in the file.
    pub default: String,
    /// What the comments above it say.
    pub means: String,
}

/// The values that are given once for all.
pub fn of_all() -> Result<String> {
    let schema = serde_json::from_str(UMBRELLA_SCHEMA).context("the schema of vdo")?;
    let mut text = head("Value", "Default");
    for row in read(UMBRELLA)? {
        text.push_str(&line(&row.path, &code(&row.default), &accepted(&schema, &row.path), &row.means));
    }
    Ok(text)
}

/// The values of an operator, which are told once where all have them.
pub fn of_an_operator() -> Result<String> {
    let mut paths: Vec<String> = Vec::new();
    let mut found: BTreeMap<String, Vec<(&str, Row, String)>> = BTreeMap::new();
    for (name, values, schema) in PARTS {
        let schema: Value = serde_json::from_str(schema).with_context(|| format!("the schema of {name}"))?;
        for row in read(values)?.into_iter().filter(|row| !row.path.starts_with("global.")) {
            if !paths.contains(&row.path) {
                paths.push(row.path.clone());
            }
            let accepted = accepted(&schema, &row.path);
            found.entry(row.path.clone()).or_default().push((name, row, accepted));
        }
    }
    let mut text = head("Value, below the name of the operator", "Default");
    for path in paths {
        let rows = &found[&path];
        let (_, first, accepted) = rows.first().context("a path was found somewhere")?;
        let default = if rows.iter().all(|(_, row, _)| row.default == first.default) {
            code(&first.default)
        } else {
            let each = rows.iter().map(|(name, row, _)| format!("{name}: {}", code(&row.default)));
            each.collect::<Vec<_>>().join(", ")
        };
        let mut means = first.means.clone();
        if rows.len() < PARTS.len() {
            let names: Vec<&str> = rows.iter().map(|(name, _, _)| *name).collect();
            means.push_str(&format!(" Only {}.", names.join(" and ")));
        }
        text.push_str(&line(&path, &default, accepted, &means));
    }
    Ok(text)
}

fn head(first: &str, second: &str) -> String {
    format!("| {first} | {second} | Accepted | Means |\n|---|---|---|---|\n")
}

fn line(path: &str, default: &str, accepted: &str, means: &str) -> String {
    docs::row(&[&format!("`{path}`"), default, accepted, means])
}

fn code(default: &str) -> String {
    if default.is_empty() || default == "\"\"" { "empty".into() } else { format!("`{default}`") }
}

/// What the schema accepts.
fn accepted(schema: &Value, path: &str) -> String {
    if let Some((_, what)) = SPECS.iter().find(|(of, _)| *of == path) {
        return (*what).into();
    }
    let part = path.split('.').try_fold(schema, |at, name| {
        at["properties"].get(name).or_else(|| at.get("additionalProperties").filter(|it| it.is_object()))
    });
    let Some(part) = part else { return "text".into() };
    if part["type"].is_array() {
        return "a quantity".into();
    }
    let words = part["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
    match (part["type"].as_str(), part["minimum"].as_i64(), part["maximum"].as_i64()) {
        _ if !words.is_empty() => words.join(", "),
        (_, Some(least), Some(most)) => format!("{least} to {most}"),
        (Some("boolean"), _, _) => "`true`, `false`".into(),
        (Some("array"), _, _) => match part["items"]["type"].as_str() {
            Some("integer") => "a list of numbers".into(),
            Some("object") => "a list, as in a pod".into(),
            Some(_) | None => "a list of names".into(),
        },
        (Some("object"), _, _) if part["properties"].is_object() => "as in a pod".into(),
        (Some("object"), _, _) => "names with their values".into(),
        (_, _, _) => "text".into(),
    }
}

/// The values of a file in its order. It knows the YAML that these files are written in: two blanks a level, lists of
/// plain words, comments above what they are about.
pub fn read(text: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    // What is said about a group is said again of what is in it.
    let mut of_group: Vec<String> = Vec::new();
    for line in text.lines() {
        let (bare, indent) = (line.trim_start(), line.len() - line.trim_start().len());
        if bare.is_empty() {
            comment.clear();
        } else if let Some(said) = bare.strip_prefix('#') {
            comment.push(said.trim());
        } else if let Some(item) = bare.strip_prefix("- ") {
            let row = rows.last_mut().context("an item without a list")?;
            row.default = [row.default.as_str(), item]
                .iter()
                .filter(|it| !it.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(", ");
        } else {
            let (key, value) = bare.split_once(':').with_context(|| format!("{line:?} has no key"))?;
            if indent % 2 != 0 {
                bail!("{line:?} is indented by an odd number");
            }
            path.truncate(indent / 2);
            of_group.truncate(indent / 2);
            // A key with nothing behind it was a group, not a value.
            rows.retain(|row| row.path != path.join("."));
            path.push(key);
            let said = std::mem::take(&mut comment).join(" ");
            let mut means: Vec<&str> = of_group.iter().map(String::as_str).chain([said.as_str()]).collect();
            means.retain(|said| !said.is_empty() && !said.starts_with("Given to all parts"));
            let path = path.join(".");
            let besides = BESIDES.iter().find(|(of, _)| *of == path).map(|(_, means)| *means);
            means.extend(besides.filter(|_| means.is_empty()));
            let means = means.join(" ");
            of_group.push(said);
            rows.push(Row { path, default: value.trim().to_owned(), means });
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_lists_and_what_is_said_of_a_group_are_read() {
        let text = "# Top.\n\n# Of a.\na:\n  # Of b.\n  b: 1\n  c:\n    - x\n    - y\nd: \"\"\n";
        let row = |path: &str, default: &str, means: &str| Row {
            path: path.into(),
            default: default.into(),
            means: means.into(),
        };
        assert_eq!(
            read(text).unwrap(),
            [row("a.b", "1", "Of a. Of b."), row("a.c", "x, y", "Of a."), row("d", "\"\"", "")]
        );
    }

    #[test]
    fn every_value_says_what_it_means() {
        for (name, values) in
            PARTS.map(|(name, values, _)| (name, values)).into_iter().chain([("vdo", UMBRELLA)])
        {
            for row in read(values).unwrap() {
                assert!(row.means.ends_with('.'), "{name}: {row:?}");
            }
        }
    }

    /// The paths of a schema that hold a value.
    fn leaves(at: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, part) in schema["properties"].as_object().into_iter().flatten() {
            let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
            if part["properties"].is_object() {
                leaves(&at, part, found);
            } else {
                found.push(at);
            }
        }
    }

    #[test]
    fn every_value_that_a_schema_accepts_has_a_row() {
        for (name, values, schema) in PARTS.into_iter().chain([("vdo", UMBRELLA, UMBRELLA_SCHEMA)]) {
            let rows = read(values).unwrap();
            let mut wanted = Vec::new();
            leaves("", &serde_json::from_str(schema).unwrap(), &mut wanted);
            // helm hands the library's own values and the switch of a part down; both are of the chart above.
            wanted.retain(|path| path != "vdo-lib" && (path != "enabled" || name == "vdo"));
            for path in wanted {
                let told = rows.iter().any(|row| {
                    row.path == path
                        || row.path.starts_with(&format!("{path}."))
                        || path.starts_with(&format!("{}.", row.path))
                });
                assert!(told, "{name}: {path} has no row");
            }
        }
    }

    #[test]
    fn what_holds_a_spec_says_of_which_kind() {
        let text = of_all().unwrap();
        for (path, what) in SPECS {
            assert!(text.contains(&format!("| `{path}` | `{{}}` | {what} |")), "{path}: {text}");
        }
    }

    #[test]
    fn what_is_global_is_the_same_in_every_chart() {
        let global = |values| -> Vec<Row> {
            read(values).unwrap().into_iter().filter(|row| row.path.starts_with("global.")).collect()
        };
        let wanted: Vec<(String, String)> =
            global(UMBRELLA).into_iter().map(|row| (row.path, row.default)).collect();
        assert!(!wanted.is_empty());
        for (name, values, _) in PARTS {
            let found: Vec<(String, String)> =
                global(values).into_iter().map(|row| (row.path, row.default)).collect();
            assert_eq!(found, wanted, "{name}");
        }
    }
}
