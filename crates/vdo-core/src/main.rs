//! The vdo-core program.

use std::process::ExitCode;

use clap::Parser;
use vdo_core::args::Args;
use vdo_core::pass;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match pass::operate(args).await {
        Ok(ending) => ending.exit_code(),
        Err(error) => {
            eprintln!("vdo-core cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
