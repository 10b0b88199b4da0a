//! The chart on an API server, and its accounts as clients with nothing but their own tokens.

use std::fs;
use std::process::Command;

use e2e::checkout;
use e2e::crd::NAMESPACE;
use e2e::stand::{built_chart, helm, programs};
use kube::Client;
use serde_json::{Value, json};
use testbed::bed::{Bed, output_of};
use testbed::control_plane::client;
use tokio::runtime::Runtime;

pub const CPI_NAMESPACE: &str = "vmware-system-cpi";
pub const CSI_NAMESPACE: &str = "vmware-system-csi";
/// A namespace that VDO has nothing to do with.
pub const VICTIM: &str = "somebody-else";

/// The accounts of the operators and of the drivers, with their namespaces.
pub const ACCOUNTS: [(&str, &str); 6] = [
    (NAMESPACE, "vdo-core"),
    (NAMESPACE, "cpi-operator"),
    (NAMESPACE, "csi-operator"),
    (CPI_NAMESPACE, "vdo-cpi"),
    (CSI_NAMESPACE, "vsphere-csi-controller"),
    (CSI_NAMESPACE, "vsphere-csi-node"),
];

/// A request of which nothing stays: whatever writes is a trial.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub method: &'static str,
    pub path: String,
    pub body: Value,
    pub headers: Vec<(&'static str, &'static str)>,
}

/// What the API server said to one.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub message: String,
}

pub struct World {
    pub bed: Bed,
    runtime: Runtime,
    admin: Client,
}

impl World {
    /// Installs the chart and the objects of both drivers. There is no node, so that nothing of it runs.
    pub fn of(bed: Bed) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let admin = runtime.block_on(client(&bed.kubeconfig(), "threats")).unwrap();
        let chart = built_chart(&bed).unwrap().display().to_string();
        helm(&bed, &["upgrade", "--install", "vdo", &chart, "--namespace", NAMESPACE, "--create-namespace"])
            .unwrap_or_else(|error| panic!("{error:#}"));
        let world = World { bed, runtime, admin };
        world.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": VICTIM}}));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs", "namespace": VICTIM},
            "stringData": {"password": "theirs"}});
        world.apply(&secret);
        // Their controller does not run; without an account nobody can make a pod.
        for namespace in [VICTIM, "kube-system", NAMESPACE, CPI_NAMESPACE, CSI_NAMESPACE] {
            world.apply(&account(namespace, "default"));
        }
        for object in rendered(&world.bed, "cpi").iter().chain(&rendered(&world.bed, "csi")) {
            world.apply(object);
        }
        world
    }

    /// Applies an object as the administrator.
    pub fn apply(&self, object: &Value) {
        self.bed
            .kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &object.to_string())
            .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// A client that is this account and no more.
    pub fn account(&self, namespace: &str, name: &str) -> Client {
        let token = self.bed.kubectl(&["create", "token", name, "-n", namespace]).unwrap();
        let mut config: Value =
            serde_json::from_str(&fs::read_to_string(self.bed.kubeconfig()).unwrap()).unwrap();
        // No certificate beside it: that would speak louder than the token.
        config["users"][0]["user"] = json!({"token": token.trim()});
        let path = self.bed.path(format!("{namespace}-{name}.kubeconfig"));
        fs::write(&path, config.to_string()).unwrap();
        self.runtime.block_on(client(&path, "threats")).unwrap()
    }

    pub fn ask(&self, who: &Client, attempt: &Attempt) -> Answer {
        let kind = match attempt.method {
            "PATCH" if attempt.path.contains("fieldManager=") => "application/apply-patch+yaml",
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let mut request = http::Request::builder().method(attempt.method).uri(&attempt.path);
        request = request.header("content-type", kind);
        for (name, value) in &attempt.headers {
            request = request.header(*name, *value);
        }
        let body =
            if attempt.body.is_null() { Vec::new() } else { serde_json::to_vec(&attempt.body).unwrap() };
        match self.runtime.block_on(who.request_text(request.body(body).unwrap())) {
            Ok(message) => Answer { code: 200, message },
            Err(kube::Error::Api(status)) => Answer { code: status.code, message: status.message.clone() },
            Err(fault) => panic!("{} {}: {fault}", attempt.method, attempt.path),
        }
    }

    pub fn ask_as_admin(&self, attempt: &Attempt) -> Answer {
        self.ask(&self.admin, attempt)
    }
}

impl Attempt {
    fn new(method: &'static str, path: String, body: Value) -> Self {
        Attempt { method, path, body, headers: Vec::new() }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Attempt::new("GET", path.into(), Value::Null)
    }

    pub fn create(path: impl Into<String>, body: Value) -> Self {
        Attempt::new("POST", format!("{}?dryRun=All", path.into()), body)
    }

    pub fn replace(path: impl Into<String>, body: Value) -> Self {
        Attempt::new("PUT", format!("{}?dryRun=All", path.into()), body)
    }

    pub fn change(path: impl Into<String>, body: Value) -> Self {
        Attempt::new("PATCH", format!("{}?dryRun=All", path.into()), body)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Attempt::new("DELETE", format!("{}?dryRun=All", path.into()), Value::Null)
    }

    /// A server-side apply of an object to where it belongs, as an operator makes it.
    pub fn apply(object: &Value) -> Self {
        Attempt::new(
            "PATCH",
            format!("{}?fieldManager=threats&force=true&dryRun=All", path(object)),
            object.clone(),
        )
    }

    /// The same, and it stays.
    pub fn for_good(mut self) -> Self {
        self.path = self.path.replace("&dryRun=All", "");
        self
    }

    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Where an object lives.
pub fn path(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    let name = object["metadata"]["name"].as_str().unwrap();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{root}/namespaces/{namespace}/{plural}/{name}"),
        None => format!("{root}/{plural}/{name}"),
    }
}

pub fn account(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
}

/// What an operator writes for its driver.
pub fn rendered(bed: &Bed, driver: &str) -> Vec<Value> {
    let release = if driver == "cpi" { "1.36.0" } else { "3.7.0" };
    let input = checkout("crates/vdoctl/tests/inputs/plain.yaml");
    let mut command = Command::new(programs().join("vdoctl"));
    command
        .args(["render", driver, "--release", release, "--show-secrets", "--snapshots", "--input"])
        .arg(input);
    let text = output_of(&mut command, "").unwrap_or_else(|error| panic!("{error:#}"));
    // The only reader of YAML here is kubectl. It writes one object after the other.
    let text = bed.kubectl_with(&["create", "--dry-run=client", "-o", "json", "-f", "-"], &text).unwrap();
    let objects = serde_json::Deserializer::from_str(&text).into_iter::<Value>().map(Result::unwrap);
    let objects: Vec<Value> = objects
        .flat_map(|object| match object["items"].as_array() {
            Some(items) => items.clone(),
            None => vec![object],
        })
        .collect();
    assert!(objects.len() > 5, "{objects:#?}");
    objects
}
