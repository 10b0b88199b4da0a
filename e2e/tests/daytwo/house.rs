//! What the chapters share: the installation, its baseline, and ways to see that something was left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::crd::{NAMESPACE, apply, vdo};
use e2e::http::ask_operator;
pub use e2e::stand::pods;
use e2e::stand::{
    self, CONFIG, OPERATORS, VCENTER, apply_secret, apply_vcenter, csi_socket_of, install_chart, matrix_of,
    operator_logs, operator_pods,
};
use serde_json::{Value, json};
use testbed::audit::{AuditLog, Request};
use testbed::bed::Bed;
use testbed::wait::eventually;

pub const SOON: Duration = Duration::from_secs(150);
/// How soon drift is repaired.
pub const REPAIR: Duration = Duration::from_secs(5);
pub const CPI: &str = "vmware-system-cpi";
pub const CSI: &str = "vmware-system-csi";
/// The cloud provider's workload.
pub const CPI_SET: &str = "vsphere-cloud-controller-manager";
/// Releases that the matrix has and the bed has no image of.
pub const NO_SUCH_IMAGE: &str = "1.37.0";
pub const NO_IMAGE_EITHER: &str = "1.35.1";
/// What is installed at the beginning of a chapter, unless it says otherwise.
pub const NEW: (&str, &str) = ("1.36.0", "3.7.0");

/// One chapter at a time, whatever the test runner does.
static CHAPTER: Mutex<()> = Mutex::new(());
/// The chart, installed by the first chapter.
static CHART: OnceLock<()> = OnceLock::new();

/// Tells one chapter over the baseline: these releases of CPI and CSI are installed and work, and nothing is under way.
///
/// How long each took is in `log/chapters.log` of the bed: CI has few minutes.
pub fn chapter<T: FnOnce(&Bed)>(releases: (&str, &str), tell: T) {
    // One that failed before did so for itself; the baseline is made anew.
    let _one = CHAPTER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let bed = Bed::from_env();
    let began = Instant::now();
    CHART.get_or_init(|| install(&bed));
    apply(&bed, &pinned(releases, &json!({}))).unwrap();
    installed(&bed, releases);
    let baseline = began.elapsed().as_secs_f32();
    tell(&bed);
    let told = began.elapsed().as_secs_f32() - baseline;
    let log = File::options().create(true).append(true).open(bed.path("log/chapters.log"));
    writeln!(log.unwrap(), "{}: baseline {baseline:.1} s, told {told:.1} s", std::any::type_name::<T>())
        .unwrap();
}

/// Installs the chart with the values of the story, and all that a VDOConfig refers to.
pub fn install(bed: &Bed) {
    install_chart(bed, crate::VALUES);
    let vcenter = bed.vcenter(1).clone();
    apply_secret(bed, &vcenter.user, &vcenter.password().unwrap());
    apply_vcenter(bed);
    apply(bed, &matrix()).unwrap();
}

/// A matrix with both builds of each driver that the bed has, and the CPIs that it has no image of.
pub fn matrix() -> Value {
    matrix_of(&["1.33.0", "1.36.0", NO_SUCH_IMAGE, NO_IMAGE_EITHER], &["3.3.1", "3.7.0"])
}

/// The VDOConfig with exactly these releases, and more at its top.
pub fn pinned((cpi, csi): (&str, &str), more: &Value) -> Value {
    let mut spec = json!({
        "cloudProvider": {"vsphereCloudConfigs": [VCENTER], "version": cpi},
        "storageProvider": {"vsphereCloudConfig": VCENTER, "version": csi},
    });
    // The new storage driver comes with another configuration, so that its upgrade leaves something to prune.
    if csi == NEW.1 {
        spec["storageProvider"]["clusterDistribution"] = "Vanilla".into();
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    vdo(CONFIG, &spec)
}

/// The same VDOConfig, whose drivers may go back to an older release.
pub fn going_back(mut wanted: Value) -> Value {
    for part in ["cloudProvider", "storageProvider"] {
        wanted["spec"][part]["downgrade"] = "Allow".into();
    }
    wanted
}

/// The VDOConfig as it is.
pub fn config(bed: &Bed) -> Result<Value> {
    bed.get(&["vdo", CONFIG, "-n", NAMESPACE])
}

/// Which VDOConfig it is, and how often its spec was changed.
pub fn identity(bed: &Bed) -> (Value, Value) {
    let mut config = config(bed).unwrap();
    (config["metadata"]["uid"].take(), config["metadata"]["generation"].take())
}

/// A condition of an object.
pub fn condition<'a>(object: &'a Value, type_: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().find(|it| it["type"] == type_).unwrap_or(&Value::Null)
}

/// Waits until both drivers are installed in these releases and work, as said about the VDOConfig as it is now.
pub fn installed(bed: &Bed, (cpi, csi): (&str, &str)) -> Value {
    until(bed, &format!("CPI {cpi} and CSI {csi} work"), |config| {
        let status = &config["status"];
        for (driver, release) in [("cpi", cpi), ("csi", csi)] {
            let record = &status[driver];
            ensure!(record["installed"]["release"] == release && record["attempt"].is_null(), "{record}");
        }
        for type_ in ["CPIReady", "CSIReady", "Ready"] {
            let said = condition(config, type_);
            let now = said["observedGeneration"] == config["metadata"]["generation"];
            ensure!(said["status"] == "True" && now, "{said}");
        }
        Ok(())
    })
}

/// Waits until the VDOConfig is as wanted, and gives it. A failure shows what the operators printed.
pub fn until(bed: &Bed, what: &str, wanted: impl Fn(&Value) -> Result<()>) -> Value {
    let last = std::cell::RefCell::new(String::new());
    let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(SOON, what, || {
            let config = config(bed)?;
            if let Err(why) = wanted(&config) {
                last.replace(format!("{why:#}\n{:#}", config["status"]));
                return Err(why);
            }
            Ok(config)
        })
    }));
    waited.unwrap_or_else(|_| {
        let pods = bed.kubectl(&["get", "pods", "-A", "-o", "wide"]).unwrap_or_default();
        panic!("{what}: {}\n{pods}\n{}", last.borrow(), operator_logs(bed))
    })
}

/// A moment of the audit log.
pub struct Since(usize);

impl Since {
    pub fn now(bed: &Bed) -> Self {
        Since(bed.audit().unwrap().requests.len())
    }

    /// What was answered since.
    pub fn audit(&self, bed: &Bed) -> AuditLog {
        AuditLog { requests: bed.audit().unwrap().requests.split_off(self.0) }
    }

    /// What our operators wrote since, but for leases and events.
    pub fn written(&self, bed: &Bed) -> AuditLog {
        let ours = |r: &Request| OPERATORS.iter().any(|name| r.user == account(name));
        let timed = |r: &Request| matches!(r.resource.as_str(), "leases" | "events");
        self.audit(bed).accepted_writes().filter(|r| ours(r) && !timed(r))
    }

    /// What one operator did to objects of the drivers since: status, journal and finalizers apart.
    pub fn touched(&self, bed: &Bed, operator: &str) -> AuditLog {
        self.written(bed).filter(|r| r.user == account(operator) && r.namespace != NAMESPACE)
    }
}

fn account(operator: &str) -> String {
    format!("system:serviceaccount:{NAMESPACE}:{operator}")
}

pub fn is_workload(request: &Request) -> bool {
    matches!(request.resource.as_str(), "deployments" | "daemonsets")
}

/// What tells whether the workloads of a namespace were left alone: the UID and generation of each.
pub fn workloads(bed: &Bed, namespace: &str) -> BTreeMap<String, (String, i64)> {
    let list = bed.get(&["daemonsets,deployments", "-n", namespace]).unwrap();
    let rows = list["items"].as_array().unwrap().iter().map(|it| {
        let meta = &it["metadata"];
        let name = format!("{}/{}", it["kind"].as_str().unwrap(), meta["name"].as_str().unwrap());
        (name, (meta["uid"].as_str().unwrap().to_owned(), meta["generation"].as_i64().unwrap()))
    });
    rows.collect()
}

/// The images of a namespace's pods that have this in their name, each once.
pub fn images(bed: &Bed, namespace: &str, of: &str) -> Vec<String> {
    let list = bed.get(&["pods", "-n", namespace]).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    let containers = pods.flat_map(|pod| pod["spec"]["containers"].as_array().unwrap());
    let images = containers.map(|it| it["image"].as_str().unwrap().to_owned());
    let images: BTreeSet<String> = images.filter(|image| image.contains(of)).collect();
    images.into_iter().collect()
}

/// Every pod of a namespace that was made since is there: none was replaced twice.
pub fn no_pod_was_made_in_vain<T>(bed: &Bed, since: &Since, namespace: &str, before: &BTreeMap<String, T>) {
    let made = since.audit(bed).accepted_writes();
    let made = made.filter(|r| r.verb == "create" && r.resource == "pods" && r.subresource.is_empty());
    let made = made.filter(|r| r.namespace == namespace).count();
    let now = pods(bed, namespace);
    assert_eq!(made, now.keys().filter(|uid| !before.contains_key(*uid)).count(), "{namespace}");
}

/// Nobody deleted a driver's workload, so at no moment was it away.
pub fn no_workload_was_deleted(bed: &Bed, since: &Since) {
    let deleted = since.audit(bed).accepted_writes();
    let deleted = deleted.filter(|r| is_workload(r) && r.verb.starts_with("delete"));
    let deleted = deleted.filter(|r| [CPI, CSI].contains(&r.namespace.as_str()));
    assert!(deleted.is_empty(), "{deleted:#?}");
}

/// The UIDs of the pods of an operator.
fn replicas(bed: &Bed, operator: &str) -> Result<Vec<String>> {
    let pods = operator_pods(bed, operator)?;
    Ok(pods.iter().map(|it| it["metadata"]["uid"].as_str().unwrap().to_owned()).collect())
}

/// Starts the pods of an operator anew, from the images as they are now, and waits until only these are there.
pub fn restart(bed: &Bed, operator: &str) {
    let before = replicas(bed, operator).unwrap();
    let deployment = format!("deployment/{operator}");
    bed.kubectl(&["rollout", "restart", &deployment, "-n", NAMESPACE]).unwrap();
    bed.kubectl(&["rollout", "status", &deployment, "-n", NAMESPACE, "--timeout=90s"]).unwrap();
    eventually(SOON, "the pods before are gone", || {
        let now = replicas(bed, operator)?;
        ensure!(now.len() == before.len() && now.iter().all(|uid| !before.contains(uid)), "{now:?}");
        Ok(())
    });
}

/// What tells that the drivers were left alone: each object, each pod and each process is the very same.
pub fn standing(bed: &Bed) -> Value {
    json!([
        workloads(bed, CPI),
        workloads(bed, CSI),
        pods(bed, CPI),
        pods(bed, CSI),
        applied(bed, "cpi"),
        applied(bed, "csi")
    ])
}

/// The new VDOConfig takes the drivers over as they are.
pub fn taken_back(bed: &Bed, before: &Value) {
    apply(bed, &pinned(NEW, &json!({}))).unwrap();
    installed(bed, NEW);
    bears_finalizers(bed);
    assert_eq!(&standing(bed), before);
}

/// Neither driver is forgotten when the VDOConfig goes.
pub fn bears_finalizers(bed: &Bed) {
    let now = config(bed).unwrap();
    let finalizers: Vec<&str> =
        now["metadata"]["finalizers"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    for finalizer in ["vdo.vmware.com/cpi", "vdo.vmware.com/csi"] {
        assert!(finalizers.contains(&finalizer), "{finalizers:?}");
    }
}

pub fn delete_config(bed: &Bed) {
    bed.kubectl(&["delete", "vdo", CONFIG, "-n", NAMESPACE, "--wait=false"]).unwrap();
}

/// Waits until the VDOConfig is gone.
pub fn gone(bed: &Bed) {
    eventually(SOON, "the VDOConfig is gone", || {
        let left =
            bed.kubectl(&["get", "vdo", CONFIG, "-n", NAMESPACE, "--ignore-not-found", "-o", "yaml"])?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    });
}

/// Every kind of object that a driver consists of.
pub const KINDS: &str = "daemonsets,deployments,secrets,configmaps,serviceaccounts,roles,rolebindings,services,\
    clusterroles,clusterrolebindings,csidrivers";

/// The objects of a driver, as `cpi` or `csi`.
pub fn objects(bed: &Bed, driver: &str) -> Vec<Value> {
    let list = bed.get(&[KINDS, "-A", "-l", &format!("vdo.vmware.com/driver={driver}")]).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// What we applied of a driver, by name: without what the API server and its controllers add.
pub fn applied(bed: &Bed, driver: &str) -> BTreeMap<String, Value> {
    let stripped = |mut object: Value| {
        let name = name_of(&object);
        let fields = object.as_object_mut().unwrap();
        fields.remove("status");
        for of_the_server in ["clusterIP", "clusterIPs"] {
            if let Some(spec) = fields.get_mut("spec") {
                spec.as_object_mut().unwrap().remove(of_the_server);
            }
        }
        let meta = fields["metadata"].as_object_mut().unwrap();
        for of_the_server in ["uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"] {
            meta.remove(of_the_server);
        }
        let annotations = meta["annotations"].as_object_mut().unwrap();
        annotations.retain(|key, _| key.starts_with("vdo.vmware.com/"));
        (name, object)
    };
    objects(bed, driver).into_iter().map(stripped).collect()
}

/// The names of a driver's objects of one kind.
pub fn named(bed: &Bed, driver: &str, kind: &str) -> Vec<String> {
    let objects = objects(bed, driver).into_iter().filter(|it| it["kind"] == kind);
    objects.map(|it| it["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// Kind, namespace and name.
pub fn name_of(object: &Value) -> String {
    let meta = &object["metadata"];
    let namespace = meta["namespace"].as_str().unwrap_or_default();
    format!("{} {namespace}/{}", object["kind"].as_str().unwrap(), meta["name"].as_str().unwrap())
}

/// Every object of the driver belongs to the installed revision: what others had and this one has not was pruned.
pub fn nothing_of_another_revision_is_left(bed: &Bed, driver: &str) {
    let config = config(bed).unwrap();
    let revision = &config["status"][driver]["installed"]["revision"];
    let objects = objects(bed, driver);
    assert!(objects.len() >= 8, "{} objects of {driver}", objects.len());
    for object in objects {
        let of = &object["metadata"]["annotations"]["vdo.vmware.com/revision"];
        assert_eq!(of, revision, "{}", name_of(&object));
    }
}

/// Changes an object as somebody whose field manager is this.
pub fn patch(bed: &Bed, namespace: &str, object: &str, who: &str, patch: &Value) {
    let who = format!("--field-manager={who}");
    let patch = patch.to_string();
    let args = ["patch", object, "-n", namespace, &who, "--type=strategic", "-p", &patch];
    bed.kubectl(&args).unwrap();
}

/// Waits until the driver's objects are as they were.
pub fn put_back(bed: &Bed, driver: &str, before: &BTreeMap<String, Value>) {
    eventually(REPAIR, "it is put back", || {
        let now = applied(bed, driver);
        let differs: Vec<_> = before.iter().filter(|(name, it)| now.get(*name) != Some(it)).collect();
        ensure!(differs.is_empty(), "{differs:#?}");
        Ok(())
    });
}

/// Waits for an event about the VDOConfig that has all these words.
pub fn told(bed: &Bed, reason: &str, words: &[&str]) {
    eventually(SOON, "an event", || {
        let events = bed.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
        let notes = events["items"].as_array().unwrap().iter();
        let notes = notes.filter(|it| it["reason"] == reason && it["regarding"]["name"] == CONFIG);
        let mut notes = notes.filter_map(|it| it["note"].as_str());
        let all: Vec<&str> = notes.clone().collect();
        notes
            .find(|note| words.iter().all(|word| note.contains(word)))
            .with_context(|| format!("{all:#?}"))?;
        Ok::<_, anyhow::Error>(())
    });
}

/// Calls the storage driver behind this socket, and gives what it answered.
pub fn csic(bed: &Bed, socket: &str, arguments: &[&str]) -> Result<Value> {
    let said = stand::csic(bed, socket, &[&["--json"], arguments].concat())?;
    serde_json::from_str(said.lines().last().unwrap_or_default()).with_context(|| said.clone())
}

/// Makes a volume through a controller that has just begun, and gives its id.
///
/// The simulator tells of finished tasks only to the session that began to listen last, as far as drivers up to 3.3 do
/// it. That is one of the controllers or the syncer that leads, so a controller beside another syncer begins anew.
pub fn make_volume(bed: &Bed, name: &str) -> String {
    let controllers = || bed.get(&["pods", "-n", CSI, "-l", "app=vsphere-csi-controller"]);
    let lease = bed.get(&["lease", "vsphere-syncer", "-n", CSI]).unwrap();
    let leader = lease["spec"]["holderIdentity"].as_str().unwrap();
    let before = controllers().unwrap();
    let names =
        before["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].as_str().unwrap());
    let names: Vec<&str> = names.collect();
    assert!(names.contains(&leader), "{leader} is none of {names:?}");
    let old = names.iter().find(|name| **name != leader).unwrap();
    bed.kubectl(&["delete", "pod", old, "-n", CSI]).unwrap();
    let socket = eventually(SOON, "another controller works", || {
        let pods = controllers()?;
        let pods = pods["items"].as_array().unwrap();
        let new = |pod: &&Value| pod["metadata"]["name"].as_str().is_some_and(|name| !names.contains(&name));
        let new = pods.iter().find(new).context("no new pod")?;
        ensure!(condition(new, "Ready")["status"] == "True", "{}", new["status"]);
        csi_socket_of(bed, new["metadata"]["uid"].as_str().unwrap())
    });
    let made = csic(bed, &socket, &["create", "--name", name]).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// The ids of the volumes that the vCenter has.
pub fn volumes(bed: &Bed) -> Vec<String> {
    let rows = bed.vcenter(1).admin_get("/cns/volumes").unwrap();
    rows.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// How many passes the replicas of an operator made so far: the proof that it was awake.
pub fn passes(bed: &Bed, operator: &str) -> Result<u64> {
    let mut passes = 0;
    for pod in operator_pods(bed, operator)? {
        let address = pod["status"]["podIP"].as_str().context("a pod without an address")?;
        let metrics = ask_operator(address, "/metrics", Duration::from_secs(5))?;
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("vdo_passes_total{"));
        passes += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(passes)
}

/// Waits until the pods of an operator that has just begun look at the VDOConfig again and again.
pub fn makes_passes(bed: &Bed, operator: &str) {
    let annotate =
        |knock: &str| bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "--overwrite", knock]);
    let mut knocks = 0;
    eventually(SOON, &format!("{operator} makes passes"), || {
        knocks += 1;
        annotate(&format!("neighbour.example/knock={knocks}"))?;
        let now = passes(bed, operator)?;
        ensure!(now >= 5, "{now} passes");
        Ok(())
    });
    annotate("neighbour.example/knock-").unwrap();
}

/// Every version of the VDOConfig from now on, as a watch shows it.
pub struct History {
    watch: Child,
    file: PathBuf,
}

impl History {
    pub fn begin(bed: &Bed, name: &str) -> Self {
        let file = bed.path(format!("tmp/history-{name}"));
        let mut kubectl = Command::new(bed.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(bed.kubeconfig());
        kubectl.args(["get", "vdo", CONFIG, "-n", NAMESPACE, "--watch", "-o", "json"]);
        kubectl.stdin(Stdio::null()).stdout(File::create(&file).unwrap()).stderr(Stdio::null());
        let history = History { watch: kubectl.spawn().unwrap(), file };
        eventually(SOON, "the watch begins", || {
            if history.versions().is_empty() { Err("nothing yet") } else { Ok(()) }
        });
        history
    }

    /// The versions so far; one that is being written counts the next time.
    pub fn versions(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap();
        serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok).collect()
    }

    /// What a record of a driver held, one after the other: the release that is installed, and the one being rolled out.
    pub fn releases(&self, driver: &str) -> Vec<[String; 2]> {
        let release = |value: &Value| value["release"].as_str().unwrap_or("none").to_owned();
        let versions = self.versions();
        let records = versions.iter().map(|version| &version["status"][driver]);
        let mut seen: Vec<[String; 2]> =
            records.map(|it| [release(&it["installed"]), release(&it["attempt"])]).collect();
        seen.dedup();
        seen
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.watch.kill().ok();
        self.watch.wait().ok();
    }
}
