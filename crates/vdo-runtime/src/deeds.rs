//! Makes the writes of a plan, in order, and stops at the first that fails. Knows stages, prunes, the journal
//! and finalizers, and nothing about drivers.

use kube::ResourceExt;
use vdo_api::VDOConfig;
use vdo_plan::driver::Deed;

use crate::apply::{Outcome, Write, execute};
use crate::client::{Cluster, Licence};
use crate::fault::KubeFault;
use crate::journal::{JournalStore, Stored};
use crate::status::{apply_finalizer, release_finalizer};

/// Who writes.
pub struct Hands<'a> {
    /// The API server.
    pub cluster: &'a Cluster,
    /// The field manager.
    pub manager: &'static str,
    /// The finalizer of the driver.
    pub finalizer: &'static str,
    /// Where the journal is.
    pub store: &'a JournalStore,
}

/// What became of the writes of a pass.
#[derive(Debug)]
pub struct Deeds {
    /// The VDOConfig as our last write to it left it; `None` once it is gone.
    pub config: Option<VDOConfig>,
    /// What became of the objects.
    pub objects: Outcome,
    /// The first thing that failed: what was done, and what the API server said.
    pub failed: Option<(String, KubeFault)>,
}

impl Deeds {
    /// Whether everything was done.
    pub fn complete(&self) -> bool {
        self.failed.is_none() && self.objects.is_complete()
    }
}

/// Makes the deeds. `look_again` answers whether, looked at live, nothing of the driver is left.
pub async fn make(
    hands: &Hands<'_>,
    config: VDOConfig,
    mut stored: Stored,
    deeds: &[Deed],
    look_again: impl AsyncFn() -> Result<bool, KubeFault>,
) -> Deeds {
    let mut done = Deeds { config: Some(config), objects: Outcome::default(), failed: None };
    for deed in deeds {
        // A finalizer or a journal is no object of the driver, but what follows it would be.
        if hands.cluster.licence() != Licence::Granted {
            let why = KubeFault::Other { message: "no object may be written at this moment".to_owned() };
            done.failed = Some(("began to write".to_owned(), why));
            return done;
        }
        let failed = match deed {
            Deed::TakeFinalizer => match &done.config {
                Some(seen) => apply_finalizer(hands.cluster, hands.manager, seen, hands.finalizer)
                    .await
                    .map(|config| done.config = Some(config))
                    .err(),
                None => None,
            },
            Deed::ReleaseFinalizer => match &done.config {
                Some(seen) => release_finalizer(hands.cluster, hands.manager, seen, hands.finalizer)
                    .await
                    .map(|config| done.config = config)
                    .err(),
                None => None,
            },
            Deed::WriteJournal(journal) => match hands.store.store(&stored, journal).await {
                Ok(now) => {
                    stored = now;
                    None
                }
                Err(error) => Some(error.into_fault()),
            },
            Deed::Apply(stages) => {
                for stage in stages {
                    let writes: Vec<Write> = stage.iter().cloned().map(Write::Apply).collect();
                    done.objects.absorb(execute(hands.cluster, hands.manager, &writes).await);
                    if !done.objects.is_complete() {
                        break;
                    }
                }
                None
            }
            Deed::Prune(prunes) => {
                let delete = |it: &vdo_plan::driver::Prune| Write::Delete {
                    reference: it.reference.clone(),
                    uid: it.uid.clone(),
                };
                let writes: Vec<Write> = prunes.iter().map(delete).collect();
                done.objects.absorb(execute(hands.cluster, hands.manager, &writes).await);
                None
            }
            Deed::LookAgain => match look_again().await {
                Ok(true) => None,
                Ok(false) => {
                    Some(KubeFault::Conflict { message: "something of the driver is still there".to_owned() })
                }
                Err(fault) => Some(fault),
            },
        };
        if let Some(fault) = failed {
            let name = done.config.as_ref().map(ResourceExt::name_any).unwrap_or_default();
            tracing::warn!(deed = named(deed), config = name, %fault, "a write of this pass failed");
            done.failed = Some((named(deed).to_owned(), fault));
        }
        if !done.complete() {
            return done;
        }
    }
    done
}

fn named(deed: &Deed) -> &'static str {
    match deed {
        Deed::TakeFinalizer => "set the finalizer",
        Deed::WriteJournal(_) => "wrote the journal",
        Deed::Apply(_) => "applied objects",
        Deed::Prune(_) => "deleted objects",
        Deed::LookAgain => "looked once more",
        Deed::ReleaseFinalizer => "released the finalizer",
    }
}
