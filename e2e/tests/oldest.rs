//! The oldest Kubernetes that the chart accepts: both drivers are installed, kept, refused what is wrong, and removed there
//! as on the newest.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::crd::{NAMESPACE, apply, refused};
use e2e::stand::{
    CONFIG, OPERATORS, VCENTER, apply_secret, apply_vcenter, await_condition, both_drivers, condition,
    csi_socket, deploy, matrix_of, rendered_chart, vcenter_config, what_it_said,
};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::spec::Kubernetes;
use testbed::wait::eventually;

const SOON: Duration = Duration::from_secs(120);
const CPI: &str = "vmware-system-cpi";
const CPI_SET: &str = "vsphere-cloud-controller-manager";

/// The first two numbers of a release: `1.30` of `v1.30.14`.
fn minor(release: &str) -> String {
    release.trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn a_chart_for_an_older_minor_than_this_is_refused() {
    let bed = Bed::from_env();
    let oldest = minor(Kubernetes::Oldest.release());
    let older = format!("1.{}.0", oldest.split('.').nth(1).unwrap().parse::<u32>().unwrap() - 1);
    rendered_chart(&bed, "vdo", &["--kube-version", &oldest]).unwrap();
    let said = what_it_said(&rendered_chart(&bed, "vdo", &["--kube-version", &older]).unwrap_err());
    let words =
        [format!("requires kubeVersion: >={oldest}."), format!("incompatible with Kubernetes v{older}")];
    assert!(words.iter().all(|words| said.contains(words)), "{said}");
}

#[test]
fn both_drivers_are_installed_kept_and_removed_on_the_oldest_kubernetes() {
    let bed = Bed::from_env();
    let version = bed.kubectl(&["get", "--raw", "/version"]).unwrap();
    let version: Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["gitVersion"], Kubernetes::Oldest.release());
    deploy(&bed);
    let vcenter = bed.vcenter(1).clone();
    apply_secret(&bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(&bed);
    apply(&bed, &matrix_of(&["1.33.0"], &["3.3.1"])).unwrap();
    apply(&bed, &both_drivers()).unwrap();
    await_condition(&bed, "vdo", CONFIG, "Ready", "True", SOON);
    for (kind, name, type_) in
        [("vdo", CONFIG, "CPIReady"), ("vdo", CONFIG, "CSIReady"), ("vcc", VCENTER, "Ready")]
    {
        let said = condition(&bed, kind, name, type_).unwrap();
        assert_eq!(said.status, "True", "{type_}: {said:?}");
    }
    csi_socket(&bed).unwrap();

    // The rules of our kinds hold, and one that looks at what was stored before.
    for (wrong, words) in [
        (json!({"vcIp": "https://vc.example.com"}), "without scheme, path or user"),
        (json!({"thumbprint": "abc"}), "hexadecimal digits"),
        (
            json!({"insecure": true, "thumbprint": format!("00{}", ":00".repeat(19))}),
            "thumbprint has no effect when insecure is true",
        ),
    ] {
        let mut object = vcenter_config(&bed, &wrong);
        object["metadata"]["name"] = "wrong".into();
        refused(&bed, &object, words).unwrap();
    }

    // What is deleted by hand comes back.
    let uid = || -> Result<String> {
        let set = bed.get(&["daemonset", CPI_SET, "-n", CPI])?;
        Ok(set["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
    };
    let before = uid().unwrap();
    bed.kubectl(&["delete", "daemonset", CPI_SET, "-n", CPI, "--wait=false"]).unwrap();
    eventually(SOON, "the DaemonSet is back", || {
        let now = uid()?;
        ensure!(now != before, "it is still the one before");
        Ok(())
    });
    await_condition(&bed, "vdo", CONFIG, "Ready", "True", SOON);

    bed.kubectl(&["delete", "vdo", CONFIG, "-n", NAMESPACE, "--timeout=90s"]).unwrap();
    let left = bed.get(&["daemonsets,deployments", "-A", "-l", "vdo.vmware.com/driver"]).unwrap();
    assert_eq!(left["items"], json!([]));

    let audit = bed.audit().unwrap();
    for operator in OPERATORS {
        let refused = audit.by_account(NAMESPACE, operator).forbidden();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}
