//! `CompatibilityConfig`: where the compatibility matrix comes from, as an object of its own.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names the source of the compatibility matrix. One object is read; a ConfigMap with a matrix beside it is an error.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "CompatibilityConfig",
    plural = "compatibilityconfigs",
    namespaced,
    category = "vdo-all",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.matrixURL"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
pub struct CompatibilityConfigSpec {
    /// The address of the matrix (https).
    #[serde(default, rename = "matrixURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub matrix_url: Option<String>,
}
