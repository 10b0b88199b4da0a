//! Bad input is refused by a real API server with a field path and words, on create and on update; what the original
//! operator stored stays usable.

#![allow(clippy::unwrap_used)]

use e2e::crd::{NAMESPACE, apply, install, refused, vcenter, vdo};
use serde_json::{Value, json};
use testbed::bed::Bed;

/// A spec with one field changed: a path of keys, and the value; `null` takes the field away.
fn with(mut base: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = base.pointer_mut(parent).unwrap();
    if value.is_null() {
        parent.as_object_mut().unwrap().remove(key);
    } else {
        parent[key] = value;
    }
    base
}

fn good_vcenter() -> Value {
    json!({"vcIp": "vc.example.com", "insecure": false, "credentials": "vc-creds", "datacenters": ["DC0"]})
}

fn good_vdo() -> Value {
    json!({
        "cloudProvider": {"vsphereCloudConfigs": ["vc"], "topology": {"region": "k8s-region", "zone": "k8s-zone"}},
        "storageProvider": {"vsphereCloudConfig": "vc", "customKubeletPath": "/var/lib/kubelet", "fileVolumes": {
            "vsanDataStoreUrl": ["ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/"],
            "netPermissions": [{"ips": "10.0.0.0/8", "permissions": "READ_ONLY", "rootSquash": true}],
        }},
    })
}

/// Field, value, and words of the refusal.
fn bad_vcenters() -> Vec<(&'static str, Value, &'static str)> {
    let sha1 = "AA:".repeat(18) + "AA";
    vec![
        ("/vcIp", Value::Null, "spec.vcIp: Required value"),
        ("/vcIp", json!(""), "spec.vcIp"),
        ("/vcIp", json!("https://vc.example.com/sdk"), "without scheme, path or user"),
        ("/vcIp", json!("vc.example.com:8443"), "set the port in spec.port"),
        ("/vcIp", json!("user:pw@vc"), "without scheme, path or user"),
        ("/vcIp", json!("127.0.0.1"), "must not be a loopback"),
        ("/vcIp", json!("::1"), "must not be a loopback"),
        ("/vcIp", json!("localhost"), "must not be a loopback"),
        ("/vcIp", json!("169.254.169.254"), "must not be a loopback"),
        ("/vcIp", json!("0.0.0.0"), "must not be a loopback"),
        ("/vcIp", json!("fe80::1%eth0"), "must not be a loopback"),
        ("/vcIp", json!("999.1.1.1"), "not a valid host name or IP address"),
        ("/vcIp", json!("1.2.3"), "not a valid host name or IP address"),
        ("/vcIp", json!("vc.exämple.com"), "punycode"),
        ("/vcIp", json!("vc\n.example.com"), "control characters"),
        ("/vcIp", json!("vc\".example.com"), "not a valid host name"),
        ("/vcIp", json!("a".repeat(300)), "may not be more than 253"),
        ("/credentials", Value::Null, "spec.credentials: Required value"),
        ("/credentials", json!(""), "spec.credentials"),
        ("/credentials", json!("kube-system/admin-token"), "spec.credentials"),
        ("/credentials", json!("../x"), "spec.credentials"),
        ("/credentials", json!("Upper"), "spec.credentials"),
        ("/thumbprint", json!(sha1), "20 (SHA-1) or 32 (SHA-256) bytes"),
        ("/thumbprint", json!("any"), "20 (SHA-1) or 32 (SHA-256) bytes"),
        ("/datacenters", json!(["DC0", "DC0"]), "Duplicate value"),
        ("/datacenters", json!(["DC0, DC1"]), "spec.datacenters[0]"),
        ("/datacenters", json!(["DC\"0"]), "spec.datacenters[0]"),
        ("/datacenters", json!(vec!["x"; 65]), "must have at most 64 items"),
        ("/port", json!(0), "spec.port"),
        ("/port", json!(70000), "spec.port"),
        ("/vcIP", json!("typo"), "unknown field \"spec.vcIP\""),
    ]
}

fn bad_vdos() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("/cloudProvider/vsphereCloudConfigs", json!(["a", "a"]), "Duplicate value"),
        ("/cloudProvider/topology/zone", Value::Null, "zone: Required value"),
        ("/cloudProvider/topology/zone", json!("k8s-region"), "two different tag categories"),
        ("/cloudProvider/topology/zone", json!("a b"), "topology.zone"),
        ("/cloudProvider/version", json!("latest"), "cloudProvider.version"),
        ("/cloudProvider/version", json!("03.0.0"), "cloudProvider.version"),
        ("/storageProvider/vsphereCloudConfig", Value::Null, "vsphereCloudConfig: Required value"),
        ("/storageProvider/version", json!("3.0.0 "), "storageProvider.version"),
        ("/storageProvider/customKubeletPath", json!("/"), "customKubeletPath"),
        ("/storageProvider/customKubeletPath", json!("/etc"), "customKubeletPath"),
        ("/storageProvider/customKubeletPath", json!("/var/lib/../../etc"), "may not contain '..'"),
        ("/storageProvider/customKubeletPath", json!("/var//x"), "customKubeletPath"),
        ("/storageProvider/customKubeletPath", json!("/var/lib/kubelet/"), "customKubeletPath"),
        ("/storageProvider/customKubeletPath", json!("/var/$(x)/y"), "customKubeletPath"),
        (
            "/storageProvider/customKubeletPath",
            json!("/var/".to_owned() + &"x".repeat(5000)),
            "customKubeletPath",
        ),
        ("/storageProvider/fileVolumes/vsanDataStoreUrl", json!(["http://x"]), "vsanDataStoreUrl[0]"),
        ("/storageProvider/fileVolumes/vsanDataStoreUrl", json!([""]), "vsanDataStoreUrl[0]"),
        ("/storageProvider/fileVolumes/netPermissions/0/ips", json!("10.0.0.0/33"), "ips"),
        ("/storageProvider/fileVolumes/netPermissions/0/ips", json!("a b"), "ips"),
        ("/storageProvider/fileVolumes/netPermissions/0/permissions", json!("rw"), "Unsupported value"),
        ("/deletionPolicy", json!("Keep"), "Unsupported value"),
        ("/images", json!({"registry": "https://mirror.example.com"}), "images.registry"),
    ]
}

#[test]
fn bad_input_is_refused_with_its_field_and_the_same_object_without_the_fault_is_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    apply(&bed, &vcenter("base", &good_vcenter())).unwrap();
    apply(&bed, &vdo("base", &good_vdo())).unwrap();
    let mut wrong = Vec::new();
    for (field, value, words) in bad_vcenters() {
        let spec = with(good_vcenter(), field, value);
        for name in ["new", "base"] {
            if let Err(error) = refused(&bed, &vcenter(name, &spec), words) {
                wrong.push(format!("VsphereCloudConfig {name} {field}: {error:#}"));
            }
        }
    }
    for (field, value, words) in bad_vdos() {
        let spec = with(good_vdo(), field, value);
        for name in ["new", "base"] {
            if let Err(error) = refused(&bed, &vdo(name, &spec), words) {
                wrong.push(format!("VDOConfig {name} {field}: {error:#}"));
            }
        }
    }
    if let Err(error) =
        refused(&bed, &vdo("new", &json!({})), "at least one of cloudProvider and storageProvider")
    {
        wrong.push(format!("VDOConfig without a driver: {error:#}"));
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn spellings_that_mean_something_are_accepted() {
    let bed = Bed::from_env();
    install(&bed);
    let sha256 = "ab".repeat(32);
    let good = [
        ("/vcIp", json!("VC.Example.com.")),
        ("/vcIp", json!("192.0.2.7")),
        ("/vcIp", json!("2001:db8::7")),
        ("/thumbprint", json!(sha256)),
        ("/thumbprint", json!(" ".to_owned() + &"AA:".repeat(19) + "AA ")),
        ("/datacenters", json!([])),
        ("/datacenters", json!(["/folder/DC 1"])),
        ("/port", json!(8443)),
        ("/caRef", json!({"name": "ca"})),
    ];
    for (number, (field, value)) in good.into_iter().enumerate() {
        let spec = with(good_vcenter(), field, value);
        apply(&bed, &vcenter(&format!("good-{number}"), &spec)).unwrap();
    }
}

#[test]
fn insecure_with_a_thumbprint_is_refused_but_an_old_object_with_both_can_still_be_changed() {
    let bed = Bed::from_env();
    install(&bed);
    let both =
        with(with(good_vcenter(), "/insecure", json!(true)), "/thumbprint", json!("AA:".repeat(19) + "AA"));
    refused(&bed, &vcenter("both", &both), "thumbprint has no effect when insecure is true").unwrap();
    // As the original's CRD allowed it: stored while the rule was not there.
    let crd = "vspherecloudconfigs.vdo.vmware.com";
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations";
    let rules = bed.get(&["crd", crd]).unwrap().pointer(path).unwrap().clone();
    let without = json!([{"op": "remove", "path": path}]).to_string();
    bed.kubectl(&["patch", "crd", crd, "--type=json", "-p", &without]).unwrap();
    testbed::wait::eventually(std::time::Duration::from_secs(20), "the rule is gone", || {
        apply(&bed, &vcenter("both", &both))
    });
    let back = json!([{"op": "add", "path": path, "value": rules}]).to_string();
    bed.kubectl(&["patch", "crd", crd, "--type=json", "-p", &back]).unwrap();
    testbed::wait::eventually(std::time::Duration::from_secs(20), "the rule is back", || {
        refused(&bed, &vcenter("another", &both), "thumbprint has no effect")
    });
    let renamed = with(both, "/credentials", json!("other-creds"));
    apply(&bed, &vcenter("both", &renamed)).unwrap();
}

#[test]
fn what_the_original_stored_still_loads_and_updates() {
    let bed = Bed::from_env();
    install(&bed);
    let config = json!({"vcIp": "10.1.1.1", "insecure": true, "credentials": "vc-creds", "datacenters": []});
    apply(&bed, &vcenter("original", &config)).unwrap();
    let spec = json!({
        "storageProvider": {"vsphereCloudConfig": "original", "clusterDistribution": "OpenShift"},
        "cloudProvider": {"vsphereCloudConfigs": ["original"]},
    });
    apply(&bed, &vdo("original", &spec)).unwrap();
    let status = json!({"status": {
        "cpi": {"phase": "Configured", "nodeStatus ": {"node-1": "ready"}}, "csi": {"phase": "Deployed"}}});
    let patch = status.to_string();
    let status_of =
        ["patch", "vdoconfig", "original", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p"];
    bed.kubectl(&[&status_of[..], &[&patch]].concat()).unwrap();
    let stored = bed.get(&["vdoconfig", "original", "-n", NAMESPACE]).unwrap();
    assert_eq!(stored["status"]["cpi"]["nodeStatus "]["node-1"], "ready");
    apply(&bed, &vdo("original", &with(spec, "/storageProvider/clusterDistribution", json!("Vanilla"))))
        .unwrap();
}

#[test]
fn kinds_have_short_names_a_category_and_columns() {
    let bed = Bed::from_env();
    install(&bed);
    apply(&bed, &vcenter("columns", &good_vcenter())).unwrap();
    let list = bed.kubectl(&["get", "vcc", "-n", NAMESPACE]).unwrap();
    assert!(
        list.starts_with("NAME") && list.contains("VCENTER") && list.contains("vc.example.com"),
        "{list}"
    );
    assert!(bed.kubectl(&["get", "vdo", "-n", NAMESPACE]).is_ok());
    let explained = bed.kubectl(&["explain", "vspherecloudconfig.spec.insecure"]).unwrap();
    assert!(explained.contains("certificate"), "{explained}");
}
