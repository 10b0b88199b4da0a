//! The record and the condition that a pass reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use vdo_api::condition::{self, clip, name_some};
use vdo_api::names::RETRY_ROLLOUT_ANNOTATION;
use vdo_api::status::{Attempt, DriverRecord, Installed, Phase, Refused, RefusedKind, Verb as StoredVerb};
use vdo_api::{Condition, Reason, Truth};
use vdo_compat::{Driver, Release};

use super::view::ready_condition;
use super::{Health, Plan, Scene, reasons, view};
use crate::finding::{ROLES, worst};
use crate::order::{Decision, Held, Record, Refusal, Step, Verb};
use crate::{Finding, Reading, Verdict};

/// What a driver operator writes into the status of the VDOConfig: always its whole part.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusPart {
    /// The record of the driver.
    pub record: DriverRecord,
    /// `CPIReady` or `CSIReady`.
    pub ready: Condition,
    /// The reason of that condition, with its explanation.
    pub reason: &'static Reason,
}

impl Plan {
    /// The part to report. `done` says whether every deed succeeded; if not, only the driver's health is news.
    pub fn status(&self, scene: &Scene, done: bool) -> StatusPart {
        let stored = stored(scene);
        let before = scene.view();
        let before = before.records.of(scene.driver);
        let record = if done { &self.decision.record } else { &self.decision.otherwise };
        let (ready, reason) = self.ready(scene, record);
        let missing = self.health.as_ref().and_then(Health::missing).unwrap_or_default();
        let record = DriverRecord {
            observed_generation: scene.config.metadata.generation,
            phase: Some(self.phase),
            status_msg: Some(clip(&ready.message, condition::MESSAGE_LIMIT)),
            installed: installed(scene, &stored, record),
            attempt: attempt(scene, &stored, before, record, missing),
            refused: self.refused(scene, &stored, record),
        };
        StatusPart { record, ready, reason }
    }

    fn ready(&self, scene: &Scene, record: &Record<Release, String>) -> (Condition, &'static Reason) {
        let (truth, reason, message) = self.verdict(scene, record);
        let new = Condition::new(
            ready_condition(scene.driver),
            truth,
            reason,
            &message,
            record.ready_generation,
            Time(scene.now),
        );
        let previous = scene.config.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
        (condition::merge(previous, vec![new]).remove(0), reason)
    }

    /// Whether the driver works, and the one thing the user should read about it.
    fn verdict(&self, scene: &Scene, record: &Record<Release, String>) -> (Truth, &'static Reason, String) {
        let name = scene.driver.name();
        let truth = Truth::from(record.ready);
        let finding = worst(&self.findings);
        let waits = self.health.as_ref().and_then(Health::missing).filter(|_| !self.stands);
        if let Some(finding) = finding.filter(|f| f.verdict >= Verdict::Hold) {
            let message = match (record.ready, &record.installed) {
                (true, Some(key)) => format!("{name} {} works; {}", key.release, finding.message),
                (_, _) => finding.message.clone(),
            };
            return (truth, finding.reason, message);
        }
        if let Some(target) = record.rolling() {
            let waits = match (waits, &self.works) {
                (Some(waits), _) => waits,
                (None, Some(_)) if record.installed.is_some() => {
                    "it works, and is watched for a while before it counts"
                }
                (None, _) => "its objects are being applied",
            };
            let message = format!("{name} {} is being rolled out: {waits}", target.release);
            return (truth, &reasons::ROLLING_OUT, message);
        }
        if record.removing() {
            return (truth, &reasons::REMOVING, format!("{name} is being removed"));
        }
        match (&record.installed, waits) {
            (Some(key), waits) if record.ready => {
                // Advice has a reason of its own: there is something to do, although the driver works.
                let advice = advice(&self.findings);
                let reason = advice.iter().map(|f| f.reason).find(|it| **it != reasons::SETTLING);
                let reason = reason.unwrap_or(&reasons::INSTALLED);
                if let Some(said) = said_before(scene, reason).filter(|_| self.stands) {
                    return (truth, reason, said.message.clone());
                }
                let advice = advice.iter().map(|f| f.message.as_str());
                let more: Vec<&str> = waits.into_iter().chain(advice).collect();
                (truth, reason, joined(format!("{name} {} works", key.release), &more))
            }
            (Some(key), waits) => {
                let waits = waits.unwrap_or("some of its objects are missing and are put back");
                (truth, &reasons::NOT_WORKING, format!("{name} {}: {waits}", key.release))
            }
            (None, _) if *scene.view().wants.of(scene.driver) => {
                (truth, &reasons::ROLLING_OUT, format!("the roll-out of {name} is about to begin"))
            }
            (None, _) => (truth, &reasons::NOT_WANTED, format!("{name} is not installed")),
        }
    }

    fn refused(
        &self,
        scene: &Scene,
        stored: &DriverRecord,
        record: &Record<Release, String>,
    ) -> Vec<Refused> {
        let of = |kind: RefusedKind, refusal: &Option<Refusal<Release, String>>| {
            let refusal = refusal.as_ref()?;
            let seen_now = self.health.as_ref().and_then(Health::missing).unwrap_or_default();
            let given_up = stored.attempt.as_ref().map(|attempt| attempt.failure.as_str());
            let failure = given_up.filter(|it| !it.is_empty()).unwrap_or(seen_now);
            let old = stored.refused.iter().find(|old| {
                old.kind == kind && old.revision == refusal.key.id && old.generation == refusal.generation
            });
            Some(old.cloned().unwrap_or_else(|| Refused {
                kind,
                release: refusal.key.release.to_string(),
                revision: refusal.key.id.clone(),
                generation: refusal.generation,
                reason: reasons::ROLLOUT_TIMED_OUT.name.to_owned(),
                message: clip(failure, 1024),
                retry: view::retry(&scene.config),
                since: Time(scene.now),
            }))
        };
        [
            of(RefusedKind::Release, &record.refused_release),
            of(RefusedKind::Configuration, &record.refused_configuration),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What the user should know although the driver works: drift first, and the rest as the operator ordered it.
fn advice(findings: &[Finding]) -> Vec<&Finding> {
    let mut advice: Vec<&Finding> = findings.iter().filter(|f| f.verdict == Verdict::Advise).collect();
    advice.sort_by_key(|f| ![&reasons::DRIFT_FIGHT, &reasons::DRIFT_REPORTED].contains(&f.reason));
    advice
}

/// One text of all, as long as a condition holds them: whole sentences, and how many more there are.
fn joined(first: String, more: &[&str]) -> String {
    const ROOM: usize = condition::MESSAGE_LIMIT - 50;
    let mut text = first;
    for (at, said) in more.iter().enumerate() {
        if at > 0 && text.chars().count() + said.chars().count() > ROOM {
            text.push_str(&format!(" | and {} more, told once these are mended", more.len() - at));
            break;
        }
        // Each of them has its own "; " between what was seen and the next step.
        text.push_str(if at == 0 { "; " } else { " | " });
        text.push_str(said);
    }
    text
}

/// The condition as it stands in status, if it says for the same reason that the driver works.
fn said_before<'a>(scene: &'a Scene, reason: &Reason) -> Option<&'a Condition> {
    let conditions = scene.config.status.as_ref().map(|s| s.conditions.as_slice()).unwrap_or_default();
    let said = condition::find(conditions, ready_condition(scene.driver))?;
    (said.status == Truth::True && said.reason == reason.name).then_some(said)
}

/// The record as it stands in status.
pub(super) fn stored(scene: &Scene) -> DriverRecord {
    let status = scene.config.status.as_ref();
    let record = match scene.driver {
        Driver::Cpi => status.and_then(|s| s.cpi.as_ref()).map(|cpi| &cpi.record),
        Driver::Csi => status.and_then(|s| s.csi.as_ref()).map(|csi| &csi.record),
    };
    record.cloned().unwrap_or_default()
}

fn installed(scene: &Scene, stored: &DriverRecord, record: &Record<Release, String>) -> Option<Installed> {
    let key = record.installed.as_ref()?;
    let old = stored.installed.as_ref().filter(|old| old.revision == key.id);
    Some(old.cloned().unwrap_or_else(|| Installed {
        release: key.release.to_string(),
        revision: key.id.clone(),
        since: Time(scene.now),
    }))
}

/// Whether it is seen why the roll-out failed, and not on record yet.
pub(super) fn is_untold(scene: &Scene, health: Option<&Health>) -> bool {
    let is_seen = health.and_then(Health::missing).is_some_and(|missing| !missing.is_empty());
    is_seen && stored(scene).attempt.is_some_and(|attempt| attempt.failure.is_empty())
}

/// The claim. One that was there keeps its time and its deadline: a deadline that moved would never pass.
fn attempt(
    scene: &Scene,
    stored: &DriverRecord,
    before: &Record<Release, String>,
    record: &Record<Release, String>,
    failure: &str,
) -> Option<Attempt> {
    let attempt = record.attempt.as_ref()?;
    let same = before.attempt.as_ref().is_some_and(|b| b.verb == attempt.verb && b.target == attempt.target);
    if let Some(old) = stored.attempt.as_ref().filter(|_| same) {
        let failure = if old.failure.is_empty() && before.attempt.as_ref().is_some_and(|it| it.expired) {
            clip(failure, 1024)
        } else {
            old.failure.clone()
        };
        return Some(Attempt { failure, ..old.clone() });
    }
    let deadline = scene.now.saturating_add(SignedDuration::from_secs(scene.deadline_seconds));
    Some(Attempt {
        verb: match attempt.verb {
            Verb::Roll => StoredVerb::Roll,
            Verb::Remove => StoredVerb::Remove,
        },
        release: attempt.target.as_ref().map(|key| key.release.to_string()),
        revision: attempt.target.as_ref().map(|key| key.id.clone()),
        generation: scene.config.metadata.generation.unwrap_or_default(),
        holder: scene.holder.clone(),
        since: Time(scene.now),
        deadline: Time(deadline.unwrap_or(Timestamp::MAX)),
        failure: String::new(),
    })
}

/// The original's phase.
pub(super) fn phase(
    decision: &Decision<Release, String>,
    health: Option<&Health>,
    findings: &[Finding],
) -> Phase {
    let record = &decision.record;
    let held = findings.iter().any(|finding| finding.verdict >= Verdict::Hold);
    match (&record.installed, record.rolling()) {
        (_, Some(_)) if matches!(decision.step, Step::Apply { .. } | Step::Claim { .. }) => Phase::Deploying,
        (_, Some(_)) => Phase::Deployed,
        (Some(_), None) if record.ready || health.is_some_and(Health::is_enough) => Phase::Configured,
        (Some(_), None) => Phase::Failed,
        (None, None) if held && decision.held == Some(Held::InputsUnresolved) => Phase::Failed,
        (None, None) => Phase::Configuring,
    }
}

/// Why the order protocol holds, in words that name what is waited for and the next step.
pub(super) fn held(scene: &Scene, held: Held) -> Finding {
    let name = scene.driver.name();
    let config = scene.config_name();
    let status = scene.config.status.as_ref();
    let gates = status.and_then(|s| s.gates.as_ref());
    let (gate, gate_field, vcenter_field) = match scene.driver {
        Driver::Cpi => (
            gates.and_then(|gates| gates.cpi.as_ref()),
            "status.gates.cpi",
            "spec.cloudProvider.vsphereCloudConfigs",
        ),
        Driver::Csi => (
            gates.and_then(|gates| gates.csi.as_ref()),
            "status.gates.csi",
            "spec.storageProvider.vsphereCloudConfig",
        ),
    };
    let said = gate.map(|gate| gate.message.as_str()).filter(|message| !message.is_empty());
    let release = gate.and_then(|gate| gate.release.as_deref()).unwrap_or("(none)");
    let other_cause = gate.is_some_and(|gate| gate.reason != reasons::NO_RELEASE_FITS.name);
    let hold = |reason: &'static Reason, message: String| Finding::hold(reason, message);
    match held {
        Held::GatesOfAnotherGeneration => hold(
            &reasons::WAITS_FOR_GATES,
            format!(
                "{name} waits until vdo-core has decided about this generation of VDOConfig {config}; see whether the \
                 pods of vdo-core run"
            ),
        ),
        // vdo-core has a cause of its own, such as a vCenter that was not verified yet: not that nothing fits.
        Held::NoRelease if other_cause && said.is_some() => {
            hold(&reasons::GATE_HELD, said.unwrap_or_default().to_owned())
        }
        Held::NoRelease | Held::NotChosen => hold(
            &reasons::NO_RELEASE_FITS,
            said.map_or_else(
                || format!("no release of {name} fits; see CompatibilityResolved"),
                str::to_owned,
            ),
        ),
        Held::GateClosed | Held::Leaving => hold(
            &reasons::GATE_HELD,
            said.map_or_else(
                || format!("{name} {release} is held by vdo-core; see {gate_field} of VDOConfig {config}"),
                str::to_owned,
            ),
        ),
        Held::Downgrade | Held::BelowAttempt => hold(
            &reasons::DOWNGRADE_NOT_ASKED,
            format!(
                "{name} {release} is older than what is there; pin it with {} and set {} to Allow if you mean it",
                scene.driver.pin_field(),
                scene.driver.downgrade_field()
            ),
        ),
        Held::Refused => {
            let said = refusal(scene, release);
            let message = format!(
                "{name} {release} was rolled back; {said}; mend that and set the annotation \
                 {RETRY_ROLLOUT_ANNOTATION} of VDOConfig {config} to a new value, or pin another release"
            );
            hold(&reasons::REVISION_REFUSED, message)
        }
        Held::InputsUnresolved => hold(
            &reasons::OBJECTS_UNREADABLE,
            format!(
                "{name} {release} cannot be configured with what VDOConfig {config} names; see {vcenter_field}"
            ),
        ),
        Held::CpiRolling
        | Held::CpiNotInstalled
        | Held::CpiOtherRelease
        | Held::CpiNotReady
        | Held::CpiSilent => hold(&reasons::CPI_NOT_READY, format!("{name} waits for CPI; see CPIReady")),
        Held::CpiStillThere => hold(
            &reasons::CPI_STILL_THERE,
            format!("{name} waits until the CPI that is not wanted any more is gone; see CPIReady"),
        ),
        Held::NeedsCpi | Held::NodesWaitForCpi => hold(
            &reasons::CLOUD_PROVIDER_REQUIRED,
            format!("{name} {release} needs a cloud provider; set spec.cloudProvider"),
        ),
        Held::CsiStillThere | Held::CsiObjectsSeen => hold(
            &reasons::CSI_STILL_THERE,
            match scene.view().leaving(Driver::Csi) {
                true => "CPI stays until CSI is gone, which goes first; see CSIReady".to_owned(),
                false => "CPI stays until CSI is gone; remove spec.storageProvider first".to_owned(),
            },
        ),
        Held::CsiObjectsUnreadable => hold(
            &reasons::CSI_STILL_THERE,
            format!("CPI stays, since whether objects of CSI are left could not be read; {ROLES}"),
        ),
        Held::Volumes => hold(&reasons::VOLUMES_EXIST, volumes(scene)),
        Held::VolumesUnreadable => hold(
            &reasons::OBJECTS_UNREADABLE,
            format!(
                "{name} stays, since whether volumes of it exist could not be read: {}; {ROLES}",
                unreadable(&scene.volumes)
            ),
        ),
        Held::ObjectsUnreadable => hold(
            &reasons::OBJECTS_UNREADABLE,
            format!(
                "nothing of {name} is changed, since its objects could not be read: {}; {ROLES}",
                unreadable(&scene.rows)
            ),
        ),
        Held::Quiet => Finding::advise(
            &reasons::SETTLING,
            format!(
                "the operator of {name} has just taken over from another replica; wait until no request of that one \
                 can be under way"
            ),
        ),
    }
}

/// What was said when this release was rolled back. There may be a refused configuration of another one, too.
fn refusal(scene: &Scene, release: &str) -> String {
    let stored = stored(scene);
    match stored.refused.iter().rfind(|refused| refused.release == release) {
        Some(refused) if !refused.message.is_empty() => refused.message.clone(),
        Some(_) | None => "see its events".to_owned(),
    }
}

fn volumes(scene: &Scene) -> String {
    let volumes = scene.volumes.present().cloned().unwrap_or_default();
    let name = scene.driver.name();
    let (need, them) = match volumes.len() {
        1 => ("1 volume needs".to_owned(), "it"),
        many => (format!("{many} volumes need"), "them"),
    };
    format!("{need} {name} ({}); delete {them}, or set spec.deletionPolicy to Orphan", name_some(&volumes))
}

fn unreadable<T>(reading: &Reading<T>) -> &str {
    match reading {
        Reading::Unreadable(why) => why,
        Reading::Present(_) | Reading::Absent => "no answer yet",
    }
}
