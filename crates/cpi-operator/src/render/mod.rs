//! Renders a revision of the cloud provider. Total: checked inputs always render.

mod access;
mod configuration;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use vdo_api::names::CPI_NAMESPACE;
use vdo_compat::Driver;
use vdo_plan::{Revision, Stage};

use crate::inputs::Inputs;

pub use access::{ACCOUNT, granted};
pub use workload::{DAEMON_SET, LEASE, skips_node_deletion};

/// Renders everything that the cloud provider consists of, under the key that names revisions.
pub fn render(inputs: &Inputs, key: &[u8]) -> Revision {
    let configuration = configuration::Rendered::new(inputs, key);
    let workload = workload::daemon_set(inputs, &configuration);
    let credentials = configuration.credentials_digest().unwrap_or_default().to_owned();
    let mut first = access::objects(inputs.facts.credentials);
    first.extend(configuration.into_objects());
    let stages = vec![
        Stage { name: "configuration".to_owned(), objects: first },
        Stage { name: "workload".to_owned(), objects: vec![workload] },
    ];
    Revision::seal(Driver::Cpi, inputs.release, &inputs.asked(), stages, key).started_with(credentials)
}

/// The metadata of an object in the driver's namespace.
fn here(name: &str) -> ObjectMeta {
    within(CPI_NAMESPACE, name)
}

fn within(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta { namespace: Some(namespace.to_owned()), ..anywhere(name) }
}

fn anywhere(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
