//! The Service through which metrics of the driver and the syncer are read.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::controller::{CONTROLLER, DRIVER_METRICS, SYNCER_METRICS};
use super::{namespaced, selected};

pub(super) fn build() -> Service {
    let port = |name: &str, port: i32| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    let mut metadata = namespaced(CONTROLLER);
    metadata.labels = Some(selected(CONTROLLER));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            ports: Some(vec![port("ctlr", DRIVER_METRICS), port("syncer", SYNCER_METRICS)]),
            selector: Some(selected(CONTROLLER)),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
