//! Reads, once and by GET, what the operators watch. Nothing here writes.
//!
//! What the caller may not read is noted with the right that is missing, and something else is taken for granted; any
//! other fault ends the plan, for then nothing more would be read either.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::CSIDriver;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;
use vdo_api::VsphereCloudConfig;
use vdo_api::names::{CREDENTIALS_LABEL, DRIVER_LABEL};
use vdo_api::vcenter::SecretVersion;
use vdo_plan::credentials::{self, Credentials, CredentialsSecret};
use vdo_plan::driver::{Bearers, MadeBy, Row, Rows};
use vdo_plan::vcenter::{VcenterFacts, verified_secret};
use vdo_plan::{ObjectRef, Reading};
use vdo_runtime::driver::bearers::{Born, bearers_since, born};
use vdo_runtime::own::{Extra, Owner};
use vdo_runtime::rows::{ObjectRow, Renewal, SlimPod};
use vdo_runtime::status::{Listed, fetch_all};
use vdo_runtime::{Cluster, KubeFault};

use super::Unread;
use crate::progress::Progress;

/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// How often a Lease is looked at that seems not to be renewed.
const LOOK: Duration = Duration::from_secs(1);
/// Who logs in where the Secret may not be read; a name that the drivers take.
const STAND_IN: &str = "not-read@example.invalid";

/// A right that a read needs, and what is taken for granted without it.
pub struct Right<'a> {
    /// The verb.
    pub verb: &'static str,
    /// The resource.
    pub resource: &'a str,
    /// The namespace.
    pub namespace: Option<&'a str>,
    /// What is taken for granted without it.
    pub assumed: &'static str,
}

/// Reads one cluster.
pub struct Reader<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The namespace of the operators.
    pub namespace: &'a str,
    /// The time.
    pub now: Timestamp,
    /// Says what is being read.
    pub progress: &'a Progress,
    unread: RefCell<Vec<Unread>>,
}

impl<'a> Reader<'a> {
    /// Has read nothing yet.
    pub fn new(
        cluster: &'a Cluster,
        namespace: &'a str,
        now: Timestamp,
        progress: &'a Progress,
    ) -> Reader<'a> {
        Reader { cluster, namespace, now, progress, unread: RefCell::default() }
    }

    /// What could not be read so far.
    pub fn unread(&self) -> Vec<Unread> {
        self.unread.borrow().clone()
    }

    /// Notes that something could not be read.
    pub fn note(&self, right: &Right<'_>, why: &str) {
        let unread = Unread {
            verb: right.verb,
            resource: right.resource.to_owned(),
            namespace: right.namespace.map(str::to_owned),
            assumed: right.assumed,
            why: why.to_owned(),
        };
        let mut all = self.unread.borrow_mut();
        if !all.contains(&unread) {
            all.push(unread);
        }
    }

    /// An answer as a reading. Only that it is not allowed is no end of everything.
    pub fn known<T>(&self, right: &Right<'_>, answer: Result<T, KubeFault>) -> Result<Reading<T>> {
        match answer {
            Ok(found) => Ok(Reading::Present(found)),
            Err(KubeFault::NotFound { .. }) => Ok(Reading::Absent),
            Err(fault @ KubeFault::Forbidden { .. }) => {
                self.note(right, &fault.to_string());
                Ok(Reading::Unreadable(fault.to_string()))
            }
            Err(fault) => Err(fault).with_context(|| format!("cannot read the {}", right.resource)),
        }
    }

    /// One object, if it is there.
    pub async fn one<K>(&self, api: Api<K>, name: &str, right: &Right<'_>) -> Result<Reading<K>>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        Ok(match self.known(right, self.cluster.read(api.get_opt(name)).await)? {
            Reading::Present(found) => Reading::from(found),
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        })
    }

    /// What is kept of each object of a list, page by page.
    pub async fn all<K, R>(
        &self,
        api: Api<K>,
        right: &Right<'_>,
        keep: impl Fn(&K) -> Option<R>,
    ) -> Result<Reading<Vec<R>>>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let at = |seen: usize| {
            let more = if seen > 0 { format!(", {seen} so far") } else { String::new() };
            self.progress.say(format!("reading the {}{more}", right.resource));
        };
        let params = ListParams::default().limit(PAGE);
        self.known(right, self.cluster.read_pages(&api, params, at, keep).await)
    }

    /// The VsphereCloudConfigs.
    pub async fn vcenters(&self) -> Result<Reading<Listed<VsphereCloudConfig>>> {
        self.progress.say("reading the VsphereCloudConfigs");
        let right = Right {
            verb: "list",
            resource: "vspherecloudconfigs",
            namespace: Some(self.namespace),
            assumed: "nothing can be rendered, so only what is installed is compared",
        };
        self.known(&right, fetch_all::<VsphereCloudConfig>(self.cluster, self.namespace).await)
    }

    /// Everything that a driver needs to know about one vCenter.
    pub async fn facts(
        &self,
        listed: &Reading<Listed<VsphereCloudConfig>>,
        name: &str,
    ) -> Result<VcenterFacts> {
        let config = match listed {
            Reading::Present(listed) => {
                let found = listed.objects.iter().find(|it| it.name_any() == name);
                match (found, listed.broken.iter().find(|it| it.name == name)) {
                    (Some(config), _) => Reading::Present(config.clone()),
                    (None, Some(broken)) => Reading::Unreadable(broken.why.clone()),
                    (None, None) => Reading::Absent,
                }
            }
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why.clone()),
        };
        let secret = match config.present().and_then(verified_secret) {
            Some(version) => self.credentials(version).await?,
            None => Reading::Absent,
        };
        let verified = config.present().and_then(|config| config.status.as_ref()?.verified.as_ref());
        let ca = match verified.and_then(|verified| verified.trust.ca_ref.as_ref()) {
            Some(reference) => self.data(self.namespace, &reference.name, &reference.key).await?,
            None => Reading::Absent,
        };
        Ok(VcenterFacts { name: name.to_owned(), config, secret, ca })
    }

    /// The Secret that vdo-core logged in with. Its content is never shown, so that a plan is made without it, too.
    async fn credentials(&self, version: &SecretVersion) -> Result<Reading<CredentialsSecret>> {
        self.progress.say("reading the credentials");
        let right = Right {
            verb: "get",
            resource: "secrets",
            namespace: Some(&version.namespace),
            assumed: "the credentials are taken to be as verified, and their content is not compared",
        };
        let api = Api::<Secret>::namespaced(self.cluster.client().clone(), &version.namespace);
        Ok(match self.one(api, &version.name, &right).await? {
            Reading::Present(secret) if self.is_watched(&secret) => {
                Reading::Present(credentials::read(&secret))
            }
            Reading::Present(_) | Reading::Absent => Reading::Absent,
            Reading::Unreadable(_) => Reading::Present(stand_in(version)),
        })
    }

    /// Whether the operators see this Secret: in their own namespace by its type or its label.
    fn is_watched(&self, secret: &Secret) -> bool {
        secret.namespace().as_deref() != Some(self.namespace)
            || secret.type_.as_deref() == Some("kubernetes.io/basic-auth")
            || secret.labels().get(CREDENTIALS_LABEL).is_some_and(|value| value == "true")
    }

    /// One key of a ConfigMap.
    pub async fn data(&self, namespace: &str, name: &str, key: &str) -> Result<Reading<String>> {
        let right = Right {
            verb: "get",
            resource: "configmaps",
            namespace: Some(namespace),
            assumed: "nothing that needs it can be rendered",
        };
        let api = Api::<ConfigMap>::namespaced(self.cluster.client().clone(), namespace);
        let found = self.one(api, name, &right).await?;
        Ok(found.and_then(|map| Reading::from(map.data.and_then(|mut data| data.remove(key)))))
    }

    /// Whether somebody renews a Lease. A clock that is not ours can only tell that it is fresh; a Lease that does not seem
    /// to be is looked at for the whole of its term.
    pub async fn renewal(&self, namespace: &str, name: &str) -> Result<Renewal> {
        let right = Right {
            verb: "get",
            resource: "leases",
            namespace: Some(namespace),
            assumed: "the driver is taken to renew its Lease",
        };
        let api = || Api::<Lease>::namespaced(self.cluster.client().clone(), namespace);
        let lease = match self.one(api(), name, &right).await? {
            Reading::Present(lease) => lease,
            Reading::Absent => return Ok(Renewal::Missed),
            Reading::Unreadable(_) => return Ok(Renewal::InTime),
        };
        let version = lease.resource_version();
        let spec = lease.spec.unwrap_or_default();
        let term = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        if spec.holder_identity.is_none_or(|holder| holder.is_empty()) {
            return Ok(Renewal::Missed);
        }
        let fresh = spec.renew_time.is_some_and(|time| {
            time.0.saturating_add(Duration::from_secs(term)).is_ok_and(|end| end > self.now)
        });
        if fresh {
            return Ok(Renewal::InTime);
        }
        self.progress.say(format!("looking for {term} s whether somebody renews Lease {namespace}/{name}"));
        for _ in 0..term {
            tokio::time::sleep(LOOK).await;
            let now = self.one(api(), name, &right).await?;
            if now.present().is_some_and(|lease| lease.resource_version() != version) {
                return Ok(Renewal::InTime);
            }
        }
        Ok(Renewal::Missed)
    }

    /// The pods of a driver.
    pub async fn pods(&self, namespace: &str) -> Result<Reading<Vec<Born>>> {
        let right = Right {
            verb: "list",
            resource: "pods",
            namespace: Some(namespace),
            assumed: "what keeps pods from working is not said",
        };
        let api = Api::<SlimPod>::namespaced(self.cluster.client().clone(), namespace);
        self.all(api, &right, |pod| Some(born(pod))).await
    }

    /// The objects of a driver, listed by label as its operator watches them.
    pub async fn own(&self, owner: Owner, extra: &[Extra]) -> Result<Own> {
        let mut own = Own::default();
        let here = Some(owner.namespace);
        self.kind::<ServiceAccount>(&mut own, owner, here, "serviceaccounts").await?;
        self.kind::<Secret>(&mut own, owner, here, "secrets").await?;
        self.kind::<ConfigMap>(&mut own, owner, here, "configmaps").await?;
        self.kind::<Role>(&mut own, owner, None, "roles").await?;
        self.kind::<RoleBinding>(&mut own, owner, None, "rolebindings").await?;
        self.kind::<ClusterRole>(&mut own, owner, None, "clusterroles").await?;
        self.kind::<ClusterRoleBinding>(&mut own, owner, None, "clusterrolebindings").await?;
        self.kind::<DaemonSet>(&mut own, owner, here, "daemonsets").await?;
        for kind in extra {
            match kind {
                Extra::Deployments => self.kind::<Deployment>(&mut own, owner, here, "deployments").await?,
                Extra::Services => self.kind::<Service>(&mut own, owner, here, "services").await?,
                Extra::CsiDrivers => self.kind::<CSIDriver>(&mut own, owner, None, "csidrivers").await?,
            }
        }
        Ok(own)
    }

    async fn kind<K>(
        &self,
        own: &mut Own,
        owner: Owner,
        namespace: Option<&str>,
        resource: &str,
    ) -> Result<()>
    where
        K: Resource<DynamicType = ()>,
    {
        self.progress.say(format!("reading the {resource} of {}", owner.driver.to_uppercase()));
        let right = Right {
            verb: "list",
            resource,
            namespace,
            assumed: "those of the installed revision are taken to be there, and as they should be",
        };
        let (kind, client) = (ApiResource::erase::<K>(&()), self.cluster.client().clone());
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &kind),
            None => Api::all_with(client, &kind),
        };
        let params = ListParams::default().labels(&format!("{DRIVER_LABEL}={}", owner.driver)).limit(PAGE);
        let keep = |object: &DynamicObject| {
            let row = ObjectRow::of::<K>(&object.metadata, owner.manager);
            Some((row, serde_json::to_value(object).ok()?))
        };
        match self.known(&right, self.cluster.read_pages(&api, params, |_| (), keep).await)? {
            Reading::Present(found) => found.into_iter().for_each(|(row, live)| own.add(row, live)),
            // Nobody serves the kind.
            Reading::Absent => {}
            Reading::Unreadable(_) => drop(own.hidden.insert(K::kind(&()).into_owned())),
        }
        Ok(())
    }
}

/// What a driver could be configured with, where the Secret may not be read.
fn stand_in(version: &SecretVersion) -> CredentialsSecret {
    let credentials = Credentials {
        version: version.clone(),
        username: STAND_IN.to_owned(),
        password: STAND_IN.to_owned().into(),
        servers: Vec::new(),
    };
    CredentialsSecret { version: version.clone(), content: Ok(credentials) }
}

/// Whether these facts were made up for a Secret that may not be read.
pub fn is_stand_in(facts: &VcenterFacts) -> bool {
    let content = facts.secret.present().and_then(|secret| secret.content.as_ref().ok());
    content.is_some_and(|credentials| credentials.username == STAND_IN)
}

/// The objects of a driver.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// As a plan knows them.
    pub rows: Rows,
    /// As they are.
    pub live: BTreeMap<ObjectRef, Value>,
    hidden: BTreeSet<String>,
    made: BTreeMap<ObjectRef, Timestamp>,
}

impl Own {
    fn add(&mut self, row: ObjectRow, live: Value) {
        if let Some(created) = row.created {
            self.made.insert(row.reference.clone(), created);
        }
        let kept = Row { uid: row.uid, revision: row.revision, owned_fields: row.owned_fields };
        self.rows.insert(row.reference.clone(), kept);
        self.live.insert(row.reference, live);
    }

    /// Whether objects of this kind could not be listed.
    pub fn is_hidden(&self, kind: &str) -> bool {
        self.hidden.contains(kind)
    }

    /// Whether any kind could not be listed.
    pub fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// A workload of the driver.
    pub fn workload<K: DeserializeOwned>(&self, kind: &str, name: &str) -> Option<K> {
        let (_, live) = self.live.iter().find(|(it, _)| it.kind == kind && it.name == name)?;
        serde_json::from_value(live.clone()).ok()
    }

    /// Which pods bear the token of an account.
    pub fn bearers(&self, account: &'static str, maker: MadeBy, pods: &Reading<Vec<Born>>) -> Bearers {
        let made = self.made.iter().find(|(it, _)| it.kind == "ServiceAccount" && it.name == account);
        // All of them in the end; how many at once is up to the operator.
        bearers_since(made.map(|(_, made)| *made), account, usize::MAX, maker, pods)
    }
}
