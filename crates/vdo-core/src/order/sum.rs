//! The conditions of a VDOConfig. Pure.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use vdo_api::condition::{clip, find, name_some};
use vdo_api::reason::{AS_WANTED, NOT_SEEN_YET};
use vdo_api::status::{DriverRecord, GateVerdict, Gates, Verb};
use vdo_api::{Condition, Reason, Truth, VDOConfig, VsphereCloudConfig};
use vdo_compat::upgrade::{Advice, Prospect};
use vdo_compat::{Driver, KubernetesVersion, explain};
use vdo_plan::driver::reasons as shared;
use vdo_plan::order::PerDriver;
use vdo_plan::{Finding, Reading};

use super::choose::Answer;
use super::nodes::Joined;
use crate::reasons;

/// An operator that has not answered a new generation for so long is silent.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The condition that a driver operator writes.
fn ready_condition(driver: Driver) -> &'static str {
    match driver {
        Driver::Cpi => "CPIReady",
        Driver::Csi => "CSIReady",
    }
}

/// How the Lease of an operator looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Renewed in time, or not watched for long enough to tell.
    Beats,
    /// It stands still, or is not there.
    StandsStill,
}

/// Everything that the conditions are made of.
pub struct Scene<'a> {
    /// The active VDOConfig.
    pub config: &'a VDOConfig,
    /// Each VsphereCloudConfig that the spec names.
    pub vcenters: &'a [(String, Reading<VsphereCloudConfig>)],
    /// The answers for the drivers that are wanted.
    pub answers: &'a PerDriver<Option<Answer>>,
    /// Why the matrix may be out of date, if it may.
    pub stale: Option<&'a Finding>,
    /// What to do about each installed driver before the next minor of Kubernetes.
    pub next: &'a [Prospect],
    /// The gates that are about to be published.
    pub gates: &'a Gates,
    /// The nodes with their machines.
    pub nodes: &'a Reading<Joined>,
    /// The Leases of the driver operators.
    pub pulses: PerDriver<Pulse>,
    /// What this release knows of our kinds and the CRDs do not.
    pub lacking: &'a [String],
    /// How long this generation has been known.
    pub known_for: Duration,
    /// The time.
    pub now: Timestamp,
}

/// Something to say: status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// Whether it holds.
    pub truth: Truth,
    /// The name of the reason.
    pub reason: String,
    /// The message.
    pub message: String,
}

impl Word {
    fn new(truth: Truth, reason: &Reason, message: impl Into<String>) -> Self {
        Word { truth, reason: reason.name.to_owned(), message: message.into() }
    }
}

/// A condition that says this.
pub fn condition(type_: &str, word: Word, generation: i64, now: Timestamp) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: word.truth,
        reason: word.reason,
        message: clip(&word.message, vdo_api::condition::MESSAGE_LIMIT),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// The conditions of a VDOConfig that does not count.
pub fn inactive(config: &VDOConfig, active: &str, now: Timestamp) -> Vec<Condition> {
    let generation = config.metadata.generation.unwrap_or_default();
    let word = || {
        let message =
            format!("VDOConfig {active} is the one that counts in this namespace; delete one of the two");
        Word::new(Truth::False, &reasons::NOT_ACTIVE, message)
    };
    ["Accepted", "Ready"].map(|type_| condition(type_, word(), generation, now)).into()
}

/// The conditions of the active VDOConfig.
pub fn conditions(scene: &Scene<'_>) -> Vec<Condition> {
    let generation = scene.generation();
    let words = [
        ("Accepted", scene.accepted()),
        ("CompatibilityResolved", scene.compatibility()),
        ("Upgradeable", scene.upgradeable()),
        ("NodesInitialised", scene.nodes_initialised()),
        ("Ready", scene.ready()),
        ("Progressing", scene.progressing()),
        ("Degraded", scene.degraded()),
    ];
    words.into_iter().map(|(type_, word)| condition(type_, word, generation, scene.now)).collect()
}

impl Scene<'_> {
    fn generation(&self) -> i64 {
        self.config.metadata.generation.unwrap_or_default()
    }

    fn wanted(&self) -> Vec<Driver> {
        let spec = &self.config.spec;
        let wants = [(Driver::Cpi, spec.wants_cpi()), (Driver::Csi, spec.wants_csi())];
        wants.into_iter().filter(|(_, wanted)| *wanted).map(|(driver, _)| driver).collect()
    }

    fn record(&self, driver: Driver) -> Option<&DriverRecord> {
        let status = self.config.status.as_ref()?;
        match driver {
            Driver::Cpi => status.cpi.as_ref().map(|it| &it.record),
            Driver::Csi => status.csi.as_ref().map(|it| &it.record),
        }
    }

    fn driver_condition(&self, driver: Driver) -> Option<&Condition> {
        find(&self.config.status.as_ref()?.conditions, ready_condition(driver))
    }

    fn is_deleting(&self) -> bool {
        self.config.metadata.deletion_timestamp.is_some()
    }

    fn accepted(&self) -> Word {
        let named = |wanted: fn(&Reading<VsphereCloudConfig>) -> bool| -> Vec<&str> {
            self.vcenters.iter().filter(|(_, it)| wanted(it)).map(|(name, _)| name.as_str()).collect()
        };
        let missing = named(|it| matches!(it, Reading::Absent));
        if !missing.is_empty() {
            return Word::new(
                Truth::False,
                &vdo_plan::vcenter::reasons::VCENTER_CONFIG_MISSING,
                format!(
                    "VsphereCloudConfig {} does not exist; create it or correct the name",
                    name_some(&missing)
                ),
            );
        }
        let broken = named(|it| matches!(it, Reading::Unreadable(_)));
        if !broken.is_empty() {
            let why = self.vcenters.iter().find_map(|(_, it)| match it {
                Reading::Unreadable(why) => Some(why.as_str()),
                Reading::Present(_) | Reading::Absent => None,
            });
            return Word::new(
                Truth::False,
                &reasons::VCENTER_CONFIG_UNREADABLE,
                format!(
                    "{} VsphereCloudConfigs do not decode ({}): {}",
                    broken.len(),
                    name_some(&broken),
                    why.unwrap_or_default()
                ),
            );
        }
        if !self.lacking.is_empty() {
            // It counts all the same: whatever depends on such a field says for itself what it waits for.
            let message = format!(
                "this VDOConfig counts, but the CRDs of the cluster do not know {}; upgrade the chart vdo-crds",
                name_some(self.lacking)
            );
            return Word::new(Truth::True, &reasons::CRDS_OUTDATED, message);
        }
        Word::new(Truth::True, &AS_WANTED, "this VDOConfig counts")
    }

    fn compatibility(&self) -> Word {
        let answers: Vec<&Answer> =
            self.wanted().into_iter().filter_map(|driver| self.answers.of(driver).as_ref()).collect();
        let text = |answers: &[&Answer]| {
            let mut texts: Vec<String> = answers.iter().map(|it| it.text()).collect();
            texts.dedup();
            texts.join(" | ")
        };
        let held = answers.iter().find_map(|answer| match answer {
            Answer::Held(finding) => Some(finding),
            Answer::Chosen(_) => None,
        });
        match held {
            Some(finding) => {
                let unclear =
                    [&reasons::VCENTERS_NOT_READ, &reasons::MATRIX_NOT_FETCHED, &reasons::MATRIX_NOT_SETTLED]
                        .contains(&finding.reason);
                Word::new(if unclear { Truth::Unknown } else { Truth::False }, finding.reason, text(&answers))
            }
            None => match self.stale {
                Some(stale) => {
                    let message = format!("{} | {}", text(&answers), stale.message);
                    Word::new(Truth::True, stale.reason, message)
                }
                None => Word::new(Truth::True, &reasons::RELEASES_CHOSEN, text(&answers)),
            },
        }
    }

    /// Whether Kubernetes may be upgraded by a minor with what is installed.
    fn upgradeable(&self) -> Word {
        let kubernetes = &self.gates.kubernetes;
        let Ok(now) = kubernetes.parse::<KubernetesVersion>() else {
            let message = format!("the API server says its version is {kubernetes:?}, which cannot be read");
            return Word::new(Truth::Unknown, &reasons::KUBERNETES_VERSION_UNKNOWN, message);
        };
        if self.next.is_empty() {
            return Word::new(Truth::Unknown, &NOT_SEEN_YET, "nothing is installed yet");
        }
        let texts: Vec<String> = self.next.iter().map(explain::prospect).collect();
        let (major, minor) = now.next_minor().line();
        let message = format!("Kubernetes {major}.{minor}: {}", texts.join("; "));
        let has = |wanted: fn(&Advice) -> bool| self.next.iter().any(|it| wanted(&it.advice));
        if has(|it| matches!(it, Advice::NotYet(_) | Advice::Stop(_))) {
            Word::new(Truth::False, &reasons::NOTHING_FITS_NEXT, message)
        } else if has(|it| matches!(it, Advice::First(_))) {
            Word::new(Truth::False, &reasons::DRIVERS_FIRST, message)
        } else {
            Word::new(Truth::True, &reasons::MAY_BE_UPGRADED, message)
        }
    }

    fn nodes_initialised(&self) -> Word {
        match self.nodes {
            Reading::Present(joined) => {
                let (done, all) = (joined.summary.initialised, joined.summary.expected);
                if joined.waiting == 0 && (done == all || !self.config.spec.wants_cpi()) {
                    return Word::new(
                        Truth::True,
                        &AS_WANTED,
                        format!("{done} of {all} nodes are initialised"),
                    );
                }
                let found: Vec<String> = joined
                    .summary
                    .findings
                    .iter()
                    .map(|it| format!("{} {} ({})", it.count, it.reason, it.names.join(", ")))
                    .collect();
                Word::new(
                    Truth::False,
                    &reasons::NODES_WAIT,
                    format!("{done} of {all} nodes are initialised; {}", found.join("; ")),
                )
            }
            Reading::Absent => Word::new(Truth::True, &AS_WANTED, "there are no nodes"),
            Reading::Unreadable(why) => Word::new(Truth::Unknown, &reasons::NODES_UNREADABLE, why.as_str()),
        }
    }

    /// What keeps one driver from being as wanted; `None` if it is.
    fn driver(&self, driver: Driver) -> Option<Word> {
        let name = driver.name();
        let operator = match driver {
            Driver::Cpi => vdo_api::names::CPI_MANAGER,
            Driver::Csi => vdo_api::names::CSI_MANAGER,
        };
        let silent = |what: &str| {
            let message = format!("{operator} {what}; see whether its pods run");
            Some(Word::new(Truth::Unknown, &reasons::OPERATOR_SILENT, message))
        };
        if *self.pulses.of(driver) == Pulse::StandsStill {
            return silent("does not renew its Lease");
        }
        let generation = self.generation();
        let record = self.record(driver);
        if record.and_then(|it| it.observed_generation) != Some(generation) {
            if self.known_for >= PATIENCE {
                return silent("has not answered this generation for a minute");
            }
            let message = format!("{operator} has not looked at this generation yet");
            return Some(Word::new(Truth::Unknown, &NOT_SEEN_YET, message));
        }
        let said = self.driver_condition(driver);
        match said {
            Some(it) if it.status == Truth::True => {
                // A hold over something healthy does not lower it; a change under way is not there yet.
                let idle = record.is_some_and(|it| it.attempt.is_none() && it.installed.is_some());
                if it.observed_generation == generation || idle {
                    return None;
                }
                Some(Word::new(Truth::False, &shared::ROLLING_OUT, format!("{name} is being changed")))
            }
            Some(it) => Some(Word {
                truth: it.status,
                reason: it.reason.clone(),
                message: format!("{}: {}", it.type_, it.message),
            }),
            None => {
                let message = format!("{operator} has said nothing about {name} yet");
                Some(Word::new(Truth::Unknown, &NOT_SEEN_YET, message))
            }
        }
    }

    /// The first thing wrong, with the next step.
    fn ready(&self) -> Word {
        let accepted = self.accepted();
        if self.is_deleting() {
            return Word::new(Truth::False, &shared::REMOVING, "this VDOConfig is being deleted");
        }
        if accepted.truth != Truth::True {
            return accepted;
        }
        let Some((driver, wrong)) =
            self.wanted().into_iter().find_map(|driver| Some((driver, self.driver(driver)?)))
        else {
            let names: Vec<&str> = self.wanted().into_iter().map(Driver::name).collect();
            let verb = if names.len() == 1 { "works" } else { "work" };
            return Word::new(Truth::True, &AS_WANTED, format!("{} {verb}", names.join(" and ")));
        };
        // An operator that does not answer is named even when something else is wrong, too.
        if wrong.reason == reasons::OPERATOR_SILENT.name {
            return wrong;
        }
        let installed = self.record(driver).is_some_and(|it| it.installed.is_some());
        self.behind(driver).filter(|_| !installed).unwrap_or(wrong)
    }

    /// What lies behind a driver that was never installed: its vCenter, the choice, or the gate.
    fn behind(&self, driver: Driver) -> Option<Word> {
        let held = || match self.answers.of(driver) {
            Some(Answer::Held(finding)) => {
                Some(Word::new(Truth::False, finding.reason, finding.message.clone()))
            }
            Some(Answer::Chosen(_)) | None => None,
        };
        let gate = || {
            let gate = match driver {
                Driver::Cpi => self.gates.cpi.as_ref(),
                Driver::Csi => self.gates.csi.as_ref(),
            }?;
            (gate.verdict == GateVerdict::Held && !gate.reason.is_empty()).then(|| Word {
                truth: Truth::False,
                reason: gate.reason.clone(),
                message: gate.message.clone(),
            })
        };
        self.refused_vcenter(driver).or_else(held).or_else(gate)
    }

    fn progressing(&self) -> Word {
        for driver in [Driver::Cpi, Driver::Csi] {
            let Some(attempt) = self.record(driver).and_then(|it| it.attempt.as_ref()) else { continue };
            let what = match attempt.verb {
                Verb::Roll => format!(
                    "rolling out {} {}",
                    driver.name(),
                    attempt.release.as_deref().unwrap_or_default()
                ),
                Verb::Remove => format!("removing {}", driver.name()),
            };
            return Word::new(Truth::True, &reasons::WORK_UNDER_WAY, what);
        }
        if self.is_deleting() {
            return Word::new(Truth::True, &reasons::WORK_UNDER_WAY, "being deleted");
        }
        for driver in self.wanted() {
            let gate = match driver {
                Driver::Cpi => self.gates.cpi.as_ref(),
                Driver::Csi => self.gates.csi.as_ref(),
            };
            let installed = self.record(driver).and_then(|it| it.installed.as_ref()).map(|it| &it.release);
            if let Some(gate) = gate
                && gate.verdict == GateVerdict::Open
                && gate.release.as_ref() != installed
            {
                let what = format!(
                    "{} {} may be rolled out",
                    driver.name(),
                    gate.release.as_deref().unwrap_or_default()
                );
                return Word::new(Truth::True, &reasons::WORK_UNDER_WAY, what);
            }
        }
        Word::new(Truth::False, &AS_WANTED, "nothing is under way")
    }

    /// Something installed does not work, or will not for long.
    fn degraded(&self) -> Word {
        let is_installed = |driver: &Driver| self.record(*driver).is_some_and(|it| it.installed.is_some());
        let installed: Vec<Driver> = [Driver::Cpi, Driver::Csi].into_iter().filter(is_installed).collect();
        for driver in &installed {
            if let Some(it) = self.driver_condition(*driver)
                && it.status == Truth::False
                // What is taken away on purpose does not work any more, and need not.
                && it.reason != shared::REMOVING.name
            {
                return Word {
                    truth: Truth::True,
                    reason: it.reason.clone(),
                    message: format!("{}: {}", it.type_, it.message),
                };
            }
        }
        if installed.is_empty() {
            return Word::new(Truth::False, &AS_WANTED, "nothing is installed");
        }
        let refused = |driver: &Driver| {
            let word = self.refused_vcenter(*driver)?;
            Some(Word {
                truth: Truth::True,
                message: format!("{} runs on with what it has; {}", driver.name(), word.message),
                ..word
            })
        };
        let works = || Word::new(Truth::False, &AS_WANTED, "what is installed works");
        installed.iter().find_map(refused).unwrap_or_else(works)
    }

    /// The first vCenter of a driver that is not as the driver needs it.
    fn refused_vcenter(&self, driver: Driver) -> Option<Word> {
        let spec = &self.config.spec;
        let names = match driver {
            Driver::Cpi => spec.cpi_vcenters(),
            Driver::Csi => spec.csi_vcenters(),
        };
        self.vcenters.iter().filter(|(name, _)| names.contains(&name.as_str())).find_map(|(name, it)| {
            let ready = find(&it.present()?.status.as_ref()?.conditions, "Ready")?;
            (ready.status == Truth::False).then(|| Word {
                truth: Truth::False,
                reason: ready.reason.clone(),
                message: format!("VsphereCloudConfig {name}: {}", ready.message),
            })
        })
    }
}

#[cfg(test)]
mod tests;
