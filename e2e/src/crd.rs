//! Our kinds on an API server.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::checkout;

/// The namespace of the operators and their objects.
pub const NAMESPACE: &str = "vmware-system-vdo";

/// Applies the CRDs and waits until they are served.
pub fn install(bed: &Bed) {
    let folder = checkout("crds").display().to_string();
    bed.kubectl(&["apply", "--server-side", "-f", &folder]).unwrap_or_else(|error| panic!("{error:#}"));
    eventually(Duration::from_secs(30), "the CRDs are served", || {
        let crds = ["vdoconfigs", "vspherecloudconfigs", "compatibilityconfigs"];
        let names: Vec<String> = crds.iter().map(|name| format!("crd/{name}.vdo.vmware.com")).collect();
        let mut args = vec!["wait", "--for=condition=Established", "--timeout=1s"];
        args.extend(names.iter().map(String::as_str));
        bed.kubectl(&args)
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    apply(bed, &namespace).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Applies one object as a user does, with strict validation.
pub fn apply(bed: &Bed, object: &Value) -> Result<String> {
    bed.kubectl_with(&["apply", "--validate=strict", "-f", "-"], &object.to_string())
}

/// Fails unless the API server refuses the object with a message that holds `words`.
pub fn refused(bed: &Bed, object: &Value, words: &str) -> Result<()> {
    match apply(bed, object) {
        Ok(_) => bail!("accepted: {object}"),
        Err(error) => {
            let said = format!("{error:#}");
            if said.contains(words) { Ok(()) } else { bail!("refused, but without {words:?}: {said}") }
        }
    }
}

/// A VsphereCloudConfig with this spec.
pub fn vcenter(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

/// A CompatibilityConfig with this spec.
pub fn compatibility(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "CompatibilityConfig",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}

/// A VDOConfig with this spec.
pub fn vdo(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
    })
}
