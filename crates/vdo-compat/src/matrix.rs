//! The table that selection reads, wherever it came from.

use std::fmt;

use serde::Serialize;

use crate::range::Range;
use crate::version::{KubernetesVersion, Release, Version, VsphereVersion};

/// A driver that has rows of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Driver {
    /// The cloud controller manager, which initialises nodes.
    #[serde(rename = "CPI")]
    Cpi,
    /// The storage driver.
    #[serde(rename = "CSI")]
    Csi,
}

impl Driver {
    /// The name that people and the original's matrix use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpi => "CPI",
            Self::Csi => "CSI",
        }
    }

    /// The field of VDOConfig that pins a release.
    pub const fn pin_field(self) -> &'static str {
        match self {
            Self::Cpi => "spec.cloudProvider.version",
            Self::Csi => "spec.storageProvider.version",
        }
    }

    /// The field of VDOConfig that offers candidates too.
    pub const fn channel_field(self) -> &'static str {
        match self {
            Self::Cpi => "spec.cloudProvider.channel",
            Self::Csi => "spec.storageProvider.channel",
        }
    }

    /// The field of VDOConfig that lets a pin go back to an older release.
    pub const fn downgrade_field(self) -> &'static str {
        match self {
            Self::Cpi => "spec.cloudProvider.downgrade",
            Self::Csi => "spec.storageProvider.downgrade",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a matrix came from. The names are shown in status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Source {
    /// Compiled into this program.
    BuiltIn,
    /// Written out in the ConfigMap.
    ConfigMap,
    /// Fetched from the address that the ConfigMap names.
    Url,
    /// Fetched from the address that a CompatibilityConfig names.
    CompatibilityConfig,
}

impl Source {
    /// The name shown in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BuiltIn => "BuiltIn",
            Self::ConfigMap => "ConfigMap",
            Self::Url => "Url",
            Self::CompatibilityConfig => "CompatibilityConfig",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All rows of one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Where the rows came from.
    pub source: Source,
    /// The number an author counts up, so that an older copy can be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<u64>,
    /// Short SHA-256 of the content. For telling matrices apart, not for trusting one.
    pub digest: String,
    /// The rows, in any order, at most one for each release of a driver.
    pub rows: Vec<Row>,
}

impl Matrix {
    /// The rows of one driver.
    pub fn rows_of(&self, driver: Driver) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.driver == driver)
    }

    /// The row of a release, if there is one.
    pub fn row(&self, driver: Driver, release: Release) -> Option<&Row> {
        self.rows_of(driver).find(|row| row.release == release)
    }

    /// Whether some row of the driver says anything of the ESXi hosts. Where none does, nobody has to look at them.
    pub fn bounds_esxi(&self, driver: Driver) -> bool {
        self.rows_of(driver).any(|row| row.esxi.is_some())
    }
}

/// The first sixteen hex digits of the SHA-256 of some content.
pub fn short_digest(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// One driver release and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The driver.
    pub driver: Driver,
    /// Its release.
    pub release: Release,
    /// The API servers it runs against.
    pub kubernetes: Bounds<KubernetesVersion>,
    /// The vCenters it runs against; every vCenter of the cluster must be in here.
    pub vsphere: Bounds<VsphereVersion>,
    /// The ESXi hosts it runs on, where the row says something of them; every host whose version is known must be in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub esxi: Option<Bounds<VsphereVersion>>,
    /// The releases that may be installed when this one is: any, unless makers say otherwise.
    pub upgrades_from: Range<Release>,
    /// Does this release wait for nodes that a cloud provider initialised? Always false for CPI.
    pub needs_cpi: bool,
    /// How its objects are made.
    pub rendering: Rendering,
    /// What else is known of it.
    pub marks: Marks,
    /// Where its makers publish it, if the row says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The images that its author names. Read to be shown and checked; the operators know those of the releases they build.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<String>,
    /// The manifests that the original's format lists. Read, and never applied for a release we render.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deployment_path: Vec<String>,
}

/// What a release runs with: where it is refused, and where it is advised against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds<V: Version> {
    /// Outside of this range the release is refused.
    pub hard: Bound<V>,
    /// Outside of this range the admin is warned. None: there is nothing to warn of within the hard bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended: Option<Bound<V>>,
}

/// One range, and why it is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bound<V: Version> {
    /// The versions in it.
    #[serde(flatten)]
    pub range: Range<V>,
    /// Its ground.
    pub evidence: Evidence,
}

impl<V: Version> Bounds<V> {
    /// The recommended range, or all that is not refused.
    pub fn window(&self) -> &Bound<V> {
        self.recommended.as_ref().unwrap_or(&self.hard)
    }

    /// How well the weaker of the ranges is founded.
    pub fn weakest(&self) -> Grade {
        self.recommended.iter().map(|bound| bound.evidence.grade).fold(self.hard.evidence.grade, Grade::min)
    }
}

/// How the objects of a release are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Rendering {
    /// The operators know this release and build its objects.
    BuiltIn,
    /// Only manifests are given, which no operator applies.
    Bundle,
}

/// What is known of a release beyond its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Marks {
    /// Who it is offered to.
    pub channel: Channel,
    /// Why it must not be installed any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_bad: Option<String>,
    /// The day (`2026-08-31`) on which its makers stop mending it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_of_support: Option<String>,
    /// What to say, and not refuse, on some clusters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<Caution>,
}

/// Who a release is offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub enum Channel {
    /// Everybody.
    #[default]
    Stable,
    /// Those who ask for candidates, or pin this release.
    Candidate,
}

/// Something to tell the admin of a cluster that lies in all of the ranges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caution {
    /// API servers it concerns.
    pub kubernetes: Range<KubernetesVersion>,
    /// vCenters it concerns; one of the cluster's in here is enough.
    pub vsphere: Range<VsphereVersion>,
    /// Only those who leave a release in this range; none: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<Range<Release>>,
    /// A sentence without a full stop.
    pub text: String,
}

/// Why a range is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How well it is founded.
    pub grade: Grade,
    /// On what: a public document, an issue, or the matrix itself.
    pub reference: String,
}

/// How well a range is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Grade {
    /// The author of a matrix says so, and names no ground.
    Stated,
    /// It follows from neighbouring facts, but nobody wrote it down.
    Inferred,
    /// The makers of the driver wrote it down.
    Documented,
    /// It was seen to work.
    Tested,
}
