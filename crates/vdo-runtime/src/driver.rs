//! The pass that both driver operators share: observe, plan, execute, report.
//!
//! Most passes find nothing to do: a node's heartbeat or a pod's probe woke them. Those are decided on what the
//! watches show and ask the API server nothing. Doing nothing, or saying something, is all that a view without a live read
//! may lead to: when there is anything else to write, the VDOConfig and the journal are read live and it is decided again.

pub mod bearers;
mod drift;
pub mod metrics;
mod report;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;
use vdo_api::VDOConfig;
use vdo_api::condition::name_some;
use vdo_api::names::LOG_ANNOTATION;
use vdo_compat::Driver;
use vdo_plan::ObjectRef;
use vdo_plan::drift::{Fights, changes};
use vdo_plan::driver::{GRACE, Plan, Rendered, Repair, Restarts, Scene, StatusPart, reasons, view};
use vdo_plan::foreign::Traces;
use vdo_plan::order::Look;
use vdo_plan::revision::Key;
use vdo_plan::{Reading, Revision};

use crate::apply::fetch;
use crate::clock::{Monotonic, monotonic, wall};
use crate::configs::Configs;
use crate::deeds::{self, Deeds, Hands};
use crate::driver::drift::Drift;
use crate::driver::metrics::DriverMetrics;
use crate::driver::report::{Announcement, Say};
use crate::events::{Reporter, Weight};
use crate::journal::{JournalStore, Stored};
use crate::logs::LogLevel;
use crate::operator::Operator;
use crate::own::{OwnObjects, Owner};
use crate::run::{LONGEST, PassError, Revisit, Standing};
use crate::settings::Settings;
use crate::traces::{Lookout, Need, any_labelled};
use crate::words::{Rhythm, Words};
use crate::{Cluster, KubeFault, ending};

/// How soon a pass looks again while a roll-out or a removal is under way, or held, and nothing wakes it.
pub const WATCHFUL: Duration = Duration::from_secs(30);
/// How soon a pass looks again for a watch that lags behind our own write.
const CATCHING_UP: Duration = Duration::from_secs(2);

/// For how long after an edit of the VDOConfig the other operators are waited for, before the new configuration goes to
/// the release that is there instead of the one that is wanted.
const TO_ANSWER: Duration = Duration::from_secs(10);

/// For how long after an edit of the VDOConfig a driver of which nothing is there does not say what it waits for: the
/// neighbour's first writes would be refused for it.
const NEIGHBOUR_FIRST: Duration = Duration::from_secs(1);

/// How often it is told how far a driver is, and how many of its pods work.
const RHYTHM: Rhythm =
    Rhythm { pause: Duration::from_secs(2), patience: 0, longest: Duration::from_secs(60) };

/// A little more than the clocks may differ by.
const A_MOMENT: Duration = Duration::from_millis(500);

/// How many steps one pass takes at most: a claim, what follows it, and one of them again.
const STEPS: u32 = 3;

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

    /// When to look again, if nothing wakes us: a Lease of the driver that nobody renews wakes nobody, for example.
    fn due(&self, observed: &Self::Observed) -> Option<Duration>;

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
    metrics: DriverMetrics,
    log: LogLevel,
    namespace: String,
    patience: Patience,
    began: Monotonic,
    last_live: Cell<Option<Monotonic>>,
    /// The attempt that works in every part, and since when.
    works: RefCell<Option<(Key, Monotonic)>>,
    /// Since when a repair is under way.
    mends: Cell<Option<Monotonic>>,
    fights: RefCell<Fights>,
    /// The accounts that were made anew, and of whose pods was told.
    renewed: RefCell<BTreeSet<(&'static str, Timestamp)>>,
    /// The VDOConfig and the generation of it that were seen last, and since when.
    edited: RefCell<Option<(Edition, Monotonic)>>,
    words: Words,
    /// What was said in this pass and is still to be told of in an event.
    announcements: RefCell<Vec<Announcement>>,
}

/// How long a roll-out is waited for.
#[derive(Args, Clone, Copy, Debug)]
pub struct Patience {
    /// Seconds after which a roll-out that does not get healthy is rolled back.
    #[arg(long, env = "VDO_ROLLOUT_DEADLINE_SECONDS", default_value_t = 600)]
    pub rollout_deadline_seconds: i64,
    /// Seconds for which a roll-out over something that works has to work before it counts as installed. A first install
    /// counts at once.
    #[arg(long, env = "VDO_ROLLOUT_SOAK_SECONDS", default_value_t = 90)]
    pub rollout_soak_seconds: u64,
}

impl Patience {
    fn soak(&self) -> Duration {
        Duration::from_secs(self.rollout_soak_seconds)
    }

    /// The deadline, but never so short that nothing could ever soak: a third of that time is left to start.
    fn deadline_seconds(&self) -> i64 {
        let soak = i64::try_from(self.rollout_soak_seconds).unwrap_or(i64::MAX);
        self.rollout_deadline_seconds.max(soak.saturating_add(soak / 3))
    }
}

/// What one pass decides on, and the journal's version that its writes carry.
struct Snapshot<O> {
    observed: O,
    journal: Stored,
}

/// Which VDOConfig, by its UID, and which generation of it.
type Edition = (Option<String>, Option<i64>);

/// What a look at the watches leads to.
enum Glance {
    /// Nothing, or words.
    Enough(Result<Revisit, PassError>),
    /// A live read. Before the first write of all, these are the objects whose names have to be free.
    Act(Vec<ObjectRef>),
}

/// What follows a step.
enum Next {
    /// Nothing before this time, unless something wakes us.
    Rest(Revisit),
    /// The next step, on what our own writes left.
    GoOn(Box<VDOConfig>, Stored),
    /// The same step, on what is stored by now.
    Overtaken(KubeFault),
}

impl<D: DriverOperator> DriverPass<D> {
    /// Begins to watch what both drivers need; `driver` watches the rest.
    pub fn new(operator: &Operator, settings: &Settings, patience: Patience, driver: D) -> Self {
        let Operator { cluster, watches, reporter, metrics, log, .. } = operator;
        DriverPass {
            driver,
            configs: Configs::watch(cluster, watches, &settings.namespace),
            store: JournalStore::new(cluster, &settings.namespace, D::OWNER.driver, D::OWNER.manager),
            lookout: Lookout::new(D::OWNER.driver, D::is_image),
            reporter: reporter.clone(),
            cluster: cluster.clone(),
            metrics: DriverMetrics::new(metrics, D::OWNER.driver)
                .expect("the names of our metrics are constants"),
            log: log.clone(),
            namespace: settings.namespace.clone(),
            patience,
            began: monotonic(),
            last_live: Cell::new(None),
            works: RefCell::default(),
            mends: Cell::new(None),
            fights: RefCell::default(),
            renewed: RefCell::default(),
            edited: RefCell::default(),
            words: Words::new(RHYTHM),
            announcements: RefCell::default(),
        }
    }

    /// One pass.
    pub async fn pass(&self, standing: Standing) -> Result<Revisit, PassError> {
        if let Some(object) = self.driver.own().lagging() {
            tracing::debug!(%object, "waits for the watch to show our own write");
            return Ok(Revisit::within(CATCHING_UP));
        }
        let outcome = match self.glance(standing).await {
            Glance::Enough(outcome) => outcome,
            Glance::Act(names) => self.act(standing, names).await,
        };
        // Last: no object waits for an event.
        self.announce().await;
        outcome
    }

    /// Decides on what the watches show.
    async fn glance(&self, standing: Standing) -> Glance {
        let live = || Glance::Act(Vec::new());
        // A change that no watch showed is found by a live read now and then.
        let Some(last) = self.last_live.get() else { return live() };
        if monotonic().saturating_duration_since(last) >= LONGEST {
            return live();
        }
        let config = match self.configs.seen() {
            Reading::Present(config) => config,
            Reading::Absent => {
                self.metrics.hide();
                self.log.follow(None);
                return Glance::Enough(Ok(Revisit::at_leisure()));
            }
            Reading::Unreadable(_) => return live(),
        };
        // What decides on a removal is looked at live.
        if view(&config, wall()).leaving(D::DRIVER) {
            return live();
        }
        let Some(journal) = self.store.last() else { return live() };
        let Some(Snapshot { mut observed, journal }) = self.snapshot(standing, config, journal).await else {
            return live();
        };
        let mut names = Vec::new();
        if observed.as_ref().is_first() {
            names = Self::names(&observed);
            if let Some(traces) = self.lookout.recall(&names) {
                Self::note_traces(&mut observed, traces);
            }
        }
        let mut plan = D::plan(&observed);
        if observed.as_ref().is_first() && observed.as_ref().traces.is_none() && plan.deeds.is_empty() {
            self.look_around(&mut observed, Need::Word).await;
            plan = D::plan(&observed);
        }
        self.note_health(&plan);
        if !plan.deeds.is_empty() || !plan.restarts.now.is_empty() {
            return Glance::Act(names);
        }
        let part = plan.status(observed.as_ref(), true);
        let mut revisit = self.revisit(&observed, &plan, true);
        match self.to_say(&observed, &plan, &part, true) {
            Say::Nothing => {}
            Say::Later(left) => revisit = revisit.or_sooner(left),
            Say::Now(_) if !plan.leaves_record(observed.as_ref()) => return live(),
            // Words need no live read: they are written over the version that they were decided on.
            Say::Now(news) => match self.say(&observed, &part, news, &observed.as_ref().config).await {
                Ok(_) => {}
                // The watch lags behind: a live read knows better.
                Err(error) if matches!(error.fault(), KubeFault::Conflict { .. }) => return live(),
                Err(error) => return Glance::Enough(Err(error)),
            },
        }
        self.show(&observed, &plan, &journal, &part);
        Glance::Enough(Ok(revisit))
    }

    /// Reads live, decides, writes and reports. What the API server answered to our claim is as good as a live read, and
    /// nothing else has to be waited for; nor has anything if somebody changed the VDOConfig meanwhile, as a neighbour's
    /// status does.
    ///
    /// These names are looked up meanwhile: the first write needs them free.
    async fn act(&self, standing: Standing, names: Vec<ObjectRef>) -> Result<Revisit, PassError> {
        let look = async {
            if !names.is_empty() {
                self.lookout.look(&self.cluster, names, Need::Certainty).await;
            }
        };
        let (read, ()) = tokio::join!(self.read_live(), look);
        let Some((mut config, mut journal)) = read? else {
            return Ok(Revisit::at_leisure());
        };
        let mut left = STEPS;
        loop {
            left -= 1;
            (config, journal) = match self.step(standing, config, journal).await? {
                Next::Rest(revisit) => return Ok(revisit),
                Next::GoOn(..) if left == 0 => return Ok(Revisit::within(Duration::ZERO)),
                Next::Overtaken(fault) if left == 0 => return Err(PassError::report("the VDOConfig")(fault)),
                Next::GoOn(config, journal) => (*config, journal),
                Next::Overtaken(_) => match self.read_live().await? {
                    Some(read) => read,
                    None => return Ok(Revisit::at_leisure()),
                },
            };
        }
    }

    /// The VDOConfig and the journal. `None` if there is no VDOConfig.
    async fn read_live(&self) -> Result<Option<(VDOConfig, Stored)>, PassError> {
        let began = monotonic();
        let config = self.configs.fetch(&self.cluster).await.map_err(PassError::observe("the VDOConfigs"))?;
        let Some(config) = config else {
            self.last_live.set(Some(began));
            self.metrics.hide();
            self.log.follow(None);
            // So that the first VDOConfig is decided on without a wait; what cannot be read is said then.
            let _ = tokio::join!(self.store.fetch(), self.cluster.fetch_lacking());
            return Ok(None);
        };
        let journal = self.store.fetch().await.map_err(|error| PassError::Observe {
            object: "the journal".to_owned(),
            source: error.into_fault(),
        })?;
        self.last_live.set(Some(began));
        Ok(Some((config, journal)))
    }

    /// Decides on what was just read, writes and reports.
    async fn step(&self, standing: Standing, config: VDOConfig, journal: Stored) -> Result<Next, PassError> {
        let Some(snapshot) = self.snapshot(standing, config, journal).await else {
            return Ok(Next::Rest(Revisit::at_leisure()));
        };
        let Snapshot { mut observed, journal } = snapshot;
        let mut plan = D::plan(&observed);
        if observed.as_ref().is_first() {
            let need = if plan.deeds.is_empty() { Need::Word } else { Need::Certainty };
            self.look_around(&mut observed, need).await;
            plan = D::plan(&observed);
        }
        self.note_health(&plan);
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
        let drift = self.look_at_drift(&plan).await;
        let outcome = deeds::make(&hands, config, journal, &plan.deeds, look_again).await;
        self.driver.own().note(&outcome.objects);
        self.configs.note(outcome.config.as_ref());
        self.tell_of_drift(&observed.as_ref().config, drift, &outcome).await;
        if let Some(fault) = outcome.overtaken {
            return Ok(Next::Overtaken(fault));
        }
        if outcome.complete() {
            self.restart(&observed.as_ref().config, &plan.restarts).await;
        }
        let mut revisit = self.revisit(&observed, &plan, outcome.complete());
        let (Some(config), Some(journal)) = (&outcome.config, self.store.last()) else {
            self.metrics.hide();
            return Ok(Next::Rest(revisit));
        };
        let part = plan.status(observed.as_ref(), outcome.complete());
        let said = match self.to_say(&observed, &plan, &part, outcome.complete()) {
            Say::Nothing => None,
            Say::Later(left) => {
                revisit = revisit.or_sooner(left);
                None
            }
            Say::Now(news) => Some(self.say(&observed, &part, news, config).await?),
        };
        self.show(&observed, &plan, &journal, &part);
        Ok(match said.filter(|_| outcome.complete() && plan.goes_on()) {
            Some(config) => Next::GoOn(Box::new(config), journal),
            None => Next::Rest(revisit),
        })
    }

    fn show(&self, observed: &D::Observed, plan: &Plan, journal: &Stored, part: &StatusPart) {
        self.metrics.show(&observed.as_ref().config.name_any(), plan, journal, part);
    }

    /// What stands in the place of the objects that are about to be put back.
    async fn look_at_drift(&self, plan: &Plan) -> Vec<(ObjectRef, Drift)> {
        let mut found = Vec::new();
        for object in plan.repairs() {
            let drift = match fetch(&self.cluster, object.reference()).await {
                Ok(Some(live)) => {
                    let fields = live.pointer("/metadata/managedFields").cloned().unwrap_or_default();
                    let fields: Vec<ManagedFieldsEntry> = serde_json::from_value(fields).unwrap_or_default();
                    Drift::Changed(changes(object, &live, &fields, D::OWNER.manager))
                }
                Ok(None) => Drift::Gone,
                // It is put back all the same.
                Err(_) => Drift::Unread,
            };
            found.push((object.reference().clone(), drift));
        }
        found
    }

    /// One event for each object that was put back: what was found, what was put back, and who had changed it.
    async fn tell_of_drift(&self, config: &VDOConfig, drift: Vec<(ObjectRef, Drift)>, outcome: &Deeds) {
        for (object, drift) in drift {
            if !outcome.objects.applied.contains_key(&object) {
                continue;
            }
            self.metrics.drift_repairs.with_label_values(&[&object.kind]).inc();
            let with = drift.changes().iter().find_map(|change| change.manager.clone());
            let with = with.unwrap_or_else(|| "somebody".to_owned());
            self.fights.borrow_mut().note(&object, &with, monotonic().duration_since(self.began));
            let note = drift.described(&object);
            tracing::info!(%object, "{note}");
            self.reporter
                .emit(&self.cluster, config, Weight::Warning, reasons::DRIFT_REPAIRED.name, "Repair", &note)
                .await;
        }
    }

    /// Deletes pods whose tokens are of an account that is gone; their controllers make new ones. One event for each
    /// account.
    async fn restart(&self, config: &VDOConfig, restarts: &Restarts) {
        let mut done = Vec::new();
        for pod in &restarts.now {
            match bearers::delete(&self.cluster, D::OWNER.namespace, pod).await {
                Ok(()) => done.push(pod.name.to_string()),
                Err(fault) => tracing::warn!(pod = %pod.name, %fault, "a pod could not be restarted"),
            }
        }
        let Some((account, made)) = restarts.account.filter(|_| !done.is_empty()) else { return };
        let note = format!(
            "ServiceAccount {}/{account} was made anew, and the API server refuses the tokens of {} pods, which are of \
             the one before: they are restarted ({})",
            D::OWNER.namespace,
            restarts.stale,
            name_some(&done)
        );
        tracing::info!("{note}");
        if self.renewed.borrow_mut().insert((account, made)) {
            self.reporter
                .emit(&self.cluster, config, Weight::Warning, reasons::DRIFT_REPAIRED.name, "Restart", &note)
                .await;
        }
    }

    /// Remembers since when the attempt works, and since when a repair is under way.
    fn note_health(&self, plan: &Plan) {
        self.mends.set(plan.mends.then(|| self.mends.get().unwrap_or_else(monotonic)));
        let mut works = self.works.borrow_mut();
        let since = works.take().filter(|(key, _)| plan.works.as_ref() == Some(key)).map(|(_, since)| since);
        *works = plan.works.clone().map(|key| (key, since.unwrap_or_else(monotonic)));
    }

    /// Remembers when the VDOConfig was edited. Whoever edits it wants to hear how things are now.
    fn note_edit(&self, config: &VDOConfig) {
        let edition = (config.uid(), config.metadata.generation);
        let mut edited = self.edited.borrow_mut();
        if edited.as_ref().is_none_or(|(seen, _)| *seen != edition) {
            *edited = Some((edition, monotonic()));
            self.lookout.forget();
        }
    }

    /// How much is left of a time that begins with the last edit of the VDOConfig.
    fn left_of(&self, time: Duration) -> Option<Duration> {
        let since = self.edited.borrow().as_ref().map(|(_, since)| *since)?;
        time.checked_sub(monotonic().saturating_duration_since(since)).filter(|left| !left.is_zero())
    }

    fn works_for(&self) -> Option<Duration> {
        self.works.borrow().as_ref().map(|(_, since)| monotonic().saturating_duration_since(*since))
    }

    /// How the repair stands, and how much longer it is waited for.
    fn repair(&self) -> (Repair, Option<Duration>) {
        let Some(since) = self.mends.get() else { return (Repair::Idle, None) };
        let left = GRACE.checked_sub(monotonic().saturating_duration_since(since));
        let left = left.filter(|left| !left.is_zero());
        (if left.is_some() { Repair::Fresh } else { Repair::Late }, left)
    }

    /// When to look again, if nothing wakes us.
    fn revisit(&self, observed: &D::Observed, plan: &Plan, complete: bool) -> Revisit {
        let scene = observed.as_ref();
        let mut revisit = match complete {
            false => Revisit::within(CATCHING_UP),
            true if plan.waits() => Revisit::within(WATCHFUL),
            true => Revisit::at_leisure(),
        };
        if let Some(left) = self.works_for().and_then(|time| self.patience.soak().checked_sub(time)) {
            revisit = revisit.or_sooner(left + A_MOMENT);
        }
        if let Some(left) = self.left_of(TO_ANSWER).filter(|_| plan.decision.held.is_some()) {
            revisit = revisit.or_sooner(left + A_MOMENT);
        }
        if let (_, Some(left)) = self.repair() {
            revisit = revisit.or_sooner(left + A_MOMENT);
        }
        // Where nothing moves any more, nothing wakes us at the deadline either.
        for until in [scene.paused_until(), scene.deadline()].into_iter().flatten() {
            let left = until.duration_since(wall());
            revisit = revisit.or_sooner(Duration::try_from(left).unwrap_or_default() + A_MOMENT);
        }
        if let Some(left) = self.driver.due(observed) {
            revisit = revisit.or_sooner(left + A_MOMENT);
        }
        // What the CRDs do not know is said once they do, and nothing wakes us then.
        if !self.cluster.lacking().is_empty() {
            revisit = revisit.or_sooner(WATCHFUL);
        }
        let now = monotonic().duration_since(self.began);
        if let Some(until) = scene.contested.values().map(|fight| fight.until).min() {
            revisit = revisit.or_sooner(until.saturating_sub(now) + A_MOMENT);
        }
        revisit
    }

    /// Completes what was read. `None` while something was not listed yet.
    async fn snapshot(
        &self,
        standing: Standing,
        config: VDOConfig,
        journal: Stored,
    ) -> Option<Snapshot<D::Observed>> {
        self.log.follow(config.annotations().get(LOG_ANNOTATION).map(String::as_str));
        self.note_edit(&config);
        let deleting = config.metadata.deletion_timestamp.is_some();
        let scene = Scene {
            driver: D::DRIVER,
            now: wall(),
            holder: self.reporter.pod.clone(),
            deadline_seconds: self.patience.deadline_seconds(),
            journal: journal.journal.clone(),
            rows: self.driver.own().reading(),
            others: Look::Nothing,
            volumes: Reading::Absent,
            traces: None,
            quarantined: standing.is_quarantined(),
            ending: if deleting { ending::look(&self.cluster, &self.namespace).await } else { Look::Nothing },
            steady: self.works_for().is_some_and(|time| time >= self.patience.soak()),
            fresh: self.left_of(TO_ANSWER).is_some(),
            contested: self.fights.borrow().at(monotonic().duration_since(self.began)),
            repair: self.repair().0,
            bearers: Vec::new(),
            config,
        };
        let observed = self.driver.observe(&self.cluster, scene).await?;
        Some(Snapshot { observed, journal })
    }

    /// Before the first write: who else is here, and are the names free?
    async fn look_around(&self, observed: &mut D::Observed, need: Need) {
        let traces = self.lookout.look(&self.cluster, Self::names(observed), need).await;
        Self::note_traces(observed, traces);
    }

    fn note_traces(observed: &mut D::Observed, mut traces: Traces) {
        D::add_traces(observed, &mut traces);
        observed.as_mut().traces = Some(traces);
    }

    /// The objects that a roll-out would write.
    fn names(observed: &D::Observed) -> Vec<ObjectRef> {
        let wanted = D::render(observed).wanted;
        let objects = wanted.iter().flat_map(Revision::objects);
        objects.map(|object| object.reference().clone()).collect()
    }
}
