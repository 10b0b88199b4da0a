//! The API server is away for a while and comes back. Measured: the time from the moment at which it serves
//! again until the last watch is open again, over TLS on real loopback sockets, for an outage long enough that
//! every back-off has reached its maximum. With one shared back-off, as in `kube::runtime::Controller`, eight
//! watches need minutes: each error holds up every watch, also those that are in the middle of a handshake.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use support::{Api, Listening, config_map, config_map_path, until};
use vdo_runtime::{Selector, Wake, Watches};

const OUTAGE: Duration = Duration::from_secs(12);
/// For what is no part of the measure. It is the bound of the measure, too.
const PATIENCE: Duration = Duration::from_secs(60);

const NAMES: [&str; 16] =
    ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10", "w11", "w12", "w13", "w14", "w15"];
const COUNTS: [usize; 4] = [1, 4, 8, 16];

/// How the server is away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Away {
    /// Its port is closed.
    Refusing,
    /// It takes connections and does not answer the handshake, and never will on those.
    Silent,
}

impl Away {
    /// Until the last watch is back. The maximum of the back-off is 2.5 s with its jitter; before it, a
    /// handshake that got no answer runs into its own limit of 5 s. The rest is for a busy machine.
    fn bound(self) -> Duration {
        match self {
            Away::Refusing => Duration::from_secs(8),
            Away::Silent => Duration::from_secs(13),
        }
    }
}

/// What came of one outage: how long it took, or what went wrong.
struct Case {
    count: usize,
    away: Away,
    outcome: Result<Duration, String>,
}

/// Every case, all at once: they mostly wait, and one after the other they would wait for minutes.
static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let all = COUNTS.iter().flat_map(|&count| [(count, Away::Refusing), (count, Away::Silent)]);
    let running: Vec<_> = all
        .map(|(count, away)| (count, away, thread::spawn(move || until_all_are_back(count, away))))
        .collect();
    let end = |(count, away, thread): (usize, Away, thread::JoinHandle<Duration>)| {
        let outcome = thread.join().map_err(|panic| match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(_) => "it panicked; see above".to_owned(),
        });
        Case { count, away, outcome }
    };
    running.into_iter().map(end).collect()
});

fn until_all_are_back(count: usize, away: Away) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::new();
        api.put(&config_map_path("one"), config_map("one", "before"));
        let mut server = Listening::start_tls(&api).await;
        let cluster = server.cluster();
        let watches = Watches::new(&Wake::new());
        let rows: Vec<_> = NAMES[..count]
            .iter()
            .map(|name| {
                let configs = KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a");
                watches.watch(name, configs, Selector::all(), |it| it.data.as_ref()?.get("key").cloned())
            })
            .collect();
        until("every watch is open", PATIENCE, || api.watches_open() == count).await;

        match away {
            Away::Refusing => server.down().await,
            Away::Silent => server.mute().await,
        }
        until("every watch is closed", PATIENCE, || api.watches_open() == 0).await;
        api.put(&config_map_path("one"), config_map("one", "after"));
        until("every watch has noticed", PATIENCE, || rows.iter().all(|rows| rows.failing_since().is_some()))
            .await;
        // The outage itself is the one time that a test has to let pass.
        tokio::time::sleep(OUTAGE).await;
        if away == Away::Silent {
            assert!(server.muted() >= count, "{} of {count} watches tried a handshake", server.muted());
        }

        let back = Instant::now();
        server.up().await;
        until("every watch is open again", PATIENCE, || api.watches_open() == count).await;
        let took = back.elapsed();
        until("every row is current", PATIENCE, || {
            rows.iter().all(|rows| rows.one("a/one").present().is_some_and(|value| value == "after"))
        })
        .await;
        took
    })
}

fn all_come_back(count: usize) {
    let cases: Vec<&Case> = CASES.iter().filter(|case| case.count == count).collect();
    assert_eq!(cases.len(), 2, "an outage of each kind");
    for Case { away, outcome, .. } in cases {
        match outcome {
            Ok(took) => {
                println!("{count} watches, {away:?}: all open {took:?} after the server came back");
                assert!(*took < away.bound(), "{count} watches, {away:?}: {took:?}");
            }
            Err(why) => panic!("{count} watches, {away:?}: {why}"),
        }
    }
}

#[test]
fn one_watch_is_back_soon_after_an_outage() {
    all_come_back(1);
}

#[test]
fn four_watches_are_back_soon_after_an_outage() {
    all_come_back(4);
}

#[test]
fn eight_watches_are_back_soon_after_an_outage() {
    all_come_back(8);
}

#[test]
fn sixteen_watches_are_back_soon_after_an_outage() {
    all_come_back(16);
}
