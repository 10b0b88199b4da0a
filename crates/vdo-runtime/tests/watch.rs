//! Watches: what they keep, when they wake the loop, and what they make of bad answers. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api as KubeApi;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use serde_json::json;
use support::{Api, Reply, config_map, config_map_path, until};
use tokio::time::{Instant, timeout};
use vdo_api::VsphereCloudConfig;
use vdo_plan::Reading;
use vdo_runtime::rows::{LeaseRow, Renewal};
use vdo_runtime::{Cluster, Rows, Selector, Wake, Watches};

const SECOND: Duration = Duration::from_secs(1);
const CONFIGS: &str = "/api/v1/namespaces/a/configmaps";

fn values(watches: &Watches, cluster: &Cluster) -> Rows<String> {
    let api = KubeApi::<ConfigMap>::namespaced(cluster.client().clone(), "a");
    watches.watch("configs", api, Selector::all(), |it| it.data.as_ref()?.get("key").cloned())
}

fn seen(rows: &Rows<String>) -> Reading<Vec<(String, String)>> {
    rows.with(|view| view.iter().map(|(key, row)| (key.to_owned(), row.clone())).collect())
}

fn pairs(expected: &[(&str, &str)]) -> Reading<Vec<(String, String)>> {
    Reading::Present(expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

async fn shows(rows: &Rows<String>, expected: &[(&str, &str)]) {
    until(&format!("rows are {expected:?}"), 10 * SECOND, || seen(rows) == pairs(expected)).await;
}

fn stored(values: &[(&str, &str)]) -> Api {
    let api = Api::new();
    for (name, value) in values {
        api.put(&config_map_path(name), config_map(name, value));
    }
    api
}

#[tokio::test(start_paused = true)]
async fn rows_follow_what_happens() {
    let api = stored(&[("one", "1"), ("two", "2")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    assert!(matches!(seen(&rows), Reading::Unreadable(_)), "nothing is known before the first list ended");
    shows(&rows, &[("a/one", "1"), ("a/two", "2")]).await;
    api.put(&config_map_path("one"), config_map("one", "11"));
    api.put(&config_map_path("three"), config_map("three", "3"));
    api.delete(&config_map_path("two"));
    shows(&rows, &[("a/one", "11"), ("a/three", "3")]).await;
    let lists = api.log().iter().filter(|seen| !seen.is_watch()).count();
    assert_eq!(lists, 1);
}

#[tokio::test(start_paused = true)]
async fn only_a_row_that_changed_wakes_the_loop() {
    let api = stored(&[("one", "1")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    timeout(SECOND, wake.raised()).await.expect("the first list wakes");

    let mut same = config_map("one", "1");
    same["metadata"]["annotations"] = json!({"heartbeat": "now"});
    api.put(&config_map_path("one"), same);
    timeout(60 * SECOND, wake.raised()).await.expect_err("nothing of the row changed");

    api.put(&config_map_path("one"), config_map("one", "2"));
    api.put(&config_map_path("one"), config_map("one", "3"));
    timeout(SECOND, wake.raised()).await.expect("the row changed");
    shows(&rows, &[("a/one", "3")]).await;
}

#[tokio::test(start_paused = true)]
async fn what_vanished_unseen_is_gone_after_the_next_list() {
    let api = stored(&[("one", "1"), ("two", "2"), ("three", "3"), ("four", "4"), ("five", "5")]);
    api.page(2);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    until("all five", SECOND, || rows.with(|view| view.len()) == Reading::Present(5)).await;
    timeout(SECOND, wake.raised()).await.unwrap();
    api.delete_unseen(&config_map_path("two"));
    api.delete_unseen(&config_map_path("four"));
    api.send(CONFIGS, &json!({"type": "ERROR", "object": support::status(410, "too old")}));
    shows(&rows, &[("a/five", "5"), ("a/one", "1"), ("a/three", "3")]).await;
    timeout(SECOND, wake.raised()).await.expect("rows that vanished wake the loop");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_removes_nothing() {
    let api = stored(&[("one", "1"), ("two", "2"), ("three", "3")]);
    api.page(1);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    until("all three", SECOND, || rows.with(|view| view.len()) == Reading::Present(3)).await;
    api.script(|seen| seen.query.contains_key("continue").then_some(Reply::Refuse(503, "away")));
    api.send(CONFIGS, &json!({"type": "ERROR", "object": support::status(410, "too old")}));
    let end = Instant::now() + 20 * SECOND;
    while Instant::now() < end {
        tokio::time::sleep(SECOND).await;
        assert_eq!(rows.last_seen(|view| view.len()), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_from_where_it_was() {
    let api = stored(&[("one", "1")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    for round in 0..3 {
        api.end_watches();
        let value = format!("again {round}");
        api.put(&config_map_path("one"), config_map("one", &value));
        shows(&rows, &[("a/one", &value)]).await;
    }
    assert_eq!(api.log().iter().filter(|seen| !seen.is_watch()).count(), 1, "no second list");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_went_deaf_is_opened_again() {
    let api = stored(&[("one", "1")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    let began = Instant::now();
    let opened = |api: &Api| api.log().iter().filter(|seen| seen.is_watch()).count();
    assert_eq!(opened(&api), 1);
    until("a second watch", 300 * SECOND, || opened(&api) == 2).await;
    assert!(began.elapsed() > 200 * SECOND, "a quiet watch is left alone");
}

#[tokio::test(start_paused = true)]
async fn a_refused_kind_is_unreadable_and_the_others_go_on() {
    let api = stored(&[("one", "1")]);
    api.script(|seen| {
        let refused = seen.path.ends_with("/leases");
        refused.then_some(Reply::Refuse(403, "User \"x\" cannot list resource \"leases\""))
    });
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let leases = watches.leases(
        "leases",
        KubeApi::<Lease>::namespaced(cluster.client().clone(), "a"),
        Selector::all(),
    );
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    until(
        "the refusal shows",
        SECOND,
        || matches!(leases.with(|view| view.len()), Reading::Unreadable(why) if why.contains("cannot list")),
    )
    .await;

    let began = Instant::now();
    while began.elapsed() < 300 * SECOND {
        tokio::time::sleep(5 * SECOND).await;
        let value = format!("{:?}", began.elapsed());
        api.put(&config_map_path("one"), config_map("one", &value));
        shows(&rows, &[("a/one", &value)]).await;
    }
    let asked = api.log().iter().filter(|seen| seen.path.ends_with("/leases")).count();
    assert!((9..=16).contains(&asked), "{asked} requests in five minutes");

    api.clear_script();
    until("the kind is readable", 40 * SECOND, || leases.with(|view| view.len()) == Reading::Present(0))
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_shows_after_half_a_minute_and_wakes_the_loop_then() {
    let api = stored(&[("one", "1")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    timeout(SECOND, wake.raised()).await.unwrap();
    let began = Instant::now();
    api.script(|_| Some(Reply::Refuse(503, "away")));
    api.end_watches();
    timeout(60 * SECOND, wake.raised()).await.expect("an outage is a change");
    assert!(began.elapsed() > 30 * SECOND && began.elapsed() < 36 * SECOND, "{:?}", began.elapsed());
    assert!(matches!(seen(&rows), Reading::Unreadable(_)));
    assert!(rows.failing_since().is_some());
    assert_eq!(rows.last_seen(|view| view.len()), 1, "what was known is kept");
    timeout(600 * SECOND, wake.raised()).await.expect_err("it is said once");

    api.clear_script();
    timeout(4 * SECOND, wake.raised()).await.expect("so is its end");
    assert_eq!(seen(&rows), pairs(&[("a/one", "1")]));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_decode_stops_nobody() {
    let collection = "/apis/vdo.vmware.com/v1alpha1/namespaces/a/vspherecloudconfigs";
    let object = |name: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig",
            "metadata": {"name": name, "namespace": "a"}, "spec": spec,
        })
    };
    let good = |name: &str| {
        object(name, json!({"vcIp": "10.0.0.1", "credentials": "c", "datacenters": ["dc"], "insecure": true}))
    };
    let api = Api::new();
    api.put(&format!("{collection}/good"), good("good"));
    api.put(&format!("{collection}/bad"), object("bad", json!({"vcIp": ["not", "text"]})));
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let kube = KubeApi::<DeserializeGuard<VsphereCloudConfig>>::namespaced(cluster.client().clone(), "a");
    let rows = watches.watch_guarded("configs", kube, Selector::all(), |it| {
        Some(match it {
            Ok(config) => Ok(config.spec.vc_ip.clone()),
            Err(broken) => Err((broken.name.clone(), !broken.why.is_empty())),
        })
    });
    until("both are seen", SECOND, || rows.with(|view| view.len()) == Reading::Present(2)).await;
    assert_eq!(rows.one("a/bad"), Reading::Present(Err(("bad".to_owned(), true))));
    assert_eq!(rows.one("a/good"), Reading::Present(Ok("10.0.0.1".to_owned())));

    // And on the open watch: a broken one, then a good one behind it.
    api.put(&format!("{collection}/worse"), object("worse", json!("no object at all")));
    api.put(&format!("{collection}/late"), good("late"));
    until("the one behind it", SECOND, || rows.with(|view| view.len()) == Reading::Present(4)).await;
    assert!(matches!(rows.one("a/worse"), Reading::Present(Err(_))));
    assert_eq!(api.log().iter().filter(|seen| !seen.is_watch()).count(), 1, "nothing was listed again");
}

#[tokio::test(start_paused = true)]
async fn our_objects_show_marks_and_a_foreign_edit() {
    let api = Api::new();
    let mut object = config_map("one", "1");
    object["metadata"]["labels"] = json!({"vdo.vmware.com/driver": "cpi"});
    object["metadata"]["annotations"] = json!({"vdo.vmware.com/revision": "abc"});
    let ours = |fields| json!([{"manager": "cpi-operator", "operation": "Apply", "fieldsV1": fields}]);
    object["metadata"]["managedFields"] = ours(json!({"f:data": {"f:key": {}}}));
    api.put(&config_map_path("one"), object.clone());
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let kube = KubeApi::<PartialObjectMeta<ConfigMap>>::namespaced(cluster.client().clone(), "a");
    let selector = Selector::labels("vdo.vmware.com/driver=cpi");
    let rows = watches.objects("configs", kube, selector, "cpi-operator");
    until("it is seen", SECOND, || rows.one("a/one").present().is_some()).await;
    let Reading::Present(before) = rows.one("a/one") else { panic!("not there") };
    assert_eq!(before.reference.to_string(), "ConfigMap a/one");
    assert_eq!((before.driver.as_deref(), before.revision.as_deref()), (Some("cpi"), Some("abc")));
    assert!(before.owned_fields.is_some() && before.deleted.is_none());
    assert_eq!(api.log()[0].query["labelSelector"], "vdo.vmware.com%2Fdriver%3Dcpi");

    object["metadata"]["managedFields"] = ours(json!({"f:data": {}}));
    api.put(&config_map_path("one"), object.clone());
    until("the edit is seen", SECOND, || rows.one("a/one") != Reading::Present(before.clone())).await;
    let Reading::Present(after) = rows.one("a/one") else { panic!("not there") };
    assert_ne!(after.owned_fields, before.owned_fields);

    object["metadata"]["managedFields"] =
        json!([{"manager": "kubectl", "operation": "Update", "fieldsV1": {}}]);
    api.put(&config_map_path("one"), object);
    until("it is no longer ours", SECOND, || {
        rows.one("a/one").present().is_some_and(|row| row.owned_fields.is_none())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_wakes_nobody_and_one_that_comes_back_to_life_does() {
    let path = "/apis/coordination.k8s.io/v1/namespaces/a/leases/cpi";
    let lease = |second: u32| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "cpi", "namespace": "a"},
            "spec": {
                "holderIdentity": "h", "leaseDurationSeconds": 15,
                "renewTime": format!("2026-01-01T00:{:02}:{:02}.000000Z", second / 60, second % 60),
            },
        })
    };
    let api = Api::new();
    api.put(path, lease(0));
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let kube = KubeApi::<Lease>::namespaced(cluster.client().clone(), "a");
    let rows = watches.leases("lease", kube, Selector::name("cpi"));
    until("it is seen", SECOND, || rows.one("a/cpi").present().is_some()).await;
    timeout(SECOND, wake.raised()).await.unwrap();
    let is_fresh = |rows: &Rows<LeaseRow>| match rows.one("a/cpi") {
        Reading::Present(row) => row.renewal(Instant::now()) == Renewal::InTime,
        Reading::Absent | Reading::Unreadable(_) => panic!("the lease is there"),
    };
    for second in 1..60 {
        api.put(path, lease(second * 5));
        timeout(5 * SECOND, wake.raised()).await.expect_err("a renewal is no news");
        assert!(is_fresh(&rows));
    }
    assert_eq!(rows.lease_left(Instant::now()), Some(25 * SECOND));
    timeout(15 * SECOND, wake.raised()).await.expect_err("silence wakes nobody");
    assert_eq!(rows.with(|view| view.renewal(Instant::now())), Reading::Present(Renewal::Between));
    timeout(45 * SECOND, wake.raised()).await.expect_err("silence wakes nobody");
    assert_eq!(rows.with(|view| view.renewal(Instant::now())), Reading::Present(Renewal::Missed));
    assert_eq!(rows.lease_left(Instant::now()), None);
    assert!(!is_fresh(&rows));
    // Listed again, it is as old as it was.
    api.send(
        "/apis/coordination.k8s.io/v1/namespaces/a/leases",
        &json!({
            "type": "ERROR", "object": support::status(410, "too old"),
        }),
    );
    tokio::time::sleep(5 * SECOND).await;
    assert!(!is_fresh(&rows));
    api.put(path, lease(400));
    timeout(SECOND, wake.raised()).await.expect("it came back to life");
    assert!(is_fresh(&rows));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_a_sign_of_life() {
    let api = stored(&[("one", "1")]);
    let (cluster, wake) = (api.cluster(), Wake::new());
    let watches = Watches::new(&wake);
    let rows = values(&watches, &cluster);
    shows(&rows, &[("a/one", "1")]).await;
    let age = || watches.pulses().ages()[0].1;
    tokio::time::sleep(100 * SECOND).await;
    assert!(age() >= 100 * SECOND);
    api.send(
        CONFIGS,
        &json!({
            "type": "BOOKMARK",
            "object": {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": "99"}},
        }),
    );
    until("the bookmark is heard", SECOND, || age() < SECOND).await;
    api.end_watches();
    until("it goes on from the bookmark", 5 * SECOND, || {
        api.log().last().unwrap().query.get("resourceVersion").is_some_and(|version| version == "99")
    })
    .await;
}
