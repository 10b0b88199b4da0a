//! The VDOConfig goes: the drivers stay where they are needed or wanted, and leave in order where they are not.

use std::time::Duration;

use anyhow::ensure;
use e2e::checkout;
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::CONFIG;
use serde_json::json;
use testbed::wait::eventually;

use crate::house::{
    CPI, CSI, KINDS, NEW, SOON, Since, chapter, delete_config, gone, is_workload, name_of, named, passes,
    pinned, pods, standing, taken_back,
};
use crate::volumes::{delete_volumes, held_by, identities, lookalikes, make_volumes};

#[test]
fn a_deletion_held_by_a_volume_can_be_turned_to_orphan_and_a_new_vdoconfig_takes_the_drivers_back() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let since = Since::now(bed);
        make_volumes(bed, 0..1);
        delete_config(bed);
        let said = held_by(bed, 1);
        assert!(said.contains("pv-000") && said.contains("spec.deletionPolicy"), "{said}");
        let orphan = json!({"spec": {"deletionPolicy": "Orphan"}}).to_string();
        bed.kubectl(&["patch", "vdo", CONFIG, "-n", NAMESPACE, "--type=merge", "-p", &orphan]).unwrap();
        gone(bed);
        assert_eq!(standing(bed), before);
        delete_volumes(bed);
        taken_back(bed, &before);
        let touched = since.written(bed).filter(|r| r.namespace != NAMESPACE && !r.namespace.is_empty());
        assert!(touched.is_empty(), "{touched:#?}");
    });
}

#[test]
fn a_crd_deleted_by_mistake_takes_no_driver_along_and_with_the_crd_back_they_are_taken_back() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let since = Since::now(bed);
        bed.kubectl(&["delete", "crd", "vdoconfigs.vdo.vmware.com", "--wait=false"]).unwrap();
        eventually(SOON, "the CRD is gone: nobody's finalizer keeps it", || {
            let left = bed.kubectl(&["get", "crd", "vdoconfigs.vdo.vmware.com", "--ignore-not-found"])?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        });
        assert_eq!(standing(bed), before);
        let folder = checkout("crds").display().to_string();
        bed.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &folder]).unwrap();
        eventually(SOON, "the API server takes VDOConfigs again", || apply(bed, &pinned(NEW, &json!({}))));
        taken_back(bed, &before);
        let touched = since.written(bed).filter(|r| r.namespace != NAMESPACE && !r.namespace.is_empty());
        assert!(touched.is_empty(), "{touched:#?}");
    });
}

#[test]
fn five_hundred_volumes_hold_a_removal_and_after_them_csi_goes_before_cpi_and_nothing_of_ours_is_left() {
    chapter(NEW, |bed| {
        let foreign = lookalikes();
        for (namespace, object) in &foreign {
            bed.kubectl_with(&["apply", "-n", namespace, "-f", "-"], &object.to_string()).unwrap();
        }
        let theirs = identities(bed, &foreign).unwrap();
        make_volumes(bed, 0..500);
        let before = standing(bed);
        let since = Since::now(bed);
        delete_config(bed);
        let said = held_by(bed, 500);
        assert_eq!(said.matches("pv-").count(), 5, "{said}");
        assert!(said.contains("495 more"), "{said}");
        // Held, both are kept as they should be.
        for (driver, namespace) in [("cpi", CPI), ("csi", CSI)] {
            let role = named(bed, driver, "ClusterRole").remove(0);
            bed.kubectl(&["label", "clusterrole", &role, "-n", namespace, "vdo.vmware.com/driver-"]).unwrap();
        }
        eventually(Duration::from_secs(5), "what was changed meanwhile is put back", || {
            let now = standing(bed);
            ensure!(now == before, "{now:#}");
            Ok(())
        });
        let deleted = since.written(bed).filter(|r| r.verb.starts_with("delete"));
        assert!(deleted.is_empty(), "{deleted:#?}");
        assert!(passes(bed, "csi-operator").unwrap() > 0);

        let since = Since::now(bed);
        delete_volumes(bed);
        gone(bed);
        let removed = since.written(bed).filter(|r| is_workload(r) && r.verb == "delete");
        let of = |namespace: &str| {
            let times = removed.filter(|r| r.namespace == namespace).requests;
            let mut times: Vec<_> = times.iter().map(|r| r.received).collect();
            times.sort();
            times
        };
        let (csi, cpi) = (of(CSI), of(CPI));
        assert!(csi.len() >= 2 && !cpi.is_empty(), "CSI {csi:?}, CPI {cpi:?}");
        assert!(csi.last() < cpi.first(), "CSI {csi:?}, CPI {cpi:?}");

        // Nothing of ours is left but what is to stay.
        let left = bed.get(&[KINDS, "-A", "-l", "vdo.vmware.com/driver"]).unwrap();
        let left: Vec<String> = left["items"].as_array().unwrap().iter().map(name_of).collect();
        let journals =
            ["Secret vmware-system-vdo/vdo-cpi-journal", "Secret vmware-system-vdo/vdo-csi-journal"];
        let left: Vec<&String> = left.iter().filter(|name| !journals.contains(&name.as_str())).collect();
        assert!(left.is_empty(), "{left:?}");
        for namespace in [CPI, CSI] {
            assert!(pods(bed, namespace).is_empty());
            bed.get(&["namespace", namespace]).unwrap();
        }
        bed.get(&["configmap", "vdo-csi-cluster-id", "-n", NAMESPACE]).unwrap();
        bed.get(&["crd", "cnsvolumeoperationrequests.cns.vmware.com"]).unwrap();
        // What only looks like ours was not so much as touched.
        assert_eq!(identities(bed, &foreign).unwrap(), theirs);
    });
}
