//! What every operator is told at its start: parsed once, all problems reported together, nothing read later.

use std::net::SocketAddr;

use clap::Args;

use crate::lease::LeaseSettings;
use crate::logs::LogFormat;

/// Settings that all operators share. Each may also be given as an environment variable.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The namespace of the operators, of the VDOConfig and of the VsphereCloudConfigs.
    #[arg(long, env = "VDO_NAMESPACE", default_value = vdo_api::names::OPERATORS_NAMESPACE)]
    pub namespace: String,
    /// The UID of this pod: who holds the Lease.
    #[arg(long, env = "POD_UID")]
    pub pod_uid: String,
    /// The name of this pod, for people.
    #[arg(long, env = "POD_NAME", default_value = "")]
    pub pod_name: String,
    /// Where health and metrics are served.
    #[arg(long, env = "VDO_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Whether metrics are served, beside the probes.
    #[arg(long, env = "VDO_METRICS", default_value_t = true, action = clap::ArgAction::Set)]
    pub metrics: bool,
    /// The form of the log: `text` or `json`.
    #[arg(long, env = "VDO_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What is logged, as `info` or `info,vdo_runtime=debug`.
    #[arg(long, env = "VDO_LOG", default_value = "info")]
    pub log: String,
    /// Names of credentials Secrets in `kube-system` that the chart lets us read.
    #[arg(long = "kube-system-secret", env = "VDO_KUBE_SYSTEM_SECRETS", value_delimiter = ',')]
    pub kube_system_secrets: Vec<String>,
}

impl Settings {
    /// The Lease of the operator of this name.
    pub fn lease(&self, operator: &str) -> LeaseSettings {
        LeaseSettings {
            namespace: self.namespace.clone(),
            name: operator.to_owned(),
            identity: self.pod_uid.clone(),
        }
    }
}
