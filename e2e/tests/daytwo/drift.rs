//! What somebody changes on a driver is put back at once, with a word on what and who; a neighbour's fields are his.

use anyhow::ensure;
use serde_json::json;
use testbed::wait::eventually;

use crate::house::{CPI, CPI_SET, NEW, REPAIR, applied, chapter, installed, named, patch, put_back, told};

#[test]
fn what_somebody_changed_is_put_back_at_once_and_a_neighbours_fields_are_left() {
    chapter(NEW, |bed| {
        let before = applied(bed, "cpi");
        let set = format!("daemonset/{CPI_SET}");

        // A field, beside a field that is not ours.
        let image = |image: &str| {
            json!({
                "metadata": {"labels": {"neighbour.example/team": "blue"}},
                "spec": {"template": {"spec": {"containers": [{"name": CPI_SET, "image": image}]}}},
            })
        };
        patch(bed, CPI, &set, "somebody", &image("registry.example/mine:debug"));
        eventually(REPAIR, "the image is put back", || {
            let live = bed.get(&[&set, "-n", CPI])?;
            let image =
                live["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
            ensure!(image.ends_with(NEW.0), "{image}");
            ensure!(live["metadata"]["labels"]["neighbour.example/team"] == "blue", "{}", live["metadata"]);
            Ok(())
        });
        let path = format!("spec.template.spec.containers[{CPI_SET}].image");
        let own = format!("cloud-provider-vsphere:v{}", NEW.0);
        told(bed, "DriftRepaired", &[CPI_SET, &path, "registry.example/mine:debug", &own, "somebody"]);
        patch(bed, CPI, &set, "somebody", &json!({"metadata": {"labels": {"neighbour.example/team": null}}}));
        put_back(bed, "cpi", &before);

        // The label by which it is ours.
        bed.kubectl(&["label", &set, "-n", CPI, "vdo.vmware.com/driver-", "--field-manager=stripper"])
            .unwrap();
        put_back(bed, "cpi", &before);
        // A whole object.
        let map = named(bed, "cpi", "ConfigMap").remove(0);
        bed.kubectl(&["delete", "configmap", &map, "-n", CPI]).unwrap();
        put_back(bed, "cpi", &before);
        told(bed, "DriftRepaired", &["ConfigMap", &map, "was deleted"]);
        installed(bed, NEW);
    });
}
