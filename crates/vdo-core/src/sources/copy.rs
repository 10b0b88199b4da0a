//! The last good copy of a fetched matrix, as a ConfigMap. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vdo_api::names::MATRIX_COPY;
use vdo_fetch::{Known, Pin};

const URL: &str = "url";
const SHA256: &str = "sha256";
const ETAG: &str = "etag";
const LAST_MODIFIED: &str = "lastModified";
const FETCHED: &str = "fetched";
const SETTLED: &str = "readTwice";
const CONTENT: &str = "matrix";
const SIGNATURE: &str = "signature";

/// A document that was good when it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Where it is from.
    pub url: String,
    /// The marks that its server put on it.
    pub known: Known,
    /// When it was fetched.
    pub fetched: String,
    /// Whether it was read twice, with time between.
    pub is_settled: bool,
    /// The document.
    pub bytes: Vec<u8>,
    /// The signature that it came with.
    pub signature: Option<Vec<u8>>,
}

impl Copy {
    /// As it is kept. The document is in `binaryData`, which nobody's cache of ConfigMaps holds.
    pub fn to_config_map(&self, namespace: &str) -> ConfigMap {
        let mut data = BTreeMap::from([
            (URL.to_owned(), self.url.clone()),
            (SHA256.to_owned(), Pin::of(&self.bytes).to_string()),
            (FETCHED.to_owned(), self.fetched.clone()),
            (SETTLED.to_owned(), self.is_settled.to_string()),
        ]);
        data.extend(self.known.etag.clone().map(|etag| (ETAG.to_owned(), etag)));
        data.extend(self.known.last_modified.clone().map(|day| (LAST_MODIFIED.to_owned(), day)));
        let mut binary = BTreeMap::from([(CONTENT.to_owned(), ByteString(self.bytes.clone()))]);
        binary.extend(self.signature.clone().map(|bytes| (SIGNATURE.to_owned(), ByteString(bytes))));
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(MATRIX_COPY.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data),
            binary_data: Some(binary),
            immutable: None,
        }
    }

    /// What is kept. None, if that is no copy, or not the one that was written.
    pub fn from_config_map(map: ConfigMap) -> Option<Self> {
        let mut data = map.data?;
        let mut binary = map.binary_data?;
        let bytes = binary.remove(CONTENT)?.0;
        let sha256: Pin = data.remove(SHA256)?.parse().ok()?;
        sha256.check(&bytes).ok()?;
        Some(Self {
            url: data.remove(URL)?,
            known: Known { etag: data.remove(ETAG), last_modified: data.remove(LAST_MODIFIED) },
            fetched: data.remove(FETCHED)?,
            is_settled: data.remove(SETTLED)? == "true",
            bytes,
            signature: binary.remove(SIGNATURE).map(|bytes| bytes.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> Copy {
        Copy {
            url: "https://matrix.example.com/m".to_owned(),
            known: Known { etag: Some("\"1\"".to_owned()), last_modified: None },
            fetched: "2026-01-02T03:04:05Z".to_owned(),
            is_settled: true,
            bytes: b"{}".to_vec(),
            signature: Some(vec![0x30]),
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        assert_eq!(Copy::from_config_map(copy().to_config_map("vdo")), Some(copy()));
    }

    #[test]
    fn what_somebody_changed_or_lost_is_no_copy() {
        let changed = |change: fn(&mut ConfigMap)| {
            let mut map = copy().to_config_map("vdo");
            change(&mut map);
            Copy::from_config_map(map)
        };
        for none in [
            changed(|map| map.binary_data = Some([(CONTENT.to_owned(), ByteString(b"[]".to_vec()))].into())),
            changed(|map| map.binary_data = None),
            changed(|map| map.data = None),
            changed(|map| drop(map.data.as_mut().unwrap().remove(URL))),
        ] {
            assert_eq!(none, None);
        }
    }
}
