//! The VDOConfig that counts: as the watch shows it, and live.

use std::cmp::Ordering;
use std::sync::Mutex;

use kube::core::DeserializeGuard;
use kube::{Api, ResourceExt};
use vdo_api::VDOConfig;
use vdo_api::names::{CPI_FINALIZER, CSI_FINALIZER};
use vdo_plan::Reading;
use vdo_plan::order::{Contender, active};

use crate::client::Cluster;
use crate::fault::KubeFault;
use crate::status::fetch_all;
use crate::watch::{Rows, Selector, Watches, lock};

/// The VDOConfigs of the operators' namespace.
pub struct Configs {
    rows: Rows<Option<VDOConfig>>,
    namespace: String,
    /// What a live read or a write of ours answered last: newer than the watch for a moment.
    latest: Mutex<Option<VDOConfig>>,
}

impl Configs {
    /// Begins to watch them.
    pub fn watch(cluster: &Cluster, watches: &Watches, namespace: &str) -> Self {
        let rows = watches.watch_guarded(
            "vdoconfigs",
            Api::<DeserializeGuard<VDOConfig>>::namespaced(cluster.client().clone(), namespace),
            Selector::all(),
            |config| Some(config.ok().cloned().map(without_field_owners)),
        );
        let rows = rows.urgent();
        Configs { rows, namespace: namespace.to_owned(), latest: Mutex::default() }
    }

    /// The one that counts, as far as it is known without asking.
    pub fn seen(&self) -> Reading<VDOConfig> {
        let configs = self.rows.with(|view| view.rows().flatten().cloned().collect::<Vec<_>>());
        configs.and_then(|configs| Reading::from(choose(configs))).map(|shown| {
            let latest = lock(&self.latest).clone();
            let newer = latest.filter(|it| it.metadata.uid == shown.metadata.uid && is_newer(it, &shown));
            newer.unwrap_or(shown)
        })
    }

    /// The one that counts, read live.
    pub async fn fetch(&self, cluster: &Cluster) -> Result<Option<VDOConfig>, KubeFault> {
        let config = fetch_active(cluster, &self.namespace).await?;
        self.note(config.as_ref());
        Ok(config)
    }

    /// Remembers what a write of ours answered.
    pub fn note(&self, answered: Option<&VDOConfig>) {
        *lock(&self.latest) = answered.cloned().map(without_field_owners);
    }
}

/// Nobody decides on who owns which field, and it is half of the object.
pub fn without_field_owners(mut config: VDOConfig) -> VDOConfig {
    config.metadata.managed_fields = None;
    config
}

/// The VDOConfig of this namespace that counts, read live.
pub async fn fetch_active(cluster: &Cluster, namespace: &str) -> Result<Option<VDOConfig>, KubeFault> {
    Ok(choose(fetch_all::<VDOConfig>(cluster, namespace).await?.objects))
}

/// Which of the VDOConfigs of one namespace counts: one that bears our finalizer, else the oldest, then the lowest name.
pub fn which_counts(configs: &[VDOConfig]) -> Option<usize> {
    let driven =
        |config: &VDOConfig| config.finalizers().iter().any(|f| f == CPI_FINALIZER || f == CSI_FINALIZER);
    let contenders: Vec<Contender<'_, _>> = configs
        .iter()
        .map(|config| Contender {
            finalizer: driven(config),
            created: config.metadata.creation_timestamp.as_ref().map(|time| time.0),
            name: config.metadata.name.as_deref().unwrap_or_default(),
        })
        .collect();
    active(&contenders)
}

fn choose(mut configs: Vec<VDOConfig>) -> Option<VDOConfig> {
    which_counts(&configs).map(|index| configs.swap_remove(index))
}

/// Which of two versions of one kind is the later. They are compared as numbers, as the API server counts them; of others
/// only equality is known.
pub fn compare_versions(one: &str, other: &str) -> Option<Ordering> {
    match (one.parse::<u64>(), other.parse::<u64>()) {
        (Ok(one), Ok(other)) => Some(one.cmp(&other)),
        (_, _) => (one == other).then_some(Ordering::Equal),
    }
}

fn is_newer(one: &VDOConfig, other: &VDOConfig) -> bool {
    let version = |config: &VDOConfig| config.resource_version().unwrap_or_default();
    compare_versions(&version(one), &version(other)) == Some(Ordering::Greater)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(version: &str) -> VDOConfig {
        let mut config = VDOConfig::new("vdo", serde_json::from_str("{}").unwrap());
        config.metadata.resource_version = Some(version.to_owned());
        config
    }

    #[test]
    fn versions_are_compared_as_numbers_and_an_unknown_one_is_never_newer() {
        assert!(is_newer(&config("1000"), &config("999")));
        assert!(!is_newer(&config("999"), &config("999")));
        assert!(!is_newer(&config("x"), &config("1")));
    }
}
