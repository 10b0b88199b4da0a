//! The chart in a whole bed: the operators run from their own Deployments, under the rights that the chart gives them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use testbed::bed::{Bed, output_of};
use testbed::wait::eventually;

use crate::checkout;
use crate::crd::{NAMESPACE, apply};

/// The operators, each with a program and an image of its own.
pub const OPERATORS: [&str; 3] = ["vdo-core", "cpi-operator", "csi-operator"];
/// The version of the chart and of the operators.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
const REGISTRY: &str = "ghcr.io/vdo-project";
/// The credentials of the first vCenter.
pub const SECRET: &str = "vcenter-credentials";
/// The VsphereCloudConfig of the first vCenter.
pub const VCENTER: &str = "vcenter";
/// The VDOConfig.
pub const CONFIG: &str = "vdo";

/// Where the built programs are.
pub fn programs() -> PathBuf {
    std::env::var_os("VDO_BIN").map_or_else(|| checkout("target/debug"), PathBuf::from)
}

/// Makes the operators of this build known to the bed as the images of the chart.
fn add_own_images(bed: &Bed) {
    add_operator_images(bed, VERSION, &|name| programs().join(name))
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// Installs the chart as a user does and waits until its pods are ready.
pub fn install_chart(bed: &Bed, values: &[&str]) {
    add_own_images(bed);
    let chart = built_chart(bed).unwrap_or_else(|error| panic!("{error:#}"));
    upgrade_chart(bed, &chart, values);
}

/// Installs the chart as `make deploy-k8s-cluster` does.
pub fn deploy(bed: &Bed) {
    add_own_images(bed);
    let mut deploy = Command::new(checkout("hack/deploy"));
    deploy.arg("cluster").env("KUBECONFIG", bed.kubeconfig()).env("HOME", bed.path("tmp"));
    // Its helm, and not another one of this machine.
    let helm = bed.program("helm");
    let folder = helm.parent().map(Path::to_path_buf).into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(folder.chain(std::env::split_paths(&path))).expect("paths without a colon");
    output_of(deploy.env("PATH", path), "")
        .unwrap_or_else(|error| panic!("{error:#}\n{}", operator_logs(bed)));
}

/// Installs the release from a chart, or upgrades it, and waits until its pods are ready.
pub fn upgrade_chart(bed: &Bed, chart: &Path, values: &[&str]) {
    let chart = chart.display().to_string();
    let mut args =
        vec!["upgrade", "--install", "vdo", &chart, "--namespace", NAMESPACE, "--create-namespace"];
    args.extend(["--wait", "--timeout", "90s"]);
    for value in values {
        args.extend(["--set", value]);
    }
    if let Err(error) = helm(bed, &args) {
        let pods = bed.kubectl(&["get", "pods", "-A", "-o", "wide"]).unwrap_or_default();
        panic!("{error:#}\n{pods}\n{}", operator_logs(bed));
    }
}

/// What the operators' pods have printed, for a failure that has to be understood.
pub fn operator_logs(bed: &Bed) -> String {
    let mut text = String::new();
    let folder = bed.path("kubelet/logs");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let log = fs::read_to_string(&path).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        text.push_str(&format!("--- {}\n{}\n", path.display(), tail.join("\n")));
    }
    text
}

/// Runs helm in the bed.
pub fn helm(bed: &Bed, args: &[&str]) -> Result<String> {
    let mut command = Command::new(bed.program("helm"));
    command.arg("--kubeconfig").arg(bed.kubeconfig()).args(args);
    command.env("HOME", bed.path("tmp")).env("HELM_CACHE_HOME", bed.path("tmp/helm"));
    output_of(&mut command, "")
}

/// What a program itself said when it failed: an error names the command first, with all that it was given.
pub fn what_it_said(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let said = text.split_once(" failed (").and_then(|(_, rest)| rest.split_once("): "));
    said.map_or_else(String::new, |(_, said)| said.to_owned())
}

/// The chart with its parts put together, in a folder of the bed: nothing is written into the checkout.
pub fn built_chart(bed: &Bed) -> Result<PathBuf> {
    let folder = bed.path("tmp/charts");
    if !folder.exists() {
        copy(&checkout("charts"), &folder)?;
        put_together(bed, &folder, "build")?;
    }
    Ok(folder.join("vdo"))
}

/// Gives each chart of a folder the parts that it depends on: `build` as they are locked, `update` as they are there.
fn put_together(bed: &Bed, folder: &Path, how: &str) -> Result<()> {
    for part in OPERATORS.iter().chain(&["vdo"]) {
        let part = folder.join(part).display().to_string();
        helm(bed, &["dependency", how, "--skip-refresh", &part])?;
    }
    Ok(())
}

/// The chart as if it were another version, edited in the folder of its parts before they are put together.
pub fn chart_of_version(bed: &Bed, version: &str, edit: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = bed.path(format!("tmp/charts-{version}"));
    copy(&checkout("charts"), &folder)?;
    for entry in fs::read_dir(&folder)? {
        let file = entry?.path().join("Chart.yaml");
        if !file.is_file() {
            continue;
        }
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        fs::write(&file, text.replace(VERSION, version))?;
    }
    fs::remove_file(folder.join("vdo/Chart.lock")).context("the chart had a lock file")?;
    edit(&folder)?;
    put_together(bed, &folder, "update")?;
    Ok(folder.join("vdo"))
}

/// What `helm template` prints of a chart, for a cluster of the bed's kind, without asking one.
pub fn rendered_chart(bed: &Bed, chart: &str, more: &[&str]) -> Result<String> {
    let chart = built_chart(bed)?.with_file_name(chart).display().to_string();
    let arguments =
        ["template", "vdo", &chart, "--namespace", NAMESPACE, "--kube-version", testbed::tools::KUBERNETES];
    helm(bed, &[&arguments[..], more].concat())
}

/// The objects that `helm template` prints of a chart.
pub fn rendered_objects(bed: &Bed, chart: &str, more: &[&str]) -> Result<Vec<Value>> {
    let text = rendered_chart(bed, chart, more)?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).context("what helm printed is no YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The pods of an operator.
pub fn operator_pods(bed: &Bed, operator: &str) -> Result<Vec<Value>> {
    let label = format!("app.kubernetes.io/name={operator}");
    let mut list = bed.get(&["pods", "-n", NAMESPACE, "-l", &label])?;
    serde_json::from_value(list["items"].take()).context("a list of pods")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        if path.is_dir() && name != "charts" {
            copy(&path, &to.join(name))?;
        } else if path.is_file() {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// The pods of a driver's namespace by their UIDs, each with its containers: one that was started again has another id.
pub fn pods(bed: &Bed, namespace: &str) -> BTreeMap<String, Vec<String>> {
    let list = bed.get(&["pods", "-n", namespace]).expect("the API server answers");
    let pods = list["items"].as_array().expect("a list of pods").iter().map(|pod| {
        let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let containers = containers.filter(|it| !may_end(it));
        let ids = containers.map(|it| it["containerID"].as_str().unwrap_or_default().to_owned());
        (pod["metadata"]["uid"].as_str().expect("a UID").to_owned(), ids.collect())
    });
    pods.collect()
}

/// Whether a container may end although nobody did anything: CSI's syncer of 3.7.0 does when it becomes the leader and asks
/// the vCenter before it has read its configuration ("failed to connect to vCenter using CA file: \"\"").
pub fn may_end(container: &Value) -> bool {
    container["name"] == "vsphere-syncer"
}

/// Puts the operators' programs behind the images that the chart of this version names.
pub fn add_operator_images(bed: &Bed, version: &str, program: &dyn Fn(&str) -> PathBuf) -> Result<()> {
    let mut rows = Map::new();
    for name in OPERATORS {
        rows.insert(image(name, version), image_row(name, &program(name))?);
    }
    bed.add_images(&rows)
}

/// The image of an operator, as the chart of this version names it.
pub fn image(operator: &str, version: &str) -> String {
    format!("{REGISTRY}/{operator}:{version}")
}

/// The row of the image table that puts a program behind an operator's image.
pub fn image_row(operator: &str, program: &Path) -> Result<Value> {
    if !program.is_file() {
        bail!("{} is not built", program.display());
    }
    // What is released is static: its pods have the program and nothing else, as its images do.
    let is_static = program.components().any(|part| part.as_os_str().to_string_lossy().ends_with("-musl"));
    Ok(json!({
        "binary": program, "path": format!("/{operator}"), "needs_libs": !is_static, "user": "65532:65532"}))
}

/// Applies the Secret with this password.
pub fn apply_secret(bed: &Bed, user: &str, password: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "stringData": {"username": user, "password": password},
    });
    // Not `kubectl apply`: that keeps the password in an annotation.
    let text = secret.to_string();
    bed.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text)
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// The authority of the first vCenter's certificate, as ConfigMap `vcenter-ca`.
pub fn authority(bed: &Bed) -> Value {
    let vcenter = bed.vcenter(1);
    let ca = fs::read_to_string(&vcenter.ca).unwrap_or_else(|error| panic!("{error:#}"));
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "vcenter-ca", "namespace": NAMESPACE},
        "data": {"ca.crt": ca},
    })
}

/// Applies that authority.
pub fn apply_authority(bed: &Bed) {
    apply(bed, &authority(bed)).unwrap_or_else(|error| panic!("{error:#}"));
}

/// Applies the authority of the first vCenter's certificate and the VsphereCloudConfig that trusts it.
pub fn apply_vcenter(bed: &Bed) {
    apply_authority(bed);
    apply(bed, &vcenter_config(bed, &json!({"caRef": {"name": "vcenter-ca"}})))
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// The VsphereCloudConfig of the first vCenter, with more fields.
pub fn vcenter_config(bed: &Bed, more: &Value) -> Value {
    let mut spec = json!({
        "vcIp": bed.vcenter(1).address, "insecure": false, "credentials": SECRET, "datacenters": ["DC0"]});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    crate::crd::vcenter(VCENTER, &spec)
}

/// The matrix with exactly the driver builds that the bed has.
pub fn matrix() -> Value {
    let path = json!(["https://example.com/not-used.yaml"]);
    let content = json!({
        "CPI": {
            "1.36.0": {"vSphere": {"min": "7.0.3", "max": "9.0"}, "k8s": {"skewVersion": "1.36"}, "deploymentPath": path},
        },
        "CSI": {
            "3.7.0": {"vSphere": {"min": "7.0.3", "max": "9.0"}, "k8s": {"min": "1.33", "max": "1.36"},
                "isCPIRequired": true, "deploymentPath": path},
        },
    });
    config_map(&content)
}

/// A matrix of these releases, each for every cluster that a bed may be.
pub fn matrix_of(cpi: &[&str], csi: &[&str]) -> Value {
    let row = json!({
        "vSphere": {"min": "7.0.3", "max": "9.0"}, "k8s": {"min": "1.30", "max": "1.40"},
        "deploymentPath": ["https://example.com/not-used.yaml"],
    });
    let rows = |releases: &[&str]| -> Value {
        releases.iter().map(|release| ((*release).to_owned(), row.clone())).collect::<Map<_, _>>().into()
    };
    config_map(&json!({"CPI": rows(cpi), "CSI": rows(csi)}))
}

fn config_map(content: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "comp-matrix-config", "namespace": NAMESPACE},
        "data": {"versionConfigContent": content.to_string(), "auto-upgrade": "disabled"},
    })
}

/// A VDOConfig that asks for both drivers.
pub fn both_drivers() -> Value {
    crate::crd::vdo(
        CONFIG,
        &json!({
            "cloudProvider": {"vsphereCloudConfigs": [VCENTER]},
            "storageProvider": {"vsphereCloudConfig": VCENTER},
        }),
    )
}

/// The socket of a CSI controller that runs, as the bed sees it.
pub fn csi_socket(bed: &Bed) -> Result<String> {
    let pods = bed.get(&["pods", "-n", "vmware-system-csi", "-l", "app=vsphere-csi-controller"])?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let mut sockets =
        pods.iter().map(|pod| csi_socket_of(bed, pod["metadata"]["uid"].as_str().unwrap_or_default()));
    sockets
        .find_map(Result::ok)
        .with_context(|| format!("none of {} controller pods has a csi.sock", pods.len()))
}

/// The socket of the CSI driver in the pod with this UID.
pub fn csi_socket_of(bed: &Bed, uid: &str) -> Result<String> {
    let mut find = Command::new("find");
    find.arg(bed.path("kubelet")).args(["-name", "csi.sock", "-path", &format!("*{uid}*")]);
    let found = output_of(&mut find, "")?;
    found.lines().next().map(str::to_owned).with_context(|| format!("pod {uid} has no csi.sock"))
}

/// Calls the storage driver behind this socket as its sidecars do, and gives what was said.
pub fn csic(bed: &Bed, socket: &str, arguments: &[&str]) -> Result<String> {
    let mut csic = Command::new(bed.program("csic"));
    output_of(csic.args(["--socket", socket, "--timeout", "30s"]).args(arguments), "")
}

/// Makes a volume of 1 GiB through the CSI controller and deletes it, and gives what was said. As the provisioner does, it
/// tries again with the same name.
pub fn round_trip(bed: &Bed, name: &str, within: Duration) -> String {
    eventually(within, "a volume is made and deleted", || {
        csic(bed, &csi_socket(bed)?, &["round-trip", "--name", name, "--gib", "1"])
    })
}

/// A condition as a user reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// True, False, Unknown; `absent` if the condition is not there.
    pub status: String,
    /// One word.
    pub reason: String,
    /// In words.
    pub message: String,
    /// The generation that it was said about.
    pub generation: i64,
}

/// What an object's condition says.
pub fn condition(bed: &Bed, kind: &str, name: &str, type_: &str) -> Result<Said> {
    Ok(condition_of(&bed.get(&[kind, name, "-n", NAMESPACE])?, type_))
}

/// What a condition of this object says.
pub fn condition_of(object: &Value, type_: &str) -> Said {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == type_);
    let text = |key: &str| found.and_then(|c| c[key].as_str()).unwrap_or_default().to_owned();
    Said {
        status: if found.is_some() { text("status") } else { "absent".to_owned() },
        reason: text("reason"),
        message: text("message"),
        generation: found.and_then(|c| c["observedGeneration"].as_i64()).unwrap_or_default(),
    }
}

/// Waits until the condition has this status, and gives it. A failure shows what the operators printed.
pub fn await_condition(
    bed: &Bed,
    kind: &str,
    name: &str,
    type_: &str,
    status: &str,
    within: Duration,
) -> Said {
    await_said(bed, kind, name, type_, within, |said| said.status == status)
}

/// Waits until the condition says what is wanted, and gives it.
pub fn await_said(
    bed: &Bed,
    kind: &str,
    name: &str,
    type_: &str,
    within: Duration,
    wanted: impl Fn(&Said) -> bool,
) -> Said {
    let what = format!("{type_} of {kind} {name}");
    let last = std::cell::RefCell::new(None);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually(within, &what, || {
            let said = condition(bed, kind, name, type_)?;
            last.replace(Some(said.clone()));
            if wanted(&said) { Ok(said) } else { bail!("{said:?}") }
        })
    }));
    match outcome {
        Ok(said) => said,
        Err(_) => panic!(
            "{what}: not within {within:?}; last seen {:?}\n{}\n{}",
            last.into_inner(),
            bed.kubectl(&["get", "pods", "-A", "-o", "wide"]).unwrap_or_default(),
            operator_logs(bed)
        ),
    }
}
