//! Objects in YAML, as kubectl reads them.

use serde_json::Value;

/// The objects of a text of at most so many values and bytes; those of a list one by one. Numbers like `0644` are octal.
/// An error names a place and shows nothing of the text, which may hold a password.
pub fn objects(text: &str, max_nodes: usize, max_bytes: usize) -> Result<Vec<Value>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_documents: 1024,
            max_nodes: max_nodes,
            max_total_scalar_bytes: max_bytes,
        },
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options)?;
    let mut objects = Vec::new();
    documents.into_iter().for_each(|document| flatten(document, &mut objects));
    Ok(objects)
}

fn flatten(mut document: Value, into: &mut Vec<Value>) {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items") {
        Some(Value::Array(items)) if is_list => {
            std::mem::take(items).into_iter().for_each(|item| flatten(item, into));
        }
        Some(_) | None => into.push(document),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_items_and_what_only_has_items_is_itself() {
        let text = "kind: List\nitems:\n- {kind: A}\n- kind: RoleList\n  items:\n  - {kind: B}\n\
            ---\nkind: C\nitems: [1]\n---\nkind: List\nitems: none\n";
        let kinds: Vec<String> = objects(text, 100, 1000)
            .unwrap()
            .iter()
            .map(|it| it["kind"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(kinds, ["A", "B", "C", "List"]);
    }

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let text = "a: [1, 2, 3]";
        assert!(objects(text, 6, 4).is_ok());
        assert!(objects(text, 5, 4).is_err(), "values");
        assert!(objects(text, 6, 3).is_err(), "bytes");
    }
}
