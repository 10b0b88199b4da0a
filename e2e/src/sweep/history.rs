//! What happened in the cluster, in the order in which it happened.
//!
//! Every change of every object that counts is taken from a watch, with the object. All versions come from one counter of
//! the API server, so events of different kinds have one order. This is what the audit log would tell, with the bodies,
//! and as independent of the operators.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The field managers of the operators.
pub const MANAGERS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];
/// On every object of a driver that an operator made.
pub const DRIVER_LABEL: &str = "vdo.vmware.com/driver";
/// The id of the revision that an object belongs to.
pub const REVISION: &str = "vdo.vmware.com/revision";

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Id {
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for one of the whole cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Id {
    /// The object of this kind, namespace and name.
    pub fn new(kind: &str, namespace: &str, name: &str) -> Id {
        Id { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Id { kind, namespace, name } = self;
        if namespace.is_empty() { write!(f, "{kind} {name}") } else { write!(f, "{kind} {namespace}/{name}") }
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum What {
    Created,
    Changed,
    Deleted,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The API server's counter after it.
    pub version: u64,
    /// What happened.
    pub what: What,
    /// To which object.
    pub id: Id,
    /// The object after it, or as it was last.
    pub object: Value,
}

/// The objects as they are, and how they came to be so.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Every object that exists.
    pub objects: BTreeMap<Id, Value>,
    /// Every change, as it was seen: kinds are watched one by one, so [`History::ordered`] gives the order.
    pub events: Vec<Event>,
}

impl History {
    /// Notes a change.
    pub fn note(&mut self, event: Event) {
        match event.what {
            What::Created | What::Changed => {
                self.objects.insert(event.id.clone(), event.object.clone());
            }
            What::Deleted => {
                self.objects.remove(&event.id);
            }
        }
        // A Lease is renewed by time, and says nothing of what was decided.
        if event.id.kind != "Lease" {
            self.events.push(event);
        }
    }

    /// The changes in their true order.
    pub fn ordered(&self) -> Vec<Event> {
        let mut events = self.events.clone();
        events.sort_by_key(|event| event.version);
        events
    }
}

/// Whether VDO writes or owns this object, or a part of it.
pub fn is_ours(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let by_us = |entry: &Value| entry["manager"].as_str().is_some_and(|name| MANAGERS.contains(&name));
    entries.is_some_and(|entries| entries.iter().any(by_us)) || driver(object).is_some()
}

/// The driver whose object this is.
pub fn driver(object: &Value) -> Option<&str> {
    object["metadata"]["labels"][DRIVER_LABEL].as_str()
}

/// The revision that the object says it belongs to.
pub fn revision(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][REVISION].as_str()
}

/// Whether the VDOConfig's condition is True for the spec as it is now.
pub fn is_true(config: &Value, condition: &str) -> bool {
    let generation = &config["metadata"]["generation"];
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|it| {
        it["type"] == condition && it["status"] == "True" && it["observedGeneration"] == *generation
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    pub(in crate::sweep) fn event(version: u64, what: What, id: Id, object: Value) -> Event {
        Event { version, what, id, object }
    }

    #[test]
    fn an_object_is_ours_by_its_label_or_by_a_part_of_it() {
        let labelled = json!({"metadata": {"labels": {DRIVER_LABEL: "cpi"}}});
        let in_part =
            json!({"metadata": {"managedFields": [{"manager": "kubectl"}, {"manager": "vdo-core"}]}});
        let foreign = json!({"metadata": {"managedFields": [{"manager": "kubectl"}]}});

        assert!(is_ours(&labelled) && is_ours(&in_part) && !is_ours(&foreign));
    }

    #[test]
    fn changes_of_different_kinds_are_put_in_the_order_of_the_server() {
        let mut history = History::default();
        history.note(event(7, What::Created, Id::new("Secret", "a", "s"), json!({})));
        history.note(event(5, What::Created, Id::new("ConfigMap", "a", "c"), json!({})));
        history.note(event(9, What::Deleted, Id::new("Secret", "a", "s"), json!({})));

        let versions: Vec<u64> = history.ordered().iter().map(|event| event.version).collect();
        assert_eq!(versions, [5, 7, 9]);
        assert_eq!(history.objects.len(), 1);
    }

    #[test]
    fn a_condition_of_an_older_spec_is_not_true() {
        let said = |generation: i64| {
            json!({"metadata": {"generation": 2}, "status": {"conditions": [
                {"type": "CPIReady", "status": "True", "observedGeneration": generation}]}})
        };
        assert!(is_true(&said(2), "CPIReady"));
        assert!(!is_true(&said(1), "CPIReady"));
    }
}
