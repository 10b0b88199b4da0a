//! What no row of the matrix is made for, and a matrix that does not stand still: neither moves or takes away a driver.

use anyhow::ensure;
use e2e::crd::{NAMESPACE, apply};
use e2e::stand::{CONFIG, OPERATORS, SECRET, matrix_of};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{
    CPI, CPI_SET, CSI, NEW, NO_SUCH_IMAGE, SOON, Since, applied, chapter, condition, config, installed,
    matrix, named, passes, patch, pinned, put_back, standing, until,
};

/// A vSphere that no row of the bed's matrix reaches.
const BEYOND: &str = "10.0.0";

/// Writes what is nobody's on an object, so that the operators look at it again. Another version of a Secret is tried out.
fn knock(bed: &Bed, kind: &str, name: &str, number: usize) {
    let knock = format!("neighbour.example/knock={number}");
    bed.kubectl(&["annotate", kind, name, "-n", NAMESPACE, "--overwrite", &knock]).unwrap();
}

/// Nobody wrote anything of the drivers since, and all of it is as it was.
fn left_alone(bed: &Bed, since: &Since, before: &Value) {
    for operator in OPERATORS {
        let touched = since.touched(bed, operator);
        assert!(touched.is_empty(), "{operator}: {touched:#?}");
    }
    assert_eq!(&standing(bed), before);
}

#[test]
fn a_vcenter_that_is_newer_than_every_row_moves_nothing_and_drift_is_repaired_as_before() {
    chapter(NEW, |bed| {
        let vcenter = bed.vcenter(1);
        let version = vcenter.admin_get("/version").unwrap();
        let (before, since) = (standing(bed), Since::now(bed));
        vcenter.admin_put("/version", &json!({"version": BEYOND})).unwrap();
        knock(bed, "secret", SECRET, 1);
        let seen = until(bed, "no row reaches this vCenter", |config| {
            let said = condition(config, "CompatibilityResolved");
            ensure!(said["status"] == "False" && said["reason"] == "NoReleaseFits", "{said}");
            Ok(())
        });
        let said = condition(&seen, "CompatibilityResolved")["message"].as_str().unwrap();
        assert!(said.contains(BEYOND) && said.contains("9.0"), "{said}");
        for (driver, release) in [("cpi", NEW.0), ("csi", NEW.1)] {
            assert_eq!(seen["status"][driver]["installed"]["release"], release, "{:#}", seen["status"]);
        }

        // They are awake, and let it be.
        let begun = OPERATORS.map(|operator| passes(bed, operator).unwrap());
        let mut knocks = 0;
        eventually(SOON, "every operator makes ten passes", || {
            knocks += 1;
            knock(bed, "vdo", CONFIG, knocks);
            for (operator, begun) in OPERATORS.into_iter().zip(begun) {
                let now = passes(bed, operator)?;
                ensure!(now >= begun + 10, "{operator}: {now} passes after {begun}");
            }
            Ok(())
        });
        left_alone(bed, &since, &before);

        // Drift.
        let (cpi, csi) = (applied(bed, "cpi"), applied(bed, "csi"));
        let drift = Since::now(bed);
        let stranger = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
        patch(bed, CPI, &format!("daemonset/{CPI_SET}"), "somebody", &stranger);
        let service = named(bed, "csi", "Service").remove(0);
        bed.kubectl(&["delete", "service", "-n", CSI, &service]).unwrap();
        put_back(bed, "cpi", &cpi);
        put_back(bed, "csi", &csi);
        for operator in ["cpi-operator", "csi-operator"] {
            assert!(!drift.touched(bed, operator).is_empty(), "{operator} put nothing back");
        }
        assert_eq!(standing(bed), before);

        vcenter.admin_put("/version", &version).unwrap();
        knock(bed, "secret", SECRET, 2);
        until(bed, "the rows reach it again", |config| {
            let said = condition(config, "CompatibilityResolved");
            ensure!(said["status"] == "True", "{said}");
            Ok(())
        });
        installed(bed, NEW);
        assert_eq!(standing(bed), before);
    });
}

#[test]
fn a_matrix_that_changes_again_and_again_moves_nothing() {
    chapter(NEW, |bed| {
        // Without a pin it is the matrix that says what runs, and it is asked to.
        let mut wanted = pinned(NEW, &json!({}));
        for part in ["cloudProvider", "storageProvider"] {
            wanted["spec"][part].as_object_mut().unwrap().remove("version");
        }
        apply(bed, &wanted).unwrap();
        installed(bed, NEW);
        let (before, since) = (standing(bed), Since::now(bed));
        let digest = || Ok::<_, anyhow::Error>(config(bed)?["status"]["gates"]["matrix"]["digest"].clone());
        // One with a newer CPI, one with only older drivers, and the one that fits.
        let matrices = [
            matrix_of(&[NEW.0, NO_SUCH_IMAGE], &[NEW.1]),
            matrix_of(&["1.33.0"], &["3.3.1"]),
            matrix_of(&[NEW.0], &[NEW.1]),
        ];
        for mut map in matrices.into_iter().cycle().take(9) {
            map["data"]["auto-upgrade"] = "latest".into();
            let last = digest().unwrap();
            apply(bed, &map).unwrap();
            eventually(SOON, "the matrix counts", || {
                let now = digest()?;
                ensure!(now != last, "{now}");
                Ok(())
            });
        }
        left_alone(bed, &since, &before);
        apply(bed, &matrix()).unwrap();
        installed(bed, NEW);
        assert_eq!(standing(bed), before);
    });
}
