//! Leadership, with time paused: the server answers without sockets, so the clock moves only when everybody
//! waits.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use http::Method;
use serde_json::json;
use support::{Api, LEASE, Reply, until};
use tokio::time::Instant;
use vdo_runtime::Cluster;
use vdo_runtime::client::Licence;
use vdo_runtime::lease::{Leadership, LeaseKeeper, LeaseSettings, Parting};

const SECOND: Duration = Duration::from_secs(1);

fn candidate(cluster: &Cluster, identity: &str) -> LeaseKeeper {
    let settings =
        LeaseSettings { namespace: "vdo".into(), name: "vdo-core".into(), identity: identity.into() };
    LeaseKeeper::start(cluster, settings)
}

/// Waits for the leadership, and gives the time that it took.
async fn becomes(keeper: &LeaseKeeper, wanted: Leadership, limit: Duration) -> Duration {
    let began = Instant::now();
    until(&format!("{wanted:?}"), limit, || keeper.leadership() == wanted).await;
    began.elapsed()
}

fn holder(api: &Api) -> String {
    api.object(LEASE).unwrap()["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(start_paused = true)]
async fn the_first_one_leads_at_once_but_writes_no_object_for_five_seconds() {
    let api = Api::new();
    let cluster = api.cluster();
    let keeper = candidate(&cluster, "one");
    assert!(becomes(&keeper, Leadership::Leading, SECOND).await < SECOND);
    assert!(matches!(cluster.licence(), Licence::Quarantined { .. }));
    tokio::time::advance(Duration::from_millis(5001)).await;
    assert_eq!(cluster.licence(), Licence::Granted);
    assert_eq!(holder(&api), "one");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_is_never_taken() {
    let api = Api::new();
    let first = candidate(&api.cluster(), "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    let second = candidate(&api.cluster(), "two");
    let end = Instant::now() + Duration::from_secs(600);
    while Instant::now() < end {
        tokio::time::sleep(SECOND).await;
        assert_eq!((first.leadership(), second.leadership()), (Leadership::Leading, Leadership::Waiting));
    }
    let renewals = api.log().iter().filter(|seen| seen.method == Method::PUT).count();
    assert!((55..=62).contains(&renewals), "{renewals} renewals in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_followed_after_thirty_seconds_and_the_successor_is_in_quarantine() {
    let api = Api::new();
    let first = candidate(&api.cluster(), "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    drop(first);
    let cluster = api.cluster();
    let second = candidate(&cluster, "two");
    let waited = becomes(&second, Leadership::Leading, Duration::from_secs(40)).await;
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    assert!(matches!(cluster.licence(), Licence::Quarantined { .. }));
    assert_eq!(api.object(LEASE).unwrap()["spec"]["leaseTransitions"], 2);
}

#[tokio::test(start_paused = true)]
async fn the_wall_clock_of_the_holder_decides_nothing() {
    for renewed in ["2000-01-01T00:00:00.000000Z", "2100-01-01T00:00:00.000000Z"] {
        let api = Api::new();
        api.put(
            LEASE,
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "vdo-core", "namespace": "vdo"},
                "spec": {"holderIdentity": "other", "leaseDurationSeconds": 30, "renewTime": renewed},
            }),
        );
        let keeper = candidate(&api.cluster(), "one");
        let waited = becomes(&keeper, Leadership::Leading, Duration::from_secs(40)).await;
        assert!(waited >= Duration::from_secs(30), "{renewed}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_release_the_successor_need_not_wait() {
    let api = Api::new();
    let first_cluster = api.cluster();
    let first = candidate(&first_cluster, "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    first.release(Parting::Clean).await.unwrap();
    assert_eq!(holder(&api), "");
    let cluster = api.cluster();
    let second = candidate(&cluster, "two");
    assert!(becomes(&second, Leadership::Leading, SECOND).await < SECOND);
    assert_eq!(cluster.licence(), Licence::Granted);
    // The sign is used up: whoever comes next has to earn its own.
    assert!(api.object(LEASE).unwrap()["metadata"]["annotations"]["vdo.vmware.com/released-by"].is_null());
}

#[tokio::test(start_paused = true)]
async fn after_an_unclean_release_the_successor_is_in_quarantine() {
    let api = Api::new();
    let first = candidate(&api.cluster(), "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    first.release(Parting::Unclean).await.unwrap();
    let cluster = api.cluster();
    let second = candidate(&cluster, "two");
    becomes(&second, Leadership::Leading, SECOND).await;
    assert!(matches!(cluster.licence(), Licence::Quarantined { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_container_finds_its_own_name_and_goes_on_after_the_quarantine() {
    let api = Api::new();
    let first = candidate(&api.cluster(), "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    drop(first);
    let cluster = api.cluster();
    let again = candidate(&cluster, "one");
    assert!(becomes(&again, Leadership::Leading, SECOND).await < SECOND);
    assert!(matches!(cluster.licence(), Licence::Quarantined { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_gives_up_before_anybody_may_follow() {
    for how in [true, false] {
        let api = Api::new();
        let keeper = candidate(&api.cluster(), "one");
        becomes(&keeper, Leadership::Leading, SECOND).await;
        let renewed = api.log().last().unwrap().at;
        api.script(move |seen| {
            (seen.method == Method::PUT).then_some(if how { Reply::Hang } else { Reply::Refuse(503, "away") })
        });
        becomes(&keeper, Leadership::Lost, Duration::from_secs(25)).await;
        let took = renewed.elapsed();
        assert!(took >= Duration::from_secs(19) && took <= Duration::from_millis(20_100), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_was_lost_is_recognised_as_our_own() {
    let api = Api::new();
    let keeper = candidate(&api.cluster(), "one");
    becomes(&keeper, Leadership::Leading, SECOND).await;
    let mut lost = false;
    api.script(move |seen| {
        (seen.method == Method::PUT && !std::mem::replace(&mut lost, true)).then_some(Reply::LoseAnswer)
    });
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        tokio::time::sleep(SECOND).await;
        assert_eq!(keeper.leadership(), Leadership::Leading);
    }
    let conflicts = api.log().iter().filter(|seen| seen.method == Method::GET).count();
    assert!(conflicts >= 2, "the lease was read again after the conflict");
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_by_force_ends_the_holder_at_its_next_renewal() {
    let api = Api::new();
    let keeper = candidate(&api.cluster(), "one");
    becomes(&keeper, Leadership::Leading, SECOND).await;
    let mut lease = api.object(LEASE).unwrap();
    lease["spec"]["holderIdentity"] = "thief".into();
    api.put(LEASE, lease);
    becomes(&keeper, Leadership::Lost, Duration::from_secs(11)).await;
    assert_eq!(holder(&api), "thief");
}

#[tokio::test(start_paused = true)]
async fn of_many_candidates_one_leads() {
    let api = Api::new();
    let keepers: Vec<_> = (0..5).map(|n| candidate(&api.cluster(), &format!("c{n}"))).collect();
    let leading = |keepers: &[LeaseKeeper]| {
        keepers.iter().filter(|keeper| keeper.leadership() == Leadership::Leading).count()
    };
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        tokio::time::sleep(SECOND).await;
        assert_eq!(leading(&keepers), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_not_taken_while_its_holder_may_not_know() {
    let api = Api::new();
    let first = candidate(&api.cluster(), "one");
    becomes(&first, Leadership::Leading, SECOND).await;
    let second = candidate(&api.cluster(), "two");
    tokio::time::sleep(Duration::from_secs(5)).await;
    api.delete(LEASE);
    while second.leadership() == Leadership::Waiting {
        tokio::time::sleep(SECOND / 10).await;
        assert!(
            first.leadership() != Leadership::Leading || second.leadership() != Leadership::Leading,
            "two leaders"
        );
    }
    assert_eq!(first.leadership(), Leadership::Lost);
}
