//! What an account of ours could do to get farther, if it were allowed to.

use e2e::crd::NAMESPACE;
use serde_json::{Value, json};

use crate::world::{Attempt, CPI_NAMESPACE, CSI_NAMESPACE, VICTIM};

const CPI: &[&str] = &["cpi-operator", "vdo-cpi"];
const CSI: &[&str] = &["csi-operator", "vsphere-csi-controller"];
const OPERATORS: &[&str] = &["vdo-core", "cpi-operator", "csi-operator"];
const NOBODY: &[&str] = &[];

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const OURS: &str = "/apis/vdo.vmware.com/v1alpha1";

fn within(namespace: &str, rest: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{rest}")
}

fn grouped(group: &str, namespace: &str, rest: &str) -> String {
    format!("/apis/{group}/namespaces/{namespace}/{rest}")
}

fn named(api_version: &str, kind: &str, namespace: Option<&str>, name: &str, more: Value) -> Value {
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    if let Some(namespace) = namespace {
        object["metadata"]["namespace"] = namespace.into();
    }
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

pub fn rbac(kind: &str, namespace: Option<&str>, name: &str, more: Value) -> Value {
    named("rbac.authorization.k8s.io/v1", kind, namespace, name, more)
}

/// Everything, in a role.
pub fn everything() -> Value {
    json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]})
}

/// The administrator of the cluster, for this account.
pub fn administrator(namespace: &str, account: &str) -> Value {
    json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    })
}

fn pod() -> Value {
    named("v1", "Pod", None, "planted", json!({"spec": {"containers": [{"name": "a", "image": "a"}]}}))
}

fn workload(kind: &str, namespace: &str, name: &str) -> Value {
    let labels = json!({"planted": "yes"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod()["spec"]});
    let spec = json!({"spec": {"selector": {"matchLabels": labels}, "template": template}});
    named("apps/v1", kind, Some(namespace), name, spec)
}

fn secret(namespace: &str, name: &str) -> Value {
    named("v1", "Secret", Some(namespace), name, json!({"stringData": {"password": "planted"}}))
}

fn lease(name: &str) -> Value {
    named(
        "coordination.k8s.io/v1",
        "Lease",
        Some(NAMESPACE),
        name,
        json!({"spec": {"holderIdentity": "planted"}}),
    )
}

/// An attempt, and the accounts to whom it is granted for a reason of `docs/rbac.md`. All others must be refused.
pub type Row = (Attempt, &'static [&'static str]);

pub fn all() -> Vec<Row> {
    [secrets(), rights(), pods(), identities(), admission(), cluster(), workloads(), ours()].concat()
}

fn secrets() -> Vec<Row> {
    let in_the_hand = json!({"data": {"password": "cGxhbnRlZA=="}});
    vec![
        (Attempt::get("/api/v1/secrets"), NOBODY),
        (Attempt::get("/api/v1/secrets?watch=true&timeoutSeconds=1"), NOBODY),
        (Attempt::get(within(VICTIM, "secrets")), NOBODY),
        (Attempt::get(within(VICTIM, "secrets/theirs")), NOBODY),
        (Attempt::get(within("default", "secrets")), NOBODY),
        (Attempt::get(within("kube-system", "secrets")), NOBODY),
        (Attempt::get(within("kube-system", "secrets/theirs")), NOBODY),
        (Attempt::get(within(NAMESPACE, "secrets")), OPERATORS),
        (Attempt::get(within(CPI_NAMESPACE, "secrets")), CPI),
        (Attempt::get(within(CSI_NAMESPACE, "secrets")), &["csi-operator"]),
        (Attempt::create(within(VICTIM, "secrets"), secret(VICTIM, "planted")), NOBODY),
        (Attempt::change(within(VICTIM, "secrets/theirs"), in_the_hand.clone()), NOBODY),
        (Attempt::delete(within(VICTIM, "secrets/theirs")), NOBODY),
        (Attempt::delete(within(VICTIM, "secrets")), NOBODY),
        (Attempt::change(within(NAMESPACE, "secrets/vcenter-credentials"), in_the_hand), NOBODY),
        (Attempt::delete(within(NAMESPACE, "secrets/vcenter-credentials")), NOBODY),
        (Attempt::apply(&secret(NAMESPACE, "vcenter-credentials")), NOBODY),
        (replaced(&secret(NAMESPACE, "vdo-cpi-journal")), &["cpi-operator"]),
        (replaced(&secret(NAMESPACE, "vdo-csi-journal")), &["csi-operator"]),
    ]
}

fn replaced(object: &Value) -> Attempt {
    Attempt::replace(crate::world::path(object), object.clone())
}

fn rights() -> Vec<Row> {
    let binding =
        |kind: &str, namespace, name: &str| rbac(kind, namespace, name, administrator(VICTIM, "default"));
    let wider = everything();
    vec![
        (
            Attempt::create(
                format!("{RBAC}/clusterroles"),
                rbac("ClusterRole", None, "planted", everything()),
            ),
            NOBODY,
        ),
        (
            Attempt::create(
                format!("{RBAC}/clusterrolebindings"),
                binding("ClusterRoleBinding", None, "planted"),
            ),
            NOBODY,
        ),
        (Attempt::apply(&rbac("ClusterRole", None, "planted", everything())), NOBODY),
        (Attempt::apply(&binding("ClusterRoleBinding", None, "planted")), NOBODY),
        (Attempt::change(format!("{RBAC}/clusterroles/system:discovery"), wider.clone()), NOBODY),
        (Attempt::delete(format!("{RBAC}/clusterroles/cluster-admin")), NOBODY),
        (Attempt::delete(format!("{RBAC}/clusterrolebindings/cluster-admin")), NOBODY),
        (Attempt::change(format!("{RBAC}/clusterroles/vdo-core"), wider.clone()), NOBODY),
        (Attempt::change(format!("{RBAC}/clusterroles/vdo-cpi-operator"), wider.clone()), NOBODY),
        (Attempt::change(format!("{RBAC}/clusterroles/vdo-csi-operator"), wider.clone()), NOBODY),
        (
            Attempt::change(grouped("rbac.authorization.k8s.io/v1", NAMESPACE, "roles/cpi-operator"), wider),
            NOBODY,
        ),
        (Attempt::apply(&rbac("Role", Some(NAMESPACE), "planted", everything())), NOBODY),
        (Attempt::apply(&rbac("Role", Some("kube-system"), "planted", everything())), NOBODY),
        (Attempt::apply(&binding("RoleBinding", Some(NAMESPACE), "planted")), NOBODY),
        (Attempt::apply(&binding("RoleBinding", Some(CSI_NAMESPACE), "planted")), NOBODY),
        // The right name in a wrong place.
        (Attempt::apply(&binding("RoleBinding", Some(VICTIM), "vdo-cpi-credentials")), NOBODY),
        (Attempt::apply(&binding("RoleBinding", Some("kube-system"), "vdo-csi-controller")), NOBODY),
    ]
}

fn pods() -> Vec<Row> {
    let mut attempts = Vec::new();
    for namespace in [VICTIM, "kube-system", NAMESPACE, CPI_NAMESPACE, CSI_NAMESPACE] {
        attempts.push((Attempt::create(within(namespace, "pods"), pod()), NOBODY));
        let exec = within(namespace, "pods/theirs/exec?command=id&stdout=true");
        // What asks for a stream knows no trial; there is no such pod.
        attempts.push((Attempt { method: "POST", ..Attempt::get(exec) }, NOBODY));
    }
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "b", "image": "b"}]}});
    let eviction = named("policy/v1", "Eviction", Some(VICTIM), "theirs", Value::Null);
    let attach = within(CSI_NAMESPACE, "pods/theirs/attach?stdout=true");
    let forward = within("kube-system", "pods/theirs/portforward?ports=80");
    attempts.extend([
        (Attempt { method: "POST", ..Attempt::get(attach) }, NOBODY),
        (Attempt { method: "POST", ..Attempt::get(forward) }, NOBODY),
        (Attempt::change(within(CSI_NAMESPACE, "pods/theirs/ephemeralcontainers"), debug), NOBODY),
        (Attempt::get(within("kube-system", "pods/theirs/log")), NOBODY),
        (Attempt::delete(within(VICTIM, "pods/theirs")), NOBODY),
        (Attempt::delete(within(NAMESPACE, "pods/theirs")), NOBODY),
        (Attempt::create(within(VICTIM, "pods/theirs/eviction"), eviction), NOBODY),
        (Attempt::get("/api/v1/pods"), CSI),
    ]);
    attempts
}

fn identities() -> Vec<Row> {
    let token = |namespace, name: &str| {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
        Attempt::create(within(namespace, &format!("serviceaccounts/{name}/token")), body)
    };
    let review = json!({"spec": {"token": "planted"}});
    let access = json!({"spec": {"user": "admin", "nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let request = named(
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        None,
        "planted",
        json!({"spec": {"request": "", "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}}),
    );
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    vec![
        (token(NAMESPACE, "vdo-core"), NOBODY),
        (token(NAMESPACE, "csi-operator"), NOBODY),
        (token(CPI_NAMESPACE, "vdo-cpi"), NOBODY),
        (token(CSI_NAMESPACE, "vsphere-csi-controller"), NOBODY),
        (token("kube-system", "default"), NOBODY),
        (
            Attempt::create(
                within("kube-system", "serviceaccounts"),
                crate::world::account("kube-system", "planted"),
            ),
            NOBODY,
        ),
        (
            Attempt::change(
                within(NAMESPACE, "serviceaccounts/vdo-core"),
                json!({"metadata": {"labels": {"a": "b"}}}),
            ),
            NOBODY,
        ),
        (Attempt::get("/version").with("Impersonate-User", "somebody"), NOBODY),
        (
            Attempt::get("/version").with("Impersonate-User", "system:serviceaccount:kube-system:default"),
            NOBODY,
        ),
        (
            Attempt::get("/version")
                .with("Impersonate-User", "somebody")
                .with("Impersonate-Group", "system:masters"),
            NOBODY,
        ),
        (Attempt::create(requests, request), NOBODY),
        (Attempt::change(format!("{requests}/theirs/approval"), json!({"status": {}})), NOBODY),
        (Attempt::create("/apis/authentication.k8s.io/v1/tokenreviews", review), NOBODY),
        (Attempt::create("/apis/authorization.k8s.io/v1/subjectaccessreviews", access), NOBODY),
    ]
}

fn admission() -> Vec<Row> {
    let group = "admissionregistration.k8s.io/v1";
    let planted = |kind: &str| named(group, kind, None, "planted", Value::Null);
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let service = json!({"spec": {"group": "planted.example.com", "version": "v1", "groupPriorityMinimum": 1000,
        "versionPriority": 1, "insecureSkipTLSVerify": true, "service": {"name": "a", "namespace": VICTIM}}});
    let service = named("apiregistration.k8s.io/v1", "APIService", None, "v1.planted.example.com", service);
    vec![
        (
            Attempt::create(
                format!("/apis/{group}/mutatingwebhookconfigurations"),
                planted("MutatingWebhookConfiguration"),
            ),
            NOBODY,
        ),
        (
            Attempt::create(
                format!("/apis/{group}/validatingwebhookconfigurations"),
                planted("ValidatingWebhookConfiguration"),
            ),
            NOBODY,
        ),
        (Attempt::apply(&planted("MutatingWebhookConfiguration")), NOBODY),
        (
            Attempt::create(
                format!("/apis/{group}/validatingadmissionpolicies"),
                planted("ValidatingAdmissionPolicy"),
            ),
            NOBODY,
        ),
        (Attempt::create(crd, json!({"spec": {}})), CSI),
        (
            Attempt::change(
                format!("{crd}/vdoconfigs.vdo.vmware.com"),
                json!({"metadata": {"labels": {"a": "b"}}}),
            ),
            NOBODY,
        ),
        (Attempt::delete(format!("{crd}/vdoconfigs.vdo.vmware.com")), NOBODY),
        (Attempt::create("/apis/apiregistration.k8s.io/v1/apiservices", service), NOBODY),
    ]
}

fn cluster() -> Vec<Row> {
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    let class = named("storage.k8s.io/v1", "StorageClass", None, "planted", json!({"provisioner": "a"}));
    let priority = named("scheduling.k8s.io/v1", "PriorityClass", None, "planted", json!({"value": 1}));
    let driver = named("storage.k8s.io/v1", "CSIDriver", None, "planted.example.com", json!({"spec": {}}));
    vec![
        (
            Attempt::create("/api/v1/namespaces", named("v1", "Namespace", None, "planted", Value::Null)),
            NOBODY,
        ),
        (Attempt::delete(format!("/api/v1/namespaces/{VICTIM}")), NOBODY),
        (Attempt::delete(format!("/api/v1/namespaces/{NAMESPACE}")), NOBODY),
        (Attempt::delete(format!("/api/v1/namespaces/{CPI_NAMESPACE}")), NOBODY),
        (Attempt::delete(format!("/api/v1/namespaces/{CSI_NAMESPACE}")), NOBODY),
        (Attempt::change(format!("/api/v1/namespaces/{NAMESPACE}"), labels), NOBODY),
        (Attempt::create("/api/v1/nodes", named("v1", "Node", None, "planted", Value::Null)), NOBODY),
        (Attempt::change("/api/v1/nodes/theirs", json!({"spec": {"unschedulable": true}})), CPI),
        (Attempt::change("/api/v1/nodes/theirs/status", json!({"status": {}})), CPI),
        (Attempt::delete("/api/v1/nodes/theirs"), CPI),
        (Attempt::get("/api/v1/nodes/theirs/proxy/pods"), NOBODY),
        (Attempt::get("/api/v1/persistentvolumeclaims"), CSI),
        (Attempt::delete(within(VICTIM, "persistentvolumeclaims/theirs")), NOBODY),
        (Attempt::delete("/api/v1/persistentvolumes/theirs"), CSI),
        (Attempt::create("/apis/storage.k8s.io/v1/storageclasses", class), NOBODY),
        (Attempt::apply(&driver), NOBODY),
        (Attempt::delete("/apis/storage.k8s.io/v1/csidrivers/theirs.example.com"), NOBODY),
        (Attempt::delete("/apis/storage.k8s.io/v1/volumeattachments/theirs"), NOBODY),
        (Attempt::create("/apis/scheduling.k8s.io/v1/priorityclasses", priority), NOBODY),
        (Attempt::get("/metrics"), NOBODY),
        (Attempt::get("/debug/pprof/"), NOBODY),
    ]
}

fn workloads() -> Vec<Row> {
    let scale = json!({"spec": {"replicas": 0}});
    let data = json!({"data": {"a": "b"}});
    let job = named(
        "batch/v1",
        "Job",
        Some(VICTIM),
        "planted",
        json!({"spec": {"template": {"spec": pod()["spec"]}}}),
    );
    let service = json!({"spec": {"ports": [{"port": 80}]}});
    let apps = |namespace, rest| grouped("apps/v1", namespace, rest);
    vec![
        (
            Attempt::create(
                apps(CPI_NAMESPACE, "daemonsets"),
                workload("DaemonSet", CPI_NAMESPACE, "planted"),
            ),
            NOBODY,
        ),
        (Attempt::apply(&workload("DaemonSet", CSI_NAMESPACE, "planted")), NOBODY),
        (Attempt::apply(&workload("Deployment", CSI_NAMESPACE, "planted")), NOBODY),
        (Attempt::apply(&workload("DaemonSet", "kube-system", "vsphere-cloud-controller-manager")), NOBODY),
        (Attempt::change(apps(NAMESPACE, "deployments/cpi-operator"), scale.clone()), NOBODY),
        (Attempt::change(apps(NAMESPACE, "deployments/cpi-operator/scale"), scale), NOBODY),
        (Attempt::create(grouped("batch/v1", VICTIM, "jobs"), job), NOBODY),
        (Attempt::get("/api/v1/configmaps"), NOBODY),
        (
            Attempt::change(
                within("kube-system", "configmaps/extension-apiserver-authentication"),
                data.clone(),
            ),
            NOBODY,
        ),
        (Attempt::change(within(NAMESPACE, "configmaps/vcenter-ca"), data.clone()), NOBODY),
        (Attempt::change(within(VICTIM, "configmaps/theirs"), data), NOBODY),
        (replaced(&lease("vdo-core")), &["vdo-core"]),
        (replaced(&lease("cpi-operator")), &["cpi-operator"]),
        (replaced(&lease("csi-operator")), &["csi-operator"]),
        (
            Attempt::create(
                within(NAMESPACE, "services"),
                named("v1", "Service", None, "planted", service.clone()),
            ),
            NOBODY,
        ),
        (Attempt::change(within("default", "services/kubernetes"), service), NOBODY),
    ]
}

fn ours() -> Vec<Row> {
    let place = |rest: &str| format!("{OURS}/namespaces/{NAMESPACE}/{rest}");
    let config = |name: &str| e2e::crd::vdo(name, &json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}}));
    let vcenter = e2e::crd::vcenter("planted", &json!({"vcIp": "vc.example.com", "credentials": "creds"}));
    let elsewhere = json!({"spec": {"vcIp": "elsewhere.example.com"}});
    vec![
        (Attempt::create(place("vdoconfigs"), config("planted")), NOBODY),
        (Attempt::delete(place("vdoconfigs/vdo")), NOBODY),
        (Attempt::create(place("vspherecloudconfigs"), vcenter), NOBODY),
        (Attempt::change(place("vspherecloudconfigs/vc"), elsewhere), NOBODY),
        (Attempt::delete(place("vspherecloudconfigs/vc")), NOBODY),
        (Attempt::change(format!("{OURS}/namespaces/{VICTIM}/vdoconfigs/vdo"), json!({"spec": {}})), NOBODY),
    ]
}
