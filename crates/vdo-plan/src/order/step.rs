//! One pass of a driver operator: from what it read to the one step it takes.

use super::{
    Candidates, Decision, DeletionPolicy, Driver, Held, Key, Look, Objects, Progress, Record, Seen, Step,
    Verb, View, Why, may_remove, may_roll,
};

/// The release to render for the current configuration: the one vdo-core chose for this generation.
pub fn wanted_release<V: Clone + Ord, R: Clone + Eq>(driver: Driver, view: &View<V, R>) -> Option<V> {
    let gates = view.gates.as_ref().filter(|gates| gates.generation == view.generation)?;
    if view.leaving(driver) {
        return None;
    }
    gates.of(driver).map(|gate| gate.release.clone())
}

/// The release to render beside it: the one that is there already, for a new configuration while the wanted release is
/// held or refused, or while the removal is held. `None` when it is the wanted one anyway.
pub fn fallback_release<V: Clone + Ord, R: Clone + Eq>(driver: Driver, view: &View<V, R>) -> Option<V> {
    view.gates.as_ref().filter(|gates| gates.generation == view.generation)?;
    let record = view.records.of(driver);
    let base = if view.leaving(driver) {
        record.installed.as_ref().map(|installed| &installed.release)
    } else {
        record.base_release()
    };
    base.filter(|&base| wanted_release(driver, view).as_ref() != Some(base)).cloned()
}

/// What was rolled back and is asked for all the same, so that it waits for somebody. People are told of it; no step
/// depends on it.
///
/// `record` is the one that the pass leaves behind. While gates are missing or inputs do not resolve, nobody knows what
/// is asked for, and it counts as asked for: an outage must not look as if somebody had mended something.
pub fn held_back<V: Clone + Ord, R: Clone + Eq>(
    driver: Driver,
    view: &View<V, R>,
    record: &Record<V, R>,
    candidates: &Candidates<V, R>,
) -> Vec<Key<V, R>> {
    let mut view = view.clone();
    *view.records.of_mut(driver) = record.clone();
    let wanted = wanted_release(driver, &view);
    let fallback = fallback_release(driver, &view);
    let is_asked_for = |key: &&Key<V, R>| {
        let candidate = if wanted.as_ref() == Some(&key.release) {
            &candidates.wanted
        } else if fallback.as_ref() == Some(&key.release) {
            &candidates.fallback
        } else {
            return wanted.is_none() && !view.leaving(driver);
        };
        candidate.as_ref().is_none_or(|candidate| candidate == *key)
    };
    record.refused_in(view.generation).filter(is_asked_for).cloned().collect()
}

/// Decides one pass of the operator of `driver`. Total: every branch ends in the same [`Decision`].
pub fn decide<V: Clone + Ord, R: Clone + Eq>(
    driver: Driver,
    view: &View<V, R>,
    seen: &Seen<V, R>,
    candidates: &Candidates<V, R>,
) -> Decision<V, R> {
    let pass = Pass { driver, view, seen, candidates, record: view.records.of(driver) };
    let (step, held) = pass.step();
    let mut record = pass.after(&step);
    (record.ready, record.ready_generation) = pass.readiness(&step, &record);
    let mut otherwise = pass.record.clone();
    (otherwise.ready, otherwise.ready_generation) = pass.readiness(&Step::Nothing, &otherwise);
    Decision { step, record, otherwise, held }
}

struct Pass<'a, V, R> {
    driver: Driver,
    view: &'a View<V, R>,
    seen: &'a Seen<V, R>,
    candidates: &'a Candidates<V, R>,
    record: &'a Record<V, R>,
}

type Reasoned<V, R> = (Step<V, R>, Option<Held>);

impl<V: Clone + Ord, R: Clone + Eq> Pass<'_, V, R> {
    fn step(&self) -> Reasoned<V, R> {
        let finalizer = *self.view.finalizer.of(self.driver);
        if self.seen.quiet {
            return (Step::Nothing, Some(Held::Quiet));
        }
        // Lost status is rebuilt before anything else: an operator that forgot what is installed would take an upgrade
        // for a first install. Only while there is proof that it is installed, for an Orphan's journal outlives what it
        // names: a workload, or a volume, whose driver must come back even if a removal was half done.
        if !self.record.occupied() && self.seen.journal_installed.is_some() {
            let volumes = if self.driver == Driver::Csi { self.seen.volumes } else { Look::Nothing };
            match (self.seen.objects, volumes) {
                (Objects::Unreadable, _) => return (Step::Nothing, Some(Held::ObjectsUnreadable)),
                (Objects::Workload, _) | (Objects::Nothing | Objects::Leftovers, Look::Something) => {
                    let put_back = !finalizer && !self.view.deleting;
                    return (if put_back { Step::PutBackFinalizer } else { Step::Rebuild }, None);
                }
                (Objects::Nothing | Objects::Leftovers, Look::Unreadable) => {
                    return (Step::Nothing, Some(Held::VolumesUnreadable));
                }
                (Objects::Nothing | Objects::Leftovers, Look::Nothing) => {}
            }
        }
        // Somebody took our finalizer; it is put back while the API server lets us.
        if self.record.occupied() && !finalizer && !self.view.deleting {
            return (Step::PutBackFinalizer, None);
        }
        if self.view.leaving(self.driver) { self.leave() } else { self.stay() }
    }

    /// The driver is desired.
    fn stay(&self) -> Reasoned<V, R> {
        // A removal with nothing left to delete is recorded before anything new is claimed: the journal may be cleared
        // already, and then an attempt over this `installed` would have nothing to go back to.
        let volumes = self.driver == Driver::Csi && self.seen.volumes == Look::Something;
        if self.record.removing() && self.seen.objects == Objects::Nothing && !volumes {
            return self.remove();
        }
        let (next, held) = self.next();
        if let Some(key) = next {
            return (self.claim(Verb::Roll, Some(key)), held);
        }
        match &self.record.attempt {
            Some(attempt) if attempt.verb == Verb::Remove => self.remove(),
            Some(_) => (self.roll(), held),
            None => {
                if let Some(step) = self.repair() {
                    return (step, held);
                }
                // A finalizer with nothing left to guard: the claim behind it never came.
                if self.record.installed.is_none() && *self.view.finalizer.of(self.driver) {
                    return match self.seen.objects {
                        Objects::Nothing => (self.release(), held),
                        Objects::Unreadable => (Step::Nothing, held.or(Some(Held::ObjectsUnreadable))),
                        Objects::Leftovers | Objects::Workload => (Step::Nothing, held),
                    };
                }
                (Step::Nothing, held)
            }
        }
    }

    /// The driver is not desired any more.
    fn leave(&self) -> Reasoned<V, R> {
        let finalizer = *self.view.finalizer.of(self.driver);
        if self.view.deleting && self.view.policy == DeletionPolicy::Orphan {
            // The journal stays with the objects: whoever adopts them later finds their bytes.
            return (if finalizer { Step::Release { clear_journal: false } } else { Step::Nothing }, None);
        }
        if self.record.removing() {
            return self.remove();
        }
        if !self.record.occupied() {
            match self.seen.objects {
                Objects::Unreadable => return (Step::Nothing, Some(Held::ObjectsUnreadable)),
                Objects::Nothing => return (if finalizer { self.release() } else { Step::Nothing }, None),
                Objects::Leftovers | Objects::Workload => {}
            }
        }
        let held = match may_remove(self.driver, self.view, self.seen) {
            Ok(()) => return (self.claim(Verb::Remove, None), None),
            Err(held) => Some(held),
        };
        // Held: an attempt goes on, and what is installed is repaired and gets its new configuration.
        if self.record.attempt.is_some() {
            return (self.roll(), held);
        }
        if let (Some(key), _) = self.next() {
            return (self.claim(Verb::Roll, Some(key)), held);
        }
        (self.repair().unwrap_or(Step::Nothing), held)
    }

    /// The revision that should be there, given the gates, the guards and what was refused.
    fn choice(&self) -> Option<&Key<V, R>> {
        let admitted = |key: &&Key<V, R>| self.admits(key).is_ok();
        let wanted = self.wanted();
        if let Some(wanted) = wanted.filter(admitted) {
            return Some(wanted);
        }
        // An attempt over something installed ends first, installed or refused: else a hold that comes and goes would
        // make two revisions supersede each other.
        let fallback =
            self.fallback().filter(|_| self.record.attempt.is_none() || self.record.installed.is_none());
        fallback.or(wanted)
    }

    /// What to claim next, if anything; and why the wanted revision is not it.
    fn next(&self) -> (Option<Key<V, R>>, Option<Held>) {
        let named = wanted_release(self.driver, self.view);
        let held = match (self.wanted(), &named) {
            // A gate admits and never interrupts: what is being rolled out is not held any more.
            (Some(wanted), _) if self.record.rolling() == Some(wanted) => None,
            (Some(wanted), _) => self.admits(wanted).err(),
            (None, Some(release)) => {
                may_roll(self.driver, self.view, release).err().or(Some(Held::InputsUnresolved))
            }
            (None, None) if self.view.leaving(self.driver) => None,
            (None, None)
                if self.view.gates.as_ref().is_some_and(|g| g.generation == self.view.generation) =>
            {
                Some(Held::NoRelease)
            }
            (None, None) => Some(Held::GatesOfAnotherGeneration),
        };
        let there = match &self.record.attempt {
            None => self.record.installed.as_ref(),
            Some(attempt) => attempt.target.as_ref(),
        };
        let next = self.choice().filter(|&key| Some(key) != there && self.admits(key).is_ok()).cloned();
        (next, held)
    }

    fn admits(&self, key: &Key<V, R>) -> Result<(), Held> {
        may_roll(self.driver, self.view, &key.release)?;
        if self.record.refuses(key, self.view.generation) { Err(Held::Refused) } else { Ok(()) }
    }

    /// The candidate for the release of the gate; one for any other release is a caller's mistake and counts as absent.
    fn wanted(&self) -> Option<&Key<V, R>> {
        let release = wanted_release(self.driver, self.view);
        self.candidates.wanted.as_ref().filter(|key| Some(&key.release) == release.as_ref())
    }

    fn fallback(&self) -> Option<&Key<V, R>> {
        let release = fallback_release(self.driver, self.view);
        self.candidates.fallback.as_ref().filter(|key| Some(&key.release) == release.as_ref())
    }

    fn claim(&self, verb: Verb, target: Option<Key<V, R>>) -> Step<V, R> {
        // The API server accepts no new finalizer on a deleting object.
        let take_finalizer = !self.view.finalizer.of(self.driver) && !self.view.deleting;
        Step::Claim { verb, target, take_finalizer }
    }

    fn release(&self) -> Step<V, R> {
        Step::Release { clear_journal: !self.seen.journal_empty }
    }

    /// Goes on with a claimed roll-out.
    fn roll(&self) -> Step<V, R> {
        let (Some(attempt), Some(target)) = (&self.record.attempt, self.record.rolling()) else {
            return Step::Nothing;
        };
        let failed = attempt.expired && matches!(self.seen.attempted, Progress::Missing | Progress::Applied);
        // A first install has nothing to go back to: it keeps trying, and says so.
        if let (true, Some(installed)) = (failed, &self.record.installed) {
            return match self.seen.installed {
                Progress::Missing => Step::Apply { key: installed.clone(), why: Why::Back },
                Progress::Applied | Progress::Healthy => Step::Refuse { back_to: installed.clone() },
                Progress::Unreadable => Step::Nothing,
            };
        }
        match self.seen.attempted {
            Progress::Missing => Step::Apply { key: target.clone(), why: Why::Roll },
            Progress::Healthy => Step::Install { key: target.clone() },
            Progress::Applied | Progress::Unreadable => Step::Nothing,
        }
    }

    /// Goes on with a claimed removal.
    fn remove(&self) -> Reasoned<V, R> {
        if self.driver == Driver::Csi {
            match (self.seen.volumes, &self.record.installed) {
                // A volume that appeared after the claim turns the removal back.
                (Look::Something, Some(installed)) => {
                    let step = match self.seen.installed {
                        Progress::Missing => Step::Apply { key: installed.clone(), why: Why::Restore },
                        Progress::Applied | Progress::Healthy => Step::Restored,
                        Progress::Unreadable => Step::Nothing,
                    };
                    return (step, Some(Held::Volumes));
                }
                // Nothing recorded to restore, but the driver of a volume is never taken away.
                (Look::Something, None) => return (Step::Nothing, Some(Held::Volumes)),
                (Look::Unreadable, _) => return (Step::Nothing, Some(Held::VolumesUnreadable)),
                (Look::Nothing, _) => {}
            }
        }
        match self.seen.objects {
            Objects::Unreadable => (Step::Nothing, Some(Held::ObjectsUnreadable)),
            Objects::Leftovers | Objects::Workload => (Step::Delete, None),
            Objects::Nothing => (Step::Removed { clear_journal: !self.seen.journal_empty }, None),
        }
    }

    /// Brings back what is missing of the installed revision. No gate is asked: what runs is never worse off.
    fn repair(&self) -> Option<Step<V, R>> {
        let installed = self.record.installed.as_ref()?;
        (self.seen.installed == Progress::Missing)
            .then(|| Step::Apply { key: installed.clone(), why: Why::Repair })
    }

    /// The record that the step leaves behind once its acts have succeeded.
    fn after(&self, step: &Step<V, R>) -> Record<V, R> {
        match step {
            Step::Nothing
            | Step::PutBackFinalizer
            | Step::Apply { .. }
            | Step::Delete
            | Step::Release { .. } => self.record.clone(),
            Step::Rebuild => match &self.seen.journal_installed {
                Some(installed) => self.record.rebuilt(installed.clone()),
                None => self.record.clone(),
            },
            Step::Claim { verb, target, .. } => self.record.claimed(*verb, target.clone()),
            Step::Install { key } => self.record.installed(key.clone()),
            Step::Refuse { .. } => self.record.refused(self.view.generation),
            Step::Restored => self.record.restored(),
            Step::Removed { .. } => Record::default(),
        }
    }

    /// What this pass's report says of the driver's condition: whether it is True, and for which generation.
    ///
    /// It carries a generation only when, with the gates of that generation, nothing is left to roll out: CSI takes
    /// "ready, of this generation" for "with this generation's configuration". Computed from the record that this very
    /// write leaves behind, for the one that was read may name an attempt that ends here.
    fn readiness(&self, step: &Step<V, R>, after: &Record<V, R>) -> (bool, i64) {
        let healthy = match step {
            Step::Install { .. } => self.seen.attempted == Progress::Healthy,
            // Just now it is being taken away.
            Step::Removed { .. } | Step::Delete => false,
            Step::Nothing
            | Step::PutBackFinalizer
            | Step::Rebuild
            | Step::Claim { .. }
            | Step::Apply { .. }
            | Step::Refuse { .. }
            | Step::Restored
            | Step::Release { .. } => after.installed.is_some() && self.seen.installed == Progress::Healthy,
        };
        let settled =
            after.installed.is_some() && after.attempt.is_none() && self.nothing_left_to_roll(after);
        (healthy, if settled { self.view.generation } else { after.ready_generation })
    }

    fn nothing_left_to_roll(&self, after: &Record<V, R>) -> bool {
        if self.view.gates.as_ref().is_none_or(|gates| gates.generation != self.view.generation) {
            return false;
        }
        let mut view = self.view.clone();
        *view.records.of_mut(self.driver) = after.clone();
        let named = wanted_release(self.driver, &view).or_else(|| fallback_release(self.driver, &view));
        let later = Pass { view: &view, record: after, ..*self };
        match later.choice() {
            Some(key) => after.installed.as_ref() == Some(key) || after.refuses(key, view.generation),
            // Inputs that do not resolve leave open what there would be to roll out.
            None => named.is_none(),
        }
    }
}
