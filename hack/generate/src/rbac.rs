//! The operators' roles, generated from what their code reads and writes and from what they grant to their drivers.
//!
//! An API server lets nobody grant a right that he does not hold, so an operator's roles include its driver's; and it
//! binds a server-side apply to names, also where the apply creates, so every other write is pinned by name.
//!
//! Each rule says what it is for; [`page`] makes `docs/rbac.md` of the same rules.
//!
//! **Invariant:** no `*`, no `escalate`, `bind` or `impersonate`, and no right to Secrets in the whole cluster.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use k8s_openapi::api::rbac::v1::PolicyRule;
use vdo_api::names::{
    CORE_MANAGER, CPI, CPI_MANAGER, CPI_NAMESPACE, CSI, CSI_DRIVER_NAME, CSI_MANAGER, CSI_NAMESPACE, GROUP,
    KUBE_SYSTEM, MATRIX_COPY, VDOCONFIG_CRD, journal,
};

use crate::NOTE;
use crate::yaml::yaml;

mod driver;
mod page;

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

/// A rule of a role.
#[derive(Clone, Debug, PartialEq)]
struct Right {
    rule: PolicyRule,
    /// What it is for: a sentence of its own, and one of each rule that it includes.
    why: Vec<&'static str>,
}

impl Borrow<PolicyRule> for Right {
    fn borrow(&self) -> &PolicyRule {
        &self.rule
    }
}

/// What one operator may do, by where.
struct Rights {
    operator: &'static str,
    /// In the whole cluster.
    cluster: Vec<Right>,
    /// In the namespace that the chart is installed into.
    here: Vec<Right>,
    /// In namespaces of fixed names.
    within: BTreeMap<&'static str, Vec<Right>>,
}

/// The role templates of all charts, and the page that explains them.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    let mut files = BTreeMap::from([(PathBuf::from(page::FILE), page::page(&all()))]);
    for rights in all() {
        let file = Path::new("charts").join(rights.operator).join("templates/rbac.yaml");
        files.insert(file, rights.template()?);
    }
    Ok(files)
}

fn all() -> [Rights; 3] {
    [core(), cpi(), csi()]
}

/// vdo-core makes no object but its Lease and the copy of a matrix: it reads, and writes status.
fn core() -> Rights {
    let ours = ["vdoconfigs", "vspherecloudconfigs", "compatibilityconfigs"];
    let mut here = shared(
        CORE_MANAGER,
        "Reads credentials of vCenters from Secrets, and their certificate authorities and the compatibility matrix from ConfigMaps.",
    );
    here.push(named(
        rule(LEASES, &["leases"], READ, "Sees whether the other operators are alive."),
        &[CPI_MANAGER, CSI_MANAGER],
    ));
    here.push(named(
        rule(
            CORE,
            &["configmaps"],
            &["get", "create", "patch"],
            "Keeps the last good copy of a compatibility matrix that it fetches from an address.",
        ),
        &[MATRIX_COPY],
    ));
    Rights {
        operator: CORE_MANAGER,
        cluster: vec![
            rule(
                GROUP,
                &ours,
                READ,
                "Follows what users write; an object in another namespace is told that it does not count.",
            ),
            rule(
                GROUP,
                &ours.map(|kind| format!("{kind}/status")),
                &["patch"],
                "Tells what it found and which gates are open.",
            ),
            rule(
                CORE,
                &["nodes"],
                READ,
                "Sees which nodes a cloud provider has initialised and which have a pod network.",
            ),
        ],
        here,
        within: BTreeMap::new(),
    }
    .lean()
}

fn cpi() -> Rights {
    let granted = cpi_operator::render::granted();
    let mut cluster = look_around();
    cluster.push(rule(CORE, &["nodes"], READ, "Counts the nodes that the driver has initialised."));
    cluster.push(cluster_roles(&["vdo-cpi"]));
    cluster.extend(driver::granted(CPI, granted.cluster));

    let mut own = driver_namespace();
    own.extend([
        named(
            rule(CORE, &["serviceaccounts"], APPLY, "Writes and removes the account of its driver."),
            &["vdo-cpi"],
        ),
        named(
            rule("apps", &["daemonsets"], APPLY, "Writes and removes the driver itself."),
            &[cpi_operator::render::DAEMON_SET],
        ),
        local_roles(&["vdo-cpi-credentials"]),
    ]);
    own.extend(driver::granted(CPI, granted.driver_namespace));

    let mut kube_system = vec![
        named(
            rule(
                RBAC,
                &["roles", "rolebindings"],
                APPLY,
                "Lets the driver have its Lease here, under the name that every build of it uses, so that two never lead.",
            ),
            &["vdo-cpi-lease"],
        ),
        named(
            rule(
                RBAC,
                &["rolebindings"],
                APPLY,
                "Binds its driver to the role extension-apiserver-authentication-reader of Kubernetes.",
            ),
            &["vdo-cpi-authentication-reader"],
        ),
        named(
            rule(LEASES, &["leases"], READ, "Sees whether a pod of the driver leads."),
            &[cpi_operator::render::LEASE],
        ),
    ];
    kube_system.extend(driver::granted(CPI, granted.kube_system));

    Rights {
        operator: CPI_MANAGER,
        cluster,
        here: driver_operator(CPI_MANAGER, CPI),
        within: BTreeMap::from([
            (CPI_NAMESPACE, own),
            (KUBE_SYSTEM, kube_system),
            (
                CSI_NAMESPACE,
                vec![rule(
                    CORE,
                    &["configmaps"],
                    &["list"],
                    "Takes a last look, before CPI goes, whether anything of CSI is left.",
                )],
            ),
        ]),
    }
    .lean()
}

fn csi() -> Rights {
    use csi_operator::render::{CONTROLLER, NODE};
    use csi_operator::stages::TOPOLOGY_CRD;

    let roles = ["vdo-csi-controller", "vdo-csi-node"];
    let granted = csi_operator::render::granted_rules();
    let storage = "storage.k8s.io";
    let volumes = "Sees volumes and snapshots, which keep the driver from being removed.";
    let mut cluster = look_around();
    cluster.extend([
        cluster_roles(&roles),
        rule(storage, &["csidrivers"], FOLLOW, "Sees what happens to the registration of its driver; a watch of all is not pinned by name."),
        named(
            rule(storage, &["csidrivers"], APPLY, "Writes and removes the registration of its driver."),
            &[CSI_DRIVER_NAME],
        ),
        rule(storage, &["csinodes"], READ, "Counts the nodes that the driver has registered on."),
        rule(CORE, &["persistentvolumes"], &["list"], volumes),
        rule(storage, &["volumeattachments"], &["list"], volumes),
        rule("snapshot.storage.k8s.io", &["volumesnapshotcontents"], &["list"], volumes),
        rule(CORE, &["nodes"], READ, "Counts control-plane nodes, for the replicas of the controller, and nodes that the plug-in is wanted on."),
        named(
            rule(CORE, &["namespaces"], &["get"], "Makes the id of the cluster from the UID of kube-system, where none was recorded."),
            &[KUBE_SYSTEM],
        ),
        named(
            rule(CRDS, &["customresourcedefinitions"], READ, "Sees whether the syncer has made the CRD that node plug-ins need, and whether snapshots can be taken here."),
            &[TOPOLOGY_CRD, SNAPSHOT_CRD],
        ),
    ]);
    cluster.extend(driver::granted(CSI, granted.cluster));

    let mut own = driver_namespace();
    own.extend([
        named(
            rule(CORE, &["serviceaccounts"], APPLY, "Writes and removes the accounts of its driver."),
            &[CONTROLLER, NODE],
        ),
        rule(CORE, &["services"], FOLLOW, "Sees what happens to the Service of the controller's metrics."),
        named(rule(CORE, &["services"], APPLY, "Writes and removes that Service."), &[CONTROLLER]),
        named(rule("apps", &["deployments"], APPLY, "Writes and removes the controller."), &[CONTROLLER]),
        named(rule("apps", &["daemonsets"], APPLY, "Writes and removes the node plug-in."), &[NODE]),
        local_roles(&roles),
    ]);
    own.extend(driver::granted(CSI, granted.namespaced));

    let mut here = driver_operator(CSI_MANAGER, CSI);
    here.push(rule(
        CORE,
        &["configmaps"],
        &["create"],
        "Records the id of the cluster once, by a plain create, so that it never overwrites an earlier one; no name can pin that.",
    ));
    Rights { operator: CSI_MANAGER, cluster, here, within: BTreeMap::from([(CSI_NAMESPACE, own)]) }.lean()
}

/// What every operator does in the operators' namespace: its Lease, its events, its reading of settings.
fn shared(operator: &str, settings: &'static str) -> Vec<Right> {
    vec![
        rule(CORE, &["secrets", "configmaps"], FOLLOW, settings),
        rule(
            LEASES,
            &["leases"],
            &["create"],
            "Makes the Lease by which one replica leads; no name can pin a plain create.",
        ),
        named(
            rule(LEASES, &["leases"], &["get", "update"], "Takes that Lease, renews it and gives it up."),
            &[operator],
        ),
        rule(
            "events.k8s.io",
            &["events"],
            &["create", "patch"],
            "Tells what it did and what went wrong as events, and counts one that comes again; their names are made up as they are written.",
        ),
    ]
}

/// What a driver operator does there besides.
fn driver_operator(operator: &str, driver: &str) -> Vec<Right> {
    let mut rules = shared(
        operator,
        "Reads credentials of vCenters and the journal of its driver from Secrets, and certificate authorities from ConfigMaps.",
    );
    rules.extend([
        rule(CORE, &["namespaces"], &["get"], "Sees whether VDO itself is being taken away, which takes no driver along."),
        rule(
            GROUP,
            &["vdoconfigs"],
            &["get", "list", "watch", "patch"],
            "Follows what is wanted, and writes the finalizer that keeps the object until its driver is removed.",
        ),
        rule(GROUP, &["vdoconfigs/status"], &["patch"], "Tells how far its driver is."),
        rule(GROUP, &["vspherecloudconfigs"], READ, "Reads which vCenters there are and what vdo-core has verified about them."),
        rule(
            CORE,
            &["secrets"],
            &["create"],
            "Makes the journal by a plain create, so that it never overwrites another; no name can pin that.",
        ),
        named(
            rule(CORE, &["secrets"], &["get", "update"], "Keeps the journal of what is installed and what is being rolled out."),
            &[&journal(driver)],
        ),
    ]);
    rules
}

/// What a driver operator reads in the whole cluster: its own roles, and other installations of its driver.
fn look_around() -> Vec<Right> {
    vec![
        named(
            rule(
                CRDS,
                &["customresourcedefinitions"],
                &["get"],
                "Sees whether a VDOConfig goes only because its CRD does, which takes no driver along.",
            ),
            &[VDOCONFIG_CRD],
        ),
        rule(
            RBAC,
            &["roles", "rolebindings", "clusterroles", "clusterrolebindings"],
            FOLLOW,
            "Sees what happens to the roles and bindings of its driver; a watch of all is not pinned by name.",
        ),
        rule(
            "apps",
            &["daemonsets", "deployments"],
            &["list"],
            "Looks for installations of the driver by others, before its first write.",
        ),
        named(
            rule(
                "config.openshift.io",
                &["infrastructures"],
                &["get"],
                "Sees whether this is OpenShift on vSphere, which brings drivers of its own.",
            ),
            &["cluster"],
        ),
    ]
}

/// The roles of a driver in the whole cluster, by their names.
fn cluster_roles(names: &[&str]) -> Right {
    let why = "Writes and removes what its driver may do in the cluster.";
    named(rule(RBAC, &["clusterroles", "clusterrolebindings"], APPLY, why), names)
}

/// The roles of a driver in its own namespace, by their names.
fn local_roles(names: &[&str]) -> Right {
    let why = "Writes and removes what its driver may do in this namespace.";
    named(rule(RBAC, &["roles", "rolebindings"], APPLY, why), names)
}

/// What a driver operator does in its driver's namespace, whichever the driver.
fn driver_namespace() -> Vec<Right> {
    vec![
        rule(
            CORE,
            &["secrets", "configmaps"],
            FREELY,
            "Writes and removes the driver's configuration and credentials, whose names carry digests and cannot be pinned.",
        ),
        rule(CORE, &["serviceaccounts"], FOLLOW, "Sees what happens to the driver's accounts."),
        rule(
            "apps",
            &["daemonsets", "deployments"],
            FOLLOW,
            "Sees what happens to the driver's workloads, and whether they work.",
        ),
        rule(
            CORE,
            &["pods"],
            &["list", "watch", "delete"],
            "Deletes pods of the driver that bear the token of an account that was made anew; their names are the controllers' own.",
        ),
    ]
}

impl Rights {
    /// The same rights without rules that others include already.
    fn lean(mut self) -> Self {
        self.cluster = lean(self.cluster, &mut []);
        self.here = lean(self.here, &mut self.cluster);
        for rules in self.within.values_mut() {
            *rules = lean(std::mem::take(rules), &mut self.cluster);
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
        let pinned = credentials(&["@names"]);
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

fn rules(rights: &[Right]) -> Result<String> {
    let rules: Vec<&PolicyRule> = rights.iter().map(|right| &right.rule).collect();
    Ok(yaml(&serde_json::to_value(rules)?))
}

/// What an operator may do in `kube-system` with the Secrets that a chart value names.
fn credentials(names: &[&str]) -> Right {
    named(
        rule(CORE, &["secrets"], READ, "Reads credentials that were left there for the drivers before VDO."),
        names,
    )
}

fn rule<S: AsRef<str>>(group: &str, resources: &[S], verbs: &[&str], why: &'static str) -> Right {
    let rule = PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(|resource| resource.as_ref().to_owned()).collect()),
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        ..PolicyRule::default()
    };
    Right { rule, why: vec![why] }
}

fn named(mut right: Right, names: &[&str]) -> Right {
    right.rule.resource_names = Some(names.iter().map(|&name| name.to_owned()).collect());
    right
}

/// The rules that neither `above` nor the other ones include. What includes another says what that was for, too.
fn lean(rules: Vec<Right>, above: &mut [Right]) -> Vec<Right> {
    let mut kept = rules;
    let mut at = 0;
    while at < kept.len() {
        let right = kept.remove(at);
        let atoms = atoms(&right);
        if !atoms.iter().all(|atom| holds(&kept, atom) || holds(above, atom)) {
            kept.insert(at, right);
            at += 1;
            continue;
        }
        for includes in kept.iter_mut().chain(above.iter_mut()) {
            if atoms.iter().any(|atom| holds(std::slice::from_ref(includes), atom)) {
                let new = right.why.iter().filter(|why| !includes.why.contains(why)).copied();
                let new: Vec<_> = new.collect();
                includes.why.extend(new);
            }
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

fn atoms<R: Borrow<PolicyRule>>(rule: &R) -> Vec<Atom<'_>> {
    let rule = rule.borrow();
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
fn holds<R: Borrow<PolicyRule>>(rules: &[R], atom: &Atom<'_>) -> bool {
    let among = |list: &Option<Vec<String>>, word: &str| list.iter().flatten().any(|it| it == word);
    rules.iter().map(Borrow::borrow).any(|rule| {
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
