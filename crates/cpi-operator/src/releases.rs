//! What differs between the releases of the cloud provider that we render.
//!
//! Sources: the promotion list of registry.k8s.io for images and digests (kubernetes/k8s.io,
//! `registry.k8s.io/images/k8s-staging-cloud-pv-vsphere`), the release branches of
//! kubernetes/cloud-provider-vsphere for flags.

use vdo_compat::Release;

/// The image of every release, without registry and tag.
pub const IMAGE: &str = "cloud-pv-vsphere/cloud-provider-vsphere";
/// The registry that releases are promoted to.
pub const REGISTRY: &str = "registry.k8s.io";

/// The facts of one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// The release, as in `1.36.0`.
    pub release: &'static str,
    /// The digest of its image, where it has been published in the promotion list.
    pub digest: Option<&'static str>,
}

const fn facts(release: &'static str, digest: Option<&'static str>) -> ReleaseFacts {
    ReleaseFacts { release, digest }
}

/// Every release that we render, oldest first.
pub const RELEASES: &[ReleaseFacts] = &[
    facts("1.32.0", Some("sha256:f9f4dfd733ab3c7464fd149f34879ee25ea49c98754dfabfc67488f2227e81e7")),
    facts("1.32.1", Some("sha256:ba0b3b470ba9b0fbe88c68d70fde451ae4576ebbb197c59dfb1c098623f1d959")),
    facts("1.32.2", Some("sha256:35089eab60062631b49992b899438172391cdbe843d0bf6f9d0d5181414c5990")),
    facts("1.32.3", None),
    facts("1.33.0", None),
    facts("1.33.1", None),
    facts("1.34.0", None),
    facts("1.35.0", None),
    facts("1.35.1", None),
    facts("1.36.0", None),
    facts("1.37.0", None),
];

/// The facts of a release, if we render it.
pub fn of(release: Release) -> Option<&'static ReleaseFacts> {
    RELEASES.iter().find(|facts| facts.release.parse() == Ok(release))
}

impl ReleaseFacts {
    /// The reference of its image; `registry` replaces the one that it was promoted to.
    pub fn image(&self, registry: Option<&str>) -> String {
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{}/{IMAGE}:v{}{digest}", registry.unwrap_or(REGISTRY), self.release)
    }
}

/// Whether an image is a cloud provider for vSphere, whoever built or mirrored it.
pub fn is_image(image: &str) -> bool {
    let names = [
        "/cloud-provider-vsphere",
        "cloud-provider-vsphere/cpi",
        "cloud-provider-vsphere-cpi",
        "vsphere-cpi",
    ];
    names.iter().any(|name| image.contains(name)) && !image.contains("cloud-provider-vsphere/csi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_old_registries_are_recognised_and_the_storage_driver_is_not() {
        for image in [
            "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0",
            "gcr.io/cloud-provider-vsphere/cpi/release/manager:v1.27.0",
            "quay.io/kubermatic/mirror/cloud-provider-vsphere/ccm:v1.26.2",
            "rancher/mirrored-cloud-provider-vsphere-cpi-release-manager:v1.30.1",
        ] {
            assert!(is_image(image), "{image}");
        }
        for image in ["gcr.io/cloud-provider-vsphere/csi/release/driver:v2.7.0", "registry.k8s.io/pause:3.10"]
        {
            assert!(!is_image(image), "{image}");
        }
    }
}
