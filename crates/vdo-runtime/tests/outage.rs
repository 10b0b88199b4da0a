//! The API server is away for a while and comes back. Measured: the time from the moment at which the port
//! listens again until the last watch is open again, over real loopback sockets (plain HTTP), for an outage
//! long enough that every back-off has reached its maximum. With one shared back-off, as in
//! `kube::runtime::Controller`, eight watches need minutes.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use support::{Api, Listening, config_map, config_map_path, until};
use vdo_runtime::{Selector, Wake, Watches};

const OUTAGE: Duration = Duration::from_secs(12);
/// The maximum of the back-off is 2.5 s with its jitter; the rest is for a busy machine. The bound
/// is 60 s.
const BOUND: Duration = Duration::from_secs(8);

const NAMES: [&str; 16] =
    ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "w10", "w11", "w12", "w13", "w14", "w15"];

fn all_come_back(count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let api = Api::new();
        api.put(&config_map_path("one"), config_map("one", "before"));
        let mut server = Listening::start(&api).await;
        let cluster = server.cluster();
        let watches = Watches::new(&Wake::new());
        let rows: Vec<_> = NAMES[..count]
            .iter()
            .map(|name| {
                let configs = KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a");
                watches.watch(name, configs, Selector::all(), |it| it.data.as_ref()?.get("key").cloned())
            })
            .collect();
        until("every watch is open", BOUND, || api.watches_open() == count).await;

        server.down().await;
        until("every watch is closed", BOUND, || api.watches_open() == 0).await;
        api.put(&config_map_path("one"), config_map("one", "after"));
        until("every watch has noticed", BOUND, || rows.iter().all(|rows| rows.failing_since().is_some()))
            .await;
        // The outage itself is the one time that a test has to let pass.
        tokio::time::sleep(OUTAGE).await;

        let back = Instant::now();
        server.up().await;
        until("every watch is open again", BOUND, || api.watches_open() == count).await;
        let took = back.elapsed();
        until("every row is current", BOUND, || {
            rows.iter().all(|rows| rows.one("a/one").present().is_some_and(|value| value == "after"))
        })
        .await;
        println!("{count} watches: all open {took:?} after the server came back");
    });
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
