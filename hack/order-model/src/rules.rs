//! What a run explores: a scenario, and the rules that a must-fail variant leaves out.

/// A rule that a variant leaves out, by doctoring what a shipped function is given or what the world does with its
/// answer. No test switch exists in the product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Rule {
    /// A report that claims carries the resourceVersion it was decided on.
    ClaimVersion,
    /// Gates carry the resourceVersion they were decided on.
    GateVersion,
    /// The operator runs the guard of CPI's state itself.
    Guard,
    /// vdo-core's gate for CSI also waits for CPI.
    GateWaitsForCpi,
    /// CPI's removal waits for CSI's status and finalizer.
    Acknowledgement,
    /// CPI's removal waits for CSI's finalizer and status, not for the finalizer alone.
    RecordBesideFinalizer,
    /// CPI's removal looks for CSI's objects too.
    SecondLook,
    /// A CSI that goes without CPI waits until CPI has acknowledged that it is gone.
    CpiGoneIsAcknowledged,
    /// After an unclean takeover nothing is written while a predecessor's request may be under way.
    Quarantine,
    /// One active process per driver.
    Lease,
    /// Objects are written from a fresh snapshot.
    FreshSnapshot,
    /// No release below `installed`, unless pinned.
    NoDowngrade,
    /// No release below an attempt, unless pinned.
    NoAttemptLowered,
    /// The journal keeps superseded attempts until their objects are pruned.
    JournalKeepsSuperseded,
    /// The journal keeps the old `installed` until status names the new one.
    JournalForgetsLate,
    /// The journal is written by compare-and-swap.
    JournalSwap,
    /// The journal is cleared at removal.
    JournalCleared,
    /// `CPIReady` carries a generation only when nothing is left to roll out.
    ReadySettled,
    /// Inputs that do not resolve leave the generation open.
    ReadyResolved,
    /// A new configuration is rolled out for the installed release while the wanted one is held.
    Fallback,
    /// A new configuration is rolled out while a removal is held.
    Rotation,
    /// vdo-core publishes gates for a deleting object too.
    GatesWhenDeleting,
    /// Lost status is rebuilt from the journal.
    Rebuild,
    /// Lost status is rebuilt only while a workload is there.
    RebuildSeen,
    /// Teardown lists by label, not by journal.
    ListByLabel,
    /// A finalizer with nothing left to guard is taken off.
    FinalizerTakenBack,
    /// A first install is never refused.
    FirstInstallKeepsTrying,
    /// A release and a configuration are refused apart.
    TwoRefusals,
    /// A refusal binds for its generation only.
    RefusalByGeneration,
    /// A removal is finished only when no volume is there.
    VolumesHold,
    /// What could not be read counts as there.
    UnreadableHolds,
    /// Objects carry their revision id, and another id is drift.
    RevisionMark,
}

/// How the search starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// A VDOConfig was just created.
    Fresh,
    /// Both drivers are installed in release 1.
    Installed,
}

/// What users and surroundings may do.
pub mod user {
    /// Edits the configuration.
    pub const EDIT: u32 = 1;
    /// Pins a release, or takes the pin away.
    pub const PIN: u32 = 2;
    /// Takes CPI out of the spec, or puts it back.
    pub const CPI: u32 = 4;
    /// The same for CSI.
    pub const CSI: u32 = 8;
    /// Deletes the VDOConfig.
    pub const DELETE: u32 = 16;
    /// Creates it again.
    pub const RECREATE: u32 = 32;
    /// The matrix gets another newest release.
    pub const MATRIX: u32 = 64;
    /// A password changes.
    pub const EXTERNAL: u32 = 128;
    /// A volume is made or deleted.
    pub const VOLUME: u32 = 256;
    /// Edits the deletion policy.
    pub const POLICY: u32 = 512;
    /// Strips a finalizer.
    pub const STRIP: u32 = 1024;
    /// The matrix fits no more.
    pub const NO_MATCH: u32 = 2048;
    /// The status subresource is emptied, as by a restore from a backup.
    pub const LOSE_STATUS: u32 = 4096;
}

/// What may go wrong.
pub mod fault {
    /// A process dies between two writes.
    pub const CRASH: u32 = 1;
    /// A process dies while its request is under way.
    pub const LATE: u32 = 2;
    /// A workload becomes unhealthy for a while.
    pub const DOWN: u32 = 4;
    /// A workload dies for good.
    pub const KILL: u32 = 8;
    /// Somebody deletes a workload.
    pub const DRIFT: u32 = 16;
    /// A deadline passes although the workload would get healthy.
    pub const DEADLINE: u32 = 32;
    /// Nothing but our own objects can be read for a while.
    pub const BLIND: u32 = 64;
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// How it starts.
    pub start: Start,
    /// How many user actions.
    pub users: u8,
    /// How many faults.
    pub faults: u8,
    /// Which user actions.
    pub user: u32,
    /// Which faults.
    pub fault: u32,
    /// Release 2 of the matrix also moves CPI.
    pub cpi_moves: bool,
    /// The CSI row needs a CPI.
    pub needs_cpi: bool,
    /// Revisions that never become healthy, as a set, for each driver.
    pub broken: [u8; 2],
    /// Whose reads come from the cache, in the variant without [`Rule::FreshSnapshot`].
    pub cached: usize,
    /// Violations that do not end a path.
    pub ignore: u16,
    without: u64,
}

/// The revisions of release 2.
pub const RELEASE_2: u8 = 0b1111_0000;
/// The revisions with the spec's other configuration.
pub const CONFIGURATION_1: u8 = 0b1100_1100;

impl Scenario {
    /// All user actions but stripping a finalizer, no match and lost status; all faults but a blindness.
    pub const fn new(start: Start, users: u8, faults: u8) -> Scenario {
        Scenario {
            start,
            users,
            faults,
            user: !(user::STRIP | user::NO_MATCH | user::LOSE_STATUS),
            fault: !fault::BLIND,
            cpi_moves: true,
            needs_cpi: true,
            broken: [0, 0],
            cached: super::world::CSI,
            ignore: 0,
            without: 0,
        }
    }
    /// Only these user actions.
    pub const fn user(self, user: u32) -> Scenario {
        Scenario { user, ..self }
    }
    /// Only these faults.
    pub const fn fault(self, fault: u32) -> Scenario {
        Scenario { fault, ..self }
    }
    /// With revisions that never become healthy.
    pub const fn broken(self, cpi: u8, csi: u8) -> Scenario {
        Scenario { broken: [cpi, csi], ..self }
    }
    /// With a CSI row that needs no CPI.
    pub const fn row_needs_no_cpi(self) -> Scenario {
        Scenario { needs_cpi: false, ..self }
    }
    /// With one CPI release only.
    pub const fn one_cpi_release(self) -> Scenario {
        Scenario { cpi_moves: false, ..self }
    }
    /// Leaves a rule out.
    pub const fn without(self, rule: Rule) -> Scenario {
        Scenario { without: self.without | 1 << rule as u8, ..self }
    }
    /// Goes on behind a violation.
    pub const fn ignoring(self, violation: u16) -> Scenario {
        Scenario { ignore: self.ignore | violation, ..self }
    }
    /// Whether the rule is kept.
    pub const fn keeps(&self, rule: Rule) -> bool {
        self.without & 1 << rule as u8 == 0
    }
}
