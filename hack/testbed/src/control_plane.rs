//! etcd, kube-apiserver, kube-controller-manager, kube-scheduler and KWOK, and the kubeconfigs to reach them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::addresses::{API_SERVER, API_SERVER_PORT};
use crate::pki::{Pair, Pki};
use crate::process::Components;

/// Starting takes about three seconds on free cores; a busy machine may take much longer.
const PATIENCE: Duration = Duration::from_secs(120);
const ETCD: &str = "http://127.0.0.1:2379";

/// What is written to the audit log: one line per request, when it is answered. Tests count from it.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
";

/// The bed's cluster.
pub struct ControlPlane {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The administrator's client.
    pub client: Client,
}

/// Starts etcd and the API server and waits until it is ready.
pub async fn start_api(
    folder: &Path,
    bin: &Path,
    pki: &Pki,
    components: &mut Components,
) -> Result<ControlPlane> {
    let etcd = [
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={ETCD}"),
        format!("--advertise-client-urls={ETCD}"),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    // A heap of a few objects is collected over and over at the default (100); a bed has memory to spare, not processors.
    let collect_less = [("GOGC".to_owned(), "400".to_owned())];
    components.start_with("etcd", &bin.join("etcd"), &etcd, &collect_less)?;
    let policy = folder.join("audit-policy.yaml");
    fs::write(&policy, AUDIT_POLICY)?;
    components.start_with(
        "kube-apiserver",
        &bin.join("kube-apiserver"),
        &api_server_flags(folder, pki, &policy),
        &collect_less,
    )?;
    let kubeconfig = write_kubeconfig(folder, pki, "admin", "admin", Some("system:masters"))?;
    let client = client(&kubeconfig, "testbed").await?;
    components
        .wait_for("kube-apiserver", "the API server is ready", PATIENCE, async || {
            let request = http::Request::get("/readyz").body(Vec::new())?;
            client.request_text(request).await.context("it does not answer /readyz")
        })
        .await?;
    Ok(ControlPlane { kubeconfig, client })
}

/// Starts what acts on objects: controller manager and scheduler.
pub fn start_controllers(
    folder: &Path,
    bin: &Path,
    pki: &Pki,
    components: &mut Components,
    nodes: usize,
) -> Result<()> {
    for (name, user) in [
        ("kube-controller-manager", "system:kube-controller-manager"),
        ("kube-scheduler", "system:kube-scheduler"),
    ] {
        let config = write_kubeconfig(folder, pki, name, user, None)?;
        let mut flags = vec![
            format!("--kubeconfig={}", config.display()),
            format!("--authentication-kubeconfig={}", config.display()),
            format!("--authorization-kubeconfig={}", config.display()),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            // The defaults are for clusters that have time: they make the start five seconds longer.
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ];
        if name == "kube-controller-manager" {
            flags.extend([
                format!("--service-account-private-key-file={}", pki.path("sa.key").display()),
                format!("--root-ca-file={}", pki.path("ca.crt").display()),
                "--use-service-account-credentials".to_owned(),
                // The default (50 s) for the default lease, and in the same proportion for longer ones.
                format!("--node-monitor-grace-period={}s", crate::nodes::lease_seconds(nodes) * 5 / 4),
            ]);
        }
        components.start(name, &bin.join(name), &flags)?;
    }
    Ok(())
}

/// Starts KWOK for the nodes that carry its annotation; the others belong to the pod runner.
pub fn start_kwok(
    folder: &Path,
    bin: &Path,
    kubeconfig: &Path,
    components: &mut Components,
    nodes: usize,
) -> Result<()> {
    // Without stages of our own it uses its default ones.
    let config = folder.join("kwok.yaml");
    let options = json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokConfiguration",
        "options": {
            "nodeLeaseDurationSeconds": crate::nodes::lease_seconds(nodes), "nodeLeaseParallelism": 16,
            "nodePlayStageParallelism": 16, "podPlayStageParallelism": 16, "podsOnNodeSyncParallelism": 16},
    });
    fs::write(&config, options.to_string())?;
    let flags = [
        format!("--config={}", config.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        "--manage-all-nodes=false".to_owned(),
        format!("--manage-nodes-with-annotation-selector={}", crate::nodes::KWOK_ANNOTATION),
        "--cidr=100.64.0.0/16".to_owned(),
    ];
    components.start("kwok", &bin.join("kwok"), &flags)
}

/// Waits until pods can be created: a namespace's default account is what admission asks for.
pub async fn accounts_are_there(plane: &ControlPlane, components: &mut Components) -> Result<()> {
    for namespace in ["default", "kube-system"] {
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client.clone(), namespace);
        let what = format!("the default service account of {namespace}");
        components
            .wait_for("kube-controller-manager", &what, PATIENCE, async || {
                accounts.get("default").await.context("there is none yet")
            })
            .await?;
    }
    Ok(())
}

/// A client that speaks as the kubeconfig's user, under a name of its own in the audit log.
pub async fn client(kubeconfig: &Path, agent: &'static str) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).context("failed to read the kubeconfig")?;
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    Ok(Client::try_from(config)?)
}

/// Writes a kubeconfig whose certificate names `user`, and returns its path.
pub fn write_kubeconfig(
    folder: &Path,
    pki: &Pki,
    name: &str,
    user: &str,
    group: Option<&str>,
) -> Result<PathBuf> {
    let pair = pki.cluster.sign(user, group, &[])?;
    let server = format!("https://{API_SERVER}:{API_SERVER_PORT}");
    let path = folder.join(format!("{name}.kubeconfig"));
    fs::write(&path, kubeconfig(&server, &pki.cluster.pem, &pair))
        .with_context(|| format!("failed to write {}", path.display()))?;
    Ok(path)
}

/// The same kubeconfig for another address of the API server, as a relay outside the bed has.
pub fn rewrite_server(kubeconfig: &Path, server: &str) -> Result<String> {
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(kubeconfig)?)?;
    let place = value
        .pointer_mut("/clusters/0/cluster/server")
        .ok_or_else(|| anyhow!("not a kubeconfig of a bed"))?;
    *place = json!(server);
    Ok(value.to_string())
}

/// A kubeconfig that needs no other file. It is JSON, which every reader of YAML accepts.
fn kubeconfig(server: &str, authority: &str, pair: &Pair) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": {
            "server": server, "certificate-authority-data": BASE64_STANDARD.encode(authority)}}],
        "users": [{"name": "user", "user": {
            "client-certificate-data": BASE64_STANDARD.encode(&pair.certificate),
            "client-key-data": BASE64_STANDARD.encode(&pair.key)}}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "user"}}],
        "current-context": "bed",
    })
    .to_string()
}

fn api_server_flags(folder: &Path, pki: &Pki, policy: &Path) -> Vec<String> {
    let file = |name: &str| pki.path(name).display().to_string();
    vec![
        format!("--etcd-servers={ETCD}"),
        format!("--bind-address={API_SERVER}"),
        format!("--advertise-address={API_SERVER}"),
        format!("--secure-port={API_SERVER_PORT}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--service-account-key-file={}", file("sa.pub")),
        format!("--service-account-signing-key-file={}", file("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged".to_owned(),
        // The real CPI reads these from the ConfigMap extension-apiserver-authentication when it starts.
        format!("--requestheader-client-ca-file={}", file("ca.crt")),
        "--requestheader-allowed-names=front-proxy-client".to_owned(),
        "--requestheader-username-headers=X-Remote-User".to_owned(),
        "--requestheader-group-headers=X-Remote-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
        format!("--proxy-client-cert-file={}", file("front-proxy.crt")),
        format!("--proxy-client-key-file={}", file("front-proxy.key")),
        // There is no kube-proxy: webhooks are called at their endpoints.
        "--enable-aggregator-routing".to_owned(),
        format!("--audit-log-path={}", folder.join("audit.log").display()),
        format!("--audit-policy-file={}", policy.display()),
        // Megabytes. Without a word it would begin a new file at 100, and what is read is one file.
        "--audit-log-maxsize=100000".to_owned(),
    ]
}
