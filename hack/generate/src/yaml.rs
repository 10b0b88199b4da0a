//! YAML as our generated files are written.

/// JSON as block-style YAML. Every string that could be read as something else is quoted.
pub fn yaml(value: &serde_json::Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &serde_json::Value, indent: usize, out: &mut String) {
    use serde_json::Value;
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, child) in map {
                out.push_str(&format!("{pad}{}:", scalar(&Value::from(key.as_str()))));
                nested(child, indent, out);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for child in list {
                let mut text = String::new();
                block(child, indent + 1, &mut text);
                match child {
                    Value::Object(_) | Value::Array(_) if !empty(child) => {
                        out.push_str(&format!("{pad}- {}", text.trim_start()));
                    }
                    _ => out.push_str(&format!("{pad}- {}\n", scalar(child))),
                }
            }
        }
        other => out.push_str(&format!("{pad}{}\n", scalar(other))),
    }
}

fn nested(child: &serde_json::Value, indent: usize, out: &mut String) {
    if empty(child) || !(child.is_object() || child.is_array()) {
        out.push_str(&format!(" {}\n", scalar(child)));
    } else {
        out.push('\n');
        block(child, indent + usize::from(child.is_object()), out);
    }
}

fn empty(value: &serde_json::Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn scalar(value: &serde_json::Value) -> String {
    let Some(text) = value.as_str() else { return value.to_string() };
    let first_is_letter = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c));
    let is_word = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if first_is_letter && is_plain && !is_word.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_that_yaml_reads_as_something_else_are_quoted() {
        let text = yaml(&json!({"a": "yes", "b": "0644", "c": ["x", {"d": [], "e": "a: b"}], "f": true}));
        assert_eq!(text, "a: \"yes\"\nb: \"0644\"\nc:\n- x\n- d: []\n  e: \"a: b\"\nf: true\n");
    }
}
