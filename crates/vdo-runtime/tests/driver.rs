//! The pass that both driver operators share: when it asks the API server, and when it need not. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use support::{Api, Reply, Seen, until};
use tokio::sync::Notify;
use vdo_api::names::{CPI, CPI_FINALIZER, CPI_MANAGER, CPI_NAMESPACE};
use vdo_compat::Driver;
use vdo_plan::driver::{Bearer, Bearers, Health, Judge, Plan, Rendered, Scene, StatusPart};
use vdo_plan::{Object, Revision, Stage};
use vdo_runtime::client::Licence;
use vdo_runtime::driver::{DriverOperator, DriverPass, Patience};
use vdo_runtime::logs::LogFormat;
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::run::Revisit;
use vdo_runtime::settings::Settings;
use vdo_runtime::{Cluster, Operator, Standing};

const CONFIGS: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vdo/vdoconfigs";
const JOURNAL: &str = "/api/v1/namespaces/vdo/secrets/vdo-cpi-journal";
const MAP: &str = "/api/v1/namespaces/vmware-system-cpi/configmaps/driver";
const STANDING: Standing = Standing { licence: Licence::Granted };
const PATIENCE: Patience = Patience { rollout_deadline_seconds: 600, rollout_soak_seconds: 90 };
const OWNER: Owner = Owner { driver: CPI, namespace: CPI_NAMESPACE, manager: CPI_MANAGER };

/// A driver of one ConfigMap, which it reads live, or of none while its inputs do not resolve.
struct Toy {
    own: OwnObjects,
    content: Arc<Mutex<&'static str>>,
    health: Arc<Mutex<Health>>,
    bearers: Arc<Mutex<Vec<Bearers>>>,
}

struct Observed(Scene, Health, &'static str);

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

    fn is_image(image: &str) -> bool {
        image == "somebody/elses"
    }

    async fn observe(&self, _: &Cluster, mut scene: Scene) -> Option<Observed> {
        scene.bearers = self.bearers.lock().unwrap().clone();
        Some(Observed(scene, self.health.lock().unwrap().clone(), *self.content.lock().unwrap()))
    }

    fn render(observed: &Observed) -> Rendered {
        let gates = observed.0.config.status.as_ref().and_then(|status| status.gates.as_ref());
        let gate = gates.and_then(|gates| gates.cpi.as_ref());
        Rendered { wanted: gate.map(|_| revision(observed.2)), fallback: None }
    }

    fn plan(observed: &Observed) -> Plan {
        Plan::new(&observed.0, &Says(&observed.1), Vec::new(), &Self::render(observed))
    }

    fn status(_: &Observed, part: &StatusPart) -> Value {
        json!({ "cpi": part.record, "conditions": [part.ready] })
    }
}

struct Says<'a>(&'a Health);

impl Judge for Says<'_> {
    fn open_stages(&self, revision: &Revision) -> usize {
        revision.stages.len()
    }

    fn health(&self, _: &Revision) -> Health {
        self.0.clone()
    }
}

fn revision(content: &str) -> Revision {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some("driver".into()),
            namespace: Some(CPI_NAMESPACE.into()),
            ..ObjectMeta::default()
        },
        data: Some([("verbosity".to_owned(), content.to_owned())].into()),
        ..ConfigMap::default()
    };
    let stages = vec![Stage { name: "all".into(), objects: vec![Object::live(&map)] }];
    Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &json!({}), stages, b"key")
}

struct Bed {
    api: Api,
    driver: DriverPass<Toy>,
    content: Arc<Mutex<&'static str>>,
    health: Arc<Mutex<Health>>,
    bearers: Arc<Mutex<Vec<Bearers>>>,
    _operator: Operator,
}

impl Bed {
    /// With a VDOConfig that wants CPI and for which vdo-core found no release, and every watch listed.
    async fn new() -> Self {
        Bed::with(&json!({ "gates": answer(1) })).await
    }

    /// With a VDOConfig of this status.
    async fn with(status: &Value) -> Self {
        let api = Api::new();
        api.put(&format!("{CONFIGS}/main"), config(1, status));
        Bed::over(api).await
    }

    /// Another process over the same API server, once this one is dead.
    async fn restarted(self) -> Self {
        let Bed { api, driver, _operator, .. } = self;
        drop((driver, _operator));
        Bed::over(api).await
    }

    async fn over(api: Api) -> Self {
        api.script(discovery);
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
        let health = Arc::new(Mutex::new(Health::Works));
        let bearers = Arc::<Mutex<Vec<Bearers>>>::default();
        let content = Arc::new(Mutex::new("2"));
        let toy = Toy { own, content: content.clone(), health: health.clone(), bearers: bearers.clone() };
        let driver = DriverPass::new(&operator, &settings, PATIENCE, toy);
        let bed = Bed { api, driver, content, health, bearers, _operator: operator };
        until("every watch is open", Duration::from_secs(5), || bed.api.watches_open() == 9).await;
        bed
    }

    /// One pass; gives its requests.
    async fn pass(&self) -> Vec<String> {
        let before = self.api.log().len();
        self.driver.pass(STANDING).await.unwrap();
        let log = self.api.log();
        let asked = log[before..].iter().filter(|seen| !seen.is_watch());
        asked.map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }

    /// Opens the gate and passes until nothing is left to do.
    async fn install(&self) {
        self.pass().await;
        self.open_gate();
        self.settle().await;
        assert_eq!(self.ready(), "Installed", "{}", self.stored()["status"]);
    }

    fn open_gate(&self) {
        let mut stored = self.stored();
        stored["status"]["gates"] = answer(1);
        stored["status"]["gates"]["cpi"] =
            json!({"release": "1.36.0", "chosenBy": "Matrix", "verdict": "Open"});
        self.api.put(&format!("{CONFIGS}/main"), stored);
    }

    /// What is there, without what differs from run to run.
    fn end_state(&self) -> Value {
        let mut config = self.stored();
        let mut map = self.api.object(MAP).unwrap_or_default();
        for object in [&mut config, &mut map] {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata
                .retain(|key, _| matches!(key.as_str(), "name" | "finalizers" | "labels" | "annotations"));
        }
        config["status"]["cpi"]["installed"]["since"] = Value::Null;
        for condition in config["status"]["conditions"].as_array_mut().unwrap() {
            condition["lastTransitionTime"] = Value::Null;
        }
        json!([config, map])
    }

    async fn settle(&self) {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.pass().await.is_empty() {
                return;
            }
        }
        panic!("it does not settle: {}", self.stored()["status"]);
    }

    /// The reason of `CPIReady`.
    fn ready(&self) -> String {
        let conditions = self.stored()["status"]["conditions"].as_array().unwrap().clone();
        let ready = conditions.into_iter().find(|it| it["type"] == "CPIReady").unwrap();
        ready["reason"].as_str().unwrap().to_owned()
    }

    /// The notes of the events with this reason.
    fn told(&self, reason: &str) -> Vec<String> {
        let log = self.api.log();
        let events =
            log.iter().filter(|seen| seen.path.ends_with("/events") && seen.body["reason"] == reason);
        events.map(|seen| seen.body["note"].as_str().unwrap().to_owned()).collect()
    }

    /// How often an event that is there was counted, each time that it was.
    fn repetitions(&self) -> Vec<u64> {
        let log = self.api.log();
        let again = log.iter().filter(|seen| seen.method == "PATCH" && seen.path.contains("/events/"));
        again.map(|seen| seen.body["series"]["count"].as_u64().unwrap()).collect()
    }

    /// Somebody else takes a field of our object, as the API server records it.
    fn edit(&self, manager: &str) {
        let mut map = self.api.object(MAP).unwrap();
        map["data"]["verbosity"] = "9".into();
        let entries = map["metadata"]["managedFields"].as_array_mut().unwrap();
        entries[0]["fieldsV1"].as_object_mut().unwrap().remove("f:data");
        entries.push(json!({
            "manager": manager, "operation": "Update", "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:data": {"f:verbosity": {}}},
        }));
        self.api.put(MAP, map);
    }

    fn stored(&self) -> Value {
        self.api.object(&format!("{CONFIGS}/main")).unwrap()
    }
}

fn config(generation: i64, status: &Value) -> Value {
    json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "main", "namespace": "vdo", "generation": generation},
        "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc"]}},
        "status": status,
    })
}

/// What vdo-core says of a generation for which no release fits.
fn answer(generation: i64) -> Value {
    json!({"generation": generation, "kubernetes": "1.36.0", "matrix": {"source": "BuiltIn", "digest": "d"}})
}

fn discovery(seen: &Seen) -> Option<Reply> {
    (seen.path == "/apis").then(|| Reply::Answer(200, json!({"kind": "APIGroupList", "groups": []})))
}

fn reads_of_the_config(requests: &[String]) -> usize {
    requests.iter().filter(|request| **request == format!("GET {CONFIGS}")).count()
}

#[tokio::test(start_paused = true)]
async fn a_pass_with_nothing_to_do_asks_the_api_server_nothing() {
    let bed = Bed::new().await;
    let first = bed.pass().await;
    assert_eq!(reads_of_the_config(&first), 1);
    // What it waits for is said when its neighbour had a second for a claim.
    assert!(!first.contains(&format!("PATCH {CONFIGS}/main/status")), "{first:?}");
    let revisit = bed.driver.pass(STANDING).await.unwrap();
    assert!(revisit <= Revisit::within(Duration::from_secs(1)), "{revisit:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = bed.pass().await;
    assert_eq!(reads_of_the_config(&second), 0);
    assert!(second.contains(&format!("PATCH {CONFIGS}/main/status")), "{second:?}");
    // Before the watch shows our own write, and after.
    assert_eq!(bed.pass().await, [""; 0]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bed.pass().await, [""; 0]);
    // Only somebody else's part of the status changed.
    let mut other = bed.stored();
    other["status"]["nodes"] = json!({"expected": 3, "initialised": 1});
    bed.api.put(&format!("{CONFIGS}/main"), other);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bed.pass().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_pass_writes_was_decided_on_a_live_read() {
    let bed = ready().await;
    let requests = bed.pass().await;
    let position = |wanted: &str| requests.iter().position(|request| request == wanted);
    let read = position(&format!("GET {CONFIGS}")).unwrap();
    let claimed = position(&format!("PATCH {CONFIGS}/main/status")).unwrap();
    assert!(read < claimed && claimed < position(&format!("PATCH {MAP}")).unwrap(), "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn that_a_driver_does_not_work_is_said_of_a_new_generation_without_a_live_read() {
    let bed = Bed::new().await;
    bed.settle().await;
    let mut status = bed.stored()["status"].clone();
    status["gates"] = answer(2);
    bed.api.put(&format!("{CONFIGS}/main"), config(2, &status));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut asked = bed.pass().await;
    asked.sort();
    assert_eq!(asked, LOOKS);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bed.pass().await, [format!("PATCH {CONFIGS}/main/status")]);
    assert_eq!(bed.stored()["status"]["cpi"]["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_no_watch_showed_is_found_by_a_live_read() {
    let bed = Bed::new().await;
    bed.settle().await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(bed.pass().await, [""; 0]);
    tokio::time::sleep(Duration::from_secs(110)).await;
    let asked = bed.pass().await;
    assert_eq!(reads_of_the_config(&asked), 1);
    // A driver that waits says then whether somebody else's has come; and to whoever edits the VDOConfig, at once.
    assert!(LOOKS.iter().all(|look| asked.iter().any(|request| request == look)), "{asked:?}");
    let mut stored = bed.stored();
    stored["metadata"]["generation"] = 2.into();
    stored["status"]["gates"]["generation"] = 2.into();
    bed.api.put(&format!("{CONFIGS}/main"), stored);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = bed.pass().await;
    assert!(LOOKS.iter().all(|look| asked.iter().any(|request| request == look)), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_and_no_name_is_looked_up_before_vdo_core_had_a_moment_to_answer() {
    let bed = Bed::with(&Value::Null).await;
    let mut silent = bed.pass().await;
    silent.sort();
    let own = [format!("GET {JOURNAL}"), format!("GET {CONFIGS}")];
    assert_eq!(silent, [&own[..1], &LOOKS.map(str::to_owned), &own[1..]].concat());
    let revisit = bed.driver.pass(STANDING).await.unwrap();
    assert!(revisit <= Revisit::within(Duration::from_secs(11)), "{revisit:?}");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(bed.pass().await.contains(&format!("PATCH {CONFIGS}/main/status")));
    assert_eq!(bed.ready(), "WaitsForGates");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_was_overtaken_decides_again_at_once_and_does_not_look_for_others_again() {
    let bed = ready().await;
    // Somebody else's status comes between the look and the first write.
    at_write(&bed.api, 1, || Reply::Refuse(409, "the object has been modified"));
    let requests = bed.pass().await;
    let looks = requests.iter().filter(|it| it.starts_with(&format!("GET {MAP}"))).count();
    assert_eq!((looks, reads_of_the_config(&requests)), (1, 2), "{requests:?}");
    assert!(bed.stored()["status"]["cpi"]["attempt"].is_object(), "{}", bed.stored()["status"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_claim_waits_for_follows_in_the_same_pass_on_what_the_claim_left() {
    let bed = ready().await;
    let requests = bed.pass().await;
    assert_eq!(reads_of_the_config(&requests), 1, "{requests:?}");
    assert!(bed.stored()["status"]["cpi"]["attempt"].is_object(), "{}", bed.stored()["status"]);
    assert!(bed.api.object(MAP).is_some());
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_without_a_live_read_and_less_and_less_often() {
    let bed = Bed::new().await;
    *bed.health.lock().unwrap() = Health::Waits("0 of 99 pods work".to_owned());
    bed.pass().await;
    bed.open_gate();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.pass().await;
    }
    let asked = bed.api.log().len();
    for number in 1..60 {
        let words =
            if number == 59 { "pod x: OOMKilled".to_owned() } else { format!("{number} of 99 pods work") };
        *bed.health.lock().unwrap() = Health::Waits(words);
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.pass().await;
    }
    let log = bed.api.log();
    let since: Vec<String> = log[asked..]
        .iter()
        .filter(|seen| !seen.is_watch() && !seen.path.starts_with("/openapi"))
        .map(|seen| seen.path.clone())
        .collect();
    assert!(since.iter().all(|path| path.ends_with("/status")), "{since:#?}");
    assert!((3..=5).contains(&since.len()), "{since:#?}");
    // What was kept back comes without being woken.
    let revisit = bed.driver.pass(STANDING).await.unwrap();
    assert!(revisit <= Revisit::within(Duration::from_secs(60)), "{revisit:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    bed.pass().await;
    let said = bed.stored()["status"]["cpi"]["statusMsg"].as_str().unwrap().to_owned();
    assert!(said.contains("OOMKilled"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn nodes_that_come_and_go_where_a_driver_works_are_told_of_seldom_and_what_stops_it_at_once() {
    let bed = Bed::new().await;
    bed.install().await;
    let asked = bed.api.log().len();
    for number in 0..600 {
        *bed.health.lock().unwrap() = Health::Partly(format!("{} of 1000 pods work", 990 + number % 10));
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.pass().await;
    }
    let writes = |from: usize| bed.api.log()[from..].iter().filter(|it| it.method != Method::GET).count();
    assert!((10..=16).contains(&writes(asked)), "{}", writes(asked));
    assert_eq!(bed.ready(), "Installed");
    *bed.health.lock().unwrap() = Health::Waits("pod x: OOMKilled".to_owned());
    bed.pass().await;
    assert_eq!(bed.ready(), "NotWorking");
}

#[tokio::test(start_paused = true)]
async fn a_new_replica_has_nothing_to_say_while_it_may_do_nothing() {
    let bed = Bed::new().await;
    bed.install().await;
    let before = bed.stored();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let until = vdo_runtime::clock::monotonic() + Duration::from_secs(5);
    bed.driver.pass(Standing { licence: Licence::Quarantined { until } }).await.unwrap();
    assert_eq!(bed.stored(), before);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_is_put_back_with_a_word_on_what_and_who() {
    let bed = Bed::new().await;
    bed.install().await;
    bed.edit("kubectl-edit");
    bed.settle().await;
    assert_eq!(bed.api.object(MAP).unwrap()["data"]["verbosity"], "2");
    assert_eq!(
        bed.told("DriftRepaired"),
        ["ConfigMap vmware-system-cpi/driver: data.verbosity was 9, set by kubectl-edit, put back to 2"]
    );
    bed.api.delete(MAP);
    bed.settle().await;
    assert!(bed.told("DriftRepaired")[1].contains("was deleted"), "{:?}", bed.told("DriftRepaired"));
    assert!(bed.api.object(MAP).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_worked_is_one_event_and_no_word_in_the_status() {
    let bed = Bed::new().await;
    bed.install().await;
    let (before, asked) = (bed.stored(), bed.api.log().len());
    bed.api.delete(MAP);
    bed.settle().await;
    assert!(bed.api.object(MAP).is_some());
    assert_eq!(bed.stored(), before);
    let log = bed.api.log();
    let writes = log[asked..].iter().filter(|seen| seen.method != Method::GET);
    let writes: Vec<&str> = writes.map(|seen| seen.path.rsplit('/').next().unwrap()).collect();
    assert_eq!(writes, ["driver", "events"]);
    assert_eq!(bed.told("DriftRepaired").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_does_not_come_out_well_is_told_after_a_while_without_being_woken() {
    let bed = Bed::new().await;
    bed.install().await;
    let before = bed.stored();
    *bed.health.lock().unwrap() = Health::Waits("0 of 3 pods work".to_owned());
    bed.api.delete(MAP);
    tokio::time::sleep(Duration::from_secs(1)).await;
    bed.pass().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let revisit = bed.driver.pass(STANDING).await.unwrap();
    assert_eq!(bed.stored(), before);
    assert!(revisit <= Revisit::within(Duration::from_secs(30)), "{revisit:?}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    bed.settle().await;
    assert_eq!(bed.ready(), "NotWorking");
    assert_eq!(bed.told("NotWorking"), ["CPI 1.36.0: 0 of 3 pods work"]);
    *bed.health.lock().unwrap() = Health::Works;
    bed.settle().await;
    assert_eq!(bed.ready(), "Installed");
    // Without a repair nothing is waited for.
    *bed.health.lock().unwrap() = Health::Waits("pod x: OOMKilled".to_owned());
    bed.pass().await;
    assert_eq!(bed.ready(), "NotWorking");
}

#[tokio::test(start_paused = true)]
async fn pods_of_an_account_that_was_made_anew_are_deleted_as_they_were_seen_and_told_of_once() {
    let bed = Bed::new().await;
    bed.install().await;
    let before = bed.stored();
    let now = k8s_openapi::jiff::Timestamp::now();
    let pod = |name: &str| Bearer {
        name: name.into(),
        uid: format!("uid-{name}").into(),
        created: now - k8s_openapi::jiff::SignedDuration::from_secs(600),
        ready: true,
        ending: false,
    };
    // The second one was made anew just now, under the same name.
    let path = |name: &str| format!("/api/v1/namespaces/{CPI_NAMESPACE}/pods/{name}");
    for (name, uid) in [("one", "uid-one"), ("two", "another")] {
        bed.api.put(&path(name), json!({"metadata": {"name": name, "uid": uid}}));
    }
    let pods = vec![pod("one"), pod("two"), pod("gone")];
    *bed.bearers.lock().unwrap() =
        vec![Bearers { account: "vdo-cpi", made: Some(now), at_once: usize::MAX, pods }];
    for _ in 0..2 {
        bed.pass().await;
    }
    assert!(bed.api.object(&path("one")).is_none());
    assert!(bed.api.object(&path("two")).is_some());
    assert_eq!(
        bed.told("DriftRepaired"),
        [
            "ServiceAccount vmware-system-cpi/vdo-cpi was made anew, and the API server refuses the tokens of 3 pods, \
          which are of the one before: they are restarted (gone, one, two)"
        ]
    );
    bed.bearers.lock().unwrap().clear();
    bed.settle().await;
    assert_eq!(bed.stored(), before);
}

#[tokio::test(start_paused = true)]
async fn whoever_keeps_changing_an_object_is_named_and_left_alone_for_a_while() {
    let bed = Bed::new().await;
    bed.install().await;
    for _ in 0..3 {
        bed.edit("argocd");
        bed.settle().await;
    }
    bed.edit("argocd");
    bed.settle().await;
    assert_eq!(bed.api.object(MAP).unwrap()["data"]["verbosity"], "9");
    // The same words are one event that counts.
    assert_eq!(bed.told("DriftRepaired").len(), 1);
    assert_eq!(bed.repetitions(), [2, 3]);
    assert!(bed.stored()["status"]["cpi"]["statusMsg"].as_str().unwrap().contains("argocd keeps changing"));
    // Later it is tried once more, without being woken.
    tokio::time::sleep(Duration::from_secs(60)).await;
    bed.settle().await;
    assert_eq!(bed.api.object(MAP).unwrap()["data"]["verbosity"], "2");
}

#[tokio::test(start_paused = true)]
async fn drift_is_left_where_the_user_only_wants_to_know() {
    let bed = Bed::new().await;
    bed.install().await;
    let mut stored = bed.stored();
    stored["spec"]["driftRepair"] = "Report".into();
    bed.api.put(&format!("{CONFIGS}/main"), stored);
    bed.api.delete(MAP);
    bed.settle().await;
    assert!(bed.api.object(MAP).is_none());
    assert!(
        bed.stored()["status"]["cpi"]["statusMsg"].as_str().unwrap().contains("are not as VDO applied them")
    );
}

/// A look for somebody else's installation.
const LOOKS: [&str; 3] = ["GET /apis", "GET /apis/apps/v1/daemonsets", "GET /apis/apps/v1/deployments"];

/// How a process dies at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    /// Before the API server has it.
    Before,
    /// After the API server did it, and before the answer.
    After,
}

/// Answers the write of this number, counted from one, in a way of its own; what it gives says that it came to it.
fn at_write(api: &Api, at: usize, mut reply: impl FnMut() -> Reply + Send + 'static) -> Arc<Notify> {
    let reached = Arc::new(Notify::new());
    let (mut writes, tell) = (0, reached.clone());
    api.script(move |seen| {
        let writes_something = seen.method != Method::GET && !seen.path.ends_with("/events");
        writes += usize::from(writes_something);
        if !writes_something || writes != at {
            return discovery(seen);
        }
        tell.notify_one();
        Some(reply())
    });
    reached
}

/// A bed in which everything is ready for the first installation.
async fn ready() -> Bed {
    let bed = Bed::new().await;
    bed.open_gate();
    tokio::time::sleep(Duration::from_secs(1)).await;
    bed
}

/// Installs with a process that dies at this write, and one that takes over. Gives the end state, or nothing if there is
/// no such write.
async fn installed_over_a_crash(at: usize, death: Death) -> Option<Value> {
    let bed = ready().await;
    let reached = at_write(&bed.api, at, move || match death {
        Death::Before => Reply::Hang,
        Death::After => Reply::LoseAnswer,
    });
    for _ in 0..20 {
        tokio::select! {
            biased;
            () = reached.notified() => {
                let bed = bed.restarted().await;
                bed.settle().await;
                return Some(bed.end_state());
            }
            outcome = bed.driver.pass(STANDING) => drop(outcome),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    None
}

/// The end state of an installation that nothing disturbs.
async fn undisturbed() -> Value {
    let bed = ready().await;
    bed.settle().await;
    let end = bed.end_state();
    assert_eq!(end[0]["status"]["conditions"][0]["reason"], "Installed");
    end
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_at_any_write_changes_nothing_about_the_end() {
    let expected = undisturbed().await;
    let mut writes = 0;
    loop {
        let before = installed_over_a_crash(writes + 1, Death::Before).await;
        let after = installed_over_a_crash(writes + 1, Death::After).await;
        let (Some(before), Some(after)) = (before, after) else { break };
        writes += 1;
        assert_eq!(before, expected, "killed before write {writes}");
        assert_eq!(after, expected, "killed after write {writes}");
    }
    // The finalizer, the journal, the claim, the object, the journal and the end.
    assert_eq!(writes, 6);
}

/// What an API server, or something in front of it, may answer once in the place of what it should.
type WrongAnswer = (&'static str, fn() -> Reply);

fn wrong_answers() -> Vec<WrongAnswer> {
    vec![
        ("409", || Reply::Refuse(409, "the object has been modified")),
        ("429", || Reply::Refuse(429, "slow down")),
        ("500, not done", || Reply::Refuse(500, "internal error")),
        ("503, not done", || Reply::Refuse(503, "unavailable")),
        ("504, not done", || Reply::Refuse(504, "timeout")),
        ("401", || Reply::Refuse(401, "the token has expired")),
        ("403", || Reply::Refuse(403, "forbidden")),
        ("404", || Reply::Refuse(404, "not found")),
        ("no object", || Reply::Answer(200, json!("<html>welcome</html>"))),
        ("an empty object", || Reply::Answer(200, json!({}))),
        ("done, and nobody hears of it", || Reply::LoseAnswer),
        ("nothing at all", || Reply::Hang),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_wrong_answer_to_any_write_changes_nothing_about_the_end() {
    let expected = undisturbed().await;
    for (name, reply) in wrong_answers() {
        for at in 1..=6 {
            let bed = ready().await;
            let reached = at_write(&bed.api, at, reply);
            for _ in 0..30 {
                // The loop would wait as long as the fault asks for; here the next pass comes soon, which is harder.
                drop(bed.driver.pass(STANDING).await);
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            let hit = tokio::time::timeout(Duration::from_secs(1), reached.notified()).await;
            assert!(hit.is_ok(), "{name}: write {at} was never made");
            bed.settle().await;
            assert_eq!(bed.end_state(), expected, "{name} at write {at}");
        }
    }
}

/// A driver that works, to which another content comes that it reads live; the content outlives the process.
async fn refreshed(at: usize, reply: fn() -> Reply, is_death: bool) -> Option<Bed> {
    let mut bed = ready().await;
    bed.settle().await;
    *bed.content.lock().unwrap() = "3";
    let reached = at_write(&bed.api, at, reply);
    for _ in 0..10 {
        tokio::select! {
            biased;
            () = reached.notified(), if is_death => {
                bed = bed.restarted().await;
                *bed.content.lock().unwrap() = "3";
                bed.settle().await;
                return Some(bed);
            }
            outcome = bed.driver.pass(STANDING) => drop(outcome),
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let hit = tokio::time::timeout(Duration::from_secs(1), reached.notified()).await;
    bed.settle().await;
    hit.is_ok().then_some(bed)
}

#[tokio::test(start_paused = true)]
async fn what_the_driver_reads_live_arrives_whatever_happens_to_a_write_of_it() {
    let deaths: [WrongAnswer; 2] =
        [("killed before", || Reply::Hang), ("killed after", || Reply::LoseAnswer)];
    let ways =
        deaths.map(|way| (way, true)).into_iter().chain(wrong_answers().into_iter().map(|way| (way, false)));
    for ((name, reply), is_death) in ways {
        // The journal, the object, and the journal that says so.
        for at in 1..=3 {
            let bed = refreshed(at, reply, is_death).await;
            let bed = bed.unwrap_or_else(|| panic!("{name}: write {at} was never made"));
            let map = bed.api.object(MAP).unwrap();
            assert_eq!(map["data"]["verbosity"], "3", "{name} at write {at}");
            assert_eq!(bed.ready(), "Installed", "{name} at write {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_who_comes_just_before_the_first_write_is_seen() {
    let bed = Bed::new().await;
    // Nobody was here a moment ago.
    bed.pass().await;
    bed.api.put(MAP, json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "driver", "namespace": CPI_NAMESPACE},
        "data": {"verbosity": "theirs"},
    }));
    bed.open_gate();
    bed.settle().await;
    assert_eq!(bed.ready(), "ForeignInstallation");
    assert_eq!(bed.api.object(MAP).unwrap()["data"]["verbosity"], "theirs");
    assert!(bed.stored()["metadata"]["finalizers"].is_null());
    // A first look that found nothing counts no longer than to the first write.
    bed.api.delete(MAP);
    tokio::time::sleep(Duration::from_secs(21)).await;
    bed.settle().await;
    assert_eq!(bed.ready(), "Installed");
}
