//! The matrix that ships in the binary: releases whose images can be pulled today and whose objects we build.

use std::sync::LazyLock;

use crate::matrix::{
    Bound, Bounds, Caution, Channel, Driver, Evidence, Grade, Marks, Matrix, Rendering, Row, Source,
    short_digest,
};
use crate::range::{Line, Range};
use crate::version::{KubernetesVersion, Release, Version, VsphereVersion};

/// The built-in matrix.
pub fn matrix() -> &'static Matrix {
    static MATRIX: LazyLock<Matrix> = LazyLock::new(build);
    &MATRIX
}

/// Builds it anew. Only the benchmark asks for that; everybody else shares [`matrix`].
#[doc(hidden)]
pub fn build() -> Matrix {
    let rows: Vec<Row> = CPI.iter().map(cpi_row).chain(CSI.iter().map(csi_row)).collect();
    let content = serde_json::to_vec(&rows).expect("rows have no map with keys other than strings");
    Matrix { source: Source::BuiltIn, serial: None, digest: short_digest(&content), rows }
}

/// Do the operators of this version build the objects of this release?
pub fn renders(driver: Driver, release: Release) -> bool {
    matrix().row(driver, release).is_some()
}

/// Minor and patch of each CPI 1.x release. The registry is promoted to by hand, so a tag upstream is no proof
/// of an image (1.29.1 and 1.29.2 never became one); 1.32.0 is the reverse, an image without a tag. Images up to 1.27
/// are gone for good.
const CPI: [(u32, u32); 18] = [
    (28, 1),
    (29, 0),
    (30, 0),
    (30, 1),
    (30, 2),
    (31, 0),
    (31, 1),
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

const CPI_BOOK: &str = "https://github.com/kubernetes/cloud-provider-vsphere/tree/master/docs/book";
const SKEW_POLICY: &str = "https://kubernetes.io/releases/version-skew-policy/#kube-controller-manager-kube-scheduler-and-cloud-controller-manager";

/// The first CPI 1.x that logs out of its vCenters when it ends: `SessionLogout` in its main package.
const LOGS_OUT_FROM: u32 = 29;

fn bound<V: Version>(range: Range<V>, (grade, reference): (Grade, &str)) -> Bound<V> {
    Bound { range, evidence: Evidence { grade, reference: reference.into() } }
}

/// A CPI minor is made for the Kubernetes minor of the same number. Kubernetes' own skew policy also allows a
/// cloud controller manager one minor older than the API server, never a newer one; that step is what lets the
/// control plane be upgraded first. Further behind nothing is known to break: it only uses APIs that stay. The makers
/// themselves promise the same number and nothing else
/// (<https://github.com/kubernetes/cloud-provider-vsphere#compatibility-with-kubernetes>), so of both ranges an end is inferred.
fn cpi_row(&(minor, patch): &(u32, u32)) -> Row {
    let (own, newer_server) = (Line::new(&[1, minor]), Line::new(&[1, minor + 1]));
    let behind = Caution {
        kubernetes: Range::only(newer_server),
        vsphere: Range::ANY,
        leaving: None,
        text: format!(
            "CPI 1.{minor} is made for Kubernetes 1.{minor}; one minor behind the API server is within Kubernetes' skew \
             policy, but move CPI before the kubelets"
        ),
    };
    let stays_logged_in = Caution {
        kubernetes: Range::ANY,
        vsphere: Range::ANY,
        leaving: None,
        text: format!(
            "CPI 1.{minor} does not log out when it ends: each restart leaves a session in every vCenter until that \
             ends it for being idle"
        ),
    };
    let cautions = [Some(behind), (minor < LOGS_OUT_FROM).then_some(stays_logged_in)];
    Row {
        driver: Driver::Cpi,
        release: Release::new(1, minor, patch),
        kubernetes: Bounds {
            hard: bound(Range::at_least(own), (Grade::Inferred, SKEW_POLICY)),
            recommended: Some(bound(Range::between(own, newer_server), (Grade::Inferred, SKEW_POLICY))),
        },
        // 6.7 Update 3, which is API version 6.7.3. No upper bound is stated, and the binary checks none.
        vsphere: Bounds {
            hard: bound(Range::at_least(Line::new(&[6, 7, 3])), (Grade::Documented, CPI_BOOK)),
            recommended: None,
        },
        esxi: None,
        // Before 1.18 its configuration was a Secret and its pods had other labels.
        upgrades_from: Range::at_least(Line::new(&[1, 18])),
        needs_cpi: false,
        rendering: Rendering::BuiltIn,
        marks: Marks {
            channel: Channel::Stable,
            known_bad: None,
            end_of_support: None,
            cautions: cautions.into_iter().flatten().collect(),
        },
        source: Some(format!("https://github.com/kubernetes/cloud-provider-vsphere/tree/release-1.{minor}")),
        images: Vec::new(),
        deployment_path: Vec::new(),
    }
}

/// What is known of one CSI release.
struct CsiFacts {
    release: (u32, u32, u32),
    /// First and last Kubernetes 1.x that it is made for. Since 2.3 a minor line of the driver supports N to N+2.
    kubernetes: (u32, u32),
    kubernetes_by: (Grade, &'static str),
    /// The oldest Kubernetes 1.x that it is known to run on.
    runs_from: u32,
    /// The oldest vSphere.
    vsphere_from: (u32, u32, u32),
    /// The newest vSphere line that its makers name or that is known to work.
    vsphere_to: (u32, u32),
    vsphere_by: (Grade, &'static str),
}

/// No binary checks the version of Kubernetes, and Rancher's chart offers each release on wider ranges than its makers
/// do.
const RANCHER_CHART: &str = "https://github.com/rancher/vsphere-charts";
/// Since 3.2.0 the driver exits where vSAN file service calls are missing, as on vSphere 6.7.
const NEEDS_SEVEN: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/issues/3000";
/// Before that its own minimum counts: API version 6.7.3.
const NEEDS_SIX_SEVEN: &str =
    "https://github.com/kubernetes-sigs/vsphere-csi-driver/blob/v3.1.2/pkg/csi/service/common/constants.go";
const NOTES_3_1: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.1.2";
const NOTES_3_2: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.2.0";
const NOTES_3_3: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.3.0";
const NOTES_3_4: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.4.0";
const NOTES_3_5: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.5.0";
const NOTES_3_6: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.6.0";
/// OpenShift 4.18 to 4.21 are documented to run on vSphere 9, and bring CSI 3.6.
const OPENSHIFT: &str = "https://docs.redhat.com/en/documentation/openshift_container_platform/4.21/html/installing_on_vmware_vsphere";
const NOTES_3_8: &str = "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.8.0";
const CHART_3_7: &str = "https://github.com/vsphere-tmm/helm-charts/pull/106";

const LINE_3_3: CsiFacts = CsiFacts {
    release: (3, 3, 0),
    // The upper end is in the release note, the lower one follows from the pattern.
    kubernetes: (28, 30),
    kubernetes_by: (Grade::Inferred, NOTES_3_3),
    runs_from: 27,
    vsphere_from: (7, 0, 0),
    // The note names features of 8.0 U3.
    vsphere_to: (8, 0),
    vsphere_by: (Grade::Documented, NOTES_3_3),
};
const LINE_3_5: CsiFacts = CsiFacts {
    release: (3, 5, 0),
    kubernetes: (31, 33),
    kubernetes_by: (Grade::Documented, NOTES_3_5),
    vsphere_to: (9, 0),
    vsphere_by: (Grade::Inferred, NOTES_3_5),
    ..LINE_3_3
};
const LINE_3_6: CsiFacts = CsiFacts {
    release: (3, 6, 0),
    kubernetes: (32, 34),
    kubernetes_by: (Grade::Documented, NOTES_3_6),
    vsphere_to: (9, 0),
    vsphere_by: (Grade::Inferred, OPENSHIFT),
    ..LINE_3_3
};
const LINE_3_7: CsiFacts = CsiFacts {
    release: (3, 7, 0),
    kubernetes: (33, 35),
    kubernetes_by: (Grade::Documented, CHART_3_7),
    vsphere_to: (9, 1),
    vsphere_by: (Grade::Inferred, CHART_3_7),
    ..LINE_3_3
};

/// From the first whose images were moved to a registry that is still there.
const CSI: [CsiFacts; 16] = [
    CsiFacts {
        release: (3, 1, 2),
        kubernetes: (26, 28),
        kubernetes_by: (Grade::Inferred, NOTES_3_1),
        runs_from: 20,
        vsphere_from: (6, 7, 3),
        vsphere_to: (8, 0),
        vsphere_by: (Grade::Inferred, NOTES_3_1),
    },
    CsiFacts {
        release: (3, 2, 0),
        kubernetes: (27, 29),
        kubernetes_by: (Grade::Inferred, NOTES_3_2),
        vsphere_by: (Grade::Inferred, NOTES_3_2),
        ..LINE_3_3
    },
    LINE_3_3,
    CsiFacts { release: (3, 3, 1), ..LINE_3_3 },
    CsiFacts {
        release: (3, 4, 0),
        kubernetes: (30, 32),
        kubernetes_by: (Grade::Inferred, NOTES_3_4),
        vsphere_to: (8, 0),
        vsphere_by: (Grade::Inferred, NOTES_3_4),
        ..LINE_3_3
    },
    LINE_3_5,
    CsiFacts { release: (3, 5, 1), ..LINE_3_5 },
    LINE_3_6,
    CsiFacts { release: (3, 6, 1), ..LINE_3_6 },
    CsiFacts { release: (3, 6, 2), ..LINE_3_6 },
    CsiFacts { release: (3, 6, 3), ..LINE_3_6 },
    LINE_3_7,
    CsiFacts { release: (3, 7, 1), ..LINE_3_7 },
    CsiFacts { release: (3, 7, 2), ..LINE_3_7 },
    CsiFacts { release: (3, 7, 3), ..LINE_3_7 },
    CsiFacts {
        release: (3, 8, 0),
        kubernetes: (34, 36),
        kubernetes_by: (Grade::Documented, NOTES_3_8),
        vsphere_to: (9, 1),
        vsphere_by: (Grade::Inferred, NOTES_3_8),
        ..LINE_3_3
    },
];

/// The first release built with a Go whose FIPS module refuses the TLS of some vCenter 7.0 (rancher/rancher#56983
/// against kubermatic/kubermatic#15766: the Go version decides).
const STRICT_TLS_FROM: (u32, u32, u32) = (3, 6, 1);

/// The first release that ends when the VM of a registered node is not found.
const STRICT_NODES_FROM: (u32, u32, u32) = (3, 7, 1);

fn csi_row(facts: &CsiFacts) -> Row {
    let (major, minor, patch) = facts.release;
    let (oldest, newest) = facts.kubernetes;
    let (vsphere_major, vsphere_minor) = facts.vsphere_to;
    let floor = if facts.vsphere_from < (7, 0, 0) { NEEDS_SIX_SEVEN } else { NEEDS_SEVEN };
    // "7.0" holds each 7.0; an update is written down only where it counts.
    let vsphere_from = match facts.vsphere_from {
        (major, minor, 0) => Line::new(&[major, minor]),
        (major, minor, update) => Line::new(&[major, minor, update]),
    };
    let strict_tls = Caution {
        kubernetes: Range::<KubernetesVersion>::ANY,
        vsphere: Range::<VsphereVersion>::only(Line::new(&[7, 0])),
        leaving: None,
        text: format!(
            "CSI {major}.{minor}.{patch} is built with FIPS TLS, which some vCenter 7.0 cannot speak (\"requires \
             the use of Extended Master Secret\"); try it on a test cluster first"
        ),
    };
    let strict_nodes = Caution {
        kubernetes: Range::ANY,
        vsphere: Range::ANY,
        leaving: Some(Range::at_most(Line::new(&[3, 7, 0]))),
        text: "from CSI 3.7.1 on its controller ends when the VM of a registered node is not found; csi-operator looks \
               for such nodes before it moves"
            .to_owned(),
    };
    let cautions = [(STRICT_TLS_FROM, strict_tls), (STRICT_NODES_FROM, strict_nodes)];
    let cautions = cautions.into_iter().filter(|(from, _)| facts.release >= *from);
    Row {
        driver: Driver::Csi,
        release: Release::new(major, minor, patch),
        kubernetes: Bounds {
            hard: bound(Range::at_least(Line::new(&[1, facts.runs_from])), (Grade::Inferred, RANCHER_CHART)),
            recommended: Some(bound(
                Range::between(Line::new(&[1, oldest]), Line::new(&[1, newest])),
                facts.kubernetes_by,
            )),
        },
        vsphere: Bounds {
            hard: bound(Range::at_least(vsphere_from), (Grade::Documented, floor)),
            recommended: Some(bound(
                Range::between(vsphere_from, Line::new(&[vsphere_major, vsphere_minor])),
                facts.vsphere_by,
            )),
        },
        esxi: None,
        // 2.3 moved the driver to another namespace; what is older has to be taken away by hand first.
        upgrades_from: Range::at_least(Line::new(&[2, 3])),
        needs_cpi: true,
        rendering: Rendering::BuiltIn,
        marks: Marks {
            channel: Channel::Stable,
            known_bad: None,
            end_of_support: None,
            cautions: cautions.map(|(_, caution)| caution).collect(),
        },
        source: Some(format!(
            "https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v{major}.{minor}.{patch}"
        )),
        images: Vec::new(),
        deployment_path: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
