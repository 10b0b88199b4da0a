//! vdo-core's part: which VDOConfig counts, which release is chosen, and whether a change to it may start.

use std::cmp::Reverse;

use super::{Driver, Gate, Gates, Held, PerDriver, Record, View, cpi_settled};

/// A release that the matrix or the user chose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Choice<V> {
    /// The release.
    pub release: V,
    /// Whether the user named it.
    pub pinned: bool,
}

/// What vdo-core alone knows: facts outside the VDOConfig.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Surroundings {
    /// Whether the matrix row of the chosen CSI release needs a CPI.
    pub row_needs_cpi: bool,
    /// Whether a node waits to be initialised by a cloud provider.
    pub a_node_waits_for_cpi: bool,
}

/// Gates, and for each closed one the reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Published<V> {
    /// What goes into status. vdo-core may close a gate for further reasons of its own; it never opens one.
    pub gates: Gates<V>,
    /// Why a gate is closed.
    pub held: PerDriver<Option<Held>>,
}

/// The release to publish for a driver: what was selected, but never below the installed one unless the user pinned it.
///
/// A matrix that lost a row, or a vCenter that was added, must not take a running driver back by itself.
pub fn chosen<V: Clone + Ord, R>(selected: Option<Choice<V>>, record: &Record<V, R>) -> Option<Choice<V>> {
    let selected = selected?;
    match &record.installed {
        Some(installed) if !selected.pinned && installed.release > selected.release => {
            Some(Choice { release: installed.release.clone(), pinned: false })
        }
        Some(_) | None => Some(selected),
    }
}

/// The gates for this snapshot. They are published also for a deleting object, so that a new configuration still
/// reaches a driver whose removal is held.
///
/// That the CSI gate asks for a settled CPI is for the user to see; the guard alone would do, and runs again.
pub fn gates<V: Clone + Ord, R: Clone + Eq>(
    view: &View<V, R>,
    selected: PerDriver<Option<Choice<V>>>,
    around: Surroundings,
) -> Published<V> {
    let gate = |driver: Driver, selected: Option<Choice<V>>| {
        let choice = selected.filter(|_| *view.wants.of(driver));
        chosen(choice, view.records.of(driver)).map(|choice| Gate {
            release: choice.release,
            pinned: choice.pinned,
            open: false,
        })
    };
    let mut published = Gates {
        generation: view.generation,
        cpi: gate(Driver::Cpi, selected.cpi),
        csi: gate(Driver::Csi, selected.csi),
    };
    let judged = View { gates: Some(published.clone()), ..view.clone() };
    let held = PerDriver {
        cpi: verdict(Driver::Cpi, &judged, around).err(),
        csi: verdict(Driver::Csi, &judged, around).err(),
    };
    if let Some(gate) = &mut published.cpi {
        gate.open = held.cpi.is_none();
    }
    if let Some(gate) = &mut published.csi {
        gate.open = held.csi.is_none();
    }
    Published { gates: published, held }
}

/// Whether the change to the release in `view.gates` may start.
fn verdict<V: Clone + Ord, R: Clone + Eq>(
    driver: Driver,
    view: &View<V, R>,
    around: Surroundings,
) -> Result<(), Held> {
    if view.leaving(driver) {
        return Err(Held::Leaving);
    }
    let gate = view.gates.as_ref().and_then(|gates| gates.of(driver)).ok_or(Held::NoRelease)?;
    match driver {
        // CPI waits for nobody, so there is no cycle.
        Driver::Cpi => Ok(()),
        // No order is at stake while CSI stays at its release. A removal under way does not count as staying: once it is
        // recorded, a gate that was open for this reason would admit a first install.
        Driver::Csi
            if view.records.csi.base_release() == Some(&gate.release) && !view.records.csi.removing() =>
        {
            Ok(())
        }
        Driver::Csi if !view.wants.cpi && around.row_needs_cpi => Err(Held::NeedsCpi),
        Driver::Csi if !view.wants.cpi && around.a_node_waits_for_cpi => Err(Held::NodesWaitForCpi),
        Driver::Csi => cpi_settled(view),
    }
}

/// One VDOConfig among those of the operators' namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contender<'a, T> {
    /// Whether it bears one of our finalizers.
    pub finalizer: bool,
    /// When it was created.
    pub created: T,
    /// Its name.
    pub name: &'a str,
}

/// The index of the VDOConfig that counts: one that bears our finalizer, else the oldest, else the lowest name.
///
/// A deleting one counts until it is gone. With a finalizer there may be drivers behind it; an older VDOConfig that
/// comes back from a backup must not take them over.
pub fn active<T: Ord + Copy>(contenders: &[Contender<'_, T>]) -> Option<usize> {
    (0..contenders.len())
        .min_by_key(|&at| (Reverse(contenders[at].finalizer), contenders[at].created, contenders[at].name))
}
