//! The controller: the driver, the syncer and the sidecars that call the driver.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Container, EmptyDirVolumeSource, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec, PodTemplateSpec,
    SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_secret::{CONFIG_DIRECTORY, CONFIG_KEY};
use super::pod::{
    HEALTH, SOCKET, SOCKET_DIRECTORY, args, confined, env, env_of_field, feature_state_args, http_probe,
    image, labels, mount, port, pull_secrets, requests,
};
use super::{namespaced, selected};
use crate::inputs::{CONTROL_PLANE_LABELS, Inputs, Placement, Snapshots};
use crate::releases::Image;

/// The Deployment, its account and its Service.
pub const CONTROLLER: &str = "vsphere-csi-controller";
/// Where the driver serves metrics. It begins at the end of its start: after the login at the vCenter.
pub(super) const DRIVER_METRICS: i32 = 2112;
/// Where the syncer serves metrics.
pub(super) const SYNCER_METRICS: i32 = 2113;

/// The driver's images know this user. All containers share it, or the sidecars could not open the socket.
const USER: i64 = 65532;
const CONFIG_VOLUME: &str = "vsphere-config";
const SOCKET_VOLUME: &str = "socket";

pub(super) fn build(inputs: &Inputs, config_secret: &str) -> Deployment {
    Deployment {
        metadata: namespaced(CONTROLLER),
        spec: Some(DeploymentSpec {
            replicas: Some(inputs.replicas),
            selector: LabelSelector { match_labels: Some(selected(CONTROLLER)), ..LabelSelector::default() },
            // As no two fit on a node, the old one goes before the new one comes.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels(CONTROLLER)), ..ObjectMeta::default() }),
                spec: Some(pod(inputs, config_secret)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(inputs: &Inputs, config_secret: &str) -> PodSpec {
    let facts = inputs.facts;
    let sidecars = &facts.sidecars;
    let mut containers = vec![
        driver(inputs),
        syncer(inputs),
        sidecar(inputs, "csi-attacher", &sidecars.attacher, facts.attacher_args),
        sidecar(inputs, "csi-provisioner", &sidecars.provisioner, &["--default-fstype=ext4"]),
        sidecar(
            inputs,
            "csi-resizer",
            &sidecars.resizer,
            &[&["--handle-volume-inuse-error=false"], facts.resizer_args].concat(),
        ),
    ];
    if inputs.snapshots == Snapshots::Served {
        containers.push(sidecar(inputs, "csi-snapshotter", &sidecars.snapshotter, facts.snapshotter_args));
    }
    containers.push(Container {
        name: "liveness-probe".to_owned(),
        image: Some(image(inputs, &sidecars.liveness)),
        args: args(["--v=4", &format!("--csi-address={SOCKET}")]),
        volume_mounts: Some(vec![mount(SOCKET_VOLUME, SOCKET_DIRECTORY)]),
        security_context: Some(read_only()),
        resources: requests("5m", "20Mi"),
        ..Container::default()
    });
    PodSpec {
        service_account_name: Some(CONTROLLER.to_owned()),
        priority_class_name: Some("system-cluster-critical".to_owned()),
        // Cluster DNS may need volumes, or wait for nodes that wait for us.
        dns_policy: Some("Default".to_owned()),
        affinity: Some(affinity(inputs.placement)),
        tolerations: Some(tolerations()),
        image_pull_secrets: pull_secrets(inputs),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            ..PodSecurityContext::default()
        }),
        containers,
        volumes: Some(vec![
            Volume {
                name: CONFIG_VOLUME.to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(config_secret.to_owned()),
                    default_mode: Some(0o440),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            },
            Volume {
                name: SOCKET_VOLUME.to_owned(),
                empty_dir: Some(EmptyDirVolumeSource::default()),
                ..Volume::default()
            },
        ]),
        ..PodSpec::default()
    }
}

fn driver(inputs: &Inputs) -> Container {
    let config = format!("{CONFIG_DIRECTORY}/{CONFIG_KEY}");
    Container {
        name: CONTROLLER.to_owned(),
        image: Some(image(inputs, &inputs.facts.driver)),
        args: args(
            feature_state_args().iter().map(String::as_str).chain(inputs.facts.driver_args.iter().copied()),
        ),
        env: Some(vec![
            env("CSI_ENDPOINT", &format!("unix://{SOCKET}")),
            env("X_CSI_MODE", "controller"),
            env("X_CSI_SPEC_DISABLE_LEN_CHECK", "true"),
            env("X_CSI_SERIAL_VOL_ACCESS_TIMEOUT", "3m"),
            env("VSPHERE_CSI_CONFIG", &config),
            env("LOGGER_LEVEL", "PRODUCTION"),
            env("INCLUSTER_CLIENT_QPS", "100"),
            env("INCLUSTER_CLIENT_BURST", "100"),
            env_of_field("CSI_NAMESPACE", "metadata.namespace"),
        ]),
        ports: Some(vec![port("healthz", HEALTH), port("metrics", DRIVER_METRICS)]),
        volume_mounts: Some(vec![config_mount(), mount(SOCKET_VOLUME, SOCKET_DIRECTORY)]),
        // Up to ten minutes for a slow vCenter; after that a hung driver is restarted within three.
        startup_probe: http_probe("/metrics", DRIVER_METRICS, 5, 5, 120),
        readiness_probe: http_probe("/metrics", DRIVER_METRICS, 10, 5, 3),
        liveness_probe: http_probe("/healthz", HEALTH, 60, 10, 3),
        security_context: Some(read_only()),
        resources: requests("50m", "100Mi"),
        ..Container::default()
    }
}

/// The syncer serves metrics from its start on, leading or not, so its probe proves no more than that it runs. Its
/// lease is what proves its work.
fn syncer(inputs: &Inputs) -> Container {
    let leader = [
        "--leader-election",
        "--leader-election-lease-duration=30s",
        "--leader-election-renew-deadline=20s",
        "--leader-election-retry-period=10s",
    ];
    let config = format!("{CONFIG_DIRECTORY}/{CONFIG_KEY}");
    Container {
        name: "vsphere-syncer".to_owned(),
        image: Some(image(inputs, &inputs.facts.syncer)),
        args: args(
            leader
                .into_iter()
                .chain(feature_state_args().iter().map(String::as_str))
                .chain(inputs.facts.driver_args.iter().copied()),
        ),
        env: Some(vec![
            env("FULL_SYNC_INTERVAL_MINUTES", "30"),
            env("VSPHERE_CSI_CONFIG", &config),
            env("LOGGER_LEVEL", "PRODUCTION"),
            env("INCLUSTER_CLIENT_QPS", "100"),
            env("INCLUSTER_CLIENT_BURST", "100"),
            env_of_field("CSI_NAMESPACE", "metadata.namespace"),
        ]),
        ports: Some(vec![port("metrics-sync", SYNCER_METRICS)]),
        volume_mounts: Some(vec![config_mount()]),
        readiness_probe: http_probe("/metrics", SYNCER_METRICS, 10, 5, 3),
        security_context: Some(read_only()),
        resources: requests("50m", "100Mi"),
        ..Container::default()
    }
}

/// A sidecar that calls the driver, one of all replicas at a time. Its image serves no health of its own unless
/// another port is opened, so it has no probe: without a leader its lease goes stale.
fn sidecar(inputs: &Inputs, name: &str, from: &Image, particular: &[&str]) -> Container {
    let address = format!("--csi-address={SOCKET}");
    let common = [
        "--v=4",
        "--timeout=300s",
        &address,
        "--kube-api-qps=100",
        "--kube-api-burst=100",
        "--leader-election",
        "--leader-election-lease-duration=120s",
        "--leader-election-renew-deadline=60s",
        "--leader-election-retry-period=30s",
    ];
    Container {
        name: name.to_owned(),
        image: Some(image(inputs, from)),
        args: args(common.into_iter().chain(particular.iter().copied())),
        volume_mounts: Some(vec![mount(SOCKET_VOLUME, SOCKET_DIRECTORY)]),
        security_context: Some(read_only()),
        resources: requests("10m", "40Mi"),
        ..Container::default()
    }
}

fn config_mount() -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(CONFIG_VOLUME, CONFIG_DIRECTORY) }
}

fn read_only() -> SecurityContext {
    SecurityContext { read_only_root_filesystem: Some(true), ..confined() }
}

/// No two on one node; on the control plane, whichever way its nodes are labelled.
fn affinity(placement: Placement) -> Affinity {
    let term = |label: &str| NodeSelectorTerm {
        match_expressions: Some(vec![NodeSelectorRequirement {
            key: label.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
        ..NodeSelectorTerm::default()
    };
    let control_plane =
        NodeSelector { node_selector_terms: CONTROL_PLANE_LABELS.iter().copied().map(term).collect() };
    Affinity {
        node_affinity: (placement == Placement::ControlPlane).then(|| NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(control_plane),
            ..NodeAffinity::default()
        }),
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![PodAffinityTerm {
                label_selector: Some(LabelSelector {
                    match_labels: Some(selected(CONTROLLER)),
                    ..LabelSelector::default()
                }),
                topology_key: "kubernetes.io/hostname".to_owned(),
                ..PodAffinityTerm::default()
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// The taints of control planes: upstream Kubernetes, RKE with its etcd nodes, k3s and RKE2.
fn tolerations() -> Vec<Toleration> {
    let any_effect = |key: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    CONTROL_PLANE_LABELS
        .into_iter()
        .chain(["node-role.kubernetes.io/etcd", "CriticalAddonsOnly"])
        .map(any_effect)
        .collect()
}
