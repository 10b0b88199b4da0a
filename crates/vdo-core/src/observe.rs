//! Everything that a pass reads: the VDOConfigs live, the rest from the watches.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use vdo_api::names::{CPI_FINALIZER, CPI_MANAGER, CSI_FINALIZER, CSI_MANAGER, MATRIX_CONFIG_MAPS};
use vdo_api::{CompatibilityConfig, VDOConfig, VsphereCloudConfig};
use vdo_plan::Reading;
use vdo_plan::order::{Contender, PerDriver, active};
use vdo_runtime::clock::{Monotonic, monotonic};
use vdo_runtime::node::NodeRow;
use vdo_runtime::rows::LeaseRow;
use vdo_runtime::vcenters::VcenterWatches;
use vdo_runtime::{Cluster, PassError, Rows, Selector, Watches, status};

use crate::args::Args;
use crate::order::matrix::Sources;
use crate::order::sum::Pulse;

/// How often the version of the API server is read.
const VERSION_AGE: Duration = Duration::from_secs(300);
/// How long the first lists are waited for before something is said without them.
const FIRST_LISTS: Duration = Duration::from_secs(15);
/// How long an operator may take to get its Lease after we began to look.
const FIRST_LEASE: Duration = Duration::from_secs(60);

/// Everything that is watched.
pub struct Watched {
    /// Only their changes count; they are read live.
    configs: Rows<Option<String>>,
    /// VsphereCloudConfigs and what they refer to.
    pub vcenters: VcenterWatches,
    nodes: Rows<NodeRow>,
    leases: PerDriver<Rows<LeaseRow>>,
    sources: Rows<String>,
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
        Watched {
            configs: watches.watch_guarded(
                "vdoconfigs",
                Api::<DeserializeGuard<VDOConfig>>::namespaced(client(), namespace),
                Selector::all(),
                |config| Some(config.ok().and_then(ResourceExt::resource_version)),
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
                |config| Some(config.map_or_else(|broken| broken.name.clone(), ResourceExt::name_any)),
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

    /// All nodes.
    pub fn nodes(&self) -> Reading<Vec<NodeRow>> {
        self.nodes.all()
    }

    /// How the Leases of the driver operators look. One that cannot be read is no proof of anything.
    pub fn pulses(&self) -> PerDriver<Pulse> {
        let now = monotonic();
        let young = now.duration_since(self.began) < FIRST_LEASE;
        let pulse = |rows: &Rows<LeaseRow>| match rows.with(|view| view.rows().any(|it| it.is_fresh(now))) {
            Reading::Present(false) if !young => Pulse::StandsStill,
            Reading::Present(_) | Reading::Absent | Reading::Unreadable(_) => Pulse::Beats,
        };
        PerDriver { cpi: pulse(&self.leases.cpi), csi: pulse(&self.leases.csi) }
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

/// The VDOConfigs of the namespace.
pub struct Found {
    /// The one that counts.
    pub active: Option<VDOConfig>,
    /// The others.
    pub others: Vec<VDOConfig>,
}

/// Reads the VDOConfigs live and tells which one counts.
pub async fn fetch_configs(cluster: &Cluster, namespace: &str) -> Result<Found, PassError> {
    let listed = status::fetch_all::<VDOConfig>(cluster, namespace)
        .await
        .map_err(PassError::observe("the VDOConfigs"))?;
    for broken in &listed.broken {
        tracing::warn!(name = broken.name, why = broken.why, "a VDOConfig does not decode");
    }
    let mut configs = listed.objects;
    let chosen = {
        let contenders: Vec<Contender<'_, _>> = configs
            .iter()
            .map(|config| Contender {
                finalizer: config.finalizers().iter().any(|it| it == CPI_FINALIZER || it == CSI_FINALIZER),
                created: config.metadata.creation_timestamp.as_ref().map(|time| time.0),
                name: config.metadata.name.as_deref().unwrap_or_default(),
            })
            .collect();
        active(&contenders)
    };
    let active = chosen.map(|index| configs.remove(index));
    Ok(Found { active, others: configs })
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
