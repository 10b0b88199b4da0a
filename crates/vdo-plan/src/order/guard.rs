//! The guards: whether a roll-out or a removal may be claimed on this snapshot.

use super::{Driver, Held, Look, Seen, View};

/// Whether `release` of `driver` may be claimed for a roll-out.
///
/// A new configuration of the release that is there already asks for no gate and for no CPI: a CPI fault must never
/// withhold a new password from CSI, also while a deletion is held. A change of release asks for an open gate, is never
/// a downgrade nor takes an attempt back unless the user pinned it, and for CSI asks for a CPI that has settled.
pub fn may_roll<V: Clone + Ord, R: Clone + Eq>(
    driver: Driver,
    view: &View<V, R>,
    release: &V,
) -> Result<(), Held> {
    let record = view.records.of(driver);
    // Gates speak for one generation; between an edit and vdo-core's answer nobody knows what is right.
    let gates = view
        .gates
        .as_ref()
        .filter(|gates| gates.generation == view.generation)
        .ok_or(Held::GatesOfAnotherGeneration)?;
    let gate = gates.of(driver);
    let chosen = gate.filter(|gate| gate.release == *release);
    let pinned = chosen.is_some_and(|gate| gate.pinned);

    // An attempt of a higher release may already have converted something that the lower one cannot read. Only a first
    // install whose deadline has passed gives way: it has nothing to go back to and would block for ever.
    if let Some(attempt) = &record.attempt
        && attempt.target.as_ref().is_some_and(|target| *release < target.release)
        && !(attempt.expired && record.installed.is_none())
        && !pinned
    {
        return Err(Held::BelowAttempt);
    }

    let same_release = record.base_release() == Some(release);
    if view.leaving(driver) {
        // What stays for now must keep working, passwords included; but nobody rolls out what is being taken away, and
        // without the finalizer the object might be gone before the objects are.
        let stays = same_release && !record.removing() && *view.finalizer.of(driver);
        return if stays { Ok(()) } else { Err(Held::Leaving) };
    }
    if same_release {
        return Ok(());
    }
    let Some(gate) = chosen else {
        return Err(if gate.is_some() { Held::NotChosen } else { Held::NoRelease });
    };
    if !gate.open {
        return Err(Held::GateClosed);
    }
    // vdo-core never chooses a downgrade by itself, but what it knew of `installed` may be older than this snapshot.
    if !gate.pinned && record.installed.as_ref().is_some_and(|installed| installed.release > *release) {
        return Err(Held::Downgrade);
    }
    match driver {
        Driver::Cpi => Ok(()),
        Driver::Csi => cpi_settled(view),
    }
}

/// Whether CPI is where this generation wants it, as far as the VDOConfig tells: what a change of the CSI release adds
/// to the guard.
///
/// If no CPI is desired it must have acknowledged that it is gone; that the row needs none and no node waits for one is
/// vdo-core's part, and closes the gate.
pub fn cpi_settled<V: Clone + Ord, R: Clone + Eq>(view: &View<V, R>) -> Result<(), Held> {
    let cpi = &view.records.cpi;
    if !view.wants.cpi {
        return if cpi.occupied() || view.finalizer.cpi { Err(Held::CpiStillThere) } else { Ok(()) };
    }
    if cpi.attempt.is_some() {
        return Err(Held::CpiRolling);
    }
    let Some(installed) = &cpi.installed else {
        return Err(Held::CpiNotInstalled);
    };
    let chosen = view.gates.as_ref().and_then(|gates| gates.cpi.as_ref()).map(|gate| &gate.release);
    if chosen != Some(&installed.release) {
        return Err(Held::CpiOtherRelease);
    }
    if cpi.ready_generation != view.generation {
        return Err(Held::CpiSilent);
    }
    if !cpi.ready {
        return Err(Held::CpiNotReady);
    }
    Ok(())
}

/// Whether the removal of `driver` may be claimed.
///
/// CSI waits for its volumes. CPI waits for CSI's acknowledgement, not for its absence: an operator that is about to
/// write leaves no trace among the objects, but its finalizer is there first. The second look catches what a deletion
/// with the policy Orphan left behind.
pub fn may_remove<V: Clone + Ord, R: Clone + Eq>(
    driver: Driver,
    view: &View<V, R>,
    seen: &Seen<V, R>,
) -> Result<(), Held> {
    match driver {
        Driver::Csi => match seen.volumes {
            Look::Nothing => Ok(()),
            Look::Something => Err(Held::Volumes),
            Look::Unreadable => Err(Held::VolumesUnreadable),
        },
        Driver::Cpi if view.records.csi.occupied() || view.finalizer.csi => Err(Held::CsiStillThere),
        Driver::Cpi => match seen.others {
            Look::Nothing => Ok(()),
            Look::Something => Err(Held::CsiObjectsSeen),
            Look::Unreadable => Err(Held::CsiObjectsUnreadable),
        },
    }
}

impl<V, R> View<V, R> {
    /// Whether `driver` is on its way out: the VDOConfig is being deleted, or the spec asks for the driver no more.
    pub fn leaving(&self, driver: Driver) -> bool {
        self.deleting || !self.wants.of(driver)
    }
}
