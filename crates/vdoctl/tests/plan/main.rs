//! `vdoctl plan` against the scripted API server: transcripts as golden files, and what must never be in one.
#![allow(clippy::unwrap_used)]

#[path = "../../../vdo-runtime/tests/support/mod.rs"]
mod support;

#[path = "../asked/mod.rs"]
mod asked;
mod bed;
#[path = "../page/mod.rs"]
mod page;

use asked::{Said, VDOCTL, command, said};
use bed::{Bed, DAEMON_SET, PASSWORD, USER};
use serde_json::{Value, json};
use support::Listening;
use vdoctl::look::{Look, Paint};
use vdoctl::plan::list::{Detail, draw};
use vdoctl::plan::{Action, PlanReport, Step};

const CPI: &str = "1.36.0";
const CSI: &str = "3.7.0";

async fn both() -> Bed {
    Bed::new(CPI, CSI).with_cpi(CPI).await.with_csi(CSI).await
}

/// CPI is to be upgraded.
async fn upgrade() -> Bed {
    Bed::new(CPI, CSI).with_cpi("1.35.1").await.with_csi(CSI).await
}

/// Somebody edited the image of CPI.
async fn drift() -> Bed {
    let bed = both().await;
    let mut set = bed.api.object(DAEMON_SET).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.example.com/cpi:debug".into();
    let fields = set["metadata"]["managedFields"].as_array_mut().unwrap();
    let ours = fields[0].pointer_mut("/fieldsV1/f:spec/f:template/f:spec").unwrap();
    ours.as_object_mut().unwrap().remove("f:containers").unwrap();
    let main = json!({"k:{\"name\":\"vsphere-cloud-controller-manager\"}": {"f:image": {}}});
    fields.push(json!({"manager": "kubectl-edit", "operation": "Update", "time": "2026-03-01T11:59:00Z",
        "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": main}}}}}));
    bed.api.put(DAEMON_SET, set);
    bed
}

/// The VDOConfig is being deleted while two volumes need CSI.
async fn removal() -> Bed {
    let bed = both().await;
    bed.config(|config| config["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z".into());
    for name in ["pvc-1", "pvc-2"] {
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"csi": {"driver": "csi.vsphere.vmware.com", "volumeHandle": name}}});
        bed.api.put(&format!("/api/v1/persistentvolumes/{name}"), volume);
    }
    bed
}

/// A new password, which vdo-core has verified.
async fn rotation() -> Bed {
    let bed = both().await;
    bed.credentials("canary-next");
    bed
}

fn check(name: &str, report: &PlanReport) {
    for width in [80, 200] {
        let text = draw(report, Detail::Usual, Look::plain(width));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width, "{name}: {longest} of {width}");
        insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "../golden"}, {
            insta::assert_snapshot!(format!("plan-{name}-{width}"), text);
        });
    }
}

fn steps(report: &PlanReport) -> Vec<Step> {
    report.drivers.iter().map(|driver| driver.step).collect()
}

/// What is done to each object of a driver.
fn actions(report: &PlanReport, driver: usize) -> Vec<(Action, String)> {
    report.drivers[driver].objects.iter().map(|it| (it.action, it.object.to_string())).collect()
}

#[tokio::test]
async fn a_first_install_is_listed_in_the_order_in_which_it_is_applied() {
    let report = Bed::new(CPI, CSI).plan().await;
    assert_eq!(steps(&report), [Step::Install, Step::Wait]);
    assert_eq!(report.drivers[1].condition.reason, "CPINotReady");
    let objects = actions(&report, 0);
    let config = "ConfigMap vmware-system-cpi/vdo-cpi-config-(derived)".to_owned();
    assert!(objects.contains(&(Action::Create, config)), "its key is not made yet: {objects:?}");
    assert_eq!(objects.last().unwrap().1, "DaemonSet vmware-system-cpi/vsphere-cloud-controller-manager");
    check("install", &report);
}

#[tokio::test]
async fn an_upgrade_names_the_fields_that_differ_between_the_releases() {
    let report = upgrade().await.plan().await;
    assert_eq!(steps(&report), [Step::Upgrade, Step::Nothing]);
    let (from, to) = (report.drivers[0].from.as_deref(), report.drivers[0].to.as_deref());
    assert_eq!((from, to), (Some("1.35.1"), Some(CPI)));
    let set = report.drivers[0].objects.iter().find(|it| it.object.kind == "DaemonSet").unwrap();
    let fields: Vec<&str> = set.fields.iter().filter(|it| !it.is_mark()).map(|it| it.path.as_str()).collect();
    assert_eq!(fields, ["spec.template.spec.containers[vsphere-cloud-controller-manager].image"]);
    assert!(!actions(&report, 0).iter().any(|(action, _)| *action == Action::Delete));
    check("upgrade", &report);
}

#[tokio::test]
async fn drift_of_one_field_is_one_field_with_who_changed_it() {
    let report = drift().await.plan().await;
    assert_eq!(steps(&report), [Step::Repair, Step::Nothing]);
    let [object] = report.drivers[0].objects.as_slice() else { panic!("{report:?}") };
    let [field] = object.fields.as_slice() else { panic!("{object:?}") };
    assert_eq!(field.from.as_deref(), Some("registry.example.com/cpi:debug"));
    assert_eq!(field.manager.as_deref(), Some("kubectl-edit"));
    check("drift", &report);
}

#[tokio::test]
async fn an_object_that_somebody_deleted_is_created() {
    let bed = both().await;
    bed.api.delete("/api/v1/namespaces/vmware-system-cpi/serviceaccounts/vdo-cpi");
    let report = bed.plan().await;
    let account = (Action::Create, "ServiceAccount vmware-system-cpi/vdo-cpi".to_owned());
    assert_eq!((steps(&report)[0], actions(&report, 0)), (Step::Repair, vec![account]));
}

#[tokio::test]
async fn a_removal_that_volumes_hold_says_so_and_changes_nothing() {
    let report = removal().await.plan().await;
    assert_eq!(steps(&report), [Step::Wait, Step::Wait]);
    assert!(!report.changes && report.drivers[1].summary.contains("VolumesExist"), "{report:?}");
    check("removal-held", &report);
}

#[tokio::test]
async fn a_removal_that_nothing_holds_takes_the_workloads_first() {
    let bed = both().await;
    bed.config(|config| config["metadata"]["deletionTimestamp"] = "2026-03-01T11:59:00Z".into());
    let report = bed.plan().await;
    assert_eq!(steps(&report), [Step::Wait, Step::Remove], "{report:?}");
    let deleted: Vec<String> = actions(&report, 1)
        .into_iter()
        .filter(|(action, _)| *action == Action::Delete)
        .map(|(_, object)| object)
        .collect();
    assert!(deleted[..2].iter().all(|it| it.contains("vsphere-csi-")), "{deleted:?}");
    assert!(deleted.len() > 10 && deleted[2..].iter().all(|it| !it.starts_with("DaemonSet")), "{deleted:?}");
}

#[tokio::test]
async fn where_everything_is_as_it_should_be_nothing_is_to_do() {
    let report = both().await.plan().await;
    assert_eq!(steps(&report), [Step::Nothing, Step::Nothing], "{report:?}");
    assert!(!report.changes && !report.partial);
    check("nothing", &report);
}

#[tokio::test]
async fn a_new_password_reaches_cpi_in_place_and_csi_under_a_new_name() {
    let report = rotation().await.plan().await;
    assert_eq!(steps(&report), [Step::Refresh, Step::Configure]);
    let secret = report.drivers[0].objects.iter().find(|it| it.object.name == "vdo-cpi-credentials").unwrap();
    let said: Vec<_> =
        secret.fields.iter().map(|it| (it.path.as_str(), it.from.as_deref(), it.to.as_deref())).collect();
    assert_eq!(said, [("data[vc1.example.com.password]", None, Some("(changed)"))]);
    let config = report.drivers[1].objects.iter().find(|it| it.action == Action::Replace).unwrap();
    assert!(config.replaces.as_ref().unwrap().starts_with("vdo-csi-config-"));
    assert_eq!(config.fields[0].path, "data[csi-vsphere.conf]");
}

#[tokio::test]
async fn a_new_setting_of_the_vcenter_is_shown_line_by_line() {
    let bed = both().await;
    let mut vcenter = bed
        .api
        .object("/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vspherecloudconfigs/vc1")
        .unwrap();
    vcenter["status"]["verified"]["port"] = 8443.into();
    bed.api
        .put("/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vspherecloudconfigs/vc1", vcenter);
    let report = bed.plan().await;
    assert_eq!(steps(&report)[0], Step::Configure);
    let map = report.drivers[0].objects.iter().find(|it| it.action == Action::Replace).unwrap();
    let [field] = map.fields.as_slice() else { panic!("{map:?}") };
    assert_eq!(
        (field.from.as_deref(), field.to.as_deref()),
        (Some("\"port\": 443,"), Some("\"port\": 8443,"))
    );
}

#[tokio::test]
async fn what_holds_an_upgrade_is_said_in_the_words_of_the_condition() {
    let bed = upgrade().await;
    bed.config(|config| {
        let gate = &mut config["status"]["gates"]["cpi"];
        gate["verdict"] = "Held".into();
        gate["reason"] = "VCenterNotVerified".into();
        gate["message"] = "VsphereCloudConfig vc1 is not verified yet".into();
    });
    let report = bed.plan().await;
    assert_eq!(steps(&report)[0], Step::Wait);
    let said = "wait: CPI 1.35.1 works; VsphereCloudConfig vc1 is not verified yet (GateHeld)";
    assert_eq!(report.drivers[0].summary, said);
    assert!(!report.changes);
}

#[tokio::test]
async fn an_installation_of_somebody_else_is_named_and_nothing_is_planned() {
    let bed = Bed::new(CPI, CSI);
    let image = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.30.0";
    let theirs = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "theirs", "namespace": "kube-system"},
        "spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    bed.api.put("/apis/apps/v1/namespaces/kube-system/daemonsets/theirs", theirs);
    let report = bed.plan().await;
    assert_eq!((steps(&report)[0], report.drivers[0].objects.len()), (Step::Wait, 0));
    assert_eq!(report.drivers[0].condition.reason, "ForeignInstallation");
}

#[tokio::test]
async fn without_the_right_to_read_secrets_a_part_is_planned_and_nothing_is_derived_from_a_wrong_key() {
    let bed = both().await;
    bed.serve(&["/secrets"]);
    let same = bed.planned().await;
    assert_eq!(steps(&same), [Step::Nothing, Step::Nothing], "{same:?}");
    assert!(same.partial && !same.changes);
    let bed = upgrade().await;
    bed.serve(&["/secrets"]);
    let report = bed.planned().await;
    assert_eq!(steps(&report), [Step::Upgrade, Step::Nothing], "{report:?}");
    assert!(report.partial && report.changes);
    let missing: Vec<(&str, Option<&str>)> =
        report.unread.iter().map(|it| (it.verb, it.namespace.as_deref())).collect();
    for right in [("get", "vmware-system-vdo"), ("list", "vmware-system-cpi"), ("list", "vmware-system-csi")]
    {
        assert!(missing.contains(&(right.0, Some(right.1))), "{missing:?}");
    }
    let set = report.drivers[0].objects.iter().find(|it| it.object.kind == "DaemonSet").unwrap();
    let mark = set.fields.iter().find(|it| it.is_mark()).unwrap();
    assert_eq!((mark.from.as_deref(), mark.to.as_deref()), (Some(bed.ids[0].as_str()), Some("(derived)")));
    assert_eq!(
        report.drivers[0].objects.iter().filter(|it| it.object.kind == "Secret").count(),
        1,
        "its journal"
    );
    let config = report.drivers[0].objects.iter().find(|it| it.object.name.starts_with("vdo-cpi-config-"));
    assert!(config.unwrap().is_only_marked(), "the same content has the same name: {config:?}");
    check("unread", &report);
}

#[tokio::test]
async fn without_the_journal_what_differs_is_not_called_a_repair() {
    let bed = drift().await;
    bed.serve(&["/secrets/vdo-"]);
    let report = bed.planned().await;
    assert_eq!(steps(&report), [Step::Unknown, Step::Nothing], "{report:?}");
    assert_eq!(actions(&report, 0).len(), 1);
    let bed = Bed::new(CPI, CSI);
    bed.serve(&["/secrets/vdo-"]);
    assert_eq!(steps(&bed.planned().await), [Step::Install, Step::Wait]);
}

#[tokio::test]
async fn what_may_not_be_read_is_named_and_decides_nothing() {
    for (refused, resource) in [
        (&["/nodes"][..], "nodes"),
        (&["/csinodes"], "csinodes"),
        (&["/leases"], "leases"),
        (&["/pods"], "pods"),
        (&["/clusterroles"], "clusterroles"),
        (&["/customresourcedefinitions"], "customresourcedefinitions"),
    ] {
        let bed = both().await;
        bed.serve(refused);
        let report = bed.planned().await;
        assert!(report.partial, "{resource}");
        assert!(
            report.unread.iter().any(|it| it.resource == resource && it.why.contains("jane")),
            "{resource}"
        );
        assert!(!report.drivers.iter().any(|it| it.step == Step::Repair), "{resource}: {report:?}");
    }
    let bed = removal().await;
    bed.serve(&["/persistentvolumes"]);
    let report = bed.planned().await;
    assert_eq!(steps(&report)[1], Step::Unknown, "{report:?}");
}

#[tokio::test]
async fn colours_change_nothing_but_colours() {
    for bed in [upgrade().await, drift().await, removal().await] {
        let report = bed.plan().await;
        let mut painted = draw(&report, Detail::All, Look { width: 80, paint: Paint::Coloured });
        let plain = draw(&report, Detail::All, Look::plain(80));
        assert!(painted.len() > plain.len());
        for code in ["0", "1", "31", "32", "33"] {
            painted = painted.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(painted, plain);
    }
}

/// The program against the bed: its exit code, and both of its streams.
async fn program(bed: &Bed, more: &[&str]) -> (Option<i32>, String, String) {
    let server = Listening::start(&bed.api).await;
    let mut command = command(VDOCTL);
    command.args(["plan", "--server", &format!("http://{}", server.address)]).args(more);
    let Said { code, out, err } = tokio::task::spawn_blocking(move || said(&mut command)).await.unwrap();
    (code, out, err)
}

#[tokio::test]
async fn no_value_of_a_secret_gets_out_by_any_way() {
    let encoded = |text: &str| {
        let value = serde_json::to_value(k8s_openapi::ByteString(text.into())).unwrap();
        value.as_str().unwrap().trim_end_matches('=').to_owned()
    };
    let values = ["canary".to_owned(), encoded(PASSWORD), encoded(USER), encoded("canary-next")];
    let hides = |text: &str| {
        assert!(text.contains("CPI"), "{text}");
        values.iter().for_each(|value| assert!(!text.contains(value.as_str()), "{value}: {text}"));
    };
    let beds = [Bed::new(CPI, CSI), upgrade().await, drift().await, rotation().await, removal().await];
    for bed in beds {
        for refused in [&[][..], &["/secrets/vdo-"], &["/secrets"]] {
            bed.serve(refused);
            let report = bed.planned().await;
            for width in [80, usize::MAX] {
                hides(&draw(&report, Detail::Usual, Look::plain(width)));
                hides(&draw(&report, Detail::All, Look::plain(width)));
            }
            hides(&serde_json::to_string(&report).unwrap());
        }
    }
    let bed = rotation().await;
    for refused in [&[][..], &["/secrets/vdo-"]] {
        bed.serve(refused);
        for more in [&["--all"][..], &["-o", "json"], &["-o", "yaml"]] {
            let (_, out, err) = program(&bed, more).await;
            hides(&out);
            values.iter().for_each(|value| assert!(!err.contains(value.as_str()), "{value}: {err}"));
        }
    }
}

#[tokio::test]
async fn exit_codes_are_those_of_a_diff() {
    let bed = both().await;
    bed.serve(&[]);
    let (code, out, err) = program(&bed, &[]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let changed = upgrade().await;
    changed.serve(&[]);
    assert_eq!(program(&changed, &[]).await.0, Some(1));
    let (code, out, _) = program(&changed, &["-o", "json"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["drivers"][0]["step"], "Upgrade");
    bed.serve(&["/secrets"]);
    let (code, out, err) = program(&bed, &[]).await;
    assert!(code == Some(2) && out.contains("Not read") && err.contains("not everything"), "{out} {err}");
    bed.serve(&["/vdoconfigs"]);
    let (code, out, err) = program(&bed, &[]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("right to list vdoconfigs"), "{err}");
}

#[tokio::test]
async fn the_page_lists_the_fields_of_a_plan() {
    let denied = upgrade().await;
    denied.serve(&["/secrets"]);
    let nothing = PlanReport::nothing(String::new());
    let (drift, rotation, held) = (drift().await, rotation().await, removal().await);
    let reports =
        [drift.plan().await, rotation.plan().await, held.plan().await, denied.planned().await, nothing];
    page::lists_the_fields_of("plan", &reports.map(|it| serde_json::to_value(it).unwrap()));
}
