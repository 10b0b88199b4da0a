//! The journal: what an operator remembers of its driver, so that a hold, a repair, a rollback or a removal
//! never depends on rendering again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::object::ObjectRef;
use crate::revision::{Key, Revision};

/// What is kept of one driver. Stored compressed in one Secret, written by compare-and-swap only.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Journal {
    /// The random key of all revision ids; made once.
    #[serde(default)]
    pub hmac_key: Vec<u8>,
    /// The revision that the journal says is installed.
    #[serde(default)]
    pub installed: Option<Key>,
    /// The bytes of the installed revision and of the one about to be claimed.
    #[serde(default)]
    pub revisions: BTreeMap<String, Revision>,
    /// Every revision whose objects may exist, with the objects.
    #[serde(default)]
    pub known: BTreeMap<String, BTreeSet<ObjectRef>>,
    /// For each object of the installed revision: a digest of the fields that the API server counts as ours.
    #[serde(default)]
    pub owned_fields: BTreeMap<String, String>,
    /// Objects whose bytes above are newer than what was seen applied. They keep their revision, so nothing else tells.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub unapplied: BTreeSet<ObjectRef>,
}

impl Journal {
    /// The revision with this id, if its bytes are kept.
    pub fn revision(&self, id: &str) -> Option<&Revision> {
        self.revisions.get(id)
    }

    /// Every object that any revision may have left.
    pub fn objects(&self) -> BTreeSet<ObjectRef> {
        self.known.values().flatten().cloned().collect()
    }

    /// Remembers a revision before it is claimed.
    pub fn remember(&mut self, revision: &Revision) {
        let objects = revision.objects().map(|object| object.reference().clone()).collect();
        self.known.insert(revision.key.id.clone(), objects);
        self.revisions.insert(revision.key.id.clone(), revision.clone());
    }

    /// Whether nothing is remembered but the key, which outlives every driver.
    pub fn is_clear(&self) -> bool {
        self.installed.is_none() && self.revisions.is_empty() && self.known.is_empty()
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("installed", &self.installed)
            .field("revisions", &self.revisions.keys().collect::<Vec<_>>())
            .field("known", &self.known.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
