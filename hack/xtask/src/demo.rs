//! `make demo`: builds what is missing, says how far it is, and runs the demo in a bed. And the stage of CI that
//! runs it and holds it to what we promise.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::compile::{self, Profile};
use crate::logged::{self, Logged};
use crate::{e2e, shell};

/// A demo that finds everything built takes less, by its own measure.
const WARM_SECONDS: u64 = 90;
/// What is printed before the bed starts; the seconds so far follow.
const BED_STARTS: &str = "3/3 starting the bed (";
/// What cargo prints for a test that passed: the check of the claims reads it.
const PROOF: &str = "test a_warm_demo_takes_less_than_90_seconds ... ok";

/// Runs the demo. With KEEP=1 in the environment the bed stays.
pub fn run(root: &Path) -> Result<()> {
    let start = Instant::now();
    println!("The demo installs both vSphere drivers on a real control plane against a vCenter simulator.");
    println!(
        "A first run builds Kubernetes, the drivers and more: half an hour on two free cores. Later runs take"
    );
    println!("about a minute. Nothing outside this checkout and the cache folder is changed.");
    println!("1/3 building the operators ...");
    compile::programs(root, Profile::Dev)?;
    println!("2/3 building the test bed's programs, if they are not in the cache ...");
    e2e::programs(root, Profile::Dev, e2e::Tools::Usual)?;
    println!("{BED_STARTS}{:.0} s so far) ...", start.elapsed().as_secs_f64());
    let testbed = compile::program(root, "testbed")?;
    let demo = compile::program(root, "demo")?;
    if std::env::var_os("KEEP").is_none_or(|keep| keep != "1") {
        shell::run(root, &testbed, &["run", "--nodes", "3", "--", &demo])?;
        println!("The demo took {:.0} s; everything it started is gone.", start.elapsed().as_secs_f64());
        println!("KEEP=1 make demo leaves it running.");
        return Ok(());
    }
    shell::run(root, &testbed, &["up", "--nodes", "3", "--dir", "target/demo"])?;
    shell::run(root, &testbed, &["exec", "--dir", "target/demo", "--", &demo])?;
    println!("The bed is still running. Look around, and end it, with:");
    println!("  cargo xtask testbed exec --dir target/demo -- kubectl get vdo,vcc -n vmware-system-vdo");
    println!("  cargo xtask testbed down --dir target/demo");
    Ok(())
}

/// The stage of CI: what `make demo` runs, and that it keeps its promises.
pub fn stage(root: &Path) -> Result<()> {
    println!(
        "What the demo needs and is not built yet is built first. Its {WARM_SECONDS} seconds are those of a"
    );
    println!("warm one: the time of a demo that has to build is not held against it.");
    compile::programs(root, Profile::Dev)?;
    e2e::programs(root, Profile::Dev, e2e::Tools::Usual)?;
    // KEEP=1 of whoever runs CI would leave a bed behind.
    Logged { tests: Some("demo"), ..Logged::new(root, "demo") }
        .run("env", &["-u", "KEEP", "cargo", "xtask", "demo"])?;
    let path = logged::file(root, "demo")?;
    let took = judge(&fs::read_to_string(&path).with_context(|| path.display().to_string())?)?;
    println!("CPI was Ready, then CSI, in {took} s.\n{PROOF}");
    let mut log = fs::OpenOptions::new().append(true).open(&path)?;
    writeln!(log, "{PROOF}").with_context(|| path.display().to_string())
}

/// The seconds that the demo took, if what it printed keeps the promises.
fn judge(said: &str) -> Result<u64> {
    let line_of = |condition: &str| {
        let says =
            |line: &str| line.split_once(']').is_some_and(|(_, said)| said.trim().starts_with(condition));
        said.lines().position(says).with_context(|| format!("the demo never said {condition}"))
    };
    if line_of("CSIReady=True")? < line_of("CPIReady=True")? {
        bail!("the demo said that CSI is Ready before it said so of CPI");
    }
    let seconds = |before: &str| {
        said.lines().find_map(|line| line.strip_prefix(before)?.split(' ').next()?.parse::<u64>().ok())
    };
    let took = seconds("The demo took ").context("the demo never said how long it took")?;
    if took >= WARM_SECONDS {
        // Another cargo in this checkout, or a file that changed meanwhile, shows here.
        let before = seconds(BED_STARTS).context("the demo never said when it started its bed")?;
        bail!(
            "the demo took {took} s, {before} of them before it started its bed although all was built; a warm one \
             takes less than {WARM_SECONDS}"
        );
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "3/3 starting the bed (4 s so far) ...\n\
         [  11 s]   CPIReady=False waits for nodes\n\
         [  20 s]   CPIReady=True 1.36.0 works\n\
         [  20 s] CPI works: it initialised the nodes. Now CSI may follow ...\n\
         [  35 s]   CSIReady=True 3.7.0 works\n\
         The demo took 57 s; everything it started is gone.\n";

    fn refusal(said: &str) -> String {
        judge(said).unwrap_err().to_string()
    }

    #[test]
    fn a_demo_in_the_right_order_and_in_time_is_taken_at_its_word() {
        assert_eq!(judge(SAID).unwrap(), 57);
        assert_eq!(judge(&SAID.replace("57 s", "89 s")).unwrap(), 89);
    }

    #[test]
    fn a_warm_demo_of_90_seconds_is_refused() {
        let why = refusal(&SAID.replace("57 s", "90 s"));
        assert!(why.contains("took 90 s, 4 of them before"), "{why}");
    }

    #[test]
    fn a_demo_without_either_driver_or_without_its_end_is_refused() {
        for condition in ["CPIReady=True", "CSIReady=True"] {
            let why = refusal(&SAID.replace(condition, "X"));
            assert_eq!(why, format!("the demo never said {condition}"));
        }
        assert_eq!(refusal(&SAID.replace("The demo took", "X")), "the demo never said how long it took");
    }

    #[test]
    fn csi_before_cpi_is_refused() {
        let said = SAID.replace("CPIReady=True", "X").replace("CSIReady=True", "CPIReady=True");
        let why = refusal(&said.replace("X", "CSIReady=True"));
        assert_eq!(why, "the demo said that CSI is Ready before it said so of CPI");
    }

    #[test]
    fn the_proof_names_the_bound_that_is_checked() {
        assert_eq!(PROOF, format!("test a_warm_demo_takes_less_than_{WARM_SECONDS}_seconds ... ok"));
    }
}
