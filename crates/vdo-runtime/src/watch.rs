//! Watches. Each has a task and a back-off of its own, so that one that is refused never slows another, and
//! keeps small rows in place, so that thousands of objects cost what is used of them.
//!
//! We list and watch through `kube::Api` and not through `kube::runtime::watcher`: that stream hides
//! bookmarks and the end of a watch, without which nobody can tell a quiet watch from a dead one. [`task`] says when
//! there may be a gap in what was seen, and when everything is listed again.

mod task;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::core::DeserializeGuard;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use vdo_api::condition::clip;
use vdo_plan::Reading;

use crate::clock::{Monotonic, monotonic};
use crate::fault::{KubeFault, Retry};
use crate::wake::Wake;
use task::Task;

/// A watch that failed for so long is no longer believed.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// Which objects of a kind are watched; the `Api` says in which namespace.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// A label selector.
    pub labels: Option<String>,
    /// A field selector.
    pub fields: Option<String>,
}

impl Selector {
    /// All of them.
    pub fn all() -> Self {
        Selector::default()
    }

    /// Those with these labels.
    pub fn labels(labels: impl Into<String>) -> Self {
        Selector { labels: Some(labels.into()), fields: None }
    }

    /// Those with these fields.
    pub fn fields(fields: impl Into<String>) -> Self {
        Selector { labels: None, fields: Some(fields.into()) }
    }

    /// The one of this name.
    pub fn name(name: &str) -> Self {
        Selector::fields(format!("metadata.name={name}"))
    }
}

/// The watches of one process. Dropping it ends them.
pub struct Watches {
    wake: Wake,
    pulses: Pulses,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Watches {
    /// No watch yet; each that is added raises this wake-up.
    pub fn new(wake: &Wake) -> Self {
        Watches { wake: wake.clone(), pulses: Pulses::default(), tasks: Mutex::default() }
    }

    /// Watches objects of a type that decodes whatever the server may hold: built-in kinds, metadata, or a
    /// type of ours with lenient fields. `row` says what is kept of an object; `None` keeps nothing.
    pub fn watch<K, R>(
        &self,
        name: &'static str,
        api: Api<K>,
        selector: Selector,
        row: impl Fn(&K) -> Option<R> + Send + Sync + 'static,
    ) -> Rows<R>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        R: PartialEq + Send + Sync + 'static,
    {
        let rows = Rows::new(name);
        let pulse = self.pulses.add(name);
        let task = Task { api, selector, row, rows: rows.clone(), wake: self.wake.clone(), pulse };
        let handle = tokio::spawn(task.run());
        lock(&self.tasks).push(handle);
        rows
    }

    /// Watches custom resources: one that does not decode is given to `row` as an error text, and stops
    /// nothing.
    pub fn watch_guarded<K, R>(
        &self,
        name: &'static str,
        api: Api<DeserializeGuard<K>>,
        selector: Selector,
        row: impl Fn(Result<&K, &Broken>) -> Option<R> + Send + Sync + 'static,
    ) -> Rows<R>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        R: PartialEq + Send + Sync + 'static,
    {
        self.watch(name, api, selector, move |guard: &DeserializeGuard<K>| match &guard.0 {
            Ok(object) => row(Ok(object)),
            Err(invalid) => row(Err(&Broken::new(&invalid.metadata, &invalid.error))),
        })
    }

    /// When each watch last heard from the server.
    pub fn pulses(&self) -> Pulses {
        self.pulses.clone()
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for task in lock(&self.tasks).iter() {
            task.abort();
        }
    }
}

/// An object that does not decode into its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What is wrong with it.
    pub why: String,
}

impl Broken {
    pub(crate) fn new(
        meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
        error: &str,
    ) -> Self {
        Broken {
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            why: clip(error, 256),
        }
    }
}

/// When each watch last heard from the server: an event, a bookmark, the end of a watch or a refusal.
#[derive(Clone, Default)]
pub struct Pulses(Arc<Mutex<Vec<(&'static str, Pulse)>>>);

#[derive(Clone)]
struct Pulse(Arc<Mutex<Monotonic>>);

impl Pulse {
    fn beat(&self) {
        *lock(&self.0) = monotonic();
    }
}

impl Pulses {
    fn add(&self, name: &'static str) -> Pulse {
        let pulse = Pulse(Arc::new(Mutex::new(monotonic())));
        lock(&self.0).push((name, pulse.clone()));
        pulse
    }

    /// How long each watch has been silent.
    pub fn ages(&self) -> Vec<(&'static str, Duration)> {
        let now = monotonic();
        lock(&self.0).iter().map(|(name, pulse)| (*name, now.duration_since(*lock(&pulse.0)))).collect()
    }
}

/// The rows of one watch. Cheap to clone; all clones see the same rows.
pub struct Rows<R> {
    name: &'static str,
    table: Arc<Mutex<Table<R>>>,
}

impl<R> Clone for Rows<R> {
    fn clone(&self) -> Self {
        Rows { name: self.name, table: self.table.clone() }
    }
}

struct Table<R> {
    rows: BTreeMap<Box<str>, Slot<R>>,
    /// Grows with each list. A row that the latest complete list did not name is gone.
    round: u64,
    listed: bool,
    trouble: Option<Trouble>,
    urgent: bool,
}

struct Slot<R> {
    round: u64,
    row: R,
}

struct Trouble {
    since: Monotonic,
    fault: KubeFault,
    step: Step,
    /// Whether the loop was woken for it.
    told: bool,
}

/// What a watch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    List,
    Follow,
}

impl Trouble {
    /// A refusal counts at once, an outage after a while.
    fn counts(&self) -> bool {
        self.fault.retry() == Retry::Slowly || monotonic().duration_since(self.since) > STALE_AFTER
    }
}

/// A look at the rows.
pub struct View<'a, R>(&'a BTreeMap<Box<str>, Slot<R>>);

impl<'a, R> View<'a, R> {
    /// The row of a namespaced object.
    pub fn named(&self, namespace: &str, name: &str) -> Option<&'a R> {
        self.of(&format!("{namespace}/{name}"))
    }

    /// The row under this key: `namespace/name`, or `name` for a cluster-wide object.
    pub fn of(&self, key: &str) -> Option<&'a R> {
        self.0.get(key).map(|slot| &slot.row)
    }

    /// All keys and rows, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a R)> + use<'a, R> {
        self.0.iter().map(|(key, slot)| (&**key, &slot.row))
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = &'a R> + use<'a, R> {
        self.0.values().map(|slot| &slot.row)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<R> Rows<R> {
    fn new(name: &'static str) -> Self {
        let table = Table { rows: BTreeMap::new(), round: 0, listed: false, trouble: None, urgent: false };
        Rows { name, table: Arc::new(Mutex::new(table)) }
    }

    /// A change of these is looked at without the pause between passes: they say what is wanted, and what a neighbour answers
    /// to that. They must change seldom.
    pub fn urgent(self) -> Self {
        lock(&self.table).urgent = true;
        self
    }

    /// What was seen. Unreadable until the first list ended, when the server refuses, and when the watch has
    /// failed for longer than half a minute. Never `Absent`: nothing found is an empty view.
    pub fn with<T>(&self, look: impl FnOnce(View<'_, R>) -> T) -> Reading<T> {
        let table = lock(&self.table);
        match &table.trouble {
            Some(trouble) if !table.listed || trouble.counts() => {
                Reading::Unreadable(format!("{}: {}", self.name, trouble.fault))
            }
            None if !table.listed => Reading::Unreadable(format!("{}: not listed yet", self.name)),
            Some(_) | None => Reading::Present(look(View(&table.rows))),
        }
    }

    /// The rows as they were last seen, however long ago.
    pub fn last_seen<T>(&self, look: impl FnOnce(View<'_, R>) -> T) -> T {
        look(View(&lock(&self.table).rows))
    }

    /// Since when the watch has been failing, if it is.
    pub fn failing_since(&self) -> Option<Monotonic> {
        lock(&self.table).trouble.as_ref().map(|trouble| trouble.since)
    }
}

impl<R: Clone> Rows<R> {
    /// A copy of one row.
    pub fn one(&self, key: &str) -> Reading<R> {
        self.with(|view| view.of(key).cloned()).and_then(Reading::from)
    }

    /// A copy of all rows.
    pub fn all(&self) -> Reading<Vec<R>> {
        self.with(|view| view.rows().cloned().collect())
    }
}

impl<R: PartialEq> Table<R> {
    /// Puts the row in its place. True if it differs from what was there.
    fn put(&mut self, key: Box<str>, row: Option<R>) -> bool {
        let round = self.round;
        match row {
            Some(row) => match self.rows.get_mut(&key) {
                Some(slot) => {
                    slot.round = round;
                    std::mem::replace(&mut slot.row, row) != slot.row
                }
                None => self.rows.insert(key, Slot { round, row }).is_none(),
            },
            None => self.rows.remove(&key).is_some(),
        }
    }

    /// Ends a list: what it did not name is gone. True if something is gone, or if it was the first.
    fn end_of_list(&mut self) -> bool {
        let (before, round) = (self.rows.len(), self.round);
        self.rows.retain(|_, slot| slot.round == round);
        self.rows.len() != before || !std::mem::replace(&mut self.listed, true)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
