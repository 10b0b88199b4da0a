//! An exhaustive search that keeps the graph of what the system does by itself, so that convergence can be checked: from
//! every reachable state, with users quiet and no more faults, a good end must be reachable, every end must be good, and
//! the graph must have no cycle.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use vdo_plan::order::{Step, Verb, Why};

use crate::judge::{LIVELOCK, STUCK, UNCONVERGED, VIOLATIONS, good, names};
use crate::model::{Action, Order};
use crate::world::{Pass, State};

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// Reachable states.
    pub states: usize,
    /// Transitions.
    pub edges: usize,
    /// The longest shortest path.
    pub depth: usize,
    /// Seconds.
    pub seconds: f64,
    /// The search stopped before it was exhausted: it found what it was looking for, or met its cap.
    pub stopped: bool,
    /// The violations.
    pub violations: u16,
    /// States in which nothing moves any more.
    pub ends: usize,
    /// What was going on in some state, as a set of [`SIGHTS`].
    pub sights: u32,
    /// A shortest counterexample of each violation.
    pub traces: Vec<(u16, Vec<String>)>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict =
            if self.violations == 0 { "none violated".into() } else { names(self.violations).join(", ") };
        write!(
            f,
            "{:>10} states {:>11} edges  depth {:>3}  {:>6.1} s  {}{verdict}",
            self.states,
            self.edges,
            self.depth,
            self.seconds,
            if self.stopped { "(stopped) " } else { "" },
        )
    }
}

impl Found {
    /// The row of `docs/order-protocol.md` for this search. Counts are the same on every machine.
    pub fn row(&self, name: &str) -> String {
        let verdict = if self.violations == 0 { "none".into() } else { names(self.violations).join(", ") };
        format!("| {name} | {} | {} | {verdict} |", self.states, self.depth)
    }
}

/// What a search must come across, or it proves nothing about it.
pub const SIGHTS: &[&str] = &[
    "a finalizer put back",
    "status rebuilt",
    "a roll-out claimed",
    "a removal claimed",
    "an attempt applied",
    "drift repaired",
    "an attempt rolled back",
    "a removed driver restored",
    "an attempt installed",
    "an attempt refused",
    "a removal turned back",
    "objects deleted",
    "a removal recorded",
    "a finalizer released",
    "a late request",
];

fn sights(s: &State) -> u32 {
    let sight = |pass: &Pass| match pass.step {
        Step::Nothing => 0,
        Step::PutBackFinalizer => 1,
        Step::Rebuild => 1 << 1,
        Step::Claim { verb: Verb::Roll, .. } => 1 << 2,
        Step::Claim { verb: Verb::Remove, .. } => 1 << 3,
        Step::Apply { why: Why::Roll, .. } => 1 << 4,
        Step::Apply { why: Why::Repair, .. } => 1 << 5,
        Step::Apply { why: Why::Back, .. } => 1 << 6,
        Step::Apply { why: Why::Restore, .. } => 1 << 7,
        Step::Install { .. } => 1 << 8,
        Step::Refuse { .. } => 1 << 9,
        Step::Restored => 1 << 10,
        Step::Delete => 1 << 11,
        Step::Removed { .. } => 1 << 12,
        Step::Release { .. } => 1 << 13,
    };
    let late = if s.late.is_some() { 1 << 14 } else { 0 };
    s.passes.iter().flatten().map(sight).fold(late, |all, one| all | one)
}

/// How far to search.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Stop at the first of these violations.
    pub until: u16,
    /// Never hold more states than this.
    pub states: usize,
}

/// Keys are fingerprints already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 keys are hashed")
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

const ROOT: u32 = u32::MAX;

struct Search {
    model: Order,
    hasher: ahash::RandomState,
    parent: Vec<u32>,
    prints: Vec<u64>,
}

impl Search {
    fn print(&self, s: &State) -> u64 {
        self.hasher.hash_one(s)
    }

    /// The way from the start to a state, by replay.
    fn trace(&self, end: usize) -> Vec<String> {
        let mut path = vec![];
        let mut at = end as u32;
        while at != ROOT {
            path.push(at);
            at = self.parent[at as usize];
        }
        path.reverse();
        let mut s = self.model.start();
        let mut told = vec![];
        for &to in &path[1..] {
            let mut actions = vec![];
            self.model.everything(&s, &mut actions);
            let action = actions
                .into_iter()
                .find(|&a| self.print(&self.model.next(&s, a)) == self.prints[to as usize])
                .expect("the path was walked before");
            told.push(self.model.tell(&s, &action));
            s = self.model.next(&s, action);
        }
        told.push(format!("=> {:?}", s.vdo));
        told.push(format!("=> {:?} {:?} volumes {}", s.cluster, s.journal, s.volumes));
        told
    }
}

/// Explores a scenario breadth first.
pub fn explore(model: Order, limit: Limit) -> Found {
    let begun = Instant::now();
    // Fixed seeds: the same counts and the same traces on every run.
    let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
    let mut search = Search { model, hasher, parent: vec![], prints: vec![] };
    let mut ids: HashMap<u64, u32, BuildHasherDefault<AsIs>> = HashMap::default();
    let mut queue = VecDeque::from([model.start()]);
    search.parent.push(ROOT);
    search.prints.push(search.print(&queue[0]));
    ids.insert(search.prints[0], 0);
    let (mut first_edge, mut targets): (Vec<u64>, Vec<u32>) = (vec![0], vec![]);
    let mut good_ends: Vec<u32> = vec![];
    let mut first: Vec<Option<usize>> = vec![None; VIOLATIONS.len()];
    let mut found = Found::default();
    let (mut id, mut level_ends) = (0usize, 1usize);
    let mut actions: Vec<Action> = vec![];
    while let Some(s) = queue.pop_front() {
        if id == level_ends {
            found.depth += 1;
            level_ends = search.parent.len();
        }
        found.sights |= sights(&s);
        let mut violations = s.bad;
        actions.clear();
        if violations == 0 {
            model.system(&s, &mut actions);
            if actions.is_empty() {
                found.ends += 1;
                if good(&model.0, &s) {
                    good_ends.push(id as u32);
                } else {
                    violations = STUCK;
                }
            }
            actions.clear();
            model.everything(&s, &mut actions);
        } else {
            good_ends.push(id as u32); // reported as what it is, not also as unconverged
        }
        if violations != 0 {
            found.violations |= violations;
            for (n, (bit, _)) in VIOLATIONS.iter().enumerate() {
                if violations & bit != 0 && first[n].is_none() {
                    first[n] = Some(id);
                }
            }
            if violations & limit.until != 0 {
                found.stopped = true;
                break;
            }
        }
        for &action in &actions {
            let next = model.next(&s, action);
            if next == s {
                continue;
            }
            found.edges += 1;
            let print = search.print(&next);
            let to = match ids.get(&print) {
                Some(&to) => to,
                None if search.parent.len() >= limit.states => {
                    found.stopped = true;
                    continue;
                }
                None => {
                    let to = search.parent.len() as u32;
                    ids.insert(print, to);
                    search.parent.push(id as u32);
                    search.prints.push(print);
                    queue.push_back(next);
                    to
                }
            };
            if action.of_the_system() {
                targets.push(to);
            }
        }
        first_edge.push(targets.len() as u64);
        id += 1;
    }
    drop(ids);
    found.states = search.parent.len();
    if !found.stopped {
        let graph = Graph { first_edge, targets };
        for (violation, culprit) in
            [(UNCONVERGED, graph.without_way_to(good_ends)), (LIVELOCK, graph.on_a_cycle())]
        {
            if let Some(at) = culprit {
                found.violations |= violation;
                let n = VIOLATIONS.iter().position(|(bit, _)| *bit == violation).expect("it is listed");
                first[n] = Some(at);
            }
        }
    }
    for (n, (bit, _)) in VIOLATIONS.iter().enumerate() {
        if let Some(at) = first[n] {
            found.traces.push((*bit, search.trace(at)));
        }
    }
    found.seconds = begun.elapsed().as_secs_f64();
    found
}

/// The steps of the system, in compressed rows.
struct Graph {
    first_edge: Vec<u64>,
    targets: Vec<u32>,
}

impl Graph {
    fn nodes(&self) -> usize {
        self.first_edge.len() - 1
    }
    fn from(&self, node: usize) -> &[u32] {
        &self.targets[self.first_edge[node] as usize..self.first_edge[node + 1] as usize]
    }

    /// A node from which none of `ends` can be reached.
    fn without_way_to(&self, ends: Vec<u32>) -> Option<usize> {
        let mut first = vec![0u64; self.nodes() + 1];
        for &to in &self.targets {
            first[to as usize + 1] += 1;
        }
        for node in 0..self.nodes() {
            first[node + 1] += first[node];
        }
        let mut fill = first.clone();
        let mut sources = vec![0u32; self.targets.len()];
        for node in 0..self.nodes() {
            for &to in self.from(node) {
                sources[fill[to as usize] as usize] = node as u32;
                fill[to as usize] += 1;
            }
        }
        drop(fill);
        let mut reaches = vec![false; self.nodes()];
        let mut todo = ends;
        todo.iter().for_each(|&end| reaches[end as usize] = true);
        while let Some(node) = todo.pop() {
            for &from in &sources[first[node as usize] as usize..first[node as usize + 1] as usize] {
                if !reaches[from as usize] {
                    reaches[from as usize] = true;
                    todo.push(from);
                }
            }
        }
        reaches.iter().position(|reaches| !reaches)
    }

    /// A node on a cycle, or behind one.
    fn on_a_cycle(&self) -> Option<usize> {
        let mut incoming = vec![0u32; self.nodes()];
        for &to in &self.targets {
            incoming[to as usize] += 1;
        }
        let mut todo: Vec<u32> = (0..self.nodes() as u32).filter(|&n| incoming[n as usize] == 0).collect();
        while let Some(node) = todo.pop() {
            for &to in self.from(node as usize) {
                incoming[to as usize] -= 1;
                if incoming[to as usize] == 0 {
                    todo.push(to);
                }
            }
        }
        incoming.iter().position(|&n| n > 0)
    }
}
