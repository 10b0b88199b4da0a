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

/// CSI releases that a bed can run, each with the sidecars it is deployed with. None of these can be built from Go
/// modules, so they are stand-ins.
const CSI_RELEASES: &[(&str, &[(&str, &str)])] = &[
    (
        "3.7.0",
        &[
            ("csi-attacher", "v4.9.0"),
            ("csi-resizer", "v1.12.0"),
            ("csi-provisioner", "v4.0.1"),
            ("csi-snapshotter", "v8.2.0"),
            ("livenessprobe", "v2.15.0"),
            ("csi-node-driver-registrar", "v2.13.0"),
        ],
    ),
    (
        "3.3.1",
        &[
            ("csi-attacher", "v4.5.1"),
            ("csi-resizer", "v1.10.1"),
            ("csi-provisioner", "v4.0.1"),
            ("csi-snapshotter", "v7.0.2"),
            ("livenessprobe", "v2.12.0"),
            ("csi-node-driver-registrar", "v2.10.1"),
        ],
    ),
];

/// The rows for the drivers.
pub fn drivers(bin: &Path) -> Map<String, Value> {
    let mut rows = Map::new();
    for release in CPI_RELEASES {
        let row = json!({"binary": bin.join(format!("cpi-{release}")), "path": "/bin/vsphere-cloud-controller-manager"});
        rows.insert(format!("{CPI}:v{release}"), row);
    }
    for (release, sidecars) in CSI_RELEASES {
        let folder = bin.join(format!("csi-{release}"));
        // Built with cgo, so the root needs this machine's C library.
        // In node mode the driver reads VMware's DMI tables, which no bed has.
        let driver = json!({
            "binary": folder.join("vsphere-csi"), "path": "/bin/vsphere-csi", "needs_libs": true,
            "stand_in_if": "X_CSI_MODE=node"});
        let syncer =
            json!({"binary": folder.join("syncer"), "path": "/bin/vsphere-syncer", "needs_libs": true});
        rows.insert(format!("{CSI}/driver:v{release}"), driver);
        rows.insert(format!("{CSI}/syncer:v{release}"), syncer);
        for (name, tag) in *sidecars {
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
