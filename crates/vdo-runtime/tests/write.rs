//! What writes look like, and what becomes of the answers. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use http::Method;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use support::{Api, Listening, Reply};
use tokio::time::Instant;
use vdo_api::VDOConfig;
use vdo_plan::{Object, ObjectRef};
use vdo_runtime::apply::{Write, execute};
use vdo_runtime::client::Licence;
use vdo_runtime::status::{apply_finalizer, apply_status, fetch, fetch_all, release_finalizer};
use vdo_runtime::{KubeFault, Retry};

const CONFIGS: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vdo/vdoconfigs";

fn meta(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.into()), namespace: Some("a".into()), ..ObjectMeta::default() }
}

fn config(name: &str) -> Object {
    Object::new(&ConfigMap {
        metadata: meta(name),
        data: Some([("k".into(), "v".into())].into()),
        ..ConfigMap::default()
    })
}

fn vdo_config(api: &Api) -> VDOConfig {
    let stored = api.put(
        &format!("{CONFIGS}/main"),
        json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "main", "namespace": "vdo"},
            "spec": {"storageProvider": {"vsphereCloudConfig": "vc"}},
        }),
    );
    serde_json::from_value(stored).unwrap()
}

#[tokio::test]
async fn an_apply_is_strict_forced_bounded_and_signed() {
    let api = Api::new();
    let server = Listening::start(&api).await;
    let outcome = execute(&server.cluster(), "cpi-operator", &[Write::Apply(config("one"))]).await;
    let applied = outcome.applied.values().next().unwrap();
    assert!(outcome.is_complete() && applied.uid == "uid-1" && applied.resource_version == "1");
    assert!(applied.owned_fields.is_some());

    let log = api.log();
    let [seen] = log.as_slice() else { panic!("one request, not {log:?}") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PATCH", "/api/v1/namespaces/a/configmaps/one"));
    assert_eq!(seen.content_type, "application/apply-patch+yaml");
    assert_eq!(seen.user_agent, "vdo-test/1.2.3");
    let query: Vec<_> = seen.query.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(query, ["fieldManager=cpi-operator", "fieldValidation=Strict", "force=true", "timeout=5s"]);
    assert_eq!(seen.body, *config("one").value());
}

#[tokio::test(start_paused = true)]
async fn a_deletion_hits_the_object_that_was_seen_and_no_other() {
    let api = Api::new();
    let cluster = api.cluster();
    for name in ["right", "wrong"] {
        api.put(&support::config_map_path(name), support::config_map(name, "v"));
    }
    let delete = |name: &str, uid: &str| Write::Delete {
        reference: ObjectRef { namespace: Some("a".into()), ..config(name).reference().clone() },
        uid: uid.into(),
    };
    let writes = [delete("right", "uid-1"), delete("wrong", "somebody-else"), delete("gone", "uid-9")];
    let outcome = execute(&cluster, "cpi-operator", &writes).await;
    let names = |all: &[ObjectRef]| all.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&outcome.deleted), ["gone", "right"]);
    assert!(matches!(&outcome.failed[..], [(it, KubeFault::Conflict { .. })] if it.name == "wrong"));
    assert!(api.object(&support::config_map_path("wrong")).is_some());
    let seen = api.log();
    assert!(seen.iter().all(|seen| seen.query["timeout"] == "5s" && seen.body["preconditions"]["uid"] != ""));
    assert_eq!(seen[0].body["propagationPolicy"], "Background");
}

/// A server on which a field of this object cannot be changed.
fn immutable(api: &Api, path: &'static str) {
    let mut gone = false;
    api.script(move |seen| {
        gone |= seen.method == Method::DELETE && seen.path == path;
        let refused = seen.method == Method::PATCH && seen.path == path && !gone;
        refused.then_some(Reply::Refuse(422, "data: Forbidden: field is immutable when `immutable` is set"))
    });
}

#[tokio::test(start_paused = true)]
async fn an_object_of_ours_whose_field_cannot_be_changed_is_made_anew_and_nobody_elses_is() {
    const PATH: &str = "/api/v1/namespaces/a/configmaps/one";
    let ours = |driver: &str| {
        let labels = [("vdo.vmware.com/driver".to_owned(), driver.to_owned())].into();
        let metadata = ObjectMeta { labels: Some(labels), ..meta("one") };
        Object::new(&ConfigMap { metadata, ..ConfigMap::default() })
    };
    for (there, made_anew) in [(Some("cpi"), true), (Some("csi"), false), (None, false)] {
        let api = Api::new();
        let cluster = api.cluster();
        let mut old = support::config_map("one", "old");
        if let Some(driver) = there {
            old["metadata"]["labels"] = json!({"vdo.vmware.com/driver": driver});
        }
        let old = api.put(PATH, old);
        immutable(&api, PATH);
        let outcome = execute(&cluster, "cpi-operator", &[Write::Apply(ours("cpi"))]).await;
        assert_eq!(outcome.is_complete(), made_anew, "{there:?}: {outcome:?}");
        let now = api.object(PATH).unwrap();
        assert_eq!(now["metadata"]["uid"] != old["metadata"]["uid"], made_anew, "{there:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_eight_writes_are_under_way_at_once() {
    let api = Api::new();
    let cluster = api.cluster();
    api.script(|_| Some(Reply::Hang));
    let writes: Vec<_> = (0..30).map(|n| Write::Apply(config(&format!("c{n}")))).collect();
    let began = Instant::now();
    let outcome = execute(&cluster, "cpi-operator", &writes).await;
    assert_eq!(api.log().len(), 8);
    assert_eq!(
        (outcome.failed.len(), outcome.withheld.len()),
        (8, 22),
        "after a timeout nothing more is sent"
    );
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(outcome.failed.iter().all(|(_, fault)| matches!(fault, KubeFault::Timeout(_))));
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_begins_a_quarantine_that_ends_by_itself() {
    let api = Api::new();
    let cluster = api.cluster();
    for (how, ends_in_quarantine) in [
        (Reply::Hang, true),
        (Reply::LoseAnswer, true),
        (Reply::Refuse(503, "away"), true),
        (Reply::Refuse(409, "conflict"), false),
        (Reply::Refuse(422, "invalid"), false),
        (Reply::Answer(200, json!("not an object")), false),
    ] {
        let mut how = Some(how);
        api.script(move |_| how.take());
        let outcome = execute(&cluster, "cpi-operator", &[Write::Apply(config("one"))]).await;
        assert_eq!(outcome.failed.len(), 1);
        assert_eq!(cluster.licence() != Licence::Granted, ends_in_quarantine, "{:?}", outcome.failed);
        if ends_in_quarantine {
            let before = api.log().len();
            let held = execute(&cluster, "cpi-operator", &[Write::Apply(config("one"))]).await;
            assert_eq!((held.withheld.len(), api.log().len()), (1, before));
            tokio::time::sleep(Duration::from_millis(5001)).await;
        }
        assert_eq!(cluster.licence(), Licence::Granted);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_says_about_a_secret_is_not_kept() {
    let api = Api::new();
    let cluster = api.cluster();
    let secret = Object::new(&Secret {
        metadata: meta("s"),
        data: Some([("password".into(), ByteString(b"hunter2".to_vec()))].into()),
        ..Secret::default()
    });
    api.script(|_| Some(Reply::Refuse(422, "Invalid value: \"aHVudGVyMg==\"")));
    let outcome = execute(&cluster, "cpi-operator", &[Write::Apply(secret), Write::Apply(config("c"))]).await;
    let said: Vec<_> =
        outcome.failed.iter().map(|(it, fault)| (it.kind.clone(), fault.to_string())).collect();
    assert!(said[0].0 == "ConfigMap" && said[0].1.contains("Invalid value"), "{said:?}");
    assert!(said[1].0 == "Secret" && !said[1].1.contains("aHVudGVyMg"), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_we_do_not_write_is_refused_without_a_request() {
    let api = Api::new();
    let pod = Object::new(&k8s_openapi::api::core::v1::Pod { metadata: meta("p"), ..Default::default() });
    let outcome = execute(&api.cluster(), "cpi-operator", &[Write::Apply(pod)]).await;
    assert!(matches!(&outcome.failed[..], [(_, KubeFault::Invalid { .. })]));
    assert!(api.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_only_over_the_version_that_was_seen() {
    let api = Api::new();
    let cluster = api.cluster();
    let seen = vdo_config(&api);
    let status = json!({"observedGeneration": 3});
    let written = apply_status(&cluster, "vdo-core", &seen, &status).await.unwrap();
    assert_eq!(written.status.unwrap().observed_generation, Some(3));
    let request = api.log().pop().unwrap();
    assert_eq!(request.path, format!("{CONFIGS}/main/status"));
    assert_eq!(request.content_type, "application/apply-patch+yaml");
    assert_eq!(
        (request.query["force"].as_str(), request.query["fieldValidation"].as_str()),
        ("true", "Strict")
    );
    assert_eq!(request.query["timeout"], "5s");
    assert_eq!(
        request.body,
        json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig", "status": status,
            "metadata": {"name": "main", "namespace": "vdo", "resourceVersion": "1"},
        })
    );

    let late = apply_status(&cluster, "vdo-core", &seen, &status).await.unwrap_err();
    assert!(matches!(late, KubeFault::Conflict { .. }) && late.retry() == Retry::Reread, "{late:?}");
    let mut unread = seen;
    unread.metadata.resource_version = None;
    apply_status(&cluster, "vdo-core", &unread, &status).await.expect_err("a write that nothing can refuse");
}

#[tokio::test(start_paused = true)]
async fn finalizers_come_and_go_only_over_the_version_that_was_seen() {
    let api = Api::new();
    let cluster = api.cluster();
    let first = vdo_config(&api);
    let second = apply_finalizer(&cluster, "cpi-operator", &first, "vdo.vmware.com/cpi").await.unwrap();
    let third = apply_finalizer(&cluster, "csi-operator", &second, "vdo.vmware.com/csi").await.unwrap();
    assert_eq!(third.metadata.finalizers.as_ref().unwrap(), &["vdo.vmware.com/cpi", "vdo.vmware.com/csi"]);
    let late = release_finalizer(&cluster, "cpi-operator", &second, "vdo.vmware.com/cpi").await.unwrap_err();
    assert!(matches!(late, KubeFault::Conflict { .. }), "{late:?}");
    let fourth = release_finalizer(&cluster, "cpi-operator", &third, "vdo.vmware.com/cpi").await.unwrap();
    assert_eq!(fourth.unwrap().metadata.finalizers.unwrap(), ["vdo.vmware.com/csi"]);
    let patches: Vec<_> = api.log().into_iter().filter(|seen| seen.method == Method::PATCH).collect();
    assert!(patches.iter().all(|seen| seen.content_type == "application/merge-patch+json"));
    assert!(patches.iter().all(|seen| seen.body["metadata"]["resourceVersion"].is_string()));
}

#[tokio::test(start_paused = true)]
async fn a_broken_config_is_listed_beside_the_good_ones() {
    let api = Api::new();
    let cluster = api.cluster();
    vdo_config(&api);
    api.put(
        &format!("{CONFIGS}/bad"),
        json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "bad", "namespace": "vdo"}, "spec": {"storageProvider": 7},
        }),
    );
    let listed = fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap();
    assert_eq!((listed.objects.len(), listed.broken[0].name.as_str()), (1, "bad"));
    assert!(fetch::<VDOConfig>(&cluster, "vdo", "main").await.unwrap().is_ok());
    assert!(fetch::<VDOConfig>(&cluster, "vdo", "bad").await.unwrap().is_err());
    let absent = fetch::<VDOConfig>(&cluster, "vdo", "none").await.unwrap_err();
    assert!(matches!(absent, KubeFault::NotFound { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_read_without_an_answer_ends_after_ten_seconds() {
    let api = Api::new();
    let cluster = api.cluster();
    api.script(|_| Some(Reply::Hang));
    let began = Instant::now();
    let fault = fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap_err();
    assert_eq!((fault, began.elapsed().as_secs()), (KubeFault::Timeout(Duration::from_secs(10)), 10));
    assert_eq!(api.log().len(), 1, "nothing is tried again behind our back");
    assert_eq!(cluster.licence(), Licence::Granted, "a read leaves nothing open");
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_server_is_asked_once_and_its_pause_is_known() {
    let api = Api::new();
    let cluster = api.cluster();
    api.script(|_| {
        let mut body = support::status(429, "slow down");
        body["details"] = json!({"retryAfterSeconds": 7});
        Some(Reply::Answer(429, body))
    });
    let fault = fetch_all::<VDOConfig>(&cluster, "vdo").await.unwrap_err();
    assert_eq!((fault.retry(), api.log().len()), (Retry::After(Duration::from_secs(7)), 1));
}
