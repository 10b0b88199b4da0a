//! What makes a run right: pure functions over what was recorded, so that each can be shown to fail.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{DRIVER_LABEL, Event, Id, What, driver, is_ours, is_true, revision};
use super::mask::Mask;
use super::state::{Leaves, Names};

/// How many differences are told of one run.
const SHOWN: usize = 12;

/// Which rule was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// `O1` and so on.
    pub oracle: String,
    /// In words.
    pub said: String,
}

/// A breach of this oracle.
pub fn breach(oracle: &str, said: impl Into<String>) -> Breach {
    Breach { oracle: oracle.to_owned(), said: said.into() }
}

/// O1: every leaf equals that of the undisturbed run.
pub fn same_end(reference: &Leaves, found: &Leaves, mask: &Mask) -> Vec<Breach> {
    let keys: BTreeSet<_> = reference.keys().chain(found.keys()).collect();
    let mut all = Vec::new();
    for key @ (object, path) in keys {
        let (wanted, found) = (reference.get(key), found.get(key));
        // Also a masked leaf is there, or is not.
        let equal =
            if mask.hides(object, path) { wanted.is_some() == found.is_some() } else { wanted == found };
        if !equal {
            let word = |leaf: Option<&String>| leaf.map_or("nothing", String::as_str).to_owned();
            all.push(breach("O1", format!("{object} {path}: {} instead of {}", word(found), word(wanted))));
        }
    }
    shortened(all)
}

fn shortened(mut all: Vec<Breach>) -> Vec<Breach> {
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    if let (Some(last), true) = (all.last_mut(), more > 0) {
        last.said.push_str(&format!("; and {more} more"));
    }
    all
}

/// How often each object of ours was created and deleted.
pub type Counts = BTreeMap<String, (usize, usize)>;

/// Counts creates and deletes.
pub fn counts(events: &[Event], names: &Names) -> Counts {
    let mut counts = Counts::new();
    let mut ours = BTreeSet::new();
    for event in events {
        if is_ours(&event.object) {
            ours.insert(&event.id);
        }
    }
    for event in events.iter().filter(|event| ours.contains(&event.id)) {
        let mut count = |created: usize, deleted: usize| {
            let count = counts.entry(names.rename(&event.id.to_string())).or_default();
            *count = (count.0 + created, count.1 + deleted);
        };
        match event.what {
            What::Created => count(1, 0),
            What::Deleted => count(0, 1),
            // An object that was only changed has nothing to be compared.
            What::Changed => {}
        }
    }
    counts
}

/// O2: as many creates and deletes of each object as in the undisturbed run.
pub fn same_history(reference: &Counts, found: &Counts) -> Vec<Breach> {
    let keys: BTreeSet<_> = reference.keys().chain(found.keys()).collect();
    let differs = |key: &&&String| reference.get(**key) != found.get(**key);
    let said = |key: &String| {
        let word = |counts: &Counts| {
            let (created, deleted) = counts.get(key).copied().unwrap_or_default();
            format!("created {created} and deleted {deleted} times")
        };
        breach("O2", format!("{key} was {} instead of {}", word(found), word(reference)))
    };
    shortened(keys.iter().filter(differs).map(|key| said(key)).collect())
}

/// O3: no write once all is done.
pub fn quiet(writes: &[String]) -> Vec<Breach> {
    shortened(
        writes.iter().map(|write| breach("O3", format!("written after convergence: {write}"))).collect(),
    )
}

/// What the plan of the case allows.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// Objects that the case itself deletes.
    pub deletes: BTreeSet<Id>,
    /// Whether a release may go back, because what was tried does not work.
    pub rollback: bool,
}

/// O5: nothing forbidden, looked at after each change.
///
/// `before` are the objects as the events began.
pub fn never(before: &BTreeMap<Id, Value>, events: &[Event], planned: &Planned) -> Vec<Breach> {
    let mut objects = before.clone();
    let mut breaches = Vec::new();
    let mut gone = false;
    for event in events {
        let config = objects.iter().find(|(id, _)| id.kind == "VDOConfig").map(|(_, config)| config.clone());
        let earlier = objects.get(&event.id).cloned();
        let step = Step { event, config: config.as_ref(), earlier: earlier.as_ref(), objects: &objects };
        let found = [
            step.csi_before_cpi(),
            step.goes_back(planned),
            step.cpi_under_csi(),
            step.absent(planned),
            gone.then(|| step.after_the_end()).flatten(),
        ];
        breaches.extend(found.into_iter().flatten().map(|said| breach("O5", said)));
        if event.id.kind == "VDOConfig" {
            gone = event.what == What::Deleted;
        }
        match event.what {
            What::Created | What::Changed => objects.insert(event.id.clone(), event.object.clone()),
            What::Deleted => objects.remove(&event.id),
        };
    }
    shortened(breaches)
}

/// One change, and how it was before it.
struct Step<'a> {
    event: &'a Event,
    config: Option<&'a Value>,
    earlier: Option<&'a Value>,
    objects: &'a BTreeMap<Id, Value>,
}

impl Step<'_> {
    fn is_workload(&self) -> bool {
        matches!(self.event.id.kind.as_str(), "DaemonSet" | "Deployment")
    }

    fn is_alive(&self) -> bool {
        self.event.what != What::Deleted
    }

    /// S1: a workload of CSI is written for a new revision only while CPI works for the spec as it is. What is installed may
    /// be put back at any time.
    fn csi_before_cpi(&self) -> Option<String> {
        let Event { id, object, .. } = self.event;
        if !self.is_workload() || !self.is_alive() || driver(object) != Some("csi") {
            return None;
        }
        let new = revision(object);
        if self.earlier.is_some_and(|earlier| revision(earlier) == new) {
            return None;
        }
        let installed = |config: &Value| config.pointer("/status/csi/installed/revision").cloned();
        let is_installed =
            self.config.and_then(installed).is_some_and(|it| Some(it.as_str().unwrap_or_default()) == new);
        let cpi_works = self.config.is_some_and(|config| is_true(config, "CPIReady"));
        (!is_installed && !cpi_works).then(|| {
            format!("{id} was written at {} before CPIReady was True of that generation", self.event.version)
        })
    }

    /// S2: neither what runs nor what counts as installed goes back to an older release.
    fn goes_back(&self, planned: &Planned) -> Option<String> {
        if planned.rollback || !self.is_alive() {
            return None;
        }
        let Event { id, object, version, .. } = self.event;
        let went_back =
            |old: Option<Release>, new: Option<Release>| old.zip(new).is_some_and(|(old, new)| new < old);
        if self.is_workload() && driver(object).is_some() {
            let old = self.earlier.and_then(running);
            return went_back(old, running(object))
                .then(|| format!("{id} went back to an older release at {version}"));
        }
        if id.kind != "VDOConfig" {
            return None;
        }
        ["cpi", "csi"].iter().find_map(|driver| {
            let release = |config: &Value| parse(config["status"][driver]["installed"]["release"].as_str()?);
            went_back(self.earlier.and_then(release), release(object))
                .then(|| format!("{driver} counts as installed in an older release at {version}"))
        })
    }

    /// S3: CPI is removed only when nothing of CSI is left.
    fn cpi_under_csi(&self) -> Option<String> {
        let Event { id, object, version, .. } = self.event;
        if !self.is_workload() || driver(self.earlier.unwrap_or(object)) != Some("cpi") {
            return None;
        }
        let leaves = self.event.what == What::Deleted || !object["metadata"]["deletionTimestamp"].is_null();
        // The hand of the case itself takes nothing of CPI while nobody wants it gone.
        let wanted = self.config.is_some_and(|config| !is_leaving(config, "cpi"));
        let left = self.objects.iter().find(|(_, object)| driver(object) == Some("csi"));
        (leaves && !wanted)
            .then_some(left)
            .flatten()
            .map(|(other, _)| format!("{id} was removed at {version} while {other} was there"))
    }

    /// S4: a workload that is wanted is never away.
    fn absent(&self, planned: &Planned) -> Option<String> {
        let Event { id, object, version, .. } = self.event;
        let driver = driver(self.earlier.unwrap_or(object))?;
        if !self.is_workload() || self.event.what != What::Deleted || planned.deletes.contains(id) {
            return None;
        }
        let wanted = self.config.is_some_and(|config| !is_leaving(config, driver));
        wanted.then(|| format!("{id} was deleted at {version} although it is wanted"))
    }

    /// S8: nothing is made after the end of the VDOConfig was acknowledged.
    fn after_the_end(&self) -> Option<String> {
        let Event { id, object, version, .. } = self.event;
        (self.is_alive() && object["metadata"]["labels"][DRIVER_LABEL].is_string())
            .then(|| format!("{id} was written at {version}, after the VDOConfig was gone"))
    }
}

/// Whether the driver is not, or no longer, wanted.
fn is_leaving(config: &Value, driver: &str) -> bool {
    let part = if driver == "cpi" { "cloudProvider" } else { "storageProvider" };
    !config["metadata"]["deletionTimestamp"].is_null() || config["spec"][part].is_null()
}

type Release = (u64, u64, u64);

fn parse(text: &str) -> Option<Release> {
    let mut parts = text.trim_start_matches('v').splitn(3, '.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The release that a workload runs, by the tag of the driver's own image.
fn running(object: &Value) -> Option<Release> {
    let containers = object.pointer("/spec/template/spec/containers")?.as_array()?;
    let images = containers.iter().filter_map(|it| it["image"].as_str());
    let own = |image: &&str| {
        ["/cloud-provider-vsphere:", "/driver:", "/csi-vsphere:"].iter().any(|it| image.contains(it))
    };
    let image = images.clone().find(own)?;
    parse(image.split('@').next()?.rsplit_once(':')?.1)
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
