//! Which versions are at work.

use serde::Serialize;
use vdo_api::VDOConfig;
use vdo_plan::Reading;
use vdo_runtime::Cluster;
use vdo_runtime::status::fetch_active;

use crate::observe::operators;
use crate::seen::Operator;

/// The versions.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// This program.
    pub client: String,
    /// What could be read of the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterVersions>,
    /// Why the cluster, or a part of it, could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// The versions of a cluster.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterVersions {
    /// Its API server.
    pub kubernetes: String,
    /// The operators.
    pub operators: Vec<Operator>,
    /// The release of CPI that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpi: Option<String>,
    /// The release of CSI that is installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csi: Option<String>,
}

impl Versions {
    /// The version of this program alone, and why nothing else is known.
    pub fn alone(why: String) -> Versions {
        Versions { client: env!("CARGO_PKG_VERSION").to_owned(), cluster: None, unread: vec![why] }
    }
}

/// Reads the versions of a cluster, as far as it answers.
pub async fn observe(cluster: &Cluster, namespace: &str) -> Versions {
    let kubernetes = match cluster.read(cluster.client().apiserver_version()).await {
        Ok(version) => version.git_version,
        Err(fault) => return Versions::alone(format!("no cluster answered: {fault}")),
    };
    let mut unread = Vec::new();
    let operators = match operators(cluster, namespace).await {
        Reading::Present(operators) => operators,
        Reading::Absent => Vec::new(),
        Reading::Unreadable(why) => {
            unread.push(format!("the operators cannot be read: {why}"));
            Vec::new()
        }
    };
    let config = fetch_active(cluster, namespace).await.unwrap_or_else(|fault| {
        unread.push(format!("the VDOConfig cannot be read: {fault}"));
        None
    });
    let (cpi, csi) = config.as_ref().map(installed).unwrap_or_default();
    let cluster = Some(ClusterVersions { kubernetes, operators, cpi, csi });
    Versions { client: env!("CARGO_PKG_VERSION").to_owned(), cluster, unread }
}

fn installed(config: &VDOConfig) -> (Option<String>, Option<String>) {
    let status = config.status.as_ref();
    let cpi = status.and_then(|it| it.cpi.as_ref()?.record.installed.as_ref());
    let csi = status.and_then(|it| it.csi.as_ref()?.record.installed.as_ref());
    (cpi.map(|it| it.release.clone()), csi.map(|it| it.release.clone()))
}

/// The versions in words.
pub fn screen(versions: &Versions) -> String {
    let mut out = format!("vdoctl        {}\n", versions.client);
    if let Some(cluster) = &versions.cluster {
        out.push_str(&format!("Kubernetes    {}\n", cluster.kubernetes));
        for operator in &cluster.operators {
            out.push_str(&format!("{:<13} {}\n", operator.name, operator.image));
        }
        for (name, release) in [("CPI", &cluster.cpi), ("CSI", &cluster.csi)] {
            out.push_str(&format!("{name:<13} {}\n", release.as_deref().unwrap_or("not installed")));
        }
    }
    for why in &versions.unread {
        out.push_str(why);
        out.push('\n');
    }
    out
}
