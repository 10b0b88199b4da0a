//! One golden file for each release and input. A change of one is a change that users see: say so in CHANGELOG.md.

#![allow(clippy::unwrap_used)]

use cpi_operator::inputs::{Inputs, NodeDeletion};
use cpi_operator::releases::CredentialsFrom;
use cpi_operator::{releases, render};
use vdo_api::vcenter::SecretVersion;
use vdo_api::vdoconfig::Topology;
use vdo_plan::credentials::Credentials;
use vdo_plan::vcenter::{Trust, Vcenter};
use vdo_plan::{Object, Revision};

const KEY: &[u8] = &[0; 32];

fn vcenter(server: &str, trust: Trust) -> Vcenter {
    Vcenter {
        name: format!("config-of-{server}"),
        server: server.to_owned(),
        port: 443,
        trust,
        datacenters: vec!["/DC0".to_owned()],
        credentials: Credentials {
            version: SecretVersion {
                namespace: "vmware-system-vdo".to_owned(),
                name: "credentials".to_owned(),
                uid: "u".to_owned(),
                resource_version: "1".to_owned(),
            },
            username: "vdo@vsphere.local".to_owned(),
            password: "hunter2".to_owned().into(),
            servers: Vec::new(),
        },
    }
}

fn inputs(release: &releases::ReleaseFacts) -> Inputs {
    Inputs {
        release: release.release.parse().unwrap(),
        facts: *release,
        vcenters: vec![vcenter("vc1.example.com", Trust::PublicCa)],
        topology: None,
        node_deletion: NodeDeletion::Allowed,
        registry: None,
        pull_secrets: Vec::new(),
    }
}

/// The four kinds of installation that every release is rendered for.
fn cases(release: &releases::ReleaseFacts) -> Vec<(&'static str, Inputs)> {
    let plain = inputs(release);
    let topology = Some(Topology { region: "k8s-region".to_owned(), zone: "k8s-zone".to_owned() });
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_owned();
    vec![
        ("plain", plain.clone()),
        (
            "two-vcenters-ca-topology",
            Inputs {
                vcenters: vec![
                    vcenter("vc1.example.com", Trust::Ca(pem)),
                    vcenter("vc2.example.com", Trust::PublicCa),
                ],
                topology,
                ..plain.clone()
            },
        ),
        (
            "thumbprint-mirror",
            Inputs {
                vcenters: vec![vcenter("192.0.2.1", Trust::Thumbprint("AA:BB".to_owned()))],
                registry: Some("mirror.example.com:5000/k8s".to_owned()),
                pull_secrets: vec!["mirror".to_owned()],
                ..plain.clone()
            },
        ),
        (
            "insecure-ipv6-mixed-nodes",
            Inputs {
                vcenters: vec![vcenter("2001:db8::1", Trust::Insecure)],
                node_deletion: NodeDeletion::Off,
                ..plain
            },
        ),
    ]
}

#[test]
fn every_release_and_input_renders_as_reviewed() {
    for release in releases::RELEASES {
        for (case, inputs) in cases(release) {
            let revision = render::render(&inputs, KEY);
            let shown: Vec<_> = revision.objects().map(Object::redacted).collect();
            insta::assert_yaml_snapshot!(format!("{}-{case}", release.release), shown);
        }
    }
}

fn each_revision() -> impl Iterator<Item = (Inputs, Revision)> {
    let inputs = releases::RELEASES.iter().flat_map(cases).map(|(_, inputs)| inputs);
    inputs.map(|inputs| (inputs.clone(), render::render(&inputs, KEY)))
}

#[test]
fn the_same_input_renders_the_same_bytes() {
    for (inputs, revision) in each_revision() {
        let again = render::render(&inputs, KEY);
        assert_eq!(serde_json::to_vec(&revision).unwrap(), serde_json::to_vec(&again).unwrap());
        assert_ne!(render::render(&inputs, &[1; 32]).key, revision.key);
    }
}

/// Two renderings of a release, the second after the password changed.
fn rotated(release: &releases::ReleaseFacts) -> (Revision, Revision) {
    let mut changed = inputs(release);
    let before = render::render(&changed, KEY);
    changed.vcenters[0].credentials.password = "other".to_owned().into();
    (before, render::render(&changed, KEY))
}

fn template(revision: &Revision) -> serde_json::Value {
    let mut templates = revision.objects().filter_map(|object| object.value().pointer("/spec/template"));
    templates.next().unwrap().clone()
}

fn secret(revision: &Revision) -> serde_json::Value {
    let mut secrets = revision.objects().filter(|object| object.reference().kind == "Secret");
    secrets.next().unwrap().value()["data"].clone()
}

#[test]
fn another_password_starts_the_pods_of_those_releases_that_read_it_once_and_of_no_other() {
    let mut starts = Vec::new();
    for release in releases::RELEASES {
        let (before, after) = rotated(release);
        let is_another = before.key != after.key;
        assert_eq!(template(&before) != template(&after), is_another, "{}", release.release);
        assert_eq!(before.differs_in_credentials(&after), is_another, "{}", release.release);
        assert!(!before.differs_in_rendering_only(&after), "{}", release.release);
        assert_ne!(before.live_digest(KEY), after.live_digest(KEY));
        starts.extend(is_another.then_some(release.release));
    }
    assert_eq!(starts, ["1.28.1", "1.29.0", "1.30.0", "1.30.1", "1.30.2", "1.31.0", "1.31.1"]);
}

#[test]
fn another_server_is_another_revision() {
    for release in releases::RELEASES {
        let mut changed = inputs(release);
        let before = render::render(&changed, KEY);
        changed.vcenters[0].server = "vc9.example.com".to_owned();
        let after = render::render(&changed, KEY);
        assert_ne!(after.key, before.key);
        assert!(!before.differs_in_credentials(&after) && !before.shares_contents_with(&after));
    }
}

#[test]
fn what_is_gone_back_to_holds_the_password_of_today_and_starts_the_pods_that_it_started() {
    let (before, after) = rotated(releases::of("1.31.1".parse().unwrap()).unwrap());
    let back = before.refreshed(&after);
    assert_eq!((&back.key, template(&back)), (&before.key, template(&before)));
    assert_eq!(secret(&back), secret(&after));
    assert_ne!(secret(&back), secret(&before));
}

#[test]
fn only_what_follows_its_secret_may_read_secrets_and_no_release_beyond_its_namespace() {
    for release in releases::RELEASES {
        for (_, inputs) in cases(release) {
            let revision = render::render(&inputs, KEY);
            let roles = revision.objects().filter(|object| object.reference().kind.ends_with("Role"));
            let readers: Vec<_> = roles
                .filter(|role| role.value()["rules"].to_string().contains("secrets"))
                .map(|role| role.reference().to_string())
                .collect();
            let expected: &[&str] = match release.credentials {
                CredentialsFrom::Files => &[],
                CredentialsFrom::Secret => &["Role vmware-system-cpi/vdo-cpi-credentials"],
            };
            assert_eq!(readers, expected, "{}", release.release);
        }
    }
}

#[test]
fn only_a_release_that_logs_out_is_given_time_for_it() {
    for (inputs, revision) in each_revision() {
        let expected = if inputs.facts.release.starts_with("1.28.") { 1 } else { 30 };
        assert_eq!(template(&revision)["spec"]["terminationGracePeriodSeconds"], expected);
    }
}

#[test]
fn a_release_names_one_source_of_credentials_and_mounts_it_where_it_is_said_to_be() {
    for (inputs, revision) in each_revision() {
        let config = revision.objects().find_map(|object| object.value().pointer("/data/vsphere.conf"));
        let config: serde_json::Value = serde_json::from_str(config.unwrap().as_str().unwrap()).unwrap();
        let pod = &template(&revision)["spec"];
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        let mounted = mounts.iter().find(|mount| mount["name"] == "credentials");
        let volume = pod["volumes"].as_array().unwrap().iter().find(|it| it["name"] == "credentials");
        match inputs.facts.credentials {
            CredentialsFrom::Files => {
                assert_eq!(config["global"]["secretsDirectory"], mounted.unwrap()["mountPath"]);
                assert_eq!(config["global"].get("secretName"), None);
                assert_eq!(volume.unwrap()["secret"]["secretName"], "vdo-cpi-credentials");
            }
            CredentialsFrom::Secret => {
                assert_eq!(config["global"]["secretName"], "vdo-cpi-credentials");
                assert_eq!(config["global"].get("secretsDirectory"), None);
                assert_eq!((mounted, volume), (None, None));
            }
        }
    }
}

#[test]
fn no_object_is_named_twice_and_none_holds_a_password_but_the_secret() {
    for (_, revision) in each_revision() {
        let mut names: Vec<_> = revision.objects().map(Object::reference).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        for object in revision.objects().filter(|object| object.reference().kind != "Secret") {
            assert!(!object.value().to_string().contains("hunter2"), "{}", object.reference());
        }
    }
}

#[test]
fn no_role_holds_a_wildcard_or_the_right_to_grant_rights() {
    for (_, revision) in each_revision() {
        for object in revision.objects().filter(|object| object.reference().kind.ends_with("Role")) {
            let text = object.value()["rules"].to_string();
            for word in ["\"*\"", "escalate", "\"bind\"", "impersonate"] {
                assert!(!text.contains(word), "{} grants {word}", object.reference());
            }
        }
    }
}

#[test]
fn t3_the_cloud_provider_mounts_no_path_of_the_node_and_is_not_privileged() {
    for (_, revision) in each_revision() {
        let pods: Vec<_> =
            revision.objects().filter_map(|object| object.value().pointer("/spec/template/spec")).collect();
        let [pod] = pods.as_slice() else { panic!("one workload, not {}", pods.len()) };
        let mounted = pod["volumes"].as_array().unwrap();
        assert!(
            !mounted.is_empty() && mounted.iter().all(|volume| volume.get("hostPath").is_none()),
            "{pod}"
        );
        for field in ["hostPID", "hostIPC", "initContainers"] {
            assert_eq!(pod.get(field), None, "{field}");
        }
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(context.get("privileged"), None, "{container}");
        }
    }
}

/// A row of `e2e/bad-input.toml`.
#[test]
fn b36_the_names_of_objects_do_not_come_from_the_name_of_a_vsphere_cloud_config() {
    for (inputs, revision) in each_revision() {
        let mut long = inputs.clone();
        for (number, vcenter) in long.vcenters.iter_mut().enumerate() {
            vcenter.name = format!("{number}{}.{}", "a".repeat(125), "b".repeat(126));
        }
        let long = render::render(&long, KEY);
        assert_eq!(long, revision);
        for object in long.objects() {
            assert!(object.reference().name.len() <= 63, "{}", object.reference());
        }
    }
}
