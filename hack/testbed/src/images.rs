//! The bed's image table: which built program is behind an image name. The pod runner reads it for each container,
//! so rows can be added while a bed runs; `podrunner/images.rs` says what a row may hold.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

const CPI: &str = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere";
const CSI: &str = "registry.k8s.io/csi-vsphere";
const SIDECARS: &str = "registry.k8s.io/sig-storage";

/// CPI releases that a bed can run.
const CPI_RELEASES: &[&str] = &["1.36.0", "1.33.0"];

/// A CSI release that a bed can run.
struct CsiRelease {
    name: &'static str,
    /// Digests under which the real images are pinned: a reference with one is another name for the same program.
    driver: &'static str,
    syncer: &'static str,
    /// What it is deployed with. None of these can be built from Go modules, so they are stand-ins.
    sidecars: &'static [(&'static str, &'static str)],
}

const CSI_RELEASES: &[CsiRelease] = &[
    CsiRelease {
        name: "3.7.0",
        driver: "sha256:48954ea5d749f1c9a0d2e7422b76216555716140e9e09f4b14faf34e1d6c1b14",
        syncer: "sha256:52ca8e058201eb7d0fa42a538e3ba4143acc2639914ed71a0e0ea4ac048933bb",
        sidecars: &[
            ("csi-attacher", "v4.9.0"),
            ("csi-resizer", "v1.12.0"),
            ("csi-provisioner", "v4.0.1"),
            ("csi-snapshotter", "v8.2.0"),
            ("livenessprobe", "v2.15.0"),
            ("csi-node-driver-registrar", "v2.13.0"),
        ],
    },
    CsiRelease {
        name: "3.3.1",
        driver: "sha256:adb820cc2e0abe5f89aaa648c9e9bc8f4adab282fe706fa371f10e3476a65bfd",
        syncer: "sha256:0fccc2de2a32882140bf0c683afc5dc1eb087b8a2a731957b012d7c1d4970ad4",
        sidecars: &[
            ("csi-attacher", "v4.5.1"),
            ("csi-resizer", "v1.10.1"),
            ("csi-provisioner", "v4.0.1"),
            ("csi-snapshotter", "v7.0.2"),
            ("livenessprobe", "v2.12.0"),
            ("csi-node-driver-registrar", "v2.10.1"),
        ],
    },
];

/// The rows for the drivers.
pub fn drivers(bin: &Path) -> Map<String, Value> {
    let mut rows = Map::new();
    for release in CPI_RELEASES {
        let row = json!({"binary": bin.join(format!("cpi-{release}")), "path": "/bin/vsphere-cloud-controller-manager"});
        rows.insert(format!("{CPI}:v{release}"), row);
    }
    for release in CSI_RELEASES {
        let folder = bin.join(format!("csi-{}", release.name));
        // Built with cgo, so the root needs this machine's C library.
        // In node mode the driver reads VMware's DMI tables, which no bed has.
        let driver = json!({
            "binary": folder.join("vsphere-csi"), "path": "/bin/vsphere-csi", "needs_libs": true,
            "stand_in_if": "X_CSI_MODE=node"});
        let syncer =
            json!({"binary": folder.join("syncer"), "path": "/bin/vsphere-syncer", "needs_libs": true});
        for (name, digest, row) in [("driver", release.driver, driver), ("syncer", release.syncer, syncer)] {
            let tagged = format!("{CSI}/{name}:v{}", release.name);
            rows.insert(format!("{tagged}@{digest}"), row.clone());
            rows.insert(tagged, row);
        }
        for (name, tag) in release.sidecars {
            rows.insert(format!("{SIDECARS}/{name}:{tag}"), json!({"stand_in": true}));
        }
    }
    rows
}

/// Adds rows to a table, or makes it; a row of the same name is replaced.
pub fn add(table: &Path, rows: &Map<String, Value>) -> Result<()> {
    let mut all = match fs::read(table) {
        Ok(bytes) => rows_of(&bytes).with_context(|| format!("the image table {}", table.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", table.display())),
    };
    all.extend(rows.clone());
    // Replaced in one step: the pod runner may read at any moment.
    let new = table.with_extension("new");
    fs::write(&new, json!({"images": all}).to_string())?;
    fs::rename(&new, table).with_context(|| format!("failed to write {}", table.display()))
}

/// The rows of a table's text.
pub fn rows_of(text: &[u8]) -> Result<Map<String, Value>> {
    match serde_json::from_slice::<Value>(text).context("it is not JSON")? {
        Value::Object(mut table) => match table.remove("images") {
            Some(Value::Object(rows)) => Ok(rows),
            _ => bail!("it has no object `images`"),
        },
        _ => bail!("it is not an object"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::TOOLS;

    #[test]
    fn every_driver_image_is_a_program_that_is_built() {
        let built: Vec<String> = TOOLS
            .iter()
            .flat_map(|tool| tool.programs)
            .map(|program| format!("/bed/bin/{program}"))
            .collect();

        for (image, row) in drivers(Path::new("/bed/bin")) {
            match row["binary"].as_str() {
                Some(binary) => assert!(built.contains(&binary.to_owned()), "{image} is {binary}"),
                None => assert_eq!(row["stand_in"], true, "{image}"),
            }
        }
    }
}
