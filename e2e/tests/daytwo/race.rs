//! A volume that appears when it is nearly too late.

use anyhow::ensure;
use e2e::crd::NAMESPACE;
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::faultproxy::{Action, FaultProxy, Match, Nth, Point, Rule, Settings, Verb};

use crate::house::{
    CPI, CSI, NEW, SOON, Since, applied, chapter, condition, delete_config, gone, is_workload, pods, restart,
    until, workloads,
};
use crate::volumes::{delete_volumes, held_by, identities, lookalikes, make_volumes};

const OPERATOR: &str = "csi-operator";
const CONTROLLER: &str = "Deployment/vsphere-csi-controller";

/// The operator behind a fault proxy, until this is dropped.
struct Proxied<'a> {
    bed: &'a Bed,
    proxy: FaultProxy,
}

impl<'a> Proxied<'a> {
    fn new(bed: &'a Bed, rules: Vec<Rule>) -> Self {
        let proxy = FaultProxy::start(Settings { rules, ..Settings::in_bed(bed, OPERATOR) }).unwrap();
        proxy.take_over(bed, &format!("{NAMESPACE}/{OPERATOR}")).unwrap();
        restart(bed, OPERATOR);
        Proxied { bed, proxy }
    }
}

impl Drop for Proxied<'_> {
    fn drop(&mut self) {
        self.proxy.release_all();
        std::fs::write(self.bed.path("kubelet/api-override.json"), "{}").ok();
        if !std::thread::panicking() {
            // While the proxy is still there, so that the Lease is given up in peace.
            restart(self.bed, OPERATOR);
        }
    }
}

/// Volumes of others, one of them by a driver whose name is nearly ours.
fn of_others() -> Vec<(&'static str, Value)> {
    let volume = |name: &str, source: Value| {
        let mut spec = json!({
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        });
        spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
    };
    let csi = |driver: &str| json!({"csi": {"driver": driver, "volumeHandle": "theirs"}});
    let mut all = lookalikes();
    all.push(("", volume("theirs-csi", csi("csi.vsphere.vmware.com.example"))));
    all.push(("", volume("theirs-in-tree", json!({"hostPath": {"path": "/srv/theirs"}}))));
    all
}

#[test]
fn a_volume_that_appears_between_the_check_and_the_removal_of_the_controller_brings_the_controller_back() {
    chapter(NEW, |bed| {
        let foreign = of_others();
        for (namespace, object) in &foreign {
            bed.kubectl_with(&["apply", "-n", namespace, "-f", "-"], &object.to_string()).unwrap();
        }
        let theirs = identities(bed, &foreign).unwrap();
        let held = Rule {
            name: Some("the controller's end".to_owned()),
            of: Match {
                verb: Some(Verb::Delete),
                resource: Some("deployments".to_owned()),
                ..Match::default()
            },
            nth: Nth::First,
            write: None,
            point: Point::Before,
            action: Action::Hold { ms: None },
        };
        let proxied = Proxied::new(bed, vec![held]);
        let before = applied(bed, "csi");
        let (csi, cpi, cpi_pods) = (workloads(bed, CSI), workloads(bed, CPI), pods(bed, CPI));
        let since = Since::now(bed);
        delete_config(bed);
        // The operator looked, and found no volume of ours: what there is belongs to others.
        proxied.proxy.wait_for_held("the controller's end", SOON);
        make_volumes(bed, 0..1);
        assert_eq!(workloads(bed, CSI)[CONTROLLER], csi[CONTROLLER]);
        proxied.proxy.release("the controller's end");

        let said = held_by(bed, 1);
        assert!(said.contains("pv-000"), "{said}");
        until(bed, "everything is back, and works", |config| {
            let (record, said) = (&config["status"]["csi"], condition(config, "CSIReady"));
            ensure!(record["attempt"].is_null() && record["installed"]["release"] == NEW.1, "{record}");
            ensure!(said["reason"] == "VolumesExist" && said["status"] == "True", "{said}");
            ensure!(applied(bed, "csi") == before, "not all of it");
            Ok(())
        });
        proxied.proxy.assert_all_fired();
        let now = workloads(bed, CSI);
        assert_ne!(now[CONTROLLER].0, csi[CONTROLLER].0, "it never went");
        let config = crate::house::config(bed).unwrap();
        assert!(config["status"]["csi"]["refused"].as_array().is_none_or(Vec::is_empty), "{config:#}");
        // It went once; and the cloud provider, which would go after it, noticed nothing.
        let deleted = since.written(bed).filter(|r| is_workload(r) && r.verb == "delete");
        let of_controller = deleted.filter(|r| r.resource == "deployments");
        assert_eq!(of_controller.count(), 1, "{deleted:#?}");
        assert!(deleted.filter(|r| r.namespace == CPI).is_empty(), "{deleted:#?}");
        assert_eq!((workloads(bed, CPI), pods(bed, CPI)), (cpi, cpi_pods));

        // Without the volume, the removal goes on by itself.
        delete_volumes(bed);
        gone(bed);
        for namespace in [CPI, CSI] {
            assert!(workloads(bed, namespace).is_empty());
        }
        assert_eq!(identities(bed, &foreign).unwrap(), theirs);
        drop(proxied);
    });
}
