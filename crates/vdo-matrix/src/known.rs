//! Facts that a matrix is judged by, each with its source.

use vdo_compat::{Driver, KubernetesVersion, Release, VsphereVersion};

/// A registry that no driver image can be pulled from any more, or not for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// How an image in it begins.
    pub prefix: &'static str,
    /// What became of it.
    pub fate: &'static str,
    /// Where that is told.
    pub source: &'static str,
}

/// Registries that matrices of the past name.
pub const RETIRED: [Retired; 4] = [
    Retired {
        prefix: "gcr.io/cloud-provider-vsphere",
        fate: "was deleted in September 2024",
        source: "https://github.com/kubernetes-sigs/vsphere-csi-driver/issues/3053",
    },
    Retired {
        prefix: "k8s.gcr.io",
        fate: "is frozen; registry.k8s.io has the same images",
        source: "https://kubernetes.io/blog/2023/03/10/image-registry-redirect/",
    },
    Retired {
        prefix: "gcr.io/kubebuilder",
        fate: "is retired",
        source: "https://github.com/kubernetes-sigs/kubebuilder/discussions/3907",
    },
    Retired {
        prefix: "projects.registry.vmware.com",
        fate: "is retired",
        source: "https://github.com/vmware-archive/vcenter-event-broker-appliance/issues/1234",
    },
];

/// The registry that the drivers' makers publish in.
pub const LIVING: &str = "registry.k8s.io";

/// The oldest API server that the operators run on (chart `vdo`, `kubeVersion`).
pub const OLDEST_KUBERNETES: KubernetesVersion = KubernetesVersion::new(1, 31, 0);

/// CPI releases with a tag and without an image in the registry: they were never promoted
/// (<https://github.com/kubernetes/k8s.io>, where images are promoted by hand).
const CPI_NEVER_PROMOTED: [(u32, u32, u32); 2] = [(1, 29, 1), (1, 29, 2)];
/// The first releases whose images are in [`LIVING`].
const FIRST_CPI: Release = Release::new(1, 28, 0);
const FIRST_CSI: Release = Release::new(3, 1, 2);
/// From here on the driver exits on a vCenter before 7.0
/// (<https://github.com/kubernetes-sigs/vsphere-csi-driver/issues/3000>).
const CSI_NEEDS_SEVEN: Release = Release::new(3, 2, 0);

/// The releases of a driver that its makers still list as current. They mend no older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Of which driver.
    pub driver: Driver,
    /// The oldest.
    pub from: Release,
    /// Where that is told.
    pub source: &'static str,
}

/// What the makers say themselves. Those of CSI publish no such list, and neither of them publishes days.
pub const CURRENT: [Current; 1] = [Current {
    driver: Driver::Cpi,
    from: Release::new(1, 29, 0),
    source: "https://github.com/kubernetes/cloud-provider-vsphere#compatibility-with-kubernetes",
}];

/// The list of current releases that a release is too old for, if its makers have one.
pub fn given_up(driver: Driver, release: Release) -> Option<&'static Current> {
    CURRENT.iter().find(|it| it.driver == driver && release < it.from)
}

/// Whether the makers' image of a release can be pulled today.
pub fn has_image(driver: Driver, release: Release) -> bool {
    match driver {
        Driver::Cpi => release >= FIRST_CPI && !CPI_NEVER_PROMOTED.contains(&release.triple()),
        Driver::Csi => release >= FIRST_CSI,
    }
}

/// The oldest vCenter that a release runs with: 6.7 Update 3, or 7.0.
pub fn oldest_vsphere(driver: Driver, release: Release) -> VsphereVersion {
    match driver {
        Driver::Csi if release >= CSI_NEEDS_SEVEN => VsphereVersion::new(7, 0, 0),
        Driver::Csi | Driver::Cpi => VsphereVersion::new(6, 7, 3),
    }
}

/// The retired registry that a text names, if it names one.
pub fn retired(text: &str) -> Option<&'static Retired> {
    RETIRED.iter().find(|it| {
        text.match_indices(it.prefix).any(|(at, _)| {
            // `mirror.example.com/gcr.io/kubebuilder` is a mirror, and `k8s.gcr.iowa.example` another host.
            let before = text[..at].chars().next_back();
            let after = text[at + it.prefix.len()..].chars().next();
            let ends =
                |c: Option<char>| c.is_none_or(|c| c == '/' || c == ':' || c == '@' || c.is_whitespace());
            before.is_none_or(|c| c.is_whitespace() || c == '"' || c == '\'') && ends(after)
        })
    })
}

#[cfg(test)]
mod tests {
    use vdo_compat::builtin;

    use super::*;

    #[test]
    fn every_built_in_release_has_an_image_and_its_floor() {
        for row in &builtin::matrix().rows {
            assert!(has_image(row.driver, row.release), "{} {}", row.driver, row.release);
            let oldest = oldest_vsphere(row.driver, row.release);
            assert!(row.vsphere.hard.range.holds(&oldest), "{} {} {oldest}", row.driver, row.release);
        }
        for gone in ["1.27.0", "1.29.1", "1.29.2"] {
            assert!(!has_image(Driver::Cpi, gone.parse().unwrap()), "{gone}");
        }
        assert!(!has_image(Driver::Csi, "3.1.1".parse().unwrap()));
        assert_eq!(oldest_vsphere(Driver::Csi, "3.1.2".parse().unwrap()).to_string(), "6.7.3");
    }

    #[test]
    fn makers_have_given_up_what_is_older_than_their_list_and_without_a_list_nothing() {
        let from = |driver, release: &str| given_up(driver, release.parse().unwrap()).map(|it| it.from);
        assert_eq!(from(Driver::Cpi, "1.28.1"), Some(Release::new(1, 29, 0)));
        assert_eq!(from(Driver::Cpi, "1.29.0"), None);
        assert_eq!(from(Driver::Csi, "2.0.0"), None);
    }

    #[test]
    fn a_retired_registry_is_one_at_the_beginning_of_an_image() {
        let fate = |image: &str| retired(image).map(|it| it.prefix);
        assert_eq!(
            fate("gcr.io/cloud-provider-vsphere/cpi/release/manager:v1.2.1"),
            Some("gcr.io/cloud-provider-vsphere")
        );
        assert_eq!(fate("image: k8s.gcr.io/sig-storage/livenessprobe:v2.7.0"), Some("k8s.gcr.io"));
        assert_eq!(fate("mirror.example.com/k8s.gcr.io/sig-storage/livenessprobe:v2.7.0"), None);
        assert_eq!(fate("k8s.gcr.iowa.example/x"), None);
        assert_eq!(fate("registry.k8s.io/csi-vsphere/driver:v3.7.0"), None);
    }
}
