//! The pass that both driver operators share: when it asks the API server, and when it need not. Time is paused.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Api, Reply, Seen, until};
use vdo_api::names::{CPI, CPI_FINALIZER, CPI_MANAGER, CPI_NAMESPACE};
use vdo_compat::Driver;
use vdo_plan::Revision;
use vdo_plan::driver::{Health, Judge, Plan, Rendered, Scene, StatusPart};
use vdo_runtime::client::Licence;
use vdo_runtime::driver::{DriverOperator, DriverPass, Patience};
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::settings::Settings;
use vdo_runtime::telemetry::LogFormat;
use vdo_runtime::{Cluster, Operator, Standing};

const CONFIGS: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vdo/vdoconfigs";
const STANDING: Standing = Standing { licence: Licence::Granted };
const PATIENCE: Patience = Patience { rollout_deadline_seconds: 600, rollout_soak_seconds: 90 };
const OWNER: Owner = Owner { driver: CPI, namespace: CPI_NAMESPACE, manager: CPI_MANAGER };

/// A driver that waits for its gate.
struct Waiting(OwnObjects);

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

impl DriverOperator for Waiting {
    type Observed = Observed;

    const DRIVER: Driver = Driver::Cpi;
    const OWNER: Owner = OWNER;
    const FINALIZER: &'static str = CPI_FINALIZER;

    fn own(&self) -> &OwnObjects {
        &self.0
    }

    fn is_image(image: &str) -> bool {
        image == "somebody/elses"
    }

    async fn observe(&self, _: &Cluster, scene: Scene) -> Option<Observed> {
        Some(Observed(scene))
    }

    fn render(_: &Observed) -> Rendered {
        Rendered::default()
    }

    fn plan(observed: &Observed) -> Plan {
        Plan::new(&observed.0, &Never, Vec::new(), &Rendered::default())
    }

    fn status(_: &Observed, part: &StatusPart) -> Value {
        json!({ "cpi": part.record, "conditions": [part.ready] })
    }
}

struct Never;

impl Judge for Never {
    fn open_stages(&self, _: &Revision) -> usize {
        0
    }

    fn health(&self, _: &Revision) -> Health {
        Health::Waits("nothing is there".to_owned())
    }
}

struct Bed {
    api: Api,
    driver: DriverPass<Waiting>,
    _operator: Operator,
}

impl Bed {
    /// With a VDOConfig that wants CPI, and every watch listed.
    async fn new() -> Self {
        let api = Api::new();
        api.script(discovery);
        api.put(&format!("{CONFIGS}/main"), config(1, &Value::Null));
        let settings = Settings {
            namespace: "vdo".into(),
            pod_uid: "uid".into(),
            pod_name: "pod".into(),
            listen: "127.0.0.1:0".parse().unwrap(),
            log_format: LogFormat::Text,
            log: "info".into(),
            kube_system_secrets: Vec::new(),
        };
        let operator = Operator::over(api.cluster(), CPI_MANAGER, "1", &settings).unwrap();
        let own = OwnObjects::watch(&operator.cluster, &operator.watches, OWNER, &[]);
        let driver = DriverPass::new(&operator, &settings, PATIENCE, Waiting(own));
        let bed = Bed { api, driver, _operator: operator };
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
    assert!(first.contains(&format!("PATCH {CONFIGS}/main/status")), "{first:?}");
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
    let bed = Bed::new().await;
    bed.pass().await;
    let status = bed.stored()["status"].clone();
    bed.api.put(&format!("{CONFIGS}/main"), config(2, &status));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let requests = bed.pass().await;
    let write = format!("PATCH {CONFIGS}/main/status");
    let position = |wanted: &str| requests.iter().position(|request| request == wanted);
    let read = position(&format!("GET {CONFIGS}")).unwrap();
    assert!(read < position(&write).unwrap(), "{requests:?}");
    assert_eq!(bed.stored()["status"]["cpi"]["observedGeneration"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_no_watch_showed_is_found_by_a_live_read() {
    let bed = Bed::new().await;
    bed.pass().await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(bed.pass().await, [""; 0]);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(reads_of_the_config(&bed.pass().await), 1);
}
