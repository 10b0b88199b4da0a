//! `vdoctl release` against the scripted API server.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-runtime/tests/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use support::Api;
use vdoctl::release::{Found, Intent, WATCHED, let_go};

const NAMESPACE: &str = "vmware-system-vdo";
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vdoconfigs/vdo";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/vmware-system-vdo/leases/csi-operator";

fn config(finalizers: &[&str], more: Value) -> Value {
    let mut config = json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "vdo", "namespace": NAMESPACE, "finalizers": finalizers}, "spec": {}});
    config["metadata"]["annotations"] = more;
    config
}

const BOTH: [&str; 2] = ["vdo.vmware.com/csi", "vdo.vmware.com/cpi"];

fn lease(renewed: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "csi-operator", "namespace": NAMESPACE}, "spec": {"renewTime": renewed}})
}

/// Looks, and lets go if that is meant, while this happens in the middle of it.
async fn released(api: &Api, intent: Intent, meanwhile: impl FnOnce()) -> (Found, String) {
    let (cluster, mut out) = (api.cluster(), Vec::new());
    let (found, ()) = tokio::join!(let_go(&cluster, NAMESPACE, intent, &mut out), async {
        tokio::time::sleep(WATCHED / 2).await;
        meanwhile();
    });
    (found.unwrap(), String::from_utf8(out).unwrap())
}

fn writes(api: &Api) -> usize {
    api.log().iter().filter(|seen| seen.method != http::Method::GET).count()
}

#[tokio::test(start_paused = true)]
async fn a_vdoconfig_that_changed_while_the_leases_were_watched_is_let_go_all_the_same() {
    let api = Api::new();
    api.put(CONFIG, config(&BOTH, json!({})));
    let (found, said) = released(&api, Intent::LetGo, || {
        api.put(CONFIG, config(&BOTH, json!({"changed": "meanwhile"})));
    })
    .await;
    assert_eq!(found, Found::Abandoned);
    assert_eq!(
        said,
        "VDOConfig vmware-system-vdo/vdo: vdo.vmware.com/csi and vdo.vmware.com/cpi taken off; the drivers stay as they are\n"
    );
    let left = api.object(CONFIG).unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!([]));
    assert_eq!(left["metadata"]["annotations"]["changed"], "meanwhile", "the change stays");
}

#[tokio::test(start_paused = true)]
async fn a_vdoconfig_that_went_while_the_leases_were_watched_is_no_fault() {
    let api = Api::new();
    api.put(CONFIG, config(&BOTH, json!({})));
    let answer = released(&api, Intent::LetGo, || api.delete(CONFIG)).await;
    assert_eq!(answer, (Found::Abandoned, String::new()));
}

#[tokio::test(start_paused = true)]
async fn finalizers_of_others_stay_and_one_that_is_no_more_ours_is_not_taken_off() {
    let api = Api::new();
    api.put(CONFIG, config(&["mine", "vdo.vmware.com/cpi"], json!({})));
    let (_, said) = released(&api, Intent::LetGo, || {}).await;
    assert!(said.contains("vdo.vmware.com/cpi taken off"), "{said}");
    assert_eq!(api.object(CONFIG).unwrap()["metadata"]["finalizers"], json!(["mine"]));
    let before = api.log().len();
    assert_eq!(released(&api, Intent::LetGo, || {}).await, (Found::Nothing, String::new()));
    assert_eq!(api.log().len(), before + 1, "nothing to watch the Leases for");
}

#[tokio::test(start_paused = true)]
async fn without_its_being_meant_nothing_is_written() {
    let api = Api::new();
    api.put(CONFIG, config(&BOTH, json!({})));
    let (found, said) = released(&api, Intent::Look, || {}).await;
    assert_eq!(found, Found::Abandoned);
    assert!(said.ends_with("would be taken off\n"), "{said}");
    assert_eq!(writes(&api), 0);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_renews_its_lease_is_left_to_do_it() {
    let api = Api::new();
    api.put(CONFIG, config(&BOTH, json!({})));
    api.put(LEASE, lease("2026-03-01T12:00:00.000000Z"));
    let (found, _) = released(&api, Intent::LetGo, || {
        api.put(LEASE, lease("2026-03-01T12:00:10.000000Z"));
    })
    .await;
    assert_eq!(found, Found::AtWork(vec!["csi-operator"]));
    assert_eq!(writes(&api), 0);

    // The Lease of one that is gone stands still.
    let (found, _) = released(&api, Intent::LetGo, || {}).await;
    assert_eq!(found, Found::Abandoned);
}
