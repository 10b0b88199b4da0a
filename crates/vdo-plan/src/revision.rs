//! A revision: one release with everything rendered, in the order in which it is applied.

use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use vdo_api::names;
use vdo_compat::{Driver, Release};

use crate::object::{Intake, Object, ObjectRef};

/// A revision by name: the release and the id of its content.
pub type Key = crate::order::Key<Release, String>;

/// Objects that are applied together, once the stage before has done its part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What it is for, as in `configuration` or `node`.
    pub name: String,
    /// Its objects, in the order in which they are applied.
    pub objects: Vec<Object>,
}

/// A release with everything rendered. Every object bears the revision's id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Its name.
    pub key: Key,
    /// A keyed digest of what was asked for: what the user wrote and what was found, and not how it is rendered. Two
    /// revisions of one release that agree in it differ in rendering only.
    #[serde(default)]
    pub configuration: String,
    /// A keyed digest of the credentials that the driver reads when it starts and never again; empty where it reads them
    /// while it runs. With it a new password is another revision of the same configuration.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub credentials: String,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
}

/// The driver's name in labels and object names: `cpi` or `csi`.
pub fn slug(driver: Driver) -> &'static str {
    match driver {
        Driver::Cpi => names::CPI,
        Driver::Csi => names::CSI,
    }
}

impl Revision {
    /// Names the rendered stages and marks every object as ours.
    ///
    /// The id is a keyed digest, so that nobody can test guesses of a password against it. Replica counts
    /// follow the cluster and credentials that the driver reads live follow their Secret: neither is part of it.
    pub fn seal(
        driver: Driver,
        release: Release,
        configuration: &Value,
        mut stages: Vec<Stage>,
        key: &[u8],
    ) -> Self {
        let mut content = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        content.update(release.to_string().as_bytes());
        for object in stages.iter().flat_map(|stage| &stage.objects) {
            let mut value = object.value().clone();
            if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("replicas");
            }
            if object.intake() == Intake::Live {
                value = json!({ "live": object.reference() });
            }
            content.update(b"\0");
            content.update(value.to_string().as_bytes());
        }
        let id: String = content.sign().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        for object in stages.iter_mut().flat_map(|stage| &mut stage.objects) {
            let metadata = &mut object.value_mut()["metadata"];
            metadata["labels"][names::DRIVER_LABEL] = Value::from(slug(driver));
            metadata["labels"][names::MANAGED_BY_LABEL] = Value::from(names::MANAGED_BY);
            metadata["annotations"][names::REVISION_ANNOTATION] = Value::from(id.as_str());
        }
        let configuration = content_id(key, configuration.to_string().as_bytes());
        Revision { key: Key { release, id }, configuration, credentials: String::new(), stages }
    }

    /// This revision of a driver that reads credentials only when it starts: those with this keyed digest. The pods have
    /// to bear the digest as well, or a new password would be another revision and start none of them.
    pub fn started_with(self, credentials: String) -> Self {
        Revision { credentials, ..self }
    }

    /// Every object, in the order in which they are applied.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.stages.iter().flat_map(|stage| &stage.objects)
    }

    /// The object of this name.
    pub fn object(&self, reference: &ObjectRef) -> Option<&Object> {
        self.objects().find(|object| object.reference() == reference)
    }

    /// Whether `other` is this release with this configuration, rendered by another build.
    pub fn differs_in_rendering_only(&self, other: &Revision) -> bool {
        self.key != other.key && self.is_as_asked_in(other) && self.credentials == other.credentials
    }

    /// Whether the contents that the driver reads live are the same in `other`, but for their age: what was asked for is
    /// the same, whatever the rendering and the password.
    pub fn shares_contents_with(&self, other: &Revision) -> bool {
        self.key == other.key || self.is_as_asked_in(other)
    }

    /// Whether `other` is the same with other credentials, which this driver reads only when it starts.
    pub fn differs_in_credentials(&self, other: &Revision) -> bool {
        self.is_as_asked_in(other) && self.credentials != other.credentials
    }

    fn is_as_asked_in(&self, other: &Revision) -> bool {
        self.key.release == other.key.release
            && !self.configuration.is_empty()
            && self.configuration == other.configuration
    }

    /// This revision with what follows the cluster taken from `fresh`: contents that the driver reads live, and replica
    /// counts. Its id does not change by that.
    pub fn refreshed(&self, fresh: &Revision) -> Revision {
        let mut revision = self.clone();
        for object in revision.stages.iter_mut().flat_map(|stage| &mut stage.objects) {
            let Some(new) = fresh.object(object.reference()) else { continue };
            if object.intake() == Intake::Live && new.intake() == Intake::Live {
                for part in ["data", "stringData"] {
                    if let Some(content) = new.value().get(part) {
                        object.value_mut()[part] = content.clone();
                    }
                }
            }
            let replicas = new.value().pointer("/spec/replicas").cloned();
            if let (Some(count), Some(old)) = (replicas, object.value_mut().pointer_mut("/spec/replicas")) {
                *old = count;
            }
        }
        revision
    }

    /// A digest of what the driver reads live, under the same key; equal exactly when nothing of it changed.
    pub fn live_digest(&self, key: &[u8]) -> String {
        let mut content = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for object in self.objects().filter(|object| object.intake() == Intake::Live) {
            content.update(object.value().to_string().as_bytes());
            content.update(b"\0");
        }
        content.sign().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A short keyed digest of some text, for names that carry the id of their content.
pub fn content_id(key: &[u8], content: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), content);
    tag.as_ref().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn secret(password: &str) -> Secret {
        Secret {
            metadata: ObjectMeta { name: Some("s".into()), ..ObjectMeta::default() },
            data: Some([("password".to_owned(), ByteString(password.into()))].into()),
            ..Secret::default()
        }
    }

    fn sealed(object: Object, key: &[u8]) -> Revision {
        let stages = vec![Stage { name: "configuration".into(), objects: vec![object] }];
        Revision::seal(Driver::Cpi, "1.36.0".parse().unwrap(), &json!({}), stages, key)
    }

    #[test]
    fn the_id_follows_the_content_and_the_key() {
        let one = sealed(Object::new(&secret("a")), b"k");
        assert_eq!(one, sealed(Object::new(&secret("a")), b"k"));
        assert_ne!(one.key, sealed(Object::new(&secret("b")), b"k").key);
        assert_ne!(one.key, sealed(Object::new(&secret("a")), b"other").key);
    }

    #[test]
    fn a_live_secret_changes_the_live_digest_and_not_the_id() {
        let (one, two) = (sealed(Object::live(&secret("a")), b"k"), sealed(Object::live(&secret("b")), b"k"));
        assert_eq!(one.key, two.key);
        assert_ne!(one.live_digest(b"k"), two.live_digest(b"k"));
    }

    #[test]
    fn every_object_bears_the_marks() {
        let revision = sealed(Object::new(&secret("a")), b"k");
        let metadata = &revision.objects().next().unwrap().value()["metadata"];
        assert_eq!(metadata["labels"]["vdo.vmware.com/driver"], "cpi");
        assert_eq!(metadata["annotations"]["vdo.vmware.com/revision"], revision.key.id.as_str());
    }
}
