//! Asks, prints, and says whether the answer is yes.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::{Context, Result, bail};
use cpi_operator::inputs::NodeDeletion;
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use vdo_compat::{Driver, Matrix, builtin};
use vdo_plan::Reading;
use vdo_runtime::Cluster;
use vdo_runtime::clock::wall;

use crate::args::{
    Args, Colour, Command, Format, MatrixCommand, MatrixExplainArgs, MatrixLintArgs, MatrixMayUpgradeArgs,
    MatrixShowArgs, NodesArgs, NodesFormat, Place, PlanArgs, ReleaseArgs, RenderArgs, Shell, StatusArgs,
    VersionArgs,
};
use crate::bundle::Bundle;
use crate::called::Called;
use crate::connect::connect;
use crate::look::{Look, Surface};
use crate::matrix::lint::{self, Verdict};
use crate::matrix::{self, Asked, source, upgrade};
use crate::nodes::list::{self, Columns};
use crate::nodes::{self, NodesReport};
use crate::plan::list::Detail;
use crate::plan::{self, PlanReport};
use crate::progress::Progress;
use crate::release::{self, Found, Intent};
use crate::render::{self, Request, Secrets};
use crate::seen::{Report, Seen};
use crate::version::{self, Versions};
use crate::watch::{First, Watch};
use crate::{completion, explain, input, observe, screen, terminal, yaml};

/// What the exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Fine.
    Yes,
    /// Findings, or not ready.
    No,
}

/// Does what is asked. An error means wrong usage, or that something could not be read.
pub async fn run(called: Called, args: Args) -> Result<Answer> {
    let Args { place, color, command } = args;
    match command {
        Command::Render(args) => render(args),
        Command::Matrix(MatrixCommand::Explain(args)) => explain_matrix(color, args).await,
        Command::Matrix(MatrixCommand::Show(args)) => show_matrix(color, args).await,
        Command::Matrix(MatrixCommand::Schema) => {
            print(&formatted(&vdo_matrix::schema(), Format::Json)?)?;
            Ok(Answer::Yes)
        }
        Command::Matrix(MatrixCommand::MayUpgrade(args)) => may_upgrade(&place, color, args).await,
        Command::Matrix(MatrixCommand::Lint(args)) => lint_matrix(color, args).await,
        Command::Explain { reason } => explain(called, &reason),
        Command::Status(args) => status(called, &place, color, args).await,
        Command::Nodes(args) => nodes(called, &place, color, args).await,
        Command::Plan(args) => plan(&place, color, args).await,
        Command::Release(args) => let_go(called, &place, args).await,
        Command::Version(args) => version(&place, args).await,
        Command::Completion { shell } => complete(called, shell),
    }
}

fn render(args: RenderArgs) -> Result<Answer> {
    let driver = args.driver.into();
    let file = args.input.display().to_string();
    let text = input::text(&args.input).with_context(|| format!("cannot read {file}"))?;
    let bundle = Bundle::read(&text).with_context(|| format!("cannot use {file}"))?;
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

async fn explain_matrix(color: Colour, args: MatrixExplainArgs) -> Result<Answer> {
    let (name, matrix) = read_matrix(&args.show, &Progress::default()).await?;
    let drivers = args.driver.map_or_else(|| vec![Driver::Cpi, Driver::Csi], |driver| vec![driver.into()]);
    let asked = Asked { kubernetes: args.kubernetes, vsphere: args.vsphere, esxi: args.esxi, drivers };
    let answer = matrix::explanation(&name, &matrix, &asked);
    match args.show.output {
        Some(format) => print(&formatted(&answer, format)?)?,
        None => print(&matrix::draw(&answer, by_lines(color)))?,
    }
    Ok(if answer.fits { Answer::Yes } else { Answer::No })
}

async fn show_matrix(color: Colour, args: MatrixShowArgs) -> Result<Answer> {
    let (_, mut matrix) = read_matrix(&args, &Progress::default()).await?;
    if args.matrix.is_none() {
        matrix = matrix::images::with_those_of_the_operators(matrix);
    }
    match args.output {
        Some(Format::Yaml) => print(&vdo_matrix::write(&matrix))?,
        Some(Format::Json) => print(&formatted(&vdo_matrix::to_json(&matrix), Format::Json)?)?,
        None => print(&matrix::rows(&matrix, by_lines(color)))?,
    }
    Ok(Answer::Yes)
}

async fn may_upgrade(place: &Place, color: Colour, args: MatrixMayUpgradeArgs) -> Result<Answer> {
    let progress = Progress::default();
    let (asked, (name, matrix)) = match args.from_kubernetes {
        Some(kubernetes) if args.cpi.is_some() || args.csi.is_some() => {
            let esxi = vec![args.esxi.clone(); args.from_vsphere.len()];
            let now = upgrade::Versions { kubernetes, vsphere: args.from_vsphere.clone(), esxi };
            let installed = [(Driver::Cpi, args.cpi), (Driver::Csi, args.csi)].into_iter();
            let installed =
                installed.filter_map(|(driver, it)| Some((driver, upgrade::Installed::new(it?)))).collect();
            ((installed, now), read_matrix(&args.show, &progress).await?)
        }
        Some(_) => bail!("--from-kubernetes comes with --cpi or --csi"),
        None => {
            progress.say("asking the API server");
            let work = async {
                let cluster = connect(place).await?;
                let running = matrix::observe::observe(&cluster, &place.namespace).await?;
                anyhow::Ok((cluster, running))
            };
            let (cluster, running) = patiently(&progress, work).await?;
            let matrix = match args.show.matrix {
                Some(_) => read_matrix(&args.show, &progress).await?,
                None => patiently(&progress, running.matrix(&cluster, &place.namespace)).await?,
            };
            ((running.installed, running.now), matrix)
        }
    };
    let (installed, now) = asked;
    let next = now.becomes(args.kubernetes, &args.vsphere)?;
    let answer = upgrade::answer(&name, &matrix, &upgrade::Asked { installed, now, next });
    match args.show.output {
        Some(format) => print(&formatted(&answer, format)?)?,
        None => print(&upgrade::draw(&answer, by_lines(color)))?,
    }
    Ok(if answer.may_upgrade { Answer::Yes } else { Answer::No })
}

async fn lint_matrix(color: Colour, args: MatrixLintArgs) -> Result<Answer> {
    let document = source::read(&args.matrix, &args.trust, &Progress::default()).await?;
    let (name, text) = (document.name, document.text);
    let today = wall().strftime("%Y-%m-%d").to_string();
    let mut linted = vdo_matrix::lint::lint(&text, &BTreeMap::new(), Some(&today));
    if let (Some(folder), Some(matrix)) = (&args.manifests, &linted.matrix) {
        linted = vdo_matrix::lint::lint(&text, &lint::manifests(matrix, folder)?, Some(&today));
    }
    let verdict = Verdict::new(&name, linted);
    match args.output {
        Some(format) => print(&formatted(&verdict, format)?)?,
        None => print(&lint::draw(&verdict, by_lines(color)))?,
    }
    Ok(if verdict.is_clean() { Answer::Yes } else { Answer::No })
}

/// The matrix that is asked about, and what it is called. What is in it and does nothing goes to standard error.
async fn read_matrix(args: &MatrixShowArgs, progress: &Progress) -> Result<(String, Matrix)> {
    let Some(given) = &args.matrix else { return Ok(("built in".to_owned(), builtin::matrix().clone())) };
    let document = source::read(given, &args.trust, progress).await?;
    let name = document.name;
    let parsed =
        vdo_matrix::parse(document.source, &document.text).with_context(|| format!("cannot use {name}"))?;
    matrix::notes(&name, &document.text, &parsed.notes).iter().for_each(|note| eprintln!("note: {note}"));
    Ok((name, parsed.matrix))
}

fn explain(called: Called, name: &str) -> Result<Answer> {
    let found: Vec<String> = explain::find_all(name).into_iter().map(explain::screen).collect();
    if !found.is_empty() {
        print(&called.spoken(&found.join("\n")))?;
        return Ok(Answer::Yes);
    }
    let me = called.name();
    match explain::nearest(name).as_slice() {
        [] => eprintln!("{me}: no reason is called {name:?}"),
        names => eprintln!("{me}: no reason is called {name:?}; near it are {}", names.join(", ")),
    }
    Ok(Answer::No)
}

fn complete(called: Called, shell: Shell) -> Result<Answer> {
    anyhow::ensure!(
        called == Called::Vdoctl,
        "kubectl completes its plug-ins without a script: link this program as kubectl_complete-vdo in a folder of PATH"
    );
    print(&completion::script(shell))?;
    Ok(Answer::Yes)
}

/// Waits for an answer of the cluster, and says so if that takes long.
async fn patiently<T>(progress: &Progress, work: impl Future<Output = T>) -> T {
    progress.during(terminal::err(), &mut stderr(), work).await
}

async fn status(called: Called, place: &Place, color: Colour, args: StatusArgs) -> Result<Answer> {
    let progress = Progress::default();
    progress.say("asking the API server");
    let form = |report: &Report, now: Timestamp| match args.output {
        Some(format) => formatted(report, format),
        None => Ok(screen::draw(report, now, terminal::look(color))),
    };
    let observe = async |cluster: &Cluster| -> Result<Seen> {
        observe::observe(cluster, &place.namespace, Timestamp::now()).await
    };
    if args.watch {
        let cluster = patiently(&progress, connect(place)).await?;
        // Texts for programs stand one below the other also where a person sees them.
        let surface = if args.output.is_some() { Surface::Elsewhere } else { terminal::out() };
        let mut watch = Watch {
            out: &mut stdout(),
            surface,
            height: &terminal::height,
            form: &|report, now| {
                let text = form(&spoken(called, report.clone()), now)?;
                Ok(match args.output {
                    Some(Format::Yaml) => format!("---\n{text}"),
                    None if surface == Surface::Elsewhere => format!("--- {now:.0}\n{text}"),
                    Some(Format::Json) | None => text,
                })
            },
            complain: &|what| eprintln!("{}: {what}", called.name()),
            first: First { progress: &progress, surface: terminal::err(), to: &mut stderr() },
        };
        let end = async {
            // Without a signal to wait for it ends as any program does.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        return watch.run(async || observe(&cluster).await, end).await;
    }
    let seen = patiently(&progress, async { observe(&connect(place).await?).await }).await?;
    let report = spoken(called, Report::of(&seen));
    print(&form(&report, seen.now)?)?;
    Ok(if report.ready { Answer::Yes } else { Answer::No })
}

/// The report in which the next step is a command that a person types.
fn spoken(called: Called, report: Report) -> Report {
    Report { next: called.spoken(&report.next), ..report }
}

async fn nodes(called: Called, place: &Place, color: Colour, args: NodesArgs) -> Result<Answer> {
    let progress = Progress::default();
    progress.say("asking the API server");
    let work = async { nodes::observe::observe(&connect(place).await?, &place.namespace, &progress).await };
    let mut report = NodesReport::of(&patiently(&progress, work).await?);
    for finding in &mut report.findings {
        finding.remedy = called.spoken(&finding.remedy);
    }
    let look = by_lines(color);
    let text = match args.output {
        Some(NodesFormat::Json) => formatted(&report, Format::Json)?,
        Some(NodesFormat::Yaml) => formatted(&report, Format::Yaml)?,
        Some(NodesFormat::Wide) => list::draw(&report, Columns::Wide, look),
        None => list::draw(&report, Columns::Usual, look),
    };
    print(&text)?;
    // What was not read may be what is wrong.
    anyhow::ensure!(!report.ok || report.unread.is_empty(), report.unread.join("; "));
    Ok(if report.ok { Answer::Yes } else { Answer::No })
}

async fn plan(place: &Place, color: Colour, args: PlanArgs) -> Result<Answer> {
    let progress = Progress::default();
    progress.say("asking the API server");
    let work =
        async { plan::observe::report(&connect(place).await?, &place.namespace, wall(), &progress).await };
    let report: PlanReport = patiently(&progress, work).await?;
    let detail = if args.all { Detail::All } else { Detail::Usual };
    match args.output {
        Some(format) => print(&formatted(&report, format)?)?,
        None => print(&plan::list::draw(&report, detail, by_lines(color)))?,
    }
    // What was not read may be what changes.
    anyhow::ensure!(!report.partial, "not everything that decides could be read");
    Ok(if report.changes { Answer::No } else { Answer::Yes })
}

/// What reads a file or a pipe goes by lines.
fn by_lines(color: Colour) -> Look {
    match terminal::out() {
        Surface::Terminal => terminal::look(color),
        Surface::Elsewhere => Look { width: usize::MAX, ..terminal::look(color) },
    }
}

async fn version(place: &Place, args: VersionArgs) -> Result<Answer> {
    let progress = Progress::default();
    progress.say("asking the API server");
    let work = async {
        match connect(place).await {
            Ok(cluster) => version::observe(&cluster, &place.namespace).await,
            Err(error) => Versions::alone(format!("no cluster answered: {error}")),
        }
    };
    let versions = patiently(&progress, work).await;
    match args.output {
        Some(format) => print(&formatted(&versions, format)?)?,
        None => print(&version::screen(&versions))?,
    }
    Ok(Answer::Yes)
}

async fn let_go(called: Called, place: &Place, args: ReleaseArgs) -> Result<Answer> {
    let (me, namespace) = (called.name(), &place.namespace);
    let intent = if args.yes { Intent::LetGo } else { Intent::Look };
    let progress = Progress::default();
    progress.say(format!("looking for {} s whether an operator is at work", release::WATCHED.as_secs()));
    let work = async { release::let_go(&connect(place).await?, namespace, intent, &mut stdout()).await };
    match (patiently(&progress, work).await?, intent) {
        (Found::Nothing, _) => {
            print(&format!("No VDOConfig in {namespace} bears a finalizer of VDO: nothing to do.\n"))?;
            Ok(Answer::Yes)
        }
        (Found::AtWork(alive), _) => {
            eprintln!(
                "{me}: {} is at work and lets go by itself; delete the VDOConfig, and see `{me} status` for what holds it",
                alive.join(" and ")
            );
            Ok(Answer::No)
        }
        (Found::Abandoned, Intent::LetGo) => Ok(Answer::Yes),
        (Found::Abandoned, Intent::Look) => {
            eprintln!("{me}: nothing was changed; repeat it with --yes");
            Ok(Answer::No)
        }
    }
}

/// Prints an answer.
pub fn print(text: &str) -> Result<()> {
    write(&mut stdout().lock(), text).map(drop)
}

/// Whether somebody still reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody does.
    There,
    /// He has seen enough, as `head` does.
    Gone,
}

/// Writes at once. That nobody reads any more is no fault.
pub fn write(out: &mut impl Write, text: &str) -> Result<Reader> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(error).context("cannot print"),
    }
}

/// An answer for programs.
fn formatted(answer: &impl Serialize, format: Format) -> Result<String> {
    match format {
        Format::Json => Ok(format!("{}\n", serde_json::to_string_pretty(answer)?)),
        Format::Yaml => yaml::write(answer),
    }
}
