//! The CRDs as they are generated into `crds/` and carried by the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::names::{SCHEMA, SCHEMA_ANNOTATION};
use crate::{CompatibilityConfig, VDOConfig, VsphereCloudConfig};

/// The three CRDs, in the order of their names.
pub fn all() -> Vec<CustomResourceDefinition> {
    [CompatibilityConfig::crd(), VDOConfig::crd(), VsphereCloudConfig::crd()]
        .into_iter()
        .map(|mut crd| {
            let annotations = crd.metadata.annotations.get_or_insert_default();
            annotations.insert(SCHEMA_ANNOTATION.to_owned(), SCHEMA.to_string());
            crd
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Walks a schema and names every string, list and map without a bound.
    fn unbounded(at: &str, schema: &Value, found: &mut Vec<String>) {
        let has = |key: &str| schema.get(key).is_some();
        match schema.get("type").and_then(Value::as_str) {
            Some("string") if !has("maxLength") && !has("enum") && !has("format") => {
                found.push(at.to_owned())
            }
            Some("array") if !has("maxItems") => found.push(at.to_owned()),
            _ => {}
        }
        for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            unbounded(&format!("{at}.{name}"), child, found);
        }
        if let Some(items) = schema.get("items") {
            unbounded(&format!("{at}[]"), items, found);
        }
    }

    #[test]
    fn every_string_and_list_is_bounded() {
        for crd in all() {
            let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
            let root = &schema["openAPIV3Schema"]["properties"];
            let mut found = Vec::new();
            unbounded("spec", &root["spec"], &mut found);
            unbounded("status", &root["status"], &mut found);
            assert_eq!(found, Vec::<String>::new(), "{}", crd.spec.names.kind);
        }
    }

    #[test]
    fn lists_of_conditions_merge_by_type_and_the_contract_is_atomic() {
        let crd = serde_json::to_value(VsphereCloudConfig::crd()).unwrap();
        let status =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
        assert_eq!(status["conditions"]["x-kubernetes-list-type"], "map");
        assert_eq!(status["verified"]["x-kubernetes-map-type"], "atomic");
    }

    #[test]
    fn an_object_that_the_original_stored_still_loads() {
        let stored = r#"{"apiVersion":"vdo.vmware.com/v1alpha1","kind":"VDOConfig",
            "metadata":{"name":"vdo-config","namespace":"vmware-system-vdo"},
            "spec":{"storageProvider":{"vsphereCloudConfig":"vc-csi","clusterDistribution":"OpenShift"},
                    "cloudProvider":{"vsphereCloudConfigs":["vc-cpi"],"topology":{"region":"k8s-region","zone":"k8s-zone"}}},
            "status":{"cpi":{"phase":"Configured","nodeStatus ":{"node-1":"ready"}},"csi":{"phase":"Deployed"}}}"#;
        let loaded: VDOConfig = serde_json::from_str(stored).unwrap();
        assert!(loaded.spec.wants_cpi() && loaded.spec.wants_csi());
        assert_eq!(loaded.status.unwrap().cpi.unwrap().node_status["node-1"], "ready");
        let config = r#"{"metadata":{"name":"vc-cpi"},"spec":{"vcIp":"10.1.1.1","insecure":true,"credentials":"c",
            "thumbprint":"AA","datacenters":[]},"status":{"config":"verified"}}"#;
        let loaded: VsphereCloudConfig = serde_json::from_str(&config.replacen(
            '{',
            r#"{"apiVersion":"vdo.vmware.com/v1alpha1","kind":"VsphereCloudConfig","#,
            1,
        ))
        .unwrap();
        assert_eq!(loaded.status.unwrap().config, Some(crate::vcenter::ConfigState::Verified));
    }
}
