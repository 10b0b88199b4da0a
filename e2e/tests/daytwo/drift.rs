//! What somebody changes on a driver is put back at once, with a word on what and who; a neighbour's fields are his.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::CONFIG;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

use crate::house::{
    CPI, CPI_SET, CSI, NEW, SOON, Since, applied, chapter, condition, installed, named, pinned, until,
};

/// How soon drift is repaired.
const REPAIR: Duration = Duration::from_secs(5);
/// An object that both drivers' pods do without for a while.
const SWITCHES: &str = "internal-feature-states.csi.vsphere.vmware.com";

/// Changes an object as somebody whose field manager is this.
fn patch(bed: &Bed, namespace: &str, object: &str, who: &str, patch: &Value) {
    let who = format!("--field-manager={who}");
    let patch = patch.to_string();
    let args = ["patch", object, "-n", namespace, &who, "--type=strategic", "-p", &patch];
    bed.kubectl(&args).unwrap();
}

/// Waits until the driver's objects are as they were.
fn put_back(bed: &Bed, driver: &str, before: &std::collections::BTreeMap<String, Value>) {
    eventually(REPAIR, "it is put back", || {
        let now = applied(bed, driver);
        let differs: Vec<_> = before.iter().filter(|(name, it)| now.get(*name) != Some(it)).collect();
        ensure!(differs.is_empty(), "{differs:#?}");
        Ok(())
    });
}

/// Waits for an event about the VDOConfig that has all these words.
fn told(bed: &Bed, reason: &str, words: &[&str]) {
    eventually(SOON, "an event", || {
        let events = bed.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
        let notes = events["items"].as_array().unwrap().iter();
        let notes = notes.filter(|it| it["reason"] == reason && it["regarding"]["name"] == CONFIG);
        let mut notes = notes.filter_map(|it| it["note"].as_str());
        let all: Vec<&str> = notes.clone().collect();
        notes
            .find(|note| words.iter().all(|word| note.contains(word)))
            .with_context(|| format!("{all:#?}"))?;
        Ok::<_, anyhow::Error>(())
    });
}

fn switch(bed: &Bed, value: &str) {
    patch(
        bed,
        CSI,
        &format!("configmap/{SWITCHES}"),
        "the-other-tool",
        &json!({"data": {"trigger-csi-fullsync": value}}),
    );
}

fn switched(bed: &Bed) -> Result<Value> {
    Ok(bed.get(&["configmap", SWITCHES, "-n", CSI])?["data"]["trigger-csi-fullsync"].clone())
}

#[test]
fn what_somebody_changed_is_put_back_at_once_and_a_neighbours_fields_are_left() {
    chapter(NEW, |bed| {
        let before = applied(bed, "cpi");
        let set = format!("daemonset/{CPI_SET}");

        // A field, beside a field that is not ours.
        let image = |image: &str| {
            json!({
                "metadata": {"labels": {"neighbour.example/team": "blue"}},
                "spec": {"template": {"spec": {"containers": [{"name": CPI_SET, "image": image}]}}},
            })
        };
        patch(bed, CPI, &set, "somebody", &image("registry.example/mine:debug"));
        eventually(REPAIR, "the image is put back", || {
            let live = bed.get(&[&set, "-n", CPI])?;
            let image =
                live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
            ensure!(image.ends_with(NEW.0), "{image}");
            ensure!(live["metadata"]["labels"]["neighbour.example/team"] == "blue", "{}", live["metadata"]);
            Ok(())
        });
        let path = format!("spec.template.spec.containers[{CPI_SET}].image");
        let own = format!("cloud-provider-vsphere:v{}", NEW.0);
        told(bed, "DriftRepaired", &[CPI_SET, &path, "registry.example/mine:debug", &own, "somebody"]);
        patch(bed, CPI, &set, "somebody", &json!({"metadata": {"labels": {"neighbour.example/team": null}}}));
        put_back(bed, "cpi", &before);

        // The label by which it is ours.
        bed.kubectl(&["label", &set, "-n", CPI, "vdo.vmware.com/driver-", "--field-manager=stripper"])
            .unwrap();
        put_back(bed, "cpi", &before);
        // A whole object.
        let map = named(bed, "cpi", "ConfigMap").remove(0);
        bed.kubectl(&["delete", "configmap", &map, "-n", CPI]).unwrap();
        put_back(bed, "cpi", &before);
        told(bed, "DriftRepaired", &["ConfigMap", &map, "was missing"]);
        installed(bed, NEW);
    });
}

#[test]
fn whoever_keeps_changing_an_object_is_named_and_left_alone_and_report_only_reports() {
    chapter(NEW, |bed| {
        let before = applied(bed, "csi");
        for _ in 0..3 {
            switch(bed, "true");
            put_back(bed, "csi", &before);
        }
        told(
            bed,
            "DriftRepaired",
            &["trigger-csi-fullsync", "was true", "put back to false", "the-other-tool"],
        );
        switch(bed, "true");
        let fight = until(bed, "the fight is named", |config| {
            let said = condition(config, "CSIReady");
            let text = said["message"].as_str().unwrap_or_default();
            let words = ["the-other-tool", SWITCHES, "3 times"];
            ensure!(said["status"] == "True" && words.iter().all(|word| text.contains(word)), "{said}");
            Ok(())
        });
        let fight = condition(&fight, "CSIReady");
        assert_eq!(fight["reason"], "DriftFight", "{fight:#}");
        throughout(Duration::from_secs(6), "it is left alone", || {
            ensure!(switched(bed)? == "true");
            Ok(())
        });

        // Of anything else it goes on to say, and do, what it is asked for.
        let since = Since::now(bed);
        apply(bed, &pinned(NEW, &json!({"driftRepair": "Report"}))).unwrap();
        patch(
            bed,
            CSI,
            "daemonset/vsphere-csi-node",
            "somebody",
            &json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}}}),
        );
        until(bed, "it is reported", |config| {
            let said = condition(config, "CSIReady");
            let text = said["message"].as_str().unwrap_or_default();
            let words = ["vsphere-csi-node", SWITCHES, "2 of its objects"];
            ensure!(said["status"] == "True" && words.iter().all(|word| text.contains(word)), "{said}");
            Ok(())
        });
        throughout(Duration::from_secs(5), "nothing is written", || {
            let touched = since.touched(bed, "csi-operator");
            ensure!(touched.is_empty(), "{touched:#?}");
            Ok(())
        });
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        eventually(REPAIR, "what nobody fights over is put back", || {
            let set = bed.get(&["daemonset", "vsphere-csi-node", "-n", CSI])?;
            ensure!(set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] != 2, "{}", set["spec"]);
            Ok(())
        });
        eventually(SOON, "after a rest, so is what was fought over", || {
            ensure!(switched(bed)? == "false");
            Ok(())
        });
    });
}
