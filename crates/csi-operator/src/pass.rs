//! The five steps of a pass, and the loop around them.

use std::time::Duration;

use vdo_api::names::{CLUSTER_ID_CONFIG_MAP, CSI, CSI_DRIVER_NAME, CSI_FINALIZER, CSI_MANAGER};
use vdo_api::{Truth, VDOConfig};
use vdo_plan::driver::{Plan, StatusPart};
use vdo_runtime::apply::create_immutable;
use vdo_runtime::deeds::{self, Deeds, Hands};
use vdo_runtime::events::{Reporter, Weight};
use vdo_runtime::journal::JournalStore;
use vdo_runtime::lease::LeaseKeeper;
use vdo_runtime::run::Ending;
use vdo_runtime::serve::{Health, serve};
use vdo_runtime::status::apply_status;
use vdo_runtime::telemetry::{Metrics, start_logging};
use vdo_runtime::{Cluster, PassError, Revisit, Standing, Wake, Watches, run, traces, volumes};

use crate::args::Args;
use crate::observe::{CLUSTER_ID_KEY, OWNER, Observed, Watched, observe};
use crate::{plan, status};

/// How soon a pass looks again while a roll-out or a removal is under way and nothing wakes it.
const WATCHFUL: Duration = Duration::from_secs(30);
/// How soon a pass looks again for a watch that lags behind our own write.
const CATCHING_UP: Duration = Duration::from_secs(2);

struct Context {
    cluster: Cluster,
    args: Args,
    watched: Watched,
    store: JournalStore,
    reporter: Reporter,
}

/// Runs until told to stop.
pub async fn operate(args: Args) -> Result<Ending, String> {
    start_logging(args.shared.log_format, &args.shared.log)?;
    let version = env!("CARGO_PKG_VERSION");
    let cluster = Cluster::connect(CSI_MANAGER, version).await.map_err(|fault| fault.to_string())?;
    let wake = Wake::new();
    let watches = Watches::new(&wake);
    let metrics = Metrics::new(CSI_MANAGER, version).map_err(|error| error.to_string())?;
    let health = Health::new(&cluster, watches.pulses(), metrics);
    serve(args.shared.listen, health.clone())
        .await
        .map_err(|error| format!("{}: {error}", args.shared.listen))?;
    let context = Context {
        watched: Watched::new(&cluster, &watches, &args),
        store: JournalStore::new(&cluster, &args.shared.namespace, CSI, CSI_MANAGER),
        reporter: Reporter { operator: CSI_MANAGER.to_owned(), pod: args.shared.pod_name.clone() },
        cluster: cluster.clone(),
        args: args.clone(),
    };
    let lease = LeaseKeeper::start(&cluster, args.shared.lease(CSI_MANAGER));
    Ok(run(&cluster, lease, &wake, &health, async |standing| pass(&context, standing).await, async || {})
        .await)
}

async fn pass(ctx: &Context, standing: Standing) -> Result<Revisit, PassError> {
    let Some(snapshot) = observe(&ctx.cluster, &ctx.watched, &ctx.store, &ctx.args, standing).await? else {
        let lags = ctx.watched.own.lagging().is_some();
        return Ok(if lags { Revisit::within(CATCHING_UP) } else { Revisit::at_leisure() });
    };
    let observed = snapshot.observed;
    let plan = plan::plan(&observed);
    record_cluster_id(ctx, plan::cluster_id_to_record(&observed, &plan)).await?;
    let hands =
        Hands { cluster: &ctx.cluster, manager: CSI_MANAGER, finalizer: CSI_FINALIZER, store: &ctx.store };
    let config = observed.scene.config.clone();
    // Nothing of ours, and no volume either: one may have been made while the controller was going away.
    let look_again = async || {
        let volumes = volumes::needing(&ctx.cluster, CSI_DRIVER_NAME).await;
        Ok(volumes.present().is_some_and(Vec::is_empty)
            && !traces::any_labelled(&ctx.cluster, OWNER.namespace, OWNER.driver).await?)
    };
    let outcome = deeds::make(&hands, config, snapshot.journal, &plan.deeds, look_again).await;
    ctx.watched.own.note(&outcome.objects);
    report(ctx, &observed, &plan, &outcome).await?;
    Ok(revisit(&plan, &outcome))
}

/// Records the cluster id before anything is written that carries it: an id that changed would orphan every volume.
async fn record_cluster_id(ctx: &Context, id: Option<String>) -> Result<(), PassError> {
    let Some(id) = id else { return Ok(()) };
    let data = [(CLUSTER_ID_KEY.to_owned(), id)].into();
    create_immutable(&ctx.cluster, CSI_MANAGER, &ctx.args.shared.namespace, CLUSTER_ID_CONFIG_MAP, data)
        .await
        .map_err(PassError::report("the record of the cluster id"))
}

/// One status write, if there is anything new to say, and an event if the verdict changed.
async fn report(ctx: &Context, observed: &Observed, plan: &Plan, outcome: &Deeds) -> Result<(), PassError> {
    let Some(config) = outcome.config.as_ref().filter(|_| plan.decision.step.reports()) else {
        return Ok(());
    };
    let part = plan.status(&observed.scene, outcome.complete());
    let recorded = observed.cluster_id.recorded.present().map(String::as_str);
    if !is_news(&observed.scene.config, &part, recorded) {
        return Ok(());
    }
    let written = apply_status(&ctx.cluster, CSI_MANAGER, config, &status::part(&part, recorded))
        .await
        .map_err(PassError::report("the VDOConfig"))?;
    let before = observed.scene.config.status.as_ref();
    let before = before.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
    if before.is_none_or(|old| old.status != part.ready.status || old.reason != part.ready.reason) {
        let weight = if part.ready.status == Truth::True { Weight::Normal } else { Weight::Warning };
        ctx.reporter
            .emit(&ctx.cluster, &written, weight, part.reason, "Reconcile", &part.ready.message)
            .await;
        tracing::info!(reason = part.ready.reason, message = part.ready.message, "CSI");
    }
    Ok(())
}

/// Whether the part differs from what is stored.
fn is_news(config: &VDOConfig, part: &StatusPart, cluster_id: Option<&str>) -> bool {
    let status = config.status.as_ref();
    let csi = status.and_then(|s| s.csi.as_ref());
    let record = csi.map(|csi| &csi.record);
    let ready = status.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
    record != Some(&part.record)
        || ready != Some(&part.ready)
        || csi.and_then(|csi| csi.cluster_id.as_deref()) != cluster_id
}

fn revisit(plan: &Plan, outcome: &Deeds) -> Revisit {
    if !outcome.complete() {
        return Revisit::within(CATCHING_UP);
    }
    if plan.waits() { Revisit::within(WATCHFUL) } else { Revisit::at_leisure() }
}
