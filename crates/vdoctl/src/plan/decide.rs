//! From the decision of an operator to the objects that it would write, each with its fields.

use anyhow::Result;
use vdo_api::names::{self, CPI_FINALIZER, CSI_FINALIZER};
use vdo_compat::{Driver, Release};
use vdo_plan::driver::{Deed, Plan, Rendered, Row, Scene, orphans, reasons, teardown};
use vdo_plan::order::{Attempt, DeletionPolicy, Held, Record, Step as Decided, Verb, Why};
use vdo_plan::revision::{Key, slug};
use vdo_plan::vcenter::reasons::CA_MISSING;
use vdo_plan::{Object, ObjectRef, Revision, Verdict};
use vdo_runtime::apply::fetch;

use super::fields::{self, CHANGED};
use super::observe::{Decides, Kept, Sight};
use super::read::{Own, Reader, Right};
use super::stand_in::{self, DERIVED};
use super::{Action, DriverPlan, FieldPlan, FindingPlan, ObjectPlan, Step, Unread};
use crate::seen::Said;

/// Another key, to tell what follows from one.
const OTHER_KEY: [u8; 32] = [0x5a; 32];

/// What the operator would do.
pub async fn decide<O: Decides>(mut sight: Sight<O>, reader: &Reader<'_>) -> Result<DriverPlan> {
    let mut rendered = sight.observed.render();
    let mut shown = rendered.clone();
    let mut adopted = None;
    if sight.kept != Kept::Read {
        let mut other = sight.observed.clone();
        other.as_mut().journal.hmac_key = OTHER_KEY.to_vec();
        let twin = other.render();
        shown = veiled(&rendered, &twin, &sight.own);
        if sight.kept == Kept::Unread {
            adopted = adopt(&mut sight, &mut rendered, &mut shown, &twin);
        }
    }
    assume_hidden(&mut sight);
    let releases = sight.observed.as_ref().releases();
    let whole = releases.wanted.is_some() == rendered.wanted.is_some()
        && releases.fallback.is_some() == rendered.fallback.is_some();
    // Rendered anew it would have names of the wrong key, and count as another configuration.
    let plan = if sight.kept == Kept::Unread && whole {
        sight.observed.plan_on(&rendered)
    } else {
        sight.observed.plan()
    };
    let work = Work { sight: &sight, plan: &plan, rendered: &rendered, shown: &shown, reader };
    let mut objects = work.bookkeeping();
    objects.extend(work.objects().await?);
    let mut step = work.step(&objects);
    if let Some(revision) = adopted.filter(|_| step == Step::Nothing || step == Step::Wait) {
        // Without the journal nobody can tell drift from a wish of the user.
        objects.extend(work.rolled(&revision).await?);
        if !objects.is_empty() {
            step = Step::Unknown;
        }
    }
    if step == Step::Wait && is_blind(&plan, &reader.unread()) {
        step = Step::Unknown;
    }
    Ok(work.report(step, objects))
}

/// Renderings without what follows from their key.
fn veiled(rendered: &Rendered, twin: &Rendered, own: &Own) -> Rendered {
    let veil = |one: &Option<Revision>, twin: &Option<Revision>| match (one, twin) {
        (Some(one), Some(twin)) => Some(stand_in::veiled(one, twin, own)),
        (one, _) => one.clone(),
    };
    Rendered {
        wanted: veil(&rendered.wanted, &twin.wanted),
        fallback: veil(&rendered.fallback, &twin.fallback),
    }
}

/// Puts the rendering of what is installed, or under way, into the place of the bytes that the journal has for it.
fn adopt<O: Decides>(
    sight: &mut Sight<O>,
    rendered: &mut Rendered,
    shown: &mut Rendered,
    twin: &Rendered,
) -> Option<Revision> {
    let record = record_of(sight.observed.as_ref());
    let mut last: Option<Revision> = None;
    for key in [record.rolling().cloned(), record.installed.clone()].into_iter().flatten() {
        // One rendering cannot stand in for two configurations of a release.
        if last.as_ref().is_some_and(|it| it.key.release == key.release) {
            continue;
        }
        let blind = sight.credentials_unread;
        let is_known = |object: &Object| !(blind && object.reference().kind == "Secret");
        let Some((one, twin)) = stand_in::of_release(&key, rendered, twin) else { continue };
        let Some(mine) = stand_in::adopted(one, twin, &key, &sight.own, is_known) else { continue };
        *one = mine.clone();
        let slots = [&mut shown.wanted, &mut shown.fallback].into_iter().flatten();
        slots.filter(|it| it.key.release == key.release).for_each(|it| *it = mine.clone());
        sight.observed.as_mut().journal.remember(&mine);
        last = Some(mine);
    }
    sight.observed.as_mut().journal.installed = record.installed;
    last
}

/// Objects of kinds that may not be listed are taken to be there.
fn assume_hidden<O: Decides>(sight: &mut Sight<O>) {
    if !sight.own.hides() {
        return;
    }
    let scene = sight.observed.as_mut();
    let record = record_of(scene);
    let key = record.installed.as_ref().or(record.rolling());
    let Some(revision) = key.and_then(|key| scene.journal.revision(&key.id)) else { return };
    let assumed = revision.objects().map(Object::reference).map(|reference| {
        let row = Row {
            uid: String::new(),
            revision: Some(revision.key.id.clone()),
            owned_fields: scene.journal.owned_fields.get(&reference.to_string()).cloned(),
        };
        (reference.clone(), row)
    });
    let assumed: Vec<_> = assumed.filter(|(it, _)| sight.own.is_hidden(&it.kind)).collect();
    sight.own.rows.extend(assumed);
    scene.rows = vdo_plan::Reading::Present(sight.own.rows.clone());
}

fn record_of(scene: &Scene) -> Record<Release, String> {
    scene.view().records.of(scene.driver).clone()
}

/// Whether the operator is held by something that only the caller may not read.
fn is_blind(plan: &Plan, unread: &[Unread]) -> bool {
    let unreadable = [Held::VolumesUnreadable, Held::ObjectsUnreadable, Held::CsiObjectsUnreadable];
    let of_rights = |message: &str| unread.iter().any(|it| message.contains(&it.why));
    let of_authority = unread.iter().any(|it| it.resource == "configmaps");
    !unread.is_empty()
        && (plan.decision.held.is_some_and(|held| unreadable.contains(&held))
            || plan
                .findings
                .iter()
                .any(|it| of_rights(&it.message) || (of_authority && it.reason == &CA_MISSING)))
}

/// One decision, and what it was made on.
struct Work<'a, O> {
    sight: &'a Sight<O>,
    plan: &'a Plan,
    rendered: &'a Rendered,
    shown: &'a Rendered,
    reader: &'a Reader<'a>,
}

impl<O: Decides> Work<'_, O> {
    fn scene(&self) -> &Scene {
        self.sight.observed.as_ref()
    }

    /// The revision of this key, as it may be shown.
    fn revision(&self, key: &Key) -> Option<&Revision> {
        let slots =
            [(&self.rendered.wanted, &self.shown.wanted), (&self.rendered.fallback, &self.shown.fallback)];
        let fresh = slots.into_iter().find(|(one, _)| one.as_ref().is_some_and(|it| it.key == *key));
        match fresh {
            Some((_, shown)) => shown.as_ref(),
            None => self.scene().journal.revision(&key.id),
        }
    }

    /// The revision that the whole step leads to, if it is a roll-out of some kind.
    fn target(&self) -> Option<&Revision> {
        let key = match &self.plan.decision.step {
            Decided::Claim { verb: Verb::Roll, target, .. } => target.as_ref(),
            Decided::Apply { key, why: Why::Roll | Why::Back | Why::Restore } | Decided::Install { key } => {
                Some(key)
            }
            Decided::Refuse { back_to } => Some(back_to),
            Decided::Nothing if self.is_rolling() => self.plan.decision.record.rolling(),
            _ => None,
        };
        self.revision(key?)
    }

    /// Whether a roll-out is under way that only waits for something to work.
    fn is_rolling(&self) -> bool {
        self.plan.decision.record.rolling().is_some() && self.plan.decision.held != Some(Held::Quiet)
    }

    /// What is written beside the driver's objects.
    fn bookkeeping(&self) -> Vec<ObjectPlan> {
        let mut objects = Vec::new();
        let config = self.config_fields();
        if !config.is_empty() {
            let name = self.scene().config.metadata.name.clone().unwrap_or_default();
            let version = format!("{}/{}", names::GROUP, names::VERSION);
            objects.push(self.beside(Action::Change, &version, "VDOConfig", &name, config));
        }
        if self.plan.deeds.iter().any(|deed| matches!(deed, Deed::WriteJournal(_))) {
            let action = if self.sight.kept == Kept::NotMade { Action::Create } else { Action::Change };
            let field = FieldPlan::new("data.journal", None, Some(CHANGED.to_owned()));
            let name = names::journal(slug(self.scene().driver));
            objects.push(self.beside(action, "v1", "Secret", &name, vec![field]));
        }
        if let Some((id, from_secret)) = self.sight.observed.cluster_id(self.plan) {
            let shown = if from_secret { CHANGED.to_owned() } else { id };
            let path = format!("data.{}", csi_operator::observe::CLUSTER_ID_KEY);
            let field = FieldPlan::new(path, None, Some(shown));
            objects.push(self.beside(
                Action::Create,
                "v1",
                "ConfigMap",
                names::CLUSTER_ID_CONFIG_MAP,
                vec![field],
            ));
        }
        objects
    }

    /// An object in the operators' namespace.
    fn beside(
        &self,
        action: Action,
        version: &str,
        kind: &str,
        name: &str,
        fields: Vec<FieldPlan>,
    ) -> ObjectPlan {
        let object = ObjectRef {
            api_version: version.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(self.reader.namespace.to_owned()),
            name: name.to_owned(),
        };
        ObjectPlan { action, object, replaces: None, stage: None, fields }
    }

    /// What changes in the VDOConfig, conditions apart.
    fn config_fields(&self) -> Vec<FieldPlan> {
        let driver = self.scene().driver;
        let finalizer = match driver {
            Driver::Cpi => CPI_FINALIZER,
            Driver::Csi => CSI_FINALIZER,
        };
        let mut fields = Vec::new();
        for deed in &self.plan.deeds {
            let finalizer = Some(finalizer.to_owned());
            match deed {
                Deed::TakeFinalizer => fields.push(FieldPlan::new("metadata.finalizers", None, finalizer)),
                Deed::ReleaseFinalizer => fields.push(FieldPlan::new("metadata.finalizers", finalizer, None)),
                Deed::WriteJournal(_) | Deed::Apply(_) | Deed::Prune(_) | Deed::LookAgain => {}
            }
        }
        if !self.plan.decision.step.reports() {
            return fields;
        }
        let (before, after) = (record_of(self.scene()), &self.plan.decision.record);
        let at = format!("status.{}", slug(driver));
        let mut compare = |part: &str, before: Option<String>, after: Option<String>| {
            if before != after {
                fields.push(FieldPlan::new(format!("{at}.{part}"), before, after));
            }
        };
        let release = |key: &Option<Key>| key.as_ref().map(|key| key.release.to_string());
        let attempt = |attempt: &Option<Attempt<Release, String>>| {
            let attempt = attempt.as_ref()?;
            Some(match (attempt.verb, &attempt.target) {
                (Verb::Roll, Some(key)) => format!("Roll {}", key.release),
                (Verb::Roll, None) => "Roll".to_owned(),
                (Verb::Remove, _) => "Remove".to_owned(),
            })
        };
        compare("installed.release", release(&before.installed), release(&after.installed));
        compare("attempt", attempt(&before.attempt), attempt(&after.attempt));
        fields
    }

    /// The driver's objects.
    async fn objects(&self) -> Result<Vec<ObjectPlan>> {
        if let Some(target) = self.target() {
            let mut objects = self.rolled(target).await?;
            objects.extend(orphans(self.scene(), target).iter().map(|it| deleted(&it.reference)));
            return Ok(self.paired(objects, target));
        }
        let mut objects = Vec::new();
        for deed in &self.plan.deeds {
            match deed {
                Deed::Apply(stages) => {
                    for object in stages.iter().flatten() {
                        objects.extend(self.applied(object, None, Touched::Always).await?);
                    }
                }
                Deed::Prune(prunes) => {
                    objects.extend(prunes.iter().map(|it| deleted(&it.reference)));
                }
                Deed::TakeFinalizer | Deed::WriteJournal(_) | Deed::LookAgain | Deed::ReleaseFinalizer => {}
            }
        }
        if let Decided::Claim { verb: Verb::Remove, .. } = &self.plan.decision.step {
            objects.extend(teardown(&self.sight.own.rows).iter().map(|it| deleted(&it.reference)));
        }
        objects.extend(self.plan.restarts.now.iter().map(|pod| ObjectPlan {
            action: Action::Restart,
            object: ObjectRef {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some(self.sight.owner.namespace.to_owned()),
                name: pod.name.to_string(),
            },
            replaces: None,
            stage: None,
            fields: Vec::new(),
        }));
        Ok(objects)
    }

    /// What differs from this revision, stage by stage.
    async fn rolled(&self, target: &Revision) -> Result<Vec<ObjectPlan>> {
        let mut objects = Vec::new();
        for stage in &target.stages {
            for object in &stage.objects {
                objects.extend(self.applied(object, Some(&stage.name), Touched::IfDifferent).await?);
            }
        }
        Ok(objects)
    }

    /// What an apply of this object changes.
    async fn applied(
        &self,
        object: &Object,
        stage: Option<&str>,
        touched: Touched,
    ) -> Result<Option<ObjectPlan>> {
        let (own, reference) = (&self.sight.own, object.reference());
        let planned = |action, fields| ObjectPlan {
            action,
            object: reference.clone(),
            replaces: None,
            stage: stage.map(str::to_owned),
            fields,
        };
        if own.is_hidden(&reference.kind) && record_of(self.scene()).occupied() {
            return Ok(None);
        }
        let Some(live) = self.live(reference).await? else {
            return Ok(Some(planned(Action::Create, fields::created(object))));
        };
        let mut fields = fields::compared(object, &live, self.sight.owner.manager);
        if self.sight.credentials_unread && reference.kind == "Secret" {
            fields.retain(|field| {
                field.to.as_deref() != Some(CHANGED) && field.from.as_deref() != Some(CHANGED)
            });
        }
        if self.sight.credentials_unread || own.is_hidden("Secret") {
            fields.retain(|field| !is_same_name(field));
        }
        let is_kept = touched == Touched::Always || !fields.is_empty();
        Ok(is_kept.then(|| planned(Action::Change, fields)))
    }

    /// The object as it is: listed with the others, or there without our label.
    async fn live(&self, reference: &ObjectRef) -> Result<Option<serde_json::Value>> {
        let own = &self.sight.own;
        if let Some(live) = own.live.get(reference) {
            return Ok(Some(live.clone()));
        }
        if reference.name.contains(DERIVED) || own.is_hidden(&reference.kind) || self.scene().is_first() {
            return Ok(None);
        }
        let resource = format!("{} {}", reference.kind, reference.name);
        let right = Right {
            verb: "get",
            resource: &resource,
            namespace: reference.namespace.as_deref(),
            assumed: "it is taken not to be there",
        };
        let found = self.reader.known(&right, fetch(self.reader.cluster, reference).await)?;
        Ok(found.present().cloned().flatten())
    }

    /// What cannot be changed and gets another name with another content is one change to a reader.
    fn paired(&self, mut objects: Vec<ObjectPlan>, target: &Revision) -> Vec<ObjectPlan> {
        let stem = |it: &ObjectRef| it.name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
        let mut at = 0;
        while at < objects.len() {
            let fresh = target.object(&objects[at].object);
            let is_sealed = fresh.is_some_and(|it| it.value()["immutable"] == true);
            let (action, object) = (objects[at].action, objects[at].object.clone());
            let is_before = |it: &ObjectPlan| {
                it.action == Action::Delete
                    && (&it.object.kind, &it.object.namespace) == (&object.kind, &object.namespace)
                    && stem(&it.object) == stem(&object)
            };
            let before = objects.iter().position(is_before);
            if let (Some(fresh), Action::Create, true, Some(before)) = (fresh, action, is_sealed, before) {
                let live = self.sight.own.live.get(&objects[before].object).cloned().unwrap_or_default();
                objects[at].action = Action::Replace;
                objects[at].replaces = Some(objects[before].object.name.clone());
                objects[at].fields = fields::replaced(&object, &live, fresh.value());
                objects.remove(before);
                if before < at {
                    continue;
                }
            }
            at += 1;
        }
        objects
    }

    /// The step in one word.
    fn step(&self, objects: &[ObjectPlan]) -> Step {
        let installed = record_of(self.scene()).installed.map(|key| key.release);
        let held = self.plan.findings.iter().any(|it| it.verdict >= Verdict::Hold);
        match &self.plan.decision.step {
            Decided::Claim { verb: Verb::Remove, .. } | Decided::Delete | Decided::Removed { .. } => {
                Step::Remove
            }
            Decided::Claim { target, .. } => match (installed, target.as_ref().map(|key| key.release)) {
                (None, _) => Step::Install,
                (Some(old), Some(new)) if old < new => Step::Upgrade,
                (Some(old), Some(new)) if old > new => Step::Downgrade,
                (Some(_), _) => Step::Configure,
            },
            Decided::Apply { why, .. } => match why {
                Why::Roll => Step::RollOut,
                Why::Repair => Step::Repair,
                Why::Back => Step::RollBack,
                Why::Restore => Step::Restore,
            },
            Decided::Install { .. } => Step::RollOut,
            Decided::Refuse { .. } => Step::RollBack,
            Decided::Restored => Step::Restore,
            Decided::Release { .. } => Step::LetGo,
            Decided::PutBackFinalizer | Decided::Rebuild => Step::Record,
            Decided::Nothing if self.target().is_some() => Step::RollOut,
            Decided::Nothing if objects.iter().any(|it| it.action == Action::Restart) => Step::Restart,
            Decided::Nothing if !objects.is_empty() => Step::Refresh,
            Decided::Nothing if held || self.plan.decision.record.attempt.is_some() => Step::Wait,
            Decided::Nothing => Step::Nothing,
        }
    }

    fn report(&self, step: Step, objects: Vec<ObjectPlan>) -> DriverPlan {
        let scene = self.scene();
        let record = record_of(scene);
        let from = record.installed.as_ref().map(|key| key.release.to_string());
        let there = self.plan.decision.record.rolling().or(self.plan.decision.record.installed.as_ref());
        let to = match step {
            Step::Remove | Step::LetGo | Step::Wait | Step::Nothing | Step::Unknown => None,
            _ => self.target().map(|it| it.key.release).or(there.map(|key| key.release)),
        };
        let to = to.map(|release| release.to_string());
        let said = self.plan.status(scene, true).ready;
        let condition = Said {
            type_: said.type_.clone(),
            status: said.status,
            reason: said.reason.clone(),
            message: said.message.clone(),
        };
        let mut findings: Vec<FindingPlan> = self.plan.findings.iter().map(FindingPlan::from).collect();
        findings.extend(self.fought_over().filter(|_| step == Step::Repair));
        let summary = self.words(step, from.as_deref(), to.as_deref(), &condition, &objects);
        DriverPlan { driver: scene.driver, step, from, to, summary, condition, findings, objects }
    }

    /// That somebody keeps changing an object only the operator remembers, and says.
    fn fought_over(&self) -> Option<FindingPlan> {
        let status = self.scene().config.status.as_ref()?;
        let said = status.conditions.iter().find(|it| it.reason == reasons::DRIFT_FIGHT.name)?;
        Some(FindingPlan {
            verdict: "Advise",
            reason: reasons::DRIFT_FIGHT.name,
            message: said.message.clone(),
        })
    }

    fn words(
        &self,
        step: Step,
        from: Option<&str>,
        to: Option<&str>,
        condition: &Said,
        objects: &[ObjectPlan],
    ) -> String {
        let (from, to) = (from.unwrap_or("what is there"), to.unwrap_or("what is installed"));
        let said = || format!("{} ({})", condition.message, condition.reason);
        let orphan = self.scene().view().policy == DeletionPolicy::Orphan;
        match step {
            Step::Install => format!("install {to}"),
            Step::Upgrade => format!("upgrade from {from} to {to}"),
            Step::Downgrade => format!("downgrade from {from} to {to}"),
            Step::Configure => format!("roll out a new configuration of {to}"),
            Step::RollOut => format!("go on with the roll-out of {to}: {}", condition.message),
            Step::Repair => format!("repair {to}"),
            Step::Refresh => format!("bring {to} up to date, without a roll-out"),
            Step::RollBack => format!("go back to {to}"),
            Step::Restore => format!("put {to} back"),
            Step::Remove => format!("remove {from}"),
            Step::LetGo if orphan => "let go of the VDOConfig; the driver stays as it is".to_owned(),
            Step::LetGo => "let go of the VDOConfig; nothing of the driver is left".to_owned(),
            Step::Record => "write down what is there".to_owned(),
            Step::Restart => {
                format!(
                    "restart {} pods, whose tokens are of an account that is gone",
                    self.plan.restarts.stale
                )
            }
            Step::Wait => format!("wait: {}", said()),
            Step::Nothing => format!("nothing to change: {}", condition.message),
            Step::Unknown if !objects.is_empty() => {
                "not known: without the journal a repair looks like a new configuration".to_owned()
            }
            Step::Unknown => "not known: what decides could not be read".to_owned(),
        }
    }
}

/// When an object that is applied is named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Touched {
    /// Whatever differs: its marks may be lost.
    Always,
    /// Only if a field does.
    IfDifferent,
}

fn deleted(reference: &ObjectRef) -> ObjectPlan {
    ObjectPlan {
        action: Action::Delete,
        object: reference.clone(),
        replaces: None,
        stage: None,
        fields: Vec::new(),
    }
}

/// Whether a derived name may well be the one that is there: that of a Secret whose content nobody could compare.
fn is_same_name(field: &FieldPlan) -> bool {
    let (Some(from), Some(to)) = (&field.from, &field.to) else { return false };
    let stem = to.strip_suffix(DERIVED).filter(|stem| !stem.is_empty());
    field.path.ends_with(".secretName") && stem.is_some_and(|stem| from.starts_with(stem))
}
