//! The chart, or one part of it, is upgraded with everything in place.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use e2e::stand::{
    OPERATORS, VERSION, add_operator_images, built_chart, chart_of_version, image, operator_pods, programs,
    upgrade_chart,
};
use serde_json::Value;
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::VALUES;
use crate::c_rebuilt::{ARGUMENT, OPERATOR, another_build, arguments};
use crate::house::{
    CPI, CSI, NEW, SOON, Since, applied, chapter, identity, installed, makes_passes, no_pod_was_made_in_vain,
    no_workload_was_deleted, nothing_of_another_revision_is_left, pods, standing, until, workloads,
};

const BEFORE: &str = "0.0.9";
/// The same programs under another tag.
const ALONE: &str = "0.0.8";

/// The version before had no columns for a VDOConfig.
fn without_columns(charts: &Path) -> Result<()> {
    let file = charts.join("vdo-crds/templates/vdoconfigs.yaml");
    let mut crd: Value = serde_saphyr::from_str(&fs::read_to_string(&file)?).context("a CRD")?;
    let columns =
        crd["spec"]["versions"][0].as_object_mut().context("a version")?.remove("additionalPrinterColumns");
    ensure!(columns.is_some(), "there are no columns to take away");
    Ok(fs::write(&file, crd.to_string())?)
}

/// Upgrades to a version and waits until only its operators run.
fn upgraded(bed: &Bed, chart: &Path, version: &str) {
    upgrade_chart(bed, chart, VALUES);
    for operator in OPERATORS {
        only_this_runs(bed, operator, version);
    }
}

/// Waits until all pods of an operator are of this version and ready.
fn only_this_runs(bed: &Bed, operator: &str, version: &str) {
    eventually(SOON, "only the operators of that version run", || {
        let pods = operator_pods(bed, operator)?;
        let images = pods.iter().map(|pod| &pod["spec"]["containers"][0]["image"]);
        let images: Vec<&Value> = images.collect();
        ensure!(!images.is_empty() && images.iter().all(|it| **it == image(operator, version)), "{images:?}");
        Ok(())
    });
}

/// The pods of an operator: the UID of each and its containers.
fn processes(bed: &Bed, operator: &str) -> Vec<[Value; 2]> {
    let pods = operator_pods(bed, operator).unwrap().into_iter();
    let mut processes: Vec<[Value; 2]> = pods
        .map(|mut pod| {
            let container = pod["status"]["containerStatuses"][0]["containerID"].take();
            [pod["metadata"]["uid"].take(), container]
        })
        .collect();
    processes.sort_by_key(|[uid, _]| uid.to_string());
    processes
}

#[test]
fn an_upgrade_of_one_operator_leaves_the_others_and_both_drivers_as_they_are() {
    chapter(NEW, |bed| {
        add_operator_images(bed, ALONE, &|name| programs().join(name)).unwrap();
        let (chart, drivers, since) = (built_chart(bed).unwrap(), standing(bed), Since::now(bed));
        let mut values: Vec<String> = VALUES.iter().map(|it| (*it).to_owned()).collect();
        for operator in OPERATORS {
            let others = OPERATORS.into_iter().filter(|other| *other != operator);
            let others = || others.clone().map(|other| processes(bed, other)).collect::<Vec<_>>();
            let (stay, own) = (others(), processes(bed, operator));
            values.push(format!("{operator}.image.tag={ALONE}"));
            upgrade_chart(bed, &chart, &values.iter().map(String::as_str).collect::<Vec<_>>());
            only_this_runs(bed, operator, ALONE);
            makes_passes(bed, operator);
            assert!(processes(bed, operator).iter().all(|it| !own.contains(it)), "{operator}: {own:?}");
            assert_eq!(others(), stay, "beside {operator}");
        }
        installed(bed, NEW);
        assert_eq!(standing(bed), drivers);
        for operator in OPERATORS {
            let touched = since.touched(bed, operator);
            assert!(touched.is_empty(), "{operator}: {touched:#?}");
        }
        upgraded(bed, &chart, VERSION);
    });
}

fn columns(bed: &Bed) -> String {
    let table = bed.kubectl(&["get", "vdo", "-n", e2e::crd::NAMESPACE]).unwrap();
    table.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn an_upgrade_of_the_chart_restarts_the_pods_of_a_driver_only_if_their_template_changed() {
    chapter(NEW, |bed| {
        let now = applied(bed, "cpi");
        let another = another_build(bed);
        let program = |name: &str| -> PathBuf {
            if name == OPERATOR { another.clone() } else { programs().join(name) }
        };
        add_operator_images(bed, BEFORE, &program).unwrap();
        let before = chart_of_version(bed, BEFORE, without_columns).unwrap();
        upgraded(bed, &before, BEFORE);
        until(bed, "CPI is as the version before has it", |config| {
            let record = &config["status"]["cpi"];
            ensure!(record["attempt"].is_null() && arguments(bed).contains(ARGUMENT.1), "{record}");
            Ok(())
        });
        installed(bed, NEW);
        assert!(!columns(bed).contains("CPI"), "{}", columns(bed));

        let (uid, generation) = identity(bed);
        let (cpi, csi) = (pods(bed, CPI), (workloads(bed, CSI), pods(bed, CSI), applied(bed, "csi")));
        let since = Since::now(bed);
        upgraded(bed, &built_chart(bed).unwrap(), VERSION);
        until(bed, "CPI is as this version has it", |config| {
            let record = &config["status"]["cpi"];
            ensure!(record["attempt"].is_null() && applied(bed, "cpi") == now, "{record}");
            Ok(())
        });
        installed(bed, NEW);
        // One of them changed: each of its pods was replaced, once.
        assert!(pods(bed, CPI).keys().all(|uid| !cpi.contains_key(uid)), "{cpi:?}");
        no_pod_was_made_in_vain(bed, &since, CPI, &cpi);
        no_workload_was_deleted(bed, &since);
        nothing_of_another_revision_is_left(bed, "cpi");
        // The other did not: the very same objects, pods and processes.
        assert_eq!((workloads(bed, CSI), pods(bed, CSI), applied(bed, "csi")), csi);
        let touched = since.touched(bed, "csi-operator");
        assert!(touched.is_empty(), "{touched:#?}");
        // What the user wrote is as he left it, and his kinds are those of this version.
        assert_eq!(identity(bed), (uid, generation));
        assert!(columns(bed).contains("CPI"), "{}", columns(bed));
    });
}
