//! From CPI 1.31 to CPI 1.32 and back, on the real drivers. The first reads its credentials from files and has no right on
//! Secrets; the other follows its Secret and has that one right. Machines join and passwords change before and after.
//!
//! The matrix is the built-in one: the bed's Kubernetes is newer than both are made for, which is said and holds nothing.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each story uses some of it")]
mod house;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{OPERATORS, apply_secret, apply_vcenter, install_chart};
use e2e::vcenter::{self, CPI_AGENT};
use serde_json::{Value, json};
use testbed::audit::AuditLog;
use testbed::bed::Bed;
use testbed::nodes::UNINITIALIZED;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, History, SOON, Since, condition, config, going_back, images, installed, named,
    no_pod_was_made_in_vain, no_workload_was_deleted, nothing_of_another_revision_is_left, pinned, pods,
    until, workloads,
};

/// The values of the chart. CPI is watched for longer than the Lease of the pods before still looks fresh.
const VALUES: &[&str] = &["cpi-operator.rolloutSoakSeconds=20", "csi-operator.rolloutSoakSeconds=4"];
const FILES: (&str, &str) = ("1.31.1", "3.7.0");
const LIVE: (&str, &str) = ("1.32.2", "3.7.0");
const ACCOUNT: &str = "vdo-cpi";
/// The Secret with the credentials of CPI, and the Role that lets it be read.
const CREDENTIALS: &str = "vdo-cpi-credentials";
const DIGEST: &str = "vdo.vmware.com/credentials-digest";

/// What CPI and the kubelet say of a Node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    provider: Option<String>,
    waits: bool,
    ready: bool,
}

fn seen(node: &Value) -> (String, Seen) {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let seen = Seen {
        provider: node["spec"]["providerID"].as_str().map(str::to_owned),
        waits: taints.into_iter().any(|taint| taint["key"] == UNINITIALIZED),
        ready: condition(node, "Ready")["status"] == "True",
    };
    (node["metadata"]["name"].as_str().unwrap().to_owned(), seen)
}

fn nodes(bed: &Bed) -> BTreeMap<String, Seen> {
    bed.get(&["nodes"]).unwrap()["items"].as_array().unwrap().iter().map(seen).collect()
}

/// Every version of every Node from now on, as a watch shows it.
struct Watch {
    kubectl: Child,
    file: PathBuf,
}

impl Watch {
    fn begin(bed: &Bed) -> Self {
        let file = bed.path("tmp/nodes");
        let mut kubectl = Command::new(bed.program("kubectl"));
        kubectl.arg("--kubeconfig").arg(bed.kubeconfig());
        kubectl.args(["get", "nodes", "--watch", "-o", "json"]);
        kubectl.stdin(Stdio::null()).stdout(File::create(&file).unwrap()).stderr(Stdio::null());
        let watch = Watch { kubectl: kubectl.spawn().unwrap(), file };
        watch.shows(bed, "begin");
        watch
    }

    /// Waits until it shows what is written on a Node now.
    fn shows(&self, bed: &Bed, mark: &str) {
        let name = nodes(bed).into_keys().next().unwrap();
        bed.kubectl(&["annotate", "node", &name, "--overwrite", &format!("story.example/mark={mark}")])
            .unwrap();
        eventually(SOON, "the watch shows it", || {
            let versions = self.versions();
            let shown = versions.iter().any(|it| it["metadata"]["annotations"]["story.example/mark"] == mark);
            ensure!(shown, "{} versions", versions.len());
            Ok(())
        });
    }

    fn versions(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.file).unwrap();
        serde_json::Deserializer::from_str(&text).into_iter::<Value>().map_while(Result::ok).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.kubectl.kill().ok();
        self.kubectl.wait().ok();
    }
}

/// A new machine in the vCenter and its Node, which CPI initialises.
fn join(bed: &Bed, name: &str, ip: &str) {
    let since = Since::now(bed);
    let machine = vcenter::join(bed, name, ip).unwrap();
    let wanted = Seen { provider: Some(format!("vsphere://{}", machine.uuid)), waits: false, ready: true };
    eventually(SOON, &format!("{name} is initialised"), || {
        let (_, now) = seen(&bed.get(&["node", name])?);
        ensure!(now == wanted, "{now:?}");
        Ok(())
    });
    let by_cpi = since.audit(bed).by_account(CPI, ACCOUNT).accepted_writes();
    assert!(!by_cpi.filter(|r| r.names("nodes", "", name)).is_empty(), "{by_cpi:?}");
}

/// Changes the password at the vCenter and in the user's Secret, and waits until storage has it and both drivers work.
fn change_password(bed: &Bed, password: &str, releases: (&str, &str)) {
    let revision = |config: &Value| config["status"]["csi"]["installed"]["revision"].clone();
    let before = revision(&config(bed).unwrap());
    vcenter::set_password(bed, password).unwrap();
    apply_secret(bed, &bed.vcenter(1).user, password);
    until(bed, "storage has the new password", |config| {
        ensure!(revision(config) != before, "{}", config["status"]["csi"]);
        Ok(())
    });
    installed(bed, releases);
}

/// How many logins CPI tried.
fn tried(bed: &Bed) -> usize {
    vcenter::logins(bed, CPI_AGENT).len()
}

/// Whether each login that CPI tried after the first `tried` was let in.
fn let_in(bed: &Bed, tried: usize) -> Vec<bool> {
    vcenter::let_in(bed, CPI_AGENT, tried)
}

/// Waits until CPI's DaemonSet of another generation than this one is rolled out, and gives its generation: each pod is
/// ready by the driver's own verdict.
fn rolled_out(bed: &Bed, before: Option<i64>) -> i64 {
    eventually(SOON, "CPI is rolled out", || {
        let set = bed.get(&["daemonset", CPI_SET, "-n", CPI])?;
        let (generation, status) = (&set["metadata"]["generation"], &set["status"]);
        ensure!(generation.as_i64() != before, "it is the one before");
        ensure!(status["observedGeneration"] == *generation, "{status}");
        for count in ["desiredNumberScheduled", "updatedNumberScheduled", "numberReady", "numberAvailable"] {
            ensure!(status[count] == 3, "{count} of {status}");
        }
        generation.as_i64().context("a number")
    })
}

/// What each pod of CPI takes its credentials from: the digest that it bears, and the Secrets that it mounts.
fn taken_from(bed: &Bed) -> BTreeSet<(Option<String>, Vec<String>)> {
    let list = bed.get(&["pods", "-n", CPI]).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let row = |pod: &Value| {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let secrets = volumes.filter_map(|volume| text(&volume["secret"]["secretName"]));
        (text(&pod["metadata"]["annotations"][DIGEST]), secrets.collect())
    };
    list["items"].as_array().unwrap().iter().map(row).collect()
}

/// The UIDs of the pods of a namespace. Their processes may end by themselves: one that loses its Lease does.
fn uids(bed: &Bed, namespace: &str) -> BTreeSet<String> {
    pods(bed, namespace).into_keys().collect()
}

/// The part of CPI's configuration that says where its credentials are.
fn source(bed: &Bed) -> Value {
    let names = named(bed, "cpi", "ConfigMap");
    let mut maps = names.iter().map(|name| bed.get(&["configmap", name, "-n", CPI]).unwrap());
    let mut texts = maps.by_ref().filter_map(|map| map["data"]["vsphere.conf"].as_str().map(str::to_owned));
    let text = texts.next().unwrap();
    assert_eq!(texts.next(), None, "another configuration is left");
    let global = &serde_json::from_str::<Value>(&text).unwrap()["global"];
    json!([global["secretsDirectory"], global["secretName"], global["secretNamespace"]])
}

/// The roles that anybody bound CPI's account to: where each holds, and what it allows.
fn rights(bed: &Bed) -> Value {
    let list = bed.get(&["rolebindings,clusterrolebindings", "-A"]).unwrap();
    let ours = |binding: &&Value| {
        let mut subjects = binding["subjects"].as_array().into_iter().flatten();
        subjects.any(|it| it["kind"] == "ServiceAccount" && it["name"] == ACCOUNT && it["namespace"] == CPI)
    };
    let rights = list["items"].as_array().unwrap().iter().filter(ours).map(|binding| {
        let role = &binding["roleRef"];
        let (kind, name) = (role["kind"].as_str().unwrap(), role["name"].as_str().unwrap());
        let namespace = binding["metadata"]["namespace"].as_str().unwrap_or("all");
        let mut rules = bed.get(&[kind, name, "-n", namespace]).unwrap()["rules"].take();
        if name.starts_with("extension-apiserver-") {
            rules = "of Kubernetes".into();
        }
        (format!("{kind} {name} in {namespace}"), rules)
    });
    rights.collect::<serde_json::Map<_, _>>().into()
}

fn rule(group: &str, resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}

/// What every release of CPI may do.
fn rights_without_secrets() -> Value {
    let leases = |verbs: &[&str]| rule("coordination.k8s.io", "leases", verbs);
    let mut own_lease = leases(&["get", "update"]);
    own_lease["resourceNames"] = json!(["cloud-controller-manager"]);
    json!({
        "ClusterRole vdo-cpi in all": [
            rule("", "nodes", &["get", "list", "watch", "update", "patch", "delete"]),
            rule("", "nodes/status", &["patch"]),
            rule("", "events", &["create", "patch", "update"]),
        ],
        "Role vdo-cpi-lease in kube-system": [leases(&["create"]), own_lease],
        "Role extension-apiserver-authentication-reader in kube-system": "of Kubernetes",
    })
}

/// What the API server says that CPI's account may do with Secrets.
fn allowed(bed: &Bed) -> Vec<String> {
    let verbs = ["get", "list", "watch", "create", "update", "patch", "delete"];
    let asked = [CPI, CSI, NAMESPACE, "kube-system", "default"].into_iter().flat_map(|namespace| {
        let user = format!("system:serviceaccount:{CPI}:{ACCOUNT}");
        verbs.map(|verb| {
            let attributes = json!({"namespace": namespace, "verb": verb, "resource": "secrets"});
            let spec = json!({"user": user, "resourceAttributes": attributes});
            json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec})
        })
    });
    let asked: Vec<String> = asked.map(|review| review.to_string()).collect();
    let said = bed.kubectl_with(&["create", "-f", "-", "-o", "json"], &asked.join("\n---\n")).unwrap();
    let said = serde_json::Deserializer::from_str(&said).into_iter::<Value>().map(Result::unwrap);
    let said: Vec<Value> = said.collect();
    assert_eq!(said.len(), asked.len(), "{said:#?}");
    let allowed = said.iter().filter(|review| review["status"]["allowed"] == true).map(|review| {
        let asked = &review["spec"]["resourceAttributes"];
        format!("{} in {}", asked["verb"].as_str().unwrap(), asked["namespace"].as_str().unwrap())
    });
    allowed.collect()
}

/// CPI takes its credentials from files, and has no right on Secrets. Gives the digest that its pods bear.
fn reads_files(bed: &Bed) -> String {
    let taken = taken_from(bed);
    let digest = taken.first().and_then(|(digest, _)| digest.clone()).unwrap();
    assert_eq!(taken, BTreeSet::from([(Some(digest.clone()), vec![CREDENTIALS.to_owned()])]));
    assert_eq!(source(bed), json!(["/etc/vsphere-credentials", null, null]));
    nothing_of_another_revision_is_left(bed, "cpi");
    assert_eq!(rights(bed), rights_without_secrets());
    assert_eq!(allowed(bed), [""; 0]);
    digest
}

/// CPI follows its Secret, may read no Secret of another namespace, and has nothing of the release that reads files.
fn follows_its_secret(bed: &Bed) {
    assert_eq!(taken_from(bed), BTreeSet::from([(None, Vec::new())]));
    assert_eq!(source(bed), json!([null, CREDENTIALS, CPI]));
    nothing_of_another_revision_is_left(bed, "cpi");
    let mut wanted = rights_without_secrets();
    wanted[format!("Role {CREDENTIALS} in {CPI}")] = json!([rule("", "secrets", &["list", "watch"])]);
    assert_eq!(rights(bed), wanted);
    assert_eq!(allowed(bed), [format!("list in {CPI}"), format!("watch in {CPI}")]);
}

/// What CPI asked about Secrets.
fn about_secrets(bed: &Bed) -> AuditLog {
    bed.audit().unwrap().by_account(CPI, ACCOUNT).filter(|r| r.resource == "secrets")
}

/// A choice that is outside of what the release is made for is said, and made.
fn said_of_kubernetes(bed: &Bed, words: &str) {
    until(bed, words, |config| {
        assert_eq!(config["status"]["gates"]["matrix"]["source"], "BuiltIn", "{:#}", config["status"]);
        let said = condition(config, "CompatibilityResolved");
        let text = said["message"].as_str().unwrap_or_default();
        ensure!(said["status"] == "True" && text.contains(words), "{said}");
        Ok(())
    });
}

#[test]
fn cpi_moves_from_files_to_its_secret_and_back_and_no_node_and_no_pod_of_storage_notices() {
    let bed = &Bed::from_env();
    let waiting = nodes(bed);
    assert!(waiting.values().all(|it| it.waits && it.provider.is_none()), "{waiting:?}");
    let first = bed.vcenter(1).password().unwrap();

    // CPI 1.31.
    install_chart(bed, VALUES);
    apply_secret(bed, &bed.vcenter(1).user, &first);
    apply_vcenter(bed);
    apply(bed, &pinned(FILES, &json!({}))).unwrap();
    installed(bed, FILES);
    said_of_kubernetes(bed, "CPI 1.31.1 is made for Kubernetes 1.31 to 1.32, the cluster runs 1.36");
    let generation = rolled_out(bed, None);
    let at_first = nodes(bed);
    let is_known = |it: &Seen| it.ready && !it.waits && it.provider.is_some();
    assert!(at_first.len() == 3 && at_first.values().all(is_known), "{at_first:?}");
    let digest = reads_files(bed);

    // A new password is one roll-out, and the pods work with it.
    let (since, seen, before) = (Since::now(bed), tried(bed), pods(bed, CPI));
    change_password(bed, &format!("{first}-2"), FILES);
    let rotated = rolled_out(bed, Some(generation));
    installed(bed, FILES);
    join(bed, "late-1", "198.18.0.201");
    assert_eq!(rolled_out(bed, None), generation + 1);
    assert!(uids(bed, CPI).iter().all(|uid| !before.contains_key(uid)), "{before:?}");
    no_pod_was_made_in_vain(bed, &since, CPI, &before);
    assert_ne!(reads_files(bed), digest);
    assert!(let_in(bed, seen).contains(&true), "{:?}", let_in(bed, seen));
    assert!(about_secrets(bed).is_empty(), "{:#?}", about_secrets(bed));

    // CPI 1.32.
    let (since, history, watch) = (Since::now(bed), History::begin(bed, "move"), Watch::begin(bed));
    let (known, before, set, seen) = (nodes(bed), pods(bed, CPI), workloads(bed, CPI), tried(bed));
    assert!(known.len() == 4 && known.values().all(is_known), "{known:?}");
    let (csi, csi_pods) = (workloads(bed, CSI), uids(bed, CSI));
    apply(bed, &pinned(LIVE, &json!({}))).unwrap();
    installed(bed, LIVE);
    said_of_kubernetes(bed, "CPI 1.32.2 is made for Kubernetes 1.32 to 1.33, the cluster runs 1.36");
    assert_eq!(history.releases("cpi"), [[FILES.0, "none"], [FILES.0, LIVE.0], [LIVE.0, "none"]]);
    assert_eq!(rolled_out(bed, Some(rotated)), rotated + 1);
    let uid = |set: &BTreeMap<String, (String, i64)>| set.values().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(uid(&workloads(bed, CPI)), uid(&set));
    no_workload_was_deleted(bed, &since);
    assert!(uids(bed, CPI).iter().all(|uid| !before.contains_key(uid)), "{before:?}");
    no_pod_was_made_in_vain(bed, &since, CPI, &before);
    let images = images(bed, CPI, "cloud-provider-vsphere");
    assert!(images.len() == 1 && images[0].contains(":v1.32.2@sha256:"), "{images:?}");
    follows_its_secret(bed);
    let by_cpi = let_in(bed, seen);
    assert!(!by_cpi.is_empty() && by_cpi.iter().all(|ok| *ok), "{by_cpi:?}");

    // Nobody noticed: at no moment did a node wait, or storage do anything.
    assert_eq!(nodes(bed), known);
    watch.shows(bed, "moved");
    for (name, version) in watch.versions().iter().map(self::seen) {
        assert_eq!(version, known[&name], "{name}");
    }
    assert_eq!(history.releases("csi"), [[FILES.1, "none"]]);
    assert_eq!((workloads(bed, CSI), uids(bed, CSI)), (csi, csi_pods));
    let touched = since.touched(bed, "csi-operator");
    assert!(touched.is_empty(), "{touched:#?}");

    // A machine that joins now, and one after a password that no pod is started anew for.
    join(bed, "late-2", "198.18.0.202");
    let (since, seen, before) = (Since::now(bed), tried(bed), (uids(bed, CPI), workloads(bed, CPI)));
    change_password(bed, &format!("{first}-3"), LIVE);
    bed.vcenter(1).admin_delete("/sessions").unwrap();
    join(bed, "late-3", "198.18.0.203");
    assert!(let_in(bed, seen).contains(&true), "{:?}", let_in(bed, seen));
    assert_eq!((uids(bed, CPI), workloads(bed, CPI)), before);
    let touched = since.touched(bed, "cpi-operator").requests;
    assert!(
        !touched.is_empty() && touched.iter().all(|r| r.names("secrets", CPI, CREDENTIALS)),
        "{touched:#?}"
    );

    // Back to CPI 1.31, which the user allows.
    let (known, set) = (nodes(bed), rolled_out(bed, None));
    apply(bed, &going_back(pinned(FILES, &json!({})))).unwrap();
    installed(bed, FILES);
    assert_eq!(rolled_out(bed, Some(set)), set + 1);
    reads_files(bed);
    assert_eq!(nodes(bed), known);
    join(bed, "late-4", "198.18.0.204");

    // It read Secrets of its own namespace only, and was refused only what the older release asks for and does not wait for.
    let asked = about_secrets(bed);
    assert!(!asked.is_empty(), "it never read its Secret");
    for request in &asked.requests {
        assert!(request.namespace == CPI && ["list", "watch"].contains(&&*request.verb), "{request:#?}");
    }
    let audit = bed.audit().unwrap();
    let refused = audit.by_account(CPI, ACCOUNT).forbidden().filter(|r| r.resource != "services");
    assert!(refused.is_empty(), "{refused:#?}");
    for operator in OPERATORS {
        let refused = audit.by_account(NAMESPACE, operator).forbidden();
        assert!(refused.is_empty(), "{operator}: {refused:#?}");
    }
}
