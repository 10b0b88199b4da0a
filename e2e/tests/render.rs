//! What `vdoctl render` prints is what an API server takes: every release with every input, and a second apply of the
//! same changes nothing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use e2e::checkout;
use e2e::stand::programs;
use serde_json::{Value, json};
use testbed::bed::{Bed, output_of};
use testbed::wait::eventually;

/// Every release of both drivers that is rendered.
const RELEASES: [(&str, &[&str]); 2] = [
    (
        "cpi",
        &[
            "1.28.1", "1.29.0", "1.30.0", "1.30.1", "1.30.2", "1.31.0", "1.31.1", "1.32.0", "1.32.1",
            "1.32.2", "1.32.3", "1.33.0", "1.33.1", "1.34.0", "1.35.0", "1.35.1", "1.36.0", "1.37.0",
        ],
    ),
    (
        "csi",
        &[
            "3.1.2", "3.2.0", "3.3.0", "3.3.1", "3.4.0", "3.5.0", "3.5.1", "3.6.0", "3.6.1", "3.6.2",
            "3.6.3", "3.7.0", "3.7.1", "3.7.2", "3.7.3", "3.8.0",
        ],
    ),
];

/// The inputs beside the program's own tests.
fn inputs() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(checkout("crates/vdoctl/tests/inputs")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "yaml"));
    files.sort();
    assert_eq!(files.len(), 4);
    files
}

fn rendered(driver: &str, release: &str, input: &PathBuf, more: &[&str]) -> String {
    let mut command = Command::new(programs().join("vdoctl"));
    command.args(["render", driver, "--release", release, "--input"]).arg(input).args(more);
    output_of(&mut command, "").unwrap_or_else(|error| panic!("{error:#}"))
}

/// The namespaces of the drivers, as the chart makes them.
fn namespaces(bed: &Bed) {
    for name in ["vmware-system-cpi", "vmware-system-csi"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &namespace.to_string()).unwrap();
    }
}

fn apply(bed: &Bed, objects: &str, more: &[&str]) -> Result<String, String> {
    let arguments = [&["apply", "--server-side", "--validate=strict", "-f", "-"], more].concat();
    bed.kubectl_with(&arguments, objects).map_err(|error| format!("{error:#}"))
}

#[test]
fn every_rendered_object_of_every_release_is_accepted() {
    let bed = Bed::from_env();
    namespaces(&bed);
    let mut refused = Vec::new();
    let mut accepted = 0;
    for (driver, releases) in RELEASES {
        for release in releases {
            // One kubectl for all that a release renders to: each has to learn the API anew.
            let mut objects = String::new();
            for input in inputs() {
                // With placeholders for passwords once, and with what would really be applied once.
                for more in [&["--snapshots"] as &[&str], &["--show-secrets"]] {
                    objects += &rendered(driver, release, &input, more);
                }
            }
            let count = objects.lines().filter(|line| *line == "---").count();
            match apply(&bed, &objects, &["--dry-run=server", "-o", "name"]) {
                Ok(said) if said.lines().count() == count => accepted += count,
                Ok(said) => refused.push(format!("{driver} {release}, {count} objects: {said}")),
                Err(why) => refused.push(format!("{driver} {release}: {why}")),
            }
        }
    }
    assert!(refused.is_empty(), "{} refused:\n{}", refused.len(), refused.join("\n"));
    println!("{accepted} objects accepted");
    assert!(accepted > 192 * 6, "{accepted}");
}

/// Each object of a text with its resourceVersion and generation.
fn versions(bed: &Bed, objects: &str) -> BTreeMap<String, (String, i64)> {
    let text = bed.kubectl_with(&["get", "-o", "json", "-f", "-"], objects).unwrap();
    let list: Value = serde_json::from_str(&text).unwrap();
    let items = list["items"].as_array().unwrap();
    let version = |item: &Value| {
        let meta = &item["metadata"];
        let name = format!("{} {}", item["kind"].as_str().unwrap(), meta["name"].as_str().unwrap());
        let version = meta["resourceVersion"].as_str().unwrap().to_owned();
        (name, (version, meta["generation"].as_i64().unwrap_or_default()))
    };
    items.iter().map(version).collect()
}

#[test]
fn applying_twice_changes_nothing() {
    let bed = Bed::from_env();
    namespaces(&bed);
    for (driver, releases) in RELEASES {
        // The oldest and the newest in turn, so that it is a change each time.
        for release in [releases[0], releases[releases.len() - 1]] {
            for input in inputs() {
                let objects = rendered(driver, release, &input, &["--show-secrets"]);
                apply(&bed, &objects, &["--force-conflicts"]).unwrap_or_else(|why| panic!("{why}"));
                let first = versions(&bed, &objects);
                assert!(first.len() > 5, "{first:?}");
                let again = rendered(driver, release, &input, &["--show-secrets"]);
                assert_eq!(objects, again, "{driver} {release}: rendered otherwise");
                apply(&bed, &again, &["--force-conflicts"]).unwrap_or_else(|why| panic!("{why}"));
                assert_eq!(versions(&bed, &objects), first, "{driver} {release} {}", input.display());
            }
        }
        // A test must not depend on what another one left.
        let last = rendered(driver, releases[0], &inputs()[0], &[]);
        bed.kubectl_with(&["delete", "--ignore-not-found", "--wait=false", "-f", "-"], &last).unwrap();
    }
}

#[test]
fn without_a_cluster_the_version_is_said_and_a_status_is_not() {
    let bed = Bed::from_env();
    let vdoctl =
        |arguments: &[&str]| Command::new(programs().join("vdoctl")).args(arguments).output().unwrap();
    let nowhere = bed.path("tmp/none.kubeconfig").display().to_string();
    let out = vdoctl(&["version", "--kubeconfig", &nowhere]);
    assert_eq!(out.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&out.stdout).contains("no cluster answered"));
    assert_eq!(vdoctl(&["status", "--kubeconfig", &nowhere]).status.code(), Some(2));
}

#[test]
fn a_cluster_without_vdo_is_answered_with_what_to_do() {
    let bed = Bed::from_env();
    let kubeconfig = bed.kubeconfig().display().to_string();
    let vdoctl = |arguments: &[&str]| {
        let out = Command::new(programs().join("vdoctl"))
            .args(arguments)
            .args(["--kubeconfig", &kubeconfig, "-n", "vdo-is-not-here"])
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    let (code, text) = vdoctl(&["status"]);
    assert!(
        code == Some(1) && text.starts_with("Not ready: ") && text.contains("\nNext: "),
        "{code:?} {text}"
    );
    let (code, text) = vdoctl(&["status", "-o", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert!(code == Some(1) && report["ready"] == false && report["next"].is_string(), "{report}");
    let (code, text) = vdoctl(&["version", "-o", "json"]);
    let versions: Value = serde_json::from_str(&text).unwrap();
    assert!(
        code == Some(0) && versions["cluster"]["kubernetes"].as_str().unwrap().starts_with('v'),
        "{versions}"
    );
    eventually(Duration::from_secs(10), "the audit log shows vdoctl by its user agent", || {
        let ours = bed.audit()?.by_agent("vdoctl/");
        anyhow::ensure!(!ours.is_empty(), "no request yet");
        anyhow::ensure!(ours.requests.iter().all(|request| !request.is_write()), "it wrote something");
        Ok(())
    });
}
