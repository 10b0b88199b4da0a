//! `make demo`: builds what is missing, says how far it is, and runs the demo in a bed.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{e2e, shell};

/// Runs the demo. With KEEP=1 in the environment the bed stays.
pub fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    println!("The demo installs both vSphere drivers on a real control plane against a vCenter simulator.");
    println!(
        "A first run builds Kubernetes, the drivers and more: about 25 minutes on two cores. Later runs take"
    );
    println!("about a minute. Nothing outside this checkout and the cache folder is changed.");
    println!("1/3 building the operators ...");
    e2e::operators(root)?;
    shell::run(root, "cargo", &["build", "--quiet", "--package", "e2e", "--bin", "demo"])?;
    let testbed = e2e::testbed(root)?;
    println!("2/3 building the test bed's programs, if they are not in the cache ...");
    shell::run(root, &testbed, &["build"])?;
    println!("3/3 starting the bed ({:.0} s so far) ...", start.elapsed().as_secs_f64());
    let demo = root.join("target/debug/demo");
    let demo = demo.to_str().context("a path that is not UTF-8")?;
    if std::env::var_os("KEEP").is_none_or(|keep| keep != "1") {
        shell::run(root, &testbed, &["run", "--nodes", "3", "--", demo])?;
        println!("The demo took {:.0} s; everything it started is gone.", start.elapsed().as_secs_f64());
        println!("KEEP=1 make demo leaves it running.");
        return Ok(());
    }
    shell::run(root, &testbed, &["up", "--nodes", "3", "--dir", "target/demo"])?;
    shell::run(root, &testbed, &["exec", "--dir", "target/demo", "--", demo])?;
    println!("The bed is still running. Look around, and end it, with:");
    println!("  cargo xtask testbed exec --dir target/demo -- kubectl get vdo,vcc -n vmware-system-vdo");
    println!("  cargo xtask testbed down --dir target/demo");
    Ok(())
}
