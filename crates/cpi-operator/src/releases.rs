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

/// Where a release takes the credentials from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialsFrom {
    /// From files, read at the first login and never again. Up to 1.31 the other way would need the right to read every
    /// Secret of the cluster: those releases follow Secrets in all namespaces, whatever their configuration says.
    Files,
    /// From the Secret, which it follows in its own namespace, so a new password needs no restart.
    Secret,
}

/// What a release does when it is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtItsEnd {
    /// It goes on, with informers that have stopped, until it is killed. Its vCenter session stays behind.
    WaitsToBeKilled,
    /// It logs out of every vCenter and ends.
    LogsOut,
}

/// The facts of one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// The release, as in `1.36.0`.
    pub release: &'static str,
    /// The digest of its image, where it has been published in the promotion list.
    pub digest: Option<&'static str>,
    /// Where it takes the credentials from.
    pub credentials: CredentialsFrom,
    /// What it does when it is told to end.
    pub at_its_end: AtItsEnd,
}

const fn facts(release: &'static str, digest: Option<&'static str>) -> ReleaseFacts {
    ReleaseFacts { release, digest, credentials: CredentialsFrom::Secret, at_its_end: AtItsEnd::LogsOut }
}

/// A release before 1.32.
const fn with_files(release: &'static str, digest: &'static str) -> ReleaseFacts {
    ReleaseFacts { credentials: CredentialsFrom::Files, ..facts(release, Some(digest)) }
}

/// A release before 1.29.
const fn without_logout(release: &'static str, digest: &'static str) -> ReleaseFacts {
    ReleaseFacts { at_its_end: AtItsEnd::WaitsToBeKilled, ..with_files(release, digest) }
}

/// Every release that we render, oldest first.
pub const RELEASES: &[ReleaseFacts] = &[
    without_logout("1.28.1", "sha256:2f89e43e61f66be407355159c323b16dbc792359e113132179a0cd6198980008"),
    with_files("1.29.0", "sha256:8b340f08703019f25d7f9fd6231303ebf378bcf498f90cd3b2c69209384f7f95"),
    with_files("1.30.0", "sha256:0186c486bad3ef1528942a4c363ecff22494aa981b5c0bd6dc923e85cb0a5e5a"),
    with_files("1.30.1", "sha256:2b3c7b8fa45c88dd174b29cd95d2f6142ab478786b7c0dbb1561fa9fc8540acf"),
    with_files("1.30.2", "sha256:47fdb4f081aac3be50e8159fcdb02541b3f3ba7eec206e050d931ef255220431"),
    with_files("1.31.0", "sha256:0275525a0cfc0794c1e128811a3fa7ae74d5276f2c57564c74ad214980e48094"),
    with_files("1.31.1", "sha256:cdea8814c43e0c829f59488e9342dd33be3cffb4260281f6b027ad8503443e13"),
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
