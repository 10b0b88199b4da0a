//! Names that several programs, or a user's scripts, rely on.

/// The API group of all kinds.
pub const GROUP: &str = "vdo.vmware.com";
/// The one version of the API group.
pub const VERSION: &str = "v1alpha1";

/// The namespace that the chart installs the operators into, unless the user chose another.
pub const OPERATORS_NAMESPACE: &str = "vmware-system-vdo";
/// The namespace of everything namespaced that belongs to CPI.
pub const CPI_NAMESPACE: &str = "vmware-system-cpi";
/// The namespace of everything namespaced that belongs to CSI.
pub const CSI_NAMESPACE: &str = "vmware-system-csi";
/// Where the original operator and upstream's own installation look for Secrets.
pub const KUBE_SYSTEM: &str = "kube-system";

/// On every object that an operator made; the value is the driver ([`CPI`] or [`CSI`]).
pub const DRIVER_LABEL: &str = "vdo.vmware.com/driver";
/// The standard label that says who manages an object; always [`MANAGED_BY`].
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "vdo";
/// Annotation on every object we made: the id of the revision it belongs to. Another id is drift.
pub const REVISION_ANNOTATION: &str = "vdo.vmware.com/revision";
/// Annotation on the pods of a driver that reads credentials only when it starts: a keyed digest of them, so that a new
/// password starts the pods anew.
pub const CREDENTIALS_DIGEST_ANNOTATION: &str = "vdo.vmware.com/credentials-digest";
/// Label that makes a Secret of any type readable as credentials; the value is `"true"`.
pub const CREDENTIALS_LABEL: &str = "vdo.vmware.com/credentials";
/// Annotation on a credentials Secret: the servers, separated by commas, that it may be sent to.
pub const SERVER_ANNOTATION: &str = "vdo.vmware.com/server";
/// Annotation on a VDOConfig: until this time (RFC 3339) nothing but status is written.
pub const PAUSED_UNTIL_ANNOTATION: &str = "vdo.vmware.com/paused-until";
/// Annotation on a VsphereCloudConfig: a new value makes vdo-core try the login once more.
pub const RETRY_LOGIN_ANNOTATION: &str = "vdo.vmware.com/retry-login";
/// Annotation on a VDOConfig: a new value makes the driver operators try once more what they rolled back.
pub const RETRY_ROLLOUT_ANNOTATION: &str = "vdo.vmware.com/retry-rollout";
/// Annotation on a VDOConfig: what all operators log while it is there, as in `debug` or `info,vdo_runtime=debug`.
pub const LOG_ANNOTATION: &str = "vdo.vmware.com/log";
/// Annotation on the CRDs: the number of their schema, which only grows.
pub const SCHEMA_ANNOTATION: &str = "vdo.vmware.com/schema";
/// The schema number of the CRDs that this build generates.
pub const SCHEMA: u32 = 1;

/// The CRD of VDOConfig.
pub const VDOCONFIG_CRD: &str = "vdoconfigs.vdo.vmware.com";

/// The value of [`DRIVER_LABEL`] for CPI.
pub const CPI: &str = "cpi";
/// The value of [`DRIVER_LABEL`] for CSI.
pub const CSI: &str = "csi";

/// Keeps the VDOConfig until CPI's teardown was acknowledged.
pub const CPI_FINALIZER: &str = "vdo.vmware.com/cpi";
/// Keeps the VDOConfig until CSI's teardown was acknowledged.
pub const CSI_FINALIZER: &str = "vdo.vmware.com/csi";

/// The field manager and user agent of vdo-core.
pub const CORE_MANAGER: &str = "vdo-core";
/// The field manager and user agent of cpi-operator.
pub const CPI_MANAGER: &str = "cpi-operator";
/// The field manager and user agent of csi-operator.
pub const CSI_MANAGER: &str = "csi-operator";

/// The ConfigMaps that may hold the compatibility matrix: the documented name, and the one that the
/// original operator's code read.
pub const MATRIX_CONFIG_MAPS: [&str; 2] = ["comp-matrix-config", "compat-matrix-config"];
/// The ConfigMap in the operators' namespace that keeps the last good copy of a fetched matrix.
pub const MATRIX_COPY: &str = "vdo-matrix-copy";
/// The immutable ConfigMap in the operators' namespace that records CSI's cluster id.
pub const CLUSTER_ID_CONFIG_MAP: &str = "vdo-csi-cluster-id";
/// The name under which CSI is known to the kubelet and to StorageClasses.
pub const CSI_DRIVER_NAME: &str = "csi.vsphere.vmware.com";
/// The taint that a node carries until a cloud provider has initialised it.
pub const UNINITIALIZED_TAINT: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// The journal Secret of a driver operator.
pub fn journal(driver: &str) -> String {
    format!("vdo-{driver}-journal")
}
