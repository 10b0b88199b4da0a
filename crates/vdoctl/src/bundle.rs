//! The objects of a file, as the API server would store them.

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vdo_api::names::{GROUP, KUBE_SYSTEM, OPERATORS_NAMESPACE, VERSION};
use vdo_api::{VDOConfig, VsphereCloudConfig};

use crate::yaml;

/// What a file holds that a rendering looks at.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The one VDOConfig.
    pub config: VDOConfig,
    /// The namespace of the operators: that of the VDOConfig.
    pub namespace: String,
    vcenters: Vec<VsphereCloudConfig>,
    secrets: Vec<Secret>,
    config_maps: Vec<ConfigMap>,
    /// Objects that no rendering looks at, as `Kind name`.
    pub unused: Vec<String>,
}

impl Bundle {
    /// Reads a text of one or more documents; a `List` counts as its items.
    pub fn read(text: &str) -> Result<Bundle> {
        let mut configs = Vec::new();
        let (mut vcenters, mut secrets, mut config_maps) = (Vec::new(), Vec::new(), Vec::new());
        let mut unused = Vec::new();
        let ours = format!("{GROUP}/{VERSION}");
        for (at, document) in yaml::read(text)?.into_iter().enumerate() {
            let word = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let (version, kind) = (word("/apiVersion").to_owned(), word("/kind").to_owned());
            let what = format!("{kind} {}", word("/metadata/name"));
            if version.is_empty() || kind.is_empty() {
                bail!("document {} has no apiVersion or no kind", at + 1);
            }
            match (version.as_str(), kind.as_str()) {
                (version, "VDOConfig") if version == ours => configs.push(strictly(document, &what)?),
                (version, "VsphereCloudConfig") if version == ours => {
                    vcenters.push(strictly(document, &what)?)
                }
                ("v1", "Secret") => secrets.push(secret(document, &what)?),
                ("v1", "ConfigMap") => config_maps.push(
                    serde_json::from_value(document).with_context(|| format!("{what} does not decode"))?,
                ),
                (version, "VDOConfig" | "VsphereCloudConfig") => {
                    bail!("{what} is of {version}; this vdoctl reads {ours}")
                }
                (_, _) => unused.push(what),
            }
        }
        let config: VDOConfig = match <[VDOConfig; 1]>::try_from(configs) {
            Ok([config]) => config,
            Err(none) if none.is_empty() => bail!("there is no VDOConfig in it"),
            Err(several) => bail!("there are {} VDOConfigs in it; keep the one that counts", several.len()),
        };
        let namespace = config.metadata.namespace.clone().unwrap_or_else(|| OPERATORS_NAMESPACE.to_owned());
        Ok(Bundle { config, namespace, vcenters, secrets, config_maps, unused })
    }

    /// The VsphereCloudConfig of this name beside the VDOConfig.
    pub fn vcenter(&self, name: &str) -> Option<&VsphereCloudConfig> {
        self.vcenters.iter().find(|it| self.is(&it.metadata, name, &self.namespace))
    }

    /// The Secret that `spec.credentials` means: beside the VDOConfig, else in `kube-system`.
    pub fn credentials(&self, name: &str) -> Option<Secret> {
        let within = |namespace: &str| self.secrets.iter().find(|it| self.is(&it.metadata, name, namespace));
        let mut secret = within(&self.namespace).or_else(|| within(KUBE_SYSTEM))?.clone();
        secret.metadata.namespace.get_or_insert_with(|| self.namespace.clone());
        Some(secret)
    }

    /// The value of a key of a ConfigMap beside the VDOConfig.
    pub fn text(&self, config_map: &str, key: &str) -> Option<&str> {
        let map = self.config_maps.iter().find(|it| self.is(&it.metadata, config_map, &self.namespace))?;
        map.data.as_ref()?.get(key).map(String::as_str)
    }

    /// An object without a namespace is meant to be beside the VDOConfig.
    fn is(
        &self,
        metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        name: &str,
        namespace: &str,
    ) -> bool {
        metadata.name.as_deref() == Some(name)
            && metadata.namespace.as_deref().unwrap_or(&self.namespace) == namespace
    }
}

/// One of our kinds, whose spec has no field that the API server would not know.
fn strictly<K: DeserializeOwned + Serialize>(document: Value, what: &str) -> Result<K> {
    let written = document.get("spec").cloned().unwrap_or_default();
    let object: K = serde_json::from_value(document).with_context(|| format!("{what} does not decode"))?;
    let understood = serde_json::to_value(&object).with_context(|| format!("{what} does not encode"))?;
    let mut unknown = Vec::new();
    compare(&written, &understood["spec"], "spec", &mut unknown);
    if unknown.is_empty() { Ok(object) } else { bail!("{what} has unknown fields: {}", unknown.join(", ")) }
}

/// Names the fields that hold something and that were not taken in.
fn compare(written: &Value, understood: &Value, at: &str, unknown: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), understood) => {
            for (key, value) in written {
                let at = format!("{at}.{key}");
                match understood.get(key) {
                    Some(understood) => compare(value, understood, &at, unknown),
                    None if is_empty(value) => {}
                    None => unknown.push(at),
                }
            }
        }
        (Value::Array(written), Value::Array(understood)) => {
            for (number, (written, understood)) in written.iter().zip(understood).enumerate() {
                compare(written, understood, &format!("{at}[{number}]"), unknown);
            }
        }
        (_, _) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// A Secret as it is stored: `stringData` wins over `data`. What does not decode is named without its content.
fn secret(document: Value, what: &str) -> Result<Secret> {
    let mut secret: Secret = serde_json::from_value(document).map_err(|_| {
        anyhow!("{what} does not decode: data wants base64, stringData wants text; quote numbers and words like yes")
    })?;
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "apiVersion: vdo.vmware.com/v1alpha1\nkind: VDOConfig\nmetadata: {name: vdo}\n\
        spec: {cloudProvider: {vsphereCloudConfigs: [vc]}}\n";

    fn with(more: &str) -> Result<Bundle> {
        Bundle::read(&format!("{CONFIG}---\n{more}"))
    }

    fn refused(text: &str) -> String {
        format!("{:#}", Bundle::read(text).unwrap_err())
    }

    #[test]
    fn text_wins_over_data_and_the_namespace_is_that_of_the_config() {
        let bundle = with(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\ndata: {password: b2xk}\nstringData: {password: new}\n",
        )
        .unwrap();
        let secret = bundle.credentials("c").unwrap();
        assert_eq!(secret.data.unwrap()["password"].0, b"new");
        assert_eq!(secret.metadata.namespace.as_deref(), Some("vmware-system-vdo"));
    }

    #[test]
    fn a_secret_in_kube_system_is_found_last_and_one_elsewhere_never() {
        let secret = |namespace: &str| {
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: c, namespace: {namespace}}}\n")
        };
        assert!(with(&secret("default")).unwrap().credentials("c").is_none());
        let both = with(&format!("{}---\n{}", secret("kube-system"), secret("vmware-system-vdo"))).unwrap();
        let found = both.credentials("c").unwrap().metadata.namespace;
        assert_eq!(found.as_deref(), Some("vmware-system-vdo"));
        assert!(with(&secret("kube-system")).unwrap().credentials("c").is_some());
    }

    #[test]
    fn a_field_that_the_api_server_would_not_know_is_named() {
        let said = refused(
            &CONFIG.replace("vsphereCloudConfigs: [vc]", "vsphereCloudConfigs: [vc], verson: 1.36.0"),
        );
        assert_eq!(said, "VDOConfig vdo has unknown fields: spec.cloudProvider.verson");
    }

    #[test]
    fn no_config_and_two_configs_are_told_apart() {
        assert_eq!(
            refused("apiVersion: v1\nkind: Namespace\nmetadata: {name: n}"),
            "there is no VDOConfig in it"
        );
        assert!(refused(&format!("{CONFIG}---\n{CONFIG}")).starts_with("there are 2 VDOConfigs"));
        assert_eq!(refused("a: b"), "document 1 has no apiVersion or no kind");
    }

    #[test]
    fn a_broken_secret_is_named_without_its_content() {
        let said =
            with("apiVersion: v1\nkind: Secret\nmetadata: {name: c}\nstringData: {password: 123456}\n");
        let said = format!("{:#}", said.unwrap_err());
        assert!(said.starts_with("Secret c does not decode") && !said.contains("123456"), "{said}");
    }

    #[test]
    fn a_list_counts_as_its_items() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}\n\
            - {apiVersion: vdo.vmware.com/v1alpha1, kind: VDOConfig, metadata: {name: vdo}, spec: {}}\n";
        assert_eq!(Bundle::read(text).unwrap().unused, ["Namespace ns"]);
    }
}
