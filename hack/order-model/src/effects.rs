//! What a write does to the world, and what it does to those who read before it.

use vdo_plan::order::{Act, Step, journal_keeps};

use crate::judge;
use crate::operator;
use crate::rules::{Rule, Scenario, user};
use crate::world::{Att, CORE, CSI, Journal, Late, Pass, Rev, State, Status, Vdo, driver_of, look};

type Deed = Act<u8, u8>;

/// The act that a pass is about to make, or `None` for its report.
pub fn current(pass: &Pass) -> Option<Deed> {
    pass.step.acts().nth(usize::from(pass.at))
}

/// Whether the act is a write to the VDOConfig that carries its resourceVersion.
fn versioned(c: &Scenario, pass: &Pass) -> bool {
    match current(pass) {
        None => c.keeps(Rule::ClaimVersion) || !matches!(pass.step, Step::Claim { .. }),
        Some(Act::TakeFinalizer | Act::ReleaseFinalizer) => true,
        Some(
            Act::WriteJournal { .. }
            | Act::ApplyObjects { .. }
            | Act::PruneObjects { .. }
            | Act::SettleJournal { .. }
            | Act::DeleteObjects
            | Act::LookAgain
            | Act::ClearJournal,
        ) => false,
    }
}

fn swaps_journal(pass: &Pass) -> bool {
    matches!(current(pass), Some(Act::WriteJournal { .. } | Act::SettleJournal { .. } | Act::ClearJournal))
}

fn lowest(set: u8) -> u8 {
    set & set.wrapping_neg()
}

/// The VDOConfig was written by `me` (`None`: by nobody who is in the middle of a pass). Whoever is about to make a write
/// that carries an older resourceVersion can only get a conflict, so its pass ends here.
fn vdo_written(c: &Scenario, s: &mut State, me: Option<usize>) {
    for process in 0..3 {
        if me == Some(process) {
            continue;
        }
        if let Some(pass) = &mut s.passes[process] {
            pass.fresh = false;
            if versioned(c, pass) {
                s.passes[process] = None;
            }
        }
    }
    if me != Some(CORE)
        && let Some((_, fresh)) = &mut s.core
    {
        *fresh = false;
        if c.keeps(Rule::GateVersion) {
            s.core = None;
        }
    }
    if let Some(late) = &mut s.late {
        let on_vdo = matches!(current(&late.pass), None | Some(Act::TakeFinalizer | Act::ReleaseFinalizer));
        late.pass.fresh = false;
        if on_vdo && versioned(c, &late.pass) {
            s.late = None;
        }
    }
}

fn journal_written(c: &Scenario, s: &mut State, me: usize, late: bool) {
    let d = driver_of(me);
    if c.keeps(Rule::JournalSwap)
        && !late
        && s.late.is_some_and(|l| swaps_journal(&l.pass) && driver_of(usize::from(l.process)) == d)
    {
        s.late = None;
    }
    for process in 0..3 {
        if (process == me && !late) || driver_of(process) != d {
            continue;
        }
        if let Some(pass) = &mut s.passes[process] {
            pass.journal_fresh = false;
            if c.keeps(Rule::JournalSwap) && swaps_journal(pass) {
                s.passes[process] = None;
            }
        }
    }
}

/// A process has read and decided.
pub fn begin(c: &Scenario, s: &mut State, process: usize, vdo: &Vdo) {
    let Some((step, after)) = operator::pass(c, s, vdo, process) else { return };
    let fresh = *vdo == s.vdo;
    let d = driver_of(process);
    let mut pass = Pass { step, after, at: 0, half: false, fresh, journal_fresh: true };
    if versioned(c, &pass) && !fresh {
        return;
    }
    pass.half = half_applied(s, d, &pass);
    s.passes[process] = Some(pass);
}

/// The configuration object is there already: applying it again changes nothing, so that write is left out.
fn half_applied(s: &State, d: usize, pass: &Pass) -> bool {
    match current(pass) {
        Some(Act::ApplyObjects { key }) => s.cluster[d].configurations & Rev(key.id).bit() != 0,
        None
        | Some(
            Act::TakeFinalizer
            | Act::WriteJournal { .. }
            | Act::PruneObjects { .. }
            | Act::SettleJournal { .. }
            | Act::DeleteObjects
            | Act::LookAgain
            | Act::ClearJournal
            | Act::ReleaseFinalizer,
        ) => false,
    }
}

/// A process makes its next write, and goes on, or ends its pass.
pub fn go_on(c: &Scenario, s: &mut State, process: usize) {
    let Some(pass) = s.passes[process] else { return };
    let d = driver_of(process);
    let next = perform(c, s, process, &pass, false);
    let Some(mut next) = next else {
        s.passes[process] = None;
        return;
    };
    next.half = next.half || next.at != pass.at && half_applied(s, d, &next);
    let ended = current(&next).is_none() && (!next.step.reports() || next.after == s.vdo.status[d]);
    let stale = !next.fresh && versioned(c, &next)
        || !next.journal_fresh && c.keeps(Rule::JournalSwap) && swaps_journal(&next);
    s.passes[process] = (!ended && !stale).then_some(next);
}

/// Carries one write out. `None`: it failed, or it was the last one of the pass.
fn perform(c: &Scenario, s: &mut State, process: usize, pass: &Pass, late: bool) -> Option<Pass> {
    let d = driver_of(process);
    let me = (!late).then_some(process);
    let act = current(pass);
    if matches!(act, None | Some(Act::TakeFinalizer | Act::ReleaseFinalizer))
        && (!s.vdo.exists || versioned(c, pass) && !pass.fresh)
    {
        return None;
    }
    let next = Pass { at: pass.at + 1, half: false, ..*pass };
    match act {
        None => {
            judge::reported(c, s, d, pass);
            if pass.after.att != s.vdo.status[d].att {
                s.expired[d] = false;
            }
            s.vdo.status[d] = pass.after;
            s.lost[d] = false;
            vdo_written(c, s, me);
            None
        }
        Some(Act::TakeFinalizer) => {
            if s.vdo.deleting {
                return None;
            }
            s.vdo.finalizers[d] = true;
            s.left[d] = false;
            vdo_written(c, s, me);
            Some(Pass { fresh: true, ..next })
        }
        Some(Act::WriteJournal { target }) => {
            if c.keeps(Rule::JournalSwap) && !pass.journal_fresh {
                return None;
            }
            write_journal(c, s, d, pass.after.inst, Rev::of(target));
            journal_written(c, s, process, late);
            Some(Pass { journal_fresh: true, ..next })
        }
        Some(Act::ApplyObjects { key }) => {
            let rev = Rev(key.id);
            judge::object_written(s, d, rev, late);
            if !pass.half {
                s.cluster[d].configurations |= rev.bit();
                return Some(Pass { half: true, ..*pass });
            }
            judge::workload_written(s, d, rev);
            if s.cluster[d].workload != rev {
                s.cluster[d].workload = rev;
                s.cluster[d].up = false;
            }
            Some(next)
        }
        Some(Act::PruneObjects { keep }) => {
            let orphans = s.cluster[d].configurations & s.journal[d].known & !Rev(keep.id).bit();
            s.cluster[d].configurations &= !lowest(orphans);
            Some(if orphans == lowest(orphans) { next } else { *pass })
        }
        Some(Act::SettleJournal { installed }) => {
            if c.keeps(Rule::JournalSwap) && !pass.journal_fresh {
                return None;
            }
            let inst = Rev(installed.id);
            let kept = if c.keeps(Rule::JournalForgetsLate) { s.journal[d].known } else { 0 };
            s.journal[d] = Journal { inst, known: inst.bit() | kept };
            journal_written(c, s, process, late);
            Some(Pass { journal_fresh: true, ..next })
        }
        Some(Act::DeleteObjects) => {
            judge::object_deleted(s, d);
            if s.cluster[d].workload.some() {
                s.cluster[d].workload = Rev::NONE;
                s.cluster[d].up = false;
            } else {
                s.cluster[d].configurations &= !lowest(listed(c, s, d));
            }
            Some(if listed(c, s, d) == 0 { next } else { *pass })
        }
        Some(Act::LookAgain) => {
            let any = s.cluster[d].workload.some() || listed(c, s, d) != 0;
            let volume = d == CSI
                && c.keeps(Rule::VolumesHold)
                && if s.blind { c.keeps(Rule::UnreadableHolds) } else { s.volumes };
            (!any && !volume).then_some(next)
        }
        Some(Act::ClearJournal) => {
            if c.keeps(Rule::JournalSwap) && !pass.journal_fresh {
                return None;
            }
            s.journal[d] = Journal::default();
            journal_written(c, s, process, late);
            Some(Pass { journal_fresh: true, ..next })
        }
        Some(Act::ReleaseFinalizer) => {
            if s.vdo.deleting && s.vdo.orphan {
                s.left[d] = true;
            }
            s.vdo.finalizers[d] = false;
            if s.vdo.deleting && s.vdo.finalizers == [false; 2] {
                s.vdo = Vdo::default();
            }
            vdo_written(c, s, me);
            None
        }
    }
}

/// The configuration objects that a teardown finds.
fn listed(c: &Scenario, s: &State, d: usize) -> u8 {
    let all = s.cluster[d].configurations;
    if c.keeps(Rule::ListByLabel) { all } else { all & s.journal[d].known }
}

/// `inst` is what the pass read as installed: status may have been lost since, and the journal was made before.
fn write_journal(c: &Scenario, s: &mut State, d: usize, inst: Rev, target: Rev) {
    let record = Status { inst, ..s.vdo.status[d] }.record(false);
    let before = s.journal[d].known;
    let keeps = |place: u8| {
        let rev = Rev::at(place);
        let there = s.cluster[d].configurations & rev.bit() != 0 || s.cluster[d].workload == rev;
        before & rev.bit() != 0 && journal_keeps(&record, target.key().as_ref(), &rev.0, look(there))
    };
    let kept = if c.keeps(Rule::JournalKeepsSuperseded) {
        (0..8).filter(|&place| keeps(place)).fold(0, |set, place| set | 1 << place)
    } else {
        s.journal[d].inst.bit()
    };
    s.journal[d].known = kept | target.bit();
}

/// A process dies while its request is under way.
pub fn die_late(c: &Scenario, s: &mut State, process: usize) {
    let d = driver_of(process);
    let Some(mut pass) = s.passes[process].take() else { return };
    let bit = match current(&pass) {
        Some(Act::PruneObjects { keep }) => {
            lowest(s.cluster[d].configurations & s.journal[d].known & !Rev(keep.id).bit())
        }
        Some(Act::DeleteObjects) if !s.cluster[d].workload.some() => lowest(listed(c, s, d)),
        None | Some(_) => 0,
    };
    let nothing = matches!(current(&pass), Some(Act::PruneObjects { .. })) && bit == 0;
    pass.fresh &= matches!(current(&pass), None | Some(Act::TakeFinalizer | Act::ReleaseFinalizer));
    s.late = (!nothing).then_some(Late { process: process as u8, pass, bit });
}

/// The late request is carried out.
pub fn deliver(c: &Scenario, s: &mut State) {
    let Some(late) = s.late.take() else { return };
    let d = driver_of(usize::from(late.process));
    match current(&late.pass) {
        Some(Act::PruneObjects { .. }) => s.cluster[d].configurations &= !late.bit,
        Some(Act::DeleteObjects) if late.bit != 0 => {
            if s.cluster[d].configurations & late.bit != 0 {
                judge::object_deleted(s, d);
            }
            s.cluster[d].configurations &= !late.bit;
        }
        Some(Act::DeleteObjects) if !s.cluster[d].workload.some() => {}
        None | Some(_) => {
            perform(c, s, usize::from(late.process), &late.pass, true);
        }
    }
}

/// Whether a request of this pass can be late: it is a write, and would not be refused.
pub fn can_be_late(c: &Scenario, pass: &Pass) -> bool {
    !matches!(current(pass), Some(Act::LookAgain)) && (pass.fresh || !versioned(c, pass))
}

/// vdo-core writes its gates.
pub fn publish(c: &Scenario, s: &mut State) {
    let Some((gates, fresh)) = s.core.take() else { return };
    if s.vdo.exists && (fresh || !c.keeps(Rule::GateVersion)) {
        s.vdo.gates = gates;
        vdo_written(c, s, Some(CORE));
    }
}

/// The user's hand, and what surrounds us.
pub mod hand {
    use super::{Att, CSI, Scenario, State, Status, Vdo, user, vdo_written};
    use crate::world::Published;

    /// The spec is edited.
    pub fn edit(c: &Scenario, s: &mut State, change: impl FnOnce(&mut Vdo)) {
        change(&mut s.vdo);
        s.vdo.generation += 1;
        vdo_written(c, s, None);
    }
    /// A new VDOConfig is created.
    pub fn create(c: &Scenario, s: &mut State) {
        s.vdo = Vdo { exists: true, generation: 1, wants: [true; 2], ..Vdo::default() };
        vdo_written(c, s, None);
    }
    /// The VDOConfig is deleted.
    pub fn delete(c: &Scenario, s: &mut State) {
        if s.vdo.finalizers != [false; 2] {
            return edit(c, s, |vdo| vdo.deleting = true);
        }
        if c.user & user::STRIP != 0 {
            abandon(s);
        }
        s.vdo = Vdo::default();
        vdo_written(c, s, None);
    }
    /// Somebody takes a finalizer off: what it guarded is theirs until we put it back.
    pub fn strip(c: &Scenario, s: &mut State, d: usize) {
        s.vdo.finalizers[d] = false;
        s.left[d] = s.cluster[d].any();
        if s.vdo.deleting && s.vdo.finalizers == [false; 2] {
            s.vdo = Vdo::default();
            abandon(s);
        }
        vdo_written(c, s, None);
    }
    /// Status is emptied.
    pub fn lose_status(c: &Scenario, s: &mut State) {
        s.vdo.status = [Status::default(); 2];
        s.vdo.gates = Published::default();
        s.lost = [true; 2];
        s.expired = [false; 2];
        vdo_written(c, s, None);
    }
    /// Nobody can acknowledge any more: what is left is the user's.
    fn abandon(s: &mut State) {
        for d in 0..2 {
            s.left[d] = s.cluster[d].any();
        }
    }
    /// Whether a volume can be made: CSI works as recorded.
    pub fn can_make_volume(s: &State) -> bool {
        let workload = s.cluster[CSI].workload;
        !s.volumes && workload.some() && workload == s.vdo.status[CSI].inst
    }
    /// Whether the attempt of `d` may pass its deadline now.
    pub fn waits_for_health(s: &State, d: usize) -> bool {
        match s.vdo.status[d].att {
            Att::Roll(rev) => !s.expired[d] && s.cluster[d].workload == rev && !s.cluster[d].up,
            Att::Idle | Att::Remove => false,
        }
    }
}
