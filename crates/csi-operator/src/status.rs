//! What csi-operator says in the status of the VDOConfig: always its whole part.

use serde_json::{Value, json};
use vdo_plan::driver::StatusPart;

/// The part as it is applied. The cluster id is told once it is recorded.
pub fn part(status: &StatusPart, cluster_id: Option<&str>) -> Value {
    let mut csi = json!(status.record);
    if let Some(id) = cluster_id {
        csi["clusterID"] = id.into();
    }
    json!({ "csi": csi, "conditions": [status.ready] })
}
