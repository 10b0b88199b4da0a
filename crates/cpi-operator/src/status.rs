//! What cpi-operator says in the status of the VDOConfig: always its whole part.

use serde_json::{Value, json};
use vdo_plan::driver::StatusPart;

/// The part as it is applied.
pub fn part(status: &StatusPart) -> Value {
    json!({ "cpi": status.record, "conditions": [status.ready] })
}
