//! What the client library leaves to us, over real sockets: a token file that somebody writes anew, and a pause that a
//! server asks for in a header only.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use support::{Api, Listening, Reply, config_map, config_map_path, until};
use vdo_plan::Reading;
use vdo_runtime::{Cluster, KubeFault, Rows, Selector, Wake, Watches};

const PATIENCE: Duration = Duration::from_secs(30);

/// A token file of one test, gone with it.
struct Token(PathBuf);

impl Token {
    fn holding(text: &str) -> Self {
        let unique = format!("vdo-token-{}-{:?}", std::process::id(), std::thread::current().id());
        let token = Token(std::env::temp_dir().join(unique));
        token.write(text);
        token
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn cluster(&self, server: &Listening) -> Result<Cluster, KubeFault> {
        let mut config = kube::Config::new(format!("http://{}", server.address).parse().unwrap());
        config.auth_info.token_file = Some(self.0.to_str().unwrap().to_owned());
        Cluster::with_config(config, "vdo-test", "1.2.3")
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn values(watches: &Watches, cluster: &Cluster) -> Rows<String> {
    let api = KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a");
    watches.watch("configs", api, Selector::all(), |it| it.data.as_ref()?.get("key").cloned())
}

/// A server that accepts only the token that is set.
fn guarded(api: &Api) -> Arc<Mutex<String>> {
    let valid = Arc::new(Mutex::new("Bearer first".to_owned()));
    let accepts = valid.clone();
    api.script(move |seen| {
        let known = seen.authorization == *accepts.lock().unwrap();
        (!known).then_some(Reply::Refuse(401, "the token is not valid"))
    });
    valid
}

#[tokio::test]
async fn a_token_that_was_rotated_counts_from_the_next_request_on() {
    let api = Api::new();
    api.put(&config_map_path("one"), config_map("one", "1"));
    let valid = guarded(&api);
    let server = Listening::start(&api).await;
    let token = Token::holding("first\n");
    let cluster = token.cluster(&server).unwrap();
    let watches = Watches::new(&Wake::new());
    let rows = values(&watches, &cluster);
    until("it is listed", PATIENCE, || rows.one("a/one").present().is_some()).await;

    // First the server forgets the old one: everything is refused.
    *valid.lock().unwrap() = "Bearer second".to_owned();
    api.end_watches();
    let refused = |rows: &Rows<String>| matches!(rows.one("a/one"), Reading::Unreadable(why) if why.contains("does not accept"));
    until("it is refused", PATIENCE, || refused(&rows)).await;
    assert!(matches!(
        cluster.read(cluster.client().apiserver_version()).await,
        Err(KubeFault::Unauthorized { .. })
    ));

    // In the middle of being replaced it is empty: the last one counts on.
    token.write("");
    assert!(cluster.read(cluster.client().apiserver_version()).await.is_err());
    token.write("second\n");
    api.put(&config_map_path("one"), config_map("one", "2"));
    let _ = cluster.read(cluster.client().apiserver_version()).await;
    assert_eq!(api.log().last().unwrap().authorization, "Bearer second");
    until("the watch goes on", PATIENCE, || rows.one("a/one") == Reading::Present("2".to_owned())).await;
    let sent: Vec<String> = api.log().into_iter().map(|seen| seen.authorization).collect();
    assert!(sent.iter().all(|it| it == "Bearer first" || it == "Bearer second"), "{sent:?}");
}

#[tokio::test]
async fn a_token_file_that_is_not_there_ends_the_start_with_its_name() {
    let server = Listening::start(&Api::new()).await;
    let token = Token::holding("first");
    std::fs::remove_file(&token.0).unwrap();
    let Err(fault) = token.cluster(&server) else { panic!("it starts without a token") };
    assert!(fault.to_string().contains("vdo-token-"), "{fault}");
}

#[tokio::test]
async fn a_pause_that_a_server_asks_for_in_a_header_is_kept() {
    let api = Api::new();
    let server = Listening::start(&api).await;
    api.put(&config_map_path("one"), config_map("one", "1"));
    let mut times = 0;
    api.script(move |_| {
        times += 1;
        (times <= 3).then_some(Reply::Plain(429, 1))
    });
    let watches = Watches::new(&Wake::new());
    let cluster = server.cluster();
    let began = Instant::now();
    let rows = values(&watches, &cluster);
    until("it is listed", PATIENCE, || rows.one("a/one").present().is_some()).await;
    let log = api.log();
    for pair in log[..4].windows(2) {
        let pause = pair[1].at.duration_since(pair[0].at);
        assert!(pause >= Duration::from_secs(1), "{pause:?}");
    }
    assert!(began.elapsed() < 6 * Duration::from_secs(1), "{:?}", began.elapsed());
}
