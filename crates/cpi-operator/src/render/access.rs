//! The account of the cloud provider and the least rights it works with.

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, Subject};
use vdo_api::names::{CPI_NAMESPACE, KUBE_SYSTEM};
use vdo_plan::Object;
use vdo_plan::rights::{role_ref, rule};

use super::workload::LEASE;
use super::{anywhere, here, within};
use crate::releases::CredentialsFrom;

/// The account that the cloud provider runs under.
pub const ACCOUNT: &str = "vdo-cpi";
const CLUSTER_ROLE: &str = "vdo-cpi";
const CREDENTIALS_ROLE: &str = "vdo-cpi-credentials";
const LEASE_ROLE: &str = "vdo-cpi-lease";
const AUTHENTICATION: &str = "vdo-cpi-authentication-reader";
/// A ConfigMap and a Role that every Kubernetes cluster has.
const REQUEST_HEADERS: &str = "extension-apiserver-authentication";

/// Rights that the operator grants to its driver, by where they hold. The operator's own role must have them.
pub struct Granted {
    /// In the whole cluster.
    pub cluster: Vec<PolicyRule>,
    /// In `vmware-system-cpi`.
    pub driver_namespace: Vec<PolicyRule>,
    /// In `kube-system`.
    pub kube_system: Vec<PolicyRule>,
}

/// The rights of every release that we render. What takes its credentials from files needs the fewest.
pub fn granted() -> Granted {
    let mut kube_system = lease_rules();
    kube_system.push(PolicyRule {
        resource_names: Some(vec![REQUEST_HEADERS.to_owned()]),
        ..rule("", &["configmaps"], &["get", "list", "watch"])
    });
    Granted { cluster: cluster_rules(), driver_namespace: credentials_rules(), kube_system }
}

fn cluster_rules() -> Vec<PolicyRule> {
    vec![
        rule("", &["nodes"], &["get", "list", "watch", "update", "patch", "delete"]),
        rule("", &["nodes/status"], &["patch"]),
        rule("", &["events"], &["create", "patch", "update"]),
    ]
}

// The driver's informer lists the whole namespace, so a name would not narrow this; nothing else lives there.
fn credentials_rules() -> Vec<PolicyRule> {
    vec![rule("", &["secrets"], &["list", "watch"])]
}

fn lease_rules() -> Vec<PolicyRule> {
    let leases = |verbs: &[&str]| rule("coordination.k8s.io", &["leases"], verbs);
    vec![
        leases(&["create"]),
        PolicyRule { resource_names: Some(vec![LEASE.to_owned()]), ..leases(&["get", "update"]) },
    ]
}

/// The account, the roles and their bindings. Who takes the credentials from files may read no Secret at all.
pub fn objects(credentials: CredentialsFrom) -> Vec<Object> {
    let cluster_role = ClusterRole {
        metadata: anywhere(CLUSTER_ROLE),
        rules: Some(cluster_rules()),
        ..ClusterRole::default()
    };
    let cluster_binding = ClusterRoleBinding {
        metadata: anywhere(CLUSTER_ROLE),
        role_ref: role_ref("ClusterRole", CLUSTER_ROLE),
        subjects: Some(vec![subject()]),
    };
    let role = |namespace: &str, name: &str, rules: Vec<PolicyRule>| Role {
        metadata: within(namespace, name),
        rules: Some(rules),
    };
    let binding = |namespace: &str, name: &str, role: &str| RoleBinding {
        metadata: within(namespace, name),
        role_ref: role_ref("Role", role),
        subjects: Some(vec![subject()]),
    };
    let account = ServiceAccount { metadata: here(ACCOUNT), ..ServiceAccount::default() };
    let mut objects = vec![Object::new(&account), Object::new(&cluster_role), Object::new(&cluster_binding)];
    match credentials {
        CredentialsFrom::Files => {}
        CredentialsFrom::Secret => objects.extend([
            Object::new(&role(CPI_NAMESPACE, CREDENTIALS_ROLE, credentials_rules())),
            Object::new(&binding(CPI_NAMESPACE, CREDENTIALS_ROLE, CREDENTIALS_ROLE)),
        ]),
    }
    objects.extend([
        Object::new(&role(KUBE_SYSTEM, LEASE_ROLE, lease_rules())),
        Object::new(&binding(KUBE_SYSTEM, LEASE_ROLE, LEASE_ROLE)),
        Object::new(&binding(KUBE_SYSTEM, AUTHENTICATION, "extension-apiserver-authentication-reader")),
    ]);
    objects
}

fn subject() -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: ACCOUNT.to_owned(),
        namespace: Some(CPI_NAMESPACE.to_owned()),
        api_group: None,
    }
}
