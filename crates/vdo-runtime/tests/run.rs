//! The loop: when it runs a pass, and how it ends. Time is paused, apart from the test of the signal.

#![allow(clippy::unwrap_used)]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use support::{Api, LEASE, Reply};
use tokio::sync::Notify;
use tokio::time::Instant;
use vdo_plan::Object;
use vdo_runtime::apply::{Write, execute};
use vdo_runtime::lease::{LeaseKeeper, LeaseSettings, Parting};
use vdo_runtime::metrics::Metrics;
use vdo_runtime::run::{Ending, run_until};
use vdo_runtime::serve::Health;
use vdo_runtime::watch::{Pulses, Selector, Watches};
use vdo_runtime::{Cluster, KubeFault, PassError, Revisit, Standing, Wake};

const SECOND: Duration = Duration::from_secs(1);

struct Bed {
    api: Api,
    cluster: Cluster,
    wake: Wake,
    health: Health,
}

impl Bed {
    fn new() -> Self {
        let api = Api::new();
        let cluster = api.cluster();
        let metrics = Metrics::new("vdo-test", "1").unwrap();
        let health = Health::new(&cluster, Pulses::default(), metrics, true);
        Bed { api, cluster, wake: Wake::new(), health }
    }

    fn lease(&self) -> LeaseKeeper {
        let (namespace, name) = ("vdo".into(), "vdo-core".into());
        LeaseKeeper::start(&self.cluster, LeaseSettings { namespace, name, identity: "one".into() })
    }

    async fn run(
        &self,
        stop: impl Future<Output = ()>,
        pass: impl AsyncFnMut(Standing) -> Result<Revisit, PassError>,
        farewell: impl AsyncFnOnce(),
    ) -> Ending {
        run_until(stop, &self.cluster, self.lease(), &self.wake, &self.health, pass, farewell).await
    }

    fn holder(&self) -> Option<String> {
        self.api.object(LEASE)?["spec"]["holderIdentity"].as_str().map(str::to_owned)
    }

    fn released(&self) -> bool {
        !self.api.object(LEASE).unwrap()["metadata"]["annotations"]["vdo.vmware.com/released-by"].is_null()
    }
}

fn after(time: Duration) -> impl Future<Output = ()> {
    tokio::time::sleep(time)
}

fn object() -> Write {
    let metadata =
        ObjectMeta { name: Some("c".into()), namespace: Some("a".into()), ..ObjectMeta::default() };
    Write::Apply(Object::new(&ConfigMap { metadata, ..ConfigMap::default() }))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_while_somebody_else_leads() {
    let bed = Bed::new();
    let settings =
        LeaseSettings { namespace: "vdo".into(), name: "vdo-core".into(), identity: "other".into() };
    let _other = LeaseKeeper::start(&bed.api.cluster(), settings);
    tokio::time::sleep(SECOND).await;
    bed.wake.raise();
    let pass = async |_| panic!("a pass without the lease");
    let ending = bed.run(after(300 * SECOND), pass, async || {}).await;
    assert_eq!(ending, Ending::Stopped { parting: Parting::Clean });
    assert_eq!(bed.holder().as_deref(), Some("other"), "what we do not hold we do not release");
}

#[tokio::test(start_paused = true)]
async fn a_pass_runs_at_first_when_woken_and_when_it_is_due() {
    let bed = Bed::new();
    let (began, times) = (Instant::now(), RefCell::new(Vec::new()));
    let wakes = async {
        for second in [20, 20, 20] {
            tokio::time::sleep(Duration::from_secs(second)).await;
            for _ in 0..100 {
                bed.wake.raise();
            }
        }
        pending::<()>().await;
    };
    let pass = async |_| {
        times.borrow_mut().push(began.elapsed().as_secs());
        Ok(Revisit::within(30 * SECOND))
    };
    tokio::select! {
        _ = bed.run(after(100 * SECOND), pass, async || {}) => {}
        () = wakes => {}
    }
    // At 5 the quarantine of a new leader ends, and what was withheld is done.
    assert_eq!(*times.borrow(), [0, 5, 20, 40, 60, 90]);
}

#[tokio::test(start_paused = true)]
async fn what_changes_all_the_time_is_followed_ten_times_a_second_and_what_is_urgent_at_once() {
    let bed = Bed::new();
    let (began, times) = (Instant::now(), RefCell::new(Vec::new()));
    let wakes = async {
        after(60 * SECOND).await;
        for hundredth in 0..200 {
            bed.wake.raise();
            // Just after a pass, while the pause lasts.
            if hundredth == 102 {
                bed.wake.hurry();
            }
            after(SECOND / 100).await;
        }
        pending::<()>().await;
    };
    let pass = async |_| {
        times.borrow_mut().push(began.elapsed().as_millis());
        Ok(Revisit::at_leisure())
    };
    tokio::select! {
        _ = bed.run(after(62 * SECOND), pass, async || {}) => {}
        () = wakes => {}
    }
    let since: Vec<u128> = times.borrow().iter().filter_map(|time| time.checked_sub(60_000)).collect();
    assert!(since.iter().any(|time| (1_020..1_025).contains(time)), "{since:?}");
    assert!((18..=22).contains(&since.len()), "{since:?}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_an_urgent_watch_shows_does_not_wait_for_the_pause() {
    for (urgent, expected) in [(true, 0..50), (false, 80..150)] {
        let bed = Bed::new();
        let map = |data: &str| json!({"metadata": {"name": "c", "namespace": "a"}, "data": {"x": data}});
        bed.api.put("/api/v1/namespaces/a/configmaps/c", map("0"));
        let watches = Watches::new(&bed.wake);
        let api = kube::Api::<ConfigMap>::namespaced(bed.cluster.client().clone(), "a");
        let rows = watches.watch("maps", api, Selector::all(), |map: &ConfigMap| map.data.clone());
        let rows = if urgent { rows.urgent() } else { rows };
        let times = RefCell::new(Vec::new());
        let changes = async {
            after(60 * SECOND).await;
            let before = Instant::now();
            // A pass for something else, and the change just after it.
            bed.wake.raise();
            after(SECOND / 200).await;
            bed.api.put("/api/v1/namespaces/a/configmaps/c", map("1"));
            after(SECOND).await;
            let since =
                times.borrow().iter().filter_map(|at: &Instant| at.checked_duration_since(before)).collect();
            let since: Vec<Duration> = since;
            assert_eq!(since.len(), 2, "{since:?}");
            assert!(expected.contains(&since[1].as_millis()), "urgent: {urgent}: {since:?}");
        };
        let pass = async |_| {
            times.borrow_mut().push(Instant::now());
            Ok(Revisit::at_leisure())
        };
        tokio::select! {
            _ = bed.run(pending(), pass, async || {}) => {}
            () = changes => {}
        }
        assert_eq!(rows.with(|view| view.len()).present(), Some(&1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_urgent_wake_up_does_not_hurry_what_failed() {
    let bed = Bed::new();
    let passes = Cell::new(0);
    let wakes = async {
        loop {
            bed.wake.hurry();
            after(SECOND / 100).await;
        }
    };
    let pass = async |_| {
        passes.set(passes.get() + 1);
        Err(PassError::observe("x")(KubeFault::Timeout(SECOND)))
    };
    tokio::select! {
        _ = bed.run(after(20 * SECOND), pass, async || {}) => {}
        () = wakes => {}
    }
    assert!((10..30).contains(&passes.get()), "{} passes in 20 s", passes.get());
}

#[tokio::test(start_paused = true)]
async fn no_pass_is_ever_further_away_than_five_minutes() {
    let bed = Bed::new();
    let passes = Cell::new(0);
    let pass = async |_| {
        passes.set(passes.get() + 1);
        Ok(Revisit::within(Duration::from_secs(1_000_000)))
    };
    bed.run(after(3600 * SECOND), pass, async || {}).await;
    assert!((12..=14).contains(&passes.get()), "{}", passes.get());
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_sees_its_quarantine_and_its_writes_are_withheld() {
    let bed = Bed::new();
    let seen = RefCell::new(Vec::new());
    let pass = async |standing: Standing| {
        let outcome = execute(&bed.cluster, "vdo-test", &[object()]).await;
        seen.borrow_mut().push((standing.is_quarantined(), outcome.withheld.len(), outcome.applied.len()));
        Ok(Revisit::at_leisure())
    };
    bed.run(after(20 * SECOND), pass, async || {}).await;
    assert_eq!(*seen.borrow(), [(true, 1, 0), (false, 0, 1)]);
    let lease_taken = bed.api.log().iter().find(|seen| seen.method == Method::POST).unwrap().at;
    let written = bed.api.log().iter().find(|seen| seen.method == Method::PATCH).unwrap().at;
    assert!(written - lease_taken >= 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pass_is_tried_again_by_its_cause() {
    for (fault, fewest, most) in [
        (KubeFault::Conflict { message: String::new() }, 12, 30),
        (KubeFault::Timeout(SECOND), 6, 12),
        (KubeFault::TooMany { retry_after: Some(20 * SECOND) }, 3, 4),
        (KubeFault::Forbidden { verb: None, message: String::new() }, 3, 5),
    ] {
        let bed = Bed::new();
        let passes = Cell::new(0);
        let pass = async |_| {
            passes.set(passes.get() + 1);
            Err(PassError::observe("the VDOConfigs")(fault.clone()))
        };
        bed.run(after(60 * SECOND), pass, async || {}).await;
        assert!((fewest..=most).contains(&passes.get()), "{fault:?}: {} passes in a minute", passes.get());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_pass_then_says_farewell_then_gives_up_the_lease() {
    let bed = Bed::new();
    let (asked, said) = (Notify::new(), RefCell::new(Vec::new()));
    let began = Cell::new(Instant::now());
    let pass = async |standing: Standing| {
        if standing.is_quarantined() {
            return Ok(Revisit::at_leisure());
        }
        asked.notify_one();
        began.set(Instant::now());
        tokio::time::sleep(2 * SECOND).await;
        let outcome = execute(&bed.cluster, "vdo-test", &[object()]).await;
        said.borrow_mut().push(format!("pass ended, {} withheld", outcome.withheld.len()));
        Ok(Revisit::at_leisure())
    };
    let farewell = async || {
        assert_eq!(bed.holder().as_deref(), Some("one"), "still ours while we log out");
        said.borrow_mut().push("farewell".into());
    };
    let ending = bed.run(asked.notified(), pass, farewell).await;
    assert_eq!(ending, Ending::Stopped { parting: Parting::Clean });
    assert_eq!(*said.borrow(), ["pass ended, 1 withheld", "farewell"]);
    assert!(bed.released() && bed.holder().is_none());
    assert!(began.get().elapsed() < 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_less_than_ten_seconds_whatever_hangs() {
    let bed = Bed::new();
    let asked = Notify::new();
    let began = Cell::new(Instant::now());
    let pass = async |standing: Standing| {
        if standing.is_quarantined() {
            return Ok(Revisit::at_leisure());
        }
        bed.api.script(|_| Some(Reply::Hang));
        asked.notify_one();
        began.set(Instant::now());
        let writes: Vec<_> = std::iter::repeat_with(object).take(100).collect();
        execute(&bed.cluster, "vdo-test", &writes).await;
        pending().await
    };
    let ending = bed.run(asked.notified(), pass, async || pending().await).await;
    let took = began.get().elapsed();
    assert!(took < 10 * SECOND, "{took:?}");
    assert_eq!(ending, Ending::Stopped { parting: Parting::Unclean }, "a write may still be under way");
}

#[tokio::test(start_paused = true)]
async fn a_write_cut_off_by_the_stop_leaves_no_sign_of_a_clean_release() {
    let bed = Bed::new();
    let asked = Notify::new();
    let pass = async |standing: Standing| {
        if standing.is_quarantined() {
            return Ok(Revisit::at_leisure());
        }
        bed.api.script(|seen| (seen.method == Method::PATCH).then_some(Reply::Hang));
        asked.notify_one();
        tokio::time::sleep(4 * SECOND).await;
        execute(&bed.cluster, "vdo-test", &[object()]).await;
        // A status may still be written while the process ends; here it gets no answer.
        let config = serde_json::from_value(serde_json::json!({
            "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "m", "namespace": "vdo", "resourceVersion": "1"}, "spec": {},
        }));
        let config: vdo_api::VDOConfig = config.unwrap();
        let status = serde_json::json!({});
        let written = vdo_runtime::status::apply_status(&bed.cluster, "m", &config, &status).await;
        written.map_err(PassError::report("m"))?;
        Ok(Revisit::at_leisure())
    };
    let ending = bed.run(asked.notified(), pass, async || {}).await;
    assert_eq!(ending, Ending::Stopped { parting: Parting::Unclean });
    assert!(bed.holder().is_none() && !bed.released(), "given up, but the successor has to wait");
}

#[tokio::test(start_paused = true)]
async fn lost_leadership_drops_the_pass_and_ends_the_process() {
    let bed = Bed::new();
    let said = Cell::new(false);
    let pass = async |standing: Standing| {
        if standing.is_quarantined() {
            return Ok(Revisit::at_leisure());
        }
        bed.api.script(|seen| (seen.method == Method::PUT).then_some(Reply::Hang));
        pending().await
    };
    let ending = bed.run(pending(), pass, async || said.set(true)).await;
    assert_eq!(ending, Ending::LeadershipLost);
    assert!(said.get());
    assert_eq!(format!("{:?}", ending.exit_code()), format!("{:?}", std::process::ExitCode::FAILURE));
}

#[tokio::test(start_paused = true)]
async fn liveness_is_red_for_a_hanging_pass_and_not_for_a_failing_one() {
    let bed = Bed::new();
    let failing = async |_| Err(PassError::observe("it")(KubeFault::Timeout(SECOND)));
    bed.run(after(1200 * SECOND), failing, async || {}).await;
    assert_eq!(bed.health.liveness(), Ok(()));

    let bed = Bed::new();
    let look = async {
        tokio::time::sleep(290 * SECOND).await;
        assert_eq!(bed.health.liveness(), Ok(()));
        tokio::time::sleep(20 * SECOND).await;
        assert!(bed.health.liveness().unwrap_err().contains("a pass was due"));
    };
    tokio::select! {
        _ = bed.run(pending(), async |_| pending().await, async || {}) => panic!("it ended"),
        () = look => {}
    }
}

#[tokio::test]
async fn sigterm_ends_the_loop() {
    let bed = Bed::new();
    let pass = async |_: Standing| {
        let status =
            std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status();
        assert!(status.unwrap().success());
        Ok(Revisit::at_leisure())
    };
    let began = std::time::Instant::now();
    let ending = vdo_runtime::run(&bed.cluster, bed.lease(), &bed.wake, &bed.health, pass, async || {}).await;
    assert!(matches!(ending, Ending::Stopped { .. }));
    assert!(began.elapsed() < 10 * SECOND);
    assert_eq!(bed.holder(), None);
}
