//! `vdoctl status --watch` against the scripted API server.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-runtime/tests/support/mod.rs"]
mod support;

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use support::{Api, Reply};
use tokio::time::{Instant, sleep};
use vdoctl::look::{Look, Surface};
use vdoctl::observe::observe;
use vdoctl::progress::Progress;
use vdoctl::run::Answer;
use vdoctl::screen;
use vdoctl::seen::Report;
use vdoctl::watch::{EVERY, First, Watch};

const NAMESPACE: &str = "vmware-system-vdo";
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vdoconfigs/vdo";
const HOME: &str = "\u{1b}[H";

fn config(ready: &str, message: &str, attempt: Value) -> Value {
    let condition = json!({"type": "Ready", "status": ready, "reason": "RollingOut", "message": message,
        "observedGeneration": 1, "lastTransitionTime": "2026-03-01T11:50:00Z"});
    json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "vdo", "namespace": NAMESPACE, "generation": 1},
        "spec": {"cloudProvider": {"vsphereCloudConfigs": []}, "storageProvider": {"vsphereCloudConfig": "vc1"}},
        "status": {"conditions": [condition], "csi": {"attempt": attempt}}})
}

fn rolling() -> Value {
    json!({"verb": "Roll", "release": "3.7.0", "revision": "1", "generation": 1, "since": "2026-03-01T12:00:00Z",
        "deadline": "2026-03-01T12:01:00Z"})
}

/// What was printed, what was complained of beside it, and what was said before the first look ended.
struct Watched {
    answer: Result<Answer>,
    out: String,
    complaints: Vec<String>,
    first: String,
}

/// What happens at some second.
type Event = (u64, Box<dyn FnOnce(&Api)>);

/// Watches for so long, in which these things happen, each at its second.
async fn watched(api: &Api, surface: Surface, height: usize, seconds: u64, events: Vec<Event>) -> Watched {
    let (cluster, begun, complaints) = (api.cluster(), Instant::now(), RefCell::new(Vec::new()));
    let (mut out, mut first) = (Vec::new(), Vec::new());
    let progress = Progress::default();
    progress.say("asking");
    let mut watch = Watch {
        out: &mut out,
        surface,
        height: &|| height,
        form: &|report: &Report, now| Ok(screen::draw(report, now, Look::plain(80))),
        complain: &|what| complaints.borrow_mut().push(what.to_owned()),
        first: First { progress: &progress, surface, to: &mut first },
    };
    // The clock of the screen goes with that of the test.
    let start: Timestamp = "2026-03-01T12:00:05Z".parse().unwrap();
    let now = || start + begun.elapsed();
    let script = async {
        for (second, event) in events {
            sleep(Duration::from_secs(second).saturating_sub(begun.elapsed())).await;
            event(api);
        }
        std::future::pending::<()>().await;
    };
    let watching =
        watch.run(async || observe(&cluster, NAMESPACE, now()).await, sleep(Duration::from_secs(seconds)));
    let answer = tokio::select! {
        answer = watching => answer,
        () = script => unreachable!("it never ends"),
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Watched { answer, out: text(out), complaints: complaints.into_inner(), first: text(first) }
}

fn looks(api: &Api) -> usize {
    api.log().iter().filter(|seen| seen.path.ends_with("/vdoconfigs")).count()
}

#[tokio::test(start_paused = true)]
async fn elsewhere_a_screen_is_printed_only_when_it_differs() {
    let api = Api::new();
    api.put(CONFIG, config("False", "CSIReady: it waits", rolling()));
    let ready: Box<dyn FnOnce(&Api)> = Box::new(|api| {
        api.put(CONFIG, config("True", "CSI works", Value::Null));
    });
    let watched = watched(&api, Surface::Elsewhere, 24, 40, vec![(20, ready)]).await;
    assert_eq!(watched.answer.unwrap(), Answer::Yes);
    // Seconds passed between the looks, and that alone is no news.
    assert!(looks(&api) >= 15, "{}", looks(&api));
    assert_eq!(watched.out.matches("Next: ").count(), 2, "{}", watched.out);
    assert!(watched.out.find("Not ready").unwrap() < watched.out.find("Ready: CSI works").unwrap());
    assert!(!watched.out.contains('\u{1b}'));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_time_is_over_is_news() {
    let api = Api::new();
    api.put(CONFIG, config("False", "CSIReady: it waits", rolling()));
    let watched = watched(&api, Surface::Elsewhere, 24, 90, Vec::new()).await;
    assert_eq!(watched.answer.unwrap(), Answer::No);
    assert_eq!(watched.out.matches("Next: ").count(), 2, "{}", watched.out);
    assert!(watched.out.contains("its time is over"), "{}", watched.out);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_keeps_one_screen_that_is_drawn_again_when_it_differs() {
    let api = Api::new();
    api.put(CONFIG, config("False", "CSIReady: it waits", rolling()));
    let watched = watched(&api, Surface::Terminal, 24, 11, Vec::new()).await;
    let frames: Vec<&str> = watched.out.split(HOME).skip(1).collect();
    // Each look shows other seconds.
    assert_eq!(frames.len(), looks(&api), "{:?}", watched.out);
    assert!(watched.out.starts_with("\u{1b}[2J"), "what stood there before is gone");
    assert!(!watched.out[1..].contains("\u{1b}[2J"), "and then no moment is empty");
    assert!(frames[0].contains("for 5 s,") && frames[1].contains("for 7 s,"), "{frames:?}");
    assert!(frames[0].contains("Ctrl-C ends it."));

    api.put(CONFIG, config("True", "CSI works", Value::Null));
    let watched = self::watched(&api, Surface::Terminal, 24, 11, Vec::new()).await;
    assert_eq!(watched.out.matches(HOME).count(), 1, "nothing changed: {:?}", watched.out);
}

#[tokio::test(start_paused = true)]
async fn a_low_window_shows_the_top_and_says_how_much_is_missing() {
    let api = Api::new();
    api.put(CONFIG, config("False", "CSIReady: it waits", rolling()));
    let watched = watched(&api, Surface::Terminal, 7, 1, Vec::new()).await;
    assert!(watched.out.matches('\n').count() <= 7, "{:?}", watched.out);
    assert!(watched.out.contains("Not ready") && watched.out.contains("more lines: make the window higher)"));
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_a_while_ends_nothing() {
    for surface in [Surface::Terminal, Surface::Elsewhere] {
        let api = Api::new();
        api.put(CONFIG, config("True", "CSI works", Value::Null));
        let away: Box<dyn FnOnce(&Api)> =
            Box::new(|api| api.script(|_| Some(Reply::Refuse(503, "starting"))));
        let back: Box<dyn FnOnce(&Api)> = Box::new(Api::clear_script);
        let watched = watched(&api, surface, 24, 30, vec![(5, away), (15, back)]).await;
        assert_eq!(watched.answer.unwrap(), Answer::Yes);
        match surface {
            Surface::Terminal => {
                let frames: Vec<&str> = watched.out.split(HOME).skip(1).collect();
                assert_eq!(frames.len(), 3, "{frames:?}");
                assert!(
                    frames[1].contains("As it was at 12:00:09Z; now: cannot read the VDOConfigs"),
                    "{frames:?}"
                );
                assert!(frames[1].contains("Ready: CSI works"), "the last screen stays");
                assert_eq!(frames[2], frames[0]);
            }
            Surface::Elsewhere => {
                assert_eq!(watched.complaints.len(), 2, "{:?}", watched.complaints);
                assert!(watched.complaints[0].starts_with("cannot read the VDOConfigs"));
                assert_eq!(watched.complaints[1], "the cluster answers again");
                assert_eq!(watched.out.matches("Next: ").count(), 1, "nothing changed: {}", watched.out);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_read_at_first_or_at_last_is_unreadable() {
    let api = Api::new();
    api.script(|_| Some(Reply::Refuse(403, "not allowed")));
    let watched = watched(&api, Surface::Elsewhere, 24, 30, Vec::new()).await;
    assert!(watched.answer.is_err() && watched.out.is_empty());
    assert_eq!(looks(&api), 1, "it is not tried again");

    api.clear_script();
    let away: Box<dyn FnOnce(&Api)> = Box::new(|api| api.script(|_| Some(Reply::Refuse(503, "starting"))));
    let watched = self::watched(&api, Surface::Elsewhere, 24, 9, vec![(5, away)]).await;
    assert!(watched.answer.is_err());
}

#[tokio::test(start_paused = true)]
async fn before_there_is_a_screen_a_person_sees_what_is_waited_for() {
    let api = Api::new();
    api.script(|_| Some(Reply::Hang));
    for (surface, words) in [(Surface::Terminal, "asking (3 s) ..."), (Surface::Elsewhere, "")] {
        let waited = watched(&api, surface, 24, 4, Vec::new()).await;
        assert!(waited.out.is_empty() && waited.first.contains(words), "{:?}", waited.first);
        assert_eq!(waited.first.is_empty(), words.is_empty());
    }
    // Then the screen itself says what is not current.
    api.clear_script();
    api.put(CONFIG, config("True", "CSI works", Value::Null));
    let hangs: Box<dyn FnOnce(&Api)> = Box::new(|api| api.script(|_| Some(Reply::Hang)));
    let later = watched(&api, Surface::Terminal, 24, 9, vec![(3, hangs)]).await;
    assert!(later.out.contains("Ready: CSI works"), "{}", later.out);
    assert_eq!(later.first, "");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_has_seen_enough_ends_it() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(Error::from(ErrorKind::BrokenPipe))
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let api = Api::new();
    let cluster = api.cluster();
    let mut watch = Watch {
        out: &mut Closed,
        surface: Surface::Elsewhere,
        height: &|| 24,
        form: &|report: &Report, now| Ok(screen::draw(report, now, Look::plain(80))),
        complain: &|_| {},
        first: First { progress: &Progress::default(), surface: Surface::Elsewhere, to: &mut Vec::new() },
    };
    let begun = Instant::now();
    let answer =
        watch.run(async || observe(&cluster, NAMESPACE, Timestamp::UNIX_EPOCH).await, std::future::pending());
    assert_eq!(answer.await.unwrap(), Answer::No);
    assert!(begun.elapsed() < EVERY);
}
