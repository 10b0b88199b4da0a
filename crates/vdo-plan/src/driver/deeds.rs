//! From the step of the order protocol to writes that an executor makes without knowing a driver.

use std::collections::BTreeSet;

use vdo_compat::Release;

use super::{Judge, Rendered, Row, Rows, Scene};
use crate::Reading;
use crate::journal::Journal;
use crate::object::{Object, ObjectRef};
use crate::order::{Act, Decision, Look, Progress, Record, journal_keeps};
use crate::revision::{Key, Revision};

/// One write, or one batch of writes that need no order among themselves beyond the one given.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Sets our finalizer on the VDOConfig.
    TakeFinalizer,
    /// Writes the journal by compare-and-swap.
    WriteJournal(Journal),
    /// Applies the objects of these stages, stage after stage.
    Apply(Vec<Vec<Object>>),
    /// Deletes objects, each only while it has this UID.
    Prune(Vec<Prune>),
    /// Lists our objects by label, and the volumes, once more and live; finding any fails the pass.
    LookAgain,
    /// Takes our finalizer off the VDOConfig.
    ReleaseFinalizer,
}

/// One object to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// Which one.
    pub reference: ObjectRef,
    /// The UID that was seen.
    pub uid: String,
}

/// The writes of this pass. `quiet` keeps even a refresh from being written.
pub(super) fn deeds(
    scene: &Scene,
    judge: &dyn Judge,
    decision: &Decision<Release, String>,
    rendered: &Rendered,
    record: &Record<Release, String>,
    quiet: bool,
) -> Vec<Deed> {
    let acts: Vec<Act<Release, String>> = decision.step.acts().collect();
    if acts.is_empty() && !quiet {
        return refresh(scene, judge, rendered, record);
    }
    let repair = decision.step.is_repair();
    acts.into_iter().filter_map(|act| deed(scene, judge, act, rendered, record, repair)).collect()
}

fn deed(
    scene: &Scene,
    judge: &dyn Judge,
    act: Act<Release, String>,
    rendered: &Rendered,
    record: &Record<Release, String>,
    repair: bool,
) -> Option<Deed> {
    Some(match act {
        Act::TakeFinalizer => Deed::TakeFinalizer,
        Act::WriteJournal { target } => {
            Deed::WriteJournal(before_claim(scene, record, rendered, target.as_ref()))
        }
        Act::ApplyObjects { key } => Deed::Apply(missing_stages(scene, judge, &key, repair)),
        Act::PruneObjects { keep } => {
            let orphans = orphans(scene, scene.journal.revision(&keep.id)?);
            if orphans.is_empty() {
                return None;
            }
            Deed::Prune(orphans)
        }
        Act::SettleJournal { installed } => {
            let mut journal = scene.journal.clone();
            journal.owned_fields = owned_fields(&scene.rows, &installed.id);
            journal.installed = Some(installed);
            if journal == scene.journal {
                return None;
            }
            Deed::WriteJournal(journal)
        }
        Act::DeleteObjects => Deed::Prune(teardown(scene.rows.present()?)),
        Act::LookAgain => Deed::LookAgain,
        Act::ClearJournal => {
            Deed::WriteJournal(Journal { hmac_key: scene.journal.hmac_key.clone(), ..Journal::default() })
        }
        Act::ReleaseFinalizer => Deed::ReleaseFinalizer,
    })
}

/// The journal with the bytes of the revision about to be claimed, less what nobody needs any more.
fn before_claim(
    scene: &Scene,
    record: &Record<Release, String>,
    rendered: &Rendered,
    target: Option<&Key>,
) -> Journal {
    let mut journal = scene.journal.clone();
    if target.is_some() {
        // Every object of another revision is applied as a whole, and so is every one that comes back.
        journal.unapplied.clear();
    }
    let left = |id: &String| match &scene.rows {
        Reading::Unreadable(_) => Look::Unreadable,
        Reading::Absent => Look::Nothing,
        Reading::Present(rows) if rows.values().any(|row| row.revision.as_ref() == Some(id)) => {
            Look::Something
        }
        Reading::Present(_) => Look::Nothing,
    };
    journal.known.retain(|id, _| journal_keeps(record, target, id, left(id)));
    let named = |id: &String| {
        let keys = [record.installed.as_ref(), record.rolling(), scene.journal.installed.as_ref(), target];
        keys.into_iter().flatten().any(|key| key.id == *id)
    };
    journal.revisions.retain(|id, _| named(id));
    let revision = [&rendered.wanted, &rendered.fallback]
        .into_iter()
        .flatten()
        .find(|revision| Some(&revision.key) == target);
    if let Some(revision) = revision {
        // A roll-out that fails goes back to these: with the password of today, for the old one may be gone.
        for kept in journal.revisions.values_mut().filter(|kept| kept.differs_in_credentials(revision)) {
            *kept = kept.refreshed(revision);
        }
        journal.remember(revision);
    }
    journal
}

/// The open stages of a revision, each with what is absent or not as it should be; a repair leaves what is fought over.
fn missing_stages(scene: &Scene, judge: &dyn Judge, key: &Key, repair: bool) -> Vec<Vec<Object>> {
    let empty = Rows::new();
    let rows = scene.rows.present().unwrap_or(&empty);
    let Some(revision) = scene.journal.revision(&key.id) else { return Vec::new() };
    let open = judge.open_stages(revision);
    let stages = revision.stages.iter().take(open);
    let missing = stages.map(|stage| {
        let objects = stage.objects.iter().filter(|object| scene.is_missing(rows, revision, object));
        let objects = objects.filter(|object| !(repair && scene.is_left(object.reference())));
        objects.cloned().collect::<Vec<_>>()
    });
    missing.filter(|objects| !objects.is_empty()).collect()
}

/// What the journal knows of other revisions and no stage of `kept` has, open or not: waiting for a stage makes
/// no orphan.
pub fn orphans(scene: &Scene, kept: &Revision) -> Vec<Prune> {
    let kept: BTreeSet<&ObjectRef> = kept.objects().map(Object::reference).collect();
    let Some(rows) = scene.rows.present() else { return Vec::new() };
    let known = scene.journal.objects();
    // What we applied and marked is ours, also where a journal was lost that knew of it.
    let is_ours = |reference: &ObjectRef, row: &Row| {
        known.contains(reference) || (row.revision.is_some() && row.owned_fields.is_some())
    };
    let orphans = rows.iter().filter(|(it, row)| is_ours(it, row) && !kept.contains(it));
    orphans.map(prune).collect()
}

/// Everything of ours, the workload first: pods must not outlive what they need.
pub fn teardown(rows: &Rows) -> Vec<Prune> {
    let is_workload = |reference: &ObjectRef| matches!(reference.kind.as_str(), "Deployment" | "DaemonSet");
    let (mut first, rest): (Vec<_>, Vec<_>) = rows.iter().partition(|(reference, _)| is_workload(reference));
    first.extend(rest);
    first.into_iter().map(prune).collect()
}

fn prune((reference, row): (&ObjectRef, &Row)) -> Prune {
    Prune { reference: reference.clone(), uid: row.uid.clone() }
}

/// Which fields of the installed revision's objects are ours. What that revision leaves behind is about to go, and is
/// seen by one pass and not by another.
fn owned_fields(rows: &Reading<Rows>, installed: &str) -> std::collections::BTreeMap<String, String> {
    let rows = rows.present().into_iter().flatten();
    let rows = rows.filter(|(_, row)| row.revision.as_deref() == Some(installed));
    rows.filter_map(|(reference, row)| Some((reference.to_string(), row.owned_fields.clone()?))).collect()
}

/// A new content for the revision that is there: credentials that the driver reads live, and replica counts. The
/// journal comes first, so that a repair never brings the old content back.
fn refresh(
    scene: &Scene,
    judge: &dyn Judge,
    rendered: &Rendered,
    record: &Record<Release, String>,
) -> Vec<Deed> {
    let there = record.rolling().or(record.installed.as_ref());
    let mut fresh = [&rendered.wanted, &rendered.fallback].into_iter().flatten();
    let Some(kept) = there.and_then(|key| scene.journal.revision(&key.id)) else {
        // The journal lost the bytes of what is there, and this is them: without them nothing goes on.
        let Some(lost) = fresh.find(|fresh| Some(&fresh.key) == there) else { return Vec::new() };
        let mut journal = scene.journal.clone();
        journal.remember(lost);
        return vec![Deed::WriteJournal(journal)];
    };
    let fresh = fresh
        .find(|fresh| kept.shares_contents_with(fresh))
        .map_or_else(|| kept.clone(), |fresh| kept.refreshed(fresh));
    let is_open = || scene.progress(there, judge, true) != Progress::Unreadable;
    if (*kept == fresh && scene.journal.unapplied.is_empty()) || !is_open() {
        return Vec::new();
    }
    let mut applied = scene.journal.clone();
    applied.remember(&fresh);
    let mut begun = applied.clone();
    begun.unapplied.extend(changed(kept, &fresh));
    applied.unapplied.clear();
    let again = unapplied(&fresh, &begun.unapplied, judge.open_stages(&fresh));
    let begin = (begun != scene.journal).then_some(Deed::WriteJournal(begun));
    // Without the last one, whoever comes after an answer that was lost would take the new bytes for applied.
    begin.into_iter().chain([Deed::Apply(again), Deed::WriteJournal(applied)]).collect()
}

fn changed(kept: &Revision, fresh: &Revision) -> Vec<ObjectRef> {
    let changed = fresh.objects().filter(|object| kept.object(object.reference()) != Some(object));
    changed.map(|object| object.reference().clone()).collect()
}

/// These objects of the open stages. Those of later stages are applied when their stage opens, as it is.
fn unapplied(fresh: &Revision, which: &BTreeSet<ObjectRef>, open: usize) -> Vec<Vec<Object>> {
    let stages = fresh.stages.iter().take(open);
    let stages = stages.map(|stage| {
        let objects = stage.objects.iter().filter(|object| which.contains(object.reference()));
        objects.cloned().collect::<Vec<_>>()
    });
    stages.filter(|objects| !objects.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_left_of_another_revision_is_not_remembered_as_one_of_the_installed() {
        let secret = |name: &str| ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Secret".to_owned(),
            namespace: Some("vmware-system-csi".to_owned()),
            name: name.to_owned(),
        };
        let row = |revision: &str| Row {
            uid: String::new(),
            revision: Some(revision.to_owned()),
            owned_fields: Some("fields".to_owned()),
        };
        let rows = Rows::from([(secret("config-1"), row("older")), (secret("config-2"), row("installed"))]);

        let kept = owned_fields(&Reading::Present(rows), "installed");

        assert_eq!(kept.keys().collect::<Vec<_>>(), [&secret("config-2").to_string()]);
    }
}
