//! Releases of the cloud provider that a bed does not have by itself, for the stories that name them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::shell;

const FOLDER: &str = "target/drivers";
const IMAGE: &str = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere";
const PACKAGE: &str = "k8s.io/cloud-provider-vsphere/cmd/vsphere-cloud-controller-manager";

/// A release of the cloud provider.
pub struct Driver {
    release: &'static str,
    /// The digest under which the operators pin its image.
    digest: &'static str,
}

/// The last one that reads its credentials from files.
pub const CPI_1_31: Driver = Driver {
    release: "1.31.1",
    digest: "sha256:cdea8814c43e0c829f59488e9342dd33be3cffb4260281f6b027ad8503443e13",
};
/// Of the first minor that reads its Secret, the newest that is there as a Go module.
pub const CPI_1_32: Driver = Driver {
    release: "1.32.2",
    digest: "sha256:35089eab60062631b49992b899438172391cdbe843d0bf6f9d0d5181414c5990",
};

impl Driver {
    fn module(&self, root: &Path) -> PathBuf {
        root.join("hack/testbed/tools").join(format!("cpi-{}", self.release))
    }

    fn binary(&self, root: &Path) -> PathBuf {
        root.join(FOLDER).join(format!("cpi-{}", self.release))
    }

    /// Builds it as the bed's own are built. Go builds nothing again that did not change.
    pub fn build(&self, root: &Path) -> Result<()> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        println!("building CPI {}: some minutes if Go has none of it yet", self.release);
        let binary = self.binary(root).display().to_string();
        let settings = ["CGO_ENABLED=0", "GOWORK=off"];
        let build = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", &binary, PACKAGE];
        shell::run(&self.module(root), "env", &[&settings[..], &build].concat())
    }
}

/// Writes the rows by which the bed of a story finds these drivers, and gives the file.
pub fn image_table(root: &Path, story: &str, drivers: &[Driver]) -> Result<String> {
    let row = |driver: &Driver| {
        let image = format!("{IMAGE}:v{}@{}", driver.release, driver.digest);
        let path = "/bin/vsphere-cloud-controller-manager";
        (image, json!({"binary": driver.binary(root), "path": path}))
    };
    let rows: Map<String, Value> = drivers.iter().map(row).collect();
    let file = root.join(FOLDER).join(format!("{story}.json"));
    fs::write(&file, json!({"images": rows}).to_string()).with_context(|| file.display().to_string())?;
    file.into_os_string().into_string().ok().context("a path that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_has_its_module_and_is_pinned_as_the_operators_pin_it() {
        let root = shell::root().unwrap();
        let releases = fs::read_to_string(root.join("crates/cpi-operator/src/releases.rs")).unwrap();
        for driver in [CPI_1_31, CPI_1_32] {
            let module = fs::read_to_string(driver.module(&root).join("go.mod")).unwrap();
            assert!(module.contains(&format!("k8s.io/cloud-provider-vsphere v{}\n", driver.release)));
            let pinned = format!("\"{}\", \"{}\"", driver.release, driver.digest);
            assert!(releases.replace("Some(", "").contains(&pinned), "{pinned}");
        }
    }
}
