//! What differs between the releases of the driver. Everything else is the same for all and stands in `render`.
//!
//! Digests: <https://github.com/kubernetes/k8s.io/blob/main/registry.k8s.io/images/k8s-staging-csi-vsphere/images.yaml>.
//! Sidecars, arguments and feature states: the release's `manifests/vanilla` in
//! <https://github.com/kubernetes-sigs/vsphere-csi-driver>. A release whose images are gone has no entry.

use vdo_compat::Release;

/// A container image, by its place below a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    /// The registry that its makers publish it to.
    pub registry: &'static str,
    /// The path below the registry.
    pub path: &'static str,
    /// The tag.
    pub tag: &'static str,
    /// The digest in hexadecimal digits, where its makers publish one.
    pub sha256: Option<&'static str>,
}

impl Image {
    /// The reference of the image, by digest where one is known; `registry` replaces the one that it was published to.
    pub fn reference(&self, registry: Option<&str>) -> String {
        let Image { path, tag, .. } = self;
        let digest = self.sha256.map(|sha256| format!("@sha256:{sha256}")).unwrap_or_default();
        format!("{}/{path}:{tag}{digest}", registry.unwrap_or(self.registry))
    }
}

/// The sidecars that a release is qualified with.
#[derive(Clone, Copy, Debug)]
pub struct Sidecars {
    /// Attaches volumes.
    pub attacher: Image,
    /// Expands volumes.
    pub resizer: Image,
    /// Makes and deletes volumes.
    pub provisioner: Image,
    /// Makes and deletes snapshots.
    pub snapshotter: Image,
    /// Turns the driver's own health call into HTTP.
    pub liveness: Image,
    /// Registers the node plug-in with the kubelet.
    pub registrar: Image,
}

/// What is particular to one release.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseFacts {
    /// The release.
    pub release: Release,
    /// The driver, which is both the controller and the node plug-in.
    pub driver: Image,
    /// The syncer, which keeps vCenter's view of volumes in step.
    pub syncer: Image,
    /// The sidecars.
    pub sidecars: Sidecars,
    /// The switches that the release reads, and their values.
    pub feature_states: &'static [(&'static str, &'static str)],
    /// Arguments of the controller and the syncer that not every release knows.
    pub driver_args: &'static [&'static str],
    /// Arguments of the attacher that not every release uses.
    pub attacher_args: &'static [&'static str],
    /// Arguments of the resizer that not every release uses.
    pub resizer_args: &'static [&'static str],
    /// Arguments of the snapshotter that not every release uses.
    pub snapshotter_args: &'static [&'static str],
    /// Environment of the node plug-in that not every release reads.
    pub node_env: &'static [(&'static str, &'static str)],
    /// How it is told whom to trust.
    pub trusting: Trusting,
}

impl ReleaseFacts {
    /// Every image that it runs, its own first.
    pub fn images(&self) -> [Image; 8] {
        let Sidecars { attacher, resizer, provisioner, snapshotter, liveness, registrar } = self.sidecars;
        [self.driver, self.syncer, attacher, resizer, provisioner, snapshotter, liveness, registrar]
    }
}

/// How a release is told whom to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusting {
    /// For all vCenters together, by the SHA-1 fingerprint where it is by a fingerprint.
    Together,
    /// For each vCenter, by the SHA-256 fingerprint.
    Each,
}

/// The facts of a release, if we render it.
pub fn facts(release: &Release) -> Option<&'static ReleaseFacts> {
    RELEASES.iter().find(|facts| facts.release == *release)
}

/// Every release that we render, oldest first.
pub fn all() -> &'static [ReleaseFacts] {
    RELEASES
}

const fn of_driver(path: &'static str, tag: &'static str, sha256: Option<&'static str>) -> Image {
    Image { registry: "registry.k8s.io", path, tag, sha256 }
}

const fn driver(tag: &'static str, sha256: &'static str) -> Image {
    of_driver("csi-vsphere/driver", tag, Some(sha256))
}

const fn syncer(tag: &'static str, sha256: &'static str) -> Image {
    of_driver("csi-vsphere/syncer", tag, Some(sha256))
}

const fn sidecar(path: &'static str, tag: &'static str) -> Image {
    Image { registry: "registry.k8s.io", path, tag, sha256: None }
}

/// Two switches that stay off: a full sync on request, and a label that nothing here reads. From 3.2 on,
/// everything that graduated is built in and no longer read from here.
const SWITCHES: &[(&str, &str)] =
    &[("pv-to-backingdiskobjectid-mapping", "false"), ("trigger-csi-fullsync", "false")];

/// What 3.1 reads, at the values of its makers: from 3.2 on all of these are built in or gone.
const SWITCHES_3_1: &[(&str, &str)] = &[
    ("async-query-volume", "true"),
    ("block-volume-snapshot", "true"),
    ("cnsmgr-suspend-create-volume", "true"),
    ("csi-auth-check", "true"),
    ("csi-internal-generated-cluster-id", "true"),
    ("csi-migration", "true"),
    ("csi-windows-support", "true"),
    ("list-volumes", "true"),
    ("listview-tasks", "true"),
    ("max-pvscsi-targets-per-vm", "true"),
    ("multi-vcenter-csi-topology", "true"),
    ("online-volume-extend", "true"),
    ("pv-to-backingdiskobjectid-mapping", "false"),
    ("topology-preferential-datastores", "true"),
    ("trigger-csi-fullsync", "false"),
    ("use-csinode-id", "true"),
];

/// 3.6 alone reads this one; it graduated with 3.7.0.
const SWITCHES_3_6: &[(&str, &str)] = &[
    ("csi-transaction-support", "false"),
    ("pv-to-backingdiskobjectid-mapping", "false"),
    ("trigger-csi-fullsync", "false"),
];

/// From 3.7.1 the limit of volumes per node is this switch (59, or 255 when on) and no longer an environment
/// variable: <https://github.com/kubernetes-sigs/vsphere-csi-driver/releases/tag/v3.7.1>.
const SWITCHES_3_7_1: &[(&str, &str)] = &[
    ("high-pv-node-density", "false"),
    ("pv-to-backingdiskobjectid-mapping", "false"),
    ("trigger-csi-fullsync", "false"),
];

/// What four PVSCSI controllers leave for data disks.
const VOLUME_LIMIT: &[(&str, &str)] = &[("MAX_VOLUMES_PER_NODE", "59")];

/// The flag is unknown, and so fatal, before 3.6.
const NO_PROFILE_SERVER: &[&str] = &["--enable-profile-server=false"];

const LINE_3_3: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 3, 1),
    driver: driver("v3.3.1", "adb820cc2e0abe5f89aaa648c9e9bc8f4adab282fe706fa371f10e3476a65bfd"),
    syncer: syncer("v3.3.1", "0fccc2de2a32882140bf0c683afc5dc1eb087b8a2a731957b012d7c1d4970ad4"),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.5.1"),
        resizer: sidecar("sig-storage/csi-resizer", "v1.10.1"),
        provisioner: sidecar("sig-storage/csi-provisioner", "v4.0.1"),
        snapshotter: sidecar("sig-storage/csi-snapshotter", "v7.0.2"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.12.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.10.1"),
    },
    feature_states: SWITCHES,
    driver_args: &[],
    attacher_args: &[],
    resizer_args: &[],
    snapshotter_args: &[],
    node_env: VOLUME_LIMIT,
    trusting: Trusting::Each,
};

const LINE_3_2: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 2, 0),
    driver: driver("v3.2.0", "41c6d541cffd92920644f3f0e05a02696e027555ee76ec7a29c2491ca75b17ba"),
    syncer: syncer("v3.2.0", "00f4c82b5460f82b17a65806d1984ccf28759dd7bc460dbf10bb8f6dce5c06ca"),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.5.0"),
        resizer: sidecar("sig-storage/csi-resizer", "v1.10.0"),
        provisioner: sidecar("sig-storage/csi-provisioner", "v4.0.0"),
        snapshotter: sidecar("sig-storage/csi-snapshotter", "v7.0.1"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.12.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.10.0"),
    },
    trusting: Trusting::Together,
    ..LINE_3_3
};

const LINE_3_1: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 1, 2),
    driver: driver("v3.1.2", "d130672637074502a1dddcdcb7cdb7ff7b9e96b5c754e818639d34a5f176d9dd"),
    syncer: syncer("v3.1.2", "539f0813d7b9a98314b7a9012336bf7522d1d38e7f80171e5d5f8ba1e17df399"),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.3.0"),
        resizer: sidecar("sig-storage/csi-resizer", "v1.8.0"),
        provisioner: sidecar("sig-storage/csi-provisioner", "v3.5.0"),
        snapshotter: sidecar("sig-storage/csi-snapshotter", "v6.2.2"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.10.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.8.0"),
    },
    feature_states: SWITCHES_3_1,
    ..LINE_3_2
};

const LINE_3_4: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 4, 0),
    driver: driver("v3.4.0", "f5349a8ae3f3ef507b5ea81a4b523b938445c61d68628ecc518fd25a6dcd61a6"),
    syncer: syncer("v3.4.0", "179ebf195595d12779c961700b09f8f2c7365bb0808b7d9c391517be6af77a80"),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.7.0"),
        resizer: sidecar("sig-storage/csi-resizer", "v1.12.0"),
        snapshotter: sidecar("sig-storage/csi-snapshotter", "v8.2.0"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.14.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.12.0"),
        ..LINE_3_3.sidecars
    },
    attacher_args: &["--worker-threads=100"],
    ..LINE_3_3
};

const LINE_3_5: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 5, 0),
    driver: driver("v3.5.0", "4bb8350a5a62b50d5c10271c74d8fed214e11736f91dd02d29657666c3edbba4"),
    syncer: syncer("v3.5.0", "bb88468fff2a296f66a7991e793d2d2d1223ba18b11b887e83d87a33f438f000"),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.8.1"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.15.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.13.0"),
        ..LINE_3_4.sidecars
    },
    ..LINE_3_4
};

const LINE_3_6: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 6, 0),
    driver: driver("v3.6.0", "96711527525337542bd005f7d8c3262151c3e5788a330fbeea32322b946cfdfb"),
    syncer: syncer("v3.6.0", "eac1cafe5444cf35a2a0fb58abb20059ca11e4f73d1419e5b08f0586f1e4733c"),
    sidecars: Sidecars { attacher: sidecar("sig-storage/csi-attacher", "v4.9.0"), ..LINE_3_5.sidecars },
    feature_states: SWITCHES_3_6,
    driver_args: NO_PROFILE_SERVER,
    snapshotter_args: &["--extra-create-metadata"],
    ..LINE_3_5
};

const LINE_3_7: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 7, 0),
    driver: driver("v3.7.0", "48954ea5d749f1c9a0d2e7422b76216555716140e9e09f4b14faf34e1d6c1b14"),
    syncer: syncer("v3.7.0", "52ca8e058201eb7d0fa42a538e3ba4143acc2639914ed71a0e0ea4ac048933bb"),
    feature_states: SWITCHES,
    ..LINE_3_6
};

const FROM_3_7_1: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 7, 1),
    driver: driver("v3.7.1", "b9d22ab09a8d39e6d90cc83ea0148fedb218f45ab901976a4bb9099427a55171"),
    syncer: syncer("v3.7.1", "8a744f8ef49d1be6d99a21a93ceb9ebd525eb3d1831af250b8dd787795db1fbf"),
    feature_states: SWITCHES_3_7_1,
    node_env: &[],
    ..LINE_3_7
};

const LINE_3_8: ReleaseFacts = ReleaseFacts {
    release: Release::new(3, 8, 0),
    driver: of_driver("csi-vsphere/driver", "v3.8.0", None),
    syncer: of_driver("csi-vsphere/syncer", "v3.8.0", None),
    sidecars: Sidecars {
        attacher: sidecar("sig-storage/csi-attacher", "v4.10.0"),
        resizer: sidecar("sig-storage/csi-resizer", "v2.0.0"),
        snapshotter: sidecar("sig-storage/csi-snapshotter", "v8.4.0"),
        liveness: sidecar("sig-storage/livenessprobe", "v2.17.0"),
        registrar: sidecar("sig-storage/csi-node-driver-registrar", "v2.14.0"),
        ..LINE_3_7.sidecars
    },
    resizer_args: &["--feature-gates=RecoverVolumeExpansionFailure=false"],
    ..FROM_3_7_1
};

static RELEASES: &[ReleaseFacts] = &[
    LINE_3_1,
    LINE_3_2,
    ReleaseFacts {
        release: Release::new(3, 3, 0),
        driver: driver("v3.3.0", "346249308622d5efcbd5873aff2a30b849ec117e5fa3235dc06f0e419b6a6f9a"),
        syncer: syncer("v3.3.0", "7287c311d72356e544e19928b7787787ca5dc7229d78c911bb6f4e04d940c588"),
        ..LINE_3_3
    },
    LINE_3_3,
    LINE_3_4,
    LINE_3_5,
    ReleaseFacts {
        release: Release::new(3, 5, 1),
        driver: driver("v3.5.1", "061345a202eb03dc0574bc97d6e4e159f30a78deee82a95f50d8969250d67787"),
        syncer: syncer("v3.5.1", "a88f7cf42928a784cbb60430e9a94331261e9eea91b9a32a70ab8b4e566c830b"),
        ..LINE_3_5
    },
    LINE_3_6,
    ReleaseFacts {
        release: Release::new(3, 6, 1),
        driver: driver("v3.6.1", "24eb881455127b4b15f4561b6575677ad7db730cd32498a7fc06e28e860f76b5"),
        syncer: syncer("v3.6.1", "ee07c196cac6c1a7e732ae2e4cc887fdc9b539124748439ddaf0b6aa607f4c20"),
        ..LINE_3_6
    },
    ReleaseFacts {
        release: Release::new(3, 6, 2),
        driver: driver("v3.6.2", "c77b05e54c4407a9ae40ccb45ff6ec8aee11bd6ca58c1879e5e40d15c9c97d87"),
        syncer: syncer("v3.6.2", "adb362e03caf9980b1b9cb89919b5e8452700249c7364a6b4ca96c03f1b13bdd"),
        ..LINE_3_6
    },
    ReleaseFacts {
        release: Release::new(3, 6, 3),
        driver: driver("v3.6.3", "a62e68947b0eed8392a59ca83107a1a2a50f5a56d0e9d5cff1c5c5b293be722d"),
        syncer: syncer("v3.6.3", "a0454e8995396050e5e79579fed9dfc71d9d7bf1bb2eb51982b6b4bee8df0364"),
        ..LINE_3_6
    },
    LINE_3_7,
    FROM_3_7_1,
    ReleaseFacts {
        release: Release::new(3, 7, 2),
        driver: driver("v3.7.2", "cdce4c97940de307fbc819624077cb68cb8b124f5d8ddd7d3f9e8551d5f3180e"),
        syncer: syncer("v3.7.2", "8d588681a982718af39cdb4964aa9449cc213d34142a4971f45ec36d25326c60"),
        ..FROM_3_7_1
    },
    // The list of digests was last read before these two were published; they are rendered by tag.
    ReleaseFacts {
        release: Release::new(3, 7, 3),
        driver: of_driver("csi-vsphere/driver", "v3.7.3", None),
        syncer: of_driver("csi-vsphere/syncer", "v3.7.3", None),
        ..FROM_3_7_1
    },
    LINE_3_8,
];

/// Whether an image is the storage driver for vSphere, whoever built or mirrored it.
pub fn is_image(image: &str) -> bool {
    ["csi-vsphere/", "cloud-provider-vsphere/csi/", "vsphere-csi", "csi-release-driver"]
        .iter()
        .any(|name| image.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vdo_compat::{Driver, builtin};

    #[test]
    fn every_release_of_the_built_in_matrix_has_facts_and_the_other_way_round() {
        let listed: Vec<Release> = builtin::matrix()
            .rows
            .iter()
            .filter(|row| row.driver == Driver::Csi)
            .map(|row| row.release)
            .collect();
        assert!(listed.iter().all(|release| facts(release).is_some()), "{listed:?}");
        assert!(all().iter().all(|facts| listed.contains(&facts.release)), "{listed:?}");
    }

    #[test]
    fn images_carry_the_tag_of_their_release_and_digests_have_64_digits() {
        for facts in all() {
            let tag = format!("v{}", facts.release);
            assert_eq!((facts.driver.tag, facts.syncer.tag), (tag.as_str(), tag.as_str()));
            for sha256 in [facts.driver.sha256, facts.syncer.sha256].into_iter().flatten() {
                assert!(
                    sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()),
                    "{tag}: {sha256}"
                );
            }
        }
    }

    #[test]
    fn no_digest_is_used_twice_and_releases_ascend() {
        let mut digests: Vec<&str> =
            all().iter().flat_map(|f| [f.driver.sha256, f.syncer.sha256]).flatten().collect();
        let count = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!((digests.len(), count), (28, 28));
        assert!(all().is_sorted_by(|a, b| a.release < b.release));
    }
}
