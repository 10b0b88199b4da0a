//! The end state in a form that two runs can be compared in: every object that VDO writes or owns, leaf by leaf.
//!
//! Two runs differ in random ids although they did the same: each object has a UID, and a journal has a key of its own, from
//! which the ids of revisions and of contents follow. So ids are called by the order of their first appearance; which
//! object bears or names which stays compared.

use std::collections::BTreeMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::GzDecoder;
use serde_json::{Map, Value};

use super::history::{Event, Id, is_ours, revision};

/// Where a leaf is: the object, and the path in it.
pub type Leaf = (String, String);

/// Every leaf of every object of ours.
pub type Leaves = BTreeMap<Leaf, String>;

/// Names of random ids, by the order of their first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// The names that follow from what happened, in its order.
    pub fn of(events: &[Event]) -> Names {
        let mut names = Names::default();
        for event in events {
            match event.id.kind.as_str() {
                "VDOConfig" => {
                    for driver in ["cpi", "csi"] {
                        for part in ["attempt", "installed"] {
                            let found = event.object["status"][driver][part]["revision"].as_str();
                            names.add(driver, found.unwrap_or_default());
                        }
                    }
                }
                "ConfigMap" | "Secret" => {
                    if let Some((name, id)) = content_id(&event.id.name) {
                        names.add(name, id);
                    }
                    if let Some((driver, journal)) = journal(&event.object) {
                        let revisions = journal["revisions"].as_object();
                        for revision in revisions.into_iter().flat_map(Map::values) {
                            for part in ["configuration", "credentials"] {
                                let id = revision[part].as_str().unwrap_or_default();
                                names.add(&format!("{driver}-{part}"), id);
                            }
                        }
                    }
                }
                _ => {}
            }
            // Whether it is the first object of its name, or another one. Its name may carry an id too.
            let object = names.rename(&event.id.to_string());
            names.add(
                &format!("uid of {object}"),
                event.object["metadata"]["uid"].as_str().unwrap_or_default(),
            );
        }
        names
    }

    fn add(&mut self, what: &str, id: &str) {
        if id.is_empty() || self.0.contains_key(id) {
            return;
        }
        let prefix = format!("<{what} ");
        let earlier = self.0.values().filter(|name| name.starts_with(&prefix)).count();
        self.0.insert(id.to_owned(), format!("{prefix}{}>", earlier + 1));
    }

    /// The text with ids replaced by their names.
    pub fn rename(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (id, name)| text.replace(id, name))
    }
}

/// The id of its content at the end of an object's name.
fn content_id(name: &str) -> Option<(&str, &str)> {
    let (name, id) = name.rsplit_once('-')?;
    (id.len() == 10 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((name, id))
}

/// The journal in a Secret, and whose it is.
fn journal(secret: &Value) -> Option<(String, Value)> {
    let name = secret["metadata"]["name"].as_str()?;
    let driver = name.strip_prefix("vdo-")?.strip_suffix("-journal")?;
    let packed = BASE64_STANDARD.decode(secret["data"]["journal"].as_str()?).ok()?;
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).read_to_string(&mut text).ok()?;
    Some((driver.to_owned(), serde_json::from_str(&text).ok()?))
}

/// The leaves of all objects of ours.
pub fn leaves(objects: &BTreeMap<Id, Value>, names: &Names) -> Leaves {
    let mut leaves = Leaves::new();
    for (id, object) in objects.iter().filter(|(_, object)| is_ours(object)) {
        let readable = readable(object);
        let id = names.rename(&id.to_string());
        flatten(&id, String::new(), &readable, names, &mut leaves);
    }
    leaves
}

/// The journal unpacked, its key left out, and lists whose entries have names as maps.
fn readable(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some((_, mut journal)) = journal(&object) {
        let has_key = journal["hmacKey"].as_array().is_some_and(|key| !key.is_empty());
        journal["hmacKey"] = Value::from(if has_key { "a key" } else { "no key" });
        object["data"]["journal"] = journal;
    }
    for (place, keys) in [
        ("/metadata/managedFields", &["manager", "operation", "subresource"][..]),
        ("/status/conditions", &["type"][..]),
    ] {
        let Some(list) = object.pointer_mut(place) else { continue };
        let entries = list.as_array().cloned().unwrap_or_default();
        let key =
            |entry: &Value| keys.iter().filter_map(|key| entry[key].as_str()).collect::<Vec<_>>().join(" ");
        *list = entries.into_iter().map(|entry| (key(&entry), entry)).collect::<Map<_, _>>().into();
    }
    object
}

fn flatten(id: &str, path: String, value: &Value, names: &Names, leaves: &mut Leaves) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = names.rename(&key.replace('~', "~0").replace('/', "~1"));
                flatten(id, format!("{path}/{key}"), value, names, leaves);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for (place, value) in list.iter().enumerate() {
                flatten(id, format!("{path}/{place}"), value, names, leaves);
            }
        }
        leaf => {
            leaves.insert((id.to_owned(), path), names.rename(&leaf.to_string()));
        }
    }
}

/// The revision of a workload, by the name that both runs know.
pub fn revision_of(object: &Value, names: &Names) -> String {
    names.rename(revision(object).unwrap_or("none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::history::What;
    use serde_json::json;

    fn config(revision: &str) -> Value {
        json!({
            "metadata": {"name": "vdo", "managedFields": [{"manager": "vdo-core", "operation": "Apply", "time": "now"}]},
            "status": {"cpi": {"installed": {"revision": revision}}, "conditions": [{"type": "Ready", "status": "True"}]}})
    }

    fn seen(revision: &str) -> Leaves {
        let id = Id::new("VDOConfig", "a", "vdo");
        let event = Event { version: 1, what: What::Created, id: id.clone(), object: config(revision) };
        leaves(&[(id, config(revision))].into(), &Names::of(&[event]))
    }

    #[test]
    fn two_runs_with_other_random_ids_are_equal() {
        assert_eq!(seen("1111111111111111"), seen("2222222222222222"));
    }

    #[test]
    fn an_object_of_another_revision_is_not_equal() {
        let event = |version, revision| Event {
            version,
            what: What::Changed,
            id: Id::new("VDOConfig", "a", "vdo"),
            object: config(revision),
        };
        let names = Names::of(&[event(1, "aaaaaaaaaaaaaaaa"), event(2, "bbbbbbbbbbbbbbbb")]);

        assert_eq!(names.rename("aaaaaaaaaaaaaaaa"), "<cpi 1>");
        assert_eq!(names.rename("x-bbbbbbbbbbbbbbbb"), "x-<cpi 2>");
    }

    #[test]
    fn a_second_object_of_a_name_is_another_one_even_if_its_name_carries_an_id() {
        let event = |version, name: &str, uid: &str| Event {
            version,
            what: What::Created,
            id: Id::new("ConfigMap", "a", name),
            object: json!({"metadata": {"name": name, "uid": uid}}),
        };
        let names = Names::of(&[event(1, "c-0123456789", "u1"), event(2, "c-0123456789", "u2")]);

        assert_eq!(names.rename("u1"), "<uid of ConfigMap a/c-<c 1> 1>");
        assert_eq!(names.rename("u2"), "<uid of ConfigMap a/c-<c 1> 2>");
    }

    #[test]
    fn conditions_and_managers_are_known_by_their_names() {
        let leaves = seen("1111111111111111");
        let paths: Vec<&str> = leaves.keys().map(|(_, path)| path.as_str()).collect();

        assert!(paths.contains(&"/status/conditions/Ready/status"), "{paths:?}");
        assert!(paths.contains(&"/metadata/managedFields/vdo-core Apply/time"), "{paths:?}");
    }
}
