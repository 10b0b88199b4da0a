//! The vdoctl program. Exit code 0: fine; 1: the answer is no; 2: wrong usage, or something could not be read.

use std::process::ExitCode;

use clap::Parser;
use vdoctl::args::Args;
use vdoctl::run::{Answer, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("vdoctl: {error:#}");
            ExitCode::from(2)
        }
    }
}
