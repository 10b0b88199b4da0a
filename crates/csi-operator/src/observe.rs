//! What only the storage driver's operator watches, and what a pass makes of it.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, ResourceExt};
use vdo_api::names::{CLUSTER_ID_CONFIG_MAP, CSI, CSI_DRIVER_NAME, CSI_MANAGER, CSI_NAMESPACE, KUBE_SYSTEM};
use vdo_plan::driver::{MadeBy, Rows as OwnRows, Scene};
use vdo_plan::foreign::Traces;
use vdo_plan::vcenter::VcenterFacts;
use vdo_plan::{ObjectRef, Reading};
use vdo_runtime::clock::{Monotonic, monotonic};
use vdo_runtime::driver::bearers::{Born, bearers, born, pods};
use vdo_runtime::node::{SlimCsiNode, SlimNode, node_row};
use vdo_runtime::own::{Extra, OwnObjects, Owner};
use vdo_runtime::rows::{LeaseRow, PodRow, Renewal, SlimPod, WorkloadRow};
use vdo_runtime::vcenters::VcenterWatches;
use vdo_runtime::{Cluster, Rows, Selector, Watches, volumes};

use crate::args::Args;
use crate::gcfg;
use crate::inputs::cluster_id::{DRIVERS_CONFIG_MAP, DRIVERS_KEY};
use crate::inputs::{self, ClusterIdSources, KeptRoot};
use crate::render::{CONFIG_KEY, CONTROLLER, KUBELET_VOLUME, NODE};
use crate::stages::{Crd, SYNCER_LEASE, TOPOLOGY_CRD};

/// Who makes the storage driver's objects.
pub const OWNER: Owner = Owner { driver: CSI, namespace: CSI_NAMESPACE, manager: CSI_MANAGER };
/// The configuration Secret of an installation by hand.
pub const EARLIER_SECRET: &str = "vsphere-config-secret";
/// Served together with `snapshot.storage.k8s.io/v1`.
pub const SNAPSHOT_CRD: &str = "volumesnapshotcontents.snapshot.storage.k8s.io";
/// On how many nodes the plug-in may be away at once while it is restarted for a new token.
const NODES_AT_ONCE: usize = 3;
/// How long a look at the attached volumes counts.
const ATTACHED_COUNTS: Duration = Duration::from_secs(20);
/// The key of the cluster id in our own record.
pub const CLUSTER_ID_KEY: &str = "clusterID";

/// Everything that is watched.
pub struct Watched {
    /// VsphereCloudConfigs and what they refer to.
    pub vcenters: VcenterWatches,
    /// Our own objects.
    pub own: OwnObjects,
    pods: Rows<Born>,
    /// The Lease of the driver that works.
    pub syncer: Rows<LeaseRow>,
    crds: [Rows<Crd>; 2],
    /// Whether each node is part of the control plane.
    nodes: Rows<bool>,
    /// Which nodes the driver is registered on.
    registered: Rows<()>,
    drivers_cluster_id: Rows<String>,
    earlier_secret: Rows<Option<String>>,
    kube_system: OnceLock<String>,
    /// Which volumes were attached, and when we looked.
    attached: RefCell<Option<(Monotonic, Reading<Vec<String>>)>>,
}

impl Watched {
    /// Begins to watch.
    pub fn new(cluster: &Cluster, watches: &Watches, args: &Args) -> Self {
        let client = || cluster.client().clone();
        let crd = |name: &'static str| {
            let api = Api::<CustomResourceDefinition>::all(client());
            watches.watch(name, api, Selector::name(name), |crd| Some(progress_of(crd)))
        };
        Watched {
            vcenters: VcenterWatches::watch(
                cluster,
                watches,
                &args.shared.namespace,
                &args.shared.kube_system_secrets,
            ),
            own: OwnObjects::watch(
                cluster,
                watches,
                OWNER,
                &[Extra::Deployments, Extra::Services, Extra::CsiDrivers],
            ),
            pods: watches.watch(
                "pods",
                Api::<SlimPod>::namespaced(client(), CSI_NAMESPACE),
                Selector::all(),
                |pod| Some(born(pod)),
            ),
            syncer: watches.leases(
                "the lease of the syncer",
                Api::<Lease>::namespaced(client(), CSI_NAMESPACE),
                Selector::name(SYNCER_LEASE),
            ),
            crds: [crd(TOPOLOGY_CRD), crd(SNAPSHOT_CRD)],
            nodes: watches.watch("nodes", Api::<SlimNode>::all(client()), Selector::all(), |node| {
                Some(node_row(node).control_plane)
            }),
            registered: watches.watch(
                "csinodes",
                Api::<SlimCsiNode>::all(client()),
                Selector::all(),
                |node| node.has(CSI_DRIVER_NAME).then_some(()),
            ),
            drivers_cluster_id: watches.watch(
                "the driver's own cluster id",
                Api::<ConfigMap>::namespaced(client(), CSI_NAMESPACE),
                Selector::name(DRIVERS_CONFIG_MAP),
                |map: &ConfigMap| map.data.as_ref()?.get(DRIVERS_KEY).cloned(),
            ),
            earlier_secret: watches.watch(
                "the configuration of an earlier installation",
                Api::<Secret>::namespaced(client(), CSI_NAMESPACE),
                Selector::name(EARLIER_SECRET),
                |secret: &Secret| Some(earlier_cluster_id(secret)),
            ),
            kube_system: OnceLock::new(),
            attached: RefCell::default(),
        }
    }

    fn cluster(&self) -> Reading<inputs::Cluster> {
        let snapshot_api = match self.crds[1].one(SNAPSHOT_CRD) {
            Reading::Present(Crd::Established) => Reading::Present(()),
            Reading::Present(Crd::Pending) | Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        };
        self.nodes.with(|view| inputs::Cluster {
            nodes: view.len(),
            control_plane_nodes: view.rows().filter(|control_plane| **control_plane).count(),
            kubelet_root: None,
            distribution: None,
            snapshot_api,
            kept: None,
        })
    }

    /// The root directory of the installed plug-in, if the spec names another and volumes are attached, or may be.
    async fn kept_root(&self, cluster: &Cluster, scene: &Scene, known: &inputs::Cluster) -> Option<KeptRoot> {
        let root = root_to_leave(scene, known)?;
        KeptRoot::while_attached(root, self.attachments(cluster).await)
    }

    /// What is attached, as a short time ago.
    async fn attachments(&self, cluster: &Cluster) -> Reading<Vec<String>> {
        let now = monotonic();
        let last = self.attached.borrow().clone();
        if let Some((at, attached)) = last
            && now.saturating_duration_since(at) < ATTACHED_COUNTS
        {
            return attached;
        }
        let attached = volumes::attached(cluster, CSI_DRIVER_NAME).await;
        *self.attached.borrow_mut() = Some((now, attached.clone()));
        attached
    }

    async fn cluster_id(&self, cluster: &Cluster) -> ClusterIdSources {
        let key = |name: &str| format!("{CSI_NAMESPACE}/{name}");
        ClusterIdSources {
            recorded: self.vcenters.data(CLUSTER_ID_CONFIG_MAP, CLUSTER_ID_KEY),
            drivers_own: self.drivers_cluster_id.one(&key(DRIVERS_CONFIG_MAP)),
            earlier_secret: self.earlier_secret.one(&key(EARLIER_SECRET)).and_then(Reading::from),
            kube_system: self.kube_system_uid(cluster).await,
        }
    }

    /// The UID of `kube-system`, which never changes: read once.
    async fn kube_system_uid(&self, cluster: &Cluster) -> Reading<String> {
        if let Some(uid) = self.kube_system.get() {
            return Reading::Present(uid.clone());
        }
        match cluster.read(Api::<Namespace>::all(cluster.client().clone()).get_metadata(KUBE_SYSTEM)).await {
            Ok(namespace) => match namespace.uid() {
                Some(uid) => Reading::Present(self.kube_system.get_or_init(|| uid).clone()),
                None => Reading::Unreadable("it has no UID".to_owned()),
            },
            Err(fault) => Reading::Unreadable(fault.to_string()),
        }
    }
}

/// Below which directory the plug-in of the installed revision mounts volumes.
pub fn installed_root(scene: &Scene) -> Option<String> {
    let view = scene.view();
    let installed = view.records.csi.installed.as_ref().or(scene.journal.installed.as_ref())?;
    let revision = scene.journal.revision(&installed.id)?;
    let is_plug_in = |it: &ObjectRef| it.kind == "DaemonSet" && it.name == NODE;
    let plug_in = revision.objects().find(|object| is_plug_in(object.reference()))?;
    let volumes = plug_in.value().pointer("/spec/template/spec/volumes")?.as_array()?;
    let root = volumes.iter().find(|volume| volume["name"] == KUBELET_VOLUME)?.pointer("/hostPath/path")?;
    root.as_str().map(str::to_owned)
}

/// That directory, if the spec names another one.
pub fn root_to_leave(scene: &Scene, known: &inputs::Cluster) -> Option<String> {
    installed_root(scene).filter(|root| root != inputs::kubelet_root(&scene.config.spec, known))
}

/// How far a CRD is.
pub fn progress_of(crd: &CustomResourceDefinition) -> Crd {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let established = conditions.any(|it| it.type_ == "Established" && it.status == "True");
    if established { Crd::Established } else { Crd::Pending }
}

/// The cluster id in the Secret of an installation by hand; nothing else of it is kept.
pub fn earlier_cluster_id(secret: &Secret) -> Option<String> {
    let content = secret.data.as_ref()?.get(CONFIG_KEY)?;
    let text = std::str::from_utf8(&content.0).ok()?;
    gcfg::parse(text).ok()?.cluster_id().map(str::to_owned)
}

/// What the storage driver looks like from outside.
#[derive(Clone, Debug)]
pub struct Site {
    /// The Deployment of its controller.
    pub controller: Option<WorkloadRow>,
    /// The DaemonSet of its node plug-in.
    pub node: Option<WorkloadRow>,
    /// Its pods.
    pub pods: Reading<Vec<PodRow>>,
    /// The CRD that the syncer creates.
    pub topology_crd: Reading<Crd>,
    /// Whether a syncer renews its Lease.
    pub syncer_lease: Reading<Renewal>,
    /// How many nodes there are, and which of them the driver is not registered on.
    pub unregistered: Reading<(usize, Vec<String>)>,
    /// Which nodes the driver is registered on.
    pub registered: Reading<Vec<String>>,
}

/// Everything that one pass decides on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What both drivers have in common.
    pub scene: Scene,
    /// The vCenter of the spec, if it asks for storage.
    pub vcenter: Option<VcenterFacts>,
    /// What is known of the cluster.
    pub cluster: inputs::Cluster,
    /// Where a cluster id may be found.
    pub cluster_id: ClusterIdSources,
    /// The driver from outside.
    pub site: Site,
}

impl AsRef<Scene> for Observed {
    fn as_ref(&self) -> &Scene {
        &self.scene
    }
}

impl AsMut<Scene> for Observed {
    fn as_mut(&mut self) -> &mut Scene {
        &mut self.scene
    }
}

/// Completes what both drivers have in common. `None` while the nodes were not listed yet.
pub async fn observe(cluster: &Cluster, watched: &Watched, mut scene: Scene) -> Option<Observed> {
    let mut known = watched.cluster().present().cloned()?;
    known.kept = watched.kept_root(cluster, &scene, &known).await;
    if scene.is_leaving() {
        scene.volumes = volumes::needing(cluster, CSI_DRIVER_NAME).await;
    }
    let all = watched.pods.all();
    // Without its token a controller does nothing; a plug-in goes on to mount what is known.
    scene.bearers = vec![
        bearers(&watched.own, CONTROLLER, usize::MAX, MadeBy::Deployment(CONTROLLER), &all),
        bearers(&watched.own, NODE, NODES_AT_ONCE, MadeBy::DaemonSet(NODE), &all),
    ];
    let vcenter = scene.config.spec.csi_vcenters().first().map(|name| watched.vcenters.facts(name));
    Some(Observed {
        scene,
        vcenter,
        cluster: known,
        cluster_id: watched.cluster_id(cluster).await,
        site: site(watched, pods(all), monotonic()),
    })
}

fn site(watched: &Watched, pods: Reading<Vec<PodRow>>, now: Monotonic) -> Site {
    let registered =
        watched.registered.with(|view| view.iter().map(|(name, ())| name.to_owned()).collect::<Vec<_>>());
    let unregistered = watched.nodes.with(|nodes| {
        let known = watched.registered.last_seen(|view| {
            let missing = nodes.iter().map(|(name, _)| name).filter(|name| view.of(name).is_none());
            missing.map(str::to_owned).collect::<Vec<_>>()
        });
        (nodes.len(), known)
    });
    Site {
        controller: watched.own.workload("Deployment", CONTROLLER),
        node: watched.own.workload("DaemonSet", NODE),
        pods,
        topology_crd: watched.crds[0].one(TOPOLOGY_CRD),
        syncer_lease: watched.syncer.with(|view| view.renewal(now)),
        unregistered,
        registered,
    }
}

/// A node on which a build of the driver is registered is a trace of it; of ours, if ours is here. Then the journal was
/// lost, with the namespace of the operators for example, and what it knew of is taken back.
pub fn add_traces(observed: &Observed, traces: &mut Traces) {
    if has_node_plugin(&observed.scene.rows) {
        return;
    }
    match (&mut traces.others, &observed.site.registered) {
        (Reading::Present(found), Reading::Present(nodes)) => {
            found.extend(nodes.iter().map(|node| ObjectRef {
                api_version: "storage.k8s.io/v1".to_owned(),
                kind: "CSINode".to_owned(),
                namespace: None,
                name: node.clone(),
            }))
        }
        (Reading::Present(_), Reading::Unreadable(why)) => traces.others = Reading::Unreadable(why.clone()),
        (_, _) => {}
    }
}

/// Whether what registers the driver on nodes bears our label.
fn has_node_plugin(rows: &Reading<OwnRows>) -> bool {
    let is_it = |it: &ObjectRef| it.kind == "DaemonSet" && it.name == NODE;
    rows.present().is_some_and(|rows| rows.keys().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_plan::driver::Row;

    #[test]
    fn nodes_are_registered_by_our_driver_where_the_plug_in_bears_our_label() {
        let object = |kind: &str, name: &str| ObjectRef {
            api_version: "apps/v1".to_owned(),
            kind: kind.to_owned(),
            namespace: Some(CSI_NAMESPACE.to_owned()),
            name: name.to_owned(),
        };
        let row = || Row { uid: "u".to_owned(), revision: None, owned_fields: None };
        let rows = |object: ObjectRef| Reading::Present(OwnRows::from([(object, row())]));

        assert!(has_node_plugin(&rows(object("DaemonSet", NODE))));
        assert!(!has_node_plugin(&rows(object("Deployment", CONTROLLER))));
        assert!(!has_node_plugin(&Reading::Present(OwnRows::new())));
        assert!(!has_node_plugin(&Reading::Unreadable("refused".to_owned())));
    }
}
