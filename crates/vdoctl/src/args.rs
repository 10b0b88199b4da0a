//! What can be asked, as it is typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use k8s_openapi::jiff::SignedDuration;
use vdo_api::names::OPERATORS_NAMESPACE;
use vdo_compat::{Driver, KubernetesVersion, Release, VsphereVersion};
use vdo_fetch::Pin;

use crate::called::Called;

/// Shows what the vSphere Kubernetes Drivers Operator does, and why.
///
/// Exit code 0: fine; 1: the answer is no; 2: wrong usage, or something could not be read.
#[derive(Debug, Parser)]
#[command(name = "vdoctl", version)]
pub struct Args {
    /// Colours, where an answer has them; NO_COLOR is respected.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
    /// Which cluster.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Args {
    /// The command line as clap knows it, under the name that a person typed.
    pub fn line(called: Called) -> clap::Command {
        Args::command().bin_name(called.name())
    }

    /// Reads the command line; the first word is the name of the program.
    pub fn read(called: Called, words: Vec<OsString>) -> Result<Args, clap::Error> {
        let mut line = Args::line(called);
        let read = line.try_get_matches_from_mut(words)?;
        Args::from_arg_matches(&read).map_err(|error| error.format(&mut line))
    }
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
    /// Says of each node how far it is, and what is wrong with it. Exit code 0: nothing is; 1: something is.
    Nodes(NodesArgs),
    /// Says what the next pass of the operators would change: objects and fields, and nothing that a Secret holds.
    ///
    /// Only reads. Exit code 0: nothing would be changed; 1: something would; 2: it could not be read, or not all of it.
    Plan(PlanArgs),
    /// Prints the versions of this program, of the operators, of the cluster and of the drivers.
    Version(VersionArgs),
    /// Lets go of VDOConfigs that nobody is left to finish: takes VDO's finalizers off. The drivers stay as they are.
    ///
    /// For a cluster whose operators are gone for good. Exit code 1: an operator is still at work, or --yes is missing.
    Release(ReleaseArgs),
    /// Says, without a cluster, what a compatibility matrix means.
    #[command(subcommand)]
    Matrix(MatrixCommand),
    /// Explains a word that a condition or an event gives as its reason.
    Explain {
        /// The reason, as in `CPINotReady`.
        reason: String,
    },
    /// Prints what a shell needs to complete a command line.
    ///
    /// docs/vdoctl.md says where the script goes. For `kubectl vdo` none is needed: link this program as
    /// kubectl_complete-vdo, too.
    Completion {
        /// Which shell.
        shell: Shell,
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

/// What can be asked of a matrix.
#[derive(Debug, Subcommand)]
pub enum MatrixCommand {
    /// Says which release of each driver fits a cluster, and what stands in the way of the others.
    ///
    /// As the operators choose where nothing is installed. Exit code 0: one fits for each driver; 1: none does for one.
    Explain(MatrixExplainArgs),
    /// Lists the rows: the Kubernetes and vSphere that each release is for, and on what ground.
    Show(MatrixShowArgs),
    /// Prints the JSON Schema of our form of a matrix.
    Schema,
    /// Says whether the cluster may be upgraded with the drivers that are installed, and in which order to move.
    ///
    /// Reads what is installed, and the versions as they are, from the cluster; with --cpi or --csi from the command
    /// line. Exit code 0: upgrade now; 1: a driver has to move first, or no release is made for it.
    MayUpgrade(MatrixMayUpgradeArgs),
    /// Looks for what is wrong with a matrix, as it stands in `versionConfigContent` or at an address.
    ///
    /// Exit code 0: nothing but notes; 1: an error or a warning. docs/matrix-lint.md explains each finding.
    Lint(MatrixLintArgs),
}

/// What the cluster shall become.
#[derive(Debug, clap::Args)]
pub struct MatrixMayUpgradeArgs {
    /// The version of the API server to upgrade to, as in `1.37.0`. Without it, it stays.
    #[arg(long, value_name = "V", required_unless_present = "vsphere")]
    pub kubernetes: Option<KubernetesVersion>,
    /// The version of each vCenter to upgrade to, as in `9.0.1`: one for all, or one for each in the order of their
    /// names. Without it they stay.
    #[arg(long, value_name = "V", value_delimiter = ',')]
    pub vsphere: Vec<VsphereVersion>,
    /// Asks no cluster: this release of CPI is installed.
    #[arg(long, value_name = "RELEASE", requires_all = ["from_kubernetes", "from_vsphere"])]
    pub cpi: Option<Release>,
    /// Asks no cluster: this release of CSI is installed.
    #[arg(long, value_name = "RELEASE", requires_all = ["from_kubernetes", "from_vsphere"])]
    pub csi: Option<Release>,
    /// With --cpi or --csi: the version of the API server as it is.
    #[arg(long, value_name = "V")]
    pub from_kubernetes: Option<KubernetesVersion>,
    /// With --cpi or --csi: the version of each vCenter as it is.
    #[arg(long, value_name = "V", value_delimiter = ',')]
    pub from_vsphere: Vec<VsphereVersion>,
    /// With --cpi or --csi: what the ESXi hosts of every vCenter run, for a matrix with a bound for them. From a cluster
    /// it is what vdo-core read.
    #[arg(long, value_name = "V", value_delimiter = ',', requires = "from_vsphere")]
    pub esxi: Vec<VsphereVersion>,
    /// Which matrix, and how to answer.
    #[command(flatten)]
    pub show: MatrixShowArgs,
}

/// What to look through.
#[derive(Debug, clap::Args)]
pub struct MatrixLintArgs {
    /// The file with the matrix, or its https address; `-` is standard input.
    #[arg(value_name = "FILE|URL")]
    pub matrix: PathBuf,
    /// What it is checked by.
    #[command(flatten)]
    pub trust: MatrixTrustArgs,
    /// A folder with the manifests that the matrix names; each is looked for by the end of its path. Without it only the
    /// matrix itself is looked through.
    #[arg(long, value_name = "DIR")]
    pub manifests: Option<PathBuf>,
    /// Prints the findings for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Which cluster, and which matrix.
#[derive(Debug, clap::Args)]
pub struct MatrixExplainArgs {
    /// The version of the API server, as in `1.36.3`.
    #[arg(long, value_name = "V")]
    pub kubernetes: KubernetesVersion,
    /// The version of each vCenter, as in `8.0.3` or `8.0 U3`.
    #[arg(long, value_name = "V", value_delimiter = ',', required = true)]
    pub vsphere: Vec<VsphereVersion>,
    /// What the ESXi hosts of every vCenter run, for a matrix with a bound for them. Without it no host refuses anything.
    #[arg(long, value_name = "V", value_delimiter = ',')]
    pub esxi: Vec<VsphereVersion>,
    /// Only this driver.
    #[arg(long, value_name = "DRIVER")]
    pub driver: Option<DriverName>,
    /// Which matrix.
    #[command(flatten)]
    pub show: MatrixShowArgs,
}

/// Which matrix, and how to answer.
#[derive(Debug, clap::Args)]
pub struct MatrixShowArgs {
    /// The file with the matrix, as it stands in `versionConfigContent`, or its https address; `-` is standard input.
    /// Without it the built-in one.
    #[arg(long, value_name = "FILE|URL")]
    pub matrix: Option<PathBuf>,
    /// What it is checked by.
    #[command(flatten)]
    pub trust: MatrixTrustArgs,
    /// Prints the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// What a matrix is checked by, as an operator checks the one of a CompatibilityConfig.
#[derive(Debug, Default, clap::Args)]
pub struct MatrixTrustArgs {
    /// The SHA-256 digest that the matrix has to have, as sha256sum prints it.
    #[arg(long, value_name = "DIGEST", requires = "matrix")]
    pub sha256: Option<Pin>,
    /// The public key (PEM, ECDSA P-256) that the matrix has to be signed with. The signature is read beside it, from the
    /// same file or address with `.sig` behind it.
    #[arg(long, value_name = "FILE", requires = "matrix")]
    pub public_key: Option<PathBuf>,
    /// Certificates (PEM) of authorities by which the server of an address is verified, besides the public ones. The way
    /// through a proxy is read from HTTPS_PROXY and NO_PROXY.
    #[arg(long, value_name = "FILE", requires = "matrix")]
    pub ca_bundle: Option<PathBuf>,
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

/// How to answer.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Prints the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Goes on until Ctrl-C: on a terminal one screen that is kept current, elsewhere a new one when something changed.
    #[arg(short, long)]
    pub watch: bool,
}

/// How to answer.
#[derive(Debug, clap::Args)]
pub struct NodesArgs {
    /// Prints more columns, or the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<NodesFormat>,
}

/// How to answer.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Prints the answer for programs, with every field.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Lists every field of new objects, and the marks of the revision.
    #[arg(long)]
    pub all: bool,
}

/// How to answer.
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Prints the answer for programs.
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// Whether it is meant.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// Does it. Without it only what would be done is printed.
    #[arg(long)]
    pub yes: bool,
}

/// Where to look, in the words of kubectl.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Which cluster")]
pub struct Place {
    /// The namespace of the operators.
    #[arg(short, long, global = true, default_value = OPERATORS_NAMESPACE)]
    pub namespace: String,
    /// The kubeconfig file; otherwise those of KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The cluster of the kubeconfig, in place of the context's.
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The user of the kubeconfig, in place of the context's.
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// The address of the API server, in place of the kubeconfig's.
    #[arg(short, long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// A bearer token, in place of the kubeconfig's credentials. Others on this machine can read a command line.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Asks in the name of this user.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// Asks as a member of this group; may be repeated, and needs --as.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    pub groups: Vec<String>,
    /// How long to wait for one answer, as in 5, 5s or 1m; 0, and more than 10 seconds, count as 10.
    #[arg(long, global = true, value_name = "TIME", default_value = "0", hide_default_value = true)]
    pub request_timeout: RequestTimeout,
}

/// How long one answer may take; `None` where nothing is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTimeout(pub Option<Duration>);

impl std::str::FromStr for RequestTimeout {
    type Err = String;

    /// Seconds, or a number with a unit, as kubectl takes it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write it as in 5, 5s or 1m".to_owned();
        let time = match text.parse::<u32>() {
            Ok(seconds) => Duration::from_secs(seconds.into()),
            Err(_) => {
                let time: SignedDuration = text.parse().map_err(|_| wrong())?;
                Duration::try_from(time).map_err(|_| wrong())?
            }
        };
        Ok(RequestTimeout((!time.is_zero()).then_some(time)))
    }
}

/// When there are colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// Where a person sees them, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// How to list nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NodesFormat {
    /// The table with more columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Args, clap::Error> {
        Args::read(Called::Vdoctl, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        Args::line(Called::Plugin).debug_assert();
    }

    #[test]
    fn what_says_which_cluster_stands_before_or_after_the_command() {
        for words in [
            ["vdoctl", "-n", "a", "--context", "b", "status"],
            ["vdoctl", "status", "-n", "a", "--context", "b"],
            ["vdoctl", "-n", "a", "status", "--context", "b"],
        ] {
            let place = read(&words).unwrap().place;
            assert_eq!((place.namespace.as_str(), place.context.as_deref()), ("a", Some("b")), "{words:?}");
        }
        assert_eq!(read(&["vdoctl", "status"]).unwrap().place.namespace, OPERATORS_NAMESPACE);
    }

    #[test]
    fn a_timeout_is_written_as_for_kubectl() {
        let timeout = |text: &str| text.parse::<RequestTimeout>().map(|it| it.0);
        for (text, milliseconds) in
            [("5", 5_000), ("5s", 5_000), ("1m", 60_000), ("500ms", 500), ("1m30s", 90_000)]
        {
            assert_eq!(timeout(text), Ok(Some(Duration::from_millis(milliseconds))), "{text}");
        }
        assert_eq!(timeout("0"), Ok(None));
        assert_eq!(timeout("0s"), Ok(None));
        for text in ["", "soon", "-5s", "-1"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_usage_is_told_in_the_words_that_were_typed() {
        let words = ["kubectl-vdo", "status", "--watched"].map(OsString::from);
        let error = Args::read(Called::Plugin, words.into()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("Usage: kubectl vdo status"), "{error}");
        let error = read(&["vdoctl", "status", "--as-group", "g"]).unwrap_err();
        assert!(error.to_string().contains("--as <USER>"), "{error}");
    }
}
