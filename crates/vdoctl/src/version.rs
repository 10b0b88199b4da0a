//! Which versions are at work.

use serde::Serialize;
use vdo_api::VDOConfig;
use vdo_plan::Reading;
use vdo_runtime::configs::fetch_active;
use vdo_runtime::{Cluster, KubeFault};

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
    /// The releases that are installed; absent if that could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drivers: Option<Drivers>,
}

/// The releases that are installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drivers {
    /// Of CPI; null if none is.
    pub cpi: Option<String>,
    /// Of CSI; null if none is.
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
    let drivers = match fetch_active(cluster, namespace).await {
        Ok(config) => Some(config.as_ref().map(installed).unwrap_or_default()),
        // Without the kind nothing of ours is installed.
        Err(KubeFault::NotFound { .. }) => Some(Drivers::default()),
        Err(fault) => {
            unread.push(format!("the VDOConfig cannot be read: {fault}"));
            None
        }
    };
    let cluster = Some(ClusterVersions { kubernetes, operators, drivers });
    Versions { client: env!("CARGO_PKG_VERSION").to_owned(), cluster, unread }
}

fn installed(config: &VDOConfig) -> Drivers {
    let status = config.status.as_ref();
    let cpi = status.and_then(|it| it.cpi.as_ref()?.record.installed.as_ref());
    let csi = status.and_then(|it| it.csi.as_ref()?.record.installed.as_ref());
    Drivers { cpi: cpi.map(|it| it.release.clone()), csi: csi.map(|it| it.release.clone()) }
}

/// The versions in words.
pub fn screen(versions: &Versions) -> String {
    let mut out = format!("vdoctl        {}\n", versions.client);
    if let Some(cluster) = &versions.cluster {
        out.push_str(&format!("Kubernetes    {}\n", cluster.kubernetes));
        for operator in &cluster.operators {
            out.push_str(&format!("{:<13} {}\n", operator.name, operator.image));
        }
        let drivers = cluster.drivers.iter().flat_map(|it| [("CPI", &it.cpi), ("CSI", &it.csi)]);
        for (name, release) in drivers {
            out.push_str(&format!("{name:<13} {}\n", release.as_deref().unwrap_or("not installed")));
        }
    }
    for why in &versions.unread {
        out.push_str(why);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_and_what_was_not_read_are_told_apart() {
        let drivers = Drivers { cpi: Some("1.36.0".to_owned()), csi: None };
        let operator = Operator {
            name: "vdo-core".to_owned(),
            image: "r/vdo-core:0.1.0".to_owned(),
            wanted: 2,
            available: 2,
        };
        let cluster = ClusterVersions {
            kubernetes: "v1.36.3".to_owned(),
            operators: vec![operator],
            drivers: Some(drivers),
        };
        let mut versions =
            Versions { client: "0.1.0".to_owned(), cluster: Some(cluster), unread: Vec::new() };
        let text = "vdoctl        0.1.0\nKubernetes    v1.36.3\nvdo-core      r/vdo-core:0.1.0\n\
            CPI           1.36.0\nCSI           not installed\n";
        assert_eq!(screen(&versions), text);
        versions.cluster.as_mut().unwrap().drivers = None;
        versions.unread.push("the VDOConfig cannot be read: forbidden".to_owned());
        let text = screen(&versions);
        assert!(!text.contains("not installed") && text.ends_with("cannot be read: forbidden\n"), "{text}");
    }
}
