//! The API server, asked directly: hundreds of answers would take minutes through kubectl.

use e2e::crd::NAMESPACE;
use kube::Client;
use serde_json::Value;
use testbed::bed::Bed;
use testbed::control_plane::client;
use tokio::runtime::Runtime;

const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

/// An administrator of the bed's cluster.
pub struct Server {
    runtime: Runtime,
    client: Client,
}

impl Server {
    pub fn of(bed: &Bed) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(client(&bed.kubeconfig(), "admission")).unwrap();
        Server { runtime, client }
    }

    /// Creates an object, as strictly as kubectl does: the stored object, or what the server says.
    pub fn create(&self, object: &Value) -> Result<Value, String> {
        let path = format!("{}?fieldValidation=Strict", collection(object));
        self.ask("POST", &path, JSON, object)
    }

    /// Replaces an object that is there.
    pub fn update(&self, object: &Value) -> Result<Value, String> {
        self.ask("PUT", &format!("{}?fieldValidation=Strict", path(object)), JSON, object)
    }

    /// Applies an object by server-side apply, for this field manager.
    pub fn apply(&self, object: &Value, manager: &str) -> Result<Value, String> {
        let path = format!("{}?fieldManager={manager}&fieldValidation=Strict", path(object));
        self.ask("PATCH", &path, APPLY, object)
    }

    fn ask(&self, method: &str, path: &str, kind: &str, object: &Value) -> Result<Value, String> {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(serde_json::to_vec(object).unwrap()).unwrap();
        match self.runtime.block_on(self.client.request::<Value>(request)) {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(fault) => panic!("{method} {path}: {fault}"),
        }
    }
}

fn collection(object: &Value) -> String {
    let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
    format!("/apis/vdo.vmware.com/v1alpha1/namespaces/{NAMESPACE}/{plural}")
}

fn path(object: &Value) -> String {
    format!("{}/{}", collection(object), object["metadata"]["name"].as_str().unwrap())
}
