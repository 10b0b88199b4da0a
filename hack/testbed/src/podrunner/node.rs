//! The Nodes of the runner: Ready conditions and Leases, as a kubelet keeps them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;

use super::Runner;
use super::sandbox::Sandbox;

/// Nodes with this annotation are KWOK's.
const KWOK_ANNOTATION: &str = "kwok.x-k8s.io/node";
const RENEW_EVERY: Duration = Duration::from_secs(5);
const LEASE_SECONDS: i32 = 40;
/// A kubelet writes an unchanged status every five minutes.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(300);

/// What is known of a Node.
#[derive(Clone, Debug)]
pub(super) enum OwnNode {
    /// KWOK's: nothing to do for its pods.
    Foreign,
    /// Ours, with its first InternalIP once it has one, and whether it is Ready.
    Ours { internal_ip: Option<Ipv4Addr>, ready: bool },
}

impl OwnNode {
    fn of(node: &Node) -> Self {
        if node.metadata.annotations.iter().flatten().any(|(name, _)| name == KWOK_ANNOTATION) {
            return OwnNode::Foreign;
        }
        let status = node.status.as_ref();
        let addresses = status.and_then(|status| status.addresses.as_ref()).into_iter().flatten();
        let internal_ip =
            addresses.filter(|one| one.type_ == "InternalIP").find_map(|one| one.address.parse().ok());
        let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
        let ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
        OwnNode::Ours { internal_ip, ready }
    }
}

impl Runner {
    pub(super) fn node(&self, name: &str) -> Option<OwnNode> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn own_nodes(&self) -> BTreeMap<String, bool> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |(name, node): (&String, &OwnNode)| match node {
            OwnNode::Foreign => None,
            OwnNode::Ours { ready, .. } => Some((name.clone(), *ready)),
        };
        nodes.iter().filter_map(ours).collect()
    }

    /// The namespaces that pods with hostNetwork share on a Node.
    pub(super) async fn node_sandbox(&self, name: &str) -> anyhow::Result<Arc<Sandbox>> {
        let Some(OwnNode::Ours { internal_ip, .. }) = self.node(name) else {
            anyhow::bail!("Node {name} is gone");
        };
        let mut sandboxes = self.node_sandboxes.lock().await;
        if let Some(sandbox) = sandboxes.get(name) {
            return Ok(sandbox.clone());
        }
        let address = internal_ip.with_context(|| format!("Node {name} has no InternalIP"))?;
        let sandbox = Arc::new(Sandbox::start(self, name, Some(address)).await?);
        sandboxes.insert(name.to_owned(), sandbox.clone());
        Ok(sandbox)
    }
}

/// Keeps the rows of all Nodes up to date; ends only with an error.
pub(super) async fn follow_nodes(runner: &Arc<Runner>) -> anyhow::Result<()> {
    let api = Api::<Node>::all(runner.client.clone());
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut listed = BTreeMap::new();
    loop {
        match events.try_next().await {
            Ok(Some(watcher::Event::Init)) => listed.clear(),
            Ok(Some(watcher::Event::InitApply(node))) => {
                listed.insert(node.metadata.name.clone().unwrap_or_default(), OwnNode::of(&node));
            }
            Ok(Some(watcher::Event::InitDone)) => {
                *runner.nodes.lock().unwrap_or_else(PoisonError::into_inner) = std::mem::take(&mut listed);
                runner.nodes_changed.notify_one();
                runner.renew_now.notify_one();
            }
            Ok(Some(watcher::Event::Apply(node))) => {
                let row = OwnNode::of(&node);
                let name = node.metadata.name.clone().unwrap_or_default();
                let attention = matches!(row, OwnNode::Ours { ready: false, .. });
                let mut nodes = runner.nodes.lock().unwrap_or_else(PoisonError::into_inner);
                if nodes.insert(name, row).is_none() {
                    runner.nodes_changed.notify_one();
                }
                if attention {
                    runner.renew_now.notify_one();
                }
            }
            Ok(Some(watcher::Event::Delete(node))) => {
                let name = node.metadata.name.unwrap_or_default();
                runner.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                runner.node_sandboxes.lock().await.remove(&name);
            }
            Ok(None) => anyhow::bail!("the watch of Nodes ended"),
            Err(fault) => super::note(format!("watch of Nodes: {fault}")),
        }
    }
}

/// Renews Leases and Ready conditions; ends only with an error.
pub(super) async fn renew(runner: &Arc<Runner>) -> anyhow::Result<()> {
    let mut written: BTreeMap<String, tokio::time::Instant> = BTreeMap::new();
    let mut leased: BTreeMap<String, tokio::time::Instant> = BTreeMap::new();
    loop {
        let nodes = runner.own_nodes();
        written.retain(|name, _| nodes.contains_key(name));
        for (name, ready) in nodes {
            let due =
                |last: Option<&tokio::time::Instant>, every| last.is_none_or(|last| last.elapsed() >= every);
            if due(leased.get(&name), RENEW_EVERY) {
                match renew_lease(runner, &name).await {
                    Ok(()) => drop(leased.insert(name.clone(), tokio::time::Instant::now())),
                    Err(fault) => super::note(format!("Lease of Node {name}: {fault}")),
                }
            }
            if !ready || due(written.get(&name), HEARTBEAT_EVERY) {
                match report_ready(runner, &name, ready).await {
                    Ok(()) => drop(written.insert(name, tokio::time::Instant::now())),
                    Err(fault) => super::note(format!("status of Node {name}: {fault}")),
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY) => {}
            // Not at once, so that a watch which lags behind our own write makes no storm.
            () = async { runner.renew_now.notified().await; tokio::time::sleep(Duration::from_millis(200)).await } => {}
        }
    }
}

async fn renew_lease(runner: &Runner, name: &str) -> kube::Result<()> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        }
    });
    let api = Api::<Lease>::namespaced(runner.client.clone(), "kube-node-lease");
    api.patch(name, &PatchParams::apply("testbed-kubelet").force(), &Patch::Apply(&lease)).await.map(drop)
}

async fn report_ready(runner: &Runner, name: &str, was_ready: bool) -> kube::Result<()> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        let mut one = json!({"type": kind, "status": status, "reason": reason, "message": "", "lastHeartbeatTime": now});
        if !was_ready {
            one["lastTransitionTime"] = json!(now);
        }
        one
    };
    let status = json!({"status": {"conditions": [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
        condition("Ready", "True", "KubeletReady"),
    ]}});
    let api = Api::<Node>::all(runner.client.clone());
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&status)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(node: serde_json::Value) -> OwnNode {
        OwnNode::of(&serde_json::from_value(node).unwrap())
    }

    #[test]
    fn a_node_with_the_annotation_belongs_to_kwok() {
        let node = json!({"metadata": {"name": "w", "annotations": {"kwok.x-k8s.io/node": "fake"}}});
        assert!(matches!(row(node), OwnNode::Foreign));
    }

    #[test]
    fn the_first_internal_address_is_the_node_s() {
        let node = json!({"metadata": {"name": "cp"}, "status": {
            "addresses": [{"type": "Hostname", "address": "cp"}, {"type": "InternalIP", "address": "192.0.2.7"}],
            "conditions": [{"type": "Ready", "status": "True"}]}});
        assert!(
            matches!(row(node), OwnNode::Ours { internal_ip: Some(ip), ready: true } if ip == Ipv4Addr::new(192, 0, 2, 7))
        );
    }
}
