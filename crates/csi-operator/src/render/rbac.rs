//! The rights of the driver, under names of our own, no wider than its calls.
//!
//! Leases, its ConfigMaps and its own bookkeeping are granted in its namespace only. CRDs are read and overwritten by
//! name; only their creation cannot be pinned, as the driver creates by a plain POST.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use vdo_api::names::CSI_NAMESPACE;
use vdo_plan::Object;
use vdo_plan::rights::{role_ref, rule};

use super::{CONTROLLER, NODE, cluster_wide, namespaced};
use crate::inputs::Snapshots;

/// Names of the controller's role and binding, in the cluster and in its namespace.
const CONTROLLER_ROLE: &str = "vdo-csi-controller";
/// Names of the node plug-in's role and binding, in the cluster and in its namespace.
const NODE_ROLE: &str = "vdo-csi-node";

/// The CRDs that the driver creates and overwrites on a cluster with one vCenter or several.
const CRDS: [&str; 4] = [
    "cnsvolumeinfoes.cns.vmware.com",
    "cnsvolumeoperationrequests.cns.vmware.com",
    "cnsvspherevolumemigrations.cns.vmware.com",
    "csinodetopologies.cns.vmware.com",
];

const READ: &[&str] = &["get", "list", "watch"];

/// What is granted to the driver, by any release and any inputs. An operator can grant only what it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Grants {
    /// In the whole cluster.
    pub cluster: Vec<PolicyRule>,
    /// In the driver's namespace.
    pub namespaced: Vec<PolicyRule>,
}

/// The union over all releases and inputs: what csi-operator must hold itself.
pub fn granted_rules() -> Grants {
    let mut cluster = controller_in_cluster(Snapshots::Served);
    cluster.extend(node_in_cluster());
    let mut namespaced = controller_in_namespace();
    // Both read the switches.
    namespaced
        .extend(node_in_namespace().into_iter().filter(|rule| !controller_in_namespace().contains(rule)));
    Grants { cluster, namespaced }
}

pub(super) fn build(snapshots: Snapshots) -> Vec<Object> {
    let mut objects = Vec::new();
    for (role, account, in_cluster, in_namespace) in [
        (CONTROLLER_ROLE, CONTROLLER, controller_in_cluster(snapshots), controller_in_namespace()),
        (NODE_ROLE, NODE, node_in_cluster(), node_in_namespace()),
    ] {
        objects.push(Object::new(&ClusterRole {
            metadata: cluster_wide(role),
            rules: Some(in_cluster),
            ..ClusterRole::default()
        }));
        objects.push(Object::new(&ClusterRoleBinding {
            metadata: cluster_wide(role),
            role_ref: role_ref("ClusterRole", role),
            subjects: Some(vec![subject(account)]),
        }));
        objects.push(Object::new(&Role { metadata: namespaced(role), rules: Some(in_namespace) }));
        objects.push(Object::new(&RoleBinding {
            metadata: namespaced(role),
            role_ref: role_ref("Role", role),
            subjects: Some(vec![subject(account)]),
        }));
    }
    objects
}

fn controller_in_cluster(snapshots: Snapshots) -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", &["nodes", "pods"], READ),
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "update"]),
        rule("", &["persistentvolumeclaims/status"], &["patch"]),
        rule("", &["persistentvolumes"], &["get", "list", "watch", "create", "update", "patch", "delete"]),
        rule("", &["events"], &["get", "list", "watch", "create", "update", "patch"]),
        rule("storage.k8s.io", &["storageclasses", "csinodes"], READ),
        rule("storage.k8s.io", &["volumeattachments"], &["get", "list", "watch", "patch"]),
        rule("storage.k8s.io", &["volumeattachments/status"], &["patch"]),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["create"]),
        PolicyRule {
            resource_names: Some(words(&CRDS)),
            ..rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get", "update"])
        },
        rule(
            "cns.vmware.com",
            &["cnsvspherevolumemigrations"],
            &["get", "list", "watch", "create", "update", "delete"],
        ),
        rule("cns.vmware.com", &["csinodetopologies"], &["get", "list", "watch", "update"]),
        // Its clean-up lists without naming the namespace.
        rule("cns.vmware.com", &["cnsvolumeoperationrequests"], &["list"]),
    ];
    if snapshots == Snapshots::Served {
        let of = |resource: &str, verbs: &[&str]| rule("snapshot.storage.k8s.io", &[resource], verbs);
        rules.extend([
            of("volumesnapshots", &["get", "list"]),
            of("volumesnapshotclasses", READ),
            of("volumesnapshotcontents", &["get", "list", "watch", "create", "update", "patch", "delete"]),
            of("volumesnapshotcontents/status", &["update", "patch"]),
        ]);
    }
    rules
}

fn controller_in_namespace() -> Vec<PolicyRule> {
    vec![
        rule("", &["configmaps"], READ),
        rule("coordination.k8s.io", &["leases"], &["get", "list", "watch", "create", "update", "delete"]),
        rule("cns.vmware.com", &["cnsvolumeoperationrequests"], &["get", "create", "update", "delete"]),
        rule("cns.vmware.com", &["cnsvolumeinfoes"], &["get", "list", "watch", "create", "delete"]),
    ]
}

fn node_in_cluster() -> Vec<PolicyRule> {
    vec![
        rule("", &["nodes"], &["get"]),
        rule("cns.vmware.com", &["csinodetopologies"], &["get", "watch", "create", "patch"]),
    ]
}

fn node_in_namespace() -> Vec<PolicyRule> {
    vec![rule("", &["configmaps"], READ)]
}

fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(|&word| word.to_owned()).collect()
}

fn subject(account: &str) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: account.to_owned(),
        namespace: Some(CSI_NAMESPACE.to_owned()),
        ..Subject::default()
    }
}
