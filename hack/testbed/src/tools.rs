//! The programs of a bed: where each comes from, how it is built, and what it is called in a bed.
//!
//! One Go module per tool, because their requirements clash. The flags here are part of the cache key, so a
//! change rebuilds that tool and no other.

use std::path::PathBuf;

/// The Kubernetes release of the bed's control plane; stamped into the binaries, which otherwise say v0.0.0.
pub const KUBERNETES: &str = "v1.36.3";

const KUBERNETES_LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";
const PLAIN_LDFLAGS: &str = "-s -w";

/// The oldest minor that the operators run on, as the chart says.
pub const OLDEST_KUBERNETES: &str = "v1.31.13";
/// The tool that is its control plane.
pub const OLDEST: &str = "kubernetes-1.31";

const OLDEST_LDFLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.31.13 \
     -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=31";

/// One Go build: a module, the main packages in it, and the names of what comes out.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Name in progress lines and in the cache.
    pub name: &'static str,
    /// Module folder, relative to `hack/testbed`.
    pub module: &'static str,
    /// Main packages.
    pub packages: &'static [&'static str],
    /// Where the build puts them, below the tool's `bin/`; a trailing slash keeps the packages' own names.
    pub output: &'static str,
    /// The programs that must exist afterwards, below the tool's `bin/`.
    pub programs: &'static [&'static str],
    /// Settings of the Go toolchain that this build needs.
    pub env: &'static [(&'static str, &'static str)],
    /// Linker flags.
    pub ldflags: &'static str,
    /// What a cold build takes on two cores.
    pub cold_seconds: u32,
}

impl Tool {
    /// The module's folder in the checkout.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(self.module)
    }
}

const CPI: &[&str] = &["k8s.io/cloud-provider-vsphere/cmd/vsphere-cloud-controller-manager"];
const CSI: &[&str] =
    &["sigs.k8s.io/vsphere-csi-driver/v3/cmd/vsphere-csi", "sigs.k8s.io/vsphere-csi-driver/v3/cmd/syncer"];

const fn tool(name: &'static str, module: &'static str, packages: &'static [&'static str]) -> Tool {
    Tool {
        name,
        module,
        packages,
        output: name,
        programs: &[],
        env: &[],
        ldflags: PLAIN_LDFLAGS,
        cold_seconds: 30,
    }
}

/// Everything a bed can run, in the order in which it is built: what a bed needs first comes first.
pub const TOOLS: &[Tool] = &[
    Tool { programs: &["etcd"], ..tool("etcd", "tools/etcd", &["go.etcd.io/etcd/server/v3"]) },
    Tool {
        output: "",
        programs: &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"],
        ldflags: KUBERNETES_LDFLAGS,
        cold_seconds: 375,
        ..tool(
            "kubernetes",
            "tools/kubernetes",
            &[
                "k8s.io/kubernetes/cmd/kube-apiserver",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-scheduler",
                "k8s.io/kubernetes/cmd/kubectl",
            ],
        )
    },
    Tool { programs: &["vcsim"], ..tool("vcsim", "vcsim", &["."]) },
    Tool { programs: &["dns"], cold_seconds: 10, ..tool("dns", "dns", &["."]) },
    Tool {
        programs: &["kwok"],
        cold_seconds: 90,
        ..tool("kwok", "tools/kwok", &["sigs.k8s.io/kwok/cmd/kwok"])
    },
    Tool {
        programs: &["helm"],
        cold_seconds: 100,
        ..tool("helm", "tools/helm", &["helm.sh/helm/v3/cmd/helm"])
    },
    // Without cgo: the binary runs in a pod's own root, which has no C library.
    Tool {
        programs: &["cpi-1.36.0"],
        env: &[("CGO_ENABLED", "0")],
        cold_seconds: 170,
        ..tool("cpi-1.36.0", "tools/cpi-1.36.0", CPI)
    },
    Tool {
        programs: &["cpi-1.33.0"],
        env: &[("CGO_ENABLED", "0")],
        cold_seconds: 150,
        ..tool("cpi-1.33.0", "tools/cpi-1.33.0", CPI)
    },
    // This release imports crypto/tls/fipsonly, which has files only under this experiment.
    Tool {
        output: "csi-3.7.0/",
        programs: &["csi-3.7.0/vsphere-csi", "csi-3.7.0/syncer"],
        env: &[("GOEXPERIMENT", "boringcrypto")],
        cold_seconds: 180,
        ..tool("csi-3.7.0", "tools/csi-3.7.0", CSI)
    },
    Tool {
        output: "csi-3.3.1/",
        programs: &["csi-3.3.1/vsphere-csi", "csi-3.3.1/syncer"],
        cold_seconds: 110,
        ..tool("csi-3.3.1", "tools/csi-3.3.1", CSI)
    },
    Tool { programs: &["csic"], cold_seconds: 15, ..tool("csic", "csic", &["."]) },
    Tool {
        output: "",
        programs: &["kube-apiserver", "kube-controller-manager", "kube-scheduler"],
        ldflags: OLDEST_LDFLAGS,
        cold_seconds: 375,
        ..tool(
            OLDEST,
            "tools/kubernetes-1.31",
            &[
                "k8s.io/kubernetes/cmd/kube-apiserver",
                "k8s.io/kubernetes/cmd/kube-controller-manager",
                "k8s.io/kubernetes/cmd/kube-scheduler",
            ],
        )
    },
];

/// What every bed may need; the oldest Kubernetes is for those that name it.
pub fn usual() -> Vec<&'static str> {
    TOOLS.iter().map(|tool| tool.name).filter(|name| *name != OLDEST).collect()
}
