//! What happens to the cluster in each workload: what is there at the beginning, what an administrator then does, and when
//! that is done.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testbed::bed::Bed;

use super::case::Workload;
use super::history::{DRIVER_LABEL, Id, driver, is_true};
use super::oracle::Planned;
use crate::crd::NAMESPACE;
use crate::stand::{CONFIG, SECRET, VCENTER};

/// This CPI reads its credentials from files, unlike the new one: its objects of the same names have other fields.
const OLD: Releases = Releases { cpi: "1.31.1", csi: "3.3.1" };
const NEW: Releases = Releases { cpi: "1.36.0", csi: "3.7.0" };
const NEXT_PASSWORD: &str = "Rotated-Pass-2!";
const CPI: &str = "vmware-system-cpi";
const CSI: &str = "vmware-system-csi";
const CPI_CREDENTIALS: &str = "vdo-cpi-credentials";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// All objects.
pub type Objects = BTreeMap<Id, Value>;

/// Pinned releases of both drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Releases {
    cpi: &'static str,
    csi: &'static str,
}

/// What an administrator does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Changes fields of an object.
    Merge(Id, Value),
    /// Deletes an object.
    Delete(Id),
    /// Gives the vCenter's user another password.
    Password(&'static str),
}

/// One workload for one operator.
#[derive(Clone, Debug)]
pub struct Story {
    /// Which one.
    pub workload: Workload,
    /// The releases at the beginning.
    pub first: Releases,
    /// The releases at the end.
    pub last: Releases,
    /// Images whose pods never start, once the beginning is over.
    pub broken: Vec<String>,
    /// Seconds for a roll-out.
    pub deadline: u32,
}

impl Story {
    /// The workload as it is told for the writes of this operator.
    pub fn of(workload: Workload, operator: &str) -> Story {
        let story = |first, last| Story { workload, first, last, broken: Vec::new(), deadline: 120 };
        match workload {
            Workload::Install | Workload::Rotation | Workload::Drift | Workload::Teardown => story(NEW, NEW),
            Workload::Upgrade => story(OLD, NEW),
            // CSI does not follow a CPI that was rolled back, so each driver has a story of its own.
            Workload::Rollback if operator == "csi-operator" => {
                Story { broken: vec![format!("/driver:v{}", NEW.csi)], deadline: 20, ..story(OLD, OLD) }
            }
            Workload::Rollback => Story {
                broken: vec![format!("/cloud-provider-vsphere:v{}", NEW.cpi)],
                deadline: 20,
                ..story(OLD, OLD)
            },
        }
    }

    /// What the story has in common with those of other operators: they have one undisturbed run.
    pub fn key(&self) -> String {
        format!("{}{}", self.workload.name(), self.broken.concat())
    }

    /// The objects of the beginning.
    pub fn objects(&self, bed: &Bed) -> Result<Vec<(Id, Value)>> {
        let vcenter = bed.vcenter(1);
        let authority = std::fs::read_to_string(&vcenter.ca).context("the vCenter's authority")?;
        let version = |pin: &str| json!({"vsphereCloudConfig": VCENTER, "version": pin});
        Ok(vec![
            object(
                "v1",
                "Secret",
                SECRET,
                json!({
                "type": "kubernetes.io/basic-auth",
                "stringData": {"username": vcenter.user, "password": vcenter.password()?}}),
            ),
            object("v1", "ConfigMap", "vcenter-ca", json!({"data": {"ca.crt": authority}})),
            object(
                "v1",
                "ConfigMap",
                "comp-matrix-config",
                json!({"data": {
                "versionConfigContent": matrix().to_string(), "auto-upgrade": "disabled"}}),
            ),
            object(
                "vdo.vmware.com/v1alpha1",
                "VsphereCloudConfig",
                VCENTER,
                json!({"spec": {
                "vcIp": vcenter.address, "insecure": false, "credentials": SECRET, "datacenters": ["DC0"],
                "caRef": {"name": "vcenter-ca"}}}),
            ),
            object(
                "vdo.vmware.com/v1alpha1",
                "VDOConfig",
                CONFIG,
                json!({"spec": {
                "cloudProvider": {"vsphereCloudConfigs": [VCENTER], "version": self.first.cpi},
                "storageProvider": version(self.first.csi)}}),
            ),
        ])
    }

    /// What is done after the beginning; nothing for an installation, which is the beginning.
    pub fn acts(&self, objects: &Objects) -> Result<Vec<Act>> {
        let config = Id::new("VDOConfig", NAMESPACE, CONFIG);
        Ok(match self.workload {
            Workload::Install => Vec::new(),
            Workload::Upgrade => vec![Act::Merge(config, pins(NEW))],
            Workload::Rollback if self.broken[0].contains("cloud-provider") => {
                vec![Act::Merge(config, pins(Releases { cpi: NEW.cpi, csi: OLD.csi }))]
            }
            Workload::Rollback => vec![Act::Merge(config, pins(Releases { cpi: OLD.cpi, csi: NEW.csi }))],
            Workload::Rotation => vec![
                Act::Password(NEXT_PASSWORD),
                Act::Merge(
                    Id::new("Secret", NAMESPACE, SECRET),
                    json!({"stringData": {"password": NEXT_PASSWORD}}),
                ),
            ],
            Workload::Drift => drift(objects)?,
            Workload::Teardown => vec![Act::Delete(config)],
        })
    }

    /// What of it the oracles have to know.
    pub fn planned(&self, acts: &[Act]) -> Planned {
        let deleted = |act: &Act| match act {
            Act::Delete(id) => Some(id.clone()),
            Act::Merge(..) | Act::Password(_) => None,
        };
        Planned {
            deletes: acts.iter().filter_map(deleted).collect(),
            rollback: self.workload == Workload::Rollback,
        }
    }

    /// Whether the beginning is over.
    pub fn has_begun(&self, objects: &Objects) -> Result<()> {
        works(objects, self.first)
    }

    /// Whether everything is done that follows from the acts. `before` are the objects before them.
    pub fn is_done(&self, before: &Objects, objects: &Objects) -> Result<()> {
        match self.workload {
            Workload::Install | Workload::Upgrade => works(objects, self.last),
            Workload::Rollback => {
                works_but(objects, self.last)?;
                let status = &config(objects)?["status"];
                let refused = ["cpi", "csi"]
                    .iter()
                    .any(|it| status[it]["refused"].as_array().is_some_and(|all| !all.is_empty()));
                ensure!(refused, "nothing was refused");
                Ok(())
            }
            Workload::Rotation => {
                works(objects, self.last)?;
                let revision = |objects: &Objects| {
                    config(objects).map(|it| it["status"]["csi"]["installed"]["revision"].clone())
                };
                ensure!(revision(before)? != revision(objects)?, "CSI has not got the new password");
                let held = &objects
                    .get(&Id::new("Secret", CPI, CPI_CREDENTIALS))
                    .context("CPI's credentials")?["data"];
                let new = STANDARD.encode(NEXT_PASSWORD);
                let has_it = held.as_object().into_iter().flatten().any(|(_, value)| *value == new.as_str());
                ensure!(has_it, "CPI has not got the new password");
                Ok(())
            }
            Workload::Drift => {
                works(objects, self.last)?;
                for (id, object) in before.iter().filter(|(_, object)| driver(object).is_some()) {
                    let now = objects.get(id).with_context(|| format!("{id} is not back"))?;
                    let label = |object: &Value| object["metadata"]["labels"][MANAGED_BY].clone();
                    ensure!(label(now) == label(object), "{id} is not as it was");
                }
                Ok(())
            }
            Workload::Teardown => {
                ensure!(config(objects).is_err(), "the VDOConfig is there");
                match objects.iter().find(|(_, object)| driver(object).is_some()) {
                    Some((id, _)) => bail!("{id} is there"),
                    None => Ok(()),
                }
            }
        }
    }
}

fn object(api: &str, kind: &str, name: &str, more: Value) -> (Id, Value) {
    let mut object =
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}});
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    (Id::new(kind, NAMESPACE, name), object)
}

fn pins(releases: Releases) -> Value {
    json!({"spec": {"cloudProvider": {"version": releases.cpi}, "storageProvider": {"version": releases.csi}}})
}

/// A matrix in which every release of the sweep fits.
fn matrix() -> Value {
    let row = json!({
        "vSphere": {"min": "7.0.3", "max": "9.0"}, "k8s": {"min": "1.33", "max": "1.36"},
        "deploymentPath": ["https://example.com/not-used.yaml"]});
    let mut csi = row.clone();
    csi["isCPIRequired"] = json!(true);
    json!({"CPI": {OLD.cpi: row, NEW.cpi: row}, "CSI": {OLD.csi: csi, NEW.csi: csi}})
}

/// Two objects of each driver are deleted, and one is edited.
fn drift(objects: &Objects) -> Result<Vec<Act>> {
    let first = |kind: &str, namespace: &str| {
        let mut ids =
            objects.iter().filter(|(_, object)| object["metadata"]["labels"][DRIVER_LABEL].is_string());
        let found = ids.find(|(id, _)| id.kind == kind && id.namespace == namespace);
        found.map(|(id, _)| id.clone()).with_context(|| format!("no {kind} of ours in {namespace}"))
    };
    let edit = |id: Id| Act::Merge(id, json!({"metadata": {"labels": {MANAGED_BY: "somebody"}}}));
    Ok(vec![
        Act::Delete(first("DaemonSet", CPI)?),
        Act::Delete(first("ConfigMap", CPI)?),
        edit(first("ServiceAccount", CPI)?),
        Act::Delete(first("DaemonSet", CSI)?),
        Act::Delete(first("ConfigMap", CSI)?),
        edit(first("Deployment", CSI)?),
    ])
}

fn config(objects: &Objects) -> Result<&Value> {
    objects.get(&Id::new("VDOConfig", NAMESPACE, CONFIG)).context("there is no VDOConfig")
}

/// Whether these releases are installed, nothing is under way, and all is well.
fn works(objects: &Objects, releases: Releases) -> Result<()> {
    works_but(objects, releases)?;
    ensure!(
        is_true(config(objects)?, "Ready"),
        "Ready is not True of this generation: {}",
        conditions(objects)
    );
    Ok(())
}

/// Whether these releases are installed, nothing is under way, and the last word on each driver was said.
fn works_but(objects: &Objects, releases: Releases) -> Result<()> {
    let config = config(objects)?;
    for (driver, name, release) in [("cpi", "CPI", releases.cpi), ("csi", "CSI", releases.csi)] {
        let status = &config["status"][driver];
        let installed = &status["installed"]["release"];
        ensure!(
            installed == release,
            "{driver}: {installed} is installed, not {release}: {}",
            conditions(objects)
        );
        ensure!(status["attempt"].is_null(), "{driver}: something is under way: {}", conditions(objects));
        ensure!(
            status["observedGeneration"] == config["metadata"]["generation"],
            "{driver}: its operator has not seen this generation"
        );
        ensure!(
            is_last_word(config, name, release),
            "{driver}: its condition still tells of an earlier state: {}",
            conditions(objects)
        );
    }
    Ok(())
}

/// Whether the condition of a driver says what there is to say at the end: that it works, and what was rolled back.
///
/// Words about missing nodes and pods follow each other with pauses that grow, longer than a lane listens: that nobody
/// writes does not show that they are those of the present state.
fn is_last_word(config: &Value, name: &str, release: &str) -> bool {
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    let type_ = format!("{name}Ready");
    let Some(said) = conditions.into_iter().flatten().find(|it| it["type"] == type_.as_str()) else {
        return false;
    };
    let works = format!("{name} {release} works");
    let more = said["message"].as_str().and_then(|message| message.strip_prefix(&works));
    more.is_some_and(|more| {
        more.is_empty() || (said["reason"] == "RevisionRefused" && more.starts_with("; "))
    })
}

/// What the conditions say, for a failure.
fn conditions(objects: &Objects) -> String {
    let Ok(config) = config(objects) else { return String::new() };
    let conditions = config.pointer("/status/conditions").and_then(Value::as_array);
    let said = |it: &Value| {
        let text = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
        format!("{}={} {} {}", text("type"), text("status"), text("reason"), text("message"))
    };
    conditions.into_iter().flatten().map(said).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VDOConfig over drivers that work, with the reason and the message of `CSIReady`.
    fn told(releases: Releases, reason: &str, message: &str) -> Objects {
        let said = |type_: &str, reason: &str, message: &str| json!({"type": type_, "status": "True", "reason": reason, "message": message, "observedGeneration": 2});
        let record = |release: &str| json!({"observedGeneration": 2, "installed": {"release": release}});
        let mut csi = record(releases.csi);
        if reason == "RevisionRefused" {
            csi["refused"] = json!([{"release": NEW.csi}]);
        }
        let config = json!({
            "metadata": {"generation": 2},
            "status": {
                "conditions": [
                    said("Ready", "AsWanted", "CPI and CSI work"),
                    said("CPIReady", "Installed", &format!("CPI {} works", releases.cpi)),
                    said("CSIReady", reason, message)],
                "cpi": record(releases.cpi), "csi": csi}});
        [(Id::new("VDOConfig", NAMESPACE, CONFIG), config)].into()
    }

    #[test]
    fn a_run_is_not_over_while_status_tells_of_an_earlier_state() {
        let missing = "CSI 3.7.0 works; the driver is registered on 2 of 3 nodes; missing: node-0";
        let (early, late) = (told(NEW, "Installed", missing), told(NEW, "Installed", "CSI 3.7.0 works"));
        for workload in [Workload::Install, Workload::Upgrade, Workload::Drift] {
            let story = Story::of(workload, "csi-operator");
            let fault = story.is_done(&early, &early).unwrap_err().to_string();
            assert!(fault.contains("csi: its condition still tells of an earlier state"), "{fault}");
            story.is_done(&late, &late).unwrap();
        }
        let story = Story::of(Workload::Drift, "csi-operator");
        assert!(story.has_begun(&early).is_err());
        story.has_begun(&late).unwrap();
    }

    #[test]
    fn what_was_rolled_back_may_be_told_to_the_end() {
        let story = Story::of(Workload::Rollback, "csi-operator");
        let done = |reason: &str, message: &str| {
            story.is_done(&Objects::new(), &told(OLD, reason, message)).map_err(|fault| fault.to_string())
        };
        let failed = "CSI 3.7.0 was rolled back; Deployment vsphere-csi-controller: 0 of 3 pods work";
        done("RevisionRefused", &format!("CSI 3.3.1 works; {failed}")).unwrap();
        // Not while the driver itself does not work, nor while pods are missing for another reason.
        assert!(done("RevisionRefused", failed).is_err());
        let fault = done("Installed", &format!("CSI 3.3.1 works; {failed}")).unwrap_err();
        assert!(fault.contains("csi: its condition"), "{fault}");
    }
}
