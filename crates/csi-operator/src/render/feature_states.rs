//! The driver's switches. The driver does not start without this ConfigMap.

use k8s_openapi::api::core::v1::ConfigMap;

use super::namespaced;
use crate::releases::ReleaseFacts;

/// The ConfigMap of the driver's switches.
pub const FEATURE_STATES: &str = "internal-feature-states.csi.vsphere.vmware.com";

pub(super) fn build(facts: &ReleaseFacts) -> ConfigMap {
    let switch = |(name, state): &(&str, &str)| ((*name).to_owned(), (*state).to_owned());
    ConfigMap {
        metadata: namespaced(FEATURE_STATES),
        data: Some(facts.feature_states.iter().map(switch).collect()),
        ..ConfigMap::default()
    }
}
