//! The cpi-operator program.

use std::process::ExitCode;

use clap::Parser;
use cpi_operator::args::Args;
use cpi_operator::pass;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match pass::operate(args).await {
        Ok(ending) => ending.exit_code(),
        Err(error) => {
            eprintln!("cpi-operator cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
