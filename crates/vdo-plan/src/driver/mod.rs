//! One pass of a driver operator, the part that both drivers share.
//!
//! [`Scene`] is everything that was observed. [`Scene::releases`] says which releases to render; with the
//! rendered revisions [`Plan::new`] asks [`crate::order`] for the one step of this pass and turns it into
//! [`Deed`]s that an executor can make without knowing a driver. [`Plan::status`] writes the record of it.

mod deeds;
pub mod reasons;
mod repair;
mod restart;
mod status;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use vdo_api::VDOConfig;
use vdo_api::condition::name_some;
use vdo_api::names::PAUSED_UNTIL_ANNOTATION;
use vdo_api::status::Phase;
use vdo_api::vdoconfig::DriftRepair;
use vdo_compat::{Driver, Release};

use crate::drift::Fight;
use crate::finding::ROLES;
use crate::foreign::{Traces, foreign};
use crate::journal::Journal;
use crate::object::{Object, ObjectRef};
use crate::order::{self, Candidates, Decision, DeletionPolicy, Held, Look, Objects, Progress, Seen, View};
use crate::revision::{Key, Revision};
use crate::{Finding, Reading, Verdict};

pub use deeds::{Deed, Prune, orphans, teardown};
pub use repair::{GRACE, Repair};
pub use restart::{Bearer, Bearers, MadeBy, Restarts};
pub use status::StatusPart;
pub use view::{records, view};

/// One of our objects as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its UID; a prune names it, so that it never hits a namesake.
    pub uid: String,
    /// The revision it bears.
    pub revision: Option<String>,
    /// A digest of the fields that the API server counts as ours.
    pub owned_fields: Option<String>,
}

/// Our driver's objects, listed by label.
pub type Rows = BTreeMap<ObjectRef, Row>;

/// How well one revision works, in words when it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Every part of it works.
    Works,
    /// It does its work, but not everywhere: which node or pod is missing. Nodes come and go, so what was seen
    /// working once stays ready.
    Partly(String),
    /// Something is not there yet, or fails: the pod, node or lease, and what it says.
    Waits(String),
}

impl Health {
    /// Whether the driver does its work.
    pub fn is_enough(&self) -> bool {
        match self {
            Health::Works | Health::Partly(_) => true,
            Health::Waits(_) => false,
        }
    }

    /// What is missing, in words.
    pub fn missing(&self) -> Option<&str> {
        match self {
            Health::Works => None,
            Health::Partly(what) | Health::Waits(what) => Some(what),
        }
    }
}

/// How a revision is judged: by the operator that knows the driver.
pub trait Judge {
    /// How many of its stages may be applied now.
    fn open_stages(&self, revision: &Revision) -> usize;
    /// Whether it works, all of its stages being applied.
    fn health(&self, revision: &Revision) -> Health;
}

/// Everything that a pass observed and that both drivers have in common.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Which driver this is about.
    pub driver: Driver,
    /// The active VDOConfig, read live.
    pub config: VDOConfig,
    /// The time of the pass, in whole seconds.
    pub now: Timestamp,
    /// The pod that this operator runs in; for people.
    pub holder: String,
    /// Seconds after which a roll-out is given up.
    pub deadline_seconds: i64,
    /// The journal, read live.
    pub journal: Journal,
    /// Our own objects.
    pub rows: Reading<Rows>,
    /// Objects of the other driver that bear our label; only CPI looks.
    pub others: Look,
    /// Volumes of the driver; only CSI looks.
    pub volumes: Reading<Vec<String>>,
    /// What was looked for before the first write; `None` once something of ours is there.
    pub traces: Option<Traces>,
    /// Whether a predecessor's request may still be under way.
    pub quarantined: bool,
    /// Whether our kinds, or the namespace of the operators, are being deleted; looked at only while the VDOConfig is.
    pub ending: Look,
    /// Whether the attempt has worked for long enough to count. A first install need not.
    pub steady: bool,
    /// Whether the VDOConfig was edited only just now, so that the others may not have answered yet. What is held at such
    /// a moment may be let go at the next.
    pub fresh: bool,
    /// Objects that somebody changes again and again, and that are left alone for a while.
    pub contested: BTreeMap<ObjectRef, Fight>,
    /// How the repair of what is installed stands.
    pub repair: Repair,
    /// The driver's pods by the account whose token they bear, in the order in which they may be restarted.
    pub bearers: Vec<Bearers>,
}

/// The releases to render for this pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Releases {
    /// The one that vdo-core chose.
    pub wanted: Option<Release>,
    /// The one that is there already, for a new configuration while the wanted one is held.
    pub fallback: Option<Release>,
}

/// What was rendered for them.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    /// For the wanted release; absent when its inputs do not resolve.
    pub wanted: Option<Revision>,
    /// For the fallback; absent when its inputs do not resolve.
    pub fallback: Option<Revision>,
}

impl Scene {
    /// The VDOConfig as the order protocol sees it.
    pub fn view(&self) -> View<Release, String> {
        let mut view = view(&self.config, self.now);
        // The end of our kinds, or of our namespace, is nobody's wish to lose the drivers.
        if self.ending == Look::Something {
            view.policy = DeletionPolicy::Orphan;
        }
        view
    }

    /// What the VDOConfig is called.
    pub fn config_name(&self) -> &str {
        self.config.metadata.name.as_deref().unwrap_or_default()
    }

    /// The releases to render.
    pub fn releases(&self) -> Releases {
        let view = self.view();
        Releases {
            wanted: order::wanted_release(self.driver, &view),
            fallback: order::fallback_release(self.driver, &view),
        }
    }

    /// Whether nothing of ours is there yet: the moment to look for somebody else's.
    pub fn is_first(&self) -> bool {
        let view = self.view();
        !view.records.of(self.driver).occupied() && self.journal.is_clear() && !view.leaving(self.driver)
    }

    /// Whether vdo-core has said nothing yet about the VDOConfig as it is, and may do so at any moment.
    pub fn awaits_word(&self) -> bool {
        let view = self.view();
        let answered = view.gates.as_ref().is_some_and(|gates| gates.generation == view.generation);
        self.fresh && !answered
    }

    /// Whether the driver is to go, with the VDOConfig or alone.
    pub fn is_leaving(&self) -> bool {
        self.view().leaving(self.driver)
    }

    /// The revision to roll out for this rendering. A build that renders the installed configuration in another way is
    /// no wish of the user: what is installed stays until the gate of its release is open.
    fn candidate(&self, view: &View<Release, String>, fresh: &Revision) -> Key {
        let record = view.records.of(self.driver);
        let open = view.gates.as_ref().is_some_and(|gates| {
            let gate = gates.of(self.driver);
            gates.generation == view.generation
                && gate.is_some_and(|gate| gate.open && gate.release == fresh.key.release)
        });
        let there = record.installed.as_ref().and_then(|key| self.journal.revision(&key.id));
        match there.filter(|there| !open && there.differs_in_rendering_only(fresh)) {
            Some(there) => there.key.clone(),
            None => fresh.key.clone(),
        }
    }

    /// The objects of the installed revision that are not as we applied them.
    fn drifted(&self, judge: &dyn Judge) -> Vec<ObjectRef> {
        let record = self.view();
        let installed = record.records.of(self.driver).installed.as_ref();
        let Some(revision) = installed.and_then(|key| self.journal.revision(&key.id)) else {
            return Vec::new();
        };
        if matches!(self.rows, Reading::Unreadable(_)) {
            return Vec::new();
        }
        let open = judge.open_stages(revision).min(revision.stages.len());
        self.missing(revision, open).into_iter().map(|object| object.reference().clone()).collect()
    }

    /// Whether an object that drifted is left as it is.
    fn is_left(&self, object: &ObjectRef) -> bool {
        self.config.spec.drift_repair == DriftRepair::Report || self.contested.contains_key(object)
    }

    /// Until when the user paused everything, if that is still to come.
    pub fn paused_until(&self) -> Option<Timestamp> {
        let annotations = self.config.metadata.annotations.as_ref()?;
        let until: Timestamp = annotations.get(PAUSED_UNTIL_ANNOTATION)?.parse().ok()?;
        (until > self.now).then_some(until)
    }

    /// When the roll-out or removal that is under way is given up, if that is still to come.
    pub fn deadline(&self) -> Option<Timestamp> {
        let deadline = status::stored(self).attempt?.deadline.0;
        (deadline > self.now).then_some(deadline)
    }

    fn objects(&self) -> Objects {
        match &self.rows {
            Reading::Unreadable(_) => Objects::Unreadable,
            Reading::Absent => Objects::Nothing,
            Reading::Present(rows) if rows.is_empty() => Objects::Nothing,
            Reading::Present(rows) => {
                let workload = rows.keys().any(|r| matches!(r.kind.as_str(), "Deployment" | "DaemonSet"));
                if workload { Objects::Workload } else { Objects::Leftovers }
            }
        }
    }

    /// How far the revision with this key is. With `left`, drift that is not to be repaired counts as none.
    fn progress(&self, key: Option<&Key>, judge: &dyn Judge, left: bool) -> Progress {
        let Some(revision) = key.and_then(|key| self.journal.revision(&key.id)) else {
            return Progress::Unreadable;
        };
        if matches!(self.rows, Reading::Unreadable(_)) {
            return Progress::Unreadable;
        }
        let open = judge.open_stages(revision).min(revision.stages.len());
        let missing = self.missing(revision, open);
        if missing.iter().any(|object| !(left && self.is_left(object.reference()))) {
            return Progress::Missing;
        }
        let whole = open == revision.stages.len();
        if whole && judge.health(revision).is_enough() { Progress::Healthy } else { Progress::Applied }
    }

    /// The objects of the open stages that are absent, bear another revision or lost a field of ours.
    fn missing<'a>(&self, revision: &'a Revision, open: usize) -> Vec<&'a Object> {
        let empty = Rows::new();
        let rows = self.rows.present().unwrap_or(&empty);
        let objects = revision.stages.iter().take(open).flat_map(|stage| &stage.objects);
        objects.filter(|object| self.is_missing(rows, revision, object)).collect()
    }

    fn is_missing(&self, rows: &Rows, revision: &Revision, object: &Object) -> bool {
        let Some(row) = rows.get(object.reference()) else { return true };
        // The digests are of the installed revision, and another one may have other fields.
        let is_installed = self.journal.installed.as_ref() == Some(&revision.key);
        let ours = self.journal.owned_fields.get(&object.reference().to_string()).filter(|_| is_installed);
        let drifted = ours.is_some() && ours != row.owned_fields.as_ref();
        row.revision.as_deref() != Some(revision.key.id.as_str()) || drifted
    }
}

/// What is said about drift that is not repaired.
fn drift_findings(scene: &Scene, judge: &dyn Judge) -> Option<Finding> {
    let only_reported = scene.config.spec.drift_repair == DriftRepair::Report;
    if !only_reported && scene.contested.is_empty() {
        return None;
    }
    let drifted = scene.drifted(judge);
    if only_reported && !drifted.is_empty() {
        let names: Vec<String> = drifted.iter().map(ObjectRef::to_string).collect();
        return Some(Finding::advise(
            &reasons::DRIFT_REPORTED,
            format!(
                "{} of its objects are not as VDO applied them ({}); set spec.driftRepair to Repair to have them put back",
                names.len(),
                name_some(&names)
            ),
        ));
    }
    let (object, fight) = scene.contested.iter().find(|(object, _)| drifted.contains(object))?;
    Some(Finding::advise(
        &reasons::DRIFT_FIGHT,
        format!(
            "{} keeps changing {object}: VDO put it back {} times and leaves it for a while; stop that manager from \
             changing it, or set spec.driftRepair to Report",
            fight.with, fight.times
        ),
    ))
}

/// What one pass does: writes in order, then one report.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The step of the order protocol.
    pub decision: Decision<Release, String>,
    /// Everything the user should know.
    pub findings: Vec<Finding>,
    /// The writes, in order; the pass stops at the first that fails.
    pub deeds: Vec<Deed>,
    /// How well the installed or attempted revision works.
    pub health: Option<Health>,
    /// The original's phase of it.
    pub phase: Phase,
    /// The attempt that works in every part at this moment, if it does.
    pub works: Option<Key>,
    /// What was rolled back and is asked for all the same.
    pub held_back: Vec<Key>,
    /// The pods to restart once the deeds are done.
    pub restarts: Restarts,
    /// Whether a repair is under way.
    pub mends: bool,
    /// Whether what was said of the driver before the repair still stands.
    stands: bool,
}

impl Plan {
    /// Decides one pass. Total: every branch ends in the same `Plan`.
    pub fn new(scene: &Scene, judge: &dyn Judge, mut findings: Vec<Finding>, rendered: &Rendered) -> Self {
        let view = scene.view();
        let record = view.records.of(scene.driver);
        findings.extend(scene.traces.as_ref().and_then(|traces| foreign(scene.driver.name(), traces)));
        let worst = findings.iter().map(|finding| finding.verdict).max();
        if let Some(until) = scene.paused_until() {
            findings.push(Finding::hands_off(
                &reasons::PAUSED,
                format!(
                    "VDOConfig {} is paused until {until}, so nothing of {} is written; remove its annotation \
                     {PAUSED_UNTIL_ANNOTATION} to go on",
                    scene.config_name(),
                    scene.driver.name()
                ),
            ));
        }
        // A finding that holds takes the candidates away: what is installed is repaired, nothing new starts.
        let free = worst < Some(Verdict::Hold);
        let asked =
            |revision: &Option<Revision>| revision.as_ref().map(|revision| scene.candidate(&view, revision));
        let candidate = |revision: &Option<Revision>| asked(revision).filter(|_| free);
        // One edit of release and configuration is one roll-out: the new configuration does not go to the old release
        // first, only because the gate is a moment late.
        let there = record.installed.as_ref();
        let fallback = candidate(&rendered.fallback).filter(|key| !scene.fresh || Some(key) == there);
        let candidates = Candidates { wanted: candidate(&rendered.wanted), fallback };
        findings.extend(drift_findings(scene, judge));
        if scene.ending == Look::Unreadable {
            findings.push(Finding::hands_off(
                &reasons::ENDING_UNKNOWN,
                format!(
                    "nothing of {} is removed, since whether the CRDs or the namespace of VDO are being deleted could \
                     not be read; {ROLES}",
                    scene.driver.name()
                ),
            ));
        }
        let attempted = record.rolling().cloned();
        let installed = record.installed.clone().or_else(|| scene.journal.installed.clone());
        // What is rolled out over something that works has to work for a while before it counts.
        let soaks = record.installed.is_some() && !scene.steady;
        let attempt_progress = scene.progress(attempted.as_ref(), judge, false);
        let seen = Seen {
            quiet: scene.quarantined
                || scene.paused_until().is_some()
                || findings.iter().any(|finding| finding.verdict == Verdict::HandsOff),
            objects: scene.objects(),
            installed: scene.progress(installed.as_ref(), judge, attempted.is_none()),
            attempted: match attempt_progress {
                Progress::Healthy if soaks => Progress::Applied,
                Progress::Unreadable | Progress::Missing | Progress::Applied | Progress::Healthy => {
                    attempt_progress
                }
            },
            others: scene.others,
            volumes: match &scene.volumes {
                Reading::Unreadable(_) => Look::Unreadable,
                Reading::Present(volumes) if !volumes.is_empty() => Look::Something,
                Reading::Present(_) | Reading::Absent => Look::Nothing,
            },
            journal_installed: scene.journal.installed.clone(),
            journal_empty: scene.journal.is_clear(),
        };
        let mut decision = order::decide(scene.driver, &view, &seen, &candidates);
        // What waits for a moment, or for a finding to go, is asked for all the same.
        let asked = Candidates { wanted: asked(&rendered.wanted), fallback: asked(&rendered.fallback) };
        let held_back = order::held_back(scene.driver, &view, &decision.record, &asked);
        let works = attempted.clone().filter(|_| attempt_progress == Progress::Healthy);
        let watched = attempted.or(installed);
        let watched = watched.and_then(|key| scene.journal.revision(&key.id));
        let health = watched.map(|revision| judge.health(revision));
        // Once objects have gone back nobody sees any more what was wrong, so that is written down before the first does.
        let goes_back = matches!(decision.step, order::Step::Apply { why: order::Why::Back, .. });
        let deeds = if goes_back && status::is_untold(scene, health.as_ref()) {
            Vec::new()
        } else {
            deeds::deeds(scene, judge, &decision, rendered, record, seen.quiet || !free)
        };
        let restarts = restart::restarts(scene, &decision, seen.installed, seen.quiet || !deeds.is_empty());
        let mends = repair::is_under_way(scene, &decision, seen.installed, &restarts);
        let stands = mends && record.ready && scene.repair != Repair::Late;
        // The protocol takes any word for one of a moment ago, so an older True is nothing new to it.
        for record in [&mut decision.record, &mut decision.otherwise] {
            record.ready |= stands;
        }
        let said = findings.iter().any(|finding| finding.verdict >= Verdict::Hold);
        if let Some(held) = decision.held.filter(|held| !(said && *held == Held::InputsUnresolved)) {
            findings.push(status::held(scene, held));
        }
        let phase = status::phase(&decision, health.as_ref(), &findings);
        Plan { decision, findings, deeds, health, phase, works, held_back, restarts, mends, stands }
    }

    /// Whether the record of the driver stays as it is: all that may be new is in words. That it does not work is said about
    /// any generation, since nothing waits for that.
    pub fn leaves_record(&self, scene: &Scene) -> bool {
        let view = scene.view();
        let before = view.records.of(scene.driver);
        let mut after = self.decision.record.clone();
        if !before.ready && !after.ready {
            after.ready_generation = before.ready_generation;
        }
        after == *before
    }

    /// Whether something is to be written that only waited for the writes of this plan.
    pub fn goes_on(&self) -> bool {
        matches!(self.decision.step, order::Step::Claim { .. })
    }

    /// The objects that this pass puts back because somebody changed or deleted them.
    pub fn repairs(&self) -> impl Iterator<Item = &Object> {
        let repair = self.decision.step.is_repair();
        let stages = self.deeds.iter().filter_map(|deed| match deed {
            Deed::Apply(stages) => Some(stages),
            Deed::TakeFinalizer
            | Deed::WriteJournal(_)
            | Deed::Prune(_)
            | Deed::LookAgain
            | Deed::ReleaseFinalizer => None,
        });
        stages.filter(move |_| repair).flatten().flatten()
    }

    /// Whether anything is under way that the next pass must look at soon, without being woken. So is somebody else's
    /// installation: nothing watches it, and once it is gone nobody should wait for the next look at leisure. Nor is what
    /// holds a removal watched: volumes, and for CPI what an orphaning left of CSI. A look for 500 volumes is some ten
    /// requests, among them two pages of volumes and two of attachments: not worth a watch on every volume of the
    /// cluster, nor a look more often than for anything else that is waited for.
    pub fn waits(&self) -> bool {
        let hands_off = |finding: &Finding| finding.verdict == Verdict::HandsOff;
        let unwatched = self.findings.iter().any(|it| hands_off(it) && it.reason != &reasons::PAUSED);
        let unwatched = unwatched || self.decision.held.is_some_and(Held::is_looked_for);
        self.decision.record.attempt.is_some()
            || !self.deeds.is_empty()
            || self.restarts.stale > 0
            || unwatched
    }
}
