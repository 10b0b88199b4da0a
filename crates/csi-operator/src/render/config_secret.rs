//! The driver's configuration: one immutable Secret, named by its content, so that one change is one roll-out and a
//! pod never sees a mix of old and new.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use vdo_plan::revision::content_id;

use super::namespaced;
use crate::gcfg::{Text, Writer};
use crate::inputs::{Home, Inputs, RootSquash, Trust};
use crate::releases::Trusting;

/// Every configuration Secret's name begins so.
pub const CONFIG_SECRET_PREFIX: &str = "vdo-csi-config-";
/// The key of the configuration, and its file name.
pub const CONFIG_KEY: &str = "csi-vsphere.conf";
/// The key of the certificate authorities, and their file name.
const AUTHORITY_KEY: &str = "vcenter-ca.pem";
/// Where the Secret is mounted.
pub(super) const CONFIG_DIRECTORY: &str = "/etc/cloud";
const AUTHORITY_PATH: &str = "/etc/cloud/vcenter-ca.pem";

/// The Secret for these inputs.
pub(super) fn build(inputs: &Inputs, hmac_key: &[u8]) -> Secret {
    let configuration = text(inputs);
    let mut data = vec![(CONFIG_KEY, configuration.expose_secret())];
    if let Trust::Authority(pem) = &inputs.trust {
        data.push((AUTHORITY_KEY, pem));
    }
    let content: Vec<&str> = data.iter().flat_map(|(key, value)| [*key, *value]).collect();
    let id = content_id(hmac_key, content.join("\0").as_bytes());
    let as_data = |(key, value): (&str, &str)| (key.to_owned(), ByteString(value.as_bytes().to_vec()));
    Secret {
        metadata: namespaced(&format!("{CONFIG_SECRET_PREFIX}{id}")),
        immutable: Some(true),
        data: Some(data.into_iter().map(as_data).collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The configuration. A key that a release does not read is silently ignored by the driver, so none is written that
/// it does not read there.
fn text(inputs: &Inputs) -> SecretString {
    let mut conf = Writer::default();
    conf.section("Global");
    if inputs.cluster_id.home == Home::Configuration {
        conf.entry("cluster-id", &inputs.cluster_id.value);
    }
    conf.entry("cluster-distribution", &inputs.distribution);
    if inputs.facts.trusting == Trusting::Together {
        trust(&mut conf, &inputs.trust);
    }

    conf.subsection("VirtualCenter", &inputs.server);
    conf.entry("user", &inputs.login.user);
    conf.entry("password", &inputs.login.password);
    conf.entry("port", &Text::from(inputs.port));
    if !inputs.datacenters.is_empty() {
        conf.list("datacenters", &inputs.datacenters);
    }
    if inputs.facts.trusting == Trusting::Each {
        trust(&mut conf, &inputs.trust);
    }

    for (at, permission) in inputs.net_permissions.iter().enumerate() {
        conf.numbered("NetPermissions", at + 1);
        conf.entry("ips", &permission.ips);
        conf.word("permissions", permission.access);
        conf.word("rootsquash", if permission.root_squash == RootSquash::On { "true" } else { "false" });
    }
    conf.finish()
}

fn trust(conf: &mut Writer, trust: &Trust) {
    match trust {
        Trust::Insecure => conf.word("insecure-flag", "true"),
        Trust::PublicAuthority => conf.word("insecure-flag", "false"),
        Trust::Authority(_) => {
            conf.word("insecure-flag", "false");
            conf.word("ca-file", AUTHORITY_PATH);
        }
        Trust::Thumbprint(fingerprint) => {
            conf.word("insecure-flag", "false");
            conf.entry("thumbprint", fingerprint);
        }
    }
}
