//! The operators are deleted, with their namespace or with the chart: the drivers stay, and are taken back.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, ensure};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{CONFIG, OPERATORS, helm, programs};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, NEW, SOON, Since, applied, bears_finalizers, chapter, config, delete_config, gone,
    identity, install, installed, is_workload, makes_passes, name_of, no_pod_was_made_in_vain,
    no_workload_was_deleted, nothing_of_another_revision_is_left, objects, patch, pinned, pods, put_back,
    standing, taken_back, workloads,
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

fn uninstalled(bed: &Bed) {
    helm(bed, &["uninstall", "vdo", "-n", NAMESPACE, "--wait", "--timeout", "90s"]).unwrap();
    no_operator_is_left(bed);
}

/// What the operators have noted on the VDOConfig: their finalizers, and which revision of each driver is installed.
fn noted(bed: &Bed) -> [Value; 3] {
    let mut config = config(bed).unwrap();
    let records = ["cpi", "csi"].map(|driver| config["status"][driver]["installed"].take());
    assert!(records.iter().all(Value::is_object), "{records:?}");
    let [cpi, csi] = records;
    [config["metadata"]["finalizers"].take(), cpi, csi]
}

/// Nothing that a driver consists of was written or deleted by an operator of ours.
fn left_alone(bed: &Bed, since: &Since) {
    let touched = since.written(bed).filter(|r| r.namespace != NAMESPACE);
    assert!(touched.is_empty(), "{touched:#?}");
}

/// A driver as it stands, to be compared with what it becomes for an operator that knows nothing of it any more.
struct Stand {
    driver: &'static str,
    namespace: &'static str,
    operator: &'static str,
    workloads: BTreeMap<String, (String, i64)>,
    pods: BTreeMap<String, Vec<String>>,
    /// The UID of each object.
    uids: BTreeMap<String, String>,
    /// The objects whose names carry an id of their content.
    sealed: Vec<String>,
    /// The workloads that read them, and so change with their names.
    readers: Vec<String>,
    content: String,
}

impl Stand {
    fn of(bed: &Bed, driver: &'static str) -> Self {
        let (namespace, operator) = match driver {
            "cpi" => (CPI, "cpi-operator"),
            _ => (CSI, "csi-operator"),
        };
        let objects = objects(bed, driver);
        let uid = |it: &Value| it["metadata"]["uid"].as_str().unwrap().to_owned();
        let sealed = objects.iter().filter(|it| it["immutable"] == true).map(name_of).collect::<Vec<_>>();
        let reads = |it: &&Value| sealed.iter().any(|name| it["spec"].to_string().contains(short(name)));
        let kind_and_name = |it: &Value| format!("{}/{}", it["kind"].as_str().unwrap(), short(&name_of(it)));
        let readers = objects.iter().filter(reads).map(kind_and_name).collect::<Vec<_>>();
        assert!(!readers.is_empty());
        Stand {
            driver,
            namespace,
            operator,
            workloads: workloads(bed, namespace),
            pods: pods(bed, namespace),
            uids: objects.iter().map(|it| (name_of(it), uid(it))).collect(),
            content: content(bed, driver, &sealed),
            sealed,
            readers,
        }
    }

    /// The same driver works as it did, by one roll-out in place; and what only its lost journal knew of is gone.
    fn was_taken_back(&self, bed: &Bed, since: &Since) {
        nothing_of_another_revision_is_left(bed, self.driver);
        let now = Stand::of(bed, self.driver);
        assert_eq!(now.content, self.content);

        // Each object is the one that it was, but for those whose names are made with the key that was lost.
        for (name, uid) in &self.uids {
            if !self.sealed.contains(name) {
                assert_eq!(now.uids.get(name), Some(uid), "{name}");
            }
        }
        assert!(now.sealed.iter().all(|name| !self.sealed.contains(name)), "{:?}", now.sealed);
        for (name, (uid, generation)) in &self.workloads {
            let turns = i64::from(self.readers.contains(name));
            assert_eq!(now.workloads[name], (uid.clone(), generation + turns), "{name}");
        }
        no_pod_was_made_in_vain(bed, since, self.namespace, &self.pods);

        // Only they went, after the workloads had turned to the new ones.
        let touched = since.touched(bed, self.operator);
        let turned = touched.filter(is_workload).requests.iter().map(|r| r.received).max().unwrap();
        let deleted = touched.filter(|r| r.verb.starts_with("delete"));
        assert_eq!(deleted.count(), self.sealed.len(), "{deleted:#?}");
        for request in deleted.requests {
            let is_it = |name: &String| name.ends_with(&format!(" {}/{}", self.namespace, request.name));
            assert!(self.sealed.iter().any(is_it), "{request:#?}");
            assert!(request.received > turned, "{request:#?}");
        }
    }
}

/// What a driver consists of, without what is made with the key in its journal: the id of the revision, and the ends of
/// the names of those objects that carry an id of their content.
fn content(bed: &Bed, driver: &str, sealed: &[String]) -> String {
    let config = config(bed).unwrap();
    let revision = config["status"][driver]["installed"]["revision"].as_str().unwrap();
    let text = format!("{:#}", json!(applied(bed, driver))).replace(revision, "REVISION");
    let names = sealed.iter().map(|name| short(name));
    names.fold(text, |text, name| text.replace(name, name.rsplit_once('-').unwrap().0))
}

/// The name alone of what is called by its kind and namespace, too.
fn short(name: &str) -> &str {
    name.rsplit_once('/').unwrap().1
}

#[test]
fn a_chart_that_is_uninstalled_and_installed_again_goes_on_with_the_same_vdoconfig_and_rolls_nothing_out() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let kept = (identity(bed), noted(bed));
        let since = Since::now(bed);
        uninstalled(bed);
        assert_eq!(standing(bed), before);
        assert_eq!((identity(bed), noted(bed)), kept);
        install(bed);
        for operator in OPERATORS {
            makes_passes(bed, operator);
        }
        installed(bed, NEW);
        assert_eq!(standing(bed), before);
        assert_eq!((identity(bed), noted(bed)), kept);
        left_alone(bed, &since);
        // They have them in hand again.
        let stranger = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
        for (driver, namespace, set) in [("cpi", CPI, CPI_SET), ("csi", CSI, "vsphere-csi-node")] {
            let was = applied(bed, driver);
            patch(bed, namespace, &format!("daemonset/{set}"), "somebody", &stranger);
            put_back(bed, driver, &was);
        }
        assert_eq!(standing(bed), before);
    });
}

#[test]
fn an_uninstalled_chart_leaves_the_drivers_and_vdoctl_lets_the_vdoconfig_go() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let since = Since::now(bed);
        uninstalled(bed);
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
fn the_namespace_of_the_operators_deleted_by_mistake_takes_no_driver_along_and_they_are_taken_back() {
    chapter(NEW, |bed| {
        let before = standing(bed);
        let drivers = ["cpi", "csi"].map(|driver| Stand::of(bed, driver));
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

        // With everything that knew of them lost, they are taken back for what they are.
        install(bed);
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        installed(bed, NEW);
        bears_finalizers(bed);
        no_workload_was_deleted(bed, &since);
        for driver in drivers {
            driver.was_taken_back(bed, &since);
        }
    });
}
