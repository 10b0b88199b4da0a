//! Every field that a user sets, as tables from the CRDs: what `kubectl explain` says, with the bounds and the rules.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::docs;

const HEAD: &str = "| Field | Holds | Means | Refused with |\n|---|---|---|---|\n";

/// The fields of one kind's spec.
pub fn table(kind: &str) -> Result<String> {
    let crd = vdo_api::crd::all().into_iter().find(|crd| crd.spec.names.kind == kind);
    let crd = serde_json::to_value(crd.with_context(|| format!("no kind {kind}"))?)?;
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut text = HEAD.to_owned();
    row("spec", "required", spec, &mut text);
    rows("spec", spec, &mut text);
    Ok(text)
}

/// One row for each field below `at`, in the order of their names.
fn rows(at: &str, schema: &Value, text: &mut String) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&name.into()));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        let must = if required(name) { "required; " } else { "" };
        row(&at, &format!("{must}{}", holds(field)), field, text);
        rows(&at, field, text);
        rows(&format!("{at}[]"), &field["items"], text);
    }
}

fn row(at: &str, holds: &str, field: &Value, text: &mut String) {
    let means = field["description"].as_str().unwrap_or_default().replace('\n', " ");
    let cells = [format!("`{at}`"), holds.to_owned(), means, rules(field).join("; ")];
    text.push_str(&docs::row(&cells));
}

/// The type with its bounds and default.
fn holds(field: &Value) -> String {
    let mut said = shape(field, "text");
    if let Some(most) = field["maxItems"].as_u64() {
        said.push_str(&format!("; at most {most}"));
    }
    let default = &field["default"];
    if !default.is_null() && default.as_array().is_none_or(|list| !list.is_empty()) {
        let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
        said.push_str(&format!("; `{default}` if not set"));
    }
    said
}

/// What a field holds; `text` is the word for a string.
fn shape(field: &Value, text: &str) -> String {
    let number = |key: &str| field[key].as_f64();
    match field["type"].as_str() {
        Some("array") if field["items"]["type"] == "object" => "list".into(),
        Some("array") => format!("list of {}", shape(&field["items"], "texts")),
        Some("string") if field["enum"].is_array() => {
            let words = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
        }
        Some("string") => {
            number("maxLength").map_or(text.into(), |most| format!("{text} of up to {most} characters"))
        }
        Some("integer") => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            _ => "number".into(),
        },
        Some("boolean") => "`true` or `false`".into(),
        Some("object") => "fields".into(),
        other => other.unwrap_or_default().into(),
    }
}

/// What the API server says when a rule is broken.
fn rules(field: &Value) -> Vec<&str> {
    let own = field["x-kubernetes-validations"].as_array().into_iter().flatten();
    let items = field["items"]["x-kubernetes-validations"].as_array().into_iter().flatten();
    own.chain(items).filter_map(|rule| rule["message"].as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_shows_its_bounds_its_default_and_its_rules() {
        let schema = json!({"required": ["a"], "properties": {
            "a": {"type": "string", "maxLength": 5, "description": "The a.", "x-kubernetes-validations": [{"message": "a is short"}]},
            "b": {"type": "array", "maxItems": 2, "items": {"type": "object", "properties": {
                "c": {"type": "string", "enum": ["X", "Y"], "default": "X"}}}},
            "d": {"type": "array", "items": {"type": "string", "maxLength": 7}},
        }});
        let mut text = String::new();
        rows("spec", &schema, &mut text);
        assert_eq!(
            text,
            "| `spec.a` | required; text of up to 5 characters | The a. | a is short |\n\
             | `spec.b` | list; at most 2 |  |  |\n\
             | `spec.b[].c` | `X` or `Y`; `X` if not set |  |  |\n\
             | `spec.d` | list of texts of up to 7 characters |  |  |\n"
        );
    }

    /// Every property of a schema, wherever it is.
    fn names(schema: &Value, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            found.push(name.clone());
            names(field, found);
            names(&field["items"], found);
        }
    }

    #[test]
    fn every_field_of_every_kind_has_one_row_that_says_what_it_means() {
        let mut rows = 0;
        for crd in vdo_api::crd::all() {
            let kind = crd.spec.names.kind.clone();
            let table = table(&kind).unwrap();
            let crd = serde_json::to_value(&crd).unwrap();
            let mut wanted = vec!["spec".to_owned()];
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            names(schema, &mut wanted);
            let lines: Vec<&str> = table.lines().skip(2).collect();
            assert_eq!(lines.len(), wanted.len(), "{kind}");
            for line in lines {
                let cells: Vec<&str> = line.split(" | ").collect();
                assert!(cells.len() == 4 && cells[1].len() > 3 && cells[2].len() > 5, "{line}");
                rows += 1;
            }
        }
        println!("{rows} fields");
    }
}
