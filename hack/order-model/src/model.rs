//! Who may act next, and what follows: the transition system, for our own explorer and for stateright.

use stateright::{Model, Property};

use crate::effects::{self, hand};
use crate::judge::{self, STUCK};
use crate::operator::{self, gates};
use crate::rules::{Rule, Scenario, Start, fault, user};
use crate::world::{CORE, CPI, CSI, Cluster, Journal, Rev, State, Status, Vdo};

/// One step of somebody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// vdo-core reads.
    CoreReads,
    /// vdo-core writes its gates.
    CoreWrites,
    /// An operator reads and decides.
    Reads(u8),
    /// An operator makes its next write.
    Writes(u8),
    /// A workload becomes healthy.
    Up(u8),
    /// A deadline passes of a workload that never gets healthy.
    Deadline(u8),
    /// A late request is carried out.
    Deliver,
    /// A late request is lost.
    Lose,
    /// A stale cache catches up.
    Sync,
    /// What could not be read can be read again.
    Sight,
    /// A user or the surroundings, see [`user`].
    User(u32, u8),
    /// A fault, see [`fault`].
    Fault(u32, u8),
}

impl Action {
    /// Whether the system does it by itself, so that it must not be relied on never to happen.
    pub fn of_the_system(&self) -> bool {
        !matches!(self, Action::User(..) | Action::Fault(..))
    }
}

/// The model of one scenario.
#[derive(Clone, Copy, Debug)]
pub struct Order(pub Scenario);

impl Order {
    fn snapshot(&self, s: &State, process: usize) -> Vdo {
        let cached = !self.0.keeps(Rule::FreshSnapshot) && process == self.0.cached;
        if cached { s.cache } else { s.vdo }
    }

    /// The first state.
    pub fn start(&self) -> State {
        let c = &self.0;
        let mut s = State {
            vdo: Vdo { exists: true, generation: 1, wants: [true; 2], ..Vdo::default() },
            cluster: [Cluster::default(); 2],
            journal: [Journal::default(); 2],
            matrix: 1,
            external: 0,
            volumes: false,
            blind: false,
            dead: [false; 2],
            expired: [false; 2],
            core: None,
            passes: [None; 3],
            late: None,
            cache: Vdo::default(),
            users: c.users,
            faults: c.faults,
            left: [false; 2],
            lost: [false; 2],
            highest: [0; 2],
            bad: 0,
        };
        if c.start == Start::Installed {
            let rev = Rev::new(1, 0, 0);
            s.vdo.finalizers = [true; 2];
            s.vdo.status = [Status { inst: rev, ..Status::default() }; 2];
            s.vdo.status[CPI].ready = true;
            s.vdo.status[CPI].ready_in = 1;
            s.cluster = [Cluster { workload: rev, configurations: rev.bit(), up: true }; 2];
            s.journal = [Journal { inst: rev, known: rev.bit() }; 2];
            s.highest = [1; 2];
            s.vdo.gates = gates(c, &s.vdo, 1);
        }
        if !c.keeps(Rule::FreshSnapshot) {
            s.cache = s.vdo;
        }
        s
    }

    /// What the system may do by itself.
    pub fn system(&self, s: &State, out: &mut Vec<Action>) {
        let c = &self.0;
        match s.core {
            Some(_) => out.push(Action::CoreWrites),
            None => {
                let due = s.vdo.exists && (!s.vdo.deleting || c.keeps(Rule::GatesWhenDeleting));
                if due && s.vdo.gates != gates(c, &s.vdo, s.matrix) {
                    out.push(Action::CoreReads);
                }
            }
        }
        for process in 0..if c.keeps(Rule::Lease) { 2 } else { 3 } {
            if s.passes[process].is_some() {
                out.push(Action::Writes(process as u8));
            } else if operator::pass(c, s, &self.snapshot(s, process), process).is_some() {
                out.push(Action::Reads(process as u8));
            }
        }
        for d in 0..2 {
            let cluster = &s.cluster[d];
            let broken = s.dead[d] || c.broken[d] & cluster.workload.bit() != 0;
            let whole = cluster.complete(cluster.workload);
            if whole && !cluster.up && !broken {
                out.push(Action::Up(d as u8));
            }
            if s.vdo.exists && broken && hand::waits_for_health(s, d) {
                out.push(Action::Deadline(d as u8));
            }
        }
        if s.late.is_some() {
            out.push(Action::Deliver);
            out.push(Action::Lose);
        }
        if s.blind {
            out.push(Action::Sight);
        }
        if !c.keeps(Rule::FreshSnapshot) && s.cache != s.vdo {
            out.push(Action::Sync);
        }
    }

    fn users(&self, s: &State, out: &mut Vec<Action>) {
        if s.users == 0 {
            return;
        }
        let vdo = &s.vdo;
        let mut may = |kind: u32, which: u8| {
            if self.0.user & kind != 0 {
                out.push(Action::User(kind, which));
            }
        };
        if vdo.exists {
            may(user::EDIT, 0);
            may(user::POLICY, 0);
            may(user::LOSE_STATUS, 0);
            (0..2).filter(|&d| vdo.finalizers[d]).for_each(|d| may(user::STRIP, d as u8));
            if !vdo.deleting {
                (0..3).filter(|&pin| pin != vdo.pin).for_each(|pin| may(user::PIN, pin));
                may(user::CPI, 0);
                may(user::CSI, 0);
                may(user::DELETE, 0);
            }
        } else {
            may(user::RECREATE, 0);
        }
        if s.matrix == 0 {
            may(user::MATRIX, 1);
            may(user::MATRIX, 2);
        } else {
            may(user::MATRIX, 3 - s.matrix);
            may(user::NO_MATCH, 0);
        }
        may(user::EXTERNAL, 0);
        if hand::can_make_volume(s) || s.volumes && s.cluster[CSI].up {
            may(user::VOLUME, 0);
        }
    }

    fn faults(&self, s: &State, out: &mut Vec<Action>) {
        if s.faults == 0 {
            return;
        }
        let c = &self.0;
        let mut may = |kind: u32, which: usize| {
            if c.fault & kind != 0 {
                out.push(Action::Fault(kind, which as u8));
            }
        };
        for process in 0..3 {
            if let Some(pass) = &s.passes[process] {
                may(fault::CRASH, process);
                if s.late.is_none() && effects::can_be_late(c, pass) {
                    may(fault::LATE, process);
                }
            }
        }
        if s.core.is_some() {
            may(fault::CRASH, CORE);
        }
        if !s.blind {
            may(fault::BLIND, 0);
        }
        for d in 0..2 {
            if s.cluster[d].up {
                may(fault::DOWN, d);
                may(fault::KILL, d);
            }
            if s.cluster[d].workload.some() {
                may(fault::DRIFT, d);
            }
            if hand::waits_for_health(s, d) {
                may(fault::DEADLINE, d);
            }
        }
    }

    /// Everything that may happen next; nothing after a violation.
    pub fn everything(&self, s: &State, out: &mut Vec<Action>) {
        if s.bad == 0 {
            self.system(s, out);
            self.users(s, out);
            self.faults(s, out);
        }
    }

    /// What follows.
    pub fn next(&self, before: &State, action: Action) -> State {
        let c = &self.0;
        let mut s = *before;
        match action {
            Action::CoreReads => s.core = Some((gates(c, &s.vdo, s.matrix), true)),
            Action::CoreWrites => effects::publish(c, &mut s),
            Action::Reads(process) => {
                let process = usize::from(process);
                let vdo = self.snapshot(&s, process);
                effects::begin(c, &mut s, process, &vdo);
            }
            Action::Writes(process) => effects::go_on(c, &mut s, usize::from(process)),
            Action::Up(d) => s.cluster[usize::from(d)].up = true,
            Action::Deadline(d) => s.expired[usize::from(d)] = true,
            Action::Deliver => effects::deliver(c, &mut s),
            Action::Lose => s.late = None,
            Action::Sync => s.cache = s.vdo,
            Action::Sight => s.blind = false,
            Action::User(kind, which) => {
                s.users -= 1;
                self.user_acts(&mut s, kind, which);
            }
            Action::Fault(kind, which) => {
                s.faults -= 1;
                self.fails(&mut s, kind, usize::from(which));
            }
        }
        judge::outlived(&mut s);
        s.bad &= !c.ignore;
        s
    }

    fn user_acts(&self, s: &mut State, kind: u32, which: u8) {
        let c = &self.0;
        match kind {
            user::EDIT => hand::edit(c, s, |vdo| vdo.configuration ^= 1),
            user::PIN => hand::edit(c, s, |vdo| vdo.pin = which),
            user::CPI => hand::edit(c, s, |vdo| vdo.wants[CPI] ^= true),
            user::CSI => hand::edit(c, s, |vdo| vdo.wants[CSI] ^= true),
            user::POLICY => hand::edit(c, s, |vdo| vdo.orphan ^= true),
            user::DELETE => hand::delete(c, s),
            user::RECREATE => hand::create(c, s),
            user::STRIP => hand::strip(c, s, usize::from(which)),
            user::LOSE_STATUS => hand::lose_status(c, s),
            user::MATRIX | user::NO_MATCH => s.matrix = which,
            user::EXTERNAL => s.external ^= 1,
            user::VOLUME => s.volumes ^= true,
            other => unreachable!("user action {other}"),
        }
    }

    fn fails(&self, s: &mut State, kind: u32, which: usize) {
        match kind {
            fault::CRASH if which == CORE => s.core = None,
            fault::CRASH => s.passes[which] = None,
            fault::LATE => effects::die_late(&self.0, s, which),
            fault::DOWN => s.cluster[which].up = false,
            fault::KILL => {
                s.cluster[which].up = false;
                s.dead[which] = true;
            }
            fault::DRIFT => {
                s.cluster[which].workload = Rev::NONE;
                s.cluster[which].up = false;
            }
            fault::DEADLINE => s.expired[which] = true,
            fault::BLIND => s.blind = true,
            other => unreachable!("fault {other}"),
        }
    }

    /// Violations of this state, [`STUCK`] included.
    pub fn verdict(&self, s: &State) -> u16 {
        if s.bad != 0 {
            return s.bad;
        }
        let mut actions = vec![];
        self.system(s, &mut actions);
        if actions.is_empty() && !judge::good(&self.0, s) { STUCK } else { 0 }
    }

    /// An action in words, for a counterexample.
    pub fn tell(&self, before: &State, action: &Action) -> String {
        let process = |p: &u8| ["cpi", "csi", "csi'"][usize::from(*p)];
        let driver = |d: &u8| ["cpi", "csi"][usize::from(*d)];
        let after = self.next(before, *action);
        match action {
            Action::CoreReads => format!("core reads, will publish {:?}", after.core),
            Action::CoreWrites => "core publishes".into(),
            Action::Reads(p) => {
                let pass = after.passes[usize::from(*p)];
                format!("{} reads, decides {:?}", process(p), pass.map(|pass| (pass.step, pass.after)))
            }
            Action::Writes(p) => {
                let pass = before.passes[usize::from(*p)];
                let act = pass.as_ref().and_then(effects::current);
                format!("{} does {act:?} (None: reports)", process(p))
            }
            Action::Up(d) => format!("{} becomes healthy", driver(d)),
            Action::Deadline(d) => format!("{} passes its deadline", driver(d)),
            Action::User(kind, which) => format!("USER {kind} {which}"),
            Action::Fault(kind, which) => format!("FAULT {kind} {which}"),
            Action::Deliver | Action::Lose | Action::Sync | Action::Sight => format!("{action:?}"),
        }
    }
}

impl Model for Order {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }
    fn actions(&self, s: &State, out: &mut Vec<Action>) {
        self.everything(s, out);
    }
    fn next_state(&self, s: &State, action: Action) -> Option<State> {
        Some(self.next(s, action))
    }
    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("no violation", |model: &Order, s: &State| model.verdict(s) == 0)]
    }
}
