//! Everything that a pass reads: from the watches, and the VDOConfigs now and then live.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::{ApiResource, DeserializeGuard, DynamicObject};
use kube::{Api, ResourceExt};
use vdo_api::names::{CPI_MANAGER, CSI_MANAGER, MATRIX_CONFIG_MAPS};
use vdo_api::{CompatibilityConfig, CompatibilityConfigSpec, VDOConfig, VsphereCloudConfig};
use vdo_plan::Reading;
use vdo_plan::order::PerDriver;
use vdo_runtime::clock::{Monotonic, monotonic};
use vdo_runtime::node::NodeRow;
use vdo_runtime::rows::{LeaseRow, Renewal};
use vdo_runtime::vcenters::VcenterWatches;
use vdo_runtime::{Cluster, PassError, Rows, Selector, Watches, status};

use crate::args::Args;
use crate::configs::{Ahead, Found, Row};
use crate::order::matrix::Sources;
use crate::order::sum::Pulse;
use crate::strays::{Kind, Stray, admitted};

/// How often the version of the API server is read.
const VERSION_AGE: Duration = Duration::from_secs(300);
/// How long the first lists are waited for before something is said without them.
const FIRST_LISTS: Duration = Duration::from_secs(15);
/// How long an operator may take to get its Lease after we began to look.
const FIRST_LEASE: Duration = Duration::from_secs(60);

/// Everything that is watched.
pub struct Watched {
    /// All VDOConfigs of the cluster: one watch for those that count and those that have to be told that they do not.
    configs: Rows<Row>,
    /// VsphereCloudConfigs and what they refer to.
    pub vcenters: VcenterWatches,
    /// VsphereCloudConfigs that cannot count as they are.
    stray_vcenters: Rows<Stray>,
    nodes: Rows<NodeRow>,
    leases: PerDriver<Rows<LeaseRow>>,
    sources: Rows<(String, Result<CompatibilityConfigSpec, String>)>,
    pinned: Vec<String>,
    began: Monotonic,
}

impl Watched {
    /// Begins to watch.
    pub fn new(cluster: &Cluster, watches: &Watches, args: &Args) -> Self {
        let client = || cluster.client().clone();
        let namespace = &args.shared.namespace;
        let lease = |what: &'static str, name: &str| {
            watches.leases(what, Api::<Lease>::namespaced(client(), namespace), Selector::name(name))
        };
        let (here, there) = (namespace.clone(), namespace.clone());
        Watched {
            configs: watches
                .watch(
                    "vdoconfigs",
                    Api::<DynamicObject>::all_with(client(), &ApiResource::erase::<VDOConfig>(&())),
                    Selector::all(),
                    move |object: &DynamicObject| Some(Row::of(object, &here)),
                )
                .urgent(),
            stray_vcenters: watches.watch(
                "vspherecloudconfigs of the cluster",
                Api::<DynamicObject>::all_with(client(), &ApiResource::erase::<VsphereCloudConfig>(&())),
                Selector::all(),
                move |object: &DynamicObject| {
                    admitted::<VsphereCloudConfig>(Kind::Vcenter, object, &there).err().map(|stray| *stray)
                },
            ),
            vcenters: VcenterWatches::watch(cluster, watches, namespace, &args.shared.kube_system_secrets),
            nodes: watches.nodes(cluster),
            leases: PerDriver {
                cpi: lease("the lease of cpi-operator", CPI_MANAGER),
                csi: lease("the lease of csi-operator", CSI_MANAGER),
            },
            sources: watches.watch_guarded(
                "compatibilityconfigs",
                Api::<DeserializeGuard<CompatibilityConfig>>::namespaced(client(), namespace),
                Selector::all(),
                |config| {
                    Some(match config {
                        Ok(config) => (config.name_any(), Ok(config.spec.clone())),
                        Err(broken) => (broken.name.clone(), Err(broken.why.clone())),
                    })
                },
            ),
            pinned: args.shared.kube_system_secrets.clone(),
            began: monotonic(),
        }
    }

    /// Whether enough was listed to say something: at a start, silence is better than a wrong word.
    pub fn is_settled(&self) -> bool {
        // A name that no Secret has is absent once the Secrets are listed, and unreadable before.
        let names = self.pinned.iter().map(String::as_str).chain([""]);
        let mut secrets = names.map(|name| self.vcenters.credentials(name));
        let all = self.configs.with(|_| ()).present().is_some()
            && self.vcenters.configs.with(|_| ()).present().is_some()
            && self.vcenters.config_maps.with(|_| ()).present().is_some()
            && secrets.all(|it| !matches!(it, Reading::Unreadable(_)))
            && self.nodes.with(|_| ()).present().is_some()
            && self.leases.cpi.with(|_| ()).present().is_some()
            && self.leases.csi.with(|_| ()).present().is_some()
            && self.sources.with(|_| ()).present().is_some();
        all || monotonic().duration_since(self.began) > FIRST_LISTS
    }

    /// A look at the objects that cannot count as they are, as last seen: telling one of them on an old view ends in a
    /// conflict.
    pub fn strays<T>(&self, look: impl FnOnce(Vec<&Stray>) -> T) -> T {
        self.configs.last_seen(|configs| {
            self.stray_vcenters.last_seen(|vcenters| {
                look(configs.rows().filter_map(Row::stray).chain(vcenters.rows()).collect())
            })
        })
    }

    /// All nodes.
    pub fn nodes(&self) -> Reading<Vec<NodeRow>> {
        self.nodes.all()
    }

    /// How the Leases of the driver operators look. One that cannot be read is no proof of anything, nor is one that was
    /// given up a moment ago: the next replica takes it.
    pub fn pulses(&self) -> PerDriver<Pulse> {
        let now = monotonic();
        let young = now.duration_since(self.began) < FIRST_LEASE;
        let pulse = |rows: &Rows<LeaseRow>| match rows.with(|view| view.renewal(now)) {
            Reading::Present(Renewal::Missed) if !young => Pulse::StandsStill,
            Reading::Present(_) | Reading::Absent | Reading::Unreadable(_) => Pulse::Beats,
        };
        PerDriver { cpi: pulse(&self.leases.cpi), csi: pulse(&self.leases.csi) }
    }

    /// How long until the Lease of a driver operator may stand still.
    pub fn pulse_left(&self) -> Option<Duration> {
        let now = monotonic();
        [&self.leases.cpi, &self.leases.csi].into_iter().filter_map(|rows| rows.lease_left(now)).min()
    }

    /// Everything that may name a matrix.
    pub fn sources(&self, namespace: &str) -> Sources<'static> {
        let config_maps = self.vcenters.config_maps.with(|view| {
            MATRIX_CONFIG_MAPS
                .iter()
                .filter_map(|name| Some((*name, view.named(namespace, name)?.clone())))
                .collect::<BTreeMap<_, _>>()
        });
        Sources { config_maps, objects: self.sources.all() }
    }
}

/// The VDOConfigs of the operators' namespace, and which of them counts: as the watch shows them, or live when that is
/// due or the watch cannot be believed.
pub async fn observe_configs(
    cluster: &Cluster,
    watched: &Watched,
    ahead: &mut Ahead,
    namespace: &str,
) -> Result<Found, PassError> {
    let now = monotonic();
    let rows = watched.configs.with(|view| view.rows().filter_map(Row::contender).cloned().collect());
    let configs = match rows {
        Reading::Present(rows) if !ahead.wants_look(now) => ahead.over(rows),
        Reading::Present(_) | Reading::Absent | Reading::Unreadable(_) => {
            let listed = status::fetch_all::<VDOConfig>(cluster, namespace)
                .await
                .map_err(PassError::observe("the VDOConfigs"))?;
            ahead.looked(&listed.objects, now);
            listed.objects
        }
    };
    Ok(Found::among(configs))
}

/// The VsphereCloudConfigs that decode.
pub fn decoded(watched: &Watched) -> Reading<Vec<VsphereCloudConfig>> {
    watched.vcenters.all().map(|rows| rows.into_iter().flatten().collect())
}

/// The version of the API server, read now and then.
#[derive(Default)]
pub struct ServerVersion(Option<(String, Monotonic)>);

impl ServerVersion {
    /// The version, not older than a few minutes.
    pub async fn fetch(&mut self, cluster: &Cluster) -> Result<String, PassError> {
        if let Some((version, at)) = &self.0
            && monotonic().duration_since(*at) < VERSION_AGE
        {
            return Ok(version.clone());
        }
        let read = cluster.read(cluster.client().apiserver_version()).await;
        let version = read.map_err(PassError::observe("the version of the API server"))?.git_version;
        self.0 = Some((version.clone(), monotonic()));
        Ok(version)
    }
}
