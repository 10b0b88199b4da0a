//! Conditions as the Kubernetes API conventions describe them, with bounds that etcd and readers can rely on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Reason;

/// The longest message a condition may carry, in characters.
pub const MESSAGE_LIMIT: usize = 2048;
/// How many objects a message names before it counts the rest.
pub const SHOWN: usize = 5;

/// Whether a condition holds. A value that this build does not know decodes as `Unknown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows: never seen, too old, or not understood.
    #[default]
    Unknown,
}

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        Ok(match word.as_str() {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        })
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Truth::True } else { Truth::False }
    }
}

impl std::fmt::Display for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        })
    }
}

/// One observation about an object, written by exactly one operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The name of the condition; each name appears once.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 64))]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: Truth,
    /// One word that says why; `vdoctl explain REASON` and docs/conditions.md explain each.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// What was seen, on which object, and what to do next.
    #[serde(default)]
    #[schemars(length(max = 2048))]
    pub message: String,
    /// The generation of the object that this was said about. Another generation makes it `Unknown`.
    #[serde(default)]
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Time,
}

impl Condition {
    /// A condition said now; [`merge`] puts back the time of the last change.
    pub fn new(
        type_: &str,
        status: Truth,
        reason: &Reason,
        message: &str,
        generation: i64,
        now: Time,
    ) -> Self {
        Condition {
            type_: type_.to_owned(),
            status,
            reason: reason.name.to_owned(),
            message: clip(message, MESSAGE_LIMIT),
            observed_generation: generation,
            last_transition_time: now,
        }
    }
}

/// The status of a condition as a reader must take it: a missing one, or one that was said about another
/// generation, is `Unknown`.
pub fn truth(conditions: &[Condition], type_: &str, generation: i64) -> Truth {
    find(conditions, type_)
        .filter(|c| c.observed_generation == generation)
        .map_or(Truth::Unknown, |c| c.status)
}

/// The condition of this type, of whatever generation.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

/// The new conditions, each with the transition time of the previous one if its status did not move.
pub fn merge(previous: &[Condition], mut new: Vec<Condition>) -> Vec<Condition> {
    for condition in &mut new {
        if let Some(old) = find(previous, &condition.type_).filter(|old| old.status == condition.status) {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
    new
}

/// Names at most [`SHOWN`] of the items and counts the rest: `a, b, c and 4 more`.
pub fn name_some<S: AsRef<str>>(items: &[S]) -> String {
    let shown: Vec<&str> = items.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        rest => format!("{} and {rest} more", shown.join(", ")),
    }
}

/// The text, cut at a character border so that it has at most `limit` characters.
pub fn clip(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::AS_WANTED;
    use k8s_openapi::jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_condition_of_another_generation_is_unknown() {
        let conditions = [Condition::new("Ready", Truth::True, &AS_WANTED, "", 3, at(0))];
        assert_eq!(truth(&conditions, "Ready", 3), Truth::True);
        assert_eq!(truth(&conditions, "Ready", 4), Truth::Unknown);
        assert_eq!(truth(&conditions, "Missing", 3), Truth::Unknown);
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let old = [Condition::new("Ready", Truth::True, &AS_WANTED, "a", 1, at(1))];
        let same = merge(&old, vec![Condition::new("Ready", Truth::True, &AS_WANTED, "b", 2, at(9))]);
        assert_eq!(same[0].last_transition_time, at(1));
        assert_eq!(same[0].message, "b");
        let moved = merge(&old, vec![Condition::new("Ready", Truth::False, &AS_WANTED, "b", 2, at(9))]);
        assert_eq!(moved[0].last_transition_time, at(9));
    }

    #[test]
    fn at_most_five_objects_are_named() {
        assert_eq!(name_some(&["a", "b"]), "a, b");
        assert_eq!(name_some(&["1", "2", "3", "4", "5", "6", "7"]), "1, 2, 3, 4, 5 and 2 more");
    }

    #[test]
    fn a_status_word_of_a_later_release_is_unknown() {
        assert_eq!(serde_json::from_str::<Truth>("\"Perhaps\"").unwrap(), Truth::Unknown);
    }
}
