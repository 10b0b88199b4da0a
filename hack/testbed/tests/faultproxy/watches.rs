//! What happens to the events of a watch.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use testbed::faultproxy::{Action, Event, Match, Nth, Outcome, Rule, Verb};

use crate::support::{Arrived, Place, SOON, WATCH, event, request, runtime};

fn watches(action: Action) -> Rule {
    Rule::on(Match::of(Verb::Watch, "configmaps"), action)
}

#[test]
fn a_watch_goes_through_line_by_line_however_it_is_cut() {
    let place = Place::new("lines", Vec::new());
    let watch = place.watch();
    let (a, b) = (event("ADDED", "a"), event("MODIFIED", "b"));
    let (head, tail) = a.split_at(20);

    place.upstream.send(head.to_owned());
    place.upstream.send(format!("{tail}\n{b}\n"));
    place.upstream.event("BOOKMARK", "");

    assert_eq!(watch.next(), Arrived::Event("ADDED".into(), "a".into()));
    assert_eq!(watch.next(), Arrived::Event("MODIFIED".into(), "b".into()));
    assert!(matches!(watch.next(), Arrived::Event(kind, _) if kind == "BOOKMARK"));
    place.upstream.end_watches();
    assert_eq!(watch.next(), Arrived::End);
    let record = place.proxy.wait_for(SOON, "the watch ends", |records| {
        records.iter().find(|record| record.outcome != Outcome::Open).cloned()
    });
    assert_eq!((record.outcome, record.given), (Outcome::Answered, Some(200)));
    assert_eq!((record.events.sent, record.events.delivered), (2, 2), "bookmarks are no events");
}

#[test]
fn a_watch_ends_or_is_gone_after_so_many_events() {
    let place = Place::new(
        "ends",
        vec![watches(Action::EndWatch { after: 1 }), watches(Action::Gone410 { after: 1 }).nth(Nth::At(2))],
    );
    for end in ["", "gone"] {
        let watch = place.watch();
        place.upstream.event("ADDED", "a");
        assert_eq!(watch.names(), ["a"]);
        if end == "gone" {
            assert_eq!(watch.next(), Arrived::Event("ERROR".into(), "410".into()));
        }
        assert_eq!(watch.next(), Arrived::End);
        place.upstream.end_watches();
    }

    place.proxy.assert_all_fired();
    assert!(place.records(Verb::Watch).iter().all(|record| record.outcome == Outcome::Ended));
}

#[test]
fn a_list_is_gone_too() {
    let of = Match { query: Some("continue=".to_owned()), ..Match::default() };
    let place = Place::new("gone-list", vec![Rule::on(of, Action::Gone410 { after: 0 })]);

    assert_eq!(place.send("GET", "/api/v1/configmaps?limit=500").unwrap().status, 200);
    let next = place.send("GET", "/api/v1/configmaps?limit=500&continue=x").unwrap();

    assert_eq!((next.status, next.json()["reason"].as_str()), (410, Some("Expired")));
    place.proxy.assert_all_fired();
}

#[test]
fn events_are_dropped_repeated_and_swapped() {
    let of = Event { kind: Some("DELETED".to_owned()), ..Event::default() };
    let any = Event::default;
    let place = Place::new(
        "events",
        vec![
            watches(Action::DropEvent { nth: 1, of }),
            watches(Action::RepeatEvent { nth: 2, of: any(), times: 2 }),
            watches(Action::SwapEvents { nth: 4, of: any() }),
        ],
    );
    let watch = place.watch();

    for (kind, name) in [
        ("ADDED", "a"),
        ("DELETED", "lost"),
        ("ADDED", "b"),
        ("ADDED", "c"),
        ("ADDED", "d"),
        ("DELETED", "e"),
    ] {
        place.upstream.event(kind, name);
    }

    // The repetition is what the next rule counts, too: a, b, b, and c is the fourth.
    assert_eq!(watch.names(), ["a", "b", "b", "d", "c", "e"]);
    place.proxy.assert_all_fired();
}

#[test]
fn held_events_arrive_in_order_when_released() {
    let of = Event { name: Some("b".to_owned()), ..Event::default() };
    let place = Place::new("hold-events", vec![watches(Action::HoldEvents { of }).named("held")]);
    let watch = place.watch();

    for name in ["a", "b", "c"] {
        place.upstream.event("ADDED", name);
    }
    assert_eq!(watch.names(), ["a"]);
    place.proxy.wait_for_held("held", SOON);
    let held = place.proxy.wait_for(SOON, "two are held", |records| {
        records.iter().map(|record| record.events).find(|events| events.held == 2)
    });
    assert_eq!((held.sent, held.delivered), (3, 1));
    assert!(watch.is_quiet());
    place.proxy.release("held");

    assert_eq!(watch.names(), ["b", "c"]);
    place.upstream.event("ADDED", "d");
    assert_eq!(watch.names(), ["d"]);
    place.proxy.assert_all_fired();
}

#[test]
fn a_silent_watch_stays_open_when_the_server_ends_it() {
    let place = Place::new("silent", vec![watches(Action::Silent { after: 1 }).named("silent")]);
    let watch = place.watch();

    for name in ["a", "b"] {
        place.upstream.event("ADDED", name);
    }
    place.upstream.event("BOOKMARK", "");
    place.upstream.end_watches();
    assert_eq!(watch.names(), ["a"]);
    place.proxy.wait_for_held("silent", SOON);
    place.proxy.wait_for(SOON, "the server sent both", |records| (records[0].events.sent == 2).then_some(()));
    assert!(watch.is_quiet());
    place.proxy.release("silent");

    assert_eq!(watch.next(), Arrived::End, "nothing of what was swallowed arrives");
    place.proxy.assert_all_fired();
}

#[test]
fn rules_that_are_set_later_act_on_watches_that_are_open() {
    let place = Place::new("later", Vec::new());
    let (older, newer) = (place.watch(), place.watch());
    testbed::wait::eventually(SOON, "the server has both", || {
        match place.upstream.inner.watchers.lock().unwrap().len() {
            2 => Ok(()),
            other => Err(other),
        }
    });
    place.upstream.event("ADDED", "a");
    assert_eq!((older.names(), newer.names()), (["a".to_owned()], ["a".to_owned()]));

    place.proxy.set_rules(vec![watches(Action::EndWatch { after: 0 }).nth(Nth::At(2)).named("end")]).unwrap();
    place.proxy.wait_for_fired("end", SOON);

    assert_eq!(newer.next(), Arrived::End);
    place.upstream.event("ADDED", "b");
    assert_eq!(older.names(), ["b"]);
}

#[test]
fn new_rules_act_on_nothing_that_the_old_ones_held() {
    let place = Place::new("held-then-dropped", vec![watches(Action::HoldEvents { of: Event::default() })]);
    let watch = place.watch();
    place.upstream.event("ADDED", "a");
    place.proxy.wait_for_held("rule-1", SOON);

    place.proxy.set_rules(vec![watches(Action::DropEvent { nth: 1, of: Event::default() })]).unwrap();

    assert_eq!(watch.names(), ["a"]);
    for name in ["b", "c"] {
        place.upstream.event("ADDED", name);
    }
    assert_eq!(watch.names(), ["c"]);
    place.proxy.assert_all_fired();
}

#[test]
fn a_watch_whose_client_goes_away_ends() {
    let place = Place::new("gone-away", vec![watches(Action::HoldEvents { of: Event::default() })]);
    let mut client = place.client();
    let sent = client.sender.send_request(request("GET", WATCH));
    let answer = client.runtime.block_on(sent).unwrap();
    drop((answer, client));

    place.proxy.wait_for(SOON, "the watch ends", |records| {
        (records[0].outcome == Outcome::ClientGone).then_some(())
    });
}

#[test]
fn a_watcher_of_kube_lists_again_after_410() {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{WatchStreamExt as _, watcher};

    let place = Place::new(
        "kube",
        vec![
            watches(Action::Gone410 { after: 1 }),
            Rule::on(Match::of(Verb::List, "configmaps"), Action::Gone410 { after: 0 }).nth(Nth::At(2)),
        ],
    );
    let pem = std::fs::read(place.folder.join("ca.crt")).unwrap();
    let mut config = kube::Config::new(format!("https://{}", place.proxy.address()).parse().unwrap());
    config.root_cert = Some(vec![CertificateDer::from_pem_slice(&pem).unwrap().to_vec()]);
    let upstream = place.upstream.inner.clone();
    thread::spawn(move || {
        runtime().block_on(async {
            rustls::crypto::ring::default_provider().install_default().ok();
            let client = kube::Client::try_from(config).unwrap();
            let api = kube::Api::<ConfigMap>::namespaced(client, "vdo");
            let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                if matches!(event, Ok(watcher::Event::InitDone)) {
                    // An event for whichever watch comes next.
                    let upstream = upstream.clone();
                    tokio::spawn(async move {
                        while upstream.watchers.lock().unwrap().is_empty() {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        let line = Bytes::from(event_line());
                        upstream.watchers.lock().unwrap().retain(|watch| watch.send(line.clone()).is_ok());
                    });
                }
            }
        });
    });

    let verbs = place.proxy.wait_for(SOON, "it lists and watches again", |records| {
        let verbs: Vec<Verb> = records.iter().map(|record| record.request.verb).collect();
        (verbs.len() >= 5).then_some(verbs)
    });

    assert_eq!(verbs[..5], [Verb::List, Verb::Watch, Verb::List, Verb::List, Verb::Watch]);
    let given: Vec<_> = place.proxy.records().into_iter().take(4).map(|record| record.given).collect();
    assert_eq!(given, [Some(200), Some(200), Some(410), Some(200)]);
    place.proxy.assert_all_fired();
}

fn event_line() -> String {
    event("ADDED", "a") + "\n"
}
