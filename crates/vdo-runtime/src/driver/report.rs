//! What a pass says: the driver's part of the VDOConfig's status, and an event when its verdict changed.

use std::time::Duration;

use vdo_api::{Condition, Truth, VDOConfig};
use vdo_plan::Verdict;
use vdo_plan::driver::{Plan, Scene, StatusPart};

use super::{DriverOperator, DriverPass, NEIGHBOUR_FIRST};
use crate::clock::monotonic;
use crate::events::Weight;
use crate::run::PassError;
use crate::status::apply_status;
use crate::words::News;

/// Whether a pass writes words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// What is stored says it all.
    Nothing,
    /// Not yet: after this time.
    Later(Duration),
    /// Now.
    Now(News),
}

/// What was written about a VDOConfig, for an event.
pub(super) struct Announcement {
    about: VDOConfig,
    ready: Condition,
}

impl<D: DriverOperator> DriverPass<D> {
    /// Whether there is anything to say after these writes, and when.
    pub(super) fn to_say(
        &self,
        observed: &D::Observed,
        plan: &Plan,
        part: &StatusPart,
        complete: bool,
    ) -> Say {
        let scene = observed.as_ref();
        if !plan.decision.step.reports() || waits_for_word(scene) || !is_news::<D>(observed, part) {
            return Say::Nothing;
        }
        let same_record = plan.leaves_record(scene);
        // A new replica waits a few seconds before it may do anything, and has no other news.
        if same_record && scene.quarantined {
            return Say::Nothing;
        }
        // The next step is decided on the record, and a write that failed is told at once.
        if !complete || !same_record {
            return Say::Now(News::Facts);
        }
        // Where nobody has to do anything, and nothing but the words changed, nobody minds later ones.
        let minor = plan.findings.iter().all(|finding| finding.verdict < Verdict::Hold);
        let news = if minor && same_verdict(scene, part) { News::Words } else { News::Facts };
        let neighbour = scene.is_first().then(|| self.left_of(NEIGHBOUR_FIRST)).flatten();
        neighbour.max(self.words.left(news, monotonic())).map_or(Say::Now(news), Say::Later)
    }

    /// One status write over this version of the VDOConfig, and an event at the end of the pass if the verdict changed. Gives
    /// what is stored then.
    pub(super) async fn say(
        &self,
        observed: &D::Observed,
        part: &StatusPart,
        news: News,
        over: &VDOConfig,
    ) -> Result<VDOConfig, PassError> {
        self.words.note(news, monotonic());
        let written = apply_status(&self.cluster, D::OWNER.manager, over, &D::status(observed, part))
            .await
            .map_err(PassError::report("the VDOConfig"))?;
        self.configs.note(Some(&written));
        let before = stored_condition(observed.as_ref(), part);
        if before.is_none_or(|old| old.status != part.ready.status || old.reason != part.ready.reason) {
            let name = D::DRIVER.name();
            tracing::info!(reason = part.ready.reason, message = part.ready.message, "{name}");
            let announcement = Announcement { about: written.clone(), ready: part.ready.clone() };
            self.announcements.borrow_mut().push(announcement);
        }
        Ok(written)
    }

    /// The events of what was said.
    pub(super) async fn announce(&self) {
        let announcements = std::mem::take(&mut *self.announcements.borrow_mut());
        for Announcement { about, ready } in announcements {
            let weight = if ready.status == Truth::True { Weight::Normal } else { Weight::Warning };
            self.reporter
                .emit(&self.cluster, &about, weight, &ready.reason, "Reconcile", &ready.message)
                .await;
        }
    }
}

/// Whether nothing of the driver is there and vdo-core is about to say what should be: the first word would only be that it
/// has not.
fn waits_for_word(scene: &Scene) -> bool {
    scene.is_first() && scene.awaits_word()
}

/// The driver's condition as it is stored.
fn stored_condition<'a>(scene: &'a Scene, part: &StatusPart) -> Option<&'a Condition> {
    vdo_api::condition::find(&scene.config.status.as_ref()?.conditions, &part.ready.type_)
}

/// Whether the condition says the same as the stored one, if in other words.
fn same_verdict(scene: &Scene, part: &StatusPart) -> bool {
    let verdict = |it: &Condition| (it.status, it.reason.clone(), it.observed_generation);
    stored_condition(scene, part).map(verdict) == Some(verdict(&part.ready))
}

/// Whether our part differs from what is stored.
fn is_news<D: DriverOperator>(observed: &D::Observed, part: &StatusPart) -> bool {
    let scene = observed.as_ref();
    if stored_condition(scene, part) != Some(&part.ready) {
        return true;
    }
    let stored = serde_json::to_value(&scene.config.status).unwrap_or_default();
    let new = D::status(observed, part);
    new.get(D::OWNER.driver) != stored.get(D::OWNER.driver)
}
