//! Objects that cannot count as they are: those outside the operators' namespace, and those that do not decode. Each is
//! told so once, in its conditions, and nothing else happens to it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use vdo_api::condition::{MESSAGE_LIMIT, clip, merge};
use vdo_api::vcenter::ConfigState;
use vdo_api::{Condition, Reason, Truth, VDOConfigStatus, VsphereCloudConfigStatus};

use crate::reasons;

/// How much of what a decoder says is shown.
const WHY_LIMIT: usize = 512;

/// The kinds that are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// VDOConfig.
    Vdo,
    /// VsphereCloudConfig.
    Vcenter,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Vdo => "VDOConfig",
            Kind::Vcenter => "VsphereCloudConfig",
        }
    }

    /// The conditions that say it.
    fn conditions(self) -> &'static [&'static str] {
        match self {
            Kind::Vdo => &["Accepted", "Ready"],
            Kind::Vcenter => &["Ready"],
        }
    }

    /// What else vdo-core writes into status. A write that left it out would take it away: without the record of a
    /// login a refused one would be repeated, and without the gates a roll-out that was allowed would be held.
    fn other_parts(self) -> &'static [&'static str] {
        match self {
            Kind::Vdo => &["gates", "nodes"],
            Kind::Vcenter => &["verified", "login", "presented", "esxi"],
        }
    }
}

/// An object that cannot count as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    /// Its kind.
    pub kind: Kind,
    /// What a write and an event need of its metadata.
    pub metadata: ObjectMeta,
    /// Why it cannot count.
    pub reason: &'static Reason,
    /// What it is told.
    pub message: String,
    /// Those of its conditions that are about to be written.
    stored: Vec<Condition>,
    /// What else of ours is stored and stays.
    kept: Map<String, Value>,
    /// Whether its status says so already.
    said: bool,
}

/// The object, if operators of this namespace can take it into account. Elsewhere nothing is decoded.
pub fn admitted<K: DeserializeOwned>(
    kind: Kind,
    object: &DynamicObject,
    namespace: &str,
) -> Result<K, Box<Stray>> {
    if object.metadata.namespace.as_deref() == Some(namespace) {
        return decode(object).map_err(|why| Box::new(Stray::broken(kind, object, &why)));
    }
    Err(Box::new(Stray::elsewhere(kind, object, namespace)))
}

impl Stray {
    /// An object outside of the operators' namespace.
    fn elsewhere(kind: Kind, object: &DynamicObject, namespace: &str) -> Self {
        let message = format!(
            "only a {} in namespace {namespace} counts; create it there with what it refers to, and delete this one",
            kind.name()
        );
        Stray::new(kind, object, &reasons::NOT_IN_OPERATORS_NAMESPACE, message, Map::new())
    }

    /// An object that does not decode.
    fn broken(kind: Kind, object: &DynamicObject, why: &str) -> Self {
        let message =
            format!("this {} does not decode: {}; correct this field", kind.name(), clip(why, WHY_LIMIT));
        let status = object.data.get("status");
        let kept = kind.other_parts().iter();
        let kept = kept.filter_map(|part| Some(((*part).to_owned(), status?.get(part)?.clone())));
        Stray::new(kind, object, &reasons::NOT_DECODABLE, message, kept.collect())
    }

    fn new(
        kind: Kind,
        object: &DynamicObject,
        reason: &'static Reason,
        message: String,
        kept: Map<String, Value>,
    ) -> Self {
        let meta = &object.metadata;
        let status = object.data.get("status").unwrap_or(&Value::Null);
        let conditions = status.get("conditions").and_then(Value::as_array);
        let stored = conditions.into_iter().flatten();
        let stored = stored.filter_map(|it| serde_json::from_value::<Condition>(it.clone()).ok());
        let mut stray = Stray {
            kind,
            metadata: ObjectMeta {
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                generation: meta.generation,
                ..ObjectMeta::default()
            },
            reason,
            message: clip(&message, MESSAGE_LIMIT),
            stored: stored.filter(|it| kind.conditions().contains(&it.type_.as_str())).collect(),
            kept,
            said: false,
        };
        stray.said = stray.is_said_by(status);
        stray
    }

    fn generation(&self) -> i64 {
        self.metadata.generation.unwrap_or_default()
    }

    /// What a status says of it, but the times.
    fn is_said_by(&self, status: &Value) -> bool {
        let wanted = self.status(Timestamp::UNIX_EPOCH);
        let plain = ["observedGeneration", "config", "message"];
        let said = |type_: &&str| {
            self.stored.iter().any(|it| {
                it.type_ == **type_
                    && it.status == Truth::False
                    && it.reason == self.reason.name
                    && it.message == self.message
                    && it.observed_generation == self.generation()
            })
        };
        plain.iter().all(|key| wanted.get(key).is_none_or(|value| status.get(key) == Some(value)))
            && self.kind.conditions().iter().all(said)
    }

    /// The value of the field `status`.
    pub fn status(&self, now: Timestamp) -> Value {
        let generation = self.generation();
        let says = |type_: &&str| {
            Condition::new(type_, Truth::False, self.reason, &self.message, generation, Time(now))
        };
        let conditions = merge(&self.stored, self.kind.conditions().iter().map(says).collect());
        let status = match self.kind {
            Kind::Vdo => serde_json::to_value(VDOConfigStatus {
                observed_generation: Some(generation),
                conditions,
                ..VDOConfigStatus::default()
            }),
            Kind::Vcenter => serde_json::to_value(VsphereCloudConfigStatus {
                observed_generation: Some(generation),
                config: Some(ConfigState::Failed),
                message: self.message.clone(),
                conditions,
                ..VsphereCloudConfigStatus::default()
            }),
        };
        let mut status = status.expect("a status is a JSON object");
        for (part, value) in &self.kept {
            status[part] = value.clone();
        }
        status
    }
}

/// Whom this process has told what.
#[derive(Default)]
pub struct Told(BTreeMap<String, (i64, String)>);

impl Told {
    /// Those that have to be told. One whose status says so was told before a restart; one that this process told is
    /// told again only when it changed: two writers that disagree must not write in turns.
    pub fn whom<'a>(&mut self, strays: &[&'a Stray]) -> Vec<&'a Stray> {
        let there: BTreeSet<&str> = strays.iter().map(|stray| uid(stray)).collect();
        self.0.retain(|uid, _| there.contains(uid.as_str()));
        let lacks = |stray: &&&Stray| {
            let told = self.0.get(uid(stray));
            !stray.said
                && !told.is_some_and(|(generation, message)| {
                    *generation == stray.generation() && *message == stray.message
                })
        };
        strays.iter().filter(lacks).copied().collect()
    }

    /// Remembers that it was told, or that it cannot be.
    pub fn note(&mut self, stray: &Stray) {
        self.0.insert(uid(stray).to_owned(), (stray.generation(), stray.message.clone()));
    }
}

fn uid(stray: &Stray) -> &str {
    stray.metadata.uid.as_deref().unwrap_or_default()
}

/// Decodes an object. What is wrong begins with the field, as in `spec.vcIp: invalid type …`.
fn decode<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, String> {
    let value = serde_json::to_value(object).map_err(|error| error.to_string())?;
    serde_json::from_value(value.clone()).map_err(|error| {
        // An error in a value has no place. In a text it has a line, and each line has one field.
        let text = serde_json::to_string_pretty(&value).unwrap_or_default();
        let placed = serde_json::from_str::<K>(&text).err().map(|placed| field(&text, placed.line()));
        match placed.filter(|path| !path.is_empty()) {
            Some(path) => format!("{path}: {error}"),
            None => error.to_string(),
        }
    })
}

/// The path of the field in this line of an indented JSON text, counted from one.
fn field(text: &str, line: usize) -> String {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let mut path = Vec::new();
    let mut inside = usize::MAX;
    for line in lines.iter().rev() {
        let indent = line.len() - line.trim_start().len();
        if indent >= inside {
            continue;
        }
        // A bracket that closes belongs to the field that opened it, further up.
        let closes = line.trim_start().starts_with(['}', ']']);
        inside = if closes { indent + 1 } else { indent };
        if let Some((key, _)) = line.trim_start().strip_prefix('"').and_then(|rest| rest.split_once("\": ")) {
            path.push(key);
        }
    }
    path.reverse();
    path.join(".")
}

#[cfg(test)]
mod tests;
