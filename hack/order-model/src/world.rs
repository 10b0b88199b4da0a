//! The world as small bytes: the VDOConfig, the drivers' objects, the journals, the processes.
//!
//! The product's types are generic, so the shipped functions are called with a `u8` for the release and a `u8` for the
//! revision id; a state keeps less than that, and is turned into the product's types for each decision.

use vdo_plan::order::{
    Attempt, DeletionPolicy, Driver, Gate, Gates, Key, Look, Objects, PerDriver, Progress, Record, Refusal,
    Step, Verb, View,
};

/// Index of CPI in every pair.
pub const CPI: usize = 0;
/// Index of CSI in every pair.
pub const CSI: usize = 1;
/// The product's name of a driver index.
pub const DRIVERS: [Driver; 2] = [Driver::Cpi, Driver::Csi];
/// The process index of vdo-core; 0 is the CPI operator, 1 the CSI operator, 2 its second replica.
pub const CORE: usize = 9;

/// The driver that a process looks after.
pub fn driver_of(process: usize) -> usize {
    if process == 0 { CPI } else { CSI }
}

/// A revision: none, or a release (1 or 2), a bit of the spec's configuration and a bit of what lies outside of it (a
/// password).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rev(pub u8);

impl Rev {
    /// No revision.
    pub const NONE: Rev = Rev(0);

    /// The revision of a release and two configuration bits.
    pub fn new(release: u8, configuration: u8, external: u8) -> Rev {
        Rev(8 | ((release - 1) << 2) | (configuration << 1) | external)
    }
    /// Whether there is one.
    pub fn some(self) -> bool {
        self.0 != 0
    }
    /// The release, 0 for none.
    pub fn release(self) -> u8 {
        if self.some() { ((self.0 >> 2) & 1) + 1 } else { 0 }
    }
    /// The spec's configuration bit.
    pub fn configuration(self) -> u8 {
        (self.0 >> 1) & 1
    }
    /// Its place in a set of revisions.
    pub fn bit(self) -> u8 {
        if self.some() { 1 << (self.0 & 7) } else { 0 }
    }
    /// The revision at a place in a set.
    pub fn at(place: u8) -> Rev {
        Rev(8 | place)
    }
    /// As the product names it.
    pub fn key(self) -> Option<Key<u8, u8>> {
        self.some().then(|| Key { release: self.release(), id: self.0 })
    }
    /// From the product's name.
    pub fn of(key: Option<Key<u8, u8>>) -> Rev {
        key.map_or(Rev::NONE, |key| Rev(key.id))
    }
}

impl std::fmt::Debug for Rev {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.some() {
            write!(f, "r{}c{}e{}", self.release(), self.configuration(), self.0 & 1)
        } else {
            write!(f, "-")
        }
    }
}

/// An attempt; idle, or a roll-out, or a removal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Att {
    /// None.
    #[default]
    Idle,
    /// A roll-out of this revision.
    Roll(Rev),
    /// A removal.
    Remove,
}

impl Att {
    /// Whether there is one.
    pub fn some(self) -> bool {
        self != Att::Idle
    }
    /// What is being rolled out.
    pub fn rev(self) -> Rev {
        match self {
            Att::Roll(rev) => rev,
            Att::Idle | Att::Remove => Rev::NONE,
        }
    }
}

/// A driver's record in status, without the attempt's deadline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Status {
    /// Installed.
    pub inst: Rev,
    /// The attempt.
    pub att: Att,
    /// A refused release, a refused configuration.
    pub refused: [Rev; 2],
    /// Their generations.
    pub refused_in: [u8; 2],
    /// `CPIReady` is True; kept for CPI only.
    pub ready: bool,
    /// Its generation; kept for CPI only.
    pub ready_in: u8,
}

impl Status {
    /// Whether `rev` was refused in `generation`.
    pub fn refuses(&self, rev: Rev, generation: u8) -> bool {
        rev.some() && (0..2).any(|n| self.refused[n] == rev && self.refused_in[n] == generation)
    }

    /// In the product's type.
    pub fn record(&self, expired: bool) -> Record<u8, u8> {
        let refusal = |n: usize| {
            self.refused[n].key().map(|key| Refusal { key, generation: i64::from(self.refused_in[n]) })
        };
        let attempt = |verb, target| Some(Attempt { verb, target, expired });
        Record {
            installed: self.inst.key(),
            attempt: match self.att {
                Att::Idle => None,
                Att::Roll(rev) => attempt(Verb::Roll, rev.key()),
                Att::Remove => attempt(Verb::Remove, None),
            },
            refused_release: refusal(0),
            refused_configuration: refusal(1),
            ready: self.ready,
            ready_generation: i64::from(self.ready_in),
        }
    }

    /// From the product's type. The readiness of CSI orders nothing and is left out.
    pub fn of(driver: usize, record: &Record<u8, u8>) -> Status {
        let refused = [record.refused_release, record.refused_configuration];
        let generation = |refusal: &Option<Refusal<u8, u8>>| refusal.map_or(0, |r| r.generation as u8);
        Status {
            inst: Rev::of(record.installed),
            att: match record.attempt {
                None => Att::Idle,
                Some(Attempt { verb: Verb::Roll, target, .. }) => Att::Roll(Rev::of(target)),
                Some(Attempt { verb: Verb::Remove, .. }) => Att::Remove,
            },
            refused: [0, 1].map(|n: usize| Rev::of(refused[n].map(|r| r.key))),
            refused_in: [0, 1].map(|n: usize| generation(&refused[n])),
            ready: driver == CPI && record.ready,
            ready_in: if driver == CPI { record.ready_generation as u8 } else { 0 },
        }
    }
}

/// vdo-core's gates; release 0 stands for none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Published {
    /// The generation; 0 when never published.
    pub generation: u8,
    /// The chosen releases.
    pub release: [u8; 2],
    /// Whether the user pinned them.
    pub pinned: [bool; 2],
    /// The verdicts.
    pub open: [bool; 2],
}

impl Published {
    /// In the product's type.
    pub fn gates(&self) -> Option<Gates<u8>> {
        let gate = |d: usize| {
            (self.release[d] != 0).then(|| Gate {
                release: self.release[d],
                pinned: self.pinned[d],
                open: self.open[d],
            })
        };
        (self.generation != 0).then(|| Gates {
            generation: i64::from(self.generation),
            cpi: gate(CPI),
            csi: gate(CSI),
        })
    }

    /// From the product's type.
    pub fn of(gates: &Gates<u8>) -> Published {
        let each = DRIVERS.map(|driver| gates.of(driver).copied());
        Published {
            generation: gates.generation as u8,
            release: each.map(|gate| gate.map_or(0, |g| g.release)),
            pinned: each.map(|gate| gate.is_some_and(|g| g.pinned)),
            open: each.map(|gate| gate.is_some_and(|g| g.open)),
        }
    }
}

/// The VDOConfig. Its resourceVersion is modelled as the freshness of those who read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Vdo {
    /// Whether it exists.
    pub exists: bool,
    /// `metadata.generation`.
    pub generation: u8,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// The deletion policy is Orphan.
    pub orphan: bool,
    /// Our finalizers.
    pub finalizers: [bool; 2],
    /// The drivers the spec asks for.
    pub wants: [bool; 2],
    /// The release the user pinned for both, 0 for none.
    pub pin: u8,
    /// The spec's configuration bit.
    pub configuration: u8,
    /// `status.gates`.
    pub gates: Published,
    /// `status.cpi`, `status.csi`.
    pub status: [Status; 2],
}

impl Vdo {
    /// In the product's type, with the attempts' deadlines judged.
    pub fn view(&self, expired: [bool; 2]) -> View<u8, u8> {
        let pair = |value: [bool; 2]| PerDriver { cpi: value[CPI], csi: value[CSI] };
        View {
            generation: i64::from(self.generation),
            deleting: self.deleting,
            policy: if self.orphan { DeletionPolicy::Orphan } else { DeletionPolicy::Remove },
            wants: pair(self.wants),
            finalizer: pair(self.finalizers),
            gates: self.gates.gates(),
            records: PerDriver {
                cpi: self.status[CPI].record(expired[CPI]),
                csi: self.status[CSI].record(expired[CSI]),
            },
        }
    }
}

/// A driver's objects: one workload, and one immutable configuration object for each revision.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Cluster {
    /// The workload's revision.
    pub workload: Rev,
    /// The set of revisions whose configuration object exists.
    pub configurations: u8,
    /// The workload is healthy in its revision.
    pub up: bool,
}

impl Cluster {
    /// Whether anything is there.
    pub fn any(&self) -> bool {
        self.workload.some() || self.configurations != 0
    }
    /// Whether every object of `rev` is there.
    pub fn complete(&self, rev: Rev) -> bool {
        rev.some() && self.workload == rev && self.configurations & rev.bit() != 0
    }
    /// Whether `rev` and nothing else is there.
    pub fn exactly(&self, rev: Rev) -> bool {
        self.workload == rev && self.configurations == rev.bit()
    }
    /// As an operator sees it.
    pub fn progress(&self, rev: Rev) -> Progress {
        match (self.complete(rev), self.up) {
            (false, _) => Progress::Missing,
            (true, false) => Progress::Applied,
            (true, true) => Progress::Healthy,
        }
    }
    /// As a listing by label shows it.
    pub fn listing(&self) -> Objects {
        match (self.workload.some(), self.configurations) {
            (true, _) => Objects::Workload,
            (false, 0) => Objects::Nothing,
            (false, _) => Objects::Leftovers,
        }
    }
}

/// `Something` or `Nothing`.
pub fn look(there: bool) -> Look {
    if there { Look::Something } else { Look::Nothing }
}

/// A driver's journal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Journal {
    /// The installed revision it names.
    pub inst: Rev,
    /// Every revision whose objects it knows.
    pub known: u8,
}

/// A process in the middle of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pass {
    /// What the shipped function decided.
    pub step: Step<u8, u8>,
    /// What the pass will report.
    pub after: Status,
    /// The act it is about to make; past the last one, the report.
    pub at: u8,
    /// In the midst of [`vdo_plan::order::Act::ApplyObjects`]: the configuration object is there.
    pub half: bool,
    /// Nobody has written the VDOConfig since it was read.
    pub fresh: bool,
    /// Nobody has written the journal since it was read.
    pub journal_fresh: bool,
}

/// A request that was sent before its process died, and has not been carried out yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Late {
    /// Who sent it.
    pub process: u8,
    /// The pass it belongs to.
    pub pass: Pass,
    /// For a deletion, the configuration object; 0 for the workload.
    pub bit: u8,
}

/// One state of the world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The VDOConfig.
    pub vdo: Vdo,
    /// The drivers' objects.
    pub cluster: [Cluster; 2],
    /// The drivers' journals.
    pub journal: [Journal; 2],
    /// The newest release of the matrix, 0 when none fits.
    pub matrix: u8,
    /// The configuration bit outside the VDOConfig.
    pub external: u8,
    /// Volumes of the driver exist.
    pub volumes: bool,
    /// Listings of volumes and of the other driver's objects fail, and inputs do not resolve.
    pub blind: bool,
    /// A workload that never gets healthy again.
    pub dead: [bool; 2],
    /// The attempt's deadline has passed.
    pub expired: [bool; 2],
    /// The gates that vdo-core is about to write, and whether its read is fresh.
    pub core: Option<(Published, bool)>,
    /// The processes of the operators.
    pub passes: [Option<Pass>; 3],
    /// A late request.
    pub late: Option<Late>,
    /// What a stale cache shows, in the variant that acts on it.
    pub cache: Vdo,
    /// User actions left.
    pub users: u8,
    /// Faults left.
    pub faults: u8,
    /// Objects that an orphaning has left behind.
    pub left: [bool; 2],
    /// Status was emptied, and nothing recorded since.
    pub lost: [bool; 2],
    /// The highest release ever recorded as installed, since the last removal.
    pub highest: [u8; 2],
    /// Violations.
    pub bad: u16,
}
