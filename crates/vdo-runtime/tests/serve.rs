//! The probes and the metrics over a socket.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use support::{Api, Reply, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use vdo_api::VDOConfig;
use vdo_runtime::metrics::Metrics;
use vdo_runtime::serve::{Health, serve};
use vdo_runtime::status::fetch_all;
use vdo_runtime::watch::Pulses;
use vdo_runtime::{Selector, Wake, Watches};

const SECOND: Duration = Duration::from_secs(1);

async fn asked(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn probes_and_metrics_are_served() {
    let api = Api::new();
    let cluster = api.cluster();
    let watches = Watches::new(&Wake::new());
    let rows = watches.watch(
        "configs",
        KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a"),
        Selector::all(),
        |_| Some(()),
    );
    until("the watch works", SECOND, || rows.with(|view| view.len()).present().is_some()).await;
    let health = Health::new(&cluster, watches.pulses(), Metrics::new("vdo-test", "1.2.3").unwrap(), true);
    let address = serve("127.0.0.1:0".parse().unwrap(), health).await.unwrap();

    assert!(asked(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(asked(address, "/readyz").await.starts_with("HTTP/1.1 503"), "no call of ours was answered yet");
    fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    assert!(asked(address, "/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = asked(address, "/metrics").await;
    for name in [
        "vdo_build_info{",
        "vdo_leading{operator=\"vdo-test\"} 0",
        "vdo_crd_fields_missing{operator=\"vdo-test\"} 0",
        "vdo_watch_silence_seconds{watch=\"configs\",operator=\"vdo-test\"}",
        "process_open_fds{",
    ] {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    assert!(asked(address, "/debug").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn metrics_that_are_switched_off_are_not_served_and_probes_are() {
    let api = Api::new();
    let metrics = Metrics::new("vdo-test", "1").unwrap();
    let health = Health::new(&api.cluster(), Pulses::default(), metrics, false);
    let address = serve("127.0.0.1:0".parse().unwrap(), health).await.unwrap();
    assert!(asked(address, "/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(asked(address, "/metrics").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_watch_is_red_only_while_the_api_server_answers() {
    let api = Api::new();
    let cluster = api.cluster();
    // Nothing about one kind is answered, everything else is.
    api.script(|seen| seen.path.ends_with("/configmaps").then_some(Reply::Hang));
    let watches = Watches::new(&Wake::new());
    let _rows = watches.watch(
        "configs",
        KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a"),
        Selector::all(),
        |_| Some(()),
    );
    let health = Health::new(&cluster, watches.pulses(), Metrics::new("vdo-test", "1").unwrap(), true);
    fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    tokio::time::sleep(590 * SECOND).await;
    fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    assert_eq!(health.liveness(), Ok(()));
    tokio::time::sleep(20 * SECOND).await;
    fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    assert!(health.liveness().unwrap_err().contains("configs"));
    // The API server goes away altogether: not our fault.
    api.script(|_| Some(Reply::Hang));
    tokio::time::sleep(31 * SECOND).await;
    assert_eq!(health.liveness(), Ok(()));
    // Back again: the watch is opened, and all is well.
    api.clear_script();
    until("the watch is back", 40 * SECOND, || api.watches_open() == 1).await;
    fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    assert_eq!(health.liveness(), Ok(()));
}
