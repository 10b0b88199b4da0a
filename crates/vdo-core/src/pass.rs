//! The steps of a pass, and the loop around them: first the vCenters, then the VDOConfig.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{NamespaceResourceScope, PartialObjectMeta, PartialObjectMetaExt};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vdo_api::condition::merge;
use vdo_api::names::{CORE_MANAGER, LOG_ANNOTATION};
use vdo_api::vcenter::{Login, LoginOutcome};
use vdo_api::{Condition, VDOConfig, VsphereCloudConfig, VsphereCloudConfigStatus};
use vdo_compat::Driver;
use vdo_compat::upgrade::Prospect;
use vdo_plan::Reading;
use vdo_plan::driver::view;
use vdo_plan::order::PerDriver;
use vdo_runtime::clock::{Monotonic, monotonic, wall};
use vdo_runtime::events::{Reporter, Weight};
use vdo_runtime::logs::LogLevel;
use vdo_runtime::run::Ending;
use vdo_runtime::status::apply_status;
use vdo_runtime::words::Words;
use vdo_runtime::{Cluster, KubeFault, Operator, PassError, Revisit};
use vsphere_client::Vm;

use crate::announce;
use crate::args::Args;
use crate::configs::Ahead;
use crate::metrics::CoreMetrics;
use crate::observe::{ServerVersion, Watched, decoded, observe_configs};
use crate::order::choose::{Answer, Question, Wish, answer, before_the_next_kubernetes};
use crate::order::matrix::{Parsed, Standing, Wanted};
use crate::order::nodes::{Inventory, Joined, join};
use crate::order::{Part, gates, matrix, sum};
use crate::sources::fetch::Fetching;
use crate::strays::{Kind, Stray, Told};
use crate::vcenter::due::{self, Due};
use crate::vcenter::memory::Memory;
use crate::vcenter::verdict::{self, Case};
use crate::vcenter::{Errand, Facts, Obstacle, resolve};

/// How soon a Lease that never came is noticed.
const LOOK_AT_LEASES: Duration = Duration::from_secs(60);
/// By how much a look is later than what it waits for.
const A_MOMENT: Duration = Duration::from_secs(1);
/// How soon the first lists are looked at again.
const FIRST_LISTS: Duration = Duration::from_secs(1);

/// How many objects that cannot count are told in one pass: anybody may make thousands of them.
const TOLD_AT_ONCE: usize = 20;

struct Context {
    cluster: Cluster,
    args: Args,
    watched: Watched,
    reporter: Reporter,
    metrics: CoreMetrics,
    log: LogLevel,
}

/// What one pass leaves for the next.
struct State {
    memory: Memory,
    /// What is known of the VDOConfigs beyond what the watch shows.
    ahead: Ahead,
    /// Whom of the objects that cannot count we have told so.
    told: Told,
    version: ServerVersion,
    /// The generation of the active VDOConfig, and when we first saw it.
    generation: Option<(String, i64, Monotonic)>,
    /// Nodes whose machine was not found, and since when.
    strangers: BTreeMap<String, Monotonic>,
    words: Words,
    fetching: Fetching,
    parsed: Parsed,
    standing: Standing,
}

/// Runs until told to stop.
#[allow(clippy::await_holding_refcell_ref, reason = "one pass at a time; the farewell comes after the last")]
pub async fn operate(args: Args) -> Result<Ending, String> {
    let fetcher = args.fetcher()?;
    let operator = Operator::start(CORE_MANAGER, env!("CARGO_PKG_VERSION"), &args.shared).await?;
    let metrics = CoreMetrics::new(&operator.metrics).map_err(|error| error.to_string())?;
    let context = Context {
        watched: Watched::new(&operator.cluster, &operator.watches, &args),
        reporter: operator.reporter.clone(),
        cluster: operator.cluster.clone(),
        metrics: metrics.clone(),
        log: operator.log.clone(),
        args,
    };
    let words = Words::new(context.args.rhythm());
    let state = RefCell::new(State {
        memory: Memory::new(&operator.wake, &metrics),
        ahead: Ahead::default(),
        told: Told::default(),
        version: ServerVersion::default(),
        generation: None,
        strangers: BTreeMap::new(),
        words,
        fetching: Fetching::new(fetcher, &operator.wake, &context.args.shared.namespace, context.args.pace()),
        parsed: Parsed::default(),
        standing: Standing::default(),
    });
    let pass = async |_| pass(&context, &mut state.borrow_mut()).await;
    let farewell = async || {
        // A pass that was cut off at the end of its time has dropped its loan.
        if let Ok(mut state) = state.try_borrow_mut() {
            state.memory.farewell().await;
        }
    };
    Ok(operator.lead(pass, farewell).await)
}

async fn pass(ctx: &Context, state: &mut State) -> Result<Revisit, PassError> {
    if !ctx.watched.is_settled() {
        return Ok(Revisit::within(FIRST_LISTS));
    }
    let Reading::Present(rows) = decoded(&ctx.watched) else {
        return Ok(Revisit::within(FIRST_LISTS));
    };
    let revisit = work(ctx, state, rows).await;
    if revisit.is_err() {
        // A conflict says that the view was too old, an outage leaves open what was written.
        state.ahead.doubt();
    }
    // Whatever stands in the way of the ones that count, those that do not are told.
    let left = tell_strays(ctx, state).await;
    let (revisit, left) = (revisit?, left?);
    Ok(left.map_or(revisit, |soon| revisit.or_sooner(soon)))
}

/// What a pass is for: the vCenters, then the VDOConfig that counts.
async fn work(ctx: &Context, state: &mut State, rows: Vec<VsphereCloudConfig>) -> Result<Revisit, PassError> {
    let (configs, wait) = verify(ctx, state, rows).await?;
    ctx.metrics.show_vcenters(&configs);
    ctx.metrics.sessions.set(state.memory.sessions() as f64);
    let namespace = &ctx.args.shared.namespace;
    let found = observe_configs(&ctx.cluster, &ctx.watched, &mut state.ahead, namespace).await?;
    let mut revisit = Revisit::within(wait);
    let annotations = found.active.as_ref().and_then(|active| active.metadata.annotations.as_ref());
    ctx.log.follow(annotations.and_then(|all| all.get(LOG_ANNOTATION)).map(String::as_str));
    if found.active.is_none() {
        ctx.metrics.hide_config();
        // So that the first VDOConfig is answered without a wait; what cannot be read is said then.
        let _ = tokio::join!(state.version.fetch(&ctx.cluster), ctx.cluster.fetch_lacking());
    }
    if let Some(active) = &found.active {
        for other in &found.others {
            let part = Part {
                observed_generation: other.metadata.generation,
                conditions: sum::inactive(other, &active.name_any(), wall()),
                ..Part::default()
            };
            report(ctx, &mut state.ahead, other, part, None).await?;
        }
        revisit = sum_up(ctx, state, active, &configs).await?.map_or(revisit, |time| revisit.or_sooner(time));
        let runs_out = ctx.watched.pulse_left().map_or(LOOK_AT_LEASES, |left| left + A_MOMENT);
        revisit = revisit.or_sooner(runs_out.min(LOOK_AT_LEASES));
    }
    Ok(revisit)
}

/// Verifies each VsphereCloudConfig. Gives them as they are now, and when to look again.
async fn verify(
    ctx: &Context,
    state: &mut State,
    rows: Vec<VsphereCloudConfig>,
) -> Result<(Vec<VsphereCloudConfig>, Duration), PassError> {
    let memory = &mut state.memory;
    let mut configs: Vec<VsphereCloudConfig> = rows
        .into_iter()
        .map(|row| {
            // Until the watch shows our own write, what it answered is newer.
            let entry = memory.of(&uid(&row));
            match &entry.written {
                Some((before, written)) if row.metadata.resource_version.as_ref() == Some(before) => {
                    written.clone()
                }
                Some(_) | None => {
                    entry.written = None;
                    row
                }
            }
        })
        .collect();
    memory.keep_only(&configs.iter().map(uid).collect::<BTreeSet<_>>());
    let mut wait = Duration::MAX;
    let mut failed = None;
    for index in 0..configs.len() {
        match verify_one(ctx, memory, &configs, index).await {
            Ok((config, due)) => {
                configs[index] = config;
                if let Due::Wait(time) = due {
                    wait = wait.min(time);
                }
            }
            // One that cannot be written stops none of the others.
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok((configs, wait)), Err)
}

async fn verify_one(
    ctx: &Context,
    memory: &mut Memory,
    all: &[VsphereCloudConfig],
    index: usize,
) -> Result<(VsphereCloudConfig, Due), PassError> {
    let config = &all[index];
    let (uid, now) = (uid(config), wall());
    let vcenters = &ctx.watched.vcenters;
    let errand = resolve(&Facts {
        config,
        secret: vcenters.credentials(&config.spec.credentials),
        pinned: vcenters.is_pinned(&config.spec.credentials),
        authority: config.spec.ca_ref.as_ref().map(|reference| vcenters.authority(reference)),
        all,
    });
    let stored = || config.status.as_ref().and_then(|status| status.login.clone());
    let entry = memory.of(&uid);
    if let Ok(errand) = &errand {
        entry.turn_to(&errand.subject);
    }
    entry.collect(config, errand.as_ref().ok(), stored().as_ref(), now).await;
    let login = entry.pending.clone().unwrap_or_else(stored);
    let mut config = config.clone();
    if let Some(written) = write(ctx, memory, &config, &errand, login.clone(), now).await? {
        config = written;
    }
    memory.of(&uid).pending = None;
    let Ok(ready) = &errand else { return Ok((config, Due::Wait(Duration::MAX))) };
    let hosts = memory.hosts(&config);
    let due = memory.of(&uid).due(ready, &config, login.as_ref(), hosts, now);
    if due != Due::Announce {
        memory.start(&uid, &config, ready, due);
        return Ok((config, due));
    }
    // The login is written down before it is made, so that a crash never repeats one that was refused.
    let Some(announced) = announce(&config, ready, login.as_ref(), now) else { return Ok((config, due)) };
    if let Some(written) = write(ctx, memory, &config, &errand, Some(announced), now).await? {
        memory.log_in(&uid, ready);
        config = written;
    }
    Ok((config, due))
}

fn announce(
    config: &VsphereCloudConfig,
    errand: &Errand,
    before: Option<&Login>,
    now: k8s_openapi::jiff::Timestamp,
) -> Option<Login> {
    let secret = errand.subject.secret.clone()?;
    Some(Login {
        interrupted: due::interrupted(before, &secret, &errand.server),
        tried: secret,
        server: errand.server.clone(),
        outcome: LoginOutcome::Started,
        at: Time(now),
        retry: verdict::retry(config).map(str::to_owned),
    })
}

/// Writes the status of a VsphereCloudConfig, if there is anything new to say. Gives what is stored then.
async fn write(
    ctx: &Context,
    memory: &mut Memory,
    config: &VsphereCloudConfig,
    errand: &Result<Errand, Obstacle>,
    login: Option<Login>,
    now: k8s_openapi::jiff::Timestamp,
) -> Result<Option<VsphereCloudConfig>, PassError> {
    let entry = memory.of(&uid(config));
    let case = Case { config, errand, evidence: &entry.evidence, login, now };
    let Some(status) = verdict::status(&case) else { return Ok(None) };
    let before = config.status.clone().unwrap_or_default();
    if in_order(&status) == in_order(&before) {
        return Ok(None);
    }
    let value = serde_json::to_value(&status).expect("a status is a JSON object");
    let name = config.name_any();
    let written = apply_status(&ctx.cluster, CORE_MANAGER, config, &value)
        .await
        .map_err(PassError::report(format!("VsphereCloudConfig {name}")))?;
    let seen = entry.written.take().map(|(seen, _)| seen);
    entry.written =
        seen.or_else(|| config.metadata.resource_version.clone()).map(|seen| (seen, written.clone()));
    announce_change(ctx, &written, &before.conditions, &status.conditions).await;
    Ok(Some(written))
}

fn in_order(status: &VsphereCloudConfigStatus) -> VsphereCloudConfigStatus {
    let mut status = status.clone();
    status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    status
}

fn uid(config: &VsphereCloudConfig) -> String {
    config.metadata.uid.clone().unwrap_or_default()
}

/// The gates, the nodes and the conditions of the active VDOConfig. Gives when to look again.
async fn sum_up(
    ctx: &Context,
    state: &mut State,
    active: &VDOConfig,
    configs: &[VsphereCloudConfig],
) -> Result<Option<Duration>, PassError> {
    let now = wall();
    let kubernetes = state.version.fetch(&ctx.cluster).await?;
    let kubernetes = kubernetes.trim_start_matches('v');
    let spec = &active.spec;
    let names: BTreeSet<&str> = spec.cpi_vcenters().into_iter().chain(spec.csi_vcenters()).collect();
    let reading = |name: &str| match configs.iter().find(|it| it.metadata.name.as_deref() == Some(name)) {
        Some(config) => Reading::Present(config.clone()),
        // Not among those that decode: absent, or broken.
        None => ctx.watched.vcenters.config(name),
    };
    let vcenters: Vec<(String, Reading<VsphereCloudConfig>)> =
        names.iter().map(|name| ((*name).to_owned(), reading(name))).collect();

    let (nodes, machines_known) = joined(ctx, state, active, &vcenters);
    note_unmatched(&mut state.memory, &vcenters, &nodes);

    let wanted = matrix::wanted(&ctx.watched.sources(&ctx.args.shared.namespace));
    let place = wanted.as_ref().ok().and_then(Wanted::place);
    let mut soon = state.fetching.follow(&ctx.cluster, place).await;
    let mut matrix = wanted.and_then(|wanted| {
        let parse = |content: &str| state.parsed.matrix(content);
        matrix::choose(&wanted, parse, |place| state.fetching.matrix(place))
    });
    if let Ok(chosen) = &mut matrix {
        let (settle, clocks) = (ctx.args.pace().settle, (monotonic(), now));
        let steadied = state.standing.steady(chosen, active.status.as_ref(), settle, clocks);
        soon = soon.into_iter().chain(steadied.left).min();
        if steadied.is_new {
            log_notes(chosen);
        }
        // A matrix that cannot be read says nothing about what it asks for.
        if state.memory.ask_for_hosts(matrix::hosts_asked(&chosen.matrix)) {
            soon = Some(Duration::ZERO);
        }
    }
    let view = view(active, now);
    let ask = |driver: Driver, wanted: bool, names: Vec<&str>, wish: Wish<'_>| {
        wanted.then(|| {
            let question = Question {
                driver,
                kubernetes,
                vcenters: vcenters
                    .iter()
                    .filter(|(name, _)| names.contains(&name.as_str()))
                    .map(|(name, it)| (name.as_str(), it.present().map_or(Reading::Absent, Reading::Present)))
                    .collect(),
                wish,
                installed: view.records.of(driver).installed.as_ref().map(|key| key.release),
                attempted: view.records.of(driver).rolling().map(|key| key.release),
                refused: view.records.of(driver).refused_release.as_ref().map(|it| it.key.release),
                matrix: &matrix,
            };
            (answer(&question), before_the_next_kubernetes(&question))
        })
    };
    let cpi_wish = spec.cloud_provider.as_ref().map(Wish::from).unwrap_or_default();
    let csi_wish = spec.storage_provider.as_ref().map(Wish::from).unwrap_or_default();
    let (cpi, cpi_next) = ask(Driver::Cpi, spec.wants_cpi(), spec.cpi_vcenters(), cpi_wish).unzip();
    let (csi, csi_next) = ask(Driver::Csi, spec.wants_csi(), spec.csi_vcenters(), csi_wish).unzip();
    let answers: PerDriver<Option<Answer>> = PerDriver { cpi, csi };
    let next: Vec<Prospect> = [cpi_next, csi_next].into_iter().flatten().flatten().collect();
    let gates = gates::publish(
        &view,
        &gates::Ground {
            kubernetes,
            matrix: matrix.as_ref().map(|it| it.reference.clone()).unwrap_or_default(),
            answers: &answers,
            nodes: &nodes,
            machines_known,
        },
    );
    let known_for = known_for(state, active);
    let lacking: Vec<String> = ctx.cluster.fetch_lacking().await.into_iter().collect();
    let conditions = sum::conditions(&sum::Scene {
        config: active,
        vcenters: &vcenters,
        answers: &answers,
        next: &next,
        stale: matrix.as_ref().ok().and_then(|chosen| chosen.stale.as_ref()),
        gates: &gates,
        nodes: &nodes,
        pulses: ctx.watched.pulses(),
        lacking: &lacking,
        known_for,
        now,
    });
    let stored = active.status.as_ref().and_then(|status| status.nodes.clone());
    let part = Part {
        observed_generation: active.metadata.generation,
        conditions,
        gates: Some(gates),
        nodes: nodes.present().map(|joined| joined.summary.clone()).or(stored),
    };
    ctx.metrics.show_config(active, &part);
    let later = report(ctx, &mut state.ahead, active, part, Some(&state.words)).await?;
    let patience = sum::PATIENCE.checked_sub(known_for).map(|left| left + A_MOMENT);
    Ok([later, patience, soon].into_iter().flatten().min())
}

/// Says what in a matrix does nothing, or not what its author may think.
fn log_notes(chosen: &matrix::Chosen) {
    let notes: Vec<String> = chosen.notes.iter().map(ToString::to_string).collect();
    if !notes.is_empty() {
        tracing::warn!(
            source = chosen.reference.source,
            digest = chosen.reference.digest,
            notes = notes.len(),
            "not everything in the matrix counts: {}; vdoctl matrix lint says more",
            vdo_api::condition::name_some(&notes)
        );
    }
}

fn known_for(state: &mut State, active: &VDOConfig) -> Duration {
    let (uid, generation) =
        (active.uid().unwrap_or_default(), active.metadata.generation.unwrap_or_default());
    match &state.generation {
        Some((seen, of, since)) if *seen == uid && *of == generation => monotonic().duration_since(*since),
        Some(_) | None => {
            state.generation = Some((uid, generation, monotonic()));
            Duration::ZERO
        }
    }
}

/// The nodes with their machines, and whether the machines are known, now or from before.
fn joined(
    ctx: &Context,
    state: &mut State,
    active: &VDOConfig,
    vcenters: &[(String, Reading<VsphereCloudConfig>)],
) -> (Reading<Joined>, bool) {
    let memory = &state.memory;
    let uids: Vec<Option<String>> = vcenters.iter().map(|(_, it)| it.present().map(uid)).collect();
    let read: Vec<Option<&[Vm]>> =
        uids.iter().map(|uid| uid.as_ref().and_then(|uid| memory.machines(uid))).collect();
    let complete = !read.is_empty() && read.iter().all(Option::is_some);
    let before = active.status.as_ref().and_then(|status| status.nodes.as_ref());
    let machines: Vec<&Vm> = read.into_iter().flatten().flatten().collect();
    let nodes = match ctx.watched.nodes() {
        Reading::Present(nodes) => nodes,
        Reading::Absent => return (Reading::Absent, complete),
        Reading::Unreadable(why) => return (Reading::Unreadable(why), complete),
    };
    if !complete {
        return (Reading::Present(join(&nodes, &machines, Inventory::Partial(before))), false);
    }
    let strangers = join(&nodes, &machines, Inventory::Complete).strangers;
    let now = monotonic();
    state.strangers.retain(|name, _| strangers.contains(name));
    for name in strangers {
        state.strangers.entry(name).or_insert(now);
    }
    // Who was seen without a machine before each vCenter was read once more has none there.
    let began = uids.iter().flatten().map(|uid| memory.read_began(uid)).min().flatten();
    let newer: BTreeSet<String> = state
        .strangers
        .iter()
        .filter(|(_, since)| began.is_none_or(|began| began <= **since))
        .map(|(name, _)| name.clone())
        .collect();
    // Before the first roll-out it has to be known whether CPI may delete nodes.
    let known = newer.is_empty();
    (Reading::Present(join(&nodes, &machines, Inventory::OlderThan(&newer))), known)
}

fn note_unmatched(
    memory: &mut Memory,
    vcenters: &[(String, Reading<VsphereCloudConfig>)],
    nodes: &Reading<Joined>,
) {
    let Some(joined) = nodes.present() else { return };
    for config in vcenters.iter().filter_map(|(_, it)| it.present()) {
        memory.of(&uid(config)).note_unmatched(joined.unmatched.clone());
    }
}

/// One status write, if there is anything new to say, and events for what changed. Gives when to write what had
/// to wait.
async fn report(
    ctx: &Context,
    ahead: &mut Ahead,
    config: &VDOConfig,
    mut part: Part,
    words: Option<&Words>,
) -> Result<Option<Duration>, PassError> {
    let stored = Part::stored(config);
    part.conditions = merge(&stored.conditions, part.conditions);
    let Some(news) = part.news(&stored) else { return Ok(None) };
    if let Some(wait) = words.and_then(|words| words.left(news, monotonic())) {
        return Ok(Some(wait));
    }
    let name = config.name_any();
    let after = match apply_status(&ctx.cluster, CORE_MANAGER, config, &part.value()).await {
        // It went away since it was seen, and nobody is left to be told. The watch says so, or a look does.
        Err(KubeFault::NotFound { .. }) => {
            ahead.doubt();
            return Ok(None);
        }
        answer => answer.map_err(PassError::report(format!("VDOConfig {name}")))?,
    };
    ahead.note(after.clone());
    if let Some(words) = words {
        words.note(news, monotonic());
    }
    announce_change(ctx, &after, &stored.conditions, &part.conditions).await;
    Ok(None)
}

/// An event and a log line when the verdict on an object changes.
async fn announce_change<K>(ctx: &Context, about: &K, before: &[Condition], after: &[Condition])
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&());
    for new in announce::news(before, after) {
        tracing::info!(%kind, name = about.name_any(), type_ = new.type_, status = %new.status, reason = new.reason, message = new.message, "decided");
        let weight = announce::weight(new);
        ctx.reporter.emit(&ctx.cluster, about, weight, &new.reason, "Verify", &new.message).await;
    }
}

/// Tells objects that cannot count why, some in each pass. Gives when to go on with the rest.
async fn tell_strays(ctx: &Context, state: &mut State) -> Result<Option<Duration>, PassError> {
    let (to_tell, rest) = ctx.watched.strays(|strays| {
        let to_tell = state.told.whom(&strays);
        let now: Vec<Stray> = to_tell.iter().copied().take(TOLD_AT_ONCE).cloned().collect();
        let rest = to_tell.len() - now.len();
        (now, rest)
    });
    for stray in &to_tell {
        match stray.kind {
            Kind::Vdo => tell::<VDOConfig>(ctx, &mut state.told, stray).await?,
            Kind::Vcenter => tell::<VsphereCloudConfig>(ctx, &mut state.told, stray).await?,
        }
    }
    Ok((rest > 0).then_some(Duration::ZERO))
}

/// Tells one object that it cannot count, and why.
async fn tell<K>(ctx: &Context, told: &mut Told, stray: &Stray) -> Result<(), PassError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Serialize,
{
    let seen: PartialObjectMeta<K> = stray.metadata.clone().into_response_partial();
    let (kind, name) = (K::kind(&()), seen.name_any());
    let namespace = stray.metadata.namespace.as_deref().unwrap_or_default();
    match apply_status(&ctx.cluster, CORE_MANAGER, &seen, &stray.status(wall())).await {
        Ok(_) => {
            tracing::info!(%kind, namespace, name, reason = stray.reason.name, message = stray.message, "does not count");
        }
        // It changed or went away since it was seen: the watch shows that, and wakes us.
        Err(KubeFault::Conflict { .. } | KubeFault::Gone | KubeFault::NotFound { .. }) => return Ok(()),
        // The API server may refuse every write to an object whose spec it would not accept today. Trying again is
        // pointless until the object changes; an event can still be written.
        Err(fault @ (KubeFault::Invalid { .. } | KubeFault::Other { .. } | KubeFault::Malformed { .. })) => {
            tracing::warn!(%kind, namespace, name, reason = stray.reason.name, message = stray.message, %fault, "does not count, and cannot be told");
        }
        Err(
            fault @ (KubeFault::Timeout(_)
            | KubeFault::Unavailable { .. }
            | KubeFault::Unauthorized { .. }
            | KubeFault::Forbidden { .. }
            | KubeFault::TooMany { .. }),
        ) => return Err(PassError::report(format!("{kind} {namespace}/{name}"))(fault)),
    }
    told.note(stray);
    // An event lives beside its object, and we write none outside of our namespace.
    if namespace == ctx.args.shared.namespace {
        ctx.reporter
            .emit(&ctx.cluster, &seen, Weight::Warning, stray.reason.name, "Verify", &stray.message)
            .await;
    }
    Ok(())
}
