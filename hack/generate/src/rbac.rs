//! The operators' roles, generated from what their code reads and writes and from what they grant to their drivers.
//!
//! An API server lets nobody grant a right that he does not hold, so an operator's roles include its driver's; and it
//! binds a server-side apply to names, also where the apply creates, so every other write is pinned by name.
//!
//! **Invariant:** no `*`, no `escalate`, `bind` or `impersonate`, and no right to Secrets in the whole cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use k8s_openapi::api::rbac::v1::PolicyRule;
use vdo_api::names::{
    CORE_MANAGER, CPI, CPI_MANAGER, CPI_NAMESPACE, CSI, CSI_DRIVER_NAME, CSI_MANAGER, CSI_NAMESPACE, GROUP,
    KUBE_SYSTEM, VDOCONFIG_CRD, journal,
};

use crate::NOTE;
use crate::yaml::yaml;

const READ: &[&str] = &["get", "list", "watch"];
const FOLLOW: &[&str] = &["list", "watch"];
/// What a server-side apply and a deletion need. Pinned by name, it creates that name only.
const APPLY: &[&str] = &["get", "create", "patch", "delete"];
/// What an operator may do to Secrets and ConfigMaps of its driver's namespace, whose names carry digests.
const FREELY: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

const CORE: &str = "";
const RBAC: &str = "rbac.authorization.k8s.io";
const LEASES: &str = "coordination.k8s.io";
const CRDS: &str = "apiextensions.k8s.io";
/// Tells whether snapshots can be taken here.
const SNAPSHOT_CRD: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";

/// What one operator may do, by where.
struct Rights {
    operator: &'static str,
    /// In the whole cluster.
    cluster: Vec<PolicyRule>,
    /// In the namespace that the chart is installed into.
    here: Vec<PolicyRule>,
    /// In namespaces of fixed names.
    within: BTreeMap<&'static str, Vec<PolicyRule>>,
}

/// The role templates of all charts.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    all()
        .iter()
        .map(|rights| {
            let file = Path::new("charts").join(rights.operator).join("templates/rbac.yaml");
            Ok((file, rights.template()?))
        })
        .collect()
}

fn all() -> [Rights; 3] {
    [core(), cpi(), csi()]
}

/// vdo-core makes no object but its Lease: it reads, and writes status.
fn core() -> Rights {
    let ours = ["vdoconfigs", "vspherecloudconfigs", "compatibilityconfigs"];
    let mut here = shared(CORE_MANAGER);
    // Whether the other operators are alive.
    here.push(named(rule(LEASES, &["leases"], READ), &[CPI_MANAGER, CSI_MANAGER]));
    Rights {
        operator: CORE_MANAGER,
        cluster: vec![
            // Also those in other namespaces, which are told that they do not count.
            rule(GROUP, &ours, READ),
            rule(GROUP, &ours.map(|kind| format!("{kind}/status")), &["patch"]),
            rule(CORE, &["nodes"], READ),
        ],
        here,
        within: BTreeMap::new(),
    }
    .lean()
}

fn cpi() -> Rights {
    let granted = cpi_operator::render::granted();
    let mut cluster = look_around();
    cluster.push(rule(CORE, &["nodes"], READ));
    cluster.push(named(rule(RBAC, &["clusterroles", "clusterrolebindings"], APPLY), &["vdo-cpi"]));
    cluster.extend(granted.cluster);

    let mut own = driver_namespace();
    own.extend([
        named(rule(CORE, &["serviceaccounts"], APPLY), &["vdo-cpi"]),
        named(rule("apps", &["daemonsets"], APPLY), &[cpi_operator::render::DAEMON_SET]),
        named(rule(RBAC, &["roles", "rolebindings"], APPLY), &["vdo-cpi-credentials"]),
    ]);
    own.extend(granted.driver_namespace);

    let mut kube_system = vec![
        named(rule(RBAC, &["roles", "rolebindings"], APPLY), &["vdo-cpi-lease"]),
        named(rule(RBAC, &["rolebindings"], APPLY), &["vdo-cpi-authentication-reader"]),
        named(rule(LEASES, &["leases"], READ), &[cpi_operator::render::LEASE]),
    ];
    kube_system.extend(granted.kube_system);

    Rights {
        operator: CPI_MANAGER,
        cluster,
        here: driver_operator(CPI_MANAGER, CPI),
        within: BTreeMap::from([
            (CPI_NAMESPACE, own),
            (KUBE_SYSTEM, kube_system),
            // The last look before CPI goes: is anything of CSI left?
            (CSI_NAMESPACE, vec![rule(CORE, &["configmaps"], &["list"])]),
        ]),
    }
    .lean()
}

fn csi() -> Rights {
    use csi_operator::render::{CONTROLLER, NODE};
    use csi_operator::stages::TOPOLOGY_CRD;

    let roles = ["vdo-csi-controller", "vdo-csi-node"];
    let granted = csi_operator::render::granted_rules();
    let mut cluster = look_around();
    cluster.extend([
        named(rule(RBAC, &["clusterroles", "clusterrolebindings"], APPLY), &roles),
        rule("storage.k8s.io", &["csidrivers"], FOLLOW),
        named(rule("storage.k8s.io", &["csidrivers"], APPLY), &[CSI_DRIVER_NAME]),
        rule("storage.k8s.io", &["csinodes"], READ),
        // Volumes and snapshots keep the driver from being removed.
        rule(CORE, &["persistentvolumes"], &["list"]),
        rule("storage.k8s.io", &["volumeattachments"], &["list"]),
        rule("snapshot.storage.k8s.io", &["volumesnapshotcontents"], &["list"]),
        rule(CORE, &["nodes"], READ),
        named(rule(CORE, &["namespaces"], &["get"]), &[KUBE_SYSTEM]),
        named(rule(CRDS, &["customresourcedefinitions"], READ), &[TOPOLOGY_CRD, SNAPSHOT_CRD]),
    ]);
    cluster.extend(granted.cluster);

    let mut own = driver_namespace();
    own.extend([
        named(rule(CORE, &["serviceaccounts"], APPLY), &[CONTROLLER, NODE]),
        rule(CORE, &["services"], FOLLOW),
        named(rule(CORE, &["services"], APPLY), &[CONTROLLER]),
        named(rule("apps", &["deployments"], APPLY), &[CONTROLLER]),
        named(rule("apps", &["daemonsets"], APPLY), &[NODE]),
        named(rule(RBAC, &["roles", "rolebindings"], APPLY), &roles),
    ]);
    own.extend(granted.namespaced);

    let mut here = driver_operator(CSI_MANAGER, CSI);
    // The record of the cluster id is made once, by a plain create, so that it never overwrites an earlier one.
    here.push(rule(CORE, &["configmaps"], &["create"]));
    Rights { operator: CSI_MANAGER, cluster, here, within: BTreeMap::from([(CSI_NAMESPACE, own)]) }.lean()
}

/// What every operator does in the operators' namespace: its Lease, its events, its reading of settings.
fn shared(operator: &str) -> Vec<PolicyRule> {
    vec![
        rule(CORE, &["secrets", "configmaps"], FOLLOW),
        rule(LEASES, &["leases"], &["create"]),
        named(rule(LEASES, &["leases"], &["get", "update"]), &[operator]),
        rule("events.k8s.io", &["events"], &["create"]),
    ]
}

/// What a driver operator does there besides.
fn driver_operator(operator: &str, driver: &str) -> Vec<PolicyRule> {
    let mut rules = shared(operator);
    rules.extend([
        // Whether VDO itself is being taken away.
        rule(CORE, &["namespaces"], &["get"]),
        // Finalizers are written to the object itself.
        rule(GROUP, &["vdoconfigs"], &["get", "list", "watch", "patch"]),
        rule(GROUP, &["vdoconfigs/status"], &["patch"]),
        rule(GROUP, &["vspherecloudconfigs"], READ),
        // The journal is made by a plain create, so that it never overwrites another; no name can pin that.
        rule(CORE, &["secrets"], &["create"]),
        named(rule(CORE, &["secrets"], &["get", "update"]), &[&journal(driver)]),
    ]);
    rules
}

/// What a driver operator reads in the whole cluster: its own roles, and other installations of its driver.
fn look_around() -> Vec<PolicyRule> {
    vec![
        named(rule(CRDS, &["customresourcedefinitions"], &["get"]), &[VDOCONFIG_CRD]),
        rule(RBAC, &["roles", "rolebindings", "clusterroles", "clusterrolebindings"], FOLLOW),
        rule("apps", &["daemonsets", "deployments"], &["list"]),
        named(rule("config.openshift.io", &["infrastructures"], &["get"]), &["cluster"]),
    ]
}

/// What a driver operator does in its driver's namespace, whichever the driver.
fn driver_namespace() -> Vec<PolicyRule> {
    vec![
        rule(CORE, &["secrets", "configmaps"], FREELY),
        rule(CORE, &["serviceaccounts"], FOLLOW),
        rule("apps", &["daemonsets", "deployments"], FOLLOW),
        // Deleted when they bear the token of an account that is gone; the names are the controllers' own.
        rule(CORE, &["pods"], &["list", "watch", "delete"]),
    ]
}

impl Rights {
    /// The same rights without rules that others include already.
    fn lean(mut self) -> Self {
        self.cluster = lean(self.cluster, &[]);
        self.here = lean(self.here, &self.cluster);
        for rules in self.within.values_mut() {
            *rules = lean(std::mem::take(rules), &self.cluster);
        }
        self
    }

    fn template(&self) -> Result<String> {
        let operator = self.operator;
        // The drivers' cluster roles are called after the drivers; these must not be taken for them.
        let cluster_wide =
            if operator == CORE_MANAGER { operator.to_owned() } else { format!("vdo-{operator}") };
        let mut text = format!("{NOTE}{}", granting("ClusterRole", &cluster_wide, None, operator));
        text = text.replace("@rules", &rules(&self.cluster)?);
        for (namespace, held) in [("{{ .Release.Namespace }}", &self.here)]
            .into_iter()
            .chain(self.within.iter().map(|(namespace, held)| (*namespace, held)))
        {
            text += &granting("Role", operator, Some(namespace), operator);
            text = text.replace("@rules", &rules(held)?);
        }
        // A chart value names these Secrets; an empty list would mean all of them.
        let pinned = named(rule(CORE, &["secrets"], READ), &["@names"]);
        let names = "{{ toJson . }}";
        text += "{{- with .Values.global.credentials.kubeSystemSecrets }}\n";
        text += &granting("Role", &format!("{operator}-credentials"), Some(KUBE_SYSTEM), operator)
            .replace("@rules", &rules(&[pinned])?.replace("\n  - \"@names\"", &format!(" {names}")))
            .replace("\"vdo-lib.labels\" .", "\"vdo-lib.labels\" $")
            .replace("{{ .Release.Namespace }}", "{{ $.Release.Namespace }}");
        text += "{{- end }}\n";
        Ok(text)
    }
}

/// A role, with `@rules` in the place of its rules, and its binding to the operator's account.
fn granting(kind: &str, name: &str, namespace: Option<&str>, operator: &str) -> String {
    let place = namespace.map(|namespace| format!("\n  namespace: {namespace}")).unwrap_or_default();
    let metadata = format!(
        "metadata:\n  name: {name}{place}\n  labels:\n    {{{{- include \"vdo-lib.labels\" . | nindent 4 }}}}\n"
    );
    format!(
        "---\napiVersion: {RBAC}/v1\nkind: {kind}\n{metadata}rules:\n@rules\
         ---\napiVersion: {RBAC}/v1\nkind: {kind}Binding\n{metadata}\
         roleRef:\n  apiGroup: {RBAC}\n  kind: {kind}\n  name: {name}\n\
         subjects:\n- kind: ServiceAccount\n  name: {operator}\n  namespace: {{{{ .Release.Namespace }}}}\n"
    )
}

fn rules(rules: &[PolicyRule]) -> Result<String> {
    Ok(yaml(&serde_json::to_value(rules)?))
}

fn rule<S: AsRef<str>>(group: &str, resources: &[S], verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(|resource| resource.as_ref().to_owned()).collect()),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    }
}

fn named(rule: PolicyRule, names: &[&str]) -> PolicyRule {
    PolicyRule { resource_names: Some(names.iter().map(|&name| name.to_owned()).collect()), ..rule }
}

/// The rules that neither `above` nor the other ones include.
fn lean(rules: Vec<PolicyRule>, above: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut kept = rules;
    let mut at = 0;
    while at < kept.len() {
        let rule = kept.remove(at);
        let included = atoms(&rule).iter().all(|atom| holds(&kept, atom) || holds(above, atom));
        if !included {
            kept.insert(at, rule);
            at += 1;
        }
    }
    kept
}

/// The smallest right there is: one verb on one resource, of one name or of all.
#[derive(Debug, PartialEq, Eq)]
struct Atom<'a> {
    group: &'a str,
    resource: &'a str,
    verb: &'a str,
    name: Option<&'a str>,
}

fn atoms(rule: &PolicyRule) -> Vec<Atom<'_>> {
    let names: Vec<Option<&str>> = match rule.resource_names.as_deref() {
        None | Some([]) => vec![None],
        Some(names) => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let mut atoms = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for verb in &rule.verbs {
                atoms.extend(names.iter().map(|&name| Atom { group, resource, verb, name }));
            }
        }
    }
    atoms
}

/// Whether one of the rules includes this right, as the API server reckons before it lets a role be written.
fn holds(rules: &[PolicyRule], atom: &Atom<'_>) -> bool {
    let among = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|it| it == word);
    rules.iter().any(|rule| {
        let any_name = rule.resource_names.as_ref().is_none_or(Vec::is_empty);
        among(&rule.api_groups, atom.group)
            && among(&rule.resources, atom.resource)
            && rule.verbs.iter().any(|verb| verb == atom.verb)
            && (any_name || atom.name.is_some_and(|name| among(&rule.resource_names, name)))
    })
}

#[cfg(test)]
#[path = "rbac/tests.rs"]
mod tests;
