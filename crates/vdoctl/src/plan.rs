//! What the next pass of the driver operators would change, object by object and field by field, with nothing written.
//!
//! [`read`] reads by GET what the operators watch, [`observe`] puts it together as they do, and their own `plan` decides.
//! [`stand_in`] takes the place of what the caller may not read or what is not made yet, [`decide`] turns a decision
//! into objects, [`fields`] compares each with what is there, and [`list`] draws it.
//!
//! **Invariant:** no value of a Secret gets into a report, and no name that follows from a key that is not the
//! operator's. What could not be read is said, and a plan without it says that it is a part.

pub mod decide;
pub mod fields;
pub mod list;
pub mod observe;
pub mod read;
pub mod stand_in;

use serde::Serialize;
use vdo_compat::Driver;
use vdo_plan::{Finding, ObjectRef, Verdict};

use crate::seen::Said;

/// The answer for programs, and what the list is drawn from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// Whether anything would be changed.
    pub changes: bool,
    /// Whether something that decides could not be read.
    pub partial: bool,
    /// The same in words.
    pub summary: String,
    /// The VDOConfig that counts, as `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vdo_config: Option<String>,
    /// The drivers that are wanted, installed, or on their way in or out.
    pub drivers: Vec<DriverPlan>,
    /// What could not be read, and is therefore not known.
    pub unread: Vec<Unread>,
}

impl PlanReport {
    /// Without a VDOConfig there is nothing to do.
    pub fn nothing(summary: String) -> PlanReport {
        PlanReport {
            changes: false,
            partial: false,
            summary,
            vdo_config: None,
            drivers: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Sums the drivers up.
    pub fn of(vdo_config: String, drivers: Vec<DriverPlan>, unread: Vec<Unread>) -> PlanReport {
        let objects = || drivers.iter().flat_map(|driver| &driver.objects);
        let count = |action: Action| objects().filter(|it| it.action == action).count();
        let said: Vec<String> = [
            (Action::Create, "to create"),
            (Action::Change, "to change"),
            (Action::Replace, "to replace"),
            (Action::Delete, "to delete"),
            (Action::Restart, "to restart"),
        ]
        .into_iter()
        .map(|(action, words)| (count(action), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
        let changes = objects().next().is_some();
        let partial = !unread.is_empty();
        let mut summary = match (changes, partial) {
            (true, _) => format!("Changes: {}", said.join(", ")),
            (false, true) => "Not known: nothing to change in what could be read".to_owned(),
            (false, false) => {
                let waits = drivers.iter().filter(|it| it.step == Step::Wait);
                match waits.map(|it| it.driver.name()).collect::<Vec<_>>().as_slice() {
                    [] => "Nothing to change".to_owned(),
                    [one] => format!("Nothing to change now: {one} waits"),
                    some => format!("Nothing to change now: {} wait", some.join(" and ")),
                }
            }
        };
        if changes && partial {
            summary.push_str("; this is a part, for not all of it could be read");
        }
        PlanReport { changes, partial, summary, vdo_config: Some(vdo_config), drivers, unread }
    }
}

/// What its operator would do for one driver.
#[derive(Clone, Debug, Serialize)]
pub struct DriverPlan {
    /// `CPI` or `CSI`.
    pub driver: Driver,
    /// What is done.
    pub step: Step,
    /// The release that is installed, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The release that the step leads to, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The step in words.
    pub summary: String,
    /// What the operator would say of it in its condition.
    pub condition: Said,
    /// Everything that it would find, whatever it does.
    pub findings: Vec<FindingPlan>,
    /// What is changed, in order.
    pub objects: Vec<ObjectPlan>,
}

/// What an operator does for its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Step {
    /// A first installation.
    Install,
    /// To a newer release.
    Upgrade,
    /// To an older release, as the user asked.
    Downgrade,
    /// A new configuration of the release that is there.
    Configure,
    /// Goes on with a roll-out that is under way.
    RollOut,
    /// Brings back what somebody changed or deleted.
    Repair,
    /// New contents for what is there, which the driver reads while it runs.
    Refresh,
    /// Back to what was there before a roll-out that did not work.
    RollBack,
    /// Brings back what a removal had taken already.
    Restore,
    /// Takes the driver off.
    Remove,
    /// Lets go of the VDOConfig.
    LetGo,
    /// Only writes down what is there.
    Record,
    /// Restarts pods whose tokens the API server refuses.
    Restart,
    /// Waits for something, and changes nothing.
    Wait,
    /// Nothing is to be done.
    Nothing,
    /// What decides could not be read.
    Unknown,
}

/// Something that a user should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingPlan {
    /// `Advise`, `Hold` or `HandsOff`.
    pub verdict: &'static str,
    /// The word for it.
    pub reason: &'static str,
    /// What it is, and what to do.
    pub message: String,
}

impl From<&Finding> for FindingPlan {
    fn from(finding: &Finding) -> FindingPlan {
        FindingPlan {
            verdict: match finding.verdict {
                Verdict::Advise => "Advise",
                Verdict::Hold => "Hold",
                Verdict::HandsOff => "HandsOff",
            },
            reason: finding.reason.name,
            message: finding.message.clone(),
        }
    }
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// It is not there yet.
    Create,
    /// It is there, and gets other fields.
    Change,
    /// It takes the place of one under another name, which cannot be changed and is deleted.
    Replace,
    /// It goes.
    Delete,
    /// It is deleted, and its controller makes it anew.
    Restart,
}

/// One object that is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObjectPlan {
    /// What is done to it.
    pub action: Action,
    /// Which one.
    pub object: ObjectRef,
    /// The name of the one that it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The stage of the roll-out in which it is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Its fields.
    pub fields: Vec<FieldPlan>,
}

impl ObjectPlan {
    /// Whether it only gets the mark of another revision.
    pub fn is_only_marked(&self) -> bool {
        self.action == Action::Change && !self.fields.is_empty() && self.fields.iter().all(FieldPlan::is_mark)
    }
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldPlan {
    /// Where, as in `spec.template.spec.containers[manager].image`.
    pub path: String,
    /// What is there; nothing if the field is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What will be there; nothing if the field goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who else has the field now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

impl FieldPlan {
    /// From nothing, or to nothing, or both ways.
    pub fn new(path: impl Into<String>, from: Option<String>, to: Option<String>) -> FieldPlan {
        FieldPlan { path: path.into(), from, to, manager: None }
    }

    /// Whether it is the mark of a revision, which every object bears.
    pub fn is_mark(&self) -> bool {
        self.path == format!("metadata.annotations[{}]", vdo_api::names::REVISION_ANNOTATION)
    }
}

/// Something that the caller may not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The verb that a role would have to grant.
    pub verb: &'static str,
    /// The resource.
    pub resource: String,
    /// The namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the plan takes for granted instead.
    pub assumed: &'static str,
    /// What the API server said.
    pub why: String,
}
