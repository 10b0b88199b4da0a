//! `measure` runs in a bed and writes the figures of one number of nodes; `report` writes the page of all of them. `make bench` calls them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use e2e::bench::budgets::Budgets;
use e2e::bench::{self, FOLDER, Measured, churn, install, report};
use e2e::checkout;
use testbed::bed::Bed;

#[derive(Parser)]
#[command(about = "Measures what VDO costs")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measures an installation of both drivers in the bed around this process.
    Measure {
        /// Where the file of the figures goes.
        #[arg(long, value_name = "DIR")]
        folder: PathBuf,
        /// The commit that is measured.
        #[arg(long)]
        commit: String,
        /// For so many minutes after it, nodes come and go.
        #[arg(long, default_value_t = 0)]
        churn_minutes: u64,
        /// How many nodes go each minute.
        #[arg(long, default_value_t = 100)]
        churn_nodes: u32,
    },
    /// Writes `docs/performance.md` and its drawing from the files of the figures, and fails if any of these is over its budget.
    Report,
}

fn main() -> Result<()> {
    match Args::parse().what {
        What::Measure { folder, commit, churn_minutes, churn_nodes } => {
            let bed = Bed::from_env();
            let nodes = bed.vcenter(1).machines()?.len();
            let budgets = Budgets::read(&checkout(FOLDER))?;
            let mut measured = install::measure(&bed, nodes)?;
            if churn_minutes > 0 {
                let seen = churn::measure(&bed, churn_minutes, churn_nodes)?;
                measured.figures.extend(seen.figures);
                measured.details.insert("churnWrites".to_owned(), seen.writes);
                measured.churn = Some(bench::Churn { minutes: churn_minutes, nodes_per_minute: churn_nodes });
            }
            measured.figures.insert("vcenterLogouts".to_owned(), install::logouts(&bed)?);
            measured.commit = commit;
            measured.day = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
            measured.write(&folder.join(Measured::file(nodes)))?;
            print!("{}", report::table(&measured, &budgets)?);
            let over = budgets.over(&measured.figures, nodes)?;
            ensure!(over.is_empty(), "over budget at {nodes} nodes: {}", over.join("; "));
        }
        What::Report => {
            let docs = checkout("docs");
            report::write(&docs).context("failed to write the page")?;
            let over = report::over(&docs).context("failed to compare the figures with their budgets")?;
            ensure!(over.is_empty(), "over budget in {FOLDER}: {}", over.join("; "));
        }
    }
    Ok(())
}
