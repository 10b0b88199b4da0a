//! Events: a courtesy to people. One that cannot be written is logged and forgotten, never an error.
//!
//! The same words about the same object are one event that counts; and however often something changes its mind, a
//! process writes no more than [`BURST`] at a time and one each [`REFILL`].

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::core::Request;
use kube::core::params::{Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::client::{Cluster, built};
use crate::clock::{Monotonic, monotonic, wall};
use crate::fault::KubeFault;
use crate::metrics::Metrics;
use crate::watch::lock;

/// How long emitting one may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The API server refuses a longer note.
const NOTE_LIMIT: usize = 1000;
/// The most bytes of an action, a reason or the name of a reporter.
const WORD_LIMIT: usize = 128;
/// How much of an object's name is in that of its events: with a dot and 16 digits it stays far below 253.
const STEM: usize = 200;
/// For how long the same event again is a repetition. An API server keeps events for an hour unless told otherwise.
const REPEATS: Duration = Duration::from_secs(600);
/// How many events are remembered.
const REMEMBERED: usize = 64;
/// How many events may be written at a time.
const BURST: u32 = 30;
/// After how long one more may be.
const REFILL: Duration = Duration::from_secs(10);

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As intended.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Weight {
    fn word(self) -> &'static str {
        match self {
            Weight::Normal => "Normal",
            Weight::Warning => "Warning",
        }
    }
}

/// Where the events of one operator come from. Clones remember together.
#[derive(Clone)]
pub struct Reporter {
    /// The operator, as in `vdo-core`.
    pub operator: String,
    /// The pod.
    pub pod: String,
    metrics: Metrics,
    memory: Arc<Mutex<Memory>>,
}

impl Reporter {
    /// Nothing was reported yet.
    pub fn new(operator: &str, pod: &str, metrics: &Metrics) -> Self {
        Reporter {
            operator: operator.to_owned(),
            pod: pod.to_owned(),
            metrics: metrics.clone(),
            memory: Arc::default(),
        }
    }

    /// Emits one event about an object. `reason` is that of the condition that it tells of; `action` is one word for what was
    /// done or not done.
    pub async fn emit<K>(
        &self,
        cluster: &Cluster,
        about: &K,
        weight: Weight,
        reason: &str,
        action: &str,
        note: &str,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let event = self.event(about, weight, reason, action, note);
        let course = lock(&self.memory).course(&event, monotonic());
        let sent = match course {
            Course::Drop => {
                tracing::debug!(reason, note, "too many events at a time; not written");
                return self.count("dropped");
            }
            Course::Write => self.write(cluster, &event).await.map(|()| "written"),
            Course::Count(name, count) => match self.again(cluster, &event, &name, count).await {
                // It was there for as long as the API server keeps events.
                Err(KubeFault::NotFound { .. } | KubeFault::Gone) => {
                    lock(&self.memory).renew(&event);
                    self.write(cluster, &event).await.map(|()| "written")
                }
                answer => answer.map(|()| "counted"),
            },
        };
        match sent {
            Ok(result) => self.count(result),
            Err(fault) => {
                lock(&self.memory).forget(&event);
                self.count("failed");
                tracing::warn!(reason, %fault, "event not written");
            }
        }
    }

    fn count(&self, result: &str) {
        self.metrics.events.with_label_values(&[result]).inc();
    }

    async fn write(&self, cluster: &Cluster, event: &Event) -> Result<(), KubeFault> {
        let body = serde_json::to_vec(event).map_err(|error| KubeFault::malformed(&error))?;
        let request = built(path(event).create(&PostParams::default(), body))?;
        cluster.send::<IgnoredAny>(DEADLINE, request).await.map(drop)
    }

    /// Counts one that is there.
    async fn again(&self, cluster: &Cluster, event: &Event, name: &str, count: u32) -> Result<(), KubeFault> {
        let series = json!({"series": {"count": count, "lastObservedTime": event.event_time}});
        let request = built(path(event).patch(name, &PatchParams::default(), &Patch::Merge(series)))?;
        cluster.send::<IgnoredAny>(DEADLINE, request).await.map(drop)
    }

    fn event<K>(&self, about: &K, weight: Weight, reason: &str, action: &str, note: &str) -> Event
    where
        K: Resource<DynamicType = ()>,
    {
        let meta = about.meta();
        // An event about a cluster-wide object lives in `default`; the API server insists.
        let namespace = meta.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let random = std::hash::RandomState::new().build_hasher().finish();
        let name = format!("{}.{random:016x}", subdomain(&about.name_any()));
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(wall())),
            reporting_controller: Some(format!("vdo.vmware.com/{}", self.operator)),
            reporting_instance: Some(bytes_clipped(&self.pod, WORD_LIMIT)),
            action: Some(bytes_clipped(action, WORD_LIMIT)),
            reason: Some(bytes_clipped(reason, WORD_LIMIT)),
            type_: Some(weight.word().to_owned()),
            note: Some(bytes_clipped(note, NOTE_LIMIT)),
            regarding: Some(ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

fn path(event: &Event) -> Request {
    Request::new(Event::url_path(&(), event.metadata.namespace.as_deref()))
}

/// What is done with an event.
#[derive(Debug, PartialEq, Eq)]
enum Course {
    /// It is new.
    Write,
    /// It is the one of this name again, for the so many-eth time.
    Count(String, u32),
    /// Too many came.
    Drop,
}

/// What was told lately, and how much may be told now.
#[derive(Default)]
struct Memory {
    told: VecDeque<Told>,
    /// How many were written, less what was refilled.
    spent: u32,
    refilled: Option<Monotonic>,
}

struct Told {
    what: What,
    name: String,
    count: u32,
    at: Monotonic,
}

/// What makes two events the same.
#[derive(Clone, PartialEq, Eq)]
struct What {
    kind: Option<String>,
    uid: Option<String>,
    name: Option<String>,
    type_: Option<String>,
    reason: Option<String>,
    note: Option<String>,
}

impl What {
    fn of(event: &Event) -> Self {
        let about = event.regarding.clone().unwrap_or_default();
        What {
            kind: about.kind,
            uid: about.uid,
            name: about.name,
            type_: event.type_.clone(),
            reason: event.reason.clone(),
            note: event.note.clone(),
        }
    }
}

impl Memory {
    fn course(&mut self, event: &Event, now: Monotonic) -> Course {
        if !self.spend(now) {
            return Course::Drop;
        }
        self.told.retain(|told| now.saturating_duration_since(told.at) < REPEATS);
        let what = What::of(event);
        if let Some(told) = self.told.iter_mut().find(|told| told.what == what) {
            (told.count, told.at) = (told.count + 1, now);
            return Course::Count(told.name.clone(), told.count);
        }
        if self.told.len() >= REMEMBERED {
            self.told.pop_front();
        }
        let name = event.metadata.name.clone().unwrap_or_default();
        self.told.push_back(Told { what, name, count: 1, at: now });
        Course::Write
    }

    /// The one that was there is gone, and this one takes its place.
    fn renew(&mut self, event: &Event) {
        let what = What::of(event);
        for told in self.told.iter_mut().filter(|told| told.what == what) {
            (told.name, told.count) = (event.metadata.name.clone().unwrap_or_default(), 1);
        }
    }

    /// One that was not written is not there to be counted.
    fn forget(&mut self, event: &Event) {
        let what = What::of(event);
        self.told.retain(|told| told.what != what);
    }

    fn spend(&mut self, now: Monotonic) -> bool {
        let since = *self.refilled.get_or_insert(now);
        let more = u32::try_from(now.saturating_duration_since(since).as_secs() / REFILL.as_secs())
            .unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(more);
        self.refilled = Some(if self.spent == 0 { now } else { since + REFILL * more.min(BURST) });
        let may = self.spent < BURST;
        self.spent += u32::from(may);
        may
    }
}

/// The beginning of a name as a DNS subdomain that ends in a letter or digit: the API server takes no other for an event.
fn subdomain(name: &str) -> String {
    let kept = name.bytes().take(STEM).map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte),
        _ => '-',
    });
    let kept: String = kept.collect();
    match kept.trim_matches(['.', '-']) {
        "" => "event".to_owned(),
        stem => stem.to_owned(),
    }
}

/// The text, cut at a character border so that it has at most `limit` bytes.
fn bytes_clipped(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn reporter(pod: &str) -> Reporter {
        Reporter::new("vdo-core", pod, &Metrics::new("vdo-core", "1").unwrap())
    }

    fn map(name: &str) -> ConfigMap {
        let metadata =
            ObjectMeta { name: Some(name.into()), namespace: Some("n".into()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    /// The API server's own rule for the name of an event.
    fn is_subdomain(name: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let label = |label: &str| {
            !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
        };
        name.len() <= 253 && name.split('.').all(label)
    }

    fn event(note: &str) -> Event {
        reporter("p").event(&map("m"), Weight::Normal, "AsWanted", "Verify", note)
    }

    #[test]
    fn an_event_stays_within_the_bounds_of_the_server() {
        let pod = "p".repeat(200);
        let cut_at_a_dot = format!("{}.{}", "x".repeat(199), "y".repeat(53));
        let cut_at_hyphens = format!("{}--.--{}", "x".repeat(197), "y".repeat(50));
        for name in
            ["x".repeat(253), cut_at_a_dot, cut_at_hyphens, "vdo".to_owned(), "ü:ü".to_owned(), String::new()]
        {
            let long = "ü".repeat(5000);
            let event = reporter(&pod).event(&map(&name), Weight::Warning, &long, &long, &long);
            let called = event.metadata.name.unwrap();
            assert!(is_subdomain(&called), "{called}");
            assert!(called.starts_with(&name[..name.len().min(197)]) || !name.is_ascii(), "{called}");
            assert!(event.note.unwrap().len() <= 1024);
            for word in [event.reporting_instance, event.action, event.reason] {
                assert!((1..=128).contains(&word.unwrap().len()));
            }
            assert_eq!(event.metadata.namespace.unwrap(), "n");
        }
    }

    #[test]
    fn the_same_words_again_are_counted_and_other_words_are_written() {
        let (mut memory, now) = (Memory::default(), monotonic());
        let first = event("a");
        let name = first.metadata.name.clone().unwrap();
        assert_eq!(memory.course(&first, now), Course::Write);
        assert_eq!(memory.course(&event("a"), now), Course::Count(name.clone(), 2));
        assert_eq!(memory.course(&event("b"), now), Course::Write);
        assert_eq!(memory.course(&event("a"), now + REPEATS / 2), Course::Count(name, 3));
        assert_eq!(memory.course(&event("a"), now + REPEATS * 2), Course::Write);
        memory.forget(&event("a"));
        assert_eq!(memory.course(&event("a"), now + REPEATS * 2), Course::Write);
    }

    #[test]
    fn what_changes_its_mind_all_the_time_writes_only_so_much() {
        let (mut memory, begin) = (Memory::default(), monotonic());
        let mut written = 0;
        for second in 0..3600 {
            let now = begin + Duration::from_secs(second);
            let course = memory.course(&event(&format!("{second}")), now);
            written += u32::from(course == Course::Write);
        }
        assert_eq!(written, BURST + 359);
        assert!(memory.told.len() <= REMEMBERED);
        // After an hour of silence there is room for a burst again, and not for more.
        let later = begin + Duration::from_secs(7200);
        let burst =
            (0..100).filter(|it| memory.course(&event(&format!("later {it}")), later) == Course::Write);
        assert_eq!(burst.count(), BURST as usize);
    }
}
