//! The journal in its Secret: compressed, bounded, and written only over the version that was read.

use std::io::{Read, Write};
use std::sync::{Mutex, OnceLock};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use kube::{Resource, ResourceExt};
use ring::rand::{SecureRandom, SystemRandom};
use vdo_api::names;
use vdo_plan::journal::Journal;

use crate::client::{Cluster, READ_DEADLINE, built};
use crate::fault::KubeFault;
use crate::watch::lock;

/// The type of the Secret, by which it is told from credentials.
const SECRET_TYPE: &str = "vdo.vmware.com/journal";
/// The one key of the Secret.
const KEY: &str = "journal";
/// The most that is stored: a Secret may have 1 MiB, and etcd's request 1.5 MiB.
const STORED_LIMIT: usize = 900 * 1024;
/// The most that is unpacked.
const UNPACKED_LIMIT: u64 = 32 * 1024 * 1024;

/// Why the journal could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The API server failed us, or somebody else wrote first.
    #[error("failed to reach the journal {name}")]
    Kube {
        /// The Secret.
        name: String,
        /// What happened.
        source: KubeFault,
    },
    /// What is stored is no journal of ours.
    #[error("the Secret {name} holds no journal that this release can read: {why}")]
    Unreadable {
        /// The Secret.
        name: String,
        /// Where reading it failed; never a part of it.
        why: String,
    },
    /// It does not fit into a Secret.
    #[error("the journal {name} would have {bytes} bytes")]
    TooLarge {
        /// The Secret.
        name: String,
        /// How large it would be.
        bytes: usize,
    },
}

impl JournalError {
    /// What the API server did, if it was the API server.
    pub fn fault(&self) -> Option<&KubeFault> {
        match self {
            JournalError::Kube { source, .. } => Some(source),
            JournalError::Unreadable { .. } | JournalError::TooLarge { .. } => None,
        }
    }

    /// As the fault of a request, for callers that only retry.
    pub fn into_fault(self) -> KubeFault {
        match self {
            JournalError::Kube { source, .. } => source,
            error @ JournalError::Unreadable { .. } => KubeFault::Malformed { message: error.to_string() },
            error @ JournalError::TooLarge { .. } => KubeFault::Invalid { message: error.to_string() },
        }
    }
}

/// A journal, and the version of the Secret that it was read from; none if there is no Secret yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// What is remembered.
    pub journal: Journal,
    version: Option<String>,
    bytes: usize,
}

impl Stored {
    /// Whether there is a Secret.
    pub fn exists(&self) -> bool {
        self.version.is_some()
    }

    /// How much of the Secret it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where one driver's journal is kept.
pub struct JournalStore {
    cluster: Cluster,
    namespace: String,
    name: String,
    manager: String,
    /// The key of a journal that is not stored yet, so that it is the same in every pass until it is.
    fresh_key: OnceLock<Vec<u8>>,
    /// What was read or written last; none after a write whose end is not known.
    last: Mutex<Option<Stored>>,
}

impl JournalStore {
    /// The journal of a driver, in the namespace of the operators.
    pub fn new(cluster: &Cluster, namespace: &str, driver: &str, manager: &str) -> Self {
        JournalStore {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: names::journal(driver),
            manager: manager.to_owned(),
            fresh_key: OnceLock::new(),
            last: Mutex::default(),
        }
    }

    /// The journal as we read or wrote it last. We are the only ones who write it; whoever acts on it reads it live.
    pub fn last(&self) -> Option<Stored> {
        lock(&self.last).clone()
    }

    /// Reads it. Without a Secret it is empty but for a random key, and nothing is written.
    pub async fn fetch(&self) -> Result<Stored, JournalError> {
        let read = self.read().await;
        *lock(&self.last) = read.as_ref().ok().cloned();
        read
    }

    async fn read(&self) -> Result<Stored, JournalError> {
        let request =
            built(self.path().get(&self.name, &GetParams::default())).map_err(|fault| self.failed(fault))?;
        match self.cluster.send::<Secret>(READ_DEADLINE, request).await {
            Ok(secret) => self.unpack(&secret),
            Err(KubeFault::NotFound { .. }) => {
                let journal = Journal { hmac_key: self.fresh_key()?, ..Journal::default() };
                Ok(Stored { journal, version: None, bytes: 0 })
            }
            Err(fault) => Err(self.failed(fault)),
        }
    }

    /// Writes `journal` in the place of `seen`. If somebody wrote since, the fault is `Conflict`, and nothing
    /// is written.
    pub async fn store(&self, seen: &Stored, journal: &Journal) -> Result<Stored, JournalError> {
        *lock(&self.last) = None;
        let stored = self.replace(seen, journal).await?;
        *lock(&self.last) = Some(stored.clone());
        Ok(stored)
    }

    async fn replace(&self, seen: &Stored, journal: &Journal) -> Result<Stored, JournalError> {
        let packed =
            pack(journal).map_err(|why| JournalError::Unreadable { name: self.name.clone(), why })?;
        if packed.len() > STORED_LIMIT {
            return Err(JournalError::TooLarge { name: self.name.clone(), bytes: packed.len() });
        }
        let bytes = packed.len();
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                namespace: Some(self.namespace.clone()),
                resource_version: seen.version.clone(),
                // Without the driver's label: the journal is no object of the driver, and never its orphan.
                labels: Some([(names::MANAGED_BY_LABEL.to_owned(), names::MANAGED_BY.to_owned())].into()),
                ..ObjectMeta::default()
            },
            type_: Some(SECRET_TYPE.into()),
            data: Some([(KEY.to_owned(), ByteString(packed))].into()),
            ..Secret::default()
        };
        let stored = self.write(seen, &secret).await.map_err(|fault| self.failed(fault.without_content()))?;
        // An answer without a version is none of the API server's: nothing may rest on it.
        let version = stored.resource_version().filter(|version| !version.is_empty());
        let version = version.ok_or_else(|| {
            self.failed(KubeFault::Malformed {
                message: "the answer to the write of the journal has no version".into(),
            })
        })?;
        Ok(Stored { journal: journal.clone(), version: Some(version), bytes })
    }

    async fn write(&self, seen: &Stored, secret: &Secret) -> Result<Secret, KubeFault> {
        let body = serde_json::to_vec(secret).map_err(|error| KubeFault::malformed(&error))?;
        let params = PostParams { field_manager: Some(self.manager.clone()), dry_run: false };
        let request = match seen.version {
            Some(_) => self.path().replace(&self.name, &params, body),
            None => self.path().create(&params, body),
        };
        match self.cluster.write(built(request)?).await {
            // Somebody deleted it since it was read.
            Err(KubeFault::NotFound { message }) if seen.version.is_some() => {
                Err(KubeFault::Conflict { message })
            }
            answer => answer,
        }
    }

    fn unpack(&self, secret: &Secret) -> Result<Stored, JournalError> {
        let unreadable = |why: String| JournalError::Unreadable { name: self.name.clone(), why };
        let packed = secret.data.as_ref().and_then(|data| data.get(KEY));
        let packed = packed.ok_or_else(|| unreadable(format!("it has no key {KEY}")))?;
        let journal = unpack(&packed.0).map_err(unreadable)?;
        if journal.hmac_key.is_empty() {
            return Err(unreadable("it has lost its key".into()));
        }
        Ok(Stored { journal, version: secret.resource_version(), bytes: packed.0.len() })
    }

    fn fresh_key(&self) -> Result<Vec<u8>, JournalError> {
        if let Some(key) = self.fresh_key.get() {
            return Ok(key.clone());
        }
        let mut key = vec![0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| {
            self.failed(KubeFault::Other { message: "the system gives no random numbers".into() })
        })?;
        Ok(self.fresh_key.get_or_init(|| key).clone())
    }

    fn path(&self) -> Request {
        Request::new(Secret::url_path(&(), Some(&self.namespace)))
    }

    fn failed(&self, source: KubeFault) -> JournalError {
        JournalError::Kube { name: format!("{}/{}", self.namespace, self.name), source }
    }
}

fn pack(journal: &Journal) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let text = serde_json::to_vec(journal).map_err(|error| error.to_string())?;
    encoder.write_all(&text).map_err(|error| error.to_string())?;
    encoder.finish().map_err(|error| error.to_string())
}

fn unpack(packed: &[u8]) -> Result<Journal, String> {
    let mut text = Vec::new();
    GzDecoder::new(packed)
        .take(UNPACKED_LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("not compressed as it should be: {error}"))?;
    if text.len() as u64 > UNPACKED_LIMIT {
        return Err(format!("larger than {UNPACKED_LIMIT} bytes when unpacked"));
    }
    serde_json::from_slice(&text).map_err(|error| format!("line {} column {}", error.line(), error.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let journal = Journal { hmac_key: vec![7; 32], ..Journal::default() };
        assert_eq!(unpack(&pack(&journal).unwrap()).unwrap(), journal);
        assert!(unpack(b"{}").is_err());
    }

    #[test]
    fn a_journal_that_would_fill_the_memory_is_refused() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let chunk = vec![b' '; 1024 * 1024];
        for _ in 0..40 {
            encoder.write_all(&chunk).unwrap();
        }
        let why = unpack(&encoder.finish().unwrap()).unwrap_err();
        assert!(why.contains("larger than"), "{why}");
    }
}
