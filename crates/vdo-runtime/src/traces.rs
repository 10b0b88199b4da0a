//! Live looks before the first write: who else manages a driver here, and which names are taken.

use std::sync::Mutex;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use vdo_api::names::DRIVER_LABEL;
use vdo_plan::foreign::{Platform, Traces};
use vdo_plan::{ObjectRef, Reading};

use crate::apply::resource_of;
use crate::client::Cluster;
use crate::clock::{Monotonic, monotonic};
use crate::fault::KubeFault;
use crate::run::LONGEST;
use crate::watch::lock;

/// How long a look counts that found somebody: once he is gone, nobody should wait for long.
const FOUND_COUNTS: Duration = Duration::from_secs(20);

/// How long one counts that found nobody: as long as a view that nobody confirms. It is only for words; what is written
/// depends on a look of its own.
const NOBODY_COUNTS: Duration = LONGEST;

/// How long a look counts for a write: as long as the pass that looked may take to decide again after it was overtaken.
const WRITE_COUNTS: Duration = Duration::from_secs(2);

/// How many names are looked up at once: all of one driver. The API server answers metadata from memory.
const AT_ONCE: usize = 32;

/// How new a look must be, and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Something is about to be written: only a look of this very moment will do, and every name is looked up.
    Certainty,
    /// Only to say who was there: while nobody was, an old look does, and names can wait.
    Word,
}

/// Looks around before a driver's first write, and not anew in every pass that waits.
pub struct Lookout {
    driver: &'static str,
    is_image: fn(&str) -> bool,
    last: Mutex<Last>,
}

/// What of somebody else's was found.
type Found = Reading<Vec<ObjectRef>>;

/// The platform, and who runs the driver.
type Who = Seen<(Reading<Platform>, Found)>;

/// Which names were looked up, and which of them are taken.
type Taken = Seen<(Vec<ObjectRef>, Found)>;

/// What was seen last.
#[derive(Clone, Default)]
struct Last {
    who: Option<Who>,
    taken: Option<Taken>,
}

/// What a look saw, and when.
#[derive(Clone)]
struct Seen<T> {
    at: Monotonic,
    what: T,
}

impl<T> Seen<T> {
    fn new(at: Monotonic, what: T) -> Self {
        Seen { at, what }
    }

    /// Whether it still counts. `nobody` says whether it found nobody.
    fn counts(&self, need: Need, now: Monotonic, nobody: bool) -> bool {
        let counts_for = match need {
            Need::Certainty => WRITE_COUNTS,
            Need::Word if nobody => NOBODY_COUNTS,
            Need::Word => FOUND_COUNTS,
        };
        now.saturating_duration_since(self.at) < counts_for
    }
}

impl Lookout {
    /// Looks for other installations of this driver: those that run an image of it, whoever built it.
    pub fn new(driver: &'static str, is_image: fn(&str) -> bool) -> Self {
        Lookout { driver, is_image, last: Mutex::default() }
    }

    /// What is there, given the objects that would be written. Another list of objects is a new look.
    pub async fn look(&self, cluster: &Cluster, targets: Vec<ObjectRef>, need: Need) -> Traces {
        let now = monotonic();
        let Last { who, taken } = self.counting(&targets, need, now);
        let who = async {
            match who {
                Some(who) => who,
                None => {
                    Seen::new(now, tokio::join!(platform(cluster), workloads_running(cluster, self.is_image)))
                }
            }
        };
        let taken = async {
            match taken {
                None if need == Need::Certainty => {
                    let found = names_taken(cluster, self.driver, &targets).await;
                    Some(Seen::new(now, (targets, found)))
                }
                taken => taken,
            }
        };
        let (who, taken) = tokio::join!(who, taken);
        *lock(&self.last) = Last { who: Some(who.clone()), taken: taken.clone() };
        traces(who, taken)
    }

    /// Forgets what was seen: the next look is a new one.
    pub fn forget(&self) {
        *lock(&self.last) = Last::default();
    }

    /// What the last look says, as long as it counts for a word.
    pub fn recall(&self, targets: &[ObjectRef]) -> Option<Traces> {
        let Last { who, taken } = self.counting(targets, Need::Word, monotonic());
        who.map(|who| traces(who, taken))
    }

    /// What of the last look still counts.
    fn counting(&self, targets: &[ObjectRef], need: Need, now: Monotonic) -> Last {
        let Last { who, taken } = lock(&self.last).clone();
        let who = who.filter(|seen| {
            let (platform, others) = &seen.what;
            let nobody = *platform == Reading::Present(Platform::Plain) && is_empty(others);
            seen.counts(need, now, nobody)
        });
        let taken = taken.filter(|seen| {
            let (looked_for, found) = &seen.what;
            *looked_for == targets && seen.counts(need, now, is_empty(found))
        });
        Last { who, taken }
    }
}

fn traces(who: Who, taken: Option<Taken>) -> Traces {
    let (platform, others) = who.what;
    // Names that nobody has to know yet are as good as free.
    let taken = taken.map_or(Reading::Present(Vec::new()), |seen| seen.what.1);
    Traces { platform, others, taken }
}

fn is_empty(found: &Found) -> bool {
    found.present().is_some_and(Vec::is_empty)
}

/// Which platform this cluster is.
async fn platform(cluster: &Cluster) -> Reading<Platform> {
    let groups = match cluster.read(cluster.client().list_api_groups()).await {
        Ok(groups) => groups,
        Err(fault) => return Reading::Unreadable(fault.to_string()),
    };
    let serves = |name: &str| groups.groups.iter().any(|group| group.name == name);
    if serves("vmoperator.vmware.com") {
        return Reading::Present(Platform::Supervisor);
    }
    if !serves("config.openshift.io") {
        return Reading::Present(Platform::Plain);
    }
    let kind = GroupVersionKind::gvk("config.openshift.io", "v1", "Infrastructure");
    let api: Api<DynamicObject> =
        Api::all_with(cluster.client().clone(), &ApiResource::from_gvk_with_plural(&kind, "infrastructures"));
    match cluster.read(api.get_opt("cluster")).await {
        Ok(Some(infrastructure)) => {
            let kind = infrastructure.data.pointer("/status/platformStatus/type");
            let on_vsphere = kind.and_then(serde_json::Value::as_str) == Some("VSphere");
            Reading::Present(if on_vsphere { Platform::OpenShiftOnVsphere } else { Platform::Plain })
        }
        Ok(None) => Reading::Present(Platform::Plain),
        Err(fault) => Reading::Unreadable(fault.to_string()),
    }
}

/// Workloads anywhere in the cluster that run an image of this driver and do not bear our label.
async fn workloads_running(cluster: &Cluster, is_driver: fn(&str) -> bool) -> Found {
    let daemon_sets = running::<DaemonSet>(cluster, is_driver, |it| {
        it.spec.as_ref()?.template.spec.as_ref().map(|spec| spec.containers.as_slice())
    });
    let deployments = running::<Deployment>(cluster, is_driver, |it| {
        it.spec.as_ref()?.template.spec.as_ref().map(|spec| spec.containers.as_slice())
    });
    match futures::future::try_join(daemon_sets, deployments).await {
        Ok((mut found, more)) => {
            found.extend(more);
            Reading::Present(found)
        }
        Err(fault) => Reading::Unreadable(fault.to_string()),
    }
}

async fn running<K>(
    cluster: &Cluster,
    is_driver: fn(&str) -> bool,
    containers: impl Fn(&K) -> Option<&[k8s_openapi::api::core::v1::Container]>,
) -> Result<Vec<ObjectRef>, KubeFault>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let params = ListParams::default().labels(&format!("!{DRIVER_LABEL}")).limit(100);
    let runs_it = |object: &K| {
        let mut images = containers(object).into_iter().flatten().filter_map(|c| c.image.as_deref());
        images.any(is_driver).then(|| reference_of(object))
    };
    cluster.read_pages(&Api::all(cluster.client().clone()), params, |_| (), runs_it).await
}

/// Which of these objects exist without the label of this driver.
async fn names_taken(cluster: &Cluster, driver: &str, objects: &[ObjectRef]) -> Found {
    let looks = stream::iter(objects).map(|reference| is_taken(cluster, driver, reference)).buffered(AT_ONCE);
    match looks.try_collect::<Vec<bool>>().await {
        Ok(taken) => {
            let found = objects.iter().zip(taken).filter(|(_, taken)| *taken);
            Reading::Present(found.map(|(reference, _)| reference.clone()).collect())
        }
        Err(why) => Reading::Unreadable(why),
    }
}

async fn is_taken(cluster: &Cluster, driver: &str, reference: &ObjectRef) -> Result<bool, String> {
    let resource = resource_of(reference).map_err(|fault| fault.to_string())?;
    let client = cluster.client().clone();
    let api: Api<DynamicObject> = match &reference.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let found = cluster.read(api.get_metadata_opt(&reference.name)).await;
    let found = found.map_err(|fault| format!("{reference}: {fault}"))?;
    Ok(found.is_some_and(|object| object.labels().get(DRIVER_LABEL).map(String::as_str) != Some(driver)))
}

/// Whether any object of this driver's namespace bears the driver's label: a live look at everything that could
/// still serve a volume or a node.
pub async fn any_labelled(cluster: &Cluster, namespace: &str, driver: &str) -> Result<bool, KubeFault> {
    let params = ListParams::default().labels(&format!("{DRIVER_LABEL}={driver}")).limit(1);
    let client = || cluster.client().clone();
    let daemon_sets: Api<DaemonSet> = Api::namespaced(client(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(client(), namespace);
    let config_maps: Api<ConfigMap> = Api::namespaced(client(), namespace);
    Ok(!cluster.read(daemon_sets.list_metadata(&params)).await?.items.is_empty()
        || !cluster.read(deployments.list_metadata(&params)).await?.items.is_empty()
        || !cluster.read(config_maps.list_metadata(&params)).await?.items.is_empty())
}

fn reference_of<K: Resource<DynamicType = ()>>(object: &K) -> ObjectRef {
    ObjectRef {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace(),
        name: object.name_any(),
    }
}
