//! Each oracle is shown a right run and a planted violation: one that cannot fail is a defect.

use serde_json::json;

use super::*;
use crate::sweep::history::tests::event;

const DS: &str = "vsphere-cloud-controller-manager";

fn config(cpi_works: bool, cpi: &str) -> (Id, Value) {
    let status = if cpi_works { "True" } else { "False" };
    let object = json!({
        "metadata": {"name": "vdo", "generation": 1},
        "spec": {"cloudProvider": {}, "storageProvider": {}},
        "status": {
            "conditions": [{"type": "CPIReady", "status": status, "observedGeneration": 1}],
            "cpi": {"installed": {"release": cpi, "revision": "r"}}}});
    (Id::new("VDOConfig", "o", "vdo"), object)
}

fn leaving() -> (Id, Value) {
    let (id, mut object) = config(true, "1.36.0");
    object["metadata"]["deletionTimestamp"] = json!("now");
    (id, object)
}

fn workload(driver: &str, revision: &str, tag: &str) -> (Id, Value) {
    let (namespace, kind, name) = if driver == "cpi" {
        ("vmware-system-cpi", "DaemonSet", DS)
    } else {
        ("vmware-system-csi", "Deployment", "c")
    };
    let image = format!("r/cloud-pv-vsphere/cloud-provider-vsphere:v{tag}");
    let object = json!({
        "metadata": {"name": name, "labels": {DRIVER_LABEL: driver}, "annotations": {"vdo.vmware.com/revision": revision}},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}}});
    (Id::new(kind, namespace, name), object)
}

fn created((id, object): (Id, Value)) -> Event {
    event(1, What::Created, id, object)
}

fn changed((id, object): (Id, Value)) -> Event {
    event(2, What::Changed, id, object)
}

fn deleted((id, object): (Id, Value)) -> Event {
    event(3, What::Deleted, id, object)
}

fn breaches(before: &[(Id, Value)], events: &[Event]) -> Vec<String> {
    let before = before.iter().cloned().collect();
    never(&before, events, &Planned::default()).into_iter().map(|breach| breach.said).collect()
}

#[track_caller]
fn one(said: &[String], words: &str) {
    assert!(said.len() == 1 && said[0].contains(words), "{said:?}");
}

fn leaves(rows: &[(&str, &str)]) -> Leaves {
    rows.iter()
        .map(|(path, leaf)| (("Secret a/b".to_owned(), (*path).to_owned()), (*leaf).to_owned()))
        .collect()
}

#[test]
fn o1_equal_ends_pass_and_what_the_mask_names_may_differ() {
    let mask = Mask::reviewed().unwrap();
    let one = leaves(&[("/data/x", "1"), ("/metadata/resourceVersion", "a")]);
    let two = leaves(&[("/data/x", "1"), ("/metadata/resourceVersion", "b")]);

    assert_eq!(same_end(&one, &two, &mask), []);
}

#[test]
fn o1_another_value_a_missing_leaf_and_one_too_many_are_each_found() {
    let mask = Mask::reviewed().unwrap();
    let reference = leaves(&[("/data/x", "1"), ("/metadata/resourceVersion", "a")]);
    for planted in [
        leaves(&[("/data/x", "2"), ("/metadata/resourceVersion", "a")]),
        leaves(&[("/metadata/resourceVersion", "a")]),
        leaves(&[("/data/x", "1")]),
        leaves(&[("/data/x", "1"), ("/data/y", "1"), ("/metadata/resourceVersion", "a")]),
    ] {
        assert_eq!(same_end(&reference, &planted, &mask).len(), 1, "{planted:?}");
    }
}

#[test]
fn o2_an_object_that_was_made_twice_is_found() {
    let names = Names::default();
    let once = vec![created(workload("cpi", "r", "1.36.0"))];
    let twice = vec![
        once[0].clone(),
        deleted(workload("cpi", "r", "1.36.0")),
        created(workload("cpi", "r", "1.36.0")),
    ];
    let (reference, found) = (counts(&once, &names), counts(&twice, &names));

    assert_eq!(same_history(&reference, &reference), []);
    let said = same_history(&reference, &found);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].said.contains("created 2 and deleted 1 times instead of created 1 and deleted 0"),
        "{said:?}"
    );
}

#[test]
fn o2_an_object_that_only_one_run_made_is_found() {
    let names = Names::default();
    let found = counts(&[created(workload("cpi", "r", "1.36.0"))], &names);

    assert_eq!(same_history(&Counts::new(), &found).len(), 1);
    assert_eq!(same_history(&found, &Counts::new()).len(), 1);
}

#[test]
fn o2_an_object_that_was_only_changed_counts_nothing() {
    assert_eq!(counts(&[changed(workload("cpi", "r", "1.36.0"))], &Names::default()), Counts::new());
}

#[test]
fn o3_a_write_after_convergence_is_found() {
    assert_eq!(quiet(&[]), []);
    assert_eq!(quiet(&["apply secrets a/b".to_owned()]).len(), 1);
}

#[test]
fn o5_a_right_install_passes() {
    let events = [
        created(config(false, "1.36.0")),
        created(workload("cpi", "r", "1.36.0")),
        changed(config(true, "1.36.0")),
        created(workload("csi", "s", "1.36.0")),
    ];
    assert_eq!(breaches(&[], &events), Vec::<String>::new());
}

#[test]
fn o5_csi_before_cpi_is_found() {
    let events = [created(config(false, "1.36.0")), created(workload("csi", "s", "1.36.0"))];
    one(&breaches(&[], &events), "before CPIReady was True of that generation");
}

#[test]
fn o5_csi_on_the_word_about_an_older_spec_is_found() {
    let (id, mut stale) = config(true, "1.36.0");
    stale["metadata"]["generation"] = json!(2);
    let events = [created((id, stale)), created(workload("csi", "s", "1.36.0"))];
    one(&breaches(&[], &events), "before CPIReady was True of that generation");
}

#[test]
fn o5_what_is_installed_may_be_put_back_while_cpi_is_broken() {
    let (id, mut object) = config(false, "1.36.0");
    object["status"]["csi"]["installed"]["revision"] = json!("s");
    let events = [created((id, object)), created(workload("csi", "s", "1.36.0"))];
    assert_eq!(breaches(&[], &events), Vec::<String>::new());
}

#[test]
fn o5_a_release_going_back_unasked_is_found() {
    let before = [config(true, "1.36.0"), workload("cpi", "r", "1.36.0")];
    let back = [changed(workload("cpi", "q", "1.33.0"))];
    one(&breaches(&before, &back), "went back to an older release");
    one(&breaches(&before, &[changed(config(true, "1.33.0"))]), "counts as installed in an older release");

    let planned = Planned { rollback: true, ..Planned::default() };
    assert_eq!(never(&before.into(), &back, &planned), []);
}

#[test]
fn o5_a_wanted_workload_that_is_away_is_found_unless_the_case_took_it() {
    let before = [config(true, "1.36.0"), workload("cpi", "r", "1.36.0")];
    let away = [deleted(workload("cpi", "r", "1.36.0"))];
    one(&breaches(&before, &away), "although it is wanted");

    let planned = Planned { deletes: [before[1].0.clone()].into(), ..Planned::default() };
    assert_eq!(never(&before.into(), &away, &planned), []);
}

#[test]
fn o5_cpi_removed_under_csi_is_found() {
    let cpi = deleted(workload("cpi", "r", "1.36.0"));
    let before = [leaving(), workload("cpi", "r", "1.36.0")];
    assert_eq!(breaches(&before, std::slice::from_ref(&cpi)), Vec::<String>::new());

    let before = [leaving(), workload("cpi", "r", "1.36.0"), workload("csi", "s", "1.36.0")];
    one(&breaches(&before, &[cpi]), "was removed at 3 while Deployment vmware-system-csi/c was there");
}

#[test]
fn o5_something_made_after_the_end_is_found() {
    let events = [deleted(leaving()), created(workload("cpi", "r", "1.36.0"))];
    one(&breaches(&[leaving()], &events), "after the VDOConfig was gone");
}
