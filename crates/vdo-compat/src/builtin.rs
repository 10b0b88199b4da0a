//! The matrix that ships in the binary: releases whose images can be pulled today and whose objects we build.

use std::sync::LazyLock;

use crate::matrix::{
    Backing, Caution, Channel, Driver, Evidence, Grade, Marks, Matrix, Rendering, Row, Source, short_digest,
};
use crate::range::{Line, Range};
use crate::version::{KubernetesVersion, Release, VsphereVersion};

/// The built-in matrix.
pub fn matrix() -> &'static Matrix {
    static MATRIX: LazyLock<Matrix> = LazyLock::new(|| {
        let rows: Vec<Row> = CPI.iter().map(cpi_row).chain(CSI.iter().map(csi_row)).collect();
        let content = serde_json::to_vec(&rows).expect("rows have no map with keys other than strings");
        Matrix { source: Source::BuiltIn, serial: None, digest: short_digest(&content), rows }
    });
    &MATRIX
}

/// Do the operators of this version build the objects of this release?
pub fn renders(driver: Driver, release: Release) -> bool {
    matrix().row(driver, release).is_some()
}

/// Minor and patch of each CPI 1.x release. The registry is promoted to by hand, so a tag upstream is no proof
/// of an image; 1.32.0 is the reverse, an image without a tag. Images up to 1.27 are gone for good.
const CPI: [(u32, u32); 11] = [
    (32, 0),
    (32, 1),
    (32, 2),
    (32, 3),
    (33, 0),
    (33, 1),
    (34, 0),
    (35, 0),
    (35, 1),
    (36, 0),
    // Its published manifest selects a label that no current cluster has. Ours is rendered, so the release is
    // as good as any.
    (37, 0),
];

const CPI_README: &str = "https://github.com/kubernetes/cloud-provider-vsphere#compatibility-with-kubernetes";
const CPI_BOOK: &str = "https://github.com/kubernetes/cloud-provider-vsphere/tree/master/docs/book";

/// A CPI minor is made for the Kubernetes minor of the same number. Kubernetes' own skew policy also allows a
/// cloud controller manager one minor older than the API server, never a newer one; that step is what lets the
/// control plane be upgraded first.
fn cpi_row(&(minor, patch): &(u32, u32)) -> Row {
    let newer_server = Line::new(&[1, minor + 1]);
    Row {
        driver: Driver::Cpi,
        release: Release::new(1, minor, patch),
        kubernetes: Range::between(Line::new(&[1, minor]), newer_server),
        // 6.7 Update 3, which is API version 6.7.3. No upper bound is stated, and the binary checks none.
        vsphere: Range::at_least(Line::new(&[6, 7, 3])),
        needs_cpi: false,
        rendering: Rendering::BuiltIn,
        marks: Marks {
            channel: Channel::Stable,
            known_bad: None,
            end_of_support: None,
            cautions: vec![Caution {
                kubernetes: Range::only(newer_server),
                vsphere: Range::ANY,
                text: format!(
                    "CPI 1.{minor} is made for Kubernetes 1.{minor}; one minor behind the API server is within \
                     Kubernetes' skew policy, but move CPI before the kubelets"
                ),
            }],
        },
        deployment_path: Vec::new(),
        evidence: Evidence {
            kubernetes: Backing { grade: Grade::Documented, reference: CPI_README.into() },
            vsphere: Backing { grade: Grade::Documented, reference: CPI_BOOK.into() },
        },
    }
}

/// What is known of one CSI release.
struct CsiFacts {
    release: (u32, u32, u32),
    /// First and last Kubernetes 1.x. Since 2.3 a minor line of the driver supports N to N+2.
    kubernetes: (u32, u32),
    kubernetes_by: (Grade, &'static str),
    /// The newest vSphere line that its makers name or that is known to work. The oldest is 7.0 throughout: since
    /// 3.2.0 the driver exits where vSAN file service calls are missing.
    vsphere_to: (u32, u32),
    vsphere_by: (Grade, &'static str),
}

const NOTES_3_3: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.3.0";
const NOTES_3_4: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.4.0";
const NOTES_3_5: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.5.0";
const NOTES_3_6: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.6.0";
const NOTES_3_8: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.8.0";
const CHART_3_7: &str = "https://github.com/vsphere-tmm/helm-charts/pull/106";

const LINE_3_5: CsiFacts = CsiFacts {
    release: (3, 5, 0),
    kubernetes: (31, 33),
    kubernetes_by: (Grade::Documented, NOTES_3_5),
    vsphere_to: (9, 0),
    vsphere_by: (Grade::Inferred, NOTES_3_5),
};
const LINE_3_6: CsiFacts = CsiFacts {
    release: (3, 6, 0),
    kubernetes: (32, 34),
    kubernetes_by: (Grade::Documented, NOTES_3_6),
    vsphere_to: (9, 0),
    vsphere_by: (Grade::Inferred, NOTES_3_6),
};
const LINE_3_7: CsiFacts = CsiFacts {
    release: (3, 7, 0),
    kubernetes: (33, 35),
    kubernetes_by: (Grade::Documented, CHART_3_7),
    vsphere_to: (9, 1),
    vsphere_by: (Grade::Inferred, CHART_3_7),
};

const CSI: [CsiFacts; 13] = [
    CsiFacts {
        release: (3, 3, 1),
        // The upper end is in the release note, the lower one follows from the pattern.
        kubernetes: (28, 30),
        kubernetes_by: (Grade::Inferred, NOTES_3_3),
        // The note names features of 8.0 U3.
        vsphere_to: (8, 0),
        vsphere_by: (Grade::Documented, NOTES_3_3),
    },
    CsiFacts {
        release: (3, 4, 0),
        kubernetes: (30, 32),
        kubernetes_by: (Grade::Inferred, NOTES_3_4),
        vsphere_to: (8, 0),
        vsphere_by: (Grade::Inferred, NOTES_3_4),
    },
    LINE_3_5,
    CsiFacts { release: (3, 5, 1), ..LINE_3_5 },
    LINE_3_6,
    CsiFacts { release: (3, 6, 1), ..LINE_3_6 },
    CsiFacts { release: (3, 6, 2), ..LINE_3_6 },
    CsiFacts { release: (3, 6, 3), ..LINE_3_6 },
    LINE_3_7,
    // From here on the controller exits when the VM of a registered node is not found; csi-operator looks first.
    CsiFacts { release: (3, 7, 1), ..LINE_3_7 },
    CsiFacts { release: (3, 7, 2), ..LINE_3_7 },
    CsiFacts { release: (3, 7, 3), ..LINE_3_7 },
    CsiFacts {
        release: (3, 8, 0),
        kubernetes: (34, 36),
        kubernetes_by: (Grade::Documented, NOTES_3_8),
        vsphere_to: (9, 1),
        vsphere_by: (Grade::Inferred, NOTES_3_8),
    },
];

/// The first release built with a Go whose FIPS module refuses the TLS of some vCenter 7.0 (rancher/rancher#56983
/// against kubermatic/kubermatic#15766: the Go version decides).
const STRICT_TLS_FROM: (u32, u32, u32) = (3, 6, 1);

fn csi_row(facts: &CsiFacts) -> Row {
    let (major, minor, patch) = facts.release;
    let (oldest, newest) = facts.kubernetes;
    let (vsphere_major, vsphere_minor) = facts.vsphere_to;
    let backing = |(grade, reference): (Grade, &str)| Backing { grade, reference: reference.into() };
    let strict_tls = Caution {
        kubernetes: Range::<KubernetesVersion>::ANY,
        vsphere: Range::<VsphereVersion>::only(Line::new(&[7, 0])),
        text: format!(
            "CSI {major}.{minor}.{patch} is built with FIPS TLS, which some vCenter 7.0 cannot speak (\"requires \
             the use of Extended Master Secret\"); try it on a test cluster first"
        ),
    };
    Row {
        driver: Driver::Csi,
        release: Release::new(major, minor, patch),
        kubernetes: Range::between(Line::new(&[1, oldest]), Line::new(&[1, newest])),
        vsphere: Range::between(Line::new(&[7, 0]), Line::new(&[vsphere_major, vsphere_minor])),
        needs_cpi: true,
        rendering: Rendering::BuiltIn,
        marks: Marks {
            channel: Channel::Stable,
            known_bad: None,
            end_of_support: None,
            cautions: if facts.release >= STRICT_TLS_FROM { vec![strict_tls] } else { Vec::new() },
        },
        deployment_path: Vec::new(),
        evidence: Evidence { kubernetes: backing(facts.kubernetes_by), vsphere: backing(facts.vsphere_by) },
    }
}

#[cfg(test)]
mod tests;
