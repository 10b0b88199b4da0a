use serde_json::json;
use vdo_api::{VDOConfig, VsphereCloudConfig};

use super::*;

fn object(kind: &str, namespace: &str, spec: Value, status: Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": kind,
        "metadata": {
            "name": "it", "namespace": namespace, "uid": "u", "resourceVersion": "7", "generation": 2,
            "annotations": {"a": "b"},
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn vdo(namespace: &str, spec: Value, status: Value) -> Result<VDOConfig, Box<Stray>> {
    admitted(Kind::Vdo, &object("VDOConfig", namespace, spec, status), "vdo")
}

fn vcenter(namespace: &str, spec: Value, status: Value) -> Result<VsphereCloudConfig, Box<Stray>> {
    admitted(Kind::Vcenter, &object("VsphereCloudConfig", namespace, spec, status), "vdo")
}

fn good() -> Value {
    json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}})
}

fn good_vcenter() -> Value {
    json!({"vcIp": "vc.example.com", "credentials": "creds"})
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// The conditions of a status, without their times.
fn said(status: &Value) -> Vec<(&str, &str, &str, i64)> {
    let text = |it: &'_ Value, key: &str| -> String { it[key].as_str().unwrap().to_owned() };
    let conditions = status["conditions"].as_array().unwrap();
    for it in conditions {
        assert!(!text(it, "message").is_empty());
    }
    conditions
        .iter()
        .map(|it| {
            (
                it["type"].as_str().unwrap(),
                it["status"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
                it["observedGeneration"].as_i64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn what_is_in_the_operators_namespace_and_decodes_is_admitted() {
    assert_eq!(vdo("vdo", good(), Value::Null).unwrap().spec.cpi_vcenters(), ["vc"]);
    assert_eq!(vcenter("vdo", good_vcenter(), Value::Null).unwrap().spec.vc_ip, "vc.example.com");
}

#[test]
fn what_is_elsewhere_is_told_where_it_would_count() {
    let config = vdo("shop", good(), Value::Null).unwrap_err();
    assert!(config.message.contains("a VDOConfig in namespace vdo counts"), "{}", config.message);
    assert!(config.message.contains("create it there"), "{}", config.message);
    let status = config.status(at(5));
    let reason = "NotInOperatorsNamespace";
    assert_eq!(said(&status), [("Accepted", "False", reason, 2), ("Ready", "False", reason, 2)]);

    let vcenter = vcenter("shop", good_vcenter(), Value::Null).unwrap_err();
    let status = vcenter.status(at(5));
    assert_eq!(said(&status), [("Ready", "False", reason, 2)]);
    assert_eq!((&status["config"], &status["message"]), (&json!("failed"), &json!(vcenter.message)));
}

#[test]
fn what_is_elsewhere_is_not_decoded_and_keeps_nothing_of_ours() {
    let stored = json!({"gates": {"generation": 1}, "verified": {"generation": 1}});
    for stray in
        [vdo("shop", json!(3), stored.clone()).unwrap_err(), vcenter("shop", json!(3), stored).unwrap_err()]
    {
        assert_eq!(stray.reason.name, "NotInOperatorsNamespace");
        let status = stray.status(at(5));
        assert_eq!((status.get("gates"), status.get("verified")), (None, None));
    }
}

#[test]
fn what_does_not_decode_is_told_the_field() {
    for (spec, place, what) in [
        (
            json!({"cloudProvider": {"vsphereCloudConfigs": "vc"}}),
            "spec.cloudProvider.vsphereCloudConfigs: ",
            "a sequence",
        ),
        (
            json!({"cloudProvider": {"vsphereCloudConfigs": ["a", 7]}}),
            "spec.cloudProvider.vsphereCloudConfigs: ",
            "`7`",
        ),
        (json!({"deletionPolicy": "Perhaps"}), "spec.deletionPolicy: ", "Perhaps"),
        (json!({"storageProvider": {"fileVolumes": {}}}), "spec.storageProvider: ", "vsphereCloudConfig"),
        (json!(3), "spec: ", "VDOConfigSpec"),
    ] {
        let stray = vdo("vdo", spec.clone(), Value::Null).unwrap_err();
        assert_eq!(stray.reason.name, "NotDecodable");
        assert!(stray.message.contains(place) && stray.message.contains(what), "{spec}: {}", stray.message);
        let status = stray.status(at(5));
        assert_eq!(
            said(&status),
            [("Accepted", "False", "NotDecodable", 2), ("Ready", "False", "NotDecodable", 2)]
        );
    }
    let stray = vcenter("vdo", json!({"credentials": "creds", "vcIp": {}}), Value::Null).unwrap_err();
    assert!(stray.message.contains("spec.vcIp: "), "{}", stray.message);
    assert_eq!(said(&stray.status(at(5))), [("Ready", "False", "NotDecodable", 2)]);
}

#[test]
fn what_a_decoder_says_is_cut() {
    let stray = vdo("vdo", json!({"deletionPolicy": "x".repeat(9000)}), Value::Null).unwrap_err();
    assert!(stray.message.chars().count() < 700, "{}", stray.message.len());
    assert!(stray.message.ends_with("; correct this field"), "{}", stray.message);
}

#[test]
fn what_does_not_decode_keeps_the_gates_and_the_record_of_a_login() {
    let gates = json!({"generation": 1, "something": "new"});
    let stray = vdo("vdo", json!(3), json!({"gates": gates, "cpi": {}})).unwrap_err();
    let status = stray.status(at(5));
    assert_eq!((&status["gates"], status.get("cpi"), status.get("nodes")), (&gates, None, None));
    let login = json!({"outcome": "Refused"});
    let stray = vcenter("vdo", json!(3), json!({"login": login, "conditions": "none"})).unwrap_err();
    assert_eq!(stray.status(at(5))["login"], login);
}

#[test]
fn what_says_so_already_is_not_told_again() {
    type Read = fn(&str, Value) -> Box<Stray>;
    let config: Read = |namespace, status| vdo(namespace, json!(3), status).unwrap_err();
    let login: Read = |namespace, status| vcenter(namespace, json!(3), status).unwrap_err();
    for (read, namespace) in [(config, "vdo"), (config, "shop"), (login, "vdo"), (login, "shop")] {
        let fresh = read(namespace, Value::Null);
        assert_eq!(Told::default().whom(&[&fresh]), [&*fresh]);
        let mut stored = fresh.status(at(5));
        // The API server keeps the order that it likes, and others have conditions, too.
        let conditions = stored["conditions"].as_array_mut().unwrap();
        conditions.push(json!({"type": "CPIReady", "status": "Odd"}));
        conditions.reverse();
        let told = read(namespace, stored.clone());
        assert!(Told::default().whom(&[&told]).is_empty(), "{stored}");
        // Said again of the next generation, the time of the change stays.
        let mut next = told.clone();
        next.metadata.generation = Some(3);
        assert_eq!(next.status(at(9))["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:05Z");
        for part in [
            "/conditions/0/status",
            "/conditions/0/reason",
            "/conditions/0/message",
            "/conditions/0/observedGeneration",
            "/observedGeneration",
            "/config",
        ] {
            let mut other = fresh.status(at(5));
            let Some(value) = other.pointer_mut(part) else { continue };
            *value = if value.is_number() { json!(1) } else { json!("other") };
            let other = read(namespace, other);
            assert_eq!(Told::default().whom(&[&other]).len(), 1, "{part}");
        }
    }
}

#[test]
fn one_that_was_told_is_told_again_only_when_it_changed() {
    let mut told = Told::default();
    let mut stray = vdo("shop", good(), Value::Null).unwrap_err();
    told.note(&stray);
    // Somebody who disagrees wrote over it: a new version, and the same generation.
    stray.metadata.resource_version = Some("8".to_owned());
    assert!(told.whom(&[&stray]).is_empty());
    stray.metadata.generation = Some(3);
    assert_eq!(told.whom(&[&stray]).len(), 1);
    told.note(&stray);
    let broken = vdo("vdo", json!(3), Value::Null).unwrap_err();
    assert_eq!(told.whom(&[&broken]).len(), 1, "another text");
    // One that went away and came back is another object.
    assert!(told.whom(&[]).is_empty());
    assert_eq!(told.whom(&[&stray]).len(), 1);
}

#[test]
fn a_write_needs_only_a_little_of_the_metadata() {
    let stray = vdo("shop", good(), Value::Null).unwrap_err();
    assert_eq!(stray.metadata.resource_version.as_deref(), Some("7"));
    assert_eq!(stray.metadata.annotations, None);
}
