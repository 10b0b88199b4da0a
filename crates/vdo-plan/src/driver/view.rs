//! From a stored VDOConfig to what the order protocol reasons about.

use k8s_openapi::jiff::Timestamp;
use vdo_api::condition;
use vdo_api::names::{CPI_FINALIZER, CSI_FINALIZER, RETRY_ROLLOUT_ANNOTATION};
use vdo_api::status::{
    ChosenBy, DriverRecord, Gate as StoredGate, GateVerdict, RefusedKind, Verb as StoredVerb,
};
use vdo_api::vdoconfig::DeletionPolicy as StoredPolicy;
use vdo_api::{Truth, VDOConfig};
use vdo_compat::{Driver, Release};

use crate::order::{Attempt, DeletionPolicy, Gate, Gates, PerDriver, Record, Refusal, Verb, View};
use crate::revision::Key;

/// The condition that says whether a driver works.
pub fn ready_condition(driver: Driver) -> &'static str {
    match driver {
        Driver::Cpi => "CPIReady",
        Driver::Csi => "CSIReady",
    }
}

/// The VDOConfig as the order protocol sees it. What does not parse counts as not there: a lost `installed` is
/// rebuilt from the journal, a lost gate is closed.
pub fn view(config: &VDOConfig, now: Timestamp) -> View<Release, String> {
    let meta = &config.metadata;
    let finalizer = |name: &str| meta.finalizers.iter().flatten().any(|f| f == name);
    let status = config.status.as_ref();
    View {
        generation: meta.generation.unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        policy: match config.spec.deletion_policy {
            StoredPolicy::Remove => DeletionPolicy::Remove,
            StoredPolicy::Orphan => DeletionPolicy::Orphan,
        },
        wants: PerDriver { cpi: config.spec.wants_cpi(), csi: config.spec.wants_csi() },
        finalizer: PerDriver { cpi: finalizer(CPI_FINALIZER), csi: finalizer(CSI_FINALIZER) },
        gates: status.and_then(|s| s.gates.as_ref()).map(|gates| Gates {
            generation: gates.generation,
            cpi: gates.cpi.as_ref().and_then(gate),
            csi: gates.csi.as_ref().and_then(gate),
        }),
        records: records(config, now),
    }
}

/// What both drivers have on record.
pub fn records(config: &VDOConfig, now: Timestamp) -> PerDriver<Record<Release, String>> {
    let status = config.status.as_ref();
    let conditions = status.map(|s| s.conditions.as_slice()).unwrap_or_default();
    let of = |driver: Driver, stored: Option<&DriverRecord>| {
        let condition = condition::find(conditions, ready_condition(driver));
        let stored = stored.cloned().unwrap_or_default();
        Record {
            ready: condition.is_some_and(|c| c.status == Truth::True),
            ready_generation: condition.map_or(0, |c| c.observed_generation),
            ..record(&stored, retry(config).as_ref(), now)
        }
    };
    PerDriver {
        cpi: of(Driver::Cpi, status.and_then(|s| s.cpi.as_ref()).map(|cpi| &cpi.record)),
        csi: of(Driver::Csi, status.and_then(|s| s.csi.as_ref()).map(|csi| &csi.record)),
    }
}

/// The value of the annotation that asks for a new try of what was rolled back.
pub(super) fn retry(config: &VDOConfig) -> Option<String> {
    let annotations = config.metadata.annotations.as_ref()?;
    annotations.get(RETRY_ROLLOUT_ANNOTATION).map(|value| condition::clip(value, 256))
}

fn gate(stored: &StoredGate) -> Option<Gate<Release>> {
    Some(Gate {
        release: stored.release.as_ref()?.parse().ok()?,
        pinned: stored.chosen_by == ChosenBy::Pin,
        open: stored.verdict == GateVerdict::Open,
    })
}

fn key(release: &str, id: &str) -> Option<Key> {
    Some(Key { release: release.parse().ok()?, id: id.to_owned() })
}

fn record(stored: &DriverRecord, retry: Option<&String>, now: Timestamp) -> Record<Release, String> {
    let refusal = |kind: RefusedKind| {
        let refused = stored.refused.iter().find(|refused| refused.kind == kind)?;
        // A new value of the annotation is a new try, as an edit of the spec is.
        if refused.retry.as_ref() != retry {
            return None;
        }
        Some(Refusal { key: key(&refused.release, &refused.revision)?, generation: refused.generation })
    };
    Record {
        installed: stored.installed.as_ref().and_then(|i| key(&i.release, &i.revision)),
        attempt: stored.attempt.as_ref().map(|attempt| Attempt {
            verb: match attempt.verb {
                StoredVerb::Roll => Verb::Roll,
                StoredVerb::Remove => Verb::Remove,
            },
            target: match (&attempt.release, &attempt.revision) {
                (Some(release), Some(revision)) => key(release, revision),
                (_, _) => None,
            },
            expired: attempt.deadline.0 <= now,
        }),
        refused_release: refusal(RefusedKind::Release),
        refused_configuration: refusal(RefusedKind::Configuration),
        ..Record::default()
    }
}
