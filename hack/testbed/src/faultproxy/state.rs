//! What all connections share: numbers, rules and how often they fired, records, recorded lists, open watches.
//!
//! One lock covers a request's admission, so that its number, the counts of all rules and its place in the log agree.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::answer::Reply;
use super::record::{Log, Outcome, Record, Server};
use super::request::{Kind, Request};
use super::rule::{self, Action, Point, Rule};

/// How many differing answers to one list are kept. The first ones are, so that their numbers stay what they are.
const KEPT_ANSWERS: usize = 16;

/// How a rule fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Its name.
    pub name: String,
    /// The rule.
    pub rule: Rule,
    /// How many requests it counted.
    pub counted: u64,
    /// How often it acted.
    pub fired: u64,
    /// Whether it will not act again.
    pub spent: bool,
    /// How many requests or watches it holds at the moment.
    pub holds: u64,
}

/// A rule that fires at a request.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Which rule, across all lists of rules that this proxy had.
    id: u64,
    pub(super) action: Action,
    pub(super) point: Point,
    gate: Arc<AtomicBool>,
}

impl Step {
    /// Whether the rule was released, or replaced by others.
    pub(super) fn is_released(&self) -> bool {
        self.gate.load(Ordering::Acquire)
    }

    /// A step of a rule with this number, for tests of what steps do.
    #[cfg(test)]
    pub(super) fn new(id: u64, action: Action) -> Step {
        Step { id, action, point: Point::Before, gate: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn release(&self) {
        self.gate.store(true, Ordering::Release);
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

/// What admission says of a request.
pub(super) struct Admission {
    /// The request's place among all.
    pub(super) id: u64,
    pub(super) steps: Vec<Step>,
    /// Where an open watch hears of rules that are set later.
    pub(super) later: Option<mpsc::UnboundedReceiver<Step>>,
    /// It came from a client that a rule killed.
    pub(super) from_the_dead: bool,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Told to whoever waits in a test: something happened.
    told: Condvar,
    /// Told to tasks: a rule was released or replaced.
    moved: watch::Sender<()>,
}

struct State {
    log: Log,
    rules: Vec<Live>,
    rules_ever: u64,
    records: Vec<Record>,
    connections: u64,
    writes: u64,
    timed: u64,
    watches: BTreeMap<u64, mpsc::UnboundedSender<Step>>,
    lists: BTreeMap<String, Vec<Reply>>,
    /// A rule is killing the client now.
    killing: bool,
    /// Connections up to this one were the killed client's.
    dead_connections: u64,
}

struct Live {
    fate: Fate,
    step: Step,
}

impl Shared {
    /// The rules must have been checked.
    pub(super) fn new(rules: Vec<Rule>, log: Log) -> Shared {
        let mut state = State {
            log,
            rules: Vec::new(),
            rules_ever: 0,
            records: Vec::new(),
            connections: 0,
            writes: 0,
            timed: 0,
            watches: BTreeMap::new(),
            lists: BTreeMap::new(),
            killing: false,
            dead_connections: 0,
        };
        state.replace_rules(rules);
        Shared { state: Mutex::new(state), told: Condvar::new(), moved: watch::Sender::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed while it looked at the records must not hang all others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.lock());
        self.told.notify_all();
        changed
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&[Record]) -> T) -> T {
        look(&self.lock().records)
    }

    pub(super) fn fates(&self) -> Vec<Fate> {
        self.lock().fates()
    }

    /// Looks whenever something happened, until `look` finds what it wants or the time is over.
    pub(super) fn wait<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&[Record], &[Fate]) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state.records, &state.fates()) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            state = self.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets everything go on that the old rules hold, and counts open watches for the new ones.
    pub(super) fn set_rules(&self, rules: Vec<Rule>) {
        self.change(|state| state.replace_rules(rules));
        self.moved.send_replace(());
    }

    /// Lets everything go on that these rules hold; they act no more. Says whether there is such a rule.
    pub(super) fn release(&self, which: impl Fn(&Fate) -> bool) -> bool {
        let found = self.change(|state| {
            let mut found = false;
            for live in state.rules.iter_mut().filter(|live| which(&live.fate)) {
                live.step.gate.store(true, Ordering::Release);
                live.fate.spent = true;
                found = true;
            }
            found
        });
        self.moved.send_replace(());
        found
    }

    /// Waits until the step's rule is released.
    pub(super) async fn released(&self, step: &Step) {
        let mut moved = self.moved();
        while !step.is_released() {
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    pub(super) fn moved(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }

    pub(super) fn connect(&self) -> u64 {
        let mut state = self.lock();
        state.connections += 1;
        state.connections
    }

    /// Numbers a request, counts it for every rule, writes it down, and says what shall happen to it.
    pub(super) fn admit(&self, connection: u64, request: Request) -> Admission {
        self.change(|state| state.admit(connection, request))
    }

    pub(super) fn fired(&self, request: u64, step: u64) {
        self.change(|state| state.fired(request, step));
    }

    pub(super) fn holds(&self, step: u64, change: impl FnOnce(&mut u64)) {
        self.change(|state| {
            if let Some(live) = state.rules.iter_mut().find(|live| live.step.id == step) {
                change(&mut live.fate.holds);
            }
        });
    }

    pub(super) fn update(&self, request: u64, update: impl FnOnce(&mut Record)) {
        self.change(|state| {
            if let Some(record) = state.record(request) {
                update(record);
            }
        });
    }

    /// The end of a request, which is written down once.
    pub(super) fn end(&self, request: u64, outcome: Outcome) {
        self.change(|state| {
            state.watches.remove(&request);
            if let Some(record) = state.record(request)
                && record.outcome == Outcome::Open
            {
                record.outcome = outcome;
                let record = record.clone();
                state.log.outcome(&record);
            }
        });
    }

    /// From now on nothing that comes is forwarded, until [`Shared::killed`].
    pub(super) fn kill_begins(&self) {
        self.lock().killing = true;
    }

    /// All connections so far were the dead client's. One that it began and that we did not accept yet cannot have
    /// brought a request: the handshake takes an answer from us and another word of the client.
    pub(super) fn kill_ends(&self, dead: bool) {
        let mut state = self.lock();
        state.killing = false;
        if dead {
            state.dead_connections = state.connections;
        }
    }

    /// Keeps an answer to a list, unless it is the one before.
    pub(super) fn record_list(&self, key: String, reply: &Reply) {
        let mut state = self.lock();
        let answers = state.lists.entry(key).or_default();
        if answers.len() < KEPT_ANSWERS && answers.last().is_none_or(|last| last.body != reply.body) {
            answers.push(reply.clone());
        }
    }

    pub(super) fn recorded_list(&self, key: &str, number: usize) -> Option<Reply> {
        self.lock().lists.get(key)?.get(number - 1).cloned()
    }
}

impl State {
    fn fates(&self) -> Vec<Fate> {
        self.rules.iter().map(|live| live.fate.clone()).collect()
    }

    fn record(&mut self, request: u64) -> Option<&mut Record> {
        // Numbers are places, from 1.
        self.records.get_mut(usize::try_from(request).ok()?.checked_sub(1)?)
    }

    fn replace_rules(&mut self, rules: Vec<Rule>) {
        for live in &self.rules {
            live.step.gate.store(true, Ordering::Release);
        }
        self.rules.clear();
        for (index, rule) in rules.into_iter().enumerate() {
            self.rules_ever += 1;
            let step = Step {
                id: self.rules_ever,
                action: rule.action.clone(),
                point: rule.point,
                gate: Arc::default(),
            };
            let fate =
                Fate { name: rule::label(index, &rule), rule, counted: 0, fired: 0, spent: false, holds: 0 };
            self.rules.push(Live { fate, step });
        }
        for (id, watch) in &self.watches {
            let Some(record) = self.records.iter().rfind(|record| record.id == *id) else { continue };
            for live in self.rules.iter_mut().filter(|live| live.step.action.is_of_streams()) {
                if let Some(step) = live.count(&record.request, None) {
                    // A watch that ends just now is none any more.
                    watch.send(step).ok();
                }
            }
        }
    }

    fn admit(&mut self, connection: u64, request: Request) -> Admission {
        let id = self.records.len() as u64 + 1;
        let from_the_dead = self.killing || connection <= self.dead_connections;
        let number = match request.kind {
            _ if from_the_dead => None,
            Kind::Write => {
                self.writes += 1;
                Some(self.writes)
            }
            Kind::Timed => {
                self.timed += 1;
                Some(self.timed)
            }
            Kind::Read | Kind::Watch | Kind::Trial => None,
        };
        let steps = if from_the_dead {
            Vec::new()
        } else {
            self.rules.iter_mut().filter_map(|live| live.count(&request, number)).collect()
        };
        let later = (request.kind == Kind::Watch && !from_the_dead).then(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            self.watches.insert(id, sender);
            receiver
        });
        let record = Record {
            id,
            connection,
            at: Timestamp::now(),
            number,
            request,
            rules: Vec::new(),
            server: Server::NotAsked,
            given: None,
            outcome: Outcome::Open,
            events: super::record::Events::default(),
        };
        self.log.request(&record);
        self.records.push(record);
        Admission { id, steps, later, from_the_dead }
    }

    fn fired(&mut self, request: u64, step: u64) {
        // The rule may have been replaced since it began to act.
        let Some(live) = self.rules.iter_mut().find(|live| live.step.id == step) else { return };
        live.fate.fired += 1;
        live.fate.spent |= live.is_used_up();
        let name = live.fate.name.clone();
        if let Some(record) = self.record(request)
            && !record.rules.contains(&name)
        {
            record.rules.push(name);
        }
    }
}

impl Live {
    /// Counts the request if it matches, and says what to do if it is one at which the rule fires.
    fn count(&mut self, request: &Request, number: Option<u64>) -> Option<Step> {
        if self.step.is_released() || !self.fate.rule.counts(request, number) {
            return None;
        }
        self.fate.counted += 1;
        self.fate.rule.nth.includes(self.fate.counted).then(|| self.step.clone())
    }

    /// Whether the last occurrence at which the rule fires has passed.
    fn is_used_up(&self) -> bool {
        self.fate.rule.nth.is_over_after(self.fate.counted)
    }
}
