//! Prints a table of runs: name, states, edges, depth, seconds, verdict.
//!
//! `order-model [--sweep] [--variants] [--spare] [--traces] [--markdown] [WORDS OF A NAME]`

use order_model::explore::{Found, Limit, explore};
use order_model::judge::names;
use order_model::model::Order;
use order_model::table::{RUNS, SPARE, SWEEP, VARIANTS};

/// A sweep holds this many states in a few gigabytes; more is a scenario that is too large.
const CAP: usize = 60_000_000;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|a| a == flag);
    let only = arguments.iter().find(|a| !a.starts_with('-')).map_or("", String::as_str);
    let mut fine = true;
    let mut show = |name: &str, found: &Found, expect: u16| {
        let held = if expect == 0 {
            found.violations == 0 && !found.stopped
        } else {
            found.violations & expect != 0
        };
        fine &= held;
        if has("--markdown") {
            println!("{}", found.row(name));
            return;
        }
        println!("{} {name:<64} {found}", if held { "ok  " } else { "FAIL" });
        if has("--traces") {
            for (violation, trace) in &found.traces {
                println!("  {:?}", names(*violation));
                trace.iter().for_each(|line| println!("    {line}"));
            }
        }
    };
    let sets =
        [(!has("--variants") && !has("--spare"), RUNS), (has("--sweep"), SWEEP), (has("--spare"), SPARE)];
    for run in sets.iter().filter(|(wanted, _)| *wanted).flat_map(|(_, runs)| *runs) {
        if run.name.contains(only) {
            show(run.name, &explore(Order(run.scenario), Limit { until: !0, states: CAP }), 0);
        }
    }
    for variant in VARIANTS.iter().filter(|v| has("--variants") && v.name.contains(only)) {
        let found = explore(Order(variant.scenario), Limit { until: variant.expect, states: CAP });
        show(variant.name, &found, variant.expect);
    }
    if fine { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}
