//! The csi-operator program.

use std::process::ExitCode;

use clap::Parser;
use csi_operator::args::Args;
use csi_operator::pass;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match pass::operate(args).await {
        Ok(ending) => ending.exit_code(),
        Err(error) => {
            eprintln!("csi-operator cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
