//! Every release and input through the program itself: what it prints, on which stream, and its exit code.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

use serde_json::Value;

const INPUTS: [&str; 4] = ["plain", "two-vcenters", "thumbprint-mirror", "insecure-ipv6"];

fn input(name: &str) -> String {
    format!("{}/tests/inputs/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

fn vdoctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vdoctl")).args(arguments).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Driver, release and input of every rendering.
fn everything() -> Vec<(&'static str, String, &'static str)> {
    let cpi = cpi_operator::releases::RELEASES.iter().map(|facts| ("cpi", facts.release.to_owned()));
    let csi = csi_operator::releases::all().iter().map(|facts| ("csi", facts.release.to_string()));
    cpi.chain(csi)
        .flat_map(|(driver, release)| INPUTS.map(|input| (driver, release.clone(), input)))
        .collect()
}

fn rendered(driver: &str, release: &str, name: &str, more: &[&str]) -> String {
    let file = input(name);
    let out = vdoctl(&[&["render", driver, "--release", release, "--input", &file], more].concat());
    assert_eq!(out.status.code(), Some(0), "{driver} {release} {name}: {}", words(&out.stderr));
    words(&out.stdout)
}

fn objects(text: &str) -> Vec<Value> {
    vdoctl::yaml::read(text).unwrap()
}

#[test]
fn every_release_and_input_prints_the_same_objects_each_time() {
    let mut count = 0;
    for (driver, release, name) in everything() {
        let text = rendered(driver, &release, name, &[]);
        let objects = objects(&text);
        assert!(objects.len() > 5, "{driver} {release} {name}");
        for object in &objects {
            assert_eq!(object["metadata"]["labels"]["vdo.vmware.com/driver"], driver, "{object}");
        }
        assert_eq!(text, rendered(driver, &release, name, &[]), "{driver} {release} {name}");
        count += 1;
    }
    assert_eq!(count, (18 + csi_operator::releases::all().len()) * 4);
}

#[test]
fn the_story_on_a_real_api_server_knows_every_release() {
    let story =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/tests/render.rs")).unwrap();
    for (_, release, _) in everything() {
        assert!(story.contains(&format!("{release:?}")), "add {release} to e2e/tests/render.rs");
    }
}

#[test]
fn secrets_are_printed_only_when_asked_for() {
    let secrets = |text: &str| -> String {
        let of = |object: Value| {
            let data = object["data"].as_object().cloned().unwrap_or_default();
            let decode = |value: &Value| {
                let bytes: k8s_openapi::ByteString = serde_json::from_value(value.clone()).unwrap();
                words(&bytes.0)
            };
            data.values().map(decode).collect::<String>()
        };
        objects(text).into_iter().filter(|object| object["kind"] == "Secret").map(of).collect()
    };
    for (driver, release, name) in everything() {
        let hidden = rendered(driver, &release, name, &[]);
        let shown = rendered(driver, &release, name, &["--show-secrets"]);
        assert!(secrets(&shown).contains("canary"), "{driver} {release} {name}");
        let said = secrets(&hidden);
        assert!(said.contains("not shown") && !said.contains("canary"), "{driver} {release} {name}: {said}");
        for text in [hidden.as_str(), shown.as_str()] {
            assert!(!text.contains("canary"), "{driver} {release} {name}: outside of a Secret");
        }
    }
}

#[test]
fn nothing_that_is_printed_without_secrets_depends_on_one() {
    let plain = std::fs::read_to_string(input("plain")).unwrap();
    let other = plain.replace("canary-plain-0644", "another").replace("svc-vdo@", "somebody@");
    for (driver, release) in [("cpi", "1.36.0"), ("csi", "3.7.0")] {
        let print = |text: &str, more: &[&str]| {
            let (code, out, _) =
                piped(&[&["render", driver, "--release", release, "--input", "-"], more].concat(), text);
            assert_eq!(code, 0);
            out
        };
        assert_eq!(print(&plain, &[]), print(&other, &[]));
        assert_ne!(print(&plain, &["--show-secrets"]), print(&other, &["--show-secrets"]));
    }
}

#[test]
fn a_hidden_secret_never_has_the_name_of_an_immutable_one_with_content() {
    let immutable = |text: &str| -> Vec<Value> {
        let is = |object: &Value| object["kind"] == "Secret" && object["immutable"] == true;
        objects(text).into_iter().filter(is).map(|object| object["metadata"]["name"].clone()).collect()
    };
    let hidden = immutable(&rendered("csi", "3.7.0", "plain", &[]));
    let shown = immutable(&rendered("csi", "3.7.0", "plain", &["--show-secrets"]));
    assert!(hidden.len() == 1 && shown.len() == 1 && hidden != shown, "{hidden:?} {shown:?}");
}

#[test]
fn what_is_assumed_can_be_said() {
    let sidecars = |text: &str| text.matches("csi-snapshotter").count();
    assert_eq!(sidecars(&rendered("csi", "3.7.0", "plain", &[])), 0);
    assert!(sidecars(&rendered("csi", "3.7.0", "plain", &["--snapshots"])) > 0);
    assert!(rendered("csi", "3.7.0", "plain", &["--control-plane-nodes", "2"]).contains("replicas: 2"));
    assert!(rendered("csi", "3.7.0", "plain", &[]).contains("replicas: 3"));
    let uid = "1c3a9a3e-6f2b-4c59-9a3e-6f2b4c59aa01";
    let with = rendered("csi", "3.7.0", "plain", &["--cluster-uid", uid]);
    assert_ne!(with, rendered("csi", "3.7.0", "plain", &[]));
    let off = rendered("cpi", "1.36.0", "plain", &["--nodes-outside-vsphere"]);
    assert_ne!(off, rendered("cpi", "1.36.0", "plain", &[]));
}

#[test]
fn a_release_that_is_not_made_for_the_cluster_is_said_on_standard_error() {
    let file = input("plain");
    let with = |kubernetes: &str| {
        let out =
            vdoctl(&["render", "cpi", "--release", "1.32.0", "--input", &file, "--kubernetes", kubernetes]);
        assert_eq!(out.status.code(), Some(0));
        words(&out.stderr)
    };
    assert!(with("1.36.2").contains("1.32.0"), "{}", with("1.36.2"));
    assert_eq!(with("1.32.4"), "");
}

/// The exit code, what is printed and what is said, with a text on standard input.
fn piped(arguments: &[&str], text: &str) -> (i32, String, String) {
    use std::io::Write;
    let mut child = Command::new(env!("CARGO_BIN_EXE_vdoctl"))
        .args(arguments)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    (out.status.code().unwrap(), words(&out.stdout), words(&out.stderr))
}

/// The exit code and what is said when a text is not rendered.
fn refused(driver: &str, release: &str, text: &str) -> (i32, String) {
    let (code, printed, said) = piped(&["render", driver, "--release", release, "--input", "-"], text);
    assert_eq!(printed, "", "nothing is printed beside a refusal");
    (code, said)
}

#[test]
fn findings_are_said_and_end_with_one() {
    let plain = std::fs::read_to_string(input("plain")).unwrap();
    let mirror = std::fs::read_to_string(input("thumbprint-mirror")).unwrap();
    let two = std::fs::read_to_string(input("two-vcenters")).unwrap();
    let (before_status, _) = mirror.split_once("status:").unwrap();
    let (_, secret) = mirror.rsplit_once("---\n").unwrap();
    let without_status = format!("{before_status}---\n{secret}");
    let another_certificate = mirror.replace("    sha256: 2C:", "    sha256: 2D:");
    let cases: [(&str, &str, String, &str); 11] = [
        ("cpi", "1.20.0", plain.clone(), "CPIReleaseNotRendered: "),
        ("csi", "1.20.0", plain.clone(), "CSIReleaseUnknown: "),
        ("cpi", "1.36.0", plain.replace("name: vc1\n", "name: vc2\n"), "VsphereCloudConfigMissing: "),
        (
            "cpi",
            "1.36.0",
            plain.replace("name: vc1-credentials", "name: other"),
            "names Secret vc1-credentials",
        ),
        ("cpi", "1.36.0", plain.replace("  username: svc-vdo@vsphere.local\n", ""), "has no key `username`"),
        (
            "cpi",
            "1.36.0",
            plain.replace("vsphereCloudConfigs: [vc1]", "vsphereCloudConfigs: []"),
            "NotWanted: ",
        ),
        ("cpi", "1.36.0", without_status, "CPI compares the SHA-1 fingerprint"),
        ("cpi", "1.36.0", another_certificate, "CPI compares the SHA-1 fingerprint"),
        ("csi", "3.7.0", mirror.replace("thumbprint: 2C:", "thumbprint: 2C2:"), "TrustSettingsInvalid: "),
        ("csi", "3.7.0", plain.replace("0644\"", "\\n\""), "ends with a line break"),
        (
            "csi",
            "3.7.0",
            two.replace("name: east-ca, namespace", "name: other, namespace"),
            "CertificateAuthorityMissing",
        ),
    ];
    for (driver, release, text, words) in cases {
        let (code, said) = refused(driver, release, &text);
        assert!(code == 1 && said.contains(words) && !said.contains("canary"), "{code} {said}");
    }
}

#[test]
fn what_cannot_be_read_ends_with_two() {
    for text in ["", "a: [", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"] {
        let (code, said) = refused("cpi", "1.36.0", text);
        assert!(code == 2 && said.starts_with("vdoctl: cannot use -: "), "{code} {said}");
    }
    let out = vdoctl(&["render", "cpi", "--release", "1.36.0", "--input", "/nonexistent/file"]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(vdoctl(&["render", "cpi", "--release", "new", "--input", "-"]).status.code(), Some(2));
    assert_eq!(vdoctl(&["render", "cni"]).status.code(), Some(2));
}

#[test]
fn a_reason_is_explained_and_an_unknown_one_gets_its_neighbours() {
    let out = vdoctl(&["explain", "volumesexist"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(words(&out.stdout).starts_with("VolumesExist\n"));
    let out = vdoctl(&["explain", "VolumesExists"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(words(&out.stderr).contains("near it are VolumesExist"), "{}", words(&out.stderr));
}
