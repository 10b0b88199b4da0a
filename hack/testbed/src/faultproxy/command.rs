//! `testbed faultproxy`: the proxy as a program of its own, for looking around by hand and for replaying a case.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::{FaultProxy, Rule, Settings, parse};

/// Its options.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where clients connect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The API server.
    #[arg(long, value_name = "HOST:PORT")]
    upstream: String,
    /// The authority that signed the API server's certificate.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// What clients are shown.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Its private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The rules, as JSON. They are read again at SIGHUP, which also lets everything go on that is held.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Where the lines go.
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
}

/// Runs until SIGINT or SIGTERM. Fails when a rule never acted.
pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // First, so that no signal is lost once we say that we are there.
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let proxy = FaultProxy::start(Settings {
            listen: arguments.listen,
            upstream: arguments.upstream,
            authority: arguments.ca,
            certificate: arguments.certificate,
            key: arguments.key,
            rules: read(&arguments.rules)?,
            log: Some(arguments.log),
            kill: None,
        })?;
        println!("{}", proxy.address());
        loop {
            tokio::select! {
                _ = hang_up.recv() => match read(&arguments.rules).and_then(|rules| proxy.set_rules(rules)) {
                    Ok(()) => eprintln!("testbed: the rules were read again"),
                    Err(fault) => eprintln!("testbed: the old rules stay: {fault:#}"),
                },
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        let mut code = ExitCode::SUCCESS;
        for fate in proxy.rules().iter().filter(|fate| fate.fired == 0) {
            eprintln!("testbed: never acted: {}", fate.rule);
            code = ExitCode::FAILURE;
        }
        Ok(code)
    })
}

fn read(path: &Path) -> Result<Vec<Rule>> {
    let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    parse(&text).with_context(|| format!("failed to read the rules in {}", path.display()))
}
