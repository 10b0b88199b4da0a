//! The processes: what they are given, and what the shipped functions answer.

use vdo_plan::order::{
    self, Candidates, Choice, Look, Objects, PerDriver, Progress, Seen, Step, Surroundings, Verb, View,
    fallback_release, wanted_release,
};

use crate::rules::{Rule, Scenario};
use crate::world::{Att, CPI, CSI, DRIVERS, Published, Rev, State, Status, Vdo, driver_of, look};

/// What was selected for a driver, before the shipped [`order::chosen`] compares it with what is installed.
fn selected(c: &Scenario, vdo: &Vdo, matrix: u8, d: usize) -> Option<Choice<u8>> {
    let release = match (d, c.cpi_moves) {
        _ if vdo.pin == 0 && matrix == 0 => return None,
        (CPI, false) => 1,
        _ if vdo.pin != 0 => vdo.pin,
        _ => matrix,
    };
    Some(Choice { release, pinned: vdo.pin != 0 })
}

/// The release vdo-core publishes for a driver, 0 for none.
pub fn chosen(c: &Scenario, vdo: &Vdo, matrix: u8, d: usize) -> u8 {
    let choice = selected(c, vdo, matrix, d).filter(|_| vdo.wants[d]);
    order::chosen(choice, &vdo.status[d].record(false)).map_or(0, |choice| choice.release)
}

/// One pass of vdo-core: the gates for this object.
pub fn gates(c: &Scenario, vdo: &Vdo, matrix: u8) -> Published {
    let select = |d| selected(c, vdo, matrix, d);
    let both = PerDriver { cpi: select(CPI), csi: select(CSI) };
    let around = Surroundings { row_needs_cpi: c.needs_cpi, a_node_waits_for_cpi: false };
    let view = vdo.view([false; 2]);
    let mut published = Published::of(&order::gates(&view, both, around).gates);
    if !c.keeps(Rule::GateWaitsForCpi) {
        published.open[CSI] = vdo.wants[CSI] && !vdo.deleting && (vdo.wants[CPI] || !c.needs_cpi);
    }
    published
}

/// What an operator is given of the VDOConfig.
fn view(c: &Scenario, s: &State, vdo: &Vdo, d: usize) -> View<u8, u8> {
    let mut view = vdo.view(s.expired);
    if !c.keeps(Rule::Guard) && d == CSI {
        // CPI looks settled whatever it does.
        let chosen = view.gates.as_ref().and_then(|gates| gates.cpi).map(|gate| gate.release);
        let cpi = &mut view.records.cpi;
        (cpi.attempt, cpi.ready, cpi.ready_generation) = (None, true, view.generation);
        cpi.installed = chosen.and_then(|release| Rev::new(release, 0, 0).key()).filter(|_| view.wants.cpi);
        view.finalizer.cpi &= view.wants.cpi;
    }
    if d == CPI {
        if !c.keeps(Rule::Acknowledgement) {
            view.records.csi = Default::default();
            view.finalizer.csi = false;
        }
        if !c.keeps(Rule::RecordBesideFinalizer) {
            view.records.csi = Default::default();
        }
    }
    if !c.keeps(Rule::CpiGoneIsAcknowledged) && d == CSI && !view.wants.cpi {
        view.records.cpi.attempt = None;
        view.finalizer.cpi = false;
    }
    // Whoever takes every choice for a pin knows no downgrade.
    let attempted = view.records.of(DRIVERS[d]).attempt.is_some();
    let rule = if attempted { Rule::NoAttemptLowered } else { Rule::NoDowngrade };
    if !c.keeps(rule)
        && let Some(gates) = &mut view.gates
    {
        for gate in [&mut gates.cpi, &mut gates.csi].into_iter().flatten() {
            gate.pinned = true;
        }
    }
    if !c.keeps(Rule::RefusalByGeneration) {
        let record = view.records.of_mut(DRIVERS[d]);
        for refusal in [&mut record.refused_release, &mut record.refused_configuration].into_iter().flatten()
        {
            refusal.generation = view.generation;
        }
    }
    view
}

/// What an operator is given of the cluster.
fn seen(c: &Scenario, s: &State, vdo: &Vdo, d: usize) -> Seen<u8, u8> {
    let (cluster, journal, status) = (&s.cluster[d], &s.journal[d], &vdo.status[d]);
    let known = if c.keeps(Rule::ListByLabel) { !0 } else { journal.known };
    let listed = crate::world::Cluster { configurations: cluster.configurations & known, ..*cluster };
    let unread = |there: bool| match (s.blind, c.keeps(Rule::UnreadableHolds)) {
        (false, _) => look(there),
        (true, true) => Look::Unreadable,
        (true, false) => Look::Nothing,
    };
    let installed = if status.inst.some() { status.inst } else { journal.inst };
    let mut seen = Seen {
        quiet: c.keeps(Rule::Quarantine)
            && s.late.is_some_and(|late| driver_of(usize::from(late.process)) == d),
        objects: listed.listing(),
        installed: cluster.progress(installed),
        attempted: cluster.progress(status.att.rev()),
        others: unread(d == CPI && s.cluster[CSI].any()),
        volumes: unread(d == CSI && s.volumes),
        journal_installed: journal.inst.key(),
        journal_empty: *journal == Default::default(),
    };
    if !c.keeps(Rule::RevisionMark)
        && !status.att.some()
        && cluster.workload.some()
        && cluster.configurations & installed.bit() != 0
    {
        seen.installed = if cluster.up { Progress::Healthy } else { Progress::Applied };
    }
    if !c.keeps(Rule::SecondLook) {
        seen.others = Look::Nothing;
    }
    if !c.keeps(Rule::VolumesHold) {
        seen.volumes = Look::Nothing;
    }
    if !c.keeps(Rule::Rebuild) {
        seen.journal_installed = None;
    }
    if !c.keeps(Rule::RebuildSeen) && journal.inst.some() && !status.inst.some() && !status.att.some() {
        seen.objects = Objects::Workload;
    }
    if !c.keeps(Rule::JournalCleared) {
        seen.journal_empty = true;
    }
    seen
}

/// The revisions an operator renders.
fn candidates(c: &Scenario, s: &State, vdo: &Vdo, view: &View<u8, u8>, d: usize) -> Candidates<u8, u8> {
    let render = |release: Option<u8>| {
        release.filter(|_| !s.blind).and_then(|r| Rev::new(r, vdo.configuration, s.external).key())
    };
    let leaving = view.leaving(DRIVERS[d]);
    let falls_back = c.keeps(if leaving { Rule::Rotation } else { Rule::Fallback });
    Candidates {
        wanted: render(wanted_release(DRIVERS[d], view)),
        fallback: render(fallback_release(DRIVERS[d], view)).filter(|_| falls_back),
    }
}

/// One pass of a driver operator up to its first write, or `None` when it writes nothing.
pub fn pass(c: &Scenario, s: &State, vdo: &Vdo, process: usize) -> Option<(Step<u8, u8>, Status)> {
    let d = driver_of(process);
    if !vdo.exists {
        return None;
    }
    let view = view(c, s, vdo, d);
    let seen = seen(c, s, vdo, d);
    let candidates = candidates(c, s, vdo, &view, d);
    let decision = order::decide(DRIVERS[d], &view, &seen, &candidates);
    let (mut step, mut after) = (decision.step, Status::of(d, &decision.record));
    let before = vdo.status[d];
    if !c.keeps(Rule::RefusalByGeneration) && !matches!(step, Step::Refuse { .. }) {
        after.refused_in = before.refused_in;
    }
    doctor(c, s, vdo, d, &mut step, &mut after);
    (step != Step::Nothing || (after != before && step.reports())).then_some((step, after))
}

/// What a process makes of the answer when a rule is left out.
fn doctor(c: &Scenario, s: &State, vdo: &Vdo, d: usize, step: &mut Step<u8, u8>, after: &mut Status) {
    let before = vdo.status[d];
    if !c.keeps(Rule::ReadySettled) && d == CPI && after.inst.some() {
        after.ready_in = vdo.generation;
    }
    if !c.keeps(Rule::ReadyResolved) && d == CPI && s.blind && after.inst.some() && !after.att.some() {
        after.ready_in = vdo.gates.generation;
    }
    if !c.keeps(Rule::FinalizerTakenBack)
        && matches!(step, Step::Release { .. })
        && !vdo.deleting
        && vdo.wants[d]
    {
        *step = Step::Nothing;
        *after = before;
    }
    if !c.keeps(Rule::FirstInstallKeepsTrying)
        && let (Att::Roll(rev), true, false) = (before.att, s.expired[d], before.inst.some())
        && s.cluster[d].progress(rev) != Progress::Healthy
        && !matches!(step, Step::Claim { verb: Verb::Roll, .. })
    {
        *step = Step::Nothing;
        *after = Status { att: Att::Idle, ..before };
        after.refused[0] = rev;
        after.refused_in[0] = vdo.generation;
    }
    if !c.keeps(Rule::TwoRefusals) && matches!(step, Step::Refuse { .. }) {
        // One slot: the last refusal wins.
        let newest = (0..2).find(|&n| after.refused[n] == before.att.rev()).unwrap_or(0);
        after.refused = [after.refused[newest], Rev::NONE];
        after.refused_in = [after.refused_in[newest], 0];
    }
}
