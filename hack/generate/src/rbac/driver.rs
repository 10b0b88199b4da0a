//! What the drivers need their rights for. The rights themselves are those that the operators render.

use super::{BTreeMap, CPI, CPI_NAMESPACE, CSI, CSI_NAMESPACE, KUBE_SYSTEM, PolicyRule, Right};

/// A rule that an operator grants to its driver.
pub struct Need {
    driver: &'static str,
    accounts: &'static [&'static str],
    /// As in the rule, with commas.
    pub verbs: &'static str,
    /// As in the rule, with commas.
    pub resources: &'static str,
    why: &'static str,
}

/// An account of a driver, and what it may do by where; `None` is the whole cluster.
pub struct Account {
    pub name: &'static str,
    pub driver: &'static str,
    pub places: BTreeMap<Option<&'static str>, Vec<Right>>,
}

const CCM: &[&str] = &["vdo-cpi"];
const CONTROLLER: &str = "vsphere-csi-controller";
const NODE: &str = "vsphere-csi-node";

pub const NEEDS: &[Need] = &[
    cpi(
        "get,list,watch,update,patch,delete",
        "nodes",
        "The cloud provider takes the taint off, sets provider id, addresses and labels, and deletes nodes whose machine is gone.",
    ),
    cpi("patch", "nodes/status", "The cloud provider writes the addresses of nodes."),
    cpi("create,patch,update", "events", "The cloud provider tells of nodes as events."),
    cpi(
        "list,watch",
        "secrets",
        "The cloud provider reads its credentials (from 1.32 on; older ones get files and no right); it lists the namespace, so no name would narrow this, and nothing else is there.",
    ),
    cpi("create", "leases", "The cloud provider makes its Lease; no name can pin a plain create."),
    cpi("get,update", "leases", "The cloud provider takes and renews its Lease."),
    cpi(
        "get,list,watch",
        "configmaps",
        "The cloud provider reads how to authenticate requests to its own port, by a role that Kubernetes has for this.",
    ),
    controller(
        "get,list,watch",
        "nodes,pods",
        "The controller places volumes by nodes, and the syncer tells vCenter which pods use them.",
    ),
    controller(
        "get,list,watch,update",
        "persistentvolumeclaims",
        "The provisioner serves claims, and the resizer grows them.",
    ),
    controller("patch", "persistentvolumeclaims/status", "The resizer tells the new size."),
    controller(
        "get,list,watch,create,update,patch,delete",
        "persistentvolumes",
        "The provisioner makes and deletes volumes; attacher, resizer and syncer mark them.",
    ),
    controller(
        "get,list,watch,create,update,patch",
        "events",
        "The sidecars and the syncer tell of volumes as events, and find those they told before.",
    ),
    controller(
        "get,list,watch",
        "storageclasses,csinodes",
        "The provisioner reads what kind of volume is asked for, and the attacher where the driver runs.",
    ),
    controller("get,list,watch,patch", "volumeattachments", "The attacher serves attachments."),
    controller("patch", "volumeattachments/status", "The attacher tells that a volume is attached."),
    controller(
        "create",
        "customresourcedefinitions",
        "The driver makes its own CRDs by a plain create, which no name can pin.",
    ),
    controller("get,update", "customresourcedefinitions", "The driver brings its own CRDs up to date."),
    controller(
        "get,list,watch,create,update,delete",
        "cnsvspherevolumemigrations",
        "The controller keeps which volumes of the in-tree driver it serves.",
    ),
    controller("get,list,watch,update", "csinodetopologies", "The syncer writes in which zone a node is."),
    controller(
        "list",
        "cnsvolumeoperationrequests",
        "The clean-up of finished tasks lists them without naming the namespace.",
    ),
    controller("get,list", "volumesnapshots", "The driver sees which snapshots a volume has."),
    controller(
        "get,list,watch",
        "volumesnapshotclasses",
        "The snapshotter reads what kind of snapshot is asked for.",
    ),
    controller(
        "get,list,watch,create,update,patch,delete",
        "volumesnapshotcontents",
        "The snapshotter makes and deletes snapshots at the driver.",
    ),
    controller(
        "update,patch",
        "volumesnapshotcontents/status",
        "The snapshotter tells that a snapshot can be used.",
    ),
    Need {
        driver: CSI,
        accounts: &[CONTROLLER, NODE],
        verbs: "get,list,watch",
        resources: "configmaps",
        why: "Controller, syncer and node plug-in read the switches of the driver's features.",
    },
    controller(
        "get,list,watch,create,update,delete",
        "leases",
        "Each sidecar and the syncer elects one replica by a Lease.",
    ),
    controller(
        "get,create,update,delete",
        "cnsvolumeoperationrequests",
        "The controller keeps the tasks of vCenter that it waits for.",
    ),
    controller(
        "get,list,watch,create,delete",
        "cnsvolumeinfoes",
        "The controller keeps which vCenter a volume is of, where there are several.",
    ),
    node("get", "nodes", "The node plug-in reads its own node."),
    node(
        "get,watch,create,patch",
        "csinodetopologies",
        "The node plug-in asks the syncer in which zone it is.",
    ),
];

const fn cpi(verbs: &'static str, resources: &'static str, why: &'static str) -> Need {
    Need { driver: CPI, accounts: CCM, verbs, resources, why }
}

const fn controller(verbs: &'static str, resources: &'static str, why: &'static str) -> Need {
    Need { driver: CSI, accounts: &[CONTROLLER], verbs, resources, why }
}

const fn node(verbs: &'static str, resources: &'static str, why: &'static str) -> Need {
    Need { driver: CSI, accounts: &[NODE], verbs, resources, why }
}

/// What a rule is for that an operator grants to this driver.
pub fn need(driver: &str, rule: &PolicyRule) -> Option<&'static Need> {
    let resources = rule.resources.as_deref().unwrap_or_default().join(",");
    let verbs = rule.verbs.join(",");
    NEEDS.iter().find(|need| need.driver == driver && need.verbs == verbs && need.resources == resources)
}

/// What a driver is granted, as rights that its operator must have, too.
pub fn granted(driver: &str, rules: Vec<PolicyRule>) -> Vec<Right> {
    let why = |rule: &PolicyRule| need(driver, rule).map(|need| need.why).into_iter().collect();
    rules.into_iter().map(|rule| Right { why: why(&rule), rule }).collect()
}

/// The accounts of both drivers.
pub fn accounts() -> Vec<Account> {
    let cpi = cpi_operator::render::granted();
    let csi = csi_operator::render::granted_rules();
    let of = |name: &'static str, driver: &'static str, places: &[(Option<&'static str>, &[PolicyRule])]| {
        let its = |rules: &[PolicyRule]| {
            let its =
                |rule: &&PolicyRule| need(driver, rule).is_some_and(|need| need.accounts.contains(&name));
            granted(driver, rules.iter().filter(its).cloned().collect())
        };
        let places = places.iter().map(|(place, rules)| (*place, its(rules)));
        Account { name, driver, places: places.filter(|(_, rights)| !rights.is_empty()).collect() }
    };
    let of_csi: [(_, &[PolicyRule]); 2] = [(None, &csi.cluster), (Some(CSI_NAMESPACE), &csi.namespaced)];
    let of_cpi: [(_, &[PolicyRule]); 3] = [
        (None, &cpi.cluster),
        (Some(CPI_NAMESPACE), &cpi.driver_namespace),
        (Some(KUBE_SYSTEM), &cpi.kube_system),
    ];
    vec![of(CCM[0], CPI, &of_cpi), of(CONTROLLER, CSI, &of_csi), of(NODE, CSI, &of_csi)]
}
