//! Rules of the CRDs that answer in words: a bare pattern would be shown to the user as it is.

use schemars::Schema;
use serde_json::{Value, json};

/// The key of rules in a schema.
const RULES: &str = "x-kubernetes-validations";

/// A text is like this regular expression, or the user is told so. The pattern holds no apostrophe.
pub(crate) fn like(pattern: &str, words: &str) -> Value {
    json!([{ "rule": format!("self.matches(r'{pattern}')"), "message": words }])
}

/// [`like`] for each item of a list, so that a refusal names the item.
pub(crate) fn each_like(pattern: &str, words: &str) -> impl FnMut(&mut Schema) {
    let rules = like(pattern, words);
    move |schema| {
        if let Some(items) = schema.get_mut("items").and_then(Value::as_object_mut) {
            items.insert(RULES.to_owned(), rules.clone());
        }
    }
}
