//! A rendered object: typed where it is built, JSON where it is applied.

use std::fmt;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names one object.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Its API version, as in `apps/v1`.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the driver takes in the content of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intake {
    /// It is part of the revision: another content is another roll-out.
    AtStart,
    /// The driver reads it while it runs: a new content is applied in place, without a roll-out.
    Live,
}

/// One object to be applied. `Debug` never shows what a Secret holds.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    reference: ObjectRef,
    intake: Intake,
    value: Value,
}

impl Object {
    /// The object as it is applied, part of its revision.
    pub fn new<K>(typed: &K) -> Self
    where
        K: Serialize + Metadata<Ty = ObjectMeta>,
    {
        Object::with_intake(typed, Intake::AtStart)
    }

    /// The object as it is applied, read by the driver while it runs.
    pub fn live<K>(typed: &K) -> Self
    where
        K: Serialize + Metadata<Ty = ObjectMeta>,
    {
        Object::with_intake(typed, Intake::Live)
    }

    fn with_intake<K>(typed: &K, intake: Intake) -> Self
    where
        K: Serialize + Metadata<Ty = ObjectMeta>,
    {
        let value = serde_json::to_value(typed).expect("Kubernetes types serialise to JSON");
        let meta = typed.metadata();
        let reference = ObjectRef {
            api_version: K::API_VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            namespace: meta.namespace.clone(),
            name: meta.name.clone().expect("a rendered object has a name"),
        };
        Object { reference, intake, value }
    }

    /// Which object it is.
    pub fn reference(&self) -> &ObjectRef {
        &self.reference
    }

    /// How the driver takes it in.
    pub fn intake(&self) -> Intake {
        self.intake
    }

    /// The content, as it is sent.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The content, to be marked with labels and annotations before it is sealed.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// The content with every value of a Secret replaced, for people.
    pub fn redacted(&self) -> Value {
        let mut shown = self.value.clone();
        if self.reference.kind == "Secret" {
            for part in ["data", "stringData"] {
                for (_, value) in shown.get_mut(part).and_then(Value::as_object_mut).into_iter().flatten() {
                    *value = Value::from("(not shown)");
                }
            }
        }
        shown
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.reference, self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    #[test]
    fn a_secret_shows_no_value() {
        let secret = Secret {
            metadata: ObjectMeta { name: Some("s".into()), ..ObjectMeta::default() },
            data: Some([("password".to_owned(), ByteString(b"hunter2".to_vec()))].into()),
            ..Secret::default()
        };
        let shown = format!("{:?}", Object::new(&secret));
        assert!(shown.contains("password") && !shown.contains("aHVudGVyMg"), "{shown}");
    }
}
