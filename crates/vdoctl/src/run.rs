//! Asks, prints, and says whether the answer is yes.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result};
use cpi_operator::inputs::NodeDeletion;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use vdo_plan::Reading;

use crate::args::{Args, Command, Format, ReleaseArgs, RenderArgs, StatusArgs, VersionArgs};
use crate::bundle::Bundle;
use crate::render::{self, Request, Secrets};
use crate::seen::Report;
use crate::version::{self, Versions};
use crate::{explain, observe, release, screen, yaml};

/// The longest input that is read.
const INPUT_LIMIT: u64 = 16 * 1024 * 1024;
/// How wide a screen is taken to be where there is none.
const USUAL_WIDTH: usize = 80;

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Fine.
    Yes,
    /// Findings, or not ready.
    No,
}

/// Does what is asked. An error means wrong usage, or that something could not be read.
pub async fn run(args: Args) -> Result<Answer> {
    match args.command {
        Command::Render(args) => render(args),
        Command::Explain { reason } => explain(&reason),
        Command::Status(args) => status(args).await,
        Command::Release(args) => let_go(args).await,
        Command::Version(args) => version(args).await,
    }
}

fn render(args: RenderArgs) -> Result<Answer> {
    let driver = args.driver.into();
    let input = args.input.display().to_string();
    let text = read_input(&args).with_context(|| format!("cannot read {input}"))?;
    let bundle = Bundle::read(&text).with_context(|| format!("cannot use {input}"))?;
    let request = Request {
        driver,
        release: args.release,
        kubernetes: args.kubernetes,
        distribution: args.distribution,
        control_plane_nodes: args.control_plane_nodes,
        snapshots: if args.snapshots { Reading::Present(()) } else { Reading::Absent },
        node_deletion: if args.nodes_outside_vsphere { NodeDeletion::Off } else { NodeDeletion::Allowed },
        cluster_uid: args.cluster_uid,
        secrets: if args.show_secrets { Secrets::Shown } else { Secrets::Hidden },
    };
    match render::render(&bundle, &request) {
        Ok(rendering) => {
            rendering.notes.iter().for_each(|note| eprintln!("note: {note}"));
            print(&render::manifest(&rendering.revision, driver, request.secrets)?)?;
            Ok(Answer::Yes)
        }
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("{}", render::said(finding)));
            Ok(Answer::No)
        }
    }
}

fn read_input(args: &RenderArgs) -> Result<String> {
    let mut text = String::new();
    let source: Box<dyn Read> = if args.input.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(&args.input)?)
    };
    source.take(INPUT_LIMIT + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() as u64 <= INPUT_LIMIT, "it is longer than {INPUT_LIMIT} bytes");
    Ok(text)
}

fn explain(name: &str) -> Result<Answer> {
    let found: Vec<String> = explain::find_all(name).into_iter().map(explain::screen).collect();
    if !found.is_empty() {
        print(&found.join("\n"))?;
        return Ok(Answer::Yes);
    }
    match explain::nearest(name).as_slice() {
        [] => eprintln!("vdoctl: no reason is called {name:?}"),
        names => eprintln!("vdoctl: no reason is called {name:?}; near it are {}", names.join(", ")),
    }
    Ok(Answer::No)
}

async fn status(args: StatusArgs) -> Result<Answer> {
    let cluster = observe::connect(&args.place).await?;
    let seen = observe::observe(&cluster, &args.place.namespace, Timestamp::now()).await?;
    let report = Report::of(&seen);
    match args.output {
        Some(format) => print(&formatted(&report, format)?)?,
        None => print(&screen::draw(&report, seen.now, width()))?,
    }
    Ok(if report.ready { Answer::Yes } else { Answer::No })
}

async fn version(args: VersionArgs) -> Result<Answer> {
    let versions = match observe::connect(&args.place).await {
        Ok(cluster) => version::observe(&cluster, &args.place.namespace).await,
        Err(error) => Versions::alone(format!("no cluster answered: {error}")),
    };
    match args.output {
        Some(format) => print(&formatted(&versions, format)?)?,
        None => print(&version::screen(&versions))?,
    }
    Ok(Answer::Yes)
}

async fn let_go(args: ReleaseArgs) -> Result<Answer> {
    let namespace = &args.place.namespace;
    let cluster = observe::connect(&args.place).await?;
    let held = release::held(&cluster, namespace).await?;
    if held.is_empty() {
        print(&format!("No VDOConfig in {namespace} bears a finalizer of VDO: nothing to do.\n"))?;
        return Ok(Answer::Yes);
    }
    eprintln!("Looking for {} s whether an operator is at work ...", release::WATCHED.as_secs());
    let alive = release::alive(&cluster, namespace).await?;
    if !alive.is_empty() {
        eprintln!(
            "vdoctl: {} is at work and lets go by itself; delete the VDOConfig, and see `vdoctl status` for what holds it",
            alive.join(" and ")
        );
        return Ok(Answer::No);
    }
    for config in held {
        let (name, finalizers) = (config.name_any(), release::finalizers(&config).join(" and "));
        if !args.yes {
            print(&format!("VDOConfig {namespace}/{name}: {finalizers} would be taken off\n"))?;
            continue;
        }
        release::release(&cluster, config).await?;
        print(&format!(
            "VDOConfig {namespace}/{name}: {finalizers} taken off; the drivers stay as they are\n"
        ))?;
    }
    if args.yes {
        return Ok(Answer::Yes);
    }
    eprintln!("vdoctl: nothing was changed; repeat it with --yes");
    Ok(Answer::No)
}

/// How wide the terminal is. Into a file or a pipe, lines are as long as on the usual one.
fn width() -> usize {
    terminal_size::terminal_size().map_or(USUAL_WIDTH, |(width, _)| usize::from(width.0))
}

/// Prints. A reader that has seen enough, as `head` does, is no fault.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// An answer for programs.
fn formatted(answer: &impl Serialize, format: Format) -> Result<String> {
    match format {
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(answer)?)),
        Format::Yaml => yaml::write(answer),
    }
}
