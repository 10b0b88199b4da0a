//! Puts together what a pass decides on, as the operators do from their watches. Nothing here writes.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt};
use vdo_api::VDOConfig;
use vdo_api::names::{CLUSTER_ID_CONFIG_MAP, CPI_NAMESPACE, CSI_DRIVER_NAME, CSI_NAMESPACE, KUBE_SYSTEM};
use vdo_compat::Driver;
use vdo_plan::driver::{MadeBy, Plan, Rendered, Repair, Scene};
use vdo_plan::foreign::{Platform, Traces};
use vdo_plan::journal::Journal;
use vdo_plan::order::Look;
use vdo_plan::{Finding, ObjectRef, Reading, Verdict};
use vdo_runtime::configs::fetch_active;
use vdo_runtime::driver::bearers::{Born, pods};
use vdo_runtime::journal::JournalStore;
use vdo_runtime::node::{SlimNode, node_row};
use vdo_runtime::own::{Extra, Owner};
use vdo_runtime::rows::WorkloadRow;
use vdo_runtime::traces::{Lookout, Need, any_labelled};
use vdo_runtime::{Cluster, KubeFault, ending, volumes};

use super::decide::decide;
use super::read::{Own, Reader, Right, is_stand_in};
use super::{DriverPlan, PlanReport};
use crate::progress::Progress;

/// How the journal was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// As the operator has it.
    Read,
    /// There is none yet; its key will be a random one.
    NotMade,
    /// It could not be read.
    Unread,
}

/// What a pass decides on, with what it was made of.
#[derive(Clone, Debug)]
pub struct Sight<O> {
    /// What the operator would have observed.
    pub observed: O,
    /// Its objects.
    pub own: Own,
    /// How the journal was read.
    pub kept: Kept,
    /// Who makes the objects.
    pub owner: Owner,
    /// Whether the credentials of a vCenter were made up.
    pub credentials_unread: bool,
}

/// What is asked of the operators' own libraries.
pub trait Decides: Clone + AsRef<Scene> + AsMut<Scene> {
    /// What the wanted and the fallback release render to.
    fn render(&self) -> Rendered;
    /// Decides as the operator does.
    fn plan(&self) -> Plan;
    /// Decides on these revisions, which nothing stands in the way of.
    fn plan_on(&self, rendered: &Rendered) -> Plan;
    /// The cluster id that is recorded before anything else is written, and whether it comes from a Secret.
    fn cluster_id(&self, _plan: &Plan) -> Option<(String, bool)> {
        None
    }
}

impl Decides for cpi_operator::observe::Observed {
    fn render(&self) -> Rendered {
        cpi_operator::plan::render(self)
    }

    fn plan(&self) -> Plan {
        cpi_operator::plan::plan(self)
    }

    fn plan_on(&self, rendered: &Rendered) -> Plan {
        let judgement = cpi_operator::stages::Judgement::of(self);
        Plan::new(&self.scene, &judgement, cpi_operator::checks::run(self), rendered)
    }
}

impl Decides for csi_operator::observe::Observed {
    fn render(&self) -> Rendered {
        csi_operator::plan::render(self)
    }

    fn plan(&self) -> Plan {
        csi_operator::plan::plan(self)
    }

    fn plan_on(&self, rendered: &Rendered) -> Plan {
        let is_advice = |it: &Finding| {
            it.verdict == Verdict::Advise && csi_operator::reasons::ALL.iter().any(|known| known == it.reason)
        };
        let advice = self.plan().findings.into_iter().filter(is_advice).collect();
        Plan::new(&self.scene, &csi_operator::judge::Judgement::of(self), advice, rendered)
    }

    fn cluster_id(&self, plan: &Plan) -> Option<(String, bool)> {
        let id = csi_operator::plan::cluster_id_to_record(self, plan)?;
        let from_secret = self.cluster_id.earlier_secret.present() == Some(&id)
            && self.cluster_id.drivers_own.present() != Some(&id);
        Some((id, from_secret))
    }
}

/// The whole plan.
pub async fn report(
    cluster: &Cluster,
    namespace: &str,
    now: Timestamp,
    progress: &Progress,
) -> Result<PlanReport> {
    progress.say("reading the VDOConfig");
    let config = match fetch_active(cluster, namespace).await {
        Err(KubeFault::NotFound { .. }) => {
            return Ok(PlanReport::nothing(
                "Nothing to change: VDO is not installed in this cluster".to_owned(),
            ));
        }
        config => config.with_context(|| {
            format!("cannot read the VDOConfigs (it takes the right to list vdoconfigs in {namespace})")
        })?,
    };
    let Some(config) = config else {
        return Ok(PlanReport::nothing(format!(
            "Nothing to change: no VDOConfig is in namespace {namespace}"
        )));
    };
    let reader = Reader::new(cluster, namespace, now, progress);
    let vcenters = reader.vcenters().await?;
    let mut drivers: Vec<DriverPlan> = Vec::new();
    let mut cpi = Common::read(&reader, Driver::Cpi, &config).await?;
    if cpi.is_concerned() {
        let mut facts = Vec::new();
        for name in config.spec.cpi_vcenters() {
            facts.push(reader.facts(&vcenters, name).await?);
        }
        let sight = cpi_sight(&reader, &mut cpi, facts).await?;
        drivers.push(decide(sight, &reader).await?);
    }
    let mut csi = Common::read(&reader, Driver::Csi, &config).await?;
    if csi.is_concerned() {
        let facts = match config.spec.csi_vcenters().first() {
            Some(name) => Some(reader.facts(&vcenters, name).await?),
            None => None,
        };
        let sight = csi_sight(&reader, &mut csi, facts).await?;
        drivers.push(decide(sight, &reader).await?);
    }
    Ok(PlanReport::of(format!("{namespace}/{}", config.name_any()), drivers, reader.unread()))
}

/// What both drivers have in common.
struct Common {
    scene: Scene,
    own: Own,
    kept: Kept,
    owner: Owner,
    pods: Reading<Vec<Born>>,
}

impl Common {
    async fn read(reader: &Reader<'_>, driver: Driver, config: &VDOConfig) -> Result<Common> {
        let (owner, extra): (Owner, &[Extra]) = match driver {
            Driver::Cpi => (cpi_operator::observe::OWNER, &[]),
            Driver::Csi => {
                (csi_operator::observe::OWNER, &[Extra::Deployments, Extra::Services, Extra::CsiDrivers])
            }
        };
        let (journal, kept) = journal(reader, owner).await?;
        let own = reader.own(owner, extra).await?;
        let pods = reader.pods(owner.namespace).await?;
        let scene = Scene {
            driver,
            config: config.clone(),
            now: reader.now,
            holder: String::new(),
            deadline_seconds: 600,
            journal,
            rows: Reading::Present(own.rows.clone()),
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: None,
            quarantined: false,
            ending: ending(reader, config).await,
            // How long a roll-out has worked, and who fought over what, only the operator remembers.
            steady: false,
            fresh: false,
            contested: Default::default(),
            repair: Repair::Idle,
            bearers: Vec::new(),
        };
        Ok(Common { scene, own, kept, owner, pods })
    }

    /// Whether the driver is wanted, or anything of it is there.
    fn is_concerned(&self) -> bool {
        let view = self.scene.view();
        let driver = self.scene.driver;
        *view.wants.of(driver)
            || *view.finalizer.of(driver)
            || view.records.of(driver).occupied()
            || !self.own.rows.is_empty()
    }

    fn sight<O>(&self, observed: O, credentials_unread: bool) -> Sight<O> {
        Sight { observed, own: self.own.clone(), kept: self.kept, owner: self.owner, credentials_unread }
    }
}

/// The journal, or one with the key that would be made for it.
async fn journal(reader: &Reader<'_>, owner: Owner) -> Result<(Journal, Kept)> {
    reader.progress.say(format!("reading the journal of {}", owner.driver.to_uppercase()));
    let right = Right {
        verb: "get",
        resource: "secrets",
        namespace: Some(reader.namespace),
        assumed: "what was applied is not known, so what is there is compared with what this program renders",
    };
    let store = JournalStore::new(reader.cluster, reader.namespace, owner.driver, owner.manager);
    match store.fetch().await {
        Ok(stored) => {
            let kept = if stored.exists() { Kept::Read } else { Kept::NotMade };
            Ok((stored.journal, kept))
        }
        Err(error) => {
            let allowed = error.fault().is_some_and(|fault| !matches!(fault, KubeFault::Forbidden { .. }));
            if allowed {
                return Err(error.into_fault()).context("cannot read the journal");
            }
            let why = error.fault().map_or_else(|| error.to_string(), ToString::to_string);
            reader.note(&right, &why);
            Ok((Journal { hmac_key: vec![0; 32], ..Journal::default() }, Kept::Unread))
        }
    }
}

/// Whether VDO itself is being deleted.
async fn ending(reader: &Reader<'_>, config: &VDOConfig) -> Look {
    if config.metadata.deletion_timestamp.is_none() {
        return Look::Nothing;
    }
    match ending::look(reader.cluster, reader.namespace).await {
        Look::Unreadable => {
            let right = Right {
                verb: "get",
                resource: "customresourcedefinitions and namespaces",
                namespace: None,
                assumed: "VDO itself is taken to stay",
            };
            reader.note(&right, "whether VDO itself is being deleted could not be read");
            Look::Nothing
        }
        look => look,
    }
}

async fn cpi_sight(
    reader: &Reader<'_>,
    common: &mut Common,
    vcenters: Vec<vdo_plan::vcenter::VcenterFacts>,
) -> Result<Sight<cpi_operator::observe::Observed>> {
    use cpi_operator::render::{ACCOUNT, DAEMON_SET, LEASE};
    let mut scene = common.scene.clone();
    if scene.is_leaving() {
        let right = Right {
            verb: "list",
            resource: "daemonsets, deployments and configmaps",
            namespace: Some(CSI_NAMESPACE),
            assumed: "CPI stays",
        };
        let found = any_labelled(reader.cluster, CSI_NAMESPACE, vdo_api::names::CSI).await;
        scene.others = match reader.known(&right, found)? {
            Reading::Present(true) => Look::Something,
            Reading::Present(false) | Reading::Absent => Look::Nothing,
            Reading::Unreadable(_) => Look::Unreadable,
        };
    }
    scene.bearers = vec![common.own.bearers(ACCOUNT, MadeBy::DaemonSet(DAEMON_SET), &common.pods)];
    let daemon_set = common.own.workload("DaemonSet", DAEMON_SET);
    let site = cpi_operator::observe::Site {
        daemon_set: daemon_set.map(|it| WorkloadRow::of_daemon_set(&it)),
        pods: pods(common.pods.clone()),
        lease: reader.renewal(KUBE_SYSTEM, LEASE).await?,
    };
    let unread = vcenters.iter().any(is_stand_in);
    let mut observed = cpi_operator::observe::Observed { scene, vcenters, site };
    look_around(reader, &mut observed, CPI_NAMESPACE, cpi_operator::releases::is_image, |_, _| {}).await;
    Ok(common.sight(observed, unread))
}

async fn csi_sight(
    reader: &Reader<'_>,
    common: &mut Common,
    vcenter: Option<vdo_plan::vcenter::VcenterFacts>,
) -> Result<Sight<csi_operator::observe::Observed>> {
    use csi_operator::inputs::{self, KeptRoot};
    use csi_operator::observe::{SNAPSHOT_CRD, progress_of, root_to_leave};
    use csi_operator::render::{CONTROLLER, NODE};
    use csi_operator::stages::{Crd, SYNCER_LEASE, TOPOLOGY_CRD};
    let mut scene = common.scene.clone();
    let volumes_right = Right {
        verb: "list",
        resource: "persistentvolumes, volumeattachments and volumesnapshotcontents",
        namespace: None,
        assumed: "volumes are taken to be there",
    };
    if scene.is_leaving() {
        reader.progress.say("reading the volumes");
        scene.volumes = volumes::needing(reader.cluster, CSI_DRIVER_NAME).await;
        if let Reading::Unreadable(why) = &scene.volumes {
            reader.note(&volumes_right, why);
        }
    }
    scene.bearers = vec![
        common.own.bearers(CONTROLLER, MadeBy::Deployment(CONTROLLER), &common.pods),
        common.own.bearers(NODE, MadeBy::DaemonSet(NODE), &common.pods),
    ];
    let client = || reader.cluster.client().clone();
    let crd = |name: &'static str, assumed: &'static str| async move {
        let right = Right { verb: "get", resource: "customresourcedefinitions", namespace: None, assumed };
        let found = reader.one(Api::<CustomResourceDefinition>::all(client()), name, &right).await?;
        anyhow::Ok(found.map(|crd| progress_of(&crd)))
    };
    let snapshot_api = match crd(SNAPSHOT_CRD, "snapshots are taken not to be served").await? {
        Reading::Present(Crd::Established) => Reading::Present(()),
        Reading::Present(Crd::Pending) | Reading::Absent | Reading::Unreadable(_) => Reading::Absent,
    };
    let topology_crd = crd(TOPOLOGY_CRD, "the topology CRD is taken to be served").await?;
    let right =
        Right { verb: "list", resource: "nodes", namespace: None, assumed: "one controller is planned" };
    let api = Api::<SlimNode>::all(client());
    let nodes = reader.all(api, &right, |node| Some(node_row(node))).await?;
    let right = Right {
        verb: "list",
        resource: "csinodes",
        namespace: None,
        assumed: "the driver is taken to be registered on every node",
    };
    let registered = reader.all(Api::<CSINode>::all(client()), &right, |node: &CSINode| {
        let ours = node.spec.drivers.iter().any(|driver| driver.name == CSI_DRIVER_NAME);
        ours.then(|| node.name_any())
    });
    let registered = registered.await?;
    let rows = nodes.present().cloned().unwrap_or_default();
    let missing = match registered.present() {
        Some(names) => rows.iter().map(|row| row.name.to_string()).filter(|it| !names.contains(it)).collect(),
        None => Vec::new(),
    };
    let mut known = inputs::Cluster {
        nodes: rows.len(),
        control_plane_nodes: rows.iter().filter(|row| row.control_plane).count(),
        kubelet_root: None,
        distribution: None,
        snapshot_api,
        kept: None,
    };
    if let Some(root) = root_to_leave(&scene, &known) {
        let attached = volumes::attached(reader.cluster, CSI_DRIVER_NAME).await;
        if let Reading::Unreadable(why) = &attached {
            reader.note(&volumes_right, why);
        }
        known.kept = KeptRoot::while_attached(root, attached);
    }
    let site = csi_operator::observe::Site {
        controller: common.own.workload("Deployment", CONTROLLER).map(|it| WorkloadRow::of_deployment(&it)),
        node: common.own.workload("DaemonSet", NODE).map(|it| WorkloadRow::of_daemon_set(&it)),
        pods: pods(common.pods.clone()),
        topology_crd: match topology_crd {
            Reading::Unreadable(_) => Reading::Present(Crd::Established),
            found => found,
        },
        syncer_lease: Reading::Present(reader.renewal(CSI_NAMESPACE, SYNCER_LEASE).await?),
        unregistered: Reading::Present((rows.len(), missing)),
        registered: match registered {
            Reading::Unreadable(_) => Reading::Present(Vec::new()),
            found => found,
        },
    };
    let unread = vcenter.as_ref().is_some_and(is_stand_in);
    let cluster_id = cluster_id(reader).await?;
    let mut observed = csi_operator::observe::Observed { scene, vcenter, cluster: known, cluster_id, site };
    let add = csi_operator::observe::add_traces;
    look_around(reader, &mut observed, CSI_NAMESPACE, csi_operator::releases::is_image, add).await;
    Ok(common.sight(observed, unread))
}

/// Where a cluster id may be found.
async fn cluster_id(reader: &Reader<'_>) -> Result<csi_operator::inputs::ClusterIdSources> {
    use csi_operator::inputs::cluster_id::{DRIVERS_CONFIG_MAP, DRIVERS_KEY};
    use csi_operator::observe::{CLUSTER_ID_KEY, EARLIER_SECRET, earlier_cluster_id};
    let client = || reader.cluster.client().clone();
    let right = Right {
        verb: "get",
        resource: "secrets",
        namespace: Some(CSI_NAMESPACE),
        assumed: "no earlier installation is taken to have left a cluster id",
    };
    let recorded = reader.data(reader.namespace, CLUSTER_ID_CONFIG_MAP, CLUSTER_ID_KEY).await?;
    // What is recorded wins, so that the Secret of an earlier installation need not be asked for.
    let earlier_secret = match recorded {
        Reading::Present(_) => Reading::Absent,
        _ => match reader
            .one(Api::<Secret>::namespaced(client(), CSI_NAMESPACE), EARLIER_SECRET, &right)
            .await?
        {
            Reading::Present(secret) => Reading::from(earlier_cluster_id(&secret)),
            Reading::Absent | Reading::Unreadable(_) => Reading::Absent,
        },
    };
    let right = Right {
        verb: "get",
        resource: "namespaces",
        namespace: None,
        assumed: "nothing that needs the cluster id can be rendered",
    };
    let system = reader.one(Api::<Namespace>::all(client()), KUBE_SYSTEM, &right).await?;
    Ok(csi_operator::inputs::ClusterIdSources {
        recorded,
        drivers_own: reader.data(CSI_NAMESPACE, DRIVERS_CONFIG_MAP, DRIVERS_KEY).await?,
        earlier_secret,
        kube_system: system.and_then(|it| Reading::from(it.uid())),
    })
}

/// Before a first write: who else is here, and are the names free?
async fn look_around<O: Decides>(
    reader: &Reader<'_>,
    observed: &mut O,
    namespace: &str,
    is_image: fn(&str) -> bool,
    add: impl Fn(&O, &mut Traces),
) {
    if !observed.as_ref().is_first() {
        return;
    }
    reader.progress.say(format!("looking for other installations, and for the names in {namespace}"));
    let wanted = observed.render().wanted;
    let targets: Vec<ObjectRef> =
        wanted.iter().flat_map(|it| it.objects()).map(|object| object.reference().clone()).collect();
    let driver = vdo_plan::revision::slug(observed.as_ref().driver);
    let mut traces = Lookout::new(driver, is_image).look(reader.cluster, targets, Need::Certainty).await;
    let assumed = "no other installation is taken to be here";
    let right = |resource: &'static str| Right { verb: "list", resource, namespace: None, assumed };
    if let Reading::Unreadable(why) = &traces.platform {
        reader.note(&Right { verb: "get", ..right("infrastructures") }, why);
        traces.platform = Reading::Present(Platform::Plain);
    }
    if let Reading::Unreadable(why) = &traces.others {
        reader.note(&right("daemonsets and deployments"), why);
        traces.others = Reading::Present(Vec::new());
    }
    if let Reading::Unreadable(why) = &traces.taken {
        reader.note(&Right { verb: "get", ..right("the objects that would be written") }, why);
        traces.taken = Reading::Present(Vec::new());
    }
    add(observed, &mut traces);
    observed.as_mut().traces = Some(traces);
}
