//! What the API server knows of our kinds. CRDs outlive a chart, and operators may be upgraded without theirs. An apply with
//! one field that its CRD does not know is refused as a whole, so such fields are left out, and that is said.
//!
//! It is read from the server's own description of its API, for which every account has the right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use http::Request;
use serde_json::{Map, Value};
use vdo_api::condition::name_some;
use vdo_api::names::{GROUP, VERSION};

use crate::client::{Cluster, WRITE_DEADLINE};
use crate::clock::{Monotonic, monotonic};
use crate::run::LONGEST;
use crate::watch::lock;

/// How long a description counts: less than the longest time between two passes, so that each of those asks anew.
const AGE: Duration = LONGEST.saturating_sub(Duration::from_secs(30));
/// How soon one that could not be read, or does not describe all of our kinds, is asked for again.
const AGAIN: Duration = Duration::from_secs(60);

/// The latest description.
#[derive(Default)]
pub(crate) struct Served(Mutex<State>);

#[derive(Default)]
struct State {
    due: Option<Monotonic>,
    /// The schemas of those kinds that lack something.
    outdated: BTreeMap<String, Value>,
    lacking: BTreeSet<String>,
}

impl Served {
    /// What this build writes or reads and the CRDs do not know, as far as it is known.
    pub(crate) fn lacking(&self) -> BTreeSet<String> {
        lock(&self.0).lacking.clone()
    }

    /// The schema of this kind, if it lacks something that this build knows.
    pub(crate) async fn outdated(&self, cluster: &Cluster, kind: &str) -> Option<Value> {
        self.fetch(cluster).await;
        lock(&self.0).outdated.get(kind).cloned()
    }

    /// A status was refused, perhaps for a field: a server describes a CRD some time after it serves it.
    pub(crate) fn doubt(&self) {
        lock(&self.0).due = None;
    }

    /// Reads the description if it is time to.
    pub(crate) async fn fetch(&self, cluster: &Cluster) {
        if lock(&self.0).due.is_some_and(|due| due > monotonic()) {
            return;
        }
        let request = Request::get(format!("/openapi/v3/apis/{GROUP}/{VERSION}")).body(Vec::new());
        let request = request.expect("the path is made of constants");
        let answer = cluster.send::<Value>(WRITE_DEADLINE, request).await;
        let mut state = lock(&self.0);
        let Ok(answer) = answer.inspect_err(|fault| tracing::debug!(%fault, "CRDs not compared")) else {
            // What was known counts on.
            state.due = Some(monotonic() + AGAIN);
            return;
        };
        let (mut outdated, mut lacking) = (BTreeMap::new(), BTreeSet::new());
        let mut age = AGE;
        for (kind, wanted) in WANTED.iter() {
            let Some(schema) = described(&answer, kind) else {
                age = AGAIN;
                continue;
            };
            let before = lacking.len();
            compare(kind, wanted, schema, &mut lacking);
            if lacking.len() > before {
                outdated.insert(kind.clone(), schema.clone());
            }
        }
        if lacking != state.lacking {
            let names: Vec<&String> = lacking.iter().collect();
            match names.is_empty() {
                true => tracing::info!("the CRDs know every field of this release"),
                false => tracing::warn!(
                    reason = "CRDsOutdated",
                    lacking = name_some(&names),
                    "the CRDs are older than this operator, which leaves out what they do not know; upgrade the chart vdo-crds"
                ),
            }
        }
        *state = State { due: Some(monotonic() + age), outdated, lacking };
    }
}

/// The schemas of this build, by kind.
static WANTED: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let all = vdo_api::crd::all().into_iter();
    all.filter_map(|crd| {
        let schema = crd.spec.versions.first()?.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        Some((crd.spec.names.kind, serde_json::to_value(schema).ok()?))
    })
    .collect()
});

/// The schema of a kind in a description.
fn described<'a>(description: &'a Value, kind: &str) -> Option<&'a Value> {
    let is_it = |schema: &&Value| {
        let kinds = schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
        kinds
            .into_iter()
            .flatten()
            .any(|it| it["group"] == GROUP && it["version"] == VERSION && it["kind"] == kind)
    };
    description.pointer("/components/schemas")?.as_object()?.values().find(is_it)
}

/// Whether a schema takes what it does not name; also one that refers elsewhere, where we do not look.
fn is_open(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
        || ["additionalProperties", "$ref", "allOf"].iter().any(|key| schema.get(*key).is_some())
}

fn compare(at: &str, wanted: &Value, served: &Value, lacking: &mut BTreeSet<String>) {
    if is_open(served) {
        return;
    }
    for (name, child) in wanted["properties"].as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match served["properties"].get(name) {
            Some(known) => compare(&at, child, known, lacking),
            None => drop(lacking.insert(at)),
        }
    }
    if let (Some(wanted), Some(served)) = (wanted.get("items"), served.get("items")) {
        compare(&format!("{at}[]"), wanted, served, lacking);
    }
}

/// The value without what the schema does not know.
pub(crate) fn known(schema: &Value, value: &Value) -> Value {
    match (value, schema.get("properties").and_then(Value::as_object)) {
        (Value::Object(fields), Some(names)) if !is_open(schema) => {
            let kept = fields
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), known(names.get(name)?, value))));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        (Value::Array(items), _) => items.iter().map(|item| known(&schema["items"], item)).collect(),
        (value, _) => value.clone(),
    }
}

/// Whether a status says this already: each part of it, and each of its conditions.
pub(crate) fn says(stored: &Value, part: &Value) -> bool {
    part.as_object().into_iter().flatten().all(|(name, value)| match (name.as_str(), value, &stored[name]) {
        ("conditions", Value::Array(new), Value::Array(old)) => new.iter().all(|it| old.contains(it)),
        (_, new, old) => bare(new) == bare(old),
    })
}

/// The value without fields that are null, which is how a type shows what is not there.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name.clone(), bare(value))).collect())
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        value => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_schema_does_not_know_is_named_and_left_out() {
        let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let item = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let served = json!({"properties": {"list": {"items": item}, "map": map, "open": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        }}});
        let mut newer = served.clone();
        newer["properties"]["list"]["items"]["properties"]["b"] = json!({"type": "string"});
        newer["properties"]["new"] = json!({"type": "string"});
        let mut lacking = BTreeSet::new();
        compare("Kind", &newer, &served, &mut lacking);
        assert_eq!(lacking.into_iter().collect::<Vec<_>>(), ["Kind.list[].b", "Kind.new"]);
        let value = json!({"list": [{"a": "1", "b": "2"}], "map": {"x": "y"}, "open": {"z": 1}, "new": "3"});
        let kept = json!({"list": [{"a": "1"}], "map": {"x": "y"}, "open": {"z": 1}});
        assert_eq!(known(&served, &value), kept);
        assert_eq!(known(&newer, &value), value);
    }

    #[test]
    fn a_status_says_a_part_whatever_others_wrote() {
        let stored =
            json!({"conditions": [{"type": "A"}, {"type": "B"}], "cpi": {"x": 1, "none": null}, "nodes": 3});
        assert!(says(&stored, &json!({"conditions": [{"type": "A"}], "cpi": {"x": 1}})));
        assert!(!says(&stored, &json!({"cpi": {"x": 2}})));
        assert!(!says(&stored, &json!({"cpi": {}})));
        assert!(!says(&stored, &json!({"conditions": [{"type": "C"}]})));
    }
}
