//! A new password reaches storage also while the cloud provider does not work.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::ensure;
use e2e::stand::{apply_secret, csi_socket, may_end};
use e2e::vcenter::{CPI_AGENT, CSI_AGENT, let_in, logins, set_password};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    CPI, CSI, History, NEW, SOON, Since, chapter, condition, csic, installed, no_pod_was_made_in_vain, pods,
    until, workloads,
};

const CONTROLLER: &str = "Deployment/vsphere-csi-controller";

/// Puts something else behind the image of the cloud provider, and takes its pods away.
fn run_as_cloud_provider(bed: &Bed, row: &Value) {
    let image = format!("registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v{}", NEW.0);
    bed.add_images(json!({image: row}).as_object().unwrap()).unwrap();
    bed.kubectl(&["delete", "pods", "--all", "-n", CPI]).unwrap();
}

/// The cloud provider cannot start any more, and it is known.
fn break_cloud_provider(bed: &Bed) {
    let script = bed.path("tmp/no-cloud-provider");
    fs::write(&script, "#!/usr/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let row = json!({
        "binary": script, "path": "/bin/vsphere-cloud-controller-manager", "needs_libs": true,
        "files": {"/usr/bin": "/usr/bin"},
    });
    run_as_cloud_provider(bed, &row);
    until(bed, "the cloud provider does not work", |config| {
        let said = condition(config, "CPIReady");
        ensure!(said["status"] == "False", "{said}");
        Ok(())
    });
}

fn mend_cloud_provider(bed: &Bed) {
    let real = json!({"binary": bed.program("cpi-1.36.0"), "path": "/bin/vsphere-cloud-controller-manager"});
    run_as_cloud_provider(bed, &real);
}

/// Changes the password at the vCenter and in the user's Secret.
fn change_password(bed: &Bed, password: &str) {
    set_password(bed, password).unwrap();
    apply_secret(bed, &bed.vcenter(1).user, password);
}

#[test]
fn storage_gets_its_new_password_by_one_restart_while_the_cloud_provider_is_broken_and_is_left_alone() {
    chapter(NEW, |bed| {
        break_cloud_provider(bed);
        let history = History::begin(bed, "rotation");
        let since = Since::now(bed);
        let seen = [CPI_AGENT, CSI_AGENT].map(|agent| logins(bed, agent).len());
        // Its processes end again and again.
        let cpi_pods = || pods(bed, CPI).into_keys().collect::<Vec<_>>();
        let (cpi, pods_of_cpi) = (workloads(bed, CPI), cpi_pods());
        let (csi, csi_pods) = (workloads(bed, CSI), pods(bed, CSI));
        let before = until(bed, "the record of storage", |_| Ok(()))["status"]["csi"]["installed"].clone();

        let first = bed.vcenter(1).password().unwrap();
        change_password(bed, &format!("{first}-and-another"));
        let config = until(bed, "storage works with a new configuration", |config| {
            let (record, said) = (&config["status"]["csi"], condition(config, "CSIReady"));
            let moved = record["installed"]["revision"] != before["revision"];
            ensure!(moved && record["attempt"].is_null() && said["status"] == "True", "{record} {said}");
            Ok(())
        });
        // All that time the cloud provider was no help.
        let said = condition(&config, "CPIReady");
        assert_eq!(said["status"], "False", "{said:#}");
        assert_eq!(history.releases("csi"), [[NEW.1, "none"], [NEW.1, NEW.1], [NEW.1, "none"]]);

        // One roll-out: each workload is the one that it was, and no pod was replaced twice or ended by itself.
        let now = workloads(bed, CSI);
        assert_eq!(now.keys().collect::<Vec<_>>(), csi.keys().collect::<Vec<_>>());
        for (name, (uid, generation)) in &now {
            assert_eq!(*uid, csi[name].0, "{name}");
            let by = generation - csi[name].1;
            assert!(by == 1 || (by == 0 && name != CONTROLLER), "{name} changed {by} times");
        }
        let list = bed.get(&["pods", "-n", CSI]).unwrap();
        for pod in list["items"].as_array().unwrap() {
            for container in pod["status"]["containerStatuses"].as_array().unwrap() {
                assert!(container["restartCount"] == 0 || may_end(container), "{container:#}");
            }
        }
        no_pod_was_made_in_vain(bed, &since, CSI, &csi_pods);

        // It logs in with the new password, never with the old one, and does its work.
        let by_csi = let_in(bed, CSI_AGENT, seen[1]);
        assert!(!by_csi.is_empty() && by_csi.iter().all(|ok| *ok), "{by_csi:?}");
        let socket = csi_socket(bed).unwrap();
        let made = csic(bed, &socket, &["create", "--name", "pvc-rotated"]).unwrap();
        csic(bed, &socket, &["delete", "--id", made["id"].as_str().unwrap()]).unwrap();

        // Nobody took that for a fault of the cloud provider's release, or started it anew for it: it got the Secret that it
        // reads while it runs.
        assert_eq!(history.releases("cpi"), [[NEW.0, "none"]]);
        assert!(config["status"]["cpi"]["refused"].as_array().is_none_or(Vec::is_empty), "{config:#}");
        assert_eq!((workloads(bed, CPI), cpi_pods()), (cpi, pods_of_cpi));
        let touched = since.touched(bed, "cpi-operator").requests;
        assert!(touched.iter().all(|r| r.resource == "secrets" && r.verb == "patch"), "{touched:#?}");
        assert_eq!(touched.len(), 1, "{touched:#?}");

        mend_cloud_provider(bed);
        installed(bed, NEW);
        eventually(SOON, "the cloud provider logs in with the new password, too", || {
            let by_cpi = let_in(bed, CPI_AGENT, seen[0]);
            ensure!(by_cpi.iter().any(|ok| *ok), "{by_cpi:?}");
            Ok(())
        });

        // The first password is that of the bed, and of other chapters.
        change_password(bed, &first);
        until(bed, "storage is what it was", |config| {
            let record = &config["status"]["csi"];
            ensure!(record["installed"]["revision"] == before["revision"], "{record}");
            Ok(())
        });
        installed(bed, NEW);
    });
}
