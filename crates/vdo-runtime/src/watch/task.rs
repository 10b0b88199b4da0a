//! The task of one watch: list, follow, and list again.
//!
//! Nobody tells us of an event that got lost on its way, as in a proxy or in a server that lags behind. So everything is
//! listed again every few minutes, whatever the watch shows, and at once where there is a sign of a gap: a version that is
//! no longer kept, an answer that cannot be read, an event that is older than one before it.

use std::fmt::Debug;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use super::{Pulse, Rows, STALE_AFTER, Selector, Step, Trouble, lock};
use crate::client::{READ_DEADLINE, call};
use crate::clock::{Monotonic, jittered, monotonic};
use crate::configs::compare_versions;
use crate::fault::{KubeFault, Retry};
use crate::wake::Wake;

/// Objects per page of a list: a page is held up to three times while it is read, and in a large cluster that is most of
/// what an operator adds to its rows.
const PAGE: u32 = 50;
/// How long one page of a list may take.
const PAGE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a list is relied on, with its jitter at most 281 s. A watch ends with it, so an event that got lost is made
/// good within five minutes.
const LIST_AGE: Duration = Duration::from_secs(225);
/// The grace after which a watch without its end is dead.
const WATCH_GRACE: Duration = Duration::from_secs(5);
/// A watch that is refused is refused by then; one that says nothing for so long is open.
const FIRST_WORD: Duration = Duration::from_millis(100);
/// The back-off of a fault that passes by itself.
const SOON: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// The back-off of a fault that a person has to mend.
const SLOWLY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

pub(super) struct Task<K, R, F> {
    pub(super) api: Api<K>,
    pub(super) selector: Selector,
    pub(super) row: F,
    pub(super) rows: Rows<R>,
    pub(super) wake: Wake,
    pub(super) pulse: Pulse,
}

/// How far a watch has come.
struct Place {
    /// The latest version that was seen; empty before the first list.
    version: String,
    /// When everything is listed again.
    list_at: Monotonic,
    /// Since when lists have been older than what was seen.
    older_since: Option<Monotonic>,
}

impl Place {
    fn new() -> Self {
        Place { version: String::new(), list_at: monotonic(), older_since: None }
    }

    fn step(&self) -> Step {
        // A watch of a moment is not worth opening.
        if self.left() < SOON.1 { Step::List } else { Step::Follow }
    }

    fn left(&self) -> Duration {
        self.list_at.saturating_duration_since(monotonic())
    }

    /// What is known may have a gap.
    fn doubt(&mut self) {
        self.list_at = monotonic();
    }

    fn listed(&mut self, version: String) {
        *self = Place { version, list_at: monotonic() + jittered(LIST_AGE), older_since: None };
    }

    /// Whether a list of this version may be taken. One from the past would turn rows back: a server that lags behind
    /// is asked again. If it stays so, the store itself went back, as after a restore, and the past is the present.
    fn admit(&mut self, version: &str) -> Result<(), KubeFault> {
        if !is_older(version, &self.version) {
            self.older_since = None;
            return Ok(());
        }
        let since = *self.older_since.get_or_insert_with(monotonic);
        if monotonic().duration_since(since) > STALE_AFTER {
            return Ok(());
        }
        let message = format!("it lists version {version} after it has shown {}", self.version);
        Err(KubeFault::Other { message })
    }

    /// Goes on to the version of an event. In one watch they only grow; where one does not, something between us and the
    /// server delays or swaps events, and nobody can tell what else it does.
    fn advance(&mut self, version: Option<&str>) -> Result<(), KubeFault> {
        let Some(version) = version.filter(|version| !version.is_empty()) else { return Ok(()) };
        if is_older(version, &self.version) {
            let message = format!("its watch shows version {version} after {}", self.version);
            self.doubt();
            return Err(KubeFault::Other { message });
        }
        version.clone_into(&mut self.version);
        Ok(())
    }

    /// Goes on to the version of a bookmark. The cache of a server may be a little behind the list that another part of it
    /// answered, so an older one means nothing.
    fn mark(&mut self, version: String) {
        if !is_older(&version, &self.version) {
            self.version = version;
        }
    }
}

/// Versions that are no numbers are never older.
fn is_older(one: &str, other: &str) -> bool {
    compare_versions(one, other).is_some_and(|order| order.is_lt())
}

impl<K, R, F> Task<K, R, F>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    R: PartialEq + Send + Sync + 'static,
    F: Fn(&K) -> Option<R> + Send + Sync + 'static,
{
    pub(super) async fn run(self) {
        let mut place = Place::new();
        let mut pause = Pause::default();
        loop {
            let (started, step) = (monotonic(), place.step());
            let outcome = match step {
                Step::List => self.list(&mut place).await,
                // What was seen before a fault is not asked for again.
                Step::Follow => self.follow(&mut place).await,
            };
            match outcome {
                // A proxy that ends every watch at once must not make us spin.
                Ok(()) if step == Step::Follow && monotonic().duration_since(started) < SOON.0 => {
                    tokio::time::sleep(jittered(SOON.1)).await;
                }
                Ok(()) => {}
                Err(fault) => {
                    if fault.is_answer() {
                        self.pulse.beat();
                    }
                    // A version that is no longer kept, an answer that we could not read and a kind that is gone for a
                    // while leave a gap.
                    if matches!(
                        fault,
                        KubeFault::Gone | KubeFault::Malformed { .. } | KubeFault::NotFound { .. }
                    ) {
                        place.doubt();
                    }
                    if monotonic().duration_since(started) > SLOWLY.1 {
                        pause = Pause::default();
                    }
                    let wait = pause.after(&fault);
                    self.failed(step, fault);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Reads everything, page by page, into the rows; then what was not named is gone.
    async fn list(&self, place: &mut Place) -> Result<(), KubeFault> {
        let mut params = ListParams {
            label_selector: self.selector.labels.clone(),
            field_selector: self.selector.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        let mut changed = false;
        let mut first = true;
        loop {
            let page = call(PAGE_DEADLINE, self.api.list(&params)).await?;
            self.pulse.beat();
            // What has no version is no list of an API server, and would empty the rows.
            let version = page.metadata.resource_version.filter(|version| !version.is_empty());
            let version =
                version.ok_or_else(|| KubeFault::Malformed { message: "a list without a version".into() })?;
            if std::mem::take(&mut first) {
                place.admit(&version)?;
                lock(&self.rows.table).round += 1;
            }
            for object in &page.items {
                changed |= lock(&self.rows.table).put(key(object), (self.row)(object));
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                changed |= lock(&self.rows.table).end_of_list();
                changed |= self.recovered(Step::List);
                if changed {
                    self.wake();
                }
                place.listed(version);
                return Ok(());
            }
        }
    }

    /// Follows the changes until the server ends the watch, or until it fails.
    async fn follow(&self, place: &mut Place) -> Result<(), KubeFault> {
        let left = place.left();
        let params = WatchParams {
            label_selector: self.selector.labels.clone(),
            field_selector: self.selector.fields.clone(),
            timeout: u32::try_from(left.as_secs()).ok(),
            bookmarks: true,
            send_initial_events: false,
        };
        // A connection that died without a word gives neither events nor an end, and one that never ends would put off
        // the next list for ever.
        let end = monotonic() + left + WATCH_GRACE;
        let stream = call(READ_DEADLINE, self.api.watch(&params, &place.version)).await?;
        self.pulse.beat();
        let mut stream = stream.map_err(KubeFault::from).boxed();
        let mut first = tokio::time::timeout(FIRST_WORD, stream.try_next()).await.ok().transpose()?;
        // A watch whose first word is a fault was never open.
        let open = !matches!(first, Some(None | Some(WatchEvent::Error(_))));
        if open && self.recovered(Step::Follow) {
            self.wake.raise();
        }
        loop {
            let event = match first.take() {
                Some(event) => event,
                None => call(end.saturating_duration_since(monotonic()), stream.try_next()).await?,
            };
            let Some(event) = event else { return Ok(()) };
            self.pulse.beat();
            let changed = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    place.advance(object.meta().resource_version.as_deref())?;
                    lock(&self.rows.table).put(key(&object), (self.row)(&object))
                }
                WatchEvent::Deleted(object) => {
                    place.advance(object.meta().resource_version.as_deref())?;
                    lock(&self.rows.table).put(key(&object), None)
                }
                WatchEvent::Bookmark(bookmark) => {
                    place.mark(bookmark.metadata.resource_version);
                    false
                }
                WatchEvent::Error(status) => return Err(KubeFault::from_status(&status)),
            };
            if changed {
                self.wake();
            }
        }
    }

    /// A row changed.
    fn wake(&self) {
        if lock(&self.rows.table).urgent { self.wake.hurry() } else { self.wake.raise() }
    }

    /// This step works. True if readers thought that the watch did not.
    fn recovered(&self, step: Step) -> bool {
        let mut table = lock(&self.rows.table);
        // A list does not make good a watch that is refused.
        let over = |trouble: &mut Trouble| step == Step::Follow || trouble.step == Step::List;
        let Some(trouble) = table.trouble.take_if(over) else { return false };
        let seconds = monotonic().duration_since(trouble.since).as_secs();
        tracing::info!(watch = self.rows.name, seconds, "watch is back");
        trouble.told
    }

    /// The watch fails. Wakes the loop once when readers begin to see it.
    fn failed(&self, step: Step, fault: KubeFault) {
        let mut table = lock(&self.rows.table);
        let known = table.trouble.as_ref().map(|trouble| (trouble.since, trouble.fault.cause()));
        // Expired versions are the normal end of a long silence, and mended by the list that follows.
        if fault == KubeFault::Gone {
            return;
        }
        if known.is_none_or(|(_, cause)| cause != fault.cause()) {
            tracing::warn!(watch = self.rows.name, %fault, "watch fails");
        }
        let since = known.map_or_else(monotonic, |(since, _)| since);
        let told = table.trouble.as_ref().is_some_and(|trouble| trouble.told);
        let mut trouble = Trouble { since, fault, step, told };
        if trouble.counts() && !told {
            trouble.told = true;
            self.wake.raise();
        }
        table.trouble = Some(trouble);
    }
}

/// The growing pause of one watch.
#[derive(Default)]
struct Pause(Option<Duration>);

impl Pause {
    fn after(&mut self, fault: &KubeFault) -> Duration {
        let (first, most) = match fault.retry() {
            Retry::Soon | Retry::Reread => SOON,
            Retry::Slowly => SLOWLY,
            Retry::After(pause) => return jittered(pause.max(SOON.0)),
        };
        let pause = self.0.map_or(first, |last| (last * 2).clamp(first, most));
        self.0 = Some(pause);
        jittered(pause)
    }
}

fn key<K: Resource>(object: &K) -> Box<str> {
    let name = object.meta().name.as_deref().unwrap_or_default();
    match object.meta().namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}").into(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_made_anew_within_five_minutes_with_all_that_may_come_between() {
        // The jitter, the grace of a watch that the server does not end, and the pause after it.
        let longest = LIST_AGE.mul_f64(1.25) + WATCH_GRACE + SOON.1.mul_f64(1.25);
        assert!(longest < Duration::from_secs(300), "{longest:?}");
        // The library refuses a longer watch.
        assert!(LIST_AGE.mul_f64(1.25) < Duration::from_secs(295));
    }
}
