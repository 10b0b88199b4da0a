//! The pass that both driver operators share: observe, plan, execute, report.
//!
//! Most passes find nothing to do: a node's heartbeat or a pod's probe woke them. Those are decided on what the
//! watches show and ask the API server nothing. Doing nothing is all that a view without a live read may lead to:
//! when there is anything to write or to say, the VDOConfig and the journal are read live and it is decided again.

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;
use vdo_api::{Truth, VDOConfig};
use vdo_compat::Driver;
use vdo_plan::ObjectRef;
use vdo_plan::driver::{Plan, Rendered, Scene, StatusPart, is_leaving};
use vdo_plan::foreign::Traces;
use vdo_plan::order::Look;
use vdo_plan::{Reading, Revision};

use crate::clock::{Monotonic, monotonic, wall};
use crate::configs::Configs;
use crate::deeds::{self, Deeds, Hands};
use crate::events::{Reporter, Weight};
use crate::journal::{JournalStore, Stored};
use crate::operator::Operator;
use crate::own::{OwnObjects, Owner};
use crate::run::{LONGEST, PassError, Revisit, Standing};
use crate::settings::Settings;
use crate::status::apply_status;
use crate::traces::{Lookout, Need, any_labelled};
use crate::{Cluster, KubeFault};

/// How soon a pass looks again while a roll-out or a removal is under way and nothing wakes it.
const WATCHFUL: Duration = Duration::from_secs(30);
/// How soon a pass looks again for a watch that lags behind our own write.
const CATCHING_UP: Duration = Duration::from_secs(2);

/// What the operator of one driver knows that the other does not.
#[allow(async_fn_in_trait, reason = "everything runs on one thread")]
pub trait DriverOperator {
    /// Everything that one pass decides on.
    type Observed: AsRef<Scene> + AsMut<Scene>;

    /// Which driver.
    const DRIVER: Driver;
    /// Who makes its objects.
    const OWNER: Owner;
    /// Its finalizer on the VDOConfig.
    const FINALIZER: &'static str;

    /// Its objects.
    fn own(&self) -> &OwnObjects;
    /// Whether an image is one of this driver, whoever built it.
    fn is_image(image: &str) -> bool;
    /// Adds what only this driver needs, also to the scene. `None` while something was not listed yet.
    async fn observe(&self, cluster: &Cluster, scene: Scene) -> Option<Self::Observed>;
    /// What the wanted and the fallback release render to.
    fn render(observed: &Self::Observed) -> Rendered;
    /// Decides.
    fn plan(observed: &Self::Observed) -> Plan;
    /// The whole part of this operator in the status of the VDOConfig.
    fn status(observed: &Self::Observed, part: &StatusPart) -> Value;

    /// Adds what only this driver leaves behind where it is installed by somebody else.
    fn add_traces(_observed: &Self::Observed, _traces: &mut Traces) {}
    /// What has to be written before any deed of the plan.
    async fn prepare(
        &self,
        _cluster: &Cluster,
        _observed: &Self::Observed,
        _plan: &Plan,
    ) -> Result<(), PassError> {
        Ok(())
    }
    /// Whether, looked at live, nothing needs the driver any more.
    async fn may_go(&self, _cluster: &Cluster) -> Result<bool, KubeFault> {
        Ok(true)
    }
}

/// One driver operator at work.
pub struct DriverPass<D> {
    driver: D,
    cluster: Cluster,
    configs: Configs,
    store: JournalStore,
    lookout: Lookout,
    reporter: Reporter,
    /// Seconds after which a roll-out is given up.
    deadline_seconds: i64,
    last_live: Cell<Option<Monotonic>>,
}

/// What one pass decides on, and the journal's version that its writes carry.
struct Snapshot<O> {
    observed: O,
    journal: Stored,
}

impl<D: DriverOperator> DriverPass<D> {
    /// Begins to watch what both drivers need; `driver` watches the rest.
    pub fn new(operator: &Operator, settings: &Settings, deadline_seconds: i64, driver: D) -> Self {
        let Operator { cluster, watches, reporter, .. } = operator;
        DriverPass {
            driver,
            configs: Configs::watch(cluster, watches, &settings.namespace),
            store: JournalStore::new(cluster, &settings.namespace, D::OWNER.driver, D::OWNER.manager),
            lookout: Lookout::new(D::OWNER.driver, D::is_image),
            reporter: reporter.clone(),
            cluster: cluster.clone(),
            deadline_seconds,
            last_live: Cell::new(None),
        }
    }

    /// One pass.
    pub async fn pass(&self, standing: Standing) -> Result<Revisit, PassError> {
        if let Some(object) = self.driver.own().lagging() {
            tracing::debug!(%object, "waits for the watch to show our own write");
            return Ok(Revisit::within(CATCHING_UP));
        }
        if let Some(revisit) = self.glance(standing).await {
            return Ok(revisit);
        }
        self.act(standing).await
    }

    /// Decides on what the watches show. `None` if that is not enough, or leads to anything but doing nothing.
    async fn glance(&self, standing: Standing) -> Option<Revisit> {
        // A change that no watch showed is found by a live read now and then.
        let live = self.last_live.get()?;
        if monotonic().saturating_duration_since(live) >= LONGEST {
            return None;
        }
        let config = match self.configs.seen() {
            Reading::Present(config) => config,
            Reading::Absent => return Some(Revisit::at_leisure()),
            Reading::Unreadable(_) => return None,
        };
        // What decides on a removal is looked at live.
        if is_leaving(&config, D::DRIVER) {
            return None;
        }
        let snapshot = self.snapshot(standing, config, self.store.last()?, Need::Word).await?;
        let plan = D::plan(&snapshot.observed);
        let news = plan.decision.step.reports() && is_news::<D>(&snapshot.observed, &plan, true);
        (plan.deeds.is_empty() && !news).then(|| revisit(&plan, true))
    }

    /// Reads live, decides, writes and reports.
    async fn act(&self, standing: Standing) -> Result<Revisit, PassError> {
        let began = monotonic();
        let config = self.configs.fetch(&self.cluster).await.map_err(PassError::observe("the VDOConfigs"))?;
        let Some(config) = config else {
            self.last_live.set(Some(began));
            return Ok(Revisit::at_leisure());
        };
        let journal = self.store.fetch().await.map_err(|error| PassError::Observe {
            object: "the journal".to_owned(),
            source: error.into_fault(),
        })?;
        self.last_live.set(Some(began));
        let Some(snapshot) = self.snapshot(standing, config, journal, Need::Certainty).await else {
            return Ok(Revisit::at_leisure());
        };
        let Snapshot { observed, journal } = snapshot;
        let plan = D::plan(&observed);
        self.driver.prepare(&self.cluster, &observed, &plan).await?;
        let hands = Hands {
            cluster: &self.cluster,
            manager: D::OWNER.manager,
            finalizer: D::FINALIZER,
            store: &self.store,
        };
        let look_again = async || {
            Ok(self.driver.may_go(&self.cluster).await?
                && !any_labelled(&self.cluster, D::OWNER.namespace, D::OWNER.driver).await?)
        };
        let config = observed.as_ref().config.clone();
        let outcome = deeds::make(&hands, config, journal, &plan.deeds, look_again).await;
        self.driver.own().note(&outcome.objects);
        self.configs.note(outcome.config.as_ref());
        self.report(&observed, &plan, &outcome).await?;
        Ok(revisit(&plan, outcome.complete()))
    }

    /// Completes what was read. `None` while something was not listed yet.
    async fn snapshot(
        &self,
        standing: Standing,
        config: VDOConfig,
        journal: Stored,
        need: Need,
    ) -> Option<Snapshot<D::Observed>> {
        let scene = Scene {
            driver: D::DRIVER,
            now: wall(),
            holder: self.reporter.pod.clone(),
            deadline_seconds: self.deadline_seconds,
            journal: journal.journal.clone(),
            rows: self.driver.own().reading(),
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: None,
            quarantined: standing.is_quarantined(),
            config,
        };
        let mut observed = self.driver.observe(&self.cluster, scene).await?;
        // Before the first write: who else is here, and are the names free?
        if observed.as_ref().is_first() {
            let wanted = D::render(&observed).wanted;
            let mut traces = self.lookout.look(&self.cluster, references(wanted.as_ref()), need).await;
            D::add_traces(&observed, &mut traces);
            observed.as_mut().traces = Some(traces);
        }
        Some(Snapshot { observed, journal })
    }

    /// One status write, if there is anything new to say, and an event if the verdict changed.
    async fn report(&self, observed: &D::Observed, plan: &Plan, outcome: &Deeds) -> Result<(), PassError> {
        let Some(config) = outcome.config.as_ref().filter(|_| plan.decision.step.reports()) else {
            return Ok(());
        };
        if !is_news::<D>(observed, plan, outcome.complete()) {
            return Ok(());
        }
        let scene = observed.as_ref();
        let part = plan.status(scene, outcome.complete());
        let written = apply_status(&self.cluster, D::OWNER.manager, config, &D::status(observed, &part))
            .await
            .map_err(PassError::report("the VDOConfig"))?;
        self.configs.note(Some(&written));
        let before = scene.config.status.as_ref();
        let before = before.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
        if before.is_none_or(|old| old.status != part.ready.status || old.reason != part.ready.reason) {
            let weight = if part.ready.status == Truth::True { Weight::Normal } else { Weight::Warning };
            self.reporter
                .emit(&self.cluster, &written, weight, part.reason, "Reconcile", &part.ready.message)
                .await;
            let name = D::DRIVER.name();
            tracing::info!(reason = part.ready.reason, message = part.ready.message, "{name}");
        }
        Ok(())
    }
}

/// Whether our part differs from what is stored.
fn is_news<D: DriverOperator>(observed: &D::Observed, plan: &Plan, done: bool) -> bool {
    let scene = observed.as_ref();
    let part = plan.status(scene, done);
    let stored = scene.config.status.as_ref();
    let ready = stored.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
    if ready != Some(&part.ready) {
        return true;
    }
    let stored = serde_json::to_value(stored).unwrap_or_default();
    let new = D::status(observed, &part);
    new.get(D::OWNER.driver) != stored.get(D::OWNER.driver)
}

/// The objects that a roll-out would write.
fn references(revision: Option<&Revision>) -> Vec<ObjectRef> {
    let objects = revision.into_iter().flat_map(Revision::objects);
    objects.map(|object| object.reference().clone()).collect()
}

fn revisit(plan: &Plan, complete: bool) -> Revisit {
    match complete {
        false => Revisit::within(CATCHING_UP),
        true if plan.waits() => Revisit::within(WATCHFUL),
        true => Revisit::at_leisure(),
    }
}
