//! The configuration of the cloud provider: JSON, which its YAML parser reads without any question of quoting.
//!
//! It is immutable and carries the id of its content in its name, so one change is exactly one roll-out: the
//! driver ends itself when a mounted file changes, and would otherwise restart on every node at once.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use vdo_api::names::CPI_NAMESPACE;
use vdo_plan::Object;
use vdo_plan::revision::content_id;
use vdo_plan::vcenter::{Trust, Vcenter};

use super::here;
use crate::inputs::Inputs;
use crate::releases::CredentialsFrom;

/// The Secret that the driver reads while it runs. Its name never changes, so a new password needs no restart. An older
/// release has it mounted, under the same name: what is rolled back to finds today's password in it.
pub const CREDENTIALS: &str = "vdo-cpi-credentials";
/// Where the configuration is mounted.
pub const CONFIG_DIRECTORY: &str = "/etc/cloud";
/// Where the credentials of a release that takes them from files are mounted.
pub const CREDENTIALS_DIRECTORY: &str = "/etc/vsphere-credentials";
/// Where certificate authorities are mounted.
pub const CA_DIRECTORY: &str = "/etc/vsphere-ca";

/// The objects of the configuration, and the names that the workload mounts.
pub struct Rendered {
    config: ConfigMap,
    authorities: Option<ConfigMap>,
    credentials: Secret,
    credentials_digest: Option<String>,
}

impl Rendered {
    /// Renders the configuration.
    pub fn new(inputs: &Inputs, key: &[u8]) -> Self {
        let text = format!("{:#}\n", document(inputs));
        let config = sealed("vdo-cpi-config", key, [("vsphere.conf".to_owned(), text)].into());
        let pems = inputs.vcenters.iter().filter_map(|vcenter| match &vcenter.trust {
            Trust::Ca(pem) => Some((authority(vcenter), pem.clone())),
            Trust::PublicCa | Trust::Thumbprint(_) | Trust::Insecure => None,
        });
        let pems: std::collections::BTreeMap<String, String> = pems.collect();
        let authorities = (!pems.is_empty()).then(|| sealed("vdo-cpi-ca", key, pems));
        let credentials = credentials(&inputs.vcenters);
        let credentials_digest = match inputs.facts.credentials {
            CredentialsFrom::Files => Some(content_id(key, json!(credentials.data).to_string().as_bytes())),
            CredentialsFrom::Secret => None,
        };
        Rendered { config, authorities, credentials, credentials_digest }
    }

    /// A keyed digest of the credentials, where they are read only when the driver starts.
    pub fn credentials_digest(&self) -> Option<&str> {
        self.credentials_digest.as_deref()
    }

    /// The name of the ConfigMap with `vsphere.conf`.
    pub fn config_name(&self) -> String {
        self.config.metadata.name.clone().unwrap_or_default()
    }

    /// The name of the ConfigMap with certificate authorities, if there is one.
    pub fn authorities_name(&self) -> Option<String> {
        self.authorities.as_ref().and_then(|map| map.metadata.name.clone())
    }

    /// The objects, in the order in which they are applied.
    pub fn into_objects(self) -> Vec<Object> {
        let mut objects = vec![Object::live(&self.credentials), Object::new(&self.config)];
        objects.extend(self.authorities.as_ref().map(Object::new));
        objects
    }
}

/// An immutable ConfigMap that carries the id of its content in its name.
fn sealed(prefix: &str, key: &[u8], data: std::collections::BTreeMap<String, String>) -> ConfigMap {
    let id = content_id(key, json!(data).to_string().as_bytes());
    ConfigMap {
        metadata: here(&format!("{prefix}-{id}")),
        data: Some(data),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}

fn document(inputs: &Inputs) -> Value {
    let vcenters: Map<String, Value> =
        inputs.vcenters.iter().map(|vcenter| (vcenter.server.clone(), entry(vcenter))).collect();
    // A false flag, because a true one could not be taken back for a single vCenter.
    let global = match inputs.facts.credentials {
        // Alone: beside the name of a Secret it counts as no source of credentials.
        CredentialsFrom::Files => json!({ "secretsDirectory": CREDENTIALS_DIRECTORY, "insecureFlag": false }),
        // Both always set, also if every vCenter had a Secret of its own: the driver then watches this
        // namespace only.
        CredentialsFrom::Secret => json!({
            "secretName": CREDENTIALS,
            "secretNamespace": CPI_NAMESPACE,
            "insecureFlag": false,
        }),
    };
    let mut document = json!({ "global": global, "vcenter": vcenters });
    if let Some(topology) = &inputs.topology {
        document["labels"] = json!({ "region": topology.region, "zone": topology.zone });
    }
    document
}

fn entry(vcenter: &Vcenter) -> Value {
    let mut entry = json!({
        "server": vcenter.server,
        "port": vcenter.port,
        "insecureFlag": vcenter.trust == Trust::Insecure,
        "datacenters": vcenter.datacenters,
    });
    match &vcenter.trust {
        Trust::Thumbprint(thumbprint) => entry["thumbprint"] = thumbprint.as_str().into(),
        Trust::Ca(_) => entry["caFile"] = format!("{CA_DIRECTORY}/{}", authority(vcenter)).into(),
        Trust::PublicCa | Trust::Insecure => {}
    }
    entry
}

/// The file with the authority of one vCenter. A colon is not allowed in the key of a ConfigMap.
fn authority(vcenter: &Vcenter) -> String {
    format!("{}.crt", vcenter.server.replace(':', "-"))
}

/// Exactly the keys that the driver expects, which are the names of the files where it is mounted: one that it does not know makes its first login fail.
fn credentials(vcenters: &[Vcenter]) -> Secret {
    let mut data = std::collections::BTreeMap::new();
    for (number, vcenter) in vcenters.iter().enumerate() {
        let user = ByteString(vcenter.credentials.username.as_bytes().to_vec());
        let password = ByteString(vcenter.credentials.password.expose_secret().as_bytes().to_vec());
        if vcenter.server.contains(':') {
            // An IPv6 address cannot be part of a key; this form names the server in a value.
            data.insert(format!("server_{number}"), ByteString(vcenter.server.as_bytes().to_vec()));
            data.insert(format!("username_{number}"), user);
            data.insert(format!("password_{number}"), password);
        } else {
            data.insert(format!("{}.username", vcenter.server), user);
            data.insert(format!("{}.password", vcenter.server), password);
        }
    }
    Secret { metadata: here(CREDENTIALS), data: Some(data), ..Secret::default() }
}
