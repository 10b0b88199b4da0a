//! `VsphereCloudConfig`: one vCenter, how to log in, and what vdo-core verified about it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;
use crate::rule::{each_like, like};

/// One vCenter.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "VsphereCloudConfig",
    plural = "vspherecloudconfigs",
    shortname = "vcc",
    category = "vdo-all",
    namespaced,
    derive = "PartialEq",
    status = "VsphereCloudConfigStatus",
    printcolumn(name = "vCenter", type_ = "string", json_path = ".spec.vcIp"),
    printcolumn(name = "Config", type_ = "string", json_path = ".status.config"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.verified.version"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Message", type_ = "string", priority = 1, json_path = ".status.message"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(self.insecure && has(self.thumbprint) && self.thumbprint != '') || (oldSelf.hasValue() && oldSelf.value().insecure && has(oldSelf.value().thumbprint) && oldSelf.value().thumbprint == self.thumbprint)",
    "message": "thumbprint has no effect when insecure is true; remove one",
    "optionalOldSelf": true
}]))]
pub struct VsphereCloudConfigSpec {
    /// The host name or IP address of the vCenter, without scheme, port or path.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [
            // Forbidden, not invalid: the value may hold a password, and the server's answer goes into its audit log.
            {"rule": "!self.matches('[^ -~]')", "message": "vcIp has characters outside ASCII or control characters; use the punycode form of the name", "reason": "FieldValueForbidden"},
            {"rule": "!self.contains('/') && !self.contains('@')", "message": "vcIp is a host name or IP address, without scheme, path or user", "reason": "FieldValueForbidden"},
            {"rule": "!self.matches('^[^:]*:[0-9]*$')", "message": "vcIp has no port; set the port in spec.port"},
            {"rule": "!self.matches('^(127[.].*|0[.]0[.]0[.]0|169[.]254[.].*|::1?|[fF][eE][89aAbB][0-9a-fA-F]:.*|[lL][oO][cC][aA][lL][hH][oO][sS][tT][.]?)$')", "message": "vcIp must not be a loopback, link-local or unspecified address"},
            {"rule": "self.contains('/') || self.contains('@') || self.matches('^[^:]*:[0-9]*$') || self.matches('[^ -~]') || (self.contains(':') ? isIP(self) : (self.matches('^[0-9.]*$') ? isIP(self) : self.matches('^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*[.]?$')))", "message": "vcIp is not a valid host name or IP address"}
        ])
    )]
    pub vc_ip: String,
    /// The port of the vCenter's API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// `true` switches the verification of the vCenter's certificate off, for VDO and for the drivers. Loudly reported.
    #[serde(default)]
    pub insecure: bool,
    /// The Secret with `username` and `password`: looked up in this namespace, then in `kube-system`.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = like(
            r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
            "credentials is the name of a Secret, without a namespace: lower-case letters, digits, '-' and '.'"
        ))
    )]
    pub credentials: String,
    /// The SHA-1 or SHA-256 fingerprint of the vCenter's certificate, in hexadecimal digits with or without colons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 128),
        extend("x-kubernetes-validations" = [{
            "rule": "self == '' || self.matches('^ *([0-9A-Fa-f]{2}:?){19}[0-9A-Fa-f]{2} *$') || self.matches('^ *([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2} *$')",
            "message": "thumbprint is 20 (SHA-1) or 32 (SHA-256) bytes in hexadecimal digits, with or without colons"
        }])
    )]
    pub thumbprint: Option<String>,
    /// The datacenters that hold nodes or volumes, by name or inventory path. An empty list means every datacenter.
    #[serde(default)]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 255)),
        transform = each_like(
            r#"^[^,"\\\x00-\x1f\x7f]+$"#,
            "an item of datacenters is one name or inventory path, without commas, quotes, backslashes and control characters"
        ),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub datacenters: Vec<String>,
    /// The ConfigMap in this namespace with the certificates (PEM) of the authority that signed the vCenter's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaReference>,
}

impl VsphereCloudConfigSpec {
    /// The port, 443 unless the user says otherwise.
    pub fn effective_port(&self) -> u16 {
        self.port.and_then(|p| u16::try_from(p).ok()).unwrap_or(443)
    }

    /// One identity for one server: lower case, without a trailing dot.
    pub fn server(&self) -> String {
        self.vc_ip.trim_end_matches('.').to_ascii_lowercase()
    }
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaReference {
    /// The name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the certificates.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}

/// What vdo-core found out about the vCenter; written by vdo-core only.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VsphereCloudConfigStatus {
    /// The generation that the rest of the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// As in the original: `verified`, or `failed` with a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigState>,
    /// What is wrong and what to do, while `config` is `failed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub message: String,
    /// Reachable, Trusted, CredentialsValid, DatacentersFound and Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the last successful check proved. Driver operators use a Secret only if it is the one named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// The last login that was tried, written before it is made so that a refused one is never repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// The certificate that the vCenter showed when it was last reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presented: Option<Presented>,
    /// What the ESXi hosts were last seen to run. Read only while a row of the compatibility matrix has a bound for them;
    /// the built-in one has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub esxi: Option<EsxiHosts>,
}

/// The original's verdict. A value of a later release counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigState {
    /// Logged in and found what the spec names.
    Verified,
    /// Not verified; see `message`.
    Failed,
}

impl<'de> Deserialize<'de> for ConfigState {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(if String::deserialize(from)? == "verified" { ConfigState::Verified } else { ConfigState::Failed })
    }
}

/// The contract between vdo-core and the driver operators: one atomic value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Verified {
    /// The generation of the spec that was checked.
    pub generation: i64,
    /// The server that was checked, in its normal form.
    #[schemars(length(max = 253))]
    pub server: String,
    /// The port that was checked.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The very version of the Secret that logged in.
    pub secret: SecretVersion,
    /// How the vCenter's certificate was verified.
    pub trust: Trust,
    /// The vCenter's version, as in `8.0.3`.
    #[schemars(length(max = 64))]
    pub version: String,
    /// The version of its API.
    #[schemars(length(max = 64))]
    pub api_version: String,
    /// Its build number.
    #[schemars(length(max = 64))]
    pub build: String,
    /// Inventory paths of the datacenters.
    #[schemars(length(max = 256), inner(length(max = 1024)))]
    pub datacenters: Vec<String>,
}

/// What the ESXi hosts in the datacenters of a VsphereCloudConfig run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct EsxiHosts {
    /// The server that was asked, with its port where that is not 443.
    #[schemars(length(max = 253))]
    pub server: String,
    /// Each version once, the oldest first; of more than 32 the 16 oldest and the 16 newest. Empty where no host's version
    /// may be read: then no release is refused because of the hosts.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    pub versions: Vec<String>,
}

/// One version of one Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// Its namespace.
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Its resourceVersion.
    #[schemars(length(max = 64))]
    pub resource_version: String,
}

/// How the certificate of a vCenter is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// The way it is verified.
    pub mode: TrustMode,
    /// The SHA-256 fingerprint of the certificate that was accepted.
    #[schemars(length(max = 128))]
    pub sha256: String,
    /// Its SHA-1 fingerprint, which is what the drivers understand.
    #[schemars(length(max = 64))]
    pub sha1: String,
    /// The certificate authority, in mode `CA` with a bundle of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaReference>,
}

/// The ways to verify a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrustMode {
    /// Signed by a known authority, for this name.
    #[serde(rename = "CA")]
    Ca,
    /// Its fingerprint is the one in the spec.
    Thumbprint,
    /// Not verified, as the user asked.
    Insecure,
}

/// A login that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Login {
    /// The Secret version that was tried.
    pub tried: SecretVersion,
    /// The server that it was sent to.
    #[schemars(length(max = 253))]
    pub server: String,
    /// What came of it.
    pub outcome: LoginOutcome,
    /// When it was tried.
    pub at: Time,
    /// The value of the annotation that asked for another try, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub retry: Option<String>,
    /// How many tries directly before this one were begun and their end was not seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub interrupted: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What came of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoginOutcome {
    /// Recorded before the attempt; still so after a crash.
    Started,
    /// The vCenter accepted it.
    Accepted,
    /// The vCenter refused it.
    Refused,
}

/// The certificate that a vCenter showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Presented {
    /// Its SHA-256 fingerprint.
    #[schemars(length(max = 128))]
    pub sha256: String,
    /// Its SHA-1 fingerprint.
    #[schemars(length(max = 64))]
    pub sha1: String,
    /// Whom it names.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub subject: String,
    /// Who signed it.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub issuer: String,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}
