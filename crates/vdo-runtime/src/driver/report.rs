//! What a pass says: the driver's part of the VDOConfig's status, and an event when its verdict changed.

use std::time::Duration;

use vdo_api::{Truth, VDOConfig};
use vdo_plan::Verdict;
use vdo_plan::driver::{Plan, Scene, StatusPart};

use super::{DriverOperator, DriverPass, NEIGHBOUR_FIRST};
use crate::deeds::Deeds;
use crate::events::Weight;
use crate::run::PassError;
use crate::status::apply_status;

impl<D: DriverOperator> DriverPass<D> {
    /// How much longer words are kept back.
    pub(super) fn kept_back(&self, observed: &D::Observed, plan: &Plan) -> Option<Duration> {
        let scene = observed.as_ref();
        let first = scene.is_first().then(|| self.left_of(NEIGHBOUR_FIRST, &scene.config)).flatten();
        first.max(self.words.left(is_progress(plan)))
    }

    /// One status write, if there is anything new to say. Gives what is stored then.
    pub(super) async fn report(
        &self,
        observed: &D::Observed,
        plan: &Plan,
        outcome: &Deeds,
    ) -> Result<Option<VDOConfig>, PassError> {
        let Some(config) = outcome.config.as_ref().filter(|_| speaks(observed, plan)) else {
            return Ok(None);
        };
        let scene = observed.as_ref();
        let part = plan.status(scene, outcome.complete());
        if !is_news::<D>(observed, &part) {
            return Ok(None);
        }
        if outcome.complete() && plan.leaves_record(scene) && self.kept_back(observed, plan).is_some() {
            return Ok(None);
        }
        self.words.note(is_progress(plan));
        self.say(observed, &part, config).await.map(Some)
    }

    /// One status write over this version of the VDOConfig, and an event if the verdict changed.
    pub(super) async fn say(
        &self,
        observed: &D::Observed,
        part: &StatusPart,
        over: &VDOConfig,
    ) -> Result<VDOConfig, PassError> {
        let written = apply_status(&self.cluster, D::OWNER.manager, over, &D::status(observed, part))
            .await
            .map_err(PassError::report("the VDOConfig"))?;
        self.configs.note(Some(&written));
        let before = observed.as_ref().config.status.as_ref();
        let before = before.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
        if before.is_none_or(|old| old.status != part.ready.status || old.reason != part.ready.reason) {
            let weight = if part.ready.status == Truth::True { Weight::Normal } else { Weight::Warning };
            self.reporter
                .emit(&self.cluster, &written, weight, part.reason.name, "Reconcile", &part.ready.message)
                .await;
            let name = D::DRIVER.name();
            tracing::info!(reason = part.ready.reason, message = part.ready.message, "{name}");
        }
        Ok(written)
    }
}

/// Whether there is anything to say. Before vdo-core had a moment to answer the first word would only be that it has not.
pub(super) fn speaks<O: AsRef<Scene>>(observed: &O, plan: &Plan) -> bool {
    plan.decision.step.reports() && !waits_for_word(observed.as_ref())
}

/// Whether nothing of the driver is there and vdo-core is about to say what should be.
fn waits_for_word(scene: &Scene) -> bool {
    scene.is_first() && scene.awaits_word()
}

/// Whether only numbers move on the way to a driver that works: nobody has to do anything, so nobody minds a later word.
pub(super) fn is_progress(plan: &Plan) -> bool {
    !plan.decision.record.ready && plan.findings.iter().all(|finding| finding.verdict < Verdict::Hold)
}

/// Whether our part differs from what is stored.
pub(super) fn is_news<D: DriverOperator>(observed: &D::Observed, part: &StatusPart) -> bool {
    let stored = observed.as_ref().config.status.as_ref();
    let ready = stored.and_then(|s| vdo_api::condition::find(&s.conditions, &part.ready.type_));
    if ready != Some(&part.ready) {
        return true;
    }
    let stored = serde_json::to_value(stored).unwrap_or_default();
    let new = D::status(observed, part);
    new.get(D::OWNER.driver) != stored.get(D::OWNER.driver)
}
