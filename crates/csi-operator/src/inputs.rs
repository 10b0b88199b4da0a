//! From what the user wrote and what was found to values that can be rendered, or to findings that say why not.
//!
//! **Invariant:** an [`Inputs`] holds nothing that the driver would refuse or read differently, and nothing that
//! vdo-core has not verified.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use vdo_api::VDOConfigSpec;
use vdo_api::condition::name_some;
use vdo_api::vdoconfig::{FileAccess, FileVolumes};
use vdo_compat::Release;
use vdo_plan::finding::ROLES;
use vdo_plan::vcenter::{self, Vcenter, VcenterFacts};
use vdo_plan::{Finding, Reading};

use crate::gcfg::Text;
use crate::reasons;
use crate::releases::{self, ReleaseFacts, Trusting};

pub mod cluster_id;
mod login;
mod networks;

pub use cluster_id::{ClusterId, ClusterIdSources, Home};
pub use login::Login;

/// Where the kubelet keeps its files unless somebody says otherwise.
const KUBELET_ROOT: &str = "/var/lib/kubelet";
/// What vCenter shows for a cluster of no known kind. Without a word the syncer would ask the API server itself.
const DISTRIBUTION: &str = "VanillaK8S";
/// More controllers than this add nothing: one leads, two wait.
const MOST_REPLICAS: usize = 3;
/// The spellings of the control-plane label that are met in the field.
pub const CONTROL_PLANE_LABELS: [&str; 3] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/controlplane",
    "node-role.kubernetes.io/master",
];

/// What [`Inputs::resolve`] looks at: plain values, read by somebody else.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The release that the gate names.
    pub release: Release,
    /// The active VDOConfig.
    pub spec: &'a VDOConfigSpec,
    /// The VsphereCloudConfig that it names for storage, with what that refers to.
    pub vcenter: VcenterFacts,
    /// What is known of the cluster.
    pub cluster: Cluster,
    /// Where a cluster id may be found.
    pub cluster_id: ClusterIdSources,
}

/// What is known of the cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many of them bear one of [`CONTROL_PLANE_LABELS`].
    pub control_plane_nodes: usize,
    /// The root directory of the kubelets, where it was detected.
    pub kubelet_root: Option<String>,
    /// The kind of cluster, where it was detected.
    pub distribution: Option<String>,
    /// Whether `snapshot.storage.k8s.io/v1` is served.
    pub snapshot_api: Reading<()>,
    /// The root directory that cannot be left now, although the spec names another.
    pub kept: Option<KeptRoot>,
}

/// A root directory of the kubelets in which volumes are mounted: a plug-in that serves another one knows nothing of
/// them, and unmounts none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRoot {
    /// The directory.
    pub root: String,
    /// What is attached, or why that is not known.
    pub attached: Reading<Vec<String>>,
}

impl KeptRoot {
    /// This directory, for as long as anything is attached, or may be.
    pub fn while_attached(root: String, attached: Reading<Vec<String>>) -> Option<KeptRoot> {
        let none = attached.present().is_some_and(Vec::is_empty);
        (!none).then_some(KeptRoot { root, attached })
    }
}

/// The root directory of the kubelets that the spec asks for, or else the usual one.
pub fn kubelet_root<'a>(spec: &'a VDOConfigSpec, cluster: &'a Cluster) -> &'a str {
    let custom = spec.storage_provider.as_ref().and_then(|it| it.custom_kubelet_path.as_deref());
    custom.or(cluster.kubelet_root.as_deref()).unwrap_or(KUBELET_ROOT).trim_end_matches('/')
}

/// Whether a node belongs to the control plane.
pub fn is_control_plane(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    labels.is_some_and(|labels| CONTROL_PLANE_LABELS.iter().any(|label| labels.contains_key(*label)))
}

/// Checked values.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// What is particular to the release.
    pub facts: &'static ReleaseFacts,
    /// The host of the vCenter.
    pub server: Text,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub login: Login,
    /// How its certificate is verified.
    pub trust: Trust,
    /// Inventory paths; empty means all.
    pub datacenters: Vec<Text>,
    /// Under which id vCenter knows this cluster.
    pub cluster_id: ClusterId,
    /// What kind of cluster vCenter shows.
    pub distribution: Text,
    /// Who may mount file volumes; empty means everyone.
    pub net_permissions: Vec<NetPermission>,
    /// The root directory of the kubelets.
    pub kubelet_root: String,
    /// A registry that replaces the makers' own.
    pub registry: Option<String>,
    /// Pull Secrets.
    pub pull_secrets: Vec<String>,
    /// Where the controller runs.
    pub placement: Placement,
    /// How many controllers run.
    pub replicas: i32,
    /// Whether snapshots can be made.
    pub snapshots: Snapshots,
    /// What the user should know although it is rolled out.
    pub advice: Vec<Finding>,
}

/// How the vCenter's certificate is verified.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Signed by an authority that the driver's image knows.
    PublicAuthority,
    /// Signed by one of these, in PEM.
    Authority(String),
    /// It is the one with this SHA-256 fingerprint, written as the driver compares it.
    Thumbprint(Text),
    /// Not at all, as the user asked.
    Insecure,
}

/// Where the controller may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On control-plane nodes.
    ControlPlane,
    /// Anywhere: the control plane is hosted elsewhere.
    Anywhere,
}

/// Whether snapshots can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// Their API is served.
    Served,
    /// It is not; a snapshotter would only fail.
    NotServed,
}

/// Who may do what with file volumes.
#[derive(Clone, Debug)]
pub struct NetPermission {
    /// The network.
    pub ips: Text,
    /// The driver's word for the right.
    pub access: &'static str,
    /// Whether root is mapped to nobody.
    pub root_squash: RootSquash,
}

/// Whether root of a client is mapped to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSquash {
    /// It is.
    On,
    /// It stays root.
    Off,
}

impl Inputs {
    /// What was asked for, whatever it renders to; without the number of replicas, which follows the cluster. Only its
    /// keyed digest is kept. A field that is added here makes every installed configuration look like another one.
    pub fn asked(&self) -> Value {
        let trust = match &self.trust {
            Trust::PublicAuthority => json!("public"),
            Trust::Authority(pem) => json!({ "ca": pem }),
            Trust::Thumbprint(print) => json!({ "thumbprint": print.expose() }),
            Trust::Insecure => json!("insecure"),
        };
        let network =
            |it: &NetPermission| json!([it.ips.expose(), it.access, it.root_squash == RootSquash::On]);
        json!({
            "vcenter": [self.server.expose(), self.port, trust],
            "login": [self.login.user.expose(), self.login.password.expose()],
            "datacenters": self.datacenters.iter().map(Text::expose).collect::<Vec<_>>(),
            "clusterId": self.cluster_id.value.expose(),
            "inDriversConfigMap": self.cluster_id.home == Home::DriversConfigMap,
            "distribution": self.distribution.expose(),
            "networks": self.net_permissions.iter().map(network).collect::<Vec<_>>(),
            "kubeletRoot": self.kubelet_root,
            "registry": self.registry,
            "pullSecrets": self.pull_secrets,
            "onControlPlane": self.placement == Placement::ControlPlane,
            "snapshots": self.snapshots == Snapshots::Served,
        })
    }

    /// Checks everything and reports every obstacle at once, in a stable order.
    pub fn resolve(facts: &Facts<'_>) -> Result<Self, Vec<Finding>> {
        let mut obstacles = Vec::new();
        // The gravest first: who can read the password, what is not as asked, and then what only surprises.
        let (mut advice, mut minor) = (Vec::new(), Vec::new());
        let release = keep(&mut obstacles, known_release(&facts.release));
        let cluster_id = keep(&mut obstacles, cluster_id::choose(&facts.cluster_id));
        let snapshots = keep(&mut obstacles, snapshots(&facts.cluster));
        let storage = facts.spec.storage_provider.as_ref();
        let hint = storage.and_then(|s| s.cluster_distribution.as_deref()).filter(|hint| !hint.is_empty());
        let distribution = hint.or(facts.cluster.distribution.as_deref()).unwrap_or(DISTRIBUTION);
        let distribution =
            keep(&mut obstacles, text("spec.storageProvider.clusterDistribution", distribution));
        let volumes = storage.and_then(|s| s.file_volumes.as_ref());
        let net_permissions = net_permissions(volumes, &mut obstacles, &mut minor);
        if volumes.is_some_and(|v| !v.vsan_data_store_url.is_empty()) {
            minor.push(Finding::advise(
                &reasons::CSI_DATASTORES_IGNORED,
                format!(
                    "CSI {} does not read vsanDataStoreUrl; restrict file volumes by policy",
                    facts.release
                ),
            ));
        }
        let vcenter = keep(&mut obstacles, vcenter::resolve(&facts.vcenter)).and_then(|vcenter| {
            let login = keep_all(&mut obstacles, login::check(&vcenter.credentials));
            let trusting = release.map_or(Trusting::Each, |release| release.trusting);
            let trust = keep(&mut obstacles, trust(&vcenter, &facts.vcenter, trusting));
            let datacenters = keep(&mut obstacles, datacenters(&vcenter, &facts.vcenter));
            let server = keep(&mut obstacles, text("spec.vcIp", &vcenter.server));
            if matches!(trust, Some(Trust::Insecure)) {
                advice.push(Finding::advise(
                    &reasons::CSI_CERTIFICATE_NOT_VERIFIED,
                    format!(
                        "VsphereCloudConfig {}: CSI does not verify the certificate of the vCenter; set its spec.caRef \
                         or spec.thumbprint and remove spec.insecure",
                        vcenter.name
                    ),
                ));
            }
            Some((server?, vcenter.port, login?, trust?, datacenters?))
        });
        let (Some(release), Some(cluster_id), Some(snapshots), Some(distribution), Some(vcenter), true) =
            (release, cluster_id, snapshots, distribution, vcenter, obstacles.is_empty())
        else {
            return Err(obstacles);
        };
        let (server, port, login, trust, datacenters) = vcenter;
        let wanted_root = kubelet_root(facts.spec, &facts.cluster);
        let root = match &facts.cluster.kept {
            Some(kept) => {
                advice.push(root_is_kept(wanted_root, kept));
                kept.root.as_str()
            }
            None => wanted_root,
        };
        advice.append(&mut minor);
        let (placement, replicas) = placement(&facts.cluster);
        let images = facts.spec.images.clone().unwrap_or_default();
        Ok(Inputs {
            facts: release,
            server,
            port,
            login,
            trust,
            datacenters,
            cluster_id,
            distribution,
            net_permissions,
            kubelet_root: root.to_owned(),
            registry: images.registry,
            pull_secrets: images.pull_secrets,
            placement,
            replicas,
            snapshots,
            advice,
        })
    }
}

fn root_is_kept(wanted: &str, KeptRoot { root, attached }: &KeptRoot) -> Finding {
    let why = match attached {
        Reading::Present(names) => {
            format!("while volumes are attached ({}); drain their nodes or end their pods", name_some(names))
        }
        Reading::Unreadable(why) => {
            format!("until it can be read whether volumes are attached: {why}; {ROLES}")
        }
        Reading::Absent => "until it was read whether volumes are attached; wait a minute".to_owned(),
    };
    let message = format!("the kubelet path of CSI stays {root} and does not become {wanted} {why}");
    Finding::advise(&reasons::CSI_KUBELET_PATH_KEPT, message)
}

fn keep<T>(obstacles: &mut Vec<Finding>, checked: Result<T, Finding>) -> Option<T> {
    checked.map_err(|finding| obstacles.push(finding)).ok()
}

fn keep_all<T>(obstacles: &mut Vec<Finding>, checked: Result<T, Vec<Finding>>) -> Option<T> {
    checked.map_err(|findings| obstacles.extend(findings)).ok()
}

fn text(field: &str, value: &str) -> Result<Text, Finding> {
    Text::new(value).map_err(|why| {
        let message = format!("{field} {why}, which the configuration of CSI cannot carry; remove it");
        Finding::hold(&reasons::CSI_CONFIGURATION_UNREPRESENTABLE, message)
    })
}

fn known_release(release: &Release) -> Result<&'static ReleaseFacts, Finding> {
    releases::facts(release).ok_or_else(|| {
        Finding::hold(
            &reasons::CSI_RELEASE_UNKNOWN,
            format!(
                "this version of VDO cannot build CSI {release}; pin a release that docs/compatibility.md lists, or \
                 upgrade VDO"
            ),
        )
    })
}

fn snapshots(cluster: &Cluster) -> Result<Snapshots, Finding> {
    match &cluster.snapshot_api {
        Reading::Present(()) => Ok(Snapshots::Served),
        Reading::Absent => Ok(Snapshots::NotServed),
        Reading::Unreadable(why) => Err(Finding::hold(
            &reasons::CSI_SNAPSHOT_API_UNREADABLE,
            format!(
                "CSI waits, since whether snapshot.storage.k8s.io/v1 is served cannot be read: {why}; see whether the \
                 API server answers /apis"
            ),
        )),
    }
}

fn trust(vcenter: &Vcenter, facts: &VcenterFacts, trusting: Trusting) -> Result<Trust, Finding> {
    let unusable = |what: &str| {
        let message = format!("VsphereCloudConfig {}: {what}", vcenter.name);
        Err(Finding::hold(&reasons::CSI_TRUST_UNUSABLE, message))
    };
    match &vcenter.trust {
        vcenter::Trust::Insecure => Ok(Trust::Insecure),
        vcenter::Trust::PublicCa => Ok(Trust::PublicAuthority),
        vcenter::Trust::Ca(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => {
            Ok(Trust::Authority(pem.clone()))
        }
        vcenter::Trust::Ca(_) => {
            unusable("the ConfigMap of spec.caRef holds no PEM certificate; put one into it")
        }
        // Of the two fingerprints in the status the one that the release compares.
        vcenter::Trust::Thumbprint(_) => {
            let status = facts.config.present().and_then(|config| config.status.as_ref());
            let seen = status.and_then(|status| status.verified.as_ref()).map(|verified| &verified.trust);
            let (written, digits, no_print) = match trusting {
                Trusting::Each => {
                    let no_print =
                        "status.verified.trust.sha256 is no SHA-256 fingerprint; correct spec.thumbprint";
                    (seen.map(|trust| &trust.sha256), 64, no_print)
                }
                Trusting::Together => {
                    let no_print =
                        "status.verified.trust.sha1 is no SHA-1 fingerprint; correct spec.thumbprint";
                    (seen.map(|trust| &trust.sha1), 40, no_print)
                }
            };
            match written.and_then(|written| fingerprint(written, digits)) {
                Some(fingerprint) => Ok(Trust::Thumbprint(text("spec.thumbprint", &fingerprint)?)),
                None => unusable(no_print),
            }
        }
    }
}

/// The driver compares texts: upper case with colons.
fn fingerprint(written: &str, count: usize) -> Option<String> {
    let digits: Vec<char> = written.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    let fits = digits.len() == count && digits.iter().all(char::is_ascii_hexdigit);
    fits.then(|| {
        let bytes: Vec<String> = digits.chunks(2).map(|byte| byte.iter().collect()).collect();
        bytes.join(":").to_ascii_uppercase()
    })
}

/// Without a list in the spec the driver gets none either, so a new datacenter needs no roll-out.
fn datacenters(vcenter: &Vcenter, facts: &VcenterFacts) -> Result<Vec<Text>, Finding> {
    if facts.config.present().is_some_and(|config| config.spec.datacenters.is_empty()) {
        return Ok(Vec::new());
    }
    let mut paths: Vec<&str> = vcenter.datacenters.iter().map(String::as_str).collect();
    paths.sort_unstable();
    paths.dedup();
    let check = |path: &str| {
        let refuse = |what: &str| {
            let message = format!(
                "VsphereCloudConfig {}: datacenter {path:?} {what}; rename it, or leave spec.datacenters empty",
                vcenter.name
            );
            Err(Finding::hold(&reasons::CSI_DATACENTER_UNREPRESENTABLE, message))
        };
        match Text::new(path) {
            Err(why) => refuse(&why.to_string()),
            Ok(_) if path.contains(',') => refuse("has a comma"),
            Ok(_) if path.trim() != path || path.is_empty() => refuse("begins or ends with a blank"),
            Ok(text) => Ok(text),
        }
    };
    paths.into_iter().map(check).collect()
}

fn net_permissions(
    volumes: Option<&FileVolumes>,
    obstacles: &mut Vec<Finding>,
    advice: &mut Vec<Finding>,
) -> Vec<NetPermission> {
    let written = volumes.map(|v| v.net_permissions.as_slice()).unwrap_or_default();
    let mut known = Vec::new();
    let mut permissions = Vec::new();
    for entry in written {
        let access = match entry.permissions {
            Some(FileAccess::ReadOnly) => "READ_ONLY",
            Some(FileAccess::NoAccess) => "NO_ACCESS",
            Some(FileAccess::ReadWrite) | None => "READ_WRITE",
        };
        let root_squash = if entry.root_squash { RootSquash::On } else { RootSquash::Off };
        match (networks::parse(&entry.ips), Text::new(&entry.ips)) {
            (Some(network), Ok(ips)) => {
                known.push((network, entry.ips.as_str(), access, root_squash));
                permissions.push(NetPermission { ips, access, root_squash });
            }
            (None, _) | (_, Err(_)) => obstacles.push(Finding::hold(
                &reasons::CSI_NETWORK_INVALID,
                format!(
                    "netPermissions of CSI: {:?} is no network; use *, an address or 10.0.0.0/8",
                    entry.ips
                ),
            )),
        }
    }
    let pairs =
        known.iter().enumerate().flat_map(|(at, one)| known[at + 1..].iter().map(move |two| (one, two)));
    let clash =
        pairs.into_iter().find(|(one, two)| one.0.overlaps(&two.0) && (one.2, one.3) != (two.2, two.3));
    if let Some((one, two)) = clash {
        advice.push(Finding::advise(
            &reasons::CSI_NETWORKS_OVERLAP,
            format!(
                "netPermissions {} and {} of CSI overlap and give different rights; make the networks disjoint, or \
                 their rights equal",
                one.1, two.1
            ),
        ));
    }
    permissions
}

/// One controller per node at most, as each refuses the other's company. Without any node yet, a control plane is
/// expected.
fn placement(cluster: &Cluster) -> (Placement, i32) {
    let (placement, room) = match (cluster.control_plane_nodes, cluster.nodes) {
        (0, 0) => (Placement::ControlPlane, 1),
        (0, nodes) => (Placement::Anywhere, nodes),
        (control_plane, _) => (Placement::ControlPlane, control_plane),
    };
    (placement, i32::try_from(room.min(MOST_REPLICAS)).unwrap_or(1))
}
