//! The DaemonSet of the cloud provider.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, Container, EnvVar, HTTPGetAction, LocalObjectReference,
    NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext,
    Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use vdo_api::names::CREDENTIALS_DIGEST_ANNOTATION;
use vdo_plan::Object;

use super::access::ACCOUNT;
use super::configuration::{CA_DIRECTORY, CONFIG_DIRECTORY, CREDENTIALS, CREDENTIALS_DIRECTORY, Rendered};
use super::{here, map};
use crate::inputs::{Inputs, NodeDeletion};
use crate::releases::{AtItsEnd, CredentialsFrom};

/// The name of the DaemonSet.
pub const DAEMON_SET: &str = "vsphere-cloud-controller-manager";
/// The Lease in `kube-system` that its replicas share, also with an installation that is not ours.
pub const LEASE: &str = "cloud-controller-manager";
/// Where its health is served.
const HEALTH_PORT: i32 = 10258;
/// The variable whose presence switches node deletion off.
const SKIP_NODE_DELETION: &str = "SKIP_NODE_DELETION";
/// Mode of the files with credentials: the driver's group reads them, nobody else.
const CREDENTIALS_MODE: i32 = 0o440;
/// Labels that mark a control-plane node; any one of them.
const CONTROL_PLANE: [&str; 3] = [
    "node-role.kubernetes.io/control-plane",
    "node-role.kubernetes.io/controlplane",
    "node-role.kubernetes.io/master",
];

pub(super) fn daemon_set(inputs: &Inputs, configuration: &Rendered) -> Object {
    // These labels are the selector, which the API server will not change after creation. A new label here
    // would force us to delete a running driver, so further labels go on the pods only.
    let labels = map([("app.kubernetes.io/name", DAEMON_SET), ("app.kubernetes.io/part-of", "vdo")]);
    let annotations =
        configuration.credentials_digest().map(|digest| map([(CREDENTIALS_DIGEST_ANNOTATION, digest)]));
    Object::new(&DaemonSet {
        metadata: here(DAEMON_SET),
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            // The port is the node's: a second pod beside the first could not start.
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() }),
                spec: Some(pod(inputs, configuration)),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    })
}

fn pod(inputs: &Inputs, configuration: &Rendered) -> PodSpec {
    let config_map = |volume: &str, name: String| Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource { name, ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    };
    let mount = |volume: &str, path: &str| VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let mut volumes = vec![config_map("config", configuration.config_name())];
    let mut mounts = vec![mount("config", CONFIG_DIRECTORY)];
    if let Some(name) = configuration.authorities_name() {
        volumes.push(config_map("authorities", name));
        mounts.push(mount("authorities", CA_DIRECTORY));
    }
    match inputs.facts.credentials {
        CredentialsFrom::Files => {
            volumes.push(Volume {
                name: "credentials".to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(CREDENTIALS.to_owned()),
                    default_mode: Some(CREDENTIALS_MODE),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            });
            mounts.push(mount("credentials", CREDENTIALS_DIRECTORY));
        }
        CredentialsFrom::Secret => {}
    }
    let pull_secrets: Vec<LocalObjectReference> =
        inputs.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    PodSpec {
        containers: vec![container(inputs, mounts)],
        volumes: Some(volumes),
        service_account_name: Some(ACCOUNT.to_owned()),
        // It initialises the nodes that cluster DNS and the pod network wait for.
        host_network: Some(true),
        dns_policy: Some("Default".to_owned()),
        // The driver takes some variables that Services make for another vCenter.
        enable_service_links: Some(false),
        priority_class_name: Some("system-node-critical".to_owned()),
        affinity: Some(on_control_plane()),
        tolerations: Some(tolerations()),
        termination_grace_period_seconds: Some(match inputs.facts.at_its_end {
            AtItsEnd::WaitsToBeKilled => 1,
            // Long enough to log out of every vCenter.
            AtItsEnd::LogsOut => 30,
        }),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(1001),
            run_as_group: Some(1001),
            fs_group: Some(1001),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                ..SeccompProfile::default()
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn container(inputs: &Inputs, mounts: Vec<VolumeMount>) -> Container {
    let args = [
        "--cloud-provider=vsphere".to_owned(),
        format!("--cloud-config={CONFIG_DIRECTORY}/vsphere.conf"),
        "--v=2".to_owned(),
        "--profiling=false".to_owned(),
        // One worker initialises about seven nodes a second; ten do hundreds in the same time.
        "--concurrent-node-syncs=10".to_owned(),
        "--kube-api-qps=100".to_owned(),
        "--kube-api-burst=200".to_owned(),
    ];
    // The driver looks only whether the variable is there: even "false" would switch deletion off.
    let env = (inputs.node_deletion == NodeDeletion::Off).then(|| {
        vec![EnvVar {
            name: SKIP_NODE_DELETION.to_owned(),
            value: Some("true".to_owned()),
            ..EnvVar::default()
        }]
    });
    let amounts = [("cpu", "100m"), ("memory", "100Mi")];
    Container {
        name: DAEMON_SET.to_owned(),
        image: Some(inputs.facts.image(inputs.registry.as_deref())),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(args.into()),
        env,
        volume_mounts: Some(mounts),
        // Generous: no restart cures a vCenter that is away.
        liveness_probe: Some(Probe { failure_threshold: Some(6), period_seconds: Some(20), ..healthz(30) }),
        readiness_probe: Some(Probe { failure_threshold: Some(3), period_seconds: Some(5), ..healthz(0) }),
        resources: Some(ResourceRequirements {
            requests: Some(
                amounts.into_iter().map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).collect(),
            ),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

/// Whether this revision was rendered with node deletion switched off.
pub fn skips_node_deletion(revision: &vdo_plan::Revision) -> bool {
    let mut sets = revision.objects().filter(|object| object.reference().kind == "DaemonSet");
    sets.any(|set| set.value().to_string().contains(SKIP_NODE_DELETION))
}

fn healthz(delay: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::Int(HEALTH_PORT),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: (delay > 0).then_some(delay),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn on_control_plane() -> Affinity {
    let terms = CONTROL_PLANE.map(|label| NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: label.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        ..NodeSelectorTerm::default()
    });
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: terms.into(),
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// Everything that a node may carry before it is initialised, and what distributions put on control planes.
fn tolerations() -> Vec<Toleration> {
    let exists = |key: &str, effect: Option<&str>| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: effect.map(str::to_owned),
        ..Toleration::default()
    };
    let mut tolerations = vec![
        exists("node.cloudprovider.kubernetes.io/uninitialized", Some("NoSchedule")),
        exists("node.cloudprovider.kubernetes.io/shutdown", Some("NoSchedule")),
        exists("node.kubernetes.io/not-ready", None),
        exists("node.kubernetes.io/unreachable", None),
        exists("node-role.kubernetes.io/etcd", None),
        exists("CriticalAddonsOnly", None),
    ];
    tolerations.extend(CONTROL_PLANE.map(|label| exists(label, None)));
    tolerations
}
