//! What the operator of a driver counts besides.

use prometheus::{Gauge, GaugeVec, IntCounterVec};
use vdo_api::status::DriverRecord;
use vdo_plan::driver::{Plan, StatusPart};
use vdo_plan::revision::Key;
use vdo_plan::{Finding, Verdict};

use crate::journal::Stored;
use crate::metrics::{Described, Metrics, show_exactly};

const DRIFT_REPAIRS: Described = Described::counter(
    "vdo_drift_repairs_total",
    &["kind"],
    "Objects of a driver that were put back because somebody changed or deleted them, by their kind.",
);
const REVISION: Described = Described::gauge(
    "vdo_driver_revision_info",
    &["driver", "state", "release", "revision"],
    "1 for each revision on record: installed, attempt (being rolled out or removed) or refused (rolled back, while it \
     is still asked for; the status may name it for longer).",
);
const FINDING: Described = Described::gauge(
    "vdo_driver_finding",
    &["driver", "reason", "verdict"],
    "1 for each thing that was found: Advise goes on, Hold starts nothing new, HandsOff writes nothing. The reasons are \
     those of docs/conditions.md.",
);
const JOURNAL: Described = Described::gauge(
    "vdo_journal_bytes",
    &[],
    "What the journal takes in its Secret, in bytes; it may have 900 KiB.",
);

/// What the operators of drivers count besides.
pub const ALL: &[Described] = &[DRIFT_REPAIRS, REVISION, FINDING, JOURNAL];

/// The metrics of one driver.
pub(super) struct DriverMetrics {
    shared: Metrics,
    driver: &'static str,
    pub(super) drift_repairs: IntCounterVec,
    revision: GaugeVec,
    finding: GaugeVec,
    journal: Gauge,
}

impl DriverMetrics {
    pub(super) fn new(shared: &Metrics, driver: &'static str) -> Result<Self, prometheus::Error> {
        Ok(DriverMetrics {
            shared: shared.clone(),
            driver,
            drift_repairs: shared.counters(&DRIFT_REPAIRS)?,
            revision: shared.gauges(&REVISION)?,
            finding: shared.gauges(&FINDING)?,
            journal: shared.gauge(&JOURNAL)?,
        })
    }

    /// There is no VDOConfig, and so nothing to tell.
    pub(super) fn hide(&self) {
        self.shared.show_only("VDOConfig", &[].into());
        self.revision.reset();
        self.finding.reset();
        self.journal.set(0.0);
    }

    /// How the driver stands after a pass over the VDOConfig of this name.
    pub(super) fn show(&self, name: &str, plan: &Plan, journal: &Stored, part: &StatusPart) {
        self.shared.show_only("VDOConfig", &[name.to_owned()].into());
        self.shared.show_conditions("VDOConfig", name, std::slice::from_ref(&part.ready));
        let revisions = revisions(&part.record, &plan.held_back).into_iter();
        let revisions = revisions.map(|(state, release, revision)| {
            ([self.driver.to_owned(), state.to_owned(), release, revision], 1.0)
        });
        show_exactly(&self.revision, revisions);
        let findings = plan.findings.iter().map(|finding| {
            ([self.driver.to_owned(), finding.reason.name.to_owned(), verdict(finding).to_owned()], 1.0)
        });
        show_exactly(&self.finding, findings);
        self.journal.set(journal.bytes() as f64);
    }
}

fn verdict(finding: &Finding) -> &'static str {
    match finding.verdict {
        Verdict::Advise => "Advise",
        Verdict::Hold => "Hold",
        Verdict::HandsOff => "HandsOff",
    }
}

/// The state, the release and the id of each revision on record, and of what was rolled back only what is still asked
/// for: another one waits for nobody.
fn revisions(record: &DriverRecord, held_back: &[Key]) -> Vec<(&'static str, String, String)> {
    let mut all = Vec::new();
    if let Some(installed) = &record.installed {
        all.push(("installed", installed.release.clone(), installed.revision.clone()));
    }
    if let Some(attempt) = &record.attempt {
        all.push((
            "attempt",
            attempt.release.clone().unwrap_or_default(),
            attempt.revision.clone().unwrap_or_default(),
        ));
    }
    let refused = record.refused.iter().filter(|it| held_back.iter().any(|key| key.id == it.revision));
    all.extend(refused.map(|it| ("refused", it.release.clone(), it.revision.clone())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_rolled_back_only_what_is_held_back_is_shown() {
        let since = "2026-01-01T00:00:00Z";
        let refused = |kind: &str, release: &str, revision: &str| {
            serde_json::json!({"kind": kind, "release": release, "revision": revision, "generation": 7,
                "reason": "RolloutTimedOut", "since": since})
        };
        let record: DriverRecord = serde_json::from_value(serde_json::json!({
            "installed": {"release": "3.8.0", "revision": "new", "since": since},
            "refused": [refused("Release", "3.7.0", "old"), refused("Configuration", "3.8.0", "other")]}))
        .unwrap();
        let shown = |held_back: &[Key]| -> Vec<String> {
            let shown = revisions(&record, held_back).into_iter();
            shown.map(|(state, release, revision)| format!("{state} {release} {revision}")).collect()
        };
        assert_eq!(shown(&[]), ["installed 3.8.0 new"]);
        let other = Key { release: "3.8.0".parse().unwrap(), id: "other".to_owned() };
        assert_eq!(shown(&[other]), ["installed 3.8.0 new", "refused 3.8.0 other"]);
    }
}
