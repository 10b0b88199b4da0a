//! What can be asked, as it is typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use vdo_api::names::OPERATORS_NAMESPACE;
use vdo_compat::{Driver, KubernetesVersion, Release};

/// Shows what the vSphere Kubernetes Drivers Operator does, and why.
///
/// Exit code 0: fine; 1: the answer is no; 2: wrong usage, or something could not be read.
#[derive(Debug, Parser)]
#[command(name = "vdoctl", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The questions.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints, without a cluster, the objects that an operator would apply.
    ///
    /// FILE holds a VDOConfig with its VsphereCloudConfigs, Secrets and ConfigMaps of authorities. The vCenters count
    /// as verified with what the objects say. Findings go to standard error, with exit code 1.
    Render(RenderArgs),
    /// Says how the drivers of a cluster are, and what to do next. Exit code 0: ready; 1: not ready.
    Status(StatusArgs),
    /// Prints the versions of this program, of the operators, of the cluster and of the drivers.
    Version(VersionArgs),
    /// Lets go of VDOConfigs that nobody is left to finish: takes VDO's finalizers off. The drivers stay as they are.
    ///
    /// For a cluster whose operators are gone for good. Exit code 1: an operator is still at work, or --yes is missing.
    Release(ReleaseArgs),
    /// Explains a word that a condition or an event gives as its reason.
    Explain {
        /// The reason, as in `CPINotReady`.
        reason: String,
    },
}

/// What to render.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {
    /// Which driver.
    pub driver: DriverName,
    /// Its release, as in `1.36.0`.
    #[arg(long, value_name = "V")]
    pub release: Release,
    /// The file with the objects; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// The version of the cluster: says when the release is not made for it.
    #[arg(long, value_name = "V")]
    pub kubernetes: Option<KubernetesVersion>,
    /// The kind of cluster, where the VDOConfig gives no hint.
    #[arg(long, value_name = "D")]
    pub distribution: Option<String>,
    /// Prints what the Secrets hold. Without it a placeholder stands there, which applies but does not work.
    #[arg(long)]
    pub show_secrets: bool,
    /// Assumes so many control-plane nodes.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub control_plane_nodes: usize,
    /// Assumes that snapshot.storage.k8s.io/v1 is served.
    #[arg(long)]
    pub snapshots: bool,
    /// Assumes that some nodes are no machines of the vCenters, so that CPI must not delete any.
    #[arg(long)]
    pub nodes_outside_vsphere: bool,
    /// Assumes this UID of the namespace kube-system, which becomes the cluster id of CSI.
    #[arg(long, value_name = "UID", default_value = "00000000-0000-0000-0000-000000000000")]
    pub cluster_uid: String,
}

/// A driver, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DriverName {
    /// The cloud provider.
    Cpi,
    /// The storage driver.
    Csi,
}

impl From<DriverName> for Driver {
    fn from(name: DriverName) -> Driver {
        match name {
            DriverName::Cpi => Driver::Cpi,
            DriverName::Csi => Driver::Csi,
        }
    }
}

/// Which cluster, and how to answer.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// The cluster.
    #[command(flatten)]
    pub place: Place,
    /// Prints the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Which cluster, and how to answer.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// The cluster.
    #[command(flatten)]
    pub place: Place,
    /// Prints the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Which cluster, and whether it is meant.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The cluster.
    #[command(flatten)]
    pub place: Place,
    /// Does it. Without it only what would be done is printed.
    #[arg(long)]
    pub yes: bool,
}

/// Where to look.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The namespace of the operators.
    #[arg(short, long, default_value = OPERATORS_NAMESPACE)]
    pub namespace: String,
    /// The kubeconfig file; otherwise as kubectl finds it.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// A form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}
