//! While a change is held, what is installed stays and is put back byte for byte.

use anyhow::ensure;
use e2e::crd::apply;
use serde_json::json;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, NEW, REPAIR, Since, applied, chapter, condition, going_back, named, passes, pinned,
    pods, until, workloads,
};

#[test]
fn while_no_release_fits_and_the_gate_is_held_what_is_installed_is_put_back_byte_for_byte() {
    chapter(NEW, |bed| {
        let before = [applied(bed, "cpi"), applied(bed, "csi")];
        let (csi, csi_pods) = (workloads(bed, CSI), pods(bed, CSI));
        let since = Since::now(bed);
        // No row for this CPI; and a CSI that may not move before CPI is where it was asked to be.
        let mut wanted = going_back(pinned(("1.34.0", "3.3.1"), &json!({})));
        // Of the same configuration: a new one would go to the release that is there.
        wanted["spec"]["storageProvider"]["clusterDistribution"] = "Vanilla".into();
        apply(bed, &wanted).unwrap();
        let config = until(bed, "both are held", |config| {
            let gates = &config["status"]["gates"];
            ensure!(gates["generation"] == config["metadata"]["generation"], "{gates}");
            let said = condition(config, "CPIReady");
            ensure!(said["reason"] == "NoReleaseFits" && said["status"] == "True", "{said}");
            let said = condition(config, "CSIReady");
            ensure!(said["reason"] == "GateHeld" && said["status"] == "True", "{said}");
            Ok(())
        });
        for (driver, release) in [("cpi", NEW.0), ("csi", NEW.1)] {
            let record = &config["status"][driver];
            assert_eq!(record["installed"]["release"], release, "{record:#}");
            assert!(record["attempt"].is_null(), "{record:#}");
        }
        for (name, release) in [("CPIReady", "1.34.0"), ("CSIReady", "CPI")] {
            let said = condition(&config, name)["message"].as_str().unwrap();
            assert!(said.contains(release), "{said}");
        }
        assert_eq!([applied(bed, "cpi"), applied(bed, "csi")], before);

        // Somebody deletes what they can.
        let awake = passes(bed, "cpi-operator").unwrap();
        let mut doomed = vec![format!("daemonset/{CPI_SET}")];
        doomed.extend(named(bed, "cpi", "ConfigMap").iter().map(|name| format!("configmap/{name}")));
        assert!(doomed.len() >= 2, "{doomed:?}");
        let doomed: Vec<&str> = doomed.iter().map(String::as_str).collect();
        bed.kubectl(&[&["delete", "-n", CPI, "--wait=false"], &doomed[..]].concat()).unwrap();
        let services = named(bed, "csi", "Service");
        bed.kubectl(&["delete", "service", "-n", CSI, &services[0]]).unwrap();
        eventually(REPAIR, "everything is back, byte for byte", || {
            let now = [applied(bed, "cpi"), applied(bed, "csi")];
            ensure!(now == before, "{:#?}", now.each_ref().map(|it| it.keys().cloned().collect::<Vec<_>>()));
            Ok(())
        });
        assert!(passes(bed, "cpi-operator").unwrap() > awake);
        until(bed, "the driver that was lost works again, still held", |config| {
            let said = condition(config, "CPIReady");
            ensure!(said["reason"] == "NoReleaseFits" && said["status"] == "True", "{said}");
            Ok(())
        });
        // CSI missed nothing but its Service.
        assert_eq!((workloads(bed, CSI), pods(bed, CSI)), (csi, csi_pods));
        let deleted = since.written(bed).filter(|r| r.verb == "delete");
        assert!(deleted.is_empty(), "{deleted:#?}");
    });
}
