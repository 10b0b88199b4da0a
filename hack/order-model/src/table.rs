//! What is explored: scenarios that must hold, and variants that must fail.

use crate::judge::*;
use crate::rules::Start::{Fresh, Installed};
use crate::rules::{CONFIGURATION_1, RELEASE_2, Rule, Scenario, fault, user};

/// A scenario in which every rule is kept, and nothing may be violated.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// What it is about.
    pub name: &'static str,
    /// The scenario.
    pub scenario: Scenario,
}

const fn run(name: &'static str, scenario: Scenario) -> Run {
    Run { name, scenario }
}

const ALL: u32 = !(user::STRIP | user::NO_MATCH | user::LOSE_STATUS);
const DELETION: u32 = user::DELETE | user::RECREATE | user::VOLUME | user::POLICY;
const ROLL_OUT: u32 = user::EDIT | user::PIN | user::MATRIX | user::EXTERNAL;
const TAKING_OUT: u32 = user::CPI | user::CSI | user::DELETE | user::EDIT;
const NO_DRIFT: u32 = !(fault::DRIFT | fault::BLIND);
const DEATH: u32 = fault::CRASH | fault::LATE;

const fn fresh(users: u8, faults: u8) -> Scenario {
    Scenario::new(Fresh, users, faults)
}
const fn there(users: u8, faults: u8) -> Scenario {
    Scenario::new(Installed, users, faults)
}

/// What CI exhausts.
pub const RUNS: &[Run] = &[
    run("first install, 1 action, 1 fault", fresh(1, 1)),
    run("first install, 2 actions", fresh(2, 0)),
    run("installed, 2 actions, 1 fault", there(2, 1)),
    run("installed, 1 action, 2 faults but drift", there(1, 2).fault(NO_DRIFT)),
    run("installed, 2 actions, 1 fault, CPI's release 2 is broken", there(2, 1).broken(RELEASE_2, 0)),
    run("installed, 2 actions, 1 fault, CSI's release 2 is broken", there(2, 1).broken(0, RELEASE_2)),
    run(
        "first install, 2 actions, configuration 1 is broken",
        fresh(2, 0).broken(CONFIGURATION_1, CONFIGURATION_1),
    ),
    run("first install, 2 actions, the row needs no CPI", fresh(2, 0).row_needs_no_cpi()),
    run("installed, 4 actions about deletion, 1 death", there(4, 1).user(DELETION).fault(DEATH)),
    run(
        "installed, 2 actions, 1 fault, parts taken out",
        there(2, 1).user(TAKING_OUT | user::VOLUME).fault(DEATH),
    ),
    run("installed, finalizers stripped", there(2, 1).user(ALL | user::STRIP).fault(DEATH)),
    run("installed, status lost", there(2, 1).user(ALL | user::LOSE_STATUS).fault(DEATH)),
    run(
        "CSI taken out and put back with a broken configuration",
        there(3, 0).user(user::CSI | user::EDIT).broken(0, CONFIGURATION_1),
    ),
    run(
        "status lost while a volume turns a removal back",
        there(3, 1).user(user::LOSE_STATUS | user::DELETE | user::CSI | user::VOLUME).fault(DEATH),
    ),
    run("installed, no release fits", there(3, 0).user(ROLL_OUT | user::NO_MATCH)),
    run("installed, nothing can be read for a while", there(2, 1).fault(fault::BLIND)),
];

/// What the nightly sweep exhausts beside [`RUNS`].
pub const SWEEP: &[Run] = &[
    run("first install, 3 actions", fresh(3, 0)),
    run("installed, 3 actions", there(3, 0)),
    run("first install, 2 actions, 1 fault but drift", fresh(2, 1).fault(NO_DRIFT)),
    run("installed, 2 actions, 2 deaths", there(2, 2).fault(DEATH)),
    run(
        "installed, 2 actions, 2 of crash, late, unready, slow",
        there(2, 2).fault(DEATH | fault::DOWN | fault::DEADLINE),
    ),
    run(
        "installed, 4 actions about deletion, 1 fault",
        there(4, 1).user(DELETION).fault(DEATH | fault::DOWN | fault::BLIND),
    ),
    run(
        "installed, 3 actions about roll-outs, 1 fault",
        there(3, 1).user(ROLL_OUT | user::NO_MATCH).fault(DEATH | fault::DEADLINE),
    ),
    run("installed, 3 actions, parts taken out, 1 death", there(3, 1).user(TAKING_OUT).fault(DEATH)),
    run(
        "first install, 3 actions, the row needs no CPI",
        fresh(3, 0).user(TAKING_OUT | user::RECREATE).row_needs_no_cpi(),
    ),
    run(
        "first install, 2 actions, 1 fault, configuration 1 is broken",
        fresh(2, 1).fault(NO_DRIFT).broken(CONFIGURATION_1, CONFIGURATION_1),
    ),
    run(
        "installed, 3 actions, release 2 and configuration 1 are broken",
        there(3, 0).broken(RELEASE_2 | CONFIGURATION_1, RELEASE_2 | CONFIGURATION_1),
    ),
    run("installed, 2 actions, 1 fault, one CPI release", there(2, 1).one_cpi_release()),
    run(
        "installed, status lost, 3 actions, 1 death",
        there(3, 1)
            .user(user::LOSE_STATUS | user::DELETE | user::EDIT | user::MATRIX | user::VOLUME)
            .fault(DEATH),
    ),
    run("installed, nothing can be read for a while, 3 actions", there(3, 1).fault(fault::BLIND)),
];

/// A scenario without one rule, and the violation that must be found.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The rule that is left out, in words.
    pub name: &'static str,
    /// The scenario.
    pub scenario: Scenario,
    /// What must be found.
    pub expect: u16,
}

const fn variant(name: &'static str, scenario: Scenario, expect: u16) -> Variant {
    Variant { name, scenario, expect }
}

/// Each rule that the model needs, left out.
pub const VARIANTS: &[Variant] = &[
    variant("claim without resourceVersion", there(2, 0).without(Rule::ClaimVersion), CLAIM_WITHOUT_GUARD),
    variant(
        "gate trusted without guard",
        there(2, 0).without(Rule::Guard).ignoring(CLAIM_WITHOUT_GUARD),
        CSI_BEFORE_CPI,
    ),
    variant(
        "absence instead of acknowledgement",
        fresh(1, 0).without(Rule::Acknowledgement).ignoring(CLAIM_WITHOUT_GUARD),
        CPI_BEFORE_CSI,
    ),
    variant("no second look", there(4, 0).user(DELETION).without(Rule::SecondLook), CPI_BEFORE_CSI),
    variant(
        "CPI's leaving taken for its being gone",
        fresh(2, 0)
            .row_needs_no_cpi()
            .without(Rule::CpiGoneIsAcknowledged)
            .without(Rule::GateWaitsForCpi)
            .ignoring(CLAIM_WITHOUT_GUARD),
        CSI_BEFORE_CPI,
    ),
    variant("no quarantine", fresh(1, 1).fault(fault::LATE).without(Rule::Quarantine), ORPHAN),
    variant("two leaders", fresh(1, 0).without(Rule::Lease), UNCLAIMED_WRITE),
    variant(
        "objects written from a stale cache",
        there(1, 0).user(user::EDIT).broken(0, CONFIGURATION_1).without(Rule::FreshSnapshot),
        UNCLAIMED_WRITE,
    ),
    variant(
        "a refusal binds for ever",
        there(3, 0).user(user::EDIT).broken(0, CONFIGURATION_1).without(Rule::RefusalByGeneration),
        STUCK,
    ),
    variant(
        "downgrade allowed",
        there(2, 0).without(Rule::NoDowngrade).ignoring(CLAIM_WITHOUT_GUARD),
        DOWNGRADE,
    ),
    variant(
        "attempt superseded downwards",
        there(2, 0).without(Rule::NoAttemptLowered).ignoring(CLAIM_WITHOUT_GUARD),
        ATTEMPT_LOWERED,
    ),
    variant(
        "journal keeps only installed and attempt",
        there(2, 0).without(Rule::JournalKeepsSuperseded),
        STUCK,
    ),
    variant(
        "journal forgets before status does",
        there(2, 2).fault(fault::CRASH | fault::DEADLINE).without(Rule::JournalForgetsLate),
        WITHOUT_BYTES,
    ),
    variant(
        "readiness of an unsettled generation",
        there(2, 0).without(Rule::ReadySettled),
        CPI_OF_OLD_CONFIGURATION,
    ),
    variant(
        "unresolved inputs count as settled",
        there(2, 1).fault(fault::BLIND).without(Rule::ReadyResolved),
        CPI_OF_OLD_CONFIGURATION,
    ),
    variant("no fallback", there(2, 0).broken(RELEASE_2, 0).without(Rule::Fallback), STUCK),
    variant(
        "no rotation while a removal is held",
        there(3, 0).user(user::VOLUME | user::DELETE | user::EXTERNAL).without(Rule::Rotation),
        STUCK,
    ),
    variant(
        "no gates for a deleting object",
        there(3, 0).user(user::VOLUME | user::DELETE | user::EXTERNAL).without(Rule::GatesWhenDeleting),
        STUCK,
    ),
    variant(
        "lost status not rebuilt",
        there(3, 0).user(user::LOSE_STATUS | user::MATRIX).without(Rule::Rebuild),
        DOWNGRADE,
    ),
    variant(
        "status rebuilt though nothing is there",
        there(4, 0).user(DELETION).without(Rule::RebuildSeen),
        FALSELY_INSTALLED,
    ),
    variant(
        "journal not cleared at removal",
        there(2, 0).without(Rule::JournalCleared).without(Rule::RebuildSeen),
        FALSELY_INSTALLED,
    ),
    variant(
        "teardown lists by journal",
        fresh(2, 0).without(Rule::ListByLabel).without(Rule::JournalKeepsSuperseded),
        ORPHAN,
    ),
    variant("finalizer never taken back", fresh(1, 1).without(Rule::FinalizerTakenBack), STUCK),
    variant(
        "a first install that is late is refused",
        fresh(1, 1).without(Rule::FirstInstallKeepsTrying),
        STUCK,
    ),
    variant(
        "one slot for refusals",
        there(2, 0)
            .broken(RELEASE_2 | CONFIGURATION_1, RELEASE_2 | CONFIGURATION_1)
            .without(Rule::TwoRefusals),
        LIVELOCK,
    ),
    variant(
        "volumes do not hold",
        there(2, 0).user(user::VOLUME | user::DELETE).without(Rule::VolumesHold),
        VOLUME_LOST,
    ),
    variant(
        "unreadable counts as absent",
        there(2, 1).user(user::VOLUME | user::DELETE).fault(fault::BLIND).without(Rule::UnreadableHolds),
        VOLUME_LOST,
    ),
    variant(
        "objects without a revision mark, no quarantine",
        there(2, 1).fault(fault::LATE).without(Rule::RevisionMark).without(Rule::Quarantine).ignoring(ORPHAN),
        STUCK,
    ),
];

/// Rules that this model does not need, kept because one rule for all writes is simpler to hold and to explain.
pub const SPARE: &[Run] = &[
    run("gates without resourceVersion", there(2, 0).without(Rule::GateVersion)),
    run("the gate says nothing about CPI", there(2, 1).without(Rule::GateWaitsForCpi)),
    run("the journal is written blind", there(2, 1).fault(DEATH).without(Rule::JournalSwap)),
    run(
        "CPI's removal waits for the finalizer alone",
        there(2, 0).without(Rule::RecordBesideFinalizer).ignoring(CLAIM_WITHOUT_GUARD),
    ),
    run(
        "the journal is not cleared at removal",
        there(4, 0).user(DELETION | user::CSI).without(Rule::JournalCleared),
    ),
    run(
        "the journal is not cleared at removal, status lost",
        there(3, 1)
            .user(user::DELETE | user::CSI | user::LOSE_STATUS | user::RECREATE)
            .fault(DEATH)
            .without(Rule::JournalCleared),
    ),
    run("teardown lists by journal, one action and one fault", fresh(1, 1).without(Rule::ListByLabel)),
    run("teardown lists by journal, two actions", fresh(2, 0).without(Rule::ListByLabel)),
    run(
        "teardown lists by journal after an orphaning",
        there(4, 0).user(DELETION | user::MATRIX).without(Rule::ListByLabel),
    ),
    run("no revision mark", there(2, 1).fault(DEATH).without(Rule::RevisionMark)),
];
