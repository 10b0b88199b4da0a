//! `VDOConfig`: which drivers a cluster shall have. One is active in the operators' namespace.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule::{each_like, like};
use crate::status::VDOConfigStatus;

/// What a pin looks like.
const RELEASE: &str = r"^v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)(-(alpha|beta|rc)\.[0-9]+)?)?$";
/// What is said of one that does not.
const NO_RELEASE: &str =
    "version is one release, as in 3.7.0 or 3.7.0-rc.1, or a line of releases, as in 3.7";
/// What the name of a tag category looks like.
const CATEGORY: &str = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$";
/// What is said of one that does not.
const NO_CATEGORY: &str =
    "the name of one tag category: letters and digits, with '-', '_' and '.' between them";

/// What the drivers of this cluster shall be. At least one of `cloudProvider` and `storageProvider` is set.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "VDOConfig",
    plural = "vdoconfigs",
    shortname = "vdo",
    category = "vdo-all",
    namespaced,
    derive = "PartialEq",
    status = "VDOConfigStatus",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "CPI", type_ = "string", json_path = ".status.cpi.installed.release"),
    printcolumn(name = "CSI", type_ = "string", json_path = ".status.csi.installed.release"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.initialised"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.cloudProvider) || has(self.storageProvider)",
    "message": "at least one of cloudProvider and storageProvider is required",
    "reason": "FieldValueRequired"
}]))]
pub struct VDOConfigSpec {
    /// The cloud provider (CPI). Without it, or with no vCenter in it, VDO manages no CPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_provider: Option<CloudProvider>,
    /// The storage driver (CSI). Without it VDO manages no CSI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_provider: Option<StorageProvider>,
    /// Where the images of the drivers come from, for mirrors and air-gapped sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Images>,
    /// What deleting this object does to the drivers: `Remove` takes them away, once no volume needs them;
    /// `Orphan` leaves them running and lets the object go. May still be changed while it is being deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What VDO does when somebody else changes or deletes an object of a driver: `Repair` puts it back within seconds,
    /// `Report` only says so.
    #[serde(default)]
    pub drift_repair: DriftRepair,
}

/// What is done about objects that are not as VDO applied them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftRepair {
    /// Put them back.
    #[default]
    Repair,
    /// Say so in the condition of the driver, and leave them.
    Report,
}

/// What happens to the drivers when the VDOConfig is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Remove CSI, then CPI, once no volume of the driver is left.
    #[default]
    Remove,
    /// Leave everything as it is.
    Orphan,
}

/// Which releases of the compatibility matrix are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Channel {
    /// Those for everybody.
    #[default]
    Stable,
    /// Those that the matrix calls candidates, too.
    Candidate,
}

/// Whether a pin may go back to a release that is older than the installed one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Downgrade {
    /// Never.
    #[default]
    Forbid,
    /// If the pin names it.
    Allow,
}

/// The cloud provider interface: initialises nodes and gives them their provider id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudProvider {
    /// The VsphereCloudConfigs of all vCenters that hold nodes of this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub vsphere_cloud_configs: Vec<String>,
    /// The vSphere tag categories that become the zone and region labels of nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// Pins the release, as in `1.36.0`, or a line of releases, as in `1.36`: of a line the newest that fits is
    /// installed first, and what is installed stays. Without it the compatibility matrix chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-validations" = like(RELEASE, NO_RELEASE))
    )]
    pub version: Option<String>,
    /// Which releases of the compatibility matrix are offered: `Stable`, or with `Candidate` those that it calls
    /// candidates, too. A release that `version` names is offered in any case.
    #[serde(default)]
    pub channel: Channel,
    /// Whether `version` may go back to a release that is older than the installed one: `Forbid` or `Allow`.
    #[serde(default)]
    pub downgrade: Downgrade,
}

/// Names of two vSphere tag categories; both are required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.zone != self.region",
    "message": "zone and region are two different tag categories"
}]))]
pub struct Topology {
    /// The category whose tags name regions.
    #[schemars(
        length(min = 1, max = 63),
        extend("x-kubernetes-validations" = like(CATEGORY, NO_CATEGORY))
    )]
    pub region: String,
    /// The category whose tags name zones.
    #[schemars(
        length(min = 1, max = 63),
        extend("x-kubernetes-validations" = like(CATEGORY, NO_CATEGORY))
    )]
    pub zone: String,
}

/// The container storage interface: volumes on vSphere datastores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageProvider {
    /// The VsphereCloudConfig of the vCenter that holds the volumes.
    #[schemars(length(min = 1, max = 253))]
    pub vsphere_cloud_config: String,
    /// A hint at the kind of cluster (`Vanilla`, `OpenShift`, `RKE2`, `k3s`), reported to vCenter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-validations" = like(
            r"^[A-Za-z0-9 ._-]*$",
            "clusterDistribution is a short name of letters, digits, blanks, '.', '_' and '-'"
        ))
    )]
    pub cluster_distribution: Option<String>,
    /// The root directory of the kubelet where it is not `/var/lib/kubelet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-validations" = [
            {
                "rule": "self.matches('^/var/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+$')",
                "message": "customKubeletPath is the absolute path of a folder below /var, as in /var/lib/kubelet, without a slash at its end"
            },
            {"rule": "!self.contains('..')", "message": "customKubeletPath may not contain '..'"}
        ])
    )]
    pub custom_kubelet_path: Option<String>,
    /// Settings of file volumes (vSAN file services).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_volumes: Option<FileVolumes>,
    /// Pins the release, as in `3.7.0`, or a line of releases, as in `3.7`: of a line the newest that fits is
    /// installed first, and what is installed stays. Without it the compatibility matrix chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        extend("x-kubernetes-validations" = like(RELEASE, NO_RELEASE))
    )]
    pub version: Option<String>,
    /// Which releases of the compatibility matrix are offered: `Stable`, or with `Candidate` those that it calls
    /// candidates, too. A release that `version` names is offered in any case.
    #[serde(default)]
    pub channel: Channel,
    /// Whether `version` may go back to a release that is older than the installed one: `Forbid` or `Allow`.
    #[serde(default)]
    pub downgrade: Downgrade,
}

/// Which datastores file volumes may use, and who may mount them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileVolumes {
    /// URLs of vSAN datastores, as in `ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 256)),
        transform = each_like(
            r"^ds:///vmfs/volumes/[A-Za-z0-9:_-]+/$",
            "an item of vsanDataStoreUrl is the URL of a datastore, as in ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/"
        )
    )]
    pub vsan_data_store_url: Vec<String>,
    /// Who may mount file volumes. Without an entry everyone may read and write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub net_permissions: Vec<NetPermission>,
}

/// One network and what it may do with file volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetPermission {
    /// An IP address, a network in CIDR notation, or `*` for all.
    #[schemars(
        length(min = 1, max = 64),
        extend("x-kubernetes-validations" = like(
            r"^(\*|[0-9.]+(/([0-9]|[12][0-9]|3[0-2]))?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?)$",
            "ips is *, an IP address, or a network such as 10.0.0.0/8"
        ))
    )]
    pub ips: String,
    /// What that network may do; the driver's default is `READ_WRITE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<FileAccess>,
    /// Whether root of the client is mapped to nobody.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root_squash: bool,
}

/// What a network may do with file volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FileAccess {
    /// Read only.
    ReadOnly,
    /// Read and write.
    ReadWrite,
    /// Nothing.
    NoAccess,
}

/// Where driver images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Images {
    /// A registry, with an optional path, that replaces the registry of every driver image:
    /// `mirror.example.com:5000/vsphere`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        extend("x-kubernetes-validations" = like(
            r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$",
            "registry is a host with an optional port and path, as in mirror.example.com:5000/vsphere, without a scheme"
        ))
    )]
    pub registry: Option<String>,
    /// Names of pull Secrets in the drivers' namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub pull_secrets: Vec<String>,
}

impl VDOConfigSpec {
    /// Whether CPI is asked for: as in the original, a cloud provider without a vCenter is none.
    pub fn wants_cpi(&self) -> bool {
        self.cloud_provider.as_ref().is_some_and(|c| !c.vsphere_cloud_configs.is_empty())
    }

    /// Whether CSI is asked for.
    pub fn wants_csi(&self) -> bool {
        self.storage_provider.is_some()
    }

    /// The VsphereCloudConfigs that CPI uses.
    pub fn cpi_vcenters(&self) -> Vec<&str> {
        self.cloud_provider.iter().flat_map(|c| c.vsphere_cloud_configs.iter().map(String::as_str)).collect()
    }

    /// The VsphereCloudConfigs that CSI uses.
    pub fn csi_vcenters(&self) -> Vec<&str> {
        self.storage_provider.iter().map(|s| s.vsphere_cloud_config.as_str()).collect()
    }
}
