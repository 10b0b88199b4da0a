//! The accounts of the controller and of the node plug-in.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{CONTROLLER, NODE, namespaced};

pub(super) fn build() -> [ServiceAccount; 2] {
    [CONTROLLER, NODE].map(|name| ServiceAccount { metadata: namespaced(name), ..ServiceAccount::default() })
}
