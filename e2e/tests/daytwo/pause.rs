//! A pause stops every write but status until its time has come.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use e2e::crd::NAMESPACE;
use e2e::stand::CONFIG;
use testbed::bed::output_of;
use testbed::wait::{eventually, throughout};

use crate::house::{CPI, NEW, SOON, Since, applied, chapter, condition, installed, named, until};

fn clock(moment: &str) -> String {
    let mut date = Command::new("date");
    date.args(["-u", "-d", moment, "+%Y-%m-%dT%H:%M:%SZ"]);
    output_of(&mut date, "").unwrap().trim().to_owned()
}

#[test]
fn while_it_is_paused_nothing_is_put_back_and_afterwards_it_is_by_itself() {
    chapter(NEW, |bed| {
        let before = applied(bed, "cpi");
        let since = Since::now(bed);
        let end = clock("+12 seconds");
        let annotation = format!("vdo.vmware.com/paused-until={end}");
        bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "--overwrite", &annotation]).unwrap();
        for type_ in ["CPIReady", "CSIReady"] {
            until(bed, "the pause is told", |config| {
                let said = condition(config, type_);
                let text = said["message"].as_str().unwrap_or_default();
                ensure!(said["reason"] == "Paused" && text.contains(&end), "{said}");
                ensure!(said["status"] == "True", "{said}");
                Ok(())
            });
        }
        let map = named(bed, "cpi", "ConfigMap").pop().unwrap();
        bed.kubectl(&["delete", "configmap", &map, "-n", CPI]).unwrap();
        throughout(Duration::from_secs(6), "nothing is put back", || {
            assert!(clock("now") < end, "this machine is too slow for this pause");
            let touched = since.touched(bed, "cpi-operator");
            ensure!(touched.is_empty(), "{touched:#?}");
            Ok(())
        });
        // Nobody says anything more to the operator.
        eventually(SOON, "it is put back", || {
            ensure!(applied(bed, "cpi") == before, "not yet");
            Ok(())
        });
        let written = since.touched(bed, "cpi-operator").requests;
        let (first, end) = (written.first().unwrap().received, end.parse().unwrap());
        assert!(first >= end, "{first} is before {end}");
        let late = first.duration_since(end).as_secs();
        assert!(late < 5, "{late} seconds after the end of the pause");
        installed(bed, NEW);
        bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "vdo.vmware.com/paused-until-"]).unwrap();
    });
}
