//! From the spec and verified facts to checked values, or to findings that say what is missing.

use serde_json::{Value, json};
use vdo_api::VDOConfigSpec;
use vdo_api::vdoconfig::Topology;
use vdo_compat::Release;
use vdo_plan::Finding;
use vdo_plan::vcenter::{Trust, Vcenter, VcenterFacts, resolve};

use crate::releases::{self, ReleaseFacts};

/// Reasons of this module.
pub mod reasons {
    vdo_api::reasons! {
        CPI_RELEASE_NOT_RENDERED = "CPIReleaseNotRendered" {
            "This build cannot render the chosen release of the cloud provider.",
            "What is installed keeps running.",
            "Pin a release that docs/compatibility.md lists, or upgrade cpi-operator.",
        }
        SERVER_NAMED_TWICE = "ServerNamedTwice" {
            "Two VsphereCloudConfigs of the VDOConfig name the same vCenter.",
            "What is installed keeps running with its old configuration.",
            "Name one of them only, with all datacenters.",
        }
        NODES_OUTSIDE_VSPHERE = "NodesOutsideVsphere" {
            "Some nodes are no virtual machines of the listed vCenters.",
            "The cloud provider is told never to delete a node.",
            "Nothing to do if this is meant; else add the vCenter that holds them to spec.cloudProvider.",
        }
    }
}

/// Whether the cloud provider may delete nodes whose virtual machine is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeDeletion {
    /// As upstream: a node without a machine is deleted.
    Allowed,
    /// Never: some node is not a machine of the listed vCenters, and would look like one that is gone.
    Off,
}

/// What the operator knows when it renders.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The spec of the active VDOConfig.
    pub spec: &'a VDOConfigSpec,
    /// The vCenters that it names for the cloud provider, in its order.
    pub vcenters: &'a [VcenterFacts],
    /// How node deletion was rendered so far, and what the nodes say now.
    pub node_deletion: NodeDeletion,
}

/// Everything that a revision is rendered from.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// The release.
    pub release: Release,
    /// Its facts.
    pub facts: ReleaseFacts,
    /// The vCenters, in the order of their servers.
    pub vcenters: Vec<Vcenter>,
    /// The tag categories of zones and regions.
    pub topology: Option<Topology>,
    /// Whether nodes may be deleted.
    pub node_deletion: NodeDeletion,
    /// The registry that replaces the usual one.
    pub registry: Option<String>,
    /// Names of pull Secrets.
    pub pull_secrets: Vec<String>,
}

impl Inputs {
    /// What was asked for, whatever it renders to; without the credentials, which follow their Secret. Only its digest is kept.
    /// A field that is added here makes every installed configuration look like another one.
    pub fn asked(&self) -> Value {
        let vcenter = |it: &Vcenter| {
            let trust = match &it.trust {
                Trust::PublicCa => json!("public"),
                Trust::Ca(pem) => json!({ "ca": pem }),
                Trust::Thumbprint(print) => json!({ "thumbprint": print }),
                Trust::Insecure => json!("insecure"),
            };
            json!([it.server, it.port, trust, it.datacenters])
        };
        json!({
            "vcenters": self.vcenters.iter().map(vcenter).collect::<Vec<_>>(),
            "topology": self.topology,
            "nodeDeletion": self.node_deletion == NodeDeletion::Allowed,
            "registry": self.registry,
            "pullSecrets": self.pull_secrets,
        })
    }

    /// Checked values for this release, or everything that stands in the way.
    pub fn resolve(release: Release, facts: &Facts) -> Result<Inputs, Vec<Finding>> {
        let mut findings = Vec::new();
        let known = releases::of(release);
        if known.is_none() {
            findings.push(Finding::hold(
                &reasons::CPI_RELEASE_NOT_RENDERED,
                format!("this build cannot render CPI {release}; pin another one or upgrade cpi-operator"),
            ));
        }
        let mut vcenters = Vec::new();
        for vcenter in facts.vcenters {
            match resolve(vcenter) {
                Ok(vcenter) => vcenters.push(vcenter),
                Err(finding) => findings.push(finding),
            }
        }
        vcenters.sort_by(|a, b| (&a.server, a.port).cmp(&(&b.server, b.port)));
        if let Some([one, two]) = vcenters.windows(2).find(|pair| pair[0].server == pair[1].server) {
            findings.push(Finding::hold(
                &reasons::SERVER_NAMED_TWICE,
                format!(
                    "VsphereCloudConfigs {} and {} both name {}; keep one",
                    one.name, two.name, one.server
                ),
            ));
        }
        let (Some(known), true) = (known, findings.is_empty()) else { return Err(findings) };
        let images = facts.spec.images.clone().unwrap_or_default();
        Ok(Inputs {
            release,
            facts: *known,
            vcenters,
            topology: facts.spec.cloud_provider.as_ref().and_then(|cloud| cloud.topology.clone()),
            node_deletion: facts.node_deletion,
            registry: images.registry,
            pull_secrets: images.pull_secrets,
        })
    }
}
