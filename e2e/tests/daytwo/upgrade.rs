//! Each driver is upgraded in place and on its own, with the real binaries, and a volume lives through it.

use e2e::crd::apply;
use e2e::stand::csi_socket;
use serde_json::{Value, json};
use testbed::bed::Bed;

use crate::house::{
    CPI, CSI, History, NEW, Since, chapter, csic, images, installed, make_volume, no_workload_was_deleted,
    nothing_of_another_revision_is_left, pinned, pods, volumes, workloads,
};

const OLD: (&str, &str) = ("1.33.0", "3.3.1");

/// Each workload is the same object as before, all the time.
fn in_place(bed: &Bed, since: &Since, namespace: &str, before: &[String]) {
    no_workload_was_deleted(bed, since);
    assert_eq!(uids(bed, namespace), before);
}

fn uids(bed: &Bed, namespace: &str) -> Vec<String> {
    workloads(bed, namespace).into_values().map(|(uid, _)| uid).collect()
}

/// What CPI gave to the nodes.
fn nodes(bed: &Bed) -> Vec<Value> {
    let list = bed.get(&["nodes"]).unwrap();
    let nodes = list["items"].as_array().unwrap().iter();
    nodes.map(|it| json!([it["metadata"]["uid"], it["spec"]["providerID"], it["spec"]["taints"]])).collect()
}

#[test]
fn each_driver_is_upgraded_in_place_and_on_its_own_and_a_volume_lives_through_it() {
    chapter(OLD, |bed| {
        let volume = make_volume(bed, "pvc-upgrade");
        assert!(volumes(bed).contains(&volume));
        let before = nodes(bed);
        assert!(before.iter().all(|node| node[1].is_string()), "{before:?}");

        // CPI alone.
        let (since, history) = (Since::now(bed), History::begin(bed, "cpi"));
        let (cpi, csi, csi_pods) = (uids(bed, CPI), workloads(bed, CSI), pods(bed, CSI));
        apply(bed, &pinned((NEW.0, OLD.1), &json!({}))).unwrap();
        installed(bed, (NEW.0, OLD.1));
        in_place(bed, &since, CPI, &cpi);
        assert_eq!(images(bed, CPI, "cloud-provider-vsphere").len(), 1);
        assert!(images(bed, CPI, "cloud-provider-vsphere")[0].ends_with(NEW.0));
        nothing_of_another_revision_is_left(bed, "cpi");
        // `installed` moves at the end, from one to the other, and nothing else is ever there.
        let told = history.releases("cpi");
        assert_eq!(told, [[OLD.0, "none"], [OLD.0, NEW.0], [NEW.0, "none"]], "{told:?}");
        // CSI noticed nothing of it.
        assert_eq!(history.releases("csi"), [[OLD.1, "none"]]);
        assert_eq!((workloads(bed, CSI), pods(bed, CSI)), (csi, csi_pods));
        let touched = since.touched(bed, "csi-operator");
        assert!(touched.is_empty(), "{touched:#?}");
        assert_eq!(nodes(bed), before);

        // CSI alone, together with a configuration of its own: what carried the old one vanishes.
        let (since, history) = (Since::now(bed), History::begin(bed, "csi"));
        let (cpi, csi, cpi_pods) = (workloads(bed, CPI), uids(bed, CSI), pods(bed, CPI));
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        installed(bed, NEW);
        in_place(bed, &since, CSI, &csi);
        let drivers = images(bed, CSI, "csi-vsphere/");
        assert!(drivers.iter().all(|image| image.contains(NEW.1)) && drivers.len() == 2, "{drivers:?}");
        nothing_of_another_revision_is_left(bed, "csi");
        let pruned = since.audit(bed).by_account("vmware-system-vdo", "csi-operator");
        let pruned = pruned.accepted_writes().filter(|r| r.verb == "delete");
        assert!(!pruned.is_empty(), "the old configuration is still there");
        let told = history.releases("csi");
        assert_eq!(told, [[OLD.1, "none"], [OLD.1, NEW.1], [NEW.1, "none"]], "{told:?}");
        assert_eq!((workloads(bed, CPI), pods(bed, CPI)), (cpi, cpi_pods));
        let touched = since.touched(bed, "cpi-operator");
        assert!(touched.is_empty(), "{touched:#?}");

        // The volume of the old driver is known to the new one.
        assert!(volumes(bed).contains(&volume));
        let socket = csi_socket(bed).unwrap();
        csic(bed, &socket, &["delete", "--id", &volume]).unwrap();
        assert!(!volumes(bed).contains(&volume));
    });
}
