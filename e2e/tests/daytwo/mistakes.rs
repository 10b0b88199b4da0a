//! The operators are deleted, with their namespace or with the chart: the drivers stay, and are taken back.

use std::process::Command;

use anyhow::{Result, ensure};
use e2e::crd::NAMESPACE;
use e2e::stand::{CONFIG, helm, programs};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    NEW, SOON, Since, chapter, config, delete_config, gone, install, pods, standing, taken_back,
};

/// Runs `vdoctl release`, and gives its exit code and what it said.
fn release(bed: &Bed, more: &[&str]) -> (Option<i32>, String) {
    let mut vdoctl = Command::new(programs().join("vdoctl"));
    vdoctl.arg("release").arg("--kubeconfig").arg(bed.kubeconfig()).args(["-n", NAMESPACE]).args(more);
    let output = vdoctl.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code(), said)
}

fn no_operator_is_left(bed: &Bed) {
    eventually(SOON, "no operator is left", || {
        let pods = pods(bed, NAMESPACE);
        ensure!(pods.is_empty(), "{pods:?}");
        Ok(())
    });
}

/// Nothing that a driver consists of was written or deleted by an operator of ours.
fn left_alone(bed: &Bed, since: &Since) {
    let touched = since.written(bed).filter(|r| r.namespace != NAMESPACE);
    assert!(touched.is_empty(), "{touched:#?}");
}

#[test]
fn an_uninstalled_chart_leaves_the_drivers_and_vdoctl_lets_the_vdoconfig_go() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let since = Since::now(bed);
        helm(bed, &["uninstall", "vdo", "-n", NAMESPACE, "--wait", "--timeout", "90s"]).unwrap();
        no_operator_is_left(bed);
        assert_eq!(standing(bed), before);

        // Nobody is left to let it go, and nobody is asked to remove a driver.
        delete_config(bed);
        let (code, said) = release(bed, &[]);
        assert_eq!(code, Some(1), "{said}");
        for word in [CONFIG, "vdo.vmware.com/csi", "vdo.vmware.com/cpi", "would be taken off", "--yes"] {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        let finalizers = config(bed).unwrap()["metadata"]["finalizers"].clone();
        assert_eq!(finalizers.as_array().unwrap().len(), 2, "{finalizers}");
        let (code, said) = release(bed, &["--yes"]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("the drivers stay"), "{said}");
        gone(bed);
        assert_eq!(standing(bed), before);

        install(bed);
        taken_back(bed, &before);
        left_alone(bed, &since);
    });
}

#[test]
fn the_namespace_of_the_operators_deleted_by_mistake_takes_no_driver_along() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let since = Since::now(bed);
        bed.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).unwrap();
        no_operator_is_left(bed);
        eventually(SOON, "the VDOConfig is being deleted with it, or gone", || {
            let left = ["get", "vdo", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata}"];
            let left = bed.kubectl(&left)?;
            ensure!(left.is_empty() || left.contains("deletionTimestamp"), "{left}");
            Ok(())
        });
        // An operator that lost its rights, or its life, before it could let go: somebody does it in its place.
        let (code, said) = release(bed, &["--yes"]);
        assert_eq!(code, Some(0), "{said}");
        eventually(SOON, "the namespace is gone", || -> Result<()> {
            let left = bed.kubectl(&["get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "yaml"])?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        });
        assert_eq!(standing(bed), before);
        left_alone(bed, &since);
    });
}
