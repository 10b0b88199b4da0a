//! The order protocol: CPI first, then CSI; CSI away before CPI.
//!
//! vdo-core publishes *gates* (which release, and whether a change to it may start), each driver operator *claims* by a
//! status write that only a fresh snapshot can make, and both run the same *guard* on that snapshot. Everything here is a
//! pure function of one [`View`] (the VDOConfig as read live) and one [`Seen`] (what the operator saw of its own objects).
//! Start reading at [`decide`], then [`may_roll`] and [`may_remove`].
//!
//! The types are generic over the release `V` and the revision id `R`, so that the model checker in `hack/order-model`
//! explores these very functions with two-bit releases while the operators use versions and digests.
//!
//! How an operator runs a [`Decision`]:
//! 1. make the [`Act`]s of its step in their order, and stop at the first that fails;
//! 2. report: one status write that carries [`Decision::record`], or [`Decision::otherwise`] if an act failed.
//!
//! Every write to the VDOConfig (the finalizer acts, the report) carries the resourceVersion of the live read the pass
//! began with, or that of its own earlier write in the same pass; every journal act is a compare-and-swap. On a conflict
//! the pass ends and the next one reads anew.
//!
//! **Invariant:** nothing here reads a clock, waits, or knows what a driver consists of; no decision depends on anything
//! but its arguments.
#![deny(missing_docs, clippy::wildcard_enum_match_arm)]

use serde::{Deserialize, Serialize};

mod gate;
mod guard;
mod record;
mod step;
#[cfg(test)]
mod tests;

pub use gate::{Choice, Contender, Published, Surroundings, active, chosen, gates};
pub use guard::{cpi_settled, may_remove, may_roll};
pub use record::journal_keeps;
pub use step::{decide, fallback_release, held_back, wanted_release};
pub use vdo_compat::Driver;

/// One value for each driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PerDriver<T> {
    /// The value for CPI.
    pub cpi: T,
    /// The value for CSI.
    pub csi: T,
}

impl<T> PerDriver<T> {
    /// The value for `driver`.
    pub fn of(&self, driver: Driver) -> &T {
        match driver {
            Driver::Cpi => &self.cpi,
            Driver::Csi => &self.csi,
        }
    }

    /// The value for `driver`, to be changed.
    pub fn of_mut(&mut self, driver: Driver) -> &mut T {
        match driver {
            Driver::Cpi => &mut self.cpi,
            Driver::Csi => &mut self.csi,
        }
    }
}

/// A revision by name: the release, and the id of everything rendered for it (the configuration included).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Key<V, R> {
    /// The driver release.
    pub release: V,
    /// The id of the rendered content; two ids of one release differ in configuration or in rendering.
    pub id: R,
}

/// What an attempt is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verb {
    /// Applying a revision, over nothing or over the installed one.
    Roll,
    /// Taking the driver off the cluster.
    Remove,
}

/// A claim that stands in status: objects are written only for what is claimed or installed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Attempt<V, R> {
    /// Roll or Remove.
    pub verb: Verb,
    /// The revision being rolled out; none for a removal.
    pub target: Option<Key<V, R>>,
    /// Whether the deadline that the claim persisted has passed. The caller compares it with its clock: a deadline kept
    /// in memory would start anew with each crash.
    pub expired: bool,
}

/// A revision that was rolled back, and the generation in which that happened.
///
/// It binds for that revision in that generation only: an edit of the VDOConfig is the user's way to ask for a new try.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Refusal<V, R> {
    /// What was rolled back.
    pub key: Key<V, R>,
    /// The VDOConfig's generation at that time.
    pub generation: i64,
}

/// What a driver operator keeps in status, as far as the order is concerned.
///
/// A change of release and a new configuration of the installed release are refused independently: with one slot the two
/// would overwrite each other and be tried in turns for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record<V, R> {
    /// Fully applied and healthy once; survives holds, failures and attempts.
    pub installed: Option<Key<V, R>>,
    /// The claim; absent when idle.
    pub attempt: Option<Attempt<V, R>>,
    /// A release that was rolled back.
    pub refused_release: Option<Refusal<V, R>>,
    /// A new configuration of the installed release that was rolled back.
    pub refused_configuration: Option<Refusal<V, R>>,
    /// Whether the driver's condition (`CPIReady`, `CSIReady`) is True.
    pub ready: bool,
    /// The generation that condition speaks for: its `observedGeneration`.
    pub ready_generation: i64,
}

/// vdo-core's word on one driver.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gate<V> {
    /// The release it chose.
    pub release: V,
    /// Whether the user named this release; only then may it be lower than what is installed.
    pub pinned: bool,
    /// Whether a change to this release may start. A verdict that does not decode counts as closed.
    pub open: bool,
}

/// vdo-core's choice and permission, one atomic value in status.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gates<V> {
    /// The generation of the VDOConfig they were made for; of another generation they admit nothing.
    pub generation: i64,
    /// The gate of CPI; none when CPI is not desired or no release fits.
    pub cpi: Option<Gate<V>>,
    /// The gate of CSI; none when CSI is not desired or no release fits.
    pub csi: Option<Gate<V>>,
}

impl<V> Gates<V> {
    /// The gate of `driver`.
    pub fn of(&self, driver: Driver) -> Option<&Gate<V>> {
        match driver {
            Driver::Cpi => self.cpi.as_ref(),
            Driver::Csi => self.csi.as_ref(),
        }
    }
}

/// What deletion of the VDOConfig does to the drivers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum DeletionPolicy {
    /// Removes them.
    #[default]
    Remove,
    /// Leaves them where they are and lets go.
    Orphan,
}

/// The active VDOConfig as one live read shows it.
///
/// All that can invalidate a guard is in this one object, so a claim that carries its resourceVersion and succeeds was
/// right when it was made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct View<V, R> {
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether a deletion timestamp is set.
    pub deleting: bool,
    /// `spec.deletionPolicy`; may be edited while deleting.
    pub policy: DeletionPolicy,
    /// Which drivers the spec asks for.
    pub wants: PerDriver<bool>,
    /// Which of our finalizers are set.
    pub finalizer: PerDriver<bool>,
    /// `status.gates`, if vdo-core ever wrote them.
    pub gates: Option<Gates<V>>,
    /// `status.cpi` and `status.csi` with their conditions.
    pub records: PerDriver<Record<V, R>>,
}

/// How far the objects of one revision are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Progress {
    /// Could not be read: nothing is concluded from it.
    Unreadable,
    /// An object that may be applied now is absent, bears another revision id or lost a field we own.
    Missing,
    /// All that may be applied now is applied; a later stage waits, or the workload is not healthy yet.
    Applied,
    /// Every stage is applied, and the workload works in this very revision.
    Healthy,
}

/// What a listing of our own driver's objects by label shows, whatever the journal says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Objects {
    /// Could not be listed: nothing is concluded from it.
    Unreadable,
    /// Nothing of ours is there.
    Nothing,
    /// Something is there, but no workload.
    Leftovers,
    /// A workload of ours is there.
    Workload,
}

/// Whether something is there that holds a removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Look {
    /// Could not be read; holds as if something were there.
    Unreadable,
    /// Looked, and nothing is there.
    Nothing,
    /// Something is there.
    Something,
}

/// What a driver operator saw in the pass that decides.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seen<V, R> {
    /// Nothing but status may be written: the process is in quarantine, the user paused, or somebody else's installation
    /// was found.
    pub quiet: bool,
    /// Our objects, listed by label.
    pub objects: Objects,
    /// How far the record's `installed` is, or the journal's while the record names none.
    pub installed: Progress,
    /// How far the target of the record's attempt is.
    pub attempted: Progress,
    /// For CPI, a second look beside status and finalizer: objects of CSI that bear our label. A deletion with the policy
    /// Orphan leaves some.
    pub others: Look,
    /// For CSI, volumes of the driver, listed live in this pass: no write to the VDOConfig tells of a new one.
    pub volumes: Look,
    /// The installed revision the journal names.
    pub journal_installed: Option<Key<V, R>>,
    /// Whether the journal names anything at all.
    pub journal_empty: bool,
}

/// The revisions rendered for this pass, for the releases that [`wanted_release`] and [`fallback_release`] name.
///
/// `None` for a named release says that its inputs do not resolve: a vCenter is not verified, a Secret is missing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Candidates<V, R> {
    /// The current configuration for the release of the gate.
    pub wanted: Option<Key<V, R>>,
    /// The current configuration for the release that is there already.
    pub fallback: Option<Key<V, R>>,
}

/// Why objects are applied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Why {
    /// They are the attempt.
    Roll,
    /// They are installed, and one is missing or drifted.
    Repair,
    /// They are installed, and the attempt over them failed.
    Back,
    /// They are installed, and a removal was turned back by a volume.
    Restore,
}

/// What one pass does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step<V, R> {
    /// Writes no object; reports.
    Nothing,
    /// Puts a finalizer back that somebody took while there is something to guard.
    PutBackFinalizer,
    /// Takes the lost `installed` from the journal.
    Rebuild,
    /// Claims a roll-out or a removal; objects follow in the next pass, which sees its own claim.
    Claim {
        /// Roll or Remove.
        verb: Verb,
        /// The revision to roll out; none for a removal.
        target: Option<Key<V, R>>,
        /// Whether the finalizer has to be set first.
        take_finalizer: bool,
    },
    /// Applies the objects of a revision from the journal.
    Apply {
        /// The revision.
        key: Key<V, R>,
        /// Why it is applied.
        why: Why,
    },
    /// The attempt is healthy: what is left of others is pruned and the attempt becomes `installed`.
    Install {
        /// The attempt's revision.
        key: Key<V, R>,
    },
    /// The attempt failed and the installed revision is back: the attempt becomes `refused`.
    Refuse {
        /// The installed revision.
        back_to: Key<V, R>,
    },
    /// The removal was turned back and the installed revision is whole again: the attempt ends.
    Restored,
    /// Deletes our objects, the workload first.
    Delete,
    /// Nothing is left: looks once more and records it.
    Removed {
        /// Whether the journal still names something.
        clear_journal: bool,
    },
    /// Lets go of the VDOConfig.
    Release {
        /// Whether the journal still names something that is gone.
        clear_journal: bool,
    },
}

/// One write, or one batch of writes, of a [`Step`]; a process may die between any two of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Act<V, R> {
    /// Sets our finalizer on the VDOConfig.
    TakeFinalizer,
    /// Writes the journal: the bytes of `target` are added, and what [`journal_keeps`] does not keep is forgotten.
    WriteJournal {
        /// The revision about to be claimed; none for a removal.
        target: Option<Key<V, R>>,
    },
    /// Applies the open stages of a revision, in their order, from the journal's bytes.
    ApplyObjects {
        /// The revision.
        key: Key<V, R>,
    },
    /// Deletes the objects that the journal knows of other revisions and that no stage of `keep` has, open or not.
    PruneObjects {
        /// The revision that stays.
        keep: Key<V, R>,
    },
    /// Names `installed` in the journal, and forgets nothing yet: until status names it too, the old one may be needed.
    SettleJournal {
        /// The revision that is installed from now on.
        installed: Key<V, R>,
    },
    /// Deletes all our objects that a listing by label finds, the workload first.
    DeleteObjects,
    /// Lists our objects by label, and for CSI the volumes, once more; finding any fails the pass.
    LookAgain,
    /// Empties the journal.
    ClearJournal,
    /// Takes our finalizer off. It is the acknowledgement that nothing of ours is left (or, with Orphan, that it is left).
    ReleaseFinalizer,
}

impl<V: Clone, R: Clone> Step<V, R> {
    /// The writes of this step, in the only safe order. The report follows them, except after a release.
    pub fn acts(&self) -> impl Iterator<Item = Act<V, R>> + use<V, R> {
        let acts: [Option<Act<V, R>>; 3] = match self {
            Step::Nothing | Step::Rebuild | Step::Restored => [None, None, None],
            Step::PutBackFinalizer => [Some(Act::TakeFinalizer), None, None],
            // The finalizer first: whoever sees it knows that objects may follow. The journal before the claim: whoever
            // takes over a claim finds the bytes to go on with, and the bytes to go back to.
            Step::Claim { target, take_finalizer, .. } => [
                take_finalizer.then_some(Act::TakeFinalizer),
                Some(Act::WriteJournal { target: target.clone() }),
                None,
            ],
            Step::Apply { key, .. } => [Some(Act::ApplyObjects { key: key.clone() }), None, None],
            // Pruned before the journal forgets, so that no object is ever unknown to it.
            Step::Install { key } | Step::Refuse { back_to: key } => [
                Some(Act::PruneObjects { keep: key.clone() }),
                Some(Act::SettleJournal { installed: key.clone() }),
                None,
            ],
            Step::Delete => [Some(Act::DeleteObjects), None, None],
            // The journal before status: a cleared journal beside a full status ends in this same step again, while a
            // cleared status beside a full journal would be rebuilt from it.
            Step::Removed { clear_journal } => {
                [Some(Act::LookAgain), clear_journal.then_some(Act::ClearJournal), None]
            }
            Step::Release { clear_journal } => {
                [clear_journal.then_some(Act::ClearJournal), Some(Act::ReleaseFinalizer), None]
            }
        };
        acts.into_iter().flatten()
    }

    /// Whether it brings back what somebody took of the installed revision.
    pub fn is_repair(&self) -> bool {
        matches!(self, Step::Apply { why: Why::Repair, .. })
    }

    /// Whether the pass ends with a report. After a release there may be no object left to report to.
    pub fn reports(&self) -> bool {
        match self {
            Step::Release { .. } => false,
            Step::Nothing
            | Step::PutBackFinalizer
            | Step::Rebuild
            | Step::Claim { .. }
            | Step::Apply { .. }
            | Step::Install { .. }
            | Step::Refuse { .. }
            | Step::Restored
            | Step::Delete
            | Step::Removed { .. } => true,
        }
    }
}

/// Why something the user asked for is not done now. The caller turns it into a condition with names and a next step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Held {
    /// vdo-core has not published gates for this generation yet.
    GatesOfAnotherGeneration,
    /// vdo-core chose no release: none fits.
    NoRelease,
    /// vdo-core chose another release than this one.
    NotChosen,
    /// The driver is on its way out: only a new configuration of what is installed is rolled out.
    Leaving,
    /// The gate is closed.
    GateClosed,
    /// The release is lower than the installed one and the user did not pin it.
    Downgrade,
    /// The release is lower than the one being attempted, and the user did not pin it.
    BelowAttempt,
    /// This revision was rolled back in this generation.
    Refused,
    /// The inputs of the wanted revision do not resolve.
    InputsUnresolved,
    /// CPI has an attempt.
    CpiRolling,
    /// CPI is desired and not installed yet.
    CpiNotInstalled,
    /// CPI is installed in another release than vdo-core chose.
    CpiOtherRelease,
    /// `CPIReady` is not True.
    CpiNotReady,
    /// `CPIReady` does not speak for this generation yet.
    CpiSilent,
    /// CPI is not desired any more and not gone yet.
    CpiStillThere,
    /// The chosen CSI release needs a CPI, and the spec asks for none.
    NeedsCpi,
    /// A node waits for a cloud provider, and the spec asks for none.
    NodesWaitForCpi,
    /// CSI is installed, attempted or has not acknowledged its removal.
    CsiStillThere,
    /// Objects of CSI with our label exist although status and finalizer say otherwise.
    CsiObjectsSeen,
    /// Whether objects of CSI exist could not be read.
    CsiObjectsUnreadable,
    /// Volumes of the driver exist.
    Volumes,
    /// Whether volumes of the driver exist could not be read.
    VolumesUnreadable,
    /// Our own objects could not be read.
    ObjectsUnreadable,
    /// Nothing but status may be written now.
    Quiet,
}

impl Held {
    /// Every one of them, in order; the last stays the last.
    pub const ALL: [Held; Held::Quiet as usize + 1] = [
        Held::GatesOfAnotherGeneration,
        Held::NoRelease,
        Held::NotChosen,
        Held::Leaving,
        Held::GateClosed,
        Held::Downgrade,
        Held::BelowAttempt,
        Held::Refused,
        Held::InputsUnresolved,
        Held::CpiRolling,
        Held::CpiNotInstalled,
        Held::CpiOtherRelease,
        Held::CpiNotReady,
        Held::CpiSilent,
        Held::CpiStillThere,
        Held::NeedsCpi,
        Held::NodesWaitForCpi,
        Held::CsiStillThere,
        Held::CsiObjectsSeen,
        Held::CsiObjectsUnreadable,
        Held::Volumes,
        Held::VolumesUnreadable,
        Held::ObjectsUnreadable,
        Held::Quiet,
    ];

    /// Whether it comes from a live look at what nothing watches, so that nobody is woken when it ends.
    pub fn is_looked_for(self) -> bool {
        match self {
            Held::Volumes | Held::VolumesUnreadable | Held::CsiObjectsSeen | Held::CsiObjectsUnreadable => {
                true
            }
            Held::GatesOfAnotherGeneration
            | Held::NoRelease
            | Held::NotChosen
            | Held::Leaving
            | Held::GateClosed
            | Held::Downgrade
            | Held::BelowAttempt
            | Held::Refused
            | Held::InputsUnresolved
            | Held::CpiRolling
            | Held::CpiNotInstalled
            | Held::CpiOtherRelease
            | Held::CpiNotReady
            | Held::CpiSilent
            | Held::CpiStillThere
            | Held::NeedsCpi
            | Held::NodesWaitForCpi
            | Held::CsiStillThere
            | Held::ObjectsUnreadable
            | Held::Quiet => false,
        }
    }
}

/// What one pass of a driver operator does, and what it reports.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision<V, R> {
    /// What to do.
    pub step: Step<V, R>,
    /// The record to report once every act has succeeded; equal to the one read when there is nothing to say.
    pub record: Record<V, R>,
    /// The record to report if an act failed: as it was read, but with what was seen of the driver's health, so that a
    /// write that fails for ever does not keep a dead driver's condition True.
    pub otherwise: Record<V, R>,
    /// Why what the user asked for is not done now.
    pub held: Option<Held>,
}
