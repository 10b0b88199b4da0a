//! An operator under an API server that puts its writes off for an hour. Everything of it runs: the Lease, the watches,
//! the loop and the pass. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use support::{Api, Reply, Seen, until};
use vdo_api::names::{CPI, CPI_FINALIZER, CPI_MANAGER, CPI_NAMESPACE};
use vdo_compat::Driver;
use vdo_plan::driver::{Health, Judge, Plan, Rendered, Scene, StatusPart};
use vdo_plan::{Object, Revision, Stage};
use vdo_runtime::driver::{DriverOperator, DriverPass, Patience};
use vdo_runtime::logs::LogFormat;
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::settings::Settings;
use vdo_runtime::{Cluster, Operator};

const SECOND: Duration = Duration::from_secs(1);
/// A pause of an hour is kept for a minute and its jitter, and what follows takes a moment.
const A_MINUTE: Duration = Duration::from_secs(80);
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vdo/vdoconfigs/main";
const STATUS: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vdo/vdoconfigs/main/status";
const MAPS: &str = "/api/v1/namespaces/vmware-system-cpi/configmaps";
const NAMES: [&str; 3] = ["one", "two", "three"];
const OWNER: Owner = Owner { driver: CPI, namespace: CPI_NAMESPACE, manager: CPI_MANAGER };

/// A driver of three ConfigMaps that works as soon as it is there.
struct Toy {
    own: OwnObjects,
}

struct Observed(Scene);

impl AsRef<Scene> for Observed {
    fn as_ref(&self) -> &Scene {
        &self.0
    }
}

impl AsMut<Scene> for Observed {
    fn as_mut(&mut self) -> &mut Scene {
        &mut self.0
    }
}

struct Works;

impl Judge for Works {
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, _: &Revision) -> Health {
        Health::Works
    }
}

impl DriverOperator for Toy {
    type Observed = Observed;

    const DRIVER: Driver = Driver::Cpi;
    const OWNER: Owner = OWNER;
    const FINALIZER: &'static str = CPI_FINALIZER;

    fn own(&self) -> &OwnObjects {
        &self.own
    }

    fn due(&self, _: &Self::Observed) -> Option<Duration> {
        None
    }

    fn is_image(_: &str) -> bool {
        false
    }

    async fn observe(&self, _: &Cluster, scene: Scene) -> Option<Observed> {
        Some(Observed(scene))
    }

    fn render(_: &Observed) -> Rendered {
        Rendered { wanted: Some(revision()), fallback: None }
    }

    fn plan(observed: &Observed) -> Plan {
        Plan::new(&observed.0, &Works, Vec::new(), &Self::render(observed))
    }

    fn status(_: &Observed, part: &StatusPart) -> Value {
        json!({ "cpi": part.record, "conditions": [part.ready] })
    }
}

fn revision() -> Revision {
    let map = |name: &str| {
        Object::new(&ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some(CPI_NAMESPACE.into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        })
    };
    let stages = vec![Stage { name: "all".into(), objects: NAMES.map(map).into() }];
    Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &json!({}), stages, b"key")
}

/// A VDOConfig whose gate is open.
fn config() -> Value {
    json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "main", "namespace": "vdo", "generation": 1},
        "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc"]}},
        "status": {"gates": {
            "generation": 1, "kubernetes": "1.36.0", "matrix": {"source": "BuiltIn", "digest": "d"},
            "cpi": {"release": "1.36.0", "chosenBy": "Matrix", "verdict": "Open"},
        }},
    })
}

fn discovery(seen: &Seen) -> Option<Reply> {
    (seen.path == "/apis").then(|| Reply::Answer(200, json!({"kind": "APIGroupList", "groups": []})))
}

/// Answers the writes that `meets` picks so, and the rest as a server does.
fn answers(api: &Api, mut meets: impl FnMut(&Seen) -> bool + Send + 'static) {
    api.script(move |seen| match seen.method != Method::GET && meets(seen) {
        true => Some(Reply::Later(429, 3600)),
        false => discovery(seen),
    });
}

fn is_lease_or_event(seen: &Seen) -> bool {
    seen.path.contains("/leases") || seen.path.ends_with("/events")
}

/// Runs the operator while the test does something.
async fn beside(api: &Api, test: impl Future<Output = ()>) {
    let settings = Settings {
        namespace: "vdo".into(),
        pod_uid: "uid".into(),
        pod_name: "pod".into(),
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics: true,
        log_format: LogFormat::Text,
        log: "info".into(),
        kube_system_secrets: Vec::new(),
    };
    let operator = Operator::over(api.cluster(), CPI_MANAGER, "1", &settings).unwrap();
    let own = OwnObjects::watch(&operator.cluster, &operator.watches, OWNER, &[]);
    let patience = Patience { rollout_deadline_seconds: 3600, rollout_soak_seconds: 90 };
    let driver = DriverPass::new(&operator, &settings, patience, Toy { own });
    tokio::select! {
        biased;
        () = test => {}
        ending = operator.lead(async |standing| driver.pass(standing).await, async || {}) => {
            panic!("the operator ended: {ending:?}")
        }
    }
}

fn reason(api: &Api) -> String {
    let config = api.object(CONFIG).unwrap();
    let conditions = config["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|it| it["type"] == "CPIReady");
    ready.map(|it| it["reason"].as_str().unwrap().to_owned()).unwrap_or_default()
}

fn writes(api: &Api, of: &str) -> usize {
    api.log().iter().filter(|seen| seen.method != Method::GET && seen.path.starts_with(of)).count()
}

/// Something changes in the VDOConfig that is no work for this operator, each second.
async fn restless(api: &Api, seconds: u64) {
    for second in 0..seconds {
        let mut config = api.object(CONFIG).unwrap();
        config["status"]["nodes"] = json!({"expected": second, "initialised": 0});
        api.put(CONFIG, config);
        tokio::time::sleep(SECOND).await;
    }
}

async fn is_installed(api: &Api, within: Duration) {
    until("the driver is installed", within, || reason(api) == "Installed").await;
    assert!(NAMES.iter().all(|name| api.object(&format!("{MAPS}/{name}")).is_some()));
}

#[tokio::test(start_paused = true)]
async fn objects_that_are_put_off_for_an_hour_are_tried_each_minute_while_status_goes_on() {
    let api = Api::new();
    api.put(CONFIG, config());
    answers(&api, |seen| seen.path.starts_with(MAPS));
    beside(&api, async {
        restless(&api, 300).await;
        let tried = writes(&api, MAPS);
        // All of a stage at once, then silence.
        assert!((4 * 3..=6 * 3).contains(&tried), "{tried} writes of objects in five minutes");
        let told = writes(&api, STATUS);
        // What was put off is told, and that it is waited for.
        assert!((1..=15).contains(&told), "{told} writes of status in five minutes");
        // What can be said is said meanwhile.
        let mut config = api.object(CONFIG).unwrap();
        config["metadata"]["generation"] = 2.into();
        config["status"]["gates"]["generation"] = 2.into();
        api.put(CONFIG, config);
        until("the new generation is answered", 10 * SECOND, || {
            api.object(CONFIG).unwrap()["status"]["cpi"]["observedGeneration"] == 2
        })
        .await;
        assert_ne!(reason(&api), "Installed");
        api.script(discovery);
        is_installed(&api, A_MINUTE).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_status_that_is_put_off_for_an_hour_is_tried_each_minute_however_often_the_loop_is_woken() {
    let api = Api::new();
    api.put(CONFIG, config());
    answers(&api, |seen| seen.path == STATUS);
    beside(&api, async {
        restless(&api, 300).await;
        let tried = writes(&api, STATUS);
        assert!((4..=6).contains(&tried), "{tried} writes of status in five minutes");
        assert_eq!(writes(&api, MAPS), 0, "no object without a claim");
        api.script(discovery);
        is_installed(&api, A_MINUTE).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_installed_is_repaired_although_status_is_put_off() {
    let api = Api::new();
    api.put(CONFIG, config());
    api.script(discovery);
    beside(&api, async {
        is_installed(&api, 30 * SECOND).await;
        answers(&api, |seen| seen.path == STATUS);
        // Something to say that cannot be said.
        let mut config = api.object(CONFIG).unwrap();
        config["metadata"]["generation"] = 2.into();
        config["status"]["gates"]["generation"] = 2.into();
        api.put(CONFIG, config);
        tokio::time::sleep(5 * SECOND).await;
        api.delete(&format!("{MAPS}/two"));
        let back = || api.object(&format!("{MAPS}/two")).is_some();
        until("what was deleted is there again", A_MINUTE * 2, back).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn any_one_write_that_is_put_off_for_an_hour_costs_about_a_minute() {
    // The finalizer, the journal, the claim, three objects, the journal and the end.
    for at in 1..=8 {
        let api = Api::new();
        api.put(CONFIG, config());
        let mut write = 0;
        answers(&api, move |seen| {
            write += usize::from(!is_lease_or_event(seen));
            write == at && !is_lease_or_event(seen)
        });
        beside(&api, async {
            is_installed(&api, A_MINUTE + 15 * SECOND).await;
            let put_off = api
                .log()
                .iter()
                .filter(|seen| seen.method != Method::GET && !is_lease_or_event(seen))
                .count();
            assert!(put_off > 8, "write {at} was put off and made again: {put_off} writes");
        })
        .await;
    }
}

/// The description of our kinds; of an older one that does not know which generation a driver's record speaks of.
fn description(is_older: impl Fn() -> bool) -> Value {
    let schemas = vdo_api::crd::all().into_iter().map(|crd| {
        let kind = &crd.spec.names.kind;
        let mut schema =
            serde_json::to_value(&crd.spec.versions[0].schema).unwrap()["openAPIV3Schema"].take();
        if kind == "VDOConfig" && is_older() {
            let record = &mut schema["properties"]["status"]["properties"]["cpi"]["properties"];
            record.as_object_mut().unwrap().remove("observedGeneration").unwrap();
        }
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": "vdo.vmware.com", "version": "v1alpha1", "kind": kind}]);
        (format!("com.vmware.vdo.v1alpha1.{kind}"), schema)
    });
    json!({"components": {"schemas": Value::Object(schemas.collect())}})
}

#[tokio::test(start_paused = true)]
async fn a_field_that_the_crd_does_not_know_is_left_out_and_steady_state_writes_nothing() {
    let api = Api::new();
    api.put(CONFIG, config());
    let is_older = Arc::new(AtomicBool::new(true));
    let upgrade = is_older.clone();
    api.script(move |seen| {
        let older = || is_older.load(Ordering::Relaxed);
        if seen.path == "/openapi/v3/apis/vdo.vmware.com/v1alpha1" {
            return Some(Reply::Answer(200, description(older)));
        }
        // As a server answers that meets a field in an apply which the schema lacks.
        let unknown = seen.path == STATUS && !seen.body["status"]["cpi"]["observedGeneration"].is_null();
        if unknown && older() {
            return Some(Reply::Refuse(500, ".status.cpi.observedGeneration: field not declared in schema"));
        }
        discovery(seen)
    });
    beside(&api, async {
        is_installed(&api, 30 * SECOND).await;
        tokio::time::sleep(10 * SECOND).await;
        let (status, objects) = (writes(&api, STATUS), writes(&api, MAPS));
        restless(&api, 900).await;
        assert_eq!(
            (writes(&api, STATUS), writes(&api, MAPS)),
            (status, objects),
            "it writes in steady state"
        );
        let asked = api.log().iter().filter(|seen| seen.path.starts_with("/openapi")).count();
        assert!((2..=5).contains(&asked), "the CRDs were looked at {asked} times in a quarter of an hour");
        // The CRDs are upgraded: everything is said, without a restart.
        upgrade.store(false, Ordering::Relaxed);
        until("what was left out is there", 340 * SECOND, || {
            api.object(CONFIG).unwrap()["status"]["cpi"]["observedGeneration"] == 1
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn crds_that_are_described_later_than_served_are_compared_as_soon_as_a_status_is_refused() {
    // Not there yet, without our kinds yet, or of the CRD before.
    for early in [|| None, || Some(json!({})), || Some(description(|| false))] {
        let api = Api::new();
        api.put(CONFIG, config());
        let mut refusals = 0;
        api.script(move |seen| {
            if seen.path.starts_with("/openapi") {
                return Some(match refusals {
                    0 => early().map_or(Reply::Refuse(404, "not found"), |it| Reply::Answer(200, it)),
                    _ => Reply::Answer(200, description(|| true)),
                });
            }
            let unknown = seen.path == STATUS && !seen.body["status"]["cpi"]["observedGeneration"].is_null();
            if !unknown {
                return discovery(seen);
            }
            refusals += 1;
            Some(Reply::Refuse(500, ".status.cpi.observedGeneration: field not declared in schema"))
        });
        beside(&api, is_installed(&api, 30 * SECOND)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn crds_that_cannot_be_compared_hold_nothing_up() {
    for reply in [|| Reply::Refuse(403, "forbidden"), || Reply::Page(200), || Reply::Answer(200, json!({}))] {
        let api = Api::new();
        api.put(CONFIG, config());
        api.script(
            move |seen| if seen.path.starts_with("/openapi") { Some(reply()) } else { discovery(seen) },
        );
        beside(&api, is_installed(&api, 30 * SECOND)).await;
        assert_eq!(api.object(CONFIG).unwrap()["status"]["cpi"]["observedGeneration"], 1);
    }
}
