//! The plug-in on every Linux node: mounts volumes and registers the driver with the kubelet.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ExecAction, HostPathVolumeSource, PodSpec, PodTemplateSpec, Probe,
    SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vdo_api::names::CSI_DRIVER_NAME;

use super::pod::{
    HEALTH, SOCKET, SOCKET_DIRECTORY, args, confined, env, env_of_field, feature_state_args, http_probe,
    image, labels, mount, port, pull_secrets, requests,
};
use super::{namespaced, selected};
use crate::inputs::Inputs;

/// The DaemonSet and its account.
pub const NODE: &str = "vsphere-csi-node";

const PLUGIN_VOLUME: &str = "plugin";
const REGISTRATION_VOLUME: &str = "registration";
/// The volume of the kubelet's root directory.
pub const KUBELET_VOLUME: &str = "kubelet";

pub(super) fn build(inputs: &Inputs) -> DaemonSet {
    DaemonSet {
        metadata: namespaced(NODE),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(selected(NODE)), ..LabelSelector::default() },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::Int(1)),
                    ..RollingUpdateDaemonSet::default()
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(NODE)), ..ObjectMeta::default() }),
                spec: Some(pod(inputs)),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn pod(inputs: &Inputs) -> PodSpec {
    let root = inputs.kubelet_root.as_str();
    let plugin = format!("{root}/plugins/{CSI_DRIVER_NAME}");
    let every_taint = |effect: &str| Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    };
    PodSpec {
        service_account_name: Some(NODE.to_owned()),
        priority_class_name: Some("system-node-critical".to_owned()),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        host_network: Some(true),
        dns_policy: Some("ClusterFirstWithHostNet".to_owned()),
        tolerations: Some(vec![every_taint("NoExecute"), every_taint("NoSchedule")]),
        image_pull_secrets: pull_secrets(inputs),
        containers: vec![registrar(inputs, &plugin), driver(inputs, root), liveness(inputs)],
        volumes: Some(vec![
            host_path(REGISTRATION_VOLUME, &format!("{root}/plugins_registry"), Some("Directory")),
            host_path(PLUGIN_VOLUME, &plugin, Some("DirectoryOrCreate")),
            host_path(KUBELET_VOLUME, root, Some("Directory")),
            host_path("dev", "/dev", None),
            host_path("sys-block", "/sys/block", Some("Directory")),
            host_path("sys-devices", "/sys/devices", Some("Directory")),
        ]),
        ..PodSpec::default()
    }
}

fn driver(inputs: &Inputs, kubelet_root: &str) -> Container {
    let mut environment = vec![
        env_of_field("NODE_NAME", "spec.nodeName"),
        env("CSI_ENDPOINT", &format!("unix://{SOCKET}")),
        env("X_CSI_MODE", "node"),
        env("X_CSI_SPEC_REQ_VALIDATION", "false"),
        env("X_CSI_SPEC_DISABLE_LEN_CHECK", "true"),
        env("LOGGER_LEVEL", "PRODUCTION"),
        env_of_field("CSI_NAMESPACE", "metadata.namespace"),
        // The shortest wait for the node's topology that the driver accepts; the kubelet asks again.
        env("NODEGETINFO_WATCH_TIMEOUT_MINUTES", "1"),
    ];
    environment.extend(inputs.facts.node_env.iter().map(|(name, value)| env(name, value)));
    Container {
        name: NODE.to_owned(),
        image: Some(image(inputs, &inputs.facts.driver)),
        args: args(feature_state_args().iter().map(String::as_str)),
        env: Some(environment),
        ports: Some(vec![port("healthz", HEALTH)]),
        volume_mounts: Some(vec![
            mount(PLUGIN_VOLUME, SOCKET_DIRECTORY),
            // What is mounted in here must be seen by the kubelet and by pods.
            VolumeMount {
                mount_propagation: Some("Bidirectional".to_owned()),
                ..mount(KUBELET_VOLUME, kubelet_root)
            },
            mount("dev", "/dev"),
            mount("sys-block", "/sys/block"),
            mount("sys-devices", "/sys/devices"),
        ]),
        readiness_probe: http_probe("/healthz", HEALTH, 10, 5, 3),
        liveness_probe: http_probe("/healthz", HEALTH, 10, 5, 6),
        // It mounts file systems on the host, which nothing less allows.
        security_context: Some(SecurityContext {
            privileged: Some(true),
            allow_privilege_escalation: Some(true),
            capabilities: Some(Capabilities {
                add: Some(vec!["SYS_ADMIN".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        resources: requests("10m", "50Mi"),
        ..Container::default()
    }
}

/// Its root file system stays writable: the registrar notes its registration there for its own probe.
fn registrar(inputs: &Inputs, plugin: &str) -> Container {
    let path = format!("--kubelet-registration-path={plugin}/csi.sock");
    let probe = ["/csi-node-driver-registrar", &path, "--mode=kubelet-registration-probe"];
    Container {
        name: "node-driver-registrar".to_owned(),
        image: Some(image(inputs, &inputs.facts.sidecars.registrar)),
        args: args(["--v=5", &format!("--csi-address={SOCKET}"), &path]),
        volume_mounts: Some(vec![
            mount(PLUGIN_VOLUME, SOCKET_DIRECTORY),
            mount(REGISTRATION_VOLUME, "/registration"),
        ]),
        liveness_probe: Some(Probe {
            exec: Some(ExecAction { command: args(probe) }),
            initial_delay_seconds: Some(3),
            ..Probe::default()
        }),
        security_context: Some(confined()),
        resources: requests("5m", "20Mi"),
        ..Container::default()
    }
}

fn liveness(inputs: &Inputs) -> Container {
    Container {
        name: "liveness-probe".to_owned(),
        image: Some(image(inputs, &inputs.facts.sidecars.liveness)),
        args: args(["--v=4", &format!("--csi-address={SOCKET}")]),
        volume_mounts: Some(vec![mount(PLUGIN_VOLUME, SOCKET_DIRECTORY)]),
        security_context: Some(SecurityContext { read_only_root_filesystem: Some(true), ..confined() }),
        resources: requests("5m", "20Mi"),
        ..Container::default()
    }
}

fn host_path(name: &str, path: &str, kind: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: kind.map(str::to_owned) }),
        ..Volume::default()
    }
}
