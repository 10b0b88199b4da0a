//! Which fields of an object an apply would change. Pure.
//!
//! An apply sets the fields that the object has, and takes away those that its manager had applied before and does not
//! any more, unless somebody else has them too. What others set beside is theirs, and no change.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;
use vdo_api::condition::clip;
use vdo_plan::drift::changes;
use vdo_plan::{Object, ObjectRef};

use super::FieldPlan;

/// What is shown of a value of a Secret.
pub const CHANGED: &str = "(changed)";
/// The longest value that is kept.
const LONGEST: usize = 120;
/// How many lines of a text are named.
const LINES: usize = 12;
/// What tells the elements of a list apart for a reader.
const KEYS: [&str; 4] = ["name", "key", "mountPath", "containerPort"];

/// What an apply of `ours` by this manager would change in `live`.
pub fn compared(ours: &Object, live: &Value, manager: &str) -> Vec<FieldPlan> {
    let entries = live.pointer("/metadata/managedFields").cloned().unwrap_or_default();
    let entries: Vec<ManagedFieldsEntry> = serde_json::from_value(entries).unwrap_or_default();
    let is_secret = ours.reference().kind == "Secret";
    let set = changes(ours, live, &entries, manager).into_iter().map(|change| {
        if is_secret && is_content(&change.path) {
            return FieldPlan::new(change.path, None, Some(CHANGED.to_owned()));
        }
        FieldPlan { path: change.path, from: change.found, to: Some(change.ours), manager: change.manager }
    });
    let mut fields: Vec<FieldPlan> = set.collect();
    let is_ours = |entry: &&ManagedFieldsEntry| {
        entry.operation.as_deref() == Some("Apply") && entry.manager.as_deref() == Some(manager)
    };
    let others: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry.manager.as_deref() != Some(manager))
        .filter_map(|entry| Some(&entry.fields_v1.as_ref()?.0))
        .collect();
    for entry in entries.iter().filter(is_ours) {
        let Some(owned) = &entry.fields_v1 else { continue };
        let mut lost = Lost { is_secret, found: Vec::new() };
        lost.walk(&owned.0, &others, ours.value(), live, "");
        fields.extend(lost.found);
    }
    fields
}

/// Whether the path leads to what a Secret holds.
fn is_content(path: &str) -> bool {
    ["data", "stringData"].iter().any(|part| {
        path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Fields that the manager applied before and does not any more.
struct Lost {
    is_secret: bool,
    found: Vec<FieldPlan>,
}

impl Lost {
    /// `owned` is a set of managed fields below `at`; the others are those of other managers.
    fn walk(&mut self, owned: &Value, others: &[&Value], ours: &Value, live: &Value, at: &str) {
        for (name, inner) in owned.as_object().into_iter().flatten() {
            let Some((kind, rest)) = name.split_once(':') else { continue };
            let theirs: Vec<&Value> = others.iter().filter_map(|set| set.get(name)).collect();
            let (path, mine, there) = match kind {
                "f" => (below(at, rest), ours.get(rest), live.get(rest)),
                "k" => {
                    let Ok(keys) = serde_json::from_str::<Value>(rest) else { continue };
                    (format!("{at}[{}]", label(&keys)), element(ours, &keys), element(live, &keys))
                }
                "v" => {
                    let Ok(value) = serde_json::from_str::<Value>(rest) else { continue };
                    (format!("{at}[{}]", shown(&value)), member(ours, &value), member(live, &value))
                }
                _ => continue,
            };
            let Some(there) = there else { continue };
            match mine {
                None if theirs.is_empty() => self.note(path, there),
                // Somebody else applied it too, so it stays.
                None => {}
                Some(mine) if inner.as_object().is_some_and(serde_json::Map::is_empty) => {
                    // A list that is set as a whole: what is beyond ours goes with it.
                    if let (Some(mine), Some(there)) = (mine.as_array(), there.as_array())
                        && there.len() > mine.len()
                    {
                        for (index, value) in there.iter().enumerate().skip(mine.len()) {
                            self.note(format!("{path}[{index}]"), value);
                        }
                    }
                }
                Some(mine) => self.walk(inner, &theirs, mine, there, &path),
            }
        }
    }

    fn note(&mut self, path: String, there: &Value) {
        let hide = self.is_secret && is_content(&path);
        let from = if hide { CHANGED.to_owned() } else { shown(there) };
        self.found.push(FieldPlan::new(path, Some(from), None));
    }
}

fn below(at: &str, name: &str) -> String {
    match (at.is_empty(), name.contains(['.', '/'])) {
        (_, true) => format!("{at}[{name}]"),
        (true, false) => name.to_owned(),
        (false, false) => format!("{at}.{name}"),
    }
}

fn element<'a>(list: &'a Value, keys: &Value) -> Option<&'a Value> {
    let keys = keys.as_object()?;
    list.as_array()?.iter().find(|it| keys.iter().all(|(key, value)| it.get(key) == Some(value)))
}

fn member<'a>(list: &'a Value, value: &Value) -> Option<&'a Value> {
    list.as_array()?.iter().find(|it| *it == value)
}

fn label(keys: &Value) -> String {
    let values = keys.as_object().into_iter().flatten().map(|(_, value)| shown(value));
    values.collect::<Vec<_>>().join(",")
}

fn shown(value: &Value) -> String {
    clip(&value.as_str().map_or_else(|| value.to_string(), str::to_owned), LONGEST)
}

/// Every field of an object that is not there yet.
pub fn created(object: &Object) -> Vec<FieldPlan> {
    let mut fields = Vec::new();
    let is_secret = object.reference().kind == "Secret";
    leaves(object.value(), "", &mut |path, value| {
        if ["apiVersion", "kind", "metadata.name", "metadata.namespace"].contains(&path.as_str()) {
            return;
        }
        let to = if is_secret && is_content(&path) { CHANGED.to_owned() } else { shown(value) };
        fields.push(FieldPlan::new(path, None, Some(to)));
    });
    fields
}

fn leaves(value: &Value, at: &str, note: &mut impl FnMut(String, &Value)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| leaves(value, &below(at, name), note));
        }
        Value::Array(list) if !list.is_empty() => {
            for (index, value) in list.iter().enumerate() {
                let key = KEYS.iter().find_map(|key| value.get(key)).map(shown);
                leaves(value, &format!("{at}[{}]", key.unwrap_or_else(|| index.to_string())), note);
            }
        }
        Value::Null => {}
        leaf => note(at.to_owned(), leaf),
    }
}

/// What differs between an object and the one whose place it takes under another name.
pub fn replaced(reference: &ObjectRef, before: &Value, after: &Value) -> Vec<FieldPlan> {
    let mut fields = Vec::new();
    let part = |object: &Value| object["data"].as_object().cloned().unwrap_or_default();
    let (old, new) = (part(before), part(after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names.into_iter().filter(|name| old.get(*name) != new.get(*name)) {
        let path = below("data", name);
        if reference.kind == "Secret" {
            fields.push(FieldPlan::new(path, None, Some(CHANGED.to_owned())));
            continue;
        }
        let text = |map: &serde_json::Map<String, Value>| {
            map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        lines(&path, &text(&old), &text(&new), &mut fields);
    }
    fields
}

/// The lines of a text that are not in the other one.
fn lines(path: &str, before: &str, after: &str, fields: &mut Vec<FieldPlan>) {
    let only = |one: &str, other: &str| -> Vec<String> {
        let known: Vec<&str> = other.lines().map(str::trim).collect();
        let new = one.lines().map(str::trim).filter(|line| !known.contains(line));
        new.map(|line| clip(line, LONGEST)).collect()
    };
    let (gone, new) = (only(before, after), only(after, before));
    for at in 0..gone.len().max(new.len()).min(LINES) {
        fields.push(FieldPlan::new(path, gone.get(at).cloned(), new.get(at).cloned()));
    }
    let more = gone.len().max(new.len()).saturating_sub(LINES);
    if more > 0 || gone.len() + new.len() == 0 {
        let said = if more > 0 {
            format!("{more} more lines differ")
        } else {
            "its lines are in another order".into()
        };
        fields.push(FieldPlan::new(path, None, Some(said)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::DaemonSet;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    fn daemon_set(args: &[&str], env: Value) -> Value {
        json!({
            "metadata": {"name": "d", "namespace": "n"},
            "spec": {"selector": {}, "template": {"spec": {"containers": [
                {"name": "main", "image": "i", "args": args, "env": env},
            ]}}},
        })
    }

    fn object(value: Value) -> Object {
        Object::new(&serde_json::from_value::<DaemonSet>(value).unwrap())
    }

    fn owned(manager: &str, main: Value) -> Value {
        json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {
            "f:containers": {"k:{\"name\":\"main\"}": main},
        }}}}})
    }

    #[test]
    fn what_was_applied_before_and_is_not_any_more_goes_unless_somebody_else_has_it() {
        let env = json!([{"name": "OLD", "value": "1"}, {"name": "SHARED", "value": "2"}, {"name": "THEIRS", "value": "3"}]);
        let mut live = daemon_set(&["--a", "--b"], env);
        let both = json!({"f:args": {}, "f:env": {"k:{\"name\":\"OLD\"}": {".": {}, "f:name": {}, "f:value": {}},
            "k:{\"name\":\"SHARED\"}": {".": {}, "f:name": {}, "f:value": {}}}});
        let shared = json!({"f:env": {"k:{\"name\":\"SHARED\"}": {".": {}, "f:name": {}, "f:value": {}}}});
        live["metadata"]["managedFields"] = json!([owned("vdo", both), owned("other", shared)]);

        let fields = compared(&object(daemon_set(&["--a"], json!([]))), &live, "vdo");

        let at = "spec.template.spec.containers[main]";
        let said: Vec<(String, Option<&str>)> =
            fields.iter().map(|it| (it.path.clone(), it.to.as_deref())).collect();
        assert_eq!(said, [(format!("{at}.args[1]"), None), (format!("{at}.env[OLD]"), None)]);
        assert_eq!(fields[0].from.as_deref(), Some("--b"));
    }

    #[test]
    fn no_value_of_a_secret_is_shown_whatever_becomes_of_it() {
        let secret = |data: Value| json!({"metadata": {"name": "s", "namespace": "n"}, "data": data});
        let ours = Object::new(
            &serde_json::from_value::<Secret>(secret(json!({"new": "aHVudGVy", "other": "aHVudGVy"})))
                .unwrap(),
        );
        let mut live = secret(json!({"other": "b2xk", "gone": "b2xk"}));
        live["metadata"]["managedFields"] = json!([{"manager": "vdo", "operation": "Apply",
            "fieldsV1": {"f:data": {"f:other": {}, "f:gone": {}}}}]);

        let mut fields = compared(&ours, &live, "vdo");
        assert_eq!(fields.len(), 3, "{fields:?}");
        fields.extend(created(&ours));
        fields.extend(replaced(ours.reference(), &live, ours.value()));

        let text = format!("{fields:?}");
        for path in ["data.new", "data.other", "data.gone"] {
            assert!(text.contains(path), "{text}");
        }
        assert!(!text.contains("aHVudGVy") && !text.contains("b2xk"), "{text}");
    }

    #[test]
    fn a_configuration_under_a_new_name_is_compared_line_by_line() {
        let map = |port: u16| {
            let text = format!("{:#}\n", json!({"port": port, "server": "vc1"}));
            json!({"metadata": {"name": "m", "namespace": "n"}, "data": {"vsphere.conf": text}})
        };
        let object = Object::new(&serde_json::from_value::<ConfigMap>(map(8443)).unwrap());
        let fields = replaced(object.reference(), &map(443), &map(8443));
        let field = FieldPlan::new(
            "data[vsphere.conf]",
            Some("\"port\": 443,".to_owned()),
            Some("\"port\": 8443,".to_owned()),
        );
        assert_eq!(fields, [field]);
    }

    #[test]
    fn every_field_of_a_new_object_is_named() {
        let fields = created(&object(daemon_set(&["--a"], json!([{"name": "X", "value": "1"}]))));
        let paths: Vec<&str> = fields.iter().map(|it| it.path.as_str()).collect();
        let at = "spec.template.spec.containers[main]";
        for path in ["image", "args[0]", "env[X].value"] {
            assert!(paths.contains(&format!("{at}.{path}").as_str()), "{paths:?}");
        }
    }
}
