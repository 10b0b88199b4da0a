//! Transcripts of `vdoctl status`: what a person reads in each situation, kept as golden files.
#![allow(clippy::unwrap_used)]

mod field;
mod page;

use field::Field;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use vdo_api::{Truth, VDOConfigStatus, condition};
use vdo_plan::Reading;
use vdoctl::look::{Look, Paint};
use vdoctl::screen::screen;
use vdoctl::seen::{Operator, Report, Seen};

const NOW: &str = "2026-03-01T12:00:00Z";

fn condition_of(type_: &str, status: &str, reason: &str, message: &str, generation: i64) -> Value {
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
        .map(|type_| condition_of(type_, "True", "VCenterVerified", "vCenter 8.0.3 build 24022515", 1));
    vcenter(json!(conditions), known())
}

fn known() -> Value {
    json!({"generation": 1, "server": "vc1.example.com", "port": 443, "version": "8.0.3",
        "apiVersion": "8.0.3.0", "build": "24022515", "datacenters": ["/DC0"],
        "secret": {"namespace": "vmware-system-vdo", "name": "vc1-credentials", "uid": "u", "resourceVersion": "7"},
        "trust": {"mode": "CA", "sha256": "AB", "sha1": "CD"}})
}

/// Its password is wrong; known is what was known of it before.
fn refused(verified: Value) -> Value {
    let refused = "vc1.example.com refused the login with Secret vmware-system-vdo/vc1-credentials: user name or \
        password is wrong, expired or locked. Correct the Secret, which is tried at once, or ask for another try: \
        kubectl annotate --overwrite vspherecloudconfig -n vmware-system-vdo vc1 \
        vdo.vmware.com/retry-login=\"$(date)\"";
    let conditions = json!([
        condition_of("Reachable", "True", "Reached", "vc1.example.com:443 answers", 1),
        condition_of("Trusted", "True", "CertificateTrusted", "signed by a trusted authority", 1),
        condition_of("CredentialsValid", "False", "LoginRefused", refused, 1),
        condition_of("DatacentersFound", "Unknown", "NotCheckedYet", "waits for CredentialsValid", 1),
        condition_of("Ready", "False", "LoginRefused", refused, 1),
    ]);
    vcenter(conditions, verified)
}

/// What a person meets in the field.
fn seen(field: &Field) -> Seen {
    Seen {
        now: field.now,
        configs: Reading::Present(vec![field.config.clone()]),
        vcenters: vec![field.vcenter.clone()],
        ..installed()
    }
}

/// A release of CSI that needs this Kubernetes, and one of CPI that needs none in particular.
fn rows(csi: &Value) -> Value {
    let row = |driver: &str, release: &str, kubernetes: &Value| json!({"driver": driver, "release": release, "kubernetes": kubernetes, "vsphere": {"min": "7.0"}});
    json!([row("CPI", "1.36.0", &json!({"min": "1.33"})), row("CSI", "3.7.0", csi)])
}

fn nothing_installed() -> Seen {
    Seen { configs: Reading::Absent, operators: Reading::Present(Vec::new()), ..installed() }
}

fn waiting_for_cpi() -> Seen {
    let waits = "1 of 3 pods work: pod vdo-cpi-x7k2p on cp-2: ImagePullBackOff back-off pulling image \
        registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";
    let findings = json!([
        {"reason": "VMNotFound", "count": 1, "names": ["w-17"]},
        {"reason": "ToolsNotRunning", "count": 7, "names": ["w-1", "w-2", "w-3", "w-4", "w-5"]}]);
    let field = Field::new("1.36.3", verified()).nodes(1, findings).trouble("1.36.0", waits);
    seen(&field.settled().at(NOW).settled())
}

/// Both drivers were rolled out, and work.
fn field() -> Field {
    Field::new("1.36.3", verified()).settled().at(NOW)
}

fn ready() -> Seen {
    seen(&field().settled())
}

fn wrong_password() -> Seen {
    let waits = json!([{"reason": "WaitsForCloudProvider", "count": 3, "names": ["cp-1", "w-1", "w-2"]}]);
    seen(&Field::new("1.36.3", refused(Value::Null)).nodes(0, waits).settled().at(NOW))
}

/// The password went wrong while the drivers were at work.
fn password_changed() -> Seen {
    seen(&field().vcenter(refused(known())).settled())
}

fn no_match() -> Seen {
    let rows = rows(&json!({"min": "1.33", "max": "1.35"}));
    seen(&Field::new("1.36.3", verified()).with_matrix(&rows).settled().at(NOW))
}

/// Kubernetes was upgraded beyond what CSI is made for: what is installed keeps running.
fn held() -> Field {
    let rows = rows(&json!({"min": "1.33", "max": "1.35"}));
    Field::new("1.35.2", verified()).with_matrix(&rows).settled().at(NOW).kubernetes("1.36.3").settled()
}

const CRASHES: &str = "Deployment vsphere-csi-controller: 0 of 2 pods work: pod vsphere-csi-controller-5f7d8-x2x7k on \
    cp-1, vsphere-csi-controller: CrashLoopBackOff back-off 5m0s restarting failed container";

/// The roll-out of a new release did not work, and the one before it was brought back.
fn rolled_back() -> Seen {
    let before = Field::new("1.35.2", verified()).csi_pinned("3.6.0").settled();
    let rolling = before.csi_pinned("3.7.0").trouble("3.7.0", CRASHES).settled();
    seen(&rolling.at("2026-03-01T12:08:00Z").settled())
}

/// What was installed and worked does not work any more.
fn failed() -> Seen {
    let field = field();
    let csi = field.config.status.as_ref().unwrap().csi.as_ref().unwrap();
    let release = csi.record.installed.as_ref().unwrap().release.clone();
    seen(&field.trouble(&release, CRASHES).settled())
}

fn second_config() -> Seen {
    let mut seen = ready();
    let Reading::Present(configs) = &mut seen.configs else { panic!("there is one") };
    let mut other = configs[0].clone();
    other.metadata.name = Some("another".to_owned());
    other.metadata.finalizers = None;
    other.status = Some(VDOConfigStatus {
        conditions: vdo_core::order::sum::inactive(&other, "vdo", seen.now),
        ..VDOConfigStatus::default()
    });
    configs.insert(0, other);
    seen
}

/// Deleted while volumes need CSI, and one replica of an operator is away.
fn deleting() -> Seen {
    let volumes = ["PersistentVolume pvc-1", "PersistentVolume pvc-2"];
    let mut seen = seen(&field().deleted_while_needed(&volumes).settled());
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
    let field = held();
    check("held", &seen(&field));
    let report = Report::of(&seen(&field));
    let resolved = of(&seen(&field), "CompatibilityResolved");
    assert!(resolved.status == Truth::False && resolved.message.contains(" | "), "{resolved:?}");
    assert!(
        report.ready && report.conditions.is_empty(),
        "said once, at the driver: {:?}",
        report.conditions
    );
    assert!(!field.csi_gate().is_empty());
    assert_eq!(report.next, format!("CSI: {}", field.csi_gate()));
}

/// What the one VDOConfig says.
fn of(seen: &Seen, type_: &str) -> vdo_api::Condition {
    let conditions = &seen.configs.present().unwrap()[0].status.as_ref().unwrap().conditions;
    condition::find(conditions, type_).unwrap().clone()
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
    let report = Report::of(&failed());
    assert!(!report.ready);
    assert_eq!(of(&failed(), "Degraded").status, Truth::True);
    assert!(report.conditions.is_empty(), "said once, at the driver: {:?}", report.conditions);
}

#[test]
fn what_degrades_and_is_no_drivers_word_is_said_beside() {
    let report = Report::of(&password_changed());
    let types: Vec<&str> = report.conditions.iter().map(|it| it.type_.as_str()).collect();
    assert_eq!(types, ["Degraded"], "{report:?}");
}

#[test]
fn a_ready_cluster_with_nodes_that_wait_says_where_to_look() {
    let waits = json!([{"reason": "WaitsForCloudProvider", "count": 1, "names": ["w-17"]}]);
    let report = Report::of(&seen(&field().settled().nodes(2, waits).settled()));
    assert!(report.ready, "{report:?}");
    assert_eq!(report.next, "see what is wrong with which node: `vdoctl nodes`");
}

#[test]
fn colours_change_nothing_but_colours() {
    let sights =
        [installed(), waiting_for_cpi(), ready(), wrong_password(), seen(&held()), failed(), deleting()];
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
    let csi = of(&deleting(), "CSIReady");
    assert_eq!((csi.status, csi.reason.as_str()), (Truth::True, "VolumesExist"), "{csi:?}");
    let report = Report::of(&deleting());
    assert_eq!(report.next, format!("CSI: {}", report.drivers[1].beyond()));
    assert!(report.next.contains("delete them"), "{}", report.next);
}

#[test]
fn only_what_is_ready_for_this_generation_is_ready() {
    let mut changed = field().settled();
    changed.config.metadata.generation = Some(3);
    let report = Report::of(&seen(&changed));
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
    let sights = [
        nothing_installed(),
        password_changed(),
        waiting_for_cpi(),
        rolled_back(),
        no_match(),
        second_config(),
        wrong_password(),
        deleting(),
    ];
    page::lists_the_fields_of("status", &sights.map(|seen| serde_json::to_value(Report::of(&seen)).unwrap()));
}
