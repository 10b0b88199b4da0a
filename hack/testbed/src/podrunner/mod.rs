//! The pod runner: it stands in for the kubelet on the bed's control-plane nodes.
//!
//! A bed has no container runtime. Its worker nodes belong to KWOK, which marks every pod Ready by itself. Every Node
//! *without* the annotation `kwok.x-k8s.io/node` belongs to this runner: it keeps the Node's Ready condition and Lease
//! fresh and really runs each pod that was bound to it, from the pod object as the API server has it: the image
//! table names the binary behind an image, everything else comes from the pod.
//!
//! Start reading in [`pod`](self), the life of one pod; [`container`](self) is the life of one container.
//!
//! **Invariant:** nothing in a pod spec is ignored in silence. A field is implemented, or it is in the list of fields that
//! are accepted without effect (`spec.rs` says why for each), or the pod is refused with the reason `UnimplementedField`.
//!
//! # Doors
//!
//! The `testbed` program passes these sub-commands to [`main`]:
//!
//! | Sub-command | Who calls it |
//! |---|---|
//! | `kubelet --kubeconfig F --image-table F --dir D [--apiserver A:P] [--bridge B] [--pod-cidr C]` | the bed, once |
//! | `kubelet-pause`, `kubelet-exec`, `kubelet-probe` | the runner itself: it executes its own binary in the namespaces of a pod |
//! | `stand-in NAME [args]` | a container whose image is a stand-in |
//!
//! # Files under `--dir`
//!
//! | File | Meaning |
//! |---|---|
//! | `hold` | one prefix of pod names per line; such pods stay in ContainerCreating until the line is gone |
//! | `api-override.json` | `{"NAMESPACE/APP": "ADDRESS:PORT"}`: pods of that app are told this API server; for a fault proxy |
//! | `logs/NAMESPACE_POD_CONTAINER.log` | all runs of one container |
//! | `pods/UID/` | volumes, roots and start files of one pod; gone with the pod |
//! | `nodes/NODE/root/` | what hostPath volumes of that node see as the node's own root |
//!
//! # Addresses
//!
//! Each pod has a network namespace with an address of its own on the bridge; pods with `hostNetwork` share one namespace
//! per Node, which holds the Node's first InternalIP (so the bed must not give that address to anything else). Inside, every
//! destination is on link. Outside, a host route per pod leads to the bridge.
//!
//! # Stand-ins
//!
//! Programs that cannot be built from Go modules, and the node mode of the CSI driver, which needs VMware's DMI tables, are
//! replaced by a small program of ours: see `standin.rs` for the list and for what it answers.

mod cluster;
mod container;
mod env;
mod images;
mod node;
mod pod;
mod probes;
mod root;
mod sandbox;
mod spec;
mod standin;
mod status;
mod volumes;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// What the bed says when it starts the runner.
#[derive(Parser, Clone, Debug)]
#[command(name = "testbed kubelet")]
struct Settings {
    /// The admin's kubeconfig.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// JSON: image name to the binary behind it.
    #[arg(long)]
    image_table: PathBuf,
    /// Where logs, volumes and the control files live.
    #[arg(long)]
    dir: PathBuf,
    /// The API server's address and port as pods are told it; by default the one in the kubeconfig.
    #[arg(long)]
    apiserver: Option<String>,
    /// The bridge that pods are plugged into; made if it is missing.
    #[arg(long, default_value = "vdo0")]
    bridge: String,
    /// First two numbers of the pods' addresses.
    #[arg(long, default_value = "10.244.0.0/16")]
    pod_cidr: String,
    /// What pods with a cluster DNS policy are told; nothing answers there, as in a cluster whose DNS does not run.
    #[arg(long, default_value = "10.96.0.10")]
    cluster_dns: Ipv4Addr,
}

/// What all tasks of the runner share.
struct Runner {
    client: kube::Client,
    settings: Settings,
    /// Host and port for KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
    apiserver: (String, String),
    /// Our own binary, executed again inside the namespaces of pods.
    program: PathBuf,
    objects: cluster::Objects,
    addresses: sandbox::Addresses,
    /// Network namespaces of Nodes, for pods with hostNetwork.
    node_sandboxes: tokio::sync::Mutex<BTreeMap<String, Arc<sandbox::Sandbox>>>,
    nodes: Mutex<BTreeMap<String, node::OwnNode>>,
    /// A Node was seen for the first time: pods may have waited for it.
    nodes_changed: tokio::sync::Notify,
    /// A Node of ours is not Ready.
    renew_now: tokio::sync::Notify,
}

/// Runs the sub-command of the runner that `arguments` begins with.
pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (command, rest) = arguments.split_first().context("no sub-command")?;
    match command.as_str() {
        "kubelet" => {
            let settings = Settings::parse_from(arguments);
            single_threaded()?.block_on(kubelet(settings))?;
            Ok(ExitCode::SUCCESS)
        }
        "kubelet-pause" => sandbox::pause(rest),
        "kubelet-exec" => Ok(root::exec(rest)),
        "kubelet-probe" => single_threaded()?.block_on(probes::probe_once(rest)),
        "stand-in" => single_threaded()?.block_on(standin::main(rest)),
        other => bail!("the pod runner has no sub-command {other}"),
    }
}

/// Children are bound to the life of the thread that started them, so there is exactly one.
fn single_threaded() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")
}

async fn kubelet(mut settings: Settings) -> anyhow::Result<()> {
    for folder in ["logs", "pods", "nodes"] {
        std::fs::create_dir_all(settings.dir.join(folder)).context("make the runner's folders")?;
    }
    settings.dir = settings.dir.canonicalize().context("resolve --dir")?;
    images::Table::load(&settings.image_table)?; // a broken table is reported at once
    let kubeconfig = Kubeconfig::read_from(&settings.kubeconfig).context("read the kubeconfig")?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static("testbed-kubelet")));
    let apiserver = match &settings.apiserver {
        Some(address) => {
            let (host, port) = address.rsplit_once(':').context("--apiserver needs ADDRESS:PORT")?;
            (host.to_owned(), port.to_owned())
        }
        None => {
            let url = &config.cluster_url;
            (url.host().unwrap_or_default().to_owned(), url.port_u16().unwrap_or(443).to_string())
        }
    };
    let client = kube::Client::try_from(config)?;
    sandbox::make_bridge(&settings.bridge).await?;
    let runner = Arc::new(Runner {
        addresses: sandbox::Addresses::new(&settings.pod_cidr)?,
        objects: cluster::Objects::default(),
        program: std::env::current_exe().context("find our own binary")?,
        node_sandboxes: tokio::sync::Mutex::default(),
        nodes: Mutex::default(),
        nodes_changed: tokio::sync::Notify::new(),
        renew_now: tokio::sync::Notify::new(),
        apiserver,
        client,
        settings,
    });
    let mut stop = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        ended = cluster::follow_objects(&runner) => ended,
        ended = node::follow_nodes(&runner) => ended,
        ended = node::renew(&runner) => ended,
        ended = pod::follow_pods(&runner) => ended,
        _ = stop.recv() => Ok(()),
    }
}

/// One line in the runner's log.
fn note(line: impl AsRef<str>) {
    eprintln!("{} {}", jiff::Timestamp::now().strftime("%H:%M:%S%.3f"), line.as_ref());
}
