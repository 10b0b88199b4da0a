//! VsphereCloudConfigs and what they refer to: Secrets with credentials and ConfigMaps with certificates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use vdo_api::VsphereCloudConfig;
use vdo_api::names::{CREDENTIALS_LABEL, KUBE_SYSTEM};
use vdo_api::vcenter::{CaReference, SecretVersion};
use vdo_plan::Reading;
use vdo_plan::credentials::{self, CredentialsSecret};
use vdo_plan::vcenter::{VcenterFacts, verified_secret};

use crate::client::Cluster;
use crate::watch::{Broken, Rows, Selector, Watches};

/// Watches of everything that vCenters are configured with.
pub struct VcenterWatches {
    namespace: String,
    /// The VsphereCloudConfigs of the operators' namespace; one that does not decode says why.
    pub configs: Rows<Result<VsphereCloudConfig, Broken>>,
    /// Secrets in the operators' namespace: by type, and by label. Helm's own Secrets are neither.
    secrets: [Rows<CredentialsSecret>; 2],
    /// Secrets in `kube-system` that the chart lets us read, each by its name.
    pinned: BTreeMap<String, Rows<CredentialsSecret>>,
    /// The ConfigMaps of the operators' namespace.
    pub config_maps: Rows<BTreeMap<String, String>>,
}

impl VcenterWatches {
    /// Begins to watch. `pinned` names the Secrets in `kube-system`.
    pub fn watch(cluster: &Cluster, watches: &Watches, namespace: &str, pinned: &[String]) -> Self {
        let client = || cluster.client().clone();
        let secret = |name: &'static str, namespace: &str, selector: Selector| {
            let api = Api::<Secret>::namespaced(client(), namespace);
            watches.watch(name, api, selector, |secret: &Secret| Some(credentials::read(secret)))
        };
        VcenterWatches {
            namespace: namespace.to_owned(),
            configs: watches.watch_guarded(
                "vspherecloudconfigs",
                Api::<DeserializeGuard<VsphereCloudConfig>>::namespaced(client(), namespace),
                Selector::all(),
                |config| Some(config.cloned().map_err(Clone::clone)),
            ),
            secrets: [
                secret("credentials by type", namespace, Selector::fields("type=kubernetes.io/basic-auth")),
                secret(
                    "credentials by label",
                    namespace,
                    Selector::labels(format!("{CREDENTIALS_LABEL}=true")),
                ),
            ],
            pinned: pinned
                .iter()
                .map(|name| {
                    (name.clone(), secret("credentials in kube-system", KUBE_SYSTEM, Selector::name(name)))
                })
                .collect(),
            config_maps: watches.watch(
                "configmaps of the operators",
                Api::<ConfigMap>::namespaced(client(), namespace),
                Selector::all(),
                |map: &ConfigMap| Some(map.data.clone().unwrap_or_default()),
            ),
        }
    }

    /// The Secret that `spec.credentials` means: in the operators' namespace, else in `kube-system`. Absent there
    /// falls through; unreadable never does.
    pub fn credentials(&self, name: &str) -> Reading<CredentialsSecret> {
        match self.here(name) {
            Reading::Absent => self.in_kube_system(name),
            found => found,
        }
    }

    fn here(&self, name: &str) -> Reading<CredentialsSecret> {
        let key = format!("{}/{name}", self.namespace);
        let mut refused = None;
        for rows in &self.secrets {
            match rows.one(&key) {
                Reading::Absent => {}
                found @ Reading::Present(_) => return found,
                unreadable @ Reading::Unreadable(_) => refused = Some(unreadable),
            }
        }
        refused.unwrap_or(Reading::Absent)
    }

    fn in_kube_system(&self, name: &str) -> Reading<CredentialsSecret> {
        match self.pinned.get(name) {
            Some(rows) => rows.one(&format!("{KUBE_SYSTEM}/{name}")),
            None => Reading::Absent,
        }
    }

    /// Whether the chart lets us read this Secret in `kube-system`.
    pub fn is_pinned(&self, name: &str) -> bool {
        self.pinned.contains_key(name)
    }

    /// The Secret of this version's namespace and name, in whatever version it is now.
    fn found(&self, version: &SecretVersion) -> Reading<CredentialsSecret> {
        if version.namespace == self.namespace {
            self.here(&version.name)
        } else {
            self.in_kube_system(&version.name)
        }
    }

    /// The certificates that a VsphereCloudConfig refers to.
    pub fn authority(&self, reference: &CaReference) -> Reading<String> {
        self.data(&reference.name, &reference.key)
    }

    /// One key of a ConfigMap in the operators' namespace.
    pub fn data(&self, name: &str, key: &str) -> Reading<String> {
        match self.config_maps.one(&format!("{}/{name}", self.namespace)) {
            Reading::Present(mut data) => Reading::from(data.remove(key)),
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        }
    }

    /// The VsphereCloudConfig of this name. One that does not decode is unreadable, and stops no other.
    pub fn config(&self, name: &str) -> Reading<VsphereCloudConfig> {
        match self.configs.one(&format!("{}/{name}", self.namespace)) {
            Reading::Present(Ok(config)) => Reading::Present(config),
            Reading::Present(Err(broken)) => Reading::Unreadable(broken.why),
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        }
    }

    /// Everything that a driver needs to know about one vCenter.
    pub fn facts(&self, name: &str) -> VcenterFacts {
        let config = self.config(name);
        let verified = config.present().and_then(|config| config.status.as_ref()?.verified.as_ref());
        let ca = verified.and_then(|verified| verified.trust.ca_ref.as_ref());
        VcenterFacts {
            name: name.to_owned(),
            secret: config
                .present()
                .and_then(verified_secret)
                .map_or(Reading::Absent, |version| self.found(version)),
            ca: ca.map_or(Reading::Absent, |reference| self.authority(reference)),
            config,
        }
    }

    /// All VsphereCloudConfigs, with those that do not decode.
    pub fn all(&self) -> Reading<Vec<Result<VsphereCloudConfig, Broken>>> {
        self.configs.all()
    }

    /// The names of all VsphereCloudConfigs that decode.
    pub fn names(&self) -> Vec<String> {
        self.configs.last_seen(|view| view.rows().flatten().map(ResourceExt::name_any).collect())
    }
}
