//! What the pods of the controller and of the nodes have in common.

use k8s_openapi::api::core::v1::{
    Capabilities, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, LocalObjectReference,
    ObjectFieldSelector, Probe, ResourceRequirements, SeccompProfile, SecurityContext, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vdo_api::names::{CSI, DRIVER_LABEL};

use super::{FEATURE_STATES, selected};
use crate::inputs::Inputs;
use crate::releases::Image;

/// The directory of the driver's socket, in every container.
pub(super) const SOCKET_DIRECTORY: &str = "/csi";
/// The driver's socket.
pub(super) const SOCKET: &str = "/csi/csi.sock";
/// Where the liveness sidecar answers.
pub(super) const HEALTH: i32 = 9808;

/// The image, from the makers or from the user's mirror, pinned by digest where one is known.
pub(super) fn image(inputs: &Inputs, image: &Image) -> String {
    image.reference(inputs.registry.as_deref())
}

pub(super) fn pull_secrets(inputs: &Inputs) -> Option<Vec<LocalObjectReference>> {
    let named = |name: &String| LocalObjectReference { name: name.clone() };
    (!inputs.pull_secrets.is_empty()).then(|| inputs.pull_secrets.iter().map(named).collect())
}

/// Labels of the pods: the selector's, and ours so that an operator lists its pods by one label.
pub(super) fn labels(workload: &str) -> std::collections::BTreeMap<String, String> {
    let mut labels = selected(workload);
    labels.insert(DRIVER_LABEL.to_owned(), CSI.to_owned());
    labels
}

pub(super) fn args<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
    Some(parts.into_iter().map(str::to_owned).collect())
}

/// Arguments with which the driver and the syncer find their switches.
pub(super) fn feature_state_args() -> [String; 2] {
    [format!("--fss-name={FEATURE_STATES}"), "--fss-namespace=$(CSI_NAMESPACE)".to_owned()]
}

pub(super) fn env(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), ..EnvVar::default() }
}

pub(super) fn env_of_field(name: &str, field: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: field.to_owned(), ..ObjectFieldSelector::default() };
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

pub(super) fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

pub(super) fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Asks by HTTP every `period` seconds; `failures` in a row count.
pub(super) fn http_probe(path: &str, port: i32, period: i32, timeout: i32, failures: i32) -> Option<Probe> {
    Some(Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(port),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Probe::default()
    })
}

/// What is asked for and no limit: a storage driver that is stopped for its memory takes every mount with it.
pub(super) fn requests(cpu: &str, memory: &str) -> Option<ResourceRequirements> {
    let requests = [("cpu", cpu), ("memory", memory)];
    let quantity = |(name, amount): (&str, &str)| (name.to_owned(), Quantity(amount.to_owned()));
    Some(ResourceRequirements {
        requests: Some(requests.into_iter().map(quantity).collect()),
        ..ResourceRequirements::default()
    })
}

/// A container that may do nothing but run.
pub(super) fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}
