//! The transitions of a driver's record. The write that records `installed`, `refused` or nothing ends the attempt.

use super::{Attempt, Key, Look, Record, Refusal, Verb};

impl<V, R> Default for Record<V, R> {
    fn default() -> Self {
        Record {
            installed: None,
            attempt: None,
            refused_release: None,
            refused_configuration: None,
            ready: false,
            ready_generation: 0,
        }
    }
}

impl<V: Clone + Ord, R: Clone + Eq> Record<V, R> {
    /// The release for which a new configuration may be rolled out without asking for a gate: the installed one or, in a
    /// first install, the attempted one. Without the second a broken first configuration could not be mended while the
    /// gate is closed.
    pub fn base_release(&self) -> Option<&V> {
        match (&self.installed, &self.attempt) {
            (Some(installed), _) => Some(&installed.release),
            (None, Some(attempt)) => attempt.target.as_ref().map(|target| &target.release),
            (None, None) => None,
        }
    }

    /// The target of the attempt, if it is a roll-out.
    pub fn rolling(&self) -> Option<&Key<V, R>> {
        self.attempt.as_ref().and_then(|attempt| attempt.target.as_ref())
    }

    /// Whether a removal was claimed.
    pub fn removing(&self) -> bool {
        self.attempt.as_ref().is_some_and(|attempt| attempt.verb == Verb::Remove)
    }

    /// Whether the driver has anything that the order must know of.
    pub fn occupied(&self) -> bool {
        self.installed.is_some() || self.attempt.is_some()
    }

    /// Whether `key` was rolled back in this generation. A new generation is a new try.
    pub fn refuses(&self, key: &Key<V, R>, generation: i64) -> bool {
        self.refused_in(generation).any(|refused| refused == key)
    }

    /// What was rolled back in this generation.
    pub(super) fn refused_in(&self, generation: i64) -> impl Iterator<Item = &Key<V, R>> {
        let refusals = [&self.refused_release, &self.refused_configuration].into_iter().flatten();
        refusals.filter(move |refusal| refusal.generation == generation).map(|refusal| &refusal.key)
    }

    /// After a claim. What is installed stays: the attempt may have to go back to it.
    #[must_use]
    pub fn claimed(&self, verb: Verb, target: Option<Key<V, R>>) -> Self {
        Record { attempt: Some(Attempt { verb, target, expired: false }), ..self.clone() }
    }

    /// After the attempt was seen healthy. Refusals stay: they bind for their own revision and generation only.
    #[must_use]
    pub fn installed(&self, key: Key<V, R>) -> Self {
        Record { installed: Some(key), attempt: None, ..self.clone() }
    }

    /// After the attempt failed and the installed revision is back.
    #[must_use]
    pub fn refused(&self, generation: i64) -> Self {
        let mut record = self.restored();
        if let Some(key) = self.rolling().cloned() {
            let same = self.installed.as_ref().is_some_and(|installed| installed.release == key.release);
            let slot = if same { &mut record.refused_configuration } else { &mut record.refused_release };
            *slot = Some(Refusal { key, generation });
        }
        record
    }

    /// After a removal was turned back. Nothing is refused: the user's wish to remove stands, and is tried again when
    /// the volumes are gone.
    #[must_use]
    pub fn restored(&self) -> Self {
        Record { attempt: None, ..self.clone() }
    }

    /// After status was lost and the journal still names what is installed.
    #[must_use]
    pub fn rebuilt(&self, installed: Key<V, R>) -> Self {
        Record { installed: Some(installed), ..self.clone() }
    }
}

/// Whether a journal that is written before a claim keeps the revision `id`.
///
/// It forgets a revision only when none of its objects is left and status names it neither `installed` nor attempted.
/// A journal that kept only `installed` and the new attempt would lose sight of what an attempt that was superseded had
/// already written. Objects that could not be read count as left.
pub fn journal_keeps<V, R: Eq>(
    record: &Record<V, R>,
    target: Option<&Key<V, R>>,
    id: &R,
    objects: Look,
) -> bool {
    let attempted = record.attempt.as_ref().and_then(|attempt| attempt.target.as_ref());
    objects != Look::Nothing
        || [record.installed.as_ref(), attempted, target].into_iter().flatten().any(|key| key.id == *id)
}
