//! What the runner keeps of the cluster: the ConfigMaps and Secrets that pods may mount.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::watch;

use super::Runner;

/// A ConfigMap or a Secret; the difference matters for messages only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
        }
    }
}

/// The content of one ConfigMap or Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) values: BTreeMap<String, Vec<u8>>,
    pub(super) immutable: bool,
}

type Key = (Kind, String, String);

/// Every ConfigMap and Secret, kept by two watches.
pub(super) struct Objects {
    rows: Mutex<HashMap<Key, Arc<Keys>>>,
    version: watch::Sender<u64>,
    /// The kinds that were listed once.
    listed: watch::Sender<BTreeSet<Kind>>,
}

impl Default for Objects {
    fn default() -> Self {
        Self {
            rows: Mutex::default(),
            version: watch::channel(0).0,
            listed: watch::channel(BTreeSet::new()).0,
        }
    }
}

impl Objects {
    pub(super) fn find(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Keys>> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(&(kind, namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Wakes at each change of any object.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Waits until both kinds were listed once.
    pub(super) async fn until_listed(&self) {
        let mut listed = self.listed.subscribe();
        // The sender is part of `self`, so it cannot be gone.
        let _ = listed.wait_for(|kinds| kinds.len() == 2).await;
    }

    pub(super) fn put(&self, kind: Kind, namespace: &str, name: &str, keys: Keys) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::new(keys));
        self.version.send_modify(|version| *version += 1);
    }

    fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        let key = (kind, namespace.to_owned(), name.to_owned());
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.version.send_modify(|version| *version += 1);
    }

    fn keep_only(&self, kind: Kind, seen: &BTreeSet<(String, String)>) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, namespace, name), _| {
            *of != kind || seen.contains(&(namespace.clone(), name.clone()))
        });
        self.version.send_modify(|version| *version += 1);
    }
}

/// Keeps [`Objects`] up to date; ends only with an error.
pub(super) async fn follow_objects(runner: &Arc<Runner>) -> anyhow::Result<()> {
    let maps = follow::<ConfigMap>(runner, Kind::ConfigMap, |map| Keys {
        immutable: map.immutable == Some(true),
        values: (map.data.into_iter().flatten().map(|(key, text)| (key, text.into_bytes())))
            .chain(map.binary_data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)))
            .collect(),
    });
    let secrets = follow::<Secret>(runner, Kind::Secret, |secret| Keys {
        immutable: secret.immutable == Some(true),
        values: secret.data.into_iter().flatten().map(|(key, bytes)| (key, bytes.0)).collect(),
    });
    futures::future::try_join(maps, secrets).await.map(|_| ())
}

async fn follow<K>(runner: &Arc<Runner>, kind: Kind, keys: fn(K) -> Keys) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let objects = &runner.objects;
    let place = |object: &K| {
        let meta = object.meta();
        (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    };
    let api = Api::<K>::all(runner.client.clone());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut seen = BTreeSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => seen.clear(),
            Ok(Some(watcher::Event::InitApply(object))) => {
                let (namespace, name) = place(&object);
                objects.put(kind, &namespace, &name, keys(object));
                seen.insert((namespace, name));
            }
            Ok(Some(watcher::Event::InitDone)) => {
                objects.keep_only(kind, &seen);
                objects.listed.send_modify(|kinds| {
                    kinds.insert(kind);
                });
            }
            Ok(Some(watcher::Event::Apply(object))) => {
                let (namespace, name) = place(&object);
                objects.put(kind, &namespace, &name, keys(object));
            }
            Ok(Some(watcher::Event::Delete(object))) => {
                let (namespace, name) = place(&object);
                objects.remove(kind, &namespace, &name);
            }
            Ok(None) => anyhow::bail!("the watch of {}s ended", kind.word()),
            Err(fault) => super::note(format!("watch of {}s: {fault}", kind.word())),
        }
    }
}
