//! The commands with which a site without access to public registries copies images do it, as docs/images.md and
//! docs/install.md write them.
#![allow(clippy::unwrap_used)]

mod typed;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use typed::{Folder, block, page};

const CA: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: vcenter-ca, namespace: vmware-system-vdo}
data:
  ca.crt: |
    -----BEGIN CERTIFICATE-----
    ZG9jdW1lbnRhdGlvbg==
    -----END CERTIFICATE-----
";
/// As skopeo it refuses a tag and a digest together; it writes down what it was asked, and fails where it is told to.
const SKOPEO: &str = r#"#!/bin/sh
case "$4" in *:*@*) echo "Docker references with both a tag and digest are currently not supported" >&2; exit 1 ;; esac
echo "$@" >> asked
if [ -e broken ]; then exit 1; fi
"#;
const TO: &str = "docker://mirror.example.com:5000/vsphere/";

/// A folder with the README's objects in `vsphere.yaml`, whose vCenter has an authority of its own.
fn folder(name: &str) -> Folder {
    let folder = Folder::new(name);
    let readme = page("README.md");
    let objects =
        ["secret", "vcenter", "vdoconfig"].map(|name| block(&readme, &format!("demo: {name}"), "yaml"));
    let objects = objects
        .join("---\n")
        .replace("# caRef:", "caRef:")
        .replace("#   name: vcenter-ca", "  name: vcenter-ca");
    assert!(objects.contains("\n  caRef:\n    name: vcenter-ca\n"), "{objects}");
    fs::write(folder.0.join("vsphere.yaml"), format!("{objects}---\n{CA}")).unwrap();
    folder
}

/// The images that `images.txt` holds after the commands of the page.
fn listed(folder: &Folder, commands: &str) -> Vec<String> {
    for line in commands.lines() {
        let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("{line:?} is no command"));
        let (ok, said) = folder.run(command);
        assert!(ok, "{command}\n{said}");
    }
    let text = fs::read_to_string(folder.0.join("images.txt")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The images of one release of each driver, from their facts.
fn wanted(cpi: &str, csi: &str) -> BTreeSet<String> {
    let cpi = cpi_operator::releases::of(cpi.parse().unwrap()).unwrap().image(None);
    let facts = csi_operator::releases::facts(&csi.parse().unwrap()).unwrap();
    let it = &facts.sidecars;
    let sidecars = [it.attacher, it.provisioner, it.resizer, it.snapshotter, it.liveness, it.registrar];
    let of_csi = [facts.driver, facts.syncer].into_iter().chain(sidecars);
    let of_csi = of_csi.map(|image| format!("{}/{}:{}", image.registry, image.path, image.tag));
    of_csi.chain([cpi.split('@').next().unwrap().to_owned()]).collect()
}

#[test]
fn every_image_of_every_release_is_listed_once_without_its_digest() {
    let images = page("docs/images.md");
    let commands = block(&images, "offline: images", "console");
    let folder = folder("images-page");
    for row in &vdo_compat::builtin::matrix().rows {
        let (mut cpi, mut csi) = ("1.32.2".to_owned(), "3.7.0".to_owned());
        match row.driver {
            vdo_compat::Driver::Cpi => cpi = row.release.to_string(),
            vdo_compat::Driver::Csi => csi = row.release.to_string(),
        }
        let typed = commands.replace("--release 1.32.2", &format!("--release {cpi}"));
        let typed = typed.replace("--release 3.7.0", &format!("--release {csi}"));
        let listed = listed(&folder, &typed);
        assert!(listed.iter().all(|image| image.contains(':') && !image.contains('@')), "{listed:?}");
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), wanted(&cpi, &csi), "{cpi} {csi}");
        assert_eq!(listed.len(), 9, "{listed:?}");
    }
}

#[test]
fn each_listed_image_is_copied_under_its_own_path_and_a_failure_ends_the_loop() {
    let (images, install) = (page("docs/images.md"), page("docs/install.md"));
    let folder = folder("images-copied");
    let skopeo = folder.0.join("skopeo");
    fs::write(&skopeo, SKOPEO).unwrap();
    fs::set_permissions(&skopeo, fs::Permissions::from_mode(0o755)).unwrap();
    let listed = listed(&folder, &block(&images, "offline: images", "console"));
    let copy = block(&install, "offline: copy", "sh");

    let (ok, said) = folder.run(&copy);
    assert!(ok, "{said}");
    let asked = |folder: &Path| fs::read_to_string(folder.join("asked")).unwrap();
    let copied: Vec<String> = asked(&folder.0).lines().map(str::to_owned).collect();
    let wanted = listed.iter().map(|image| {
        let path = image.strip_prefix("registry.k8s.io/").unwrap();
        format!("copy --all --preserve-digests docker://{image} {TO}{path}")
    });
    assert_eq!(copied, wanted.collect::<Vec<_>>());

    fs::write(folder.0.join("broken"), "").unwrap();
    let (ok, _) = folder.run(&copy);
    assert!(!ok && asked(&folder.0).lines().count() == copied.len() + 1);
}

/// Every block that is marked is run by a test of this crate.
#[test]
fn every_offline_block_of_the_pages_is_one_that_is_run() {
    let mut found = BTreeSet::new();
    for (name, text) in typed::pages() {
        let names =
            text.lines().filter_map(|line| line.trim().strip_prefix("<!-- offline: ")?.strip_suffix(" -->"));
        found.extend(names.map(|it| format!("{name}: {it}")));
    }
    let run = [
        "docs/compatibility-matrix.md: check",
        "docs/compatibility-matrix.md: pin",
        "docs/compatibility-matrix.md: sign",
        "docs/images.md: images",
        "docs/install.md: copy",
        "docs/vdoctl.md: explain-matrix",
    ];
    assert_eq!(found, run.map(str::to_owned).into());
}

#[test]
fn the_question_which_release_fits_is_answered_without_a_cluster() {
    let folder = Folder::new("explain-page");
    let vdoctl = page("docs/vdoctl.md");
    let command = block(&vdoctl, "offline: explain-matrix", "console");
    let (ok, said) = folder.run(command.trim_end().strip_prefix("$ ").unwrap());
    assert!(ok && said.contains("CPI: ") && said.contains("CSI: "), "{said}");
}
