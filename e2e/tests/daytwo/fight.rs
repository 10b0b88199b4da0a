//! Somebody who keeps changing an object is named and left alone.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::crd::apply;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

use crate::house::{
    CSI, NEW, REPAIR, SOON, Since, applied, chapter, condition, patch, pinned, put_back, told, until,
};

/// An object that both drivers' pods do without for a while.
const SWITCHES: &str = "internal-feature-states.csi.vsphere.vmware.com";

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
