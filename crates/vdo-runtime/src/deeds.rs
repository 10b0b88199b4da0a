//! Makes the writes of a plan, in order, and stops at the first that fails. Knows stages, prunes, the journal
//! and finalizers, and nothing about drivers.

use kube::ResourceExt;
use vdo_api::VDOConfig;
use vdo_plan::Object;
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
    /// Somebody changed the VDOConfig before anything was written: a report on it would be refused, too.
    pub overtaken: Option<KubeFault>,
}

impl Deeds {
    /// Whether everything was done.
    pub fn complete(&self) -> bool {
        self.failed.is_none() && self.overtaken.is_none() && self.objects.is_complete()
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
    let mut done = Deeds { config: Some(config), objects: Outcome::default(), failed: None, overtaken: None };
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
                for batch in stages.iter().flat_map(|stage| in_order(stage)) {
                    done.objects.absorb(execute(hands.cluster, hands.manager, &batch).await);
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
            if matches!((deed, &fault), (Deed::TakeFinalizer, KubeFault::Conflict { .. })) {
                done.overtaken = Some(fault);
                return done;
            }
            tracing::warn!(deed = named(deed), config = name, %fault, "a write of this pass failed");
            done.failed = Some((named(deed).to_owned(), fault));
        }
        if !done.complete() {
            return done;
        }
    }
    done
}

/// The writes of one stage: what others refer to first. The API server refuses a binding to a role that is not there.
fn in_order(stage: &[Object]) -> [Vec<Write>; 2] {
    let (bindings, rest): (Vec<&Object>, Vec<&Object>) =
        stage.iter().partition(|object| object.reference().kind.ends_with("Binding"));
    [rest, bindings].map(|objects| objects.into_iter().cloned().map(Write::Apply).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    #[test]
    fn a_binding_is_written_after_the_role_that_it_names() {
        let metadata = ObjectMeta { name: Some("r".to_owned()), ..ObjectMeta::default() };
        let binding = Object::new(&RoleBinding { metadata: metadata.clone(), ..RoleBinding::default() });
        let role = Object::new(&Role { metadata, ..Role::default() });
        let [first, second] = in_order(&[binding.clone(), role.clone()]);
        assert_eq!((first, second), (vec![Write::Apply(role)], vec![Write::Apply(binding)]));
    }
}
