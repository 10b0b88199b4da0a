//! What only the cloud provider's operator watches, and what a pass makes of it.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use vdo_api::names::{CPI, CPI_MANAGER, CPI_NAMESPACE, CSI_NAMESPACE, KUBE_SYSTEM};
use vdo_plan::Reading;
use vdo_plan::driver::{MadeBy, Scene};
use vdo_plan::order::Look;
use vdo_plan::vcenter::VcenterFacts;
use vdo_runtime::clock::{Monotonic, monotonic};
use vdo_runtime::driver::bearers::{Born, bearers, born, pods};
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::rows::{LeaseRow, PodRow, Renewal, SlimPod, WorkloadRow};
use vdo_runtime::vcenters::VcenterWatches;
use vdo_runtime::{Cluster, Rows, Selector, Watches, traces};

use crate::args::Args;
use crate::render::{ACCOUNT, DAEMON_SET, LEASE};

/// Who makes the cloud provider's objects.
pub const OWNER: Owner = Owner { driver: CPI, namespace: CPI_NAMESPACE, manager: CPI_MANAGER };

/// Everything that is watched.
pub struct Watched {
    /// VsphereCloudConfigs and what they refer to.
    pub vcenters: VcenterWatches,
    /// Our own objects.
    pub own: OwnObjects,
    pods: Rows<Born>,
    /// The Lease of the driver that works.
    pub lease: Rows<LeaseRow>,
}

impl Watched {
    /// Begins to watch.
    pub fn new(cluster: &Cluster, watches: &Watches, args: &Args) -> Self {
        let client = || cluster.client().clone();
        Watched {
            vcenters: VcenterWatches::watch(
                cluster,
                watches,
                &args.shared.namespace,
                &args.shared.kube_system_secrets,
            ),
            own: OwnObjects::watch(cluster, watches, OWNER, &[]),
            pods: watches.watch(
                "pods",
                Api::<SlimPod>::namespaced(client(), CPI_NAMESPACE),
                Selector::all(),
                |pod| Some(born(pod)),
            ),
            lease: watches.leases(
                "the lease of the cloud provider",
                Api::<Lease>::namespaced(client(), KUBE_SYSTEM),
                Selector::name(LEASE),
            ),
        }
    }
}

/// What the cloud provider looks like from outside.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its DaemonSet.
    pub daemon_set: Option<WorkloadRow>,
    /// Its pods.
    pub pods: Reading<Vec<PodRow>>,
    /// Whether somebody renews its Lease.
    pub lease: Renewal,
}

/// Everything that one pass decides on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What both drivers have in common.
    pub scene: Scene,
    /// The vCenters of the spec.
    pub vcenters: Vec<VcenterFacts>,
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

/// Completes what both drivers have in common.
pub async fn observe(cluster: &Cluster, watched: &Watched, mut scene: Scene) -> Observed {
    if scene.is_leaving() {
        scene.others = look_for_csi(cluster).await;
    }
    let vcenters = scene.config.spec.cpi_vcenters().iter().map(|name| watched.vcenters.facts(name)).collect();
    let all = watched.pods.all();
    // None of them can do anything any more: all at once.
    let of_set = MadeBy::DaemonSet(DAEMON_SET);
    scene.bearers = vec![bearers(&watched.own, ACCOUNT, usize::MAX, of_set, &all)];
    Observed { scene, vcenters, site: site(watched, pods(all), monotonic()) }
}

fn site(watched: &Watched, pods: Reading<Vec<PodRow>>, now: Monotonic) -> Site {
    Site {
        daemon_set: watched.own.workload("DaemonSet", DAEMON_SET),
        pods,
        lease: watched.lease.last_seen(|view| view.renewal(now)),
    }
}

/// The second look before CPI is removed: objects of CSI that bear our label.
async fn look_for_csi(cluster: &Cluster) -> Look {
    match traces::any_labelled(cluster, CSI_NAMESPACE, vdo_api::names::CSI).await {
        Ok(true) => Look::Something,
        Ok(false) => Look::Nothing,
        Err(fault) => {
            tracing::warn!(%fault, "objects of CSI could not be listed");
            Look::Unreadable
        }
    }
}
