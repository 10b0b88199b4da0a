//! Transcripts of `vdoctl status`: what a person reads in each situation, kept as golden files.
#![allow(clippy::unwrap_used)]

mod page;

use k8s_openapi::jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vdo_plan::Reading;
use vdoctl::look::{Look, Paint};
use vdoctl::screen::screen;
use vdoctl::seen::{Operator, Report, Seen};

const NOW: &str = "2026-03-01T12:00:00Z";

fn decoded<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str, generation: i64) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "observedGeneration": generation, "lastTransitionTime": "2026-03-01T11:50:00Z"})
}

fn operator(name: &str, available: i32) -> Operator {
    Operator {
        name: name.to_owned(),
        image: format!("registry.example.com/{name}:0.1.0"),
        wanted: 2,
        available,
    }
}

/// A cluster in which the chart was installed, and nothing else.
fn installed() -> Seen {
    Seen {
        namespace: "vmware-system-vdo".to_owned(),
        now: NOW.parse::<Timestamp>().unwrap(),
        configs: Reading::Present(Vec::new()),
        vcenters: Vec::new(),
        broken: Vec::new(),
        operators: Reading::Present(
            ["vdo-core", "cpi-operator", "csi-operator"].map(|name| operator(name, 2)).into(),
        ),
    }
}

fn config(name: &str, created: &str, status: Value) -> Value {
    json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": name, "namespace": "vmware-system-vdo", "generation": 2, "creationTimestamp": created},
        "spec": {"cloudProvider": {"vsphereCloudConfigs": ["vc1"]}, "storageProvider": {"vsphereCloudConfig": "vc1"}},
        "status": status})
}

fn vcenter(conditions: Value, verified: Value) -> Value {
    let mut status = json!({"observedGeneration": 1, "conditions": conditions});
    if !verified.is_null() {
        status["verified"] = verified;
    }
    json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig",
        "metadata": {"name": "vc1", "namespace": "vmware-system-vdo", "generation": 1},
        "spec": {"vcIp": "vc1.example.com", "credentials": "vc1-credentials"}, "status": status})
}

fn verified() -> Value {
    let conditions = ["Reachable", "Trusted", "CredentialsValid", "DatacentersFound", "Ready"]
        .map(|type_| condition(type_, "True", "VCenterVerified", "vCenter 8.0.3 build 24022515", 1));
    let verified = json!({"generation": 1, "server": "vc1.example.com", "port": 443, "version": "8.0.3",
        "apiVersion": "8.0.3.0", "build": "24022515", "datacenters": ["/DC0"],
        "secret": {"namespace": "vmware-system-vdo", "name": "vc1-credentials", "uid": "u", "resourceVersion": "7"},
        "trust": {"mode": "CA", "sha256": "AB", "sha1": "CD"}});
    vcenter(json!(conditions), verified)
}

fn with(config: Value, vcenter: Value) -> Seen {
    Seen { configs: Reading::Present(vec![decoded(config)]), vcenters: vec![decoded(vcenter)], ..installed() }
}

fn nothing_installed() -> Seen {
    Seen { configs: Reading::Absent, operators: Reading::Present(Vec::new()), ..installed() }
}

fn waiting_for_cpi() -> Seen {
    let waits = "CPI 1.36.0 is being rolled out: 1 of 3 pods work: pod vdo-cpi-x7k2p on cp-2: ImagePullBackOff \
        back-off pulling image registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";
    let status = json!({
        "observedGeneration": 2,
        "conditions": [
            condition("Accepted", "True", "AsWanted", "this VDOConfig counts", 2),
            condition("CompatibilityResolved", "True", "ReleasesChosen", "CPI 1.36.0 is the newest that fits", 2),
            condition("NodesInitialised", "False", "NodesWait", "1 of 3 nodes are initialised", 2),
            condition("Ready", "False", "RollingOut", &format!("CPIReady: {waits}"), 2),
            condition("CPIReady", "False", "RollingOut", waits, 0),
            condition("CSIReady", "False", "CPINotReady", "CSI waits for CPI; see CPIReady", 0),
        ],
        "nodes": {"expected": 3, "initialised": 1, "findings": [
            {"reason": "VMNotFound", "count": 1, "names": ["w-17"]},
            {"reason": "ToolsNotRunning", "count": 7, "names": ["w-1", "w-2", "w-3", "w-4", "w-5"]}]},
        "cpi": {"observedGeneration": 2, "attempt": {"verb": "Roll", "release": "1.36.0", "revision": "77ab",
            "generation": 2, "since": "2026-03-01T11:57:00Z", "deadline": "2026-03-01T12:07:00Z"}},
    });
    with(config("vdo", "2026-03-01T11:50:00Z", status), verified())
}

fn ready_status() -> Value {
    json!({
        "observedGeneration": 2,
        "conditions": [
            condition("Accepted", "True", "AsWanted", "this VDOConfig counts", 2),
            condition("CompatibilityResolved", "True", "ReleasesChosen", "CPI 1.36.0 is the newest that fits", 2),
            condition("NodesInitialised", "True", "AsWanted", "3 of 3 nodes are initialised", 2),
            condition("Ready", "True", "AsWanted", "CPI and CSI work", 2),
            condition("Degraded", "False", "AsWanted", "", 2),
            condition("CPIReady", "True", "Installed", "CPI 1.36.0 works", 2),
            condition("CSIReady", "True", "Installed", "CSI 3.7.0 works", 2),
        ],
        "nodes": {"expected": 3, "initialised": 3},
        "cpi": {"installed": {"release": "1.36.0", "revision": "77ab", "since": "2026-03-01T11:57:00Z"}},
        "csi": {"installed": {"release": "3.7.0", "revision": "99cd", "since": "2026-03-01T11:58:00Z"}},
    })
}

fn ready() -> Seen {
    with(config("vdo", "2026-03-01T11:50:00Z", ready_status()), verified())
}

fn wrong_password() -> Seen {
    let refused = "vc1.example.com refused the login with Secret vmware-system-vdo/vc1-credentials: user name or \
        password is wrong, expired or locked. Correct the Secret, which is tried at once";
    let conditions = json!([
        condition("Reachable", "True", "Reached", "vc1.example.com:443 answers", 1),
        condition("Trusted", "True", "CertificateTrusted", "signed by a trusted authority", 1),
        condition("CredentialsValid", "False", "LoginRefused", refused, 1),
        condition("DatacentersFound", "Unknown", "NotCheckedYet", "waits for CredentialsValid", 1),
        condition("Ready", "False", "LoginRefused", refused, 1),
    ]);
    let not_read =
        "a first installation waits until VsphereCloudConfig vc1 was verified once; see its conditions";
    let status = json!({
        "observedGeneration": 2,
        "conditions": [
            condition("Accepted", "True", "AsWanted", "this VDOConfig counts", 2),
            condition("CompatibilityResolved", "Unknown", "VCentersNotRead", not_read, 2),
            condition("Ready", "False", "LoginRefused", &format!("VsphereCloudConfig vc1: {refused}"), 2),
            condition("CPIReady", "False", "NoReleaseFits", not_read, 0),
            condition("CSIReady", "False", "NoReleaseFits", not_read, 0),
        ],
    });
    with(config("vdo", "2026-03-01T11:50:00Z", status), vcenter(conditions, Value::Null))
}

fn no_match() -> Seen {
    let nearest = "no release of CSI fits; the nearest is CSI 3.7.0, which needs Kubernetes 1.33 to 1.35, the \
        cluster runs 1.36.3";
    let mut status = ready_status();
    status["conditions"] = json!([
        condition("Accepted", "True", "AsWanted", "this VDOConfig counts", 2),
        condition("CompatibilityResolved", "False", "NoReleaseFits", nearest, 2),
        condition("Ready", "False", "NoReleaseFits", nearest, 2),
        condition("CPIReady", "True", "Installed", "CPI 1.36.0 works", 2),
        condition("CSIReady", "False", "NoReleaseFits", nearest, 0),
    ]);
    status["csi"] = json!({});
    with(config("vdo", "2026-03-01T11:50:00Z", status), verified())
}

/// Kubernetes was upgraded beyond what CSI is made for: what is installed keeps running.
fn held() -> Seen {
    let nearest = "no release of CSI fits; the nearest is CSI 3.7.0, which needs Kubernetes 1.33 to 1.35, the \
        cluster runs 1.36.3";
    let mut status = ready_status();
    status["conditions"][1] = condition("CompatibilityResolved", "False", "NoReleaseFits", nearest, 2);
    status["conditions"][6] =
        condition("CSIReady", "True", "NoReleaseFits", &format!("CSI 3.7.0 works; {nearest}"), 1);
    with(config("vdo", "2026-03-01T11:50:00Z", status), verified())
}

const CRASHES: &str = "Deployment vsphere-csi-controller: 0 of 2 pods work: pod vsphere-csi-controller-5f7d8-x2x7k on \
    cp-1, vsphere-csi-controller: CrashLoopBackOff back-off 5m0s restarting failed container";

/// The roll-out of a new release did not work, and the one before it was brought back.
fn rolled_back() -> Seen {
    let mut status = ready_status();
    let said = format!("CSI 3.6.0 works; CSI 3.7.0 was rolled back; {CRASHES}");
    status["conditions"][6] = condition("CSIReady", "True", "RevisionRefused", &said, 1);
    status["gates"] = json!({"generation": 2, "kubernetes": "1.36.3", "matrix": {"source": "BuiltIn", "digest": "9c1f"},
        "cpi": {"release": "1.36.0", "verdict": "Open"}, "csi": {"release": "3.7.0", "verdict": "Open"}});
    status["csi"] = json!({
        "installed": {"release": "3.6.0", "revision": "88bc", "since": "2026-02-01T11:58:00Z"},
        "refused": [{"kind": "Release", "release": "3.7.0", "revision": "99cd", "generation": 2,
            "reason": "RolloutTimedOut", "message": CRASHES, "since": "2026-03-01T11:58:00Z"}],
    });
    with(config("vdo", "2026-03-01T11:50:00Z", status), verified())
}

/// What was installed and worked does not work any more.
fn failed() -> Seen {
    let mut status = ready_status();
    let said = format!("CSI 3.7.0: {CRASHES}");
    status["conditions"][3] = condition("Ready", "False", "NotWorking", &format!("CSIReady: {said}"), 2);
    status["conditions"][4] = condition("Degraded", "True", "NotWorking", &said, 2);
    status["conditions"][6] = condition("CSIReady", "False", "NotWorking", &said, 0);
    with(config("vdo", "2026-03-01T11:50:00Z", status), verified())
}

fn second_config() -> Seen {
    let mut seen = ready();
    let Reading::Present(configs) = &mut seen.configs else { panic!("there is one") };
    let ignored = "VDOConfig vdo is the one that counts in this namespace; delete one of the two";
    let status = json!({"conditions": [condition("Accepted", "False", "NotActive", ignored, 2)]});
    configs.insert(0, decoded(config("another", "2026-03-01T11:59:00Z", status)));
    seen
}

/// Deleted while a volume needs CSI, and one replica of an operator is away.
fn deleting() -> Seen {
    let held = "2 volumes need CSI (pvc-1, pvc-2); delete them, or set spec.deletionPolicy to Orphan";
    let mut status = ready_status();
    status["conditions"] = json!([
        condition("Accepted", "True", "AsWanted", "this VDOConfig counts", 2),
        condition("CompatibilityResolved", "True", "ReleasesChosen", "CPI 1.36.0 is the newest that fits", 2),
        condition("Ready", "False", "Removing", "this VDOConfig is being deleted", 2),
        condition("CPIReady", "True", "CSIStillThere", "CPI 1.36.0 works; CPI stays until CSI is gone", 2),
        condition("CSIReady", "False", "VolumesExist", held, 2),
    ]);
    let mut config = config("vdo", "2026-03-01T11:50:00Z", status);
    config["metadata"]["deletionTimestamp"] = json!("2026-03-01T11:59:00Z");
    config["metadata"]["finalizers"] = json!(["vdo.vmware.com/csi", "vdo.vmware.com/cpi"]);
    let mut seen = with(config, verified());
    seen.operators = Reading::Present(vec![operator("vdo-core", 2), operator("csi-operator", 1)]);
    seen
}

fn check(name: &str, seen: &Seen) {
    for width in [80, 200] {
        let text = screen(seen, Look::plain(width));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width, "{name}: {longest} of {width}");
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "golden"}, {
            insta::assert_snapshot!(format!("status-{name}-{width}"), text);
        });
    }
}

#[test]
fn nothing_is_installed() {
    check("nothing-installed", &nothing_installed());
}

#[test]
fn the_chart_is_installed_and_nothing_is_asked_for() {
    check("nothing-asked-for", &installed());
}

#[test]
fn csi_waits_for_cpi() {
    check("waiting-for-cpi", &waiting_for_cpi());
}

#[test]
fn everything_is_ready() {
    check("ready", &ready());
    assert!(Report::of(&ready()).ready);
}

#[test]
fn the_password_is_wrong() {
    check("wrong-password", &wrong_password());
}

#[test]
fn no_release_fits() {
    check("no-match", &no_match());
}

#[test]
fn a_hold_keeps_what_is_installed_and_says_why() {
    check("held", &held());
    let report = Report::of(&held());
    assert!(
        report.ready && report.conditions.is_empty(),
        "said once, at the driver: {:?}",
        report.conditions
    );
    assert!(report.next.starts_with("CSI: no release of CSI fits; the nearest is"), "{}", report.next);
}

#[test]
fn a_roll_out_that_did_not_work_was_taken_back() {
    check("rolled-back", &rolled_back());
    let report = Report::of(&rolled_back());
    assert_eq!(report.drivers[1].chosen.as_deref(), Some("3.7.0"));
    assert!(report.next.starts_with("CSI: Mend what the message says"), "{}", report.next);
}

#[test]
fn a_driver_has_failed() {
    check("failed", &failed());
    assert!(!Report::of(&failed()).ready);
}

#[test]
fn a_ready_cluster_with_nodes_that_wait_says_where_to_look() {
    let mut status = ready_status();
    status["nodes"] = json!({"expected": 3, "initialised": 2, "findings": [
        {"reason": "WaitsForCloudProvider", "count": 1, "names": ["w-17"]}]});
    let report = Report::of(&with(config("vdo", "2026-03-01T11:50:00Z", status), verified()));
    assert_eq!(report.next, "see what is wrong with which node: `vdoctl nodes`");
}

#[test]
fn colours_change_nothing_but_colours() {
    let sights = [installed(), waiting_for_cpi(), ready(), wrong_password(), held(), failed(), deleting()];
    for (seen, width) in sights.iter().flat_map(|seen| [(seen, 80), (seen, 200)]) {
        let painted = screen(seen, Look { width, paint: Paint::Coloured });
        let mut bare = painted.clone();
        for code in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"] {
            bare = bare.replace(code, "");
        }
        assert!(bare.len() < painted.len());
        assert_eq!(bare, screen(seen, Look::plain(width)));
    }
    let painted = screen(&failed(), Look { width: 80, paint: Paint::Coloured });
    for part in [
        "\u{1b}[31mNot ready\u{1b}[0m: ",
        "\u{1b}[32mCPI\u{1b}[0m  ",
        "\u{1b}[31mCSI\u{1b}[0m  ",
        "\u{1b}[1mNext:\u{1b}[0m ",
    ] {
        assert!(painted.contains(part), "{part:?} {painted:?}");
    }
}

#[test]
fn a_second_config_is_ignored() {
    check("second-config", &second_config());
}

#[test]
fn a_deletion_waits_for_volumes() {
    check("deleting", &deleting());
    assert!(Report::of(&deleting()).next.contains("spec.deletionPolicy to Orphan"));
}

#[test]
fn only_what_is_ready_for_this_generation_is_ready() {
    let mut changed = config("vdo", "2026-03-01T11:50:00Z", ready_status());
    changed["metadata"]["generation"] = json!(3);
    let report = Report::of(&with(changed, verified()));
    assert!(
        !report.ready && report.summary.contains("generation 3 has not been looked at yet"),
        "{}",
        report.summary
    );
    for seen in [nothing_installed(), installed(), waiting_for_cpi(), wrong_password(), no_match()] {
        assert!(!Report::of(&seen).ready);
    }
}

#[test]
fn the_first_thing_that_stands_in_the_way_is_next() {
    let next = |seen: &Seen| Report::of(seen).next;
    let mut seen = wrong_password();
    seen.operators = Reading::Present(vec![operator("vdo-core", 0)]);
    assert!(next(&seen).starts_with("see why no pod of vdo-core works: kubectl describe"), "{}", next(&seen));
    seen.operators = Reading::Present(Vec::new());
    assert!(next(&seen).starts_with("install the operators"), "{}", next(&seen));
    seen.operators = Reading::Unreadable("forbidden".to_owned());
    assert!(next(&seen).starts_with("VsphereCloudConfig vc1: "), "{}", next(&seen));
    seen.vcenters.clear();
    assert!(next(&seen).contains("Create the VsphereCloudConfig"), "{}", next(&seen));
    seen.broken.push(("VDOConfig old".to_owned(), "missing field `spec`".to_owned()));
    assert!(next(&seen).starts_with("correct VDOConfig old"), "{}", next(&seen));
}

#[test]
fn a_roll_out_whose_time_is_over_is_not_waited_for() {
    let mut seen = waiting_for_cpi();
    assert!(Report::of(&seen).next.starts_with("wait for the roll-out of CPI; at most 7 min"));
    seen.now = "2026-03-01T12:08:00Z".parse().unwrap();
    let report = Report::of(&seen);
    assert!(!report.next.starts_with("wait for"), "{}", report.next);
    assert!(screen(&seen, Look::plain(80)).contains("its time is over"));
}

#[test]
fn programs_get_the_same_in_json() {
    let value = serde_json::to_value(Report::of(&waiting_for_cpi())).unwrap();
    assert_eq!(value["ready"], false);
    assert_eq!(value["drivers"][0]["driver"], "CPI");
    assert_eq!(value["drivers"][0]["attempt"]["deadline"], "2026-03-01T12:07:00Z");
    assert_eq!(value["vcenters"][0]["condition"]["status"], "True");
    assert_eq!(value["nodes"]["findings"][1]["count"], 7);
}

#[test]
fn the_page_lists_the_fields_of_a_status() {
    let mut status = ready_status();
    status["conditions"][1] = condition("CompatibilityResolved", "False", "MatrixUnusable", "two sources", 2);
    let also = with(config("vdo", "2026-03-01T11:50:00Z", status), verified());
    let sights = [
        nothing_installed(),
        also,
        waiting_for_cpi(),
        rolled_back(),
        no_match(),
        second_config(),
        wrong_password(),
        deleting(),
    ];
    page::lists_the_fields_of("status", &sights.map(|seen| serde_json::to_value(Report::of(&seen)).unwrap()));
}
