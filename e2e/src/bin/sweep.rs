//! One lane of the crash sweep; runs in a bed of its own. `cargo xtask sweep crash` starts the lanes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use e2e::sweep::case::{Case, Sample, Workload, operator_of};
use e2e::sweep::run::{Orders, run};

#[derive(Parser)]
struct Args {
    /// Where lanes meet.
    #[arg(long)]
    folder: PathBuf,
    /// Only these workloads.
    #[arg(long)]
    workload: Vec<Workload>,
    /// Only writes of these operators.
    #[arg(long)]
    operator: Vec<String>,
    /// Only these cases.
    #[arg(long)]
    case: Vec<Case>,
    /// `first-middle-last`, the same with `:SEED` for one place each, or SEED:N for so many of each workload and
    /// operator.
    #[arg(long)]
    sample: Option<Sample>,
    /// Which lane this is, from 0.
    #[arg(long, default_value_t = 0)]
    lane: usize,
    /// How many there are.
    #[arg(long, default_value_t = 1)]
    lanes: usize,
    /// One undisturbed run has to do.
    #[arg(long)]
    once: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let operators = args.operator.iter().map(|name| operator_of(name)).collect::<Result<_>>()?;
    run(&Orders {
        folder: args.folder,
        workloads: args.workload,
        operators,
        cases: args.case,
        sample: args.sample.unwrap_or_default(),
        lane: (args.lane, args.lanes),
        once: args.once,
    })
}
