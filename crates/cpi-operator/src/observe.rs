//! Everything that a pass reads: the VDOConfig and the journal live, the rest from the watches.

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use vdo_api::VDOConfig;
use vdo_api::names::{CPI, CPI_MANAGER, CPI_NAMESPACE, CSI_NAMESPACE, KUBE_SYSTEM};
use vdo_compat::Driver;
use vdo_plan::driver::Scene;
use vdo_plan::foreign::Traces;
use vdo_plan::order::Look;
use vdo_plan::vcenter::VcenterFacts;
use vdo_plan::{ObjectRef, Reading};
use vdo_runtime::clock::{Monotonic, monotonic, wall};
use vdo_runtime::journal::{JournalStore, Stored};
use vdo_runtime::own::{OwnObjects, Owner};
use vdo_runtime::rows::{LeaseRow, PodRow, SlimPod, WorkloadRow, pod_row};
use vdo_runtime::vcenters::VcenterWatches;
use vdo_runtime::{Cluster, PassError, Rows, Selector, Standing, Watches, status, traces};

use crate::args::Args;
use crate::plan;
use crate::releases::is_image;
use crate::render::{DAEMON_SET, LEASE};

/// Who makes the cloud provider's objects.
pub const OWNER: Owner = Owner { driver: CPI, namespace: CPI_NAMESPACE, manager: CPI_MANAGER };

/// Everything that is watched.
pub struct Watched {
    /// Only their changes count; they are read live.
    _configs: Rows<Option<String>>,
    /// VsphereCloudConfigs and what they refer to.
    pub vcenters: VcenterWatches,
    /// Our own objects.
    pub own: OwnObjects,
    lookout: traces::Lookout,
    pods: Rows<PodRow>,
    lease: Rows<LeaseRow>,
}

impl Watched {
    /// Begins to watch.
    pub fn new(cluster: &Cluster, watches: &Watches, args: &Args) -> Self {
        let client = || cluster.client().clone();
        Watched {
            _configs: watches.watch_guarded(
                "vdoconfigs",
                Api::<DeserializeGuard<VDOConfig>>::namespaced(client(), &args.shared.namespace),
                Selector::all(),
                |config| Some(config.ok().and_then(ResourceExt::resource_version)),
            ),
            vcenters: VcenterWatches::watch(
                cluster,
                watches,
                &args.shared.namespace,
                &args.shared.kube_system_secrets,
            ),
            lookout: traces::Lookout::new(CPI, is_image),
            own: OwnObjects::watch(cluster, watches, OWNER, &[]),
            pods: watches.watch(
                "pods",
                Api::<SlimPod>::namespaced(client(), CPI_NAMESPACE),
                Selector::all(),
                |pod| Some(pod_row(pod)),
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
    /// Whether somebody holds its Lease and renews it.
    pub lease_is_fresh: bool,
}

/// Everything that one pass decides on.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What both drivers have in common.
    pub scene: Scene,
    /// The vCenters of the spec.
    pub vcenters: Vec<VcenterFacts>,
    /// What was looked for before the first write; `None` once something of ours is there.
    pub traces: Option<Traces>,
    /// The driver from outside.
    pub site: Site,
}

/// What a pass needs besides: the versions that its writes carry.
pub struct Snapshot {
    /// What is decided on.
    pub observed: Observed,
    /// The journal with its version.
    pub journal: Stored,
}

/// Reads everything. `None` when no VDOConfig is there, or when a watch does not yet show our own last write.
pub async fn observe(
    cluster: &Cluster,
    watched: &Watched,
    store: &JournalStore,
    args: &Args,
    standing: Standing,
) -> Result<Option<Snapshot>, PassError> {
    if let Some(object) = watched.own.lagging() {
        tracing::debug!(%object, "waits for the watch to show our own write");
        return Ok(None);
    }
    let config = status::fetch_active(cluster, &args.shared.namespace)
        .await
        .map_err(PassError::observe("the VDOConfigs"))?;
    let Some(config) = config else { return Ok(None) };
    let journal = store.fetch().await.map_err(|error| PassError::Observe {
        object: "the journal".to_owned(),
        source: error.into_fault(),
    })?;
    let vcenters = config.spec.cpi_vcenters().iter().map(|name| watched.vcenters.facts(name)).collect();
    let leaving = config.metadata.deletion_timestamp.is_some() || !config.spec.wants_cpi();
    let scene = Scene {
        driver: Driver::Cpi,
        now: wall(),
        holder: args.shared.pod_name.clone(),
        deadline_seconds: args.rollout_deadline_seconds,
        journal: journal.journal.clone(),
        rows: watched.own.reading(),
        others: if leaving { look_for_csi(cluster).await } else { Look::Nothing },
        volumes: Reading::Absent,
        quarantined: standing.is_quarantined(),
        config,
    };
    let site = site(watched, monotonic());
    let mut observed = Observed { scene, vcenters, traces: None, site };
    if plan::is_first(&observed) {
        observed.traces = Some(look_around(cluster, watched, &observed).await);
    }
    Ok(Some(Snapshot { observed, journal }))
}

fn site(watched: &Watched, now: Monotonic) -> Site {
    Site {
        daemon_set: watched.own.workload("DaemonSet", DAEMON_SET),
        pods: watched.pods.all(),
        lease_is_fresh: watched.lease.last_seen(|view| view.rows().any(|lease| lease.is_fresh(now))),
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

/// Before the first write: who else is here, and are the names free?
async fn look_around(cluster: &Cluster, watched: &Watched, observed: &Observed) -> Traces {
    watched.lookout.look(cluster, targets(observed)).await
}

/// The objects that the first roll-out would write.
fn targets(observed: &Observed) -> Vec<ObjectRef> {
    let wanted = plan::render(observed).wanted;
    wanted
        .iter()
        .flat_map(|revision| revision.objects().map(|o| o.reference().clone()).collect::<Vec<_>>())
        .collect()
}
