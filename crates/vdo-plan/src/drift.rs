//! What somebody changed on an object of ours, field by field, and who; and whether he keeps doing it.
//!
//! That something changed is known from the fields that the API server counts as ours (`Scene::missing`). This module puts
//! it into words, from the live object.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use serde_json::Value;

use crate::object::{Object, ObjectRef};

/// The keys by which the elements of Kubernetes lists are told apart.
const KEYS: [&str; 6] = ["name", "key", "containerPort", "mountPath", "ip", "topologyKey"];
/// The longest value that is shown.
const SHOWN: usize = 120;

/// A field that is not as we applied it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where, as in `spec.template.spec.containers[manager].image`.
    pub path: String,
    /// What is there; nothing if the field is gone. Never a value of a Secret.
    pub found: Option<String>,
    /// What we applied.
    pub ours: String,
    /// The field manager who has the field now, if anybody has.
    pub manager: Option<String>,
}

/// One step into an object.
#[derive(Clone, Debug)]
enum Part {
    Field(String),
    /// The element of a list with this value under this key.
    Element(&'static str, Value),
    Index(usize),
}

/// Every field of `ours` that is not so in `live`, with who has it now. `manager` is our own name.
pub fn changes(ours: &Object, live: &Value, fields: &[ManagedFieldsEntry], manager: &str) -> Vec<Change> {
    let mut walk = Walk {
        fields,
        manager,
        secret: ours.reference().kind == "Secret",
        found: Vec::new(),
        at: Vec::new(),
    };
    for part in ["metadata", "spec", "data", "stringData", "rules", "roleRef", "subjects", "provisioner"] {
        if let Some(wanted) = ours.value().get(part) {
            walk.step(Part::Field(part.to_owned()), wanted, live.get(part));
        }
    }
    walk.found
}

struct Walk<'a> {
    fields: &'a [ManagedFieldsEntry],
    manager: &'a str,
    secret: bool,
    found: Vec<Change>,
    at: Vec<Part>,
}

impl Walk<'_> {
    fn step(&mut self, part: Part, ours: &Value, live: Option<&Value>) {
        self.at.push(part);
        self.compare(ours, live);
        self.at.pop();
    }

    fn compare(&mut self, ours: &Value, live: Option<&Value>) {
        match (ours, live) {
            (ours, Some(live)) if ours == live => {}
            (Value::Object(map), Some(Value::Object(there))) => {
                for (key, wanted) in map {
                    self.step(Part::Field(key.clone()), wanted, there.get(key));
                }
            }
            (Value::Array(list), Some(Value::Array(there))) => {
                for (index, wanted) in list.iter().enumerate() {
                    let key = KEYS.into_iter().find_map(|key| Some((key, wanted.get(key)?)));
                    match key {
                        Some((key, value)) => {
                            let element = there.iter().find(|it| it.get(key) == Some(value));
                            self.step(Part::Element(key, value.clone()), wanted, element);
                        }
                        None => self.step(Part::Index(index), wanted, there.get(index)),
                    }
                }
            }
            // An empty value that the API server leaves out is no change.
            (Value::Null, None) => {}
            (Value::Object(map), None) if map.is_empty() => {}
            (Value::Array(list), None) if list.is_empty() => {}
            (ours, live) => {
                let hide = self.secret
                    && matches!(self.at.first(), Some(Part::Field(f)) if f.ends_with("ata") && f != "metadata");
                let show = |value: &Value| if hide { "(not shown)".to_owned() } else { shown(value) };
                self.found.push(Change {
                    path: path(&self.at),
                    found: live.map(show),
                    ours: show(ours),
                    manager: owner(self.fields, &self.at, self.manager),
                });
            }
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    vdo_api::condition::clip(&text, SHOWN)
}

fn path(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Field(name) if name.contains(['.', '/']) => text.push_str(&format!("[{name}]")),
            Part::Field(name) if text.is_empty() => text.push_str(name),
            Part::Field(name) => text.push_str(&format!(".{name}")),
            Part::Element(_, value) => text.push_str(&format!("[{}]", shown(value))),
            Part::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Who else has the field: the latest of them.
fn owner(fields: &[ManagedFieldsEntry], parts: &[Part], ours: &str) -> Option<String> {
    let others = fields.iter().filter(|entry| entry.manager.as_deref().is_some_and(|name| name != ours));
    let have = others.filter(|entry| entry.fields_v1.as_ref().is_some_and(|it| has(&it.0, parts)));
    let latest = have.max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    latest.manager.clone()
}

/// Whether a set of managed fields names this path, or something above it as a whole.
fn has(set: &Value, parts: &[Part]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return true };
    let Some(map) = set.as_object() else { return false };
    let inner = map.iter().find(|(name, _)| match (first, name.split_once(':')) {
        (Part::Field(field), Some(("f", name))) => field == name,
        (Part::Element(key, value), Some(("k", keys))) => {
            serde_json::from_str::<Value>(keys).is_ok_and(|keys| keys.get(*key) == Some(value))
        }
        (_, _) => false,
    });
    match inner {
        Some((_, inner)) => inner.as_object().is_some_and(serde_json::Map::is_empty) || has(inner, rest),
        None => false,
    }
}

/// How often an object may be put back before it counts as fought over.
const PATIENCE: usize = 3;
/// Within what time.
const WINDOW: Duration = Duration::from_secs(600);
/// How long it is left alone then; doubled each time.
const FIRST_REST: Duration = Duration::from_secs(30);

/// Objects that somebody changes again and again. Times are counted from any one moment.
#[derive(Clone, Debug, Default)]
pub struct Fights(BTreeMap<ObjectRef, Vec<(Duration, String)>>);

/// An object that is left alone for a while, since somebody keeps changing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fight {
    /// Who, as far as the API server tells.
    pub with: String,
    /// How often it was put back lately.
    pub times: usize,
    /// Until when it is left alone.
    pub until: Duration,
}

impl Fights {
    /// Remembers that an object was put back at this time.
    pub fn note(&mut self, object: &ObjectRef, with: &str, now: Duration) {
        let times = self.0.entry(object.clone()).or_default();
        times.retain(|(at, _)| now.saturating_sub(*at) < WINDOW);
        times.push((now, with.to_owned()));
    }

    /// The objects to leave alone at this time.
    pub fn at(&self, now: Duration) -> BTreeMap<ObjectRef, Fight> {
        let fight = |times: &[(Duration, String)]| {
            let recent: Vec<_> = times.iter().filter(|(at, _)| now.saturating_sub(*at) < WINDOW).collect();
            let (last, with) = recent.last()?;
            let beyond = u32::try_from(recent.len().checked_sub(PATIENCE)?).unwrap_or(u32::MAX);
            let rest = FIRST_REST.saturating_mul(2u32.saturating_pow(beyond)).min(WINDOW / 2);
            let until = *last + rest;
            (until > now).then(|| Fight { with: with.clone(), times: recent.len(), until })
        };
        self.0.iter().filter_map(|(object, times)| Some((object.clone(), fight(times)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::DaemonSet;
    use k8s_openapi::api::core::v1::Secret;
    use serde_json::json;

    fn daemon_set() -> Value {
        json!({
            "metadata": {"name": "vdo-cpi", "namespace": "n", "labels": {"vdo.vmware.com/driver": "cpi"}},
            "spec": {
                "selector": {"matchLabels": {"app": "cpi"}},
                "template": {"spec": {"containers": [
                    {"name": "manager", "image": "registry.example/cpi:1.36.0", "args": ["--v=2"]},
                ]}},
            },
        })
    }

    fn object(value: Value) -> Object {
        Object::new(&serde_json::from_value::<DaemonSet>(value).unwrap())
    }

    fn fields(manager: &str, time: &str, set: Value) -> ManagedFieldsEntry {
        serde_json::from_value(
            json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": set}),
        )
        .unwrap()
    }

    #[test]
    fn a_changed_field_is_named_with_both_values_and_its_latest_manager() {
        let mut live = daemon_set();
        live["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example/cpi:debug".into();
        live["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "sidecar"}));
        let set = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"manager\"}": {"f:image": {}},
        }}}}});
        let managers = [
            fields("cpi-operator", "2026-01-03T00:00:00Z", set.clone()),
            fields("kubectl-edit", "2026-01-02T00:00:00Z", set.clone()),
            fields("somebody", "2026-01-01T00:00:00Z", set),
        ];
        let found = changes(&object(daemon_set()), &live, &managers, "cpi-operator");
        let change = Change {
            path: "spec.template.spec.containers[manager].image".into(),
            found: Some("registry.example/cpi:debug".into()),
            ours: "registry.example/cpi:1.36.0".into(),
            manager: Some("kubectl-edit".into()),
        };
        assert_eq!(found, [change]);
    }

    #[test]
    fn a_field_that_is_gone_is_a_change_and_one_that_somebody_added_is_none() {
        let mut live = daemon_set();
        live["metadata"]["labels"] = json!({"mine": "too"});
        let found = changes(&object(daemon_set()), &live, &[], "cpi-operator");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "metadata.labels[vdo.vmware.com/driver]");
        assert_eq!((found[0].found.as_deref(), found[0].manager.as_deref()), (None, None));
    }

    #[test]
    fn no_value_of_a_secret_is_ever_shown() {
        let secret =
            json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"password": "aHVudGVyMg=="}});
        let ours = Object::new(&serde_json::from_value::<Secret>(secret).unwrap());
        let live = json!({"metadata": {"name": "s"}, "data": {"password": "b3RoZXI="}});
        let found = changes(&ours, &live, &[], "csi-operator");
        let text = format!("{found:?}");
        assert!(text.contains("data.password") && !text.contains("aHVu") && !text.contains("b3Ro"), "{text}");
    }

    #[test]
    fn whoever_changes_an_object_again_and_again_is_left_alone_for_longer_and_longer() {
        let reference = object(daemon_set()).reference().clone();
        let mut fights = Fights::default();
        let second = Duration::from_secs;
        for at in [0, 10] {
            fights.note(&reference, "argocd", second(at));
            assert_eq!(fights.at(second(at)), BTreeMap::new());
        }
        fights.note(&reference, "argocd", second(20));
        let fight = fights.at(second(21))[&reference].clone();
        assert_eq!(fight, Fight { with: "argocd".into(), times: 3, until: second(50) });
        assert_eq!(fights.at(second(50)), BTreeMap::new());
        fights.note(&reference, "argocd", second(51));
        assert_eq!(fights.at(second(52))[&reference].until, second(51 + 60));
        // Once he has stopped for a while, it begins anew.
        fights.note(&reference, "argocd", second(2000));
        assert_eq!(fights.at(second(2001)), BTreeMap::new());
    }
}
