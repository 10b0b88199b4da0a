//! A matrix and a cluster far larger than any that is known, for what a choice costs.

use vdo_compat::{
    Bound, Bounds, Cluster, Driver, Evidence, Grade, KubernetesVersion, Line, Marks, Matrix, Movement, Range,
    Release, Rendering, Request, Row, Source, Vcenter, Version, VsphereVersion,
};

/// Rows of the matrix, ten to a line of releases.
pub const ROWS: u32 = 200;
const VCENTERS: u32 = 5;

fn bound<V: Version>(range: Range<V>) -> Bound<V> {
    Bound { range, evidence: Evidence { grade: Grade::Stated, reference: "a benchmark".into() } }
}

/// Each line of releases is made for three minors of Kubernetes and runs on all from 1.20 on.
fn row(at: u32) -> Row {
    let (line, patch) = (at / 10, at % 10);
    let made_for = Range::between(Line::new(&[1, 20 + line]), Line::new(&[1, 22 + line]));
    Row {
        driver: Driver::Csi,
        release: Release::new(3, line, patch),
        kubernetes: Bounds {
            hard: bound(Range::at_least(Line::new(&[1, 20]))),
            recommended: Some(bound(made_for)),
        },
        vsphere: Bounds {
            hard: bound(Range::at_least(Line::new(&[7, 0]))),
            recommended: Some(bound(Range::between(Line::new(&[7, 0]), Line::new(&[9, 0])))),
        },
        esxi: None,
        upgrades_from: Range::ANY,
        needs_cpi: true,
        rendering: Rendering::BuiltIn,
        marks: Marks::default(),
        source: None,
        images: Vec::new(),
        deployment_path: Vec::new(),
    }
}

fn cluster(kubernetes: KubernetesVersion, vsphere: VsphereVersion) -> Cluster {
    let vcenter = |at| Vcenter {
        hosts: vec![VsphereVersion::new(8, 0, 3); 4],
        ..Vcenter::new(format!("vcenter-{at}.example.com"), vsphere)
    };
    Cluster { kubernetes, vcenters: (0..VCENTERS).map(vcenter).collect() }
}

/// One choice: what is asked, of which cluster.
pub struct Choice {
    /// What the figure is called.
    pub name: &'static str,
    /// Of which cluster.
    pub cluster: Cluster,
    /// What is asked.
    pub request: Request,
    /// Whether there is a release.
    pub is_chosen: bool,
}

/// The matrix.
pub fn matrix() -> Matrix {
    Matrix { source: Source::ConfigMap, serial: None, digest: "0".into(), rows: (0..ROWS).map(row).collect() }
}

/// The choices that are measured.
pub fn choices() -> [Choice; 3] {
    let fits = cluster(KubernetesVersion::new(1, 34, 2), VsphereVersion::new(8, 0, 3));
    let refused = cluster(KubernetesVersion::new(1, 34, 2), VsphereVersion::new(6, 7, 3));
    let first = Request::default();
    let moving =
        Request { installed: Some(Release::new(3, 5, 0)), movement: Movement::Latest, ..Request::default() };
    [
        Choice { name: "chooseFirstMicroseconds", cluster: fits.clone(), request: first, is_chosen: true },
        Choice { name: "chooseNewerMicroseconds", cluster: fits, request: moving, is_chosen: true },
        Choice { name: "refuseMicroseconds", cluster: refused, request: first, is_chosen: false },
    ]
}
