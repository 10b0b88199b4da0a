//! The `testbed` program: see `testbed --help`, and the library for how a bed is made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use testbed::cache::Cache;
use testbed::spec::BedSpec;
use testbed::{control_plane, csinode, enter, faultproxy, inside, podrunner};

/// A real control plane, simulated vCenters and nodes, and the real drivers, in namespaces of their own.
#[derive(Parser)]
#[command(name = "testbed", version)]
struct Arguments {
    #[command(subcommand)]
    door: Door,
}

#[derive(Subcommand)]
enum Door {
    /// Builds the tools that the cache does not have yet.
    Build {
        /// Which; by default what a bed of the newest Kubernetes needs.
        tools: Vec<String>,
        /// Also what a bed of the oldest Kubernetes needs.
        #[arg(long, conflicts_with = "tools")]
        all: bool,
    },
    /// Runs a command in a bed that ends with it.
    Run {
        #[command(flatten)]
        spec: BedSpec,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Starts a bed that stays until `down`, and writes DIR/env for callers outside.
    Up {
        #[command(flatten)]
        spec: BedSpec,
    },
    /// Runs a command in a bed that `up` started.
    Exec {
        /// The bed's folder.
        #[arg(long)]
        dir: PathBuf,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Ends a bed that `up` started; its files stay.
    Down {
        /// The bed's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Stands between a client and an API server, and makes things go wrong between them.
    #[command(name = "faultproxy")]
    FaultProxy(faultproxy::command::Arguments),
    /// What keeps a bed of `up` alive.
    #[command(hide = true)]
    Hold { orders: String },
    /// What starts everything in a bed.
    #[command(hide = true)]
    Inside {
        orders: String,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// What keeps the CSINode objects.
    #[command(hide = true, name = "csinodes")]
    CsiNodes { kubeconfig: PathBuf, folder: PathBuf },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|door| door.to_str()) {
        Some("init") => return inside::init(&arguments[1..]).map(code),
        Some("kubelet" | "kubelet-pause" | "kubelet-exec" | "kubelet-probe" | "stand-in") => {
            let texts = std::env::args().skip(1).collect::<Vec<_>>();
            return podrunner::main(&texts);
        }
        _ => {}
    }
    match Arguments::parse().door {
        Door::Build { tools, all } => {
            let named: Vec<&str> = tools.iter().map(String::as_str).collect();
            let names = if named.is_empty() && !all { testbed::tools::usual() } else { named };
            for built in Cache::from_env()?.provide(&names)? {
                println!("{}\t{}", built.name, built.bin.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Door::Run { spec, command } => enter::run(spec, &command).map(code),
        Door::Up { spec } => enter::up(spec).map(|()| ExitCode::SUCCESS),
        Door::Exec { dir, command } => enter::exec(&enter::absolute(&dir)?, &command).map(code),
        Door::Down { dir } => enter::down(&enter::absolute(&dir)?).map(|()| ExitCode::SUCCESS),
        Door::FaultProxy(arguments) => faultproxy::command::run(arguments),
        Door::Hold { orders } => enter::hold(&orders).map(code),
        Door::Inside { orders, command } => {
            let orders = serde_json::from_str(&orders).context("failed to read the orders")?;
            inside::run(&orders, &command).map(code)
        }
        Door::CsiNodes { kubeconfig, folder } => follow_csinodes(&kubeconfig, &folder),
    }
}

fn follow_csinodes(kubeconfig: &Path, folder: &Path) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = control_plane::client(kubeconfig, "testbed-csinode").await?;
        csinode::follow(client, folder).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Codes of a shell fit a byte.
fn code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
