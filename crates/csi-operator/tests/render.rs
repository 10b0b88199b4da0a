//! Golden files, one per release and input, and what holds for all of them.
//!
//! A change of a golden file is a change of somebody's cluster: CHANGELOG says what they will notice.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::collections::BTreeSet;

use csi_operator::inputs::Inputs;
use csi_operator::{gcfg, releases, render, stages};
use fixture::{DUMMY_PASSWORD, Field, KEY, PEM, field, four};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;
use vdo_plan::{ObjectRef, Revision};

/// Every release with every one of the four inputs.
fn everything() -> Vec<(String, Field, Revision)> {
    let releases = releases::all().iter().map(|facts| facts.release.to_string());
    releases
        .flat_map(|release| {
            four().map(|(name, field)| {
                let field = field.wanting(&release);
                let revision = render::render(&field.inputs(), KEY);
                (format!("{release}-{name}"), field, revision)
            })
        })
        .collect()
}

fn secret_of(revision: &Revision) -> (ObjectRef, Value) {
    let secret = revision.objects().find(|object| object.reference().kind == "Secret").unwrap();
    (secret.reference().clone(), secret.value().clone())
}

/// Decodes what the API server would store.
fn file(revision: &Revision, key: &str) -> Option<String> {
    let secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret_of(revision).1).unwrap();
    Some(String::from_utf8(secret.data?.remove(key)?.0).unwrap())
}

fn conf(inputs: &Inputs) -> String {
    file(&render::render(inputs, KEY), render::CONFIG_KEY).unwrap()
}

fn pods(revision: &Revision) -> Vec<Value> {
    let template = |object: &vdo_plan::Object| object.value().pointer("/spec/template").cloned();
    revision.objects().filter_map(template).collect()
}

fn containers(revision: &Revision) -> Vec<Value> {
    let of = |pod: &Value| pod["spec"]["containers"].as_array().unwrap().clone();
    pods(revision).iter().flat_map(of).collect()
}

#[test]
fn each_release_and_input_has_its_golden_file() {
    for (name, _, revision) in everything() {
        let shown: Vec<Value> = revision
            .stages
            .iter()
            .flat_map(|stage| {
                let objects = stage.objects.iter().map(vdo_plan::Object::redacted);
                std::iter::once(Value::from(format!("stage {}", stage.name))).chain(objects)
            })
            .collect();
        insta::with_settings!({sort_maps => true, omit_expression => true, prepend_module_to_snapshot => false,
            snapshot_path => "golden"}, { insta::assert_yaml_snapshot!(name, shown) });
    }
}

#[test]
fn each_input_has_its_configuration_as_a_golden_file() {
    for (name, field) in four() {
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false,
            snapshot_path => "golden"}, { insta::assert_snapshot!(format!("conf-{name}"), conf(&field.inputs())) });
    }
}

#[test]
fn rendering_twice_gives_the_same_bytes_and_another_key_another_id() {
    for (name, field, revision) in everything() {
        let again = render::render(&field.inputs(), KEY);
        let bytes = |revision: &Revision| serde_json::to_vec(revision).unwrap();
        assert!(bytes(&again) == bytes(&revision), "{name}");
        let other = render::render(&field.inputs(), b"another key");
        assert_ne!(other.key, revision.key, "{name}");
        assert_ne!(secret_of(&other).0, secret_of(&revision).0, "{name}");
    }
}

#[test]
fn a_password_renames_the_secret_and_replicas_change_nothing_but_themselves() {
    let one = render::render(&field().of_nodes(3, 9).inputs(), KEY);
    let rotated = render::render(&field().of_nodes(3, 9).with_password(b"other").inputs(), KEY);
    assert_ne!(secret_of(&one).0.name, secret_of(&rotated).0.name);
    assert_ne!(one.key.id, rotated.key.id);
    let fewer = render::render(&field().of_nodes(2, 9).inputs(), KEY);
    assert_eq!(one.key.id, fewer.key.id);
    assert_ne!(one, fewer);
}

#[test]
fn the_configuration_says_what_was_meant() {
    let [minimal, files, thumbprint, insecure] = four().map(|(_, field)| field);
    let read = |field: &Field| gcfg::parse(&conf(&field.inputs())).unwrap();
    let of = |conf: &gcfg::Document, key: &str| {
        conf.value("VirtualCenter", "vcenter.example.com", key).map(str::to_owned)
    };

    let conf = read(&insecure);
    assert_eq!(of(&conf, "password").as_deref(), Some(DUMMY_PASSWORD));
    assert_eq!(of(&conf, "insecure-flag").as_deref(), Some("true"));

    let conf = read(&minimal);
    assert_eq!(of(&conf, "insecure-flag").as_deref(), Some("false"));
    assert_eq!((of(&conf, "ca-file"), of(&conf, "thumbprint"), of(&conf, "datacenters")), (None, None, None));
    assert_eq!(conf.cluster_id(), Some("1c3a9a3e-6f2b-4c59-9a3e-6f2b4c59aa01"));

    let conf = read(&thumbprint);
    assert_eq!(of(&conf, "datacenters").as_deref(), Some("/dc-b,/folder/dc-a"));
    assert_eq!(of(&conf, "thumbprint").map(|t| t.len()), Some(95));

    let conf = read(&files);
    assert_eq!(of(&conf, "ca-file").as_deref(), Some("/etc/cloud/vcenter-ca.pem"));
    assert_eq!(file(&render::render(&files.inputs(), KEY), "vcenter-ca.pem").as_deref(), Some(PEM));
    assert_eq!(conf.labels("NetPermissions"), ["1", "2", "3", "4"]);
    assert_eq!(conf.value("NetPermissions", "3", "permissions"), Some("NO_ACCESS"));
    assert_eq!(conf.value("NetPermissions", "1", "rootsquash"), Some("true"));
}

#[test]
fn the_cluster_id_is_never_in_two_places() {
    let mut field = field();
    field.cluster_id.drivers_own = vdo_plan::Reading::Present("made-by-the-driver".into());
    assert_eq!(gcfg::parse(&conf(&field.inputs())).unwrap().cluster_id(), None);
}

#[test]
fn the_password_is_in_the_secret_and_nowhere_else() {
    let revision = render::render(&field().with_password(b"hunter2").inputs(), KEY);
    for object in revision.objects().filter(|object| object.reference().kind != "Secret") {
        assert!(!object.value().to_string().contains("hunter2"), "{}", object.reference());
    }
    assert!(!format!("{revision:?}").contains("hunter2"));
}

#[test]
fn three_stages_in_order_each_object_once_and_no_crd() {
    for (name, _, revision) in everything() {
        let names: Vec<&str> = revision.stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, [stages::CONFIGURATION, stages::CONTROLLER, stages::NODE], "{name}");
        let references: Vec<&ObjectRef> = revision.objects().map(vdo_plan::Object::reference).collect();
        let unique: BTreeSet<&ObjectRef> = references.iter().copied().collect();
        assert_eq!(unique.len(), references.len(), "{name}");
        for object in revision.objects() {
            let reference = object.reference();
            assert!(reference.namespace.as_deref().is_none_or(|n| n == "vmware-system-csi"), "{reference}");
            assert!(reference.kind != "CustomResourceDefinition", "{reference}");
            assert!(!reference.api_version.starts_with("cns.vmware.com"), "{reference}");
        }
    }
}

#[test]
fn every_object_but_the_secret_has_a_fixed_name() {
    let fixed = render::fixed_objects();
    for (name, _, revision) in everything() {
        let rendered = revision.objects().map(|object| object.reference().clone());
        let (secrets, others): (Vec<_>, Vec<_>) = rendered.partition(|reference| reference.kind == "Secret");
        assert_eq!(others, fixed, "{name}");
        assert!(secrets.len() == 1 && secrets[0].name.starts_with(render::CONFIG_SECRET_PREFIX), "{name}");
    }
}

#[test]
fn pods_use_the_very_secret_account_and_switches_that_are_rendered() {
    for (name, _, revision) in everything() {
        let has = |kind: &str, wanted: &Value| {
            let wanted = wanted.as_str().unwrap();
            revision.objects().any(|o| o.reference().kind == kind && o.reference().name == wanted)
        };
        for pod in pods(&revision) {
            assert!(has("ServiceAccount", &pod["spec"]["serviceAccountName"]), "{name}");
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            for secret in volumes.iter().filter_map(|volume| volume.pointer("/secret/secretName")) {
                assert!(has("Secret", secret), "{name}");
            }
            let volumes: BTreeSet<&str> = volumes.iter().map(|v| v["name"].as_str().unwrap()).collect();
            for container in pod["spec"]["containers"].as_array().unwrap() {
                for mount in container["volumeMounts"].as_array().unwrap() {
                    assert!(volumes.contains(mount["name"].as_str().unwrap()), "{name}: {mount}");
                }
            }
        }
        let wanted = format!("--fss-name={}", render::FEATURE_STATES);
        let reads = |c: &&Value| c["args"].as_array().unwrap().iter().any(|arg| *arg == wanted.as_str());
        assert_eq!(containers(&revision).iter().filter(reads).count(), 3, "driver, syncer and node plug-in");
        assert!(has("ConfigMap", &Value::from(render::FEATURE_STATES)), "{name}");
    }
}

#[test]
fn bindings_name_roles_and_accounts_that_are_rendered() {
    for (name, _, revision) in everything() {
        let bindings = revision.objects().filter(|object| object.reference().kind.ends_with("RoleBinding"));
        let mut seen = 0;
        for binding in bindings {
            let role = &binding.value()["roleRef"];
            let subject = &binding.value()["subjects"][0];
            for (kind, wanted) in [(&role["kind"], &role["name"]), (&subject["kind"], &subject["name"])] {
                let found = revision
                    .objects()
                    .any(|o| *kind == o.reference().kind.as_str() && *wanted == o.reference().name.as_str());
                assert!(found, "{name}: {binding:?}");
            }
            seen += 1;
        }
        assert_eq!(seen, 4, "{name}");
    }
}

#[test]
fn selectors_are_the_same_for_ever_and_match_their_pods() {
    for (name, _, revision) in everything() {
        for (kind, app) in [("Deployment", render::CONTROLLER), ("DaemonSet", render::NODE)] {
            let workload = revision.objects().find(|o| o.reference().kind == kind).unwrap().value();
            let selector = &workload["spec"]["selector"];
            assert_eq!(*selector, serde_json::json!({"matchLabels": {"app": app}}), "{name}");
            assert_eq!(workload.pointer("/spec/template/metadata/labels/app").unwrap(), app, "{name}");
        }
    }
}

#[test]
fn images_are_pinned_where_a_digest_is_known_and_come_from_the_mirror_if_there_is_one() {
    for (name, field, revision) in everything() {
        let inputs = field.inputs();
        for container in containers(&revision) {
            let image = container["image"].as_str().unwrap();
            let registry = inputs.registry.as_deref().unwrap_or("registry.k8s.io");
            assert!(image.starts_with(&format!("{registry}/")), "{name}: {image}");
            if image.contains("/csi-vsphere/driver:") {
                let pinned = inputs.facts.driver.sha256.map(|sha256| format!("@sha256:{sha256}"));
                assert!(pinned.is_none_or(|digest| image.ends_with(&digest)), "{name}: {image}");
            }
        }
    }
}

#[test]
fn the_snapshotter_and_its_rights_come_with_the_snapshot_api() {
    for (name, field, revision) in everything() {
        let served = field.cluster.snapshot_api.present().is_some();
        assert_eq!(containers(&revision).iter().any(|c| c["name"] == "csi-snapshotter"), served, "{name}");
        let text = serde_json::to_string(&revision).unwrap();
        assert_eq!(text.contains("snapshot.storage.k8s.io"), served, "{name}");
    }
}

#[test]
fn nothing_in_the_controller_pod_may_more_than_run() {
    for (name, _, revision) in everything() {
        let pod = &pods(&revision)[0]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["dnsPolicy"], "Default", "{name}");
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(context["capabilities"]["drop"][0], "ALL", "{name}");
            assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        }
    }
}

#[test]
fn every_host_path_below_the_kubelet_follows_its_root() {
    let revision = render::render(&field().with_kubelet_at("/var/lib/k0s/kubelet").inputs(), KEY);
    let node = pods(&revision).remove(1).to_string();
    assert!(!node.contains("/var/lib/kubelet"), "{node}");
    assert_eq!(node.matches("/var/lib/k0s/kubelet").count(), 6, "{node}");
}

/// Every path of a node that a pod of the driver may mount, below a root of the kubelet and elsewhere.
const REVIEWED_PATHS: [&str; 6] = [
    "{root}",
    "{root}/plugins/csi.vsphere.vmware.com",
    "{root}/plugins_registry",
    "/dev",
    "/sys/block",
    "/sys/devices",
];

/// Who gets more than a container of its own: only what mounts volumes on the node.
#[test]
fn t3_no_pod_mounts_a_path_of_the_node_that_was_not_reviewed() {
    let mut all = everything();
    let elsewhere = field().with_kubelet_at("/var/snap/microk8s/common/var/lib/kubelet");
    all.push(("elsewhere".to_owned(), elsewhere.clone(), render::render(&elsewhere.inputs(), KEY)));
    for (name, field, revision) in all {
        let root =
            field.spec.storage_provider.as_ref().and_then(|storage| storage.custom_kubelet_path.clone());
        let root = root.unwrap_or_else(|| "/var/lib/kubelet".to_owned());
        let reviewed: BTreeSet<String> =
            REVIEWED_PATHS.iter().map(|path| path.replace("{root}", &root)).collect();
        let [controller, node] = pods(&revision).try_into().unwrap();
        let paths = |pod: &Value| -> BTreeSet<String> {
            let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
            volumes.filter_map(|volume| Some(volume.get("hostPath")?["path"].as_str()?.to_owned())).collect()
        };
        assert_eq!(paths(&controller), BTreeSet::new(), "{name}");
        assert_eq!(paths(&node), reviewed, "{name}");
        for pod in [&controller, &node] {
            for field in ["hostPID", "hostIPC", "initContainers"] {
                assert_eq!(pod["spec"].get(field), None, "{name}: {field}");
            }
        }
        assert_eq!(controller["spec"].get("hostNetwork"), None, "{name}");
        let privileged =
            containers(&revision).into_iter().filter(|it| it["securityContext"]["privileged"] == true);
        let privileged: Vec<String> = privileged.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        assert_eq!(privileged, ["vsphere-csi-node"], "{name}");
    }
}

/// What is rendered when the objects of the user look like this. Rows of `e2e/bad-input.toml` follow.
fn rendered_with(change: impl FnOnce(&mut vdo_plan::vcenter::VcenterFacts)) -> Revision {
    let field = field();
    let mut vcenter = field.vcenter_facts();
    change(&mut vcenter);
    let facts = csi_operator::inputs::Facts {
        release: field.release.parse().unwrap(),
        spec: &field.spec,
        vcenter,
        cluster: field.cluster.clone(),
        cluster_id: field.cluster_id.clone(),
    };
    render::render(&Inputs::resolve(&facts).unwrap(), KEY)
}

#[test]
fn b36_the_names_of_objects_do_not_come_from_the_name_of_a_vsphere_cloud_config() {
    let long = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    let named = rendered_with(|vcenter| {
        let vdo_plan::Reading::Present(config) = &mut vcenter.config else { unreachable!() };
        config.metadata.name = Some(long.clone());
        vcenter.name = long.clone();
    });
    assert_eq!(named, rendered_with(|_| ()));
}

#[test]
fn b69_every_one_of_many_networks_has_a_section_of_its_own() {
    let networks: Vec<String> = (0..64).map(|number| format!("10.{number}.0.0/16")).collect();
    let permissions: Vec<_> = networks.iter().map(|ips| (ips.as_str(), None, false)).collect();
    let conf = gcfg::parse(&conf(&field().with_file_volumes(&permissions).inputs())).unwrap();
    let labels = conf.labels("NetPermissions");
    assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), 64);
    let read: Vec<&str> =
        labels.iter().map(|label| conf.value("NetPermissions", label, "ips").unwrap()).collect();
    assert_eq!(read, networks);
}

#[test]
fn b81_annotations_and_labels_of_ours_are_copied_nowhere() {
    let heavy = rendered_with(|vcenter| {
        let vdo_plan::Reading::Present(config) = &mut vcenter.config else { unreachable!() };
        config.metadata.annotations = Some([("example.com/note".to_owned(), "x".repeat(200 * 1024))].into());
        config.metadata.labels = Some([("example.com/team".to_owned(), "a".to_owned())].into());
    });
    assert_eq!(heavy, rendered_with(|_| ()));
    assert!(serde_json::to_vec(&heavy).unwrap().len() < 200 * 1024);
}

fn rules_of(revision: &Revision, kind: &str) -> Vec<PolicyRule> {
    let roles = revision.objects().filter(|object| object.reference().kind == kind);
    roles
        .flat_map(|role| serde_json::from_value::<Vec<PolicyRule>>(role.value()["rules"].clone()).unwrap())
        .collect()
}

#[test]
fn the_operator_is_told_every_rule_that_any_release_grants() {
    let grants = render::granted_rules();
    for (name, _, revision) in everything() {
        for (kind, granted) in [("ClusterRole", &grants.cluster), ("Role", &grants.namespaced)] {
            let rules = rules_of(&revision, kind);
            assert!(!rules.is_empty(), "{name}");
            for rule in rules {
                assert!(granted.contains(&rule), "{name}: {rule:?}");
            }
        }
    }
}

#[test]
fn rights_have_no_wildcard_no_secret_and_no_unpinned_change_of_crds() {
    let grants = render::granted_rules();
    for rule in grants.cluster.iter().chain(&grants.namespaced) {
        let resources = rule.resources.clone().unwrap_or_default();
        for word in rule.verbs.iter().chain(&resources).chain(rule.api_groups.iter().flatten()) {
            assert!(
                !["*", "escalate", "bind", "impersonate", "secrets"].contains(&word.as_str()),
                "{rule:?}"
            );
        }
        if resources.contains(&"customresourcedefinitions".to_owned()) && rule.resource_names.is_none() {
            assert_eq!(rule.verbs, ["create"], "{rule:?}");
        }
    }
    let leases = |rules: &[PolicyRule]| {
        rules.iter().filter(|rule| rule.resources.iter().flatten().any(|r| r == "leases")).count()
    };
    assert_eq!((leases(&grants.cluster), leases(&grants.namespaced)), (0, 1));
}
