//! Operators on an API server whose CRDs are not there yet, or are older than they.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::checkout;
use e2e::crd::{NAMESPACE, apply, install, vcenter, vdo};
use e2e::operator::Replica;
use e2e::stand::await_said;
use serde_json::{Value, json};
use testbed::bed::Bed;

const OPERATOR: &str = "vdo-core";
/// A watch that was refused is tried again within half a minute.
const SOON: Duration = Duration::from_secs(45);
/// A field that this release writes.
const FIELD: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/observedGeneration";

/// The CRD of VDOConfig as a release before would have made it.
fn older(bed: &Bed) -> Value {
    let file = checkout("crds/vdoconfigs.yaml").display().to_string();
    let text = bed.kubectl(&["create", "--dry-run=client", "-o", "json", "-f", &file]).unwrap();
    let mut crd: Value = serde_json::from_str(&text).unwrap();
    let (parent, field) = FIELD.rsplit_once('/').unwrap();
    let fields = crd.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    assert!(fields.remove(field).is_some(), "{FIELD} is not in the CRD");
    crd
}

#[test]
fn an_operator_waits_for_its_crds_and_says_what_older_ones_do_not_know() {
    let bed = Bed::from_env();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    apply(&bed, &namespace).unwrap();

    // Nothing of ours is served: it says so, and lives.
    let mut operator = Replica::start(&bed, OPERATOR, "first");
    operator.says("vdoconfigs", SOON);
    operator.still_runs();

    install(&bed);
    bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &older(&bed).to_string()).unwrap();
    apply(&bed, &vcenter("vc", &json!({"vcIp": "no-such-host.example.com", "credentials": "vc-creds"})))
        .unwrap();
    apply(&bed, &vdo("vdo", &json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}}))).unwrap();

    // The rest of the status arrives without that field, and says what to do.
    let said = await_said(&bed, "vdo", "vdo", "Accepted", SOON, |said| said.reason == "CRDsOutdated");
    assert_eq!(said.status, "True", "{said:?}");
    for words in ["VDOConfig.status.observedGeneration", "upgrade the chart vdo-crds"] {
        assert!(said.message.contains(words), "{words:?} is not in {said:?}");
    }
    operator.still_runs();
    drop(operator);

    // One that starts after the upgrade of the CRDs takes it back.
    install(&bed);
    let _operator = Replica::start(&bed, OPERATOR, "second");
    await_said(&bed, "vdo", "vdo", "Accepted", SOON, |said| said.reason == "AsWanted");
}
