//! What `make demo` shows, inside its bed: the chart, four objects from the README, and what comes of them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::checkout;
use e2e::crd::NAMESPACE;
use e2e::readme::filled;
use e2e::stand::{Said, condition, install_chart, programs, round_trip};
use testbed::bed::Bed;
use testbed::wait::eventually;

const PATIENCE: Duration = Duration::from_secs(150);

fn main() -> Result<()> {
    let bed = Bed::from_env();
    let start = Instant::now();
    let step = |text: &str| println!("[{:>4.0} s] {text}", start.elapsed().as_secs_f64());
    let vcenter = bed.vcenter(1).clone();

    step(
        "A control plane, 3 nodes and a vCenter simulator are running. All nodes wait for a cloud provider:",
    );
    show(&bed, &["get", "nodes", "-o", "custom-columns=NODE:.metadata.name,TAINTS:.spec.taints[*].key"])?;

    step("Installing the chart charts/vdo (two replicas of each operator) ...");
    install_chart(&bed, &[]);
    show(&bed, &["get", "deployments", "-n", NAMESPACE])?;

    step("Applying the four objects of the README: matrix, credentials, vCenter, VDOConfig ...");
    let readme = fs::read_to_string(checkout("README.md")).context("README.md")?;
    let authority = fs::read_to_string(&vcenter.ca)?;
    bed.kubectl_with(
        &["create", "configmap", "vcenter-ca", "-n", NAMESPACE, "--from-file=ca.crt=/dev/stdin"],
        &authority,
    )?;
    for name in ["matrix", "secret", "vcenter", "vdoconfig"] {
        let text = filled(&readme, name, &vcenter)?;
        bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &text).with_context(|| name.to_owned())?;
    }
    let config = bed.get(&["vdo", "-n", NAMESPACE])?;
    let config = config["items"][0]["metadata"]["name"].as_str().context("a VDOConfig")?.to_owned();

    step("vdo-core logs in to the vCenter, chooses releases and opens the gates; CPI comes first ...");
    follow(&bed, &config, "CPIReady", start);
    step("CPI works: it initialised the nodes. Now CSI may follow ...");
    follow(&bed, &config, "CSIReady", start);
    follow(&bed, &config, "Ready", start);
    show(&bed, &["get", "vdo,vcc", "-n", NAMESPACE])?;
    show(&bed, &["get", "pods", "-A"])?;

    step("Making a real 1 GiB volume through the CSI controller, and deleting it ...");
    print!("{}", round_trip(&bed, "pvc-demo", PATIENCE));

    step("vdoctl status:");
    let mut vdoctl = Command::new(programs().join("vdoctl"));
    vdoctl.args(["status", "--namespace", NAMESPACE]).env("KUBECONFIG", bed.kubeconfig());
    // Its exit code says whether all works, and what it prints says what does not.
    let status = vdoctl.status().context("vdoctl cannot be started")?;
    ensure!(status.success(), "vdoctl status: {status}");
    step("Done.");
    Ok(())
}

/// Prints each new thing that a condition says until it is True.
fn follow(bed: &Bed, config: &str, type_: &str, start: Instant) {
    let mut last: Option<Said> = None;
    eventually(PATIENCE, type_, || {
        let said = condition(bed, "vdo", config, type_)?;
        if last.as_ref().is_none_or(|old| old.message != said.message || old.status != said.status) {
            println!("[{:>4.0} s]   {type_}={} {}", start.elapsed().as_secs_f64(), said.status, said.message);
        }
        let done = said.status == "True";
        last = Some(said);
        if done { Ok(()) } else { Err(anyhow::anyhow!("{last:?}")) }
    });
}

fn show(bed: &Bed, args: &[&str]) -> Result<()> {
    for line in bed.kubectl(args)?.lines() {
        println!("         {line}");
    }
    Ok(())
}
