//! The vdoctl program. Exit code 0: fine; 1: the answer is no; 2: wrong usage, or something could not be read.

use std::process::ExitCode;

use vdoctl::args::Args;
use vdoctl::called::Called;
use vdoctl::completion;
use vdoctl::run::{Answer, print, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let called = Called::by(words.first().map(|name| name.as_os_str()));
    if called == Called::Completion {
        let offered = completion::offered(words.get(1..).unwrap_or_default());
        return said(called, print(&offered).map(|()| Answer::Yes));
    }
    match Args::read(called, words) {
        Ok(args) => said(called, run(called, args).await),
        Err(error) => {
            // What was asked for, as --help, goes to standard output with code 0, everything else is wrong usage.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { 2 } else { 0 })
        }
    }
}

fn said(called: Called, answer: anyhow::Result<Answer>) -> ExitCode {
    match answer {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{}: {error:#}", called.name());
            ExitCode::from(2)
        }
    }
}
