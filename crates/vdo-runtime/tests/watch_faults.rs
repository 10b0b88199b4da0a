//! Watches under an API server, or something in front of it, that answers what it should not. Each fault has its test, and
//! in each the other watches go on and no request follows the last one without a pause. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use serde_json::{Value, json};
use support::{Api, Reply, Seen, config_map, config_map_path, until};
use tokio::time::{Instant, timeout};
use vdo_plan::Reading;
use vdo_runtime::rows::LeaseRow;
use vdo_runtime::{Rows, Selector, Wake, Watches};

const SECOND: Duration = Duration::from_secs(1);
const CONFIGS: &str = "/api/v1/namespaces/a/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/a/leases";

/// Two watches over one server: of ConfigMaps, which the faults meet, and of Leases, which they do not.
struct Bed {
    api: Api,
    rows: Rows<String>,
    leases: Rows<LeaseRow>,
    wake: Wake,
    _watches: Watches,
}

impl Bed {
    /// With these ConfigMaps, and both watches open.
    async fn with(values: &[(&str, &str)]) -> Self {
        let bed = Bed::over(stored(values));
        until("both watches are open", SECOND, || bed.api.watches_open() == 2).await;
        bed.shows(values, SECOND).await;
        timeout(SECOND, bed.wake.raised()).await.unwrap();
        bed
    }

    fn over(api: Api) -> Self {
        let (cluster, wake) = (api.cluster(), Wake::new());
        let watches = Watches::new(&wake);
        let client = || cluster.client().clone();
        let rows = watches.watch(
            "configs",
            KubeApi::<ConfigMap>::namespaced(client(), "a"),
            Selector::all(),
            |it| it.data.as_ref()?.get("key").cloned(),
        );
        let leases = watches.leases("leases", KubeApi::<Lease>::namespaced(client(), "a"), Selector::all());
        Bed { api, rows, leases, wake, _watches: watches }
    }

    fn put(&self, name: &str, value: &str) -> Value {
        self.api.put(&config_map_path(name), config_map(name, value))
    }

    /// Lets the requests for ConfigMaps that `meets` picks be answered so.
    fn answers(&self, meets: fn(&Seen) -> bool, reply: fn() -> Reply) {
        self.api.script(move |seen| (seen.path == CONFIGS && meets(seen)).then(reply));
    }

    /// Makes the watch of ConfigMaps list again.
    fn expire(&self) {
        self.api.send(CONFIGS, &json!({"type": "ERROR", "object": support::status(410, "too old")}));
    }

    async fn shows(&self, expected: &[(&str, &str)], within: Duration) {
        let mut expected: Vec<_> =
            expected.iter().map(|(name, value)| (format!("a/{name}"), (*value).to_owned())).collect();
        expected.sort();
        let what = format!("rows are {expected:?}");
        until(&what, within, || self.rows() == Reading::Present(expected.clone())).await;
    }

    fn rows(&self) -> Reading<Vec<(String, String)>> {
        self.rows.with(|view| view.iter().map(|(key, row)| (key.to_owned(), row.clone())).collect())
    }

    fn last_seen(&self) -> usize {
        self.rows.last_seen(|view| view.len())
    }

    /// What a reader is told in the place of rows.
    fn says(&self) -> String {
        match self.rows() {
            Reading::Unreadable(why) => why,
            rows => format!("{rows:?}"),
        }
    }

    fn asked(&self, collection: &str, of: fn(&Seen) -> bool) -> usize {
        self.api.log().iter().filter(|seen| seen.path == collection && of(seen)).count()
    }

    fn lists(&self) -> usize {
        self.asked(CONFIGS, is_list)
    }

    /// What was said until now was said, and nothing new is.
    async fn wakes_nobody_in(&self, time: Duration) {
        self.wake.raise();
        self.wake.raised().await;
        timeout(time, self.wake.raised()).await.expect_err("the loop is woken for nothing new");
    }

    /// Lets time pass, in which the other watch shows what happens and was never opened anew; gives how many requests for
    /// ConfigMaps there were.
    async fn requests_in(&self, time: Duration) -> usize {
        let (before, others) = (self.asked(CONFIGS, any), self.asked(LEASES, any));
        let end = Instant::now() + time;
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            let holder = format!("round {round}");
            self.api.put(&format!("{LEASES}/one"), lease(&holder));
            until("the other watch goes on", SECOND, || {
                self.leases.one("a/one").present().is_some_and(|row| row.holder == holder)
            })
            .await;
            tokio::time::sleep(SECOND).await;
        }
        assert_eq!(self.asked(LEASES, any), others, "the other watch was disturbed");
        self.asked(CONFIGS, any) - before
    }
}

fn stored(values: &[(&str, &str)]) -> Api {
    let api = Api::new();
    for (name, value) in values {
        api.put(&config_map_path(name), config_map(name, value));
    }
    api
}

fn lease(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "one", "namespace": "a"},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    })
}

fn any(_: &Seen) -> bool {
    true
}

fn is_list(seen: &Seen) -> bool {
    !seen.is_watch()
}

fn is_watch(seen: &Seen) -> bool {
    seen.is_watch()
}

// 410 and lost events.

#[tokio::test(start_paused = true)]
async fn a_version_that_is_no_longer_kept_when_a_watch_begins_is_listed_again_and_no_event_is_lost() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    bed.answers(is_watch, || Reply::Refuse(410, "too old resource version"));
    bed.api.end_watches();
    bed.api.delete_unseen(&config_map_path("two"));
    bed.api.put_unseen(&config_map_path("three"), config_map("three", "3"));
    bed.shows(&[("one", "1"), ("three", "3")], 5 * SECOND).await;
    timeout(SECOND, bed.wake.raised()).await.expect("what was missed wakes the loop");
    // It never gets better, and the rows are current all the same.
    until("the other watch is open", 5 * SECOND, || bed.api.watches_open() == 1).await;
    let requests = bed.requests_in(60 * SECOND).await;
    assert!((30..=70).contains(&requests), "{requests} requests in a minute");
    bed.api.put_unseen(&config_map_path("three"), config_map("three", "4"));
    bed.shows(&[("one", "1"), ("three", "4")], 5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_no_longer_kept_in_the_middle_of_a_watch_is_listed_again_and_no_event_is_lost() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    bed.api.delete_unseen(&config_map_path("two"));
    bed.api.put_unseen(&config_map_path("three"), config_map("three", "3"));
    bed.expire();
    bed.shows(&[("one", "1"), ("three", "3")], 5 * SECOND).await;
    timeout(SECOND, bed.wake.raised()).await.expect("what was missed wakes the loop");
    assert_eq!(bed.lists(), 2);
    assert_eq!(bed.requests_in(60 * SECOND).await, 0, "it is quiet again");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_expires_between_its_pages_begins_anew_and_removes_nothing() {
    let bed = Bed::with(&[("one", "1"), ("two", "2"), ("three", "3")]).await;
    bed.api.page(1);
    bed.answers(|seen| seen.query.contains_key("continue"), || Reply::Refuse(410, "the token expired"));
    bed.expire();
    let requests = bed.requests_in(30 * SECOND).await;
    assert!((10..=60).contains(&requests), "{requests} requests in half a minute");
    assert_eq!(bed.last_seen(), 3);
    bed.api.clear_script();
    bed.api.delete_unseen(&config_map_path("two"));
    bed.shows(&[("one", "1"), ("three", "3")], 5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_event_that_is_lost_is_made_good_within_five_minutes() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    bed.api.delete_unseen(&config_map_path("two"));
    let began = Instant::now();
    bed.shows(&[("one", "1")], 300 * SECOND).await;
    timeout(SECOND, bed.wake.raised()).await.expect("what is gone wakes the loop");
    assert!(began.elapsed() > 200 * SECOND, "nobody lists all the time");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_falls_silent_does_not_put_the_next_list_off() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    bed.api.delete_unseen(&config_map_path("two"));
    let began = Instant::now();
    while bed.last_seen() == 2 {
        assert!(began.elapsed() < 300 * SECOND, "the row of what is gone is still there");
        let version =
            bed.put("one", &format!("{:?}", began.elapsed()))["metadata"]["resourceVersion"].clone();
        bed.api.send(
            CONFIGS,
            &json!({
                "type": "BOOKMARK",
                "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": version}},
            }),
        );
        tokio::time::sleep(5 * SECOND).await;
    }
}

// What is older than what was seen.

#[tokio::test(start_paused = true)]
async fn a_list_from_the_past_turns_no_row_back_and_is_asked_for_again() {
    let bed = Bed::with(&[("one", "1")]).await;
    let past = bed.api.listed(CONFIGS);
    bed.put("one", "2");
    bed.put("two", "new");
    bed.shows(&[("one", "2"), ("two", "new")], SECOND).await;
    timeout(SECOND, bed.wake.raised()).await.unwrap();
    bed.api.script(move |seen| {
        (seen.path == CONFIGS && is_list(seen)).then(|| Reply::Answer(200, past.clone()))
    });
    bed.expire();
    let requests = bed.requests_in(25 * SECOND).await;
    assert!((8..=25).contains(&requests), "{requests} lists in 25 seconds");
    assert_eq!(
        bed.rows(),
        Reading::Present(vec![("a/one".into(), "2".into()), ("a/two".into(), "new".into())])
    );
    bed.wakes_nobody_in(3 * SECOND).await;
    bed.api.clear_script();
    bed.api.delete_unseen(&config_map_path("two"));
    bed.shows(&[("one", "2")], 5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_for_good_is_believed_after_half_a_minute() {
    let bed = Bed::with(&[("one", "1")]).await;
    let past = bed.api.listed(CONFIGS);
    bed.put("one", "2");
    bed.shows(&[("one", "2")], SECOND).await;
    bed.api.script(move |seen| match (seen.path == CONFIGS, is_list(seen)) {
        (true, true) => Some(Reply::Answer(200, past.clone())),
        (true, false) => Some(Reply::Lines(String::new())),
        (false, _) => None,
    });
    bed.expire();
    let began = Instant::now();
    bed.shows(&[("one", "1")], 40 * SECOND).await;
    assert!(began.elapsed() > 30 * SECOND, "{:?}", began.elapsed());
    let requests = bed.requests_in(30 * SECOND).await;
    assert!((10..=20).contains(&requests), "{requests} watches that end at once in half a minute");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_after_a_newer_one_turns_no_row_back() {
    let bed = Bed::with(&[("one", "1")]).await;
    let older = bed.api.put_unseen(&config_map_path("one"), config_map("one", "2"));
    bed.put("one", "3");
    bed.shows(&[("one", "3")], SECOND).await;
    bed.api.send(CONFIGS, &older);
    assert!(bed.requests_in(20 * SECOND).await <= 4, "one list and one watch");
    assert_eq!(bed.rows(), Reading::Present(vec![("a/one".into(), "3".into())]));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_event_brings_nothing_back_that_was_deleted() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    let older = bed.api.put_unseen(&config_map_path("two"), config_map("two", "late"));
    bed.api.delete(&config_map_path("two"));
    bed.shows(&[("one", "1")], SECOND).await;
    bed.api.send(CONFIGS, &older);
    assert!(bed.requests_in(20 * SECOND).await <= 4, "one list and one watch");
    assert_eq!(bed.rows(), Reading::Present(vec![("a/one".into(), "1".into())]));
}

#[tokio::test(start_paused = true)]
async fn an_event_of_another_object_that_was_overtaken_is_not_lost() {
    let bed = Bed::with(&[("one", "1"), ("two", "1")]).await;
    let overtaken = bed.api.put_unseen(&config_map_path("two"), config_map("two", "2"));
    bed.put("one", "2");
    bed.api.send(CONFIGS, &overtaken);
    bed.shows(&[("one", "2"), ("two", "2")], 5 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_a_thousand_times_wakes_the_loop_once() {
    let bed = Bed::with(&[("one", "1")]).await;
    let again = json!({"type": "MODIFIED", "object": bed.put("one", "2")});
    bed.shows(&[("one", "2")], SECOND).await;
    timeout(SECOND, bed.wake.raised()).await.unwrap();
    for _ in 0..1000 {
        bed.api.send(CONFIGS, &again);
    }
    timeout(20 * SECOND, bed.wake.raised()).await.expect_err("it is no news");
    assert_eq!(bed.lists(), 1);
}

// Answers that cannot be read.

#[tokio::test(start_paused = true)]
async fn a_line_that_breaks_off_is_asked_for_again() {
    let bed = Bed::with(&[("one", "1")]).await;
    let event = bed.api.put_unseen(&config_map_path("one"), config_map("one", "2")).to_string();
    bed.api.send_raw(CONFIGS, &event[..event.len() / 2]);
    bed.api.end_watches();
    // The next watch begins where the last whole line was.
    let (whole, mut once) = (format!("{event}\n"), true);
    bed.api.script(move |seen| {
        let now = once && seen.path == CONFIGS && is_watch(seen) && seen.query["resourceVersion"] == "1";
        once &= !now;
        now.then(|| Reply::Lines(whole.clone()))
    });
    bed.shows(&[("one", "2")], 5 * SECOND).await;
    assert_eq!(bed.lists(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_no_event_leads_to_a_list() {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.api.put_unseen(&config_map_path("one"), config_map("one", "2"));
    bed.api.send_raw(CONFIGS, "{\"type\":\"MODIFIED\",\"object\":nonsense}\n");
    bed.shows(&[("one", "2")], 5 * SECOND).await;
    assert_eq!(bed.lists(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_web_page_in_place_of_a_list_empties_no_row_and_is_asked_for_slowly() {
    for code in [200, 404] {
        let bed = Bed::with(&[("one", "1")]).await;
        match code {
            200 => bed.answers(is_list, || Reply::Page(200)),
            _ => bed.answers(is_list, || Reply::Page(404)),
        }
        bed.expire();
        let requests = bed.requests_in(180 * SECOND).await;
        assert!((5..=12).contains(&requests), "{requests} requests in three minutes");
        assert_eq!(bed.last_seen(), 1);
        assert!(bed.says().contains("not understood"), "{}", bed.says());
        assert!(!bed.says().contains("log in"), "a page is not quoted: {}", bed.says());
        bed.api.clear_script();
        bed.shows(&[("one", "1")], 40 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_without_a_version_empties_no_row() {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.answers(is_list, || Reply::Answer(200, json!({"kind": "List", "apiVersion": "v1", "items": []})));
    bed.expire();
    bed.requests_in(10 * SECOND).await;
    assert_eq!(bed.last_seen(), 1);
    assert!(bed.says().contains("without a version"), "{}", bed.says());
    bed.api.clear_script();
    bed.shows(&[("one", "1")], 40 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_web_page_in_place_of_a_watch_shows_steadily_and_is_asked_for_slowly() {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.answers(is_watch, || Reply::Page(200));
    bed.api.end_watches();
    until("it shows", 10 * SECOND, || bed.says().contains("not understood")).await;
    timeout(SECOND, bed.wake.raised()).await.expect("a pass has to know");
    until("the other watch is open", 5 * SECOND, || bed.api.watches_open() == 1).await;
    let requests = bed.requests_in(180 * SECOND).await;
    assert!((10..=24).contains(&requests), "{requests} requests in three minutes");
    assert!(bed.says().contains("not understood"), "{}", bed.says());
    bed.wakes_nobody_in(300 * SECOND).await;
    assert!(bed.says().contains("not understood"), "{}", bed.says());
    // The lists between tell what happened meanwhile.
    bed.api.clear_script();
    bed.put("one", "2");
    bed.shows(&[("one", "2")], 40 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_whose_first_word_is_an_error_is_not_taken_for_open() {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.answers(is_watch, || {
        let error = json!({"type": "ERROR", "object": support::status(403, "cannot watch resource")});
        Reply::Lines(format!("{error}\n"))
    });
    bed.api.end_watches();
    until("it shows", 10 * SECOND, || bed.says().contains("cannot watch")).await;
    bed.wakes_nobody_in(300 * SECOND).await;
    assert!(bed.says().contains("cannot watch"), "{}", bed.says());
}

// Overload and failure.

/// One fault at one step: so many requests in two minutes, and back within this time once it is over.
async fn passes(
    step: fn(&Seen) -> bool,
    reply: fn() -> Reply,
    requests: std::ops::RangeInclusive<usize>,
    back: u64,
) {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.answers(step, reply);
    bed.api.end_watches();
    until("the other watch is open", 5 * SECOND, || bed.api.watches_open() >= 1).await;
    bed.expire();
    let asked = bed.requests_in(120 * SECOND).await;
    assert!(requests.contains(&asked), "{asked} requests in two minutes, expected {requests:?}");
    assert_eq!(bed.last_seen(), 1, "what was known is kept");
    bed.api.clear_script();
    bed.put("one", "2");
    bed.shows(&[("one", "2")], Duration::from_secs(back)).await;
}

/// Both steps fail, as they do when the server does.
fn both(_: &Seen) -> bool {
    true
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_with_500_is_asked_every_two_seconds() {
    passes(both, || Reply::Refuse(500, "internal error"), 45..=65, 5).await;
    passes(is_watch, || Reply::Refuse(500, "internal error"), 45..=65, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_available_is_asked_every_two_seconds() {
    passes(both, || Reply::Refuse(503, "unavailable"), 45..=65, 5).await;
    passes(is_watch, || Reply::Page(503), 45..=65, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_a_second_gets_it() {
    passes(both, || Reply::Later(429, 1), 90..=120, 5).await;
    passes(is_watch, || Reply::Later(429, 1), 90..=120, 5).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_for_an_hour_gets_a_minute() {
    passes(both, || Reply::Later(429, 3600), 1..=3, 80).await;
    passes(is_watch, || Reply::Later(429, 3600), 1..=3, 80).await;
    // And whoever reads is told.
    let bed = Bed::over(stored(&[("one", "1")]));
    bed.answers(is_list, || Reply::Later(429, 3600));
    until("it is said", SECOND, || {
        bed.says().contains("asks to slow down for 3600 s, and is asked again after 60 s")
    })
    .await;
}

// Rights.

#[tokio::test(start_paused = true)]
async fn a_right_to_list_that_is_missing_is_named_and_counts_once_it_is_granted() {
    let bed = Bed::over(stored(&[("one", "1")]));
    bed.answers(is_list, || {
        Reply::Refuse(403, "User \"vdo\" cannot list resource \"configmaps\" in API group \"\"")
    });
    until("it is named", SECOND, || bed.says().contains("cannot list resource \"configmaps\"")).await;
    until("the other watch is open", SECOND, || bed.api.watches_open() == 1).await;
    let requests = bed.requests_in(120 * SECOND).await;
    assert!((3..=8).contains(&requests), "{requests} requests in two minutes");
    bed.api.clear_script();
    bed.shows(&[("one", "1")], 40 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_right_to_watch_that_is_missing_is_named_steadily_and_counts_once_it_is_granted() {
    let bed = Bed::over(stored(&[("one", "1")]));
    bed.answers(is_watch, || {
        Reply::Refuse(403, "User \"vdo\" cannot watch resource \"configmaps\" in API group \"\"")
    });
    until("it is named", SECOND, || bed.says().contains("cannot watch resource \"configmaps\"")).await;
    until("the other watch is open", SECOND, || bed.api.watches_open() == 1).await;
    let requests = bed.requests_in(120 * SECOND).await;
    assert!((3..=8).contains(&requests), "{requests} requests in two minutes");
    // Also over the list that comes every few minutes, and which is granted.
    bed.wakes_nobody_in(300 * SECOND).await;
    assert!(bed.lists() >= 2);
    assert!(bed.says().contains("cannot watch"), "{}", bed.says());
    bed.api.clear_script();
    bed.put("one", "2");
    bed.shows(&[("one", "2")], 40 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_and_given_back_needs_no_restart() {
    let bed = Bed::with(&[("one", "1")]).await;
    bed.answers(any, || Reply::Refuse(403, "User \"vdo\" cannot watch resource \"configmaps\""));
    bed.api.end_watches();
    until("it is named", 5 * SECOND, || bed.says().contains("cannot watch")).await;
    assert_eq!(bed.last_seen(), 1, "what was known is kept");
    bed.api.put_unseen(&config_map_path("one"), config_map("one", "2"));
    tokio::time::sleep(60 * SECOND).await;
    bed.api.clear_script();
    // The event was lost, and the version is taken for one that is still kept.
    bed.shows(&[("one", "2")], 300 * SECOND).await;
}

// Kinds that are not there.

fn absent() -> Reply {
    Reply::Refuse(404, "the server could not find the requested resource")
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_there_at_the_start_is_waited_for() {
    let bed = Bed::over(stored(&[("one", "1")]));
    bed.answers(any, absent);
    until("it is said", SECOND, || bed.says().contains("could not find the requested resource")).await;
    until("the other watch is open", SECOND, || bed.api.watches_open() == 1).await;
    let requests = bed.requests_in(180 * SECOND).await;
    assert!((4..=9).contains(&requests), "{requests} requests in three minutes");
    bed.api.clear_script();
    bed.shows(&[("one", "1")], 40 * SECOND).await;
    assert_eq!(bed.api.watches_open(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_goes_away_and_comes_back_is_seen_as_it_is_then() {
    let bed = Bed::with(&[("one", "1"), ("two", "2")]).await;
    bed.answers(any, absent);
    // A server shows each object of a kind that is deleted as deleted, and ends the watch.
    bed.api.delete(&config_map_path("one"));
    bed.api.delete(&config_map_path("two"));
    tokio::time::sleep(SECOND).await;
    bed.api.end_watches();
    until("it is said", 5 * SECOND, || bed.says().contains("could not find the requested resource")).await;
    tokio::time::sleep(100 * SECOND).await;
    bed.api.put_unseen(&config_map_path("one"), config_map("one", "another"));
    bed.api.clear_script();
    bed.shows(&[("one", "another")], 40 * SECOND).await;
    bed.put("one", "goes on");
    bed.shows(&[("one", "goes on")], SECOND).await;
}
