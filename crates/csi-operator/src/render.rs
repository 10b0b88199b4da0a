//! Builds every object of the driver from checked values.
//!
//! One template for all releases; what differs comes from [`crate::releases`]. Where an object deliberately differs
//! from the one that the driver's makers publish, `docs/driver-differences.md` says why.
//!
//! **Invariant:** total and deterministic. No CRD and no object of `cns.vmware.com` is rendered: the driver creates
//! and overwrites its own.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vdo_api::names::CSI_NAMESPACE;
use vdo_compat::Driver;
use vdo_plan::{Object, ObjectRef, Revision, Stage};

use crate::inputs::{Inputs, Snapshots};
use crate::stages;

mod config_secret;
mod controller;
mod csidriver;
mod feature_states;
mod node;
mod pod;
mod rbac;
mod service;
mod service_account;

pub use config_secret::{CONFIG_KEY, CONFIG_SECRET_PREFIX};
pub use controller::CONTROLLER;
pub use feature_states::FEATURE_STATES;
pub use node::{KUBELET_VOLUME, NODE};
pub use rbac::{Grants, granted_rules};

/// Everything of one release with these inputs. The key makes the ids of contents that hold a password.
pub fn render(inputs: &Inputs, hmac_key: &[u8]) -> Revision {
    let config = config_secret::build(inputs, hmac_key);
    let config_name = config.metadata.name.clone().unwrap_or_default();
    let mut configuration: Vec<Object> = service_account::build().iter().map(Object::new).collect();
    configuration.extend(rbac::build(inputs.snapshots));
    configuration.push(Object::new(&feature_states::build(inputs.facts)));
    configuration.push(Object::new(&config));
    configuration.push(Object::new(&csidriver::build()));
    configuration.push(Object::new(&service::build()));
    let stages = vec![
        Stage { name: stages::CONFIGURATION.to_owned(), objects: configuration },
        Stage {
            name: stages::CONTROLLER.to_owned(),
            objects: vec![Object::new(&controller::build(inputs, &config_name))],
        },
        Stage { name: stages::NODE.to_owned(), objects: vec![Object::new(&node::build(inputs))] },
    ];
    Revision::seal(Driver::Csi, inputs.facts.release, &inputs.asked(), stages, hmac_key)
}

/// Every object that is rendered under a fixed name, whatever the release and the inputs: what an operator's own
/// role pins by name, and what must not be somebody else's. Only the configuration Secret is missing, whose name
/// begins with [`CONFIG_SECRET_PREFIX`].
pub fn fixed_objects() -> Vec<ObjectRef> {
    let workload = |kind: &str, name: &str| ObjectRef {
        api_version: "apps/v1".to_owned(),
        kind: kind.to_owned(),
        namespace: Some(CSI_NAMESPACE.to_owned()),
        name: name.to_owned(),
    };
    let switches = crate::releases::all().first().map(feature_states::build);
    let mut objects: Vec<Object> = service_account::build().iter().map(Object::new).collect();
    objects.extend(rbac::build(Snapshots::Served));
    objects.extend(switches.iter().map(Object::new));
    objects.push(Object::new(&csidriver::build()));
    objects.push(Object::new(&service::build()));
    let fixed = objects.iter().map(|object| object.reference().clone());
    fixed.chain([workload("Deployment", CONTROLLER), workload("DaemonSet", NODE)]).collect()
}

/// Metadata of something in the driver's namespace.
fn namespaced(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(CSI_NAMESPACE.to_owned()),
        ..ObjectMeta::default()
    }
}

/// Metadata of something without a namespace.
fn cluster_wide(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// The one label of a selector. It is the label that the driver's makers select by, too: an API server will not
/// change a selector, so a new one here would force us to delete a running driver.
fn selected(workload: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("app".to_owned(), workload.to_owned())])
}
