//! An operator of another build, which renders the same driver in another way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use e2e::crd::apply;
use e2e::stand::{VERSION, image, image_row, programs};
use serde_json::json;
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, NEW, REPAIR, SOON, Since, applied, chapter, condition, installed, named, passes,
    pinned, pods, restart, until, workloads,
};

pub const OPERATOR: &str = "cpi-operator";
/// An argument of the driver as the program renders it, and as the other build does.
pub const ARGUMENT: (&str, &str) = ("--kube-api-burst=200", "--kube-api-burst=201");

/// The program with one constant of its rendering changed: what another build would be, without building it.
pub fn another_build(bed: &Bed) -> PathBuf {
    let mut program = fs::read(programs().join(OPERATOR)).unwrap();
    let (from, to) = (ARGUMENT.0.as_bytes(), ARGUMENT.1.as_bytes());
    let places: Vec<usize> =
        program.windows(from.len()).enumerate().filter(|(_, it)| *it == from).map(|(at, _)| at).collect();
    let [place] = places[..] else { panic!("{} is there {} times", ARGUMENT.0, places.len()) };
    program[place..place + to.len()].copy_from_slice(to);
    let path = bed.path("tmp").join("another-cpi-operator");
    fs::write(&path, program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The operator is replaced as an upgrade of the chart does it: other pods, one after the other.
fn replaced(bed: &Bed, program: &Path) {
    let row = image_row(OPERATOR, program).unwrap();
    bed.add_images(json!({image(OPERATOR, VERSION): row}).as_object().unwrap()).unwrap();
    restart(bed, OPERATOR);
}

pub fn arguments(bed: &Bed) -> String {
    let set = bed.get(&["daemonset", CPI_SET, "-n", CPI]).unwrap();
    set["spec"]["template"]["spec"]["containers"][0]["args"].to_string()
}

#[test]
fn another_build_puts_back_what_the_one_before_it_installed_byte_for_byte_until_the_gate_opens() {
    chapter(NEW, |bed| {
        let before = applied(bed, "cpi");
        let (set, cpi_pods) = (workloads(bed, CPI), pods(bed, CPI));
        let csi = (workloads(bed, CSI), pods(bed, CSI));
        // A release that the matrix does not have.
        apply(bed, &pinned(("1.34.0", NEW.1), &json!({}))).unwrap();
        let held = || {
            until(bed, "it is held", |config| {
                let said = condition(config, "CPIReady");
                ensure!(said["reason"] == "NoReleaseFits" && said["status"] == "True", "{said}");
                Ok(())
            })
        };
        held();

        let since = Since::now(bed);
        replaced(bed, &another_build(bed));
        eventually(SOON, "the other build is at work", || {
            let passes = passes(bed, OPERATOR)?;
            ensure!(passes > 0, "no pass yet");
            Ok(())
        });
        held();
        // It renders another way, and nobody was told to change anything.
        let touched = since.touched(bed, OPERATOR);
        assert!(touched.is_empty(), "{touched:#?}");
        assert_eq!((workloads(bed, CPI), pods(bed, CPI)), (set, cpi_pods));

        let maps: Vec<String> =
            named(bed, "cpi", "ConfigMap").iter().map(|name| format!("configmap/{name}")).collect();
        assert!(!maps.is_empty());
        let set = format!("daemonset/{CPI_SET}");
        let mut doomed = vec!["delete", "-n", CPI, "--wait=false", &set];
        doomed.extend(maps.iter().map(String::as_str));
        bed.kubectl(&doomed).unwrap();
        eventually(REPAIR, "everything is back, byte for byte", || {
            let now = applied(bed, "cpi");
            ensure!(now == before, "{:#?}", now.keys());
            Ok(())
        });
        assert!(arguments(bed).contains(ARGUMENT.0), "{}", arguments(bed));
        held();

        // With the gate open, its own rendering is rolled out: it is another build indeed.
        apply(bed, &pinned(NEW, &json!({}))).unwrap();
        until(bed, "its own rendering is installed", |config| {
            let record = &config["status"]["cpi"];
            ensure!(record["attempt"].is_null() && arguments(bed).contains(ARGUMENT.1), "{record}");
            Ok(())
        });
        installed(bed, NEW);
        replaced(bed, &programs().join(OPERATOR));
        until(bed, "the build before rolls out its own", |config| {
            let record = &config["status"]["cpi"];
            ensure!(record["attempt"].is_null() && applied(bed, "cpi") == before, "{record}");
            Ok(())
        });
        assert_eq!((workloads(bed, CSI), pods(bed, CSI)), csi);
    });
}
