//! The objects of one driver, watched by label: what a plan compares a revision with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::jiff::Timestamp;
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use vdo_api::names::DRIVER_LABEL;
use vdo_plan::driver::{Row, Rows as OwnRows};
use vdo_plan::{ObjectRef, Reading};

use crate::apply::Outcome;
use crate::client::Cluster;
use crate::clock::{Monotonic, monotonic};
use crate::configs::compare_versions;
use crate::rows::{ObjectRow, WorkloadRow};
use crate::watch::{Rows, Selector, Watches, lock};

/// How long a pass waits for the watches to show what it wrote. A watch that is slower is not believed anyway.
const CATCH_UP: Duration = Duration::from_secs(10);

/// Which driver's objects, and who made them.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The value of the driver label.
    pub driver: &'static str,
    /// The namespace of its namespaced objects; roles may be elsewhere too.
    pub namespace: &'static str,
    /// The field manager.
    pub manager: &'static str,
}

/// All objects of one driver.
pub struct OwnObjects {
    namespace: &'static str,
    /// Apart from the other kinds, for one of them is asked for by its name.
    accounts: Rows<ObjectRow>,
    rows: Vec<Rows<ObjectRow>>,
    workloads: Vec<Rows<(ObjectRow, WorkloadRow)>>,
    written: Mutex<Written>,
}

/// What we wrote and the watches may not have shown yet.
#[derive(Default)]
struct Written {
    applied: BTreeMap<ObjectRef, String>,
    since: Option<Monotonic>,
}

impl OwnObjects {
    /// Begins to watch them. `extra` adds kinds that only one driver has.
    pub fn watch(cluster: &Cluster, watches: &Watches, owner: Owner, extra: &[Extra]) -> Self {
        let kinds = Kinds { cluster, watches, owner };
        let accounts = kinds.local::<ServiceAccount>("serviceaccounts");
        let mut rows = vec![
            kinds.local::<Secret>("secrets"),
            kinds.local::<ConfigMap>("configmaps"),
            kinds.everywhere::<Role>("roles"),
            kinds.everywhere::<RoleBinding>("rolebindings"),
            kinds.everywhere::<ClusterRole>("clusterroles"),
            kinds.everywhere::<ClusterRoleBinding>("clusterrolebindings"),
        ];
        let manager = owner.manager;
        let mut workloads = vec![watches.watch(
            "daemonsets",
            Api::<DaemonSet>::namespaced(cluster.client().clone(), owner.namespace),
            kinds.selector(),
            move |it: &DaemonSet| {
                Some((ObjectRow::of::<DaemonSet>(it.meta(), manager), WorkloadRow::of_daemon_set(it)))
            },
        )];
        for kind in extra {
            match kind {
                Extra::Services => rows.push(kinds.local::<Service>("services")),
                Extra::CsiDrivers => rows.push(kinds.everywhere::<CSIDriver>("csidrivers")),
                Extra::Deployments => workloads.push(watches.watch(
                    "deployments",
                    Api::<Deployment>::namespaced(cluster.client().clone(), owner.namespace),
                    kinds.selector(),
                    move |it: &Deployment| {
                        Some((
                            ObjectRow::of::<Deployment>(it.meta(), manager),
                            WorkloadRow::of_deployment(it),
                        ))
                    },
                )),
            }
        }
        OwnObjects { namespace: owner.namespace, accounts, rows, workloads, written: Mutex::default() }
    }

    /// Every object. Unreadable while any watch is.
    pub fn reading(&self) -> Reading<OwnRows> {
        let mut found = BTreeMap::new();
        let mut add = |row: &ObjectRow| {
            let kept = Row {
                uid: row.uid.clone(),
                revision: row.revision.clone(),
                owned_fields: row.owned_fields.clone(),
            };
            found.insert(row.reference.clone(), kept);
        };
        match self.visit(&mut add) {
            Ok(()) => Reading::Present(found),
            Err(why) => Reading::Unreadable(why),
        }
    }

    /// An object that the watches still show older than we wrote it. A plan made from a view older than our own
    /// last write would do it again, or undo it; the pass waits for the watch instead.
    pub fn lagging(&self) -> Option<ObjectRef> {
        if lock(&self.written).applied.is_empty() {
            return None;
        }
        let mut versions = BTreeMap::new();
        let mut add = |row: &ObjectRow| {
            versions.insert(row.reference.clone(), row.resource_version.clone());
        };
        self.visit(&mut add).ok()?;
        self.behind(&versions)
    }

    fn visit(&self, add: &mut dyn FnMut(&ObjectRow)) -> Result<(), String> {
        let readings = [&self.accounts].into_iter().chain(&self.rows).map(Rows::all);
        let workloads = self.workloads.iter();
        let workloads = workloads
            .map(|rows| rows.with(|view| view.rows().map(|(row, _)| row.clone()).collect::<Vec<_>>()));
        for reading in readings.chain(workloads) {
            match reading {
                Reading::Present(rows) => rows.iter().for_each(&mut *add),
                Reading::Absent => {}
                Reading::Unreadable(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// How far a workload is, if it is there.
    pub fn workload(&self, kind: &str, name: &str) -> Option<WorkloadRow> {
        self.workloads.iter().find_map(|rows| {
            rows.last_seen(|view| {
                let mut all = view.rows();
                let found = all.find(|(row, _)| row.reference.kind == kind && row.reference.name == name);
                found.map(|(_, workload)| workload.clone())
            })
        })
    }

    /// When this ServiceAccount was created; `None` while it is not there, or not known.
    pub fn account_made(&self, account: &str) -> Option<Timestamp> {
        self.accounts.one(&format!("{}/{account}", self.namespace)).present()?.created
    }

    /// Remembers our own writes until the watches show them.
    pub fn note(&self, outcome: &Outcome) {
        let mut written = lock(&self.written);
        for (reference, applied) in &outcome.applied {
            written.applied.insert(reference.clone(), applied.resource_version.clone());
        }
        for reference in &outcome.deleted {
            written.applied.remove(reference);
        }
        if !outcome.applied.is_empty() {
            written.since = Some(monotonic());
        }
    }

    /// The first object that the watches show in an older version than we wrote.
    fn behind(&self, versions: &BTreeMap<ObjectRef, String>) -> Option<ObjectRef> {
        let mut written = lock(&self.written);
        if written.since.is_some_and(|since| monotonic() - since > CATCH_UP) {
            written.applied.clear();
        }
        let newer =
            |seen: &str, wrote: &str| compare_versions(seen, wrote).is_some_and(|order| order.is_ge());
        let shown: BTreeSet<ObjectRef> = written
            .applied
            .iter()
            .filter(|(reference, wrote)| versions.get(*reference).is_some_and(|seen| newer(seen, wrote)))
            .map(|(reference, _)| reference.clone())
            .collect();
        written.applied.retain(|reference, _| !shown.contains(reference));
        written.applied.keys().next().cloned()
    }
}

/// Kinds that only one driver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// Deployments.
    Deployments,
    /// Services.
    Services,
    /// Registrations of storage drivers.
    CsiDrivers,
}

struct Kinds<'a> {
    cluster: &'a Cluster,
    watches: &'a Watches,
    owner: Owner,
}

impl Kinds<'_> {
    fn selector(&self) -> Selector {
        Selector::labels(format!("{DRIVER_LABEL}={}", self.owner.driver))
    }

    fn local<K>(&self, name: &'static str) -> Rows<ObjectRow>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Send
            + Sync
            + 'static,
    {
        let api =
            Api::<PartialObjectMeta<K>>::namespaced(self.cluster.client().clone(), self.owner.namespace);
        self.watches.objects::<K>(name, api, self.selector(), self.owner.manager)
    }

    fn everywhere<K>(&self, name: &'static str) -> Rows<ObjectRow>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let api = Api::<PartialObjectMeta<K>>::all(self.cluster.client().clone());
        self.watches.objects::<K>(name, api, self.selector(), self.owner.manager)
    }
}
