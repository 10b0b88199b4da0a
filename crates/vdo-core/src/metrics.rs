//! What only vdo-core counts.

use std::collections::BTreeSet;

use kube::ResourceExt;
use prometheus::{Gauge, GaugeVec, IntCounterVec};
use vdo_api::status::{Gate, GateVerdict, Gates, NodesSummary};
use vdo_api::vcenter::LoginOutcome;
use vdo_api::{VDOConfig, VsphereCloudConfig};
use vdo_runtime::metrics::{Described, Metrics, SHOWN, show_exactly};
use vsphere_client::{Asked, Meter};

use crate::order::Part;

const GATE: Described = Described::gauge(
    "vdo_gate_info",
    &["driver", "release", "verdict", "reason"],
    "1 for the gate of each driver that is wanted: Open, or Held for a reason of docs/conditions.md; without a release if none fits.",
);
const NODES: Described = Described::gauge(
    "vdo_nodes",
    &["state"],
    "Nodes of the cluster: all (expected), those that a cloud provider has initialised (initialised), and those that are no \
     machine of the vCenters named (foreign).",
);
const NODE_FINDINGS: Described =
    Described::gauge("vdo_node_findings", &["reason"], "Nodes with which something is wrong, by reason.");
const REQUESTS: Described = Described::counter(
    "vdo_vcenter_requests_total",
    &["method", "result"],
    "Requests to vCenters, by the method of their interface and what came of them: ok, fault (vCenter answered that it \
     will not), status (an HTTP status that no vCenter gives), timeout or lost.",
);
const BYTES: Described = Described::counter(
    "vdo_vcenter_bytes_total",
    &["direction"],
    "Bytes of bodies sent to vCenters and received from them.",
);
const LOGINS: Described = Described::counter(
    "vdo_vcenter_logins_total",
    &["result"],
    "Logins that were tried: accepted, refused, or failed for another reason.",
);
const SESSIONS: Described =
    Described::gauge("vdo_vcenter_sessions", &[], "Sessions that this process holds.");
const CERTIFICATE: Described = Described::gauge(
    "vdo_vcenter_certificate_expiry_timestamp_seconds",
    &["name"],
    "When the certificate expires that the vCenter of a VsphereCloudConfig showed last, in seconds of Unix time.",
);
const CREDENTIALS: Described = Described::gauge(
    "vdo_vcenter_login_timestamp_seconds",
    &["name", "outcome"],
    "When the credentials of a VsphereCloudConfig were last tried, in seconds of Unix time, by what came of it: Started, Accepted or Refused.",
);

/// What only vdo-core counts.
pub const ALL: &[Described] =
    &[GATE, NODES, NODE_FINDINGS, REQUESTS, BYTES, LOGINS, SESSIONS, CERTIFICATE, CREDENTIALS];

/// The metrics of vdo-core. Clones count together.
#[derive(Clone)]
pub struct CoreMetrics {
    shared: Metrics,
    gate: GaugeVec,
    nodes: GaugeVec,
    node_findings: GaugeVec,
    requests: IntCounterVec,
    bytes: IntCounterVec,
    /// By result: `accepted`, `refused`, `failed`.
    pub logins: IntCounterVec,
    /// Sessions that are held.
    pub sessions: Gauge,
    certificate: GaugeVec,
    credentials: GaugeVec,
}

impl CoreMetrics {
    /// Adds them to what every operator has.
    pub fn new(shared: &Metrics) -> Result<Self, prometheus::Error> {
        Ok(CoreMetrics {
            shared: shared.clone(),
            gate: shared.gauges(&GATE)?,
            nodes: shared.gauges(&NODES)?,
            node_findings: shared.gauges(&NODE_FINDINGS)?,
            requests: shared.counters(&REQUESTS)?,
            bytes: shared.counters(&BYTES)?,
            logins: shared.counters(&LOGINS)?,
            sessions: shared.gauge(&SESSIONS)?,
            certificate: shared.gauges(&CERTIFICATE)?,
            credentials: shared.gauges(&CREDENTIALS)?,
        })
    }

    /// The vCenters as they are now.
    pub fn show_vcenters(&self, configs: &[VsphereCloudConfig]) {
        let names: BTreeSet<String> = configs.iter().map(ResourceExt::name_any).collect();
        self.shared.show_only("VsphereCloudConfig", &names);
        let status = |config: &VsphereCloudConfig| config.status.clone().unwrap_or_default();
        for config in configs {
            self.shared.show_conditions("VsphereCloudConfig", &config.name_any(), &status(config).conditions);
        }
        let shown = || configs.iter().take(SHOWN);
        let expiry = shown().filter_map(|config| {
            let end = status(config).presented?.not_after?;
            Some(([config.name_any()], end.0.as_second() as f64))
        });
        show_exactly(&self.certificate, expiry);
        let logins = shown().filter_map(|config| {
            let login = status(config).login?;
            Some(([config.name_any(), outcome(login.outcome).to_owned()], login.at.0.as_second() as f64))
        });
        show_exactly(&self.credentials, logins);
    }

    /// There is no VDOConfig that counts.
    pub fn hide_config(&self) {
        self.shared.show_only("VDOConfig", &BTreeSet::new());
        self.gate.reset();
        self.nodes.reset();
        self.node_findings.reset();
    }

    /// The VDOConfig that counts, with our part of its status.
    pub fn show_config(&self, config: &VDOConfig, part: &Part) {
        let name = config.name_any();
        self.shared.show_only("VDOConfig", &[name.clone()].into());
        self.shared.show_conditions("VDOConfig", &name, &part.conditions);
        show_exactly(&self.gate, part.gates.iter().flat_map(gates));
        let nodes = part.nodes.clone().unwrap_or_default();
        show_exactly(&self.nodes, counts(&nodes));
        let findings = nodes.findings.iter().map(|it| ([it.reason.clone()], it.count as f64));
        show_exactly(&self.node_findings, findings);
    }
}

impl Meter for CoreMetrics {
    fn note(&self, asked: &Asked) {
        self.requests.with_label_values(&[asked.method, asked.result]).inc();
        self.bytes.with_label_values(&["sent"]).inc_by(asked.sent);
        self.bytes.with_label_values(&["received"]).inc_by(asked.received);
    }
}

fn gates(gates: &Gates) -> Vec<([String; 4], f64)> {
    let row = |driver: &str, gate: &Gate| {
        let verdict = match gate.verdict {
            GateVerdict::Open => "Open",
            GateVerdict::Held => "Held",
        };
        let release = gate.release.clone().unwrap_or_default();
        ([driver.to_owned(), release, verdict.to_owned(), gate.reason.clone()], 1.0)
    };
    let both = [("cpi", &gates.cpi), ("csi", &gates.csi)];
    both.into_iter().filter_map(|(driver, gate)| Some(row(driver, gate.as_ref()?))).collect()
}

fn counts(nodes: &NodesSummary) -> [([String; 1], f64); 3] {
    [("expected", nodes.expected), ("initialised", nodes.initialised), ("foreign", nodes.foreign)]
        .map(|(state, count)| ([state.to_owned()], count as f64))
}

fn outcome(outcome: LoginOutcome) -> &'static str {
    match outcome {
        LoginOutcome::Started => "Started",
        LoginOutcome::Accepted => "Accepted",
        LoginOutcome::Refused => "Refused",
    }
}
