//! Events: a courtesy to people. One that cannot be written is logged and forgotten, never an error.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::core::Request;
use kube::core::params::PostParams;
use kube::{Resource, ResourceExt};
use serde::de::IgnoredAny;
use vdo_api::Reason;
use vdo_api::condition::clip;

use crate::client::{Cluster, built};
use crate::clock::wall;
use crate::fault::KubeFault;

/// How long emitting one may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// The API server refuses a longer note.
const NOTE_LIMIT: usize = 1000;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// As intended.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Where the events of one operator come from.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The operator, as in `vdo-core`.
    pub operator: String,
    /// The pod.
    pub pod: String,
}

impl Reporter {
    /// Emits one event about an object. `action` is one word for what was done or not done.
    pub async fn emit<K>(
        &self,
        cluster: &Cluster,
        about: &K,
        weight: Weight,
        reason: &Reason,
        action: &str,
        note: &str,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let event = self.event(about, weight, reason, action, note);
        let sent = async {
            let body = serde_json::to_vec(&event).map_err(|error| KubeFault::malformed(&error))?;
            let namespace = event.metadata.namespace.as_deref();
            let path = Request::new(Event::url_path(&(), namespace));
            let request = built(path.create(&PostParams::default(), body))?;
            cluster.send::<IgnoredAny>(DEADLINE, request).await
        };
        if let Err(fault) = sent.await {
            tracing::warn!(reason = reason.name, %fault, "event not written");
        }
    }

    fn event<K>(&self, about: &K, weight: Weight, reason: &Reason, action: &str, note: &str) -> Event
    where
        K: Resource<DynamicType = ()>,
    {
        let meta = about.meta();
        // An event about a cluster-wide object lives in `default`; the API server insists.
        let namespace = meta.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let random = std::hash::RandomState::new().build_hasher().finish();
        let name = format!("{}.{random:016x}", clip(&about.name_any(), 200));
        Event {
            metadata: ObjectMeta {
                name: Some(name),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(wall())),
            reporting_controller: Some(format!("vdo.vmware.com/{}", self.operator)),
            reporting_instance: Some(clip(&self.pod, 128)),
            action: Some(clip(action, 128)),
            reason: Some(clip(reason.name, 128)),
            type_: Some(
                match weight {
                    Weight::Normal => "Normal",
                    Weight::Warning => "Warning",
                }
                .to_owned(),
            ),
            note: Some(bytes_clipped(note, NOTE_LIMIT)),
            regarding: Some(ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: meta.name.clone(),
                namespace: meta.namespace.clone(),
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone(),
                ..ObjectReference::default()
            }),
            ..Event::default()
        }
    }
}

/// The text, cut at a character border so that it has at most `limit` bytes.
fn bytes_clipped(text: &str, limit: usize) -> String {
    let end = (0..=limit.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use vdo_api::reason::AS_WANTED;

    #[test]
    fn an_event_stays_within_the_bounds_of_the_server() {
        let about = ConfigMap {
            metadata: ObjectMeta {
                name: Some("x".repeat(253)),
                namespace: Some("n".into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        };
        let reporter = Reporter { operator: "vdo-core".into(), pod: "p".repeat(200) };
        let event = reporter.event(&about, Weight::Warning, &AS_WANTED, "Verify", &"ü".repeat(5000));
        assert!(event.note.unwrap().len() <= 1024);
        assert!(event.metadata.name.unwrap().len() <= 253);
        assert!(event.reporting_instance.unwrap().len() <= 130);
        assert_eq!(event.metadata.namespace.unwrap(), "n");
    }
}
