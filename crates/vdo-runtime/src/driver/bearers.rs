//! Which pods bear the token of an account that is gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::core::Request;
use kube::core::params::{DeleteParams, Preconditions};
use kube::{Resource, ResourceExt};
use serde::de::IgnoredAny;
use vdo_plan::Reading;
use vdo_plan::driver::{Bearer, Bearers, MadeBy};

use crate::client::{Cluster, Licence, built};
use crate::fault::KubeFault;
use crate::own::OwnObjects;
use crate::rows::{PodRow, SlimPod, pod_row};

/// A pod, with what its account is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Born {
    /// The pod.
    pub pod: PodRow,
    uid: Arc<str>,
    created: Timestamp,
    ending: bool,
}

/// The row of a pod.
pub fn born(pod: &SlimPod) -> Born {
    Born {
        pod: pod_row(pod),
        uid: pod.uid().unwrap_or_default().into(),
        // One without a time is never taken for an old one.
        created: pod.creation_timestamp().map_or(Timestamp::MAX, |time| time.0),
        ending: pod.meta().deletion_timestamp.is_some(),
    }
}

/// The pods of this controller, which bear the token of this account.
pub fn bearers(
    own: &OwnObjects,
    account: &'static str,
    at_once: usize,
    maker: MadeBy,
    pods: &Reading<Vec<Born>>,
) -> Bearers {
    bearers_since(own.account_made(account), account, at_once, maker, pods)
}

/// The same, with the time at which the account was made.
pub fn bearers_since(
    made: Option<Timestamp>,
    account: &'static str,
    at_once: usize,
    maker: MadeBy,
    pods: &Reading<Vec<Born>>,
) -> Bearers {
    let born = pods.present().into_iter().flatten().filter(|born| maker.is_maker_of(&born.pod.name));
    Bearers {
        account,
        made,
        at_once,
        pods: born
            .map(|born| Bearer {
                name: born.pod.name.clone(),
                uid: born.uid.clone(),
                created: born.created,
                ready: born.pod.ready,
                ending: born.ending,
            })
            .collect(),
    }
}

/// The pods alone.
pub fn pods(born: Reading<Vec<Born>>) -> Reading<Vec<PodRow>> {
    born.map(|born| born.into_iter().map(|born| born.pod).collect())
}

/// Deletes the pod that was seen, and no other of its name. One that is gone already is what was wanted.
pub(super) async fn delete(cluster: &Cluster, namespace: &str, pod: &Bearer) -> Result<(), KubeFault> {
    if cluster.licence() != Licence::Granted {
        return Err(KubeFault::Other { message: "no object may be written at this moment".to_owned() });
    }
    let seen = Preconditions { uid: Some(pod.uid.to_string()), resource_version: None };
    let params = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
    let path = Request::new(Pod::url_path(&(), Some(namespace)));
    match cluster.write::<IgnoredAny>(built(path.delete(&pod.name, &params))?).await {
        Ok(_) | Err(KubeFault::NotFound { .. } | KubeFault::Conflict { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}
