//! `CompatibilityConfig`: where the compatibility matrix comes from, as an object of its own.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::like;

/// By patterns: what a function on the host costs cannot be bounded. A host that ends in a number is four decimal numbers, the
/// first of them none of a node's own, link-local or a group's; an address of IPv6 is none of these either, nor one that holds
/// an address of IPv4. Whatever a name stands for is judged when it is connected to.
const OTHER_HOSTS: &str = r"!self.matches(r'(?i)^https://([^/?:]*\.)?localhost\.?([:/?]|$)')
 && (!self.matches(r'^https://([^/?:\[]*\.)?(0[xX][0-9a-fA-F]*|[0-9]+)\.?([:/?]|$)')
 || (self.matches(r'^https://([1-9]?[0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])(\.([1-9]?[0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5])){3}([:/?]|$)')
 && !self.matches(r'^https://(0|127|169\.254|22[4-9]|2[3-5][0-9])\.')))
 && !self.matches(r'(?i)^https://\[(::|fe[89ab]|ff|64:ff9b:|2002:|2001:(0+)?:)')";

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
#[serde(rename_all = "camelCase")]
pub struct CompatibilityConfigSpec {
    /// The address of the matrix: https, without a user. Private networks are allowed; addresses of the node itself and
    /// of cloud metadata are not.
    #[serde(default, rename = "matrixURL", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), extend("x-kubernetes-validations" = [
        {
            "rule": "self.startsWith('https://')",
            "message": "matrixURL must be https; without a server put the matrix into versionConfigContent of the ConfigMap comp-matrix-config"
        },
        {
            "rule": "isURL(self) && !self.matches(r'[\\s#\\\\]') && !self.matches('^https://[^/?]*@') && self.matches('^https://[^/?:]')",
            "message": "matrixURL is the address of a host, without a user, a fragment, a blank or a backslash"
        },
        {
            "rule": OTHER_HOSTS,
            "message": "matrixURL names a host, or an address that is not of the node itself, link-local or a group's"
        }
    ]))]
    pub matrix_url: Option<String>,
    /// The SHA-256 digest of the matrix, in 64 hexadecimal digits. Another content is not used.
    #[serde(default, rename = "sha256", skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-validations" = like("^[0-9a-fA-F]{64}$", "sha256 is the digest that sha256sum prints, 64 hexadecimal digits"))
    )]
    pub sha256: Option<String>,
    /// The public key (PEM, ECDSA P-256) of whoever signs the matrix. Its signature is fetched from the same address with
    /// `.sig` behind it, and a matrix without one is not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub public_key: Option<String>,
}
