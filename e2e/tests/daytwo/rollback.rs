//! A roll-out that does not work goes back by itself, says why, and is tried again only when somebody asks.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::ensure;
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::CONFIG;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, History, NEW, NO_IMAGE_EITHER, NO_SUCH_IMAGE, SOON, Since, applied, chapter,
    condition, going_back, installed, no_workload_was_deleted, passes, pinned, pods, until, workloads,
};

/// Releases that cannot work, in place of the installed one.
const BAD: (&str, &str) = (NO_SUCH_IMAGE, NEW.1);
const LEASELESS: (&str, &str) = (NO_IMAGE_EITHER, NEW.1);

fn ask_again(bed: &Bed, value: &str) {
    let annotation = format!("vdo.vmware.com/retry-rollout={value}");
    bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "--overwrite", &annotation]).unwrap();
}

/// Waits for the roll-out of a release.
fn attempted(bed: &Bed, (cpi, _): (&str, &str)) {
    until(bed, "it is tried", |config| {
        let attempt = &config["status"]["cpi"]["attempt"];
        ensure!(attempt["release"] == cpi, "{attempt}");
        Ok(())
    });
}

/// Waits until a release was given up, and gives what is said of it.
fn given_up(bed: &Bed, (cpi, _): (&str, &str)) -> Value {
    let config = until(bed, "it is rolled back and the driver works", |config| {
        let (record, said) = (&config["status"]["cpi"], condition(config, "CPIReady"));
        ensure!(record["attempt"].is_null() && record["refused"][0]["release"] == cpi, "{record}");
        ensure!(said["status"] == "True" && said["reason"] == "RevisionRefused", "{said}");
        Ok(())
    });
    let record = &config["status"]["cpi"];
    assert_eq!(record["installed"]["release"], NEW.0, "{record:#}");
    assert_eq!(record["refused"].as_array().unwrap().len(), 1, "{record:#}");
    let refused = &record["refused"][0];
    let told = condition(&config, "CPIReady")["message"].as_str().unwrap();
    assert!(told.contains(refused["message"].as_str().unwrap()), "{told}\n{refused:#}");
    refused.clone()
}

/// The operator wakes and looks, and finds nothing to do.
fn rests(bed: &Bed) {
    let since = Since::now(bed);
    for knock in 0..4 {
        let before = passes(bed, "cpi-operator").unwrap();
        // A neighbour's word on an object of ours wakes it.
        let knock = format!("test.example/knock={knock}");
        bed.kubectl(&["annotate", "daemonset", CPI_SET, "-n", CPI, "--overwrite", &knock]).unwrap();
        eventually(SOON, "cpi-operator makes a pass", || {
            let now = passes(bed, "cpi-operator")?;
            ensure!(now > before, "{now} passes");
            Ok(())
        });
    }
    let written = since.written(bed);
    assert!(written.is_empty(), "{written:#?}");
}

/// Puts a shell script behind the image of a release; it finds the real driver as `/real/cpi`, and a folder as `/story`.
fn plant(bed: &Bed, (cpi, _): (&str, &str), script: &str) -> PathBuf {
    let folder = bed.path(format!("tmp/{cpi}"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.with_extension("sh");
    fs::write(&file, format!("#!/usr/bin/sh\n{script}")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let image = format!("registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v{cpi}");
    let row = json!({
        "binary": file, "path": "/bin/vsphere-cloud-controller-manager", "needs_libs": true,
        "files": {"/usr/bin": "/usr/bin", "/real/cpi": bed.program("cpi-1.36.0"), "/story": folder},
    });
    bed.add_images(json!({image: row}).as_object().unwrap()).unwrap();
    folder
}

/// A driver that works until the file that is given back is there, and then fails for ever.
fn plant_a_crash(bed: &Bed) -> PathBuf {
    let script = "/real/cpi \"$@\" &\n\
        driver=$!\n\
        trap 'kill $driver; wait $driver; exit 0' TERM\n\
        while [ ! -e /story/now ]; do sleep 0.2; kill -0 $driver || exit 1; done\n\
        kill $driver\n\
        echo 'this driver has crashed' >&2\n\
        exit 1\n";
    plant(bed, BAD, script).join("now")
}

/// A driver that wants a Lease that it has no right to: it lives, passes its probes, waits, and does nothing.
fn plant_without_lease(bed: &Bed) {
    plant(bed, LEASELESS, "exec /real/cpi \"$@\" --leader-elect-resource-name=somewhere-else\n");
}

#[test]
fn a_release_whose_pods_are_ready_and_that_nobody_takes_the_lease_of_goes_back_and_rests_until_a_change() {
    chapter(NEW, |bed| {
        plant_without_lease(bed);
        let before = applied(bed, "cpi");
        let (since, history) = (Since::now(bed), History::begin(bed, "lease"));
        let (set, csi) = (workloads(bed, CPI), (workloads(bed, CSI), pods(bed, CSI)));
        apply(bed, &going_back(pinned(LEASELESS, &json!({})))).unwrap();
        attempted(bed, LEASELESS);
        until(bed, "all its pods are ready, and that is not enough", |config| {
            let set = bed.get(&["daemonset", CPI_SET, "-n", CPI])?["status"].clone();
            let wanted = &set["desiredNumberScheduled"];
            let ready = &set["numberReady"] == wanted && &set["updatedNumberScheduled"] == wanted;
            let said = condition(config, "CPIReady")["message"].as_str().unwrap_or_default();
            ensure!(ready && said.contains("nobody renews Lease"), "{set} {said}");
            Ok(())
        });
        let refused = given_up(bed, LEASELESS);
        assert_eq!((&refused["kind"], &refused["reason"]), (&json!("Release"), &json!("RolloutTimedOut")));
        let said = refused["message"].as_str().unwrap();
        assert!(said.contains("nobody renews Lease kube-system/cloud-controller-manager"), "{said}");
        assert_eq!(applied(bed, "cpi"), before);
        rests(bed);

        // A change is another try; and now it takes its Lease.
        plant(bed, LEASELESS, "exec /real/cpi \"$@\"\n");
        apply(bed, &going_back(pinned(LEASELESS, &json!({"driftRepair": "Report"})))).unwrap();
        installed(bed, LEASELESS);
        let told = history.releases("cpi");
        let tried = [NEW.0, LEASELESS.0];
        assert_eq!(told, [[NEW.0, "none"], tried, [NEW.0, "none"], tried, [LEASELESS.0, "none"]]);

        // Its workload was the same one all the time, and CSI had no part in it.
        let uid =
            |set: &std::collections::BTreeMap<String, (String, i64)>| set.values().next().unwrap().0.clone();
        assert_eq!(uid(&workloads(bed, CPI)), uid(&set));
        no_workload_was_deleted(bed, &since);
        assert_eq!((workloads(bed, CSI), pods(bed, CSI)), csi);
    });
}

#[test]
fn a_roll_out_that_does_not_work_goes_back_by_itself_and_is_tried_again_only_when_asked() {
    chapter(NEW, |bed| {
        let before = applied(bed, "cpi");
        let (since, history) = (Since::now(bed), History::begin(bed, "rollback"));
        let csi = (workloads(bed, CSI), pods(bed, CSI));

        // An image that nobody can pull.
        apply(bed, &pinned(BAD, &json!({}))).unwrap();
        let refused = given_up(bed, BAD);
        assert_eq!((&refused["kind"], &refused["reason"]), (&json!("Release"), &json!("RolloutTimedOut")));
        let said = refused["message"].as_str().unwrap();
        for word in [CPI_SET, "ImagePull", &format!("cloud-provider-vsphere:v{}", BAD.0)] {
            assert!(said.contains(word), "{word:?} is not in {said:?}");
        }
        assert_eq!(applied(bed, "cpi"), before);
        assert_eq!(history.releases("cpi"), [[NEW.0, "none"], [NEW.0, BAD.0], [NEW.0, "none"]]);
        rests(bed);

        // Asked to try again, it works for a moment, and crashes before it counts.
        let crash = plant_a_crash(bed);
        ask_again(bed, "once more");
        attempted(bed, BAD);
        until(bed, "it works and is watched", |config| {
            let said = condition(config, "CPIReady")["message"].as_str().unwrap_or_default().to_owned();
            ensure!(said.contains("is watched for a while"), "{said}");
            Ok(())
        });
        fs::write(crash, "").unwrap();
        let refused = given_up(bed, BAD);
        let said = refused["message"].as_str().unwrap();
        assert!(said.contains(&format!("pod {CPI_SET}-")), "{said}");
        assert_eq!(applied(bed, "cpi"), before);
        rests(bed);

        // Tried for the third time, and called back in the middle of it.
        ask_again(bed, "and again");
        attempted(bed, BAD);
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        installed(bed, NEW);
        assert_eq!(applied(bed, "cpi"), before);
        let told = history.releases("cpi");
        assert!(told.iter().all(|it| it[0] == NEW.0), "{told:?}");

        // Whatever happened to CPI, its workload was never away, and CSI had no part in it.
        no_workload_was_deleted(bed, &since);
        assert_eq!((workloads(bed, CSI), pods(bed, CSI)), csi);
    });
}
