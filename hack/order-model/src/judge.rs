//! What must never be, and how every history must end. Independent of what an operator believed.

use vdo_plan::order::{Step, Verb, may_roll};

use crate::operator::{chosen, gates};
use crate::rules::{Scenario, fault, user};
use crate::world::{Att, CPI, CSI, DRIVERS, Pass, Rev, State};

macro_rules! violations {
    ($($name:ident = $bit:expr, $text:expr, $meaning:expr;)*) => {
        $(#[doc = $meaning] pub const $name: u16 = 1 << $bit;)*
        /// The name of each violation.
        pub const VIOLATIONS: &[(u16, &str)] = &[$(($name, $text)),*];
    };
}

violations! {
    CLAIM_WITHOUT_GUARD = 0, "claim without guard", "A claim landed while its guard did not hold on the live object.";
    CSI_BEFORE_CPI = 1, "CSI before CPI", "A change of CSI's release was claimed while CPI was not settled.";
    CPI_OF_OLD_CONFIGURATION = 2, "CPI of an old configuration", "The same, while CPI had not answered this generation's configuration.";
    CPI_BEFORE_CSI = 3, "CPI away before CSI", "An object of CPI was deleted while CSI had some, or one of CSI was written under a removal of CPI.";
    DOWNGRADE = 4, "downgrade", "A release went below what was installed, and nobody asked.";
    ATTEMPT_LOWERED = 5, "attempt lowered", "An attempt gave way to a lower release, and nobody asked.";
    ORPHAN = 6, "orphan", "The VDOConfig is gone and objects of ours are there.";
    UNCLAIMED_WRITE = 7, "unclaimed write", "An object was written that is neither attempted nor installed.";
    FALSELY_INSTALLED = 8, "falsely installed", "Something was recorded as installed while objects of it were missing.";
    VOLUME_LOST = 9, "volume lost", "CSI was recorded as removed while volumes exist.";
    WITHOUT_BYTES = 10, "written without journal", "An object was written whose revision the journal does not hold.";
    STUCK = 11, "stuck", "Nothing moves any more, and it is not where it should be.";
    UNCONVERGED = 12, "no good end", "With everybody quiet, no good end can be reached.";
    LIVELOCK = 13, "livelock", "With everybody quiet, the operators can go round for ever.";
}

/// The names of a set of violations.
pub fn names(set: u16) -> Vec<&'static str> {
    VIOLATIONS.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| *name).collect()
}

/// A drifted object makes every record false for a moment; such scenarios do not judge it.
fn sees_drift(c: &Scenario) -> bool {
    c.faults > 0 && c.fault & fault::DRIFT != 0
}

/// An object of `rev` is about to be written.
pub fn object_written(s: &mut State, d: usize, rev: Rev, late: bool) {
    let status = &s.vdo.status[d];
    if d == CSI && s.vdo.exists && s.vdo.status[CPI].att == Att::Remove {
        s.bad |= CPI_BEFORE_CSI;
    }
    if late {
        return;
    }
    if s.journal[d].known & rev.bit() == 0 {
        s.bad |= WITHOUT_BYTES;
    }
    let covered = status.att == Att::Roll(rev) || status.inst == rev;
    if s.vdo.exists && !covered && !s.left[d] && !s.lost[d] {
        s.bad |= UNCLAIMED_WRITE;
    }
}

/// The workload is about to become `rev`.
pub fn workload_written(s: &mut State, d: usize, rev: Rev) {
    if rev.release() < s.highest[d] {
        s.bad |= DOWNGRADE;
    }
}

/// An object is about to be deleted.
pub fn object_deleted(s: &mut State, d: usize) {
    if d == CPI && s.cluster[CSI].any() {
        s.bad |= CPI_BEFORE_CSI;
    }
}

/// A report is about to land. `s` is the world before it.
pub fn reported(c: &Scenario, s: &mut State, d: usize, pass: &Pass) {
    match pass.step {
        Step::Claim { verb: Verb::Roll, .. } => rolled(c, s, d, pass.after.att.rev()),
        Step::Claim { verb: Verb::Remove, .. } => removal_claimed(s, d),
        Step::Install { .. } => {
            if !sees_drift(c) && !s.cluster[d].complete(pass.after.inst) {
                s.bad |= FALSELY_INSTALLED;
            }
            s.highest[d] = pass.after.inst.release();
        }
        Step::Rebuild => {
            let needed = d == CSI && s.volumes;
            if !sees_drift(c) && !s.cluster[d].workload.some() && !needed {
                s.bad |= FALSELY_INSTALLED;
            }
        }
        Step::Restored => {
            if !sees_drift(c) && !s.cluster[d].complete(pass.after.inst) {
                s.bad |= FALSELY_INSTALLED;
            }
        }
        Step::Removed { .. } => {
            if d == CSI && s.volumes {
                s.bad |= VOLUME_LOST;
            }
            s.highest[d] = 0;
        }
        Step::Nothing
        | Step::PutBackFinalizer
        | Step::Apply { .. }
        | Step::Refuse { .. }
        | Step::Delete
        | Step::Release { .. } => {}
    }
}

fn rolled(c: &Scenario, s: &mut State, d: usize, rev: Rev) {
    let vdo = s.vdo;
    let status = vdo.status[d];
    if may_roll(DRIVERS[d], &vdo.view(s.expired), &rev.release()).is_err() {
        s.bad |= CLAIM_WITHOUT_GUARD;
    }
    let asked = vdo.pin != 0 && vdo.pin == rev.release() || d == CPI && !c.cpi_moves;
    let over = status.att.rev();
    let stands = status.inst.some() || !s.expired[d];
    if rev.release() < over.release() && !asked && stands {
        s.bad |= ATTEMPT_LOWERED;
    }
    if rev.release() < s.highest[d] {
        if asked {
            s.highest[d] = rev.release();
        } else {
            s.bad |= DOWNGRADE;
        }
    }
    let base = if status.inst.some() { status.inst } else { over };
    if d == CSI && base.release() != rev.release() {
        csi_changes_release(c, s, rev);
    }
}

fn csi_changes_release(c: &Scenario, s: &mut State, rev: Rev) {
    let vdo = s.vdo;
    let cpi = &vdo.status[CPI];
    if vdo.deleting || vdo.gates.generation != vdo.generation || vdo.gates.release[CSI] != rev.release() {
        s.bad |= CSI_BEFORE_CPI;
    }
    if !vdo.wants[CPI] {
        if c.needs_cpi || s.cluster[CPI].any() || cpi.att.some() {
            s.bad |= CSI_BEFORE_CPI;
        }
        return;
    }
    let recorded = !cpi.att.some()
        && cpi.inst.some()
        && cpi.inst.release() == vdo.gates.release[CPI]
        && cpi.ready
        && cpi.ready_in == vdo.generation;
    if !recorded || (!sees_drift(c) && !s.cluster[CPI].complete(cpi.inst)) {
        s.bad |= CSI_BEFORE_CPI;
    }
    let refused = |n: usize| {
        let refused = cpi.refused[n];
        refused.some() && refused.configuration() == vdo.configuration && cpi.refused_in[n] == vdo.generation
    };
    if cpi.inst.configuration() != vdo.configuration && !refused(0) && !refused(1) {
        s.bad |= CPI_OF_OLD_CONFIGURATION;
    }
}

fn removal_claimed(s: &mut State, d: usize) {
    let vdo = s.vdo;
    if !vdo.deleting && vdo.wants[d] {
        s.bad |= CLAIM_WITHOUT_GUARD;
    }
    if d != CPI {
        return;
    }
    let csi = &vdo.status[CSI];
    if csi.inst.some() || csi.att.some() || vdo.finalizers[CSI] {
        s.bad |= CLAIM_WITHOUT_GUARD;
    }
    if s.cluster[CSI].any() {
        s.bad |= CPI_BEFORE_CSI;
    }
}

/// After every step: nothing of ours may outlive the VDOConfig, unless an orphaning left it.
pub fn outlived(s: &mut State) {
    if !s.vdo.exists && (0..2).any(|d| s.cluster[d].any() && !s.left[d]) {
        s.bad |= ORPHAN;
    }
}

fn gone(s: &State, d: usize) -> bool {
    let status = &s.vdo.status[d];
    !s.cluster[d].any() && !status.inst.some() && !status.att.some() && !s.vdo.finalizers[d]
}

/// What is installed has the current configuration, or that one was refused.
fn current(s: &State, d: usize) -> bool {
    let status = &s.vdo.status[d];
    let now = Rev::new(status.inst.release(), s.vdo.configuration, s.external);
    status.inst == now || status.refuses(now, s.vdo.generation)
}

/// `rev` and nothing else is there. An attempt that was lost with its status leaves its configuration object behind until
/// the next roll-out; that is all it may leave.
fn only(c: &Scenario, s: &State, d: usize, rev: Rev) -> bool {
    let cluster = &s.cluster[d];
    cluster.exactly(rev) || c.user & user::LOSE_STATUS != 0 && cluster.complete(rev)
}

/// Installed, idle, whole and current: where a held driver rests.
fn rests(c: &Scenario, s: &State, d: usize) -> bool {
    let status = &s.vdo.status[d];
    status.inst.some() && !status.att.some() && only(c, s, d, status.inst) && current(s, d)
}

fn broken(c: &Scenario, s: &State, d: usize, rev: Rev) -> bool {
    c.broken[d] & rev.bit() != 0 || s.dead[d]
}

/// A first install that never gets healthy, with the current configuration.
fn keeps_trying(c: &Scenario, s: &State, d: usize) -> bool {
    let status = &s.vdo.status[d];
    let Att::Roll(rev) = status.att else { return false };
    let now = Rev::new(rev.release(), s.vdo.configuration, s.external);
    !status.inst.some() && broken(c, s, d, rev) && rev == now && s.cluster[d].workload == rev
}

/// Installed as wanted, or refused with the old one intact, or a first install that never gets healthy.
fn done(c: &Scenario, s: &State, d: usize, release: u8) -> bool {
    let status = &s.vdo.status[d];
    if release == 0 {
        // No release fits: what is there stays, and stays current.
        return gone(s, d) || rests(c, s, d) || keeps_trying(c, s, d);
    }
    if !s.vdo.finalizers[d] {
        return false;
    }
    let rev = Rev::new(release, s.vdo.configuration, s.external);
    if let Att::Roll(target) = status.att {
        return target == rev
            && broken(c, s, d, rev)
            && s.cluster[d].workload == rev
            && (s.expired[d] || !status.inst.some() || s.dead[d]);
    }
    let settles = s.cluster[d].up || broken(c, s, d, status.inst);
    let installed = status.inst == rev && only(c, s, d, rev);
    let refused = status.refuses(rev, s.vdo.generation)
        && status.inst.some()
        && only(c, s, d, status.inst)
        && (status.inst.release() == release || current(s, d));
    !status.att.some() && settles && (installed || refused)
}

/// CSI waits for CPI: nothing of it is there, or what is installed rests, or a first install keeps trying.
fn csi_waits(c: &Scenario, s: &State, release: u8) -> bool {
    let vdo = &s.vdo;
    let (cpi, csi) = (&vdo.status[CPI], &vdo.status[CSI]);
    if csi.inst.release() == release {
        return false;
    }
    let cpi_is_off = if vdo.wants[CPI] {
        cpi.att.some() || cpi.inst.release() != chosen(c, vdo, s.matrix, CPI) || !s.cluster[CPI].up
    } else {
        c.needs_cpi || !gone(s, CPI)
    };
    let nothing = !csi.inst.some() && !csi.att.some() && !s.cluster[CSI].any() && !vdo.finalizers[CSI];
    cpi_is_off && (nothing || rests(c, s, CSI) || keeps_trying(c, s, CSI))
}

/// Whether a state in which nothing moves any more is where it should be.
pub fn good(c: &Scenario, s: &State) -> bool {
    let vdo = &s.vdo;
    if !vdo.exists {
        return (0..2).all(|d| !s.cluster[d].any() || s.left[d]);
    }
    if vdo.deleting {
        // Only volumes hold a deletion, and meanwhile CSI stays whole and current.
        return s.volumes && !vdo.orphan && rests(c, s, CSI);
    }
    let csi_is_used = vdo.status[CSI].inst.some() || vdo.status[CSI].att.some();
    let cpi = if vdo.wants[CPI] {
        let status = &vdo.status[CPI];
        let answered = status.ready_in == vdo.generation && status.ready == s.cluster[CPI].up;
        done(c, s, CPI, chosen(c, vdo, s.matrix, CPI)) && (!status.inst.some() || answered)
    } else {
        gone(s, CPI) || csi_is_used && rests(c, s, CPI)
    };
    let csi = if vdo.wants[CSI] {
        let release = chosen(c, vdo, s.matrix, CSI);
        done(c, s, CSI, release) || csi_waits(c, s, release)
    } else {
        gone(s, CSI) || s.volumes && rests(c, s, CSI)
    };
    cpi && csi && vdo.gates == gates(c, vdo, s.matrix)
}
